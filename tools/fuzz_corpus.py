"""The undamaged files of which mutants are made."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from maskdepth.depth import encode_depth_mm, encode_depth_npy, encode_disparity
from maskdepth.images import encode_png
from maskdepth.inference.plate.calibration import KnownPoint
from maskdepth.inference.plate.profile import (
    profile_from_depth,
    profile_from_disparity,
    save_profile,
)

HEIGHT, WIDTH = 72, 96

Picture = NDArray[np.uint8]


@cache
def scene(scale: int) -> tuple[Picture, Picture, NDArray[np.float32]]:
    """A drawn picture with an object, its plate, and the plate's depth in metres."""
    height, width = HEIGHT * scale, WIDTH * scale
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (9, 12, 3), np.uint8)
    plate = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    picture = plate.copy()
    centre, radius = (width // 2, height // 2), height // 4
    cv2.circle(picture, centre, radius, (200, 40, 60), -1, cv2.LINE_AA)
    cv2.circle(picture, centre, radius // 2, (30, 90, 220), -1, cv2.LINE_AA)
    rows = np.linspace(6, 1.5, height, dtype=np.float32)[:, None]
    return picture, plate, np.repeat(rows, width, axis=1)


@cache
def corpus() -> dict[str, tuple[str, bytes]]:
    """The undamaged files: suffix and bytes by kind."""
    return {**_pngs(), **_other_pictures(), **_depth_files(), **_plates()}


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    # A copy: an image remembers the options of the encoder before.
    picture.copy().save(buffer, kind, **options)
    return buffer.getvalue()


def _icc() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def _exif(orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "camera"
    return exif.tobytes()


def _pngs() -> dict[str, tuple[str, bytes]]:
    picture = Image.fromarray(scene(1)[0])
    frames = [picture, picture.rotate(180)]
    palette = picture.quantize(17)
    grey = np.asarray(picture.convert("L"))
    deep = np.dstack([grey.astype(np.uint16) * 13] * 3)
    files = {
        "png rgb": encode_png(np.asarray(picture)),
        "png rgba": _saved(picture.convert("RGBA"), "PNG"),
        "png grey": _saved(picture.convert("L"), "PNG"),
        "png grey alpha": _saved(picture.convert("LA"), "PNG"),
        "png one bit": _saved(picture.convert("1"), "PNG"),
        "png palette": _saved(palette, "PNG", transparency=bytes([0, 9, 255])),
        "png palette of 2 bits": _saved(picture.quantize(4), "PNG", bits=2, transparency=1),
        "png 16 bit": cv2.imencode(".png", deep)[1].tobytes(),
        "png grey 16 bit": encode_png(grey.astype(np.uint16) * 257),
        "png interlaced": _interlaced(np.asarray(picture)),
        "png exif icc": _saved(picture, "PNG", exif=_exif(), icc_profile=_icc()),
        "apng": _saved(picture, "PNG", save_all=True, append_images=frames, duration=40),
    }
    return {kind: (".png", data) for kind, data in files.items()}


def _interlaced(pixels: Picture) -> bytes:
    """An Adam7 PNG, which neither Pillow nor OpenCV writes."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    rows = b""
    for top, left, down, across in (*passes, (1, 0, 2, 1)):
        part = pixels[top::down, left::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    return join_png([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def _other_pictures() -> dict[str, tuple[str, bytes]]:
    picture = Image.fromarray(scene(1)[0])
    frames = [picture.rotate(180), picture.rotate(90)]
    grey = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 200)
    cmyk, rgba = picture.convert("CMYK"), picture.convert("RGBA")
    animated: dict[str, Any] = {"save_all": True, "append_images": frames, "duration": 40}
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {
        "jpeg": (picture, "JPEG", {"quality": 90}),
        "jpeg grey": (picture.convert("L"), "JPEG", {}),
        "jpeg cmyk": (cmyk, "JPEG", {"icc_profile": _icc()}),
        "jpeg progressive": (picture, "JPEG", {"progressive": True, "exif": _exif(5)}),
        "jpeg icc": (picture, "JPEG", {"icc_profile": srgb, "exif": _exif(3)}),
        "mpo": (picture, "MPO", {"save_all": True, "append_images": [picture.rotate(9)]}),
        "webp": (picture, "WEBP", {"exif": _exif(8), "icc_profile": srgb}),
        "webp lossless": (rgba, "WEBP", {"lossless": True}),
        "webp animated": (rgba, "WEBP", animated),
        "tiff": (picture, "TIFF", {"exif": _exif()}),
        "tiff pages": (picture, "TIFF", {"save_all": True, "append_images": frames}),
        "tiff lzw": (rgba, "TIFF", {"compression": "tiff_lzw", "icc_profile": srgb}),
        "tiff deflate": (picture, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "tiff jpeg": (picture, "TIFF", {"compression": "jpeg"}),
        "tiff packbits": (picture.quantize(9), "TIFF", {"compression": "packbits"}),
        "tiff fax": (picture.convert("1"), "TIFF", {"compression": "group4"}),
        "tiff cmyk": (cmyk, "TIFF", {}),
        "tiff 16 bit": (grey, "TIFF", {}),
        "tiff float": (picture.convert("F"), "TIFF", {}),
        "bmp": (picture, "BMP", {}),
        "bmp palette": (picture.quantize(200), "BMP", {}),
        "bmp alpha": (rgba, "BMP", {}),
        "dib": (picture, "DIB", {}),
        "gif": (picture.quantize(30), "GIF", {"transparency": 3}),
        "gif animated": (picture, "GIF", animated),
        "avif": (picture, "AVIF", {"exif": _exif(7)}),
        "avif animated": (picture, "AVIF", animated),
        "jpeg 2000": (picture, "JPEG2000", {}),
        "ppm": (picture, "PPM", {}),
        "pgm 16 bit": (grey, "PPM", {}),
    }
    suffixes = {"jpeg": ".jpg", "mpo": ".jpg", "tiff": ".tif", "dib": ".bmp", "pgm": ".pgm"}
    return {
        kind: (
            suffixes.get(kind.split()[0], f".{kind.split()[0]}"),
            _saved(image, codec, **options),
        )
        for kind, (image, codec, options) in files.items()
    }


def _depth_files() -> dict[str, tuple[str, bytes]]:
    depth_m = scene(1)[2].copy()
    depth_m[:3] = np.inf
    depth_m[5, :9] = np.nan
    disparity = 1 / depth_m
    arrays = {
        "npy float16": depth_m.astype(np.float16),
        "npy float64 big-endian": depth_m.astype(">f8"),
        "npy columns first": np.asfortranarray(depth_m),
        "npy millimetres": np.nan_to_num(depth_m * 1000, posinf=0).astype(np.uint16),
    }
    files = {"npy": (".npy", encode_depth_npy(depth_m))}
    for kind, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        files[kind] = (".npy", buffer.getvalue())
    files["depth png"] = (".png", encode_png(encode_depth_mm(depth_m)[0]))
    files["disparity png"] = (".png", encode_png(encode_disparity(disparity)))
    return files


def _plates() -> dict[str, tuple[str, bytes]]:
    _, plate, depth_m = scene(1)
    points = [KnownPoint(9, 9, 5.5), KnownPoint(80, 60, 2.0), KnownPoint(40, 40, 3.2)]
    profiles = {
        "plate": profile_from_disparity(plate, 1 / depth_m),
        "plate calibrated": profile_from_disparity(plate, 1 / depth_m, points),
        "plate measured": profile_from_depth(plate, depth_m),
    }
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, profile in profiles.items():
            path = Path(folder) / "scene.plate"
            save_profile(path, profile)
            files[kind] = (".plate", path.read_bytes())
    return files


def join_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of chunks (kind, body), with right checksums."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in chunks:
        parts += [struct.pack(">I", len(body)), kind, body]
        parts.append(struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(parts)
