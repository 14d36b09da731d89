"""Feed damaged and extreme files to what users call; nothing but a MaskdepthError may come out.

python tools/fuzz.py --seed 1 --start 0 --count 2000 --processes 2 --keep fuzz-failures

Mutant N of a seed is always the same file, with the same Pillow and OpenCV: `--start N --count 1`
repeats a finding. Each process gets one mutant at a time; one that crashes or hangs is replaced.
A finding is an exception of another kind, a crash, a hang, a result of a wrong shape or with values
that are not finite, more than 5 s of the processor or 700 MB for a picture of up to 4 MP, or a
warning that this package's own code causes. The bytes and the traceback of each are kept.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fuzz_checks import Checker, Outcome
from fuzz_inputs import EXTREME_SHARE, generator, make_mutant

HANG_SECONDS = 120
RSS_AFTER = 2000  # mutants of a process: by then every kind of file was read
WINDOWS = 5
ADDRESS_SPACE = 12 << 30


def work(connection: Connection, seed: int, log: Path) -> None:
    """A process: check the mutants whose numbers come, until none does."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)  # libraries complain here
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="maskdepth-fuzz-") as folder:
        checker = Checker(seed, Path(folder))
        while (number := connection.recv()) is not None:
            connection.send(checker.check(number))


class Pool:
    """Processes that each have one mutant at a time."""

    def __init__(self, seed: int, processes: int, keep: Path) -> None:
        self.seed, self.log = seed, keep / "stderr.log"
        self.context = multiprocessing.get_context("spawn")
        self.workers = [self._start() for _ in range(processes)]

    def _start(self) -> tuple[Any, Connection]:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=work, args=(theirs, self.seed, self.log), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def run(self, numbers: Iterator[int]) -> Iterator[tuple[int, Outcome, dict[str, bytes]]]:
        """The outcomes as they come, each with the index of the process."""
        busy: dict[int, tuple[int, float]] = {}
        for index in range(len(self.workers)):
            self._give(index, numbers, busy)
        while busy:
            wait([self.workers[index][1] for index in busy], timeout=1)
            for index, (number, since) in list(busy.items()):
                process, connection = self.workers[index]
                outcome: Outcome | None = None
                kept: dict[str, bytes] = {}
                try:
                    if connection.poll():
                        outcome, kept = connection.recv()
                    elif time.monotonic() - since > HANG_SECONDS:
                        raise TimeoutError
                    else:
                        continue
                except (EOFError, OSError) as error:
                    process.kill() if isinstance(error, TimeoutError) else None
                    process.join()
                    hung = isinstance(error, TimeoutError)
                    key = "hang" if hung else f"crash, exit code {process.exitcode}"
                    outcome = Outcome(number, "?", "?", findings=[{"key": key, "text": ""}])
                    self.workers[index] = self._start()
                    # The input is made here: making it is harmless.
                    random = generator(self.seed, number)
                    if random.random() >= EXTREME_SHARE:
                        mutant = make_mutant(random)
                        outcome.kind, outcome.change = mutant.kind, mutant.change
                        kept = {f"mutant{mutant.suffix}": mutant.data}
                del busy[index]
                self._give(index, numbers, busy)
                yield index, outcome, kept

    def _give(self, index: int, numbers: Iterator[int], busy: dict[int, tuple[int, float]]) -> None:
        number = next(numbers, None)
        self.workers[index][1].send(number)
        if number is not None:
            busy[index] = number, time.monotonic()


class Report:
    """Counts outcomes, and keeps what was found."""

    def __init__(self, keep: Path, processes: int) -> None:
        self.keep = keep
        self.calls: Counter[str] = Counter()
        self.found: dict[str, list[int]] = {}
        self.slowest: list[tuple[float, int, str]] = []
        self.rss: list[list[float]] = [[] for _ in range(processes)]
        self.count = 0

    def add(self, index: int, outcome: Outcome, kept: dict[str, bytes]) -> None:
        """Count one outcome; files are kept of the first ten mutants of each finding."""
        self.count += 1
        self.calls.update(outcome.calls)
        self.rss[index].append(outcome.rss_mb)
        what = f"{outcome.slowest}: {outcome.kind} {outcome.change}"
        self.slowest.append((round(outcome.seconds, 2), outcome.number, what))
        self.slowest = sorted(self.slowest, reverse=True)[:5]
        for finding in outcome.findings:
            numbers = self.found.setdefault(finding["key"], [])
            numbers.append(outcome.number)
            if len(numbers) > 10:
                continue
            text = f"{outcome.kind}, {outcome.change}: {finding['key']}\n{finding['text']}\n"
            with open(self.keep / f"{outcome.number}.txt", "a", encoding="utf-8") as file:
                file.write(text)
            for name, data in kept.items():
                (self.keep / f"{outcome.number}-{name}").write_bytes(data)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        rss = [
            [round(float(np.median(part))) for part in np.array_split(each[RSS_AFTER:], WINDOWS)]
            for each in self.rss
            if len(each) > 2 * RSS_AFTER
        ]
        return {
            "mutants": self.count,
            "findings": {
                key: {"count": len(numbers), "numbers": numbers[:5]}
                for key, numbers in sorted(self.found.items())
            },
            "calls": dict(sorted(self.calls.items())),
            "slowest": self.slowest,
            "rss_mb_after_the_first": rss,
        }


def main() -> None:
    """Run the mutants that were asked for and print one JSON; exit code 1 with findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--minutes", type=float, default=60, help="stop after this time")
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def numbers() -> Iterator[int]:
        for number in range(arguments.start, arguments.start + arguments.count):
            if time.monotonic() - began > 60 * arguments.minutes:
                return
            yield number

    report = Report(arguments.keep, arguments.processes)
    pool = Pool(arguments.seed, arguments.processes, arguments.keep)
    for index, outcome, kept in pool.run(numbers()):
        report.add(index, outcome, kept)
    options = {"seed": arguments.seed, "start": arguments.start}
    seconds = round(time.monotonic() - began)
    print(json.dumps({**options, "seconds": seconds, **report.as_json()}, indent=2))
    sys.exit(1 if report.found else 0)


if __name__ == "__main__":
    main()
