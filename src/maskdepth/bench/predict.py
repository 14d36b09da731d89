"""Latency and memory of predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from maskdepth.bench.contenders import DIFFERENCE, Contender, find_contenders
from maskdepth.bench.setting import describe_machine, peak_memory_mb
from maskdepth.errors import UsageError
from maskdepth.inference.model.locate import SHIPPED, find_model
from maskdepth.processes import WorkerPool, end_at_ctrl_c

SIZES: Final = ((224, 224), (512, 512), (1080, 1920))
WARM_UP_RUNS: Final = 3
_BUDGET_SECONDS: Final = 15.0  # of one contender at one size; the slow ones take fewer turns
_LEAST_RUNS: Final = 10
_MEMORY_RUNS: Final = 3

Call = Callable[[], object]


def bench_predict(
    models: Sequence[str | Path] = (),
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    runs: int = 50,
    threads: int | None = None,
    memory: bool = True,
) -> dict[str, Any]:
    """Latency and peak memory, one picture at a time, of all ways there are here to predict.

    Ways are ONNX Runtime, and torch and OpenVINO where they are installed, in fp32 and where there
    is one int8; the ``seed`` preset in eager torch with fresh weights; and the thresholded
    difference of picture and plate. They take turns, so that a machine that slows down slows all
    of them down.

    Args:
        models: model folders; the shipped one if there are none. Ratios are to the first one's fp32
            network on ONNX Runtime.
        sizes: heights and widths of pictures, px.
        runs: timed runs of each; at least 10 of those that take long.
        threads: CPU threads, all cores if left out.
        memory: also measure memory, each in a process of its own.

    Returns:
        ``networks``: the networks alone, on a pair with the plate's disparity, those of one fixed
        size at that alone; ``predictors``: from a uint8 pair in memory to a mask of its size. Both
        lists have ``model``, ``engine``, ``precision``, ``height``, ``width``, ``runs``,
        ``median_ms``, ``p95_ms``, ``ratio`` (its median over that of the first; None where that
        was not measured), and ``peak_mb``, the most memory of a process that does nothing else,
        the interpreter and libraries included, of which ``start_mb`` before the model was opened.
        ``missing``: in words; ``machine``.

    Raises:
        ModelError: a model folder is damaged or missing.
        UsageError: a number of threads or runs below 1.
    """
    if runs < 1 or (threads is not None and threads < 1):
        raise UsageError("1 or more runs and threads", f"{runs} and {threads}", "mend that number")
    named = models or [SHIPPED]
    folders = [find_model(model, download=False) for model in named]
    contenders, missing = find_contenders(folders)
    result: dict[str, Any] = {"networks": [], "predictors": []}
    for part, rows in result.items():
        for height, width in sizes:
            able = [one for one in contenders if _takes_part(one, part, height, width)]
            calls = [_open(one, part, height, width, threads) for one in able]
            times = _time_in_turn(calls, runs)
            first = None
            for one, taken in zip(able, times, strict=True):
                median = float(np.median(taken))
                if one == contenders[0]:
                    first = median
                row = one.describe() | {"height": height, "width": width, "runs": len(taken)}
                row |= {"median_ms": median, "p95_ms": float(np.percentile(taken, 95))}
                row["ratio"] = median / first if first else None
                if memory:
                    row |= measure_memory(one, part, height, width, threads)
                rows.append(row)
    return result | {
        "missing": missing,
        "machine": describe_machine() | {"threads": threads},
    }


def _takes_part(one: Contender, part: str, height: int, width: int) -> bool:
    if part == "predictors":
        return True
    fits = one.fixed_size is None or height == width == one.fixed_size
    return fits and one.engine != DIFFERENCE


def _open(one: Contender, part: str, height: int, width: int, threads: int | None) -> Call:
    make = one.network if part == "networks" else one.whole
    return make(height, width, threads)


def _time_in_turn(calls: Sequence[Call], runs: int) -> list[list[float]]:
    """Milliseconds of each call's runs."""
    for call in calls:
        for _ in range(WARM_UP_RUNS):
            call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(runs):
        for call, taken in zip(calls, times, strict=True):
            if len(taken) >= _LEAST_RUNS and sum(taken) > 1000 * _BUDGET_SECONDS:
                continue
            started = time.perf_counter()
            call()
            taken.append(1000 * (time.perf_counter() - started))
    return times


def measure_memory(
    one: Contender, part: str, height: int, width: int, threads: int | None
) -> dict[str, float]:
    """``start_mb`` and ``peak_mb`` of a process that predicts in one way; see `bench_predict`.

    Args:
        part: ``"networks"`` or ``"predictors"``.
    """
    with WorkerPool(1, end_at_ctrl_c) as process:
        start, peak = process.submit(_run_alone, one, part, height, width, threads).result()
    return {"start_mb": start, "peak_mb": peak}


def _run_alone(
    one: Contender, part: str, height: int, width: int, threads: int | None
) -> tuple[float, float]:
    """In a process of its own: its peak memory before and after."""
    start = peak_memory_mb()
    call = _open(one, part, height, width, threads)
    for _ in range(_MEMORY_RUNS):
        call()
    return start, peak_memory_mb()
