"""The prior work from end to end, tiny: 2 cutouts x 2 backgrounds x 2 flips x 2 places."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from command_line import Run
from folders import contents
from maskdepth.datasets.build import Dataset, compose_dataset
from maskdepth.datasets.composite_labels import find_composite_labels, split_composites
from maskdepth.datasets.picture_folders import write_folders
from maskdepth.errors import DatasetError, StorageError
from maskdepth.evaluation import evaluate_held_out, read_evaluation
from maskdepth.images import load_picture, save_png
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.teachers import open_teacher
from maskdepth.learning.model import PRESETS, Preset
from maskdepth.learning.settings import preset_config
from maskdepth.synthesis.rules import PRIOR_WORK
from maskdepth.testing import FakeBackend
from networks import write_network
from pictures import disc, photo
from tiny_network import TinyNetwork

FOLDERS = ("output_image", "output_bg", "output_mask", "output_depth")
LOSSES = {
    "BCEWithLogitsLoss": "",
    "L1Loss": "losses: {alpha_bce: 0, alpha_l1: 0.1}\n",
    "MSELoss": "losses: {alpha_bce: 0, alpha_mse: 0.1}\n",
    "SmoothL1Loss": "losses: {alpha_bce: 0, alpha_mse: 0.05}\n",
}
"""Settings of the four losses of masks that the prior work tried, as its page has them."""


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cutouts, two backgrounds, rules of two places and a teacher."""
    folder = tmp_path_factory.mktemp("assets")
    for number in range(2):
        alpha = np.rint(disc(80, 24 + 12 * number, 2) * 255).astype(np.uint8)
        save_png(folder / "cutouts" / f"c{number}.png", np.dstack([photo(number, 80, 80), alpha]))
        save_png(folder / "backgrounds" / f"b{number}.png", photo(7 + number, 240, 240))
    (folder / "rules.yaml").write_text("places: 2\n")
    write_network(folder / "teacher.onnx", sides=(32, 32), kind="disparity", units="relative")
    return folder


def compose_call(assets: Path, output: Path, *more: str | Path) -> list[str | Path]:
    return [
        "compose", assets / "cutouts", assets / "backgrounds", "-o", output, "--plan", "prior",
        "--rules", assets / "rules.yaml", "--split", "none", *more,
    ]  # fmt: skip


def folder_call(assets: Path, output: Path, count: int) -> list[str | Path]:
    teacher = ("--teacher", assets / "teacher.onnx")
    return compose_call(assets, output, "--layout", "folders", "--count", str(count), *teacher)


@pytest.fixture
def dataset(assets: Path, tmp_path: Path) -> Dataset:
    rules = PRIOR_WORK.with_(places=2)
    common = {"rules": rules, "hold_out": False, "depth_scenes": 0}
    return compose_dataset(assets / "cutouts", assets / "backgrounds", tmp_path / "data", **common)


def test_the_prior_work_adds_up_from_two_folders_to_its_two_dice_figures(
    assets: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Composed in four complete folders, trained two steps by its recipe, judged with ceilings."""
    monkeypatch.setitem(PRESETS, "prior", Preset(TinyNetwork, 224, "a stand-in"))
    data, model = tmp_path / "data", tmp_path / "model"
    done = run(*folder_call(assets, data, 16), "--json")
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert summary["samples"] == 2 * 2 * 2 * 2
    assert summary["splits"]["cutouts"] == {"train": 2, "val": 0, "test": 0}
    for name in FOLDERS:
        files = {path.name for path in (data / name).iterdir()}
        assert files == {f"{number}.jpg" for number in range(1, 17)}
        picture = cv2.imread(str(data / name / "1.jpg"), cv2.IMREAD_UNCHANGED)
        assert picture.dtype == np.uint8
        assert picture.shape == ((224, 224, 3) if name in FOLDERS[:2] else (224, 224))
    settings = tmp_path / "settings.yaml"
    settings.write_text("batch_size: 2\n")
    call = ("train", data, "-o", model, "--preset", "prior", "--per-composite", "--steps", "2")
    done = run(*call, "--config", settings)
    assert done.code == 0, done.err
    card = json.loads((model / "model.json").read_text())
    assert (card["preset"], card["depth"]) == ("prior", "teacher teacher, per composite")
    assert card["training"]["composites"] == 14
    rows = [json.loads(line) for line in (model / "log.jsonl").read_text().splitlines()]
    assert {"alpha_bce", "disparity_ssim", "total"} <= set().union(*rows)
    assert list((model / "previews").iterdir())
    done = run("evaluate", "composites", model, data, "--count", "4")
    assert done.code == 0, done.err
    assert "Dice of composites 15 to 16, held out" in done.err
    evaluation = read_evaluation(json.loads((model / "report.json").read_text()))
    table = evaluation.held_out
    assert table is not None
    for column in (
        table.mask,
        table.mask_refined,
        table.depth,
        table.mask_difference,
        table.depth_gradient,
    ):
        assert column.pictures == 2
        figures = column.mean
        assert figures is not None
        assert max(figures["score"], figures["perfect"], figures["all_white"]) <= figures["maximum"]
    assert evaluation.masks["clean"].cells.seen_seen.pictures == 4
    page = (model / "report.html").read_text()
    assert "The prior work’s two Dice figures" in page
    assert "Examples: held-out composites" in page
    assert "grey as in the prior work" in page


def test_depth_pictures_are_the_teachers_disparity(
    assets: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """Near is bright; the tiny teacher calls bright pictures near."""
    teacher = open_teacher(str(assets / "teacher.onnx"))
    write_folders(dataset, 4, teacher=teacher)
    for number in range(1, 5):
        picture = load_picture(dataset.folder / "output_image" / f"{number}.jpg")
        depth = load_picture(dataset.folder / "output_depth" / f"{number}.jpg")[..., 0]
        assert int(depth.max()) > 245
        assert int(depth.min()) < 10
        light = picture @ np.array([0.5, 0.25, 0.25])
        assert np.corrcoef(light.ravel(), depth.ravel())[0, 1] > 0.8
    labels = find_composite_labels(dataset)
    assert labels is not None
    assert len(labels.disparity) == 4
    assert labels.disparity[3].max() <= 1
    np.testing.assert_allclose(labels.disparity[3] * 255, depth, atol=1e-4)


def test_folders_with_a_teacher_go_on_after_an_interruption(
    assets: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half-written counts, and the teacher is asked only for what is missing."""
    teacher = open_teacher(str(assets / "teacher.onnx"))
    asked: list[int] = []
    predict = teacher.predict

    def counted(pictures):
        asked.append(len(pictures))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return predict(pictures)

    monkeypatch.setattr(teacher, "predict", counted)
    with pytest.raises(KeyboardInterrupt):
        write_folders(dataset, 16, teacher=teacher)
    assert find_composite_labels(dataset) is None
    (dataset.folder / "output_depth" / "3.jpg").unlink()
    (dataset.folder / "output_depth" / f".{'0' * 16}.part").write_bytes(b"half")
    write_folders(dataset, 16, teacher=teacher)
    assert asked == [8, 8, 1, 8]
    once = contents(dataset.folder)
    write_folders(dataset, 16, teacher=teacher)
    assert contents(dataset.folder) == once
    assert sum(asked) == 25
    assert len(list((dataset.folder / "output_depth").iterdir())) == 16


def test_depth_of_two_origins_is_not_mixed(assets: Path, dataset: Dataset) -> None:
    """Another teacher, or none, is refused in a sentence, and nothing changes."""
    teacher = open_teacher(str(assets / "teacher.onnx"))
    write_folders(dataset, 2, teacher=teacher)
    before = contents(dataset.folder)
    with pytest.raises(StorageError, match="holds depth by the teacher teacher"):
        write_folders(dataset, 2)
    other = write_network(assets / "other.onnx", sides=(16, 16), kind="depth")
    with pytest.raises(StorageError, match="holds depth by the teacher teacher"):
        write_folders(dataset, 2, teacher=open_teacher(str(other)))
    assert contents(dataset.folder) == before


def test_a_depth_picture_that_is_damaged_is_named(assets: Path, dataset: Dataset) -> None:
    teacher = open_teacher(str(assets / "teacher.onnx"))
    write_folders(dataset, 2, teacher=teacher)
    labels = find_composite_labels(dataset)
    assert labels is not None
    (dataset.folder / "output_depth" / "1.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"1\.jpg cannot be learned from"):
        labels.disparity[0]
    with pytest.raises(IndexError):
        labels.disparity[2]


def test_the_last_tenth_is_held_out_where_no_asset_is(assets: Path, dataset: Dataset) -> None:
    """Of the labelled composites, or else of the plan; a dataset with held-out assets has none."""
    split = split_composites(dataset, None)
    assert split is not None
    assert (split.learned, split.held_out) == (range(14), range(14, 16))
    write_folders(dataset, 10, teacher=open_teacher(str(assets / "teacher.onnx")))
    split = split_composites(dataset, find_composite_labels(dataset))
    assert split is not None
    assert (split.learned, split.held_out) == (range(9), range(9, 10))


def test_no_composite_that_a_model_learned_from_is_judged(dataset: Dataset) -> None:
    """Without labels a model learns from more composites than have some."""
    predictor = FakeBackend().predictor()
    held_out = evaluate_held_out(predictor, dataset, 500)
    assert held_out is not None
    assert (held_out.first, held_out.last, held_out.mask.pictures) == (15, 16, 2)
    for learned, pictures in ((15, 1), (16, 0)):
        data = {"fingerprint": dataset.spec.fingerprint}
        card = replace(predictor.card, training={"composites": learned}, data=data)
        table = evaluate_held_out(Predictor(FakeBackend(), card), dataset, 500)
        assert table is not None
        assert table.mask.pictures == pictures
    assert "has learned from all composites" in str(table.mask.reason)


def test_a_hundred_cutouts_and_backgrounds_are_400_000_composites(
    dataset: Dataset, tmp_path: Path
) -> None:
    """All assets count, since none is held out."""
    spec = dataset.spec

    def copies(asset):
        return tuple(asset.model_copy(update={"id": f"{number}"}) for number in range(100))

    full = spec.model_copy(
        update={
            "rules": PRIOR_WORK,
            "cutouts": copies(spec.cutouts[0]),
            "backgrounds": copies(spec.backgrounds[0]),
        }
    )
    planned = Dataset(dataset.folder, full, ())
    assert planned.samples == 400_000
    split = split_composites(planned, None)
    assert split is not None
    assert len(split.learned) == preset_config("prior").epoch_size == 360_000


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "all"], "--split is none or nothing"),
        (["--small"], "--small is a way to split"),
        (["--depth-scenes", "3"], "Drawn scenes are split"),
        (["--teacher", "nowhere.onnx"], "--teacher does nothing without --layout folders"),
        (["--layout", "folders", "--kind", "depth"], "--kind does nothing without --teacher"),
        (["--layout", "folders", "--device", "cpu"], "--device does nothing without --teacher"),
        (["--layout", "folders", "--teacher", "sensor"], "must be a network here"),
        (["--layout", "folders", "--teacher", "nowhere.onnx"], "nowhere.onnx"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_are_found_before_any_work(
    more: list[str], message: str, assets: Path, tmp_path: Path, run: Run
) -> None:
    done = run(*compose_call(assets, tmp_path / "data", *more))
    assert done.code != 0
    assert message in done.err
    assert not (tmp_path / "data").exists()


def test_training_on_labels_needs_complete_ones(assets: Path, dataset: Dataset, run: Run) -> None:
    done = run(
        "train", dataset.folder, "-o", dataset.folder / "run", "--per-composite", "--steps", "1"
    )
    assert done.code == 1
    assert "holds no complete labels of this dataset's composites" in done.err


def test_the_page_gives_the_settings_of_all_four_losses() -> None:
    page = (Path(__file__).parent.parent / "docs" / "prior-work.md").read_text()
    for name, settings in LOSSES.items():
        assert name in page
        assert settings.strip() in page
