"""Outlines measured against the plate."""

from __future__ import annotations

import io
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
from maskdepth.inference.matting.colour_samples import (
    SAMPLE_FEATURES,
    describe_samples,
    try_colours,
)
from maskdepth.inference.matting.evidence import measure_evidence
from maskdepth.inference.matting.outline import (
    AVERAGED,
    FEATURES,
    MAP_RADII,
    OutlineNetwork,
    describe_outline,
    load_outline_network,
)
from maskdepth.inference.matting.perceptron import Perceptron
from maskdepth.inference.matting.refinement import find_outline, refine_alpha, sharpen
from maskdepth.inference.matting.squares import Squares
from maskdepth.inference.model.card import ModelCard
from maskdepth.metrics import mask_metrics
from pictures import disc, noise

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]


def scene(side: int, level: float = 90.0) -> Floats:
    """A plate with gentle stripes, (S, S, 3)."""
    waves = level + 25 * np.sin(np.arange(side) / side * 40)[None, :, None]
    return np.broadcast_to(waves + np.array([0.0, 10, 20]), (side, side, 3)).astype(np.float32)


def composite(alpha: Floats, colour: tuple[float, float, float], plate: Floats) -> Picture:
    """The compositing equation, written out once more."""
    mixed = alpha[..., None] * np.array(colour) + (1 - alpha[..., None]) * plate
    return np.rint(mixed).astype(np.uint8)


def guess(alpha: Floats) -> Floats:
    """What a network might say: half a pixel too far out, and soft."""
    grown = cv2.dilate(alpha, np.ones((2, 2), np.uint8))
    return np.clip(cv2.GaussianBlur(grown, (0, 0), 1.2), 0, 1).astype(np.float32)


def refined(picture: Picture, plate: Picture, alpha: Floats) -> Floats:
    """Alpha of a pair that the network saw at the size of ``alpha``."""
    seen = [resize(each, *alpha.shape) for each in (picture, plate)]
    return refine_alpha(picture, plate, seen[0], seen[1], alpha)


def test_an_outline_comes_closer_to_the_truth() -> None:
    """A blurred guess at a disc before a striped plate."""
    alpha, plate = disc(96, 25, 2), scene(96)
    picture = composite(alpha, (220, 60, 40), plate)
    before = guess(alpha)
    after = refined(picture, plate.astype(np.uint8), before)
    assert np.abs(after - alpha).mean() < 0.5 * np.abs(before - alpha).mean()
    assert ((after > 0.5) != (alpha > 0.5)).sum() < ((before > 0.5) != (alpha > 0.5)).sum() / 2


def test_a_large_picture_gets_outlines_of_its_own_size() -> None:
    """The network saw a sixth of it; what it says, enlarged, is off by pixels at the edge."""
    side, seen = 576, 96
    alpha, plate = disc(side, 150, 2), scene(side)
    picture = composite(alpha, (220, 60, 40), plate)
    small = cv2.resize(guess(alpha), (seen, seen), interpolation=cv2.INTER_AREA)
    before = resize(small, side, side)
    after = refined(picture, plate.astype(np.uint8), small)
    assert np.abs(after - alpha).mean() < 0.2 * np.abs(before - alpha).mean()


def test_a_foreground_like_its_plate_is_not_lost() -> None:
    """There is nothing to measure where both have one colour: the network's word stays, or most."""
    plate = np.full((64, 64, 3), 120, np.uint8)
    before = guess(disc(64, 18, 2))
    assert measure_evidence(plate, plate, before).trust.max() < 0.01
    after = refined(plate, plate, before)
    assert mask_metrics(after, before)["dice"] > 0.85


def test_a_shadow_beside_an_outline_stays_background() -> None:
    """The plate is as dark there as the picture, once its light is taken from beside it."""
    alpha, plate = disc(96, 25, 2), scene(96, 140)
    shaded = plate.copy()
    shaded[:, 48:] *= 0.5
    picture = composite(alpha, (220, 60, 40), shaded)
    after = refined(picture, plate.astype(np.uint8), guess(alpha))
    right = (alpha == 0) & (np.arange(96) > 52)[None]
    assert after[right].mean() < 0.01
    assert np.abs(after - alpha).mean() < 0.6 * np.abs(guess(alpha) - alpha).mean()


def test_what_lies_away_from_outlines_is_left_alone() -> None:
    """Neither a sure foreground nor a sure background is measured, whatever the picture holds."""
    alpha = disc(96, 25, 2)
    after = refined(noise(96, 96, 1), noise(96, 96, 2), alpha)
    inner, outer = disc(96, 21, 1) == 1, disc(96, 29, 1) == 0
    assert np.array_equal(after[inner | outer], alpha[inner | outer])


@given(
    alpha=arrays(np.float32, (24, 24), elements=st.floats(0, 1, width=32)),
    blurred=st.booleans(),
)
def test_deciding_keeps_the_mask_and_its_outline(alpha: Floats, blurred: bool) -> None:
    """Alpha away from the outline only moves towards the end that it is nearer to."""
    if blurred:
        alpha = cv2.GaussianBlur(alpha, (0, 0), 4.0)
    after = sharpen(alpha)
    assert after.dtype == np.float32
    assert np.array_equal(after > 0.5, alpha > 0.5)
    assert (np.abs(after - 0.5) >= np.abs(alpha - 0.5) - 1e-6).all()
    mask = alpha > 0.5
    about = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 2, "edge"), (5, 5))
    alike = about.all(axis=(2, 3)) | ~about.any(axis=(2, 3))
    assert np.array_equal(after[~alike], alpha[~alike])


def test_what_the_network_hardly_doubts_becomes_certain() -> None:
    """The middle of a disc, and the plate far from it."""
    alpha, plate = disc(96, 25, 2), scene(96)
    picture = composite(alpha, (220, 60, 40), plate)
    after = refined(picture, plate.astype(np.uint8), 0.025 + 0.95 * alpha)
    assert after[disc(96, 20, 1) == 1].min() > 0.999
    assert after[disc(96, 30, 1) == 0].max() < 0.001


def test_without_an_outline_there_is_only_to_decide() -> None:
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
    """Any pictures and any alpha, squeezed or not, give numbers in [0, 1], and change nothing."""
    alpha = data.draw(arrays(np.float32, size, elements=st.floats(0, 1, width=32)))
    kept = pixels.copy(), alpha.copy()
    after = refined(pixels[0], pixels[1], alpha)
    assert after.dtype == np.float32
    assert after.shape == (37, 51)
    assert np.isfinite(after).all()
    assert after.min() >= 0
    assert after.max() <= 1
    assert np.array_equal(pixels, kept[0])
    assert np.array_equal(alpha, kept[1])


def test_a_square_network_squeezes_a_wide_picture_without_harm() -> None:
    """What it saw is squeezed along one side alone; outlines come right along both."""
    alpha, plate = disc(224, 60, 2), scene(224)
    picture = composite(alpha, (220, 60, 40), plate)
    small = cv2.resize(guess(alpha), (112, 224), interpolation=cv2.INTER_AREA)
    after = refined(picture, plate.astype(np.uint8), small)
    assert np.abs(after - alpha).mean() < 0.35 * np.abs(resize(small, 224, 224) - alpha).mean()


def leaf(seed: int, side: int = 96) -> tuple[Picture, Picture, Floats]:
    """A ragged, textured thing before a textured plate: picture, plate and exact alpha."""
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


def test_more_is_read_from_an_outline_than_the_average_has() -> None:
    """Ragged shapes of many colours, none of which the reader was trained on."""
    errors = []
    for seed in range(12):
        picture, plate, alpha = leaf(seed)
        said = guess(alpha)
        known, outline = measure_evidence(picture, plate, said), find_outline(said, 1)
        averaged = np.where(outline, known.averaged, said)
        found = load_outline_network().correct(known, outline)
        errors.append([np.abs(each - alpha).sum() for each in (said, averaged, found)])
    said_error, averaged_error, found_error = np.sum(errors, axis=0)
    assert averaged_error < 0.8 * said_error
    assert found_error < 0.95 * averaged_error


def test_features_are_squares_about_a_pixel_whose_edges_repeat() -> None:
    """Each of the maps that are shown as they are, pixel by pixel in another way."""
    picture, plate, alpha = leaf(3, 24)
    known = measure_evidence(picture, plate, guess(alpha))
    rows, columns = np.array([0, 5, 23, 11]), np.array([0, 20, 23, 2])
    features = describe_outline(known, (rows, columns))
    assert features.shape == (4, FEATURES)
    shown = {0: known.alpha, 1: known.measured, 4: known.trust}
    for number, values in shown.items():
        first = sum((2 * radius + 1) ** 2 for radius in MAP_RADII[:number])
        radius = MAP_RADII[number]
        for place, (row, column) in enumerate(zip(rows, columns, strict=True)):
            square = [
                values[min(max(row + dy, 0), 23), min(max(column + dx, 0), 23)]
                for dy in range(-radius, radius + 1)
                for dx in range(-radius, radius + 1)
            ]
            assert np.array_equal(features[place, first : first + len(square)], square)
    assert np.array_equal(features[:, AVERAGED], known.averaged[rows, columns])


def ignorant(inputs: int) -> Perceptron:
    """One that corrects nothing."""
    shapes = ((inputs, 4), (4, 1))
    layers = [(np.zeros(each, np.float32), np.zeros(each[1], np.float32)) for each in shapes]
    return Perceptron(layers, inputs)


def test_a_reader_that_corrects_nothing_leaves_the_average(tmp_path: Path) -> None:
    """Nothing but zeros, saved and loaded: what remains is what it starts from."""
    whole = OutlineNetwork(ignorant(FEATURES), ignorant(FEATURES + SAMPLE_FEATURES))
    whole.save(tmp_path / "reader.npz")
    reader = OutlineNetwork.load((tmp_path / "reader.npz").read_bytes())
    picture, plate, alpha = leaf(1)
    known = measure_evidence(picture, plate, guess(alpha))
    outline = find_outline(known.alpha, 1)
    expected = np.where(outline, np.clip(known.averaged, 0.004, 0.996), known.alpha)
    assert np.allclose(reader.correct(known, outline), expected, atol=1e-5)


def test_the_colour_counts_that_explains_a_pixel() -> None:
    """Between two colours of the foreground, no mean of which is the right one."""
    picture = np.full((9, 9, 3), 50, np.uint8)
    picture[:, 5:7], picture[:, 7:] = (250, 50, 50), (50, 50, 250)
    plate = np.full_like(picture, 50)
    alpha = np.zeros((9, 9), np.float32)
    alpha[:, 5:] = 1
    picture[4, 4] = (50, 50, 90)  # a fifth of the further one
    known = measure_evidence(picture, plate, alpha)
    place = np.array([4, 4, 4]), np.array([4, 0, 6])
    best, distance, mean, share = try_colours(known, alpha, place)
    assert best[0] == pytest.approx(0.2, abs=0.01)
    assert mean[0] < best[0]
    assert best[2] == pytest.approx(1, abs=0.01)
    assert best[1] == known.averaged[4, 0]  # nothing is foreground within reach of it
    assert share[1] == 0
    assert distance[1] == 100
    assert (share[[0, 2]] > 0).all()
    assert (share <= 1).all()


def test_features_of_samples_are_those_of_the_pixels_about() -> None:
    """Off the outline alpha is what it was; the last two are of the pixel alone."""
    picture, plate, alpha = leaf(5, 40)
    said = guess(alpha)
    known, outline = measure_evidence(picture, plate, said), find_outline(said, 1)
    place = np.nonzero(outline)
    features = describe_samples(known, said, outline, place)
    assert features.shape == (len(place[0]), SAMPLE_FEATURES)
    best, distance, mean, share = try_colours(known, said, place)
    by_best, far = said.copy(), np.zeros_like(said)
    by_best[place], far[place] = best, np.log1p(distance)
    squares = Squares(place, said.shape[1], 2)
    expected = [squares.gather(by_best, 2), squares.gather(said, 2)]
    expected += [squares.gather(far, 1), mean[:, None], share[:, None]]
    assert np.array_equal(features, np.concatenate(expected, axis=1))


def packed(reader: OutlineNetwork, **changes: Floats | None) -> bytes:
    """A reader's file with some arrays in the place of others, or without them."""
    file = io.BytesIO()
    reader_parts = {"first": reader.first, "second": reader.second}
    arrays = {
        f"{name}.{kind}{number}": layer[which]
        for name, part in reader_parts.items()
        for number, layer in enumerate(part.layers)
        for which, kind in enumerate(("weight", "offset"))
    }
    arrays |= {key.replace("_", "."): value for key, value in changes.items()}
    np.savez(file, **{key: value for key, value in arrays.items() if value is not None})
    return file.getvalue()


def test_a_damaged_reader_is_refused() -> None:
    """Other bytes, half of them, layers that do not fit, and a weight that is no number."""
    reader = load_outline_network()
    whole = packed(reader)
    assert len(OutlineNetwork.load(whole).first.layers) == len(reader.first.layers)
    weight, offset = reader.second.layers[0]
    broken = np.full_like(weight, np.nan)
    array_alone = io.BytesIO()
    np.save(array_alone, broken)
    for content in (
        b"something else",
        whole[: len(whole) // 2],
        packed(reader, first_weight0=None),
        packed(reader, second_weight0=weight[:-1]),
        packed(reader, second_weight2=None),
        packed(reader, second_weight0=broken),
        packed(reader, second_offset0=offset[:, None]),
        packed(reader, second_weight0=np.full_like(broken, "x", dtype="U1")),
        array_alone.getvalue(),
    ):
        with pytest.raises(ModelError, match="Install maskdepth again"):
            OutlineNetwork.load(content)


class Guesser:
    """A backend that says one alpha."""

    def __init__(self, alpha: Floats) -> None:
        self._alpha = alpha

    def run(self, *inputs: Floats) -> tuple[Floats, Floats]:
        """The alpha, and a level disparity."""
        return self._alpha[None, None], np.full_like(self._alpha, 0.5)[None, None]


@pytest.mark.parametrize("given_plate", [True, False])
def test_a_predictor_refines_where_there_is_a_plate_unless_told_not_to(given_plate: bool) -> None:
    """Without a plate there is nothing to measure against."""
    alpha, plate = disc(96, 25, 2), scene(96)
    picture = composite(alpha, (220, 60, 40), plate)
    card = ModelCard("test", None, 96, "none", "0.1.0", {}, 0)
    known = plate.astype(np.uint8) if given_plate else None
    said = guess(alpha)
    refined, rough = (
        Predictor(Guesser(said), card, refine=refine).predict(picture, known).alpha
        for refine in (True, False)
    )
    assert np.array_equal(rough, said)
    assert (np.abs(refined - alpha).mean() < 0.5 * np.abs(rough - alpha).mean()) == given_plate
