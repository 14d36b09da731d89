"""Real containers of odd kinds come out with their frames, times, sound and orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clip_files import fake_stream, read_sound, read_ticks
from maskdepth.errors import VideoError
from maskdepth.media.run_stream import run_stream
from maskdepth.media.video import VideoSource
from maskdepth.media.video_sink import VideoSink

# Upright (height, width), frames, and whether there is sound.
CLIPS = {
    "bbb_176x144_128kbps_15fps_h263.3gp": (144, 176, 15, False),
    "bear-vp9-odd-dimensions.webm": (121, 161, 30, False),
    "bt601.mov": (428, 640, 30, True),
    "h265_bframes.mp4": (480, 854, 30, False),
    "hlg10-color-test.mp4": (1080, 1920, 9, True),
    "iibbibb_editlist_videoonly.mp4": (576, 704, 12, False),
    "roadtrip-vp92-10bit.webm": (240, 426, 72, False),
    "sample_12_5fps_720p_1s.mp4": (720, 1280, 13, True),
    "sample_av1.mp4": (720, 1080, 30, True),
    "sample_edit_list_only_preroll_sync_sample.mp4": (360, 640, 16, True),
    "sample_fragmented.mp4": (720, 1080, 30, True),
    "sample_h265.ts": (480, 854, 30, False),
    "sample_mdat_too_long.mp4": (720, 1080, 30, True),
    "sample_portrait.mp4": (1080, 720, 30, True),
    "sample_rotate_and_reflect.mp4": (1080, 720, 30, True),
    "sample_sef_slow_motion.mp4": (240, 320, 63, True),
    "sample_with_htc_rotation_track_name.mkv": (720, 1080, 30, True),
    "water_180_mvhevc_5frames.mov": (2160, 1934, 5, False),
}
LONG = {  # read, and not written again
    "hdr10-av1.mp4": (1280, 720, 127),
    "internal_emulator_transformer_output_180_rotated.mp4": (720, 1280, 149),
    "internal_emulator_transformer_output_270_rotated.mp4": (1280, 720, 149),
}


@pytest.fixture(scope="session")
def odd_formats(shared_data: Path) -> Path:
    folder = shared_data / "footage/odd_formats"
    if not folder.is_dir():
        pytest.skip(f"no clips at {folder}")
    return folder


@pytest.mark.parametrize("name", CLIPS)
def test_frames_times_sound_and_size_are_the_clips(
    name: str, odd_formats: Path, tmp_path: Path
) -> None:
    """In a .mp4 exactly, in a .mkv to the millisecond."""
    height, width, count, has_sound = CLIPS[name]
    clip = odd_formats / name
    source = VideoSource(clip)
    assert source.size == (height, width)
    outputs = [tmp_path / f"out{ending}" for ending in (".mp4", ".mkv")]
    sinks = [VideoSink(each, source.timing, kind="alpha", sound=clip) for each in outputs]
    with sinks[0], sinks[1]:
        summary = run_stream(fake_stream(with_plate=False), source, sinks)
    assert summary.problem is None
    ticks, sound = np.array(read_ticks(clip), float), read_sound(clip)
    assert len(ticks) == summary.frames == count
    assert bool(sound) == has_sound
    for output, tolerance in zip(outputs, (float(source.timing.time_base), 0.001), strict=True):
        assert np.abs(np.array(read_ticks(output), float) - ticks).max() <= tolerance
        assert [content for _, content in read_sound(output)] == [content for _, content in sound]
        even = output.suffix == ".mp4"
        assert VideoSource(output).size == (height + even * height % 2, width + even * width % 2)


@pytest.mark.parametrize("name", LONG)
def test_long_clips_are_read_upright(name: str, odd_formats: Path) -> None:
    height, width, count = LONG[name]
    shapes = [frame.pixels.shape for frame in VideoSource(odd_formats / name)]
    assert shapes == [(height, width, 3)] * count


def test_a_stream_that_is_invalid_is_one_sentence(odd_formats: Path) -> None:
    with pytest.raises(VideoError, match="has no frame that can be decoded") as caught:
        VideoSource(odd_formats / "invalid-bitstream.webm")
    assert "\n" not in str(caught.value)
