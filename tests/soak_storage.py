"""Kill a writer of shards at many instants; each time the next run must end as if nothing happened.

python tests/soak_storage.py --instants 1000

Half of the instants are drawn from the clock, half lie just before an operation on a file of the
dataset (opening, renaming, removing, ...), whichever number it has. Before the next run, what is
there must be whole; after it, every file must have the bytes of an undisturbed run, and no other
file may be there.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from folders import contents
from maskdepth import cli
from maskdepth.datasets import build  # noqa: F401 - here once, rather than in every child
from maskdepth.datasets.shards import index
from maskdepth.synthesis.worlds import write_sample_pack

COUNT, SHARD_SIZE, FEWER = 48, 8, 20
STUCK_SECONDS = 120.0  # a run takes half a second of the processor
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}


def call(folder: Path, pack: Path, count: int = COUNT, workers: int = 1) -> list[str]:
    """The command whose interruption is of no consequence."""
    command = ["maskdepth", "compose", str(pack / "cutouts"), str(pack / "backgrounds")]
    command += ["-o", str(folder), "--small", "--size", "64", "--depth-scenes", "0"]
    command += ["--materialise", str(count), "--shard-size", str(SHARD_SIZE)]
    return [*command, "--workers", str(workers)]


def start(arguments: list[str], log: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Run the command line in a forked process (no second import); its process number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        for stream in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
        faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)  # to the log, with code 1
        sys.argv = arguments
        prepare()
        cli.main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        os._exit(code)


def end(child: int) -> int:
    """Wait for a process: its exit code, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Operations:
    """Counts operations on files below a folder and kills the process before a chosen one."""

    def __init__(self, folder: Path, chosen: int, report: Path | None = None) -> None:
        self.folder, self.chosen, self.report, self.seen = str(folder), chosen, report, 0

    def watch(self) -> None:
        sys.addaudithook(self._notice)

    def _notice(self, event: str, details: tuple[Any, ...]) -> None:
        if event not in EVENTS or not str(details[0]).startswith(self.folder):
            return
        self.seen += 1
        if self.seen == self.chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.report is not None:
            self.report.write_text(str(self.seen), encoding="utf-8")


class Soak:
    """One undisturbed run, and as many disturbed ones as wanted."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.random, self.log = home, random.Random(seed), home / "log"
        self.pack, self.kills = home / "pack", Counter[str]()
        # In two calls: few enough files each to be drawn without further processes.
        write_sample_pack(self.pack, scenes=0, cutouts=6)
        write_sample_pack(self.pack, scenes=6, cutouts=0)
        for label in sorted((self.pack / "backgrounds").glob("*_disparity.png"))[:3]:
            label.unlink()
        self.seconds = {workers: self._undisturbed(workers) for workers in (2, 1)}
        self.expected = contents(home / "whole")
        assert end(start(call(home / "fewer", self.pack, FEWER), self.log)) == 0
        self.indices = {
            contents(home / name)["index.parquet"]: count
            for name, count in (("whole", COUNT), ("fewer", FEWER))
        }
        report = home / "operations"
        counter = Operations(home / "counted", 0, report)
        assert end(start(call(home / "counted", self.pack), self.log, counter.watch)) == 0
        self.operations = int(report.read_text(encoding="utf-8"))

    def _undisturbed(self, workers: int) -> float:
        folder = self.home / "whole"
        shutil.rmtree(folder, ignore_errors=True)
        began = time.monotonic()
        code = end(start(call(folder, self.pack, workers=workers), self.log))
        assert code == 0, self.log.read_text(encoding="utf-8")
        return time.monotonic() - began

    def disturb(self, number: int) -> None:
        """One instant: kill, perhaps kill again, look, go on, compare."""
        folder = self.home / f"run-{number}"
        self.log.unlink(missing_ok=True)
        if number % 4 >= 2:
            assert end(start(call(folder, self.pack, FEWER), self.log)) == 0
        for _ in range(1 + (self.random.random() < 0.3)):
            self._kill(folder, number)
            self._check_whole(folder, number)
        workers = self.random.choice((1, 1, 1, 1, 1, 2))
        code = end(start(call(folder, self.pack, workers=workers), self.log))
        assert code == 0, f"instant {number}: {self.log.read_text(encoding='utf-8')}"
        found = contents(folder)
        assert found.keys() == self.expected.keys(), f"instant {number}: {sorted(found)}"
        for name, data in found.items():
            assert data == self.expected[name], f"instant {number}: {name} differs"
        shutil.rmtree(folder)

    def _kill(self, folder: Path, number: int) -> None:
        if number % 2:
            chosen = 1 + (number // 2 * 7) % self.operations
            child = start(call(folder, self.pack), self.log, Operations(folder, chosen).watch)
            kind = "operation"
        else:
            workers = self.random.choice((1, 1, 1, 1, 2))
            child = start(call(folder, self.pack, workers=workers), self.log)
            time.sleep(self.random.uniform(0.0, self.seconds[workers]))
            os.kill(child, signal.SIGKILL)
            kind = f"clock, {workers} at work"
        self.kills[kind if end(child) == -signal.SIGKILL else "too late"] += 1

    def _check_whole(self, folder: Path, number: int) -> None:
        """What has its final name is whole; where the index is, so is everything it names."""
        found = contents(folder) if folder.exists() else {}
        tars = {name for name in found if name.endswith(".tar")}
        if "index.parquet" in found:
            count = json.loads(found["shards/manifest.json"])["count"]
            assert count == self.indices[found["index.parquet"]], f"instant {number}: stale index"
            assert len(tars) == -(-count // SHARD_SIZE), f"instant {number}: {sorted(tars)}"
        for name in tars - {"shards/train-000002.tar"}:  # which is shorter after a run for FEWER
            assert found[name] == self.expected[name], f"instant {number}: {name} is not whole"


def main() -> None:
    """Disturb as often as asked, and say how the kills fell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instants", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first instant")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)  # before the first fork
    index.require_pyarrow()
    with contextlib.suppress(ImportError):
        import pandas as pd  # noqa: F401 - pyarrow looks for it: half of a child's time
    with tempfile.TemporaryDirectory(prefix="maskdepth-soak-") as name:
        soak = Soak(Path(name), arguments.seed + arguments.first)
        for number in range(arguments.first, arguments.first + arguments.instants):
            soak.disturb(number)
        print(f"{arguments.instants} instants, {soak.operations} operations a run")
        print(", ".join(f"{count} {kind}" for kind, count in sorted(soak.kills.items())))


if __name__ == "__main__":
    main()
