"""Near-duplicates: pictures so alike that they must not be in two splits.

In a thousand frames of one camera every two are alike, so groups are kept and not pairs: memory
grows with the number of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize

SIDE: Final = 16
"""Thumbnails are SIDE x SIDE."""

# Measured on 261 cutouts and 86 photos: 19 in 20 copies that were shrunk, saved again at JPEG
# quality 50, tinted by 8 % or cropped by 3 % lie below this. The nearest pairs that show different
# things lie at 0.66 (cutouts) and 0.44 (sides of one panorama).
MAX_DISTANCE: Final = 0.4
MAX_LOG_ASPECT: Final = 0.1
# Grey levels. Below this spread a picture is flat, and its noise must not count as content.
_MIN_SPREAD: Final = 8.0
_MID_GREY: Final = 128.0
_ROWS_AT_ONCE: Final = 256


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of a picture: float32 (SIDE, SIDE, 3) RGB, and log(width / height)."""

    pixels: NDArray[np.float32]
    log_aspect: float


@dataclass(frozen=True)
class Pair:
    """Two near-duplicates by their indices, ``first < second``."""

    first: int
    second: int
    mirrored: bool


def thumbnail(picture: NDArray[np.uint8]) -> Thumbnail:
    """The thumbnail of uint8 (H, W, 3) RGB, or of (H, W, 4) straight RGBA over mid-grey."""
    height, width = picture.shape[:2]
    if picture.shape[2] == 4:
        alpha = picture[..., 3].astype(np.float32) / 255
        # One channel at a time: floats of all four would take sixteen bytes a pixel.
        planes = (alpha * picture[..., c] + (1 - alpha) * _MID_GREY for c in range(3))
        small = np.stack([resize(plane, SIDE, SIDE) for plane in planes], axis=2)
    else:
        small = resize(picture, SIDE, SIDE).astype(np.float32)
    return Thumbnail(small.astype(np.float32), float(np.log(width / height)))


def near_duplicates(thumbnails: Sequence[Thumbnail]) -> tuple[list[int], list[Pair]]:
    """Groups and pairs of thumbnails that are alike, mirrored or not.

    The distance of two thumbnails is the root mean square of their difference divided by that
    of their two spreads (standard deviations around each one's mean colour): 0 for equal
    pictures, about 1.4 for unrelated ones.

    Returns:
        For each thumbnail the smallest index in its group (chains of pairs form one group); and,
        in order, each thumbnail that resembles an earlier one, with the earliest of these.
    """
    if not thumbnails:
        return [], []
    pixels = np.stack([thumb.pixels for thumb in thumbnails])
    aspects = np.array([thumb.log_aspect for thumb in thumbnails])
    spread = np.sqrt(((pixels - pixels.mean((1, 2), keepdims=True)) ** 2).mean((1, 2, 3)))
    spread = np.maximum(spread, _MIN_SPREAD)
    # |a - b|^2 = |a|^2 - 2ab + |b|^2 lets one matrix product compare a block with all.
    plain = pixels.reshape(len(pixels), -1).astype(np.float64)
    mirrored = pixels[:, :, ::-1].reshape(len(pixels), -1).astype(np.float64)
    squares = (plain**2).sum(axis=1)
    indices = np.arange(len(plain))
    groups, pairs = indices.copy(), []
    for start in range(0, len(plain), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        sums = squares[rows, None] + squares[None]
        scale = plain.shape[1] * (spread[rows, None] ** 2 + spread[None] ** 2) / 2
        straight = (sums - 2 * plain[rows] @ plain.T) / scale
        turned = (sums - 2 * plain[rows] @ mirrored.T) / scale
        alike = np.minimum(straight, turned) <= MAX_DISTANCE**2
        alike &= np.abs(aspects[rows, None] - aspects[None]) <= MAX_LOG_ASPECT
        for row, second in enumerate(indices[rows]):
            earlier = np.flatnonzero(alike[row, :second])
            if len(earlier):
                first = int(earlier[0])
                flipped = bool(turned[row, first] < straight[row, first])
                pairs.append(Pair(first, int(second), flipped))
                joined = np.unique(groups[np.append(earlier, second)])
                groups[np.isin(groups, joined)] = joined[0]
    return groups.tolist(), pairs
