"""A teacher's labels of composites, beside layers.

Two ways to label a composite are compared: the prior work's, where a teacher gets the composite,
and the plate's label with a layer for each object. Nobody knows the true depth of a pasted object,
so a teacher's two maps are compared first. Its map of the composite is fitted by scale and shift to
its map of the plate where no object is; the two should differ more at an object than elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import fit_scale_shift_robust
from maskdepth.errors import UsageError
from maskdepth.evaluation.columns import AssetGroups, Column, ColumnBuilder
from maskdepth.labelling.checks import judge_pictures
from maskdepth.labelling.teachers import Teacher
from maskdepth.metrics import MASK_THRESHOLD, ordinal_accuracy
from maskdepth.progress import OnProgress
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.spec import DatasetSpec

_GROUP: Final = 8  # composites given to a teacher at once, with their plates
_RING: Final = 0.02  # of the side: how far the boundary's ring reaches to both sides
_MIN_PIXELS: Final = 20  # of an object, and of what surrounds it
_NOISE: Final = 0.9  # quantile of what differs where no object is
_SIZES: Final = {"under_3_percent": 0.03, "3_to_10_percent": 0.1, "above_10_percent": 1.0}

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Regions = Mapping[str, Mask]


@dataclass(frozen=True)
class LabelComparison:
    """A teacher's labels of composites beside its labels of plates, and beside layers.

    Attributes:
        layers_from: how many backgrounds have a label of each kind.
        empty: composites without a visible object.
        flagged: composites whose label, or whose plate's label, fails a check.
        objects: ``missed``, where the median difference of composite and plate is no larger inside
            the mask than outside; the same by the object's share of the picture;
            ``within_noise``, where it is no larger than the 90th percentile outside; ``in_front``,
            where the object came nearer than the plate beneath; ``inside`` and ``outside``, the
            medians; ``control_missed`` and ``control_within_noise``, for the mirrored mask where
            nothing was pasted.
        layers: ``difference_`` (mean absolute difference of disparity, after a fit where no object
            is) and ``ordinal_`` (accuracy) for ``inside``, ``ring`` and ``elsewhere``.
    """

    teacher: str
    layers_from: Mapping[str, int]
    composites: int
    size: int
    empty: int
    flagged: int
    objects: Column
    layers: Column


def evaluate_labels(
    teacher: Teacher,
    spec: DatasetSpec,
    folder: Path,
    *,
    count: int = 500,
    on_progress: OnProgress = lambda *_: None,
) -> LabelComparison:
    """How a teacher's labels of composites compare with its labels of plates, and with layers.

    The composites are the first of the dataset's training, the same that ``label_composites``
    would label. Those without a visible object, and those whose label of composite or plate fails
    a check, are counted and left out.

    Args:
        spec, folder: the dataset; layers are compared where its backgrounds are labelled.
        count: composites.
        on_progress: called with the number of composites that are done with, and of all.

    Raises:
        UsageError: a count below 1.
        TeacherError: the teacher breaks a promise.
        AssetError, DatasetError: see ``spec.pool`` and the catalogue.
    """
    if count < 1:
        raise UsageError("a count of 1 or more", str(count), "leave --count out for 500")
    catalogue = spec.catalogue(folder)
    recipes = sample_recipes(spec.rules, spec.pool(), spec.seed, 0, count)
    composites = (render(recipe, spec.rules.size, catalogue) for recipe in recipes)
    groups = AssetGroups.of(spec)
    objects, layers = ColumnBuilder(groups), ColumnBuilder(groups)
    done = empty = flagged = 0
    while group := list(itertools.islice(composites, _GROUP)):
        shown = [picture for each in group for picture in (each.image, each.plate)]
        labels = judge_pictures(teacher, shown)
        for composite, (label, flags), (beneath, plate_flags) in zip(
            group, labels[::2], labels[1::2], strict=True
        ):
            regions = _regions(composite.alpha > MASK_THRESHOLD)
            if min(regions["inside"].sum(), regions["elsewhere"].sum()) < _MIN_PIXELS:
                empty += 1
            elif flags or plate_flags:
                flagged += 1
            else:
                objects.add(
                    composite.recipe, _compare_with_plate(label, beneath, composite, regions)
                )
                if composite.disparity is not None:
                    layers.add(
                        composite.recipe, _compare_with_layers(label, composite.disparity, regions)
                    )
        done += len(group)
        on_progress(done, count)
    return LabelComparison(
        teacher=f"{teacher.info.name} {teacher.info.version}",
        layers_from=spec.label_kinds,
        composites=count,
        size=spec.rules.size,
        empty=empty,
        flagged=flagged,
        objects=objects.column(),
        layers=layers.column(),
    )


def _regions(mask: Mask) -> Regions:
    """A mask's core, a ring along its boundary, and the rest of the picture."""
    reach = max(2, round(_RING * len(mask)))
    around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    grown = np.asarray(cv2.dilate(mask.astype(np.uint8), around), np.bool_)
    core = np.asarray(cv2.erode(mask.astype(np.uint8), around), np.bool_)
    # An object too thin to have a core has all of its pixels judged.
    inside = core if core.sum() >= _MIN_PIXELS else mask
    return {"inside": inside, "ring": grown & ~core, "elsewhere": ~grown}


def _aligned(label: Floats, target: Floats, region: Mask) -> NDArray[np.float64]:
    """A label in the units of another one, by a fit where no object is."""
    region = region & np.isfinite(label) & np.isfinite(target)
    if not region.any():
        return np.full(label.shape, np.nan)
    scale, shift = fit_scale_shift_robust(label, target, region)
    return scale * np.asarray(label, np.float64) + shift


def _compare_with_plate(
    label: Floats, beneath: Floats, composite: Composite, regions: Regions
) -> dict[str, float]:
    """How a teacher's labels of composite and plate differ at the object and elsewhere."""
    nearer = _aligned(label, beneath, regions["elsewhere"]) - beneath
    change = np.abs(nearer)
    outside = _finite(change, regions["elsewhere"])
    inside = _finite(change, regions["inside"])
    if not inside.size or not outside.size:
        return {}
    usual, noise = float(np.median(outside)), float(np.quantile(outside, _NOISE))
    found = float(np.median(inside))
    missed = float(found <= usual)
    share = float((composite.alpha > MASK_THRESHOLD).mean())
    size = next(name for name, largest in _SIZES.items() if share <= largest)
    figures = {
        "missed": missed,
        f"missed_{size}": missed,
        "within_noise": float(found <= noise),
        "in_front": float(np.median(_finite(nearer, regions["inside"])) > 0),
        "inside": found,
        "outside": usual,
    }
    mirrored = regions["inside"][:, ::-1] & regions["elsewhere"]
    control = _finite(change, mirrored)
    if 2 * control.size > regions["inside"].sum():
        figures["control_missed"] = float(np.median(control) <= usual)
        figures["control_within_noise"] = float(np.median(control) <= noise)
    return figures


def _compare_with_layers(label: Floats, layered: Floats, regions: Regions) -> dict[str, float]:
    """Where a teacher's label differs from the layers, and where it orders pixels otherwise."""
    aligned = _aligned(label, layered, regions["elsewhere"])
    change = np.abs(aligned - layered)
    valid = np.isfinite(change)
    figures = {}
    for name, region in regions.items():
        changes = _finite(change, region)
        if changes.size:
            figures[f"difference_{name}"] = float(changes.mean())
        order = ordinal_accuracy(label, layered, region & valid)
        if order is not None:
            figures[f"ordinal_{name}"] = order
    order = ordinal_accuracy(label, layered, valid)
    return figures if order is None else figures | {"ordinal_whole": order}


def _finite(values: NDArray[np.float64], region: Mask) -> NDArray[np.float64]:
    return values[region & np.isfinite(values)]
