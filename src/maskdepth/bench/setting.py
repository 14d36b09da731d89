"""What is measured on: this machine, and a freshly drawn sample pack."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskdepth._version import __version__
from maskdepth.datasets.build import Dataset, compose_dataset, materialise
from maskdepth.errors import UsageError
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.worlds import write_sample_pack

PACK_SIZE = 8  # scenes, and cutouts: enough that the cache of assets works as usual


def describe_machine() -> dict[str, Any]:
    """Versions, system and processor."""
    return {
        "maskdepth": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def sample_dataset(folder: Path, rules: RecipeRules) -> Dataset:
    """A freshly drawn sample pack, composed."""
    pack = write_sample_pack(folder / "pack", scenes=PACK_SIZE, cutouts=PACK_SIZE)
    return compose_dataset(
        pack.cutouts, pack.backgrounds, folder / "dataset", rules=rules, small=True, depth_scenes=0
    )


def more_than(processes: int, samples: int) -> None:
    """Refuse to measure what the start of the processes alone would write.

    Raises:
        UsageError: no more samples than processes.
    """
    if samples <= processes:
        raise UsageError(
            f"more samples than the {processes} processes that write them",
            str(samples),
            "raise --samples, or lower --workers",
        )


def time_materialise(target: Dataset, count: int, **told: Any) -> tuple[float, float]:
    """Seconds, and seconds of all processors (NaN where there is no ``/proc``), of materialising.

    Args:
        told: more arguments of ``materialise``.
    """
    began, cpu_began = time.perf_counter(), processor_seconds()
    materialise(target, count, **told)
    return time.perf_counter() - began, processor_seconds() - cpu_began


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
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _processor() -> str:
    """The processor's name; ``platform`` does not know it on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def processor_seconds() -> float:
    """Of this process, of children that have ended, and of all processes below it."""
    if not Path("/proc/self/stat").exists():
        return math.nan
    tick = os.sysconf("SC_CLK_TCK")
    parents, seconds = {}, {}
    for process, fields in _processes():
        parents[process] = int(fields[1])
        seconds[process] = sum(map(int, fields[11:15])) / tick
    total, found = 0.0, [os.getpid()]
    while found:
        parent = found.pop()
        total += seconds[parent]
        found += [process for process, above in parents.items() if above == parent]
    return total


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Numbers of all processes, and the fields of their ``stat`` after the name; see proc(5)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            yield int(path.parent.name), path.read_text().rpartition(")")[2].split()
