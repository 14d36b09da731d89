"""A world: shapes, light and a camera; what a family of scenes composes."""

from __future__ import annotations

from dataclasses import dataclass

from maskdepth.synthesis.worlds.lighting import Light
from maskdepth.synthesis.worlds.raycast import Camera
from maskdepth.synthesis.worlds.shapes import Shape


@dataclass(frozen=True)
class World:
    """Shapes in metres, y up, the ground at y = 0."""

    shapes: list[Shape]
    light: Light
    camera: Camera
