"""Outdoor scenes: parks and meadows, and streets with houses."""

from __future__ import annotations

import numpy as np

from maskdepth.synthesis.worlds import figures, props, vehicles
from maskdepth.synthesis.worlds.cameras import keep_clear, sample_camera
from maskdepth.synthesis.worlds.lighting import Light
from maskdepth.synthesis.worlds.props import GROUND_AXES, Rng, at, ellipsoid, turned_anyhow
from maskdepth.synthesis.worlds.shapes import Pair, Quad, Shape, moved
from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    Surface,
    courses,
    mix,
    mottled,
    sample_colour,
    sample_field,
    speckled,
    step,
)
from maskdepth.synthesis.worlds.vectors import dot, turn_y
from maskdepth.synthesis.worlds.world import World


def sample_sky(rng: Rng) -> tuple[Light, float]:
    """Weather: sun, sky colours, haze; and how overcast it is (0..1)."""
    overcast = float(np.clip(rng.normal(0.22, 0.4), 0.0, 1.0))
    rise = rng.uniform(0.2, 1.15)
    way = rng.uniform(-np.pi, np.pi)
    sun = np.array([np.sin(way) * np.cos(rise), np.sin(rise), np.cos(way) * np.cos(rise)])
    warm = np.exp(-rise * 2.2)
    colour = np.array([1.0, 0.93 - 0.25 * warm, 0.84 - 0.5 * warm]) * 3.0 * (1.0 - 0.9 * overcast)
    blue = sample_colour(rng, (0.55, 0.62), (0.45, 0.85), (0.5, 0.85))
    grey = sample_colour(rng, (0.5, 0.7), (0.0, 0.12), (0.65, 0.9))
    zenith = mix(blue, grey, np.array(overcast))
    edge = mix(np.array([0.6, 0.74, 0.9]), grey, np.array(overcast))
    edge = mix(edge, np.array([0.95, 0.72, 0.5]), np.array(0.6 * warm * (1 - overcast)))
    clouds = sample_field(rng, rng.uniform(0.8, 2.5), 6, 0.55)
    level = rng.normal(0.6 - 1.2 * overcast, 0.5)
    white = mix(np.array([1.05, 1.05, 1.05]), grey * 1.1, np.array(overcast))

    def sky(rays: Array) -> Array:
        high = np.clip(rays[:, 1], 0.0, 1.0)
        base = mix(edge, zenith, high**0.5)
        spread = 1.0 / (high + 0.12)
        u, v = rays[:, 0] * spread, rays[:, 2] * spread
        thick = clouds.flat(u, v)
        cover = step(thick, level, 1.4) * np.clip(high * 9.0, 0.0, 1.0) * 0.9
        lit = white * np.clip(1.0 - 0.22 * (thick - level), 0.55, 1.05)[:, None]
        glow = np.clip(dot(rays, sun), 0.0, 1.0)
        halo = (0.5 * glow**8 + 2.0 * glow**300) * (1.0 - overcast)
        return np.asarray(mix(base, lit, cover) + halo[:, None] * colour * 0.3)

    light = Light(
        sun_direction=sun,
        sun_colour=colour,
        above=(0.5 * zenith + 0.5 * edge) * (0.75 + 0.5 * overcast),
        below=np.array([0.16, 0.17, 0.11]) * (0.8 + np.max(colour) * 0.3),
        shadow_centre=at(0, 1.0, 16.0),
        shadow_radius=26.0,
        occlusion_centre=at(0, 1.0, 10.0),
        occlusion_radius=16.0,
        sky=sky,
        haze_m=float(np.exp(rng.uniform(np.log(400.0), np.log(3000.0)))),
        haze_colour=edge,
    )
    return light, overcast


def sample_grass(rng: Rng) -> Paint:
    """Turf, from lush to dry, with blades near the camera."""
    lush = sample_colour(rng, (0.17, 0.275), (0.35, 0.66), (0.25, 0.5))
    dry = sample_colour(rng, (0.1, 0.2), (0.25, 0.6), (0.4, 0.7))
    patches = sample_field(rng, rng.uniform(2.0, 9.0), 4, 0.55)
    level = rng.uniform(-0.3, 1.6)
    blades = sample_field(rng, 0.045, 3, 0.8)
    clumps = sample_field(rng, 0.5, 4, 0.7)

    def paint(surface: Surface) -> Array:
        x, z = surface.points[:, 0], surface.points[:, 1]
        colour = mix(lush, dry, step(patches.flat(x, z, surface.footprint), level, 0.9))
        # blades stand, so they extend along the view at a slant
        fine = blades.flat(x, z * 0.45, surface.footprint * 0.7)
        coarse = clumps.flat(x, z * 0.7, surface.footprint)
        return np.clip(colour * np.exp(0.4 * fine + 0.24 * coarse)[:, None], 0, 1)

    return paint


def path_over(
    rng: Rng, ground: Paint, way: Paint, width: float, shift: float, slant: float
) -> Paint:
    """A way across the ground: straight or winding, with a ragged edge."""
    bend = rng.uniform(0.0, 1.2)
    length = rng.uniform(8.0, 25.0)
    phase = rng.uniform(0, 6.3)
    ragged = sample_field(rng, 0.6, 4)

    def paint(surface: Surface) -> Array:
        x, z = surface.points[:, 0], surface.points[:, 1]
        middle = shift + slant * z + bend * np.sin(z / length * 6.3 + phase)
        away = np.abs(x - middle) + 0.12 * ragged.flat(x, z, surface.footprint)
        inside = 1.0 - step(away, width / 2, 0.15 + surface.footprint)
        return mix(ground(surface), way(surface), inside)

    return paint


def ground_plane(paint: Paint, axes: Array = GROUND_AXES) -> Quad:
    """Endless ground through the origin."""
    return Quad(centre=at(0, 0, 0), axes=axes, size=(np.inf, np.inf), paint=paint, casts=False)


def sample_way(rng: Rng) -> Paint:
    """Gravel, soil, asphalt or slabs."""
    kind = rng.random()
    if kind < 0.3:
        return speckled(rng, sample_colour(rng, (0.05, 0.13), (0.1, 0.45), (0.4, 0.8)), 0.06, 0.3)
    if kind < 0.55:
        return speckled(rng, sample_colour(rng, (0.04, 0.1), (0.3, 0.6), (0.25, 0.6)), 0.4, 0.3)
    if kind < 0.8:
        return speckled(rng, sample_colour(rng, (0.5, 0.7), (0.0, 0.1), (0.25, 0.5)), 0.03, 0.2)
    colour = sample_colour(rng, (0.0, 0.15), (0.0, 0.35), (0.45, 0.8))
    size = rng.uniform(0.2, 0.6)
    return courses(rng, colour, colour * 0.5, size, size, gap=0.012, spread=0.12)


def hills(rng: Rng) -> list[Shape]:
    """Far rounded hills, wooded or bare."""
    shapes: list[Shape] = []
    for _ in range(int(rng.integers(2, 6))):
        far = rng.uniform(120.0, 420.0)
        side = rng.uniform(-0.9, 0.9) * far
        colour = sample_colour(rng, (0.13, 0.34), (0.15, 0.5), (0.22, 0.5))
        high = far * rng.uniform(0.05, 0.2)
        place, size = (
            at(side, -high * 0.2, far),
            (far * rng.uniform(0.4, 1.0), high * 1.2, far * 0.35),
        )
        paint = mottled(rng, colour, far * 0.08, 0.35)
        shapes.append(ellipsoid(place, size, paint, rough=0.6, grain=far * 0.04, casts=False))
    return shapes


def _tree(rng: Rng, base: Array, height: float, evergreen: float) -> list[Shape]:
    grow = props.conifer if rng.random() < evergreen else props.broadleaf
    return grow(rng, base, height)


def scatter_figures(rng: Rng, count: int, reach: Pair, animals: float = 0.3) -> list[list[Shape]]:
    """People and animals on level ground in the view, between two distances along z.

    The first shape of each stands at the figure's place.
    """
    pieces: list[list[Shape]] = []
    for _ in range(count):
        z = float(np.exp(rng.uniform(*np.log(reach))))
        spot = at(rng.uniform(-0.5, 0.5) * z, 0, z)
        own = figures.creature(rng) if rng.random() < animals else figures.person(rng)
        pieces.append(turned_anyhow(rng, own, spot))
    return pieces


def park(rng: Rng, height: int, width: int) -> World:
    """Grass, a path, trees near and far, shrubs, fence, benches, hills."""
    light, _ = sample_sky(rng)
    eye = rng.uniform(0.6, 2.1)
    pitch = float(np.clip(rng.normal(0.13, 0.12), -0.05, 0.6))
    camera = sample_camera(rng, height, width, eye, pitch, 0.0)
    ground = sample_grass(rng)
    if rng.random() < 0.75:
        way, wide, shift = sample_way(rng), rng.uniform(1.0, 3.2), rng.normal(0, 1.5)
        ground = path_over(rng, ground, way, wide, shift, rng.normal(0, 0.3))
    shapes = [ground_plane(ground), *hills(rng)]
    evergreen = float(rng.choice([0.0, 0.2, 0.8]))
    for _ in range(int(rng.integers(2, 6))):
        z = rng.uniform(6.0, 24.0)
        x = rng.uniform(-0.62, 0.62) * z
        if abs(x) < 1.0:
            x += np.sign(x) * 1.5
        shapes += _tree(rng, at(x, 0, z), rng.uniform(4.0, 9.0), evergreen)
    far = rng.uniform(35.0, 80.0)
    colour = props.sample_leaf_colour(rng)
    woods = [props.sample_leaves(rng, colour * share, 0.5) for share in (0.75, 1.0)]
    for x in np.arange(-0.9 * far, 0.9 * far, far * 0.04):
        if rng.random() < 0.8:
            size = rng.uniform(1.4, 4.0) * far / 60
            spot = at(x, size * 0.6, far + rng.normal() * 4)
            leaves = woods[int(rng.integers(2))]
            for _ in range(2):
                part = size * rng.uniform(0.6, 0.95)
                place = spot + at(rng.normal() * size * 0.5, rng.uniform(0, 0.9) * size, 0)
                shapes += props.foliage(rng, place, (part, part, part), leaves)[1:]
    shapes += _park_things(rng)
    for piece in scatter_figures(rng, int(rng.choice([0, 1, 1, 2, 3])), (2.0, 14.0)):
        shapes += piece
    return World(shapes, light, camera)


def _park_things(rng: Rng) -> list[Shape]:
    """Shrubs, rocks, a fence, a bench, a lamp, a house: some of them."""
    shapes: list[Shape] = []
    for _ in range(int(rng.integers(0, 5))):
        z = rng.uniform(4.0, 18.0)
        shapes += props.bush(rng, at(rng.uniform(-0.6, 0.6) * z, 0, z), rng.uniform(0.5, 1.4))
    for _ in range(int(rng.integers(0, 4))):
        z = rng.uniform(3.0, 12.0)
        shapes += props.rock(rng, at(rng.uniform(-0.6, 0.6) * z, 0, z), rng.uniform(0.15, 0.6))
    if rng.random() < 0.45:
        z = rng.uniform(6.0, 20.0)
        shapes += props.fence(rng, at(-z, 0, z + rng.normal()), at(z, 0, z + rng.normal() * 2))
    if rng.random() < 0.4:
        z = rng.uniform(5.0, 10.0)
        shapes += props.bench(rng, at(rng.uniform(-0.4, 0.4) * z, 0, z), rng.uniform(-0.7, 0.7))
    if rng.random() < 0.3:
        z = rng.uniform(6.0, 14.0)
        shapes += props.lamp_post(rng, at(rng.uniform(-0.5, 0.5) * z, 0, z))
    if rng.random() < 0.3:
        z = rng.uniform(26.0, 45.0)
        shapes += props.house(rng, at(rng.uniform(-0.5, 0.5) * z, 0, z), rng.uniform(-1.0, 1.0))
    return shapes


def street(rng: Rng, height: int, width: int) -> World:
    """A road between pavements, with houses, trees and lamps along it."""
    light, _ = sample_sky(rng)
    high = rng.random() < 0.15  # a camera on a mast, or at a window
    eye = rng.uniform(3.0, 6.0) if high else rng.uniform(0.9, 2.4)
    pitch = rng.uniform(0.2, 0.6) if high else float(np.clip(rng.normal(0.1, 0.1), -0.1, 0.5))
    yaw = rng.normal(0.0, 0.25)
    camera = sample_camera(rng, height, width, eye, pitch, yaw)
    half = rng.uniform(2.4, 4.0)
    shift = rng.uniform(-half - 1.5, half + 1.5)
    grey = sample_colour(rng, (0.5, 0.7), (0.0, 0.08), (0.22, 0.45))
    road = speckled(rng, grey, 0.05, 0.16)
    walk = rng.uniform(1.5, 2.6)
    slab = sample_colour(rng, (0.0, 0.15), (0.0, 0.2), (0.5, 0.75))
    pavement = courses(rng, slab, slab * 0.5, 0.6, 0.4, gap=0.012, spread=0.08)
    paint = _marked_road(rng, road, sample_grass(rng), shift, half + walk)
    shapes: list[Shape] = [ground_plane(paint)]
    kerb = 0.12
    for sign in (-1.0, 1.0):
        middle = at(shift + sign * (half + walk / 2), kerb / 2, 60.0)
        shapes.append(props.block(middle, (walk, kerb, 150.0), pavement))
        z = rng.uniform(6.0, 12.0)
        setback = half + walk + rng.uniform(4.0, 8.0)
        while z < 75.0:
            if rng.random() < 0.85:
                place = at(shift + sign * (setback + 3.0), 0, z)
                shapes += props.house(rng, place, np.pi / 2 + rng.normal(0, 0.03))
            z += rng.uniform(11.0, 17.0)
        z = rng.uniform(4.0, 9.0)
        evergreen = float(rng.random() < 0.2)
        while z < 34.0:
            spot = at(shift + sign * (half + walk - 0.5), kerb, z)
            kind = rng.random()
            if kind < 0.45:
                shapes += _tree(rng, spot, rng.uniform(3.5, 6.5), evergreen)
            elif kind < 0.7:
                shapes += props.lamp_post(rng, spot)
            elif kind < 0.85:
                shapes += props.bush(rng, spot + at(sign * 1.5, -kerb, 0), rng.uniform(0.6, 1.3))
            z += rng.uniform(5.0, 9.0)
    shapes += hills(rng)
    shapes += keep_clear(_traffic(rng, shift, half, walk), camera.position, 0.4)
    return World(shapes, light, camera)


def _traffic(rng: Rng, shift: float, half: float, walk: float) -> list[list[Shape]]:
    """Parked and moving vehicles, bicycles, people on the pavements and across the road."""
    pieces: list[list[Shape]] = []
    for sign in (-1.0, 1.0):
        z = rng.uniform(3.0, 14.0)
        while z < 45.0:
            if rng.random() < 0.4:
                spot = at(shift + sign * (half - 1.0 - rng.uniform(0, 0.2)), 0, z)
                turn = turn_y(sign * np.pi / 2 + rng.normal(0, 0.04))
                pieces.append(moved(vehicles.vehicle(rng), spot, turn))
            z += rng.uniform(5.5, 12.0)
    for _ in range(int(rng.integers(0, 3))):
        spot = at(shift + rng.uniform(-0.3, 0.3) * half, 0, rng.uniform(7.0, 40.0))
        turn = turn_y(rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.1))
        pieces.append(moved(vehicles.vehicle(rng), spot, turn))
    for _ in range(int(rng.integers(0, 6))):
        side = rng.choice([-1.0, 1.0])
        x = shift + side * (half + rng.uniform(0.3, 0.8) * walk)
        spot = at(x, 0.12, float(np.exp(rng.uniform(*np.log([2.5, 25.0])))))
        kind = rng.random()
        own = figures.creature(rng, 0.5) if kind < 0.1 else figures.person(rng)
        if 0.1 < kind < 0.2:
            own = vehicles.bicycle(rng)
        pieces.append(turned_anyhow(rng, own, spot))
    return pieces


def _marked_road(rng: Rng, road: Paint, verge: Paint, shift: float, half: float) -> Paint:
    """Asphalt with a dashed middle line; grass beyond the pavements."""
    dashed = rng.random() < 0.7
    white = sample_colour(rng, (0.1, 0.16), (0.0, 0.3), (0.75, 0.95))
    wear = sample_field(rng, 0.3, 4)

    def paint(surface: Surface) -> Array:
        x, z = surface.points[:, 0] - shift, surface.points[:, 1]
        colour = road(surface)
        line = 1.0 - step(np.abs(x), 0.06, 0.02 + surface.footprint)
        if dashed:
            line = line * step(np.abs(np.mod(z, 6.0) - 3.0), 1.5, 0.1 + surface.footprint)
        worn = step(wear.flat(x, z, surface.footprint), -0.8, 1.0)
        colour = mix(colour, white, line * worn * 0.85)
        outside = step(np.abs(x), half, 0.05 + surface.footprint)
        return mix(colour, verge(surface), outside)

    return paint
