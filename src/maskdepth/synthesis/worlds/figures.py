"""People and animals as solids that stand on the ground, at the origin and facing -z."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds.furniture import sample_cloth
from maskdepth.synthesis.worlds.props import Rng, at, block, ellipsoid, plain, rod, sample_leaves
from maskdepth.synthesis.worlds.shapes import Cut, Pair, Shape, Triple
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    Surface,
    mix,
    mottled,
    patchy,
    sample_colour,
    step,
)
from maskdepth.synthesis.worlds.vectors import frame_along, turn_y


def limb(start: Array, end: Array, radii: Pair, paint: Paint) -> list[Shape]:
    """A bar with rounded ends."""
    ends = [ellipsoid(point, (r, r, r), paint) for point, r in ((start, radii[0]), (end, radii[1]))]
    return [rod(start, end, radii, paint, rough=0.06, grain=0.05), *ends]


def _sample_skin(rng: Rng) -> Array:
    return sample_colour(rng, (0.02, 0.075), (0.25, 0.6), (0.25, 0.95))


def _face(skin: Array, size: float) -> Paint:
    """Skin with eyes and a mouth, for a head of half height ``size``."""

    def paint(surface: Surface) -> Array:
        x, y, z = (surface.points / size).T
        front = z < 0
        eyes = np.hypot(np.abs(x) - 0.3, (y - 0.08) * 1.6)
        mouth = np.hypot(x * 0.45, (y + 0.45) * 2.0)
        soft = surface.footprint / size + 0.04
        colour = mix(skin, skin * 0.15, front * (1.0 - step(eyes, 0.12, soft)))
        lips = skin * np.array([0.9, 0.45, 0.45])
        return mix(colour, lips, front * (1.0 - step(mouth, 0.12, soft)))

    return paint


def _hair(rng: Rng, centre: Array, radii: Array) -> list[Shape]:
    """Hair around a head, or a hat, or nothing."""
    kind = rng.random()
    if kind < 0.12:
        return []
    if kind < 0.28:
        cloth = sample_cloth(rng)
        size = (radii[0] * 1.12, radii[1] * 0.75, radii[2] * 1.12)
        crown = ellipsoid(centre + at(0, radii[1] * 0.45, 0), size, cloth)
        level = centre + at(0, radii[1] * 0.42, 0)
        wide = radii[2] * rng.uniform(1.15, 2.0)
        return [crown, rod(level, level + at(0, 0.012, 0), (wide, wide * 0.97), cloth)]
    grey = rng.random() < 0.25
    colour = sample_colour(
        rng, (0.02, 0.12), (0.0, 0.1) if grey else (0.2, 0.7), (0.5, 0.9) if grey else (0.05, 0.6)
    )
    locks = sample_leaves(rng, colour, 0.012)
    long = rng.uniform(0.0, 1.3)

    def worn(leaf: Cut, share: float) -> list[Shape]:

        def cut(points: Array) -> NDArray[np.bool_]:
            face = (points[:, 2] < -0.25 * radii[2]) & (points[:, 1] < 0.42 * radii[1])
            return np.asarray(leaf(points) & ~face, np.bool_)

        return [
            ellipsoid(
                centre + at(0, radii[1] * (0.12 - 0.4 * long * low), radii[2] * 0.14),
                (radii[0] * share, radii[1] * (share - 0.1 + 0.3 * low * long), radii[2] * share),
                locks.paint,
                rough=0.5,
                grain=0.02,
                cut=cut,
            )
            for low in ((0.0, 1.0) if long > 0.4 else (0.0,))
        ]

    shells = zip(locks.cuts, (1.3, 1.2, 1.12), strict=True)
    return [part for leaf, share in shells for part in worn(leaf, share)]


def _lower_body(
    rng: Rng, tall: float, walks: bool, hip: float, trousers: Paint, wide: float
) -> list[Shape]:
    """Legs and shoes."""
    shoe = plain(sample_colour(rng, (0.0, 1.0), (0.0, 0.6), (0.03, 0.9)))
    swing = rng.uniform(0.15, 0.5) if walks else rng.uniform(0.0, 0.06)
    thick = tall * 0.046 * wide
    bare = mottled(rng, _sample_skin(rng), 0.1, 0.05) if rng.random() < 0.2 else trousers
    shapes: list[Shape] = []
    for side in (-1.0, 1.0):
        joint = at(side * 0.052 * tall * wide, hip, 0)
        angle = side * swing
        knee = joint + at(0, -np.cos(angle), -np.sin(angle)) * (0.24 * tall)
        below = angle - max(0.0, -side) * swing * 0.9
        ankle = knee + at(0, -np.cos(below), -np.sin(below)) * (0.24 * tall)
        ankle[1] = max(ankle[1], 0.045 * tall if side > 0 or not walks else 0.07 * tall)
        shapes += limb(joint, knee, (thick * 1.45, thick), trousers)
        shapes += limb(knee, ankle, (thick, thick * 0.72), bare)
        toe = at(ankle[0], max(ankle[1] - 0.03 * tall, 0.02 * tall), ankle[2] - 0.045 * tall)
        shapes.append(ellipsoid(toe, (0.028 * tall, 0.024 * tall, 0.075 * tall), shoe))
    return shapes


def _arms(
    rng: Rng, tall: float, shoulder: float, wide: float, top: Paint, bare: Paint
) -> list[Shape]:
    """Arms and hands, hanging, swinging or bent."""
    shapes: list[Shape] = []
    sleeve = bare if rng.random() < 0.3 else top
    for side in (-1.0, 1.0):
        joint = at(side * 0.118 * tall * wide, shoulder, 0)
        swing, out = rng.uniform(-0.5, 0.6), rng.uniform(0.02, 0.3)
        elbow = joint + at(side * out, -1.0, -swing) / np.sqrt(1 + swing**2 + out**2) * 0.175 * tall
        bend = swing + rng.uniform(0.1, 1.3)
        hand = elbow + at(-side * 0.1, -np.cos(bend), -np.sin(bend)) * (0.155 * tall)
        shapes += limb(joint, elbow, (0.034 * tall, 0.027 * tall), top)
        shapes += limb(elbow, hand, (0.026 * tall, 0.018 * tall), sleeve)
        shapes.append(ellipsoid(hand, (0.018 * tall, 0.035 * tall, 0.022 * tall), bare))
    return shapes


def person(rng: Rng) -> list[Shape]:
    """A clothed adult or child who stands or walks."""
    walks = bool(rng.integers(2))
    tall = rng.uniform(1.0, 1.45) if rng.random() < 0.15 else rng.uniform(1.5, 1.95)
    wide = rng.uniform(0.85, 1.25)
    skin = _sample_skin(rng)
    bare = mottled(rng, skin, 0.1, 0.05)
    top, trousers = sample_cloth(rng), sample_cloth(rng)
    hip = 0.5 * tall
    shapes = _lower_body(rng, tall, walks, hip, trousers, wide)

    def soft(x: float, y: float, z: float, radii: Triple, own: Paint) -> None:
        size = (radii[0] * tall, radii[1] * tall, radii[2] * tall)
        place = at(x * tall, hip + y * tall, z * tall)
        shapes.append(ellipsoid(place, size, own, rough=0.12, grain=0.08))

    soft(0, 0.02, 0, (0.1 * wide, 0.075, 0.075 * wide), trousers)
    soft(0, 0.11, 0, (0.092 * wide, 0.12, 0.066 * wide), top)
    soft(0, 0.225, 0.005, (0.108 * wide, 0.12, 0.068 * wide), top)
    if rng.random() < 0.25:  # a skirt or a coat
        low = hip - tall * rng.uniform(0.08, 0.3)
        waist = at(0, hip + 0.12 * tall, 0)
        shapes.append(rod(at(0, low, 0), waist, (0.14 * tall, 0.085 * tall), top, rough=0.1))
    shoulder = hip + 0.305 * tall
    shapes += _arms(rng, tall, shoulder, wide, top, bare)
    neck = at(0, shoulder + 0.015 * tall, 0)
    head = neck + at(rng.normal(0, 0.01), 0.115 * tall, -0.012 * tall)
    shapes.append(rod(neck, head, (0.033 * tall, 0.027 * tall), bare))
    radii = np.array([0.046, 0.066, 0.054]) * (0.35 * tall + 1.13)
    gaze = turn_y(rng.normal(0, 0.4))
    shapes.append(ellipsoid(head, (radii[0], radii[1], radii[2]), _face(skin, radii[1]), axes=gaze))
    shapes += _hair(rng, head, radii)
    if rng.random() < 0.2:
        bag = at(0, hip + 0.2 * tall, 0.1 * tall)
        size = (0.17 * tall, 0.26 * tall, 0.09 * tall)
        shapes.append(block(bag, size, sample_cloth(rng), rough=0.2))
    return shapes


def creature(rng: Rng, tallest: float = 1.0) -> list[Shape]:
    """A four-legged animal, from cat to cow; its legs are ``tallest`` metres at most, its head is
    towards -z.
    """
    legs = [long for long in (0.17, 0.35, 0.5, 0.75, 0.9) if long <= tallest]
    stand = float(rng.choice(legs)) * rng.uniform(0.85, 1.1)
    long, thick = stand * rng.uniform(1.0, 1.5), stand * rng.uniform(0.22, 0.34)
    first = sample_colour(rng, (0.02, 0.12), (0.0, 0.7), (0.06, 0.95))
    second = sample_colour(rng, (0.02, 0.12), (0.0, 0.5), (0.05, 0.97))
    coat = mottled(rng, first, 0.05, 0.25)
    if rng.random() < 0.5:
        coat = patchy(rng, coat, mottled(rng, second, 0.05, 0.2), stand * 0.5, rng.normal(0.2, 0.4))
    level = stand + thick * 0.5

    def soft(place: Array, radii: Triple, axes: Array | None = None) -> Shape:
        frame = np.eye(3) if axes is None else axes
        return ellipsoid(place, radii, coat, axes=frame, rough=0.2, grain=0.03)

    shapes = [
        soft(at(0, level, 0), (thick * 0.85, thick, long * 0.52)),
        soft(at(0, level + thick * 0.05, -long * 0.33), (thick * 0.9, thick * 1.1, thick * 1.1)),
        soft(at(0, level, long * 0.35), (thick * 0.9, thick, thick)),
    ]
    for x in (-0.55, 0.55):
        for z in (-0.36, 0.4):
            foot = at(x * thick, 0.02 * stand, z * long + rng.normal(0, 0.07) * stand)
            knee = at(x * thick, stand * 0.5, z * long + (0.03 if z > 0 else -0.01) * stand)
            shapes += limb(at(x * thick, stand, z * long), knee, (thick * 0.42, thick * 0.24), coat)
            shapes += limb(knee, foot, (thick * 0.22, thick * 0.17), coat)
    rise = rng.uniform(-0.1, 0.75) * stand
    turn = rng.normal(0, 0.3)
    head = at(np.sin(turn) * 0.3 * stand, level + rise, -long * 0.5 - 0.35 * stand)
    shapes += limb(at(0, level, -long * 0.38), head, (thick * 0.62, thick * 0.45), coat)
    way = at(np.sin(turn), -rng.uniform(0.1, 0.5), -1.0)
    size = thick * rng.uniform(0.6, 0.75)
    axes = frame_along(way)
    shapes.append(soft(head, (size * 0.85, size, size * 0.85), axes))
    muzzle = head + axes[1] * size * rng.uniform(0.8, 1.4)
    shapes += limb(head, muzzle, (size * 0.7, size * 0.42), coat)
    dark = plain(np.array([0.01, 0.01, 0.01]))
    shapes.append(ellipsoid(muzzle + axes[1] * size * 0.4, size * 0.17, dark))
    ear = rng.uniform(0.4, 1.1) * size
    for side in (-1.0, 1.0):
        root = head + at(side * size * 0.6, size * 0.6, 0)
        lie = frame_along(at(side * 0.7, rng.uniform(-0.4, 1.0), 0.2))
        shapes.append(soft(root, (ear * 0.35, ear, ear * 0.12), lie))
    tip = at(rng.normal(0, 0.1), level + rng.uniform(-0.7, 0.6) * stand, long * 0.5 + 0.35 * stand)
    shapes += limb(at(0, level + thick * 0.4, long * 0.5), tip, (thick * 0.2, thick * 0.1), coat)
    return shapes
