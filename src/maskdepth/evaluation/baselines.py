"""Baselines: masks and depth that need no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.evaluation.columns import Tuning
from maskdepth.inference.plate.registration import PlateFeatures, register_plate
from maskdepth.metrics import MASK_THRESHOLD
from maskdepth.synthesis.renderer import Composite

DISC: Final = "centred_disc"
MEDIAN_SIDES: Final = (1, 3, 5, 7, 9, 11)  # px

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
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

    @property
    def tuning(self) -> Tuning:
        """What it was tuned on, and to."""
        on = "cutouts of val on backgrounds of val"
        return Tuning(on, self.threshold, self.median_px, self.val_dice)


class ThresholdSearch:
    """Finds the threshold and median filter of best Dice, over pictures added one by one.

    Args:
        sides: of the median filters, px.
        pooled: count the pixels of all pictures together, which is F1. Otherwise Dice is the mean
            over pictures, each of which has foreground.
    """

    def __init__(self, sides: Sequence[int] = MEDIAN_SIDES, *, pooled: bool = False) -> None:
        self._sides = tuple(sides)
        self._pooled = pooled
        self._scores = np.zeros((len(self._sides), 256))
        self._weights = np.zeros_like(self._scores)

    def add(self, levels: Picture, target: Mask, judged: Mask | None = None) -> None:
        """Take one picture.

        Args:
            levels: uint8 (H, W), not filtered.
            target: bool (H, W), the foreground.
            judged: bool (H, W), the pixels that count; all if left out.
        """
        for row, side in enumerate(self._sides):
            values = cv2.medianBlur(levels, side)
            hits, claimed, true = _counts_by_threshold(values, target, judged)
            # Dice is the ratio of these two.
            agreeing, sizes = 2 * hits, claimed + true
            self._scores[row] += agreeing if self._pooled else agreeing / sizes
            self._weights[row] += sizes if self._pooled else 1

    def best(self) -> tuple[int, int, float]:
        """Threshold, side of the median filter, and their Dice; among equals the smallest."""
        table = self._scores / np.maximum(self._weights, 1)
        row, threshold = divmod(int(table.argmax()), table.shape[1])
        return threshold, self._sides[row], float(table.max())


def tune_baselines(composites: Iterable[Composite], names: Sequence[str]) -> dict[str, Baseline]:
    """Threshold and median filter of best mean Dice, by name; none where nothing has a mask."""
    searches = {name: ThresholdSearch(_MAPS[name][1]) for name in names}
    judged = 0
    for composite in composites:
        mask = composite.alpha > MASK_THRESHOLD
        if not mask.any():
            continue
        judged += 1
        for name, search in searches.items():
            levels, _ = _MAPS[name]
            search.add(levels(composite), mask)
    if judged == 0:
        return {}
    return {name: Baseline(name, *search.best()) for name, search in searches.items()}


def predict_nothing(composite: Composite) -> NDArray[np.float32]:
    """The empty mask."""
    return np.zeros_like(composite.alpha)


def filtered_difference(picture: Picture, plate: Picture, median_px: int) -> Picture:
    """uint8 (H, W): |picture - plate|, the largest of the channels, median-filtered."""
    return np.asarray(cv2.medianBlur(largest_difference(picture, plate), median_px), np.uint8)


def largest_difference(picture: Picture, plate: Picture) -> Picture:
    """uint8 (H, W): |picture - plate|, the largest of the channels."""
    return np.ascontiguousarray(cv2.absdiff(picture, plate).max(axis=2), np.uint8)


def vertical_gradient(height: int, width: int) -> NDArray[np.float32]:
    """Far at the top, near at the bottom, as in most pictures of a level camera."""
    return np.repeat(np.linspace(0, 1, height, dtype=np.float32)[:, None], width, axis=1)


def registered(picture: Picture, plate: Picture) -> Picture:
    """The plate as prediction gives it to the network: moved and lit like the picture."""
    return register_plate(picture, PlateFeatures.measure(plate)).apply(plate)


@lru_cache(maxsize=2)
def _centrality(size: int) -> Picture:
    """uint8 (size, size): 255 in the middle, 0 at the corners; above a level it is a disc."""
    place = np.linspace(-1, 1, size)
    away = np.hypot(place[:, None], place) / np.sqrt(2)
    return np.asarray(255 - np.rint(255 * away), np.uint8)


def _counts_by_threshold(
    values: NDArray[Any], target: Mask, judged: Mask | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Hits and claimed pixels of ``values > t`` for t = 0..255, and the pixels of the target."""
    counted = values.ravel() if judged is None else values[judged]
    inside = np.bincount(values[target if judged is None else target & judged], minlength=256)
    everywhere = np.bincount(counted, minlength=256)
    true = int(inside.sum())
    return true - np.cumsum(inside), everywhere.sum() - np.cumsum(everywhere), true


# Each map with the median filters that are tried on it.
_MAPS: Final[dict[str, tuple[Levels, tuple[int, ...]]]] = {
    "difference": (lambda each: largest_difference(each.image, each.plate), MEDIAN_SIDES),
    "difference_registered": (
        lambda each: largest_difference(each.image, registered(each.image, each.plate)),
        MEDIAN_SIDES,
    ),
    DISC: (lambda each: _centrality(len(each.alpha)), (1,)),
}
BASELINES: Final = tuple(_MAPS)
"""Names: |picture - plate|, the same after registration, so that no network gets the credit for
registering, and a disc in the middle, the best guess without any pixel."""
NEED_PLATE: Final = tuple(name for name in BASELINES if name != DISC)
