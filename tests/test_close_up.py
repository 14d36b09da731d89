"""A second look at the foreground, from closer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskdepth import Predictor
from maskdepth.inference.close_up import enlarge, window_about
from maskdepth.inference.model_folder import ModelCard

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

CARD = ModelCard(
    preset="test", fixed_size=None, training_size=128, depth="exact", maskdepth="0.1.0",
    sha256={}, weights=0, training={"config": {"close_up": 0.5}},
)  # fmt: skip


class Difference:
    """A network that says alpha is what picture and plate differ by, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Floats] = []

    def run(self, picture: Floats, plate: Floats, *_: Any) -> tuple[Floats, Floats]:
        self.seen.append(picture)
        alpha = np.abs(picture - plate).mean(axis=1, keepdims=True).clip(0, 1)
        return alpha, np.full_like(alpha, len(self.seen) / 10)


def pair(side: int, rows: slice, columns: slice) -> tuple[Picture, Picture, Floats]:
    """White stripes of two pixels in a part of a black picture, its plate, and alpha."""
    alpha = np.zeros((side, side), np.float32)
    alpha[rows, columns] = (np.arange(side)[columns] // 2 % 2)[None]
    alpha[rows, columns][:8] = 1
    picture = np.repeat((alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
    return picture, np.zeros_like(picture), alpha


def looks(card: ModelCard, picture: Picture, plate: Picture | None, **options: bool) -> int:
    """How often a network is asked."""
    network = Difference()
    Predictor(network, card, register=False, refine=False, **options).predict(picture, plate)
    return len(network.seen)


def test_small_foreground_is_seen_again_from_closer() -> None:
    """Stripes that are lost at the network's size are found, where they are; depth stays."""
    picture, plate, alpha = pair(512, slice(300, 400), slice(40, 130))
    network = Difference()
    found = {
        again: Predictor(network, CARD, register=False, refine=False, second_look=again).predict(
            picture, plate
        )
        for again in (False, True)
    }
    errors = {again: np.abs(each.alpha - alpha).mean() for again, each in found.items()}
    assert errors[True] < 0.5 * errors[False]
    assert len(network.seen) == 3
    assert network.seen[2].shape == network.seen[1].shape
    assert network.seen[2].mean() > 5 * network.seen[1].mean()
    assert np.allclose(found[True].disparity, 0.2)


def test_a_second_look_needs_a_plate_a_reason_and_a_model_that_learned_from_close_ups() -> None:
    """Else the network is asked once."""
    picture, plate, _ = pair(256, slice(100, 150), slice(100, 150))
    large = pair(256, slice(10, 240), slice(10, 240))
    assert looks(CARD, picture, plate) == 2
    assert looks(CARD, picture, plate, second_look=False) == 1
    assert looks(CARD, picture, None) == 1
    assert looks(CARD, plate, plate) == 1
    assert looks(CARD, large[0], large[1]) == 1
    assert looks(replace(CARD, training={}), picture, plate) == 1
    assert looks(replace(CARD, training={"config": {"close_up": 0.0}}), picture, plate) == 1
    assert looks(replace(CARD, training={"config": "lost"}), picture, plate) == 1


def test_a_picture_smaller_than_the_network_is_at_most_doubled() -> None:
    """What a close-up of 2 x 2 pixels shows is nothing new."""
    picture, plate, alpha = pair(64, slice(40, 50), slice(20, 24))
    network = Difference()
    found = Predictor(network, CARD, register=False, refine=False).predict(picture, plate)
    assert [each.shape for each in network.seen] == [(1, 3, 64, 64)] * 2
    shown = cv2.resize(network.seen[1][0].mean(axis=0), (32, 32), interpolation=cv2.INTER_AREA)
    assert shown.sum() == pytest.approx(network.seen[0].mean(axis=(0, 1)).sum(), rel=0.05)
    assert np.abs(found.alpha - alpha).mean() < 0.01


spans = st.tuples(st.floats(-50, 450), st.floats(-50, 450)).map(lambda s: (min(s), max(s)))


@given(
    spans, spans, st.tuples(st.integers(1, 400), st.integers(1, 400)), st.floats(1, 8),
    st.floats(0, 0.3),
)  # fmt: skip
def test_a_window_holds_its_box_lies_in_the_picture_and_has_its_aspect(
    rows: tuple[float, float],
    columns: tuple[float, float],
    shape: tuple[int, int],
    most: float,
    margin: float,
) -> None:
    window = window_about(rows, columns, shape, most, margin)
    if window is None:
        return
    closer = [side / part for side, part in zip(shape, (window.height, window.width), strict=True)]
    starts, parts = (window.top, window.left), (window.height, window.width)
    for span, side, start, part in zip((rows, columns), shape, starts, parts, strict=True):
        low, high = max(0.0, span[0]), min(float(side), span[1])
        assert start >= 0
        assert start + part <= side
        assert start <= low + 1
        assert high - 1 <= start + part
        assert abs(part - side / min(closer)) <= 1 + side / min(shape)
        assert part >= side / most - 1


def test_enlarging_keeps_type_range_and_axes() -> None:
    """Bicubic overshoots at edges; alpha and colours do not."""
    step = np.zeros((10, 12), np.float32)
    step[:, 6:] = 1
    enlarged = enlarge(step, 25, 30)
    assert enlarged.dtype == np.float32
    assert enlarged.min() == 0
    assert enlarged.max() == 1
    colours = np.repeat((step * 255).astype(np.uint8)[..., None], 3, axis=2)
    assert enlarge(colours, 25, 30).shape == (25, 30, 3)
    assert enlarge(colours, 5, 30).shape == (5, 30, 3)
