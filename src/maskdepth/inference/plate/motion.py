"""The motion that brings a plate onto its picture, and whether the two show one scene.

1. One step of least squares on the plate's strongest edges (Lucas and Kanade, "An Iterative Image
   Registration Technique", IJCAI 1981) shows whether the camera stood still, as most do.
2. Otherwise corners of the plate are followed into the picture and back (by the same method, in
   pyramids; Kalal et al., "Forward-Backward Error", ICPR 2010). RANSAC (Fischler and Bolles, CACM
   1981) finds the shift, turn and zoom that most corners agree on. Corners that the foreground
   hides do not agree, and are left out. Both read local contrast, which light does not change.
3. Where too few agree, or on a large motion, points are matched by their description (Lowe,
   "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004), which finds any turn
   and a zoom of up to two.
4. Where that finds nothing either, the two pictures' correlation over all shifts, with its spectrum
   whitened by half (Knapp and Carter, "The Generalized Correlation Method", 1976), has a peak if
   they show one scene, even where a foreground leaves little of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Motion",
    "PlateTexture",
    "find_motion",
    "local_contrast",
    "motion_reach",
    "shift_peak",
]

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]  # (2, 3)
Points = tuple[NDArray[np.float32], NDArray[np.float32]]  # (N, 2) places, (N, 128) descriptions

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
# A camera that stood still.
_MAX_EDGE_PIXELS: Final = 4000
_SAME_CONTRAST: Final = 20.0  # levels of local contrast by which noise hardly ever differs
_MIN_SAME: Final = 0.5  # share of the edges' pixels that have to fit
# Matched points.
_MAX_POINTS: Final = 800
_POINT_CONTRAST: Final = 0.02  # OpenCV's threshold: a plate has weak points too
_DISTINCT: Final = 0.8  # of the second best match's distance: a larger one is left out
_POINT_DISTANCE: Final = 2.0  # px between a matched point and where the common motion puts it
_MIN_MATCHES: Final = 10  # of two scenes at most 4 agreed by chance in 300 pairs
_ZOOM_RANGE: Final = (0.5, 2.0)  # points collapse into one beyond
_MIN_MATCHED_MOTION: Final = 0.5  # px at the outer corners: matched points are not that exact
_MIN_COVERED: Final = 0.8  # of the picture, by a plate that is moved far
_MIN_DISTINCT: Final = 20  # corners beyond noise; fewer cannot tell one scene from another
_MIN_TEXTURE: Final = 1.5  # grey levels, deviation around a corner; noise and JPEG stay below


@dataclass(frozen=True, eq=False)
class Motion:
    """What was found of a camera's motion.

    Attributes:
        matrix: float64 (2, 3), from the plate's pixels to the picture's; None where the plate is
            not moved.
        not_applied: the same, of a motion after which the plate would show too little of the
            picture; None where none was found.
        agreeing: number of followed corners that agree on one motion.
        recognised: whether matched points say that picture and plate show one scene.
    """

    matrix: Matrix | None = None
    not_applied: Matrix | None = None
    agreeing: int = 0
    recognised: bool = False


@dataclass(frozen=True, eq=False)
class Edges:
    """The pixels of a plate's strongest edges.

    Attributes:
        index: (K,) of these pixels in the flat picture.
        slopes: float32 (K, 4), how the contrast there changes with a shift to the right and down, a
            turn and a zoom, by each of which the picture's outer corners move about 1 px.
    """

    index: NDArray[np.intp]
    slopes: NDArray[np.float32]

    @classmethod
    def measure(cls, contrast: Picture) -> Self:
        """The edges of a plate's local contrast, uint8 (H, W)."""
        right, down = (
            cv2.Sobel(contrast, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1))
        )
        strength = cv2.magnitude(right, down).ravel()
        count = min(_MAX_EDGE_PIXELS, strength.size)
        index = np.argpartition(strength, -count)[-count:]
        rows, columns = np.divmod(index, contrast.shape[1])
        height, width = contrast.shape
        y, x = ((rows - height / 2), (columns - width / 2)) / np.hypot(height, width) * 2
        right, down = right.ravel()[index], down.ravel()[index]
        slopes = np.stack([right, down, down * x - right * y, right * x + down * y], axis=1)
        return cls(index, slopes.astype(np.float32))

    def stand_still(self, contrast: Picture, plate_contrast: Picture) -> bool:
        """Whether most edges are where they are in the plate, and none of the motions is found."""
        change = np.take(contrast, self.index).astype(np.float32)
        change -= np.take(plate_contrast, self.index)
        left, motion = change, np.zeros(4, np.float32)
        for _ in range(2):
            same = np.abs(left) < _SAME_CONTRAST
            if same.mean() < _MIN_SAME:
                return False
            slopes = self.slopes[same]
            moments = slopes.T @ slopes + 1e-3 * np.eye(4, dtype=np.float32)
            motion = np.linalg.solve(moments, slopes.T @ change[same])
            left = change - self.slopes @ motion
        return float(np.hypot(*motion[:2]) + np.hypot(*motion[2:])) <= _MIN_MOTION


@dataclass(frozen=True, eq=False)
class PlateTexture:
    """What can be recognised of a plate, measured once for many pictures.

    Attributes:
        corners: float32 (N, 1, 2), x and y; None where the plate is too small or has none.
        contrast: uint8 (H, W), local contrast; None where corners are too few to find a motion.
        distinct: number of corners that are more than noise.
    """

    corners: NDArray[np.float32] | None
    contrast: Picture | None
    distinct: int

    @classmethod
    def measure(cls, plate: Picture) -> Self:
        """The texture of a plate, uint8 (H, W, 3) RGB."""
        if min(plate.shape[:2]) < _MIN_SIDE:
            return cls(None, None, 0)
        grey = cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY)
        # OpenCV's stubs do not say that there may be no corners.
        corners: Any = cv2.goodFeaturesToTrack(grey, _MAX_CORNERS, _CORNER_QUALITY, _CORNER_GAP)
        if corners is None or len(corners) < _MIN_INLIERS:
            return cls(corners, None, 0)
        return cls(corners, local_contrast(grey), _count_distinct(grey, corners))

    @property
    def is_distinct(self) -> bool:
        """Whether there is enough to recognise: a wall of one colour has nothing but noise."""
        return self.distinct >= _MIN_DISTINCT

    @cached_property
    def edges(self) -> Edges | None:
        """The strongest edges; None where corners are too few to find a motion."""
        return None if self.contrast is None else Edges.measure(self.contrast)

    @cached_property
    def points(self) -> Points | None:
        """Points to match; None where there are none."""
        return None if self.contrast is None else _describe_points(self.contrast)


def find_motion(contrast: Picture | None, texture: PlateTexture) -> Motion:
    """The motion from a plate to a picture.

    Args:
        contrast: uint8 (H, W), the picture's local contrast; None where it is not needed.
        texture: of the plate.
    """
    if contrast is None or texture.corners is None or texture.contrast is None:
        return Motion()
    assert texture.edges is not None
    if texture.edges.stand_still(contrast, texture.contrast):
        columns, rows = texture.corners[:, 0].astype(np.intp).T
        difference = cv2.absdiff(contrast, texture.contrast)[rows, columns]
        return Motion(agreeing=int((difference < _SAME_CONTRAST).sum()))
    followed, agreeing, enough = _follow_corners(contrast, texture.contrast, texture.corners)
    height, width = contrast.shape
    if followed is not None and enough and _is_small(followed, height, width):
        still = motion_reach(followed, height, width) <= _MIN_MOTION
        return Motion(None if still else followed, agreeing=agreeing)
    matched = None
    if texture.is_distinct and texture.points is not None:
        matched = _match_points(texture.points, _describe_points(contrast))
    if matched is None:
        return Motion(not_applied=followed if enough else None, agreeing=agreeing)
    if motion_reach(matched, height, width) <= _MIN_MATCHED_MOTION:
        return Motion(agreeing=agreeing, recognised=True)
    if _is_small(matched, height, width) or _covered(matched, height, width) >= _MIN_COVERED:
        return Motion(matched, agreeing=agreeing, recognised=True)
    return Motion(not_applied=matched, agreeing=agreeing, recognised=True)


def shift_peak(contrast: Picture, plate_contrast: Picture) -> float:
    """How far the correlation of two pictures at its best small shift stands out, in deviations."""
    height, width = contrast.shape
    size = cv2.getOptimalDFTSize(height), cv2.getOptimalDFTSize(width)
    window = cv2.createHanningWindow((width, height), cv2.CV_64F) ** 0.25
    first, second = (
        np.fft.rfft2((each - 128.0) * window, size) for each in (contrast, plate_contrast)
    )
    product = first * np.conj(second)
    raw = np.fft.irfft2(product / np.sqrt(np.abs(product) + 1e-6), size)
    surface = np.asarray(cv2.GaussianBlur(raw, (0, 0), 0.7), np.float64)
    surface -= np.median(surface)
    reach = round(_MAX_SHIFT * max(height, width))
    nearby = np.roll(surface, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    return float(nearby.max() / (1.48 * np.median(np.abs(surface)) + 1e-9))  # 1.48: a deviation


def _follow_corners(
    contrast: Picture, plate_contrast: Picture, corners: NDArray[np.float32]
) -> tuple[Matrix | None, int, bool]:
    """The corners' common motion, the number that agree on it, and whether they are enough."""
    followed, found = _follow(plate_contrast, contrast, corners)
    returned, found_back = _follow(contrast, plate_contrast, followed)
    reliable = found & found_back
    reliable &= np.abs(returned - corners).max(axis=(1, 2)) < _MAX_RETURN_ERROR
    if reliable.sum() < _MIN_INLIERS:
        return None, 0, False
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
    return matrix, agreeing, agreeing >= max(_MIN_INLIERS, _MIN_INLIER_SHARE * reliable.sum())


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


def _is_small(matrix: Matrix, height: int, width: int) -> bool:
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


def local_contrast(grey: NDArray[Any]) -> Picture:
    """Grey (H, W) less its local mean, divided by its local deviation, around 128."""
    values = cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32)
    side = (_CONTRAST_SIDE, _CONTRAST_SIDE)
    mean = cv2.blur(values, side)
    deviation = np.asarray(cv2.blur(values * values, side), np.float32)
    deviation -= mean * mean
    np.sqrt(np.maximum(deviation, 0, out=deviation), out=deviation)
    deviation += _CONTRAST_FLOOR
    contrast = np.subtract(values, mean, out=values)
    contrast /= deviation
    contrast *= _CONTRAST_SCALE
    contrast += 128
    return np.asarray(np.clip(contrast, 0, 255, out=contrast), np.uint8)


def _describe_points(contrast: Picture) -> Points | None:
    opencv: Any = cv2  # whose stubs lack SIFT
    detector = opencv.SIFT_create(_MAX_POINTS, contrastThreshold=_POINT_CONTRAST)
    found, descriptions = detector.detectAndCompute(contrast, None)
    if len(found) < _MIN_MATCHES:
        return None
    return np.array([each.pt for each in found], np.float32), np.asarray(descriptions, np.float32)


def _match_points(plate: Points, picture: Points | None) -> Matrix | None:
    """The motion that enough matched points agree on, or None."""
    if picture is None:
        return None
    matches = cv2.BFMatcher().knnMatch(plate[1], picture[1], k=2)
    # Several points that match the same one would agree on a motion that puts all into one.
    best: dict[int, cv2.DMatch] = {}
    for nearest, second in matches:
        if nearest.distance < _DISTINCT * second.distance:
            rival = best.get(nearest.trainIdx)
            if rival is None or nearest.distance < rival.distance:
                best[nearest.trainIdx] = nearest
    if len(best) < _MIN_MATCHES:
        return None
    estimate: Any = cv2.estimateAffinePartial2D(
        plate[0][[each.queryIdx for each in best.values()]],
        picture[0][[each.trainIdx for each in best.values()]],
        ransacReprojThreshold=_POINT_DISTANCE,
        maxIters=1000,
    )
    matrix, inliers = estimate
    if matrix is None or inliers.sum() < _MIN_MATCHES:
        return None
    low, high = _ZOOM_RANGE
    return np.asarray(matrix) if low <= np.hypot(matrix[0, 0], matrix[1, 0]) <= high else None


def _count_distinct(grey: NDArray[Any], corners: NDArray[np.float32]) -> int:
    values = cv2.GaussianBlur(grey, (0, 0), 2.0).astype(np.float32)
    side = (_CONTRAST_SIDE, _CONTRAST_SIDE)
    values -= cv2.blur(values, side)
    deviation = np.sqrt(np.maximum(cv2.blur(values * values, side), 0))
    columns, rows = corners[:, 0].astype(np.intp).T
    return int((deviation[rows, columns] >= _MIN_TEXTURE).sum())


def motion_reach(matrix: Matrix, height: int, width: int) -> float:
    """How far the picture's outer corners move, px."""
    ends = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    return float(np.abs(ends @ matrix[:, :2].T + matrix[:, 2] - ends).max())


def _covered(matrix: Matrix, height: int, width: int) -> float:
    """The share of the picture that the moved plate covers."""
    full = np.full((height, width), 255, np.uint8)
    return float(cv2.warpAffine(full, matrix, (width, height)).mean() / 255)
