"""The pictures in a folder of assets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from maskdepth.errors import AssetError, first_line
from maskdepth.picture_formats import (
    DISPARITY_SUFFIX,
    HEIC_SUFFIXES,
    MILLIMETRES_SUFFIX,
    PICTURE_SUFFIXES,
)
from maskdepth.synthesis.checks import RELIEF_SUFFIX
from maskdepth.synthesis.label_facts import LABEL_SHEET

_LABEL_SUFFIXES: Final = (DISPARITY_SUFFIX, RELIEF_SUFFIX, MILLIMETRES_SUFFIX)


def list_pictures(folder: Path, kind: str) -> list[Path]:
    """Absolute paths of the pictures in a folder and below, without labels and hidden files.

    Links to folders are followed.

    Args:
        kind: name of the pictures in errors, such as ``"backgrounds"``.

    Raises:
        AssetError: the folder is missing or unreadable.
    """
    if not folder.is_dir():
        problem = f"{folder} is a file, not a folder of {kind}."
        if not folder.exists():
            problem = f"There is no folder of {kind} at {folder}."
        raise AssetError(f"a folder of {kind}", str(folder), "check the path", problem)

    def fail(error: OSError) -> None:
        reason = first_line(error)
        raise AssetError(
            f"a readable folder at {error.filename}",
            reason,
            "give yourself the right to read it",
            f"{error.filename} cannot be read: {reason}.",
        )

    found = []
    tops: list[Path] = [folder.absolute()]
    visited: set[str] = set()
    for top in tops:  # the loop appends to the list: folders that links lead to come last, once
        for at, below, names in os.walk(top, onerror=fail):
            place, real = Path(at), os.path.realpath(at)
            if real in visited:
                below.clear()
                continue
            visited.add(real)
            below[:] = sorted(name for name in below if not name.startswith("."))
            tops += [place / name for name in below if (place / name).is_symlink()]
            found += [place / name for name in names if _is_picture(name)]
    return sorted(found, key=Path.as_posix)


def _is_picture(name: str) -> bool:
    """Whether a file name is that of a picture, neither hidden nor a label."""
    return (
        not name.startswith(".")
        and not name.lower().endswith(_LABEL_SUFFIXES)
        and name != LABEL_SHEET
        and Path(name).suffix.lower() in PICTURE_SUFFIXES | HEIC_SUFFIXES
    )
