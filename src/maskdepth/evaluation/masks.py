"""Masks and alpha: four cells of seen and unseen assets, no plate, baselines, other models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.evaluation.baselines import BASELINES, Baseline, predict_nothing, tune_baselines
from maskdepth.evaluation.columns import AssetGroups, Column, ColumnBuilder, Figures
from maskdepth.evaluation.composites import find_pool, mask_origin, render_slice
from maskdepth.evaluation.slices import Slice
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import alpha_metrics, mask_metrics
from maskdepth.synthesis.assets import Split
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.renderer import Composite
from maskdepth.synthesis.spec import DatasetSpec

UNTUNED: Final = "no composite of val has a mask"

PredictAlpha = Callable[[Composite], NDArray[np.float32]]


@dataclass(frozen=True)
class MaskCells:
    """The model on seen (train) and unseen (test) assets: the cutout first, then the background."""

    seen_seen: Column
    seen_unseen: Column
    unseen_seen: Column
    unseen_unseen: Column


@dataclass(frozen=True)
class MaskTable:
    """One slice; all but the cells is of unseen cutouts on unseen backgrounds.

    Attributes:
        backgrounds_of: ``"user"``, or ``"all"`` where none of the user's are held out.
        no_plate: the model, of the picture alone.
        difference, difference_registered: thresholds on |picture - plate|.
        dice_by_index: of the model, by recipe index.
    """

    backgrounds_of: str
    cells: MaskCells
    no_plate: Column
    others: Mapping[str, Column]
    empty: Column
    difference: Column
    difference_registered: Column
    centred_disc: Column
    dice_by_index: Figures = field(default_factory=dict)

    def strongest_baseline(self) -> tuple[str, float] | None:
        """The threshold with the higher mean Dice, in words, and that Dice; None without any."""
        baselines = {
            "the tuned threshold": self.difference.figure("dice"),
            "the tuned threshold after registration": self.difference_registered.figure("dice"),
        }
        judged = {name: dice for name, dice in baselines.items() if dice is not None}
        return max(judged.items(), key=lambda item: item[1]) if judged else None


def evaluate_masks(
    predictor: Predictor,
    spec: DatasetSpec,
    catalogue: Catalogue,
    judged: Slice,
    count: int,
    others: Mapping[str, Predictor],
    advance: Callable[[int], None],
) -> MaskTable:
    """All columns of one slice.

    Args:
        others: more models by name, judged on unseen cutouts on unseen backgrounds.
        advance: called with the number of predictions that are done with; in all as many as
            `count_mask_predictions` says.
    """
    origin = mask_origin(spec)
    groups = AssetGroups.of(spec)

    def judge(
        cutouts: Split,
        backgrounds: Split,
        methods: Mapping[str, PredictAlpha],
        predictions: int = 1,
    ) -> dict[str, ColumnBuilder]:
        """Every method on the same composites, each of which takes some predictions."""
        pool, reason = find_pool(spec, cutouts, backgrounds, origin=origin)
        if pool is None:
            advance(predictions * count)
            return {name: ColumnBuilder(groups, reason) for name in methods}
        composites = render_slice(judged, pool, catalogue, count)
        done = partial(advance, predictions)
        return judge_masks(groups, composites, methods, done, alpha_metrics)

    advance(0)
    tuned, reason = _tune_on_val(spec, catalogue, judged, count, origin)
    model = {"model": with_plate(predictor)}
    held_out = model | {"no_plate": without_plate(predictor), "empty": predict_nothing}
    held_out |= {name: baseline.predict for name, baseline in tuned.items()}
    held_out |= {f"other {name}": with_plate(other) for name, other in others.items()}
    seen_seen, seen_unseen, unseen_seen = (
        judge(cutouts, backgrounds, model)["model"].column()
        for cutouts, backgrounds in _CELLS_WITH_SEEN_ASSETS
    )
    builders = judge("test", "test", held_out, _HELD_OUT_PREDICTIONS + len(others))
    columns = {name: builder.column() for name, builder in builders.items()}
    return MaskTable(
        backgrounds_of=origin or "all",
        cells=MaskCells(seen_seen, seen_unseen, unseen_seen, columns["model"]),
        no_plate=columns["no_plate"],
        others={name: columns[f"other {name}"] for name in others},
        empty=columns["empty"],
        **{name: baseline_column(name, tuned, reason, columns) for name in BASELINES},
        dice_by_index=builders["model"].by_index("dice"),
    )


def count_mask_predictions(count: int, others: int) -> int:
    """Number of the predictions that a slice takes, by the model and by so many others."""
    return (len(_CELLS_WITH_SEEN_ASSETS) + _HELD_OUT_PREDICTIONS + others) * count


def judge_masks(
    groups: AssetGroups,
    composites: Iterable[Composite],
    methods: Mapping[str, PredictAlpha],
    advance: Callable[[], None] = lambda: None,
    measure: Callable[..., dict[str, float]] = lambda *_: {},
) -> dict[str, ColumnBuilder]:
    """Every method on the same composites: Dice, IoU, boundary F, and what else is measured."""
    builders = {name: ColumnBuilder(groups) for name in methods}
    for composite in composites:
        for name, predict in methods.items():
            alpha, target = predict(composite), composite.alpha
            figures = mask_metrics(alpha, target) | measure(alpha, target)
            builders[name].add(composite.recipe, figures)
        advance()
    return builders


_CELLS_WITH_SEEN_ASSETS: Final[tuple[tuple[Split, Split], ...]] = (
    ("train", "train"),
    ("train", "test"),
    ("test", "train"),
)
_HELD_OUT_PREDICTIONS: Final = 2  # by the model, for a composite: with its plate and without


def with_plate(predictor: Predictor) -> PredictAlpha:
    """The model's alpha of picture and plate."""
    return lambda composite: predictor.predict(composite.image, composite.plate).alpha


def without_plate(predictor: Predictor) -> PredictAlpha:
    """The model's alpha of the picture alone."""
    return lambda composite: predictor.predict(composite.image).alpha


def _tune_on_val(
    spec: DatasetSpec, catalogue: Catalogue, judged: Slice, count: int, origin: str | None
) -> tuple[dict[str, Baseline], str]:
    """The baselines at their best on val; none, and the reason, where there is nothing to tune."""
    pool, reason = find_pool(spec, "val", "val", origin=origin)
    if pool is None:
        return {}, reason
    return tune_baselines(render_slice(judged, pool, catalogue, count), BASELINES), UNTUNED


def baseline_column(
    name: str, tuned: Mapping[str, Baseline], reason: str, columns: Mapping[str, Column]
) -> Column:
    """A baseline's column with what it was tuned to, or without figures and why."""
    if name not in tuned:
        return Column.without_figures(reason)
    return replace(columns[name], tuned=tuned[name].tuning)
