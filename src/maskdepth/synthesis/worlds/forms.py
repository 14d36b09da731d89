"""Where rays meet shapes: the formulas.

A form takes the origins and directions of rays, three components each in the frame of the shape,
and the sizes of the shape. All of these broadcast, so one call meets one shape with many rays, or
many shapes of one form with the rays of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

NEAR: Final = 1e-3
"""Metres; rays meet nothing that is nearer."""


Components = Sequence[Any] | Any
"""Arrays or numbers, one after the other in a sequence or in rows."""

Form = Callable[[Components, Components, Components], Any]
"""``form(origins, directions, sizes)``: the smallest t at which each ray meets the shape, inf for a
miss.
"""


def _root(square: Any) -> Any:
    """The square root, 0 below 0."""
    return np.sqrt(np.maximum(square, 0.0))


def _keep(t: Any, valid: Any) -> Any:
    return np.where(valid & (t > NEAR), t, np.inf)


def meet_plane(o: Components, d: Components, sizes: Components) -> Any:
    """The plane z = 0."""
    t = -o[2] / d[2]
    return _keep(t, np.isfinite(t))


def meet_quad(o: Components, d: Components, sizes: Components) -> Any:
    """A rectangle in the plane z = 0, of these half sizes."""
    t = -o[2] / d[2]
    valid = np.isfinite(t)
    for i in range(2):
        valid = valid & (abs(o[i] + t * d[i]) <= sizes[i])
    return _keep(t, valid)


def meet_box(o: Components, d: Components, sizes: Components) -> Any:
    """A box around the origin, of these half sizes."""
    enter, leave = [], []
    for i in range(3):
        inverse = 1.0 / d[i]
        one = (-sizes[i] - o[i]) * inverse
        two = (sizes[i] - o[i]) * inverse
        enter.append(np.minimum(one, two))
        leave.append(np.maximum(one, two))
    last, first = reduce(np.maximum, enter), reduce(np.minimum, leave)
    return _keep(last, last <= first)


def meet_ellipsoid(o: Components, d: Components, sizes: Components) -> Any:
    """An ellipsoid around the origin, of these radii."""
    p = [o[i] / sizes[i] for i in range(3)]
    q = [d[i] / sizes[i] for i in range(3)]
    a = q[0] * q[0] + q[1] * q[1] + q[2] * q[2]
    b = p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
    c = p[0] * p[0] + p[1] * p[1] + p[2] * p[2] - 1.0
    inside = b * b - a * c
    return _keep((-b - _root(inside)) / a, inside > 0.0)


@cache
def frustum_form(bottom: bool, top: bool) -> Form:
    """A cylinder or cut cone along y, closed at the bottom or not, at the top or not.

    Its sizes: the radius at y = 0, the radius' slope, the height, and of each end that is closed
    its height and its squared radius.
    """

    def meet_frustum(o: Components, d: Components, sizes: Components) -> Any:
        start, slope, height, *ends = sizes
        radius = start + slope * o[1]
        lean = slope * d[1]
        a = d[0] * d[0] + d[2] * d[2] - lean * lean
        b = o[0] * d[0] + o[2] * d[2] - slope * d[1] * radius
        c = o[0] * o[0] + o[2] * o[2] - radius * radius
        inside = b * b - a * c
        root = _root(inside)
        sides = []
        for t in ((-b - root) / a, (-b + root) / a):
            y = o[1] + t * d[1]
            sides.append(_keep(t, (inside >= 0.0) & (y >= 0.0) & (y <= height)))
        best = np.minimum(sides[0], sides[1])
        for level, square in zip(ends[::2], ends[1::2], strict=True):
            t = (level - o[1]) / d[1]
            x, z = o[0] + t * d[0], o[2] + t * d[2]
            best = np.minimum(best, _keep(t, x * x + z * z <= square))
        return best

    return meet_frustum


def meet_polyhedron(o: Components, d: Components, sizes: Components) -> Any:
    """A convex solid; of each face its outward unit normal and its distance from the origin."""
    enter, leave = [], []
    for x, y, z, reach in zip(*(sizes[i::4] for i in range(4)), strict=True):
        along = x * d[0] + y * d[1] + z * d[2]
        t = (reach - x * o[0] - y * o[1] - z * o[2]) / along
        enter.append(np.where(along < 0.0, t, -np.inf))
        leave.append(np.where(along >= 0.0, t, np.inf))
    last, first = reduce(np.maximum, enter), reduce(np.minimum, leave)
    return _keep(last, last <= first)


def by_form(
    forms: Sequence[tuple[Form, list[float]]],
) -> tuple[NDArray[np.int64], list[tuple[Form, NDArray[np.float64]]]]:
    """Shapes in groups that can be met in one go.

    Args:
        forms: of each shape its form and sizes.

    Returns:
        the group (N,) of each shape; and of each group its form and a table (K, N) of sizes, whose
        columns are filled for the group's own shapes.
    """
    found: dict[tuple[Form, int], int] = {}
    group = np.array([found.setdefault((f, len(s)), len(found)) for f, s in forms], np.int64)
    tables = []
    for number, (form, count) in enumerate(found):
        table = np.zeros((count, len(forms)))
        own = np.flatnonzero(group == number).tolist()
        table[:, own] = np.array([forms[n][1] for n in own]).T
        tables.append((form, table))
    return group, tables
