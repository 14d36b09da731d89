"""What training leaves on the disk: weights to use, and a state to go on from.

Both are one safetensors file each, tensors beside JSON in its metadata: nothing is pickled, and a
file that appears whole cannot disagree with itself, whenever the process dies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import torch
from pydantic import Field, ValidationInfo, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from maskdepth.config import Settings
from maskdepth.errors import (
    ConfigError,
    DatasetError,
    MaskdepthError,
    ModelError,
    TrainingError,
    UsageError,
    first_line,
)
from maskdepth.files import open_file, write_bytes
from maskdepth.learning.model import build_model
from maskdepth.learning.settings import LARGEST_COUNT, TrainingConfig
from maskdepth.records import check_version

__all__ = [
    "RunFacts",
    "TrainingState",
    "capture_tensors",
    "find_non_finite",
    "find_state",
    "load_state",
    "load_weights",
    "restore_tensors",
    "save_state",
    "save_weights",
]

VERSION = 1
HEADER = "maskdepth"
_ANEW: Final = "start the training again in an empty folder, without --resume"

_Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
_Text = Annotated[str, Field(max_length=200)]


class RunFacts(Settings, strict=True):
    """Where a run was when its state was saved.

    Attributes:
        config: its settings.
        fingerprint: of its dataset.
        step: steps done.
        seconds: time spent on them.
        validated_step, validation: the last validation's step and figures; None before the first.
        torch, threads, processes, device, precision: what besides settings and data decides the
            last bits of the weights.
    """

    config: TrainingConfig
    fingerprint: _Text
    step: _Count
    seconds: float = Field(ge=0, le=LARGEST_COUNT)
    validated_step: _Count | None
    validation: dict[_Text, float] | None
    torch: _Text
    threads: _Count
    processes: _Count
    device: _Text
    precision: _Text

    @field_validator("step")
    @classmethod
    def _lies_in_the_run(cls, step: int, info: ValidationInfo) -> int:
        total = info.data["config"].total_steps if "config" in info.data else None
        if total is not None and step > total:
            raise ValueError(f"at most the {total} steps of the run")
        return step

    @field_validator("validated_step")
    @classmethod
    def _was_reached(cls, step: int | None, info: ValidationInfo) -> int | None:
        if step is not None and step > info.data.get("step", LARGEST_COUNT):
            raise ValueError("at most the steps done")
        return step


@dataclass(frozen=True)
class TrainingState:
    """A training run between two steps.

    Attributes:
        facts: where it was.
        tensors: weights, their average, the optimiser's memory, the random generator.
    """

    facts: RunFacts
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
        ModelError: a weight is NaN or infinite, as it is or in half precision.
        StorageError: the file cannot be written.
    """
    if "preset" not in metadata:
        raise ValueError("metadata without a preset could not be loaded again")
    tensors = model.state_dict()
    if half:
        tensors = {
            name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in tensors.items()
        }
    remedy = "leave them in full precision" if half else "train the network again"
    _check_finite(tensors, ModelError, f"for {path}", remedy)
    _write(path, "maskdepth-weights", tensors, dict(metadata))


def load_weights(path: Path) -> tuple[nn.Module, dict[str, str]]:
    """Build the network a weights file belongs to, and fill it.

    Returns:
        The network, on the CPU and in evaluation mode, and the file's metadata.

    Raises:
        ModelError: the file is missing, damaged, of another version, of an unknown preset, does
            not have exactly the network's tensors, or has one that is not finite.
    """
    remedy = "train the network again, or use the version of maskdepth that wrote the file"
    tensors, facts = _read(path, "maskdepth-weights", ModelError, remedy)
    metadata = {name: value for name, value in facts.items() if isinstance(value, str)}
    if metadata.keys() != facts.keys():
        odd = min(facts.keys() - metadata.keys())
        raise ModelError(f"texts in the header of {path}", f"another {odd[:80]!r}", remedy)
    try:
        model = build_model(metadata.get("preset", "")[:80])
    except ConfigError as error:
        raise ModelError(f"{error.expected} in {path}", error.got, remedy) from None
    tensors = {
        name: tensor.float() if tensor.dtype == torch.float16 else tensor
        for name, tensor in tensors.items()
    }
    _check_tensors(model.state_dict(), tensors, ModelError, str(path), remedy)
    _fill(model.state_dict(), tensors)
    return model.eval(), metadata


def save_state(path: Path, state: TrainingState) -> None:
    """Write a state, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    _write(path, "maskdepth-state", state.tensors, state.facts.model_dump(mode="json"))


def load_state(path: Path) -> TrainingState:
    """Read a state.

    Raises:
        TrainingError: the file is missing, damaged or of another version, or was edited so that it
            is none of a run.
    """
    tensors, values = _read(path, "maskdepth-state", TrainingError, _ANEW)
    try:
        facts = RunFacts.parse(values, str(path))
    except ConfigError as error:
        raise TrainingError(error.expected, error.got, _ANEW) from None
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
    saved = _flat(state.facts.config.model_dump(mode="json", exclude_unset=True))
    ours = _flat(config.model_dump(mode="json"))
    for key in [*ours, *saved]:
        if saved.get(key) != ours.get(key):
            raise ConfigError(
                f"{key} = {saved.get(key)!r}"[:120] + ", as in the saved run",
                repr(ours.get(key)),
                "resume with the saved setting, or start another run folder",
            )
    if state.facts.fingerprint != fingerprint:
        raise DatasetError(
            f"the saved run's dataset, fingerprint {state.facts.fingerprint!r}",
            repr(fingerprint),
            "resume with the dataset as it was, or start another run folder",
        )
    return state


def capture_tensors(
    model: nn.Module, average: nn.Module | None, optimisers: Sequence[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Everything training has learned, by name: ``model.*``, ``ema.*``, ``optimiser.*``, ``rng``.

    The optimisers' memory is named after the weight it belongs to, so that it does not depend on
    the order or the grouping of the weights.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if average is not None:
        tensors |= {f"ema.{name}": value for name, value in average.state_dict().items()}
    for name, parameter, optimiser in _kept_by(model, optimisers):
        for key, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):  # SGD without momentum keeps a None
                tensors[f"optimiser.{name}.{key}"] = value
    return tensors | {"rng": torch.get_rng_state()}


def restore_tensors(
    state: TrainingState,
    model: nn.Module,
    average: nn.Module | None,
    optimisers: Sequence[torch.optim.Optimizer],
) -> None:
    """Put back what ``capture_tensors`` took, into objects made in the same way.

    Raises:
        TrainingError: the tensors do not belong to these objects.
    """
    tensors = state.tensors
    networks = {f"model.{name}": value for name, value in model.state_dict().items()}
    if average is not None:
        networks |= {f"ema.{name}": value for name, value in average.state_dict().items()}
    memory: dict[str, tuple[Tensor, torch.optim.Optimizer, str]] = {}
    for name, parameter, optimiser in _kept_by(model, optimisers):
        kept = _kept_memory(optimiser) if state.facts.step > 0 else ()
        # A weight that no loss asks for, such as depth's where only masks are learned, leaves none.
        if any(f"optimiser.{name}.{key}" in tensors for key in kept):
            memory |= {f"optimiser.{name}.{key}": (parameter, optimiser, key) for key in kept}
    shapes = {
        name: torch.zeros(()) if key == "step" else parameter
        for name, (parameter, _, key) in memory.items()
    }
    expected = {**networks, **shapes, "rng": torch.get_rng_state()}
    _check_tensors(expected, tensors, TrainingError, "the saved state", _ANEW)
    _fill(networks, tensors)
    for name, (weight, optimiser, key) in memory.items():
        value = tensors[name]
        # AdamW counts its steps on the CPU, unless one kernel does all of its work.
        counted = key == "step" and not optimiser.defaults.get("fused")
        optimiser.state[weight][key] = value if counted else _placed_like(weight, value)
    try:
        torch.set_rng_state(tensors["rng"])
    except RuntimeError as error:
        raise TrainingError(
            "a random generator in the saved state", first_line(error), _ANEW
        ) from None


def _kept_memory(optimiser: torch.optim.Optimizer) -> tuple[str, ...]:
    """What an optimiser remembers of each weight once it has taken a step."""
    if isinstance(optimiser, torch.optim.AdamW):
        return ("step", "exp_avg", "exp_avg_sq")
    if isinstance(optimiser, torch.optim.SGD) and not optimiser.defaults["momentum"]:
        return ()
    return ("momentum_buffer",)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def _placed_like(parameter: Tensor, value: Tensor) -> Tensor:
    """A tensor of the optimiser's memory where the optimiser would have put it."""
    if value.dim() == 0:
        return value.to(parameter.device)
    placed = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
    return placed.copy_(value)  # the memory layout of the weight, not of the file


def _kept_by(
    model: nn.Module, optimisers: Sequence[torch.optim.Optimizer]
) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
    """Each weight that is learned, with its name and the optimiser that moves it."""
    movers = {
        parameter: optimiser
        for optimiser in optimisers
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        if parameter in movers:
            yield name, parameter, movers[parameter]


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
        with open_file(path), safe_open(str(path), framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            # The handle is no mapping: only its keys() lists the names.
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise error_class(f"a file at {path}", "there is none", remedy) from None
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        got = f"{first_line(error)[:200]}: it is damaged or cut short"
        raise error_class(f"a complete safetensors file at {path}", got, remedy) from None
    found = header.get("format", "another file") if isinstance(header, dict) else "another header"
    if found != kind:
        told = found[:80] if isinstance(found, str) else type(found).__name__
        raise error_class(f"{kind} in {path}", repr(told), remedy)
    check_version(header, VERSION, kind, path, error_class)
    if not isinstance(header.get("facts"), dict):
        raise error_class(f"a record of facts in {path}", "none", remedy)
    _check_finite(tensors, error_class, f"in {path}", remedy)
    return tensors, header["facts"]


def find_non_finite(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """A number that is NaN or infinite of each tensor that has one, by the tensor's name."""
    odd = {
        name: value[~value.float().isfinite()]
        for name, value in tensors.items()
        if value.is_floating_point()
    }
    return {name: float(values[0]) for name, values in odd.items() if len(values)}


def _check_finite(
    tensors: Mapping[str, Tensor],
    error_class: type[MaskdepthError],
    place: str,
    remedy: str,
) -> None:
    odd = find_non_finite(tensors)
    if odd:
        name = min(odd)
        got = f"{odd[name]} in {name[:80]!r}, of {len(odd)} such tensors"
        raise error_class(f"finite numbers {place}", got, remedy)


def _check_tensors(
    expected: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    error_class: type[MaskdepthError],
    source: str,
    remedy: str,
) -> None:
    """Refuse tensors that are not of exactly the expected names, shapes and types."""
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        told = [name[:80] for name in unexpected[:3]]
        got = f"{len(missing)} missing {missing[:3]}, {len(unexpected)} unexpected {told}"
        raise error_class(f"exactly the network's tensors in {source}", got, remedy)
    for name, target in expected.items():
        value = tensors[name]
        if (value.shape, value.dtype) != (target.shape, target.dtype):
            raise error_class(
                f"{name} of {tuple(target.shape)} {target.dtype} in {source}",
                f"{tuple(value.shape)} {value.dtype}",
                remedy,
            )


@torch.no_grad()
def _fill(targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors over others of their names."""
    for name, target in targets.items():
        target.copy_(tensors[name])
