"""A clip in, clips, pictures and lines out: times, sound, alpha and orientation stay."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
import pytest

from clip_files import (
    HEIGHT,
    TICK,
    UNEVEN,
    WIDTH,
    draw_clip,
    draw_plate,
    fake_stream,
    frame,
    plate,
    read_pixels,
    read_sound,
    read_ticks,
    turn,
)
from command_line import Run
from maskdepth.errors import DependencyError, MaskdepthError, UsageError, VideoError
from maskdepth.images import load_picture
from maskdepth.media.clip_outputs import open_sinks
from maskdepth.media.frames import Frame
from maskdepth.media.json_lines import JsonLinesSink
from maskdepth.media.layers import extend_colours, render_layer
from maskdepth.media.run_stream import RunSummary, run_stream
from maskdepth.media.video import VideoSource
from maskdepth.media.video_sink import VideoSink

VIDEOS = (".mov", ".webm", ".mkv", ".mp4")


def predict(clip: Path, *outputs: Path, only: list[str] | None = None) -> RunSummary:
    source = VideoSource(clip)
    with ExitStack() as stack:
        sinks = open_sinks(outputs, source, only=only)
        for sink in sinks:
            stack.enter_context(sink)
        return run_stream(fake_stream(), source, sinks)


def expected_cutouts() -> list[np.ndarray]:
    stream = fake_stream()
    return [stream.predict(frame(number)).cutout() for number in range(len(UNEVEN))]


@pytest.mark.parametrize("ending", VIDEOS)
def test_every_frame_keeps_its_own_time(ending: str, tmp_path: Path) -> None:
    """Within a tick of either file: those of .mkv and .webm are milliseconds."""
    clip, output = draw_clip(tmp_path / "clip.mp4"), tmp_path / f"out{ending}"
    summary = predict(clip, output)
    assert summary.frames == len(UNEVEN)
    assert summary.problem is None
    tick = 0.001 if ending in (".mkv", ".webm") else float(TICK)
    assert np.allclose(
        np.array(read_ticks(output), float), np.array(UNEVEN) * float(TICK), atol=tick
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", output.name]


def test_a_clip_that_does_not_begin_at_zero_keeps_its_beginning(tmp_path: Path) -> None:
    ticks = [132001 + 3003 * number for number in range(4)]
    clip, output = draw_clip(tmp_path / "clip.ts", ticks), tmp_path / "out.mp4"
    predict(clip, output)
    assert read_ticks(output) == read_ticks(clip)
    assert next(iter(VideoSource(output))).time_s == pytest.approx(132001 / 90000, abs=1e-9)


def test_alpha_comes_back(tmp_path: Path) -> None:
    """Exactly from FFV1, colours too; within two levels from ProRes; closely from VP9."""
    clip = draw_clip(tmp_path / "clip.mkv", codec="ffv1", pixel_format="bgr0")
    outputs = [tmp_path / f"out{ending}" for ending in (".mov", ".webm", ".mkv")]
    predict(clip, *outputs)
    cutouts = np.array(expected_cutouts())
    assert np.array_equal(read_pixels(outputs[2], "rgba"), cutouts)
    alpha = cutouts[..., 3].astype(int)
    prores = np.abs(np.array(read_pixels(outputs[0], "rgba"))[..., 3] - alpha)
    assert prores.max() <= 2
    vp9 = np.abs(np.array(read_pixels(outputs[1], "rgba", "libvpx-vp9"))[..., 3] - alpha)
    assert vp9.mean() <= 1.5
    assert np.mean(vp9 <= 10) >= 0.995
    colours = np.array(read_pixels(outputs[0], "rgba"))[..., :3].astype(int)
    assert np.abs(colours - cutouts[..., :3])[alpha == 255].max() <= 4


def test_a_clip_is_as_bright_when_it_comes_back(tmp_path: Path) -> None:
    """The composite before a plain picture, through H.264 and our own reader."""
    clip, output = draw_clip(tmp_path / "clip.mkv", codec="ffv1", pixel_format="bgr0"), "out.mp4"
    levels = np.linspace(20, 235, WIDTH, dtype=np.uint8)
    picture = np.stack([np.tile(levels, (HEIGHT, 1))] * 3, axis=2)
    source = VideoSource(clip)
    with VideoSink(tmp_path / output, source.timing, kind="composite", background=picture) as sink:
        run_stream(fake_stream(), source, [sink])
    written = np.array([each.pixels for each in VideoSource(tmp_path / output)]).astype(float)
    behind = np.array(expected_cutouts())[..., 3] == 0
    errors = (written - picture)[behind]
    assert np.abs(errors.mean(axis=0)).max() < 0.3


def test_an_opaque_video_holds_colour_over_matte(tmp_path: Path) -> None:
    clip, output = draw_clip(tmp_path / "clip.mp4"), tmp_path / "out.mp4"
    predict(clip, output, only=["cutout"])
    pictures = np.array(read_pixels(output, "rgb24")).astype(int)
    assert pictures.shape[1:] == (2 * HEIGHT, WIDTH, 3)
    alpha = np.array(expected_cutouts())[..., 3].astype(int)
    assert np.abs(pictures[:, HEIGHT:, :, 1] - alpha).mean() < 2
    assert np.abs(pictures[:, 14:22, 30, 0] - 220).min() <= 3


def test_disparity_has_sixteen_bits_and_one_range_for_all_frames(tmp_path: Path) -> None:
    clip, output = draw_clip(tmp_path / "clip.mp4"), tmp_path / "out.mkv"
    predict(clip, output, only=["disparity"])
    stream = fake_stream()
    for pixels, source_frame in zip(
        read_pixels(output, "gray16le"), VideoSource(clip), strict=True
    ):
        prediction = stream.predict(source_frame.pixels)
        assert np.array_equal(pixels, render_layer("disparity", prediction))


def test_colours_beyond_an_edge_are_the_foregrounds() -> None:
    cutout = np.zeros((20, 30, 4), np.uint8)
    cutout[5:15, 10:20] = (200, 100, 50, 255)
    extended = extend_colours(cutout)
    assert np.array_equal(extended[..., 3], cutout[..., 3])
    assert (extended[3:17, 8:22, :3] == (200, 100, 50)).all()
    assert not extended[0].any()
    assert not extend_colours(np.zeros((9, 9, 4), np.uint8)).any()


@pytest.mark.parametrize("ending", VIDEOS)
def test_sound_is_copied_packet_by_packet(ending: str, tmp_path: Path) -> None:
    """Where the file can hold it: a .webm takes no AAC, a .mov no Opus, and a sentence says so."""
    for codec in ("aac", "libopus"):
        clip = draw_clip(tmp_path / f"{codec}.mkv", sound=codec)
        output = tmp_path / f"{codec}{ending}" if ending != ".mkv" else tmp_path / f"{codec}-2.mkv"
        source = VideoSource(clip)
        with VideoSink(output, source.timing, sound=clip, kind="alpha") as sink:
            run_stream(fake_stream(), source, [sink])
        if (codec, ending) in (("aac", ".webm"), ("libopus", ".mov")):
            assert read_sound(output) == []
            assert len(sink.remarks) == 1
            assert f"cannot hold the {codec.removeprefix('lib').upper()} audio" in sink.remarks[0]
            continue
        before, after = read_sound(clip), read_sound(output)
        assert len(before) > 10
        assert [content for _, content in after] == [content for _, content in before]
        assert np.allclose([at for at, _ in after], [at for at, _ in before], atol=0.001)
        assert sink.remarks == []


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((1, 0, 0, 1), lambda picture: picture),
        ((-1, 0, 0, -1), lambda picture: picture[::-1, ::-1]),
        ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
        ((0, 1, 1, 0), lambda picture: picture.transpose(1, 0, 2)),
    ],
)
def test_turns_and_mirrors_are_made(matrix, upright, tmp_path: Path) -> None:
    clip = turn(draw_clip(tmp_path / "clip.mp4", range(0, 9000, 3000)), matrix)
    source = VideoSource(clip)
    expected = upright(frame(0)).astype(int)
    first = next(iter(source))
    assert source.size == first.pixels.shape[:2] == expected.shape[:2]
    assert np.abs(first.pixels - expected).max() <= 6
    assert source.remarks == []


def test_a_turn_by_another_angle_is_said_not_to_be_made(tmp_path: Path) -> None:
    clip = turn(draw_clip(tmp_path / "clip.mp4", [0]), (1, 1, -1, 1))
    assert VideoSource(clip).size == (HEIGHT, WIDTH)
    assert "which is not made" in VideoSource(clip).remarks[0]


def test_odd_sides_get_one_more_row_and_column_where_the_codec_needs_it(tmp_path: Path) -> None:
    clip = draw_clip(tmp_path / "clip.mkv", [0, 3000], size=(47, 61))
    outputs = [tmp_path / f"out{ending}" for ending in VIDEOS]
    source = VideoSource(clip)
    for output in outputs:
        with VideoSink(output, source.timing, kind="alpha") as sink:
            run_stream(fake_stream(with_plate=False), source, [sink])
        if output.suffix == ".mp4":
            assert VideoSource(output).size == (48, 62)
            assert "62x48" in sink.remarks[0]
        else:
            assert VideoSource(output).size == (47, 61)
            assert sink.remarks == []


@pytest.mark.parametrize(
    ("codec", "pixel_format", "name", "words"),
    [
        ("libx264", "yuv420p10le", "clip.mp4", "10 bits a channel"),
        ("ffv1", "bgra", "clip.mkv", "an alpha channel, which is ignored"),
        ("prores_ks", "yuva444p10le", "clip.mov", "an alpha channel, which is ignored"),
    ],
)
def test_what_is_not_used_as_it_is_is_named(
    codec: str, pixel_format: str, name: str, words: str, tmp_path: Path
) -> None:
    clip = draw_clip(tmp_path / name, codec=codec, pixel_format=pixel_format)
    source = VideoSource(clip)
    assert any(words in line for line in source.remarks)
    assert len(list(source)) == len(UNEVEN)


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    """Transport streams can be joined end to end."""
    parts = [
        draw_clip(tmp_path / f"{side}.ts", ticks, size=(side, 64))
        for side, ticks in ((48, range(0, 15000, 3000)), (64, range(15000, 30000, 3000)))
    ]
    clip = tmp_path / "clip.ts"
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = VideoSource(clip)
    sizes = {each.pixels.shape for each in source}
    assert sizes == {(48, 64, 3)}
    assert "changes to 64x64 at frame 5" in source.remarks[0]


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_a_clip_that_was_cut_off_gives_what_is_left_and_says_so(tmp_path: Path) -> None:
    for ending in (".mkv", ".mov"):
        clip = tmp_path / f"clip{ending}"
        whole = draw_clip(tmp_path / f"first{ending}", range(0, 300000, 3000), codec="mjpeg",
                          pixel_format="yuvj420p")  # fmt: skip
        if ending == ".mov":  # its list of packets first
            with (
                av.open(str(whole)) as container,
                av.open(str(clip), "w", options={"movflags": "faststart"}) as copy,
            ):
                stream = copy.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(container.streams.video[0]):
                    if packet.size:
                        packet.stream = stream
                        copy.mux(packet)
        else:
            clip.write_bytes(whole.read_bytes())
        output = tmp_path / f"out{ending}.mp4"
        summary = predict(cut(clip, 0.6), output)
        assert 40 < summary.frames < 70
        assert len(read_ticks(output)) == summary.frames
        assert f"{clip} " in str(summary.problem)
        assert "\n" not in str(summary.problem)


def silent(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=48000)
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 4800), np.float32), "fltp", "stereo")
        samples.rate = 48000
        container.mux(audio.encode(samples))
        container.mux(audio.encode())
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: cut(draw_clip(path), 0.3), "cannot be read as a video"),
        (silent, "has no video in it"),
        (lambda path: draw_clip(path, []), "cannot be read|has no video|no frame that can"),
        (lambda path: path.write_text("hello"), "cannot be read as a video: invalid data"),
        (lambda path: path.touch(), "cannot be read as a video"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: None, "does not exist"),
    ],
)  # fmt: skip
def test_what_is_no_clip_is_one_sentence(make, words: str, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    make(clip)
    with pytest.raises(VideoError, match=words) as caught:
        VideoSource(clip)
    assert "\n" not in str(caught.value)


def test_without_pyav_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    clip = draw_clip(tmp_path / "clip.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DependencyError, match=r"pip install '\.\[video\]'"):
        VideoSource(clip)
    done = run("predict", clip, "-o", tmp_path / "out.mov")
    assert done.code == 1
    assert done.err.count("\n") == 1


def test_few_frames_are_in_memory_at_a_time() -> None:
    """However slow the sink is, as a long clip must not fill the memory."""
    decoded = written = ahead = 0

    def frames():
        nonlocal decoded, ahead
        for number in range(12):
            decoded += 1
            ahead = max(ahead, decoded - written)
            yield Frame(frame(number), number, number / 30)

    class Slow:
        def write(self, frame: Frame, prediction: object) -> None:
            nonlocal written
            written += 1

    assert run_stream(fake_stream(), frames(), [Slow()]).frames == 12
    assert written == 12
    assert ahead <= 4


def test_a_failing_sink_ends_the_run_and_a_failing_source_keeps_it() -> None:
    def frames():
        yield Frame(frame(0), 0, 0.0)
        yield Frame(frame(1), 1, 1.0)
        raise VideoError("more", "less", "")

    class Full:
        def write(self, frame: Frame, prediction: object) -> None:
            raise MaskdepthError("space", "none", "")

    summary = run_stream(fake_stream(), frames(), [])
    assert summary.frames == 2
    assert isinstance(summary.problem, VideoError)
    with pytest.raises(MaskdepthError, match="space"):
        run_stream(fake_stream(), frames(), [Full()])


def test_lines_say_what_each_frame_holds_and_take_more(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonLinesSink(path, more=[lambda frame, _: {"more": frame.index}]) as sink:
        frames = [Frame(frame(number), number, number / 3) for number in range(3)]
        run_stream(fake_stream(), [*frames, Frame(plate(), 3, 1.0)], [sink])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    assert lines[1]["time_s"] == pytest.approx(1 / 3, abs=1e-8)
    assert lines[1]["mask_area"] == 16 * 16
    assert lines[1]["box"] == [8, 10, 16, 16]
    assert lines[1]["plate"] == {"state": "good", "notices": []}
    assert [line["more"] for line in lines] == [0, 1, 2, 3]
    (item,) = lines[1]["objects"]
    assert (item["id"], item["first_s"], item["split_from"]) == (1, 0, None)
    assert (item["box"], item["area"], item["centroid"]) == ([8, 10, 16, 16], 256, [15.5, 17.5])
    assert item["mask"]["size"] == [48, 64]
    assert item["disparity"]["nearest"] >= item["disparity"]["median"]
    assert item["distance_m"] is None
    assert (lines[3]["box"], lines[3]["objects"]) == (None, [])
    assert lines[3]["events"] == []
    assert lines[3]["plate"] == {"state": "good", "notices": ["nothing_found"]}


def test_lines_that_go_on_after_an_interruption_give_no_id_twice(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    frames = [Frame(frame(number), number, number / 3) for number in range(6)]
    with pytest.raises(MaskdepthError), JsonLinesSink(path) as sink:
        run_stream(fake_stream(), [*frames[:4], Frame(np.zeros((0, 0, 3), np.uint8), 4, 9)], [sink])
    with JsonLinesSink(path, resume=True) as sink:
        assert sink.frames_kept == 3
        run_stream(fake_stream(), frames[3:], [sink])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["objects"][0]["id"] for line in lines] == [1, 1, 1, 2, 2, 2]


def test_one_call_writes_all_kinds_at_once(tmp_path: Path, run: Run) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", range(0, 9000, 3000), sound="aac")
    names = ["a.mov", "a.webm", "a.mkv", "a.mp4", "a.jsonl", "pictures"]
    outputs = [word for name in names for word in ("-o", tmp_path / name)]
    done = run("predict", clip, "--plate", draw_plate(tmp_path / "plate.png"), *outputs, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["frames"] == 3
    assert len(json.loads(done.out)["written"]) == 6
    for name in names[:4]:
        assert len(read_ticks(tmp_path / name)) == 3
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3
    pictures = sorted(each.name for each in (tmp_path / "pictures").iterdir())
    assert pictures == [f"clip_cutout_{number:06d}.png" for number in range(3)] + [
        "clip_sequence.json"
    ]
    picture = load_picture(tmp_path / "pictures/clip_cutout_000001.png")
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert "3 frames -> " in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("clip.mp4 -o clip.mp4", 2, "is an input"),
        ("clip.mp4 --plate plate.png -o plate.png", 2, "is an input"),
        ("clip.mp4 -o a.avi", 2, "not written as .avi"),
        ("clip.mp4 -o - --json", 2, "Leave one of them out"),
        ("clip.mp4 -o a.jsonl --give-up 9", 2, "does nothing without a live source"),
        ("clip.mp4 -o a.mov -o a.mov", 2, "named twice"),
        ("clip.mp4 -o a.mov --only composite", 2, "needs a background"),
        ("clip.mp4 -o a.mov --only alpha,cutout", 2, "a video holds one of them"),
        ("clip.mp4 -o a.mov --only depth", 2, "needs 16 bits"),
        ("clip.mp4 -o a.mkv --only depth", 2, "calibrated"),
        ("clip.mp4 plate.png -o out", 2, "has to be the only source"),
        ("clip.mp4 -o out --depth-format npy", 2, "millimetres"),
        ("clip.mp4 --plate no.png -o out", 2, "no.png does not exist"),
        ("clip.mp4 --background no.png -o out", 2, "no.png does not exist"),
        ("plate.png -o a.png -o b.png", 2, "for a video alone"),
        ("plate.png --resume", 2, "for a video alone"),
        ("no.mp4 -o a.mov", 2, "no.mp4 does not exist"),
        ("text.mp4 -o a.mov", 1, "cannot be read"),
    ],
)
def test_a_wrong_call_is_one_line_and_writes_nothing(
    arguments: str, code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_clip(tmp_path / "clip.mp4", [0, 3000])
    draw_plate(tmp_path / "plate.png")
    (tmp_path / "text.mp4").write_text("hello")
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    done = run("predict", *arguments.split())
    assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert words in done.err
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_each_video_gets_the_layer_of_its_place(tmp_path: Path) -> None:
    source = VideoSource(draw_clip(tmp_path / "clip.mp4"))
    paths = [tmp_path / "a.mkv", tmp_path / "lines.jsonl", tmp_path / "b.mp4"]
    sinks = open_sinks(paths, source, only=["disparity", "alpha"])
    kinds = [sink.kind for sink in sinks if isinstance(sink, VideoSink)]
    assert kinds == ["disparity", "alpha"]
    with pytest.raises(UsageError, match="mask"):
        open_sinks(paths, source, only=["mask"])
