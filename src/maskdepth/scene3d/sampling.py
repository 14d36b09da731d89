"""Layers on a grid that is coarse enough for a budget, and where surfaces end on it.

Two neighbours on the grid lie on different surfaces where they differ in inverse depth by more than
2.5 times what neighbours around them do, and where inverse depth changes there by more than 6 % of
the nearer side. That change is measured across 1 % of the picture's long side: a network's depth
goes from one surface to another by a slope, of which a fine grid takes many small steps. The first
condition keeps floors and walls, however flat they are seen: along a plane, inverse depth changes
by equal steps from pixel to pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from maskdepth.camera import Camera
from maskdepth.depth import inverse_depth
from maskdepth.errors import UsageError
from maskdepth.scene3d.layers import Layer, Scene

MAX_POINTS: Final = 500_000
"""Points, or vertices, of both layers together, unless a caller says otherwise."""
MIN_POINTS: Final = 100

_CHANGE: Final = 0.06  # of the nearer side's inverse depth
_HALF_SLOPE: Final = 0.005  # of the long side: half of what a change is measured across
_UNUSUAL: Final = 2.5  # times the median of the steps around
_SHRINK: Final = 0.98  # of the grid's sides, as long as there are too many points

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SampledLayer:
    """A layer on a grid.

    Attributes:
        layer: at the picture's size.
        rows, columns: of the grid's points in the picture, (r,) and (c,).
        depth: float32 (r, c); NaN where nothing is.
        level, upright: bool (r, c - 1) and (r - 1, c), whether a point and the next one in its row
            or column lie on one surface.
    """

    layer: Layer
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    depth: Floats
    level: Mask
    upright: Mask

    def positions(self, camera: Camera) -> Floats:
        """float32 (r, c, 3): X, Y and Z, as `maskdepth.scene3d.layers` defines them."""
        across = (self.columns - camera.centre_px[0]) / camera.focal_px
        up = (camera.centre_px[1] - self.rows) / camera.focal_px
        rays = np.stack(np.broadcast_arrays(across[None, :], up[:, None], -1.0), axis=-1)
        return np.asarray(rays * self.depth[..., None], np.float32)


def sample_layers(scene: Scene, max_points: int, *, rim: bool = False) -> list[SampledLayer]:
    """All layers on one grid, of which at most so many points hold something.

    The outermost pixels are always on the grid.

    Args:
        max_points: `MIN_POINTS` at least.
        rim: whether the foreground goes on for one point beyond its outline.

    Raises:
        UsageError: too few points.
    """
    if max_points < MIN_POINTS:
        raise UsageError(
            f"at least {MIN_POINTS} points", str(max_points), "",
            f"A scene needs at least {MIN_POINTS} points, not {max_points}.",
        )  # fmt: skip
    count = sum(int(np.isfinite(layer.depth).sum()) for layer in scene.layers)
    share = min(1.0, math.sqrt(max_points / count))
    while True:
        sampled = [_sample(layer, share, rim=rim) for layer in scene.layers]
        if sum(int(np.isfinite(each.depth).sum()) for each in sampled) <= max_points:
            return sampled
        share *= _SHRINK


def _sample(layer: Layer, share: float, *, rim: bool) -> SampledLayer:
    height, width = layer.depth.shape
    rows, columns = _grid(height, share), _grid(width, share)
    depth = layer.depth[np.ix_(rows, columns)]
    if rim and layer.name == "foreground":
        depth = _with_rim(depth)
    inverse = inverse_depth(depth).astype(np.float32)
    cut = not layer.continuous
    level, upright = _joined(inverse, cut=cut), _joined(inverse.T, cut=cut).T
    return _without_flying(SampledLayer(layer, rows, columns, depth, level, upright), inverse)


def _grid(side: int, share: float) -> NDArray[np.intp]:
    count = min(side, max(2, math.floor(side * share)))
    return np.rint(np.linspace(0, side - 1, count)).astype(np.intp)


def _with_rim(depth: Floats) -> Floats:
    """The depth, and beyond its edge that of the nearest neighbour, for one point."""
    inverse = np.nan_to_num(inverse_depth(depth), nan=0.0).astype(np.float32)
    grown = cv2.dilate(inverse, np.ones((3, 3), np.uint8))
    outside = np.isnan(depth) & (grown > 0)
    return np.where(outside, 1 / np.where(grown > 0, grown, 1), depth).astype(np.float32)


def _joined(inverse: NDArray[Any], *, cut: bool) -> Mask:
    """bool (r, c - 1): whether a point and the next one in its row lie on one surface.

    Args:
        cut: whether surfaces end where depth jumps, and not only where there is none.
    """
    step = np.abs(np.diff(inverse, axis=1))
    if not cut:
        return np.isfinite(step)
    reach = round(_HALF_SLOPE * max(inverse.shape))
    around = 2 * reach + 2  # to either side: a slope is the smaller part of what is around it
    steps = _windows(np.nan_to_num(step, nan=0.0), around, around, 0.0)
    usual = np.median(steps, axis=-1)
    near = _windows(np.nan_to_num(inverse, nan=-np.inf), reach, reach + 1, -np.inf)
    far = _windows(np.nan_to_num(inverse, nan=np.inf), reach, reach + 1, np.inf)
    nearest, farthest = near[:, :-1].max(axis=-1), far[:, :-1].min(axis=-1)
    with np.errstate(invalid="ignore"):  # infinity where nothing is
        change = nearest - farthest
        even = change / (2 * reach + 1)  # the step of a slope that takes all of the window
        apart = (change > _CHANGE * nearest) & (step > np.maximum(_UNUSUAL * usual, even / 2))
    return np.asarray(np.isfinite(step) & ~apart)


def _windows(values: NDArray[Any], before: int, after: int, beyond: float) -> NDArray[Any]:
    """(r, c, before + 1 + after): each value with those around it in its row."""
    padded = np.pad(values, ((0, 0), (before, after)), constant_values=beyond)
    return sliding_window_view(padded, before + 1 + after, axis=1)


def _without_flying(sampled: SampledLayer, inverse: NDArray[Any]) -> SampledLayer:
    """Without points between two surfaces, as interpolated depth has them at its edges.

    Those are apart from both neighbours of a row or column, of which one is nearer, the other
    farther.
    """
    flying = _between(inverse, sampled.level) | _between(inverse.T, sampled.upright.T).T
    if not flying.any():
        return sampled
    kept = ~flying
    return replace(
        sampled,
        depth=np.where(kept, sampled.depth, np.float32(np.nan)),
        level=sampled.level & kept[:, 1:] & kept[:, :-1],
        upright=sampled.upright & kept[1:] & kept[:-1],
    )


def _between(inverse: NDArray[Any], joined: Mask) -> Mask:
    between = np.zeros(inverse.shape, np.bool_)
    step = np.diff(inverse, axis=1)
    apart = ~joined & np.isfinite(step)
    same_way = step[:, 1:] * step[:, :-1] > 0
    between[:, 1:-1] = apart[:, 1:] & apart[:, :-1] & same_way
    return between
