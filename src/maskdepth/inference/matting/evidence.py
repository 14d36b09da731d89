"""Measure alpha by the colours of picture and plate, and how far to trust that measurement.

A pixel on an outline is a mixture, I = alpha F + (1 - alpha) B, of the foreground's colour F and
the plate's colour B (Porter and Duff, "Compositing Digital Images", SIGGRAPH 1984). B is known; F
is taken from the foreground beside the pixel. Alpha is then the place of I on the line from B to F,
by least squares. Its variance is that of the colours beside the pixel, over the squared distance
between F and B. Measurement and network are averaged, each by the inverse of its variance.

B is relit by the light beside the outline, so that a shadow does not count as foreground. F and the
light change slowly between pixels, so they are measured at the network's input size, and the light
at half of it. Colours are planes here, (3, h, w): sums over the last of three axes are slow.
"""

from __future__ import annotations

from collections.abc import Sequence
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
class Surroundings:
    """Foreground and light beside each pixel.

    Attributes:
        foreground: (4, ...) mean colour, and the variance about it, summed over channels.
        light: (4, ...) factors that relight the plate's colour, and the picture's variance about
            the relit plate, also summed.

    A variance is 1e12 where no foreground, or no visible plate, is beside the pixel.
    """

    foreground: Floats
    light: Floats


@dataclass(frozen=True)
class Evidence:
    """What is measured at each pixel of a picture, at the network's input size.

    Attributes:
        picture: (3, h, w) the picture's colour, 0..255.
        unlit_plate, plate: (3, h, w) the plate's colour, and the same relit by the light beside the
            pixel.
        surroundings: (4, h, w) foreground and light beside the pixel.
        alpha: (h, w) the network's alpha, in [0, 1].
        measured: (h, w) alpha by the compositing equation, in [0, 1].
        trust: (h, w) weight in [0, 1] of ``measured`` in its average with ``alpha``.
    """

    picture: Floats
    unlit_plate: Floats
    plate: Floats
    surroundings: Surroundings
    alpha: Floats
    measured: Floats
    trust: Floats

    @property
    def averaged(self) -> Floats:
        """(h, w): the weighted average of the network's alpha and the measured one."""
        return self.alpha + self.trust * (self.measured - self.alpha)


def measure_evidence(picture: Picture, plate: Picture, alpha: Floats) -> Evidence:
    """Measure alpha by a picture and its plate (h, w, 3), beside the network's alpha (h, w)."""
    colours, plate_colours = _to_planes(picture), _to_planes(plate)
    surroundings = describe_surroundings(colours, plate_colours, alpha)
    lit_plate = relight_plate(plate_colours, surroundings.light)
    measured, trust = solve_alpha(colours, lit_plate, surroundings, alpha, _NETWORK_DEVIATION)
    return Evidence(colours, plate_colours, lit_plate, surroundings, alpha, measured, trust)


def _to_planes(picture: Picture) -> Floats:
    """A picture (h, w, 3) as planes of colour, float32 (3, h, w)."""
    return np.array(cv2.split(picture), np.float32)


def describe_surroundings(picture: Floats, plate: Floats, alpha: Floats) -> Surroundings:
    """Means over the foreground and over the visible plate beside each pixel.

    Args:
        picture, plate: (3, h, w), 0..255.
        alpha: (h, w) in [0, 1]; the weight of a pixel in either mean is a high power of alpha, or
            of 1 - alpha.
    """
    weight = _weigh(alpha)
    weight_sum = _blur(weight, _FOREGROUND_SIGMA)
    divisor = np.maximum(weight_sum, _MIN_WEIGHT)
    foreground = np.empty((4, *alpha.shape), np.float32)
    for values, mean in zip((*picture, dot(picture, picture)), foreground, strict=True):
        np.divide(_blur(values * weight, _FOREGROUND_SIGMA), divisor, out=mean)
    foreground[3] -= dot(foreground[:3], foreground[:3])
    np.maximum(foreground[3], 0, out=foreground[3])
    foreground[3][weight_sum < _MIN_WEIGHT] = _UNKNOWN_VARIANCE

    weight = _weigh(1 - alpha)
    small_sum = _shrunk_blur(weight)
    light = np.empty_like(foreground)
    for values, plate_values, factor in zip(picture, plate, light, strict=False):
        small_factor = _shrunk_blur(values * weight) + _BLACK
        small_factor /= _shrunk_blur(plate_values * weight) + _BLACK
        np.clip(small_factor, *_LIGHT_RANGE, out=small_factor)
        factor[:] = _enlarged(small_factor, alpha.shape)
    difference = picture - relight_plate(plate, light)
    noise = _shrunk_blur(dot(difference, difference) * weight)
    noise /= np.maximum(small_sum, _MIN_WEIGHT)
    light[3] = _enlarged(noise, alpha.shape)
    light[3][_enlarged(small_sum, alpha.shape) < _MIN_WEIGHT] = _UNKNOWN_VARIANCE
    return Surroundings(foreground, light)


def relight_plate(plate: Floats, light: Floats) -> Floats:
    """The plate's colours (3, ...), relit by the `Surroundings.light` beside them."""
    lit = plate * light[:3]
    np.minimum(lit, 255, out=lit)
    return lit


def solve_alpha(
    picture: Floats, lit_plate: Floats, surroundings: Surroundings, prior: Floats, deviation: float
) -> tuple[Floats, Floats]:
    """Alpha by the compositing equation, and its weight in an average with a prior alpha.

    Args:
        picture: (3, ...) colours.
        lit_plate: (3, ...) colours, see `relight_plate`.
        surroundings: (4, ...) foreground and light.
        prior: (...) alpha.
        deviation: the prior's standard deviation where it is 1/2.

    Returns:
        Both (...), in [0, 1].
    """
    foreground, light = surroundings.foreground, surroundings.light
    line = foreground[:3] - lit_plate
    # A channel that is clipped in one of the two says nothing about the mixture. Where both are
    # clipped the pixel looks like its plate, such as a white sky.
    brighter, darker = np.maximum(picture, lit_plate), np.minimum(picture, lit_plate)
    line *= (brighter < _CLIPPED) | (darker >= _CLIPPED)
    squared_length = dot(line, line)
    squared_length += _ROUNDING
    measured = dot(picture - lit_plate, line)
    measured /= squared_length
    np.clip(measured, 0, 1, out=measured)
    rest = 1 - prior
    variance = prior * prior * foreground[3]
    variance *= _TEXTURE_SHARE
    variance += rest * rest * light[3]
    variance += _MIN_NOISE**2
    # Precision is the inverse of alpha's variance.
    precision = squared_length / variance
    # Interpolated, half of an unknown variance is still far more than any real one.
    precision[np.maximum(foreground[3], light[3]) > _UNKNOWN_VARIANCE * 1e-4] = 0
    trust = precision / (precision + 1 / (deviation**2 * (4 * prior * rest + _VARIANCE_FLOOR)))
    return measured, trust


def dot(first: Sequence[Floats] | Floats, second: Sequence[Floats] | Floats) -> Floats:
    """Dot products of colours, whose three planes are (...) each, to (...)."""
    products = first[0] * second[0]
    products += first[1] * second[1]
    products += first[2] * second[2]
    return np.asarray(products)


def _weigh(alpha: Floats) -> Floats:
    """Alpha to the power of 6: a pixel's weight in a mean."""
    square = alpha * alpha
    return np.asarray(square * square * square, np.float32)


def _blur(values: Floats, sigma: float) -> Floats:
    return np.asarray(
        cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32
    )


def _shrunk_blur(values: Floats) -> Floats:
    """Means about each pixel of a map (h, w), wide ones, which half of its size is enough for."""
    height, width = values.shape
    even = cv2.copyMakeBorder(values, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    half = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return _blur(np.asarray(half, np.float32), _PLATE_SIGMA / 2)


def _enlarged(values: Floats, size: tuple[int, ...]) -> Floats:
    """A map of `_shrunk_blur` at the size (h, w) that it was measured for."""
    double = (2 * values.shape[1], 2 * values.shape[0])
    large = cv2.resize(values, double, interpolation=cv2.INTER_LINEAR)
    return np.asarray(large[: size[0], : size[1]], np.float32)
