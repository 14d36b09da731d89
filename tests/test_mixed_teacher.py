"""Mixtures of two teachers: what the map is made of, and what a mixture's JSON may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from maskdepth.datasets.build import compose_dataset
from maskdepth.datasets.label_dataset import label_composites
from maskdepth.datasets.picture_folders import write_folders
from maskdepth.datasets.shards.reader import ShardReader
from maskdepth.errors import TeacherError
from maskdepth.files import read_text
from maskdepth.images import save_png
from maskdepth.labelling.label_pictures import label_folder
from maskdepth.labelling.plate_depth import teach_plate
from maskdepth.labelling.teachers import Teacher, open_teacher
from maskdepth.labelling.teachers.mixture import mix
from maskdepth.synthesis.worlds import write_sample_pack

pytest.importorskip("onnx")
from networks import write_network
from pictures import noise

MIXTURE = {"everywhere": "first.onnx", "where_they_agree": "second.onnx"}


def room(height: int = 60, width: int = 80) -> NDArray[np.float64]:
    """Inverse depth of a floor that rises to a wall, 1/metres: 1 m below, 4 m at the wall."""
    rows = np.linspace(-0.5, 1, height)[:, None]
    return np.maximum(np.tile(rows, (1, width)), 0.25)


def write_mixture(folder: Path, second: dict[str, Any] | None = None, **facts: Any) -> Path:
    write_network(folder / "first.onnx", kind="disparity", units="relative", licence="MIT")
    write_network(folder / "second.onnx", **{"kind": "inverse depth", **(second or {})})
    path = folder / "mixture.json"
    path.write_text(json.dumps({**MIXTURE, **facts}))
    return path


def test_where_both_agree_up_to_scale_the_mixture_has_the_same_order() -> None:
    mixture = mix(3 * room(), room(), 8.0)
    assert mixture.order_agreement == pytest.approx(1)
    assert np.corrcoef(mixture.inverse.ravel(), room().ravel())[0, 1] > 0.999


def test_what_the_second_alone_sees_is_left_out() -> None:
    """As a window through which the first sees far, and the second sees a wall."""
    second = room()
    first = second.copy()
    first[5:15, 10:30] = 0.02
    mixture = mix(first, second, 8.0)
    agreed = mix(second, second, 8.0)
    assert mixture.inverse[10, 20] < 0.3 * agreed.inverse[10, 20]


def test_the_second_moves_the_map_where_it_agrees_and_not_beyond_the_limit() -> None:
    first = room()
    second = room() * np.linspace(0.8, 1.2, 80)
    near, far = mix(first, second, 8.0).inverse, mix(first, second, 1.0).inverse
    assert near[-1, -1] > 1.1 * near[-1, 0]
    np.testing.assert_allclose(far[-1], far[-1, 0], rtol=1e-6)


def test_where_the_first_sees_far_the_second_counts_no_more() -> None:
    street = np.maximum(np.tile(np.linspace(-0.5, 1, 60)[:, None], (1, 80)), 0.01)
    skewed = street * np.linspace(0.8, 1.2, 80)
    mixed = mix(street, skewed, None).inverse
    np.testing.assert_allclose(mixed[-1], mixed[-1, 0], rtol=1e-6)


def test_invalid_pixels_of_the_first_stay_and_of_the_second_do_not_matter() -> None:
    first, second = room(), room()
    first[0, 0] = np.nan
    second[30:40] = np.nan
    mixed = mix(first, second, 8.0).inverse
    assert np.isnan(mixed[0, 0])
    assert np.isnan(mixed).sum() == 1


@pytest.mark.parametrize("second", [np.nan, 0.0], ids=["invalid", "sky"])
def test_a_second_that_says_nothing_leaves_the_first_alone(second: float) -> None:
    mixed = mix(room(), np.full(room().shape, second)).inverse
    assert np.corrcoef(mixed.ravel(), room().ravel())[0, 1] > 0.99


def test_a_mixture_names_both_teachers_and_both_licences(tmp_path: Path) -> None:
    info = open_teacher(str(write_mixture(tmp_path, {"licence": "CC0"}))).info
    assert (info.name, info.kind, info.units) == ("first+second", "inverse depth", "relative")
    assert info.licence == "first: MIT; second: CC0"
    other = open_teacher(str(write_mixture(tmp_path, {"licence": "CC0"}, not_beyond_m=8))).info
    assert other.version != info.version


def test_a_mixture_gives_a_map_of_each_picture(tmp_path: Path) -> None:
    teacher: Teacher = open_teacher(str(write_mixture(tmp_path)))
    pictures = [noise(20, 30, 1), noise(30, 20, 2)]
    for picture, found in zip(pictures, teacher.predict(pictures), strict=True):
        assert found.shape == picture.shape[:2]
        assert found.min() > 0


@pytest.mark.parametrize(
    ("second", "facts", "complaint"),
    [
        ({"kind": "disparity", "units": "relative"}, {}, "cannot be 'where_they_agree'"),
        ({"units": "relative"}, {"not_beyond_m": 8}, "'not_beyond_m' means nothing"),
        ({}, {"not_beyond_m": 0}, "'not_beyond_m' in"),
        ({}, {"everywhere": "first.h5"}, "which is no ONNX file"),
        ({}, {"everywhere": "absent.onnx"}, "absent.onnx"),
        ({}, {"weight": 1}, "unknown key 'weight'"),
    ],
)
def test_a_mixture_that_cannot_be_is_one_line(
    tmp_path: Path, second: dict[str, Any], facts: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(TeacherError) as caught:
        open_teacher(str(write_mixture(tmp_path, second, **facts)))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_mixture_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mixture.json"
    with pytest.raises(TeacherError, match="should name two teachers, cannot be read"):
        open_teacher(str(path))
    path.write_text("{")
    with pytest.raises(TeacherError, match="should name two teachers, cannot be read"):
        open_teacher(str(path))


def test_labels_on_which_both_teachers_disagree_are_flagged(tmp_path: Path) -> None:
    """The second teacher takes the first's near for far."""
    ramp = np.tile(np.arange(40, 200, 4, dtype=np.uint8)[:, None, None], (1, 56, 3))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    save_png(pictures / "ramp.png", ramp)
    flags = {}
    for kind in ("inverse depth", "depth"):
        path = write_mixture(tmp_path, {"kind": kind})
        run = label_folder(pictures, open_teacher(str(path)), tmp_path / kind.replace(" ", "-"))
        flags[kind] = run.results[0].flags
        assert teach_plate(ramp, open_teacher(str(path))).flags == flags[kind]
    assert "teachers disagree" not in flags["inverse depth"]
    assert "teachers disagree" in flags["depth"]


def test_composites_on_which_both_teachers_disagree_are_flagged(tmp_path: Path) -> None:
    """In the prior work's folders, and in shards."""
    write_sample_pack(tmp_path, scenes=3, cutouts=3, seed=1)
    for kind in ("depth", "inverse depth"):
        teacher = open_teacher(str(write_mixture(tmp_path, {"kind": kind})))
        assets = tmp_path / "cutouts", tmp_path / "backgrounds"
        dataset = compose_dataset(*assets, tmp_path / kind[0], small=True, depth_scenes=0)
        lines: list[str] = []
        write_folders(dataset, 3, teacher=teacher, notify=lines.append)
        assert any("3 teachers disagree" in line for line in lines) is (kind == "depth")
        shards = tmp_path / f"{kind[0]}-shards"
        label_composites(dataset, teacher, 3, output=shards)
        flags = [sample.about["teacher"]["flags"] for sample in ShardReader(shards)]
        assert ["teachers disagree" in each for each in flags] == [kind == "depth"] * 3


def test_photos_with_mixed_labels_have_ground(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "teacher"
    photos = shared_data / "rgbd"
    if not (folder / "tcmonodepth_small.onnx").is_file() or not photos.is_dir():
        pytest.skip(f"no teachers in {folder} or no pictures in {photos}")
    for name in ("tcmonodepth_small", "fastdepth_224_int8"):
        for suffix in (".onnx", ".json"):
            (tmp_path / f"{name}{suffix}").write_bytes((folder / f"{name}{suffix}").read_bytes())
    facts = {
        "everywhere": "tcmonodepth_small.onnx",
        "where_they_agree": "fastdepth_224_int8.onnx",
        "not_beyond_m": 8,
    }
    (tmp_path / "mixture.json").write_text(json.dumps(facts))
    few = tmp_path / "photos"
    few.mkdir()
    for name in ("room_2.jpg", "room_3.jpg"):
        (few / name).write_bytes((photos / name).read_bytes())
    run = label_folder(few, open_teacher(str(tmp_path / "mixture.json")), tmp_path / "labels")
    for result in run.results:
        assert not result.flags
        assert result.record is not None
        assert len(result.record.ground) >= 12
    assert "tcmonodepth_small+fastdepth_224_int8" in read_text(tmp_path / "labels" / "label.json")
