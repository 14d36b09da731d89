"""A model folder: networks (`model.onnx`, `model.int8.onnx`) and their card (`model.json`).

Files are checked against the card's checksums when they are loaded.

The card is plain JSON and is validated by hand: pydantic would cost more start-up time than
the checks are worth.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from maskdepth.errors import ModelError, UsageError, first_line
from maskdepth.files import file_checksum, read_text, write_text
from maskdepth.records import check_version

CARD_FILE = "model.json"
NETWORK_FILE = "model.onnx"
INT8_FILE = "model.int8.onnx"
WEIGHTS_FILE = "model.safetensors"
STATE_FILE = "state.safetensors"
ASSETS_FILE = "assets.csv"
LOG_FILE = "log.jsonl"
CARD_FORMAT = "maskdepth-model"
CARD_VERSION = 1
_LARGEST_SIDE = 4096  # px; more would fill the memory of most machines

NETWORKS = {"fp32": NETWORK_FILE, "int8": INT8_FILE}
"""The network's file by its precision."""

_REMAKE = "copy the whole model folder again, or make it anew with `maskdepth fit`"


@dataclass(frozen=True)
class ModelCard:
    """What a model folder says about itself.

    Attributes:
        preset: name of the network's architecture, e.g. ``"small"``.
        fixed_size: side in pixels of the square the network needs, or None for any size.
        training_size: side in pixels of the composites it was trained on.
        depth: what its disparity was learned from: ``"none"``, ``"synthetic only"``,
            ``"exact"``, ``"sensor"``, ``"teacher NAME"``, or several: ``"sensor, synthetic"``.
        maskdepth: version of the package that wrote the folder.
        sha256: checksum (hexadecimal) of every file of the folder, by file name.
        weights: number of weights.
        training, data, metrics: free-form records of how the model came to be.
        about: what whoever passes the model on says of it: ``licence``, ``training_data`` (what is
            unsettled about it), ``limits`` (a list of texts).
        format, version: the kind of card; only this version's own are read.
    """

    preset: str
    fixed_size: int | None
    training_size: int
    depth: str
    maskdepth: str
    sha256: dict[str, str]
    weights: int
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    format: str = CARD_FORMAT
    version: int = CARD_VERSION


def load_model_folder(path: str | Path, precision: str = "fp32") -> ModelCard:
    """Read the card of a model folder and check the network of this precision.

    Args:
        precision: ``"fp32"`` or ``"int8"``.

    Raises:
        ModelError: no such folder, no card or a broken one, another format or version,
            a network that is missing, unreadable or changed.
        UsageError: an unknown precision.
    """
    folder = Path(path)
    file = network_file(precision)
    card = read_card(folder)
    if file not in card.sha256:
        raise ModelError(
            f"a model with an {precision} network",
            f"{folder} without {file}",
            "make one with `maskdepth export MODEL --int8 DATASET`, or use fp32",
        )
    # The other files are for training on: a model may travel to the edge without them.
    check_file(folder, file, card)
    return card


def network_file(precision: str) -> str:
    """Name of the network's file.

    Raises:
        UsageError: an unknown precision.
    """
    if precision not in NETWORKS:
        raise UsageError(
            f"a precision: {' or '.join(NETWORKS)}", repr(precision), "use --precision fp32"
        )
    return NETWORKS[precision]


def read_card(folder: Path) -> ModelCard:
    """Read a model folder's card alone, without a look at the files it lists.

    Raises:
        ModelError: no such folder, no card or a broken one, another format or version.
    """
    card_path = folder / CARD_FILE
    try:
        if not folder.is_dir():
            raise ModelError(
                "a model folder",
                f"{folder}, which is {'a file' if folder.exists() else 'not there'}",
                "make one with `maskdepth fit CUTOUTS BACKGROUNDS -o MODEL` and pass MODEL",
            )
        text = read_text(card_path)
    except FileNotFoundError:
        raise ModelError(
            f"a model folder with {CARD_FILE}",
            f"{folder} has none",
            "pass a folder that `maskdepth fit` or `maskdepth train` wrote",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"a readable {card_path}", first_line(error), _REMAKE) from None
    return _parse_card(text, card_path)


def save_card(folder: Path, card: ModelCard) -> Path:
    """Write ``model.json`` atomically and return its path.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = folder / CARD_FILE
    write_text(path, json.dumps(asdict(card), indent=2) + "\n")
    return path


def load_log(path: Path) -> list[dict[str, Any]] | None:
    """The rows of a training run's log: each has its ``step``, and numbers or null by name.

    A last line that a crash has torn is left out.

    Returns:
        None where there is no log.

    Raises:
        ModelError: the log cannot be read, or a line in it is no row.
    """
    if not path.exists():
        return None
    remedy = "mend or remove that line, or remove the file: a run goes on without its old rows"
    try:
        lines = read_text(path, errors="replace").split("\n")
    except OSError as error:
        raise ModelError(f"a readable {path}", first_line(error), "move it away") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):
                break
            row = None
        if not _is_row(row):
            raise ModelError(
                f"a row of numbers with its step in {path}",
                f"{line[:60]!r} in line {number}",
                remedy,
            )
        rows.append(row)
    return rows


def check_file(folder: Path, name: str, card: ModelCard) -> None:
    """Compare a file that a card lists with its checksum there.

    Raises:
        ModelError: the file is not listed, missing, unreadable or changed.
    """
    path = folder / name
    checksum = card.sha256.get(name)
    if checksum is None:
        raise ModelError(f"{name} in the card of {folder}", "it is not listed", _REMAKE)
    try:
        found = file_checksum(path)
    except FileNotFoundError:
        raise ModelError(f"the file {path}", "it is missing", _REMAKE) from None
    except OSError as error:
        raise ModelError(f"a readable {path}", first_line(error), _REMAKE) from None
    if found != checksum:
        raise ModelError(
            f"{path} with checksum {checksum[:12]}", f"{found[:12]}: the file has changed", _REMAKE
        )


def _parse_card(text: str, path: Path) -> ModelCard:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"JSON in {path}", first_line(error), _REMAKE) from None
    if not isinstance(values, dict) or values.get("format") != CARD_FORMAT:
        found = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise ModelError(f'"format": "{CARD_FORMAT}" in {path}', repr(found)[:80], _REMAKE)
    check_version(values, CARD_VERSION, "a model folder", path, ModelError)
    known = [item.name for item in fields(ModelCard)]
    missing = [name for name in known if name not in values and name != "about"]
    unknown = [name for name in values if name not in known]
    if missing or unknown:
        got = f"missing {', '.join(missing)}" if missing else f"unknown {', '.join(unknown)}"
        raise ModelError(f"the keys of a version {CARD_VERSION} card in {path}", got, _REMAKE)
    values.setdefault("about", {})  # earlier cards have none
    for name, (kind, holds) in _RULES.items():
        if not holds(values[name]):
            raise ModelError(f"{kind} for {name!r} in {path}", repr(values[name])[:80], _REMAKE)
    return ModelCard(**values)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0  # not isinstance: True is an int too


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _LARGEST_SIDE


def _is_row(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_count(value.get("step"))
        and all(each is None or _is_number(each) for each in value.values())
    )


def _is_number(value: Any) -> bool:
    """Neither NaN nor infinite, nor an integer that no float holds."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_record(value: Any) -> bool:
    return isinstance(value, dict)


def _are_checksums(value: Any) -> bool:
    """File names without a folder, so that a card cannot point outside its own."""
    return (
        isinstance(value, dict)
        and NETWORK_FILE in value
        and all(
            isinstance(checksum, str) and _is_plain_name(name) for name, checksum in value.items()
        )
    )


def _is_plain_name(name: str) -> bool:
    return (
        PurePosixPath(name).name == name
        and PureWindowsPath(name).name == name
        and name not in ("", ".", "..")
    )


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "preset": ("a text", _is_text),
    "fixed_size": (
        f"a size of at most {_LARGEST_SIDE} px, or null",
        lambda value: value is None or _is_size(value),
    ),
    "training_size": (f"a size of at most {_LARGEST_SIDE} px", _is_size),
    "depth": ("a text", _is_text),
    "maskdepth": ("a version text", _is_text),
    "sha256": (f"checksums by file name, {NETWORK_FILE} among them,", _are_checksums),
    "weights": ("a count", _is_count),
    "training": ("a record", _is_record),
    "data": ("a record", _is_record),
    "metrics": ("a record", _is_record),
    "about": ("a record", _is_record),
}
