"""Which version wrote a file, and whether it may be replaced.

Nothing is overwritten that maskdepth did not write. Before a command writes, up to three checks say
so, and the caller knows how the files of its kind show whose they are:

- `check_not_inputs`: no output is an input of the same run, under whatever name.
- `check_ownership`: outputs that exist are our own. Mostly a JSON record of a known format beside
  them shows that; `load_record` reads it.
- `check_no_other_files`: a folder that is written as one holds nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from maskdepth.errors import MaskdepthError, StorageError, UsageError
from maskdepth.files import read_text

Json = dict[str, Any]
"""A JSON object whose keys are not ours to name, or that is only passed on."""

FileId = tuple[int, int]
"""Device and inode: equal for two names of one file."""


def check_version(
    record: Mapping[str, Any],
    version: int,
    kind: str,
    place: object,
    error: type[MaskdepthError],
) -> None:
    """Raise unless a record has the version that this maskdepth reads.

    Call it before any other key is read: another version may have other keys.

    Args:
        record: has ``version`` and, from its writer, ``maskdepth``; neither is trusted.
        version: the version that is read.
        kind: the kind of file, e.g. ``"a plate profile"``.
        place: where the record is, for the message.
        error: the class of the error to raise.
    """
    found = record.get("version")
    if type(found) is not int or found != version:  # not isinstance: True is an int too
        raise error(
            f"{kind} of version {version} at {place}",
            f"version {found!r}"[:80],
            f"use the maskdepth that wrote it ({str(record.get('maskdepth', 'unknown'))[:40]})",
        )


def load_record(path: Path, file_format: str) -> Json | None:
    """A JSON object whose ``"format"`` is ``file_format``; None for every other file, or none.

    Only that key is checked: the other values are not to be trusted.
    """
    try:
        record = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("format") == file_format else None


def check_ownership(outputs: Iterable[Path], *, ours: bool) -> None:
    """Raise if writing would replace a file that maskdepth did not write.

    Args:
        outputs: paths about to be written, which belong together.
        ours: whether those that exist are known to be our own, e.g. by their record.

    Raises:
        StorageError: naming the first that exists, if they are not ours.
    """
    if ours:
        return
    for path in outputs:
        if os.path.lexists(path):  # False for a name that is too long, where Path raises
            raise StorageError(
                f"a file of maskdepth's own at {path}, or none",
                "another",
                "choose another output, or move that file away",
                f"{path} is not overwritten, since nothing shows that maskdepth wrote it.",
            )


def check_no_other_files(folder: Path, expected: Collection[str], content: str) -> None:
    """Raise if a folder holds a file besides those that are about to be written there.

    Args:
        folder: may be missing.
        expected: the names that may be there.
        content: what the folder is to hold, in words.

    Raises:
        StorageError: naming the first other file.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if others := sorted(names.difference(expected)):
        raise StorageError(
            f"only {content} in {folder}",
            others[0],
            "choose another folder",
            f"{folder} holds {others[0]}, but may hold only {content}.",
        )


def file_identities(paths: Iterable[Path]) -> frozenset[FileId]:
    """The identities of the files that exist."""
    return frozenset(found for path in paths if (found := _identity(path)) is not None)


def check_not_inputs(outputs: Iterable[Path], inputs: Set[FileId]) -> None:
    """Raise if writing one of the outputs would replace an input, under whatever name.

    Args:
        outputs: paths about to be written.
        inputs: the inputs' `file_identities`.

    Raises:
        UsageError: naming the output.
    """
    for path in outputs:
        if _identity(path) in inputs:
            raise UsageError(
                "output files apart from the inputs",
                str(path),
                "choose another output",
                f"{path} is an input, and would be overwritten.",
            )


def _identity(path: Path) -> FileId | None:
    try:
        # As a file is written: `missing/../plate.jpg` is plate.jpg once `missing` has been made.
        status = os.stat(os.path.realpath(path))
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
