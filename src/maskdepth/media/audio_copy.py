"""A clip's sound, copied packet by packet into another file beside its new pictures."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskdepth.errors import VideoError
from maskdepth.media.pyav import av_reason, load_av

if TYPE_CHECKING:
    from av.container import OutputContainer


class AudioCopy:
    """Copies all audio streams of a clip, as far as the other file can hold them.

    Args:
        clip: the file, which is read a second time for its sound alone.

    Attributes:
        remarks: a sentence on each stream that cannot be copied.
    """

    def __init__(self, clip: Path) -> None:
        self.remarks: list[str] = []
        self._clip = clip
        self._av = load_av()
        try:
            self._container = self._av.open(os.fspath(clip), metadata_errors="replace")
        except (self._av.FFmpegError, OSError) as error:
            problem = f"The sound of {clip} cannot be read: {av_reason(error)}."
            raise VideoError("a readable clip", av_reason(error), "", problem) from None
        self._targets: dict[int, Any] = {}  # by the number of the stream in the clip
        self._packets: Any = iter(())
        self._next: Any = None

    def attach(self, output: OutputContainer, name: str) -> None:
        """Add the streams to a file before its first packet; ``name`` is its name in messages."""
        for stream in self._container.streams.audio:
            if self._can_hold(output.format.name, stream):
                self._targets[stream.index] = output.add_stream_from_template(stream)
                continue
            codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
            self.remarks.append(
                f"{name} has no sound: a {Path(name).suffix} cannot hold the {codec.upper()} audio "
                f"of {self._clip} without encoding it again."
            )
        if self._targets:
            streams = [self._container.streams[index] for index in self._targets]
            self._packets = self._container.demux(streams)
            self._advance()

    def _can_hold(self, file_format: str, stream: Any) -> bool:
        """Whether a file of some kind takes a stream, which shows when its header is written."""
        try:
            with self._av.open(io.BytesIO(), "w", format=file_format) as trial:
                trial.add_stream_from_template(stream)
                trial.start_encoding()
        except (ValueError, self._av.FFmpegError):
            return False
        return True

    def mux_until(self, output: OutputContainer, time_s: float | None) -> None:
        """Copy the packets that begin before a time; None: all that are left."""
        while self._next is not None:
            packet = self._next
            stamp = packet.dts if packet.pts is None else packet.pts
            begins = 0.0 if stamp is None else float(stamp * packet.time_base)
            if time_s is not None and begins > time_s:
                return
            packet.stream = self._targets[packet.stream.index]
            output.mux(packet)
            self._advance()

    def close(self) -> None:
        """Close the clip."""
        self._container.close()

    def _advance(self) -> None:
        """Read the next packet; where the clip is damaged, the sound ends."""
        self._next = None
        try:
            self._next = next((each for each in self._packets if each.size), None)
        except (self._av.FFmpegError, OSError) as error:
            self.remarks.append(f"The sound of {self._clip} ends early: {av_reason(error)}.")
