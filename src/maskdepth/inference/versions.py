"""Which version wrote a file, and that it is this one's to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskdepth.errors import MaskdepthError


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
