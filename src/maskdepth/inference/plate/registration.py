"""A plate brought onto its picture: moved as the camera has moved since, lit as the picture is.

Two steps, each of which leaves the plate exactly as it is where it finds nothing to mend:

1. Corners of the plate are followed into the picture (Lucas and Kanade, "An Iterative Image
   Registration Technique", IJCAI 1981, in pyramids; there and back, Kalal et al., "Forward-Backward
   Error", ICPR 2010) on local contrast, which light does not change. The shift, turn and zoom that
   most of them agree on is found by RANSAC (Fischler and Bolles, CACM 1981). Corners that are
   hidden by the foreground do not agree, and have no say.
2. A gain and an offset for each channel are fitted to the pixels that are alike, by iteratively
   reweighted least squares with Tukey's biweight; foreground and shadows fall out as outliers.

It costs a few milliseconds at the network's size, and turns the hardest pairs for a network, those
of a camera that has been touched or of other light, into easy ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]

_MOST_CORNERS: Final = 200
_CORNER_QUALITY: Final = 0.002  # of the best corner's strength: a smooth plate has weak ones too
_CORNER_GAP: Final = 6  # px
_WINDOW: Final = 15  # px, side of what is compared around a corner
_LEVELS: Final = 2  # halvings: motion of up to about 30 px is followed
_THERE_AND_BACK: Final = 0.5  # px
_AGREE: Final = 0.6  # px
_LEAST_AGREEING: Final = 10
_LEAST_SHARE: Final = 0.2  # of the corners that were followed
_MOST_SHIFT: Final = 0.1  # of the long side
_MOST_TURN: Final = 6.0  # degrees
_MOST_ZOOM: Final = 0.06
_STILL: Final = 0.12  # px at the corners of the picture: less is left as it is
_LEAST_SIDE: Final = 32  # px
# Of another scene, up to 7 of 200 corners agreed by chance in 120 pairs; of the same scene,
# behind a large foreground and under other light, at least 5 % did.
_BY_CHANCE: Final = (4.0, 0.02)  # corners, and share of the corners
_ENOUGH_CORNERS: Final = 60  # to tell one scene from another

_SEED: Final = 2026  # RANSAC draws; the same pair gives the same motion
_CONTRAST_SIDE: Final = 17  # px, over which contrast is local
_CONTRAST_FLOOR: Final = 6.0  # of 255: below it, contrast is taken for noise
_CONTRAST_SCALE: Final = 48.0

_LIGHT_CELLS: Final = 36  # cells on the short side, on whose means light is fitted
_UNCUT: Final = (4, 251)  # beyond them, values are cut off
_LEAST_CELLS: Final = 64
_ROUNDS: Final = 14  # at most
_SETTLED: Final = 5e-4  # change of a gain from one round to the next
_STARTS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles of the cells' ratios
_TUKEY: Final = 2.5  # in robust standard deviations
_PRIOR: Final = 50.0  # squared grey levels that hold the gain where a plate has little contrast
_GAINS: Final = (0.25, 4.0)  # two stops either way
_EVEN_GAIN: Final = 0.01  # less than this
_EVEN_OFFSET: Final = 1.0  # and this, of 255, is left as it is
_LEAST_BETTER: Final = 0.9  # of the typical difference that may be left, else light stays
_ALIKE: Final = 10.0  # of 255: how close a cell has to come to count as alike
_LEAST_ALIKE: Final = 0.25  # of the cells; the rest is foreground and shadow


@dataclass(frozen=True, eq=False)
class Registration:
    """How a plate comes onto its picture.

    Attributes:
        matrix: float64 (2, 3), from the plate's pixels to the picture's; None: it stays.
        gains, offsets: of red, green and blue, the latter of 255; None: its light stays.
        corners: of the plate that could be looked for in the picture.
        agreeing: those that moved alike.
        size: (height, width) that the matrix is for.
    """

    matrix: Matrix | None
    gains: tuple[float, float, float] | None
    offsets: tuple[float, float, float] | None
    corners: int
    agreeing: int
    size: tuple[int, int]

    @property
    def changes(self) -> bool:
        """Whether anything is done to the plate."""
        return self.matrix is not None or self.gains is not None

    @property
    def another_scene(self) -> bool:
        """Whether the plate has much to be recognised by, and none of it is in the picture."""
        by_chance = _BY_CHANCE[0] + _BY_CHANCE[1] * self.corners
        return self.corners >= _ENOUGH_CORNERS and self.agreeing < by_chance

    def move_picture(self, plate: Picture) -> Picture:
        """The plate (H, W, 3), of whatever size, moved and lit; edges are mirrored."""
        if self.matrix is not None:
            plate = np.asarray(self._moved(plate, cv2.INTER_LINEAR), np.uint8)
        if self.gains is not None and self.offsets is not None:
            levels = np.arange(256)[:, None] * np.array(self.gains) + np.array(self.offsets)
            table = np.clip(np.rint(levels), 0, 255).astype(np.uint8).reshape(1, 256, 3)
            plate = np.asarray(cv2.LUT(plate, table), np.uint8)
        return plate

    def move_map(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map (H, W) of the plate, of whatever size, moved without mixing neighbours."""
        if self.matrix is None:
            return values
        return np.asarray(self._moved(values, cv2.INTER_NEAREST), np.float32)

    def as_json(self) -> dict[str, Any]:
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


def register_plate(picture: Picture, plate: Picture) -> Registration:
    """Find how a plate comes onto its picture.

    Args:
        picture, plate: uint8 (H, W, 3) RGB of one size, best that of the network's input: more
            pixels cost time and find little more.

    Returns:
        What was found. A plate of another scene, or one without texture, stays as it is.
    """
    size = (picture.shape[0], picture.shape[1])
    matrix, corners, agreeing = _find_motion(picture, plate)
    moved = Registration(matrix, None, None, corners, agreeing, size)
    light = _find_light(picture, moved.move_picture(plate))
    gains, offsets = (None, None) if light is None else light
    return Registration(matrix, gains, offsets, corners, agreeing, size)


def _find_motion(picture: Picture, plate: Picture) -> tuple[Matrix | None, int, int]:
    """The motion or None, the corners that were looked for, and those that moved alike."""
    height, width = plate.shape[:2]
    if min(height, width) < _LEAST_SIDE:
        return None, 0, 0
    grey_plate = cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY)
    # OpenCV's stubs do not know that there may be no corners, or no motion.
    found: Any = cv2.goodFeaturesToTrack(grey_plate, _MOST_CORNERS, _CORNER_QUALITY, _CORNER_GAP)
    corners = 0 if found is None else len(found)
    if corners < _LEAST_AGREEING:
        return None, corners, 0
    there = _local_contrast(grey_plate)
    here = _local_contrast(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    followed, reached = _follow(there, here, found)
    back, returned = _follow(here, there, followed)
    true = reached & returned
    true &= np.abs(back - found).max(axis=(1, 2)) < _THERE_AND_BACK
    if true.sum() < _LEAST_AGREEING:
        return None, corners, 0
    cv2.setRNGSeed(_SEED)
    estimate: Any = cv2.estimateAffinePartial2D(
        found[true], followed[true], ransacReprojThreshold=_AGREE, maxIters=500, confidence=0.995
    )
    matrix, inliers = estimate
    agreeing = 0 if matrix is None else int(inliers.sum())
    if agreeing < max(_LEAST_AGREEING, _LEAST_SHARE * true.sum()):
        return None, corners, agreeing
    if not _is_plausible(matrix, height, width):
        return None, corners, agreeing
    edge = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    reach = np.abs(edge @ matrix[:, :2].T + matrix[:, 2] - edge).max()
    return (matrix if reach > _STILL else None), corners, agreeing


def _follow(
    before: Picture, after: Picture, points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points (N, 1, 2) of one grey picture are in another, and which were found."""
    followed, status, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, np.empty_like(points), winSize=(_WINDOW,) * 2, maxLevel=_LEVELS
    )
    return np.asarray(followed, np.float32), np.asarray(status).ravel() > 0


def _is_plausible(matrix: Matrix, height: int, width: int) -> bool:
    """Whether a camera that nobody meant to move may have moved like this."""
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    turn = float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
    centre = np.array([width / 2, height / 2])
    shift = matrix[:, :2] @ centre + matrix[:, 2] - centre
    return (
        abs(zoom - 1) <= _MOST_ZOOM
        and abs(turn) <= _MOST_TURN
        and float(np.abs(shift).max()) <= _MOST_SHIFT * max(height, width)
    )


def _local_contrast(grey: NDArray[Any]) -> Picture:
    """Grey (H, W) less its local mean, by its local deviation, around 128."""
    values = cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32)
    side = (_CONTRAST_SIDE, _CONTRAST_SIDE)
    mean = cv2.blur(values, side)
    variance = np.maximum(cv2.sqrBoxFilter(values, -1, side) - mean * mean, 0)
    contrast = (values - mean) / (np.sqrt(variance) + np.float32(_CONTRAST_FLOOR))
    return np.clip(contrast * np.float32(_CONTRAST_SCALE) + 128, 0, 255).astype(np.uint8)


Triple = tuple[float, float, float]


def _find_light(picture: Picture, plate: Picture) -> tuple[Triple, Triple] | None:
    """Gains and offsets that make the plate's light the picture's; None where that mends little."""
    seen, known = _cells(picture), _cells(plate)
    # A value that is cut off says nothing about the gain, but may well agree with one.
    whole = (np.minimum(seen, known) > _UNCUT[0]) & (np.maximum(seen, known) < _UNCUT[1])
    told = whole.any(axis=1)
    if told.sum() < _LEAST_CELLS or not whole.any(axis=0).all():
        return None
    gains, offsets = _first_gains(seen, known, whole), np.zeros(3)
    fitted, base, use = seen[told], known[told], whole[told]
    for _ in range(_ROUNDS):
        left = (np.abs(fitted - (base * gains + offsets)) * use).max(axis=1)
        spread = _TUKEY * max(1.0, 1.48 * float(np.median(left)))  # 1.48: of a normal's median
        weight = np.square(np.maximum(0, 1 - np.square(left / spread)))[:, None] * use  # (N, 3)
        total = weight.sum(axis=0) + 1e-9
        mean_base = (weight * base).sum(axis=0) / total
        mean_fitted = (weight * fitted).sum(axis=0) / total
        offcentre = weight * (base - mean_base)
        variance = (offcentre * (base - mean_base)).sum(axis=0) / total + _PRIOR
        covariance = (offcentre * (fitted - mean_fitted)).sum(axis=0) / total + _PRIOR * gains
        last, gains = gains, np.clip(covariance / variance, *_GAINS)
        offsets = mean_fitted - gains * mean_base
        if np.abs(gains - last).max() < _SETTLED:
            break
    before, after = _mismatch(seen, known), _mismatch(seen, known * gains + offsets)
    even = np.abs(gains - 1).max() < _EVEN_GAIN and np.abs(offsets).max() < _EVEN_OFFSET
    better = np.mean(after < _ALIKE) > np.mean(before < _ALIKE) or (
        np.median(after) <= _LEAST_BETTER * np.median(before)
    )
    # Of two scenes that have nothing in common, a gain near 0 would make a grey one.
    alike = np.mean(after < _ALIKE) >= _LEAST_ALIKE
    plausible = gains.min() > _GAINS[0] and gains.max() < _GAINS[1]
    if even or not (better and alike and plausible):
        return None
    red, green, blue = map(float, gains)
    return (red, green, blue), (float(offsets[0]), float(offsets[1]), float(offsets[2]))


def _first_gains(
    seen: NDArray[np.float64], known: NDArray[np.float64], whole: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Gains (3,) to start from: those of several that make the most cells alike.

    The median ratio of all cells is the foreground's where the rest is overexposed.
    """
    ratios = np.where(whole, (seen + 1) / (known + 1), np.nan)
    candidates = np.nanquantile(ratios, _STARTS, axis=0)  # (starts, 3)
    alike = [np.mean(_mismatch(seen, known * gains) < _ALIKE) for gains in candidates]
    return np.asarray(candidates[int(np.argmax(alike))], np.float64)


def _mismatch(seen: NDArray[np.float64], lit: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,): the largest difference over channels, both cut off as cameras do."""
    return np.asarray(np.abs(seen - np.clip(lit, 0, 255)).max(axis=1), np.float64)


def _cells(picture: Picture) -> NDArray[np.float64]:
    """Mean colours (N, 3) of the cells of a coarse grid."""
    height, width = picture.shape[:2]
    shrink = min(1.0, _LIGHT_CELLS / min(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    cells = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cells.reshape(-1, 3), np.float64)
