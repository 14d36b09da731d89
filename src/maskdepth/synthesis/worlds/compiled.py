"""A compiled loop over rays and solid shapes, for ``raycast.trace``.

The formulas are those of ``forms``, for one ray and in the same order of arithmetic, so that a
scene is the same to the last bit with numba and without. They hardly branch, so that the compiler
can treat several rays at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds import forms
from maskdepth.synthesis.worlds.textures import Array

__all__ = ["meet_solids"]

_PLANE, _QUAD, _BOX, _ELLIPSOID, _FRUSTUM, _POLYHEDRON = range(6)
_CODES: Final = {
    forms.meet_plane: _PLANE,
    forms.meet_quad: _QUAD,
    forms.meet_box: _BOX,
    forms.meet_ellipsoid: _ELLIPSOID,
    forms.meet_polyhedron: _POLYHEDRON,
    **{forms.frustum_form(b, t): _FRUSTUM for b in (False, True) for t in (False, True)},
}
_MIN_SIZES: Final = 3  # every shape's sizes are filled up to as many numbers


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled at its first call and kept on disk; a division by zero is infinite, as in NumPy."""
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # no folder can keep it
        compiled = numba.njit(error_model="numpy")(function)
    return compiled


def meet_solids(
    first: int,
    shapes: Sequence[tuple[forms.Form, list[float]]],
    frames: Array,
    spans: NDArray[np.int64],
    nearest: Array,
    across: Array,
    along: Array,
    parallel: bool,
    t: Array,
    rank: NDArray[np.int32],
) -> None:
    """Meet shapes, in place; see ``raycast`` for the words.

    Args:
        first: rank of the first shape; all met before must be of lower ranks.
        shapes: form and sizes of each.
        frames: (12, N), and ``spans`` (N, 4) and ``nearest`` (N,) of each.
        across, along: (W,) and (H,).
        parallel: whether the rays are.
        t, rank: (H, W), the nearest hits so far.
    """
    sizes = [[*size, *[0.0] * (_MIN_SIZES - len(size))] for _, size in shapes]
    _meet_run(
        first,
        np.array([_CODES[form] for form, _ in shapes], np.int64),
        np.concatenate(sizes).astype(t.dtype),
        np.cumsum([len(each) for each in sizes]),
        np.ascontiguousarray(frames.T),
        spans,
        nearest,
        across,
        along,
        parallel,
        t.dtype.type(forms.NEAR),
        t,
        rank,
    )


# The forms: origins and directions of a ray, the first three sizes, all sizes, and what is near and
# far in the rays' precision. They give the smallest t, ``far`` for a miss; NaN compares as neither.


@_compile
def _plane(o0, o1, o2, d0, d1, d2, x, y, z, size, near, far):  # type: ignore[no-untyped-def]
    t = -o2 / d2
    return t if t > near else far


@_compile
def _quad(o0, o1, o2, d0, d1, d2, x, y, z, size, near, far):  # type: ignore[no-untyped-def]
    t = -o2 / d2
    within = (abs(o0 + t * d0) <= x) & (abs(o1 + t * d1) <= y)
    return t if within & (t > near) else far


@_compile
def _box(o0, o1, o2, d0, d1, d2, x, y, z, size, near, far):  # type: ignore[no-untyped-def]
    one = near / near
    i0, i1, i2 = one / d0, one / d1, one / d2
    a0, a1, a2 = (-x - o0) * i0, (-y - o1) * i1, (-z - o2) * i2
    b0, b1, b2 = (x - o0) * i0, (y - o1) * i1, (z - o2) * i2
    last = max(min(a0, b0), min(a1, b1), min(a2, b2))
    first = min(max(a0, b0), max(a1, b1), max(a2, b2))
    unknown = isnan(a0) | isnan(a1) | isnan(a2) | isnan(b0) | isnan(b1) | isnan(b2)
    return last if (not unknown) & (last <= first) & (last > near) else far


@_compile
def _ellipsoid(o0, o1, o2, d0, d1, d2, x, y, z, size, near, far):  # type: ignore[no-untyped-def]
    p0, p1, p2 = o0 / x, o1 / y, o2 / z
    q0, q1, q2 = d0 / x, d1 / y, d2 / z
    a = q0 * q0 + q1 * q1 + q2 * q2
    b = p0 * q0 + p1 * q1 + p2 * q2
    c = p0 * p0 + p1 * p1 + p2 * p2 - near / near
    inside = b * b - a * c
    t = (-b - np.sqrt(inside)) / a
    return t if (inside > 0) & (t > near) else far


@_compile
def _frustum(o0, o1, o2, d0, d1, d2, x, y, z, size, near, far):  # type: ignore[no-untyped-def]
    radius, lean = x + y * o1, y * d1
    a = d0 * d0 + d2 * d2 - lean * lean
    b = o0 * d0 + o2 * d2 - lean * radius
    c = o0 * o0 + o2 * o2 - radius * radius
    root = np.sqrt(b * b - a * c)  # NaN where the side is missed
    t0, t1 = (-b - root) / a, (-b + root) / a
    y0, y1 = o1 + t0 * d1, o1 + t1 * d1
    best = t0 if (y0 >= 0) & (y0 <= z) & (t0 > near) else far
    best = t1 if (y1 >= 0) & (y1 <= z) & (t1 > near) & (t1 < best) else best
    for end in range(3, len(size), 2):
        t = (size[end] - o1) / d1
        across, along = o0 + t * d0, o2 + t * d2
        within = across * across + along * along <= size[end + 1]
        best = t if within & (t > near) & (t < best) else best
    return best


@_compile
def _polyhedron(o0, o1, o2, d0, d1, d2, x, y, z, size, near, far):  # type: ignore[no-untyped-def]
    last, first, unknown = -far, far, False
    for face in range(0, len(size), 4):
        n0, n1, n2 = size[face], size[face + 1], size[face + 2]
        along = n0 * d0 + n1 * d1 + n2 * d2
        t = (size[face + 3] - n0 * o0 - n1 * o1 - n2 * o2) / along
        unknown = unknown | isnan(t)
        last = t if (along < 0) & (t > last) else last
        first = t if (along >= 0) & (t < first) else first
    return last if (not unknown) & (last <= first) & (last > near) else far


@numba.njit(inline="always", error_model="numpy")
def _meet_row(form, rays, front):  # type: ignore[no-untyped-def]
    """Meet a shape with a row of rays, which are those of ``Camera.local_rays``."""
    size, frame, parallel, across, down, near, far = rays
    t, rank, shape, smallest = front
    one = near / near
    # Origins of parallel rays spread, directions of others do; a product by 0 or 1 is exact.
    at_start, ahead = (one, one - one) if parallel else (one - one, one)
    a0, a1, a2 = frame[0], frame[1], frame[2]
    b0, b1, b2 = frame[3], frame[6], frame[9]
    c0, c1, c2 = down * frame[4], down * frame[7], down * frame[10]
    d0, d1, d2 = frame[5], frame[8], frame[11]
    x, y, z = size[0], size[1], size[2]
    for n in range(len(across)):
        e0, e1, e2 = across[n] * b0 + c0, across[n] * b1 + c1, across[n] * b2 + c2
        found = form(
            e0 * at_start + a0, e1 * at_start + a1, e2 * at_start + a2,
            e0 * ahead + d0, e1 * ahead + d1, e2 * ahead + d2, x, y, z, size, near, far,
        )  # fmt: skip
        found = max(found, smallest)
        if found < t[n]:
            t[n], rank[n] = found, shape


@_compile
def _meet_run(  # type: ignore[no-untyped-def]
    first,
    codes,
    sizes,
    ends,
    frames,
    spans,
    nearest,
    across,
    along,
    parallel,
    near,
    t,
    rank,
):
    """Meet shapes in turn, those of ranks ``first`` and up."""
    far, start = near / (near - near), 0
    for shape in range(len(codes)):
        left, right, top, bottom = spans[shape]
        code, size = codes[shape], sizes[start : ends[shape]]
        start, frame = ends[shape], frames[shape]
        for row in range(top, bottom):
            low, high = left, right
            # Samples at both ends that show something nearer: most of what is hidden.
            while low < high and t[row, low] < nearest[shape]:
                low += 1
            while low < high and t[row, high - 1] < nearest[shape]:
                high -= 1
            rays = size, frame, parallel, across[low:high], along[row], near, far
            front = t[row, low:high], rank[row, low:high], first + shape, nearest[shape]
            if code == _PLANE:
                _meet_row(_plane, rays, front)
            elif code == _QUAD:
                _meet_row(_quad, rays, front)
            elif code == _BOX:
                _meet_row(_box, rays, front)
            elif code == _ELLIPSOID:
                _meet_row(_ellipsoid, rays, front)
            elif code == _FRUSTUM:
                _meet_row(_frustum, rays, front)
            else:
                _meet_row(_polyhedron, rays, front)
