"""The engines by the names that users give."""

from __future__ import annotations

from typing import Final

from maskdepth.errors import UsageError
from maskdepth.labelling.storage.cluster import ray_engine
from maskdepth.labelling.storage.local import local_engine
from maskdepth.labelling.storage.work import Engine

ENGINES: Final[dict[str, Engine]] = {"local": local_engine, "ray": ray_engine}


def find_engine(name: str) -> Engine:
    """The engine of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in ENGINES:
        raise UsageError(f"the engine {' or '.join(ENGINES)}", repr(name), "name one of them")
    return ENGINES[name]
