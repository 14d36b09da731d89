"""A frame's layers and its plate's depth, made one map.

The network reads the frame, the plate and the plate's disparity, and answers in disparity of its
own scale and shift. Three steps bring that into the plate's units:

1. Scale and shift are fitted where the plate is seen, well outside the mask, robustly, since
   shadows and what has been moved do not fit.
2. Outside the mask stands the plate's own depth; inside, the network's layer in its units.
3. An object whose lowest edge meets the plate is put where the plate is there: its layer is scaled
   so that its median is the plate's inverse depth at the contact. How far away the object is, is
   then what the plate says; its relief is what the network says. Where the network sees a large
   step across that edge, its layer is kept: not everything stands on what is seen below it, such
   as a bird, or a person behind a counter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import depth_from_inverse_depth, fit_scale_shift_robust
from maskdepth.inference.plate.profile import PlateProfile

_CLEAR: Final = 0.02  # of the long side: what lies nearer to the mask takes no part in the fit
_LEAST_SHARE: Final = 0.02  # of the picture that has to be seen outside the mask
_MOST_FITTED: Final = 40_000  # pixels; more make the fit no better
_FOOT: Final = 0.08  # of an object's height: how far above its lowest pixel it still touches
_BAND: Final = 0.006  # of the long side: how far the plate is read below, and the layer above
# The plate's inverse depth just below a foot, over the layer's just above: beyond these it is no
# mistake of the network. It errs to the near side: trained where nothing is known of the ground, it
# has learned that things lie nearer than what is behind them.
_STEPS: Final = (1 / 3, 1.5)
_GAP: Final = 0.02  # of the long side: parts of the mask that are nearer belong to one object
_LEAST_OBJECT: Final = 0.0005  # of the picture; smaller specks are left as they are

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Alignment:
    """How a frame's disparity came into its plate's units.

    Attributes:
        scale, shift: of the network's disparity; None where ``problem`` says why there are none.
        residual: median size of what is left outside the mask, relative to the median there.
        pixels: how many were fitted.
        objects: parts of the mask; ``standing``: those that were put where the plate is.
        problem: why the layer inside the mask is invalid; None if it is not.
    """

    scale: float | None
    shift: float | None
    residual: float | None
    pixels: int
    objects: int = 0
    standing: int = 0
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class AlignedFrame:
    """A frame in its plate's units.

    Attributes:
        disparity: float32 (H, W) in [0, 1], in units of the plate's; NaN where invalid.
        depth_m: float32 (H, W) metres, where the plate is calibrated: infinity is sky or beyond all
            measure, NaN invalid.
        alignment: how it came about.
    """

    disparity: NDArray[np.float32]
    depth_m: NDArray[np.float32] | None
    alignment: Alignment


def align_frame(disparity: NDArray[np.float32], mask: Mask, profile: PlateProfile) -> AlignedFrame:
    """Bring a frame's predicted disparity into its plate's units.

    Args:
        disparity: float32 (H, W), the network's; all NaN where it never learned depth.
        mask: bool (H, W), the foreground.
        profile: of the frame's size.
    """
    calibration = profile.calibration
    known = np.asarray(profile.disparity, np.float64)
    if calibration is not None:
        known = calibration.inverse_depth(known)
    layer, alignment = _align(disparity, mask, known)
    values = np.where(mask, layer, known)
    plain = values if calibration is None else (values - calibration.shift) / calibration.scale
    depth_m = profile.known_depth_m()
    if depth_m is not None:
        depth_m = np.where(mask, depth_from_inverse_depth(layer), depth_m)
    return AlignedFrame(np.clip(plain, 0, 1).astype(np.float32), depth_m, alignment)


def _align(disparity: NDArray[np.float32], mask: Mask, known: Floats) -> tuple[Floats, Alignment]:
    """The network's disparity in the units of ``known``, meaningful inside the mask."""
    nowhere = np.full(known.shape, np.nan)
    if not mask.any():
        return nowhere, Alignment(None, None, None, 0, problem=None)
    seen = ~_grown(mask, _CLEAR) & np.isfinite(known) & np.isfinite(disparity)
    count = int(seen.sum())
    if count < _LEAST_SHARE * mask.size:
        problem = (
            "the model never learned depth"
            if np.isnan(disparity).all()
            else "too little of the plate is seen outside the mask"
        )
        return nowhere, Alignment(None, None, None, count, problem=problem)
    step = max(1, count // _MOST_FITTED)
    pred, target = disparity[seen][::step].astype(np.float64), known[seen][::step]
    scale, shift = fit_scale_shift_robust(pred, target, np.ones(pred.shape, np.bool_))
    if not scale > 0:
        problem = "the predicted disparity does not follow the plate's outside the mask"
        return nowhere, Alignment(None, None, None, len(pred), problem=problem)
    left = float(np.median(np.abs(scale * pred + shift - target)))
    layer = scale * disparity.astype(np.float64) + shift
    objects, standing = _meet_plate(layer, mask, known)
    typical = float(np.median(np.abs(target)))
    residual = left / typical if typical > 0 else None
    return layer, Alignment(scale, shift, residual, len(pred), objects, standing)


def _meet_plate(layer: Floats, mask: Mask, known: Floats) -> tuple[int, int]:
    """Put each object's layer, in place, where the plate is that its foot touches.

    Returns:
        How many objects there are, and how many stand on what is seen below them.
    """
    found, labels, boxes, _ = cv2.connectedComponentsWithStats(
        _grown(mask, _GAP / 2).astype(np.uint8)
    )
    objects = standing = 0
    for number in range(1, found):
        left, top, width, height, _ = boxes[number].tolist()
        window = np.s_[top : top + height, left : left + width]
        own = (labels[window] == number) & mask[window]
        if own.sum() < _LEAST_OBJECT * mask.size:
            continue
        objects += 1
        contact = _read_contact(own, (top, left), layer, known, mask)
        middle = float(np.median(layer[window][own]))
        if contact is None or middle <= 0:
            continue
        plate, foot = contact
        if _STEPS[0] <= plate / foot <= _STEPS[1]:
            layer[window][own] *= plate / middle
            standing += 1
    return objects, standing


def _read_contact(
    own: Mask, corner: tuple[int, int], layer: Floats, known: Floats, mask: Mask
) -> tuple[float, float] | None:
    """The plate just below an object's foot, and the layer just above.

    None where the foot is cut off by the frame, or one of the two is not positive there.

    Args:
        own: the object, bool, in a window of the picture whose first pixel is ``corner``.
    """
    band = max(2, round(_BAND * max(mask.shape)))
    columns = np.flatnonzero(own.any(axis=0))
    lowest = own.shape[0] - 1 - own[::-1, columns].argmax(axis=0)
    highest = int(np.flatnonzero(own.any(axis=1))[0])
    touching = lowest >= lowest.max() - _FOOT * (lowest.max() - highest)
    rows, columns = corner[0] + lowest[touching], corner[1] + columns[touching]
    # An object that leaves the picture below has its foot elsewhere.
    if (rows + band >= mask.shape[0]).mean() > 0.5:
        return None
    below, above = [], []
    for offset in range(band):
        under = rows + 1 + offset
        inside = under < mask.shape[0]
        at = (under[inside], columns[inside])
        below.append(known[at][~mask[at]])
        over = (np.maximum(rows - offset, 0), columns)
        above.append(layer[over][mask[over]])
    seen, foot = np.concatenate(below), np.concatenate(above)
    seen = seen[np.isfinite(seen)]
    if not seen.size or not np.median(seen) > 0 or not np.median(foot) > 0:
        return None
    return float(np.median(seen)), float(np.median(foot))


def _grown(mask: Mask, share: float) -> Mask:
    reach = max(1, round(share * max(mask.shape)))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), np.bool_)
