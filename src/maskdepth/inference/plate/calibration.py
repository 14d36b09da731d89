"""Metres for a plate's disparity: scale and shift in inverse depth, from known distances."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import fit_scale_shift, inverse_depth
from maskdepth.errors import PlateError
from maskdepth.inference.plate.health import finite
from maskdepth.records import Json

MIN_DIFFERENCE: Final = 0.05
"""Smallest difference of the points' disparities; with less, the scale between them is noise."""

NEAREST_M: Final = 1e-6
FARTHEST_M: Final = 1e6
"""Distances outside NEAREST_M to FARTHEST_M are not accepted."""

_REACH: Final = 0.01  # of the long side: half of the window over which a disparity is the median
_MAX_POINTS: Final = 100  # all pairs of points are tried
_DISTANCE_ERROR: Final = 0.02  # the likely error of a distance, relative to it
_DISPARITY_ERROR: Final = 0.02  # the likely error of a plate's disparity
_ROUNDS: Final = 20
_OUTLIER: Final = 2.5  # sigma beyond which a point is left out
_FAR_OFF: Final = 0.25  # of a point's distance: more is no mistake of the plate's disparity alone
_ALWAYS_KEPT: Final = 0.5  # of the likely error: points that fit this well are never left out

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class KnownPoint:
    """A point of the plate whose distance was measured.

    Attributes:
        x, y: column and row, px from the middle of the top left pixel.
        depth_m: metres from the camera, along its optical axis.
    """

    x: float
    y: float
    depth_m: float


@dataclass(frozen=True)
class FittedPoint:
    """A point of known distance, and how it fits the calibration.

    Attributes:
        x, y, depth_m: see ``KnownPoint``.
        disparity: the plate's there.
        fitted_m: the depth that the calibration gives there; None for an outlier where it gives
            none.
        error: relative error of ``fitted_m``.
        used: False where the point was left out as an outlier.
    """

    x: float
    y: float
    depth_m: float
    disparity: float
    fitted_m: float | None
    error: float | None
    used: bool

    @classmethod
    def parse(cls, values: Json) -> FittedPoint:
        """See ``Calibration.parse``."""
        figures = {each.name: values[each.name] for each in fields(cls)}
        used = figures.pop("used")
        for name, value in figures.items():
            if not (value is None and name in ("fitted_m", "error")):
                finite(value)
        if any(isinstance(value, str) for value in figures.values()) or not isinstance(used, bool):
            raise TypeError("a point with values of other kinds")
        return cls(**figures, used=used)


@dataclass(frozen=True)
class Calibration:
    """Inverse depth in 1/metres is ``scale * disparity + shift``.

    Attributes:
        method: ``"measured"`` (the disparity was made from metric depth), ``"exact"`` (two
            points), ``"least squares"`` (three) or ``"robust"`` (four and more).
        points: what it was fitted to.
    """

    scale: float
    shift: float
    method: str
    points: tuple[FittedPoint, ...] = ()

    @classmethod
    def parse(cls, values: Json) -> Calibration:
        """Read what ``as_json`` gave from JSON; other keys are ignored.

        Raises:
            TypeError, ValueError, KeyError: the values are something else.
        """
        scale, shift = finite(values["scale"]), finite(values["shift"])
        if scale <= 0:
            raise ValueError("a calibration without a positive scale")
        points = tuple(FittedPoint.parse(point) for point in values["points"])
        if not (points and any(each.used for each in points)):
            raise ValueError("a calibration without points")
        return cls(scale, shift, str(values["method"]), points)

    def inverse_depth(self, disparity: NDArray[np.floating]) -> Floats:
        """float64 (H, W) 1/metres of a plate's disparity; may be negative, NaN where invalid."""
        return self.scale * np.asarray(disparity, np.float64) + self.shift

    def as_json(self) -> Json:
        """Plain values."""
        return asdict(self) | {"residual_check": self.residual_check}

    def _far_off(self) -> str | None:
        """The point that was used and lies farthest from the fit, if it is far."""
        used = [(abs(each.error or 0.0), each) for each in self.points if each.used]
        if not used:  # the depth was measured
            return None
        error, worst = max(used, key=lambda pair: pair[0])
        if error <= _FAR_OFF:
            return None
        return (
            f"The point ({worst.x:g}, {worst.y:g}) is {error:.0%} off the fit, so one of "
            "the points is wrong, and all metres may be: check the distances, or measure more "
            "points."
        )

    @property
    def warning(self) -> str | None:
        """Why the calibration may follow the wrong points; None where it need not."""
        left_out = sum(not each.used for each in self.points)
        if 4 * left_out <= len(self.points):
            return self._far_off()
        return (
            f"{left_out} of {len(self.points)} points do not fit the others. If one of those that "
            "fit is wrong as well, so are all metres: check the distances, or measure more points."
        )

    @property
    def residual_check(self) -> str:
        """How well the points fit each other, in words."""
        if self.method == "measured":
            return "none needed: depth was measured at every valid pixel"
        if len(self.points) == 2:
            return "not possible: two points fit exactly; a third would show an error"
        errors = [abs(each.error or 0.0) for each in self.points if each.used]
        left_out = len(self.points) - len(errors)
        outliers = f"; {left_out} left out as outliers" if left_out else ""
        return (
            f"{len(errors)} points, median error {np.median(errors):.1%}, "
            f"largest {max(errors):.1%}{outliers}"
        )


def calibrate(disparity: NDArray[np.float32], points: Sequence[KnownPoint]) -> Calibration:
    """Scale and shift in inverse depth that fit a plate's disparity to known distances.

    The fit minimises errors of inverse depth, each divided by its likely size: 2 % of the distance,
    and 0.02 of disparity at that scale (weights for errors in both variables: York, "Least-squares
    fitting of a straight line", 1966). Far points, where a little disparity is a great distance,
    then do not decide. Two points fit exactly, three by least squares. From four on, the fit is the
    least median of squares over all pairs, then least squares on the points within 2.5 of its
    standard deviations (Rousseeuw and Leroy, "Robust Regression and Outlier Detection", 1987,
    chapter 5), so that one in four may be wrong by any amount.

    Args:
        disparity: float32 (H, W) in [0, 1], near = 1, NaN where invalid. A point's is the median
            of the valid pixels in a small window around it.
        points: at least two.

    Raises:
        PlateError: too few or too many points, one outside the picture, behind the camera or where
            there is no disparity; points that differ by less than 0.05; a scale that is not
            positive, or an inverse depth that is not at one of the points.
    """
    if not 2 <= len(points) <= _MAX_POINTS:
        raise PlateError(
            f"2 to {_MAX_POINTS} points of known distance",
            str(len(points)),
            "give near and far ones; from four on, a wrong one is found",
        )
    values = np.array([_disparity_at(disparity, point) for point in points])
    depth_m = np.array([point.depth_m for point in points])
    _check_differences(values, "points")
    used = np.ones(len(points), np.bool_)
    if len(points) >= 4:
        used = _inliers(values, depth_m)
        _check_differences(values[used], "points that agree with each other")
    scale, shift = _fit(values, depth_m, used)
    inverse = scale * values + shift
    _check_possible(scale, inverse[used], depth_m[used])
    method = {2: "exact", 3: "least squares"}.get(len(points), "robust")
    fitted = tuple(map(_fitted_point, points, values.tolist(), inverse.tolist(), used.tolist()))
    return Calibration(scale, shift, method, fitted)


def _fitted_point(point: KnownPoint, disparity: float, inverse: float, used: bool) -> FittedPoint:
    # An outlier may lie where the calibration gives no depth.
    fitted_m = 1 / inverse if inverse > 0 else None
    error = None if fitted_m is None else fitted_m / point.depth_m - 1
    return FittedPoint(point.x, point.y, point.depth_m, disparity, fitted_m, error, used)


def _disparity_at(disparity: NDArray[np.float32], point: KnownPoint) -> float:
    height, width = disparity.shape
    where = f"({point.x:g}, {point.y:g})"
    if not (math.isfinite(point.depth_m) and point.depth_m > 0):
        raise PlateError(
            f"a distance above 0 m at {where}",
            f"{point.depth_m:g} m",
            "measure from the camera to the point",
            f"The distance at {where} is {point.depth_m:g} m, but must be above 0.",
        )
    if not NEAREST_M <= point.depth_m <= FARTHEST_M:
        raise PlateError(
            f"a distance of {NEAREST_M:g} to {FARTHEST_M:g} m at {where}",
            f"{point.depth_m:g} m",
            "measure in metres",
        )
    if not (-0.5 <= point.x < width - 0.5 and -0.5 <= point.y < height - 0.5):
        raise PlateError(
            f"points inside the plate, x 0 to {width - 1} and y 0 to {height - 1}",
            where,
            "count pixels from the top left corner: column, then row",
        )
    row, column = math.floor(point.y + 0.5), math.floor(point.x + 0.5)
    reach = round(_REACH * max(height, width))
    # The same reach on both sides, or a slope would move the median.
    down, across = min(reach, row, height - 1 - row), min(reach, column, width - 1 - column)
    window = disparity[row - down : row + down + 1, column - across : column + across + 1]
    valid = window[np.isfinite(window)]
    if not valid.size:
        raise PlateError(
            f"a plate disparity at {where}",
            "an invalid pixel",
            "choose another point",
            f"The plate has no valid disparity at {where}.",
        )
    return float(np.median(valid))


def _check_differences(values: Floats, points: str) -> None:
    difference = float(values.max() - values.min())
    if difference < MIN_DIFFERENCE:
        raise PlateError(
            f"{points} whose disparities differ by at least {MIN_DIFFERENCE}",
            f"{difference:.3f} between the nearest and the farthest",
            "add points that are much nearer or much farther",
            f"The disparities of the {points} differ by only {difference:.3f}.",
        )


def _check_possible(scale: float, inverse: Floats, depth_m: Floats) -> None:
    remedy = "check the points: the nearer one must have the larger disparity"
    if not scale > 0:
        raise PlateError(
            "a positive scale from disparity to 1/metres",
            f"{scale:.4g}",
            remedy,
            "By these points, what has more disparity would be farther away.",
        )
    if not (inverse > 0).all():
        worst = int(inverse.argmin())
        raise PlateError(
            "a positive inverse depth at every point",
            f"{inverse[worst]:.4g} 1/m at the one {depth_m[worst]:g} m away",
            remedy,
            f"No depth fits the point that is {depth_m[worst]:g} m away.",
        )


def _likely_error(scale: float, depth_m: Floats) -> Floats:
    """The likely error of inverse depth at points, 1/metres."""
    return np.hypot(_DISTANCE_ERROR / depth_m, scale * _DISPARITY_ERROR)


def _fit(values: Floats, depth_m: Floats, used: NDArray[np.bool_]) -> tuple[float, float]:
    """Weighted least squares, whose weights follow from the scale that they give."""
    inverse = inverse_depth(depth_m)
    scale, shift = fit_scale_shift(values, inverse, used)
    for _ in range(_ROUNDS):
        before = scale
        weights = _likely_error(scale, depth_m) ** -2
        scale, shift = fit_scale_shift(values, inverse, used, weights)
        if math.isclose(before, scale, rel_tol=1e-9):
            break
    return scale, shift


def _inliers(values: Floats, depth_m: Floats) -> NDArray[np.bool_]:
    """bool (N,): the points that fit the pair with the least median of squares."""
    best, best_median = None, math.inf
    # A pair counts by how well this many points fit it; one point in four may be wrong.
    quorum = len(values) // 2 + 1
    for i, j in itertools.combinations(range(len(values)), 2):
        if abs(values[i] - values[j]) < MIN_DIFFERENCE:
            continue
        scale = (1 / depth_m[i] - 1 / depth_m[j]) / (values[i] - values[j])
        if scale <= 0:
            continue
        off = np.abs(scale * (values - values[i]) + 1 / depth_m[i] - 1 / depth_m)
        residuals = off / _likely_error(scale, depth_m)
        median = float(np.partition(residuals, quorum - 1)[quorum - 1])
        if median < best_median:
            best, best_median = residuals, median
    if best is None:
        raise PlateError(
            "points of which the nearer ones have the larger disparity",
            "the opposite in every pair",
            "check the points, and that the disparity is large where it is near",
            "In every pair of points, the nearer one has the smaller disparity.",
        )
    # Rousseeuw and Leroy's preliminary scale, with its correction for few points.
    sigma = 1.4826 * (1 + 5 / max(len(values) - 2, 1)) * best_median
    return np.asarray(best <= max(_OUTLIER * sigma, _ALWAYS_KEPT))
