"""Live sources: the newest frame wins, and what breaks off comes back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest

from clip_files import HEIGHT, WIDTH, draw_plate, fake_stream, frame, read_ticks
from command_line import Run, command
from maskdepth.errors import UsageError, VideoError
from maskdepth.images import encode_jpeg
from maskdepth.inference.prediction import Prediction
from maskdepth.media.clip_outputs import open_sinks
from maskdepth.media.connections import PipeConnection, UrlConnection, parse_size, safe_url
from maskdepth.media.frames import Frame
from maskdepth.media.live import AgeSink, LiveSource, MakePixels
from maskdepth.media.mjpeg import MjpegSink
from maskdepth.media.run_stream import run_stream

RATE = 200.0


class Camera:
    """Gives frames at a steady rate, and then ends or goes silent."""

    def __init__(self, frames: int = 1_000_000, *, size=(HEIGHT, WIDTH), silent_s: float = 0):
        self.rate, self.closed = RATE, False
        self._frames, self._size, self._silent_s = frames, size, silent_s

    def __iter__(self) -> Iterator[MakePixels]:
        started = time.monotonic()
        for number in range(self._frames):
            time.sleep(max(0, started + number / RATE - time.monotonic()))
            yield lambda number=number: frame(number % 8, *self._size)
        time.sleep(self._silent_s)

    def close(self) -> None:
        self.closed = True


class Slow:
    """Takes twice as long as frames are apart, or more, and records what it got."""

    def __init__(self, seconds: float = 2 / RATE) -> None:
        self.frames: list[Frame] = []
        self._seconds = seconds

    def write(self, frame: Frame, prediction: Prediction) -> None:
        self.frames.append(frame)
        time.sleep(self._seconds)


def test_latency_does_not_grow_where_the_source_is_too_fast() -> None:
    """Of 300 frames in 1.5 s only as many are used as the slow sink can take, each of them new."""
    slow, ages = Slow(0.02), AgeSink()
    camera = Camera(300)
    with LiveSource("camera", lambda: camera, reconnects=False) as source:
        summary = run_stream(fake_stream(), source, [slow, ages], read_ahead=False)
    assert camera.closed
    assert summary.problem is None
    assert 5 < summary.frames < 120
    assert 150 < source.dropped < 300
    dropped = [each.dropped for each in slow.frames]
    assert dropped == sorted(dropped)
    assert dropped[-1] > 150
    assert ages.frames == summary.frames
    # A queue would have made the last frame more than a second old.
    assert ages.mean_ms < 250
    assert [each.index for each in slow.frames] == list(range(summary.frames))
    times = [each.time_s for each in slow.frames]
    assert times[0] == 0
    assert np.diff(times).min() > 0.0009
    assert times[-1] == pytest.approx(1.5, abs=0.4)


def test_the_last_frame_of_a_source_that_ends_is_used() -> None:
    slow = Slow()
    with LiveSource("pipe", lambda: Camera(3), reconnects=False) as source:
        time.sleep(0.1)
        run_stream(fake_stream(), source, [slow], read_ahead=False)
    assert np.array_equal(slow.frames[-1].pixels, frame(2))


def test_a_source_that_breaks_off_is_opened_again_after_growing_pauses() -> None:
    lines: list[str] = []
    opened: list[float] = []

    def connect() -> Camera:
        opened.append(time.monotonic())
        if len(opened) in (2, 3, 4):
            raise VideoError("a camera", "none", "", "There is none.")
        return Camera(5) if len(opened) == 1 else Camera(5, size=(HEIGHT * 2, WIDTH))

    slow = Slow(0)
    with LiveSource(
        "camera",
        connect,
        notify=lines.append,
        first_pause_s=0.05,
    ) as source:
        frames = source.until(lambda: len(opened) > 5)
        run_stream(fake_stream(), frames, [slow], read_ahead=False)
    assert lines[:4] == [
        "camera has ended. It is opened again in 0.05 s.",
        "There is none. It is opened again in 0.1 s.",
        "There is none. It is opened again in 0.2 s.",
        "There is none. It is opened again in 0.4 s.",
    ]
    assert re.fullmatch(r"camera gives frames again, after (0\.[789]|1\.\d) s\.", lines[4])
    assert lines[5] == lines[0]
    assert source.reconnections >= 4
    assert {each.pixels.shape for each in slow.frames} == {(HEIGHT, WIDTH, 3)}


def test_a_source_without_frames_is_noticed_and_given_up() -> None:
    lines: list[str] = []
    with LiveSource(
        "camera", lambda: Camera(3, silent_s=1), notify=lines.append, stale_s=0.2, give_up_s=0.5
    ) as source:
        started = time.monotonic()
        summary = run_stream(fake_stream(), source, [], read_ahead=False)
        assert 0.3 < time.monotonic() - started < 1.5
    assert re.fullmatch(r"camera has given no frame for 0\.[234] s\.", *lines)
    assert "camera has given no frame for 0." in str(summary.problem)
    assert summary.frames >= 1


def test_a_source_without_a_first_frame_fails_at_once() -> None:
    with pytest.raises(VideoError, match="camera ended before its first frame"):
        LiveSource("camera", lambda: Camera(0))


def test_a_failure_while_reading_reaches_the_caller() -> None:
    class Broken(Camera):
        def __iter__(self) -> Iterator[MakePixels]:
            yield lambda: frame(0)
            raise ZeroDivisionError

    with (
        LiveSource("camera", Broken) as source,
        pytest.raises(ZeroDivisionError),
    ):
        list(source)


class MjpegServer:
    """Sends JPEGs as cameras of a network do. It takes one viewer, and then is gone."""

    def __init__(self, port: int = 0, frames: int = 10) -> None:
        pictures = [encode_jpeg(frame(number), 95) for number in range(8)]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                stopped.start()
                with contextlib.suppress(OSError):  # the viewer left
                    self.send_frames()
                stopped.join()  # so that whoever connects again is refused

            def send_frames(self) -> None:
                for number in range(frames):
                    data = pictures[number % 8]
                    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(b"--next\r\n" + head.encode() + data + b"\r\n")
                    time.sleep(0.02)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self._server.daemon_threads = True
        stopped = threading.Thread(target=self._stop)
        threading.Thread(target=self._server.serve_forever, args=(0.02,)).start()

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_stream_that_stops_and_returns_is_followed(tmp_path: Path) -> None:
    """Also where its server was away for a while; the lines go on in the same file."""
    port = MjpegServer().port
    url = f"http://user:secret@127.0.0.1:{port}/video?token=secret"
    notes: list[str] = []

    def notify(line: str) -> None:
        notes.append(line)
        if "refused" in line:
            MjpegServer(port)

    with LiveSource(
        safe_url(url),
        lambda: UrlConnection(url),
        notify=notify,
        first_pause_s=0.1,
    ) as source:
        (sink,) = open_sinks([tmp_path / "a.jsonl"], source)
        with sink:
            frames = source.until(lambda: "again, after" in str(notes))
            summary = run_stream(fake_stream(), frames, [sink], read_ahead=False)
    name = f"http://127.0.0.1:{port}/video"
    ended = rf"{name} (has ended|broke off: .*)\. It is opened again in 0\.1 s\."
    assert re.fullmatch(ended, notes[0])
    assert f"{name} cannot be opened: connection refused. It is opened again in 0.2 s." in notes
    assert f"{name} gives frames again, after " in notes[-1]
    assert "secret" not in str(notes)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert summary.frames == len(lines) > 0
    assert all(each["age_ms"] > 0 for each in lines)
    assert [each["dropped"] for each in lines] == sorted(each["dropped"] for each in lines)
    assert lines[0]["objects"]


def test_a_stream_that_is_given_up_leaves_what_was_written(tmp_path: Path, run: Run) -> None:
    port = MjpegServer().port
    url, lines, video = f"http://127.0.0.1:{port}/", tmp_path / "a.jsonl", tmp_path / "a.mkv"
    done = run("predict", url, "-o", lines, "-o", video, "--give-up", "1", "--json")
    assert done.code == 1
    assert f"{url} has given no frame for 1." in done.err
    result = json.loads(done.out)
    assert list(result["failures"]) == [url]
    assert result["written"] == [str(lines), str(video)]
    assert result["frames"] == len(lines.read_text().splitlines()) == len(read_ticks(video)) > 0
    assert result["age_ms"]["max"] >= result["age_ms"]["mean"] > 0


def test_raw_frames_in_a_pipe_are_read_as_they_come() -> None:
    for_reading, for_writing = os.pipe()
    content = frame(0).tobytes() + frame(1).tobytes()
    with open(for_reading, "rb") as pipe:
        os.write(for_writing, content[:5000])
        threading.Timer(0.1, lambda: os.write(for_writing, content[5000:])).start()
        frames = iter(PipeConnection(pipe, (HEIGHT, WIDTH)))
        assert np.array_equal(next(frames)(), frame(0))
        assert np.array_equal(next(frames)(), frame(1))
        os.write(for_writing, b"more")
        os.close(for_writing)
        with pytest.raises(VideoError, match="ends amid a frame: 64x48 needs 9216 bytes, and 4"):
            next(frames)


def test_lines_go_to_stdout_until_somebody_presses_ctrl_c(tmp_path: Path) -> None:
    """What was written is then complete: it has its name, a summary follows, the code is 130."""
    video = tmp_path / "out.mkv"
    plate_file = draw_plate(tmp_path / "plate.png")
    call = command("predict", "-", "--raw", f"{WIDTH}x{HEIGHT}", "-o", "-", "-o", video)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    port = str(free_port())
    with subprocess.Popen([*call, "--plate", plate_file, "--mjpeg", port], **pipes) as process:
        lines = []
        for number in range(3):
            process.stdin.write(frame(number).tobytes())
            process.stdin.flush()
            lines.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        process.wait(20)
        errors = process.stderr.read().decode()
        assert process.returncode == 130, errors
    assert [each["frame"] for each in lines] == [0, 1, 2]
    assert [each["dropped"] for each in lines] == [0, 0, 0]
    assert all(0 < each["age_ms"] < 20_000 for each in lines)
    assert "3 frames -> stdout, " in errors
    assert "0 dropped; age " in errors
    assert f"the newest prediction is at http://127.0.0.1:{port}/" in errors
    assert "Traceback" not in errors
    assert len(read_ticks(video)) == 3
    assert [each.name for each in tmp_path.iterdir()].count("out.mkv") == 1
    assert not list(tmp_path.glob("*.partial*"))


def test_a_reader_that_leaves_stdout_ends_the_run() -> None:
    call = command("predict", f"http://127.0.0.1:{MjpegServer(frames=10_000).port}/", "-o", "-")
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert b'"frame": 0' in process.stdout.readline()
        process.stdout.close()
        process.wait(20)
        errors = process.stderr.read().decode()
    assert process.returncode == 0, errors
    assert "Broken" not in errors


def test_browsers_are_shown_the_newest_prediction() -> None:
    """Each as fast as it reads; one that reads nothing holds nobody up."""
    prediction = fake_stream().predict(frame(3))
    done = threading.Event()
    with MjpegSink(0) as sink:

        def show() -> None:
            while not done.wait(0.01):
                sink.write(Frame(frame(3), 0, 0.0), prediction)

        assert b'src="/stream"' in urlopen(sink.url, timeout=5).read()
        idle = urlopen(f"{sink.url}stream", timeout=5)
        threading.Thread(target=show).start()
        connection = UrlConnection(f"{sink.url}stream")
        pixels = next(iter(connection))()
        connection.close()
        done.set()
        expected = prediction.preview()
        assert pixels.shape == expected.shape
        assert np.abs(pixels.astype(int) - expected).mean() < 8
        foreign = Request(sink.url, headers={"Host": "elsewhere.example"})
        with pytest.raises(HTTPError, match="403"):
            urlopen(foreign, timeout=5)
        with pytest.raises(UsageError, match="cannot be used: Address already in use"):
            MjpegSink(urlsplit(sink.url).port)
    assert b"image/jpeg" in idle.read()  # to its end
    with pytest.raises(URLError):
        urlopen(sink.url, timeout=5)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("http://127.0.0.1:PORT/x -o a.mp4", 1, "cannot be opened: connection refused"),
        ("rtsp://me:pw@127.0.0.1:PORT/x -o a.mp4", 1, "rtsp://127.0.0.1:PORT/x cannot be opened"),
        ("/dev/video97 -o a.mp4", 2, "There is no camera /dev/video97"),
        ("camera:97 -o a.mp4", 2, "There is no camera"),
        ("camera:front -o a.mp4", 2, "is no camera"),
        ("camera:97", 2, "needs an output"),
        ("camera:97 -o a.avi", 2, "not written as .avi"),
        ("plate.png -o out --mjpeg 9999", 2, "does nothing without a live source"),
        ("camera:97 -o a.mp4 --resume", 2, "cannot be resumed"),
        ("camera:97 plate.png -o a.mp4", 2, "has to be the only one"),
        ("camera:97 -o a.mp4 --plate .", 2, "has one plate"),
        ("camera:97 -o plate.png --plate plate.png", 2, "not written as .png"),
        ("camera:97 -o - --json", 2, "Leave one of them out"),
        ("camera:97 -o a.mp4 --points a.ply", 2, "one picture"),
        ("camera:97 -o a.mp4 --raw 4x4", 2, "for frames on stdin"),
        ("- -o a.mp4 --raw 4", 2, "no size of frames"),
        ("plate.png -o out --give-up 9", 2, "does nothing without a live source"),
    ],
)
def test_a_wrong_call_is_one_line_and_writes_nothing(
    arguments: str, code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    if sys.platform != "linux" and "There is no camera" in words:
        pytest.skip("devices have such names on Linux alone")
    port = str(free_port())
    monkeypatch.chdir(tmp_path)
    draw_plate(tmp_path / "plate.png")
    done = run("predict", *arguments.replace("PORT", port).split())
    assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert words.replace("PORT", port) in done.err
    assert "pw" not in done.err
    assert [each.name for each in tmp_path.iterdir()] == ["plate.png"]


def test_a_clip_at_an_address_is_said_to_be_none(tmp_path: Path) -> None:
    """It would be read as fast as it comes, and most of it dropped."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler

    from clip_files import draw_clip

    draw_clip(tmp_path / "clip.mp4")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        with pytest.raises(VideoError, match="is a clip, not a live stream"):
            UrlConnection(f"http://127.0.0.1:{server.server_port}/clip.mp4")
        server.shutdown()


def test_names_of_sources_are_read_exactly() -> None:
    assert parse_size("640x480") == (480, 640)
    for text in ("640", "0x4", "4x", "x4", "4x4x3", "-4x4", "99999x4"):
        with pytest.raises(UsageError, match="no size"):
            parse_size(text)
    assert safe_url("rtsp://a:b@c:554/d?e=f") == "rtsp://c:554/d"
