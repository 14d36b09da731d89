"""Depth of composites: three columns of inputs, baselines, and the prior work's depth Dice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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

_IS_INPUT: Final = Column.without_figures("outside the object the answer is its input")
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
class OtherDepth:
    """Another model, of the picture alone and with the plate."""

    picture: Regions
    plate: Regions


@dataclass(frozen=True)
class ModelDepth(OtherDepth):
    """The model, with the plate's disparity too."""

    plate_and_disparity: Regions


@dataclass(frozen=True)
class DepthBaselines:
    """Depth without this model; ``plate_disparity`` is the answer of predicting no object."""

    vertical_gradient: Regions
    plate_disparity: Regions
    teacher: Regions | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True)
class DepthTable:
    """Depth of composites on labelled backgrounds.

    Attributes:
        labels, backgrounds_of: kinds of the labels, and origins of the backgrounds.
        teacher: name of the teacher among the baselines.
        depth_dice: the prior work's figure, for parity only.
        abs_rel_by_index: of the model with the plate, by recipe index.
    """

    depth_units: str
    silog_lambda: float
    labels: Sequence[str]
    backgrounds_of: Sequence[str]
    columns: ModelDepth
    baselines: DepthBaselines
    teacher: str | None
    others: Mapping[str, OtherDepth]
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
        advance: called with the number of composites that are done with.
    """
    pool, reason = find_depth_pool(spec)
    if pool is None:
        advance(count)
        return NoDepthTable(_UNITS, None, reason)
    groups = AssetGroups.of(spec)
    model = _Methods.of(groups, predictor) if predictor.card.depth != NO_DEPTH else None
    rivals = {
        name: _Methods.of(groups, other)
        for name, other in (others or {}).items()
        if other.card.depth != NO_DEPTH
    }
    gradient = _Method(groups, lambda each: vertical_gradient(*each.alpha.shape))
    bare_plate = _Method(groups, _plate_disparity)
    asked = teacher and _Method(groups, _teacher_method(teacher))
    methods = [gradient, bare_plate, *([asked] if asked else [])]
    if model:
        methods += [model.picture, model.plate, model.plate_and_disparity]
    for other in rivals.values():
        methods += [other.picture, other.plate]
    dice = ColumnBuilder(groups)
    for composite in render_benchmark(rules, pool, catalogue, count):
        advance(1)
        if composite.disparity is None or not _can_be_judged(composite.disparity).any():
            continue
        for method in methods:
            pred = method.judge(composite)
            if model and method is model.plate:
                dice.add(composite.recipe, depth_dice(pred, composite.disparity))
    return DepthTable(
        depth_units=_UNITS,
        silog_lambda=SILOG_LAMBDA,
        labels=sorted({asset.label or "unknown" for asset in pool.backgrounds}),
        backgrounds_of=sorted({asset.origin for asset in pool.backgrounds}),
        columns=model.columns() if model else ModelDepth(*[Regions(_UNLEARNED, _UNLEARNED)] * 3),
        baselines=DepthBaselines(
            gradient.regions(),
            bare_plate.regions(whole=_IS_INPUT),
            asked.regions() if asked else None,
        ),
        teacher=None if teacher is None else teacher.info.name,
        others={
            name: OtherDepth(each.picture.regions(), each.plate.regions())
            for name, each in rivals.items()
        },
        depth_dice=dice.column() if model else _UNLEARNED,
        abs_rel_by_index=model.plate.whole.by_index("abs_rel") if model else {},
    )


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

    def regions(self, whole: Column | None = None) -> Regions:
        """Both columns, or one in place of the whole picture's."""
        return Regions(whole or self.whole.column(), self._inside.column())


@dataclass(frozen=True)
class _Methods:
    """A model with three kinds of inputs."""

    picture: _Method
    plate: _Method
    plate_and_disparity: _Method

    def columns(self) -> ModelDepth:
        """Figures of all three; outside the object, the third is given the answer."""
        return ModelDepth(
            self.picture.regions(),
            self.plate.regions(),
            self.plate_and_disparity.regions(whole=_IS_INPUT),
        )

    @classmethod
    def of(cls, groups: AssetGroups, predictor: Predictor) -> _Methods:
        """Those of a predictor."""
        predict = predictor.predict
        return cls(
            _Method(groups, lambda each: predict(each.image).disparity),
            _Method(groups, lambda each: predict(each.image, each.plate).disparity),
            _Method(
                groups, lambda each: predict(each.image, each.plate, each.plate_disparity).disparity
            ),
        )


def _can_be_judged(disparity: Disparity) -> NDArray[np.bool_]:
    """Where a target is valid, not sky, and not beyond the farthest distance."""
    return np.isfinite(disparity) & (disparity >= 1 / FARTHEST)


def _plate_disparity(composite: Composite) -> Disparity:
    """The answer of predicting no object at all, which the third column has to beat."""
    assert composite.plate_disparity is not None
    return np.nan_to_num(composite.plate_disparity)


def _teacher_method(teacher: Teacher) -> PredictDisparity:
    return lambda composite: teacher_disparity(teacher, composite.image)


def teacher_disparity(teacher: Teacher, picture: NDArray[np.uint8]) -> Disparity:
    """A teacher's disparity (H, W) of a picture in [0, 1]; far where it has none."""
    return np.nan_to_num(disparity_map(checked_maps(teacher, [picture])[0], teacher.info))
