"""The Parquet index: a row a sample, so that samples can be chosen without opening shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maskdepth.datasets.shards.layout import (
    INDEX_FILE,
    SPLIT,
    Manifest,
    load_shard_record,
    sample_key,
    shard_path,
)
from maskdepth.datasets.shards.samples import cutout_ids, per_composite_label
from maskdepth.errors import DependencyError
from maskdepth.files import open_atomic
from maskdepth.records import Json
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.spec import DatasetSpec


def require_pyarrow() -> None:
    """Fail before any work if the index could not be written at the end."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "pyarrow", "scale") from None


def write_index(folder: Path, spec: DatasetSpec, manifest: Manifest) -> None:
    """Write ``index.parquet`` of finished shards; row group i is shard i."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.list_(pa.string())
    schema = pa.schema(
        [
            ("key", pa.string()),
            ("shard", pa.string()),
            ("offset", pa.int64()),
            ("bytes", pa.int64()),
            ("sha256", pa.string()),
            ("cutouts", texts),
            ("background", pa.string()),
            ("split", pa.string()),
            ("licences", texts),
            ("label", pa.string()),
            ("plate_perturbed", pa.bool_()),
        ]
    )
    with (
        open_atomic(folder / INDEX_FILE, durable=True) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for shard in range(manifest.shards):
            rows = list(_rows(folder, spec, manifest, shard))
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _rows(folder: Path, spec: DatasetSpec, manifest: Manifest, shard: int) -> Iterator[Json]:
    backgrounds = {asset.id: asset for asset in spec.backgrounds}
    cutouts = {asset.id: asset for asset in spec.cutouts}
    numbers, teacher = manifest.numbers(shard), manifest.teacher
    spans = load_shard_record(folder, shard).samples
    recipes = sample_recipes(spec.rules, spec.pool(), spec.seed, numbers.start, numbers.stop)
    for number, span, recipe in zip(numbers, spans, recipes, strict=True):
        background, pasted = backgrounds[recipe.background], cutout_ids(recipe)
        assets = [background, *(cutouts[name] for name in pasted)]
        licences = {asset.licence or "unknown" for asset in assets}
        labelled_by = teacher or (background.teacher if background.disparity else None)
        if labelled_by is not None:
            licences.add(labelled_by.licence)
        yield {
            "key": sample_key(number),
            "shard": shard_path(folder, shard).name,
            "offset": span.offset,
            "bytes": span.bytes,
            "sha256": span.sha256,
            "cutouts": list(pasted),
            "background": background.id,
            "split": SPLIT,
            "licences": sorted(licences),
            "label": per_composite_label(teacher) if teacher else background.label_kind,
            "plate_perturbed": recipe.perturbs_plate,
        }
