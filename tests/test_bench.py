"""The benches: what they measure is the real thing, and their figures are complete."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskdepth.bench import bench_predict, bench_stream, bench_train, stream_table
from maskdepth.bench.methods import find_methods
from maskdepth.bench.predict import measure_memory
from maskdepth.bench.stream import draw_clips
from maskdepth.datasets.build import Dataset, compose_dataset
from maskdepth.errors import DependencyError, UsageError
from maskdepth.inference.model.locate import SHIPPED, find_model
from maskdepth.learning.arithmetic import count_training_flops
from maskdepth.media.video import VideoSource
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


def test_bench_stream_sets_the_whole_run_beside_the_bound_of_its_stages(model: Path) -> None:
    result = bench_stream(model, frames=6, threads=1, layer="alpha", size=(180, 320))
    stages, run = result["object"], result["overlapped"]
    costs = [stages[f"{name}_ms"] for name in ("decode", "predict", "encode")]
    assert min(costs) > 0
    assert stages["total_ms"] == pytest.approx(sum(costs))
    cores = result["machine"]["cores_allowed"]
    assert result["bound_frames_per_second"] == pytest.approx(1000 * cores / sum(costs))
    share = run["frames_per_second"] / result["bound_frames_per_second"]
    assert run["share_of_bound"] == pytest.approx(share)
    assert run["cores_used"] == pytest.approx(run["cpu_ms"] * run["frames_per_second"] / 1000)
    assert result["empty_share"] == pytest.approx(result["empty"]["total_ms"] / sum(costs))
    table = stream_table(result)
    assert all(word in table for word in ("decode", "predict", "encode", "of the bound"))


def test_the_clips_that_bench_stream_draws_show_an_object_that_moves_and_none(
    tmp_path: Path,
) -> None:
    clips, plate = draw_clips(tmp_path, 12, (180, 320))
    with_object, empty = ([frame.pixels for frame in VideoSource(clip)] for clip in clips)
    assert len(with_object) == len(empty) == 12
    assert all(np.abs(each.astype(int) - plate).mean() < 4 for each in empty)
    first, last = (np.abs(each.astype(int) - plate).max(axis=2) > 40 for each in with_object[::11])
    assert 0.04 < first.mean() < 0.3
    assert (first != last).mean() > 0.04


def test_bench_stream_refuses_odd_numbers(model: Path) -> None:
    with pytest.raises(UsageError, match="frames"):
        bench_stream(model, frames=1)
    with pytest.raises(UsageError, match="layer"):
        bench_stream(model, layer="cutout")


def test_bench_stream_says_what_to_install_where_there_is_no_pyav(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DependencyError, match="video"):
        bench_stream(model)


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
