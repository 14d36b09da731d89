"""A path that leads nowhere is a wrong argument, whichever command finds that, and however late."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path

from maskdepth.errors import DependencyError, MaskdepthError, StorageError, UsageError

_OUTPUTS = ("output", "report", "sheet", "store")  # how the names of paths to write begin
_TEXTS = frozenset({"model", "background", "start", "teacher"})  # a path, or another name
_TEACHER_FILES = (".onnx", ".json", ".h5")
_SHIPPED = "shipped"  # `inference.model.locate` has it too; --help must not wait for that


def check_missing_paths(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with a `UsageError` where it fails and a path it was to read leads nowhere."""

    @wraps(command)
    def call(**arguments: object) -> None:
        try:
            command(**arguments)
        except (UsageError, DependencyError, StorageError):
            raise
        except MaskdepthError as error:
            if all(os.path.lexists(path) for path in _paths_to_read(arguments)):
                raise
            raise UsageError(error.expected, error.got, error.remedy, error.problem) from error

    return call


def _paths_to_read(arguments: Mapping[str, object]) -> Iterator[str | Path]:
    for name, given in arguments.items():
        for value in given if isinstance(given, list) else [given]:
            if name.startswith(_OUTPUTS) or str(value) == _SHIPPED:
                continue
            if isinstance(value, Path):
                yield value
            elif isinstance(value, str) and name in _TEXTS:
                path = value.removeprefix("densedepth:").removeprefix("densedepth-kitti:")
                is_path = name != "teacher" or path.endswith(_TEACHER_FILES)
                # With --download, a text is more likely the name of a model on the hub.
                if is_path and not arguments.get("download"):
                    yield path
