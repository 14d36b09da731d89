"""Sections beside the slices: robustness curves, real frames, measured depth, withheld worlds."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import chain, cycle
from typing import Final

from maskdepth.evaluation.columns import Column
from maskdepth.evaluation.composite_depth import DepthTable
from maskdepth.evaluation.results import Evaluation
from maskdepth.evaluation.robustness import CurveResult, NoRobustness, PointColumns, Robustness
from maskdepth.evaluation.withheld import Withheld
from maskdepth.report.charts import Series, legend, line_chart
from maskdepth.report.tables import (
    curve_table,
    depth_tables,
    frame_table,
    measured_depth_table,
    no_plate_table,
    point_rows,
    wrong_plate_table,
)

# of the lines of `point_rows`; other models take the last four in turn
_STYLES: Final = ("first", "second", "second dashed", "third", "third dashed")
_OTHER_STYLES: Final = ("fourth", "fourth dashed", "fifth", "fifth dashed")
_NO_PLATE: Final = ("flat dashed", "this model without a plate, on clean pictures")
_DICE_TICKS: Final = [(level, f"{level:g}") for level in (0.0, 0.25, 0.5, 0.75, 1.0)]


def extra_sections(evaluation: Evaluation) -> Iterator[str]:
    """The sections of what was evaluated beside the slices, as HTML."""
    if evaluation.robustness is not None:
        yield _robustness(evaluation.robustness)
    if evaluation.frames:
        tables = "".join(frame_table(*item).html() for item in evaluation.frames.items())
        yield (
            "<section><h2>Real frames</h2><p>A fixed camera, masks drawn by hand. F1 is of all "
            f"pixels of all frames together; shadows count as background.</p>{tables}</section>"
        )
    if evaluation.sensor_depth:
        tables = "".join(
            measured_depth_table(name, group, result).html()
            for name, groups in evaluation.sensor_depth.items()
            for group, result in groups.items()
        )
        yield (
            "<section><h2>Measured depth</h2><p>Pictures alone, no plate; after the best scale "
            f"and shift of inverse depth.</p>{tables}</section>"
        )
    if evaluation.withheld is not None:
        yield _withheld(evaluation.withheld)


def _robustness(result: Robustness | NoRobustness) -> str:
    title = "<section><h2>Robustness</h2>"
    if isinstance(result, NoRobustness):
        return f'{title}<p class="soft">Not judged: {escape(result.reason)}.</p></section>'
    no_plate = result.no_plate["columns"]
    charts = "".join(_chart(curve, no_plate["model"]) for curve in result.curves.values())
    entries = [(style, name) for style, (name, _) in _styled_rows(result.clean["columns"])]
    details = "".join(curve_table(curve).html() for curve in result.curves.values())
    wrong = wrong_plate_table(result.wrong_plate["columns"]).html()
    guesses = no_plate_table(no_plate).html()
    return (
        f"{title}<p>The first {result.count} composites of the clean slice (unseen cutouts on "
        "unseen backgrounds) again and again, with one thing changed at a time. Mask Dice; the "
        "band is the model’s 95 % interval over assets. A threshold that is tuned at every "
        "point knows how large the disturbance is, which no user does.</p>"
        f'{legend([*entries, _NO_PLATE])}<div class="curves">{charts}</div>'
        f"{wrong}{guesses}<details><summary>All figures of the curves</summary>{details}</details>"
        "</section>"
    )


def _chart(curve: CurveResult, no_plate: Column) -> str:
    lines: dict[str, Series] = {}
    for point in curve.points:
        for style, (name, column) in _styled_rows(point.columns):
            dice, span = column.figure("dice"), column.span("dice")
            if dice is None:
                continue
            line = lines.setdefault(name, Series(style, []))
            line.points.append((point.value, dice))
            if style == "first" and span is not None:
                line.band.append((point.value, *span))
    level = no_plate.figure("dice")
    if level is not None:
        ends = [(curve.points[end].value, level) for end in (0, -1)]
        lines[_NO_PLATE[1]] = Series(_NO_PLATE[0], ends)
    # The model's line comes first, and is drawn over the others.
    return line_chart(
        f"{curve.title}, {curve.unit}",
        list(lines.values())[::-1],
        [(point.value, f"{point.value:g}") for point in curve.points],
        _DICE_TICKS,
    )


def _styled_rows(point: PointColumns) -> Iterator[tuple[str, tuple[str, Column]]]:
    return zip(chain(_STYLES, cycle(_OTHER_STYLES)), point_rows(point), strict=False)


def _withheld(result: Withheld) -> str:
    titles = {
        "standing": "Objects that stand on the ground: their distance is visible",
        "anywhere": "Objects anywhere, as in the clean slice: their distance is drawn by lot",
    }
    parts = "".join(
        f"<h3>{title}</h3>{''.join(table.html() for table in depth_tables(depth))}"
        for name, title in titles.items()
        if isinstance(depth := result.placements[name], DepthTable)
    )
    return (
        f"<section><h2>A withheld world</h2><p>{result.scenes} drawn scenes of a family that was "
        "not trained on, with exact depth, and unseen cutouts in them.</p>"
        f"{parts}</section>"
    )
