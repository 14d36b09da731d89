"""The benchmark's composites: the assets they are made of, and their rendering."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from maskdepth.errors import AssetError
from maskdepth.evaluation.slices import Slice
from maskdepth.metrics import MASK_THRESHOLD
from maskdepth.synthesis.assets import Split
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Pool, Recipe, sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.rules import BENCHMARK_SEED, RecipeRules
from maskdepth.synthesis.spec import DatasetSpec

_MAX_DRAWS: Final = 40  # recipes drawn for one composite of a slice, at most


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


def mask_origin(spec: DatasetSpec) -> str | None:
    """Whose backgrounds masks are judged on: the user's, where some are held out; else all.

    The sample pack's drawn scenes teach depth; the user's own scene is what masks are for.
    """
    held = {asset.split for asset in spec.backgrounds if asset.origin == "user"}
    return "user" if {"val", "test"} <= held else None


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


def render_slice(
    judged: Slice, pool: Pool, catalogue: Catalogue, count: int
) -> Iterator[Composite]:
    """The first ``count`` composites of a slice on these assets.

    There are fewer where hardly any of the assets can cover as much of the frame as the slice asks.
    """
    low, high = judged.foreground
    rendered = render_benchmark(judged.rules, pool, catalogue, _MAX_DRAWS * count)
    fitting = (each for each in rendered if low <= (each.alpha > MASK_THRESHOLD).mean() <= high)
    return islice(fitting, count)
