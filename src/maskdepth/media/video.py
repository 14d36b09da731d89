"""The frames of a video file, upright, each with the time stamp that it has there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import VideoError, first_line
from maskdepth.files import as_path, explain_unopened, open_file
from maskdepth.images import resize
from maskdepth.media.frames import Frame
from maskdepth.media.orientation import Orientation
from maskdepth.media.pyav import EXACT_COLOURS, av_reason, load_av

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["ClipTiming", "VideoSource", "upright_pixels"]

# Numbers of FFmpeg and of ITU-T H.273.
_UNSPECIFIED: Final = 2
_BT_601, _BT_709 = 5, 1
_HDR_CURVES: Final = {16: "PQ", 18: "HLG"}

_MAX_SD: Final = (576, 1024)  # height, width: larger clips that do not say it have HD's colours
_MAX_RATE: Final = 1000
_DECODER_THREADS: Final = 4  # at most: each holds frames of its own
_MISSING_S: Final = 0.5  # a clip that ends earlier than its header says by so much was cut off


@dataclass(frozen=True)
class ClipTiming:
    """What the copy of a clip needs to have the same time stamps and shape.

    Attributes:
        time_base: the tick of its time stamps, seconds.
        rate: frames a second on average.
        sample_aspect: width of a pixel by its height.
    """

    time_base: Fraction
    rate: Fraction
    sample_aspect: Fraction = Fraction(1)


class VideoSource:
    """A video file. Every iteration decodes it from its beginning.

    Turns and mirrors that the file asks for are made, edit lists are followed, and frames of
    another size than the first are scaled to it. When the file ends earlier than it should, or a
    part could not be decoded, the iteration raises that after the last frame.

    Args:
        path: the file. Its first frame is decoded at once.

    Attributes:
        path, size, timing: of the file; ``size`` is (height, width) of the upright frames.
        frame_count: how many frames there should be by the file's header; None where it does not
            say.
        remarks: a sentence on each thing that is not used as it is: bits, alpha, interlacing.
            Changes of size are added while frames are read.

    Raises:
        DependencyError: PyAV is not installed.
        VideoError: the file cannot be read, has no video, or none that can be decoded.
        UsageError: ``path`` is no path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(path, "a clip")
        self.remarks: list[str] = []
        with self._open() as container:
            stream = _video_stream(container, self.path)
            decoder = _Decoder(container, stream, self.path)
            first = next(iter(decoder), None)
            if first is None:
                raise VideoError(
                    "frames that can be decoded",
                    "none",
                    "",
                    f"{self.path} has no frame that can be decoded.",
                )
            self._orientation = _orientation(first)
            height, width = first.height, first.width
            turned = self._orientation.transposed
            self.size = (width, height) if turned else (height, width)
            aspect = stream.codec_context.sample_aspect_ratio or Fraction(1)
            assert stream.time_base is not None
            rate = stream.guessed_rate or stream.average_rate or Fraction(25)
            self.timing = ClipTiming(
                stream.time_base,
                min(Fraction(rate), Fraction(_MAX_RATE)),
                1 / aspect if turned and aspect else aspect,
            )
            self.frame_count = _frame_count(container, stream, self.rate)
            self.remarks += self._describe(stream, first)

    @property
    def rate(self) -> float:
        """Frames a second on average."""
        return float(self.timing.rate)

    def __iter__(self) -> Iterator[Frame]:
        """All frames.

        Raises:
            VideoError: after the last frame, where others are missing or could not be decoded.
        """
        last_tick: int | None = None
        sizes = {self._decoded_size()}
        moved = 0
        with self._open() as container:
            stream = _video_stream(container, self.path)
            decoder = _Decoder(container, stream, self.path)
            index = -1
            for index, frame in enumerate(decoder):
                tick = frame.pts
                if tick is None or (last_tick is not None and tick <= last_tick):
                    moved += 1
                    tick = self._next_tick(last_tick) if tick is None else last_tick + 1  # type: ignore[operator]
                last_tick = tick
                if (frame.height, frame.width) not in sizes:
                    sizes.add((frame.height, frame.width))
                    self.remarks.append(
                        f"{self.path} changes to {frame.width}x{frame.height} at frame {index}; "
                        "such frames are scaled to the first one's size."
                    )
                pixels = self._orientation.apply(_to_rgb(frame))
                if pixels.shape[:2] != self.size:
                    pixels = resize(pixels, *self.size)
                yield Frame(pixels, index, float(tick * self.timing.time_base))
            if moved:
                self.remarks.append(
                    f"{moved} frames of {self.path} have no time stamp or one out of order; they "
                    "got the next free one."
                )
            decoder.check_complete(index + 1)

    def _open(self) -> InputContainer:
        av = load_av()
        try:
            open_file(self.path).close()
        except OSError as error:
            problem, remedy = explain_unopened(self.path, error)
            raise VideoError("a readable clip", first_line(error), remedy, problem) from None
        try:
            container: InputContainer = av.open(os.fspath(self.path), metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = av_reason(error)
            raise VideoError(
                "a clip that FFmpeg can read",
                reason,
                "check that the file is complete",
                f"{self.path} cannot be read as a video: {reason}.",
            ) from None
        return container

    def _decoded_size(self) -> tuple[int, int]:
        height, width = self.size
        return (width, height) if self._orientation.transposed else (height, width)

    def _next_tick(self, last: int | None) -> int:
        step = max(1, round(1 / (self.timing.rate * self.timing.time_base)))
        return 0 if last is None else last + step

    def _describe(self, stream: VideoStream, frame: VideoFrame) -> Iterator[str]:
        bits = max(component.bits for component in frame.format.components)
        if bits > 8:
            yield f"{self.path} has {bits} bits a channel; 8 of them are used."
        curve = _HDR_CURVES.get(stream.codec_context.color_trc)
        if curve is not None:
            yield f"{self.path} is HDR ({curve}); its tones are used as they are, without mapping."
        has_alpha = any(component.is_alpha for component in frame.format.components)
        if has_alpha or stream.metadata.get("alpha_mode") == "1":
            yield f"{self.path} has an alpha channel, which is ignored."
        if frame.interlaced_frame:
            yield f"{self.path} is interlaced; each pair of fields is used as one picture."
        if not self._orientation.exact:
            yield f"{self.path} asks for a turn by {-frame.rotation} degrees, which is not made."


class _Decoder:
    """Decodes a stream packet by packet, and counts what is missing."""

    def __init__(self, container: InputContainer, stream: VideoStream, path: Path) -> None:
        self._container, self._stream, self._path = container, stream, path
        self._damaged: list[float | None] = []  # times of packets, seconds
        self._packets = 0
        self._end_s = 0.0
        self._failure: str | None = None
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = min(_DECODER_THREADS, os.cpu_count() or 1)

    def __iter__(self) -> Iterator[VideoFrame]:
        av = load_av()
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                self._failure = av_reason(error)
                return
            if packet is None:
                return
            if packet.size:
                self._packets += 1
                time_s = None if packet.pts is None else float(packet.pts * packet.time_base)
                length = float((packet.duration or 0) * packet.time_base)
                self._end_s = max(self._end_s, (time_s or 0) + length)
            try:
                frames = packet.decode()
            except (av.FFmpegError, OSError) as error:
                self._damaged.append(time_s if packet.size else None)
                if not isinstance(error, av.InvalidDataError):
                    self._failure = av_reason(error)
                    return
                continue
            yield from frames

    def check_complete(self, frames: int) -> None:
        """Raises VideoError where parts are missing; ``frames`` is the number of frames."""
        kept = f"The {frames} frames before that were used."
        missing = self._missing_part()
        if self._damaged:
            times = [f"{each:.1f} s" for each in self._damaged if each is not None]
            first = f", the first at {times[0]}" if times else ""
            text = f"{len(self._damaged)} packets of {self._path} could not be decoded{first}."
            kept = f"{frames} frames were decoded and used."
        elif self._failure is not None:
            text = f"{self._path} cannot be read further: {self._failure}."
        elif missing:
            text = f"{self._path} ends early: {missing}."
        else:
            return
        raise VideoError("a complete clip", text, "", f"{text} {kept}")

    def _missing_part(self) -> str:
        stream = self._stream
        # Some formats list their packets; others list a few, to jump to. PyAV 14 has no list.
        listed = len(getattr(stream, "index_entries", ()))
        if listed > self._packets:
            return f"{self._packets} of {listed} packets are there"
        length = _tagged_seconds(stream.metadata.get("DURATION", ""))
        if length is not None and self._end_s < length - _MISSING_S:
            return f"{self._end_s:.1f} of {length:.1f} seconds are there"
        return ""


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if stream is None:
        raise VideoError("a clip with video", "none in it", "", f"{path} has no video in it.")
    if stream.codec_context is None:
        raise VideoError(
            "video that FFmpeg can decode",
            "an unknown codec",
            "check that the file is complete, or convert it to H.264 first",
            f"The video in {path} is damaged, or coded in a way that FFmpeg does not know.",
        )
    return stream  # type: ignore[return-value]


def upright_pixels(frame: VideoFrame) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) RGB of a decoded frame, turned and mirrored as it asks for."""
    return _orientation(frame).apply(_to_rgb(frame))


def _orientation(frame: VideoFrame) -> Orientation:
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV lacks a name for some other side data of this frame
        return _turned(frame.rotation)
    if matrix is None:
        return Orientation()
    return Orientation.from_matrix(np.frombuffer(matrix, np.int32).tolist())


def _turned(degrees: int) -> Orientation:
    """The orientation of a turn counterclockwise, for a frame whose matrix cannot be read."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = [cosine, -sine, 0, sine, cosine]
    return Orientation.from_matrix([round(each * (1 << 16)) for each in turn])


def _to_rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """uint8 (H, W, 3); a clip that does not name its colours has those usual at its size."""
    colours: int | None = None
    if frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb:
        is_sd = frame.height <= _MAX_SD[0] and frame.width <= _MAX_SD[1]
        colours = _BT_601 if is_sd else _BT_709
    array = frame.to_ndarray(format="rgb24", src_colorspace=colours, interpolation=EXACT_COLOURS)
    return np.asarray(array, np.uint8)


def _frame_count(container: InputContainer, stream: VideoStream, rate: float) -> int | None:
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return max(1, round(float(stream.duration * stream.time_base) * rate))
    if container.duration:
        return max(1, round(container.duration / 1e6 * rate))
    return None


def _tagged_seconds(text: str) -> float | None:
    """The seconds of Matroska's ``00:00:00.968000000``; None for anything else."""
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None
