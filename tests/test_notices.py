"""A prediction says when its plate or its mask may be wrong, and nothing when all is well."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from command_line import Run
from maskdepth.errors import PlateError
from maskdepth.inference.plate import profile_from_depth
from maskdepth.inference.prediction import Prediction
from maskdepth.testing import FakeBackend

SIDE = 200
Picture = NDArray[np.uint8]

PREDICTOR = FakeBackend().predictor(refine=False, close_up=False)


def scene(seed: int, turn_deg: float = 0.0, zoom: float = 1.0) -> Picture:
    """Patches of dull colours, seen by a camera that was turned and zoomed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(60, 180, (50, 50, 3), np.uint8)
    picture = cv2.resize(coarse, (400, 400), interpolation=cv2.INTER_CUBIC)
    matrix = cv2.getRotationMatrix2D((199.5, 199.5), turn_deg, zoom)
    matrix[:, 2] -= (400 - SIDE) / 2
    return np.asarray(cv2.warpAffine(picture, matrix, (SIDE, SIDE)), np.uint8)


def with_box(picture: Picture) -> Picture:
    result = picture.copy()
    result[60:120, 50:110] = (250, 20, 20)
    return result


def codes(prediction: Prediction) -> list[str]:
    return [notice.code for notice in prediction.notices]


def test_a_good_pair_is_worth_no_notice() -> None:
    assert codes(PREDICTOR.predict(with_box(scene(1)), scene(1))) == []


def test_the_plate_and_the_mask_are_judged() -> None:
    plate = scene(1)
    assert codes(PREDICTOR.predict(with_box(plate))) == ["no_plate", "nearly_all_found"]
    assert codes(PREDICTOR.predict(plate, plate)) == ["nothing_found"]
    assert codes(PREDICTOR.predict(plate, with_box(plate))) == ["exchanged"]
    assert "another_scene" in codes(PREDICTOR.predict(scene(2), plate))
    assert codes(PREDICTOR.predict(with_box(scene(1, turn_deg=10)), plate)) == ["turned"]
    wall = np.full_like(plate, 40)
    assert codes(PREDICTOR.predict(plate, wall)) == ["nearly_all_found"]


def test_a_camera_that_is_not_registered_is_not_judged() -> None:
    predictor = FakeBackend().predictor(register=False, refine=False)
    assert "another_scene" not in codes(predictor.predict(with_box(scene(2)), scene(1)))


def test_metres_of_another_view_are_refused_or_said() -> None:
    depth = np.tile(np.linspace(4, 3, SIDE, dtype=np.float32)[:, None], (1, SIDE))
    profile = profile_from_depth(scene(1), depth)
    with pytest.raises(PlateError, match="another view"):
        PREDICTOR.predict(with_box(scene(1, zoom=0.75)), profile)
    (notice,) = PREDICTOR.predict(with_box(scene(1, zoom=1.12)), profile).notices
    assert notice.code == "zoomed"
    assert "Distances" in notice.text


def test_notices_are_in_the_json(tmp_path: Path) -> None:
    PREDICTOR.predict(scene(1), scene(1)).save(tmp_path, "a")
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["notices"] == [{"code": "nothing_found", "text": "No foreground was found."}]


def test_predict_says_each_kind_of_notice_once(tmp_path: Path, run: Run) -> None:
    for name in "abc":
        Image.fromarray(with_box(scene(1))).save(tmp_path / f"{name}.png")
    done = run("predict", tmp_path, "-o", tmp_path / "out")
    (line,) = [each for each in done.err.splitlines() if "without a plate" in each.lower()]
    assert line.endswith("a.png and 2 more: Without a plate the mask is a guess.")
    done = run("-q", "predict", tmp_path, "-o", tmp_path / "out")
    assert done.err == ""
