"""What training leaves on the disk: weights to use, and a state to go on from.

Both are one safetensors file each, tensors beside JSON in its metadata: nothing is pickled, and a
file that appears whole cannot disagree with itself, whenever the process dies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from maskdepth.errors import (
    ConfigError,
    DatasetError,
    MaskdepthError,
    ModelError,
    TrainingError,
    UsageError,
    first_line,
)
from maskdepth.images import write_bytes
from maskdepth.learning.model import build_model
from maskdepth.learning.settings import TrainingConfig

__all__ = [
    "TrainingState",
    "capture_tensors",
    "find_state",
    "load_state",
    "load_weights",
    "restore_tensors",
    "save_state",
    "save_weights",
]

VERSION = 1
HEADER = "maskdepth"


@dataclass(frozen=True)
class TrainingState:
    """A training run between two steps.

    Attributes:
        facts: whatever JSON holds: step, seconds, settings, the dataset's fingerprint, ...
        tensors: weights, their average, the optimiser's memory, the random generator.
    """

    facts: dict[str, Any]
    tensors: dict[str, Tensor]


def save_weights(
    path: Path, model: nn.Module, metadata: Mapping[str, str], *, half: bool = False
) -> None:
    """Write a network's weights and statistics, atomically.

    Args:
        metadata: must name the ``preset``, which says what ``load_weights`` builds.
        half: round kernels to half precision, for half the bytes. What has one dimension, such as
            variances of a hundred-thousandth, stays as it is.

    Raises:
        StorageError: the file cannot be written.
    """
    if "preset" not in metadata:
        raise ValueError("metadata without a preset could not be loaded again")
    tensors = model.state_dict()
    if half:
        tensors = {
            name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in tensors.items()
        }
    _write(path, "maskdepth-weights", tensors, dict(metadata))


def load_weights(path: Path) -> tuple[nn.Module, dict[str, str]]:
    """Build the network a weights file belongs to, and fill it.

    Returns:
        The network, on the CPU and in evaluation mode, and the file's metadata.

    Raises:
        ModelError: the file is missing, damaged, of another version, of an unknown preset, or
            does not have exactly the network's tensors.
    """
    remedy = "train the network again, or use the version of maskdepth that wrote the file"
    tensors, metadata = _read(path, "maskdepth-weights", ModelError, remedy)
    try:
        model = build_model(str(metadata.get("preset")))
    except ConfigError as error:
        raise ModelError(f"{error.expected} in {path}", error.got, remedy) from None
    tensors = {
        name: tensor.float() if tensor.dtype == torch.float16 else tensor
        for name, tensor in tensors.items()
    }
    _fill(model.state_dict(), tensors, ModelError, str(path), remedy)
    return model.eval(), {name: str(value) for name, value in metadata.items()}


def save_state(path: Path, state: TrainingState) -> None:
    """Write a state, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    _write(path, "maskdepth-state", state.tensors, state.facts)


def load_state(path: Path) -> TrainingState:
    """Read a state.

    Raises:
        TrainingError: the file is missing, damaged or of another version.
    """
    remedy = "start the training again in an empty folder"
    tensors, facts = _read(path, "maskdepth-state", TrainingError, remedy)
    return TrainingState(facts, tensors)


def find_state(
    path: Path, config: TrainingConfig, fingerprint: str, resume: bool
) -> TrainingState | None:
    """The state to resume from, checked against what the run is to be now.

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
            raise UsageError(
                "a run folder without a saved run", f"{path}", "add --resume, or use another folder"
            )
        return None
    if not path.exists():
        raise UsageError(
            f"a saved state at {path}", "none", "leave --resume out to start from the beginning"
        )
    state = load_state(path)
    saved = _flat(state.facts["config"])
    ours = _flat(config.model_dump(mode="json"))
    for key in [*ours, *saved]:
        if saved.get(key) != ours.get(key):
            raise ConfigError(
                f"{key} = {saved.get(key)!r}, as in the saved run",
                repr(ours.get(key)),
                "resume with the saved setting, or start another run folder",
            )
    if state.facts["fingerprint"] != fingerprint:
        raise DatasetError(
            f"the saved run's dataset, fingerprint {state.facts['fingerprint']!r}",
            repr(fingerprint),
            "resume with the dataset as it was, or start another run folder",
        )
    return state


def capture_tensors(
    model: nn.Module, average: nn.Module | None, optimiser: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Everything training has learned, by name: ``model.*``, ``ema.*``, ``optimiser.*``, ``rng``.

    The optimiser's memory is named after the weight it belongs to, so that it does not depend on
    the order or the grouping of the weights.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if average is not None:
        tensors |= {f"ema.{name}": value for name, value in average.state_dict().items()}
    for name, memory in _memories(model, optimiser):
        for key, value in memory.items():
            if isinstance(value, Tensor):  # SGD without momentum keeps a None
                tensors[f"optimiser.{name}.{key}"] = value
    return tensors | {"rng": torch.get_rng_state()}


def restore_tensors(
    tensors: Mapping[str, Tensor],
    model: nn.Module,
    average: nn.Module | None,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Put back what ``capture_tensors`` took, into objects made in the same way.

    Raises:
        TrainingError: the tensors do not belong to these objects.
    """
    remedy = "resume with the version of maskdepth that saved it, or start again"
    targets = {f"model.{name}": value for name, value in model.state_dict().items()}
    if average is not None:
        targets |= {f"ema.{name}": value for name, value in average.state_dict().items()}
    weights = {name: value for name, value in tensors.items() if _is_of_network(name)}
    _fill(targets, weights, TrainingError, "the saved state", remedy)
    for name, parameter in model.named_parameters():
        prefix = f"optimiser.{name}."
        memory = optimiser.state[parameter]
        for key in tensors:
            if key.startswith(prefix) and "." not in key.removeprefix(prefix):
                kept = key.removeprefix(prefix)
                # AdamW counts its steps on the CPU, unless one kernel does all of its work.
                counted = kept == "step" and not optimiser.defaults.get("fused")
                memory[kept] = tensors[key] if counted else _placed_like(parameter, tensors[key])
    torch.set_rng_state(tensors["rng"])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def _is_of_network(name: str) -> bool:
    return name.startswith(("model.", "ema."))


def _placed_like(parameter: Tensor, value: Tensor) -> Tensor:
    """A tensor of the optimiser's memory where the optimiser would have put it."""
    if value.dim() == 0:
        return value.to(parameter.device)
    placed = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
    return placed.copy_(value)  # the memory layout of the weight, not of the file


def _memories(
    model: nn.Module, optimiser: torch.optim.Optimizer
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, parameter in model.named_parameters():
        if parameter in optimiser.state:
            yield name, optimiser.state[parameter]


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that safetensors takes: on the CPU, in plain layout, sharing no memory."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }


def _write(path: Path, kind: str, tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> None:
    # One entry: safetensors writes several in an order that changes from one call to the next,
    # and equal weights should be equal files.
    header = json.dumps({"format": kind, "version": VERSION, "facts": facts}, ensure_ascii=False)
    write_bytes(path, save(_storable(tensors), {HEADER: header}))


def _read(
    path: Path, kind: str, error_class: type[MaskdepthError], remedy: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a file that ``_write`` made."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            # The handle is no mapping: only its keys() lists the names.
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise error_class(f"a file at {path}", "there is none", remedy) from None
    except (OSError, SafetensorError, ValueError) as error:
        got = f"{first_line(error)}: it is damaged or cut short"
        raise error_class(f"a complete safetensors file at {path}", got, remedy) from None
    found = f"{header.get('format', 'another file')} {header.get('version', '')}".strip()
    if found != f"{kind} {VERSION}":
        raise error_class(f"{kind} {VERSION} in {path}", found, remedy)
    return tensors, header["facts"]


@torch.no_grad()
def _fill(
    targets: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    error_class: type[MaskdepthError],
    source: str,
    remedy: str,
) -> None:
    """Copy tensors over others of exactly the same names, shapes and types."""
    missing = sorted(targets.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - targets.keys())
    if missing or unexpected:
        got = f"{len(missing)} missing {missing[:3]}, {len(unexpected)} unexpected {unexpected[:3]}"
        raise error_class(f"exactly the network's tensors in {source}", got, remedy)
    for name, target in targets.items():
        value = tensors[name]
        if (value.shape, value.dtype) != (target.shape, target.dtype):
            raise error_class(
                f"{name} of {tuple(target.shape)} {target.dtype} in {source}",
                f"{tuple(value.shape)} {value.dtype}",
                remedy,
            )
    for name, target in targets.items():
        target.copy_(tensors[name])
