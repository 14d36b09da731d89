"""What users get wrong in their first hour is answered with what is wrong, and what to do."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from command_line import Run
from maskdepth.cli.app import app
from maskdepth.cli.bench import bench_app
from maskdepth.cli.evaluate import evaluate_app
from maskdepth.datasets.build import compose_dataset
from maskdepth.errors import ModelError, UsageError
from maskdepth.images import load_picture, save_jpeg, save_png
from maskdepth.inference.model.folder import STATE_FILE, read_card
from maskdepth.inference.model.locate import shipped_folder
from maskdepth.media.pictures import find_jobs
from maskdepth.synthesis.worlds import write_sample_pack

MP4 = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with what beginners pass."""
    monkeypatch.chdir(tmp_path)
    save_png("a.png", np.full((40, 50, 3), 90, np.uint8))
    save_png("shots/a.png", np.full((40, 50, 3), 90, np.uint8))
    save_jpeg("a.jpg", np.full((40, 50, 3), 90, np.uint8))
    Path("note.txt").write_text("hello")
    Path("note").write_text("hello")
    Path("empty.png").touch()
    Path("clip.mp4").write_bytes(MP4)
    np.savez("x.npz", np.ones((40, 50)))
    return tmp_path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``cutouts``, ``backgrounds`` and their dataset ``set``."""
    folder = tmp_path_factory.mktemp("data")
    write_sample_pack(folder, scenes=3, cutouts=3, seed=1)
    pictures = folder / "cutouts", folder / "backgrounds"
    compose_dataset(*pictures, folder / "set", small=True, depth_scenes=0)
    return folder


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        ("plate clip.mp4 -o z.png", ["clip.mp4 cannot be read as a video", "is complete"]),
        ("plate a.png -o z.png", ["would be estimated from frames", "-o scene.plate"]),
        ("plate a.png shots/a.png -o z.plate", ["at least 3 pictures of the scene"]),
        ("predict note.txt -o out", ["note.txt cannot be read", "0 of 1 pictures, so nothing"]),
        ("plate no.png -o z.png", ["no.png does not exist"]),
        ("plate no.png -o z.plate", ["no.png does not exist"]),
        ("plate shots/no.png -o z.plate", ["no.png does not exist"]),
        ("plate a.png -o z.plate --depth note.txt", ["note.txt cannot be read", "or from a .npy"]),
        ("plate a.png -o z.plate --depth a.jpg", ["a.jpg", "16-bit grey PNG or TIFF in mill"]),
        ("plate a.png -o z.plate --depth empty.png", ["empty.png is an empty", ".npy file in m"]),
        ("plate a.png -o z.plate --disparity note.txt", ["note.txt", "a 16-bit greyscale PNG"]),
        ("plate a.png -o z.plate --depth x.npz", ["x.npz", "numpy.save"]),
        ("plate a.png -o z.plate --depth no.npy", ["no.npy does not exist"]),
        ("plate a.png -o z.plate --disparity no.png", ["no.png does not exist"]),
        ("plate a.png -o z.plate --disparity shots", ["shots is a folder, not a file"]),
        ("plate a.png -o z.plate --teacher no.onnx", ["no.onnx does not exist"]),
        ("predict a.png --background no.jpg", ["no.jpg does not exist"]),
        ("predict a.png --background whit", ["neither a colour", "nor a picture that can be"]),
        ("predict a.png -o note", ["note is a file, not a folder"]),
        ("predict a.png -o x.txt", ["as .png, not as .txt", ".jpg", "or name a folder"]),
        ("predict a.png -o x.csv --only alpha", ["The alpha is written as .png, not as .csv"]),
        ("demo -o note.txt", ["note.txt is a file, not a folder"]),
        ("worlds -o note.txt/new", ["note.txt is a file, not a folder"]),
        ("predict a.png -o note.txt/new.png", ["note.txt is a file, not a folder"]),
        ("compose DATA/cutouts DATA/backgrounds --small -o note.txt", ["note.txt is a file"]),
        ("plate a.png -o z.plate --teacher odd", ["There is no teacher 'odd'", "Name shipped"]),
        ("plate a.png -o note.txt/new.plate", ["note.txt is a file, not a folder"]),
        ("predict no.png", ["no.png does not exist"]),
        ("predict a.png --plate no.plate", ["no.plate does not exist"]),
        ("evaluate frames MODEL shots", ["no masks in shots", "in1.jpg", "gt1.png", "plate.png"]),
        ("evaluate clips MODEL shots", ["no masks in", "clip.mp4", "gt/000000.png", "plate.png"]),
        ("evaluate frames shipped shots", ["no masks in shots"]),
        ("evaluate composites shipped no", ["The shipped model's folder takes no report"]),
        ("evaluate frames MODEL no", ["There is no folder of pictures at no"]),
        ("compose no no -o d", ["There is no folder of cutouts at"]),
        ("train no -o d", ["There is no folder no", "maskdepth compose"]),
        ("train shots -o d", ["shots is no dataset: it has no spec.json"]),
        ("fit shots shots -o d --config no.yaml", ["no.yaml does not exist"]),
        ("compose DATA/cutouts shots -o d --rules note.txt", ["is 'hello', but should be lines"]),
        ("train DATA/set -o d --device tpu", ["'tpu'"]),
        ("train DATA/set -o d --config note.txt", ["should be lines of the form `key: value`"]),
        ("evaluate composites shipped DATA/set --report d/r.txt", ["End its name in .html"]),
        ("evaluate composites shipped DATA/set --report r.json", ["End its name in .html"]),
        ("evaluate composites no DATA/set --report d/r.html", ["no is not there"]),
        ("evaluate composites shipped DATA/set --report r.html --slices x", ["no slice 'x'"]),
    ],
)
def test_a_mistake_is_named_with_its_remedy(
    call: str, lines: list[str], here: Path, data: Path, run: Run
) -> None:
    """Without a word before it that work has begun, and nothing is left behind."""
    before = sorted(here.rglob("*"))
    call = call.replace("MODEL", str(shipped_folder())).replace("DATA", str(data))
    done = run(*call.split())
    assert done.code in (1, 2)
    assert "judging" not in done.err
    for line in lines:
        assert line in done.err
    assert sorted(here.rglob("*")) == before


PATHS_THAT_LEAD_NOWHERE = [
    "predict no.png",
    "predict a.png no.png",
    "predict a.png -m no",
    "predict a.png -m no/no",
    "predict a.png -m some/deep/folder",
    "evaluate plates no",
    "predict a.png --plate no.png",
    "predict a.png --background no.png",
    "plate no.png -o z.plate",
    "plate a.png -o z.plate --teacher no.onnx",
    "plate a.png -o z.plate --depth no.npy",
    "compose no no -o d",
    "compose DATA/cutouts DATA/backgrounds -o d --layout folders --teacher no.onnx",
    "compose DATA/cutouts DATA/backgrounds -o d --rules no.yaml",
    "label no --teacher shipped -o d",
    "label DATA/set --teacher densedepth:no.h5 --licence MIT",
    "inspect no",
    "train no -o d",
    "train DATA/set -o d --from no",
    "fit no no -o d",
    "export no -o d",
    "push no owner/name",
    "page --model no -o d",
    "bench predict no",
    "bench stream no",
    "serve -m no --store d",
    "evaluate composites shipped no --report d/r.html",
    "evaluate composites shipped DATA/set --report d/r.html --against no",
    "evaluate frames shipped no",
    "evaluate clips shipped no",
    "evaluate depth shipped no",
    "evaluate distance no",
    "evaluate labels no --teacher shipped",
]


@pytest.mark.parametrize("call", PATHS_THAT_LEAD_NOWHERE)
def test_a_path_that_leads_nowhere_is_a_wrong_call_of_any_command(
    call: str, here: Path, data: Path, run: Run
) -> None:
    done = run(*call.replace("DATA", str(data)).split())
    assert done.code == 2
    assert "no" in done.err
    assert not Path("d").exists()


def test_all_commands_that_read_a_path_are_tried_with_one_that_leads_nowhere() -> None:
    """The others draw what they need, or measure this machine."""
    for group, name in ((app, ""), (evaluate_app, "evaluate "), (bench_app, "bench ")):
        for command in group.registered_commands:
            assert command.callback is not None
            word = name + (command.name or command.callback.__name__)
            reads = any(call.startswith(f"{word} ") for call in PATHS_THAT_LEAD_NOWHERE)
            assert reads is (word not in ("worlds", "demo", "bench train"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("predict broken.png", "0 of 1 pictures"),
        ("plate broken.png -o z.plate", "broken.png cannot be read"),
        ("predict a.png -m shots", "shots is no model folder"),
        ("inspect shots", "shots is no dataset"),
    ],
)
def test_what_is_there_and_cannot_be_used_is_a_failure(
    call: str, words: str, here: Path, run: Run
) -> None:
    Path("broken.png").write_bytes(Path("a.png").read_bytes()[:60])
    done = run(*call.split())
    assert done.code == 1
    assert words in done.err


def test_a_training_that_was_interrupted_is_no_model_yet(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).touch()
    with pytest.raises(ModelError, match="interrupted, and no model yet") as caught:
        read_card(tmp_path)
    assert "--resume" in str(caught.value)


@pytest.mark.parametrize("source", ["locked/a.png", "locked/*.png", "locked"])
def test_what_may_not_be_read_is_not_called_missing(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_png("locked/a.png", np.zeros((9, 9, 3), np.uint8))
    locked = tmp_path / "locked"
    locked.chmod(0)
    if os.access(locked, os.R_OK):  # the system's administrator may read all

        def deny(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "lstat", deny)
        monkeypatch.setattr(Path, "iterdir", deny)
    try:
        with pytest.raises(UsageError, match="Permission denied"):
            find_jobs(source)
        with pytest.raises(UsageError, match="Permission denied"):
            find_jobs(str(locked.parent), source)
    finally:
        locked.chmod(0o755)


def test_few_backgrounds_are_counted_in_words_that_fit(here: Path, data: Path, run: Run) -> None:
    """One is no 'backgrounds', two that differ do not look alike; and an error comes alone."""
    call = ("compose", data / "cutouts", "few", "-o", "d")
    numbers = np.random.default_rng(0)
    for count, words in ((1, "you have one background, too few"), (2, "2 backgrounds, too few")):
        rows = numbers.integers(0, 256, (8, 8, 3), np.uint8)
        save_png(f"few/{count}.png", rows.repeat(40, 0).repeat(40, 1))
        assert words in run(*call[:-1], f"d{count}", "--small").err
    save_png("few/3.png", load_picture("few/1.png") // 8 * 8)
    assert "3 backgrounds that look like 2, too few" in run(*call, "--small").err
    done = run(*call[:-1], "e")  # without --small
    assert done.code == 1
    assert "none is in val" in done.err
    assert "too few" not in done.err


@pytest.mark.parametrize(
    "call",
    [
        "train no -o d",
        "train no -o d --device tpu",
        "fit no no -o d",
        "fit shots shots -o d --steps 1 --minutes 1",
        "fit shots shots -o d --device tpu",
        "fit shots shots -o d --resume",
    ],
)
def test_a_busy_machine_matters_only_where_training_begins(
    call: str, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")  # and so it is taken away again after the test
    monkeypatch.setattr("maskdepth.processes.measure_load", lambda: 0.9)
    done = run(*call.split())
    assert done.code in (1, 2)
    assert "Other programs" not in done.err
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("--background no.jpg", "no.jpg does not exist"),
        ("--plate note.txt", "note.txt cannot be read as a picture"),
        ("-m no", "no is not there"),
        ("-o out.png", "out.png is one file"),
    ],
)
def test_a_wrong_call_is_one_line_however_many_pictures_it_names(
    options: str, error: str, here: Path, run: Run
) -> None:
    """Without the notice that the pictures share a name."""
    done = run("predict", "a.png", "shots", *options.split())
    assert done.code in (1, 2)
    assert error in done.err
    assert done.err.count("\n") == 1
    assert "share their names" in run("predict", "a.png", "shots", "-o", "out").err


@pytest.mark.parametrize("quiet", ["-q", "--quiet"])
@pytest.mark.parametrize("after", [False, True])
def test_quiet_may_stand_before_or_after_the_command(
    quiet: str, after: bool, here: Path, run: Run
) -> None:
    call = ["predict", "a.png", "--only", "alpha", "-o", "out"]
    done = run(*([*call, quiet] if after else [quiet, *call]))
    assert done == (0, "", "")
    assert run(*call).err != ""


def test_help_has_words_for_values_and_whole_sentences(run: Run) -> None:
    """No type of Python, and no sentence cut off at the end of the line."""
    for words in ((), ("predict",), ("evaluate",), ("evaluate", "composites"), ("bench",)):
        text = run(*words, "--help").out
        assert "Usage:" in text
        assert not re.search(r"<(str|path|int|float|list|int range)", text)
        assert "...\n" not in text.partition("Commands:")[2]
    text = run("predict", "--help").out
    for words in ("--threads N", "--model MODEL", "--plate PLATE"):
        assert words in text


def test_frames_may_be_listed_as_a_shell_lists_them(here: Path, run: Run) -> None:
    frames = [f"shots/{name}.png" for name in "abc"]
    for number, frame in enumerate(frames):
        save_png(frame, np.full((40, 50, 3), 90 + number, np.uint8))
    for sources, output in ((frames, "listed.png"), (["shots"], "folder.png")):
        assert run("plate", *sources, "-o", output).code == 0
    assert np.array_equal(load_picture("listed.png"), load_picture("folder.png"))
    assert run("plate", *frames, "-o", "shots/b.png").code == 2
