"""A second run of the network on the foreground alone, in more of the picture's own pixels.

A large picture is shrunk to the network's input size, and small foreground in it becomes smaller
still. Where the first run finds foreground in a part of such a picture, that part goes to the same
network again, at the same size. It is never enlarged beyond the picture's own pixels, which would
show nothing new.

From closer, what is out of focus or moves has softer outlines than the network has learned from,
and can be lost. So a close-up counts only if it leaves no foreground beside its mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.evidence import Evidence

__all__ = ["find_close_up", "loses_foreground"]

_MIN_ZOOM: Final = 1.2  # a close-up that enlarges less is not worth another run
_MIN_ALPHA: Final = 0.25  # of what a close-up shows: beside it nothing counts as foreground
_MARGIN: Final = 0.15  # of the foreground's height and width, on each side
_LONG_MARGIN: Final = 0.25  # of the side for which the picture has room to spare
_MULTIPLE: Final = 32  # px: the network halves its input five times
_MIN_INPUT: Final = 192  # px, of either side: less shows too little of the scene
_BESIDE_PX: Final = 4  # how far beside its mask a close-up may have lost foreground
_MAX_LOST_ALPHA: Final = 0.1  # alpha below which a pixel there counts as possibly lost
_MAX_MEASURED: Final = 0.07  # mean measured alpha of such pixels above which foreground was lost


@dataclass(frozen=True)
class CloseUp:
    """The part of a picture that a close-up shows.

    Attributes:
        window: rows and columns of the picture.
        input_size: height and width at which the network reads them.
    """

    window: tuple[slice, slice]
    input_size: tuple[int, int]


def find_close_up(
    alpha: NDArray[np.float32], size: tuple[int, int], *, any_shape: bool = True
) -> CloseUp | None:
    """The part of a picture that holds the entire mask, and a margin.

    Args:
        alpha: (h, w) of the first run, at the network's input size.
        size: the picture's height and width.
        any_shape: whether the network reads any size. Otherwise it is shown the picture's aspect
            ratio, to the pixel.

    Returns:
        None where there is no mask, or a close-up would not be closer.
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
    slices, lengths = [], []
    for (low, high), side, small in zip(spans, size, input_size, strict=True):
        step = max(1.0, side / zoom / small)  # pixels of the picture for one of the input
        length = small
        if any_shape:
            wanted = (high - low) / step * (1 + 2 * _LONG_MARGIN)
            length = min(small, _MULTIPLE * ceil(max(wanted, _MIN_INPUT) / _MULTIPLE))
        slices.append(_centred_slice((low + high) / 2, min(side, round(length * step)), side))
        lengths.append(length)
    return CloseUp((slices[0], slices[1]), (lengths[0], lengths[1]))


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
