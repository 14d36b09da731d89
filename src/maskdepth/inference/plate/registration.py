"""A plate brought onto its picture: moved as the camera has moved since, lit as the picture is.

Two steps, each of which leaves the plate exactly as it is where it finds nothing to correct:

1. Corners of the plate are followed into the picture (Lucas and Kanade, "An Iterative Image
   Registration Technique", IJCAI 1981, in pyramids; there and back, Kalal et al., "Forward-Backward
   Error", ICPR 2010) on local contrast, which light does not change. RANSAC (Fischler and Bolles,
   CACM 1981) finds the shift, turn and zoom that most corners agree on. Corners that the
   foreground hides do not agree, and have no say.
2. A gain and an offset for each channel are fitted to the cells of a coarse grid that look alike,
   by iteratively reweighted least squares with Tukey's biweight. Foreground and shadows fall out as
   outliers.

Registration costs a few milliseconds at the network's size, and makes easy pairs of the hardest
ones: those of a camera that has been touched, or of other light.
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
Matrix = NDArray[np.float64]
Cells = NDArray[np.float64]  # (N, 3): mean colours of the cells of a coarse grid, 0..255
Triple = tuple[float, float, float]

# Motion.
_MIN_SIDE: Final = 32  # px; the motion of smaller pictures is not looked for
_MAX_CORNERS: Final = 200
_CORNER_QUALITY: Final = 0.002  # of the best corner's strength: a smooth plate has weak ones too
_CORNER_GAP: Final = 6  # px
_WINDOW: Final = 15  # px, side of what is compared around a corner
_PYRAMID_LEVELS: Final = 2  # halvings: motion of up to about 30 px is followed
_MAX_RETURN_ERROR: Final = 0.5  # px, of a corner followed there and back
_INLIER_DISTANCE: Final = 0.6  # px, from where the common motion puts a corner
_MIN_INLIERS: Final = 10
_MIN_INLIER_SHARE: Final = 0.2  # of the corners that were followed
_MAX_SHIFT: Final = 0.1  # of the long side
_MAX_TURN: Final = 6.0  # degrees
_MAX_ZOOM: Final = 0.06
_STILL: Final = 0.12  # px at the corners of the picture: a smaller motion is not applied
_CONTRAST_SIDE: Final = 17  # px, over which contrast is local
_CONTRAST_FLOOR: Final = 6.0  # of 255: a smaller deviation is taken for noise
_CONTRAST_SCALE: Final = 48.0
# Of another scene, up to 7 of 200 corners agreed by chance in 120 pairs; of the same scene,
# behind a large foreground and under other light, at least 5 % did.
_CHANCE_INLIERS: Final = (4.0, 0.02)  # corners, and share of the corners
_MIN_CORNERS_TO_JUDGE: Final = 60  # to tell one scene from another

# Light.
_CELLS: Final = 36  # on the short side
_CLIPPED: Final = (4, 251)  # a value outside this range may have been clipped
_MIN_CELLS: Final = 64
_MAX_ROUNDS: Final = 14
_CONVERGED: Final = 5e-4  # change of a gain from one round to the next
_START_QUANTILES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the cells' ratios
_TUKEY: Final = 2.5  # in robust standard deviations
_PRIOR: Final = 50.0  # squared grey levels that hold the gain where a plate has little contrast
_GAIN_RANGE: Final = (0.25, 4.0)  # two stops either way
_EVEN_GAIN: Final = 0.01  # a change of light below both this gain ...
_EVEN_OFFSET: Final = 1.0  # ... and this offset, of 255, is not applied
_MAX_ERROR_LEFT: Final = 0.9  # share of the typical difference that a useful fit may leave
_ALIKE: Final = 10.0  # of 255: the largest difference of two cells that count as alike
_MIN_ALIKE_SHARE: Final = 0.25  # of the cells; the rest may be foreground and shadow


@dataclass(frozen=True, eq=False)
class Registration:
    """How a plate comes onto its picture.

    Attributes:
        matrix: float64 (2, 3), from the plate's pixels to the picture's; None where the plate is
            not moved.
        gains, offsets: of red, green and blue, offsets of 255; None where the light is not changed.
        corners: number of the plate's corners that could be searched for in the picture.
        agreeing: number of corners that moved alike.
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
        """Whether the plate is moved or lit."""
        return self.matrix is not None or self.gains is not None

    @property
    def another_scene(self) -> bool:
        """Whether the plate has many corners, and no more agree than would by chance."""
        by_chance = _CHANCE_INLIERS[0] + _CHANCE_INLIERS[1] * self.corners
        return self.corners >= _MIN_CORNERS_TO_JUDGE and self.agreeing < by_chance

    def apply(self, plate: Picture) -> Picture:
        """The plate (H, W, 3) of any size, moved and lit; edges are mirrored."""
        if self.matrix is not None:
            plate = np.asarray(self._moved(plate, cv2.INTER_LINEAR), np.uint8)
        if self.gains is not None and self.offsets is not None:
            levels = np.arange(256)[:, None] * np.array(self.gains) + np.array(self.offsets)
            table = np.clip(np.rint(levels), 0, 255).astype(np.uint8).reshape(1, 256, 3)
            plate = np.asarray(cv2.LUT(plate, table), np.uint8)
        return plate

    def move_map(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map (H, W) of the plate, of any size, moved without mixing neighbours."""
        if self.matrix is None:
            return values
        return np.asarray(self._moved(values, cv2.INTER_NEAREST), np.float32)

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

    def _moved(self, array: NDArray[Any], interpolation: int) -> NDArray[Any]:
        assert self.matrix is not None
        height, width = array.shape[:2]
        scale = np.array([width / self.size[1], height / self.size[0]])
        matrix = self.matrix.copy()
        # Pixel i of one size lies at (i + 1/2) scale - 1/2 of the other.
        half = np.full(2, 0.5)
        matrix[:, 2] = scale * (matrix[:, 2] + half - matrix[:, :2] @ half)
        matrix[:, :2] = scale[:, None] * matrix[:, :2] / scale[None]
        matrix[:, 2] += matrix[:, :2] @ half - half
        return np.asarray(
            cv2.warpAffine(
                array, matrix, (width, height), flags=interpolation, borderMode=cv2.BORDER_REFLECT
            )
        )


@dataclass(frozen=True, eq=False)
class PlateFeatures:
    """All that registration reads from a plate, measured once for many pictures.

    Attributes:
        plate: uint8 (H, W, 3) RGB.
        corners: float32 (N, 1, 2), x and y; None where the plate is too small or has none.
        contrast: uint8 (H, W), local contrast; None where there are too few corners to need it.
        cells: float64 (K, 3), mean colours on a coarse grid.
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
    """Find how a plate comes onto its picture.

    Args:
        picture: uint8 (H, W, 3) RGB of the plate's size, best that of the network's input: more
            pixels cost time and help little.
        features: of the plate.

    Returns:
        The motion and the light. A plate of another scene, or one without texture, stays as it is.
    """
    size = (picture.shape[0], picture.shape[1])
    corners = 0 if features.corners is None else len(features.corners)
    matrix, agreeing = _find_motion(picture, features)
    motion = Registration(matrix, None, None, corners, agreeing, size)
    moved = features.cells if matrix is None else _cells(motion.apply(features.plate))
    light = _find_light(_cells(picture), moved)
    gains, offsets = (None, None) if light is None else light
    return Registration(matrix, gains, offsets, corners, agreeing, size)


def _find_motion(picture: Picture, features: PlateFeatures) -> tuple[Matrix | None, int]:
    """The plate's motion, or None, and the number of corners that moved alike."""
    corners, plate_contrast = features.corners, features.contrast
    if corners is None or plate_contrast is None:
        return None, 0
    contrast = _local_contrast(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    followed, found = _follow(plate_contrast, contrast, corners)
    returned, found_back = _follow(contrast, plate_contrast, followed)
    kept = found & found_back
    kept &= np.abs(returned - corners).max(axis=(1, 2)) < _MAX_RETURN_ERROR
    if kept.sum() < _MIN_INLIERS:
        return None, 0
    # OpenCV's stubs do not say that there may be no motion.
    estimate: Any = cv2.estimateAffinePartial2D(
        corners[kept],
        followed[kept],
        ransacReprojThreshold=_INLIER_DISTANCE,
        maxIters=500,
        confidence=0.995,
    )
    matrix, inliers = estimate
    agreeing = 0 if matrix is None else int(inliers.sum())
    if agreeing < max(_MIN_INLIERS, _MIN_INLIER_SHARE * kept.sum()):
        return None, agreeing
    height, width = picture.shape[:2]
    if not _is_plausible(matrix, height, width):
        return None, agreeing
    edge = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    reach = np.abs(edge @ matrix[:, :2].T + matrix[:, 2] - edge).max()
    return (matrix if reach > _STILL else None), agreeing


def _follow(
    before: Picture, after: Picture, points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points (N, 1, 2) of one grey picture are in another, and which were found."""
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
    """Whether a camera that nobody meant to move may have moved like this."""
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
    """Gains and offsets that make the plate's light the picture's; None where they help little."""
    # A value that may be clipped does not say what the gain is, but it may agree with one.
    unclipped = (np.minimum(picture, plate) > _CLIPPED[0]) & (
        np.maximum(picture, plate) < _CLIPPED[1]
    )
    usable = unclipped.any(axis=1)
    if usable.sum() < _MIN_CELLS or not unclipped.any(axis=0).all():
        return None
    gains = _start_gains(picture, plate, unclipped)
    gains, offsets = _fit_light(picture[usable], plate[usable], unclipped[usable], gains)
    before, after = _difference(picture, plate), _difference(picture, plate * gains + offsets)
    even = np.abs(gains - 1).max() < _EVEN_GAIN and np.abs(offsets).max() < _EVEN_OFFSET
    alike_before, alike_after = np.mean(before < _ALIKE), np.mean(after < _ALIKE)
    better = alike_after > alike_before or (np.median(after) <= _MAX_ERROR_LEFT * np.median(before))
    # Of two scenes that have nothing in common, a gain near 0 would make a grey one.
    plausible = gains.min() > _GAIN_RANGE[0] and gains.max() < _GAIN_RANGE[1]
    if even or not (better and alike_after >= _MIN_ALIKE_SHARE and plausible):
        return None
    red, green, blue = map(float, gains)
    return (red, green, blue), (float(offsets[0]), float(offsets[1]), float(offsets[2]))


def _fit_light(
    picture: Cells, plate: Cells, unclipped: NDArray[np.bool_], gains: Matrix
) -> tuple[Matrix, Matrix]:
    """Gains and offsets (3,) by iteratively reweighted least squares, from gains (3,) on."""
    offsets = np.zeros(3)
    products = np.empty((len(plate), 9))  # so that one sum serves all: NumPy's cost grows by rows
    for _ in range(_MAX_ROUNDS):
        errors = _largest(np.abs(picture - (plate * gains + offsets)) * unclipped)
        spread = _TUKEY * max(1.0, 1.48 * float(np.median(errors)))  # 1.48: of a normal's median
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


def _start_gains(picture: Cells, plate: Cells, unclipped: NDArray[np.bool_]) -> Matrix:
    """Gains (3,) to start from: of several quantiles, those that make the most cells alike.

    The median ratio of all cells is the foreground's where the rest is overexposed.
    """
    ratios = (picture + 1) / (plate + 1)
    columns = [ratios[unclipped[:, channel], channel] for channel in range(3)]
    candidates = np.stack([np.quantile(each, _START_QUANTILES) for each in columns], axis=1)
    differences = _difference(picture, plate * candidates[:, None])  # (starts, N)
    return np.asarray(candidates[int(np.argmax(np.mean(differences < _ALIKE, axis=1)))])


def _difference(picture: Cells, lit: Cells) -> NDArray[np.float64]:
    """(..., N): the largest difference over channels; the plate is clipped as by a camera."""
    return _largest(np.abs(picture - np.clip(lit, 0, 255)))


def _largest(values: Cells) -> NDArray[np.float64]:
    """(..., N): the largest of each cell's three channels."""
    return np.asarray(np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2]))


def _cells(picture: Picture) -> Cells:
    """Mean colours of the cells of a coarse grid."""
    height, width = picture.shape[:2]
    shrink = min(1.0, _CELLS / min(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    cells = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cells.reshape(-1, 3), np.float64)
