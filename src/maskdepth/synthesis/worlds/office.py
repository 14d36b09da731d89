"""Office furniture: chairs on castors, and desks with what people leave on them."""

from __future__ import annotations

import numpy as np

from maskdepth.synthesis.worlds.clutter import DESK_THINGS, case_colour, keyboard, monitor, scatter
from maskdepth.synthesis.worlds.furniture import sample_cloth, sample_wood
from maskdepth.synthesis.worlds.props import Rng, at, block, ellipsoid, plain, rod, tapered
from maskdepth.synthesis.worlds.shapes import Shape, moved
from maskdepth.synthesis.worlds.vectors import turn_y


def office_chair(rng: Rng) -> list[Shape]:
    """A chair on castors; its back is towards z."""
    cloth, steel = sample_cloth(rng), plain(np.array([0.03] * 3))
    seat = rng.uniform(0.42, 0.52)
    shapes: list[Shape] = [rod(at(0, 0.1, 0), at(0, seat, 0), (0.025, 0.03), steel, gloss=0.5)]
    for angle in np.arange(5) * 2 * np.pi / 5 + rng.uniform(0, 1):
        foot = at(np.cos(angle) * 0.3, 0.06, np.sin(angle) * 0.3)
        shapes.append(rod(at(0, 0.12, 0), foot, (0.025, 0.018), steel))
        shapes.append(ellipsoid(foot - at(0, 0.025, 0), 0.03, steel))
    shapes.append(block(at(0, seat + 0.03, 0), (0.46, 0.06, 0.44), cloth, rough=0.1))
    shapes.append(ellipsoid(at(0, seat + 0.06, 0), (0.24, 0.04, 0.23), cloth, rough=0.1))
    tall = rng.uniform(0.2, 0.36)
    back = at(0, seat + 0.16, 0.23)
    shapes.append(rod(at(0, seat, 0.1), back + at(0, 0.15, 0.02), (0.025, 0.02), steel))
    wide, narrow = (0.22, 0.03), (0.19, 0.025)
    shapes.append(tapered(back, wide, narrow, 2 * tall, cloth, (0.0, 0.06), rough=0.12))
    if rng.random() < 0.6:
        for x in (-0.27, 0.27):
            arm = at(x, seat + 0.22, 0)
            shapes.append(rod(at(x, seat, 0.02), arm, (0.015, 0.015), steel))
            shapes.append(block(arm, (0.06, 0.03, 0.26), steel))
    return shapes


def desk(rng: Rng) -> list[Shape]:
    """A desk or table with what people leave on it; one sits at its -z side."""
    wood = sample_wood(rng)
    long = rng.uniform(0.9, 2.2)
    deep, tall = rng.uniform(0.6, 0.95), rng.uniform(0.68, 0.78)
    thick = rng.uniform(0.018, 0.05)
    shapes: list[Shape] = [
        block(at(0, tall - thick / 2, 0), (long, thick, deep), wood, gloss=rng.uniform(0, 0.6))
    ]
    metal = plain(case_colour(rng))
    if rng.random() < 0.5:
        for x in (-0.47, 0.47):
            for z in (-0.44, 0.44):
                foot = at(x * long, 0, z * deep)
                shapes.append(rod(foot, foot + at(0, tall - thick, 0), (0.022, 0.025), metal))
    else:
        for x in (-0.48, 0.48):
            side = (0.03, tall - thick, deep * 0.9)
            shapes.append(block(at(x * long, (tall - thick) / 2, 0), side, wood))
        if rng.random() < 0.6:
            shapes.append(block(at(0, tall * 0.6, deep * 0.4), (long, tall * 0.5, 0.02), wood))
    if rng.random() < 0.5:
        end = float(rng.choice([-1.0, 1.0])) * (long / 2 - 0.25)
        for row in range(3):
            drawer = at(end, tall * (0.2 + 0.27 * row), 0)
            shapes.append(block(drawer, (0.4, tall * 0.25, deep * 0.85), wood))
    top = at(0, tall, 0)
    for _ in range(int(rng.integers(0, 1 + max(1, int(long / 0.7)) + 1))):
        turn = turn_y(rng.normal(0, 0.35))
        place = top + at(rng.uniform(-0.38, 0.38) * long, 0, deep * rng.uniform(0.1, 0.25))
        shapes += moved(monitor(rng), place, turn)
        if rng.random() < 0.8:
            shapes += moved(keyboard(rng), place - at(0, 0, deep * 0.4), turn)
    count = int(rng.integers(2, 4 + int(5 * long)))
    return shapes + scatter(rng, DESK_THINGS, count, (long * 0.46, deep * 0.42), top)
