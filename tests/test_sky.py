"""The sky of photos: a frozen list, and how near a model puts it."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from judged import Fake, nowhere

TOOLS = Path(__file__).resolve().parent.parent / "tools"
FROZEN_LIST = "77eca57f591299d262eee61f970607dcd6157e4b746f226a2071d3ed1adc8014"


@pytest.fixture(scope="module")
def judge_sky():
    specification = importlib.util.spec_from_file_location("judge_sky", TOOLS / "judge_sky.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_list_of_photos_with_sky_is_frozen(judge_sky):
    assert hashlib.sha256(judge_sky.LIST.read_bytes()).hexdigest() == FROZEN_LIST
    names = [name for _, name in judge_sky.listed_photos()]
    assert len(set(names)) == len(names) == 73


def test_the_upper_rows_alone_are_judged_with_the_photo_as_its_own_plate(judge_sky):
    """The made-up model has 0.2 in the upper 15 %, 0.9 below, and 0.1 more with a plate."""

    def disparity(image, plate, plate_disparity):
        levels = np.where(np.arange(len(image)) < 0.15 * len(image), 0.2, 0.9)[:, None]
        if plate is not None:
            assert np.array_equal(plate, image)
            levels = levels + 0.1
        return np.broadcast_to(levels, image.shape[:2])

    photo = np.full((100, 1280, 3), 90, np.uint8)
    found = judge_sky.judge_photo(Fake(nowhere, disparity), photo)
    assert found == pytest.approx({"alone": 0.2, "with_plate": 0.3, "difference": 0.1}, abs=0.02)


def test_another_picture_under_a_listed_name_is_no_listed_photo(judge_sky, tmp_path):
    name = judge_sky.listed_photos()[0][1]
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(b"another")
    with pytest.raises(SystemExit, match="another picture"):
        judge_sky.judge_sky(Fake(nowhere), tmp_path)
