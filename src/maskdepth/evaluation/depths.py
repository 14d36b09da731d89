"""Depth: three columns of known inputs, baselines, and the prior work's depth Dice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import depth_from_disparity, depth_from_disparity_aligned
from maskdepth.evaluation.baselines import vertical_gradient
from maskdepth.evaluation.tally import (
    AssetGroups,
    Tally,
    empty_summary,
    find_depth_pool,
    render_benchmark,
)
from maskdepth.inference.model.card import NO_DEPTH
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.teachers import Teacher, checked_maps, disparity_map
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
_BASELINE: Final = "baseline "  # no model folder is called so
_INPUT_REASON: Final = "outside the object the answer is its input"
_UNITS: Final = (
    "multiples of the distance of the background's nearest point: 1 / disparity, after a fit of "
    "scale and shift in inverse depth on the whole picture; predictions are clipped to "
    f"{NEAREST:g}..{FARTHEST:g}, sky and what is farther is left out"
)

Regions = dict[str, Tally]
Predict = Callable[[Composite], NDArray[np.float32]]
Key = tuple[str, str]  # whose (the model's own: ""), column


def judge_depth(
    predictor: Predictor,
    spec: DatasetSpec,
    catalogue: Catalogue,
    rules: RecipeRules,
    count: int,
    advance: Callable[[int], None],
    *,
    others: Mapping[str, Predictor] | None = None,
    teacher: Teacher | None = None,
) -> dict[str, Any]:
    """All columns on labelled backgrounds of the test split.

    Args:
        rules: those of the clean slice.
        others: more models by name; those that never learned depth are left out.
        teacher: sees the picture alone, as another baseline.
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
    able = {key: other for key, other in (others or {}).items() if other.card.depth != NO_DEPTH}
    judged: dict[Key, Predict] = _baselines(teacher)
    judged |= {("", name): _column(predictor, name) for name in _COLUMNS if learned}
    for key, other in able.items():
        judged |= {(key, name): _column(other, name) for name in _COLUMNS[:2]}
    tallies: dict[Key, Regions] = {key: {_WHOLE: Tally(), _INSIDE: Tally()} for key in judged}
    dice = Tally()
    for composite in render_benchmark(rules, pool, catalogue, count):
        advance(1)
        if composite.disparity is None or not _judgeable(composite.disparity).any():
            continue
        for place, predict in judged.items():
            pred = predict(composite)
            _judge(pred, composite, tallies[place])
            if place == ("", "plate"):
                dice.add(composite.recipe, depth_dice(pred, composite.disparity))
    unlearned = empty_summary("the model never learned depth")

    def summaries(key: Key, *, only_inside: bool = False) -> dict[str, Any]:
        if key not in tallies:
            return {_WHOLE: unlearned, _INSIDE: unlearned}
        whole = (
            empty_summary(_INPUT_REASON) if only_inside else tallies[key][_WHOLE].summary(groups)
        )
        return {_WHOLE: whole, _INSIDE: tallies[key][_INSIDE].summary(groups)}

    return {
        "depth_units": _UNITS,
        "silog_lambda": SILOG_LAMBDA,
        "labels": sorted({asset.label or "unknown" for asset in pool.backgrounds}),
        "backgrounds_of": sorted({asset.origin for asset in pool.backgrounds}),
        "columns": {
            name: summaries(("", name), only_inside=name == _COLUMNS[2]) for name in _COLUMNS
        },
        "baselines": {
            name: summaries((_BASELINE, name), only_inside=name == "plate_disparity")
            for kind, name in judged
            if kind == _BASELINE
        },
        "teacher": None if teacher is None else teacher.info.name,
        "others": {key: {name: summaries((key, name)) for name in _COLUMNS[:2]} for key in able},
        "depth_dice": dice.summary(groups) if learned else unlearned,
        "abs_rel_by_index": tallies["", "plate"][_WHOLE].by_index("abs_rel") if learned else {},
    }


def _judgeable(disparity: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a target is valid, not sky, and not beyond the farthest distance."""
    return np.isfinite(disparity) & (disparity >= 1 / FARTHEST)


def _column(predictor: Predictor, name: str) -> Predict:
    """A model's disparity from the inputs of one column."""

    def predict(composite: Composite) -> NDArray[np.float32]:
        if name == "picture":
            return predictor.predict(composite.image).disparity
        known = composite.plate_disparity if name == "plate_and_disparity" else None
        return predictor.predict(composite.image, composite.plate, known).disparity

    return predict


def _baselines(teacher: Teacher | None) -> dict[Key, Predict]:
    def bare_plate(composite: Composite) -> NDArray[np.float32]:
        """What predicting no object at all would score: the third column has to beat it."""
        assert composite.plate_disparity is not None
        return np.nan_to_num(composite.plate_disparity)

    found: dict[Key, Predict] = {
        (_BASELINE, "vertical_gradient"): lambda each: vertical_gradient(*each.alpha.shape),
        (_BASELINE, "plate_disparity"): bare_plate,
    }
    if teacher is not None:
        found[_BASELINE, "teacher"] = lambda each: teacher_disparity(teacher, each.image)
    return found


def teacher_disparity(teacher: Teacher, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Disparity (H, W) in [0, 1] that a teacher tells of a picture; where it has none, far."""
    return np.nan_to_num(disparity_map(checked_maps(teacher, [picture])[0], teacher.info))


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
