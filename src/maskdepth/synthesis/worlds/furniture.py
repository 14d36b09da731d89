"""Furniture: tables, chairs, sofas, shelves, beds, plants, rugs, pictures."""

from __future__ import annotations

import numpy as np

from maskdepth.synthesis.worlds.prints import grained, ornament
from maskdepth.synthesis.worlds.props import (
    ORIGIN,
    Rng,
    at,
    block,
    ellipsoid,
    foliage,
    plain,
    rod,
    sample_leaves,
    tube,
)
from maskdepth.synthesis.worlds.shapes import Box, Quad, Shape, Triple
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    courses,
    mottled,
    picture,
    sample_colour,
    striped,
)
from maskdepth.synthesis.worlds.vectors import STRAIGHT, turn_y


def sample_wood(rng: Rng) -> Paint:
    """Oiled, painted or dark wood."""
    kind = rng.random()
    if kind < 0.3:
        vivid = rng.choice([0.08, 0.5])
        return mottled(rng, sample_colour(rng, (0.0, 1.0), (0.0, vivid), (0.1, 0.95)), 0.4, 0.06)
    if kind < 0.6:
        return grained(rng, sample_colour(rng, (0.02, 0.11), (0.3, 0.8), (0.15, 0.8)))
    wood = sample_colour(rng, (0.03, 0.11), (0.25, 0.7), (0.2, 0.8))
    return courses(rng, wood, wood * 0.5, 1.8, 0.12, gap=0.002, spread=0.08)


def sample_cloth(rng: Rng) -> Paint:
    """Plain or patterned cloth."""
    vivid = rng.choice([0.25, 0.85])  # most cloth is muted
    first = sample_colour(rng, (0.0, 1.0), (0.0, vivid), (0.06, 0.9))
    if rng.random() < 0.65:
        return mottled(rng, first, 0.05, 0.15)
    second = sample_colour(rng, (0.0, 1.0), (0.0, vivid), (0.06, 0.95))
    return striped(rng, first, second, rng.uniform(0.05, 0.2))


def table(rng: Rng, base: Array = ORIGIN, turn: Array = STRAIGHT, low: bool = False) -> list[Shape]:
    """A table with four legs, and something on it."""
    wood = sample_wood(rng)
    wide, deep = rng.uniform(0.7, 1.6), rng.uniform(0.5, 0.9)
    tall = rng.uniform(0.35, 0.5) if low else rng.uniform(0.68, 0.8)
    leg = rng.uniform(0.02, 0.045)
    shapes: list[Shape] = [
        block(base + at(0, tall, 0), (wide, 0.04, deep), wood, turn, gloss=0.3),
        block(base + at(0, tall - 0.06, 0), (wide * 0.88, 0.08, deep * 0.85), wood, turn),
    ]
    for x in (-0.45, 0.45):
        for z in (-0.42, 0.42):
            foot = base + turn[0] * (x * wide) + turn[2] * (z * deep)
            shapes.append(rod(foot, foot + at(0, tall, 0), (leg * 0.7, leg), wood))
    for _ in range(int(rng.integers(0, 4))):
        spot = base + at(0, tall + 0.02, 0)
        spot = spot + turn[0] * (rng.uniform(-0.4, 0.4) * wide) + turn[2] * rng.normal(0, 0.1)
        shapes += small_thing(rng, spot)
    return shapes


def small_thing(rng: Rng, base: Array = ORIGIN) -> list[Shape]:
    """A vase, a cup, a bowl, a stack of books, or a lamp."""
    paint = plain(sample_colour(rng, (0.0, 1.0), (0.0, 0.85), (0.15, 0.97)))
    kind = int(rng.integers(5))
    size = rng.uniform(0.05, 0.1)
    if kind == 0:
        neck = base + at(0, size * 3, 0)
        return [
            rod(base, base + at(0, size * 1.5, 0), (size * 0.6, size), paint, gloss=0.8),
            rod(base + at(0, size * 1.5, 0), neck, (size, size * 0.4), paint, gloss=0.8),
        ]
    if kind == 1:
        top = base + at(0, size * 1.4, 0)
        return [rod(base, top, (size * 0.55, size * 0.65), paint, gloss=0.7)]
    if kind == 2:
        bowl = rod(base, base + at(0, size, 0), (size * 0.6, size * 1.8), paint, gloss=0.6)
        fruit = plain(sample_colour(rng, (0.0, 0.3), (0.6, 0.95), (0.5, 0.95)))
        tops = [
            base + at(np.cos(a) * size * 0.8, size * 1.2, np.sin(a) * size * 0.8)
            for a in (0.3, 2.4, 4.5)
        ]
        return [bowl, *(ellipsoid(top, size * 0.6, fruit, gloss=0.4) for top in tops)]
    if kind == 3:
        books: list[Shape] = []
        level = 0.0
        for _ in range(int(rng.integers(2, 6))):
            thick = rng.uniform(0.015, 0.045)
            cover = plain(sample_colour(rng, (0.0, 1.0), (0.1, 0.9), (0.15, 0.9)))
            shape = (rng.uniform(0.14, 0.24), thick, rng.uniform(0.12, 0.18))
            turned = turn_y(rng.normal(0, 0.2))
            books.append(block(base + at(0, level + thick / 2, 0), shape, cover, turned))
            level += thick
        return books
    return lamp(rng, base, 0.4)


def lamp(rng: Rng, base: Array, height: float) -> list[Shape]:
    """A lamp with a cloth shade."""
    metal = plain(sample_colour(rng, (0.05, 0.15), (0.0, 0.6), (0.15, 0.85)))
    shade = mottled(rng, sample_colour(rng, (0.0, 1.0), (0.05, 0.6), (0.6, 0.95)), 0.1, 0.05)
    radius = 0.11 + height * 0.08
    top = base + at(0, height * 0.72, 0)
    glow = float(rng.choice([0.0, 1.5]))
    return [
        rod(base, base + at(0, 0.02, 0), (radius * 0.8, radius * 0.75), metal, gloss=0.6),
        rod(base, top, (0.012, 0.012), metal, gloss=0.6),
        tube(top, height * 0.28, (radius * 1.3, radius * 0.8), shade, leafy=0.6, glow=glow),
    ]


def chair(rng: Rng, base: Array = ORIGIN, turn: Array = STRAIGHT) -> list[Shape]:
    """A kitchen chair; its back is on the side of turn[2]."""
    wood = sample_wood(rng)
    seat = sample_cloth(rng) if rng.random() < 0.4 else wood
    wide, tall = rng.uniform(0.4, 0.48), rng.uniform(0.42, 0.48)
    back = rng.uniform(0.4, 0.55)
    shapes: list[Shape] = [block(base + at(0, tall, 0), (wide, 0.045, wide), seat, turn)]
    for x in (-0.44, 0.44):
        for z in (-0.44, 0.44):
            foot = base + turn[0] * (x * wide * 1.08) + turn[2] * (z * wide * 1.08)
            knee = base + turn[0] * (x * wide) + turn[2] * (z * wide) + at(0, tall, 0)
            shapes.append(rod(foot, knee, (0.014, 0.02), wood))
            if z > 0:
                top = knee + at(0, back, 0) + turn[2] * 0.06
                shapes.append(rod(knee, top, (0.02, 0.015), wood))
    middle = base + turn[2] * (0.44 * wide + 0.045) + at(0, tall + back, 0)
    if rng.random() < 0.5:
        for level in (0.02, 0.17, 0.3):
            place = middle - at(0, level, 0) - turn[2] * level * 0.1
            shapes.append(block(place, (wide * 0.9, 0.07, 0.02), wood, turn))
    else:
        shapes.append(block(middle - at(0, 0.02, 0), (wide * 0.9, 0.06, 0.025), wood, turn))
        for x in np.linspace(-0.35, 0.35, 5):
            top = middle + turn[0] * (x * wide)
            shapes.append(rod(top - at(0, back, 0) - turn[2] * 0.05, top, (0.009, 0.009), wood))
    return shapes


def sofa(rng: Rng, base: Array = ORIGIN, turn: Array = STRAIGHT) -> list[Shape]:
    """A sofa or armchair with cushions; its back is on the side of turn[2]."""
    cloth = sample_cloth(rng)
    wide = rng.choice([0.85, 1.5, 1.9])
    deep = rng.uniform(0.75, 0.9)
    seats = max(1, round(wide / 0.65))
    arm = 0.16

    def part(x: float, y: float, z: float, size: Triple) -> Shape:
        place = base + turn[0] * x + at(0, y, 0) + turn[2] * z
        return block(place, size, cloth, turn, rough=0.12, grain=0.3)

    def soft(x: float, y: float, z: float, radii: Triple, own: Paint) -> Shape:
        place = base + turn[0] * x + at(0, y, 0) + turn[2] * z
        return ellipsoid(place, radii, own, axes=turn, rough=0.15, grain=0.2)

    shapes = [part(0, 0.22, 0, (wide, 0.24, deep)), part(0, 0.5, deep / 2 - 0.1, (wide, 0.62, 0.2))]
    for sign in (-1.0, 1.0):
        x = sign * (wide / 2 + arm / 2)
        shapes.append(part(x, 0.33, 0, (arm, 0.5, deep)))
        front = base + turn[0] * x + at(0, 0.58, 0) - turn[2] * (deep / 2)
        shapes.append(rod(front, front + turn[2] * deep, (arm * 0.55, arm * 0.55), cloth))
    for number in range(seats):
        x = ((number + 0.5) / seats - 0.5) * wide
        half = wide / seats / 2
        shapes.append(part(x, 0.39, -0.08, (half * 1.94, 0.13, deep - 0.2)))
        shapes.append(soft(x, 0.66, deep / 2 - 0.24, (half * 0.95, 0.24, 0.11), cloth))
    if rng.random() < 0.7:
        other = sample_cloth(rng)
        x = rng.uniform(-0.3, 0.3) * wide
        shapes.append(soft(x, 0.6, deep / 2 - 0.36, (0.2, 0.19, 0.09), other))
    return shapes


def shelf(rng: Rng) -> list[Shape]:
    """A bookcase with books and things."""
    wood = sample_wood(rng)
    wide, tall, deep = rng.uniform(0.6, 1.2), rng.uniform(1.0, 2.1), 0.3
    rows = int(tall / 0.36)
    shapes: list[Shape] = [
        block(at(0, tall / 2, deep / 2), (wide, tall, 0.02), wood),
        *(block(at(x, tall / 2, 0), (0.025, tall, deep), wood) for x in (-wide / 2, wide / 2)),
    ]
    for row in range(rows + 1):
        level = 0.05 + row * (tall - 0.07) / rows
        shapes.append(block(at(0, level, 0), (wide, 0.025, deep), wood))
        if row == rows:
            break
        x = -wide / 2 + 0.03
        while x < wide / 2 - 0.05:
            thick = rng.uniform(0.02, 0.05)
            if rng.random() < 0.12:
                x += rng.uniform(0.05, 0.2)
                continue
            high = rng.uniform(0.17, 0.28)
            cover = plain(sample_colour(rng, (0.0, 1.0), (0.0, 0.9), (0.1, 0.95)))
            place = at(x + thick / 2, level + high / 2 + 0.01, 0)
            shapes.append(block(place, (thick * 0.94, high, 0.2), cover, casts=False))
            x += thick
    return shapes


def cupboard(rng: Rng) -> list[Shape]:
    """A cupboard, chest of drawers or wardrobe; its front is towards -z."""
    wood, front = sample_wood(rng), sample_wood(rng)
    knob = plain(sample_colour(rng, (0.05, 0.15), (0.0, 0.6), (0.1, 0.9)))
    wide, deep = rng.uniform(0.7, 1.3), rng.uniform(0.4, 0.55)
    tall = rng.choice([0.8, 1.1, 1.9])
    shapes: list[Shape] = [block(at(0, tall / 2, 0), (wide, tall, deep), wood)]
    columns, rows = int(rng.integers(1, 3)), int(rng.integers(1, 5)) if tall < 1.5 else 1
    columns = max(columns, 2) if rows == 1 else columns
    for column in range(columns):
        for row in range(rows):
            x = ((column + 0.5) / columns - 0.5) * wide
            y = 0.06 + (row + 0.5) / rows * (tall - 0.1)
            size = (wide / columns * 0.93, (tall - 0.1) / rows * 0.92, 0.03)
            shapes.append(block(at(x, y, -deep / 2), size, front, gloss=0.2))
            shapes.append(ellipsoid(at(x, y, -deep / 2 - 0.03), 0.018, knob, gloss=0.8))
    if tall < 1.5:
        shapes += small_thing(rng, at(rng.uniform(-0.3, 0.3) * wide, tall, 0))
    return shapes


def bed(rng: Rng) -> list[Shape]:
    """A bed with pillows; its head is towards z."""
    wood, sheet, cover = sample_wood(rng), sample_cloth(rng), sample_cloth(rng)
    wide, long = rng.choice([0.9, 1.4]), 2.0
    shapes: list[Shape] = [
        block(at(0, 0.2, 0), (wide, 0.2, long), wood),
        block(at(0, 0.5, long / 2), (wide, 1.0, 0.05), wood),
        block(at(0, 0.38, 0), (wide * 0.98, 0.18, long * 0.98), sheet, rough=0.1),
        block(at(0, 0.42, -0.25), (wide * 1.03, 0.16, long * 0.74), cover, rough=0.25, grain=0.4),
    ]
    places = [at(x * wide, 0.52, long / 2 - 0.3) for x in ((-0.25, 0.25) if wide > 1 else (0.0,))]
    return shapes + [ellipsoid(place, (0.3, 0.1, 0.2), sheet) for place in places]


def plant(rng: Rng, base: Array, height: float) -> list[Shape]:
    """A pot with a leafy plant."""
    clay = mottled(rng, sample_colour(rng, (0.0, 1.0), (0.0, 0.7), (0.25, 0.95)), 0.1, 0.08)
    radius = height * rng.uniform(0.13, 0.2)
    rim = base + at(0, height * 0.28, 0)
    soil = plain(np.array([0.03, 0.02, 0.015]))
    colour = sample_colour(rng, (0.22, 0.38), (0.35, 0.8), (0.25, 0.65))
    shapes: list[Shape] = [
        rod(base, rim, (radius * 0.7, radius), clay, gloss=0.3),
        rod(rim, rim + at(0, 0.004, 0), (radius * 0.9, radius * 0.9), soil),
    ]
    stem = plain(colour * 0.6)
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(12, 24))):
            way = at(rng.normal() * 0.5, rng.uniform(0.3, 1.0), rng.normal() * 0.5)
            tip = rim + way / np.linalg.norm(way) * height * rng.uniform(0.35, 0.7)
            own = mottled(rng, np.clip(colour * np.exp(rng.normal(0, 0.2)), 0, 1), 0.05, 0.15)
            axes = frame_for_leaf(rng, tip - rim)
            size = height * rng.uniform(0.1, 0.17)
            radii = (size * 0.45, size, size * 0.06)
            shapes.append(rod(rim, tip, (0.008, 0.004), stem))
            shapes.append(ellipsoid(tip, radii, own, axes=axes, rough=0.1, leafy=0.5, gloss=0.3))
        return shapes
    wide = height * rng.uniform(0.12, 0.2)
    middle = rim + at(0, height * 0.42, 0)
    leaves = sample_leaves(rng, colour, 0.03)
    shapes.append(rod(rim, middle, (0.015, 0.01), mottled(rng, np.array([0.1, 0.06, 0.04]), 0.1)))
    for _ in range(int(rng.integers(8, 15))):
        way = rng.normal(size=3)
        place = middle + way / np.linalg.norm(way) * at(wide, height * 0.2, wide)
        size = wide * rng.uniform(0.45, 0.75)
        shapes += foliage(rng, place, (size, size * 0.9, size), leaves)
    return shapes


def frame_for_leaf(rng: Rng, along: Array) -> Array:
    """Axes of a leaf: y along it, z its thin side."""
    y = along / np.linalg.norm(along) + rng.normal(0, 0.35, 3)
    y /= np.linalg.norm(y)
    x = np.cross(y, rng.normal(size=3))
    x /= np.linalg.norm(x)
    return np.stack([x, y, np.cross(x, y)])


def rug(rng: Rng) -> list[Shape]:
    """A rug, round or square, a centimetre thick."""
    cloth = sample_cloth(rng)
    wide = rng.uniform(1.2, 2.4)
    if rng.random() < 0.5:
        cloth = ornament(rng, wide / 2, wide * 0.3)
    if rng.random() < 0.3:
        return [rod(ORIGIN, at(0, 0.01, 0), (wide / 2, wide / 2), cloth)]
    return [block(at(0, 0.005, 0), (wide, 0.01, wide * rng.uniform(0.5, 0.8)), cloth)]


def wall_picture(rng: Rng, wall: Quad) -> list[Shape]:
    """A picture in a frame on a wall."""
    half = (rng.uniform(0.2, 0.5), rng.uniform(0.15, 0.4))
    frame = plain(sample_colour(rng, (0.03, 0.15), (0.0, 0.6), (0.05, 0.95)))
    place = wall.centre + wall.axes[0] * rng.uniform(-0.6, 0.6) * wall.size[0]
    place = place + wall.axes[1] * rng.uniform(0.1, 0.4)
    out = wall.axes[2]
    size = (half[0] + 0.02, half[1] + 0.02, 0.012)
    return [
        Box(centre=place + out * 0.012, axes=wall.axes, size=size, paint=frame),
        Quad(centre=place + out * 0.026, axes=wall.axes, size=half, paint=picture(rng, *half)),
    ]
