"""A frame and its plate in coarse cells, in the plate's place and light, and what stands still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.plate.registration import Registration
from maskdepth.inference.prediction import Prediction

__all__ = ["SceneCells", "StillArea", "StillState", "find_still_areas", "update_still"]

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

_SIDE: Final = 96  # cells on the short side
_LEVELS: Final = 14.0  # of 255: by so much cells have to differ from the plate ...
_EDGE_SHARE: Final = 0.5  # ... plus this share of the plate's contrast there: cameras shake
_FOLLOW: Final = 0.1  # of a slow change, by which a still cell follows in each frame
_AREAS: Final = (0.001, 0.4)  # of all cells: what differs over more is no thing of the scene
_RING: Final = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class SceneCells:
    """Means over the cells (h, w) of a grid, in the place of the plate.

    Attributes:
        picture, plate: float32 (h, w, 3), the plate in the picture's light.
        mask: float32 (h, w), share of the mask.
        size: height and width of the frame.
    """

    picture: Floats
    plate: Floats
    mask: Floats
    size: tuple[int, int]

    @classmethod
    def of(cls, prediction: Prediction, plate: NDArray[np.uint8]) -> Self:
        """The cells of a prediction, whose registered plate is ``plate``."""
        height, width = prediction.alpha.shape
        shrink = min(1.0, _SIDE / min(height, width))
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        registration = prediction.provenance.registration
        picture, scene, mask = (
            _to_plate(
                cv2.resize(each, size, interpolation=cv2.INTER_AREA).astype(np.float32),
                registration,
            )
            for each in (prediction.image, plate, prediction.mask.astype(np.float32))
        )
        return cls(_smooth(picture), _smooth(scene), mask, (height, width))

    @property
    def difference(self) -> Floats:
        """float32 (h, w, 3): by how much the picture is brighter than the plate."""
        return self.picture - self.plate

    @property
    def differs(self) -> Flags:
        """(h, w): where picture and plate differ, beyond noise and shake."""
        return np.asarray(np.abs(self.difference).max(axis=2) > self.tolerance, np.bool_)

    @property
    def tolerance(self) -> Floats:
        """(h, w): levels by which cells differ that show the same."""
        grey = self.plate.mean(axis=2)
        contrast = cv2.dilate(grey, _RING) - cv2.erode(grey, _RING)
        return np.asarray(_LEVELS + _EDGE_SHARE * contrast, np.float32)

    def box_in_plate(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """A box of cells in pixels: left, top, width and height."""
        down, across = self.size[0] / self.mask.shape[0], self.size[1] / self.mask.shape[1]
        left, top, width, height = box
        return round(left * across), round(top * down), round(width * across), round(height * down)


def _smooth(values: Floats) -> Floats:
    return np.asarray(cv2.blur(values, (3, 3)), np.float32)


def _to_plate(values: Floats, registration: Registration | None) -> Floats:
    """Cells of the picture moved to where the plate has them."""
    matrix = None if registration is None else registration.matrix
    if matrix is None or registration is None:
        return values
    height, width = values.shape[:2]
    scale = np.array([width / registration.size[1], height / registration.size[0]])
    scaled = np.array(matrix, np.float64)
    scaled[:, 2] *= scale
    moved = cv2.warpAffine(
        values,
        scaled,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, np.float32)


@dataclass(frozen=True, eq=False)
class StillState:
    """Since when each cell stands still and is not the plate's.

    Attributes:
        difference: float32 (h, w, 3), as of `SceneCells`, followed slowly.
        since_s: float64 (h, w), seconds.
    """

    difference: Floats
    since_s: NDArray[np.float64]


@dataclass(frozen=True)
class StillArea:
    """An area that has stood still.

    Attributes:
        box: left, top, width and height in cells.
        since_s: when it began to.
        share: of all cells.
        mask_share: of its cells, that are foreground.
        edge_vote: -1 to 1: whether the edges along its outline are the picture's or the plate's.
    """

    box: tuple[int, int, int, int]
    since_s: float
    share: float
    mask_share: float
    edge_vote: float


def update_still(cells: SceneCells, state: StillState | None, time_s: float) -> StillState:
    """The state after a frame; None before the first, or after frames of another size."""
    difference = cells.difference
    if state is None or state.difference.shape != difference.shape:
        return StillState(difference, np.full(cells.mask.shape, time_s))
    moved = np.abs(difference - state.difference).max(axis=2) > cells.tolerance
    still = ((cells.mask > 0.5) | cells.differs) & ~moved
    follow = np.where(moved[..., None], 1, _FOLLOW).astype(np.float32)
    followed = state.difference + follow * (difference - state.difference)
    return StillState(followed, np.where(still, state.since_s, time_s))


def find_still_areas(
    cells: SceneCells, state: StillState, time_s: float, still_s: float
) -> list[StillArea]:
    """The connected areas that have stood still for so long, from large to small."""
    lasting = (time_s - state.since_s >= still_s).astype(np.uint8)
    long = np.asarray(cv2.morphologyEx(lasting, cv2.MORPH_CLOSE, _RING), np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(long, connectivity=8)
    picture_edges, plate_edges = _edges(cells.picture), _edges(cells.plate)
    areas = []
    for label in range(1, count):
        if not _AREAS[0] <= boxes[label, cv2.CC_STAT_AREA] / long.size <= _AREAS[1]:
            continue
        inside = labels == label
        flags = inside.view(np.uint8)
        ring = (cv2.dilate(flags, _RING) - cv2.erode(flags, _RING, borderValue=0)) > 0
        own, other = float(picture_edges[ring].sum()), float(plate_edges[ring].sum())
        left, top, width, height = (int(each) for each in boxes[label, :4])
        since = state.since_s[inside]
        areas.append(
            StillArea(
                (left, top, width, height),
                float(np.median(since[time_s - since >= still_s])),
                float(inside.mean()),
                float((cells.mask[inside] > 0.5).mean()),
                (own - other) / max(own + other, 1e-6),
            )
        )
    return sorted(areas, key=lambda area: -area.share)


def _edges(picture: Floats) -> Floats:
    """(h, w): strength of the edges, levels a cell."""
    grey = picture.mean(axis=2)
    across, down = cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1)
    return np.asarray(cv2.magnitude(across, down) / 8, np.float32)
