"""Who wrote a file: that it is this version's to read, and maskdepth's own to replace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maskdepth.errors import MaskdepthError, StorageError
from maskdepth.files import read_text

Json = dict[str, Any]
"""A JSON object whose keys are not ours to name, or that is only passed on."""


def check_version(
    record: Mapping[str, Any],
    version: int,
    what: str,
    place: object,
    error: type[MaskdepthError],
) -> None:
    """Refuse a record that another version of its format wrote.

    To be called before other keys are looked at: another version's may rightly be others.

    Args:
        record: has ``version`` and, from its writer, ``maskdepth``; neither is trusted.
        what, place: the file in words, and where it is.
        error: what is raised.
    """
    found = record.get("version")
    if type(found) is not int or found != version:  # not isinstance: True is an int too
        raise error(
            f"{what} of version {version} at {place}",
            f"version {found!r}"[:80],
            f"use the maskdepth that wrote it ({str(record.get('maskdepth', 'unknown'))[:40]})",
        )


def refuse_foreign(outputs: Iterable[Path], record: Path, form: str) -> None:
    """Stop if writing would replace files that maskdepth did not write.

    Outputs that lie together come with a JSON that says of what format it is: with it they are all
    taken for maskdepth's own, without it for somebody's.

    Args:
        outputs: paths about to be written.
        record: that JSON, one of them.
        form: the ``"format"`` that it has to have.

    Raises:
        StorageError: naming the first that is there.
    """
    if load_own(record, form) is not None:
        return
    for path in outputs:
        if os.path.lexists(path):  # which a name that is too long does not
            got = "another" if path == record else f"one without its {record.name} of maskdepth"
            raise StorageError(
                f"no file but one of maskdepth's own at {path}",
                got,
                "choose another output, or move that file away",
            )


def load_own(path: Path, form: str) -> dict[str, Any] | None:
    """A JSON that says it is of a format, whose other keys are not to be trusted; else None."""
    try:
        record = json.loads(read_text(path))
        return record if isinstance(record, dict) and record.get("format") == form else None
    except (OSError, ValueError, RecursionError):
        return None
