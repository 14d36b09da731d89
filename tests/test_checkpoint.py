"""Files of weights and training states: what goes in comes out, and nothing else is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

import maskdepth
from maskdepth.errors import ModelError, StorageError, TrainingError
from maskdepth.learning.checkpoint import (
    TrainingState,
    capture_tensors,
    load_state,
    load_weights,
    restore_tensors,
    save_state,
    save_weights,
)
from maskdepth.learning.model import build_model

FACTS = {"preset": "small"}


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(3)
    model = build_model("small")
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(torch.rand(value.shape) * 100)
    return model


@pytest.fixture
def weights(small: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_weights(path, small, {**FACTS, "steps": "12"})
    return path


@pytest.fixture(scope="module")
def state_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    save_state(path, TrainingState({"step": 3}, {"a": torch.arange(40.0)}))
    return path.read_bytes()


def edit(path: Path, **changes: torch.Tensor | None) -> None:
    """Replace, add or (None) remove tensors of a file, leaving its metadata."""
    size = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    tensors = {**load_file(path), **changes}
    kept = {name: value for name, value in tensors.items() if value is not None}
    save_file(kept, path, metadata)


def test_weights_come_back_as_they_were(small: nn.Module, weights: Path) -> None:
    model, metadata = load_weights(weights)
    assert metadata == {"preset": "small", "steps": "12"}
    assert not model.training
    ours, theirs = model.state_dict(), small.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_equal_weights_are_equal_files(small: nn.Module, weights: Path, tmp_path: Path) -> None:
    twin = build_model("small").to(memory_format=torch.channels_last)
    twin.load_state_dict(small.state_dict())
    for i in range(5):
        path = tmp_path / f"{i}.safetensors"
        save_weights(path, twin, {**FACTS, "steps": "12"})
        assert path.read_bytes() == weights.read_bytes()


def test_weights_without_a_preset_are_not_written(small: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="preset"):
        save_weights(tmp_path / "model.safetensors", small, {})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stem.0.weight": None}, "1 missing .*stem.0.weight"),
        ({"extra": torch.zeros(1)}, "1 unexpected .*extra"),
        ({"stem.0.weight": torch.zeros(1)}, "stem.0.weight of "),
        ({"stem.0.weight": torch.zeros(16, 16, 3, 3).bfloat16()}, "bfloat16"),
    ],
    ids=["missing", "unexpected", "another shape", "another type"],
)
def test_weights_of_another_network_are_refused(
    weights: Path, changes: dict[str, torch.Tensor | None], named: str
) -> None:
    edit(weights, **changes)
    with pytest.raises(ModelError, match=named):
        load_weights(weights)


def test_weights_of_an_unknown_preset_are_refused(small: nn.Module, tmp_path: Path) -> None:
    save_weights(tmp_path / "w", small, {"preset": "colossal"})
    with pytest.raises(ModelError, match="colossal"):
        load_weights(tmp_path / "w")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none"):
        load_weights(tmp_path / "absent")
    with pytest.raises(TrainingError, match="none"):
        load_state(tmp_path / "absent")


def test_files_are_not_mistaken_for_each_other(
    weights: Path, state_bytes: bytes, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="maskdepth-weights"):
        load_state(weights)
    (tmp_path / "state").write_bytes(state_bytes)
    with pytest.raises(ModelError, match="maskdepth-state"):
        load_weights(tmp_path / "state")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(ModelError, match="another file"):
        load_weights(tmp_path / "foreign")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_state_cut_short_anywhere_is_refused(
    share: float, state_bytes: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(state_bytes[: int(share * len(state_bytes))])
    with pytest.raises(TrainingError):
        load_state(path)


def test_a_state_that_cannot_be_written_leaves_the_former(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        save_state(tmp_path / "file" / "state", TrainingState({}, {"a": torch.zeros(1)}))


class Net(nn.Module):
    """Convolution, batch norm, and a scalar of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * self.layers(x)


def make(optimiser: str, *, seed: int) -> tuple[Net, Net, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    net, average = Net().to(memory_format=torch.channels_last), Net()
    if optimiser == "fused":
        net, average = net.to("cuda"), average.to("cuda")
        return net, average, torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    if optimiser == "adamw":
        return net, average, torch.optim.AdamW(net.parameters(), lr=0.1)
    return net, average, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def take_step(net: Net, optimiser: torch.optim.Optimizer, seed: int) -> None:
    x = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed)).to(net.scale.device)
    optimiser.zero_grad()
    (net(x).square().mean() - net(x).mean()).backward()
    optimiser.step()


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("kind", ["adamw", "sgd", pytest.param("fused", marks=NEEDS_CUDA)])
def test_a_restored_state_goes_on_as_the_original(kind: str, tmp_path: Path) -> None:
    net, average, optimiser = make(kind, seed=0)
    for seed in range(3):
        take_step(net, optimiser, seed)
    path = tmp_path / "state.safetensors"
    facts = {"step": 3, "nested": {"words": "naïve", "list": [1, None]}}
    save_state(path, TrainingState(facts, capture_tensors(net, average, optimiser)))
    draw = torch.rand(3)

    twin, twin_average, twin_optimiser = make(kind, seed=1)
    state = load_state(path)
    assert state.facts == facts
    restore_tensors(state.tensors, twin, twin_average, twin_optimiser)
    assert torch.equal(torch.rand(3), draw)
    for seed in range(3, 6):
        take_step(net, optimiser, seed)
        take_step(twin, twin_optimiser, seed)
    for ours, theirs in ((twin, net), (twin_average, average)):
        other = theirs.state_dict()
        assert all(torch.equal(value, other[name]) for name, value in ours.state_dict().items())


def test_a_state_of_another_network_is_refused() -> None:
    net, average, optimiser = make("adamw", seed=0)
    tensors = capture_tensors(net, None, optimiser)
    with pytest.raises(TrainingError, match="ema"):
        restore_tensors(tensors, net, average, optimiser)


def test_nothing_in_the_package_unpickles() -> None:
    for path in Path(maskdepth.__file__).parent.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "torch.load(" not in source, path
        assert "torch.save(" not in source, path
        assert "import pickle" not in source, path
