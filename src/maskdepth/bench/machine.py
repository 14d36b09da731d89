"""The machine that a bench runs on, and the memory of a process."""

from __future__ import annotations

import math
import os
import platform
import sys
from pathlib import Path

from maskdepth._version import __version__
from maskdepth.records import Json


def describe_machine() -> Json:
    """Versions, system and processor."""
    return {
        "maskdepth": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def peak_memory_mb() -> float:
    """The most memory this process has held; NaN where the system does not tell."""
    try:
        # Where there is this file, getrusage also counts what the parent held when it forked.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 2**10
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _processor() -> str:
    """The processor's name; ``platform`` does not know it on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
