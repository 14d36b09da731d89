"""Clips that tests draw: a bright square that moves over a dark plate, with sound if wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import save_png
from maskdepth.inference.stream import Stream
from maskdepth.testing import FakeBackend

HEIGHT, WIDTH = 48, 64
TICK = Fraction(1, 90000)
UNEVEN = (0, 3000, 9000, 9500, 21000, 24001)
"""Time stamps in ticks, as a phone's clip may have them."""


def plate(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Dark, and another grey in each quarter, so that a turned one differs."""
    picture = np.full((height, width, 3), 40, np.uint8)
    picture[: height // 2, : width // 2] = 60
    picture[height // 2 :, : width // 2] = 80
    return picture


def frame(number: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """The plate with a bright square that goes to the right."""
    picture = plate(height, width)
    picture[10:26, 4 + 4 * number : 20 + 4 * number] = (220, 200, 180)
    return picture


def draw_clip(
    path: Path,
    ticks: Sequence[int] = UNEVEN,
    *,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    sound: str | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv444p",
    moving: bool = True,
) -> Path:
    """A clip with one frame at each of some ticks.

    Args:
        sound: the codec of its sound; None without.
        moving: whether the square goes on to the right without end.
    """
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(codec, rate=30)
        video.height, video.width = size
        video.pix_fmt, video.time_base, video.codec_context.time_base = pixel_format, TICK, TICK
        if codec == "libx264":
            video.options = {"crf": "1"}
        audio: Any = None if sound is None else container.add_stream(sound, rate=48000)
        container.start_encoding()
        for number, tick in enumerate(ticks):
            picture = av.VideoFrame.from_ndarray(
                frame(number if moving else number % 8, *size), "rgb24"
            )
            picture.pts, picture.time_base = tick, TICK
            container.mux(video.encode(picture))
        container.mux(video.encode())
        if audio is not None:
            tone = np.sin(np.arange(24000, dtype=np.float32) / 20)[None].repeat(2, 0)
            samples = av.AudioFrame.from_ndarray(tone, "fltp", layout="stereo")
            samples.rate, samples.pts = 48000, 0
            container.mux(audio.encode(samples))
            container.mux(audio.encode())
    return path


def draw_plate(path: Path) -> Path:
    save_png(path, plate())
    return path


def turn(path: Path, matrix: Sequence[int]) -> Path:
    """Write another display matrix into a .mp4, whose parts are in units of 1."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    numbers = [*(65536 * each for each in matrix[:2]), 0, *(65536 * each for each in matrix[2:])]
    for place, number in enumerate([*numbers, 0, 0, 0, 1 << 30]):
        content[start + 4 * place : start + 4 * place + 4] = number.to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    return path


def fake_stream(with_plate: bool = True) -> Stream:
    """Foreground is what differs from the plate."""
    options = {"register": False, "refine": False, "close_up": False}
    return FakeBackend().predictor(**options).stream(plate() if with_plate else None)


def read_ticks(path: Path) -> list[Fraction]:
    """The time stamps of a clip's frames, seconds; up to the first that is damaged, if one is."""
    ticks: list[Fraction] = []
    with av.open(str(path)) as container, contextlib.suppress(av.InvalidDataError):
        stream = container.streams.video[0]
        assert stream.time_base is not None
        ticks.extend(each.pts * stream.time_base for each in container.decode(stream))  # type: ignore[operator]
    return ticks


def read_pixels(path: Path, layout: str, codec: str | None = None) -> list[NDArray[Any]]:
    """The frames of a clip as arrays.

    Args:
        codec: a decoder of one's own choice, such as libvpx-vp9, which keeps alpha.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if codec is None:
            frames: Iterable[Any] = list(container.decode(stream))
        else:
            decoder: Any = av.CodecContext.create(codec, "r")
            packets = [each if each.size else None for each in container.demux(stream)]
            frames = [each for packet in packets for each in decoder.decode(packet)]
        return [each.to_ndarray(format=layout) for each in frames]


def read_sound(path: Path) -> list[tuple[float, bytes]]:
    """Time and content of each packet of a clip's sound."""
    with av.open(str(path)) as container:
        return [
            (float(each.pts * each.time_base), bytes(each))
            for each in container.demux()
            if each.stream.type == "audio" and each.size and each.pts is not None
        ]
