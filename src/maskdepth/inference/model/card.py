"""A model's card: what its folder says about the model, and the checks of that.

The card is plain JSON and is checked by hand: pydantic would cost more start-up time than the
checks are worth.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

from maskdepth.errors import ModelError, first_line
from maskdepth.records import Json, check_version

NETWORK_FILE: Final = "model.onnx"
CARD_FORMAT: Final = "maskdepth-model"
CARD_VERSION: Final = 1
DEPTH_NETWORK_FILE: Final = "depth.onnx"
"""The network that a model asks for the depth of plates, and of pictures without one, if any."""
NO_DEPTH: Final = "none"
"""A card's ``depth`` where the network never learned any."""
REMAKE: Final = "copy the entire model folder again, or make the model again with `maskdepth fit`"
"""The remedy for damaged model folders."""

_FORMER_PRESETS: Final = {"seed": "prior"}
_MAX_SIDE_PX: Final = 4096  # more would fill the memory of most machines
# Networks lose the objects of smaller pictures: at 48x64 px the mean Dice of 32 pairs was 0.58 as
# they were, 0.965 enlarged to 160 px, and no better enlarged further.
_MIN_INPUT_SIDE: Final = 160
_MAX_LENGTH: Final = 16  # training sizes: the longest input, which bounds a narrow strip's memory


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
    training: Json = field(default_factory=dict)
    data: Json = field(default_factory=dict)
    metrics: Json = field(default_factory=dict)
    about: Json = field(default_factory=dict)
    format: str = CARD_FORMAT
    version: int = CARD_VERSION

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """The network's input size for a picture: what it was trained on, or the picture's own.

        Pictures smaller than 160 px are enlarged to it.
        """
        if self.fixed_size is not None:
            return self.fixed_size, self.fixed_size
        short, long = min(height, width), max(height, width)
        wanted = min(self.training_size, max(short, _MIN_INPUT_SIDE))
        scale = min(wanted / short, _MAX_LENGTH * self.training_size / long)
        return max(1, round(height * scale)), max(1, round(width * scale))


def present_preset(name: str) -> str:
    """The name that a preset has now: cards, configs and states keep that of their version."""
    return _FORMER_PRESETS.get(name, name)


def parse_card(text: str, path: Path) -> ModelCard:
    """A card from its JSON.

    Raises:
        ModelError: it is no card, or one of another version; ``path`` says where it lies.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"JSON in {path}", first_line(error), REMAKE) from None
    if not isinstance(values, dict) or values.get("format") != CARD_FORMAT:
        found = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise ModelError(f'"format": "{CARD_FORMAT}" in {path}', repr(found)[:80], REMAKE)
    check_version(values, CARD_VERSION, "a model folder", path, ModelError)
    names = [item.name for item in fields(ModelCard)]
    missing = [name for name in names if name not in values and name != "about"]
    unknown = [name for name in values if name not in names]
    if missing or unknown:
        got = f"missing {', '.join(missing)}" if missing else f"unknown {', '.join(unknown)}"
        raise ModelError(f"the keys of a version {CARD_VERSION} card in {path}", got, REMAKE)
    values.setdefault("about", {})  # earlier cards have none
    for name, (kind, holds) in _RULES.items():
        if not holds(values[name]):
            raise ModelError(f"{kind} for {name!r} in {path}", repr(values[name])[:80], REMAKE)
    return ModelCard(**values | {"preset": present_preset(values["preset"])})


def _is_size(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MAX_SIDE_PX


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0  # not isinstance: True is an int too


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_record(value: object) -> bool:
    return isinstance(value, dict)


def _are_checksums(value: object) -> bool:
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


_RULES: dict[str, tuple[str, Callable[[object], bool]]] = {
    "preset": ("a text", _is_text),
    "fixed_size": (
        f"a size of at most {_MAX_SIDE_PX} px, or null",
        lambda value: value is None or _is_size(value),
    ),
    "training_size": (f"a size of at most {_MAX_SIDE_PX} px", _is_size),
    "depth": ("a text", _is_text),
    "maskdepth": ("a version text", _is_text),
    "sha256": (f"checksums by file name, {NETWORK_FILE} among them,", _are_checksums),
    "weights": ("a count", _is_count),
    "training": ("a record", _is_record),
    "data": ("a record", _is_record),
    "metrics": ("a record", _is_record),
    "about": ("a record", _is_record),
}
