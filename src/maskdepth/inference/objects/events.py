"""What happens in a scene for a while: the camera is moved, something is left, and so on.

An event begins when its sign has lasted for a time that its kind needs, and then starts in the
past, where the sign began. It ends when the sign has been absent for `EventRules.pause_s`.

- ``moved``: the camera shows the plate from another place.
- ``light``: the picture is brighter or darker than the plate.
- ``left``: foreground stands still, and the picture has its edges.
- ``taken``: an area differs from the plate and stands still, and the plate has its edges.
- ``stale``: much that is not foreground differs from the plate, or a notice doubts the plate.
- ``blind``: the picture is dark, or has lost nearly all detail of its plate.

While the camera is blind, no other event begins or ends. Without a plate only ``blind`` in the dark
can be recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.objects.scene_cells import (
    SceneCells,
    StillState,
    find_still_areas,
    update_still,
)
from maskdepth.inference.plate.registration import Registration
from maskdepth.inference.prediction import Prediction

__all__ = ["EventKind", "EventRules", "EventState", "SceneEvent", "find_events"]

EventKind = Literal["moved", "light", "left", "taken", "stale", "blind"]
Box = tuple[int, int, int, int]

_DOUBTS: Final = frozenset({"another_scene", "another_tone", "exchanged"})
_SAME_BOX: Final = 0.3  # of the smaller of two boxes, that both have to share
_SETTLE_S: Final = 1.0  # parts of one thing stand still one after another
_VOTE: Final = 0.1  # so clearly an area has to be something new or something missing
_MASK_WEIGHT: Final = (0.8, 0.4)  # of the mask beside the edges, and the share that says nothing
_MIDDLE: Final = 128.0  # of 255: the level whose light is measured
_BRIGHT_PERCENT: Final = 98
_MIN_DETAIL: Final = 0.5  # levels a pixel: a plate with less cannot show that detail is gone


@dataclass(frozen=True)
class EventRules:
    """When a sign is an event.

    Attributes:
        still_s: so long something has to stand still to be left or taken.
        stale_s, blind_s, level_s: so long the other signs have to last; the last is of ``moved``
            and ``light``.
        pause_s: so long a sign has to be absent for its event to end.
        moved_share: of the long side.
        light_stops: factors of two in brightness.
        stale_share: of what is not foreground.
        dark_level: of 255; no darker picture shows anything.
        detail_share: of the plate's detail; a picture with less is covered.
    """

    still_s: float = 10.0
    stale_s: float = 10.0
    blind_s: float = 0.5
    level_s: float = 0.4
    pause_s: float = 0.5
    moved_share: float = 0.007
    light_stops: float = 0.18
    stale_share: float = 0.1
    dark_level: float = 16.0
    detail_share: float = 0.15


@dataclass(frozen=True)
class SceneEvent:
    """One event.

    Attributes:
        id: from 1; never given again.
        kind: see this module.
        start_s: when its sign began.
        end_s: when its sign was there for the last time; None while it lasts.
        box: left, top, width and height in the plate's pixels, of ``left`` and ``taken``.
        evidence: figures by name, as they were when the event began.
    """

    id: int
    kind: EventKind
    start_s: float
    end_s: float | None = None
    box: Box | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sign:
    """What one frame shows, and how long that has to last to be an event."""

    kind: EventKind
    first_s: float
    needed_s: float
    evidence: Mapping[str, float]
    box: Box | None = None


@dataclass(frozen=True)
class _Lasting:
    """A sign of several frames, and its event once it has lasted long enough."""

    sign: _Sign
    last_s: float
    event: SceneEvent | None = None


@dataclass(frozen=True, eq=False)
class EventState:
    """The events and signs after a frame. It can be pickled.

    Attributes:
        rules: when a sign is an event.
        next_id: of the next event.
        lasting: signs that were there lately.
        still: what stands still.
    """

    rules: EventRules = EventRules()
    next_id: int = 1
    lasting: tuple[_Lasting, ...] = ()
    still: StillState | None = None


def find_events(
    prediction: Prediction, state: EventState, time_s: float
) -> tuple[tuple[SceneEvent, ...], EventState]:
    """The events that last or end in a frame, and the state after it.

    Args:
        state: after the frame before; ``EventState()`` or ``EventState(rules)`` at the start.
        time_s: of the frame, seconds from any start.
    """
    rules, still = state.rules, state.still
    signs = _blind_signs(prediction, rules, time_s)
    blind = bool(signs)
    if prediction.plate is not None and not blind:
        cells = SceneCells.of(prediction, prediction.plate)
        still = update_still(cells, still, time_s)
        signs += _registration_signs(prediction.provenance.registration, rules, time_s)
        signs += _still_signs(cells, still, rules, time_s)
        signs += _stale_signs(prediction, cells, rules, time_s)
    reported, lasting, next_id = [], [], state.next_id
    for before, sign in _match(state.lasting, signs):
        if sign is None:
            assert before is not None
            if not blind and time_s - before.last_s > rules.pause_s:
                if before.event is not None:
                    reported.append(replace(before.event, end_s=before.last_s))
                continue
            after = replace(before, last_s=time_s) if blind else before
        else:
            event = None if before is None else before.event
            first_s = sign.first_s if before is None else min(before.sign.first_s, sign.first_s)
            after = _Lasting(replace(sign, first_s=first_s), time_s, event)
            if event is None and time_s - first_s >= sign.needed_s:
                event = SceneEvent(next_id, sign.kind, first_s, None, sign.box, sign.evidence)
                after, next_id = replace(after, event=event), next_id + 1
            elif event is not None and event.box is not None:
                after = replace(after, event=replace(event, box=sign.box))
        lasting.append(after)
        if after.event is not None:
            reported.append(after.event)
    return tuple(reported), EventState(rules, next_id, tuple(lasting), still)


def _match(
    lasting: tuple[_Lasting, ...], signs: list[_Sign]
) -> list[tuple[_Lasting | None, _Sign | None]]:
    """What lasts with the sign that continues it, and new signs.

    Several that one sign continues are one from then on: the first of them with an event.
    """
    free = list(signs)
    pairs: list[tuple[_Lasting | None, _Sign | None]] = []
    for before in sorted(lasting, key=lambda each: each.event is None):
        alike = [sign for sign in signs if _continues(before.sign, sign)]
        unused = [sign for sign in alike if sign in free]
        if unused:
            free.remove(unused[0])
            pairs.append((before, unused[0]))
        elif not alike or before.event is not None:
            pairs.append((before, None))
    return pairs + [(None, sign) for sign in free]


def _continues(before: _Sign, sign: _Sign) -> bool:
    if before.box is None or sign.box is None:
        return before.kind == sign.kind
    one, other = before.box, sign.box
    left, right = max(one[0], other[0]), min(one[0] + one[2], other[0] + other[2])
    top, bottom = max(one[1], other[1]), min(one[1] + one[3], other[1] + other[3])
    shared = max(right - left, 0) * max(bottom - top, 0)
    return shared >= _SAME_BOX * min(one[2] * one[3], other[2] * other[3])


def _blind_signs(prediction: Prediction, rules: EventRules, time_s: float) -> list[_Sign]:
    image = prediction.image
    shrink = min(1.0, 240 / min(image.shape[:2]))
    size = max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink))
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    brightness = float(np.percentile(grey, _BRIGHT_PERCENT))
    evidence = {"brightness": brightness}
    covered = False
    if prediction.plate is not None:
        small = cv2.resize(prediction.plate, size, interpolation=cv2.INTER_AREA)
        own, plate = _detail(grey), _detail(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        evidence["detail"] = own / max(plate, 1e-6)
        covered = plate >= _MIN_DETAIL and evidence["detail"] < rules.detail_share
    if brightness >= rules.dark_level and not covered:
        return []
    return [_Sign("blind", time_s, rules.blind_s, evidence)]


def _detail(grey: NDArray[Any]) -> float:
    """Mean step between pixels, without the noise that a mean over 25 pixels takes away."""
    smooth = cv2.blur(grey.astype(np.float32), (5, 5))
    return float(np.abs(np.diff(smooth, axis=0)).mean() + np.abs(np.diff(smooth, axis=1)).mean())


def _registration_signs(
    registration: Registration | None, rules: EventRules, time_s: float
) -> list[_Sign]:
    if registration is None:
        return []
    signs = []
    if registration.shift > rules.moved_share:
        evidence = {"shift": registration.shift, "turn_deg": registration.turn_deg}
        signs.append(_Sign("moved", time_s, rules.level_s, evidence))
    light = registration.light
    if light is not None:
        levels = 255 * (_MIDDLE / 255) ** light.gamma * np.array(light.gains) + light.offsets
        stops = float(np.log2(max(float(np.mean(levels)), 1.0) / _MIDDLE))
        if abs(stops) > rules.light_stops:
            signs.append(_Sign("light", time_s, rules.level_s, {"stops": stops}))
    return signs


def _still_signs(
    cells: SceneCells, still: StillState, rules: EventRules, time_s: float
) -> list[_Sign]:
    signs = []
    for area in find_still_areas(cells, still, time_s, rules.still_s):
        weight, neutral = _MASK_WEIGHT
        vote = area.edge_vote + weight * (area.mask_share - neutral)
        if abs(vote) < _VOTE:
            continue
        kind: EventKind = "left" if vote > 0 else "taken"
        evidence = {
            "share": area.share,
            "mask_share": area.mask_share,
            "edge_vote": area.edge_vote,
        }
        box = cells.box_in_plate(area.box)
        signs.append(_Sign(kind, area.since_s, rules.still_s + _SETTLE_S, evidence, box))
    return signs


def _stale_signs(
    prediction: Prediction, cells: SceneCells, rules: EventRules, time_s: float
) -> list[_Sign]:
    free = cells.mask < 0.05
    share = float(cells.differs[free].mean()) if free.any() else 0.0
    doubts = _DOUBTS.intersection(notice.code for notice in prediction.notices)
    if share <= rules.stale_share and not doubts:
        return []
    return [_Sign("stale", time_s, rules.stale_s, {"share": share, "doubts": float(len(doubts))})]
