"""The evaluation's main figures as a table for terminals."""

from __future__ import annotations

from collections.abc import Iterable

from maskdepth.evaluation.columns import Column
from maskdepth.evaluation.composite_depth import NoDepthTable
from maskdepth.evaluation.held_out import HeldOutTable
from maskdepth.evaluation.masks import MaskTable
from maskdepth.evaluation.results import Evaluation
from maskdepth.report.tables import GREY_DICE, grey_dice_rows

_FOUND = 0.05  # Dice without a plate, below which a model finds nothing


def score_table(evaluation: Evaluation) -> str:
    """Unseen cutouts on unseen backgrounds beside the baselines, in lines of plain text."""
    if evaluation.held_out is not None:
        return _held_out_table(evaluation, evaluation.held_out)
    lines = ["unseen cutouts on unseen backgrounds     Dice   95 % interval    IoU  boundary F"]
    for name, table in evaluation.masks.items():
        rows = {
            "this model": table.cells.unseen_unseen,
            "without plate": table.no_plate,
            "tuned |picture - plate|": table.difference,
            "the same after registration": table.difference_registered,
            **{f"other: {other}": column for other, column in table.others.items()},
        }
        if (rows["without plate"].figure("dice") or 0) < _FOUND:
            del rows["without plate"]  # the model finds nothing without one
        lines += [_mask_line(name, row, column) for row, column in rows.items()]
        lines += [f"         {line}" for line in (explain_loss(table),) if line]
    depth = evaluation.depth
    if isinstance(depth, NoDepthTable):
        return "\n".join([*lines, f"depth not judged: {depth.reason}"])
    lines += ["", "depth, whole picture                   AbsRel  delta1  ordinal"]
    for row, regions in {
        "picture alone": depth.columns["picture"],
        "with plate": depth.columns["plate"],
        "vertical gradient": depth.baselines["vertical_gradient"],
    }.items():
        figures = ("abs_rel", "delta1", "ordinal_accuracy")
        lines.append(f"  {row:36}" + _figures(regions.whole, figures))
    return "\n".join(lines)


def explain_loss(table: MaskTable) -> str:
    """Why a model loses to a threshold, in a sentence; empty where it does not."""
    dice, baseline = table.cells.unseen_unseen.figure("dice"), table.strongest_baseline()
    if dice is None or baseline is None or dice >= baseline[1]:
        return ""
    return (
        f"{baseline[0]} is better here by {baseline[1] - dice:.3f}: the network needs more "
        "training on such pictures (`fit --from shipped` starts from one that has had some)"
    )


def _held_out_table(evaluation: Evaluation, table: HeldOutTable) -> str:
    """The prior work's figures, and the benchmark on the assets that were trained on."""
    title = f"Dice of composites {table.first} to {table.last}, held out"
    lines = [f"{title:38}   score perfect  white binary"]
    for row, column in grey_dice_rows(table):
        why = "" if column.reason is None else f"  {column.reason}"
        lines.append(f"  {row:36}{_figures(column, GREY_DICE)}{why}")
    lines += ["", "no asset is held out: seen cutouts on seen backgrounds    Dice"]
    for name, masks in evaluation.masks.items():
        lines.append(f"  {name:52}{_figures(masks.cells.seen_seen, ('dice',))}")
    return "\n".join(lines)


def _mask_line(name: str, row: str, column: Column) -> str:
    interval = column.span("dice")
    span = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-"
    dice = _figures(column, ("dice",))
    return f"  {name:6} {row:29}{dice}  {span:>14}{_figures(column, ('iou', 'boundary_f'))}"


def _figures(column: Column, names: Iterable[str]) -> str:
    figures = [column.figure(name) for name in names]
    return "".join(f"{'-':>8}" if value is None else f"{value:8.4f}" for value in figures)
