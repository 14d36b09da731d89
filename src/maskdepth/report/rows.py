"""The rows of every table, by name, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterator

from maskdepth.evaluation.columns import Column
from maskdepth.evaluation.composite_depth import DepthTable, Regions
from maskdepth.evaluation.frames import FrameResult, PixelScores
from maskdepth.evaluation.masks import MaskTable
from maskdepth.evaluation.measured_depth import DepthGroup, DepthScores
from maskdepth.evaluation.robustness import NoPlateColumns, PointColumns


def mask_rows(table: MaskTable) -> Iterator[tuple[str, Column]]:
    """The four cells, then the baselines and other models."""
    yield "unseen cutouts, unseen backgrounds", table.cells.unseen_unseen
    yield "unseen cutouts, seen backgrounds", table.cells.unseen_seen
    yield "seen cutouts, unseen backgrounds", table.cells.seen_unseen
    yield "seen cutouts, seen backgrounds", table.cells.seen_seen
    yield "without plate", table.no_plate
    yield "baseline: |picture − plate|", table.difference
    yield "baseline: |picture − plate| after registration", table.difference_registered
    yield "baseline: a disc in the middle", table.centred_disc
    yield "baseline: the empty mask", table.empty
    for name, column in table.others.items():
        yield f"other: {name}", column


def depth_rows(depth: DepthTable) -> Iterator[tuple[str, str, Regions]]:
    """Name, inputs of another model, and figures; the model, then baselines and other models."""
    yield "picture alone", "", depth.columns.picture
    yield "with plate", "", depth.columns.plate
    yield "with plate and plate disparity", "", depth.columns.plate_and_disparity
    yield "baseline: vertical gradient", "", depth.baselines.vertical_gradient
    yield "baseline: the plate's disparity, no object", "", depth.baselines.plate_disparity
    if depth.baselines.teacher is not None:
        yield "the teacher, picture alone", "", depth.baselines.teacher
    for name, other in depth.others.items():
        yield f"other: {name}", "picture alone", other.picture
        yield f"other: {name}", "with plate", other.plate


def point_rows(point: PointColumns) -> Iterator[tuple[str, Column]]:
    """A point of the robustness curves."""
    yield "this model", point.model
    yield "|picture − plate|, tuned at every point", point.difference_tuned_here
    yield "|picture − plate|, tuned once on clean pictures", point.difference
    registered = "|picture − plate| after registration"
    yield f"{registered}, tuned at every point", point.difference_registered_tuned_here
    yield f"{registered}, tuned once", point.difference_registered
    for name, column in point.others.items():
        yield f"other: {name}", column


def no_plate_rows(columns: NoPlateColumns) -> Iterator[tuple[str, Column]]:
    """Clean pictures without their plates."""
    yield "this model, of the picture alone", columns.model
    yield "a disc in the middle, its radius tuned on val", columns.centred_disc
    yield "the empty mask", columns.empty


def frame_rows(result: FrameResult) -> Iterator[tuple[str, PixelScores]]:
    """Masks of real frames."""
    yield "this model", result.model
    yield "this model, without the plate", result.no_plate
    yield "baseline: |frame − plate|", result.difference
    yield "baseline: |frame − plate| after registration", result.difference_registered
    yield "baseline: MOG2, which learns the background from all frames before", result.mog2
    for name, scores in result.others.items():
        yield f"other: {name}", scores


def measured_depth_rows(group: DepthGroup) -> Iterator[tuple[str, DepthScores]]:
    """Depth of pictures alone."""
    yield "this model", group.model
    yield "baseline: vertical gradient", group.vertical_gradient
    if group.teacher is not None:
        yield "the teacher", group.teacher
    for name, scores in group.others.items():
        yield f"other: {name}", scores
