"""One process's share of the writing: plates, and shards of samples.

An engine (see ``engines``) runs a worker's methods over many items, in this process or in others.
``writer`` decides the items and their order, once for all engines.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from maskdepth.datasets.shards.layout import (
    PLATE_FOLDER,
    SHARD_FOLDER,
    Encoding,
    Manifest,
    PlateFile,
    ShardRecord,
    Span,
    check_plate,
    check_shard,
    load_shard_record,
    record_path,
    save_record,
    shard_path,
)
from maskdepth.datasets.shards.plates import plate_file, plate_pictures
from maskdepth.datasets.shards.png import ENCODER
from maskdepth.datasets.shards.samples import encode_sample, pack_members, tar_end
from maskdepth.errors import DatasetError
from maskdepth.files import open_atomic, remove_parts, write_bytes
from maskdepth.images import encode_png
from maskdepth.labelling.checks import judge_pictures
from maskdepth.labelling.labels import describe_teacher
from maskdepth.labelling.teachers.teacher import Teacher
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.spec import DatasetSpec

_CHECK_EVERY: Final = 16  # samples; a check may cost a round trip to a file server
_SAMPLES_COMPARED: Final = 8  # between machines
_GROUP: Final = 8  # composites given to a teacher at once

Task = Literal["write_plates", "write_shard"]
Work = Callable[[Task, Sequence[Any]], Iterator[Any]]
"""Runs a worker's method on each item; results come in any order."""


@dataclass(frozen=True)
class WriteJob:
    """A dataset to write as shards; the same for all workers."""

    folder: Path
    spec: DatasetSpec
    count: int
    shard_size: int
    encoding: Encoding
    teacher: TeacherLabel | None = None

    def manifest(self, plates: Iterable[PlateFile] = ()) -> Manifest:
        """The dataset's manifest with these plates."""
        return Manifest(
            fingerprint=self.spec.fingerprint,
            size=self.spec.rules.size,
            count=self.count,
            shard_size=self.shard_size,
            encoding=self.encoding,
            png_encoder=ENCODER,
            plates=tuple(sorted(plates, key=lambda plate: plate.file)),
            teacher=self.teacher,
        )

    def remove_parts(self) -> None:
        """Remove the unfinished files of killed writers; nobody may be writing."""
        for folder in (self.folder, self.folder / SHARD_FOLDER, self.folder / PLATE_FOLDER):
            remove_parts(folder)


class Stopped(Exception):  # noqa: N818 - the error is another worker's
    """All workers were asked to stop."""


class ShardWorker:
    """One process's share of the work.

    Args:
        check: called often; raises where the work has to stop.
        teacher: labels every composite; None where the backgrounds have the labels.
    """

    def __init__(
        self,
        job: WriteJob,
        check: Callable[[], None] = lambda: None,
        teacher: Teacher | None = None,
    ) -> None:
        self._job = job
        self._teacher = teacher
        self._flagged = 0  # of the shard being written
        self._check = check
        self._catalogue = job.spec.catalogue(job.folder)

    def write_plates(self, background: str) -> list[PlateFile]:
        """Store a background's working copies, or check those of an earlier run."""
        self._check()
        asset = self._catalogue.background_asset(background)
        plates = []
        for level, picture in enumerate(plate_pictures(background, self._catalogue)):
            file = plate_file(asset, level)
            path, data = self._job.folder / file, encode_png(picture)
            digest = hashlib.sha256(data).hexdigest()
            plate = PlateFile(file=file, background=background, bytes=len(data), sha256=digest)
            if not path.exists():
                write_bytes(path, data, durable=True)
            elif not check_plate(self._job.folder, plate):
                remedy = "remove it, and run this again"
                raise DatasetError(f"{path} as it was written", "other content", remedy)
            plates.append(plate)
        return plates

    def write_shard(self, shard: int) -> None:
        """Write a shard and its record, or check those of an earlier run."""
        self._check()
        job = self._job
        manifest = job.manifest()
        numbers = manifest.numbers(shard)
        path, record_file = shard_path(job.folder, shard), record_path(job.folder, shard)
        state = check_shard(job.folder, manifest, shard)
        if state == "damaged":
            load_shard_record(job.folder, shard)  # raises with the reason if the record is damaged
            remedy = f"remove it and {record_file.name}, and run this again"
            raise DatasetError(f"{path} as it was written", "other content", remedy)
        if state == "complete":
            return
        # Not begun, unfinished (without a record), or finished by a run for fewer samples.
        checksum, spans, offset, self._flagged = hashlib.sha256(), [], 0, 0
        with open_atomic(path, durable=True) as file:
            for packed in self._samples(numbers):
                digest = hashlib.sha256(packed).hexdigest()
                spans.append(Span(offset=offset, bytes=len(packed), sha256=digest))
                checksum.update(packed)
                file.write(packed)
                offset += len(packed)
            end = tar_end(offset)
            checksum.update(end)
            file.write(end)
            self._check()  # a stopped worker leaves no shard behind
        record = ShardRecord(
            fingerprint=manifest.fingerprint,
            first=numbers.start,
            bytes=offset + len(end),
            sha256=checksum.hexdigest(),
            samples=tuple(spans),
            flagged=self._flagged,
        )
        save_record(record_file, record)

    def fingerprint(self) -> str:
        """Hash of the first samples, to compare machines by."""
        first = range(min(_SAMPLES_COMPARED, self._job.count))
        return hashlib.sha256(b"".join(self._samples(first))).hexdigest()

    def _samples(self, numbers: range) -> Iterator[bytes]:
        spec = self._job.spec
        recipes = sample_recipes(spec.rules, spec.pool(), spec.seed, numbers.start, numbers.stop)
        rendered = (render(recipe, spec.rules.size, self._catalogue) for recipe in recipes)
        for number, (composite, teacher) in zip(numbers, self._labelled(rendered), strict=True):
            if number % _CHECK_EVERY == 0:
                self._check()
            yield pack_members(
                encode_sample(number, composite, self._catalogue, self._job.encoding, teacher)
            )

    def _labelled(
        self, composites: Iterator[Composite]
    ) -> Iterator[tuple[Composite, TeacherLabel | None]]:
        """Composites with the teacher's disparity and its flags, where there is a teacher."""
        if self._teacher is None:
            yield from ((composite, None) for composite in composites)
            return
        info = self._teacher.info
        while group := list(itertools.islice(composites, _GROUP)):
            labels = judge_pictures(self._teacher, [composite.image for composite in group])
            for composite, (disparity, flags) in zip(group, labels, strict=True):
                self._flagged += bool(flags)
                labelled = replace(
                    composite, disparity=None if flags else disparity, object_depth=()
                )
                yield labelled, describe_teacher(info, flags)
