"""Assets: what the check says of each file, splits that do not leak, and working copies."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import signal
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from maskdepth.depth import encode_disparity
from maskdepth.errors import AssetError, DatasetError
from maskdepth.files import file_checksum
from maskdepth.images import load_cutout, load_picture, premultiply, resize, save_jpeg, save_png
from maskdepth.labelling.labels import LabelRecord
from maskdepth.synthesis.assets import (
    BackgroundAsset,
    CutoutAsset,
    Finding,
    scan_backgrounds,
    scan_cutouts,
)
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.checks import LABEL_RECORD_FORMAT, alpha_box
from maskdepth.synthesis.duplicates import Thumbnail, near_duplicates
from maskdepth.synthesis.premultiplied import is_premultiplied, load_straight_cutout
from maskdepth.synthesis.splits import assign_splits
from pictures import photo

RAMP = np.tile(np.linspace(0.2, 0.9, 96)[:, None], (1, 128))  # of ground that comes nearer


def drawn_cutout(
    seed: int, height: int = 60, width: int = 80, margin: int = 4
) -> NDArray[np.uint8]:
    """An ellipse of random colours, with a soft edge and an empty margin around its box."""
    rows, columns = np.mgrid[0:height, 0:width]
    radius = np.hypot(
        (rows - (height - 1) / 2) / (height / 2), (columns - (width - 1) / 2) / (width / 2)
    )
    alpha = (np.clip((1 - radius) * 8, 0, 1) * 255).astype(np.uint8)
    cutout = np.dstack([photo(seed, height, width), alpha])
    return np.pad(cutout, ((margin, margin), (margin, margin), (0, 0)))


def with_alpha(alpha: int | NDArray[Any]) -> NDArray[np.uint8]:
    cutout = drawn_cutout(99)
    cutout[..., 3] = alpha
    return cutout


@pytest.fixture
def cutouts(tmp_path: Path) -> Path:
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for seed in range(5):
        save_png(folder / f"cutout_{seed}.png", drawn_cutout(seed))
    return folder


@pytest.fixture
def backgrounds(tmp_path: Path) -> Path:
    folder = tmp_path / "backgrounds"
    folder.mkdir()
    for seed in range(5):
        save_jpeg(folder / f"photo_{seed}.jpg", photo(seed))
    return folder


# The check


def test_usable_cutouts_are_described(cutouts: Path) -> None:
    assets, findings = scan_cutouts(cutouts)
    assert findings == []
    assert [asset.id for asset in assets] == [f"cutout_{seed}" for seed in range(5)]
    first = assets[0]
    visible = drawn_cutout(0)[..., 3] >= 13
    assert first.height == np.flatnonzero(visible.any(axis=1)).size
    assert first.width == np.flatnonzero(visible.any(axis=0)).size
    mask = drawn_cutout(0)[..., 3] > 127
    assert first.alpha_share == pytest.approx(mask.sum() / (first.width * first.height))
    assert Path(first.file) == cutouts / "cutout_0.png"
    assert (first.split, first.relief, first.group) == (None, None, first.sha256)


def test_usable_backgrounds_are_described(backgrounds: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(7)).save(backgrounds / "turned.jpg", exif=exif)
    assets, findings = scan_backgrounds(backgrounds, origin="sample")
    assert findings == []
    assert [(asset.width, asset.height) for asset in assets] == [(128, 96)] * 5 + [(96, 128)]
    assert {(asset.origin, asset.disparity, asset.label) for asset in assets} == {
        ("sample", None, None)
    }


def spoil(path: Path, how: str) -> None:
    whole = Path(path.parent / "cutout_0.png").read_bytes()
    corner = np.zeros((68, 88), np.uint8)
    corner[:15, :40] = 255
    haze = drawn_cutout(9)
    haze[..., 3] //= 2
    if how == "photo":
        save_png(path, photo(9))
    elif how in {"empty file", "text", "truncated", "copy"}:
        contents = {"empty file": b"", "text": b"no picture", "truncated": whole[: len(whole) // 2]}
        path.write_bytes(contents.get(how, whole))
    elif how == "bomb":
        Image.new("1", (12_000, 10_000)).save(path)
    elif how == "pipe":
        os.mkfifo(path)
    else:
        shapes: dict[str, int | NDArray[Any]] = {
            "empty": 0,
            "opaque": 255,
            "even": 128,
            "watermark": 120,
            "small": corner,
        }
        save_png(path, haze if how == "haze" else with_alpha(shapes[how]))


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("text", "unreadable"),
        ("truncated", "unreadable"),
        ("empty file", "unreadable"),
        ("pipe", "unreadable"),
        ("bomb", "too large"),
        ("photo", "no alpha"),
        ("empty", "empty alpha"),
        ("opaque", "opaque everywhere"),
        ("even", "semi-transparent box"),
        ("watermark", "semi-transparent box"),
        ("haze", "semi-transparent box"),
        ("small", "too small"),
        ("copy", "duplicate"),
    ],
)
def test_each_unusable_cutout_is_dropped_by_name(cutouts: Path, how: str, problem: str) -> None:
    """What cannot be used is named with its problem, and stops a strict scan."""
    spoil(cutouts / "spoilt.png", how)
    assets, findings = scan_cutouts(cutouts)
    assert len(assets) == 5
    assert [(finding.problem, finding.dropped) for finding in findings] == [(problem, True)]
    assert findings[0].file == str(cutouts / "spoilt.png")
    with pytest.raises(AssetError, match=r"spoilt\.png: " + problem):
        scan_cutouts(cutouts, strict=True)


@pytest.mark.parametrize(("side", "usable"), [(63, False), (64, True)])
def test_small_backgrounds_are_dropped(backgrounds: Path, side: int, usable: bool) -> None:
    save_png(backgrounds / "small.png", photo(8, side, 200))
    assets, findings = scan_backgrounds(backgrounds)
    assert ("small" in {asset.id for asset in assets}) == usable
    assert [finding.problem for finding in findings] == ([] if usable else ["too small"])


def test_a_background_may_have_any_mode(backgrounds: Path) -> None:
    save_png(backgrounds / "rgba.png", drawn_cutout(8, 100, 120))
    assets, _ = scan_backgrounds(backgrounds)
    assert "rgba" in {asset.id for asset in assets}


def test_a_file_without_permission_is_unreadable(cutouts: Path, monkeypatch: Any) -> None:
    secret = cutouts / "cutout_2.png"
    real = open

    def fail(path: Any, *more: Any, **named: Any) -> Any:
        if path == secret:
            raise PermissionError(13, "Permission denied")
        return real(path, *more, **named)

    monkeypatch.setattr("builtins.open", fail)
    assets, findings = scan_cutouts(cutouts)
    assert len(assets) == 4
    assert str(findings[0]) == f"{secret}: unreadable (Permission denied), dropped"


def test_formats_of_phones_are_not_passed_over_in_silence(backgrounds: Path) -> None:
    (backgrounds / "phone.HEIC").write_bytes(b"\0\0\0 ftypheic")
    _, findings = scan_backgrounds(backgrounds)
    assert findings[0].problem == "unreadable"
    assert "JPEG" in findings[0].detail


def test_other_files_are_not_assets(backgrounds: Path) -> None:
    for name in ("photo_0_disparity.png", "photo_0_depth_mm.png", "x_relief.png"):
        save_png(backgrounds / name, encode_disparity(RAMP))
    for name in ("label.json", "Thumbs.db", "._photo_0.jpg", "notes.txt"):
        (backgrounds / name).write_text('{"kind": "exact"}')
    (backgrounds / "licences.csv").write_text("file,source,licence\n")
    (backgrounds / ".trash").mkdir()
    save_jpeg(backgrounds / ".trash" / "gone.jpg", photo(5))
    assets, findings = scan_backgrounds(backgrounds)
    assert [asset.id for asset in assets] == [f"photo_{seed}" for seed in range(5)]
    assert findings == []


def test_folders_below_are_scanned_and_ids_stay_unique(cutouts: Path) -> None:
    (cutouts / "more").mkdir()
    save_png(cutouts / "more" / "cutout_0.png", drawn_cutout(10))
    save_png(cutouts / "more" / "cutout_9.png", drawn_cutout(11))
    Image.fromarray(drawn_cutout(12)).save(cutouts / "cutout_0.webp", lossless=True)
    assets, _ = scan_cutouts(cutouts)
    assert sorted(asset.id for asset in assets) == [
        "cutout_0.png",
        "cutout_0.webp",
        *[f"cutout_{seed}" for seed in (1, 2, 3, 4, 9)],
        "more/cutout_0",
    ]


def test_a_folder_without_usable_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk").mkdir()
    save_png(tmp_path / "junk" / "photo.png", photo(0))
    for name, got in [
        ("missing", "There is no folder"),
        ("file", "a file"),
        ("empty", "no pictures"),
        ("junk", "no alpha"),
    ]:
        with pytest.raises(AssetError, match=got) as caught:
            scan_cutouts(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_folder_that_may_not_be_read_is_an_error(cutouts: Path, monkeypatch: Any) -> None:
    scandir = os.scandir

    def fail(path: Any) -> Any:
        if Path(path) == cutouts:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(AssetError, match="Permission denied"):
        scan_cutouts(cutouts)


def test_a_finding_is_one_line() -> None:
    finding = Finding("a.png", "unreadable", "first\n  second", True)
    assert str(finding) == "a.png: unreadable (first second), dropped"
    assert str(Finding("a.png", "near-duplicate", "x", False)).endswith(", kept")


def test_licences_are_found_in_the_folder_and_above_it(cutouts: Path) -> None:
    """The nearest table that names a file counts; what no table names has no licence."""
    (cutouts / "licences.csv").write_text(
        "\ufefffile,source,licence\ncutout_0.png,me,CC0-1.0\n", "utf-8"
    )
    (cutouts.parent / "licences.csv").write_text(
        "file,source,licence\ncutouts/cutout_0.png,other,X\ncutouts/cutout_1.png,you,GPL-2\n"
    )
    assets, _ = scan_cutouts(cutouts)
    assert [(asset.source, asset.licence) for asset in assets[:3]] == [
        ("me", "CC0-1.0"),
        ("you", "GPL-2"),
        (None, None),
    ]


# Labels


def test_labels_beside_pictures_are_found(backgrounds: Path, cutouts: Path) -> None:
    save_png(backgrounds / "photo_1_disparity.png", encode_disparity(RAMP))
    (backgrounds / "label.json").write_text('{"kind": "sensor"}')
    save_png(cutouts / "cutout_3_relief.png", np.full((68, 88), 128, np.uint8))
    photos, findings = scan_backgrounds(backgrounds)
    shapes, more = scan_cutouts(cutouts)
    assert findings + more == []
    assert [asset.label for asset in photos] == [None, "sensor", None, None, None]
    assert photos[1].disparity == (backgrounds / "photo_1_disparity.png").as_posix()
    assert [asset.relief is not None for asset in shapes] == [False, False, False, True, False]


@pytest.mark.parametrize(
    "label",
    [
        np.full((96, 128), 200, np.uint8),
        np.zeros((96, 128), np.uint16),
        np.full((96, 96), 9, np.uint16),
        np.full((96, 128), 9, np.uint16),
        None,
    ],
    ids=["8-bit", "all invalid", "other shape", "constant", "text"],
)
def test_an_unusable_label_is_left_and_its_picture_kept(
    backgrounds: Path, label: NDArray[Any] | None
) -> None:
    path = backgrounds / "photo_0_disparity.png"
    if label is None:
        path.write_text("no picture")
    else:
        save_png(path, label)
    assets, findings = scan_backgrounds(backgrounds, strict=True)
    assert assets[0].disparity is None
    assert [(f.file, f.problem, f.dropped) for f in findings] == [
        (str(path), "label unusable", False)
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": 3}', "{}"])
def test_a_damaged_label_file_leaves_the_kind_unknown(backgrounds: Path, text: str) -> None:
    save_png(backgrounds / "photo_1_disparity.png", encode_disparity(RAMP))
    (backgrounds / "label.json").write_text(text)
    assets, findings = scan_backgrounds(backgrounds)
    assert (assets[1].disparity is not None, assets[1].label) == (True, None)
    assert [finding.problem for finding in findings] == ["label unusable"]


# Near-duplicates


def recoded(picture: NDArray[np.uint8], how: str) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    copies: dict[str, NDArray[np.uint8]] = {
        "mirrored": picture[:, ::-1],
        "shrunk": resize(picture, height * 2 // 3, width * 2 // 3),
        "brighter": np.clip(picture * 1.1, 0, 255).astype(np.uint8),
        "cropped": picture[height // 40 :, : width - width // 40],
    }
    return copies[how]


@pytest.mark.parametrize("how", ["mirrored", "shrunk", "brighter", "cropped"])
def test_near_duplicates_are_kept_in_one_group(backgrounds: Path, how: str) -> None:
    save_png(backgrounds / "copy.png", recoded(photo(3, 240, 320), how))
    save_png(backgrounds / "photo_3.png", photo(3, 240, 320))
    (backgrounds / "photo_3.jpg").unlink()
    assets, findings = scan_backgrounds(backgrounds, strict=True)
    groups = {asset.id: asset.group for asset in assets}
    assert groups["copy"] == groups["photo_3"]
    assert len(set(groups.values())) == 5
    assert [(f.problem, f.dropped) for f in findings] == [("near-duplicate", False)]
    assert ("mirrored" in findings[0].detail) == (how == "mirrored")


def test_many_alike_pictures_are_told_of_one_by_one() -> None:
    """A line a picture and not a pair; chains of pairs hold a group together."""
    noise = np.random.default_rng(0)
    base, other = (noise.integers(0, 256, (16, 16, 3)).astype(np.float32) for _ in range(2))
    steps = [base + (other - base) * share for share in (0, 1, 0.2, 0.4, 0.6, 0.8)]
    chain = [Thumbnail(step.astype(np.float32), 0.0) for step in steps]
    groups, pairs = near_duplicates(chain)
    assert groups == [0] * 6
    assert len(pairs) == 4  # all but the first two, which are alike by the others alone
    groups, pairs = near_duplicates(chain[:2] + chain[:1] * 600)
    assert groups == [0, 1] + [0] * 600
    assert [(pair.first, pair.second) for pair in pairs] == [(0, place) for place in range(2, 602)]


def test_files_whose_names_nest_have_ids_of_their_own(backgrounds: Path) -> None:
    """A converter's x.png.png has the stem that x.png has as its whole name."""
    for seed, name in enumerate(("x.png", "x.png.png", "x.bmp"), start=20):
        Image.fromarray(photo(seed)).save(backgrounds / name)
    ids = [asset.id for asset in scan_backgrounds(backgrounds)[0]]
    assert len(set(ids)) == len(ids) == 8


def test_linked_folders_are_looked_into_once(backgrounds: Path, tmp_path: Path) -> None:
    save_png(tmp_path / "elsewhere" / "far.png", photo(30))
    (backgrounds / "a link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (backgrounds / "again").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (backgrounds / "round").symlink_to(backgrounds, target_is_directory=True)
    assets, findings = scan_backgrounds(backgrounds)
    assert [asset.id for asset in assets if "photo" not in asset.id] == ["far"]
    assert (len(assets), findings) == (6, [])


@pytest.mark.parametrize(
    "table", [b"no table", b"a,b\n1,2\n", b"file;source\n", "file,licence\né,CC0".encode("cp1252")]
)
def test_a_table_of_licences_that_cannot_be_read_is_told(backgrounds: Path, table: bytes) -> None:
    (backgrounds / "licences.csv").write_bytes(table)
    assets, findings = scan_backgrounds(backgrounds)
    assert [(f.problem, f.dropped) for f in findings] == [("licences unusable", False)]
    assert {asset.licence for asset in assets} == {None}


def test_a_mirrored_cutout_is_a_near_duplicate(cutouts: Path) -> None:
    mirrored = drawn_cutout(1)[:, ::-1].copy()
    mirrored[mirrored[..., 3] == 0, :3] = (255, 0, 255)
    save_png(cutouts / "mirrored.png", mirrored)
    assets, _ = scan_cutouts(cutouts)
    groups = {asset.id: asset.group for asset in assets}
    assert groups["mirrored"] == groups["cutout_1"]
    assert groups["mirrored"] == min(a.sha256 for a in assets if a.group == groups["mirrored"])


def test_flat_pictures_of_other_colours_are_not_alike(tmp_path: Path) -> None:
    """A white wall and a grey one have no content to compare, but they differ."""
    for level in (60, 61, 128, 250):
        save_png(tmp_path / f"{level}.png", np.full((80, 80, 3), level, np.uint8))
    groups = {asset.id: asset.group for asset in scan_backgrounds(tmp_path)[0]}
    assert groups["60"] == groups["61"]
    assert len(set(groups.values())) == 3


# Splits


def made_assets(contents: list[int], prefix: str = "a") -> list[CutoutAsset]:
    return [
        CutoutAsset(
            id=f"{prefix}{place}",
            file=f"{prefix}{place}.png",
            sha256=f"{content:064x}",
            width=20,
            height=20,
            group=f"{content // 2:064x}",
            alpha_share=0.5,
        )
        for place, content in enumerate(contents)
    ]


def split_by_content(assets: list[CutoutAsset]) -> dict[str, str | None]:
    return {asset.sha256: asset.split for asset in assets}


drawn_contents = st.lists(st.integers(0, 2**60), max_size=100, unique=True)


@settings(max_examples=30, deadline=None)
@given(some=drawn_contents, more=drawn_contents, order=st.randoms())
def test_names_order_and_other_files_never_move_an_asset(
    some: list[int], more: list[int], order: Any
) -> None:
    contents = list({*range(100), *some})  # a hundred fill every split
    before = split_by_content(assign_splits(made_assets(contents)))
    joined = list({*contents, *more})
    order.shuffle(joined)
    after = split_by_content(assign_splits(made_assets(joined, "renamed")))
    assert {sha256: after[sha256] for sha256 in before} == before


@settings(max_examples=30, deadline=None)
@given(
    contents=st.lists(st.integers(0, 400), min_size=12, max_size=200, unique=True),
)
def test_no_group_stands_in_two_splits(contents: list[int]) -> None:
    assets = made_assets(contents)
    split = assign_splits(assets, small=True)
    splits_of: dict[str, set[str | None]] = {}
    for asset in split:
        splits_of.setdefault(asset.group, set()).add(asset.split)
    assert {len(splits) for splits in splits_of.values()} == {1}
    assert set.union(*splits_of.values()) == {"train", "val", "test"}
    assert [asset.model_copy(update={"split": None}) for asset in split] == assets


def test_shares_are_about_70_15_15() -> None:
    split = assign_splits(made_assets(list(range(0, 8000, 2))))
    share = {name: sum(a.split == name for a in split) / len(split) for name in ("val", "test")}
    assert share["val"] == pytest.approx(0.15, abs=0.02)
    assert share["test"] == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize(("groups", "sizes"), [(3, (1, 1, 1)), (5, (3, 1, 1)), (20, (14, 3, 3))])
def test_small_fills_every_split(groups: int, sizes: tuple[int, int, int]) -> None:
    split = assign_splits(made_assets([2 * content for content in range(groups)]), small=True)
    counts = tuple(sum(a.split == name for a in split) for name in ("train", "val", "test"))
    assert counts == sizes


def test_the_split_is_frozen() -> None:
    """The salt and the hash are part of every published figure: they do not change."""
    split = assign_splits(made_assets([2 * content for content in range(16)]))
    places = {
        name: [place for place, asset in enumerate(split) if asset.split == name]
        for name in ("val", "test")
    }
    assert places == {"val": [1, 2, 8, 11, 12, 13], "test": [5, 7]}


def test_an_empty_split_says_what_to_do() -> None:
    few = made_assets([0, 2, 4])
    with pytest.raises(AssetError, match="--small"):
        assign_splits(few)
    for small in (False, True):
        with pytest.raises(AssetError, match=r"3 cutouts .* there are 2 among 3\. Add cutouts"):
            assign_splits(made_assets([0, 1, 2]), small=small)


def test_frames_of_one_camera_are_trained_on() -> None:
    for lone in range(2, 40):
        split = assign_splits(made_assets([0] * 9 + [lone, lone + 50]), small=True)
        assert [asset.split for asset in split[:9]] == ["train"] * 9
        assert {asset.split for asset in split[9:]} == {"val", "test"}


def test_assets_survive_json(cutouts: Path, backgrounds: Path) -> None:
    for cutout in assign_splits(scan_cutouts(cutouts)[0], small=True):
        assert CutoutAsset.model_validate_json(cutout.model_dump_json()) == cutout
    for background in scan_backgrounds(backgrounds)[0]:
        assert BackgroundAsset.model_validate_json(background.model_dump_json()) == background
    with pytest.raises(ValueError, match="colour"):
        BackgroundAsset.model_validate({**background.model_dump(), "colour": "red"})


# The catalogue


def catalogue_of(cutouts: Path, backgrounds: Path, **options: Any) -> Catalogue:
    return Catalogue(
        scan_cutouts(cutouts)[0], scan_backgrounds(backgrounds)[0], backgrounds, **options
    )


def test_working_copies_are_the_pictures(cutouts: Path, backgrounds: Path) -> None:
    catalogue = catalogue_of(cutouts, backgrounds)
    found = catalogue.background("photo_2")
    assert np.array_equal(found, load_picture(backgrounds / "photo_2.jpg"))
    rgba, relief = catalogue.cutout("cutout_2", 224)
    asset = catalogue.cutout_asset("cutout_2")
    assert rgba.shape == (asset.height, asset.width, 4)
    assert relief is None
    whole = load_cutout(cutouts / "cutout_2.png")
    left = whole[..., 3].sum(dtype=float) - rgba[..., 3].sum(dtype=float) / 257
    assert 0 <= left < 0.01 * whole[..., 3].sum()
    rows, columns = alpha_box(whole[..., 3])
    expected = np.rint(premultiply(whole[rows, columns]) * 257)
    assert np.abs(rgba - expected).max() <= 1
    assert catalogue.background_asset("photo_2").id == "photo_2"
    assert catalogue.disparity("photo_2") is None


def test_working_copies_are_no_larger_than_needed(cutouts: Path, backgrounds: Path) -> None:
    """Backgrounds shrink to twice the composite's side; each copy by the root of two, or less."""
    save_png(backgrounds / "large.png", photo(20, 300, 700))
    save_png(cutouts / "large.png", drawn_cutout(20, 500, 1000))
    catalogue = catalogue_of(cutouts, backgrounds, size=64)
    assert catalogue.background("large").shape == (128, 299, 3)
    asset = catalogue.cutout_asset("large")
    longest = max(asset.width, asset.height)
    for wanted, steps in ((longest + 9, 0), (longest, 0), (longest // 2, 2), (99, 6), (9, 13)):
        rgba, _ = catalogue.cutout("large", wanted)
        assert max(rgba.shape[:2]) == math.ceil(longest / 2 ** (steps / 2))
        assert max(rgba.shape[:2]) >= min(wanted, longest)
    for wanted, level in ((200, 0), (128, 0), (91, 0), (90, 1), (64, 2)):
        assert catalogue.background_level("large", wanted) == level
        assert min(catalogue.background("large", level).shape[:2]) >= min(wanted, 128)
    rgba, _ = catalogue.cutout("large", 200)
    assert rgba.shape[1] / rgba.shape[0] == pytest.approx(asset.width / asset.height, rel=0.01)


def test_shrinking_a_cutout_makes_no_halo(cutouts: Path, backgrounds: Path) -> None:
    cutout = drawn_cutout(30, 700, 900)
    cutout[..., :3] = np.where(cutout[..., 3:] > 0, (200, 0, 0), (0, 255, 0))
    save_png(cutouts / "red.png", cutout)
    rgba, _ = catalogue_of(cutouts, backgrounds).cutout("red", 300)
    assert rgba[..., 1].max() <= 257


def test_disparity_fits_its_background(cutouts: Path, backgrounds: Path) -> None:
    truth = np.tile(np.linspace(0, 1, 300, dtype=np.float32), (200, 1))
    truth[:50] = np.nan
    save_png(backgrounds / "deep.png", photo(21, 400, 600))
    save_png(backgrounds / "deep_disparity.png", encode_disparity(truth))
    catalogue = catalogue_of(cutouts, backgrounds, size=50)
    disparity = catalogue.disparity("deep")
    assert disparity is not None
    assert disparity.dtype == np.float32
    assert disparity.shape == catalogue.background("deep").shape[:2] == (100, 150)
    assert np.isnan(disparity[:25]).all()
    assert np.allclose(disparity[25:], np.linspace(0, 1, 150), atol=0.01)


def test_focal_lengths_are_read_and_ground_is_found(backgrounds: Path) -> None:
    """What ``label.json`` says of a camera is kept; level ground is found."""
    save_png(backgrounds / "photo_1_disparity.png", encode_disparity(RAMP))
    (backgrounds / "label.json").write_text('{"kind": "exact", "focal": {"photo_1": 0.8}}')
    assets, findings = scan_backgrounds(backgrounds)
    assert findings == []
    assert [asset.focal for asset in assets] == [None, 0.8, None, None, None]
    assert [len(asset.ground) > 0 for asset in assets] == [False, True, False, False, False]
    # The ramp is 0 some 27 rows above the picture.
    above = 95 * 0.2 / 0.7
    for _, y, disparity, unit in assets[1].ground:
        assert unit * 96 == pytest.approx(y * 96 + above, abs=2)
        assert disparity == pytest.approx(0.2 + 0.7 * (y * 96 - 0.5) / 95, abs=0.01)


def test_a_cutouts_foot_is_the_middle_of_its_lowest_row(cutouts: Path) -> None:
    """A leg at the right is where the thing touches the ground."""
    picture = np.zeros((60, 80, 4), np.uint8)
    picture[10:40, 10:70] = 255
    picture[40:50, 60:70] = 255
    save_png(cutouts / "table.png", picture)
    assets, _ = scan_cutouts(cutouts)
    (table,) = [asset for asset in assets if asset.id == "table"]
    assert table.foot == (pytest.approx(55 / 60, abs=1e-4), 1.0)


def test_relief_fits_its_cutout(cutouts: Path, backgrounds: Path) -> None:
    """Relief is trimmed and resized with its cutout; 128 is flat, 255 is 0.5 nearer."""
    codes = np.full((68, 88), 128, np.uint8)
    codes[:, 44:] = 255
    save_png(cutouts / "cutout_1_relief.png", codes)
    rgba, relief = catalogue_of(cutouts, backgrounds).cutout("cutout_1", 224)
    assert relief is not None
    assert relief.shape == rgba.shape[:2]
    assert np.allclose(relief[:, :30], 0)
    assert np.allclose(relief[:, -30:], 0.5)


def test_changed_and_missing_files_are_noticed(cutouts: Path, backgrounds: Path) -> None:
    for seed in (3, 4):
        save_png(backgrounds / f"photo_{seed}_disparity.png", encode_disparity(RAMP))
    catalogue = catalogue_of(cutouts, backgrounds)
    save_png(backgrounds / "photo_3_disparity.png", encode_disparity(RAMP / 2))
    save_png(cutouts / "cutout_0.png", drawn_cutout(50))
    (backgrounds / "photo_0.jpg").unlink()
    (backgrounds / "photo_4_disparity.png").unlink()
    with pytest.raises(DatasetError, match=r"cutout_0\.png"):
        catalogue.cutout("cutout_0", 224)
    with pytest.raises(DatasetError, match=r"photo_0\.jpg"):
        catalogue.background("photo_0")
    for seed in (3, 4):
        with pytest.raises(DatasetError, match=f"photo_{seed}_disparity"):
            catalogue.disparity(f"photo_{seed}")
    with pytest.raises(DatasetError, match="'nobody'"):
        catalogue.background("nobody")
    assert catalogue.background("photo_1").shape == (96, 128, 3)


def test_a_picture_is_read_once_while_it_fits(cutouts: Path, backgrounds: Path) -> None:
    roomy = catalogue_of(cutouts, backgrounds)
    # One 96x128 photo is 36 kB: two fit into 80 kB.
    tight = catalogue_of(cutouts, backgrounds, memory_mb=80_000 / 2**20)
    for catalogue in (roomy, tight):
        for seed in (0, 1, 0, 2):
            catalogue.background(f"photo_{seed}")
    for seed in range(5):
        (backgrounds / f"photo_{seed}.jpg").unlink()
    for seed in range(3):
        roomy.background(f"photo_{seed}")
    tight.background("photo_0")
    tight.background("photo_2")
    with pytest.raises(DatasetError):
        tight.background("photo_1")


def test_a_filled_catalogue_needs_no_files(cutouts: Path, backgrounds: Path) -> None:
    save_png(backgrounds / "photo_3_disparity.png", encode_disparity(RAMP))
    catalogue, later = (catalogue_of(cutouts, backgrounds) for _ in range(2))
    sides = (224, 61, 44, 31)
    expected = [later.cutout("cutout_1", side)[0] for side in sides]
    assert catalogue.fill(2)
    for folder in (cutouts, backgrounds):
        for path in folder.glob("*.*g"):
            path.unlink()
    for side, copy in zip(sides, expected, strict=True):
        assert np.array_equal(catalogue.cutout("cutout_1", side)[0], copy)
    for level in range(catalogue.background_levels("photo_0")):
        catalogue.background("photo_0", level)
    assert catalogue.disparity("photo_3") is not None


def test_a_catalogue_that_cannot_hold_all_reads_nothing_ahead(
    cutouts: Path, backgrounds: Path
) -> None:
    """Half of the assets ahead would only push out the other half."""
    tight = catalogue_of(cutouts, backgrounds, memory_mb=80_000 / 2**20)
    assert not tight.fill(2)
    (backgrounds / "photo_0.jpg").unlink()
    with pytest.raises(DatasetError):
        tight.background("photo_0")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_that_forks_while_a_picture_is_asked_for_goes_on(
    cutouts: Path, backgrounds: Path
) -> None:
    """Nobody is there in the child to let go of a lock that another thread held."""
    catalogue = catalogue_of(cutouts, backgrounds)
    with catalogue._lock:
        child = os.fork()
        if not child:
            signal.alarm(20)
            catalogue.background("photo_1")
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_memory_stays_within_the_budget(tmp_path: Path, cutouts: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for seed in range(40):
        save_png(folder / f"{seed}.png", photo(seed, 200, 300))
    catalogue = Catalogue([], scan_backgrounds(folder)[0], folder, memory_mb=1)
    tracemalloc.start()
    for seed in range(40):
        catalogue.background(str(seed))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.5 * 2**20


def test_working_copies_cannot_be_changed(cutouts: Path, backgrounds: Path) -> None:
    catalogue = catalogue_of(cutouts, backgrounds)
    for array in (catalogue.background("photo_0"), catalogue.cutout("cutout_0", 224)[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0, 0] = 1


def test_a_catalogue_travels_without_its_pictures(cutouts: Path, backgrounds: Path) -> None:
    catalogue = catalogue_of(cutouts, backgrounds)
    before = len(pickle.dumps(catalogue))
    expected = [catalogue.background(f"photo_{seed}") for seed in range(5)]
    packed = pickle.dumps(catalogue)
    assert len(packed) == before
    restored = pickle.loads(packed)
    for seed in range(5):
        assert np.array_equal(restored.background(f"photo_{seed}"), expected[seed])


def test_threads_may_share_a_catalogue(cutouts: Path, backgrounds: Path) -> None:
    catalogue = catalogue_of(cutouts, backgrounds, memory_mb=0.04)
    expected = [load_picture(backgrounds / f"photo_{seed}.jpg") for seed in range(5)]
    wrong: list[int] = []

    def work(start: int) -> None:
        for step in range(25):
            seed = (start + step) % 5
            if not np.array_equal(catalogue.background(f"photo_{seed}"), expected[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_relative_files_start_at_the_folder(backgrounds: Path) -> None:
    first = scan_backgrounds(backgrounds)[0][0]
    moved = first.model_copy(update={"file": "photo_0.jpg"})
    assert Catalogue([], [moved], backgrounds).background("photo_0").shape == (96, 128, 3)


# Real pictures


def test_real_cutouts_pass_the_check(shared_data: Path) -> None:
    assets, findings = scan_cutouts(shared_data / "cutouts")
    assert len(assets) == 261
    assert [(Path(f.file).name, f.problem) for f in findings] == [
        ("bradley_mirror.png", "near-duplicate")
    ]
    assert {asset.licence for asset in assets} == {"GPL-2"}
    assert len({asset.group for asset in assets}) == 260
    assert len({asset.id for asset in assets}) == 261


def test_real_backgrounds_pass_the_check(shared_data: Path) -> None:
    assets, findings = scan_backgrounds(shared_data / "backgrounds")
    assert (len(assets), findings) == (86, [])
    assert all(asset.licence for asset in assets)
    assert {asset.split for asset in assign_splits(assets)} == {"train", "val", "test"}


# Premultiplied cutouts, and labels of another picture


def premultiplied(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    result = cutout.copy()
    result[..., :3] = np.rint(cutout[..., :3] * (cutout[..., 3:] / 255))
    return result


def test_premultiplied_cutouts_are_named_and_read_as_straight_ones(cutouts: Path) -> None:
    """Renderers write them; pasted as straight ones they would have dark edges."""
    path = cutouts / "cutout_0.png"
    straight, _ = load_straight_cutout(path.read_bytes())
    save_png(path, premultiplied(straight))
    assets, findings = scan_cutouts(cutouts)
    assert [(Path(each.file).name, each.problem) for each in findings] == [
        ("cutout_0.png", "premultiplied")
    ]
    again, divided = load_straight_cutout(path.read_bytes())
    seen = straight[..., 3] >= 64
    assert divided
    assert np.array_equal(again[..., 3], straight[..., 3])
    assert np.abs(again[seen].astype(int) - straight[seen]).max() <= 2
    pasted, _ = Catalogue(assets, [], cutouts).cutout(assets[0].id, 80)
    box = alpha_box(straight[..., 3])
    expected = straight[box][..., :3] * (straight[box][..., 3:] / 255)
    assert np.abs(pasted[..., :3] / 257 - expected).max() <= 2


@pytest.mark.parametrize("kind", ["black", "hard", "grey haze", "dark edge"])
def test_straight_cutouts_are_not_taken_for_premultiplied_ones(kind: str) -> None:
    """Neither dark objects nor dark outlines, nor edges that are hard or of other colours."""
    cutout = drawn_cutout(3)
    if kind == "black":
        cutout[..., :3] //= 16
    elif kind == "hard":
        cutout[..., 3] = np.where(cutout[..., 3] > 127, 255, 0)
    elif kind == "grey haze":
        cutout[..., :3] = 128
    else:
        cutout[cutout[..., 3] < 250, :3] = 20
    assert not is_premultiplied(cutout)


def test_no_real_cutout_is_taken_for_a_premultiplied_one(shared_data: Path) -> None:
    paths = sorted((shared_data / "cutouts").glob("*/*.png"))[::9]
    found = {path.name for path in paths if load_straight_cutout(path.read_bytes())[1]}
    assert found == set()
    dark = [is_premultiplied(premultiplied(load_cutout(path))) for path in paths]
    assert np.mean(dark) > 0.8


def test_the_label_of_a_picture_that_was_replaced_is_not_learned(backgrounds: Path) -> None:
    """Its record says which picture it was made of; without a record nobody can tell."""
    for seed in (0, 1, 2):
        save_png(backgrounds / f"photo_{seed}_disparity.png", encode_disparity(RAMP))
        label = (backgrounds / f"photo_{seed}_disparity.png").read_bytes()
        record = {
            "format": "maskdepth-label",
            "picture": file_checksum(backgrounds / f"photo_{seed}.jpg"),
            "sha256": hashlib.sha256(label).hexdigest() if seed != 1 else "of another label",
        }
        (backgrounds / f"photo_{seed}_disparity.json").write_text(json.dumps(record))
    for seed in (0, 1):
        save_jpeg(backgrounds / f"photo_{seed}.jpg", photo(seed + 20))
    assets, findings = scan_backgrounds(backgrounds)
    labelled = [asset.id for asset in assets if asset.disparity]
    assert labelled == ["photo_1", "photo_2"]
    assert [(Path(each.file).name, each.problem) for each in findings] == [
        ("photo_0_disparity.png", "label unusable")
    ]
    assert "made of another picture" in findings[0].detail
    assert LabelRecord.model_fields["format"].default == LABEL_RECORD_FORMAT
