"""Close-ups: a second look at the foreground alone, where it fills a small part of the picture.

The network sees a picture at a fixed size, and half of what it does happens at half of that. What
is small there, or thin, is seen better when the part of the picture that holds the foreground is
cut out and shown to the same network at the same size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize

__all__ = ["MOST", "Window", "enlarge", "find_window", "window_about"]

MOST: Final = 2.0  # times that a picture's own pixels are enlarged: more shows nothing new
_LEAST: Final = 1.2  # times closer; less is not worth another look
_MARGIN: Final = 0.15  # of the foreground's height and width, on each side

_Array = TypeVar("_Array", bound=NDArray[Any])


@dataclass(frozen=True)
class Window:
    """A part of a picture, in whole pixels, of the picture's aspect ratio.

    Attributes:
        top, left: of its first row and column.
        height, width: its size.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


def window_about(
    rows: tuple[float, float],
    columns: tuple[float, float],
    shape: tuple[int, int],
    most: float,
    margin: float = _MARGIN,
) -> Window | None:
    """What a close-up of a box shows.

    Args:
        rows, columns: where the box begins and ends, px; what lies beyond the picture is left out.
        shape: the picture's height and width.
        most: times closer that the close-up may be at most.
        margin: of the box's height and width, on each side.

    Returns:
        None where it would be hardly closer than the picture as a whole.
    """
    spans = [
        (max(0.0, low), min(float(side), high))
        for (low, high), side in zip((rows, columns), shape, strict=True)
    ]
    if any(high <= low for low, high in spans):
        return None
    closer = min(
        side / ((high - low) * (1 + 2 * margin))
        for (low, high), side in zip(spans, shape, strict=True)
    )
    closer = min(closer, most)
    if closer < _LEAST:
        return None
    height, width = (max(1, round(side / closer)) for side in shape)
    top, left = (
        min(max(0, round((low + high - part) / 2)), side - part)
        for (low, high), part, side in zip(spans, (height, width), shape, strict=True)
    )
    return Window(top, left, height, width)


def find_window(alpha: NDArray[np.float32], size: tuple[int, int]) -> Window | None:
    """What a second look at a picture shows, given what the first found.

    Args:
        alpha: (h, w) of the first look.
        size: the picture's height and width.

    Returns:
        A part of the picture that holds the whole mask; None where another look is not worth it.
    """
    mask = alpha > 0.5
    if not mask.any():
        return None
    steps = [side / seen for side, seen in zip(size, mask.shape, strict=True)]
    rows, columns = (
        (float(places[0]) * step, float(places[-1] + 1) * step)
        for places, step in zip(
            (np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))), steps, strict=True
        )
    )
    return window_about(rows, columns, size, MOST * max(1.0, min(steps)))


def enlarge(array: _Array, height: int, width: int) -> _Array:
    """Resize (H, W) or (H, W, C): bicubic where both sides grow, else as `maskdepth.images.resize`.

    Bilinear enlarging blurs the very outlines that a close-up is for.
    """
    if height <= array.shape[0] or width <= array.shape[1]:
        return resize(array, height, width)
    result = cv2.resize(array, (width, height), interpolation=cv2.INTER_CUBIC)
    if array.dtype.kind == "f":
        result = np.clip(result, 0, 1)
    return result.reshape(height, width, *array.shape[2:])  # type: ignore[return-value]
