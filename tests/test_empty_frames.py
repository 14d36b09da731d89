"""Frames of a stream that show their plate and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskdepth import Predictor
from maskdepth.inference.plate.empty import shows_plate_alone
from maskdepth.inference.stream import StreamState
from maskdepth.testing import FakeBackend
from pictures import noise

Picture = NDArray[np.uint8]


def taken(scene: NDArray[np.floating], deviation: float, seed: int) -> Picture:
    """A scene as a sensor with noise takes it."""
    random = np.random.default_rng(seed)
    return np.clip(np.rint(scene + random.normal(0, deviation, scene.shape)), 0, 255).astype(
        np.uint8
    )


def scene() -> NDArray[np.float64]:
    """A plate, float (224, 398, 3), with texture."""
    rows, columns = np.mgrid[:224, :398]
    waves = 110 + 50 * np.sin(rows / 9) * np.cos(columns / 13)
    return np.stack([waves, waves + 12, waves - 9], axis=2)


@pytest.mark.parametrize("deviation", [0.0, 0.5, 1.0, 2.0])
def test_a_plate_with_the_sensors_noise_is_alone(deviation: float) -> None:
    plates = [taken(scene(), deviation, 0), taken(scene(), deviation / 3, 99)]
    for seed in range(1, 7):
        assert all(shows_plate_alone(taken(scene(), deviation, seed), plate) for plate in plates)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 1000))
def test_an_object_is_never_taken_for_noise(
    data: st.DataObject, deviation: float, seed: int
) -> None:
    """Small and clear, or large and faint: what stands out of the noise by its size and contrast.

    A square of n pixels a side stands out by n contrast / noise deviations.
    """
    side = data.draw(st.integers(1, 60))
    row, column = data.draw(st.integers(0, 223 - side)), data.draw(st.integers(0, 397 - side))
    contrast = max(2.0, 30 * deviation / min(side, 27))
    sign = data.draw(st.sampled_from([-1, 1]))
    with_object = scene()
    with_object[row : row + side, column : column + side] += sign * contrast
    picture, plate = taken(with_object, deviation, seed), taken(scene(), deviation, seed + 5000)
    assert not shows_plate_alone(picture, plate)


@pytest.mark.parametrize("change", [3.0, -3.0, 40.0])
def test_a_change_of_light_is_left_to_the_network(change: float) -> None:
    assert not shows_plate_alone(taken(scene() + change, 1, 1), taken(scene(), 1, 2))


class Counting(FakeBackend):
    """A network that counts its runs."""

    runs = 0

    def run(self, *inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.runs += 1
        return super().run(*inputs)


def test_a_stream_keeps_empty_frames_from_the_network() -> None:
    """They have the plate's disparity and an empty mask; the next frame with an object does not."""
    network = Counting()
    predictor: Predictor = network.predictor(training_size=224)
    plate = taken(scene(), 1, 0)
    prepared = predictor.prepare(plate, (224, 398))
    runs = network.runs
    empty, state = predictor.step(taken(scene(), 1, 1), prepared, StreamState())
    assert network.runs == runs
    assert not empty.mask.any()
    assert [notice.code for notice in empty.notices] == ["nothing_found"]
    assert prepared.full_disparity is not None
    assert np.array_equal(empty.disparity, prepared.full_disparity)
    assert empty.plate is not None
    frame = taken(scene(), 1, 2)
    frame[80:160, 100:180] = noise(80, 80, 3)
    step, state = predictor.step(frame, prepared, state)
    assert network.runs > runs
    assert state.frames == 2
    assert np.array_equal(step.alpha, predictor.predict(frame, prepared).alpha)
