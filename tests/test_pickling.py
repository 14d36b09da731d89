"""Errors and values of the public interface travel between processes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from maskdepth.client import ServerError
from maskdepth.errors import (
    DependencyError,
    MaskdepthError,
    NonFiniteLossError,
    PageNotBuiltError,
    WeightsNotShippedError,
)
from maskdepth.inference.model.card import ModelCard
from maskdepth.inference.output_files import NoMetresError
from maskdepth.inference.plate.calibration import KnownPoint
from maskdepth.inference.plate.profile import profile_from_disparity
from maskdepth.inference.predictor import Predictor
from maskdepth.inference.stream import StreamState
from maskdepth.media.pictures import PredictionJob, Summary
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.testing import FakeBackend


def error_classes(base: type[MaskdepthError] = MaskdepthError) -> list[type[MaskdepthError]]:
    below = [each for sub in base.__subclasses__() for each in error_classes(sub)]
    return [base, *below]


@pytest.mark.parametrize("kind", sorted(set(error_classes()), key=lambda each: each.__name__))
def test_every_error_is_the_same_after_a_journey(kind: type[MaskdepthError]) -> None:
    """Type, text and fields, whatever arguments its constructor takes."""
    if kind is DependencyError:
        error: MaskdepthError = DependencyError("torch", "train")
    elif kind is NonFiniteLossError:
        error = NonFiniteLossError({"total": float("inf")}, 3, [1, 2])
    elif kind in (WeightsNotShippedError, PageNotBuiltError, NoMetresError):
        error = kind()  # type: ignore[call-arg]
    elif kind.__name__ == "RequestError":  # of the server, which is an extra
        error = kind(422, "There is no plate.", "pass one")  # type: ignore[arg-type]
    elif kind is ServerError:
        error = ServerError(429, {"error": "Too much is waiting.", "request_id": "a1"}, 2.0)
    else:
        error = kind("a plate", "none", "pass one", "There is no plate.")
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert (type(again), str(again), again.args) == (type(error), str(error), error.args)
        assert vars(again) == vars(error)
        assert again.exit_code == error.exit_code


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values hold the same, arrays within them included."""
    if isinstance(ours, np.ndarray):
        return bool(np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"))
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if hasattr(ours, "__dict__") and not isinstance(ours, type):
        return type(ours) is type(theirs) and all(
            same(value, vars(theirs)[name]) for name, value in vars(ours).items()
        )
    return bool(ours == theirs)


def values() -> dict[str, Any]:
    random = np.random.default_rng(0)
    plate = random.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    picture = plate.copy()
    picture[10:30, 20:40] = 255
    disparity = np.tile(np.linspace(0.1, 0.9, 48, dtype=np.float32)[:, None], (1, 64))
    points = [KnownPoint(5, 5, 9.0), KnownPoint(5, 24, 4.0), KnownPoint(5, 43, 2.0)]
    profile = profile_from_disparity(plate, disparity, points)
    predictor = Predictor(FakeBackend(), CARD)
    prepared = predictor.prepare(profile, (48, 64))
    prediction, state = predictor.step(picture, prepared, StreamState())
    return {
        "profile": profile,
        "prepared plate": prepared,
        "prediction": prediction,
        "state": state,
        "card": CARD,
        "rules": RecipeRules(),
        "job": PredictionJob(b"x", None, "x", MaskdepthError("a", "b", "c")),
        "summary": Summary((), (("a", "b"),)),
    }


CARD = ModelCard(
    preset="test",
    fixed_size=None,
    training_size=64,
    depth="exact",
    maskdepth="0.1.0",
    sha256={},
    weights=0,
)


def test_every_value_is_the_same_after_a_journey() -> None:
    for name, value in values().items():
        assert same(value, pickle.loads(pickle.dumps(value))), name
        assert same(value, copy.deepcopy(value)), name


def test_a_journey_that_loses_something_is_noticed() -> None:
    profile = values()["profile"]
    other = copy.deepcopy(profile)
    other.picture[0, 0] += 1
    assert not same(profile, other)
