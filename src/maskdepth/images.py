"""Load, save and resize pictures.

Pillow decodes them, see `maskdepth.picture_decoding`. OpenCV encodes them, several times faster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskdepth.errors import PictureError
from maskdepth.files import write_bytes
from maskdepth.picture_decoding import (
    READ_REMEDY,
    convert_to_rgb,
    open_header,
    open_picture,
    source_name,
    stored_orientation,
    turn,
)

_BAND_PIXELS = 2**18

_Array = TypeVar("_Array", bound=NDArray[Any])


class NoAlphaError(PictureError):
    """A photo where a cutout is needed."""


PictureSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of a file, a Pillow image, or uint8 (H, W, 3) RGB."""


def load_picture(source: PictureSource) -> NDArray[np.uint8]:
    """Load any picture as uint8 (H, W, 3) sRGB, turned by its EXIF orientation.

    An animation gives its first frame. Colours of another ICC profile are converted. 16-bit samples
    keep their high byte, or, where none is above 4095, the upper eight of 12 bits. Alpha is
    dropped: a transparent pixel keeps its stored colour.

    Args:
        source: a path, the bytes of a file, a Pillow image, or a uint8 (H, W, 3) RGB array
            (returned as it is).

    Raises:
        TooLargeError: more than ``MAX_PIXELS``, by its header.
        PictureError: unreadable, truncated or empty.
    """
    if isinstance(source, np.ndarray):
        _check_array(source)
        return source
    with open_picture(source) as image:
        return turn(convert_to_rgb(image, source), stored_orientation(image))


def load_cutout(source: str | os.PathLike[str] | bytes) -> NDArray[np.uint8]:
    """Load a cutout as uint8 (H, W, 4), straight sRGB and alpha, turned by its EXIF orientation.

    A transparent palette entry or colour counts as alpha. Colours are as in `load_picture`.

    Raises:
        NoAlphaError: the picture has no alpha channel.
        PictureError: as ``load_picture``.
    """
    with open_picture(source) as image:
        if not image.has_transparency_data:
            raise NoAlphaError(
                f"a picture with an alpha channel at {source_name(source)}",
                f"mode {image.mode}, which has none",
                "cut the foreground out and save it as RGBA PNG",
                f"{source_name(source)} has no alpha channel (its mode is {image.mode}).",
            )
        if image.mode.startswith("I;16"):  # one of its levels is transparent
            alpha = np.where(np.asarray(image) == image.info["transparency"], 0, 255)
        else:
            alpha = np.asarray(image.convert("RGBA" if image.mode != "La" else "LA"))[..., -1]
        rgb = convert_to_rgb(image, source)
        return turn(np.dstack([rgb, alpha.astype(np.uint8)]), stored_orientation(image))


def exif_orientation(source: str | os.PathLike[str] | bytes) -> int:
    """How a picture is stored, 1 to 8 (see `turn`); only its header is read.

    Raises:
        PictureError: unreadable.
    """
    with open_header(source) as image:
        return stored_orientation(image)


def load_grey16(
    source: str | os.PathLike[str] | bytes,
    remedy: str = "save the values as a 16-bit greyscale PNG",
) -> NDArray[np.uint16]:
    """Load a 16-bit grey picture (a disparity or depth file) as uint16 (H, W).

    The EXIF orientation of a PNG is ignored; Pillow applies that of a TIFF.

    Args:
        remedy: of the error where the file is another one.

    Raises:
        PictureError: as ``load_picture``, or the file is not 16-bit grey.
    """
    try:
        with open_picture(source) as image:
            if not image.mode.startswith("I;16"):
                name, got = source_name(source), f"mode {image.mode}"
                raise PictureError(f"a 16-bit grey picture at {name}", got, remedy)
            return np.asarray(image).astype(np.uint16)
    except PictureError as error:
        if error.remedy != READ_REMEDY:
            raise
        raise PictureError(error.expected, error.got, remedy, error.problem) from error


def save_png(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Save uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, or uint16 (H, W), as PNG, atomically.

    Raises:
        PictureError: an array of another kind.
        StorageError: the file could not be written.
    """
    write_bytes(path, encode_png(array))


def save_jpeg(path: str | os.PathLike[str], array: NDArray[np.uint8], quality: int = 90) -> None:
    """Save uint8 (H, W, 3) RGB or (H, W) grey as JPEG, atomically.

    Raises:
        PictureError: an array of another kind.
        StorageError: the file could not be written.
    """
    write_bytes(path, encode_jpeg(array, quality))


def encode_png(array: NDArray[Any], compression: int | None = None) -> bytes:
    """PNG bytes of uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, or of uint16 (H, W).

    Args:
        compression: zlib's level, 0 to 9, with each row coded as its difference from the one
            above; OpenCV's own choice if left out. On disparity and photos that halves the time
            or saves a quarter of the bytes against OpenCV's choice.

    Raises:
        PictureError: an array of another kind.
    """
    kinds = {("uint8", 2), ("uint16", 2), ("uint8", 3)}
    channels = array.shape[2] if array.ndim == 3 else 3
    if (array.dtype.name, array.ndim) not in kinds or channels not in (3, 4) or array.size == 0:
        raise PictureError(
            "uint8 (H, W), (H, W, 3) or (H, W, 4), or uint16 (H, W)",
            f"{array.dtype} {array.shape}",
            "convert the array",
        )
    if array.ndim == 3:
        code = cv2.COLOR_RGB2BGR if channels == 3 else cv2.COLOR_RGBA2BGRA
        array = cv2.cvtColor(array, code)
    options: list[int] = []
    if compression is not None:
        options = [cv2.IMWRITE_PNG_COMPRESSION, compression]
        # Each of strategy and filter resets the other: the filter has to come last.
        options += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
        options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    return _encode(".png", array, options)


def encode_jpeg(array: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes of uint8 (H, W, 3) RGB or (H, W) grey; ``quality`` 1 to 100.

    Raises:
        PictureError: an array of another kind.
    """
    if array.ndim == 2 and array.dtype == np.uint8 and array.size:
        stored = array
    else:
        _check_array(array)
        stored = _as_uint8(cv2.cvtColor(array, cv2.COLOR_RGB2BGR))
    return _encode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(suffix: str, array: NDArray[Any], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, array, options)
    if not done:
        raise PictureError(
            f"a picture that can be written as {suffix}",
            f"{array.shape[1]}x{array.shape[0]}",
            "make it smaller",
        )
    return data.tobytes()


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """The uint8 (H, W, 3) RGB picture of JPEG bytes made by ``encode_jpeg``.

    For bytes from elsewhere use ``load_picture``, which notices damage.

    Raises:
        PictureError: the bytes are no JPEG.
    """
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if decoded is None:
        raise PictureError("the bytes of a JPEG", f"{len(data)} other bytes", "encode it again")
    return _as_uint8(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def decode_png(data: bytes) -> NDArray[Any]:
    """The array of PNG bytes made by ``encode_png``, with its type, channels and values.

    For bytes from elsewhere use ``load_picture``, which notices damage.

    Raises:
        PictureError: the bytes are no PNG.
    """
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if decoded is None:
        raise PictureError("the bytes of a PNG", f"{len(data)} other bytes", "encode it again")
    if decoded.ndim == 2:
        return decoded
    code = cv2.COLOR_BGR2RGB if decoded.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return cv2.cvtColor(decoded, code)


def bands(height: int, width: int) -> Iterator[slice]:
    """Slices of a picture's rows, about a quarter of a million pixels each.

    A calculation in bands needs little memory beside its result, and stays in the processor's
    caches.
    """
    rows = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def resize(array: _Array, height: int, width: int) -> _Array:
    """Resize (H, W) or (H, W, C): area means where a side shrinks, bilinear where it grows.

    Straight RGBA has to be premultiplied first, see ``resize_cutout``.
    """
    if array.shape[:2] == (height, width):
        return array
    # OpenCV's area filter silently turns bilinear as soon as one of the sides grows.
    shrunk = (min(height, array.shape[0]), min(width, array.shape[1]))
    result: NDArray[Any] = array
    if shrunk != array.shape[:2]:
        result = cv2.resize(result, (shrunk[1], shrunk[0]), interpolation=cv2.INTER_AREA)
    if shrunk != (height, width):
        result = cv2.resize(result, (width, height), interpolation=cv2.INTER_LINEAR)
    # OpenCV drops a last axis of length one.
    return result.reshape(height, width, *array.shape[2:])  # type: ignore[return-value]


def shrink(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize a picture (H, W, 3), by halves first: some levels from `resize`, and much faster."""
    while all(
        side % 2 == 0 and side >= 2 * wanted
        for side, wanted in zip(picture.shape, (height, width), strict=False)
    ):
        picture = resize(picture, picture.shape[0] // 2, picture.shape[1] // 2)
    if picture.shape[0] > 2 * height or picture.shape[1] > 2 * width:
        return resize(picture, height, width)
    return _as_uint8(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))


def resize_disparity(
    disparity: NDArray[np.float32], height: int, width: int
) -> NDArray[np.float32]:
    """Resize (H, W) by nearest pixel: a mean across an edge would be the depth of no object."""
    return np.asarray(
        cv2.resize(disparity, (width, height), interpolation=cv2.INTER_NEAREST_EXACT),
        np.float32,
    )


def resize_mask(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Resize bool (H, W) by nearest pixel."""
    codes = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(codes.view(np.bool_))


def shrink_disparity(disparity: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Shrink (H, W) so that its longer side has ``side`` px at most; see ``resize_disparity``."""
    scale = min(1.0, side / max(disparity.shape))
    height, width = (max(1, round(length * scale)) for length in disparity.shape)
    return resize_disparity(disparity, height, width)


def premultiply(cutout: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Premultiply straight RGBA uint8 (H, W, 4): colour times alpha, float32 in [0, 255]."""
    alpha = cutout[..., 3:].astype(np.float32)
    return np.concatenate([cutout[..., :3] * (alpha / np.float32(255)), alpha], axis=2)


def resize_cutout(cutout: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize straight RGBA uint8 (H, W, 4) so that the colour of transparent pixels has no effect.

    Colours are premultiplied, resized and divided by the resized alpha; they are black where that
    is zero.
    """
    if cutout.shape[:2] == (height, width):
        return cutout
    # One plane at a time: a photo's planes together, as floats, would take half a gigabyte.
    shrunk = (min(height, cutout.shape[0]), min(width, cutout.shape[1]))
    planes = [
        resize(np.multiply(cutout[..., channel], cutout[..., 3], dtype=np.float32), *shrunk)
        for channel in range(3)
    ]
    colour = resize(np.dstack(planes), height, width)
    alpha = resize(cutout[..., 3:].astype(np.float32), height, width)
    straight = colour / np.maximum(alpha, 1e-6)
    return _as_uint8(np.rint(np.concatenate([np.minimum(straight, 255), alpha], axis=2)))


def to_grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) without its colour."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def grey_picture(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values in [0, 1] (H, W), such as alpha, as grey levels: uint8 RGB (H, W, 3)."""
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB), np.uint8)


def grid(cells: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Cells of one size (h, w, 3) in rows of ``columns``; the last row is filled with white."""
    missing = [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    full = [*cells, *missing]
    rows = [np.hstack(full[at : at + columns]) for at in range(0, len(full), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def _check_array(array: NDArray[Any]) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise PictureError("a picture without masked pixels", "a masked array", "fill it")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise PictureError(
            "a uint8 RGB array of shape (H, W, 3)",
            f"{array.dtype} of shape {array.shape}",
            "convert the array, or pass a path",
        )


def _as_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.astype(np.uint8, copy=False)
