"""Depth belongs to the plate: estimated once, and the same in every frame outside the mask."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from maskdepth import Predictor
from maskdepth.errors import ModelError
from maskdepth.files import file_checksum
from maskdepth.inference.model.card import DEPTH_NETWORK_FILE, NETWORK_FILE, NO_DEPTH, ModelCard
from maskdepth.inference.model.depth_network import DepthNetwork
from maskdepth.inference.model.folder import DEPTH_CARD_FILE, save_card
from networks import difference_network
from pictures import noise

CARD = ModelCard("test", None, 64, "exact", "0.1.0", {NETWORK_FILE: "0" * 64}, 0)
SIZE = (64, 96)

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]


class Brightness:
    """A network whose disparity is the picture's brightness, dimmed, and alpha its difference."""

    def __init__(self, factor: float = 0.5) -> None:
        self.factor = factor
        self.sizes: list[tuple[int, ...]] = []

    def run(
        self, picture: Floats, plate: Floats, plate_disparity: Floats, validity: Floats
    ) -> tuple[Floats, Floats]:
        self.sizes.append(picture.shape[2:])
        difference = np.abs(picture - plate).max(axis=1, keepdims=True)
        return (difference > 0.2).astype(np.float32), self.factor * picture.mean(1, keepdims=True)


def plate_picture() -> Picture:
    """Noise without bright or dark pixels."""
    return (80 + noise(*SIZE, 0) // 4).astype(np.uint8)


def frame(left: int, level: int = 250) -> Picture:
    """The plate with a square of one level."""
    picture = plate_picture()
    picture[20:44, left : left + 24] = level
    return picture


def predictor(network: Brightness, depth: str = "exact", **options: bool) -> Predictor:
    return Predictor(network, replace(CARD, depth=depth), refine=False, close_up=False, **options)


def test_the_background_is_the_same_in_every_frame() -> None:
    """To the bit: it is the disparity of the plate, which was estimated once."""
    network = Brightness()
    fixed = predictor(network, register=False)
    plate = fixed.prepare(plate_picture(), SIZE)
    assert len(network.sizes) == 1
    first, second = (fixed.predict(frame(left), plate) for left in (10, 60))
    assert len(network.sizes) == 3
    background = ~(first.mask | second.mask)
    assert np.array_equal(first.disparity[background], second.disparity[background])
    np.testing.assert_allclose(
        first.disparity[background], 0.5 * plate_picture().mean(2)[background] / 255, atol=1e-5
    )
    assert first.provenance.disparity_sources == {
        "background": "estimated from the plate",
        "foreground": "picture",
    }


def test_foreground_is_never_farther_than_the_plate() -> None:
    """Not even where the network says so; how much of it was in front is recorded."""
    fixed = predictor(Brightness(), register=False)
    near, far = (fixed.predict(frame(30, level), plate_picture()) for level in (250, 0))
    behind = 0.5 * plate_picture().mean(2) / 255
    assert (near.disparity[near.mask] > behind[near.mask] + 0.1).all()
    np.testing.assert_allclose(far.disparity[far.mask], behind[far.mask], atol=1e-5)
    assert near.alignment is not None
    assert far.alignment is not None
    assert (near.alignment.in_front, far.alignment.in_front) == (1, 0)


def test_a_disparity_that_came_with_the_plate_is_the_backgrounds() -> None:
    """Where it is not valid, the network's answer for the picture stands."""
    ramp = np.linspace(0.2, 0.4, SIZE[1], dtype=np.float32)[None].repeat(SIZE[0], axis=0)
    ramp[:8] = np.nan
    prediction = predictor(Brightness(), register=False).predict(frame(30), plate_picture(), ramp)
    background = ~prediction.mask & np.isfinite(ramp)
    np.testing.assert_allclose(prediction.disparity[background], ramp[background], atol=1e-6)
    assert np.isfinite(prediction.disparity).all()
    assert prediction.provenance.disparity_sources == {
        "background": "plate disparity",
        "foreground": "picture",
        "unknown in the plate": "picture",
    }


def test_of_another_scene_the_picture_alone_gives_the_disparity(tmp_path: Path) -> None:
    """The JSON says so."""
    prediction = predictor(Brightness()).predict(noise(*SIZE, 7), noise(*SIZE, 8))
    assert "another_scene" in {notice.code for notice in prediction.notices}
    assert prediction.provenance.disparity_sources == {"all": "picture"}
    np.testing.assert_allclose(prediction.disparity, 0.5 * noise(*SIZE, 7).mean(2) / 255, atol=1e-5)
    record = json.loads(prediction.save(tmp_path, only=["json"])[0].read_text())
    assert record["disparity"]["sources"] == {"all": "picture"}


def test_a_model_of_masks_alone_has_no_disparity() -> None:
    """Of the plate neither."""
    network = Brightness()
    prediction = predictor(network, NO_DEPTH, register=False).predict(frame(30), plate_picture())
    assert np.isnan(prediction.disparity).all()
    assert len(network.sizes) == 1


def test_a_depth_network_answers_for_plates_and_for_pictures_without_one() -> None:
    """At its own input size, and not for a picture whose plate is prepared."""
    network, deep = Brightness(), Brightness(0.25)
    depth_network = DepthNetwork(deep, replace(CARD, training_size=32))
    both = Predictor(network, CARD, depth_network=depth_network, register=False, refine=False)
    picture = np.full((64, 96, 3), 200, np.uint8)
    alone = both.predict(picture)
    np.testing.assert_allclose(alone.disparity, 0.25 * 200 / 255, atol=1e-5)
    plate = both.prepare(picture, SIZE)
    with_plate = both.predict(picture, plate)
    np.testing.assert_allclose(with_plate.disparity, 0.25 * 200 / 255, atol=1e-5)
    assert deep.sizes == [(32, 48)] * 2
    assert (both.depth_card.training_size, predictor(network).depth_card) == (32, CARD)


def test_a_model_folder_may_hold_a_depth_network(tmp_path: Path) -> None:
    """It is loaded with the model; one that has changed is refused, and one that is lost too."""
    for name in (NETWORK_FILE, DEPTH_NETWORK_FILE):
        (tmp_path / name).write_bytes(difference_network())
    save_card(tmp_path, CARD)
    (tmp_path / "model.json").rename(tmp_path / DEPTH_CARD_FILE)
    names = (NETWORK_FILE, DEPTH_NETWORK_FILE, DEPTH_CARD_FILE)
    checksums = {name: file_checksum(tmp_path / name) for name in names}
    save_card(tmp_path, replace(CARD, sha256=checksums))
    picture = noise(*SIZE, 0)
    assert np.isfinite(Predictor.from_pretrained(tmp_path).predict(picture).disparity).all()
    (tmp_path / DEPTH_CARD_FILE).write_text("{}")
    with pytest.raises(ModelError, match="has changed"):
        Predictor.from_pretrained(tmp_path)
    (tmp_path / DEPTH_CARD_FILE).unlink()
    with pytest.raises(ModelError, match="is missing"):
        Predictor.from_pretrained(tmp_path)
