"""Masks where a moved plate ends."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from maskdepth import Predictor
from maskdepth.inference.matting.uncovered import judge_uncovered
from maskdepth.synthesis.worlds.cutouts import render_cutout
from maskdepth.synthesis.worlds.scenes import render_scene

HEIGHT, WIDTH, MOVED = 200, 260, 14

Picture = NDArray[np.uint8]


def blob(*corners: tuple[int, int, int, int]) -> NDArray[np.float32]:
    alpha = np.zeros((60, 80), np.float32)
    for top, bottom, left, right in corners:
        alpha[top:bottom, left:right] = 0.9
    return alpha


@pytest.mark.parametrize(
    ("differs", "left", "kept"), [(True, 40, True), (False, 40, False), (True, 72, False)]
)
def test_foreground_beyond_the_plate_counts_as_an_objects_continuation_alone(
    differs: bool, left: int, kept: bool
) -> None:
    """What does not differ from the plate before it, or lies beyond it entirely, is none."""
    plate = np.full((60, 80, 3), 90, np.uint8)
    picture = plate.copy()
    if differs:
        picture[20:40, left:] = 200
    covered = np.ones((60, 80), np.bool_)
    covered[:, 70:] = False
    other = (5, 12, 5, 12)
    alpha = judge_uncovered(blob((20, 40, left, 80), other), picture, plate, covered)
    expected = blob((20, 40, left, 80), other) if kept else blob(other)
    np.testing.assert_array_equal(alpha, expected)


def test_an_empty_strip_stays_empty_and_an_object_that_reaches_into_it_goes_on() -> None:
    """The camera was turned by 5 % of the picture's width, in drawn scenes."""
    predictor = Predictor.from_pretrained(threads=1)
    person = render_cutout("person", 3, 150).image
    for family in ("street", "indoor"):
        scene = render_scene(family, 5, HEIGHT, WIDTH + MOVED).image
        plate, empty = scene[:, :WIDTH].copy(), scene[:, MOVED:].copy()
        assert not predictor.predict(empty, plate).mask.any()
        picture, truth = paste(empty, person, 30, WIDTH - person.shape[1] // 2 - MOVED)
        mask = predictor.predict(picture, plate).mask
        strip = np.s_[:, -MOVED:]
        assert dice(mask, truth) > 0.9
        assert dice(mask[strip], truth[strip]) > 0.7


def paste(picture: Picture, cutout: Picture, top: int, left: int) -> tuple[Picture, Picture]:
    result, alpha = picture.astype(np.float32), np.zeros(picture.shape[:2], np.float32)
    part = cutout[: picture.shape[0] - top, : picture.shape[1] - left].astype(np.float32)
    window = np.s_[top : top + part.shape[0], left : left + part.shape[1]]
    alpha[window] = part[..., 3] / 255
    result[window] += alpha[window][..., None] * (part[..., :3] - result[window])
    return np.rint(result).astype(np.uint8), np.asarray(alpha > 0.5)


def dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
