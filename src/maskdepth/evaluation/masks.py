"""Masks and alpha: four cells of seen and unseen assets, no plate, the difference, other models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.evaluation.baselines import BASELINES, Baseline, predict_nothing, tune_baselines
from maskdepth.evaluation.tally import (
    AssetGroups,
    Tally,
    empty_summary,
    find_pool,
    render_benchmark,
)
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import alpha_metrics, mask_metrics
from maskdepth.synthesis.assets import Split
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Pool
from maskdepth.synthesis.renderer import Composite
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.spec import DatasetSpec

SEEN: Final[dict[str, Split]] = {"seen": "train", "unseen": "test"}
HELD_OUT: Final = "unseen_unseen"
PASSES_PER_SLICE: Final = 5  # the four cells and the tuning of the baselines

Column = Callable[[Composite], NDArray[np.float32]]


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
    origin = mask_origin(spec)
    groups = AssetGroups.of(spec)
    tuned, untuned = tune_on_val(spec, catalogue, rules, count, origin)
    advance(count)
    result: dict[str, Any] = {"backgrounds_of": origin or "all", "cells": {}}
    for seen_cutout, cutouts in SEEN.items():
        for seen_background, backgrounds in SEEN.items():
            name = f"{seen_cutout}_{seen_background}"
            pool, reason = find_pool(spec, cutouts, backgrounds, origin=origin)
            held_out = name == HELD_OUT
            columns = {"cell": with_plate(predictor)}
            if held_out:
                columns |= {"no_plate": without_plate(predictor), "empty": predict_nothing}
                columns |= {f"other {key}": with_plate(other) for key, other in others.items()}
                columns |= {key: baseline.predict for key, baseline in tuned.items()}
            tallies = _judge(columns, pool, catalogue, rules, count, advance)
            summaries = {
                key: empty_summary(reason) if pool is None else tally.summary(groups)
                for key, tally in tallies.items()
            }
            result["cells"][name] = summaries["cell"]
            if held_out:
                result["no_plate"] = summaries["no_plate"]
                result["others"] = {key: summaries[f"other {key}"] for key in others}
                result["empty"] = summaries["empty"]
                result |= describe_baselines(BASELINES, tuned, untuned, summaries)
                result["dice_by_index"] = tallies["cell"].by_index("dice")
    return result


def mask_origin(spec: DatasetSpec) -> str | None:
    """Whose backgrounds masks are judged on: the user's, where any are held out; else all."""
    held = {asset.split for asset in spec.backgrounds if asset.origin == "user"}
    return "user" if {"val", "test"} <= held else None


def _judge(
    columns: Mapping[str, Column],
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


def with_plate(predictor: Predictor) -> Column:
    """The model's alpha of picture and plate."""
    return lambda composite: predictor.predict(composite.image, composite.plate).alpha


def without_plate(predictor: Predictor) -> Column:
    """The model's alpha of the picture alone."""
    return lambda composite: predictor.predict(composite.image).alpha


def tune_on_val(
    spec: DatasetSpec, catalogue: Catalogue, rules: RecipeRules, count: int, origin: str | None
) -> tuple[dict[str, Baseline], str]:
    """The baselines at their best on val; none, and the reason, where there is nothing to tune."""
    pool, reason = find_pool(spec, "val", "val", origin=origin)
    if pool is None:
        return {}, reason
    composites = render_benchmark(rules, pool, catalogue, count)
    return tune_baselines(composites, BASELINES), "no composite of val has a mask"


def describe_baselines(
    names: Sequence[str],
    tuned: Mapping[str, Baseline],
    untuned: str,
    summaries: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """A column for each baseline, with what it was tuned to, or without figures and why."""
    return {
        name: summaries[name] | {"tuned": tuned[name].describe()}
        if name in tuned
        else empty_summary(untuned)
        for name in names
    }
