"""Ray casting of simple shapes: where each ray first meets a shape, exactly.

World axes: x right, y up, z forward. A camera is linear in its sample coordinates (u, v): the ray
is ``(o + u ou + v ov) + t (d + u du + v dv)``. A pinhole has one origin; the parallel rays of the
sun have one direction. For a pinhole ``d`` is the unit optical axis, so that ``t`` is the depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds.shapes import NEAR, Shape
from maskdepth.synthesis.worlds.textures import Array
from maskdepth.synthesis.worlds.vectors import turn


@dataclass(frozen=True)
class Camera:
    """Rays linear in (u, v); see the module's text. ``right``, ``down``, ``axis`` are unit rows."""

    position: Array  # (3,)
    axes: Array  # (3, 3): right, down, forward
    focal: float  # in samples; for parallel rays: samples per metre
    centre: tuple[float, float]  # (u, v) of the axis
    parallel: bool = False

    def project(self, points: Array) -> tuple[Array, Array, Array]:
        """World points (N, 3) to u, v and distance along the axis, each (N,)."""
        away = points - self.position.astype(points.dtype)
        x, y, z = turn(away, self.axes).T
        scale = self.focal / (1.0 if self.parallel else np.maximum(z, NEAR))
        return x * scale + self.centre[0], y * scale + self.centre[1], z

    def local_rays(
        self, u: Array, v: Array, origin: Array, axes: Array
    ) -> tuple[list[Array], list[Array]]:
        """Origins and directions, one broadcastable array per axis of the given frame."""
        start = axes @ (self.position - origin)
        turned = axes @ self.axes.T  # columns: right, down, forward in the frame
        across = ((u - self.centre[0]) / self.focal)[None, :]
        along = ((v - self.centre[1]) / self.focal)[:, None]
        kind = across.dtype
        spread = [
            across * kind.type(turned[i, 0]) + along * kind.type(turned[i, 1]) for i in range(3)
        ]
        if self.parallel:
            fixed = [np.full((1, 1), turned[i, 2], kind) for i in range(3)]
            return [spread[i] + kind.type(start[i]) for i in range(3)], fixed
        origins = [np.full((1, 1), start[i], kind) for i in range(3)]
        return origins, [spread[i] + kind.type(turned[i, 2]) for i in range(3)]


def _pick(values: Array, at: tuple[NDArray[np.intp], ...]) -> Array:
    """Elements of an array that may stand for all by one."""
    return np.asarray(values[0, 0] if values.size == 1 else values[at])


def windows(
    camera: Camera, shapes: Sequence[Shape], u: Array, v: Array
) -> tuple[NDArray[np.int64], Array]:
    """First and last column, first and last row (N, 4) of samples that may see each shape, and
    the least t (N,) at which they may meet it.
    """
    if not shapes:
        return np.zeros((0, 4), np.int64), np.zeros(0)
    corners = np.stack([shape.corners for shape in shapes])  # (N, 8, 3)
    endless = ~np.isfinite(corners).all(axis=(1, 2))
    corners[endless] = 0.0
    pu, pv, z = (part.reshape(-1, 8) for part in camera.project(corners.reshape(-1, 3)))
    out = np.stack(
        [
            np.searchsorted(u, pu.min(axis=1)),
            np.searchsorted(u, pu.max(axis=1)),
            np.searchsorted(v, pv.min(axis=1)),
            np.searchsorted(v, pv.max(axis=1)),
        ],
        axis=1,
    )
    if not camera.parallel:
        # a corner beside or behind the eye projects nowhere useful
        behind = (z < NEAR).all(axis=1) & ~endless
        endless |= (z < 0.02).any(axis=1)
    out[endless] = [0, len(u), 0, len(v)]
    if not camera.parallel:
        out[behind] = 0
    return out, np.where(endless, 0.0, z.min(axis=1))


class Tracer(Protocol):
    """Finds the nearest hit of each ray; ``trace`` is one, and says what is given and returned."""

    def __call__(
        self, camera: Camera, shapes: Sequence[Shape], u: Array, v: Array, *, cuts: bool = True
    ) -> tuple[Array, NDArray[np.int32]]: ...


def trace(
    camera: Camera, shapes: Sequence[Shape], u: Array, v: Array, *, cuts: bool = True
) -> tuple[Array, NDArray[np.int32]]:
    """Nearest hit of each ray.

    Args:
        u, v: ascending sample coordinates, (W,) and (H,); their dtype is the precision.
        cuts: whether the holes of shapes let rays through.

    Of shapes at the same t the one that begins nearer wins, then the earlier.

    Returns:
        t (H, W), inf where nothing is hit, and the index of the shape (H, W), -1 for none.
    """
    depth: Array = np.full((len(v), len(u)), np.inf, u.dtype)
    index = np.full(depth.shape, -1, np.int32)
    spans, nearest = windows(camera, shapes, u, v)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for number in np.argsort(nearest, kind="stable"):
            shape = shapes[number]
            left, right, top, bottom = spans[number]
            if left >= right or top >= bottom:
                continue
            rows, columns = slice(top, bottom), slice(left, right)
            if depth[rows, columns].max() < nearest[number]:
                continue  # wholly behind what is drawn already
            o, d = camera.local_rays(u[columns], v[rows], shape.centre, shape.axes)
            t = shape.hits(o, d)
            near = t < depth[rows, columns]
            if shape.cut is not None and cuts:
                at = np.nonzero(near)
                part = [_pick(o[i], at) + t[at] * _pick(d[i], at) for i in range(3)]
                near[at] = shape.cut(np.stack(part, axis=1))
            np.copyto(depth[rows, columns], t, where=near)
            index[rows, columns][near] = number
    return depth, index
