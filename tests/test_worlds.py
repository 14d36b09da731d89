"""The sample pack: exact geometry, soft cutouts, and the same bytes for the same seed."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from folders import contents
from maskdepth.depth import decode_disparity, disparity_from_depth
from maskdepth.errors import StorageError, UsageError
from maskdepth.images import load_cutout, load_grey16, load_picture
from maskdepth.synthesis.worlds import (
    CUTOUT_KINDS,
    FAMILIES,
    SCENES,
    WITHHELD_FAMILY,
    decode_relief,
    encode_relief,
    pack,
    raycast,
    render_cutout,
    render_scene,
    write_sample_pack,
)
from maskdepth.synthesis.worlds.lighting import render_linear
from maskdepth.synthesis.worlds.raycast import Camera, trace, trace_pixels
from maskdepth.synthesis.worlds.scenes import compose_world
from maskdepth.synthesis.worlds.shapes import (
    Box,
    Cut,
    Ellipsoid,
    Frustum,
    Polyhedron,
    Quad,
    Shape,
    lowest,
    moved,
    taper,
)
from maskdepth.synthesis.worlds.standing import STANDING, ground_depth, render_standing
from maskdepth.synthesis.worlds.textures import Array, Surface

SMALL = (48, 64)
INDOORS = {"indoor", "desk", "corridor", "shop"}
UPRIGHT = np.diag([1.0, -1.0, 1.0])  # axes of a camera that looks along z


def no_paint(surface: Surface) -> NDArray[np.float64]:
    return np.ones_like(surface.points)


def pixel_rays(camera: Camera, height: int, width: int) -> NDArray[np.float64]:
    """World directions with unit depth, written out pixel by pixel apart from the ray caster."""
    rays = np.empty((height, width, 3))
    right, down, forward = camera.axes
    for row in range(height):
        for column in range(width):
            x = (column - (width - 1) / 2) / camera.focal
            y = (row - (height - 1) / 2) / camera.focal
            rays[row, column] = x * right + y * down + forward
    return rays


@pytest.mark.parametrize("family", SCENES)
def test_scene_is_a_pure_function_of_its_arguments(family: str) -> None:
    first, again = (render_scene(family, 5, *SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.depth_m, again.depth_m)
    other = render_scene(family, 6, *SMALL)
    assert first.image.shape == (*SMALL, 3)
    assert first.image.dtype == np.uint8
    assert first.depth_m.dtype == np.float32
    assert np.abs(first.image.astype(int) - other.image).mean() > 8
    assert first.focal_px != other.focal_px


def test_where_rays_meet_nothing_the_sky_is_seen() -> None:
    """Every sample has its light, finite and not black, and none is a hit."""
    world = compose_world("outdoor", 0, 32, 40)
    light, hits = render_linear([], world.light, world.camera, 32, 40)
    assert light.shape == (32, 40, 4, 3)
    assert not hits.any()
    assert np.isfinite(light).all()
    assert (light > 0).any(axis=3).all()


@pytest.mark.parametrize("family", SCENES)
def test_depth_is_positive_and_sky_is_infinite(family: str) -> None:
    share = []
    for seed in range(6):
        depth = render_scene(family, seed, *SMALL).depth_m
        assert not np.isnan(depth).any()
        assert depth.min() > 0.05
        share.append(float(np.isinf(depth).mean()))
    if family in INDOORS:
        assert max(share) < 0.4
    else:
        assert max(share) > 0.05


def test_ground_depth_follows_from_camera_height_and_pitch() -> None:
    """Where a park's ray meets nothing above the ground, its depth is height over descent."""
    height, width = SMALL
    for seed in range(4):
        scene = render_scene("outdoor", seed, height, width)
        camera = compose_world("outdoor", seed, height, width).camera
        rays = pixel_rays(camera, height, width)
        expected = np.where(rays[..., 1] < 0, camera.position[1] / -rays[..., 1], np.inf)
        # nothing is behind or under the ground, and most of the lowest rows is bare ground
        assert (scene.depth_m <= expected * (1 + 1e-5)).all()
        bottom = np.isclose(scene.depth_m[-10:], expected[-10:], rtol=1e-5)
        assert bottom.mean() > 0.3
        assert scene.focal_px == camera.focal


def test_unprojected_wall_is_a_plane() -> None:
    height, width = 60, 80
    for seed in range(3):
        world = compose_world("indoor", seed, height, width)
        scene = render_scene("indoor", seed, height, width)
        _, index = trace_pixels(world.camera, world.shapes, height, width)
        walls = [i for i, s in enumerate(world.shapes) if isinstance(s, Quad) and s.room]
        number = max(walls, key=lambda i: int((index == i).sum()))
        rows, columns = np.nonzero(index == number)
        assert len(rows) > 100
        depth = scene.depth_m[rows, columns].astype(np.float64)
        x = (columns - (width - 1) / 2) / scene.focal_px * depth
        y = (rows - (height - 1) / 2) / scene.focal_px * depth
        points = np.stack([x, y, depth], axis=1)
        flatness = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        assert flatness[2] / np.sqrt(len(points)) < 1e-5
        assert flatness[1] / np.sqrt(len(points)) > 1e-2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_hits_lie_on_the_implicit_surface(seed: int) -> None:
    """Every hit of a ball, bar and box satisfies the shape's own equation, found from outside."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    centre = np.array([*rng.uniform(-0.5, 0.5, 2), rng.uniform(3.0, 6.0)])
    a, b, c = (float(r) for r in rng.uniform(0.3, 1.0, 3))
    camera = Camera(np.zeros(3), UPRIGHT, 40.0, (19.5, 14.5))
    steps = np.arange(40.0), np.arange(30.0)
    rays = pixel_rays(camera, 30, 40)
    shapes = [
        Ellipsoid(centre=centre, axes=turn, radii=(a, b, c), paint=no_paint),
        Box(centre=centre, axes=turn, size=(a, b, c), paint=no_paint),
        Frustum(centre=centre, axes=turn, height=a, radii=(b, c), paint=no_paint),
    ]
    for shape in shapes:
        t, index = trace(camera, [shape], *steps)
        assert (np.isfinite(t) == (index == 0)).all()
        assert (index == 0).any()
        p = (rays[index == 0] * t[index == 0][:, None] - centre) @ turn.T
        if isinstance(shape, Ellipsoid):
            off = ((p / [a, b, c]) ** 2).sum(axis=1) - 1
        elif isinstance(shape, Box):
            off = np.abs(p / [a, b, c]).max(axis=1) - 1
        else:
            side = np.hypot(p[:, 0], p[:, 2]) - (b + (c - b) * p[:, 1] / a)
            cap = np.minimum(np.abs(p[:, 1]), np.abs(p[:, 1] - a))
            off = np.where(cap < 1e-9, np.maximum(side, 0.0), side)
        np.testing.assert_allclose(off, 0.0, atol=1e-7)
        normal = shape.normals(p) @ turn
        np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1.0, atol=1e-6)
        assert (np.sum(normal * rays[index == 0], axis=1) < 1e-6).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_polyhedron_is_where_all_its_faces_allow(seed: int) -> None:
    """Hits of a tapered solid lie on one face and within the others, and rays that miss it pass
    no point inside.
    """
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    bottom, top = rng.uniform(0.3, 1.0, 2), rng.uniform(0.1, 1.0, 2)
    lean = rng.uniform(-0.3, 0.3, 2)
    faces, reach = taper((bottom[0], bottom[1]), (top[0], top[1]), 1.2, (lean[0], lean[1]))
    centre = np.array([0.0, 0.0, rng.uniform(4.0, 6.0)])
    solid = Polyhedron(centre=centre, axes=turn, faces=faces, reach=reach, paint=no_paint)
    ends = np.concatenate(
        [
            [[x * bottom[0], 0.0, z * bottom[1]] for x in (-1, 1) for z in (-1, 1)],
            [[x * top[0] + lean[0], 1.2, z * top[1] + lean[1]] for x in (-1, 1) for z in (-1, 1)],
        ]
    )
    away = np.linalg.norm(solid.vertices[:, None] - ends[None], axis=2)
    np.testing.assert_allclose(away.min(axis=0), 0.0, atol=1e-7)
    assert lowest([solid]) == pytest.approx((centre + ends @ turn)[:, 1].min())
    camera = Camera(np.zeros(3), UPRIGHT, 40.0, (19.5, 14.5))
    t, index = trace(camera, [solid], np.arange(40.0), np.arange(30.0))
    rays = pixel_rays(camera, 30, 40)
    points = (rays[index == 0] * t[index == 0][:, None] - centre) @ turn.T
    off = points @ faces.T - reach
    np.testing.assert_allclose(off.max(axis=1), 0.0, atol=1e-9)
    for depth in np.linspace(2.0, 8.0, 25):
        inside = ((rays[index < 0] * depth - centre) @ turn.T @ faces.T < reach - 1e-9).all(axis=1)
        assert not inside.any()


def striped_cut(rng: np.random.Generator) -> Cut:
    """Holes in stripes along a random direction."""
    way, period = rng.normal(size=3), rng.uniform(0.1, 0.6)

    def cut(points: Array) -> NDArray[np.bool_]:
        return np.asarray(np.mod(points @ way / period, 1.0) < 0.5, np.bool_)

    return cut


def sample_shapes(rng: np.random.Generator, count: int, holed: float) -> list[Shape]:
    """Shapes of all forms, turned and placed at random before the camera or around it."""
    shapes: list[Shape] = []
    for _ in range(count):
        a, b, c = (float(size) for size in rng.uniform(0.1, 1.5, 3))
        faces, reach = taper((a, b), (c, a), b, (a - b, c - a))
        where = {
            "centre": rng.uniform([-3.0, -3.0, -1.0], [3.0, 3.0, 9.0]),
            "axes": np.linalg.qr(rng.normal(size=(3, 3)))[0],
            "paint": no_paint,
            "cut": striped_cut(rng) if rng.random() < holed else None,
        }
        caps = (bool(rng.random() < 0.5), bool(rng.random() < 0.5))
        forms: list[Shape] = [
            Quad(size=(a, b), **where),  # type: ignore[arg-type]
            Box(size=(a, b, c), **where),  # type: ignore[arg-type]
            Ellipsoid(radii=(a, b, c), **where),  # type: ignore[arg-type]
            Frustum(height=a, radii=(b, c), caps=caps, **where),  # type: ignore[arg-type]
            Polyhedron(faces=faces, reach=reach, **where),  # type: ignore[arg-type]
        ]
        shapes.append(forms[int(rng.integers(len(forms)))])
    ground = {"centre": np.array([0.0, -4.0, 0.0]), "axes": np.eye(3)[[0, 2, 1]]}
    return [*shapes, Quad(size=(np.inf, np.inf), paint=no_paint, **ground)]  # type: ignore[arg-type]


def sample_eye(rng: np.random.Generator, parallel: bool) -> Camera:
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] if parallel else UPRIGHT
    position = -9.0 * axes[2] if parallel else np.zeros(3)
    return Camera(position, axes, 4.0 if parallel else 30.0, (20.0, 14.0), parallel)


def test_of_shapes_at_one_place_the_first_is_hit() -> None:
    rng = np.random.default_rng(5)
    shapes = sample_shapes(rng, 6, 0.5)
    tripled = [shape for shape in shapes for _ in range(3)]
    camera, steps = sample_eye(rng, False), np.arange(40, dtype=np.float64)
    index = trace(camera, shapes, steps, steps)[1]
    expected = np.where(index >= 0, 3 * index, -1)
    np.testing.assert_array_equal(trace(camera, tripled, steps, steps)[1], expected)


def test_rays_that_meet_nothing_end_at_infinity() -> None:
    """Without shapes, or with all of them behind the eye or full of holes, nothing is hit."""
    camera, steps = sample_eye(np.random.default_rng(0), False), np.arange(20, dtype=np.float32)
    behind = Ellipsoid(centre=np.array([0.0, 0.0, -5.0]), radii=(1, 1, 1), paint=no_paint)
    away = np.array([0.0, 0.0, 5.0])
    holed = Box(centre=away, size=(9, 9, 1), paint=no_paint, cut=lambda p: np.zeros(len(p), bool))
    choices: list[Sequence[Shape]] = [[], [behind], [holed], [behind, holed]]
    for shapes in choices:
        t, index = trace(camera, shapes, steps, steps)
        assert np.isinf(t).all()
        assert (index == -1).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_shapes_are_met_alone_as_together(seed: int, parallel: bool, double: bool) -> None:
    """Whether NumPy meets every shape by itself, all at once or in portions, not a bit differs."""
    rng = np.random.default_rng(seed)
    shapes, camera = sample_shapes(rng, 25, 0.4), sample_eye(rng, parallel)
    shapes += shapes[::3]  # some coincide
    kind = np.float64 if double else np.float32
    u, v = np.arange(43, dtype=kind), np.arange(29, dtype=kind)
    found = []
    for small, at_once in ((-1, 1 << 14), (-1, 60), (1 << 20, 1 << 20), (1 << 20, 300), (200, 500)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(raycast, "_SMALL", small)
            patch.setattr(raycast, "_AT_ONCE", at_once)
            found.append(trace(camera, shapes, u, v))
    for t, index in found[1:]:
        np.testing.assert_array_equal(t, found[0][0])
        np.testing.assert_array_equal(index, found[0][1])


def test_moved_shapes_keep_their_form() -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    ball = Ellipsoid(centre=np.array([0.2, 0.1, 0.3]), radii=(0.5, 0.7, 0.4), paint=no_paint)
    placed = moved([ball], np.array([0.1, 0.0, 5.0]), turn)[0]
    assert isinstance(placed, Ellipsoid)
    world = placed.centre + (np.array([0.5, 0.0, 0.0]) @ placed.axes)
    expected = np.array([0.1, 0.0, 5.0]) + (ball.centre + np.array([0.5, 0.0, 0.0])) @ turn
    np.testing.assert_allclose(world, expected)
    directions = np.random.default_rng(2).normal(size=(20_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    surface = placed.centre + directions * placed.radii @ placed.axes
    assert lowest([placed]) == pytest.approx(surface[:, 1].min(), abs=1e-3)


def test_nearer_shape_hides_the_farther() -> None:
    camera = Camera(np.zeros(3), UPRIGHT, 20.0, (2.0, 2.0))
    steps = np.arange(5.0), np.arange(5.0)
    near = Ellipsoid(centre=np.array([0, 0, 2.0]), radii=(1, 1, 1), paint=no_paint)
    far = Ellipsoid(centre=np.array([0, 0, 5.0]), radii=(1, 1, 1), paint=no_paint)
    for order in ([near, far], [far, near]):
        assert trace(camera, order, *steps)[0][2, 2] == pytest.approx(1.0)
    hollow = replace(near, cut=lambda p: np.zeros(len(p), np.bool_))
    assert trace(camera, [hollow, far], *steps)[0][2, 2] == pytest.approx(4.0)


@pytest.mark.parametrize("family", SCENES)
def test_every_seed_composes_a_world(family: str) -> None:
    counts = set()
    for seed in range(12):
        world = compose_world(family, seed, 384, 512)
        counts.add(len(world.shapes))
        assert world.camera.position[1] > 0.3
        assert world.camera.axes[2, 1] < 0.2  # never looks far up
        np.testing.assert_allclose(world.camera.axes @ world.camera.axes.T, np.eye(3), atol=1e-9)
    assert len(counts) > 5


@pytest.mark.parametrize("kind", CUTOUT_KINDS)
def test_cutout_has_soft_alpha_and_bounded_relief(kind: str) -> None:
    """Alpha is opaque inside, soft at the edge; relief is level on average, 0 outside."""
    for seed in range(8):
        cutout = render_cutout(kind, seed, 96)
        alpha = cutout.image[..., 3]
        assert cutout.image.dtype == np.uint8
        assert max(alpha.shape) == 96
        assert cutout.relief.shape == alpha.shape
        assert cutout.relief.dtype == np.float32
        assert (alpha > 250).mean() > 0.03
        assert ((alpha > 20) & (alpha < 235)).sum() > 40
        assert (alpha == 0).any()
        assert np.abs(cutout.relief).max() <= 0.5
        assert not cutout.relief[alpha == 0].any()
        inside = cutout.relief[alpha > 128]
        assert abs(inside.mean()) < 0.08
        assert np.ptp(inside) > 0.03
        for border in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
            assert border.any()  # trimmed


@pytest.mark.parametrize("kind", CUTOUT_KINDS)
def test_cutouts_repeat_by_seed_and_vary_between_seeds(kind: str) -> None:
    np.testing.assert_array_equal(
        render_cutout(kind, 3, 64).image, render_cutout(kind, 3, 64).image
    )
    colours = []
    for seed in range(16):
        image = render_cutout(kind, seed, 48).image
        colours.append(image[image[..., 3] > 200][:, :3].mean(axis=0))
    spread = np.std(colours, axis=0)
    assert (spread > 20).all()
    distances = [np.linalg.norm(colours[i] - colours[j]) for i in range(16) for j in range(i)]
    assert np.median(distances) > 40


def test_outline_of_a_cutout_keeps_its_colour() -> None:
    for kind in CUTOUT_KINDS:
        cutout = render_cutout(kind, 1, 160)
        alpha = cutout.image[..., 3]
        solid = (alpha == 255).astype(np.uint8)
        near = cv2.dilate(solid, np.ones((5, 5), np.uint8)) > 0
        edge = near & (alpha > 30) & (alpha < 128)
        grey = cutout.image[..., :3].mean(axis=2)
        beside = cv2.blur(grey * solid, (9, 9)) / np.maximum(cv2.blur(solid * 1.0, (9, 9)), 1e-6)
        assert grey[edge].mean() > 0.7 * beside[edge].mean()


@pytest.mark.parametrize("number", range(len(STANDING)))
def test_standing_object_touches_the_ground_and_hides_what_is_behind(number: int) -> None:
    """In the rig the object is the only change, stands on its pixel's ground, and its cutout lies
    on the picture pixel by pixel.
    """
    height, width = 72, 96
    kind, family = list(STANDING)[number], list(SCENES)[number % len(SCENES)]
    seed, ground = next(
        (seed, ground)
        for seed in range(number, number + 30)
        if (ground := np.isfinite(ground_depth(family, seed, height, width)))[30:60, 20:76].sum()
        > 60
    )
    rows, columns = np.nonzero(ground[30:60, 20:76])
    pixel = (int(rows[len(rows) // 2]) + 30, int(columns[len(rows) // 2]) + 20)
    made = render_standing(family, seed, kind, 3, pixel, height=height, width=width)
    plate, depth = made.plate.depth_m, made.picture.depth_m
    np.testing.assert_array_equal(depth[~made.mask], plate[~made.mask])
    assert (depth[made.mask] < plate[made.mask]).all()
    camera = compose_world(family, seed, height, width).camera
    points = camera.position + pixel_rays(camera, height, width) * depth[..., None]
    assert (points[made.mask][:, 1] > -1e-4).all()
    spot = camera.position + pixel_rays(camera, height, width)[pixel] * made.contact_depth_m
    assert spot[1] == pytest.approx(0.0, abs=1e-4)
    assert made.contact[0] + made.corner[0] == pixel[0]
    assert made.contact[1] + made.corner[1] == pixel[1]
    own = made.cutout_depth_m
    assert own.shape == made.cutout.image.shape[:2] == made.cutout.relief.shape
    top, left = made.corner
    full = np.full((height, width), np.inf, np.float32)
    inside = np.zeros_like(made.mask)
    for row in range(max(top, 0), min(top + own.shape[0], height)):
        for column in range(max(left, 0), min(left + own.shape[1], width)):
            full[row, column] = own[row - top, column - left]
            inside[row, column] = True
    assert inside[made.mask].all()
    np.testing.assert_allclose(full[made.mask], depth[made.mask], rtol=1e-6)
    np.testing.assert_array_equal(made.mask, full < plate)
    solid = (made.cutout.image[..., 3] == 255) & np.isfinite(own)
    solid &= np.abs(made.cutout.relief) < 0.49  # a long animal from the front is clipped
    if solid.sum() > 50:
        assert np.corrcoef(made.cutout.relief[solid], own[solid])[0, 1] < -0.98


def test_rig_refuses_what_cannot_stand() -> None:
    with pytest.raises(UsageError, match="person, animal"):
        render_standing("outdoor", 0, "moon", 0, (40, 30), height=48, width=64)
    with pytest.raises(UsageError, match="level ground"):
        render_standing("outdoor", 0, "ball", 0, (-1, 30), height=48, width=64)


@given(st.integers(0, 255))
def test_relief_code_round_trips(grey: int) -> None:
    code = np.array([[grey]], np.uint8)
    assert encode_relief(decode_relief(code))[0, 0] == max(grey, 1)
    assert decode_relief(np.array([[128]], np.uint8))[0, 0] == 0.0


def test_pack_has_readable_pictures_labels_and_licences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "SCENE_SIZE", SMALL)
    monkeypatch.setattr(pack, "CUTOUT_SIZE", 64)
    chosen = ("street", "desk", "outdoor")
    first = write_sample_pack(tmp_path / "a" / "pack", scenes=4, cutouts=3, seed=2, families=chosen)
    names = sorted(p.name for p in first.backgrounds.glob("*.png"))
    stems = ["desk_000", "outdoor_000", "street_000", "street_001"]
    assert names == sorted(n for s in stems for n in (f"{s}.png", f"{s}_disparity.png"))
    label_file = json.loads((first.backgrounds / "label.json").read_text())
    assert label_file["kind"] == "exact"
    assert sorted(label_file["focal"]) == stems
    for stem in stems:
        assert load_picture(first.backgrounds / f"{stem}.png").shape == (*SMALL, 3)
        family, number = stem.rsplit("_", 1)
        scene = render_scene(family, 2 * (1 << 20) + int(number), *SMALL)
        assert label_file["focal"][stem] == pytest.approx(scene.focal_px / 64, abs=1e-5)
        label = decode_disparity(load_grey16(first.backgrounds / f"{stem}_disparity.png"))
        np.testing.assert_allclose(label, disparity_from_depth(scene.depth_m), atol=1.01 / 65534)
        assert label.max() == pytest.approx(1.0)
    for stem in ("quadruped_000", "object_000", "person_000"):
        cutout = load_cutout(first.cutouts / f"{stem}.png")
        relief = cv2.imread(str(first.cutouts / f"{stem}_relief.png"), cv2.IMREAD_UNCHANGED)
        assert relief.dtype == np.uint8
        assert relief.shape == cutout.shape[:2]
        assert (relief[cutout[..., 3] == 0] == 128).all()
    for folder, count in ((first.backgrounds, 4), (first.cutouts, 3)):
        with open(folder / "licences.csv", newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == count
        assert {line["licence"] for line in lines} == {"CC0-1.0"}
        assert all((folder / line["file"]).is_file() for line in lines)
    second = write_sample_pack(tmp_path / "b", scenes=4, cutouts=3, seed=2, families=chosen)
    for folder in ("backgrounds", "cutouts"):
        for file in (tmp_path / "a" / "pack" / folder).iterdir():
            assert file.read_bytes() == (second.cutouts.parent / folder / file.name).read_bytes()


def test_withheld_family_is_written_only_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "SCENE_SIZE", SMALL)
    assert WITHHELD_FAMILY in SCENES
    assert WITHHELD_FAMILY not in FAMILIES
    assert {*FAMILIES, WITHHELD_FAMILY} == set(SCENES)
    usual = write_sample_pack(tmp_path / "a", scenes=len(FAMILIES), cutouts=0)
    families = {p.stem.split("_")[0] for p in usual.backgrounds.glob("*.png")}
    assert families == set(FAMILIES)
    test = write_sample_pack(tmp_path / "b", scenes=2, cutouts=0, families=[WITHHELD_FAMILY])
    names = {p.stem.split("_")[0] for p in test.backgrounds.glob("*.png")}
    assert names == {WITHHELD_FAMILY}


def test_a_pack_writes_over_nothing_but_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "SCENE_SIZE", SMALL)
    write_sample_pack(tmp_path, scenes=3, cutouts=2)
    before = contents(tmp_path)
    write_sample_pack(tmp_path, scenes=3, cutouts=2)
    write_sample_pack(tmp_path, scenes=0, cutouts=2)
    assert contents(tmp_path) == before
    with pytest.raises(StorageError, match="may hold only 2 pictures of this pack"):
        write_sample_pack(tmp_path, scenes=2, cutouts=2)
    with pytest.raises(StorageError, match="seed 0, not 1"):
        write_sample_pack(tmp_path, scenes=3, cutouts=2, seed=1)
    (tmp_path / "cutouts" / "mine.png").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"mine\.png"):
        write_sample_pack(tmp_path, scenes=3, cutouts=2, seed=1)
    assert contents(tmp_path) == {**before, "cutouts/mine.png": b"mine"}


@pytest.mark.parametrize("name", ["licences.csv", "label.json"])
def test_a_pack_writes_over_no_table_of_others(tmp_path: Path, name: str) -> None:
    table = tmp_path / "cutouts" / name
    table.parent.mkdir()
    table.write_bytes(b"file,source,licence\ndog.png,my camera,CC-BY-4.0\n")
    before = contents(tmp_path)
    with pytest.raises(StorageError, match=name):
        write_sample_pack(tmp_path, scenes=0, cutouts=1)
    assert contents(tmp_path) == before


def test_a_pack_without_pictures_can_be_added_to(tmp_path: Path) -> None:
    write_sample_pack(tmp_path, scenes=0, cutouts=0)
    made = write_sample_pack(tmp_path, scenes=0, cutouts=1)
    assert len((made.cutouts / "licences.csv").read_text().splitlines()) == 2


def test_wrong_requests_name_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outdoor, indoor"):
        render_scene("moon", 0, *SMALL)
    with pytest.raises(UsageError, match="quadruped, object, person"):
        render_cutout("moon", 0, 64)
    with pytest.raises(UsageError, match="seed"):
        render_scene("indoor", -1, *SMALL)
    with pytest.raises(UsageError, match="16 px"):
        render_scene("indoor", 0, 8, 64)
    with pytest.raises(UsageError, match="16 px"):
        render_cutout("object", 0, 4)
    with pytest.raises(UsageError, match=r"not families of scenes.* outdoor"):
        write_sample_pack(tmp_path, scenes=1, cutouts=0, families=["moon"])
    with pytest.raises(UsageError, match="scenes=-1"):
        write_sample_pack(tmp_path, scenes=-1, cutouts=0)
    (tmp_path / "cutouts").write_text("a file where a folder should be")
    with pytest.raises(StorageError):
        write_sample_pack(tmp_path, scenes=0, cutouts=1)
