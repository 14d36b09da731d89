"""Worker processes handle Ctrl-C from their first instant."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maskdepth.processes import WorkerPool, ignore_ctrl_c, let_threads_sleep, measure_load

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")

# Runs in every new interpreter before anything of its own: Ctrl-C at the earliest instant.
EARLY = """
import os, signal, sys
if "--multiprocessing-fork" in sys.orig_argv:
    os.kill(os.getpid(), signal.SIGINT)
"""
# Where the tests run in the background, Ctrl-C is ignored, and children inherit that.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program whose worker processes get Ctrl-C while they start."""
    place = tmp_path / "early"
    place.mkdir()
    (place / "sitecustomize.py").write_text(EARLY, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")]))

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", HEED + program, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.mark.parametrize(
    ("initializer", "ending"), [("ignore_ctrl_c", "done"), ("end_at_ctrl_c", "ended")]
)
def test_ctrl_c_before_the_initializer_waits_for_it(
    run: Run, initializer: str, ending: str
) -> None:
    done = run(
        f"from maskdepth.processes import WorkerPool, {initializer}\n"
        "from concurrent.futures.process import BrokenProcessPool\n"
        "try:\n"
        f"    with WorkerPool(2, {initializer}) as pool:\n"
        "        assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]\n"
        "        print('done')\n"
        "except BrokenProcessPool:\n"
        "    print('ended')\n"
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, ending, "")


def test_ctrl_c_in_early_workers_is_the_parents_to_handle(run: Run, tmp_path: Path) -> None:
    main = "from maskdepth.cli import main; main()"
    pack = tmp_path / "pack"
    drawn = run(main, "worlds", "-o", pack, "--scenes", 3, "--cutouts", 5)
    assert (drawn.returncode, "Traceback" in drawn.stderr) == (0, False), drawn.stderr
    assert len(list(pack.rglob("*.png"))) == 2 * (3 + 5)  # each with its label
    pytest.importorskip("pyarrow")
    arguments = ["compose", pack / "cutouts", pack / "backgrounds", "-o", tmp_path / "data"]
    arguments += [
        "--small",
        "--depth-scenes",
        0,
        "--size",
        64,
        "--materialise",
        8,
        "--shard-size",
        4,
        "--workers",
        2,
    ]
    written = run(main, *arguments)
    assert (written.returncode, "Traceback" in written.stderr) == (0, False), written.stderr
    assert len(list((tmp_path / "data" / "shards").glob("*.tar"))) == 2


class _Interrupting:
    """Sends this process Ctrl-C while it is pickled for a new one, which gets a number."""

    def __reduce__(self) -> tuple[type[int], tuple[()]]:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # for another thread to take it
        return int, ()


def test_workers_end_with_a_parent_that_is_killed() -> None:
    """Nobody else would end them, and whoever reads their stderr would wait for ever."""
    program = (
        "import time\n"
        "from maskdepth.processes import WorkerPool, ignore_ctrl_c\n"
        "if __name__ == '__main__':\n"
        "    pool = WorkerPool(2, ignore_ctrl_c)\n"
        "    assert list(pool.map(abs, [-1, -2])) == [1, 2]\n"
        "    print('ready', flush=True)\n"
        "    list(pool.map(time.sleep, [600, 600]))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    parent.communicate(timeout=60)  # to the end of stderr, which workers hold open


def _ignore(_: object) -> None:
    ignore_ctrl_c()


@pytest.fixture
def heeding() -> Iterator[None]:
    """Ctrl-C raises here, and there is a thread that may take it in place of the main one."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("heeding")
def test_ctrl_c_while_a_process_starts_is_raised_once_it_has() -> None:
    """No process is left without its task; the mask and the handler are as before."""
    with WorkerPool(1, _ignore, (_Interrupting(),)) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.submit(abs, -1)
        assert len(multiprocessing.active_children()) == 1
        assert pool.submit(abs, -2).result(60) == 2
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_processes_start_from_other_threads_too() -> None:
    """Handlers belong to the main thread; elsewhere only the mask is set, which is inherited."""
    masks = []

    def work() -> None:
        with WorkerPool(1, ignore_ctrl_c) as pool:
            masks.append(pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result(60))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [signal.SIGINT in mask for mask in masks] == [True]


# A busy machine


def test_threads_sleep_only_where_other_programs_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a policy that the user has set stays."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert not let_threads_sleep(0.1)
    assert "OMP_WAIT_POLICY" not in os.environ
    assert let_threads_sleep(0.8)
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert not let_threads_sleep(0.8)
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_the_load_of_other_programs_is_measured() -> None:
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        time.sleep(0.2)
        assert measure_load(0.3) > 0.5
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
