"""One safetensors file of named tensors beside a JSON record, and the checks when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from maskdepth.errors import MaskdepthError, first_line
from maskdepth.files import open_file, write_bytes
from maskdepth.records import Json, check_version

VERSION = 1
HEADER = "maskdepth"


@dataclass(frozen=True)
class FileKind:
    """What a file holds, and how to complain about one."""

    file_format: str
    error: type[MaskdepthError]
    remedy: str


def write_tensors(path: Path, kind: FileKind, tensors: Mapping[str, Tensor], facts: Json) -> None:
    """Write a file atomically; equal tensors and facts are equal files."""
    # One entry of metadata: safetensors writes several in an order that changes with each call.
    record = {"format": kind.file_format, "version": VERSION, "facts": facts}
    plain = {  # on the CPU, contiguous, sharing no memory, as safetensors requires
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }
    write_bytes(path, save(plain, {HEADER: json.dumps(record, ensure_ascii=False)}))


def read_tensors(path: Path, kind: FileKind) -> tuple[dict[str, Tensor], Json]:
    """Tensors and facts of a file that ``_write`` made."""
    try:
        with open_file(path), safe_open(str(path), framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            # The handle is no mapping: only its keys() lists the names.
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        problem = f"There is no file {path}."
        raise kind.error(f"a file at {path}", "none", kind.remedy, problem) from None
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        got = first_line(error)[:200]
        problem = f"{path} is damaged or cut short: {got}."
        raise kind.error(
            f"a complete safetensors file at {path}", got, kind.remedy, problem
        ) from None
    found = header.get("format") if isinstance(header, dict) else None
    if found != kind.file_format:
        got = repr(found[:80]) if isinstance(found, str) else "unknown"
        problem = f"{path} is not a file of the format {kind.file_format}; its format is {got}."
        raise kind.error(f"{kind.file_format} in {path}", got, kind.remedy, problem)
    check_version(header, VERSION, kind.file_format, path, kind.error)
    if not isinstance(header.get("facts"), dict):
        raise kind.error(f"a record of facts in {path}", "none", kind.remedy)
    check_finite(tensors, str(path), kind.error, kind.remedy)
    return tensors, header["facts"]


def find_non_finite(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """The first NaN or infinite number of each tensor that has one, by the tensor's name."""
    odd = {
        name: value[~value.float().isfinite()]
        for name, value in tensors.items()
        if value.is_floating_point()
    }
    return {name: float(values[0]) for name, values in odd.items() if len(values)}


def check_finite(
    tensors: Mapping[str, Tensor], source: str, error: type[MaskdepthError], remedy: str
) -> None:
    """Raise if a number is NaN or infinite, and name its tensor."""
    odd = find_non_finite(tensors)
    if odd:
        name = min(odd)
        got = f"{odd[name]} in {name[:80]!r}, of {len(odd)} such tensors"
        problem = f"Not all numbers in {source} are finite: {got}."
        raise error(f"finite numbers in {source}", got, remedy, problem)


def check_tensors(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str, kind: FileKind
) -> None:
    """Raise unless the tensors have exactly the expected names, shapes and types."""
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = [name[:80] for name in sorted(tensors.keys() - expected.keys())]
    if missing or unexpected:
        got = f"{len(missing)} missing {missing[:3]}, {len(unexpected)} unexpected {unexpected[:3]}"
        problem = f"The tensors in {source} are not those of the network: {got}."
        raise kind.error(f"exactly the network's tensors in {source}", got, kind.remedy, problem)
    for name, target in expected.items():
        value = tensors[name]
        if (value.shape, value.dtype) != (target.shape, target.dtype):
            raise kind.error(
                f"{name} of {tuple(target.shape)} {target.dtype} in {source}",
                f"{tuple(value.shape)} {value.dtype}",
                kind.remedy,
            )


@torch.no_grad()
def copy_tensors(targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors over others of their names."""
    for name, target in targets.items():
        target.copy_(tensors[name])
