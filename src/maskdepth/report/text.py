"""The evaluation's main figures as a table for terminals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = {"picture": "picture alone", "plate": "with plate"}


def score_table(evaluation: Mapping[str, Any]) -> str:
    """Unseen cutouts on unseen backgrounds beside the baselines, in lines of plain text."""
    lines = ["unseen cutouts on unseen backgrounds     Dice   95 % interval    IoU  boundary F"]
    for name, table in evaluation["masks"].items():
        rows = {
            "this model": table["cells"]["unseen_unseen"],
            "without plate": table["no_plate"],
            "tuned |picture - plate|": table["difference"],
            "the same after registration": table["difference_registered"],
            **{f"other: {name}": each for name, each in table["others"].items()},
        }
        lines += [_mask_line(name, row, summary) for row, summary in rows.items()]
    depth = evaluation["depth"]
    if depth["columns"] is None:
        return "\n".join([*lines, f"depth not judged: {depth['reason']}"])
    lines += ["", "depth, whole picture                   AbsRel  delta1  ordinal"]
    rows = {text: depth["columns"][key]["whole"] for key, text in _COLUMNS.items()}
    rows["vertical gradient"] = depth["baselines"]["vertical_gradient"]["whole"]
    for row, summary in rows.items():
        figures = ("abs_rel", "delta1", "ordinal_accuracy")
        lines.append(f"  {row:36}" + _figures(summary, figures))
    return "\n".join(lines)


def left_out_lines(found: Mapping[str, Any]) -> list[str]:
    """What takes no part in the figures of a folder of real frames, a line for each reason."""
    return [
        f"{each['frames']} frames left out: {each['why']}; the first is {each['first']}"
        for each in found["left_out"]
    ]


def _mask_line(name: str, row: str, summary: Mapping[str, Any]) -> str:
    interval = (summary["interval"] or {}).get("dice")
    span = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-"
    dice = _figures(summary, ("dice",))
    return f"  {name:6} {row:29}{dice}  {span:>14}{_figures(summary, ('iou', 'boundary_f'))}"


def _figures(summary: Mapping[str, Any], names: Sequence[str]) -> str:
    mean = summary["mean"] or {}
    return "".join(f"{mean[name]:8.4f}" if name in mean else f"{'-':>8}" for name in names)
