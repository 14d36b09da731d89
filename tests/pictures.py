"""Pictures that tests draw, and a catalogue that holds them in memory."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import premultiply


def noise(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Every pixel of another colour."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def photo(seed: int, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Coarse random colours, unlike those of any other seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST))


def disc(side: int, radius: float, softness: float) -> NDArray[np.float32]:
    """A disc in the middle whose edge is a ramp of that many pixels."""
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    away = np.hypot(row, column)
    return np.clip((radius - away) / softness + 0.5, 0, 1).astype(np.float32)


@dataclass
class InMemory:
    """A catalogue of one cutout and one background."""

    rgba: NDArray[np.uint8]
    scene: NDArray[np.uint8]
    scene_disparity: NDArray[np.float32] | None = None
    relief: NDArray[np.float32] | None = None

    def cutout(self, _: str, __: int) -> tuple[NDArray[np.uint16], NDArray[np.float32] | None]:
        return np.rint(premultiply(self.rgba) * np.float32(257)).astype(np.uint16), self.relief

    def background_level(self, _: str, __: float) -> int:
        return 0

    def background(self, _: str, level: int = 0) -> NDArray[np.uint8]:
        return self.scene

    def disparity(self, _: str) -> NDArray[np.float32] | None:
        return self.scene_disparity
