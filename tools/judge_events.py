"""Judge the events that are recognised in drawn clips, whose truth is exact.

python tools/judge_events.py DATASET --clips 20

DATASET is a folder that `maskdepth compose` made. Clips of its val split have 150 frames at 5 a
second, in which things are left and taken, the camera is pushed and the light changes. An event
counts as recognised where one of its kind starts within 3 s of it, and touches its box. What is
left or taken in the last 9 s is not expected to be recognised.

Prints a line of JSON for each clip, and one of all.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from maskdepth.inference.objects.events import EventRules, EventState, SceneEvent, find_events
from maskdepth.inference.predictor import Predictor
from maskdepth.synthesis.clips import ClipEvent, ClipRules, DrawnClip, draw_clip
from maskdepth.synthesis.spec import load_spec

RATE = 5
RULES = ClipRules(
    frames=150, rate=RATE, stay=(0.2, 0.3), pause=(0, 0.1), left_probability=0.6,
    taken_probability=0.6, light_probability=0.4, moved_probability=0.4,
)  # fmt: skip
EVENT_RULES = EventRules(still_s=8, stale_s=5, level_s=0.8, pause_s=1.5)
TOLERANCE_S = 3
NEEDED_S = 9


def main(dataset: Path, clips: Annotated[int, typer.Option()] = 20, first: int = 0) -> None:
    """Judge some clips, from a first one."""
    spec, predictor = load_spec(dataset), Predictor.from_pretrained()
    hits, missed, false = Counter[str](), Counter[str](), Counter[str]()
    for number in range(first, first + clips):
        clip = draw_clip(spec, dataset, number, RULES, split="val")
        rest = recognise(clip, predictor)
        expected = [event for event in clip.events if event.box is None or lasts(event) >= NEEDED_S]
        late = [event for event in clip.events if event not in expected]
        for truth in (*expected, *late):
            alike = [event for event in rest if is_alike(event, truth)]
            if truth in expected:
                (hits if alike else missed)[truth.kind] += 1
            rest = [event for event in rest if event not in alike[:1]]
        false.update(event.kind for event in rest)
        print(json.dumps({"clip": number, "events": len(expected), "false": len(rest)}))
    right = hits.total()
    print(json.dumps({
        "recognised": hits, "missed": missed, "false": false,
        "precision": right / max(1, right + false.total()),
        "recall": right / max(1, right + missed.total()),
    }))  # fmt: skip


def recognise(clip: DrawnClip, predictor: Predictor) -> list[SceneEvent]:
    """All events of a clip, as they were reported last."""
    plate = predictor.prepare(clip.plate, (clip.plate.shape[0], clip.plate.shape[1]))
    state, events = EventState(EVENT_RULES), dict[int, SceneEvent]()
    for frame in clip:
        prediction = predictor.predict(frame.picture, plate)
        reported, state = find_events(prediction, state, frame.number / RATE)
        events |= {event.id: event for event in reported}
    return list(events.values())


def lasts(event: ClipEvent) -> float:
    """How long an event can be observed, seconds."""
    return (event.end - event.start) / RATE


def is_alike(event: SceneEvent, truth: ClipEvent) -> bool:
    """Whether an event has the truth's kind, start and place."""
    if event.kind != truth.kind or abs(event.start_s - truth.start / RATE) > TOLERANCE_S:
        return False
    if truth.box is None or event.box is None:
        return True
    left, top, width, height = event.box
    across = min(left + width, truth.box[2]) > max(left, truth.box[0])
    return across and min(top + height, truth.box[3]) > max(top, truth.box[1])


if __name__ == "__main__":
    typer.run(main)
