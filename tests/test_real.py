"""Judging on real pictures: frames with masks, pictures with depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from judged import Fake
from maskdepth.depth import disparity_from_depth, encode_depth_mm, encode_disparity
from maskdepth.errors import AssetError, ModelError, PictureError
from maskdepth.evaluation import evaluate_depth, evaluate_frames
from maskdepth.evaluation.baselines import MEDIAN_SIDES, ThresholdSearch
from maskdepth.evaluation.frames import LeftOut, PixelScores
from maskdepth.images import save_png

HEIGHT, WIDTH = 40, 50


def fake(answer: Any, depth: str = "exact") -> Any:
    """A predictor that answers alpha and disparity with one function of picture and plate."""
    return Fake(lambda image, plate, _: answer(image, plate), depth=depth)


def write_pair(folder: Path, stem: str, depth_m: NDArray[np.float32]) -> None:
    save_png(folder / f"{stem}.png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    save_png(folder / f"{stem}_depth_mm.png", encode_depth_mm(depth_m)[0])


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Six frames: a bright square that moves, with a shadow and a strip nobody judged."""
    plate = np.random.default_rng(0).integers(80, 100, (HEIGHT, WIDTH, 3), np.uint8)
    save_png(tmp_path / "plate.png", plate)
    for number in range(6):
        picture, levels = plate.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        place = np.s_[10:20, 5 + 5 * number : 15 + 5 * number]
        picture[place], levels[place] = 250, 255
        picture[20:24] //= 2
        levels[20:24] = 50
        levels[30:] = 170
        picture[30:] = 0
        save_png(tmp_path / f"in{number:06d}.png", picture)
        save_png(tmp_path / f"gt{number:06d}.png", levels)
    return tmp_path


def bright(image: NDArray[np.uint8], _: Any) -> NDArray[np.bool_]:
    return image[..., 0] > 200


def test_a_perfect_mask_has_f1_one_whatever_it_says_where_nobody_looked(frames: Path) -> None:
    perfect = evaluate_frames(fake(bright), frames, tune=2)
    assert perfect.model == PixelScores(f1=1.0, precision=1.0, recall=1.0)
    assert perfect.frames == 4
    also_below = evaluate_frames(
        fake(lambda image, plate: bright(image, plate) | (np.arange(HEIGHT) >= 30)[:, None]),
        frames,
        tune=2,
    )
    assert also_below.model.f1 == 1.0


def test_shadow_counts_as_background_and_f1_is_pooled(frames: Path) -> None:
    """100 pixels a frame, and 200 of shadow claimed besides: 2 * 100 / (300 + 100)."""
    darker = evaluate_frames(
        fake(lambda image, plate: bright(image, plate) | (np.arange(HEIGHT) // 4 == 5)[:, None]),
        frames,
        tune=2,
    ).model
    assert darker.f1 == pytest.approx(0.5)
    assert darker.precision == pytest.approx(1 / 3)
    assert darker.recall == 1


def test_the_difference_is_tuned_on_the_first_frames(frames: Path) -> None:
    difference = evaluate_frames(fake(bright), frames, tune=2).difference
    assert difference.f1 > 0.97
    assert 40 < difference.tuned.threshold < 170


def test_frames_that_cannot_be_judged_are_named(frames: Path) -> None:
    with pytest.raises(AssetError, match="more than the 6 frames"):
        evaluate_frames(fake(bright), frames, tune=6)
    save_png(frames / "gt000005.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(PictureError, match="one size"):
        evaluate_frames(fake(bright), frames, tune=2)
    (frames / "in000000.png").unlink()
    with pytest.raises(AssetError, match="in000000"):
        evaluate_frames(fake(bright), frames, tune=2)


def test_frames_that_take_no_part_are_counted(frames: Path) -> None:
    before = evaluate_frames(fake(bright), frames, tune=2)
    assert before.left_out == []
    for number in (7, 8):
        save_png(frames / f"in{number:06d}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    save_png(frames / "in000009.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    save_png(frames / "gt000009.png", np.full((HEIGHT, WIDTH), 85, np.uint8))
    (frames / "index.png").write_bytes(b"")
    after = evaluate_frames(fake(bright), frames, tune=2)
    assert after.left_out == [
        LeftOut(2, "in000007.png", "no ground truth"),
        LeftOut(1, "gt000009.png", "no judged pixel in the ground truth"),
    ]
    assert replace(after, left_out=[]) == before


def test_ground_truth_that_judges_nothing_is_refused(frames: Path) -> None:
    save_png(frames / "gt000000.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(AssetError, match="tuned on"):
        evaluate_frames(fake(bright), frames, tune=1)
    for number in range(1, 6):
        save_png(frames / f"gt{number:06d}.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    save_png(frames / "gt000000.png", np.full((HEIGHT, WIDTH), 255, np.uint8))
    with pytest.raises(AssetError, match="judged, but got none in the 5"):
        evaluate_frames(fake(bright), frames, tune=1)
    for number in range(6):
        save_png(frames / f"gt{number:06d}.png", np.full((HEIGHT, WIDTH), 85, np.uint8))
    with pytest.raises(AssetError, match=r"got 0; 6 frames left out: no judged pixel .* gt000000"):
        evaluate_frames(fake(bright), frames, tune=1)


def test_pooled_tuning_finds_the_best_of_all_settings() -> None:
    random = np.random.default_rng(0)
    samples = [
        tuple(random.integers(0, high, (24, 30)).astype(kind) for high, kind in kinds)
        for kinds in [((256, np.uint8), (2, np.bool_), (2, np.bool_))] * 2
    ]
    search = ThresholdSearch(pooled=True)
    for sample in samples:
        search.add(*sample)
    scores = {}
    for side in MEDIAN_SIDES:
        smooth = [cv2.medianBlur(levels, side) for levels, _, _ in samples]
        for level in range(256):
            hits = claimed = true = 0
            for values, (_, target, judged) in zip(smooth, samples, strict=True):
                hits += int(((values > level) & target & judged).sum())
                claimed += int(((values > level) & judged).sum())
                true += int((target & judged).sum())
            scores[level, side] = 2 * hits / (claimed + true)
    level, side, found = search.best()
    assert found == pytest.approx(max(scores.values()))
    assert scores[level, side] == pytest.approx(found)


def test_measured_depth_judges_order_and_distance(tmp_path: Path) -> None:
    _, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth_m = (1.0 + columns / 25).astype(np.float32)  # farther to the right, level in the rows
    depth_m[:5] = np.nan
    write_pair(tmp_path, "room_1", depth_m)
    truth = np.nan_to_num(disparity_from_depth(depth_m))
    result = evaluate_depth(fake(lambda *_: 0.3 * truth + 0.1), tmp_path)
    assert set(result) == {"all", "room"}
    assert result["room"].pictures == 1
    assert result["room"].model.abs_rel < 1e-3
    assert result["room"].model.delta1 == 1
    assert result["all"].model.ordinal_accuracy > 0.99
    assert result["all"].vertical_gradient.abs_rel > 0.1
    assert 0.4 < result["all"].vertical_gradient.ordinal_accuracy < 0.6


def test_a_disparity_off_by_a_shift_is_right_only_where_the_shift_is_fitted(tmp_path: Path) -> None:
    _, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth_m = (1.0 + columns / 25).astype(np.float32)
    write_pair(tmp_path, "room_1", depth_m)
    truth = disparity_from_depth(depth_m)
    proportional = evaluate_depth(fake(lambda *_: 0.3 * truth), tmp_path)["room"].model
    assert proportional.scale_abs_rel == pytest.approx(0, abs=1e-3)
    assert proportional.scale_delta1 == 1
    shifted = evaluate_depth(fake(lambda *_: 0.3 * truth + 0.1), tmp_path)["room"].model
    assert shifted.abs_rel == pytest.approx(0, abs=1e-3)
    # The least squares of one factor, written out.
    pred, inverse = (0.3 * truth + 0.1).ravel().astype(float), (1 / depth_m).ravel()
    found = 1 / (pred * np.linalg.lstsq(pred[:, None], inverse, rcond=None)[0])
    worst = np.maximum(found * inverse, 1 / (found * inverse))
    assert shifted.scale_abs_rel == pytest.approx(np.abs(found * inverse - 1).mean(), abs=2e-3)
    assert shifted.scale_delta1 == pytest.approx((worst < 1.25).mean(), abs=0.03)
    assert shifted.scale_abs_rel > 0.05


def test_drawn_scenes_are_judged_by_their_disparity(tmp_path: Path) -> None:
    disparity = np.tile(np.linspace(0.2, 1, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))
    disparity[:6], disparity[6:8] = 0, np.nan
    save_png(tmp_path / "shop_000.png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    save_png(tmp_path / "shop_000_disparity.png", encode_disparity(disparity))
    result = evaluate_depth(fake(lambda *_: 1 - np.nan_to_num(disparity)), tmp_path)
    assert result["shop"].vertical_gradient.abs_rel < 1e-3
    assert result["shop"].vertical_gradient.ordinal_accuracy > 0.99
    assert result["shop"].model.ordinal_accuracy < 0.01


def test_a_nearly_flat_wall_has_no_order_to_judge(tmp_path: Path) -> None:
    """No two of its pixels differ enough to say which is nearer, and distance is judged still."""
    codes = np.full((HEIGHT, WIDTH), 2000, np.uint16)
    codes[:, WIDTH // 2 :] = 2010
    save_png(tmp_path / "wall_1.png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    save_png(tmp_path / "wall_1_depth_mm.png", codes)
    result = evaluate_depth(fake(bright), tmp_path)
    assert result["wall"].model.abs_rel < 0.01
    assert result["all"].model.ordinal_accuracy is None


@pytest.mark.parametrize(("codes", "got"), [(2000, "one depth everywhere"), (0, "no valid pixel")])
def test_depth_that_says_nothing_is_named(codes: int, got: str, tmp_path: Path) -> None:
    save_png(tmp_path / "wall_1.png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    save_png(tmp_path / "wall_1_depth_mm.png", np.full((HEIGHT, WIDTH), codes, np.uint16))
    with pytest.raises(AssetError, match=f"wall_1_depth_mm.png .* got {got}"):
        evaluate_depth(fake(bright), tmp_path)


def test_pictures_are_found_and_grouped_by_whatever_name(tmp_path: Path) -> None:
    depth_m = np.tile(np.linspace(5, 1, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))
    for stem, suffix in (("all_1", ".JPG"), ("x_1", ".png")):
        cv2.imwrite(str(tmp_path / f"{stem}{suffix}"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        save_png(tmp_path / f"{stem}_depth_mm.png", encode_depth_mm(depth_m)[0])
    truth = disparity_from_depth(depth_m)
    found = evaluate_depth(fake(lambda *_: truth), tmp_path)
    assert {group: row.pictures for group, row in found.items()} == {"all": 2, "all_": 1, "x": 1}
    with pytest.raises(ModelError, match="masks alone"):
        evaluate_depth(fake(lambda *_: truth, "none"), tmp_path)


def test_frames_come_in_the_order_of_their_numbers(frames: Path) -> None:
    padded = evaluate_frames(fake(bright), frames, tune=2)
    for number in range(6):
        for kind in ("in", "gt"):
            name = frames / f"{kind}{number:06d}.png"
            name.rename(frames / f"{kind}{number + 7}.png")
    assert evaluate_frames(fake(bright), frames, tune=2) == padded


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, got in (("missing", "no folder of pictures"), ("file", "file is a file, not a")):
        with pytest.raises(AssetError, match=got):
            evaluate_frames(fake(bright), tmp_path / name)
        with pytest.raises(AssetError, match=got):
            evaluate_depth(fake(bright), tmp_path / name)


def test_two_pictures_of_one_name_are_refused(frames: Path, tmp_path: Path) -> None:
    for name in ("plate", "in000003"):
        twin = frames / f"{name}.bmp"
        twin.write_bytes(b"")
        with pytest.raises(AssetError, match=rf"pictures called {name}: {name}\.bmp, {name}"):
            evaluate_frames(fake(bright), frames, tune=3)
        twin.unlink()
    depth_m = np.tile(np.linspace(1, 3, WIDTH, dtype=np.float32), (HEIGHT, 1))
    save_png(tmp_path / "a_1_depth_mm.png", encode_depth_mm(depth_m)[0])
    for name in ("a_1.png", "a_1.bmp"):
        save_png(tmp_path / name, np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    with pytest.raises(AssetError, match=r"a_1\.bmp, a_1\.png"):
        evaluate_depth(fake(bright), tmp_path)


def test_a_picture_with_both_kinds_of_label_is_judged_once(tmp_path: Path) -> None:
    depth_m = np.tile(np.linspace(1, 3, WIDTH, dtype=np.float32), (HEIGHT, 1))
    write_pair(tmp_path, "a_1", depth_m)
    save_png(tmp_path / "a_1_disparity.png", encode_disparity(depth_m / 3))
    truth = disparity_from_depth(depth_m)
    result = evaluate_depth(fake(lambda *_: truth), tmp_path)
    assert result["all"].pictures == 1
    assert result["all"].model.ordinal_accuracy > 0.99


def test_a_folder_without_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="_depth_mm"):
        evaluate_depth(fake(bright), tmp_path)
    save_png(tmp_path / "a_depth_mm.png", np.ones((4, 4), np.uint16))
    with pytest.raises(AssetError, match="no picture called a"):
        evaluate_depth(fake(bright), tmp_path)


def test_other_models_are_judged_on_the_same_frames(frames: Path) -> None:
    result = evaluate_frames(
        fake(lambda image, plate: bright(image, plate) & (plate is not None)),
        frames,
        tune=2,
        others={"all": fake(lambda image, _: np.ones(image.shape[:2]))},
    )
    assert result.model.f1 == 1
    assert result.no_plate.f1 == 0
    assert result.others["all"].recall == 1
    assert result.others["all"].precision < 0.5


def test_models_without_depth_are_left_out_of_measured_depth(tmp_path: Path) -> None:
    depth_m = np.tile(np.linspace(5, 1, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))
    write_pair(tmp_path, "room_1", depth_m)
    truth = disparity_from_depth(depth_m)
    others = {
        "right": fake(lambda *_: truth, "exact"),
        "blind": fake(lambda *_: np.nan * truth, "none"),
    }
    found = evaluate_depth(fake(lambda *_: 1 - truth), tmp_path, others=others)["all"]
    assert set(found.others) == {"right"}
    assert found.others["right"].ordinal_accuracy > 0.99
    assert found.model.ordinal_accuracy < 0.01
    assert found.teacher is None
