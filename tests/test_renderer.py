"""The renderer: pixels, alpha and layered disparity of a recipe."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskdepth.depth import disparity_from_depth
from maskdepth.images import decode_jpeg, encode_jpeg
from maskdepth.synthesis.effects import NO_EFFECTS, Recolour, Shade, Shadow, ToneCurve
from maskdepth.synthesis.placement import Placement, Standing
from maskdepth.synthesis.recipes import Recipe
from maskdepth.synthesis.renderer import render
from pictures import InMemory, noise

SIZE = 64


WHITE = np.full((SIZE, SIZE, 3), 255, np.uint8)
OBJECT = Placement("c", flip=False, width=20, height=30, x=10, y=12, nearness=0.5)
RECIPE = Recipe(
    index=0, background="b", crop_side=1.0, crop_x=0.0, crop_y=0.0, objects=(OBJECT,), stale=None,
    effects=NO_EFFECTS, jpeg_picture=None, jpeg_plate=None, noise_sigma=0.0, noise_seed=1,
)  # fmt: skip


def with_object(**changes: Any) -> Recipe:
    return dataclasses.replace(RECIPE, objects=(dataclasses.replace(OBJECT, **changes),))


def with_effects(**effects: Any) -> Recipe:
    return dataclasses.replace(RECIPE, effects=dataclasses.replace(NO_EFFECTS, **effects))


def soft_disc(colour: tuple[int, int, int], side: int = 80) -> NDArray[np.uint8]:
    """A disc of one colour whose edge is a few pixels wide; other colours hide under alpha 0."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = np.clip((side * 0.45 - np.hypot(x, y)) / 4 + 0.5, 0, 1)
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[..., :3] = np.where(alpha[..., None] > 0, colour, (255, 0, 255))
    rgba[..., 3] = np.rint(alpha * 255)
    return rgba


def plain(value: int, side: int = SIZE) -> NDArray[np.uint8]:
    return np.full((side, side, 3), value, np.uint8)


placements = st.builds(
    lambda width, height, x, y, flip: with_object(width=width, height=height, x=x, y=y, flip=flip),
    st.integers(1, 120), st.integers(1, 120), st.integers(-60, 63), st.integers(-60, 63),
    st.booleans(),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(recipe=placements, value=st.integers(0, 255))
def test_a_colour_pasted_on_itself_changes_no_pixel(recipe: Recipe, value: int) -> None:
    """White on white, black on black, grey on grey, at any size, place and flip: no halo."""
    catalogue = InMemory(soft_disc((value, value, value)), plain(value))
    composite = render(recipe, SIZE, catalogue)
    assert np.array_equal(composite.image, plain(value))
    assert np.array_equal(composite.plate, plain(value))


@settings(max_examples=40, deadline=None)
@given(recipe=placements)
def test_pixels_follow_the_matting_equation_and_nothing_else_moves(recipe: Recipe) -> None:
    """I = alpha F + (1 - alpha) B within rounding; where alpha is 0 the picture is the plate."""
    scene = noise(SIZE, SIZE, 0)
    composite = render(recipe, SIZE, InMemory(soft_disc((200, 40, 10)), scene))
    alpha = composite.alpha[..., None]
    expected = alpha * np.array([200, 40, 10]) + (1 - alpha) * composite.plate
    assert np.abs(composite.image - expected).max() <= 1.0
    outside = composite.alpha == 0
    assert np.array_equal(composite.image[outside], composite.plate[outside])


def test_strong_shrinking_keeps_the_mean_alpha() -> None:
    """A comb of one-pixel teeth shrinks to even grey, as an area average does, not to stripes."""
    rgba = np.full((240, 240, 4), 255, np.uint8)
    rgba[:, ::2, 3] = 0
    recipe = with_object(width=24, height=24, x=5, y=5)
    alpha = render(recipe, SIZE, InMemory(rgba, plain(0))).alpha[5:29, 5:29]
    assert np.allclose(alpha, 0.5, atol=0.01)


def test_flip_mirrors_the_cutout_in_its_box() -> None:
    rgba = soft_disc((10, 20, 30))
    rgba[:, :40, 3] = 0
    scene = plain(255)
    left = render(RECIPE, SIZE, InMemory(rgba, scene)).alpha
    right = render(with_object(flip=True), SIZE, InMemory(rgba, scene)).alpha
    box = np.s_[12:42, 10:30]
    assert np.array_equal(left[box], right[box][:, ::-1])
    assert not np.array_equal(left, right)


def test_a_recipe_without_cutout_shows_the_plate() -> None:
    disparity = np.full((SIZE, SIZE), 0.3, np.float32)
    recipe = dataclasses.replace(RECIPE, objects=())
    composite = render(recipe, SIZE, InMemory(soft_disc((0, 0, 0)), plain(90), disparity))
    assert np.array_equal(composite.image, composite.plate)
    assert not composite.alpha.any()
    assert np.array_equal(composite.disparity, disparity)
    assert composite.object_depth == ()


def test_layered_disparity_agrees_with_a_z_buffer_of_exact_geometry() -> None:
    """A flat card in front of a tilted ground: the label is the nearer of the two, per pixel."""
    # Ground plane 1.5 m below a pinhole camera; the horizon is above the frame.
    rows = np.arange(SIZE, dtype=np.float64)[:, None] + 20
    ground_m = np.broadcast_to(1.5 * 80.0 / rows, (SIZE, SIZE))
    scene_disparity = disparity_from_depth(ground_m)
    opaque = np.full((30, 20, 4), 255, np.uint8)
    catalogue = InMemory(opaque, plain(120), scene_disparity)
    composite = render(RECIPE, SIZE, catalogue)
    box = np.s_[12:42, 10:30]
    hidden = np.percentile(scene_disparity[box], 95)
    card = hidden + (1 - hidden) * 0.5
    # Where the card really stands, in metres, given the disparity it was assigned.
    nearest_m = ground_m.min()
    card_m = np.full((SIZE, SIZE), np.inf)
    card_m[box] = nearest_m / card
    z_buffer_m = np.minimum(ground_m, card_m)
    assert np.allclose(composite.disparity, nearest_m / z_buffer_m, atol=1e-5)
    assert composite.object_depth == ("nearer",)


@settings(max_examples=40, deadline=None)
@given(nearness=st.floats(0, 0.999), behind=st.floats(0, 0.97), bulge=st.floats(0, 0.5))
def test_an_object_is_nearer_than_what_it_hides(
    nearness: float, behind: float, bulge: float
) -> None:
    scene = np.full((SIZE, SIZE), behind, np.float32)
    relief = np.linspace(-bulge, bulge, 80, dtype=np.float32)[None].repeat(80, 0)
    recipe = with_object(nearness=nearness)
    composite = render(recipe, SIZE, InMemory(soft_disc((9, 9, 9)), plain(0), scene, relief))
    inside = composite.disparity[composite.alpha > 0.5]
    assert (inside >= behind - 1e-6).all()
    assert (inside <= 1 + 1e-6).all()


def test_an_object_without_room_is_masked_out_of_the_label() -> None:
    scene = np.ones((SIZE, SIZE), np.float32)
    composite = render(RECIPE, SIZE, InMemory(soft_disc((9, 9, 9)), plain(0), scene))
    inside = composite.alpha > 0.5
    assert np.isnan(composite.disparity[inside]).all()
    assert np.isfinite(composite.disparity[~inside]).all()
    assert composite.object_depth == ("masked",)


def test_unknown_plate_disparity_stays_unknown() -> None:
    scene = np.full((SIZE, SIZE), 0.2, np.float32)
    scene[:8] = np.nan
    composite = render(RECIPE, SIZE, InMemory(soft_disc((9, 9, 9)), plain(0), scene))
    assert np.isnan(composite.disparity[:8]).all()
    assert np.isfinite(composite.disparity[8:]).all()


def test_without_a_label_there_is_no_disparity() -> None:
    composite = render(RECIPE, SIZE, InMemory(soft_disc((9, 9, 9)), plain(0)))
    assert composite.disparity is None
    assert composite.plate_disparity is None


def test_jpeg_encodes_picture_and_plate_apart() -> None:
    scene = noise(SIZE, SIZE, 1)
    catalogue = InMemory(soft_disc((200, 40, 10)), scene)
    clean = render(RECIPE, SIZE, catalogue)
    recipe = dataclasses.replace(RECIPE, jpeg_picture=90, jpeg_plate=60)
    lossy = render(recipe, SIZE, catalogue)
    assert np.array_equal(lossy.image, decode_jpeg(encode_jpeg(clean.image, 90)))
    assert np.array_equal(lossy.plate, decode_jpeg(encode_jpeg(clean.plate, 60)))
    assert np.array_equal(lossy.alpha, clean.alpha)


def test_noise_has_its_sigma_and_differs_between_picture_and_plate() -> None:
    recipe = dataclasses.replace(RECIPE, objects=(), noise_sigma=5.0, noise_seed=7)
    catalogue = InMemory(soft_disc((0, 0, 0)), plain(128))
    first, second = (render(recipe, SIZE, catalogue) for _ in range(2))
    difference = first.image.astype(float) - 128
    assert difference.std() == pytest.approx(5.0, rel=0.05)
    assert not np.array_equal(first.image, first.plate)
    assert np.array_equal(first.image, second.image)


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (300, 310), (1, 1)])
def test_a_plate_is_square_whatever_its_background(shape: tuple[int, int]) -> None:
    scene = np.full((*shape, 3), 77, np.uint8)
    recipe = dataclasses.replace(RECIPE, crop_x=1.0, crop_y=1.0, crop_side=0.5)
    composite = render(recipe, SIZE, InMemory(soft_disc((9, 9, 9)), scene))
    assert composite.plate.shape == (SIZE, SIZE, 3)
    assert (composite.plate == 77).all()


def lit_scene() -> InMemory:
    scene = np.random.default_rng(3).integers(100, 140, (SIZE, SIZE, 3), np.uint8)
    return InMemory(soft_disc((230, 220, 210)), scene)


OUTSIDE_SHADOW = Shadow(strength=0.5, sigma_px=2.0, dx=6.0, dy=8.0)


@pytest.mark.parametrize(
    "effects",
    [
        {"shadows": (OUTSIDE_SHADOW,)},
        {"shadows": (Shadow(0.6, 1.5, 0.0, 0.0, height=0.2, lean=0.5),)},
        {"reflection": 0.5},
        {"harmony": 0.8},
        {"gains": (1.2, 1.1, 0.9), "offset": 5.0},
        {"recolour": Recolour(90.0, 1.2, 0.8, 0.7)},
        {"tone_curve": ToneCurve(1.4, 0.5)},
    ],
)
def test_an_effect_on_the_picture_leaves_plate_and_labels_alone(effects: dict[str, Any]) -> None:
    plain, changed = (
        render(RECIPE, SIZE, lit_scene()),
        render(with_effects(**effects), SIZE, lit_scene()),
    )
    assert not np.array_equal(plain.image, changed.image)
    assert np.array_equal(plain.plate, changed.plate)
    assert np.array_equal(plain.alpha, changed.alpha)
    assert not changed.recipe.perturbs_plate


def test_a_shadow_takes_its_share_of_the_light_and_lies_where_it_is_thrown() -> None:
    card = InMemory(np.full((40, 40, 4), 255, np.uint8), plain(200))
    shadow = Shadow(strength=0.5, sigma_px=1.0, dx=30.0, dy=0.0)
    recipe = dataclasses.replace(
        with_object(width=20, height=20, x=4, y=20),
        effects=dataclasses.replace(NO_EFFECTS, shadows=(shadow,)),
    )
    image = render(recipe, SIZE, card).image
    assert image[30, 44, 0] == pytest.approx(100, abs=2)
    assert (image[:10] == 200).all()
    assert (image[24:36, 8:20] == 255).all()


def test_a_shadow_under_the_sky_is_bluer_the_deeper_it_is() -> None:
    """Where green keeps a quarter of its light, red and blue keep powers of it; outside, all do."""
    card = InMemory(np.full((40, 40, 4), 255, np.uint8), plain(200))
    shadow = Shadow(strength=0.75, sigma_px=1.0, dx=30.0, dy=0.0, blueness=0.2)
    recipe = dataclasses.replace(
        with_object(width=20, height=20, x=4, y=20),
        effects=dataclasses.replace(NO_EFFECTS, shadows=(shadow,)),
    )
    image = render(recipe, SIZE, card).image
    assert image[30, 44] == pytest.approx([200 * 0.25**1.2, 50, 200 * 0.25**0.8], abs=1.5)
    assert (image[:10] == 200).all()


def test_a_flat_shadow_lies_at_the_feet() -> None:
    card = InMemory(np.full((40, 20, 4), 255, np.uint8), plain(200))
    shadow = Shadow(strength=0.8, sigma_px=1.0, dx=0.0, dy=0.0, height=0.1, lean=1.0)
    recipe = dataclasses.replace(
        with_object(width=10, height=40, x=10, y=10),
        effects=dataclasses.replace(NO_EFFECTS, shadows=(shadow,)),
    )
    dark = np.argwhere(render(recipe, SIZE, card).image[..., 0] < 190)
    assert len(dark) > 20
    assert dark[:, 0].min() >= 50 - 4 - 3
    assert dark[:, 1].max() > 24


@pytest.mark.parametrize("height", [-0.5, 0.5])
def test_a_long_shadow_falls_away_from_the_feet_behind_the_object_or_before_it(
    height: float,
) -> None:
    card = InMemory(np.full((40, 20, 4), 255, np.uint8), plain(200))
    shadow = Shadow(strength=0.8, sigma_px=0.5, dx=0.0, dy=0.0, height=height, lean=1.5)
    recipe = dataclasses.replace(
        with_object(width=10, height=20, x=10, y=22),
        effects=dataclasses.replace(NO_EFFECTS, shadows=(shadow,)),
    )
    dark = np.argwhere(render(recipe, SIZE, card).image[..., 0] < 100)
    rows = np.array([dark[:, 0].min(), dark[:, 0].max()]) - 41.5
    assert rows == pytest.approx([-10, 0] if height > 0 else [0, 10], abs=1.5)
    assert dark[:, 1].max() == pytest.approx(20 + 1.5 * 20, abs=2)


@pytest.mark.parametrize("leaves", [False, True])
def test_what_is_outside_the_frame_shades_picture_and_plate_at_different_places(
    leaves: bool,
) -> None:
    shade = Shade(leaves, 0.6, 0.3, 0.5, 16.0, 0.4, angle_deg=0.0, moved_px=7.0, phase=0.3)
    bare = dataclasses.replace(with_effects(shade=shade), objects=())
    composite = render(bare, SIZE, InMemory(soft_disc((0, 0, 0)), plain(200)))
    image, plate = composite.image[..., 0] / 200, composite.plate[..., 0] / 200
    assert [image.min(), image.max()] == pytest.approx([0.4, 1], abs=0.01)
    assert [plate.min(), plate.max()] == pytest.approx([0.7, 1], abs=0.01)
    # The same shadow, 7 px further.
    assert 1 - image[:, 10:-3] == pytest.approx(2 * (1 - plate[:, 3:-10]), abs=0.02)
    assert (image < 0.7).mean() == pytest.approx(0.4, abs=0.15)
    assert bare.perturbs_plate
    assert composite.alpha.max() == 0


def test_leaves_cover_the_share_that_they_should_and_differ_from_sample_to_sample() -> None:
    pictures = []
    for phase in np.linspace(0, 0.95, 20):
        shade = Shade(True, 1.0, 1.0, 0.1, 6.0, 0.3, 0.0, 0.0, phase=float(phase))
        bare = dataclasses.replace(with_effects(shade=shade), objects=())
        pictures.append(render(bare, SIZE, InMemory(soft_disc((0, 0, 0)), plain(200))).image < 100)
    assert np.mean(pictures) == pytest.approx(0.3, abs=0.05)
    assert len({each.tobytes() for each in pictures}) == 20


@pytest.mark.parametrize(("gamma", "contrast"), [(1.0, 0.0), (0.6, 0.9), (1.7, -0.6), (1.0, 1.0)])
def test_a_tone_curve_keeps_the_order_of_levels_and_both_ends(
    gamma: float, contrast: float
) -> None:
    ramp = np.repeat(np.linspace(0, 255, SIZE).astype(np.uint8)[None, :, None], SIZE, 0)
    card = InMemory(soft_disc((0, 0, 0)), np.repeat(ramp, 3, 2))
    bare = dataclasses.replace(with_effects(tone_curve=ToneCurve(gamma, contrast)), objects=())
    composite = render(bare, SIZE, card)
    levels = composite.image[0, :, 0].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert (levels[0], levels[-1]) == (0, 255)
    y = (composite.plate[0, :, 0] / 255) ** gamma
    expected = y + contrast * (y * y * (3 - 2 * y) - y)
    assert levels == pytest.approx(255 * expected, abs=0.51)


def test_a_grey_plate_has_the_lightness_of_the_coloured_one() -> None:
    composite, coloured = (
        render(
            dataclasses.replace(with_effects(grey_plate=grey), noise_sigma=3.0), SIZE, lit_scene()
        )
        for grey in (True, False)
    )
    assert (composite.plate == composite.plate[..., :1]).all()
    lightness = coloured.plate @ np.array([0.299, 0.587, 0.114])
    assert composite.plate[..., 0] == pytest.approx(lightness, abs=0.51)
    assert np.array_equal(composite.image, coloured.image)
    assert composite.recipe.perturbs_plate


def test_a_moved_plate_takes_its_disparity_along() -> None:
    scene = noise(SIZE, SIZE, 3)
    ramp = np.linspace(0.1, 0.9, SIZE, dtype=np.float32)[:, None].repeat(SIZE, 1)
    catalogue = InMemory(soft_disc((9, 9, 9)), scene, ramp)
    still = render(RECIPE, SIZE, catalogue)
    moved = render(with_effects(plate_shift=(3.0, -2.0)), SIZE, catalogue)
    assert np.array_equal(moved.image, still.image)
    assert np.array_equal(moved.disparity, still.disparity)
    assert np.array_equal(moved.plate[:-2, 3:], still.plate[2:, :-3])
    assert np.array_equal(moved.plate_disparity[:-2], still.plate_disparity[2:])
    assert moved.recipe.perturbs_plate


def test_a_stale_thing_is_in_the_plate_alone() -> None:
    recipe = dataclasses.replace(RECIPE, objects=(), stale=OBJECT)
    composite = render(recipe, SIZE, InMemory(soft_disc((9, 9, 9)), plain(200)))
    assert (composite.image == 200).all()
    assert not composite.alpha.any()
    assert (composite.plate[12:42, 10:30].min(axis=(0, 1)) == 9).all()
    assert (composite.plate[50:] == 200).all()


def test_motion_smears_alpha_and_colour_alike() -> None:
    card = InMemory(np.full((40, 40, 4), 255, np.uint8), plain(0))
    placed = {"width": 20, "height": 20, "x": 20, "y": 20}
    sharp = render(with_object(**placed), SIZE, card)
    recipe = dataclasses.replace(
        with_object(**placed), effects=dataclasses.replace(NO_EFFECTS, motion=(8.0, 0.0))
    )
    smeared = render(recipe, SIZE, card)
    assert 0.3 < smeared.alpha[30, 20] < 0.7
    assert smeared.alpha[20, 30] == pytest.approx(1.0)
    assert smeared.alpha[30, 30] == pytest.approx(1.0)
    assert sharp.alpha[30, 20] == 1.0
    assert np.abs(smeared.image[..., 0] - 255 * smeared.alpha).max() <= 1


def test_an_object_out_of_focus_is_soft_beyond_its_box_and_casts_its_shadow_from_its_feet() -> None:
    """Half its edge is gone, as much lies outside; the ground is dark where it touches it."""
    card = InMemory(np.full((40, 40, 4), 255, np.uint8), plain(0))
    placed = {"width": 20, "height": 20, "x": 20, "y": 20}
    soft = dataclasses.replace(NO_EFFECTS, defocus=2.0)
    blurred = render(dataclasses.replace(with_object(**placed), effects=soft), SIZE, card)
    assert blurred.alpha[30, 19] + blurred.alpha[30, 20] == pytest.approx(1.0, abs=1e-3)
    assert blurred.alpha.sum() == pytest.approx(400, rel=1e-3)
    assert np.abs(blurred.image[..., 0] - 255 * blurred.alpha).max() <= 1
    black = np.zeros((40, 40, 4), np.uint8)
    black[..., 3] = 255
    white = InMemory(black, plain(255))
    flat = Shadow(strength=0.9, sigma_px=0.5, dx=0.0, dy=0.0, height=0.1, lean=0.0)
    shaded = dataclasses.replace(NO_EFFECTS, shadows=(flat,))
    sharp = render(dataclasses.replace(with_object(**placed), effects=shaded), SIZE, white)
    assert (sharp.image[42:] == 255).all()
    both = dataclasses.replace(shaded, defocus=2.0)
    faint = render(dataclasses.replace(with_object(**placed), effects=both), SIZE, white)
    lit = render(dataclasses.replace(with_object(**placed), effects=soft), SIZE, white)
    assert (faint.image[42:] >= lit.image[42:] - 4.0).all()
    assert faint.image[40, 30, 0] < lit.image[40, 30, 0]


def test_an_object_cut_by_the_frame_stays_opaque_there_when_it_moves_or_is_out_of_focus() -> None:
    card = InMemory(np.full((40, 40, 4), 255, np.uint8), plain(0))
    for effects in ({"defocus": 2.0}, {"motion": (6.0, 0.0)}):
        recipe = dataclasses.replace(
            with_object(width=30, height=30, x=-15, y=20),
            effects=dataclasses.replace(NO_EFFECTS, **effects),
        )
        alpha = render(recipe, SIZE, card).alpha
        assert alpha[35, 0] == pytest.approx(1.0)
        assert 0.2 < alpha[35, 14] < 0.8


def test_alpha_stays_within_its_range_through_wide_kernels() -> None:
    """OpenCV applies them by way of frequencies: neither less than 0 nor more than 1 is left."""
    card = InMemory(np.full((40, 40, 4), 255, np.uint8), plain(0))
    for effects in (
        {"defocus": 4.0},
        {"motion": (20.0, 3.0)},
        {"defocus": 3.0, "motion": (9.0, 9.0)},
    ):
        alpha = render(with_effects(**effects), SIZE, card).alpha
        assert alpha.min() >= 0.0
        assert alpha.max() <= 1.0


def test_blur_resizing_and_rows_change_both_pictures() -> None:
    for effects in ({"blur_sigma": 1.0}, {"scale": 0.5}, {"row_noise": 3.0}):
        plain_one = render(RECIPE, SIZE, lit_scene())
        changed = render(with_effects(**effects), SIZE, lit_scene())
        assert not np.array_equal(plain_one.image, changed.image)
        assert not np.array_equal(plain_one.plate, changed.plate)
        assert changed.recipe.perturbs_plate
    lines = render(with_effects(row_noise=3.0), SIZE, InMemory(soft_disc((9, 9, 9)), plain(128)))
    assert (lines.plate == lines.plate[:, :1]).all()
    assert lines.plate[:, 0, 0].std() > 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Recolour(0.0, 1.0, 1.0, 1.0), (255, 0, 0)),
        (Recolour(120.0, 1.0, 1.0, 1.0), (0, 113, 0)),  # as browsers do it
        (Recolour(0.0, 0.0, 1.0, 1.0), (54, 54, 54)),
        (Recolour(0.0, 1.0, 0.5, 1.0), (191.5, 64, 64)),
        (Recolour(0.0, 1.0, 0.5, 1.5), (255, 96, 96)),
    ],
)
def test_other_colours_are_those_of_the_standard(
    change: Recolour, expected: tuple[float, float, float]
) -> None:
    """Hue and saturation as CSS filters have them, then contrast about 128, then the gain."""
    composite = render(with_effects(recolour=change), SIZE, InMemory(soft_disc((255, 0, 0)), WHITE))
    assert composite.alpha[27, 20] == 1
    assert composite.image[27, 20] == pytest.approx(expected, abs=1)


def test_other_colours_are_the_objects_alone() -> None:
    recipe = dataclasses.replace(
        with_effects(recolour=Recolour(120.0, 1.0, 1.0, 1.0)), stale=OBJECT
    )
    composite = render(recipe, SIZE, InMemory(soft_disc((255, 0, 0)), WHITE))
    before = render(RECIPE, SIZE, InMemory(soft_disc((255, 0, 0)), WHITE))
    alpha = composite.alpha[..., None]
    assert np.array_equal(composite.alpha, before.alpha)
    assert ((alpha > 0.1) & (alpha < 0.9)).any()
    blend = alpha * np.array([0, 113, 0]) + (1 - alpha) * 255
    assert np.abs(composite.image - blend).max() <= 1
    assert (composite.image == before.image)[composite.alpha == 0].all()
    assert np.array_equal(composite.plate, before.image)


def test_another_exposure_doubles_picture_and_plate_alike() -> None:
    """A stop more is twice the value, clipped, after light and stale things; labels stay."""
    recipe = dataclasses.replace(
        with_effects(gains=(1.1, 0.9, 0.5), offset=4.0), stale=dataclasses.replace(OBJECT, x=30)
    )
    exposed = dataclasses.replace(recipe, effects=dataclasses.replace(recipe.effects, exposure=1.0))
    before, after = (render(each, SIZE, lit_scene()) for each in (recipe, exposed))
    for name in ("image", "plate"):
        doubled = 2 * getattr(before, name).astype(int)
        assert (doubled > 255).any()
        assert (doubled < 255).any()
        assert np.array_equal(getattr(after, name), np.minimum(doubled, 255)), name
    assert np.array_equal(after.alpha, before.alpha)
    assert with_effects(exposure=1.0).perturbs_plate


def test_another_tone_is_that_of_picture_and_plate_alike() -> None:
    """Each channel by its gain, then the offset, with the exposure in one rounding; labels stay."""
    recipe = with_effects(gains=(1.1, 0.9, 0.5), offset=4.0)
    tone = {"exposure": -1.0, "tone_gains": (1.2, 1.0, 0.6), "tone_offset": 10.0}
    toned = dataclasses.replace(recipe, effects=dataclasses.replace(recipe.effects, **tone))
    before, after = (render(each, SIZE, lit_scene()) for each in (recipe, toned))
    for name in ("image", "plate"):
        expected = getattr(before, name) * np.array([0.6, 0.5, 0.3]) + 10
        assert np.abs(getattr(after, name) - expected).max() <= 0.5 + 1e-9, name
    assert np.array_equal(after.alpha, before.alpha)
    assert with_effects(tone_gains=(1.2, 1.0, 1.0)).perturbs_plate
    assert with_effects(tone_offset=-1.0).perturbs_plate


def test_a_second_object_lies_over_the_first() -> None:
    card = InMemory(np.full((40, 40, 4), 255, np.uint8), plain(0))
    first = dataclasses.replace(OBJECT, x=5, y=5, width=20, height=20)
    second = dataclasses.replace(OBJECT, x=15, y=15, width=20, height=20)
    recipe = dataclasses.replace(RECIPE, objects=(first, second))
    alpha = render(recipe, SIZE, card).alpha
    assert alpha.sum() == pytest.approx(400 + 400 - 100)
    assert alpha.max() == 1.0


def test_what_stands_is_an_upright_plane_hidden_by_what_is_nearer() -> None:
    """A card on level ground, seen by a camera that looks down, against a ray cast by hand."""
    focal, pitch, height_m, distance_m = 70.0, 0.35, 1.5, 4.0
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    v = rows - (SIZE - 1) / 2
    ground_inverse = (np.sin(pitch) + v / focal * np.cos(pitch)) / height_m
    wall_inverse = (np.cos(pitch) - v / focal * np.sin(pitch)) / distance_m
    # Where the ground is as far as the wall, along the axis: the card's feet.
    contact = float(
        np.interp(0, (ground_inverse - wall_inverse)[:, 0], np.arange(SIZE, dtype=np.float64))
    )
    pillar = columns >= 30  # nearer than the card, right of column 30
    scene_inverse = np.where(pillar, 1 / 2.0, np.maximum(ground_inverse, 1e-3))
    scale = 1 / scene_inverse.max()
    slope = np.tan(pitch)
    contact_v = contact - (SIZE - 1) / 2
    standing = Standing(
        disparity=float(np.interp(contact, rows[:, 0], wall_inverse[:, 0]) * scale),
        row=contact,
        tilt=slope / focal / (1 - contact_v * slope / focal),
        bulge=0.0,
    )
    bottom = round(contact)
    recipe = with_object(width=30, height=20, x=10, y=bottom - 20, standing=standing)
    card = InMemory(
        np.full((20, 30, 4), 255, np.uint8), plain(9), (scene_inverse * scale).astype(np.float32)
    )
    composite = render(recipe, SIZE, card)
    assert composite.object_depth == ("standing",)
    box = np.s_[bottom - 20 : bottom, 10:28]
    assert np.allclose(composite.disparity[box], (wall_inverse * scale)[box], rtol=0.01)
    assert (composite.alpha[box] == 1).all()
    assert not composite.alpha[:, 32:].any()
    assert np.array_equal(composite.disparity[:, 32:], composite.plate_disparity[:, 32:])


def test_an_object_of_which_only_the_top_is_seen_still_has_a_disparity() -> None:
    """A post at the left of the frame's edge carries a board: only the board's rows are left."""
    rgba = np.full((100, 100, 4), 255, np.uint8)
    rgba[2:, 10:, 3] = 0
    standing = Standing(disparity=0.5, row=60.0, tilt=0.0, bulge=0.3)
    recipe = with_object(width=50, height=60, x=-10, y=0, standing=standing)
    relief, scene = np.zeros((100, 100), np.float32), np.full((SIZE, SIZE), 0.2, np.float32)
    composite = render(recipe, SIZE, InMemory(rgba, plain(0), scene, relief))
    visible = composite.alpha > 0.5
    assert visible.any()
    assert not visible[3:].any()
    assert composite.disparity is not None
    assert np.allclose(composite.disparity[visible], 0.5)
