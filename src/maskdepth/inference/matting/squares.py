"""The values of maps in squares about pixels, which small networks take as features."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.matting.evidence import Floats

__all__ = ["Pixels", "Squares"]

Pixels = tuple[NDArray[np.intp], ...]  # rows (N,) and columns (N,)


class Squares:
    """Squares of one size in C maps (h, w); values beyond a map repeat its edge.

    Args:
        maps: C of them, each float32 (h, w).
        radius: of the squares, px.
    """

    def __init__(self, maps: Sequence[Floats], radius: int) -> None:
        border = (radius,) * 4
        padded = cv2.copyMakeBorder(cv2.merge(maps), *border, cv2.BORDER_REPLICATE)
        self._values = padded.reshape(-1, len(maps))
        self._side = padded.shape[1]
        steps = np.arange(2 * radius + 1)
        self._steps = (steps[:, None] * self._side + steps).ravel()

    def about(self, pixels: Pixels) -> Floats:
        """The squares about N pixels, (N, (2 radius + 1)^2, C), row by row."""
        index = (pixels[0] * self._side + pixels[1])[:, None] + self._steps
        return np.asarray(np.take(self._values, index, axis=0), np.float32)
