"""Writing shards: by several processes, to the same bytes always, going on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from maskdepth.datasets.shards.engines import find_engine
from maskdepth.datasets.shards.index import require_pyarrow, write_index
from maskdepth.datasets.shards.layout import (
    INDEX_FILE,
    SHARD_FOLDER,
    Encoding,
    Manifest,
    is_materialised,
    load_manifest,
    manifest_path,
    save_record,
)
from maskdepth.datasets.shards.png import require_encoder
from maskdepth.datasets.shards.work import Job
from maskdepth.errors import StorageError
from maskdepth.labelling.labels import describe_teacher
from maskdepth.labelling.teachers.teacher import Teacher, TeacherOpener
from maskdepth.locks import HeldLock
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.spec import DatasetSpec

_PROGRESS_SECONDS: Final = 10.0


def write_dataset(
    folder: Path,
    spec: DatasetSpec,
    count: int,
    *,
    lock: HeldLock,
    shard_size: int = 1000,
    encoding: Encoding | None = None,
    workers: int | None = None,
    engine: str = "local",
    teacher: Teacher | TeacherOpener | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write the first ``count`` training samples as shards, or what is missing of them.

    Finished shards are compared with their checksums and kept. The bytes do not depend on the
    number of workers, the engine, nor on how often the writing was interrupted.

    Args:
        folder: of the dataset.
        count: at least what is there already.
        lock: from ``writer_lock`` on this folder.
        shard_size: samples a shard.
        workers: processes; as many as there are cores if left out.
        engine: ``local`` or ``ray``, see ``engines``.
        teacher: labels each composite; its disparity is then the teacher's, and unknown where a
            check of it fails. The local engine has it look in this process alone, the other
            opens it in its own.
        notify: receives a line on the progress now and then.

    Raises:
        UsageError: no engine of that name, or one that cannot open this teacher.
        DependencyError: pyarrow, deflate, or what the engine needs, is not installed.
        DatasetError: a finished shard or a plate was damaged, or an asset changed.
        StorageError: other samples are there already, a full disk, or killed workers.
    """
    run = find_engine(engine, teacher)
    require_pyarrow()
    encoding = encoding or Encoding()
    require_encoder()
    told = None if teacher is None else describe_teacher(teacher.info)
    job = Job(folder.resolve(), spec, count, shard_size, encoding, told)
    earlier = _earlier(job)
    job.remove_parts()
    shards = job.manifest().shards
    with run(job, lock, workers, notify) as work:
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


def _earlier(job: Job) -> Manifest | None:
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
    for name in ("fingerprint", "size", "shard_size", "encoding", "png_encoder", "teacher"):
        there, asked = getattr(earlier, name), getattr(wanted, name)
        if there != asked:
            word = name.replace("_", " ")
            raise StorageError(
                f"the {word} {there} of the shards in {job.folder}", str(asked), remedy
            )
    if job.count < earlier.count:
        raise StorageError(
            f"at least the {earlier.count} samples that {job.folder} was begun with",
            str(job.count),
            f"ask for as many or more; or {remedy}",
        )
    return earlier


def _plate_backgrounds(job: Job) -> list[str]:
    """The backgrounds that stored samples will take their plate from."""
    pool = job.spec.pool()
    found: set[str] = set()
    for recipe in sample_recipes(job.spec.rules, pool, job.spec.seed, 0, job.count):
        if not recipe.perturbs_plate:
            found.add(recipe.background)
            if len(found) == len(pool.backgrounds):
                break
    return sorted(found)
