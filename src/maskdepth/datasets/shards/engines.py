"""The engines by the names that users give."""

from __future__ import annotations

from functools import partial
from typing import Final

from maskdepth.datasets.shards.cluster import ray_engine
from maskdepth.datasets.shards.local import local_engine
from maskdepth.datasets.shards.work import Engine
from maskdepth.errors import UsageError
from maskdepth.labelling.teachers.teacher import Teacher, TeacherOpener

ENGINES: Final[dict[str, Engine]] = {"local": local_engine, "ray": ray_engine}


def find_engine(name: str, teacher: Teacher | TeacherOpener | None = None) -> Engine:
    """The engine of a name, which shows every composite to a teacher where there is one.

    Raises:
        UsageError: there is none; or the teacher is open in this process, and needed in others.
        TeacherError: the teacher cannot be opened.
    """
    if name not in ENGINES:
        raise UsageError(f"the engine {' or '.join(ENGINES)}", repr(name), "name one of them")
    if teacher is None:
        return ENGINES[name]
    if name == "local":
        opened = teacher.open() if isinstance(teacher, TeacherOpener) else teacher
        return partial(local_engine, teacher=opened)
    if not isinstance(teacher, TeacherOpener):
        raise UsageError(
            f"a teacher that the engine {name} can open in other processes",
            f"{teacher.info.name}, which is open in this one",
            "pass a TeacherOpener",
        )
    return partial(ray_engine, teacher=teacher)
