"""``maskdepth label``: cached, checked, resumable, and honest about what a label is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from command_line import Run
from folders import contents
from maskdepth.datasets.build import Dataset, compose_dataset, materialise, open_dataset
from maskdepth.datasets.inspection import inspect_dataset
from maskdepth.datasets.label_dataset import label_composites, label_dataset
from maskdepth.datasets.shards.reader import ShardReader
from maskdepth.depth import decode_disparity, encode_disparity
from maskdepth.errors import AssetError, StorageError, TeacherError, UsageError
from maskdepth.evaluation.composites import find_depth_pool
from maskdepth.images import load_grey16, load_picture, save_jpeg, save_png
from maskdepth.labelling.checks import (
    check_map,
    doubts,
    edge_agreement,
    measure_label,
    vertical_order,
)
from maskdepth.labelling.label_pictures import label_folder
from maskdepth.labelling.teachers import TeacherInfo, disparity_map
from maskdepth.labelling.teachers.recorded import ExactDepth, SensorDepth
from maskdepth.synthesis.assets import scan_backgrounds
from pictures import photo

HEIGHT, WIDTH = 96, 128


def cutout(seed: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:40, 0:30]
    inside = np.hypot((rows - 20) / 18, (columns - 15) / 13) < 1
    return np.dstack([photo(seed, 40, 30), inside.astype(np.uint8) * 255])


def depth_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Ground that comes nearer downwards, and edges where the picture has them."""
    height, width = picture.shape[:2]
    ground = 1 / np.linspace(0.1, 1.0, height, dtype=np.float32)[:, None]
    return np.asarray(ground + np.zeros((1, width)) + picture[..., 0] / 255, np.float32)


def some_flat(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The same, but for every other picture nothing: one depth everywhere."""
    flat = int(picture[0, 0, 0]) % 2 == 0
    return np.full(picture.shape[:2], 2, np.float32) if flat else depth_of(picture)


def turning(seed: int) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Depth that is upside down for the photo of one seed."""

    def look(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        depth = depth_of(picture)
        bad = np.abs(picture.astype(int) - photo(seed)).mean() < 8
        return depth[::-1].copy() if bad else depth

    return look


@dataclass
class Leveller:
    """A teacher that sees level ground everywhere, and counts the pictures it is shown."""

    info: TeacherInfo = field(
        default=TeacherInfo("leveller", "v1", "depth", "metres", None, None, "MIT")
    )
    look: Callable[[NDArray[np.uint8]], NDArray[np.float32]] = depth_of
    seen: int = 0

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        self.seen += len(pictures)
        return [self.look(picture) for picture in pictures]


def other(look: Callable[[NDArray[np.uint8]], Any] = depth_of, **changes: Any) -> Leveller:
    return Leveller(replace(Leveller().info, name="other", version="v2", **changes), look)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for seed in range(6):
        save_png(tmp_path / "cutouts" / f"cutout_{seed}.png", cutout(100 + seed))
        save_jpeg(tmp_path / "backgrounds" / f"photo_{seed}.jpg", photo(seed))
    return tmp_path / "cutouts", tmp_path / "backgrounds"


@pytest.fixture
def dataset(tmp_path: Path, folders: tuple[Path, Path]) -> Dataset:
    return compose_dataset(*folders, tmp_path / "dataset", small=True, depth_scenes=0)


# A dataset


def test_every_background_is_labelled_once(dataset: Dataset, folders: tuple[Path, Path]) -> None:
    before = contents(folders[1])
    teacher = Leveller()
    run = label_dataset(dataset, teacher)
    assert (teacher.seen, len(run.results), run.failures, run.flagged) == (6, 6, {}, {})
    assert contents(folders[1]) == before
    labelled = open_dataset(dataset.folder).spec
    assert labelled.fingerprint == run.fingerprint != dataset.spec.fingerprint
    assert labelled.depth_kind == "teacher leveller"
    catalogue = labelled.catalogue(dataset.folder, size=HEIGHT)
    for asset in labelled.backgrounds:
        picture = load_picture(asset.file)
        found = catalogue.disparity(asset.id)
        assert found is not None
        np.testing.assert_allclose(
            found, disparity_map(depth_of(picture), teacher.info), atol=1 / 65535
        )
        assert asset.teacher is not None
        assert (asset.teacher.name, asset.teacher.version) == ("leveller", "v1")
        assert (asset.teacher.licence, asset.teacher.flags) == ("MIT", ())
        assert asset.disparity is not None
        assert not Path(asset.disparity).is_absolute()  # the dataset can be moved


def test_a_second_run_asks_the_teacher_nothing(dataset: Dataset) -> None:
    first = label_dataset(dataset, Leveller())
    before = contents(dataset.folder / "labels")
    teacher = Leveller()
    again = label_dataset(open_dataset(dataset.folder), teacher)
    assert teacher.seen == 0
    assert again.fingerprint == first.fingerprint
    assert contents(dataset.folder / "labels") == before
    forced = label_dataset(open_dataset(dataset.folder), teacher, force=True)
    assert (teacher.seen, forced.fingerprint) == (6, first.fingerprint)


def test_an_interrupted_run_goes_on_to_the_same_labels(dataset: Dataset, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def look(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        if stopping.seen > 8:
            raise StoppedError
        return depth_of(picture)

    for seed in range(6, 20):
        save_jpeg(tmp_path / "backgrounds" / f"photo_{seed}.jpg", photo(seed))
    more = compose_dataset(
        tmp_path / "cutouts", tmp_path / "backgrounds", tmp_path / "more", small=True,
        depth_scenes=0,
    )  # fmt: skip
    stopping = Leveller(look=look)
    with pytest.raises(StoppedError):
        label_dataset(more, stopping)
    assert open_dataset(more.folder).spec.fingerprint == more.spec.fingerprint
    going_on = Leveller()
    run = label_dataset(open_dataset(more.folder), going_on)
    assert going_on.seen < 20
    assert (
        run.fingerprint == label_dataset(more, Leveller(), output=tmp_path / "afresh").fingerprint
    )


@pytest.mark.parametrize("damage", ["label", "record", "torn"])
def test_a_damaged_label_is_made_again(dataset: Dataset, damage: str) -> None:
    run = label_dataset(dataset, Leveller())
    label = run.results[2].job.label
    whole = label.read_bytes()
    if damage == "record":
        run.results[2].job.record.write_text("{}")
    else:
        label.write_bytes(whole[:-9] if damage == "torn" else whole[:-1] + b"x")
    teacher = Leveller()
    label_dataset(open_dataset(dataset.folder), teacher)
    assert (teacher.seen, label.read_bytes()) == (1, whole)


def test_another_version_is_another_label(dataset: Dataset) -> None:
    first = label_dataset(dataset, Leveller())
    labelled = open_dataset(dataset.folder)
    newer = Leveller(replace(Leveller().info, version="v1.1"))
    with pytest.raises(StorageError, match="of another teacher"):
        label_dataset(labelled, newer)
    assert newer.seen == 0
    second = label_dataset(labelled, newer, replace=True)
    assert (newer.seen, second.fingerprint != first.fingerprint) == (6, True)
    back = label_dataset(open_dataset(dataset.folder), Leveller(), replace=True)
    assert back.fingerprint == first.fingerprint


def test_a_labelled_copy_leaves_the_dataset_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    before = contents(dataset.folder)
    run = label_dataset(dataset, Leveller(), output=tmp_path / "copy")
    assert contents(dataset.folder) == before
    copy = open_dataset(tmp_path / "copy")
    assert copy.spec.fingerprint == run.fingerprint
    assert copy.spec.catalogue(copy.folder).disparity("photo_0") is not None
    with pytest.raises(StorageError, match="holds another dataset"):
        label_dataset(dataset, other(), output=tmp_path / "copy")


def test_labels_under_shards_are_not_exchanged(dataset: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    materialise(dataset, 2, workers=1)
    with pytest.raises(StorageError, match="The shards in"):
        label_dataset(dataset, Leveller())
    assert label_dataset(dataset, Leveller(), output=tmp_path / "copy").fingerprint


def test_exact_and_measured_labels_are_kept_unless_all_are_asked_for(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    ramp = np.tile(np.linspace(0.1, 1, HEIGHT)[:, None], (1, WIDTH))
    for seed in range(4):
        save_png(folders[1] / f"photo_{seed}_disparity.png", encode_disparity(ramp))
    (folders[1] / "label.json").write_text('{"kind": "sensor"}')
    dataset = compose_dataset(*folders, tmp_path / "dataset", small=True)
    teacher = Leveller()
    label_dataset(dataset, teacher)
    spec = open_dataset(dataset.folder).spec
    assert teacher.seen == 2
    assert spec.label_kinds == {"sensor": 4, "teacher leveller": 2}
    every = label_dataset(dataset, teacher, everything=True, output=tmp_path / "all")
    assert len(every.results) == 6
    assert open_dataset(tmp_path / "all").spec.label_kinds == {"teacher leveller": 6}
    for seed in range(4, 6):
        save_png(folders[1] / f"photo_{seed}_disparity.png", encode_disparity(ramp))
    full = compose_dataset(*folders, tmp_path / "full", small=True)
    with pytest.raises(AssetError, match="Pass --all"):
        label_dataset(full, teacher)


def test_disparity_of_unknown_shift_offers_no_ground(dataset: Dataset, tmp_path: Path) -> None:
    """Objects stand where disparity is proportional to inverse depth, and only there."""

    def ground(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.linspace(0.1, 1, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))

    label_dataset(dataset, other(ground, kind="inverse depth"), output=tmp_path / "inverse")
    label_dataset(
        dataset, other(ground, kind="disparity", units="relative"), output=tmp_path / "shifted"
    )
    inverse, shifted = (open_dataset(tmp_path / name).spec for name in ("inverse", "shifted"))
    assert all(asset.ground for asset in inverse.backgrounds)
    assert not any(asset.ground for asset in shifted.backgrounds)


# What is wrong with a label


def test_a_flagged_label_is_recorded_and_not_learned_from(dataset: Dataset) -> None:
    run = label_dataset(dataset, Leveller(look=turning(2)))
    assert list(run.flagged) == ["photo_2"]
    assert "upside down" in run.flagged["photo_2"]
    spec = open_dataset(dataset.folder).spec
    (flagged,) = [asset for asset in spec.backgrounds if asset.id == "photo_2"]
    assert (flagged.disparity, flagged.label, flagged.ground) == (None, None, ())
    assert flagged.teacher is not None
    assert spec.flagged == {"photo_2": flagged.teacher.flags}
    found = inspect_dataset(open_dataset(dataset.folder))
    assert found.as_json()["labels"] == {"none": 1, "teacher leveller": 5}
    assert list(found.as_json()["flagged"]) == ["photo_2"]
    lines = "\n".join(found.describe())
    assert "flagged, and not learned from: 1" in lines
    assert "teacher leveller (v1): licence MIT" in lines


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (np.full((HEIGHT, WIDTH), np.nan), "nothing valid for each of 6 pictures"),
        (np.full((HEIGHT, WIDTH), 3.0), "constant for each of 6 pictures"),
        (np.ones((WIDTH, HEIGHT)), "a float map of shape"),
    ],
    ids=["nan", "constant", "another shape"],
)
def test_a_teacher_that_says_nothing_is_one_line_and_leaves_nothing(
    dataset: Dataset, wrong: NDArray[np.float64], complaint: str
) -> None:
    before = dataset.spec.fingerprint
    with pytest.raises(TeacherError, match=complaint):
        label_dataset(dataset, Leveller(look=lambda _: wrong.astype(np.float32)))
    assert open_dataset(dataset.folder).spec.fingerprint == before
    assert list((dataset.folder / "labels").rglob("*_disparity.*")) == []
    # The same version repaired: no map of before is taken for a label.
    repaired = Leveller()
    assert len(label_dataset(dataset, repaired).results) == repaired.seen == 6


def test_a_picture_that_has_changed_stops_the_spec_but_not_the_others(dataset: Dataset) -> None:
    save_jpeg(dataset.spec.backgrounds[1].file, photo(77))
    run = label_dataset(dataset, Leveller())
    assert run.failures == {"photo_1": "changed since the dataset was composed"}
    assert run.fingerprint is None
    assert sum(result.record is not None for result in run.results) == 5
    assert open_dataset(dataset.folder).spec.fingerprint == dataset.spec.fingerprint


DEPTH = Leveller().info


@pytest.mark.parametrize(
    ("values", "info", "flags"),
    [
        (np.full((4, 4), np.nan), DEPTH, ("nothing valid",)),
        (np.full((4, 4), -1.0), DEPTH, ("nothing valid",)),
        (np.full((4, 4), 2.0), DEPTH, ("constant",)),
        (np.full((4, 4), np.inf), DEPTH, ("constant",)),
        (np.where(np.eye(4) > 0, np.arange(1.0, 5.0), np.nan), DEPTH, ("mostly invalid",)),
        (np.arange(1.0, 17.0).reshape(4, 4), DEPTH, ()),
        (np.arange(1.0, 17.0).reshape(4, 4), replace(DEPTH, range=(1.0, 9.0)), ("out of range",)),
        (np.arange(1.0, 17.0).reshape(4, 4), replace(DEPTH, range=(1.0, 16.0)), ()),
    ],
)
def test_a_map_that_is_none_is_flagged(
    values: NDArray[Any], info: TeacherInfo, flags: tuple[str, ...]
) -> None:
    maps = values.astype(np.float32)
    assert check_map(maps, disparity_map(maps, info), info) == flags


def scene() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A dark box in front of a bright floor and wall, and its disparity."""
    disparity = np.tile(np.linspace(0.2, 0.8, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))
    picture = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    disparity[20:60, 30:80], picture[20:60, 30:80] = 0.95, 40
    noise = np.random.default_rng(0).integers(-12, 13, picture.shape)
    return (picture + noise).astype(np.uint8), disparity


def test_a_right_label_is_not_flagged_and_wrong_ones_are() -> None:
    picture, disparity = scene()
    assert measure_label(picture, disparity).flags() == ()
    assert "upside down" in measure_label(picture, 1 - disparity).flags()
    assert "flat" in measure_label(picture, 0.5 + 0.01 * disparity).flags()
    moved = np.tile(disparity[:, :1], (1, WIDTH))
    moved[65:90, 90:120] = 0.95
    assert "unlike the picture" in measure_label(picture, moved).flags()


def test_order_and_agreement_are_what_they_say() -> None:
    picture, disparity = scene()
    ramp = np.tile(np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))
    assert vertical_order(ramp) == pytest.approx(1)
    assert vertical_order(1 - ramp) == pytest.approx(-1)
    assert vertical_order(np.full_like(ramp, 0.5)) == 0
    unknown = np.where(np.arange(WIDTH) % 2, np.nan, ramp).astype(np.float32)
    assert vertical_order(unknown) == pytest.approx(1)
    assert edge_agreement(picture, disparity) > 2
    noise = np.random.default_rng(1).random((HEIGHT, WIDTH)).astype(np.float32)
    assert edge_agreement(picture, noise) == pytest.approx(1, abs=0.15)
    assert edge_agreement(np.zeros_like(picture), disparity) == 1


def test_many_labels_together_tell_of_a_wrong_teacher() -> None:
    picture, disparity = scene()
    right, wrong = measure_label(picture, disparity), measure_label(picture, 1 - disparity)
    chance = replace(right, agreement=1.0)
    assert list(doubts([right] * 6 + [wrong] * 3)) == []
    assert "is the teacher's kind" in next(doubts([right] * 3 + [wrong] * 6))
    assert "no better than by chance" in next(doubts([chance] * 9))
    assert list(doubts([chance] * 3)) == []  # too few to say


# Depth files


def test_a_sensors_files_label_the_backgrounds_that_have_them(
    dataset: Dataset, folders: tuple[Path, Path]
) -> None:
    depth_m = depth_of(photo(1))
    depth_m[:5] = np.nan
    np.save(folders[1] / "photo_1_depth.npy", depth_m)
    label_dataset(dataset, SensorDepth())
    spec = open_dataset(dataset.folder).spec
    assert spec.label_kinds == {"none": 5, "sensor": 1}
    (asset,) = [asset for asset in spec.backgrounds if asset.disparity]
    assert (asset.label, asset.teacher) == ("sensor", None)
    found = decode_disparity(load_grey16(dataset.folder / str(asset.disparity)))
    expected = (1 / depth_m) / np.nanmax(1 / depth_m)
    np.testing.assert_allclose(found, expected, atol=1 / 65535)
    assert not spec.teachers


def test_no_depth_files_at_all_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(AssetError, match=r"<stem>_depth_mm\.png or <stem>_depth\.npy"):
        label_dataset(dataset, SensorDepth())


# A folder of pictures


def test_a_folder_is_labelled_for_compose_to_find(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Also in place: nothing that is there changes, and flags and teacher come along."""
    before = contents(folders[1])
    save_jpeg(folders[1] / "sub" / "upside.jpg", photo(50))
    run = label_folder(folders[1], Leveller(look=turning(50)), folders[1])
    assert list(run.flagged) == ["sub/upside.jpg"]
    after = contents(folders[1])
    assert {name: after[name] for name in before} == before
    assets, findings = scan_backgrounds(folders[1])
    assert findings == []
    assert len(assets) == 7  # no label, record or sheet is taken for a picture
    told = {asset.id: asset for asset in assets}
    assert told["photo_3"].label == "teacher leveller"
    assert told["photo_3"].teacher is not None
    assert told["photo_3"].teacher.licence == "MIT"
    assert told["upside"].disparity is None
    assert told["upside"].teacher is not None
    assert "upside down" in told["upside"].teacher.flags
    again = Leveller(look=turning(50))
    label_folder(folders[1], again, folders[1])
    assert again.seen == 0


def test_labels_of_others_are_not_overwritten(folders: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "labels"
    label_folder(folders[1], Leveller(), output)
    with pytest.raises(StorageError, match="of another teacher"):
        label_folder(folders[1], other(), output)
    label_folder(folders[1], other(), output, replace=True)
    assert json.loads((output / "label.json").read_text())["kind"] == "teacher other"
    foreign = tmp_path / "foreign"
    save_png(foreign / "photo_4_disparity.png", encode_disparity(np.ones((4, 4))))
    with pytest.raises(StorageError, match="not overwritten"):
        label_folder(folders[1], Leveller(), foreign)
    (tmp_path / "told").mkdir()
    (tmp_path / "told" / "label.json").write_text('{"kind": "exact"}')
    with pytest.raises(StorageError, match=r"label\.json is not overwritten"):
        label_folder(folders[1], Leveller(), tmp_path / "told")


def test_a_users_sheet_and_records_are_not_overwritten(folders: tuple[Path, Path]) -> None:
    """They may be called as ours are."""
    for name in ("label_sheet.jpg", "photo_1_disparity.json"):
        mine = folders[1] / name
        mine.write_text('{"mine": 1}')
        with pytest.raises(StorageError, match=re.escape(name)):
            label_folder(folders[1], Leveller(), folders[1])
        assert mine.read_text() == '{"mine": 1}'
        mine.unlink()


def test_a_teachers_label_does_not_become_a_sensors(folders: tuple[Path, Path]) -> None:
    """What label.json says holds for every label beside it, also those that a run leaves alone."""
    label_folder(folders[1], Leveller(), folders[1])
    np.save(folders[1] / "photo_0_depth.npy", depth_of(photo(0)))
    before = contents(folders[1])
    with pytest.raises(StorageError, match=r"photo_1_disparity\.png by leveller"):
        label_folder(folders[1], SensorDepth(), folders[1], replace=True)
    assert contents(folders[1]) == before


def test_a_folder_without_a_single_label_is_labelled_again(folders: tuple[Path, Path]) -> None:
    """At night nothing is seen; the same run twice is the same."""
    save_png(folders[1] / "night" / "black.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    for _ in range(2):
        run = label_folder(folders[1], Leveller(look=some_flat), folders[1])
        assert "night/black.png" in run.flagged


def test_a_teacher_that_says_nothing_takes_no_label_away(folders: tuple[Path, Path]) -> None:
    label_folder(folders[1], Leveller(), folders[1])
    before = contents(folders[1])
    with pytest.raises(TeacherError, match="labelled nothing"):
        label_folder(
            folders[1], other(lambda seen: np.ones(seen.shape[:2])), folders[1], replace=True
        )
    assert contents(folders[1]) == before


def test_names_that_are_not_utf8_and_nested_records_are_no_tracebacks(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    Path(os.fsdecode(os.fsencode(folders[1]) + b"/caf\xe9.jpg")).write_bytes(
        (folders[1] / "photo_0.jpg").read_bytes()
    )
    run = label_folder(folders[1], Leveller(), tmp_path / "labels")
    assert list(run.failures.values()) == ["its name is not UTF-8: rename it"]
    (tmp_path / "labels" / "photo_0_disparity.json").write_text("[" * 200_000)
    with pytest.raises(StorageError, match="not overwritten"):
        label_folder(folders[1], Leveller(), tmp_path / "labels")
    (folders[1] / "label.json").write_text("[" * 200_000)
    assert ExactDepth().find(folders[1] / "photo_0.jpg") is None


def test_an_unreadable_picture_is_named_and_the_rest_is_labelled(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    (folders[1] / "broken.jpg").write_bytes(b"\xff\xd8no")
    run = label_folder(folders[1], Leveller(), tmp_path / "labels")
    assert list(run.failures) == ["broken.jpg"]
    assert len(list((tmp_path / "labels").glob("*_disparity.png"))) == 6
    save_png(folders[1] / "photo_0.png", photo(0))
    with pytest.raises(AssetError, match="would have the same label"):
        label_folder(folders[1], Leveller(), tmp_path / "more")


def test_exact_labels_of_a_pack_come_back_as_they_were(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0.1, 1, HEIGHT)[:, None], (1, WIDTH))
    save_png(tmp_path / "pack" / "a.png", photo(0))
    save_png(tmp_path / "pack" / "a_disparity.png", encode_disparity(ramp))
    (tmp_path / "pack" / "label.json").write_text('{"kind": "exact"}')
    label_folder(tmp_path / "pack", ExactDepth(), tmp_path / "labels")
    np.testing.assert_array_equal(
        load_grey16(tmp_path / "labels" / "a_disparity.png"),
        load_grey16(tmp_path / "pack" / "a_disparity.png"),
    )
    assert json.loads((tmp_path / "labels" / "label.json").read_text()) == {"kind": "exact"}


# What comes of it


def test_depth_is_judged_on_exact_labels_where_there_are_any(
    dataset: Dataset, tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    label_dataset(dataset, Leveller())
    taught = open_dataset(dataset.folder).spec
    pool, _ = find_depth_pool(taught)
    assert pool is not None  # better than nothing, and the report says so
    mixed = taught.model_copy(
        update={
            "backgrounds": tuple(
                asset.model_copy(update={"split": "test", "teacher": None, "label": "exact"})
                if asset.id == "photo_5"
                else asset.model_copy(update={"split": "test"})
                for asset in taught.backgrounds
            )
        }
    )
    pool, _ = find_depth_pool(mixed)
    assert pool is not None
    assert [asset.id for asset in pool.backgrounds] == ["photo_5"]


def test_samples_say_whose_their_label_is(dataset: Dataset) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    label_dataset(dataset, Leveller())
    labelled = open_dataset(dataset.folder)
    materialise(labelled, 3, workers=1)
    for sample in ShardReader(dataset.folder):
        assert sample.about["label"] == "teacher leveller"
        assert sample.about["teacher"]["licence"] == "MIT"
    for row in parquet.read_table(dataset.folder / "index.parquet").to_pylist():
        assert row["label"] == "teacher leveller"
        assert "MIT" in row["licences"]


def test_composites_are_labelled_one_by_one(dataset: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    materialise(dataset, 12, shard_size=5, workers=1)
    teacher = Leveller(look=some_flat)
    with pytest.raises(StorageError, match="with the teacher none, not leveller v1"):
        label_composites(dataset, teacher, 12, shard_size=5)
    label_composites(dataset, teacher, 12, output=tmp_path / "taught", shard_size=5)
    assert teacher.seen == 12
    flagged = 0
    for plain, taught in zip(
        ShardReader(dataset.folder), ShardReader(tmp_path / "taught"), strict=True
    ):
        np.testing.assert_array_equal(plain.image, taught.image)
        assert taught.about["label"] == "teacher leveller, per composite"
        assert taught.recipe == plain.recipe
        if taught.about["teacher"]["flags"]:
            flagged += 1
            assert np.isnan(taught.disparity).all()
        else:
            # Of the picture before it was coded, which differs by a little.
            expected = disparity_map(depth_of(taught.image), teacher.info)
            assert np.abs(taught.disparity - expected).mean() < 0.02
    assert 0 < flagged < 12
    found = inspect_dataset(open_dataset(tmp_path / "taught"))
    assert found.shards is not None
    assert found.shards.flagged == flagged
    assert found.as_json()["shards"]["teacher"]["name"] == "leveller"
    before = contents(tmp_path / "taught")
    (tmp_path / "taught" / "shards" / "train-000001.json").unlink()
    again = Leveller(look=some_flat)
    label_composites(dataset, again, 12, output=tmp_path / "taught", shard_size=5)
    assert (again.seen, contents(tmp_path / "taught")) == (5, before)
    with pytest.raises(UsageError, match="Composites have no depth files"):
        label_composites(dataset, SensorDepth(), 2, output=tmp_path / "sensor")


def test_training_can_learn_from_composites_labelled_one_by_one(
    dataset: Dataset, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("pyarrow")
    from maskdepth.datasets.shards.reader import StoredDisparity
    from maskdepth.learning.dataset import CompositeDataset

    label_composites(dataset, Leveller(), 6, output=tmp_path / "taught")
    reader, spec = ShardReader(tmp_path / "taught"), dataset.spec
    catalogue = spec.catalogue(dataset.folder)
    common: tuple[Any, ...] = (spec.rules, spec.pool(), spec.seed, catalogue, 100)
    plain = CompositeDataset(*common)
    taught = CompositeDataset(*common, labels=StoredDisparity(reader))
    for index in (0, 4, 7):
        sample, stored = taught[index], reader[index % 6]
        assert torch.equal(sample["picture"], plain[index % 6]["picture"])
        known = np.isfinite(stored.disparity)
        assert bool(sample["has_disparity"]) == bool(known.any())
        np.testing.assert_array_equal(sample["disparity_valid"][0].numpy() > 0, known)
        np.testing.assert_array_equal(
            sample["disparity"][0].numpy()[known], stored.disparity[known].astype(np.float16)
        )
        assert not plain[index]["has_disparity"]


# The command line


def test_label_says_who_the_teacher_is_and_what_was_made(
    dataset: Dataset, folders: tuple[Path, Path], run: Run
) -> None:
    for seed in range(6):
        np.save(folders[1] / f"photo_{seed}_depth.npy", depth_of(photo(seed)))
    code, out, err = run("label", dataset.folder, "--teacher", "sensor", "--json")
    assert (code, "sensor depth: <stem>_depth_mm.png" in err) == (0, True)
    found = json.loads(out)
    assert (found["labels"], found["flagged"], found["failures"]) == (6, {}, {})
    assert found["fingerprint"] == open_dataset(dataset.folder).spec.fingerprint
    assert Path(found["sheet"]).is_file()


def test_a_partial_failure_is_named_and_ends_with_code_1(
    dataset: Dataset, folders: tuple[Path, Path], run: Run
) -> None:
    for seed in range(6):
        depth_m = depth_of(photo(seed))[:, : WIDTH - seed]
        np.save(folders[1] / f"photo_{seed}_depth.npy", depth_m)
    code, out, err = run("label", folders[1], "--teacher", "sensor", "-o", dataset.folder / "x")
    assert code == 1
    assert "photo_5_depth.npy is 123x96, but its picture is 128x96" in err
    assert (out, "Traceback" in err) == ("", False)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--teacher", "sensor"], "is no dataset."),
        (["--teacher", "sensor", "-o", "labels", "--all"], "--all needs a dataset"),
        (["--teacher", "sensor", "-o", "labels", "--per-composite", "3"], "--per-composite needs"),
        (["--teacher", "sensor", "-o", "labels", "--engine", "ray"], "--engine does nothing"),
        (["--teacher", "sensor", "-o", "labels", "--shard-size", "3"], "--shard-size does nothing"),
        (["--teacher", "sensor", "-o", "labels", "--workers", "3"], "--workers does nothing"),
        (["--teacher", "somebody/depth", "-o", "labels"], "--kind --units --licence for"),
    ],
)
def test_wrong_arguments_are_one_line(
    folders: tuple[Path, Path],
    run: Run,
    arguments: list[str],
    complaint: str,
) -> None:
    code, _, err = run("label", folders[1], *arguments)
    assert (code, complaint in err, err.count("\n")) == (2, True, 1)


@pytest.mark.parametrize("option", ["--all", "--replace", "--force"])
def test_options_of_backgrounds_are_none_of_composites(
    dataset: Dataset, run: Run, option: str
) -> None:
    """What would do nothing is refused."""
    told = ("--teacher", "sensor", "--per-composite", "3", option)
    code, _, err = run("label", dataset.folder, *told)
    assert (code, f"{option} is for labels" in err, err.count("\n")) == (2, True, 1)


def test_a_run_goes_on_only_with_the_labels_it_began_with(
    dataset: Dataset,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the network; a tiny one is exported at once."""
    pytest.importorskip("torch")
    pytest.importorskip("pyarrow")
    from maskdepth.learning.model import PRESETS, Preset
    from tiny_network import TinyNetwork

    monkeypatch.setitem(PRESETS, "small", Preset(TinyNetwork, None, "tiny"))
    label_dataset(dataset, Leveller())
    (tmp_path / "short.yaml").write_text("preset: small\nsteps: 2\nbatch_size: 2\n")
    train = ("train", dataset.folder, "-o", tmp_path / "run", "--config", tmp_path / "short.yaml")
    assert run(*train)[0] == 0
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert card["depth"] == "teacher leveller"
    assert [each["licence"] for each in card["data"]["teachers"]] == ["MIT"]
    label_dataset(open_dataset(dataset.folder), other(), replace=True)
    code, _, err = run(*train, "--resume")
    assert (code, "The saved run was trained on the dataset" in err) == (1, True)
    code, _, err = run(*train[:3], tmp_path / "second", *train[4:], "--per-composite")
    assert (code, "holds no complete labels" in err) == (1, True)
