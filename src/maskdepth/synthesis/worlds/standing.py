"""Objects that stand in a scene, to check composites against exact pictures.

An object is ray-cast as solid geometry on the ground of a scene, and drawn alone as a cutout by the
same camera. A composite of the cutout and the plate can then be compared with the exact picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import UsageError, check_name
from maskdepth.synthesis.worlds import clutter, figures, furniture, objects, vehicles
from maskdepth.synthesis.worlds.cutouts import CutoutPicture, extent, trimmed_cutout
from maskdepth.synthesis.worlds.props import at
from maskdepth.synthesis.worlds.raycast import Camera, trace_pixels
from maskdepth.synthesis.worlds.scenes import Scene, compose_world, generator, render_world
from maskdepth.synthesis.worlds.shapes import Shape, lowest, moved
from maskdepth.synthesis.worlds.studio import draw, framed
from maskdepth.synthesis.worlds.textures import Array
from maskdepth.synthesis.worlds.vectors import turn_y
from maskdepth.synthesis.worlds.world import World

STANDING: dict[str, Callable[[np.random.Generator], list[Shape]]] = {
    "person": figures.person,
    "animal": figures.creature,
    "vehicle": vehicles.vehicle,
    "bicycle": vehicles.bicycle,
    "carton": objects.carton,
    "ball": objects.ball,
    "marker": objects.marker,
    "bag": clutter.bag,
    "chair": furniture.chair,
}
"""Objects that can stand; each function builds one at the origin."""

_NEAREST_M = 0.1
_FLAT = 0.99  # the upward part of the normal of ground is at least this


@dataclass(frozen=True)
class StandingScene:
    """An object in a scene, and the parts of a composite of it.

    Attributes:
        plate: the scene without the object.
        picture: the scene with the object as solid geometry; its depth is exact.
        mask: bool (H, W), the pixels at whose centre ``picture`` shows the object.
        cutout: the object alone, by the same camera, on the pixel grid of the picture.
        cutout_depth_m: float32, depth of the object at the cutout's pixels; inf around it.
        corner: row and column of the cutout's first pixel in the picture; may lie outside.
        contact: row and column in the cutout of the ground point that the object stands on: the
            point below its middle, not always its lowest opaque pixel.
        contact_depth_m: depth of that point.
    """

    plate: Scene
    picture: Scene
    mask: NDArray[np.bool_]
    cutout: CutoutPicture
    cutout_depth_m: NDArray[np.float32]
    corner: tuple[int, int]
    contact: tuple[float, float]
    contact_depth_m: float


def ground_depth(family: str, seed: int, height: int, width: int) -> NDArray[np.float32]:
    """Depth of a scene's level ground or floor, float32 (H, W) in metres; NaN elsewhere.

    Raises:
        UsageError: as ``render_scene``.
    """
    world = compose_world(family, seed, height, width)
    depth, index = trace_pixels(world.camera, world.shapes, height, width)
    ground = np.full((height, width), np.nan, np.float32)
    for number in np.unique(index[index >= 0]):
        shape = world.shapes[int(number)]
        rows, columns = np.nonzero(index == number)
        points = _unproject(world.camera, rows, columns, depth[rows, columns])
        own = (points - shape.centre) @ shape.axes.T
        up = (shape.normals(own) @ shape.axes)[:, 1]
        level = (np.abs(up) > _FLAT) & (np.abs(points[:, 1]) < 1e-6)
        ground[rows, columns] = np.where(level, depth[rows, columns], np.nan)
    return ground


def render_standing(
    family: str,
    seed: int,
    kind: str,
    object_seed: int,
    pixel: tuple[int, int],
    *,
    height: int = 384,
    width: int = 512,
) -> StandingScene:
    """Put an object on the ground at a pixel of a scene; a pure function of its arguments.

    Args:
        family, seed: the scene, as for ``render_scene``.
        kind: one of ``STANDING``; ``object_seed`` draws and turns it.
        pixel: row and column, on the level ground of the plate (see ``ground_depth``).

    Raises:
        UsageError: an unknown family or kind, a bad seed, a pixel that shows no ground, or one
            so near that the object would reach the camera.
    """
    check_name("kind of objects", kind, STANDING, UsageError)
    ground = ground_depth(family, seed, height, width)
    row, column = pixel
    if not (0 <= row < height and 0 <= column < width and ground[row, column] > 0):
        raise UsageError(
            "a pixel on level ground",
            str(pixel),
            "choose one where ground_depth has a value",
            f"The pixel {pixel} shows no level ground.",
        )
    world = compose_world(family, seed, height, width)
    plate = render_world(world, family, seed, height, width)
    depth = float(plate.depth_m[row, column])
    spot = _unproject(world.camera, np.array([row]), np.array([column]), np.array([depth]))[0]
    rng = generator(f"standing {kind}", object_seed)
    shapes = _stood(STANDING[kind](rng), at(spot[0], 0.0, spot[2]), rng.uniform(0, 2 * np.pi))
    corners = np.concatenate([shape.corners for shape in shapes])
    if world.camera.project(corners)[2].min() < _NEAREST_M:
        raise UsageError(
            f"an object at least {_NEAREST_M} m away",
            f"{kind} at {pixel}",
            "choose a farther pixel",
            f"The {kind} at {pixel} would be nearer than {_NEAREST_M} m.",
        )
    full = replace(world, shapes=[*world.shapes, *shapes])
    picture = render_world(full, family, seed, height, width)
    _, index = trace_pixels(world.camera, full.shapes, height, width)
    cutout, alone, corner = _cut_out(rng, world, shapes)
    return StandingScene(
        plate=plate,
        picture=picture,
        mask=index >= len(world.shapes),
        cutout=cutout,
        cutout_depth_m=alone,
        corner=corner,
        contact=(float(row - corner[0]), float(column - corner[1])),
        contact_depth_m=depth,
    )


def _unproject(
    camera: Camera, rows: NDArray[np.intp], columns: NDArray[np.intp], depth: Array
) -> Array:
    """World points (N, 3) of pixels at a depth."""
    x = (columns - camera.centre[0]) / camera.focal
    y = (rows - camera.centre[1]) / camera.focal
    rays = np.stack([x, y, np.ones_like(x)], axis=1) @ camera.axes
    return np.asarray(camera.position + rays * depth[:, None])


def _stood(shapes: list[Shape], spot: Array, angle: float) -> list[Shape]:
    """An object turned and put on a point so that its lowest point touches the ground."""
    turned = moved(shapes, spot, turn_y(angle))
    return moved(turned, at(0.0, float(spot[1]) - lowest(turned), 0.0), np.eye(3))


def _cut_out(
    rng: np.random.Generator, world: World, shapes: list[Shape]
) -> tuple[CutoutPicture, NDArray[np.float32], tuple[int, int]]:
    """The object alone in the light of its world, on the pixel grid of the picture."""
    camera, height, width = framed(shapes, world.camera, world.camera.focal)
    left = round(world.camera.centre[0] - camera.centre[0])
    top = round(world.camera.centre[1] - camera.centre[1])
    colour, alpha, towards = draw(rng, shapes, world.light, camera, height, width)
    depth, _ = trace_pixels(camera, shapes, height, width)
    inside = extent(alpha)
    size = max(alpha[inside].shape)
    cutout = trimmed_cutout(colour[inside], alpha[inside], towards[inside], size)
    corner = (top + inside[0].start, left + inside[1].start)
    return cutout, depth[inside].astype(np.float32), corner
