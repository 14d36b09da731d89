"""The check of one file: whether it is a usable cutout or background, and if not, why."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import decode_disparity
from maskdepth.errors import PictureError, first_line
from maskdepth.files import find_beside, read_bytes
from maskdepth.images import NoAlphaError, load_grey16, load_picture
from maskdepth.picture_decoding import TooLargeError
from maskdepth.picture_formats import DISPARITY_SUFFIX, HEIC_SUFFIXES
from maskdepth.records import load_record
from maskdepth.synthesis.duplicates import Thumbnail, thumbnail
from maskdepth.synthesis.ground import GroundPoint, find_ground
from maskdepth.synthesis.panoramas import (
    MIN_PANORAMA_WIDTH,
    View,
    draw_view,
    explain_no_panorama,
)
from maskdepth.synthesis.premultiplied import load_straight_cutout
from maskdepth.synthesis.same_place import Place, place_of

_Codes = TypeVar("_Codes", bound=NDArray[Any])

Problem = Literal[
    "unreadable",
    "too large",
    "no alpha",
    "empty alpha",
    "opaque everywhere",
    "semi-transparent box",
    "too small",
    "not a panorama",
    "duplicate",
    "near-duplicate",
    "premultiplied",
    "label unusable",
    "licences unusable",
]

LABEL_RECORD_FORMAT: Final = "maskdepth-label"
"""What the record of a label calls itself, see `maskdepth.labelling.labels`."""
RELIEF_SUFFIX: Final = "_relief.png"

_MIN_CUTOUT_SIDE_PX: Final = 16
_MIN_BACKGROUND_SIDE_PX: Final = 64
# Alpha as 0..255. Below 5 % it is haze, which does not count for the box.
_BOX_ALPHA: Final = 13
_TRANSPARENT_ALPHA: Final = 25
_SOLID_ALPHA: Final = 230
_OPAQUE_ALPHA: Final = 250
_MAX_ASPECT_ERROR: Final = 0.02
_PANORAMA_LABEL: Final = (
    "depth of a panorama is not supported: `maskdepth label DATASET` labels each of its views"
)


@dataclass(frozen=True)
class Finding:
    """A remark on one file; printed as one line."""

    file: str
    problem: Problem
    detail: str
    dropped: bool

    def __str__(self) -> str:
        fate = "dropped" if self.dropped else "kept"
        return f"{self.file}: {self.problem} ({' '.join(self.detail.split())}), {fate}"


@dataclass(frozen=True)
class Label:
    """A label's file: its absolute path and its checksum."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Checked:
    """What the check keeps of a usable file; small, whatever the size of the picture.

    Attributes:
        sha256: checksum of the file.
        height, width: size of the upright picture, px; for a cutout, of the box of its alpha.
        alpha_share: mask pixels / pixels of that box; 1 for a background.
        thumb: thumbnail, by which near-duplicates are found.
        label: the usable relief or disparity label beside it, if any.
        findings: remarks that do not make the file unusable.
        foot: see ``CutoutAsset``.
        ground: see ``BackgroundAsset``.
        views: the views of a panorama; none of any other picture.
        place: what is kept to compare a background's place with panoramas.
    """

    sha256: str
    height: int
    width: int
    alpha_share: float
    thumb: Thumbnail
    label: Label | None
    findings: tuple[Finding, ...]
    foot: tuple[float, float] = (0.5, 1.0)
    ground: tuple[GroundPoint, ...] = ()
    views: tuple[View, ...] = ()
    place: Place | None = None


class _UnusableError(Exception):
    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(problem)
        self.problem: Problem = problem
        self.detail = detail


def check_cutout(path: Path) -> Checked | Finding:
    """Check a cutout; returns a finding if it is not usable."""
    try:
        data = _read(path)
        cutout, divided = load_straight_cutout(data)
        rows, columns = _usable_box(cutout[..., 3])
    except (_UnusableError, PictureError) as error:
        return _verdict(path, error)
    box = cutout[rows, columns]
    label, _, findings = _label(path, data, RELIEF_SUFFIX, cutout.shape, load_relief_codes)
    if divided:
        detail = "its colours were multiplied by its alpha, and are divided by it on reading"
        findings = (Finding(str(path), "premultiplied", detail, False), *findings)
    mask = box[..., 3] > 127
    checked = _checked(data, box, float(mask.mean()), label, findings)
    return replace(checked, foot=_foot(mask))


def check_background(path: Path, *, beside_panoramas: bool = False) -> Checked | Finding:
    """Check a background; returns a finding if it is not usable.

    Args:
        beside_panoramas: also keep what its place is compared by.
    """
    try:
        data = _read(path)
        picture = load_picture(data)
        _check_sides(picture.shape[0], picture.shape[1], _MIN_BACKGROUND_SIDE_PX)
    except (_UnusableError, PictureError) as error:
        return _verdict(path, error)
    label, codes, findings = _label(path, data, DISPARITY_SUFFIX, picture.shape, load_grey16)
    checked = _checked(data, picture, 1.0, label, findings)
    if beside_panoramas:
        checked = replace(checked, place=place_of(picture, panorama=False))
    if codes is None:
        return checked
    return replace(checked, ground=find_ground(decode_disparity(codes)))


def check_panorama(path: Path, views: int, seed: int) -> Checked | Finding:
    """Check a panorama, and draw that many views; returns a finding if it is not usable."""
    try:
        data = _read(path)
        picture = load_picture(data)
        height, width = picture.shape[:2]
        if problem := explain_no_panorama(picture):
            raise _UnusableError("not a panorama", problem)
        if width < MIN_PANORAMA_WIDTH:
            size = f"a panorama has at least {MIN_PANORAMA_WIDTH}x{MIN_PANORAMA_WIDTH // 2} px"
            raise _UnusableError("too small", f"{width}x{height}, {size}")
    except (_UnusableError, PictureError) as error:
        return _verdict(path, error)
    findings: tuple[Finding, ...] = ()
    label = find_beside(path, DISPARITY_SUFFIX)
    if label.exists():
        findings = (Finding(str(label), "label unusable", _PANORAMA_LABEL, False),)
    checked = _checked(data, picture, 1.0, None, findings)
    drawn = tuple(draw_view(seed, checked.sha256, number) for number in range(views))
    return replace(checked, views=drawn, place=place_of(picture, panorama=True))


def alpha_box(alpha: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns of the box around the visible part of uint8 (H, W) alpha."""
    visible = alpha >= _BOX_ALPHA
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def load_relief_codes(source: Path | bytes) -> NDArray[np.uint8]:
    """The grey levels of a relief picture, uint8 (H, W).

    Raises:
        PictureError: unreadable.
    """
    return load_picture(source)[..., 0]


def _foot(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The middle and the lower edge of the mask's lowest row, as shares of width and height."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return 0.5, 1.0
    lowest = int(rows[-1])
    x = (float(np.flatnonzero(mask[lowest]).mean()) + 0.5) / mask.shape[1]
    return round(x, 5), round((lowest + 1) / mask.shape[0], 5)


def _read(path: Path) -> bytes:
    if path.suffix.lower() in HEIC_SUFFIXES:
        raise _UnusableError("unreadable", "a HEIC photo: save it as JPEG or PNG first")
    try:
        return read_bytes(path)
    except OSError as error:
        raise _UnusableError("unreadable", first_line(error)) from error


def _checked(
    data: bytes,
    picture: NDArray[np.uint8],
    alpha_share: float,
    label: Label | None,
    findings: tuple[Finding, ...],
) -> Checked:
    height, width = picture.shape[:2]
    digest = hashlib.sha256(data).hexdigest()
    return Checked(digest, height, width, alpha_share, thumbnail(picture), label, findings)


def _usable_box(alpha: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The box of a cutout's alpha.

    Raises:
        _UnusableError: the alpha is empty, opaque everywhere, or semi-transparent everywhere.
    """
    rows, columns = alpha_box(alpha)
    low, high = int(alpha.min()), int(alpha.max())
    if high < _BOX_ALPHA:
        raise _UnusableError("empty alpha", "nothing is visible")
    if low >= _OPAQUE_ALPHA:
        raise _UnusableError("opaque everywhere", "a photo whose background was not cut away")
    if low > _TRANSPARENT_ALPHA or high < _SOLID_ALPHA:
        detail = f"alpha is between {low / 255:.2f} and {high / 255:.2f}"
        raise _UnusableError("semi-transparent box", detail)
    _check_sides(rows.stop - rows.start, columns.stop - columns.start, _MIN_CUTOUT_SIDE_PX)
    return rows, columns


def _is_of_another(label: Path, data: bytes, picture: bytes) -> bool:
    """Whether the record beside a label says that it was made of another picture than this one.

    A record of other bytes than the label's says nothing about it.
    """
    record = load_record(label.with_suffix(".json"), LABEL_RECORD_FORMAT) or {}
    if record.get("sha256") != hashlib.sha256(data).hexdigest():
        return False
    return record.get("picture") != hashlib.sha256(picture).hexdigest()


def _check_sides(height: int, width: int, min_side: int) -> None:
    if min(height, width) < min_side:
        raise _UnusableError("too small", f"{width}x{height}, at least {min_side} px a side")


def _verdict(path: Path, error: _UnusableError | PictureError) -> Finding:
    if isinstance(error, _UnusableError):
        return Finding(str(path), error.problem, error.detail, True)
    problem: Problem = "unreadable"
    if isinstance(error, TooLargeError):
        problem = "too large"
    elif isinstance(error, NoAlphaError):
        problem = "no alpha"
    return Finding(str(path), problem, error.got, True)


def _label(
    picture: Path,
    content: bytes,
    suffix: str,
    shape: tuple[int, ...],
    load: Callable[[bytes], _Codes],
) -> tuple[Label | None, _Codes | None, tuple[Finding, ...]]:
    """The label beside a picture and its values, or a finding if it is not usable."""
    path = find_beside(picture, suffix)
    if not path.exists():
        return None, None, ()
    detail = ""
    try:
        data = _read(path)
        values = load(data)
        height, width = values.shape
        if abs(width * shape[0] / (height * shape[1]) - 1) > _MAX_ASPECT_ERROR:
            detail = f"{width}x{height} for a picture of {shape[1]}x{shape[0]}"
        elif not values.any():
            detail = "no valid value"
        elif suffix == DISPARITY_SUFFIX and values[values > 0].min() == values.max():
            detail = "the same value everywhere"
        elif _is_of_another(path, data, content):
            detail = "made of another picture of this name: label it again"
    except PictureError as error:
        detail = error.got
    except _UnusableError as error:
        detail = error.detail
    if detail:
        return None, None, (Finding(str(path), "label unusable", detail, False),)
    return Label(path.as_posix(), hashlib.sha256(data).hexdigest()), values, ()
