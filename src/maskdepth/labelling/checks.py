"""Checks of a label against its picture: whether it is worth learning from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize, shrink_disparity
from maskdepth.labelling.teachers.mixture import maps_with_agreement
from maskdepth.labelling.teachers.teacher import Teacher, TeacherInfo, disparity_map

Flag = Literal[
    "nothing valid",
    "constant",
    "mostly invalid",
    "out of range",
    "flat",
    "upside down",
    "unlike the picture",
    "teachers disagree",
]

UNUSABLE: Final[frozenset[Flag]] = frozenset({"nothing valid", "constant"})
"""Flags of maps that cannot be a label at all."""

_SIDE: Final = 192  # px, of the shrunk copy that is measured
_MIN_VALID: Final = 0.5
_RANGE_SLACK: Final = 0.1  # of the range, on both sides
_MAX_OUTSIDE: Final = 0.25
_MIN_SPREAD: Final = 0.05  # of disparity, between the 5th and the 95th percentile
_UPSIDE_DOWN: Final = -0.6  # of the vertical order
_EDGE_SHARE: Final = 0.05  # of the pixels, which are the strongest edges
_MIN_AGREEMENT: Final = 0.75
_MIN_ORDER: Final = 0.0  # of two teachers' rank correlation
_MIN_LABELS: Final = 8  # from which the median of many labels says something of their teacher
_MIN_MEDIAN_AGREEMENT: Final = 1.1


@dataclass(frozen=True)
class LabelFigures:
    """Figures of a label beside its picture.

    Attributes:
        spread: of disparity, between the 5th and the 95th percentile.
        order: see ``vertical_order``.
        agreement: see ``edge_agreement``.
    """

    spread: float
    order: float
    agreement: float

    def flags(self) -> tuple[Flag, ...]:
        """Why a pseudo-label with these figures is unfit to learn from."""
        flags: list[Flag] = []
        if self.spread < _MIN_SPREAD:
            flags.append("flat")
        if self.order < _UPSIDE_DOWN:
            flags.append("upside down")
        if self.agreement < _MIN_AGREEMENT:
            flags.append("unlike the picture")
        return tuple(flags)


def check_map(
    values: NDArray[np.float32], disparity: NDArray[np.float32], info: TeacherInfo
) -> tuple[Flag, ...]:
    """Flags of a teacher's map by itself, without its picture.

    Args:
        values: float32 (H, W) in the kind and units of ``info``; NaN where invalid.
        disparity: the map as disparity, see ``disparity_map``.
    """
    valid = np.isfinite(disparity)
    if not valid.any():
        return ("nothing valid",)
    if disparity[valid].min() == disparity[valid].max():
        return ("constant",)
    flags: list[Flag] = []
    if valid.mean() < _MIN_VALID:
        flags.append("mostly invalid")
    if info.range is not None:
        low, high = info.range
        slack = _RANGE_SLACK * (high - low)
        finite = values[np.isfinite(values)]
        if ((finite < low - slack) | (finite > high + slack)).mean() > _MAX_OUTSIDE:
            flags.append("out of range")
    return tuple(flags)


def measure_label(picture: NDArray[np.uint8], disparity: NDArray[np.float32]) -> LabelFigures:
    """The figures of a label that has valid pixels.

    Args:
        picture: uint8 (H, W, 3).
        disparity: float32 (H, W) in [0, 1], near = 1, NaN where invalid.
    """
    low, high = np.percentile(disparity[np.isfinite(disparity)], (5, 95))
    return LabelFigures(
        spread=round(float(high - low), 4),
        order=round(vertical_order(disparity), 4),
        agreement=round(edge_agreement(picture, disparity), 4),
    )


def judge_label(
    picture: NDArray[np.uint8],
    values: NDArray[np.float32],
    info: TeacherInfo,
    order_agreement: float | None = None,
) -> tuple[NDArray[np.float32], tuple[Flag, ...], LabelFigures | None]:
    """A teacher's map as disparity, with its flags and figures.

    Args:
        picture: uint8 (H, W, 3).
        values: float32 (H, W) in the kind and units of ``info``.
        order_agreement: rank correlation of the two teachers of a mixture; None or NaN where
            there is none.

    Returns:
        Disparity, float32 (H, W); flags; figures, or None where a flag is one of ``UNUSABLE``.
    """
    disparity = disparity_map(values, info)
    flags = check_map(values, disparity, info)
    if UNUSABLE & set(flags):
        return disparity, flags, None
    figures = measure_label(picture, disparity)
    flags = (*flags, *figures.flags())
    if order_agreement is not None and order_agreement < _MIN_ORDER:
        flags = (*flags, "teachers disagree")
    return disparity, flags, figures


def judge_pictures(
    teacher: Teacher, pictures: Sequence[NDArray[np.uint8]]
) -> list[tuple[NDArray[np.float32], tuple[Flag, ...]]]:
    """A teacher's disparity of each picture, with its flags; see ``judge_label``.

    Args:
        pictures: uint8 (H, W, 3) RGB, of any sizes.

    Raises:
        TeacherError: see ``checked_maps``.
    """
    maps = maps_with_agreement(teacher, pictures)
    return [
        judge_label(picture, values, teacher.info, agreement)[:2]
        for picture, (values, agreement) in zip(pictures, maps, strict=True)
    ]


def doubts(figures: Sequence[LabelFigures]) -> Iterator[str]:
    """Reasons to doubt a teacher that follow from many of its labels, line by line."""
    if len(figures) < _MIN_LABELS:
        return
    if np.median([each.order for each in figures]) < 0:
        yield "most labels are nearer above than below: is the teacher's kind what it says?"
    agreement = float(np.median([each.agreement for each in figures]))
    if agreement < _MIN_MEDIAN_AGREEMENT:
        yield (
            f"the labels' edges lie on the pictures' no better than by chance ({agreement:.2f}, "
            "where 1 is chance): is the teacher made for such pictures?"
        )


def vertical_order(disparity: NDArray[np.float32]) -> float:
    """Correlation of the rows' median disparity with their order: 1 where nearer is lower.

    0 where too few rows are valid or differ. A camera that looks ahead has near ground below and
    distant things above; depth taken for disparity turns this round.
    """
    small = shrink_disparity(disparity, _SIDE)
    rows = np.flatnonzero(np.isfinite(small).mean(axis=1) >= _MIN_VALID)
    if len(rows) < 3:
        return 0.0
    medians = np.nanmedian(small[rows], axis=1)
    if medians.max() - medians.min() < 1e-6:
        return 0.0
    return float(np.corrcoef(rows, medians)[0, 1])


def edge_agreement(picture: NDArray[np.uint8], disparity: NDArray[np.float32]) -> float:
    """How much stronger the picture's edges are where the disparity's strongest ones lie.

    The mean of the picture's gradient there over its mean everywhere. Chance gives 1; so does a
    picture or a label without edges.
    """
    small = shrink_disparity(disparity, _SIDE)
    height, width = small.shape
    grey = cv2.cvtColor(resize(picture, height, width), cv2.COLOR_RGB2GRAY).astype(np.float32)
    # Widened by a few pixels: a network's edges are soft and slightly off.
    light = cv2.dilate(_gradient(cv2.GaussianBlur(grey, (0, 0), 1.0)), np.ones((5, 5), np.uint8))
    edges = _gradient(cv2.GaussianBlur(small, (0, 0), 1.0))  # NaN spreads over its neighbours
    valid = np.isfinite(edges)
    if not valid.any() or light[valid].mean() < 1e-6:
        return 1.0
    threshold = np.quantile(edges[valid], 1 - _EDGE_SHARE)
    if threshold <= 0:
        return 1.0
    return float(light[valid & (edges >= threshold)].mean() / light[valid].mean())


def _gradient(values: NDArray[Any]) -> NDArray[np.float32]:
    across = cv2.Sobel(values, cv2.CV_32F, 1, 0)
    return np.hypot(across, cv2.Sobel(values, cv2.CV_32F, 0, 1)).astype(np.float32)
