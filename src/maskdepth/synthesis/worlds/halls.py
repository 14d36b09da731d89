"""Halls: corridors with doors, and shops with shelves of goods."""

from __future__ import annotations

import numpy as np

from maskdepth.synthesis.worlds import clutter, figures, furniture
from maskdepth.synthesis.worlds.cameras import aim_camera, keep_clear, sample_focal, sample_roll
from maskdepth.synthesis.worlds.interior import (
    Interior,
    build_interior,
    door,
    light_interior,
    poster,
)
from maskdepth.synthesis.worlds.lighting import Lamp
from maskdepth.synthesis.worlds.prints import labels
from maskdepth.synthesis.worlds.props import (
    Rng,
    at,
    block,
    ellipsoid,
    pick,
    plain,
    rod,
    turned_anyhow,
)
from maskdepth.synthesis.worlds.raycast import Camera
from maskdepth.synthesis.worlds.shapes import Quad, Shape, moved
from maskdepth.synthesis.worlds.textures import sample_colour
from maskdepth.synthesis.worlds.vectors import STRAIGHT, turn_y
from maskdepth.synthesis.worlds.world import World


def ceiling_lamps(rng: Rng, inside: Interior, every: float) -> tuple[list[Shape], list[Lamp]]:
    """Rows of tubes or round lamps under the ceiling, each with its light."""
    low, high = inside.low, inside.high
    glass = plain(np.array([0.95, 0.95, 0.92]))
    warm = np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.6, 1.05)])
    tube = rng.random() < 0.6
    rows = max(1, int((high[0] - low[0]) / 3.0))
    shapes: list[Shape] = []
    lamps: list[Lamp] = []
    level = high[1] - 0.05
    for row in range(rows):
        x = low[0] + (row + 0.5) / rows * (high[0] - low[0])
        for number, z in enumerate(np.arange(low[2] + every / 2, high[2], every)):
            if rng.random() < 0.08:
                continue
            if tube:
                size = (0.2, 0.07, 1.2)
                shapes.append(block(at(x, level, z), size, glass, glow=3.0, casts=False))
            else:
                shapes.append(ellipsoid(at(x, level, z), (0.2, 0.08, 0.2), glass, glow=3.0))
            if number % max(1, round(3.0 / every)) == 0 and len(lamps) < 8:
                lamps.append(Lamp(at(x, level - 0.15, z), warm * rng.uniform(1.2, 2.2)))
    return shapes, lamps


def _corridor_things(rng: Rng, inside: Interior) -> list[list[Shape]]:
    """Doors, posters, benches, bins, plants, radiators along both long walls, and people."""
    pieces: list[list[Shape]] = []
    metal = plain(sample_colour(rng, (0.05, 0.15), (0.0, 0.1), (0.5, 0.95)))
    for wall in inside.walls[:2]:
        side, up, inward = wall.axes
        frame = np.stack([side, up, -inward])
        along = -wall.size[0] + rng.uniform(0.5, 2.0)
        while along < wall.size[0] - 0.8:
            kind = rng.random()
            foot = wall.centre - up * wall.size[1] + side * along
            if kind < 0.5:
                pieces.append(door(rng, wall, along))
            elif kind < 0.62:
                seat = furniture.sample_wood(rng)
                low = block(at(0, 0.44, 0), (1.2, 0.04, 0.35), seat)
                legs = [block(at(x, 0.22, 0), (0.05, 0.44, 0.3), metal) for x in (-0.5, 0.5)]
                pieces.append(moved([low, *legs], foot + inward * 0.2, frame))
            elif kind < 0.72:
                body = [block(at(0, 0.5, -0.06), (1.0, 0.55, 0.08), metal)]
                body += [
                    block(at(x, 0.5, -0.06), (0.03, 0.57, 0.1), metal, shade=0.6)
                    for x in np.linspace(-0.45, 0.45, 10)
                ]
                pieces.append(moved(body, foot, frame))
            elif kind < 0.85:
                own = pick(rng, clutter.FLOOR_THINGS)(rng)
                pieces.append(moved(own, foot + inward * 0.3, frame))
            else:
                pieces.append(furniture.plant(rng, foot + inward * 0.3, rng.uniform(0.7, 1.5)))
            along += rng.uniform(1.3, 3.0)
    pieces += [poster(rng, pick(rng, inside.walls[:3])) for _ in range(int(rng.integers(0, 7)))]
    for _ in range(int(rng.choice([0, 0, 1, 1, 2, 3]))):
        spot = rng.uniform(inside.low + 0.4, inside.high - 0.4)
        pieces.append(turned_anyhow(rng, figures.person(rng), at(spot[0], 0, spot[2])))
    return pieces


def corridor(rng: Rng, height: int, width: int) -> World:
    """A long passage with doors, lamps and a far end."""
    wide, tall, long = rng.uniform(1.3, 3.8), rng.uniform(2.3, 3.6), rng.uniform(7.0, 28.0)
    low = np.array([-wide * rng.uniform(0.3, 0.7), 0.0, -1.5])
    inside = build_interior(rng, low, low + at(wide, tall, long), int(rng.choice([-1, -1, 0, 2])))
    lights, lamps = ceiling_lamps(rng, inside, rng.uniform(1.6, 4.0))
    eye = float(np.clip(rng.normal(1.45, 0.3), 0.5, tall - 0.25))
    position = at(0.0, eye, 0.0)
    heading = rng.normal(0.0, 0.28) + (np.pi if rng.random() < 0.1 else 0.0)
    pitch = float(np.clip(rng.normal(0.12, 0.14), -0.12, 0.6))
    size = (height, width)
    camera = aim_camera(size, position, heading, pitch, sample_roll(rng), sample_focal(rng))
    shapes = inside.shapes + lights
    if rng.random() < 0.8:
        shapes += door(rng, inside.walls[2], float(rng.normal(0, 0.1)))
    for beam in np.arange(rng.uniform(2, 5), long - 2, rng.uniform(3, 7)):
        if wide < 2.0 or rng.random() < 0.5:
            break
        for x in (low[0] + 0.12, low[0] + wide - 0.12):  # pilasters
            pillar = at(x, tall / 2, float(beam))
            shapes.append(block(pillar, (0.25, tall, 0.3), inside.walls[0].paint))
    shapes += keep_clear(_corridor_things(rng, inside), position, 0.25)
    return World(shapes, light_interior(rng, inside, lamps, at(0, 0, 3.5)), camera)


def _goods(rng: Rng, long: float, deep: float, room: float) -> list[Shape]:
    """Goods on one board, side by side along x, ``room`` metres high at most."""
    shapes: list[Shape] = []
    x = -long / 2 + 0.02
    while x < long / 2 - 0.1:
        run = min(rng.uniform(0.15, 0.7), long / 2 - x)
        wide, tall = rng.uniform(0.05, 0.2), room * rng.uniform(0.4, 0.92)
        wide = run / max(1, round(run / wide))
        back = rng.uniform(0.0, 0.4) * deep
        kind = rng.random()
        print_ = labels(rng, wide, tall)
        middle = at(x + run / 2, tall / 2, back / 2)
        if kind < 0.08:
            pass  # sold out
        elif kind < 0.62:
            shapes.append(block(middle, (run * 0.97, tall, deep - back), print_))
        else:
            radius = min(wide * 0.48, 0.06)
            for n in range(max(1, int(run / (2.1 * radius)))):
                foot = at(x + (n + 0.5) * 2.1 * radius, 0, back - deep / 2 + radius)
                own = labels(rng, radius * 2.5, tall) if n == 0 else shapes[-2].paint
                top = foot + at(0, tall * 0.75, 0)
                shapes.append(rod(foot, top, (radius, radius), own, gloss=0.5))
                cap = (radius * 0.95, radius * 0.4)
                shapes.append(rod(top, top + at(0, tall * 0.2, 0), cap, own, gloss=0.5))
        x += run
    return shapes


def shelving(rng: Rng, long: float) -> list[Shape]:
    """A shop's shelf full of goods, its front towards -z, at the origin."""
    metal = plain(sample_colour(rng, (0.0, 1.0), (0.0, 0.3), (0.3, 0.95)))
    strip = labels(rng, rng.uniform(0.2, 0.5), 0.04)
    tall, deep = rng.uniform(1.3, 2.2), rng.uniform(0.35, 0.5)
    boards = int(rng.integers(3, 6))
    shapes: list[Shape] = [block(at(0, tall / 2, deep / 2), (long, tall, 0.03), metal)]
    shapes += [
        block(at(x, tall / 2, 0.02), (0.03, tall, deep), metal)
        for x in np.linspace(-long / 2, long / 2, max(2, round(long / 1.2) + 1))
    ]
    gap = (tall - 0.15) / boards
    for number in range(boards):
        level = 0.12 + number * gap
        shapes.append(block(at(0, level, 0), (long, 0.03, deep), metal))
        front = at(0, level, -deep / 2 - 0.005)
        shapes.append(block(front, (long, 0.045, 0.012), strip, casts=False))
        goods = _goods(rng, long, deep * 0.9, gap - 0.05)
        shapes += moved(goods, at(0, level + 0.015, 0), STRAIGHT)
    return shapes


def crates(rng: Rng) -> list[Shape]:
    """A stand of open crates with fruit or parcels."""
    wood = furniture.sample_wood(rng)
    shapes: list[Shape] = []
    for row in range(int(rng.integers(1, 4))):
        base = at(0, 0.45 + 0.22 * row, 0.35 * row)
        for x in (-0.35, 0.35):
            shapes.append(block(base + at(x, 0, 0), (0.62, 0.14, 0.38), wood))
            colour = plain(sample_colour(rng, (0.0, 0.36), (0.5, 0.95), (0.4, 0.95)))
            size = rng.uniform(0.035, 0.07)
            for place in rng.uniform([-0.27, -0.15], [0.27, 0.15], (10, 2)):
                ball = base + at(x + place[0], 0.07 + size * 0.6, place[1])
                shapes.append(ellipsoid(ball, size, colour, gloss=0.4))
        leg = (1.3, float(base[1]), 0.3)
        shapes.append(block(base - at(0, base[1] / 2 + 0.05, 0), leg, wood))
    return shapes


def _shop_camera(rng: Rng, size: tuple[int, int], aisle: float, tall: float) -> Camera:
    """In an aisle: along it, or turned to its shelves; or a camera high on the wall."""
    kind = rng.random()
    if kind < 0.2:
        eye, pitch, turn = tall - 0.3, rng.uniform(0.3, 0.6), rng.normal(0, 0.3)
    else:
        eye, pitch = float(np.clip(rng.normal(1.4, 0.25), 0.7, 2.0)), rng.uniform(-0.05, 0.45)
        turn = rng.normal(0, 0.25) if kind < 0.65 else rng.choice([-1, 1]) * rng.uniform(0.6, 1.4)
    position = at(rng.uniform(-0.25, 0.25) * aisle, eye, 0.0)
    return aim_camera(size, position, turn, pitch, sample_roll(rng), sample_focal(rng))


def shop(rng: Rng, height: int, width: int) -> World:
    """Aisles between shelves of goods, stands of crates, customers."""
    aisle, rows = rng.uniform(1.3, 2.6), int(rng.integers(1, 3))
    long, tall = rng.uniform(6.0, 14.0), rng.uniform(2.6, 4.2)
    wide = rows * (aisle + 1.0)
    low = at(-wide - 0.5, 0.0, -2.0)
    high = at(wide + 0.5, tall, long)
    inside = build_interior(rng, low, high, int(rng.choice([-1, -1, 2])))
    lights, lamps = ceiling_lamps(rng, inside, rng.uniform(1.5, 3.0))
    camera = _shop_camera(rng, (height, width), aisle, tall)
    pieces: list[list[Shape]] = []
    for row in range(rows):
        for sign in (-1.0, 1.0):
            x = sign * (aisle / 2 + 0.25 + row * (aisle + 1.0))
            for side in (1.0,) if row else (1.0, -1.0):
                turn = turn_y(sign * side * np.pi / 2)
                away = at(x + sign * (0.5 if side < 0 else 0.0), 0, 0)
                z = -1.2
                while z < long - 1.5:
                    unit_ = float(rng.choice([1.2, 2.4]))
                    if rng.random() < 0.93 and (side > 0 or rng.random() < 0.3):
                        shelf = shelving(rng, unit_)
                        place = away + at(0, 0, z + unit_ / 2)
                        pieces.append(moved(shelf, place, turn))
                    z += unit_ + (0.0 if rng.random() < 0.85 else 1.2)
    wall: Quad = inside.walls[2]
    pieces.append(moved(shelving(rng, 2.4), wall.centre * at(0, 0, 1) + at(0, 0, -0.3), STRAIGHT))
    for _ in range(int(rng.integers(0, 3))):
        stand = at(rng.normal(0, aisle * 0.2), 0, rng.uniform(2.5, long - 1))
        maker = crates if rng.random() < 0.5 else clutter.FLOOR_THINGS[0]
        pieces.append(moved(maker(rng), stand, turn_y(rng.normal(0, 0.6))))
    for _ in range(int(rng.integers(0, 4))):
        spot = at(rng.uniform(-0.4, 0.4) * aisle, 0, rng.uniform(1.5, long - 1))
        pieces.append(turned_anyhow(rng, figures.person(rng), spot))
    shapes = inside.shapes + lights + keep_clear(pieces, camera.position, 0.2)
    return World(shapes, light_interior(rng, inside, lamps, at(0, 0, 3.0)), camera)
