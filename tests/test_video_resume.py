"""A run that was interrupted, killed or out of space leaves files that play, and can go on."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from clip_files import draw_clip, draw_plate, fake_stream, read_pixels, read_sound, read_ticks
from command_line import Run
from maskdepth.errors import StorageError, UsageError
from maskdepth.media.clip_outputs import FileSink, open_sinks
from maskdepth.media.frames import Frame
from maskdepth.media.run_stream import run_stream
from maskdepth.media.video import VideoSource

NAMES = ("a.mov", "a.webm", "a.mkv", "a.mp4", "a.jsonl", "pictures")
VIDEOS = NAMES[:4]
FRAMES, STOP = 120, 90  # at 30 a second, so that what a second holds back is less than half


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ticks = [3000 * (number % 11 and number) + 1500 * (number % 2) for number in range(FRAMES)]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return draw_clip(path, sorted(set(ticks)), sound="aac", moving=False)


def run_into(
    folder: Path, clip: Path, frames: Iterable[Frame] | None = None, *, resume: bool = False
) -> list[FileSink]:
    """Predict a clip, or some frames of it, into all kinds of files."""
    source = VideoSource(clip)
    sinks = open_sinks([folder / name for name in NAMES], source, only=None, resume=resume)
    first = sinks[0].frames_kept
    given = (each for each in source if each.index >= first)
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        run_stream(fake_stream(), given if frames is None else frames, sinks)
    return sinks


def until_stop(clip: Path) -> Iterator[Frame]:
    for frame in VideoSource(clip):
        if frame.index == STOP:
            raise KeyboardInterrupt
        yield frame


def read_lines(folder: Path) -> list[dict[str, object]]:
    """Without the objects, which get new ids where a run goes on."""
    lines = [json.loads(line) for line in (folder / "a.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key != "objects"} for line in lines]


def check_complete(folder: Path, clip: Path, reference: Path) -> None:
    """All outputs are there, and as if nothing had stopped them."""
    assert sorted(each.name for each in folder.iterdir()) == sorted(NAMES)
    for name in VIDEOS:
        assert read_ticks(folder / name) == read_ticks(reference / name)
        assert read_sound(folder / name) == read_sound(reference / name)
        codec = "libvpx-vp9" if name == "a.webm" else None
        layout = "rgb24" if name == "a.mp4" else "rgba"
        frames, expected = (
            np.array(read_pixels(each / name, layout, codec)).astype(int)[..., -1]
            for each in (folder, reference)
        )
        tolerance = {"a.mkv": 0, "a.mov": 2, "a.webm": 6, "a.mp4": 40}[name]
        assert np.abs(frames - expected).max() <= tolerance, name
    assert read_lines(folder) == read_lines(reference)
    pictures = {each.name: each.read_bytes() for each in (folder / "pictures").glob("*.png")}
    assert pictures == {
        each.name: each.read_bytes() for each in (reference / "pictures").glob("*.png")
    }


@pytest.fixture(scope="module")
def reference(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    run_into(folder, clip)
    return folder


def test_after_ctrl_c_all_frames_can_be_played_and_the_run_goes_on(
    clip: Path, reference: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_into(tmp_path, clip, until_stop(clip))
    for name in VIDEOS:
        assert not (tmp_path / name).exists()
        assert len(read_ticks(tmp_path / f"{name}.partial")) == STOP
    with pytest.raises(StorageError, match="Add --resume to go on"):
        run_into(tmp_path, clip)
    sinks = run_into(tmp_path, clip, resume=True)
    assert {sink.frames_kept for sink in sinks} == {STOP - 1}
    check_complete(tmp_path, clip, reference)


_KILLED = """
import os, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_video_resume import STOP, run_into
from maskdepth.media.video import VideoSource

def frames():
    for frame in VideoSource({clip!r}):
        if frame.index == STOP:
            os.kill(os.getpid(), 9)
        yield frame

run_into(Path({folder!r}), Path({clip!r}), frames())
"""


def test_after_a_kill_all_but_the_last_second_is_there_and_the_run_goes_on(
    clip: Path, reference: Path, tmp_path: Path
) -> None:
    program = _KILLED.format(
        paths=[str(Path(__file__).parent), *sys.path], clip=str(clip), folder=str(tmp_path)
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    for name in VIDEOS:
        assert STOP // 2 <= len(read_ticks(tmp_path / f"{name}.partial")) <= STOP
    sinks = run_into(tmp_path, clip, resume=True)
    assert sinks[0].frames_kept >= STOP // 2 - 1
    check_complete(tmp_path, clip, reference)


@pytest.mark.parametrize("name", NAMES[:5])
def test_a_full_disk_is_one_sentence_and_what_was_written_plays(
    name: str, clip: Path, reference: Path, tmp_path: Path
) -> None:
    source = VideoSource(clip)
    size = (reference / name).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(0.7 * size), limits[1]))
    try:
        with pytest.raises(StorageError, match="cannot be written") as caught:  # noqa: PT012
            sinks = open_sinks([tmp_path / name], source)
            with sinks[0] as sink:
                run_stream(fake_stream(), source, [sink])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--resume" in str(caught.value)
    part = tmp_path / f"{name}.partial"
    assert not (tmp_path / name).exists()
    if name in VIDEOS:
        assert len(read_ticks(part)) >= 20
    sinks = open_sinks([tmp_path / name], source, resume=True)
    assert sinks[0].frames_kept >= 20
    with sinks[0] as sink:
        run_stream(
            fake_stream(), (each for each in source if each.index >= sink.frames_kept), [sink]
        )
    assert not part.exists()
    if name in VIDEOS:
        assert read_ticks(tmp_path / name) == read_ticks(reference / name)


def test_only_a_run_of_the_same_files_and_layer_is_resumed(clip: Path, tmp_path: Path) -> None:
    source, output = VideoSource(clip), tmp_path / "a.mkv"

    def open_sink(only: list[str] | None = None, **settings: str) -> FileSink:
        return open_sinks([output], source, only=only, settings=settings, resume=True)[0]

    with pytest.raises(KeyboardInterrupt), open_sink(plate="one.png") as sink:
        run_stream(fake_stream(), until_stop(clip), [sink])
    with pytest.raises(UsageError, match="had another plate"):
        open_sink(plate="two.png")
    with pytest.raises(UsageError, match="had another layer"):
        open_sink(["alpha"], plate="one.png")
    assert open_sink(plate="one.png").frames_kept == STOP - 1


def test_a_shorter_clip_leaves_no_pictures_of_a_longer_one(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for count in (5, 3):
        clip = draw_clip(tmp_path / "clip.mp4", [3000 * number for number in range(count)])
        source = VideoSource(clip)
        with open_sinks([folder], source)[0] as sink:
            run_stream(fake_stream(), source, [sink])
        assert len(list(folder.glob("*.png"))) == count
    own = tmp_path / "own/clip_cutout_000000.png"
    draw_plate(own)
    with pytest.raises(StorageError, match="nothing shows that maskdepth wrote it"):
        open_sinks([own.parent], VideoSource(clip))


def test_the_command_goes_on_where_it_was(tmp_path: Path, run: Run) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", [3000 * number for number in range(4)])
    lines = tmp_path / "a.jsonl"
    call = ("predict", clip, "--plate", draw_plate(tmp_path / "plate.png"), "-o", lines)
    assert run(*call).code == 0
    expected = lines.read_text()
    lines.unlink()
    record = {"format": "maskdepth-partial", "version": 1, "settings": {}}
    part = tmp_path / "a.jsonl.partial"
    part.write_text("".join(expected.splitlines(keepends=True)[:2]) + '{"frame": 2, "ti')
    (tmp_path / "a.jsonl.partial.json").write_text(json.dumps(record))
    assert "Add --resume" in run(*call).err
    assert "had another model" in run(*call, "--resume").err
    assert not lines.exists()
    part.unlink()
    (tmp_path / "a.jsonl.partial.json").unlink()
    assert run(*call, "--resume").code == 0
    assert lines.read_text() == expected
