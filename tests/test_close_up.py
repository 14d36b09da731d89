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
    """A network that says alpha is what picture and plate differ by, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Floats] = []
        self.given: list[Floats] = []

    def run(
        self, picture: Floats, plate: Floats, plate_disparity: Floats, _: Any
    ) -> tuple[Floats, Floats]:
        self.seen.append(picture)
        self.given.append(plate_disparity)
        alpha = np.abs(picture - plate).mean(axis=1, keepdims=True).clip(0, 1)
        return alpha, np.full_like(alpha, len(self.seen) / 10)


def pair(side: int, rows: slice, columns: slice) -> tuple[Picture, Picture, Floats]:
    """White stripes of two pixels in a part of a black picture, its plate, and alpha."""
    alpha = np.zeros((side, side), np.float32)
    alpha[rows, columns] = (np.arange(side)[columns] // 2 % 2)[None]
    alpha[rows, columns][:8] = 1
    alpha[rows, columns][-8:] = 1
    picture = np.repeat((alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
    return picture, np.zeros_like(picture), alpha


def looks(picture: Picture, plate: Picture | None, **options: bool) -> int:
    network = Difference()
    Predictor(network, CARD, register=False, refine=False, **options).predict(picture, plate)
    return len(network.seen)


def test_small_foreground_is_seen_again_from_closer() -> None:
    """Stripes that are lost at the network's size are found, where they are; depth stays."""
    picture, plate, alpha = pair(512, slice(300, 400), slice(40, 130))
    ramp = np.linspace(0, 1, 512, dtype=np.float32)[:, None].repeat(512, axis=1)
    network = Difference()
    found = {
        again: Predictor(network, CARD, register=False, refine=False, close_up=again).predict(
            picture, plate, ramp
        )
        for again in (False, True)
    }
    errors = {again: np.abs(each.alpha - alpha).mean() for again, each in found.items()}
    assert errors[True] < 0.5 * errors[False]
    assert [each.shape for each in network.seen] == [(1, 3, 128, 128)] * 3
    assert network.seen[2].mean() > 5 * network.seen[1].mean()
    assert np.allclose(found[True].disparity, 0.2)
    # What is known of the plate's depth is cut out alike.
    assert 0.55 < network.given[2].min() < network.given[2].max() < 0.82


def test_a_close_up_needs_a_plate_and_a_reason() -> None:
    """Nothing in the picture, or much; no more pixels than the network sees: it is asked once."""
    picture, plate, _ = pair(256, slice(100, 150), slice(100, 150))
    large = pair(256, slice(10, 240), slice(10, 240))
    no_larger = pair(140, slice(60, 80), slice(60, 80))
    assert looks(picture, plate) == 2
    assert looks(picture, plate, close_up=False) == 1
    assert looks(picture, None) == 1
    assert looks(plate, plate) == 1
    assert looks(large[0], large[1]) == 1
    assert looks(no_larger[0], no_larger[1]) == 1


def composite(alpha: Floats) -> tuple[Picture, Picture]:
    """A red thing before a grey plate with a little texture, and that plate."""
    noise = np.random.default_rng(0).normal(0, 2, (*alpha.shape, 3))
    plate = np.clip(np.array([90, 100, 110]) + noise, 0, 255)
    mixed = alpha[..., None] * np.array([200, 60, 50]) + (1 - alpha[..., None]) * plate
    return np.rint(mixed).astype(np.uint8), np.rint(plate).astype(np.uint8)


def test_foreground_that_is_left_beside_a_mask_is_seen() -> None:
    """The core of a soft disc, nothing at all, and the disc as it is, soft or sharp."""
    for softness in (1.5, 24):
        alpha = disc(128, 40, softness)
        picture, plate = composite(alpha)
        assert not loses_foreground(measure_evidence(picture, plate, alpha))
        assert loses_foreground(measure_evidence(picture, plate, disc(128, 32, 1.5)))
        assert loses_foreground(measure_evidence(picture, plate, np.zeros_like(alpha)))


class Eroding(Difference):
    """A network that loses the edges of what it is shown from closer."""

    def run(
        self, picture: Floats, plate: Floats, plate_disparity: Floats, _: Any
    ) -> tuple[Floats, Floats]:
        self.seen.append(picture)
        alpha = (np.abs(picture - plate).max(axis=1, keepdims=True) > 0.1).astype(np.float32)
        if len(self.seen) > 1:
            alpha[0, 0] = cv2.erode(alpha[0, 0], np.ones((9, 9), np.uint8))
        return alpha, alpha


def test_a_close_up_that_loses_foreground_does_not_count() -> None:
    """The first one stays, to the bit."""
    picture, plate = composite(disc(400, 60, 3))
    found = []
    for again in (False, True):
        network = Eroding()
        predictor = Predictor(network, CARD, register=False, close_up=again)
        found.append(predictor.predict(picture, plate).alpha)
        assert len(network.seen) == 1 + again
    assert np.array_equal(*found)


def test_resizing_does_not_leave_the_range() -> None:
    """A network of a fixed size sees one side enlarged and the other shrunk."""
    picture = np.zeros((186, 121, 3), np.uint8)
    for plate in (None, picture):
        predictor = Predictor(
            FakeBackend(alpha=1, disparity=1), replace(CARD, fixed_size=224), register=False
        )
        prediction = predictor.predict(picture, plate)
        assert prediction.alpha.max() == prediction.disparity.max() == 1


@given(st.data(), st.integers(1, 60), st.integers(1, 60), st.integers(1, 700), st.integers(1, 700))
def test_a_close_up_holds_the_mask_in_the_pictures_own_pixels(
    data: st.DataObject, seen_height: int, seen_width: int, height: int, width: int
) -> None:
    """It lies in the picture, is as large as what the network sees or larger, and of its aspect."""
    alpha = np.zeros((seen_height, seen_width), np.float32)
    for _ in range(2):
        row = data.draw(st.integers(0, seen_height - 1))
        alpha[row, data.draw(st.integers(0, seen_width - 1))] = 1
    place = find_close_up(alpha, (height, width))
    if place is None:
        return
    closer = []
    for axis, (part, side) in enumerate(zip(place, (height, width), strict=True)):
        length = part.stop - part.start
        assert part.start >= 0
        assert part.stop <= side
        assert length >= alpha.shape[axis]
        on = np.flatnonzero(alpha.any(axis=1 - axis))
        step = side / alpha.shape[axis]
        assert part.start <= on[0] * step + 1
        assert part.stop >= (on[-1] + 1) * step - 1
        closer.append((side / (length + 1), side / max(length - 1, 0.5)))
    assert closer[0][0] <= closer[1][1]
    assert closer[1][0] <= closer[0][1]
