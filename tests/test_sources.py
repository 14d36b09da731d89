"""The pictures that a user names are found and predicted."""

from __future__ import annotations

import io
import json
import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maskdepth.cli.options import report_failures
from maskdepth.errors import PictureError, PlateError, StorageError, UsageError
from maskdepth.images import load_picture
from maskdepth.inference.plate.profile import profile_from_disparity, save_profile
from maskdepth.inference.prediction import Prediction
from maskdepth.media.pictures import PredictionJob, find_jobs, predict_all, predict_file
from maskdepth.testing import FakeBackend

PREDICTOR = FakeBackend().predictor(training_size=64, refine=False)


def picture(path: Path, grey: int = 100, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(path)
    return path


def names(jobs: list[PredictionJob]) -> list[str]:
    return [Path(job.name).name for job in jobs]


# Finding


def test_a_plate_of_all_pictures_that_cannot_be_read_is_an_error_at_once(tmp_path: Path) -> None:
    """A circle of links, a text, and a profile that is none."""
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name in ("note.txt", "note.plate"):
        (tmp_path / name).write_text("hello")
    for name in ("loop.png", "note.txt", "note.plate"):
        with pytest.raises((PictureError, PlateError), match=name):
            find_jobs(str(tmp_path / "in"), str(tmp_path / name))


def test_a_name_too_long_for_its_outputs_fails_alone(tmp_path: Path) -> None:
    for name in ("a.png", f"{'b' * 245}.png", "c.png"):
        picture(tmp_path / "in" / name)
    summary = predict_all(PREDICTOR, find_jobs(str(tmp_path / "in")), tmp_path / "out")
    assert [Path(name).name[0] for name, _ in summary.failures] == ["b"]
    assert {path.name[0] for path in (tmp_path / "out").iterdir()} == {"a", "c"}


def test_a_single_picture_is_one_job(tmp_path: Path) -> None:
    path = picture(tmp_path / "cat.JPG")
    assert find_jobs(str(path)) == [PredictionJob(path, None, "cat")]


def test_a_folder_gives_its_pictures_by_name(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "C.TIFF", ".hidden.png", "sub/d.png"):
        picture(tmp_path / name)
    for ending in ("alpha.png", "disparity.png", "depth.png", "cutout.png", "preview.jpg"):
        picture(tmp_path / f"b_{ending}")
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "folder.png").mkdir()
    jobs = find_jobs(str(tmp_path))
    assert names(jobs) == ["C.TIFF", "a.jpg", "b.png"]
    assert [job.stem for job in jobs] == ["C", "a", "b"]


def test_an_output_of_an_earlier_run_may_be_named_itself(tmp_path: Path) -> None:
    path = picture(tmp_path / "b_alpha.png")
    assert names(find_jobs(str(path))) == ["b_alpha.png"]


def test_a_pattern_goes_into_folders(tmp_path: Path) -> None:
    for name in ("one/a.jpg", "two/deep/b.jpg", "two/c.png", "two/d.txt"):
        picture(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).touch()
    assert names(find_jobs(str(tmp_path / "**" / "*.jpg"))) == ["a.jpg", "b.jpg"]
    assert names(find_jobs(str(tmp_path / "two" / "*"))) == ["c.png"]


def test_a_file_named_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    path = picture(tmp_path / "a[1].png")
    picture(tmp_path / "a1.png")
    assert find_jobs(str(path)) == [PredictionJob(path, None, "a[1]")]


def test_standard_input_is_one_job(tmp_path: Path) -> None:
    plate = picture(tmp_path / "p.png")
    assert find_jobs("-", str(plate), stdin=b"bytes") == [PredictionJob(b"bytes", plate, "stdin")]
    for nothing in (None, b""):
        with pytest.raises(UsageError, match="Standard input is empty"):
            find_jobs("-", stdin=nothing)


def test_one_plate_serves_all_and_is_no_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "plate.png"):
        picture(tmp_path / name)
    jobs = find_jobs(str(tmp_path), str(tmp_path / "plate.png"))
    assert names(jobs) == ["a.png", "b.png"]
    assert {job.plate for job in jobs} == {tmp_path / "plate.png"}


def test_a_folder_of_plates_is_matched_by_stem(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "c.png", "d.png"):
        picture(tmp_path / "in" / name)
    for name in ("a.png", "c.jpg", "c.webp", "d.jpg", "d.png", "other.png"):
        picture(tmp_path / "plates" / name)
    jobs = find_jobs(str(tmp_path / "in"), str(tmp_path / "plates"))
    partners = {job.stem: job.plate.name if job.plate else None for job in jobs}
    assert partners == {"a": "a.png", "b": None, "c": None, "d": "d.png"}
    problems = {job.stem: str(job.problem) for job in jobs if job.problem}
    assert "but has none" in problems.pop("b")
    assert "c.jpg and c.webp" in problems.pop("c")
    assert problems == {}


def test_plates_inside_the_pattern_are_no_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "plates" / "a.png")
    jobs = find_jobs(str(tmp_path / "**" / "*.png"), str(tmp_path / "plates"))
    assert jobs == [PredictionJob(tmp_path / "a.png", tmp_path / "plates" / "a.png", "a")]


def test_a_picture_is_not_its_own_plate(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    with pytest.raises(UsageError, match="two folders"):
        find_jobs(str(tmp_path), str(tmp_path))
    for plate in (path, tmp_path):
        (job,) = find_jobs(str(path), str(plate))
        assert "cannot be its own plate" in str(job.problem)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "An empty path does not exist."),
        ("nowhere.jpg", "nowhere.jpg does not exist."),
        ("a\0b", "a\0b does not exist."),
        ("*.jpg", ") in *.jpg; plates"),
        ("empty", ") in empty; plates"),
    ],
)
def test_a_source_without_pictures_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=re.escape(message)):
        find_jobs(source)


def test_a_folder_of_outputs_only_says_so(tmp_path: Path) -> None:
    picture(tmp_path / "a_alpha.png")
    with pytest.raises(UsageError, match="outputs of earlier runs do not count"):
        find_jobs(str(tmp_path))


def test_a_missing_plate_is_named(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"plate\.png does not exist"):
        find_jobs(str(path), str(tmp_path / "plate.png"))


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", deny)
    with pytest.raises(UsageError, match="Permission denied"):
        find_jobs(str(tmp_path))


def test_stems_that_collide_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a.jpg", "A.png", "b.png"):
        picture(tmp_path / name)
    jobs = {Path(job.name).name: job.stem for job in find_jobs(str(tmp_path))}
    assert jobs == {"a.jpg": "a.jpg", "A.png": "A.png", "b.png": "b"}


def test_longer_names_of_outputs_are_said(tmp_path: Path) -> None:
    """Two folders with a picture of one name; nothing is said where all names are as expected."""
    for folder in ("one", "two"):
        picture(tmp_path / folder / "x.jpg")
    lines: list[str] = []
    find_jobs(str(tmp_path / "one"), notify=lines.append)
    assert lines == []
    find_jobs([str(tmp_path / "one"), str(tmp_path / "two")], notify=lines.append)
    assert len(lines) == 1
    assert "2 pictures share their names" in lines[0]
    assert f"{tmp_path / 'two' / 'x.jpg'} begin with x.jpg-2" in lines[0]


@given(
    st.sets(
        st.tuples(
            st.sampled_from(["x", "y"]),
            st.sampled_from(["a", "A", "a.jpg", "a-2", "a.jpg-2"]),
            st.sampled_from(["jpg", "png", "JPG"]),
        ),
        min_size=1,
    )
)
def test_no_two_jobs_share_a_stem(
    tmp_path_factory: pytest.TempPathFactory, parts: set[tuple[str, str, str]]
) -> None:
    root = tmp_path_factory.mktemp("stems")
    for folder, stem, suffix in parts:
        path = root / folder / f"{stem}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    jobs = find_jobs(str(root / "*" / "*"))
    assert len(jobs) == len(parts)
    assert len({job.stem.casefold() for job in jobs}) == len(parts)
    assert jobs == find_jobs(str(root / "*" / "*"))


# Predicting all


def test_a_run_goes_on_after_failures(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "d.png", "e.png"):
        picture(tmp_path / "in" / name)
        picture(tmp_path / "plates" / name, size=(6, 8) if name == "d.png" else (8, 6))
    (tmp_path / "plates" / "b.png").unlink()
    (tmp_path / "in" / "c.png").write_bytes(b"not a picture")
    picture(tmp_path / "plates" / "c.png")
    jobs = find_jobs(str(tmp_path / "in"), str(tmp_path / "plates"))
    assert [job.stem for job in jobs] == ["a", "b", "c", "d", "e"]
    out = tmp_path / "new" / "out"
    summary = predict_all(PREDICTOR, jobs, out)
    assert [Path(name).name for name, _ in summary.failures] == ["b.png", "c.png", "d.png"]
    for (_, message), words in zip(
        summary.failures,
        ("plate named 'b'", "cannot be read as a picture", "another shape"),
        strict=True,
    ):
        assert words in message
    assert sorted(summary.written) == sorted(out.iterdir())
    assert {path.name[0] for path in summary.written} == {"a", "e"}
    record = json.loads((out / "a.json").read_text())
    assert (record["picture"], record["plate"], record["plate_used"]) == ("a.png", "a.png", True)


def test_each_picture_meets_its_own_plate(tmp_path: Path) -> None:
    jobs = []
    for index, grey in enumerate((0, 0, 50, 0)):
        plate = picture(tmp_path / f"plate{grey}.png", grey)
        jobs.append(PredictionJob(picture(tmp_path / f"{index}.png", 50), plate, str(index)))
    predict_all(PREDICTOR, jobs, tmp_path / "out")
    found = [np.asarray(Image.open(tmp_path / "out" / f"{i}_alpha.png")).max() for i in range(4)]
    assert found == [255, 255, 0, 255]


@pytest.mark.parametrize("name", ["plate.png", "scene.plate"])
def test_the_plate_of_all_pictures_is_read_once_for_the_run(name: str, tmp_path: Path) -> None:
    """It may even go in the meantime, and the predictions name it all the same."""
    sources = [str(picture(tmp_path / f"{stem}.png", 50)) for stem in "ab"]
    plate = picture(tmp_path / "plate.png", 0)
    if name == "scene.plate":
        near = np.full((6, 8), 0.5, np.float32)
        save_profile(tmp_path / name, profile_from_disparity(load_picture(plate), near))
        plate = tmp_path / name
    jobs = find_jobs(sources, str(plate))
    plate.unlink()
    summary = predict_all(PREDICTOR, jobs, tmp_path / "out")
    assert summary.failures == ()
    assert json.loads((tmp_path / "out" / "b.json").read_text())["plate"] == name
    _, prediction = predict_file(PREDICTOR, jobs[0], tmp_path / "a_only.png")
    assert prediction.provenance.plate_file == plate


def test_bytes_from_a_pipe_are_predicted(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.png").read_bytes()
    summary = predict_all(PREDICTOR, find_jobs("-", stdin=data), tmp_path / "out")
    assert summary.failures == ()
    assert tmp_path / "out" / "stdin_alpha.png" in summary.written
    assert json.loads((tmp_path / "out" / "stdin.json").read_text())["picture"] is None


def test_a_name_that_is_no_utf8_is_no_obstacle(tmp_path: Path) -> None:
    """Some file systems hold such names, and the JSON still is valid."""
    stem = os.fsdecode(b"caf\xe9")
    try:
        picture(tmp_path / f"{stem}.png")
    except OSError:
        pytest.skip("this file system takes only valid names")
    summary = predict_all(PREDICTOR, find_jobs(str(tmp_path)), tmp_path / "out")
    assert summary.failures == ()
    record = json.loads((tmp_path / "out" / f"{stem}.json").read_text(encoding="utf-8"))
    assert record["picture"] == f"{stem}.png"


def test_no_input_of_the_run_is_overwritten(tmp_path: Path) -> None:
    plate = picture(tmp_path / "a_cutout.png", 7)
    before = plate.read_bytes()
    jobs = [
        PredictionJob(picture(tmp_path / "a.png"), None, "a"),
        PredictionJob(picture(tmp_path / "b.png"), plate, "b"),
    ]
    summary = predict_all(PREDICTOR, jobs, tmp_path)
    assert [name for name, _ in summary.failures] == [str(tmp_path / "a.png")]
    assert "an input" in summary.failures[0][1]
    assert not (tmp_path / "a_alpha.png").exists()
    assert (tmp_path / "b_alpha.png").exists()
    assert plate.read_bytes() == before


def test_a_second_run_beside_the_pictures_finds_the_same_jobs(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    jobs = find_jobs(str(tmp_path))
    first = predict_all(PREDICTOR, jobs, tmp_path)
    assert find_jobs(str(tmp_path)) == jobs
    assert predict_all(PREDICTOR, jobs, tmp_path).written == first.written


@pytest.mark.parametrize("name", ["a.json", "a_disparity.png", "a_cutout.png"])
def test_files_that_are_no_predictions_are_left_alone(tmp_path: Path, name: str) -> None:
    path = picture(tmp_path / "a.png")
    jobs = [PredictionJob(path, None, "a"), PredictionJob(path, None, "b")]
    (tmp_path / name).write_text('{"format": "mine"}')
    summary = predict_all(PREDICTOR, jobs, tmp_path)
    assert [message for _, message in summary.failures if name in message]
    assert len(summary.failures) == 1
    assert (tmp_path / name).read_text() == '{"format": "mine"}'
    assert sorted(path.name for path in tmp_path.glob("a*")) == sorted(["a.png", name])
    assert (tmp_path / "b.json").exists()


def test_files_of_layers_that_a_run_does_not_make_are_in_nobodys_way(tmp_path: Path) -> None:
    """Without metres there is no depth to write, and without a background no composite."""
    path = picture(tmp_path / "a.png")
    for name in ("a_depth.png", "a_composite.png"):
        (tmp_path / name).write_text("mine")
    assert not predict_all(PREDICTOR, [PredictionJob(path, None, "a")], tmp_path).failures
    assert (tmp_path / "a_depth.png").read_text() == "mine"
    assert (tmp_path / "a_composite.png").read_text() == "mine"


def test_what_concerns_the_whole_run_stops_it(tmp_path: Path) -> None:
    jobs = [PredictionJob(picture(tmp_path / "a.png"), None, "a")]
    with pytest.raises(UsageError, match="matte"):
        predict_all(PREDICTOR, jobs, tmp_path / "out", depth_format="matte")
    assert not (tmp_path / "out").exists()
    with pytest.raises(StorageError, match="another output folder"):
        predict_all(PREDICTOR, jobs, tmp_path / "a.png")


# Several pictures, single files, other backgrounds


def test_a_list_of_files_is_what_a_shell_makes_of_a_pattern(tmp_path: Path) -> None:
    """Each once, and neither the plate among them nor the outputs of earlier runs."""
    paths = [picture(tmp_path / name) for name in ("a.png", "b.png", "plate.png", "a_alpha.png")]
    jobs = find_jobs([str(path) for path in [*paths, paths[0]]], str(tmp_path / "plate.png"))
    assert names(jobs) == ["a.png", "b.png"]
    assert names(find_jobs([str(paths[1]), str(tmp_path)])) == ["b.png", "a.png", "plate.png"]
    with pytest.raises(UsageError, match="Give - alone"):
        find_jobs(["-", str(paths[0])], stdin=b"bytes")
    with pytest.raises(UsageError, match="All of these files are plates or outputs"):
        find_jobs([str(path) for path in paths[2:]], str(tmp_path / "plate.png"))
    with pytest.raises(UsageError, match=r"gone\.png does not exist"):
        find_jobs([str(paths[0]), str(tmp_path / "gone.png")])


def test_only_the_wanted_files_are_written(tmp_path: Path) -> None:
    jobs = find_jobs(str(picture(tmp_path / "a.png")))
    predict_all(PREDICTOR, jobs, tmp_path / "out", only=["alpha", "cutout"])
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"a_alpha.png", "a_cutout.png", "a.json"}
    assert not predict_all(PREDICTOR, jobs, tmp_path / "out").failures  # all layers, after some
    with pytest.raises(UsageError, match="'matte'"):
        predict_all(PREDICTOR, jobs, tmp_path / "out", only=["matte"])


@pytest.mark.parametrize(
    ("file", "formats", "background", "mode"),
    [
        ("out.png", None, None, "RGBA"),
        ("out.png", None, "white", "RGB"),
        ("out.jpg", None, (0, 128, 255), "RGB"),
        ("out.PNG", ["alpha"], None, "L"),
        ("out.png", ["disparity"], None, "I;16"),
    ],
)
def test_one_file_holds_one_layer(
    tmp_path: Path,
    file: str,
    formats: list[str] | None,
    background: str | tuple[int, int, int] | None,
    mode: str,
) -> None:
    """The cutout, its composite with a background, or the layer that is wanted."""
    plate = picture(tmp_path / "plate.png", grey=20)
    (job,) = find_jobs(str(picture(tmp_path / "a.png")), str(plate))
    content, _ = predict_file(PREDICTOR, job, Path(file), only=formats, background=background)
    with Image.open(io.BytesIO(content)) as opened:
        assert (opened.mode, opened.size) == (mode, (8, 6))


@pytest.mark.parametrize(
    ("file", "formats", "message"),
    [
        ("out.jpg", None, r"cutout is written as \.png, not as \.jpg. Use \.png, give a --back"),
        ("out.png", ["alpha", "json"], "one file, but these are wanted: alpha, json"),
        ("out.png", ["depth"], "Depth in metres needs a calibrated plate profile"),
        ("out.png", ["composite"], "A composite needs a background"),
        ("out.npy", ["alpha"], r"alpha is written as \.png, not as \.npy"),
    ],
)
def test_a_file_that_cannot_hold_a_layer_is_refused(
    tmp_path: Path, file: str, formats: list[str] | None, message: str
) -> None:
    (job,) = find_jobs(str(picture(tmp_path / "a.png")))
    with pytest.raises(UsageError, match=message):
        predict_file(PREDICTOR, job, Path(file), only=formats)
    with pytest.raises(UsageError, match="is an input"):
        predict_file(PREDICTOR, job, tmp_path / "a.png")


def test_a_background_is_read_before_any_work_and_never_overwritten(tmp_path: Path) -> None:
    """Nor is a plate whose name takes a detour through a folder that the run would make."""
    plate = picture(tmp_path / "plate.png", grey=20)
    (job,) = find_jobs(str(picture(tmp_path / "a.png")), str(plate))
    with pytest.raises(PictureError, match=r"no\.png does not exist"):
        predict_all(PREDICTOR, [job], tmp_path / "out", background="no.png")
    assert not (tmp_path / "out").exists()
    behind = picture(tmp_path / "out" / "a_composite.png")
    before = behind.read_bytes()
    with pytest.raises(UsageError, match="is an input"):
        predict_file(PREDICTOR, job, behind, background=str(behind))
    summary = predict_all(
        PREDICTOR, [job], behind.parent, only=["composite"], background=str(behind)
    )
    assert "is an input" in summary.failures[0][1]
    with pytest.raises(UsageError, match="is an input"):
        PREDICTOR.predict(str(plate)).save(
            behind.parent, "a", only=["composite"], background=behind
        )
    assert behind.read_bytes() == before
    with pytest.raises(UsageError, match="is an input"):
        predict_file(PREDICTOR, job, tmp_path / "missing" / ".." / "plate.png")


def test_depth_alone_is_a_failure_where_nothing_is_in_metres(tmp_path: Path) -> None:
    jobs = find_jobs(str(picture(tmp_path / "a.png")))
    summary = predict_all(PREDICTOR, jobs, tmp_path / "out", only=["depth"])
    assert "needs a calibrated plate profile" in summary.failures[0][1]


def test_a_composite_is_the_cutout_on_its_background(tmp_path: Path) -> None:
    """By the compositing equation; a picture fills the frame and keeps its middle there."""
    alpha = np.zeros((6, 8), np.float32)
    alpha[:, :4], alpha[:, 4:6] = 1, 0.5
    image = np.full((6, 8, 3), 200, np.uint8)
    prediction = Prediction(image, alpha, alpha)
    on_colour = prediction.composite("#0a141e")
    assert on_colour[0, 0].tolist() == [200, 200, 200]
    half = np.rint(0.501961 * 200 + 0.498039 * np.array([10, 20, 30]))
    assert on_colour[0, 5].tolist() == half.tolist()
    assert on_colour[0, 7].tolist() == [10, 20, 30]
    wide = np.zeros((12, 64, 3), np.uint8)
    wide[:, 28:36] = 250
    on_picture = prediction.composite(wide)
    assert on_picture[0, 7].tolist() == [0, 0, 0]
    empty = Prediction(image, np.zeros_like(alpha), alpha).composite(wide)
    assert np.flatnonzero(empty[0, :, 0] > 125).tolist() == [2, 3, 4, 5]
    for wrong in (
        "blurple",
        "rgb(300,0,0)",
        (300, 0, 0),
        (-1, 0, 0),
        (1, 2),
        ("a", "b", "c"),
        "\0",
    ):
        with pytest.raises(PictureError, match="is neither a colour"):
            prediction.composite(wrong)  # type: ignore[arg-type]
    written = prediction.save(tmp_path, "x", background=wide)
    assert tmp_path / "x_composite.png" in written


# What is no picture, and names that differ in their bytes alone


def test_a_folder_tells_by_kind_what_it_left_out(tmp_path: Path) -> None:
    """One line counts videos, HEIC photos and depth maps; plates, outputs and folders are ours."""
    for name in ("a.png", "b.jfif", "c.JPE", "plate.png", "a_alpha.png", "a_depth_mm.png"):
        picture(tmp_path / f"{name}.png").rename(tmp_path / name)
    for name in ("clip.mp4", "IMG_1.HEIC", "IMG_2.heic", "a.json", "a.plate", "notes.txt", ".x"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    lines: list[str] = []
    jobs = find_jobs(str(tmp_path), str(tmp_path / "plate.png"), notify=lines.append)
    assert names(jobs) == ["a.png", "b.jfif", "c.JPE"]
    counted = "2 HEIC photos, 1 depth map, 1 video, 1 other file (.txt)"
    assert [sorted(lines[0].split(": ")[1].split(", ")), len(lines)] == [
        sorted(counted.split(", ")),
        1,
    ]
    find_jobs(str(tmp_path / "*.jfif"), notify=lines.append)
    assert len(lines) == 1


def test_a_folder_without_pictures_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(UsageError, match=r"There are no pictures .* but 1 video"):
        find_jobs(str(tmp_path))


def test_depth_maps_and_outputs_are_no_pictures_to_predict(tmp_path: Path) -> None:
    """Nobody wants the cutout of a depth map; an output is known by its JSON."""
    predict_all(PREDICTOR, find_jobs(str(picture(tmp_path / "a.png"))), tmp_path)
    depth = picture(tmp_path / "b_depth_mm.png")
    for path, words in (
        (depth, "is a depth map by its name"),
        (tmp_path / "a_disparity.png", "is an output of an earlier run"),
        (tmp_path / "a_cutout.png", "is an output of an earlier run"),
    ):
        summary = predict_all(PREDICTOR, find_jobs(str(path)), tmp_path / "out")
        assert words in summary.failures[0][1]
        assert not (tmp_path / "out").exists()  # no files, so no folder


@pytest.mark.parametrize("address", ["https://example.org/a.jpg?x=1", "rtsp://camera/1"])
def test_an_address_is_refused_in_one_sentence(address: str, tmp_path: Path) -> None:
    path = str(picture(tmp_path / "a.png"))
    for source, plate in ((address, None), (path, address)):
        with pytest.raises(UsageError, match=r"is an address, not a file\. Download"):
            find_jobs(source, plate)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_match_however_they_are_composed(tmp_path: Path, forms: tuple[str, str]) -> None:
    """macOS writes an accented letter as two code points, others as one."""
    ours, theirs = (unicodedata.normalize(form, "café") for form in forms)
    picture(tmp_path / "in" / f"{ours}.png")
    picture(tmp_path / "plates" / f"{theirs}.jpg")
    (job,) = find_jobs(str(tmp_path / "in"), str(tmp_path / "plates"))
    assert job.problem is None
    assert job.plate == tmp_path / "plates" / f"{theirs}.jpg"
    picture(tmp_path / "in" / f"{theirs}.jpg")
    stems = {job.stem for job in find_jobs(str(tmp_path / "in"))}
    assert {unicodedata.normalize("NFC", stem) for stem in stems} == {"café.png", "café.jpg"}


def test_a_failure_names_its_picture_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "e.png").touch()
    summary = predict_all(PREDICTOR, find_jobs(str(tmp_path / "e.png")), tmp_path / "out")
    report_failures([*summary.failures, ("f.png", "It is gone."), ("g.png", "No plate of g.png.")])
    lines = capsys.readouterr().err.splitlines()
    assert [line.count("e.png") for line in lines] == [1, 0, 0]
    assert lines[1:] == ["f.png: It is gone.", "No plate of g.png."]
