"""Render a GLB or PLY file of `maskdepth predict --mesh` or `--points` from several sides to PNG.

    .venv/bin/python tools/render_scene.py scene.glb -o views/

It draws from far to near without a depth buffer, for people to judge whether a scene is right. It
turns around the median point: once not at all, then to the left, to the right, and upwards.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from maskdepth.images import save_png

VIEWS = {"front": (0, 0), "left": (-35, 0), "right": (35, 0), "above": (0, 35)}
"""Names, and degrees by which the camera goes round to the right and upwards."""
BEHIND = (40, 44, 52)

Array = NDArray[Any]


def load_pieces(path: Path) -> tuple[Array, Array]:
    """Triangles or points of a file: corners (N, 3 or 1, 3), and colours (N, 4) RGBA."""
    loaded = trimesh.load(path, process=False)
    if isinstance(loaded, trimesh.PointCloud):
        return np.asarray(loaded.vertices)[:, None], np.asarray(loaded.colors)
    corners, colours = [], []
    for mesh in loaded.geometry.values():
        corners.append(mesh.vertices[mesh.faces])
        texture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGBA"))
        middle = mesh.visual.uv[mesh.faces].mean(axis=1) * (1, -1) + (0, 1)
        spot = (middle * texture.shape[1::-1]).astype(int)
        columns, rows = (np.clip(spot[:, i], 0, texture.shape[1 - i] - 1) for i in (0, 1))
        colours.append(texture[rows, columns])
    return np.concatenate(corners), np.concatenate(colours)


def turned(corners: Array, degrees: tuple[float, float]) -> Array:
    """The corners as a camera sees them that has gone round their median point."""
    middle = np.median(corners.reshape(-1, 3), axis=0)
    across, up = map(math.radians, degrees)
    cos, sin = math.cos(across), math.sin(across)
    round_y = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    cos, sin = math.cos(up), math.sin(up)
    round_x = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.asarray((corners - middle) @ (round_x @ round_y).T + middle)


def render(
    corners: Array, colours: Array, focal_px: float, size: tuple[int, int], nearest: float
) -> NDArray[np.uint8]:
    """uint8 (H, W, 3): triangles, or points as little squares, from the origin along -Z."""
    height, width = size
    depth = -corners[..., 2]
    visible = (depth.min(axis=1) > nearest) & (colours[:, 3] > 127)
    corners, colours, depth = corners[visible], colours[visible], depth[visible]
    x = corners[..., 0] / depth * focal_px + (width - 1) / 2
    y = (height - 1) / 2 - corners[..., 1] / depth * focal_px
    spots = np.rint(np.stack([x, y], axis=-1) * 8).clip(-(2**20), 2**20).astype(np.int32)
    picture = np.full((height, width, 3), BEHIND, np.uint8)
    for number in np.argsort(-depth.mean(axis=1)):
        colour = colours[number, :3].tolist()
        if spots.shape[1] == 1:
            column, row = (spots[number, 0] // 8).tolist()
            cv2.rectangle(picture, (column, row), (column + 1, row + 1), colour, -1)
        else:
            cv2.fillConvexPoly(picture, spots[number], colour, shift=3)
    return picture


def main() -> None:
    """Read the file, render the views, say where they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the PNGs")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--focal-px", type=float, default=600.0)
    arguments = parser.parse_args()
    corners, colours = load_pieces(arguments.scene)
    size = arguments.height, arguments.width
    nearest = 0.2 * float(np.median(-corners[..., 2]))
    for name, degrees in VIEWS.items():
        path = arguments.output / f"{name}.png"
        save_png(path, render(turned(corners, degrees), colours, arguments.focal_px, size, nearest))
        print(path)


if __name__ == "__main__":
    main()
