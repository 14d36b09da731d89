"""Depth of composites: three columns of inputs, baselines, and the prior work's depth Dice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import depth_from_disparity, depth_from_disparity_aligned
from maskdepth.evaluation.baselines import vertical_gradient
from maskdepth.evaluation.columns import OMITTED, AssetGroups, Column, ColumnBuilder, Figures
from maskdepth.evaluation.composites import find_depth_pool, render_benchmark
from maskdepth.inference.model.card import NO_DEPTH
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.teachers import Teacher, checked_maps, disparity_map
from maskdepth.metrics import (
    MASK_THRESHOLD,
    SILOG_LAMBDA,
    depth_metrics,
    disparity_metrics,
    grey_dice,
)
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.renderer import Composite
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.spec import DatasetSpec

# Relative units have no metres to clip to. 0.5 leaves room for predictions nearer than the
# nearest point; 100 times its distance is as far as the 80 m from 0.8 m of the metric protocol.
NEAREST: Final = 0.5
FARTHEST: Final = 100.0

_IS_INPUT: Final = Column.without_figures(
    "not judged: outside the object this row is given the true depth as an input"
)
_INPUTS: Final = ("picture", "plate", "plate_and_disparity")
_INPUTS_OF_OTHERS: Final = _INPUTS[:2]
_UNLEARNED: Final = Column.without_figures("the model never learned depth")
_UNITS: Final = (
    "multiples of the distance of the background's nearest point: 1 / disparity, after a fit of "
    "scale and shift in inverse depth on the whole picture; predictions are clipped to "
    f"{NEAREST:g}..{FARTHEST:g}, sky and what is farther is left out"
)

Disparity = NDArray[np.float32]
PredictDisparity = Callable[[Composite], Disparity]


@dataclass(frozen=True)
class Regions:
    """Depth figures of two parts of the pictures."""

    whole: Column
    inside_mask: Column


@dataclass(frozen=True)
class DepthTable:
    """Depth of composites on labelled backgrounds.

    Attributes:
        labels, backgrounds_of: kinds of the labels, and origins of the backgrounds.
        columns: of the model: ``picture`` alone, with ``plate``, with ``plate_and_disparity``.
        baselines: ``vertical_gradient``; ``plate_disparity``, the answer of predicting no object;
            ``teacher``, if there is one, whose name is in the field of that name.
        others: of other models, ``picture`` and ``plate``.
        depth_dice: the prior work's figure, for parity only.
        abs_rel_by_index: of the model with the plate, by recipe index.
    """

    depth_units: str
    silog_lambda: float
    labels: Sequence[str]
    backgrounds_of: Sequence[str]
    columns: Mapping[str, Regions]
    baselines: Mapping[str, Regions]
    teacher: str | None
    others: Mapping[str, Mapping[str, Regions]]
    depth_dice: Column | None = field(default=None, metadata=OMITTED)
    abs_rel_by_index: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class NoDepthTable:
    """Why depth of composites was not judged."""

    depth_units: str
    columns: None
    reason: str


def evaluate_composite_depth(
    predictor: Predictor,
    spec: DatasetSpec,
    catalogue: Catalogue,
    rules: RecipeRules,
    count: int,
    advance: Callable[[int], None],
    *,
    others: Mapping[str, Predictor] | None = None,
    teacher: Teacher | None = None,
) -> DepthTable | NoDepthTable:
    """All columns on labelled backgrounds of the test split.

    Args:
        rules: those of the clean slice.
        others: more models by name; those that never learned depth are left out.
        teacher: gets the picture alone, as another baseline.
        advance: called with the number of predictions that are done with; in all as many as
            `count_depth_predictions` says.
    """
    pool, reason = find_depth_pool(spec)
    if pool is None:
        advance(count_depth_predictions(count, len(others or {})))
        return NoDepthTable(_UNITS, None, reason)
    groups = AssetGroups.of(spec)
    model = _model_methods(groups, predictor, _INPUTS)
    rivals = {
        name: _model_methods(groups, other, _INPUTS_OF_OTHERS)
        for name, other in (others or {}).items()
    }
    baselines = {
        "vertical_gradient": _Method(groups, lambda each: vertical_gradient(*each.alpha.shape)),
        "plate_disparity": _Method(groups, _plate_disparity),
    }
    if teacher is not None:
        baselines["teacher"] = _Method(groups, lambda each: teacher_disparity(teacher, each.image))
    dice = ColumnBuilder(groups)
    for composite in render_benchmark(rules, pool, catalogue, count):
        advance(count_depth_predictions(1, len(rivals)))
        if composite.disparity is None or not _can_be_judged(composite.disparity).any():
            continue
        for methods in (baselines, model, *rivals.values()):
            for name, method in methods.items():
                pred = method.judge(composite)
                if methods is model and name == "plate":
                    dice.add(composite.recipe, grey_dice(pred, composite.disparity))
    unlearned = dict.fromkeys(_INPUTS, Regions(_UNLEARNED, _UNLEARNED))
    return DepthTable(
        depth_units=_UNITS,
        silog_lambda=SILOG_LAMBDA,
        labels=sorted({asset.label or "unknown" for asset in pool.backgrounds}),
        backgrounds_of=sorted({asset.origin for asset in pool.backgrounds}),
        columns=_regions(model) or unlearned,
        baselines=_regions(baselines),
        teacher=None if teacher is None else teacher.info.name,
        others={name: _regions(methods) for name, methods in rivals.items() if methods},
        depth_dice=dice.column() if model else _UNLEARNED,
        abs_rel_by_index=model["plate"].whole.by_index("abs_rel") if model else {},
    )


def count_depth_predictions(count: int, others: int) -> int:
    """Number of the predictions for so many composites, by the model and by so many others."""
    return (len(_INPUTS) + others * len(_INPUTS_OF_OTHERS)) * count


class _Method:
    """One way to tell disparity, and its figures so far."""

    def __init__(self, groups: AssetGroups, predict: PredictDisparity) -> None:
        self._predict = predict
        self.whole, self._inside = ColumnBuilder(groups), ColumnBuilder(groups)

    def judge(self, composite: Composite) -> Disparity:
        """Its disparity; the alignment is the whole picture's in both regions."""
        pred, target = self._predict(composite), composite.disparity
        assert target is not None
        target_depth = depth_from_disparity(target)
        valid = _can_be_judged(target)
        depth = depth_from_disparity_aligned(pred, target_depth, valid, NEAREST, FARTHEST)
        inside = composite.alpha > MASK_THRESHOLD
        for builder, region in ((self.whole, np.ones_like(inside)), (self._inside, inside)):
            judged = valid & region
            if judged.any():
                figures = depth_metrics(depth, target_depth, judged)
                builder.add(composite.recipe, figures | disparity_metrics(pred, target, region))
        return pred

    def regions(self) -> Regions:
        """Both columns."""
        return Regions(self.whole.column(), self._inside.column())


def _model_methods(
    groups: AssetGroups, predictor: Predictor, inputs: Sequence[str]
) -> dict[str, _Method]:
    """A model with each kind of inputs; none of a model that never learned depth."""
    if predictor.card.depth == NO_DEPTH:
        return {}
    return {name: _Method(groups, partial(_predict, predictor, name)) for name in inputs}


def _predict(predictor: Predictor, inputs: str, each: Composite) -> Disparity:
    plate = None if inputs == "picture" else each.plate
    plate_disparity = each.plate_disparity if inputs == "plate_and_disparity" else None
    return predictor.predict(each.image, plate, plate_disparity).disparity


def _regions(methods: Mapping[str, _Method]) -> dict[str, Regions]:
    """Columns by name; what is given the answer outside the object is judged inside alone."""
    regions = {name: method.regions() for name, method in methods.items()}
    given = regions.keys() & {"plate_disparity", "plate_and_disparity"}
    return regions | {name: replace(regions[name], whole=_IS_INPUT) for name in given}


def _can_be_judged(disparity: Disparity) -> NDArray[np.bool_]:
    """Where a target is valid, not sky, and not beyond the farthest distance."""
    return np.isfinite(disparity) & (disparity >= 1 / FARTHEST)


def _plate_disparity(composite: Composite) -> Disparity:
    """The answer of predicting no object at all, which the third column has to beat."""
    assert composite.plate_disparity is not None
    return np.nan_to_num(composite.plate_disparity)


def teacher_disparity(teacher: Teacher, picture: NDArray[np.uint8]) -> Disparity:
    """A teacher's disparity (H, W) of a picture in [0, 1]; far where it has none."""
    return np.nan_to_num(disparity_map(checked_maps(teacher, [picture])[0], teacher.info))
