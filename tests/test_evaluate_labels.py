"""A teacher's labels of composites, held against its labels of plates and against layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from command_line import Run
from maskdepth.datasets.build import Dataset, compose_dataset
from maskdepth.errors import UsageError
from maskdepth.evaluation import evaluate_labels, to_json
from maskdepth.evaluation.labels import LabelComparison
from maskdepth.labelling.teachers import TeacherInfo
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.worlds import write_sample_pack

COUNT = 24

Floats = NDArray[np.float32]
LabelMaker = Callable[[Composite, np.random.Generator], Floats]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("labels")
    pack = write_sample_pack(folder / "pack", scenes=4, cutouts=3, seed=3)
    rules = RecipeRules().at_size(96).with_(labelled_share=None, coverage=(0.02, 0.3))
    return compose_dataset(
        pack.cutouts, pack.backgrounds, folder / "dataset", rules=rules, small=True
    )


@pytest.fixture(scope="module")
def composites(dataset: Dataset) -> list[Composite]:
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder)
    recipes = sample_recipes(spec.rules, spec.pool(), spec.seed, 0, COUNT)
    return [render(recipe, spec.rules.size, catalogue) for recipe in recipes]


class Rememberer:
    """A teacher that knows the exact plates, and of each composite the map it is given."""

    info = TeacherInfo("rememberer", "v1", "inverse depth", "relative", None, None, "CC0-1.0")

    def __init__(self, composites: Sequence[Composite], label: LabelMaker) -> None:
        rng = np.random.default_rng(5)
        self._maps: dict[bytes, Floats] = {}
        for each in composites:
            self._maps[each.plate.tobytes()] = np.nan_to_num(_plate(each))
            self._maps[each.image.tobytes()] = np.nan_to_num(label(each, rng))

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Floats]:
        return [self._maps[picture.tobytes()] for picture in pictures]


def _plate(composite: Composite) -> Floats:
    assert composite.plate_disparity is not None
    return composite.plate_disparity


def layered(composite: Composite, _: np.random.Generator) -> Floats:
    """Everything, at another scale."""
    assert composite.disparity is not None
    return np.float32(0.5) * composite.disparity


def blind(composite: Composite, rng: np.random.Generator) -> Floats:
    """The plate again, with some noise."""
    plate = _plate(composite)
    return plate + rng.normal(0, 0.01, plate.shape).astype(np.float32)


def behind(composite: Composite, _: np.random.Generator) -> Floats:
    """Objects as holes in the plate, before the sky too."""
    return _plate(composite) - np.float32(0.5) * (composite.alpha > 0.5)


def judged(dataset: Dataset, composites: Sequence[Composite], label: LabelMaker) -> LabelComparison:
    return evaluate_labels(Rememberer(composites, label), dataset.spec, dataset.folder, count=COUNT)


def test_a_teacher_that_sees_everything_misses_nothing(
    dataset: Dataset, composites: list[Composite]
) -> None:
    found = judged(dataset, composites, layered)
    objects, layers = found.objects.mean, found.layers.mean
    assert found.objects.pictures + found.empty + found.flagged == COUNT
    assert found.objects.pictures > COUNT / 2
    assert (objects["missed"], objects["within_noise"], objects["in_front"]) == (0, 0, 1)
    for region in ("inside", "ring", "elsewhere"):
        assert layers[f"difference_{region}"] < 1e-4
    assert layers["ordinal_whole"] == pytest.approx(1, abs=0.01)


def test_a_blind_teacher_misses_what_chance_would(
    dataset: Dataset, composites: list[Composite]
) -> None:
    """About half of the objects by the median, nearly all by its noise; as the control says."""
    found = judged(dataset, composites, blind)
    objects, layers = found.objects.mean, found.layers.mean
    assert 0.2 < objects["missed"] < 0.8
    assert objects["within_noise"] == 1
    assert objects["control_within_noise"] == 1
    assert layers["difference_inside"] > 10 * layers["difference_elsewhere"]


def test_objects_that_come_out_behind_the_plate_are_counted(
    dataset: Dataset, composites: list[Composite]
) -> None:
    objects = judged(dataset, composites, behind).objects.mean
    assert (objects["missed"], objects["in_front"]) == (0, 0)


def test_the_result_is_json_and_a_count_is_needed(
    dataset: Dataset, composites: list[Composite]
) -> None:
    found = judged(dataset, composites, layered)
    values = to_json(found)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert found.layers_from == {"exact": 4}
    with pytest.raises(UsageError, match="count of 1 or more"):
        evaluate_labels(Rememberer([], layered), dataset.spec, dataset.folder, count=0)


def test_depth_files_are_no_teacher_of_composites(dataset: Dataset, run: Run) -> None:
    done = run("evaluate", "labels", dataset.folder, "--teacher", "exact")
    assert (done.code, "The teacher must be a network here" in done.err) == (2, True)


def test_fastdepth_is_asked_on_the_command_line(
    dataset: Dataset, shared_data: Path, run: Run
) -> None:
    teacher = shared_data / "teacher" / "fastdepth_224_int8.onnx"
    if not teacher.is_file():
        pytest.skip("no FastDepth here")
    call = ("-q", "evaluate", "labels", dataset.folder, "--teacher", teacher, "--count", "6")
    code, out, _ = run(*call)
    assert code == 0
    found = json.loads(out)
    assert found["teacher"].startswith("fastdepth_224_int8 ")
    assert found["objects"]["pictures"] + found["empty"] + found["flagged"] == 6
