"""The page: what was judged, how well, against what, examples, and what the figures cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from maskdepth.evaluation.columns import Column
from maskdepth.evaluation.composite_depth import DepthTable, NoDepthTable
from maskdepth.evaluation.held_out import HeldOutTable
from maskdepth.evaluation.panels import HELD_OUT, Panel
from maskdepth.evaluation.results import Evaluation
from maskdepth.files import write_text
from maskdepth.records import Json
from maskdepth.report.extras import extra_sections
from maskdepth.report.figures import curves, panel_figure
from maskdepth.report.limits import limits
from maskdepth.report.tables import (
    NAMES,
    depth_tables,
    grey_dice_rows,
    grey_dice_table,
    mask_table,
    number,
)
from maskdepth.report.words import glossary, link

# Nothing is fetched from anywhere, even if a text of the evaluation were to slip through.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(
    path: Path, evaluation: Evaluation, panels: Sequence[Panel], log: Sequence[Json] | None = None
) -> None:
    """Write an evaluation as one self-contained HTML file, atomically.

    Args:
        evaluation: as `maskdepth.evaluation.evaluate_composites` returns it.
        panels: examples, as `maskdepth.evaluation.select_panels` returns them.
        log: rows of the training log (``step``, ``total``, ``val_loss``, ``val_dice``), if any.
    """
    style = files("maskdepth.report").joinpath("style.css").read_text(encoding="utf-8")
    sections = [
        _header(evaluation),
        _cards(evaluation),
        glossary(),
        _masks(evaluation),
        *_panels(panels, "masks", "Examples: masks"),
        _depth(evaluation.depth),
        *_panels(panels, "depth", "Examples: depth"),
        *_held_out(evaluation.held_out),
        *_panels(panels, HELD_OUT, "Examples: held-out composites"),
        *extra_sections(evaluation),
        *_training(log or ()),
        _limits(evaluation),
        _footer(evaluation),
    ]
    write_text(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>maskdepth report: {escape(evaluation.model.preset)}</title>"
        f"<style>{style}</style></head>\n<body><main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n",
    )


def _header(evaluation: Evaluation) -> str:
    model, assets = evaluation.model, evaluation.assets
    parts = [_splits("cutouts", assets["cutouts"])]
    drawn = evaluation.drawn_backgrounds
    if drawn is None:
        parts.append(f"{_splits('backgrounds', assets['backgrounds'])}, with any drawn scenes")
    else:
        own = {split: total - drawn[split] for split, total in assets["backgrounds"].items()}
        scenes = ("backgrounds of your own", own), ("scenes drawn by maskdepth", drawn)
        parts += [_splits(kind, counts) for kind, counts in scenes if any(counts.values())]

    return (
        f"<header><h1>How good this model is (preset {escape(model.preset)})</h1>"
        f'<p class="soft">{model.weights:,} weights · depth: {escape(model.depth)} · '
        f"{', '.join(parts)} · {escape(evaluation.made[:10])}</p></header>"
    )


def _splits(kind: str, counts: Mapping[str, int]) -> str:
    by_split = ", ".join(f"{counts[split]} {split}" for split in ("train", "val", "test"))
    return f"{sum(counts.values())} {kind} ({by_split})"


def _cards(evaluation: Evaluation) -> str:
    cards = []
    for name, table in evaluation.masks.items():
        cell = table.cells.unseen_unseen
        dice = cell.figure("dice")
        if dice is None:
            continue
        cards.append(
            f"<b>{dice:.3f}</b>"
            f"<span>mask {link('Dice', 'dice')}, {link('slice', 'slice')} “{escape(name)}”, "
            f"{link('unseen', 'cell')} cutouts on unseen backgrounds; "
            f"{_interval_text(cell, 'dice')}</span>"
            f"{_verdict(dice, table.strongest_baseline())}"
        )
    depth = evaluation.depth
    if isinstance(depth, DepthTable) and (whole := depth.columns["plate"].whole).mean:
        cards.append(
            f"<b>{whole.figure('abs_rel'):.3f}</b>"
            f"<span>depth {link('AbsRel', 'abs_rel')} with the plate, whole picture; "
            f"{_interval_text(whole, 'abs_rel')}; "
            f"{link('labels', 'labels')}: {escape(', '.join(depth.labels))}</span>"
        )
    cards += _held_out_cards(evaluation.held_out)
    cards_html = "".join(f'<div class="card">{card}</div>' for card in cards)
    return f'<div class="cards">{cards_html}</div>' if cards else ""


def _held_out_cards(table: HeldOutTable | None) -> Iterator[str]:
    """The prior work's two figures, each with what a perfect and an all-white picture score."""
    if table is None:
        return
    difference = table.mask_difference.figure("score")
    threshold = None if difference is None else ("|picture − plate|", difference)
    for kind, column in (("masks", table.mask), ("depth", table.depth)):
        score = column.figure("score")
        if score is not None:
            yield (
                f"<b>{score:.3f}</b><span>the prior work’s Dice of {kind}, the network alone on "
                "held-out composites of seen assets; a perfect prediction scores "
                f"{number(column.figure('perfect'))}, an all-white picture "
                f"{number(column.figure('all_white'))}</span>"
                f"{_verdict(score, threshold) if kind == 'masks' else ''}"
            )


def _interval_text(column: Column, name: str) -> str:
    interval = column.span(name)
    if interval is None:
        return "no interval: one asset of each kind"
    name = link("95 % interval", "interval")
    return f"{name} {number(interval[0])} to {number(interval[1])}"


def _verdict(dice: float, baseline: tuple[str, float] | None) -> str:
    """Whether the network beats the stronger threshold, in words."""
    if baseline is None:
        return "<span>no baseline to compare with</span>"
    name, gain = link(baseline[0], "threshold"), dice - baseline[1]
    if gain >= 0:
        return f'<span class="good">{gain:+.3f} over {name}</span>'
    return f'<span class="bad">{gain:+.3f}: {name} is better here</span>'


def _masks(evaluation: Evaluation) -> str:
    masks = evaluation.masks
    tables = "".join(mask_table(name, table).html() for name, table in masks.items())
    own = all(table.backgrounds_of == "user" for table in masks.values())
    whose = "" if own else " No photo was held out: unseen backgrounds are drawn scenes."
    return (
        "<section><h2>Masks and alpha</h2><p>Seen assets are those the network was trained on. "
        "What it will do with new objects in front of new backgrounds is the first row; for a "
        f"fixed camera whose background was among the training photos, it is the second.{whose} "
        "Sums (SAD, Grad, Conn) are in thousands.</p>"
        f"{tables}</section>"
    )


def _depth(depth: DepthTable | NoDepthTable) -> str:
    if isinstance(depth, NoDepthTable):
        body = f'<p class="soft">Not judged: {escape(depth.reason)}.</p>'
    else:
        dice = ""
        if depth.depth_dice is not None:
            dice = grey_dice_table([("depth, this model", depth.depth_dice)]).html()
        body = (
            f"<p>Unit: {escape(depth.depth_units)}. Labels: "
            f"{escape(', '.join(depth.labels))}; SILog with lambda "
            f"{depth.silog_lambda:g}.</p>"
            f"{''.join(table.html() for table in depth_tables(depth))}"
            "<h3>The prior work’s depth Dice</h3><p>2 Σpt / (Σp + Σt) on grey levels, for parity "
            "only. It rewards bright maps: read it between the three figures beside it, never "
            f"alone.</p>{dice}"
        )
    return f"<section><h2>Depth</h2>{body}</section>"


def _held_out(table: HeldOutTable | None) -> Iterator[str]:
    if table is not None:
        yield (
            "<section><h2>The prior work’s two Dice figures</h2><p>Composites "
            f"{table.first} to {table.last} were kept from training; they show the same cutouts "
            "and backgrounds as the others, in other combinations. 2 Σpt / (Σp + Σt) on grey "
            "levels, with the plate. The prior work had the network alone; what users of maskdepth "
            "get is refined with the plate’s colours. Even a perfect prediction does not score 1, "
            "and on depth the figure rewards bright maps: read it between the three beside it. "
            "Depth: "
            f"{escape(table.labels)}.</p>{grey_dice_table(grey_dice_rows(table)).html()}</section>"
        )


def _panels(panels: Sequence[Panel], group: str, title: str) -> Iterator[str]:
    chosen = [panel for panel in panels if panel.group == group]
    for name, members in groupby(chosen, key=lambda panel: panel.slice):
        figures = "".join(panel_figure(panel, NAMES) for panel in members)
        colours = "Near is red, far is blue, invalid grey"
        if group == HELD_OUT:
            colours = "Disparity is grey as in the prior work’s panels, near = bright"
        yield (
            f"<section><h2>{escape(title)}, slice “{escape(name)}”</h2>"
            f'<p class="soft">Chosen by rank, not by taste. {colours}; predicted disparity as it '
            f"comes, before any alignment.</p>{figures}</section>"
        )


def _training(log: Sequence[Json]) -> Iterator[str]:
    charts = curves("Loss", log, {"total": "training", "val_loss": "validation"})
    charts += curves("Dice on validation", log, {"val_dice": "Dice", "val_iou": "IoU"})
    if charts:
        yield f'<section><h2>Training</h2><div class="curves">{charts}</div></section>'


def _limits(evaluation: Evaluation) -> str:
    items = "".join(f"<li>{escape(limit)}</li>" for limit in limits(evaluation))
    return f"<section><h2>What these figures cannot say</h2><ul>{items}</ul></section>"


def _footer(evaluation: Evaluation) -> str:
    benchmark, model = evaluation.benchmark, evaluation.model
    facts = [
        f"maskdepth {evaluation.maskdepth}",
        f"model made by {model.maskdepth}",
        (
            f"benchmark recipes v{benchmark.version}, seed {benchmark.seed}, "
            f"{benchmark.count} composites a cell at {benchmark.size} px"
        ),
        f"judged in {evaluation.seconds:.0f} s",
        f"network sha256 {model.sha256}",
    ]
    return f"<footer>{escape(' · '.join(facts))}</footer>"
