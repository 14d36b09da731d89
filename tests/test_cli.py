"""The command line from end to end: one thread through the house, and what users do wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from PIL import Image

from command_line import Outcome, Run, command
from folders import contents
from maskdepth.cli.train import load_settings, stop_interrupted
from maskdepth.errors import ConfigError, first_line
from maskdepth.images import load_picture, save_png
from maskdepth.learning.model import PRESETS, Preset
from maskdepth.learning.settings import load_config
from maskdepth.synthesis.worlds import write_sample_pack
from tiny_network import TinyNetwork

# The command line with a network that is exported at once, and small scenes.
TINY = """
from maskdepth import cli
from maskdepth.learning.model import PRESETS, Preset
from maskdepth.synthesis.worlds import pack
from tiny_network import TinyNetwork

PRESETS["small"] = Preset(TinyNetwork, None, "tiny")
pack.SCENE_SIZE = (96, 128)
cli.main()
"""
FAST = ["--small", "--size", "64", "--depth-scenes", "3", "--count", "3"]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn sample pack, with its labels taken away as a user's photos have none."""
    folder = tmp_path_factory.mktemp("pack")
    # In two calls: few enough files each to be drawn without further processes.
    write_sample_pack(folder, scenes=0, cutouts=6)
    write_sample_pack(folder, scenes=6, cutouts=0)
    for label in (folder / "backgrounds").glob("*_disparity.png"):
        label.unlink()
    return folder


@pytest.fixture(scope="module")
def model(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as `fit` leaves it: stopped by SIGTERM, and resumed as its message says."""
    folder = tmp_path_factory.mktemp("fit") / "model"
    settings = folder.parent / "settings.yaml"
    settings.write_text("steps: 60\nlog_every_steps: 1\nbatch_size: 2\n")
    tiny, home = [sys.executable, "-c", TINY], Path(__file__).parent
    call = [*tiny, "fit", str(pack / "cutouts"), str(pack / "backgrounds"), "-o", str(folder)]
    process = subprocess.Popen(
        [*call, *FAST, "--config", str(settings)], stderr=subprocess.PIPE, text=True, cwd=home
    )
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        log = folder / "log.jsonl"
        if log.exists() and log.stat().st_size > 0:
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.05)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "synthetic only" in err
    assert "--resume" in err
    assert (folder / "state.safetensors").exists()
    assert not (folder / "model.onnx").exists()
    again = shlex.split(err.rpartition("go on with: maskdepth ")[2])
    done = subprocess.run([*tiny, *again], capture_output=True, text=True, check=False, cwd=home)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return folder


def test_a_fit_that_was_stopped_leaves_a_model_folder(model: Path) -> None:
    names = {path.name for path in model.iterdir()}
    assert {
        "model.onnx", "model.safetensors", "model.json", "log.jsonl", "previews",
        "dataset", "report.html", "report.json", "state.safetensors", "assets.csv",
    } == names  # fmt: skip
    card = json.loads((model / "model.json").read_text())
    assert card["depth"] == "synthetic only"
    assert card["training"]["steps"] == 60
    assert card["metrics"]["clean"]["pictures"] == 3
    report = json.loads((model / "report.json").read_text())
    assert set(report["masks"]) == {"clean", "jpeg", "hard"}


def test_evaluate_judges_on_all_that_it_is_given(model: Path, tmp_path: Path, run: Run) -> None:
    drawn = run(
        "worlds", "-o", tmp_path / "shop", "--families", "shop", "--scenes", "2", "--cutouts", "0"
    )
    assert drawn.code == 0, drawn.err
    scenes, report = tmp_path / "shop" / "backgrounds", tmp_path / "all.html"
    done = run(
        "evaluate", "composites", model, model / "dataset", "--report", report, "--count", "1",
        "--robustness", "1", "--withheld", scenes, "--depth", scenes, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result == json.loads(report.with_suffix(".json").read_text())
    assert result["withheld"]["scenes"] == 2
    assert result["sensor_depth"]["backgrounds"]["shop"]["pictures"] == 2
    assert result["frames"] is None
    page = report.read_text()
    for title in ("Robustness", "Measured depth", "A withheld world"):
        assert f"<h2>{title}</h2>" in page


def test_a_teacher_that_is_no_network_is_refused(model: Path, run: Run) -> None:
    done = run("evaluate", "composites", model, model / "dataset", "--teacher", "exact")
    assert done.code == 2
    assert "The teacher must be a network" in done.err


def test_a_pair_is_predicted_from_the_model(
    model: Path, pack: Path, tmp_path: Path, run: Run
) -> None:
    picture = next((pack / "backgrounds").glob("*.png"))
    before = picture.read_bytes()
    plate = tmp_path / "plate.png"
    plate.write_bytes(before)
    out = tmp_path / "out"
    done = run("predict", picture, "--plate", plate, "-m", model, "-o", out, "--json")
    assert done.code == 0, done.err
    written = json.loads(done.out)["written"]
    assert len(written) == 5
    alpha = cv2.imread(str(out / f"{picture.stem}_alpha.png"), cv2.IMREAD_UNCHANGED)
    assert alpha.shape == load_picture(picture).shape[:2]
    assert picture.read_bytes() == before


def test_predict_reads_standard_input(model: Path, pack: Path, tmp_path: Path) -> None:
    picture = next((pack / "backgrounds").glob("*.png"))
    done = subprocess.run(
        command("predict", "-", "-m", model, "-o", tmp_path),
        input=picture.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*_alpha.png"))) == 1


def test_one_picture_can_become_one_file_or_go_through_a_pipe(tmp_path: Path) -> None:
    """With the shipped model; what does not fit one file is refused before the model is loaded."""
    picture = tmp_path / "a.png"
    save_png(picture, np.full((40, 50, 3), 90, np.uint8))
    piped = subprocess.run(
        command("predict", picture, "-o", "-", "--background", "white"),
        capture_output=True,
        check=True,
    )
    assert Image.open(io.BytesIO(piped.stdout)).mode == "RGB"
    out = tmp_path / "new" / "cutout.png"
    subprocess.run(command("predict", picture, "-o", out), capture_output=True, check=True)
    assert Image.open(out).mode == "RGBA"


def test_closed_streams_lose_nothing_but_their_lines(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files never get a closed stream's number, and a line that cannot be shown stops no work."""
    code = (
        "import os, sys; from maskdepth import __main__, cli; "
        "cli.main = lambda: print('shown', os.open(sys.argv[1], os.O_CREAT) > 2, file=sys.stderr); "
        "__main__.main()"
    )
    call = shlex.join([sys.executable, "-c", code, str(tmp_path / "file")])
    for closed, shown in (("<&- >&-", b"shown True\n"), ("2>&-", b""), ("<&- >&- 2>&-", b"")):
        done = subprocess.run(["sh", "-c", f"{call} {closed}"], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, shown)
    save_png(tmp_path / "a.png", np.full((40, 50, 3), 90, np.uint8))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert "stdout is closed" in run("predict", tmp_path / "a.png", "-o", "-").err
    with open("/dev/full", "w", buffering=1, encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert run("predict", tmp_path / "a.png", "-o", tmp_path / "out").code == 0
        assert run("predict", tmp_path / "no.png").code == 2
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a.png", "b.png", "-o", "c.png"], "c.png is one file"),
        (["a.png", "-o", "c.png", "--json"], "c.png is one file"),
        (["a.png", "-o", "c.tif"], "The cutout is written as .png"),
        (["a.png", "--only", "alpha", "--background", "red"], "--background makes a composite"),
        (["a.png", "--only", "alfa"], "'alfa'"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(
    arguments: list[str], line: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        save_png(name, np.zeros((9, 9, 3), np.uint8))
    done = run("predict", *arguments)
    assert (done.code, done.out) == (2, "")
    assert line in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_one_bad_picture_in_a_folder_does_not_stop_the_rest(
    model: Path, tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "in"
    save_png(folder / "good.png", np.full((40, 50, 3), 90, np.uint8))
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture")
    done = run("predict", folder, "-m", model, "-o", tmp_path / "out")
    assert done.code == 1
    assert (tmp_path / "out" / "good_alpha.png").exists()
    assert not list((tmp_path / "out").glob("empty*"))
    lines = [line for line in done.err.splitlines() if "empty.png" in line or "text.jpg" in line]
    assert len(lines) == 2
    assert "1 of 3 pictures" in done.err


@pytest.mark.parametrize("name", ["mine.json", "mine.html"])
def test_a_report_replaces_none_but_reports(
    model: Path, tmp_path: Path, run: Run, name: str
) -> None:
    """What lies under its name, or its JSON's, and is no evaluation is somebody's."""
    (tmp_path / name).write_text('{"mine": 1}')
    call = ("--report", tmp_path / "mine.html", "--count", "1")
    done = run("evaluate", "composites", model, model / "dataset", *call)
    assert done.code == 1
    assert name in done.err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"mine": 1}'


def test_a_report_that_cannot_be_written_is_told_before_judging(
    model: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "file").touch()
    done = run(
        "evaluate", "composites", model, model / "dataset", "--report", tmp_path / "file" / "r.html"
    )
    assert done.code == 1
    assert "judged" not in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("given", [("-o", ""), ("--output=",), ("-o", "out", "--plate", "")])
def test_an_empty_path_is_refused(
    given: tuple[str, ...], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be the current folder, and comes from a script's variable that is not set."""
    monkeypatch.chdir(tmp_path)
    save_png(tmp_path / "a.png", np.full((40, 50, 3), 90, np.uint8))
    done = run("predict", "a.png", *given)
    assert done.code == 2
    assert "is empty" in done.err
    assert len(done.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["predict", "picture.png", "-m", "no/where"], 2),
        (["push", "nowhere", "some/model"], 2),
        (["push", "nowhere", "model"], 2),
        (["export", "nowhere", "--licence", "MIT"], 2),
        (["predict", "nowhere.png", "-m", "nowhere"], 2),
        (["evaluate", "composites", "nowhere", "nowhere"], 2),
        (["evaluate", "composites", "nowhere", "nowhere", "--robustness", "-1"], 2),
        (["train", "nowhere", "-o", "out"], 2),
        (["export", "nowhere"], 2),
        (["compose", "nowhere", "nowhere", "-o", "out"], 2),
        (["compose", "empty", "empty", "-o", "out"], 1),
        (["compose", "empty", "empty", "-o", "out", "--plan", "odd"], 2),
        (["compose", "empty", "empty", "-o", "out", "--layout", "odd"], 2),
        (["fit", "empty", "empty", "-o", "out", "--preset", "odd"], 2),
        (["fit", "empty", "empty", "-o", "out", "--steps", "3", "--minutes", "1"], 2),
        (["fit", "empty", "empty", "-o", "out", "--minutes", "-1"], 2),
        (["fit", "empty", "empty", "-o", "out", "--config", "odd.yaml"], 2),
        (["fit", "empty", "empty", "-o", "out", "--config", "nowhere.yaml"], 2),
        (["fit", "empty", "empty", "-o", "out", "--resume"], 1),
        (["fit", "empty", "empty", "-o", "out", "--from", "nowhere"], 2),
        (["fit", "empty", "empty", "-o", "out", "--from", "shipped", "--preset", "prior"], 1),
        (["fit", "empty", "empty", "-o", "out", "--device", "tpu"], 2),
        (["fit", "empty", "empty", "-o", "out/deep"], 1),
        (["frobnicate"], 2),
        (["predict"], 2),
    ],
)
def test_a_wrong_call_ends_in_one_message_and_its_exit_code(
    arguments: list[str], code: int, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    save_png("picture.png", np.zeros((9, 9, 3), np.uint8))
    Path("odd.yaml").write_text("steps: 3\nlearning_rat: 1\n")
    before = sorted(tmp_path.rglob("*"))
    done = run(*arguments)
    assert done.code == code, done.err
    assert done.err.strip()
    assert "Traceback" not in done.err
    assert done.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("evaluate", "my model", "data"),
            (
                "evaluate needs a word: composites, frames, clips, plates, depth, distance or "
                "labels. You may mean: `maskdepth evaluate composites 'my model' data`."
            ),
        ),
        (("evaluate-frames", "m", "f"), "evaluate-frames is called evaluate frames now."),
        (("-q", "predict", "a", "--second-look"), "--second-look is called --close-up now."),
        (("predict", "a", "--no-second-look"), "--no-second-look is called --no-close-up now."),
    ],
)
def test_a_call_of_old_is_answered_with_the_present_name(
    arguments: tuple[str, ...], line: str, run: Run
) -> None:
    assert run(*arguments) == Outcome(2, "", f"error: {line}\n")


@pytest.mark.parametrize("text", ["learning_rate: 0.001\n", "minutes: 5\nlearning_rate: 0.001\n"])
def test_the_command_line_tells_how_long_whatever_a_file_says(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    settings = load_settings(None, path, steps=7)
    assert (settings.steps, settings.minutes, settings.learning_rate) == (7, None, 0.001)
    settings = load_settings(None, path, epochs=2)
    assert (settings.steps, settings.epochs) == (None, 2)


def test_a_file_that_names_a_renderer_is_read_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("steps: 7\nrenderer: device\n")
    assert load_settings(None, path).renderer is None
    assert capsys.readouterr().err.splitlines() == [
        f"The setting 'renderer' in {path} has no effect any more."
    ]


def test_a_file_of_settings_begins_with_those_of_its_preset(tmp_path: Path) -> None:
    """It may name the preset, or leave that to the command line."""
    path = tmp_path / "settings.yaml"
    path.write_text("preset: prior\nbatch_size: 8\nlosses: {alpha_bce: 0, alpha_mse: 0.1}\n")
    settings = load_settings(None, path, steps=60)
    assert (settings.preset, settings.optimiser, settings.batch_size) == ("prior", "sgd", 8)
    assert settings.losses.active() == {"alpha_mse": 0.1, "disparity_ssim": 0.9}
    assert (settings.steps, settings.epochs, settings.epoch_size) == (60, None, None)
    path.write_text("batch_size: 8\nminutes: 2\nvalidate_every_seconds: 30\n")
    settings = load_settings("prior", path)
    assert (settings.optimiser, settings.minutes, settings.epochs) == ("sgd", 2, None)
    assert (settings.validate_every_seconds, settings.validate_every_steps) == (30, None)
    assert load_settings(None, path).preset == "small"


def test_the_former_name_of_the_prior_works_preset_is_read_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was called ``seed`` once."""
    path = tmp_path / "settings.yaml"
    path.write_text("preset: seed\nsteps: 7\n")
    assert load_settings("seed", path) == load_settings("prior", path)
    assert capsys.readouterr().err.splitlines() == [
        "The preset 'seed' is called 'prior' now.",
        *[f"The preset 'seed' in {path} is called 'prior' now."] * 2,
    ]


def test_an_alias_bomb_is_one_line(tmp_path: Path) -> None:
    """What is refused is shown in short, and never built."""
    path = tmp_path / "settings.yaml"
    lines = ["a0: &a0 [1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    path.write_text("batch_size:\n" + "".join(f"  {line}\n" for line in lines) + "steps: 1\n")
    with pytest.raises(ConfigError, match="batch_size") as caught:
        load_config(path)
    assert len(str(caught.value)) < 2000


def test_fit_does_not_touch_an_earlier_model(
    model: Path, tmp_path: Path, pack: Path, run: Run
) -> None:
    """Nor one that has travelled without its weights."""
    for name in ("model.json", "model.onnx"):
        shutil.copy(model / name, tmp_path)
    for folder in (model, tmp_path):
        before = contents(folder)
        call = ("fit", pack / "cutouts", pack / "backgrounds", "-o", folder, "--steps", "6")
        done = run(*call, *FAST)
        assert (done.code, "--resume" in done.err) == (1, True)
        assert contents(folder) == before


def test_a_run_goes_on_with_the_rules_it_began_with(model: Path, pack: Path, run: Run) -> None:
    """Another size or plan is not passed over in silence."""
    before = contents(model)
    call = ("fit", pack / "cutouts", pack / "backgrounds", "-o", model, "--resume")
    done = run(*call, "--plan", "field")
    assert (done.code, "The run began" in done.err) == (2, True)
    assert contents(model) == before


def test_export_makes_the_network_again_from_its_weights(
    model: Path, tmp_path: Path, run: Run, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "small", Preset(TinyNetwork, None, "tiny"))
    tiny = tmp_path / "tiny"
    assert run("train", model / "dataset", "-o", tiny, "--steps", "1").code == 0
    network = (tiny / "model.onnx").read_bytes()
    picture = next((pack / "backgrounds").glob("*.png"))
    (tiny / "model.onnx").unlink()
    lost = run("predict", picture, "-m", tiny, "-o", tmp_path / "a")
    assert lost.code == 1
    assert "model.onnx" in lost.err
    assert run("export", tiny).code == 0
    assert abs(len((tiny / "model.onnx").read_bytes()) - len(network)) < 1000
    assert run("predict", picture, "-m", tiny, "-o", tmp_path / "b").code == 0


def test_compose_writes_the_prior_works_folders(pack: Path, tmp_path: Path, run: Run) -> None:
    call = ("compose", pack / "cutouts", pack / "backgrounds", "-o", tmp_path, "--small",
            "--plan", "prior", "--depth-scenes", "3", "--layout", "folders", "--count", "12",
            "--json")  # fmt: skip
    done = run(*call)
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    train = summary["splits"]
    expected = train["cutouts"]["train"] * train["backgrounds"]["train"] * 2 * 20
    assert summary["samples"] == expected
    for name in ("output_image", "output_bg", "output_mask"):
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert files == {f"{number}.jpg" for number in range(1, 13)}
    assert load_picture(tmp_path / "output_image" / "1.jpg").shape == (224, 224, 3)
    assert 0 < len(list((tmp_path / "output_depth").iterdir())) < 12
    before = contents(tmp_path)
    again = run(*call)
    assert (again.code, again.out) == (0, done.out)
    assert contents(tmp_path) == before


def test_strict_stops_at_the_first_bad_asset(pack: Path, tmp_path: Path, run: Run) -> None:
    cutouts = tmp_path / "cutouts"
    cutouts.mkdir()
    for path in (pack / "cutouts").glob("*.png"):
        (cutouts / path.name).write_bytes(path.read_bytes())
    (cutouts / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    rest = (pack / "backgrounds", "--small", "--depth-scenes", "0")
    lenient = run("compose", cutouts, *rest, "-o", tmp_path / "a")
    assert lenient.code == 0, lenient.err
    assert "torn.png" in lenient.err
    strict = run("compose", cutouts, *rest, "-o", tmp_path / "b", "--strict")
    assert strict.code == 1
    assert "torn.png" in strict.err
    assert not (tmp_path / "b").exists()


def test_the_demo_shows_the_shipped_model_beside_a_threshold(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its second part, which trains, runs in .ci/run."""
    small = {"_PACK": 6, "_SHOWN": 1, "_JUDGED": 2, "_TUNED": 2}
    for name, value in small.items():
        monkeypatch.setattr(f"maskdepth.pipeline.demo.{name}", value)
    done = run("demo", "--no-fit", "-o", tmp_path)
    assert done.code == 0, done.err
    assert "the shipped model 0." in done.err
    assert "a tuned threshold 0." in done.err
    assert str(tmp_path / "shipped.png") in done.err
    assert load_picture(tmp_path / "shipped.png").shape == (246, 6 * 224, 3)
    assert sorted(path.name for path in (tmp_path / "pair").iterdir()) == [
        "picture.png",
        "plate.png",
    ]
    assert run("demo", "--no-fit", "-o", tmp_path).err == ""  # shown already


def test_quiet_says_nothing_but_errors(pack: Path, tmp_path: Path, run: Run) -> None:
    arguments = (
        "compose",
        pack / "cutouts",
        pack / "backgrounds",
        "--small",
        "--depth-scenes",
        "0",
    )
    done = run("--quiet", *arguments, "-o", tmp_path / "a")
    assert (done.code, done.err) == (0, "")
    assert run(*arguments, "-o", tmp_path / "b").err


def test_version_is_the_packages(run: Run) -> None:
    from maskdepth._version import __version__

    done = run("--version")
    assert (done.code, done.out) == (0, f"maskdepth {__version__}\n")


def test_a_missing_torch_is_one_line_with_the_install_command(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from maskdepth import cli\n"
        f"sys.argv = ['maskdepth', 'fit', {str(tmp_path)!r}, {str(tmp_path)!r}, '-o', 'x']\n"
        "cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install '.[train]'" in done.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb", "a"), ("\n  a\nb", "a"), ("", "OSError"), (" \n", "OSError")],
)
def test_what_an_exception_says_is_one_line(text: str, line: str) -> None:
    assert first_line(OSError(text)) == line


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_full_disk_ends_in_one_line_and_nothing_half_written(
    model: Path, pack: Path, tmp_path: Path
) -> None:
    picture = next((pack / "backgrounds").glob("*.png"))
    arguments = ["maskdepth", "predict", str(picture), "-m", str(model), "-o", str(tmp_path)]
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from maskdepth import cli\n"
        f"sys.argv = {arguments!r}\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written: File too large" in done.stderr
    for path in tmp_path.iterdir():
        assert not path.name.startswith(".")
        assert path.suffix == ".json" or load_picture(path).size


def test_worlds_draws_the_families_it_is_told(tmp_path: Path, run: Run) -> None:
    done = run("worlds", "-o", tmp_path / "pack", "--scenes", "1", "--cutouts", "0",
               "--families", "shop")  # fmt: skip
    assert done.code == 0, done.err
    names = {path.name for path in (tmp_path / "pack" / "backgrounds").glob("*.png")}
    assert names == {"shop_000.png", "shop_000_disparity.png"}
    for families in ("shop,moon", "shop,shop"):
        wrong = run("worlds", "-o", tmp_path / "other", "--families", families)
        assert wrong.code != 0
        assert "families of scenes" in wrong.err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--count", "3"), ("--shard-size", "7"), ("--lossless",), ("--workers", "1"),
        ("--engine", "ray"),
    ],
)  # fmt: skip
def test_compose_refuses_options_of_what_it_is_not_to_write(
    option: tuple[str, ...], pack: Path, tmp_path: Path, run: Run
) -> None:
    done = run("compose", pack / "cutouts", pack / "backgrounds", "-o", tmp_path / "data", *option)
    assert done.code == 2
    assert option[0] in done.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("written", [["--from", "shipped"], ["--from=shipped"]])
def test_an_interrupted_run_goes_on_without_its_start(
    written: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that has started knows its parent, and --resume beside --from is refused."""
    monkeypatch.setattr(sys, "argv", ["maskdepth", "train", "data", *written, "-o", "run"])
    with pytest.raises(typer.Exit):
        stop_interrupted("--resume")
    assert capsys.readouterr().err.endswith("with: maskdepth train data -o run --resume\n")


@pytest.mark.parametrize("package", ["pyarrow", "deflate"])
def test_compose_misses_a_package_before_it_writes(
    package: str, pack: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    call = ("compose", pack / "cutouts", pack / "backgrounds", "-o", tmp_path / "data")
    done = run(*call, "--materialise", "4")
    assert (done.code, "pip install '.[scale]'" in done.err) == (1, True)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("started", [True, False])
def test_ctrl_c_after_the_training_says_how_to_go_on(
    started: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """While a fit is judged its training is saved; before that there is nothing to go on with."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maskdepth.pipeline.fit", interrupt)
    if started:
        (tmp_path / "state.safetensors").touch()
    done = run("fit", "cutouts", "photos", "-o", tmp_path, "--steps", "1")
    assert done.code == 130
    hint = f"go on with: maskdepth fit cutouts photos -o {tmp_path} --steps 1 --resume"
    assert (hint in done.err) == started
