"""``licences.csv``: where pictures come from, their licences, and which of them are panoramas."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from maskdepth.errors import first_line
from maskdepth.files import normal_name, read_text
from maskdepth.synthesis.checks import Finding

_LICENCES_FILE: Final = "licences.csv"
_PANORAMA_FOLDER: Final = "panoramas"
_PANORAMA: Final = "equirectangular"
_PROJECTIONS: Final = ("", "perspective", _PANORAMA)


class Entry(NamedTuple):
    """What a table says of a file; None where it says nothing."""

    source: str | None = None
    licence: str | None = None
    projection: str | None = None


class LicenceTables:
    """The tables of a folder of pictures, each read when it is first asked for.

    Args:
        top: the folder, absolute.
        findings: receives remarks on tables that cannot be used.
    """

    def __init__(self, top: Path, findings: list[Finding]) -> None:
        self.top = top
        self._findings = findings
        self._tables: dict[Path, dict[str, Entry]] = {}

    def entry(self, path: Path) -> Entry:
        """What the nearest table that names a file says; the last one is above the folder."""
        for place in path.parents:
            if place not in self._tables:
                self._tables[place] = _load_table(place / _LICENCES_FILE, self._findings)
            entry = self._tables[place].get(normal_name(path.relative_to(place).as_posix()))
            if entry is not None:
                return entry
            if place == self.top.parent:
                break
        return Entry()

    def find_panoramas(self, paths: Iterable[Path]) -> set[Path]:
        """The pictures that somebody called panoramas: by a table's column ``projection``, or by
        putting them into a folder of that name.
        """
        return {path for path in paths if self._is_panorama(path)}

    def _is_panorama(self, path: Path) -> bool:
        projection = self.entry(path).projection
        if projection is not None:
            return projection == _PANORAMA
        folders = (self.top.name, *path.relative_to(self.top).parent.parts)
        return _PANORAMA_FOLDER in {folder.casefold() for folder in folders}


def _load_table(path: Path, findings: list[Finding]) -> dict[str, Entry]:
    """Entries by file; none if there is no such table, or it is not readable."""
    if not path.exists():
        return {}
    try:
        table = csv.DictReader(read_text(path, "utf-8-sig").splitlines())
        if "file" not in (table.fieldnames or ()):
            raise csv.Error("its first line does not name file,source,licence with commas")
        rows = [row for row in table if row.get("file")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        findings.append(Finding(str(path), "licences unusable", first_line(error), False))
        return {}
    entries = {}
    for row in rows:
        projection = (row.get("projection") or "").strip().casefold()
        if projection not in _PROJECTIONS:
            detail = f"{row['file']} has the projection {projection!r}, which is none of "
            detail += f"{_PANORAMA} and perspective"
            findings.append(Finding(str(path), "licences unusable", detail, False))
            projection = ""
        entries[normal_name(row["file"])] = Entry(
            row.get("source") or None, row.get("licence") or None, projection or None
        )
    return entries
