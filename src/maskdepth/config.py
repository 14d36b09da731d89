"""Typed settings, read from YAML: unknown keys are errors."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from maskdepth.errors import ConfigError, first_line
from maskdepth.files import explain_unopened, read_text

LARGEST_SEED: Final = 2**63 - 1
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


class Settings(BaseModel):
    """Base of every settings class: frozen, without unknown keys or numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Any, source: str) -> Self:
        """Validate plain values.

        Args:
            values: a mapping, as YAML and JSON give it.
            source: where the values are from, for the error.

        Raises:
            ConfigError: a key is unknown, or a value has the wrong type or range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _config_error(cls, error.errors()[0], source) from None

    def overlaid(self, path: Path) -> Self:
        """A validated copy with the values of a YAML file, which may be nested, replaced.

        Raises:
            ConfigError: the file is missing, is not YAML, or the result does not validate.
        """
        return self.parse(merge_settings(self.model_dump(), read_yaml(path)), str(path))

    def with_(self, **changes: Any) -> Self:
        """A validated copy with some values replaced; ``None`` leaves a value as it is."""
        given = {key: value for key, value in changes.items() if value is not None}
        return self.parse({**self.model_dump(), **given}, "the command line")


_SHORT: Final = reprlib.Repr()  # a file may hold values whose full text fills the memory
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = 80


def _config_error(owner: type[Settings], first: ErrorDetails, source: str) -> ConfigError:
    """The first of pydantic's complaints about a settings class."""
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        keys = ", ".join(_fields(owner, first["loc"][:-1]))
        return ConfigError(
            f"only known keys in {source}",
            f"unknown key {key!r}",
            f"use one of: {keys}" if keys else "remove it",
            f"{source} has the unknown key {key!r}.",
        )
    if first["type"] == "missing":
        return ConfigError(
            f"the key {key!r} in {source}", "none", "add it", f"{source} lacks the key {key!r}."
        )
    message = first["msg"].removeprefix("Value error, ")
    value = _SHORT.repr(first["input"])
    place = f"{key!r} in {source}" if key else source
    problem = None
    if first["type"] in ("model_type", "dict_type"):  # the words are Python's
        problem = f"{place} is {value}, but should be lines of the form `key: value`."
    elif message.startswith("Input should "):
        problem = f"{place} is {value}, but {message.removeprefix('Input ')}."
    elif key and first["type"] == "value_error":  # our own validators name what they expect
        problem = f"{place} is {value}, but should be {message}."
    return ConfigError(
        f"{message[:1].lower()}{message[1:]} {'for' if key else 'in'} {place}",
        value,
        "correct that value",
        problem,
    )


def _fields(owner: Any, keys: tuple[int | str, ...]) -> Iterable[str]:
    """The fields of the settings class below some keys of another; empty if there is none.

    Some keys name no field: pydantic adds the member of a union that it tried.
    """
    for key in keys:
        field = owner.model_fields.get(key) if _is_settings(owner) else None
        owner = field.annotation if field is not None else None
    return owner.model_fields if _is_settings(owner) else ()


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


class _Loader(yaml.SafeLoader):
    """A safe loader that rejects a repeated key: the first one's values would be lost."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in counts.items():
            if count > 1 and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; {} if it is empty.

    Raises:
        ConfigError: the file is missing, or is not YAML.
    """
    try:
        values = yaml.load(read_text(path), _Loader)  # noqa: S506 - it is a safe loader
    except OSError as error:
        problem, remedy = explain_unopened(path, error)
        expected = f"a readable YAML file at {path}"
        raise ConfigError(expected, first_line(error), remedy, problem) from None
    # Tags and nesting can raise nearly anything, a date of a 13th month a ValueError.
    except (
        ValueError,
        LookupError,
        AttributeError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(
            f"a readable YAML file at {path}",
            reason,
            "check the path and the file's indentation",
            f"The settings file {path} cannot be read as YAML: {reason}.",
        ) from None
    return {} if values is None else values


def merge_settings(below: Any, above: Any) -> Any:
    """``below`` with the values of ``above``: mappings are merged by key, the rest replaced."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: merge_settings(below.get(key), value) for key, value in above.items()}}
