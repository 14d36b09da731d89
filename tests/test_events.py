"""Events of a scene: what is moved, relit, left, taken, stale or blind, and from when to when."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from judged import make_dataset
from maskdepth.inference.objects.events import EventRules, EventState, SceneEvent, find_events
from maskdepth.inference.predictor import Predictor
from maskdepth.synthesis.clips import ClipRules, draw_clip
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.testing import FakeBackend

Picture = NDArray[np.uint8]
SIZE = (120, 160)
RATE = 5
RULES = EventRules(still_s=3, stale_s=3, level_s=0.5, blind_s=0.5)
PLATE = np.kron(np.random.default_rng(3).integers(60, 130, (15, 20, 3)), np.ones((8, 8, 1))).astype(
    np.uint8
)
CHEST = np.s_[70:100, 20:60]  # of the plate: what somebody may take
PLATE[CHEST] = (200, 190, 60)


def run(
    change: Callable[[Picture, float], Picture],
    seconds: float,
    *,
    predictor: Predictor | None = None,
) -> list[SceneEvent]:
    """The last state of each event of a clip, whose frames are noisy changed plates."""
    predictor = predictor or FakeBackend().predictor(register=False, refine=False, close_up=False)
    plate = predictor.prepare(PLATE, SIZE)
    state, events = EventState(RULES), dict[int, SceneEvent]()
    for number in range(round(seconds * RATE)):
        noise = np.random.default_rng(number).normal(0, 2, PLATE.shape)
        picture = change(PLATE.copy(), number / RATE).astype(np.float64) + noise
        prediction = predictor.predict(picture.clip(0, 255).astype(np.uint8), plate)
        found, state = find_events(prediction, pickle.loads(pickle.dumps(state)), number / RATE)
        for event in found:
            assert event.id not in events or events[event.id].end_s is None
            events[event.id] = event
    return list(events.values())


def with_box(picture: Picture, time_s: float) -> Picture:
    """Somebody walks through; a box is put down after 2 seconds and fetched after 10."""
    left = int(20 * time_s)
    picture[10:60, left : left + 15] = (20, 200, 220)
    if 2 <= time_s < 10:
        picture[70:95, 100:130] = (30, 220, 40)
    return picture


def test_what_stands_still_is_left_until_it_is_fetched() -> None:
    (event,) = run(with_box, 14)
    assert event.kind == "left"
    assert event.start_s == pytest.approx(2, abs=0.5)
    assert event.end_s == pytest.approx(10, abs=0.5)
    assert event.box is not None
    np.testing.assert_allclose(event.box, (100, 70, 30, 25), atol=6)
    assert event.evidence["edge_vote"] > 0


def without_chest(picture: Picture, time_s: float) -> Picture:
    """The chest of the plate is gone after 2 seconds."""
    if time_s >= 2:
        picture[CHEST] = PLATE[40:70, 20:60]
    return picture


def test_what_the_plate_shows_and_the_picture_does_not_is_taken() -> None:
    nothing = FakeBackend(alpha=0).predictor(register=False, refine=False, close_up=False)
    (event,) = run(without_chest, 9, predictor=nothing)
    assert (event.kind, event.end_s) == ("taken", None)
    assert event.start_s == pytest.approx(2, abs=0.5)
    assert event.box is not None
    np.testing.assert_allclose(event.box, (20, 70, 40, 30), atol=6)
    assert event.evidence["edge_vote"] < 0


def test_an_empty_scene_and_a_walker_make_no_event() -> None:
    assert run(lambda picture, _: picture, 8) == []

    def walk(picture: Picture, time_s: float) -> Picture:
        picture[20:80, int(15 * time_s) : int(15 * time_s) + 20] = (20, 200, 220)
        return picture

    assert run(walk, 8) == []


def test_a_moved_camera_and_another_light_are_recognised_by_registration() -> None:
    predictor = FakeBackend().predictor(refine=False, close_up=False)

    def push(picture: Picture, time_s: float) -> Picture:
        return np.roll(picture, 4, 1) if 3 <= time_s < 6 else picture

    (event,) = run(push, 8, predictor=predictor)
    assert event.kind == "moved"
    assert event.start_s == pytest.approx(3, abs=0.3)
    assert event.end_s == pytest.approx(6, abs=0.3)
    assert event.evidence["shift"] == pytest.approx(4 / 160, rel=0.3)

    def lamp(picture: Picture, time_s: float) -> Picture:
        return (picture * (1.0 if time_s < 3 else 0.7)).astype(np.uint8)

    (event,) = run(lamp, 6, predictor=predictor)
    assert (event.kind, event.end_s) == ("light", None)
    assert event.start_s == pytest.approx(3, abs=0.3)
    assert event.evidence["stops"] == pytest.approx(np.log2(0.7), abs=0.1)


@pytest.mark.parametrize("level", [3, 140])
def test_a_dark_or_covered_camera_is_blind_and_nothing_else(level: int) -> None:
    def cover(picture: Picture, time_s: float) -> Picture:
        return np.full_like(picture, level) if 2 <= time_s < 7 else picture

    (event,) = run(cover, 9)
    assert event.kind == "blind"
    assert event.start_s == pytest.approx(2, abs=0.3)
    assert event.end_s == pytest.approx(7, abs=0.3)


def test_a_plate_that_fits_in_few_places_is_stale() -> None:
    nothing = FakeBackend(alpha=0).predictor(register=False, refine=False, close_up=False)

    def furnish(picture: Picture, time_s: float) -> Picture:
        if time_s >= 2:
            picture[:, 80:] = PLATE[:, 80:][::-1]
        return picture

    kinds = {event.kind: event for event in run(furnish, 8, predictor=nothing)}
    assert kinds["stale"].start_s == pytest.approx(2, abs=0.3)
    assert kinds["stale"].evidence["share"] > 0.1


def test_events_of_drawn_clips_are_recognised(tmp_path: Path) -> None:
    """Precision and recall are 0.8 or more over five clips."""
    rules = ClipRules(
        scene=RecipeRules(size=128, long_side_px=(16, 70), labelled_share=None),
        frames=100, rate=5, stay=(0.2, 0.3), pause=(0, 0.1), left_probability=0.5,
        taken_probability=0.5, light_probability=0.5, moved_probability=0.5,
    )  # fmt: skip
    spec = make_dataset(tmp_path)
    predictor = FakeBackend().predictor(refine=False, close_up=False)
    hits, missed, false = list[str](), list[str](), list[str]()
    for number in range(5):
        clip = draw_clip(spec, tmp_path, number, rules)
        plate = predictor.prepare(clip.plate, clip.plate.shape[:2])
        state, events = EventState(EventRules(still_s=6, level_s=0.8, pause_s=1.5)), {}
        for frame in clip:
            prediction = predictor.predict(frame.picture, plate)
            reported, state = find_events(prediction, state, frame.number / rules.rate)
            events |= {event.id: event for event in reported}
        rest = list(events.values())
        for truth in clip.events:
            if truth.box is not None and truth.end - truth.start < 8 * rules.rate:
                continue  # it stands for too short a time
            alike = [
                event
                for event in rest
                if event.kind == truth.kind and abs(event.start_s - truth.start / rules.rate) < 3
            ]
            (hits if alike else missed).append(f"{number} {truth}")
            rest = [event for event in rest if event not in alike[:1]]
        false += [f"{number} {event}" for event in rest]
    assert len(hits) >= 0.8 * len(hits + missed), missed
    assert len(hits) >= 0.8 * len(hits + false), false
