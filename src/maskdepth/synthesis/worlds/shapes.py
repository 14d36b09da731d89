"""Shapes that rays can meet: rectangles, boxes, ellipsoids, frusta, convex solids."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds.forms import (
    Form,
    frustum_form,
    meet_box,
    meet_ellipsoid,
    meet_plane,
    meet_polyhedron,
    meet_quad,
)
from maskdepth.synthesis.worlds.textures import Array, Paint
from maskdepth.synthesis.worlds.vectors import unit

Pair = tuple[float, float]
Triple = tuple[float, float, float]
Cut = Callable[[Array], NDArray[np.bool_]]
"""Tells which points (N, 3) of a shape's surface, in its own frame, exist."""

_UNIT_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A surface in its own frame.

    Attributes:
        centre: (3,) world position of the frame's origin.
        axes: (3, 3) rows: the frame's axes in the world.
        paint: albedo of the surface.
        rough: how far noise tilts the normal, from 0 (smooth) to 1 (leaves).
        grain: wavelength of that noise, metres.
        gloss: strength of the highlight.
        leafy: share of the light that passes through it.
        glow: light of its own, as a multiple of its albedo.
        shade: factor on the albedo.
        offset: (3,) added to points before they are painted, so that parts share one texture.
        cut: which points of the surface exist; all when None.
        casts: whether it throws a shadow.
        room: part of a room's shell; does not darken its own surroundings.
    """

    centre: Array
    paint: Paint
    axes: Array = field(default_factory=lambda: np.eye(3))
    rough: float = 0.0
    grain: float = 0.05
    gloss: float = 0.0
    leafy: float = 0.0
    glow: float = 0.0
    shade: float = 1.0
    offset: Array = field(default_factory=lambda: np.zeros(3))
    cut: Cut | None = None
    casts: bool = True
    room: bool = False

    def half(self) -> tuple[Array, Array]:
        """Lowest and highest corner (3,) of the shape in its frame."""
        raise NotImplementedError

    def support(self, way: Array) -> float:
        """Extent of the shape from its origin along a unit vector (3,) of its frame, metres."""
        raise NotImplementedError

    def form(self) -> tuple[Form, list[float]]:
        """The form that rays meet, without its cut, and the sizes that the form takes."""
        raise NotImplementedError

    def normals(self, points: Array) -> Array:
        """Outward unit normals (N, 3) at points (N, 3) of the surface, in its frame."""
        raise NotImplementedError

    @cached_property
    def corners(self) -> Array:
        """(8, 3) world corners of a box that holds the shape."""
        low, high = self.half()
        size = high - low
        if not math.isfinite(size.sum()):
            return np.full((8, 3), np.inf)
        inside = low + size * _UNIT_CORNERS
        return np.asarray(self.centre + inside @ self.axes)


@dataclass(frozen=True, kw_only=True)
class Quad(Shape):
    """A rectangle in its frame's xy plane; infinite sizes make a plane."""

    size: Pair  # half width and half height

    def half(self) -> tuple[Array, Array]:
        high = np.array([self.size[0], self.size[1], 0.0])
        return -high, high

    def support(self, way: Array) -> float:
        return float(np.abs(way[:2]) @ self.size)

    def form(self) -> tuple[Form, list[float]]:
        if not np.isfinite(self.size[0]):
            return meet_plane, []
        return meet_quad, [float(side) for side in self.size]

    def normals(self, points: Array) -> Array:
        return np.broadcast_to(np.array([0.0, 0.0, 1.0], points.dtype), points.shape)


@dataclass(frozen=True, kw_only=True)
class Box(Shape):
    """A box around its frame's origin."""

    size: Triple  # half sizes

    def half(self) -> tuple[Array, Array]:
        high = np.array(self.size)
        return -high, high

    def support(self, way: Array) -> float:
        return float(np.abs(way) @ self.size)

    def form(self) -> tuple[Form, list[float]]:
        return meet_box, [float(side) for side in self.size]

    def normals(self, points: Array) -> Array:
        scaled = points / np.array(self.size, points.dtype)
        axis = np.argmax(np.abs(scaled), axis=1)
        out = np.zeros_like(points)
        rows = np.arange(len(points))
        out[rows, axis] = np.sign(points[rows, axis])
        return out


@dataclass(frozen=True, kw_only=True)
class Ellipsoid(Shape):
    """An ellipsoid around its frame's origin."""

    radii: Triple

    def half(self) -> tuple[Array, Array]:
        high = np.array(self.radii)
        return -high, high

    def support(self, way: Array) -> float:
        return float(np.linalg.norm(way * self.radii))

    def form(self) -> tuple[Form, list[float]]:
        return meet_ellipsoid, [float(radius) for radius in self.radii]

    def normals(self, points: Array) -> Array:
        return unit(points / np.array(self.radii, points.dtype) ** 2)


@dataclass(frozen=True, kw_only=True)
class Frustum(Shape):
    """A cylinder or cut cone along its frame's y, from y = 0 to ``height``.

    Without caps it is an open tube. ``slopes`` (of the radius, at the bottom and at
    the top) replace the true slope in the normals, so that a stack of frusta is shaded smoothly.
    """

    height: float
    radii: Pair  # at the bottom and at the top
    caps: tuple[bool, bool] = (True, True)
    slopes: Pair | None = None

    def half(self) -> tuple[Array, Array]:
        r = max(self.radii)
        return np.array([-r, 0.0, -r]), np.array([r, self.height, r])

    def support(self, way: Array) -> float:
        across = float(np.hypot(way[0], way[2]))
        return max(self.radii[0] * across, self.height * float(way[1]) + self.radii[1] * across)

    def form(self) -> tuple[Form, list[float]]:
        height, bottom, top = float(self.height), float(self.radii[0]), float(self.radii[1])
        sizes = [bottom, (top - bottom) / height, height]
        for closed, level, radius in zip(self.caps, (0.0, height), (bottom, top), strict=True):
            if closed:
                sizes += [level, radius * radius]
        return frustum_form(*self.caps), sizes

    def normals(self, points: Array) -> Array:
        slope = (self.radii[1] - self.radii[0]) / self.height
        around = np.hypot(points[:, 0], points[:, 2])
        low, high = self.slopes or (slope, slope)
        lean = low + (high - low) * points[:, 1] / self.height
        out = np.stack([points[:, 0], -lean * around, points[:, 2]], axis=1)
        # a point is on the surface whose equation it satisfies better
        off_side = np.abs(around - (self.radii[0] + slope * points[:, 1]))
        off_cap = np.minimum(np.abs(points[:, 1]), np.abs(points[:, 1] - self.height))
        cap = (off_cap < off_side) & any(self.caps)
        up = np.where(points[:, 1] > self.height / 2, 1.0, -1.0)
        out[cap] = 0.0
        out[cap, 1] = up[cap]
        return unit(out)


@dataclass(frozen=True, kw_only=True)
class Polyhedron(Shape):
    """A convex solid: where ``faces @ point <= reach`` for all its faces."""

    faces: Array  # (K, 3) outward unit normals
    reach: Array  # (K,) metres from the frame's origin

    @cached_property
    def vertices(self) -> Array:
        """(M, 3) in its frame: where three faces meet and no other cuts the point off."""
        triples = np.array(list(combinations(range(len(self.reach)), 3)))
        normals = self.faces[triples]
        apart = np.abs(np.linalg.det(normals)) > 1e-9
        points = np.linalg.solve(normals[apart], self.reach[triples[apart]][..., None])[..., 0]
        within = (points @ self.faces.T <= self.reach + 1e-7).all(axis=1)
        return np.asarray(points[within])

    def half(self) -> tuple[Array, Array]:
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    def support(self, way: Array) -> float:
        return float((self.vertices @ way).max())

    def form(self) -> tuple[Form, list[float]]:
        return meet_polyhedron, np.column_stack([self.faces, self.reach]).ravel().tolist()

    def normals(self, points: Array) -> Array:
        off = np.abs(points @ self.faces.T.astype(points.dtype) - self.reach.astype(points.dtype))
        return np.asarray(self.faces.astype(points.dtype)[np.argmin(off, axis=1)])


def taper(bottom: Pair, top: Pair, height: float, lean: Pair = (0.0, 0.0)) -> tuple[Array, Array]:
    """Faces and reach of a solid that tapers from y = 0 to ``height``.

    Args:
        bottom, top: half widths along x and z.
        lean: shift of the top along x and z.
    """
    faces, reach = [[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]], [0.0, height]
    for axis in (0, 1):
        for sign in (-1.0, 1.0):
            slope = (sign * lean[axis] + top[axis] - bottom[axis]) / height
            normal = np.array([sign, -slope, 0.0] if axis == 0 else [0.0, -slope, sign])
            long = float(np.linalg.norm(normal))
            faces.append((normal / long).tolist())
            reach.append(bottom[axis] / long)
    return np.array(faces), np.array(reach)


def moved(shapes: Sequence[Shape], base: Array, axes: Array) -> list[Shape]:
    """Shapes built around the origin, in the frame at ``base`` with the given axes (rows)."""
    return [
        replace(shape, centre=base + shape.centre @ axes, axes=shape.axes @ axes)
        for shape in shapes
    ]


def lowest(shapes: Sequence[Shape]) -> float:
    """The height y of the lowest point of all shapes, metres."""
    down = np.array([0.0, -1.0, 0.0])
    return min(float(s.centre[1]) - s.support(s.axes @ down) for s in shapes)
