"""What picture and plate say about each pixel's alpha: the compositing equation and its certainty.

A pixel on an outline is a mixture, I = alpha F + (1 - alpha) B, of the foreground's colour F and
the plate's colour B (Porter and Duff, "Compositing Digital Images", SIGGRAPH 1984). B is known; F
is that of the foreground beside the pixel. Alpha is then the place of I on the line from B to F, by
least squares. How far that measurement is to be trusted follows from how much the colours beside
the pixel vary, over how far F and B lie apart; measurement and network are averaged, each by the
inverse of its variance.

B is the plate in the light beside the outline, so that a shadow does not count as foreground. F and
B are smooth, so they are estimated at the network's input size.
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
    "Pixels",
    "Squares",
    "Surroundings",
    "describe_surroundings",
    "dot",
    "light_plate",
    "measure_evidence",
    "solve_alpha",
]

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Pixels = tuple[NDArray[np.intp], ...]  # rows (N,) and columns (N,)

MAX_VARIANCE: Final = 1e4  # squared levels; a larger variance says nothing more

_FOREGROUND_SIGMA: Final = 0.9  # px, of means over foreground, whose colours change quickly
_PLATE_SIGMA: Final = 3.0  # px, of means over visible plate
_WEIGHT_POWER: Final = 6  # of alpha, and of 1 - alpha, as weights of these means
_MIN_WEIGHT: Final = 1e-3  # of a mean; a smaller one counts as none
_MIN_NOISE: Final = 2.0  # of 255: the standard deviation that cameras and codecs always have
_TEXTURE_SHARE: Final = 0.5  # of the foreground's variance that counts: neighbours are alike
_NETWORK_DEVIATION: Final = 0.2  # of the network's alpha where it says 1/2
_VARIANCE_FLOOR: Final = 0.05  # share of alpha's variance that is left where it says 0 or 1
_LIGHT_RANGE: Final = (0.2, 3.0)  # of the light beside an outline, as a factor of the plate's
_BLACK: Final = 0.02  # keeps ratios of nearly black means near 1
_CLIPPED: Final = 250  # of 255; a channel this bright may have been clipped
_NO_VARIANCE: Final = np.float32(1e12)  # stands for 'unknown'; infinity could not be interpolated
_ROUNDING: Final = 1e-3  # squared levels: keeps a foreground like its plate from dividing by 0

MARGIN_PX: Final = round(4 * _PLATE_SIGMA)
"""Pixels beside an outline that have a say in its evidence; farther ones hardly count."""


@dataclass(frozen=True)
class Evidence:
    """What is measured at each pixel of a picture, at the network's input size.

    Attributes:
        picture: (h, w, 3) the picture's colour, 0..255.
        plate: (h, w, 3) the plate's, in the light beside the outline.
        foreground: (h, w, 3) mean colour of the foreground beside the pixel.
        texture: (h, w) variance of the foreground's colour, summed over channels, squared levels.
        noise: (h, w) variance of the picture about the plate, summed in the same way.
        alpha: (h, w) the network's, in [0, 1].
        measured: (h, w) alpha by the compositing equation, in [0, 1].
        trust: (h, w) the share in [0, 1] of the measurement in its average with the network.
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
        """(h, w): alpha of network and measurement together."""
        return self.alpha + self.trust * (self.measured - self.alpha)


@dataclass(frozen=True)
class Surroundings:
    """Foreground and light beside each pixel.

    Attributes:
        foreground: (..., 4) mean colour, and the variance about it, summed over channels.
        light: (..., 4) factors of the plate's colour, and the picture's variance about the plate
            in that light. Variances are 1e12 where nothing is beside the pixel.
    """

    foreground: Floats
    light: Floats


def measure_evidence(picture: Picture, plate: Picture, alpha: Floats) -> Evidence:
    """The evidence of a pair (h, w, 3) about the network's alpha (h, w)."""
    colours, plate_colours = picture.astype(np.float32), plate.astype(np.float32)
    beside = describe_surroundings(colours, plate_colours, alpha)
    lit = light_plate(plate_colours, beside)
    measured, trust = solve_alpha(colours, lit, beside, alpha, _NETWORK_DEVIATION)
    return Evidence(
        picture=colours,
        plate=lit,
        foreground=beside.foreground[..., :3],
        texture=beside.foreground[..., 3],
        noise=beside.light[..., 3],
        alpha=alpha,
        measured=measured,
        trust=trust,
    )


def describe_surroundings(picture: Floats, plate: Floats, alpha: Floats) -> Surroundings:
    """Means over the foreground and over the visible plate beside each pixel.

    Args:
        picture, plate: (h, w, 3), 0..255.
        alpha: (h, w) in [0, 1], which says how much each pixel counts for either mean.
    """
    front = alpha**_WEIGHT_POWER
    back = (1 - alpha) ** _WEIGHT_POWER
    front_weight, back_weight = _blur(front, _FOREGROUND_SIGMA), _blur(back, _PLATE_SIGMA)
    divisor = np.maximum(front_weight, _MIN_WEIGHT)
    foreground = np.empty((*alpha.shape, 4), np.float32)
    colour = _blur(picture * _for_colours(front), _FOREGROUND_SIGMA) / _for_colours(divisor)
    squares = _blur(dot(picture, picture) * front, _FOREGROUND_SIGMA) / divisor
    foreground[..., :3] = colour
    foreground[..., 3] = np.maximum(squares - dot(colour, colour), 0)
    foreground[..., 3][front_weight < _MIN_WEIGHT] = _NO_VARIANCE

    light = np.empty((*alpha.shape, 4), np.float32)
    colour_weight = _for_colours(back)
    factors = (_blur(picture * colour_weight, _PLATE_SIGMA) + _BLACK) / (
        _blur(plate * colour_weight, _PLATE_SIGMA) + _BLACK
    )
    light[..., :3] = np.clip(factors, *_LIGHT_RANGE)
    beside = Surroundings(foreground, light)
    apart = picture - light_plate(plate, beside)
    noise = _blur(dot(apart, apart) * back, _PLATE_SIGMA) / np.maximum(back_weight, _MIN_WEIGHT)
    noise[back_weight < _MIN_WEIGHT] = _NO_VARIANCE
    light[..., 3] = noise
    return beside


def light_plate(plate: Floats, beside: Surroundings) -> Floats:
    """The plate's colours (..., 3) in the light beside them."""
    return np.asarray(np.clip(plate * beside.light[..., :3], 0, 255), np.float32)


def solve_alpha(
    picture: Floats, lit: Floats, beside: Surroundings, alpha: Floats, deviation: float
) -> tuple[Floats, Floats]:
    """Alpha by the compositing equation, and its share in an average with a prior alpha.

    Args:
        picture: (..., 3) colours.
        lit: (..., 3) the plate's colours, in the light beside them.
        beside: (..., 4) foreground and light.
        alpha: (...) the prior.
        deviation: the prior's standard deviation where it says 1/2.

    Returns:
        Both (...), in [0, 1].
    """
    foreground, light = beside.foreground, beside.light
    # A clipped channel says nothing about the mixture.
    line = np.where(np.maximum(picture, lit) >= _CLIPPED, 0, foreground[..., :3] - lit)
    length = dot(line, line) + _ROUNDING
    measured = np.clip(dot(picture - lit, line) / length, 0, 1)
    variance = (
        alpha**2 * _TEXTURE_SHARE * foreground[..., 3]
        + (1 - alpha) ** 2 * light[..., 3]
        + _MIN_NOISE**2
    )
    certainty = length / variance
    # Interpolated, half of an unknown variance is still far more than any real one.
    certainty[np.maximum(foreground[..., 3], light[..., 3]) > _NO_VARIANCE * 1e-4] = 0
    prior = 1 / (deviation**2 * (4 * alpha * (1 - alpha) + _VARIANCE_FLOOR))
    return measured.astype(np.float32), (certainty / (certainty + prior)).astype(np.float32)


class Squares:
    """The squares about N pixels of maps (h, w); edges repeat.

    Args:
        pixels: rows and columns.
        width: of the maps.
        radius: the largest that will be asked for.
    """

    def __init__(self, pixels: Pixels, width: int, radius: int) -> None:
        self._radius = radius
        side, steps = width + 2 * radius, np.arange(2 * radius + 1)
        corner = pixels[0] * side + pixels[1]
        self._index = corner[:, None, None] + (steps[:, None] * side + steps)  # (N, rows, columns)

    def gather(self, values: Floats, radius: int) -> Floats:
        """Values (h, w) in the squares of a radius, (N, (2 radius + 1)^2), row by row."""
        sides = (self._radius,) * 4
        padded = cv2.copyMakeBorder(values, *sides, cv2.BORDER_REPLICATE)
        inner = slice(self._radius - radius, self._radius + radius + 1)
        index = self._index[:, inner, inner].reshape(len(self._index), -1)
        return np.asarray(np.take(padded, index), np.float32)


def dot(first: Floats, second: Floats) -> Floats:
    """Dot products of colours, (..., 3) and (..., 3) to (...)."""
    products = first * second
    return np.asarray(products[..., 0] + products[..., 1] + products[..., 2])


def _for_colours(values: Floats) -> Floats:
    """Values (h, w) as (h, w, 3): NumPy multiplies such faster than it broadcasts."""
    return np.asarray(cv2.merge([values, values, values]), np.float32)


def _blur(values: Floats, sigma: float) -> Floats:
    return np.asarray(
        cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32
    )
