"""Which state of each pixel is the empty scene.

Three things speak for a state. It is shown often, and over a long time: the scene comes back after
an object has gone, and an object does not. It continues the scene around it: the outline of an
object is an edge, and where the object was not, the scene has none (that tells what was left in a
scene from what was taken away). And its neighbours show the scene at the same moments.

1. Each pixel starts with the state of the largest share times span.
2. Every frame is a proposal: where a connected region of it shows other states than the chosen
   ones, all of its pixels change to them at once, if along its outline fewer edges are left and
   that outweighs the loss of share and span.
3. Pixels that are alone in their choice follow their neighbours: of each state it is measured how
   often the pixel shows it while they show the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.plate.states import Floats, PixelStates

__all__ = ["Choice", "choose_states"]

_MIN_SCORE: Final = 1e-3
_MIN_SHARE: Final = 0.05  # of the frames, of a state that a region may change to
_MIN_REGION: Final = 24  # pixels; smaller ones follow their neighbours
_PROPOSALS: Final = 50  # frames that are tried
_STEP: Final = 3  # px across an outline, beyond its own softness
_MARGIN: Final = _STEP + 1
_MIN_EDGE: Final = 4.0  # levels by which one edge has to be stronger than another to count
_MIN_VOTES: Final = 0.1  # of the outline: with fewer clear differences the vote counts less
_EDGE_WEIGHT: Final = 8.0  # of the vote, in natural logarithms of the score
_SWEEPS: Final = 2
_NEIGHBOURHOOD: Final = 7  # px, side
_FOLLOWING: Final = 3  # rounds
_AGREEMENT_WEIGHT: Final = 4.0  # of the agreement with neighbours, in logarithms of the score

States = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen state of each pixel.

    Attributes:
        states: whole numbers (H, W).
        shown: bool (T, H, W): which frames show it.
        certainty: float32 (H, W) in [0, 1]: its share of the evidence for all states.
    """

    states: States
    shown: Mask
    certainty: Floats


def choose_states(found: PixelStates) -> Choice:
    """Choose the state of each pixel that is the empty scene."""
    scores = np.log(np.maximum(np.sqrt(found.share) * found.span, _MIN_SCORE))
    states = scores.argmax(axis=0)
    states = _change_regions(found, scores, states)
    for _ in range(_FOLLOWING):
        evidence = scores + _AGREEMENT_WEIGHT * _agreement(found, states)
        states = evidence.argmax(axis=0)
    weights = np.exp(evidence - evidence.max(axis=0))
    certainty = 1 / weights.sum(axis=0)
    return Choice(states, found.labels == states, certainty.astype(np.float32))


def _change_regions(found: PixelStates, scores: Floats, states: States) -> States:
    """Step 2 of the module's text."""
    states = states.copy()
    picture = found.chosen(states, found.colours)
    step = max(len(found.labels) // _PROPOSALS, 1)
    for _ in range(_SWEEPS):
        changed = [
            _propose(found, scores, labels.astype(np.intp), states, picture)
            for labels in found.labels[::step]
        ]
        if not any(changed):
            break
    return states


def _propose(
    found: PixelStates, scores: Floats, labels: States, states: States, picture: Floats
) -> bool:
    """Change the regions of one frame to its states where that is better, in place."""
    proposed = np.maximum(labels, 0)
    differs = (labels >= 0) & (proposed != states)
    differs &= found.chosen(proposed, found.share) >= _MIN_SHARE
    opened = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, numbers, boxes, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    if count == 1:
        return False
    lost = found.chosen(states, scores) - found.chosen(proposed, scores)
    losses = np.bincount(numbers.ravel(), lost.ravel(), count) / boxes[:, cv2.CC_STAT_AREA]
    new_picture = found.chosen(proposed, found.colours)
    height, width = states.shape
    changed = False
    for number in range(1, count):
        left, top, across, down, area = boxes[number].tolist()
        if area < _MIN_REGION:
            continue
        window = np.s_[
            max(top - _MARGIN, 0) : min(top + down + _MARGIN, height),
            max(left - _MARGIN, 0) : min(left + across + _MARGIN, width),
        ]
        region = numbers[window] == number
        vote = _edge_vote(region, picture[window], new_picture[window])
        if _EDGE_WEIGHT * vote > losses[number]:
            states[window][region] = proposed[window][region]
            picture[window][region] = new_picture[window][region]
            changed = True
    return changed


def _edge_vote(region: Mask, before: Floats, after: Floats) -> float:
    """From 1, where a change of a region takes edges along its outline away, to -1.

    Args:
        region: bool (h, w).
        before, after: float32 (h, w, 3): of the latter only the region counts.
    """
    fewer = more = pairs = 0
    for axis in (0, 1):
        for way in (1, -1):
            near = [slice(None), slice(None)]
            far = [slice(None), slice(None)]
            near[axis] = slice(_STEP, None) if way < 0 else slice(None, -_STEP)
            far[axis] = slice(None, -_STEP) if way < 0 else slice(_STEP, None)
            inside, outside = tuple(near), tuple(far)
            crosses = region[inside] & ~region[outside]
            beyond = before[outside][crosses]
            edge = np.abs(before[inside][crosses] - beyond).mean(axis=-1)
            new_edge = np.abs(after[inside][crosses] - beyond).mean(axis=-1)
            fewer += int((edge > new_edge + _MIN_EDGE).sum())
            more += int((new_edge > edge + _MIN_EDGE).sum())
            pairs += len(edge)
    return (fewer - more) / max(fewer + more, _MIN_VOTES * pairs, 1)


def _agreement(found: PixelStates, states: States) -> Floats:
    """How often a pixel shows each state while its neighbours show the scene (K, H, W), 0 to 1."""
    shown = np.zeros(found.share.shape, np.float32)
    total = np.full(states.shape, 1e-3, np.float32)
    side = (_NEIGHBOURHOOD, _NEIGHBOURHOOD)
    for labels in found.labels:
        around = cv2.blur((labels == states).astype(np.float32), side)
        around *= around  # moments at which most of them do
        total += around
        for number in range(len(shown)):
            shown[number] += around * (labels == number)
    return shown / total
