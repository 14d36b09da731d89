"""A plate comes back onto its picture, and stays as it is where nothing is to be mended."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskdepth.inference.plate.notices import plate_notices
from maskdepth.inference.plate.registration import PlateFeatures, Registration, register_plate

SIDE = 224
Picture = NDArray[np.uint8]


def register(picture: Picture, plate: Picture) -> Registration:
    return register_plate(picture, PlateFeatures.measure(plate))


def textured(seed: int, height: int = SIDE, width: int = SIDE) -> Picture:
    """Blobs of many sizes: what a scene looks like to whoever compares corners."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for step in (4, 8, 16, 32):
        coarse = random.random((height // step + 2, width // step + 2, 3), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * step**0.5
    low, high = total.min(), total.max()
    return np.asarray(30 + 190 * (total - low) / (high - low), np.uint8)


def seen_from(scene: Picture, shift: tuple[float, float], angle: float) -> Picture:
    """The middle of a larger scene by a camera that was shifted (px) and turned (degrees)."""
    margin = (scene.shape[0] - SIDE) / 2
    centre = (scene.shape[1] / 2 - 0.5, scene.shape[0] / 2 - 0.5)
    matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
    matrix[:, 2] += np.array(shift) - margin
    return np.asarray(cv2.warpAffine(scene, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC), np.uint8)


def with_object(picture: Picture, share: float) -> Picture:
    """A striped square over some share of the picture."""
    side = round(SIDE * share**0.5)
    result = picture.copy()
    stripes = (np.add.outer(np.arange(side), 2 * np.arange(side)) // 7 % 2 * 200 + 20).astype(
        np.uint8
    )
    result[-side:, 10 : 10 + side] = stripes[:, : SIDE - 10, None]
    return result


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shift=st.tuples(st.floats(-7, 7), st.floats(-7, 7)),
    angle=st.floats(-2, 2),
    gain=st.floats(0.75, 1.15),
    offset=st.floats(-10, 10),
)
def test_a_moved_and_relit_plate_comes_back_onto_its_picture(
    seed: int, shift: tuple[float, float], angle: float, gain: float, offset: float
) -> None:
    scene = textured(seed, 280, 280)
    background = seen_from(scene, (0, 0), 0)
    lit = np.clip(background * gain + offset, 0, 255).astype(np.uint8)
    picture = with_object(lit, 0.25)
    plate = seen_from(scene, shift, angle)

    registered = register(picture, plate).apply(plate)

    inner = np.zeros((SIDE, SIDE), np.bool_)
    inner[12:100, 12:-12] = True  # above the object, away from edges that no plate has seen
    left = np.abs(registered[inner].astype(float) - lit[inner])
    assert left.mean() < 3.0


@pytest.mark.parametrize("stops", [-1.5, -1.0, 1.0, 1.5])
def test_a_plate_is_lit_as_its_picture_by_stops_of_exposure(stops: float) -> None:
    """Also where the brighter half of the picture is cut off."""
    plate = textured(6)
    picture = np.clip(np.rint(plate * 2.0**stops), 0, 255).astype(np.uint8)
    lit = register(with_object(picture, 0.2), plate).apply(plate)
    left = np.abs(lit[:110].astype(float) - picture[:110])
    assert left.mean() < 4.0


def test_a_plate_that_fits_is_left_as_it_is_to_the_last_bit() -> None:
    plate = textured(1)
    found = register(with_object(plate, 0.3), plate)
    assert not found.changes
    assert found.apply(plate) is plate
    assert found.agreeing > 0.5 * found.corners


def test_a_motion_found_on_a_small_copy_moves_the_large_plate() -> None:
    """The matrix of the network's size serves the plate at its own, and a map with it."""
    scene = textured(2, 560, 560)
    picture = np.asarray(scene[40:488, 40:488])
    plate = np.asarray(scene[36:484, 46:494])  # what is in both lies 6 px left, 4 px down in it
    size = (SIDE, SIDE)
    found = register(
        np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8),
        np.asarray(cv2.resize(plate, size, interpolation=cv2.INTER_AREA), np.uint8),
    )
    assert found.as_json()["shift_px"] == pytest.approx([3.0, -2.0], abs=0.1)

    moved = found.apply(plate)
    left = np.abs(moved[20:-20, 20:-20].astype(float) - picture[20:-20, 20:-20])
    assert left.mean() < 2.5
    rows = np.arange(448, dtype=np.float32)[:, None].repeat(448, axis=1)
    assert found.move_map(rows)[200, 200] == pytest.approx(204, abs=1)
    covered = found.covered((448, 448))
    assert covered is not None
    assert covered[:442, 8:].all()
    assert not covered[446:].any()
    assert not covered[:, :4].any()
    np.testing.assert_array_equal(np.isfinite(found.move_map(rows)), covered)
    assert np.isfinite(found.move_map(rows, extend=True)).all()


@pytest.mark.parametrize("picture", [textured(3), np.full((SIDE, SIDE, 3), 90, np.uint8)])
def test_a_plate_of_another_scene_is_recognised_and_not_moved(picture: Picture) -> None:
    found = register(picture, textured(4))
    assert found.another_scene
    assert not found.changes


def test_a_plate_without_texture_is_no_other_scene() -> None:
    wall = np.full((SIDE, SIDE, 3), 100, np.uint8)
    picture = with_object(np.full_like(wall, 120), 0.2)
    found = register(picture, wall)
    assert not found.another_scene
    assert found.matrix is None
    assert abs(int(found.apply(wall)[0, 0, 0]) - 120) <= 1


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (31, 31), (300, 40)])
def test_any_size_can_be_registered(shape: tuple[int, int]) -> None:
    plate = textured(5, *shape)
    found = register(plate, plate)
    assert not found.changes


def view_of(scene: Picture, turn_deg: float, zoom: float) -> Picture:
    """The middle of a larger scene by a camera that was turned and zoomed far."""
    centre = (scene.shape[1] / 2 - 0.5, scene.shape[0] / 2 - 0.5)
    matrix = cv2.getRotationMatrix2D(centre, turn_deg, zoom)
    matrix[:, 2] -= (scene.shape[0] - SIDE) / 2
    return np.asarray(cv2.warpAffine(scene, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize(
    ("turn_deg", "zoom", "code"),
    [(12.0, 1.0, "turned"), (-9.0, 1.0, "turned"), (0.0, 1.15, "zoomed"), (90.0, 1.0, "turned")],
)
def test_a_far_turn_or_zoom_is_corrected_and_said(turn_deg: float, zoom: float, code: str) -> None:
    scene = textured(7, 340, 340)
    picture, plate = view_of(scene, turn_deg, zoom), view_of(scene, 0, 1)
    found = register(with_object(picture, 0.15), plate)
    assert [notice.code for notice in plate_notices(found)] == [code]
    assert not found.another_scene
    assert found.turn_deg == pytest.approx(turn_deg, abs=0.3)
    assert found.zoom == pytest.approx(zoom, abs=0.01)
    left = np.abs(found.apply(plate)[50:110, 50:170].astype(float) - picture[50:110, 50:170])
    assert left.mean() < 3.0


@pytest.mark.parametrize(("turn_deg", "zoom"), [(30.0, 0.94), (0.0, 0.75)])
def test_a_view_that_the_plate_hardly_covers_is_said_and_not_applied(
    turn_deg: float, zoom: float
) -> None:
    scene = textured(8, 400, 400)
    plate = view_of(scene, 0, 1)
    found = register(view_of(scene, turn_deg, zoom), plate)
    assert found.matrix is None
    notices = plate_notices(found)
    assert ("turned" if turn_deg else "zoomed") in [notice.code for notice in notices]
    assert all("too far" in notice.text for notice in notices)


@pytest.mark.parametrize("gamma", [0.6, 0.7, 1.4])
def test_another_tone_curve_is_matched_and_said(gamma: float) -> None:
    plate = np.asarray((textured(9) - 30.0) * 1.3 + 4, np.uint8)  # of all levels
    picture = np.asarray(np.rint(255 * (plate / 255.0) ** gamma), np.uint8)
    found = register(with_object(picture, 0.2), plate)
    assert [notice.code for notice in plate_notices(found)] == ["another_tone"]
    left = np.abs(found.apply(plate)[:110].astype(float) - picture[:110])
    assert left.mean() < 1.5


@pytest.mark.parametrize("sigma", [0, 2, 6])
def test_a_wall_of_one_colour_is_never_another_scene(sigma: float) -> None:
    random = np.random.default_rng(0)

    def shot(picture: Picture) -> Picture:
        noisy = picture + random.normal(0, sigma, picture.shape)
        return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)

    wall = np.full((SIDE, SIDE, 3), (0, 177, 64), np.uint8)
    assert not register(shot(with_object(wall, 0.5)), shot(wall)).another_scene


def test_a_plate_behind_a_large_foreground_is_no_other_scene() -> None:
    """A quarter of the scene is seen, in bands between what covers the others."""
    plate = textured(10)
    picture = textured(11)
    for top in range(0, SIDE, 56):
        picture[top : top + 16] = plate[top : top + 16]
    assert not register(picture, plate).another_scene


def test_a_touched_camera_is_worth_no_notice() -> None:
    scene = textured(12, 280, 280)
    found = register(seen_from(scene, (3, 2), 1.0), seen_from(scene, (0, 0), 0))
    assert found.matrix is not None
    assert plate_notices(found) == []
