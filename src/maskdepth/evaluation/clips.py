"""Masks and depth in clips of a fixed camera: how good, how steady, and what is nearer than what.

A frame's depth can be judged without measured depth in two ways. What is background in all frames
should keep its disparity from frame to frame. What stands before the plate should be nearer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import AssetError
from maskdepth.evaluation.baselines import filtered_difference, registered
from maskdepth.evaluation.columns import OMITTED
from maskdepth.evaluation.frames import (
    JudgedFrame,
    PixelCounts,
    PixelScores,
    judge_levels,
    tune_threshold,
)
from maskdepth.evaluation.measured_depth import check_folder, find_picture
from maskdepth.images import load_picture
from maskdepth.inference.model.card import NO_DEPTH
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import MASK_THRESHOLD

CLIP_FILE: Final = "clip.mp4"
MASK_FOLDER: Final = "gt"
MIN_NEARER: Final = 0.01
"""Of disparity's range: by so much a foreground pixel has to be nearer than the plate."""

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ClipDepth:
    """Disparity, in [0, 1], of the frames of one clip.

    Attributes:
        background_std: standard deviation over the frames, at pixels that are background in all of
            them; the median over these pixels. 0 is perfect.
        background_spread: from the 5th to the 95th percentile of the mean over the frames, at these
            pixels: the scale for that deviation.
        background_pixels: how many of these pixels there are; without any, both figures are None.
        nearer: share of the true foreground pixels inside the predicted mask that are nearer than
            the plate by `MIN_NEARER`. The plate's disparity is what the model makes of the plate
            before itself. None where the mask misses all.
        own_nearer: the same share of the predicted mask by the network's own layer, which a
            prediction never lets lie behind the plate; None where no layer could be compared.
    """

    background_std: float | None
    background_spread: float | None
    background_pixels: int
    nearer: float | None
    own_nearer: float | None = None


@dataclass(frozen=True)
class ClipResult:
    """One clip.

    Attributes:
        frames: those with a mask, all of which are judged.
        difference, difference_registered: thresholds on |frame - plate|, tuned on these frames
            themselves: the best that any threshold can do.
        depth: None of a model of masks alone.
    """

    frames: int
    model: PixelScores
    difference: PixelScores
    difference_registered: PixelScores
    depth: ClipDepth | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True)
class ClipsResult:
    """Clips by the names of their folders, and means over those clips that have the figure.

    Attributes:
        mean: F1 as ``f1``, ``difference_f1`` and ``difference_registered_f1``; ``background_std``,
            ``nearer`` and ``own_nearer`` of depth.
    """

    clips: Mapping[str, ClipResult]
    mean: Mapping[str, float | None]


@dataclass(frozen=True)
class RealClip:
    """A clip with its plate, and the frames that have masks."""

    plate: Picture
    frames: Sequence[JudgedFrame]


def evaluate_clips(predictor: Predictor, folders: Sequence[Path]) -> ClipsResult:
    """Masks and depth in clips of a fixed camera.

    Args:
        folders: each with ``clip.mp4``, ``plate.png`` and ``gt/<frame>.png``: masks of some frames,
            named by the frame's number from 0 (255 foreground, 0 background, 50 shadow, which
            counts as background, all else is left out).

    Raises:
        AssetError: a file is missing, the clip cannot be decoded or is too short, a mask is of
            another size, or there is no foreground.
    """
    clips = {
        folder.resolve().name: _evaluate_clip(predictor, load_clip(folder)) for folder in folders
    }
    results = clips.values()
    depths = [each.depth for each in results if each.depth is not None]
    return ClipsResult(
        clips,
        mean={
            "f1": _mean(each.model.f1 for each in results),
            "difference_f1": _mean(each.difference.f1 for each in results),
            "difference_registered_f1": _mean(each.difference_registered.f1 for each in results),
            "background_std": _mean(each.background_std for each in depths),
            "nearer": _mean(each.nearer for each in depths),
            "own_nearer": _mean(each.own_nearer for each in depths),
        },
    )


def _mean(figures: Iterable[float | None]) -> float | None:
    values = [figure for figure in figures if figure is not None]
    return float(np.mean(values)) if values else None


def _evaluate_clip(predictor: Predictor, clip: RealClip) -> ClipResult:
    counts, disparities = PixelCounts(), []
    own_shares, mask_sizes = [], []
    nearer = claimed = 0
    learned = predictor.card.depth != NO_DEPTH
    plate_disparity = predictor.predict(clip.plate, clip.plate).disparity
    for frame in clip.frames:
        prediction = predictor.predict(frame.picture, clip.plate)
        mask = prediction.alpha > MASK_THRESHOLD
        counts.add(mask, frame)
        inside = mask & frame.target
        claimed += int(inside.sum())
        nearer += int((prediction.disparity - plate_disparity >= MIN_NEARER)[inside].sum())
        disparities.append(prediction.disparity)
        if prediction.alignment is not None and prediction.alignment.in_front is not None:
            own_shares.append(prediction.alignment.in_front)
            mask_sizes.append(int(mask.sum()))
    depth = None
    if learned:
        always = np.all([frame.judged & ~frame.target for frame in clip.frames], axis=0)
        depth = _steadiness(np.stack(disparities), always)
        own = float(np.average(own_shares, weights=mask_sizes)) if any(mask_sizes) else None
        depth = replace(depth, nearer=nearer / claimed if claimed else None, own_nearer=own)
    return ClipResult(
        frames=len(clip.frames),
        model=counts.scores(),
        difference=_judge_threshold(clip.frames, [clip.plate] * len(clip.frames)),
        difference_registered=_judge_threshold(
            clip.frames, [registered(frame.picture, clip.plate) for frame in clip.frames]
        ),
        depth=depth,
    )


def _steadiness(disparities: Floats, always: Mask) -> ClipDepth:
    """How steady disparities (frames, H, W) are where all frames show background."""
    values = disparities[:, always]
    if not values.size:
        return ClipDepth(None, None, 0, None)
    low, high = np.percentile(values.mean(axis=0), (5, 95))
    return ClipDepth(float(np.median(values.std(axis=0))), float(high - low), values.shape[1], None)


def _judge_threshold(frames: Sequence[JudgedFrame], plates: Sequence[Picture]) -> PixelScores:
    """The threshold of best F1 on these very frames, each with its plate."""
    tuned = tune_threshold(frames, plates)
    counts = PixelCounts()
    for frame, plate in zip(frames, plates, strict=True):
        levels = filtered_difference(frame.picture, plate, tuned.median_px)
        counts.add(levels > tuned.threshold, frame)
    return replace(counts.scores(), tuned=tuned)


def load_clip(folder: Path) -> RealClip:
    """The clip of a folder, see `evaluate_clips`."""
    check_folder(folder)
    masks = {
        int(path.stem): path
        for path in (folder / MASK_FOLDER).glob("*.png")
        if path.stem.isdecimal()
    }
    if not masks:
        layout = f"{CLIP_FILE}, plate.png and masks by frame number, {MASK_FOLDER}/000000.png ..."
        raise AssetError(
            f"{layout} in {folder}",
            "no masks",
            "name the files like that",
            f"There are no masks in {folder / MASK_FOLDER}: {folder} has to hold {layout}.",
        )
    plate = load_picture(find_picture(folder, "plate"))
    frames = []
    for number, picture in _read_frames(folder / CLIP_FILE, set(masks)):
        levels = load_picture(masks[number])[..., 0]
        if not picture.shape[:2] == levels.shape == plate.shape[:2]:
            sizes = [f"{each.shape[1]}x{each.shape[0]}" for each in (picture, levels, plate)]
            raise AssetError(
                f"frame, mask and plate of one size in {folder}",
                f"{', '.join(sizes)} px for frame {number}",
                "resize them to the frame",
                f"Frame {number}, its mask and the plate in {folder} have the sizes "
                f"{', '.join(sizes)} px.",
            )
        frames.append(judge_levels(picture, levels))
    if not any(frame.target.any() for frame in frames):
        raise AssetError(
            f"foreground (255) in the masks of {folder}",
            "none",
            "add masks with foreground",
            f"No mask in {folder / MASK_FOLDER} has foreground (255).",
        )
    return RealClip(plate, frames)


def read_clip(folder: Path) -> Iterator[Picture]:
    """All frames of a folder's clip, in order."""
    with _opened(folder / CLIP_FILE) as capture:
        while capture.grab():
            yield _retrieve(capture)


def _read_frames(path: Path, numbers: set[int]) -> Iterator[tuple[int, Picture]]:
    """The frames of these numbers, from 0, in order."""
    last = max(numbers)
    with _opened(path) as capture:
        for number in range(last + 1):
            if not capture.grab():
                got = f"{number} frames" if number else "no frame that OpenCV can decode"
                raise AssetError(
                    f"{last + 1} frames in {path}",
                    got,
                    "convert the clip to H.264, or leave the masks beyond its end out",
                    f"{path} should have {last + 1} frames or more for its masks, but has {got}.",
                )
            if number in numbers:
                yield number, _retrieve(capture)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not path.is_file():
        raise AssetError(f"a clip at {path}", "nothing there", "check the path")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its complaints are in our error
    capture = cv2.VideoCapture(str(path))
    try:
        yield capture
    finally:
        capture.release()


def _retrieve(capture: cv2.VideoCapture) -> Picture:
    _, pixels = capture.retrieve()
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
