"""How a camera was held: the turn and the mirror that a clip asks of its player."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

UNIT = 1 << 16
"""1 in the numbers of a display matrix."""


@dataclass(frozen=True)
class Orientation:
    """What makes a decoded frame upright: first the axes change places, then the flips.

    Attributes:
        transposed: whether rows become columns.
        flipped_across: whether left and right change places.
        flipped_down: whether top and bottom do.
        exact: whether that is all that the clip asks for; a turn by other than 90 degrees is not
            made.
    """

    transposed: bool = False
    flipped_across: bool = False
    flipped_down: bool = False
    exact: bool = True

    @classmethod
    def from_matrix(cls, matrix: Sequence[int]) -> Orientation:
        """Read a display matrix.

        Args:
            matrix: its nine numbers, row by row, in units of 1/65536: a point (x, y) of the frame
                is shown at (m0 x + m3 y, m1 x + m4 y), and the result is moved back into the first
                quadrant (ISO/IEC 14496-12, track header box; FFmpeg, libavutil/display.h).
        """
        across, turn_down, turn_across, down = (matrix[each] / UNIT for each in (0, 1, 3, 4))
        straight, turned = abs(across) + abs(down), abs(turn_down) + abs(turn_across)
        exact = min(straight, turned) < 0.05 * max(straight, turned)
        if not exact:
            return cls(exact=False)
        if turned > straight:
            return cls(True, turn_across < 0, turn_down < 0)
        return cls(False, across < 0, down < 0)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame as it is to be shown; (H, W, C), contiguous."""
        if self.transposed:
            pixels = np.asarray(cv2.transpose(pixels), np.uint8)
        if self.flipped_across or self.flipped_down:
            code = -1 if self.flipped_across and self.flipped_down else int(self.flipped_across)
            pixels = np.asarray(cv2.flip(pixels, code), np.uint8)
        return np.ascontiguousarray(pixels)
