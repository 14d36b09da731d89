"""Files to begin with, and mutants of them: each a pure function of a seed and a number."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
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
MAX_PIXELS = 4_000_000
SUFFIXES = (".png", ".jpg", ".webp", ".tif", ".bmp", ".gif", ".avif", ".jp2", ".ppm", ".npy")

_HOSTILE_SIDES = (
    *((1, 1), (1, 2), (2, 1), (3, 3), (1, 700), (700, 1), (5, 900), (1200, 7), (33, 31)),
    *((225, 224), (300, 20), (1, 40_000), (40_000, 2), (33_000, 3), (2, 70_000)),
)
_LARGE_SIDES = ((2000, 2000), (1600, 2500), (400, 10_000), (40_000, 100), (1, 1_000_000))
_NUMBERS = (0, 1, 2, 3, 7, 12, 32, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**32 - 1)
_DTYPES = (
    *("|O", "<f2", "<f4", "<f8", "<f16", ">f4", "|b1", "|i1", "<u2", ">u2", "<i8", "<c8", "<U4"),
    *("|S3", "|V8", "<M8[s]", "<m8[D]", "", "f4,f4", "<f0"),
)
_SHAPES = (
    *("()", "(0,)", "(0, 0)", "(72, 96)", "(72, 96, 1)", "(-1, 96)", "(4611686018427387904, 2)"),
    *("(72, 97)", "(1, 6912)", "(100000, 100000)", "(72.0, 96)", "(None, 96)", "96", "(True, 9)"),
)
_JSON_VALUES = (
    *("NaN", "Infinity", "-Infinity", "1e999", "1e308", "1e-320", "-1e308", "-1", "0", "1", "1.5"),
    *("null", "true", '""', '"x"', '"\\ud800"', "[]", "{}", "[[]]", "[1, 2]", "1e30", "9" * 400),
    *("9" * 6000, "[" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, '"' + "y" * 70_000 + '"'),
)

Random = np.random.Generator
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Mutant:
    """A damaged file.

    Attributes:
        kind: the file that it was made of, such as ``"jpeg cmyk"``.
        change: what was done to it.
        suffix: of the name that it gets, which may be a wrong one.
    """

    kind: str
    change: str
    suffix: str
    data: bytes


def generator(seed: int, number: int) -> Random:
    """The random numbers of one mutant."""
    return np.random.default_rng([seed, number])


def make_mutant(random: Random) -> Mutant:
    """A mutant of a random kind."""
    files = corpus()
    # Plates and depth files are few kinds with much to go wrong.
    some = [kind for kind in files if kind.startswith(("plate", "npy"))]
    kind = str(random.choice(sorted(files) if random.random() < 0.75 else some))
    suffix, data = files[kind]
    change = "none"
    if random.random() > 0.03:
        special = {".png": _mutate_png, ".npy": _mutate_npy, ".plate": _mutate_plate}.get(suffix)
        mutate = special if special is not None and random.random() < 0.7 else _mutate_bytes
        data, change = mutate(data, random)
    if suffix != ".plate" and random.random() < 0.05:
        suffix = str(random.choice(SUFFIXES))
    return Mutant(kind, change, suffix, data)


def hostile_picture(random: Random, *, large: bool = False) -> Picture:
    """A picture of an extreme shape or content, uint8 (H, W, 3)."""
    sides = _LARGE_SIDES if large else _HOSTILE_SIDES
    height, width = sides[random.integers(len(sides))]
    content = random.integers(5)
    if content < 2:
        return np.full((height, width, 3), (0, 255)[content], np.uint8)
    if content == 2:
        return random.integers(0, 256, (height, width, 3), np.uint8)
    if content == 3:
        return np.full((height, width, 3), random.integers(0, 256, 3), np.uint8)
    return cv2.resize(scene(1)[0], (width, height), interpolation=cv2.INTER_LINEAR)


def hostile_disparity(random: Random, height: int, width: int) -> NDArray[np.floating]:
    """A plate's disparity with values that no network gives, floating (H, W)."""
    values = random.random((height, width)).astype(random.choice(["f2", "f4", "f8"]))
    values[random.random((height, width)) < random.choice([0, 0.1, 0.99, 1])] = np.nan
    where = random.random((height, width)) < random.choice([0, 0.01, 0.5, 1])
    values[where] = random.choice([np.inf, -np.inf, 0, 1, -5, 6e4, np.finfo(values.dtype).max])
    return values


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
    return _join_png([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


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


# Mutations: bytes and a generator in, bytes and the name of the change out.


def _mutate_bytes(data: bytes, random: Random) -> tuple[bytes, str]:
    """Changes that know nothing of the format."""
    if not data:
        return random.bytes(5), "bytes out of nothing"
    changed = bytearray(data)
    head = random.random() < 0.6  # where sizes and kinds are written
    at = int(random.integers(min(len(data), 300) if head else len(data)))
    choice = random.integers(9)
    if choice == 0:
        for _ in range(int(2 ** random.uniform(0, 6))):
            changed[random.integers(len(data))] ^= 1 << random.integers(8)
        return bytes(changed), "bits"
    if choice == 1:
        return bytes(changed[:at]), "truncated"
    if choice in (2, 3, 4):
        number = int(random.choice(_NUMBERS))
        size = int(random.choice([1, 2, 4]))
        order = "big" if random.random() < 0.5 else "little"
        changed[at : at + size] = (number % 256**size).to_bytes(size, order)
        return bytes(changed), "number"
    if choice == 5:
        _, other = corpus()[str(random.choice(sorted(corpus())))]
        cut = int(random.integers(len(other) + 1))
        return bytes(changed[:at]) + other[cut:], "spliced"
    if choice == 6:
        end = at + int(random.integers(1, 200))
        changed[at:end] = b"" if random.random() < 0.5 else changed[at:end] * 2
        return bytes(changed), "range"
    if choice == 7:
        end = at + int(random.integers(1, 60))
        changed[at:end] = random.bytes(end - at)
        return bytes(changed), "noise"
    changed[at:] = bytes([int(random.integers(256))]) * int(random.integers(3000))
    return bytes(changed), "constant"


def _split_png(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


def _join_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in chunks:
        parts += [struct.pack(">I", len(body)), kind, body]
        parts.append(struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(parts)


def _mutate_png(data: bytes, random: Random) -> tuple[bytes, str]:
    """Changes of chunks, whose checksums are right afterwards."""
    chunks = _split_png(data)
    at = int(random.integers(len(chunks)))
    kind, body = chunks[at]
    choice = random.integers(6)
    if choice == 0:
        numbers = [int(random.choice([1, 2, 71, 97, 5000, 2**31 - 1, 0])) for _ in range(2)]
        if random.random() < 0.5:
            numbers = [WIDTH, HEIGHT]
        deep = [int(random.choice(each)) for each in ((1, 2, 4, 8, 16, 3), (0, 2, 3, 4, 6, 1))]
        chunks[0] = (b"IHDR", struct.pack(">IIBBBBB", *numbers, *deep, 0, 0, random.integers(2)))
        return _join_png(chunks), "PNG header"
    if choice == 1:
        names = (b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"zTXt")
        name = names[random.integers(len(names))]
        bodies = (b"", random.bytes(30), b"a\0\0" + zlib.compress(bytes(3_000_000)), bytes(6))
        chunks.insert(1, (name, bodies[random.integers(len(bodies))]))
        return _join_png(chunks), f"PNG {name.decode()}"
    if choice == 2:
        chunks.append(chunks.pop(at))
        return _join_png(chunks), "PNG order"
    if choice == 3 and kind == b"IDAT":
        try:
            raw = zlib.decompress(body)
        except zlib.error:
            raw = body
        body, change = _mutate_bytes(raw, random)
        chunks[at] = (kind, zlib.compress(body))
        return _join_png(chunks), f"PNG pixels {change}"
    body, change = _mutate_bytes(body, random)
    chunks[at] = (kind, body)
    return _join_png(chunks), f"PNG chunk {change}"


def _mutate_npy(data: bytes, random: Random) -> tuple[bytes, str]:
    """A header of another type or shape."""
    dtype = random.choice(_DTYPES) if random.random() < 0.6 else "<f4"
    shape = random.choice(_SHAPES) if random.random() < 0.6 else "(72, 96)"
    order = random.choice(["True", "False", "None"], p=[0.2, 0.7, 0.1])
    header = f"{{'descr': {str(dtype)!r}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if random.random() < 0.05:
        header = "(" * 500 + header
    text = header.encode() + b"\n"
    body = data[128:]
    if random.random() < 0.4:
        count = WIDTH * HEIGHT
        body = (
            random.choice([np.nan, np.inf, -1.0, 0.0, 1e-40, 1e38], count).astype("<f4").tobytes()
        )
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + body, "npy header"


def _mutate_plate(data: bytes, random: Random) -> tuple[bytes, str]:
    """Changes of members, whose checksums are right afterwards; and archives that claim to be."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = members.pop("profile.json").decode()
    name = str(random.choice(sorted(members)))
    choice = random.integers(5)
    change = "plate"
    if choice <= 1:
        text, change = _mutate_json(text, random), "plate JSON"
    elif choice <= 3:
        mutate: Callable[..., tuple[bytes, str]] = _mutate_bytes
        if random.random() < 0.7:
            mutate = _mutate_npy if name.endswith(".npy") else _mutate_png
        old = hashlib.sha256(members[name]).hexdigest()
        members[name], change = mutate(members[name], random)
        if random.random() < 0.9:
            text = text.replace(old, hashlib.sha256(members[name]).hexdigest())
        change = f"plate {name} {change}"
    methods = [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    method = methods[random.choice(4, p=[0.4, 0.4, 0.1, 0.1])]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for each, content in {**members, "profile.json": text.encode()}.items():
            archive.writestr(each, content)
    if choice < 4:
        return buffer.getvalue(), change
    if random.random() < 0.3:
        return _lying_archive(buffer.getvalue(), name), "plate bomb"
    packed, change = _mutate_bytes(buffer.getvalue(), random)
    return packed, f"plate archive {change}"


@cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(600)) + packer.flush()


def _lying_archive(data: bytes, name: str) -> bytes:
    """An archive whose member unpacks to 600 MB, though its header says some hundred bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    local, central = b"", b""
    for each, content in members.items():
        packed = _bomb() if each == name else zlib.compress(content, wbits=-15)
        fields = struct.pack(
            "<HHHHHIIIHH", 20, 0, 8, 0, 0, zlib.crc32(content), len(packed), len(content),
            len(each), 0,
        )  # fmt: skip
        central += b"PK\1\2" + struct.pack("<H", 20) + fields
        central += struct.pack("<HHHII", 0, 0, 0, 0, len(local)) + each.encode()
        local += b"PK\3\4" + fields + each.encode() + packed
    ends = (0, 0, len(members), len(members), len(central), len(local), 0)
    return local + central + b"PK\5\6" + struct.pack("<HHHHIIH", *ends)


def _mutate_json(text: str, random: Random) -> str:
    """One value replaced by one that is none of its kind, or that no parser expects."""
    record = json.loads(text)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(record)
    node, key = places[random.integers(len(places))]
    if isinstance(node, dict) and random.random() < 0.15:
        del node[key]
        return json.dumps(record)
    node[key] = "@here@"
    return json.dumps(record).replace('"@here@"', str(random.choice(_JSON_VALUES)))
