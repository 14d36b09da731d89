"""Panoramas: equirectangular pictures, and the views of them that serve as backgrounds.

Directions have x to the right, y down and z ahead, where ahead is the middle of the panorama. A
panorama's column is proportional to the angle around the vertical, its row to the angle from it.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from maskdepth.config import Settings
from maskdepth.images import load_picture, resize

VIEWS: Final = 8
"""Views of a panorama by default: each direction is in about two of them."""
MIN_PANORAMA_WIDTH: Final = 512
"""px; the narrowest views of a smaller panorama are too small for a background."""

_FOV: Final = (60.0, 100.0)  # degrees
_PITCH: Final = (-30.0, 15.0)  # degrees; cameras mostly look down
_ROLL: Final = (-3.0, 3.0)  # degrees
_MAX_ELEVATION: Final = 70.0  # degrees, of a view's upper and lower edge; nadirs show tripods
_ASPECT: Final = 4 / 3
# Steps by the golden ratio spread any number of yaws evenly, and leave those before as they are.
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_ASPECT_TOLERANCE: Final = 0.01
# The step across the edge, of the step between neighbouring columns that 95 % stay below. 172
# panoramas have 0.06 to 1.08; 75 % of 226 ordinary photos, cropped to 2:1, have more than 1.5.
_MAX_SEAM: Final = 1.3
_SEAM_WIDTH: Final = 256  # px, of the copy on which that is measured
_SHARP: Final = 1.05  # panorama pixels for each of a view's that need no averaging
_MAX_STEP: Final = 40.0  # grey levels; a lamp or a window on the edge counts no more than this

Floats = NDArray[np.float32]


class View(Settings):
    """Where a camera in the middle of a panorama points.

    Attributes:
        yaw: degrees to the right of the panorama's middle.
        pitch: degrees above the horizon.
        roll: degrees that the camera is turned clockwise.
        fov: horizontal field of view, degrees.
    """

    yaw: float = Field(ge=0, lt=360)
    pitch: float = Field(ge=-90, le=90)
    roll: float = Field(ge=-180, le=180)
    fov: float = Field(gt=0, lt=180)

    @property
    def focal(self) -> float:
        """Focal length as a share of the view's width."""
        return 0.5 / math.tan(math.radians(self.fov) / 2)

    @property
    def key(self) -> str:
        """A short name that follows from the numbers, for files."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]

    def size(self, panorama_width: int) -> tuple[int, int]:
        """Height and width, px, at which the view's middle has the panorama's resolution."""
        width = panorama_width / (2 * math.pi) / self.focal
        return max(1, round(width / _ASPECT)), max(1, round(width))


def draw_view(seed: int, sha256: str, number: int) -> View:
    """View ``number`` of a panorama: a pure function of the seed, the file's checksum and it.

    The views of one panorama look around evenly, however many there are.
    """
    start = _uniforms(seed, sha256, 0)[0]
    _, turn, lift, tilt = _uniforms(seed, sha256, number)
    fov = _FOV[0] + turn * (_FOV[1] - _FOV[0])
    half = math.degrees(math.atan(math.tan(math.radians(fov) / 2) / _ASPECT))
    low, high = max(_PITCH[0], half - _MAX_ELEVATION), min(_PITCH[1], _MAX_ELEVATION - half)
    return View(
        yaw=round((start + number * _GOLDEN) % 1 * 360, 2) % 360,
        pitch=round(low + lift * (high - low), 2),
        roll=round(_ROLL[0] + tilt * (_ROLL[1] - _ROLL[0]), 2),
        fov=round(fov, 2),
    )


def _uniforms(seed: int, sha256: str, number: int) -> list[float]:
    """Four numbers in [0, 1) that belong to one view."""
    philox = np.random.Philox(
        counter=np.array([0, 0, 0, number], np.uint64),
        key=np.array([seed, int(sha256[:16], 16)], np.uint64),
    )
    drawn: list[float] = np.random.Generator(philox).random(4).tolist()
    return drawn


def load_background(
    data: bytes, view: View | None, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """A background's picture, uint8 (H, W, 3) RGB, from the bytes of its file.

    Args:
        view: takes this view of the panorama that the file is.
        size: height and width of the result; its own if left out.

    Raises:
        PictureError: unreadable.
    """
    picture = load_picture(data)
    if view is not None:
        return render_view(picture, view, *(size or view.size(picture.shape[1])))
    return picture if size is None else resize(picture, *size)


def render_view(
    panorama: NDArray[np.uint8], view: View, height: int, width: int
) -> NDArray[np.uint8]:
    """What a pinhole camera sees, uint8 (height, width, 3) RGB, of a uint8 (H, 2H, 3) panorama.

    Where the panorama has more pixels than the view, it is shrunk by averaging areas, a view twice
    as fine is taken, and averaged by area too: a panorama's rows are stretched, away from its
    horizon.
    """
    focal_px = view.focal * width
    surplus = panorama.shape[1] / (2 * math.pi) / focal_px
    finer = 2 if surplus > _SHARP else 1
    if surplus > finer:
        scale = finer / surplus
        panorama = resize(panorama, *(max(1, round(side * scale)) for side in panorama.shape[:2]))
    rows, columns = panorama.shape[:2]
    x, y = locate(view, *image_plane(height * finer, width * finer, focal_px * finer))
    taken = cv2.remap(
        panorama,
        x * np.float32(columns) - np.float32(0.5),
        np.clip(y * np.float32(rows) - np.float32(0.5), 0, rows - 1),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    return resize(np.asarray(taken, np.uint8), height, width)


def image_plane(height: int, width: int, focal_px: float) -> tuple[Floats, Floats]:
    """The x and y (height, width) of pixels' centres on the image plane at distance 1."""
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal_px
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / focal_px
    across, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return across, down


def locate(view: View, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Where points of a view's image plane lie in the panorama.

    Returns:
        Shares of the panorama's width, in [0, 1], and of its height, in [0, 1].
    """
    yaw, pitch, roll = (math.radians(angle) for angle in (view.yaw, view.pitch, view.roll))
    x, y = x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)
    y, ahead = y * math.cos(pitch) - math.sin(pitch), y * math.sin(pitch) + math.cos(pitch)
    longitude = np.arctan2(x, ahead) + np.float32(yaw)
    latitude = np.arctan2(y, np.hypot(x, ahead))
    return (longitude / (2 * math.pi) + 0.5) % 1, latitude / math.pi + 0.5


def explain_no_panorama(picture: NDArray[np.uint8]) -> str:
    """Why uint8 (H, W, 3) RGB is no equirectangular picture of all directions; "" if it is one."""
    height, width = picture.shape[:2]
    if abs(width / (2 * height) - 1) > _ASPECT_TOLERANCE:
        return f"{width}x{height} is not twice as wide as high"
    small = resize(picture, _SEAM_WIDTH // 2, _SEAM_WIDTH).astype(np.float32)
    steps = np.abs(small - np.roll(small, 1, axis=1)).mean(axis=2)  # (rows, columns)
    seam, *inside = np.minimum(steps, _MAX_STEP).mean(axis=0)
    if seam > _MAX_SEAM * (np.percentile(inside, 95) + 1):
        return "its left and right edges do not meet"
    return ""
