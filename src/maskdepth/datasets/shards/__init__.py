"""Composites on disk: tar shards, plates stored once, and a Parquet index."""

from __future__ import annotations

from maskdepth.datasets.shards.layout import (
    INDEX_FILE,
    MANIFEST_FILE,
    PLATE_FOLDER,
    SHARD_FOLDER,
    Encoding,
    Manifest,
    check_plate,
    check_shard,
    is_materialised,
    load_manifest,
    load_shard_record,
    shard_path,
)
from maskdepth.datasets.shards.reader import ShardReader, StoredDisparity, StoredSample
from maskdepth.datasets.shards.samples import per_composite_label
from maskdepth.datasets.shards.shard_worker import WriteJob
from maskdepth.datasets.shards.writer import write_shards

__all__ = [
    "INDEX_FILE",
    "MANIFEST_FILE",
    "PLATE_FOLDER",
    "SHARD_FOLDER",
    "Encoding",
    "Manifest",
    "ShardReader",
    "StoredDisparity",
    "StoredSample",
    "WriteJob",
    "check_plate",
    "check_shard",
    "is_materialised",
    "load_manifest",
    "load_shard_record",
    "per_composite_label",
    "shard_path",
    "write_shards",
]
