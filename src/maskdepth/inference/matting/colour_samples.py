"""Colours of the foreground beside an outline, tried one by one.

The mean of the foreground's colours beside a pixel is the colour of nothing where fur meets cloth.
One of the colours themselves may explain the pixel better: with the plate's it makes a line in the
space of colours, and the pixel lies on it or does not. So each of the nearest that are foreground
for sure is tried, and the one counts whose line passes closest, nearer ones first (after Wang and
Cohen, "Optimized color sampling for robust matting", CVPR 2007, with the background known).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.evidence import (
    MOST_VARIANCE,
    Neighbourhood,
    Places,
    squares_about,
)

__all__ = ["SAMPLE_FEATURES", "SAMPLE_RADII", "describe_samples", "try_colours"]

Floats = NDArray[np.float32]

_SURE: Final = 0.6  # alpha of what is tried, at least
_REACH: Final = 3.5  # px; colours from further away gain nothing
_STEP: Final = 0.5  # levels of distance that a colour has to be better by, a px
_SPREAD: Final = 4.0  # levels: how much worse a colour may explain a pixel and have a say
_WORST: Final = 100.0  # levels: what lies further from every line is as far
_AT_ONCE: Final = 512  # pixels whose colours fit a core's cache

SAMPLE_RADII: Final = (2, 2, 1)
"""Of the squares about a pixel that these features begin with, in their order."""
SAMPLE_FEATURES: Final = sum((2 * radius + 1) ** 2 for radius in SAMPLE_RADII) + 2
"""How many there are."""


def _steps() -> NDArray[np.intp]:
    """Rows and columns to all that is within reach, (K, 2)."""
    most = int(_REACH)
    rows, columns = np.mgrid[-most : most + 1, -most : most + 1]
    return np.argwhere(np.hypot(rows, columns) <= _REACH) - most


_STEPS: Final = _steps()
_FAR: Final = (_STEP * np.hypot(*_STEPS.T)).astype(np.float32)


def describe_samples(
    known: Neighbourhood, alpha: Floats, outline: NDArray[np.bool_], place: Places
) -> Floats:
    """The features of N pixels of an outline, float32 (N, `SAMPLE_FEATURES`).

    Squares about each pixel of alpha by the best colour (off the outline as it is), of alpha as it
    is, and of how far the best colour's line is (0 off the outline); then, of the pixel alone,
    alpha by all colours, the better ones counting more, and the share of the reach that was tried.

    Args:
        alpha: (h, w) as it is known so far.
        outline: (h, w) of which ``place`` are some.
    """
    tried = np.nonzero(outline)
    best, distance, mean, share = try_colours(known, alpha, tried)
    maps = [alpha.copy(), *(np.zeros_like(alpha) for _ in range(3))]
    for values, of_map in zip((best, np.log1p(distance), mean, share), maps, strict=True):
        of_map[tried] = values
    shown = zip((maps[0], alpha, maps[1]), SAMPLE_RADII, strict=True)
    return np.concatenate(
        [
            *(squares_about(values, place, radius) for values, radius in shown),
            *(values[place][:, None] for values in maps[2:]),
        ],
        axis=1,
        dtype=np.float32,
    )


def try_colours(
    known: Neighbourhood, alpha: Floats, place: Places
) -> tuple[Floats, Floats, Floats, Floats]:
    """What the colours within reach make of N pixels, all (N,).

    Args:
        alpha: (h, w), which says what is foreground.

    Returns:
        Alpha by the colour whose line passes closest; how far from the pixel it does, levels, a
        little more the further away that colour lies; alpha by all, the closer ones counting more;
        the share of the reach that was tried. Where nothing was, alphas are the averaged one.
    """
    most = int(_REACH)
    width = alpha.shape[1] + 2 * most
    # A plane a channel: sums over the last of three axes are slow.
    planes = [np.pad(known.seen[..., c], most).ravel() for c in range(known.seen.shape[2])]
    sure = np.pad(alpha > _SURE, most).ravel()
    steps = _STEPS @ np.array([width, 1])
    averaged, told = known.averaged, [(np.zeros(0, np.float32),) * 4]
    for start in range(0, len(place[0]), _AT_ONCE):
        part = place[0][start : start + _AT_ONCE], place[1][start : start + _AT_ONCE]
        index = (part[0] + most) * width + part[1] + most + steps[:, None]  # (K, n)
        usable = sure[index]
        plate = known.plate[part].T  # (3, n)
        apart = known.seen[part].T - plate
        ways = [plane[index] - behind for plane, behind in zip(planes, plate, strict=True)]
        along = sum(way * each for way, each in zip(ways, apart, strict=True))
        length = sum(way * way for way in ways)
        found = np.clip(along / np.maximum(length, 1), 0, 1)
        square = (apart * apart).sum(axis=0) + found * (found * length - 2 * along)
        distance = np.sqrt(np.maximum(square, 0)) + _FAR[:, None]
        distance[~usable] = np.inf
        first = distance.argmin(axis=0), np.arange(index.shape[1])
        count = usable.sum(axis=0)
        some = count > 0
        least = np.where(some, distance[first], 0)
        spread = _SPREAD + np.sqrt(np.minimum(known.noise[part], MOST_VARIANCE))
        weight = np.exp((least - distance) / spread)
        mean = (weight * found).sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
        told.append(
            (
                np.where(some, found[first], averaged[part]),
                np.where(some, np.minimum(least, _WORST), _WORST).astype(np.float32),
                np.where(some, mean, averaged[part]),
                (count / len(_STEPS)).astype(np.float32),
            )
        )
    best, far, mean, share = (np.concatenate(each) for each in zip(*told, strict=True))
    return best, far, mean, share
