"""A scene as textured surfaces that end where depth jumps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import premultiply, resize, resize_cutout
from maskdepth.scene3d.layers import Scene
from maskdepth.scene3d.sampling import MAX_POINTS, Mask, SampledLayer, sample_layers

TEXTURE_SIDE: Final = 2048
"""The longest side of a texture, px."""

_BLEED: Final = 9  # px: how far colours go on beyond the outline, for viewers that mix neighbours


@dataclass(frozen=True, eq=False)
class Surface:
    """One layer as a triangle mesh.

    Attributes:
        name: as in `maskdepth.scene3d.layers.Layer`.
        vertices: float32 (V, 3), as `maskdepth.scene3d.layers` defines them.
        faces: int32 (F, 3), counter-clockwise as the camera sees them.
        texture_positions: float32 (V, 2) in [0, 1], from the texture's left and its upper edge.
        texture: uint8 (h, w, 3) RGB, or straight RGBA (h, w, 4) of the foreground, whose outline is
            where alpha is 0.5.
    """

    name: str
    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    texture_positions: NDArray[np.float32]
    texture: NDArray[np.uint8]


def make_mesh(scene: Scene, max_points: int = MAX_POINTS) -> list[Surface]:
    """The surfaces of all layers, split where neighbours lie on different ones.

    The foreground's goes on for one vertex beyond its outline, at which the texture's alpha ends
    it.

    Args:
        max_points: the grid is as fine as that many vertices allow, 100 at least.

    Returns:
        A surface for each layer that has a triangle.

    Raises:
        UsageError: ``max_points`` is smaller.
    """
    surfaces = [_make_surface(scene, each) for each in sample_layers(scene, max_points, rim=True)]
    return [each for each in surfaces if len(each.faces)]


def _make_surface(scene: Scene, sampled: SampledLayer) -> Surface:
    corners = _triangles(sampled.level, sampled.upright)
    used, faces = np.unique(corners, return_inverse=True)
    rows, columns = np.divmod(used, len(sampled.columns))
    vertices = sampled.positions(scene.camera)[rows, columns]
    at = sampled.rows[rows], sampled.columns[columns]
    texture, window = _make_texture(sampled.layer.colour, at)
    spots = [
        (at[axis] + 0.5 - window[axis].start) / (window[axis].stop - window[axis].start)
        for axis in (1, 0)
    ]
    return Surface(
        sampled.layer.name,
        vertices,
        faces.reshape(-1, 3).astype(np.int32),
        np.stack(spots, axis=1).astype(np.float32),
        texture,
    )


def _triangles(level: Mask, upright: Mask) -> NDArray[np.intp]:
    """(F, 3) numbers of the grid's points: triangles two of whose sides lie on a surface.

    Each square of the grid has four, one at each corner. Two of them that share no corner fill it;
    of the two such pairs the one is taken that has more of its triangles.
    """
    width = upright.shape[1]
    top, bottom, left, right = level[:-1], level[1:], upright[:, :-1], upright[:, 1:]
    first = np.arange(left.shape[0])[:, None] * width + np.arange(left.shape[1])
    a, b, c, d = first, first + 1, first + width, first + width + 1  # a b over c d
    pairs = (
        ((top & left, (a, c, b)), (bottom & right, (d, b, c))),
        ((top & right, (b, a, d)), (bottom & left, (c, d, a))),
    )
    second_is_better = (top & right).astype(int) + (bottom & left) > (
        (top & left).astype(int) + (bottom & right)
    )
    found = []
    for pair, chosen in zip(pairs, (~second_is_better, second_is_better), strict=True):
        for there, corners in pair:
            kept = there & chosen
            found.append(np.stack([corner[kept] for corner in corners], axis=1))
    return np.concatenate(found)


def _make_texture(
    colour: NDArray[np.uint8], at: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
    """The part of a picture that vertices lie in, at most so large as a texture may be."""
    if not at[0].size:
        return colour[:1, :1], (slice(0, 1), slice(0, 1))
    window = (
        slice(int(at[0].min()), int(at[0].max()) + 1),
        slice(int(at[1].min()), int(at[1].max()) + 1),
    )
    part = colour[window]
    scale = min(1.0, TEXTURE_SIDE / max(part.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in part.shape[:2])
    if part.shape[2] == 3:
        return np.ascontiguousarray(resize(part, height, width)), window
    return _bleed(resize_cutout(part, height, width)), window


def _bleed(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Straight RGBA whose colours go on beyond its outline; alpha stays."""
    planes = premultiply(cutout)
    spread = cv2.blur(planes, (2 * _BLEED + 1, 2 * _BLEED + 1))
    colours = spread[..., :3] * 255 / np.maximum(spread[..., 3:], 1e-3)
    bare = cutout[..., 3] == 0
    result = cutout.copy()
    result[bare, :3] = np.clip(np.rint(colours[bare]), 0, 255)
    return result
