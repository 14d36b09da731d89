"""Cameras as people and mounts hold them: position, heading, tilt, roll and focal length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskdepth.synthesis.worlds.raycast import Camera
from maskdepth.synthesis.worlds.shapes import Shape
from maskdepth.synthesis.worlds.textures import Array

FOCAL = (0.55, 1.4)
"""Focal length as a share of the picture's long side: from an action camera to a short tele."""


def aim_camera(
    size: tuple[int, int], position: Array, yaw: float, pitch: float, roll: float, focal: float
) -> Camera:
    """A pinhole for a picture of ``size`` (height, width).

    Args:
        position: (3,) metres.
        yaw: radians from z towards x; ``pitch`` downwards; ``roll`` about the optical axis.
        focal: as a share of the picture's long side.
    """
    height, width = size
    forward = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    down = np.cross(right, forward)
    c, s = np.cos(roll), np.sin(roll)
    axes = np.stack([c * right + s * down, c * down - s * right, forward])
    centre = ((width - 1) / 2, (height - 1) / 2)
    return Camera(np.asarray(position, np.float64), axes, focal * max(size), centre)


def sample_focal(rng: np.random.Generator) -> float:
    """A share of the long side, evenly in its logarithm, as zoom rings are."""
    return float(np.exp(rng.uniform(*np.log(FOCAL))))


def sample_roll(rng: np.random.Generator) -> float:
    """Radians: a tripod or a level hand mostly, up to six degrees, now and then a careless hand."""
    if rng.random() < 0.08:
        return float(rng.uniform(-0.35, 0.35))
    return float(np.clip(rng.normal(0.0, 0.035), -0.105, 0.105))


def sample_camera(
    rng: np.random.Generator, height: int, width: int, eye_m: float, pitch: float, yaw: float
) -> Camera:
    """A camera ``eye_m`` above the origin of the ground, with any focal length and roll."""
    position = np.array([0.0, eye_m, 0.0])
    focal, roll = sample_focal(rng), sample_roll(rng)
    return aim_camera((height, width), position, yaw, pitch, roll, focal)


def clear_of(shapes: Sequence[Shape], position: Array, margin: float) -> bool:
    """Whether the box around a piece keeps ``margin`` metres from the camera's position."""
    if not shapes:
        return True
    corners = np.concatenate([shape.corners for shape in shapes])
    low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    return bool(((position < low) | (position > high)).any())


def keep_clear(pieces: Sequence[list[Shape]], position: Array, margin: float) -> list[Shape]:
    """The shapes of all pieces that are clear of the camera; see ``clear_of``."""
    return [shape for piece in pieces if clear_of(piece, position, margin) for shape in piece]
