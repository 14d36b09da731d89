"""Depth files beside pictures: a sensor's, or the exact depth of drawn scenes."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import DepthUnit, decode_depth_mm, decode_depth_npy, decode_disparity
from maskdepth.errors import PictureError, first_line
from maskdepth.files import explain_unopened, file_checksum, find_beside, read_bytes, read_text
from maskdepth.images import load_grey16
from maskdepth.labelling.teachers.teacher import Kind, Teacher, TeacherInfo, Units
from maskdepth.picture_decoding import turn
from maskdepth.picture_formats import (
    DISPARITY_SUFFIX,
    MILLIMETRES_ARRAY_SUFFIX,
    MILLIMETRES_SUFFIX,
)
from maskdepth.synthesis.label_facts import LABEL_FILE

METRES_SUFFIX: Final = "_depth.npy"
EXACT: Final = "exact"
_DEPTH_REMEDY: Final = (
    "depth is read from a 16-bit grey PNG or TIFF in millimetres, or from a .npy file in metres"
)


class RecordedDepth(ABC):
    """Depth files, found by their pictures' names.

    Attributes:
        name: of the labels: "sensor", "exact".
        files: the files that may lie beside a picture, in words.
        kind, units: of their maps.
        as_stored: whether a map of a turned picture is turned too where its size does not say so.
    """

    name: str
    files: str
    kind: Kind
    units: Units
    as_stored = False

    @abstractmethod
    def find(self, picture: Path) -> Path | None:
        """The file beside a picture; None where there is none."""

    def load(
        self, file: Path, height: int, width: int, orientation: int = 1
    ) -> tuple[NDArray[np.float32], TeacherInfo]:
        """A file's map, float32 (H, W), of the picture's size, and its kind and units.

        Args:
            height, width: of the picture, upright.
            orientation: how the picture's file is stored, see `maskdepth.images.exif_orientation`.

        Raises:
            PictureError: unreadable, or of another size than its picture.
        """
        try:
            version = file_checksum(file)[:16]
        except OSError as error:
            problem, remedy = explain_unopened(file, error)
            expected, got = f"a readable file at {file}", first_line(error)
            raise PictureError(expected, got, remedy, problem) from None
        values = self._decode(file)
        values = turn_like(values, (height, width), orientation, as_stored=self.as_stored)
        if values.shape != (height, width):
            got = f"{values.shape[1]}x{values.shape[0]}"
            raise PictureError(
                f"depth of the picture's size {width}x{height} at {file}",
                got,
                "align the depth with its picture first",
                f"{file} is {got}, but its picture is {width}x{height}.",
            )
        licence = "the picture's own"
        return values, TeacherInfo(self.name, version, self.kind, self.units, None, None, licence)

    @abstractmethod
    def _decode(self, file: Path) -> NDArray[np.float32]:
        """The map of a file."""


def turn_like(
    values: NDArray[np.float32], size: tuple[int, int], orientation: int, *, as_stored: bool
) -> NDArray[np.float32]:
    """A map, turned upright as its picture is by its EXIF orientation.

    Args:
        values: (h, w), stored like the picture's file, or upright already.
        size: of the upright picture.
        as_stored: which of the two it is, where its size does not say so.
    """
    turned = turn(values, orientation)
    if turned.shape != size or (values.shape == size and not as_stored):
        return values
    return turned


DepthSource = Teacher | RecordedDepth
"""What labels pictures: a network, or depth files beside them."""


def source_name(source: DepthSource) -> str:
    """The name of a teacher, or "sensor" or "exact"."""
    return source.name if isinstance(source, RecordedDepth) else source.info.name


class SensorDepth(RecordedDepth):
    """``<stem>_depth_mm.png`` (16-bit millimetres, 0 invalid) or ``<stem>_depth.npy`` (metres).

    Also ``<stem>_depth_mm.npy``. In an array NaN, 0 and negative values are invalid, and infinity
    is sky. Where several are there the first of these endings counts: ``_depth_mm.png``,
    ``_depth_mm.npy``, ``_depth.npy``. A sensor's map has no EXIF, and is turned as its picture is.

    Args:
        unit: of the files' values, where their names do not say it.
    """

    name, kind, units = "sensor", "depth", "metres"
    files = f"<stem>{MILLIMETRES_SUFFIX} or <stem>{METRES_SUFFIX}"
    as_stored = True

    def __init__(self, unit: DepthUnit | None = None) -> None:
        self._unit = unit

    def find(self, picture: Path) -> Path | None:
        suffixes = (MILLIMETRES_SUFFIX, MILLIMETRES_ARRAY_SUFFIX, METRES_SUFFIX)
        beside = (find_beside(picture, end) for end in suffixes)
        return next((path for path in beside if path.is_file()), None)

    def _decode(self, file: Path) -> NDArray[np.float32]:
        if file.suffix in (".npy", ".npz"):  # of which the second is answered with an error
            by_name: DepthUnit | None = "mm" if file.stem.endswith("_mm") else None
            return decode_depth_npy(read_bytes(file), str(file), self._unit or by_name)
        depth_m = decode_depth_mm(load_grey16(file, _DEPTH_REMEDY))
        return depth_m * np.float32(1000) if self._unit == "m" else depth_m


class ExactDepth(RecordedDepth):
    """``<stem>_disparity.png`` of a folder whose ``label.json`` says ``"kind": "exact"``.

    Its maps are inverse depth in multiples of its largest.
    """

    name, kind, units = EXACT, "inverse depth", "relative"
    files = f"<stem>{DISPARITY_SUFFIX} with a {LABEL_FILE} of the kind {EXACT!r}"

    def find(self, picture: Path) -> Path | None:
        path = find_beside(picture, DISPARITY_SUFFIX)
        try:
            facts = json.loads(read_text(picture.parent / LABEL_FILE))
            exact = facts["kind"] == EXACT
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return None
        return path if exact and path.is_file() else None

    def _decode(self, file: Path) -> NDArray[np.float32]:
        return decode_disparity(load_grey16(file))
