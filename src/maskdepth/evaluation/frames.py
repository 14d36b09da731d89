"""Masks of real frames of a fixed camera, in the layout of CDnet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import AssetError, PictureError
from maskdepth.evaluation.baselines import (
    ThresholdSearch,
    filtered_difference,
    largest_difference,
    registered,
)
from maskdepth.evaluation.columns import OMITTED
from maskdepth.evaluation.measured_depth import check_folder, find_picture
from maskdepth.images import load_picture
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import MASK_THRESHOLD
from maskdepth.picture_formats import PICTURE_SUFFIXES
from maskdepth.progress import OnProgress

# CDnet's grey levels (Goyette et al., "changedetection.net", CVPR workshops 2012).
_FOREGROUND: Final = 255
_BACKGROUND: Final = (0, 50)  # background, and shadows on it
_LAYOUT: Final = "frames in1.jpg, in2.jpg ..., their masks gt1.png, gt2.png ..., and plate.png"

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FrameTuning:
    """What a threshold on frames was tuned to, and on how many."""

    threshold: int
    median_px: int
    on: int


@dataclass(frozen=True)
class PixelScores:
    """Of the pixels of all frames together; 0 where nothing is claimed."""

    f1: float
    precision: float
    recall: float
    tuned: FrameTuning | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True)
class LeftOut:
    """Frames that take no part, the first of them, and why."""

    frames: int
    first: str
    why: str

    def __str__(self) -> str:
        return f"{self.frames} frames left out: {self.why}; the first is {self.first}"


@dataclass(frozen=True)
class FrameResult:
    """Masks of real frames.

    Attributes:
        no_plate: the model, of the frame alone.
        difference, difference_registered: thresholds on |frame - plate|.
        mog2: OpenCV's background subtraction, which gets all frames in order but no plate.
        others: more models by name.
        frames: how many were judged.
    """

    model: PixelScores
    no_plate: PixelScores
    difference: PixelScores
    difference_registered: PixelScores
    mog2: PixelScores
    others: Mapping[str, PixelScores]
    frames: int
    left_out: Sequence[LeftOut]


@dataclass(frozen=True)
class JudgedFrame:
    """A frame with its foreground, and the pixels that count."""

    picture: Picture
    target: Mask
    judged: Mask


class PixelCounts:
    """Pixels of all frames together."""

    def __init__(self) -> None:
        self._hits = self._claimed = self._true = 0

    def add(self, mask: Mask, frame: JudgedFrame) -> None:
        """Take one frame's mask."""
        self._hits += int((mask & frame.target & frame.judged).sum())
        self._claimed += int((mask & frame.judged).sum())
        self._true += int((frame.target & frame.judged).sum())

    def scores(self) -> PixelScores:
        """F1, precision and recall; there has to be foreground in some frame."""
        return PixelScores(
            f1=2 * self._hits / (self._claimed + self._true),
            precision=self._hits / max(self._claimed, 1),
            recall=self._hits / self._true,
        )


def evaluate_frames(
    predictor: Predictor,
    folder: Path,
    *,
    tune: int = 20,
    others: Mapping[str, Predictor] | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> FrameResult:
    """Foreground on frames of a fixed camera.

    Frames without ground truth, and those of whose ground truth no pixel is judged, are left out.

    Args:
        folder: ``in<number>.jpg`` with ``gt<number>.png`` (255 foreground, 0 background, 50 shadow,
            which counts as background, all else is left out) and ``plate.png``.
        tune: so many first frames choose the baseline's threshold and median; the rest is judged.
        others: more models by name.
        on_progress: called with the number of frames that are done with, and of all.

    Raises:
        AssetError: a file is missing, there are no frames left to judge, or no foreground in those
            that are tuned on or in those that are judged.
        PictureError: a frame, its ground truth and the plate are not of one size.
    """
    frames, plate, left_out = _load_frames(folder)
    _check_frames(frames, tune, folder, left_out)
    plates: dict[str, Callable[[Picture], Picture]] = {
        "difference": lambda _: plate,
        "difference_registered": lambda picture: registered(picture, plate),
    }
    tuned = {
        name: tune_threshold(frames[:tune], [plate_for(each.picture) for each in frames[:tune]])
        for name, plate_for in plates.items()
    }
    models = {"model": predictor}
    models |= {f"other {name}": other for name, other in (others or {}).items()}
    counts = {name: PixelCounts() for name in (*models, "no_plate", *plates, "mog2")}
    subtractor = cv2.createBackgroundSubtractorMOG2(detectShadows=True)
    for number, frame in enumerate(frames):
        masks = {"mog2": np.asarray(subtractor.apply(frame.picture)) == _FOREGROUND}
        if number < tune:
            continue
        for name, each in models.items():
            masks[name] = each.predict(frame.picture, plate).alpha > MASK_THRESHOLD
        masks["no_plate"] = predictor.predict(frame.picture).alpha > MASK_THRESHOLD
        for name, plate_for in plates.items():
            side = tuned[name].median_px
            difference = filtered_difference(frame.picture, plate_for(frame.picture), side)
            masks[name] = difference > tuned[name].threshold
        for name, mask in masks.items():
            counts[name].add(mask, frame)
        on_progress(number + 1, len(frames))
    scores = {name: each.scores() for name, each in counts.items()}
    scores |= {name: replace(scores[name], tuned=tuning) for name, tuning in tuned.items()}
    return FrameResult(
        model=scores["model"],
        no_plate=scores["no_plate"],
        difference=scores["difference"],
        difference_registered=scores["difference_registered"],
        mog2=scores["mog2"],
        others={name: scores[f"other {name}"] for name in others or {}},
        frames=len(frames) - tune,
        left_out=left_out,
    )


def _check_frames(
    frames: Sequence[JudgedFrame], tune: int, folder: Path, left_out: Sequence[LeftOut]
) -> None:
    if len(frames) <= tune:
        raise AssetError(
            f"more than the {tune} frames that are tuned on in {folder}",
            "; ".join([str(len(frames)), *map(str, left_out)]),
            "add frames, or tune on fewer: `evaluate frames --tune N`",
        )
    for part, use in ((frames[:tune], "tuned on"), (frames[tune:], "judged")):
        if not any(frame.target.any() for frame in part):
            raise AssetError(
                f"foreground ({_FOREGROUND}) in the ground truth of the frames that are {use}",
                f"none in the {len(part)} of {folder}",
                "add frames with foreground, or tune on another number: `--tune N`",
            )


def _load_frames(folder: Path) -> tuple[list[JudgedFrame], Picture, list[LeftOut]]:
    check_folder(folder)
    masks = sorted(folder.glob("gt*.png"), key=_frame_order)
    if not masks:
        raise AssetError(
            f"{_LAYOUT} in {folder}",
            "no gt*.png",
            "name the files like that",
            f"There are no masks in {folder}: it has to hold {_LAYOUT}.",
        )
    plate = load_picture(find_picture(folder, "plate"))
    frames, unjudged = [], []
    for path in masks:
        picture = load_picture(find_picture(folder, f"in{path.stem.removeprefix('gt')}"))
        levels = load_picture(path)[..., 0]
        if not picture.shape[:2] == levels.shape == plate.shape[:2]:
            raise PictureError(
                f"frame, mask and plate of one size at {path}",
                f"{picture.shape[:2]}, {levels.shape} and {plate.shape[:2]}",
                "resize them",
            )
        frame = judge_levels(picture, levels)
        if frame.judged.any():
            frames.append(frame)
        else:
            unjudged.append(path.name)
    left_out = {
        "no ground truth": [
            path.name
            for path in sorted(folder.glob("in[0-9]*"))
            if path.suffix.lower() in PICTURE_SUFFIXES
            and not (folder / f"gt{path.stem.removeprefix('in')}.png").exists()
        ],
        "no judged pixel in the ground truth": unjudged,
    }
    return (
        frames,
        plate,
        [LeftOut(len(names), names[0], why) for why, names in left_out.items() if names],
    )


def _frame_order(path: Path) -> tuple[int, str]:
    """Frame 2 before frame 10, whether or not their numbers have as many digits."""
    number = path.stem.removeprefix("gt")
    return int(number) if number.isdecimal() else -1, path.name


def judge_levels(picture: Picture, levels: Picture) -> JudgedFrame:
    """A frame by the grey levels (H, W) of its ground truth."""
    target = levels == _FOREGROUND
    return JudgedFrame(picture, target, target | np.isin(levels, _BACKGROUND))


def tune_threshold(frames: Sequence[JudgedFrame], plates: Sequence[Picture]) -> FrameTuning:
    """Threshold and median filter of the best pooled F1, of frames with a plate for each."""
    search = ThresholdSearch(pooled=True)
    for frame, plate in zip(frames, plates, strict=True):
        levels = largest_difference(frame.picture, plate)
        search.add(levels, frame.target, frame.judged)
    threshold, side, _ = search.best()
    return FrameTuning(threshold, side, len(frames))
