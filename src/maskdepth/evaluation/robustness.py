"""Robustness: the composites of the clean slice again and again, one thing changed at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from maskdepth.evaluation.masks import (
    Column,
    describe_baselines,
    mask_origin,
    with_plate,
    without_plate,
)
from maskdepth.evaluation.tally import (
    AssetGroups,
    Tally,
    find_pool,
    render_benchmark,
)
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import mask_metrics
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

_MODEL, _HERE = "model", "_tuned_here"

Change = Callable[[Recipe], Recipe]


@dataclass(frozen=True)
class Curve:
    """One thing that is changed, and how far.

    Attributes:
        title, unit: for people.
        how: what exactly is done at a value, in words.
        values: at which it is judged, ascending.
        neutral: the value that changes nothing, if there is one.
        change: a recipe of the clean slice, changed.
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
PASSES: Final = (
    3
    + len(SIZES[1:])
    + sum(value != curve.neutral for curve in CURVES.values() for value in curve.values)
)
"""How often composites are judged: clean, with wrong and no plates, and at every other point."""


def judge_robustness(
    predictor: Predictor,
    spec: DatasetSpec,
    catalogue_of: Callable[[int], Catalogue],
    count: int,
    *,
    others: Mapping[str, Predictor] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Masks against one disturbance after the other, on unseen cutouts and backgrounds.

    Every point has the same composites, those that the clean slice begins with.

    Args:
        catalogue_of: the dataset's pictures, for composites of a side in px.
        count: composites a point.
        others: more models by name.
        advance: called with the number of composites that are done with; `PASSES` times the count.

    Returns:
        Plain values. ``clean``, every one of ``points`` of every one of ``curves``, and
        ``wrong_plate`` (the plate of another background) have ``columns``: ``model``, ``others``,
        and of each baseline with a plate the column tuned on clean composites of val
        (``difference``) and the one tuned on composites of val changed alike
        (``difference_tuned_here``). ``no_plate`` has the model without a plate on the clean
        pictures, the ``empty`` mask and a ``centred_disc``. ``{"curves": None, "reason": ...}``
        where there are no unseen assets.
    """
    origin = mask_origin(spec)
    test, reason = find_pool(spec, "test", "test", origin=origin)
    if test is None:
        advance(PASSES * count)
        return {"curves": None, "reason": reason}
    val, reason = find_pool(spec, "val", "val", origin=origin)
    untuned = reason or "no composite of val has a mask"
    models = {_MODEL: with_plate(predictor)}
    models |= {f"other {key}": with_plate(other) for key, other in (others or {}).items()}
    catalogue = catalogue_of(SIZES[0])
    bench = _Bench(spec, catalogue, count, test, val, untuned, models, advance)
    clean = bench.judge_point(bench.render)
    curves = {}
    for name, curve in CURVES.items():
        points = []
        for value in curve.values:
            columns = clean
            if value != curve.neutral:
                columns = bench.judge_point(partial(bench.render, change=_at(curve, value)))
            points.append({"value": value, "columns": columns})
        curves[name] = {
            "title": curve.title,
            "unit": curve.unit,
            "how": curve.how,
            "neutral": curve.neutral,
            "points": points,
        }
    points = [{"value": SIZES[0], "columns": clean}]
    for size in SIZES[1:]:
        render_larger = partial(bench.render, size=size, catalogue=catalogue_of(size))
        points.append({"value": size, "columns": bench.judge_point(render_larger)})
    curves["picture_size"] = {
        "title": "Picture size",
        "unit": "px",
        "how": "the composites are rendered larger; assets with fewer pixels are enlarged",
        "neutral": SIZES[0],
        "points": points,
    }
    return {
        "slice": SLICE,
        "count": count,
        "backgrounds_of": origin or "all",
        "clean": {"columns": clean},
        "curves": curves,
        "wrong_plate": {"columns": bench.judge_point(bench.render_wrong_plates)},
        "no_plate": {"columns": bench.judge_without_plate(predictor)},
    }


@dataclass(frozen=True)
class _Bench:
    """What all points share: the assets, and whom they are shown to."""

    spec: DatasetSpec
    catalogue: Catalogue
    count: int
    test: Pool
    val: Pool | None
    untuned: str
    models: Mapping[str, Column]
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
        for composite in self.render(pool):
            recipe = composite.recipe
            place = ids.index(recipe.background)
            for other in ids[place + 1 :] + ids[:place]:
                if self.groups.backgrounds[other] != self.groups.backgrounds[recipe.background]:
                    bare = replace(recipe, background=other, objects=())
                    plate = render(bare, size, self.catalogue).plate
                    yield replace(composite, plate=plate)
                    break

    def judge_point(self, make: Callable[[Pool], Iterable[Composite]]) -> dict[str, Any]:
        """The models, and the baselines tuned on clean composites and on ones like these."""
        here = {} if self.val is None else tune_baselines(make(self.val), NEED_PLATE)
        columns = dict(self.models)
        for name in NEED_PLATE:
            if name in self.tuned:
                columns[name] = self.tuned[name].predict
            if name in here:
                columns[f"{name}{_HERE}"] = here[name].predict
        found = self._judge(columns, make(self.test))
        self.advance(self.count)
        result = {_MODEL: found[_MODEL]}
        for name in NEED_PLATE:
            result |= describe_baselines((name,), self.tuned, self.untuned, found)
            alone = {name: found.get(f"{name}{_HERE}", {})}
            result[f"{name}{_HERE}"] = describe_baselines((name,), here, self.untuned, alone)[name]
        rivals = [key for key in self.models if key != _MODEL]
        return result | {"others": {key.removeprefix("other "): found[key] for key in rivals}}

    def judge_without_plate(self, predictor: Predictor) -> dict[str, Any]:
        """The model of the clean picture alone, beside guesses that do not look at all."""
        columns = {_MODEL: without_plate(predictor), "empty": predict_nothing}
        if DISC in self.tuned:
            columns[DISC] = self.tuned[DISC].predict
        found = self._judge(columns, self.render(self.test))
        self.advance(self.count)
        return found | describe_baselines((DISC,), self.tuned, self.untuned, found)

    def _judge(
        self, columns: Mapping[str, Column], composites: Iterable[Composite]
    ) -> dict[str, dict[str, Any]]:
        """Dice, IoU and boundary F by column."""
        tallies = {name: Tally() for name in columns}
        for composite in composites:
            for name, predict in columns.items():
                figures = mask_metrics(predict(composite), composite.alpha)
                tallies[name].add(composite.recipe, figures)
        return {name: tally.summary(self.groups) for name, tally in tallies.items()}


def _at(curve: Curve, value: float) -> Change:
    return lambda recipe: curve.change(recipe, value)
