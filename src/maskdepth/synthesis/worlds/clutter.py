"""What lies and stands on desks and floors: screens, keyboards, papers, cans, boxes, bags, toys.

Every maker builds its thing at the origin, on the ground, its front towards -z.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds import objects
from maskdepth.synthesis.worlds.figures import limb
from maskdepth.synthesis.worlds.furniture import sample_cloth, small_thing
from maskdepth.synthesis.worlds.prints import labels, lettering, screen, sheet
from maskdepth.synthesis.worlds.props import (
    ORIGIN,
    Rng,
    at,
    block,
    ellipsoid,
    foliage,
    pick,
    plain,
    rod,
    sample_leaves,
    tapered,
    tube,
)
from maskdepth.synthesis.worlds.shapes import Box, Pair, Quad, Shape, moved
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    Surface,
    lines,
    mix,
    mottled,
    plane_of,
    sample_colour,
)
from maskdepth.synthesis.worlds.vectors import STRAIGHT, frame_along, turn_y

Maker = Callable[[Rng], list[Shape]]
_FLAT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # a page lying face up


def case_colour(rng: Rng) -> Array:
    """Colours of office machines: black, white, grey, beige."""
    return sample_colour(
        rng, (0.08, 0.14), (0.0, 0.15), (rng.choice([0.06, 0.65])) + np.array([0.0, 0.3])
    )


def _leaning(lean: float) -> tuple[Array, Array, Array]:
    """Up and outwards (3,) on a screen that leans back by an angle, and its axes."""
    up, out = at(0, np.cos(lean), np.sin(lean)), at(0, np.sin(lean), -np.cos(lean))
    return up, out, np.stack([at(1, 0, 0), up, np.cross(at(1, 0, 0), up)])


def monitor(rng: Rng) -> list[Shape]:
    """A flat or deep screen on a foot."""
    half = (rng.uniform(0.18, 0.33), rng.uniform(0.14, 0.19))
    case = plain(case_colour(rng))
    centre = at(0, rng.uniform(0.12, 0.2) + half[1], 0)
    _, out, axes = _leaning(rng.uniform(-0.1, 0.25))
    size = (half[0] + 0.02, half[1] + 0.02, 0.022)
    shapes: list[Shape] = [
        Box(centre=centre, axes=axes, size=size, paint=case, gloss=0.3),
        Quad(
            centre=centre + out * 0.024,
            axes=axes,
            size=half,
            paint=screen(rng, *half),
            gloss=0.7,
            glow=float(rng.choice([0.0, 0.6])),
        ),
        rod(at(0, 0.01, 0.05), centre - out * 0.03, (0.025, 0.025), case),
        rod(at(0, 0, 0.05), at(0, 0.02, 0.05), (0.12, 0.1), case, gloss=0.4),
    ]
    if rng.random() < 0.25:  # a tube behind it
        back = np.stack([at(1, 0, 0), -out, np.cross(at(1, 0, 0), -out)])
        shapes.append(tapered(centre, half, (half[0] * 0.5, half[1] * 0.6), 0.33, case, axes=back))
    return shapes


def laptop(rng: Rng) -> list[Shape]:
    """An open laptop."""
    case, keys = plain(case_colour(rng)), plain(np.array([0.02] * 3))
    half, deep = rng.uniform(0.15, 0.19), rng.uniform(0.1, 0.13)
    up, out, axes = _leaning(rng.uniform(0.05, 0.6))
    centre = at(0, 0.015, deep) + up * deep
    front = Quad(
        centre=centre + out * 0.006,
        axes=axes,
        size=(half * 0.94, deep * 0.9),
        paint=screen(rng, half * 0.94, deep * 0.9),
        glow=float(rng.choice([0.0, 0.5])),
    )
    return [
        block(at(0, 0.009, 0), (2 * half, 0.018, 2 * deep), case, gloss=0.3),
        block(at(0, 0.019, deep * 0.25), (1.8 * half, 0.003, deep), keys),
        Box(centre=centre, axes=axes, size=(half, deep, 0.005), paint=case),
        front,
    ]


def _keys(cap: Array, gap: Array) -> Paint:
    """A row of keys 19 mm wide."""

    def paint(surface: Surface) -> Array:
        u, _ = plane_of(surface)
        return mix(cap, gap * 0.3, lines(u, 0.019, 0.004, surface.footprint))

    return paint


def keyboard(rng: Rng) -> list[Shape]:
    """A keyboard with rows of keys, and a mouse at its side."""
    case = plain(case_colour(rng))
    long = rng.uniform(0.36, 0.46)
    shapes: list[Shape] = [block(at(0, 0.01, 0), (long, 0.02, 0.15), case)]
    keys = _keys(case_colour(rng), case_colour(rng))
    size = (long * 0.94, 0.01, 0.018)
    shapes += [block(at(0, 0.024, z), size, keys) for z in np.linspace(-0.055, 0.055, 5)]
    mouse = at(long / 2 + rng.uniform(0.06, 0.15), 0.015, rng.uniform(-0.06, 0.06))
    shapes.append(ellipsoid(mouse, (0.03, 0.02, 0.05), case, gloss=0.5))
    return shapes


def papers(rng: Rng) -> list[Shape]:
    """Some sheets, magazines or an open book, lying."""
    shapes: list[Shape] = []
    level = 0.0
    for _ in range(int(rng.integers(1, 4))):
        half = (0.105, 0.148) if rng.random() < 0.7 else tuple(rng.uniform(0.06, 0.16, 2))
        thick = float(rng.choice([0.001, 0.006, 0.02]))
        axes = _FLAT @ turn_y(rng.normal(0, 0.5) + np.pi * rng.integers(2))
        place = at(rng.normal(0, 0.06), level + thick, rng.normal(0, 0.06))
        page = sheet(rng, *half)
        if rng.random() < 0.4:
            page = lettering(rng, np.array([0.8, 0.79, 0.76]), np.array([0.03] * 3), 0.008)
        side = plain(np.array([0.7, 0.68, 0.62]))
        size = (half[0], half[1], thick / 2)
        shapes.append(Box(centre=place - at(0, thick / 2, 0), axes=axes, size=size, paint=side))
        shapes.append(Quad(centre=place + at(0, 2e-4, 0), axes=axes, size=half, paint=page))
        level += thick + 4e-4
    return shapes


def books(rng: Rng) -> list[Shape]:
    """Books or folders standing in a row."""
    shapes: list[Shape] = []
    x, deep = 0.0, rng.uniform(0.14, 0.26)
    for _ in range(int(rng.integers(3, 10))):
        thick, high = rng.uniform(0.015, 0.07), rng.uniform(0.18, 0.31)
        cover = labels(rng, thick, high) if rng.random() < 0.6 else plain(sample_colour(rng))
        place = at(x + thick / 2 - 0.15, high / 2, 0)
        shapes.append(block(place, (thick * 0.96, high, deep), cover))
        x += thick
    return shapes


def can(rng: Rng) -> list[Shape]:
    """A can, tin or cup of paper with a printed side."""
    radius, tall = rng.uniform(0.025, 0.05), rng.uniform(0.08, 0.16)
    print_ = labels(rng, radius * 2.2, tall)
    metal = plain(np.array([0.45, 0.45, 0.47]))
    top = at(0, tall, 0)
    return [
        rod(at(0, 0, 0), top, (radius * rng.uniform(0.75, 1.0), radius), print_, gloss=0.5),
        rod(top, top + at(0, 0.003, 0), (radius * 0.92, radius * 0.9), metal, gloss=0.8),
    ]


def roll(rng: Rng) -> list[Shape]:
    """A roll of tape, or rings of cable."""
    paint = plain(sample_colour(rng, (0, 1), (0, 0.8), (0.05, 0.9)))
    wide, tall = rng.uniform(0.04, 0.07), rng.uniform(0.02, 0.06)

    def ring(points: Array) -> NDArray[np.bool_]:
        away = np.hypot(points[:, 0], points[:, 1])
        return np.asarray((away < wide) & (away > wide * 0.65), np.bool_)

    lid = Quad(centre=at(0, tall, 0), axes=_FLAT, size=(wide, wide), paint=paint, cut=ring)
    return [*(tube(ORIGIN, tall, (r, r), paint) for r in (wide, wide * 0.65)), lid]


def telephone(rng: Rng) -> list[Shape]:
    """A desk telephone: a wedge with keys and a receiver."""
    case = plain(case_colour(rng))
    wedge = tapered(at(0, 0, 0), (0.09, 0.1), (0.085, 0.06), 0.06, case, (0.0, 0.03))
    shapes: list[Shape] = [wedge]
    ear = [at(-0.055, 0.075, z) for z in (-0.06, 0.09)]
    shapes += limb(ear[0], ear[1], (0.017, 0.017), case)
    for end in ear:
        shapes.append(ellipsoid(end - at(0, 0.012, 0), (0.028, 0.022, 0.03), case))
    pad = labels(rng, 0.02, 0.02)
    shapes.append(block(at(0.035, 0.055, -0.01), (0.07, 0.02, 0.08), pad))
    return shapes


def desk_lamp(rng: Rng) -> list[Shape]:
    """A lamp with two arms and a shade."""
    paint = plain(sample_colour(rng, (0, 1), (0, 0.8), (0.05, 0.95)))
    elbow = at(rng.uniform(-0.05, 0.05), rng.uniform(0.22, 0.32), rng.uniform(0.02, 0.12))
    head = elbow + at(rng.uniform(-0.12, 0.12), rng.uniform(0.05, 0.2), -rng.uniform(0.1, 0.25))
    way = at(rng.normal() * 0.2, -1.0, -rng.uniform(0.0, 0.5))
    way /= np.linalg.norm(way)
    return [
        rod(at(0, 0, 0), at(0, 0.02, 0), (0.09, 0.085), paint, gloss=0.5),
        rod(at(0, 0, 0), elbow, (0.01, 0.01), paint, gloss=0.5),
        rod(elbow, head, (0.01, 0.01), paint, gloss=0.5),
        tube(head, 0.13, (0.03, 0.08), paint, closed=True, axes=frame_along(way), gloss=0.4),
    ]


def toy(rng: Rng) -> list[Shape]:
    """A soft toy of fur that sits."""
    colour = sample_colour(
        rng, (0.0, 1.0) if rng.random() < 0.3 else (0.03, 0.1), (0.2, 0.8), (0.15, 0.9)
    )
    fur = sample_leaves(rng, colour, 0.014)
    size = rng.uniform(0.08, 0.18)
    shapes: list[Shape] = []

    def ball(x: float, y: float, z: float, r: float, stretch: float = 1.0) -> None:
        radii = (r * size, r * size * stretch, r * size)
        place = at(x, y, z) * size
        shapes.extend(foliage(rng, place, radii, fur, STRAIGHT)[:2])
        core = (radii[0] * 0.88, radii[1] * 0.88, radii[2] * 0.88)
        shapes.append(ellipsoid(place, core, fur.paint, rough=0.7, grain=0.02))

    ball(0, 0.7, 0, 0.7, 1.1)
    ball(0, 1.75, -0.05, 0.55)
    dark = plain(np.array([0.01] * 3))
    for side in (-1.0, 1.0):
        ball(side * 0.45, 2.2, 0, 0.2)
        ball(side * 0.7, 0.9, -0.25, 0.25, 1.6)
        ball(side * 0.45, 0.25, -0.7, 0.3)
        eye = at(side * 0.2, 1.85, -0.58) * size
        shapes.append(ellipsoid(eye, 0.07 * size, dark, gloss=0.9))
    nose = at(0, 1.62, -0.62) * size
    shapes.append(ellipsoid(nose, (0.12 * size, 0.09 * size, 0.08 * size), dark))
    return shapes


def bag(rng: Rng) -> list[Shape]:
    """A rucksack or shopping bag that stands."""
    cloth = sample_cloth(rng)
    half, deep, tall = rng.uniform(0.13, 0.2), rng.uniform(0.06, 0.13), rng.uniform(0.3, 0.45)
    top = (half * 0.85, deep * rng.uniform(0.4, 0.9))
    body = tapered(at(0, 0, 0), (half, deep), top, tall, cloth, rough=0.25, grain=0.15)
    pocket = ellipsoid(at(0, tall * 0.3, -deep * 0.85), (half * 0.7, tall * 0.25, 0.05), cloth)
    shapes: list[Shape] = [body, pocket]
    line = [
        at(half * 0.4 * c, tall + 0.06 * s, 0) for c, s in ((-1, 0), (-0.6, 1), (0.6, 1), (1, 0))
    ]
    for start, end in pairwise(line):
        shapes += limb(start, end, (0.011, 0.011), cloth)
    return shapes


def paper_bin(rng: Rng) -> list[Shape]:
    """A waste-paper bin or bucket."""
    paint = plain(sample_colour(rng, (0, 1), (0, 0.7), (0.05, 0.9)))
    tall, wide = rng.uniform(0.25, 0.4), rng.uniform(0.1, 0.16)
    paper = mottled(rng, np.array([0.7] * 3), 0.05, 0.4)
    fill = ellipsoid(at(0, tall * 0.7, 0), (wide, 0.06, wide), paper, rough=0.7, grain=0.04)
    return [tube(ORIGIN, tall, (wide, wide * 1.25), paint, closed=True), fill]


def small_box(rng: Rng) -> list[Shape]:
    """A package or tin box with print on it."""
    size = rng.uniform([0.06, 0.03, 0.05], [0.3, 0.2, 0.22])
    print_ = labels(rng, size[0], size[1])
    place = at(0, size[1] / 2, 0)
    return [block(place, (size[0], size[1], size[2]), print_, gloss=0.2)]


DESK_THINGS: tuple[Maker, ...] = (
    laptop, papers, papers, papers, books, can, can, roll, telephone, desk_lamp, toy,
    objects.bottle, objects.mug, objects.mug, small_thing, small_box,
)  # fmt: skip
FLOOR_THINGS: tuple[Maker, ...] = (
    objects.carton, objects.carton, bag, paper_bin, objects.ball, toy, objects.marker, books,
    papers,
)  # fmt: skip


def scatter(
    rng: Rng, makers: Sequence[Maker], count: int, half: Pair, base: Array = ORIGIN
) -> list[Shape]:
    """Things strewn over a rectangle around ``base``, apart from each other where there is room."""
    shapes: list[Shape] = []
    taken: list[Array] = []
    for _ in range(count):
        spots = rng.uniform(-1.0, 1.0, (6, 2)) * np.array(half)
        away = [min((float(np.hypot(*(s - t))) for t in taken), default=1.0) for s in spots]
        best = spots[int(np.argmax(away))]
        if taken and max(away) < 0.12:
            break
        taken.append(best)
        own = pick(rng, makers)(rng)
        shapes += moved(own, base + at(best[0], 0, best[1]), turn_y(rng.normal(0, 0.6)))
    return shapes
