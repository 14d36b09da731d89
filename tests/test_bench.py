"""The benches: what they measure is the real thing, and their figures are complete."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from maskdepth.bench import bench_compose
from maskdepth.bench.compose import PillowPictures, render_with_pillow
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
    """Another library gives the same picture, plate and alpha, but for its softer filter.

    Compared as means of 8 x 8 pixels, which neither filters nor half a pixel move far.
    """

    def means(picture: NDArray[Any]) -> NDArray[Any]:
        return picture.reshape(28, 8, 28, 8, -1).mean(axis=(1, 3))

    rules, spec = BENCHMARK_V1["clean"], dataset.spec
    catalogue = spec.catalogue(dataset.folder, rules.size)
    pictures = PillowPictures(spec, dataset.folder, rules.size)
    for recipe in sample_recipes(rules, spec.pool(), 0, 0, 12):
        ours = render(recipe, rules.size, catalogue)
        picture, plate, alpha = render_with_pillow(recipe, rules.size, pictures)
        assert np.abs(means(ours.image) - means(picture)).mean() < 2
        assert np.abs(means(ours.plate) - means(plate)).mean() < 2
        assert np.abs(means(ours.alpha) - means(alpha)).mean() < 0.003


def test_bench_compose_tells_speed_ratio_and_memory(capfd: pytest.CaptureFixture[str]) -> None:
    """One row a renderer and slice, each with a ratio to Pillow in the same run."""
    result = bench_compose(8, slices=("clean",), processes=1, device="cpu", batch_size=3)
    assert [(row["slice"], row["renderer"]) for row in result["renderers"]] == [
        ("clean", "pillow"),
        ("clean", "maskdepth"),
        ("clean", "device"),
    ]
    pillow, ours, device = result["renderers"]
    assert pillow["ratio"] == 1
    assert ours["ratio"] == pytest.approx(
        ours["composites_per_second"] / pillow["composites_per_second"]
    )
    assert device["ratio"] > 0
    assert result["device"] == "cpu"
    assert all(memory > 20 or math.isnan(memory) for memory in ours["memory_mb"])
    assert capfd.readouterr().out == ""
