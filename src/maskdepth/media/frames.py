"""What a clip or a camera gives, and what takes its predictions: a frame, a source, a sink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from maskdepth.inference.prediction import Prediction

__all__ = ["Frame", "FrameSource", "Sink"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a clip or camera.

    Attributes:
        pixels: uint8 (H, W, 3) RGB, upright.
        index: its number, from 0.
        time_s: its own time stamp in seconds, as the clip has it; a clip need not begin at 0, and
            its frames need not be equally far apart.
    """

    pixels: NDArray[np.uint8]
    index: int
    time_s: float


class FrameSource(Protocol):
    """Frames in the order of their time stamps."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every frame."""

    @property
    def rate(self) -> float:
        """Frames a second on average."""

    def __iter__(self) -> Iterator[Frame]:
        """All frames, or as many as there are until the camera is closed."""


class Sink(Protocol):
    """Takes predictions in the order of their frames."""

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Take one more.

        Raises:
            MaskdepthError: it cannot be written; no other frame is then passed.
        """
