"""The states of a scene's pixels over time: colours that a pixel keeps for a while.

A pixel of a fixed camera shows the empty scene, then for a time an object that stands there, then
the scene again. Each is a state. States are found by following the frames in their order: a colour
within reach of a state belongs to it, any other begins a new state in place of the rarest. A second
pass gives each state its mean and each frame its states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["PixelStates", "find_states"]

STATES: Final = 5  # of a pixel; more passing colours than this replace each other
_MIN_REACH: Final = 10.0  # levels of the largest channel
_MAX_REACH: Final = 30.0
_REACH: Final = 5.0  # deviations of the noise
_PIXEL_REACH: Final = 3.0  # the same, of the pixel's own: leaves and screens are never still
_MEAN_OVER: Final = 20  # frames over which a state's colour is followed
_ENDS: Final = 0.05  # of a state's frames at each end of its span, which single frames may be

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Labels = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class PixelStates:
    """The states of each pixel, K of them, over T frames.

    Attributes:
        colours: float32 (K, H, W, 3) RGB, 0..255: means of the frames that show the state.
        labels: int8 (T, H, W): the number of the state that a frame shows; -1 for none.
        share: float32 (K, H, W): of the frames, those that show the state and follow or precede
            a frame that shows it too. What only passes by has none.
        span: float32 (K, H, W): from the first to the last of these frames, of the clip.
    """

    colours: Floats
    labels: Labels
    share: Floats
    span: Floats

    def chosen(self, states: NDArray[np.intp], values: Floats) -> Floats:
        """The values (K, H, W) or (K, H, W, 3) of one state (H, W) for each pixel."""
        index = states[None] if values.ndim == 3 else states[None, ..., None]
        return np.asarray(np.take_along_axis(values, index, axis=0)[0])


def find_states(
    frames: Sequence[Picture], visible: Sequence[NDArray[np.bool_] | None]
) -> PixelStates:
    """Find the states of every pixel.

    Args:
        frames: T > 1 pictures uint8 (H, W, 3) RGB of one camera, in the order of time.
        visible: bool (H, W) of each: the pixels that show anything; None for all.
    """
    smooth = [np.asarray(cv2.blur(frame, (3, 3)), np.uint8) for frame in frames]
    reach = _reach(smooth)
    colours = _follow(smooth, visible, reach)
    for _ in range(2):
        labels = np.stack([_nearest(frame, colours, reach) for frame in smooth])
        for label, shown in zip(labels, visible, strict=True):
            if shown is not None:
                label[~shown] = -1
        colours = _means(smooth, labels)
    share, span = _persistence(labels)
    return PixelStates(np.stack(colours), labels, share, span)


def _reach(frames: Sequence[NDArray[np.uint8]]) -> Floats:
    """How far a colour may be from its state (H, W), from the changes between frames."""
    steps = np.stack([_largest(cv2.absdiff(*pair)) for pair in pairwise(frames)])
    # The median of the largest of three differences, each of two frames' noise.
    deviation = np.median(steps, axis=0) / 1.7
    common = _REACH * float(np.median(deviation))
    reach = np.maximum(common, _PIXEL_REACH * deviation)
    return np.asarray(np.clip(reach, _MIN_REACH, _MAX_REACH), np.float32)


def _largest(difference: NDArray[Any]) -> Floats:
    red, green, blue = cv2.split(difference)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)


def _distances(frame: NDArray[Any], colours: Sequence[Floats]) -> Floats:
    return np.stack([_largest(cv2.absdiff(frame, colour)) for colour in colours])


def _follow(
    frames: Sequence[NDArray[np.uint8]],
    visible: Sequence[NDArray[np.bool_] | None],
    reach: Floats,
) -> list[Floats]:
    """Colours of up to K states of each pixel; those of no state are far from any colour."""
    size = frames[0].shape
    colours = [np.full(size, -1000, np.float32) for _ in range(STATES)]
    counts = np.zeros((STATES, *size[:2]), np.int32)
    rows, columns = np.ogrid[: size[0], : size[1]]
    for frame, shown in zip(frames, visible, strict=True):
        values = frame.astype(np.float32)
        distances = _distances(values, colours)
        nearest = distances.argmin(axis=0)
        belongs = distances[nearest, rows, columns] <= reach
        state = np.where(belongs, nearest, counts.argmin(axis=0))
        if shown is not None:
            state[~shown] = 0
            belongs[~shown] = True
        count = np.where(belongs, counts[state, rows, columns], 0)
        counts[state, rows, columns] = count + 1
        rate = (1 / (np.minimum(count, _MEAN_OVER) + 1)).astype(np.float32)
        for number in range(STATES):
            own = np.where(state == number, rate, np.float32(0))
            colours[number] += (values - colours[number]) * own[..., None]
    return colours


def _nearest(frame: NDArray[np.uint8], colours: Sequence[Floats], reach: Floats) -> Labels:
    distances = _distances(frame.astype(np.float32), colours)
    nearest = distances.argmin(axis=0)
    return np.where(distances.min(axis=0) <= reach, nearest, -1).astype(np.int8)


def _means(frames: Sequence[NDArray[np.uint8]], labels: Labels) -> list[Floats]:
    means = []
    for number in range(STATES):
        total = np.zeros(frames[0].shape, np.float32)
        for frame, label in zip(frames, labels, strict=True):
            cv2.accumulate(frame, total, (label == number).astype(np.uint8))
        count = (labels == number).sum(axis=0)[..., None]
        means.append(np.where(count > 0, total / np.maximum(count, 1), -1000).astype(np.float32))
    return means


def _persistence(labels: Labels) -> tuple[Floats, Floats]:
    """The share and the span of each state; see `PixelStates`."""
    frames = len(labels)
    stays = labels[1:] == labels[:-1]
    stable = np.zeros(labels.shape, np.bool_)
    stable[1:] |= stays
    stable[:-1] |= stays
    share = np.zeros((STATES, *labels.shape[1:]), np.float32)
    span = np.zeros_like(share)
    for number in range(STATES):
        shown = np.cumsum((labels == number) & stable, axis=0, dtype=np.int16)
        total = shown[-1]
        first = (shown >= np.maximum(_ENDS * total, 1)).argmax(axis=0)
        last = (shown >= np.maximum((1 - _ENDS) * total, 1)).argmax(axis=0)
        share[number] = total / frames
        span[number] = np.where(total > 0, (last - first + 1) / frames, 0)
    return share, span
