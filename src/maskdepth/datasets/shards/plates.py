"""Clean plates, stored once: a background's working copies, and the square of each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.datasets.shards.layout import PLATE_FOLDER
from maskdepth.synthesis.assets import BackgroundAsset
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Recipe
from maskdepth.synthesis.renderer import plate_window

INTERPOLATIONS: Final = {"INTER_AREA": cv2.INTER_AREA, "INTER_LINEAR": cv2.INTER_LINEAR}
"""OpenCV's constants by their names in samples."""
_NAMES: Final = {value: name for name, value in INTERPOLATIONS.items()}


@dataclass(frozen=True, slots=True)
class PlateSquare:
    """A sample's clean plate: a square of a stored working copy, resized by an interpolation."""

    file: str
    left: int
    top: int
    side: int
    interpolation: str

    def cut(self, picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """The plate, uint8 (size, size, 3) RGB, of the stored working copy."""
        square = picture[self.top : self.top + self.side, self.left : self.left + self.side]
        interpolation = INTERPOLATIONS[self.interpolation]
        return np.asarray(cv2.resize(square, (size, size), interpolation=interpolation), np.uint8)


def plate_square(recipe: Recipe, size: int, catalogue: Catalogue) -> PlateSquare:
    """The square that is the clean plate of a recipe."""
    window = plate_window(recipe, size, catalogue)
    return PlateSquare(
        file=plate_file(catalogue.background_asset(recipe.background), window.level),
        left=window.left,
        top=window.top,
        side=window.side,
        interpolation=_NAMES[window.interpolation],
    )


def plate_pictures(background: str, catalogue: Catalogue) -> tuple[NDArray[np.uint8], ...]:
    """The working copies that the renderer cuts a background's plates from, by level."""
    levels = range(catalogue.background_levels(background))
    return tuple(catalogue.background(background, level) for level in levels)


def plate_file(asset: BackgroundAsset, level: int) -> str:
    """Path of a working copy in the dataset folder, since an id may be no file name."""
    return f"{PLATE_FOLDER}/{asset.content_name}-{level}.png"
