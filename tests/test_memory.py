"""Memory that training keeps."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

COUNT_PAGES = """
import torch
from maskdepth.learning.memory import keep_freed_memory

def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

with keep_freed_memory():
    [torch.ones(5_000_000) for _ in range(8)]  # each 4 880 pages of 4 KiB
    held = resident()
print(held - resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="this C library has no mallopt",
)
def test_freed_memory_stays_with_the_process_and_is_given_back_at_the_end() -> None:
    """In a process of its own, for the C library is everybody's."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT_PAGES], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 30_000
