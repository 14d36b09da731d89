"""Speed of the engines that write shards, and the figures from which a large build is planned."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from maskdepth.bench.setting import (
    describe_machine,
    more_than,
    processor_seconds,
    sample_dataset,
    time_materialise,
)
from maskdepth.datasets.build import Dataset, materialise
from maskdepth.datasets.shards import INDEX_FILE
from maskdepth.datasets.shards.cluster import ray_session
from maskdepth.datasets.shards.engines import ENGINES
from maskdepth.datasets.shards.index import write_index
from maskdepth.datasets.shards.layout import load_manifest, record_path, shard_path
from maskdepth.files import file_checksum
from maskdepth.synthesis.rules import RecipeRules


def bench_engines(
    *, samples: int = 20_000, shard_size: int = 1000, size: int = 224, workers: int | None = None
) -> dict[str, Any]:
    """Write the same shards with each engine, one after the other, and compare time and bytes.

    Args:
        samples: to write with each engine.
        shard_size: samples a shard.
        size: side of the composites, px.
        workers: processes of each engine; as many as there are cores if left out.

    Returns:
        ``engines``: for each its ``start_seconds`` (until a sample of each worker was written for
        the first time), ``seconds`` for all samples, ``samples_per_second`` and
        ``cpu_ms_per_sample`` (of all processes, so that a busy machine matters less; NaN where
        there is no ``/proc``) without the start, and their ratios to the first's;
        ``same_bytes``; ``bytes_per_sample`` of shards, records and index;
        ``index_us_per_sample``, processor time of the one process that writes the index;
        ``check_us_per_sample``, processor time of comparing a shard that is there with its
        checksum; ``machine``.

    Raises:
        DependencyError: pyarrow or ray is not installed.
        UsageError: no more samples than processes.
        ConfigError: a size out of range.
    """
    processes = workers or os.cpu_count() or 1
    more_than(processes, samples)
    with tempfile.TemporaryDirectory(prefix="maskdepth-bench-") as name:
        folder = Path(name)
        spec = sample_dataset(folder, RecipeRules().with_(size=size)).spec
        rows = []
        for engine in ENGINES:
            target = Dataset(folder / engine, spec, ())
            rows.append(_time_engine(engine, target, samples, shard_size, processes))
        for row in rows:
            for figure in ("samples_per_second", "cpu_ms_per_sample"):
                row[f"{figure}_ratio"] = row[figure] / rows[0][figure]
        first = Dataset(folder / next(iter(ENGINES)), spec, ())
        began = processor_seconds()
        materialise(first, samples, shard_size=shard_size, workers=1)
        checking = processor_seconds() - began
        began = processor_seconds()
        write_index(first.folder, spec, load_manifest(first.folder))
        indexing = processor_seconds() - began
        contents = [_contents(folder / engine) for engine in ENGINES]
        shards = range(load_manifest(first.folder).shards)
        sizes = {
            "shards": [shard_path(first.folder, shard) for shard in shards],
            "records": [record_path(first.folder, shard) for shard in shards],
            "index": [first.folder / INDEX_FILE],
        }
        per_sample = {
            kind: sum(path.stat().st_size for path in paths) / samples
            for kind, paths in sizes.items()
        }
    return {
        "samples": samples,
        "shard_size": shard_size,
        "size": size,
        "workers": processes,
        "engines": rows,
        "same_bytes": all(found == contents[0] for found in contents),
        "bytes_per_sample": per_sample,
        "index_us_per_sample": 1e6 * indexing / samples,
        "check_us_per_sample": 1e6 * (checking - indexing) / samples,
        "machine": describe_machine(),
    }


def _time_engine(
    engine: str, target: Dataset, samples: int, shard_size: int, processes: int
) -> dict[str, Any]:
    began = time.perf_counter()

    def write(place: str, count: int, shard_size: int) -> tuple[float, float]:
        """Seconds, and seconds of all processors."""
        return time_materialise(
            Dataset(target.folder / place, target.spec, ()),
            count,
            shard_size=shard_size,
            workers=processes,
            engine=engine,
        )

    with ray_session(processes) if engine == "ray" else contextlib.nullcontext():
        write("start", processes, 1)
        starting = time.perf_counter() - began
        # As many shards as workers, of one sample: what a build costs besides its samples.
        idle, idle_cpu = write("idle", processes, 1)
        busy, busy_cpu = write(".", samples, shard_size)
    more = samples - processes
    return {
        "engine": engine,
        "start_seconds": starting,
        "seconds": busy,
        "samples_per_second": more / (busy - idle),
        "cpu_ms_per_sample": 1000 * (busy_cpu - idle_cpu) / more,
    }


def _contents(folder: Path) -> dict[str, str]:
    """Checksum of every file of a dataset, by its path there."""
    return {
        path.relative_to(folder).as_posix(): file_checksum(path)
        for path in folder.rglob("*")
        if path.is_file()
    }
