"""The training loop: what it learns from, how it stops, and that it goes on where it stopped.

As a script, ``python test_training.py FOLDER [key=value ...]``, this file is the process that the
tests kill.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from maskdepth.datasets.build import compose_dataset
from maskdepth.errors import (
    ConfigError,
    DatasetError,
    DependencyError,
    ModelError,
    NonFiniteLossError,
    StorageError,
    UsageError,
)
from maskdepth.images import save_png
from maskdepth.learning import journal, training
from maskdepth.learning.checkpoint import load_state
from maskdepth.learning.dataset import CompositeDataset
from maskdepth.learning.feed import CountedBatches, in_order, make_loader
from maskdepth.learning.journal import TrainingProgress
from maskdepth.learning.losses import Criterion, LossWeights
from maskdepth.learning.model import build_model
from maskdepth.learning.muon import Muon
from maskdepth.learning.optimisation import Learner, make_optimisers, update_average
from maskdepth.learning.settings import TrainingConfig, learning_rate_at, preset_config
from maskdepth.learning.training import TrainingResult, train
from maskdepth.learning.validation import render_preview, validate
from maskdepth.synthesis.rules import FIELD
from tiny_network import TinyNetwork

SIZE = 16
CPU = torch.device("cpu")


class SquareDataset(torch.utils.data.Dataset[dict[str, Tensor]]):
    """A bright square on a noisy plate; everything about sample i follows from i."""

    def __init__(self, count: int = 8, broken: int | None = None, slow: float = 0.0) -> None:
        self.count = count
        self.broken = broken
        self.slow = slow

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        time.sleep(self.slow)
        random = np.random.default_rng(index)
        plate = random.uniform(0, 0.5, (3, SIZE, SIZE)).astype(np.float32)
        top, left = random.integers(0, SIZE // 2, 2)
        alpha = np.zeros((1, SIZE, SIZE), np.float32)
        alpha[:, top : top + SIZE // 2, left : left + SIZE // 2] = 1
        disparity = np.linspace(0, 1, SIZE, dtype=np.float32)[None, :, None] * np.ones_like(alpha)
        picture = plate * (1 - alpha) + np.float32(0.9) * alpha
        if index == self.broken:
            picture = picture * np.float32(np.nan)
        return {
            "picture": torch.from_numpy(picture),
            "plate": torch.from_numpy(plate),
            "plate_disparity": torch.from_numpy(disparity),
            "validity": torch.ones(2),
            "alpha": torch.from_numpy(alpha),
            "disparity": torch.from_numpy(disparity),
            "disparity_valid": torch.ones(1, SIZE, SIZE),
            "has_disparity": torch.tensor(1.0),
            "index": torch.tensor(index, dtype=torch.int64),
        }


def tiny_config(**changes: object) -> TrainingConfig:
    """Twelve steps of four samples, the state saved after each."""
    settings: dict[str, object] = {
        "steps": 12,
        "batch_size": 4,
        "learning_rate": 0.05,
        "validate_every_steps": 4,
        "save_every_seconds": 0.0,
        "log_every_steps": 2,
        "workers": 0,
        # oneDNN's bfloat16 convolutions are wrong for pictures of a few pixels, as these are.
        "mixed_precision": "no",
    }
    return TrainingConfig.parse({**settings, **changes}, "a test")


def tiny_network() -> TinyNetwork:
    """The same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return TinyNetwork()


def tiny_train(
    folder: Path, config: TrainingConfig | None = None, **options: Any
) -> TrainingResult:
    """Train the tiny network on squares, on the CPU, without a word."""
    return train(
        tiny_config() if config is None else config,
        options.pop("dataset", None) or SquareDataset(),
        options.pop("val_dataset", None) or SquareDataset(4),
        folder,
        **{"model": tiny_network(), "device": "cpu", "quiet": True, **options},
    )


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: bits depend on it
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the usual settings."""
    folder = tmp_path_factory.mktemp("undisturbed")
    tiny_train(folder)
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def without_clocks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    clocks = {"seconds", "images_per_second", "loader_share"}
    return [{key: row[key] for key in row if key not in clocks} for row in rows]


def sample_batch(*indices: int) -> dict[str, Tensor]:
    samples = [SquareDataset()[i] for i in indices]
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duration",
    [
        {"steps": None},
        {"minutes": 1.0},
        {"steps": None, "epochs": 2},
        {"validate_every_seconds": 5.0},
        {"workers": -1},
        {"learning_rate": 0.0},
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(duration: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        tiny_config(**duration)


def test_another_duration_replaces_the_whole_of_the_former() -> None:
    config = preset_config("prior").with_duration(minutes=2.0)
    assert (config.steps, config.epochs, config.minutes, config.epoch_size) == (None, None, 2, None)
    assert config.total_steps is None
    with pytest.raises(ConfigError):
        config.with_duration()


@given(st.integers(1, 5), st.integers(1, 1000), st.integers(1, 64))
def test_epochs_cover_every_image_as_often_as_asked(epochs: int, size: int, batch: int) -> None:
    config = tiny_config(steps=None, epochs=epochs, epoch_size=size, batch_size=batch)
    assert config.total_steps is not None
    assert 0 <= config.total_steps * batch - epochs * size < batch


def test_prior_is_trained_as_in_the_prior_work() -> None:
    config = preset_config("prior")
    assert (config.optimiser, config.learning_rate, config.momentum) == ("sgd", 0.01, 0.9)
    assert (config.batch_size, config.epochs, config.epoch_size) == (64, 3, 360_000)
    assert (config.ema_decay, config.clip_norm, config.weight_decay) == (0, 0, 0)
    assert (config.drop_plate, config.drop_plate_disparity) == (0, 1)
    assert config.losses.active() == {"alpha_bce": 0.1, "disparity_ssim": 0.9}
    assert config.losses.ssim_window == 3
    assert {learning_rate_at(config, share / 7) for share in range(8)} == {0.01}


def test_a_renderer_in_older_settings_is_read_and_has_no_effect() -> None:
    """Settings files and saved runs of earlier versions name one."""
    assert "renderer" not in tiny_config(renderer="device").model_dump(exclude_unset=True)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.9), st.sampled_from(["cosine", "constant"]))
def test_the_learning_rate_rises_then_falls(
    first: float, second: float, warmup: float, schedule: str
) -> None:
    config = tiny_config(warmup=warmup, schedule=schedule)
    early, late = sorted([first, second])
    before, after = learning_rate_at(config, early), learning_rate_at(config, late)
    assert 0 < before <= config.learning_rate
    if late < warmup:
        assert before <= after
    elif early >= warmup:
        assert before >= after


def test_half_way_down_the_cosine_the_rate_is_half() -> None:
    config = tiny_config(warmup=0.2)
    assert learning_rate_at(config, 0.1) == pytest.approx(0.5 * config.learning_rate)
    assert learning_rate_at(config, 0.2) == pytest.approx(config.learning_rate)
    assert learning_rate_at(config, 0.6) == pytest.approx(0.5 * config.learning_rate)


# --- batches ------------------------------------------------------------------------------------


@given(st.integers(0, 50), st.integers(1, 6), st.integers(1, 4), st.none() | st.integers(1, 30))
def test_processes_share_out_consecutive_indices(
    step: int, share: int, processes: int, recur: int | None
) -> None:
    size = share * processes
    parts = [
        next(iter(CountedBatches(size, step, recur, process, processes)))
        for process in range(processes)
    ]
    expected = range(step * size, (step + 1) * size)
    assert {len(part) for part in parts} == {share}
    assert sorted(i for part in parts for i in part) == sorted(
        i if recur is None else i % recur for i in expected
    )


def test_batches_from_a_later_step_are_those_an_earlier_start_comes_to() -> None:
    early, late = iter(CountedBatches(3, 0)), iter(CountedBatches(3, 5))
    for _ in range(5):
        next(early)
    assert [next(early) for _ in range(4)] == [next(late) for _ in range(4)]


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of the 3 processes"):
        CountedBatches(16, 0, None, 0, 3)


def test_loading_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    list(make_loader(SquareDataset(), in_order(8, 3), 0, CPU))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mirrored_sample_is_the_same_one_in_a_mirror(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for each in range(4):
        noise = random.integers(0, 256, (2, 80, 80, 4)).astype(np.uint8)
        save_png(tmp_path / "cutouts" / f"{each}.png", noise[0])
        save_png(tmp_path / "backgrounds" / f"{each}.png", noise[1, ..., :3])
    assets = tmp_path / "cutouts", tmp_path / "backgrounds"
    folder = tmp_path / "dataset"
    spec = compose_dataset(*assets, folder, small=True, depth_scenes=0).spec
    common: tuple[Any, ...] = (FIELD.at_size(48), spec.pool(), 5, spec.catalogue(folder, 48), 24)
    labels = list(random.random((24, 48, 48), np.float32))
    plain, half = (CompositeDataset(*common, mirror=each, labels=labels) for each in (0.0, 0.5))
    mirrored = 0
    for index in range(24):
        before, after = plain[index], half[index]
        turned = not torch.equal(before["picture"], after["picture"])
        mirrored += turned
        for name, value in before.items():
            expected = value.flip(2) if turned and value.ndim == 3 else value
            assert torch.equal(after[name], expected), name
    assert 5 <= mirrored <= 19


# --- one step -----------------------------------------------------------------------------------


def full_precision() -> Accelerator:
    """Of this process's CPU; accelerate remembers what an earlier training of it was set to."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=True, mixed_precision="no")


def test_a_plain_step_is_the_gradient_times_the_rate() -> None:
    changes = {"optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip_norm": 0.0}
    config = tiny_config(**changes, ema_decay=0.0)
    batch = sample_batch(0, 1)
    twin = tiny_network().train()
    inputs = (batch["picture"], batch["plate"], batch["plate_disparity"], batch["validity"])
    Criterion(config.losses)(twin(*inputs), batch)["total"].backward()
    learner = Learner(tiny_network(), config, full_precision())
    figures = learner.step(batch, 0, 0.03)
    assert "gradient_norm" not in figures
    for ours, theirs in zip(learner.network.parameters(), twin.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(ours.detach(), theirs.detach() - 0.03 * theirs.grad)


def test_a_clipped_step_is_no_longer_than_the_norm_allows() -> None:
    changes = {"optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip_norm": 0.01}
    learner = Learner(tiny_network(), tiny_config(**changes), full_precision())
    before = [p.detach().clone() for p in learner.network.parameters()]
    figures = learner.step(sample_batch(0, 1), 0, 1.0)
    moved = [a.detach() - b for a, b in zip(learner.network.parameters(), before, strict=True)]
    assert figures["gradient_norm"] > 0.01
    assert math.sqrt(sum(float(m.square().sum()) for m in moved)) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("name", ["muon", "adamw", "sgd"])
def test_weight_decay_spares_biases_and_norms(name: str) -> None:
    network = tiny_network()
    groups = [
        group
        for optimiser in make_optimisers(network, tiny_config(optimiser=name))
        for group in optimiser.param_groups
    ]
    moved = [id(p) for group in groups for p in group["params"]]
    assert sorted(moved) == sorted(id(p) for p in network.parameters())
    decayed = {id(p) for group in groups for p in group["params"] if group["weight_decay"] > 0}
    names = {name for name, p in network.named_parameters() if id(p) in decayed}
    assert names == {"features.weight", "values.weight"}


def test_muon_moves_what_a_norm_follows_and_adamw_the_rest() -> None:
    network = build_model("small")
    muon, adamw = make_optimisers(network, tiny_config(optimiser="muon"))
    assert (type(muon), type(adamw)) == (Muon, torch.optim.AdamW)
    moved = {id(p) for group in adamw.param_groups for p in group["params"]}
    names = {name for name, p in network.named_parameters() if id(p) in moved and p.dim() > 1}
    last = {"alpha.offset_and_gains.weight", "disparity.value.weight"}
    assert names == {*last, "context.weight"}


def test_the_average_forgets_its_start_and_follows_batch_norms() -> None:
    average, network = tiny_network(), tiny_network()
    expected = average.features.bias.detach().numpy().astype(np.float64)
    for step in range(50):
        with torch.no_grad():
            network.features.bias.fill_(step)
            network.norm.running_mean.fill_(-step)  # type: ignore[union-attr]
            network.norm.num_batches_tracked.fill_(step)  # type: ignore[union-attr]
        update_average(average, network, step, 0.9)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    np.testing.assert_allclose(average.features.bias.detach().numpy(), expected, rtol=1e-5)
    assert average.norm.running_mean is not None
    assert float(average.norm.running_mean[0]) == pytest.approx(-float(expected[0]), abs=0.2)
    assert int(average.norm.num_batches_tracked) == 49  # type: ignore[arg-type]


# --- a run --------------------------------------------------------------------------------------


def test_training_learns_and_leaves_its_folder_in_order(tmp_path: Path) -> None:
    run = tmp_path / "deep" / "run"
    steps: list[TrainingProgress] = []
    result = tiny_train(run, tiny_config(steps=40), on_progress=steps.append)
    train_rows = [row for row in rows_of(run) if "total" in row]
    val_rows = [row for row in rows_of(run) if "val_dice" in row]
    assert not result.interrupted
    assert (result.steps, result.images) == (40, 160)
    assert [row["step"] for row in train_rows] == list(range(2, 41, 2))
    assert [row["step"] for row in val_rows] == list(range(4, 41, 4))
    assert train_rows[-1]["total"] < 0.7 * train_rows[0]["total"]
    assert train_rows[-1]["images"] == 160
    assert all(0 < row["loader_share"] < 1 for row in train_rows)
    assert result.validation is not None
    assert result.validation["val_dice"] == val_rows[-1]["val_dice"] > 0.8
    assert [progress.step for progress in steps] == list(range(1, 41))
    assert steps[-1].fraction == 1.0
    assert steps[-1].eta_seconds == 0.0
    names = sorted(path.name for path in run.iterdir())
    assert names == ["log.jsonl", "model.safetensors", "previews", "state.safetensors"]
    grid = cv2.imread(str(run / "previews" / "step_000004.png"))
    assert grid is not None
    assert grid.shape == (6 * SIZE, 4 * SIZE, 3)


def test_the_returned_network_is_the_average_in_evaluation_mode(tmp_path: Path) -> None:
    result = tiny_train(tmp_path)
    tensors = load_state(tmp_path / "state.safetensors").tensors
    assert not result.model.training
    for name, value in result.model.state_dict().items():
        assert torch.equal(value, tensors[f"ema.{name}"])
    assert not torch.equal(tensors["ema.features.weight"], tensors["model.features.weight"])


def test_no_average_is_kept_unless_asked_for(tmp_path: Path) -> None:
    result = tiny_train(tmp_path, tiny_config(ema_decay=0.0))
    tensors = load_state(tmp_path / "state.safetensors").tensors
    assert not any(name.startswith("ema.") for name in tensors)
    assert torch.equal(result.model.features.weight, tensors["model.features.weight"])  # type: ignore[union-attr,arg-type]


def test_a_seed_is_a_network(tmp_path: Path) -> None:
    def first_row(name: str, seed: int) -> dict[str, Any]:
        config = tiny_config(steps=1, seed=seed, log_every_steps=1)
        tiny_train(tmp_path / name, config, model=None)
        return without_clocks(rows_of(tmp_path / name))[0]

    assert first_row("a", 1) == first_row("b", 1) != first_row("c", 2)


@pytest.mark.parametrize(
    ("units", "precision"),
    [
        ({"avx2": True}, "fp32"),
        ({"avx512_bf16": True, "amx_bf16": False}, "fp32"),
        ({"avx512_bf16": True, "amx_bf16": True}, "bf16"),
        (None, "fp32"),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_multiplies_matrices_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, units: dict[str, bool] | None, precision: str
) -> None:
    """Vectors of it are not enough; a torch that cannot tell counts as without."""
    if units is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities")
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    config = tiny_config(steps=1, mixed_precision="auto")
    assert tiny_train(tmp_path, config).environment.precision == precision


def test_training_leaves_the_callers_draws_and_tiny_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny_train(tmp_path, tiny_config(steps=2))
    assert torch.equal(torch.rand(3), expected)
    assert np.float64(5e-324) * np.float64(1) > 0


def test_a_loss_that_is_not_finite_names_its_samples_and_touches_nothing(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError) as caught:
        tiny_train(tmp_path, dataset=SquareDataset(broken=22))
    assert caught.value.indices == [20, 21, 22, 23]
    assert "at step 5" in str(caught.value)
    state = load_state(tmp_path / "state.safetensors")
    assert state.facts.step == 5
    assert all(bool(value.isfinite().all()) for value in state.tensors.values())


@pytest.mark.parametrize("every", [1, None], ids=["validated", "not validated"])
def test_a_run_that_diverges_in_its_last_step_writes_nothing_more(
    tmp_path: Path, every: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "learning_rate_at", lambda _, done: 1e38 if done > 0.9 else 0.05)
    config = tiny_config(validate_every_steps=every, optimiser="sgd", clip_norm=0.0)
    with pytest.raises(NonFiniteLossError, match="at step 12") as caught:
        tiny_train(tmp_path, config)
    assert len(caught.value.indices) == 4
    assert not (tmp_path / "model.safetensors").exists()
    state = load_state(tmp_path / "state.safetensors")
    # Absurd weights that are still finite may be saved: their losses show it, a moment later.
    assert state.facts.step in (11, 12)
    assert all(bool(value.isfinite().all()) for value in state.tensors.values())


def test_waiting_for_a_slow_dataset_is_told(tmp_path: Path) -> None:
    tiny_train(tmp_path, tiny_config(steps=4), dataset=SquareDataset(slow=0.02))
    assert rows_of(tmp_path)[-2]["loader_share"] > 0.5


def test_workers_render_the_same_samples_after_opencv_has_used_its_threads(
    tmp_path: Path, undisturbed: Path
) -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (0, 0), 3)  # large enough to share
        tiny_train(tmp_path, tiny_config(workers=2))
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(threads)
    name = "model.safetensors"
    assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes()


def test_samples_come_again_after_an_epoch(tmp_path: Path) -> None:
    indices: list[int] = []

    class Recorder(SquareDataset):
        def __getitem__(self, index: int) -> dict[str, Tensor]:
            indices.append(index)
            return super().__getitem__(index)

    config = tiny_config(steps=None, epochs=2, epoch_size=6)
    tiny_train(tmp_path, config, dataset=Recorder(), val_dataset=SquareDataset(1))
    assert indices == [*range(6), *range(6)]


def test_training_runs_outside_the_main_thread(tmp_path: Path) -> None:
    results: list[TrainingResult] = []
    thread = threading.Thread(target=lambda: results.append(tiny_train(tmp_path)))
    thread.start()
    thread.join()
    assert results[0].steps == 12


def test_validation_comes_by_the_clock_too(tmp_path: Path) -> None:
    config = tiny_config(validate_every_steps=None, validate_every_seconds=1e-6)
    tiny_train(tmp_path, config)
    steps = [row["step"] for row in rows_of(tmp_path) if "val_dice" in row]
    assert steps == list(range(1, 13))


# --- refusals -----------------------------------------------------------------------------------


def test_a_run_is_not_overwritten_and_only_a_saved_one_resumes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no saved run to resume"):
        tiny_train(tmp_path, resume=True)
    tiny_train(tmp_path, tiny_config(steps=1))
    with pytest.raises(UsageError, match=r"holds a saved run already\. Add --resume"):
        tiny_train(tmp_path, tiny_config(steps=1))


def test_resuming_with_another_setting_names_it(tmp_path: Path) -> None:
    tiny_train(tmp_path, tiny_config(steps=1))
    for changes, problem in (
        ({"learning_rate": 0.04}, "has learning_rate = 0.05, and this one 0.04"),
        ({"steps": 13}, "has steps = 1, and this one 13"),
        ({"losses": {"alpha_dice": 0.25}}, "has losses.alpha_dice = 0.5, and this one 0.25"),
    ):
        with pytest.raises(ConfigError, match=problem):
            tiny_train(tmp_path, tiny_config(**{"steps": 1, **changes}), resume=True)


def test_resuming_with_another_dataset_is_refused(tmp_path: Path) -> None:
    tiny_train(tmp_path, tiny_config(steps=1), fingerprint="squares")
    with pytest.raises(DatasetError, match="squares"):
        tiny_train(tmp_path, tiny_config(steps=1), fingerprint="circles", resume=True)


def test_an_empty_validation_set_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        train(tiny_config(), SquareDataset(), SquareDataset(0), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        tiny_train(tmp_path / "file" / "run")


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cpu"):
        tiny_train(tmp_path, device="abacus")


# --- telling ------------------------------------------------------------------------------------


def test_rows_beyond_the_saved_step_are_cut_off(tmp_path: Path) -> None:
    lines = [f'{{"step": {step}}}' for step in (2, 4, 6)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + '\n{"step": 8, "tot')
    book = journal.Journal(tmp_path, resumed_step=4)
    book.write({"step": 6, "total": math.nan})
    assert rows_of(tmp_path) == [{"step": 2}, {"step": 4}, {"step": 6, "total": None}]


@pytest.mark.parametrize(
    "line",
    [
        *('{"step": 4, "tot', "[4]", "null", "4", "{}", "[" * 100_000, '{"total": 1}'),
        *(f'{{"step": {each}}}' for each in ('"4"', "null", "[4]", "NaN", "-1", "4.5", "1" * 400)),
        *(f'{{"step": 4, "total": {each}}}' for each in ('"1"', "[]", "Infinity", "1e999")),
    ],
    ids=lambda line: line[:20],
)
def test_a_damaged_row_of_the_log_is_refused_and_left(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"step": 2}}\n{line}\n{{"step": 6}}\n')
    before = path.read_bytes()
    with pytest.raises(ModelError, match=r"in line 2\. .* remove the file") as caught:
        journal.Journal(tmp_path, resumed_step=4)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_log_that_is_gone_starts_anew(tmp_path: Path) -> None:
    journal.Journal(tmp_path, resumed_step=4).write({"step": 6})
    assert rows_of(tmp_path) == [{"step": 6}]


def test_tensorboard_is_asked_for_or_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    tiny_train(tmp_path / "without", tiny_config(steps=1))
    with pytest.raises(DependencyError, match="tensorboard"):
        tiny_train(tmp_path / "with", tiny_config(steps=1), tensorboard=True)


def test_stderr_has_plain_lines_unless_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(journal, "SECONDS", 0.0)
    tiny_train(tmp_path / "loud", quiet=False)
    loud = capsys.readouterr()
    tiny_train(tmp_path / "quiet")
    quiet = capsys.readouterr()
    assert "step 12/12" in loud.err
    assert "images/s" in loud.err
    assert loud.out + quiet.out + quiet.err == ""


# --- validation ---------------------------------------------------------------------------------


class KnowsSquares(nn.Module):
    """Squares are the only bright pixels, and disparity is handed in."""

    def forward(
        self, picture: Tensor, plate: Tensor, plate_disparity: Tensor, validity: Tensor
    ) -> dict[str, Tensor]:
        bright = picture.amin(dim=1, keepdim=True)
        return {"alpha_logits": (bright - 0.7) * 1000, "disparity": plate_disparity}


def test_a_network_that_knows_has_dice_one() -> None:
    loader = make_loader(SquareDataset(5), in_order(5, 2), 0, CPU)
    network = KnowsSquares().train()
    found = validate(network, Criterion(LossWeights()), loader, CPU, lambda: False, 0)
    assert found is not None
    assert found.figures["val_dice"] == 1.0
    assert network.training


def test_validation_names_the_samples_of_a_loss_that_is_not_finite() -> None:
    """One batch of several is enough: a mean over the others would hide it."""
    loader = make_loader(SquareDataset(6, broken=3), in_order(6, 2), 0, CPU)
    with pytest.raises(NonFiniteLossError, match="val_loss=nan at step 8") as caught:
        validate(tiny_network(), Criterion(LossWeights()), loader, CPU, lambda: False, 8)
    assert caught.value.indices == [2, 3]


def test_validation_ends_when_told() -> None:
    loader = make_loader(SquareDataset(5), in_order(5, 2), 0, CPU)
    assert validate(KnowsSquares(), Criterion(LossWeights()), loader, CPU, lambda: True, 0) is None


def test_a_preview_shows_six_rows_and_a_column_a_sample() -> None:
    batch = sample_batch(0, 1, 2)
    batch["disparity_valid"][1] = 0
    grid = render_preview(batch, batch["alpha"].numpy(), batch["disparity"].numpy())
    assert grid.shape == (6 * SIZE, 3 * SIZE, 3)
    picture, _, alpha, pred_alpha, disparity, pred_disparity = np.split(grid, 6)
    np.testing.assert_array_equal(
        picture[:, :SIZE], np.rint(batch["picture"][0].numpy().transpose(1, 2, 0) * 255)
    )
    np.testing.assert_array_equal(alpha, pred_alpha)
    np.testing.assert_array_equal(disparity[:, :SIZE], pred_disparity[:, :SIZE])
    unknown = disparity[:, SIZE : 2 * SIZE].reshape(-1, 3)
    assert len(np.unique(unknown, axis=0)) == 1


# --- stopping and going on ----------------------------------------------------------------------


def stop_at(step: int, number: signal.Signals) -> Callable[[TrainingProgress], None]:
    def send(progress: TrainingProgress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), number)

    return send


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step(
    tmp_path: Path, undisturbed: Path, number: signal.Signals
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    first = tiny_train(tmp_path / "run", on_progress=stop_at(5, number))
    assert (first.interrupted, first.steps, first.weights) == (True, 5, None)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    second = tiny_train(tmp_path / "run", resume=True)
    assert (second.interrupted, second.steps) == (False, 12)
    assert second.weights is not None
    assert second.weights.read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    assert second.seconds > first.seconds


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    def press_twice(progress: TrainingProgress) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background
    with pytest.raises(KeyboardInterrupt):
        tiny_train(tmp_path, on_progress=press_twice)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_validation_that_was_cut_short_is_made_up_for(tmp_path: Path) -> None:
    first = tiny_train(tmp_path, on_progress=stop_at(4, signal.SIGTERM))
    assert first.validation is None
    tiny_train(tmp_path, resume=True)
    assert [row["step"] for row in rows_of(tmp_path) if "val_dice" in row] == [4, 8, 12]


def test_a_resumed_run_takes_the_number_of_threads_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bits depend on it. A number that the user has set comes first."""
    tiny_train(tmp_path)  # on one thread
    for variable, expected in ((None, 1), ("2", 2)):
        if variable is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", variable)
        torch.set_num_threads(2)
        result = tiny_train(tmp_path, resume=True)
        assert result.environment.threads == expected
        assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_resuming_a_finished_run_returns_it(tmp_path: Path) -> None:
    first = tiny_train(tmp_path)
    log = (tmp_path / "log.jsonl").read_bytes()
    again = tiny_train(tmp_path, resume=True)
    assert (again.steps, again.interrupted) == (12, False)
    assert again.validation == first.validation
    assert (tmp_path / "log.jsonl").read_bytes() == log


def test_minutes_go_on_where_they_stopped(tmp_path: Path) -> None:
    def stop_half_way(progress: TrainingProgress) -> None:
        if progress.fraction > 0.5:
            os.kill(os.getpid(), signal.SIGTERM)

    config = tiny_config(steps=None, minutes=0.02, save_every_seconds=60)  # 1.2 seconds
    first = tiny_train(tmp_path, config, on_progress=stop_half_way)
    fractions: list[float] = []
    second = tiny_train(
        tmp_path,
        config,
        resume=True,
        on_progress=lambda progress: fractions.append(progress.fraction),
    )
    assert first.interrupted
    assert fractions[0] > 0.5
    assert not second.interrupted
    assert second.steps > first.steps
    assert second.seconds >= 1.2


def start_process(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, str(folder), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == str(step):
            return
    pytest.fail("the process ended early")


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        pytest.param(signal.SIGKILL, 0, id="killed"),
        pytest.param(signal.SIGTERM, 2, id="terminated, workers too"),
        pytest.param(signal.SIGINT, 2, id="ctrl-c, workers too"),
    ],
)
def test_a_stopped_process_resumes_to_the_same_bits(
    tmp_path: Path, undisturbed: Path, number: signal.Signals, workers: int
) -> None:
    process = start_process(tmp_path, f"workers={workers}", "slow=0.02")
    try:
        wait_for_step(process, 5)
        os.killpg(process.pid, number)
        output = process.communicate(timeout=30)[0]
    finally:
        process.kill()
    assert process.returncode == (-number if number == signal.SIGKILL else 0)
    assert "finished" not in output
    stopped_at = load_state(tmp_path / "state.safetensors").facts.step
    assert 4 <= stopped_at < 12
    steps: list[int] = []
    tiny_train(
        tmp_path,
        tiny_config(workers=workers),
        resume=True,
        on_progress=lambda progress: steps.append(progress.step),
    )
    assert steps == list(range(stopped_at + 1, 13))
    for name in ("model.safetensors", "previews/step_000012.png"):
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes()
    ours, expected = (
        load_state(folder / "state.safetensors") for folder in (tmp_path, undisturbed)
    )
    assert ours.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(value, expected.tensors[name]) for name, value in ours.tensors.items())
    our_rows, expected_rows = (without_clocks(rows_of(each)) for each in (tmp_path, undisturbed))
    assert [row for row in our_rows if "val_dice" in row] == [
        row for row in expected_rows if "val_dice" in row
    ]
    kinds = [(row["step"], "val_dice" in row) for row in our_rows]
    assert len(kinds) == len(set(kinds))


def _main(folder: Path, arguments: list[str]) -> None:
    """Train, and print every step on stdout; ``slow`` slows the steps down."""
    options: dict[str, Any] = dict(argument.split("=") for argument in arguments)
    dataset = SquareDataset(slow=float(options.pop("slow", "0")))
    resume = options.pop("resume", "no") == "yes"
    options["workers"] = int(options.get("workers", "0"))
    torch.set_num_threads(1)
    result = tiny_train(
        folder,
        tiny_config(**options),
        dataset=dataset,
        resume=resume,
        on_progress=lambda progress: print(progress.step, flush=True),
    )
    print("interrupted" if result.interrupted else "finished", flush=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2:])
