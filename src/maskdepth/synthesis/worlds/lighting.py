"""Light on ray-cast shapes: sun, sky, lamps and haze.

The sun casts shadows, by a depth map from its direction. The light of the sky is occluded, by such
depth maps from several directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds.raycast import Camera, trace
from maskdepth.synthesis.worlds.shapes import Shape
from maskdepth.synthesis.worlds.textures import Array, Field, Surface, sample_field
from maskdepth.synthesis.worlds.vectors import dot, frame_along, turn, unit

SUPERSAMPLING = 2
_OCCLUSION_TEXELS = 112  # a side of the maps in which the sky is hidden
_BORDER = 4  # texels around a shadow map, twice as many as a tap may lie aside


@dataclass(frozen=True)
class Lamp:
    """A small light without shadow of its own; falls off with distance."""

    position: Array  # (3,) metres
    colour: Array  # (3,) at one metre


@dataclass(frozen=True)
class Light:
    """The light of a world.

    Attributes:
        sun_direction: (3,) unit, towards the sun.
        sun_colour: (3,) linear.
        above, below: (3,) ambient light from above and from underneath.
        shadow_centre, shadow_radius: the ball in which shadows are cast, (3,) and metres.
        occlusion_centre, occlusion_radius: the ball in which ambient light is occluded.
        haze_m: distance at which haze takes 63 % of the colour; inf for none.
        haze_colour: (3,) linear.
        corners: lowest and highest corner (3,) of a room, whose edges are darker.
        sky: linear colour (N, 3) of world directions (N, 3), where a ray meets nothing.
    """

    sun_direction: Array
    sun_colour: Array
    above: Array
    below: Array
    shadow_centre: Array
    shadow_radius: float
    occlusion_centre: Array
    occlusion_radius: float
    sky: Callable[[Array], Array]
    haze_m: float = np.inf
    haze_colour: Array = field(default_factory=lambda: np.ones(3))
    lamps: tuple[Lamp, ...] = ()
    corners: tuple[Array, Array] | None = None


class ShadowMap:
    """A depth map by parallel rays from ``direction``, which tells what lies in the shadow."""

    def __init__(
        self,
        shapes: Sequence[Shape],
        direction: Array,
        centre: Array,
        radius: float,
        size: int,
        *,
        cuts: bool = True,
    ) -> None:
        forward = -np.asarray(direction, np.float64)
        axes = frame_along(forward)[[0, 2, 1]]
        self.texel = 2.0 * radius / size
        start = centre - forward * radius * 8.0
        middle = (size - 1) / 2.0
        self.camera = Camera(start, axes, 1.0 / self.texel, (middle, middle), parallel=True)
        steps = np.arange(size, dtype=np.float32)
        depth, _ = trace(self.camera, shapes, steps, steps, cuts=cuts)
        # nothing casts beyond the map
        self.reach = np.full((size + 2 * _BORDER,) * 2, np.inf, np.float32)
        inside = slice(_BORDER, _BORDER + size)
        np.add(depth, np.float32(self.texel), out=self.reach[inside, inside])

    def visible(self, points: Array, normals: Array, taps: Array) -> Array:
        """Share of the light that reaches points (N, 3): mean over taps (K, 2) in texels."""
        lifted = points + normals * np.float32(1.5 * self.texel)
        u, v, t = self.camera.project(lifted)
        across = self.reach.shape[0]
        # half of the border away from both ends, so that no tap leaves it; and half for rounding
        low, high = _BORDER / 2, across - 1 - _BORDER / 2
        u, v = (np.clip(each + np.float32(_BORDER + 0.5), low, high) for each in (u, v))
        reach, total = self.reach.ravel(), np.zeros(len(points), np.float32)
        for du, dv in taps.astype(np.float32):
            column, row = (u + du).astype(np.int32), (v + dv).astype(np.int32)
            total += reach[row * across + column] >= t
        return total / np.float32(len(taps))


def _spiral(count: int, radius: float) -> Array:
    """``count`` points that fill a disc evenly (Vogel's sunflower)."""
    number = np.arange(count) + 0.5
    angle = number * np.pi * (3.0 - np.sqrt(5.0))
    away = radius * np.sqrt(number / count)
    return np.stack([away * np.cos(angle), away * np.sin(angle)], axis=1)


def _sky_directions(count: int) -> Array:
    """Unit directions over the upper half space, denser towards the zenith."""
    x, z = _spiral(count, 0.97).T
    return np.stack([x, np.sqrt(1.0 - x * x - z * z), z], axis=1)


_BUMP: tuple[Field, ...] = tuple(
    sample_field(np.random.Generator(np.random.Philox(key=7 + i)), 1.0, 1) for i in range(3)
)


def _bump(normal: Array, world: Array, footprint: Array, rough: Array, grain: Array) -> None:
    """Tilt the normals (N, 3) in place by noise where the surface is rough."""
    rows = np.flatnonzero(rough)
    if not len(rows):
        return
    scaled, finest = world[rows] / grain[rows, None], footprint[rows] / grain[rows]
    tilt = np.stack([part.solid(scaled, finest) for part in _BUMP], axis=1)
    normal[rows] = unit(normal[rows] + rough[rows, None] * tilt)


@dataclass(frozen=True)
class _Hits:
    """The points that rays hit, one in a row, sorted by shape."""

    albedo: Array
    normal: Array
    world: Array
    leafy: Array
    gloss: Array
    glow: Array


def _gather(
    camera: Camera, shapes: Sequence[Shape], rays: Array, index: NDArray[np.int32], t: Array
) -> _Hits:
    """Albedo and normals of the hits."""
    world = camera.position.astype(np.float32) + rays * t[:, None]
    present, starts, counts = np.unique(index, return_index=True, return_counts=True)
    here = [shapes[int(number)] for number in present]

    def of_hits(count: int, values: Sequence[Any]) -> Array:
        """Values of each shape, ``count`` numbers each, as (count, N) for the hits."""
        table = np.array(values, np.float32).reshape(len(here), count)
        return np.repeat(table.T, counts, axis=1)

    axes = of_hits(9, [shape.axes for shape in here]).reshape(3, 3, len(index))
    own = turn(world - of_hits(3, [shape.centre for shape in here]).T, axes)
    local = np.empty_like(own)
    painted: dict[int, list[NDArray[np.int64]]] = {}
    for shape, start, count in zip(here, starts.tolist(), counts.tolist(), strict=True):
        local[start : start + count] = shape.normals(own[start : start + count])
        painted.setdefault(id(shape.paint), []).append(np.arange(start, start + count))
    normal = turn(local, axes.transpose(1, 0, 2))
    points = own + of_hits(3, [shape.offset for shape in here]).T
    leafy, gloss, glow, rough, grain, shade = of_hits(
        6, [(s.leafy, s.gloss, s.glow, s.rough, s.grain, s.shade) for s in here]
    )
    toward = unit(camera.position.astype(np.float32) - world)
    facing = dot(normal, toward)
    away = facing < 0.0
    local[away], normal[away] = -local[away], -normal[away]
    footprint = t / np.float32(camera.focal) / np.maximum(np.abs(facing), 0.03) ** 0.7
    albedo = np.empty_like(own)
    paints = {id(shape.paint): shape.paint for shape in here}
    for key, parts in painted.items():  # one call a paint: a crown has dozens of shapes
        some = np.concatenate(parts)
        surface = Surface(points[some], world[some], local[some], footprint[some])
        albedo[some] = paints[key](surface)
    albedo *= shade[:, None]
    _bump(normal, world, footprint, rough, grain)
    return _Hits(albedo, normal, world, leafy, gloss, glow)


def _large_near(shapes: Sequence[Shape], centre: Array, radius: float, size: float) -> list[Shape]:
    """The shapes that reach into a ball, without those too small to cover a ``size``."""
    if not shapes:
        return []
    corners = np.stack([shape.corners for shape in shapes])  # (N, 8, 3)
    middle = corners.mean(axis=1)
    with np.errstate(invalid="ignore"):
        reach = np.linalg.norm(corners - middle[:, None], axis=2).max(axis=1)
        away = np.linalg.norm(middle - centre, axis=1)
        keep = ~((reach < 0.6 * size) | (away - reach > 1.5 * radius))
    return [shape for shape, kept in zip(shapes, keep, strict=True) if kept]


def _occlusion(shapes: Sequence[Shape], light: Light, points: Array, normals: Array) -> Array:
    """Share of the sky (N,) that shapes do not hide from points, by a few directions."""
    texel = 2.0 * light.occlusion_radius / _OCCLUSION_TEXELS
    casting = _large_near(
        [shape for shape in shapes if shape.casts and not shape.room],
        light.occlusion_centre,
        light.occlusion_radius,
        texel,
    )
    total = np.full(len(points), 0.3, np.float32)
    weight = np.full(len(points), 0.3, np.float32)
    for direction in _sky_directions(5):
        share = np.clip(dot(normals, direction) + 0.25, 0.0, 1.0)
        # at this size leaves are finer than a texel, so crowns are taken as solid
        maps = ShadowMap(
            casting,
            direction,
            light.occlusion_centre,
            light.occlusion_radius,
            _OCCLUSION_TEXELS,
            cuts=False,
        )
        total += share * maps.visible(points, normals, _spiral(3, 1.4))
        weight += share
    share = total / weight
    if light.corners is not None:
        for axis in range(3):
            for bound in light.corners:
                away = np.abs(points[:, axis] - np.float32(bound[axis]))
                across = 1.0 - np.abs(normals[:, axis])
                share = share * (1.0 - np.float32(0.38) * across * np.exp(away / -0.35))
    return np.asarray(share)


def _lit(hits: _Hits, light: Light, camera: Camera, sun: Array, sky: Array) -> Array:
    """Linear colour (N, 3) of the hits."""
    toward_sun = light.sun_direction.astype(np.float32)
    slope = dot(hits.normal, toward_sun)
    through = np.clip((slope + 0.6) / 1.6, 0.0, 1.0)
    direct = (1.0 - hits.leafy) * np.clip(slope, 0.0, None) + hits.leafy * through
    up = (0.5 + 0.5 * hits.normal[:, 1])[:, None]
    sun_colour, above = light.sun_colour.astype(np.float32), light.above.astype(np.float32)
    below = light.below.astype(np.float32)
    ambient = (below + (above - below) * up) * sky[:, None]
    total = (direct * sun)[:, None] * sun_colour + ambient
    for lamp in light.lamps:
        away = lamp.position.astype(np.float32) - hits.world
        square = dot(away, away)
        facing = dot(away, hits.normal) / np.sqrt(square)
        strength = np.clip(0.2 + 0.8 * facing, 0.0, None) / (square + 0.15)
        total = total + (strength * (0.4 + 0.6 * sky))[:, None] * lamp.colour.astype(np.float32)
    colour = hits.albedo * (total + hits.glow[:, None])
    shiny = np.flatnonzero(hits.gloss)
    if len(shiny):
        colour[shiny] += _reflected(hits, shiny, light, camera, sun[shiny], sky[shiny])
    return np.asarray(colour, np.float32)


def _reflected(
    hits: _Hits, rows: NDArray[Any], light: Light, camera: Camera, sun: Array, sky: Array
) -> Array:
    """Highlight of the sun (Blinn 1977) and sheen of the sky (Schlick 1994) of glossy hits."""
    normal = hits.normal[rows]
    eye = unit(camera.position.astype(np.float32) - hits.world[rows])
    halfway = unit(eye + light.sun_direction.astype(np.float32))
    shine = 2.0 * np.clip(dot(halfway, normal), 0.0, 1.0) ** 60 * sun
    facing = np.clip(dot(eye, normal), 0.0, 1.0)
    mirror = (0.04 + 0.5 * (1.0 - facing) ** 5) * sky
    gloss = hits.gloss[rows]
    sun_part = (gloss * shine)[:, None] * light.sun_colour
    return np.asarray(sun_part + (gloss * mirror)[:, None] * light.above)


def _first_of_pixel(index: NDArray[np.int32]) -> NDArray[np.int8]:
    """For each sample (P, S) of a pixel, the first sample of that pixel that met the same shape."""
    samples = np.ascontiguousarray(index.T)
    first = np.repeat(np.arange(len(samples), dtype=np.int8)[:, None], len(index), axis=1)
    for later in range(1, len(samples)):
        for earlier in range(later - 1, -1, -1):
            np.copyto(first[later], first[earlier], where=samples[later] == samples[earlier])
    return np.ascontiguousarray(first.T)


def render_linear(
    shapes: Sequence[Shape], light: Light, camera: Camera, height: int, width: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Linear light (H, W, S, 3) and hits (H, W, S) of the S samples of every pixel.

    Visibility is found for every sample; light and texture once for each shape in a pixel, since
    textures are already filtered to a pixel's footprint. ``camera`` is in pixels, whose centres
    have integer coordinates.
    """
    fine, samples = SUPERSAMPLING, SUPERSAMPLING**2
    u = ((np.arange(width * fine) + 0.5) / fine - 0.5).astype(np.float32)
    v = ((np.arange(height * fine) + 0.5) / fine - 0.5).astype(np.float32)

    def by_pixel(grid: NDArray[Any]) -> NDArray[Any]:
        blocks = grid.reshape(height, fine, width, fine).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(blocks).reshape(-1, samples)

    t, found = trace(camera, shapes, u, v)
    index = by_pixel(found)
    first = _first_of_pixel(index)
    fresh = np.flatnonzero(first == np.arange(samples))
    fresh = fresh[np.argsort(index.ravel()[fresh], kind="stable")]
    number = index.ravel()[fresh]
    pixel, sample = np.divmod(fresh, samples)
    across = (u[pixel % width * fine + sample % fine] - camera.centre[0]) / camera.focal
    along = (v[pixel // width * fine + sample // fine] - camera.centre[1]) / camera.focal
    ahead = np.stack([across, along, np.ones_like(across)], axis=1).astype(np.float32)
    rays = turn(ahead, camera.axes.T)
    empty = int(np.searchsorted(number, 0))
    colour = np.zeros((index.size, 3), np.float32)
    if empty:
        colour[fresh[:empty]] = light.sky(unit(rays[:empty]))
    depth = by_pixel(t).ravel()[fresh[empty:]]
    hits = _gather(camera, shapes, rays[empty:], number[empty:], depth)
    colour[fresh[empty:]] = _shaded(shapes, light, camera, hits, pixel[empty:], sample[empty:])
    if np.isfinite(light.haze_m):
        away = depth * np.sqrt(dot(rays[empty:], rays[empty:]))
        veil = (1.0 - np.exp(away * np.float32(-1.0 / light.haze_m)))[:, None]
        clear = colour[fresh[empty:]]
        colour[fresh[empty:]] = clear + (light.haze_colour.astype(np.float32) - clear) * veil
    source = first + np.arange(len(first))[:, None] * samples
    full = colour[source].reshape(height, width, samples, 3)
    return full, (index >= 0).reshape(height, width, samples)


def _shaded(
    shapes: Sequence[Shape],
    light: Light,
    camera: Camera,
    hits: _Hits,
    pixel: NDArray[np.int64],
    sample: NDArray[np.int64],
) -> Array:
    """Colour (N, 3) of hits, each the given sample of a pixel."""
    casting = [shape for shape in shapes if shape.casts]
    lit = np.zeros(len(hits.world), np.float32)
    if light.sun_colour.any():
        sun = ShadowMap(
            casting, light.sun_direction, light.shadow_centre, light.shadow_radius, 1000
        )
        lit = sun.visible(hits.world, hits.normal, _spiral(6, 1.3))
    # occlusion has no fine detail: that of a pixel's first sample serves the others
    rows = np.flatnonzero(sample == 0)
    shared = np.ones(int(pixel.max(initial=0)) + 1, np.float32)
    shared[pixel[rows]] = _occlusion(shapes, light, hits.world[rows], hits.normal[rows])
    return _lit(hits, light, camera, lit, shared[pixel])
