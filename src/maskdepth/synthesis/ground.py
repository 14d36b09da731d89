"""Points of level ground, where something could stand, found in a background's disparity.

The inverse depth of any plane is affine in the picture's coordinates. Level planes share one
horizon, the row where their inverse depth is 0. Seen by a camera at height h above such a plane,
the length h takes up u rows at the point that lies u rows below the horizon (if the camera looks
about level; in proportion, if it looks down). So disparity alone gives points of ground and the
size of things that stand there, in camera heights: neither metres nor a focal length are needed.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import shrink_disparity

GroundPoint = tuple[float, float, float, float]
"""x and y as shares of the background's width and height, the disparity there, and the rows below
the horizon as a share of the height, which are the size of one camera height there."""

_Map = NDArray[np.float64]

_SIDE: Final = 128  # px, side of the copy that is searched
_REACH: Final = 3  # px around a point, to which a plane is fitted
_MAX_POINTS: Final = 32
_MIN_POINTS: Final = 12
_MAX_RESIDUAL: Final = 0.02  # of the disparity, root mean square
_MAX_SIDEWAYS: Final = 0.4  # of the slope downwards: 22 degrees of roll
_UNITS: Final = (0.05, 3.0)  # of the height; a steeper plane is rather a wall than ground
_HORIZON_BIN: Final = 0.05  # of the height


def find_ground(disparity: NDArray[np.float32]) -> tuple[GroundPoint, ...]:
    """Points of the largest level ground, from the top of the picture to its bottom.

    Args:
        disparity: (H, W) in [0, 1], proportional to inverse depth; NaN is unknown.

    Returns:
        At most 32 points; none where too little of the picture looks like ground.
    """
    small = shrink_disparity(disparity, _SIDE).astype(np.float64)
    height, width = small.shape
    value, across, down, residual = _planes(small)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = value / down  # rows below the horizon
        rows, columns = np.mgrid[:height, :width]
        # The horizon of each plane in the picture's middle column, where roll does not matter.
        horizon = rows - (value + across * (width / 2 - columns)) / down
        likely = (
            (down > 0)
            & (residual < _MAX_RESIDUAL * value)
            & (np.abs(across) < _MAX_SIDEWAYS * down)
            & (unit > _UNITS[0] * height)
            & (unit < _UNITS[1] * height)
        )
    if not likely.any():
        return ()
    agreed = likely & (np.abs(horizon - _mode(horizon[likely] / height) * height) < (
        _HORIZON_BIN * height
    ))  # fmt: skip
    y, x = np.nonzero(agreed)
    if len(y) < _MIN_POINTS:
        return ()
    # Spread over the rows: neighbours are equally good.
    chosen = np.unique(np.linspace(0, len(y) - 1, _MAX_POINTS).round().astype(int))
    points = np.stack(
        [
            (x[chosen] + 0.5) / width,
            (y[chosen] + 0.5) / height,
            value[y[chosen], x[chosen]],
            unit[y[chosen], x[chosen]] / height,
        ],
        axis=1,
    )
    return tuple(tuple(round(float(part), 5) for part in point) for point in points)  # type: ignore[misc]


def _planes(disparity: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Least-squares planes around each pixel: value, slope across and down, residual (RMS).

    NaN wherever a pixel of the neighbourhood has no disparity or is infinitely far.
    """
    finite = np.where(disparity > 0, disparity, np.nan)
    side = 2 * _REACH + 1
    away = np.arange(-_REACH, _REACH + 1, dtype=np.float64)
    ones = np.ones(side)
    spread = float((away**2).mean())

    def mean(values: _Map, x: _Map, y: _Map) -> _Map:
        total = cv2.sepFilter2D(values, cv2.CV_64F, x, y, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(total / side**2)

    # A pixel without disparity, or beyond the edge, makes its neighbourhood NaN.
    padded = np.pad(finite, _REACH, constant_values=np.nan)
    inner = np.s_[_REACH:-_REACH, _REACH:-_REACH]
    value = mean(padded, ones, ones)[inner]
    across = mean(padded, away, ones)[inner] / spread
    down = mean(padded, ones, away)[inner] / spread
    squares = mean(padded**2, ones, ones)[inner]
    variance = squares - value**2 - spread * (across**2 + down**2)
    return value, across, down, np.sqrt(np.maximum(variance, 0))


def _mode(values: NDArray[np.float64]) -> float:
    """The value around which most of the values lie, within two bins."""
    low, high = float(values.min()), float(values.max())
    bins = max(1, int((high - low) / _HORIZON_BIN) + 1)
    counts, edges = np.histogram(values, bins=bins, range=(low, low + bins * _HORIZON_BIN))
    near = np.convolve(counts, [1, 1], mode="valid") if bins > 1 else counts
    first = int(near.argmax())
    inside = (values >= edges[first]) & (values <= edges[min(first + 2, bins)])
    return float(np.median(values[inside]))
