"""Teachers: depth networks and depth files that backgrounds are labelled with."""

from __future__ import annotations

from maskdepth.labelling.teachers.teacher import Teacher, TeacherInfo, checked_maps, disparity_map

__all__ = ["Teacher", "TeacherInfo", "checked_maps", "disparity_map"]
