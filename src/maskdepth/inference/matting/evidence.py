"""Measure alpha by the colours of picture and plate, and how far to trust that measurement.

A pixel on an outline is a mixture, I = alpha F + (1 - alpha) B, of the foreground's colour F and
the plate's colour B (Porter and Duff, "Compositing Digital Images", SIGGRAPH 1984). B is known; F
is taken from the foreground beside the pixel. Alpha is then the place of I on the line from B to F,
by least squares. Its variance is that of the colours beside the pixel, over the squared distance
between F and B. Measurement and network are averaged, each by the inverse of its variance.

B is relit by the light beside the outline, so that a shadow does not count as foreground. F and the
light change slowly between pixels, so they are measured at the network's input size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MAX_VARIANCE",
    "Evidence",
    "Floats",
    "Picture",
    "Surroundings",
    "describe_surroundings",
    "dot",
    "measure_evidence",
    "relight_plate",
    "solve_alpha",
]

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MAX_VARIANCE: Final = 1e4  # squared levels; a larger variance says nothing more

_FOREGROUND_SIGMA: Final = 0.9  # px, of means over foreground, whose colours change quickly
_PLATE_SIGMA: Final = 3.0  # px, of means over visible plate
_MIN_WEIGHT: Final = 1e-3  # sum of weights below which a mean is unknown
_MIN_NOISE: Final = 2.0  # of 255: the standard deviation that cameras and codecs always have
_TEXTURE_SHARE: Final = 0.5  # of the foreground's variance that counts: neighbours are alike
_NETWORK_DEVIATION: Final = 0.2  # standard deviation of the network's alpha where alpha is 1/2
_VARIANCE_FLOOR: Final = 0.05  # share of that variance which is left where alpha is 0 or 1
_LIGHT_RANGE: Final = (0.2, 3.0)  # factors by which a plate may be relit
_BLACK: Final = 0.02  # keeps ratios of nearly black means near 1
_CLIPPED: Final = 250  # of 255; a channel this bright may have been clipped
_UNKNOWN_VARIANCE: Final = np.float32(1e12)  # not infinity, which cannot be interpolated
_ROUNDING: Final = 1e-3  # squared levels: keeps a foreground like its plate from dividing by 0

MARGIN_PX: Final = round(4 * _PLATE_SIGMA)
"""Pixels farther from an outline than this hardly count for its evidence."""


@dataclass(frozen=True)
class Evidence:
    """What is measured at each pixel of a picture, at the network's input size.

    Attributes:
        picture: (h, w, 3) the picture's colour, 0..255.
        plate: (h, w, 3) the plate's colour, relit by the light beside the pixel.
        foreground: (h, w, 3) mean colour of the foreground beside the pixel.
        texture: (h, w) variance of the foreground's colour, squared levels, summed over channels.
        noise: (h, w) variance of the picture about the visible plate, also summed.
        alpha: (h, w) the network's alpha, in [0, 1].
        measured: (h, w) alpha by the compositing equation, in [0, 1].
        trust: (h, w) weight in [0, 1] of ``measured`` in its average with ``alpha``.
    """

    picture: Floats
    plate: Floats
    foreground: Floats
    texture: Floats
    noise: Floats
    alpha: Floats
    measured: Floats
    trust: Floats

    @property
    def averaged(self) -> Floats:
        """(h, w): the weighted average of the network's alpha and the measured one."""
        return self.alpha + self.trust * (self.measured - self.alpha)


@dataclass(frozen=True)
class Surroundings:
    """Foreground and light beside each pixel.

    Attributes:
        foreground: (..., 4) mean colour, and the variance about it, summed over channels.
        light: (..., 4) factors that relight the plate's colour, and the picture's variance about
            the relit plate, also summed.

    A variance is 1e12 where no foreground, or no visible plate, is beside the pixel.
    """

    foreground: Floats
    light: Floats


def measure_evidence(picture: Picture, plate: Picture, alpha: Floats) -> Evidence:
    """Measure alpha by a picture and its plate (h, w, 3), beside the network's alpha (h, w)."""
    colours, plate_colours = picture.astype(np.float32), plate.astype(np.float32)
    surroundings = describe_surroundings(colours, plate_colours, alpha)
    lit_plate = relight_plate(plate_colours, surroundings)
    measured, trust = solve_alpha(colours, lit_plate, surroundings, alpha, _NETWORK_DEVIATION)
    return Evidence(
        picture=colours,
        plate=lit_plate,
        foreground=surroundings.foreground[..., :3],
        texture=surroundings.foreground[..., 3],
        noise=surroundings.light[..., 3],
        alpha=alpha,
        measured=measured,
        trust=trust,
    )


def describe_surroundings(picture: Floats, plate: Floats, alpha: Floats) -> Surroundings:
    """Means over the foreground and over the visible plate beside each pixel.

    Args:
        picture, plate: (h, w, 3), 0..255.
        alpha: (h, w) in [0, 1]; the weight of a pixel in either mean follows from it.
    """
    foreground_weight, plate_weight = _weigh(alpha), _weigh(1 - alpha)
    foreground_sum = _blur(foreground_weight, _FOREGROUND_SIGMA)
    plate_sum = _blur(plate_weight, _PLATE_SIGMA)
    divisor = np.maximum(foreground_sum, _MIN_WEIGHT)
    foreground = np.empty((*alpha.shape, 4), np.float32)
    weighted = picture * _for_colours(foreground_weight)
    colour = _blur(weighted, _FOREGROUND_SIGMA) / _for_colours(divisor)
    squares = _blur(dot(picture, picture) * foreground_weight, _FOREGROUND_SIGMA) / divisor
    foreground[..., :3] = colour
    foreground[..., 3] = np.maximum(squares - dot(colour, colour), 0)
    foreground[..., 3][foreground_sum < _MIN_WEIGHT] = _UNKNOWN_VARIANCE

    light = np.empty((*alpha.shape, 4), np.float32)
    colour_weight = _for_colours(plate_weight)
    factors = (_blur(picture * colour_weight, _PLATE_SIGMA) + _BLACK) / (
        _blur(plate * colour_weight, _PLATE_SIGMA) + _BLACK
    )
    light[..., :3] = np.clip(factors, *_LIGHT_RANGE)
    surroundings = Surroundings(foreground, light)
    difference = picture - relight_plate(plate, surroundings)
    noise_sum = _blur(dot(difference, difference) * plate_weight, _PLATE_SIGMA)
    light[..., 3] = noise_sum / np.maximum(plate_sum, _MIN_WEIGHT)
    light[..., 3][plate_sum < _MIN_WEIGHT] = _UNKNOWN_VARIANCE
    return surroundings


def relight_plate(plate: Floats, surroundings: Surroundings) -> Floats:
    """The plate's colours (..., 3), relit by the light beside them."""
    return np.asarray(np.clip(plate * surroundings.light[..., :3], 0, 255), np.float32)


def solve_alpha(
    picture: Floats, lit_plate: Floats, surroundings: Surroundings, prior: Floats, deviation: float
) -> tuple[Floats, Floats]:
    """Alpha by the compositing equation, and its weight in an average with a prior alpha.

    Args:
        picture: (..., 3) colours.
        lit_plate: (..., 3) colours, see `relight_plate`.
        surroundings: (..., 4) foreground and light.
        prior: (...) alpha.
        deviation: the prior's standard deviation where it is 1/2.

    Returns:
        Both (...), in [0, 1].
    """
    foreground, light = surroundings.foreground, surroundings.light
    # A clipped channel says nothing about the mixture.
    clipped = np.maximum(picture, lit_plate) >= _CLIPPED
    line = np.where(clipped, 0, foreground[..., :3] - lit_plate)
    squared_length = dot(line, line) + _ROUNDING
    measured = np.clip(dot(picture - lit_plate, line) / squared_length, 0, 1)
    variance = (
        prior**2 * _TEXTURE_SHARE * foreground[..., 3]
        + (1 - prior) ** 2 * light[..., 3]
        + _MIN_NOISE**2
    )
    # Precision is the inverse of alpha's variance.
    precision = squared_length / variance
    # Interpolated, half of an unknown variance is still far more than any real one.
    precision[np.maximum(foreground[..., 3], light[..., 3]) > _UNKNOWN_VARIANCE * 1e-4] = 0
    prior_precision = 1 / (deviation**2 * (4 * prior * (1 - prior) + _VARIANCE_FLOOR))
    trust = precision / (precision + prior_precision)
    return measured.astype(np.float32), trust.astype(np.float32)


def dot(first: Floats, second: Floats) -> Floats:
    """Dot products of colours, (..., 3) and (..., 3) to (...)."""
    products = first * second
    return np.asarray(products[..., 0] + products[..., 1] + products[..., 2])


def _weigh(alpha: Floats) -> Floats:
    """A pixel's weight in these means: alpha to the power of 6, by products, which are fast."""
    square = alpha * alpha
    return np.asarray(square * square * square, np.float32)


def _for_colours(values: Floats) -> Floats:
    """Values (h, w) repeated to (h, w, 3), which NumPy multiplies faster than it broadcasts."""
    return np.asarray(cv2.merge([values, values, values]), np.float32)


def _blur(values: Floats, sigma: float) -> Floats:
    return np.asarray(
        cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32
    )
