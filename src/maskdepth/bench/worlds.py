"""Speed of drawing scenes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskdepth.bench.setting import describe_machine
from maskdepth.errors import UsageError
from maskdepth.synthesis.worlds import FAMILIES, SCENES, scene_pool, time_scene


def bench_worlds(
    *, size: int = 256, seconds: float = 20.0, families: Sequence[str] = FAMILIES
) -> dict[str, Any]:
    """Draw scenes in two processes, as a sample pack is drawn, and measure how many a second.

    Args:
        size: side of the square pictures, px.
        seconds: to measure for about, after the processes have started and drawn once.
        families: in turn.

    Returns:
        ``scenes_per_second`` of both processes together; ``family_ms``, the median time of one
        scene of each family in one process; ``scenes`` and ``seconds`` that were measured;
        ``size``; ``processes``; ``machine``.

    Raises:
        UsageError: an unknown family, or none.
    """
    if not families or not set(families) <= set(SCENES):
        raise UsageError(f"families of {', '.join(SCENES)}", ", ".join(families), "name some")
    times: dict[str, list[float]] = {family: [] for family in families}
    started, count, seed = 0.0, 0, 0
    with scene_pool() as pool:
        while seed < 2 or time.perf_counter() - started < seconds:
            if seed == 1:
                started = time.perf_counter()
            jobs = [(family, 2 * seed + half, size) for family in families for half in (0, 1)]
            for (family, _, _), took in zip(jobs, pool.map(time_scene, jobs), strict=True):
                if seed:
                    times[family].append(took)
                    count += 1
            seed += 1
        lasted = time.perf_counter() - started
    return {
        "size": size,
        "processes": 2,
        "scenes": count,
        "seconds": lasted,
        "scenes_per_second": count / lasted,
        "family_ms": {family: 1000 * float(np.median(took)) for family, took in times.items()},
        "machine": describe_machine(),
    }
