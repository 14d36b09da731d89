"""Outlines measured against the plate."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from maskdepth import Predictor
from maskdepth.inference.model_folder import ModelCard
from maskdepth.inference.refinement import refine_alpha

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]


def disc(side: int, radius: float, softness: float) -> Floats:
    """A disc in the middle whose edge is a ramp of that many pixels."""
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    away = np.hypot(row, column)
    return np.clip((radius - away) / softness + 0.5, 0, 1).astype(np.float32)


def scene(side: int, level: float = 90.0) -> Floats:
    """A plate with gentle stripes, (S, S, 3)."""
    waves = level + 25 * np.sin(np.arange(side) / side * 40)[None, :, None]
    return np.broadcast_to(waves + np.array([0.0, 10, 20]), (side, side, 3)).astype(np.float32)


def composite(alpha: Floats, colour: tuple[float, float, float], plate: Floats) -> Picture:
    """The compositing equation, written out once more."""
    mixed = alpha[..., None] * np.array(colour) + (1 - alpha[..., None]) * plate
    return np.rint(mixed).astype(np.uint8)


def guess(alpha: Floats) -> Floats:
    """What a network might say: half a pixel too far out, and soft."""
    grown = cv2.dilate(alpha, np.ones((2, 2), np.uint8))
    return np.clip(cv2.GaussianBlur(grown, (0, 0), 1.2), 0, 1).astype(np.float32)


def test_an_outline_comes_closer_to_the_truth() -> None:
    """A blurred guess at a disc before a striped plate."""
    alpha, plate = disc(96, 25, 2), scene(96)
    picture = composite(alpha, (220, 60, 40), plate)
    before = guess(alpha)
    after = refine_alpha(picture, plate.astype(np.uint8), before, (96, 96))
    assert np.abs(after - alpha).mean() < 0.5 * np.abs(before - alpha).mean()
    assert ((after > 0.5) != (alpha > 0.5)).sum() < ((before > 0.5) != (alpha > 0.5)).sum() / 2


def test_a_large_picture_gets_outlines_of_its_own_size() -> None:
    """The network saw a sixth of it; what it says, enlarged, is off by pixels at the edge."""
    side, seen = 576, 96
    alpha, plate = disc(side, 150, 2), scene(side)
    picture = composite(alpha, (220, 60, 40), plate)
    small = cv2.resize(guess(alpha), (seen, seen), interpolation=cv2.INTER_AREA)
    before = cv2.resize(small, (side, side))
    after = refine_alpha(picture, plate.astype(np.uint8), before, (seen, seen))
    assert np.abs(after - alpha).mean() < 0.2 * np.abs(before - alpha).mean()


def test_a_foreground_like_its_plate_keeps_the_networks_word() -> None:
    """There is nothing to measure where both have one colour."""
    plate = np.full((64, 64, 3), 120, np.uint8)
    before = guess(disc(64, 18, 2))
    after = refine_alpha(plate, plate, before, (64, 64))
    assert np.abs(after - before).max() < 0.02


def test_a_shadow_beside_an_outline_stays_background() -> None:
    """The plate is as dark there as the picture, once its light is taken from beside it."""
    alpha, plate = disc(96, 25, 2), scene(96, 140)
    shaded = plate.copy()
    shaded[:, 48:] *= 0.5
    picture = composite(alpha, (220, 60, 40), shaded)
    after = refine_alpha(picture, plate.astype(np.uint8), guess(alpha), (96, 96))
    right = (alpha == 0) & (np.arange(96) > 52)[None]
    assert after[right].mean() < 0.01
    assert np.abs(after - alpha).mean() < 0.6 * np.abs(guess(alpha) - alpha).mean()


def test_what_lies_away_from_outlines_is_left_alone() -> None:
    """Neither a sure foreground nor a sure background is measured, whatever the picture holds."""
    alpha = disc(96, 25, 2)
    noise = np.random.default_rng(1).integers(0, 256, (2, 96, 96, 3)).astype(np.uint8)
    after = refine_alpha(noise[0], noise[1], alpha, (96, 96))
    inner, outer = disc(96, 21, 1) == 1, disc(96, 29, 1) == 0
    assert np.array_equal(after[inner | outer], alpha[inner | outer])


def test_without_an_outline_nothing_happens() -> None:
    """An empty mask, and one that fills the picture."""
    picture = np.zeros((40, 40, 3), np.uint8)
    for value in (0.0, 1.0):
        alpha = np.full((40, 40), value, np.float32)
        assert np.array_equal(refine_alpha(picture, picture, alpha, (40, 40)), alpha)


@settings(deadline=None, max_examples=40)
@given(
    arrays(np.uint8, (2, 37, 51, 3)),
    arrays(np.float32, (37, 51), elements=st.floats(0, 1, width=32)),
    st.sampled_from([(37, 51), (12, 17), (5, 7), (1, 1)]),
)
def test_alpha_stays_alpha_and_inputs_stay_as_they_are(
    pixels: NDArray[np.uint8], alpha: Floats, size: tuple[int, int]
) -> None:
    """Any pictures and any alpha give numbers in [0, 1], and change nothing they are given."""
    kept = pixels.copy(), alpha.copy()
    after = refine_alpha(pixels[0], pixels[1], alpha, size)
    assert after.dtype == np.float32
    assert after.shape == alpha.shape
    assert np.isfinite(after).all()
    assert after.min() >= 0
    assert after.max() <= 1
    assert np.array_equal(pixels, kept[0])
    assert np.array_equal(alpha, kept[1])


class Guesser:
    """A backend that says one alpha."""

    def __init__(self, alpha: Floats) -> None:
        self._alpha = alpha

    def run(self, *inputs: Floats) -> tuple[Floats, Floats]:
        """The alpha, and a level disparity."""
        return self._alpha[None, None], np.full_like(self._alpha, 0.5)[None, None]


@pytest.mark.parametrize("given_plate", [True, False])
def test_a_predictor_refines_where_there_is_a_plate_unless_told_not_to(given_plate: bool) -> None:
    """Without a plate there is nothing to measure against."""
    alpha, plate = disc(96, 25, 2), scene(96)
    picture = composite(alpha, (220, 60, 40), plate)
    card = ModelCard("test", None, 96, "none", "0.1.0", {}, 0)
    known = plate.astype(np.uint8) if given_plate else None
    said = guess(alpha)
    refined, rough = (
        Predictor(Guesser(said), card, refine=refine).predict(picture, known).alpha
        for refine in (True, False)
    )
    assert np.array_equal(rough, said)
    assert (np.abs(refined - alpha).mean() < 0.5 * np.abs(rough - alpha).mean()) == given_plate
