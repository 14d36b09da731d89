"""The benches: what they measure is the real thing, and their figures are complete."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskdepth.bench import bench_predict, bench_train
from maskdepth.bench.methods import find_methods
from maskdepth.bench.predict import measure_memory
from maskdepth.datasets.build import Dataset, compose_dataset
from maskdepth.errors import UsageError
from maskdepth.inference.model.locate import SHIPPED, find_model
from maskdepth.learning.arithmetic import count_training_flops
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import BENCHMARK_V1
from maskdepth.synthesis.worlds import write_sample_pack

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tools" / "bench.py"))


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
    pictures = TOOL["PillowPictures"](catalogue)
    for recipe in sample_recipes(rules, spec.pool(), 0, 0, 12):
        ours = render(recipe, rules.size, catalogue)
        picture, plate, alpha = TOOL["render_with_pillow"](recipe, rules.size, pictures)
        assert np.abs(means(ours.image) - means(picture)).mean() < 2
        assert np.abs(means(ours.plate) - means(plate)).mean() < 2
        assert np.abs(means(ours.alpha) - means(alpha)).mean() < 0.003


@pytest.fixture(autouse=True)
def few_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskdepth.bench.train.PACK_SIZE", 3)
    monkeypatch.setattr("maskdepth.bench.timing.WARM_UP_RUNS", 1)


@pytest.fixture
def model() -> Path:
    """The shipped model, which has every kind of file."""
    return find_model(SHIPPED)


def test_bench_predict_times_every_engine_in_the_same_run(model: Path) -> None:
    result = bench_predict(
        [model],
        sizes=[(48, 48), (60, 80)],
        prepared_sizes=[(48, 48), (480, 640)],
        runs=3,
        threads=1,
        memory=False,
    )
    rows = {
        (part, row["engine"], row["precision"], row["model"] == "prior", row["width"]): row
        for part in ("networks", "predictors")
        for row in result[part]
    }
    for part in ("networks", "predictors"):
        for width in (48, 80):
            first = rows[part, "onnxruntime", "fp32", False, width]
            assert first["ratio"] == 1
            for engine, precision in (("onnxruntime", "int8"), ("torch", "fp32")):
                row = rows[part, engine, precision, False, width]
                assert row["ratio"] == pytest.approx(row["median_ms"] / first["median_ms"])
                assert 0 < row["median_ms"] <= row["p95_ms"]
                assert row["runs"] == 3
    prepared = result["prepared"]
    small, large = prepared["whole"]
    assert (large["height"], large["width"]) == (480, 640)
    assert 0 < small["median_ms"] < large["median_ms"]
    assert large["ratio"] == pytest.approx(large["median_ms"] / prepared["network_ms"])
    # The prior work's network takes 224 x 224 alone; a predictor resizes any picture to that.
    assert not any(row["model"] == "prior" for row in result["networks"])
    assert rows["predictors", "torch", "fp32", True, 80]["ratio"] > 2
    assert rows["predictors", "difference", "uint8", False, 80]["ratio"] < 1
    missing = " ".join(result["missing"])
    assert ("openvino" in missing) == (importlib.util.find_spec("openvino") is None)


def test_memory_is_of_a_process_that_does_nothing_else(model: Path) -> None:
    """A larger picture shows in it; what this process holds does not."""
    hoard = np.ones(300_000_000, np.uint8)
    (first, *_), _ = find_methods([model])
    small, large = (measure_memory(first, "networks", side, side, 1) for side in (32, 640))
    assert hoard.sum() == len(hoard)
    assert 20 < small.start_mb < small.peak_mb < 300
    assert large.peak_mb > small.peak_mb + 20


def test_bench_predict_refuses_odd_numbers(model: Path) -> None:
    with pytest.raises(UsageError, match="threads"):
        bench_predict([model], threads=0)


def test_arithmetic_of_a_convolution_is_counted_as_written_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2 x 3 x 3 x channels x channels x pixels, and twice that again for the gradients."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.Conv2d(5, 2, 3, padding=1)
            )

        def forward(self, picture: torch.Tensor, *_: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"alpha_logits": self.layers(picture)}

    monkeypatch.setattr("maskdepth.learning.arithmetic.build_model", lambda _: Net())
    first, second = 2 * 9 * 3 * 5 * 20**2, 2 * 9 * 5 * 2 * 20**2
    # The picture needs no gradient, so the first convolution has one product less.
    assert count_training_flops("net", 20) == 2 * first + 3 * second


def test_bench_train_says_what_share_of_the_peak_it_reaches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("maskdepth.bench.train.WARM_UP_SECONDS", 0.5)
    result = bench_train("small", size=32, batch_size=2, seconds=1)
    assert result["peak_share"] == pytest.approx(
        result["images_per_second"] * result["flops_per_image"] / result["peak_flops_per_second"]
    )
    assert 0 < result["peak_share"] < 1
    assert 0 <= result["loader_share"] <= 1
