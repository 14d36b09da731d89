"""Four-legged animals: a build, a pose and a view make a body of chains of balls.

Body frame: x towards the head, y up, z to the animal's left; the trunk is one unit long.
"""

from __future__ import annotations

import numpy as np

from maskdepth.synthesis.worlds.builds import BUILDS, Build, Proportions
from maskdepth.synthesis.worlds.coats import Chain, Marks, Part, draw_animal
from maskdepth.synthesis.worlds.textures import Array

Rng = np.random.Generator
_Body = Proportions[float]
_LONG = 0.86  # hip to shoulder


def chain(points: list[Array], radii: list[float], tag: int, flatten: float = 1.0) -> Chain:
    """Balls along a smooth curve through ``points`` (3,), dense enough for a smooth body."""
    knots = np.stack(points)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    count = int(np.clip(6 + 9 * length[-1] / max(np.mean(radii), 0.01), 8, 60))
    where = np.linspace(0.0, length[-1], count)
    curve = np.stack([np.interp(where, length, knots[:, i]) for i in range(3)], axis=1)
    thick = np.interp(where, length, radii)
    for _ in range(max(1, count // 8)):  # round the corners; the ends stay
        curve[1:-1] = 0.25 * curve[:-2] + 0.5 * curve[1:-1] + 0.25 * curve[2:]
        thick[1:-1] = 0.25 * thick[:-2] + 0.5 * thick[1:-1] + 0.25 * thick[2:]
    return Chain(curve, thick, tag, flatten)


def _v(x: float, y: float, z: float = 0.0) -> Array:
    point: Array = np.array([x, y, z], np.float64)
    return point


def _leg(rng: Rng, body: _Body, joint: Array, hind: bool, pose: str, hoofs: bool) -> list[Chain]:
    """One leg from its joint to the ground, with its paw."""
    r = body.leg_radius
    side = float(np.sign(joint[2])) * 0.02
    knee: Array
    heel: Array
    paw: Array
    if pose == "lie":
        reach = rng.uniform(0.75, 1.0) * body.stand * 0.6
        y = r * 0.8
        if hind:
            knee = joint + _v(0.16, -joint[1] * 0.45 + y * 0.5, side * 4)
            heel = _v(joint[0] - 0.04, y, joint[2] + side * 4)
        else:
            knee = _v(joint[0] - 0.02, y + 0.03, joint[2])
            heel = _v(joint[0] + reach * 0.45, y, joint[2])
        paw = heel + _v(reach * 0.6, 0.0)
    elif pose == "sit" and hind:
        knee = joint + _v(0.24, 0.1, side * 3)
        heel = _v(joint[0] + 0.02, r * 0.9, joint[2] + side * 3)
        paw = heel + _v(0.24, -r * 0.1)
    else:
        drop = joint[1]
        swing = rng.normal(0.0, 0.3) if pose == "walk" else rng.normal(0.0, 0.05)
        foot = _v(joint[0] + np.sin(swing) * drop, r * 0.7, joint[2] + side)
        lift = max(0.0, -swing) * rng.uniform(0, 0.25) * drop if pose == "walk" else 0.0
        foot[1] += lift
        bend = 0.12 * drop
        knee = joint + (foot - joint) * 0.38 + _v(bend if hind else -bend * 0.7, 0)
        heel = joint + (foot - joint) * 0.72 + _v(-bend * (0.9 if hind else -0.1), 0)
        paw = foot
    top = r * (2.1 if hind else 1.7)
    radii = [top, r * 1.45 if hind else r * 1.2, r * 0.75, r * 0.7]
    ankle = paw + _v(-0.005, 0.04 if pose in ("stand", "walk") else 0.0)
    toe = paw + _v(r * (0.4 if hoofs else 0.9), -r * 0.05)
    return [
        chain([joint, knee, heel, ankle], radii, Part.LEG),
        chain([ankle, paw, toe], [r * 0.72, r * (0.85 if hoofs else 0.95), r * 0.7], Part.PAW),
    ]


def _head(
    rng: Rng, body: _Body, build: Build, base: Array, tilt: float
) -> tuple[list[Chain], Marks]:
    """Skull, snout, ears and horns, looking along +x turned by a little, and where eyes are."""
    h, turn = body.head, rng.normal(0.0, 0.35)
    c, s = np.cos(turn), np.sin(turn)
    ahead = _v(c * np.cos(tilt), np.sin(tilt), s * np.cos(tilt))
    left = _v(-s, 0, c)
    up = np.cross(left, ahead)

    def place(x: float, y: float, z: float) -> Array:
        return np.asarray(base + ahead * x + up * y + left * z)

    sr = body.snout_radius
    tip = place(h * 0.75 + body.snout, -h * 0.32, 0)
    bridge = place(h * 0.5, -h * 0.18, 0)
    parts = [
        chain(
            [place(-h * 0.25, -h * 0.05, 0), place(h * 0.2, 0.0, 0)],
            [h * 0.95, h * 0.92],
            Part.FACE,
        ),
        chain([tip, (tip + bridge) / 2, bridge], [sr * 0.82, sr, h * 0.72], Part.FACE),
        chain(
            [tip - up * sr * 0.5 - ahead * sr * 0.4, place(0, -h * 0.45, 0)],
            [sr * 0.6, h * 0.5],
            Part.FACE,
        ),
    ]
    shape = build.ears[int(rng.integers(len(build.ears)))]
    e = body.ear
    for z in (-1.0, 1.0):
        root = place(-h * 0.25, h * 0.62, z * h * 0.55)
        if shape == "pointed":
            end = root + up * e + left * (z * e * 0.22) - ahead * (e * 0.05)
            parts.append(
                chain([root, (root + end) / 2, end], [e * 0.42, e * 0.3, 0.006], Part.EAR, 0.45)
            )
        elif shape == "round":
            end = root + up * e * 0.5 + left * (z * e * 0.4)
            parts.append(chain([root, end], [e * 0.6, e * 0.6], Part.EAR, 0.6))
        elif shape == "sideways":
            end = root + left * (z * e) + up * (e * rng.uniform(-0.3, 0.3))
            middle = root + left * (z * e * 0.5)
            parts.append(chain([root, middle, end], [e * 0.2, e * 0.32, 0.008], Part.EAR, 0.6))
        else:
            low = place(-h * 0.3, h * 0.4 - e, z * h * 1.0)
            middle = place(-h * 0.3, h * 0.45, z * h * 0.98)
            parts.append(chain([root, middle, low], [e * 0.22, e * 0.34, e * 0.26], Part.EAR, 0.5))
    if rng.random() < build.horns:
        grow = body.head * rng.uniform(1.0, 3.2)
        for z in (-1.0, 1.0):
            root = place(-h * 0.2, h * 0.8, z * h * 0.35)
            middle = root + up * grow * 0.4 + left * (z * grow * 0.5)
            end = middle + up * grow * 0.6 + left * (z * grow * 0.1) - ahead * grow * 0.2
            parts.append(chain([root, middle, end], [h * 0.2, h * 0.14, 0.01], Part.HORN))
    eyes = [place(h * 0.62, h * 0.26, z * h * 0.62) for z in (-1.0, 1.0)]
    marks = Marks(
        eyes, h * rng.uniform(0.11, 0.17), tip + ahead * sr * 0.6 + up * sr * 0.3, sr * 0.6
    )
    return parts, marks


def _trunk(body: _Body, rise: float, hip: Array) -> tuple[list[Chain], Array, Array]:
    """The trunk from shoulder to hip, its shoulder point, and its direction."""
    along = _v(np.cos(rise), np.sin(rise))
    shoulder = hip + along * _LONG
    belly = hip + along * (0.5 * _LONG) - _v(0, max(0.0, body.waist - 0.2) * 0.3)
    bulk = [body.chest * 0.86, body.chest, (body.chest + body.waist * 2) / 3]
    bulk += [body.waist * 1.05, body.waist * 0.85]
    knots = [shoulder + along * 0.04, hip + along * (0.78 * _LONG), belly]
    knots += [hip + along * 0.15, hip - along * 0.08]
    return [chain(knots, bulk, Part.TRUNK)], shoulder, along


def _tail(rng: Rng, body: _Body, hip: Array) -> Chain:
    """A tail from the rump, hanging, level or raised, curved."""
    angle, bend = rng.uniform(-1.2, 0.9), rng.normal(0.0, 0.35)
    point: Array = hip + _v(-body.waist * 0.9, body.waist * 0.4)
    points: list[Array] = [point]
    for _ in range(5):
        point = point + _v(-np.cos(angle), np.sin(angle), rng.normal(0, 0.15)) * body.tail / 5
        point[1] = max(point[1], body.tail_radius)
        points.append(point)
        angle += bend
    r = body.tail_radius
    return chain(points, [r, r * 1.1, r * 1.2, r * 1.15, r * 0.9, r * 0.4], Part.TAIL)


def quadruped(rng: Rng, size: int) -> tuple[Array, Array, Array]:
    """One animal; see ``cutouts.CUTOUTS`` for what it returns."""
    build = BUILDS[list(BUILDS)[int(rng.integers(len(BUILDS)))]]
    body = _Body(*(float(rng.uniform(*limits)) for limits in vars(build.body).values()))
    poses = ["stand", "walk", "walk", "lie"] + (["sit"] if build.sits else [])
    pose = poses[int(rng.integers(len(poses)))]
    level, rise = body.stand, 0.0
    if pose == "lie":
        level = body.waist * 0.95
    elif pose == "sit":
        level, rise = body.waist * 1.05, rng.uniform(0.65, 0.95)
    hip = _v(-0.5 * _LONG, level)
    parts, shoulder, along = _trunk(body, rise, hip)
    across = body.chest * 0.55
    if pose == "sit":
        fore = shoulder - along * 0.12 - _v(0, body.chest * 0.3)
    else:
        fore = shoulder - along * 0.06 - _v(0, 0.25 * body.chest)
    for z in (-across, across):
        parts += _leg(rng, body, fore + _v(0, 0, z), False, pose, build.hoofs)
        rear = hip + _v(0.02, 0, z * 0.95)
        parts += _leg(rng, body, rear, True, pose, build.hoofs)
    angle = np.deg2rad(body.neck_angle + (25 if pose == "lie" else 0)) + rise * 0.3
    start = shoulder + _v(-0.04, body.chest * 0.35)
    way = _v(np.cos(angle), np.sin(angle), rng.normal(0, 0.08))
    top = start + way * (body.neck + body.chest * 0.4)
    crest = [top, (start + top) / 2, start - along * 0.1]
    n = body.neck_radius
    parts.append(chain(crest, [n * 0.85, n * 1.1, body.chest * 0.92], Part.TRUNK))
    if build.mane:
        line = [point + _v(-0.02, n * 0.75) for point in crest]
        parts.append(chain(line, [0.05, 0.06, 0.05], Part.TAIL))
    tilt = rng.normal(-0.25, 0.2) - 0.25 * body.snout / 0.3
    face, marks = _head(rng, body, build, top + way * body.head * 0.3, tilt)
    parts += face
    parts.append(_tail(rng, body, hip))
    fur = float(np.exp(rng.uniform(*np.log(build.fur))))
    return draw_animal(rng, parts, marks, fur, build.hoofs, size)
