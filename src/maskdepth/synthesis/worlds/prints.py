"""Printed and woven surfaces: lettering, posters, screens, labels, ornaments, chequers, wood."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds.textures import (
    Array,
    Paint,
    Surface,
    lines,
    mix,
    plane_of,
    sample_colour,
    sample_field,
    step,
)

Rng = np.random.Generator


def _any_colour(rng: Rng, low: float = 0.08, high: float = 0.97) -> Array:
    return sample_colour(rng, (0.0, 1.0), (0.0, 0.9), (low, high))


@dataclass(frozen=True)
class Ink:
    """Something like text: rows of words in lines ``line`` metres high, from one table."""

    line: float
    first: tuple[int, int]

    def cover(self, u: Array, v: Array, footprint: Array) -> Array:
        """Share (N,) of the surface covered by ink; lines that are too fine become grey."""
        column, along = np.divmod(u / np.float32(0.42 * self.line), 1.0)
        row, up = np.divmod(-v / np.float32(self.line), 1.0)
        letters = _letters()
        place = (row.astype(np.int64) + self.first[0]) % letters.shape[0]
        stroke = (np.abs(up - 0.5) < 0.27) & (along > 0.25)
        there = letters[place, (column.astype(np.int64) + self.first[1]) % letters.shape[1]]
        far = np.clip(footprint / (0.4 * self.line), 0.0, 1.0)
        return np.asarray(there * stroke * (1.0 - far) + far * 0.18)


@lru_cache(maxsize=1)
def _letters() -> NDArray[np.float32]:
    """1 where a letter stands, 0 between words and after the ends of lines."""
    rng = np.random.Generator(np.random.Philox(key=26))
    letters = (rng.random((256, 512)) < 0.75).astype(np.float32)
    for row in letters:
        row[np.cumsum(rng.integers(3, 12, 100)) % 512] = 0.0
        row[int(rng.integers(40, 500)) :] *= float(rng.random() < 0.5)
    return letters


def sample_ink(rng: Rng, line: float) -> Ink:
    """Text of a line's height in metres."""
    first = rng.integers(0, 256, 2)
    return Ink(line, (int(first[0]), int(first[1])))


def lettering(rng: Rng, paper: Array, ink: Array, line: float) -> Paint:
    """Rows of something like text on paper."""
    print_ = sample_ink(rng, line)

    def paint(surface: Surface) -> Array:
        u, v = plane_of(surface)
        return mix(paper, ink, 0.9 * print_.cover(u, v, surface.footprint))

    return paint


def sheet(rng: Rng, half_width: float, half_height: float) -> Paint:
    """A page, poster or cover: blocks of colour, a picture and lines of text, in a margin."""
    paper = sample_colour(rng, (0.0, 1.0), (0.0, rng.choice([0.08, 0.7])), (0.3, 0.98))
    ink = _any_colour(rng, 0.05, 0.5)
    colours = np.stack([_any_colour(rng) for _ in range(3)])
    size = min(half_width, half_height)
    print_ = sample_ink(rng, size * rng.uniform(0.06, 0.3))
    soft = sample_field(rng, size * rng.uniform(0.4, 2.0), 4)
    split, margin = rng.uniform(-0.6, 0.7), rng.uniform(0.03, 0.2) * size
    banner = rng.random() < 0.5

    def paint(surface: Surface) -> Array:
        x, y = surface.points[:, 0], surface.points[:, 1]
        fine = surface.footprint + 1e-3
        edge = np.minimum(half_width - np.abs(x), half_height - np.abs(y))
        inner = step(edge, margin, fine)
        text = print_.cover(x + half_width, y, surface.footprint) * inner
        colour = mix(paper, ink, 0.9 * text)
        field = soft.flat(x, y, surface.footprint)
        image = mix(colours[0], colours[1], step(field, 0.0, 0.5))
        image = mix(image, colours[2], step(field, 1, 0.2))
        above = step(y, split * half_height, fine) * inner
        colour = mix(colour, image, above)
        if banner:
            colour = mix(colour, colours[2], step(y, half_height * 0.7, fine))
        return np.asarray(np.clip(colour, 0.0, 1.0))

    return paint


def screen(rng: Rng, half_width: float, half_height: float) -> Paint:
    """What a monitor shows: nothing, or windows with text on a desktop."""
    dark = sample_colour(rng, (0.5, 0.7), (0.0, 0.3), (0.02, 0.16))
    if rng.random() < 0.45:
        return lambda surface: np.broadcast_to(dark, surface.points.shape)
    desktop = _any_colour(rng, 0.1, 0.8)
    soft = sample_field(rng, half_width * 1.5, 3)
    windows = []
    for _ in range(int(rng.integers(1, 4))):
        centre = rng.uniform(-0.5, 0.5, 2) * [half_width, half_height]
        half = rng.uniform(0.3, 0.8, 2) * [half_width, half_height]
        grey = rng.choice([0.1, 0.85]) + np.array([0, 0.1])
        paper = sample_colour(rng, (0.0, 1.0), (0.0, 0.15), grey)
        ink = np.where(paper.mean() > 0.3, 0.05, 0.7) * np.ones(3)
        text = sample_ink(rng, half_height * rng.uniform(0.04, 0.1))
        windows.append((centre, half, paper, ink, text))

    def paint(surface: Surface) -> Array:
        x, y = surface.points[:, 0], surface.points[:, 1]
        shade = np.exp(0.3 * soft.flat(x, y, surface.footprint))
        colour: Array = np.clip(desktop * shade[:, None], 0, 1)
        for centre, half, paper, ink, print_ in windows:
            edge = np.minimum(half[0] - np.abs(x - centre[0]), half[1] - np.abs(y - centre[1]))
            text = print_.cover(x - centre[0] + half[0], y, surface.footprint)
            page = mix(paper, ink, text)
            title = step(y, centre[1] + half[1] * 0.88, 1e-3)
            page = mix(page, desktop * 0.5 + 0.2, title)
            colour = mix(colour, page, step(edge, 0.0, surface.footprint + 1e-3))
        return np.asarray(np.clip(colour, 0.0, 1.0))

    return paint


def labels(rng: Rng, width: float, height: float) -> Paint:
    """The fronts of equal goods side by side, ``width`` each: bands, a spot, text, dark gaps."""
    base, band, spot = (_any_colour(rng) for _ in range(3))
    ink = _any_colour(rng, 0.02, 0.95)
    print_ = sample_ink(rng, height * rng.uniform(0.08, 0.22))
    low, high = np.sort(rng.uniform(-0.5, 0.5, 2)) * height
    round_ = rng.random() < 0.5
    radius = min(width, height) * rng.uniform(0.15, 0.4)

    def paint(surface: Surface) -> Array:
        u, v = plane_of(surface)
        own = (np.mod(u / width, 1.0) - 0.5) * width
        fine = surface.footprint + 1e-3
        colour = mix(base, band, step(v, low, fine) * (1.0 - step(v, high, fine)))
        if round_:
            colour = mix(colour, spot, 1.0 - step(np.hypot(own, v - 0.1 * height), radius, fine))
        text = print_.cover(own + width * 0.45, v, surface.footprint)
        colour = mix(colour, ink, text * (np.abs(own) < width * 0.4))
        gap = lines(u, width, width * 0.05, surface.footprint)
        return np.asarray(np.clip(mix(colour, colour * 0.15, gap), 0.0, 1.0))

    return paint


def ornament(rng: Rng, half_width: float, half_height: float) -> Paint:
    """A carpet: a mirrored pattern of a few colours within borders."""
    colours = np.stack([_any_colour(rng) for _ in range(5)])
    field = sample_field(rng, min(half_width, half_height) * rng.uniform(0.2, 0.7), 3, 0.7)
    pile = sample_field(rng, 0.02, 2)
    border = min(half_width, half_height) * rng.uniform(0.1, 0.3)

    def paint(surface: Surface) -> Array:
        u, v = plane_of(surface)
        value = field.flat(np.abs(u), np.abs(v), surface.footprint)
        chosen = np.digitize(value, [-0.8, 0.0, 0.8])
        edge = np.minimum(half_width - np.abs(u), half_height - np.abs(v))
        chosen = np.where((edge > border) | (edge < border * 0.25), chosen, (chosen + 2) % 5)
        chosen = np.where(np.abs(edge - border) < border * 0.1, 4, chosen)
        shade = np.exp(0.15 * pile.flat(u, v, surface.footprint))
        return np.asarray(np.clip(colours[chosen] * shade[:, None], 0.0, 1.0))

    return paint


def chequered(rng: Rng, first: Array, second: Array, size: float) -> Paint:
    """Square tiles of two colours with thin joints."""
    dirt = sample_field(rng, size * 3.0, 5)

    def paint(surface: Surface) -> Array:
        u, v = plane_of(surface)
        odd = np.mod(np.floor(u / size) + np.floor(v / size), 2.0)
        fade = np.clip(1.5 - surface.footprint / size, 0.0, 1.0)
        colour = mix(first, second, odd * fade + 0.5 * (1.0 - fade))
        joint = np.maximum(
            lines(u, size, size * 0.015, surface.footprint),
            lines(v, size, size * 0.015, surface.footprint),
        )
        shade = np.exp(0.1 * dirt.flat(u, v, surface.footprint))
        return np.asarray(np.clip(mix(colour, first * 0.3, joint) * shade[:, None], 0.0, 1.0))

    return paint


def grained(rng: Rng, colour: Array) -> Paint:
    """Wood cut along: dark lines drawn out along the longer way, with a knot here and there."""
    warp = sample_field(rng, 0.9, 3, 0.5)
    fibre = sample_field(rng, 0.02, 3, 0.7)
    rings, strength = rng.uniform(30.0, 90.0), rng.uniform(0.08, 0.35)
    upright = rng.random() < 0.5

    def paint(surface: Surface) -> Array:
        u, v = plane_of(surface)
        if upright:
            u, v = v, u
        bent = v + 0.05 * warp.flat(u * 0.35, v, surface.footprint)
        fade = np.clip(1.5 - surface.footprint * rings / 3.0, 0.0, 1.0)
        ring = np.sin(bent * rings) * fade
        shade = np.exp(strength * ring + 0.15 * fibre.flat(u * 0.06, v, surface.footprint))
        return np.asarray(np.clip(colour * shade[:, None], 0.0, 1.0))

    return paint
