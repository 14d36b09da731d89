"""Which files count as pictures, and the names of those that do not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PICTURE_SUFFIXES: Final = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif"),
        *(".tif", ".tiff", ".bmp", ".dib", ".gif", ".jp2", ".j2k", ".ppm", ".pgm", ".pnm"),
    }
)
"""Suffixes, in lower case, of the files in a folder that count as pictures."""

COMMON_SUFFIXES: Final = ".avif, .bmp, .gif, .jpg, .png, .tif, .webp and the like"
"""The pictures' suffixes for messages."""

PILLOW_FORMATS: Final = (
    *("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM"),
)
"""The formats that Pillow may try. Among the others are some that start a program (EPS)."""

DISPARITY_SUFFIX: Final = "_disparity.png"
MILLIMETRES_SUFFIX: Final = "_depth_mm.png"
MILLIMETRES_ARRAY_SUFFIX: Final = "_depth_mm.npy"
DEPTH_MAP_ENDINGS: Final = (DISPARITY_SUFFIX, MILLIMETRES_SUFFIX, "_depth.png")
"""How the names of pictures end that hold depth."""

HEIC_SUFFIXES: Final = frozenset({".heic", ".heif", ".hif"})
"""Suffixes of what phones write, which Pillow cannot read."""

VIDEO_SUFFIXES: Final = frozenset(
    {
        *(".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".mts", ".m2ts"),
        *(".3gp", ".ts", ".wmv", ".flv", ".ogv", ".mxf"),
    }
)
"""Suffixes, in lower case, of video files."""

_VIDEO: Final = ("a video", "save its frames as pictures first, and pass their folder")
_HEIC: Final = ("a HEIC photo, which Pillow cannot read", "save it as JPEG or PNG first")
_RAW: Final = ("a camera's raw file", "develop it to JPEG, PNG or 16-bit TIFF first")
_EXR: Final = ("an OpenEXR file of floating-point light", "save it as 8- or 16-bit PNG first")
_ARCHIVE: Final = ("an archive", "unpack it first")
_ARRAY: Final = ("a NumPy array", "save it as a PNG, or pass the array from Python")
_PROFILE: Final = ("a plate profile", "pass a picture here, and the profile as --plate")
_DRAWING: Final = ("a document or a drawing", "save it as PNG first")

_SUFFIX_KINDS: Final = {
    **dict.fromkeys(HEIC_SUFFIXES, ("HEIC photo", _HEIC)),
    **dict.fromkeys(VIDEO_SUFFIXES, ("video", _VIDEO)),
    **dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".raw"),
        ("raw photo", _RAW),
    ),
    **dict.fromkeys((".exr", ".hdr"), ("OpenEXR or HDR picture", _EXR)),
    **dict.fromkeys((".zip", ".tar", ".gz", ".7z", ".rar"), ("archive", _ARCHIVE)),
    **dict.fromkeys((".npy", ".npz"), ("NumPy array", _ARRAY)),
    **dict.fromkeys((".pdf", ".svg", ".eps", ".ai"), ("document or drawing", _DRAWING)),
}

_OTHER_SUFFIXES: Final = (
    ".json",
    ".jsonl",
    ".plate",
    ".txt",
    ".csv",
    ".html",
    ".onnx",
    ".psd",
    ".xcf",
)
FILE_SUFFIXES: Final = PICTURE_SUFFIXES | frozenset(_SUFFIX_KINDS) | frozenset(_OTHER_SUFFIXES)
"""Suffixes, in lower case, by which a path that does not exist yet is to be a file."""

# ISO base media files name their brand at byte 8; the others begin with their signature.
_HEIC_BRANDS: Final = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_SIGNATURES: Final = (
    (b"\x1a\x45\xdf\xa3", _VIDEO),
    (b"\x00\x00\x01\xba", _VIDEO),
    (b"\x93NUMPY", _ARRAY),
    (b"PK\x03\x04", _ARCHIVE),
    (b"\x76\x2f\x31\x01", _EXR),
    (b"#?RADIANCE", _EXR),
    (b"%PDF", _DRAWING),
    (b"%!PS", _DRAWING),
)
_TIFF: Final = ("a TIFF of a kind that Pillow cannot read", "save it as 8- or 16-bit PNG first")
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
HEAD_BYTES: Final = 32
"""Bytes of a file's beginning that `describe_other` needs."""


def is_address(text: str) -> bool:
    """Whether a text is a web address (URL) rather than a path."""
    return _ADDRESS.match(text) is not None


def is_video(head: bytes, suffix: str) -> bool:
    """Whether a file is a video; the arguments are those of `describe_other`."""
    found = describe_other(head, suffix)
    return found is _VIDEO


def describe_other(head: bytes, suffix: str) -> tuple[str, str] | None:
    """What a file is that Pillow does not know, and what to do about it; None where unknown.

    Args:
        head: the file's first `HEAD_BYTES`, or fewer.
        suffix: its name's, which counts where the bytes do not say it.
    """
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"avif", b"avis"):
            return "an AVIF picture that this Pillow cannot read", "save it as JPEG or PNG first"
        return _HEIC if brand in _HEIC_BRANDS else _VIDEO
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _VIDEO
    if suffix.lower() == ".plate":
        return _PROFILE
    for signature, found in _SIGNATURES:
        if head.startswith(signature):
            return found
    kind = _SUFFIX_KINDS.get(suffix.lower())
    if kind is not None:
        return kind[1]
    return _TIFF if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else None


def count_kinds(paths: Iterable[Path]) -> str:
    """How many files of each kind there are, by their names: "2 videos, 1 other file (.txt)"."""
    counts: Counter[str] = Counter()
    others: list[str] = []
    for path in paths:
        if path.name.lower().endswith(DEPTH_MAP_ENDINGS):
            counts["depth map"] += 1
        elif path.suffix.lower() in _SUFFIX_KINDS:
            counts[_SUFFIX_KINDS[path.suffix.lower()][0]] += 1
        else:
            others.append(path.suffix.lower() or path.name)
    named = [_counted(number, kind) for kind, number in counts.most_common()]
    if others:
        kinds = sorted(set(others))
        more = ", ..." if len(kinds) > 3 else ""
        named.append(f"{_counted(len(others), 'other file')} ({', '.join(kinds[:3])}{more})")
    return ", ".join(named)


def _counted(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"
