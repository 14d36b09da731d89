"""Train a network on a dataset and export it as a model folder; export a folder again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskdepth.datasets.build import Dataset
from maskdepth.datasets.composite_labels import (
    CompositeLabels,
    CompositeSplit,
    load_composite_labels,
    split_composites,
)
from maskdepth.devices import pick_device
from maskdepth.errors import DependencyError, StorageError, UsageError
from maskdepth.files import remove_if_empty
from maskdepth.inference.model.card import NETWORK_FILE
from maskdepth.inference.model.folder import (
    ASSETS_FILE,
    CARD_FILE,
    INT8_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    read_card,
)
from maskdepth.inference.model.locate import SHIPPED, find_model
from maskdepth.locks import writer_lock
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.rules import BENCHMARK_V1

if TYPE_CHECKING:
    from torch import nn

    from maskdepth.learning.dataset import CompositeDataset
    from maskdepth.learning.release import Release
    from maskdepth.learning.settings import TrainingConfig

# Enough to follow a run, few enough to cost a second.
_VALIDATION_COUNT = 64


@dataclass(frozen=True)
class RunOptions:
    """How a training starts, where it computes, and what it shows; never what it learns.

    Attributes:
        start: a model to start from: its folder, or ``"shipped"``. The card names that model and
            what it was trained on.
        resume: continue the run that was saved in the output folder.
        device: see ``maskdepth.devices.pick_device``.
        tensorboard: also log for TensorBoard.
        quiet: show no progress.
        on_start: called when all is checked and prepared, before the first step.
    """

    start: str | None = None
    resume: bool = False
    device: str = "auto"
    tensorboard: bool = False
    quiet: bool = False
    on_start: Callable[[], None] = lambda: None


def train_model(
    dataset: Dataset,
    output: Path,
    config: TrainingConfig,
    options: RunOptions = RunOptions(),
    *,
    per_composite: bool = False,
) -> bool:
    """Train on a dataset and leave a model folder: weights, ONNX, card, log and previews.

    Args:
        per_composite: learn depth from labels that a teacher made of each composite, in shards or
            in ``output_depth``.

    Returns:
        Whether a signal ended the run early; its state is saved and nothing is exported then.

    Raises:
        StorageError: ``output`` holds a run and ``resume`` is off, or none and it is on; another
            run trains there.
        DatasetError: ``per_composite``, and there are no such labels.
        UsageError: ``start`` beside ``resume``.
        ModelError: ``start`` is no model, lacks its weights, or is of another preset.
    """
    check_run(output, options)
    with _run_lock(output):
        check_run(output, options)  # a run may have ended while this one waited
        return _train_locked(dataset, output, config, options, per_composite)


@contextlib.contextmanager
def _run_lock(output: Path) -> Iterator[None]:
    """One run a folder; of a run of several processes the first holds the lock."""
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    with remove_if_empty(output), writer_lock(output):  # a refused run leaves nothing behind
        yield


def _train_locked(
    dataset: Dataset,
    output: Path,
    config: TrainingConfig,
    options: RunOptions,
    per_composite: bool,
) -> bool:
    labels = load_composite_labels(dataset) if per_composite else None
    teacher = None if labels is None else labels.teacher
    split = split_composites(dataset, labels)
    try:
        from maskdepth.learning.lineage import load_lineage
        from maskdepth.learning.release import draft_card, write_networks
        from maskdepth.learning.training import train
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "train") from None

    pick_device(options.device)
    model = _load_start(dataset, output, config, options)
    parent = load_lineage(output)
    samples, validation = _training_samples(dataset, config, options.device, labels, split)
    options.on_start()
    result = train(
        config,
        samples,
        validation,
        output,
        fingerprint=_fingerprint(dataset, teacher, split),
        model=model,
        resume=options.resume,
        device=options.device,
        tensorboard=options.tensorboard,
        quiet=options.quiet,
    )
    if result.interrupted:
        return True
    training = {
        "steps": result.steps,
        "images": result.images,
        "seconds": round(result.seconds, 1),
        "config": config.model_dump(mode="json"),
    }
    if split is not None:
        training["composites"] = len(split.learned)
    card = draft_card(config.preset, dataset, training, teacher, parent, output / ASSETS_FILE)
    write_networks(output, card)
    return False


def _load_start(
    dataset: Dataset, output: Path, config: TrainingConfig, options: RunOptions
) -> nn.Module | None:
    """The network to start from, if there is one; the output's list of assets is begun."""
    from maskdepth.learning.lineage import load_parent, save_lineage
    from maskdepth.learning.release import copy_depth_network, starting_network

    if options.start is not None:
        folder, name = find_start(options.start)
        parent = load_parent(folder, name)
        model = starting_network(folder, parent, config.preset)
        save_lineage(output, dataset.spec, parent)
        copy_depth_network(folder, output)  # it knows plates better than training does
        return model
    if not options.resume or not (output / ASSETS_FILE).exists():
        save_lineage(output, dataset.spec, None)
    return None


def find_start(start: str) -> tuple[Path, str]:
    """The folder of a model to start from, and its name in cards and tables."""
    folder = find_model(SHIPPED if start == SHIPPED else Path(start))
    return folder, SHIPPED if start == SHIPPED else folder.resolve().name


def check_training(config: TrainingConfig, options: RunOptions) -> None:
    """Check, before any other work, that a training can start.

    Raises:
        DependencyError: torch or another package of the extra ``train`` is missing.
        UsageError: this machine lacks the device.
        ModelError: the model to start from is none, lacks its weights, or is of another preset.
    """
    pick_device(options.device)
    try:
        from maskdepth.learning.lineage import load_parent
        from maskdepth.learning.release import starting_network
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "train") from None

    if options.start is not None:
        folder, name = find_start(options.start)
        starting_network(folder, load_parent(folder, name), config.preset)


def _training_samples(
    dataset: Dataset,
    config: TrainingConfig,
    device: str,
    labels: CompositeLabels | None,
    split: CompositeSplit | None,
) -> tuple[CompositeDataset, CompositeDataset]:
    """The composites to train on, and those to validate on."""
    from maskdepth.learning.dataset import benchmark_samples, held_out_samples, training_samples
    from maskdepth.learning.feed import count_workers, training_catalogue

    spec = dataset.spec
    workers = count_workers(config.workers, pick_device(device))
    catalogue = training_catalogue(spec, dataset.folder, workers)
    disparity = None if labels is None else labels.disparity
    if split is not None:
        return (
            training_samples(spec, catalogue, config, disparity, split.learned),
            held_out_samples(spec, catalogue, disparity, split.held_out[:_VALIDATION_COUNT]),
        )
    rules = BENCHMARK_V1["clean"].with_(labelled_share=0.5)
    return (
        training_samples(spec, catalogue, config, disparity),
        benchmark_samples(spec, catalogue, rules, _VALIDATION_COUNT),
    )


def _fingerprint(
    dataset: Dataset, teacher: TeacherLabel | None, split: CompositeSplit | None
) -> str:
    """What a run learns from: it resumes only with the same."""
    labels = "" if teacher is None else f"+{teacher.version}"
    return dataset.spec.fingerprint + labels + (f"/{len(split.learned)}" if split else "")


def check_run(output: Path, options: RunOptions) -> None:
    """Check that a run may begin or continue in a folder, without overwriting an earlier one.

    Raises:
        UsageError: a run that continues cannot start from another model.
        StorageError: there is no run to resume, or an earlier one and ``resume`` is off.
    """
    if options.resume and options.start is not None:
        raise UsageError(
            "--from or --resume", "both", "", "Leave --from out: the run has started already."
        )
    if options.resume and not (output / STATE_FILE).exists():
        raise StorageError(
            f"a run to resume in {output}",
            "none",
            "leave --resume out",
            f"{output} holds no run to resume.",
        )
    files = (STATE_FILE, WEIGHTS_FILE, NETWORK_FILE, INT8_FILE, CARD_FILE)
    if not options.resume and any((output / name).exists() for name in files):
        raise StorageError(
            f"no earlier run or model in {output}",
            "one",
            "choose another folder, or pass --resume",
            f"{output} holds an earlier run or model.",
        )


def export_model(
    folder: Path,
    output: Path | None = None,
    *,
    calibration: Dataset | None = None,
    datasets: Sequence[Path] = (),
    licence: str | None = None,
    limits: Sequence[str] = (),
    half: bool = False,
    depth_network: Path | None = None,
) -> Release:
    """Write a model's ONNX again from its weights, and check that both agree.

    Args:
        folder: the model folder, or ``shipped``, which can only be copied.
        output: write a clean copy of the model folder there instead; see ``learning.release``.
        calibration: also write an int8 network, calibrated on this dataset.
        datasets: for the copy's list of assets: where a model without one was trained.
        licence, limits: for the card of the copy.
        half: the copy's weights are in half precision.
        depth_network: for the copy, a folder or ``shipped``; see ``learning.release``.

    Raises:
        ModelError: the folder has no weights or no card, or the two networks differ.
        UsageError: an option of a copy is given without ``output``, or the model is the package's.
        StorageError: ``output`` holds something else than a clean model folder.
        DependencyError: something of ``[train]`` is not installed.
    """
    if output is None and (licence is not None or limits or datasets or half or depth_network):
        raise UsageError(
            "--licence, --note, --dataset, --half and --depth-network with --output",
            "no --output",
            "say where to write the copy",
            "--licence, --note, --dataset, --half and --depth-network describe a copy and need "
            "--output.",
        )
    model = find_model(folder)
    if output is None and model != folder:
        raise UsageError(
            "--output with the shipped model",
            "none",
            "say with -o where to write a copy",
            "The shipped model is a part of the package and stays as it is.",
        )
    card = read_card(model)
    try:
        from maskdepth.learning.release import release_model, write_networks
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "train") from None

    if output is None:
        return write_networks(model, card, calibration)
    return release_model(
        model,
        output,
        calibration=calibration,
        datasets=datasets,
        licence=licence,
        limits=limits,
        half=half,
        depth_network=None if depth_network is None else find_model(depth_network),
    )
