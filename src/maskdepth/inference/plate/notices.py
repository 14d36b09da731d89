"""What a prediction says of itself: signs that its plate or its mask may be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.plate.registration import Registration

__all__ = ["Notice", "find_notices", "plate_notices"]

Picture = NDArray[np.uint8]

_MAX_TURN_DEG: Final = 6.0  # a camera that was merely touched turns less, ...
_MAX_ZOOM: Final = 0.06  # ... comes no nearer ...
_MAX_SHIFT: Final = 0.1  # ... and moves by less of the long side
_MIN_GAMMA_CHANGE: Final = 0.1
_NEARLY_ALL: Final = 0.9  # of the picture
_MIN_OUTLINE: Final = 50  # px of an outline that can tell a picture from its plate
# The plate's edge is clearly stronger above this many times the picture's gradient, plus this.
_CLEAR_EDGE: Final = (1.5, 10.0)
_EDGE_REACH_PX: Final = 8  # how far an edge's strength depends on its surroundings, at most
_EXCHANGED: Final = 0.4  # of the outline that is clearly the plate's; 2 of 500 good pairs exceed it


@dataclass(frozen=True)
class Notice:
    """One thing that a user should know of a prediction.

    Attributes:
        code: for programs: ``no_plate``, ``another_scene``, ``turned``, ``zoomed``, ``shifted``,
            ``another_tone``, ``exchanged``, ``nothing_found``, ``nearly_all_found`` or
            ``compared_in_grey``.
        text: for people, whole sentences.
    """

    code: str
    text: str


def find_notices(
    picture: Picture,
    plate: Picture | None,
    mask: NDArray[np.bool_],
    registration: Registration | None,
    *,
    metric: bool,
    compared_in_grey: bool = False,
) -> tuple[Notice, ...]:
    """All notices of a prediction.

    Args:
        picture, plate: uint8 (h, w, 3), the plate as it was registered, both at the network's input
            size; no plate without one.
        mask: bool (H, W), at the picture's own size.
        registration: of the plate; None where there is none, or it is switched off.
        metric: whether depth in metres comes from the plate.
        compared_in_grey: whether only one of picture and plate has colour.
    """
    notices = []
    if plate is None:
        notices.append(Notice("no_plate", "Without a plate the mask is a guess."))
    if registration is not None:
        notices += plate_notices(registration, metric=metric)
    share = np.count_nonzero(mask) / mask.size
    if not share:
        notices.append(Notice("nothing_found", "No foreground was found."))
    elif share > _NEARLY_ALL:
        text = f"The mask covers {share:.0%} of the picture".replace("%", " %")
        reason = "" if plate is None else ": the plate may be of another scene"
        notices.append(Notice("nearly_all_found", f"{text}{reason}."))
    elif plate is not None and not notices and _are_exchanged(picture, plate, mask):
        text = "Picture and plate may be exchanged: the foreground's outline is in the plate."
        notices.append(Notice("exchanged", text))
    if compared_in_grey:
        text = "Only one of picture and plate has colour, so the two were compared in grey."
        notices.append(Notice("compared_in_grey", text))
    return tuple(notices)


def plate_notices(registration: Registration, *, metric: bool = False) -> list[Notice]:
    """What registration found that is more than a camera that was touched.

    Args:
        registration: of the plate.
        metric: whether depth in metres comes from the plate.
    """
    if registration.another_scene:
        text = "The plate seems to show another scene, so the mask is not to be trusted."
        return [Notice("another_scene", text)]
    notices = []
    applied = registration.not_applied is None
    outcome = "the plate was moved to match" if applied else "too far to correct, the mask is wrong"
    turn, zoom = registration.turn_deg, registration.zoom
    if abs(turn) > _MAX_TURN_DEG:
        text = f"The picture shows the scene turned by {abs(turn):.0f} degrees against the plate"
        notices.append(Notice("turned", f"{text}: {outcome}."))
    if abs(zoom - 1) > _MAX_ZOOM:
        text = (
            f"The picture shows the scene {zoom:.2f} times as large as the plate does: {outcome}."
        )
        if metric:
            text += " Distances are right only if the lens was zoomed and the camera stood still."
        notices.append(Notice("zoomed", text))
    if registration.shift > _MAX_SHIFT and not notices:
        text = f"The camera has moved by {registration.shift:.0%} of the picture".replace("%", " %")
        notices.append(Notice("shifted", f"{text} since the plate was taken: {outcome}."))
    light = registration.light
    if light is not None and light.curved:
        text = "Picture and plate differ in their tone curves, which could not be matched."
        notices.append(Notice("another_tone", text))
    elif light is not None and abs(np.log(light.gamma)) > _MIN_GAMMA_CHANGE:
        text = (
            f"Picture and plate have different tone curves: a gamma of {light.gamma:.2f} was used."
        )
        notices.append(Notice("another_tone", text))
    return notices


def _are_exchanged(picture: Picture, plate: Picture, mask: NDArray[np.bool_]) -> bool:
    """Whether the mask's outline is an edge of the plate rather than of the picture."""
    height, width = picture.shape[:2]
    small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    kernel = np.ones((3, 3), np.uint8)
    outline = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, kernel) > 0
    if outline.sum() < _MIN_OUTLINE:
        return False
    left, top, columns, rows = cv2.boundingRect(outline.astype(np.uint8))
    window = np.s_[
        max(0, top - _EDGE_REACH_PX) : top + rows + _EDGE_REACH_PX,
        max(0, left - _EDGE_REACH_PX) : left + columns + _EDGE_REACH_PX,
    ]
    outline = outline[window]
    factor, levels = _CLEAR_EDGE
    clear = _edges(plate[window])[outline] > factor * _edges(picture[window])[outline] + levels
    return float(clear.mean()) > _EXCHANGED


def _edges(picture: Picture) -> NDArray[np.float32]:
    """The strongest gradient about each pixel."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    red, green, blue = cv2.split(cv2.magnitude(across, down))
    strength = np.maximum(np.maximum(red, green), blue)
    return np.asarray(cv2.dilate(strength, np.ones((3, 3), np.uint8)), np.float32)
