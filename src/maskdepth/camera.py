"""The pinhole camera that took a picture: its focal length and the middle of its view.

A point (X, Y, Z) in metres, X to the right, Y down and Z along the optical axis, appears at column
``centre_px[0] + focal_px * X / Z`` and row ``centre_px[1] + focal_px * Y / Z``.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Final, Literal

from maskdepth.errors import UsageError
from maskdepth.picture_decoding import open_header

CameraSource = Literal["given", "exif", "assumed"]

MIN_FOCAL_PX: Final = 1.0
MAX_FOCAL_PX: Final = 1e6
ASSUMED_DEGREES: Final = 60.0
"""Angle of view across the longer side that is assumed where nothing says the focal length."""

_SOURCES: Final = ("given", "exif", "assumed")
_EXIF_IFD: Final = 0x8769
_FOCAL_LENGTH_35MM: Final = 0xA405
_DIAGONAL_35MM: Final = math.hypot(36.0, 24.0)


@dataclass(frozen=True)
class Camera:
    """A camera without distortion, for pictures of one size.

    Args:
        focal_px: focal length in pixels, 1 to 1 000 000.
        centre_px: column and row of the optical axis, px from the middle of the top left pixel.
        source: where the focal length comes from: ``"given"`` by the user, ``"exif"`` or
            ``"assumed"``.

    Raises:
        UsageError: a focal length or centre outside these ranges.
    """

    focal_px: float
    centre_px: tuple[float, float]
    source: CameraSource = "given"

    def __post_init__(self) -> None:
        focal_px, centre = self.focal_px, tuple(self.centre_px)
        if not (_is_number(focal_px) and MIN_FOCAL_PX <= focal_px <= MAX_FOCAL_PX):
            raise UsageError(
                f"a focal length of {MIN_FOCAL_PX:.0f} to {MAX_FOCAL_PX:.0f} px",
                f"{focal_px!r:.40}",
                "a picture W px wide whose angle of view is A has W / (2 tan(A / 2))",
                f"The focal length must be {MIN_FOCAL_PX:.0f} to {MAX_FOCAL_PX:.0f} px, "
                f"not {focal_px!r:.40}.",
            )
        if len(centre) != 2 or not all(map(_is_number, centre)):
            raise UsageError("a column and a row as centre_px", f"{self.centre_px!r:.40}", "")
        if self.source not in _SOURCES:
            raise UsageError(f"one of {', '.join(_SOURCES)}", f"{self.source!r:.40}", "")
        # Plain values also of what came as numbers of NumPy.
        object.__setattr__(self, "focal_px", float(focal_px))
        object.__setattr__(self, "centre_px", (float(centre[0]), float(centre[1])))

    @classmethod
    def centred(
        cls, focal_px: float, size: tuple[int, int], source: CameraSource = "given"
    ) -> Camera:
        """A camera whose optical axis passes through the middle of a picture (height, width)."""
        return cls(focal_px, ((size[1] - 1) / 2, (size[0] - 1) / 2), source)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Camera:
        """Read what `as_json` gave from JSON.

        Raises:
            TypeError, ValueError, KeyError: the values are something else.
        """
        column, row = values["centre_px"]
        try:
            return cls(values["focal_px"], (column, row), values["source"])
        except UsageError as error:
            raise ValueError(error.problem) from None

    def scaled(self, size: tuple[int, int], new_size: tuple[int, int]) -> Camera:
        """The camera of the same picture after it was resized; sizes are (height, width)."""
        down, across = new_size[0] / size[0], new_size[1] / size[1]
        column, row = self.centre_px
        centre = ((column + 0.5) * across - 0.5, (row + 0.5) * down - 0.5)
        return Camera(self.focal_px * (down + across) / 2, centre, self.source)

    def angle_of_view(self, side_px: int) -> float:
        """Degrees that a side of so many pixels spans, where the axis passes through its middle."""
        return math.degrees(2 * math.atan(side_px / (2 * self.focal_px)))

    def describe(self) -> str:
        """The focal length and its source, for people."""
        words = {
            "given": "given",
            "exif": "from EXIF",
            "assumed": f"assumed, {ASSUMED_DEGREES:g} degrees across the longer side",
        }
        return f"focal length {self.focal_px:.0f} px ({words[self.source]})"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"centre_px": list(self.centre_px)}


def assume_camera(size: tuple[int, int]) -> Camera:
    """A camera for a picture (height, width) of which no focal length is given."""
    focal_px = max(size) / (2 * math.tan(math.radians(ASSUMED_DEGREES / 2)))
    return Camera.centred(max(focal_px, MIN_FOCAL_PX), size, "assumed")


def read_camera(picture: str | os.PathLike[str] | bytes, size: tuple[int, int]) -> Camera | None:
    """The camera by a file's EXIF tag FocalLengthIn35mmFilm; None where there is no such tag.

    The tag compares diagonals: a focal length f has the angle of view of f on 36 x 24 mm film (CIPA
    DCG-001). A picture that was cropped after it was taken has a narrower one.

    Args:
        picture: a picture's path, or its encoded bytes.
        size: (height, width) that the picture has or will have.

    Raises:
        PictureError: the file cannot be read.
    """
    with open_header(picture) as image:
        try:
            focal_mm = float(image.getexif().get_ifd(_EXIF_IFD).get(_FOCAL_LENGTH_35MM, 0))
        except Exception:  # noqa: BLE001 - a damaged EXIF block does not make the pixels unusable.
            return None
    focal_px = focal_mm / _DIAGONAL_35MM * math.hypot(*size)
    if not MIN_FOCAL_PX <= focal_px <= MAX_FOCAL_PX:
        return None  # 0 stands for unknown
    return Camera.centred(focal_px, size, "exif")


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
