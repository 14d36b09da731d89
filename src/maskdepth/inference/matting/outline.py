"""What small trained functions read from the few pixels about an outline.

A network with a million weights sees the whole scene, most of it at half the size and less. Where
an outline runs within a pixel is written in that pixel and its neighbours: in what the network
said of them, in how far each lies on the way from the plate's colour to the foreground's, and in
how well these are known. Three layers of a perceptron read it there, for a thousand pixels or two a
picture, and give the correction of alpha's logit. A second one reads it again, now that it is
clearer what is foreground for sure (`maskdepth.inference.matting.colour_samples`). They know
nothing of a scene, and were trained once, on outlines of composites whose alpha is exact
(``tools/train_outlines.py``).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.colour_samples import SAMPLE_FEATURES, describe_samples
from maskdepth.inference.matting.evidence import (
    MOST_VARIANCE,
    Neighbourhood,
    Places,
    dot,
    squares_about,
)
from maskdepth.inference.matting.perceptron import Perceptron, load_perceptrons, save_perceptrons

__all__ = [
    "AVERAGED",
    "FEATURES",
    "MAP_RADII",
    "READER_FILE",
    "Reader",
    "describe_outline",
    "load_reader",
]

Floats = NDArray[np.float32]

READER_FILE: Final = "outlines.npz"  # beside this module
_ABOUT: Final = 2  # px to each side that are looked at
_CLOSE: Final = 1
_SEEN: Final = 10.0  # levels by which a pixel differs from its plate visibly, beside its noise ...
_JUST_SEEN: Final = 1.0  # ... and by which it differs at all
_LEVELS: Final = 64.0  # of 255: brings colours to the order of 1
_CHANNELS: Final = 3
_GREY: Final = np.full(_CHANNELS, 1 / _CHANNELS / _LEVELS, np.float32)

MAP_RADII: Final = (_ABOUT, _ABOUT, _ABOUT, _CLOSE, _CLOSE, _ABOUT, _CLOSE)
"""Of the squares about a pixel that its features begin with, in their order."""
AVERAGED: Final = sum((2 * radius + 1) ** 2 for radius in MAP_RADII) + 1
"""Index of the feature that is `Neighbourhood.averaged`."""
FEATURES: Final = AVERAGED + 4 + 2 * _CHANNELS
"""How many there are."""


class Reader:
    """Two trained functions, the second of which also has what the first one's alpha shows.

    Args:
        first: takes `describe_outline`.
        second: takes that, and `maskdepth.inference.matting.colour_samples.describe_samples`.
    """

    def __init__(self, first: Perceptron, second: Perceptron) -> None:
        self.first, self.second = first, second

    @classmethod
    def load(cls, content: bytes) -> Self:
        """From what `save` wrote.

        Raises:
            ModelError: that it is not.
        """
        found = load_perceptrons(content, {"first": FEATURES, "second": FEATURES + SAMPLE_FEATURES})
        return cls(found["first"], found["second"])

    def read(self, known: Neighbourhood, outline: NDArray[np.bool_]) -> Floats:
        """Alpha (h, w), read anew where ``outline`` (h, w) says."""
        alpha = known.alpha.copy()
        place = np.nonzero(outline)
        x = describe_outline(known, place)
        alpha[place] = self.first.correct(x[:, AVERAGED], x)
        x = np.concatenate([x, describe_samples(known, alpha, outline, place)], axis=1)
        alpha[place] = self.second.correct(alpha[place], x)
        return alpha

    def save(self, path: Path) -> None:
        """Write both as a file whose bytes `load` takes."""
        save_perceptrons(path, {"first": self.first, "second": self.second})


@cache
def load_reader() -> Reader:
    """The reader that comes with the package."""
    return Reader.load((files("maskdepth.inference.matting") / READER_FILE).read_bytes())


def describe_outline(known: Neighbourhood, place: Places) -> Floats:
    """The features of N pixels, float32 (N, `FEATURES`): maps about each pixel, then its own."""
    noise = np.sqrt(np.minimum(known.noise, MOST_VARIANCE))
    texture = np.sqrt(np.minimum(known.texture[place], MOST_VARIANCE))
    apart = known.seen - known.plate
    way = known.foreground[place] - known.plate[place]
    distance = np.sqrt(dot(apart, apart))
    seen, plate, foreground = (
        each @ _GREY for each in (known.seen, known.plate, known.foreground[place])
    )
    own = seen[place][:, None]
    return np.concatenate(
        [
            squares_about(known.alpha, place, _ABOUT),
            squares_about(known.measured, place, _ABOUT),
            squares_about(distance / (distance + _SEEN + 2 * noise), place, _ABOUT),
            squares_about(distance / (distance + _JUST_SEEN + 2 * noise), place, _CLOSE),
            squares_about(known.trust, place, _CLOSE),
            squares_about(seen, place, _ABOUT) - own,
            squares_about(plate, place, _CLOSE) - own,
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
