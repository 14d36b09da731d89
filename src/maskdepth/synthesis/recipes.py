"""Recipes: every choice that makes one composite.

Recipe ``i`` is a pure function of (rules, pool of assets, seed, ``i``). ``sample_recipes`` takes
the random numbers that belong to sample ``i`` (see ``draws``) and turns each into a choice: which
cutout on which background, how large, where, and under which effects. The choices are all there is
to a composite; ``renderer`` turns them into pixels.

To be fast, the sampler makes one choice for a few thousand samples at a time, as a NumPy array with
an element for each sample. Only at the end does it cut these arrays into recipes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import AssetError
from maskdepth.synthesis.assets import BackgroundAsset, CutoutAsset
from maskdepth.synthesis.draws import (
    Array,
    Draws,
    Indices,
    Stream,
    between,
    draw,
    draw_uniforms,
    pick_index,
    zip_rows,
)
from maskdepth.synthesis.effects import Effects, sample_effects
from maskdepth.synthesis.placement import (
    CutoutColumns,
    GroundColumns,
    Placement,
    Standing,
    place_anywhere,
    place_on_ground,
)
from maskdepth.synthesis.rules import RecipeRules

_BATCH: Final = 8192  # samples whose choices are made at once
_FURTHER_OBJECTS: Final = (
    (Stream.SECOND_OBJECT, Stream.SECOND_GROUND),
    (Stream.THIRD_OBJECT, Stream.THIRD_GROUND),
)
# A grid, as the prior work's, has every cutout on every background, mirrored and not, at a number
# of places. It is walked in steps of a prime far above the square root of the largest grid:
# consecutive samples then have different backgrounds, and every cell is still reached once.
_GRID_STRIDE: Final = 2_654_435_761


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every choice of one composite.

    Attributes:
        index: the sample's number.
        background: asset id.
        crop_side: side of the plate's square crop as a share of the background's short side.
        crop_x, crop_y: where the crop lies, from 0 (at the background's left, top) to 1 (at its
            right, bottom).
        objects: the pasted cutouts, the farthest first; none in a composite without foreground.
        stale: an object that is in the plate and not in the picture, or None.
        effects: everything else that happens to picture and plate.
        jpeg_picture, jpeg_plate: JPEG qualities, or None for no encoding.
        noise_sigma: strength of the sensor noise, of 255; 0 for none.
        noise_seed: seed of that noise.
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
            or self.effects.changes_plate
            or self.jpeg_plate is not None
            or self.noise_sigma > 0
        )


@dataclass(frozen=True)
class Pool:
    """The assets that recipes may draw from."""

    cutouts: tuple[CutoutAsset, ...]
    backgrounds: tuple[BackgroundAsset, ...]

    def __post_init__(self) -> None:
        if not self.cutouts or not self.backgrounds:
            found = f"{len(self.cutouts)} cutouts and {len(self.backgrounds)} backgrounds"
            raise AssetError(
                "at least one cutout and one background to draw from",
                found,
                "add assets, or compose with --small so that every split gets some",
                f"Composites need a cutout and a background, but there are {found} to draw from.",
            )

    def grid_size(self, places: int) -> int:
        """Number of samples of a full grid: cutouts x backgrounds x 2 flips x places."""
        return len(self.cutouts) * len(self.backgrounds) * 2 * places


def sample_recipe(rules: RecipeRules, pool: Pool, seed: int, index: int) -> Recipe:
    """The recipe of one sample; see :func:`sample_recipes`."""
    return next(sample_recipes(rules, pool, seed, index, index + 1))


def sample_recipes(
    rules: RecipeRules, pool: Pool, seed: int, start: int, stop: int
) -> Iterator[Recipe]:
    """Recipes ``start`` to ``stop - 1``, each a pure function of (rules, pool, seed, its index).

    Args:
        rules: ranges and probabilities of the choices. pool: the assets to choose from. seed: 0 or
        more. start, stop: sample numbers, 0 or more. Where the rules ask for a grid
        (``rules.places``), it
            begins again after its last sample.
    """
    sampler = _Sampler(rules, pool, seed)
    grid_size = pool.grid_size(rules.places)  # 0 where the rules ask for no grid
    while start < stop:
        first = start % grid_size if grid_size else start
        end = first + min(stop - start, _BATCH)
        if grid_size:
            end = min(end, grid_size)
        yield from sampler.sample(first, end)
        start += end - first


@dataclass(frozen=True)
class _Scenes:
    """The scenes of samples ``start`` to ``stop - 1``, in which objects are placed."""

    start: int
    stop: int
    background: Indices  # (n,): of the pool's backgrounds
    crop: Array  # (n, 3): the plate's square in its background: left, top, side, px
    on_ground: NDArray[np.bool_]  # (n,): whether objects stand on the background's ground


class _Sampler:
    """Turns random numbers into recipes, many samples at a time.

    A stream is a series of random numbers. Kinds of choices that were added later have streams of
    their own, so that they change no earlier choice.
    """

    def __init__(self, rules: RecipeRules, pool: Pool, seed: int) -> None:
        self.rules = rules
        self.pool = pool
        self.seed = seed
        self.cutouts = CutoutColumns.from_assets(pool.cutouts)
        self.grounds = GroundColumns.from_assets(pool.backgrounds)
        labelled = np.array([asset.disparity is not None for asset in pool.backgrounds])
        self.labelled = np.flatnonzero(labelled)
        self.unlabelled = np.flatnonzero(~labelled)

    def sample(self, start: int, stop: int) -> Iterator[Recipe]:
        """The recipes of samples ``start`` to ``stop - 1``."""
        rules = self.rules
        draws = draw(self.seed, Stream.FIRST_OBJECT, start, stop)
        effects = sample_effects(
            rules, lambda stream: draw_uniforms(self.seed, stream, start, stop)
        )
        # The assets, and the square of each background that becomes the plate.
        if rules.places:
            cutout, background, flip = self.walk_grid(start, stop)
        else:
            cutout, flip = self.pick_cutouts(draws)
            background = self.pick_backgrounds(draws)
        crop_side = between(draws.crop_side, rules.plate_crop)
        crop = self.locate_crops(background, crop_side, draws)
        has_ground = self.grounds.count[background] > 0
        on_ground = has_ground & (draws.on_ground < rules.ground.share)
        scenes = _Scenes(start, stop, background, crop, on_ground)
        # The objects: one, or none in an empty composite, or up to three in a crowded one.
        filled = draws.empty >= rules.empty_probability
        objects = [self.place_objects(scenes, draws, cutout, flip, filled, Stream.FIRST_GROUND)]
        further = _FURTHER_OBJECTS[: rules.crowd.further]
        for number, (stream, ground) in enumerate(further, start=1):
            crowded = filled & (effects.u_crowd < rules.crowd.probability**number)
            objects.append(self.place_further_objects(scenes, stream, crowded, ground))
        is_stale = effects.u_stale < rules.stale.probability
        stale = self.place_further_objects(scenes, Stream.STALE, is_stale, None)
        # Encoding and noise. Then one recipe for each row of the columns.
        encoded = (draws.jpeg < rules.jpeg_probability).tolist()

        def qualities(uniform: Array) -> Iterator[int | None]:
            drawn = np.rint(between(uniform, rules.jpeg_quality)).astype(int).tolist()
            return (number if jpeg else None for number, jpeg in zip(drawn, encoded, strict=True))

        noisy = (draws.noise < rules.noise_probability) & ~effects.plain
        rows = range(stop - start)
        return map(  # in the order of the fields of Recipe
            Recipe,
            range(start, stop),
            (self.pool.backgrounds[number].id for number in background.tolist()),
            crop_side.tolist(), draws.crop_x.tolist(), draws.crop_y.tolist(),
            (_far_to_near([placed[row] for placed in objects if row in placed]) for row in rows),
            map(stale.get, rows),
            effects.effects,
            qualities(draws.jpeg_picture), qualities(draws.jpeg_plate),
            np.where(noisy, between(draws.noise_sigma, rules.noise_sigma), 0.0).tolist(),
            (draws.noise_seed * 2**53).astype(np.int64).tolist(),
        )  # fmt: skip

    def walk_grid(self, start: int, stop: int) -> tuple[Indices, Indices, NDArray[np.bool_]]:
        """Cutouts, backgrounds and flips of a grid, with every combination ``places`` times."""
        cell = np.arange(start, stop) * _GRID_STRIDE % self.pool.grid_size(self.rules.places)
        cell //= self.rules.places
        pair, flip = cell // 2, cell % 2 == 1
        return pair % len(self.pool.cutouts), pair // len(self.pool.cutouts), flip

    def pick_cutouts(self, draws: Draws) -> tuple[Indices, NDArray[np.bool_]]:
        """A cutout for each sample, and whether it is mirrored."""
        flip = draws.flip < self.rules.flip_probability
        return pick_index(draws.cutout, len(self.pool.cutouts)), flip

    def pick_backgrounds(self, draws: Draws) -> Indices:
        """A background for each sample.

        ``rules.labelled_share`` of the samples get one with a depth label, if the pool has both
        backgrounds with a label and without.
        """
        labelled, unlabelled = self.labelled, self.unlabelled
        if self.rules.labelled_share is None or not (labelled.size and unlabelled.size):
            return pick_index(draws.background, len(self.pool.backgrounds))
        return np.where(
            draws.labelled < self.rules.labelled_share,
            labelled[pick_index(draws.background, labelled.size)],
            unlabelled[pick_index(draws.background, unlabelled.size)],
        )

    def locate_crops(self, background: Indices, share: Array, draws: Draws) -> Array:
        """The plate's square in each background (n, 3): left, top, side, px."""
        width, height = self.grounds.size[background].T
        side = share * np.minimum(width, height)
        left, top = draws.crop_x * (width - side), draws.crop_y * (height - side)
        return np.stack([left, top, side], axis=1)

    def place_further_objects(
        self, scenes: _Scenes, stream: Stream, wanted: NDArray[np.bool_], ground: Stream | None
    ) -> dict[int, Placement]:
        """Objects beside the first one, with random numbers of their own."""
        if not wanted.any():
            return {}
        draws = draw(self.seed, stream, scenes.start, scenes.stop)
        return self.place_objects(scenes, draws, *self.pick_cutouts(draws), wanted, ground)

    def place_objects(
        self,
        scenes: _Scenes,
        draws: Draws,
        cutout: Indices,
        flip: NDArray[np.bool_],
        wanted: NDArray[np.bool_],
        ground: Stream | None,
    ) -> dict[int, Placement]:
        """Place one object in each wanted scene; returns the objects by the scenes' rows.

        Every object is first placed anywhere. If its scene asks for it, the object is then placed
        on the ground instead, unless no attempt finds a spot there.

        Args:
            draws: random numbers: how near objects are, and the places to try for each.
            cutout, flip: (n,) the objects, as from ``pick_cutouts``.
            wanted: (n,) the scenes that get an object.
            ground: stream of the attempts on the ground; None for no such attempts.
        """
        rows = np.flatnonzero(wanted)
        boxes = place_anywhere(self.rules, self.cutouts, cutout[rows], draws.attempts[rows])
        on_ground = scenes.on_ground[rows]
        if ground is not None and on_ground.any():
            attempts = draw(self.seed, ground, scenes.start, scenes.stop).attempts
            some = rows[on_ground]
            standing = place_on_ground(
                self.rules, self.cutouts, cutout[some], flip[some], self.grounds,
                scenes.background[some], scenes.crop[some], attempts[some],
            )  # fmt: skip
            boxes.replace(np.flatnonzero(on_ground), standing)
        columns = zip_rows(
            cutout[rows], flip[rows], boxes.box, draws.nearness[rows], boxes.stands, boxes.standing
        )
        return {
            row: Placement(
                self.pool.cutouts[number].id, mirrored, width, height, x, y, nearness,
                Standing(*contact) if stands else None,
            )
            for row, (number, mirrored, (width, height, x, y), nearness, stands, contact) in zip(
                rows.tolist(), columns, strict=True
            )
        }  # fmt: skip


def _far_to_near(objects: list[Placement]) -> tuple[Placement, ...]:
    """Objects on the ground from far to near, then those placed anywhere, as they were drawn."""
    if len(objects) < 2:
        return tuple(objects)
    return tuple(
        sorted(objects, key=lambda each: each.standing.disparity if each.standing else np.inf)
    )
