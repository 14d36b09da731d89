"""Cutouts whose colours are multiplied by their alpha, as renderers and some editors write them."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import load_cutout

_SOFT: Final = (26, 230)  # alpha between which a premultiplied colour shows
_MIN_PIXELS: Final = 40
_MIN_LEVEL: Final = 32  # of the colour inside; a darker one says nothing
_MAX_BRIGHTER: Final = 0.002  # share of soft pixels above their alpha, by rounding and codecs
_MAX_ERROR_RATIO: Final = 0.5


def load_straight_cutout(source: bytes) -> tuple[NDArray[np.uint8], bool]:
    """A cutout as `load_cutout` gives it, straight also where its file is premultiplied.

    Returns:
        The cutout, and whether its colours were divided by its alpha.

    Raises:
        PictureError: as `load_cutout`.
    """
    cutout = load_cutout(source)
    if not is_premultiplied(cutout):
        return cutout, False
    alpha = np.maximum(cutout[..., 3:], 1).astype(np.float32)
    straight = np.minimum(np.rint(cutout[..., :3] * (np.float32(255) / alpha)), 255)
    return np.dstack([straight.astype(np.uint8), cutout[..., 3]]), True


def is_premultiplied(cutout: NDArray[np.uint8]) -> bool:
    """Whether the colours of uint8 (H, W, 4) get darker with alpha, as premultiplied ones do.

    No channel is then above alpha; and where alpha is soft, the colour of the nearest opaque pixel
    explains a pixel's own better once it is multiplied by alpha.
    """
    alpha = cutout[..., 3]
    soft = (alpha >= _SOFT[0]) & (alpha <= _SOFT[1])
    brightest = cutout[..., :3].max(axis=2)
    brighter = soft & (brightest > np.minimum(alpha, 253) + 2)
    opaque = alpha > _SOFT[1]
    count = np.count_nonzero(soft)
    if count < _MIN_PIXELS or not opaque.any():
        return False
    if np.count_nonzero(brighter) > _MAX_BRIGHTER * count:
        return False
    _, labels = cv2.distanceTransformWithLabels(
        (~opaque).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    inside = np.zeros(int(labels.max()) + 1, np.float32)  # the level of each opaque pixel
    inside[labels[opaque]] = brightest[opaque]
    expected = inside[labels[soft]]
    telling = expected >= _MIN_LEVEL
    if np.count_nonzero(telling) < _MIN_PIXELS:
        return False
    level, expected = brightest[soft][telling], expected[telling]
    share = alpha[soft][telling] / np.float32(255)
    straight, premultiplied = (np.abs(level - each).mean() for each in (expected, share * expected))
    return bool(premultiplied < _MAX_ERROR_RATIO * straight)
