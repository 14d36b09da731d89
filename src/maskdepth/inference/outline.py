"""What a small trained function reads from the few pixels about an outline.

A network with a million weights sees the whole scene, most of it at half the size and less. Where
an outline runs within a pixel is written in that pixel and its neighbours: in what the network
said of them, in how far each lies on the way from the plate's colour to the foreground's, and in
how well these are known. Three layers of a perceptron read it there, for a thousand pixels or two a
picture, and give the correction of alpha's logit. It knows nothing of a scene, and was trained
once, on outlines of composites whose alpha is exact (``docs/train_outlines.py``).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import ModelError
from maskdepth.images import open_atomic

__all__ = [
    "AVERAGED",
    "FEATURES",
    "MAP_RADII",
    "READER_FILE",
    "Neighbourhood",
    "Reader",
    "describe_outline",
    "dot",
    "load_reader",
    "logit_of",
]

Floats = NDArray[np.float32]

READER_FILE: Final = "outlines.npz"  # beside this module
_REMEDY: Final = "install maskdepth again"
_ABOUT: Final = 2  # px to each side that are looked at
_CLOSE: Final = 1
_SEEN: Final = 10.0  # levels by which a pixel differs from its plate visibly, beside its noise ...
_JUST_SEEN: Final = 1.0  # ... and by which it differs at all
_LEVELS: Final = 64.0  # of 255: brings colours to the order of 1
_CHANNELS: Final = 3
_GREY: Final = np.full(_CHANNELS, 1 / _CHANNELS / _LEVELS, np.float32)
_ROWS: Final = 16  # of a product: OpenBLAS starts threads from 2**18 multiplications on
_LEAST: Final = 0.004  # of alpha, and of 1 - alpha, where its logit is taken
_MOST: Final = 1e4  # a variance, squared levels; beyond it nothing is known

MAP_RADII: Final = (_ABOUT, _ABOUT, _ABOUT, _CLOSE, _CLOSE, _ABOUT, _CLOSE)
"""Of the squares about a pixel that its features begin with, in their order."""
AVERAGED: Final = sum((2 * radius + 1) ** 2 for radius in MAP_RADII) + 1
"""Index of the feature that is `Neighbourhood.averaged`."""
FEATURES: Final = AVERAGED + 4 + 2 * _CHANNELS
"""How many there are."""


@dataclass(frozen=True)
class Neighbourhood:
    """What is known of each pixel of a picture, at the size the network saw it.

    Attributes:
        seen: (h, w, 3) the picture's colour, 0..255.
        plate: (h, w, 3) the plate's, lit as it is beside the outline.
        foreground: (h, w, 3) the foreground's beside the pixel.
        texture: (h, w) variance of the foreground's colour, summed over channels, squared levels.
        noise: (h, w) that of the picture about the plate.
        alpha: (h, w) what the network says, in [0, 1].
        measured: (h, w) alpha by the compositing equation, in [0, 1].
        trust: (h, w) the share in [0, 1] that the measurement deserves beside the network.
    """

    seen: Floats
    plate: Floats
    foreground: Floats
    texture: Floats
    noise: Floats
    alpha: Floats
    measured: Floats
    trust: Floats

    @property
    def averaged(self) -> Floats:
        """Alpha of network and measurement together: what the reader starts from."""
        return self.alpha + self.trust * (self.measured - self.alpha)


class Reader:
    """The trained function: a perceptron whose last layer corrects a logit.

    Args:
        layers: weights (inputs, outputs) and offsets (outputs,) of each, the first of `FEATURES`
            inputs and the last of one output; a rectifier lies between two.

    Raises:
        ModelError: the layers do not fit one another or the features, or are not finite.
    """

    def __init__(self, layers: Sequence[tuple[Floats, Floats]]) -> None:
        sizes = [FEATURES, *(len(offset) for _, offset in layers)]
        fits = all(
            weight.shape == pair
            and offset.shape == pair[1:]
            and np.isfinite(weight).all()
            and np.isfinite(offset).all()
            for (weight, offset), pair in zip(layers, pairwise(sizes), strict=True)
        )
        if not fits or sizes[-1] != 1:
            raise ModelError(
                f"layers from {FEATURES} features to one correction",
                " and ".join(str(weight.shape) for weight, _ in layers) or "none",
                _REMEDY,
            )
        self.layers = tuple(layers)

    @classmethod
    def load(cls, content: bytes) -> Self:
        """From what `save` wrote.

        Raises:
            ModelError: that it is not.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as held:
                numbers = range(len(held.files) // 2)
                layers = [
                    (held[f"weight{n}"].astype(np.float32), held[f"offset{n}"].astype(np.float32))
                    for n in numbers
                ]
            return cls(layers)
        # TypeError: an array alone is no archive, and some kinds of values are no numbers.
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ModelError(
                "the layers of an outline reader", f"other bytes ({error})", _REMEDY
            ) from error

    def read(self, known: Neighbourhood, outline: NDArray[np.bool_]) -> Floats:
        """Alpha (h, w), read anew where ``outline`` (h, w) says."""
        alpha = known.alpha.copy()
        rows, columns = np.nonzero(outline)
        x = describe_outline(known, rows, columns)
        start = logit_of(x[:, AVERAGED])
        # A product of few rows is one thread's: more would fight the network's for the cores.
        x = np.pad(x, ((0, -len(x) % _ROWS), (0, 0))).reshape(-1, _ROWS, FEATURES)
        for weight, offset in self.layers[:-1]:
            x = np.maximum(x @ weight + offset, 0)
        weight, offset = self.layers[-1]
        correction = (x @ weight + offset).ravel()[: len(start)]
        alpha[rows, columns] = 1 / (1 + np.exp(-start - correction))
        return alpha

    def save(self, path: Path) -> None:
        """Write the layers as a file whose bytes `load` takes."""
        named: dict[str, Any] = {
            f"{name}{number}": values
            for number, layer in enumerate(self.layers)
            for name, values in zip(("weight", "offset"), layer, strict=True)
        }
        with open_atomic(path) as file:
            np.savez(file, **named)


@cache
def load_reader() -> Reader:
    """The reader that comes with the package."""
    return Reader.load((files("maskdepth.inference") / READER_FILE).read_bytes())


def dot(first: Floats, second: Floats) -> Floats:
    """Colour by colour, (..., 3) and (..., 3) to (...): faster than the sum of a product."""
    return np.asarray(np.einsum("...c,...c->...", first, second), np.float32)


def logit_of(alpha: Floats) -> Floats:
    """log(alpha / (1 - alpha)), with alpha kept away from 0 and 1."""
    alpha = np.clip(alpha, _LEAST, 1 - _LEAST)
    return np.asarray(np.log(alpha / (1 - alpha)), np.float32)


def describe_outline(
    known: Neighbourhood, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> Floats:
    """The features of N pixels, float32 (N, `FEATURES`): maps about each pixel, then its own."""
    place = rows, columns
    noise = np.sqrt(np.minimum(known.noise, _MOST))
    texture = np.sqrt(np.minimum(known.texture[place], _MOST))
    apart = known.seen - known.plate
    way = known.foreground[place] - known.plate[place]
    distance = np.sqrt(dot(apart, apart))
    seen, plate, foreground = (
        each @ _GREY for each in (known.seen, known.plate, known.foreground[place])
    )
    own = seen[place][:, None]
    return np.concatenate(
        [
            _about(known.alpha, place, _ABOUT),
            _about(known.measured, place, _ABOUT),
            _about(distance / (distance + _SEEN + 2 * noise), place, _ABOUT),
            _about(distance / (distance + _JUST_SEEN + 2 * noise), place, _CLOSE),
            _about(known.trust, place, _CLOSE),
            _about(seen, place, _ABOUT) - own,
            _about(plate, place, _CLOSE) - own,
            foreground[:, None] - own,
            known.averaged[place][:, None],
            np.log1p(noise[place])[:, None],
            np.log1p(texture)[:, None],
            np.log1p(np.sqrt(dot(way, way)))[:, None],
            apart[place] / _LEVELS,
            way / _LEVELS,
        ],
        axis=1,
        dtype=np.float32,
    )


def _about(values: Floats, place: tuple[NDArray[np.intp], NDArray[np.intp]], radius: int) -> Floats:
    """Values in the square about N pixels, (N, (2 radius + 1)^2), row by row; edges repeat."""
    sides = (radius, radius, radius, radius)
    padded = np.asarray(cv2.copyMakeBorder(values, *sides, cv2.BORDER_REPLICATE), np.float32)
    width = padded.shape[1]
    steps = np.arange(2 * radius + 1)
    corner = place[0] * width + place[1]
    square = (steps[:, None] * width + steps).ravel()
    return np.asarray(padded.ravel()[corner[:, None] + square], np.float32)
