"""A picture and a plate of which one has no colour, as from a camera that is colour-blind by night.

Everything coloured would differ from a grey plate, and count as foreground. So the two are compared
in grey: a plate is made grey for a grey picture, and a grey plate takes on the picture's own
colour, so that the two differ in lightness alone.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import to_grey

__all__ = ["is_grey", "lacks_colour", "lend_colour"]

Picture = NDArray[np.uint8]

# Levels of 255 between a pixel's largest and smallest channel, in means over 5 px, which have
# hardly any noise. A white wall has no colour either, so what counts is colour where both show the
# same. Of 398 photos with grey copies as their plates this finds 388, the others being nearly grey;
# of 96 pairs of one kind none. Before a grey wall, coloured foreground on half of a picture
# deceives it in 2 of 32 pairs, on three quarters in 3.
_GREY: Final = 2
_COLOURED: Final = 6
_MEAN_PX: Final = 5
_MAX_COLOURED: Final = 0.01  # share of the pixels of a grey picture, for bad pixels and stamps
_MIN_COLOURED: Final = 0.4  # share of the pixels of the same lightness
_ALIKE: Final = 8.0  # of 255: a smaller difference is the same lightness, in the same light
_RATIOS: Final = (np.log(0.25), np.log(4.0), 56)  # of light: two stops either way, in so many steps
_MIN_CONTRAST: Final = 3.0  # levels, standard deviation; plainer pictures agree by chance


def is_grey(picture: Picture) -> bool:
    """Whether a picture (H, W, 3) has no colour anywhere."""
    return bool((_spread(picture) > _GREY).mean() <= _MAX_COLOURED)


def lacks_colour(picture: Picture, other: Picture) -> bool:
    """Whether a picture is grey all over, while another one of its scene is coloured.

    Args:
        picture, other: uint8 (H, W, 3) RGB of one size.
    """
    if not is_grey(picture):
        return False
    light, other_light = (
        cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (picture, other)
    )
    if light.std() < _MIN_CONTRAST:
        return False
    low, high, steps = _RATIOS
    ratios = np.log((light + 1) / (other_light + 1))
    counts, edges = np.histogram(ratios, steps, (low, high))
    fullest = int(counts.argmax())
    ratio = np.exp((edges[fullest] + edges[fullest + 1]) / 2)
    alike = np.abs(ratio * (other_light + 1) - light - 1) <= _ALIKE
    coloured = _spread(other)[alike] > _COLOURED
    return bool(coloured.size and coloured.mean() > _MIN_COLOURED)


def lend_colour(plate: Picture, picture: Picture) -> Picture:
    """A grey plate (H, W, 3) with the colour, but not the lightness, of a picture of its size."""
    lighter = cv2.subtract(plate, to_grey(picture), dtype=cv2.CV_16S)
    return np.asarray(cv2.add(lighter, picture, dtype=cv2.CV_8U), np.uint8)


def _spread(picture: Picture) -> Picture:
    """uint8 (H, W): how coloured each pixel's neighbourhood is."""
    red, green, blue = cv2.split(cv2.blur(picture, (_MEAN_PX, _MEAN_PX)))
    high, low = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return np.asarray(cv2.subtract(high, low), np.uint8)
