"""The renderer of whole batches on a device; ``synthesis.renderer`` says what is rendered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdepth.learning.rendering.jpeg import degrade_jpeg
from maskdepth.learning.rendering.layers import (
    Layers,
    make_layers,
    put_nearer,
    stand,
)
from maskdepth.learning.rendering.optics import (
    blur_alpha,
    blur_pictures,
    cast_shadows,
    develop,
    harmonise,
    move_plates,
    put_over,
    recolour,
    reflect,
    relight,
    resize_back,
    soften,
)
from maskdepth.learning.rendering.resampling import (
    fixed_taps,
    gather_fixed,
    gather_nearest,
    nearest_places,
)
from maskdepth.learning.rendering.textures import Patch, Textures, send
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.effects import Effects
from maskdepth.synthesis.optics import noise_pattern, noise_window, row_noise, softness_kernel
from maskdepth.synthesis.placement import Placement
from maskdepth.synthesis.recipes import Recipe
from maskdepth.synthesis.renderer import crop_square

__all__ = ["DeviceComposites", "DeviceRenderer"]

_MEMORY_MB = 2048.0

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class DeviceComposites:
    """A batch of rendered samples, side S, on the renderer's device.

    Attributes:
        image, plate: (B, 3, S, S) uint8 RGB.
        alpha: (B, S, S) float32 in [0, 1].
        disparity, plate_disparity: (B, S, S) float32, NaN where unknown.
        labelled: for each sample, whether its background has a disparity label.
    """

    image: Tensor
    plate: Tensor
    alpha: Tensor
    disparity: Tensor
    plate_disparity: Tensor
    labelled: tuple[bool, ...]


class DeviceRenderer:
    """Executes recipes in batches, with the pixels of ``synthesis.renderer.render``.

    Not for several threads at once.

    Args:
        catalogue: the recipes' pictures; what is needed of them is sent to the device once.
        size: side S of the composites, px: that of the rules the recipes were drawn from.
        device: of torch.
        memory_mb: of the device, for pictures; beyond it they are dropped and sent anew. None is
            a quarter of what is free on a GPU.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        size: int,
        device: torch.device | str,
        memory_mb: float | None = None,
    ) -> None:
        self._size = size
        self._device = device = torch.device(device)
        if memory_mb is None:
            memory_mb = _MEMORY_MB
            if device.type == "cuda":
                memory_mb = torch.cuda.mem_get_info(device)[0] / 2**22
        self._textures = Textures(catalogue, device, memory_mb)
        self._noise: Tensor | None = None

    @torch.no_grad()
    def render(self, recipes: Sequence[Recipe]) -> DeviceComposites:
        """Execute some recipes; how they are grouped changes no pixel.

        Raises:
            DatasetError: a file of the catalogue is missing or was changed.
        """
        self._textures.make_room()
        plate = self._clean_plates(recipes)
        plate_disparity, labelled = self._plate_disparities(recipes)
        image, disparity = plate, plate_disparity
        alpha = plate.new_zeros(len(recipes), self._size, self._size)
        for place in range(max((len(recipe.objects) for recipe in recipes), default=0)):
            rows = [
                row for row, r in enumerate(recipes) if self._shows(r.objects[place : place + 1])
            ]
            if not rows:
                continue
            chosen = [recipes[row] for row in rows]
            index = self._index(rows)
            objects = [recipe.objects[place] for recipe in chosen]
            layers = self._layers(objects, chosen)
            known = [labelled[row] for row in rows]
            layers, nearer = _add_depth(layers, objects, known, disparity[index])
            disparity = disparity.index_copy(0, index, nearer)
            pasted = _paste(image[index], plate[index], layers, chosen)
            image = image.index_copy(0, index, pasted)
            covered = layers.alpha + (1 - layers.alpha) * alpha[index]
            alpha = alpha.index_copy(0, index, covered)
        image = _where(
            recipes, lambda r: r.effects.relights, image, lambda x, r: relight(x, _effects(r))
        )
        alpha = _where(
            recipes,
            lambda r: r.effects.blur_sigma > 0,
            alpha,
            lambda x, r: blur_alpha(x, [recipe.effects.blur_sigma for recipe in r]),
        )
        plate, plate_disparity = self._perturbed(plate, plate_disparity, recipes)
        # Pictures and plates go the same way from here on.
        taken = self._take(torch.cat([image, plate]), recipes).to(torch.uint8)
        count = len(recipes)
        return DeviceComposites(
            taken[:count], taken[count:], alpha, disparity, plate_disparity, labelled
        )

    def _index(self, rows: Sequence[int]) -> Tensor:
        return send(np.array(rows, np.int64), self._device)

    def _shows(self, placements: Sequence[Placement]) -> bool:
        return any(placement.shows(self._size) for placement in placements)

    def _clean_plates(self, recipes: Sequence[Recipe]) -> Tensor:
        """Plates (B, 3, S, S) float32. The copies leave too little to shrink for area means."""
        patches = [
            self._textures.background(recipe.background, self._size / recipe.crop_side)
            for recipe in recipes
        ]
        top, left, side = _crops(recipes, patches)
        rows = fixed_taps(side, top, self._size, rows=True)
        columns = fixed_taps(side, left, self._size, rows=False)
        return gather_fixed(self._textures.plates.pixels, patches, rows, columns).float()

    def _plate_disparities(self, recipes: Sequence[Recipe]) -> tuple[Tensor, tuple[bool, ...]]:
        """Disparities (B, S, S), NaN where unknown, and whether there is any."""
        patches = [self._textures.disparity(recipe.background) for recipe in recipes]
        labelled = tuple(patch is not None for patch in patches)
        shape = (len(recipes), self._size, self._size)
        disparity = torch.full(shape, torch.nan, device=self._device)
        present = [patch for patch in patches if patch is not None]
        if present:
            having = [row for row, known in enumerate(labelled) if known]
            top, left, side = _crops([recipes[row] for row in having], present)
            rows, columns = (nearest_places(side, first, self._size) for first in (top, left))
            found = gather_nearest(self._textures.maps.pixels, present, rows, columns)
            disparity = disparity.index_copy(0, self._index(having), found)
        return disparity, labelled

    def _layers(self, placements: Sequence[Placement], recipes: Sequence[Recipe]) -> Layers:
        """Visible objects, soft where their recipes say that they moved or are out of focus."""
        layers = make_layers(placements, self._size, self._textures)
        kernels = {
            row: kernel
            for row, recipe in enumerate(recipes)
            if (kernel := softness_kernel(recipe.effects)) is not None
        }
        if not kernels:
            return layers
        # What lies beyond the frame is seen in it as well.
        margin = max(len(kernel) // 2 for kernel in kernels.values())
        moved = [
            replace(placements[row], x=placements[row].x + margin, y=placements[row].y + margin)
            for row in kernels
        ]
        whole = make_layers(moved, self._size + 2 * margin, self._textures)
        return layers.with_rows(list(kernels), soften(whole, list(kernels.values()), margin))

    def _perturbed(
        self, plate: Tensor, disparity: Tensor, recipes: Sequence[Recipe]
    ) -> tuple[Tensor, Tensor]:
        """Plates as they were taken at another time."""
        stale = {
            row: recipe.stale
            for row, recipe in enumerate(recipes)
            if recipe.stale is not None and recipe.stale.shows(self._size)
        }
        if stale:
            layers = make_layers(list(stale.values()), self._size, self._textures)
            index = self._index(list(stale))
            plate = plate.index_copy(0, index, put_over(plate[index], layers))
        moving = [row for row, recipe in enumerate(recipes) if recipe.effects.plate_moves]
        if moving:
            index = self._index(moving)
            effects = _effects([recipes[row] for row in moving])
            moved, moved_disparity = move_plates(plate[index], disparity[index], effects)
            plate = plate.index_copy(0, index, moved)
            disparity = disparity.index_copy(0, index, moved_disparity)
        plate = _where(
            recipes,
            lambda r: r.effects.plate_blur > 0,
            plate,
            lambda x, r: blur_pictures(x, [recipe.effects.plate_blur for recipe in r]),
        )
        return plate, disparity

    def _take(self, pictures: Tensor, recipes: Sequence[Recipe]) -> Tensor:
        """From the lens to the reader: pictures (2 B, 3, S, S), the plates after the others."""
        shots = [_Shot(recipe, plate) for plate in (False, True) for recipe in recipes]

        def where(
            applies: Callable[[_Shot], bool], change: Callable[[Tensor, list[_Shot]], Tensor]
        ) -> None:
            nonlocal pictures
            pictures = _where(shots, applies, pictures, change)

        where(
            lambda s: s.recipe.effects.develops,
            lambda x, s: develop(x, [shot.recipe.effects for shot in s]),
        )
        where(
            lambda s: s.recipe.effects.blur_sigma > 0,
            lambda x, s: blur_pictures(x, [shot.recipe.effects.blur_sigma for shot in s]),
        )
        where(lambda s: s.recipe.noise_sigma > 0, self._with_noise)
        where(lambda s: s.recipe.effects.row_noise > 0, self._with_row_noise)
        where(
            lambda s: s.recipe.effects.scale != 1.0,
            lambda x, s: resize_back(x, [shot.recipe.effects.scale for shot in s]),
        )
        where(
            lambda s: s.quality is not None,
            lambda x, s: degrade_jpeg(x, self._index([shot.quality or 0 for shot in s])),
        )
        return pictures

    def _with_noise(self, pictures: Tensor, shots: Sequence[_Shot]) -> Tensor:
        size = self._size
        if self._noise is None:
            self._noise = send(noise_pattern(size).reshape(-1, 3), self._device)
        corner = np.array([noise_window(s.recipe, size, plate=s.plate) for s in shots])
        rows, columns = (corner[:, axis, None] + np.arange(size) for axis in (0, 1))
        index = send(rows * 2 * size, self._device)[:, :, None]
        noise = self._noise[index + send(columns, self._device)[:, None]].movedim(-1, 1)
        sigma = np.array([shot.recipe.noise_sigma for shot in shots], np.float32)
        noise = noise * send(sigma, self._device)[:, None, None, None]
        return (pictures + noise).round().clamp(0, 255)

    def _with_row_noise(self, pictures: Tensor, shots: Sequence[_Shot]) -> Tensor:
        rows = np.stack([row_noise(s.recipe, self._size, plate=s.plate) for s in shots])
        return (pictures + send(rows, self._device)[:, None, :, None]).round().clamp(0, 255)


@dataclass(frozen=True, slots=True)
class _Shot:
    """One of the two pictures of a recipe."""

    recipe: Recipe
    plate: bool

    @property
    def quality(self) -> int | None:
        return self.recipe.jpeg_plate if self.plate else self.recipe.jpeg_picture


def _where(
    items: Sequence[_Item],
    applies: Callable[[_Item], bool],
    values: Tensor,
    change: Callable[[Tensor, list[_Item]], Tensor],
) -> Tensor:
    """A batch, one row an item, of which those rows are changed that something applies to."""
    rows = [row for row, item in enumerate(items) if applies(item)]
    if not rows:
        return values
    index = send(np.array(rows, np.int64), values.device)
    return values.index_copy(0, index, change(values[index], [items[row] for row in rows]))


def _where_layers(
    layers: Layers, rows: Sequence[int], change: Callable[[Layers], Layers]
) -> Layers:
    return layers.with_rows(rows, change(layers.of_rows(rows))) if rows else layers


def _effects(recipes: Sequence[Recipe]) -> list[Effects]:
    return [recipe.effects for recipe in recipes]


def _add_depth(
    layers: Layers, objects: Sequence[Placement], known: Sequence[bool], disparity: Tensor
) -> tuple[Layers, Tensor]:
    """What can be seen of objects (n), and disparity (n, S, S) with them where it is known."""
    standing = [row for row, each in enumerate(objects) if known[row] and each.standing is not None]
    if standing:
        index = send(np.array(standing, np.int64), disparity.device)
        stands = [each.standing for each in (objects[row] for row in standing) if each.standing]
        seen, changed = stand(layers.of_rows(standing), stands, disparity[index])
        layers = layers.with_rows(standing, seen)
        disparity = disparity.index_copy(0, index, changed)
    floating = [row for row, each in enumerate(objects) if known[row] and each.standing is None]
    if floating:
        index = send(np.array(floating, np.int64), disparity.device)
        nearness = np.array([objects[row].nearness for row in floating], np.float32)
        changed = put_nearer(layers.of_rows(floating), nearness, disparity[index])
        disparity = disparity.index_copy(0, index, changed)
    return layers, disparity


def _paste(image: Tensor, plate: Tensor, layers: Layers, recipes: Sequence[Recipe]) -> Tensor:
    """Pictures (n, 3, S, S) with an object each, and what it does to its surroundings."""
    effects = _effects(recipes)
    device = image.device
    for number in range(max(len(each.shadows) for each in effects)):
        rows = [row for row, each in enumerate(effects) if len(each.shadows) > number]
        index = send(np.array(rows, np.int64), device)
        shadows = [effects[row].shadows[number] for row in rows]
        dark = cast_shadows(image[index], layers.of_rows(rows), shadows)
        image = image.index_copy(0, index, dark)
    recolours = {row: each.recolour for row, each in enumerate(effects) if each.recolour}
    layers = _where_layers(
        layers, list(recolours), lambda part: recolour(part, list(recolours.values()))
    )
    rows = [row for row, each in enumerate(effects) if each.harmony > 0]
    beneath = plate[send(np.array(rows, np.int64), device)]
    harmony = [effects[row].harmony for row in rows]
    layers = _where_layers(layers, rows, lambda part: harmonise(part, beneath, harmony))
    rows = [row for row, each in enumerate(effects) if each.reflection > 0]
    if rows:
        index = send(np.array(rows, np.int64), device)
        strength = [effects[row].reflection for row in rows]
        mirrored = reflect(image[index], layers.of_rows(rows), strength)
        image = image.index_copy(0, index, mirrored)
    return put_over(image, layers)


def _crops(
    recipes: Sequence[Recipe], patches: Sequence[Patch]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Top, left and side of the plates' squares in copies of their backgrounds, (n,) each."""
    squares = [
        crop_square(recipe, patch.height, patch.width)
        for recipe, patch in zip(recipes, patches, strict=True)
    ]
    top, left, side = np.array(squares, np.int64).T
    return top, left, side
