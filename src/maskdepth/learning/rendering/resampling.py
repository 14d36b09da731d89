"""Resizing as OpenCV does it, for a batch in which every sample has its own sizes.

The host works out numbers for each row and column, in NumPy and double precision; the device, what
is done at each pixel. n are samples, S is the side of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdepth.images import resize_disparity
from maskdepth.learning.rendering.textures import Patch, send

__all__ = [
    "FixedTaps",
    "Taps",
    "area_matrix",
    "enlarge",
    "fixed_taps",
    "gather",
    "gather_fixed",
    "gather_nearest",
    "linear_matrix",
    "nearest_places",
    "object_taps",
    "reflected",
    "shrink",
]

_FIXED_BITS = 11  # of the weights of OpenCV's bilinear resizing of bytes

Doubles = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Taps:
    """Which K source pixels make each place along an axis: index and weight, (n, S, K)."""

    index: Whole
    weight: NDArray[np.float32]


@dataclass(frozen=True)
class FixedTaps:
    """Two source pixels a place, (n, S) each: ``index`` and its neighbour, weights of 11 bits."""

    index: Whole
    following: Whole
    weight: NDArray[np.int32]
    other: NDArray[np.int32]


def object_taps(
    position: Whole, length: Whole, source: Whole, flip: NDArray[np.bool_], area: Any, size: int
) -> Taps:
    """Sources along an axis of objects that are resized and put into a frame.

    Args:
        position, length: (n,) of the object in the frame, px.
        source: (n,) length of its copy.
        flip: (n,) whether it is mirrored along this axis.
        area: (n,) where True, an axis that shrinks averages areas; else it is bilinear.
        size: S.

    Returns:
        Taps whose weights are 0 beyond the object.
    """
    place = np.arange(size)[None] - position[:, None]
    inside = (place >= 0) & (place < length[:, None])
    place = np.where(flip[:, None], length[:, None] - 1 - place, place).astype(np.float64)
    scale = (source / length)[:, None]
    averaged = (np.asarray(area) & (source > length))[:, None]
    count = 2
    if averaged.any():
        count = int(np.ceil(scale[averaged]).max()) + 1
    low, high = place * scale, np.minimum((place + 1) * scale, source[:, None])
    centre = (place + 0.5) * scale - 0.5
    # A hair aside, so that rounding does not move the first pixel of an average.
    first = np.floor(np.where(averaged, low + 1e-9, centre))[..., None]
    index = first + np.arange(count)  # (n, S, K)
    covered = np.minimum(high[..., None], index + 1) - np.maximum(low[..., None], index)
    weight = np.where(
        averaged[..., None],
        np.maximum(covered, 0) / np.maximum(high - low, 1e-9)[..., None],
        np.maximum(1 - np.abs(centre[..., None] - index), 0),
    )
    index = np.clip(index, 0, source[:, None, None] - 1).astype(np.int64)
    return Taps(index, (weight * inside[..., None]).astype(np.float32))


def gather(sheet: Tensor, patches: Sequence[Patch], rows: Taps, columns: Taps) -> Tensor:
    """Resized pictures out of a sheet (P, C): float32 (n, C, S, S)."""
    device = sheet.device
    start, width = _places(patches)
    at_row = send(start[:, None, None] + rows.index * width[:, None, None], device)
    at_column = send(columns.index, device)
    by_row, by_column = send(rows.weight, device), send(columns.weight, device)
    total: Tensor | None = None
    for i in range(at_row.shape[2]):
        for j in range(at_column.shape[2]):
            index = at_row[:, :, None, i] + at_column[:, None, :, j]  # (n, S, S)
            weight = by_row[:, :, None, i] * by_column[:, None, :, j]
            part = sheet[index] * weight[..., None]
            total = part if total is None else total + part
    assert total is not None
    return total.movedim(-1, 1)


def fixed_taps(source: Whole, first: Whole, size: int, *, rows: bool) -> FixedTaps:
    """Sources along an axis when ``source`` pixels (n,) from ``first`` on are resized to S.

    As ``cv2.resize`` of bytes: bilinear, positions in single precision, the edges repeated.

    Args:
        rows: whether the axis is the vertical one, along which OpenCV mixes an edge with itself.
    """
    scale = (source / size)[:, None]
    exact = ((np.arange(size) + 0.5)[None] * scale - 0.5).astype(np.float32)
    index = np.floor(exact).astype(np.int64)
    part = exact - index.astype(np.float32)
    last = source[:, None] - 1
    if not rows:
        part = np.where((index < 0) | (index >= last), np.float32(0), part)
    full = np.float32(2**_FIXED_BITS)
    return FixedTaps(
        index=np.clip(index, 0, last) + first[:, None],
        following=np.clip(index + 1, 0, last) + first[:, None],
        weight=np.rint((1 - part) * full).astype(np.int32),
        other=np.rint(part * full).astype(np.int32),
    )


def gather_fixed(
    sheet: Tensor, patches: Sequence[Patch], rows: FixedTaps, columns: FixedTaps
) -> Tensor:
    """Resized pictures out of a sheet (P, C) of bytes: int32 (n, C, S, S), 0..255."""
    device = sheet.device
    start, width = _places(patches)
    left, right = send(columns.index, device), send(columns.following, device)
    near, far = (send(value, device)[:, None, :, None] for value in (columns.weight, columns.other))
    sums = []
    for index in (rows.index, rows.following):
        row = send(start[:, None] + index * width[:, None], device)[:, :, None]
        values = [sheet[row + column[:, None]].int() for column in (left, right)]
        sums.append(values[0] * near + values[1] * far)  # (n, S, S, C)
    upper, lower = (send(value, device)[:, :, None, None] for value in (rows.weight, rows.other))
    return _between_rows(sums[0], sums[1], upper, lower).movedim(-1, 1)


def shrink(pictures: Tensor, side: Whole, size: int) -> Tensor:
    """Whole pictures (n, 3, S, S) float32 resized to their upper left squares, by area means.

    Products are added up in OpenCV's order: sums that lie between two levels round as its own do.

    Args:
        side: (n,) of the squares, px.
    """
    nothing = np.zeros_like(side)
    taps = object_taps(nothing, side, nothing + size, nothing > 0, True, size)
    places, weights = send(taps.index, pictures.device), send(taps.weight, pictures.device)
    for axis, shape in ((3, (-1, 1, 1, size)), (2, (-1, 1, size, 1))):
        total = torch.zeros_like(pictures)
        for k in range(places.shape[2]):
            index = places[..., k].view(shape).expand(pictures.shape)
            total = total + pictures.gather(axis, index) * weights[..., k].view(shape)
        pictures = total
    return pictures


def enlarge(pictures: Tensor, side: Whole, size: int) -> Tensor:
    """The upper left squares of bytes, (n, C, S, S) whole numbers, resized to the whole frame.

    Args:
        side: (n,) of the squares, px.

    Returns:
        int32 (n, C, S, S).
    """
    device = pictures.device
    pictures = pictures.int()
    shape = pictures.shape
    start = np.zeros_like(side)
    sums = []
    taps = fixed_taps(side, start, size, rows=False)
    for index, weight in ((taps.index, taps.weight), (taps.following, taps.other)):
        places = send(index, device)[:, None, None].expand(shape)
        sums.append(pictures.gather(3, places) * send(weight, device)[:, None, None])
    across = sums[0] + sums[1]
    taps = fixed_taps(side, start, size, rows=True)
    upper, lower = (
        across.gather(2, send(index, device)[:, None, :, None].expand(shape))
        for index in (taps.index, taps.following)
    )
    near, far = (send(value, device)[:, None, :, None] for value in (taps.weight, taps.other))
    return _between_rows(upper, lower, near, far)


def _between_rows(upper: Tensor, lower: Tensor, weight: Tensor, other: Tensor) -> Tensor:
    """OpenCV's vertical pass over sums of 11 bits, with the bits that its vector code drops."""
    return (((upper >> 4) * weight >> 16) + ((lower >> 4) * other >> 16) + 2 >> 2).clamp(0, 255)


def nearest_places(source: Whole, first: Whole, size: int) -> Whole:
    """Sources (n, S) along an axis when ``source`` pixels (n,) are picked from, as labels are."""
    picked = [_nearest_places(int(length), size) for length in source]
    return np.stack(picked) + first[:, None]


@lru_cache(maxsize=4096)
def _nearest_places(source: int, size: int) -> Whole:
    """OpenCV's own choice: versions differ where a place lies between two pixels."""
    ramp = np.arange(source, dtype=np.float32)[None]
    picked: Whole = resize_disparity(ramp, 1, size)[0].astype(np.int64)
    return picked


def gather_nearest(sheet: Tensor, patches: Sequence[Patch], rows: Whole, columns: Whole) -> Tensor:
    """Picked pixels out of a sheet (P, 1): (n, S, S)."""
    start, width = _places(patches)
    row = send(start[:, None] + rows * width[:, None], sheet.device)
    return sheet[row[:, :, None] + send(columns, sheet.device)[:, None], 0]


def linear_matrix(
    target: NDArray[Any], source: NDArray[Any], first: NDArray[Any], size: int, device: torch.device
) -> Tensor:
    """Bilinear resizing along an axis, (n, S, S): from the first ``source`` places to ``target``.

    Args:
        target, source: (n,) lengths; a target of 0 gives zeros.
        first: (n,) where the target begins.
    """
    place = np.arange(size)[None] - first[:, None]  # (n, S)
    inside = (place >= 0) & (place < target[:, None])
    scale = source / np.maximum(target, 1)
    centre = np.clip((place + 0.5) * scale[:, None] - 0.5, 0, np.maximum(source - 1, 0)[:, None])
    centres = send(centre.astype(np.float32), device)[:, :, None]
    weight = (1 - (centres - torch.arange(size, device=device)).abs()).clamp(min=0)
    return weight * send(inside.astype(np.float32), device)[:, :, None]


def area_matrix(
    target: NDArray[Any], source: NDArray[Any], first: NDArray[Any], size: int, device: torch.device
) -> Tensor:
    """Means of areas along an axis, (n, S, S): from ``source`` places to the first ``target``.

    Args:
        target, source: (n,) lengths, the target's not larger.
        first: (n,) where the source begins.
    """
    place = np.arange(size)[None]
    scale = (source / np.maximum(target, 1))[:, None]
    low = place * scale
    high = np.minimum(low + scale, source[:, None])
    share = np.where(place < target[:, None], 1 / np.maximum(high - low, 1e-9), 0)
    begin, end = (send((x + first[:, None]).astype(np.float32), device) for x in (low, high))
    pixel = torch.arange(size, device=device)
    covered = torch.minimum(end[:, :, None], pixel + 1) - torch.maximum(begin[:, :, None], pixel)
    return covered.clamp(min=0) * send(share.astype(np.float32), device)[:, :, None]


def reflected(index: Tensor, size: int) -> Tensor:
    """Places mirrored into 0..S-1 about the centres of the edge pixels: OpenCV's REFLECT_101."""
    index = index.abs() % (2 * size - 2)
    return torch.where(index >= size, 2 * size - 2 - index, index)


def _places(patches: Sequence[Patch]) -> tuple[Whole, Whole]:
    start = np.array([patch.start for patch in patches], np.int64)
    return start, np.array([patch.width for patch in patches], np.int64)
