"""Close-ups: a second look at the foreground of pictures larger than what the network sees.

The network sees a picture at a fixed size. Of a large one that leaves little of what is thin, or
small as a whole. So the part that holds the foreground is cut out and shown to the same network
again, at the same size: in more of the picture's own pixels, never in enlarged ones, which would
show nothing new.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_close_up"]

_LEAST: Final = 1.2  # times closer; less is not worth another look
_MARGIN: Final = 0.15  # of the foreground's height and width, on each side


def find_close_up(alpha: NDArray[np.float32], size: tuple[int, int]) -> tuple[slice, slice] | None:
    """What a second look at a picture shows, given what the first one found.

    Args:
        alpha: (h, w) of the first look, as large as the network saw the picture.
        size: the picture's height and width.

    Returns:
        Rows and columns of the picture, at its aspect ratio (to the pixel), that hold the whole
        mask; None where there is none, or where another look would not be closer.
    """
    mask = alpha > 0.5
    if not mask.any():
        return None
    seen = mask.shape
    steps = [side / small for side, small in zip(size, seen, strict=True)]
    spans = []
    for axis, step in enumerate(steps):
        places = np.flatnonzero(mask.any(axis=1 - axis))
        spans.append((float(places[0]) * step, float(places[-1] + 1) * step))
    closer = min(
        *steps,
        *(
            side / ((high - low) * (1 + 2 * _MARGIN))
            for (low, high), side in zip(spans, size, strict=True)
        ),
    )
    if closer < _LEAST:
        return None
    rows, columns = (
        _slice_about((low + high) / 2, max(small, round(side / closer)), side)
        for (low, high), side, small in zip(spans, size, seen, strict=True)
    )
    return rows, columns


def _slice_about(centre: float, length: int, side: int) -> slice:
    """So many pixels about a place, moved into the picture."""
    start = min(max(0, round(centre - length / 2)), side - length)
    return slice(start, start + length)
