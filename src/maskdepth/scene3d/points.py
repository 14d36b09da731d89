"""A scene as points with colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskdepth.scene3d.layers import Scene
from maskdepth.scene3d.sampling import MAX_POINTS, sample_layers


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points of a scene.

    Attributes:
        positions: float32 (N, 3), as `maskdepth.scene3d.layers` defines them.
        colours: uint8 (N, 3) RGB; the foreground's have nothing of the plate in them.
        foreground: bool (N,), False for points of the plate.
    """

    positions: NDArray[np.float32]
    colours: NDArray[np.uint8]
    foreground: NDArray[np.bool_]


def make_points(scene: Scene, max_points: int = MAX_POINTS) -> PointCloud:
    """The points of all layers on a grid of the picture's pixels.

    Args:
        max_points: the grid is as fine as that many points allow, 100 at least.

    Raises:
        UsageError: ``max_points`` is smaller.
    """
    positions, colours, foreground = [], [], []
    for sampled in sample_layers(scene, max_points):
        there = np.isfinite(sampled.depth)
        positions.append(sampled.positions(scene.camera)[there])
        colours.append(sampled.layer.colour[np.ix_(sampled.rows, sampled.columns)][there][:, :3])
        foreground.append(np.full(len(positions[-1]), sampled.layer.name == "foreground"))
    return PointCloud(
        np.concatenate(positions), np.concatenate(colours), np.concatenate(foreground)
    )
