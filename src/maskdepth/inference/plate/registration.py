"""Move and relight a plate so that it matches a picture: the camera may have moved, light changed.

Each of two steps leaves the plate exactly as it is where it finds nothing to correct:

1. Motion: the shift, turn and zoom of `maskdepth.inference.plate.motion`.
2. Light: the gains, offsets and tone curve of `maskdepth.inference.plate.light`.

Registration costs a few milliseconds at the network's input size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.plate.light import Light, find_light, mean_cells, share_alike
from maskdepth.inference.plate.motion import (
    Motion,
    PlateTexture,
    find_motion,
    local_contrast,
    shift_peak,
)
from maskdepth.records import Json

__all__ = ["PlateFeatures", "Registration", "register_plate"]

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]  # (2, 3)
Cells = NDArray[np.float64]  # (N, 3): mean colours of the cells of a coarse grid, 0..255

# Corners that agree by chance: this number, plus this share of all. In 300 pairs of two scenes at
# most 4 of 200 agreed; in pairs of one scene (large foreground, other light) mostly 5 % or more.
_CHANCE_INLIERS: Final = (4.0, 0.02)
_MIN_PEAK: Final = 6.0  # deviations; of two scenes at most 5.2 in 300 pairs
_MAX_ALIKE: Final = 0.35  # of the cells, of two scenes; at most 0.28 in 300 pairs


@dataclass(frozen=True, eq=False)
class Registration:
    """How a plate is moved and relit to match a picture.

    Attributes:
        matrix: float64 (2, 3), from the plate's pixels to the picture's; None where the plate is
            not moved.
        light: None where light is not changed.
        corners: number of the plate's corners.
        agreeing: number of corners that were found in the picture and agree on one motion.
        size: (height, width) of the pictures that the matrices are for.
        not_applied: as ``matrix``, of a motion that was found, but after which the plate would show
            too little of the picture; None where none was.
        another_scene: whether nothing that could be recognised of the plate is in the picture.
    """

    matrix: Matrix | None
    light: Light | None
    corners: int
    agreeing: int
    size: tuple[int, int]
    not_applied: Matrix | None = None
    another_scene: bool = False

    @property
    def changes(self) -> bool:
        """Whether the plate is moved or relit."""
        return self.matrix is not None or self.light is not None

    @property
    def turn_deg(self) -> float:
        """How far the plate is turned, or would have to be, in degrees anticlockwise."""
        matrix = self._found
        return float(-np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))

    @property
    def zoom(self) -> float:
        """How much larger than the plate the picture shows the scene."""
        return float(np.hypot(self._found[0, 0], self._found[1, 0]))

    @property
    def shift(self) -> float:
        """How far the plate's middle is moved, or would have to be, as a share of the long side."""
        return float(np.abs(_shift_px(self._found, self.size)).max() / max(self.size))

    def apply(self, plate: Picture) -> Picture:
        """The plate (H, W, 3), at any size, moved and relit; beyond its edges they repeat."""
        if self.matrix is not None:
            moved = self._warp(plate, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
            plate = np.asarray(moved, np.uint8)
        return plate if self.light is None else self.light.apply(plate)

    def move_map(
        self, values: NDArray[np.float32], *, extend: bool = False, smooth: bool = False
    ) -> NDArray[np.float32]:
        """The plate's disparity or depth (H, W), at any size, moved without mixing neighbours.

        Beyond its edges nothing is known, and it is NaN; with ``extend`` the edges repeat. With
        ``smooth`` neighbours are mixed, so that a small map moves by less than its pixels.
        """
        if self.matrix is None:
            return values
        border = cv2.BORDER_REPLICATE if extend else cv2.BORDER_CONSTANT
        interpolation = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
        return np.asarray(self._warp(values, interpolation, border), np.float32)

    def move_back(self, picture: Picture) -> Picture:
        """A picture (H, W, 3), at any size, moved onto the plate, of which it is a view.

        Beyond the picture's edges they repeat; see `visible_back`.
        """
        if self.matrix is None:
            return picture
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return np.asarray(self._warp(picture, flags, cv2.BORDER_REPLICATE), np.uint8)

    def visible_back(self, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """bool (H, W): which of the plate's pixels the picture shows; None for all."""
        if self.matrix is None:
            return None
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shown = self._warp(np.ones(size, np.float32), flags, cv2.BORDER_CONSTANT)
        return np.asarray(shown == 1)

    def covered(self, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """bool (H, W): where the moved plate shows what its camera saw; None for everywhere."""
        if self.matrix is None:
            return None
        covered = np.isfinite(self.move_map(np.zeros(size, np.float32)))
        return None if covered.all() else covered

    def as_json(self) -> Json:
        """Plain values: shift in px of ``size``, angle in degrees, zoom, light, corners."""
        matrix = np.eye(2, 3) if self.matrix is None else self.matrix
        height, width = self.size
        light = self.light
        return {
            "shift_px": [round(float(value), 3) for value in _shift_px(matrix, self.size)],
            "of_size": [width, height],
            "angle_deg": round(float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))), 4),
            "zoom": round(float(np.hypot(matrix[0, 0], matrix[1, 0])), 5),
            "gains": None if light is None else [round(gain, 4) for gain in light.gains],
            "offsets": None if light is None else [round(each, 2) for each in light.offsets],
            "gamma": None if light is None else round(light.gamma, 4),
            "corners": self.corners,
            "agreeing": self.agreeing,
        }

    @property
    def _found(self) -> Matrix:
        found = self.matrix if self.not_applied is None else self.not_applied
        return np.eye(2, 3) if found is None else found

    def _warp(self, array: NDArray[Any], interpolation: int, border: int) -> NDArray[Any]:
        assert self.matrix is not None
        height, width = array.shape[:2]
        scale = np.array([width / self.size[1], height / self.size[0]])
        # Scale the matrix to the array's size. Pixel i of one size lies at (i + 1/2) scale - 1/2 of
        # the other.
        matrix = self.matrix.copy()
        half = np.full(2, 0.5)
        matrix[:, 2] = scale * (matrix[:, 2] + half - matrix[:, :2] @ half)
        matrix[:, :2] = scale[:, None] * matrix[:, :2] / scale[None]
        matrix[:, 2] += matrix[:, :2] @ half - half
        return np.asarray(
            cv2.warpAffine(
                array,
                matrix,
                (width, height),
                flags=interpolation,
                borderMode=border,
                borderValue=np.nan,
            )
        )


@dataclass(frozen=True, eq=False)
class PlateFeatures:
    """What registration reads from a plate, measured once for many pictures.

    Attributes:
        plate: uint8 (H, W, 3) RGB.
        texture: what can be recognised of it.
        cells: float64 (K, 3), mean colours of the cells of a coarse grid.
    """

    plate: Picture
    texture: PlateTexture
    cells: Cells

    @classmethod
    def measure(cls, plate: Picture) -> Self:
        """The features of a plate, uint8 (H, W, 3) RGB, at the network's input size."""
        return cls(plate, PlateTexture.measure(plate), mean_cells(plate))


def register_plate(picture: Picture, features: PlateFeatures) -> Registration:
    """Find the motion and the light that make a plate match a picture.

    Args:
        picture: uint8 (H, W, 3) RGB of the plate's size, best the network's input size: more pixels
            cost time and help little.
        features: of the plate.
    """
    size = (picture.shape[0], picture.shape[1])
    texture, contrast = features.texture, None
    if texture.contrast is not None:
        contrast = local_contrast(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    motion = find_motion(contrast, texture)
    corners = 0 if texture.corners is None else len(texture.corners)
    moved = Registration(
        motion.matrix, None, corners, motion.agreeing, size, not_applied=motion.not_applied
    )
    cells, plate_cells = mean_cells(picture), features.cells
    if moved.changes:
        plate_cells = mean_cells(moved.apply(features.plate))
    light = find_light(cells, plate_cells)
    another = _is_another_scene(motion, texture, contrast)
    if another:
        another = share_alike(cells, plate_cells, light) < _MAX_ALIKE
    return replace(moved, light=light, another_scene=another)


def _is_another_scene(motion: Motion, texture: PlateTexture, contrast: Picture | None) -> bool:
    """Whether the plate has texture to recognise, and none of it is found in the picture."""
    if contrast is None or texture.corners is None or texture.contrast is None:
        return False
    by_chance = _CHANCE_INLIERS[0] + _CHANCE_INLIERS[1] * len(texture.corners)
    unknown = motion.not_applied is None and not motion.recognised and motion.agreeing < by_chance
    return unknown and texture.is_distinct and shift_peak(contrast, texture.contrast) < _MIN_PEAK


def _shift_px(matrix: Matrix, size: tuple[int, int]) -> NDArray[np.float64]:
    """How far the middle of pictures of a size (h, w) moves, x and y."""
    height, width = size
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.asarray(matrix[:, :2] @ centre + matrix[:, 2] - centre)
