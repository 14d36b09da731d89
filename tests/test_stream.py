"""Prepared plates, streams, and what of a predictor travels."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maskdepth import Prediction, Predictor
from maskdepth.errors import MaskdepthError, UsageError
from maskdepth.images import resize, save_png
from maskdepth.inference.plate import profile_from_depth
from maskdepth.inference.stream import StreamState
from maskdepth.testing import FakeBackend
from test_architecture import ROOMS

SIZE = (90, 120)


def scene(seed: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    plate = np.kron(rng.integers(0, 120, (15, 20, 3)), np.ones((6, 6, 1))).astype(np.uint8)
    noisy = np.roll(plate, shift, 1).astype(np.int16)
    noisy += np.random.default_rng(seed).integers(-2, 3, plate.shape, np.int16)
    picture = noisy.clip(0, 255).astype(np.uint8)
    picture[30:60, 40:70] = 240
    return picture, plate


def assert_same(one: Prediction, other: Prediction) -> None:
    np.testing.assert_array_equal(one.alpha, other.alpha)
    np.testing.assert_array_equal(one.disparity, other.disparity)
    for first, second in ((one.plate, other.plate), (one.depth_m, other.depth_m)):
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_array_equal(first, second)


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor.from_pretrained(threads=1)


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("with_depth", [False, True])
def test_a_prepared_plate_predicts_like_the_plate_itself(
    shipped: Predictor, shift: int, with_depth: bool
) -> None:
    _, plate = scene(0)
    source = plate
    if with_depth:
        depth_m = np.tile(np.linspace(6, 2, SIZE[0], dtype=np.float32)[:, None], (1, SIZE[1]))
        source = profile_from_depth(plate, depth_m)
    prepared = shipped.prepare(source, SIZE)
    for seed in (1, 2):
        picture, _ = scene(seed, shift)
        prediction = shipped.predict(picture, prepared)
        assert_same(prediction, shipped.predict(picture, source))
        assert (prediction.depth_m is not None) == with_depth
    assert shipped.prepare(prepared, SIZE) is prepared


def test_a_plate_prepared_for_another_size_or_model_is_refused() -> None:
    picture, plate = scene(0)
    predictor = FakeBackend().predictor()
    with pytest.raises(UsageError, match="pictures of 60x45, this one is 120x90"):
        predictor.predict(picture, predictor.prepare(plate, (45, 60)))
    other = FakeBackend().predictor(training_size=32)
    with pytest.raises(UsageError, match="another input size"):
        predictor.predict(picture, other.prepare(plate, SIZE))
    with pytest.raises(UsageError, match="its disparity already"):
        predictor.predict(picture, predictor.prepare(plate, SIZE), np.zeros(SIZE, np.float32))


def test_a_stream_predicts_its_frames_as_pictures(tmp_path: Path) -> None:
    predictor = FakeBackend().predictor()
    _, plate = scene(0)
    stream = predictor.stream(plate, steady=False)
    for number in range(3):
        frame, _ = scene(number)
        prediction = stream.predict(frame, time_s=number / 10)
        assert_same(prediction, predictor.predict(frame, plate))
        assert (stream.state.frames, stream.state.time_s) == (number + 1, number / 10)
        assert stream.state.alpha is prediction.alpha
    save_png(tmp_path / "frame.png", frame)
    from_file = stream.predict(tmp_path / "frame.png")
    assert from_file.provenance.picture_file == tmp_path / "frame.png"
    stream.reset()
    assert stream.state.frames == 0
    assert_same(stream.predict(frame), prediction)


def test_frames_of_another_size_and_another_plate_begin_a_stream_again() -> None:
    predictor = FakeBackend().predictor()
    frame, plate = scene(0)
    stream = predictor.stream(plate)
    stream.predict(frame)
    small = frame[::2, ::2].copy()
    assert stream.predict(small).alpha.shape == (45, 60)
    assert stream.state.frames == 1
    stream.replace_plate(frame)
    assert not stream.predict(frame).mask.any()
    assert predictor.stream().predict(frame).plate is None


def test_a_stream_reads_its_plate_at_once(tmp_path: Path) -> None:
    """A wrong plate is an error where it is named, and the owner of an array may go on with it."""
    predictor = FakeBackend().predictor()
    frame, plate = scene(0)
    (tmp_path / "text.plate").write_text("no profile")
    for wrong, line in (
        (tmp_path / "no.png", r"no\.png does not exist"),
        (tmp_path / "text.plate", "no complete plate profile"),
        (plate[..., 0], "uint8 RGB array"),
    ):
        with pytest.raises(MaskdepthError, match=line):
            predictor.stream(wrong)
    with pytest.raises(UsageError, match="needs its plate"):
        predictor.stream(plate_disparity=np.zeros(SIZE, np.float32))
    with pytest.raises(MaskdepthError, match="another shape"):
        predictor.stream(plate, plate_disparity=np.zeros((90, 90), np.float32))
    expected = predictor.stream(plate).predict(frame)
    reused = plate.copy()
    stream = predictor.stream(reused)
    reused[:] = 0
    assert_same(stream.predict(frame), expected)
    with pytest.raises(MaskdepthError, match="does not exist"):
        stream.replace_plate(tmp_path / "no.png")
    assert_same(stream.predict(frame), expected)
    save_png(tmp_path / "plate.png", plate)
    from_file = predictor.stream(tmp_path / "plate.png").predict(frame)
    assert from_file.provenance.plate_file == tmp_path / "plate.png"


def test_a_step_continues_from_a_state_that_has_travelled() -> None:
    predictor = FakeBackend().predictor()
    frame, plate = scene(0)
    prepared = predictor.prepare(plate, SIZE)
    first, state = predictor.step(frame, prepared, StreamState(), time_s=0.0)
    travelled = pickle.loads(pickle.dumps((state, prepared)))
    second, after = predictor.step(frame, travelled[1], travelled[0], time_s=0.1)
    assert_same(first, second)
    assert (after.frames, after.time_s) == (2, 0.1)


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_predictor_can_be_copied_and_pickled(travel) -> None:
    picture, plate = scene(0)
    predictor = Predictor.from_pretrained(threads=1, register=False)
    copied = travel(predictor)
    prediction = copied.predict(picture, plate)
    assert_same(prediction, predictor.predict(picture, plate))
    assert prediction.provenance.registration is None


def test_a_small_picture_keeps_its_object(shipped: Predictor) -> None:
    """The network sees it enlarged; unenlarged, it has a Dice of 0.13 here."""
    picture, plate = (resize(each, 36, 48) for each in scene(1))
    truth = np.zeros((36, 48), np.bool_)
    truth[12:24, 16:28] = True
    mask = shipped.predict(picture, plate).mask
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9


def test_a_prediction_prints_as_one_line() -> None:
    picture, plate = scene(0)
    predictor = FakeBackend().predictor(training_size=90, refine=False)
    assert repr(predictor.predict(picture, plate)) == "<Prediction 90x120, foreground 8 %>"
    depth_m = np.full(SIZE, 3.4, np.float32)
    depth_m[:20] = 8
    with_depth = repr(predictor.predict(picture, profile_from_depth(plate, depth_m)))
    assert with_depth.startswith("<Prediction 90x120, foreground 8 %, ")
    assert with_depth.endswith(" m>")


def test_the_old_name_of_the_close_up_is_answered() -> None:
    with pytest.raises(UsageError, match="Write close_up= in place of second_look="):
        Predictor.from_pretrained(second_look=False)
    with pytest.raises(TypeError, match="no argument 'third_look'"):
        Predictor.from_pretrained(third_look=False)


def test_a_fake_backend_answers_what_it_is_told() -> None:
    backend = FakeBackend(alpha=1, disparity=0.5)
    prediction = backend.predictor(close_up=False).predict(scene(0)[0])
    assert prediction.mask.all()
    assert (prediction.disparity == 0.5).all()
    assert backend.sizes == [(160, 213)]


def test_a_prediction_leaves_nothing_in_the_users_home(tmp_path: Path) -> None:
    """No telemetry of ONNX Runtime; the variable against it is gone after the import."""
    program = """
import os
import numpy as np
from maskdepth import Predictor
Predictor.from_pretrained(threads=1).predict(np.zeros((40, 50, 3), np.uint8))
print("ORT_DISABLE_TELEMETRY" in os.environ)
"""
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "False\n"
    assert list(tmp_path.iterdir()) == []


def test_a_prediction_loads_the_runtime_alone(tmp_path: Path) -> None:
    """All modules of the package that a prediction and its files load are ground or inference."""
    picture, plate = scene(0)
    save_png(tmp_path / "picture.png", picture)
    save_png(tmp_path / "plate.png", plate)
    program = """
import sys
from maskdepth import Predictor
Predictor.from_pretrained(threads=1).predict("picture.png", "plate.png").save("out")
print(*(name for name in sys.modules if name.startswith("maskdepth.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    rooms = {name.split(".")[1] for name in done.stdout.split()}
    assert "inference" in rooms
    assert rooms <= ROOMS["ground"] | ROOMS["inference"]
