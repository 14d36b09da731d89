"""Cameras: their range, their scale with a picture's size, EXIF, and plate profiles."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from command_line import Run
from maskdepth.camera import Camera, assume_camera, read_camera
from maskdepth.errors import PlateError, UsageError
from maskdepth.images import save_png
from maskdepth.inference.plate import load_profile, profile_from_depth
from maskdepth.inference.plate.profile import save_profile
from pictures import noise

SIZE = (60, 80)
BAD_FOCALS = [0, -5.0, math.nan, math.inf, 2e6, "800", None, True]


def write_photo(path: Path, focal_mm: int | None, size: tuple[int, int] = SIZE) -> None:
    """A JPEG, with the EXIF tag FocalLengthIn35mmFilm unless that is None."""
    exif = Image.Exif()
    if focal_mm is not None:
        exif.get_ifd(0x8769)[0xA405] = focal_mm
    Image.fromarray(noise(*size, 3)).save(path, exif=exif)


@pytest.mark.parametrize("focal_px", BAD_FOCALS)
def test_a_focal_length_that_no_lens_has_is_an_error(focal_px: object) -> None:
    with pytest.raises(UsageError, match="focal length must be 1 to 1000000 px"):
        Camera(focal_px, (1.0, 2.0))  # type: ignore[arg-type]


def test_a_camera_is_the_same_after_a_journey_through_json() -> None:
    camera = Camera(np.float32(812.5), (np.int64(3), 4.5), "exif")
    assert Camera.parse(json.loads(json.dumps(camera.as_json()))) == camera


@given(
    st.tuples(st.integers(20, 900), st.integers(20, 900)),
    st.integers(1, 5),
    st.floats(50, 5000),
)
def test_a_resized_picture_keeps_its_angle_of_view(
    size: tuple[int, int], factor: int, focal_px: float
) -> None:
    larger = (size[0] * factor, size[1] * factor)
    camera = Camera.centred(focal_px, size)
    scaled = camera.scaled(size, larger)
    assert scaled.angle_of_view(larger[1]) == pytest.approx(camera.angle_of_view(size[1]))
    assert scaled.centre_px == pytest.approx(Camera.centred(1, larger).centre_px)
    assert scaled.scaled(larger, size).focal_px == pytest.approx(focal_px)


@pytest.mark.parametrize("size", [(480, 640), (640, 480)])
def test_the_assumed_camera_sees_60_degrees_across_the_longer_side(size: tuple[int, int]) -> None:
    assert assume_camera(size).angle_of_view(640) == pytest.approx(60)
    assert "assumed, 60 degrees" in assume_camera(size).describe()


def test_exif_gives_the_angle_of_view_of_film(tmp_path: Path) -> None:
    """50 mm on a 3:2 picture see what 36 mm of film see at 50 mm."""
    write_photo(tmp_path / "a.jpg", 50, (400, 600))
    camera = read_camera(tmp_path / "a.jpg", (400, 600))
    assert camera is not None
    assert camera.angle_of_view(600) == pytest.approx(2 * math.degrees(math.atan(18 / 50)))
    assert camera.source == "exif"


@pytest.mark.parametrize("focal_mm", [None, 0])
def test_a_photo_without_its_focal_length_has_no_camera(
    tmp_path: Path, focal_mm: int | None
) -> None:
    write_photo(tmp_path / "a.jpg", focal_mm)
    assert read_camera(tmp_path / "a.jpg", SIZE) is None


def test_a_profile_keeps_its_camera_and_scales_it(tmp_path: Path) -> None:
    camera = Camera(70.0, (30.0, 20.0))
    depth_m = np.full(SIZE, 2, np.float32)
    profile = profile_from_depth(noise(*SIZE, 1), depth_m, camera=camera)
    save_profile(tmp_path / "a.plate", profile)
    loaded = load_profile(tmp_path / "a.plate")
    assert loaded.camera == camera
    assert loaded.at_size(120, 160).camera == Camera(140.0, (60.5, 40.5))


def change_record(path: Path, **changes: object) -> None:
    """Rewrite a profile's JSON; a value of ... takes the key away."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    record = json.loads(members["profile.json"]) | changes
    kept = {key: value for key, value in record.items() if value is not ...}
    members["profile.json"] = json.dumps(kept).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    path.write_bytes(buffer.getvalue())


def test_a_profile_of_an_older_version_has_no_camera(tmp_path: Path) -> None:
    path = tmp_path / "a.plate"
    save_profile(path, profile_from_depth(noise(*SIZE, 1), np.full(SIZE, 2, np.float32)))
    change_record(path, camera=...)
    assert load_profile(path).camera is None


@pytest.mark.parametrize(
    "camera",
    [
        {"focal_px": 0, "centre_px": [1, 2], "source": "given"},
        {"focal_px": 9, "centre_px": [1], "source": "given"},
        {"focal_px": 9, "centre_px": [1, 2], "source": "guessed"},
        {"centre_px": [1, 2]},
        "wide",
    ],
)
def test_a_damaged_camera_is_an_error_in_one_line(tmp_path: Path, camera: object) -> None:
    path = tmp_path / "a.plate"
    save_profile(path, profile_from_depth(noise(*SIZE, 1), np.full(SIZE, 2, np.float32)))
    change_record(path, camera=camera)
    with pytest.raises(PlateError, match="no complete plate profile") as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)


def test_plate_takes_a_focal_length_else_that_of_exif(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(Path("a.jpg"), 50)
    save_png("b.png", noise(*SIZE, 2))
    np.save("depth.npy", np.full(SIZE, 2, np.float32))
    made = {}
    for picture, options in (("a.jpg", ()), ("a.jpg", ("--focal-px", "90")), ("b.png", ())):
        call = ("plate", picture, "-o", "z.plate", "--depth", "depth.npy", "--json", *options)
        outcome = run(*call)
        assert outcome.code == 0, outcome.err
        camera = json.loads(outcome.out)["camera"]
        profile_camera = load_profile("z.plate").camera
        assert camera == (profile_camera and profile_camera.as_json())
        assert (camera is not None) == ("camera: focal length" in outcome.err)
        made[(picture, *options)] = camera and (camera["source"], round(camera["focal_px"]))
    assert list(made.values()) == [("exif", 116), ("given", 90), None]


def test_plate_with_an_impossible_focal_length_writes_nothing(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_png("b.png", noise(*SIZE, 2))
    outcome = run("plate", "b.png", "-o", "z.plate", "--focal-px", "0")
    assert outcome.code == 2
    assert "focal length must be" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]
