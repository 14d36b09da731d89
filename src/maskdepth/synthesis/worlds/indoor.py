"""Indoor scenes: a lived-in room, and desks and shelves from close by."""

from __future__ import annotations

import numpy as np

from maskdepth.synthesis.worlds import clutter, figures, furniture, office
from maskdepth.synthesis.worlds.cameras import (
    aim_camera,
    clear_of,
    keep_clear,
    sample_focal,
    sample_roll,
)
from maskdepth.synthesis.worlds.interior import (
    Interior,
    build_interior,
    light_interior,
    wall_things,
)
from maskdepth.synthesis.worlds.props import Rng, at, pick, turned_anyhow
from maskdepth.synthesis.worlds.raycast import Camera
from maskdepth.synthesis.worlds.shapes import Pair, Quad, Shape, moved
from maskdepth.synthesis.worlds.textures import Array
from maskdepth.synthesis.worlds.vectors import turn_y
from maskdepth.synthesis.worlds.world import World

Piece = list[Shape]


# along a wall: maker, its depth from the wall to its origin, and its width, metres
_WALL_PIECES: tuple[tuple[clutter.Maker, float, float], ...] = (
    (furniture.shelf, 0.18, 1.2),
    (furniture.cupboard, 0.3, 1.3),
    (furniture.cupboard, 0.3, 1.3),
    (furniture.sofa, 0.52, 2.1),
    (furniture.bed, 1.08, 1.7),
    (office.desk, 0.5, 2.0),
    (office.desk, 0.5, 2.0),
    (furniture.chair, 0.3, 0.6),
    (lambda rng: furniture.plant(rng, at(0, 0, 0), rng.uniform(0.6, 1.6)), 0.35, 0.6),
    (lambda rng: furniture.lamp(rng, at(0, 0, 0), rng.uniform(1.2, 1.7)), 0.3, 0.6),
    (lambda rng: clutter.scatter(rng, clutter.FLOOR_THINGS, 2, half=(0.4, 0.2)), 0.35, 1.0),
)


def along_wall(rng: Rng, wall: Quad, fill: float) -> list[Piece]:
    """Pieces of furniture with their backs to a wall; ``fill`` is the share of places taken."""
    side, up, inward = wall.axes
    frame = np.stack([side, up, -inward])
    foot = wall.centre - up * wall.size[1]
    pieces: list[Piece] = []
    x = -wall.size[0] + rng.uniform(0.1, 0.8)
    while x < wall.size[0] - 0.5:
        maker, gap, wide = pick(rng, _WALL_PIECES)
        if x + wide > wall.size[0]:
            x += 0.4
            continue
        if rng.random() < fill:
            base = foot + side * (x + wide / 2) + inward * (gap + rng.uniform(0.0, 0.06))
            pieces.append(moved(maker(rng), base, frame))
        x += wide + rng.uniform(0.0, 0.6)
    return pieces


def _group(rng: Rng) -> Piece:
    """A table with chairs, a desk with its chair, a sofa with a low table: built at the origin."""
    kind = rng.random()
    shapes: list[Shape] = []
    if kind < 0.4:
        shapes += furniture.table(rng)
        count = int(rng.integers(1, 7))
        for number in range(count):
            angle = number * 2 * np.pi / count + rng.normal(0, 0.2)
            away = at(np.cos(angle) * 1.25, 0, np.sin(angle)) * rng.uniform(0.6, 0.95)
            turn = turn_y(-(angle - np.pi / 2) + rng.normal(0, 0.3))
            shapes += furniture.chair(rng, away, turn)
    elif kind < 0.75:
        shapes += office.desk(rng)
        if rng.random() < 0.7:
            seat = at(rng.normal(0, 0.3), 0, -rng.uniform(0.45, 0.9))
            turn = turn_y(np.pi + rng.normal(0, 0.5))
            maker = office.office_chair if rng.random() < 0.7 else furniture.chair
            shapes += moved(maker(rng), seat, turn)
    else:
        shapes += furniture.sofa(rng, at(0, 0, 0.9))
        shapes += furniture.table(rng, at(0, 0, -0.1), low=True)
    if rng.random() < 0.35:
        shapes += furniture.rug(rng)
    return shapes


def furnish(rng: Rng, inside: Interior, groups: int, fill: float) -> list[Piece]:
    """Pieces along all walls, groups in the middle, small things on the floor, people."""
    pieces: list[Piece] = []
    for wall in inside.walls:
        pieces += along_wall(rng, wall, fill)
    low, high = inside.low + at(1.4, 0, 1.4), inside.high - at(1.4, 0, 1.4)
    for _ in range(groups):
        spot = rng.uniform(np.minimum(low, high), np.maximum(low, high))
        pieces.append(turned_anyhow(rng, _group(rng), at(spot[0], 0, spot[2])))
    for _ in range(int(rng.integers(0, 5))):
        spot = rng.uniform(inside.low + 0.4, inside.high - 0.4)
        own = pick(rng, clutter.FLOOR_THINGS)(rng)
        pieces.append(turned_anyhow(rng, own, at(spot[0], 0, spot[2])))
    for _ in range(int(rng.choice([0, 0, 0, 1, 1, 2]))):
        spot = rng.uniform(inside.low + 0.5, inside.high - 0.5)
        own = figures.person(rng) if rng.random() < 0.8 else figures.creature(rng, 0.4)
        pieces.append(turned_anyhow(rng, own, at(spot[0], 0, spot[2])))
    return pieces


def look_at(rng: Rng, size: tuple[int, int], position: Array, target: Array, pitch: Pair) -> Camera:
    """A hand-held camera that faces a point roughly, its pitch (radians) kept within bounds."""
    away = target - position
    yaw = float(np.arctan2(away[0], away[2])) + rng.normal(0, 0.12)
    fall = float(np.arctan2(-away[1], np.hypot(away[0], away[2]))) + rng.normal(0, 0.08)
    lean = float(np.clip(fall, *pitch))
    return aim_camera(size, position, yaw, lean, sample_roll(rng), sample_focal(rng))


def _stand(rng: Rng, inside: Interior, pieces: list[Piece], eye: float) -> tuple[Array, Array]:
    """A place for the camera and a point for it to face: the best of some random ones.

    Pieces in the view and a long way to the wall are good. An eighth of the views are random, so
    that there are also bare walls, and corners from close by.
    """
    centres = np.array([np.mean([s.centre for s in piece], axis=0) for piece in pieces])
    best, views = -1.0, 1 if rng.random() < 0.125 else 6
    chosen = (np.zeros(3), np.ones(3))
    for _ in range(views):
        place = rng.uniform(inside.low + 0.4, inside.high - 0.4)
        place[1] = eye
        yaw = rng.uniform(0, 2 * np.pi)
        way = at(np.sin(yaw), 0.0, np.cos(yaw))
        with np.errstate(divide="ignore"):
            walls = np.maximum((inside.low - place) / way, (inside.high - place) / way)
        room_ahead = float(np.min(walls[[0, 2]]))
        in_view = 0
        if len(centres):
            away = centres - place
            ahead, aside = away @ way, away @ at(way[2], 0.0, -way[0])
            in_view = int(((ahead > 0.4) & (np.abs(aside) < 0.6 * ahead)).sum())
        score = min(room_ahead, 5.0) + 1.2 * min(in_view, 5)
        if score > best:
            fall = np.tan(rng.uniform(-0.12, 0.6))
            best, chosen = score, (place, place + way * 2.0 - at(0, 2.0 * fall, 0))
    return chosen


def room(rng: Rng, height: int, width: int) -> World:
    """A furnished room from anywhere in it, at any height of a hand or a shelf."""
    size = np.array([rng.uniform(3.2, 7.5), rng.uniform(2.3, 3.2), rng.uniform(3.6, 8.5)])
    low = np.array([-size[0] / 2, 0.0, -size[2] / 2])
    high = low + size
    inside = build_interior(rng, low, high, int(rng.integers(-1, 4)))
    pieces = furnish(rng, inside, int(rng.integers(0, 4)), rng.uniform(0.5, 0.95))
    eye = rng.uniform(0.5, 2.2) if rng.random() < 0.4 else rng.normal(1.45, 0.15)
    position, target = _stand(rng, inside, pieces, float(np.clip(eye, 0.5, size[1] - 0.2)))
    camera = look_at(rng, (height, width), position, target, (-0.175, 0.785))
    focus = position + camera.axes[2] * 2.0
    shapes = inside.shapes + wall_things(rng, inside, int(rng.integers(2, 9)))
    shapes += keep_clear(pieces, position, 0.25)
    return World(shapes, light_interior(rng, inside, [], focus), camera)


def desk(rng: Rng, height: int, width: int) -> World:
    """A desk, table or shelf with its clutter, from close by and above."""
    size = np.array([rng.uniform(3.5, 11.0), rng.uniform(2.4, 3.6), rng.uniform(3.5, 11.0)])
    low = np.array([-size[0] / 2, 0.0, -size[2] / 2])
    inside = build_interior(rng, low, low + size, int(rng.integers(-1, 4)))
    pieces = furnish(rng, inside, int(rng.integers(0, 3)), rng.uniform(0.2, 0.7))
    centre = rng.uniform(low + 1.2, low + size - 1.2)
    place, turn = at(centre[0], 0, centre[2]), turn_y(rng.uniform(0, 6.3))
    own = moved(office.desk(rng), place, turn)
    if rng.random() < 0.5:
        seat = at(rng.normal(0, 0.3), 0, -rng.uniform(0.4, 0.8)) @ turn
        chair = office.office_chair(rng)
        pieces.append(moved(chair, place + seat, turn_y(np.pi + rng.normal(0, 0.6)) @ turn))
    if rng.random() < 0.4:  # a second desk beside or behind it
        beside = at(rng.uniform(-0.5, 0.5), 0, rng.uniform(0.75, 1.0)) @ turn
        pieces.append(moved(office.desk(rng), place + beside, turn_y(np.pi) @ turn))
    pitch, away = rng.uniform(0.17, 0.87), float(np.exp(rng.uniform(*np.log([0.5, 2.1]))))
    heading = rng.normal(0, 0.7) + (np.pi if rng.random() < 0.25 else 0.0)
    aim = at(rng.normal(0, 0.25), rng.uniform(0.7, 0.95), rng.normal(0, 0.1)) @ turn + place
    back = at(np.sin(heading) * np.cos(pitch), -np.sin(pitch), np.cos(heading) * np.cos(pitch))
    position = aim - (back @ turn) * away
    position = np.clip(position, low + 0.15, low + size - 0.15)
    camera = look_at(rng, (height, width), position, aim, (0.05, 0.95))
    pieces = [piece for piece in pieces if clear_of(piece, aim, 0.1)]
    shapes = inside.shapes + wall_things(rng, inside, int(rng.integers(2, 9)))
    shapes += keep_clear(pieces, position, 0.2)
    shapes += keep_clear([[shape] for shape in own], position, 0.15)
    return World(shapes, light_interior(rng, inside, [], aim), camera)
