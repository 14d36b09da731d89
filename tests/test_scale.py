"""Shards written on Ray: the bytes of the local engine, whatever is killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from folders import contents
from maskdepth.datasets.build import Dataset, compose_dataset, materialise
from maskdepth.datasets.shards import cluster
from maskdepth.datasets.shards.cluster import plan_actors
from maskdepth.datasets.shards.reader import ShardReader
from maskdepth.errors import DependencyError, MaskdepthError, StorageError, TeacherError, UsageError
from maskdepth.labelling.teachers import Teacher, TeacherOpener, open_teacher, teacher_opener
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.worlds import write_sample_pack

pytest.importorskip("ray", reason="ray is not installed")

SHARD_SIZE = 8
LONG = 1600  # samples of a shard that takes long enough to be met in the middle
Make = Callable[..., Dataset]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    write_sample_pack(folder, scenes=3, cutouts=4)
    return folder


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    """One small Ray for all tests of this file: a start takes seconds."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=80 << 20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="CRITICAL",
    )
    yield
    ray.shutdown()


@pytest.fixture
def make(pack: Path, tmp_path: Path) -> Make:
    def make(name: str) -> Dataset:
        return compose_dataset(
            pack / "cutouts", pack / "backgrounds", tmp_path / name,
            rules=RecipeRules(size=64, long_side_px=(10.0, 60.0)), small=True, depth_scenes=0,
        )  # fmt: skip

    return make


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TeacherOpener:
    """A tiny network, named by a path that holds in one folder alone.

    Whoever opens it writes its process number into ``openings``.
    """
    pytest.importorskip("onnx")
    from networks import write_network

    write_network(tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    found = teacher_opener("net.onnx", device="cpu")
    assert isinstance(found, TeacherOpener)
    make, openings = found.make, tmp_path / "openings"

    def make_and_tell() -> Teacher:
        with openings.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return make()

    return replace(found, make=make_and_tell)


def processes_with(file: Path) -> set[int]:
    """Those of our processes that have a file open."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or ended meanwhile
            if any(str(link.readlink()) == str(file) for link in (process / "fd").iterdir()):
                found.add(int(process.name))
    return found


class Run(threading.Thread):
    """The build of two long shards on Ray, in a thread; what it raised is in ``error``.

    It ends with its block, however that ends. A thread that outlived Ray would connect to it anew
    and wait for ever, and Python for the thread.
    """

    def __init__(self, dataset: Dataset, long: int = LONG, **options: Any) -> None:
        super().__init__(daemon=True)
        self.dataset = dataset
        self.long = long
        self.options = options
        self.error: MaskdepthError | None = None
        self.stopped: set[int] = set()

    def __enter__(self) -> Run:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for permit in self.dataset.folder.glob(".*.part"):
            permit.unlink(missing_ok=True)
        for writer in self.stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(writer, signal.SIGCONT)
        self.join(60)

    def run(self) -> None:
        try:
            materialise(
                self.dataset, 2 * self.long, shard_size=self.long, engine="ray", **self.options
            )
        except MaskdepthError as error:
            self.error = error

    def stopped_writer(self) -> int:
        """The process that is in the middle of a shard, stopped there."""
        deadline = time.monotonic() + 150  # Ray's workers need a minute on a busy core
        while time.monotonic() < deadline and self.is_alive():
            for part in self.dataset.folder.glob("shards/.*.part"):
                for writer in processes_with(part) - {os.getpid()}:
                    os.kill(writer, signal.SIGSTOP)
                    self.stopped.add(writer)
                    # On a busy machine the search takes as long as a shard.
                    if part.exists() and part.stat().st_size:
                        return writer
                    os.kill(writer, signal.SIGCONT)
            time.sleep(0.01)
        raise AssertionError("no shard was met in the middle")


def test_nothing_to_do_needs_no_task() -> None:
    """As where every sample has a plate of its own, and no clean one is left to write."""
    with contextlib.ExitStack() as ending:
        plan = plan_actors(None, 2, [{"CPU": 2}])
        assert list(cluster._map_on_actors(None, plan, "write_plates", [], ending)) == []


@pytest.mark.usefixtures("_ray")
def test_ray_writes_the_same_bytes(make: Make) -> None:
    here, there = make("here"), make("there")
    for count in (12, 20):
        materialise(here, count, shard_size=SHARD_SIZE, workers=1)
        materialise(there, count, shard_size=SHARD_SIZE, engine="ray")
        assert contents(here.folder) == contents(there.folder)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to find the writer")
@pytest.mark.usefixtures("_ray")
def test_a_killed_worker_loses_nothing(make: Make) -> None:
    here, there = make("here"), make("there")
    with Run(there) as run:
        os.kill(run.stopped_writer(), signal.SIGKILL)
        run.join(300)
        assert not run.is_alive()
    assert run.error is None
    materialise(here, 2 * LONG, shard_size=LONG, workers=1)
    assert contents(here.folder) == contents(there.folder)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to find the writer")
@pytest.mark.usefixtures("_ray")
def test_a_run_whose_place_was_taken_stops(make: Make) -> None:
    dataset = make("data")
    with Run(dataset) as run:
        writer = run.stopped_writer()
        (permit,) = dataset.folder.glob(".*.part")
        permit.unlink()
        os.kill(writer, signal.SIGCONT)
        run.join(300)
        assert not run.is_alive()
    assert isinstance(run.error, StorageError)
    assert "\n" not in str(run.error)
    assert "all nodes" in str(run.error)
    assert {path.name for path in (dataset.folder / "shards").iterdir()} == {"manifest.json"}
    assert not list(dataset.folder.glob(".*"))


@pytest.mark.usefixtures("_ray")
def test_actors_label_composites_to_the_same_bytes(
    make: Make, teacher: TeacherOpener, tmp_path: Path
) -> None:
    """Each opens the teacher once, however many shards it writes."""
    here, there = make("here"), make("there")
    count, at_once = 6 * SHARD_SIZE, 2
    label = partial(materialise, count=count, shard_size=SHARD_SIZE)
    label(here, teacher=open_teacher("net.onnx", device="cpu"))
    label(there, teacher=teacher, engine="ray", workers=at_once)
    assert contents(here.folder) == contents(there.folder)
    assert any(np.isfinite(sample.disparity).any() for sample in ShardReader(there.folder))
    openings = (tmp_path / "openings").read_text().split()
    assert len(openings) == len(set(openings)) <= at_once
    assert str(os.getpid()) not in openings


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to find the writer")
@pytest.mark.usefixtures("_ray")
def test_a_killed_actor_loses_nothing(make: Make, teacher: TeacherOpener, tmp_path: Path) -> None:
    here, there = make("here"), make("there")
    long = LONG // 4  # since a teacher takes its time
    with Run(there, long, teacher=teacher, workers=1) as run:
        killed = run.stopped_writer()
        os.kill(killed, signal.SIGKILL)
        run.join(240)
        assert not run.is_alive()
    assert run.error is None
    first, second = (tmp_path / "openings").read_text().split()
    assert first == str(killed) != second
    materialise(here, 2 * long, shard_size=long, teacher=teacher)
    assert contents(here.folder) == contents(there.folder)


@pytest.mark.usefixtures("_ray")
def test_another_teacher_under_the_same_name_is_one_line(
    make: Make, teacher: TeacherOpener
) -> None:
    dataset = make("data")
    other = replace(teacher, info=replace(teacher.info, version="another"))
    with pytest.raises(TeacherError, match=r"the teacher net another .*, but got net") as caught:
        materialise(dataset, 4, teacher=other, engine="ray")
    assert "\n" not in str(caught.value)
    assert not list(dataset.folder.glob("shards/*.tar"))


@pytest.mark.parametrize(
    ("device", "workers", "nodes", "actors", "takes"),
    [
        (
            "auto",
            None,
            [{"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 1}],
            3,
            {"num_cpus": 1, "num_gpus": 1},
        ),
        ("cuda", 2, [{"CPU": 8, "GPU": 4}], 2, {"num_cpus": 1, "num_gpus": 1}),
        ("cuda", 9, [{"CPU": 8, "GPU": 4}], 4, {"num_cpus": 1, "num_gpus": 1}),
        ("cpu", 2, [{"CPU": 8, "GPU": 4}], 2, {"num_cpus": 4}),
        ("auto", None, [{"CPU": 8}, {"CPU": 8}, {"memory": 1e9}], 2, {"num_cpus": 8}),
        ("auto", 3, [{"CPU": 8}, {"CPU": 8}], 3, {"num_cpus": 4}),
        ("cpu", 9, [{"CPU": 2}], 2, {"num_cpus": 1}),
        (None, None, [{"CPU": 8, "GPU": 1}, {"CPU": 4}], 12, {"num_cpus": 1}),
        (None, 3, [{"CPU": 8}], 3, {"num_cpus": 1}),
    ],
)
def test_actors_take_the_gpus_or_share_the_cores(
    device: str | None, workers: int | None, nodes: list[Any], actors: int, takes: dict[str, int]
) -> None:
    """A core each without a teacher, a GPU where the teacher may use one; never more than fit."""
    plan = plan_actors(device, workers, nodes)
    assert (plan.actors, plan.takes) == (actors, takes)


def test_a_gpu_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UsageError, match="Ray has no GPU") as caught:
        plan_actors("cuda", None, [{"CPU": 8}])
    assert "\n" not in str(caught.value)


def test_a_teacher_that_is_open_here_cannot_work_on_ray(make: Make, teacher: TeacherOpener) -> None:
    dataset = make("data")
    with pytest.raises(UsageError, match="opens the teacher in other processes"):
        materialise(dataset, 4, teacher=teacher.open(), engine="ray")
    assert not (dataset.folder / "shards").exists()


def test_without_ray_one_line_says_how_to_install_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make("data")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r"'ray'.*pip install '\.\[scale\]'"):
        materialise(dataset, 20, engine="ray")
    assert not (dataset.folder / "shards").exists()


def test_an_engine_of_another_name_is_refused(make: Make) -> None:
    dataset = make("data")
    with pytest.raises(UsageError, match="local or ray"):
        materialise(dataset, 20, engine="dask")
    assert not (dataset.folder / "shards").exists()


def test_a_cluster_that_does_not_answer_is_one_line(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make("data")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr("ray.is_initialized", lambda: False)
        with pytest.raises(UsageError, match=f"RAY_ADDRESS={address}") as caught:
            materialise(dataset, 20, engine="ray")
    assert "\n" not in str(caught.value)
    assert not (dataset.folder / "shards").exists()
