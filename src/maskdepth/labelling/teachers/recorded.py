"""Depth files beside pictures: a sensor's, or the exact depth of drawn scenes."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import decode_depth_mm, decode_depth_npy, decode_disparity
from maskdepth.errors import PictureError, first_line
from maskdepth.files import read_bytes, read_text
from maskdepth.images import load_grey16
from maskdepth.labelling.teachers.teacher import Kind, Teacher, TeacherInfo, Units
from maskdepth.picture_formats import DISPARITY_SUFFIX, MILLIMETRES_SUFFIX
from maskdepth.synthesis.label_facts import LABEL_FILE

METRES_SUFFIX: Final = "_depth.npy"
EXACT: Final = "exact"


class RecordedDepth(ABC):
    """Depth files, found by their pictures' names.

    Attributes:
        name: of the labels: "sensor", "exact".
        files: the files that may lie beside a picture, in words.
        kind, units: of their maps.
    """

    name: str
    files: str
    kind: Kind
    units: Units

    @abstractmethod
    def find(self, picture: Path) -> Path | None:
        """The file beside a picture; None where there is none."""

    def load(self, file: Path, height: int, width: int) -> tuple[NDArray[np.float32], TeacherInfo]:
        """A file's map, float32 (H, W), of the picture's size, and its kind and units.

        Raises:
            PictureError: unreadable, or of another size than its picture.
        """
        try:
            data = read_bytes(file)
        except OSError as error:
            got, problem = first_line(error), f"{file} cannot be read: {first_line(error)}."
            expected = f"a readable file at {file}"
            raise PictureError(expected, got, "check the file", problem) from None
        values = self._decode(file, data)
        if values.shape != (height, width):
            got = f"{values.shape[1]}x{values.shape[0]}"
            raise PictureError(
                f"depth of the picture's size {width}x{height} at {file}",
                got,
                "align the depth with its picture first",
                f"{file} is {got}, but its picture is {width}x{height}.",
            )
        version = hashlib.sha256(data).hexdigest()[:16]
        licence = "the picture's own"
        return values, TeacherInfo(self.name, version, self.kind, self.units, None, None, licence)

    @abstractmethod
    def _decode(self, file: Path, data: bytes) -> NDArray[np.float32]:
        """The map of a file's content."""


DepthSource = Teacher | RecordedDepth
"""What labels pictures: a network, or depth files beside them."""


def source_name(source: DepthSource) -> str:
    """The name of a teacher, or "sensor" or "exact"."""
    return source.name if isinstance(source, RecordedDepth) else source.info.name


class SensorDepth(RecordedDepth):
    """``<stem>_depth_mm.png`` (16-bit millimetres, 0 invalid) or ``<stem>_depth.npy`` (metres).

    In metres NaN, 0 and negative values are invalid, and infinity is sky. Where both files are
    there the PNG is taken.
    """

    name, kind, units = "sensor", "depth", "metres"
    files = f"<stem>{MILLIMETRES_SUFFIX} or <stem>{METRES_SUFFIX}"

    def find(self, picture: Path) -> Path | None:
        suffixes = (MILLIMETRES_SUFFIX, METRES_SUFFIX)
        beside = (picture.with_name(picture.stem + end) for end in suffixes)
        return next((path for path in beside if path.is_file()), None)

    def _decode(self, file: Path, data: bytes) -> NDArray[np.float32]:
        if file.suffix == ".npy":
            return decode_depth_npy(data, str(file))
        return decode_depth_mm(load_grey16(data))


class ExactDepth(RecordedDepth):
    """``<stem>_disparity.png`` of a folder whose ``label.json`` says ``"kind": "exact"``.

    Its maps are inverse depth in multiples of its largest.
    """

    name, kind, units = EXACT, "inverse depth", "relative"
    files = f"<stem>{DISPARITY_SUFFIX} with a {LABEL_FILE} of the kind {EXACT!r}"

    def find(self, picture: Path) -> Path | None:
        path = picture.with_name(picture.stem + DISPARITY_SUFFIX)
        try:
            facts = json.loads(read_text(picture.parent / LABEL_FILE))
            exact = facts["kind"] == EXACT
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return None
        return path if exact and path.is_file() else None

    def _decode(self, file: Path, data: bytes) -> NDArray[np.float32]:
        return decode_disparity(load_grey16(data))
