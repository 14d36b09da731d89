"""Pictures of every colour space, depth and format mean the same, and other files are named."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from maskdepth.errors import PictureError
from maskdepth.images import load_cutout, load_picture
from maskdepth.picture_formats import PICTURE_SUFFIXES, count_kinds

RGB = np.random.default_rng(5).integers(0, 256, (24, 32, 3)).astype(np.uint8)


def encoded(array: NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def s15(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def profile_of(primaries: NDArray[np.float64], gamma: float) -> bytes:
    """An ICC profile (ICC.1:2001) with the columns of a matrix from linear RGB to XYZ at D50."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"t\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        b"wtpt": b"XYZ " + bytes(4) + s15(0.9642) + s15(1.0) + s15(0.8249),
        **{
            name: b"XYZ " + bytes(4) + b"".join(map(s15, column))
            for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)
        },
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    return assembled(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of greys with a power law."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    white = b"XYZ " + bytes(4) + s15(0.9642) + s15(1.0) + s15(0.8249)
    desc = b"desc" + bytes(4) + struct.pack(">I", 2) + b"t\0" + bytes(78)
    tags = {b"desc": desc, b"cprt": b"text" + bytes(4) + b"CC0\0", b"wtpt": white, b"kTRC": curve}
    return assembled(b"GRAY", tags)


def assembled(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += padded
    header = struct.pack(
        ">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"mntr", space, b"XYZ "
    )
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += s15(0.9642) + s15(1.0) + s15(0.8249) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


# Linear RGB to XYZ at D50: sRGB (IEC 61966-2-1, Bradford-adapted) and Adobe RGB (1998).
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
WIDE = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])


def srgb_levels(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels of linear light, by the formula of IEC 61966-2-1."""
    light = np.clip(linear, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


# Colours


@pytest.mark.parametrize(("primaries", "gamma"), [(WIDE, 2.2), (SRGB, 1.0)], ids=["wide", "linear"])
def test_colours_of_another_profile_become_srgb(
    primaries: NDArray[np.float64], gamma: float
) -> None:
    """A wide or a linear profile is converted by the formulas of its primaries and its curve."""
    linear = (RGB / 255) ** (round(gamma * 256) / 256)
    expected = srgb_levels(linear @ (np.linalg.inv(SRGB) @ primaries).T)
    profile = profile_of(primaries, gamma)
    for kind in ("PNG", "TIFF", "WEBP"):
        options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
        loaded = load_picture(encoded(RGB, kind, icc_profile=profile, **options))
        assert np.abs(loaded - expected).max() < 2, kind
    # The change is one that is seen.
    assert np.abs(loaded.astype(int) - RGB).max() > 20


def test_the_profile_of_srgb_leaves_every_level_as_it_is() -> None:
    """Most photos carry a profile that is sRGB; their pixels are those of the file."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(load_picture(encoded(RGB, icc_profile=profile)), RGB)


def test_greys_of_another_profile_become_srgb() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = srgb_levels(grey / 255)
    for levels in (grey, grey.astype(np.uint16) * 257):
        loaded = load_picture(encoded(levels, icc_profile=grey_profile(1.0)))
        assert np.abs(loaded - expected[..., None]).max() < 2


def test_a_cutout_is_converted_and_its_alpha_is_not() -> None:
    cutout = np.dstack([RGB, np.arange(24 * 32).reshape(24, 32).astype(np.uint8)])
    profile = profile_of(WIDE, 2.2)
    loaded = load_cutout(encoded(cutout, icc_profile=profile))
    assert np.array_equal(loaded[..., 3], cutout[..., 3])
    assert np.array_equal(loaded[..., :3], load_picture(encoded(RGB, icc_profile=profile)))


@pytest.mark.parametrize("profile", [b"no profile", profile_of(WIDE, 2.2)[:200], grey_profile(1.0)])
def test_a_profile_that_is_damaged_or_of_other_channels_is_left_out(profile: bytes) -> None:
    assert np.array_equal(load_picture(encoded(RGB, icc_profile=profile)), RGB)


# Depth of the samples


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12])
def test_greys_of_fewer_than_sixteen_bits_keep_their_levels(kind: str, bits: int) -> None:
    """A camera's 12-bit values are brought to 8 bits by their own range, 10 bits as 12."""
    levels = np.arange(2**bits, dtype=np.uint16).reshape(-1, 32)
    assert np.array_equal(load_picture(encoded(levels, kind))[..., 0], levels >> 4)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_colours_of_twelve_bits_keep_their_levels(suffix: str, tmp_path: Path) -> None:
    levels = np.random.default_rng(1).integers(0, 4096, (16, 16, 3)).astype(np.uint16)
    path = tmp_path / f"deep{suffix}"
    path.write_bytes(cv2.imencode(suffix, levels[..., ::-1])[1].tobytes())
    assert np.array_equal(load_picture(path), levels >> 4)
    assert np.array_equal(load_picture(path.read_bytes()), levels >> 4)


def test_a_grey_map_of_sixteen_bits_keeps_its_high_byte() -> None:
    """Pillow gives the samples of a 16-bit PGM as 32-bit integers."""
    levels = np.arange(65536, dtype=">u2").reshape(256, 256)
    loaded = load_picture(b"P5 256 256 65535\n" + levels.tobytes())
    assert np.array_equal(loaded[..., 0], levels >> 8)


# Formats


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".jfif", "JPEG"), (".jpe", "JPEG"), (".avif", "AVIF"), (".jp2", "JPEG2000"), (".ppm", "PPM")],
)
def test_every_format_that_pillow_reads_is_a_picture(
    suffix: str, kind: str, tmp_path: Path
) -> None:
    flat = np.full((32, 32, 3), (200, 90, 30), np.uint8)
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(encoded(flat, kind))
    assert suffix in PICTURE_SUFFIXES
    assert np.abs(load_picture(path).astype(int) - flat).max() <= 4


HEADS = {
    "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), "is a HEIC photo"),
    "clip.mp4": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(50), "is a video"),
    "clip.avi": (b"RIFF\0\0\0\0AVI LIST" + bytes(50), "is a video"),
    "clip.webm": (b"\x1a\x45\xdf\xa3" + bytes(50), "is a video"),
    "renamed.png": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), "is a HEIC photo"),
    "light.exr": (b"\x76\x2f\x31\x01" + bytes(50), "is an OpenEXR file"),
    "raw.npy": (b"\x93NUMPY" + bytes(50), "is a NumPy array"),
    "page.pdf": (b"%PDF-1.7" + bytes(50), "is a document"),
    "drawing.svg": (b"<svg xmlns=''></svg>", "is a document or a drawing"),
    "float.tif": (
        cv2.imencode(".tiff", np.zeros((8, 8, 3), np.float32))[1].tobytes(),
        "is a TIFF of a kind that Pillow cannot read",
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_file_that_is_no_picture_is_named_with_what_to_do(name: str, tmp_path: Path) -> None:
    """One line says what the file is, whatever its suffix claims, and ends in a remedy."""
    data, expected = HEADS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PictureError, match=f"{name} {expected}") as caught:
        load_picture(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_a_web_address_is_no_path() -> None:
    with pytest.raises(PictureError, match=r"address, not a file. Download the picture first"):
        load_picture("https://example.org/a.jpg")


def test_files_are_counted_by_kind() -> None:
    names = ["a.mp4", "b.MOV", "c.heic", "d_depth_mm.png", "e.txt", "f.md", "g.txt", "Makefile"]
    assert count_kinds(map(Path, names)) == (
        "2 videos, 1 HEIC photo, 1 depth map, 4 other files (.md, .txt, Makefile)"
    )
    assert count_kinds([]) == ""
