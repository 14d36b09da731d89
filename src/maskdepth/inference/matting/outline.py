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
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.colour_samples import SAMPLE_FEATURES, SampleMaps
from maskdepth.inference.matting.evidence import MAX_VARIANCE, Evidence, Floats, dot
from maskdepth.inference.matting.perceptron import Perceptron
from maskdepth.inference.matting.squares import Pixels, Squares

__all__ = [
    "FEATURES",
    "OUTLINE_FILES",
    "SQUARES",
    "OutlineMaps",
    "OutlineNetwork",
    "load_outline_network",
]

OUTLINE_FILES: Final = ("outline_first.onnx", "outline_second.onnx")
"""The files of both perceptrons, beside this module."""

_WIDE: Final = 2  # px, radius of the squares whose values are features
_NARROW: Final = 1
_VISIBLE: Final = 10.0  # levels by which a pixel differs from its plate clearly, beside its noise
_JUST_VISIBLE: Final = 1.0  # levels by which it differs at all
_LEVELS: Final = 64.0  # of 255: brings colours to the order of 1
_CHANNELS: Final = 3
_GREY: Final = np.full(_CHANNELS, 1 / _CHANNELS / _LEVELS, np.float32)
_CHUNK: Final = 8192  # pixels at once, which bounds the memory: each has a kilobyte of features

SQUARES: Final = ((_WIDE, 4), (_NARROW, 3))
"""Radii of the squares about a pixel that its features begin with, and numbers of maps in each."""
FEATURES: Final = sum((2 * radius + 1) ** 2 * maps for radius, maps in SQUARES) + 5 + 2 * _CHANNELS
"""Number of features that `OutlineMaps.describe` gives."""


class OutlineNetwork:
    """Two perceptrons, the second of which also has features that need the first one's alpha.

    Args:
        first: takes the features of `OutlineMaps`.
        second: takes these and those of `maskdepth.inference.matting.colour_samples.SampleMaps`.
    """

    def __init__(self, first: Perceptron, second: Perceptron) -> None:
        self.first, self.second = first, second

    def correct(self, evidence: Evidence, outline: NDArray[np.bool_]) -> Floats:
        """The evidence's alpha (h, w), corrected where ``outline`` (h, w) is true."""
        pixels = np.nonzero(outline)
        chunks = [
            (pixels[0][start : start + _CHUNK], pixels[1][start : start + _CHUNK])
            for start in range(0, len(pixels[0]), _CHUNK)
        ]
        maps, averaged = OutlineMaps(evidence), evidence.averaged
        first = evidence.alpha.copy()
        features = np.zeros((0, FEATURES), np.float32)
        for chunk in chunks:
            features = maps.describe(chunk)
            first[chunk] = self.first.correct(averaged[chunk], features)
        samples = SampleMaps(evidence, first, pixels)
        second = first.copy()
        for chunk in chunks:
            if len(chunks) > 1:
                features = maps.describe(chunk)
            second[chunk] = self.second.correct(first[chunk], features, samples.describe(chunk))
        return second


@cache
def load_outline_network() -> OutlineNetwork:
    """The outline network that comes with the package."""
    folder = files("maskdepth.inference.matting")
    first, second = ((folder / name).read_bytes() for name in OUTLINE_FILES)
    return OutlineNetwork(
        Perceptron(first, (FEATURES,)), Perceptron(second, (FEATURES, SAMPLE_FEATURES))
    )


class OutlineMaps:
    """What the features of an outline's pixels are gathered from.

    Args:
        evidence: of the picture.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._noise = np.sqrt(np.minimum(evidence.surroundings.light[3], MAX_VARIANCE))
        self._difference = evidence.picture - evidence.plate
        distance = np.sqrt(dot(self._difference, self._difference))
        doubt = distance + 2 * self._noise
        self._picture, plate = (
            np.asarray(np.tensordot(_GREY, each, 1), np.float32)
            for each in (evidence.picture, evidence.plate)
        )
        visible, just_visible = (distance / (doubt + level) for level in (_VISIBLE, _JUST_VISIBLE))
        wide = [evidence.alpha, evidence.measured, visible, self._picture]
        narrow = [just_visible, evidence.trust, plate]
        self._squares = Squares(wide, _WIDE), Squares(narrow, _NARROW)

    def describe(self, pixels: Pixels) -> Floats:
        """The features of N pixels, float32 (N, `FEATURES`).

        Of the squares about each pixel alpha, measured alpha, how clearly the pixel differs from
        its plate, and the picture's lightness; then, of smaller ones, whether it differs at all,
        the trust, and the plate's lightness. Other features are of the pixel alone. Lightness is
        relative to the pixel's.
        """
        evidence, (rows, columns) = self._evidence, pixels
        own = self._picture[rows, columns][:, None]
        wide, narrow = (squares.about(pixels) for squares in self._squares)
        wide[..., -1] -= own
        narrow[..., -1] -= own
        foreground = evidence.surroundings.foreground[:, rows, columns]
        line = foreground[:3] - evidence.plate[:, rows, columns]
        texture = np.sqrt(np.minimum(foreground[3], MAX_VARIANCE))
        averaged = evidence.averaged
        rest = [
            _GREY @ foreground[:3] - own[:, 0],
            averaged[rows, columns],
            *np.log1p([self._noise[rows, columns], texture, np.sqrt(dot(line, line))]),
            *(self._difference[:, rows, columns] / _LEVELS),
            *(line / _LEVELS),
        ]
        count = len(rows)
        return np.concatenate(
            [wide.reshape(count, -1), narrow.reshape(count, -1), np.stack(rest, axis=1)], axis=1
        )
