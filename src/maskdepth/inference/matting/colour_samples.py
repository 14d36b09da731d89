"""Single colours of the foreground beside an outline, each tried as the pixel's foreground.

The mean of the foreground's colours beside a pixel is the colour of nothing where fur meets cloth.
One of the colours themselves may explain the pixel better: the pixel's colour lies near the line
from the plate's colour to it, or it does not. So every colour within reach that surely is
foreground is tried, and the one counts whose line passes closest, nearer ones first (after Wang and
Cohen, "Optimized color sampling for robust matting", CVPR 2007, with the background known).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.evidence import MAX_VARIANCE, Evidence, Floats, dot
from maskdepth.inference.matting.squares import Pixels, Squares

__all__ = ["SAMPLE_FEATURES", "SAMPLE_SQUARES", "ColourSamples", "SampleMaps", "try_colours"]

_MIN_ALPHA: Final = 0.6  # of a pixel whose colour is tried
_REACH_PX: Final = 3.5  # colours from farther away gain nothing
_DISTANCE_COST: Final = 0.5  # levels a px, by which a farther colour has to be better
_TOLERANCE: Final = 4.0  # levels: how much worse than the best a colour may be and still count
_MAX_DISTANCE: Final = 100.0  # levels: no line counts as farther than this
_CHUNK: Final = 2048  # pixels at once: enough for NumPy, few enough for the caches

SAMPLE_SQUARES: Final = ((2, 2), (1, 1))
"""Radii of the squares about a pixel that its features begin with, and numbers of maps in each."""
SAMPLE_FEATURES: Final = sum((2 * radius + 1) ** 2 * maps for radius, maps in SAMPLE_SQUARES) + 2
"""Number of features that `SampleMaps.describe` gives."""


def _steps_in_reach() -> NDArray[np.intp]:
    """Rows and columns to all pixels within reach, (K, 2)."""
    radius = int(_REACH_PX)
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.argwhere(np.hypot(rows, columns) <= _REACH_PX) - radius


_STEPS: Final = _steps_in_reach()
_STEP_COSTS: Final = (_DISTANCE_COST * np.hypot(*_STEPS.T)).astype(np.float32)


class ColourSamples(NamedTuple):
    """What the colours within reach say of N pixels, each float32 (N,).

    Attributes:
        best: alpha by the colour whose line passes closest.
        distance: from the pixel's colour to that line, in levels, plus the colour's cost.
        mean: alpha by all colours, closer ones counting more.
        share: of the pixels within reach whose colours were tried. Where it is 0, both alphas are
            `Evidence.averaged`.
    """

    best: Floats
    distance: Floats
    mean: Floats
    share: Floats


class SampleMaps:
    """What the features of single colours are gathered from.

    Args:
        evidence: of the picture.
        alpha: (h, w) as far as it has been corrected.
        outline: all pixels of the outline, each of which tries the colours within its reach.
    """

    def __init__(self, evidence: Evidence, alpha: Floats, outline: Pixels) -> None:
        samples = try_colours(evidence, alpha, outline)
        best = alpha.copy()
        distance, self._mean, self._share = (np.zeros_like(alpha) for _ in range(3))
        best[outline], distance[outline] = samples.best, np.log1p(samples.distance)
        self._mean[outline], self._share[outline] = samples.mean, samples.share
        (wide, _), (narrow, _) = SAMPLE_SQUARES
        self._squares = Squares([best, alpha], wide), Squares([distance], narrow)

    def describe(self, pixels: Pixels) -> Floats:
        """The features of N pixels of the outline, float32 (N, `SAMPLE_FEATURES`).

        Of the squares about each pixel alpha by the best colour (off the outline alpha itself) and
        alpha; then, of smaller ones, the best colour's distance (0 off the outline). The last two
        are of the pixel alone: alpha by all colours, and the share that was tried.
        """
        squares = [each.about(pixels).reshape(len(pixels[0]), -1) for each in self._squares]
        own = [self._mean[pixels][:, None], self._share[pixels][:, None]]
        return np.concatenate([*squares, *own], axis=1)


def try_colours(evidence: Evidence, alpha: Floats, pixels: Pixels) -> ColourSamples:
    """Try the colours within reach of N pixels.

    Args:
        alpha: (h, w), which says what surely is foreground.
    """
    radius = int(_REACH_PX)
    width = alpha.shape[1] + 2 * radius
    border = (radius,) * 4
    unusable = np.where(alpha > _MIN_ALPHA, np.float32(0), np.float32(np.inf))
    planes = [
        cv2.copyMakeBorder(plane, *border, cv2.BORDER_CONSTANT, value=beyond).ravel()
        for plane, beyond in zip((*evidence.picture, unusable), (0, 0, 0, np.inf), strict=True)
    ]
    steps = (_STEPS @ np.array([width, 1]))[:, None]
    averaged, noise = evidence.averaged, evidence.surroundings.light[3]
    empty = np.zeros(0, np.float32)
    chunks = [ColourSamples(empty, empty, empty, empty)]
    for start in range(0, len(pixels[0]), _CHUNK):
        rows, columns = (each[start : start + _CHUNK] for each in pixels)
        index = (rows + radius) * width + columns + radius + steps  # (K, n)
        plate = evidence.plate[:, rows, columns]  # (3, n)
        difference = evidence.picture[:, rows, columns] - plate
        red, green, blue, cost = (np.take(plane, index) for plane in planes)
        lines = red, green, blue
        for line, plate_colour in zip(lines, plate, strict=True):
            np.subtract(line, plate_colour, out=line)
        along, length = dot(lines, difference), dot(lines, lines)
        found = along / np.maximum(length, 1)
        np.clip(found, 0, 1, out=found)
        # The squared distance to the line, whose terms are added in place.
        length *= found
        along *= 2
        length -= along
        length *= found
        length += dot(difference, difference)
        distance = np.sqrt(np.maximum(length, 0, out=length), out=length)
        distance += cost
        distance += _STEP_COSTS[:, None]
        count = (cost == 0).sum(axis=0)
        some = count > 0
        closest = distance.argmin(axis=0), np.arange(index.shape[1])
        smallest = np.where(some, distance[closest], 0)
        spread = _TOLERANCE + np.sqrt(np.minimum(noise[rows, columns], MAX_VARIANCE))
        weight = np.subtract(smallest, distance, out=distance)
        weight /= spread
        np.exp(weight, out=weight)
        mean = np.einsum("kn,kn->n", weight, found) / np.maximum(weight.sum(axis=0), 1)
        otherwise = averaged[rows, columns]
        farthest = np.where(some, np.minimum(smallest, _MAX_DISTANCE), _MAX_DISTANCE)
        chunks.append(
            ColourSamples(
                best=np.where(some, found[closest], otherwise),
                distance=farthest.astype(np.float32),
                mean=np.where(some, mean, otherwise),
                share=(count / len(_STEPS)).astype(np.float32),
            )
        )
    return ColourSamples(*(np.concatenate(each) for each in zip(*chunks, strict=True)))
