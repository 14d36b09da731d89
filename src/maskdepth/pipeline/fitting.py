"""``fit``: two folders of assets become a model folder."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maskdepth.datasets.build import Dataset, compose_dataset, open_dataset
from maskdepth.errors import MaskdepthError, UsageError
from maskdepth.evaluation import Evaluation
from maskdepth.files import remove_if_empty
from maskdepth.inference.model.folder import (
    LOG_FILE,
    WEIGHTS_FILE,
    load_log,
    load_model_folder,
)
from maskdepth.pipeline.judging import check_report, judge_model
from maskdepth.pipeline.training import (
    RunOptions,
    check_run,
    check_training,
    find_start,
    train_model,
)
from maskdepth.progress import Notify
from maskdepth.synthesis.panoramas import VIEWS
from maskdepth.synthesis.rules import RecipeRules, plan_rules

if TYPE_CHECKING:
    from maskdepth.learning.settings import TrainingConfig

MIN_COUNT: Final = 60
"""Composites a slice to judge on, at least, unless a number is asked for."""

_MAX_COUNT: Final = 500
_COUNT_PER_SECOND = 0.25  # of training: two models on three slices then take about a third of it


@dataclass(frozen=True)
class DatasetOptions:
    """The assets to fit on, and how composites are made of them.

    Attributes:
        cutouts, backgrounds: folders of pictures.
        size, plan, rules: of the composites, see ``plan_rules``. Without a plan the preset
            ``prior`` has the prior work's grid, and any other has free draws.
        small, strict, depth_scenes, views: see ``compose_dataset``.
    """

    cutouts: Path
    backgrounds: Path
    size: int | None = None
    plan: str | None = None
    rules: Path | None = None
    small: bool = False
    strict: bool = False
    depth_scenes: int = 60
    views: int = VIEWS

    def training_rules(self, preset: str) -> RecipeRules:
        """The rules of the composites that a preset is trained on.

        Raises:
            ConfigError: there is no plan of that name, or the file of rules does not fit.
        """
        plan = self.plan or ("prior" if preset == "prior" else "free")
        return plan_rules(plan, self.rules, self.size)


def fit(
    assets: DatasetOptions,
    output: Path,
    config: TrainingConfig,
    options: RunOptions,
    *,
    count: int | None = None,
    notify: Notify = lambda _: None,
) -> Evaluation | None:
    """Compose, train, export and evaluate: two folders of assets in, a model folder out.

    Arguments that cannot be used are found before any work, and nothing is left behind then.

    Args:
        count: composites a slice to judge on; None: as many as are judged in about a third of the
            time that the training took, from 60 to 500.

    Returns:
        The evaluation, or None where a signal ended the training; ``resume`` continues it.

    Raises:
        StorageError: ``output`` holds a model or a run already and ``resume`` is off, or a report
            that no evaluation wrote.
    """
    check_run(output, options)
    check_training(config, options)
    report, folder = output / "report.html", output / "dataset"
    with remove_if_empty(folder):
        check_report(report)
        dataset = _open_dataset(assets, folder, config, options.resume, notify)
    for line in dataset.describe():
        notify(line)
    if train_model(dataset, output, config, options):
        return None
    return judge_model(
        output,
        dataset,
        report=report,
        parent=_parent(output),
        count=count or _count_for(output),
        notify=notify,
    )


def _parent(output: Path) -> tuple[str, Path] | None:
    """Name and folder of the model that a training started from; None where it is not at hand."""
    from maskdepth.learning.lineage import load_lineage

    parent = load_lineage(output)
    if parent is None:
        return None
    with suppress(MaskdepthError):
        folder, name = find_start(parent.model)
        if load_model_folder(folder).sha256.get(WEIGHTS_FILE) == parent.sha256:
            return name, folder
    return None


def _count_for(output: Path) -> int:
    """Composites a slice that are judged in about a third of the training's time."""
    seconds = (load_log(output / LOG_FILE) or [{}])[-1].get("seconds") or 0
    return min(_MAX_COUNT, max(MIN_COUNT, round(_COUNT_PER_SECOND * float(seconds))))


def _open_dataset(
    assets: DatasetOptions, folder: Path, config: TrainingConfig, resume: bool, notify: Notify
) -> Dataset:
    """The dataset to train on: composed now, or the one that the resumed run began with."""
    if not resume:
        return compose_dataset(
            assets.cutouts,
            assets.backgrounds,
            folder,
            rules=assets.training_rules(config.preset),
            seed=config.seed,
            small=assets.small,
            strict=assets.strict,
            depth_scenes=assets.depth_scenes,
            views=assets.views,
            notify=notify,
        )
    dataset = open_dataset(folder)
    given = (assets.size, assets.plan, assets.rules) != (None, None, None)
    if given and assets.training_rules(config.preset) != dataset.spec.rules:
        raise UsageError(
            f"the size, plan and rules of {folder}, with which the run began",
            "others",
            "leave them out, or begin in another folder",
            f"The run began with another size, plan or rules: those of {folder}.",
        )
    return dataset
