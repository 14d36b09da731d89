"""The light that makes a plate match its picture: gains and offsets of colours, and a tone curve.

A gain and an offset for each channel are fitted to the mean colours of a coarse grid's cells, by
iteratively reweighted least squares with Tukey's biweight. Cells that show foreground or a shadow
are outliers of that fit. Where what is left of the other cells is curved, picture and plate have
different tone curves, as with automatic HDR; a gamma is then fitted as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Light", "find_light", "mean_cells", "share_alike"]

Picture = NDArray[np.uint8]
Gains = NDArray[np.float64]  # (3,): of red, green and blue; offsets have the same type
Cells = NDArray[np.float64]  # (N, 3): mean colours of the cells of a coarse grid, 0..255
Triple = tuple[float, float, float]

_GRID: Final = 36  # cells on the short side
_UNCLIPPED: Final = (4, 251)  # a value outside this range may have been clipped
_MIN_CELLS: Final = 64
_MAX_ROUNDS: Final = 14
_CONVERGED: Final = 5e-4  # change of a gain from one round to the next
_START_QUANTILES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the cells' ratios
_TUKEY: Final = 2.5  # in robust standard deviations
_PRIOR: Final = 50.0  # squared levels of variance that speak for the gain of the round before
_GAIN_RANGE: Final = (0.25, 4.0)  # two stops either way
_MIN_GAIN_CHANGE: Final = 0.01  # light is changed if a gain changes by this ...
_MIN_OFFSET: Final = 1.0  # ... or an offset, of 255, is as large as this
_MAX_ERROR_LEFT: Final = 0.9  # of the median difference, after a useful fit
_ALIKE: Final = 10.0  # of 255: the largest difference of two cells that count as alike
_MIN_ALIKE_SHARE: Final = 0.25  # of the cells; the others may show foreground and shadow
_SAME: Final = 2.0  # of 255: the largest difference of two cells that noise alone makes
_MIN_SAME: Final = 0.6  # share of the cells, from which on the light is the same ...
_MAX_BIAS: Final = 0.5  # ... unless these differ by so many levels on the mean
_NEAR: Final = 30.0  # of 255: cells that differ by less are no foreground, whatever the tone curve
_MIN_CURVATURE: Final = 1.0  # levels, rms over such cells: how curved what a linear fit leaves is
_SURELY_UNCLIPPED: Final = 225.0  # of a cell brighter than this, some pixels may have been clipped
_MAX_CURVATURE: Final = 3.0  # levels, rms: what a right light leaves is less curved
_GAMMA_STEPS: Final = (1.12, 1.25, 1.4, 1.6, 1.8)  # gammas to try, or one over them
_GAMMA_DETAIL: Final = (0.96, 1.04)  # about the best of them
_TIGHT: Final = 4.0  # of 255: the largest difference of two cells that the right curve leaves
_MIN_TIGHT_GAIN: Final = 0.015  # of the cells, that a gamma has to bring to this difference


@dataclass(frozen=True)
class Light:
    """How a plate's levels v become a picture's: 255 (v / 255)^gamma, times gains, plus offsets.

    Attributes:
        gains, offsets: of red, green and blue, offsets of 255.
        gamma: 1 where picture and plate have the same tone curve.
        curved: whether the tone curves still differ once the plate is relit.
    """

    gains: Triple
    offsets: Triple
    gamma: float = 1.0
    curved: bool = False

    def apply(self, plate: Picture) -> Picture:
        """The plate (H, W, 3), relit."""
        levels = _bend(np.arange(256)[:, None], self.gamma) * self.gains + self.offsets
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8).reshape(1, 256, 3)
        return np.asarray(cv2.LUT(plate, table), np.uint8)


def find_light(picture: Cells, plate: Cells) -> Light | None:
    """The light that relights the plate's cells (see `mean_cells`); None where it helps little."""
    if _is_same(picture, plate):
        return None
    # Values that may be clipped take no part in the fit, but in the judgement of its result.
    lowest, highest = _UNCLIPPED
    unclipped = (np.minimum(picture, plate) > lowest) & (np.maximum(picture, plate) < highest)
    usable = unclipped.any(axis=1)
    if usable.sum() < _MIN_CELLS or not unclipped.any(axis=0).all():
        return None

    def fit(gamma: float, start: Gains) -> _Fit:
        bent = _bend(plate, gamma)
        gains, offsets = _fit_light(picture[usable], bent[usable], unclipped[usable], start)
        lit = bent * gains + offsets
        return _Fit(gamma, gains, offsets, lit, _difference(picture, lit))

    linear = best = fit(1.0, _start_gains(picture, plate, unclipped))
    curvature = _curvature(picture, linear, unclipped)
    if abs(curvature) >= _MIN_CURVATURE:
        best = _fit_gamma(linear, fit, darker=curvature > 0)
        curvature = _curvature(picture, best, unclipped)
    if not _is_useful(best, _difference(picture, plate)):
        return None
    red, green, blue = map(float, best.gains)
    first, second, third = map(float, best.offsets)
    curved = abs(curvature) >= _MAX_CURVATURE
    return Light((red, green, blue), (first, second, third), best.gamma, curved)


def _is_same(picture: Cells, plate: Cells) -> bool:
    """Whether most cells differ by noise alone."""
    same = _difference(picture, plate) < _SAME
    if same.mean() < _MIN_SAME:
        return False
    bias = np.abs((picture[same] - plate[same]).mean(axis=0))
    return bool(bias.max() < _MAX_BIAS)


def share_alike(picture: Cells, plate: Cells, light: Light | None) -> float:
    """The share of cells that look alike in a light."""
    if light is not None:
        plate = _bend(plate, light.gamma) * light.gains + light.offsets
    return float(np.mean(_difference(picture, plate) < _ALIKE))


@dataclass(frozen=True, eq=False)
class _Fit:
    """A light, the plate's cells in it, and how far they lie from the picture's."""

    gamma: float
    gains: Gains
    offsets: Gains
    lit: Cells
    difference: NDArray[np.float64]

    @property
    def tight(self) -> float:
        """The share of cells that the light explains nearly to the level."""
        return float(np.mean(self.difference < _TIGHT))


def _is_useful(fit: _Fit, before: NDArray[np.float64]) -> bool:
    after, gains, offsets = fit.difference, fit.gains, fit.offsets
    largest_gain_change, largest_offset = np.abs(gains - 1).max(), np.abs(offsets).max()
    unchanged = largest_gain_change < _MIN_GAIN_CHANGE and largest_offset < _MIN_OFFSET
    alike_before, alike_after = np.mean(before < _ALIKE), np.mean(after < _ALIKE)
    better = alike_after > alike_before or (np.median(after) <= _MAX_ERROR_LEFT * np.median(before))
    # The fit of two unrelated scenes may end at a limit: the lowest gain, which makes an even grey.
    plausible = gains.min() > _GAIN_RANGE[0] and gains.max() < _GAIN_RANGE[1]
    changed = fit.gamma != 1 or not unchanged
    return bool(changed and better and alike_after >= _MIN_ALIKE_SHARE and plausible)


def _curvature(picture: Cells, fit: _Fit, unclipped: NDArray[np.bool_]) -> float:
    """Levels, rms, of the parabola in what a fit leaves; positive where it is too bright midway."""
    chosen = unclipped & (fit.difference < _NEAR)[:, None]
    chosen &= np.maximum(picture, fit.lit) < _SURELY_UNCLIPPED
    chosen &= (fit.difference < _NEAR).mean() >= _MIN_ALIKE_SHARE
    levels, left = fit.lit[chosen] / 255, (picture - fit.lit)[chosen]
    if levels.size < _MIN_CELLS:
        return 0.0
    powers = np.stack([np.ones_like(levels), levels, levels * levels], axis=1)
    moments = powers.T @ powers + 1e-9 * np.eye(3)
    factor = np.linalg.solve(moments, powers.T @ left)[2]
    line = np.linalg.solve(moments[:2, :2], powers[:, :2].T @ powers[:, 2])
    bow = powers[:, 2] - powers[:, :2] @ line
    return float(factor * np.sqrt(np.mean(bow * bow)))


def _fit_gamma(linear: _Fit, fit: Callable[[float, Gains], _Fit], *, darker: bool) -> _Fit:
    """The best fit with a gamma on one side of 1, where that is clearly better than without."""
    best = linear
    for step in _GAMMA_STEPS:
        best = max(best, fit(step if darker else 1 / step, linear.gains), key=lambda it: it.tight)
    if best is linear:
        return linear
    for step in _GAMMA_DETAIL:
        best = max(best, fit(best.gamma * step, best.gains), key=lambda it: it.tight)
    return best if best.tight >= linear.tight + _MIN_TIGHT_GAIN else linear


def _bend(levels: NDArray[Any], gamma: float) -> NDArray[np.float64]:
    """Levels of 255 after a tone curve; those of a gamma of 1 as they are."""
    return np.asarray(levels if gamma == 1 else 255 * (levels / 255) ** gamma, np.float64)


def _fit_light(
    picture: Cells, plate: Cells, unclipped: NDArray[np.bool_], gains: Gains
) -> tuple[Gains, Gains]:
    """Gains and offsets by iteratively reweighted least squares, which start from ``gains``."""
    offsets = np.zeros(3)
    products = np.empty((len(plate), 9))  # one sum over 9 columns is faster than three over 3
    for _ in range(_MAX_ROUNDS):
        errors = _largest(np.abs(picture - (plate * gains + offsets)) * unclipped)
        spread = _TUKEY * max(1.0, 1.48 * float(np.median(errors)))  # 1.48 medians: a deviation
        weight = np.square(np.maximum(0, 1 - np.square(errors / spread)))[:, None] * unclipped
        products[:, :3] = weight
        np.multiply(weight, plate, out=products[:, 3:6])
        np.multiply(weight, picture, out=products[:, 6:])
        sums = products.sum(axis=0)
        total = sums[:3] + 1e-9
        mean_plate, mean_picture = sums[3:6] / total, sums[6:] / total
        from_mean = plate - mean_plate
        off_centre = weight * from_mean
        np.multiply(off_centre, from_mean, out=products[:, :3])
        np.multiply(off_centre, picture - mean_picture, out=products[:, 3:6])
        sums = products[:, :6].sum(axis=0)
        variance = sums[:3] / total + _PRIOR
        covariance = sums[3:] / total + _PRIOR * gains
        last, gains = gains, np.clip(covariance / variance, *_GAIN_RANGE)
        offsets = mean_picture - gains * mean_plate
        if np.abs(gains - last).max() < _CONVERGED:
            break
    return gains, offsets


def _start_gains(picture: Cells, plate: Cells, unclipped: NDArray[np.bool_]) -> Gains:
    """Gains to start from: those that make most cells alike, of several quantiles of the ratios.

    The median alone would be the foreground's ratio where all else is overexposed.
    """
    ratios = (picture + 1) / (plate + 1)
    columns = [ratios[unclipped[:, channel], channel] for channel in range(3)]
    candidates = np.stack([np.quantile(each, _START_QUANTILES) for each in columns], axis=1)
    differences = _difference(picture, plate * candidates[:, None])  # (starts, N)
    return np.asarray(candidates[int(np.argmax(np.mean(differences < _ALIKE, axis=1)))])


def _difference(picture: Cells, lit_plate: Cells) -> NDArray[np.float64]:
    """(..., N): the largest difference over channels; lit colours are clipped as by a camera."""
    return _largest(np.abs(picture - np.clip(lit_plate, 0, 255)))


def _largest(values: Cells) -> NDArray[np.float64]:
    """(..., N): the largest of each cell's three channels."""
    return np.asarray(np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2]))


def mean_cells(picture: Picture) -> Cells:
    """Mean colours of the cells of a coarse grid over a picture."""
    height, width = picture.shape[:2]
    shrink = min(1.0, _GRID / min(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    cells = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cells.reshape(-1, 3), np.float64)
