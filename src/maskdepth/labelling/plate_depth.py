"""The depth of one plate, from a teacher or from a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import DepthUnit, decode_disparity
from maskdepth.errors import PictureError, TeacherError
from maskdepth.images import exif_orientation, load_grey16
from maskdepth.labelling.checks import UNUSABLE, judge_pictures
from maskdepth.labelling.teachers import (
    DepthSource,
    RecordedDepth,
    Teacher,
    disparity_map,
)
from maskdepth.labelling.teachers.recorded import SensorDepth, turn_like
from maskdepth.labelling.teachers.teacher import TeacherInfo
from maskdepth.records import Json


@dataclass(frozen=True, eq=False)
class PlateDepth:
    """A plate's depth.

    Attributes:
        disparity: float32 (H, W) in [0, 1], near = 1, NaN where invalid.
        depth_m: float32 (H, W) metres where the depth was measured, else None. A teacher's metres
            are estimates, and do not count.
        source: the teacher or the file, as the profile's JSON records it.
        flags: of a teacher's map, see ``labelling.checks``.
    """

    disparity: NDArray[np.float32]
    depth_m: NDArray[np.float32] | None
    source: Json
    flags: tuple[str, ...] = ()


def teach_plate(picture: NDArray[np.uint8], teacher: Teacher) -> PlateDepth:
    """Predict a plate's depth with a teacher.

    Args:
        picture: uint8 (H, W, 3) RGB.

    Raises:
        TeacherError: the teacher breaks a promise, or its map is constant or not valid anywhere.
    """
    info = teacher.info
    [(disparity, flags)] = judge_pictures(teacher, [picture])
    useless = [flag for flag in flags if flag in UNUSABLE]
    if useless:
        raise TeacherError(
            f"a map of the plate from {info.name}", useless[0], "take another teacher, or a sensor",
            f"The map of the plate from {info.name} is useless: {useless[0]}.",
        )  # fmt: skip
    return PlateDepth(disparity, None, _source("teacher", info, flags=list(flags)), flags)


def read_plate_depth(
    path: Path,
    picture: NDArray[np.uint8],
    *,
    depth: Path | None = None,
    depth_unit: DepthUnit | None = None,
    disparity: Path | None = None,
    teacher: DepthSource | None = None,
) -> PlateDepth:
    """A plate's depth from the one source that is given.

    Args:
        path: the plate's file; recorded depth lies beside it.
        picture: uint8 (H, W, 3) RGB, the plate.
        depth: a file of measured depth: 16-bit PNG in millimetres, or ``.npy`` in metres.
        depth_unit: of the values of ``depth``; None: as said there.
        disparity: a 16-bit PNG: 0 invalid, 1 to 65535 for 0 to 1, near large.
        teacher: a network, or depth files beside the plate.

    Raises:
        PictureError: a file is not there, cannot be read, or has another size.
        TeacherError: see ``teach_plate``.
    """
    if depth is not None:
        return _read(depth, path, picture, SensorDepth(depth_unit))
    if disparity is not None:
        return _read_disparity(disparity, path, picture)
    assert teacher is not None
    if not isinstance(teacher, RecordedDepth):
        return teach_plate(picture, teacher)
    file = teacher.find(path)
    if file is None:
        raise PictureError(
            f"{teacher.files} beside {path}", "none", "put it there, or name it with --depth",
            f"There is no {teacher.files} beside {path}.",
        )  # fmt: skip
    return _read(file, path, picture, teacher)


def _read_disparity(file: Path, plate: Path, picture: NDArray[np.uint8]) -> PlateDepth:
    height, width = picture.shape[:2]
    values = decode_disparity(load_grey16(file))
    values = turn_like(values, (height, width), _orientation(plate), as_stored=False)
    if values.shape != (height, width):
        raise PictureError(
            f"disparity of the plate's size {width}x{height} at {file}",
            f"{values.shape[1]}x{values.shape[0]}",
            "align the disparity with the plate first",
        )
    return PlateDepth(values, None, {"from": "disparity file", "file": file.name})


def _read(
    file: Path, plate: Path, picture: NDArray[np.uint8], recorded: RecordedDepth
) -> PlateDepth:
    orientation = _orientation(plate)
    values, info = recorded.load(file, picture.shape[0], picture.shape[1], orientation)
    depth_m = values if (info.kind, info.units) == ("depth", "metres") else None
    turned = {"turned": orientation} if orientation != 1 and recorded.as_stored else {}
    source = _source(recorded.name, info, file=file.name, **turned)
    return PlateDepth(disparity_map(values, info), depth_m, source)


def _orientation(plate: Path) -> int:
    """How a plate's file is stored; the median of a folder's frames is upright."""
    return 1 if plate.is_dir() else exif_orientation(plate)


def _source(kind: str, info: TeacherInfo, **more: object) -> Json:
    return {"from": kind, **asdict(info), **more}
