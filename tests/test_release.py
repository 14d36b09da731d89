"""Models that are passed on: clean copies, int8, descent, the shipped one."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

import maskdepth
from folders import contents
from maskdepth import Predictor
from maskdepth.datasets.build import Dataset, compose_dataset
from maskdepth.errors import (
    DatasetError,
    ModelError,
    StorageError,
    UsageError,
    WeightsNotShippedError,
)
from maskdepth.inference.matting.outline import OUTLINE_FILES
from maskdepth.inference.model.card import ModelCard
from maskdepth.inference.model.folder import load_depth_card, load_model_folder, read_card
from maskdepth.learning import release
from maskdepth.learning.checkpoint import load_weights, save_weights
from maskdepth.learning.export import check_parity
from maskdepth.learning.lineage import complete_assets, find_assets, load_parent, used_assets
from maskdepth.learning.release import starting_network
from maskdepth.learning.settings import preset_config
from maskdepth.locks import writer_lock
from maskdepth.pipeline import RunOptions, export_model, train_model
from maskdepth.synthesis.rules import plan_rules
from maskdepth.synthesis.worlds import write_sample_pack
from pictures import noise

WHOLE = {"model.json", "model.onnx", "model.int8.onnx", "model.safetensors", "assets.csv"}
DEPTH_NETWORK = {"depth.onnx", "depth.json", "depth.safetensors", "depth_assets.csv"}
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("data"), seed=0, licence="CC0-1.0")


def make_dataset(folder: Path, *, seed: int, licence: str) -> Dataset:
    pack = write_sample_pack(folder / "pack", scenes=4, cutouts=3, seed=seed)
    for table in (folder / "pack").rglob("licences.csv"):
        table.write_text(table.read_text().replace("CC0-1.0", licence))
    return compose_dataset(
        pack.cutouts,
        pack.backgrounds,
        folder / "dataset",
        rules=plan_rules("free").at_size(64),
        small=True,
        depth_scenes=0,
    )


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "run"
    config = preset_config("small").with_duration(steps=4)
    assert not train_model(dataset, folder, config, RunOptions(quiet=True))
    return folder


@pytest.fixture(scope="module")
def released(run: Path, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "model"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    about: dict[str, Any] = {"licence": "Apache-2.0", "limits": ["glass", "thin | wires"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "_CALIBRATION_COUNT", 16)
        patch.setattr(release, "_JUDGED_COUNT", 8)
        export_model(run, folder, calibration=dataset, **about)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    return folder


def test_a_clean_copy_holds_what_a_user_needs_and_nothing_else(released: Path) -> None:
    assert {path.name for path in released.iterdir()} == WHOLE
    card = read_card(released)
    assert set(card.sha256) == WHOLE - {"model.json"}
    assert card.about["licence"] == "Apache-2.0"
    assert card.about["limits"] == ["glass", "thin | wires"]
    assert "not settled" in card.about["training_data"]
    for precision in ("fp32", "int8"):
        load_model_folder(released, precision)


def test_every_asset_of_the_training_is_listed_with_licence_source_and_checksum(
    released: Path, dataset: Dataset
) -> None:
    with open(released / "assets.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    used = [
        asset
        for asset in (*dataset.spec.cutouts, *dataset.spec.backgrounds)
        if asset.split == "train"
    ]
    assert {(row["name"], row["sha256"]) for row in rows} == {
        (asset.id, asset.sha256) for asset in used
    }
    assert {(row["licence"], row["source"]) for row in rows} == {
        ("CC0-1.0", "maskdepth sample pack")
    }
    counted = read_card(released).data["assets"]
    assert {(row["kind"], row["licence"]): row["count"] for row in counted} == {
        (kind, "CC0-1.0"): sum(row["kind"] == kind for row in rows)
        for kind in ("cutout", "background")
    }


def pair(height: int, width: int, batch: int = 1) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(height * width)
    return {
        "picture": random.random((batch, 3, height, width), np.float32),
        "plate": random.random((batch, 3, height, width), np.float32),
        "plate_disparity": random.random((batch, 1, height, width), np.float32),
        "validity": np.ones((batch, 2), np.float32),
    }


def test_int8_takes_every_size_and_stays_close_to_its_network(released: Path) -> None:
    sessions = [
        onnxruntime.InferenceSession(released / name, providers=["CPUExecutionProvider"])
        for name in ("model.onnx", "model.int8.onnx")
    ]
    for batch, height, width in ((1, 64, 64), (2, 97, 131), (1, 33, 20)):
        feed = pair(height, width, batch)
        fp32, int8 = (session.run(["alpha", "disparity"], feed) for session in sessions)
        for ours, theirs in zip(int8, fp32, strict=True):
            assert ours.shape == (batch, 1, height, width)
            assert ours.min() >= 0
            assert ours.max() <= 1
            assert np.abs(ours - theirs).mean() < 0.05


def test_int8_is_unsigned_times_signed_with_scales_by_channel(released: Path) -> None:
    """Activations in u8 and weights in s8 by channel: the kind that is faster than float32."""
    import onnx

    graph = onnx.load(released / "model.int8.onnx").graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kinds: dict[str, set[int]] = {"weights": set(), "activations": set()}
    by_channel = 0
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            values = constants[node.input[0]]
            if values.ndim == 4:
                kinds["weights"].add(values.dtype)
                by_channel += constants[node.input[1]].shape == values.shape[:1]
        elif node.op_type == "QuantizeLinear":
            kinds["activations"].add(constants[node.input[2]].dtype)
    assert kinds == {"weights": {np.dtype(np.int8)}, "activations": {np.dtype(np.uint8)}}
    assert by_channel >= 15
    assert (released / "model.int8.onnx").stat().st_size < 0.4 * (
        released / "model.onnx"
    ).stat().st_size


def test_the_card_says_what_int8_costs(released: Path) -> None:
    record = read_card(released).metrics["int8"]
    assert record["bytes"] == (released / "model.int8.onnx").stat().st_size
    assert set(record["slices"]) == {"clean", "hard"}
    for cost in record["slices"].values():
        assert cost["pictures"] > 0
        assert 0 <= cost["alpha"]["mean"] <= cost["alpha"]["max"] < 1
        assert 0 < cost["disparity"]["mean"] < 0.05
        assert set(cost["dice"]) == {"fp32", "int8"}


def test_the_predictor_takes_either_precision(released: Path) -> None:
    picture = noise(80, 120, 0)
    fp32, int8 = (
        Predictor.from_pretrained(released, precision=precision).predict(picture)
        for precision in ("fp32", "int8")
    )
    difference = np.abs(fp32.disparity - int8.disparity)
    assert 0 < difference.max() < 0.2
    with pytest.raises(UsageError, match="fp32 or int8"):
        Predictor.from_pretrained(released, precision="int4")


def test_a_model_without_int8_says_how_to_make_it(run: Path) -> None:
    with pytest.raises(ModelError, match="export MODEL --int8 DATASET"):
        Predictor.from_pretrained(run, precision="int8")


def test_a_changed_int8_network_is_refused(released: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(released, copy)
    data = bytearray((copy / "model.int8.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.int8.onnx").write_bytes(data)
    Predictor.from_pretrained(copy)
    with pytest.raises(ModelError, match="has changed"):
        Predictor.from_pretrained(copy, precision="int8")


def test_no_copy_is_made_of_weights_that_are_not_the_cards(released: Path, tmp_path: Path) -> None:
    """Figures and assets in the card would be those of another network."""
    folder = tmp_path / "model"
    shutil.copytree(released, folder)
    model, metadata = load_weights(folder / "model.safetensors")
    save_weights(folder / "model.safetensors", model, metadata, half=True)
    with pytest.raises(ModelError, match=r"model\.safetensors has changed"):
        export_model(folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_copy_replaces_a_copy_but_no_other_folder(
    run: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"
    shutil.copytree(released, target)
    (tmp_path / "link").symlink_to(target)
    monkeypatch.chdir(tmp_path / "link")
    export_model(run, Path())  # the current folder, by another name
    assert {path.name for path in target.iterdir()} == WHOLE - {"model.int8.onnx"}
    inventory = tmp_path / "mine" / "assets.csv"
    inventory.parent.mkdir()
    inventory.write_text("my,inventory")
    with pytest.raises(StorageError, match=r"assets\.csv is not overwritten"):
        export_model(run, inventory.parent)
    (target / "thesis.tex").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StorageError, match="thesis"):
        export_model(run, target)
    with pytest.raises(StorageError, match="is the model itself"):
        export_model(run, run)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_older_copy_stays_where_a_new_one_cannot_take_its_place(
    run: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"
    shutil.copytree(released, target)
    (tmp_path / "link").symlink_to(target)
    before = contents(target)
    rename = Path.rename

    def fail(self: Path, place: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(28, "No space left on device")
        return rename(self, place)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="No space"):
            export_model(run, tmp_path / "link")
    assert contents(target) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "model"]


def test_a_copy_in_half_precision_is_half_as_large_and_agrees_with_itself(
    run: Path, tmp_path: Path
) -> None:
    """Kernels are rounded; the ONNX is made of what was rounded, and hardly differs."""
    outcome = export_model(run, tmp_path / "half", half=True)
    assert outcome.difference < 1e-4
    small, full = tmp_path / "half" / "model.safetensors", run / "model.safetensors"
    assert small.stat().st_size < 0.55 * full.stat().st_size
    picture = noise(64, 64, 0)
    ours, theirs = (
        Predictor.from_pretrained(folder).predict(picture) for folder in (tmp_path / "half", run)
    )
    np.testing.assert_allclose(ours.alpha, theirs.alpha, atol=0.02)
    parent = load_parent(tmp_path / "half", "half")
    start = starting_network(tmp_path / "half", parent, "small")
    assert {weights.dtype for weights in start.parameters()} == {torch.float32}


def test_what_is_for_the_copys_card_needs_a_copy(run: Path) -> None:
    with pytest.raises(UsageError, match="--output"):
        export_model(run, licence="Apache-2.0")


@pytest.fixture(scope="module")
def with_depth(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, with itself as its depth network."""
    folder = tmp_path_factory.mktemp("depth") / "model"
    export_model(released, folder, depth_network=released)
    return folder


def test_a_copy_may_have_a_depth_network(with_depth: Path, released: Path, tmp_path: Path) -> None:
    """It is another model's network, card, weights and assets, and a copy of the copy keeps it."""
    assert {path.name for path in with_depth.iterdir()} == WHOLE | DEPTH_NETWORK
    assert (with_depth / "depth.json").read_bytes() == (released / "model.json").read_bytes()
    assert set(read_card(with_depth).sha256) > DEPTH_NETWORK
    export_model(with_depth, tmp_path / "again")
    assert (tmp_path / "again/depth.onnx").read_bytes() == (with_depth / "depth.onnx").read_bytes()
    picture = noise(64, 64, 0)
    with_it, alone = (Predictor.from_pretrained(each) for each in (with_depth, released))
    assert np.array_equal(with_it.predict(picture).disparity, alone.predict(picture).disparity)


CHILD = preset_config("small").with_duration(steps=20)
CHILD = CHILD.with_(learning_rate=1e-9, batch_size=2, log_every_steps=1)


@pytest.fixture(scope="module")
def child(with_depth: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A model that started from another, on assets under another licence; it was stopped and went
    on, which has to know as much.
    """
    folder = tmp_path_factory.mktemp("child")
    other, run = make_dataset(folder, seed=7, licence="GPL-2"), folder / "run"
    begun = run / "log.jsonl"

    def stop() -> None:
        deadline = time.monotonic() + 60
        while not (begun.exists() and begun.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    assert train_model(other, run, CHILD, RunOptions(start=str(with_depth), quiet=True))
    thread.join()
    assert not (run / "model.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        # An export takes ten seconds, and these tests are of the card and the weights.
        patch.setattr(release, "export_onnx", lambda *given: given[-1].write_bytes(b"no network"))
        patch.setattr(release, "check_parity", lambda *_: 0.0)
        assert not train_model(other, run, CHILD, RunOptions(resume=True, quiet=True))
    return run, other


def test_training_starts_from_the_parents_weights(
    released: Path, child: tuple[Path, Dataset]
) -> None:
    ours, _ = load_weights(child[0] / "model.safetensors")
    theirs, _ = load_weights(released / "model.safetensors")
    for (name, value), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (value - other).abs().max() < 1e-6, name


def test_a_child_names_its_parent_and_keeps_its_licences_and_assets(
    released: Path, with_depth: Path, child: tuple[Path, Dataset]
) -> None:
    parent, card = read_card(released), read_card(child[0])
    origin = card.training["from"]
    assert origin["model"] == "model"
    assert origin["sha256"] == parent.sha256["model.safetensors"]
    assert origin["training"]["steps"] == 4
    assert origin["data"]["licences"] == ["CC0-1.0"]
    assert card.data["licences"] == ["CC0-1.0", "GPL-2"]
    assert card.data["assets_complete"]
    inherited, own = find_assets(released, parent), find_assets(child[0], card)
    assert inherited is not None
    assert own is not None
    assert set(inherited) < set(own)
    assert {asset.licence for asset in set(own) - set(inherited)} == {"GPL-2"}
    depth_network = (child[0] / "depth.onnx").read_bytes()
    assert depth_network == (with_depth / "depth.onnx").read_bytes()


def make_old(folder: Path) -> None:
    """Turn a model folder into one from before there were lists of assets."""
    card = json.loads((folder / "model.json").read_text())
    del card["sha256"]["assets.csv"], card["about"]
    for key in ("assets", "assets_complete"):
        del card["data"][key]
    (folder / "model.json").write_text(json.dumps(card))
    (folder / "assets.csv").unlink()


def test_a_model_without_a_list_gets_it_from_its_dataset(
    released: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """By fingerprint; a model without a dataset is marked as incomplete."""
    old = tmp_path / "old"
    shutil.copytree(released, old)
    make_old(old)
    assert not export_model(old, tmp_path / "copy").assets_complete
    assert not (tmp_path / "copy" / "assets.csv").exists()
    assert export_model(old, tmp_path / "copy", datasets=[dataset.folder]).assets_complete
    assert (tmp_path / "copy" / "assets.csv").read_bytes() == (released / "assets.csv").read_bytes()


def test_a_dataset_that_adds_nothing_to_the_list_is_refused(
    released: Path, dataset: Dataset, child: tuple[Path, Dataset], tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(released, old)
    make_old(old)
    for model, named, error in (
        (released, tmp_path / "nope", DatasetError),
        (released, dataset.folder, UsageError),
        (old, child[1].folder, UsageError),
    ):
        with pytest.raises(error, match=str(named)):
            export_model(model, tmp_path / "copy", datasets=[named])
    assert not (tmp_path / "copy").exists()


def test_what_a_parent_did_not_say_is_found_in_its_dataset(
    released: Path, dataset: Dataset, child: tuple[Path, Dataset]
) -> None:
    """A child of a model without a list is incomplete until the parent's dataset is named."""
    folder, other = child
    assets, complete = complete_assets(folder, read_card(folder))
    assert complete
    card = json.loads((folder / "model.json").read_text())
    del card["sha256"]["assets.csv"]
    card["data"]["assets_complete"] = False
    for key in ("assets", "assets_complete"):
        card["training"]["from"]["data"].pop(key, None)
    torn = ModelCard(**card)
    for datasets, expected in (
        ([], ([], False)),
        ([other.folder], (used_assets(other.spec), False)),
        ([other.folder, dataset.folder], (assets, True)),
    ):
        assert complete_assets(folder, torn, datasets) == expected
    # A grandchild of a complete child needs nothing of what came before it.
    training = {"from": {"data": read_card(folder).data, "training": card["training"]}}
    grandchild = replace(torn, training=training)
    assert complete_assets(folder, grandchild, [other.folder]) == (used_assets(other.spec), True)


def test_another_preset_is_no_start(released: Path, dataset: Dataset, tmp_path: Path) -> None:
    config = preset_config("prior").with_duration(steps=1)
    started: list[str] = []
    options = RunOptions(str(released), quiet=True, on_start=lambda: started.append("started"))
    with pytest.raises(ModelError, match="--preset small"):
        train_model(dataset, tmp_path / "run", config, options)
    assert not started
    assert not (tmp_path / "run").exists()


def test_from_and_resume_exclude_each_other(dataset: Dataset, tmp_path: Path, run: Path) -> None:
    config = preset_config("small").with_duration(steps=1)
    with pytest.raises(UsageError, match="--from"):
        train_model(dataset, run, config, RunOptions(start=str(run), resume=True, quiet=True))


def test_a_training_tells_its_caller_when_it_starts(dataset: Dataset, tmp_path: Path) -> None:
    steps: list[bool] = []
    log = tmp_path / "run" / "log.jsonl"
    options = RunOptions(quiet=True, on_start=lambda: steps.append(log.exists()))
    train_model(dataset, tmp_path / "run", preset_config("small").with_duration(steps=1), options)
    assert steps == [False]
    assert log.exists()


# The shipped model.


@pytest.fixture
def shipped() -> Path:
    folder = Path(maskdepth.__file__).parent / "weights"
    if not folder.is_dir():
        pytest.skip("this tree has no shipped weights yet: src/maskdepth/weights is not there")
    return folder


def test_without_its_files_the_shipped_model_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("maskdepth.inference.model.locate.package_files", lambda _: tmp_path)
    for model in (None, "shipped"):
        with pytest.raises(WeightsNotShippedError, match="maskdepth fit"):
            Predictor.from_pretrained(model)


def test_the_shipped_model_is_found_in_the_package(
    released: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(released, tmp_path / "weights")
    monkeypatch.setattr("maskdepth.inference.model.locate.package_files", lambda _: tmp_path)
    for model in (None, "shipped"):
        assert Predictor.from_pretrained(model, precision="int8").card == read_card(released)


def test_shipped_files_are_whole_small_and_as_their_card_says(shipped: Path) -> None:
    assert {path.name for path in shipped.iterdir()} == WHOLE | DEPTH_NETWORK
    card = read_card(shipped)
    assert set(card.sha256) == WHOLE - {"model.json"} | DEPTH_NETWORK
    networks = [load_model_folder(shipped, each) and shipped / name for each, name in (
        ("fp32", "model.onnx"), ("int8", "model.int8.onnx")
    )]  # fmt: skip
    assert sum(path.stat().st_size for path in networks) <= 6e6
    assert sum(path.stat().st_size for path in shipped.iterdir()) <= 14 * 2**20
    assert load_depth_card(shipped, card).data["assets_complete"]
    assert card.weights < 1e6
    assert card.about["licence"] == "Apache-2.0"
    assert card.about["training_data"]
    assert card.about["limits"]
    assert card.data["assets_complete"]
    assert find_assets(shipped, card)
    assert card.metrics["int8"]["slices"]


def test_shipped_onnx_comes_from_shipped_weights(shipped: Path) -> None:
    model, _ = load_weights(shipped / "model.safetensors")
    assert check_parity(model, read_card(shipped).preset, shipped / "model.onnx") < 1e-3


def test_the_shipped_model_is_copied_by_its_word_and_stays_as_it_is(
    shipped: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="a part of the package"):
        export_model(Path("shipped"))
    export_model(Path("shipped"), tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").iterdir()} == WHOLE | DEPTH_NETWORK
    for name in ("model.onnx", "depth.onnx"):
        assert (tmp_path / "copy" / name).read_bytes() == (shipped / name).read_bytes()


def test_the_first_prediction_just_works(shipped: Path, tmp_path: Path) -> None:
    from maskdepth.images import save_png

    picture = noise(60, 80, 0)
    save_png(tmp_path / "picture.png", picture)
    command = [sys.executable, "-m", "maskdepth", "predict", "picture.png", "-o", "out"]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert (tmp_path / "out" / "picture_alpha.png").is_file()


def test_the_wheel_would_hold_the_weights(tmp_path: Path) -> None:
    builders = pytest.importorskip("hatchling.builders.wheel")
    project = tmp_path / "project"
    folder = project / "src" / "maskdepth"
    (folder / "weights").mkdir(parents=True)
    (folder / "_version.py").write_text('__version__ = "0"\n')
    files = {Path("maskdepth/weights") / name for name in WHOLE}
    files |= {Path("maskdepth/inference/matting") / name for name in OUTLINE_FILES}
    (folder / "inference" / "matting").mkdir(parents=True)
    for file in files:
        (project / "src" / file).write_bytes(b"bytes")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, project / name)
    builder = builders.WheelBuilder(str(project))
    found = {Path(item.distribution_path) for item in builder.recurse_included_files()}
    assert files <= found


def test_pushing_and_fetching_have_an_extra() -> None:
    extras: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert any(each.startswith("huggingface_hub") for each in extras["hub"])
    assert any(each.startswith("huggingface_hub") for each in extras["train"])


def test_a_sample_that_fails_says_so_alone_when_a_network_is_quantised(
    run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """The picture's error stands for itself: no second sentence, and no temporary path."""
    lost = dataset.folder / next(a.file for a in dataset.spec.backgrounds if a.split == "train")
    lost.rename(tmp_path / "lost.png")
    try:
        with pytest.raises(DatasetError) as caught:
            export_model(run, tmp_path / "out", calibration=dataset)
    finally:
        (tmp_path / "lost.png").rename(lost)
    assert str(lost) in str(caught.value)
    assert ".part" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_one_training_at_a_time_writes_to_a_folder(dataset: Dataset, tmp_path: Path) -> None:
    config = preset_config("small").with_duration(steps=1)
    with writer_lock(tmp_path / "run"), pytest.raises(StorageError, match="Another run"):
        train_model(dataset, tmp_path / "run", config, RunOptions(quiet=True))
    assert list((tmp_path / "run").iterdir()) == []
