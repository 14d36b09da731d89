"""Writing shards: by several processes, to the same bytes always, going on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final, Literal

import cv2

from maskdepth.errors import DatasetError, StorageError
from maskdepth.images import encode_png, open_atomic, remove_parts, write_bytes
from maskdepth.labelling.storage.index import require_pyarrow, write_index
from maskdepth.labelling.storage.layout import (
    INDEX_FILE,
    PLATE_FOLDER,
    SHARD_FOLDER,
    Encoding,
    Manifest,
    PlateFile,
    ShardRecord,
    Span,
    hash_file,
    is_materialised,
    load_manifest,
    load_record,
    manifest_path,
    record_path,
    save_record,
    shard_path,
)
from maskdepth.labelling.storage.lock import HeldLock
from maskdepth.labelling.storage.plates import plate_file, plate_pictures
from maskdepth.labelling.storage.samples import encode_sample, pack_members, tar_end
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.spec import DatasetSpec

_PROGRESS_SECONDS: Final = 10.0
_Task = Literal["write_plates", "write_shard"]


@dataclass(frozen=True)
class _Job:
    """What is to be written; the same for all workers."""

    folder: Path
    spec: DatasetSpec
    count: int
    shard_size: int
    encoding: Encoding

    def manifest(self, plates: Iterable[PlateFile]) -> Manifest:
        return Manifest(
            fingerprint=self.spec.fingerprint,
            size=self.spec.rules.size,
            count=self.count,
            shard_size=self.shard_size,
            encoding=self.encoding,
            plates=tuple(sorted(plates, key=lambda plate: plate.file)),
        )


def write_dataset(
    folder: Path,
    spec: DatasetSpec,
    count: int,
    *,
    lock: HeldLock,
    shard_size: int = 1000,
    encoding: Encoding | None = None,
    workers: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write the first ``count`` training samples as shards, or what is missing of them.

    Finished shards are compared with their checksums and kept. The bytes do not depend on the
    number of workers, nor on how often the writing was interrupted.

    Args:
        folder: of the dataset.
        count: at least what is there already.
        lock: from ``writer_lock`` on this folder.
        shard_size: samples a shard.
        workers: processes; as many as there are cores if left out.
        notify: receives a line on the progress now and then.

    Raises:
        DependencyError: pyarrow is not installed.
        DatasetError: a finished shard or a plate was damaged, or an asset changed.
        StorageError: other samples are there already, a full disk, or a killed worker.
    """
    require_pyarrow()
    job = _Job(folder.resolve(), spec, count, shard_size, encoding or Encoding())
    earlier = _earlier(job)
    _remove_parts(job.folder)
    shards = job.manifest([]).shards
    with _workers(job, lock, min(workers or os.cpu_count() or 1, shards)) as work:
        backgrounds = _plate_backgrounds(job)
        plates = [plate for found in work("write_plates", backgrounds) for plate in found]
        manifest = job.manifest(plates)
        if manifest != earlier:
            # The index says that all is there; from here on until the end it would not be.
            (job.folder / INDEX_FILE).unlink(missing_ok=True)
            save_record(manifest_path(job.folder), manifest)
        said = time.monotonic()
        for done, _ in enumerate(work("write_shard", range(shards)), 1):
            if time.monotonic() - said > _PROGRESS_SECONDS:
                notify(f"{done} of {shards} shards")
                said = time.monotonic()
    write_index(job.folder, spec, manifest)
    return manifest


def _earlier(job: _Job) -> Manifest | None:
    """What an earlier run has begun here.

    Raises:
        StorageError: it is not what this run is to go on with.
    """
    remedy = f"choose another folder, or remove {job.folder / SHARD_FOLDER}"
    if not is_materialised(job.folder):
        if any((job.folder / SHARD_FOLDER).glob("*.tar")):
            raise StorageError(
                f"no shards in {job.folder} without their manifest", "some there", remedy
            )
        return None
    earlier = load_manifest(job.folder)
    wanted = job.manifest(earlier.plates)
    for name in ("fingerprint", "size", "shard_size", "encoding"):
        there, asked = getattr(earlier, name), getattr(wanted, name)
        if there != asked:
            word = name.replace("_", " ")
            raise StorageError(f"the {word} {there} of the shards in {job.folder}", asked, remedy)
    if job.count < earlier.count:
        raise StorageError(
            f"at least the {earlier.count} samples that {job.folder} was begun with",
            str(job.count),
            f"ask for as many or more; or {remedy}",
        )
    return earlier


def _remove_parts(folder: Path) -> None:
    for place in (folder, folder / SHARD_FOLDER, folder / PLATE_FOLDER):
        remove_parts(place)


def _plate_backgrounds(job: _Job) -> list[str]:
    """The backgrounds that stored samples will take their plate from."""
    pool = job.spec.pool()
    found: set[str] = set()
    for recipe in sample_recipes(job.spec.rules, pool, job.spec.seed, 0, job.count):
        if not recipe.perturbs_plate:
            found.add(recipe.background)
            if len(found) == len(pool.backgrounds):
                break
    return sorted(found)


class _Stopped(Exception):  # noqa: N818 - no error: another worker's was
    """The parent process has asked all workers to stop."""


class _Worker:
    """One process's share of the work."""

    def __init__(self, job: _Job, stop: Event | None = None) -> None:
        self._job = job
        self._stop = stop
        self._catalogue = job.spec.catalogue(job.folder)

    def write_plates(self, background: str) -> list[PlateFile]:
        """Store a background's working copies, or check those that are there."""
        asset = self._catalogue.background_asset(background)
        plates = []
        for level, picture in enumerate(plate_pictures(background, self._catalogue)):
            file = plate_file(asset, level)
            path, data = self._job.folder / file, encode_png(picture)
            digest = hashlib.sha256(data).hexdigest()
            plate = PlateFile(file=file, background=background, bytes=len(data), sha256=digest)
            if not path.exists():
                write_bytes(path, data, durable=True)
            elif hash_file(path) != (len(data), digest):
                raise DatasetError(
                    f"{path} as it was written", "other content", "remove it, and run this again"
                )
            plates.append(plate)
        return plates

    def write_shard(self, shard: int) -> None:
        """Write a shard and its record, or check those that are there."""
        job = self._job
        numbers = job.manifest([]).numbers(shard)
        path, beside = shard_path(job.folder, shard), record_path(job.folder, shard)
        if path.exists() and beside.exists():
            record = load_record(job.folder, shard)
            if len(record.samples) == len(numbers):
                if hash_file(path) != (record.bytes, record.sha256):
                    raise DatasetError(
                        f"{path} as it was written",
                        "other content",
                        f"remove it and {beside.name}, and run this again",
                    )
                return
        # Not begun, not finished (it has no record), or finished when fewer samples were asked for.
        whole, spans, offset = hashlib.sha256(), [], 0
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
        record = ShardRecord(
            bytes=offset + len(end), sha256=whole.hexdigest(), samples=tuple(spans)
        )
        save_record(beside, record)

    def _samples(self, numbers: range) -> Iterator[bytes]:
        spec = self._job.spec
        recipes = sample_recipes(spec.rules, spec.pool(), spec.seed, numbers.start, numbers.stop)
        for number, recipe in zip(numbers, recipes, strict=True):
            if self._stop is not None and self._stop.is_set():
                raise _Stopped
            composite = render(recipe, spec.rules.size, self._catalogue)
            yield pack_members(
                encode_sample(number, composite, self._catalogue, self._job.encoding)
            )


_Work = Callable[[_Task, Iterable[Any]], Iterator[Any]]


@contextlib.contextmanager
def _workers(job: _Job, lock: HeldLock, processes: int) -> Iterator[_Work]:
    """A function that runs a worker's method on many items; results come in any order."""
    if processes == 1:
        alone = _Worker(job)
        yield lambda task, items: (getattr(alone, task)(item) for item in items)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    try:
        with ProcessPoolExecutor(
            processes, mp_context=context, initializer=_start_worker, initargs=(job, stop, lock)
        ) as pool:

            def work(task: _Task, items: Iterable[Any]) -> Iterator[Any]:
                futures = [pool.submit(_call_worker, task, item) for item in items]
                for future in as_completed(futures):
                    yield future.result()

            try:
                yield work
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
    except BrokenProcessPool:
        _remove_parts(job.folder)  # of the other workers, which were ended in turn
        raise StorageError(
            "worker processes that live until the end",
            "one that was killed, perhaps for want of memory",
            "run this again with fewer --workers; what was finished is kept",
        ) from None


_worker: _Worker
_held: HeldLock


def _start_worker(job: _Job, stop: Event, lock: HeldLock) -> None:
    """Prepare a worker process, which holds the lock of its parent and ends with it."""
    global _worker, _held
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    cv2.setNumThreads(1)
    _worker, _held = _Worker(job, stop), lock


def _end_with(sentinel: int) -> None:
    """End this process as soon as its parent has: nobody else would end it."""
    wait([sentinel])
    os._exit(1)


def _call_worker(task: _Task, item: Any) -> Any:
    return getattr(_worker, task)(item)
