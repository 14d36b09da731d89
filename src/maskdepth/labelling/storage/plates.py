"""Clean plates, stored once: a background's working copies, and the square a sample takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.labelling.storage.layout import PLATE_FOLDER
from maskdepth.synthesis.assets import BackgroundAsset
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Recipe
from maskdepth.synthesis.renderer import _crop

INTERPOLATIONS: Final = {"INTER_AREA": cv2.INTER_AREA, "INTER_LINEAR": cv2.INTER_LINEAR}
"""OpenCV's constants by the names that samples give."""


@dataclass(frozen=True)
class PlateWindow:
    """A clean plate: a square of a stored picture, brought to the sample's size by one call.

    Attributes:
        level: which of the background's working copies.
        left, top, side: of the square in it, px.
        interpolation: a name in ``INTERPOLATIONS``.
    """

    level: int
    left: int
    top: int
    side: int
    interpolation: str

    def describe(self, asset: BackgroundAsset) -> dict[str, Any]:
        """What a sample's JSON says of its plate."""
        values = asdict(self)
        return {"file": plate_file(asset, values.pop("level")), **values}


def plate_pictures(background: str, catalogue: Catalogue) -> tuple[NDArray[np.uint8], ...]:
    """The working copies that the renderer cuts a background's plates from, by level."""
    return (catalogue.background(background),)


def plate_window(recipe: Recipe, size: int, catalogue: Catalogue) -> PlateWindow:
    """Where the renderer takes the clean plate of a recipe from; the two must agree."""
    top, left, side = _crop(recipe, catalogue.background(recipe.background).shape)
    return PlateWindow(0, left, top, side, "INTER_AREA" if side >= size else "INTER_LINEAR")


def plate_file(asset: BackgroundAsset, level: int) -> str:
    """Path of a working copy in the dataset folder: ids may hold what file names cannot."""
    return f"{PLATE_FOLDER}/{asset.sha256[:16]}-{level}.png"


def cut_plate(picture: NDArray[np.uint8], window: dict[str, Any], size: int) -> NDArray[np.uint8]:
    """The clean plate, uint8 (size, size, 3) RGB, of a stored picture and a sample's ``plate``."""
    top, left, side = window["top"], window["left"], window["side"]
    square = picture[top : top + side, left : left + side]
    interpolation = INTERPOLATIONS[window["interpolation"]]
    return np.asarray(cv2.resize(square, (size, size), interpolation=interpolation), np.uint8)
