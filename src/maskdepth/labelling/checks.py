"""Is a label worth learning from? What its picture and plain sense say against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize, shrink_disparity
from maskdepth.labelling.teachers.teacher import TeacherInfo, disparity_map

Flag = Literal[
    "nothing valid",
    "constant",
    "mostly invalid",
    "out of range",
    "flat",
    "upside down",
    "unlike the picture",
]

UNUSABLE: Final[frozenset[Flag]] = frozenset({"nothing valid", "constant"})
"""Flags of maps that are no labels at all."""

_SIDE: Final = 192  # px, of the copy that is looked at
_LEAST_VALID: Final = 0.5
_RANGE_SLACK: Final = 0.1  # of the range, on both sides
_MOST_OUTSIDE: Final = 0.25
_LEAST_SPREAD: Final = 0.05  # of disparity, between the 5th and the 95th percentile
_UPSIDE_DOWN: Final = -0.6
_EDGE_SHARE: Final = 0.05
_LEAST_AGREEMENT: Final = 0.75
# Of one label little can be said; of many, that half of them are no better than chance.
_LEAST_TO_JUDGE: Final = 8
_LEAST_MEDIAN_AGREEMENT: Final = 1.1


@dataclass(frozen=True)
class LabelFigures:
    """What a label looks like beside its picture.

    Attributes:
        spread: of disparity, between the 5th and the 95th percentile.
        order: see ``vertical_order``.
        agreement: see ``edge_agreement``.
    """

    spread: float
    order: float
    agreement: float

    def flags(self) -> tuple[Flag, ...]:
        """What of it makes a pseudo-label unfit to learn from."""
        flags: list[Flag] = []
        if self.spread < _LEAST_SPREAD:
            flags.append("flat")
        if self.order < _UPSIDE_DOWN:
            flags.append("upside down")
        if self.agreement < _LEAST_AGREEMENT:
            flags.append("unlike the picture")
        return tuple(flags)


def check_map(
    values: NDArray[np.float32], disparity: NDArray[np.float32], info: TeacherInfo
) -> tuple[Flag, ...]:
    """What is wrong with a teacher's map in itself.

    Args:
        values: float32 (H, W) in the kind and units of ``info``; NaN where invalid.
        disparity: the same as disparity, see ``disparity_map``.
    """
    valid = np.isfinite(disparity)
    if not valid.any():
        return ("nothing valid",)
    if disparity[valid].min() == disparity[valid].max():
        return ("constant",)
    flags: list[Flag] = []
    if valid.mean() < _LEAST_VALID:
        flags.append("mostly invalid")
    if info.range is not None:
        low, high = info.range
        slack = _RANGE_SLACK * (high - low)
        told = values[np.isfinite(values)]
        if ((told < low - slack) | (told > high + slack)).mean() > _MOST_OUTSIDE:
            flags.append("out of range")
    return tuple(flags)


def measure_label(picture: NDArray[np.uint8], disparity: NDArray[np.float32]) -> LabelFigures:
    """The figures of a label with something valid in it.

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
    picture: NDArray[np.uint8], values: NDArray[np.float32], info: TeacherInfo
) -> tuple[NDArray[np.float32], tuple[Flag, ...], LabelFigures | None]:
    """A teacher's map as disparity, what speaks against it, and its figures.

    Args:
        picture: uint8 (H, W, 3).
        values: float32 (H, W) in the kind and units of ``info``.

    Returns:
        Disparity, float32 (H, W); flags; figures, or None where a flag is one of ``UNUSABLE``.
    """
    disparity = disparity_map(values, info)
    flags = check_map(values, disparity, info)
    if UNUSABLE & set(flags):
        return disparity, flags, None
    figures = measure_label(picture, disparity)
    return disparity, (*flags, *figures.flags()), figures


def doubts(figures: Sequence[LabelFigures]) -> Iterator[str]:
    """What many labels together say against their teacher, a line each."""
    if len(figures) < _LEAST_TO_JUDGE:
        return
    if np.median([each.order for each in figures]) < 0:
        yield "most labels are nearer above than below: is the teacher's kind what it says?"
    agreement = float(np.median([each.agreement for each in figures]))
    if agreement < _LEAST_MEDIAN_AGREEMENT:
        yield (
            f"the labels' edges lie on the pictures' no better than by chance ({agreement:.2f}, "
            "where 1 is chance): is the teacher made for such pictures?"
        )


def vertical_order(disparity: NDArray[np.float32]) -> float:
    """Correlation of the rows' median disparity with their order: 1 where nearer is lower.

    0 where there is too little to say. A camera that looks ahead sees ground below and what is
    far above it; depth taken for disparity turns this round.
    """
    small = shrink_disparity(disparity, _SIDE)
    rows = np.flatnonzero(np.isfinite(small).mean(axis=1) >= _LEAST_VALID)
    if len(rows) < 3:
        return 0.0
    medians = np.nanmedian(small[rows], axis=1)
    if medians.max() - medians.min() < 1e-6:
        return 0.0
    return float(np.corrcoef(rows, medians)[0, 1])


def edge_agreement(picture: NDArray[np.uint8], disparity: NDArray[np.float32]) -> float:
    """How much stronger the picture's edges are where the disparity's strongest ones lie.

    The mean of the picture's gradient there over its mean everywhere; 1 is what chance gives,
    and what is returned where either has no edges.
    """
    small = shrink_disparity(disparity, _SIDE)
    height, width = small.shape
    grey = cv2.cvtColor(resize(picture, height, width), cv2.COLOR_RGB2GRAY).astype(np.float32)
    # A few pixels of reach: a network's edges are soft and not quite in place.
    light = cv2.dilate(_gradient(cv2.GaussianBlur(grey, (0, 0), 1.0)), np.ones((5, 5), np.uint8))
    edges = _gradient(cv2.GaussianBlur(small, (0, 0), 1.0))  # NaN spreads over its neighbours
    known = np.isfinite(edges)
    if not known.any() or light[known].mean() < 1e-6:
        return 1.0
    least = np.quantile(edges[known], 1 - _EDGE_SHARE)
    if least <= 0:
        return 1.0
    return float(light[known & (edges >= least)].mean() / light[known].mean())


def _gradient(values: NDArray[Any]) -> NDArray[np.float32]:
    across = cv2.Sobel(values, cv2.CV_32F, 1, 0)
    return np.hypot(across, cv2.Sobel(values, cv2.CV_32F, 0, 1)).astype(np.float32)
