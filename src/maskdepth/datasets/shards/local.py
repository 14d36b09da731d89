"""The local engine: processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import Any

import cv2

from maskdepth.datasets.shards.shard_worker import ShardWorker, Stopped, Task, Work, WriteJob
from maskdepth.errors import StorageError
from maskdepth.labelling.teachers.teacher import Teacher
from maskdepth.locks import HeldLock
from maskdepth.processes import WorkerPool, ignore_ctrl_c


@contextlib.contextmanager
def local_engine(
    job: WriteJob,
    lock: HeldLock,
    workers: int | None,
    notify: Callable[[str], None],
    teacher: Teacher | None = None,
) -> Iterator[Work]:
    """Processes, one a core unless ``workers`` says otherwise; an ``Engine``.

    A teacher labels every composite in this process alone: a network uses all cores by itself.
    """
    processes = min(workers or os.cpu_count() or 1, job.manifest().shards)
    if teacher is not None or processes == 1:
        alone = ShardWorker(job, teacher=teacher)
        yield lambda task, items: (getattr(alone, task)(item) for item in items)
        return
    stop = multiprocessing.get_context("spawn").Event()
    try:
        with WorkerPool(processes, _start_worker, (job, stop, lock)) as pool:

            def work(task: Task, items: Sequence[Any]) -> Iterator[Any]:
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
        job.remove_parts()  # of the other workers, which the pool has ended
        raise StorageError(
            "worker processes that live until the end",
            "one that was killed, perhaps for want of memory",
            "run this again with fewer --workers; finished shards are kept",
        ) from None


_worker: ShardWorker
_held: HeldLock


def _start_worker(job: WriteJob, stop: Event, lock: HeldLock) -> None:
    """Prepare a worker process, which holds the lock of its parent."""
    global _worker, _held
    ignore_ctrl_c()
    cv2.setNumThreads(1)

    def check() -> None:
        if stop.is_set():
            raise Stopped

    _worker, _held = ShardWorker(job, check), lock


def _call_worker(task: Task, item: Any) -> Any:
    return getattr(_worker, task)(item)
