"""Yards between walls, and open fields: ground that slopes, with steps, fences, water, animals."""

from __future__ import annotations

import numpy as np

from maskdepth.synthesis.worlds import clutter, furniture, objects, props, vehicles
from maskdepth.synthesis.worlds.cameras import keep_clear, sample_camera
from maskdepth.synthesis.worlds.outdoor import (
    ground_plane,
    hills,
    path_over,
    sample_grass,
    sample_sky,
    sample_way,
    scatter_figures,
)
from maskdepth.synthesis.worlds.prints import chequered
from maskdepth.synthesis.worlds.props import (
    GROUND_AXES,
    Rng,
    at,
    block,
    pick,
    plain,
    rod,
    sample_wall,
    tapered,
    turned_anyhow,
)
from maskdepth.synthesis.worlds.shapes import Quad, Shape, moved
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    Surface,
    courses,
    lines,
    mix,
    mottled,
    patchy,
    sample_colour,
    sample_field,
    step,
)
from maskdepth.synthesis.worlds.vectors import turn_y
from maskdepth.synthesis.worlds.world import World


def _sample_paving(rng: Rng) -> Paint:
    """Concrete, slabs, setts, chequered stone, soil or gravel; worn in places."""
    kind = rng.random()
    if kind < 0.35:
        return sample_way(rng)
    grey = sample_colour(rng, (0.0, 0.15), (0.0, 0.25), (0.3, 0.8))
    if kind < 0.45:
        return chequered(rng, grey, grey * 0.6, rng.uniform(0.3, 0.6))
    if kind < 0.75:
        size = rng.uniform(0.1, 0.5)
        stone = courses(rng, grey, grey * 0.45, size * 1.6, size, gap=0.012, spread=0.14)
        return patchy(rng, stone, sample_grass(rng), 2.0, rng.uniform(0.8, 2.0))
    return mottled(rng, grey, 1.2, 0.12)


def wheelie_bin(rng: Rng) -> list[Shape]:
    """A rubbish bin on wheels, its front towards -z."""
    paint = plain(sample_colour(rng, (0.0, 1.0), (0.0, 0.8), (0.08, 0.6)))
    lid = plain(sample_colour(rng, (0.0, 1.0), (0.0, 0.9), (0.08, 0.8)))
    wide, tall = rng.uniform(0.24, 0.5), rng.uniform(0.85, 1.15)
    foot, rim = (wide * 0.8, 0.24), (wide, 0.33)
    shapes: list[Shape] = [
        tapered(at(0, 0.06, 0), foot, rim, tall - 0.1, paint, (0.0, 0.03), gloss=0.2),
        tapered(at(0, tall - 0.04, 0.03), (wide * 1.05, 0.37), (wide * 0.9, 0.28), 0.08, lid),
    ]
    black = plain(np.array([0.01] * 3))
    for x in (-wide, wide):
        wheel = at(x * 0.8, 0.1, 0.24)
        shapes.append(rod(wheel, wheel + at(np.sign(x) * 0.05, 0, 0), (0.1, 0.1), black))
    return shapes


def steps(rng: Rng) -> list[Shape]:
    """A flight of steps that rises towards z, with a landing, and perhaps a rail."""
    stone = _sample_paving(rng)
    count, wide = int(rng.integers(2, 8)), rng.uniform(1.0, 3.5)
    rise, tread = rng.uniform(0.13, 0.19), rng.uniform(0.27, 0.38)
    shapes: list[Shape] = []
    long = 1.4
    for number in range(count):
        front = number * tread
        deep = (count - number) * tread + long
        size = (wide, rise, deep)
        place = at(0, (number + 0.5) * rise, front + deep / 2)
        shapes.append(block(place, size, stone))
    if rng.random() < 0.6:
        metal = plain(sample_colour(rng, (0, 1), (0, 0.3), (0.05, 0.7)))
        x = wide / 2 - 0.05
        low, high = at(x, 0.95, 0.1), at(x, 0.95 + count * rise, count * tread)
        shapes.append(rod(low, high, (0.022, 0.022), metal))
        for share in np.linspace(0, 1, count):
            top = low + (high - low) * share
            shapes.append(rod(top - at(0, 0.95, 0), top, (0.014, 0.014), metal))
    return shapes


def _stack(rng: Rng) -> list[Shape]:
    """Logs, bricks on a pallet, or crates."""
    kind = int(rng.integers(3))
    if kind == 0:
        bark = mottled(rng, sample_colour(rng, (0.04, 0.1), (0.2, 0.6), (0.2, 0.6)), 0.1, 0.4)
        radius = rng.uniform(0.06, 0.13)
        shapes: list[Shape] = []
        for row in range(int(rng.integers(2, 6))):
            for number in range(7 - row):
                start = at((number + row / 2 - 3) * 2 * radius, radius * (1 + 1.75 * row), -0.5)
                shapes.append(rod(start, start + at(0, 0, 1.0), (radius, radius), bark, rough=0.3))
        return shapes
    if kind == 1:
        colour = sample_colour(rng, (0.98, 1.1), (0.1, 0.6), (0.35, 0.8))
        brick = courses(rng, colour, colour * 0.3, 0.25, 0.075, gap=0.006, spread=0.15)
        wood = furniture.sample_wood(rng)
        high = rng.uniform(0.3, 1.1)
        return [
            block(at(0, 0.07, 0), (1.1, 0.12, 0.9), wood),
            block(at(0, 0.13 + high / 2, 0), (1.0, high, 0.8), brick),
        ]
    return objects.carton(rng)


def _walls(rng: Rng, far: float) -> list[Shape]:
    """A house across the far end, and walls, fences or hedges at the sides."""
    shapes: list[Shape] = []
    shapes += props.house(rng, at(rng.normal(0, 1.5), 0, far + 4.0), rng.normal(0, 0.25))
    for sign in (-1.0, 1.0):
        x, skew = sign * rng.uniform(2.5, 7.0), rng.normal(0, 1.0)
        start, end = at(x, 0, -2.0), at(x + skew, 0, far + 3.0)
        kind = rng.random()
        if kind < 0.2:
            continue
        if kind < 0.55:
            tall = rng.uniform(0.6, 2.8)
            along = end - start
            turn = turn_y(float(np.arctan2(-along[2], along[0])))
            middle = (start + end) / 2 + at(0, tall / 2, 0)
            size = (float(np.linalg.norm(along)), tall, 0.22)
            shapes.append(block(middle, size, sample_wall(rng), turn))
            size = (size[0], 0.06, 0.3)
            cap = plain(sample_colour(rng, (0, 0.15), (0, 0.2), (0.3, 0.8)))
            shapes.append(block(middle + at(0, tall / 2, 0), size, cap, turn))
        elif kind < 0.8:
            shapes += props.fence(rng, start, end)
        else:
            for z in np.arange(1.5, far, 1.3):
                spot = start + (end - start) * ((z + 2.0) / (far + 5.0))
                shapes += props.bush(rng, spot, rng.uniform(0.9, 2.0))[::2]
    return shapes


def yard(rng: Rng, height: int, width: int) -> World:
    """A paved yard behind a house: walls, steps, bins, stacks, a vehicle, people, a dog."""
    light, _ = sample_sky(rng)
    far = rng.uniform(5.0, 15.0)
    eye = float(np.clip(rng.normal(1.5, 0.45), 0.5, 3.0))
    pitch = float(np.clip(rng.normal(0.2, 0.16), -0.08, 0.7))
    camera = sample_camera(rng, height, width, eye, pitch, rng.normal(0, 0.35))
    ground = Quad(
        centre=at(0, 0, 0), axes=GROUND_AXES, size=(np.inf, np.inf), paint=_sample_paving(rng)
    )
    pieces: list[list[Shape]] = [[shape] for shape in _walls(rng, far)]
    makers = [wheelie_bin, wheelie_bin, _stack, clutter.bag, objects.marker, objects.carton]
    makers += [lambda rng: furniture.plant(rng, at(0, 0, 0), rng.uniform(0.5, 1.4))]
    makers += [furniture.chair, vehicles.bicycle, props.bench, objects.ball]
    for _ in range(int(rng.integers(3, 11))):
        z = rng.uniform(1.2, far - 0.5)
        spot = at(rng.uniform(-0.55, 0.55) * (z + 1.5), 0, z)
        pieces.append(turned_anyhow(rng, pick(rng, makers)(rng), spot))
    if rng.random() < 0.5:
        spot = at(rng.uniform(-2.5, 2.5), 0, rng.uniform(0.5, 0.8) * far)
        pieces.append(moved(steps(rng), spot, turn_y(rng.normal(0, 0.7))))
    if rng.random() < 0.55:
        spot = at(rng.choice([-1, 1]) * rng.uniform(1.2, 4.0), 0, rng.uniform(3.0, far))
        pieces.append(turned_anyhow(rng, vehicles.vehicle(rng), spot))
    if rng.random() < 0.4:
        spot = at(rng.choice([-1, 1]) * rng.uniform(2, 5), 0, rng.uniform(3.0, far))
        pieces.append(props.broadleaf(rng, spot, rng.uniform(3.0, 6.0)))
    pieces += scatter_figures(rng, int(rng.choice([0, 1, 1, 2])), (1.5, far))
    shapes: list[Shape] = [ground]
    shapes += keep_clear(pieces, camera.position, 0.2)
    return World(shapes, light, camera)


def _water(rng: Rng, ground: Paint, near: float, slant: float) -> Paint:
    """Ground that ends in water ``near`` metres away; the water takes the colour of the sky."""
    blue = sample_colour(rng, (0.5, 0.62), (0.05, 0.5), (0.3, 0.8))
    sand = sample_colour(rng, (0.07, 0.12), (0.1, 0.5), (0.4, 0.85))
    ragged, ripple = sample_field(rng, 3.0, 5, 0.55), sample_field(rng, 0.8, 4, 0.7)

    def paint(surface: Surface) -> Array:
        x, z = surface.points[:, 0], surface.points[:, 1]
        into = z - near - slant * x + 0.7 * ragged.flat(x, z, surface.footprint)
        colour = mix(ground(surface), sand, step(into, -0.7, 1.0))
        waves = np.exp(0.2 * ripple.flat(x * 0.3, z, surface.footprint))[:, None]
        return np.clip(mix(colour, blue * waves, step(into, 0.0, 0.15)), 0, 1)

    return paint


def _furrowed(rng: Rng, soil: Paint, crop: Paint) -> Paint:
    """Soil with rows of a crop, or bare furrows."""
    period, lit = rng.uniform(0.25, 0.9), rng.uniform(0.15, 0.5)
    bend = sample_field(rng, 6.0, 2)
    angle, grown = rng.uniform(-1.5, 1.5), rng.uniform(0.1, 0.7) * (rng.random() < 0.6)
    cos, sin = np.cos(angle), np.sin(angle)

    def paint(surface: Surface) -> Array:
        x, z = surface.points[:, 0], surface.points[:, 1]
        across = x * cos + z * sin + 0.1 * bend.flat(x, z, surface.footprint)
        fade = np.clip(1.5 - 2.0 * surface.footprint / period, 0.0, 1.0)
        shade = np.exp(lit * fade * np.sin(across * 2 * np.pi / period))[:, None]
        row = lines(across, period, period * grown, surface.footprint)
        return np.asarray(np.clip(mix(soil(surface) * shade, crop(surface), row), 0, 1))

    return paint


def _bale(rng: Rng) -> list[Shape]:
    """A round bale of straw, or a milestone."""
    straw = mottled(rng, sample_colour(rng, (0.1, 0.15), (0.3, 0.6), (0.5, 0.9)), 0.08, 0.3)
    radius, wide = rng.uniform(0.5, 0.75), rng.uniform(0.9, 1.3)
    start = at(-wide / 2, radius, 0)
    return [rod(start, start + at(wide, 0, 0), (radius, radius), straw, rough=0.4, grain=0.1)]


def _hedge(rng: Rng, z: float, slope: Array) -> list[Shape]:
    """A row of shrubs across the view."""
    leaves = props.sample_leaves(rng, props.sample_leaf_colour(rng), 0.15)
    tall, skew = rng.uniform(0.8, 2.2), rng.normal(0, 0.15)
    shapes: list[Shape] = []
    for x in np.arange(-0.9 * z, 0.9 * z, tall * 0.7):
        spot = at(x, 0, z + skew * x + rng.normal(0, 0.2))
        spot[1] = spot[[0, 2]] @ slope + tall * 0.45
        size = tall * rng.uniform(0.45, 0.6)
        shapes += props.foliage(rng, spot, (size * 1.2, size, size), leaves)[1:]
    return shapes


def _posts(rng: Rng, slope: Array) -> list[Shape]:
    """Fence posts with wires along a line across the field."""
    wood = mottled(rng, sample_colour(rng, (0.05, 0.11), (0.1, 0.5), (0.25, 0.6)), 0.1, 0.3)
    wire = plain(np.array([0.15] * 3))
    z, skew, tall = rng.uniform(2.5, 9.0), rng.normal(0, 0.6), rng.uniform(0.9, 1.4)
    tops: list[Array] = []
    shapes: list[Shape] = []
    for x in np.arange(-1.2 * z - 3.0, 1.2 * z + 3.0, rng.uniform(1.6, 3.0)):
        foot = at(x, 0, z + skew * x)
        if foot[2] < 1.0:
            continue
        foot[1] = foot[[0, 2]] @ slope
        top = foot + at(rng.normal(0, 0.03), tall, rng.normal(0, 0.03))
        shapes.append(rod(foot - at(0, 0.1, 0), top, (0.055, 0.045), wood, rough=0.2))
        for level in (0.25, 0.5, 0.75) if tops else ():
            one, two = (tops[-1] - at(0, tall * level, 0), top - at(0, tall * level, 0))
            shapes.append(rod(one, two, (0.004, 0.004), wire))
        tops.append(top)
    return shapes


def field(rng: Rng, height: int, width: int) -> World:
    """Open land that slopes, with a path, posts, rocks, hedges, animals, hills, water at times."""
    light, _ = sample_sky(rng)
    slope = rng.normal(0, 0.05, 2)  # metres a metre, along x and z
    eye = float(np.clip(rng.normal(1.5, 0.4), 0.4, 2.6))
    pitch = float(np.clip(rng.normal(0.08, 0.12), -0.15, 0.5)) - float(np.arctan(slope[1]))
    camera = sample_camera(rng, height, width, eye, pitch, rng.normal(0, 0.3))
    ground = sample_grass(rng)
    if rng.random() < 0.35:
        soil = sample_colour(rng, (0.04, 0.1), (0.2, 0.55), (0.25, 0.6))
        ground = _furrowed(rng, mottled(rng, soil, 0.15, 0.3), ground)
    if rng.random() < 0.6:
        wide, shift = rng.uniform(0.6, 3.0), rng.normal(0, 1.5)
        ground = path_over(rng, ground, sample_way(rng), wide, shift, rng.normal(0, 0.4))
    if rng.random() < 0.35:
        ground = _water(rng, ground, rng.uniform(5.0, 25.0), rng.normal(0, 0.3))
        slope = slope * 0.0
    normal = at(-slope[0], 1.0, -slope[1])
    across = at(1.0, slope[0], 0.0) / np.hypot(1.0, slope[0])
    normal = normal / np.linalg.norm(normal)
    axes = np.stack([across, np.cross(across, normal), -normal])
    shapes = [ground_plane(ground, axes), *hills(rng)]
    pieces: list[list[Shape]] = [_posts(rng, slope)] if rng.random() < 0.6 else []
    pieces += [
        props.rock(rng, _spot(rng, slope, 1.5, 16.0), rng.uniform(0.1, 0.7))
        for _ in range(int(rng.integers(1, 9)))
    ]
    hedges = rng.uniform(14.0, 60.0, int(rng.integers(0, 4)))
    pieces += [_hedge(rng, float(z), slope) for z in hedges]
    for _ in range(int(rng.integers(0, 4))):
        spot = _spot(rng, slope, 6.0, 40.0)
        pieces.append(props.broadleaf(rng, spot, rng.uniform(3.0, 9.0)))
    for _ in range(int(rng.integers(0, 4))):
        spot = _spot(rng, slope, 3.0, 30.0)
        bale = rng.random() < 0.5
        own = _bale(rng) if bale else props.bush(rng, at(0, 0, 0), rng.uniform(0.3, 1.2))
        pieces.append(turned_anyhow(rng, own, spot))
    for piece in scatter_figures(rng, int(rng.choice([0, 1, 2, 4])), (2.0, 15.0), 0.75):
        spot = piece[0].centre
        pieces.append(moved(piece, at(0, float(spot[[0, 2]] @ slope), 0), np.eye(3)))
    shapes += keep_clear(pieces, camera.position, 0.25)
    return World(shapes, light, camera)


def _spot(rng: Rng, slope: Array, near: float, far: float) -> Array:
    """A point (3,) of sloping ground in the view, nearer ones as likely as farther ones."""
    z = float(np.exp(rng.uniform(np.log(near), np.log(far))))
    x = rng.uniform(-0.7, 0.7) * z
    return at(x, float(np.array([x, z]) @ slope), z)
