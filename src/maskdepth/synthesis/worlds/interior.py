"""Interiors: floor, ceiling, walls, windows and doors of a room, and the light in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds import furniture, props
from maskdepth.synthesis.worlds.lighting import Lamp, Light
from maskdepth.synthesis.worlds.prints import chequered, grained, sheet
from maskdepth.synthesis.worlds.props import GROUND_AXES, Rng, at, plain
from maskdepth.synthesis.worlds.shapes import Box, Cut, Pair, Quad, Shape
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    Surface,
    courses,
    mix,
    mottled,
    patchy,
    sample_colour,
    sample_field,
    step,
    striped,
)


def sample_floor(rng: Rng) -> tuple[Paint, float]:
    """Boards, tiles, carpet or lino, and its gloss."""
    kind = rng.random()
    if kind < 0.45:
        wood = sample_colour(rng, (0.03, 0.11), (0.2, 0.65), (0.25, 0.8))
        long, wide = rng.uniform(0.9, 2.0), rng.uniform(0.07, 0.2)
        boards = courses(rng, wood, wood * 0.3, long, wide, gap=0.004, offset=0.37, spread=0.16)
        return boards, rng.uniform(0.1, 0.6)
    if kind < 0.7:
        stone = sample_colour(rng, (0.0, 1.0), (0.0, 0.3), (0.3, 0.92))
        joint = sample_colour(rng, (0.05, 0.15), (0.0, 0.15), (0.4, 0.85))
        size = rng.uniform(0.15, 0.6)
        tiles = courses(rng, stone, joint, size, size, gap=0.008, offset=0.0, spread=0.07)
        return tiles, rng.uniform(0.2, 0.9)
    first = sample_colour(rng, (0.0, 1.0), (0.0, 0.6), (0.1, 0.8))
    if kind < 0.77:
        second = first * rng.uniform(0.1, 0.7)
        return chequered(rng, first, second, rng.uniform(0.15, 0.6)), rng.uniform(0.2, 0.8)
    if kind < 0.82:
        return grained(rng, sample_colour(rng, (0.04, 0.1), (0.3, 0.7), (0.2, 0.7))), 0.5
    if kind < 0.93:
        return mottled(rng, first, 0.03, 0.18), 0.0
    return patchy(rng, mottled(rng, first, 0.3), mottled(rng, first * 0.8, 0.4), 0.5), 0.4


def _sample_wall(rng: Rng) -> Paint:
    """Plaster, wallpaper or brick; sometimes panelled below."""
    kind = rng.random()
    hue = (0.02, 0.17) if rng.random() < 0.55 else (0.0, 1.0)
    first = sample_colour(rng, hue, (0.01, 0.38), (0.5, 0.97))
    if kind < 0.55:
        paint = mottled(rng, first, 2.0, 0.05)
    elif kind < 0.85:
        second = np.clip(first * rng.uniform(0.6, 1.35) * (1 + rng.normal(0, 0.1, 3)), 0, 1)
        paint = striped(rng, first, second, rng.uniform(0.08, 0.4))
    else:
        colour = sample_colour(rng, (0.98, 1.1), (0.0, 0.55), (0.35, 0.9))
        paint = courses(rng, colour, colour * 0.6, 0.24, 0.075, gap=0.01, spread=0.14)
    if rng.random() < 0.3:
        return _panelled(rng, paint)
    return paint


def _panelled(rng: Rng, above: Paint) -> Paint:
    """Another colour up to about a metre, with a rail."""
    below = mottled(rng, sample_colour(rng, (0.0, 1.0), (0.0, 0.5), (0.25, 0.9)), 1.0, 0.06)
    level = rng.uniform(0.8, 1.2)

    def paint(surface: Surface) -> Array:
        return mix(below(surface), above(surface), step(surface.world[:, 1], level, 0.01))

    return paint


def _hole(windows: list[tuple[float, float, float, float]]) -> Cut:
    """A wall without its windows: each (x, y, half width, half height) in the wall's frame."""

    def cut(points: Array) -> NDArray[np.bool_]:
        keep = np.ones(len(points), np.bool_)
        for x, y, w, h in windows:
            keep &= (np.abs(points[:, 0] - x) > w) | (np.abs(points[:, 1] - y) > h)
        return keep

    return cut


def _window(rng: Rng, wall: Quad, along: float, level: float, half: Pair) -> list[Shape]:
    """Frame, bars, sill and perhaps curtains of a window in a wall."""
    side, up, inward = wall.axes
    centre = wall.centre + side * along + up * level
    white = plain(sample_colour(rng, (0.05, 0.2), (0.0, 0.25), (0.6, 0.98)))
    w, h = half
    shapes: list[Shape] = []

    def bar(x: float, y: float, width: float, height: float, deep: float = 0.08) -> None:
        place = centre + side * x + up * y
        shapes.append(props.block(place, (width, height, deep), white, wall.axes))

    for sign in (-1.0, 1.0):
        bar(sign * w, 0, 0.08, 2 * h + 0.08)
        bar(0, sign * h, 2 * w + 0.08, 0.08)
    for x in np.linspace(-w, w, int(rng.integers(2, 5)))[1:-1]:
        bar(float(x), 0, 0.05, 2 * h, 0.05)
    if rng.random() < 0.6:
        bar(0, h * rng.uniform(-0.2, 0.5), 2 * w, 0.05, 0.05)
    centre = centre + inward * 0.1
    bar(0, -h - 0.05, 2 * w + 0.3, 0.04, 0.25)
    if rng.random() < 0.55:
        cloth = sample_colour(rng, (0.0, 1.0), (0.0, 0.8), (0.3, 0.95))
        paint = striped(rng, cloth, cloth * 0.8, rng.uniform(0.05, 0.12))
        for sign in (-1.0, 1.0):
            for fold in range(5):
                foot = centre + side * (sign * (w + 0.05 + 0.08 * fold)) - up * (h + 0.3)
                rail = foot + up * (2 * h + 0.5)
                shapes.append(props.rod(foot, rail, (0.06, 0.05), paint, leafy=0.3))
    return shapes


def _walls(rng: Rng, low: Array, high: Array) -> list[Quad]:
    """Left, right, far and near wall, each with its own frame looking inwards."""
    paint = _sample_wall(rng)
    accent = _sample_wall(rng) if rng.random() < 0.4 else paint
    x, y, z = (low + high) / 2
    hx, hy, hz = (high - low) / 2
    up = at(0, 1, 0)
    places = [
        (at(low[0], y, z), at(0, 0, 1), at(1, 0, 0), hz, paint),
        (at(high[0], y, z), at(0, 0, -1), at(-1, 0, 0), hz, paint),
        (at(x, y, high[2]), at(1, 0, 0), at(0, 0, -1), hx, accent),
        (at(x, y, low[2]), at(-1, 0, 0), at(0, 0, 1), hx, paint),
    ]
    return [
        Quad(centre=centre, axes=np.stack([side, up, way]), size=(half, hy), paint=own, room=True)
        for centre, side, way, half, own in places
    ]


_LAP = 0.02  # metres by which walls reach past their corners, so that no ray slips through


@dataclass(frozen=True)
class Interior:
    """A closed room without furniture.

    Attributes:
        low, high: (3,) its lowest and highest corner, metres.
        shapes: floor, ceiling, walls, windows, skirting.
        walls: left, right, far and near wall, looking inwards.
        lit: which wall has windows; -1 for none.
        lamps: light through the windows.
    """

    low: Array
    high: Array
    shapes: list[Shape]
    walls: list[Quad]
    lit: int
    lamps: list[Lamp]


def build_interior(rng: Rng, low: Array, high: Array, lit: int) -> Interior:
    """Floor, ceiling and walls of a room between two corners, windows in wall ``lit``."""
    middle, half = (low + high) / 2, (high - low) / 2
    floor, gloss = sample_floor(rng)
    hue = (0.0, 1.0) if rng.random() < 0.1 else (0.05, 0.2)
    top = mottled(rng, sample_colour(rng, hue, (0, 0.12), (0.7, 0.98)), 2.0, 0.03)
    if rng.random() < 0.25:
        size = rng.uniform(0.5, 0.7)
        panel = sample_colour(rng, (0.05, 0.2), (0, 0.1), (0.7, 0.95))
        top = courses(rng, panel, panel * 0.6, size, size, gap=0.02, offset=0.0, spread=0.02)
    shapes: list[Shape] = []
    for level, paint, shine in ((0.0, floor, gloss), (float(high[1]), top, 0.0)):
        shapes.append(
            Quad(
                centre=at(middle[0], level, middle[2]),
                axes=GROUND_AXES,
                size=(half[0] + _LAP, half[2] + _LAP),
                paint=paint,
                gloss=shine,
                room=True,
            )
        )
    walls = _walls(rng, low, high)
    lamps: list[Lamp] = []
    skirting = plain(sample_colour(rng, (0.05, 0.15), (0.0, 0.5), (0.3, 0.97)))
    for number, wall in enumerate(walls):
        foot = wall.centre - wall.axes[1] * (half[1] - 0.05)
        size_ = (wall.size[0], 0.05, 0.015)
        shapes.append(Box(centre=foot, axes=wall.axes, size=size_, paint=skirting, room=True))
        lapped = replace(wall, size=(wall.size[0] + _LAP, wall.size[1] + _LAP))
        if number == lit:
            holes, frames, lamps = _open_windows(rng, wall)
            shapes += [replace(lapped, cut=_hole(holes)), *frames]
        else:
            shapes.append(lapped)
    return Interior(low, high, shapes, walls, lit, lamps)


def wall_things(rng: Rng, inside: Interior, count: int) -> list[Shape]:
    """Pictures, posters, notice boards and doors on the walls without windows."""
    shapes: list[Shape] = []
    for _ in range(count):
        number = int(rng.integers(4))
        wall = inside.walls[number]
        if number == inside.lit:
            continue
        kind = rng.random()
        if kind < 0.25:
            shapes += door(rng, wall, float(rng.uniform(-0.75, 0.75) * wall.size[0]))
        elif kind < 0.65:
            shapes += poster(rng, wall)
        else:
            shapes += furniture.wall_picture(rng, wall)
    return shapes


def poster(rng: Rng, wall: Quad) -> list[Shape]:
    """A poster, calendar or notice board on a wall."""
    half = (rng.uniform(0.12, 0.6), rng.uniform(0.15, 0.55))
    place = wall.centre + wall.axes[0] * rng.uniform(-0.85, 0.85) * wall.size[0]
    place = place + wall.axes[1] * rng.uniform(-0.1, 0.4) + wall.axes[2] * 0.012
    size = (half[0], half[1], 0.01)
    return [Box(centre=place, axes=wall.axes, size=size, paint=sheet(rng, *half), casts=False)]


def door(rng: Rng, wall: Quad, along: float) -> list[Shape]:
    """A closed door with its frame and handle in a wall, ``along`` metres from its middle."""
    side, up, inward = wall.axes
    half = rng.uniform(0.38, 0.5)
    tall = min(rng.uniform(1.95, 2.1), 2 * wall.size[1] - 0.05)
    leaf = furniture.sample_wood(rng)
    frame = plain(sample_colour(rng, (0.05, 0.15), (0.0, 0.5), (0.15, 0.95)))
    foot = wall.centre - up * wall.size[1] + side * along
    middle = foot + up * (tall / 2)
    edge = (half + 0.07, tall / 2 + 0.035, 0.03)
    shapes: list[Shape] = [
        Box(centre=middle + up * 0.035, axes=wall.axes, size=edge, paint=frame, casts=False),
        Box(centre=middle, axes=wall.axes, size=(half, tall / 2, 0.045), paint=leaf, gloss=0.2),
    ]
    handle = foot + up * 1.02 + side * (half * 0.82) + inward * 0.07
    metal = plain(np.array([0.4, 0.38, 0.33]))
    size = (0.06, 0.012, 0.012)
    shapes.append(Box(centre=handle, axes=wall.axes, size=size, paint=metal, gloss=0.9))
    if rng.random() < 0.3:
        glass = plain(sample_colour(rng, (0.45, 0.65), (0.05, 0.4), (0.2, 0.8)))
        pane = middle + up * (tall * 0.15)
        size = (half * 0.6, tall * 0.22, 0.05)
        shapes.append(Box(centre=pane, axes=wall.axes, size=size, paint=glass, gloss=0.8))
    return shapes


def _open_windows(
    rng: Rng, wall: Quad
) -> tuple[list[tuple[float, float, float, float]], list[Shape], list[Lamp]]:
    """Holes for a wall, the windows in them, and their light."""
    count = int(rng.integers(1, 3))
    half = (min(wall.size[0] / count * 0.7, rng.uniform(0.45, 0.9)), rng.uniform(0.45, 0.65))
    level = rng.uniform(0.15, 0.4)
    day = mix(np.array([1.0, 0.95, 0.85]), np.array([0.8, 0.92, 1.1]), np.array(rng.random()))
    holes, shapes, lamps = [], [], []
    for number in range(count):
        along = ((number + 0.5) / count - 0.5) * 2 * wall.size[0] * rng.uniform(0.8, 1.0)
        holes.append((float(along), level, half[0], half[1]))
        shapes += _window(rng, wall, float(along), level, half)
        place = wall.centre + wall.axes[0] * along + wall.axes[1] * level + wall.axes[2] * 0.25
        lamps.append(Lamp(place, day * (2.4 * half[0] * half[1] / 0.3)))
    return holes, shapes, lamps


def light_interior(rng: Rng, inside: Interior, lamps: list[Lamp], focus: Array) -> Light:
    """Daylight through the windows, a ceiling light at times, and the given lamps.

    Args:
        focus: (3,) about what the camera looks at; shadows there are the finest.
    """
    low, high = inside.low, inside.high
    wall = inside.walls[max(inside.lit, 0)]
    lamps = [*inside.lamps, *lamps]
    middle = (low + high) / 2
    outward = -wall.axes[2]
    sun = outward + wall.axes[0] * rng.uniform(-0.8, 0.8) + at(0, rng.uniform(0.4, 1.1), 0)
    sun /= np.linalg.norm(sun)
    bright = rng.uniform(2.0, 9.0) if inside.lit >= 0 and rng.random() < 0.5 else 0.0
    colour = np.array([1.0, rng.uniform(0.78, 0.95), rng.uniform(0.55, 0.85)]) * bright
    if inside.lit < 0 or rng.random() < 0.5:
        warm = np.array([1.0, rng.uniform(0.7, 0.95), rng.uniform(0.4, 0.9)])
        top = high[1] - 0.3
        spot = at(middle[0], top, middle[2]) * 0.6 + at(focus[0], top, focus[2]) * 0.4
        lamps = [*lamps, Lamp(spot, warm * rng.uniform(1, 4))]
    ambient = np.array([1.0, 0.97, 0.93]) * rng.uniform(0.25, 0.6)
    day = sample_colour(rng, (0.5, 0.62), (0.02, 0.35), (0.85, 1.0)) * rng.uniform(1.5, 4.0)
    trees = sample_colour(rng, (0.18, 0.4), (0.1, 0.5), (0.3, 0.7)) * 1.5
    edge = sample_field(rng, 0.4, 4)

    def sky(rays: Array) -> Array:
        # the garden outside is too far out of focus to have a shape
        level = 0.06 + 0.1 * edge.flat(rays[:, 0] + rays[:, 2], rays[:, 1] * 0.3)
        return mix(trees, day, step(rays[:, 1], level, 0.08))

    return Light(
        sun_direction=sun,
        sun_colour=colour,
        above=ambient,
        below=ambient * np.array([0.75, 0.68, 0.6]),
        shadow_centre=middle,
        shadow_radius=float(np.linalg.norm(high - low) / 2),
        occlusion_centre=at(focus[0], 0.8, focus[2]),
        occlusion_radius=min(float(np.linalg.norm((high - low)[[0, 2]])) / 2 + 0.5, 4.0),
        sky=sky,
        lamps=tuple(lamps),
        corners=(low, high),
    )
