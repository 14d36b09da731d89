"""The engines by the names that users give.

An engine is a context manager for a job. Its value, ``work``, runs a method of ``ShardWorker`` on
many items, with at most ``workers`` at a time; results come in any order. When the block ends the
workers are gone, and nothing is half-written. Engines raise DependencyError where a package is not
installed, and StorageError where workers were killed or lack the files that they need.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

from maskdepth.datasets.shards.cluster import ray_engine, require_ray
from maskdepth.datasets.shards.index import require_pyarrow
from maskdepth.datasets.shards.local import local_engine
from maskdepth.datasets.shards.png import require_encoder
from maskdepth.datasets.shards.shard_worker import Work, WriteJob
from maskdepth.errors import UsageError
from maskdepth.labelling.teachers.teacher import Teacher, TeacherOpener
from maskdepth.locks import HeldLock

Engine = Callable[
    [WriteJob, HeldLock, int | None, Callable[[str], None]], AbstractContextManager[Work]
]
"""Takes the job, the held lock on its folder, the number of workers, and ``notify``."""

ENGINES: Final[dict[str, Engine]] = {"local": local_engine, "ray": ray_engine}


def check_engine(name: str) -> None:
    """Check, before anything is written, that an engine could write shards.

    Raises:
        UsageError: no engine has that name.
        DependencyError: a package that it needs is not installed.
    """
    find_engine(name)
    require_pyarrow()
    require_encoder()
    if name == "ray":
        require_ray()


def find_engine(name: str, teacher: Teacher | TeacherOpener | None = None) -> Engine:
    """The engine of a name; it labels every composite if there is a teacher."""
    if name not in ENGINES:
        raise UsageError(f"the engine {' or '.join(ENGINES)}", repr(name), "choose one of these")
    if teacher is None:
        return ENGINES[name]
    if name == "local":
        opened = teacher.open() if isinstance(teacher, TeacherOpener) else teacher
        return partial(local_engine, teacher=opened)
    if not isinstance(teacher, TeacherOpener):
        raise UsageError(
            "a TeacherOpener", teacher.info.name, "pass a TeacherOpener",
            f"The engine {name} opens the teacher in other processes, "
            f"but {teacher.info.name} is open in this one.",
        )  # fmt: skip
    return partial(ray_engine, teacher=teacher)
