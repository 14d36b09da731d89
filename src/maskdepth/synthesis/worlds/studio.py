"""The studio: shapes alone, drawn with soft alpha and their height towards the camera."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from maskdepth.synthesis.worlds.film import develop
from maskdepth.synthesis.worlds.lighting import Light, render_linear
from maskdepth.synthesis.worlds.props import Rng, at
from maskdepth.synthesis.worlds.raycast import Camera, trace_pixels
from maskdepth.synthesis.worlds.shapes import Shape
from maskdepth.synthesis.worlds.textures import Array, mix

_EDGE = 2.0  # empty pixels around a drawn thing


def studio_light(rng: Rng, centre: Array, radius: float) -> Light:
    """A key light from the camera's side, and soft light from above."""
    way, rise = rng.uniform(-1.5, 1.5) + np.pi, rng.uniform(0.3, 1.2)
    sun = at(np.sin(way) * np.cos(rise), np.sin(rise), np.cos(way) * np.cos(rise))
    bright = rng.uniform(0.4, 2.6)
    warm = mix(np.array([1.0, 0.97, 0.93]), np.array([1.0, 0.82, 0.62]), np.array(rng.random()))
    above = mix(np.array([0.8, 0.9, 1.1]), np.array([1.0, 0.95, 0.9]), np.array(rng.random()))
    return Light(
        sun_direction=sun,
        sun_colour=warm * bright,
        above=above * rng.uniform(0.5, 1.0),
        below=np.array([0.5, 0.47, 0.42]) * rng.uniform(0.3, 0.9),
        shadow_centre=centre,
        shadow_radius=radius * 1.1,
        occlusion_centre=centre,
        occlusion_radius=radius * 1.1,
        sky=np.zeros_like,
    )


def framed(shapes: Sequence[Shape], camera: Camera, focal: float) -> tuple[Camera, int, int]:
    """The camera with a focal length in pixels and its picture's corner moved so that the shapes
    fill it; and that picture's height and width.
    """
    corners = np.concatenate([shape.corners for shape in shapes])
    u, v, _ = Camera(camera.position, camera.axes, focal, (0.0, 0.0)).project(corners)
    width, height = (int(np.ceil(np.ptp(span) + 2 * _EDGE)) for span in (u, v))
    # whole pixels between the corners, so that a frame around a picture shares its pixel grid
    left = np.floor(camera.centre[0] + u.min() - _EDGE)
    top = np.floor(camera.centre[1] + v.min() - _EDGE)
    centre = (camera.centre[0] - float(left), camera.centre[1] - float(top))
    return Camera(camera.position, camera.axes, focal, centre), height + 1, width + 1


def draw(
    rng: Rng, shapes: Sequence[Shape], light: Light, camera: Camera, height: int, width: int
) -> tuple[Array, Array, Array]:
    """Shapes before nothing; see ``cutouts.CUTOUTS`` for what is returned."""
    colour, hit = render_linear(shapes, light, camera, height, width)
    shares = hit.mean(axis=2, dtype=np.float32)
    count = np.maximum(hit.sum(axis=2), 1)[..., None]
    inside = np.sum(colour * hit[..., None], axis=2) / count
    grey = float(np.median(inside.mean(axis=2)[shares > 0.5]))
    picture = develop(inside, rng, rng.uniform(0.3, 0.55) / max(grey, 0.05) ** 0.6)
    alpha = cv2.GaussianBlur(shares, (0, 0), rng.uniform(0.45, 0.8))
    # the blurred edge reaches past the hits: colour must be there too
    spread = cv2.GaussianBlur(picture * shares[..., None], (0, 0), 1.5)
    weight = cv2.GaussianBlur(shares, (0, 0), 1.5)[..., None]
    picture = np.where(shares[..., None] > 0.0, picture, spread / np.maximum(weight, 1e-4))
    depth, _ = trace_pixels(camera, shapes, height, width)
    distance = float(np.median(depth[np.isfinite(depth)]))
    towards = (distance - depth) * camera.focal / distance
    return picture, np.asarray(alpha), np.where(np.isfinite(depth), towards, np.nan)


def portray(rng: Rng, shapes: Sequence[Shape], size: int) -> tuple[Array, Array, Array]:
    """Shapes in studio light from about their own height, ``size`` pixels long."""
    corners = np.concatenate([shape.corners for shape in shapes])
    centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
    radius = float(np.linalg.norm(corners - centre, axis=1).max())
    yaw = rng.uniform(-0.9, 0.9) + (np.pi if rng.random() < 0.25 else 0.0)
    pitch = rng.uniform(0.02, 0.5)
    forward = at(np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch))
    right = np.cross(at(0, 1, 0), forward)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), forward])
    eye = centre - forward * radius * rng.uniform(3.5, 7.0)
    camera = Camera(eye, axes, 1.0, (0.0, 0.0))
    u, v, _ = camera.project(corners)
    focal = float((size - 2 * _EDGE) / max(np.ptp(u), np.ptp(v)))
    camera, height, width = framed(shapes, camera, focal)
    return draw(rng, shapes, studio_light(rng, centre, radius), camera, height, width)
