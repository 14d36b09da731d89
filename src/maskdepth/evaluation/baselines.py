"""What a network is held against: masks and depth that need no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.registration import register_plate
from maskdepth.metrics import MASK_THRESHOLD
from maskdepth.synthesis.renderer import Composite

DISC: Final = "centred_disc"
_MEDIAN_SIDES: Final = (1, 3, 5, 7, 9, 11)  # px

Picture = NDArray[np.uint8]
Levels = Callable[[Composite], Picture]


@dataclass(frozen=True)
class Baseline:
    """A map of grey levels, median-filtered, and the level above which it is foreground.

    Attributes:
        name: of the map, one of `BASELINES`.
        threshold: of 255.
        median_px: side of the median filter.
        val_dice: mean Dice on the composites it was tuned on.
    """

    name: str
    threshold: int
    median_px: int
    val_dice: float

    def predict(self, composite: Composite) -> NDArray[np.float32]:
        """float32 (S, S), 0 or 1."""
        levels, _ = _MAPS[self.name]
        smooth = cv2.medianBlur(levels(composite), self.median_px)
        return (smooth > self.threshold).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """What it was tuned on, and to."""
        return {
            "on": "cutouts of val on backgrounds of val",
            "threshold": self.threshold,
            "median_px": self.median_px,
            "val_dice": self.val_dice,
        }


def tune_baselines(composites: Iterable[Composite], names: Sequence[str]) -> dict[str, Baseline]:
    """Threshold and median filter of best mean Dice, by name; none where nothing has a mask."""
    tables = {name: np.zeros((len(_MAPS[name][1]), 256)) for name in names}
    judged = 0
    for composite in composites:
        mask = composite.alpha > MASK_THRESHOLD
        if not mask.any():
            continue
        judged += 1
        for name in names:
            levels, sides = _MAPS[name]
            values = levels(composite)
            for row, side in enumerate(sides):
                tables[name][row] += _dice_by_threshold(cv2.medianBlur(values, side), mask)
    if judged == 0:
        return {}
    found = {}
    for name, table in tables.items():
        row, threshold = divmod(int(table.argmax()), table.shape[1])
        side = _MAPS[name][1][row]
        found[name] = Baseline(name, threshold, side, float(table.max()) / judged)
    return found


def predict_nothing(composite: Composite) -> NDArray[np.float32]:
    """The empty mask."""
    return np.zeros_like(composite.alpha)


def filtered_difference(picture: Picture, plate: Picture, median_px: int) -> Picture:
    """uint8 (H, W): |picture - plate|, the largest of the channels, median-filtered."""
    return np.asarray(cv2.medianBlur(_largest_difference(picture, plate), median_px), np.uint8)


def vertical_gradient(height: int, width: int) -> NDArray[np.float32]:
    """Far at the top, near at the bottom: what a camera that looks ahead nearly always sees."""
    return np.repeat(np.linspace(0, 1, height, dtype=np.float32)[:, None], width, axis=1)


def registered(picture: Picture, plate: Picture) -> Picture:
    """The plate as prediction gives it to a network: moved and lit as its picture is."""
    return register_plate(picture, plate).move_picture(plate)


def _largest_difference(picture: Picture, plate: Picture) -> Picture:
    return np.ascontiguousarray(cv2.absdiff(picture, plate).max(axis=2), np.uint8)


def _difference(composite: Composite) -> Picture:
    return _largest_difference(composite.image, composite.plate)


def _registered_difference(composite: Composite) -> Picture:
    return _largest_difference(composite.image, registered(composite.image, composite.plate))


def _centred_disc(composite: Composite) -> Picture:
    return _centrality(len(composite.alpha))


@lru_cache(maxsize=2)
def _centrality(size: int) -> Picture:
    """uint8 (size, size): 255 in the middle, 0 at the corners; above a level it is a disc."""
    place = np.linspace(-1, 1, size)
    away = np.hypot(place[:, None], place) / np.sqrt(2)
    return np.asarray(255 - np.rint(255 * away), np.uint8)


def _dice_by_threshold(values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Dice of ``values > t`` for t = 0..255, from two histograms."""
    inside = np.bincount(values[mask], minlength=256)
    everywhere = np.bincount(values.ravel(), minlength=256)
    hits = inside.sum() - np.cumsum(inside)
    claimed = everywhere.sum() - np.cumsum(everywhere)
    return np.asarray(2 * hits / (claimed + inside.sum()), np.float64)


# Each map with the median filters that are tried on it.
_MAPS: Final[dict[str, tuple[Levels, tuple[int, ...]]]] = {
    "difference": (_difference, _MEDIAN_SIDES),
    "difference_registered": (_registered_difference, _MEDIAN_SIDES),
    DISC: (_centred_disc, (1,)),
}
BASELINES: Final = tuple(_MAPS)
"""Names: |picture - plate|, the same after registration, so that no network is credited for that,
and a disc in the middle, the best guess without looking."""
NEED_PLATE: Final = tuple(name for name in BASELINES if name != DISC)
