"""Outputs that grow for minutes or hours: under another name until they are complete.

``OUT.partial`` can be played or read at any moment, also after the process was killed, and a later
run can go on from it. ``OUT.partial.json`` beside it records what it was made of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from maskdepth.errors import StorageError, UsageError
from maskdepth.files import make_folder, write_text
from maskdepth.records import load_record

_FORMAT: Final = "maskdepth-partial"
_VERSION: Final = 1


class PartialFile:
    """A file that takes its name when it is complete.

    Args:
        path: its name then.
        settings: what it is made of, by words such as ``"plate"``; only a run with the same may go
            on with it.
        resume: whether to go on with what an interrupted run left, if it left anything.

    Attributes:
        path: as above.
        part: where it grows.
        earlier: what an interrupted run left; None where there is nothing. It gets a name of its
            own when `begin` is called, and goes when `drop_earlier` is.

    Raises:
        StorageError: an interrupted run left something, and this one is not to resume it.
        UsageError: it was made of something else.
    """

    def __init__(self, path: Path, settings: Mapping[str, str], *, resume: bool) -> None:
        self.path = path
        self.part = path.with_name(f"{path.name}.partial")
        self._record = path.with_name(f"{path.name}.partial.json")
        self._settings = dict(settings)
        self._kept = path.with_name(f"{path.name}.partial.kept")
        # Where both are there, a run was killed while it copied the kept one.
        self.earlier = next((each for each in (self._kept, self.part) if each.is_file()), None)
        if self.earlier is None:
            return
        if not resume:
            raise interrupted_run(path, self.earlier)
        record = load_record(self._record, _FORMAT) or {}
        check_settings(path, record.get("settings"), self._settings)

    def begin(self) -> Path:
        """Make its folder and record; returns where to write."""
        make_folder(self.part.parent)
        if self.earlier == self.part:
            os.replace(self.part, self._kept)
            self.earlier = self._kept
        record = {"format": _FORMAT, "version": _VERSION, "settings": self._settings}
        write_text(self._record, json.dumps(record, indent=2) + "\n")
        return self.part

    def drop_earlier(self) -> None:
        """Remove what an interrupted run left, once it is copied."""
        if self.earlier is not None:
            self.earlier.unlink(missing_ok=True)
            self.earlier = None

    def finish(self) -> None:
        """Give the file its name."""
        os.replace(self.part, self.path)
        self._record.unlink(missing_ok=True)


def interrupted_run(path: Path, left: Path) -> StorageError:
    """The error where a new run would replace what an interrupted one left."""
    return StorageError(
        f"no interrupted run at {path}",
        str(left),
        f"add --resume to go on with it, or remove {left.name} to begin again",
        f"An interrupted run left {left}.",
    )


def check_settings(path: Path, recorded: object, settings: Mapping[str, str]) -> None:
    """Check that an interrupted run had the same settings as this one.

    Raises:
        UsageError: naming the first that differs.
    """
    earlier = recorded if isinstance(recorded, dict) else {}
    for name, value in settings.items():
        if earlier.get(name) != value:
            raise UsageError(
                f"the {name} of the interrupted run: {earlier.get(name)}",
                value,
                "resume with the same, or name another output",
                f"The interrupted run at {path} had another {name}.",
            )
