"""How fast this machine trains and predicts, as JSON-able figures."""

from __future__ import annotations

from maskdepth.bench.predict import bench_predict
from maskdepth.bench.stream import bench_stream, stream_table
from maskdepth.bench.train import bench_train

__all__ = ["bench_predict", "bench_stream", "bench_train", "stream_table"]
