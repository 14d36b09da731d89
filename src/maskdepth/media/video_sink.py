"""Writes one layer of each frame's prediction as a video, with the clip's times and sound."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import StorageError, UsageError
from maskdepth.inference.prediction import BackgroundSource, Prediction
from maskdepth.media.audio_copy import AudioCopy
from maskdepth.media.encodings import (
    CONTAINERS,
    Encoding,
    container_options,
    encoding_of,
    layer_of,
)
from maskdepth.media.frames import Frame
from maskdepth.media.layers import extend_colours, render_layer
from maskdepth.media.partial import PartialFile
from maskdepth.media.pyav import EXACT_COLOURS, av_reason, load_av
from maskdepth.media.video import ClipTiming

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["VideoSink"]

_BT_709: Final = 1
_LIMITED, _FULL = 1, 2  # FFmpeg's numbers of ranges: 16 to 235, and 0 to 255
_ARRAY_FORMATS: Final = {(2, 1): "gray", (2, 2): "gray16le", (3, 3): "rgb24", (3, 4): "rgba"}
_ENCODER_THREADS: Final = 4  # at most
_KEY_FRAME_S: Final = 2.0
_HYBRID_FORMAT: Final = (62,)  # the libavformat of FFmpeg 8


class VideoSink:
    """A video file. Use it as a context: the file gets its name when the block ends without error.

    Until then it grows beside its name, see `PartialFile`, and stays there, closed, if the block
    fails. Nothing is written before the first frame.

    Args:
        path: ends in .mov (ProRes 4444), .webm (VP9), .mkv (FFV1) or .mp4 (H.264).
        timing: of the clip, whose time stamps the frames have.
        kind: the layer; None: the cutout, or where the file cannot hold alpha, the preview. With a
            background it is the composite.
        background: as in `maskdepth.Prediction.composite`.
        sound: the clip whose audio is copied.
        settings, resume: as in `PartialFile`.

    Attributes:
        remarks: a sentence on each thing that the file cannot hold as it is.
        frames_kept: number of frames that are taken over from an interrupted run; without the last,
            since a frame has to follow.

    Raises:
        UsageError, StorageError: such a file cannot hold that, or see `PartialFile`.
        DependencyError: PyAV is not installed.
    """

    def __init__(
        self,
        path: Path,
        timing: ClipTiming,
        *,
        kind: str | None = None,
        background: BackgroundSource | None = None,
        sound: Path | None = None,
        settings: Mapping[str, str] | None = None,
        resume: bool = False,
    ) -> None:
        self.path, self.remarks = path, list[str]()
        self.kind = layer_of(path, kind, background=background is not None)
        self._encoding = encoding_of(path, self.kind)
        self._timing, self._background, self._sound = timing, background, sound
        self._av = load_av()
        _check_encoder(self._av, self._encoding, path)
        self._partial = PartialFile(path, {**(settings or {}), "layer": self.kind}, resume=resume)
        self.frames_kept = 0
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._audio: AudioCopy | None = None
        if self._partial.earlier is not None:
            packets = _video_packets(self._av, self._partial.earlier)
            self.frames_kept = max(0, sum(1 for _ in packets) - 1)

    def __enter__(self) -> Self:
        return self

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Encode the layer of one frame.

        Raises:
            StorageError: the file cannot be written; what was written stays, and can be played.
        """
        pixels = render_layer(self.kind, prediction, self._background)
        if self.kind == "cutout" and not self._encoding.exact:
            pixels = extend_colours(pixels)
        try:
            if self._container is None:
                self._open(pixels)
            assert self._container is not None
            assert self._stream is not None
            if self._audio is not None:
                self._audio.mux_until(self._container, frame.time_s)
            self._container.mux(self._stream.encode(self._picture(pixels, frame.time_s)))
        except (self._av.FFmpegError, OSError) as error:
            raise self._unwritten(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        complete = kind is None
        if self._container is None:
            return
        try:
            self._close(complete=complete)
        except (self._av.FFmpegError, OSError) as failure:
            if complete:
                raise self._unwritten(failure) from failure
            return
        if complete:
            self._partial.finish()

    def _open(self, pixels: NDArray[Any]) -> None:
        part = self._partial.begin()
        height, width = self._even(pixels).shape[:2]
        hybrid = self._av.library_versions["libavformat"] >= _HYBRID_FORMAT
        self._container = self._av.open(
            os.fspath(part),
            "w",
            format=CONTAINERS[self.path.suffix.lower()],
            options=container_options(self.path, self._timing.time_base, hybrid=hybrid),
        )
        encoding, timing = self._encoding, self._timing
        stream: Any = self._container.add_stream(encoding.codec, rate=timing.rate)
        stream.width, stream.height, stream.pix_fmt = width, height, encoding.pixel_format
        key_frames = {"g": str(max(1, round(_KEY_FRAME_S * timing.rate)))}
        stream.options = key_frames | dict(encoding.options)
        stream.time_base = timing.time_base
        context = stream.codec_context
        context.time_base = timing.time_base
        context.sample_aspect_ratio = timing.sample_aspect
        context.thread_count = min(_ENCODER_THREADS, os.cpu_count() or 1)
        context.color_range = _FULL if encoding.is_rgb else _LIMITED
        if not encoding.is_rgb:
            context.colorspace = context.color_primaries = context.color_trc = _BT_709
        self._stream = stream
        if self._sound is not None:
            self._audio = AudioCopy(self._sound)
            self._audio.attach(self._container, str(self.path))
        self._copy_earlier()

    def _copy_earlier(self) -> None:
        """Take over the first frames of an interrupted run as they are."""
        assert self._container is not None
        if self._partial.earlier is None:
            return
        for packet in islice(_video_packets(self._av, self._partial.earlier), self.frames_kept):
            if self._audio is not None:
                self._audio.mux_until(self._container, float(packet.pts * packet.time_base))
            packet.stream = self._stream
            self._container.mux(packet)
        self._partial.drop_earlier()

    def _picture(self, pixels: NDArray[Any], time_s: float) -> Any:
        pixels = np.ascontiguousarray(self._even(pixels))
        layout = (pixels.ndim, pixels.shape[2] if pixels.ndim == 3 else pixels.itemsize)
        picture = self._av.VideoFrame.from_ndarray(pixels, _ARRAY_FORMATS[layout])
        if self._encoding.is_rgb:
            picture = picture.reformat(format=self._encoding.pixel_format)
        else:
            picture = picture.reformat(
                format=self._encoding.pixel_format,
                dst_colorspace=_BT_709,
                dst_color_range=_LIMITED,
                interpolation=EXACT_COLOURS,
            )
        base = self._timing.time_base
        # A double holds every tick of some centuries exactly.
        picture.pts, picture.time_base = round(time_s / float(base)), base
        if hasattr(picture, "duration"):  # PyAV 14 has none
            picture.duration = max(1, round(1 / (self._timing.rate * base)))
        return picture

    def _even(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The picture with its last row and column repeated where the codec needs even sides."""
        height, width = pixels.shape[:2]
        if not self._encoding.even or height % 2 == width % 2 == 0:
            return pixels
        if self._container is None:
            self.remarks.append(
                f"{self.path} is {width + width % 2}x{height + height % 2}, since H.264 needs even "
                "sides; the last row or column is there twice."
            )
        sides = ((0, height % 2), (0, width % 2), (0, 0))[: pixels.ndim]
        return np.pad(pixels, sides, mode="edge")

    def _close(self, *, complete: bool) -> None:
        container, stream, audio = self._container, self._stream, self._audio
        assert container is not None
        assert stream is not None
        self._container = None
        with contextlib.ExitStack() as stack:
            stack.callback(container.close)
            if audio is not None:
                stack.callback(audio.close)
            container.mux(stream.encode())
            if audio is not None:
                if complete:
                    audio.mux_until(container, None)
                self.remarks += audio.remarks

    def _unwritten(self, error: BaseException) -> StorageError:
        reason = av_reason(error)
        return StorageError(
            f"to write {self.path}",
            reason,
            "free some space, and add --resume to go on",
            f"{self.path} cannot be written: {reason}. What was written is in "
            f"{self._partial.part}.",
        )


def _video_packets(av: Any, path: Path) -> Iterator[Any]:
    """The packets of a file's video as its encoder gave them, also where its end is missing."""
    try:
        with av.open(os.fspath(path)) as container:
            stream = container.streams.video[0]
            filters = None
            if stream.codec_context.name == "h264":  # a .mp4 separates its parts in another way
                filters = av.BitStreamFilterContext("h264_mp4toannexb", stream)
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and not packet.is_corrupt:
                    for each in [packet] if filters is None else filters.filter(packet):
                        each.time_base = stream.time_base  # a filter may drop it
                        yield each
    except (av.FFmpegError, IndexError):
        return


def _check_encoder(av: Any, encoding: Encoding, path: Path) -> None:
    try:
        av.Codec(encoding.codec, "w")
    except (av.FFmpegError, ValueError):
        raise UsageError(
            f"an FFmpeg with the encoder {encoding.codec}",
            "one without it",
            "install PyAV's own wheel, or name another kind of file",
            f"{path} needs the encoder {encoding.codec}, which this FFmpeg lacks.",
        ) from None
