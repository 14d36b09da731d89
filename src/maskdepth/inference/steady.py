"""Alpha and disparity without flicker where a stream's picture stands still.

Where neither the picture nor its plate changed, the network's answer of this frame is averaged with
those before: the weight of the past is n / (n + 1) after n such frames, up to `_MAX_FRAMES`. Where
one of them changed, and a little around it, the answer of this frame stands alone. So nothing lags
behind what moves. What counts as a change is measured on a small picture, against the mean of the
frames since the last change, and grows with the noise of the camera. An answer that changes over an
area counts as a change, too: an object of nearly its background's colour would be late otherwise.

A cut, a camera that is moved, and frames of another size begin again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.plate.registration import Registration
from maskdepth.inference.prediction import Prediction

__all__ = ["SteadyState", "steady_prediction"]

_SMALL_SIDE: Final = 192  # of the small picture's short side, px
_MAX_FRAMES: Final = 9
_LEVELS: Final = 3.0  # of 255: a change is none below this plus ...
_NOISE: Final = 2.5  # ... so many medians of all changes, ...
_MAX_NOISE: Final = 4.0  # ... which are no camera's noise above this, ...
_CERTAIN: Final = 1.5  # ... and counts in full at so many times both
_ANSWER: Final = (5, 0.3)  # a change of alpha by this, on average of a square of this side, counts
_REACH: Final = 5  # side of the square about a pixel in which a change counts, small pixels
_CUT_SHARE: Final = 0.6  # of the small pixels change in a cut
_MOVED_SHARE: Final = 0.01  # of the long side: a camera that moves by this begins again

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SteadyState:
    """What smoothing reads of the frames before. It can be pickled.

    Attributes:
        picture, plate: float32 (h, w, 3), small: the mean picture since the last change at each
            pixel, and the plate as it was registered; no plate without one.
        count: float32 (h, w), how many frames there were since that change, up to `_MAX_FRAMES`.
        small_alpha: float32 (h, w).
        alpha, disparity: float32 (H, W), as they were given out.
        inverse_depth: float32 (H, W), 1/m; None without metres.
        registration: of the last frame.
    """

    picture: Floats
    plate: Floats | None
    count: Floats
    small_alpha: Floats
    alpha: Floats
    disparity: Floats
    inverse_depth: Floats | None
    registration: Registration | None


def steady_prediction(
    prediction: Prediction, state: SteadyState | None
) -> tuple[Prediction, SteadyState]:
    """The prediction of a stream's next frame, steadied, and the state for the frame after it.

    Args:
        prediction: of this frame alone.
        state: of the frame before; None at the start.
    """
    picture = _shrink(prediction.image)
    plate = None if prediction.plate is None else _shrink(prediction.plate)
    inverse = None if prediction.depth_m is None else np.float32(1) / prediction.depth_m
    fresh = SteadyState(
        picture,
        plate,
        np.zeros(picture.shape[:2], np.float32),
        _resize(prediction.alpha, (picture.shape[1], picture.shape[0]), cv2.INTER_AREA),
        prediction.alpha,
        prediction.disparity,
        inverse,
        prediction.provenance.registration,
    )
    if state is None or not _goes_on(state, fresh):
        return prediction, fresh
    still = _still_share(state, fresh)
    if np.mean(still == 0) > _CUT_SHARE:
        return prediction, fresh
    past = still * state.count  # (h, w) frames that count
    weight = past / (past + 1)
    size = fresh.alpha.shape[1], fresh.alpha.shape[0]
    large_weight = _resize(weight, size, cv2.INTER_LINEAR)
    alpha = _blend(fresh.alpha, state.alpha, large_weight)
    disparity = _blend(fresh.disparity, state.disparity, large_weight)
    if inverse is not None and state.inverse_depth is not None:
        inverse = _blend(inverse, state.inverse_depth, large_weight)
    depth_m = prediction.depth_m
    if inverse is not None:
        with np.errstate(divide="ignore"):
            depth_m = np.float32(1) / inverse
    after = replace(
        fresh,
        picture=_blend(picture, state.picture, weight[..., None]),
        count=still * np.minimum(past + 1, np.float32(_MAX_FRAMES)),
        small_alpha=_blend(fresh.small_alpha, state.small_alpha, weight),
        alpha=alpha,
        disparity=disparity,
        inverse_depth=inverse,
    )
    return replace(prediction, alpha=alpha, disparity=disparity, depth_m=depth_m), after


def _shrink(picture: NDArray[np.uint8]) -> Floats:
    height, width = picture.shape[:2]
    shrink = min(1.0, _SMALL_SIDE / min(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _resize(values: Floats, size: tuple[int, int], interpolation: int) -> Floats:
    """Values at another size (width, height)."""
    return np.asarray(cv2.resize(values, size, interpolation=interpolation), np.float32)


def _goes_on(state: SteadyState, fresh: SteadyState) -> bool:
    """Whether two frames have one size, and the same plate from the same camera's place."""
    if state.alpha.shape != fresh.alpha.shape or (state.plate is None) != (fresh.plate is None):
        return False
    if (state.inverse_depth is None) != (fresh.inverse_depth is None):
        return False
    places = [_place(each.registration) for each in (state, fresh)]
    return float(np.abs(places[1] - places[0]).max()) < _MOVED_SHARE


def _place(registration: Registration | None) -> NDArray[np.float64]:
    """Where a plate's corners are in the picture, in shares of its long side."""
    if registration is None:
        return np.zeros((3, 2))
    height, width = registration.size
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1]], np.float64)
    matrix = registration.matrix
    moved = corners[:, :2] if matrix is None else corners @ np.asarray(matrix).T
    return np.asarray((moved - corners[:, :2]) / max(height, width))


def _still_share(state: SteadyState, fresh: SteadyState) -> Floats:
    """(h, w): 1 where nothing changed, 0 where something did."""
    change = _largest_change(fresh.picture, state.picture)
    if fresh.plate is not None and state.plate is not None:
        change = np.maximum(change, _largest_change(fresh.plate, state.plate))
    noise = min(float(np.median(change)), _MAX_NOISE)
    low = _LEVELS + _NOISE * noise
    still = np.clip((_CERTAIN - change / low) / (_CERTAIN - 1), 0, 1).astype(np.float32)
    side, limit = _ANSWER
    answer = np.abs(cv2.blur(fresh.small_alpha - state.small_alpha, (side, side)))
    still[answer > limit] = 0
    return np.asarray(cv2.erode(still, np.ones((_REACH, _REACH), np.uint8)), np.float32)


def _largest_change(one: Floats, other: Floats) -> Floats:
    """(h, w): the largest of three channels, of a mean over 3 by 3 pixels."""
    red, green, blue = cv2.split(np.abs(cv2.blur(one - other, (3, 3))))
    return np.asarray(np.maximum(np.maximum(red, green), blue), np.float32)


def _blend(fresh: Floats, past: Floats, weight: Floats) -> Floats:
    """Both, with the past's weight; the fresh value where one of the two is invalid."""
    mixed = fresh + weight * (past - fresh)
    invalid = np.isnan(mixed)
    if invalid.any():
        mixed = np.where(invalid, fresh, mixed)
    return np.asarray(mixed, np.float32)
