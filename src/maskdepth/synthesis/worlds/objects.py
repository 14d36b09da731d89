"""Things that stand at the origin: vessels, balls, boxes, ladders, furniture, plants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from maskdepth.synthesis.worlds import furniture, props, vehicles
from maskdepth.synthesis.worlds.props import ORIGIN, Rng, at, block, ellipsoid, plain, rod, tube
from maskdepth.synthesis.worlds.shapes import Frustum, Pair, Shape
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    Surface,
    mix,
    mottled,
    sample_colour,
    sample_field,
    step,
    striped,
)
from maskdepth.synthesis.worlds.vectors import turn_y


def sample_paint(rng: Rng, size: float) -> Paint:
    """Plain, mottled or patterned, in any colour."""
    first = sample_colour(rng, (0.0, 1.0), (0.0, 0.95), (0.08, 0.97))
    kind = rng.random()
    if kind < 0.35:
        return mottled(rng, first, size * 0.5, 0.06)
    if kind < 0.6:
        return mottled(rng, first, size * 0.3, 0.25)
    second = sample_colour(rng, (0.0, 1.0), (0.0, 0.9), (0.08, 0.97))
    return striped(rng, first, second, size * rng.uniform(0.12, 0.5))


def turned_on_lathe(
    base: Array, profile: Sequence[Pair], paints: Sequence[Paint], gloss: float
) -> list[Shape]:
    """Frusta stacked along a profile of (height, radius), one paint each."""
    line = np.array(profile)
    own = np.diff(line[:, 1]) / np.diff(line[:, 0])
    between = np.concatenate([own[:1], (own[:-1] + own[1:]) / 2, own[-1:]])
    sharp = np.abs(np.concatenate([[0], np.diff(own), [0]])) > 1.0  # an edge that stays an edge
    shapes: list[Shape] = []
    for number, ((low, r0), (high, r1)) in enumerate(pairwise(profile)):
        ends = [own[number] if sharp[i] else between[i] for i in (number, number + 1)]
        shapes.append(
            Frustum(
                centre=base + at(0, low, 0),
                height=high - low,
                radii=(max(r0, 1e-3), max(r1, 1e-3)),
                offset=at(0, low, 0),
                slopes=(float(ends[0]), float(ends[1])),
                paint=paints[min(number, len(paints) - 1)],
                gloss=gloss,
            )
        )
    return shapes


def _smooth_profile(points: list[Pair], steps: int) -> list[Pair]:
    """A profile with its corners rounded, by repeated corner cutting (Chaikin 1974)."""
    line = np.array(points)
    for _ in range(steps):
        near, far = 0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]
        inner = np.stack([near, far], axis=1).reshape(-1, 2)
        line = np.concatenate([line[:1], inner, line[-1:]])
    keep = np.concatenate([[True], np.diff(line[:, 0]) > 1e-4])
    return [(float(h), float(r)) for h, r in line[keep]]


def ball(rng: Rng) -> list[Shape]:
    """A ball: panels, stripes or one colour."""
    radius = rng.uniform(0.1, 0.4)
    first, second = (sample_colour(rng, (0, 1), (0.0, 0.95), (0.15, 0.97)) for _ in range(2))
    kind, turn = int(rng.integers(3)), rng.normal(size=(3, 3))
    axes = np.linalg.qr(turn)[0]
    panels = int(rng.integers(2, 5))
    dirt = sample_field(rng, radius, 4)

    def paint(surface: Surface) -> Array:
        p = surface.points / radius
        around = np.arctan2(p[:, 0], p[:, 2])
        if kind == 0:
            cover = step(np.sin(around * panels), 0.0, 0.1)
        elif kind == 1:
            cover = step(np.abs(p[:, 1]), 0.25, 0.04)
        else:
            seam = np.minimum(np.abs(p[:, 0]), np.abs(np.abs(p[:, 1]) - 0.4 - 0.3 * p[:, 0] ** 2))
            cover = 1.0 - step(seam, 0.03, 0.03)
        shade = np.exp(0.1 * dirt.solid(surface.points, surface.footprint))
        return np.asarray(np.clip(mix(first, second, cover) * shade[:, None], 0, 1))

    shine = rng.uniform(0.0, 0.8)
    centre = at(0, radius, 0)
    return [ellipsoid(centre, radius, paint, axes=axes, gloss=shine)]


def bottle(rng: Rng) -> list[Shape]:
    """A bottle with a label and a cap."""
    wide, tall = rng.uniform(0.03, 0.06), rng.uniform(0.2, 0.36)
    neck = wide * rng.uniform(0.28, 0.45)
    shoulder, top = tall * rng.uniform(0.5, 0.72), tall * 0.9
    body = plain(sample_colour(rng, (0, 1), (0.0, 0.9), (0.05, 0.9)))
    label = sample_paint(rng, wide * 3)
    cap = plain(sample_colour(rng, (0, 1), (0.0, 0.9), (0.05, 0.95)))
    outline = [(0.0, wide * 0.9), (0.01, wide), (shoulder, wide)]
    outline += [(shoulder + (top - shoulder) * 0.5, neck), (top, neck)]
    shapes = turned_on_lathe(ORIGIN, _smooth_profile(outline, 3), [body], 0.9)
    low, high = shoulder * 0.2, shoulder * rng.uniform(0.6, 0.85)
    shapes.append(rod(at(0, low, 0), at(0, high, 0), (wide * 1.01, wide * 1.01), label, gloss=0.2))
    shapes.append(rod(at(0, top, 0), at(0, tall, 0), (neck * 1.15, neck * 1.1), cap, gloss=0.4))
    return shapes


def mug(rng: Rng) -> list[Shape]:
    """A mug or jug with a handle."""
    wide, tall = rng.uniform(0.035, 0.06), rng.uniform(0.07, 0.16)
    top = wide * rng.uniform(0.85, 1.3)
    paint = sample_paint(rng, wide * 2)
    inside = plain(sample_colour(rng, (0, 0.2), (0, 0.2), (0.7, 0.95)))
    drink = plain(sample_colour(rng, (0.02, 0.12), (0.2, 0.8), (0.1, 0.6)))
    shapes: list[Shape] = [
        tube(ORIGIN, tall, (wide, top), paint, closed=True, gloss=0.7),
        tube(at(0, 0.004, 0), tall - 0.004, (wide * 0.93, top * 0.94), inside, closed=True),
        rod(ORIGIN, at(0, tall * 0.8, 0), (wide * 0.9, top * 0.9), drink),
    ]
    angle, turn = np.linspace(-1.4, 1.4, 12), rng.uniform(-1.2, 1.2) + np.pi * rng.integers(2)
    out = (wide + top) / 2 * 0.9 + np.cos(angle) * tall * 0.35
    level = tall * 0.52 + np.sin(angle) * tall * 0.36
    points = np.stack([out * np.cos(turn), level, out * np.sin(turn)], axis=1)
    thick = wide * rng.uniform(0.1, 0.17)
    for start, end in pairwise(points):
        shapes.append(rod(start, end, (thick, thick), paint, gloss=0.7))
        shapes.append(ellipsoid(end, thick, paint, gloss=0.7))
    return shapes


def vase(rng: Rng) -> list[Shape]:
    """A vase or jar of any outline, sometimes with flowers."""
    tall = rng.uniform(0.15, 0.5)
    radii = tall * rng.uniform(0.1, 0.34, 5)
    radii[0] = max(radii[0], tall * 0.14)
    outline = [(tall * h, float(r)) for h, r in zip((0, 0.22, 0.5, 0.8, 1.0), radii, strict=True)]
    paint = sample_paint(rng, tall)
    shapes = turned_on_lathe(ORIGIN, _smooth_profile(outline, 3), [paint], rng.uniform(0, 0.9))
    if rng.random() < 0.5:
        green = plain(sample_colour(rng, (0.2, 0.35), (0.3, 0.8), (0.2, 0.6)))
        bloom = sample_colour(rng, (0.75, 1.2), (0.1, 0.9), (0.5, 0.97))
        petals = props.sample_leaves(rng, bloom, tall * 0.05)
        for _ in range(int(rng.integers(5, 12))):
            way = at(rng.normal() * 0.45, 1.0, rng.normal() * 0.45)
            tip = at(0, tall, 0) + way * tall * rng.uniform(0.4, 0.8)
            shapes.append(rod(at(0, tall * 0.95, 0), tip, (0.004, 0.003), green))
            size = tall * rng.uniform(0.06, 0.14)
            shapes += props.foliage(rng, tip, (size,) * 3, petals)
    return shapes


def carton(rng: Rng) -> list[Shape]:
    """A box, crate or parcel, maybe with tape, maybe stacked."""
    shapes: list[Shape] = []
    level = 0.0
    size = rng.uniform(0.2, 0.5, 3)
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.random()
        cardboard = sample_colour(rng, (0.06, 0.1), (0.3, 0.55), (0.5, 0.75))
        paint = mottled(rng, cardboard, 0.3, 0.1) if kind < 0.4 else sample_paint(rng, size[0])
        turn = turn_y(rng.uniform(-0.3, 0.3))
        place = at(0, level + size[1] / 2, 0)
        shapes.append(block(place, (size[0], size[1], size[2]), paint, turn))
        if kind < 0.6:
            tape = plain(sample_colour(rng, (0, 1), (0, 0.7), (0.3, 0.9)))
            band = (size[0] * 0.15, size[1] + 0.004, size[2] + 0.004)
            shapes.append(block(place, band, tape, turn, gloss=0.3))
        level += size[1]
        size = size * rng.uniform([0.6, 0.5, 0.6], [1.0, 1.2, 1.0])
    return shapes


def marker(rng: Rng) -> list[Shape]:
    """A traffic cone, bollard, bucket, barrel or stool."""
    kind = int(rng.integers(4))
    first = plain(sample_colour(rng, (0, 1), (0.2, 0.95), (0.3, 0.95)))
    second = plain(sample_colour(rng, (0, 0.2), (0, 0.3), (0.6, 0.97)))
    if kind == 0:
        outline = [(0.03, 0.16), (0.2, 0.125), (0.35, 0.09), (0.5, 0.055), (0.6, 0.03)]
        cone = turned_on_lathe(ORIGIN, outline, [first, second, first, second], 0.1)
        return [block(at(0, 0.015, 0), (0.38, 0.03, 0.38), first, turn_y(rng.uniform(0, 1))), *cone]
    if kind == 1:
        paints = [first, second, first, second, first]
        levels = np.linspace(0, 0.9, 6)
        post = turned_on_lathe(ORIGIN, [(float(y), 0.09) for y in levels], paints, 0.2)
        return [*post, ellipsoid(at(0, 0.9, 0), (0.09, 0.05, 0.09), first)]
    if kind == 2:
        paint = sample_paint(rng, 0.4)
        hoop = plain(sample_colour(rng, (0, 1), (0, 0.3), (0.1, 0.6)))
        outline = [(0.0, 0.2), (0.3, 0.27), (0.6, 0.27), (0.85, 0.2)]
        shapes = turned_on_lathe(ORIGIN, _smooth_profile(outline, 2), [paint], 0.2)
        for level, radius in ((0.12, 0.238), (0.7, 0.246)):
            shapes.append(rod(at(0, level, 0), at(0, level + 0.05, 0), (radius, radius), hoop))
        return shapes
    wood, seat = furniture.sample_wood(rng), furniture.sample_cloth(rng)
    stool: list[Shape] = [rod(at(0, 0.5, 0), at(0, 0.55, 0), (0.19, 0.18), seat)]
    for angle in np.arange(3 + rng.integers(2)) * 1.6 + 0.4:
        out = at(np.cos(angle), 0, np.sin(angle))
        stool.append(rod(out * 0.2, out * 0.13 + at(0, 0.5, 0), (0.014, 0.018), wood))
    return stool


def ladder(rng: Rng) -> list[Shape]:
    """A ladder or an open rack: rails with much air between them."""
    paint = sample_paint(rng, 0.3)
    tall, half = rng.uniform(0.9, 2.4), rng.uniform(0.16, 0.3)
    lean = rng.uniform(0.05, 0.4)
    legs = (1.0, -1.0) if rng.random() < 0.6 else (1.0,)
    shapes: list[Shape] = []
    for way in legs:
        foot = at(0, 0, way * lean * tall * 0.5)
        head = at(0, tall, 0.02 * way)
        for side in (-half, half):
            x = at(side, 0, 0)
            shapes.append(rod(foot + x, head + x * 0.85, (0.022, 0.02), paint, gloss=0.3))
        for share in np.linspace(0.1, 0.95, int(tall / 0.26)) if way > 0 else ():
            middle = foot + (head - foot) * share
            x = at(half * (1 - 0.15 * share), 0, 0)
            shapes.append(rod(middle - x, middle + x, (0.016, 0.016), paint))
    return shapes


def umbrella(rng: Rng) -> list[Shape]:
    """An open umbrella that stands on its stick."""
    paint = sample_paint(rng, 0.5)
    stick = plain(sample_colour(rng, (0, 1), (0, 0.5), (0.05, 0.6)))
    wide, tall = rng.uniform(0.4, 0.6), rng.uniform(0.75, 1.0)
    canopy = turned_on_lathe(
        at(0, tall - wide * 0.45, 0),
        [(0.0, wide), (wide * 0.22, wide * 0.8), (wide * 0.38, wide * 0.45), (wide * 0.45, 0.01)],
        [paint],
        0.1,
    )
    open_ = [replace(part, caps=(False, False)) for part in canopy if isinstance(part, Frustum)]
    return [rod(at(0, 0, 0), at(0, tall, 0), (0.012, 0.012), stick), *open_]


THINGS: tuple[Callable[[Rng], list[Shape]], ...] = (
    ball, bottle, mug, vase, carton, marker, ladder, umbrella,
    furniture.chair, furniture.sofa, furniture.table,
    lambda rng: furniture.plant(rng, ORIGIN, rng.uniform(0.4, 1.2)),
    lambda rng: furniture.lamp(rng, ORIGIN, rng.uniform(0.4, 1.5)),
    lambda rng: props.bush(rng, ORIGIN, rng.uniform(0.5, 1.2)),
    props.bench, vehicles.vehicle, vehicles.bicycle,
)  # fmt: skip
