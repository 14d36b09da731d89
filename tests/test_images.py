"""Reading and writing pictures of every kind, and every way in which that can fail."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import textwrap
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from maskdepth import images
from maskdepth.errors import PictureError
from maskdepth.picture_decoding import TooLargeError


def drawn(height: int = 48, width: int = 64, channels: int = 3) -> NDArray[np.uint8]:
    """A smooth, asymmetric uint8 picture (height, width, channels)."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    layers = [
        60 * c + 120 * rows / max(height, 2) + (40 + 20 * c) * columns / max(width, 2)
        for c in range(channels)
    ]
    return np.stack(layers, axis=2).clip(0, 255).astype(np.uint8)


def encoded(array: NDArray[Any], kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0" * 100))


# Reading ordinary and odd pictures


def test_more_transparent_entries_than_a_palette_may_have_are_refused() -> None:
    """Pillow decodes such a file, and fails where it is converted."""
    whole = encoded(drawn()[..., 0] // 100, "PNG")
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 3, 0, 0, 0))
    palette = png_chunk(b"PLTE", bytes(range(9))) + png_chunk(b"tRNS", bytes(300))
    damaged = whole[:8] + header + palette + whole[whole.index(b"IDAT") - 4 :]
    for load in (images.load_picture, images.load_cutout):
        with pytest.raises(PictureError, match="cannot be read"):
            load(damaged)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_back_the_drawn_pixels(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{kind.lower()}"
    path.write_bytes(encoded(drawn(), kind))
    assert np.array_equal(images.load_picture(path), drawn())
    assert np.array_equal(images.load_picture(str(path)), drawn())
    assert np.array_equal(images.load_picture(path.read_bytes()), drawn())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_stay_close(kind: str) -> None:
    loaded = images.load_picture(encoded(drawn(), kind, quality=95))
    assert loaded.dtype == np.uint8
    assert np.abs(loaded.astype(int) - drawn()).max() <= 8


def test_an_array_is_taken_as_it_is_and_a_pillow_image_is_converted() -> None:
    assert images.load_picture(drawn()) is not None
    assert np.array_equal(images.load_picture(drawn()), drawn())
    assert np.array_equal(images.load_picture(Image.fromarray(drawn(channels=4))), drawn())


@pytest.mark.parametrize(
    "array",
    [
        drawn().astype(np.float32),
        drawn(channels=4),
        drawn()[..., 0],
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["float", "four channels", "grey", "empty"],
)
def test_other_arrays_are_refused_with_their_shape(array: NDArray[Any]) -> None:
    with pytest.raises(PictureError, match=r"\(H, W, 3\)"):
        images.load_picture(array)


def test_one_pixel_is_a_picture() -> None:
    assert images.load_picture(encoded(drawn(1, 1), "PNG")).shape == (1, 1, 3)


def test_grey_becomes_three_equal_channels() -> None:
    grey = drawn()[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    with_alpha = np.stack([grey, grey // 2], axis=2)
    assert np.array_equal(images.load_picture(encoded(grey, "PNG")), expected)
    assert np.array_equal(images.load_picture(encoded(with_alpha, "PNG")), expected)
    assert np.array_equal(
        images.load_picture(encoded(grey > 99, "PNG")), np.where(expected > 99, 255, 0)
    )


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_byte(kind: str) -> None:
    wide = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    loaded = images.load_picture(encoded(wide, kind))
    assert np.array_equal(loaded[..., 1], (wide >> 8).astype(np.uint8))


def test_sixteen_bit_big_endian_tiff_reads_like_little_endian(tmp_path: Path) -> None:
    wide = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    path = tmp_path / "big.tif"
    Image.frombytes("I;16B", (8, 8), wide.astype(">u2").tobytes()).save(path)
    assert np.array_equal(images.load_grey16(path), wide)
    assert np.array_equal(images.load_picture(path)[..., 0], wide >> 8)


def test_sixteen_bit_colour_keeps_its_high_byte(tmp_path: Path) -> None:
    import cv2

    wide = np.random.default_rng(0).integers(0, 65536, (16, 16, 3)).astype(np.uint16)
    data = cv2.imencode(".png", wide[..., ::-1])[1].tobytes()
    assert np.array_equal(images.load_picture(data), (wide >> 8).astype(np.uint8))


def test_thirty_two_bit_pictures_are_refused() -> None:
    """A float TIFF has no agreed white, so it is refused rather than guessed at."""
    with pytest.raises(PictureError, match="floating-point samples is known to be white"):
        images.load_picture(encoded(drawn()[..., 0].astype(np.float32), "TIFF"))


def test_cmyk_jpeg_becomes_rgb() -> None:
    cmyk = np.asarray(Image.fromarray(drawn()).convert("CMYK"))
    data = io.BytesIO()
    Image.fromarray(cmyk, "CMYK").save(data, "JPEG", quality=98)
    loaded = images.load_picture(data.getvalue())
    assert loaded.shape == (48, 64, 3)
    assert np.abs(loaded.astype(int) - drawn()).max() <= 8


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_pictures_show_their_colours(kind: str) -> None:
    image = Image.fromarray(np.indices((4, 4)).sum(0).astype(np.uint8) % 3, "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    data = io.BytesIO()
    image.save(data, kind)
    loaded = images.load_picture(data.getvalue())
    assert loaded[0, 0].tolist() == [255, 0, 0]
    assert loaded[0, 1].tolist() == [0, 255, 0]
    assert loaded[1, 1].tolist() == [0, 0, 255]


def test_palette_transparency_counts_as_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(np.indices((4, 4))[1].astype(np.uint8) % 2, "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    path = tmp_path / "palette.png"
    image.save(path, transparency=b"\x00\xff")
    cutout = images.load_cutout(path)
    assert cutout[0, 0].tolist() == [255, 0, 0, 0]
    assert cutout[0, 1].tolist() == [0, 255, 0, 255]
    assert images.load_picture(path)[0, 0].tolist() == [255, 0, 0]


def test_a_transparent_colour_counts_as_alpha(tmp_path: Path) -> None:
    array = drawn(4, 4)
    path = tmp_path / "key.png"
    Image.fromarray(array).save(path, transparency=tuple(int(v) for v in array[2, 1]))
    cutout = images.load_cutout(path)
    assert cutout[2, 1, 3] == 0
    assert cutout[0, 0].tolist() == [*array[0, 0].tolist(), 255]


def test_a_transparent_level_of_sixteen_bits_counts_as_alpha(tmp_path: Path) -> None:
    """Colours keep their high byte, as of any 16-bit picture."""
    levels = np.arange(0, 65_536, 4096, dtype=np.uint16).reshape(4, 4)
    Image.fromarray(levels).save(tmp_path / "key.png", transparency=int(levels[2, 1]))
    cutout = images.load_cutout(tmp_path / "key.png")
    assert np.argwhere(cutout[..., 3] == 0).tolist() == [[2, 1]]
    assert (cutout[..., 0] == levels >> 8).all()


def test_alpha_is_dropped_with_straight_colours_kept(tmp_path: Path) -> None:
    array = drawn(channels=4)
    array[..., 3] = np.indices((48, 64))[1] * 4
    path = tmp_path / "straight.png"
    Image.fromarray(array).save(path)
    assert np.array_equal(images.load_picture(path), array[..., :3])
    assert np.array_equal(images.load_cutout(path), array)


def test_a_cutout_may_be_grey_with_alpha(tmp_path: Path) -> None:
    array = drawn(channels=2)
    path = tmp_path / "la.png"
    Image.fromarray(array).save(path)
    cutout = images.load_cutout(path)
    assert np.array_equal(cutout[..., 3], array[..., 1])
    assert np.array_equal(cutout[..., 2], array[..., 0])


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_a_cutout_without_alpha_is_refused(name: str, tmp_path: Path) -> None:
    Image.fromarray(drawn()).save(tmp_path / name)
    with pytest.raises(images.NoAlphaError, match="alpha channel"):
        images.load_cutout(tmp_path / name)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [
        Image.fromarray(np.full((16, 24, 3), colour, np.uint8))
        for colour in ([250, 10, 10], [10, 250, 10], [10, 10, 250])
    ]
    data = io.BytesIO()
    frames[0].save(data, kind, save_all=True, append_images=frames[1:], duration=40)
    loaded = images.load_picture(data.getvalue())
    assert loaded.shape == (16, 24, 3)
    assert np.abs(loaded.astype(int) - [250, 10, 10]).max() <= 6


# One corner of an upright picture, in each of the eight ways a camera may store it (CIPA DC-008).
STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    best: dict[str, dict[str, Any]] = {"JPEG": {"quality": 98}, "WEBP": {"lossless": True}}
    stored = np.ascontiguousarray(STORED[orientation](drawn()))
    data = encoded(stored, kind, exif=exif, **best.get(kind, {}))
    loaded = images.load_picture(data)
    assert loaded.shape == (48, 64, 3)
    assert loaded.flags.c_contiguous
    assert np.abs(loaded.astype(int) - drawn()).max() <= 6
    opened = Image.open(io.BytesIO(data))
    assert np.array_equal(images.load_picture(opened), loaded)


def test_a_cutout_is_turned_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    array = drawn(channels=4)
    path = tmp_path / "turned.png"
    path.write_bytes(encoded(np.ascontiguousarray(np.rot90(array)), "PNG", exif=exif))
    assert np.array_equal(images.load_cutout(path), array)


def test_damaged_exif_does_not_lose_the_picture() -> None:
    data = encoded(drawn(), "JPEG", exif=b"Exif\0\0" + b"MM\x00\x2a\xff\xff\xff\xff" * 3)
    assert images.load_picture(data).shape == (48, 64, 3)


def test_paths_need_not_be_ascii(tmp_path: Path) -> None:
    folder = tmp_path / "żubr 野生 🦬"
    folder.mkdir()
    images.save_png(folder / "größe ñ.png", drawn())
    assert np.array_equal(images.load_picture(folder / "größe ñ.png"), drawn())


# What cannot be read


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    folder = tmp_path / "folder.png"
    folder.mkdir()
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path, got in [
        (text, "its format is unknown"),
        (empty, "empty file"),
        (folder, "a folder"),
        (pipe, "no regular file"),
        (tmp_path / "missing.png", "does not exist"),
    ]:
        with pytest.raises(PictureError, match=got) as caught:
            images.load_picture(path)
        assert str(path) in str(caught.value)
    with pytest.raises(PictureError, match="no bytes"):
        images.load_picture(b"")


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "secret.png"
    images.save_png(path, drawn())
    path.chmod(0)
    if os.access(path, os.R_OK):

        def deny(*_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", deny)
    with pytest.raises(PictureError, match="Permission denied") as caught:
        images.load_picture(path)
    assert "secret.png" in str(caught.value)


def test_formats_that_run_programs_are_not_opened() -> None:
    with pytest.raises(PictureError):
        images.load_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")


TRUNCATABLE = {
    "JPEG": encoded(drawn(), "JPEG", quality=90),
    "progressive": encoded(drawn(), "JPEG", quality=90, progressive=True),
    "PNG": encoded(drawn(), "PNG"),
    "GIF": encoded(drawn()[..., 0], "GIF"),
    "WEBP": encoded(drawn(), "WEBP", lossless=True),
    "TIFF": encoded(drawn(), "TIFF"),
    "deflated": encoded(drawn(), "TIFF", compression="tiff_adobe_deflate"),
    "BMP": encoded(drawn(), "BMP"),
}


@pytest.mark.parametrize("kind", sorted(TRUNCATABLE))
@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused_or_lost_no_pixel(kind: str, share: float) -> None:
    complete = TRUNCATABLE[kind]
    expected = images.load_picture(complete)
    try:
        loaded = images.load_picture(complete[: int(share * len(complete))])
    except PictureError:
        return
    assert np.array_equal(loaded, expected)


@pytest.mark.parametrize("kind", sorted(TRUNCATABLE))
def test_half_a_file_is_refused(kind: str) -> None:
    complete = TRUNCATABLE[kind]
    with pytest.raises(PictureError):
        images.load_picture(complete[: len(complete) // 2])


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(TRUNCATABLE)),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_raises_nothing_but_picture_errors(
    kind: str, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(TRUNCATABLE[kind])
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        loaded = images.load_picture(bytes(data))
    except PictureError:
        return
    assert loaded.dtype == np.uint8
    assert loaded.shape[2] == 3


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_001, 10_000), (1, 100_000_001)])
def test_bombs_are_refused_from_the_header(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    with pytest.raises(TooLargeError, match="at most 100000000 pixels"):
        images.load_picture(path)
    with pytest.raises(TooLargeError, match="at most 100000000 pixels"):
        images.load_cutout(path)


def test_every_format_is_checked_for_size_before_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decodes(image: ImageFile.ImageFile) -> None:
        raise AssertionError(f"{image.format} was decoded")

    flat = Image.new("P", (10_500, 10_500))
    for kind in ("GIF", "TIFF"):
        data = io.BytesIO()
        flat.save(data, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
        with monkeypatch.context() as patched:
            patched.setattr(ImageFile.ImageFile, "load", decodes)
            with pytest.raises(TooLargeError, match="at most"):
                images.load_picture(data.getvalue())
    with pytest.raises(PictureError, match="at most"):
        images.load_picture(flat)


def test_nothing_is_printed_or_warned(tmp_path: Path) -> None:
    for name, data in TRUNCATABLE.items():
        if name == "deflated":
            continue  # libtiff itself prints the errors, not the warnings, that it meets.
        (tmp_path / f"{name}.half").write_bytes(data[: len(data) * 2 // 3])
        broken = bytearray(data)
        broken[len(data) // 2 : len(data) // 2 + 40] = b"\xff\xd5" * 20
        (tmp_path / f"{name}.broken").write_bytes(bytes(broken))
    (tmp_path / "large").write_bytes(png_header(9_900, 10_000))
    script = """
        import pathlib, sys
        from maskdepth import images
        from maskdepth.errors import PictureError
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            try:
                images.load_picture(path)
            except PictureError:
                pass
    """
    run = subprocess.run(
        [sys.executable, "-W", "always", "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout, run.stderr) == ("", "")


def test_loading_leaves_the_warning_filters_alone() -> None:
    before = list(warnings.filters)
    data = encoded(drawn(), "PNG")
    threads = [
        threading.Thread(target=lambda: [images.load_picture(data) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


# Sixteen-bit grey


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 20), width=st.integers(1, 20))
def test_sixteen_bit_values_survive_a_file(
    tmp_path_factory: pytest.TempPathFactory, seed: int, height: int, width: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "values.png"
    values = np.random.default_rng(seed).integers(0, 65536, (height, width)).astype(np.uint16)
    images.save_png(path, values)
    loaded = images.load_grey16(path)
    assert loaded.dtype == np.uint16
    assert np.array_equal(loaded, values)


def test_eight_bit_grey_is_no_sixteen_bit_file(tmp_path: Path) -> None:
    images.save_png(tmp_path / "grey.png", drawn()[..., 0])
    with pytest.raises(PictureError, match="16-bit grey"):
        images.load_grey16(tmp_path / "grey.png")


# Writing


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_files_hold_what_was_saved(channels: int, tmp_path: Path) -> None:
    array = drawn(channels=channels)
    array = array[..., 0] if channels == 1 else array
    images.save_png(tmp_path / "saved.png", array)
    with Image.open(tmp_path / "saved.png") as image:
        assert np.array_equal(np.asarray(image), array)


def test_a_view_that_is_not_contiguous_can_be_saved(tmp_path: Path) -> None:
    view = drawn()[::2, ::-1]
    images.save_png(tmp_path / "view.png", view)
    assert np.array_equal(images.load_picture(tmp_path / "view.png"), view)


@pytest.mark.parametrize(
    "array",
    [
        drawn().astype(np.float32),
        drawn().astype(np.uint16),
        drawn(channels=2),
        drawn()[None],
        np.zeros((0, 0), np.uint8),
    ],
    ids=["float", "16-bit colour", "two channels", "batch", "empty"],
)
def test_arrays_png_has_no_place_for_are_refused(array: NDArray[Any], tmp_path: Path) -> None:
    with pytest.raises(PictureError):
        images.save_png(tmp_path / "refused.png", array)
    assert list(tmp_path.iterdir()) == []


def test_jpeg_goes_to_bytes_to_files_and_back(tmp_path: Path) -> None:
    data = images.encode_jpeg(drawn(), 90)
    with pytest.raises(PictureError, match=r"can be written as \.jpg, but got 70000x1"):
        images.encode_jpeg(np.zeros((1, 70_000, 3), np.uint8), 90)
    images.save_jpeg(tmp_path / "saved.jpg", drawn())
    assert (tmp_path / "saved.jpg").read_bytes() == data
    assert np.array_equal(images.decode_jpeg(data), images.load_picture(data))
    assert np.abs(images.decode_jpeg(data).astype(int) - drawn()).max() <= 10
    assert len(images.encode_jpeg(drawn(), 30)) < len(data)


@pytest.mark.parametrize("data", [b"", b"no JPEG"])
def test_other_bytes_are_no_jpeg(data: bytes) -> None:
    with pytest.raises(PictureError, match="JPEG"):
        images.decode_jpeg(data)


@pytest.mark.parametrize("source", [None, [[1, 2]], 5, bytearray(b"x"), io.BytesIO(b"x")])
def test_what_is_no_picture_is_named(source: object) -> None:
    with pytest.raises(PictureError, match=f"got {type(source).__name__}"):
        images.load_picture(source)


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".png")
    images.save_png(path, drawn())
    assert np.array_equal(images.load_picture(path), drawn())


# Resizing


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(12, 18), (12, 18, 1), (12, 18, 3), (12, 18, 4)])
def test_resizing_keeps_dtype_and_channels(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.full(shape, 7, dtype)
    for height, width in [(6, 9), (24, 40), (6, 40), (24, 9), (12, 18)]:
        resized = images.resize(array, height, width)
        assert resized.dtype == dtype
        assert resized.shape == (height, width, *shape[2:])
        assert np.all(resized == 7)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    down=st.integers(1, 5),
    across=st.integers(1, 5),
)
def test_shrinking_takes_the_mean_of_the_covered_area(
    seed: int, height: int, width: int, down: int, across: int
) -> None:
    array = np.random.default_rng(seed).random((height * down, width * across), np.float32)
    blocks = array.reshape(height, down, width, across).mean(axis=(1, 3))
    assert np.allclose(images.resize(array, height, width), blocks, atol=1e-5)


def test_a_side_that_shrinks_is_averaged_although_the_other_grows() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (8, 32))
    resized = images.resize(stripes, 16, 8)
    assert np.all(np.abs(resized.astype(int) - 127.5) <= 1)


def test_shrinking_a_cutout_brings_in_no_hidden_colour() -> None:
    cutout = np.zeros((40, 40, 4), np.uint8)
    cutout[...] = (0, 255, 0, 0)
    cutout[10:31, 10:31] = (200, 0, 0, 255)
    for size in (7, 11, 53):
        small = images.resize_cutout(cutout, size, size)
        visible = small[..., 3] > 0
        assert visible.any()
        assert small.shape == (size, size, 4)
        assert np.abs(small[visible][:, :3].astype(int) - [200, 0, 0]).max() <= 1


def test_a_grid_leaves_no_cell_out() -> None:
    cells = [np.full((2, 3, 3), number, np.uint8) for number in range(5)]
    found = images.grid(cells, 2)
    assert found.shape == (6, 6, 3)
    for number, cell in enumerate(cells):
        row, column = divmod(number, 2)
        place = np.s_[2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
        np.testing.assert_array_equal(found[place], cell)
    assert (found[4:, 3:] == 255).all()
