"""The dataset spec: what is frozen, and what happens when it no longer fits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from folders import contents
from maskdepth.datasets.build import compose_dataset, open_dataset
from maskdepth.datasets.picture_folders import write_folders
from maskdepth.errors import AssetError, DatasetError, StorageError, UsageError
from maskdepth.evaluation.masks import mask_origin
from maskdepth.files import write_text
from maskdepth.images import resize, save_png
from maskdepth.synthesis.recipes import sample_recipe
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.spec import DatasetSpec, load_spec
from maskdepth.synthesis.worlds import write_sample_pack


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    generator = np.random.default_rng(0)
    for number in range(5):
        cutout = generator.integers(0, 256, (40, 50, 4), np.uint8)
        cutout[..., 3] = 0
        cutout[5:35, 5:45, 3] = 255
        save_png(tmp_path / "cutouts" / f"c{number}.png", cutout)
        photo = generator.integers(0, 256, (90, 100, 3), np.uint8)
        save_png(tmp_path / "backgrounds" / f"b{number}.png", photo)
    return tmp_path / "cutouts", tmp_path / "backgrounds"


def compose(folders: tuple[Path, Path], output: Path, **options: object) -> DatasetSpec:
    return compose_dataset(*folders, output, small=True, depth_scenes=0, **options).spec


def test_a_spec_reads_back_as_it_was_written(folders: tuple[Path, Path], tmp_path: Path) -> None:
    spec = compose(folders, tmp_path / "data", seed=7)
    again = load_spec(tmp_path / "data")
    assert again.fingerprint == spec.fingerprint
    assert again.seed == 7
    assert {asset.split for asset in again.cutouts} == {"train", "val", "test"}


def test_the_fingerprint_does_not_know_where_files_lie(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    first = compose(folders, tmp_path / "data")
    moved = tmp_path / "moved"
    moved.mkdir()
    for folder in folders:
        folder.rename(moved / folder.name)
    elsewhere = (moved / "cutouts", moved / "backgrounds")
    assert compose(elsewhere, tmp_path / "other").fingerprint == first.fingerprint
    assert compose(elsewhere, tmp_path / "third", seed=1).fingerprint != first.fingerprint


def test_specs_older_than_an_effect_load_and_keep_their_fingerprints() -> None:
    """Runs and labels of old datasets go on; a dataset that uses the effect is another one."""
    common = {"sha256": "0" * 64, "licence": None, "source": None, "split": "train", "group": "g"}
    cutout = {"id": "c", "file": "c.png", "width": 40, "height": 50, "alpha_share": 0.5}
    background = {"id": "b", "file": "b.jpg", "width": 90, "height": 80}
    values = {
        "rules": {"name": "old", "registered": {"probability": 0.75}},
        "cutouts": [{**cutout, **common, "relief": None}],
        "backgrounds": [{**background, **common, "disparity": None}],
    }
    spec = DatasetSpec.parse(values, "spec.json")
    assert spec.fingerprint == "730669358e885e09"
    for effect in ("recolour", "exposure", "soft_plate", "defocus", "skylight", "tone"):
        changed = spec.rules.with_(**{effect: {"probability": 0.5}})
        assert spec.with_(rules=changed).fingerprint != spec.fingerprint


def test_a_dataset_that_holds_its_assets_can_be_moved(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    inside = tuple(folder.rename(home / folder.name) for folder in folders)
    compose((inside[0], inside[1]), home)
    home.rename(tmp_path / "away")
    dataset = open_dataset(tmp_path / "away")
    recipe = sample_recipe(dataset.spec.rules, dataset.spec.pool(), 0, 0)
    catalogue = dataset.spec.catalogue(dataset.folder)
    assert render(recipe, 224, catalogue).image.shape == (224, 224, 3)


def test_a_refused_dataset_stays_as_it_is(folders: tuple[Path, Path], tmp_path: Path) -> None:
    data = tmp_path / "data"
    spec = compose_dataset(*folders, data, small=True, depth_scenes=4).spec
    before = contents(data)
    with pytest.raises(StorageError, match="holds another dataset"):
        compose_dataset(*folders, data, small=True, depth_scenes=4, seed=5)
    with pytest.raises(StorageError, match="holds another dataset"):
        compose_dataset(*folders, data, small=True, depth_scenes=5)
    assert contents(data) == before
    again = compose_dataset(*folders, data, small=True, depth_scenes=4).spec
    assert again.fingerprint == spec.fingerprint
    assert contents(data) == before
    next((data / "sample_pack" / "backgrounds").glob("*0.png")).write_bytes(b"spoilt")
    compose_dataset(*folders, data, small=True, depth_scenes=4)
    assert contents(data) == before


def test_plates_of_one_camera_are_trained_on_and_scenes_held_out(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Ten frames of one place are one picture to whoever splits; a notice says what follows."""
    blocks = np.random.default_rng(1).integers(40, 200, (6, 8, 3)).astype(np.uint8)
    plate = resize(blocks, 90, 120)
    for frame in range(10):
        lit = np.clip(plate * (0.9 + 0.02 * frame), 0, 255).astype(np.uint8)
        save_png(tmp_path / "plates" / f"{frame}.png", lit)
    notices: list[str] = []
    found = compose_dataset(
        folders[0],
        tmp_path / "plates",
        tmp_path / "data",
        small=True,
        depth_scenes=6,
        notify=notices.append,
    )
    own = [asset.split for asset in found.spec.backgrounds if asset.origin == "user"]
    drawn = {asset.split for asset in found.spec.backgrounds if asset.origin == "sample"}
    assert (own, drawn) == (["train"] * 10, {"train", "val", "test"})
    assert "you have 10 backgrounds that look like 1, too few" in notices[0]
    assert mask_origin(found.spec) is None
    assert mask_origin(compose(folders, tmp_path / "other")) == "user"
    with pytest.raises(AssetError, match=r"3 backgrounds .* there are 1 among 10"):
        compose((folders[0], tmp_path / "plates"), tmp_path / "none")


def test_a_dataset_among_its_own_pictures_is_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """What is written there would be a picture of the user's the next time."""
    for place in (folders[0], folders[1] / "data"):
        before = contents(tmp_path)
        with pytest.raises(StorageError, match="lies among the pictures"):
            compose(folders, place)
        assert contents(tmp_path) == before


@pytest.mark.skipif(os.name != "posix", reason="links and names of bytes")
def test_odd_paths_end_in_one_error_or_one_finding(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """A link to itself as a folder of pictures and as the output; a name that is not UTF-8."""
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(AssetError, match="no folder of cutouts"):
        compose((loop, folders[1]), tmp_path / "data")
    with pytest.raises(StorageError):
        compose(folders, loop)
    odd = os.fsencode(folders[1]) + b"/odd\xff.png"
    Path(os.fsdecode(odd)).write_bytes((folders[1] / "b0.png").read_bytes())
    found = compose_dataset(*folders, tmp_path / "data", small=True, depth_scenes=0)
    assert len(found.spec.backgrounds) == 5
    (finding,) = found.findings
    assert "odd\\xff.png" in str(finding)
    assert "not UTF-8" in str(finding)


def test_the_prior_works_folders_are_gone_on_with(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    compose(folders, data)
    dataset = open_dataset(data)
    write_folders(dataset, 3)
    before = contents(data)
    (data / "output_mask" / "2.jpg").unlink()
    (data / "output_bg" / f".{'0' * 16}.part").write_bytes(b"half")
    write_folders(dataset, 3)
    assert contents(data) == before
    write_folders(dataset, 4)
    assert contents(data).items() > before.items()
    (data / "output_image" / "1.jpg").write_bytes(b"mine")
    with pytest.raises(StorageError, match="another file"):
        write_folders(dataset, 4)
    assert (data / "output_image" / "1.jpg").read_bytes() == b"mine"
    with pytest.raises(StorageError, match="may hold only composites 1 to 2"):
        write_folders(dataset, 2)


def test_a_grid_has_no_more_composites_than_it_has(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """It would begin again, under the numbers of its first ones."""
    rules = RecipeRules(places=1, size=64, long_side_px=(10, 60))
    compose_dataset(*folders, tmp_path / "grid", rules=rules, small=True, depth_scenes=0)
    dataset = open_dataset(tmp_path / "grid")
    assert dataset.samples is not None
    with pytest.raises(UsageError, match=f"plan has {dataset.samples} samples"):
        write_folders(dataset, dataset.samples + 1)
    assert not (tmp_path / "grid" / "output_image").exists()


def test_no_asset_stands_in_two_splits(folders: tuple[Path, Path], tmp_path: Path) -> None:
    spec = compose(folders, tmp_path / "data")
    pools = [spec.pool(split, split) for split in ("train", "val", "test")]
    names = [asset.id for pool in pools for asset in pool.cutouts]
    assert sorted(names) == sorted(asset.id for asset in spec.cutouts)
    assert len(set(names)) == len(names)


def test_a_pool_without_assets_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    spec = compose(folders, tmp_path / "data")
    with pytest.raises(AssetError, match="0 backgrounds"):
        spec.pool(labelled=True)


PHOTO = {
    "id": "a", "file": "a.jpg", "sha256": "0" * 64, "width": 9, "height": 9, "licence": None,
    "source": None, "split": "train", "group": "a",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"format": "other"}, "other version 1"),
        ({"colour": "blue"}, "colour"),
        ({"seed": -1}, "seed"),
        ({"cutouts": 3}, "cutouts"),
        ({"backgrounds": [PHOTO, PHOTO]}, "ids that differ, not 'a' twice"),
        ({"backgrounds": [{**PHOTO, "file": "a\0.jpg"}]}, "file"),
    ],
)
def test_a_spec_of_another_version_or_with_odd_values_is_refused(
    change: dict[str, object], message: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    compose(folders, tmp_path / "data")
    path = tmp_path / "data" / "spec.json"
    write_text(path, json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DatasetError, match=message) as caught:
        load_spec(tmp_path / "data")
    assert "Compose" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_spec_is_refused(text: str, tmp_path: Path) -> None:
    write_text(tmp_path / "spec.json", text)
    with pytest.raises(DatasetError, match=r"readable spec\.json"):
        load_spec(tmp_path)


def test_a_split_left_empty_names_its_remedy(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="--small"):
        compose_dataset(*folders, tmp_path / "data", depth_scenes=0)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["drawn", "mixed in"], "synthetic only"),
        (["drawn", "sensor"], "sensor, synthetic"),
        (["drawn", "own"], "exact, synthetic"),
        (["own"], "exact"),
        (["drawn by a teacher"], "teacher leveller"),
        ([], "none"),
    ],
)
def test_labels_of_drawn_scenes_are_called_synthetic_wherever_they_lie(
    labels: list[str], kind: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """A scene is recognised by its source, and only its own exact label is synthetic."""
    drawn = {"source": "maskdepth sample pack", "label": "exact", "disparity": "label.png"}
    changes = {
        "drawn": drawn,
        "mixed in": drawn | {"source": None, "origin": "sample"},
        "drawn by a teacher": drawn | {"label": "teacher leveller"},
        "own": drawn | {"source": "me"},
        "sensor": drawn | {"source": "me", "label": "sensor"},
    }
    spec = compose_dataset(*folders, tmp_path / "data", small=True, depth_scenes=0).spec
    bare = [
        asset.model_copy(update={"disparity": None, "label": None}) for asset in spec.backgrounds
    ]
    labelled = [
        asset.model_copy(update=changes[label]) for asset, label in zip(bare, labels, strict=False)
    ]
    backgrounds = (*labelled, *bare[len(labelled) :])
    assert spec.model_copy(update={"backgrounds": backgrounds}).depth_kind == kind


def test_drawn_scenes_too_few_to_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too few to split"):
        compose_dataset(tmp_path, tmp_path, tmp_path / "data", depth_scenes=2)
    assert list(tmp_path.iterdir()) == []


def test_a_pack_put_among_the_users_own_backgrounds_is_synthetic(tmp_path: Path) -> None:
    """What `worlds` writes is recognised by the table it comes with."""
    pack = write_sample_pack(tmp_path / "pack", scenes=3, cutouts=3)
    spec = compose_dataset(pack.cutouts, pack.backgrounds, tmp_path / "data", small=True).spec
    assert {asset.origin for asset in spec.backgrounds} == {"user"}
    assert spec.depth_kind == "synthetic only"
