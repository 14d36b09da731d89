"""Things that stand in the scenes, each a list of shapes at a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds.shapes import (
    Box,
    Cut,
    Ellipsoid,
    Frustum,
    Pair,
    Polyhedron,
    Quad,
    Shape,
    Triple,
    moved,
    taper,
)
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    courses,
    linear,
    mottled,
    sample_colour,
    sample_field,
)
from maskdepth.synthesis.worlds.vectors import STRAIGHT, frame_along, turn_y

_Choice = TypeVar("_Choice")
Rng = np.random.Generator
GROUND_AXES = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_FAR_M = 13.0  # farther trees are made of fewer shapes


def pick(rng: Rng, choices: Sequence[_Choice]) -> _Choice:
    """Any of some choices."""
    return choices[int(rng.integers(len(choices)))]


def at(x: float, y: float, z: float) -> Array:
    """A world point (3,)."""
    return np.array([x, y, z], np.float64)


ORIGIN = at(0, 0, 0)


def turned_anyhow(rng: Rng, shapes: Sequence[Shape], place: Array) -> list[Shape]:
    """Shapes built around the origin, put on a point (3,) and turned by any angle."""
    return moved(shapes, place, turn_y(rng.uniform(0, 6.3)))


def rod(start: Array, end: Array, radii: Pair, paint: Paint, **how: Any) -> Frustum:
    """A round bar from one world point to another."""
    axes, height = frame_along(end - start), float(np.linalg.norm(end - start))
    return Frustum(centre=start, axes=axes, height=height, radii=radii, paint=paint, **how)


def tube(
    base: Array, height: float, radii: Pair, paint: Paint, *, closed: bool = False, **how: Any
) -> Frustum:
    """A round wall that is open at the top, and at the bottom too unless ``closed``."""
    caps = (closed, False)
    return Frustum(centre=base, height=height, radii=radii, caps=caps, paint=paint, **how)


def ellipsoid(centre: Array, radii: float | Triple, paint: Paint, **how: Any) -> Ellipsoid:
    """A ball of one radius, or an ellipsoid of three, around a world point."""
    sizes = radii if isinstance(radii, tuple) else (radii,) * 3
    return Ellipsoid(centre=centre, radii=sizes, paint=paint, **how)


def tapered(
    centre: Array,
    bottom: Pair,
    top: Pair,
    height: float,
    paint: Paint,
    lean: Pair = (0.0, 0.0),
    **how: Any,
) -> Polyhedron:
    """A solid that narrows or widens upwards; see ``shapes.taper``."""
    faces, reach = taper(bottom, top, height, lean)
    return Polyhedron(centre=centre, faces=faces, reach=reach, paint=paint, **how)


def leaf_cut(rng: Rng, wavelength: float, level: float) -> Cut:
    """Holes between leaves."""
    field = sample_field(rng, wavelength, 1)
    shift = rng.uniform(-9.0, 9.0, 3).astype(np.float32)

    def cut(points: Array) -> NDArray[np.bool_]:
        return np.asarray(field.solid(points.astype(np.float32) + shift) > level, np.bool_)

    return cut


def sample_leaf_colour(rng: Rng) -> Array:
    """Mostly greens; now and then autumn, copper or blossom."""
    kind = rng.random()
    if kind < 0.72:
        return sample_colour(rng, (0.17, 0.31), (0.28, 0.66), (0.28, 0.6))
    if kind < 0.92:
        return sample_colour(rng, (0.03, 0.16), (0.45, 0.85), (0.4, 0.8))
    return sample_colour(rng, (0.85, 1.02), (0.15, 0.6), (0.4, 0.9))


@dataclass(frozen=True)
class Leaves:
    """What the leaf clusters of one plant share.

    Attributes:
        paint: their albedo.
        size: metres of a leaf.
        cuts: holes of the sparse outer, the middle and the dense inner shell.
    """

    paint: Paint
    size: float
    cuts: tuple[Cut, ...]


def sample_leaves(rng: Rng, colour: Array, size: float) -> Leaves:
    """Leaves of about one colour."""
    cuts = tuple(leaf_cut(rng, size, level) for level in (1.0, 0.3, -0.7))
    return Leaves(mottled(rng, colour, size * 1.2, 0.32, 0.1), size, cuts)


def foliage(
    rng: Rng, centre: Array, radii: Triple, leaves: Leaves, axes: Array | None = None
) -> list[Shape]:
    """A ball of leaves: shells, sparse outside and dense within, so that its outline is ragged."""
    turned = turn_y(rng.uniform(0, 6.3)) if axes is None else axes
    shade = float(np.exp(rng.normal(-0.1, 0.16)))
    offset = rng.uniform(-9.0, 9.0, 3)
    return [
        ellipsoid(
            centre,
            (radii[0] * share, radii[1] * share, radii[2] * share),
            leaves.paint,
            axes=turned,
            rough=0.7,
            grain=leaves.size * 1.3,
            leafy=0.5,
            shade=shade,
            offset=offset,
            cut=cut,
            casts=share < 0.9,
        )
        for share, cut in zip((1.12, 0.95, 0.78), leaves.cuts, strict=True)
    ]


def broadleaf(rng: Rng, base: Array, height: float) -> list[Shape]:
    """A tree with trunk, branches and a crown of leaf clusters."""
    bark = sample_colour(rng, (0.04, 0.11), (0.1, 0.45), (0.16, 0.5))
    paint = mottled(rng, bark, 0.12, 0.45)
    radius = height * rng.uniform(0.018, 0.034)
    stem = height * rng.uniform(0.22, 0.42)
    lean = rng.normal(0.0, 0.03, 2) * height
    top = base + at(lean[0], stem, lean[1])
    foot = base - at(0, 0.05, 0)
    shapes: list[Shape] = [
        rod(foot, top, (radius * 1.25, radius * 0.8), paint, rough=0.5, grain=0.06),
        rod(base, base + at(0, radius * 1.5, 0), (radius * 1.9, radius * 1.2), paint, rough=0.5),
    ]
    wide = height * rng.uniform(0.2, 0.36)
    tall = (height - stem) * 0.58
    middle = top + at(0, tall * 0.75, 0)
    leaves = sample_leaves(rng, sample_leaf_colour(rng), float(np.clip(height * 0.018, 0.08, 0.16)))
    for _ in range(int(rng.integers(5, 9))):
        angle, rise = rng.uniform(0, 6.3), rng.uniform(0.0, 1.0)
        end = middle + at(
            np.cos(angle) * wide * 0.7, tall * (rise - 0.5), np.sin(angle) * wide * 0.7
        )
        begin = top - at(0, stem * rng.uniform(0.0, 0.25), 0)
        shapes.append(rod(begin, end, (radius * 0.5, radius * 0.12), paint, rough=0.4))
    shapes.append(rod(top, middle + at(0, tall * 0.5, 0), (radius * 0.75, radius * 0.15), paint))
    far = base[2] > _FAR_M
    for _ in range(int(rng.integers(13, 20) if far else rng.integers(20, 32))):
        way = rng.normal(size=3)
        way *= rng.uniform(0.45, 1.0) / np.linalg.norm(way)
        place = middle + way * np.array([wide, tall, wide]) * 0.82
        size = wide * (rng.uniform(0.28, 0.48) if far else rng.uniform(0.2, 0.42))
        radii = (size * rng.uniform(0.9, 1.3), size * rng.uniform(0.55, 0.85), size)
        shapes += foliage(rng, place, radii, leaves)[int(far) :]
    return shapes


def conifer(rng: Rng, base: Array, height: float) -> list[Shape]:
    """A fir: a mast and whorls of hanging branches."""
    bark = mottled(rng, sample_colour(rng, (0.03, 0.09), (0.2, 0.5), (0.15, 0.4)), 0.1, 0.4)
    shapes: list[Shape] = [rod(base, base + at(0, height, 0), (height * 0.02, 0.005), bark)]
    colour = sample_colour(rng, (0.24, 0.42), (0.3, 0.65), (0.18, 0.42))
    rows = int(rng.integers(6, 9) if base[2] > _FAR_M else rng.integers(8, 12))
    wide = height * rng.uniform(0.15, 0.24)
    leaves = sample_leaves(rng, colour, float(np.clip(height * 0.017, 0.07, 0.13)))
    for row in range(rows):
        share = row / rows
        reach = wide * (1.0 - share) ** 0.85 + 0.04 * height * (1 - share)
        level = base + at(0, height * (0.1 + 0.92 * share), 0)
        for arm in range(5 if share < 0.8 else 3):
            angle = arm * 1.26 + row * 0.7 + rng.normal(0, 0.15)
            out = reach * rng.uniform(0.45, 0.62)
            place = level + at(np.cos(angle) * out, -reach * 0.16, np.sin(angle) * out)
            along = at(np.cos(angle), -0.42, np.sin(angle))
            radii = (reach * 0.32, reach * 0.62, reach * 0.2)
            shapes += foliage(rng, place, radii, leaves, frame_along(along))[1:]
    return shapes


def bush(rng: Rng, base: Array, height: float) -> list[Shape]:
    """A shrub: leaf clusters that reach the ground."""
    leaves = sample_leaves(rng, sample_leaf_colour(rng), float(np.clip(height * 0.06, 0.03, 0.08)))
    shapes: list[Shape] = []
    for _ in range(int(rng.integers(9, 16))):
        size = height * rng.uniform(0.2, 0.36)
        place = base + at(rng.normal() * height * 0.3, 0, rng.normal() * height * 0.3)
        place[1] += rng.uniform(0.12, 0.65) * height
        shapes += foliage(rng, place, (size, size * 0.8, size), leaves)
    return shapes


def rock(rng: Rng, base: Array, size: float) -> list[Shape]:
    """A boulder sunk in the ground, rounded by water or broken."""
    grey = sample_colour(rng, (0.05, 0.62), (0.0, 0.15), (0.3, 0.7))
    paint = mottled(rng, grey, size * 0.6, 0.3)
    broken = rng.random() < 0.5
    shapes: list[Shape] = []
    for _ in range(int(rng.integers(1, 4))):
        place = base + at(rng.normal() * size * 0.4, size * 0.15, rng.normal() * size * 0.3)
        radii = (size * rng.uniform(0.5, 1), size * rng.uniform(0.3, 0.6), size * 0.7)
        how = {"centre": place, "axes": turn_y(rng.uniform(0, 6)), "paint": paint, "rough": 0.45}
        if broken:
            faces = np.concatenate([rng.normal(size=(7, 3)), np.eye(3), -np.eye(3)])
            faces = faces / np.linalg.norm(faces, axis=1, keepdims=True)
            reach = np.linalg.norm(faces * radii, axis=1) * rng.uniform(0.75, 1.0, len(faces))
            shapes.append(Polyhedron(faces=faces, reach=reach, grain=size, **how))  # type: ignore[arg-type]
        else:
            shapes.append(Ellipsoid(radii=radii, grain=size, **how))  # type: ignore[arg-type]
    return shapes


def block(centre: Array, size: Triple, paint: Paint, turn: Array = STRAIGHT, **how: Any) -> Box:
    """A box by its centre and full sizes (width, height, length), turned about the vertical."""
    half = (size[0] / 2, size[1] / 2, size[2] / 2)
    return Box(centre=centre, axes=turn, size=half, paint=paint, **how)


def plain(colour: Array) -> Paint:
    """One colour everywhere."""
    return lambda surface: np.broadcast_to(colour, surface.points.shape)


def fence(rng: Rng, start: Array, end: Array) -> list[Shape]:
    """Posts and rails, or pickets, from one ground point to another."""
    paint = mottled(rng, sample_colour(rng, (0.05, 0.12), (0.0, 0.4), (0.25, 0.9)), 0.3, 0.25)
    along = end - start
    length = float(np.linalg.norm(along))
    turn = turn_y(float(np.arctan2(along[2], along[0])))
    height = rng.uniform(0.8, 1.5)
    gap = rng.choice([2.0, 2.6, 0.22])
    count = min(int(length / gap), 90)
    thick = 0.1 if gap > 1 else 0.09
    shapes: list[Shape] = []
    for number in range(count + 1):
        place = start + along * (number / max(count, 1)) + at(0, height / 2, 0)
        shapes.append(block(place, (thick, height, 0.05 if gap < 1 else 0.1), paint, turn))
    for level in (0.35, 0.8):
        middle = start + along / 2 + at(0, height * level, 0)
        shapes.append(block(middle, (length, 0.1, 0.03), paint, turn))
    return shapes


def lamp_post(rng: Rng, base: Array) -> list[Shape]:
    """A street lamp."""
    paint = mottled(rng, sample_colour(rng, (0.2, 0.7), (0.0, 0.4), (0.1, 0.5)), 0.4, 0.1)
    height = rng.uniform(3.0, 5.0)
    top = base + at(0, height, 0)
    glass = plain(linear(np.array([0.95, 0.93, 0.88])))
    radius = rng.uniform(0.14, 0.24)
    return [
        rod(base, top, (0.07, 0.045), paint, gloss=0.3),
        rod(base, base + at(0, 0.5, 0), (0.13, 0.1), paint, gloss=0.3),
        ellipsoid(top + at(0, radius, 0), radius, glass, gloss=0.5),
        rod(top + at(0, radius * 1.7, 0), top + at(0, radius * 2.2, 0), (radius, 0.02), paint),
    ]


def bench(rng: Rng, base: Array = ORIGIN, angle: float = 0.0) -> list[Shape]:
    """A park bench of slats."""
    wood = mottled(rng, sample_colour(rng, (0.03, 0.12), (0.2, 0.65), (0.25, 0.75)), 0.2, 0.25)
    iron = plain(sample_colour(rng, (0.3, 0.6), (0.0, 0.3), (0.08, 0.3)))
    turn = turn_y(angle)
    side = turn[0]
    back = turn[2]
    width = rng.uniform(1.3, 2.0)
    shapes: list[Shape] = []
    for number in range(4):
        seat = base + at(0, 0.45, 0) + back * (number * 0.11 - 0.16)
        shapes.append(block(seat, (width, 0.035, 0.09), wood, turn))
    for number in range(3):
        rest = base + at(0, 0.58 + number * 0.13, 0) + back * (0.26 + number * 0.03)
        shapes.append(block(rest, (width, 0.1, 0.03), wood, turn))
    for end in (-0.42, 0.42):
        foot = base + side * (end * width)
        shapes.append(block(foot + at(0, 0.22, 0) - back * 0.15, (0.05, 0.44, 0.05), iron, turn))
        shapes.append(block(foot + at(0, 0.45, 0) + back * 0.25, (0.05, 0.9, 0.05), iron, turn))
    return shapes


def house(rng: Rng, base: Array, angle: float) -> list[Shape]:
    """A gabled house with windows and a door on its long sides."""
    turn = turn_y(angle)
    side, back = turn[0], turn[2]
    width, deep = rng.uniform(7, 12), rng.uniform(6, 8.5)
    storeys = int(rng.integers(1, 4))
    tall = 2.9 * storeys + 0.3
    wall = sample_wall(rng)
    shapes: list[Shape] = [block(base + at(0, tall / 2, 0), (width, tall, deep), wall, turn)]
    rise = deep / 2 * rng.uniform(0.5, 1.1)
    colour = sample_colour(rng, (0.98, 1.1), (0.1, 0.6), (0.2, 0.55))
    tiles = courses(rng, colour, colour * 0.4, 0.3, 0.35, gap=0.02, spread=0.12)
    slope = float(np.hypot(deep / 2, rise))

    def gable(points: Array) -> NDArray[np.bool_]:
        return np.asarray(np.abs(points[:, 0]) < deep / 2 * (0.5 - points[:, 1] / rise), np.bool_)

    for sign in (-1.0, 1.0):
        middle = base + at(0, tall + rise / 2 - 0.05, 0) + back * (sign * deep / 4)
        up = at(0, rise, 0) - back * (sign * deep / 2)
        up = up / np.linalg.norm(up)
        axes = np.stack([side, up, np.cross(side, up)])
        size = (width / 2 + 0.3, slope / 2 + 0.25)
        shapes.append(Quad(centre=middle - up * 0.2, axes=axes, size=size, paint=tiles))
        end = base + at(0, tall + rise / 2, 0) + side * (sign * width / 2)
        frame = np.stack([back, at(0, 1, 0), side])
        size = (deep / 2, rise / 2)
        shapes.append(Quad(centre=end, axes=frame, size=size, paint=wall, cut=gable))
    shapes += _openings(rng, base, turn, width, deep, storeys)
    return shapes


def sample_wall(rng: Rng) -> Paint:
    """Brick, boards or render."""
    kind = rng.random()
    if kind < 0.4:
        colour = sample_colour(rng, (0.98, 1.09), (0.25, 0.65), (0.35, 0.75))
        joint = sample_colour(rng, (0.05, 0.15), (0.0, 0.15), (0.5, 0.8))
        return courses(rng, colour, joint, 0.25, 0.075, gap=0.012, spread=0.18)
    colour = sample_colour(rng, (0.0, 1.0), (0.0, 0.28), (0.5, 0.97))
    if kind < 0.6:
        return courses(rng, colour, colour * 0.4, 4.0, 0.18, gap=0.015, spread=0.06)
    return mottled(rng, colour, 1.5, 0.12)


def _openings(
    rng: Rng, base: Array, turn: Array, width: float, deep: float, storeys: int
) -> list[Shape]:
    """Windows and a door on both long sides."""
    side, back = turn[0], turn[2]
    frame = plain(sample_colour(rng, (0.0, 1.0), (0.0, 0.5), (0.3, 0.97)))
    glass = plain(sample_colour(rng, (0.5, 0.65), (0.1, 0.4), (0.06, 0.3)))
    leaf = mottled(rng, sample_colour(rng, (0.0, 1.0), (0.2, 0.8), (0.2, 0.7)), 0.8, 0.1)
    count = int(width // 2.6)
    door = int(rng.integers(count))
    w, h = rng.uniform(0.9, 1.4), rng.uniform(1.1, 1.6)
    shapes: list[Shape] = []

    def put(place: Array, size: Triple, paint: Paint, gloss: float = 0) -> None:
        shapes.append(block(place, size, paint, turn, casts=False, gloss=gloss))

    for face in (-1.0, 1.0):
        for storey in range(storeys):
            for number in range(count):
                along = (number + 0.5) / count * width - width / 2
                spot = base + side * along + back * (face * deep / 2)
                if storey == 0 and number == door:
                    put(spot + at(0, 1.05, 0), (1.15, 2.2, 0.1), frame)
                    put(spot + at(0, 1.02, 0), (0.95, 2.05, 0.16), leaf)
                    continue
                spot = spot + at(0, 2.9 * storey + 1.65, 0)
                put(spot, (w + 0.16, h + 0.16, 0.1), frame)
                for half in (-1.0, 1.0):
                    put(spot + side * (half * w / 4), (w / 2 - 0.05, h, 0.14), glass, 0.9)
    return shapes
