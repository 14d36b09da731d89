"""The engine on Ray Data: one task a shard, on this machine or on all nodes of a cluster.

Shards that a teacher looks at go to a pool of actors, which open it once each.

Only names of backgrounds, numbers of shards and what workers say of them pass through Ray; samples
go from the worker to the dataset folder, which all nodes share. Ray starts a task again elsewhere
when its worker or node is lost. That is safe: a shard appears whole or not at all, and has the
same bytes whoever writes it.

The lock on the folder is the driver's alone. In its stead workers look for a file, the permit, that
exists as long as the run does. The next run removes it before anything else, so a worker that has
outlived its driver leaves nothing behind; and on a node that does not share the folder it is
never there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import cv2

from maskdepth.datasets.shards.work import Job, Task, Work, Worker
from maskdepth.errors import DependencyError, MaskdepthError, StorageError, UsageError, first_line
from maskdepth.files import write_bytes
from maskdepth.labelling.teachers.teacher import TeacherOpener
from maskdepth.locks import HeldLock

# Nothing large passes through the object store, and Ray would take a third of the memory for it.
_OBJECT_STORE_BYTES: Final = 256 << 20
# Of what a task returns: with the default of 128 MiB Ray Data starts hardly any before it knows.
_BLOCK_BYTES: Final = 1 << 20
_CHECK_SECONDS: Final = 120.0
_ANSWER_SECONDS: Final = 10.0
_SHARD_SECONDS: Final = 4 * 3600.0  # without any shard finished that a teacher looks at
_SHARE_REMEDY = (
    "put the dataset and its assets on a file system that all nodes share, and install the same "
    "maskdepth, OpenCV and deflate on each"
)


@contextlib.contextmanager
def ray_engine(
    job: Job,
    lock: HeldLock,
    workers: int | None,
    notify: Callable[[str], None],
    teacher: TeacherOpener | None = None,
) -> Iterator[Work]:
    """Tasks on the cluster at RAY_ADDRESS, else on this machine's cores; an ``Engine``.

    Args:
        teacher: looks at every composite, on actors.

    Raises:
        DependencyError: ray is not installed.
        UsageError: no cluster answers at RAY_ADDRESS, or it has no GPU for the teacher.
        StorageError: a node does not share the folder or renders other bytes, or nothing was
            finished for half an hour, since Ray tries without end what kills its workers.
    """
    try:
        with ray_session(workers), _quiet_data(), contextlib.ExitStack() as ending:
            import ray
            from ray.data.exceptions import ExecutionTimeoutError
            from ray.exceptions import RayActorError, WorkerCrashedError

            nodes: list[dict[str, Any]] = [
                node
                for node in ray.nodes()  # type: ignore[no-untyped-call] # has no types
                if node["Alive"]
            ]
            resources = [node["Resources"] for node in nodes]
            cores = sum(each.get("CPU", 0) for each in resources)
            notify(f"ray: {cores:g} processors, nodes: {len(nodes)}")
            plan = None if teacher is None else plan_actors(teacher.device, workers, resources)
            if plan is not None:
                where = "GPUs" if "num_gpus" in plan.takes else "processors"
                notify(f"teacher: up to {plan.actors} of them, on {where}")
            permit = job.folder / f".{secrets.token_hex(8)}.part"  # so that remove_parts knows it
            write_bytes(permit, b"")
            run = _Run(permit, job)
            try:
                _check_nodes(run, nodes)
                taught = replace(run, teacher=teacher)

                def work(task: Task, items: Sequence[Any]) -> Iterator[Any]:
                    if plan is not None and task == "write_shard":
                        return _map_on_actors(taught, task, items, plan, ending)
                    return _map_on_tasks(run, task, items, workers)

                yield work
            except (ExecutionTimeoutError, WorkerCrashedError, RayActorError) as error:
                raise StorageError(
                    "workers that live until the end",
                    f"{type(error).__name__}: those of one shard are killed each time, or none "
                    "can be had",
                    "run this again, with fewer --workers if memory is short; what was finished "
                    "is kept",
                ) from None
            finally:
                permit.unlink(missing_ok=True)
    finally:
        job.remove_parts()  # of workers that were killed


@contextlib.contextmanager
def ray_session(workers: int | None = None) -> Iterator[None]:
    """A connection to Ray for the block: the one there is, the cluster at RAY_ADDRESS, or our own.

    Our own has no dashboard and reports no usage.

    Args:
        workers: processors of our own; as many as there are cores if left out.

    Raises:
        DependencyError: ray is not installed.
        UsageError: no cluster answers at RAY_ADDRESS.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DependencyError(error.name or "ray", "scale") from None
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    own: dict[str, Any] = {
        "num_cpus": workers or os.cpu_count(),
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _ask(address)
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **(own if address == "local" else {}),
        )
    except (OSError, RuntimeError, ValueError) as error:
        if address == "local":
            raise
        raise UsageError(
            f"a Ray cluster at RAY_ADDRESS={address}",
            first_line(error),
            "start it with `ray start --head`, mend RAY_ADDRESS, or unset it to use this machine",
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _ask(address: str) -> None:
    """Fail at once where Ray itself would wait a minute, and tell all about it.

    Raises:
        OSError: nobody answers at host:port.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()


@contextlib.contextmanager
def _quiet_data() -> Iterator[None]:
    """Keep Ray Data's log to its file for the block: we report progress and errors ourselves."""
    console = [
        handler
        for handler in logging.getLogger("ray.data").handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    levels = [handler.level for handler in console]
    for handler in console:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in zip(console, levels, strict=True):
            handler.setLevel(level)


@dataclass(frozen=True)
class ActorPlan:
    """How many actors, and what each takes of the cluster, in Ray's words."""

    actors: int
    takes: dict[str, int]


def plan_actors(
    device: str, workers: int | None, nodes: Sequence[Mapping[str, float]]
) -> ActorPlan:
    """The actors that a teacher runs on, on a cluster of such nodes.

    A GPU each, and at most as many as asked for. On processors as many as asked for, else one a
    node, which share the cores: Ray lets torch have as many threads as an actor takes cores.

    Args:
        device: of the teacher; ``"auto"`` is a GPU where the cluster has any.
        workers: at most, where given.
        nodes: Ray's resources of each.

    Raises:
        UsageError: there is no GPU, and the device asks for one.
    """
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if device == "cuda" and not gpus:
        raise UsageError(
            "a GPU that Ray knows of, for --device cuda", "none", "use --device cpu, or add a node"
        )
    if device in ("auto", "cuda") and gpus:
        return ActorPlan(min(workers or gpus, gpus), {"num_cpus": 1, "num_gpus": 1})
    cores = [int(node.get("CPU", 0)) for node in nodes]
    actors = max(1, min(workers or sum(map(bool, cores)), sum(cores)))
    # An actor's cores are of one node.
    shares = (n for n in range(1, max(cores) + 1) if sum(c // n for c in cores) >= actors)
    return ActorPlan(actors, {"num_cpus": max(shares, default=1)})


@dataclass(frozen=True)
class _Run:
    """A job and the file that says that it is still wanted."""

    permit: Path  # no two runs share one
    job: Job = field(compare=False)
    teacher: TeacherOpener | None = None

    def check(self) -> None:
        """Go on only where the permit is seen.

        Raises:
            StorageError: it is not.
        """
        if not self.permit.exists():
            raise StorageError(
                f"the folder {self.job.folder} to be the same one on all nodes",
                f"another one, or none, on {socket.gethostname()}",
                f"{_SHARE_REMEDY}; if they do, another run has taken this one's place",
            )


@dataclass(frozen=True)
class _Outcome:
    """What a task returned, or the error that a user can do something about."""

    result: Any = None
    error: MaskdepthError | OSError | None = None


def _map_on_tasks(
    run: _Run, task: Task, items: Sequence[Any], workers: int | None
) -> Iterator[Any]:
    """Results of a worker's method on each item, a Ray task each, in any order."""
    import ray.data

    if not items:
        return
    outcomes = ray.data.from_items(list(items), override_num_blocks=len(items)).map(
        partial(_work_on, run=run, task=task),
        # More than there are items, and it warns.
        compute=ray.data.TaskPoolStrategy(workers and max(1, min(workers, len(items)))),
    )
    outcomes.context.enable_progress_bars = False
    outcomes.context.target_max_block_size = _BLOCK_BYTES
    for row in outcomes.iter_rows():
        outcome: _Outcome = row["outcome"]
        if outcome.error is not None:
            raise outcome.error
        yield outcome.result


def _map_on_actors(
    run: _Run, task: Task, items: Sequence[Any], plan: ActorPlan, ending: contextlib.ExitStack
) -> Iterator[Any]:
    """The same on actors, which open the run's teacher once each.

    Args:
        ending: closed when the actors are to go, whoever is still in the middle of these results.

    Raises:
        StorageError: nothing was finished for hours.
    """
    import ray

    remote: Any = ray.remote  # whose types know no resources in a dictionary
    make = remote(max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD", **plan.takes)
    actors = [make(_Actor).remote() for _ in range(min(plan.actors, len(items)))]
    for actor in actors:
        ending.callback(ray.kill, actor)
    # Not by way of the constructor, whose arguments a restart may not find again.
    shared, todo, left = ray.put(run), deque(items), len(items)
    # An actor that finds no free place gets no item, which would wait with it.
    awaited = {actor.__ray_ready__.remote(): actor for actor in actors}
    starting = set(awaited)
    while left:
        finished, _ = ray.wait(list(awaited), timeout=_SHARD_SECONDS)
        if not finished:
            raise StorageError(
                f"a shard within {_SHARD_SECONDS / 3600:g} hours",
                "none: workers are killed each time, or cannot be had",
                "look at the cluster, and run this again; what was finished is kept",
            )
        (answer,) = finished
        actor, outcome = awaited.pop(answer), ray.get(answer)
        if todo:
            awaited[actor.work.remote(todo.popleft(), shared, task)] = actor
        else:
            ray.kill(actor)  # one that has lost its machine may need the place
        if answer in starting:
            continue
        if outcome.error is not None:
            raise outcome.error
        left -= 1
        yield outcome.result


def _work_on(row: dict[str, Any], run: _Run, task: Task) -> dict[str, Any]:
    """In a process of Ray's: do one item."""
    try:
        outcome = _Outcome(getattr(_worker_for(run), task)(row["item"]))
    except (MaskdepthError, OSError) as error:
        outcome = _Outcome(error=error)
    return {"outcome": outcome}


class _Actor:
    """A process of Ray's that nothing else runs in, so that its worker is kept."""

    def work(self, item: Any, run: _Run, task: Task) -> _Outcome:
        """Do one item; the first opens the teacher, whose errors are told like any other."""
        outcome: _Outcome = _work_on({"item": item}, run, task)["outcome"]
        return outcome


@lru_cache(maxsize=1)
def _worker_for(run: _Run) -> Worker:
    """The worker of this process, with the pictures that it has read and its teacher.

    It is kept for as long as the run lasts.
    """
    cv2.setNumThreads(1)
    teacher = None if run.teacher is None else run.teacher.open()
    return Worker(run.job, run.check, teacher)


def _check_nodes(run: _Run, nodes: Sequence[dict[str, Any]]) -> None:
    """See before any work that all nodes share the folder and the assets, and render alike.

    Raises:
        StorageError: names a node that does not.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    others = [node for node in nodes if node["NodeID"] != here and node["Resources"].get("CPU")]
    if not others:
        return
    probe = ray.remote(num_cpus=0, max_retries=0)(_probe)
    answers = [
        probe.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(run)
        for node in others
    ]
    expected = Worker(run.job).fingerprint()
    for node, answer in zip(others, answers, strict=True):
        try:
            found: _Outcome = ray.get(answer, timeout=_CHECK_SECONDS)
        except ray.exceptions.RayError as error:
            found = _Outcome(error=OSError(str(error).strip().splitlines()[-1]))
        if found.result != expected:
            raise StorageError(
                f"nodes that see {run.job.folder} and its assets and render the same bytes",
                f"on {node['NodeManagerAddress']}: {found.error or 'other bytes'}",
                _SHARE_REMEDY,
            )


def _probe(run: _Run) -> _Outcome:
    """Read and render the first samples, and write nothing."""
    try:
        return _Outcome(Worker(run.job, run.check).fingerprint())
    except (MaskdepthError, OSError) as error:
        return _Outcome(error=error)
