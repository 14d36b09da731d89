"""Clean plates, stored once: a background's working copies, and the square a sample takes."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.datasets.shards.layout import PLATE_FOLDER
from maskdepth.synthesis.assets import BackgroundAsset
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Recipe
from maskdepth.synthesis.renderer import plate_window

INTERPOLATIONS: Final = {"INTER_AREA": cv2.INTER_AREA, "INTER_LINEAR": cv2.INTER_LINEAR}
"""OpenCV's constants by the names that samples give."""
_NAMES: Final = {value: name for name, value in INTERPOLATIONS.items()}


def describe_plate(recipe: Recipe, size: int, catalogue: Catalogue) -> dict[str, Any]:
    """What a sample says of its clean plate: a file, a square of it, and how to resize that."""
    window = plate_window(recipe, size, catalogue)
    asset = catalogue.background_asset(recipe.background)
    return {
        "file": plate_file(asset, window.level),
        "left": window.left,
        "top": window.top,
        "side": window.side,
        "interpolation": _NAMES[window.interpolation],
    }


def plate_pictures(background: str, catalogue: Catalogue) -> tuple[NDArray[np.uint8], ...]:
    """The working copies that the renderer cuts a background's plates from, by level."""
    levels = range(catalogue.background_levels(background))
    return tuple(catalogue.background(background, level) for level in levels)


def plate_file(asset: BackgroundAsset, level: int) -> str:
    """Path of a working copy in the dataset folder: ids may hold what file names cannot."""
    return f"{PLATE_FOLDER}/{asset.sha256[:16]}-{level}.png"


def cut_plate(picture: NDArray[np.uint8], window: dict[str, Any], size: int) -> NDArray[np.uint8]:
    """The clean plate, uint8 (size, size, 3) RGB, of a stored picture and a sample's ``plate``."""
    top, left, side = window["top"], window["left"], window["side"]
    square = picture[top : top + side, left : left + side]
    interpolation = INTERPOLATIONS[window["interpolation"]]
    return np.asarray(cv2.resize(square, (size, size), interpolation=interpolation), np.uint8)
