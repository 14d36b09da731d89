"""The evaluation judges honestly: predictors of known quality get the figures they must get."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from judged import Fake, everywhere, make_dataset, nowhere
from maskdepth import evaluation as package
from maskdepth.errors import UsageError
from maskdepth.evaluation import composites, evaluate_composites, select_panels, to_json
from maskdepth.evaluation.slices import CHALLENGES, SLICES
from maskdepth.metrics import mask_metrics
from maskdepth.synthesis.rules import BENCHMARK_V1


@pytest.fixture
def oracle(monkeypatch):
    last = {}
    real = composites.render

    def remembering(recipe, size, catalogue):
        last["composite"] = real(recipe, size, catalogue)
        return last["composite"]

    monkeypatch.setattr(composites, "render", remembering)
    return Fake(
        lambda *inputs: last["composite"].alpha,
        lambda *inputs: np.nan_to_num(
            np.zeros((224, 224))
            if last["composite"].disparity is None
            else last["composite"].disparity
        ),
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    return make_dataset(folder), folder


def evaluate(predictor, dataset, **options):
    spec, folder = dataset
    options = {"count": 3, "slices": ("clean",), **options}
    return evaluate_composites(predictor, spec, folder, **options)


def judge(predictor, dataset, **options):
    return to_json(evaluate(predictor, dataset, **options))


def flat(values, path=""):
    """Nested plain values as one dictionary by path."""
    if isinstance(values, dict):
        items = values.items()
    elif isinstance(values, list):
        items = enumerate(values)
    else:
        return {path: values}
    return {
        key: leaf for name, value in items for key, leaf in flat(value, f"{path}/{name}").items()
    }


def without(spec, kind, keep):
    return spec.model_copy(
        update={kind: tuple(asset for asset in getattr(spec, kind) if keep(asset))}
    )


@pytest.fixture(scope="module")
def blind(dataset):
    return judge(Fake(nowhere), dataset)


def test_an_oracle_is_perfect(oracle, dataset):
    """Who knows the answer has Dice 1 in all cells and no depth error, in every column."""
    result = judge(oracle, dataset, slices=("clean", "jpeg"))
    for table in result["masks"].values():
        for summary in [*table["cells"].values(), table["no_plate"]]:
            assert summary["pictures"] == 3
            assert summary["mean"]["dice"] == 1
            assert summary["mean"]["boundary_f"] == 1
            assert summary["mean"]["sad"] == 0
    for name, column in result["depth"]["columns"].items():
        inside = column["inside_mask"]["mean"]
        assert inside["abs_rel"] == pytest.approx(0, abs=1e-4)
        assert inside["delta1"] == 1
        if name != "plate_and_disparity":
            assert column["whole"]["mean"]["abs_rel"] == pytest.approx(0, abs=1e-4)
            assert column["whole"]["mean"]["ordinal_accuracy"] > 0.99
    dice = result["depth"]["depth_dice"]["mean"]
    assert dice["score"] == pytest.approx(dice["perfect"], abs=1e-6)
    assert dice["maximum"] > dice["perfect"]


def test_constant_predictors_get_what_they_must(dataset, blind):
    empty = blind["masks"]["clean"]["cells"]["unseen_unseen"]
    full = judge(Fake(everywhere), dataset)["masks"]["clean"]["cells"]["unseen_unseen"]
    assert empty["mean"]["dice"] == 0
    assert empty["interval"]["dice"] == [0, 0]
    assert 0.01 < full["mean"]["iou"] < 0.4
    low, high = full["interval"]["iou"]
    assert low <= full["mean"]["iou"] <= high


def test_the_difference_baseline_is_tuned_and_good_on_clean_pictures(blind):
    difference = blind["masks"]["clean"]["difference"]
    assert difference["mean"]["dice"] > 0.95
    assert difference["tuned"]["val_dice"] > 0.95
    assert difference["tuned"]["median_px"] % 2 == 1


def test_the_tuned_baseline_is_the_best_of_all_settings_on_val(dataset):
    spec, folder = dataset
    masks = judge(Fake(nowhere), dataset, slices=tuple(BENCHMARK_V1), count=2)["masks"]
    for name, rules in BENCHMARK_V1.items():
        pool = spec.pool("val", "val", origin="user")
        catalogue = spec.catalogue(folder, rules.size)
        scores = {}
        for composite in composites.render_benchmark(rules, pool, catalogue, 2):
            gap = np.abs(composite.image.astype(int) - composite.plate).max(axis=2)
            for side in (1, 3, 5, 7, 9, 11):
                smooth = cv2.medianBlur(gap.astype(np.uint8), side)
                for threshold in range(256):
                    dice = mask_metrics(smooth > threshold, composite.alpha)["dice"]
                    key = (threshold, side)
                    scores[key] = scores.get(key, 0) + dice / 2
        tuned = masks[name]["difference"]["tuned"]
        assert tuned["val_dice"] == pytest.approx(max(scores.values()))
        found = scores[tuned["threshold"], tuned["median_px"]]
        assert found == pytest.approx(max(scores.values()))


def test_no_plate_is_predicted_without_the_plate(dataset):
    def greedy(image, plate, plate_disparity):
        return everywhere(image) if plate is None else nowhere(image)

    table = judge(Fake(greedy), dataset)["masks"]["clean"]
    assert table["no_plate"]["mean"]["iou"] > 0
    assert table["cells"]["unseen_unseen"]["mean"]["iou"] == 0


def test_other_models_are_judged_on_the_same_recipes(dataset):
    result = judge(Fake(everywhere), dataset, others={"twin": Fake(everywhere)})
    table = result["masks"]["clean"]
    assert flat(table["others"]["twin"]) == pytest.approx(flat(table["cells"]["unseen_unseen"]))
    assert result["others"]["twin"]["preset"] == "fake"


def test_a_model_is_told_with_the_trainings_that_it_started_from(dataset):
    first = {"steps": 9, "images": 144, "seconds": 3.0, "config": {}}
    second = {"steps": 2, "images": 32, "seconds": 1.0, "from": {"model": "a", "training": first}}
    tuned = Fake(everywhere)
    tuned.card = replace(tuned.card, training=second)
    model = judge(tuned, dataset)["model"]
    assert model["training"] == {"steps": 2, "images": 32, "seconds": 1.0}
    assert model["earlier"] == [{"steps": 9, "images": 144, "seconds": 3.0}]


def test_depth_columns_get_the_inputs_they_name(dataset):
    inputs = set()

    def remember(image, plate, plate_disparity):
        inputs.add((plate is not None, plate_disparity is not None))
        return everywhere(image)

    result = judge(Fake(nowhere, remember), dataset)
    assert inputs == {(False, False), (True, False), (True, True)}
    third = result["depth"]["columns"]["plate_and_disparity"]
    assert third["whole"]["mean"] is None
    assert "input" in third["whole"]["reason"]
    assert third["inside_mask"]["mean"] is not None


def test_depth_baselines_bound_a_useful_model(blind):
    """On ramps the vertical gradient orders well; the bare plate misses the object."""
    baselines = blind["depth"]["baselines"]
    assert baselines["vertical_gradient"]["whole"]["mean"]["ordinal_accuracy"] > 0.8
    assert baselines["plate_disparity"]["inside_mask"]["mean"]["abs_rel"] > 0.02


def test_a_model_without_depth_is_not_judged_on_it(dataset):
    nothing = lambda image, *rest: np.full(image.shape[:2], np.nan)  # noqa: E731
    depth = judge(Fake(nowhere, nothing, depth="none"), dataset)["depth"]
    assert depth["columns"]["plate"]["whole"]["mean"] is None
    assert "never learned" in depth["columns"]["plate"]["whole"]["reason"]
    assert depth["baselines"]["vertical_gradient"]["whole"]["mean"] is not None


def test_only_the_users_backgrounds_judge_masks(dataset, blind):
    """Drawn scenes are for depth as long as there is a photo."""
    table = blind["masks"]["clean"]
    assert table["backgrounds_of"] == "user"
    assert table["cells"]["seen_seen"]["backgrounds"] == 2
    spec, folder = dataset
    drawn = without(spec, "backgrounds", lambda asset: asset.origin == "sample")
    table = judge(Fake(nowhere), (drawn, folder), count=1)["masks"]["clean"]
    assert table["backgrounds_of"] == "all"
    assert table["cells"]["seen_seen"]["mean"] is not None


def test_an_empty_pool_is_null_with_a_reason(dataset):
    spec, folder = dataset
    spec = without(spec, "cutouts", lambda asset: asset.split == "train")
    spec = without(spec, "backgrounds", lambda asset: asset.split != "test")
    steps = []
    evaluation = evaluate(
        Fake(nowhere), (spec, folder), progress=lambda done, total: steps.append((done, total))
    )
    result = to_json(evaluation)
    table = result["masks"]["clean"]
    assert table["cells"]["seen_seen"]["mean"] is not None
    for summary in (table["cells"]["unseen_unseen"], table["no_plate"], table["difference"]):
        assert summary["mean"] is None
        assert "there are 0 cutouts" in summary["reason"]
    assert result["depth"]["columns"] is None
    assert "labelled backgrounds of test" in result["depth"]["reason"]
    assert steps[-1][0] == steps[-1][1]
    assert select_panels(Fake(nowhere), spec, folder, evaluation) == []


def test_the_result_is_json_and_reproducible(dataset):
    first, second = judge(Fake(everywhere), dataset), judge(Fake(everywhere), dataset)
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    for result in (first, second):
        del result["made"], result["seconds"]
    # OpenCV's filters round differently from one memory alignment to the next.
    assert flat(first) == pytest.approx(flat(second))
    assert first["benchmark"]["seed"] == 2026
    assert first["assets"]["cutouts"] == {"train": 2, "val": 2, "test": 2}


def test_a_challenge_holds_only_composites_with_as_much_foreground_as_it_promises(dataset):
    """Panels show the same ones, and the benchmark's slices leave nothing out."""
    spec, folder = dataset
    pool, catalogue = spec.pool("test", "test", origin="user"), spec.catalogue(folder, 224)
    large = composites.render_slice(SLICES["large"], pool, catalogue, 12)
    rendered = {each.recipe.index: (each.alpha > 0.5).mean() for each in large}
    assert len(rendered) == 12 < max(rendered)
    assert all(0.40 <= share <= 0.95 for share in rendered.values())
    clean = composites.render_slice(SLICES["clean"], pool, catalogue, 12)
    assert [each.recipe.index for each in clean] == list(range(12))
    result = evaluate(Fake(nowhere), dataset, slices=tuple(CHALLENGES))
    assert list(result.masks) == ["large", "large_hard", "cast", "tone"]
    assert sorted(map(int, result.masks["large"].dice_by_index)) == sorted(rendered)[:3]
    assert result.masks["large"].difference.figure("dice") > 0.9
    panels = select_panels(Fake(nowhere), spec, folder, result, each=1)
    shown = [each for each in panels if each.slice == "large"]
    assert len(shown) == 3
    assert all(0.40 <= (each.target_alpha > 0.5).mean() <= 0.95 for each in shown)


@pytest.mark.parametrize("options", [{"slices": ("foggy",)}, {"count": 0}])
def test_wrong_arguments_are_refused(dataset, options):
    with pytest.raises(UsageError):
        judge(Fake(nowhere), dataset, **options)


def test_panels_show_the_worst_the_middle_and_the_best(dataset):
    def threshold(image, plate, plate_disparity):
        different = np.abs(image.astype(int) - (0 if plate is None else plate)).max(2) > 150
        return different.astype(np.float32)

    predictor, (spec, folder) = Fake(threshold), dataset
    result = evaluate(predictor, dataset)
    panels = select_panels(predictor, spec, folder, result, each=1)
    masks = [panel for panel in panels if panel.group == "masks"]
    assert [panel.rank for panel in masks] == ["worst", "median", "best"]
    dice = [panel.figures["dice"] for panel in masks]
    values = result.masks["clean"].dice_by_index.values()
    assert dice == sorted(dice)
    assert (dice[0], dice[-1]) == (min(values), max(values))
    for panel in masks:
        pred, target = panel.pred_alpha > 0.5, panel.target_alpha > 0.5
        found = 2 * (pred & target).sum() / (pred.sum() + target.sum())
        assert found == pytest.approx(panel.figures["dice"])
        assert panel.target_disparity is None
    depth = [panel for panel in panels if panel.group == "depth"]
    assert len(depth) == 3
    errors = [panel.figures["abs_rel"] for panel in depth]
    assert errors == sorted(errors, reverse=True)
    assert all(panel.target_disparity is not None for panel in depth)


def test_few_pictures_are_never_shown_twice(dataset):
    predictor, (spec, folder) = Fake(everywhere), dataset
    result = evaluate(predictor, dataset)
    panels = select_panels(predictor, spec, folder, result, each=2)
    indices = [panel.index for panel in panels if panel.group == "masks"]
    assert sorted(indices) == [0, 1, 2]


def test_the_package_offers_what_it_promises():
    assert sorted(package.__all__) == [
        "Evaluation",
        "Extras",
        "Panel",
        "evaluate_clips",
        "evaluate_composites",
        "evaluate_depth",
        "evaluate_distance",
        "evaluate_drawn_clips",
        "evaluate_drawn_plates",
        "evaluate_frames",
        "evaluate_held_out",
        "evaluate_labels",
        "evaluate_plates",
        "read_evaluation",
        "select_held_out_panels",
        "select_panels",
        "to_json",
    ]


def test_progress_counts_the_predictions_of_all_models(dataset):
    """So that the time left is true: the last composites take more of them than the first."""
    calls, steps = [], []

    def count_call(image, *_):
        calls.append(len(steps))
        return nowhere(image)

    evaluate(
        Fake(count_call, nowhere),
        dataset,
        others={"twin": Fake(count_call, nowhere)},
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps[0][0] == 0
    assert steps[-1] == (len(calls), len(calls))
