"""Depth files beside pictures: a sensor's, or the exact depth of drawn scenes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

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


@runtime_checkable
class RecordedDepth(Protocol):
    """Depth files, found by their pictures' names."""

    @property
    def name(self) -> str:
        """Name of the labels: "sensor", "exact"."""
        ...

    @property
    def files(self) -> str:
        """The files that may lie beside a picture, in words."""
        ...

    def find(self, picture: Path) -> Path | None:
        """The file beside a picture; None where there is none."""
        ...

    def load(self, file: Path, height: int, width: int) -> tuple[NDArray[np.float32], TeacherInfo]:
        """A file's map, float32 (H, W), of the picture's size, and its kind and units.

        Raises:
            PictureError: unreadable, or of another size than its picture.
        """
        ...


DepthSource = Teacher | RecordedDepth
"""What labels pictures: a network, or depth files beside them."""


def source_name(source: DepthSource) -> str:
    """The name of a teacher, or "sensor" or "exact"."""
    return source.name if isinstance(source, RecordedDepth) else source.info.name


class SensorDepth:
    """``<stem>_depth_mm.png`` (16-bit millimetres, 0 invalid) or ``<stem>_depth.npy`` (metres).

    In metres NaN, 0 and negative values are invalid, and infinity is sky. Where both files are
    there the PNG is taken.
    """

    name = "sensor"
    files = f"<stem>{MILLIMETRES_SUFFIX} or <stem>{METRES_SUFFIX}"

    def find(self, picture: Path) -> Path | None:
        """See ``RecordedDepth``."""
        beside = (picture.with_name(picture.stem + end) for end in _SENSOR_SUFFIXES)
        return next((path for path in beside if path.is_file()), None)

    def load(self, file: Path, height: int, width: int) -> tuple[NDArray[np.float32], TeacherInfo]:
        """See ``RecordedDepth``; depth in metres."""
        data = _read(file)
        if file.suffix == ".npy":
            depth_m = decode_depth_npy(data, str(file))
        else:
            depth_m = decode_depth_mm(load_grey16(data))
        _check_size(file, depth_m, height, width)
        return depth_m, _info(self.name, data, "depth", "metres")


class ExactDepth:
    """``<stem>_disparity.png`` of a folder whose ``label.json`` says ``"kind": "exact"``."""

    name = EXACT
    files = f"<stem>{DISPARITY_SUFFIX} with a {LABEL_FILE} of the kind {EXACT!r}"

    def find(self, picture: Path) -> Path | None:
        """See ``RecordedDepth``."""
        path = picture.with_name(picture.stem + DISPARITY_SUFFIX)
        try:
            facts = json.loads(read_text(picture.parent / LABEL_FILE))
            exact = facts["kind"] == EXACT
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return None
        return path if exact and path.is_file() else None

    def load(self, file: Path, height: int, width: int) -> tuple[NDArray[np.float32], TeacherInfo]:
        """See ``RecordedDepth``; inverse depth in multiples of its largest."""
        data = _read(file)
        inverse = decode_disparity(load_grey16(data))
        _check_size(file, inverse, height, width)
        return inverse, _info(self.name, data, "inverse depth", "relative")


_SENSOR_SUFFIXES: Final = (MILLIMETRES_SUFFIX, METRES_SUFFIX)


def _read(file: Path) -> bytes:
    try:
        return read_bytes(file)
    except OSError as error:
        raise PictureError(
            f"a readable file at {file}", first_line(error), "check the file",
            f"{file} cannot be read: {first_line(error)}.",
        ) from None  # fmt: skip


def _check_size(file: Path, values: NDArray[np.float32], height: int, width: int) -> None:
    if values.shape != (height, width):
        raise PictureError(
            f"depth of the picture's size {width}x{height} at {file}",
            f"{values.shape[1]}x{values.shape[0]}",
            "align the depth with its picture first",
            f"{file} is {values.shape[1]}x{values.shape[0]}, but its picture is {width}x{height}.",
        )


def _info(name: str, data: bytes, kind: Kind, units: Units) -> TeacherInfo:
    version = hashlib.sha256(data).hexdigest()[:16]
    return TeacherInfo(name, version, kind, units, None, None, "the picture's own")
