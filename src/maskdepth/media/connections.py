"""Live sources by what a user names: a camera, the address of a stream, a pipe of raw frames."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import UsageError, VideoError
from maskdepth.media.live import MakePixels
from maskdepth.media.pyav import av_reason, load_av
from maskdepth.media.video import upright_pixels

__all__ = [
    "CameraConnection",
    "PipeConnection",
    "UrlConnection",
    "is_camera",
    "is_url",
    "parse_size",
    "safe_url",
]

_CAMERA: Final = re.compile(r"camera:(\d{1,3})", re.ASCII)
_DEVICES: Final = ("/dev/video", "/dev/v4l/")
_SCHEMES: Final = frozenset({"rtsp", "rtsps", "http", "https"})
_ANSWER_S: Final = 10.0  # how long a server may take to answer, or to send the next frame
_PROBE_US: Final = 500_000  # how much of a stream is read before its first frame is decoded
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_MAX_SIDE: Final = 16384


def is_camera(source: str) -> bool:
    """Whether a text names a camera: ``camera:0``, or a device such as /dev/video0."""
    return source.startswith(("camera:", *_DEVICES))


def is_url(source: str) -> bool:
    """Whether a text is the address of a stream."""
    return source.partition("://")[0].lower() in _SCHEMES and "://" in source


def safe_url(url: str) -> str:
    """An address without the password and query that it may hold, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of a text such as 640x480, which has the width first.

    Raises:
        UsageError: it is none.
    """
    found = _SIZE.fullmatch(text)
    width, height = map(int, found.groups()) if found else (0, 0)
    if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
        raise UsageError(
            "a size such as 640x480",
            text,
            "give the width and height of the frames, such as --raw 640x480",
            f"{text!r} is no size of frames.",
        )
    return height, width


class CameraConnection:
    """A camera of this machine, read by OpenCV.

    Args:
        source: as in `is_camera`.

    Raises:
        UsageError: the text is no camera, or there is none of that name.
        VideoError: it cannot be opened.
    """

    def __init__(self, source: str) -> None:
        self._name = source
        number = _CAMERA.fullmatch(source)
        if number is None and not source.startswith(_DEVICES):
            raise UsageError(
                "a camera's number",
                source,
                "name it like camera:0",
                f"{source} is no camera.",
            )
        on_linux = sys.platform.startswith("linux")
        if on_linux:
            _check_device(source if number is None else f"/dev/video{number[1]}")
        # OpenCV would print lines of its own where a camera fails.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        device: Any = source if number is None else int(number[1])
        self._capture = cv2.VideoCapture(device, cv2.CAP_V4L2 if on_linux else cv2.CAP_ANY)
        if not self._capture.isOpened():
            raise VideoError(
                "a camera that can be opened",
                "one that cannot",
                "close other programs that use it, or name another",
                f"The camera {source} cannot be opened.",
            )
        self.rate = float(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[MakePixels]:
        """All frames.

        Raises:
            VideoError: the camera gives no more.
        """
        while True:
            present, pixels = self._capture.read()
            if not present:
                text = f"The camera {self._name} gives no more frames."
                raise VideoError("a frame", "none", "", text)
            yield partial(_from_bgr, np.asarray(pixels, np.uint8))

    def close(self) -> None:
        """Switch it off."""
        self._capture.release()


class UrlConnection:
    """A stream of the network, read by PyAV.

    Args:
        url: as in `is_url`; a name and a password may be in it.

    Raises:
        DependencyError: PyAV is not installed.
        VideoError: there is no answer, no video, or a clip of some length.
    """

    def __init__(self, url: str) -> None:
        self._av, self._name = load_av(), safe_url(url)
        options = {"analyzeduration": str(_PROBE_US), "fflags": "nobuffer"}
        if url.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # UDP loses packets, and few firewalls let it in
        try:
            self._container = self._av.open(
                url, options=options, timeout=_ANSWER_S, metadata_errors="replace"
            )
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise self._broken("cannot be opened", error) from None
        try:
            self._stream = self._find_video()
        except VideoError:
            self._container.close()
            raise
        self.rate = float(self._stream.guessed_rate or self._stream.average_rate or 0)

    def __iter__(self) -> Iterator[MakePixels]:
        """All frames that can be decoded; packets that are damaged are left out.

        Raises:
            VideoError: the stream broke off.
        """
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except self._av.InvalidDataError:
                continue
            except (self._av.FFmpegError, OSError) as error:
                raise self._broken("broke off", error) from None
            for frame in frames:
                yield partial(upright_pixels, frame)

    def close(self) -> None:
        """Close the connection."""
        self._container.close()

    def _find_video(self) -> Any:
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            text = f"{self._name} has no video that FFmpeg can decode."
            raise VideoError("a stream with video", "none", "", text)
        if self._container.duration is not None:
            raise VideoError(
                "a stream without end",
                f"a clip of {self._container.duration / 1e6:.0f} s",
                "download it, and predict the file",
                f"{self._name} is a clip, not a live stream.",
            )
        # Threads that each decode a frame would hold back as many frames.
        stream.thread_type = "SLICE"
        return stream

    def _broken(self, what: str, error: BaseException) -> VideoError:
        reason = av_reason(error)
        if isinstance(error, self._av.ExitError):
            reason = f"no answer for {_ANSWER_S:.0f} s"
        return VideoError(
            f"{self._name} to answer",
            reason,
            "check the address, and that the server runs" if what == "cannot be opened" else "",
            f"{self._name} {what}: {reason}.",
        )


class PipeConnection:
    """Raw frames of one size in a pipe: red, green and blue bytes of each pixel, row by row.

    Args:
        pipe: where they come from; read without a buffer, and not closed.
        size: height and width.
    """

    rate = 0.0

    def __init__(self, pipe: IO[bytes], size: tuple[int, int]) -> None:
        # Reading without a buffer takes no lock that the end of the process would wait for.
        self._pipe, self._size = io.FileIO(pipe.fileno(), closefd=False), size

    def __iter__(self) -> Iterator[MakePixels]:
        """All frames.

        Raises:
            VideoError: the pipe ends amid a frame.
        """
        height, width = self._size
        expected = height * width * 3
        while True:
            frame = np.empty((height, width, 3), np.uint8)
            content, got = frame.reshape(-1).data, 0
            while got < expected:
                count = self._pipe.readinto(content[got:])
                if not count:
                    break
                got += count
            if not got:
                return
            if got < expected:
                raise VideoError(
                    f"frames of {expected} bytes",
                    f"{got} bytes at the end",
                    "check the size that --raw names, and that each pixel has three bytes",
                    f"The pipe ends amid a frame: {width}x{height} needs {expected} bytes, and "
                    f"{got} came.",
                )
            yield partial(_as_it_is, frame)

    def close(self) -> None:
        """Nothing: the pipe belongs to the caller."""


def _check_device(path: str) -> None:
    """Raises UsageError where a device is not there or may not be read."""
    if os.access(path, os.R_OK | os.W_OK):
        return
    others = sorted(str(each) for each in Path("/dev").glob("video*"))
    there = f"there are {', '.join(others)}" if others else "this machine has none"
    if Path(path).exists():
        problem, remedy = f"The camera {path} may not be read.", "join the group video"
    else:
        problem, remedy = f"There is no camera {path}; {there}.", ""
    raise UsageError("a camera that can be read", path, remedy, problem)


def _from_bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def _as_it_is(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels
