"""Examples for people: the worst, the middle and the best of an evaluation, rendered again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.datasets.build import Dataset
from maskdepth.evaluation.columns import Figures
from maskdepth.evaluation.composite_depth import DepthTable
from maskdepth.evaluation.composites import find_depth_pool, find_pool
from maskdepth.evaluation.held_out import HeldOutComposites, HeldOutTable
from maskdepth.evaluation.results import Evaluation
from maskdepth.evaluation.slices import SLICES
from maskdepth.inference.model.card import NO_DEPTH
from maskdepth.inference.predictor import Predictor
from maskdepth.synthesis.recipes import Pool, sample_recipe
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1
from maskdepth.synthesis.spec import DatasetSpec

HELD_OUT: Final = "held out"
"""The group of panels of composites that a dataset holds out."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One composite of unseen assets with its targets and predictions, side S.

    Attributes:
        group: ``"masks"`` or ``"depth"``, the figures that it was chosen by, or ``HELD_OUT``.
        rank: ``"worst"``, ``"median"`` or ``"best"``.
        slice: of the benchmark, or ``"prior"``.
        index: of the recipe; with the dataset it renders the composite again.
        figures: the figure it was chosen by, under its name.
        picture, plate: uint8 (S, S, 3) RGB.
        target_alpha, pred_alpha: float32 (S, S) in [0,1].
        target_disparity: float32 (S, S), NaN invalid; None on a background without a label.
        pred_disparity: float32 (S, S); None where the model never learned depth.
    """

    group: str
    rank: str
    slice: str
    index: int
    figures: Figures
    picture: NDArray[np.uint8]
    plate: NDArray[np.uint8]
    target_alpha: NDArray[np.float32]
    pred_alpha: NDArray[np.float32]
    target_disparity: NDArray[np.float32] | None
    pred_disparity: NDArray[np.float32] | None


def select_panels(
    predictor: Predictor, spec: DatasetSpec, folder: Path, evaluation: Evaluation, *, each: int = 2
) -> list[Panel]:
    """Render and predict the extremes and the middle of an evaluation.

    Masks are ranked by Dice on unseen cutouts and backgrounds in every slice, depth by AbsRel
    with the plate. Predictions are made with the plate and without its disparity.

    Args:
        predictor, spec, folder, evaluation: what `evaluate_composites` was given, and what
            it returned.
        each: examples of each rank.

    Returns:
        Worst first; none of a table without figures.
    """
    catalogue = spec.catalogue(folder, max(rules.size for rules in BENCHMARK_V1.values()))

    def select(pool: Pool, group: str, name: str, figure: str, values: Figures) -> Iterator[Panel]:
        def render_one(index: int) -> Composite:
            rules = SLICES[name].rules
            recipe = sample_recipe(rules, pool, BENCHMARK_SEED, index)
            return render(recipe, rules.size, catalogue)

        return _render_ranks(predictor, each, render_one, group, name, figure, values)

    panels: list[Panel] = []
    for name, table in evaluation.masks.items():
        origin = None if table.backgrounds_of == "all" else table.backgrounds_of
        pool, _ = find_pool(spec, "test", "test", origin=origin)
        if pool is not None:
            panels += select(pool, "masks", name, "dice", table.dice_by_index)
    pool, _ = find_depth_pool(spec)
    if pool is not None and isinstance(evaluation.depth, DepthTable):
        panels += select(pool, "depth", "clean", "abs_rel", evaluation.depth.abs_rel_by_index)
    return panels


def select_held_out_panels(
    predictor: Predictor, dataset: Dataset, table: HeldOutTable | None, *, each: int = 2
) -> list[Panel]:
    """The same of the composites that a dataset holds out, as the network alone answers them.

    They are ranked by the grey Dice of their masks.

    Args:
        table: as `evaluate_held_out` returns it.
    """
    composites = HeldOutComposites.of(predictor, dataset)
    if table is None or composites is None:
        return []
    values = table.mask_by_number
    network, render_one = predictor.network_alone(), composites.render_one
    return list(_render_ranks(network, each, render_one, HELD_OUT, "prior", "dice", values))


def _render_ranks(
    predictor: Predictor,
    each: int,
    render_one: Callable[[int], Composite],
    group: str,
    slice_name: str,
    figure: str,
    values: Figures,
) -> Iterator[Panel]:
    """Examples by the values of a figure by recipe index: worst first, no index twice.

    Args:
        each: examples of each rank.
        render_one: the composite of an index.
        group, slice_name: see ``Panel``; smaller is better in the group ``"depth"`` alone.
        figure: its name.
    """
    sign = -1 if group == "depth" else 1
    ranked = sorted(values, key=lambda index: (sign * values[index], int(index)))
    count = len(ranked)
    ranks = {"worst": 0, "median": (count - each) // 2, "best": count - each}
    rank_of: dict[str, str] = {}
    for rank, start in ranks.items():
        for index in ranked[max(start, 0) : max(start, 0) + each]:
            rank_of.setdefault(index, rank)
    for index, rank in rank_of.items():
        composite = render_one(int(index))
        prediction = predictor.predict(composite.image, composite.plate)
        yield Panel(
            group=group,
            rank=rank,
            slice=slice_name,
            index=int(index),
            figures={figure: values[index]},
            picture=composite.image,
            plate=composite.plate,
            target_alpha=composite.alpha,
            pred_alpha=prediction.alpha,
            target_disparity=composite.disparity,
            pred_disparity=None if predictor.card.depth == NO_DEPTH else prediction.disparity,
        )
