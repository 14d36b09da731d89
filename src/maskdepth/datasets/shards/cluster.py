"""The engine on Ray: actors write a shard at a time, on this machine or on all nodes of a cluster.

Names of backgrounds, numbers of shards and records of plates pass through Ray; samples go from the
actor to the dataset folder, which all nodes share. When an actor's process or node is lost, Ray
starts the actor again elsewhere and repeats its item. That is safe: a shard appears complete or
not at all, and has the same bytes whoever writes it.

The lock on the folder is the driver's alone. Actors check a file in its stead, the permit, that
exists as long as the run does. The next run removes it before anything else, so an actor that has
outlived its driver leaves nothing behind; and a node that does not share the folder never has it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2

from maskdepth.datasets.shards.shard_worker import ShardWorker, Task, Work, WriteJob
from maskdepth.errors import DependencyError, MaskdepthError, StorageError, UsageError, first_line
from maskdepth.files import write_bytes
from maskdepth.labelling.teachers.teacher import TeacherOpener
from maskdepth.locks import HeldLock
from maskdepth.records import Json

_OBJECT_STORE_BYTES: Final = 256 << 20  # Ray's own choice is a third of the memory
_ANSWER_SECONDS: Final = 10.0  # of a cluster
_ITEM_SECONDS: Final = 4 * 3600.0  # a run ends when no item is finished for as long
_REMEDY: Final = (
    "put the dataset and its assets on a file system that all nodes share, and install the same "
    "maskdepth, OpenCV and deflate on each"
)


@contextlib.contextmanager
def ray_engine(
    job: WriteJob,
    lock: HeldLock,
    workers: int | None,
    notify: Callable[[str], None],
    teacher: TeacherOpener | None = None,
) -> Iterator[Work]:
    """Actors on the cluster at RAY_ADDRESS, else on this machine's cores; an ``Engine``."""
    permit = job.folder / f".{secrets.token_hex(8)}.part"  # a name that remove_parts removes
    try:
        with ray_session(workers), contextlib.ExitStack() as ending:
            import ray

            nodes: list[Mapping[str, float]] = [
                node["Resources"]
                for node in ray.nodes()  # type: ignore[no-untyped-call] # has no types
                if node["Alive"]
            ]
            plan = plan_actors(teacher.device if teacher else None, workers, nodes)
            notify(
                f"ray: {sum(node.get('CPU', 0) for node in nodes):g} processors, nodes: "
                f"{len(nodes)}; up to {plan.actors} at work, on "
                + ("GPUs" if "num_gpus" in plan.takes else "processors")
            )
            write_bytes(permit, b"")
            here = ray.get_runtime_context().get_node_id()
            run = ray.put(_Run(job, permit, teacher, here, ShardWorker(job).fingerprint()))
            plans: dict[Task, ActorPlan] = {
                "write_plates": plan_actors(None, workers, nodes),
                "write_shard": plan,
            }
            yield lambda task, items: _map_on_actors(run, plans[task], task, items, ending)
    finally:
        permit.unlink(missing_ok=True)
        job.remove_parts()  # of actors that were killed


def require_ray() -> None:
    """Raises DependencyError where Ray is not installed."""
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise DependencyError(error.name or "ray", "scale") from None


@contextlib.contextmanager
def ray_session(workers: int | None = None) -> Iterator[None]:
    """A connection to Ray for the block: the one there is, the cluster at RAY_ADDRESS, or our own.

    Our own has no dashboard and reports no usage.

    Args:
        workers: processors of our own; as many as there are cores if left out.
    """
    require_ray()
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    own: Json = {
        "num_cpus": workers or os.cpu_count(),
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if host and port.isdecimal():  # fails at once where Ray would wait a minute
            socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **(own if address == "local" else {}),
        )
    except (OSError, RuntimeError, ValueError) as error:
        if address == "local":
            raise
        expected, got = f"a Ray cluster at RAY_ADDRESS={address}", first_line(error)
        remedy = "start it with `ray start --head`, or correct or unset RAY_ADDRESS"
        problem = f"No Ray cluster answers at RAY_ADDRESS={address}: {got}."
        raise UsageError(expected, got, remedy, problem) from None
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class ActorPlan:
    """How many actors, and what each takes of the cluster, in Ray's words."""

    actors: int
    takes: dict[str, int]


def plan_actors(
    device: str | None, workers: int | None, nodes: Sequence[Mapping[str, float]]
) -> ActorPlan:
    """The actors for a cluster of such nodes.

    Without a teacher each takes a core. With one each takes a GPU; without GPUs there are as many
    as asked for, else one a node, which share the cores: Ray lets torch have as many threads as
    an actor takes cores.

    Args:
        device: of the teacher; ``"auto"`` is a GPU where the cluster has any. None: no teacher.
        workers: at most, where given.
        nodes: Ray's resources of each.
    """
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    cores = [int(node.get("CPU", 0)) for node in nodes]
    if device == "cuda" and not gpus:
        remedy = "use --device cpu, or add a node with a GPU"
        problem = "Ray has no GPU for --device cuda."
        raise UsageError("a GPU for --device cuda", "none", remedy, problem)
    if device in ("auto", "cuda") and gpus:
        return ActorPlan(min(workers or gpus, gpus), {"num_cpus": 1, "num_gpus": 1})
    wanted = workers or (sum(cores) if device is None else sum(map(bool, cores)))
    actors = max(1, min(wanted, sum(cores)))
    if device is None:
        return ActorPlan(actors, {"num_cpus": 1})
    # All cores of an actor are of one node.
    shares = (n for n in range(1, max(cores) + 1) if sum(c // n for c in cores) >= actors)
    return ActorPlan(actors, {"num_cpus": max(shares, default=1)})


@dataclass(frozen=True)
class _Run:
    """What an actor needs of a run; ``expected`` is what the driver's node renders."""

    job: WriteJob
    permit: Path
    teacher: TeacherOpener | None
    driver_node: str
    expected: str

    def open_worker(self, task: Task) -> ShardWorker:
        """A worker, after a check that this node shares the folder and renders the same bytes."""
        import ray

        self.check()
        elsewhere = ray.get_runtime_context().get_node_id() != self.driver_node
        if elsewhere and ShardWorker(self.job, self.check).fingerprint() != self.expected:
            got = f"other bytes on {socket.gethostname()}"
            raise StorageError("nodes that render the same bytes", got, _REMEDY)
        if task == "write_plates" or self.teacher is None:
            return ShardWorker(self.job, self.check)
        return ShardWorker(self.job, self.check, self.teacher.open())

    def check(self) -> None:
        """Go on only where the permit is."""
        if not self.permit.exists():
            host = socket.gethostname()
            raise StorageError(
                f"the folder {self.job.folder} to be the same one on all nodes",
                f"another one, or none, on {host}",
                f"{_REMEDY}; if they do, another run has taken this one's place",
                f"{host} does not see the driver's {self.job.folder}, as all nodes have to.",
            )


class _Actor:
    """A process of Ray's, which keeps its worker: the teacher, and the pictures it has read."""

    _worker: ShardWorker | None = None

    def work(self, run: _Run, task: Task, item: Any) -> Any:
        """Do one item; the task is the same for all items of an actor."""
        if self._worker is None:  # the first item, or the first since a restart
            cv2.setNumThreads(1)
            self._worker = run.open_worker(task)
        return getattr(self._worker, task)(item)


def _map_on_actors(
    run: Any, plan: ActorPlan, task: Task, items: Sequence[Any], ending: contextlib.ExitStack
) -> Iterator[Any]:
    """Results of a worker's method on each item, in any order.

    Args:
        run: a reference to the ``_Run``.
        ending: kills the actors when it closes, if they are still at work.
    """
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    remote: Any = ray.remote  # its types do not allow resources in a dictionary
    make = remote(max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD", **plan.takes)
    actors = [make(_Actor).remote() for _ in range(min(plan.actors, len(items)))]
    for actor in actors:
        ending.callback(ray.kill, actor)
    todo, left = deque(items), len(items)
    # An actor that waits for a free place gets no item, which would have to wait with it.
    awaited = {actor.__ray_ready__.remote(): actor for actor in actors}
    starting = set(awaited)
    try:
        while left:
            finished, _ = ray.wait(list(awaited), timeout=_ITEM_SECONDS)
            if not finished:
                hours = f"{_ITEM_SECONDS / 3600:g} hours"
                raise StorageError(
                    f"a shard within {hours}", "none",
                    "check the cluster, and run this again; finished shards are kept",
                    f"No shard was finished for {hours}: workers are killed each time, or "
                    "cannot be had.",
                )  # fmt: skip
            (answer,) = finished
            actor, result = awaited.pop(answer), ray.get(answer)
            if todo:
                awaited[actor.work.remote(run, task, todo.popleft())] = actor
            else:
                ray.kill(actor)  # makes room for an actor that has lost its machine
            if answer not in starting:
                left -= 1
                yield result
    except RayTaskError as error:
        if isinstance(error.cause, (MaskdepthError, OSError)):
            raise error.cause from None
        raise
    except RayActorError as error:
        raise StorageError(
            "workers that live until the end", type(error).__name__,
            "run this again, with fewer --workers if memory is short; finished shards are kept",
            "A worker on Ray was killed each time it was started.",
        ) from None  # fmt: skip
