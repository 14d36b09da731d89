"""Memory that is free again, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def return_free_memory() -> None:
    """Give free memory back, which glibc keeps for later. Other C libraries are left alone."""
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # musl has none
        library.malloc_trim(0)
