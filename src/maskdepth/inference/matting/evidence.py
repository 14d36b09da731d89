"""What is known of each pixel beside its plate, and the squares of it about a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_VARIANCE", "Neighbourhood", "Places", "dot", "squares_about"]

Floats = NDArray[np.float32]
Places = tuple[NDArray[np.intp], ...]  # rows (N,) and columns (N,)

MOST_VARIANCE: Final = 1e4  # squared levels; beyond it nothing is known


@dataclass(frozen=True)
class Neighbourhood:
    """What is known of each pixel of a picture, at the size the network saw it.

    Attributes:
        seen: (h, w, 3) the picture's colour, 0..255.
        plate: (h, w, 3) the plate's, lit as it is beside the outline.
        foreground: (h, w, 3) the foreground's beside the pixel.
        texture: (h, w) variance of the foreground's colour, summed over channels, squared levels.
        noise: (h, w) that of the picture about the plate.
        alpha: (h, w) what the network says, in [0, 1].
        measured: (h, w) alpha by the compositing equation, in [0, 1].
        trust: (h, w) the share in [0, 1] that the measurement deserves beside the network.
    """

    seen: Floats
    plate: Floats
    foreground: Floats
    texture: Floats
    noise: Floats
    alpha: Floats
    measured: Floats
    trust: Floats

    @property
    def averaged(self) -> Floats:
        """Alpha of network and measurement together: what the reader starts from."""
        return self.alpha + self.trust * (self.measured - self.alpha)


def dot(first: Floats, second: Floats) -> Floats:
    """Colour by colour, (..., 3) and (..., 3) to (...): faster than the sum of a product."""
    return np.asarray(np.einsum("...c,...c->...", first, second), np.float32)


def squares_about(values: Floats, place: Places, radius: int) -> Floats:
    """Values in the square about N pixels, (N, (2 radius + 1)^2), row by row; edges repeat."""
    sides = (radius, radius, radius, radius)
    padded = np.asarray(cv2.copyMakeBorder(values, *sides, cv2.BORDER_REPLICATE), np.float32)
    width = padded.shape[1]
    steps = np.arange(2 * radius + 1)
    corner = place[0] * width + place[1]
    square = (steps[:, None] * width + steps).ravel()
    return np.asarray(padded.ravel()[corner[:, None] + square], np.float32)
