"""Indoor scenes: a furnished room with daylight from a window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds import furniture, props
from maskdepth.synthesis.worlds.lighting import Lamp, Light
from maskdepth.synthesis.worlds.outdoor import GROUND_AXES, sample_camera
from maskdepth.synthesis.worlds.props import Rng, at, plain
from maskdepth.synthesis.worlds.raycast import Box, Cut, Quad, Shape
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    courses,
    mix,
    mottled,
    patchy,
    sample_colour,
    sample_field,
    step,
    striped,
)
from maskdepth.synthesis.worlds.world import World


def _sample_floor(rng: Rng) -> tuple[Paint, float]:
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
        return (
            courses(rng, stone, joint, size, size, gap=0.008, offset=0.0, spread=0.07),
            rng.uniform(0.2, 0.9),
        )
    first = sample_colour(rng, (0.0, 1.0), (0.0, 0.6), (0.2, 0.8))
    if kind < 0.9:
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

    def paint(surface: object) -> Array:
        height: Array = surface.world[:, 1]  # type: ignore[attr-defined]
        return mix(below(surface), above(surface), step(height, level, 0.01))  # type: ignore[arg-type]

    return paint


def _hole(windows: list[tuple[float, float, float, float]]) -> Cut:
    """A wall without its windows: each (x, y, half width, half height) in the wall's frame."""

    def cut(points: Array) -> NDArray[np.bool_]:
        keep = np.ones(len(points), np.bool_)
        for x, y, w, h in windows:
            keep &= (np.abs(points[:, 0] - x) > w) | (np.abs(points[:, 1] - y) > h)
        return keep

    return cut


def _window(
    rng: Rng, wall: Quad, along: float, level: float, half: tuple[float, float]
) -> list[Shape]:
    """Frame, bars, sill and perhaps curtains of a window in a wall."""
    side, up, inward = wall.axes
    centre = wall.centre + side * along + up * level
    white = plain(sample_colour(rng, (0.05, 0.2), (0.0, 0.25), (0.6, 0.98)))
    w, h = half
    shapes: list[Shape] = []

    def bar(x: float, y: float, width: float, height: float, deep: float = 0.08) -> None:
        place = centre + side * x + up * y
        full = (width, height, deep)
        size = (full[0] / 2, full[1] / 2, full[2] / 2)
        shapes.append(Box(centre=place, axes=wall.axes, size=size, paint=white))

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
                shapes.append(
                    props.rod(foot, foot + up * (2 * h + 0.5), (0.06, 0.05), paint, leafy=0.3)
                )
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
        Quad(
            centre=centre,
            axes=np.stack([side, up, inward]),
            size=(half, hy),
            paint=own,
            room=True,
        )
        for centre, side, inward, half, own in places
    ]


def room(rng: Rng, height: int, width: int) -> World:
    """Floor, walls, ceiling, windows, and furniture along the walls and in the middle."""
    size = np.array([rng.uniform(3.4, 6.5), rng.uniform(2.35, 3.1), rng.uniform(4.0, 7.5)])
    low = np.array([-size[0] * rng.uniform(0.3, 0.7), 0.0, -rng.uniform(0.3, 0.8)])
    high = low + size
    eye = rng.uniform(0.9, 1.75)
    yaw = rng.uniform(-0.3, 0.3)
    camera = sample_camera(rng, height, width, eye, rng.uniform(0.08, 0.42), yaw)
    middle = (low + high) / 2
    floor, gloss = _sample_floor(rng)
    shapes: list[Shape] = [
        Quad(
            centre=at(middle[0], 0.0, middle[2]),
            axes=GROUND_AXES,
            size=(size[0] / 2, size[2] / 2),
            paint=floor,
            gloss=gloss,
            room=True,
        ),
        Quad(
            centre=at(middle[0], high[1], middle[2]),
            axes=GROUND_AXES,
            size=(size[0] / 2, size[2] / 2),
            paint=mottled(rng, sample_colour(rng, (0.05, 0.2), (0, 0.1), (0.75, 0.98)), 2.0, 0.03),
            room=True,
        ),
    ]
    walls = _walls(rng, low, high)
    lit = int(rng.integers(3))
    lamps: list[Lamp] = []
    skirting = plain(sample_colour(rng, (0.05, 0.15), (0.0, 0.5), (0.3, 0.97)))
    for number, wall in enumerate(walls):
        foot = wall.centre - wall.axes[1] * (size[1] / 2 - 0.05)
        half = (wall.size[0], 0.05, 0.015)
        shapes.append(Box(centre=foot, axes=wall.axes, size=half, paint=skirting, room=True))
        if number != lit:
            shapes.append(wall)
            if rng.random() < 0.75 and number < 3:
                shapes += furniture.wall_picture(rng, wall)
            continue
        holes, frames, glow = _open_windows(rng, wall)
        shapes.append(
            Quad(
                centre=wall.centre,
                axes=wall.axes,
                size=wall.size,
                paint=wall.paint,
                cut=_hole(holes),
                room=True,
            )
        )
        shapes += frames
        lamps += glow
    shapes += furniture.furnish(rng, low, high, lit)
    return World(shapes, _room_light(rng, low, high, walls[lit], lamps), camera)


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


def _room_light(rng: Rng, low: Array, high: Array, wall: Quad, lamps: list[Lamp]) -> Light:
    """Daylight through the windows of one wall, and sometimes a ceiling light."""
    middle = (low + high) / 2
    outward = -wall.axes[2]
    sun = outward + wall.axes[0] * rng.uniform(-0.8, 0.8) + at(0, rng.uniform(0.4, 1.1), 0)
    sun /= np.linalg.norm(sun)
    bright = rng.uniform(2.0, 9.0) if rng.random() < 0.6 else 0.0
    colour = np.array([1.0, rng.uniform(0.78, 0.95), rng.uniform(0.55, 0.85)]) * bright
    if rng.random() < 0.5:
        warm = np.array([1.0, rng.uniform(0.7, 0.95), rng.uniform(0.4, 0.9)])
        lamps = [*lamps, Lamp(at(middle[0], high[1] - 0.3, middle[2]), warm * rng.uniform(1, 4))]
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
        occlusion_centre=at(middle[0], 0.8, middle[2]),
        occlusion_radius=float(np.linalg.norm((high - low)[[0, 2]]) / 2 + 0.5),
        sky=sky,
        lamps=tuple(lamps),
        corners=(low, high),
    )
