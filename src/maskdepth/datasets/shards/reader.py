"""Reading shards; every sample is compared with its checksum."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from maskdepth.datasets.shards.layout import (
    Manifest,
    ShardRecord,
    Span,
    load_manifest,
    load_shard_record,
    sample_key,
    shard_path,
)
from maskdepth.datasets.shards.plates import PlateSquare
from maskdepth.datasets.shards.samples import BACKGROUND_MEMBER, unpack_members
from maskdepth.depth import decode_disparity
from maskdepth.errors import DatasetError, PictureError, first_line
from maskdepth.files import as_path, open_file, read_bytes
from maskdepth.images import decode_jpeg, decode_png
from maskdepth.records import Json

_PLATES_IN_MEMORY = 128


@dataclass(frozen=True, eq=False)
class StoredSample:
    """A sample of side S.

    Attributes:
        image: (S, S, 3) uint8 RGB, the picture.
        plate: (S, S, 3) uint8 RGB.
        alpha: (S, S) float32 in [0, 1].
        disparity: (S, S) float32 in [0, 1], near = 1, NaN where unknown.
        recipe: of the composite, as in the JSON.
    """

    key: str
    image: NDArray[np.uint8]
    plate: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    disparity: NDArray[np.float32]
    recipe: Json
    about: Json


class ShardReader:
    """The samples of a materialised dataset, in order or by number.

    Raises:
        DatasetError: there are no shards, or one is unfinished or of another dataset.
        UsageError: ``folder`` is no path.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        folder = as_path(folder, "a dataset folder")
        self.manifest: Manifest = load_manifest(folder)
        self._folder = folder
        self._records = [load_shard_record(folder, shard) for shard in range(self.manifest.shards)]
        for shard, record in enumerate(self._records):
            if not record.is_of(self.manifest, shard):
                raise _damaged(shard_path(folder, shard).name, "other samples")
            expected = len(self.manifest.numbers(shard))
            if len(record.samples) != expected:
                raise DatasetError(
                    f"{expected} samples in {shard_path(folder, shard).name}",
                    str(len(record.samples)),
                    "run the command that writes them again to finish them",
                )
        self._checksums = {plate.file: plate.sha256 for plate in self.manifest.plates}
        self._plate = lru_cache(maxsize=_PLATES_IN_MEMORY)(self._load_plate)

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Path]]:
        return ShardReader, (self._folder,)

    def __len__(self) -> int:
        return self.manifest.count

    def __iter__(self) -> Iterator[StoredSample]:
        """All samples in order."""
        for shard in range(self.manifest.shards):
            with self._open(shard) as file:
                for number in self.manifest.numbers(shard):
                    yield self._decode(file, shard, number)

    def __getitem__(self, number: int) -> StoredSample:
        """The sample of a number, 0 to ``len(self) - 1``."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        shard = number // self.manifest.shard_size
        with self._open(shard) as file:
            return self._decode(file, shard, number)

    def _open(self, shard: int) -> IO[bytes]:
        path = shard_path(self._folder, shard)
        try:
            return open_file(path)
        except OSError as error:
            raise _damaged(path.name, first_line(error)) from None

    def _decode(self, file: IO[bytes], shard: int, number: int) -> StoredSample:
        record: ShardRecord = self._records[shard]
        span = record.samples[number - self.manifest.numbers(shard).start]
        key = sample_key(number)
        name = f"Sample {key} of {shard_path(self._folder, shard).name}"
        packed = _read_span(file, span, name)
        try:
            members = unpack_members(packed)
            about = json.loads(members["json"])
            if about["key"] != key:
                raise _damaged(name, f"sample {str(about['key'])[:40]}")
            return StoredSample(
                key=key,
                image=_picture(members, "image"),
                plate=self._plate_of(about, members),
                alpha=decode_png(members["alpha.png"]).astype(np.float32) / np.float32(255),
                disparity=decode_disparity(decode_png(members["disparity.png"])),
                recipe=about["recipe"],
                about=about,
            )
        except (KeyError, TypeError, ValueError, tarfile.TarError, PictureError) as error:
            # The checksum is right, so it was written so: by another version, perhaps.
            raise _damaged(name, f"no usable {error}") from None

    def _plate_of(self, about: Json, members: dict[str, bytes]) -> NDArray[np.uint8]:
        if "member" in about["plate"]:
            return _picture(members, BACKGROUND_MEMBER)
        square = PlateSquare(**about["plate"])
        return square.cut(self._plate(square.file), about["size"])

    def _load_plate(self, file: str) -> NDArray[np.uint8]:
        path = self._folder / file
        try:
            data = read_bytes(path)
        except OSError as error:
            raise _damaged(file, first_line(error)) from None
        if hashlib.sha256(data).hexdigest() != self._checksums.get(file):
            raise _damaged(file, "other content")
        return np.asarray(decode_png(data), np.uint8)


class StoredDisparity(Sequence[NDArray[np.float32]]):
    """The disparity of each stored sample, float32 (S, S) in [0, 1], NaN where unknown."""

    def __init__(self, reader: ShardReader) -> None:
        self._reader = reader

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, number: Any) -> Any:
        """The disparity of the sample of a number; see ``ShardReader``."""
        return self._reader[number].disparity


def _read_span(file: IO[bytes], span: Span, name: str) -> bytes:
    if span.offset + span.bytes > os.fstat(file.fileno()).st_size:
        raise _damaged(name, "a file that ends before it")
    file.seek(span.offset)
    packed = file.read(span.bytes)
    if hashlib.sha256(packed).hexdigest() != span.sha256:
        raise _damaged(name, "other content")
    return packed


def _picture(members: dict[str, bytes], name: str) -> NDArray[np.uint8]:
    if f"{name}.png" in members:
        return np.asarray(decode_png(members[f"{name}.png"]), np.uint8)
    return decode_jpeg(members[f"{name}.jpg"])


def _damaged(name: str, got: str) -> DatasetError:
    return DatasetError(
        f"{name} as it was written",
        got,
        "remove the damaged file (with a shard, its .json) and run the command that wrote it "
        "again: `compose ... --materialise`, or `label ... --per-composite`",
        f"{name} is damaged: {got}.",
    )
