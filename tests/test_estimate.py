"""Plates estimated from frames in which things move, stay, are left and taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from command_line import Run
from judged import make_dataset
from maskdepth.errors import PlateError
from maskdepth.evaluation.plates import (
    evaluate_drawn_plates,
    evaluate_plates,
    mog2_background,
    temporal_median,
)
from maskdepth.images import load_picture, save_png
from maskdepth.inference.plate.estimate import EstimatedPlate, estimate_plate
from maskdepth.inference.plate.sampling import sample_files, sample_frames
from maskdepth.testing import FakeBackend

Picture = NDArray[np.uint8]

HEIGHT, WIDTH, FRAMES = 90, 120, 40
BOX = np.s_[30:65, 50:75]


def scene(seed: int = 3) -> Picture:
    """A picture with texture, as rooms and gardens have."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(60, 190, (7, 9, 3), np.uint8)
    smooth = cv2.resize(coarse, (WIDTH + 20, HEIGHT + 20), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(generator.integers(0, 40, (40, 50, 3), np.uint8), smooth.shape[1::-1])
    return np.asarray(cv2.subtract(smooth, fine), np.uint8)


def clip(change: Callable[[int, Picture], Picture], sigma: float = 2.0) -> list[Picture]:
    """Frames of a scene, each changed by its number, with the camera's noise."""
    generator = np.random.default_rng(5)
    frames = []
    for number in range(FRAMES):
        frame = change(number, scene()[10:-10, 10:-10].copy())
        noisy = frame + generator.normal(0, sigma, frame.shape)
        frames.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return frames


def with_object(frame: Picture, box: tuple[slice, slice] = BOX) -> Picture:
    height, width = frame[box].shape[:2]
    coat = np.random.default_rng(1).integers(0, 60, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    frame[box] = 20 + cv2.resize(coat, (width, height))
    return frame


def error(picture: Picture, box: tuple[slice, slice] = np.s_[:, :]) -> float:
    plate = scene()[10:-10, 10:-10]
    return float(np.abs(picture[box].astype(int) - plate[box]).mean())


def test_who_comes_stays_most_of_the_time_and_goes_leaves_no_trace() -> None:
    frames = clip(lambda number, frame: with_object(frame) if 8 <= number < 32 else frame)
    assert error(temporal_median(frames), BOX) > 20
    assert error(estimate_plate(frames).picture, BOX) < 2


def test_what_is_left_for_most_of_the_clip_is_not_plate() -> None:
    """The scene is not seen there again: the edges along the outline tell."""
    frames = clip(lambda number, frame: with_object(frame) if number >= 14 else frame)
    assert error(temporal_median(frames), BOX) > 20
    assert error(estimate_plate(frames).picture, BOX) < 2


def test_what_was_taken_early_is_not_plate() -> None:
    frames = clip(lambda number, frame: with_object(frame) if number < 26 else frame)
    assert error(estimate_plate(frames).picture, BOX) < 2


def test_who_stands_now_here_and_now_there_is_nowhere() -> None:
    def change(number: int, frame: Picture) -> Picture:
        left = 5 + 13 * (number // 5)
        return with_object(frame, np.s_[30:65, left : left + 20])

    assert error(estimate_plate(clip(change)).picture) < 1.5


def test_a_shaking_camera_gives_a_sharp_plate() -> None:
    ways = np.random.default_rng(2).normal(0, 1.2, (FRAMES, 2))

    def change(number: int, frame: Picture) -> Picture:
        matrix = np.array([[1, 0, ways[number, 0] - 10], [0, 1, ways[number, 1] - 10]])
        return np.asarray(cv2.warpAffine(scene(), matrix, (WIDTH, HEIGHT)), np.uint8)

    frames = clip(change)
    found = estimate_plate(frames)
    assert found.moved > FRAMES // 2
    inner = np.s_[8:-8, 8:-8]
    sharp, soft = (
        min(
            float(np.abs(picture[inner].astype(int) - np.roll(truth, way, (0, 1))[inner]).mean())
            for way in np.ndindex(3, 3)
        )
        for picture, truth in (
            (each, np.roll(scene()[10:-10, 10:-10], (-1, -1), (0, 1)))
            for each in (found.picture, temporal_median(frames))
        )
    )
    assert sharp < 0.8 * soft


def test_frames_in_another_light_are_lit_like_the_others() -> None:
    def change(number: int, frame: Picture) -> Picture:
        gain = 1.0 if number < 24 else 0.7
        lit = np.asarray(np.rint(frame * gain), np.uint8)
        return with_object(lit) if 6 <= number < 22 else lit

    found = estimate_plate(clip(change))
    assert found.relit == FRAMES - 24
    assert error(found.picture) < 2


def test_what_never_stands_still_is_marked_as_unsure() -> None:
    colours = np.random.default_rng(0).integers(0, 255, (FRAMES, 3))

    def change(number: int, frame: Picture) -> Picture:
        frame[BOX] = colours[number]
        return frame

    found = estimate_plate(clip(change))
    unsure = found.confidence < 0.5
    assert unsure[BOX][4:-4, 4:-4].all()
    unsure[26:69, 46:79] = False
    assert unsure.mean() < 0.01
    assert found.unsure == pytest.approx(35 * 25 / (HEIGHT * WIDTH), rel=0.3)
    calm = estimate_plate(clip(lambda _, frame: frame))
    assert (calm.unsure, calm.moved, calm.relit) == (0, 0, 0)


def test_frames_are_taken_at_equal_steps_from_any_number() -> None:
    def numbered(count: int) -> list[int]:
        frames = (np.full((2, 2, 3), number % 250, np.uint8) for number in range(count))
        return [int(frame[0, 0, 0]) for frame in sample_frames(frames)]

    assert numbered(7) == list(range(7))
    assert numbered(100) == list(range(100))
    for count in (201, 240):
        numbers = numbered(count)
        assert 60 <= len(numbers) <= 100
        assert numbers[0] == 0
        assert numbers[-1] >= count - 4
        assert max(np.diff(numbers)) <= 4
    with pytest.raises(PlateError, match="there are 2"):
        numbered(2)
    sizes = [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)]
    with pytest.raises(PlateError, match="Frame 1 is 3x2, but the first is 2x2"):
        sample_frames(sizes)


def test_files_give_what_frames_give(tmp_path: Path) -> None:
    frames = clip(lambda _, frame: frame)[:5]
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for file, frame in zip(files, frames, strict=True):
        save_png(file, frame)
    for loaded, frame in zip(sample_files(files), frames, strict=True):
        assert np.array_equal(loaded, frame)


def test_the_command_line_writes_a_confidence_and_warns(run: Run, tmp_path: Path) -> None:
    frames = clip(lambda number, frame: with_object(frame) if number % 2 else frame)
    for number, frame in enumerate(frames[:12]):
        save_png(tmp_path / "frames" / f"{number:02d}.png", frame)
    done = run("plate", tmp_path / "frames", "-o", tmp_path / "hall.png", "--json")
    assert done.code == 0
    assert "estimated from 12 frames" in done.err
    record = json.loads(done.out)
    assert record["estimate"]["frames"] == 12
    confidence = load_picture(tmp_path / "hall_confidence.png")[..., 0]
    assert confidence.shape == (HEIGHT, WIDTH)
    assert np.median(confidence[BOX]) < 100 < confidence[:20].min()
    assert "never or hardly seen empty" in done.err


def test_a_clip_gives_its_plate(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("av")
    frames = clip(lambda number, frame: with_object(frame) if 8 <= number < 32 else frame)
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"FFV1"), 25, (WIDTH, HEIGHT))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    done = run("plate", video, "-o", tmp_path / "hall.png")
    assert (done.code, "estimated from 40 frames" in done.err) == (0, True)
    assert error(load_picture(tmp_path / "hall.png"), BOX) < 4
    assert (tmp_path / "hall_confidence.png").is_file()
    assert "only source" in run("plate", video, tmp_path / "hall.png", "-o", "x.png").err


def test_real_clips_give_better_plates_than_the_median(shared_data: Path) -> None:
    """Of the five, the one with the largest error, a man who stands still for most of it."""
    result = evaluate_plates([shared_data / "footage" / "sbi_cavignal"])
    plates = result.clips["sbi_cavignal"]
    assert plates.estimate.age < 0.3 * plates.median.age
    assert plates.estimate.peps < 0.01 < plates.mog2.peps
    assert plates.f1 is None


def test_masks_are_judged_with_the_estimated_plate_too(shared_data: Path) -> None:
    result = evaluate_plates(
        [shared_data / "footage" / "sbi_cavignal"], FakeBackend().predictor(refine=False)
    )
    plates = result.clips["sbi_cavignal"]
    assert plates.f1 is not None
    assert plates.f1_own_plate is not None


def test_drawn_clips_judge_plates_the_same_each_time(tmp_path: Path) -> None:
    spec = make_dataset(tmp_path)
    first = evaluate_drawn_plates(spec, tmp_path, 1)
    assert first == evaluate_drawn_plates(spec, tmp_path, 1)
    plates = first.clips["0"]
    assert plates.estimate.age <= plates.median.age
    assert plates.estimate.peps <= plates.median.peps


def test_mog2_is_its_background_after_the_last_frame() -> None:
    frames = clip(lambda _, frame: frame)
    assert error(mog2_background(frames)) < 3


def test_an_estimate_says_what_was_done() -> None:
    plain = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.float32), np.ones((4, 4), np.float32)
    found = EstimatedPlate(*plain, frames=9, moved=3, relit=0)
    assert found.describe() == "estimated from 9 frames (3 moved)"
    assert found.as_json() == {"frames": 9, "moved": 3, "relit": 0, "unsure": 0.0}
