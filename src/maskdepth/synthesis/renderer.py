"""The renderer: a recipe and its assets in, a labelled composite out.

``render`` cuts the clean plate out of the background, pastes the objects from far to near with what
they do to their surroundings, writes each object's depth over the plate's, and lets picture and
plate take their separate ways through the camera. Everything that happens is in the recipe: the
same recipe gives the same pixels on the same OpenCV build and CPU family.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize, resize_disparity
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.effects import NO_MOTION, CameraMotion, Effects
from maskdepth.synthesis.optics import (
    apply_curve,
    cast_shade,
    cast_shadow,
    harmonise,
    move_alpha,
    move_disparity,
    move_picture,
    recolour,
    reflect,
    relight,
    soften,
    softness_kernel,
    take_picture,
)
from maskdepth.synthesis.placement import Placement, Standing
from maskdepth.synthesis.recipes import Recipe

# Disparity between the plate beneath an object and the nearest possible. With less room the object
# cannot be labelled nearer in a way that a network could learn; its depth loss is masked instead.
_MIN_ROOM: Final = 0.02
# Share by which the plate has to be nearer to hide an object: labels are not exact.
_OCCLUSION_MARGIN: Final = 0.03
_FOOT_SHARE: Final = 0.03  # share of the object's height that touches the ground
_AREA_FROM: Final = 1.5  # from this factor on, pictures are shrunk by averaging areas

Floats = NDArray[np.float32]
_Array = TypeVar("_Array", bound=NDArray[Any])


@dataclass(frozen=True)
class Composite:
    """A rendered sample, side S.

    Attributes:
        image: (S, S, 3) uint8 RGB, the picture.
        plate: (S, S, 3) uint8 RGB, the same scene without the objects.
        alpha: (S, S) float32 in [0, 1], of all objects together.
        disparity: (S, S) float32 in [0, 1], near = 1, NaN where unknown; None if the background
            has no label.
        plate_disparity: disparity of the plate.
        object_depth: where the disparity of each object comes from, in the recipe's order. It is
            ``"standing"`` if the object stands on the ground (and what is nearer may hide it);
            ``"nearer"`` if its disparity was drawn between the 95th percentile beneath it and 1;
            ``"masked"`` if those two are too close to each other, so that its disparity is NaN;
            ``"hidden"`` if its box lies outside the frame. Empty if the background has no label,
            or if ``disparity`` is a teacher's answer to the picture.
        recipe: the recipe that was rendered.
    """

    image: NDArray[np.uint8]
    plate: NDArray[np.uint8]
    alpha: Floats
    disparity: Floats | None
    plate_disparity: Floats | None
    object_depth: tuple[str, ...]
    recipe: Recipe


class PlateWindow(NamedTuple):
    """Where a clean plate comes from: a square of the background, resized once.

    Attributes:
        level: number of the background's working copy, 0 the largest.
        left, top, side: the square in that copy, px.
        interpolation: OpenCV's constant for ``cv2.resize`` to the composite's side.
    """

    level: int
    left: int
    top: int
    side: int
    interpolation: int


@dataclass(slots=True)  # frozen ones take longer to make
class _Layer:
    """The part of an object that lies in the frame."""

    rows: slice  # of the frame
    columns: slice
    foot: int  # row of the frame below the object's lowest one; soft edges reach below it
    colour: Floats  # (h, w, 3) premultiplied, 0..255
    alpha: Floats  # (h, w)
    relief: Floats | None  # (h, w) in [-0.5, 0.5]


def render(
    recipe: Recipe,
    size: int,
    catalogue: Catalogue,
    *,
    camera: CameraMotion = NO_MOTION,
    fixtures: Collection[int] = (),
) -> Composite:
    """Render one recipe.

    Args:
        size: side S of the composite, px, as in the rules that the recipe was drawn from.
        catalogue: the pictures of the assets.
        camera: how far picture, alpha and disparity move before the picture is taken; the plate
            stays.
        fixtures: numbers of objects that belong to the scene: they hide other objects, and have
            no alpha.
    """
    effects = recipe.effects
    plate, plate_disparity = _clean_plate(recipe, size, catalogue)
    image, alpha = plate.copy(), np.zeros((size, size), np.float32)
    disparity = None if plate_disparity is None else plate_disparity.copy()
    object_depth = []
    softness = softness_kernel(effects)
    for number, placement in enumerate(recipe.objects):
        layer = _layer(placement, size, catalogue, softness, with_relief=disparity is not None)
        depth = "hidden"
        if layer is not None and disparity is not None and placement.standing is not None:
            layer, depth = _write_standing(layer, placement.standing, disparity), "standing"
        elif layer is not None and disparity is not None:
            depth = _write_nearer(layer, placement.nearness, disparity)
        if layer is not None:
            _paste(image, plate, layer, effects)
            _cover(alpha[layer.rows, layer.columns], layer.alpha, number, number in fixtures)
        if disparity is not None:
            object_depth.append(depth)
    if effects.shade is not None:
        image = cast_shade(image, effects.shade, plate=False)
    if effects.relights:
        image = relight(image, effects.gains, effects.offset)
    if effects.tone_curve is not None:
        image = apply_curve(image, effects.tone_curve)
    if camera != NO_MOTION:
        image, alpha = move_picture(image, camera), move_alpha(alpha, camera)
        disparity = None if disparity is None else move_disparity(disparity, camera)
    if effects.blur_sigma > 0:
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), effects.blur_sigma), np.float32)
    plate, plate_disparity = _perturb_plate(plate, plate_disparity, recipe, catalogue)
    return Composite(
        image=take_picture(image, recipe, plate=False),
        plate=take_picture(plate, recipe, plate=True),
        alpha=alpha,
        disparity=disparity,
        plate_disparity=plate_disparity,
        object_depth=tuple(object_depth),
        recipe=recipe,
    )


def plate_window(recipe: Recipe, size: int, catalogue: Catalogue) -> PlateWindow:
    """Where the clean plate of a recipe comes from."""
    level = catalogue.background_level(recipe.background, size / recipe.crop_side)
    top, left, side = _crop(recipe, *catalogue.background(recipe.background, level).shape[:2])
    shrinks = side > _AREA_FROM * size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return PlateWindow(level, left, top, side, interpolation)


def _clean_plate(
    recipe: Recipe, size: int, catalogue: Catalogue
) -> tuple[NDArray[np.uint8], Floats | None]:
    """The plate and its disparity, before anything happens to them."""
    level, left, top, side, interpolation = plate_window(recipe, size, catalogue)
    background = catalogue.background(recipe.background, level)
    square = background[top : top + side, left : left + side]
    plate = cv2.resize(square, (size, size), interpolation=interpolation)
    disparity = catalogue.disparity(recipe.background)
    if disparity is not None:
        top, left, side = _crop(recipe, *disparity.shape)
        part = disparity[top : top + side, left : left + side]
        disparity = resize_disparity(part, size, size)
    return np.asarray(plate, np.uint8), disparity


def _crop(recipe: Recipe, height: int, width: int) -> tuple[int, int, int]:
    """The plate's square in a picture of its background: top, left, side, px."""
    side = max(1, min(round(recipe.crop_side * min(height, width)), height, width))
    return round(recipe.crop_y * (height - side)), round(recipe.crop_x * (width - side)), side


def _perturb_plate(
    plate: NDArray[np.uint8], disparity: Floats | None, recipe: Recipe, catalogue: Catalogue
) -> tuple[NDArray[np.uint8], Floats | None]:
    """The plate as it was taken at another time: with an object that has gone since, and moved."""
    effects = recipe.effects
    if recipe.stale is not None:
        layer = _layer(recipe.stale, len(plate), catalogue, None, with_relief=False)
        if layer is not None:
            plate = plate.copy()
            _blend(plate, layer)
    if effects.shade is not None:
        plate = cast_shade(plate, effects.shade, plate=True)
    if effects.plate_moves:
        plate = move_picture(plate, effects.plate_motion)
        if disparity is not None:
            disparity = move_disparity(disparity, effects.plate_motion)
    if effects.plate_blur > 0:
        plate = np.asarray(cv2.GaussianBlur(plate, (0, 0), effects.plate_blur), np.uint8)
    return plate, disparity


def _layer(
    placement: Placement,
    size: int,
    catalogue: Catalogue,
    softness: Floats | None,
    *,
    with_relief: bool,
) -> _Layer | None:
    """A cutout at its size and place, cut to the frame; None if its box lies outside.

    Args:
        softness: kernel of its motion and defocus, see ``softness_kernel``. With one, the edges
            of the object reach beyond its box.
        with_relief: whether its relief is needed.
    """
    height, width = placement.height, placement.width
    if not placement.shows(size):
        return None
    reach = 0 if softness is None else len(softness) // 2
    y, x = placement.y - reach, placement.x - reach
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + height + 2 * reach, size), min(x + width + 2 * reach, size)
    premultiplied, relief = catalogue.cutout(placement.cutout, max(width, height))
    part = np.s_[top - y : bottom - y, left - x : right - x]

    def placed(array: NDArray[Any]) -> NDArray[Any]:
        # OpenCV mirrors ten times faster than a copy of a view with a negative stride.
        if placement.flip:
            array = cv2.flip(array, 1)
        if reach:
            array = cv2.copyMakeBorder(array, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
        return array

    layer = placed(_shrink(premultiplied, height, width))  # (h, w, 4), 0..65535
    if softness is not None:
        layer = soften(layer.astype(np.float32), softness)
    layer = layer[part]
    # OpenCV separates the channels, since arithmetic on three of four interleaved ones is slow.
    # Both parts become float first, since NumPy would convert piece by piece in each product.
    colour = cv2.cvtColor(layer, cv2.COLOR_BGRA2BGR).astype(np.float32)
    alpha = layer[..., 3].astype(np.float32)
    colour *= np.float32(1 / 257)
    alpha *= np.float32(1 / 65535)
    return _Layer(
        rows=slice(top, bottom),
        columns=slice(left, right),
        foot=min(placement.y + height, size),
        colour=colour,
        alpha=alpha,
        relief=placed(resize(relief, height, width))[part]
        if with_relief and relief is not None
        else None,
    )


def _shrink(array: NDArray[np.uint16], height: int, width: int) -> NDArray[np.uint16]:
    """Resize a premultiplied cutout; mostly the catalogue's copy is near enough for bilinear."""
    strong = array.shape[0] > _AREA_FROM * height or array.shape[1] > _AREA_FROM * width
    if strong:
        return resize(array, height, width)
    return np.asarray(cv2.resize(array, (width, height), interpolation=cv2.INTER_LINEAR), np.uint16)


def _paste(
    image: NDArray[np.uint8], plate: NDArray[np.uint8], layer: _Layer, effects: Effects
) -> None:
    """Paste an object into the picture, with its shadows and its reflection."""
    top, left = layer.rows.start, layer.columns.start
    for shadow in effects.shadows:
        cast_shadow(image, layer.alpha, top, left, layer.foot, shadow)
    if effects.recolour is not None:
        layer = replace(layer, colour=recolour(layer.colour, layer.alpha, effects.recolour))
    if effects.harmony > 0:
        beneath = plate[layer.rows, layer.columns]
        layer = replace(
            layer, colour=harmonise(layer.colour, layer.alpha, beneath, effects.harmony)
        )
    if effects.reflection > 0:
        above = slice(layer.foot - top)
        reflect(
            image, layer.colour[above], layer.alpha[above], layer.foot, left, effects.reflection
        )
    _blend(image, layer)


def _cover(covered: Floats, alpha: Floats, number: int, fixed: bool) -> None:
    """Put an object over the alpha of those before it, in place."""
    if number == 0 and not fixed:
        covered[:] = alpha
        return
    covered *= 1 - alpha
    if not fixed:
        covered += alpha


def _blend(image: NDArray[np.uint8], layer: _Layer) -> None:
    """Blend a layer over a picture, in place: Porter and Duff's "over", premultiplied."""
    part = image[layer.rows, layer.columns]
    beneath = part.astype(np.float32)
    beneath *= cv2.cvtColor(1 - layer.alpha, cv2.COLOR_GRAY2BGR)
    beneath += layer.colour
    cv2.convertScaleAbs(beneath, dst=part)  # one pass that rounds and saturates


def _write_nearer(layer: _Layer, nearness: float, disparity: Floats) -> str:
    """Write the disparity of an object placed anywhere; returns "nearer" or "masked".

    Without contact with the ground its distance is free, but it has to be nearer than what it
    hides. So it lies between the 95th percentile of the disparity beneath it and 1, and its relief
    is added.
    """
    view = disparity[layer.rows, layer.columns]
    mask = layer.alpha > 0.5
    hidden = view[mask]
    behind = _percentile_95(hidden[np.isfinite(hidden)])
    room = 1.0 - behind
    if room < _MIN_ROOM:
        view[mask] = np.nan
        return "masked"
    relief = np.float32(0) if layer.relief is None else np.clip(layer.relief, -0.5, 0.5)
    # 0.1 + 0.8 n + 0.2 relief spans [0, 1]: the whole object stays within its room.
    nearer = np.float32(behind) + np.float32(room) * (
        0.1 + 0.8 * np.float32(nearness) + 0.2 * relief
    )
    np.copyto(view, np.broadcast_to(nearer.astype(np.float32), view.shape), where=mask)
    return "nearer"


def _percentile_95(values: Floats) -> float:
    """``np.percentile(values, 95)`` without the time that its options take; 1 for no values."""
    if not values.size:
        return 1.0
    place = 0.95 * (values.size - 1)
    low = int(place)
    high = min(low + 1, values.size - 1)
    values.partition((low, high))
    below, above = float(values[low]), float(values[high])
    return below + (above - below) * (place - low)


def _write_standing(layer: _Layer, standing: Standing, disparity: Floats) -> _Layer:
    """Write the disparity of an object on the ground; returns its visible part.

    The plate, or another object, hides it where it is nearer by a margin.
    """
    view = disparity[layer.rows, layer.columns]
    rows = np.arange(layer.rows.start, layer.rows.stop, dtype=np.float32)[:, None]
    own = standing.disparity * (1 + standing.tilt * (standing.row - rows))  # (h, 1)
    if layer.relief is not None:
        depth = standing.bulge * (layer.relief - _foot_relief(layer))
        own = own / (1 - np.clip(depth, -0.9, 0.9))
    own = np.clip(np.broadcast_to(own, view.shape), 0, 1).astype(np.float32)
    hides = (view > own * (1 + _OCCLUSION_MARGIN)).astype(np.float32)
    if hides.any():
        shown = 1 - np.asarray(cv2.blur(hides, (3, 3)), np.float32)
        layer = replace(layer, colour=layer.colour * shown[..., None], alpha=layer.alpha * shown)
    np.copyto(view, own, where=layer.alpha > 0.5)
    return layer


def _foot_relief(layer: _Layer) -> float:
    """Mean relief of the rows that touch the ground."""
    assert layer.relief is not None
    mask = layer.alpha > 0.5
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return 0.0
    first = max(rows[-1] - int(_FOOT_SHARE * len(mask)), 0)
    return float(layer.relief[first:][mask[first:]].mean())
