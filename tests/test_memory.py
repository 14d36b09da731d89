"""Memory that training keeps."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import torch
from maskdepth.learning.memory import keep_freed_memory

BLOCK = 25_000_000  # floats: 24 400 pages of 4 KiB

def faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(BLOCK)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

with keep_freed_memory():
    faults()
    within = faults()
    held = resident()
print(within, held - resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="this C library has no mallopt",
)
def test_a_freed_block_is_taken_again_without_new_pages_and_given_back_at_the_end() -> None:
    """In a process of its own, for the C library is everybody's."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True
    )
    faults, given_back = map(int, done.stdout.split())
    assert faults < 1_000
    assert given_back > 20_000
