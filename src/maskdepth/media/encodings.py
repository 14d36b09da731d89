"""How each kind of video file holds each layer: codec, pixel format, colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

from maskdepth.errors import UsageError
from maskdepth.media.layers import COLOUR_OVER_MATTE


@dataclass(frozen=True)
class Encoding:
    """How one layer is encoded.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name of what it gets.
        options: of the encoder.
        even: whether width and height have to be even.
        exact: whether every pixel comes back as it was.
    """

    codec: str
    pixel_format: str
    options: Mapping[str, str] = field(default_factory=dict)
    even: bool = False
    exact: bool = False

    @property
    def is_rgb(self) -> bool:
        """Whether it stores red, green and blue, or grey, rather than luma and chroma."""
        return self.pixel_format.startswith(("bgr", "gray"))


# Alpha bits: 16 cost no more than 8, and come back exactly.
_PRORES: Final = {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}
# Quality, not a bit rate, sets the size. One quantiser holds for colour and alpha, and mattes need
# a fine one: at 24 fully opaque areas are off by up to 5 levels, at 4 by up to 3, at 1 by 1. A
# matte is small all the same.
_VP9: Final = {"crf": "1", "b": "0", "qmin": "0", "deadline": "good", "cpu-used": "6"} | {
    "row-mt": "1", "auto-alt-ref": "0", "lag-in-frames": "0",
}  # fmt: skip
_FFV1: Final = {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}
# Without B frames a packet follows its predecessor in time too, so that a run can be resumed;
# without a look ahead, a frame is in the file soon, where a killed run leaves it.
_H264: Final = {"crf": "18", "preset": "veryfast", "bf": "0", "rc-lookahead": "0"} | {
    "x264-params": "sync-lookahead=0:sliced-threads=1:mbtree=0",
}

_GREY_16: Final = frozenset({"disparity", "depth"})
ALPHA_SUFFIXES: Final = frozenset({".mov", ".webm", ".mkv"})
VIDEO_SUFFIXES: Final = ALPHA_SUFFIXES | {".mp4"}
"""What a video is written as."""

CONTAINERS: Final = {".mov": "mov", ".mp4": "mp4", ".mkv": "matroska", ".webm": "webm"}
"""FFmpeg's names of what the endings stand for."""

_FRAGMENTS: Final = {"frag_duration": "1000000"}
# Sound may begin before the pictures, at a negative time; all would otherwise be moved to 0.
_MKV_OPTIONS: Final = {"cluster_time_limit": "1000", "avoid_negative_ts": "disabled"}


def container_options(path: Path, time_base: Fraction, *, hybrid: bool) -> dict[str, str]:
    """Options of the file itself: it can be read at any moment, and keeps its time stamps.

    Args:
        time_base: the tick of the video's time stamps. Where a .mov or .mp4 does not begin at 0, it
            says so in the movie's ticks, which are milliseconds unless they are set.
        hybrid: whether FFmpeg can make an ordinary file of a .mov's or .mp4's fragments at the end.
            That of FFmpeg 7 cannot be read, so it stays in fragments.
    """
    # Where the sound ends before the pictures, they would wait ten seconds for more of it.
    options = {"flush_packets": "1", "max_interleave_delta": "500000"}
    if path.suffix.lower() in (".mkv", ".webm"):
        return options | _MKV_OPTIONS
    flags = "+delay_moov+hybrid_fragmented" if hybrid else "+delay_moov"
    movie = {"movflags": flags, "movie_timescale": str(time_base.denominator)}
    return options | _FRAGMENTS | movie


def encoding_of(path: Path, kind: str) -> Encoding:
    """How a file holds a layer.

    Raises:
        UsageError: depth in millimetres, which needs 16 bits, in a file that has fewer.
    """
    suffix = path.suffix.lower()
    if kind == "depth" and suffix != ".mkv":
        raise UsageError(
            "a .mkv for depth",
            suffix,
            "name a .mkv, or a folder for 16-bit PNGs",
            f"Depth in millimetres needs 16 bits, which a {suffix} does not have.",
        )
    if suffix == ".mkv":
        grey = "gray16le" if kind in _GREY_16 else "gray" if kind == "alpha" else None
        return Encoding("ffv1", grey or ("bgra" if kind == "cutout" else "bgr0"), _FFV1, exact=True)
    if suffix == ".mov":
        return Encoding("prores_ks", "yuva444p10le" if kind == "cutout" else "yuv444p10le", _PRORES)
    if suffix == ".webm":
        return Encoding("libvpx-vp9", "yuva420p" if kind == "cutout" else "yuv420p", _VP9)
    return Encoding("libx264", "yuv420p", _H264, even=True)


def layer_of(path: Path, kind: str | None, *, background: bool) -> str:
    """The layer of a file: what was asked for, or what suits such a file.

    Args:
        path: a video, by its ending.
        kind: a format of `maskdepth.Prediction.save`; None for the usual one.
        background: whether there is one to put the cutout on.
    """
    opaque = path.suffix.lower() not in ALPHA_SUFFIXES
    if kind == "cutout" and opaque:
        return COLOUR_OVER_MATTE
    if kind is not None:
        return kind
    return "composite" if background else "preview" if opaque else "cutout"
