"""How fast this machine trains and predicts, as JSON-able figures."""

from __future__ import annotations

from maskdepth.bench.predict import bench_predict
from maskdepth.bench.train import bench_train

__all__ = ["bench_predict", "bench_train"]
