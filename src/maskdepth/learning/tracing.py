"""Ray casting on a torch device: what ``raycast.trace`` finds, for many shapes at once.

Samples lie in square tiles. A *pair* is a tile and a shape that it may see; all pairs of a form are
met in one go, and the nearest hit of each sample is kept. Pairs whose shape lies behind all that
the tile shows are left out, so the work is that of ``trace`` or less, without a turn of Python for
every shape. Formulas are those of ``trace`` too, so that the two agree to the last bits. Holes stay
functions of NumPy: they are asked about the foremost hit of each sample, and where that is a hole,
about the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdepth.devices import pick_device
from maskdepth.synthesis.worlds.forms import Arithmetic, by_form
from maskdepth.synthesis.worlds.raycast import Camera, windows
from maskdepth.synthesis.worlds.shapes import Shape
from maskdepth.synthesis.worlds.textures import Array

_SIDE = 8  # samples along a tile
_TILE = _SIDE * _SIDE
_PAIRS = {"cpu": 1 << 10, "cuda": 1 << 16, "mps": 1 << 15}
"""Pairs met in one go: on a CPU what its cache holds, on a GPU what keeps it busy."""


def _root(square: Tensor) -> Tensor:
    """Square root, 0 below 0. In single precision torch's own is off by a last bit on CPUs."""
    positive = square.clamp(min=0.0)
    if positive.device.type == "cpu":
        return positive.double().sqrt().to(positive.dtype)
    return positive.sqrt()


_TORCH = Arithmetic(torch.where, torch.minimum, torch.maximum, torch.isfinite, _root)


@dataclass(frozen=True)
class TorchTracer:
    """A ``Tracer`` on a torch device.

    It can be pickled, so that processes can be given one; each then talks to the device itself.
    Where the device has no double precision (mps), rays given in it are cast in single.

    Attributes:
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for a GPU where there is one.

    Raises:
        UsageError: the device is not there.
    """

    device: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", pick_device(self.device))

    @torch.inference_mode()
    def __call__(
        self, camera: Camera, shapes: Sequence[Shape], u: Array, v: Array, *, cuts: bool = True
    ) -> tuple[Array, NDArray[np.int32]]:
        """See ``raycast.trace``."""
        spans, nearest = windows(camera, shapes, u, v)
        empty = np.any(spans[:, ::2] >= spans[:, 1::2], axis=1)
        order = np.argsort(nearest, kind="stable")
        order = order[~empty[order]]
        ordered = [shapes[number] for number in order]
        rays = _Rays(camera, ordered, u, v, spans[order], nearest[order], self.device)
        front = _Front(rays, len(ordered))
        ranks = np.arange(len(ordered))
        holed = np.array([cuts and shape.cut is not None for shape in ordered], np.bool_)
        for some in rays.portions(ranks[~holed]):
            front.keep(rays.meet(some, front))
        found = [rays.meet(some, front) for some in rays.portions(ranks[holed])]
        if found:
            _see_through(_Hits.joined(found), front, rays, ordered)
        index = np.append(order, -1).astype(np.int32)
        return rays.grid(front.t).astype(u.dtype), index[rays.grid(front.rank)]


@dataclass(frozen=True)
class _Hits:
    """Hits, one a row: which sample, at which t, of the shape of which rank."""

    sample: Tensor
    t: Tensor
    rank: Tensor

    def where(self, chosen: Tensor) -> _Hits:
        return _Hits(self.sample[chosen], self.t[chosen], self.rank[chosen])

    @staticmethod
    def joined(parts: Sequence[_Hits]) -> _Hits:
        return _Hits(
            torch.cat([part.sample for part in parts]),
            torch.cat([part.t for part in parts]),
            torch.cat([part.rank for part in parts]),
        )


class _Front:
    """The nearest hit of each sample so far, tile by tile (tiles * _TILE,): its t, inf for none,
    and the rank of its shape.
    """

    def __init__(self, rays: _Rays, none: int) -> None:
        self.none = none
        samples = (rays.across.numel() * rays.along.numel(),)
        self.t = torch.full(samples, torch.inf, dtype=rays.kind, device=rays.device)
        self.rank = torch.full(samples, none, dtype=torch.int64, device=rays.device)

    def keep(self, hits: _Hits) -> None:
        """Of hits at the same t the lowest rank stays, in whatever order they come."""
        nearer = hits.where(hits.t < self.t[hits.sample])
        self.rank[nearer.sample] = self.none
        self.t.scatter_reduce_(0, nearer.sample, nearer.t, "amin")
        first = hits.where(hits.t == self.t[hits.sample])
        self.rank.scatter_reduce_(0, first.sample, first.rank, "amin")


class _Rays:
    """The rays of a camera, in the frames of shapes that are sorted by their least t."""

    def __init__(
        self,
        camera: Camera,
        shapes: Sequence[Shape],
        u: Array,
        v: Array,
        spans: NDArray[np.int64],
        nearest: Array,
        device: str,
    ) -> None:
        self.device, self.size = device, (len(v), len(u))
        self.kind = torch.float64 if u.dtype == np.float64 and device != "mps" else torch.float32
        self.across = self._tiled((u - camera.centre[0]) / camera.focal)
        self.along = self._tiled((v - camera.centre[1]) / camera.focal)
        self.camera = camera
        self.frames = self._send(camera.in_frames(shapes))
        tiles = (spans + np.array([0, _SIDE - 1, 0, _SIDE - 1])) // _SIDE
        self.work = np.prod(tiles[:, 1::2] - tiles[:, ::2], axis=1)
        self.tiles, self.spans = (torch.from_numpy(each).to(device) for each in (tiles, spans))
        # see ``raycast``: rounding may put a hit before it
        self.nearest = self._send(nearest - 1e-5 * np.abs(nearest))
        self.group, tables = by_form([shape.form() for shape in shapes])
        self.tables = [(form, self._send(table)) for form, table in tables]
        self.groups = torch.from_numpy(self.group).to(device)
        self.numbers = torch.arange(len(self.tables), device=device)

    def _send(self, values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.kind).to(self.device)

    def _tiled(self, steps: Array) -> Tensor:
        """Steps along one side of the picture (tiles, _SIDE), the last repeated to fill up."""
        return self._send(np.pad(steps, (0, -len(steps) % _SIDE), mode="edge")).view(-1, _SIDE)

    def grid(self, samples: Tensor) -> NDArray[Any]:
        """Values of all samples (tiles * _TILE,) as a picture (H, W)."""
        tiles = samples.view(len(self.along), len(self.across), _SIDE, _SIDE)
        full = tiles.transpose(1, 2).reshape(self.along.numel(), self.across.numel())
        return np.asarray(full[: self.size[0], : self.size[1]].cpu().numpy())

    def portions(self, ranks: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Ranks in runs of about as many pairs as are met in one go, at least one shape each."""
        if len(ranks):
            turns = np.cumsum(self.work[ranks]) // _PAIRS[self.device]
            yield from np.split(ranks, np.flatnonzero(np.diff(turns)) + 1)

    def meet(self, ranks: NDArray[np.int64], front: _Front) -> _Hits:
        """The hits of some shapes that are no farther than the front."""
        ordered = ranks[np.argsort(self.group[ranks], kind="stable")]
        rank, tile = self._pairs(torch.from_numpy(ordered).to(self.device))
        before = front.t.view(-1, _TILE)
        seen = before.amax(dim=1)[tile] >= self.nearest[rank]
        rank, tile = rank[seen], tile[seen]
        ends = torch.searchsorted(self.groups[rank], self.numbers, right=True).tolist()
        row = torch.div(tile, len(self.across), rounding_mode="floor")
        column = tile - row * len(self.across)
        across, along = self.across[column, None, :], self.along[row, :, None]
        o, d = self.camera.local_rays(self.frames[:, rank, None, None], across, along)
        t = torch.empty((len(rank), _SIDE, _SIDE), dtype=self.kind, device=self.device)
        for (form, table), start, end in zip(self.tables, [0, *ends[:-1]], ends, strict=True):
            if start < end:
                own = slice(start, end)
                sizes = table[:, rank[own], None, None]
                t[own] = form(_TORCH, [part[own] for part in o], [part[own] for part in d], sizes)
        t = torch.maximum(t.view(-1, _TILE), self.nearest[rank, None])
        within = self._within(rank, column, row).view(-1, _TILE)
        met = within & t.isfinite() & (t <= before[tile])
        pair, place = torch.nonzero(met, as_tuple=True)
        return _Hits(tile[pair] * _TILE + place, t[pair, place], rank[pair])

    def _pairs(self, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """Ranks and tiles (P,) of all pairs of some shapes."""
        left, right, top, bottom = self.tiles[ranks].T
        wide = right - left
        area = wide * (bottom - top)
        which = torch.repeat_interleave(area)
        place = torch.arange(len(which), device=self.device) - (area.cumsum(0) - area)[which]
        row = torch.div(place, wide[which], rounding_mode="floor")
        column = place - row * wide[which]
        return ranks[which], (row + top[which]) * len(self.across) + column + left[which]

    def _within(self, rank: Tensor, column: Tensor, row: Tensor) -> Tensor:
        """Which samples (P, _SIDE, _SIDE) of tiles may see a shape."""
        left, right, top, bottom = self.spans[rank, :, None].unbind(dim=1)
        steps = torch.arange(_SIDE, device=self.device)
        u, v = column[:, None] * _SIDE + steps, row[:, None] * _SIDE + steps
        return ((v >= top) & (v < bottom))[:, :, None] & ((u >= left) & (u < right))[:, None, :]

    def points(self, hits: _Hits) -> NDArray[Any]:
        """Where hits lie (N, 3), each in the frame of its shape."""
        tile = torch.div(hits.sample, _TILE, rounding_mode="floor")
        place = hits.sample - tile * _TILE
        row = torch.div(tile, len(self.across), rounding_mode="floor")
        down = torch.div(place, _SIDE, rounding_mode="floor")
        across = self.across[tile - row * len(self.across), place - down * _SIDE]
        o, d = self.camera.local_rays(self.frames[:, hits.rank], across, self.along[row, down])
        points = torch.stack([o[i] + hits.t * d[i] for i in range(3)], dim=1)
        return np.asarray(points.cpu().numpy())


def _see_through(hits: _Hits, front: _Front, rays: _Rays, shapes: Sequence[Shape]) -> None:
    """Bring the hits that are no holes to the front, the nearest of each sample first."""
    cuts = {id(shape.cut): shape.cut for shape in shapes if shape.cut is not None}
    numbers = {key: number for number, key in enumerate(cuts)}
    cut_of = np.array([numbers.get(id(shape.cut), -1) for shape in shapes])
    functions = list(cuts.values())
    while len(hits.sample):
        foremost = torch.full_like(front.t, torch.inf)
        foremost.scatter_reduce_(0, hits.sample, hits.t, "amin")
        asked = hits.t == foremost[hits.sample]
        some = hits.where(asked)
        points = rays.points(some)
        which = cut_of[some.rank.cpu().numpy()]
        there = np.zeros(len(which), np.bool_)
        for number in np.unique(which):
            rows = np.flatnonzero(which == number)
            there[rows] = functions[number](points[rows])
        front.keep(some.where(torch.from_numpy(there).to(rays.device)))
        hits = hits.where(~asked & (hits.t <= front.t[hits.sample]))
