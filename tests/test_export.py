"""ONNX files: they compute what their network computes, at every size it takes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from maskdepth.errors import ModelError, StorageError
from maskdepth.inference.model.backend import INPUTS, OUTPUTS
from maskdepth.learning.export import check_parity, export_onnx
from maskdepth.learning.model import build_model
from tiny_network import TinyNetwork


def lively(name: str) -> nn.Module:
    """A network whose norms have statistics of their own and whose outputs reach their limits."""
    torch.manual_seed(3)
    model = build_model(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.8, 1.6)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return model


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return lively("small")


@pytest.fixture(scope="module")
def file(small: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(small, "small", path)
    return path


def test_small_agrees_with_its_network_at_even_odd_and_tiny_sizes(
    small: nn.Module, file: Path
) -> None:
    sizes = ((224, 224), (160, 208), (97, 131), (33, 20), (1, 1), (5, 130))
    assert check_parity(small, "small", file, sizes) < 1e-4


def test_the_file_is_whole_and_speaks_the_contract(file: Path) -> None:
    assert list(file.parent.iterdir()) == [file]
    onnx.checker.check_model(str(file))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    shapes = {node.name: node.shape for node in [*session.get_inputs(), *session.get_outputs()]}
    picture = ["batch", 3, "height", "width"]
    plane = ["batch", 1, "height", "width"]
    assert shapes == {
        "picture": picture,
        "plate": picture,
        "plate_disparity": plane,
        "validity": ["batch", 2],
        "alpha": plane,
        "disparity": plane,
    }
    random = np.random.default_rng(0)
    feed = {
        "picture": random.random((3, 3, 50, 61), np.float32),
        "plate": np.full((3, 3, 50, 61), np.nan, np.float32),
        "plate_disparity": random.random((3, 1, 50, 61), np.float32) * 9,
        "validity": np.array([[0, 1]] * 3, np.float32),
    }
    for values in session.run(list(OUTPUTS), feed):
        assert values.shape == (3, 1, 50, 61)
        assert values.min() >= 0
        assert values.max() <= 1


def test_the_file_names_no_source_code_and_no_folder_of_the_machine_that_wrote_it(
    file: Path,
) -> None:
    data = file.read_bytes()
    assert not [word for word in (b".py", b"torch/", b"/home/", b"site-packages") if word in data]


def test_exporting_leaves_the_model_as_it_was_and_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = TinyNetwork().train().to(memory_format=torch.channels_last)
    weight = model.features.weight
    export_onnx(model, "small", tmp_path / "tiny.onnx")
    assert model.training
    assert model.features.weight is weight
    assert capfd.readouterr() == ("", "")
    assert check_parity(model, "small", tmp_path / "tiny.onnx") < 1e-5


def test_seed_keeps_its_size_and_agrees_with_its_network(tmp_path: Path) -> None:
    model, path = lively("prior"), tmp_path / "prior.onnx"
    export_onnx(model, "prior", path)
    # Sizes that it does not take give way to its own.
    assert check_parity(model, "prior", path, sizes=((160, 208),)) < 1e-3
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shapes = {node.name: node.shape for node in session.get_inputs()}
    assert set(shapes) <= set(INPUTS)
    assert shapes["picture"] == ["batch", 3, 224, 224]


def test_a_file_of_other_weights_is_refused(small: nn.Module, file: Path) -> None:
    other = lively("small")
    with torch.no_grad():
        other.disparity.value.bias.add_(0.01)
    with pytest.raises(ModelError, match=r"within 0\.001 .* in disparity at 32 x 32"):
        check_parity(other, "small", file, sizes=((32, 32),))
    assert check_parity(other, "small", file, sizes=((32, 32),), tolerance=0.1) > 1e-3


def test_networks_that_are_not_finite_are_refused(small: nn.Module, file: Path) -> None:
    other = lively("small")
    with torch.no_grad():
        other.disparity.value.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="nan"):
        check_parity(other, "small", file, sizes=((32, 32),))


def test_a_damaged_or_missing_file_is_an_error_that_names_it(
    small: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match=re.escape(str(path))):
        check_parity(small, "small", path)
    path.write_bytes(b"no network")
    with pytest.raises(ModelError, match=re.escape(str(path))):
        check_parity(small, "small", path)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        export_onnx(TinyNetwork(), "small", tmp_path / "file" / "model.onnx")


def test_a_network_that_cannot_be_traced_is_refused(tmp_path: Path) -> None:
    class Branching(TinyNetwork):
        def forward(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            if inputs[0].sum() > 3:
                return super().forward(*inputs)
            return super().forward(*inputs[::-1])

    with pytest.raises(ModelError, match="traced"):
        export_onnx(Branching(), "small", tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
