"""Depth labels that a teacher gave each composite, and the composites that are held out.

A dataset that holds no asset out (``compose --split none``) is judged as the prior work was: on the
last tenth of its composites, which show the same cutouts and backgrounds as the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.datasets.build import Dataset
from maskdepth.datasets.picture_folders import FolderDisparity, load_folder_record
from maskdepth.datasets.shards.layout import is_materialised
from maskdepth.datasets.shards.reader import ShardReader, StoredDisparity
from maskdepth.errors import DatasetError
from maskdepth.synthesis.label_facts import TeacherLabel

_HELD_OUT_SHARE: Final = 0.1


@dataclass(frozen=True, eq=False)
class CompositeLabels:
    """Labels of the first composites of a dataset.

    Attributes:
        disparity: by sample number, float32 (S, S) in [0, 1], NaN where unknown.
        teacher: made them.
    """

    disparity: Sequence[NDArray[np.float32]]
    teacher: TeacherLabel


@dataclass(frozen=True)
class CompositeSplit:
    """The composites to learn from and those held out, by sample number."""

    learned: range
    held_out: range


def find_composite_labels(dataset: Dataset) -> CompositeLabels | None:
    """The labels in a dataset's shards or, where those have none, in its ``output_depth``.

    Raises:
        DatasetError: shards or folders are damaged.
    """
    fingerprint = dataset.spec.fingerprint
    if is_materialised(dataset.folder):
        reader = ShardReader(dataset.folder)
        teacher = reader.manifest.teacher
        if teacher is not None and reader.manifest.fingerprint == fingerprint:
            return CompositeLabels(StoredDisparity(reader), teacher)
    record = load_folder_record(dataset.folder)
    if record is None or record.fingerprint != fingerprint or not record.count:
        return None
    size = dataset.spec.rules.size
    return CompositeLabels(FolderDisparity(dataset.folder, record.count, size), record.teacher)


def load_composite_labels(dataset: Dataset) -> CompositeLabels:
    """As ``find_composite_labels``, where there have to be some.

    Raises:
        DatasetError: there are none, or they are damaged.
    """
    labels = find_composite_labels(dataset)
    if labels is None:
        raise DatasetError(
            f"a teacher's labels of this dataset's composites in {dataset.folder}",
            "none",
            "write them with `maskdepth compose ... --layout folders --teacher ...` or with "
            "`maskdepth label DATASET --teacher ... --per-composite N`",
            f"{dataset.folder} holds no complete labels of this dataset's composites.",
        )
    return labels


def split_composites(dataset: Dataset, labels: CompositeLabels | None) -> CompositeSplit | None:
    """The split of a dataset that holds no asset out; None for others, and for endless composites.

    Args:
        labels: those that are learned from, if any: composites without one then do not count.

    Raises:
        DatasetError: there is only one composite.
    """
    total = dataset.samples if labels is None else len(labels.disparity)
    if dataset.spec.holds_out or total is None:
        return None
    held_out = max(1, round(_HELD_OUT_SHARE * total))
    if held_out == total:
        raise DatasetError(
            "at least two composites, one to learn from and one to judge on",
            str(total),
            "write more with a larger --count",
            "One composite is too few: it takes one to learn from and one to judge on.",
        )
    return CompositeSplit(range(total - held_out), range(total - held_out, total))
