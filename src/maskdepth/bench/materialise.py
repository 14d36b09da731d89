"""Speed and size of stored samples, by encoding."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from maskdepth.bench.setting import describe_machine, more_than, sample_dataset, time_materialise
from maskdepth.datasets.build import Dataset
from maskdepth.datasets.shards import Encoding
from maskdepth.datasets.shards.layout import load_manifest, load_record
from maskdepth.errors import UsageError
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import RecipeRules

ENCODINGS = (
    Encoding(),
    Encoding(quality=90),
    Encoding(compression=3),
    Encoding(compression=6),
    Encoding(picture="png"),
    Encoding(picture="png", compression=6),
)


def bench_materialise(
    *, samples: int = 1000, size: int = 224, workers: int | None = None
) -> dict[str, Any]:
    """Write composites as shards in several encodings, and measure time and bytes.

    Each encoding writes the same composites, rendering included. The start of the worker
    processes is left out: it is measured by writing one sample a shard, and taken off.

    Args:
        samples: to write in each encoding.
        size: side of the composites, px.
        workers: processes; as many as there are cores if left out.

    Returns:
        ``encodings``: a list with the settings of each, ``samples_per_second``,
        ``cpu_ms_per_sample`` (of all processes, so that a busy machine matters less),
        ``bytes_per_sample`` (of the shards), and the ratios of these to the default's;
        ``rendering``, samples a second of one process that stores nothing; ``machine``.

    Raises:
        DependencyError: pyarrow or deflate is not installed.
        UsageError: no more samples than processes, or too few to be measured.
        ConfigError: a size out of range.
    """
    processes = workers or os.cpu_count() or 1
    more_than(processes, samples)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="maskdepth-bench-") as name:
        folder = Path(name)
        dataset = sample_dataset(folder, RecipeRules().with_(size=size))
        rendering = _rendering_rate(dataset, samples)
        # What a process does once only, such as to open the catalogue, is no encoding's.
        first = Dataset(folder / "first", dataset.spec, ())
        time_materialise(first, processes, shard_size=1, workers=processes)
        for number, encoding in enumerate(ENCODINGS):
            target = Dataset(folder / f"{number}", dataset.spec, ())
            start = Dataset(folder / f"{number}-start", dataset.spec, ())
            told: dict[str, Any] = {"encoding": encoding, "workers": processes}
            idle, idle_cpu = time_materialise(start, processes, shard_size=1, **told)
            # As many shards as processes, so that all are busy to the end.
            size_of_each = -(-samples // processes)
            busy, busy_cpu = time_materialise(target, samples, shard_size=size_of_each, **told)
            # Processor time goes by hundredths of a second.
            if busy <= idle or busy_cpu <= idle_cpu:
                raise UsageError(
                    "samples that take longer than the start of what writes them",
                    f"{samples} in {busy:.2f} s ({busy_cpu:.2f} of processors), the start "
                    f"{idle:.2f} s ({idle_cpu:.2f})",
                    "raise --samples",
                )
            shards = range(load_manifest(target.folder).shards)
            stored = sum(load_record(target.folder, shard).bytes for shard in shards)
            rows.append(
                {
                    **encoding.model_dump(),
                    "samples_per_second": (samples - processes) / (busy - idle),
                    "cpu_ms_per_sample": 1000 * (busy_cpu - idle_cpu) / (samples - processes),
                    "bytes_per_sample": stored / samples,
                }
            )
    default = rows[ENCODINGS.index(Encoding())]
    for row in rows:
        for figure in ("samples_per_second", "cpu_ms_per_sample", "bytes_per_sample"):
            row[f"{figure}_ratio"] = row[figure] / default[figure]
    return {
        "samples": samples,
        "size": size,
        "workers": processes,
        "rendering": rendering,
        "encodings": rows,
        "machine": describe_machine(),
    }


def _rendering_rate(dataset: Dataset, samples: int) -> float:
    """Samples a second of this process alone, nothing stored, the assets in memory."""
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder)
    recipes = list(sample_recipes(spec.rules, spec.pool(), spec.seed, 0, samples))
    for recipe in recipes[: max(1, samples // 10)]:
        render(recipe, spec.rules.size, catalogue)
    began = time.perf_counter()
    for recipe in recipes:
        render(recipe, spec.rules.size, catalogue)
    return samples / (time.perf_counter() - began)
