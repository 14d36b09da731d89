"""Plate profiles: calibration, their file, and frames in their units."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import re
import struct
import tracemalloc
import zipfile
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from command_line import Run
from maskdepth.depth import disparity_from_depth
from maskdepth.errors import MaskdepthError, PictureError, PlateError, UsageError
from maskdepth.evaluation import distance as judging
from maskdepth.evaluation import to_json
from maskdepth.images import save_png
from maskdepth.inference.model.card import ModelCard
from maskdepth.inference.plate.alignment import align_frame
from maskdepth.inference.plate.calibration import KnownPoint, calibrate
from maskdepth.inference.plate.health import PlateHealth
from maskdepth.inference.plate.profile import (
    PlateProfile,
    load_profile,
    profile_from_depth,
    profile_from_disparity,
    save_profile,
)
from maskdepth.inference.predictor import Predictor
from maskdepth.media.pictures import find_jobs, predict_all
from maskdepth.testing import FakeBackend
from pictures import noise

HEIGHT, WIDTH = 60, 80
CARD = ModelCard("test", None, HEIGHT, "exact", "0.1.0", {}, 0)
TRUE_SCALE, TRUE_SHIFT = 0.9, -0.05  # from the disparity of `ground` to 1/metres

Floats = NDArray[np.float32]


def ground() -> Floats:
    """A floor that comes nearer from the top of the picture to its bottom."""
    rows = np.linspace(0.1, 0.9, HEIGHT, dtype=np.float32)
    return np.repeat(rows[:, None], WIDTH, axis=1)


def depth_of(disparity: Floats | float) -> Any:
    return 1 / (TRUE_SCALE * disparity + TRUE_SHIFT)


def point(row: int, column: int = 40, wrong: float = 1.0) -> KnownPoint:
    return KnownPoint(column, row, float(depth_of(ground()[row, column])) * wrong)


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return noise(HEIGHT, WIDTH, seed)


def calibrated() -> PlateProfile:
    return profile_from_disparity(picture(), ground(), [point(5), point(30), point(55)])


# Calibration


@given(st.floats(0.05, 5), st.floats(0, 2), st.integers(0, 25), st.integers(35, 59))
def test_two_points_fit_exactly_and_say_that_nothing_checks_them(
    scale: float, shift: float, far: int, near: int
) -> None:
    known = [KnownPoint(3, row, 1 / (scale * ground()[row, 3] + shift)) for row in (far, near)]
    found = calibrate(ground(), known)
    np.testing.assert_allclose((found.scale, found.shift), (scale, shift), rtol=1e-4, atol=1e-5)
    assert "not possible" in found.residual_check
    assert found.method == "exact"


def test_three_points_are_fitted_by_least_squares_of_likely_errors() -> None:
    """NumPy's solver of the weighted equations finds the same, and the residuals are reported."""
    known = [point(5, wrong=1.03), point(30, wrong=0.96), point(55, wrong=1.02)]
    found = calibrate(ground(), known)
    z = np.array([each.depth_m for each in known])
    d = np.array([ground()[int(each.y), 40] for each in known], np.float64)
    # 2 % of the distance, and 0.02 of disparity at the scale that comes out.
    likely = np.sqrt((0.02 / z) ** 2 + (found.scale * 0.02) ** 2)
    equations = np.stack([d, np.ones(3)], axis=1) / likely[:, None]
    best = np.linalg.lstsq(equations, 1 / z / likely, rcond=None)[0]
    np.testing.assert_allclose((found.scale, found.shift), best, rtol=1e-7)
    for each, disparity in zip(found.points, d, strict=True):
        fitted = 1 / (best[0] * disparity + best[1])
        assert each.fitted_m == pytest.approx(fitted)
        assert each.error == pytest.approx(fitted / each.depth_m - 1)
    assert "3 points" in found.residual_check


@given(st.integers(0, 4), st.one_of(st.floats(0.05, 0.7), st.floats(1.5, 50)))
def test_of_five_points_a_wrong_one_is_left_out(which: int, wrong: float) -> None:
    rows = (4, 16, 30, 43, 56)
    known = [point(row, wrong=wrong if i == which else 1.0) for i, row in enumerate(rows)]
    found = calibrate(ground(), known)
    np.testing.assert_allclose((found.scale, found.shift), (TRUE_SCALE, TRUE_SHIFT), rtol=1e-4)
    assert [each.used for each in found.points] == [i != which for i in range(5)]
    assert "1 left out" in found.residual_check
    json.dumps(found.as_json(), allow_nan=False)


def test_four_points_each_a_little_wrong_are_all_used() -> None:
    known = [point(row, wrong=w) for row, w in ((5, 1.02), (20, 0.98), (40, 1.01), (55, 0.99))]
    found = calibrate(ground(), known)
    assert all(each.used for each in found.points)
    np.testing.assert_allclose((found.scale, found.shift), (TRUE_SCALE, TRUE_SHIFT), rtol=0.2)


BAD_POINTS = {
    "one": ([point(5)], "2 to 100 points"),
    "outside": ([point(5), KnownPoint(WIDTH, 9, 2.0)], "inside the plate"),
    "above": ([point(5), KnownPoint(4, -1, 2.0)], "inside the plate"),
    "nan place": ([point(5), KnownPoint(float("nan"), 2, 2.0)], "inside the plate"),
    "behind": ([point(5), KnownPoint(4, 50, -2.0)], "must be above 0"),
    "zero": ([point(5), KnownPoint(4, 50, 0.0)], "must be above 0"),
    "nowhere near": ([point(5), KnownPoint(4, 50, 1e-320)], "1e-06 to 1e[+]06 m"),
    "endless": ([point(5), KnownPoint(4, 50, float("inf"))], "must be above 0"),
    "alike": ([point(30), point(32), point(33)], "differ by only"),
    "swapped": ([KnownPoint(4, 5, 1.0), KnownPoint(4, 55, 9.0)], "would be farther"),
    "all swapped": (
        [KnownPoint(4, y, 1.0 + y / 9) for y in (5, 20, 40, 55)],
        "the nearer one has the smaller",
    ),
    "invalid": ([point(5), KnownPoint(0, 59, 1.0)], "no valid disparity"),
    # No line fits; the best one puts the farthest behind infinity.
    "no place": (
        [KnownPoint(4, 1, 24.5), KnownPoint(4, 30, 0.49), KnownPoint(4, 58, 0.14)],
        "No depth fits",
    ),
}


@pytest.mark.parametrize("case", BAD_POINTS)
def test_points_that_cannot_calibrate_are_refused(case: str) -> None:
    known, complaint = BAD_POINTS[case]
    disparity = ground()
    disparity[-1, 0] = np.nan
    with pytest.raises(PlateError, match=complaint):
        calibrate(disparity, known)


# The file


def same(one: PlateProfile, other: PlateProfile) -> bool:
    return (
        np.array_equal(one.picture, other.picture)
        and np.array_equal(one.disparity, other.disparity, equal_nan=True)
        and (one.depth_m is None) == (other.depth_m is None)
        and (
            one.depth_m is None
            or other.depth_m is None
            or np.array_equal(one.depth_m, other.depth_m, equal_nan=True)
        )
        and (one.calibration, one.source, one.health)
        == (other.calibration, other.source, other.health)
    )


def measured() -> PlateProfile:
    depth_m = depth_of(ground())
    depth_m[0], depth_m[3, :7], depth_m[4, 4] = np.inf, np.nan, 123.456
    return profile_from_depth(picture(), depth_m, {"from": "sensor"})


@pytest.mark.parametrize("make", [calibrated, measured])
def test_a_profile_reads_back_as_it_was(tmp_path: Path, make: Any) -> None:
    profile = make()
    save_profile(tmp_path / "a.plate", profile)
    loaded = load_profile(tmp_path / "a.plate")
    assert same(profile, loaded)
    assert loaded.file == tmp_path / "a.plate"
    save_profile(tmp_path / "b.plate", loaded)
    assert (tmp_path / "a.plate").read_bytes() == (tmp_path / "b.plate").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.plate", "b.plate"]


def test_other_programs_can_read_a_profile(tmp_path: Path) -> None:
    save_profile(tmp_path / "a.plate", calibrated())
    with zipfile.ZipFile(tmp_path / "a.plate") as archive:
        assert set(archive.namelist()) == {"picture.png", "disparity.png", "profile.json"}
        shown = np.asarray(Image.open(io.BytesIO(archive.read("picture.png"))))
        codes = np.asarray(Image.open(io.BytesIO(archive.read("disparity.png")))).astype(float)
        record = json.loads(archive.read("profile.json"))
    np.testing.assert_array_equal(shown, picture())
    np.testing.assert_allclose((codes - 1) / 65534, ground(), atol=1 / 65535)
    assert record["calibration"]["scale"] == pytest.approx(TRUE_SCALE, rel=1e-3)
    assert len(record["calibration"]["points"]) == 3


def _rewritten(data: bytes, method: int = zipfile.ZIP_DEFLATED, **members: bytes | None) -> bytes:
    """The archive with some members changed, and the checksums with them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    for key, value in members.items():
        name = key.replace("_", ".")
        if value is None:
            del kept[name]
        else:
            kept[name] = value
    if "profile_json" not in members:
        record = json.loads(kept["profile.json"])
        record["sha256"] = {
            name: sha256(each).hexdigest() for name, each in kept.items() if "profile" not in name
        }
        kept["profile.json"] = json.dumps(record).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, each in kept.items():
            archive.writestr(name, each)
    return buffer.getvalue()


def _understated(data: bytes, size: int) -> bytes:
    """The archive with a member of some size that claims to have 100 bytes."""
    return data.replace(struct.pack("<I", size), struct.pack("<I", 100))


def _with_record(data: bytes, **changes: Any) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        record = json.loads(archive.read("profile.json"))
    return _rewritten(data, profile_json=json.dumps(record | changes).encode())


def _pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    return buffer.getvalue()


def _png(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


_HEALTH = [each.name for each in fields(PlateHealth)]
DAMAGES: dict[str, tuple[Any, str]] = {
    "empty": (lambda data: b"", "complete plate profile"),
    "text": (lambda data: b"hello", "complete plate profile"),
    "cut": (lambda data: data[:-40], "complete plate profile"),
    "a flipped bit": (
        lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:], "complete plate profile"
    ),
    "checksums of nothing": (
        lambda data: _with_record(data, sha256=["picture.png", "disparity.png"]),
        "complete plate profile",
    ),
    "no record": (lambda data: _rewritten(data, profile_json=None), "complete plate profile"),
    "no depth": (lambda data: _rewritten(data, depth_npy=None), "complete plate profile"),
    "a record that is no JSON": (
        lambda data: _rewritten(data, profile_json=b"{"), "complete plate profile"
    ),
    "another format": (lambda data: _with_record(data, format="x"), "another format"),
    "newer": (lambda data: _with_record(data, version=2), "version 2"),
    "changed picture": (
        lambda data: _rewritten(
            _with_record(data), picture_png=_png(picture(9)),
            profile_json=zipfile.ZipFile(io.BytesIO(data)).read("profile.json"),
        ),
        "has been changed",
    ),
    "pickle": (lambda data: _rewritten(data, depth_npy=_pickled()), "complete plate profile"),
    "other sizes": (lambda data: _rewritten(data, picture_png=_png(picture()[:30])), "size"),
    "a bomb": (lambda data: _rewritten(data, depth_npy=bytes(10_000_000)), "of 10000000 bytes"),
    "a bomb whose header is wrong": (
        lambda data: _understated(_rewritten(data, depth_npy=bytes(50_000_000)), 50_000_000),
        "complete plate profile",
    ),
    "members packed in another way": (
        lambda data: _rewritten(data, method=zipfile.ZIP_LZMA), "packed in another way"
    ),
    "a word for a number": (
        lambda data: _with_record(data, health=dict.fromkeys(_HEALTH, "y" * 70_000)),
        "complete plate profile",
    ),
    "no sides": (lambda data: _with_record(data, height=-1), "does not fit together"),
    "health of another kind": (
        lambda data: _with_record(data, health={"sharpness": 1}), "complete plate profile"
    ),
    "health that is no number": (
        lambda data: _with_record(data, health=dict.fromkeys(_HEALTH, float("nan"))),
        "not a finite number",
    ),
    "no calibration": (lambda data: _with_record(data, calibration=None), "does not fit together"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_profile_gives_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.plate"
    save_profile(path, measured())
    change, complaint = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    tracemalloc.start()
    with pytest.raises(PlateError, match=complaint) as caught:
        load_profile(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    assert peak < 5_000_000  # bytes, whatever a small archive unpacks to


ODD_VALUES = (None, "five", [1], {}, math.nan, math.inf, -1e9, 1e30)
EDITS = [
    *itertools.product(("scale", "shift", "points"), ODD_VALUES),
    ("scale", 1e-30),
    *itertools.product(("x", "y", "depth_m", "disparity", "used"), (None, "five", [1], math.nan)),
]


def test_a_plate_a_pixel_high_has_health_and_aligns() -> None:
    """Windows as wide as a share of the long side do not reach across the short one for nothing."""
    strip = np.arange(120_000, dtype=np.uint8).reshape(1, -1)
    thin = np.dstack([strip] * 3)
    depth_m = np.full(strip.shape, 2, np.float32)
    profile = profile_from_depth(thin, depth_m)
    assert profile.health is not None
    assert 0 <= profile.health.texture <= 1
    mask = np.zeros(strip.shape, np.bool_)
    mask[:, 500:900] = True
    assert align_frame(profile.disparity, mask, profile).disparity.shape == strip.shape


def test_a_calibration_that_was_edited_is_refused(tmp_path: Path) -> None:
    """Of another type, not finite, or one by which nothing of the plate can be anywhere."""
    path = tmp_path / "a.plate"
    save_profile(path, calibrated())
    whole = path.read_bytes()
    for field, value in EDITS:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            calibration = json.loads(archive.read("profile.json"))["calibration"]
        (calibration if field in calibration else calibration["points"][0])[field] = value
        path.write_bytes(_with_record(whole, calibration=calibration))
        with pytest.raises(PlateError, match="complete plate profile"):
            load_profile(path)


def test_a_profile_from_before_health_was_measured_is_read(tmp_path: Path) -> None:
    save_profile(tmp_path / "a.plate", calibrated())
    data = (tmp_path / "a.plate").read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        record = json.loads(archive.read("profile.json"))
    del record["health"]
    old = _rewritten(data, profile_json=json.dumps(record).encode())
    (tmp_path / "old.plate").write_bytes(old)
    loaded = load_profile(tmp_path / "old.plate")
    assert loaded.health is None
    assert same(replace(loaded, health=calibrated().health), calibrated())


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.plate")
    for path, found in (
        (tmp_path / "no.plate", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.plate", "no regular file"),
    ):
        with pytest.raises(PlateError, match=found):
            load_profile(path)
    with pytest.raises(UsageError, match=r"\.plate"):
        save_profile(tmp_path / "scene.zip", calibrated())


def test_maps_of_another_size_or_without_a_valid_pixel_are_refused() -> None:
    for make in (profile_from_disparity, profile_from_depth):
        with pytest.raises(PlateError, match="size 80x60"):
            make(picture(), ground()[:-1])
        with pytest.raises(PlateError, match="valid pixel"):
            make(picture(), np.full((HEIGHT, WIDTH), np.nan, np.float32))


# Frames


class Seer:
    """A network that sees what it is told to see, in disparity of its own scale and shift."""

    def __init__(self, mask: NDArray[np.bool_], disparity: Floats) -> None:
        self.mask, self.disparity = mask, disparity
        self.given: Floats | None = None

    def run(
        self, picture: Floats, plate: Floats, plate_disparity: Floats, validity: Floats
    ) -> tuple[Floats, Floats]:
        self.given = plate_disparity[0, 0]
        assert validity.tolist() == [[1, 1]]
        return self.mask.astype(np.float32)[None, None], self.disparity[None, None]


def box(top: int = 15, bottom: int = 40) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[top:bottom, 30:50] = True
    return mask


def seen(mask: NDArray[np.bool_], inside: float, scale: float = 0.6, shift: float = 0.1) -> Seer:
    """The floor with a thing at a disparity before it, as a network with its own units says it."""
    truth = np.where(mask, np.float32(inside), ground())
    return Seer(mask, (scale * truth + shift).astype(np.float32))


def believe(seer: Seer, card: ModelCard = CARD) -> Predictor:
    """The pictures show no object: there are no outlines to be read from them."""
    return Predictor(seer, card, refine=False)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 0.8), st.floats(0, 0.2))
def test_a_frame_comes_out_in_metres(scale: float, shift: float) -> None:
    profile, inside = calibrated(), float(ground()[40, 40])
    seer = seen(box(), inside, scale, shift)
    result = believe(seer).predict(picture(), profile)
    assert result.depth_m is not None
    expected = depth_of(np.where(box(), np.float32(inside), ground()))
    np.testing.assert_allclose(result.depth_m[box()], expected[box()], rtol=0.03)
    known = profile.best_depth_m
    assert known is not None
    np.testing.assert_array_equal(result.depth_m[~box()], known[~box()])
    np.testing.assert_allclose(result.disparity[~box()], profile.disparity[~box()], atol=1e-6)
    assert result.distance is not None
    assert result.distance.median_m == pytest.approx(depth_of(inside), rel=0.03)
    assert result.distance.pixels == box().sum()


def test_things_that_changed_outside_the_mask_do_not_move_the_fit() -> None:
    """A fifth of the floor in a shadow that the network takes for a wall changes little."""
    inside = float(ground()[40, 40])
    seer = seen(box(), inside)
    seer.disparity[:, :16] = 0.9
    result = believe(seer).predict(picture(), calibrated())
    assert result.distance is not None
    assert result.distance.median_m == pytest.approx(depth_of(inside), rel=0.03)
    assert result.alignment is not None
    assert result.alignment.scale == pytest.approx(TRUE_SCALE / 0.6, rel=0.03)


@pytest.mark.parametrize("wrong", [0.8, 1.3, 1.6])
def test_an_object_stands_where_its_foot_meets_the_plate(wrong: float) -> None:
    contact = float(depth_of(ground()[40, 40]))
    inside = (wrong / contact - TRUE_SHIFT) / TRUE_SCALE
    result = believe(seen(box(), inside)).predict(picture(), calibrated())
    assert result.distance is not None
    assert result.distance.median_m == pytest.approx(contact, rel=0.03)
    assert result.alignment is not None
    assert (result.alignment.objects, result.alignment.standing) == (1, 1)


@pytest.mark.parametrize("mask", [box(3, 15), box(30, HEIGHT)])
def test_what_does_not_stand_on_what_is_below_keeps_its_layer(mask: NDArray[np.bool_]) -> None:
    result = believe(seen(mask, 0.85)).predict(picture(), calibrated())
    assert result.distance is not None
    assert result.distance.median_m == pytest.approx(float(depth_of(0.85)), rel=0.02)
    assert result.alignment is not None
    assert (result.alignment.objects, result.alignment.standing) == (1, 0)


def test_a_network_that_reads_the_plate_the_wrong_way_round_gives_no_distance(
    tmp_path: Path,
) -> None:
    seer = seen(box(), 0.5, scale=-0.6, shift=0.8)
    result = believe(seer).predict(picture(), calibrated())
    assert result.depth_m is not None
    assert np.isnan(result.depth_m[box()]).all()
    assert np.isfinite(result.depth_m[~box()]).all()
    result.save(tmp_path, "a")
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["object"] is None
    assert "does not follow" in record["disparity"]["alignment"]["problem"]
    codes = np.asarray(Image.open(tmp_path / "a_depth.png"))
    np.testing.assert_array_equal(codes == 0, box())


def test_a_model_without_depth_still_gives_the_plates() -> None:
    predictor = believe(seen(box(), 0.5), replace(CARD, depth="none"))
    result = predictor.predict(picture(), calibrated())
    assert np.isnan(result.disparity[box()]).all()
    assert np.isfinite(result.disparity[~box()]).all()
    assert result.alignment is not None
    assert result.alignment.problem == "the model never learned depth"


def test_without_calibration_nothing_is_called_metres(tmp_path: Path) -> None:
    profile = profile_from_disparity(picture(), ground())
    result = believe(seen(box(), 0.62)).predict(picture(), profile)
    assert result.depth_m is None
    assert result.distance is None
    np.testing.assert_allclose(result.disparity[~box()], profile.disparity[~box()])
    result.save(tmp_path, "a")
    assert not list(tmp_path.glob("*depth*"))
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["depth"] is None
    assert record["object"] is None
    assert "unknown scale and shift" in record["disparity"]["unit"]


def test_the_disparity_of_a_calibrated_plate_says_how_it_becomes_metres(tmp_path: Path) -> None:
    """By the numbers of its unit, the PNG's disparity is the inverse of the depth's metres."""
    result = believe(seen(box(), 0.62)).predict(picture(), calibrated())
    result.save(tmp_path, "a", depth_format="npy")
    unit = json.loads((tmp_path / "a.json").read_text())["disparity"]["unit"]
    told = re.match(r"the plate's disparity: (\S+) \* disparity \+ (\S+) is inverse depth", unit)
    assert told is not None, unit
    scale, shift = (float(number) for number in told.groups())
    codes = np.asarray(Image.open(tmp_path / "a_disparity.png")).astype(float)
    between = (codes > 1) & (codes < 65535)
    inverse = scale * (codes - 1) / 65534 + shift
    assert between.mean() > 0.9
    np.testing.assert_allclose(
        inverse[between], 1 / np.load(tmp_path / "a_depth.npy")[between], atol=1e-4
    )


def test_the_network_is_given_disparity_without_a_shift() -> None:
    """Of a calibrated plate, 0 is infinitely far and the nearest is 1, as it was trained."""
    seer = seen(box(), 0.5)
    believe(seer).predict(picture(), calibrated())
    inverse = 1 / depth_of(ground())
    assert seer.given is not None
    np.testing.assert_allclose(seer.given, inverse / inverse.max(), rtol=1e-3, atol=1e-4)


def test_measured_depth_is_kept_outside_the_mask() -> None:
    profile = measured()
    result = believe(seen(box(), 0.6)).predict(picture(), profile)
    assert result.depth_m is not None
    assert profile.depth_m is not None
    np.testing.assert_array_equal(result.depth_m[~box()], profile.depth_m[~box()])


@pytest.mark.parametrize("wrong_m", [0.2, 0.02])
def test_one_wrong_pixel_of_a_sensor_decides_no_distance(tmp_path: Path, wrong_m: float) -> None:
    """Disparity keeps its range, the object its distance, and the file gives the same again."""
    depth_m = depth_of(ground())
    clean = believe(seen(box(), 0.6)).predict(picture(), profile_from_depth(picture(), depth_m))
    depth_m[5, 5] = wrong_m
    profile = profile_from_depth(picture(), depth_m)
    save_profile(tmp_path / "a.plate", profile)
    seer = seen(box(), 0.6)
    result = believe(seer).predict(picture(), tmp_path / "a.plate")
    assert seer.given is not None
    assert np.percentile(seer.given, 95) > 0.6
    assert clean.distance is not None
    assert result.distance is not None
    assert result.distance.median_m == pytest.approx(clean.distance.median_m, rel=1e-3)
    np.testing.assert_array_equal(load_profile(tmp_path / "a.plate").disparity, profile.disparity)


def test_depth_beyond_the_png_is_counted_and_whole_in_npy(tmp_path: Path) -> None:
    result = believe(seen(box(), 0.6)).predict(picture(), measured())
    result.save(tmp_path, "a")
    result.save(tmp_path, "b", depth_format="npy")
    codes = np.asarray(Image.open(tmp_path / "a_depth.png"))
    assert result.depth_m is not None
    near = result.depth_m <= 65.535
    np.testing.assert_allclose(codes[near] / 1000, result.depth_m[near], atol=0.0005 + 4e-6)
    assert (codes[~near] == 0).all()
    records = [json.loads((tmp_path / f"{stem}.json").read_text()) for stem in "ab"]
    assert [record["depth"]["pixels_beyond"] for record in records] == [WIDTH + 1, 0]
    assert records[1]["files"]["depth"] == "b_depth.npy"
    np.testing.assert_array_equal(np.load(tmp_path / "b_depth.npy"), result.depth_m)
    assert records[0]["object"]["median_m"] == pytest.approx(result.distance.median_m)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="depth format"):
        result.save(tmp_path, "c", depth_format="exr")


def test_a_profile_may_be_a_path_and_of_another_size(tmp_path: Path) -> None:
    save_profile(tmp_path / "a.plate", calibrated())
    predictor = believe(seen(box(), 0.6))
    by_path = predictor.predict(picture(), tmp_path / "a.plate")
    by_value = predictor.predict(picture(), calibrated())
    np.testing.assert_array_equal(by_path.depth_m, by_value.depth_m)
    assert by_path.provenance.plate_file == tmp_path / "a.plate"
    large = calibrated().at_size(2 * HEIGHT, 2 * WIDTH)
    resized = predictor.predict(picture(), large)
    assert resized.depth_m is not None
    np.testing.assert_allclose(resized.depth_m, by_value.depth_m, rtol=1e-5)


def test_a_profile_of_another_plate_is_refused() -> None:
    predictor = believe(seen(box(), 0.6))
    with pytest.raises(PictureError, match="The plate profile is"):
        predictor.predict(picture()[:, :50], calibrated())
    with pytest.raises(UsageError, match="has its own disparity"):
        predictor.predict(picture(), calibrated(), ground())


def test_metres_of_another_scene_are_refused() -> None:
    """None of the plate's corners are in the picture; who switches registration off is believed."""
    scenes = picture(1), picture(2)
    profile = replace(calibrated(), picture=scenes[0])
    with pytest.raises(PlateError, match="another scene than the plate profile"):
        believe(seen(box(), 0.6)).predict(scenes[1], profile)
    unregistered = Predictor(seen(box(), 0.6), CARD, register=False)
    assert unregistered.predict(scenes[1], profile).depth_m is not None


def test_a_plates_depth_moves_with_its_picture(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    coarse = random.integers(0, 256, (30, 40, 3), np.uint8)
    scene = np.asarray(cv2.resize(coarse, (WIDTH + 4, HEIGHT), interpolation=cv2.INTER_CUBIC))
    columns = np.linspace(0.2, 0.8, WIDTH, dtype=np.float32)
    disparity = np.broadcast_to(columns, (HEIGHT, WIDTH)).copy()
    profile = profile_from_disparity(np.ascontiguousarray(scene[:, 4:]), disparity)
    predictor = believe(Seer(np.zeros((HEIGHT, WIDTH), np.bool_), disparity))
    result = predictor.predict(np.ascontiguousarray(scene[:, :-4]), profile)
    inner = result.disparity[10:-10, 14:-10]
    np.testing.assert_allclose(inner, disparity[10:-10, 10:-14], atol=1e-3)
    result.save(tmp_path, "a")
    record = json.loads((tmp_path / "a.json").read_text())["registration"]
    assert record["shift_px"] == pytest.approx([4, 0], abs=0.1)


def moved_camera(mask: NDArray[np.bool_]) -> tuple[Any, Any, Predictor]:
    """A picture and a metric profile of a camera that was turned down by 6 px, and a predictor."""
    random = np.random.default_rng(2)
    coarse = random.integers(0, 256, (30, 40, 3), np.uint8)
    size = (WIDTH, HEIGHT + 6)
    scene = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    profile = profile_from_depth(scene[:-6].copy(), depth_of(ground()))
    return scene[6:].copy(), profile, believe(seen(mask, 0.6))


def test_depth_that_the_plates_camera_never_saw_is_unknown(tmp_path: Path) -> None:
    """Not mirrored: NaN, and 0 in files; neither counted as too far."""
    frame, profile, predictor = moved_camera(np.zeros((HEIGHT, WIDTH), np.bool_))
    result = predictor.predict(frame, profile)
    assert result.depth_m is not None
    assert result.plate is not None
    assert np.isnan(result.depth_m[-5:]).all()
    assert np.isnan(result.disparity[-5:]).all()
    assert np.isfinite(result.depth_m[:-7]).all()
    np.testing.assert_array_equal(result.plate[-5:], frame[-5:])
    result.save(tmp_path, "a")
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["depth"]["pixels_beyond"] == 0
    assert (np.asarray(Image.open(tmp_path / "a_depth.png"))[-5:] == 0).all()


@pytest.mark.parametrize(("bottom", "stands"), [(40, True), (HEIGHT - 2, False)])
def test_no_contact_is_read_where_the_plates_camera_never_saw(bottom: int, stands: bool) -> None:
    frame, profile, predictor = moved_camera(box(bottom=bottom))
    frame[15:bottom, 30:50] = (frame[15:bottom, 30:50].astype(int) + 128) % 256
    result = predictor.predict(frame, profile)
    assert (result.distance is not None) == stands
    assert result.alignment is not None
    assert (result.alignment.standing, result.alignment.objects) == (int(stands), 1)
    assert ("never saw" in str(result.alignment.problem)) != stands


def test_a_folder_may_hold_profiles(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "plates").mkdir()
    for name in ("a", "b"):
        Image.fromarray(picture()).save(tmp_path / "in" / f"{name}.png")
        save_profile(tmp_path / "plates" / f"{name}.plate", calibrated())
    (tmp_path / "plates" / "b.plate").write_bytes(b"nothing")
    jobs = find_jobs(str(tmp_path / "in"), str(tmp_path / "plates"))
    summary = predict_all(believe(seen(box(), 0.6)), jobs, tmp_path / "out")
    assert (tmp_path / "out" / "a_depth.png").is_file()
    assert [Path(name).name for name, _ in summary.failures] == ["b.png"]
    assert "complete plate profile" in summary.failures[0][1]


def test_a_picture_beside_a_profile_is_one_plate_too_many(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    (tmp_path / "plates").mkdir()
    Image.fromarray(picture()).save(tmp_path / "plates" / "a.png")
    save_profile(tmp_path / "plates" / "a.plate", calibrated())
    (job,) = find_jobs(str(tmp_path / "a.png"), str(tmp_path / "plates"))
    assert "a.plate and a.png" in str(job.problem) or "a.png and a.plate" in str(job.problem)


# The command line


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    Image.fromarray(picture()).save(tmp_path / "hall.png")
    codes = np.rint(ground() * 65534 + 1).astype(np.uint16)
    Image.fromarray(codes).save(tmp_path / "d.png")
    Image.fromarray(np.rint(depth_of(ground()) * 1000).astype(np.uint16)).save(tmp_path / "mm.png")
    np.save(tmp_path / "m.npy", depth_of(ground()))
    np.save(tmp_path / "small.npy", depth_of(ground())[:-1])
    return tmp_path


def _points(*rows: int) -> list[str]:
    known = [point(row) for row in rows]
    return [part for p in known for part in ("--point", f"{p.x:g},{p.y:g},{p.depth_m:.6f}")]


def test_points_on_the_command_line_calibrate(run: Run, scene: Path) -> None:
    out = scene / "hall.plate"
    code, told, said = run(
        "plate", scene / "hall.png", "-o", out, "--disparity", scene / "d.png", *_points(5, 50),
        "--json",
    )  # fmt: skip
    assert code == 0, said
    assert "not possible: two points fit exactly" in said
    assert "health: sharpness " in said
    assert json.loads(told)["health"]["valid_depth"] == 1
    assert json.loads(told)["calibration"]["scale"] == pytest.approx(TRUE_SCALE, rel=1e-3)
    calibration = load_profile(out).calibration
    assert calibration is not None
    assert calibration.shift == pytest.approx(TRUE_SHIFT, abs=1e-3)


@pytest.mark.parametrize(("name", "error"), [("mm.png", 0.0005), ("m.npy", 0.0)])
def test_measured_depth_makes_a_profile(run: Run, scene: Path, name: str, error: float) -> None:
    code, _, said = run(
        "plate", scene / "hall.png", "-o", scene / "a.plate", "--depth", scene / name
    )
    assert code == 0, said
    depth_m = load_profile(scene / "a.plate").depth_m
    assert depth_m is not None
    np.testing.assert_allclose(depth_m, depth_of(ground()), rtol=0, atol=error + 1e-6 * bool(error))


def test_a_teachers_metres_are_no_calibration(run: Run, shared_data: Path, scene: Path) -> None:
    """FastDepth speaks of metres; without points nothing is called so, with points it is."""
    teacher = shared_data / "teacher" / "fastdepth_224_int8.onnx"
    if not teacher.is_file():
        pytest.skip("no FastDepth here")
    call = ("plate", scene / "hall.png", "-o", scene / "a.plate", "--teacher", teacher)
    code, _, said = run(*call)
    assert code == 0, said
    assert "no metres" in said
    profile = load_profile(scene / "a.plate")
    assert profile.best_depth_m is None
    assert profile.source["name"] == "fastdepth_224_int8"
    assert profile.source["licence"]


REFUSED = {
    "two sources": (["--depth", "m.npy", "--disparity", "d.png"], "one of --teacher"),
    "one point": (["--disparity", "d.png", *_points(5)], "2 to 100 points"),
    "a bad point": (["--disparity", "d.png", "--point", "1,2"], "three numbers"),
    "words": (["--disparity", "d.png", "--point", "a,b,c"], "three numbers"),
    "behind": (["--disparity", "d.png", *_points(5), "--point", "9,9,-1"], "must be above 0"),
    "outside": (["--disparity", "d.png", *_points(5), "--point", "90,9,1"], "inside the plate"),
    "both": (["--depth", "m.npy", *_points(5, 50)], "needs no points"),
    "small": (["--depth", "small.npy"], "80x59"),
    "no file": (["--depth", "no.npy"], "no.npy"),
    "picture for disparity": (["--disparity", "hall.png"], "16-bit grey"),
    "no sensor": (["--teacher", "sensor"], "_depth_mm.png"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_use_gives_one_line_and_no_file(
    run: Run, scene: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    options, complaint = REFUSED[case]
    monkeypatch.chdir(scene)
    before = sorted(path.name for path in scene.iterdir())
    code, _, said = run("plate", "hall.png", "-o", "a.plate", *options)
    assert code in (1, 2)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert complaint in errors[0]
    assert "Traceback" not in said
    assert sorted(path.name for path in scene.iterdir()) == before


@pytest.mark.parametrize("option", [("--kind", "depth"), ("--licence", "MIT")])
def test_what_is_said_of_a_teacher_needs_one(
    option: tuple[str, str], run: Run, scene: Path
) -> None:
    code, _, said = run(
        "plate", scene / "hall.png", "-o", scene / "a.plate", "--depth", scene / "m.npy", *option
    )
    assert (code, f"{option[0]} does nothing without --teacher" in said) == (2, True)


@pytest.mark.parametrize("teacher", [(), ("--teacher", "shipped")])
def test_without_a_source_the_shipped_model_gives_the_depth(
    run: Run, scene: Path, teacher: tuple[str, ...]
) -> None:
    code, _, said = run("plate", scene / "hall.png", "-o", scene / "a.plate", *teacher)
    assert code == 0, said
    profile = load_profile(scene / "a.plate")
    assert profile.source["name"] == "maskdepth-shipped"
    assert profile.source["licence"] == "Apache-2.0"
    assert np.isfinite(profile.disparity).all()


def test_two_of_five_points_left_out_are_a_warning(run: Run, scene: Path) -> None:
    """At most one in four may be wrong for the fit to be sure."""
    wrong = ["--point", "4,20,0.5", "--point", "9,40,30"]
    call = ("plate", scene / "hall.png", "-o", scene / "a.plate", "--disparity", scene / "d.png")
    _, _, said = run(*call, *_points(5, 30, 50), *wrong)
    assert "warning: 2 of 5 points do not fit the others" in said
    _, _, said = run(*call, *_points(5, 30, 50))
    assert "warning" not in said


def test_a_point_that_is_kept_though_it_is_far_off_is_a_warning(run: Run, scene: Path) -> None:
    """Of three points none is left out, so the fit lies between the true ones and a wrong one."""
    call = ("plate", scene / "hall.png", "-o", scene / "a.plate", "--disparity", scene / "d.png")
    wrong = point(30)
    wrong_point = f"{wrong.x:g},{wrong.y:g},{2.5 * wrong.depth_m:.6f}"
    points = [*_points(5, 50), "--point", wrong_point]
    _, _, said = run(*call, *points)
    assert "off the fit, so one of the points is wrong" in said


def test_frames_in_which_things_move_give_their_plate(run: Run, scene: Path) -> None:
    """As a picture, or at once as a profile."""
    frames = scene / "frames"
    for number in range(5):
        frame = picture()
        frame[10:20, 12 * number : 12 * number + 10] = 255
        save_png(frames / f"{number}.png", frame)
    save_png(frames / "0_alpha.png", frame[..., 0])
    code, _, said = run("plate", frames, "-o", scene / "clean.png")
    assert (code, "the plate is estimated from 5 frames" in said) == (0, True)
    np.testing.assert_array_equal(np.asarray(Image.open(scene / "clean.png")), picture())
    assert run("plate", frames, "-o", scene / "a.plate", "--disparity", scene / "d.png")[0] == 0
    np.testing.assert_array_equal(load_profile(scene / "a.plate").picture, picture())


def test_frames_that_give_no_plate_are_refused(run: Run, scene: Path) -> None:
    frames = scene / "frames"
    for number in range(2):
        save_png(frames / f"{number}.png", picture())
    call = ("plate", frames, "-o", scene / "clean.png")
    assert "at least 3 pictures of the scene; there are 2" in run(*call)[2]
    save_png(frames / "2.png", picture()[:-4])
    assert "2.png is 80x56, but 0.png is 80x60" in run(*call)[2]
    code, _, said = run(*call, "--teacher", "shipped")
    assert (code, "--teacher does nothing without a .plate output" in said) == (2, True)


def test_an_output_that_is_an_input_or_no_profile_is_refused(run: Run, scene: Path) -> None:
    (scene / "hall.plate").symlink_to(scene / "hall.png")
    call = ("--disparity", scene / "d.png")
    assert run("plate", scene / "hall.png", "-o", scene / "hall.plate", *call)[0] == 2
    assert run("plate", scene / "hall.png", "-o", scene / "hall.zip", *call)[0] == 2
    np.testing.assert_array_equal(np.asarray(Image.open(scene / "hall.png")), picture())


# Judging


def test_distances_are_judged_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "SIZE", (72, 96))
    predictor = FakeBackend().predictor()
    found = judging.evaluate_distance(predictor, count=2, families=("indoor",), seed=3)
    again = judging.evaluate_distance(predictor, count=2, families=("indoor",), seed=3)
    assert found == again
    assert len(found.plates) == 3
    for errors in found.plates.values():
        assert errors.judged + errors.refused == 2
    json.dumps(to_json(found), allow_nan=False)


def test_the_distances_points_are_where_their_errors_are_bounded() -> None:
    """Each lies on the plate, at most 40 m away, and is wrong by at most 2 %."""
    depth_m = depth_of(ground())
    depth_m[:3] = np.inf
    for seed in range(5):
        for each in judging._sample_points(depth_m, np.random.default_rng(seed)):
            truth = depth_m[int(each.y), int(each.x)]
            assert abs(each.depth_m / truth - 1) <= 0.0201
            assert truth <= 40


def test_the_shipped_model_measures_an_object_that_stands_in_a_drawn_scene(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its mask and distance, where it is small enough in the picture to be looked at twice."""
    monkeypatch.setattr(judging, "SIZE", (360, 480))
    rng = np.random.default_rng(2)
    scene = judging._sample_standing("outdoor", rng)
    depth_m = scene.plate.depth_m
    points = judging._sample_points(depth_m, rng)
    profile = profile_from_disparity(scene.plate.image, disparity_from_depth(depth_m), points)
    true_m = np.median(scene.picture.depth_m[scene.mask])
    errors = []
    for again in (False, True):
        predictor = Predictor.from_pretrained(threads=1, close_up=again)
        prediction = predictor.predict(scene.picture.image, profile)
        assert prediction.distance is not None
        wrong = (prediction.mask != scene.mask).sum() / scene.mask.sum()
        errors.append((wrong, abs(prediction.distance.median_m / true_m - 1)))
    once, twice = errors
    assert twice[0] < once[0] < 0.15
    assert once[1] < 0.15
    assert twice[1] < 0.1


def test_wrong_requests_to_judge_are_refused() -> None:
    predictor = FakeBackend().predictor()
    for request in ({"count": 0}, {"families": ("moon",)}, {"families": ()}):
        with pytest.raises(MaskdepthError, match="at least one scene"):
            judging.evaluate_distance(predictor, **request)  # type: ignore[arg-type]
