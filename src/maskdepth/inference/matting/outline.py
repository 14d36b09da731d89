"""A small trained network that corrects alpha from the few pixels about each pixel of an outline.

The large network sees the scene, most of it at half the size and less. Where an outline runs within
a pixel shows in that pixel and its neighbours: in the network's alpha there, in where each colour
lies between the plate's and the foreground's, and in how well these are known. A perceptron of
three layers takes these features, for a thousand or two pixels a picture, and gives a correction of
alpha's logit. A second perceptron also has the features of single foreground colours
(`maskdepth.inference.matting.colour_samples`), chosen by the first one's alpha. Both were trained
once, on outlines of composites whose alpha is exact (``tools/train_outlines.py``), and know nothing
of a scene.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.colour_samples import SAMPLE_FEATURES, describe_samples
from maskdepth.inference.matting.evidence import MAX_VARIANCE, Evidence, Floats, dot
from maskdepth.inference.matting.perceptron import (
    ROWS,
    Perceptron,
    load_perceptrons,
    save_perceptrons,
)
from maskdepth.inference.matting.squares import Pixels, Squares

__all__ = [
    "AVERAGED",
    "FEATURES",
    "MAP_RADII",
    "OUTLINE_FILE",
    "OutlineNetwork",
    "describe_outline",
    "load_outline_network",
]

OUTLINE_FILE: Final = "outlines.npz"  # beside this module

_WIDE: Final = 2  # px, radius of the squares whose values are features
_NARROW: Final = 1
_VISIBLE: Final = 10.0  # levels by which a pixel differs from its plate clearly, beside its noise
_JUST_VISIBLE: Final = 1.0  # levels by which it differs at all
_LEVELS: Final = 64.0  # of 255: brings colours to the order of 1
_CHANNELS: Final = 3
_GREY: Final = np.full(_CHANNELS, 1 / _CHANNELS / _LEVELS, np.float32)

MAP_RADII: Final = (_WIDE, _WIDE, _WIDE, _NARROW, _NARROW, _WIDE, _NARROW)
"""Radii of the squares about a pixel that its features begin with, in their order."""
AVERAGED: Final = sum((2 * radius + 1) ** 2 for radius in MAP_RADII) + 1
"""Index of the feature that is `Evidence.averaged`."""
FEATURES: Final = AVERAGED + 4 + 2 * _CHANNELS
"""Number of features that `describe_outline` gives."""


class OutlineNetwork:
    """Two perceptrons, the second of which also has features that need the first one's alpha.

    Args:
        first: takes `describe_outline`.
        second: takes that and `maskdepth.inference.matting.colour_samples.describe_samples`.
    """

    def __init__(self, first: Perceptron, second: Perceptron) -> None:
        self.first, self.second = first, second

    @classmethod
    def load(cls, content: bytes) -> Self:
        """Read the bytes of a file that `save` wrote.

        Raises:
            ModelError: the bytes are something else.
        """
        inputs = {"first": FEATURES, "second": FEATURES + SAMPLE_FEATURES}
        perceptrons = load_perceptrons(content, inputs)
        return cls(perceptrons["first"], perceptrons["second"])

    def save(self, path: Path) -> None:
        """Write both perceptrons as a file whose bytes `load` takes."""
        save_perceptrons(path, {"first": self.first, "second": self.second})

    def correct(self, evidence: Evidence, outline: NDArray[np.bool_]) -> Floats:
        """The evidence's alpha (h, w), corrected where ``outline`` (h, w) is true."""
        alpha = evidence.alpha.copy()
        pixels = np.nonzero(outline)
        count = len(pixels[0])
        features = np.zeros((count + -count % ROWS, FEATURES + SAMPLE_FEATURES), np.float32)
        own, samples = features[:, :FEATURES], features[:count, FEATURES:]
        describe_outline(evidence, pixels, out=own[:count])
        alpha[pixels] = self.first.correct(own[:count, AVERAGED], own)
        describe_samples(evidence, alpha, outline, pixels, out=samples)
        alpha[pixels] = self.second.correct(alpha[pixels], features)
        return alpha


@cache
def load_outline_network() -> OutlineNetwork:
    """The outline network that comes with the package."""
    return OutlineNetwork.load((files("maskdepth.inference.matting") / OUTLINE_FILE).read_bytes())


def describe_outline(evidence: Evidence, pixels: Pixels, out: Floats | None = None) -> Floats:
    """The features of N pixels, float32 (N, `FEATURES`): squares about each pixel, then its own.

    They are written to ``out`` where that is given.
    """
    noise = np.sqrt(np.minimum(evidence.noise, MAX_VARIANCE))
    texture = np.sqrt(np.minimum(evidence.texture[pixels], MAX_VARIANCE))
    difference = evidence.picture - evidence.plate
    line = evidence.foreground[pixels] - evidence.plate[pixels]
    distance = np.sqrt(dot(difference, difference))
    picture, plate, foreground = (
        each @ _GREY for each in (evidence.picture, evidence.plate, evidence.foreground[pixels])
    )
    own = picture[pixels][:, None]
    squares = Squares(pixels, picture.shape[1], _WIDE)
    return np.concatenate(
        [
            squares.gather(evidence.alpha, _WIDE),
            squares.gather(evidence.measured, _WIDE),
            squares.gather(distance / (distance + _VISIBLE + 2 * noise), _WIDE),
            squares.gather(distance / (distance + _JUST_VISIBLE + 2 * noise), _NARROW),
            squares.gather(evidence.trust, _NARROW),
            squares.gather(picture, _WIDE) - own,
            squares.gather(plate, _NARROW) - own,
            foreground[:, None] - own,
            evidence.averaged[pixels][:, None],
            np.log1p(noise[pixels])[:, None],
            np.log1p(texture)[:, None],
            np.log1p(np.sqrt(dot(line, line)))[:, None],
            difference[pixels] / _LEVELS,
            line / _LEVELS,
        ],
        axis=1,
        out=np.empty((len(pixels[0]), FEATURES), np.float32) if out is None else out,
    )
