"""Recipes: every choice that makes one composite, drawn as a pure function of (rules, pool, index).

The only randomness of the package's synthesis. Sample ``i`` owns a fixed span of a counter-based
generator (Philox4x64, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
so recipes are the same whatever the order, the number of workers or the size of the batch they
are drawn in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from maskdepth.config import Settings
from maskdepth.errors import AssetError
from maskdepth.synthesis.assets import BackgroundAsset, CutoutAsset

# One sample's uniforms: 16 single draws, then 16 attempts at (long side, x, y). The width is part
# of the format: another one would move every recipe. New kinds of draws take a stream of their own.
_SINGLE_DRAWS: Final = 16
_ATTEMPTS: Final = 16
_WIDTH: Final = _SINGLE_DRAWS + 3 * _ATTEMPTS
_PLACEMENT_STREAM: Final = 0
_CHUNK: Final = 8192
# Consecutive samples of a grid should not share their background; any prime far above
# the square root of the largest grid walks through it evenly.
_GRID_STRIDE: Final = 2_654_435_761

Range = tuple[float, float]


class RecipeRules(Settings):
    """What recipes are drawn from; the ranges are inclusive.

    With ``places = 0`` each sample draws its assets freely. With ``places > 0`` the samples are a
    grid: every cutout on every background, each in both flips, each at ``places`` positions.
    """

    name: str = "training"
    size: int = Field(224, ge=32, le=2048, description="side of the square composite, px")
    flip_probability: float = Field(0.5, ge=0, le=1)
    plate_crop: Range = Field((0.4, 1.0), description="side of the crop / background's short side")
    long_side_px: Range = Field((30.0, 200.0), description="of the cutout in the composite")
    off_frame: float = Field(0.2, ge=0, le=0.9, description="largest share of the box off-frame")
    coverage: Range = Field((0.003, 0.6), description="foreground share of the pixels")
    empty_probability: float = Field(0.02, ge=0, le=1, description="composites with no cutout")
    jpeg_probability: float = Field(0.5, ge=0, le=1)
    jpeg_quality: Range = Field((60.0, 98.0), description="picture and plate encoded apart")
    noise_probability: float = Field(0.3, ge=0, le=1)
    noise_sigma: Range = Field((0.0, 4.0), description="of 255, on picture and plate apart")
    labelled_share: float | None = Field(
        0.35, ge=0, le=1, description="of the samples on labelled backgrounds; None: as they come"
    )
    places: int = Field(0, ge=0, description="positions per cutout, background and flip; 0: free")

    def at_size(self, size: int) -> Self:
        """The same rules for composites of another side, the cutouts in proportion.

        Raises:
            ConfigError: the size is out of range.
        """
        low, high = (side * size / self.size for side in self.long_side_px)
        return self.with_(size=size, long_side_px=(low, high))

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> RecipeRules:
        for field in ("plate_crop", "long_side_px", "coverage", "jpeg_quality", "noise_sigma"):
            low, high = getattr(self, field)
            if not 0 <= low <= high:
                raise ValueError(f"expected 0 <= low <= high in {field}")
        return self


# The frozen benchmark: figures mean the same next year only while this stays as it is.
_CLEAN_V1: Final = RecipeRules(
    name="clean",
    size=224,
    flip_probability=0.5,
    plate_crop=(0.5, 1.0),
    long_side_px=(60.0, 170.0),
    off_frame=0.2,
    coverage=(0.01, 0.40),
    empty_probability=0.0,
    jpeg_probability=0.0,
    jpeg_quality=(90.0, 90.0),
    noise_probability=0.0,
    noise_sigma=(0.0, 0.0),
    labelled_share=None,
    places=0,
)
BENCHMARK_V1: Final[dict[str, RecipeRules]] = {
    "clean": _CLEAN_V1,
    "jpeg": _CLEAN_V1.with_(name="jpeg", jpeg_probability=1.0),
}
BENCHMARK_SEED: Final = 2026

PRIOR_WORK: Final = _CLEAN_V1.with_(name="prior work", off_frame=0.0, places=20)
"""The 2020 plan: 100 cutouts x 100 backgrounds x 2 flips x 20 places = 400 000 composites."""

PLANS: Final = {"free": RecipeRules(), "prior": PRIOR_WORK}
"""What a dataset can be made by: our own free draws, or the prior work's grid."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every choice of one composite.

    Attributes:
        index: the sample's number; with rules, pool and seed it determines all the rest.
        cutout: asset id, or None for a composite without foreground.
        background: asset id.
        flip: whether the cutout is mirrored left to right.
        crop_side: side of the plate's square crop as a share of the background's short side.
        crop_x, crop_y: position of the crop in the room it leaves, 0 (left, top) to 1.
        width, height: of the cutout's box in the composite, px.
        x, y: left and top edge of that box in the composite, px; may be negative.
        nearness: 0..1, how far the object's disparity lies between the plate beneath it and 1.
        jpeg_picture, jpeg_plate: JPEG qualities, or None for no encoding.
        noise_sigma: of 255; 0 for none.
        noise_seed: of the noise pattern.
    """

    index: int
    cutout: str | None
    background: str
    flip: bool
    crop_side: float
    crop_x: float
    crop_y: float
    width: int
    height: int
    x: int
    y: int
    nearness: float
    jpeg_picture: int | None
    jpeg_plate: int | None
    noise_sigma: float
    noise_seed: int

    @property
    def perturbs_plate(self) -> bool:
        """Whether the plate that the network gets is more than a crop of the background."""
        return self.jpeg_plate is not None or self.noise_sigma > 0


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
    columns = _columns(pool)
    while start < stop:
        # The second round of a grid is the first one again, as epochs over files were.
        low = start % pool.grid_size(rules.places) if rules.places else start
        high = low + min(stop - start, _CHUNK)
        if rules.places:
            high = min(high, pool.grid_size(rules.places))
        yield from _draw(rules, pool, columns, low, _uniforms(seed, low, high))
        start += high - low


@dataclass(frozen=True)
class _Columns:
    """The pool's assets as arrays, so that recipes are drawn a few thousand at a time."""

    width: NDArray[np.float64]
    height: NDArray[np.float64]
    alpha_share: NDArray[np.float64]
    labelled: NDArray[np.intp]
    unlabelled: NDArray[np.intp]


def _columns(pool: Pool) -> _Columns:
    labelled = np.array([asset.disparity is not None for asset in pool.backgrounds])
    return _Columns(
        np.array([asset.width for asset in pool.cutouts], np.float64),
        np.array([asset.height for asset in pool.cutouts], np.float64),
        np.array([asset.alpha_share for asset in pool.cutouts], np.float64),
        np.flatnonzero(labelled),
        np.flatnonzero(~labelled),
    )


def _uniforms(seed: int, start: int, stop: int) -> NDArray[np.float64]:
    """Uniform draws in [0, 1) of samples ``start`` to ``stop - 1``: (stop - start, _WIDTH)."""
    # Philox4x64 gives four draws a count; sample i starts at count i * _WIDTH / 4.
    bits = np.random.Philox(
        key=np.array([seed, _PLACEMENT_STREAM], np.uint64),
        counter=np.array([start * (_WIDTH // 4), 0, 0, 0], np.uint64),
    )
    return np.random.Generator(bits).random((stop - start, _WIDTH))


def _pick(uniform: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Uniform draws in [0, 1) as whole numbers below ``count``."""
    return np.minimum((uniform * count).astype(np.intp), count - 1)


def _between(uniform: NDArray[np.float64], limits: Range) -> NDArray[np.float64]:
    return limits[0] + uniform * (limits[1] - limits[0])


def _draw(
    rules: RecipeRules, pool: Pool, columns: _Columns, low: int, uniforms: NDArray[np.float64]
) -> Iterator[Recipe]:
    """Turn each row of uniforms into the recipe of sample ``low + row``."""
    index = np.arange(low, low + len(uniforms))
    (u_cutout, u_background, u_flip, u_side, u_x, u_y, nearness, u_jpeg, u_quality, u_plate,
     u_noise, u_sigma, u_seed, u_empty, u_labelled, _) = uniforms[:, :_SINGLE_DRAWS].T  # fmt: skip
    if rules.places:
        cell = index * _GRID_STRIDE % pool.grid_size(rules.places) // rules.places
        flip = cell % 2 == 1
        cutout = cell // 2 % len(pool.cutouts)
        background = cell // 2 // len(pool.cutouts)
    else:
        flip = u_flip < rules.flip_probability
        cutout = _pick(u_cutout, len(pool.cutouts))
        background = _pick_background(rules, columns, u_background, u_labelled)
    box = _place(rules, columns, cutout, uniforms[:, _SINGLE_DRAWS:])
    empty = u_empty < rules.empty_probability
    jpeg = u_jpeg < rules.jpeg_probability
    picture_quality = np.rint(_between(u_quality, rules.jpeg_quality)).astype(int)
    plate_quality = np.rint(_between(u_plate, rules.jpeg_quality)).astype(int)
    sigma = np.where(u_noise < rules.noise_probability, _between(u_sigma, rules.noise_sigma), 0.0)
    side = _between(u_side, rules.plate_crop)
    for row in range(len(index)):
        width, height, x, y = (int(value) for value in box[row])
        yield Recipe(
            index=int(index[row]),
            cutout=None if empty[row] else pool.cutouts[cutout[row]].id,
            background=pool.backgrounds[background[row]].id,
            flip=bool(flip[row]),
            crop_side=float(side[row]),
            crop_x=float(u_x[row]),
            crop_y=float(u_y[row]),
            width=width,
            height=height,
            x=x,
            y=y,
            nearness=float(nearness[row]),
            jpeg_picture=int(picture_quality[row]) if jpeg[row] else None,
            jpeg_plate=int(plate_quality[row]) if jpeg[row] else None,
            noise_sigma=float(sigma[row]),
            noise_seed=int(u_seed[row] * 2**53),
        )


def _pick_background(
    rules: RecipeRules,
    columns: _Columns,
    u_background: NDArray[np.float64],
    u_labelled: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Rows of the pool's backgrounds, ``labelled_share`` of them labelled where both kinds are."""
    labelled, unlabelled = columns.labelled, columns.unlabelled
    if rules.labelled_share is None or not (labelled.size and unlabelled.size):
        return _pick(u_background, labelled.size + unlabelled.size)
    return np.where(
        u_labelled < rules.labelled_share,
        labelled[_pick(u_background, labelled.size)],
        unlabelled[_pick(u_background, unlabelled.size)],
    )


def _place(
    rules: RecipeRules,
    columns: _Columns,
    cutout: NDArray[np.intp],
    attempts: NDArray[np.float64],
) -> NDArray[np.int64]:
    """``uniform`` placement: the first admissible of sixteen attempts at size and position.

    Admissible means that at most ``off_frame`` of the box lies outside the frame and that the
    foreground (the cutout's mask share times the visible box) is within ``coverage``. A cutout
    that never fits (a thread, say) lies inside the frame at the size nearest to fitting.

    Returns:
        (n, 4) whole numbers: width, height, x, y in px.
    """
    u_long, u_x, u_y = attempts.reshape(len(cutout), _ATTEMPTS, 3).transpose(2, 0, 1)
    aspect = (columns.width / columns.height)[cutout][:, None]  # (n, 1)
    share = columns.alpha_share[cutout][:, None]
    frame = rules.size
    # The foreground of a box of long side L is about share * L^2 * min(aspect, 1 / aspect).
    per_square = share * np.minimum(aspect, 1 / aspect) / frame**2
    fitting = np.sqrt(np.array(rules.coverage) / per_square)  # (n, 2): long side at the limits
    low = np.clip(fitting[:, :1], *rules.long_side_px)
    high = np.clip(fitting[:, 1:], *rules.long_side_px)
    long_side = _between(u_long, rules.long_side_px)  # (n, attempts)
    # The last attempt is the one that always holds: inside the frame, at a fitting size.
    last = (low + u_long[:, -1:] * (high - low))[:, 0]
    long_side[:, -1] = np.minimum(last, frame)
    width = np.maximum(np.rint(long_side * np.minimum(aspect, 1)), 1)
    height = np.maximum(np.rint(long_side * np.minimum(1 / aspect, 1)), 1)
    x = _positions(u_x, width, frame, rules.off_frame)
    y = _positions(u_y, height, frame, rules.off_frame)
    visible = _overlap(x, width, frame) * _overlap(y, height, frame)
    covered = share * visible / frame**2
    admissible = (
        (visible >= (1 - rules.off_frame) * width * height)
        & (covered >= rules.coverage[0])
        & (covered <= rules.coverage[1])
    )
    admissible[:, -1] = True
    first = admissible.argmax(axis=1)[:, None]
    chosen = [np.take_along_axis(value, first, axis=1) for value in (width, height, x, y)]
    return np.concatenate(chosen, axis=1).astype(np.int64)


def _positions(
    uniform: NDArray[np.float64], length: NDArray[np.float64], frame: int, off_frame: float
) -> NDArray[np.float64]:
    """Whole positions along one axis, from off the low edge to off the high one, px."""
    # Where the box is longer than the frame, sliding it means moving from edge to edge.
    margin = np.minimum(off_frame * length, np.maximum(frame - 1, 0))
    low = np.minimum(-margin, frame - length)
    high = np.maximum(frame - length + margin, 0)
    # The last attempt keeps the whole box in the frame: no position off either edge.
    low[:, -1], high[:, -1] = 0, np.maximum(frame - length[:, -1], 0)
    return np.asarray(np.rint(low + uniform * (high - low)))


def _overlap(
    position: NDArray[np.float64], length: NDArray[np.float64], frame: int
) -> NDArray[np.float64]:
    """How much of [position, position + length) lies in [0, frame)."""
    return np.asarray(np.minimum(position + length, frame) - np.maximum(position, 0)).clip(0)
