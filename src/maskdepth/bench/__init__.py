"""How fast this machine composes, trains and predicts, as JSON-able figures."""

from __future__ import annotations

from maskdepth.bench.compose import bench_compose
from maskdepth.bench.engines import bench_engines
from maskdepth.bench.materialise import bench_materialise
from maskdepth.bench.predict import bench_predict
from maskdepth.bench.train import bench_train
from maskdepth.bench.worlds import bench_worlds

__all__ = [
    "bench_compose",
    "bench_engines",
    "bench_materialise",
    "bench_predict",
    "bench_train",
    "bench_worlds",
]
