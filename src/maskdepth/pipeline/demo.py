"""``demo``: the shipped model on drawn pictures, and what fitting to such pictures adds.

It has two parts. `show_shipped` needs no torch: it draws scenes and cutouts and shows what the
shipped model makes of them. `fit_shipped` goes on training that model on a pack of another seed,
and judges both on the composites of the first part, which neither was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.datasets.build import Dataset, compose_dataset, open_dataset
from maskdepth.depth import colourise
from maskdepth.evaluation.baselines import Baseline, tune_baselines
from maskdepth.evaluation.composites import render_benchmark
from maskdepth.images import save_png
from maskdepth.inference.model.folder import STATE_FILE
from maskdepth.inference.predictor import Predictor
from maskdepth.metrics import mask_metrics
from maskdepth.pipeline.fitting import DatasetOptions, fit
from maskdepth.pipeline.training import RunOptions
from maskdepth.progress import Notify, notify_quarters
from maskdepth.synthesis.renderer import Composite
from maskdepth.synthesis.rules import BENCHMARK_V1
from maskdepth.synthesis.spec import SPEC_FILE
from maskdepth.synthesis.worlds import write_sample_pack

if TYPE_CHECKING:
    from maskdepth.learning.settings import TrainingConfig

_RULES: Final = BENCHMARK_V1["hard"]  # shadow, other light, a plate that has moved, noise
_PACK: Final = 18  # scenes and cutouts to show and to compare on
_TRAINING_PACK: Final = 40  # scenes and cutouts to train on
_SHOWN: Final = 4  # composites in the picture
_JUDGED: Final = 60  # composites that methods are compared on
_TUNED: Final = 40  # composites that the threshold is tuned on
_THRESHOLD: Final = "difference_registered"
_WORTH: Final = 0.001  # Dice; a smaller gain is none
_HEADER_PX: Final = 22


@dataclass(frozen=True)
class Shown:
    """The first part of the demo.

    Attributes:
        dataset: of drawn scenes and cutouts that no model was trained on.
        threshold: a threshold on |picture - plate|, tuned on some of its composites.
        picture: the file that shows what model and threshold find.
    """

    dataset: Dataset
    threshold: Baseline
    picture: Path

    def composites(self, count: int) -> list[Composite]:
        """The composites that methods are compared on; none of the threshold's are among them."""
        spec = self.dataset.spec
        catalogue = spec.catalogue(self.dataset.folder, _RULES.size)
        return list(render_benchmark(_RULES, spec.pool(), catalogue, count))


def show_shipped(output: Path, seed: int, notify: Notify) -> Shown:
    """Draw pairs, and show what the shipped model and a tuned threshold find in them.

    Leaves ``shown/`` (scenes, cutouts and their dataset), ``pair/`` (a picture and its plate),
    ``prediction/`` and ``shipped.png``. What an earlier call has shown is not shown again.
    """
    pack, picture = output / "shown", output / "shipped.png"
    if picture.exists() and (pack / "dataset" / SPEC_FILE).exists():
        dataset = open_dataset(pack / "dataset")
        if dataset.spec.seed == seed + 1:
            return Shown(dataset, _tune_threshold(dataset), picture)
    drawn = notify_quarters(notify, "drew {done} of {total} pictures to show")
    write_sample_pack(pack, scenes=_PACK, cutouts=_PACK, seed=seed + 1, on_progress=drawn)
    notify(f"comparing the shipped model and a tuned threshold on {_JUDGED} pairs")
    dataset = compose_dataset(
        pack / "cutouts",
        pack / "backgrounds",
        pack / "dataset",
        seed=seed + 1,
        small=True,
        depth_scenes=0,
    )
    shown = Shown(dataset, _tune_threshold(dataset), picture)
    predictor = Predictor.from_pretrained()
    rows = []
    for number, composite in enumerate(shown.composites(_SHOWN)):
        prediction = predictor.predict(composite.image, composite.plate)
        rows.append(
            {
                "plate": composite.plate,
                "picture": composite.image,
                "cutout": prediction.composite("#20a040"),
                "alpha": _grey(prediction.alpha),
                "depth": colourise(prediction.disparity),
                "tuned threshold": _grey(shown.threshold.predict(composite)),
            }
        )
        if number == 0:
            save_png(output / "pair" / "picture.png", composite.image)
            save_png(output / "pair" / "plate.png", composite.plate)
            prediction.save(output / "prediction", "picture")
    save_png(shown.picture, labelled_table(rows))
    dice = compare(shown, {"the shipped model": predictor})
    notify(_sentence(dice))
    notify(f"{_SHOWN} of these pairs and what was found in them -> {shown.picture}")
    notify(f"one pair -> {output / 'pair'}, its prediction -> {output / 'prediction'}")
    return shown


def _tune_threshold(dataset: Dataset) -> Baseline:
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder, _RULES.size)
    composites = render_benchmark(_RULES, spec.pool("val", "val"), catalogue, _TUNED)
    return tune_baselines(composites, [_THRESHOLD])[_THRESHOLD]


def fit_shipped(
    output: Path, shown: Shown, config: TrainingConfig, *, quiet: bool, notify: Notify
) -> bool:
    """Go on training the shipped model on a drawn pack, and say what that bought.

    Leaves ``pack/`` and ``model/`` (with ``report.html``). A demo that was interrupted continues.

    Returns:
        False where a signal ended the training.
    """
    model, pack = output / "model", output / "pack"
    resume = (model / STATE_FILE).exists()
    options = RunOptions(start=None if resume else "shipped", resume=resume, quiet=quiet)
    if not resume:
        drawn = notify_quarters(notify, "drew {done} of {total} pictures to train on")
        count = _TRAINING_PACK
        write_sample_pack(pack, scenes=count, cutouts=count, seed=config.seed, on_progress=drawn)
    assets = DatasetOptions(pack / "cutouts", pack / "backgrounds", plan="field", small=True)
    if fit(assets, model, config, options, count=_JUDGED, notify=notify) is None:
        return False
    predictors = {
        "the shipped model": Predictor.from_pretrained(),
        "the fitted model": Predictor.from_pretrained(model),
    }
    dice = compare(shown, predictors)
    notify(_sentence(dice))
    before, after = (dice[name] for name in predictors)
    if after - before < _WORTH:
        notify(
            "Fitting bought nothing here: the shipped model has learned from drawn scenes like "
            "these before. It pays for scenes that are unlike what a model knows."
        )
    else:
        notify(f"Fitting bought {after - before:.3f} of Dice on scenes it was not fitted to.")
    return True


def compare(shown: Shown, predictors: Mapping[str, Predictor]) -> dict[str, float]:
    """Mean Dice of models and of the threshold on the same composites."""
    scores: dict[str, list[float]] = {name: [] for name in (*predictors, "a tuned threshold")}
    for composite in shown.composites(_JUDGED):
        masks = {
            name: predictor.predict(composite.image, composite.plate).alpha
            for name, predictor in predictors.items()
        }
        masks["a tuned threshold"] = shown.threshold.predict(composite)
        for name, alpha in masks.items():
            scores[name].append(mask_metrics(alpha, composite.alpha)["dice"])
    return {name: float(np.mean(values)) for name, values in scores.items()}


def labelled_table(rows: list[dict[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Rows of pictures (H, W, 3) of one size, with the columns' names above."""
    width = next(iter(rows[0].values())).shape[1]
    cells = []
    for name in rows[0]:
        cell = np.full((_HEADER_PX, width, 3), 255, np.uint8)
        cv2.putText(cell, name, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        cells.append(cell)
    return np.vstack([np.hstack(cells), *(np.hstack(list(row.values())) for row in rows)])


def _grey(alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.repeat(np.rint(alpha * 255).astype(np.uint8)[..., None], 3, axis=2)


def _sentence(dice: Mapping[str, float]) -> str:
    figures = ", ".join(f"{name} {value:.3f}" for name, value in dice.items())
    return f"mean Dice on {_JUDGED} drawn pairs with shadows, noise and a moved plate: {figures}"
