"""Memory that a training step frees and the next one takes again."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_TRIM_THRESHOLD: Final = -1  # of mallopt(3), and so is the next
_MMAP_THRESHOLD: Final = -3
# What glibc raises the two to by itself, at most, for whoever frees large blocks; once one is set,
# neither moves any more.
_LARGEST: Final = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Within, freed blocks of up to 32 MB stay with the process; afterwards they go back.

    A step on a CPU takes and frees some hundred MB. Linux' C library hands them back at once, and
    the system clears each page before it gives it out again: 5 to 10 % of the step. Does nothing
    where the C library is another.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):  # musl has none
        yield
        return
    _set(library, {**_LARGEST, _TRIM_THRESHOLD: -1})  # never
    try:
        yield
    finally:
        _set(library, _LARGEST)
        library.malloc_trim(0)


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)
