"""The predictor, its model folder and its predictions, over real ONNX networks made here."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper
from PIL import Image

import maskdepth
from maskdepth.depth import encode_disparity
from maskdepth.errors import (
    MaskdepthError,
    ModelError,
    PictureError,
    StorageError,
    UsageError,
)
from maskdepth.files import file_checksum
from maskdepth.images import load_cutout, load_picture
from maskdepth.inference.model.card import NETWORK_FILE, ModelCard
from maskdepth.inference.model.folder import CARD_FILE, load_model_folder, read_card, save_card
from maskdepth.inference.prediction import Prediction, Provenance
from maskdepth.inference.predictor import Predictor
from maskdepth.testing import FakeBackend
from networks import GAIN, difference_network, network
from pictures import noise

CARD = ModelCard("test", None, 300, "exact", "0.1.0", {}, 0)


@cache
def flags_network() -> bytes:
    """alpha = has plate + plate mean; disparity = has plate disparity * plate disparity."""
    nodes = [
        helper.make_node("Gather", ["validity", "first"], ["plate_flag"], axis=1),
        helper.make_node("Gather", ["validity", "second"], ["depth_flag"], axis=1),
        helper.make_node("Unsqueeze", ["plate_flag", "planes"], ["plate_plane"]),
        helper.make_node("Unsqueeze", ["depth_flag", "planes"], ["depth_plane"]),
        helper.make_node("ReduceMean", ["plate", "channels"], ["grey"], keepdims=1),
        helper.make_node("Mul", ["grey", "low"], ["nothing"]),
        helper.make_node("Add", ["nothing", "plate_plane"], ["alpha"]),
        helper.make_node("Mul", ["plate_disparity", "depth_plane"], ["disparity"]),
        helper.make_node("Identity", ["picture"], ["unused"]),
    ]
    return network(nodes, ["picture", "plate", "plate_disparity", "validity"])


def model_folder(folder: Path, onnx_bytes: bytes, card: ModelCard = CARD) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NETWORK_FILE).write_bytes(onnx_bytes)
    save_card(folder, replace(card, sha256={NETWORK_FILE: file_checksum(folder / NETWORK_FILE)}))
    return folder


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """What it says comes out as it is: outlines are not refined."""
    folder = model_folder(tmp_path_factory.mktemp("models") / "difference", difference_network())
    return Predictor.from_pretrained(folder, threads=1, refine=False)


@pytest.fixture(scope="module")
def fixed_predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = model_folder(
        tmp_path_factory.mktemp("models") / "fixed",
        difference_network(32),
        replace(CARD, fixed_size=32, training_size=32),
    )
    return Predictor.from_pretrained(folder, device="cpu", threads=1)


def some_prediction(**changes: Any) -> Prediction:
    rng = np.random.default_rng(7)
    values: dict[str, Any] = {
        "image": noise(20, 30, 1),
        "alpha": rng.random((20, 30), np.float32),
        "disparity": rng.random((20, 30), np.float32),
        "plate": noise(20, 30, 2),
    }
    origin: dict[str, Any] = {"card": CARD}
    for name, value in changes.items():
        (origin if name in Provenance.__dataclass_fields__ else values)[name] = value
    return Prediction(**values, provenance=Provenance(**origin))


# Predicting


@settings(max_examples=30, deadline=None)
@given(st.integers(160, 300), st.integers(160, 300), st.integers(0, 99))
def test_any_size_comes_back_at_its_size(
    predictor: Predictor, height: int, width: int, seed: int
) -> None:
    picture, plate = noise(height, width, seed), noise(height, width, seed + 1)
    result = predictor.predict(picture, plate)
    values, plate_values = picture / 255, plate / 255
    expected = np.minimum(np.abs(values - plate_values).mean(axis=2) * GAIN, 1)
    np.testing.assert_allclose(result.alpha, expected, atol=1e-5)
    np.testing.assert_allclose(result.disparity, values.mean(axis=2), atol=1e-5)
    assert result.alpha.dtype == result.disparity.dtype == np.float32
    assert result.mask.dtype == np.bool_
    assert (result.mask == (result.alpha > 0.5)).all()
    assert result.depth_m is None


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_networks_of_any_and_of_fixed_size_take_any_picture(
    fixed_predictor: Predictor, predictor: Predictor, height: int, width: int
) -> None:
    """A uniform picture stays uniform on the way to the network's size and back."""
    picture = np.full((height, width, 3), 102, np.uint8)
    for each in (fixed_predictor, predictor):
        result = each.predict(picture, np.zeros_like(picture))
        assert result.alpha.shape == result.disparity.shape == (height, width)
        np.testing.assert_allclose(result.disparity, 0.4, atol=1e-5)
        np.testing.assert_allclose(result.alpha, 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(224, 224, (224, 224)), (448, 896, (224, 448)), (900, 300, (672, 224)), (170, 900, (170, 900)),
     (100, 900, (160, 1440)), (48, 64, (160, 213)),
     (10, 36000, (1, 3584)), (36000, 1, (3584, 1))],
)  # fmt: skip
def test_the_network_sees_at_most_the_training_size(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    """The short side shrinks to the training size, or grows to 160 px; a strip stays bounded."""
    backend = FakeBackend()
    result = backend.predictor().predict(np.zeros((height, width, 3), np.uint8))
    assert backend.sizes == [expected]
    assert result.alpha.shape == (height, width)


def test_validity_says_what_was_given(tmp_path: Path) -> None:
    predictor = Predictor.from_pretrained(model_folder(tmp_path / "m", flags_network()))
    picture = noise(8, 9, 0)
    known = np.linspace(0, 1, 72, dtype=np.float32).reshape(8, 9)
    alone = predictor.predict(picture)
    with_plate = predictor.predict(picture, picture)
    with_both = predictor.predict(picture, picture, known)
    assert (alone.alpha == 0).all()
    assert (alone.disparity == 0).all()
    assert alone.plate is None
    assert (with_plate.alpha == 1).all()
    assert (with_plate.disparity == 0).all()
    assert (with_both.alpha == 1).all()
    np.testing.assert_allclose(with_both.disparity, known, atol=1e-5)
    assert [each.provenance.plate_disparity_used for each in (with_plate, with_both)] == [
        False,
        True,
    ]


def test_a_plate_disparity_may_be_a_file_with_invalid_pixels(tmp_path: Path) -> None:
    """Code 0 reaches the network as 0, like NaN in an array; the others by their fraction."""
    predictor = Predictor.from_pretrained(model_folder(tmp_path / "m", flags_network()))
    codes = np.array([[0, 1], [32768, 65535]], np.uint16)
    Image.fromarray(codes).save(tmp_path / "wall_disparity.png")
    picture = noise(2, 2, 0)
    expected = np.array([[0, 0], [0.5, 1]])
    result = predictor.predict(picture, picture, tmp_path / "wall_disparity.png")
    np.testing.assert_allclose(result.disparity, expected, atol=1e-4)
    array = np.array([[np.nan, 0], [0.5, 1]], np.float64)
    result = predictor.predict(picture, picture, array)
    np.testing.assert_allclose(result.disparity, expected, atol=1e-4)


def test_a_plate_disparity_of_another_size_is_not_averaged(tmp_path: Path) -> None:
    predictor = Predictor.from_pretrained(model_folder(tmp_path / "m", flags_network()))
    array = np.array([[0.9, np.nan, 0.1], [0.9, np.nan, 0.1]])
    picture = noise(4, 6, 0)
    result = predictor.predict(picture, picture, array)
    assert np.allclose(np.unique(result.disparity.round(4)), [0, 0.1, 0.9])


def test_what_a_plate_disparity_masks_is_invalid(tmp_path: Path) -> None:
    """As NaN is; a picture has no such pixels."""
    predictor = Predictor.from_pretrained(model_folder(tmp_path / "m", flags_network()))
    picture, values = noise(16, 16, 0), np.full((16, 16), 0.5, np.float32)
    values[:4] = np.nan
    known = predictor.predict(picture, picture, plate_disparity=values)
    masked = np.ma.masked_array(np.full((16, 16), 0.5), np.isnan(values))
    same = predictor.predict(picture, picture, plate_disparity=masked)
    np.testing.assert_array_equal(same.disparity, known.disparity)
    assert known.disparity[0, 0] != known.disparity[8, 8]
    with pytest.raises(PictureError, match="masked"):
        predictor.predict(np.ma.masked_array(picture))


@pytest.mark.parametrize("formats", [3, [3], [["a"]], "alpha", ["sketch"]])
def test_formats_are_a_list_of_known_ones(formats: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a list of formats among alpha"):
        some_prediction().save(tmp_path, only=formats)
    with pytest.raises(UsageError, match=r"Pass \['alpha'\]"):
        some_prediction().save(tmp_path, only="alpha")
    with pytest.raises(UsageError, match="depth format"):
        some_prediction().save(tmp_path, depth_format=[])  # type: ignore[arg-type]


def test_names_that_no_disk_takes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(MaskdepthError, match="name too long"):
        some_prediction().save(tmp_path, stem="x" * 300)
    with pytest.raises(UsageError, match="path of an output folder"):
        some_prediction().save("a\0b")


def test_a_plate_disparity_without_a_plate_is_refused(predictor: Predictor) -> None:
    with pytest.raises(UsageError, match="needs its plate"):
        predictor.predict(noise(4, 4, 0), None, np.zeros((4, 4), np.float32))


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint16), np.zeros((4, 4, 1), np.float32)])
def test_a_plate_disparity_of_another_kind_is_refused(
    predictor: Predictor, array: NDArray[Any]
) -> None:
    with pytest.raises(PictureError, match="not floating values of shape"):
        predictor.predict(noise(4, 4, 0), noise(4, 4, 0), array)


def test_a_plate_of_another_size_is_resized(predictor: Predictor) -> None:
    picture = np.full((200, 300, 3), 100, np.uint8)
    result = predictor.predict(picture, np.full((401, 600, 3), 100, np.uint8))
    assert result.plate is not None
    assert result.plate.shape == picture.shape
    assert (result.alpha == 0).all()


@pytest.mark.parametrize("shape", [(300, 200, 3), (200, 310, 3), (1, 1, 3)])
def test_a_plate_of_another_aspect_ratio_is_refused(
    predictor: Predictor, shape: tuple[int, int, int]
) -> None:
    with pytest.raises(PictureError, match="another shape than the picture's 300x200"):
        predictor.predict(np.zeros((200, 300, 3), np.uint8), np.zeros(shape, np.uint8))


def test_a_picture_may_come_as_path_bytes_pillow_or_array(
    predictor: Predictor, tmp_path: Path
) -> None:
    pixels, plate = noise(12, 10, 3), noise(12, 10, 4)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    expected = predictor.predict(pixels, plate)
    for source in (path, str(path), path.read_bytes(), Image.fromarray(pixels)):
        result = predictor.predict(source, plate)
        np.testing.assert_array_equal(result.alpha, expected.alpha)
        assert result.provenance.picture_file == (path if isinstance(source, (str, Path)) else None)


def test_a_prediction_outlives_the_callers_buffer(predictor: Predictor) -> None:
    """A camera loop that reuses its array does not change earlier predictions."""
    picture, plate = noise(6, 6, 0), noise(6, 6, 1)
    result = predictor.predict(picture, plate)
    before = result.cutout()
    picture[:], plate[:] = 0, 0
    np.testing.assert_array_equal(result.cutout(), before)


def test_a_model_without_depth_gives_no_disparity(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", difference_network(), replace(CARD, depth="none"))
    result = Predictor.from_pretrained(folder).predict(noise(5, 5, 0))
    assert np.isnan(result.disparity).all()
    assert np.isfinite(result.alpha).all()
    result.save(tmp_path, "a")
    assert (np.asarray(Image.open(tmp_path / "a_disparity.png")) == 0).all()
    assert (
        "never learned" in json.loads((tmp_path / "a.json").read_text())["disparity"]["alignment"]
    )


# Model folders


def test_a_card_reads_back_as_written(tmp_path: Path) -> None:
    card = replace(CARD, fixed_size=64, training={"epochs": 3}, data={"ä": [1]}, metrics={"d": 0.5})
    folder = model_folder(tmp_path / "m", difference_network(), card)
    loaded = load_model_folder(folder)
    assert replace(loaded, sha256={}) == card
    assert loaded.sha256 == {NETWORK_FILE: file_checksum(folder / NETWORK_FILE)}


def test_a_card_can_be_read_without_its_files(tmp_path: Path) -> None:
    """Exporting anew starts from the card of a folder whose network is gone or changed."""
    folder = model_folder(tmp_path / "m", difference_network())
    card = load_model_folder(folder)
    (folder / NETWORK_FILE).unlink()
    assert read_card(folder) == card


def _edit(**changes: Any) -> Any:
    def edit(folder: Path) -> None:
        path = folder / CARD_FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def _pipe_at(name: str) -> Any:
    def edit(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return edit


def _without(key: str) -> Any:
    def edit(folder: Path) -> None:
        path = folder / CARD_FILE
        values = json.loads(path.read_text())
        del values[key]
        path.write_text(json.dumps(values))

    return edit


DAMAGES = {
    "another version": (_edit(version=2, future=1), "version 2"),
    "a version that is true": (_edit(version=True), "version True"),
    "another format": (_edit(format="other"), "maskdepth-model"),
    "a missing key": (_without("training_size"), "missing training_size"),
    "an unknown key": (_edit(extra=1), "unknown extra"),
    "a wrong type": (_edit(training_size="224"), "training_size"),
    "a size of zero": (_edit(fixed_size=0), "fixed_size"),
    "a size beyond memory": (_edit(fixed_size=30_000), "fixed_size"),
    "a size beyond numbers": (_edit(training_size=10**400), "training_size"),
    "no network listed": (_edit(sha256={}), "checksums by file name"),
    "a file outside": (_edit(sha256={NETWORK_FILE: "0", "../secret": "0"}), "checksums by file"),
    "a file to be missing": (_edit(sha256={NETWORK_FILE: "0", "a\\b": "0"}), "checksums by file"),
    "broken JSON": (lambda folder: (folder / CARD_FILE).write_text('{"format":'), "JSON"),
    "a JSON list": (lambda folder: (folder / CARD_FILE).write_text("[]"), "list"),
    "no UTF-8": (lambda folder: (folder / CARD_FILE).write_bytes(b"\xff\xfe\xff"), "readable"),
    "no card": (lambda folder: (folder / CARD_FILE).unlink(), "it has no"),
    "a pipe for a card": (_pipe_at(CARD_FILE), "no regular file"),
    "a pipe for a network": (_pipe_at(NETWORK_FILE), "no regular file"),
    "no network": (lambda folder: (folder / NETWORK_FILE).unlink(), "missing"),
    "an edited network": (
        lambda folder: (folder / NETWORK_FILE).write_bytes(difference_network() + b"\0"),
        "has changed since",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_folder_is_refused(tmp_path: Path, damage: str) -> None:
    edit, words = DAMAGES[damage]
    folder = model_folder(tmp_path / "m", difference_network())
    edit(folder)
    with pytest.raises(ModelError, match=words) as caught:
        Predictor.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="is a file"):
        Predictor.from_pretrained(tmp_path / "file")
    with pytest.raises(ModelError, match="not there"):
        Predictor.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="it has no"):
        Predictor.from_pretrained(tmp_path)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="an ONNX network") as caught:
        Predictor.from_pretrained(model_folder(tmp_path / "m", b"not a network"))
    assert "\n" not in str(caught.value)


def test_a_network_with_other_names_is_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", difference_network(gain=float("nan")))
    predictor = Predictor.from_pretrained(folder)
    with pytest.raises(ModelError, match="not finite"):
        predictor.predict(noise(4, 4, 0), noise(4, 4, 1))


def test_devices_and_threads_are_checked(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", difference_network())
    with pytest.raises(UsageError, match="auto, cpu, cuda or mps"):
        Predictor.from_pretrained(folder, device="tpu")
    for threads in (0, 2**31, 1.5):
        with pytest.raises(UsageError, match=r"1 to \d+"):
            Predictor.from_pretrained(folder, threads=threads)
    providers = onnxruntime.get_available_providers()
    absent = "mps" if "CoreMLExecutionProvider" not in providers else "cuda"
    with pytest.raises(UsageError, match="--device cpu"):
        Predictor.from_pretrained(folder, device=absent)


# Cutouts and previews


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1))
def test_the_plate_gives_back_the_foreground_colour(seed: int, least: float) -> None:
    """Of a composite F over B, F comes back to within the composite's rounding over alpha."""
    rng = np.random.default_rng(seed)
    foreground, plate = noise(16, 16, seed), noise(16, 16, seed ^ 1)
    alpha = rng.uniform(least, 1, (16, 16)).astype(np.float32)
    blend = alpha[..., None].astype(np.float64)
    image = np.rint(blend * foreground + (1 - blend) * plate).astype(np.uint8)
    cutout = Prediction(image=image, alpha=alpha, disparity=alpha, plate=plate).cutout()
    error = np.abs(cutout[..., :3].astype(float) - foreground)
    assert (error <= 0.5 / blend + 0.51).all()
    np.testing.assert_array_equal(cutout[..., 3], np.rint(alpha * 255))


def test_without_a_plate_the_cutout_keeps_the_pictures_colour() -> None:
    alpha = np.array([[0, 0.001, 0.01, 0.5, 1]], np.float32)
    image = np.full((1, 5, 3), 90, np.uint8)
    cutout = Prediction(image=image, alpha=alpha, disparity=alpha).cutout()
    assert cutout[..., :3].tolist() == [[[0] * 3, [0] * 3, [90] * 3, [90] * 3, [90] * 3]]
    assert cutout[..., 3].tolist() == [[0, 0, 3, 128, 255]]
    plate = np.full((1, 5, 3), 30, np.uint8)
    cutout = Prediction(image=image, alpha=alpha, disparity=alpha, plate=plate).cutout()
    assert cutout[..., 0].tolist() == [[0, 0, 90, 150, 90]]


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (20, 30, (20, 120, 3)),
        (1280, 640, (640, 1280, 3)),
        (1, 1, (1, 4, 3)),
        (2000, 1, (640, 4, 3)),
    ],
)
def test_a_preview_has_four_panels(height: int, width: int, expected: tuple[int, ...]) -> None:
    alpha = np.ones((height, width), np.float32)
    image = np.full((height, width, 3), 77, np.uint8)
    preview = Prediction(image=image, alpha=alpha, disparity=alpha).preview()
    assert preview.shape == expected
    assert preview.dtype == np.uint8
    panels = np.split(preview, 4, axis=1)
    assert (panels[0] == 77).all()
    assert (panels[1] == 77).all()
    assert (panels[2] == 255).all()


def test_a_preview_shows_what_is_unknown_and_no_more() -> None:
    random = np.random.default_rng(0)
    disparity = np.full((1280, 960), 0.5, np.float32)
    disparity[random.random(disparity.shape) < 0.05] = np.nan
    image = np.full((*disparity.shape, 3), 77, np.uint8)
    shown = Prediction(image=image, alpha=np.nan_to_num(disparity), disparity=disparity).preview()
    grey = (np.ptp(np.split(shown, 4, axis=1)[3], axis=2) == 0).mean()
    assert 0.03 < grey < 0.07


# Saving


@pytest.mark.parametrize("value", [None, 5, b"x", []])
def test_what_is_no_path_is_refused_with_what_it_is(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="path of an output folder"):
        some_prediction().save(value)
    if value is not None:
        with pytest.raises(UsageError, match="path of a model folder"):
            maskdepth.Predictor.from_pretrained(value)
        with pytest.raises(UsageError, match="stem"):
            some_prediction().save(tmp_path, stem=value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("what", "most"), [("cutout", 12), ("preview", 12), ("disparity", 6)])
def test_large_pictures_take_little_memory_beside_what_is_made(what: str, most: int) -> None:
    height, width = 1500, 2000
    alpha = np.full((height, width), 0.6, np.float32)
    image = np.full((height, width, 3), 77, np.uint8)
    prediction = Prediction(image=image, alpha=alpha, disparity=alpha, plate=image)
    make = {
        "cutout": prediction.cutout,
        "preview": prediction.preview,
        "disparity": lambda: encode_disparity(alpha),
    }[what]
    tracemalloc.start()
    try:
        make()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most * height * width  # bytes a pixel


def test_saved_files_read_back(tmp_path: Path) -> None:
    prediction = some_prediction(picture_file=Path("in/cat.jpg"), plate_file=Path("in/room.png"))
    written = prediction.save(tmp_path / "new" / "out")
    endings = ["_alpha.png", "_disparity.png", "_cutout.png", "_preview.jpg", ".json"]
    folder = tmp_path / "new" / "out"
    assert written == [folder / f"cat{ending}" for ending in endings]
    assert sorted(folder.iterdir()) == sorted(written)
    alpha, disparity, cutout = (np.asarray(Image.open(path)) for path in written[:3])
    assert alpha.dtype == np.uint8
    np.testing.assert_allclose(alpha / 255, prediction.alpha, atol=0.5001 / 255)
    assert disparity.dtype == np.uint16
    decoded = (disparity.astype(float) - 1) / 65534
    np.testing.assert_allclose(decoded, prediction.disparity, atol=0.51 / 65534)
    np.testing.assert_array_equal(cutout, prediction.cutout())
    record = json.loads(written[-1].read_text(encoding="utf-8"))
    assert (record["picture"], record["plate"], record["plate_used"]) == (
        "cat.jpg", "room.png", True,
    )  # fmt: skip
    assert (record["width"], record["height"]) == (30, 20)
    assert record["files"] == {
        "alpha": "cat_alpha.png",
        "disparity": "cat_disparity.png",
        "cutout": "cat_cutout.png",
        "preview": "cat_preview.jpg",
    }
    assert "unknown scale and shift" in record["disparity"]["unit"]
    assert record["depth"] is None
    assert (record["model"]["preset"], record["model"]["depth"]) == ("test", "exact")
    assert record["versions"]["maskdepth"] == maskdepth.__version__


def test_metric_depth_is_saved_in_millimetres(tmp_path: Path) -> None:
    depth_m = np.full((20, 30), 1.25, np.float32)
    depth_m[0, :4] = np.inf
    paths = some_prediction(depth_m=depth_m).save(tmp_path, "a", only=["depth", "json"])
    assert [path.name for path in paths] == ["a_depth.png", "a.json"]
    millimetres = np.asarray(Image.open(paths[0]))
    assert (millimetres[0, :4] == 0).all()
    assert (millimetres[1:] == 1250).all()
    assert json.loads(paths[1].read_text())["depth"]["pixels_beyond"] == 4
    assert some_prediction().save(tmp_path, "b", only=["depth"]) == []


def test_no_depth_of_another_prediction_stays(tmp_path: Path) -> None:
    metric = some_prediction(depth_m=np.full((20, 30), 1.25, np.float32))
    metric.save(tmp_path, "a")
    metric.save(tmp_path, "a", depth_format="npy")
    assert [path.name for path in tmp_path.glob("a_depth*")] == ["a_depth.npy"]
    metric.save(tmp_path, "a", only=["alpha", "json"])
    assert (tmp_path / "a_depth.npy").exists()  # nobody asked about depth
    metric.save(tmp_path, "a")
    (tmp_path / "a_depth.npy").write_text("mine")
    some_prediction().save(tmp_path, "a")
    assert [path.name for path in tmp_path.glob("a_depth*")] == ["a_depth.npy"]


def test_names_and_formats_are_checked(tmp_path: Path) -> None:
    prediction = some_prediction()
    with pytest.raises(UsageError, match="matte"):
        prediction.save(tmp_path, "a", only=["alpha", "matte"])
    for stem in ("", "..", "a/b", "a\\b"):
        with pytest.raises(UsageError, match="stem"):
            prediction.save(tmp_path, stem)
    assert list(tmp_path.iterdir()) == []
    paths = prediction.save(tmp_path, only=["alpha"])
    assert paths == [tmp_path / "picture_alpha.png", tmp_path / "picture.json"]


@pytest.mark.parametrize("field", ["picture_file", "plate_file", "plate_disparity_file"])
@pytest.mark.parametrize("linked", [False, True])
def test_an_input_is_never_overwritten(tmp_path: Path, field: str, linked: bool) -> None:
    original = tmp_path / ("elsewhere.png" if linked else "a_disparity.png")
    original.write_bytes(b"precious")
    if linked:
        (tmp_path / "a_disparity.png").symlink_to(original)
    before = sorted(tmp_path.iterdir())
    prediction = some_prediction(**{field: Path(os.path.relpath(original))})
    with pytest.raises(UsageError, match="an input"):
        prediction.save(tmp_path, "a")
    assert original.read_bytes() == b"precious"
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_leaves_whole_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_prediction().save(tmp_path, "a")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    real = os.replace
    for allowed in range(5):
        left = [allowed]

        def full(source: str, target: str, left: list[int] = left) -> None:
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            left[0] -= 1
            real(source, target)

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(StorageError, match="No space left"):
            some_prediction().save(tmp_path, "a")
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_stops_a_save_leaves_the_files_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder never has an alpha of one picture beside the preview of another."""
    some_prediction().save(tmp_path, "a")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = some_prediction(alpha=1 - some_prediction().alpha)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("maskdepth.inference.output_files.encode_jpeg", stopped)
        with pytest.raises(KeyboardInterrupt):
            other.save(tmp_path, "a")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    other.save(tmp_path, "a")
    assert (tmp_path / "a_alpha.png").read_bytes() != before[tmp_path / "a_alpha.png"]


@pytest.mark.parametrize("allowed", range(5))
def test_a_save_that_failed_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    """No file is left behind without the JSON that tells whose it is."""
    real, left = os.replace, [allowed]

    def stopped(source: str, target: str) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        real(source, target)

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        some_prediction().save(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("formats", [None, ["alpha"], ["alpha", "cutout"]])
def test_only_predictions_are_replaced(tmp_path: Path, formats: list[str] | None) -> None:
    prediction = some_prediction()
    (tmp_path / "a_alpha.png").write_text("mine")
    with pytest.raises(StorageError, match=r"a_alpha\.png"):
        prediction.save(tmp_path, "a", only=formats)
    assert [path.name for path in tmp_path.iterdir()] == ["a_alpha.png"]
    assert (tmp_path / "a_alpha.png").read_text() == "mine"
    paths = prediction.save(tmp_path, "b", only=formats)
    assert prediction.save(tmp_path, "b", only=formats) == paths


def test_predictions_of_some_layers_and_of_all_replace_each_other(tmp_path: Path) -> None:
    """Whatever maskdepth wrote is recognised, in whichever order its layers were asked for."""
    prediction = some_prediction()
    for formats in (["cutout"], ["alpha"], None, ["preview"], ["json"], None):
        paths = prediction.save(tmp_path, "a", only=formats)
        assert tmp_path / "a.json" in paths
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["earlier_files"] == []
    prediction.save(tmp_path, "a", only=["alpha"])
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["files"] == {"alpha": "a_alpha.png"}
    assert record["earlier_files"] == ["a_cutout.png", "a_disparity.png", "a_preview.jpg"]


def test_a_file_that_was_put_beside_a_prediction_is_not_replaced(tmp_path: Path) -> None:
    some_prediction().save(tmp_path, "a", only=["cutout"])
    (tmp_path / "a_alpha.png").write_text("mine")
    for formats in (None, ["alpha"]):
        with pytest.raises(StorageError, match=r"a_alpha\.png is not overwritten"):
            some_prediction().save(tmp_path, "a", only=formats)
    (tmp_path / "a_composite.png").write_text("mine")  # which no prediction of these has
    some_prediction().save(tmp_path, "a", only=["cutout"])
    assert (tmp_path / "a_alpha.png").read_text() == "mine"


def test_an_output_with_the_ending_of_a_file_is_one_file(tmp_path: Path) -> None:
    """As on the command line; a folder may have a dot in its name, and may be there already."""
    prediction = some_prediction()
    for _ in range(2):
        assert prediction.save(tmp_path / "a.png") == [tmp_path / "a.png"]
        assert load_cutout(tmp_path / "a.png").shape[2] == 4
    prediction.save(tmp_path / "new" / "a.jpg", background="white")
    assert load_picture(tmp_path / "new" / "a.jpg").shape == prediction.image.shape
    prediction.save(tmp_path / "alpha.png", only=["alpha"])
    assert load_picture(tmp_path / "alpha.png").shape == prediction.image.shape
    for wrong in ("a.tif", "a.mp4", "a.jpg"):
        with pytest.raises(UsageError, match=r"written as \.png"):
            prediction.save(tmp_path / wrong)
    with pytest.raises(UsageError, match="name needs no stem"):
        prediction.save(tmp_path / "b.png", "b")
    (tmp_path / "folder.png").mkdir()
    for folder in ("folder.png", "of.2026-05-01"):
        assert tmp_path / folder / "a.json" in prediction.save(tmp_path / folder, "a")
    mine = replace(prediction, provenance=Provenance(picture_file=tmp_path / "a.png"))
    with pytest.raises(UsageError, match="an input"):
        mine.save(tmp_path / "a.png")


def test_a_first_save_of_all_layers_that_failed_leaves_the_one_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_prediction().save(tmp_path, "a", only=["cutout"])
    before = sorted(path.name for path in tmp_path.iterdir())
    real, left = os.replace, [2]

    def stopped(source: str, target: str) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            some_prediction().save(tmp_path, "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    some_prediction().save(tmp_path, "a")


def test_an_output_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(StorageError, match="another output folder"):
        some_prediction().save(tmp_path / "out", "a")


# Start-up


def _modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    return set(result.stdout.split())


def test_predicting_needs_neither_torch_nor_pydantic() -> None:
    loaded = _modules_after("import maskdepth.inference.predictor, maskdepth.media.pictures")
    assert not loaded & {"torch", "pydantic", "yaml", "onnx"}
    assert "onnxruntime" not in loaded, "it is loaded when a model is"


def test_the_package_offers_its_names_and_no_others() -> None:
    assert sorted(maskdepth.__all__) == [
        "MaskdepthError", "Prediction", "Predictor", "__version__",
    ]  # fmt: skip
    assert maskdepth.Predictor is Predictor
    assert maskdepth.Prediction is Prediction
    assert issubclass(ModelError, maskdepth.MaskdepthError)
    assert set(maskdepth.__all__) <= set(dir(maskdepth))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = maskdepth.nonsense
