"""PyAV, which reads and writes video, imported where it is first used."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from maskdepth.errors import DependencyError, first_line

EXACT_COLOURS: Final = 2 | 0x2000 | 0x40000
"""``interpolation`` of PyAV: FFmpeg's SWS_BILINEAR, SWS_FULL_CHR_H_INT and SWS_ACCURATE_RND.

Without the last two, pictures become darker by more than a level on the way to YCbCr and back.
"""


def load_av() -> ModuleType:
    """The package ``av``.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "av", "video") from None
    return av


def av_reason(error: BaseException) -> str:
    """Why FFmpeg failed, in lower case and without the path that PyAV adds."""
    reason = str(getattr(error, "strerror", None) or first_line(error)).rstrip(".")
    return reason[:1].lower() + reason[1:]
