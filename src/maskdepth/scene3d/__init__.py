"""Three dimensions of a prediction: points and a textured relief, in two layers."""

from __future__ import annotations

from maskdepth.scene3d.export import save_mesh, save_points
from maskdepth.scene3d.layers import Layer, Scene, build_scene
from maskdepth.scene3d.mesh import Surface, make_mesh
from maskdepth.scene3d.points import PointCloud, make_points

__all__ = [
    "Layer",
    "PointCloud",
    "Scene",
    "Surface",
    "build_scene",
    "make_mesh",
    "make_points",
    "save_mesh",
    "save_points",
]
