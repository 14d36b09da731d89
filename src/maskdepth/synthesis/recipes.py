"""Recipes: every choice that makes one composite, drawn as a pure function of (rules, pool, index).

Sample ``i`` owns a fixed span of a counter-based generator (Philox4x64, Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", SC 2011), so recipes are the same whatever the order, the
number of workers or the size of the batch they are drawn in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import AssetError
from maskdepth.synthesis.assets import BackgroundAsset, CutoutAsset
from maskdepth.synthesis.effects import Effects, sample_effects
from maskdepth.synthesis.placement import (
    ATTEMPTS,
    Array,
    Boxes,
    CutoutColumns,
    GroundColumns,
    Indices,
    Placement,
    Standing,
    between,
    pick,
    place_anywhere,
    place_on_ground,
)
from maskdepth.synthesis.rules import RecipeRules

# One sample's uniforms: 16 single draws, then 16 attempts at (long side, x, y). The width is part
# of the format: another one would move every recipe. New kinds of draws take a stream of their own.
_SINGLE_DRAWS: Final = 16
_WIDTH: Final = _SINGLE_DRAWS + 3 * ATTEMPTS
# Streams of the generator. The first object's is also the recipe's own.
_OBJECTS: Final = (0, 4, 5)
_GROUNDS: Final = (3, 6, 7)
_EFFECTS: Final = 2
_STALE: Final = 8
_CHUNK: Final = 8192
# Consecutive samples of a grid should not share their background; any prime far above
# the square root of the largest grid walks through it evenly.
_GRID_STRIDE: Final = 2_654_435_761


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every choice of one composite.

    Attributes:
        index: the sample's number; with rules, pool and seed it determines all the rest.
        background: asset id.
        crop_side: side of the plate's square crop as a share of the background's short side.
        crop_x, crop_y: position of the crop in the room it leaves, 0 (left, top) to 1.
        objects: what is pasted, the farthest first; none in a composite without foreground.
        stale: a thing in the plate that is not in the picture, or None.
        effects: what happens to picture and plate apart from that.
        jpeg_picture, jpeg_plate: JPEG qualities, or None for no encoding.
        noise_sigma: of 255; 0 for none.
        noise_seed: of the noise pattern.
    """

    index: int
    background: str
    crop_side: float
    crop_x: float
    crop_y: float
    objects: tuple[Placement, ...]
    stale: Placement | None
    effects: Effects
    jpeg_picture: int | None
    jpeg_plate: int | None
    noise_sigma: float
    noise_seed: int

    @property
    def perturbs_plate(self) -> bool:
        """Whether the plate is more than the background's crop, resized."""
        return (
            self.stale is not None
            or self.effects.perturb_plate
            or self.jpeg_plate is not None
            or self.noise_sigma > 0
        )


@dataclass(frozen=True)
class Pool:
    """The assets a stretch of recipes may draw from."""

    cutouts: tuple[CutoutAsset, ...]
    backgrounds: tuple[BackgroundAsset, ...]

    def __post_init__(self) -> None:
        if not self.cutouts or not self.backgrounds:
            raise AssetError(
                "at least one cutout and one background to draw from",
                f"{len(self.cutouts)} cutouts and {len(self.backgrounds)} backgrounds",
                "add assets, or compose with --small so that every split gets some",
            )

    def grid_size(self, places: int) -> int:
        """Number of samples of the full grid: cutouts x backgrounds x 2 flips x places."""
        return len(self.cutouts) * len(self.backgrounds) * 2 * places


def sample_recipe(rules: RecipeRules, pool: Pool, seed: int, index: int) -> Recipe:
    """The recipe of one sample; see :func:`sample_recipes`."""
    return next(sample_recipes(rules, pool, seed, index, index + 1))


def sample_recipes(
    rules: RecipeRules, pool: Pool, seed: int, start: int, stop: int
) -> Iterator[Recipe]:
    """Recipes ``start`` to ``stop - 1``, each a pure function of (rules, pool, seed, its index).

    Args:
        seed: 0 or more; selects the stretch of the generator.
        start, stop: sample numbers, 0 or more. In a grid, numbers beyond it begin again.
    """
    drawer = _Drawer(rules, pool, seed)
    while start < stop:
        # The second round of a grid is the first one again, as epochs over files were.
        low = start % pool.grid_size(rules.places) if rules.places else start
        high = low + min(stop - start, _CHUNK)
        if rules.places:
            high = min(high, pool.grid_size(rules.places))
        yield from drawer.draw(low, high)
        start += high - low


class _Drawer:
    """Turns uniforms into recipes, a few thousand at a time."""

    def __init__(self, rules: RecipeRules, pool: Pool, seed: int) -> None:
        self.rules = rules
        self.pool = pool
        self.seed = seed
        self.cutouts = CutoutColumns.of(pool.cutouts)
        self.grounds = GroundColumns.of(pool.backgrounds)
        labelled = np.array([asset.disparity is not None for asset in pool.backgrounds])
        self.labelled = np.flatnonzero(labelled)
        self.unlabelled = np.flatnonzero(~labelled)

    def uniforms(self, stream: int, low: int, high: int) -> Array:
        """Uniform draws in [0, 1) of samples ``low`` to ``high - 1``: (high - low, _WIDTH)."""
        # Philox4x64 gives four draws a count; sample i starts at count i * _WIDTH / 4.
        bits = np.random.Philox(
            key=np.array([self.seed, stream], np.uint64),
            counter=np.array([low * (_WIDTH // 4), 0, 0, 0], np.uint64),
        )
        return np.random.Generator(bits).random((high - low, _WIDTH))

    def draw(self, low: int, high: int) -> Iterator[Recipe]:
        """The recipes of samples ``low`` to ``high - 1``."""
        rules, pool = self.rules, self.pool
        own = self.uniforms(_OBJECTS[0], low, high)
        single = own[:, :_SINGLE_DRAWS].T
        u_cutout, u_background, u_flip, u_side, u_x, u_y, _, u_jpeg = single[:8]
        u_quality, u_plate, u_noise, u_sigma, u_seed, u_empty, u_labelled, u_ground = single[8:]
        cutout, flip = self._pick_cutout(u_cutout, u_flip)
        if rules.places:
            cell = np.arange(low, high) * _GRID_STRIDE % pool.grid_size(rules.places)
            cell //= rules.places
            flip, cutout = cell % 2 == 1, cell // 2 % len(pool.cutouts)
            background = cell // 2 // len(pool.cutouts)
        else:
            background = self._pick_background(u_background, u_labelled)
        side = between(u_side, rules.plate_crop)
        empty = u_empty < rules.empty_probability
        grounded = (u_ground < rules.ground.share) & (self.grounds.count[background] > 0)
        scene = _Scenes(low, high, background, self._crops(background, side, u_x, u_y), grounded)
        objects = [self._objects(scene, 0, cutout, flip, own, ~empty)]
        effects = sample_effects(rules, lambda: self.uniforms(_EFFECTS, low, high))
        for number in (1, 2):
            crowded = ~empty & (effects.u_crowd < rules.crowd.probability**number)
            objects.append(self._more_objects(scene, _OBJECTS[number], number, crowded))
        stale = self._more_objects(scene, _STALE, None, effects.u_stale < rules.stale.probability)
        jpeg = u_jpeg < rules.jpeg_probability
        picture_quality = np.rint(between(u_quality, rules.jpeg_quality)).astype(int)
        plate_quality = np.rint(between(u_plate, rules.jpeg_quality)).astype(int)
        noisy = (u_noise < rules.noise_probability) & ~effects.plain
        sigma = np.where(noisy, between(u_sigma, rules.noise_sigma), 0.0)
        noise_seed = (u_seed * 2**53).astype(np.int64)
        columns = (
            background, side, u_x, u_y, jpeg, picture_quality, plate_quality, sigma, noise_seed
        )  # fmt: skip
        for row, values in enumerate(_rows(*columns)):
            place, crop_side, crop_x, crop_y, is_jpeg, *qualities, noise, number = values
            of_picture, of_plate = qualities if is_jpeg else (None, None)
            yield Recipe(
                index=low + row,
                background=pool.backgrounds[place].id,
                crop_side=crop_side,
                crop_x=crop_x,
                crop_y=crop_y,
                objects=_far_to_near([each[row] for each in objects if row in each]),
                stale=stale.get(row),
                effects=effects.of(row),
                jpeg_picture=of_picture,
                jpeg_plate=of_plate,
                noise_sigma=noise,
                noise_seed=number,
            )

    def _pick_cutout(self, u_cutout: Array, u_flip: Array) -> tuple[Indices, NDArray[np.bool_]]:
        return pick(u_cutout, len(self.pool.cutouts)), u_flip < self.rules.flip_probability

    def _pick_background(self, u_background: Array, u_labelled: Array) -> Indices:
        """Rows of the pool's backgrounds, ``labelled_share`` of them labelled where both are."""
        labelled, unlabelled = self.labelled, self.unlabelled
        if self.rules.labelled_share is None or not (labelled.size and unlabelled.size):
            return pick(u_background, labelled.size + unlabelled.size)
        return np.where(
            u_labelled < self.rules.labelled_share,
            labelled[pick(u_background, labelled.size)],
            unlabelled[pick(u_background, unlabelled.size)],
        )

    def _crops(self, background: Indices, share: Array, u_x: Array, u_y: Array) -> Array:
        """The plate's squares in their backgrounds (n, 3): left, top, side, px."""
        width, height = self.grounds.size[background].T
        side = share * np.minimum(width, height)
        return np.stack([u_x * (width - side), u_y * (height - side), side], axis=1)

    def _more_objects(
        self, scene: _Scenes, stream: int, number: int | None, wanted: NDArray[np.bool_]
    ) -> dict[int, Placement]:
        """Objects beside the first, of draws of their own; ``number`` None: not on the ground."""
        if not wanted.any():
            return {}
        uniforms = self.uniforms(stream, scene.low, scene.high)
        cutout, flip = self._pick_cutout(uniforms[:, 0], uniforms[:, 2])
        return self._objects(scene, number, cutout, flip, uniforms, wanted)

    def _objects(
        self,
        scene: _Scenes,
        number: int | None,
        cutout: Indices,
        flip: NDArray[np.bool_],
        uniforms: Array,
        wanted: NDArray[np.bool_],
    ) -> dict[int, Placement]:
        """The objects of the wanted rows; one that finds no ground is put anywhere."""
        rows = np.flatnonzero(wanted)
        attempts = uniforms[:, _SINGLE_DRAWS:]
        boxes = place_anywhere(self.rules, self.cutouts, cutout[rows], attempts[rows])
        on_ground = scene.grounded[rows]
        if number is not None and on_ground.any():
            attempts = self.uniforms(_GROUNDS[number], scene.low, scene.high)[:, _SINGLE_DRAWS:]
            some = rows[on_ground]
            standing = place_on_ground(
                self.rules, self.cutouts, cutout[some], flip[some], self.grounds,
                scene.background[some], scene.crop[some], attempts[some],
            )  # fmt: skip
            _replace(boxes, np.flatnonzero(on_ground), standing)
        columns = (
            rows, cutout[rows], flip[rows], boxes.box, uniforms[rows, 6],
            np.isnan(boxes.standing[:, 0]), boxes.standing,
        )  # fmt: skip
        objects = {}
        for row, which, mirrored, box, nearness, floats, contact in _rows(*columns):
            width, height, x, y = box
            objects[row] = Placement(
                cutout=self.pool.cutouts[which].id,
                flip=mirrored,
                width=width,
                height=height,
                x=x,
                y=y,
                nearness=nearness,
                standing=None if floats else Standing(*contact),
            )
        return objects


@dataclass(frozen=True)
class _Scenes:
    """What the objects of samples ``low`` to ``high - 1`` are put into."""

    low: int
    high: int
    background: Indices
    crop: Array
    grounded: NDArray[np.bool_]


def _rows(*columns: NDArray[Any]) -> Iterator[tuple[Any, ...]]:
    """One sample after another; to take single values from arrays is several times slower."""
    return zip(*(column.tolist() for column in columns), strict=True)


def _replace(boxes: Boxes, places: Indices, others: Boxes) -> None:
    """Put those of ``others`` that stand in the given places of ``boxes``."""
    stand = ~np.isnan(others.standing[:, 0])
    boxes.box[places[stand]] = others.box[stand]
    boxes.standing[places[stand]] = others.standing[stand]


def _far_to_near(objects: list[Placement]) -> tuple[Placement, ...]:
    """What stands on the ground by distance, then what is put anywhere, as drawn."""
    if len(objects) < 2:
        return tuple(objects)
    return tuple(
        sorted(objects, key=lambda each: each.standing.disparity if each.standing else np.inf)
    )
