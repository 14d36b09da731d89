"""Disparity and depth of one picture: the foreground's, laid over the plate's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize, resize_mask
from maskdepth.inference.matting.matte import NetworkRun
from maskdepth.inference.plate.alignment import Alignment, align_frame, split_layers
from maskdepth.inference.plate.calibration import Calibration
from maskdepth.inference.plate.prepared import Floats, Mask, RegisteredPlate
from maskdepth.inference.plate.profile import PlateProfile

__all__ = ["FrameDepth", "align_to_profile", "lay_over_plate", "settle_rim"]


RIM_PX: Final = 2  # of the network's picture: how far its answers for two sides run together


@dataclass(frozen=True, eq=False)
class FrameDepth:
    """What is known of a picture's depth; the attributes are those of `Prediction`."""

    disparity: Floats  # (H, W)
    sources: Mapping[str, str] = field(default_factory=dict)
    alignment: Alignment | None = None
    calibration: Calibration | None = None
    depth_m: Floats | None = None  # (H, W)
    plate_disparity: Floats | None = None


def align_to_profile(
    disparity: Floats | None, mask: Mask, profile: PlateProfile, covered: Mask | None
) -> FrameDepth:
    """The network's disparity (h, w), None where it has none, in the units of a plate profile."""
    answer = np.full(mask.shape, np.nan, np.float32)
    if disparity is not None:
        settled = settle_rim(disparity, resize_mask(mask, *disparity.shape))
        answer = np.clip(resize(settled, *mask.shape), 0, 1)
    frame = align_frame(answer, mask, profile, covered)
    sources = {"background": "plate profile", "foreground": "picture"}
    return FrameDepth(
        frame.disparity,
        sources,
        frame.alignment,
        profile.calibration,
        frame.depth_m,
        profile.disparity,
    )


def lay_over_plate(run: NetworkRun, mask: Mask, plate: RegisteredPlate) -> FrameDepth:
    """The foreground's disparity over that of a plate without a profile."""
    disparity = plate.full_disparity()
    small_background = plate.small_disparity_or_nan()
    assert disparity is not None
    assert small_background is not None
    small_covered = None
    if plate.covered is not None:
        small_covered = resize_mask(plate.covered, *run.alpha.shape)
        small_background[~small_covered] = np.nan
        disparity[~plate.covered] = np.nan
    small_mask = resize_mask(mask, *run.alpha.shape)
    answer = settle_rim(run.disparity, small_mask)
    layers = split_layers(
        answer, small_mask, small_background, small_covered, stand=not plate.estimated
    )
    rows, columns = (_span(np.asarray(mask.any(axis=axis))) for axis in (1, 0))
    foreground = resize(layers.foreground, *mask.shape)[rows, columns]
    window = disparity[rows, columns]
    # NaN is ignored.
    np.fmax(foreground, window, out=window, where=mask[rows, columns])
    np.clip(window, 0, 1, out=window)
    sources = {
        "background": "estimated from the plate" if plate.estimated else "plate disparity",
        "foreground": "picture",
    }
    unknown = np.isnan(disparity)
    if unknown.any():
        frame = np.clip(resize(layers.frame, *mask.shape), 0, 1)
        disparity[unknown] = frame[unknown]
        sources["unknown in the plate"] = "picture"
    return FrameDepth(disparity, sources, layers.alignment, plate_disparity=plate.disparity)


def _span(used: NDArray[np.bool_]) -> slice:
    """From the first to the last true value; empty where there is none."""
    indices = np.flatnonzero(used)
    return slice(int(indices[0]), int(indices[-1]) + 1) if indices.size else slice(0)


def settle_rim(disparity: Floats, mask: Mask) -> Floats:
    """A network's disparity, with what lies farther inside the foreground along its outline.

    There the network's answer for the foreground runs into that for the background. Within `RIM_PX`
    of the outline, on both sides of it, each value becomes the mean of those around it that lie
    farther inside. Parts too thin to have any keep theirs.

    Args:
        disparity: float32 (h, w), at the network's size.
        mask: bool (h, w), the foreground.
    """
    kernel = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)
    levels = mask.astype(np.uint8)
    inside = cv2.erode(levels, kernel, borderValue=1).astype(np.float32)
    side = 4 * RIM_PX + 1
    count = cv2.boxFilter(inside, -1, (side, side), normalize=False)
    total = cv2.boxFilter(disparity * inside, -1, (side, side), normalize=False)
    rim = (inside == 0) & (count > 0.5)  # a count above 0 is at least 1
    settled = disparity.copy()
    settled[rim] = total[rim] / count[rim]
    return settled
