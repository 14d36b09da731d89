"""Whether a frame shows its plate and nothing else, so that no network has to look for an object.

Picture and plate differ by the sensor's noise alone. Means over squares have less of it, by the
square's side, so an object of a few levels stands out of large ones, and one of a few pixels out of
small ones. Whatever stands out, be it light, a shadow or a codec's blocks, is left to the network.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["shows_plate_alone"]

Picture = NDArray[np.uint8]

_SIDES_PX: Final = (1, 3, 9, 27)  # of the squares
_MAX_NOISE: Final = 4.0  # levels, standard deviation: beyond that, the difference is no noise
_MAX_COUNTED: Final = 12.0  # levels, of a difference that counts as noise
_MIN_NOISE: Final = 0.5  # levels: rounding
_DEVIATIONS: Final = 5.5  # of noise, which one of a million means exceeds by chance less than once
_FLOOR: Final = 0.35  # levels by which a mean may differ besides: rounding is no noise


def shows_plate_alone(picture: Picture, plate: Picture) -> bool:
    """Whether picture and plate, uint8 (h, w, 3) at the network's input size, are alike."""
    difference = cv2.subtract(picture, plate, dtype=cv2.CV_32F)
    # The mean absolute value of noise is 0.8 deviations; an object may add little to it.
    noise = float(np.minimum(np.abs(difference[::3, ::3]), _MAX_COUNTED).mean()) / 0.8
    if noise > _MAX_NOISE:
        return False
    noise = max(noise, _MIN_NOISE)
    for side in _SIDES_PX:
        means = cv2.blur(difference, (side, side), borderType=cv2.BORDER_REFLECT_101)
        low, high, _, _ = cv2.minMaxLoc(means.reshape(-1))
        if max(-low, high) > _DEVIATIONS * noise / side + _FLOOR:
            return False
    return True
