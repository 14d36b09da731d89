"""One depth map of a frame's foreground and its plate.

Depth belongs to the plate: outside the mask a frame's disparity is the plate's, so the background
of a fixed camera cannot flicker. Inside the mask it is a layer of its own. The network reads the
frame, the plate and the plate's disparity, and answers in disparity of its own scale and shift.
Three steps bring that into the plate's units:

1. Scale and shift are fitted where the plate is visible, well outside the mask. The fit is robust,
   since shadows and things that were moved do not follow it.
2. Outside the mask the map is the plate's own depth; inside it is the network's layer in the
   plate's units.
3. An object whose lowest edge touches the ground is put there: its layer is scaled so that its
   median is the plate's inverse depth at the contact. The object's distance then comes from the
   plate, and its relief from the network. Where the network finds a large step across that edge,
   its layer is kept: a bird, or a person behind a counter, does not stand on what is below it.
   This is done where the plate's disparity came with it. Of an estimated one, it made the depth of
   objects worse, standing ones too.

Where the camera moved, its plate does not cover all of the frame. Of a plate profile nothing is
known there, and an object whose lowest edge lies there has no depth. Where the plate's disparity is
only an estimate, the network's own answer for the frame takes its place, in the plate's units.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import depth_from_inverse_depth, fit_scale_shift_robust
from maskdepth.inference.plate.profile import PlateProfile
from maskdepth.records import Json

_MASK_MARGIN: Final = 0.02  # of the long side: pixels nearer to the mask are not fitted
_MIN_VISIBLE: Final = 0.02  # share of the picture that has to show the plate, outside the mask
_MAX_FITTED: Final = 2_500  # pixels; more make the fit no better
_ROUNDING: Final = 1e-6  # of the largest target
_FOOT: Final = 0.08  # of an object's height above its lowest pixel, which may touch the ground
_BAND: Final = 0.006  # of the long side: how far the plate is read below, and the layer above
# The plate's inverse depth just below a foot, over the layer's just above it. A ratio outside this
# range is no mistake of the network, so the layer is kept. The network errs to the near side: where
# it has learned without ground, things lie nearer than what is behind them.
_CONTACT_RATIOS: Final = (1 / 3, 1.5)
_GAP: Final = 0.02  # of the long side: parts of the mask nearer to each other are one object
_MIN_OBJECT: Final = 0.0005  # share of the picture; smaller specks are left as they are
_IN_FRONT: Final = 0.01  # of the disparity's range: what is that much nearer lies in front

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Alignment:
    """How a frame's disparity came into its plate's units.

    Attributes:
        scale, shift: of the network's disparity; None where ``problem`` says why they are missing.
        residual: median error of the fit outside the mask, relative to the median there.
        pixels: number of pixels that were fitted.
        objects: number of separate parts of the mask; 0 where objects are not put on the ground.
        standing: number of objects that were put on the ground.
        in_front: share of the mask's pixels at which the layer is nearer than the plate by 0.01 of
            the disparity's range; None where there are no such pixels with a valid plate.
        problem: why the layer is invalid inside the mask or a part of it; None if it is valid.
    """

    scale: float | None
    shift: float | None
    residual: float | None
    pixels: int
    objects: int = 0
    standing: int = 0
    in_front: float | None = None
    problem: str | None = None

    def as_json(self) -> Json:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class AlignedFrame:
    """A frame in its plate's units.

    Attributes:
        disparity: float32 (H, W) in [0, 1], in units of the plate's; NaN where invalid.
        depth_m: float32 (H, W) metres, where the plate is calibrated: infinity is sky or beyond all
            measure, NaN invalid.
        alignment: how the disparity came into these units.
    """

    disparity: NDArray[np.float32]
    depth_m: NDArray[np.float32] | None
    alignment: Alignment


@dataclass(frozen=True, eq=False)
class FrameLayers:
    """A frame's disparity in its plate's units, float32 (H, W) in [0, 1] each.

    Attributes:
        foreground: of use inside the mask, where it is never farther than the plate.
        frame: the network's own answer for the frame, of use where the plate shows nothing.
        alignment: how both came into these units.
    """

    foreground: NDArray[np.float32]
    frame: NDArray[np.float32]
    alignment: Alignment


def split_layers(
    disparity: NDArray[np.float32],
    mask: Mask,
    plate: NDArray[np.float32],
    covered: Mask | None = None,
    *,
    stand: bool = True,
) -> FrameLayers:
    """Bring a frame's predicted disparity into the units of its plate's disparity.

    Args:
        disparity: float32 (H, W), the network's, which has read the plate's disparity; finite.
        mask: bool (H, W), the foreground.
        plate: float32 (H, W) in [0, 1], NaN where it is invalid.
        covered: as in `align_frame`.
        stand: whether objects are put on the ground. Where the plate's disparity is only an
            estimate its errors at their feet would become theirs.
    """
    target = plate.astype(np.float64)
    layer, alignment = _align(disparity, mask, target, covered, stand=stand)
    frame = disparity.astype(np.float64)
    # Without a fit the answer stays as it is: the network has read the plate's disparity.
    if alignment.scale is not None and alignment.shift is not None:
        frame = alignment.scale * frame + alignment.shift
    layer = np.where(np.isnan(layer), frame, layer)
    alignment = replace(alignment, in_front=_share_in_front(layer, target, mask))
    foreground = np.fmax(layer, target)  # NaN is ignored
    return FrameLayers(
        np.clip(foreground, 0, 1).astype(np.float32),
        np.clip(frame, 0, 1).astype(np.float32),
        alignment,
    )


def align_frame(
    disparity: NDArray[np.float32],
    mask: Mask,
    profile: PlateProfile,
    covered: Mask | None = None,
) -> AlignedFrame:
    """Bring a frame's predicted disparity into its plate's units.

    Args:
        disparity: float32 (H, W), the network's; all NaN where it never learned depth.
        mask: bool (H, W), the foreground.
        profile: of the frame's size.
        covered: bool (H, W), where the frame shows what the plate's camera saw; None: everywhere.
    """
    calibration, plate = profile.calibration, profile.alignment_target
    layer, alignment = _align(disparity, mask, plate, covered)
    alignment = replace(alignment, in_front=_share_in_front(layer, plate, mask))
    values = np.where(mask, layer, plate)
    plain = values if calibration is None else (values - calibration.shift) / calibration.scale
    depth_m = profile.best_depth_m
    if depth_m is not None:
        depth_m = np.where(mask, depth_from_inverse_depth(layer), depth_m)
    return AlignedFrame(np.clip(plain, 0, 1).astype(np.float32), depth_m, alignment)


def _align(
    disparity: NDArray[np.float32],
    mask: Mask,
    plate: Floats,
    covered: Mask | None,
    *,
    stand: bool = True,
) -> tuple[Floats, Alignment]:
    """The network's disparity in the units of ``plate``, of use inside the mask."""
    invalid = np.full(plate.shape, np.nan)
    if not mask.any():
        return invalid, Alignment(None, None, None, 0, problem=None)
    # A grid of pixels is enough for the fit.
    step = max(1, round((mask.size / _MAX_FITTED) ** 0.5))
    grid = np.s_[::step, ::step]
    pred, target = disparity[grid].astype(np.float64), plate[grid]
    visible = ~_grown(mask[grid], _MASK_MARGIN) & np.isfinite(target) & np.isfinite(pred)
    pred, target = pred[visible], target[visible]
    count = len(pred)
    if count < _MIN_VISIBLE * visible.size:
        problem = (
            "the model never learned depth"
            if np.isnan(disparity).all()
            else "too little of the plate is seen outside the mask"
        )
        return invalid, Alignment(None, None, None, count, problem=problem)
    scale, shift = fit_scale_shift_robust(pred, target, np.ones(pred.shape, np.bool_))
    # Where the plate is nearly all at one distance the line is level, but for rounding. That is an
    # answer if the distance was given, and none if it was only estimated.
    level = abs(scale) * float(np.ptp(pred)) <= _ROUNDING * float(np.abs(target).max())
    if not (scale and stand if level else scale > 0):
        problem = "the predicted disparity does not follow the plate's outside the mask"
        return invalid, Alignment(None, None, None, count, problem=problem)
    error = float(np.median(np.abs(scale * pred + shift - target)))
    layer = scale * disparity.astype(np.float64) + shift
    objects, standing, beyond = _put_on_ground(layer, mask, plate, covered) if stand else (0, 0, 0)
    typical = float(np.median(np.abs(target)))
    residual = error / typical if typical > 0 else None
    alignment = Alignment(scale, shift, residual, count, objects, standing)
    if beyond:
        unseen = f"{beyond} of {objects} objects stand where the plate's camera never saw"
        alignment = replace(alignment, problem=unseen)
    return layer, alignment


def _share_in_front(layer: Floats, plate: Floats, mask: Mask) -> float | None:
    """The share of a layer's pixels in the mask that are nearer than the plate."""
    compared = mask & np.isfinite(plate) & np.isfinite(layer)
    if not compared.any():
        return None
    nearest = max(float(np.nanmax(plate)), 1e-6)
    gap = (layer[compared] - plate[compared]) / nearest
    return float((gap >= _IN_FRONT).mean())


def _put_on_ground(
    layer: Floats, mask: Mask, plate: Floats, covered: Mask | None
) -> tuple[int, int, int]:
    """Scale each object's layer, in place, to the plate's depth where its foot touches the ground.

    Returns:
        The number of objects, of those that stand on the ground, and of those whose foot the plate
        does not cover, which makes their layer invalid.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        _grown(mask, _GAP / 2).astype(np.uint8)
    )
    objects = standing = beyond = 0
    for number in range(1, count):
        left, top, width, height, _ = boxes[number].tolist()
        window = np.s_[top : top + height, left : left + width]
        own = (labels[window] == number) & mask[window]
        if own.sum() < _MIN_OBJECT * mask.size:
            continue
        objects += 1
        rows, columns = _find_foot(own, (top, left))
        if covered is not None:
            below = np.minimum(rows + 1, mask.shape[0] - 1)
            if covered[below, columns].mean() < 0.5:
                layer[window][own] = np.nan
                beyond += 1
                continue
        contact = _read_contact(rows, columns, layer, plate, mask)
        middle = float(np.median(layer[window][own]))
        if contact is None or middle <= 0:
            continue
        ground, foot = contact
        if _CONTACT_RATIOS[0] <= ground / foot <= _CONTACT_RATIOS[1]:
            # Beyond its mask too: maps are enlarged later, and edges mix both sides.
            layer[window][labels[window] == number] *= ground / middle
            standing += 1
    return objects, standing, beyond


def _find_foot(own: Mask, corner: tuple[int, int]) -> tuple[Indices, Indices]:
    """Rows and columns of the lowest pixels of an object, which may touch the ground.

    Args:
        own: the object, bool, in a window of the picture whose first pixel is ``corner``.
    """
    columns = np.flatnonzero(own.any(axis=0))
    lowest = own.shape[0] - 1 - own[::-1, columns].argmax(axis=0)
    highest = int(np.flatnonzero(own.any(axis=1))[0])
    touching = lowest >= lowest.max() - _FOOT * (lowest.max() - highest)
    return corner[0] + lowest[touching], corner[1] + columns[touching]


def _read_contact(
    rows: Indices, columns: Indices, layer: Floats, plate: Floats, mask: Mask
) -> tuple[float, float] | None:
    """The plate just below an object's foot, and the layer just above.

    None where the frame cuts off the foot, or one of the two is not positive.
    """
    band = max(2, round(_BAND * max(mask.shape)))
    # An object that leaves the picture below has its foot elsewhere.
    if (rows + band >= mask.shape[0]).mean() > 0.5:
        return None
    below, above = [], []
    for offset in range(band):
        under = rows + 1 + offset
        inside = under < mask.shape[0]
        at = (under[inside], columns[inside])
        below.append(plate[at][~mask[at]])
        over = (np.maximum(rows - offset, 0), columns)
        above.append(layer[over][mask[over]])
    ground, foot = np.concatenate(below), np.concatenate(above)
    ground = ground[np.isfinite(ground)]
    if not ground.size or not np.median(ground) > 0 or not np.median(foot) > 0:
        return None
    return float(np.median(ground)), float(np.median(foot))


def _grown(mask: Mask, share: float) -> Mask:
    """The mask and what is nearer to it than a share of the long side."""
    reach = max(1, round(share * max(mask.shape)))
    # No larger than the picture; and a sum costs the same at any reach, a maximum does not.
    height, width = (2 * min(reach, side) + 1 for side in mask.shape)
    near = cv2.boxFilter(
        mask.astype(np.uint8),
        cv2.CV_32S,
        (width, height),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    return near > 0
