"""Mutants of files, and extreme pictures: each a pure function of a seed and a number."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from fuzz_corpus import HEIGHT, WIDTH, Picture, corpus, join_png, scene
from numpy.typing import NDArray

MAX_PIXELS = 4_000_000
EXTREME_SHARE = 0.1  # of the mutants that are drawn, and no damaged file
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
        return join_png(chunks), "PNG header"
    if choice == 1:
        names = (b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"zTXt")
        name = names[random.integers(len(names))]
        bodies = (b"", random.bytes(30), b"a\0\0" + zlib.compress(bytes(3_000_000)), bytes(6))
        chunks.insert(1, (name, bodies[random.integers(len(bodies))]))
        return join_png(chunks), f"PNG {name.decode()}"
    if choice == 2:
        chunks.append(chunks.pop(at))
        return join_png(chunks), "PNG order"
    if choice == 3 and kind == b"IDAT":
        try:
            raw = zlib.decompress(body)
        except zlib.error:
            raw = body
        body, change = _mutate_bytes(raw, random)
        chunks[at] = (kind, zlib.compress(body))
        return join_png(chunks), f"PNG pixels {change}"
    body, change = _mutate_bytes(body, random)
    chunks[at] = (kind, body)
    return join_png(chunks), f"PNG chunk {change}"


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
