"""Cutouts: animals, people and things alone, with soft alpha and their own relief."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import UsageError, check_name
from maskdepth.synthesis.worlds.animals import quadruped
from maskdepth.synthesis.worlds.figures import person
from maskdepth.synthesis.worlds.film import line_kernel, spread
from maskdepth.synthesis.worlds.objects import THINGS
from maskdepth.synthesis.worlds.scenes import generator
from maskdepth.synthesis.worlds.studio import portray
from maskdepth.synthesis.worlds.textures import Array

_EMPTY = 0.02  # less alpha than this counts as 0


def thing(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array]:
    """A vessel, ball, box, piece of furniture, plant or vehicle."""
    return portray(rng, THINGS[int(rng.integers(len(THINGS)))](rng), size)


def human(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array]:
    """A person who stands or walks."""
    return portray(rng, person(rng), size)


CUTOUTS: dict[str, Callable[[np.random.Generator, int], tuple[Array, Array, Array]]] = {
    "quadruped": quadruped,
    "object": thing,
    "person": human,
}
"""The kinds: functions that draw with a generator and a size in pixels. They return straight sRGB
(H, W, 3) in [0, 1], alpha (H, W) in [0, 1], and the height towards the camera (H, W) in pixels, NaN
where there is none."""

CUTOUT_KINDS: tuple[str, ...] = tuple(CUTOUTS)


@dataclass(frozen=True)
class CutoutPicture:
    """A cutout, trimmed to its alpha.

    Attributes:
        image: uint8 (H, W, 4) RGBA, straight colour, soft alpha.
        relief: float32 (H, W) in [-0.5, 0.5], nearer is larger; its unit is the cutout's long
            side and its mean over the mask is about 0; 0 outside the alpha.
    """

    image: NDArray[np.uint8]
    relief: NDArray[np.float32]


def render_cutout(kind: str, seed: int, size: int) -> CutoutPicture:
    """Render a cutout whose long side is ``size`` px; a pure function of its arguments.

    Raises:
        UsageError: an unknown kind, a bad seed, or a size under 16 pixels.
    """
    check_name("kind of cutouts", kind, CUTOUTS, UsageError)
    if size < 16:
        raise UsageError(
            "a size of at least 16 px",
            str(size),
            "ask for a larger cutout",
            f"A cutout of {size} px is too small: it must have at least 16 px.",
        )
    rng = generator(kind, seed)
    colour, alpha, height = CUTOUTS[kind](rng, size)
    if rng.random() < 0.12:
        colour, alpha, height = _moved(rng, colour, alpha, height)
    inside = extent(alpha)
    return trimmed_cutout(colour[inside], alpha[inside], height[inside], size)


def extent(alpha: Array) -> tuple[slice, slice]:
    """The rows and columns around all of an alpha."""
    rows = np.flatnonzero((alpha > _EMPTY).any(axis=1))
    columns = np.flatnonzero((alpha > _EMPTY).any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def trimmed_cutout(colour: Array, alpha: Array, height: Array, size: int) -> CutoutPicture:
    """A drawn cutout, see ``CUTOUTS``, with a long side of ``size`` px."""
    long = max(alpha.shape)
    side, across = (max(1, round(length * size / long)) for length in alpha.shape)
    valid = np.isfinite(height) & (alpha > 0.0)
    filled = spread(np.where(valid, height, 0.0), valid) / long
    solid = alpha > 0.5
    relief = filled - float(np.mean(filled[solid if solid.any() else valid]))
    straight = np.clip(_shrink(_premultiplied(colour, alpha), across, side), 0.0, 1.0)
    alpha = np.clip(_shrink(alpha, across, side), 0.0, 1.0)
    rgb = straight / np.maximum(alpha, 1e-3)[..., None]
    bare = alpha < _EMPTY
    rgb[bare] = _shrink(colour, across, side)[bare]
    rgba = np.clip(np.dstack([rgb, alpha]) * 255.0 + 0.5, 0, 255).astype(np.uint8)
    visible = rgba[..., 3] > 0
    relief = np.where(visible, np.clip(_shrink(relief, across, side), -0.5, 0.5), 0.0)
    return CutoutPicture(rgba, relief.astype(np.float32))


def _moved(
    rng: np.random.Generator, colour: Array, alpha: Array, height: Array
) -> tuple[Array, Array, Array]:
    """Motion blur along a line, in alpha and colour alike."""
    reach = max(3, round(max(alpha.shape) * rng.uniform(0.01, 0.04)))
    edge = [(reach, reach), (reach, reach)]
    alpha, height = np.pad(alpha, edge), np.pad(height, edge, constant_values=np.nan)
    colour = np.pad(colour, [*edge, (0, 0)], mode="edge")
    kernel = line_kernel(reach, rng.uniform(0, np.pi))
    blurred = cv2.filter2D(alpha.astype(np.float32), -1, kernel)
    weight = np.maximum(blurred, 1e-4)[..., None]
    straight = cv2.filter2D(_premultiplied(colour, alpha).astype(np.float32), -1, kernel) / weight
    far = (blurred < 1e-4)[..., None]
    return np.where(far, colour, straight), np.asarray(blurred), height


def _premultiplied(colour: Array, alpha: Array) -> Array:
    return colour * alpha[..., None]


def _shrink(values: Array, width: int, height: int) -> Array:
    if values.shape[:2] == (height, width):
        return values
    fine = values.shape[0] > height
    how = cv2.INTER_AREA if fine else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values.astype(np.float32), (width, height), interpolation=how))
