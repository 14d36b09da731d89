"""A few frames, at equal steps, of many: what a plate is estimated from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import PlateError
from maskdepth.images import load_picture

__all__ = ["check_count", "sample_files", "sample_frames"]

_MIN_FRAMES: Final = 3
_MAX_FRAMES: Final = 100  # more make the plate hardly better
_MAX_BYTES: Final = 1 << 30  # of all pictures together in memory

Picture = NDArray[np.uint8]


def check_count(frames: int) -> None:
    """Check that there are frames enough for a plate.

    Raises:
        PlateError: there are fewer than three.
    """
    if frames < _MIN_FRAMES:
        raise PlateError(
            f"at least {_MIN_FRAMES} pictures",
            str(frames),
            "take pictures at different moments, some dozens if things move slowly",
            f"A plate needs at least {_MIN_FRAMES} pictures of the scene; there are {frames}.",
        )


def sample_files(files: Sequence[Path]) -> list[Picture]:
    """Up to a hundred pictures at equal steps, fewer of large ones.

    Args:
        files: pictures of one camera, in the order of time.

    Raises:
        PlateError: fewer than three pictures, or pictures of different sizes.
        PictureError: one of them cannot be read.
    """
    check_count(len(files))
    first = load_picture(files[0])
    chosen = [files[index] for index in _spread(len(files), _limit(first))]
    frames = [first]
    for file in chosen[1:]:
        frames.append(load_picture(file))
        _check_size(frames[-1], first, file.name, files[0].name)
    return frames


def sample_frames(frames: Iterable[Picture]) -> list[Picture]:
    """The same of frames whose number need not be clear before the last.

    Raises:
        PlateError: fewer than three frames, or frames of different sizes.
    """
    chosen: list[Picture] = []
    step, limit = 1, _MAX_FRAMES
    for number, frame in enumerate(frames):
        if chosen:
            _check_size(frame, chosen[0], f"Frame {number}", "the first")
        else:
            limit = _limit(frame)
        if number % step == 0:
            chosen.append(frame)
        if len(chosen) == 2 * limit:
            chosen, step = chosen[::2], 2 * step
    check_count(len(chosen))
    return [chosen[index] for index in _spread(len(chosen), limit)]


def _limit(frame: Picture) -> int:
    return max(_MIN_FRAMES, min(_MAX_FRAMES, _MAX_BYTES // (2 * frame.nbytes)))


def _spread(count: int, limit: int) -> list[int]:
    """Up to so many numbers below a count, evenly spread, the first and the last among them."""
    places = np.linspace(0, count - 1, min(limit, count)).round().astype(int)
    return [int(place) for place in np.unique(places)]


def _check_size(frame: Picture, first: Picture, name: str, first_name: str) -> None:
    if frame.shape == first.shape:
        return
    size, wanted = (f"{each.shape[1]}x{each.shape[0]}" for each in (frame, first))
    raise PlateError(
        f"pictures of {wanted} like {first_name}",
        f"{size}: {name}",
        "give pictures of one camera at one size",
        f"{name} is {size}, but {first_name} is {wanted}.",
    )
