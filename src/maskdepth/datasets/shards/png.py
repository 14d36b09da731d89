"""PNG members, several times faster than a picture library writes them.

At its fastest level zlib takes 0.7 ms for a disparity map of 224x224, more than for all other
members of a sample. libdeflate takes a third to a half of that, for fewer bytes.
"""

from __future__ import annotations

import struct
import zlib
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import DependencyError

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2  # colour types
_UNFILTERED, _UP = 0, 2  # filters: a row as it is, or as its difference from the one above

ENCODER: Final = "libdeflate"
"""Deflates on every machine, since another encoder would write other bytes."""


def require_encoder() -> None:
    """Fail before any work if no member could be written."""
    _libdeflate()


def pack_png(array: NDArray[Any], compression: int) -> bytes:
    """PNG bytes (ISO/IEC 15948) of uint8 (H, W), uint8 (H, W, 3) RGB, or uint16 (H, W).

    Args:
        compression: libdeflate's level, 1 to 9: higher ones take longer for fewer bytes.
    """
    height, width = array.shape[:2]
    rows = array.astype(array.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    plain = array.ndim == 2 and array.dtype == np.uint8
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    # Alpha is mostly flat: unfiltered it is a third smaller. Pictures and disparity are smooth.
    filtered[:, 0] = _UNFILTERED if plain else _UP
    filtered[:, 1:] = rows
    if not plain:
        filtered[1:, 1:] -= rows[:-1]
    colour = _GREY if array.ndim == 2 else _RGB
    header = struct.pack(">2I5B", width, height, 8 * array.dtype.itemsize, colour, 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            *_chunk(b"IHDR", header),
            *_chunk(b"IDAT", _libdeflate().zlib_compress(filtered.tobytes(), compression)),
            *_chunk(b"IEND", b""),
        )
    )


def _libdeflate() -> ModuleType:
    try:
        import deflate
    except ImportError as error:
        raise DependencyError(error.name or "deflate", "scale") from None
    return deflate


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)
