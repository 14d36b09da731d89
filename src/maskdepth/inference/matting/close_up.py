"""Close-ups: a second look at the foreground of pictures larger than what the network sees.

The network sees a picture at a fixed size. Of a large one that leaves little of what is thin, or
small as a whole. So the part that holds the foreground is cut out and shown to the same network
again, at the same size: in more of the picture's own pixels, never in enlarged ones, which would
show nothing new.

From closer, what is out of focus or moves has softer outlines than the network has learned from,
and is lost. So a second look counts only if it leaves no foreground beside its mask.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.evidence import Neighbourhood

__all__ = ["find_close_up", "loses_foreground"]

_LEAST: Final = 1.2  # times closer; less is not worth another look
_MARGIN: Final = 0.15  # of the foreground's height and width, on each side
_BESIDE: Final = 4  # px about a mask, where something may have been lost ...
_NONE: Final = 0.1  # ... for alpha says that there is less than this
_LOST: Final = 0.07  # what alpha measures there on the mean, at least, if something was


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


def loses_foreground(known: Neighbourhood) -> bool:
    """Whether pixels beside a mask still show foreground where alpha says there is none.

    They then lie between the colours of the plate and of the foreground beside them, as
    `maskdepth.inference.matting.refinement` measures it.

    Args:
        known: what `maskdepth.inference.matting.refinement.look_about` makes of the look.
    """
    mask = (known.alpha > 0.5).astype(np.uint8)
    if not mask.any():
        return True
    about = cv2.dilate(mask, np.ones((2 * _BESIDE + 1, 2 * _BESIDE + 1), np.uint8)) > 0
    trust = known.trust * (about & (known.alpha < _NONE))
    return bool((trust * known.measured).sum() > _LOST * trust.sum())
