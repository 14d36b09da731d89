"""The goals of the project, and whether they are met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from maskdepth.evaluation.columns import Column, Figures
from maskdepth.evaluation.composite_depth import DepthTable, NoDepthTable
from maskdepth.evaluation.frames import FrameResult
from maskdepth.evaluation.masks import MaskTable
from maskdepth.evaluation.measured_depth import DepthGroup
from maskdepth.evaluation.results import Evaluation
from maskdepth.evaluation.robustness import PointColumns, Robustness
from maskdepth.report.tables import measure, number

PLACEMENTS = {"standing": "objects on the ground", "anywhere": "objects anywhere"}


class Goal(NamedTuple):
    """A row of the table of goals."""

    text: str
    goal: str
    measured: str = "not measured"
    met: str = "-"


def goals(evaluation: Evaluation, bench: Mapping[str, Any] | None) -> Iterator[Goal]:
    """Every goal, in the order of the page."""
    masks = evaluation.masks
    for name, least in {"clean": 0.990, "jpeg": 0.985, "hard": 0.965}.items():
        table = masks.get(name)
        cell = table and table.cells.unseen_unseen
        yield _at_least(f"mask Dice, {name}", least, cell, "dice", table)
    for text, name, value in (
        ("plate shifted 4 px", "plate_shift", 4),
        ("+1 stop", "exposure", 1),
        ("strong shadow (0.8)", "shadow", 0.8),
    ):
        point = _find_point(evaluation, name, value)
        yield _at_least(f"mask Dice, {text}", 0.94, point and point.model, "dice", point)
    cell = masks["clean"].cells.unseen_unseen if "clean" in masks else None
    yield _at_least("boundary F at 2 px, clean", 0.97, cell, "boundary_f")
    yield from map(_frames_goal, *zip(*(evaluation.frames or {"": None}).items(), strict=True))
    yield _no_plate_goal(masks.get("hard"))
    for key, text in PLACEMENTS.items():
        depth = evaluation.withheld and evaluation.withheld.placements[key]
        for where, part in (("whole", "whole"), ("in-mask", "inside_mask")):
            yield _withheld_goal(f"withheld world, {text}, {where}", depth, part)
    for name, groups in (evaluation.sensor_depth or {"none": {}}).items():
        yield _depth_goal(f"measured depth, {name}, `room`", groups.get("room"))
    yield from _latency_goals(bench)
    weights = evaluation.model.weights
    yield Goal("weights", "< 1 M", f"{weights / 1e6:.2f} M", _met(weights < 1e6))


def _at_least(
    text: str,
    least: float,
    column: Column | None,
    figure: str,
    table: MaskTable | PointColumns | None = None,
) -> Goal:
    goal = f">= {least:.3g}"
    value = column.figure(figure) if column else None
    if column is None or value is None:
        return Goal(text, goal)
    measured = "; ".join(filter(None, [str(measure(column, figure)), _thresholds(table)]))
    return Goal(text, goal, measured, _met(value >= least))


def _thresholds(table: MaskTable | PointColumns | None) -> str:
    """Dice of the thresholds, which the network has to beat."""
    if table is None:
        return ""
    columns = {
        "threshold": table.difference,
        "tuned here": getattr(table, "difference_tuned_here", None),
        "registered": table.difference_registered,
        "registered, tuned here": getattr(table, "difference_registered_tuned_here", None),
    }
    dice = {name: column.figure("dice") for name, column in columns.items() if column}
    return ", ".join(f"{name} {value:.3f}" for name, value in dice.items() if value is not None)


def _frames_goal(name: str, result: FrameResult | None) -> Goal:
    if result is None:
        return Goal("real frames: pooled F1", ">= 0.9")
    measured = (
        f"{result.model.f1:.3f}; threshold {result.difference.f1:.3f}, "
        f"registered {result.difference_registered.f1:.3f}, MOG2 {result.mog2.f1:.3f}"
    )
    return Goal(f"real frames, {name}: pooled F1", ">= 0.9", measured, _met(result.model.f1 >= 0.9))


def _no_plate_goal(table: MaskTable | None) -> Goal:
    text, goal = "mask Dice without a plate, hard", "well above a disc in the middle"
    mine, disc = (table.no_plate, table.centred_disc) if table else (None, None)
    if not mine or not disc or not mine.mean or not disc.mean:
        return Goal(text, goal)
    # Well above: the intervals do not touch.
    low = (mine.span("dice") or [mine.mean["dice"]])[0]
    high = (disc.span("dice") or [disc.mean["dice"]])[-1]
    measured = f"{measure(mine, 'dice')}; disc {measure(disc, 'dice')}, empty 0"
    return Goal(text, goal, measured, _met(low > high))


def _withheld_goal(text: str, depth: DepthTable | NoDepthTable | None, part: str) -> Goal:
    goal = "AbsRel <= 0.12, delta1 >= 0.88"
    if not isinstance(depth, DepthTable):
        return Goal(text, goal)
    mean: Figures | None = getattr(depth.columns["plate"], part).mean
    if not mean:
        return Goal(text, goal)
    gradient: Column = getattr(depth.baselines["vertical_gradient"], part)
    measured = (
        f"{mean['abs_rel']:.3f}, {mean['delta1']:.3f}; "
        f"gradient {number(gradient.figure('abs_rel'))}, {number(gradient.figure('delta1'))}"
    )
    return Goal(text, goal, measured, _met(mean["abs_rel"] <= 0.12 and mean["delta1"] >= 0.88))


def _depth_goal(text: str, group: DepthGroup | None) -> Goal:
    goal = "AbsRel and order better than the vertical gradient"
    if group is None:
        return Goal(text, goal)
    mine, gradient = group.model, group.vertical_gradient
    better = mine.abs_rel < gradient.abs_rel
    better &= (mine.ordinal_accuracy or 0) > (gradient.ordinal_accuracy or 0)
    rows = {"": mine, "gradient ": gradient, "teacher ": group.teacher}
    measured = "; ".join(
        f"{name}{row.abs_rel:.3f}, {row.ordinal_accuracy:.3f}" for name, row in rows.items() if row
    )
    return Goal(text, goal, measured, _met(better))


def _latency_goals(bench: Mapping[str, Any] | None) -> Iterator[Goal]:
    """Of the first model on ONNX Runtime, and of `prior` in eager torch, the networks alone."""
    networks = bench["networks"] if bench else []

    def median_ms(model: str, engine: str, precision: str | None = None) -> float | None:
        for row in networks:
            if (row["model"], row["engine"]) == (model, engine) and (
                row["height"] == row["width"] == 224 and precision in (None, row["precision"])
            ):
                return float(row["median_ms"])
        return None

    mine = networks[0]["model"] if networks else ""
    single = median_ms(mine, "onnxruntime", "fp32")
    int8, prior = median_ms(mine, "onnxruntime", "int8"), median_ms("prior", "torch")
    for text, goal, ms, is_met in (
        ("latency 224x224, median", "<= 8 ms", single, lambda ms, _: ms <= 8),
        ("latency, int8", "faster", int8, lambda ms, single: ms < single),
        (
            "latency of `prior` in the same run", ">= 40 times as long", prior,
            lambda ms, single: ms >= 40 * single,
        ),
    ):  # fmt: skip
        if ms is None or single is None:
            yield Goal(text, goal)
        else:
            measured = f"{ms:.1f} ms ({ms / single:.2g} times)"
            yield Goal(text, goal, measured, _met(is_met(ms, single)))


def _find_point(evaluation: Evaluation, name: str, value: float) -> PointColumns | None:
    if not isinstance(evaluation.robustness, Robustness):
        return None
    points = evaluation.robustness.curves[name].points
    return next((each.columns for each in points if each.value == value), None)


def _met(met: bool) -> str:
    return "yes" if met else "**no**"
