"""Robustness: the composites of the clean slice again and again, one thing changed at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Final

from maskdepth.evaluation.baselines import (
    BASELINES,
    DISC,
    NEED_PLATE,
    Baseline,
    predict_nothing,
    tune_baselines,
)
from maskdepth.evaluation.columns import AssetGroups, Column
from maskdepth.evaluation.composites import find_pool, mask_origin, render_benchmark
from maskdepth.evaluation.masks import (
    UNTUNED,
    PredictAlpha,
    baseline_column,
    judge_masks,
    with_plate,
    without_plate,
)
from maskdepth.inference.predictor import Predictor
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.effects import Shadow
from maskdepth.synthesis.recipes import Pool, Recipe
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.rules import BENCHMARK_V1
from maskdepth.synthesis.spec import DatasetSpec

SLICE: Final = "clean"
# Consecutive multiples of it, modulo 1, spread evenly however many there are (Weyl).
_GOLDEN: Final = 0.6180339887498949
_SHADOW_SIGMA, _SHADOW_DOWN, _SHADOW_ASIDE = 4.0, 9.0, 9.0  # px, the middle of the hard slice's

Change = Callable[[Recipe], Recipe]


@dataclass(frozen=True)
class PointColumns:
    """One point of a curve: thresholds are tuned on clean composites, or on ones like these."""

    model: Column
    difference: Column
    difference_tuned_here: Column
    difference_registered: Column
    difference_registered_tuned_here: Column
    others: Mapping[str, Column]


@dataclass(frozen=True)
class CurvePoint:
    """Composites that are changed by a value, in the curve's unit."""

    value: int | float
    columns: PointColumns


@dataclass(frozen=True)
class CurveResult:
    """Masks against one disturbance; see `robustness.Curve` for the texts."""

    title: str
    unit: str
    how: str
    neutral: int | float | None
    points: Sequence[CurvePoint]


@dataclass(frozen=True)
class Robustness:
    """Composites of the clean slice with one thing changed at a time.

    Attributes:
        count: composites a point.
        clean, wrong_plate, no_plate: their ``columns``. With the wrong plate each picture has
            that of another background; without, the model of clean pictures alone stands beside
            guesses that use no pixel, ``empty`` and ``centred_disc``.
    """

    slice: str
    count: int
    backgrounds_of: str
    clean: Mapping[str, PointColumns]
    curves: Mapping[str, CurveResult]
    wrong_plate: Mapping[str, PointColumns]
    no_plate: Mapping[str, Mapping[str, Column]]


@dataclass(frozen=True)
class NoRobustness:
    """Why no curve was made."""

    curves: None
    reason: str


@dataclass(frozen=True)
class Curve:
    """One disturbance and its strengths.

    Attributes:
        title, unit: for people.
        how: what exactly is done at a value, in words.
        values: the strengths that are judged, ascending.
        neutral: the value that changes nothing, if there is one.
        change: makes a recipe of the clean slice one of that strength.
    """

    title: str
    unit: str
    how: str
    values: tuple[float, ...]
    neutral: float | None
    change: Callable[[Recipe, float], Recipe]


def _with_effects(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, effects=replace(recipe.effects, **changes))


def _side(recipe: Recipe) -> int:
    """Left or right, warm or cold: every second composite the other way."""
    return 1 if recipe.index % 2 else -1


def _shift(recipe: Recipe, pixels: float) -> Recipe:
    way = 2 * math.pi * (recipe.index * _GOLDEN % 1)
    return _with_effects(recipe, plate_shift=(pixels * math.cos(way), pixels * math.sin(way)))


def _rotate(recipe: Recipe, degrees: float) -> Recipe:
    return _with_effects(recipe, plate_angle=_side(recipe) * degrees)


def _expose(recipe: Recipe, stops: float) -> Recipe:
    return _with_effects(recipe, gains=(2.0**stops,) * 3)


def _cast(recipe: Recipe, percent: float) -> Recipe:
    part = _side(recipe) * percent / 100
    return _with_effects(recipe, gains=(1 + part, 1.0, 1 - part))


def _shade(recipe: Recipe, strength: float) -> Recipe:
    aside = _side(recipe) * _SHADOW_ASIDE
    shadow = Shadow(strength, _SHADOW_SIGMA, aside, _SHADOW_DOWN)
    return _with_effects(recipe, shadows=(shadow,) if strength else ())


def _roughen(recipe: Recipe, sigma: float) -> Recipe:
    return replace(recipe, noise_sigma=sigma)


def _encode(recipe: Recipe, quality: float) -> Recipe:
    return replace(recipe, jpeg_picture=int(quality), jpeg_plate=int(quality))


CURVES: Final = {
    "plate_shift": Curve(
        "Plate shift", "px",
        "the plate is shifted, each composite's another way",
        (0, 1, 2, 3, 4, 6, 8), 0, _shift,
    ),
    "plate_rotation": Curve(
        "Plate rotation", "degrees",
        "the plate is turned about its centre, every second one the other way",
        (0, 0.25, 0.5, 1, 1.5, 2), 0, _rotate,
    ),
    "exposure": Curve(
        "Exposure", "stops",
        "the picture's values times 2 to the power of the stops, clipped; the plate stays",
        (-1.5, -1, -0.5, 0, 0.5, 1, 1.5), 0, _expose,
    ),
    "colour_cast": Curve(
        "Colour cast", "%",
        "the picture's red brighter and blue darker by that much, every second one the other way",
        (0, 5, 10, 15, 20, 30), 0, _cast,
    ),
    "shadow": Curve(
        "Shadow", "strength",
        "the object throws a shadow that takes away that share of the light: sigma 4 px, 9 px "
        "down and aside",
        (0, 0.2, 0.4, 0.6, 0.8), 0, _shade,
    ),
    "noise": Curve(
        "Noise", "sigma of 255",
        "normal noise on picture and plate apart",
        (0, 2, 5, 10, 15, 20), 0, _roughen,
    ),
    "jpeg": Curve(
        "JPEG", "quality",
        "picture and plate are encoded apart",
        (30, 50, 70, 80, 90, 95), None, _encode,
    ),
}  # fmt: skip
SIZES: Final = (BENCHMARK_V1[SLICE].size, 448, 896)
"""Sides of pictures that are judged, px, the slice's own first."""
_POINTS: Final = (
    2
    + len(SIZES[1:])
    + sum(value != curve.neutral for curve in CURVES.values() for value in curve.values)
)
"""Number of points at which all models are judged: clean, with wrong plates, and every other one.

Without a plate the model alone is judged."""


def count_point_predictions(count: int, others: int) -> int:
    """Number of the predictions for so many composites a point, by the model and so many others."""
    return ((1 + others) * _POINTS + 1) * count


def evaluate_robustness(
    predictor: Predictor,
    spec: DatasetSpec,
    catalogue_of: Callable[[int], Catalogue],
    count: int,
    *,
    others: Mapping[str, Predictor] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Robustness | NoRobustness:
    """Masks against one disturbance after the other, on unseen cutouts and backgrounds.

    Every point has the same composites, the first of the clean slice.

    Args:
        catalogue_of: the dataset's pictures, for composites of a side in px.
        count: composites a point.
        others: more models by name.
        advance: called with the number of predictions that are done with; in all as many as
            `count_point_predictions` says.
    """
    origin = mask_origin(spec)
    test, reason = find_pool(spec, "test", "test", origin=origin)
    if test is None:
        advance(count_point_predictions(count, len(others or {})))
        return NoRobustness(None, reason)
    val, reason = find_pool(spec, "val", "val", origin=origin)
    catalogue = catalogue_of(SIZES[0])
    bench = _Bench(
        spec, catalogue, count, test, val, reason or UNTUNED, predictor, others or {}, advance
    )
    clean = bench.judge_point(bench.render)
    curves = {}
    for name, curve in CURVES.items():
        points = [
            CurvePoint(
                value,
                clean
                if value == curve.neutral
                else bench.judge_point(partial(bench.render, change=_at(curve, value))),
            )
            for value in curve.values
        ]
        curves[name] = CurveResult(curve.title, curve.unit, curve.how, curve.neutral, points)
    points = [CurvePoint(SIZES[0], clean)]
    for size in SIZES[1:]:
        render_larger = partial(bench.render, size=size, catalogue=catalogue_of(size))
        points.append(CurvePoint(size, bench.judge_point(render_larger)))
    curves["picture_size"] = CurveResult(
        title="Picture size",
        unit="px",
        how="the composites are rendered larger; assets with fewer pixels are enlarged",
        neutral=SIZES[0],
        points=points,
    )
    return Robustness(
        slice=SLICE,
        count=count,
        backgrounds_of=origin or "all",
        clean={"columns": clean},
        curves=curves,
        wrong_plate={"columns": bench.judge_point(bench.render_wrong_plates)},
        no_plate={"columns": bench.judge_without_plate()},
    )


@dataclass(frozen=True)
class _Bench:
    """What all points share: the assets and the models."""

    spec: DatasetSpec
    catalogue: Catalogue
    count: int
    test: Pool
    val: Pool | None
    untuned: str
    predictor: Predictor
    others: Mapping[str, Predictor]
    advance: Callable[[int], None]

    @cached_property
    def tuned(self) -> dict[str, Baseline]:
        """The baselines at their best on clean composites of val."""
        return {} if self.val is None else tune_baselines(self.render(self.val), BASELINES)

    @cached_property
    def groups(self) -> AssetGroups:
        return AssetGroups.of(self.spec)

    def render(
        self,
        pool: Pool,
        change: Change | None = None,
        size: int = SIZES[0],
        catalogue: Catalogue | None = None,
    ) -> Iterator[Composite]:
        """The composites of a point, on some assets; another size needs a catalogue for it."""
        rules = BENCHMARK_V1[SLICE].at_size(size)
        catalogue = self.catalogue if catalogue is None else catalogue
        return render_benchmark(rules, pool, catalogue, self.count, change)

    def render_wrong_plates(self, pool: Pool) -> Iterator[Composite]:
        """Clean pictures, each with the clean plate of the next background that is no near-copy."""
        size = BENCHMARK_V1[SLICE].size
        ids = [asset.id for asset in pool.backgrounds]
        groups = self.groups.backgrounds
        for composite in self.render(pool):
            own = composite.recipe.background
            index = ids.index(own)
            for other in ids[index + 1 :] + ids[:index]:
                if groups[other] != groups[own]:
                    bare = replace(composite.recipe, background=other, objects=())
                    yield replace(composite, plate=render(bare, size, self.catalogue).plate)
                    break

    def judge_point(self, make: Callable[[Pool], Iterable[Composite]]) -> PointColumns:
        """The models, and the baselines tuned on clean composites and on ones like these."""
        here = {} if self.val is None else tune_baselines(make(self.val), NEED_PLATE)
        methods = {"model": with_plate(self.predictor)}
        methods |= {f"other {name}": with_plate(other) for name, other in self.others.items()}
        methods |= {name: self.tuned[name].predict for name in NEED_PLATE if name in self.tuned}
        methods |= {f"here {name}": baseline.predict for name, baseline in here.items()}
        columns = self._judge(methods, make(self.test), 1 + len(self.others))
        columns_here = {name: columns[f"here {name}"] for name in here}

        def once(name: str) -> Column:
            return baseline_column(name, self.tuned, self.untuned, columns)

        def tuned_here(name: str) -> Column:
            return baseline_column(name, here, self.untuned, columns_here)

        return PointColumns(
            model=columns["model"],
            difference=once("difference"),
            difference_tuned_here=tuned_here("difference"),
            difference_registered=once("difference_registered"),
            difference_registered_tuned_here=tuned_here("difference_registered"),
            others={name: columns[f"other {name}"] for name in self.others},
        )

    def judge_without_plate(self) -> dict[str, Column]:
        """The model of the clean picture alone, beside guesses that use no pixel."""
        methods = {"model": without_plate(self.predictor), "empty": predict_nothing}
        if DISC in self.tuned:
            methods[DISC] = self.tuned[DISC].predict
        columns = self._judge(methods, self.render(self.test))
        return columns | {DISC: baseline_column(DISC, self.tuned, self.untuned, columns)}

    def _judge(
        self,
        methods: Mapping[str, PredictAlpha],
        composites: Iterable[Composite],
        predictions: int = 1,
    ) -> dict[str, Column]:
        """Dice, IoU and boundary F of every method; each composite takes some predictions."""
        builders = judge_masks(self.groups, composites, methods)
        self.advance(predictions * self.count)
        return {name: builder.column() for name, builder in builders.items()}


def _at(curve: Curve, value: float) -> Change:
    return lambda recipe: curve.change(recipe, value)
