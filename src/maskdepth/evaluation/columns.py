"""One column of a results table: figures picture by picture, then their mean and interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from maskdepth.metrics import MetricMean, bootstrap_interval
from maskdepth.synthesis.recipes import Recipe
from maskdepth.synthesis.spec import DatasetSpec

Figures = Mapping[str, float]
Interval = tuple[float, float]

OMITTED: Final = {"omitted": True}
"""Metadata of a field that the JSON lacks where it is None; other fields are null there."""
BOOTSTRAP_SEED: Final = 2026
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Tuning:
    """What a baseline was tuned to, and on what; the threshold is of 255."""

    on: str
    threshold: int
    median_px: int
    val_dice: float


@dataclass(frozen=True)
class Column:
    """Means over pictures with 95 % intervals over assets, or the reason why there are none.

    Attributes:
        pictures, cutouts, backgrounds: how many were judged; near-duplicates count once.
        interval: by figure; None for a figure where there is one asset of each kind.
        tuned: of a baseline.
    """

    pictures: int
    cutouts: int | None = field(default=None, metadata=OMITTED)
    backgrounds: int | None = field(default=None, metadata=OMITTED)
    mean: Figures | None = None
    interval: Mapping[str, Interval | None] | None = None
    reason: str | None = field(default=None, metadata=OMITTED)
    tuned: Tuning | None = field(default=None, metadata=OMITTED)

    @classmethod
    def without_figures(cls, reason: str) -> Column:
        """A column of no picture."""
        return cls(pictures=0, reason=reason)

    def figure(self, name: str) -> float | None:
        """A mean, None where no picture has it."""
        return (self.mean or {}).get(name)

    def span(self, name: str) -> Interval | None:
        """The interval of a mean, if it has one."""
        return (self.interval or {}).get(name)


@dataclass(frozen=True)
class AssetGroups:
    """The group of every asset by id: near-duplicates are one asset to the bootstrap."""

    cutouts: Mapping[str, str]
    backgrounds: Mapping[str, str]

    @classmethod
    def of(cls, spec: DatasetSpec) -> AssetGroups:
        """The groups of a dataset."""
        return cls(
            {asset.id: asset.group for asset in spec.cutouts},
            {asset.id: asset.group for asset in spec.backgrounds},
        )


class ColumnBuilder:
    """Collects the figures of one column.

    Args:
        groups: of the assets that the pictures are made of.
        reason: what a column without pictures gives as its reason.
    """

    def __init__(self, groups: AssetGroups, reason: str = "no picture can be judged") -> None:
        self._groups = groups
        self._reason = reason
        self._figures = MetricMean()
        self._recipes: list[Recipe] = []

    def add(self, recipe: Recipe, figures: Figures) -> None:
        """Take one picture's figures."""
        self._recipes.append(recipe)
        self._figures.add(figures)

    def by_index(self, name: str) -> dict[str, float]:
        """One figure by recipe index (as text, for JSON), of the pictures that have it."""
        values = zip(self._recipes, self._figures.values(name).tolist(), strict=True)
        return {str(recipe.index): value for recipe, value in values if math.isfinite(value)}

    def column(self) -> Column:
        """Counts, means and intervals."""
        if not self._recipes:
            return Column.without_figures(self._reason)
        # A second cutout, which some challenges have, is not resampled apart.
        cutouts = [
            self._groups.cutouts[recipe.objects[0].cutout] if recipe.objects else ""
            for recipe in self._recipes
        ]
        backgrounds = [self._groups.backgrounds[recipe.background] for recipe in self._recipes]
        mean = self._figures.mean()
        interval: dict[str, Interval | None] = {}
        for name in mean:
            low, high = bootstrap_interval(
                self._figures.values(name), [cutouts, backgrounds], BOOTSTRAP_SEED, CONFIDENCE
            )
            interval[name] = (low, high) if math.isfinite(low) else None
        return Column(
            pictures=len(self._recipes),
            cutouts=len(set(cutouts)),
            backgrounds=len(set(backgrounds)),
            mean=mean,
            interval=interval,
        )
