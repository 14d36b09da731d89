"""A plate from frames of one camera in which things move, also where they stay for long.

1. The camera's shake is removed, and the light made even: each frame is moved onto the median of
   all and lit like it. What moved is then registered again, to the sharper median.
2. Each pixel's states over time are found (`states`), and the one that is the empty scene is chosen
   (`choice`), on small copies.
3. The plate is the mean of the frames that show that state, at full size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import bands, resize
from maskdepth.inference.plate.choice import choose_states
from maskdepth.inference.plate.light import Light, find_light, mean_cells
from maskdepth.inference.plate.motion import motion_reach
from maskdepth.inference.plate.registration import PlateFeatures, Registration, register_plate
from maskdepth.inference.plate.sampling import check_count
from maskdepth.inference.plate.states import find_states
from maskdepth.records import Json

__all__ = ["EstimatedPlate", "estimate_plate"]

_REGISTERED_SIDE: Final = 640  # px, long side of the copies that are registered
_MIN_LIGHT_CHANGE: Final = 5.0  # levels: passing objects disturb the fit by less
_MIN_MOTION: Final = 0.35  # px of the registered copies, at their outer corners
_STATES_SIDE: Final = 320  # px, long side of the copies whose states are found
_REACHES: Final = (None, 40, 16, 8)  # levels around the last mean that count in the next one
_SURE_FRAMES: Final = 5  # that show a pixel's empty scene; with fewer it is less sure
_UNSURE: Final = 0.5  # confidence

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class EstimatedPlate:
    """A plate that was found in frames.

    Attributes:
        picture: uint8 (H, W, 3) RGB.
        confidence: float32 (H, W) in [0, 1]: how surely each pixel shows the empty scene. That is
            the share of the evidence that speaks for it, times the number of frames that show it,
            up to five, over five.
        shown: float32 (H, W): share of the frames that show the pixel's empty scene.
        frames: number of frames it was made of.
        moved, relit: how many of them had to be moved onto the others, and lit like them.
    """

    picture: Picture
    confidence: Floats
    shown: Floats
    frames: int
    moved: int
    relit: int

    def describe(self) -> str:
        """What it was made of, in a line."""
        done = [f"{self.moved} moved"] if self.moved else []
        done += [f"{self.relit} relit"] if self.relit else []
        return f"estimated from {self.frames} frames" + (f" ({', '.join(done)})" if done else "")

    def as_json(self) -> Json:
        """Plain values, without the pictures."""
        return {
            "frames": self.frames,
            "moved": self.moved,
            "relit": self.relit,
            "unsure": round(self.unsure, 5),
        }

    @property
    def unsure(self) -> float:
        """The share of the pixels with a confidence below a half: never or hardly seen empty."""
        return float((self.confidence < _UNSURE).mean())


def estimate_plate(frames: Sequence[Picture]) -> EstimatedPlate:
    """Estimate the plate of a fixed camera.

    Args:
        frames: uint8 (H, W, 3) RGB of one size, in the order of time; see
            `maskdepth.inference.plate.sampling`.

    Raises:
        PlateError: there are fewer than three.
    """
    check_count(len(frames))
    motions = _find_motions(frames)
    steady = [motion.move_back(frame) for motion, frame in zip(motions, frames, strict=True)]
    relit = _even_light(steady)
    small = [_shrink(frame, _STATES_SIDE) for frame in steady]
    size = (small[0].shape[0], small[0].shape[1])
    found = find_states(small, [motion.visible_back(size) for motion in motions])
    choice = choose_states(found)
    picture = _mean_of_shown(steady, choice.shown)
    evidence = np.minimum(found.chosen(choice.states, found.share) * len(frames) / _SURE_FRAMES, 1)
    height, width = frames[0].shape[:2]
    return EstimatedPlate(
        picture,
        resize(np.asarray(choice.certainty * evidence, np.float32), height, width),
        resize(choice.shown.mean(axis=0, dtype=np.float32), height, width),
        frames=len(frames),
        moved=sum(motion.matrix is not None for motion in motions),
        relit=relit,
    )


def _shrink(picture: Picture, side: int) -> Picture:
    """A picture whose long side is at most ``side``."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    return resize(picture, max(1, round(height * scale)), max(1, round(width * scale)))


def _median(frames: Sequence[Picture]) -> Picture:
    """The temporal median of each pixel."""
    median = np.empty_like(frames[0])
    for rows in bands(*median.shape[:2]):
        median[rows] = np.rint(np.median([frame[rows] for frame in frames], axis=0))
    return median


def _find_motions(frames: Sequence[Picture]) -> list[Registration]:
    """The motion of each frame against the median of all, of frames that are moved back."""
    copies = [_shrink(frame, _REGISTERED_SIDE) for frame in frames]
    features = PlateFeatures.measure(_median(copies))
    motions = [register_plate(copy, features) for copy in copies]
    if all(motion.matrix is None for motion in motions):
        return motions
    steady = [motion.move_back(copy) for motion, copy in zip(motions, copies, strict=True)]
    features = PlateFeatures.measure(_median(steady))
    return [_without_jitter(register_plate(copy, features)) for copy in copies]


def _without_jitter(motion: Registration) -> Registration:
    """The motion; none where it is as small as what noise makes of a still camera."""
    if motion.matrix is None or motion_reach(motion.matrix, *motion.size) >= _MIN_MOTION:
        return motion
    return replace(motion, matrix=None)


def _even_light(frames: list[Picture]) -> int:
    """Light frames like their median, in place; returns how many were relit."""
    cells = np.stack([mean_cells(frame) for frame in frames])
    common = np.median(cells, axis=0)
    relit = 0
    for number, own in enumerate(cells):
        light = find_light(common, own)
        if light is not None and _change(light) >= _MIN_LIGHT_CHANGE:
            frames[number] = light.apply(frames[number])
            relit += 1
    return relit


def _change(light: Light) -> float:
    """How much a light changes grey levels, the median over their range."""
    levels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1).repeat(3, axis=2)
    return float(np.median(np.abs(light.apply(levels).astype(np.int16) - levels)))


def _mean_of_shown(frames: Sequence[Picture], shown: Mask) -> Picture:
    """The mean of the frames where they show the empty scene (T, h, w), without outliers."""
    height, width = frames[0].shape[:2]
    masks = [
        cv2.resize(each.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR)
        for each in shown
    ]
    mean = frames[0]
    for reach in _REACHES:
        total = np.zeros(mean.shape, np.float32)
        count = np.zeros(mean.shape[:2], np.float32)
        low, high = _window(mean, reach)
        for frame, mask in zip(frames, masks, strict=True):
            counted = cv2.bitwise_and(cv2.inRange(mask, 128, 255), cv2.inRange(frame, low, high))
            cv2.accumulate(frame, total, counted)
            cv2.accumulate(counted, count)
        weights = cv2.merge([np.maximum(count / 255, 1)] * 3)
        means = cv2.convertScaleAbs(total / weights)
        mean = np.where(count[..., None] > 0, means, mean).astype(np.uint8)
    return mean


def _window(mean: Picture, reach: int | None) -> tuple[Picture, Picture]:
    """The lowest and the highest level that count (H, W, 3), as far below the mean as above.

    Near black and white the window is narrow: noise that the sensor clips on one side only would
    draw the mean to the other.
    """
    if reach is None:
        return np.zeros_like(mean), np.full_like(mean, 255)
    room = cv2.add(np.minimum(mean, 255 - mean), np.ones_like(mean))
    half = np.minimum(room, np.uint8(reach))
    return np.asarray(cv2.subtract(mean, half), np.uint8), np.asarray(cv2.add(mean, half), np.uint8)
