"""Latency and memory of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from maskdepth.bench.machine import describe_machine, peak_memory_mb
from maskdepth.bench.methods import DIFFERENCE, Method, find_methods
from maskdepth.bench.prepared import PREPARED_SIZES, bench_prepared
from maskdepth.bench.timing import Call, time_in_turn
from maskdepth.errors import UsageError
from maskdepth.inference.model.locate import SHIPPED, find_model
from maskdepth.processes import WorkerPool, end_at_ctrl_c
from maskdepth.records import Json

SIZES: Final = ((224, 224), (512, 512), (1080, 1920))
_MEMORY_RUNS: Final = 3


@dataclass(frozen=True)
class Memory:
    """Memory of a process that predicts in one way alone, interpreter and libraries included.

    Attributes:
        start_mb: before the model was opened.
        peak_mb: the most at any time.
    """

    start_mb: float
    peak_mb: float


@dataclass(frozen=True)
class Latency:
    """One method on pictures of one size.

    Attributes:
        runs: how many were timed.
        median_ms, p95_ms: the median and 95th percentile of their times.
        ratio: its median over that of the first method; None where that was not measured.
    """

    model: str
    engine: str
    precision: str
    height: int
    width: int
    runs: int
    median_ms: float
    p95_ms: float
    ratio: float | None
    memory: Memory | None = None

    def as_json(self) -> Json:
        """The figures as one flat object."""
        figures = asdict(self)
        return figures | (figures.pop("memory") or {})


def bench_predict(
    models: Sequence[str | Path] = (),
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    prepared_sizes: Sequence[tuple[int, int]] = PREPARED_SIZES,
    runs: int = 50,
    threads: int | None = None,
    memory: bool = True,
) -> Json:
    """Latency and peak memory, one picture at a time, of every method that this machine has.

    Methods are ONNX Runtime, and torch and OpenVINO where they are installed, in fp32 and where
    there is one int8; the ``prior`` preset in eager torch with fresh weights; and the thresholded
    difference of picture and plate. They take turns, so that a machine that slows down slows all
    of them down.

    Args:
        models: model folders; the shipped one if there are none. Ratios are to the first one's fp32
            network on ONNX Runtime.
        sizes: heights and widths of pictures, px.
        prepared_sizes: the same, of pictures whose plate is prepared.
        runs: timed runs of each; at least 10 of those that take long.
        threads: CPU threads, all cores if left out.
        memory: also measure memory, each in a process of its own.

    Returns:
        ``networks``: the networks alone, on a pair with the plate's disparity, those of one fixed
        size at that alone; ``predictors``: from a uint8 pair in memory to a mask of its size. Both
        are lists of ``Latency`` with its ``Memory``. ``prepared``: see `bench_prepared`, of the
        first model's fp32 network on ONNX Runtime. ``missing``: sentences on methods that are
        not there; ``machine``.

    Raises:
        ModelError: a model folder is damaged or missing.
        UsageError: a number of threads or runs below 1.
    """
    if runs < 1 or (threads is not None and threads < 1):
        raise UsageError(
            "1 or more runs and threads",
            f"{runs} and {threads}",
            "",
            "Runs and threads start at 1.",
        )
    folders = [find_model(model, download=False) for model in models or [SHIPPED]]
    methods, missing = find_methods(folders)
    result: Json = {}
    for part in ("networks", "predictors"):
        rows = [
            row
            for height, width in sizes
            for row in _measure_size(methods, part, height, width, runs, threads, memory)
        ]
        result[part] = [row.as_json() for row in rows]
    result["prepared"] = bench_prepared(methods[0], runs, threads, prepared_sizes)
    machine = describe_machine() | {"threads": threads}
    return result | {"missing": missing, "machine": machine}


def _measure_size(
    methods: Sequence[Method],
    part: str,
    height: int,
    width: int,
    runs: int,
    threads: int | None,
    memory: bool,
) -> list[Latency]:
    """All methods that take pictures of a size, in turn."""
    able = [method for method in methods if _takes_part(method, part, height, width)]
    calls = [_open(method, part, height, width, threads) for method in able]
    rows: list[Latency] = []
    first = None
    for method, times_ms in zip(able, time_in_turn(calls, runs), strict=True):
        median = float(np.median(times_ms))
        if method == methods[0]:
            first = median
        rows.append(
            Latency(
                method.name,
                method.engine,
                method.precision,
                height,
                width,
                len(times_ms),
                median,
                float(np.percentile(times_ms, 95)),
                median / first if first else None,
                measure_memory(method, part, height, width, threads) if memory else None,
            )
        )
    return rows


def _takes_part(method: Method, part: str, height: int, width: int) -> bool:
    if part == "predictors":
        return True
    fits = method.fixed_size is None or height == width == method.fixed_size
    return fits and method.engine != DIFFERENCE


def _open(method: Method, part: str, height: int, width: int, threads: int | None) -> Call:
    make = method.network if part == "networks" else method.predictor
    return make(height, width, threads)


def measure_memory(
    method: Method, part: str, height: int, width: int, threads: int | None
) -> Memory:
    """The memory of a process that predicts by one method; see `bench_predict`.

    Args:
        part: ``"networks"`` or ``"predictors"``.
    """
    with WorkerPool(1, end_at_ctrl_c) as process:
        return process.submit(_run_alone, method, part, height, width, threads).result()


def _run_alone(method: Method, part: str, height: int, width: int, threads: int | None) -> Memory:
    start = peak_memory_mb()
    call = _open(method, part, height, width, threads)
    for _ in range(_MEMORY_RUNS):
        call()
    return Memory(start, peak_memory_mb())
