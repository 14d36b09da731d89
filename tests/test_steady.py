"""Streams do not flicker where the picture stands still, and do not lag where it moves."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from maskdepth import Prediction
from maskdepth.inference.plate.registration import Registration
from maskdepth.inference.steady import SteadyState, steady_prediction
from maskdepth.testing import FakeBackend

SIZE = (96, 128)
EDGE = np.s_[18:62, 58:62]  # pixels beside the object, whose alpha flickers


def frame(number: int, left: int = 20) -> np.ndarray:
    """A bright object on a dark plate, with the noise of a camera."""
    noise = np.random.default_rng(number).normal(0, 2, (*SIZE, 3))
    picture = np.full((*SIZE, 3), 60.0)
    picture[20:60, left : left + 40] = 180
    return (picture + noise).clip(0, 255).astype(np.uint8)


def predict(number: int, left: int = 20, registration: Registration | None = None) -> Prediction:
    """The truth, with an outline that flickers."""
    alpha = np.zeros(SIZE, np.float32)
    alpha[20:60, left : left + 40] = 1
    rng = np.random.default_rng(1000 + number)
    alpha[18:62, left + 38 : left + 42] = rng.random((44, 4), np.float32)
    prediction = Prediction(frame(number, left), alpha, alpha * 0.5, np.full((*SIZE, 3), 60, "u1"))
    return replace(prediction, provenance=replace(prediction.provenance, registration=registration))


def follow(predictions: list[Prediction]) -> list[Prediction]:
    state: SteadyState | None = None
    steadied = []
    for prediction in predictions:
        result, state = steady_prediction(prediction, state)
        state = pickle.loads(pickle.dumps(state))
        steadied.append(result)
    return steadied


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_what_stands_still_flickers_less_than_half_as_much() -> None:
    alone = [predict(number) for number in range(40)]
    steadied = follow(alone)
    for layer in ("alpha", "disparity"):
        before, after = (
            np.stack([getattr(each, layer)[EDGE] for each in clip[12:]]).std(axis=0).mean()
            for clip in (alone, steadied)
        )
        assert before > 0.1
        assert after < 0.5 * before


def test_what_moves_in_steps_does_not_lag() -> None:
    alone = [predict(number, 20 + 6 * (number // 5)) for number in range(40)]
    for number, (one, other) in enumerate(zip(alone, follow(alone), strict=True)):
        truth = np.zeros(SIZE, bool)
        left = 20 + 6 * (number // 5)
        truth[20:60, left : left + 40] = True
        assert dice(other.mask, truth) >= dice(one.mask, truth) - 0.01


def test_an_object_that_vanishes_is_gone_at_once() -> None:
    empty = np.zeros(SIZE, np.float32)
    gone = replace(predict(20), image=np.full((*SIZE, 3), 60, np.uint8), alpha=empty)
    last = follow([*(predict(number) for number in range(20)), gone])[-1]
    assert not last.mask.any()


def test_an_answer_that_changes_over_an_area_is_taken_though_the_picture_is_the_same() -> None:
    """What is hardly to be told from its background would be late otherwise."""
    other = replace(predict(20), alpha=np.zeros(SIZE, np.float32))
    other.alpha[70:90, 90:120] = 1
    last = follow([*(predict(number) for number in range(20)), other])[-1]
    assert last.mask[74:86, 94:116].all()


def test_a_cut_a_moved_camera_and_another_size_begin_again() -> None:
    shifted = Registration(np.array([[1.0, 0, 4], [0, 1, 0]]), None, 50, 50, SIZE)
    first = [predict(number) for number in range(8)]
    moved = predict(8, registration=shifted)
    assert follow([*first, moved])[-1] is moved
    cut = replace(predict(8), image=255 - predict(8).image)
    assert follow([*first, cut])[-1] is cut
    small = predict(8)
    small = replace(small, image=small.image[::2, ::2], alpha=small.alpha[::2, ::2],
                    disparity=small.disparity[::2, ::2], plate=small.image[::2, ::2])  # fmt: skip
    assert follow([*first, small])[-1] is small


def test_metres_are_steadied_with_the_disparity_and_invalid_pixels_stay_invalid() -> None:
    alone = []
    for number in range(30):
        prediction = predict(number)
        depth_m = (1 / (0.1 + prediction.disparity)).astype(np.float32)
        depth_m[:10], depth_m[10:14] = np.nan, np.inf
        prediction.disparity[:10] = np.nan
        alone.append(replace(prediction, depth_m=depth_m))
    last = follow(alone)[-1]
    assert last.depth_m is not None
    assert np.isnan(last.depth_m[:10]).all()
    assert np.isinf(last.depth_m[10:14]).all()
    np.testing.assert_allclose(1 / last.depth_m[14:], 0.1 + last.disparity[14:], rtol=1e-4)


@pytest.mark.parametrize("steady", [True, False])
def test_a_stream_is_steadied_unless_that_is_switched_off(steady: bool) -> None:
    options = {"register": False, "refine": False, "close_up": False}
    predictor = FakeBackend().predictor(**options)
    plate = np.full((*SIZE, 3), 154, np.uint8)  # on the edge between background and foreground
    frames = [frame(number) for number in range(30)]
    stream = predictor.stream(plate, steady=steady)
    alphas = np.stack([stream.predict(each).alpha for each in frames])[12:, 22:58, 22:58]
    alone = np.stack([predictor.predict(each, plate).alpha for each in frames])[12:, 22:58, 22:58]
    assert (stream.state.steady is not None) == steady
    if steady:
        assert alphas.std(axis=0).mean() < 0.5 * alone.std(axis=0).mean()
    else:
        np.testing.assert_array_equal(alphas, alone)
