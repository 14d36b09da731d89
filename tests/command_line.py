"""The command line, called as users call it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Outcome(NamedTuple):
    """How a call ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def command(*arguments: str | Path) -> list[str]:
    """The call as a process of its own."""
    return [sys.executable, "-m", "maskdepth", *map(str, arguments)]
