"""Latency of networks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskdepth.bench.setting import describe_machine
from maskdepth.inference.model_folder import NETWORK_FILE, ModelCard, load_model_folder
from maskdepth.inference.predictor import OnnxBackend

WARM_UP_RUNS = 3


def bench_predict(
    models: Sequence[Path],
    *,
    sizes: Sequence[int] = (224, 448),
    runs: int = 50,
    threads: int | None = None,
) -> dict[str, Any]:
    """Latency of the networks alone, without reading or resizing pictures, one picture at a time.

    The models take turns, so that a machine that slows down slows all of them down.

    Args:
        models: model folders; ratios are to the first.
        sizes: sides of square pictures, px; a network of one fixed size is measured at that.
        runs: timed runs of every network and size.
        threads: CPU threads, all cores if left out.

    Returns:
        ``networks``: a list with ``model``, ``preset``, ``weights``, ``size``, ``median_ms``,
        ``p95_ms`` and ``ratio``, its median over that of the first model at the same size (None
        where the first was not measured at it); ``runs``; ``machine``.

    Raises:
        ModelError: a model folder is damaged or missing.
        UsageError: a number of threads below 1.
    """
    cards = [load_model_folder(model) for model in models]
    backends = [OnnxBackend(Path(model) / NETWORK_FILE, "cpu", threads) for model in models]
    chosen = [(card.fixed_size,) if card.fixed_size else tuple(sizes) for card in cards]
    networks: list[dict[str, Any]] = []
    for size in sorted({size for each in chosen for size in each}):
        able = [i for i, each in enumerate(chosen) if size in each]
        times = _time_in_turn([backends[i] for i in able], size, runs)
        medians = dict(zip(able, np.median(times, axis=1).tolist(), strict=True))
        for row, i in enumerate(able):
            networks.append(
                {
                    **_describe(Path(models[i]), cards[i]),
                    "size": size,
                    "median_ms": medians[i],
                    "p95_ms": float(np.percentile(times[row], 95)),
                    "ratio": medians[i] / medians[0] if 0 in medians else None,
                }
            )
    return {
        "networks": networks,
        "runs": runs,
        "machine": describe_machine() | {"threads": threads},
    }


def _time_in_turn(backends: list[OnnxBackend], size: int, runs: int) -> np.ndarray[Any, Any]:
    """Milliseconds (backend, run) for one picture with its plate and the plate's disparity."""
    random = np.random.default_rng(0)
    picture = random.random((1, 3, size, size), np.float32)
    inputs = (
        picture,
        random.random((1, 3, size, size), np.float32),
        picture[:, :1],
        np.ones((1, 2), np.float32),
    )
    times = np.zeros((len(backends), runs))
    for run in range(-WARM_UP_RUNS, runs):
        for row, backend in enumerate(backends):
            started = time.perf_counter()
            backend.run(*inputs)
            if run >= 0:
                times[row, run] = 1000 * (time.perf_counter() - started)
    return times


def _describe(model: Path, card: ModelCard) -> dict[str, Any]:
    return {"model": str(model), "preset": card.preset, "weights": card.weights}
