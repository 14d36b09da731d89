"""Points and meshes of predictions: where they lie, where they end, and what files say of them."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from command_line import Run
from maskdepth.camera import Camera
from maskdepth.cli import scene_files
from maskdepth.errors import MaskdepthError, PictureError, StorageError, UsageError
from maskdepth.images import save_png
from maskdepth.inference.plate import profile_from_depth
from maskdepth.inference.plate.profile import save_profile
from maskdepth.inference.prediction import Prediction, Provenance
from maskdepth.scene3d import build_scene, make_mesh, make_points, save_mesh, save_points
from maskdepth.scene3d.sampling import MAX_POINTS
from maskdepth.synthesis.worlds.cameras import aim_camera
from maskdepth.synthesis.worlds.lighting import render_linear
from maskdepth.synthesis.worlds.props import at, plain
from maskdepth.synthesis.worlds.raycast import trace_pixels
from maskdepth.synthesis.worlds.scenes import compose_world
from maskdepth.synthesis.worlds.shapes import Box
from maskdepth.synthesis.worlds.vectors import turn_y
from maskdepth.testing import FakeBackend
from pictures import noise

HEIGHT, WIDTH = 240, 320
BOX_M = (0.6, 0.7, 0.9)
GREY = np.full((60, 80, 3), 120, np.uint8)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DrawnBox:
    """A prediction whose depth is exact, of a box in a drawn corridor, and the plate's depth."""

    prediction: Prediction
    plate_depth_m: Floats


@pytest.fixture(scope="module")
def drawn() -> DrawnBox:
    world = compose_world("corridor", 2, HEIGHT, WIDTH)
    position = world.camera.position
    camera = aim_camera((HEIGHT, WIDTH), position, yaw=0.0, pitch=0.3, roll=0.1, focal=0.9)
    box = Box(
        centre=position * (1, 0, 1) + at(0.1, BOX_M[1] / 2, 2.8),
        axes=turn_y(0.7),
        size=(BOX_M[0] / 2, BOX_M[1] / 2, BOX_M[2] / 2),
        paint=plain(at(0.8, 0.1, 0.1)),
    )
    pictures, depths = [], []
    for shapes in (world.shapes, [*world.shapes, box]):
        colour, _ = render_linear(shapes, world.light, camera, HEIGHT, WIDTH)
        pictures.append((255 * np.clip(colour.mean(axis=2), 0, 1) ** (1 / 2.2)).astype(np.uint8))
        depths.append(trace_pixels(camera, shapes, HEIGHT, WIDTH)[0].astype(np.float32))
    focal_camera = Camera(camera.focal, camera.centre)
    profile = profile_from_depth(pictures[0], depths[0], camera=focal_camera)
    mask = depths[1] < depths[0]
    prediction = Prediction(
        pictures[1],
        mask.astype(np.float32),
        profile.disparity,
        pictures[0],
        depths[1],
        Provenance(calibration=profile.calibration),
        plate_disparity=profile.disparity,
        camera=focal_camera,
    )
    return DrawnBox(prediction, depths[0])


def flat(depth_m: Floats | None, mask: Any = False, **more: Any) -> Prediction:
    """A grey prediction with such a depth; without one the disparity is in ``more``."""
    size = (depth_m if depth_m is not None else more["disparity"]).shape
    values = {"disparity": np.full(size, 0.5, np.float32), "depth_m": depth_m} | more
    image = np.full((*size, 3), 120, np.uint8)
    return Prediction(image, np.broadcast_to(mask, size).astype(np.float32), **values)


def test_a_box_of_exact_depth_is_measured_within_3_percent(drawn: DrawnBox, tmp_path: Path) -> None:
    """In both files, as another library reads them, by the smallest box around the foreground."""
    scene = build_scene(drawn.prediction)
    assert scene.metric
    save_points(tmp_path / "out.ply", scene)
    save_mesh(tmp_path / "out.glb", scene)
    cloud = trimesh.load(tmp_path / "out.ply")
    foreground = np.asarray(cloud.metadata["_ply_raw"]["vertex"]["data"]["foreground"]) == 1
    mesh = trimesh.load(tmp_path / "out.glb").geometry["foreground"]
    for points in (cloud.vertices[foreground.ravel()], outlined(mesh)):
        sizes = sorted(trimesh.bounds.oriented_bounds(points)[1])
        assert sizes == pytest.approx(sorted(BOX_M), rel=0.03)


def outlined(mesh: Any) -> NDArray[Any]:
    """The vertices of a mesh at which its texture is opaque."""
    texture = np.asarray(mesh.visual.material.baseColorTexture)
    columns, rows = ((mesh.visual.uv * (1, -1) + (0, 1)) * texture.shape[1::-1]).astype(int).T
    inside = (rows >= 0) & (columns >= 0) & (rows < texture.shape[0])
    inside &= columns < texture.shape[1]
    opaque = texture[np.clip(rows, 0, len(texture) - 1), np.clip(columns, 0, texture.shape[1] - 1)]
    return np.asarray(mesh.vertices[inside & (opaque[:, 3] > 127)])


def test_what_is_behind_the_foreground_is_there(drawn: DrawnBox) -> None:
    """The plate's points behind the box have the plate's depth and colour."""
    cloud = make_points(build_scene(drawn.prediction))
    camera = drawn.prediction.camera
    assert camera is not None
    plate = cloud.positions[~cloud.foreground].astype(float)
    columns = np.rint(-plate[:, 0] / plate[:, 2] * camera.focal_px + camera.centre_px[0]).astype(
        int
    )
    rows = np.rint(plate[:, 1] / plate[:, 2] * camera.focal_px + camera.centre_px[1]).astype(int)
    behind = drawn.prediction.mask[rows, columns]
    assert behind.sum() > 0.9 * drawn.prediction.mask.sum() > 1000
    np.testing.assert_allclose(-plate[:, 2], drawn.plate_depth_m[rows, columns], rtol=1e-4)
    assert drawn.prediction.plate is not None
    np.testing.assert_array_equal(
        cloud.colours[~cloud.foreground], drawn.prediction.plate[rows, columns]
    )


def test_the_mesh_seen_by_its_camera_is_the_foreground_before_the_plate(drawn: DrawnBox) -> None:
    """Drawn with a depth buffer, nearly all pixels have the colour of one of the two."""
    scene = build_scene(drawn.prediction)
    picture = np.zeros_like(drawn.prediction.image)
    nearest = np.full((HEIGHT, WIDTH), np.inf)
    for surface in make_mesh(scene):
        x, y, z = surface.vertices.T
        columns = -x / z * scene.camera.focal_px + scene.camera.centre_px[0]
        rows = y / z * scene.camera.focal_px + scene.camera.centre_px[1]
        at_pixel = np.rint(rows).astype(int), np.rint(columns).astype(int)
        height, width = surface.texture.shape[:2]
        spots = (surface.texture_positions * (width, height)).astype(int)
        colours = surface.texture[spots[:, 1].clip(0, height - 1), spots[:, 0].clip(0, width - 1)]
        front = -z < nearest[at_pixel]
        front &= colours[:, -1] > 127 if surface.name == "foreground" else True
        at_pixel = at_pixel[0][front], at_pixel[1][front]
        picture[at_pixel], nearest[at_pixel] = colours[front, :3], -z[front]
    mask, plate = drawn.prediction.mask[..., None], drawn.prediction.plate
    expected = np.where(mask, drawn.prediction.image, plate)
    same = np.abs(picture.astype(int) - expected).max(axis=2) <= 3
    assert same.mean() > 0.98


def test_no_triangle_joins_near_and_far(drawn: DrawnBox) -> None:
    for surface in make_mesh(build_scene(drawn.prediction)):
        depth = -surface.vertices[surface.faces][..., 2]
        assert (depth.max(axis=1) / depth.min(axis=1) < 1.5).all()


def test_triangles_face_the_camera(drawn: DrawnBox) -> None:
    for surface in make_mesh(build_scene(drawn.prediction)):
        a, b, c = surface.vertices[surface.faces].astype(float).transpose(1, 0, 2)
        assert (np.einsum("ni,ni->n", np.cross(b - a, c - a), -a) > 0).all()


def step_with_slope(slope_px: int) -> Floats:
    """Two walls, 2 m and 6 m away, between which inverse depth goes by a slope."""
    columns = np.arange(400)
    inverse = np.interp(columns, [200 - slope_px / 2, 200 + slope_px / 2], [1 / 2, 1 / 6])
    return np.tile((1 / inverse).astype(np.float32), (300, 1))


@pytest.mark.parametrize("slope_px", [0, 1, 2, 4])
def test_a_mesh_has_no_rubber_sheet_and_a_cloud_no_flying_points(slope_px: int) -> None:
    """Also where a network's depth goes from one surface to another by a slope."""
    scene = build_scene(flat(step_with_slope(slope_px)))
    (surface,) = make_mesh(scene)
    depth = -surface.vertices[surface.faces][..., 2]
    assert (np.ptp(depth, axis=1) < 1).all()
    assert len(surface.faces) > 2 * 299 * (399 - 8)
    points = -make_points(scene).positions[:, 2]
    assert (np.minimum(abs(points - 2), abs(points - 6)) < 0.01).all()


def test_a_floor_is_one_surface_up_to_where_it_ends() -> None:
    """However flat it is seen: neighbouring rows differ ever more, up to a third."""
    rows = np.arange(200, dtype=np.float32)
    depth = np.where(rows > 103, 300 / np.maximum(rows - 100, 1), np.inf)
    (surface,) = make_mesh(build_scene(flat(np.tile(depth.astype(np.float32)[:, None], (1, 150)))))
    assert len(surface.faces) == 2 * 149 * (200 - 104 - 1)


@given(
    st.floats(50, 2000),
    st.tuples(st.floats(-50, 150), st.floats(-50, 150)),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=20)
def test_points_project_onto_their_pixels(
    focal_px: float, centre: tuple[float, float], seed: int
) -> None:
    depth_m = np.random.default_rng(seed).uniform(1, 50, (15, 20)).astype(np.float32)
    camera = Camera(focal_px, centre)
    points = make_points(build_scene(flat(depth_m), camera)).positions.astype(float)
    columns = -points[:, 0] / points[:, 2] * focal_px + centre[0]
    rows = points[:, 1] / points[:, 2] * focal_px + centre[1]
    at_pixel = np.rint(rows).astype(int), np.rint(columns).astype(int)
    np.testing.assert_allclose(rows, at_pixel[0], atol=2e-3)
    np.testing.assert_allclose(columns, at_pixel[1], atol=2e-3)
    np.testing.assert_allclose(-points[:, 2], depth_m[at_pixel], rtol=1e-5)


@given(st.integers(100, 3000), st.integers(0, 60), st.integers(2, 90), st.integers(2, 120))
@settings(max_examples=25)
def test_a_budget_is_kept_and_used(budget: int, edge: int, height: int, width: int) -> None:
    mask = np.zeros((height, width), np.bool_)
    mask[:edge] = True
    disparity = np.full((height, width), 0.5, np.float32)
    prediction = flat(
        None, mask, disparity=disparity, plate=np.full((height, width, 3), 9, np.uint8),
        plate_disparity=disparity / 2,
    )  # fmt: skip
    scene = build_scene(prediction)
    points = len(make_points(scene, budget).positions)
    assert points <= budget
    assert points >= min(height * width + mask.sum(), 0.5 * budget)
    assert sum(len(each.vertices) for each in make_mesh(scene, budget)) <= budget


def test_sky_is_left_out_and_so_is_what_is_a_hundred_times_as_far() -> None:
    disparity = np.full((30, 40), 0.5, np.float32)
    disparity[:10], disparity[10:15] = 0, 0.004
    scene = build_scene(flat(None, disparity=disparity))
    assert not scene.metric
    assert scene.unit.startswith("relative")
    assert len(make_points(scene).positions) == 15 * 40
    assert scene.far == pytest.approx(200)


def test_without_a_plate_nothing_is_behind_the_foreground() -> None:
    mask = np.zeros((30, 40), np.bool_)
    mask[5:20, 10:30] = True
    scene = build_scene(flat(np.full((30, 40), 2, np.float32), mask))
    assert [layer.name for layer in scene.layers] == ["background", "foreground"]
    np.testing.assert_array_equal(np.isnan(scene.layers[0].depth), mask)


def test_the_foreground_has_nothing_of_the_plate_in_its_colour() -> None:
    """At alpha 0.6 a red object before a green plate is red."""
    image, plate = np.zeros((2, 20, 20, 3), np.uint8)
    alpha = np.full((20, 20), 0.6, np.float32)
    image[...], plate[...] = (120, 80, 0), (0, 200, 0)
    disparity = np.full((20, 20), 0.5, np.float32)
    scene = build_scene(Prediction(image, alpha, disparity, plate, plate_disparity=disparity / 2))
    cloud = make_points(scene)
    assert {tuple(each) for each in cloud.colours[cloud.foreground].tolist()} == {(200, 0, 0)}
    assert cloud.foreground.sum() == 400 == (~cloud.foreground).sum()


def test_an_estimated_foreground_has_no_skirt_and_is_no_deeper_than_it_is_long() -> None:
    """A network's depth slopes down to the plate's along outlines, and may err within them."""
    mask = np.zeros((200, 300), np.bool_)
    mask[50:150, 100:160] = True
    disparity = cv2.blur(np.where(mask, 0.8, 0.1).astype(np.float32), (5, 5))
    disparity[60:70, 110:120] = 0.05
    prediction = flat(
        None, mask, disparity=disparity, plate=np.full((200, 300, 3), 9, np.uint8),
        plate_disparity=np.full((200, 300), 0.1, np.float32),
        provenance=Provenance(disparity_sources={"foreground": "picture"}),
    )  # fmt: skip
    scene = build_scene(prediction, Camera.centred(300, (200, 300)))
    depth = scene.layers[1].depth[mask]
    assert depth.min() == pytest.approx(1 / 0.8, rel=0.01)
    assert depth.max() <= 1 / 0.8 * (1 + 100 / 300 / 2) * 1.01
    assert np.isclose(depth, 1 / 0.8, rtol=0.01).mean() > 0.95


def test_a_camera_comes_from_the_profile_else_exif_else_is_assumed(tmp_path: Path) -> None:
    depth_m = np.full((60, 80), 2, np.float32)
    predictor = FakeBackend().predictor()
    profile = profile_from_depth(GREY, depth_m, camera=Camera.centred(77, (60, 80)))
    assert build_scene(predictor.predict(GREY, profile)).camera.focal_px == 77
    plain_profile = replace(profile, camera=None)
    assert build_scene(predictor.predict(GREY, plain_profile)).camera.source == "assumed"
    given_camera = Camera.centred(99, (60, 80))
    assert build_scene(predictor.predict(GREY, profile), given_camera).camera == given_camera


def test_a_prediction_has_the_plates_disparity_behind_its_foreground() -> None:
    """From a profile, from a map that is passed, and as the model estimates it."""
    picture = GREY.copy()
    picture[20:40, 30:50] = 250
    depth_m = np.tile(np.linspace(2, 8, 80, dtype=np.float32), (60, 1))
    profile = profile_from_depth(GREY, depth_m)
    predictor = FakeBackend().predictor()
    prediction = predictor.predict(picture, profile)
    assert prediction.plate_disparity is not None
    np.testing.assert_array_equal(prediction.plate_disparity, profile.disparity)
    with pytest.raises(ValueError, match="read-only"):
        prediction.plate_disparity[0] = 0
    passed = predictor.predict(picture, GREY, plate_disparity=profile.disparity)
    np.testing.assert_allclose(passed.plate_disparity, profile.disparity)
    estimated = predictor.predict(picture, GREY).plate_disparity
    assert estimated is not None
    assert build_scene(predictor.predict(picture, GREY)).layers[0].name == "plate"
    assert predictor.predict(picture).plate_disparity is None


def glb_tree(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[12:16])
    return json.loads(data[20 : 20 + length])


def test_files_say_unit_axes_and_camera(drawn: DrawnBox, tmp_path: Path) -> None:
    scene = build_scene(drawn.prediction)
    save_mesh(tmp_path / "out.glb", scene)
    tree = glb_tree(tmp_path / "out.glb")
    assert tree["scenes"][0]["extras"] == json.loads(json.dumps(scene.as_json()))
    assert scene.as_json()["unit"] == "metres"
    assert {mesh["name"] for mesh in tree["meshes"]} == {"plate", "foreground"}
    modes = {each["name"]: each["alphaMode"] for each in tree["materials"]}
    assert modes == {"plate": "OPAQUE", "foreground": "MASK"}
    assert all("KHR_materials_unlit" in each["extensions"] for each in tree["materials"])
    save_points(tmp_path / "out.ply", scene)
    header = (tmp_path / "out.ply").read_bytes().split(b"end_header")[0].decode("ascii")
    assert "comment unit: metres" in header
    assert "looks along -Z" in header
    assert f'"focal_px": {scene.camera.focal_px}' in header


NO_DEPTH = flat(None, disparity=np.full((30, 40), np.nan, np.float32))
SKY = flat(None, disparity=np.zeros((30, 40), np.float32))
SINGLE_DOT = flat(
    None,
    disparity=np.where(np.arange(1200).reshape(30, 40) == 620, 0.5, np.nan).astype(np.float32),
)


@pytest.mark.parametrize(
    ("prediction", "name", "kind", "words"),
    [
        (NO_DEPTH, "a.ply", PictureError, "has no depth"),
        (NO_DEPTH, "a.glb", PictureError, "has no depth"),
        (SKY, "a.ply", PictureError, "nothing at a finite distance"),
        (SINGLE_DOT, "a.glb", PictureError, "no mesh"),
        (flat(np.ones((30, 40), np.float32)), "a.obj", UsageError, "written as"),
        (flat(np.ones((30, 40), np.float32)), "a.png/a.ply", StorageError, "a file, not a folder"),
        (flat(np.ones((30, 40), np.float32)), "folder.glb", StorageError, "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    tmp_path: Path, prediction: Prediction, name: str, kind: type[MaskdepthError], words: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "folder.glb").mkdir()
    before = sorted(tmp_path.rglob("*"))
    save = save_points if name.endswith(".ply") else save_mesh
    with pytest.raises(kind, match=words) as caught:
        save(tmp_path / name, build_scene(prediction))
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_line_has_the_same_budget() -> None:
    """By a number of its own: the scene's modules load NumPy."""
    assert scene_files.MAX_POINTS == MAX_POINTS


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    plate = noise(60, 80, 1) // 2
    picture = plate.copy()
    picture[20:50, 30:50] = 250
    save_png("a.png", picture)
    save_png("b.png", picture)
    save_png("plate.png", plate)
    depth_m = np.tile(np.linspace(6, 2, 60, dtype=np.float32)[:, None], (1, 80))
    save_profile("z.plate", profile_from_depth(plate, depth_m, camera=Camera.centred(70, (60, 80))))
    return tmp_path


def test_predict_writes_points_and_mesh_and_says_what_they_are(here: Path, run: Run) -> None:
    call = ("predict", "a.png", "--plate", "z.plate", "--points", "o/a.ply", "--mesh", "a.glb")
    outcome = run(*call, "-o", "out", "--json")
    assert outcome.code == 0, outcome.err
    assert "3-D units: metres; focal length 70 px (given)" in outcome.err
    result = json.loads(outcome.out)
    assert {"o/a.ply", "a.glb"} < set(result["written"])
    assert result["scene"] == glb_tree(Path("a.glb"))["scenes"][0]["extras"]
    assert result["scene"]["layers"] == ["plate", "foreground"]
    assert json.loads(Path("out/a.json").read_text())["camera"]["focal_px"] == 70


def test_a_plate_without_metres_gives_a_relative_scene(here: Path, run: Run) -> None:
    call = ("predict", "a.png", "--plate", "plate.png", "--points", "a.ply", "-o", "cutout.png")
    outcome = run(*call)
    assert outcome.code == 0, outcome.err
    assert "3-D units: relative" in outcome.err
    assert "assumed, 60 degrees across the longer side" in outcome.err
    assert Path("cutout.png").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--points a.obj", "Points are written as .ply, not as .obj."),
        ("--mesh a.ply", "A mesh is written as .glb, not as .ply."),
        ("--points a.ply --focal-px 0", "focal length must be"),
        ("--points a.ply --focal-px nan", "focal length must be"),
        ("--focal-px 90", "does nothing without --points or --mesh"),
        ("--max-points 900", "does nothing without --points or --mesh"),
        ("b.png --points a.ply", "one picture, not of 2"),
        ("--points a.png/a.ply", "a file, not a folder"),
    ],
)
def test_a_mistake_is_named_in_one_line_and_nothing_is_written(
    here: Path, run: Run, options: str, words: str
) -> None:
    before = sorted(here.rglob("*"))
    outcome = run("predict", "a.png", *options.split(), "--plate", "z.plate", "-o", "out")
    assert outcome.code in (1, 2)
    (line,) = [each for each in outcome.err.splitlines() if "nothing was written" not in each]
    assert words in line
    assert sorted(here.rglob("*")) == before


def test_a_clip_has_no_scene(here: Path, run: Run) -> None:
    Path("clip.mp4").write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41")
    outcome = run("predict", "clip.mp4", "--plate", "z.plate", "--points", "a.ply", "-o", "out")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert "one picture, not of a video" in line
    assert not Path("a.ply").exists()


def test_a_mesh_without_trimesh_names_the_command_that_installs_it(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trimesh", None)
    outcome = run("predict", "a.png", "--mesh", "a.glb", "-o", "out")
    assert outcome.code == 1
    (line,) = outcome.err.splitlines()
    assert "'trimesh' is not installed" in line
    assert "pip install" in line
    assert "[3d]" in line
    assert not Path("out").exists()
    assert run("predict", "a.png", "--points", "a.ply", "-o", "out").code == 0
