"""Alpha over time, in drawn clips whose truth is exact: errors, flicker and lag.

Clips are drawn from the test assets of a dataset. A model is judged as a stream, whose frames may
use what came before, and frame by frame; beside it stand the best threshold on |frame - plate| and
OpenCV's MOG2, which gets the frames and no plate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.evaluation.baselines import filtered_difference, registered
from maskdepth.evaluation.frames import JudgedFrame, tune_threshold
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import MASK_THRESHOLD, clip_metrics, mask_metrics
from maskdepth.progress import OnProgress
from maskdepth.synthesis.clips import ClipRules, DrawnClip, DrawnFrame, draw_clip
from maskdepth.synthesis.spec import DatasetSpec

_STEP_FRAMES: Final = 6  # that are judged after a step
_MOG2_FOREGROUND: Final = 255  # its shadows are 127

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Method = Callable[[Sequence[DrawnFrame]], list[Floats]]
"""Gives the alphas (H, W) of frames that follow each other."""


@dataclass(frozen=True)
class AlphaOverTime:
    """Alpha of one method in one clip, or means over clips.

    Attributes:
        mad, dtssd, still_std: see `maskdepth.metrics.clip_metrics`.
        dice: mean over the frames with foreground; None where none has any.
        step_dice: Dice of the six frames after a step, for which the middle third of the clip is
            left out; None of a frame without foreground.
    """

    mad: float
    dtssd: float
    still_std: float
    dice: float | None
    step_dice: tuple[float | None, ...]


@dataclass(frozen=True)
class DrawnClipsResult:
    """Methods by name, ``stream``, ``frame_by_frame``, ``threshold`` and ``mog2``, of each clip.

    Attributes:
        clips: by the clips' numbers, in words.
        mean: over the clips.
    """

    clips: Mapping[str, Mapping[str, AlphaOverTime]]
    mean: Mapping[str, AlphaOverTime]


def evaluate_drawn_clips(
    predictor: Predictor,
    spec: DatasetSpec,
    folder: Path,
    count: int,
    rules: ClipRules | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> DrawnClipsResult:
    """Judge alpha over time in drawn clips.

    Args:
        folder: holds the spec.
        count: of clips, which are numbers 0 and up.
        rules: of the clips; `ClipRules()` if left out.
        on_progress: called with the number of clips that are done, and of all.

    Raises:
        AssetError: the test split lacks cutouts or backgrounds.
    """
    clips: dict[str, dict[str, AlphaOverTime]] = {}
    for number in range(count):
        clip = draw_clip(spec, folder, number, rules, split="test")
        frames = list(clip)
        clips[str(number)] = {
            name: _judge(method, frames) for name, method in _methods(predictor, clip).items()
        }
        on_progress(number + 1, count)
    names = next(iter(clips.values())) if clips else {}
    mean = {name: _mean([clip[name] for clip in clips.values()]) for name in names}
    return DrawnClipsResult(clips, mean)


def _methods(predictor: Predictor, clip: DrawnClip) -> dict[str, Method]:
    plate, rate = clip.plate, clip.script.rules.rate

    def stream(frames: Sequence[DrawnFrame]) -> list[Floats]:
        running = predictor.stream(plate)
        return [
            running.predict(frame.picture, number / rate).alpha
            for number, frame in enumerate(frames)
        ]

    def frame_by_frame(frames: Sequence[DrawnFrame]) -> list[Floats]:
        prepared = predictor.prepare(plate, (plate.shape[0], plate.shape[1]))
        return [predictor.predict(frame.picture, prepared).alpha for frame in frames]

    def threshold(frames: Sequence[DrawnFrame]) -> list[Floats]:
        plates = [registered(frame.picture, plate) for frame in frames]
        everything = np.ones(plate.shape[:2], np.bool_)
        judged = [
            JudgedFrame(frame.picture, frame.alpha > MASK_THRESHOLD, everything) for frame in frames
        ]
        tuned = tune_threshold(judged, plates)
        return [
            (filtered_difference(frame.picture, moved, tuned.median_px) > tuned.threshold).astype(
                np.float32
            )
            for frame, moved in zip(frames, plates, strict=True)
        ]

    def mog2(frames: Sequence[DrawnFrame]) -> list[Floats]:
        subtractor = cv2.createBackgroundSubtractorMOG2()
        return [
            (subtractor.apply(frame.picture) == _MOG2_FOREGROUND).astype(np.float32)
            for frame in frames
        ]

    return {
        "stream": stream, "frame_by_frame": frame_by_frame, "threshold": threshold, "mog2": mog2
    }  # fmt: skip


def _judge(method: Method, frames: Sequence[DrawnFrame]) -> AlphaOverTime:
    target = np.stack([frame.alpha for frame in frames])
    alpha = np.stack(method(frames))
    third = len(frames) // 3
    step = [*frames[:third], *frames[-third:][:_STEP_FRAMES]]
    after = zip(method(step)[third:], step[third:], strict=True)
    dices = [_dice(each, true) for each, true in zip(alpha, target, strict=True)]
    return AlphaOverTime(
        **clip_metrics(alpha, target),
        dice=_average(dices),
        step_dice=tuple(_dice(each, frame.alpha) for each, frame in after),
    )


def _dice(alpha: Floats, target: Floats) -> float | None:
    return mask_metrics(alpha, target).get("dice")


def _average(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def _mean(judged: Sequence[AlphaOverTime]) -> AlphaOverTime:
    steps = zip(*(one.step_dice for one in judged), strict=True)
    return AlphaOverTime(
        mad=float(np.mean([one.mad for one in judged])),
        dtssd=float(np.mean([one.dtssd for one in judged])),
        still_std=float(np.mean([one.still_std for one in judged])),
        dice=_average([one.dice for one in judged]),
        step_dice=tuple(_average(step) for step in steps),
    )
