"""The report's tables: every column of the evaluation as a row, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from maskdepth.report.figures import whisker

# name in the evaluation: name in the report, arrow to the better side
MASK_FIGURES: Final = {
    "iou": "IoU ↑",
    "boundary_f": "Bound. F ↑",
    "sad": "SAD ↓",
    "mse": "MSE ↓",
    "gradient": "Grad ↓",
    "connectivity": "Conn ↓",
}
DEPTH_FIGURES: Final = {
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
NAMES: Final = {
    "dice": "Dice",
    "abs_rel": "AbsRel",
    **{name: text[:-2] for name, text in (MASK_FIGURES | DEPTH_FIGURES).items()},
}
_CELLS: Final = {
    "unseen_unseen": "unseen cutouts, unseen backgrounds",
    "unseen_seen": "unseen cutouts, seen backgrounds",
    "seen_unseen": "seen cutouts, unseen backgrounds",
    "seen_seen": "seen cutouts, seen backgrounds",
}
_DIFFERENCES: Final = {
    "difference": "baseline: |picture − plate|",
    "difference_registered": "baseline: |picture − plate| after registration",
}
_DEPTH_COLUMNS: Final = {
    "picture": "picture alone",
    "plate": "with plate",
    "plate_and_disparity": "with plate and plate disparity",
}
_DEPTH_BASELINES: Final = {
    "vertical_gradient": "baseline: vertical gradient",
    "plate_disparity": "baseline: the plate's disparity, no object",
    "teacher": "the teacher, picture alone",
}
_REGIONS: Final = {"whole": "Whole picture", "inside_mask": "Inside the mask"}

Row = tuple[str, str, str, Mapping[str, Any]]  # class, name, remark, summary


def mask_table(name: str, table: Mapping[str, Any]) -> str:
    """One slice: the four cells, then what the model is held against."""
    rows: list[Row] = [
        ("main" if key == "unseen_unseen" else "", text, "", table["cells"][key])
        for key, text in _CELLS.items()
    ]
    rows.append(("break", "without plate", "unseen, unseen", table["no_plate"]))
    for key, text in _DIFFERENCES.items():
        tuned = table[key].get("tuned")
        settings = f"over {tuned['threshold']}/255, median {tuned['median_px']} px" if tuned else ""
        rows.append(("", text, settings, table[key]))
    rows += [
        ("", "baseline: a disc in the middle", "does not look", table["centred_disc"]),
        ("", "baseline: the empty mask", "does not look", table["empty"]),
    ]
    rows += [("", f"other: {key}", "", summary) for key, summary in table["others"].items()]
    caption = (
        f"Slice “{name}”. Dice with its 95 % interval over assets; SAD, Grad(ient) and "
        "Conn(ectivity) errors in thousands; without plate, baseline and other models on unseen "
        "cutouts and backgrounds."
    )
    return _table(caption, "dice", "Dice ↑", MASK_FIGURES, rows, (0.0, 1.0))


def depth_tables(depth: Mapping[str, Any]) -> Iterator[str]:
    """Both regions, the model's columns before the baselines."""
    for region, title in _REGIONS.items():
        rows: list[Row] = [
            ("main" if key == "plate" else "", text, "", depth["columns"][key][region])
            for key, text in _DEPTH_COLUMNS.items()
        ]
        rows += [
            ("break" if position == 0 else "", text, "", depth["baselines"][key][region])
            for position, (key, text) in enumerate(_DEPTH_BASELINES.items())
            if key in depth["baselines"]
        ]
        rows += [
            ("", f"other: {name}", _DEPTH_COLUMNS[column], regions[region])
            for name, columns in depth["others"].items()
            for column, regions in columns.items()
        ]
        errors = [summary["mean"]["abs_rel"] for *_, summary in rows if summary["mean"]]
        caption = f"{title}. AbsRel with its 95 % interval over assets; more in the JSON."
        span = (0.0, max([0.2, *errors]) * 1.1)
        yield _table(caption, "abs_rel", "AbsRel ↓", DEPTH_FIGURES, rows, span)


def plain_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Texts in rows, the first of each a name; nothing is expected to be escaped."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    )
    return (
        f'<p class="caption">{escape(caption)}</p><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def depth_dice_table(summary: Mapping[str, Any]) -> str:
    """The prior work's figure between the three that give it its scale."""
    if summary["mean"] is None:
        return f'<p class="soft">{escape(str(summary["reason"]))}</p>'
    texts = {
        "score": "this model",
        "perfect": "a perfect prediction",
        "all_white": "an all-white picture",
        "maximum": "the best binary picture",
    }
    cells = "".join(f"<td>{number(summary['mean'].get(key))}</td>" for key in texts)
    heads = "".join(f"<th>{text}</th>" for text in texts.values())
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody><tr>{cells}</tr></tbody></table></div>"
    )


def interval_text(summary: Mapping[str, Any], name: str) -> str:
    """The interval of a figure in words."""
    interval = summary["interval"].get(name)
    if interval is None:
        return "no interval: one asset of each kind"
    return f"95 % interval {number(interval[0])} to {number(interval[1])}"


def _table(
    caption: str,
    lead: str,
    lead_name: str,
    figures: Mapping[str, str],
    rows: Sequence[Row],
    span: tuple[float, float],
) -> str:
    heads = ["", "pictures", lead_name, "", *figures.values()]
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(_row(row, lead, figures, span) for row in rows)
    return (
        f'<p class="caption">{escape(caption)}</p><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Row, lead: str, figures: Mapping[str, str], span: tuple[float, float]) -> str:
    style, name, remark, summary = row
    small = f"<small>{escape(remark)}</small>" if remark else ""
    head = f'<tr class="{style}"><th scope="row">{escape(name)}{small}</th>'
    mean = summary["mean"]
    if mean is None:
        reason = escape(str(summary.get("reason", "")))
        return f'{head}<td class="reason" colspan="{len(figures) + 3}">{reason}</td></tr>'
    cells = "".join(f"<td>{number(mean.get(figure))}</td>" for figure in figures)
    drawn = whisker(mean[lead], summary["interval"].get(lead), *span) if lead in mean else ""
    return (
        f"{head}<td>{summary['pictures']}</td><td>{_lead(summary, lead)}</td>"
        f"<td>{drawn}</td>{cells}</tr>"
    )


def _lead(summary: Mapping[str, Any], name: str) -> str:
    interval = summary["interval"].get(name)
    mean = number(summary["mean"].get(name))
    if interval is None:
        return mean
    return f"{mean} <small>{number(interval[0])}–{number(interval[1])}</small>"


def number(value: float | None) -> str:
    """Three digits, four where it is small; a dash for none."""
    if value is None:
        return "–"
    return f"{value:.4f}" if 0 < abs(value) < 0.0995 else f"{value:.3f}"
