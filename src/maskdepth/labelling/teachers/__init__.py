"""Teachers: depth networks and depth files that backgrounds are labelled with."""

from __future__ import annotations

from maskdepth.labelling.teachers.open_teacher import describe, open_teacher, teacher_opener
from maskdepth.labelling.teachers.recorded import DepthSource, RecordedDepth
from maskdepth.labelling.teachers.teacher import (
    Teacher,
    TeacherInfo,
    TeacherOpener,
    checked_maps,
    disparity_map,
)

__all__ = [
    "DepthSource",
    "RecordedDepth",
    "Teacher",
    "TeacherInfo",
    "TeacherOpener",
    "checked_maps",
    "describe",
    "disparity_map",
    "open_teacher",
    "teacher_opener",
]
