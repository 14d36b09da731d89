"""A model folder: networks (`model.onnx`, `model.int8.onnx`) and their card (`model.json`).

Files are checked against the card's checksums when they are loaded.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskdepth.errors import ModelError, UsageError, first_line
from maskdepth.files import explain_unopened, file_checksum, read_text, write_text
from maskdepth.inference.model.card import (
    DEPTH_NETWORK_FILE,
    NETWORK_FILE,
    REMAKE,
    ModelCard,
    parse_card,
)
from maskdepth.records import Json

CARD_FILE = "model.json"
DEPTH_CARD_FILE = "depth.json"
INT8_FILE = "model.int8.onnx"
WEIGHTS_FILE = "model.safetensors"
STATE_FILE = "state.safetensors"
ASSETS_FILE = "assets.csv"
LOG_FILE = "log.jsonl"
DEPTH_NETWORK_FILES = {
    NETWORK_FILE: DEPTH_NETWORK_FILE,
    CARD_FILE: DEPTH_CARD_FILE,
    WEIGHTS_FILE: "depth.safetensors",
    ASSETS_FILE: "depth_assets.csv",
}
"""Files of a model folder, and their names where that model is another's depth network."""

NETWORKS = {"fp32": NETWORK_FILE, "int8": INT8_FILE}
"""The network's file by its precision."""


def load_model_folder(path: str | Path, precision: str = "fp32") -> ModelCard:
    """Read a model folder's card and check its network of one precision.

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
            f"{folder} has no {precision} network.",
        )
    # The other files serve further training: a deployed model may lack them.
    check_file(folder, file, card)
    return card


def load_depth_card(folder: Path, card: ModelCard) -> ModelCard:
    """Read the card of a model's depth network, and check both of its files.

    Raises:
        ModelError: a file is missing, unreadable or changed, or the card is broken.
    """
    for name in (DEPTH_NETWORK_FILE, DEPTH_CARD_FILE):
        check_file(folder, name, card)
    path = folder / DEPTH_CARD_FILE
    return parse_card(read_text(path), path)


def network_file(precision: str) -> str:
    """Name of the network's file.

    Raises:
        UsageError: an unknown precision.
    """
    if precision not in NETWORKS:
        raise UsageError(
            f"a precision: {' or '.join(NETWORKS)}",
            repr(precision),
            f"use {' or '.join(NETWORKS)}",
            f"The precision {precision!r} is unknown.",
        )
    return NETWORKS[precision]


def read_card(folder: Path) -> ModelCard:
    """Read a model folder's card without checking the files that it lists.

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
                f"{folder} is {'a file, not a model folder' if folder.exists() else 'not there'}.",
            )
        text = read_text(card_path)
    except FileNotFoundError:
        if (folder / STATE_FILE).exists():
            raise ModelError(
                "a model folder",
                f"{folder}, a training that has not ended",
                "continue it: give the command that began it with --resume, such as "
                f"`maskdepth train DATASET -o {folder} --resume`",
                f"{folder} holds a training that was interrupted, and no model yet.",
            ) from None
        raise ModelError(
            f"a model folder with {CARD_FILE}",
            f"{folder} has none",
            "pass a folder that `maskdepth fit` or `maskdepth train` wrote",
            f"{folder} is no model folder: it has no {CARD_FILE}.",
        ) from None
    except OSError as error:
        problem, remedy = explain_unopened(card_path, error)
        raise ModelError(f"a readable {card_path}", first_line(error), remedy, problem) from None
    except UnicodeDecodeError as error:
        raise ModelError(f"a readable {card_path}", first_line(error), REMAKE) from None
    return parse_card(text, card_path)


def save_card(folder: Path, card: ModelCard) -> Path:
    """Write ``model.json`` atomically and return its path.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = folder / CARD_FILE
    write_text(path, json.dumps(asdict(card), indent=2) + "\n")
    return path


def load_log(path: Path) -> list[Json] | None:
    """The rows of a training run's log: each has its ``step``, and numbers or null by name.

    A last line that a crash has torn is left out.

    Returns:
        None where there is no log.

    Raises:
        ModelError: the log cannot be read, or a line in it is no row.
    """
    if not path.exists():
        return None
    remedy = "repair or remove that line, or remove the file: a run goes on without its old rows"
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
                f"{path} has no row of numbers with its step in line {number}.",
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
        raise ModelError(f"{name} in the card of {folder}", "it is not listed", REMAKE)
    try:
        found = file_checksum(path)
    except FileNotFoundError:
        raise ModelError(
            f"the file {path}", "it is missing", REMAKE, f"{path} is missing."
        ) from None
    except OSError as error:
        problem, remedy = explain_unopened(path, error)
        raise ModelError(f"a readable {path}", first_line(error), remedy, problem) from None
    if found != checksum:
        raise ModelError(
            f"{path} with checksum {checksum[:12]}",
            found[:12],
            REMAKE,
            f"{path} has changed since the model was made: its checksum is another.",
        )


def _is_row(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    step = value.get("step")
    return (
        type(step) is int  # not isinstance: True is an int too
        and step >= 0
        and all(each is None or _is_number(each) for each in value.values())
    )


def _is_number(value: Any) -> bool:
    """Neither NaN nor infinite, nor an integer that no float holds."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
