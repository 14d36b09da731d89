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

__all__ = ["lacks_colour", "lend_colour", "to_grey"]

Picture = NDArray[np.uint8]

# Levels of 255 between a pixel's largest and smallest channel, in means over 5 px, which have
# hardly any noise. A white wall has no colour either, so what counts is colour in pixels of like
# lightness. In 392 photos and 96 pairs with a grey plate, this finds all but 6, which have hardly
# any colour; in as many pairs without one it finds none.
_GREY: Final = 2
_COLOURED: Final = 6
_MEAN_PX: Final = 5
_MAX_COLOURED: Final = 0.01  # share of the pixels of a grey picture, for bad pixels and stamps
_MIN_COLOURED: Final = 0.25  # share of the pixels of like lightness
_ALIKE: Final = 30  # of 255: difference in lightness, after making the medians equal
_MIN_ALIKE: Final = 0.02  # share of all pixels


def lacks_colour(picture: Picture, other: Picture) -> bool:
    """Whether a picture is grey all over, while another one of its scene is coloured.

    Args:
        picture, other: uint8 (H, W, 3) RGB of one size.
    """
    if (_spread(picture) > _GREY).mean() > _MAX_COLOURED:
        return False
    light, other_light = (
        cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (picture, other)
    )
    ratio = (np.median(light) + 1) / (np.median(other_light) + 1)
    alike = np.abs(ratio * other_light - light) <= _ALIKE
    coloured = _spread(other)[alike] > _COLOURED
    return bool(alike.mean() > _MIN_ALIKE and coloured.mean() > _MIN_COLOURED)


def to_grey(picture: Picture) -> Picture:
    """A picture (H, W, 3) without its colour."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def lend_colour(plate: Picture, picture: Picture) -> Picture:
    """A grey plate (H, W, 3) with the colour, but not the lightness, of a picture of its size."""
    lighter = cv2.subtract(plate, to_grey(picture), dtype=cv2.CV_16S)
    return np.asarray(cv2.add(lighter, picture, dtype=cv2.CV_8U), np.uint8)


def _spread(picture: Picture) -> Picture:
    """uint8 (H, W): how coloured each pixel's neighbourhood is."""
    red, green, blue = cv2.split(cv2.blur(picture, (_MEAN_PX, _MEAN_PX)))
    high, low = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return np.asarray(cv2.subtract(high, low), np.uint8)
