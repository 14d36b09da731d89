"""Call the package with one mutant after another, and check what comes out."""

from __future__ import annotations

import os
import resource
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_corpus import Picture, scene
from fuzz_inputs import (
    EXTREME_SHARE,
    MAX_PIXELS,
    Mutant,
    Random,
    generator,
    hostile_disparity,
    hostile_picture,
    make_mutant,
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

MAX_SECONDS, MAX_MEMORY_MB = 5.0, 700
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
        if random.random() < EXTREME_SHARE:
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
        unit: Any = {"depth_unit": "mm"} if option == "depth" and random.random() < 0.2 else {}
        found = self._call(
            f"read_plate_depth {option}",
            lambda: read_plate_depth(self.plate_file, plate, **{option: path}, **unit),
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
