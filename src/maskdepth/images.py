"""Decode, encode and resize pictures, within a size limit.

Pillow decodes them. OpenCV gives the same pixels for ordinary files, but is no faster with photos,
accepts truncated JPEGs silently and writes warnings to stderr. OpenCV encodes them, several times
faster than Pillow.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import IO, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from maskdepth.errors import PictureError, first_line
from maskdepth.files import open_file, write_bytes

MAX_PIXELS = 100_000_000
"""A larger picture is an error, raised from its header before anything is decoded."""

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
"""Suffixes, in lower case, of the files in a folder that count as pictures."""

# Pillow would otherwise also try formats that start a program (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF")
_EXIF_ORIENTATION = 0x0112
_BAND_PIXELS = 2**18
_READ_REMEDY = "check the file, or save it again as PNG or JPEG"

# Pillow warns about large pictures and odd tags, and `catch_warnings` is not thread-safe.
_open_lock = threading.Lock()

_Array = TypeVar("_Array", bound=NDArray[Any])


class TooLargeError(PictureError):
    """A picture of more than ``MAX_PIXELS``, or a decompression bomb."""


class NoAlphaError(PictureError):
    """A photo where a cutout is needed."""


PictureSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of a file, a Pillow image, or uint8 (H, W, 3) RGB."""


def load_picture(source: PictureSource) -> NDArray[np.uint8]:
    """Load any picture as uint8 (H, W, 3) RGB, turned by its EXIF orientation.

    An animation gives its first frame; 16-bit samples keep their high byte. Alpha is dropped: a
    transparent pixel keeps its stored colour.

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
    with _open_picture(source) as image:
        return _turn_upright(_convert_to_rgb(image), image)


def load_cutout(source: str | os.PathLike[str] | bytes) -> NDArray[np.uint8]:
    """Load a cutout as uint8 (H, W, 4), straight RGB and alpha, turned by its EXIF orientation.

    A transparent palette entry or colour counts as alpha.

    Raises:
        NoAlphaError: the picture has no alpha channel.
        PictureError: as ``load_picture``.
    """
    with _open_picture(source) as image:
        if not image.has_transparency_data:
            raise NoAlphaError(
                f"a picture with an alpha channel at {_name(source)}",
                f"mode {image.mode}, which has none",
                "cut the foreground out and save it as RGBA PNG",
                f"{_name(source)} has no alpha channel (its mode is {image.mode}).",
            )
        if image.mode.startswith("I;16"):  # one of its levels is transparent
            alpha = np.where(np.asarray(image) == image.info["transparency"], 0, 255)
            return _turn_upright(np.dstack([_convert_to_rgb(image), alpha.astype(np.uint8)]), image)
        # "La" and "RGBa" are premultiplied; only this order gives straight colours.
        straight = image.convert("LA") if image.mode == "La" else image
        return _turn_upright(np.asarray(straight.convert("RGBA")), image)


def load_grey16(source: str | os.PathLike[str] | bytes) -> NDArray[np.uint16]:
    """Load a 16-bit grey picture (a disparity or depth file) as uint16 (H, W).

    The EXIF orientation of a PNG is ignored; Pillow applies that of a TIFF.

    Raises:
        PictureError: as ``load_picture``, or the file is not 16-bit grey.
    """
    with _open_picture(source) as image:
        if not image.mode.startswith("I;16"):
            raise PictureError(
                f"a 16-bit grey picture at {_name(source)}",
                f"mode {image.mode}",
                "save the values as 16-bit greyscale PNG",
            )
        return np.asarray(image).astype(np.uint16)


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


def resize_disparity(
    disparity: NDArray[np.float32], height: int, width: int
) -> NDArray[np.float32]:
    """Resize (H, W) by nearest pixel: a mean across an edge would be the depth of no object."""
    return np.asarray(
        cv2.resize(disparity, (width, height), interpolation=cv2.INTER_NEAREST_EXACT),
        np.float32,
    )


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


@contextlib.contextmanager
def _open_picture(source: str | os.PathLike[str] | bytes | Image.Image) -> Iterator[Image.Image]:
    """The decoded first frame of a source; all of Pillow's errors become a PictureError."""
    with _open_header(source) as image:
        try:
            image.load()
        except Exception as error:  # Pillow raises nearly any type on damaged data.
            raise _unreadable(_name(source), error) from error
        yield image


@contextlib.contextmanager
def _open_header(source: str | os.PathLike[str] | bytes | Image.Image) -> Iterator[Image.Image]:
    """A source's picture, checked for its size, of which only the header is read."""
    name = _name(source)
    if isinstance(source, Image.Image):
        _check_size(source, name)
        yield source
        return
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(_open_stream(source, name))
            with _open_lock, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = stack.enter_context(Image.open(stream, formats=_FORMATS))
        except PictureError:
            raise
        except Image.DecompressionBombError as error:
            raise _too_large(name, str(error)) from error
        except Exception as error:  # Pillow raises nearly any type on damaged data.
            raise _unreadable(name, error) from error
        _check_size(image, name)
        yield image


def _open_stream(source: str | os.PathLike[str] | bytes, name: str) -> IO[bytes]:
    if isinstance(source, bytes):
        if not source:
            raise PictureError("the bytes of a picture", "no bytes", _READ_REMEDY)
        return io.BytesIO(source)
    file = open_file(source)
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        got = "an empty file"
        raise PictureError(f"a picture file at {name}", got, _READ_REMEDY, f"{name} is {got}.")
    return file


def _name(source: str | os.PathLike[str] | bytes | Image.Image) -> str:
    if isinstance(source, bytes):
        return f"the {len(source)} bytes given"
    if isinstance(source, Image.Image):
        return "the Pillow image given"
    try:
        return os.fspath(source)
    except TypeError:
        raise PictureError(
            "a path, bytes, a Pillow image, or uint8 (H, W, 3) RGB",
            type(source).__name__,
            "pass one of them",
        ) from None


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name, f"{image.width}x{image.height}")
    if image.width * image.height == 0:
        raise PictureError(f"a picture at {name}", "one without pixels", _READ_REMEDY)


def _too_large(name: str, got: str) -> TooLargeError:
    return TooLargeError(
        f"at most {MAX_PIXELS} pixels in {name}", got, "shrink or crop the picture first"
    )


def _unreadable(name: str, error: Exception) -> PictureError:
    unknown = isinstance(error, UnidentifiedImageError)
    reason = "its format is unknown, or it is damaged" if unknown else first_line(error)
    problem = f"{name} cannot be read as a picture: {reason}."
    return PictureError(f"a readable picture at {name}", reason, _READ_REMEDY, problem)


def _convert_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        # 32-bit values have no agreed white.
        raise PictureError(
            "a picture of 8 or 16 bits a sample", f"mode {image.mode}", "save it as 8-bit PNG"
        )
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode in ("P", "PA", "RGBa"):
        # Through RGBA, which keeps the stored, straight colours.
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _turn_upright(array: NDArray[np.uint8], image: Image.Image) -> NDArray[np.uint8]:
    """Turn the pixels upright by EXIF orientation 1 to 8 (CIPA DC-008, tag 0x0112)."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - a damaged EXIF block does not make the pixels unusable.
        orientation = 1
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


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
