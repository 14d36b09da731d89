"""Masks and alpha: four cells of seen and unseen assets, no plate, the difference, other models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.evaluation.tally import (
    AssetGroups,
    Tally,
    empty_summary,
    find_pool,
    render_benchmark,
)
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import MASK_THRESHOLD, alpha_metrics, mask_metrics
from maskdepth.synthesis.assets import Split
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Pool
from maskdepth.synthesis.renderer import Composite
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.spec import DatasetSpec

SEEN: Final[dict[str, Split]] = {"seen": "train", "unseen": "test"}
HELD_OUT: Final = "unseen_unseen"
PASSES_PER_SLICE: Final = 5  # the four cells and the tuning of the difference
_MEDIAN_SIDES: Final = (1, 3, 5, 7, 9, 11)  # px


@dataclass(frozen=True)
class Difference:
    """The mask no network may lose to: where picture and plate differ.

    Attributes:
        threshold: of 255; foreground is where the largest channel differs by more.
        median_px: side of the median filter over the difference.
        val_dice: mean Dice on the composites it was tuned on.
    """

    threshold: int
    median_px: int
    val_dice: float

    def predict(self, composite: Composite) -> NDArray[np.float32]:
        """float32 (S, S), 0 or 1."""
        difference = filtered_difference(composite.image, composite.plate, self.median_px)
        return (difference > self.threshold).astype(np.float32)


def judge_masks(
    predictor: Predictor,
    spec: DatasetSpec,
    catalogue: Catalogue,
    rules: RecipeRules,
    count: int,
    others: Mapping[str, Predictor],
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """All columns of one slice.

    Args:
        others: more models by name, judged on unseen cutouts on unseen backgrounds.
        advance: called with the number of composites that are done with.
    """
    # The sample pack's drawn scenes teach depth; the user's own scene is what masks are for.
    own = any(asset.origin == "user" for asset in spec.backgrounds)
    origin = "user" if own else None
    groups = AssetGroups.of(spec)
    difference, untuned = _tune(spec, catalogue, rules, count, origin)
    advance(count)
    result: dict[str, Any] = {"backgrounds_of": origin or "all", "cells": {}}
    for seen_cutout, cutouts in SEEN.items():
        for seen_background, backgrounds in SEEN.items():
            name = f"{seen_cutout}_{seen_background}"
            pool, reason = find_pool(spec, cutouts, backgrounds, origin=origin)
            held_out = name == HELD_OUT
            columns = {"cell": _with_plate(predictor)}
            if held_out:
                columns |= {"no_plate": _without_plate(predictor)}
                columns |= {f"other {key}": _with_plate(other) for key, other in others.items()}
                if difference is not None:
                    columns |= {"difference": difference.predict}
            tallies = _judge(columns, pool, catalogue, rules, count, advance)
            summaries = {
                key: empty_summary(reason) if pool is None else tally.summary(groups)
                for key, tally in tallies.items()
            }
            result["cells"][name] = summaries["cell"]
            if held_out:
                result["no_plate"] = summaries["no_plate"]
                result["others"] = {key: summaries[f"other {key}"] for key in others}
                result["difference"] = _describe(difference, untuned, summaries)
                result["dice_by_index"] = tallies["cell"].by_index("dice")
    return result


def _judge(
    columns: Mapping[str, Callable[[Composite], NDArray[np.float32]]],
    pool: Pool | None,
    catalogue: Catalogue,
    rules: RecipeRules,
    count: int,
    advance: Callable[[int], None],
) -> dict[str, Tally]:
    """Every column on the same composites; empty tallies where there is no pool."""
    tallies = {name: Tally() for name in columns}
    if pool is None:
        advance(count)
        return tallies
    for composite in render_benchmark(rules, pool, catalogue, count):
        for name, predict in columns.items():
            alpha = predict(composite)
            figures = mask_metrics(alpha, composite.alpha) | alpha_metrics(alpha, composite.alpha)
            tallies[name].add(composite.recipe, figures)
        advance(1)
    return tallies


def _with_plate(predictor: Predictor) -> Callable[[Composite], NDArray[np.float32]]:
    return lambda composite: predictor.predict(composite.image, composite.plate).alpha


def _without_plate(predictor: Predictor) -> Callable[[Composite], NDArray[np.float32]]:
    return lambda composite: predictor.predict(composite.image).alpha


def _describe(
    difference: Difference | None, untuned: str, summaries: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    if difference is None:
        return empty_summary(untuned)
    return summaries["difference"] | {
        "tuned": {
            "on": "cutouts of val on backgrounds of val",
            "threshold": difference.threshold,
            "median_px": difference.median_px,
            "val_dice": difference.val_dice,
        }
    }


def _tune(
    spec: DatasetSpec, catalogue: Catalogue, rules: RecipeRules, count: int, origin: str | None
) -> tuple[Difference | None, str]:
    """The threshold and median filter of best mean Dice on val, or None and the reason."""
    pool, reason = find_pool(spec, "val", "val", origin=origin)
    if pool is None:
        return None, reason
    dice_sum = np.zeros((len(_MEDIAN_SIDES), 256))
    judged = 0
    for composite in render_benchmark(rules, pool, catalogue, count):
        mask = composite.alpha > MASK_THRESHOLD
        if not mask.any():
            continue
        judged += 1
        for row, side in enumerate(_MEDIAN_SIDES):
            dice_sum[row] += _dice_by_threshold(
                filtered_difference(composite.image, composite.plate, side), mask
            )
    if judged == 0:
        return None, "no composite of val has a mask"
    best_row, threshold = divmod(int(dice_sum.argmax()), dice_sum.shape[1])
    best = float(dice_sum.max()) / judged
    return Difference(threshold, _MEDIAN_SIDES[best_row], best), ""


def filtered_difference(
    picture: NDArray[np.uint8], plate: NDArray[np.uint8], median_px: int
) -> NDArray[np.uint8]:
    """uint8 (H, W): |picture - plate|, the largest of the channels, median-filtered."""
    channels = cv2.absdiff(picture, plate)
    difference = np.ascontiguousarray(channels.max(axis=2), np.uint8)
    return np.asarray(cv2.medianBlur(difference, median_px), np.uint8)


def _dice_by_threshold(
    difference: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Dice of ``difference > t`` for t = 0..255, from two histograms."""
    inside = np.bincount(difference[mask], minlength=256)
    everywhere = np.bincount(difference.ravel(), minlength=256)
    hits = inside.sum() - np.cumsum(inside)
    claimed = everywhere.sum() - np.cumsum(everywhere)
    return np.asarray(2 * hits / (claimed + inside.sum()), np.float64)
