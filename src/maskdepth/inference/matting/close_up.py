"""A second run of the network on the foreground alone, in more of the picture's own pixels.

A large picture is shrunk to the network's input size, and small foreground in it becomes smaller
still. Where the first run finds foreground in a part of such a picture, that part goes to the same
network again, at the same size. It is never enlarged beyond the picture's own pixels, which would
show nothing new.

From closer, what is out of focus or moves has softer outlines than the network has learned from,
and can be lost. So a close-up counts only if it leaves no foreground beside its mask.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.evidence import Evidence

__all__ = ["find_close_up", "loses_foreground"]

_MIN_ZOOM: Final = 1.2  # a close-up that enlarges less is not worth another run
_MIN_ALPHA: Final = 0.25  # of what a close-up shows: beside it nothing counts as foreground
_MARGIN: Final = 0.15  # of the foreground's height and width, on each side
_BESIDE_PX: Final = 4  # how far beside its mask a close-up may have lost foreground
_MAX_LOST_ALPHA: Final = 0.1  # alpha below which a pixel there counts as possibly lost
_MAX_MEASURED: Final = 0.07  # mean measured alpha of such pixels above which foreground was lost


def find_close_up(alpha: NDArray[np.float32], size: tuple[int, int]) -> tuple[slice, slice] | None:
    """The part of a picture that a close-up shows.

    Args:
        alpha: (h, w) of the first run, at the network's input size.
        size: the picture's height and width.

    Returns:
        Rows and columns of the picture, at its aspect ratio (to the pixel), that hold the entire
        mask; None where there is no mask, or a close-up would not be closer.
    """
    if not (alpha > 0.5).any():
        return None
    mask = alpha > _MIN_ALPHA
    input_size = mask.shape
    steps = [side / small for side, small in zip(size, input_size, strict=True)]
    spans = []
    for axis, step in enumerate(steps):
        indices = np.flatnonzero(mask.any(axis=1 - axis))
        spans.append((float(indices[0]) * step, float(indices[-1] + 1) * step))
    zoom = min(
        *steps,
        *(
            side / ((high - low) * (1 + 2 * _MARGIN))
            for (low, high), side in zip(spans, size, strict=True)
        ),
    )
    if zoom < _MIN_ZOOM:
        return None
    rows, columns = (
        _centred_slice((low + high) / 2, max(small, round(side / zoom)), side)
        for (low, high), side, small in zip(spans, size, input_size, strict=True)
    )
    return rows, columns


def _centred_slice(centre: float, length: int, side: int) -> slice:
    """``length`` pixels about a centre, moved so that they lie inside the picture."""
    start = min(max(0, round(centre - length / 2)), side - length)
    return slice(start, start + length)


def loses_foreground(evidence: Evidence) -> bool:
    """Whether pixels beside the mask of a close-up still show foreground though alpha is low there.

    Their colours then lie between the plate's and that of the foreground beside them.
    """
    mask = (evidence.alpha > 0.5).astype(np.uint8)
    if not mask.any():
        return True
    kernel = np.ones((2 * _BESIDE_PX + 1, 2 * _BESIDE_PX + 1), np.uint8)
    beside = cv2.dilate(mask, kernel) > 0
    trust = evidence.trust * (beside & (evidence.alpha < _MAX_LOST_ALPHA))
    return bool((trust * evidence.measured).sum() > _MAX_MEASURED * trust.sum())
