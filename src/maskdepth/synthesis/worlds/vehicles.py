"""Cars, vans and bicycles: solids that stand on the ground, at the origin, long along x."""

from __future__ import annotations

import numpy as np

from maskdepth.synthesis.worlds.props import Rng, at, block, plain, rod, tapered, tube
from maskdepth.synthesis.worlds.shapes import Pair, Polyhedron, Shape, taper
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    Surface,
    mix,
    sample_colour,
    sample_field,
    step,
)
from maskdepth.synthesis.worlds.vectors import frame_along


def _sample_lacquer(rng: Rng) -> Array:
    if rng.random() < 0.5:
        return sample_colour(rng, (0.0, 1.0), (0.0, 0.12), (0.08, 0.95))
    return sample_colour(rng, (0.0, 1.0), (0.4, 0.95), (0.2, 0.85))


def _glazed(body: Array, low: float, high: float, pillars: Array, long: float) -> Paint:
    """Body colour with a band of windows between two heights, parted by pillars at x."""
    glass = np.array([0.02, 0.025, 0.03])

    def paint(surface: Surface) -> Array:
        x, y = surface.points[:, 0], surface.points[:, 1]
        fine = surface.footprint + 4e-3
        sides = np.abs(surface.normal[:, 2]) > 0.5
        band = step(y, low, fine) * (1.0 - step(y, high, fine))
        away = np.min(np.abs(x[:, None] - pillars), axis=1)
        open_ = np.where(sides, step(away, 0.05, fine), 1.0)
        rim = step(long - np.abs(x), 0.06, fine)
        return mix(body, glass, band * open_ * np.where(sides, rim, 1.0))

    return paint


def _wheels(places: list[Pair], radius: float) -> list[Shape]:
    """Tyres with hubs, at (x, z)."""
    tyre, hub = plain(np.array([0.012] * 3)), plain(np.array([0.35] * 3))
    shapes: list[Shape] = []
    for x, z in places:
        inner, outer = at(x, radius, z - np.sign(z) * 0.2), at(x, radius, z)
        shapes.append(rod(inner, outer, (radius, radius), tyre))
        face = outer + at(0, 0, np.sign(z) * 0.01)
        shapes.append(rod(outer, face, (radius * 0.6, radius * 0.55), hub, gloss=0.8))
    return shapes


def car(rng: Rng) -> list[Shape]:
    """A hatchback, saloon or estate."""
    colour = _sample_lacquer(rng)
    dirt = sample_field(rng, 1.5, 4)

    def lacquer(surface: Surface) -> Array:
        shade = np.exp(0.05 * dirt.solid(surface.points, surface.footprint))
        return np.asarray(np.clip(colour * shade[:, None], 0, 1))

    half, wide = rng.uniform(1.75, 2.35), rng.uniform(0.8, 0.92)
    belt, roof = rng.uniform(0.82, 0.95), rng.uniform(1.38, 1.62)
    clear, radius = 0.2, rng.uniform(0.29, 0.35)
    faces, reach = taper((half, wide), (half * 0.97, wide * 0.94), belt - clear)
    nose = np.array([[0.42, 0.91, 0.0], [-0.35, 0.94, 0.0]])  # sloping bonnet and boot lid
    nose /= np.linalg.norm(nose, axis=1, keepdims=True)
    drop = nose[:, 1] * (belt - clear) + np.abs(nose[:, 0]) * half * np.array([0.62, 0.7])
    shapes: list[Shape] = [
        Polyhedron(
            centre=at(0, clear, 0),
            faces=np.concatenate([faces, nose]),
            reach=np.append(reach, drop),
            paint=lacquer,
            gloss=0.9,
        )
    ]
    back = rng.uniform(0.6, 0.95)
    middle = half * (0.05 - 0.5 * (back - 0.75))
    low, top = half * (0.55 + 0.3 * (back - 0.6)), half * (0.32 + 0.35 * (back - 0.6))
    high = roof - belt - 0.07
    pillars = np.array([-0.35, 0.35]) * low if back < 0.8 else np.array([-0.5, 0.0, 0.5]) * low
    glazed = _glazed(colour, 0.03, high, pillars, low)
    cabin = at(-abs(middle), belt, 0)
    sill, rim = (low, wide * 0.93), (top, wide * 0.74)
    shapes.append(tapered(cabin, sill, rim, roof - belt, glazed, (-0.05, 0.0), gloss=0.9))
    axle = half * 0.62
    shapes += _wheels([(x, z) for x in (-axle, axle) for z in (-wide, wide)], radius)
    lamp, red = plain(np.array([0.85, 0.85, 0.8])), plain(np.array([0.5, 0.01, 0.01]))
    plate, dark = plain(np.array([0.8, 0.8, 0.7])), plain(np.array([0.03] * 3))
    for z in (-0.68, 0.68):
        front = at(half * 0.97, belt - 0.28, z * wide)
        shapes.append(block(front, (0.12, 0.13, 0.34), lamp, gloss=1.0))
        rear = at(-half * 0.97, belt - 0.2, z * wide * 1.15)
        shapes.append(block(rear, (0.12, 0.2, 0.2), red, gloss=0.8))
    for x in (-1.0, 1.0):
        shapes.append(block(at(x * half, 0.42, 0), (0.04, 0.11, 0.5), plate))
        bumper = at(x * half * 0.985, 0.33, 0)
        shapes.append(block(bumper, (0.1, 0.16, wide * 1.9), dark))
    return shapes


def van(rng: Rng) -> list[Shape]:
    """A delivery van or small bus."""
    colour = _sample_lacquer(rng)
    half, wide, tall = rng.uniform(2.2, 3.2), rng.uniform(0.9, 1.05), rng.uniform(1.9, 2.6)
    band = plain(_sample_lacquer(rng))
    windows = int(rng.integers(0, 5))
    pillars = np.linspace(-half, half, windows + 3) if windows else np.array([half * 0.55])
    paint = _glazed(colour, tall * 0.42, tall * 0.74, pillars, half)
    if not windows:
        solid = plain(colour)

        def partly(surface: Surface) -> Array:
            front = step(surface.points[:, 0], half * 0.5, 0.02)
            return mix(solid(surface), paint(surface), front)

    foot, roof = (half, wide), (half * 0.9, wide * 0.93)
    coat = paint if windows else partly
    shapes: list[Shape] = [tapered(at(0, 0.25, 0), foot, roof, tall - 0.25, coat, gloss=0.7)]
    axle = half * 0.62
    shapes += _wheels([(x, z) for x in (-axle, axle) for z in (-wide, wide)], 0.34)
    shapes.append(block(at(0, 0.55, 0), (half * 1.99, 0.12, wide * 2.01), band))
    return shapes


def bicycle(rng: Rng) -> list[Shape]:
    """Two wheels, a frame, saddle and bars."""
    paint = plain(_sample_lacquer(rng))
    black, steel = plain(np.array([0.015] * 3)), plain(np.array([0.4] * 3))
    radius, apart = rng.uniform(0.28, 0.36), rng.uniform(0.48, 0.56)
    shapes: list[Shape] = []
    for x in (-apart, apart):
        hub = at(x, radius, 0)
        axes = frame_along(at(0, 0, 1))
        shapes.append(tube(hub - at(0, 0, 0.02), 0.04, (radius, radius), black, axes=axes))
        for angle in np.arange(8) * np.pi / 4:
            rim = hub + at(np.cos(angle), np.sin(angle), 0) * radius
            shapes.append(rod(hub, rim, (0.003, 0.003), steel))
    crank, seat = at(-0.08, radius * 0.85, 0), at(-0.24, 0.82, 0)
    head, front = at(apart - 0.2, 0.8, 0), at(apart, radius, 0)
    rear = at(-apart, radius, 0)
    tubes = [(crank, seat), (crank, head - at(0, 0.1, 0)), (seat - at(0, 0.1, 0), head)]
    tubes += [(rear, crank), (rear, seat - at(0, 0.12, 0)), (head + at(-0.03, 0.12, 0), front)]
    shapes += [rod(start, end, (0.017, 0.017), paint, gloss=0.6) for start, end in tubes]
    saddle = seat + at(0, 0.06, 0)
    shapes.append(block(saddle, (0.26, 0.05, 0.13), black))
    bar = head + at(-0.03, 0.14, 0)
    shapes.append(rod(bar - at(0, 0, 0.27), bar + at(0, 0, 0.27), (0.013, 0.013), black))
    return shapes


def vehicle(rng: Rng) -> list[Shape]:
    """A car mostly, or a van."""
    return car(rng) if rng.random() < 0.75 else van(rng)
