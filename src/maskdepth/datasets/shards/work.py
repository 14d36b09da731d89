"""What is to be written, the worker that writes it item by item, and what an engine is.

An engine runs a worker's methods over many items, somewhere: see ``engines``. What there is to do,
in which order, and what is done already is decided in ``writer``, once for all engines.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

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
    load_record,
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
from maskdepth.labelling.checks import judge_label
from maskdepth.labelling.labels import describe_teacher
from maskdepth.labelling.teachers.teacher import Teacher, checked_maps
from maskdepth.locks import HeldLock
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.spec import DatasetSpec

# Between two looks at whether to stop: a look may cost a round trip to a file server.
_SAMPLES_UNASKED: Final = 16
_SAMPLES_COMPARED: Final = 8
_GROUP: Final = 8  # composites given to a teacher at once

Task = Literal["write_plates", "write_shard"]
Work = Callable[[Task, Sequence[Any]], Iterator[Any]]
"""Runs a worker's method on each item; results come in any order."""


@dataclass(frozen=True)
class Job:
    """What is to be written; the same for all workers."""

    folder: Path
    spec: DatasetSpec
    count: int
    shard_size: int
    encoding: Encoding
    teacher: TeacherLabel | None = None

    def manifest(self, plates: Iterable[PlateFile] = ()) -> Manifest:
        """The dataset's manifest, once its plates are known."""
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
        """Remove what killed writers left unfinished; no one may be writing."""
        for place in (self.folder, self.folder / SHARD_FOLDER, self.folder / PLATE_FOLDER):
            remove_parts(place)


class Engine(Protocol):
    """Makes workers for a job; they are gone when the block ends, and nothing is half-written."""

    def __call__(
        self, job: Job, lock: HeldLock, workers: int | None, notify: Callable[[str], None]
    ) -> AbstractContextManager[Work]:
        """A function that has the workers do something to many items.

        Args:
            lock: on the job's folder, held by this process.
            workers: at most as many at a time; the engine's own choice if left out.
            notify: receives a line where something deserves the user's attention.

        Raises:
            DependencyError: the engine needs a package that is not installed.
            StorageError: workers were killed, or cannot see what they are to read and write.
        """


class Stopped(Exception):  # noqa: N818 - no error: another worker's was
    """All workers were asked to stop."""


class Worker:
    """One process's share of the work.

    Args:
        check: called often; raises where the work is not to go on.
        teacher: the job's, which looks at every composite.
    """

    def __init__(
        self,
        job: Job,
        check: Callable[[], None] = lambda: None,
        teacher: Teacher | None = None,
    ) -> None:
        self._job = job
        self._teacher = teacher
        self._flagged = 0  # of the shard being written
        self._check = check
        self._catalogue = job.spec.catalogue(job.folder)

    def write_plates(self, background: str) -> list[PlateFile]:
        """Store a background's working copies, or check those that are there."""
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
                raise DatasetError(
                    f"{path} as it was written", "other content", "remove it, and run this again"
                )
            plates.append(plate)
        return plates

    def write_shard(self, shard: int) -> None:
        """Write a shard and its record, or check those that are there."""
        self._check()
        job = self._job
        manifest = job.manifest()
        numbers = manifest.numbers(shard)
        path, beside = shard_path(job.folder, shard), record_path(job.folder, shard)
        state = check_shard(job.folder, manifest, shard)
        if state == "damaged":
            load_record(job.folder, shard)  # says why, where it is the record
            raise DatasetError(
                f"{path} as it was written",
                "other content",
                f"remove it and {beside.name}, and run this again",
            )
        if state == "complete":
            return
        # Not begun, not finished (it has no record), or finished when fewer samples were asked for.
        whole, spans, offset, self._flagged = hashlib.sha256(), [], 0, 0
        with open_atomic(path, durable=True) as file:
            for packed in self._samples(numbers):
                digest = hashlib.sha256(packed).hexdigest()
                spans.append(Span(offset=offset, bytes=len(packed), sha256=digest))
                whole.update(packed)
                file.write(packed)
                offset += len(packed)
            end = tar_end(offset)
            whole.update(end)
            file.write(end)
            self._check()  # a worker that is no longer wanted leaves no shard behind
        record = ShardRecord(
            fingerprint=manifest.fingerprint,
            first=numbers.start,
            bytes=offset + len(end),
            sha256=whole.hexdigest(),
            samples=tuple(spans),
            flagged=self._flagged,
        )
        save_record(beside, record)

    def fingerprint(self) -> str:
        """Hash of the first samples: alike on machines that render the same bytes."""
        first = range(min(_SAMPLES_COMPARED, self._job.count))
        return hashlib.sha256(b"".join(self._samples(first))).hexdigest()

    def _samples(self, numbers: range) -> Iterator[bytes]:
        spec = self._job.spec
        recipes = sample_recipes(spec.rules, spec.pool(), spec.seed, numbers.start, numbers.stop)
        rendered = (render(recipe, spec.rules.size, self._catalogue) for recipe in recipes)
        for number, (composite, teacher) in zip(numbers, self._labelled(rendered), strict=True):
            if number % _SAMPLES_UNASKED == 0:
                self._check()
            yield pack_members(
                encode_sample(number, composite, self._catalogue, self._job.encoding, teacher)
            )

    def _labelled(
        self, composites: Iterator[Composite]
    ) -> Iterator[tuple[Composite, TeacherLabel | None]]:
        """Composites with their disparity, and whose that is where a teacher looks at each."""
        if self._teacher is None:
            yield from ((composite, None) for composite in composites)
            return
        info = self._teacher.info
        while group := list(itertools.islice(composites, _GROUP)):
            maps = checked_maps(self._teacher, [composite.image for composite in group])
            for composite, values in zip(group, maps, strict=True):
                disparity, flags, _ = judge_label(composite.image, values, info)
                self._flagged += bool(flags)
                labelled = replace(
                    composite, disparity=None if flags else disparity, object_depth=()
                )
                yield labelled, describe_teacher(info, flags)
