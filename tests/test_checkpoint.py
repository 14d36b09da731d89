"""Files of weights and training states: what goes in comes out, and nothing else is accepted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

import maskdepth
from maskdepth.errors import ConfigError, ModelError, StorageError, TrainingError
from maskdepth.inference.model.card import parse_card
from maskdepth.learning.checkpoint import (
    RunFacts,
    TrainingState,
    capture_tensors,
    load_state,
    load_weights,
    restore_tensors,
    save_state,
    save_weights,
)
from maskdepth.learning.model import build_model
from maskdepth.learning.optimisation import make_optimisers
from maskdepth.learning.settings import preset_config
from maskdepth.testing import FakeBackend

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
    save_state(path, TrainingState(facts_at(3), {"a": torch.arange(40.0)}))
    return path.read_bytes()


def facts_at(step: int, **changes: object) -> RunFacts:
    """Of a run by the clock, which any number of steps fits into."""
    values = {
        "config": {"minutes": 1.0},
        "fingerprint": "squares",
        "step": step,
        "seconds": 4.5,
        "validated_step": None,
        "validation": None,
        "torch": "2",
        "threads": 1,
        "processes": 1,
        "device": "cpu",
        "precision": "fp32",
    }
    return RunFacts.parse({**values, **changes}, "a test")


def read_metadata(path: Path) -> dict[str, str]:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    metadata: dict[str, str] = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    return metadata


def edit(path: Path, **changes: torch.Tensor | None) -> None:
    """Replace, add or (None) remove tensors of a file, leaving its metadata."""
    metadata = read_metadata(path)
    tensors = {**load_file(path), **changes}
    kept = {name: value for name, value in tensors.items() if value is not None}
    save_file(kept, path, metadata)


def edit_header(path: Path, text: str) -> None:
    """Replace the JSON that says what a file is, leaving its tensors."""
    save_file(load_file(path), path, {"maskdepth": text})


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


def test_states_and_cards_keep_the_former_name_of_a_preset(tmp_path: Path) -> None:
    """The prior work's preset was called ``seed``; a run of then can be resumed."""
    values = facts_at(0).model_dump(mode="json")
    former = RunFacts.parse({**values, "config": {**values["config"], "preset": "seed"}}, "a state")
    assert former.config.preset == "prior"
    card = FakeBackend().predictor().card
    text = json.dumps({**asdict(card), "preset": "seed"})
    assert parse_card(text, tmp_path).preset == "prior"
    assert type(build_model("seed")) is type(build_model("prior"))


def test_weights_of_an_unknown_preset_are_refused(small: nn.Module, tmp_path: Path) -> None:
    save_weights(tmp_path / "w", small, {"preset": "colossal"})
    with pytest.raises(ModelError, match="colossal"):
        load_weights(tmp_path / "w")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no file"):
        load_weights(tmp_path / "absent")
    with pytest.raises(TrainingError, match="There is no file"):
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
    with pytest.raises(ModelError, match="format is unknown"):
        load_weights(tmp_path / "foreign")


ODD_HEADERS = {
    "a list": "[1]",
    "a number": "NaN",
    "nothing": "null",
    "deep": "[" * 100_000,
    "deep and complete": '{"format":' * 400 + "1" + "}" * 400,
    "long": json.dumps({"format": "x" * 10_000, "version": 1, "facts": {}}),
    "lines": json.dumps({"format": "a\nb", "version": 1, "facts": {}}),
    "a true version": '{"format": "maskdepth-KIND", "version": true, "facts": {}}',
    "a huge version": '{"format": "maskdepth-KIND", "version": 1' + "0" * 5000 + ', "facts": {}}',
    "no facts": '{"format": "maskdepth-KIND", "version": 1}',
    "facts of another kind": '{"format": "maskdepth-KIND", "version": 1, "facts": [1]}',
    "a fact of another kind": '{"format": "maskdepth-KIND", "version": 1, "facts": {"preset": []}}',
    "a long preset": json.dumps(
        {"format": "maskdepth-KIND", "version": 1, "facts": {"preset": "x" * 10_000}}
    ),
}


@pytest.mark.parametrize("header", ODD_HEADERS.values(), ids=ODD_HEADERS)
def test_an_odd_header_is_refused_in_one_line(
    header: str, weights: Path, state_bytes: bytes, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.write_bytes(state_bytes)
    edit_header(weights, header.replace("KIND", "weights"))
    edit_header(state, header.replace("KIND", "state"))
    with pytest.raises(ModelError) as of_weights:
        load_weights(weights)
    with pytest.raises(TrainingError) as of_state:
        load_state(state)
    for caught, path in ((of_weights, weights), (of_state, state)):
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        assert len(message) < 600


LEFT_OUT = object()
FINE = {(name, "five") for name in ("fingerprint", "torch", "device", "precision")} | {
    ("validated_step", None),
    ("validation", None),
}


@pytest.mark.parametrize("key", RunFacts.model_fields)
def test_a_fact_that_was_edited_is_refused_with_its_file(
    key: str, state_bytes: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(state_bytes)
    header: dict[str, Any] = json.loads(read_metadata(path)["maskdepth"])
    for value in (LEFT_OUT, None, "five", [1], True, math.nan, math.inf, -1, 10**30, 10**400):
        facts = {**header["facts"], key: value}
        if value is LEFT_OUT:
            del facts[key]
        elif isinstance(value, str | None) and (key, value) in FINE:
            continue
        edit_header(path, json.dumps({**header, "facts": facts}))
        with pytest.raises(TrainingError, match="without --resume") as caught:
            load_state(path)
        assert str(path) in str(caught.value)
        assert key in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": {"steps": 2}}, "2 steps"),
        ({"validated_step": 4}, "steps done"),
        ({"validation": {"val_loss": math.inf}}, "val_loss"),
        ({"config": {"steps": 10, "minutes": 1.0}}, "config"),
        ({"extra": 1}, "extra"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(
    changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        facts_at(3, **changes)


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
        save_state(tmp_path / "file" / "state", TrainingState(facts_at(0), {"a": torch.zeros(1)}))


def test_weights_that_are_not_finite_are_neither_written_nor_read(
    small: nn.Module, weights: Path, tmp_path: Path
) -> None:
    before = weights.read_bytes()
    broken = build_model("small")
    name, weight = next(iter(broken.named_parameters()))
    for half, value, name_of_value in ((False, math.nan, "nan"), (True, 1e5, "inf")):
        with torch.no_grad():
            weight.view(-1)[3] = value
        with pytest.raises(ModelError, match=f"{name_of_value} in '{name}'"):
            save_weights(weights, broken, FACTS, half=half)
        assert weights.read_bytes() == before
    edit(weights, **{name: torch.full_like(weight.detach(), math.inf)})
    with pytest.raises(ModelError, match=f"numbers in {weights} are finite"):
        load_weights(weights)


class Net(nn.Module):
    """Convolution, batch norm, and a scalar of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * self.layers(x)


def make(kind: str, *, seed: int) -> tuple[Net, Net, list[torch.optim.Optimizer]]:
    torch.manual_seed(seed)
    net, average = Net().to(memory_format=torch.channels_last), Net()
    if kind == "fused":
        net, average = net.to("cuda"), average.to("cuda")
    kinds = {"fused": {"optimiser": "adamw"}, "plain": {"optimiser": "muon", "momentum": 0.0}}
    changes = {"learning_rate": 0.1, **kinds.get(kind, {"optimiser": kind})}
    config = preset_config("small").model_copy(update=changes)
    return net, average, make_optimisers(net, config)


def take_step(net: Net, optimisers: Sequence[torch.optim.Optimizer], seed: int) -> None:
    x = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed)).to(net.scale.device)
    net.zero_grad()
    (net(x).square().mean() - net(x).mean()).backward()
    for optimiser in optimisers:
        optimiser.step()


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize(
    "kind", ["muon", "plain", "adamw", "sgd", pytest.param("fused", marks=NEEDS_CUDA)]
)
def test_a_restored_state_goes_on_as_the_original(kind: str, tmp_path: Path) -> None:
    net, average, optimisers = make(kind, seed=0)
    for seed in range(3):
        take_step(net, optimisers, seed)
    path = tmp_path / "state.safetensors"
    facts = facts_at(3, fingerprint="naïve", validated_step=2, validation={"val_dice": 0.5})
    save_state(path, TrainingState(facts, capture_tensors(net, average, optimisers)))
    draw = torch.rand(3)

    twin, twin_average, twin_optimisers = make(kind, seed=1)
    state = load_state(path)
    assert state.facts == facts
    restore_tensors(state, twin, twin_average, twin_optimisers)
    assert torch.equal(torch.rand(3), draw)
    for seed in range(3, 6):
        take_step(net, optimisers, seed)
        take_step(twin, twin_optimisers, seed)
    for ours, theirs in ((twin, net), (twin_average, average)):
        other = theirs.state_dict()
        assert all(torch.equal(value, other[name]) for name, value in ours.state_dict().items())


def test_a_state_of_another_network_is_refused() -> None:
    net, average, optimisers = make("adamw", seed=0)
    state = TrainingState(facts_at(0), capture_tensors(net, None, optimisers))
    with pytest.raises(TrainingError, match="ema"):
        restore_tensors(state, net, average, optimisers)


@pytest.mark.parametrize("kind", ["muon", "adamw", "sgd"])
def test_a_state_with_a_tensor_missing_added_or_changed_is_refused(kind: str) -> None:
    net, average, optimisers = make(kind, seed=0)
    take_step(net, optimisers, 0)
    tensors = capture_tensors(net, average, optimisers)
    for name, value in tensors.items():
        others = [None, value.flatten()[:0], value.double(), value.new_zeros(2, 3)]
        if name.endswith("momentum_buffer"):  # all that is remembered of a weight: see below
            others = others[1:]
        for other in [*others, torch.zeros_like(value)] if name == "rng" else others:
            edited = {key: kept for key, kept in tensors.items() if key != name}
            state = TrainingState(facts_at(1), edited if other is None else {**edited, name: other})
            with pytest.raises(TrainingError, match=r"rng|random generator|optimiser|model|ema"):
                restore_tensors(state, *make(kind, seed=0))
    odd = {**tensors, "optimiser.scale.odd": torch.zeros(1)}
    with pytest.raises(TrainingError, match=r"1 unexpected \['optimiser.scale.odd'\]"):
        restore_tensors(TrainingState(facts_at(1), odd), *make(kind, seed=0))


@pytest.mark.parametrize("kind", ["muon", "adamw", "sgd"])
def test_a_weight_that_no_loss_asked_for_has_no_memory_and_needs_none(kind: str) -> None:
    """As depth's have none where only masks are learned: such a run goes on too."""
    net, average, optimisers = make(kind, seed=0)
    unused = next(net.parameters())
    unused.requires_grad_(False)
    take_step(net, optimisers, 0)
    unused.requires_grad_(True)
    state = TrainingState(facts_at(1), capture_tensors(net, average, optimisers))
    twin, twin_average, twin_optimisers = make(kind, seed=1)
    restore_tensors(state, twin, twin_average, twin_optimisers)
    first, *others = twin.parameters()
    remembered = [each for optimiser in twin_optimisers for each in optimiser.state]
    assert not any(each is first for each in remembered)
    assert len(remembered) == len(others)


def test_nothing_in_the_package_unpickles() -> None:
    for path in Path(maskdepth.__file__).parent.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "torch.load(" not in source, path
        assert "torch.save(" not in source, path
        assert "import pickle" not in source, path
