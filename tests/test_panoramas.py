"""Panoramas: their views, how they are recognised, split, labelled and rendered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from command_line import Run
from maskdepth.datasets.build import Dataset, compose_dataset, materialise, open_dataset
from maskdepth.datasets.label_dataset import label_dataset
from maskdepth.errors import AssetError
from maskdepth.images import load_picture, save_jpeg, save_png
from maskdepth.labelling.label_pictures import label_folder
from maskdepth.labelling.teachers.recorded import SensorDepth
from maskdepth.synthesis.assets import BackgroundAsset, scan_backgrounds
from maskdepth.synthesis.panoramas import View, draw_view, explain_no_panorama, render_view
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import plan_rules
from maskdepth.synthesis.spec import DatasetSpec, load_spec
from maskdepth.synthesis.splits import assign_splits
from pictures import photo
from test_labels import Leveller, cutout

Colours = Callable[[NDArray[np.float64]], NDArray[np.float64]]

AHEAD = View(yaw=0, pitch=0, roll=0, fov=70)
SHA256 = "0123456789abcdef" * 4


def by_axes(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Red grows to the right, green upwards, blue ahead."""
    return (direction * (1, -1, 1) + 1) / 2 * 255


def waves(seed: int) -> Colours:
    """Colours that change along random directions, unlike those of any other seed."""
    rng = np.random.default_rng(seed)
    along, fast = rng.normal(size=(3, 40)), rng.uniform(2, 14, 40)
    strong = rng.uniform(-30, 30, (40, 3))
    return lambda direction: 128 + np.sin(direction @ (along * fast) + seed) @ strong


def panorama(colours: Colours, height: int = 256) -> NDArray[np.uint8]:
    """An equirectangular picture of a world that has a colour in each direction."""
    longitude = ((np.arange(2 * height) + 0.5) / height - 1) * np.pi
    latitude = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    across, up = np.meshgrid(longitude, latitude)
    direction = [np.sin(across) * np.cos(up), -np.sin(up), np.cos(across) * np.cos(up)]
    return np.clip(np.rint(colours(np.stack(direction, -1))), 0, 255).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Six cutouts, and six backgrounds of which two are panoramas."""
    for seed in range(6):
        save_png(tmp_path / "cutouts" / f"cutout_{seed}.png", cutout(100 + seed))
    for seed in range(4):
        save_jpeg(tmp_path / "backgrounds" / f"photo_{seed}.jpg", photo(seed))
    for seed in range(2):
        path = tmp_path / "backgrounds" / "panoramas" / f"around_{seed}.png"
        save_png(path, panorama(waves(seed)))
    return tmp_path / "cutouts", tmp_path / "backgrounds"


@pytest.fixture
def dataset(folders: tuple[Path, Path], tmp_path: Path) -> Dataset:
    return compose_dataset(*folders, tmp_path / "dataset", small=True, depth_scenes=0, views=3)


def views_of(spec: DatasetSpec) -> list[BackgroundAsset]:
    return [asset for asset in spec.backgrounds if asset.view is not None]


# Views


@given(
    st.floats(0, 359), st.floats(-60, 60), st.floats(-20, 20), st.floats(20, 110),
    st.integers(0, 59), st.integers(0, 79),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_views_pixel_has_the_colour_of_its_direction(
    yaw: float, pitch: float, roll: float, fov: float, row: int, column: int
) -> None:
    """With a positive roll the camera turns clockwise, and what it sees the other way."""
    view = View(yaw=yaw, pitch=pitch, roll=roll, fov=fov)
    taken = render_view(panorama(by_axes), view, 60, 80)
    reach = np.tan(np.radians(fov) / 2)
    ray = [(column + 0.5 - 40) / 40 * reach, (row + 0.5 - 30) / 40 * reach, 1]
    turned = Rotation.from_euler("YXZ", [yaw, pitch, roll], degrees=True).apply(ray)
    expected = by_axes(turned / np.linalg.norm(turned))
    np.testing.assert_allclose(taken[row, column], expected, atol=4)


def test_looking_right_by_90_degrees_is_a_panorama_moved_by_a_quarter() -> None:
    around = panorama(waves(1))
    moved = np.roll(around, -around.shape[1] // 4, axis=1)
    right = render_view(around, AHEAD.model_copy(update={"yaw": 90}), 90, 120)
    np.testing.assert_array_equal(right, render_view(moved, AHEAD, 90, 120))


def test_detail_finer_than_a_views_pixels_becomes_its_mean() -> None:
    checks = (np.indices((1024, 2048)).sum(axis=0) % 2 * 255).astype(np.uint8)
    taken = render_view(np.dstack([checks] * 3), View(yaw=20, pitch=20, roll=5, fov=80), 60, 80)
    assert np.abs(taken.astype(int) - 127).max() < 12


@given(st.integers(0, 2**63 - 1), st.integers(0, 500))
@settings(deadline=None)
def test_a_drawn_view_keeps_away_from_the_poles(seed: int, number: int) -> None:
    view = draw_view(seed, SHA256, number)
    half = np.degrees(np.arctan(np.tan(np.radians(view.fov) / 2) * 3 / 4))
    assert abs(view.pitch) <= 35
    assert abs(view.pitch) + half <= 70.02
    assert view == draw_view(seed, SHA256, number)
    assert view != draw_view(seed, SHA256[1:] + "0", number)


@pytest.mark.parametrize("count", [4, 8, 13])
def test_views_look_all_around(count: int) -> None:
    yaws = np.sort([draw_view(7, SHA256, number).yaw for number in range(count)])
    gaps = np.diff([*yaws, yaws[0] + 360])
    assert gaps.max() < 2 * 360 / count


def test_a_views_middle_has_the_panoramas_resolution() -> None:
    """One degree in the middle of a view is as many pixels as in the panorama."""
    view = View(yaw=0, pitch=0, roll=0, fov=90)
    height, width = view.size(3600)
    assert width / 2 * np.tan(np.radians(1)) == pytest.approx(10, rel=0.01)
    assert width / height == pytest.approx(4 / 3, rel=0.01)
    assert view.focal == pytest.approx(0.5)


# What is a panorama


def test_a_panorama_is_flagged_by_its_folder_or_by_a_table_alone(tmp_path: Path) -> None:
    around = panorama(waves(3))
    names = ("wide.png", "flagged.png", "panoramas/inside.png", "panoramas/ordinary.png")
    for number, name in enumerate(names):
        save_png(tmp_path / "pictures" / name, panorama(waves(number)))
    (tmp_path / "pictures" / "licences.csv").write_text(
        "file,source,licence,projection\n"
        "flagged.png,me,CC0,equirectangular\n"
        "wide.png,me,CC0,\n"
        "panoramas/ordinary.png,me,CC0,perspective\n"
    )
    assets, findings = scan_backgrounds(tmp_path / "pictures", views=2)
    assert not findings
    found = {asset.id: (asset.view is not None, asset.licence) for asset in assets}
    assert found == {
        "flagged@view00": (True, "CC0"),
        "flagged@view01": (True, "CC0"),
        "inside@view00": (True, None),
        "inside@view01": (True, None),
        "ordinary": (False, "CC0"),
        "wide": (False, "CC0"),
    }
    save_png(tmp_path / "panoramas" / "alone.png", around)
    assert len(scan_backgrounds(tmp_path / "panoramas", views=5)[0]) == 5


def test_a_projection_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    save_png(tmp_path / "wide.png", panorama(waves(3)))
    (tmp_path / "licences.csv").write_text("file,projection\nwide.png,fisheye\n")
    ((asset,), (finding,)) = scan_backgrounds(tmp_path)
    assert asset.view is None
    assert "wide.png has the projection 'fisheye', which is none of" in str(finding)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (panorama(waves(4))[:, :300], "300x256 is not twice as wide as high"),
        (panorama(waves(4), 512)[128:384, 256:768], "its left and right edges do not meet"),
        (panorama(waves(4), 128), "256x128, a panorama has at least 512x256 px"),
    ],
)
def test_what_is_no_panorama_is_dropped_with_one_sentence(
    tmp_path: Path, picture: NDArray[np.uint8], sentence: str
) -> None:
    save_png(tmp_path / "panoramas" / "none.png", picture)
    save_png(tmp_path / "photo.png", photo(1))
    assets, (finding,) = scan_backgrounds(tmp_path)
    assert [asset.id for asset in assets] == ["photo"]
    assert sentence in str(finding)
    assert finding.dropped
    with pytest.raises(AssetError, match="Not all backgrounds"):
        scan_backgrounds(tmp_path, strict=True)


def test_edges_meet_wherever_a_panorama_is_cut(shared_data: Path) -> None:
    files = sorted((shared_data / "panoramas").glob("*.jpg"))[::12]
    if not files:
        pytest.skip("no panoramas in ../shared/data")
    for file in files:
        around = load_picture(file)
        assert explain_no_panorama(np.roll(around, around.shape[1] // 3, axis=1)) == ""


# Splits


@given(st.integers(1, 4), st.integers(0, 2**32))
@settings(max_examples=6, deadline=None)
def test_all_views_of_a_panorama_are_in_one_split(
    tmp_path_factory: pytest.TempPathFactory, views: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("pictures") / "panoramas"
    for number in range(4):
        save_png(folder / f"{number}.png", panorama(waves(seed + number)))
    assets, findings = scan_backgrounds(folder, views=views, seed=seed)
    assert not findings
    split = assign_splits(assets, small=True)
    by_file = {
        asset.file: {each.split for each in split if each.file == asset.file} for asset in split
    }
    assert len(split) == 4 * views
    assert all(len(splits) == 1 for splits in by_file.values())
    assert set.union(*by_file.values()) == {"train", "val", "test"}


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_photo_of_a_panoramas_place_is_in_its_group(tmp_path: Path, mirrored: bool) -> None:
    """Also where it is one side of a cube, saved again and tinted."""
    for seed in range(3):
        save_png(tmp_path / "panoramas" / f"around_{seed}.png", panorama(waves(seed)))
    save_png(tmp_path / "elsewhere.png", photo(1))
    side = render_view(panorama(waves(1)), View(yaw=217, pitch=0, roll=0, fov=90), 200, 200)
    tinted = np.clip(side * [0.95, 1, 1.04], 0, 255).astype(np.uint8)
    save_jpeg(tmp_path / "side.jpg", tinted[:, ::-1] if mirrored else tinted)
    assets, (finding,) = scan_backgrounds(tmp_path, views=1)
    groups = {asset.id: asset.group for asset in assets}
    assert groups["side"] == groups["around_1@view00"]
    assert len(set(groups.values())) == 4
    assert finding.file.endswith("side.jpg")
    assert "it shows a part of" in str(finding)


def test_a_panorama_that_begins_elsewhere_is_the_same_place(tmp_path: Path) -> None:
    around = panorama(waves(5))
    save_png(tmp_path / "panoramas" / "one.png", around)
    save_png(tmp_path / "panoramas" / "turned.png", np.roll(around, 130, axis=1))
    save_png(tmp_path / "panoramas" / "other.png", panorama(waves(6)))
    groups = {asset.id: asset.group for asset in scan_backgrounds(tmp_path, views=1)[0]}
    assert groups["one@view00"] == groups["turned@view00"] != groups["other@view00"]


def test_panoramas_with_sky_above_ground_are_not_near_duplicates_for_that(tmp_path: Path) -> None:
    for seed in range(2):
        details = (panorama(waves(seed)).astype(float) - 128) / 4
        sky_above_ground = np.where(
            np.arange(256)[:, None, None] < 128, [190, 200, 230], [80, 60, 40]
        )
        picture = np.clip(details + sky_above_ground, 0, 255).astype(np.uint8)
        save_png(tmp_path / "panoramas" / f"{seed}.png", picture)
    assets, findings = scan_backgrounds(tmp_path, views=1)
    assert not findings
    assert len({asset.group for asset in assets}) == 2


# Datasets


def test_views_are_recorded_and_rendered_from_the_panorama(dataset: Dataset) -> None:
    views = views_of(open_dataset(dataset.folder).spec)
    assert [asset.id for asset in views[:3]] == [f"around_0@view0{number}" for number in range(3)]
    assert "6 of the backgrounds are views of 2 panoramas" in list(dataset.describe())
    catalogue = dataset.spec.catalogue(dataset.folder)
    for asset in views:
        assert asset.view is not None
        assert asset.view == draw_view(0, asset.sha256, int(asset.id[-2:]))
        assert asset.focal == pytest.approx(asset.view.focal, abs=1e-4)
        around = load_picture(dataset.folder / asset.file)
        expected = render_view(around, asset.view, asset.height, asset.width)
        np.testing.assert_array_equal(catalogue.background(asset.id), expected)


def test_more_views_leave_those_before_as_they_are(folders: tuple[Path, Path]) -> None:
    few, many = (scan_backgrounds(folders[1], views=count, seed=4)[0] for count in (2, 5))
    assert len(many) == len(few) + 6
    assert all(asset in many for asset in few)


def test_each_view_is_labelled_once_and_stands_for_itself(dataset: Dataset) -> None:
    teacher = Leveller()
    label_dataset(dataset, teacher)
    labelled = open_dataset(dataset.folder)
    assert teacher.seen == 4 + 6
    views = views_of(labelled.spec)
    assert len({asset.disparity for asset in views}) == 6
    assert all(asset.ground and asset.split == views[0].split for asset in views[:3])
    catalogue = labelled.spec.catalogue(labelled.folder)
    for asset in views:
        disparity = catalogue.disparity(asset.id)
        assert disparity is not None
        assert disparity.shape == (asset.height, asset.width)
    label_dataset(labelled, teacher)
    assert teacher.seen == 4 + 6


def test_composites_stand_on_views(dataset: Dataset) -> None:
    label_dataset(dataset, Leveller())
    spec = load_spec(dataset.folder)
    rules = plan_rules("field", None, 64)
    catalogue = spec.catalogue(dataset.folder, 64)
    names = {asset.id for asset in views_of(spec)}
    split = next(asset.split for asset in views_of(spec) if asset.split == "train") or "train"
    recipes = list(sample_recipes(rules, spec.pool("train", split), 0, 0, 40))
    on_views = [recipe for recipe in recipes if recipe.background in names]
    assert on_views
    assert any(each.standing for recipe in on_views for each in recipe.objects)
    assert render(on_views[0], 64, catalogue).disparity is not None


def test_shards_hold_the_plates_of_each_view(dataset: Dataset) -> None:
    materialise(dataset, 40, shard_size=20, workers=1)
    stored = {path.name.rsplit("-", 1)[0] for path in (dataset.folder / "plates").glob("*.png")}
    trained = {asset.content_name for asset in dataset.spec.backgrounds if asset.split == "train"}
    assert stored == trained
    assert any("-" in name for name in stored)


def test_depth_beside_a_panorama_is_not_taken_for_that_of_its_views(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    depth = np.linspace(1, 5, 256 * 512).reshape(256, 512).astype(np.float32)
    np.save(folders[1] / "panoramas" / "around_0_depth.npy", depth)
    save_png(folders[1] / "panoramas" / "around_1_disparity.png", (depth * 9000).astype(np.uint16))
    dataset = compose_dataset(*folders, tmp_path / "dataset", small=True, depth_scenes=0)
    (finding,) = dataset.findings
    assert "depth of a panorama is not supported" in str(finding)
    assert not any(asset.disparity for asset in dataset.spec.backgrounds)
    with pytest.raises(AssetError, match="depth"):
        label_dataset(dataset, SensorDepth())


def test_a_folder_of_labels_leaves_panoramas_out(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    lines: list[str] = []
    run = label_folder(folders[1], Leveller(), tmp_path / "labels", notify=lines.append)
    assert len(run.results) == 4
    assert [line for line in lines if line.startswith("2 panoramas are left out")]


def test_a_spec_older_than_panoramas_is_the_same_dataset(dataset: Dataset) -> None:
    spec = dataset.spec.model_copy(
        update={"backgrounds": tuple(each for each in dataset.spec.backgrounds if not each.view)}
    )
    old = json.loads(spec.model_dump_json())
    for asset in old["backgrounds"]:
        del asset["view"]
    assert DatasetSpec.parse(old, "an old spec").fingerprint == spec.fingerprint
    turned = dataset.spec.backgrounds[0].model_copy(update={"view": AHEAD})
    changed = spec.model_copy(update={"backgrounds": (turned, *spec.backgrounds[1:])})
    assert changed.fingerprint != spec.fingerprint


def test_compose_takes_panoramas_at_once(
    run: Run, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "composed"
    done = run("compose", *folders, "-o", output, "--small", "--views", "2", "--depth-scenes", "0")
    assert done.code == 0
    assert "4 of the backgrounds are views of 2 panoramas" in done.err
    assert len(load_spec(output).backgrounds) == 8
