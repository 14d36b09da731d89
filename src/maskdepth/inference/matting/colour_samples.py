"""Single colours of the foreground beside an outline, each tried as the pixel's foreground.

The mean of the foreground's colours beside a pixel is the colour of nothing where fur meets cloth.
One of the colours themselves may explain the pixel better: the pixel's colour lies near the line
from the plate's colour to it, or it does not. So every colour within reach that surely is
foreground is tried, and the one counts whose line passes closest, nearer ones first (after Wang and
Cohen, "Optimized color sampling for robust matting", CVPR 2007, with the background known).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.evidence import MAX_VARIANCE, Evidence, Floats
from maskdepth.inference.matting.squares import Pixels, Squares

__all__ = ["SAMPLE_FEATURES", "SAMPLE_RADII", "ColourSamples", "describe_samples", "try_colours"]

_MIN_ALPHA: Final = 0.6  # of a pixel whose colour is tried
_REACH_PX: Final = 3.5  # colours from farther away gain nothing
_DISTANCE_COST: Final = 0.5  # levels a px, by which a farther colour has to be better
_TOLERANCE: Final = 4.0  # levels: how much worse than the best a colour may be and still count
_MAX_DISTANCE: Final = 100.0  # levels: no line counts as farther than this
_CHUNK: Final = 2048  # pixels at once: enough for NumPy, few enough for the caches

SAMPLE_RADII: Final = (2, 2, 1)
"""Radii of the squares about a pixel that its features begin with, in their order."""
SAMPLE_FEATURES: Final = sum((2 * radius + 1) ** 2 for radius in SAMPLE_RADII) + 2
"""Number of features that `describe_samples` gives."""


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


def describe_samples(
    evidence: Evidence,
    alpha: Floats,
    outline: NDArray[np.bool_],
    pixels: Pixels,
    out: Floats | None = None,
) -> Floats:
    """The features of N pixels of an outline, float32 (N, `SAMPLE_FEATURES`).

    Squares about each pixel of alpha by the best colour (off the outline of alpha itself), of
    alpha, and of the best colour's distance (0 off the outline); then, of the pixel alone, alpha by
    all colours and the share that was tried.

    Args:
        alpha: (h, w) as far as it has been corrected.
        outline: (h, w) of which ``pixels`` are some.
        out: where to write the features; a new array if left out.
    """
    tried = np.nonzero(outline)
    samples = try_colours(evidence, alpha, tried)
    best = alpha.copy()
    distance, mean, share = (np.zeros_like(alpha) for _ in range(3))
    best[tried], distance[tried] = samples.best, np.log1p(samples.distance)
    mean[tried], share[tried] = samples.mean, samples.share
    squares = Squares(pixels, alpha.shape[1], max(SAMPLE_RADII))
    maps = zip((best, alpha, distance), SAMPLE_RADII, strict=True)
    return np.concatenate(
        [
            *(squares.gather(values, radius) for values, radius in maps),
            mean[pixels][:, None],
            share[pixels][:, None],
        ],
        axis=1,
        out=np.empty((len(pixels[0]), SAMPLE_FEATURES), np.float32) if out is None else out,
    )


def try_colours(evidence: Evidence, alpha: Floats, pixels: Pixels) -> ColourSamples:
    """Try the colours within reach of N pixels.

    Args:
        alpha: (h, w), which says what surely is foreground.
    """
    radius = int(_REACH_PX)
    width = alpha.shape[1] + 2 * radius
    # One plane a channel: sums over the last of three axes are slow.
    planes = [np.pad(evidence.picture[..., c], radius).ravel() for c in range(3)]
    usable_plane = np.pad(alpha > _MIN_ALPHA, radius).ravel()
    steps = _STEPS @ np.array([width, 1])
    averaged = evidence.averaged
    empty = np.zeros(0, np.float32)
    chunks = [ColourSamples(empty, empty, empty, empty)]
    for start in range(0, len(pixels[0]), _CHUNK):
        part = pixels[0][start : start + _CHUNK], pixels[1][start : start + _CHUNK]
        index = (part[0] + radius) * width + part[1] + radius + steps[:, None]  # (K, n)
        usable = np.take(usable_plane, index)
        plate = evidence.plate[part].T  # (3, n)
        difference = evidence.picture[part].T - plate
        red, green, blue = (
            np.take(plane, index) - colour for plane, colour in zip(planes, plate, strict=True)
        )
        along = red * difference[0]
        along += green * difference[1]
        along += blue * difference[2]
        length = np.square(red, out=red)
        length += np.square(green, out=green)
        length += np.square(blue, out=blue)
        found = along / np.maximum(length, 1)
        np.clip(found, 0, 1, out=found)
        square = (difference * difference).sum(axis=0) + found * (found * length - 2 * along)
        distance = np.sqrt(np.maximum(square, 0, out=square), out=square)
        distance += _STEP_COSTS[:, None]
        np.copyto(distance, np.inf, where=~usable)
        closest = distance.argmin(axis=0), np.arange(index.shape[1])
        count = usable.sum(axis=0)
        some = count > 0
        smallest = np.where(some, distance[closest], 0)
        spread = _TOLERANCE + np.sqrt(np.minimum(evidence.noise[part], MAX_VARIANCE))
        weight = np.exp((smallest - distance) / spread)
        mean = (weight * found).sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
        farthest = np.where(some, np.minimum(smallest, _MAX_DISTANCE), _MAX_DISTANCE)
        chunks.append(
            ColourSamples(
                best=np.where(some, found[closest], averaged[part]),
                distance=farthest.astype(np.float32),
                mean=np.where(some, mean, averaged[part]),
                share=(count / len(_STEPS)).astype(np.float32),
            )
        )
    return ColourSamples(*(np.concatenate(each) for each in zip(*chunks, strict=True)))
