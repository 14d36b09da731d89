"""Ray casting: where each ray first meets a simple shape, exactly.

World axes: x right, y up, z forward. A camera is linear in its sample coordinates (u, v): the ray
is ``(o + u ou + v ov) + t (d + u du + v dv)``. A pinhole has one origin; the parallel rays of the
sun have one direction. For a pinhole ``d`` is the unit optical axis, so that ``t`` is the depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds.forms import NEAR, Components, Form, by_form
from maskdepth.synthesis.worlds.shapes import Cut, Shape
from maskdepth.synthesis.worlds.textures import Array
from maskdepth.synthesis.worlds.vectors import components


@dataclass(frozen=True)
class Camera:
    """Rays that are linear in (u, v); see the module's docstring."""

    position: Array  # (3,)
    axes: Array  # (3, 3): right, down, forward
    focal: float  # in samples; for parallel rays: samples per metre
    centre: tuple[float, float]  # (u, v) of the axis
    parallel: bool = False

    def project(self, points: Array) -> tuple[Array, Array, Array]:
        """World points (N, 3) to u, v and distance along the axis, each (N,)."""
        away = points - self.position.astype(points.dtype)
        x, y, z = components(away, self.axes)
        scale = self.focal / (1.0 if self.parallel else np.maximum(z, NEAR))
        return x * scale + self.centre[0], y * scale + self.centre[1], z

    def in_frames(self, shapes: Sequence[Shape]) -> Array:
        """(12, N), in the frame of each shape: the camera's position, and what its axes (right,
        down, forward) are along the frame's first axis, its second and its third.
        """
        axes = np.array([shape.axes for shape in shapes]).reshape(-1, 3, 3)
        away = self.position - np.array([shape.centre for shape in shapes]).reshape(-1, 3)
        start = np.einsum("nij,nj->ni", axes, away)
        turned = np.einsum("nij,kj->nik", axes, self.axes)
        return np.concatenate([start, turned.reshape(-1, 9)], axis=1).T

    def local_rays(self, frame: Components, across: Any, along: Any) -> tuple[list[Any], list[Any]]:
        """Origins and directions in frames (12, ...), of rays so far right and down of the axis."""
        spread = [across * frame[3 + 3 * i] + along * frame[4 + 3 * i] for i in range(3)]
        if self.parallel:
            return [spread[i] + frame[i] for i in range(3)], [frame[5 + 3 * i] for i in range(3)]
        return [frame[i] for i in range(3)], [spread[i] + frame[5 + 3 * i] for i in range(3)]


def windows(
    camera: Camera, shapes: Sequence[Shape], u: Array, v: Array
) -> tuple[NDArray[np.int64], Array]:
    """Columns and rows of the samples whose rays may meet each shape.

    Returns:
        first and last column, first and last row (N, 4); and the smallest possible t (N,).
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


_AT_ONCE: Final = 1 << 14
"""Rays that are traced in one go, as many as fit into a core's cache."""
_SMALL: Final = 600
"""Samples of a window, up to which shapes are met together with others."""


def trace(
    camera: Camera, shapes: Sequence[Shape], u: Array, v: Array, *, cuts: bool = True
) -> tuple[Array, NDArray[np.int32]]:
    """Find the nearest hit of each ray.

    Of several shapes at the same t, the one that begins nearest is hit, or else the first one.

    Args:
        u, v: ascending sample coordinates, (W,) and (H,); their dtype is the precision.
        cuts: whether rays pass through the holes of shapes.

    Returns:
        t (H, W), inf where nothing is hit, and the index of the shape (H, W), -1 for none.
    """
    spans, nearest = windows(camera, shapes, u, v)
    order = np.argsort(nearest, kind="stable")
    order = order[np.all(spans[order, ::2] < spans[order, 1::2], axis=1)]
    view = _View(camera, [shapes[n] for n in order], u, v, spans[order], nearest[order], cuts)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        view.meet_all()
    return view.t, np.append(order, -1).astype(np.int32)[view.rank]


def trace_pixels(
    camera: Camera, shapes: Sequence[Shape], height: int, width: int
) -> tuple[Array, NDArray[np.int32]]:
    """``trace`` the rays through the centres of pixels, in double precision."""
    return trace(camera, shapes, np.arange(float(width)), np.arange(float(height)))


class _View:
    """The nearest hits so far; shapes are ranked by their smallest possible t.

    Attributes:
        t: (H, W), inf where nothing is hit.
        rank: (H, W), rank of the shape that is hit; the number of shapes for none.
        camera: the camera of the rays.
        across, along: (W,) and (H,), distances right and down of the axis.
        forms: form and sizes of each shape.
        frames: (12, N), see ``Camera.in_frames``.
        spans: (N, 4), see ``windows``.
        nearest: (N,) a little less than the smallest possible t. A hit before it, by rounding in
            rays from afar, is raised to it.
        hole: (N,) index of the function that tells where a shape has holes; -1 without holes.
    """

    def __init__(
        self,
        camera: Camera,
        shapes: Sequence[Shape],
        u: Array,
        v: Array,
        spans: NDArray[np.int64],
        nearest: Array,
        cuts: bool,
    ) -> None:
        kind = u.dtype
        self.t: Array = np.full((len(v), len(u)), np.inf, kind)
        self.rank = np.full(self.t.shape, len(shapes), np.int32)
        self.camera, self.spans = camera, spans
        self.nearest = (nearest - 1e-5 * np.abs(nearest)).astype(kind)
        self.across = (u - camera.centre[0]) / camera.focal
        self.along = (v - camera.centre[1]) / camera.focal
        self.frames = camera.in_frames(shapes).astype(kind)
        self.forms = [shape.form() for shape in shapes]
        found: dict[Cut, int] = {}
        holes = [
            found.setdefault(shape.cut, len(found)) if cuts and shape.cut is not None else -1
            for shape in shapes
        ]
        self.hole, self._cuts = np.array(holes, np.int64), list(found)

    @cached_property
    def _groups(self) -> tuple[NDArray[np.int64], list[tuple[Form, Array]]]:
        """The groups of ``by_form``, in the precision of the rays."""
        group, tables = by_form(self.forms)
        return group, [(form, table.astype(self.t.dtype)) for form, table in tables]

    def meet_all(self) -> None:
        """Meet all shapes, the large ones one after the other."""
        area = np.prod(self.spans[:, 1::2] - self.spans[:, ::2], axis=1)
        for rank in np.flatnonzero(area > _SMALL).tolist():
            self.meet_one(rank)
        # a small window's rays cost less than a turn of Python, so such shapes are met many at once
        small = np.flatnonzero(area <= _SMALL)
        turns = np.cumsum(area[small]) // _AT_ONCE
        for turn_number in np.unique(turns):
            self.meet_many(small[turns == turn_number])

    def meet_one(self, rank: int) -> None:
        """Meet a shape, one that ranks behind all that are met already."""
        left, right, top, bottom = self.spans[rank].tolist()
        across, frame = self.across[None, left:right], self.frames[:, rank]
        form, sizes = self.forms[rank]
        hole = int(self.hole[rank])
        step = max(1, _AT_ONCE // (right - left))
        for first in range(top, bottom, step):
            rows = slice(first, min(first + step, bottom))
            before = self.t[rows, left:right]
            if before.max() < self.nearest[rank]:
                continue  # all of it is behind earlier hits
            o, d = self.camera.local_rays(frame, across, self.along[rows, None])
            t = np.maximum(form(o, d, sizes), self.nearest[rank])
            near = t < before
            if hole >= 0:
                at = np.nonzero(near)
                near[at] = self._cuts[hole](_points(o, d, t, at))
            np.copyto(before, t, where=near)
            self.rank[rows, left:right][near] = rank

    def meet_many(self, ranks: NDArray[np.int64]) -> None:
        """Meet shapes all at once, each with the rays of its own window."""
        group, tables = self._groups
        rank, sample = self._pairs(ranks[np.argsort(group[ranks], kind="stable")])
        before = self.t.ravel()  # a view
        front = before[sample] >= self.nearest[rank]
        rank, sample = rank[front], sample[front]
        row, column = np.divmod(sample, len(self.across))
        frames = self.frames[:, rank]
        o, d = self.camera.local_rays(frames, self.across[column], self.along[row])
        t = np.empty(len(rank), before.dtype)
        ends = np.searchsorted(group[rank], np.arange(len(tables)), side="right")
        for (form, table), start, end in zip(tables, [0, *ends[:-1]], ends, strict=True):
            if start < end:
                own = slice(start, end)
                t[own] = form(
                    [part[own] for part in o], [part[own] for part in d], table[:, rank[own]]
                )
        t = np.maximum(t, self.nearest[rank])
        hit = np.flatnonzero(np.isfinite(t) & (t <= before[sample]))
        there = np.ones(len(hit), np.bool_)
        hole = self.hole[rank[hit]]
        for number in np.unique(hole[hole >= 0]):
            some = hole == number
            there[some] = self._cuts[number](_points(o, d, t, (hit[some],)))
        hit = hit[there]
        self._keep(rank[hit], sample[hit], t[hit])

    def _pairs(self, ranks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every shape with each of its window's samples: ranks (P,) and places in ``t`` (P,)."""
        left, right, top, bottom = self.spans[ranks].T
        wide, area = right - left, (right - left) * (bottom - top)
        which = np.repeat(np.arange(len(ranks)), area)
        row, column = np.divmod(
            np.arange(len(which)) - (np.cumsum(area) - area)[which], wide[which]
        )
        return ranks[which], (row + top[which]) * len(self.across) + column + left[which]

    def _keep(self, rank: NDArray[np.int64], sample: NDArray[np.int64], t: Array) -> None:
        """Of hits at the same t the lowest rank stays, in whatever order they come."""
        before, front = self.t.ravel(), self.rank.ravel()
        front[sample[t < before[sample]]] = len(self.forms)
        np.minimum.at(before, sample, t)
        first = t == before[sample]
        np.minimum.at(front, sample[first], rank[first].astype(np.int32))


def _points(o: list[Any], d: list[Any], t: Array, at: tuple[NDArray[np.intp], ...]) -> Array:
    """Where rays are at t, (N, 3), of those chosen; components may be one for all."""
    chosen = [[part[at] if np.ndim(part) else part for part in vector] for vector in (o, d)]
    return np.stack([chosen[0][i] + t[at] * chosen[1][i] for i in range(3)], axis=1)
