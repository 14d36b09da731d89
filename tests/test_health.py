"""What a plate's picture and depth say of its fitness."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import blur_effect

from maskdepth.inference.plate.health import PlateHealth, measure_health

SIZE = (180, 240)


def leaves(seed: int = 0) -> NDArray[np.uint8]:
    """Grey blots of several sizes, well inside the range of levels."""
    rng = np.random.default_rng(seed)
    grey = np.zeros(SIZE)
    for sigma in (1.5, 4, 12):
        blots = cv2.GaussianBlur(rng.standard_normal(SIZE), (0, 0), sigma)
        grey += blots / blots.std()
    levels = np.clip(127 + 25 * grey, 20, 230).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def flat(level: int = 128) -> NDArray[np.uint8]:
    return np.full((*SIZE, 3), level, np.uint8)


def noisy(picture: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """The same noise in all channels, so that grey has its sigma."""
    noise = np.random.default_rng(1).normal(0, sigma, (*SIZE, 1))
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def ramp() -> NDArray[np.float32]:
    return np.repeat(np.linspace(0.2, 0.8, SIZE[0], dtype=np.float32)[:, None], SIZE[1], axis=1)


def health(picture: NDArray[np.uint8]) -> PlateHealth:
    return measure_health(picture, ramp(), None)


@pytest.mark.parametrize("sigma", [0.0, 1.0, 3.0])
def test_sharpness_is_one_less_the_blur_effect(sigma: float) -> None:
    """Of scikit-image's implementation of the same paper; a blurred picture is less sharp."""
    picture = leaves() if sigma == 0 else cv2.GaussianBlur(leaves(), (0, 0), sigma)
    expected = 1 - blur_effect(picture[..., 0].astype(float), h_size=11)
    assert health(picture.astype(np.uint8)).sharpness == pytest.approx(expected, abs=0.02)
    if sigma:
        assert health(picture.astype(np.uint8)).sharpness < health(leaves()).sharpness


@pytest.mark.parametrize("sigma", [1.5, 4.0, 10.0])
def test_noise_is_that_which_was_added(sigma: float) -> None:
    """On level ground within a tenth; rounding to levels is part of it."""
    assert health(noisy(flat(), sigma)).noise == pytest.approx(sigma, rel=0.1)
    assert health(flat()).noise == 0


def test_exposure_counts_pixels_without_levels_to_spare() -> None:
    picture = leaves()
    picture[:18] = 3
    picture[-36:, :, 0] = 255  # one clipped channel is enough
    found = health(picture)
    assert (found.underexposed, found.overexposed) == (0.1, 0.2)
    assert health(flat(255)).noise == 0


def test_what_can_be_matched_changes_in_every_direction() -> None:
    stripes = flat()
    stripes[:, ::8] = 60
    half = leaves()
    half[:, 120:] = 128
    assert health(leaves()).texture > 0.95
    for picture in (flat(), stripes, noisy(flat(), 6.0)):
        assert health(picture).texture < 0.02
    assert health(half).texture == pytest.approx(0.5, abs=0.05)


def test_depth_is_counted_and_its_range_told() -> None:
    disparity = ramp()
    depth_m = 1 / disparity
    disparity[:, :24], depth_m[:, :24] = np.nan, np.nan
    depth_m[0] = np.inf
    found = measure_health(leaves(), disparity, depth_m)
    assert found.valid_depth == 0.9
    assert found.disparity_range == pytest.approx((0.212, 0.788), abs=0.002)
    assert found.depth_range_m is not None
    assert found.depth_range_m == pytest.approx((1 / 0.788, 1 / 0.212), rel=0.02)
    assert "m" in found.describe()
    assert health(leaves()).depth_range_m is None


@pytest.mark.parametrize("depth", [None, 1 / ramp()])
def test_it_comes_back_from_json(depth: NDArray[np.float32] | None) -> None:
    found = measure_health(leaves(), ramp(), depth)
    assert PlateHealth.parse(json.loads(json.dumps(found.as_json()))) == found


def test_the_figures_read_as_words() -> None:
    metres = np.full((40, 50), 2.0, np.float32)
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    text = measure_health(noise, np.full((40, 50), 0.5, np.float32), metres).describe()
    assert "detailed enough to follow a camera that moves" in text
    assert "depth at 100% of the pixels, from 2.00 to 2.00 m" in text
