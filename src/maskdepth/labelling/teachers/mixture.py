"""Two teachers as one: the first everywhere, the second where both agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from maskdepth.config import Settings
from maskdepth.depth import fit_scale_shift_robust, inverse_depth
from maskdepth.errors import ConfigError, TeacherError, first_line
from maskdepth.files import read_bytes
from maskdepth.images import shrink_disparity
from maskdepth.labelling.teachers.onnx_file import OnnxTeacher
from maskdepth.labelling.teachers.teacher import Teacher, TeacherInfo, checked_maps

_Map = NDArray[np.float64]

_REVISION: Final = 1  # of the arithmetic; a change makes another teacher
_SIDE: Final = 128  # px, of the shrunk copies that are fitted and compared
_LOW, _NEAR = 1.0, 98.0  # percentiles: about the farthest pixel, and about the nearest
_FITTED_SHARE: Final = 0.1  # of the pixels; with fewer the second teacher says nothing
_AGREE: Final = (0.5, 1.0)  # |log ratio| up to which the second counts in full, and at all
_BORDER: Final = 0.3  # the second fades out over this share of the distance before its limit
# Near over far, in the first's disparity. Up to the first figure pictures are rooms, where the
# second counts in full; from the second figure it counts no more. In 13 rooms it was 2 to 5.3.
_SPREAD: Final = (5.0, 9.0)
# Where infinity lies, as a share of the mixture's low percentile; see docs/decisions.md, 88.
_INFINITY: Final = 0.4
_FLOOR: Final = 1e-3  # of the near percentile: no inverse depth is below it


class _Facts(Settings):
    """A mixture's JSON; docs/labelling.md explains it."""

    everywhere: str = Field(min_length=1)
    where_they_agree: str = Field(min_length=1)
    not_beyond_m: float | None = Field(default=None, gt=0)


@dataclass(frozen=True)
class Mixture:
    """The map that two teachers make of one picture.

    Attributes:
        inverse: float32 (H, W) inverse depth up to a scale; NaN where the first has none.
        order_agreement: rank correlation of the two teachers' inverse depth, -1 to 1; NaN where
            the second says nothing.
    """

    inverse: NDArray[np.float32]
    order_agreement: float


class MixedTeacher:
    """A `Teacher` of inverse depth up to a scale, made of two ONNX files.

    Args:
        path: a JSON that names both: ``everywhere``, ``where_they_agree``, and the distance
            ``not_beyond_m`` from which the second is not believed.
        device: as for `OnnxTeacher`.

    Raises:
        TeacherError: a file is missing or unreadable, or the second cannot be scaled.
        UsageError: an unknown device, or one that this ONNX Runtime cannot use.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        facts = _load_facts(path)
        self._first = _open(path, "everywhere", facts.everywhere, device)
        self._second = _open(path, "where_they_agree", facts.where_they_agree, device)
        first, second = self._first.info, self._second.info
        if not second.proportional:
            raise TeacherError(
                f"a 'where_they_agree' in {path} of kind depth or inverse depth", second.kind,
                "exchange the two",
                f"{second.name} gives disparity, whose shift is unknown: it cannot be "
                "'where_they_agree'.",
            )  # fmt: skip
        if facts.not_beyond_m and second.units != "metres":
            raise TeacherError(
                f"a 'where_they_agree' in metres for 'not_beyond_m' in {path}", second.units,
                "leave 'not_beyond_m' out",
                f"{second.name} has no metres, so 'not_beyond_m' means nothing.",
            )  # fmt: skip
        self._limit = facts.not_beyond_m
        decisive = f"{_REVISION} {self._limit} {first.version} {second.version}"
        licences = f"{first.name}: {first.licence}; {second.name}: {second.licence}"
        self.info = TeacherInfo(
            name=f"{first.name}+{second.name}",
            version=hashlib.sha256(decisive.encode()).hexdigest()[:16],
            kind="inverse depth",
            units="relative",
            range=None,
            size=None,
            licence=licences,
        )

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See ``Teacher``."""
        return [mixture.inverse for mixture in self.mixtures(pictures)]

    def mixtures(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Mixture]:
        """The map of each picture, and how far the two teachers agree on it."""
        firsts = checked_maps(self._first, pictures)
        seconds = checked_maps(self._second, pictures)
        return [
            mix(_inverse(first, self._first.info), _inverse(second, self._second.info), self._limit)
            for first, second in zip(firsts, seconds, strict=True)
        ]


def maps_with_agreement(
    teacher: Teacher, pictures: Sequence[NDArray[np.uint8]]
) -> list[tuple[NDArray[np.float32], float | None]]:
    """A teacher's maps, each with the ``order_agreement`` of a mixture; None of a single network.

    Raises:
        TeacherError: see ``checked_maps``.
    """
    if isinstance(teacher, MixedTeacher):
        return [(each.inverse, each.order_agreement) for each in teacher.mixtures(pictures)]
    return [(values, None) for values in checked_maps(teacher, pictures)]


def mix(first: _Map, second: _Map, not_beyond_m: float | None = None) -> Mixture:
    """The first teacher's map, averaged with the second's where both agree.

    The first is fitted to the second by a robust line, whose zero must lie within one low
    percentile of the first's own, since the line is otherwise flattened by what both disagree on.
    Then the second has up to half of the weight: it fades out as the two differ by a factor of
    1.6 to 2.7, towards the limit, and as the first sees farther than a room is deep. Last, zero is
    moved near to the low percentile, which in the open is the sky.

    Args:
        first: (H, W) inverse depth up to scale and shift; NaN is invalid.
        second: (H, W) inverse depth, near the first up to scale and shift; NaN is invalid.
        not_beyond_m: depth from which the second counts no more; it is then in 1/metres.
    """
    valid = np.isfinite(first)
    if not valid.any():
        return Mixture(first.astype(np.float32), float("nan"))
    low, far, near = np.percentile(first[valid], (_LOW, 2 * _LOW, _NEAR))
    order, mixed = float("nan"), first
    small = tuple(
        shrink_disparity(plane.astype(np.float32), _SIDE).astype(np.float64)
        for plane in (first, second)
    )
    fitted = np.isfinite(small[0]) & np.isfinite(small[1]) & (small[1] > 0)
    if near > low and fitted.mean() >= _FITTED_SHARE:
        order = _rank_correlation(small[0][fitted], small[1][fitted])
        shift, scale = _line(small[0], small[1], fitted, abs(float(low)))
        moved = np.maximum(scale * (first - shift), _FLOOR * scale * (near - shift))
        weight = _weight(moved, second, not_beyond_m) * _fade(near / max(far, 1e-9), *_SPREAD)
        usable = np.where(weight > 0, second, 0.0)
        mixed = moved + 0.5 * weight * (usable - moved)
    low, near = np.percentile(mixed[valid], (_LOW, _NEAR))
    mixed = np.maximum(mixed - _INFINITY * low, _FLOOR * near)
    return Mixture(mixed.astype(np.float32), order)


def _line(
    first: _Map, second: _Map, fitted: NDArray[np.bool_], reach: float
) -> tuple[float, float]:
    """The first's value at which the second is 0, within ``reach`` of 0, and the scale from there.

    The scale is the median ratio, so that a bound that holds does not spoil it.
    """
    slope, offset = fit_scale_shift_robust(first, second, fitted)
    zero = -offset / slope if slope > 0 else -reach
    zero = float(np.clip(zero, -reach, reach / 2))
    above = np.maximum(first[fitted] - zero, 1e-9)
    return zero, float(np.exp(np.median(np.log(second[fitted] / above))))


def _weight(first: _Map, second: _Map, not_beyond_m: float | None) -> _Map:
    """From 0 to 1: how much the second counts, of what the first's fitted map says."""
    usable = np.isfinite(first) & np.isfinite(second) & (second > 0)
    apart = np.full(first.shape, np.inf)
    apart[usable] = np.abs(np.log(first[usable] / second[usable]))
    weight = _fade(apart, *_AGREE)
    if not_beyond_m is not None:
        for inverse in (first, second):
            share = 1 / np.maximum(np.nan_to_num(inverse * not_beyond_m), 1e-9)
            weight = weight * _fade(share, 1 - _BORDER, 1)
    return weight


def _fade(values: NDArray[np.float64] | float, full: float, none: float) -> _Map:
    """1 up to ``full``, falling to 0 at ``none``."""
    return np.asarray(np.clip((none - np.asarray(values)) / (none - full), 0, 1))


def _rank_correlation(first: _Map, second: _Map) -> float:
    """Spearman's, of two lists that hold more than one value each; 0 where one is constant."""
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    ranks = [
        np.argsort(np.argsort(values, kind="stable")).astype(float) for values in (first, second)
    ]
    return float(np.corrcoef(np.stack(ranks))[0, 1])


def _inverse(values: NDArray[np.float32], info: TeacherInfo) -> _Map:
    return inverse_depth(values) if info.kind == "depth" else values.astype(np.float64)


def _open(path: Path, key: str, name: str, device: str) -> OnnxTeacher:
    """One of the two teachers, whose file is named from the JSON's folder."""
    if Path(name).suffix.lower() != ".onnx":
        expected, got = f"an ONNX file for {key!r} in {path}", repr(name)
        problem = f"{path} names {name!r} as {key!r}, which is no ONNX file."
        raise TeacherError(expected, got, "name one that has a JSON beside it", problem)
    return OnnxTeacher(path.parent / name, device)


def _load_facts(path: Path) -> _Facts:
    try:
        return _Facts.parse(json.loads(read_bytes(path)), str(path))
    except (OSError, ValueError, RecursionError) as error:
        expected, got = f"a JSON at {path} that names two teachers", first_line(error)
        problem = f"{path}, which should name two teachers, cannot be read: {got}."
        remedy = "write one, as the page on labelling describes"
        raise TeacherError(expected, got, remedy, problem) from None
    except ConfigError as error:
        raise TeacherError(error.expected, error.got, error.remedy, error.problem) from None
