"""Depth: three columns of known inputs, baselines, and the prior work's depth Dice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import depth_from_disparity, depth_from_disparity_aligned
from maskdepth.evaluation.tally import (
    AssetGroups,
    Tally,
    empty_summary,
    find_depth_pool,
    render_benchmark,
)
from maskdepth.inference.prediction import NO_DEPTH
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import (
    MASK_THRESHOLD,
    SILOG_LAMBDA,
    depth_dice,
    depth_metrics,
    disparity_metrics,
)
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.renderer import Composite
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.spec import DatasetSpec

# Relative units have no metres to clip to. 0.5 leaves room for predictions nearer than the
# nearest point; 100 times its distance is as far as the 80 m from 0.8 m of the metric protocol.
NEAREST: Final = 0.5
FARTHEST: Final = 100.0

_WHOLE, _INSIDE = "whole", "inside_mask"
_COLUMNS: Final = ("picture", "plate", "plate_and_disparity")
_INPUT_REASON: Final = "outside the object the answer is its input"
_UNITS: Final = (
    "multiples of the distance of the background's nearest point: 1 / disparity, after a fit of "
    "scale and shift in inverse depth on the whole picture; predictions are clipped to "
    f"{NEAREST:g}..{FARTHEST:g}, sky and what is farther is left out"
)

Regions = dict[str, Tally]


def judge_depth(
    predictor: Predictor,
    spec: DatasetSpec,
    catalogue: Catalogue,
    rules: RecipeRules,
    count: int,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """All columns on labelled backgrounds of the test split.

    Args:
        rules: those of the clean slice.
        advance: called with the number of composites that are done with.

    Returns:
        Plain values; ``{"columns": None, "reason": ...}`` without a labelled test background.
    """
    pool, reason = find_depth_pool(spec)
    if pool is None:
        advance(count)
        return {"depth_units": _UNITS, "columns": None, "reason": reason}
    groups = AssetGroups.of(spec)
    learned = predictor.card.depth != NO_DEPTH
    columns: dict[str, Regions] = {name: _regions() for name in _COLUMNS if learned}
    baselines: dict[str, Regions] = {
        "vertical_gradient": _regions(),
        "plate_disparity": _regions(),
    }
    dice = Tally()
    for composite in render_benchmark(rules, pool, catalogue, count):
        advance(1)
        target = composite.disparity
        if target is None or not _judgeable(target).any():
            continue
        _judge(vertical_gradient(rules.size, rules.size), composite, baselines["vertical_gradient"])
        # What predicting no object at all would score: the third column has to beat it.
        assert composite.plate_disparity is not None
        _judge(np.nan_to_num(composite.plate_disparity), composite, baselines["plate_disparity"])
        for name, tallies in columns.items():
            pred = _predict(predictor, composite, name)
            _judge(pred, composite, tallies)
            if name == "plate":
                dice.add(composite.recipe, depth_dice(pred, target))
    unlearned = empty_summary("the model never learned depth")
    return {
        "depth_units": _UNITS,
        "silog_lambda": SILOG_LAMBDA,
        "labels": sorted({asset.label or "unknown" for asset in pool.backgrounds}),
        "backgrounds_of": sorted({asset.origin for asset in pool.backgrounds}),
        "columns": {
            name: _summaries(columns[name], groups, only_inside=name == _COLUMNS[2])
            if learned
            else {_WHOLE: unlearned, _INSIDE: unlearned}
            for name in _COLUMNS
        },
        "baselines": {
            name: _summaries(tallies, groups, only_inside=name == "plate_disparity")
            for name, tallies in baselines.items()
        },
        "depth_dice": dice.summary(groups) if learned else unlearned,
        "abs_rel_by_index": columns["plate"][_WHOLE].by_index("abs_rel") if learned else {},
    }


def _regions() -> Regions:
    return {_WHOLE: Tally(), _INSIDE: Tally()}


def _summaries(tallies: Regions, groups: AssetGroups, *, only_inside: bool) -> dict[str, Any]:
    whole = empty_summary(_INPUT_REASON) if only_inside else tallies[_WHOLE].summary(groups)
    return {_WHOLE: whole, _INSIDE: tallies[_INSIDE].summary(groups)}


def _judgeable(disparity: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a target is valid, not sky, and not beyond the farthest distance."""
    return np.isfinite(disparity) & (disparity >= 1 / FARTHEST)


def _predict(predictor: Predictor, composite: Composite, column: str) -> NDArray[np.float32]:
    if column == "picture":
        return predictor.predict(composite.image).disparity
    known = composite.plate_disparity if column == "plate_and_disparity" else None
    return predictor.predict(composite.image, composite.plate, known).disparity


def _judge(pred: NDArray[np.float32], composite: Composite, tallies: Regions) -> None:
    """Both regions of one prediction; the alignment is the whole picture's in both."""
    target = composite.disparity
    assert target is not None
    target_depth = depth_from_disparity(target)
    valid = _judgeable(target)
    depth = depth_from_disparity_aligned(pred, target_depth, valid, NEAREST, FARTHEST)
    inside = composite.alpha > MASK_THRESHOLD
    for name, region in ((_WHOLE, np.ones_like(inside)), (_INSIDE, inside)):
        judged = valid & region
        if judged.any():
            figures = depth_metrics(depth, target_depth, judged)
            tallies[name].add(composite.recipe, figures | disparity_metrics(pred, target, region))


def vertical_gradient(height: int, width: int) -> NDArray[np.float32]:
    """Far at the top, near at the bottom: what a camera that looks ahead nearly always sees."""
    return np.repeat(np.linspace(0, 1, height, dtype=np.float32)[:, None], width, axis=1)
