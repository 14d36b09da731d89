"""One column of a results table: figures picture by picture, then their mean and interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from maskdepth.errors import AssetError
from maskdepth.metrics import MetricMean, bootstrap_interval
from maskdepth.synthesis.assets import Split
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Pool, Recipe, sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.rules import BENCHMARK_SEED, RecipeRules
from maskdepth.synthesis.spec import DatasetSpec

BOOTSTRAP_SEED: Final = 2026
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class AssetGroups:
    """The group of every asset by id: near-duplicates are one asset to the bootstrap."""

    cutouts: Mapping[str, str]
    backgrounds: Mapping[str, str]

    @classmethod
    def of(cls, spec: DatasetSpec) -> AssetGroups:
        """Those of a dataset."""
        return cls(
            {asset.id: asset.group for asset in spec.cutouts},
            {asset.id: asset.group for asset in spec.backgrounds},
        )


class Tally:
    """Collects the figures of one column."""

    def __init__(self) -> None:
        self.figures = MetricMean()
        self._recipes: list[Recipe] = []

    def add(self, recipe: Recipe, figures: Mapping[str, float]) -> None:
        """Take one picture's figures."""
        self._recipes.append(recipe)
        self.figures.add(figures)

    def by_index(self, name: str) -> dict[str, float]:
        """One figure by recipe index (as text, for JSON), of the pictures that have it."""
        values = zip(self._recipes, self.figures.values(name).tolist(), strict=True)
        return {str(recipe.index): value for recipe, value in values if math.isfinite(value)}

    def summary(self, groups: AssetGroups) -> dict[str, Any]:
        """Counts, means, and 95 % intervals (null where there is one asset of each kind)."""
        if not self._recipes:
            return empty_summary("no picture can be judged")
        cutouts = [_first_cutout(recipe, groups) for recipe in self._recipes]
        backgrounds = [groups.backgrounds[recipe.background] for recipe in self._recipes]
        mean = self.figures.mean()
        interval = {}
        for name in mean:
            low, high = bootstrap_interval(
                self.figures.values(name), [cutouts, backgrounds], BOOTSTRAP_SEED, CONFIDENCE
            )
            interval[name] = [low, high] if math.isfinite(low) else None
        return {
            "pictures": len(self._recipes),
            "cutouts": len(set(cutouts)),
            "backgrounds": len(set(backgrounds)),
            "mean": mean,
            "interval": interval,
        }


def _first_cutout(recipe: Recipe, groups: AssetGroups) -> str:
    """The group of a composite's cutout; the benchmark pastes one at most."""
    return groups.cutouts[recipe.objects[0].cutout] if recipe.objects else ""


def empty_summary(reason: str) -> dict[str, Any]:
    """A column without figures, and why."""
    return {"pictures": 0, "mean": None, "interval": None, "reason": reason}


def find_pool(
    spec: DatasetSpec,
    cutouts: Split,
    backgrounds: Split,
    *,
    labelled: bool | None = None,
    taught: bool | None = None,
    origin: str | None = None,
) -> tuple[Pool | None, str]:
    """The assets of two splits, or None and the reason why there are none."""
    try:
        pool = spec.pool(cutouts, backgrounds, labelled=labelled, taught=taught, origin=origin)
        return pool, ""
    except AssetError as error:
        kind = "labelled " if labelled else ""
        return None, (
            f"cutouts of {cutouts} on {kind}backgrounds of {backgrounds}: there are {error.got}"
        )


def find_depth_pool(spec: DatasetSpec) -> tuple[Pool | None, str]:
    """What depth is judged on: exact and measured labels; a teacher's where there are no others."""
    pool, reason = find_pool(spec, "test", "test", labelled=True, taught=False)
    return (pool, reason) if pool else find_pool(spec, "test", "test", labelled=True)


def render_benchmark(
    rules: RecipeRules,
    pool: Pool,
    catalogue: Catalogue,
    count: int,
    change: Callable[[Recipe], Recipe] | None = None,
) -> Iterator[Composite]:
    """The first ``count`` composites of the benchmark on these assets.

    Args:
        change: made to each recipe before it is rendered.
    """
    for recipe in sample_recipes(rules, pool, BENCHMARK_SEED, 0, count):
        yield render(change(recipe) if change else recipe, rules.size, catalogue)
