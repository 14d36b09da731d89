"""The values of maps in squares about pixels, which small networks take as features."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.evidence import Floats

__all__ = ["Pixels", "Squares"]

Pixels = tuple[NDArray[np.intp], ...]  # rows (N,) and columns (N,)


class Squares:
    """Squares about N pixels of maps (h, w); values beyond a map repeat its edge.

    Args:
        pixels: rows and columns of the centres.
        width: of the maps.
        max_radius: the largest radius that `gather` will be called with.
    """

    def __init__(self, pixels: Pixels, width: int, max_radius: int) -> None:
        self._border = max_radius
        side, steps = width + 2 * max_radius, np.arange(2 * max_radius + 1)
        corner = pixels[0] * side + pixels[1]
        self._index = corner[:, None, None] + (steps[:, None] * side + steps)  # (N, rows, columns)

    def gather(self, values: Floats, radius: int) -> Floats:
        """Values (h, w) in the squares of a radius, (N, (2 radius + 1)^2), row by row."""
        border = self._border
        padded = cv2.copyMakeBorder(values, border, border, border, border, cv2.BORDER_REPLICATE)
        inner = slice(border - radius, border + radius + 1)
        index = self._index[:, inner, inner].reshape(len(self._index), -1)
        return np.asarray(np.take(padded, index), np.float32)
