"""The tables of an evaluation, for the report in HTML and for pages in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from maskdepth.evaluation.columns import Column, Interval
from maskdepth.evaluation.composite_depth import DepthTable
from maskdepth.evaluation.frames import FrameResult
from maskdepth.evaluation.held_out import HeldOutTable
from maskdepth.evaluation.masks import MaskTable
from maskdepth.evaluation.measured_depth import DepthGroup
from maskdepth.evaluation.robustness import CurveResult, PointColumns
from maskdepth.report.figures import whisker
from maskdepth.report.words import link_head

# name in the evaluation: name in tables, arrow to the better side; the first leads its table
MASK_FIGURES: Final = {
    "dice": "Dice ↑",
    "iou": "IoU ↑",
    "boundary_f": "Bound. F ↑",
    "sad": "SAD ↓",
    "mse": "MSE ↓",
    "gradient": "Grad ↓",
    "connectivity": "Conn ↓",
}
DEPTH_FIGURES: Final = {
    "abs_rel": "AbsRel ↓",
    "rmse": "RMSE ↓",
    "log10": "log10 ↓",
    "silog": "SILog ↓",
    "delta1": "δ1 ↑",
    "delta2": "δ2 ↑",
    "delta3": "δ3 ↑",
    "ssim": "SSIM ↑",
    "ordinal_accuracy": "Order ↑",
    "boundary_f1": "Bound. F1 ↑",
}
NAMES: Final = {name: text[:-2] for name, text in (MASK_FIGURES | DEPTH_FIGURES).items()}
_WITH_INTERVAL: Final = ("dice", "boundary_f", "abs_rel", "delta1")


@dataclass(frozen=True)
class Measure:
    """A mean with its interval, if it has one; HTML shows that only on an axis, for its width."""

    mean: float
    span: Interval | None = None
    axis: tuple[float, float] | None = None

    def __str__(self) -> str:
        return number(self.mean) + (f" [{', '.join(map(number, self.span))}]" if self.span else "")

    def html(self) -> str:
        """The content of a cell."""
        if self.axis is None:
            return number(self.mean)
        span = f" <small>{'–'.join(map(number, self.span))}</small>" if self.span else ""
        return f"{number(self.mean)}{span}{whisker(self.mean, self.span, *self.axis)}"


@dataclass(frozen=True)
class Row:
    """A row by its name; a row of one text, the reason why there are no figures, is as wide as all.

    Attributes:
        remark: small below the name.
        style: class of the style sheet.
    """

    name: str
    cells: Sequence[str | Measure]
    remark: str = ""
    style: str = ""

    def html(self, width: int) -> str:
        """The row of a table with so many cells besides the name."""
        small = f"<small>{escape(self.remark)}</small>" if self.remark else ""
        wide = f' class="reason" colspan="{width}"' if len(self.cells) < width else ""
        cells = (each.html() if isinstance(each, Measure) else escape(each) for each in self.cells)
        return (
            f'<tr class="{self.style}"><th scope="row">{escape(self.name)}{small}</th>'
            f"{''.join(f'<td{wide}>{cell}</td>' for cell in cells)}</tr>"
        )


@dataclass(frozen=True)
class Table:
    """Rows under heads, the first of which is over the names; all texts are plain."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Row]

    def html(self) -> str:
        """A caption and a table."""
        head = "".join(f'<th scope="col">{link_head(text)}</th>' for text in self.heads)
        body = "".join(row.html(len(self.heads) - 1) for row in self.rows)
        return (
            f'<p class="caption">{escape(self.caption)}</p><div class="scroll"><table>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def markdown(self) -> str:
        """The caption, if any, and a table."""
        names = (", ".join(filter(None, (row.name, row.remark))) for row in self.rows)
        rows = ([name, *map(str, row.cells)] for name, row in zip(names, self.rows, strict=True))
        lines = [
            [cell.replace("|", "\\|") for cell in line] + [""] * (len(self.heads) - len(line))
            for line in (self.heads, ["---"] * len(self.heads), *rows)
        ]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return (f"{self.caption}\n\n" if self.caption else "") + table + "\n"


def mask_table(name: str, table: MaskTable) -> Table:
    """One slice: the four cells, then the baselines and other models."""
    cells, registered = table.cells, table.difference_registered
    rows = [
        ("unseen cutouts, unseen backgrounds", "", cells.unseen_unseen),
        ("unseen cutouts, seen backgrounds", "", cells.unseen_seen),
        ("seen cutouts, unseen backgrounds", "", cells.seen_unseen),
        ("seen cutouts, seen backgrounds", "", cells.seen_seen),
        ("without plate", "", table.no_plate),
        ("baseline: |picture − plate|", _tuned_to(table.difference), table.difference),
        ("baseline: |picture − plate| after registration", _tuned_to(registered), registered),
        ("baseline: a disc in the middle", "uses no pixel", table.centred_disc),
        ("baseline: the empty mask", "uses no pixel", table.empty),
        *((f"other: {other}", "", column) for other, column in table.others.items()),
    ]
    caption = (
        f"Slice “{name}”. Intervals of 95 % over assets; without plate, baselines and other models "
        "are of unseen cutouts on unseen backgrounds."
    )
    return _figure_table(caption, MASK_FIGURES, rows, (0.0, 1.0), {0: "main", 4: "break"})


def depth_tables(depth: DepthTable) -> Iterator[Table]:
    """The whole picture and inside the mask; the model's columns come before the baselines."""
    names = {
        "picture alone": depth.columns["picture"],
        "with plate": depth.columns["plate"],
        "with plate and plate disparity": depth.columns["plate_and_disparity"],
        "baseline: vertical gradient": depth.baselines["vertical_gradient"],
        "baseline: the plate's disparity, no object": depth.baselines["plate_disparity"],
    }
    if "teacher" in depth.baselines:
        names["the teacher, picture alone"] = depth.baselines["teacher"]
    methods = [(name, "", regions) for name, regions in names.items()]
    for name, other in depth.others.items():
        methods.append((f"other: {name}", "picture alone", other["picture"]))
        methods.append((f"other: {name}", "with plate", other["plate"]))
    for title, part in (("Whole picture", "whole"), ("Inside the mask", "inside_mask")):
        rows = [(name, remark, getattr(regions, part)) for name, remark, regions in methods]
        errors = [column.mean["abs_rel"] for *_, column in rows if column.mean]
        axis = (0.0, max([0.2, *errors]) * 1.1)
        caption = f"{title}. Intervals of 95 % over assets; more in the JSON."
        yield _figure_table(caption, DEPTH_FIGURES, rows, axis, {1: "main", 3: "break"})


GREY_DICE: Final = {
    "score": "score",
    "perfect": "a perfect prediction",
    "all_white": "an all-white picture",
    "maximum": "the best binary picture",
}


def grey_dice_rows(table: HeldOutTable) -> Iterator[tuple[str, Column]]:
    """The prior work's two figures, and baselines."""
    yield "mask, the network alone", table.mask
    yield "mask, refined by the plate", table.mask_refined
    yield "mask, tuned |picture − plate|", table.mask_difference
    yield "depth, the network alone", table.depth
    yield "depth, baseline: vertical gradient", table.depth_gradient


def grey_dice_table(rows: Iterable[tuple[str, Column]]) -> Table:
    """The prior work's figure beside the three that give it its scale."""

    def cells(column: Column) -> list[str | Measure]:
        if column.mean is None:
            return [str(column.reason)]
        return [measure(column, key) for key in GREY_DICE]

    return Table("", ["", *GREY_DICE.values()], [Row(name, cells(column)) for name, column in rows])


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


def curve_table(curve: CurveResult) -> Table:
    """A column for each point; Dice, then boundary F where there is any."""
    points = [dict(point_rows(point.columns)) for point in curve.points]
    figures = {"Dice": "dice", "Bound. F": "boundary_f"}
    rows = [
        Row(f"{name}: {text}", [measure(point[name], figure) for point in points])
        for name in points[0]
        for text, figure in figures.items()
        if figure == "dice" or any(point[name].figure(figure) is not None for point in points)
    ]
    heads = [curve.unit, *(f"{point.value:g}" for point in curve.points)]
    return Table(f"{curve.title}: {curve.how}.", heads, rows)


def wrong_plate_table(columns: PointColumns) -> Table:
    """Masks with a plate of another background."""
    caption = "The plate of another background, which is wrong everywhere."
    return _dice_table(caption, point_rows(columns))


def no_plate_table(columns: Mapping[str, Column]) -> Table:
    """Clean pictures without their plates."""
    rows = {
        "this model, of the picture alone": columns["model"],
        "a disc in the middle, its radius tuned on val": columns["centred_disc"],
        "the empty mask": columns["empty"],
    }
    caption = "No plate, clean pictures, beside guesses that use no pixel."
    return _dice_table(caption, iter(rows.items()))


def frame_table(name: str, result: FrameResult) -> Table:
    """Masks of real frames."""
    tuned = result.difference.tuned
    assert tuned is not None
    caption = (
        f"“{name}”: {result.frames} frames, all pixels together; the {tuned.on} before them tuned "
        f"the thresholds (|frame − plate| over {tuned.threshold}/255, median {tuned.median_px} px)."
        f"{''.join(f' {each}.' for each in result.left_out)}"
    )
    scores = {
        "this model": result.model,
        "this model, without the plate": result.no_plate,
        "baseline: |frame − plate|": result.difference,
        "baseline: |frame − plate| after registration": result.difference_registered,
        "baseline: MOG2, which learns the background from all frames before": result.mog2,
        **{f"other: {other}": each for other, each in result.others.items()},
    }
    rows = [
        Row(text, [number(each.f1), number(each.precision), number(each.recall)])
        for text, each in scores.items()
    ]
    return Table(caption, ["", "F1 ↑", "Precision ↑", "Recall ↑"], rows)


def measured_depth_table(name: str, group: str, result: DepthGroup) -> Table:
    """Depth of pictures alone."""
    scores = {
        "this model": result.model,
        "baseline: vertical gradient": result.vertical_gradient,
        **({"the teacher": result.teacher} if result.teacher else {}),
        **{f"other: {other}": each for other, each in result.others.items()},
    }
    figures = ["abs_rel", "delta1", "ordinal_accuracy"]
    heads = ["AbsRel ↓", "δ1 ↑", "Order ↑"]
    if result.model.scale_abs_rel is not None:
        figures += ["scale_abs_rel", "scale_delta1"]
        heads += ["AbsRel, scale alone fitted ↓", "δ1, scale alone fitted ↑"]
    rows = [
        Row(text, [number(getattr(each, figure)) for figure in figures])
        for text, each in scores.items()
    ]
    caption = f"“{name}”, {group}: {result.pictures} pictures, no plate."
    return Table(caption, ["", *heads], rows)


def measure(column: Column, name: str, axis: tuple[float, float] | None = None) -> str | Measure:
    """A figure of a column, or the reason why it has none."""
    mean = column.figure(name)
    if mean is None:
        return column.reason or "–"
    return Measure(mean, column.span(name) if name in _WITH_INTERVAL else None, axis)


def number(value: float | None) -> str:
    """Three digits, more where it is small; a dash for none."""
    if value is None:
        return "–"
    digits = 3 if abs(value) >= 0.0995 or not value else 4 if abs(value) >= 0.00995 else 5
    return f"{value:.{digits}f}"


def _tuned_to(column: Column) -> str:
    tuned = column.tuned
    return f"over {tuned.threshold}/255, median {tuned.median_px} px" if tuned else ""


def _figure_table(
    caption: str,
    figures: Mapping[str, str],
    rows: Sequence[tuple[str, str, Column]],
    axis: tuple[float, float],
    styles: Mapping[int, str],
) -> Table:
    """Rows of name, remark and column, with those of the figures that any column has."""
    lead, *more = figures
    names = [lead, *(n for n in more if any(c.figure(n) is not None for *_, c in rows))]

    def cells(column: Column) -> list[str | Measure]:
        if column.mean is None:
            return [column.reason or ""]
        measures = [measure(column, name, axis if name == lead else None) for name in names]
        return [str(column.pictures), *measures]

    return Table(
        caption,
        ["", "pictures", *(figures[name] for name in names)],
        [
            Row(name, cells(column), remark, styles.get(position, ""))
            for position, (name, remark, column) in enumerate(rows)
        ],
    )


def _dice_table(caption: str, rows: Iterator[tuple[str, Column]]) -> Table:
    figures = ("dice", "boundary_f")
    heads = ["", *(MASK_FIGURES[figure] for figure in figures)]
    measures = [Row(name, [measure(each, figure) for figure in figures]) for name, each in rows]
    return Table(caption, heads, measures)
