"""What is judged beside the slices: robustness curves, real frames, real depth, withheld worlds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from maskdepth.report.charts import Series, legend, line_chart
from maskdepth.report.tables import depth_tables, number, plain_table
from maskdepth.report.text import left_out_lines

# name in the evaluation: (style of its line, name in the report); the first is drawn last
_COLUMNS: Final = {
    "model": ("first", "this model"),
    "difference_tuned_here": ("second", "|picture − plate|, tuned anew at every point"),
    "difference": ("second dashed", "|picture − plate|, tuned once on clean pictures"),
    "difference_registered_tuned_here": (
        "third", "|picture − plate| after registration, tuned anew at every point",
    ),
    "difference_registered": ("third dashed", "|picture − plate| after registration, tuned once"),
}  # fmt: skip
_OTHER_STYLES: Final = ("fourth", "fourth dashed", "fifth", "fifth dashed")
_NO_PLATE: Final = ("flat dashed", "this model without a plate, on clean pictures")
_GUESSES: Final = {
    "model": "this model, of the picture alone",
    "centred_disc": "a disc in the middle, its radius tuned on val",
    "empty": "the empty mask",
}
_FRAME_ROWS: Final = {
    "model": "this model",
    "no_plate": "this model, without the plate",
    "difference": "baseline: |frame − plate|",
    "difference_registered": "baseline: |frame − plate| after registration",
    "mog2": "baseline: MOG2, which learns the background from all frames before",
}
_SENSOR_ROWS: Final = {
    "model": "this model",
    "vertical_gradient": "baseline: vertical gradient",
    "teacher": "the teacher",
}
_DICE_TICKS: Final = [(level, f"{level:g}") for level in (0.0, 0.25, 0.5, 0.75, 1.0)]
_SENSOR_FIGURES: Final = ("abs_rel", "delta1", "ordinal_accuracy")
_PLACEMENTS: Final = {
    "standing": "Objects that stand on the ground: their distance can be seen",
    "anywhere": "Objects anywhere, as in the clean slice: their distance is drawn by lot",
}


def evidence_sections(evaluation: Mapping[str, Any]) -> Iterator[str]:
    """The sections that the evaluation has something for, as HTML."""
    if evaluation["robustness"] is not None:
        yield _robustness(evaluation["robustness"])
    if evaluation["frames"]:
        tables = "".join(_frames(name, each) for name, each in evaluation["frames"].items())
        yield (
            "<section><h2>Real frames</h2><p>A fixed camera, masks drawn by hand. F1 is of all "
            f"pixels of all frames together; shadows count as background.</p>{tables}</section>"
        )
    if evaluation["sensor_depth"]:
        tables = "".join(_sensor(name, each) for name, each in evaluation["sensor_depth"].items())
        yield (
            "<section><h2>Measured depth</h2><p>Pictures alone, no plate; after the best scale "
            f"and shift of inverse depth.</p>{tables}</section>"
        )
    if evaluation["withheld"] is not None:
        yield _withheld(evaluation["withheld"])


def _columns_of(point: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Style, name and summary of every column of a point of the curves."""
    for key, (style, name) in _COLUMNS.items():
        yield style, name, point[key]
    for place, (key, summary) in enumerate(point["others"].items()):
        yield _OTHER_STYLES[place % len(_OTHER_STYLES)], f"other: {key}", summary


def _robustness(found: Mapping[str, Any]) -> str:
    title = "<section><h2>Robustness</h2>"
    if found["curves"] is None:
        return f'{title}<p class="soft">Not judged: {escape(str(found["reason"]))}.</p></section>'
    flat = found["no_plate"]["columns"]["model"]
    charts = "".join(_chart(curve, flat) for curve in found["curves"].values())
    entries = [(style, name) for style, name, _ in _columns_of(found["clean"]["columns"])]
    details = "".join(_curve_table(curve) for curve in found["curves"].values())
    wrong = plain_table(
        "The plate of another background: what was said of the plate is wrong everywhere.",
        ["", "Dice ↑", "Bound. F ↑"],
        [_point_row(name, each) for _, name, each in _columns_of(found["wrong_plate"]["columns"])],
    )
    guesses = plain_table(
        "No plate, clean pictures, beside guesses that do not look.",
        ["", "Dice ↑", "Bound. F ↑"],
        [_point_row(name, found["no_plate"]["columns"][key]) for key, name in _GUESSES.items()],
    )
    return (
        f"{title}<p>The first {found['count']} composites of the clean slice (unseen cutouts on "
        "unseen backgrounds) again and again, with one thing changed at a time. Mask Dice; the "
        "band is the model’s 95 % interval over assets. A threshold that is tuned anew at every "
        "point knows how large the disturbance is, which no user does.</p>"
        f'{legend([*entries, _NO_PLATE])}<div class="curves">{charts}</div>'
        f"{wrong}{guesses}<details><summary>All figures of the curves</summary>{details}</details>"
        "</section>"
    )


def _chart(curve: Mapping[str, Any], flat: Mapping[str, Any]) -> str:
    lines: dict[str, Series] = {}
    for point in curve["points"]:
        for style, name, summary in _columns_of(point["columns"]):
            if summary["mean"] is None or "dice" not in summary["mean"]:
                continue
            line = lines.setdefault(name, Series(style, []))
            line.points.append((point["value"], summary["mean"]["dice"]))
            interval = summary["interval"]["dice"]
            if style == "first" and interval is not None:
                line.band.append((point["value"], *interval))
    ends = [curve["points"][0]["value"], curve["points"][-1]["value"]]
    if flat["mean"] is not None:
        level = flat["mean"]["dice"]
        lines[_NO_PLATE[1]] = Series(_NO_PLATE[0], [(end, level) for end in ends])
    # The model's line comes first, and is drawn over the others.
    return line_chart(
        f"{curve['title']}, {curve['unit']}",
        list(lines.values())[::-1],
        [(point["value"], f"{point['value']:g}") for point in curve["points"]],
        _DICE_TICKS,
    )


def _curve_table(curve: Mapping[str, Any]) -> str:
    names = [name for _, name, _ in _columns_of(curve["points"][0]["columns"])]
    rows = []
    for point in curve["points"]:
        cells = [f"{point['value']:g}"]
        for _, _, summary in _columns_of(point["columns"]):
            cells += _figures(summary)
        rows.append(cells)
    heads = [curve["unit"], *[head for name in names for head in (f"{name}: Dice", "Bound. F")]]
    return plain_table(f"{curve['title']}: {curve['how']}.", heads, rows)


def _point_row(name: str, summary: Mapping[str, Any]) -> list[str]:
    return [name, *_figures(summary)]


def _figures(summary: Mapping[str, Any]) -> list[str]:
    """Dice with its interval, and boundary F."""
    mean = summary["mean"]
    if mean is None:
        return [str(summary["reason"]), "–"]
    interval = summary["interval"]["dice"]
    span = f" ({number(interval[0])}–{number(interval[1])})" if interval else ""
    return [f"{number(mean['dice'])}{span}", number(mean["boundary_f"])]


def _frames(name: str, found: Mapping[str, Any]) -> str:
    rows = {text: found[key] for key, text in _FRAME_ROWS.items()}
    rows |= {f"other: {key}": each for key, each in found["others"].items()}
    tuned = found["difference"]["tuned"]
    caption = (
        f"“{name}”: {found['frames']} frames; the {tuned['on']} before them tuned the thresholds "
        f"(|frame − plate| over {tuned['threshold']}/255, median {tuned['median_px']} px)."
        f"{''.join(f' {line}.' for line in left_out_lines(found))}"
    )
    figures = ("f1", "precision", "recall")
    return plain_table(
        caption,
        ["", "F1 ↑", "Precision ↑", "Recall ↑"],
        [[text, *(number(each[figure]) for figure in figures)] for text, each in rows.items()],
    )


def _sensor(name: str, found: Mapping[str, Any]) -> str:
    return "".join(
        plain_table(
            f"“{name}”, {group}: {each['pictures']} pictures.",
            ["", "AbsRel ↓", "δ1 ↑", "Order ↑"],
            [
                [text, *(number(row.get(figure)) for figure in _SENSOR_FIGURES)]
                for text, row in _sensor_rows(each).items()
            ],
        )
        for group, each in found.items()
    )


def _sensor_rows(found: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    rows = {text: found[key] for key, text in _SENSOR_ROWS.items() if key in found}
    return rows | {f"other: {key}": each for key, each in found["others"].items()}


def _withheld(found: Mapping[str, Any]) -> str:
    parts = []
    for key, depth in found["placements"].items():
        if depth["columns"] is not None:
            parts.append(f"<h3>{_PLACEMENTS[key]}</h3>{''.join(depth_tables(depth))}")
    return (
        f"<section><h2>A withheld world</h2><p>{found['scenes']} drawn scenes of a family that was "
        "not trained on, with exact depth, and unseen cutouts in them.</p>"
        f"{''.join(parts)}</section>"
    )
