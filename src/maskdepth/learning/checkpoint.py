"""What training leaves on the disk: weights to use, and a state to resume from.

Each is one safetensors file, with tensors beside JSON in its metadata. Nothing is pickled, and the
parts of a run's state cannot disagree, whenever the process dies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from maskdepth.config import Settings
from maskdepth.errors import (
    ConfigError,
    DatasetError,
    ModelError,
    TrainingError,
    UsageError,
    first_line,
)
from maskdepth.learning.model import build_model
from maskdepth.learning.settings import MAX_COUNT, TrainingConfig
from maskdepth.learning.tensor_files import (
    FileKind,
    check_finite,
    check_tensors,
    copy_tensors,
    read_tensors,
    write_tensors,
)
from maskdepth.records import Json

_Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
_Text = Annotated[str, Field(max_length=200)]
_Optimisers = Sequence[torch.optim.Optimizer]


class Environment(Settings, strict=True):
    """What decides the last bits of the weights besides settings and data."""

    torch: _Text
    threads: _Count
    processes: _Count
    device: _Text
    precision: _Text


class RunFacts(Environment, strict=True):
    """Where a run was when its state was saved, and in which environment.

    Attributes:
        config: its settings.
        fingerprint: of its dataset.
        step: steps done.
        seconds: time spent on them.
        validated_step, validation: the last validation's step and figures; None before the first.
    """

    config: TrainingConfig
    fingerprint: _Text
    step: _Count
    seconds: float = Field(ge=0, le=MAX_COUNT)
    validated_step: _Count | None
    validation: dict[_Text, float] | None

    @field_validator("step")
    @classmethod
    def _check_step(cls, step: int, info: ValidationInfo) -> int:
        total = info.data["config"].total_steps if "config" in info.data else None
        if total is not None and step > total:
            raise ValueError(f"at most the {total} steps of the run")
        return step

    @field_validator("validated_step")
    @classmethod
    def _check_validated_step(cls, step: int | None, info: ValidationInfo) -> int | None:
        if step is not None and step > info.data.get("step", MAX_COUNT):
            raise ValueError("at most the steps done")
        return step


@dataclass(frozen=True)
class TrainingState:
    """A training run between two steps.

    Attributes:
        facts: where it was.
        tensors: weights, their average, the optimisers' memory, the random generator.
    """

    facts: RunFacts
    tensors: dict[str, Tensor]


_WEIGHTS: Final = FileKind(
    "maskdepth-weights",
    ModelError,
    "train the network again, or use the version of maskdepth that wrote the file",
)
_STATE: Final = FileKind(
    "maskdepth-state",
    TrainingError,
    "start the training again in an empty folder, without --resume",
)


def save_weights(
    path: Path, model: nn.Module, metadata: Mapping[str, str], *, half: bool = False
) -> None:
    """Write a network's weights and statistics, atomically.

    Args:
        metadata: must name the ``preset`` that ``load_weights`` builds.
        half: round kernels to half precision, for half the bytes. Tensors of one dimension, such as
            variances of a hundred-thousandth, stay as they are.
    """
    if "preset" not in metadata:
        raise ValueError("metadata without a preset could not be loaded again")
    tensors = model.state_dict()
    if half:
        tensors = {
            name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in tensors.items()
        }
    remedy = "leave them in full precision" if half else "train the network again"
    check_finite(tensors, f"the weights for {path}", ModelError, remedy)
    write_tensors(path, _WEIGHTS, tensors, dict(metadata))


def load_weights(path: Path) -> tuple[nn.Module, dict[str, str]]:
    """Build the network that a weights file belongs to, and fill it.

    Returns:
        The network, on the CPU and in evaluation mode, and the file's metadata.

    Raises:
        ModelError: the file is missing, damaged, of another version, of an unknown preset, does
            not have exactly the network's tensors, or has one that is not finite.
    """
    tensors, facts = read_tensors(path, _WEIGHTS)
    metadata = {name: value for name, value in facts.items() if isinstance(value, str)}
    if metadata.keys() != facts.keys():
        odd = min(facts.keys() - metadata.keys())
        raise ModelError(f"texts in the header of {path}", f"another {odd[:80]!r}", _WEIGHTS.remedy)
    try:
        model = build_model(metadata.get("preset", "")[:80])
    except ConfigError as error:
        problem = f"{path} is of a preset that does not exist: {error.got}."
        raise ModelError(error.expected, error.got, _WEIGHTS.remedy, problem) from None
    tensors = {
        name: tensor.float() if tensor.dtype == torch.float16 else tensor
        for name, tensor in tensors.items()
    }
    check_tensors(model.state_dict(), tensors, str(path), _WEIGHTS)
    copy_tensors(model.state_dict(), tensors)
    return model.eval(), metadata


def save_state(path: Path, state: TrainingState) -> None:
    """Write a state, atomically."""
    write_tensors(path, _STATE, state.tensors, state.facts.model_dump(mode="json"))


def load_state(path: Path) -> TrainingState:
    """Read a state.

    Raises:
        TrainingError: the file is missing, damaged, of another version, or was edited so that its
            facts contradict each other.
    """
    tensors, values = read_tensors(path, _STATE)
    try:
        facts = RunFacts.parse(values, str(path))
    except ConfigError as error:
        raise TrainingError(error.expected, error.got, _STATE.remedy, error.problem) from None
    return TrainingState(facts, tensors)


def find_state(
    path: Path, config: TrainingConfig, fingerprint: str, resume: bool
) -> TrainingState | None:
    """The state to resume from, after a check that the run is still the same.

    Returns:
        None for a run that starts from the beginning.

    Raises:
        UsageError: there is a state and ``resume`` is off, or none and it is on.
        ConfigError: the saved run had another setting; names the first.
        DatasetError: the saved run had another dataset.
        TrainingError: the state is damaged.
    """
    if not resume:
        if path.exists():
            remedy = "add --resume, or use another folder"
            problem = f"{path.parent} holds a saved run already."
            raise UsageError("a run folder without a saved run", str(path), remedy, problem)
        return None
    if not path.exists():
        remedy = "leave --resume out to start from the beginning"
        problem = f"{path.parent} holds no saved run to resume."
        raise UsageError(f"a saved state at {path}", "none", remedy, problem)
    state = load_state(path)
    saved = _flatten(state.facts.config.model_dump(mode="json", exclude_unset=True))
    ours = _flatten(config.model_dump(mode="json"))
    for key in [*ours, *saved]:
        if saved.get(key) != ours.get(key):
            before, now = repr(saved.get(key))[:80], repr(ours.get(key))[:80]
            remedy = "resume with the saved setting, or start another run folder"
            problem = f"The saved run has {key} = {before}, and this one {now}."
            raise ConfigError(f"{key} = {before}, as in the saved run", now, remedy, problem)
    if state.facts.fingerprint != fingerprint:
        saved_on, ours_is = repr(state.facts.fingerprint), repr(fingerprint)
        raise DatasetError(
            f"the saved run's dataset, fingerprint {saved_on}",
            ours_is,
            "resume with the dataset as it was, or start another run folder",
            f"The saved run was trained on the dataset {saved_on}, and this one's is {ours_is}.",
        )
    return state


def capture_tensors(
    model: nn.Module, average: nn.Module | None, optimisers: _Optimisers
) -> dict[str, Tensor]:
    """All that training has learned, by name: ``model.*``, ``ema.*``, ``optimiser.*``, ``rng``.

    The optimisers' memory is named after the weight that it belongs to, so that it depends on
    neither the order nor the grouping of the weights.
    """
    tensors = _network_tensors(model, average)
    for name, weight, optimiser in _learned_weights(model, optimisers):
        for key, value in optimiser.state.get(weight, {}).items():
            if isinstance(value, Tensor):  # SGD without momentum keeps a None
                tensors[f"optimiser.{name}.{key}"] = value
    return tensors | {"rng": torch.get_rng_state()}


def restore_tensors(
    state: TrainingState, model: nn.Module, average: nn.Module | None, optimisers: _Optimisers
) -> None:
    """Put the tensors of ``capture_tensors`` back into objects that were made in the same way."""
    tensors = state.tensors
    networks = _network_tensors(model, average)
    memory: dict[str, tuple[nn.Parameter, torch.optim.Optimizer, str]] = {}
    for name, weight, optimiser in _learned_weights(model, optimisers):
        keys = _memory_keys(optimiser) if state.facts.step > 0 else ()
        # A weight that no loss depends on has none, such as depth's where only masks are learned.
        if any(f"optimiser.{name}.{key}" in tensors for key in keys):
            memory |= {f"optimiser.{name}.{key}": (weight, optimiser, key) for key in keys}
    shapes: dict[str, Tensor] = {
        name: torch.zeros(()) if key == "step" else weight
        for name, (weight, _, key) in memory.items()
    }
    expected = {**networks, **shapes, "rng": torch.get_rng_state()}
    check_tensors(expected, tensors, "the saved state", _STATE)
    copy_tensors(networks, tensors)
    for name, (weight, optimiser, key) in memory.items():
        value = tensors[name]
        # AdamW counts its steps on the CPU unless it is fused.
        on_cpu = key == "step" and not optimiser.defaults.get("fused")
        optimiser.state[weight][key] = value if on_cpu else _placed_like(weight, value)
    try:
        torch.set_rng_state(tensors["rng"])
    except RuntimeError as error:
        wanted = "a usable random generator in the saved state"
        raise TrainingError(wanted, first_line(error), _STATE.remedy) from None


def _network_tensors(model: nn.Module, average: nn.Module | None) -> dict[str, Tensor]:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if average is not None:
        tensors |= {f"ema.{name}": value for name, value in average.state_dict().items()}
    return tensors


def _memory_keys(optimiser: torch.optim.Optimizer) -> tuple[str, ...]:
    """What an optimiser remembers of each weight once it has taken a step."""
    if isinstance(optimiser, torch.optim.AdamW):
        return ("step", "exp_avg", "exp_avg_sq")
    if isinstance(optimiser, torch.optim.SGD) and not optimiser.defaults["momentum"]:
        return ()
    return ("momentum_buffer",)


def _flatten(values: Json, prefix: str = "") -> Json:
    """Nested settings by dotted key."""
    flat: Json = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        flat |= _flatten(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def _placed_like(weight: Tensor, value: Tensor) -> Tensor:
    """A tensor of the optimiser's memory on the device and in the layout of its weight."""
    if value.dim() == 0:
        return value.to(weight.device)
    placed = torch.empty_like(weight, dtype=value.dtype, requires_grad=False)
    return placed.copy_(value)


def _learned_weights(
    model: nn.Module, optimisers: _Optimisers
) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
    """Each weight that is learned, with its name and its optimiser."""
    optimiser_of = {
        weight: optimiser
        for optimiser in optimisers
        for group in optimiser.param_groups
        for weight in group["params"]
    }
    for name, weight in model.named_parameters():
        if weight in optimiser_of:
            yield name, weight, optimiser_of[weight]
