"""The random numbers that recipes are made of.

Every sample owns a fixed span of numbers in each of several streams of a counter-based generator
(Philox4x64, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Only the seed,
the stream and the sample's index decide which numbers these are, so a recipe is the same whatever
the order, the number of workers or the size of the batch in which it is drawn.

The streams, the length of a span and the order of the numbers in a span are part of the dataset
format: a change to any of them would change every recipe. A new kind of choice takes a new stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.rules import Range

ATTEMPTS: Final = 16
"""How often a sample may try to place an object; each attempt takes three numbers."""

_SINGLE_DRAWS: Final = 16
_SPAN: Final = _SINGLE_DRAWS + 3 * ATTEMPTS

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


class Stream(IntEnum):
    """Which numbers belong to which choices."""

    FIRST_OBJECT = 0  # and everything else of the recipe that has no stream of its own
    EFFECTS = 2
    FIRST_GROUND = 3
    SECOND_OBJECT = 4
    THIRD_OBJECT = 5
    SECOND_GROUND = 6
    THIRD_GROUND = 7
    STALE = 8
    LATER_EFFECTS = 9
    CLIP = 10
    CLIP_CAMERA = 11
    CLIP_OBJECT = 12
    CLIP_NOISE = 13


class Draws(NamedTuple):
    """The numbers of n samples in one stream: an array (n,) for each choice, in their order."""

    cutout: Array
    background: Array
    flip: Array
    crop_side: Array
    crop_x: Array
    crop_y: Array
    nearness: Array
    jpeg: Array
    jpeg_picture: Array
    jpeg_plate: Array
    noise: Array
    noise_sigma: Array
    noise_seed: Array
    empty: Array
    labelled: Array
    on_ground: Array
    attempts: Array  # (n, 3 * ATTEMPTS)


def draw_uniforms(seed: int, stream: Stream, start: int, stop: int) -> Array:
    """Uniform numbers in [0, 1) of samples ``start`` to ``stop - 1``: (stop - start, 64)."""
    # Philox4x64 gives four numbers a count; sample i starts at count i * _SPAN / 4.
    bits = np.random.Philox(
        key=np.array([seed, stream], np.uint64),
        counter=np.array([start * (_SPAN // 4), 0, 0, 0], np.uint64),
    )
    return np.random.Generator(bits).random((stop - start, _SPAN))


def draw(seed: int, stream: Stream, start: int, stop: int) -> Draws:
    """The same numbers by the choices that they decide."""
    uniforms = draw_uniforms(seed, stream, start, stop)
    return Draws._make([*uniforms[:, :_SINGLE_DRAWS].T, uniforms[:, _SINGLE_DRAWS:]])


def between(uniform: Array, limits: Range) -> Array:
    """Uniform numbers in [0, 1) as values of a range."""
    return limits[0] + uniform * (limits[1] - limits[0])


def pick_index(uniform: Array, count: int | Indices) -> Indices:
    """Uniform numbers in [0, 1) as whole numbers below ``count``."""
    last = np.maximum(np.asarray(count) - 1, 0)
    return np.asarray(np.minimum((uniform * count).astype(np.intp), last))


def zip_rows(*columns: NDArray[Any]) -> Iterator[tuple[Any, ...]]:
    """One sample after another, as Python's numbers: indexing arrays is several times slower."""
    return zip(*(column.tolist() for column in columns), strict=True)
