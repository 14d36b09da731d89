"""Move and relight a plate so that it matches a picture: the camera may have moved, light changed.

Each of two steps leaves the plate exactly as it is where it finds nothing to correct:

1. Motion. Corners of the plate are followed into the picture and back (Lucas and Kanade, "An
   Iterative Image Registration Technique", IJCAI 1981, in pyramids; Kalal et al., "Forward-Backward
   Error", ICPR 2010), on local contrast, which light does not change. RANSAC (Fischler and Bolles,
   CACM 1981) finds the shift, turn and zoom that most corners agree on. Corners that the
   foreground hides do not agree, and are left out.
2. Light. A gain and an offset for each channel are fitted to the mean colours of a coarse grid's
   cells, by iteratively reweighted least squares with Tukey's biweight. Cells that show foreground
   or a shadow are outliers of that fit.

Registration costs a few milliseconds at the network's input size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.records import Json

__all__ = ["PlateFeatures", "Registration", "register_plate"]

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]  # (2, 3)
Gains = NDArray[np.float64]  # (3,): of red, green and blue; offsets have the same type
Cells = NDArray[np.float64]  # (N, 3): mean colours of the cells of a coarse grid, 0..255
Triple = tuple[float, float, float]

# Motion.
_MIN_SIDE: Final = 32  # px; smaller pictures are not searched for a motion
_MAX_CORNERS: Final = 200
_CORNER_QUALITY: Final = 0.002  # of the strongest corner's strength: weak ones are of use as well
_CORNER_GAP: Final = 6  # px
_WINDOW: Final = 15  # px, side of the square that is compared around a corner
_PYRAMID_LEVELS: Final = 2  # halvings: motion of up to about 30 px is followed
_MAX_RETURN_ERROR: Final = 0.5  # px between a corner and where it is after following it and back
_INLIER_DISTANCE: Final = 0.6  # px between a followed corner and where the common motion puts it
_MIN_INLIERS: Final = 10
_MIN_INLIER_SHARE: Final = 0.2  # of the corners that were followed
_MAX_SHIFT: Final = 0.1  # of the long side
_MAX_TURN: Final = 6.0  # degrees
_MAX_ZOOM: Final = 0.06
_MIN_MOTION: Final = 0.12  # px at the picture's outer corners: a smaller motion is not applied
_CONTRAST_SIDE: Final = 17  # px, side of the square over which contrast is measured
_CONTRAST_FLOOR: Final = 6.0  # of 255: a smaller deviation is taken for noise
_CONTRAST_SCALE: Final = 48.0
# Corners that agree by chance: this number, plus this share of all. In 120 pairs of two scenes at
# most 7 of 200 agreed; in pairs of one scene (large foreground, other light) at least 5 %.
_CHANCE_INLIERS: Final = (4.0, 0.02)
_MIN_CORNERS_TO_JUDGE: Final = 60  # fewer corners cannot tell one scene from another

# Light.
_GRID: Final = 36  # cells on the short side
_UNCLIPPED: Final = (4, 251)  # a value outside this range may have been clipped
_MIN_CELLS: Final = 64
_MAX_ROUNDS: Final = 14
_CONVERGED: Final = 5e-4  # change of a gain from one round to the next
_START_QUANTILES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the cells' ratios
_TUKEY: Final = 2.5  # in robust standard deviations
_PRIOR: Final = 50.0  # squared levels of variance that speak for the gain of the round before
_GAIN_RANGE: Final = (0.25, 4.0)  # two stops either way
_MIN_GAIN_CHANGE: Final = 0.01  # light is changed if a gain changes by this ...
_MIN_OFFSET: Final = 1.0  # ... or an offset, of 255, is as large as this
_MAX_ERROR_LEFT: Final = 0.9  # of the median difference, after a useful fit
_ALIKE: Final = 10.0  # of 255: the largest difference of two cells that count as alike
_MIN_ALIKE_SHARE: Final = 0.25  # of the cells; the others may show foreground and shadow


@dataclass(frozen=True, eq=False)
class Registration:
    """How a plate is moved and relit to match a picture.

    Attributes:
        matrix: float64 (2, 3), from the plate's pixels to the picture's; None where the plate is
            not moved.
        gains, offsets: of red, green and blue, offsets of 255; None where light is not changed.
        corners: number of the plate's corners.
        agreeing: number of corners that were found in the picture and agree on one motion.
        size: (height, width) of the pictures that the matrix is for.
    """

    matrix: Matrix | None
    gains: Triple | None
    offsets: Triple | None
    corners: int
    agreeing: int
    size: tuple[int, int]

    @property
    def changes(self) -> bool:
        """Whether the plate is moved or relit."""
        return self.matrix is not None or self.gains is not None

    @property
    def another_scene(self) -> bool:
        """Whether the plate has many corners, of which no more agree than do by chance."""
        by_chance = _CHANCE_INLIERS[0] + _CHANCE_INLIERS[1] * self.corners
        return self.corners >= _MIN_CORNERS_TO_JUDGE and self.agreeing < by_chance

    def apply(self, plate: Picture) -> Picture:
        """The plate (H, W, 3), at any size, moved and relit; beyond its edges they repeat."""
        if self.matrix is not None:
            moved = self._warp(plate, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
            plate = np.asarray(moved, np.uint8)
        if self.gains is not None and self.offsets is not None:
            levels = np.arange(256)[:, None] * np.array(self.gains) + np.array(self.offsets)
            table = np.clip(np.rint(levels), 0, 255).astype(np.uint8).reshape(1, 256, 3)
            plate = np.asarray(cv2.LUT(plate, table), np.uint8)
        return plate

    def move_map(self, values: NDArray[np.float32], *, extend: bool = False) -> NDArray[np.float32]:
        """The plate's disparity or depth (H, W), at any size, moved without mixing neighbours.

        Beyond its edges nothing is known, and it is NaN; with ``extend`` the edges repeat.
        """
        if self.matrix is None:
            return values
        border = cv2.BORDER_REPLICATE if extend else cv2.BORDER_CONSTANT
        return np.asarray(self._warp(values, cv2.INTER_NEAREST, border), np.float32)

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
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        shift = matrix[:, :2] @ centre + matrix[:, 2] - centre
        return {
            "shift_px": [round(float(value), 3) for value in shift],
            "of_size": [width, height],
            "angle_deg": round(float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))), 4),
            "zoom": round(float(np.hypot(matrix[0, 0], matrix[1, 0])), 5),
            "gains": None if self.gains is None else [round(gain, 4) for gain in self.gains],
            "offsets": None if self.offsets is None else [round(each, 2) for each in self.offsets],
            "corners": self.corners,
            "agreeing": self.agreeing,
        }

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
        corners: float32 (N, 1, 2), x and y; None where the plate is too small or has none.
        contrast: uint8 (H, W), local contrast; None where corners are too few to find a motion.
        cells: float64 (K, 3), mean colours of the cells of a coarse grid.
    """

    plate: Picture
    corners: NDArray[np.float32] | None
    contrast: Picture | None
    cells: Cells

    @classmethod
    def measure(cls, plate: Picture) -> Self:
        """The features of a plate, uint8 (H, W, 3) RGB, at the network's input size."""
        corners: Any = None
        contrast = None
        if min(plate.shape[:2]) >= _MIN_SIDE:
            grey = cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY)
            # OpenCV's stubs do not say that there may be no corners.
            corners = cv2.goodFeaturesToTrack(grey, _MAX_CORNERS, _CORNER_QUALITY, _CORNER_GAP)
            if corners is not None and len(corners) >= _MIN_INLIERS:
                contrast = _local_contrast(grey)
        return cls(plate, corners, contrast, _cells(plate))


def register_plate(picture: Picture, features: PlateFeatures) -> Registration:
    """Find the motion and the light that make a plate match a picture.

    Args:
        picture: uint8 (H, W, 3) RGB of the plate's size, best the network's input size: more pixels
            cost time and help little.
        features: of the plate.
    """
    size = (picture.shape[0], picture.shape[1])
    corners = 0 if features.corners is None else len(features.corners)
    matrix, agreeing = _find_motion(picture, features)
    motion = Registration(matrix, None, None, corners, agreeing, size)
    plate_cells = features.cells if matrix is None else _cells(motion.apply(features.plate))
    light = _find_light(_cells(picture), plate_cells)
    gains, offsets = (None, None) if light is None else light
    return Registration(matrix, gains, offsets, corners, agreeing, size)


def _find_motion(picture: Picture, features: PlateFeatures) -> tuple[Matrix | None, int]:
    """The plate's motion, None where it is too small or not plausible, and the agreeing corners."""
    corners, plate_contrast = features.corners, features.contrast
    if corners is None or plate_contrast is None:
        return None, 0
    contrast = _local_contrast(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    followed, found = _follow(plate_contrast, contrast, corners)
    returned, found_back = _follow(contrast, plate_contrast, followed)
    reliable = found & found_back
    reliable &= np.abs(returned - corners).max(axis=(1, 2)) < _MAX_RETURN_ERROR
    if reliable.sum() < _MIN_INLIERS:
        return None, 0
    # OpenCV's stubs do not say that there may be no motion.
    estimate: Any = cv2.estimateAffinePartial2D(
        corners[reliable],
        followed[reliable],
        ransacReprojThreshold=_INLIER_DISTANCE,
        maxIters=500,
        confidence=0.995,
    )
    matrix, inliers = estimate
    agreeing = 0 if matrix is None else int(inliers.sum())
    if agreeing < max(_MIN_INLIERS, _MIN_INLIER_SHARE * reliable.sum()):
        return None, agreeing
    height, width = picture.shape[:2]
    if not _is_plausible(matrix, height, width):
        return None, agreeing
    ends = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    largest = np.abs(ends @ matrix[:, :2].T + matrix[:, 2] - ends).max()
    return (matrix if largest > _MIN_MOTION else None), agreeing


def _follow(
    before: Picture, after: Picture, points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points (N, 1, 2) of one grey picture are in the next, and which were found."""
    followed, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        points,
        np.empty_like(points),
        winSize=(_WINDOW, _WINDOW),
        maxLevel=_PYRAMID_LEVELS,
    )
    return np.asarray(followed, np.float32), np.asarray(status).ravel() > 0


def _is_plausible(matrix: Matrix, height: int, width: int) -> bool:
    """Whether a motion is small enough for a camera that was touched by accident."""
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    turn = float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
    centre = np.array([width / 2, height / 2])
    shift = matrix[:, :2] @ centre + matrix[:, 2] - centre
    return (
        abs(zoom - 1) <= _MAX_ZOOM
        and abs(turn) <= _MAX_TURN
        and float(np.abs(shift).max()) <= _MAX_SHIFT * max(height, width)
    )


def _local_contrast(grey: NDArray[Any]) -> Picture:
    """Grey (H, W) less its local mean, divided by its local deviation, around 128."""
    values = cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32)
    side = (_CONTRAST_SIDE, _CONTRAST_SIDE)
    mean = cv2.blur(values, side)
    variance = np.asarray(cv2.sqrBoxFilter(values, cv2.CV_64F, side), np.float64)
    variance -= mean * mean
    deviation = np.sqrt(np.maximum(variance, 0, out=variance), out=variance)
    deviation += _CONTRAST_FLOOR
    contrast = np.divide(values - mean, deviation, out=deviation)
    contrast *= _CONTRAST_SCALE
    contrast += 128
    return np.asarray(np.clip(contrast, 0, 255, out=contrast), np.uint8)


def _find_light(picture: Cells, plate: Cells) -> tuple[Triple, Triple] | None:
    """Gains and offsets that relight the plate's cells; None where they help little."""
    # Values that may be clipped take no part in the fit, but in the judgement of its result.
    lowest, highest = _UNCLIPPED
    unclipped = (np.minimum(picture, plate) > lowest) & (np.maximum(picture, plate) < highest)
    usable = unclipped.any(axis=1)
    if usable.sum() < _MIN_CELLS or not unclipped.any(axis=0).all():
        return None
    gains = _start_gains(picture, plate, unclipped)
    gains, offsets = _fit_light(picture[usable], plate[usable], unclipped[usable], gains)
    before, after = _difference(picture, plate), _difference(picture, plate * gains + offsets)
    largest_gain_change, largest_offset = np.abs(gains - 1).max(), np.abs(offsets).max()
    unchanged = largest_gain_change < _MIN_GAIN_CHANGE and largest_offset < _MIN_OFFSET
    alike_before, alike_after = np.mean(before < _ALIKE), np.mean(after < _ALIKE)
    better = alike_after > alike_before or (np.median(after) <= _MAX_ERROR_LEFT * np.median(before))
    # The fit of two unrelated scenes may end at a limit: the lowest gain, which makes an even grey.
    plausible = gains.min() > _GAIN_RANGE[0] and gains.max() < _GAIN_RANGE[1]
    if unchanged or not (better and alike_after >= _MIN_ALIKE_SHARE and plausible):
        return None
    red, green, blue = map(float, gains)
    return (red, green, blue), (float(offsets[0]), float(offsets[1]), float(offsets[2]))


def _fit_light(
    picture: Cells, plate: Cells, unclipped: NDArray[np.bool_], gains: Gains
) -> tuple[Gains, Gains]:
    """Gains and offsets by iteratively reweighted least squares, which start from ``gains``."""
    offsets = np.zeros(3)
    products = np.empty((len(plate), 9))  # one sum over 9 columns is faster than three over 3
    for _ in range(_MAX_ROUNDS):
        errors = _largest(np.abs(picture - (plate * gains + offsets)) * unclipped)
        spread = _TUKEY * max(1.0, 1.48 * float(np.median(errors)))  # 1.48 medians: a deviation
        weight = np.square(np.maximum(0, 1 - np.square(errors / spread)))[:, None] * unclipped
        products[:, :3] = weight
        np.multiply(weight, plate, out=products[:, 3:6])
        np.multiply(weight, picture, out=products[:, 6:])
        sums = products.sum(axis=0)
        total = sums[:3] + 1e-9
        mean_plate, mean_picture = sums[3:6] / total, sums[6:] / total
        from_mean = plate - mean_plate
        off_centre = weight * from_mean
        np.multiply(off_centre, from_mean, out=products[:, :3])
        np.multiply(off_centre, picture - mean_picture, out=products[:, 3:6])
        sums = products[:, :6].sum(axis=0)
        variance = sums[:3] / total + _PRIOR
        covariance = sums[3:] / total + _PRIOR * gains
        last, gains = gains, np.clip(covariance / variance, *_GAIN_RANGE)
        offsets = mean_picture - gains * mean_plate
        if np.abs(gains - last).max() < _CONVERGED:
            break
    return gains, offsets


def _start_gains(picture: Cells, plate: Cells, unclipped: NDArray[np.bool_]) -> Gains:
    """Gains to start from: those that make most cells alike, of several quantiles of the ratios.

    The median alone would be the foreground's ratio where all else is overexposed.
    """
    ratios = (picture + 1) / (plate + 1)
    columns = [ratios[unclipped[:, channel], channel] for channel in range(3)]
    candidates = np.stack([np.quantile(each, _START_QUANTILES) for each in columns], axis=1)
    differences = _difference(picture, plate * candidates[:, None])  # (starts, N)
    return np.asarray(candidates[int(np.argmax(np.mean(differences < _ALIKE, axis=1)))])


def _difference(picture: Cells, lit_plate: Cells) -> NDArray[np.float64]:
    """(..., N): the largest difference over channels; lit colours are clipped as by a camera."""
    return _largest(np.abs(picture - np.clip(lit_plate, 0, 255)))


def _largest(values: Cells) -> NDArray[np.float64]:
    """(..., N): the largest of each cell's three channels."""
    return np.asarray(np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2]))


def _cells(picture: Picture) -> Cells:
    """Mean colours of the cells of a coarse grid over a picture."""
    height, width = picture.shape[:2]
    shrink = min(1.0, _GRID / min(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    cells = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cells.reshape(-1, 3), np.float64)
