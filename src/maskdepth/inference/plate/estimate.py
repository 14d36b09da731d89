"""A plate from pictures of one camera in which things move: the median of each pixel.

What covers a pixel in fewer than half of the pictures leaves no trace in the median.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import PlateError
from maskdepth.images import bands, load_picture

__all__ = ["median_plate"]

_MIN_FRAMES: Final = 3
_MAX_FRAMES: Final = 101  # more make the median no better
_MAX_BYTES: Final = 1 << 30  # of all pictures together in memory


def median_plate(files: Sequence[Path]) -> tuple[NDArray[np.uint8], int]:
    """The median of pictures that a camera which stands still took of one scene.

    Args:
        files: the pictures, in the order of time. Of many, some are taken at equal steps.

    Returns:
        uint8 (H, W, 3) RGB, and the number of pictures that were used.

    Raises:
        PlateError: fewer than three pictures, or pictures of different sizes.
        PictureError: one of them cannot be read.
    """
    if len(files) < _MIN_FRAMES:
        raise PlateError(
            f"at least {_MIN_FRAMES} pictures",
            str(len(files)),
            "take pictures at different moments, some dozens if things move slowly",
            f"A plate needs at least {_MIN_FRAMES} pictures of the scene; there are {len(files)}.",
        )
    first = load_picture(files[0])
    limit = max(_MIN_FRAMES, min(_MAX_FRAMES, _MAX_BYTES // first.nbytes))
    chosen = np.unique(np.linspace(0, len(files) - 1, min(limit, len(files))).round().astype(int))
    frames = np.empty((len(chosen), *first.shape), np.uint8)
    for number, index in enumerate(chosen):
        frame = load_picture(files[index])
        if frame.shape != first.shape:
            raise PlateError(
                f"pictures of {first.shape[1]}x{first.shape[0]} like {files[0].name}",
                f"{frame.shape[1]}x{frame.shape[0]} in {files[index].name}",
                "give pictures of one camera at one size",
                f"{files[index].name} is {frame.shape[1]}x{frame.shape[0]}, but {files[0].name} is "
                f"{first.shape[1]}x{first.shape[0]}.",
            )
        frames[number] = frame
    plate = np.empty_like(first)
    for rows in bands(*first.shape[:2]):
        plate[rows] = np.rint(np.median(frames[:, rows], axis=0))
    return plate, len(chosen)
