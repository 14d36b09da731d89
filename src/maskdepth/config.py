"""Typed settings: a base class whose unknown keys are errors, read from and written to YAML."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maskdepth.errors import ConfigError, first_line
from maskdepth.files import read_text

LARGEST_SEED: Final = 2**63 - 1
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


class Settings(BaseModel):
    """Base of every settings class: frozen, typed, finite, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Any, source: str) -> Self:
        """Validate plain values; ``source`` names where they come from in the error.

        Raises:
            ConfigError: a key is unknown, or a value has the wrong type or range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "the top level"
            if first["type"] == "extra_forbidden":
                known = ", ".join(_fields(cls, first["loc"][:-1]))
                raise ConfigError(
                    f"only known keys in {source}",
                    f"unknown key {key!r}",
                    f"use one of: {known}" if known else "remove it",
                ) from None
            told = first["msg"].removeprefix("Value error, ").removeprefix("expected ")
            raise ConfigError(
                f"{told[:1].lower()}{told[1:]} for {key!r} in {source}",
                _SHORT.repr(first["input"]),
                "mend that value",
            ) from None

    @classmethod
    def load(cls, path: Path, **given: Any) -> Self:
        """Read settings from a YAML file; what is ``given`` stands in place of what it says.

        Raises:
            ConfigError: the file is missing, is not YAML, or does not validate.
        """
        values = _read_yaml(path)
        return cls.parse({**values, **given} if isinstance(values, dict) else values, str(path))

    def overlaid(self, path: Path) -> Self:
        """A validated copy with the values that a YAML file names, at any depth, in their places.

        Raises:
            ConfigError: the file is missing, is not YAML, or the result does not validate.
        """
        return self.parse(_merged(self.model_dump(), _read_yaml(path)), str(path))

    def with_(self, **changes: Any) -> Self:
        """A validated copy with some values replaced; ``None`` leaves a value as it is."""
        given = {key: value for key, value in changes.items() if value is not None}
        return self.parse({**self.model_dump(), **given}, "the command line")


_SHORT: Final = reprlib.Repr()  # builds no more than it shows, of whatever a file holds
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = 80


def _fields(owner: Any, keys: tuple[int | str, ...]) -> Iterable[str]:
    """The fields that lie below some keys of a settings class; none where there is no such class.

    Keys may name what is no field, as pydantic names the member of a union that it tried.
    """
    for key in keys:
        field = owner.model_fields.get(key) if _is_settings(owner) else None
        owner = field.annotation if field is not None else None
    return owner.model_fields if _is_settings(owner) else ()


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: the first would be lost, with all that lies below it."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in counts.items():
            if count > 1 and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> Any:
    """What a YAML file holds; an empty one holds no settings."""
    try:
        values = yaml.load(read_text(path), _Loader)  # noqa: S506 - a safe one
    # Tags and nesting can raise nearly anything, a date of a 13th month a ValueError.
    except (
        OSError,
        ValueError,
        LookupError,
        AttributeError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        raise ConfigError(
            f"a readable YAML file at {path}",
            f"{type(error).__name__}: {first_line(error)}",
            "check the path and its indentation",
        ) from None
    return {} if values is None else values


def _merged(below: Any, above: Any) -> Any:
    """Mappings key by key; everything else as ``above`` has it."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}
