"""Panoramas that show what another background shows: both must be in one split.

Near-duplicates resemble each other as they are. A photo resembles only a part of a panorama, so it
is compared with views all around: first thumbnails with thumbnails, which finds the likeliest
panoramas and where in them to aim; then each of these views is aligned to the
photo, and the correlation of their details decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from maskdepth.images import resize
from maskdepth.synthesis.panoramas import Floats, View, image_plane, locate, render_view

MIN_CORRELATION: Final = 0.8
"""Of details, from which on a view and a photo show the same place. 95 % of views of 172 panoramas,
saved at JPEG quality 50 and tinted, have more beside their own panorama; 285 photos of other places
have at most 0.75."""

_SQUARE: Final = 64  # px, of a picture's middle, as it is kept
_PANORAMA_HEIGHT: Final = 256  # px, of a panorama, as it is kept
_SIDE: Final = 16  # px, of thumbnails
_CANDIDATES: Final = 5  # panoramas for each photo that are compared closely
_MAX_DISTANCE: Final = 0.9  # of thumbnails; unrelated ones have about 1.4
_MIN_SPREAD: Final = 8.0  # grey levels, see `duplicates`
_FOV: Final = (45.0, 96.0)  # degrees, across a photo's square middle
_ZOOM_STEP: Final = 1.25
_TURN_STEP: Final = 0.2  # of the thumbnail's half
_MAX_PITCH: Final = 35  # degrees
_OWN_VIEWS: Final = tuple(View(yaw=yaw, pitch=0, roll=0, fov=75) for yaw in (0, 180))
_DETAIL_SIGMA: Final = 6.0  # px of the square
_BLURS: Final = (13, 1)  # px; alignment begins on soft details
_ALIGNMENT: Final = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)


@dataclass(frozen=True)
class Place:
    """What is kept of a background to compare its place with others'.

    Attributes:
        pixels: uint8 RGB: (256, 512, 3) of a panorama, or (64, 64, 3) of a photo's square middle.
        panorama: whether it is one.
    """

    pixels: NDArray[np.uint8]
    panorama: bool


class SamePlace(NamedTuple):
    """A panorama and a background, by their indices, that show the same place."""

    panorama: int
    other: int


def place_of(picture: NDArray[np.uint8], *, panorama: bool) -> Place:
    """What is kept of a uint8 (H, W, 3) RGB background."""
    if panorama:
        return Place(resize(picture, _PANORAMA_HEIGHT, 2 * _PANORAMA_HEIGHT), True)
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return Place(resize(picture[top : top + side, left : left + side], _SQUARE, _SQUARE), False)


def same_places(places: Sequence[Place]) -> list[SamePlace]:
    """The panoramas that show the place of another panorama or of a photo, mirrored or not."""
    panoramas = [index for index, place in enumerate(places) if place.panorama]
    owners, squares = _squares(places)
    if not panoramas or not owners:
        return []
    both = [*squares, *(square[:, ::-1] for square in squares)]
    owner = np.array(owners)
    distance, pose = np.empty((2, len(panoramas), len(both)))
    thumbs = np.stack([_thumbnail(square) for square in both])
    for row, index in enumerate(panoramas):
        found = _distances(_views(places[index].pixels), thumbs)
        distance[row], pose[row] = found.min(axis=0), found.argmin(axis=0)
        distance[row, np.tile(owner == index, 2)] = np.inf
    found_pairs = set()
    for column, square in enumerate(both):
        for row in np.argsort(distance[:, column])[:_CANDIDATES]:
            pair = SamePlace(panoramas[row], owners[column % len(owners)])
            if distance[row, column] > _MAX_DISTANCE or pair in found_pairs:
                continue
            view = _grid()[0][int(pose[row, column])]
            taken = render_view(places[pair.panorama].pixels, view, _SQUARE, _SQUARE)
            if _correlation(square, taken) >= MIN_CORRELATION:
                found_pairs.add(pair)
    return sorted(found_pairs)


def _squares(places: Sequence[Place]) -> tuple[list[int], list[NDArray[np.uint8]]]:
    """The square pictures to search for in panoramas, and the index of each one's place."""
    owners, squares = [], []
    for index, place in enumerate(places):
        if not place.panorama:
            owners.append(index)
            squares.append(place.pixels)
            continue
        for view in _OWN_VIEWS:
            owners.append(index)
            squares.append(render_view(place.pixels, view, _SQUARE, _SQUARE))
    return owners, squares


@cache
def _grid() -> tuple[list[View], list[Floats], list[Floats]]:
    """The views of the thumbnails, and for each zoom where their pixels lie in a panorama."""
    grid, across, down = [], [], []
    half = math.tan(math.radians(_FOV[0] / 2))
    while half <= math.tan(math.radians(_FOV[1] / 2)):
        step = math.degrees(math.atan(half * _TURN_STEP / 2)) * 2
        fov = math.degrees(2 * math.atan(half))
        plane = image_plane(_SIDE, _SIDE, _SIDE / 2 / half)
        turns = math.ceil(360 / step)
        views = [
            View(yaw=turn * 360 / turns, pitch=float(pitch), roll=0, fov=fov)
            for pitch in np.linspace(-_MAX_PITCH, _MAX_PITCH, math.ceil(2 * _MAX_PITCH / step) + 1)
            for turn in range(turns)
        ]
        maps = [locate(view, *plane) for view in views]
        grid += views
        across.append(np.stack([x.reshape(-1) for x, _ in maps]))
        down.append(np.stack([y.reshape(-1) for _, y in maps]))
        half *= _ZOOM_STEP
    return grid, across, down


def _views(panorama: NDArray[np.uint8]) -> Floats:
    """Thumbnails (n, pixels) of a panorama, one for each view of the grid."""
    grid, across, down = _grid()
    thumbs, first = [], 0
    for x, y in zip(across, down, strict=True):
        fov, first = grid[first].fov, first + len(x)
        height = round(180 * _SIDE / fov)
        small = resize(panorama, height, 2 * height).astype(np.float32)
        columns, rows = x * (2 * height) - 0.5, np.clip(y * height - 0.5, 0, height - 1)
        taken = cv2.remap(
            small, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )  # fmt: skip
        thumbs.append(taken.reshape(len(x), -1))
    return np.concatenate(thumbs)


def _thumbnail(square: NDArray[np.uint8]) -> Floats:
    return resize(square, _SIDE, _SIDE).astype(np.float32).reshape(-1)


def _distances(some: Floats, others: Floats) -> Floats:
    """Distances (n, m) of thumbnails, as `duplicates` defines them."""
    squares = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None]
    scale = (_spread(some)[:, None] ** 2 + _spread(others)[None] ** 2) / 2 * some.shape[1]
    distances = np.sqrt(np.maximum(squares - 2 * some @ others.T, 0) / scale)
    return np.asarray(distances, np.float32)


def _spread(thumbs: Floats) -> Floats:
    colours = thumbs.reshape(len(thumbs), -1, 3)
    around = colours - colours.mean(axis=1, keepdims=True)
    spread = np.sqrt((around**2).mean(axis=(1, 2)))
    return np.asarray(np.maximum(spread, _MIN_SPREAD), np.float32)


def _correlation(square: NDArray[np.uint8], view: NDArray[np.uint8]) -> float:
    """The correlation of two squares' details, after a homography that makes it largest."""
    first, second = _details(square), _details(view)
    warp: MatLike = np.eye(3, dtype=np.float32)
    every_pixel = np.full(first.shape, 255, np.uint8)
    found = 0.0
    try:
        for blur in _BLURS:
            found, warp = cv2.findTransformECC(
                first, second, warp, cv2.MOTION_HOMOGRAPHY, _ALIGNMENT, every_pixel, blur
            )
    except cv2.error:  # it does not converge: the two have nothing in common
        return 0.0
    return float(found)


def _details(picture: NDArray[np.uint8]) -> Floats:
    """Grey levels around their local mean, in units of their local spread."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    around = grey - cv2.GaussianBlur(grey, (0, 0), _DETAIL_SIGMA)
    around -= around.mean(axis=1, keepdims=True)  # horizons are alike everywhere
    spread = np.sqrt(cv2.GaussianBlur(around**2, (0, 0), _DETAIL_SIGMA))
    return np.asarray(around / (spread + _DETAIL_SIGMA), np.float32)
