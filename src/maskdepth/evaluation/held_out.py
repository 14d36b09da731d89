"""The prior work's two Dice figures, on composites that were kept from training.

The prior work split its composites by number: a model was judged on the same cutouts and
backgrounds as it was trained on, in other combinations. Datasets without held-out assets
(``compose --split none``) are judged in that way, beside the scores that give the figures a scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from maskdepth.datasets.build import Dataset
from maskdepth.datasets.composite_labels import (
    CompositeLabels,
    find_composite_labels,
    split_composites,
)
from maskdepth.evaluation.baselines import tune_baselines, vertical_gradient
from maskdepth.evaluation.columns import AssetGroups, Column, ColumnBuilder, Figures
from maskdepth.inference.model.card import NO_DEPTH
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import grey_dice
from maskdepth.progress import OnProgress
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import Composite, render

_DIFFERENCE: Final = "difference"
_TUNED_ON: Final = 100  # composites
_UNTUNED: Final = "no composite that was learned from has a mask"
_UNLABELLED: Final = "no composite has a depth label"
_UNLEARNED: Final = "the model never learned depth"
_ALL_LEARNED: Final = "the model has learned from all composites of this dataset"


@dataclass(frozen=True)
class HeldOutTable:
    """2 sum(pt) / (sum p + sum t) of composites that were kept from training; see ``grey_dice``.

    Attributes:
        first, last: numbers of the composites that were judged.
        labels: where their depth comes from.
        mask, depth: of the network alone, with the plate.
        mask_refined: of the prediction as users get it, refined with the plate's colours.
        mask_difference: of |picture - plate|, tuned on composites that were learned from.
        depth_gradient: of depth that says "lower is nearer".
        mask_by_number: the model's score by sample number.
    """

    first: int
    last: int
    labels: str
    mask: Column
    mask_refined: Column
    mask_difference: Column
    depth: Column
    depth_gradient: Column
    mask_by_number: Figures = field(default_factory=dict)


def evaluate_held_out(
    predictor: Predictor,
    dataset: Dataset,
    count: int,
    on_progress: OnProgress = lambda *_: None,
) -> HeldOutTable | None:
    """The prior work's figures; None for a dataset with held-out assets, or endless composites.

    Args:
        count: composites to judge on, at most as many as are held out.
        on_progress: called with the number of composites that are done with, and of all.

    Raises:
        DatasetError: an asset or a label is missing or damaged.
    """
    composites = HeldOutComposites.of(predictor, dataset)
    if composites is None:
        return None
    numbers = composites.held_out[:count]
    groups, learned = AssetGroups.of(dataset.spec), predictor.card.depth != NO_DEPTH
    reasons = {
        "mask": _ALL_LEARNED,
        "mask_refined": _ALL_LEARNED,
        "mask_difference": _UNTUNED if numbers else _ALL_LEARNED,
        "depth": (_UNLABELLED if numbers else _ALL_LEARNED) if learned else _UNLEARNED,
        "depth_gradient": _UNLABELLED if numbers else _ALL_LEARNED,
    }
    builders = {name: ColumnBuilder(groups, reason) for name, reason in reasons.items()}
    network = predictor.network_alone()
    tuned = tune_baselines(composites.render(composites.learned[:_TUNED_ON]), [_DIFFERENCE])
    for done, composite in enumerate(composites.render(numbers), start=1):
        answer = network.predict(composite.image, composite.plate)
        masks = {"mask": answer.alpha}
        masks["mask_refined"] = predictor.predict(composite.image, composite.plate).alpha
        if _DIFFERENCE in tuned:
            masks["mask_difference"] = tuned[_DIFFERENCE].predict(composite)
        for name, alpha in masks.items():
            builders[name].add(composite.recipe, grey_dice(alpha, composite.alpha))
        target = composite.disparity
        if target is not None:
            maps = {"depth": answer.disparity} if learned else {}
            maps["depth_gradient"] = vertical_gradient(*target.shape)
            for name, disparity in maps.items():
                builders[name].add(composite.recipe, grey_dice(disparity, target))
        on_progress(done, len(numbers))
    return HeldOutTable(
        first=numbers.start + 1,
        last=numbers.stop,
        labels=composites.label_kind,
        **{name: builder.column() for name, builder in builders.items()},
        mask_by_number=builders["mask"].by_index("score"),
    )


@dataclass(frozen=True)
class HeldOutComposites:
    """A dataset's composites, with the depth labels that are learned from.

    Attributes:
        learned, held_out: sample numbers.
    """

    dataset: Dataset
    labels: CompositeLabels | None
    learned: range
    held_out: range

    @classmethod
    def of(cls, predictor: Predictor, dataset: Dataset) -> HeldOutComposites | None:
        """Those of a dataset that a model was kept from; None where there is no such split."""
        labels = find_composite_labels(dataset)
        split = split_composites(dataset, labels)
        if split is None:
            return None
        card, held_out = predictor.card, split.held_out
        learned = card.training.get("composites")
        if card.data.get("fingerprint") == dataset.spec.fingerprint and isinstance(learned, int):
            # Without labels a model may have learned from more composites than have some.
            held_out = held_out[max(learned - held_out.start, 0) :]
        return cls(dataset, labels, split.learned, held_out)

    @property
    def label_kind(self) -> str:
        """Where depth comes from, in words."""
        if self.labels is None:
            return self.dataset.spec.depth_kind
        return f"teacher {self.labels.teacher.name}, asked for each composite"

    def render(self, numbers: range) -> Iterator[Composite]:
        """Composites by sample number."""
        spec = self.dataset.spec
        catalogue = spec.catalogue(self.dataset.folder)
        recipes = sample_recipes(spec.rules, spec.pool(), spec.seed, numbers.start, numbers.stop)
        for recipe in recipes:
            composite = render(recipe, spec.rules.size, catalogue)
            if self.labels is not None:
                label = self.labels.disparity[recipe.index]
                composite = replace(composite, disparity=label)
            yield composite

    def render_one(self, number: int) -> Composite:
        """The composite of a sample number."""
        return next(self.render(range(number, number + 1)))
