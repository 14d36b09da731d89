"""Scenes: pictures of worlds with their exact depth."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import UsageError, check_name
from maskdepth.synthesis.worlds.film import take_picture
from maskdepth.synthesis.worlds.halls import corridor, shop
from maskdepth.synthesis.worlds.indoor import desk, room
from maskdepth.synthesis.worlds.lighting import render_linear
from maskdepth.synthesis.worlds.outdoor import park, street
from maskdepth.synthesis.worlds.outskirts import field, yard
from maskdepth.synthesis.worlds.raycast import trace_pixels
from maskdepth.synthesis.worlds.world import World

SCENES: dict[str, Callable[[np.random.Generator, int, int], World]] = {
    "outdoor": park,
    "indoor": room,
    "street": street,
    "desk": desk,
    "corridor": corridor,
    "shop": shop,
    "yard": yard,
    "field": field,
}
"""The families: functions that compose a world from a generator and the picture's size."""

WITHHELD_FAMILY = "shop"
"""The family that is in no training set unless it is named. Its scenes show how a network copes
with a new kind of place."""

FAMILIES: tuple[str, ...] = tuple(name for name in SCENES if name != WITHHELD_FAMILY)
"""The families of a sample pack by default."""


@dataclass(frozen=True)
class Scene:
    """A picture with exact geometry.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        depth_m: float32 (H, W), metres along the optical axis at the pixels' centres; inf in the
            sky.
        focal_px: focal length in pixels; the optical axis passes through the picture's centre.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    focal_px: float

    @property
    def sky(self) -> NDArray[np.bool_]:
        """bool (H, W): where the ray meets nothing."""
        return np.isinf(self.depth_m)

    @property
    def focal(self) -> float:
        """Focal length as a share of the picture's long side."""
        return float(self.focal_px / max(self.depth_m.shape))


def generator(name: str, seed: int) -> np.random.Generator:
    """The generator of one family or kind and seed.

    Raises:
        UsageError: the seed is negative or beyond 64 bits.
    """
    if not 0 <= seed < 2**64:
        raise UsageError(
            "a seed from 0 to 2**64 - 1",
            str(seed),
            "choose another seed",
            f"The seed {seed} is not from 0 to 2**64 - 1.",
        )
    key = np.array([seed, zlib.crc32(name.encode())], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def compose_world(family: str, seed: int, height: int, width: int) -> World:
    """The world behind ``render_scene`` with the same arguments.

    Raises:
        UsageError: an unknown family, or a side shorter than 16 pixels.
    """
    check_name("family of scenes", family, SCENES, UsageError)
    if min(height, width) < 16:
        raise UsageError(
            "sides of at least 16 px",
            f"{width}x{height}",
            "ask for a larger picture",
            f"A scene of {width}x{height} is too small: its sides must be at least 16 px.",
        )
    return SCENES[family](generator(family, seed), height, width)


def render_scene(family: str, seed: int, height: int, width: int) -> Scene:
    """Render a scene; a pure function of its arguments.

    Colour is the mean of several rays in a pixel, depth that of the ray through its centre.

    Raises:
        UsageError: an unknown family, a bad seed, or a side shorter than 16 pixels.
    """
    world = compose_world(family, seed, height, width)
    return render_world(world, family, seed, height, width)


def render_world(world: World, family: str, seed: int, height: int, width: int) -> Scene:
    """Render a world with the camera that belongs to a family and a seed."""
    colour, _ = render_linear(world.shapes, world.light, world.camera, height, width)
    depth, _ = trace_pixels(world.camera, world.shapes, height, width)
    image = take_picture(colour, depth, generator(family + " sensor", seed))
    return Scene(image, depth.astype(np.float32), world.camera.focal)
