"""Procedural textures: band-limited noise evaluated at surface coordinates, and paints made of it.

A texture is a sum of octaves of one tile of smooth noise, each turned and shifted. Octaves finer
than the footprint of a pixel fade out, so that distant textures do not alias.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_TILE = 512  # texels a side
_TEXELS_PER_WAVE = 8.0
_ROW = 1024  # cv2.remap takes no more than 32767 rows, so point lists are folded to this width


@dataclass(frozen=True)
class Surface:
    """Points of a surface to be painted.

    Attributes:
        points: (N, 3) metres, in the frame of the shape.
        world: (N, 3) metres, in the frame of the world (y up).
        normal: (N, 3) unit normals in the frame of the shape, facing the camera.
        footprint: (N,) metres that one sample covers there.
    """

    points: Array
    world: Array
    normal: Array
    footprint: Array


Paint = Callable[[Surface], Array]
"""Gives linear albedo (N, 3) in [0, 1]."""


@lru_cache(maxsize=1)
def _tile() -> NDArray[np.float32]:
    """Smooth noise of unit variance that repeats; one texel of overlap for bilinear reading."""
    rng = np.random.Generator(np.random.Philox(key=20_26))
    white = rng.standard_normal((_TILE, _TILE), dtype=np.float32)
    pad = 16
    wide = cv2.GaussianBlur(np.pad(white, pad, mode="wrap"), (0, 0), _TEXELS_PER_WAVE * 0.33)
    tile = wide[pad : pad + _TILE, pad : pad + _TILE]
    tile = (tile - tile.mean()) / tile.std()
    return np.ascontiguousarray(np.pad(tile, ((0, 1), (0, 1)), mode="wrap"), dtype=np.float32)


def _wrap(texels: Array) -> Array:
    return np.asarray(texels - np.floor(texels * np.float32(1.0 / _TILE)) * np.float32(_TILE))


def _read_tile(u: Array, v: Array) -> NDArray[np.float32]:
    """Noise at (N,) coordinates in texels."""
    count = len(u)
    if count == 0:
        return np.zeros(0, np.float32)
    if count <= _ROW:
        folded = cv2.remap(_tile(), _wrap(u)[None], _wrap(v)[None], cv2.INTER_LINEAR)
        return np.asarray(folded[0], np.float32)
    rows = -(-count // _ROW)
    listed = np.zeros((2, rows * _ROW), np.float32)
    listed[0, :count] = _wrap(u)
    listed[1, :count] = _wrap(v)
    maps = listed.reshape(2, rows, _ROW)
    folded = cv2.remap(_tile(), maps[0], maps[1], cv2.INTER_LINEAR)
    return np.asarray(folded, np.float32).reshape(-1)[:count]


# the planes of this frame are at a slant to those of the world, so that no flat surface runs along
# the direction in which a planar reading is constant
_SLANTED = np.array([[2, 2, -1], [-1, 2, 2], [2, -1, 2]], np.float32) / 3
_APART = np.array([[0.0], [17.3], [39.1]], np.float32)


@dataclass(frozen=True)
class Field:
    """Fractal noise of about unit variance.

    Attributes:
        wavelength: metres of the coarsest octave.
        octaves: how many, each half as long.
        gain: amplitude of an octave relative to the one before.
        turns: (octaves, 3) angle and shifts of each octave.
    """

    wavelength: float
    octaves: int
    gain: float
    turns: Array

    def flat(self, u: Array, v: Array, footprint: Array | float = 0.0) -> Array:
        """Noise over a plane; ``u``, ``v`` and ``footprint`` in metres."""
        u, v = np.asarray(u, np.float32), np.asarray(v, np.float32)
        return self._sum(u[None], v[None], np.asarray(footprint, np.float32))

    def solid(self, points: Array, footprint: Array | float = 0.0) -> Array:
        """Noise in space, (N, 3) -> (N,): three planar readings, so it has no seam or pole."""
        turned = np.einsum("kj,ij->ki", _SLANTED, np.asarray(points, np.float32))
        u = turned + _APART
        return self._sum(u, turned[[1, 2, 0]], np.asarray(footprint, np.float32))

    def _sum(self, u: Array, v: Array, footprint: Array) -> Array:
        """Sum of the octaves, each read at (P, N) points of P planes."""
        finest = float(np.min(footprint)) if footprint.size else 0.0
        planes, count = u.shape
        total = np.zeros(count, np.float32)
        power = 0.0
        for octave in range(self.octaves):
            wave = self.wavelength / 2.0**octave
            weight = self.gain**octave
            power += weight * weight * planes
            if wave < finest:
                continue
            angle, shift_u, shift_v = self.turns[octave]
            density = _TEXELS_PER_WAVE / wave
            cos, sin = np.float32(np.cos(angle) * density), np.float32(np.sin(angle) * density)
            texel_u = u * cos - v * sin + np.float32(shift_u)
            texel_v = u * sin + v * cos + np.float32(shift_v)
            noise = _read_tile(texel_u.ravel(), texel_v.ravel()).reshape(planes, count).sum(axis=0)
            if footprint.ndim:
                noise = noise * np.clip(np.float32(wave) / footprint - 1.0, 0.0, 1.0)
            total += np.float32(weight) * noise
        return total * np.float32(1.0 / np.sqrt(max(power, 1e-9)))


def sample_field(
    rng: np.random.Generator, wavelength: float, octaves: int = 4, gain: float = 0.6
) -> Field:
    """A field with random turns and shifts."""
    turns = rng.uniform([0.0, 0.0, 0.0], [2 * np.pi, _TILE, _TILE], (octaves, 3))
    return Field(wavelength, octaves, gain, turns)


def linear(srgb: Array) -> Array:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def sample_colour(
    rng: np.random.Generator,
    hue: tuple[float, float] = (0.0, 1.0),
    saturation: tuple[float, float] = (0.0, 0.8),
    value: tuple[float, float] = (0.1, 0.95),
) -> Array:
    """A linear colour (3,) drawn from ranges of hue (may pass 1), saturation and sRGB value."""
    rgb = colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    )
    return linear(np.asarray(rgb))


def mix(first: Array, second: Array, weight: Array) -> Array:
    """Blend of two colours ((3,) or (N, 3)) by weight (N,)."""
    share = np.asarray(weight)[..., None]
    return first * (1.0 - share) + second * share


def step(value: Array, edge: Array | float, width: Array | float) -> Array:
    """Smooth step from 0 to 1 around ``edge``, over ``width``."""
    x = np.clip((value - edge) / np.maximum(width, 1e-6) + 0.5, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def mottled(
    rng: np.random.Generator,
    colour: Array,
    wavelength: float,
    strength: float = 0.25,
    drift_strength: float = 0.05,
) -> Paint:
    """One colour with fractal lightness and a slight drift of hue: plaster, bark, soil, fabric."""
    light = sample_field(rng, wavelength, 4, 0.65)
    drift = sample_field(rng, wavelength * 3.0, 1)
    tint = rng.normal(0.0, drift_strength, 3)

    def paint(surface: Surface) -> Array:
        shade = np.exp(strength * light.solid(surface.points, surface.footprint))
        hue = drift.solid(surface.points, surface.footprint)
        return np.asarray(np.clip(colour * shade[:, None] * (1.0 + hue[:, None] * tint), 0.0, 1.0))

    return paint


def speckled(rng: np.random.Generator, colour: Array, wavelength: float, strength: float) -> Paint:
    """``mottled`` for ground, in the shape's xy plane only, where it costs a third."""
    light = sample_field(rng, wavelength, 4, 0.75)
    wide = sample_field(rng, wavelength * 30.0, 2)
    tint = rng.normal(0.0, 0.015, 3)

    def paint(surface: Surface) -> Array:
        x, y = surface.points[:, 0], surface.points[:, 1]
        patch = wide.flat(x, y, surface.footprint)
        shade = np.exp(strength * light.flat(x, y, surface.footprint) + 0.06 * patch)
        return np.asarray(
            np.clip(colour * shade[:, None] * (1.0 + patch[:, None] * tint), 0.0, 1.0)
        )

    return paint


def plane_of(surface: Surface) -> tuple[Array, Array]:
    """Two coordinates along the surface, chosen by its steepest normal axis."""
    axis = np.argmax(np.abs(surface.normal), axis=1)
    x, y, z = surface.points.T
    return np.where(axis == 0, z, x), np.where(axis == 1, z, y)


def lines(u: Array, period: float, width: float, footprint: Array) -> Array:
    """Coverage of lines ``width`` wide every ``period``, box-filtered over the footprint."""
    away = np.abs(np.mod(u / period + 0.5, 1.0) - 0.5) * period
    soft = np.maximum(footprint, 1e-4)
    cover = np.clip((width * 0.5 - away) / soft + 0.5, 0.0, 1.0)
    # a line thinner than a sample can only cover its share of it
    share = np.minimum(1.0, width / soft)
    far = np.clip(soft / period, 0.0, 1.0)
    return np.asarray(cover * share * (1.0 - far) + far * width / period)


def courses(
    rng: np.random.Generator,
    colour: Array,
    joint: Array,
    length: float,
    height: float,
    *,
    gap: float,
    offset: float = 0.5,
    spread: float = 0.2,
) -> Paint:
    """Rows of bricks, tiles or boards, each with its own lightness, and joints between them.

    Args:
        length: metres of one piece along the row; ``height`` across it.
        gap: metres of the joint.
        offset: share of a piece by which each row is shifted from the one below.
        spread: standard deviation of the pieces' log lightness.
    """
    grain = sample_field(rng, height * 0.8, 4, 0.7)
    table = np.exp(rng.normal(0.0, spread, 1021))
    tints = 1.0 + rng.normal(0.0, spread * 0.25, (1021, 3))
    turned = bool(rng.random() < 0.5)

    def paint(surface: Surface) -> Array:
        u, v = plane_of(surface)
        if turned and offset == 0.0:
            u, v = v, u
        row = np.floor(v / height)
        shifted = u + row * offset * length
        piece = (np.floor(shifted / length) * 73 + row * 151).astype(np.int64) % 1021
        fade = np.clip(1.5 - surface.footprint / height, 0.0, 1.0)[:, None]
        own = (table[piece][:, None] * tints[piece] - 1.0) * fade + 1.0
        shade = np.exp(0.12 * grain.flat(u * 0.35, v, surface.footprint))[:, None]
        cover = np.maximum(
            lines(v, height, gap, surface.footprint), lines(shifted, length, gap, surface.footprint)
        )
        return np.clip(mix(colour * own * shade, joint, cover), 0.0, 1.0)

    return paint


def striped(rng: np.random.Generator, first: Array, second: Array, period: float) -> Paint:
    """Stripes, checks or dots of two colours: wallpaper, rugs, cloth, wrapping."""
    kind = int(rng.integers(4))
    share = rng.uniform(0.15, 0.6)
    dirt = sample_field(rng, period * 2.0, 4)

    def paint(surface: Surface) -> Array:
        u, v = plane_of(surface)
        if kind == 0:
            cover = lines(u, period, period * share, surface.footprint)
        elif kind == 1:
            cover = lines(v, period, period * share, surface.footprint)
        elif kind == 2:
            across = lines(u, period, period * share, surface.footprint)
            cover = 0.5 * across + 0.5 * lines(v, period, period * share, surface.footprint)
        else:
            odd = np.floor(v / period) % 2
            du = np.mod(u / period + 0.5 * odd, 1.0) - 0.5
            dv = np.mod(v / period, 1.0) - 0.5
            soft = surface.footprint / period + 0.02
            cover = 1.0 - step(np.hypot(du, dv), 0.15 + 0.3 * share, 2.0 * soft)
        shade = np.exp(0.1 * dirt.flat(u, v, surface.footprint))
        return np.asarray(np.clip(mix(first, second, cover) * shade[:, None], 0.0, 1.0))

    return paint


def patchy(
    rng: np.random.Generator, first: Paint, second: Paint, wavelength: float, level: float = 0.0
) -> Paint:
    """Two paints in patches of about ``wavelength`` metres: worn grass, stains, peeling."""
    field = sample_field(rng, wavelength, 5, 0.55)

    def paint(surface: Surface) -> Array:
        weight = step(field.solid(surface.points, surface.footprint), level, 0.9)
        return mix(first(surface), second(surface), weight)

    return paint


def picture(rng: np.random.Generator, half_width: float, half_height: float) -> Paint:
    """A framed picture on a rectangle: a border, then soft colour fields."""
    colours = np.stack([sample_colour(rng, saturation=(0.1, 0.9)) for _ in range(3)])
    frame = sample_colour(rng, saturation=(0.0, 0.4))
    fields = [sample_field(rng, half_width * rng.uniform(0.5, 2.0), 4) for _ in range(2)]
    border = rng.uniform(0.02, 0.06)

    def paint(surface: Surface) -> Array:
        x, y = surface.points[:, 0], surface.points[:, 1]
        first = step(fields[0].flat(x, y, surface.footprint) + y / half_height, 0.0, 0.6)
        second = step(fields[1].flat(x, y, surface.footprint), 0.5, 0.3)
        inner = mix(mix(colours[0], colours[1], first), colours[2], second)
        edge = np.minimum(half_width - np.abs(x), half_height - np.abs(y))
        return mix(frame, inner, step(edge, border, surface.footprint + 1e-3))

    return paint
