"""Memory that training keeps, and that strange pictures need."""

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


PEAK_OF_A_STRIP = """
import sys
from pathlib import Path
import numpy as np
from maskdepth.inference.plate.profile import profile_from_depth
from maskdepth.testing import FakeBackend

def peak() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

predictor = FakeBackend().predictor(training_size=64)
for size in (100, 400_000):  # the first loads what is loaded once
    plate = np.full((1, size, 3), 90, np.uint8)
    picture = plate.copy()
    picture[:, size // 4 : size // 2] = 220
    before = peak()
    profile = profile_from_depth(plate, np.full((1, size), 2, np.float32))
    assert predictor.predict(picture, profile).mask.any()
    assert predictor.predict(picture, plate).mask.any()
    print((peak() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no /proc")
def test_a_strip_a_pixel_high_needs_memory_by_its_pixels() -> None:
    """Windows of a share of the long side would need gigabytes for it, padded on all sides."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF_A_STRIP], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[-1]) < 150  # MB
