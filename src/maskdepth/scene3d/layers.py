"""A prediction as a scene of two layers: the plate, and the foreground before it.

The plate shows what is behind the foreground, so its layer is complete. The foreground's layer is
where alpha is above 0.5, in its own colour, from which the plate's has been taken out. What is a
hundred times as far as the nearest surface, and the sky, is in neither.

Coordinates are those of glTF 2.0: X to the right, Y up, and the camera at the origin, looking along
-Z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.camera import Camera, assume_camera, read_camera
from maskdepth.depth import depth_from_inverse_depth, inverse_depth, largest_inverse_depth
from maskdepth.errors import PictureError
from maskdepth.images import resize
from maskdepth.inference.prediction import Prediction
from maskdepth.records import Json

FAR_FACTOR: Final = 100.0
"""What is this many times as far as the nearest surface, or farther, is left out."""

_SOFT_EDGE: Final = 0.01  # of the long side: about three pixels of the network's input

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a scene, on the picture's pixel grid.

    Attributes:
        name: ``"foreground"``; ``"plate"``; or ``"background"``, where there is no plate, so that
            nothing is there behind the foreground.
        colour: uint8 (H, W, 4) straight RGBA of the foreground, else (H, W, 3) RGB.
        depth: float32 (H, W) along the optical axis, in the scene's unit; NaN where nothing is.
        continuous: whether each connected part is one surface, so that a mesh is not cut where
            depth jumps. A foreground whose relief comes from the network is.
    """

    name: str
    colour: NDArray[np.uint8]
    depth: Floats
    continuous: bool = False


@dataclass(frozen=True, eq=False)
class Scene:
    """What a picture and its plate show, in three dimensions.

    Attributes:
        layers: the foreground last; without it where nothing of it has a depth.
        camera: that took the picture.
        metric: whether the unit is the metre. If not, it is the distance of the nearest surface of
            the plate, and depth is as right as disparity is: up to a shift that nobody knows.
        far: depth from which on everything is left out, in the scene's unit.
    """

    layers: tuple[Layer, ...]
    camera: Camera
    metric: bool
    far: float

    @property
    def unit(self) -> str:
        """The unit in words."""
        return "metres" if self.metric else "relative: 1 is the distance of the nearest surface"

    def as_json(self) -> Json:
        """What a file of the scene says about it, as plain values."""
        return {
            "unit": self.unit,
            "metric": self.metric,
            "axes": "X right, Y up, the camera at the origin looks along -Z",
            "camera": self.camera.as_json(),
            "left_out": f"sky, and what is {self.far:.4g}{' m' * self.metric} away or farther",
            "layers": [layer.name for layer in self.layers],
        }


def build_scene(prediction: Prediction, camera: Camera | None = None) -> Scene:
    """The layers of a prediction.

    Args:
        camera: that took the picture. If left out it is the prediction's, which comes from a plate
            profile, else that of the picture file's EXIF, else one that sees 60 degrees across the
            longer side.

    Raises:
        PictureError: the prediction has no depth, or nothing at a finite distance.
    """
    size = (prediction.alpha.shape[0], prediction.alpha.shape[1])
    front = _frame_inverse_depth(prediction)
    if np.isnan(front).all():
        raise PictureError(
            "a prediction with depth",
            "none",
            "use a model that learned depth, such as the shipped one",
            f"{_name(prediction)} has no depth, so there is no scene in it.",
        )
    camera = _find_camera(prediction, size) if camera is None else camera
    mask, plate = prediction.mask, prediction.plate
    hidden = _hidden_inverse_depth(prediction)
    if plate is None or hidden is None:
        name, colour, hidden = "background", prediction.image, np.full(size, np.nan, np.float32)
    else:
        name, colour = "plate", plate
    sources = prediction.provenance.disparity_sources
    behind = np.where(mask, hidden, front)
    if sources.get("all", "") == "picture":
        behind = _settle_edge(behind, ~mask, cv2.erode)
    estimated = "picture" in (sources.get("foreground"), sources.get("all"))
    if estimated:
        front = _limit_relief(_settle_edge(front, mask, cv2.dilate), mask, camera.focal_px)
    nearest = largest_inverse_depth(behind) or largest_inverse_depth(front)
    if nearest == 0:
        raise PictureError(
            "something at a finite distance",
            "sky alone",
            "",
            f"{_name(prediction)} has nothing at a finite distance, so there is no scene in it.",
        )
    layers = [Layer(name, colour, _finite_depth(behind, nearest / FAR_FACTOR))]
    foreground = _finite_depth(np.where(mask, front, np.nan), nearest / FAR_FACTOR)
    if np.isfinite(foreground).any():
        layers.append(Layer("foreground", prediction.cutout(), foreground, continuous=estimated))
    metric = prediction.depth_m is not None
    return Scene(tuple(layers), camera, metric, FAR_FACTOR / nearest)


def _frame_inverse_depth(prediction: Prediction) -> Floats:
    """float32 (H, W) in 1/unit of what the picture shows; NaN where invalid."""
    if prediction.depth_m is None:
        return prediction.disparity
    return inverse_depth(prediction.depth_m).astype(np.float32)


def _hidden_inverse_depth(prediction: Prediction) -> Floats | None:
    """As `_frame_inverse_depth`, of the plate. None without one; NaN where it shows nothing."""
    if prediction.plate_disparity is None:
        return None
    size = prediction.alpha.shape[:2]
    values = resize(prediction.plate_disparity, *size)
    calibration = prediction.provenance.calibration
    if prediction.depth_m is not None and calibration is not None:
        values = np.maximum(calibration.inverse_depth(values), 0).astype(np.float32)
    registration = prediction.provenance.registration
    covered = None if registration is None else registration.covered(size)
    return values if covered is None else np.where(covered, values, np.float32(np.nan))


def _settle_edge(inverse: Floats, inside: Mask, extreme: Callable[..., Any]) -> Floats:
    """Inverse depth whose values at the edge of a mask are those a little farther inside.

    The network works on a small picture. Along an outline its answer for one side runs into that
    for the other, and of that slope there would be a skirt around the foreground.

    Args:
        inside: bool (H, W), the mask.
        extreme: ``cv2.dilate`` where what lies inside is the nearer side, else ``cv2.erode``.
    """
    reach = max(1, round(_SOFT_EDGE * max(inside.shape)))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    outside = ~inside | np.isnan(inverse)
    blank = np.float32(-np.inf if extreme is cv2.dilate else np.inf)
    settled = extreme(np.where(outside, blank, inverse).astype(np.float32), kernel)
    edge = cv2.dilate(outside.astype(np.uint8), kernel, borderValue=0) > 0
    return np.where(edge & ~outside, settled, inverse).astype(np.float32)


def _limit_relief(inverse: Floats, mask: Mask, focal_px: float) -> Floats:
    """Inverse depth in which no object is deeper than it is long.

    The network sees well how far an object is, and its relief less well. Of each part of the mask,
    what is nearer or farther than the median by more than half of the part's longer side is put
    there.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    limited = inverse.copy()
    for number in range(1, count):
        left, top, width, height, _ = boxes[number].tolist()
        window = np.s_[top : top + height, left : left + width]
        own = (labels[window] == number) & np.isfinite(inverse[window])
        if own.any():
            values = inverse[window][own]
            middle = float(np.median(values))
            reach = 1 + max(width, height) / (2 * focal_px)
            limited[window][own] = np.clip(values, middle / reach, middle * reach)
    return limited


def _finite_depth(inverse: Floats, farthest: float) -> Floats:
    """Depth where inverse depth is above that of the farthest that counts; NaN elsewhere."""
    return depth_from_inverse_depth(np.where(inverse > farthest, inverse, np.nan))


def _find_camera(prediction: Prediction, size: tuple[int, int]) -> Camera:
    file = prediction.provenance.picture_file
    found = prediction.camera
    if found is None and file is not None:
        found = read_camera(file, size)
    return assume_camera(size) if found is None else found


def _name(prediction: Prediction) -> str:
    file = prediction.provenance.picture_file
    return "The picture" if file is None else str(file)
