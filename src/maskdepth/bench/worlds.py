"""Speed of drawing scenes, on processors alone and with rays traced on a device."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from maskdepth.bench.setting import describe_machine
from maskdepth.errors import DependencyError, UsageError
from maskdepth.synthesis.worlds import FAMILIES, SCENES, Tracer, scene_pool, time_scene, trace
from maskdepth.synthesis.worlds.raycast import compiled_loop


def bench_worlds(
    *,
    size: int = 256,
    seconds: float = 20.0,
    families: Sequence[str] = FAMILIES,
    device: str | None = None,
    processes: int = 2,
) -> dict[str, Any]:
    """Draw scenes in processes, as a sample pack is drawn, and measure how many a second.

    Args:
        size: side of the square pictures, px.
        seconds: to measure for about, after the processes have started and drawn once.
        families: in turn.
        device: draw each round again with its rays traced by torch there, and compare; None: do
            not.
        processes: that draw side by side.

    Returns:
        ``scenes_per_second`` of all processes together; ``family_ms``, the median time of one
        scene of each family in one process; ``tracing_share``, the share of that time, over all
        scenes, in which rays are traced; ``scenes`` and ``seconds`` that were measured; with a
        device ``torch``: its name as ``device``, the same figures, ``ratio``, how many times as
        many scenes a second it draws, and ``ratio_bound``, how many times as many would be drawn
        if tracing took no time at all; ``size``; ``processes``; ``compiled``, whether numba
        is there to trace rays without a device; ``machine``.

    Raises:
        UsageError: an unknown family, or none; no such time; a device that is not there.
        DependencyError: a device is named and torch is not installed.
    """
    if not families or not set(families) <= set(SCENES):
        raise UsageError(f"families of {', '.join(SCENES)}", ", ".join(families), "name some")
    if not 0 <= seconds < math.inf:
        raise UsageError("seconds to measure for, 0 or more", str(seconds), "mend --seconds")
    runs = [_Run(trace)]
    if device is not None:
        try:
            from maskdepth.learning.tracing import TorchTracer
        except ModuleNotFoundError as error:
            raise DependencyError(error.name or "torch", "train") from None
        tracer = TorchTracer(device)
        runs.append(_Run(tracer))
    seed = 0
    with scene_pool(processes) as pool:
        while seed < 2 or sum(run.seconds for run in runs) < seconds:
            numbers = range(processes * seed, processes * (seed + 1))
            jobs = [(family, number, size) for family in families for number in numbers]
            for run in runs:  # in turn, so that a machine that slows down slows all of them
                started = time.perf_counter()
                took = list(pool.map(partial(time_scene, tracer=run.tracer), jobs))
                if seed:
                    run.add(jobs, took, time.perf_counter() - started)
            seed += 1
    result = runs[0].figures()
    if device is not None:
        figures = runs[1].figures()
        result["torch"] = {
            "device": tracer.device,
            **figures,
            "ratio": figures["scenes_per_second"] / result["scenes_per_second"],
            "ratio_bound": 1 / (1 - result["tracing_share"]),
        }
    compiled = compiled_loop() is not None
    common = {"size": size, "processes": processes, "compiled": compiled}
    return {**common, **result, "machine": describe_machine()}


@dataclass
class _Run:
    """Scenes drawn with one tracer, and how long they took."""

    tracer: Tracer
    seconds: float = 0.0
    times: dict[str, list[float]] = field(default_factory=dict)
    traced: float = 0.0

    def add(
        self,
        jobs: Sequence[tuple[str, int, int]],
        took: Sequence[tuple[float, float]],
        seconds: float,
    ) -> None:
        self.seconds += seconds
        for (family, _, _), (whole, traced) in zip(jobs, took, strict=True):
            self.times.setdefault(family, []).append(whole)
            self.traced += traced

    def figures(self) -> dict[str, Any]:
        count = sum(len(times) for times in self.times.values())
        return {
            "scenes": count,
            "seconds": self.seconds,
            "scenes_per_second": count / self.seconds,
            "family_ms": {
                family: 1000 * float(np.median(times)) for family, times in self.times.items()
            },
            "tracing_share": self.traced / sum(sum(times) for times in self.times.values()),
        }
