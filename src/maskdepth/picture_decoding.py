"""Decode pictures with Pillow: within a size limit, upright, in sRGB, with errors in sentences.

OpenCV gives the same pixels for ordinary files, but is no faster with photos, accepts truncated
JPEGs silently and writes warnings to stderr.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import PurePath
from typing import IO, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from maskdepth.colour_profiles import to_srgb
from maskdepth.errors import PictureError, first_line
from maskdepth.files import explain_unopened, open_file, read_bytes
from maskdepth.picture_formats import HEAD_BYTES, PILLOW_FORMATS, describe_other, is_address

MAX_PIXELS = 100_000_000
"""A larger picture is an error, raised from its header before anything is decoded."""

_EXIF_ORIENTATION = 0x0112
_TIFF_BITS = 258
_MAX_12_BITS = 4095
READ_REMEDY = "check the file, or save it again as PNG or JPEG"
"""What to do about a picture that cannot be read."""

# Pillow warns about large pictures and odd tags, and `catch_warnings` is not thread-safe.
_open_lock = threading.Lock()

_Array = TypeVar("_Array", bound=NDArray[Any])
_Source = str | os.PathLike[str] | bytes | Image.Image


class TooLargeError(PictureError):
    """A picture of more than ``MAX_PIXELS``, or a decompression bomb."""


@contextlib.contextmanager
def open_picture(source: _Source) -> Iterator[Image.Image]:
    """The decoded first frame of a source; all of Pillow's errors become a PictureError.

    So do those of the block, in which the frame is converted.
    """
    with open_header(source) as image:
        try:
            image.load()
            yield image
        except PictureError:
            raise
        except Exception as error:  # Pillow raises nearly any type on damaged data.
            raise _unreadable(source_name(source), error) from error


@contextlib.contextmanager
def open_header(source: _Source) -> Iterator[Image.Image]:
    """A source's picture, checked for its size, of which only the header is read."""
    name = source_name(source)
    if isinstance(source, Image.Image):
        _check_size(source, name)
        yield source
        return
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(_open_stream(source, name))
            with _open_lock, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = stack.enter_context(Image.open(stream, formats=PILLOW_FORMATS))
        except PictureError:
            raise
        except Image.DecompressionBombError as error:
            raise _too_large(name, str(error)) from error
        except Exception as error:  # Pillow raises nearly any type on damaged data.
            raise _unreadable(name, error, _read_head(source)) from error
        _check_size(image, name)
        yield image


def check_pixels(source: _Source, max_pixels: int) -> tuple[int, int]:
    """Check a picture's size by its header, before anything is decoded.

    Returns:
        Its width and height as they are stored.

    Raises:
        TooLargeError: more pixels than ``max_pixels``, or than ``MAX_PIXELS``.
        PictureError: unreadable.
    """
    with open_header(source) as image:
        if image.width * image.height > max_pixels:
            raise _too_large(source_name(source), f"{image.width}x{image.height}", max_pixels)
        return image.width, image.height


def _open_stream(source: str | os.PathLike[str] | bytes, name: str) -> IO[bytes]:
    if isinstance(source, bytes):
        if not source:
            raise PictureError("the bytes of a picture", "no bytes", READ_REMEDY)
        return io.BytesIO(source)
    if is_address(name):
        raise PictureError(
            "the path of a picture",
            f"the address {name}",
            "download the picture first and pass its path",
            f"{name} is an address, not a file.",
        )
    try:
        file = open_file(source)
    except OSError as error:
        problem, remedy = explain_unopened(name, error)
        raise PictureError(
            f"a picture file at {name}", first_line(error), remedy, problem
        ) from error
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        got = "an empty file"
        raise PictureError(f"a picture file at {name}", got, READ_REMEDY, f"{name} is {got}.")
    return file


def source_name(source: _Source) -> str:
    """What a source is called in messages."""
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
        raise PictureError(f"a picture at {name}", "one without pixels", READ_REMEDY)


def _too_large(name: str, got: str, max_pixels: int = MAX_PIXELS) -> TooLargeError:
    return TooLargeError(
        f"at most {max_pixels} pixels in {name}", got, "shrink or crop the picture first"
    )


def _unreadable(name: str, error: Exception, head: bytes = b"") -> PictureError:
    unknown = isinstance(error, UnidentifiedImageError)
    other = describe_other(head, PurePath(name).suffix) if unknown else None
    if other is not None:
        what, remedy = other
        return PictureError(f"a picture at {name}", what, remedy, f"{name} is {what}.")
    reason = "its format is unknown, or it is damaged" if unknown else first_line(error)
    problem = f"{name} cannot be read as a picture: {reason}."
    return PictureError(f"a readable picture at {name}", reason, READ_REMEDY, problem)


def _read_head(source: _Source) -> bytes:
    """The first bytes of a file; none of a Pillow image, and of what cannot be read."""
    if isinstance(source, bytes):
        return source[:HEAD_BYTES]
    if not isinstance(source, Image.Image):
        with contextlib.suppress(OSError, ValueError), open_file(source) as file:
            return file.read(HEAD_BYTES)
    return b""


def convert_to_rgb(image: Image.Image, source: _Source) -> NDArray[np.uint8]:
    """The colours of a decoded picture, uint8 (H, W, 3) sRGB, not turned yet.

    Raises:
        PictureError: it has samples of 32 bits.
    """
    profile = image.info.get("icc_profile")
    # Pillow gives the 16 bits of a PGM as 32.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        levels = np.asarray(image)
        grey = (levels >> _excess_bits(levels)).astype(np.uint8)
        image = Image.fromarray(grey)
    elif image.mode in ("I", "F"):
        # 32-bit values have no agreed white.
        name = source_name(source)
        raise PictureError(
            f"a picture of 8 or 16 bits a sample at {name}",
            f"mode {image.mode}",
            "save it as 8- or 16-bit PNG first",
            f"{name} cannot be read as a picture: no level of its "
            f"{'floating-point' if image.mode == 'F' else '32-bit'} samples is known to be white.",
        )
    elif image.mode == "La":
        image = image.convert("LA")
    elif image.mode in ("P", "PA", "RGBa"):
        # Through RGBA, which keeps the stored, straight colours.
        image = image.convert("RGBA")
    if image.mode in ("LA", "RGBA"):
        image = image.convert(image.mode.removesuffix("A"))
    if image.mode == "RGB" and _is_deep_colour(image, source):
        image = Image.fromarray(_read_12_bits(np.asarray(image), source))
    return np.asarray(to_srgb(image, profile).convert("RGB"))


def _excess_bits(levels: NDArray[Any]) -> int:
    """The number of low bits that are dropped of 16-bit samples, to leave eight.

    Cameras of 10 and 12 bits save their values as they are; by the high byte 16 levels would be
    left. No picture of 16 bits is that dark.
    """
    return 8 if levels.max() > _MAX_12_BITS else 4


def _is_deep_colour(image: Image.Image, source: _Source) -> bool:
    """Whether a file has 16 bits a sample, of which Pillow gives the high byte alone."""
    if image.format == "PNG":
        return _read_head(source)[24:25] == b"\x10"
    bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS, (8,))
    return image.format == "TIFF" and bits[0] == 16


def _read_12_bits(colours: NDArray[np.uint8], source: _Source) -> NDArray[np.uint8]:
    """Colours whose samples have 16 bits, read again where none is above 4095."""
    if isinstance(source, Image.Image) or int(colours.max()) > _MAX_12_BITS >> 8:
        return colours
    levels: NDArray[Any] | None = None
    with contextlib.suppress(OSError, cv2.error):  # what Pillow has read is good enough
        data = source if isinstance(source, bytes) else read_bytes(source)
        levels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None or levels.dtype != np.uint16 or levels.shape[:2] != colours.shape[:2]:
        return colours
    shifted: NDArray[np.uint16] = np.right_shift(levels[..., 2::-1], _excess_bits(levels))
    return shifted.astype(np.uint8)


def stored_orientation(image: Image.Image) -> int:
    """How a decoded picture is stored, 1 to 8; see `turn`."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - a damaged EXIF block does not make the pixels unusable.
        return 1


def turn(array: _Array, orientation: int) -> _Array:
    """Turn (H, W) or (H, W, C) upright by EXIF orientation 1 to 8 (CIPA DC-008, tag 0x0112)."""
    result: NDArray[Any] = array
    if orientation in (5, 6, 7, 8):
        result = result.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        result = result[::-1]
    if orientation in (2, 3, 6, 7):
        result = result[:, ::-1]
    return np.ascontiguousarray(result)  # type: ignore[return-value]
