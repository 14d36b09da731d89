"""Time calls in turn, so that a machine that slows down slows all of them down."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

WARM_UP_RUNS: Final = 3
_MAX_SECONDS: Final = 15.0  # of one call; slow calls have fewer runs
_MIN_RUNS: Final = 10

Call = Callable[[], object]


def time_in_turn(calls: Sequence[Call], runs: int) -> list[list[float]]:
    """Milliseconds of each call's runs."""
    for call in calls:
        for _ in range(WARM_UP_RUNS):
            call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(runs):
        for call, times_ms in zip(calls, times, strict=True):
            if len(times_ms) >= _MIN_RUNS and sum(times_ms) > 1000 * _MAX_SECONDS:
                continue
            started = time.perf_counter()
            call()
            times_ms.append(1000 * (time.perf_counter() - started))
    return times
