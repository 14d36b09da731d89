"""Memory that a training step frees and the next one takes again."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Of mallopt(3): what to set, before and after.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEEP: Final = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
# glibc's own values, its thresholds as large as it makes them itself for who frees large blocks:
# once set, they no longer grow.
_GIVE_BACK: Final = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Within, what is freed stays with the process; afterwards it goes back to the system.

    A step on a CPU takes and frees some hundred MB. Linux' C library hands large blocks back at
    once, and the system clears each page of them before it gives them out again: a tenth of the
    step. Does nothing where the C library is another.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):  # musl has none
        yield
        return
    _set(library, _KEEP)
    try:
        yield
    finally:
        _set(library, _GIVE_BACK)
        library.malloc_trim(0)


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)
