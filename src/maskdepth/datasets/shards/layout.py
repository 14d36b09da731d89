"""The files of a materialised dataset, and the records that say which of them are complete.

    DATASET/shards/manifest.json         the samples asked for, and the plates; before any shard
    DATASET/shards/train-000000.tar      samples; see ``samples``
    DATASET/shards/train-000000.json     size and checksums of that shard; after it
    DATASET/plates/<checksum>-<level>.png  working copies of backgrounds; before the manifest
    DATASET/index.parquet                a row a sample; last, so with it the dataset is complete

Every file is a pure function of the spec, the count and the encoding, down to its last byte (on
the same builds of OpenCV and deflate, and CPU family). So an interrupted run can go on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import Field

from maskdepth.config import Settings
from maskdepth.errors import ConfigError, DatasetError, first_line
from maskdepth.files import file_checksum, read_text, write_bytes
from maskdepth.synthesis.label_facts import TeacherLabel

SHARD_FOLDER: Final = "shards"
PLATE_FOLDER: Final = "plates"
MANIFEST_FILE: Final = "manifest.json"
INDEX_FILE: Final = "index.parquet"
SPLIT: Final = "train"
_VERSION: Final = 1

_Record = TypeVar("_Record", "Manifest", "ShardRecord")


class Encoding(Settings):
    """How samples are stored; the defaults were measured, see the page on storage.

    Attributes:
        picture: of the picture and of a perturbed plate. JPEG loses a little, PNG nothing.
        quality: of JPEG.
        compression: of the PNG members: libdeflate's level.
    """

    picture: Literal["jpeg", "png"] = "jpeg"
    quality: int = Field(95, ge=1, le=100)
    compression: int = Field(1, ge=1, le=9)

    @property
    def suffix(self) -> str:
        """``jpg`` or ``png``: the last part of a picture's member."""
        return "jpg" if self.picture == "jpeg" else "png"


class PlateFile(Settings):
    """A stored working copy: its path in the dataset folder, its background, size and checksum."""

    file: str
    background: str
    bytes: int
    sha256: str


class Manifest(Settings):
    """How a dataset was materialised.

    Attributes:
        fingerprint: of the spec.
        size: side of the samples, px.
        count: training samples asked for.
        shard_size: samples a shard; the last may have fewer.
        png_encoder: deflated the PNG members; OpenCV did where the manifest names none.
        plates: that samples refer to.
        teacher: labelled each composite; None where the disparity is the background's with the
            objects' layers.
    """

    format: Literal["maskdepth-shards"] = "maskdepth-shards"
    version: int = _VERSION
    fingerprint: str
    size: int = Field(ge=1)
    count: int = Field(ge=1)
    shard_size: int = Field(ge=1)
    encoding: Encoding
    png_encoder: Literal["opencv", "isal", "zlib", "libdeflate"] = "opencv"
    plates: tuple[PlateFile, ...]
    teacher: TeacherLabel | None = None

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.count // self.shard_size)

    def numbers(self, shard: int) -> range:
        """The numbers of the samples in a shard."""
        first = shard * self.shard_size
        return range(first, min(first + self.shard_size, self.count))


class Span(Settings):
    """A sample's bytes in its shard: from its first member's header to the next sample's."""

    offset: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str


class ShardRecord(Settings):
    """Size and checksum of a finished shard and of each sample in it, in their order.

    Attributes:
        fingerprint: of the spec; None in the first version's shards.
        first: number of the first sample; None in the first version's shards.
        flagged: samples whose map from a teacher is flagged, so that their disparity is unknown.
    """

    format: Literal["maskdepth-shard"] = "maskdepth-shard"
    version: int = _VERSION
    fingerprint: str | None = None
    first: int | None = None
    bytes: int
    sha256: str
    samples: tuple[Span, ...]
    flagged: int = 0

    def is_of(self, manifest: Manifest, shard: int) -> bool:
        """Whether this is the record of that shard of that dataset, as far as it says."""
        own = (manifest.fingerprint, manifest.numbers(shard).start)
        return (self.fingerprint, self.first) in (own, (None, None))


def sample_key(number: int) -> str:
    """A sample's key; without dots, since a dot separates it from the member's kind."""
    return f"{number:09d}"


def shard_path(folder: Path, shard: int) -> Path:
    """The tar file of a shard; its record has the suffix ``.json``."""
    return folder / SHARD_FOLDER / f"{SPLIT}-{shard:06d}.tar"


def record_path(folder: Path, shard: int) -> Path:
    """The record of a shard."""
    return shard_path(folder, shard).with_suffix(".json")


def manifest_path(folder: Path) -> Path:
    """The manifest of a dataset folder."""
    return folder / SHARD_FOLDER / MANIFEST_FILE


def is_materialised(folder: Path) -> bool:
    """Whether shards were begun in a dataset folder."""
    return manifest_path(folder).is_file()


def load_manifest(folder: Path) -> Manifest:
    """Read a materialised dataset's manifest.

    Raises:
        DatasetError: there is none, or it is damaged or of another version.
    """
    if not is_materialised(folder):
        raise DatasetError(
            f"shards in {folder}",
            "none",
            "write them with `maskdepth compose CUTOUTS BACKGROUNDS -o DATASET --materialise N`",
            f"There are no shards in {folder}.",
        )
    remedy = f"remove {folder / SHARD_FOLDER} and materialise again"
    return _load(Manifest, manifest_path(folder), remedy)


def load_shard_record(folder: Path, shard: int) -> ShardRecord:
    """Read a finished shard's record."""
    path = record_path(folder, shard)
    remedy = f"remove {path.name} if it is there, and run the command that writes the shards again"
    return _load(ShardRecord, path, remedy)


def save_record(path: Path, record: Manifest | ShardRecord) -> None:
    """Write a record, durably; the same record makes the same bytes."""
    text = json.dumps(record.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode(), durable=True)


def check_shard(folder: Path, manifest: Manifest, shard: int) -> str:
    """The state of a shard: ``complete``, ``unfinished`` (or not begun), ``damaged``."""
    path = shard_path(folder, shard)
    if not path.exists() or not path.with_suffix(".json").exists():
        return "unfinished"
    try:
        record = load_shard_record(folder, shard)
    except DatasetError:
        return "damaged"
    if not record.is_of(manifest, shard):
        return "damaged"
    if len(record.samples) != len(manifest.numbers(shard)):
        return "unfinished"
    return "complete" if _has_checksum(path, record.sha256) else "damaged"


def check_plate(folder: Path, plate: PlateFile) -> bool:
    """Whether a stored plate is there as it was written."""
    return _has_checksum(folder / plate.file, plate.sha256)


def _has_checksum(path: Path, checksum: str) -> bool:
    try:
        return file_checksum(path) == checksum
    except OSError:  # missing, a folder, unreadable
        return False


def _load(kind: type[_Record], path: Path, remedy: str) -> _Record:
    try:
        values = json.loads(read_text(path))
        version = values.get("version")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        got = first_line(error) if isinstance(error, OSError) else "other content"
        problem = f"The record {path} cannot be read: {got}."
        raise DatasetError(f"a readable record at {path}", got, remedy, problem) from None
    if version != _VERSION:
        remedy = "use the maskdepth that wrote it, or materialise into another folder"
        raise DatasetError(f"version {_VERSION} in {path}", f"version {version}", remedy)
    try:
        return kind.parse(values, str(path))
    except ConfigError as error:
        raise DatasetError(error.expected, error.got, remedy) from None
