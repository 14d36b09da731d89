"""Depth of pictures alone, against depth that was measured, or drawn exactly."""

from __future__ import annotations

import glob
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import (
    decode_depth_mm,
    decode_disparity,
    depth_from_disparity,
    depth_from_disparity_aligned,
    disparity_from_depth,
)
from maskdepth.errors import AssetError, ModelError
from maskdepth.evaluation.baselines import vertical_gradient
from maskdepth.evaluation.columns import OMITTED
from maskdepth.evaluation.composite_depth import teacher_disparity
from maskdepth.images import exif_orientation, load_grey16, load_picture
from maskdepth.inference.model.card import NO_DEPTH
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.teachers import Teacher
from maskdepth.labelling.teachers.recorded import turn_like
from maskdepth.metrics import MetricMean, depth_metrics, disparity_metrics
from maskdepth.picture_formats import DISPARITY_SUFFIX, MILLIMETRES_SUFFIX, PICTURE_SUFFIXES

ALL_PICTURES: Final = "all"
"""The group of all pictures with measured depth."""

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DepthScores:
    """Means over pictures; the order is judged where a picture has pairs to order.

    Attributes:
        abs_rel, delta1: with scale and shift of disparity fitted to each picture.
        scale_abs_rel, scale_delta1: with the scale alone fitted: objects can stand on the ground of
            such depth. None in evaluations that are older than these figures.
    """

    abs_rel: float
    delta1: float
    ordinal_accuracy: float | None = field(default=None, metadata=OMITTED)
    scale_abs_rel: float | None = field(default=None, metadata=OMITTED)
    scale_delta1: float | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True)
class DepthGroup:
    """Depth of pictures alone, against depth that was measured or drawn exactly."""

    pictures: int
    model: DepthScores
    vertical_gradient: DepthScores
    teacher: DepthScores | None = field(default=None, metadata=OMITTED)
    others: Mapping[str, DepthScores] = field(default_factory=dict)


def evaluate_depth(
    predictor: Predictor,
    folder: Path,
    *,
    others: Mapping[str, Predictor] | None = None,
    teacher: Teacher | None = None,
) -> dict[str, DepthGroup]:
    """Disparity of pictures alone against depth that was measured, or drawn exactly.

    Scale and shift, or the scale alone, are fitted in inverse depth on a picture's valid pixels;
    then depth is clipped to 0.1 to 80 m, or to as many times the distance of the nearest pixel
    where labels are disparity. Sky is left out.

    Args:
        folder: pictures with ``<stem>_depth_mm.png`` beside them, 16-bit millimetres, 0 invalid, or
            else with ``<stem>_disparity.png`` as the sample pack has them.
        others: more models by name; those that never learned depth are left out.
        teacher: another baseline.

    Returns:
        Means for each group of pictures (the stem before its last underscore) and for ``all``.

    Raises:
        AssetError: there is no such pair.
        ModelError: the model never learned depth.
    """
    if predictor.card.depth == NO_DEPTH:
        problem = "This model learned masks alone, and predicts no depth."
        got, remedy = "one of masks alone", "choose another model"
        raise ModelError("a model that learned depth", got, remedy, problem)
    rivals = {name: each for name, each in (others or {}).items() if each.card.depth != NO_DEPTH}
    methods: dict[str, Callable[[Picture], Floats]] = {
        "model": _disparity_of(predictor),
        "vertical_gradient": lambda image: vertical_gradient(*image.shape[:2]),
    }
    if teacher is not None:
        methods["teacher"] = lambda image: teacher_disparity(teacher, image)
    for name, other in rivals.items():
        methods[f"other {name}"] = _disparity_of(other)
    groups: dict[str, dict[str, MetricMean]] = defaultdict(
        lambda: {name: MetricMean() for name in methods}
    )
    for stem, image, depth_m in _load_pairs(folder):
        group = stem.rpartition("_")[0] or stem
        # A group that is itself called "all" must not pass for the mean over all.
        names = f"{group}_" if group == ALL_PICTURES else group, ALL_PICTURES
        for method, predict in methods.items():
            figures = _depth_figures(predict(image), depth_m)
            for name in names:
                groups[name][method].add(figures)
    return {
        group: DepthGroup(
            pictures=len(means["model"]),
            model=_scores(means["model"]),
            vertical_gradient=_scores(means["vertical_gradient"]),
            teacher=_scores(means["teacher"]) if teacher else None,
            others={name: _scores(means[f"other {name}"]) for name in rivals},
        )
        for group, means in sorted(groups.items())
    }


def _disparity_of(predictor: Predictor) -> Callable[[Picture], Floats]:
    return lambda image: predictor.predict(image).disparity


def _scores(means: MetricMean) -> DepthScores:
    figures = means.mean()
    return DepthScores(
        figures["abs_rel"],
        figures["delta1"],
        figures.get("ordinal_accuracy"),
        figures["scale_abs_rel"],
        figures["scale_delta1"],
    )


def _depth_figures(disparity: Floats, depth_m: Floats) -> dict[str, float]:
    valid = np.isfinite(depth_m)
    aligned = depth_from_disparity_aligned(disparity, depth_m, valid)
    scaled = depth_from_disparity_aligned(disparity, depth_m, valid, fit_shift=False)
    of_scaled = depth_metrics(scaled, depth_m, valid)
    target = disparity_from_depth(depth_m)
    return (
        depth_metrics(aligned, depth_m, valid)
        | disparity_metrics(disparity, target, valid)
        | {f"scale_{name}": of_scaled[name] for name in ("abs_rel", "delta1")}
    )


def _load_pairs(folder: Path) -> Iterator[tuple[str, Picture, Floats]]:
    """Stem, picture and depth, in the order of their stems."""
    check_folder(folder)
    labels = {
        label.name.removesuffix(suffix): label
        for suffix in (DISPARITY_SUFFIX, MILLIMETRES_SUFFIX)  # measured depth replaces disparity
        for label in folder.glob(f"*{suffix}")
    }
    if not labels:
        raise AssetError(
            f"pictures with {MILLIMETRES_SUFFIX} or {DISPARITY_SUFFIX} beside them in {folder}",
            "none",
            "check the path",
        )
    for stem, label in sorted(labels.items()):
        picture = find_picture(folder, stem)
        image = load_picture(picture)
        depth_m = turn_like(
            _load_depth(label),
            (image.shape[0], image.shape[1]),
            exif_orientation(picture),
            as_stored=label.name.endswith(MILLIMETRES_SUFFIX),
        )
        if image.shape[:2] != depth_m.shape:
            raise AssetError(
                f"depth of {image.shape[1]}x{image.shape[0]} px in {label}",
                f"{depth_m.shape[1]}x{depth_m.shape[0]}",
                "resize it to its picture",
            )
        valid_m = depth_m[np.isfinite(depth_m)]
        if not valid_m.size or valid_m.min() == valid_m.max():
            raise AssetError(
                f"depth in {label} that differs from place to place",
                "one depth everywhere" if valid_m.size else "no valid pixel",
                "leave this picture out",
            )
        yield stem, image, depth_m


def _load_depth(label: Path) -> Floats:
    codes = load_grey16(label)
    if label.name.endswith(MILLIMETRES_SUFFIX):
        return decode_depth_mm(codes)
    return depth_from_disparity(decode_disparity(codes))


def check_folder(folder: Path) -> None:
    """Stop if there is no folder."""
    if not folder.is_dir():
        problem = f"{folder} is a file, not a folder of pictures."
        if not folder.exists():
            problem = f"There is no folder of pictures at {folder}."
        raise AssetError("a folder of pictures", str(folder), "check the path", problem)


def find_picture(folder: Path, stem: str) -> Path:
    """The one picture of that stem, whatever its suffix."""
    found = [
        path
        for path in folder.glob(f"{glob.escape(stem)}.*")
        if path.stem == stem and path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()
    ]
    if len(found) != 1:
        names = ", ".join(sorted(path.name for path in found))
        raise AssetError(
            f"one picture called {stem} in {folder}",
            names or "none",
            "leave one" if found else "put it there",
            f"{folder} has several pictures called {stem}: {names}."
            if found
            else f"{folder} has no picture called {stem}.",
        )
    return found[0]
