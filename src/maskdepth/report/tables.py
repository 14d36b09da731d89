"""The report's tables: every column of the evaluation as a row, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from maskdepth.evaluation.columns import Column
from maskdepth.evaluation.composite_depth import DepthTable
from maskdepth.evaluation.masks import MaskTable
from maskdepth.report.figures import whisker
from maskdepth.report.rows import depth_rows, mask_rows

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
Row = tuple[str, str, str, Column]  # class, name, remark, figures


def mask_table(name: str, table: MaskTable) -> str:
    """One slice: the four cells, then the baselines and other models."""
    remarks = {"without plate": "unseen, unseen"}
    remarks |= dict.fromkeys(
        ("baseline: a disc in the middle", "baseline: the empty mask"), "uses no pixel"
    )
    rows: list[Row] = []
    for text, column in mask_rows(table):
        style = {"unseen cutouts, unseen backgrounds": "main", "without plate": "break"}.get(text)
        tuned = column.tuned if column is not table.centred_disc else None
        settings = f"over {tuned.threshold}/255, median {tuned.median_px} px" if tuned else ""
        rows.append((style or "", text, settings or remarks.get(text, ""), column))
    caption = (
        f"Slice “{name}”. Dice with its 95 % interval over assets; SAD, Grad(ient) and "
        "Conn(ectivity) errors in thousands; without plate, baseline and other models on unseen "
        "cutouts and backgrounds."
    )
    return _table(caption, "dice", "Dice ↑", MASK_FIGURES, rows, (0.0, 1.0))


def depth_tables(depth: DepthTable) -> Iterator[str]:
    """The whole picture and inside the mask; the model's columns come before the baselines."""
    for title in ("Whole picture", "Inside the mask"):
        rows: list[Row] = [
            (
                {"with plate": "main", "baseline: vertical gradient": "break"}.get(text, ""),
                text,
                remark,
                regions.whole if title == "Whole picture" else regions.inside_mask,
            )
            for text, remark, regions in depth_rows(depth)
        ]
        errors = [column.mean["abs_rel"] for *_, column in rows if column.mean]
        caption = f"{title}. AbsRel with its 95 % interval over assets; more in the JSON."
        span = (0.0, max([0.2, *errors]) * 1.1)
        yield _table(caption, "abs_rel", "AbsRel ↓", DEPTH_FIGURES, rows, span)


def plain_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Texts in rows, the first of each a name; this function escapes them."""
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


def depth_dice_table(column: Column) -> str:
    """The prior work's figure between the three that give it its scale."""
    if column.mean is None:
        return f'<p class="soft">{escape(str(column.reason))}</p>'
    texts = {
        "score": "this model",
        "perfect": "a perfect prediction",
        "all_white": "an all-white picture",
        "maximum": "the best binary picture",
    }
    cells = "".join(f"<td>{number(column.figure(key))}</td>" for key in texts)
    heads = "".join(f"<th>{text}</th>" for text in texts.values())
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody><tr>{cells}</tr></tbody></table></div>"
    )


def interval_text(column: Column, name: str) -> str:
    """The interval of a figure in words."""
    interval = column.span(name)
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
    style, name, remark, column = row
    small = f"<small>{escape(remark)}</small>" if remark else ""
    head = f'<tr class="{style}"><th scope="row">{escape(name)}{small}</th>'
    if column.mean is None:
        reason = escape(column.reason or "")
        return f'{head}<td class="reason" colspan="{len(figures) + 3}">{reason}</td></tr>'
    cells = "".join(f"<td>{number(column.figure(figure))}</td>" for figure in figures)
    mean, interval = column.figure(lead), column.span(lead)
    drawn = "" if mean is None else whisker(mean, interval, *span)
    text = number(mean)
    if interval is not None:
        text += f" <small>{number(interval[0])}–{number(interval[1])}</small>"
    return f"{head}<td>{column.pictures}</td><td>{text}</td><td>{drawn}</td>{cells}</tr>"


def number(value: float | None) -> str:
    """Three digits, four where it is small; a dash for none."""
    if value is None:
        return "–"
    return f"{value:.4f}" if 0 < abs(value) < 0.0995 else f"{value:.3f}"
