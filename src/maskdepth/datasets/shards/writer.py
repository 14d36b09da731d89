"""Writing shards: with any engine, to the same bytes, continuing an interrupted run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from maskdepth.datasets.shards.engines import check_engine, find_engine
from maskdepth.datasets.shards.index import write_index
from maskdepth.datasets.shards.layout import (
    INDEX_FILE,
    SHARD_FOLDER,
    Manifest,
    is_materialised,
    load_manifest,
    manifest_path,
    save_record,
)
from maskdepth.datasets.shards.shard_worker import WriteJob
from maskdepth.errors import StorageError
from maskdepth.labelling.teachers.teacher import Teacher, TeacherOpener
from maskdepth.locks import HeldLock
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.recipes import sample_recipes

_PROGRESS_SECONDS: Final = 10.0


def write_shards(
    job: WriteJob,
    lock: HeldLock,
    *,
    engine: str,
    workers: int | None,
    teacher: Teacher | TeacherOpener | None,
    notify: Callable[[str], None],
) -> Manifest:
    """Write the samples of a job that are not in shards yet, and the index.

    Finished shards are compared with their checksums and kept. The bytes depend neither on the
    engine and the number of workers, nor on how often the writing was interrupted.

    Args:
        lock: from ``writer_lock`` on the job's folder.
        engine, workers, teacher, notify: see ``build.materialise``.
    """
    check_engine(engine)
    run = find_engine(engine, teacher)
    earlier = _earlier(job)
    job.remove_parts()
    shards = job.manifest().shards
    with run(job, lock, workers, notify) as work:
        backgrounds = _plate_backgrounds(job)
        plates = [plate for stored in work("write_plates", backgrounds) for plate in stored]
        manifest = job.manifest(plates)
        if manifest != earlier:
            # An index means that every sample is there, which is not so until the end of this run.
            (job.folder / INDEX_FILE).unlink(missing_ok=True)
            save_record(manifest_path(job.folder), manifest)
        notified = time.monotonic()
        for done, _ in enumerate(work("write_shard", range(shards)), 1):
            if time.monotonic() - notified > _PROGRESS_SECONDS:
                notify(f"{done} of {shards} shards")
                notified = time.monotonic()
    write_index(job.folder, job.spec, manifest)
    return manifest


def _earlier(job: WriteJob) -> Manifest | None:
    """The manifest of an earlier run; None where there was none."""
    shards = job.folder / SHARD_FOLDER
    remedy = f"choose another folder, or remove {shards}"
    if not is_materialised(job.folder):
        if any(shards.glob("*.tar")):
            raise StorageError(
                f"no shards in {job.folder} without their manifest", "some", remedy,
                f"There are shards in {shards} without their manifest.",
            )  # fmt: skip
        return None
    earlier = load_manifest(job.folder)
    wanted = job.manifest(earlier.plates)
    for name in ("fingerprint", "size", "shard_size", "encoding", "png_encoder", "teacher"):
        before, now = getattr(earlier, name), getattr(wanted, name)
        if before != now:
            word = name.replace("_", " ")
            raise StorageError(
                f"the {word} {before} of the shards in {job.folder}", str(now), remedy,
                f"The shards in {job.folder} were written with the {word} {_short(before)}, "
                f"not {_short(now)}.",
            )  # fmt: skip
    if job.count < earlier.count:
        raise StorageError(
            f"at least the {earlier.count} samples that {job.folder} was begun with",
            str(job.count),
            f"ask for as many or more, {remedy}",
        )
    return earlier


def _short(value: object) -> str:
    if isinstance(value, TeacherLabel):
        return f"{value.name} {value.version}"
    return "none" if value is None else str(value)


def _plate_backgrounds(job: WriteJob) -> list[str]:
    """The backgrounds whose plates the samples refer to."""
    pool = job.spec.pool()
    names: set[str] = set()
    for recipe in sample_recipes(job.spec.rules, pool, job.spec.seed, 0, job.count):
        if not recipe.perturbs_plate:
            names.add(recipe.background)
            if len(names) == len(pool.backgrounds):
                break
    return sorted(names)
