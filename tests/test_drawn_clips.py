"""Drawn clips: the same pixels in any order, and truth that is exact."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from command_line import Run
from judged import make_dataset
from maskdepth.errors import UsageError
from maskdepth.evaluation import evaluate_drawn_clips, to_json
from maskdepth.images import load_picture
from maskdepth.metrics import clip_metrics
from maskdepth.synthesis.clips import ClipEvent, ClipRules, DrawnClip, draw_clip, write_clip
from maskdepth.synthesis.ground import find_ground
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import GroundRules, RecipeRules
from maskdepth.synthesis.spec import DatasetSpec, save_spec
from maskdepth.testing import FakeBackend
from pictures import InMemory
from test_renderer import OBJECT, RECIPE, SIZE, plain, soft_disc

SIDE = 96
STILL = ClipRules(
    scene=RecipeRules(size=SIDE, long_side_px=(12, 70), jpeg_probability=0, labelled_share=None),
    frames=40, left_probability=0, taken_probability=0, light_probability=0, moved_probability=0,
    shake_px=(0, 0), shake_deg=(0, 0), drift_stops=(0, 0), noise_sigma=(0, 0),
)  # fmt: skip
"""Objects that cross the frame, and nothing else."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetSpec, Path]:
    folder = tmp_path_factory.mktemp("dataset")
    spec = make_dataset(folder)
    save_spec(folder, spec)
    return spec, folder


def clips_with(dataset: tuple[DatasetSpec, Path], kind: str, **rules: float) -> list[DrawnClip]:
    """Some clips in which an event of a kind happens, and what else the rules ask for."""
    changed = STILL.with_(**{f"{kind}_probability": 1.0}, **rules)
    drawn = [draw_clip(*dataset, number, changed) for number in range(8)]
    return [clip for clip in drawn if [each.kind for each in clip.events] == [kind]][:3]


def event_of(clip: DrawnClip) -> ClipEvent:
    (event,) = clip.events
    assert 0 < event.start <= event.end == len(clip) - 1
    return event


def test_a_frame_has_the_same_pixels_whichever_frames_came_before(
    dataset: tuple[DatasetSpec, Path],
) -> None:
    rules = ClipRules(scene=STILL.scene, frames=12)
    for number in range(2):
        forward = [frame.picture for frame in draw_clip(*dataset, number, rules)]
        clip = draw_clip(*dataset, number, rules)
        backward = [clip.frame(index) for index in reversed(range(12))]
        for picture, frame in zip(forward, reversed(backward), strict=True):
            assert np.array_equal(picture, frame.picture)
        assert not np.array_equal(forward[3], forward[4])  # the camera's noise at the very start
    other = draw_clip(*dataset, 2, rules)
    assert not np.array_equal(other.plate, clip.plate)


def test_where_alpha_is_0_a_still_camera_shows_the_plate(
    dataset: tuple[DatasetSpec, Path],
) -> None:
    covered = 0
    for number in range(4):
        clip = draw_clip(*dataset, number, STILL)
        for index in (0, 10, 20, 30):
            frame = clip.frame(index)
            empty = frame.alpha == 0
            assert np.array_equal(frame.picture[empty], clip.plate[empty])
            covered += int((frame.alpha > 0.5).sum())
            assert (frame.camera.shift, frame.camera.angle_deg, frame.gain) == ((0, 0), 0, 1)
    assert covered > 1000


def test_the_camera_moves_as_the_frame_says(dataset: tuple[DatasetSpec, Path]) -> None:
    rules = STILL.with_(
        walkers=(0, 0), shake_px=(3, 3), moved_probability=1.0, moved_px=(2, 4), moved_deg=(0, 0)
    )
    clip = draw_clip(*dataset, 1, rules)
    for index in (3, 17, 39):
        frame = clip.frame(index)
        before, after = (
            cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32)
            for each in (clip.plate, frame.picture)
        )
        found = np.eye(2, 3, dtype=np.float32)
        _, found = cv2.findTransformECC(before, after, found, cv2.MOTION_TRANSLATION)
        assert found[:, 2] == pytest.approx(frame.camera.shift, abs=0.1)
        assert not frame.alpha.any()


def test_what_is_left_is_foreground_to_the_end(dataset: tuple[DatasetSpec, Path]) -> None:
    clips = clips_with(dataset, "left", walkers=(1, 1))
    assert clips
    for clip in clips:
        event = event_of(clip)
        left, top, right, bottom = event.box or (0, 0, 0, 0)
        box = np.s_[top:bottom, left:right]
        assert not clip.frame(0).alpha[box].any()
        always = [clip.frame(n).alpha[box] for n in range(event.start, event.end + 1, 3)]
        assert (np.min(always, axis=0) > 0.5).mean() > 0.3


def test_what_is_taken_is_in_the_plate_and_leaves_no_alpha_behind(
    dataset: tuple[DatasetSpec, Path],
) -> None:
    clips = clips_with(dataset, "taken", walkers=(1, 1))
    assert clips
    for clip in clips:
        event = event_of(clip)
        left, top, right, bottom = event.box or (0, 0, 0, 0)
        box = np.s_[top:bottom, left:right]
        before, last = clip.frame(event.start - 1), clip.frame(event.end)
        uncovered = before.alpha[box] == 0
        assert np.array_equal(before.picture[box][uncovered], clip.plate[box][uncovered])
        gone = (last.picture[box] != clip.plate[box]).any(axis=2) & (last.alpha[box] == 0)
        assert gone.mean() > 0.2


def test_light_changes_by_the_frames_gain(dataset: tuple[DatasetSpec, Path]) -> None:
    clips = clips_with(dataset, "light", walkers=(0, 0))
    assert clips
    for clip in clips:
        event = event_of(clip)
        assert clip.frame(event.start - 1).gain == 1
        assert clip.frame(event.start).gain != 1
        last = clip.frame(event.end)
        dark = clip.plate.max(axis=2) < 140
        assert last.picture[dark].mean() == pytest.approx(
            last.gain * clip.plate[dark].mean(), rel=0.02
        )


def test_a_pushed_camera_stays_where_it_is(dataset: tuple[DatasetSpec, Path]) -> None:
    clips = clips_with(dataset, "moved")
    assert clips
    for clip in clips:
        event = event_of(clip)
        assert clip.frame(event.start - 1).camera.shift == (0, 0)
        assert clip.frame(event.start).camera.shift != (0, 0)
        assert clip.frame(event.end).camera == clip.frame(event.end - 1).camera


def test_objects_grow_with_the_disparity_of_the_ground(dataset: tuple[DatasetSpec, Path]) -> None:
    """On labelled ground an object's height in pixels is proportional to its disparity."""
    spec, folder = dataset
    ramp = np.linspace(-0.06, 0.6, 240)[:, None] * np.ones((1, 280))
    ground = find_ground(np.maximum(ramp, 0).astype(np.float32))
    assert ground
    labelled = tuple(
        each.model_copy(update={"ground": ground}) for each in spec.backgrounds if each.disparity
    )
    spec = spec.model_copy(update={"backgrounds": labelled})
    rules = STILL.with_(scene=STILL.scene.with_(ground=GroundRules(share=1.0), plate_crop=(1, 1)))
    ratios = []
    for number in range(6):
        clip = draw_clip(spec, folder, number, rules)
        by_cutout: dict[str, list[float]] = {}
        for index in range(0, 40, 3):
            recipe, fixtures = clip.script.recipe(index)
            assert not fixtures
            distances = [each.standing.disparity for each in recipe.objects]
            assert distances == sorted(distances)
            for placed in recipe.objects:
                if placed.height > 25:
                    ratio = placed.height / placed.standing.disparity
                    by_cutout.setdefault(placed.cutout + str(placed.nearness), []).append(ratio)
            frame = clip.frame(index)
            assert frame.disparity is not None
            assert frame.disparity.shape == (SIDE, SIDE)
        ratios += [np.ptp(each) / np.mean(each) for each in by_cutout.values() if len(each) > 3]
    assert len(ratios) > 3
    assert max(ratios) < 0.08


def test_an_object_of_the_scene_hides_others_and_has_no_alpha() -> None:
    catalogue = InMemory(soft_disc((200, 40, 10)), plain(90))
    behind = dataclasses.replace(OBJECT, x=OBJECT.x + 8)
    recipe = dataclasses.replace(RECIPE, objects=(behind, OBJECT))
    both = render(recipe, SIZE, catalogue)
    fixed = render(recipe, SIZE, catalogue, fixtures={1})
    alone = render(dataclasses.replace(RECIPE, objects=(OBJECT,)), SIZE, catalogue)
    assert np.array_equal(fixed.image, both.image)
    assert not fixed.alpha[alone.alpha == 1].any()
    assert np.allclose(fixed.alpha, both.alpha - alone.alpha, atol=1e-6)


def test_a_written_clip_holds_every_frame_and_the_events(
    dataset: tuple[DatasetSpec, Path], tmp_path: Path
) -> None:
    rules = STILL.with_(frames=12, light_probability=1.0)
    clip = draw_clip(*dataset, 0, rules)
    write_clip(clip, tmp_path / "clip")
    for frame in clip:
        name = f"{frame.number:06d}.png"
        assert np.array_equal(load_picture(tmp_path / "clip" / "frames" / name), frame.picture)
        alpha = load_picture(tmp_path / "clip" / "alpha" / name)[..., 0]
        assert np.abs(alpha / 255 - frame.alpha).max() < 0.003
    assert np.array_equal(load_picture(tmp_path / "clip" / "plate.png"), clip.plate)
    record = json.loads((tmp_path / "clip" / "clip.json").read_text())
    assert [each["start"] for each in record["events"]] == [each.start for each in clip.events]
    assert record["frames"][11]["gain"] == clip.frame(11).gain
    with pytest.raises(UsageError, match="not empty"):
        write_clip(clip, tmp_path / "clip")


@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_there_are_a_million_clips(dataset: tuple[DatasetSpec, Path], number: int) -> None:
    with pytest.raises(UsageError, match="numbers go from 0"):
        draw_clip(*dataset, number, STILL)
    with pytest.raises(UsageError, match="no frame 40"):
        draw_clip(*dataset, 0, STILL).frame(40)


def test_the_command_line_writes_a_clip_to_view(
    run: Run, dataset: tuple[DatasetSpec, Path], tmp_path: Path
) -> None:
    made = run("inspect", dataset[1], "--clip", "3", "-o", tmp_path / "three")
    assert made.code == 0
    assert len(list((tmp_path / "three" / "frames").iterdir())) == ClipRules().frames
    assert "three" in made.err
    without = run("inspect", dataset[1], "--clip", "3")
    assert without.code == 2
    assert "-o" in without.err


# Judging


def test_flicker_and_errors_are_two_figures() -> None:
    """A constant error does not flicker; a change every other frame does."""
    target = np.zeros((20, 6, 8), np.float32)
    constant = clip_metrics(target + np.float32(0.1), target)
    assert constant == pytest.approx({"mad": 100, "dtssd": 0, "still_std": 0}, abs=1e-3)
    flicker = target.copy()
    flicker[1::2] = 0.1
    found = clip_metrics(flicker, target)
    assert found == pytest.approx({"mad": 50, "dtssd": 10, "still_std": 50}, rel=1e-4)
    # What moves in truth is no flicker, and following it exactly is no error.
    moving = target.copy()
    for number in range(20):
        moving[number, :, number % 8] = 1
    assert clip_metrics(moving, moving) == {"mad": 0, "dtssd": 0, "still_std": 0}


def test_alpha_is_judged_over_time_beside_three_others(
    dataset: tuple[DatasetSpec, Path], run: Run
) -> None:
    rules = STILL.with_(frames=24, shake_px=(0.5, 0.5), noise_sigma=(2, 2))
    predictor = FakeBackend().predictor(refine=False)
    result = evaluate_drawn_clips(predictor, *dataset, 2, rules)
    assert result == evaluate_drawn_clips(predictor, *dataset, 2, rules)
    assert list(result.mean) == ["stream", "frame_by_frame", "threshold", "mog2"]
    for name, mean in result.mean.items():
        both = [clip[name] for clip in result.clips.values()]
        assert mean.mad == pytest.approx(np.mean([each.mad for each in both]))
        assert len(mean.step_dice) == 6
    assert result.mean["threshold"].dice is not None
    assert result.mean["threshold"].dice > 0.8
    assert result.mean["threshold"].mad < result.mean["mog2"].mad
    json.dumps(to_json(result), allow_nan=False)


def test_clips_to_judge_are_folders_or_drawn(run: Run, tmp_path: Path) -> None:
    for word in (("clips", "shipped"), ("plates",)):
        said = run("evaluate", *word)
        assert (said.code, "folders of clips or --drawn" in said.err) == (2, True)
        assert run("evaluate", *word, tmp_path, "--drawn", tmp_path).code == 2
