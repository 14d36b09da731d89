"""A close-up of the foreground of a large picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskdepth import Predictor
from maskdepth.inference.matting.close_up import find_close_up, loses_foreground
from maskdepth.inference.matting.evidence import measure_evidence
from maskdepth.inference.model.card import ModelCard
from maskdepth.testing import FakeBackend
from pictures import disc

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

CARD = ModelCard("test", None, 128, "exact", "0.1.0", {}, 0)


class Difference:
    """A network whose alpha is the difference of picture and plate; it keeps its inputs."""

    def __init__(self) -> None:
        self.pictures: list[Floats] = []
        self.plate_disparities: list[Floats] = []

    def run(
        self, picture: Floats, plate: Floats, plate_disparity: Floats, _: Any
    ) -> tuple[Floats, Floats]:
        self.pictures.append(picture)
        self.plate_disparities.append(plate_disparity)
        alpha = np.abs(picture - plate).mean(axis=1, keepdims=True).clip(0, 1)
        return alpha, np.full_like(alpha, len(self.pictures) / 10)


def pair(side: int, rows: slice, columns: slice) -> tuple[Picture, Picture, Floats]:
    """White stripes of two pixels in a part of a black picture, its plate, and alpha."""
    alpha = np.zeros((side, side), np.float32)
    alpha[rows, columns] = (np.arange(side)[columns] // 2 % 2)[None]
    alpha[rows, columns][:8] = 1
    alpha[rows, columns][-8:] = 1
    picture = np.repeat((alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
    return picture, np.zeros_like(picture), alpha


def count_runs(picture: Picture, plate: Picture | None, **options: bool) -> int:
    """Runs on the picture; one on the plate alone, for its disparity, is not counted."""
    network = Difference()
    Predictor(network, CARD, register=False, refine=False, **options).predict(picture, plate)
    return len(network.pictures) - (plate is not None)


def test_a_close_up_finds_small_foreground() -> None:
    """It finds stripes that are lost at the network's size, before the plate's disparity."""
    picture, plate, alpha = pair(512, slice(300, 400), slice(40, 130))
    ramp = np.linspace(0, 1, 512, dtype=np.float32)[:, None].repeat(512, axis=1)
    network = Difference()
    without, with_close_up = (
        Predictor(network, CARD, register=False, refine=False, close_up=close_up).predict(
            picture, plate, ramp
        )
        for close_up in (False, True)
    )
    error_without, error = (np.abs(each.alpha - alpha).mean() for each in (without, with_close_up))
    assert error < 0.5 * error_without
    assert [each.shape for each in network.pictures] == [(1, 3, 128, 128)] * 3
    assert network.pictures[2].mean() > 5 * network.pictures[1].mean()
    background = ~with_close_up.mask
    np.testing.assert_allclose(with_close_up.disparity[background], ramp[background], atol=1e-6)
    # The plate's disparity is cut out as the picture is.
    assert 0.55 < network.plate_disparities[2].min() < network.plate_disparities[2].max() < 0.82


def test_a_close_up_needs_a_plate_and_a_reason() -> None:
    """It does not run for an empty or a large mask, or where the picture is hardly larger."""
    picture, plate, _ = pair(256, slice(100, 150), slice(100, 150))
    large = pair(256, slice(10, 240), slice(10, 240))
    no_larger = pair(140, slice(60, 80), slice(60, 80))
    assert count_runs(picture, plate) == 2
    assert count_runs(picture, plate, close_up=False) == 1
    assert count_runs(picture, None) == 1
    assert count_runs(plate, plate) == 1
    assert count_runs(large[0], large[1]) == 1
    assert count_runs(no_larger[0], no_larger[1]) == 1


def composite(alpha: Floats) -> tuple[Picture, Picture]:
    """A red object before a grey plate with a little texture, and that plate."""
    noise = np.random.default_rng(0).normal(0, 2, (*alpha.shape, 3))
    plate = np.clip(np.array([90, 100, 110]) + noise, 0, 255)
    mixed = alpha[..., None] * np.array([200, 60, 50]) + (1 - alpha[..., None]) * plate
    return np.rint(mixed).astype(np.uint8), np.rint(plate).astype(np.uint8)


def test_a_mask_that_leaves_foreground_beside_it_loses_foreground() -> None:
    """The core of a disc and an empty mask do; the entire disc, soft or sharp, does not."""
    for softness in (1.5, 24):
        alpha = disc(128, 40, softness)
        picture, plate = composite(alpha)
        assert not loses_foreground(measure_evidence(picture, plate, alpha))
        assert loses_foreground(measure_evidence(picture, plate, disc(128, 32, 1.5)))
        assert loses_foreground(measure_evidence(picture, plate, np.zeros_like(alpha)))


class Eroding(Difference):
    """A network that loses the edges of the foreground in a close-up."""

    def run(
        self, picture: Floats, plate: Floats, plate_disparity: Floats, _: Any
    ) -> tuple[Floats, Floats]:
        self.pictures.append(picture)
        alpha = (np.abs(picture - plate).max(axis=1, keepdims=True) > 0.1).astype(np.float32)
        if len(self.pictures) > 1:
            alpha[0, 0] = cv2.erode(alpha[0, 0], np.ones((9, 9), np.uint8))
        return alpha, alpha


def test_a_close_up_that_loses_foreground_does_not_count() -> None:
    """Alpha of the first run stays, to the bit."""
    picture, plate = composite(disc(400, 60, 3))
    alphas = []
    for close_up in (False, True):
        network = Eroding()
        predictor = Predictor(network, CARD, register=False, close_up=close_up)
        alphas.append(predictor.predict(picture, plate).alpha)
        assert len(network.pictures) == 2 + close_up  # the first for the plate's disparity
    assert np.array_equal(*alphas)


def test_resized_predictions_stay_within_their_range() -> None:
    """A network of a fixed size reads a picture with one side enlarged and the other shrunk."""
    picture = np.zeros((186, 121, 3), np.uint8)
    for plate in (None, picture):
        predictor = Predictor(
            FakeBackend(alpha=1, disparity=1), replace(CARD, fixed_size=224), register=False
        )
        prediction = predictor.predict(picture, plate)
        assert prediction.alpha.max() == prediction.disparity.max() == 1


@given(st.data(), st.integers(1, 60), st.integers(1, 60), st.integers(1, 700), st.integers(1, 700))
def test_a_close_up_shows_the_mask_in_the_pictures_own_pixels(
    data: st.DataObject, input_height: int, input_width: int, height: int, width: int
) -> None:
    """It lies in the picture, at the picture's aspect ratio, and is not smaller than the input."""
    alpha = np.zeros((input_height, input_width), np.float32)
    for _ in range(2):
        row = data.draw(st.integers(0, input_height - 1))
        alpha[row, data.draw(st.integers(0, input_width - 1))] = 1
    window = find_close_up(alpha, (height, width))
    if window is None:
        return
    zooms = []
    for axis, (part, side) in enumerate(zip(window, (height, width), strict=True)):
        length = part.stop - part.start
        assert part.start >= 0
        assert part.stop <= side
        assert length >= alpha.shape[axis]
        indices = np.flatnonzero(alpha.any(axis=1 - axis))
        step = side / alpha.shape[axis]
        assert part.start <= indices[0] * step + 1
        assert part.stop >= (indices[-1] + 1) * step - 1
        zooms.append((side / (length + 1), side / max(length - 1, 0.5)))
    assert zooms[0][0] <= zooms[1][1]
    assert zooms[1][0] <= zooms[0][1]
