"""What is in a folder or fits a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from maskdepth.errors import UsageError, first_line
from maskdepth.files import explain_unopened
from maskdepth.picture_formats import PICTURE_SUFFIXES


def list_folder(folder: Path) -> list[Path]:
    """What lies in a folder, in the order of names, without what is hidden.

    Raises:
        UsageError: the folder cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if paths:
            paths[0].lstat()  # A folder can be listable while its files are out of reach.
        return paths
    except OSError as error:
        reason = first_line(error)
        raise UsageError(
            f"a readable folder at {folder}",
            reason,
            "check its permissions",
            f"The folder {folder} cannot be read: {reason}.",
        ) from None


def list_pattern(pattern: str) -> list[Path]:
    """The files and folders of a pattern, in the order of their paths.

    Raises:
        UsageError: the text is no pattern.
    """
    if not glob.has_magic(pattern):
        raise UsageError(
            "a picture, a folder or a pattern",
            f"no {pattern}",
            "",
            f"{pattern or 'An empty path'} does not exist.",
        )
    # Path.glob takes no absolute patterns.
    return sorted(Path(path) for path in glob.glob(pattern, recursive=True))  # noqa: PTH207


def picture_files(paths: Iterable[Path]) -> list[Path]:
    """Those that are files with the suffix of a picture."""
    return [path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES and is_file(path)]


# os.path answers for files out of reach and for circles of links, where Path raises.


def real_path(path: Path) -> Path:
    """The path without links."""
    return Path(os.path.realpath(path))


def is_file(path: Path) -> bool:
    """Whether a file is there; False where nobody can tell."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str) -> bool:
    """Whether a folder is there; False where nobody can tell."""
    return os.path.isdir(path)  # noqa: PTH112


def exists(path: str) -> bool:
    """Whether something is there, be it a link that leads nowhere.

    Raises:
        UsageError: a folder on the way to it may not be entered.
    """
    try:
        os.lstat(path)
    except PermissionError as error:
        problem, remedy = explain_unopened(path, error)
        raise UsageError(f"a readable {path}", first_line(error), remedy, problem) from None
    except (OSError, ValueError):
        return False
    return True
