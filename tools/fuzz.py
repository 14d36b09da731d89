"""Feed damaged and extreme files to what users call; nothing but a MaskdepthError may come out.

python tools/fuzz.py --seed 1 --start 0 --count 2000 --processes 2 --keep fuzz-failures

Mutant N of a seed is always the same file, with the same Pillow and OpenCV: `--start N --count 1`
repeats a finding. Each process gets one mutant at a time; one that crashes or hangs is replaced.
A finding is an exception of another kind, a crash, a hang, a result of a wrong shape or with values
that are not finite, more than 5 s of the processor or 500 MB for a picture of up to 4 MP, or a
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
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fuzz_inputs import (
    MAX_PIXELS,
    Mutant,
    Picture,
    Random,
    generator,
    hostile_disparity,
    hostile_picture,
    make_mutant,
    scene,
)
from numpy.typing import NDArray

from maskdepth import Predictor
from maskdepth.errors import MaskdepthError
from maskdepth.images import exif_orientation, load_cutout, load_picture, resize, save_png
from maskdepth.inference.plate.profile import (
    load_profile,
    profile_from_depth,
    profile_from_disparity,
)
from maskdepth.inference.prediction import Prediction
from maskdepth.labelling.plate_depth import read_plate_depth
from maskdepth.picture_decoding import open_header

MAX_SECONDS, MAX_MEMORY_MB, HANG_SECONDS = 5.0, 500, 120
RSS_AFTER = 2000  # mutants of a process: by then every kind of file was read
ADDRESS_SPACE = 12 << 30
COLOURS = ("white", "#20a040", "rgb(300,0,0)", "hsl(0,500%,50%)", "#1234567", "", "\0", "\ud800")


@dataclass
class Outcome:
    """What became of one mutant."""

    number: int
    kind: str
    change: str
    calls: list[str] = field(default_factory=list)  # "load_picture refused"
    findings: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0  # of the processor, of the slowest call
    slowest: str = ""
    rss_mb: float = 0.0


class Checker:
    """Calls the package with one mutant at a time, in a process of its own."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        self.predictor = Predictor.from_pretrained(threads=1, device="cpu")
        self.plate_file = folder / "scene.png"
        save_png(self.plate_file, scene(1)[1])
        self.outcome = Outcome(-1, "", "")
        self.inputs: dict[str, bytes] = {}

    def check(self, number: int) -> tuple[Outcome, dict[str, bytes]]:
        """Check one mutant: its outcome, and the files to keep where something was found."""
        random = generator(self.seed, number)
        self.inputs = {}
        if random.random() < 0.1:
            self.outcome = Outcome(number, "extreme picture", "")
            self._check_extreme(random)
        else:
            mutant = make_mutant(random)
            self.outcome = Outcome(number, mutant.kind, mutant.change)
            self.inputs[f"mutant{mutant.suffix}"] = mutant.data
            self._check_mutant(mutant, random)
        with open("/proc/self/statm", encoding="ascii") as file:
            self.outcome.rss_mb = int(file.read().split()[1]) * resource.getpagesize() / 2**20
        return self.outcome, self.inputs if self.outcome.findings else {}

    def _check_mutant(self, mutant: Mutant, random: Random) -> None:
        path = self.folder / f"mutant{mutant.suffix}"
        path.write_bytes(mutant.data)
        if mutant.suffix == ".plate":
            self._check_profile(path, random)
        elif mutant.kind.startswith(("npy", "depth", "disparity")) and random.random() < 0.85:
            self._check_depth(path, random)
        else:
            self._check_picture(path if random.random() < 0.5 else mutant.data, random)

    def _check_picture(self, source: Any, random: Random) -> None:
        pixels = self._call("load_picture", lambda: load_picture(source), source)
        if random.random() < 0.3:
            self._call("load_cutout", lambda: load_cutout(source), source)
            self._call("exif_orientation", lambda: exif_orientation(source), source)
        if pixels is None:
            return
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            self._find("load_picture gave another array", f"{pixels.dtype} {pixels.shape}")
            return
        if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
            return
        choice = random.integers(7)
        size = pixels.shape[:2]
        picture, plate, _ = scene(1)
        if choice <= 1:
            self._predict("picture alone", pixels, source)
        elif choice == 2:
            other = pixels if random.random() < 0.5 else resize(plate, *size)
            self._predict("picture", pixels, source, other)
        elif choice <= 4:
            self._predict("plate", resize(picture, *size), resize(picture, *size), source)
        elif choice == 5:
            self._stream([resize(picture, *size), source, picture, pixels], source)
        else:
            prediction = self._predict("background", picture, picture, plate)
            self._composite(prediction, source)

    def _check_profile(self, path: Path, random: Random) -> None:
        profile = self._call("load_profile", lambda: load_profile(path))
        if profile is None or profile.disparity.size > MAX_PIXELS:
            return
        picture = resize(scene(1)[0], *profile.disparity.shape)
        if random.random() < 0.3:
            self._stream([picture, picture[:, ::-1].copy()], path)
            return
        prediction = self._predict("profile", picture, picture, path)
        if random.random() < 0.3:
            self._save(prediction, random)

    def _check_depth(self, path: Path, random: Random) -> None:
        picture, plate, _ = scene(1)
        option = "depth" if random.random() < 0.7 else "disparity"
        found = self._call(
            f"read_plate_depth {option}",
            lambda: read_plate_depth(self.plate_file, plate, **{option: path}),
        )
        if found is not None:
            if found.depth_m is not None:
                depth_m = found.depth_m
                make: Callable[[], Any] = lambda: profile_from_depth(plate, depth_m)  # noqa: E731
            else:
                make = lambda: profile_from_disparity(plate, found.disparity)  # noqa: E731
            profile = self._call("make a profile", make)
            if profile is not None:
                self._save(self._predict("made profile", picture, picture, profile), random)
        if random.random() < 0.3:
            self._predict("disparity file", picture, picture, plate, path)

    def _check_extreme(self, random: Random) -> None:
        pixels = hostile_picture(random, large=random.random() < 0.06)
        size = pixels.shape[:2]
        plates = (pixels, 255 - pixels, np.roll(pixels, 2, axis=(0, 1)), np.zeros_like(pixels))
        plate = plates[random.integers(len(plates))]
        self.outcome.change = f"{size[1]}x{size[0]}"
        small = pixels.size < 300_000
        choice = random.integers(6)
        if choice == 0:
            prediction = self._predict("extreme alone", pixels, pixels)
        elif choice == 1:
            prediction = self._predict("extreme with plate", pixels, pixels, plate)
        elif choice == 2 and small:
            disparity = hostile_disparity(random, *size)
            prediction = self._predict("extreme disparity", pixels, pixels, plate, disparity)
        elif choice <= 4:
            values = hostile_disparity(random, *size).astype(np.float32)
            make = profile_from_disparity if random.random() < 0.5 else profile_from_depth
            profile = self._call(f"extreme {make.__name__}", lambda: make(plate, values))
            if profile is None:
                return
            prediction = self._predict("extreme profile", pixels, pixels, profile)
        else:
            self._stream([pixels, plate], plate)
            return
        backgrounds = (*COLOURS, hostile_picture(random), (300, -1, 0), (1, 2))
        self._composite(prediction, backgrounds[random.integers(len(backgrounds))])
        if small:
            self._save(prediction, random)

    # The calls, each checked.

    def _predict(
        self, name: str, pixels: Picture, picture: Any, plate: Any = None, disparity: Any = None
    ) -> Prediction | None:
        """Predict ``picture``, which is ``pixels`` once it is loaded."""
        name = f"predict {name}"
        prediction = self._call(name, lambda: self.predictor.predict(picture, plate, disparity))
        if prediction is not None:
            self._check_prediction(name, prediction, pixels.shape[:2])
        return prediction

    def _stream(self, frames: list[Any], plate: Any) -> None:
        stream = self.predictor.stream(plate)
        for number, frame in enumerate(frames):
            prediction = self._call("stream", lambda frame=frame: stream.predict(frame), frame)
            if prediction is not None:
                self._check_prediction("stream", prediction, prediction.image.shape[:2])
                if stream.state.frames < 1 or number > len(frames):
                    self._find("stream lost count", str(stream.state.frames))

    def _composite(self, prediction: Prediction | None, background: Any) -> None:
        if prediction is None:
            return
        composite = self._call("composite", lambda: prediction.composite(background), background)
        if composite is not None:
            self._check_array("composite", composite, np.uint8, prediction.image.shape)

    def _save(self, prediction: Prediction | None, random: Random) -> None:
        if prediction is None:
            return
        depth_format = str(random.choice(["png", "npy"]))
        target = self.folder / "saved"
        options: Any = {"depth_format": depth_format, "background": "white"}
        self._call("save", lambda: prediction.save(target, **options))

    def _check_prediction(self, name: str, result: Prediction, size: tuple[int, ...]) -> None:
        def inspect() -> None:
            self._check_array(f"{name}: alpha", result.alpha, np.float32, size)
            self._check_range(f"{name}: alpha", result.alpha)
            self._check_array(f"{name}: disparity", result.disparity, np.float32, size)
            valid = ~np.isnan(result.disparity)
            self._check_range(f"{name}: disparity", result.disparity[valid])
            if result.depth_m is not None:
                self._check_array(f"{name}: depth", result.depth_m, np.float32, size)
                if (result.depth_m < 0).any():
                    self._find(f"{name}: negative depth", str(np.nanmin(result.depth_m)))
            if result.distance is not None and not np.isfinite(result.distance.median_m):
                self._find(f"{name}: distance", repr(result.distance))
            self._check_array(f"{name}: cutout", result.cutout(), np.uint8, (*size, 4))
            repr(result)

        self._call(f"{name}: results", inspect)

    def _check_array(self, name: str, array: Any, dtype: Any, shape: tuple[int, ...]) -> None:
        if array.dtype != dtype or array.shape != shape:
            self._find(f"{name}: another array", f"{array.dtype} {array.shape}, not {shape}")

    def _check_range(self, name: str, values: NDArray[Any]) -> None:
        if not ((values >= 0) & (values <= 1)).all():
            self._find(f"{name}: outside [0, 1]", f"{np.nanmin(values)} to {np.nanmax(values)}")

    def _call(self, name: str, function: Callable[[], Any], source: Any = None) -> Any:
        """The result of a call; None where it raised."""
        before = _reset_peak_mb()
        began = time.process_time()
        result = None
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                result = function()
            self.outcome.calls.append(f"{name} ok")
        except MaskdepthError as error:
            self.outcome.calls.append(f"{name} refused")
            if len(str(error)) > 1200 or not str(error).isprintable():
                self._find(f"{name}: a message that no terminal shows", repr(str(error))[:2000])
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
            self._find(f"{type(error).__name__} in {_place(error)}", traceback.format_exc())
        seconds, peak = time.process_time() - began, _peak_mb() - before
        for each in caught:
            if f"{os.sep}maskdepth{os.sep}" in each.filename:
                place = f"{Path(each.filename).name}:{each.lineno}"
                self._find(f"warning at {place}", f"{name}: {each.message}")
        if seconds > self.outcome.seconds:
            self.outcome.seconds, self.outcome.slowest = seconds, name
        if (seconds > MAX_SECONDS or peak > MAX_MEMORY_MB) and _declared_pixels(
            source
        ) <= MAX_PIXELS:
            what = "slow" if seconds > MAX_SECONDS else "memory"
            self._find(f"{what}: {name}", f"{seconds:.1f} s, {peak:.0f} MB")
        return result

    def _find(self, key: str, text: str) -> None:
        self.outcome.findings.append({"key": key, "text": text})


def _place(error: BaseException) -> str:
    """The innermost function of the package, and the module that raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}maskdepth{os.sep}" in frame.filename]
    inner = own[-1] if own else frames[-1]
    return f"{Path(inner.filename).name}:{inner.name} (raised in {Path(frames[-1].filename).name})"


def _declared_pixels(source: Any) -> int:
    try:
        with open_header(source) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001 - what has no size is small
        return 0


def _reset_peak_mb() -> float:
    """Forget the largest memory so far; the present one."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_mb()


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


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
                    if random.random() >= 0.1:
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
            {
                "early": round(float(np.median(each[RSS_AFTER : RSS_AFTER + 200]))),
                "end": round(float(np.median(each[-200:]))),
                "peak": round(max(each)),
            }
            for each in self.rss
            if len(each) > RSS_AFTER + 200
        ]
        return {
            "mutants": self.count,
            "findings": {
                key: {"count": len(numbers), "numbers": numbers[:5]}
                for key, numbers in sorted(self.found.items())
            },
            "calls": dict(sorted(self.calls.items())),
            "slowest": self.slowest,
            "rss_mb": rss,
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
