"""A picture and a plate of which one has no colour."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from maskdepth import Predictor
from maskdepth.images import decode_jpeg, encode_jpeg, to_grey
from maskdepth.inference.plate.colour import lacks_colour, lend_colour

Picture = NDArray[np.uint8]


def scene(seed: int, *, coloured: bool = True) -> Picture:
    random = np.random.default_rng(seed)
    coarse = random.integers(20, 230, (12, 16, 3), np.uint8)
    plate = np.asarray(cv2.resize(coarse, (240, 180), interpolation=cv2.INTER_CUBIC), np.uint8)
    return plate if coloured else to_grey(plate)


def with_object(plate: Picture, colour: tuple[int, int, int]) -> Picture:
    picture = np.clip(
        plate.astype(int) + np.random.default_rng(1).integers(-2, 3, plate.shape), 0, 255
    )
    picture[50:130, 80:150] = colour
    return picture.astype(np.uint8)


def test_a_grey_plate_of_a_coloured_picture_is_found_and_the_reverse() -> None:
    """Also as a JPEG, and under other light."""
    plate = scene(0)
    picture = with_object(plate, (240, 240, 30))
    for grey in (to_grey(plate), decode_jpeg(encode_jpeg(to_grey(plate), 60)), to_grey(plate) // 2):
        assert lacks_colour(grey, picture)
        assert not lacks_colour(picture, grey)
    assert lacks_colour(to_grey(picture), plate)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_pairs_of_one_kind_are_compared_as_they_are(level: int) -> None:
    """Two coloured pictures, two grey ones; a wall without colour, and something coloured at it."""
    plate, wall = scene(0), np.full((180, 240, 3), level, np.uint8)
    grey = to_grey(plate)
    pairs = [
        (plate, with_object(plate, (9, 99, 200))),
        (grey, with_object(grey, (90, 90, 90))),
        (grey, with_object(grey, (200, 40, 90))),
        (wall, with_object(wall, (30, 200, 120))),
    ]
    for one, other in pairs:
        assert not lacks_colour(one, other)
        assert not lacks_colour(other, one)


def test_a_plate_with_lent_colour_differs_in_lightness_alone() -> None:
    picture = with_object(scene(0), (240, 240, 30))
    plate = to_grey(scene(0))
    lent = lend_colour(plate, picture)
    unclipped = ((lent > 0) & (lent < 255)).all(axis=2)
    difference = (lent.astype(int) - picture)[unclipped]
    assert (np.ptp(difference, axis=1) == 0).all()
    np.testing.assert_array_equal(lend_colour(to_grey(picture), picture), picture)


@pytest.mark.parametrize("moved", [False, True])
def test_a_picture_and_a_plate_are_compared_in_grey_if_one_has_no_colour(moved: bool) -> None:
    """The object is found, and nothing else; the cutout keeps the picture's colour."""
    predictor = Predictor.from_pretrained(threads=1)
    plate = scene(3)
    picture = with_object(plate, (250, 250, 245))
    truth = np.zeros(picture.shape[:2], np.bool_)
    truth[50:130, 80:150] = True
    if moved:
        plate = np.roll(plate, (2, 3), (0, 1))
    for one, other in ((picture, to_grey(plate)), (to_grey(picture), plate)):
        result = predictor.predict(one, other)
        assert [notice.code for notice in result.notices] == ["compared_in_grey"]
        assert 2 * (result.mask & truth).sum() / (result.mask.sum() + truth.sum()) > 0.9
        np.testing.assert_array_equal(result.cutout()[70:110, 100:130, :3], one[70:110, 100:130])
