"""What is judged beside the slices: one disturbance at a time, baselines, a withheld world."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from judged import Fake, everywhere, make_background, make_dataset, nowhere
from maskdepth.depth import encode_depth_mm
from maskdepth.errors import AssetError, UsageError
from maskdepth.evaluation import Extras, evaluate_composites, read_evaluation, to_json
from maskdepth.evaluation.baselines import tune_baselines
from maskdepth.evaluation.composites import render_benchmark
from maskdepth.evaluation.robustness import (
    CURVES,
    SIZES,
    NoRobustness,
    count_point_predictions,
    evaluate_robustness,
)
from maskdepth.evaluation.withheld import evaluate_withheld
from maskdepth.images import resize, save_png
from maskdepth.labelling.teachers import TeacherInfo
from maskdepth.synthesis.recipes import sample_recipe
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1

CLEAN = BENCHMARK_V1["clean"]
# What may differ from the clean recipe, and what that is in the curve's unit.
MEASURES = {
    "plate_shift": ({"plate_shift"}, lambda r: np.hypot(*r.effects.plate_shift)),
    "plate_rotation": ({"plate_angle"}, lambda r: abs(r.effects.plate_angle)),
    "exposure": ({"gains"}, lambda r: np.log2(r.effects.gains[1])),
    "colour_cast": ({"gains"}, lambda r: 50 * abs(r.effects.gains[0] - r.effects.gains[2])),
    "shadow": ({"shadows"}, lambda r: sum(each.strength for each in r.effects.shadows)),
    "noise": ({"noise_sigma"}, lambda r: r.noise_sigma),
    "jpeg": ({"jpeg_picture", "jpeg_plate"}, lambda r: r.jpeg_picture),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    return make_dataset(folder), folder


def bright(image, plate, _):
    """Where picture and plate differ by much."""
    if plate is None:
        return nowhere(image)
    return np.abs(image.astype(int) - plate).max(axis=2) > 60


@pytest.fixture(scope="module")
def run(dataset):
    """The robustness of a threshold on two composites a point, and all that it was given."""
    spec, folder = dataset
    run = SimpleNamespace(given=[], done=[])

    def remember(image, plate, _):
        run.given.append((image, plate))
        return bright(image, plate, None)

    run.result = evaluate_robustness(
        Fake(remember), spec, partial(spec.catalogue, folder), 2,
        others={"twin": Fake(bright)}, advance=run.done.append,
    )  # fmt: skip
    return run


@pytest.fixture(scope="module")
def curves(run):
    return run.result


def flat_recipe(recipe):
    values = asdict(recipe)
    return values | values.pop("effects")


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_changes_one_thing_by_the_stated_amount(dataset, name):
    spec, _ = dataset
    curve = CURVES[name]
    fields, measure = MEASURES[name]
    for index in range(4):
        recipe = sample_recipe(CLEAN, spec.pool("test", "test"), BENCHMARK_SEED, index)
        for value in curve.values:
            changed = curve.change(recipe, value)
            before, after = flat_recipe(recipe), flat_recipe(changed)
            different = {key for key in before if before[key] != after[key]}
            assert different <= fields
            assert bool(different) == (value != curve.neutral)
            assert measure(changed) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("name", CURVES)
def test_targets_stay_where_they_are_along_a_curve(dataset, name):
    spec, folder = dataset
    catalogue, curve = spec.catalogue(folder, CLEAN.size), CURVES[name]
    recipe = sample_recipe(CLEAN, spec.pool("test", "test"), BENCHMARK_SEED, 1)
    clean = render(recipe, CLEAN.size, catalogue)
    worst = render(curve.change(recipe, curve.values[-1]), CLEAN.size, catalogue)
    np.testing.assert_array_equal(worst.alpha, clean.alpha)
    moves = {"plate_shift", "plate_rotation"}
    lights = {"exposure", "colour_cast", "shadow"}
    assert (worst.image == clean.image).all() == (name in moves)
    assert (worst.plate == clean.plate).all() == (name in lights)


def test_the_neutral_point_is_the_clean_slice(curves):
    clean = curves.clean["columns"].model.mean
    assert clean["dice"] > 0.9
    assert set(clean) == {"dice", "iou", "boundary_f"}
    for curve in curves.curves.values():
        found = [point for point in curve.points if point.value == curve.neutral]
        assert all(point.columns.model.mean == clean for point in found)
        assert len(found) == (curve.neutral is not None)
        assert all(point.columns.model.pictures == 2 for point in curve.points)


def test_a_threshold_falls_where_it_must(curves):
    """Light and a moved plate break it, and both columns of the baseline say how much."""
    exposed = curves.curves["exposure"].points[-1].columns
    assert exposed.model.mean["dice"] < curves.clean["columns"].model.mean["dice"]
    noisy = curves.curves["noise"].points[-1].columns
    tuned_once, tuned_here = noisy.difference, noisy.difference_tuned_here
    assert tuned_here.tuned.threshold > tuned_once.tuned.threshold
    assert tuned_here.mean["dice"] > tuned_once.mean["dice"]


def test_registration_alone_makes_up_for_light(curves):
    """The threshold has a column after registration, so that no network is credited for it."""
    (point,) = [each for each in curves.curves["exposure"].points if each.value == 1]
    columns = point.columns
    registered = columns.difference_registered
    assert registered.mean["dice"] > columns.difference.mean["dice"] + 0.1
    assert columns.difference_registered_tuned_here.tuned.val_dice > 0.8


def test_larger_pictures_show_the_same_scenes(run):
    """Made small again, they are the clean composites, but for what resizing makes of outlines."""
    by_size = {
        size: [image for image, plate in run.given if plate is not None and len(image) == size]
        for size in SIZES
    }
    assert sum(map(len, by_size.values())) == len(run.given) - 2
    for size in SIZES[1:]:
        assert len(by_size[size]) == 2
        for large, clean in zip(by_size[size], by_size[SIZES[0]], strict=False):
            small = resize(large, *clean.shape[:2]).astype(float)
            assert np.abs(small - clean).mean() < 4


def test_other_models_are_on_every_curve(curves):
    for curve in curves.curves.values():
        for point in curve.points:
            assert point.columns.others["twin"] == point.columns.model


def test_without_a_plate_guesses_stand_beside_the_model(curves):
    columns = curves.no_plate["columns"]
    assert columns["model"].mean["dice"] == columns["empty"].mean["dice"] == 0
    assert 0.1 < columns["centred_disc"].mean["dice"] < 0.9


def test_wrong_plates_are_plates_of_other_backgrounds(dataset, run):
    spec, folder = dataset
    catalogue = spec.catalogue(folder, CLEAN.size)
    pool = spec.pool("test", "test", origin="user")
    clean = list(render_benchmark(CLEAN, pool, catalogue, 2))
    *_, first, second, no_plate, _ = run.given
    assert no_plate[1] is None
    np.testing.assert_array_equal(no_plate[0], clean[0].image)
    ids = [asset.id for asset in pool.backgrounds]
    for (image, plate), composite in zip((first, second), clean, strict=True):
        np.testing.assert_array_equal(image, composite.image)
        other = ids[1 - ids.index(composite.recipe.background)]
        bare = replace(composite.recipe, background=other, objects=())
        np.testing.assert_array_equal(plate, render(bare, CLEAN.size, catalogue).plate)


def test_progress_counts_every_prediction(run):
    """Two composites a point, by the model and one other."""
    assert sum(run.done) == count_point_predictions(2, 1)


def test_curves_need_unseen_assets(dataset):
    spec, folder = dataset
    seen_only = tuple(asset for asset in spec.cutouts if asset.split == "train")
    empty = spec.model_copy(update={"cutouts": seen_only})
    done = []
    result = evaluate_robustness(
        Fake(nowhere), empty, partial(spec.catalogue, folder), 1, advance=done.append
    )
    assert sum(done) == count_point_predictions(1, 0)
    assert isinstance(result, NoRobustness)
    assert "0 cutouts" in result.reason


def test_a_disc_is_tuned_to_the_disc_that_is_there():
    rows, columns = np.mgrid[:100, :100]
    disc = (np.hypot(rows - 49.5, columns - 49.5) < 28).astype(np.float32)
    picture = np.zeros((100, 100, 3), np.uint8)
    composite = SimpleNamespace(image=picture, plate=picture, alpha=disc)
    found = tune_baselines([composite] * 2, ["centred_disc"])["centred_disc"]
    assert found.val_dice > 0.98
    assert (found.predict(composite) != disc).mean() < 0.02
    assert tune_baselines([SimpleNamespace(alpha=0 * disc)], ["centred_disc"]) == {}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(3):
        make_background(folder, f"shop_{number}", "test", 80 + number, labelled=True)
    (folder / "label.json").write_text('{"kind": "exact"}')
    return folder


class Ramp:
    """A teacher that says that all pictures are nearer at the bottom."""

    info = TeacherInfo("ramp", "1", "inverse depth", "relative", None, None, "CC0-1.0")

    def predict(self, pictures):
        return [
            np.repeat(np.linspace(0.05, 1, len(each), dtype=np.float32)[:, None], each.shape[1], 1)
            for each in pictures
        ]


def test_a_withheld_world_has_the_columns_of_depth(dataset, scenes):
    spec, folder = dataset
    result = evaluate_withheld(
        Fake(nowhere), spec, folder, scenes, 2, others={"twin": Fake(nowhere)}, teacher=Ramp()
    )
    assert result.scenes == 3
    for depth in result.placements.values():
        assert depth.labels == ["exact"]
        assert depth.teacher == "ramp"
        # The labels are ramps, too: the teacher is nearly right, and a flat map is not.
        assert depth.baselines["teacher"].whole.mean["ordinal_accuracy"] > 0.8
        assert depth.columns["plate"].whole.mean["ordinal_accuracy"] < 0.1
        assert depth.others["twin"]["plate"] == depth.columns["plate"]


def test_a_world_that_was_trained_on_is_refused(dataset, scenes, tmp_path):
    spec, folder = dataset
    with pytest.raises(AssetError, match="3 that it holds"):
        evaluate_withheld(Fake(nowhere), spec, folder, folder, 1)
    save_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (240, 280, 3), np.uint8))
    with pytest.raises(AssetError, match="exact disparity"):
        evaluate_withheld(Fake(nowhere), spec, folder, tmp_path, 1)


def write_frames(folder):
    folder.mkdir()
    plate = np.random.default_rng(1).integers(60, 90, (40, 50, 3), np.uint8)
    save_png(folder / "plate.png", plate)
    for number in range(21):
        picture, levels = plate.copy(), np.zeros((40, 50), np.uint8)
        place = np.s_[10:20, number : number + 10]
        picture[place], levels[place] = 250, 255
        save_png(folder / f"in{number:06d}.png", picture)
        save_png(folder / f"gt{number:06d}.png", levels)
    return folder


def test_one_call_evaluates_all_extras(dataset, scenes, tmp_path):
    spec, folder = dataset
    sensor = tmp_path / "rooms"
    sensor.mkdir()
    depth_m = np.linspace(4, 1, 40, dtype=np.float32)[:, None].repeat(50, 1)
    save_png(sensor / "room_1.png", np.full((40, 50, 3), 90, np.uint8))
    save_png(sensor / "room_1_depth_mm.png", encode_depth_mm(depth_m)[0])
    extras = Extras(
        robustness=1,
        frames=[write_frames(tmp_path / "street")],
        depth=[sensor],
        withheld=scenes,
        teacher=Ramp(),
    )
    steps = []
    result = evaluate_composites(
        Fake(bright),
        spec,
        folder,
        count=1,
        slices=("clean",),
        others={"all": Fake(everywhere)},
        extras=extras,
        progress=lambda done, total: steps.append((done, total)),
    )
    values = to_json(result)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert to_json(read_evaluation(values)) == values
    assert steps[-1][0] == steps[-1][1]
    assert result.frames["street"].model.f1 == 1
    assert result.frames["street"].others["all"].recall == 1
    room = result.sensor_depth["rooms"]["room"]
    assert room.teacher.ordinal_accuracy > 0.99
    assert set(room.others) == {"all"}
    assert result.withheld.scenes == 3
    assert result.robustness.count == 1
    assert result.teacher["name"] == "ramp"
    assert result.version == 2


def test_folders_of_one_name_are_refused(dataset, tmp_path):
    spec, folder = dataset
    twice = Extras(frames=[tmp_path / "a" / "x", tmp_path / "b" / "x"])
    with pytest.raises(UsageError, match="different names"):
        evaluate_composites(Fake(nowhere), spec, folder, count=1, extras=twice)


def test_what_nobody_asked_for_is_null(dataset):
    spec, folder = dataset
    result = evaluate_composites(Fake(nowhere), spec, folder, count=1, slices=("clean",))
    for name in ("robustness", "frames", "sensor_depth", "withheld", "teacher"):
        assert getattr(result, name) is None
