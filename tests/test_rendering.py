"""The renderer on a training device, held against the one on the CPU, on the CPU's own device."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from maskdepth.datasets.build import Dataset, compose_dataset
from maskdepth.errors import ConfigError, DatasetError
from maskdepth.images import decode_jpeg, encode_jpeg
from maskdepth.learning.dataset import CompositeDataset
from maskdepth.learning.feed import BatchSamples, Feed, make_batches
from maskdepth.learning.rendering import DeviceComposites, DeviceRenderer
from maskdepth.learning.rendering.jpeg import degrade_jpeg
from maskdepth.learning.settings import preset_config
from maskdepth.learning.training import TrainingProgress, TrainingResult, train
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.effects import NO_EFFECTS, Effects, Recolour, Shadow
from maskdepth.synthesis.placement import Placement
from maskdepth.synthesis.recipes import Recipe, sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.rules import BENCHMARK_V1, FIELD, RecipeRules
from maskdepth.synthesis.worlds import write_sample_pack

CPU = torch.device("cpu")
SIZE = 72
RULES = {**BENCHMARK_V1, "field": FIELD}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Drawn scenes with disparity, and drawn cutouts of which some have relief."""
    folder = tmp_path_factory.mktemp("rendering")
    pack = write_sample_pack(folder / "pack", scenes=4, cutouts=6, seed=3)
    return compose_dataset(
        pack.cutouts, pack.backgrounds, folder / "dataset", small=True, depth_scenes=0
    )


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(dataset: Dataset, rules: RecipeRules, count: int, seed: int = 11) -> list[Recipe]:
    """Recipes of a plan at the tests' size."""
    return list(sample_recipes(rules.at_size(SIZE), dataset.spec.pool(), seed, 0, count))


def on_both(
    dataset: Dataset, recipes: list[Recipe], batch: int = 16
) -> Iterator[tuple[Recipe, Composite, DeviceComposites, int]]:
    """Every recipe as the CPU renders it, beside its row in a batch of the device's."""
    catalogue = dataset.spec.catalogue(dataset.folder, SIZE)
    renderer = DeviceRenderer(catalogue, SIZE, CPU)
    for start in range(0, len(recipes), batch):
        part = recipes[start : start + batch]
        rendered = renderer.render(part)
        for row, recipe in enumerate(part):
            yield recipe, render(recipe, SIZE, catalogue), rendered, row


def levels(picture: Tensor) -> NDArray[np.int64]:
    """(3, S, S) bytes as (S, S, 3) whole numbers."""
    return picture.permute(1, 2, 0).numpy().astype(np.int64)


def differences(
    dataset: Dataset, recipes: list[Recipe]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of pictures and of plates, (n, S, S, 3) grey levels."""
    image, plate = [], []
    for _, expected, rendered, row in on_both(dataset, recipes):
        image.append(np.abs(levels(rendered.image[row]) - expected.image))
        plate.append(np.abs(levels(rendered.plate[row]) - expected.plate))
    return np.array(image), np.array(plate)


@pytest.mark.parametrize("name", ["clean", "jpeg", "hard"])
def test_benchmark_pictures_agree_within_two_grey_levels(dataset: Dataset, name: str) -> None:
    """Picture and plate, noise included; and hardly a value differs at all."""
    for difference in differences(dataset, draw(dataset, RULES[name], 64)):
        assert difference.max() <= 2
        assert (difference > 0).mean() < 1e-3


def test_field_pictures_agree_within_two_grey_levels_before_encoding(dataset: Dataset) -> None:
    """All effects but the codec: a level at a few pixels in a hundred thousand.

    More than a stop of exposure makes three of one level; other recipes had that at one value in
    twelve millions.
    """
    recipes = [
        dataclasses.replace(recipe, jpeg_picture=None, jpeg_plate=None)
        for recipe in draw(dataset, FIELD, 160)
    ]
    for difference in differences(dataset, recipes):
        assert difference.max() <= 2
        assert (difference > 0).mean() < 3e-4


def test_encoded_field_pictures_agree_but_for_single_blocks(dataset: Dataset) -> None:
    """A level before a coarse quantisation can be a step after it: then one block of 16 differs."""
    for difference in differences(dataset, draw(dataset, FIELD, 160)):
        assert (difference > 2).mean() < 1e-4
        assert difference.max() <= 40


@pytest.mark.parametrize("name", ["clean", "hard", "field"])
def test_alpha_and_disparity_agree(dataset: Dataset, name: str) -> None:
    """Alpha within 2/255; disparity but for pixels whose alpha is a hair from one half.

    The plate's own disparity is picked, not mixed: a place half-way between two pixels may fall
    to either.
    """
    edges = pixels = other = 0
    for recipe, expected, rendered, row in on_both(dataset, draw(dataset, RULES[name], 64)):
        alpha = rendered.alpha[row].numpy()
        assert np.abs(alpha - expected.alpha).max() < 2 / 255, recipe.index
        assert rendered.labelled[row] == (expected.disparity is not None)
        if expected.disparity is None or expected.plate_disparity is None:
            assert rendered.disparity[row].isnan().all()
            continue
        far = ~np.isclose(rendered.disparity[row], expected.disparity, atol=1e-4, equal_nan=True)
        edges += int((far & (np.abs(expected.alpha - 0.5) < 0.01)).sum())
        assert not (far & (np.abs(expected.alpha - 0.5) >= 0.01)).any(), recipe.index
        picked = rendered.plate_disparity[row].numpy()
        other += int((~np.isclose(picked, expected.plate_disparity, equal_nan=True)).sum())
        pixels += SIZE**2
    assert pixels > 20 * SIZE**2
    assert edges <= 1e-4 * pixels
    assert other <= 1e-4 * pixels


OUTSIDE = Shadow(strength=0.5, sigma_px=7.0, dx=-9.0, dy=6.0)
CONTACT = Shadow(strength=0.6, sigma_px=1.5, dx=0.0, dy=0.0, height=0.2, lean=0.4)
SKYLIT = dataclasses.replace(OUTSIDE, blueness=0.2)
DEEP = dataclasses.replace(CONTACT, strength=1.0, blueness=0.1)
GARISH = Recolour(hue_deg=205.0, saturation=1.4, contrast=1.3, gain=1.6)
DULL = Recolour(hue_deg=80.0, saturation=0.3, contrast=0.5, gain=0.5)
EACH_EFFECT: list[dict[str, object]] = [
    {"shadows": (OUTSIDE,)},
    {"shadows": (OUTSIDE, CONTACT)},
    {"shadows": (SKYLIT, DEEP)},
    {"reflection": 0.6},
    {"harmony": 0.9},
    {"motion": (5.0, -3.0)},
    {"gains": (1.3, 0.7, 1.0), "offset": -9.0},
    {"plate_shift": (3.3, -2.1), "plate_angle": 0.9},
    {"blur_sigma": 1.1},
    {"scale": 0.5},
    {"scale": 0.83},
    {"row_noise": 6.0},
    {"recolour": GARISH},
    {"recolour": DULL},
    {"recolour": GARISH, "harmony": 0.9, "reflection": 0.6, "motion": (5.0, -3.0)},
    {"exposure": 1.5},
    {"plate_blur": 1.3},
    {"defocus": 2.3},
    {"defocus": 3.1, "motion": (-4.0, 7.0), "shadows": (OUTSIDE, CONTACT), "reflection": 0.6},
    {"plate_blur": 0.6, "blur_sigma": 0.8, "plate_shift": (2.5, -1.0)},
    {"exposure": -1.5},
    {"tone_gains": (1.2, 1.0, 0.8)},
    {"tone_offset": -12.5},
    {"exposure": 0.4, "tone_gains": (0.8, 0.9, 1.2), "tone_offset": 20.0, "gains": (1.1, 1.0, 0.7)},
    {"exposure": 0.9, "gains": (1.3, 0.7, 1.0), "blur_sigma": 1.1, "scale": 0.5},
]


@pytest.mark.parametrize("effect", EACH_EFFECT, ids="+".join)
def test_each_effect_alone_agrees_within_a_level(
    dataset: Dataset, effect: dict[str, object]
) -> None:
    """At any place, also cut by the frame; and the effect is there, on the CPU as well."""
    effects = dataclasses.replace(NO_EFFECTS, **effect)  # type: ignore[arg-type]
    plain = [dataclasses.replace(r, effects=NO_EFFECTS) for r in draw(dataset, FIELD, 12)]
    plain = [
        dataclasses.replace(r, jpeg_picture=None, jpeg_plate=None, noise_sigma=0.0, stale=None)
        for r in plain
    ]
    recipes = [dataclasses.replace(recipe, effects=effects) for recipe in plain]
    for difference in differences(dataset, recipes):
        assert difference.max() <= 1
    catalogue = dataset.spec.catalogue(dataset.folder, SIZE)
    renderer = DeviceRenderer(catalogue, SIZE, CPU)
    with_it, without = renderer.render(recipes), renderer.render(plain)
    moved = (with_it.image != without.image).any() | (with_it.plate != without.plate).any()
    assert moved


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 150), height=st.integers(1, 150),
    x=st.integers(-70, SIZE - 1), y=st.integers(-70, SIZE - 1), flip=st.booleans(),
    which=st.integers(0, 7), defocus=st.sampled_from([0.0, 0.7, 3.0]),
)  # fmt: skip
def test_any_box_agrees(
    dataset: Dataset,
    width: int,
    height: int,
    x: int,
    y: int,
    flip: bool,
    which: int,
    defocus: float,
) -> None:
    """Stretched, squashed to a thread, beyond the frame, mirrored, out of focus; with shadows."""
    cutout = dataset.spec.cutouts[which % len(dataset.spec.cutouts)].id
    placement = Placement(cutout, flip, width, height, x, y, nearness=0.4)
    effects = dataclasses.replace(
        NO_EFFECTS, shadows=(OUTSIDE, CONTACT), reflection=0.3, recolour=GARISH, exposure=-0.5,
        defocus=defocus,
    )  # fmt: skip
    recipe = dataclasses.replace(
        draw(dataset, BENCHMARK_V1["clean"], 1)[0], objects=(placement,), effects=effects
    )
    for difference in differences(dataset, [recipe]):
        assert difference.max() <= 2


def test_a_composite_does_not_depend_on_its_batch(dataset: Dataset) -> None:
    """Alone, in another order or among others: the same pixels, bit for bit."""
    recipes = draw(dataset, FIELD, 24)
    catalogue = dataset.spec.catalogue(dataset.folder, SIZE)
    together = DeviceRenderer(catalogue, SIZE, CPU).render(recipes[::-1])
    # So little memory that every batch begins with nothing on the device.
    lean = DeviceRenderer(catalogue, SIZE, CPU, memory_mb=0.0)
    for row, recipe in enumerate(recipes[::-1]):
        alone = lean.render([recipe])
        for name in ("image", "plate", "alpha", "disparity", "plate_disparity"):
            expected, got = getattr(together, name)[row], getattr(alone, name)[0]
            if name in ("image", "plate"):
                assert torch.equal(expected, got), (recipe.index, name)
            else:
                assert torch.allclose(expected, got, atol=1e-6, equal_nan=True), name


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(8, 70), width=st.integers(8, 70), quality=st.integers(1, 100),
    smooth=st.floats(0.3, 6), seed=st.integers(0, 2**20),
)  # fmt: skip
def test_jpeg_is_opencvs_bit_for_bit(
    height: int, width: int, quality: int, smooth: float, seed: int
) -> None:
    """What encoding and decoding leave of any picture, at any size and quality."""
    noise = np.random.default_rng(seed).uniform(-900, 1100, (height, width, 3))
    picture = np.clip(cv2.GaussianBlur(noise, (0, 0), smooth), 0, 255).astype(np.uint8)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None]
    coded = levels(degrade_jpeg(tensor, torch.tensor([quality]))[0])
    assert np.array_equal(coded, decode_jpeg(encode_jpeg(picture, quality)))


def composites(dataset: Dataset, rules: RecipeRules = FIELD) -> CompositeDataset:
    spec = dataset.spec
    return CompositeDataset(
        rules.at_size(SIZE), spec.pool(), 5, spec.catalogue(dataset.folder, SIZE), 64,
        drop_plate=0.3, mirror=0.5,
    )  # fmt: skip


@pytest.mark.parametrize("stored", [False, True])
def test_a_batch_is_what_the_loader_would_have_collated(dataset: Dataset, stored: bool) -> None:
    """The same keys, shapes, types and values, whichever of the two renders."""
    samples = composites(dataset, BENCHMARK_V1["hard"].with_(labelled_share=0.5))
    if stored:  # labels of 45 stored samples, every third unknown; the second batch begins anew
        maps = np.random.default_rng(0).random((45, SIZE, SIZE), np.float32)
        maps[::3] = np.nan
        samples.labels = list(maps)
    assert isinstance(samples, BatchSamples)
    batches = [list(range(12)), list(range(40, 52))]
    rendered = Feed(make_batches(samples, iter([*batches, batches[0]]), "device", 0, CPU), CPU)
    loaded = Feed(make_batches(samples, batches, "cpu", 0, CPU), CPU)
    for _ in batches:
        ours, theirs = rendered.next(), loaded.next()
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name].shape == value.shape, name
            assert ours[name].dtype == value.dtype, name
            far = (ours[name].double() - value.double()).abs() > 2.01 / 255
            assert far.double().mean() < 1e-4, name
        for name in ("validity", "has_disparity", "index"):
            assert torch.equal(ours[name], theirs[name])


def test_a_mirrored_sample_is_the_same_one_in_a_mirror(dataset: Dataset) -> None:
    """Picture, plate, alpha and depth are turned together; about as many as were asked for."""
    plain, half = composites(dataset), composites(dataset)
    plain.mirror = 0.0
    mirrored = 0
    for index in range(24):
        before, after = plain[index], half[index]
        turned = not torch.equal(before["picture"], after["picture"])
        mirrored += turned
        for name, value in before.items():
            expected = value.flip(2) if turned and value.ndim == 3 else value
            assert torch.equal(after[name], expected), name
    assert 5 <= mirrored <= 19


def test_a_dataset_that_cannot_render_there_is_refused() -> None:
    """One clear line; left to itself, training takes the CPU."""
    plain = [{"index": torch.tensor(0)}]
    with pytest.raises(ConfigError, match="renders on a device"):
        make_batches(plain, [[0]], "device", 0, CPU)  # type: ignore[arg-type]
    assert list(make_batches(plain, [[0]], "auto", 0, CPU))  # type: ignore[arg-type]


def test_errors_of_the_renderer_reach_the_training(dataset: Dataset) -> None:
    """A cutout that is not there is told by the batch that needs it."""
    samples = composites(dataset)
    samples.catalogue = Catalogue((), dataset.spec.backgrounds, dataset.folder, SIZE)
    feed = Feed(make_batches(samples, iter([[0, 1]]), "device", 0, CPU), CPU)
    with pytest.raises(DatasetError, match="0 cutouts"):
        feed.next()


def test_a_run_on_the_device_renderer_resumes_to_the_same_weights(
    dataset: Dataset, tmp_path: Path
) -> None:
    """A few steps of the small network on consecutive samples, stopped half-way."""
    config = preset_config("small").lasting(steps=4).with_(
        batch_size=4, renderer="device", save_every_seconds=0.0, mixed_precision="no"
    )  # fmt: skip

    def stop_half_way(progress: TrainingProgress) -> None:
        if progress.step == 2:
            signal.raise_signal(signal.SIGINT)

    def run(folder: str, **more: Any) -> TrainingResult:
        return train(
            config, composites(dataset), None, tmp_path / folder, device="cpu", quiet=True, **more
        )

    whole = run("whole")
    assert run("parts", on_progress=stop_half_way).interrupted
    resumed = run("parts", resume=True)
    assert whole.images == resumed.images == 16
    weights = resumed.model.state_dict()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_effects_know_whether_they_relight() -> None:
    """Gain or offset alone is enough; nothing is nothing."""
    assert not NO_EFFECTS.relights
    assert Effects(offset=1.0).relights
    assert Effects(gains=(1.0, 1.1, 1.0)).relights
