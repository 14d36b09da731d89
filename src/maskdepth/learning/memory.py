"""Memory that a training step frees and the next one takes again."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Options of mallopt(3).
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
# glibc itself raises both thresholds up to these values for a program that frees large blocks, and
# stops doing so once a program sets one of them.
_DEFAULTS: Final = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep freed blocks of up to 32 MB in the process; return them to the system at the end.

    A training step on a CPU takes and frees some hundred MB. glibc returns them at once, and the
    system clears every page before it hands the page out again, which costs 5 to 10 % of the step.
    Without glibc this does nothing.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):  # as in musl
        yield
        return
    _set_options(library, {**_DEFAULTS, _TRIM_THRESHOLD: -1})  # -1: never trim
    try:
        yield
    finally:
        _set_options(library, _DEFAULTS)
        library.malloc_trim(0)


def _set_options(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)
