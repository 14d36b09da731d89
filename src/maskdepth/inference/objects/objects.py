"""The connected objects of a prediction's mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.objects.run_lengths import encode_mask
from maskdepth.inference.prediction import ObjectDistance, Prediction
from maskdepth.records import Json

__all__ = ["MIN_SHARE", "FrameObject", "find_objects"]

MIN_SHARE: Final = 5e-4
"""Of the picture: smaller objects are left out."""

_NEAREST_PERCENT: Final = 2


@dataclass(frozen=True, eq=False)
class FrameObject:
    """One object of one frame: pixels of the mask that touch, also across corners.

    Attributes:
        box: left, top, width and height, px.
        area: number of its pixels.
        centroid: x and y of their mean, px; pixel (0, 0) is at 0, 0.
        pixels: bool, of the box's height and width.
        frame_size: height and width of the frame.
        colour: mean red, green and blue, 0 to 255.
        disparity: its median and its 98th percentile, so that single pixels do not decide what is
            nearest; None where there is none.
        distance: the same in metres; None without metres.
    """

    box: tuple[int, int, int, int]
    area: int
    centroid: tuple[float, float]
    pixels: NDArray[np.bool_]
    frame_size: tuple[int, int]
    colour: tuple[float, float, float]
    disparity: tuple[float, float] | None = None
    distance: ObjectDistance | None = None

    def mask_record(self) -> Json:
        """Its mask as COCO's compressed run lengths: ``{"size": [h, w], "counts": "..."}``."""
        return encode_mask(self.pixels, self.box[:2], self.frame_size)


def find_objects(prediction: Prediction, min_share: float = MIN_SHARE) -> tuple[FrameObject, ...]:
    """The objects of a prediction, from large to small.

    Args:
        min_share: of the picture; smaller objects are left out.
    """
    mask = prediction.mask
    height, width = mask.shape
    count, labels, boxes, centroids = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    areas = boxes[:, cv2.CC_STAT_AREA]
    order = sorted(range(1, count), key=lambda label: (-int(areas[label]), label))
    objects = []
    for label in order:
        if areas[label] < min_share * height * width:
            break
        left, top, across, down = (int(each) for each in boxes[label, :4])
        window = slice(top, top + down), slice(left, left + across)
        pixels = labels[window] == label
        red, green, blue, _ = cv2.mean(prediction.image[window], pixels.view(np.uint8))
        x, y = (float(each) for each in centroids[label])
        objects.append(
            FrameObject(
                (left, top, across, down),
                int(areas[label]),
                (x, y),
                pixels,
                (height, width),
                (red, green, blue),
                _disparity(prediction.disparity[window][pixels]),
                None
                if prediction.depth_m is None
                else ObjectDistance.of(prediction.depth_m[window][pixels]),
            )
        )
    return tuple(objects)


def _disparity(values: NDArray[np.float32]) -> tuple[float, float] | None:
    valid = values[~np.isnan(values)]
    if not valid.size:
        return None
    median, nearest = np.percentile(valid, (50, 100 - _NEAREST_PERCENT))
    return float(median), float(nearest)
