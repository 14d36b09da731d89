"""The renderer: a recipe and its assets in, a labelled composite out. The only alpha-over.

Deterministic: the same recipe gives the same pixels on the same OpenCV build and CPU family.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import decode_jpeg, encode_jpeg, resize, resize_disparity
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Recipe

# An object with less room than this between the plate beneath it and the nearest disparity
# cannot be labelled nearer in a way a network could learn: its depth loss is masked instead.
_LEAST_ROOM: Final = 0.02
_PICTURE_NOISE, _PLATE_NOISE = 1, 2
_PATTERN_KEY: Final = 2026


@dataclass(frozen=True)
class Composite:
    """A rendered sample, side S.

    Attributes:
        image: (S, S, 3) uint8 RGB, the picture.
        plate: (S, S, 3) uint8 RGB, the same scene without the cutout.
        alpha: (S, S) float32 in [0, 1].
        disparity: (S, S) float32 in [0, 1], near = 1, NaN where unknown; None on a background
            without a label.
        plate_disparity: the same for the plate.
        object_depth: ``"nearer"`` where the object's disparity is a label, ``"masked"`` where it
            had no room in front of the plate and is NaN, None without label or cutout.
        recipe: what it was rendered from.
    """

    image: NDArray[np.uint8]
    plate: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    disparity: NDArray[np.float32] | None
    plate_disparity: NDArray[np.float32] | None
    object_depth: str | None
    recipe: Recipe


@dataclass(frozen=True)
class _Layer:
    """The visible part of the cutout in the frame, with its place there."""

    rows: slice
    columns: slice
    colour: NDArray[np.float32]  # (h, w, 3) premultiplied, 0..255
    alpha: NDArray[np.float32]  # (h, w)
    relief: NDArray[np.float32] | None  # (h, w) in [-0.5, 0.5]


def render(recipe: Recipe, size: int, catalogue: Catalogue) -> Composite:
    """Execute one recipe.

    Args:
        size: side S of the composite, px: that of the rules the recipe was drawn from.
    """
    top, left, side = _crop(recipe, catalogue.background(recipe.background).shape)
    window = np.s_[top : top + side, left : left + side]
    plate = resize(catalogue.background(recipe.background)[window], size, size)
    plate_disparity = catalogue.disparity(recipe.background)
    if plate_disparity is not None:
        plate_disparity = resize_disparity(plate_disparity[window], size, size)
    layer = _layer(recipe, size, catalogue)
    image, alpha = plate.copy(), np.zeros((size, size), np.float32)
    if layer is not None:
        beneath = plate[layer.rows, layer.columns].astype(np.float32)
        over = layer.colour + (1 - layer.alpha[..., None]) * beneath
        image[layer.rows, layer.columns] = np.rint(np.clip(over, 0, 255)).astype(np.uint8)
        alpha[layer.rows, layer.columns] = layer.alpha
    disparity, object_depth = _layered(plate_disparity, layer, recipe.nearness)
    return Composite(
        image=_degrade(image, recipe, recipe.jpeg_picture, _PICTURE_NOISE),
        plate=_degrade(plate, recipe, recipe.jpeg_plate, _PLATE_NOISE),
        alpha=alpha,
        disparity=disparity,
        plate_disparity=plate_disparity,
        object_depth=object_depth,
        recipe=recipe,
    )


def _crop(recipe: Recipe, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The plate's square in its background: top, left, side, px."""
    height, width = shape[:2]
    side = max(1, min(round(recipe.crop_side * min(height, width)), height, width))
    return (
        round(recipe.crop_y * (height - side)),
        round(recipe.crop_x * (width - side)),
        side,
    )


def _layer(recipe: Recipe, size: int, catalogue: Catalogue) -> _Layer | None:
    """The cutout at its size and place, cut to the frame; None where nothing of it is there."""
    if recipe.cutout is None:
        return None
    top, left = max(recipe.y, 0), max(recipe.x, 0)
    bottom, right = min(recipe.y + recipe.height, size), min(recipe.x + recipe.width, size)
    if top >= bottom or left >= right:
        return None
    rgba, relief = catalogue.cutout(recipe.cutout, max(recipe.width, recipe.height))
    # Premultiplied before it shrinks, so that colour hidden under alpha 0 never bleeds in.
    whole = rgba[..., 3].astype(np.float32) / np.float32(255)
    opaque = np.ascontiguousarray(rgba[..., :3])
    premultiplied = cv2.multiply(opaque, cv2.merge([whole] * 3), dtype=cv2.CV_32F)
    alpha = resize(whole, recipe.height, recipe.width)
    colour = resize(np.asarray(premultiplied, np.float32), recipe.height, recipe.width)
    part = np.s_[top - recipe.y : bottom - recipe.y, left - recipe.x : right - recipe.x]

    def visible(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return (array[:, ::-1] if recipe.flip else array)[part]

    return _Layer(
        rows=slice(top, bottom),
        columns=slice(left, right),
        colour=visible(colour),
        alpha=visible(alpha),
        relief=None if relief is None else visible(resize(relief, recipe.height, recipe.width)),
    )


def _layered(
    plate_disparity: NDArray[np.float32] | None, layer: _Layer | None, nearness: float
) -> tuple[NDArray[np.float32] | None, str | None]:
    """The plate's disparity with the object in front of it, and how the object was labelled.

    ``uniform`` placement has no ground contact to read a distance from, so the object only has
    to be nearer than what it hides: between the 95th percentile of the plate's disparity under
    its mask and 1, bulging by its relief.
    """
    if plate_disparity is None or layer is None:
        return plate_disparity, None
    disparity = plate_disparity.copy()
    view = disparity[layer.rows, layer.columns]
    mask = layer.alpha > 0.5
    hidden = view[mask]
    hidden = hidden[np.isfinite(hidden)]
    behind = float(np.percentile(hidden, 95)) if hidden.size else 1.0
    room = 1.0 - behind
    if room < _LEAST_ROOM:
        view[mask] = np.nan
        return disparity, "masked"
    relief = np.float32(0) if layer.relief is None else np.clip(layer.relief, -0.5, 0.5)
    # 0.1 + 0.8 n + 0.2 relief spans [0, 1]: the whole object stays within its room.
    nearer = np.float32(behind) + np.float32(room) * (
        0.1 + 0.8 * np.float32(nearness) + 0.2 * relief
    )
    np.copyto(view, np.broadcast_to(nearer.astype(np.float32), view.shape), where=mask)
    return disparity, "nearer"


def _degrade(
    picture: NDArray[np.uint8], recipe: Recipe, quality: int | None, stream: int
) -> NDArray[np.uint8]:
    """Sensor noise, then JPEG: what happens to a picture between the scene and the reader."""
    if recipe.noise_sigma > 0:
        noise = _noise(recipe.noise_seed, stream, len(picture)) * np.float32(recipe.noise_sigma)
        # One pass that rounds and saturates.
        picture = np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)
    return picture if quality is None else decode_jpeg(encode_jpeg(picture, quality))


def _noise(seed: int, stream: int, size: int) -> NDArray[np.float32]:
    """Standard normal noise (size, size, 3): a window of one large pattern, at a seeded place.

    Drawing it anew for each picture would take longer than all the rest of a composite.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, stream]))
    top, left = generator.integers(0, size + 1, 2)
    return _noise_pattern(size)[top : top + size, left : left + size]


@lru_cache(maxsize=2)
def _noise_pattern(size: int) -> NDArray[np.float32]:
    generator = np.random.Generator(np.random.Philox(key=[_PATTERN_KEY, size]))
    return generator.standard_normal((2 * size, 2 * size, 3), np.float32)
