"""The foreground's disparity along its outline."""

from __future__ import annotations

import cv2
import numpy as np

from maskdepth.inference.frame_depth import settle_rim

NEAR, FAR = np.float32(0.8), np.float32(0.2)


def blurred_box(left: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Disparity (60, 80) of a near box that runs into what is behind it, and the box's mask."""
    mask = np.zeros((60, 80), bool)
    mask[15:45, left:right] = True
    return cv2.GaussianBlur(np.where(mask, NEAR, FAR), (0, 0), 0.8), mask


def test_an_object_is_as_near_along_its_outline_as_in_its_middle() -> None:
    disparity, mask = blurred_box(20, 60)
    assert disparity[mask].min() < 0.6
    assert settle_rim(disparity, mask)[mask].min() > 0.79


def test_the_value_goes_on_beyond_the_outline_for_what_enlarges_the_map() -> None:
    disparity, mask = blurred_box(20, 60)
    around = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert settle_rim(disparity, mask)[around].min() > 0.79


def test_an_object_that_leaves_the_frame_keeps_its_values_there() -> None:
    disparity, mask = blurred_box(0, 30)
    disparity[:, :8] += np.linspace(0.1, 0, 8, dtype=np.float32)
    settled = settle_rim(disparity, mask)
    assert np.array_equal(settled[25:35, :8], disparity[25:35, :8])


def test_parts_that_are_too_thin_to_have_an_inside_and_empty_masks_stay_as_they_are() -> None:
    disparity, mask = blurred_box(40, 43)
    assert np.array_equal(settle_rim(disparity, mask), disparity)
    assert np.array_equal(settle_rim(disparity, np.zeros_like(mask)), disparity)
