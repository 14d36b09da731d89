"""How fast scenes are drawn on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from maskdepth.bench.setting import describe_machine
from maskdepth.errors import UsageError
from maskdepth.records import Json
from maskdepth.synthesis.worlds import FAMILIES, SCENES, scene_pool, time_scene
from maskdepth.synthesis.worlds.raycast import compiled_loop


def bench_worlds(
    *,
    size: int = 256,
    seconds: float = 20.0,
    families: Sequence[str] = FAMILIES,
    processes: int = 2,
) -> Json:
    """Draw scenes in processes, as a sample pack is drawn, and measure how many a second.

    Args:
        size: side of the square pictures, px.
        seconds: about how long to measure, after every process has drawn once.
        families: which families to draw, in turn.
        processes: how many draw side by side.

    Returns:
        ``scenes_per_second`` of all processes together; ``family_ms``, the median time of one
        scene of each family in one process; ``scenes`` and ``seconds`` that were measured;
        ``size``; ``processes``; ``compiled``, whether numba compiles the tracing of rays;
        ``machine``.

    Raises:
        UsageError: there is no such family, or none is given, or the time is none.
    """
    if not families or not set(families) <= set(SCENES):
        raise UsageError(
            f"families of {', '.join(SCENES)}",
            ", ".join(families) or "none",
            f"name some of {', '.join(SCENES)}",
            "There are no scenes of these families.",
        )
    if not 0 <= seconds < math.inf:
        raise UsageError(
            "seconds to measure for, 0 or more", str(seconds), "", "--seconds must be 0 or more."
        )
    family_s: dict[str, list[float]] = {family: [] for family in families}
    elapsed, turn = 0.0, 0
    with scene_pool(processes) as pool:
        while turn < 2 or elapsed < seconds:
            seeds = range(processes * turn, processes * (turn + 1))
            jobs = [(family, seed, size) for family in families for seed in seeds]
            started = time.perf_counter()
            times = list(pool.map(time_scene, jobs))
            if turn:  # the first turn also starts the processes
                elapsed += time.perf_counter() - started
                for (family, _, _), took in zip(jobs, times, strict=True):
                    family_s[family].append(took)
            turn += 1
    scenes = sum(map(len, family_s.values()))
    return {
        "size": size,
        "processes": processes,
        "compiled": compiled_loop() is not None,
        "scenes": scenes,
        "seconds": elapsed,
        "scenes_per_second": scenes / elapsed,
        "family_ms": {name: 1000 * float(np.median(times)) for name, times in family_s.items()},
        "machine": describe_machine(),
    }
