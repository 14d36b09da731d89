"""Outlines measured against the plate."""

from __future__ import annotations

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from maskdepth import Predictor
from maskdepth.errors import ModelError
from maskdepth.images import resize
from maskdepth.inference.matting.colour_samples import SAMPLE_FEATURES, SampleMaps, try_colours
from maskdepth.inference.matting.evidence import measure_evidence
from maskdepth.inference.matting.outline import (
    FEATURES,
    SQUARES,
    OutlineMaps,
    OutlineNetwork,
    load_outline_network,
)
from maskdepth.inference.matting.perceptron import Perceptron
from maskdepth.inference.matting.refinement import (
    find_outline,
    measure_outline,
    refine_alpha,
    sharpen,
)
from maskdepth.inference.matting.squares import Squares
from maskdepth.inference.model.card import ModelCard
from maskdepth.metrics import mask_metrics
from pictures import disc, noise

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tools" / "train_outlines.py"))


def scene(side: int, level: float = 90.0) -> Floats:
    """A plate with gentle stripes, (S, S, 3)."""
    waves = level + 25 * np.sin(np.arange(side) / side * 40)[None, :, None]
    return np.broadcast_to(waves + np.array([0.0, 10, 20]), (side, side, 3)).astype(np.float32)


def composite(alpha: Floats, colour: tuple[float, float, float], plate: Floats) -> Picture:
    """A foreground of one colour before a plate, by the compositing equation."""
    mixed = alpha[..., None] * np.array(colour) + (1 - alpha[..., None]) * plate
    return np.rint(mixed).astype(np.uint8)


def guess(alpha: Floats) -> Floats:
    """Alpha as a network might predict it: half a pixel too far out, and soft."""
    grown = cv2.dilate(alpha, np.ones((2, 2), np.uint8))
    return np.clip(cv2.GaussianBlur(grown, (0, 0), 1.2), 0, 1).astype(np.float32)


def refined(picture: Picture, plate: Picture, alpha: Floats) -> Floats:
    """Alpha of a pair, refined from a network's alpha at the network's input size."""
    small_picture, small_plate = (resize(each, *alpha.shape) for each in (picture, plate))
    measured = measure_outline(small_picture, small_plate, alpha)
    return refine_alpha(picture, plate, alpha, measured)


def test_refinement_brings_an_outline_closer_to_exact_alpha() -> None:
    """A blurred guess at a disc before a striped plate."""
    alpha, plate = disc(96, 25, 2), scene(96)
    picture = composite(alpha, (220, 60, 40), plate)
    before = guess(alpha)
    after = refined(picture, plate.astype(np.uint8), before)
    assert np.abs(after - alpha).mean() < 0.5 * np.abs(before - alpha).mean()
    assert ((after > 0.5) != (alpha > 0.5)).sum() < ((before > 0.5) != (alpha > 0.5)).sum() / 2


def test_outlines_of_a_large_picture_are_refined_at_its_own_size() -> None:
    """The network reads a sixth of each side; its alpha, enlarged, is off by pixels at the edge."""
    side, input_side = 576, 96
    alpha, plate = disc(side, 150, 2), scene(side)
    picture = composite(alpha, (220, 60, 40), plate)
    small = cv2.resize(guess(alpha), (input_side, input_side), interpolation=cv2.INTER_AREA)
    before = resize(small, side, side)
    after = refined(picture, plate.astype(np.uint8), small)
    assert np.abs(after - alpha).mean() < 0.2 * np.abs(before - alpha).mean()


def test_a_foreground_like_its_plate_is_not_lost() -> None:
    """Nothing can be measured where both have one colour, so most of the network's mask stays."""
    plate = np.full((64, 64, 3), 120, np.uint8)
    before = guess(disc(64, 18, 2))
    assert measure_evidence(plate, plate, before).trust.max() < 0.01
    after = refined(plate, plate, before)
    assert mask_metrics(after, before)["dice"] > 0.85


def test_a_shadow_beside_an_outline_stays_background() -> None:
    """Relit by the light beside the outline, the plate is as dark there as the picture."""
    alpha, plate = disc(96, 25, 2), scene(96, 140)
    shaded = plate.copy()
    shaded[:, 48:] *= 0.5
    picture = composite(alpha, (220, 60, 40), shaded)
    after = refined(picture, plate.astype(np.uint8), guess(alpha))
    right = (alpha == 0) & (np.arange(96) > 52)[None]
    assert after[right].mean() < 0.01
    assert np.abs(after - alpha).mean() < 0.6 * np.abs(guess(alpha) - alpha).mean()


def test_haze_before_a_white_sky_is_taken_away() -> None:
    """Where picture and plate are both white there is nothing but sky, however soft the guess."""
    alpha, sky = disc(96, 25, 2), np.full((96, 96, 3), 255, np.uint8)
    guessed = cv2.GaussianBlur(alpha, (0, 0), 1.5)
    after = refined(composite(alpha, (60, 90, 40), sky.astype(np.float32)), sky, guessed)
    assert np.abs(after - alpha).sum() < 0.28 * np.abs(guessed - alpha).sum()


def test_certain_alpha_away_from_outlines_stays_as_it_is() -> None:
    """Neither certain foreground nor certain background is measured, whatever the pictures show."""
    alpha = disc(96, 25, 2)
    after = refined(noise(96, 96, 1), noise(96, 96, 2), alpha)
    inner, outer = disc(96, 21, 1) == 1, disc(96, 29, 1) == 0
    assert np.array_equal(after[inner | outer], alpha[inner | outer])


@given(
    alpha=arrays(np.float32, (24, 24), elements=st.floats(0, 1, width=32)),
    blurred=st.booleans(),
)
def test_sharpening_keeps_the_mask_and_alpha_at_its_edge(alpha: Floats, blurred: bool) -> None:
    """Alpha elsewhere only moves towards 0 or 1, whichever is nearer."""
    if blurred:
        alpha = cv2.GaussianBlur(alpha, (0, 0), 4.0)
    after = sharpen(alpha)
    assert after.dtype == np.float32
    assert np.array_equal(after > 0.5, alpha > 0.5)
    assert (np.abs(after - 0.5) >= np.abs(alpha - 0.5) - 1e-6).all()
    mask = alpha > 0.5
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 2, "edge"), (5, 5))
    edge = windows.any(axis=(2, 3)) & ~windows.all(axis=(2, 3))
    assert np.array_equal(after[edge], alpha[edge])


def test_nearly_certain_alpha_becomes_certain() -> None:
    """The middle of a disc, and the plate far from it."""
    alpha, plate = disc(96, 25, 2), scene(96)
    picture = composite(alpha, (220, 60, 40), plate)
    after = refined(picture, plate.astype(np.uint8), 0.025 + 0.95 * alpha)
    assert after[disc(96, 20, 1) == 1].min() > 0.999
    assert after[disc(96, 30, 1) == 0].max() < 0.001


def test_alpha_without_an_outline_is_only_sharpened() -> None:
    """An empty mask, one that fills the picture, and haze on either."""
    picture = np.zeros((40, 40, 3), np.uint8)
    for value, expected in ((0.0, 0.0), (1.0, 1.0), (0.02, 0.0004), (0.98, 0.9996)):
        alpha = np.full((40, 40), value, np.float32)
        assert np.allclose(refined(picture, picture, alpha), expected, atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(
    arrays(np.uint8, (2, 37, 51, 3)),
    st.sampled_from([(37, 51), (12, 17), (5, 7), (30, 9), (9, 51), (1, 1)]),
    st.data(),
)
def test_alpha_stays_alpha_and_inputs_stay_as_they_are(
    pixels: NDArray[np.uint8], size: tuple[int, int], data: st.DataObject
) -> None:
    """Any pictures and any alpha, squeezed or not, give values in [0, 1]; inputs stay the same."""
    alpha = data.draw(arrays(np.float32, size, elements=st.floats(0, 1, width=32)))
    pixels_before, alpha_before = pixels.copy(), alpha.copy()
    after = refined(pixels[0], pixels[1], alpha)
    assert after.dtype == np.float32
    assert after.shape == (37, 51)
    assert np.isfinite(after).all()
    assert after.min() >= 0
    assert after.max() <= 1
    assert np.array_equal(pixels, pixels_before)
    assert np.array_equal(alpha, alpha_before)


def test_outlines_of_a_squeezed_picture_are_refined_along_both_sides() -> None:
    """A network of a fixed size reads half of the picture's width, and all of its height."""
    alpha, plate = disc(224, 60, 2), scene(224)
    picture = composite(alpha, (220, 60, 40), plate)
    small = cv2.resize(guess(alpha), (112, 224), interpolation=cv2.INTER_AREA)
    after = refined(picture, plate.astype(np.uint8), small)
    assert np.abs(after - alpha).mean() < 0.35 * np.abs(resize(small, 224, 224) - alpha).mean()


def leaf(seed: int, side: int = 96) -> tuple[Picture, Picture, Floats]:
    """A ragged, textured object before a textured plate: picture, plate and exact alpha."""
    random = np.random.default_rng(seed)
    fine = random.normal(0, 1, (4 * side, 4 * side)).astype(np.float32)
    ragged = cv2.GaussianBlur(fine, (0, 0), 12) * 12 * 3.5
    alpha = cv2.resize(
        ((disc(4 * side, 110, 400) + 0.12 * ragged) > 0.5).astype(np.float32),
        (side, side),
        interpolation=cv2.INTER_AREA,
    )
    colours = random.uniform(40, 215, (2, 3)).astype(np.float32)
    spots = cv2.GaussianBlur(random.normal(0, 1, (side, side, 6)).astype(np.float32), (0, 0), 1.5)
    front, plate = (
        np.clip(colour + 60 * spots[..., part], 0, 255)
        for colour, part in zip(colours, (slice(3), slice(3, 6)), strict=True)
    )
    mixed = alpha[..., None] * front + (1 - alpha[..., None]) * plate
    return np.rint(mixed).astype(np.uint8), np.rint(plate).astype(np.uint8), alpha


def test_the_outline_network_is_more_exact_than_the_average() -> None:
    """On ragged shapes of many colours, none of which the network was trained on."""
    errors = []
    for seed in range(12):
        picture, plate, alpha = leaf(seed)
        guessed = guess(alpha)
        evidence, outline = measure_evidence(picture, plate, guessed), find_outline(guessed, 1)
        averaged = np.where(outline, evidence.averaged, guessed)
        corrected = load_outline_network().correct(evidence, outline)
        errors.append([np.abs(each - alpha).sum() for each in (guessed, averaged, corrected)])
    guessed_error, averaged_error, corrected_error = np.sum(errors, axis=0)
    assert averaged_error < 0.8 * guessed_error
    assert corrected_error < 0.95 * averaged_error


def test_features_are_squares_about_a_pixel_whose_edges_repeat() -> None:
    """Three of the maps, gathered here pixel by pixel."""
    picture, plate, alpha = leaf(3, 24)
    evidence = measure_evidence(picture, plate, guess(alpha))
    rows, columns = np.array([0, 5, 23, 11]), np.array([0, 20, 23, 2])
    features = OutlineMaps(evidence).describe((rows, columns))
    assert features.shape == (4, FEATURES)
    (wide, wide_maps), (narrow, narrow_maps) = SQUARES
    of_wide = (2 * wide + 1) ** 2 * wide_maps
    cases = [(evidence.alpha, 0, wide, wide_maps), (evidence.measured, 1, wide, wide_maps)]
    cases.append((evidence.trust, of_wide + 1, narrow, narrow_maps))
    for values, first, radius, maps in cases:
        for index, (row, column) in enumerate(zip(rows, columns, strict=True)):
            square = [
                values[min(max(row + dy, 0), 23), min(max(column + dx, 0), 23)]
                for dy in range(-radius, radius + 1)
                for dx in range(-radius, radius + 1)
            ]
            found = features[index, first : first + maps * len(square) : maps]
            assert np.array_equal(found, square)
    of_both = of_wide + (2 * narrow + 1) ** 2 * narrow_maps
    assert np.array_equal(features[:, of_both + 1], evidence.averaged[rows, columns])


def idle_perceptron(*widths: int) -> Perceptron:
    """One that corrects nothing: all its weights are 0."""
    layers = [(np.zeros((sum(widths), 4), np.float32), np.zeros(4, np.float32))]
    layers.append((np.zeros((4, 1), np.float32), np.zeros(1, np.float32)))
    return Perceptron(TOOL["pack"](layers, widths), widths)


def test_a_network_that_corrects_nothing_leaves_the_average() -> None:
    """Its files are made as the training makes them."""
    network = OutlineNetwork(idle_perceptron(FEATURES), idle_perceptron(FEATURES, SAMPLE_FEATURES))
    picture, plate, alpha = leaf(1)
    evidence = measure_evidence(picture, plate, guess(alpha))
    outline = find_outline(evidence.alpha, 1)
    expected = np.where(outline, np.clip(evidence.averaged, 0.004, 0.996), evidence.alpha)
    assert np.allclose(network.correct(evidence, outline), expected, atol=1e-5)


def test_an_outline_of_any_length_is_corrected_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of noise is nearly all outline, and is corrected part by part."""
    picture, plate, alpha = leaf(2)
    evidence = measure_evidence(picture, plate, guess(alpha))
    outline = find_outline(evidence.alpha, 3)
    at_once = load_outline_network().correct(evidence, outline)
    monkeypatch.setattr("maskdepth.inference.matting.outline._CHUNK", 100)
    assert outline.sum() > 500
    assert np.allclose(load_outline_network().correct(evidence, outline), at_once, atol=1e-5)


def test_of_several_foreground_colours_the_one_that_explains_a_pixel_counts() -> None:
    """The pixel is a mixture with one of two colours, so their mean would be wrong."""
    picture = np.full((9, 9, 3), 50, np.uint8)
    picture[:, 5:7], picture[:, 7:] = (250, 50, 50), (50, 50, 250)
    plate = np.full_like(picture, 50)
    alpha = np.zeros((9, 9), np.float32)
    alpha[:, 5:] = 1
    picture[4, 4] = (50, 50, 90)  # a fifth of the blue one
    evidence = measure_evidence(picture, plate, alpha)
    pixels = np.array([4, 4, 4]), np.array([4, 0, 6])
    best, distance, mean, share = try_colours(evidence, alpha, pixels)
    assert best[0] == pytest.approx(0.2, abs=0.01)
    assert mean[0] < best[0]
    assert best[2] == pytest.approx(1, abs=0.01)
    assert best[1] == evidence.averaged[4, 0]  # no foreground is within its reach
    assert share[1] == 0
    assert distance[1] == 100
    assert (share[[0, 2]] > 0).all()
    assert (share <= 1).all()


def test_features_of_colour_samples_are_squares_about_each_pixel() -> None:
    """Off the outline alpha stays as it was. The last two features are of the pixel alone."""
    picture, plate, alpha = leaf(5, 40)
    guessed = guess(alpha)
    evidence, outline = measure_evidence(picture, plate, guessed), find_outline(guessed, 1)
    pixels = np.nonzero(outline)
    features = SampleMaps(evidence, guessed, pixels).describe(pixels)
    assert features.shape == (len(pixels[0]), SAMPLE_FEATURES)
    best, distance, mean, share = try_colours(evidence, guessed, pixels)
    best_alpha, log_distance = guessed.copy(), np.zeros_like(guessed)
    best_alpha[pixels], log_distance[pixels] = best, np.log1p(distance)
    expected = [Squares([best_alpha, guessed], 2).about(pixels).reshape(len(best), -1)]
    expected += [Squares([log_distance], 1).about(pixels)[..., 0]]
    expected += [mean[:, None], share[:, None]]
    assert np.array_equal(features, np.concatenate(expected, axis=1))


def test_a_damaged_perceptron_is_refused() -> None:
    """Other bytes, half of them, and one of other features."""
    layers = [(np.zeros((5, 1), np.float32), np.zeros(1, np.float32))]
    complete = TOOL["pack"](layers, (3, 2))
    assert Perceptron(complete, (3, 2)).correct(
        np.float32([0.5]), np.ones((1, 3), np.float32), np.ones((1, 2), np.float32)
    ) == pytest.approx(0.5)
    for content, widths in (
        (b"something else", (3, 2)),
        (complete[: len(complete) // 2], (3, 2)),
        (complete, (2, 3)),
        (complete, (5,)),
    ):
        with pytest.raises(ModelError, match="Install maskdepth again"):
            Perceptron(content, widths)


class FixedAlpha:
    """A backend that always answers with one alpha."""

    def __init__(self, alpha: Floats) -> None:
        self._alpha = alpha

    def run(self, *inputs: Floats) -> tuple[Floats, Floats]:
        """The alpha, and a level disparity."""
        return self._alpha[None, None], np.full_like(self._alpha, 0.5)[None, None]


@pytest.mark.parametrize("with_plate", [True, False])
def test_a_predictor_refines_with_a_plate_unless_switched_off(with_plate: bool) -> None:
    """Without a plate there is nothing to measure against."""
    alpha, plate = disc(96, 25, 2), scene(96)
    picture = composite(alpha, (220, 60, 40), plate)
    card = ModelCard("test", None, 96, "none", "0.1.0", {}, 0)
    plate_picture = plate.astype(np.uint8) if with_plate else None
    guessed = guess(alpha)
    refined, rough = (
        Predictor(FixedAlpha(guessed), card, refine=refine).predict(picture, plate_picture).alpha
        for refine in (True, False)
    )
    assert np.array_equal(rough, guessed)
    assert (np.abs(refined - alpha).mean() < 0.5 * np.abs(rough - alpha).mean()) == with_plate
