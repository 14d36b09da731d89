"""Whole jobs: train and export, judge and report, ``fit`` that does all, ``demo`` that shows it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskdepth.datasets.build import Dataset, compose_dataset, open_dataset
from maskdepth.datasets.shards import ShardReader, StoredDisparity
from maskdepth.devices import pick_device
from maskdepth.errors import DatasetError, DependencyError, StorageError, UsageError
from maskdepth.evaluation import Evidence, evaluate, select_panels
from maskdepth.evaluation.benchmark import FORMAT as EVALUATION_FORMAT
from maskdepth.files import make_folder, write_text
from maskdepth.images import save_png
from maskdepth.inference.model.folder import (
    ASSETS_FILE,
    CARD_FILE,
    INT8_FILE,
    LOG_FILE,
    NETWORK_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    ModelCard,
    load_log,
    read_card,
    save_card,
)
from maskdepth.inference.model.locate import SHIPPED, find_model
from maskdepth.inference.predictor import Predictor
from maskdepth.records import check_ownership, load_record
from maskdepth.report import write_report
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.recipes import sample_recipe
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1, RecipeRules, plan_rules
from maskdepth.synthesis.spec import DatasetSpec
from maskdepth.synthesis.worlds import write_sample_pack

if TYPE_CHECKING:
    from maskdepth.learning.release import Release
    from maskdepth.learning.settings import TrainingConfig

# Enough to follow a run, few enough to cost a second.
_VALIDATION_COUNT = 64
_WITHOUT_END = 2**40  # a counter-based dataset has no last sample

Notify = Callable[[str], None]


def training_rules(
    preset: str,
    size: int | None = None,
    plan: str | None = None,
    changes: Path | None = None,
) -> RecipeRules:
    """The recipes of a plan; unless told, the prior work's grid for ``seed``, else free draws.

    Args:
        size, changes: see ``plan_rules``.

    Raises:
        ConfigError: there is no plan of that name, or the file does not fit.
    """
    return plan_rules(plan or ("prior" if preset == "seed" else "free"), changes, size)


def train_model(
    dataset: Dataset,
    output: Path,
    config: TrainingConfig,
    *,
    start: str | None = None,
    per_composite: bool = False,
    resume: bool = False,
    device: str = "auto",
    tensorboard: bool = False,
    quiet: bool = False,
) -> bool:
    """Train on a dataset and leave a model folder: weights, ONNX, card, log and previews.

    Args:
        start: a model to start from: its folder, or ``"shipped"``. The card names it and keeps
            what it was trained on; a resumed run knows it already.
        per_composite: learn depth from the shards' labels, which a teacher made of each composite.

    Returns:
        Whether a signal ended the run early; its state is saved and nothing is exported then.

    Raises:
        StorageError: ``output`` holds a run and ``resume`` is off, or none and it is on.
        DatasetError: ``per_composite``, and there are no such shards.
        UsageError: ``start`` beside ``resume``.
        ModelError: ``start`` is no model, lacks its weights, or is of another preset.
    """
    _check_run(output, resume=resume, start=start)
    labels, teacher = _stored_labels(dataset) if per_composite else (None, None)
    try:
        from maskdepth.learning.dataset import CompositeDataset
        from maskdepth.learning.feed import count_workers, training_catalogue
        from maskdepth.learning.lineage import load_lineage, load_parent, save_lineage
        from maskdepth.learning.release import draft_card, starting_network, write_networks
        from maskdepth.learning.training import train
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "train") from None

    spec = dataset.spec
    workers = count_workers(config.workers, pick_device(device))
    model = None
    if start is not None:
        place = find_model(start if start == SHIPPED else Path(start))
        chosen = load_parent(place, start if start == SHIPPED else place.resolve().name)
        model = starting_network(place, chosen, config.preset)
        save_lineage(output, spec, chosen)
    elif not resume or not (output / ASSETS_FILE).exists():
        save_lineage(output, spec, None)
    parent = load_lineage(output)
    catalogue = training_catalogue(spec, dataset.folder, workers)
    samples = CompositeDataset(
        spec.rules,
        spec.pool(),
        spec.seed,
        catalogue,
        _WITHOUT_END,
        drop_plate=config.drop_plate,
        drop_plate_disparity=config.drop_plate_disparity,
        mirror=config.mirror,
        labels=labels,
    )
    validation = CompositeDataset(
        BENCHMARK_V1["clean"].at_size(spec.rules.size).with_(labelled_share=0.5),
        spec.pool("val", "val"),
        BENCHMARK_SEED,
        catalogue,
        _VALIDATION_COUNT,
        drop_plate=0.0,
        drop_plate_disparity=1.0,
    )
    result = train(
        config,
        samples,
        validation,
        output,
        fingerprint=spec.fingerprint + (f"+{teacher.version}" if teacher else ""),
        model=model,
        resume=resume,
        device=device,
        tensorboard=tensorboard,
        quiet=quiet,
    )
    if result.interrupted:
        return True
    training = {
        "steps": result.steps,
        "images": result.images,
        "seconds": round(result.seconds, 1),
        "config": config.model_dump(mode="json"),
    }
    card = draft_card(config.preset, dataset, training, teacher, parent, output / ASSETS_FILE)
    write_networks(output, card)
    return False


def _stored_labels(dataset: Dataset) -> tuple[StoredDisparity, TeacherLabel]:
    """The disparity of shards that a teacher has labelled one by one, and that teacher."""
    reader = ShardReader(dataset.folder)
    manifest = reader.manifest
    if manifest.teacher is None or manifest.fingerprint != dataset.spec.fingerprint:
        raise DatasetError(
            f"shards of this dataset in {dataset.folder} that a teacher has labelled",
            "others",
            "write them with `maskdepth label DATASET --teacher ... --per-composite N`",
        )
    return StoredDisparity(reader), manifest.teacher


def _check_run(output: Path, *, resume: bool, start: str | None) -> None:
    """An earlier run is never overwritten, only a saved one goes on, and from where it was."""
    if resume and start is not None:
        raise UsageError("--from or --resume", "both", "leave --from out: the run has started")
    if resume and not (output / STATE_FILE).exists():
        raise StorageError(f"a run to resume in {output}", "none", "leave --resume out")
    held = (STATE_FILE, WEIGHTS_FILE, NETWORK_FILE, INT8_FILE, CARD_FILE)
    if not resume and any((output / name).exists() for name in held):
        raise StorageError(
            f"no earlier run or model in {output}", "one", "choose another folder, or pass --resume"
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
) -> Release:
    """Write a model's ONNX anew from its weights, and check that both agree.

    Args:
        output: write a clean copy of the model folder there instead; see ``learning.release``.
        calibration: also write an int8 network, calibrated on this dataset.
        datasets: for the copy's list of assets: where a model without one was trained.
        licence, limits: for the card of the copy.
        half: its weights in half precision.

    Raises:
        ModelError: the folder has no weights or no card, or the two networks differ.
        UsageError: something to say in the card of a copy, and no copy.
        StorageError: ``output`` holds something else than a clean model folder.
        DependencyError: something of ``[train]`` is not installed.
    """
    if output is None and (licence is not None or limits or datasets or half):
        raise UsageError(
            "--licence, --note, --dataset and --half with --output",
            "no --output",
            "say where to write the copy",
        )
    card = read_card(folder)
    try:
        from maskdepth.learning.release import release_model, write_networks
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "train") from None

    if output is None:
        return write_networks(folder, card, calibration)
    return release_model(
        folder,
        output,
        calibration=calibration,
        datasets=datasets,
        licence=licence,
        limits=limits,
        half=half,
    )


def judge_model(
    folder: Path,
    dataset: Dataset,
    *,
    report: Path,
    against: Sequence[Path] = (),
    count: int = 500,
    evidence: Evidence | None = None,
    notify: Notify = lambda _: None,
) -> dict[str, Any]:
    """Evaluate a model folder; write the report, its JSON, and the figures into the card.

    Args:
        report: the HTML file; the JSON lies beside it under the same stem.
        against: other model folders for the same table.
        count: composites a slice.
        evidence: what to judge on beside the slices.

    Raises:
        UsageError: the report's name ends in .json.
        StorageError: there is a file in the report's or its JSON's place that no evaluation wrote.
    """
    if report.suffix == ".json":
        raise UsageError("an HTML file for the report", str(report), "end its name in .html")
    _check_report(report)
    log = load_log(folder / LOG_FILE)
    predictor = Predictor.from_pretrained(folder)
    card = predictor.card
    known = card.data.get("fingerprint") == dataset.spec.fingerprint
    learned = _held_out_but_learned(folder, card, dataset.spec)
    if not known:
        told = "it does not say whether" if learned is None else f"{learned} of them"
        notify(
            f"{folder} was trained on another dataset: 'seen' and 'unseen' are this one's; what is "
            f"held out here, and it has learned from: {told}"
        )
    others = {_name(path, against): Predictor.from_pretrained(path) for path in against}
    notify(f"judging on {count} composites a slice")
    evaluation = evaluate(
        predictor,
        dataset.spec,
        dataset.folder,
        count=count,
        others=others,
        evidence=evidence,
        progress=_tell_quarters(notify),
    )
    evaluation["trained_on_this_dataset"] = known
    evaluation["held_out_but_learned"] = learned
    panels = select_panels(predictor, dataset.spec, dataset.folder, evaluation)
    text = json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(report.with_suffix(".json"), text + "\n")
    write_report(report, evaluation, panels, log)
    if known:
        kept = {name: card.metrics[name] for name in ("int8",) if name in card.metrics}
        save_card(folder, replace(card, metrics=_main_figures(evaluation) | kept))
    return evaluation


def _held_out_but_learned(folder: Path, card: ModelCard, spec: DatasetSpec) -> int | None:
    """Assets of val and test that a model lists among its own; None where it does not list all."""
    from maskdepth.learning.lineage import load_assets

    path = folder / ASSETS_FILE
    if not path.exists() or not card.data.get("assets_complete"):
        return None
    listed = {asset.sha256 for asset in load_assets(path)}
    assets = (*spec.cutouts, *spec.backgrounds)
    return sum(asset.split != "train" and asset.sha256 in listed for asset in assets)


def _check_report(report: Path) -> None:
    """Somebody's page or JSON is not written over, and a file can be made there.

    To be called before anything is judged, which may take an hour.
    """
    figures = report.with_suffix(".json")
    ours = load_record(figures, EVALUATION_FORMAT) is not None
    check_ownership([report, figures], ours=ours)
    folder = make_folder(report.parent)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        got = error.strerror or str(error)
        raise StorageError(f"to write {report}", got, "choose another --report") from None


def _tell_quarters(notify: Notify) -> Callable[[int, int], None]:
    """A progress callback that says so at each quarter."""
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if 4 * done // total > told:
            told = 4 * done // total
            notify(f"judged {done} of {total} composites")

    return tell


def _name(model: Path, models: Sequence[Path]) -> str:
    """A model folder's own name, or its whole path where two are called the same."""
    names = [path.resolve().name for path in models]
    own = model.resolve().name
    return own if names.count(own) == 1 else str(model)


def _main_figures(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What a model card repeats of an evaluation: unseen cutouts on unseen backgrounds."""
    figures = {
        name: {
            "pictures": table["cells"]["unseen_unseen"]["pictures"],
            "mean": table["cells"]["unseen_unseen"]["mean"],
            "tuned_threshold": table["difference"]["mean"],
        }
        for name, table in evaluation["masks"].items()
    }
    return {"benchmark": evaluation["benchmark"], **figures}


def fit(
    cutouts: Path,
    backgrounds: Path,
    output: Path,
    config: TrainingConfig,
    *,
    size: int | None = None,
    plan: str | None = None,
    rules: Path | None = None,
    small: bool = False,
    strict: bool = False,
    depth_scenes: int = 60,
    count: int = 500,
    start: str | None = None,
    resume: bool = False,
    device: str = "auto",
    tensorboard: bool = False,
    quiet: bool = False,
    notify: Notify = lambda _: None,
) -> dict[str, Any] | None:
    """Compose, train, export and evaluate: two folders of assets in, a model folder out.

    Args:
        size, plan, rules: of the training composites, see ``training_rules``.
        start: a model to start from, see ``train_model``.

    Returns:
        The evaluation, or None where a signal ended the training; ``resume`` goes on then.

    Raises:
        StorageError: ``output`` holds a model or a run already and ``resume`` is off, or a report
            that no evaluation wrote.
    """
    folder = output / "dataset"
    _check_run(output, resume=resume, start=start)
    report = output / "report.html"
    _check_report(report)
    if resume:
        dataset = open_dataset(folder)
        _refuse_other_rules(dataset, config.preset, size, plan, rules)
    else:
        dataset = compose_dataset(
            cutouts,
            backgrounds,
            folder,
            rules=training_rules(config.preset, size, plan, rules),
            seed=config.seed,
            small=small,
            strict=strict,
            depth_scenes=depth_scenes,
            notify=notify,
        )
    for line in dataset.describe():
        notify(line)
    interrupted = train_model(
        dataset,
        output,
        config,
        start=start,
        resume=resume,
        device=device,
        tensorboard=tensorboard,
        quiet=quiet,
    )
    if interrupted:
        return None
    return judge_model(output, dataset, report=report, count=count, notify=notify)


def _refuse_other_rules(
    dataset: Dataset, preset: str, size: int | None, plan: str | None, changes: Path | None
) -> None:
    """A run that goes on does so with its own rules; other ones are not passed over."""
    if (size, plan, changes) == (None, None, None):
        return
    if training_rules(preset, size, plan, changes) != dataset.spec.rules:
        raise UsageError(
            f"the size, plan and rules of {dataset.folder}, with which the run began",
            "others",
            "leave them out, or begin anew in another folder",
        )


def demo(
    output: Path,
    config: TrainingConfig,
    *,
    quiet: bool = False,
    notify: Notify = lambda _: None,
) -> dict[str, Any] | None:
    """Draw a sample pack, fit on it, and predict on pairs whose assets the network never saw.

    Leaves ``pack/``, ``model/`` (with ``report.html``), ``pair/`` (a held-out picture and its
    plate), ``prediction/`` and ``grid.png``. A demo that was interrupted goes on.

    Returns:
        The evaluation, or None where a signal ended the training.
    """
    model = output / "model"
    resume = (model / STATE_FILE).exists()
    if not resume:
        write_sample_pack(output / "pack", scenes=40, cutouts=40, seed=config.seed)
        notify(f"drew 40 scenes and 40 cutouts -> {output / 'pack'}")
    evaluation = fit(
        output / "pack" / "cutouts",
        output / "pack" / "backgrounds",
        model,
        config,
        small=True,
        count=100,
        resume=resume,
        quiet=quiet,
        notify=notify,
    )
    if evaluation is None:
        return None
    dataset = open_dataset(model / "dataset")
    predictor = Predictor.from_pretrained(model)
    rules, pool = BENCHMARK_V1["clean"], dataset.spec.pool("test", "test")
    catalogue = dataset.spec.catalogue(dataset.folder, rules.size)
    rows = []
    for index in range(6):
        composite = render(sample_recipe(rules, pool, BENCHMARK_SEED, index), rules.size, catalogue)
        prediction = predictor.predict(composite.image, composite.plate)
        rows.append(np.hstack([composite.plate, prediction.preview()]))
        if index == 0:
            save_png(output / "pair" / "picture.png", composite.image)
            save_png(output / "pair" / "plate.png", composite.plate)
            prediction.save(output / "prediction", "picture")
    save_png(output / "grid.png", np.concatenate(rows))
    notify(f"a held-out pair -> {output / 'pair'}, its prediction -> {output / 'prediction'}")
    notify(f"six held-out predictions in one picture -> {output / 'grid.png'}")
    return evaluation
