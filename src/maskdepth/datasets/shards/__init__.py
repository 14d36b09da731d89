"""Composites on disk: tar shards, plates stored once, and a Parquet index."""

from __future__ import annotations

from maskdepth.datasets.shards.reader import ShardReader

__all__ = ["ShardReader"]
