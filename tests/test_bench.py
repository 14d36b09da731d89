"""The benches: what they measure is the real thing, and their figures are complete."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskdepth.bench import PillowPictures, bench_compose, render_with_pillow
from maskdepth.labelling.build import Dataset, compose_dataset
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import BENCHMARK_V1
from maskdepth.synthesis.worlds import write_sample_pack


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("bench")
    pack = write_sample_pack(folder / "pack", scenes=3, cutouts=4)
    return compose_dataset(
        pack.cutouts, pack.backgrounds, folder / "dataset", small=True, depth_scenes=0
    )


def test_pillow_renders_the_same_composites(dataset: Dataset) -> None:
    """Another library's blending and filters give nearly the same picture, plate and alpha."""
    rules, spec = BENCHMARK_V1["clean"], dataset.spec
    catalogue = spec.catalogue(dataset.folder, rules.size)
    pictures = PillowPictures(spec, dataset.folder, rules.size)
    for recipe in sample_recipes(rules, spec.pool(), 0, 0, 12):
        ours = render(recipe, rules.size, catalogue)
        picture, plate, alpha = render_with_pillow(recipe, rules.size, pictures)
        assert np.abs(ours.image.astype(int) - picture).mean() < 3
        assert np.abs(ours.plate.astype(int) - plate).mean() < 3
        assert np.abs(ours.alpha - alpha).mean() < 0.005
        assert np.abs(ours.alpha.mean() - alpha.mean()) < 0.002


def test_bench_compose_tells_speed_ratio_and_memory(capfd: pytest.CaptureFixture[str]) -> None:
    """One row a renderer and slice, each with a ratio to Pillow in the same run."""
    result = bench_compose(8, slices=("clean",), processes=1)
    assert [(row["slice"], row["renderer"]) for row in result["renderers"]] == [
        ("clean", "pillow"),
        ("clean", "maskdepth"),
    ]
    pillow, ours = result["renderers"]
    assert pillow["ratio"] == 1
    assert ours["ratio"] == pytest.approx(
        ours["composites_per_second"] / pillow["composites_per_second"]
    )
    assert all(memory > 20 or math.isnan(memory) for memory in ours["memory_mb"])
    assert capfd.readouterr().out == ""
