"""The layers of a prediction as arrays that a video or a picture holds."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import encode_depth_mm, encode_disparity
from maskdepth.inference.output_files import NoMetresError
from maskdepth.inference.prediction import BackgroundSource, Prediction

COLOUR_OVER_MATTE: Final = "colour over matte"
"""A layer that carries alpha where a file has none: twice the height, the matte below."""

_REACH_PX: Final = 5  # encoders mix the colours of pixels that are so far apart


@lru_cache(maxsize=2)
def cutout_of(prediction: Prediction) -> NDArray[np.uint8]:
    """`Prediction.cutout`, computed once for all files that hold it or something made of it."""
    return prediction.cutout()


def render_layer(
    kind: str, prediction: Prediction, background: BackgroundSource | None = None
) -> NDArray[Any]:
    """A layer as numbers whose meaning is the same in every frame.

    Args:
        kind: a format of `maskdepth.Prediction.save` but the JSON, or `COLOUR_OVER_MATTE`.
        background: what a composite is put on.

    Returns:
        uint8 (H, W) for alpha; uint16 (H, W) for disparity and depth, coded as in the PNGs of a
        prediction; uint8 (H, W, 4) straight RGBA for the cutout; else uint8 (h, w, 3) RGB.

    Raises:
        NoMetresError: depth where the plate has no metres.
    """
    if kind == "alpha":
        return prediction.alpha_8_bit()
    if kind == "disparity":
        return encode_disparity(prediction.disparity)
    if kind == "depth":
        if prediction.depth_m is None:
            raise NoMetresError
        return encode_depth_mm(prediction.depth_m)[0]
    cutout = cutout_of(prediction)
    if kind == "cutout":
        return cutout
    if kind == "composite":
        assert background is not None
        return prediction.composite(background, cutout)
    if kind == "preview":
        return prediction.preview(cutout)
    matte = np.repeat(cutout[..., 3:], 3, axis=2)
    return np.concatenate([extend_colours(cutout)[..., :3], matte])


def extend_colours(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A cutout whose colours reach a few pixels beyond its edge, where it is fully transparent.

    Video encoders keep one colour for four pixels, or mix neighbours, so black beyond an edge would
    darken the edge itself. The colours are means of the foreground's.
    """
    left, top, width, height = cv2.boundingRect(cutout[..., 3])
    if width == 0:
        return cutout
    window = np.s_[
        max(0, top - _REACH_PX) : top + height + _REACH_PX,
        max(0, left - _REACH_PX) : left + width + _REACH_PX,
    ]
    part = cutout[window]
    visible = (part[..., 3] > 0).astype(np.float32)
    beyond = cv2.dilate(visible, np.ones((_REACH_PX, _REACH_PX), np.uint8)) > visible
    side = (2 * _REACH_PX - 1, 2 * _REACH_PX - 1)
    # Transparent pixels are black, so they add nothing to the sums.
    sums = cv2.boxFilter(part[..., :3], cv2.CV_32F, side, normalize=False)
    counts = cv2.boxFilter(visible, cv2.CV_32F, side, normalize=False)
    extended = cutout.copy()
    extended[window][beyond, :3] = np.rint(sums[beyond] / counts[beyond][:, None])
    return extended
