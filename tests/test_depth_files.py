"""Depth files beside pictures: their unit, and which way up they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from command_line import Run
from maskdepth.depth import encode_depth_mm
from maskdepth.errors import PictureError
from maskdepth.images import load_picture, save_png, turn
from maskdepth.inference.plate.profile import load_profile
from maskdepth.labelling.plate_depth import read_plate_depth
from maskdepth.labelling.teachers.recorded import ExactDepth, SensorDepth

HEIGHT, WIDTH = 48, 64
DEPTH_M = np.tile(np.linspace(5.0, 1.2, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))
DEPTH_M[:, : WIDTH // 2] += 1
MILLIMETRES = np.rint(DEPTH_M * 1000).astype(np.uint16)


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    save_png(tmp_path / "plate.png", pixels)
    return tmp_path / "plate.png"


def saved(path: Path, values: NDArray[np.generic]) -> Path:
    np.save(path, values)
    return path


def read(plate: Path, depth: Path, **options: object) -> NDArray[np.float32]:
    found = read_plate_depth(plate, load_picture(plate), depth=depth, **options)  # type: ignore[arg-type]
    assert found.depth_m is not None
    return found.depth_m


# Units


@pytest.mark.parametrize(
    "values",
    [MILLIMETRES, MILLIMETRES.astype(np.int32), DEPTH_M * 1000, np.rint(DEPTH_M).astype(np.uint8)],
    ids=["uint16", "int32", "float millimetres", "whole metres"],
)
def test_numbers_that_may_be_millimetres_are_asked_about(
    values: NDArray[np.generic], plate: Path, tmp_path: Path
) -> None:
    """A plate a thousand times too far is worse than a question, which names both answers."""
    with pytest.raises(PictureError, match="may be millimetres or metres") as caught:
        read(plate, saved(tmp_path / "raw.npy", values))
    assert "--depth-unit mm" in str(caught.value)
    assert "_depth_mm.npy" in str(caught.value)


def test_the_unit_is_what_the_user_or_the_name_says(plate: Path, tmp_path: Path) -> None:
    raw = saved(tmp_path / "raw.npy", MILLIMETRES)
    named = saved(tmp_path / "raw_depth_mm.npy", MILLIMETRES)
    metres = saved(tmp_path / "metres.npy", DEPTH_M)
    for found in (read(plate, raw, depth_unit="mm"), read(plate, named), read(plate, metres)):
        assert np.allclose(found, DEPTH_M, atol=1e-3)
    assert np.allclose(read(plate, raw, depth_unit="m"), MILLIMETRES)
    save_png(tmp_path / "depth.png", MILLIMETRES)
    assert np.allclose(read(plate, tmp_path / "depth.png"), DEPTH_M, atol=1e-3)


def test_sky_and_holes_do_not_make_metres_doubtful(plate: Path, tmp_path: Path) -> None:
    values = DEPTH_M.astype(np.float64)
    values[:30], values[30:33] = np.inf, 0
    assert np.isinf(read(plate, saved(tmp_path / "raw.npy", values))[0, 0])


def test_a_sensors_array_in_millimetres_is_found_beside_its_picture(
    plate: Path, tmp_path: Path
) -> None:
    file = saved(tmp_path / "plate_depth_mm.npy", MILLIMETRES)
    sensor = SensorDepth()
    assert sensor.find(plate) == file
    assert np.allclose(sensor.load(file, HEIGHT, WIDTH)[0], DEPTH_M, atol=1e-3)


def test_the_unit_reaches_the_profile(plate: Path, tmp_path: Path, run: Run) -> None:
    raw, out = saved(tmp_path / "raw.npy", MILLIMETRES), tmp_path / "s.plate"
    assert run("plate", plate, "--depth", raw, "-o", out).code == 1
    assert not out.exists()
    assert run("plate", plate, "--depth", raw, "--depth-unit", "mm", "-o", out).code == 0
    depth_m = load_profile(out).depth_m
    assert depth_m is not None
    assert np.allclose(depth_m, DEPTH_M, atol=1e-3)
    assert run("plate", plate, "--teacher", "sensor", "--depth-unit", "mm", "-o", out).code == 2


# Which way up


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_sensors_depth_turns_with_its_picture(orientation: int, tmp_path: Path) -> None:
    """The camera says in the picture's EXIF how it hangs, and stores both in the same way."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    back = {6: 8, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plate = tmp_path / "plate.png"
    Image.fromarray(turn(pixels, back)).save(plate, exif=exif)
    assert np.array_equal(load_picture(plate), pixels)
    save_png(tmp_path / "plate_depth_mm.png", turn(MILLIMETRES, back))
    found = read_plate_depth(plate, load_picture(plate), teacher=SensorDepth())
    assert found.depth_m is not None
    assert np.allclose(found.depth_m, DEPTH_M, atol=1e-3)
    assert found.source.get("turned", 1) == orientation


def test_depth_that_is_upright_already_stays_so_where_its_size_shows_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plate = tmp_path / "plate.jpg"
    Image.new("RGB", (HEIGHT, WIDTH), (90, 80, 70)).save(plate, exif=exif)
    save_png(tmp_path / "plate_depth_mm.png", encode_depth_mm(DEPTH_M)[0])
    found = read_plate_depth(plate, load_picture(plate), teacher=SensorDepth())
    assert found.depth_m is not None
    assert np.allclose(found.depth_m, DEPTH_M, atol=1e-3)


def test_labels_of_our_own_are_upright() -> None:
    """A map that a network made of the upright picture is not turned a second time."""
    assert not ExactDepth.as_stored
