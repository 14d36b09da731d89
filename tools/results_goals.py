"""The goals, whether they were reached, and what the figures cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

PLACEMENTS = {"standing": "objects on the ground", "anywhere": "objects anywhere"}
_THRESHOLDS = {
    "difference": "threshold",
    "difference_tuned_here": "tuned here",
    "difference_registered": "registered",
    "difference_registered_tuned_here": "registered, tuned here",
}


def must_hold(
    evaluation: Mapping[str, Any], bench: Mapping[str, Any] | None
) -> Iterator[tuple[str, str, str, str]]:
    """Rows of the goals: name, goal, measured, whether it is met."""
    masks, curves = evaluation["masks"], (evaluation["robustness"] or {}).get("curves")
    for name, goal in {"clean": 0.990, "jpeg": 0.985, "hard": 0.965}.items():
        found = masks[name]["cells"]["unseen_unseen"] if name in masks else None
        yield _at_least(f"mask Dice, {name}", goal, found, "dice", _beside(masks.get(name)))
    for text, name, value in (
        ("plate shifted 4 px", "plate_shift", 4),
        ("+1 stop", "exposure", 1),
        ("strong shadow (0.8)", "shadow", 0.8),
    ):
        columns = _point(curves, name, value)
        found = columns["model"] if columns else None
        yield _at_least(f"mask Dice, {text}", 0.94, found, "dice", _beside(columns))
    found = masks["clean"]["cells"]["unseen_unseen"] if "clean" in masks else None
    yield _at_least("boundary F at 2 px, clean", 0.97, found, "boundary_f")
    for name, frames in (evaluation["frames"] or {"none": None}).items():
        yield _frames_goal(name, frames)
    yield _no_plate_goal(masks.get("hard"))
    for key, text in PLACEMENTS.items():
        withheld = evaluation["withheld"]
        depth = withheld["placements"][key] if withheld else None
        for region, where in (("whole", "whole"), ("inside_mask", "in-mask")):
            yield _withheld_goal(f"withheld world, {text}, {where}", depth, region)
    for name, groups in (evaluation["sensor_depth"] or {"none": {}}).items():
        yield _sensor_goal(f"measured depth, {name}, `room`", groups.get("room"))
    yield from _latency_goals(bench)
    weights = evaluation["model"]["weights"]
    yield "weights", "< 1 M", f"{weights / 1e6:.2f} M", _met(weights < 1e6)


def _at_least(
    text: str, goal: float, found: Mapping[str, Any] | None, figure: str, beside: str = ""
) -> tuple[str, str, str, str]:
    if not found or not found["mean"]:
        return text, f">= {goal:.3g}", "not measured", "-"
    measured = f"{figure_text(found, figure)}{beside}"
    return text, f">= {goal:.3g}", measured, _met(found["mean"][figure] >= goal)


def _beside(columns: Mapping[str, Any] | None) -> str:
    """The strongest threshold of a row, which the network has to beat."""
    rivals = {
        _THRESHOLDS[name]: columns[name]["mean"]["dice"]
        for name in _THRESHOLDS
        if columns and name in columns and columns[name]["mean"]
    }
    if not rivals:
        return ""
    return "; " + ", ".join(f"{name} {value:.3f}" for name, value in rivals.items())


def _frames_goal(name: str, found: Mapping[str, Any] | None) -> tuple[str, str, str, str]:
    text = f"real frames, {name}: pooled F1"
    if found is None:
        return "real frames: pooled F1", ">= 0.9", "not measured", "-"
    rivals = ", ".join(
        f"{text_} {found[key]['f1']:.3f}"
        for key, text_ in (
            ("difference", "threshold"), ("difference_registered", "registered"), ("mog2", "MOG2"),
        )
        if key in found
    )  # fmt: skip
    f1 = found["model"]["f1"]
    return text, ">= 0.9", f"{f1:.3f}; {rivals}", _met(f1 >= 0.9)


def _no_plate_goal(table: Mapping[str, Any] | None) -> tuple[str, str, str, str]:
    text, goal = "mask Dice without a plate, hard", "well above a disc in the middle"
    if not table or not table["no_plate"]["mean"] or not table["centred_disc"]["mean"]:
        return text, goal, "not measured", "-"
    mine, disc = table["no_plate"], table["centred_disc"]
    # Well above: the intervals do not touch.
    low = (mine["interval"].get("dice") or [mine["mean"]["dice"]])[0]
    high = (disc["interval"].get("dice") or [0, disc["mean"]["dice"]])[1]
    measured = f"{figure_text(mine, 'dice')}; disc {figure_text(disc, 'dice')}, empty 0"
    return text, goal, measured, _met(low > high)


def _withheld_goal(
    text: str, depth: Mapping[str, Any] | None, region: str
) -> tuple[str, str, str, str]:
    goal = "AbsRel <= 0.12, delta1 >= 0.88"
    mean = depth["columns"]["plate"][region]["mean"] if depth and depth["columns"] else None
    if not mean:
        return text, goal, "not measured", "-"
    gradient = depth["baselines"]["vertical_gradient"][region]["mean"]
    measured = (
        f"{mean['abs_rel']:.3f}, {mean['delta1']:.3f}; "
        f"gradient {gradient['abs_rel']:.3f}, {gradient['delta1']:.3f}"
    )
    return text, goal, measured, _met(mean["abs_rel"] <= 0.12 and mean["delta1"] >= 0.88)


def _sensor_goal(text: str, found: Mapping[str, Any] | None) -> tuple[str, str, str, str]:
    goal = "AbsRel and order better than the vertical gradient"
    if not found:
        return text, goal, "not measured", "-"
    mine, gradient = found["model"], found["vertical_gradient"]
    better = mine["abs_rel"] < gradient["abs_rel"]
    better &= mine["ordinal_accuracy"] > gradient["ordinal_accuracy"]
    rows = {"": mine, "gradient ": gradient, "teacher ": found.get("teacher")}
    measured = "; ".join(
        f"{name}{row['abs_rel']:.3f}, {row['ordinal_accuracy']:.3f}"
        for name, row in rows.items()
        if row
    )
    return text, goal, measured, _met(better)


def _latency_goals(bench: Mapping[str, Any] | None) -> Iterator[tuple[str, str, str, str]]:
    """Of the first model on ONNX Runtime, and of `seed` in eager torch, the networks alone."""
    networks = (bench or {"networks": []})["networks"]
    small = [each for each in networks if each["height"] == each["width"] == 224]
    mine = [each for each in small if each["model"] == networks[0]["model"]]
    mine = [each for each in mine if each["engine"] == "onnxruntime"]
    single = [each for each in mine if each["precision"] == "fp32"]
    int8 = [each for each in mine if each["precision"] == "int8"]
    seed = [each for each in small if (each["model"], each["engine"]) == ("seed", "torch")]
    rows = (
        ("latency 224x224, median", "<= 8 ms", single, lambda: single[0]["median_ms"] <= 8),
        (
            "latency, int8", "faster", int8,
            lambda: int8[0]["median_ms"] < single[0]["median_ms"],
        ),
        (
            "latency of `seed` in the same run", ">= 40 times as long", seed,
            lambda: seed[0]["median_ms"] >= 40 * single[0]["median_ms"],
        ),
    )  # fmt: skip
    for text, goal, found, met in rows:
        if not found or not single:
            yield text, goal, "not measured", "-"
        else:
            times = found[0]["median_ms"] / single[0]["median_ms"]
            yield text, goal, f"{found[0]['median_ms']:.1f} ms ({times:.2g} times)", _met(met())


def limits(evaluation: Mapping[str, Any], bench: Mapping[str, Any] | None) -> Iterator[str]:
    """What a reader should consider before trusting the page."""
    count = evaluation["benchmark"]["count"]
    if count < 500:
        yield (
            f"Each cell has {count} composites, while the benchmark asks for 500. Do not compare "
            "these figures with those of a full run."
        )
    if not evaluation.get("trained_on_this_dataset", True):
        learned = evaluation.get("held_out_but_learned")
        yield (
            "The model was trained on another dataset; seen and unseen refer to this one. "
            + (
                f"Its list of assets holds {learned or 'none'} of the assets that are held out "
                "here, compared by checksum."
                if learned is not None
                else "It has no list of assets, so it may have learned from those held out here."
            )
        )
    yield (
        "Composites are cutouts pasted on photos. The slices and curves hold the disturbances that "
        "we thought of; a camera has more. Real frames are of "
        f"{len(evaluation['frames'] or ())} camera(s)."
    )
    for cell in [table["cells"]["unseen_unseen"] for table in evaluation["masks"].values()][:1]:
        if cell["mean"]:
            yield (
                f"Unseen means {cell['cutouts']} cutouts and {cell['backgrounds']} backgrounds. "
                "With so few, the intervals are rough and too narrow."
            )
    yield (
        "On clean composites picture and plate agree to the last bit away from the object. That "
        "favours thresholds, so this slice says least about a camera."
    )
    yield (
        "Prediction registers the plate before the network runs and reads outlines against it "
        "afterwards; in pictures at least 1.2 times as large as the network's input, it also runs "
        "the network on a close-up of the foreground. The rows of the threshold after registration "
        "show what registration alone gains; research log 23 and 25 say what outlines gain."
    )
    yield (
        "Objects in the rows 'anywhere' have a distance that was drawn at random. No network can "
        "know it, so inside the mask even a perfect network would not score perfectly."
    )
    if evaluation["sensor_depth"]:
        yield (
            "Measured depth covers a handful of pictures, most of them of one room: it shows gross "
            "failures, and is no ranking."
        )
    if bench is None:
        yield "Latency was not measured for this page."


def figure_text(found: Mapping[str, Any], name: str, spread: int = 1) -> str:
    """A mean with its interval."""
    span = interval_text(found, name) if spread else ""
    return mean_text(found, name) + (f" [{span}]" if span not in ("", "-") else "")


def mean_text(found: Mapping[str, Any], name: str) -> str:
    """A mean, or a dash."""
    return f"{found['mean'][name]:.3f}" if found["mean"] and name in found["mean"] else "-"


def interval_text(found: Mapping[str, Any], name: str) -> str:
    """An interval, or a dash."""
    interval = (found["interval"] or {}).get(name)
    return f"{interval[0]:.3f}, {interval[1]:.3f}" if interval else "-"


def _point(curves: Mapping[str, Any] | None, name: str, value: float) -> Mapping[str, Any] | None:
    for point in curves[name]["points"] if curves else ():
        if point["value"] == value:
            columns: Mapping[str, Any] = point["columns"]
            return columns
    return None


def _met(whether: bool) -> str:
    return "yes" if whether else "**no**"
