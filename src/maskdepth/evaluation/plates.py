"""Estimated plates, beside the temporal median and OpenCV's MOG2.

The measures are those of the SBI benchmark (Maddalena and Petrosino, "Towards Benchmarking Scene
Background Initialization", ICIAP workshops 2015), on grey levels: AGE is the average error, pEPs
the share of pixels whose error is above 20.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.evaluation.clips import RealClip, load_clip, read_clip
from maskdepth.evaluation.columns import OMITTED
from maskdepth.evaluation.frames import PixelCounts
from maskdepth.images import bands
from maskdepth.inference.plate.estimate import estimate_plate
from maskdepth.inference.plate.light import find_light, mean_cells
from maskdepth.inference.plate.sampling import sample_frames
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import MASK_THRESHOLD
from maskdepth.progress import OnProgress
from maskdepth.synthesis.clips import ClipRules, draw_clip
from maskdepth.synthesis.spec import DatasetSpec

ERROR_LEVEL: Final = 20
"""Of 255: a pixel with a larger error in grey counts as wrong."""

DRAWN: Final = ClipRules(taken_probability=0, light_probability=0, moved_probability=0)
"""Drawn clips that plates are judged on. The plate of a clip from which something is taken, or
whose light or camera changes for good, is one of two, both right."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class PlateErrors:
    """Errors of a plate: AGE, in grey levels, and pEPs, a share."""

    age: float
    peps: float


@dataclass(frozen=True)
class JudgedPlate:
    """The plates of one clip.

    Attributes:
        estimate: ours.
        median: the temporal median of the same frames.
        mog2: OpenCV's MOG2's background after all frames.
        unsure: share of our plate's pixels with a confidence below a half.
        error_when_sure: pEPs of our plate's other pixels.
        f1: of a model's masks with our plate, and with the clip's own; None where no model was
            given.
    """

    estimate: PlateErrors
    median: PlateErrors
    mog2: PlateErrors
    unsure: float
    error_when_sure: float
    f1: float | None = field(default=None, metadata=OMITTED)
    f1_own_plate: float | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True)
class PlatesResult:
    """Clips by name, and means over them of their figures."""

    clips: Mapping[str, JudgedPlate]
    mean: JudgedPlate


def evaluate_plates(
    folders: Sequence[Path],
    predictor: Predictor | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> PlatesResult:
    """Estimated plates of real clips.

    Args:
        folders: as in `maskdepth.evaluation.evaluate_clips`.
        predictor: a model whose masks are judged with the estimated plate, and with the clip's.
        on_progress: called with the number of clips that are done, and of all.

    Raises:
        AssetError: as `evaluate_clips`.
    """
    judged = {}
    for number, folder in enumerate(folders):
        clip = load_clip(folder)
        judged[folder.resolve().name] = _judge(
            partial(read_clip, folder), clip.plate, clip=clip, predictor=predictor
        )
        on_progress(number + 1, len(folders))
    return PlatesResult(judged, _mean(list(judged.values())))


def evaluate_drawn_plates(
    spec: DatasetSpec, folder: Path, count: int, on_progress: OnProgress = lambda *_: None
) -> PlatesResult:
    """Estimated plates of clips that are drawn from a dataset's test assets.

    The exposure of these clips drifts, so each plate is first lit like the true one, as prediction
    does with any plate.

    Args:
        folder: holds the spec.
        count: of clips, which are numbers 0 and up.
        on_progress: called with the number of clips that are done, and of all.

    Raises:
        AssetError: the test split lacks cutouts or backgrounds.
    """
    judged = {}
    for number in range(count):
        drawn = draw_clip(spec, folder, number, DRAWN, split="test")
        frames = [frame.picture for frame in drawn]
        judged[str(number)] = _judge(partial(list, frames), drawn.plate, light=True)
        on_progress(number + 1, count)
    return PlatesResult(judged, _mean(list(judged.values())))


def _judge(
    read: Callable[[], Iterable[Picture]],
    plate: Picture,
    *,
    light: bool = False,
    clip: RealClip | None = None,
    predictor: Predictor | None = None,
) -> JudgedPlate:
    sampled = sample_frames(read())
    found = estimate_plate(sampled)

    def errors(picture: Picture) -> PlateErrors:
        error = _grey_errors(picture, plate, light=light)
        return PlateErrors(float(error.mean()), float((error > ERROR_LEVEL).mean()))

    sure = found.confidence >= 0.5
    wrong = _grey_errors(found.picture, plate, light=light) > ERROR_LEVEL
    with_plates = [
        None if predictor is None or clip is None else _f1(predictor, clip, each)
        for each in (found.picture, plate)
    ]
    return JudgedPlate(
        errors(found.picture),
        errors(temporal_median(sampled)),
        errors(mog2_background(read())),
        found.unsure,
        float(wrong[sure].mean()) if sure.any() else 0.0,
        *with_plates,
    )


def temporal_median(frames: Sequence[Picture]) -> Picture:
    """uint8 (H, W, 3): the median of each pixel."""
    median = np.empty_like(frames[0])
    for rows in bands(*median.shape[:2]):
        median[rows] = np.rint(np.median([frame[rows] for frame in frames], axis=0))
    return median


def mog2_background(frames: Iterable[Picture]) -> Picture:
    """uint8 (H, W, 3): what OpenCV's MOG2 takes for background after all frames."""
    subtractor = cv2.createBackgroundSubtractorMOG2()
    for frame in frames:
        subtractor.apply(frame)
    return np.asarray(subtractor.getBackgroundImage(), np.uint8)


def _grey_errors(picture: Picture, plate: Picture, *, light: bool) -> NDArray[np.float32]:
    """The errors (H, W) in grey levels, of a picture that is first lit like the plate if asked."""
    relight = find_light(mean_cells(plate), mean_cells(picture)) if light else None
    lit = picture if relight is None else relight.apply(picture)
    grey, target = (
        cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (lit, plate)
    )
    return np.asarray(np.abs(grey - target), np.float32)


def _f1(predictor: Predictor, clip: RealClip, plate: Picture) -> float:
    counts = PixelCounts()
    prepared = predictor.prepare(plate, (plate.shape[0], plate.shape[1]))
    for frame in clip.frames:
        counts.add(predictor.predict(frame.picture, prepared).alpha > MASK_THRESHOLD, frame)
    return counts.scores().f1


def _mean(judged: Sequence[JudgedPlate]) -> JudgedPlate:
    def of(values: Iterator[float | None]) -> float | None:
        present = [value for value in values if value is not None]
        return float(np.mean(present)) if present else None

    def errors(plates: Sequence[PlateErrors]) -> PlateErrors:
        return PlateErrors(
            float(np.mean([each.age for each in plates])),
            float(np.mean([each.peps for each in plates])),
        )

    return JudgedPlate(
        errors([each.estimate for each in judged]),
        errors([each.median for each in judged]),
        errors([each.mog2 for each in judged]),
        float(np.mean([each.unsure for each in judged])),
        float(np.mean([each.error_when_sure for each in judged])),
        of(each.f1 for each in judged),
        of(each.f1_own_plate for each in judged),
    )
