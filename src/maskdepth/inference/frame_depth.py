"""Disparity and depth of one picture: the foreground's, laid over the plate's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize, resize_mask
from maskdepth.inference.matting.matte import NetworkRun
from maskdepth.inference.plate.alignment import Alignment, align_frame, split_layers
from maskdepth.inference.plate.calibration import Calibration
from maskdepth.inference.plate.prepared import Floats, Mask, RegisteredPlate
from maskdepth.inference.plate.profile import PlateProfile

__all__ = ["FrameDepth", "align_to_profile", "lay_over_plate"]


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
        answer = np.clip(resize(disparity, *mask.shape), 0, 1)
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
    layers = split_layers(
        run.disparity, small_mask, small_background, small_covered, stand=not plate.estimated
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
