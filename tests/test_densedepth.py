"""DenseDepth: equal to Keras' own network, and no traceback for a file that is another's."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskdepth.errors import TeacherError, UsageError
from maskdepth.labelling.teachers import (
    checked_maps,
    densedepth,
    disparity_map,
    open_teacher,
)
from maskdepth.labelling.teachers.densedepth import (
    KITTI_M,
    NYU_M,
    DenseDepth,
    depth_from_values,
    working_size,
)
from maskdepth.labelling.teachers.densedepth_network import DenseDepthNetwork, layer_shapes
from maskdepth.labelling.teachers.keras_h5 import described_layers, read_keras_file


@pytest.fixture(scope="module")
def oracle() -> Iterator[Path]:
    """What Keras saved and predicted; half a gigabyte, so it is removed at once."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(__file__).with_name("keras_densedepth.py")
        environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": folder}
        command = [sys.executable, str(program), folder]
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        yield Path(folder)


@pytest.mark.parametrize("name", ["model.h5", "legacy.h5", "named.weights.h5"])
def test_the_network_equals_keras_from_each_layout(oracle: Path, name: str) -> None:
    """Random weights and statistics, one network in three files: 1e-4 of the values' spread."""
    expected = np.load(oracle / "output.npy")[..., 0]
    weights = read_keras_file(oracle / name, layer_shapes()).weights
    network = DenseDepthNetwork(weights, align_corners=False)
    found = network.predict(np.load(oracle / "input.npy"))
    assert found.shape == expected.shape == (2, 32, 48)
    assert np.abs(found - expected).max() <= 1e-4 * expected.std()


def test_enlargements_that_align_corners_equal_numpys(oracle: Path) -> None:
    expected = np.load(oracle / "aligned.npy")[..., 0]
    weights = read_keras_file(oracle / "model.h5", layer_shapes()).weights
    network = DenseDepthNetwork(weights, align_corners=True)
    found = network.predict(np.load(oracle / "input.npy"))
    assert np.abs(found - expected).max() <= 1e-4 * expected.std()
    assert np.abs(np.load(oracle / "output.npy")[..., 0] - expected).max() > expected.std()


def test_the_file_tells_which_enlargement_it_was_trained_with(tmp_path: Path) -> None:
    """Keras' own layer has half-pixel centres; the authors' and an unnamed one align corners."""
    keras = _describe(*_LEAKY, ("UpSampling2D", {"interpolation": "bilinear"}))
    authors = _describe(*_LEAKY, ("BilinearUpSampling2D", {"size": [2, 2]}))
    for edit, aligned in ((keras, False), (authors, True), (None, True)):
        path = _write(tmp_path / "x.h5", edit)
        found = DenseDepth(path).info.version
        assert found == DenseDepth(path, align_corners=aligned).info.version
        assert found != DenseDepth(path, align_corners=not aligned).info.version


def test_the_teacher_predicts_metres_of_the_pictures_size(
    oracle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enlarged fourfold to the training's size, the value averaged back, then 10 m / value."""
    assert densedepth._TRAINED_AT == {NYU_M: (480, 640), KITTI_M: (384, 1280)}
    monkeypatch.setitem(densedepth._TRAINED_AT, NYU_M, (96, 128))
    teacher = DenseDepth(oracle / "model.h5")
    photo = np.load(oracle / "photo.npy")
    value = np.load(oracle / "photo_output.npy")[0, ..., 0].reshape(24, 2, 32, 2).mean((1, 3))
    [depth] = checked_maps(teacher, [photo])
    assert photo.shape == (24, 32, 3)
    assert value.std() > 0.1
    assert depth == pytest.approx(10 / np.clip(value, 1, 100), rel=1e-4)
    # Metres turn into disparity whose nearest pixel is 1.
    disparity = disparity_map(depth, teacher.info)
    assert disparity.max() == 1
    assert np.argmax(disparity) == np.argmin(depth)


def test_the_teacher_says_what_it_is(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.h5")
    nyu, kitti = DenseDepth(path), DenseDepth(path, KITTI_M)
    assert (nyu.info.kind, nyu.info.units, nyu.info.range) == ("depth", "metres", (0.1, 10.0))
    assert (kitti.info.name, kitti.info.range) == ("densedepth-kitti", (0.8, 80.0))
    assert (nyu.info.licence, nyu.info.size) == ("unknown", None)
    other = _write(tmp_path / "y.h5", lambda file: file["conv3/conv3/bias:0"].write_direct(_ONE))
    versions = {nyu.info.version, kitti.info.version, DenseDepth(other).info.version}
    assert len(versions) == 3
    assert DenseDepth(path).info.version == nyu.info.version


def test_depth_stays_in_its_range() -> None:
    """Zero and less are far, not behind the camera; what is no number is no depth."""
    values = np.array([[-3, 0, 0.5, 1, 4, 100, 1e6, np.nan]], np.float32)
    expected = np.array([[10, 10, 10, 10, 2.5, 0.1, 0.1, np.nan]])
    assert depth_from_values(values, 10.0) == pytest.approx(expected, nan_ok=True)
    assert depth_from_values(values, KITTI_M) == pytest.approx(8 * expected, nan_ok=True)


def test_another_greatest_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"10 m \(NYU\) or 80 m \(KITTI\), but got 20 m"):
        DenseDepth(tmp_path / "x.h5", 20.0)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_working_sizes_fit_the_network(height: int, width: int) -> None:
    """Multiples of 32; near the proportions and the number of pixels where 32 allows it."""
    pixels = 480 * 640
    found = working_size(height, width, pixels)
    scale = math.sqrt(pixels / (height * width))
    for side, resized in zip((height, width), found, strict=True):
        assert resized % 32 == 0
        assert resized == 32 or abs(resized - side * scale) <= 16
        assert resized >= 32


def test_the_sizes_of_training_are_kept() -> None:
    assert working_size(480, 640, 480 * 640) == (480, 640)
    assert working_size(384, 1280, 384 * 1280) == (384, 1280)


def test_users_open_it_by_name_and_say_its_licence(tmp_path: Path) -> None:
    """``densedepth:FILE`` needs --licence, since we do not know that of the weights."""
    path = _write(tmp_path / "x.h5")
    teacher = open_teacher(f"densedepth-kitti:{path}", licence="asked the authors", device="cpu")
    assert isinstance(teacher, DenseDepth)
    assert (teacher.info.name, teacher.info.licence) == ("densedepth-kitti", "asked the authors")
    with pytest.raises(UsageError, match="--licence for densedepth:"):
        open_teacher(f"densedepth:{path}")
    with pytest.raises(UsageError, match=r"the weights: densedepth:FILE\.h5"):
        open_teacher("densedepth", licence="asked the authors")
    with pytest.raises(UsageError, match="densedepth has the units 'metres'"):
        open_teacher(f"densedepth:{path}", units="relative", licence="asked the authors")
    with pytest.raises(UsageError, match=r"densedepth:FILE\.h5"):
        open_teacher(str(path))


def test_the_skips_and_filters_are_the_papers() -> None:
    """Table 1 of the paper: channels of each concatenation, halved filters."""
    shapes = layer_shapes()
    assert shapes["conv2"]["kernel"] == (1, 1, 1664, 1664)
    inputs = [shapes[f"up{number}_convA"]["kernel"][2:] for number in (1, 2, 3, 4)]
    assert inputs == [(1664 + 256, 832), (832 + 128, 416), (416 + 64, 208), (208 + 64, 104)]


_ONE = np.ones(1, np.float32)
_Edit = Callable[[h5py.File], Any]


def _write(path: Path, edit: _Edit | None = None, shapes: Any = None) -> Path:
    """A file of zeros with every layer, in Keras 2's layout; zeros take no room in HDF5."""
    with h5py.File(path, "w") as file:
        for layer, weights in (layer_shapes() if shapes is None else shapes).items():
            for name, shape in weights.items():
                file.create_dataset(f"{layer}/{layer}/{name}:0", shape, "f4")
        if edit:
            edit(file)
    return path


def _replace(file: h5py.File, name: str, **settings: Any) -> None:
    del file[name]
    file.create_dataset(name, **settings)


def _drop_blocks(file: h5py.File) -> None:
    """What DenseNet-121 lacks: the last 8 blocks of stage 4 and 16 of stage 5."""
    for stage, kept, depth in (("conv4", 24, 32), ("conv5", 16, 32)):
        for block in range(kept + 1, depth + 1):
            for part in ("0_bn", "1_conv", "1_bn", "2_conv"):
                del file[f"{stage}_block{block}_{part}"]


def _describe(*layers: tuple[str, dict[str, Any]]) -> _Edit:
    listed = [{"class_name": kind, "config": settings} for kind, settings in layers]
    text = json.dumps({"class_name": "Model", "config": {"layers": listed}})

    def edit(file: h5py.File) -> None:
        file.attrs["model_config"] = text.encode()  # Keras 2 writes bytes, Keras 3 text

    return edit


_LEAKY = [("LeakyReLU", {"alpha": 0.2})] * 8
_SPOILT: dict[str, tuple[_Edit, str]] = {
    "a missing layer": (
        lambda file: file.__delitem__("up2_convB"),
        r"got .* arrays, without up2_convB/kernel, up2_convB/bias\.",
    ),
    "another DenseNet": (_drop_blocks, r"without conv4_block25_0_bn/gamma, .* and 237 more\."),
    "another layer": (
        lambda file: file.create_dataset("predictions/predictions/kernel:0", (2, 2), "f4"),
        r" arrays, with predictions/kernel besides\.",
    ),
    "another shape": (
        lambda file: _replace(file, "conv2/conv2/bias:0", shape=(8,), dtype="f4"),
        r"conv2/bias as floats of shape \(1664,\), but got .*float32 of shape \(8,\)\.",
    ),
    "integers": (
        lambda file: _replace(file, "conv3/conv3/bias:0", shape=(1,), dtype="i4"),
        "got .*int32 of shape",
    ),
    "a weight that is no number": (
        lambda file: file["conv3/conv3/bias:0"].write_direct(_ONE * np.nan),
        "finite weights, but got .*conv3",
    ),
    "a layer twice": (
        lambda file: file.create_dataset("conv3/again/bias:0", (1,), "f4"),
        r"once, but got .*conv3/bias twice\.",
    ),
    "weights in another file": (
        lambda file: _replace(
            file, "bn/bn/beta:0", shape=(1664,), dtype="f4", external=[("/dev/zero", 0, 6656)]
        ),
        r"weights inside the file, but got .*bn/beta:0 elsewhere\.",
    ),
    "links to another file": (
        lambda file: (
            file.__delitem__("bn"),
            file.__setitem__("bn", h5py.ExternalLink("other.h5", "/bn")),
        ),
        "without bn/gamma",
    ),
    "an array for a group": (
        lambda file: file.create_dataset("model_weights", (1,), "f4"),
        r"'model_weights' is an array\.",
    ),
    "a description that is no JSON": (
        lambda file: file.attrs.__setitem__("model_config", "{"),
        "a 'model_config' that is no JSON",
    ),
    "another slope": (
        _describe(*_LEAKY[1:], ("LeakyReLU", {"negative_slope": 0.3})),
        r"slope 0\.2, but got .*0\.3\.",
    ),
    "fewer leaky ReLUs": (_describe(*_LEAKY[1:]), r"8 leaky ReLUs, but got .*7\."),
    "another epsilon": (
        _describe(*_LEAKY, ("BatchNormalizationV1", {"epsilon": 1e-3})),
        r"epsilon 1\.001e-05, but got .*0\.001\.",
    ),
    "nearest enlargement": (
        _describe(*_LEAKY, ("UpSampling2D", {"interpolation": "nearest"})),
        r"bilinear enlargement, but got .*nearest\.",
    ),
}


@pytest.mark.parametrize("case", _SPOILT)
def test_another_networks_file_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    edit, message = _SPOILT[case]
    path = _write(tmp_path / "x.h5", edit)
    with pytest.raises(TeacherError, match=message) as caught:
        DenseDepth(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no .*x.h5"),
        (b"", "no complete HDF5 file"),
        (b"PNG is not HDF5" * 100, "no complete HDF5 file"),
        (pickle.dumps({"conv1_conv": 1}), "no complete HDF5 file"),
    ],
)
def test_what_is_no_hdf5_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TeacherError, match=message):
        DenseDepth(path)


def test_keras_3_files_whose_layers_have_no_names_are_refused(tmp_path: Path) -> None:
    """The first releases of Keras 3 named groups by class and number alone."""
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file.create_dataset("layers/conv2d/vars/0", (7, 7, 3, 64), "f4")
    with pytest.raises(TeacherError, match="with layers/conv2d/0 besides"):
        DenseDepth(tmp_path / "x.weights.h5")


def test_a_model_within_a_model_and_scopes_change_nothing(tmp_path: Path) -> None:
    """The layer is the first group that is one; what stands before and behind it is free."""
    shapes = {"conv1_conv": {"kernel": (1, 1, 1, 1)}, "conv3": {"bias": (1,)}}
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["model_weights/densenet169/conv1/conv/kernel:0"] = np.full((1, 1, 1, 1), 2.0, "f2")
        file["model_weights/conv3/conv3_1/bias:0"] = np.full(1, 3.0, "f8")
        file["optimizer_weights/Adam/conv3/bias:0"] = np.zeros(1)
    weights = read_keras_file(path, shapes).weights
    assert weights["conv1_conv"]["kernel"].item() == 2
    assert weights["conv3"]["bias"].item() == 3
    assert {array.dtype for layer in weights.values() for array in layer.values()} == {
        np.dtype(np.float32)
    }


def test_damaged_files_end_in_one_line(tmp_path: Path) -> None:
    """Cut short anywhere, or with bytes changed: read as it is, or refused; never a traceback."""
    shapes = {"bn": {"gamma": (4,), "beta": (4,)}, "conv3": {"kernel": (3, 3, 2, 1), "bias": (1,)}}

    def fill(file: h5py.File) -> None:
        for name, shape in shapes["conv3"].items():
            file[f"conv3/conv3/{name}:0"].write_direct(np.ones(shape, np.float32))

    whole = _write(tmp_path / "whole.h5", fill, shapes).read_bytes()
    chance, path = random.Random(5), tmp_path / "x.h5"
    lines = []
    for _ in range(100):
        path.write_bytes(whole[: chance.randrange(len(whole))])
        with pytest.raises(TeacherError) as caught:
            read_keras_file(path, shapes)
        lines.append(str(caught.value))
        data = bytearray(whole)
        for _ in range(8):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            read_keras_file(path, shapes)
        except TeacherError as error:
            lines.append(str(error))
    assert len(lines) > 100
    assert not [line for line in lines if "\n" in line]


def test_a_saved_models_description_is_understood(oracle: Path) -> None:
    """Keras' own description names the slopes and epsilons that are looked at."""
    file = read_keras_file(oracle / "model.h5", layer_shapes())
    found = list(described_layers(file.description))
    slopes = [settings["negative_slope"] for kind, settings in found if kind == "LeakyReLU"]
    assert slopes == pytest.approx([0.2] * 8)
    assert sum(kind == "BatchNormalization" for kind, _ in found) == 169
