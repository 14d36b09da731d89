"""Recipes: pure functions of (rules, pool, seed, index), within the ranges they promise."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import multiprocessing
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskdepth.errors import AssetError, ConfigError
from maskdepth.evaluation.slices import CHALLENGES
from maskdepth.synthesis.assets import BackgroundAsset, CutoutAsset
from maskdepth.synthesis.effects import NO_EFFECTS
from maskdepth.synthesis.placement import Placement
from maskdepth.synthesis.recipes import Pool, Recipe, sample_recipe, sample_recipes
from maskdepth.synthesis.rules import (
    BENCHMARK_SEED,
    BENCHMARK_V1,
    FIELD,
    PRIOR_WORK,
    ExposureRules,
    GreyPlateRules,
    LongShadowRules,
    PlainRules,
    RecipeRules,
    RecolourRules,
    RegisteredRules,
    ShadeRules,
    SkylightRules,
    ToneCurveRules,
    ToneRules,
    plan_rules,
)

# Level ground with its horizon at 40 % of the height.
GROUND = tuple((x, y, 0.8 * (y - 0.4), y - 0.4) for x in (0.2, 0.5, 0.8) for y in (0.6, 0.75, 0.9))


def make_pool(cutouts: int = 5, backgrounds: int = 4, labelled: int = 0) -> Pool:
    """Assets that exist on paper only, which is all that recipes need."""
    common = {"sha256": "0" * 64, "licence": None, "source": None, "split": "train", "group": "g"}
    return Pool(
        tuple(
            CutoutAsset(id=f"c{i}", file=f"c{i}.png", width=40 + 37 * i % 300, height=200,
                        alpha_share=0.3 + 0.6 * (i % 7) / 7, relief=None, **common)
            for i in range(cutouts)
        ),
        tuple(
            BackgroundAsset(id=f"b{i}", file=f"b{i}.jpg", width=640, height=480,
                            disparity="d.png" if i < labelled else None,
                            ground=GROUND if i < labelled else (),
                            label="exact" if i < labelled else None,
                            origin="sample" if i < labelled else "user", **common)
            for i in range(backgrounds)
        ),
    )  # fmt: skip


RULES = RecipeRules()


def test_a_recipe_is_the_same_alone_in_a_batch_and_across_a_chunk() -> None:
    pool = make_pool()
    batch = list(sample_recipes(RULES, pool, 7, 8180, 8200))
    assert batch == [sample_recipe(RULES, pool, 7, index) for index in range(8180, 8200)]


def _recipes_of(indices: list[int]) -> list[Recipe]:
    return [sample_recipe(RULES, make_pool(), 3, index) for index in indices]


def test_recipes_are_equal_across_processes() -> None:
    workers = 3
    shares = [list(range(worker, 30, workers)) for worker in range(workers)]
    with multiprocessing.get_context("spawn").Pool(workers) as processes:
        parts = processes.map(_recipes_of, shares)
    merged = sorted(itertools.chain(*parts), key=lambda recipe: recipe.index)
    assert merged == list(sample_recipes(RULES, make_pool(), 3, 0, 30))


def test_seed_0_is_valid_and_differs_from_seed_1() -> None:
    pool = make_pool()
    zero, one = (list(sample_recipes(RULES, pool, seed, 0, 50)) for seed in (0, 1))
    assert zero != one
    assert len({recipe.objects for recipe in zero}) > 40


def inside(placed: Placement, size: int) -> tuple[int, int]:
    """Width and height of the part of an object's box that lies in the frame."""
    return (
        min(placed.x + placed.width, size) - max(placed.x, 0),
        min(placed.y + placed.height, size) - max(placed.y, 0),
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**63),
    index=st.integers(0, 10**9),
    low=st.floats(8, 100),
    extra=st.floats(0, 200),
    off_frame=st.floats(0, 0.9),
)
def test_every_placement_keeps_its_rules(
    seed: int, index: int, low: float, extra: float, off_frame: float
) -> None:
    rules = RULES.with_(long_side_px=(low, low + extra), off_frame=off_frame, empty_probability=0.0)
    recipe = sample_recipe(rules, make_pool(), seed, index)
    (placed,) = recipe.objects
    inside_x, inside_y = inside(placed, rules.size)
    assert inside_x > 0
    assert inside_y > 0
    if max(placed.width, placed.height) <= rules.size:
        visible = inside_x * inside_y / (placed.width * placed.height)
        assert visible >= 1 - off_frame - 1e-9
    assert max(placed.width, placed.height) <= round(low + extra) + 1
    assert 0 <= placed.nearness < 1
    assert rules.plate_crop[0] <= recipe.crop_side <= rules.plate_crop[1]


def test_benchmark_composites_hold_the_promised_foreground() -> None:
    pool = make_pool(20, 5)
    shares = {asset.id: asset.alpha_share for asset in pool.cutouts}
    recipes = list(sample_recipes(BENCHMARK_V1["clean"], pool, BENCHMARK_SEED, 0, 2000))
    for recipe in recipes:
        (placed,) = recipe.objects
        inside_x, inside_y = inside(placed, 224)
        assert 0.0099 <= shares[placed.cutout] * inside_x * inside_y / 224**2 <= 0.401
        assert 59 <= max(placed.width, placed.height) <= 171
    assert 0.45 < np.mean([recipe.objects[0].flip for recipe in recipes]) < 0.55
    assert len({recipe.objects[0].cutout for recipe in recipes}) == 20


V1_RULES = (
    "size", "flip_probability", "plate_crop", "long_side_px", "off_frame", "coverage",
    "empty_probability", "jpeg_probability", "jpeg_quality", "noise_probability",
)  # fmt: skip
V1_CHOICES = (
    "index", "cutout", "background", "flip", "crop_side", "crop_x", "crop_y",
    "width", "height", "x", "y", "nearness", "jpeg_picture", "jpeg_plate",
)  # fmt: skip
FROZEN_V1 = "93e5fadcabca638573b64a014414081f815a6e2498a43ff90922bc273f3f5673"


def test_the_benchmark_is_frozen() -> None:
    frozen: list[object] = [BENCHMARK_SEED]
    for name in ("clean", "jpeg"):
        rules = BENCHMARK_V1[name]
        frozen += [getattr(rules, field) for field in V1_RULES]
        for recipe in sample_recipes(rules, make_pool(9, 6), BENCHMARK_SEED, 0, 500):
            (placed,) = recipe.objects
            choices = dataclasses.asdict(recipe) | dataclasses.asdict(placed)
            frozen += [choices[field] for field in V1_CHOICES]
            assert recipe.effects == NO_EFFECTS
            assert (recipe.stale, placed.standing) == (None, None)
    assert hashlib.sha256(repr(frozen).encode()).hexdigest() == FROZEN_V1


def test_jpeg_differs_from_clean_in_its_encoding_alone() -> None:
    pool = make_pool()
    for clean, jpeg in zip(
        sample_recipes(BENCHMARK_V1["clean"], pool, 1, 0, 20),
        sample_recipes(BENCHMARK_V1["jpeg"], pool, 1, 0, 20),
        strict=True,
    ):
        assert (clean.jpeg_picture, clean.jpeg_plate) == (None, None)
        assert dataclasses.replace(clean, jpeg_picture=90, jpeg_plate=90) == jpeg


def test_the_prior_works_plan_is_400_000_samples() -> None:
    assert make_pool(100, 100).grid_size(PRIOR_WORK.places) == 400_000
    pool = make_pool(20, 10)
    pairs: Counter[tuple[str, str, bool]] = Counter()
    for recipe in sample_recipes(PRIOR_WORK, pool, 0, 0, 20 * 10 * 2 * 20):
        (placed,) = recipe.objects
        pairs[placed.cutout, recipe.background, placed.flip] += 1
    assert len(pairs) == 20 * 10 * 2
    assert set(pairs.values()) == {20}


def test_a_grid_begins_again_after_its_last_sample() -> None:
    pool = make_pool(3, 2)
    rules = PRIOR_WORK.with_(places=2)
    once = list(sample_recipes(rules, pool, 0, 0, 24))
    assert list(sample_recipes(rules, pool, 0, 20, 30)) == once[20:] + once[:6]
    assert len({recipe.objects for recipe in once}) > 12


def test_neighbours_in_a_grid_do_not_share_their_background() -> None:
    pool = make_pool(100, 100)
    batch = [recipe.background for recipe in sample_recipes(PRIOR_WORK, pool, 0, 0, 64)]
    assert len(set(batch)) > 30


def test_labelled_backgrounds_get_their_share() -> None:
    pool = make_pool(3, 40, labelled=4)
    rules = RULES.with_(labelled_share=0.3)
    drawn = [recipe.background for recipe in sample_recipes(rules, pool, 0, 0, 4000)]
    share = np.mean([int(name[1:]) < 4 for name in drawn])
    assert 0.27 < share < 0.33


def test_an_empty_pool_is_refused_with_its_remedy() -> None:
    pool = make_pool()
    with pytest.raises(AssetError, match="--small"):
        Pool((), pool.backgrounds)


@pytest.mark.parametrize(
    "values",
    [
        {"long_side": 3}, {"plate_crop": [1.0, 0.5]}, {"off_frame": 2}, {"size": "wide"},
        {"plate_crop": [0, 0]}, {"plate_crop": [0.5, float("inf")]}, {"jpeg_quality": [95, 120]},
        {"long_side_px": [1, float("nan")]}, {"shadow": {"sigma_px": [0, 0]}},
        {"shadow": {"down_px": [-3, 3]}},
        {"exposure": {"stops": [2000, 2000]}}, {"motion": {"length_px": [1e12, 1e12]}},
        {"resize": {"scale": [1, 1.5]}}, {"contact": {"height": [0, 0.2]}},
        {"light": {"gain": [1, float("inf")]}},
    ],
)  # fmt: skip
def test_wrong_rules_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"rules\.yaml"):
        RecipeRules.parse(values, "rules.yaml")


def test_an_unknown_key_is_told_the_keys_of_its_own_part() -> None:
    with pytest.raises(ConfigError) as caught:
        RecipeRules.parse({"shadow": {"probabilty": 0.5}}, "rules.yaml")
    assert "'shadow.probabilty'" in caught.value.got
    assert "probability, strength" in caught.value.remedy
    assert "plate_crop" not in caught.value.remedy


def test_a_range_that_is_refused_is_named_with_its_bounds() -> None:
    with pytest.raises(ConfigError) as caught:
        RecipeRules.parse({"shadow": {"strength": [0.2, 3]}}, "rules.yaml")
    assert "'shadow.strength' in rules.yaml is " in str(caught.value)
    assert "but should be two numbers from 0 to 1, the lower one first." in str(caught.value)
    assert "3" in caught.value.got


@pytest.mark.parametrize(
    "text",
    ["size: 2020-13-45", "name: !!int abc", "name: !!bool abc", "name: !!timestamp abc",
     "name: !!python/object:os.system x", "[" * 3000, "size: [", "\t- a"],
)  # fmt: skip
def test_yaml_that_cannot_be_read_is_one_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rules\.yaml cannot be read as YAML"):
        plan_rules("free", path)


@pytest.mark.parametrize(
    "text",
    [
        "light: {probability: 0.9}\nshadow: {probability: 0.8}\nlight: {gain: [0.5, 1.6]}\n",
        "light: {probability: 0.9, probability: 0.8}\n",
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="twice"):
        plan_rules("free", path)


def test_yaml_may_merge_mappings(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("blur: &a {probability: 0.3}\nshadow: {<<: *a, strength: [0.1, 0.2]}\n")
    rules = plan_rules("free", path)
    assert (rules.shadow.probability, rules.shadow.strength) == (0.3, (0.1, 0.2))


def test_settings_come_from_files_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no regular file"):
        plan_rules("free", tmp_path / "pipe")


def test_rules_keep_their_size_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("size: 64\nlong_side_px: [8, 50]\n", encoding="utf-8")
    own, larger = plan_rules("free", path), plan_rules("free", path, 128)
    assert (own.size, own.long_side_px) == (64, (8, 50))
    assert (larger.size, larger.long_side_px) == (128, (16, 100))
    assert plan_rules("free").size == 224


HARD_CHOICES = ("shadows", "gains", "offset", "plate_shift", "plate_angle")
FROZEN_HARD_V1 = "27b5742a45dffa8a3a1d30f041c4816a6f47ca5809382c69441efd01771f22b3"


def test_the_hard_slice_is_frozen_and_within_its_ranges() -> None:
    rules = BENCHMARK_V1["hard"]
    frozen: list[object] = []
    pool = make_pool(9, 6)
    clean = sample_recipes(BENCHMARK_V1["clean"], pool, BENCHMARK_SEED, 0, 500)
    for recipe, plain in zip(
        sample_recipes(rules, pool, BENCHMARK_SEED, 0, 500), clean, strict=True
    ):
        effects = recipe.effects
        (shadow,) = effects.shadows
        assert 0.2 <= shadow.strength <= 0.5
        assert 2 <= shadow.sigma_px <= 6
        assert 3 <= shadow.dy <= 15
        assert -15 <= shadow.dx <= 15
        assert (shadow.height, shadow.lean) == (1.0, 0.0)
        assert all(0.8 * 0.95 <= gain <= 1.2 * 1.05 for gain in effects.gains)
        assert max(effects.gains) / min(effects.gains) <= 1.05 / 0.95
        assert -8 <= effects.offset <= 8
        assert all(-3 <= shift <= 3 for shift in effects.plate_shift)
        assert -0.7 <= effects.plate_angle <= 0.7
        assert 1 <= recipe.noise_sigma <= 6
        assert recipe.perturbs_plate
        assert not plain.perturbs_plate
        assert recipe.objects == plain.objects
        assert (recipe.jpeg_picture, recipe.stale, effects.blur_sigma) == (None, None, 0.0)
        frozen += [round(recipe.noise_sigma, 9), recipe.noise_seed]
        values = dataclasses.asdict(effects)
        # Younger than the benchmark too.
        assert all(shadow.pop("blueness") == 0.0 for shadow in values["shadows"])
        frozen += [repr(values[name]) for name in HARD_CHOICES]
        # Whatever else there may be is switched off, also what is younger than this benchmark.
        untouched = {name: getattr(NO_EFFECTS, name) for name in HARD_CHOICES}
        assert dataclasses.replace(effects, **untouched) == NO_EFFECTS
    assert hashlib.sha256(repr(frozen).encode()).hexdigest() == FROZEN_HARD_V1


CHALLENGE_EFFECTS = {
    "large": (),
    "large_hard": HARD_CHOICES,
    "cast": ("shadows", "shade"),
    "tone": ("tone_curve", "grey_plate"),
}
FROZEN_CHALLENGES = "5671109a253c091212e7fe856f43d43c18bb03dcfee15f8a9a333a60983f1001"


def test_the_challenges_are_frozen() -> None:
    frozen: list[object] = [BENCHMARK_SEED]
    for name, effects in CHALLENGE_EFFECTS.items():
        rules = CHALLENGES[name].rules
        frozen += [name, CHALLENGES[name].foreground, *(getattr(rules, each) for each in V1_RULES)]
        for recipe in sample_recipes(rules, make_pool(9, 6), BENCHMARK_SEED, 0, 500):
            values = dataclasses.asdict(recipe)
            frozen += [values[field] for field in V1_CHOICES if field in values]
            for placed in values["objects"]:
                frozen += [placed[field] for field in V1_CHOICES if field in placed]
            frozen += [values["effects"][each] for each in effects]
            frozen += [round(recipe.noise_sigma, 9), recipe.noise_seed]
            # Whatever else there may be is switched off, also what is younger than the challenges.
            untouched = {each: getattr(NO_EFFECTS, each) for each in effects}
            assert dataclasses.replace(recipe.effects, **untouched) == NO_EFFECTS
    assert list(CHALLENGES) == list(CHALLENGE_EFFECTS)
    assert hashlib.sha256(repr(frozen).encode()).hexdigest() == FROZEN_CHALLENGES


def test_large_objects_come_alone_or_in_pairs_and_are_larger_than_in_the_benchmark() -> None:
    recipes = list(sample_recipes(CHALLENGES["large"].rules, make_pool(9, 6), 0, 0, 500))
    counts = Counter(len(recipe.objects) for recipe in recipes)
    assert set(counts) == {1, 2}
    assert counts[2] / 500 == pytest.approx(0.3, abs=0.06)
    sides = [max(each.width, each.height) for recipe in recipes for each in recipe.objects]
    assert np.median(sides) > 224
    for recipe, hard in zip(
        recipes,
        sample_recipes(CHALLENGES["large_hard"].rules, make_pool(9, 6), 0, 0, 500),
        strict=True,
    ):
        assert recipe.objects == hard.objects


def test_long_shadows_shades_and_curves_are_drawn_from_their_ranges_and_move_no_other_draw() -> (
    None
):
    pool = make_pool(9, 6, labelled=3)
    off = FIELD.with_(plain=PlainRules())
    on = off.with_(
        long_shadow=LongShadowRules(probability=1.0),
        shade=ShadeRules(probability=0.5, moved_px=(4, 9)),
        tone_curve=ToneCurveRules(probability=1.0, gamma=(0.6, 0.7)),
        grey_plate=GreyPlateRules(probability=0.3),
    )
    shades, grey = [], []
    for before, after in zip(
        sample_recipes(off, pool, 5, 0, 400), sample_recipes(on, pool, 5, 0, 400), strict=True
    ):
        *shadows, long = after.effects.shadows
        assert 0.5 <= long.strength <= 0.85
        assert -1.2 <= long.height <= 1.2
        assert -2.5 <= long.lean <= 2.5
        curve = after.effects.tone_curve
        assert curve is not None
        assert 0.6 <= curve.gamma <= 0.7
        shades += [after.effects.shade]
        grey += [after.effects.grey_plate]
        without = dataclasses.replace(
            after.effects, shadows=tuple(shadows), shade=None, tone_curve=None, grey_plate=False
        )
        assert dataclasses.replace(after, effects=without) == before
    drawn = [each for each in shades if each is not None]
    assert len(drawn) / 400 == pytest.approx(0.5, abs=0.1)
    assert np.mean([each.leaves for each in drawn]) == pytest.approx(0.5, abs=0.1)
    assert all(4 <= each.moved_px <= 9 for each in drawn)
    assert all(each.plate_strength <= each.strength <= 0.8 for each in drawn)
    assert np.mean(grey) == pytest.approx(0.3, abs=0.1)


def test_rules_for_the_field_draw_every_effect_as_often_as_they_say() -> None:
    rules = FIELD.with_(plain=PlainRules())
    recipes = list(sample_recipes(rules, make_pool(9, 6, labelled=3), 0, 0, 4000))
    effects = [recipe.effects for recipe in recipes]
    shares = {
        "shadow": np.mean([any(s.height == 1 for s in each.shadows) for each in effects]),
        "contact": np.mean([any(s.height < 1 for s in each.shadows) for each in effects]),
        "reflection": np.mean([each.reflection > 0 for each in effects]),
        "harmony": np.mean([each.harmony > 0 for each in effects]),
        "motion": np.mean([each.motion != (0, 0) for each in effects]),
        "light": np.mean([each.gains != (1, 1, 1) for each in effects]),
        "plate_motion": np.mean([each.plate_moves for each in effects]),
        "stale": np.mean([recipe.stale is not None for recipe in recipes]),
        "defocus": np.mean([each.defocus > 0 for each in effects]),
        "blur": np.mean([each.blur_sigma > 0 for each in effects]),
        "resize": np.mean([each.scale != 1 for each in effects]),
        "row_noise": np.mean([each.row_noise > 0 for each in effects]),
        "recolour": np.mean([each.recolour is not None for each in effects]),
        "exposure": np.mean([each.exposure != 0 for each in effects]),
        "skylight": np.mean([each.shadows[0].blueness > 0 for each in effects if each.shadows]),
        "crowd": np.mean([len(recipe.objects) > 1 for recipe in recipes]),
    }
    for name, share in shares.items():
        assert share == pytest.approx(getattr(FIELD, name).probability, abs=0.03), name


def test_shadows_of_a_sample_are_equally_blue_and_move_no_other_draw() -> None:
    """The sky is one; without it, the same shadows are grey."""
    pool = make_pool(9, 6, labelled=3)
    off = FIELD.with_(plain=PlainRules(), skylight=SkylightRules())
    on = off.with_(skylight=SkylightRules(probability=0.5, blueness=(0.05, 0.2)))
    blue = []
    for before, after in zip(
        sample_recipes(off, pool, 5, 0, 400), sample_recipes(on, pool, 5, 0, 400), strict=True
    ):
        shades = {each.blueness for each in after.effects.shadows}
        assert len(shades) <= 1
        assert all(each == 0 or 0.05 <= each <= 0.2 for each in shades)
        blue += [each > 0 for each in shades]
        grey = tuple(dataclasses.replace(s, blueness=0.0) for s in after.effects.shadows)
        effects = dataclasses.replace(after.effects, shadows=grey)
        assert dataclasses.replace(after, effects=effects) == before
    assert np.mean(blue) == pytest.approx(0.5, abs=0.1)


def test_colours_exposure_and_tone_are_drawn_from_their_ranges_and_move_no_other_draw() -> None:
    pool = make_pool(9, 6, labelled=3)
    off = FIELD.with_(recolour=RecolourRules(), exposure=ExposureRules(), plain=PlainRules())
    on = off.with_(
        recolour=RecolourRules(probability=1.0),
        exposure=ExposureRules(probability=1.0),
        tone=ToneRules(probability=1.0),
    )
    hues, stops, gains, offsets = [], [], [], []
    for before, after in zip(
        sample_recipes(off, pool, 5, 0, 400), sample_recipes(on, pool, 5, 0, 400), strict=True
    ):
        change = after.effects.recolour
        assert change is not None
        assert 0.3 <= change.saturation <= 1.4
        assert 0.5 <= change.contrast <= 1.3
        assert 0.5 <= change.gain <= 1.6
        hues.append(change.hue_deg)
        stops.append(after.effects.exposure)
        gains += after.effects.tone_gains
        offsets.append(after.effects.tone_offset)
        without = dataclasses.replace(
            after.effects, recolour=None, exposure=0.0, tone_gains=(1.0, 1.0, 1.0), tone_offset=0.0
        )
        assert dataclasses.replace(after, effects=without) == before
    assert 0 <= min(hues) < 10
    assert 350 < max(hues) <= 360
    assert -1.5 <= min(stops) < -1.4
    assert 1.4 < max(stops) <= 1.5
    assert 0.8 <= min(gains) < 0.81
    assert 1.24 < max(gains) <= 1.25
    assert -15 <= min(offsets) < -14
    assert 24 < max(offsets) <= 25


def test_plain_samples_among_others_have_no_effects_at_all() -> None:
    pool = make_pool(9, 6, labelled=3)
    some = [recipe.effects == NO_EFFECTS for recipe in sample_recipes(FIELD, pool, 0, 0, 4000)]
    assert np.mean(some) == pytest.approx(FIELD.plain.probability, abs=0.03)
    rules = FIELD.with_(plain=PlainRules(probability=1.0))
    recipes = list(sample_recipes(rules, pool, 0, 0, 400))
    assert all(each.effects == NO_EFFECTS for each in recipes)
    assert all(each.noise_sigma == 0 and each.stale is None for each in recipes)
    assert {each.jpeg_picture is None for each in recipes} == {True, False}


def test_a_registered_plate_keeps_a_small_part_of_its_motion_and_light() -> None:
    """What remains is the same share of shift, turn and light, and is not drawn again."""
    pool = make_pool(9, 6, labelled=3)
    moved = FIELD.with_(registered=RegisteredRules(), plain=PlainRules())
    mended = moved.with_(registered=RegisteredRules(probability=1.0, remains=(0.1, 0.1)))
    for before, after in zip(
        sample_recipes(moved, pool, 5, 0, 200),
        sample_recipes(mended, pool, 5, 0, 200),
        strict=True,
    ):
        old, new = before.effects, after.effects
        assert new.plate_shift == pytest.approx(np.multiply(old.plate_shift, 0.1))
        assert new.plate_angle == pytest.approx(0.1 * old.plate_angle)
        assert np.subtract(new.gains, 1) == pytest.approx(
            np.multiply(np.subtract(old.gains, 1), 0.1)
        )
        assert new.offset == pytest.approx(0.1 * old.offset)
        assert new.shadows == old.shadows


def test_objects_stand_on_the_ground_of_labelled_backgrounds_alone() -> None:
    rules = RULES.with_(ground={"share": 1.0}, labelled_share=0.5, empty_probability=0.0)
    pool = make_pool(5, 4, labelled=2)
    standing = []
    for recipe in sample_recipes(rules, pool, 0, 0, 2000):
        (placed,) = recipe.objects
        if recipe.background not in ("b0", "b1"):
            assert placed.standing is None
        elif placed.standing is not None:
            standing.append(placed)
            assert 0 <= placed.standing.row < rules.size
            assert abs(placed.y + placed.height - placed.standing.row) <= 1
    assert len(standing) > 700
    near, far = [], []
    for placed in standing:
        (near if placed.standing.disparity > 0.25 else far).append(placed.height)
    assert np.median(near) > np.median(far)


def test_the_size_of_what_stands_follows_its_distance_below_the_horizon() -> None:
    """Where a camera height takes up u rows, an object half as tall is u / 2 rows tall."""
    rules = RULES.with_(
        ground={"share": 1.0, "height": (0.5, 0.5)},
        labelled_share=1.0,
        plate_crop=(1.0, 1.0),
        empty_probability=0.0,
    )
    drawn = list(sample_recipes(rules, make_pool(5, 2, labelled=2), 0, 0, 500))
    standing = [placed for recipe in drawn for placed in recipe.objects if placed.standing]
    assert len(standing) > 100
    for placed in standing:
        below_horizon = placed.standing.row - 0.4 * rules.size
        assert placed.height == pytest.approx(0.5 * below_horizon, abs=0.6)


def test_a_file_of_rules_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("shadow: {probability: 0}\nplate_crop: [0.6, 0.9]\nlabelled_share: null\n")
    changed, plan = plan_rules("field", path), plan_rules("field")
    assert changed.shadow == plan.shadow.with_(probability=0.0)
    assert changed.plate_crop == (0.6, 0.9)
    assert changed.labelled_share is None
    named = {"shadow", "plate_crop", "labelled_share"}
    assert changed.model_dump(exclude=named) == plan.model_dump(exclude=named)
