"""Whole jobs: train and export, judge and report, ``fit`` that does all, ``demo`` that shows it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskdepth import __version__
from maskdepth.errors import DatasetError, DependencyError, StorageError, UsageError
from maskdepth.evaluation import Evidence, evaluate, select_panels
from maskdepth.images import save_png, write_text
from maskdepth.inference.model_folder import (
    LOG_FILE,
    NETWORK_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    ModelCard,
    file_checksum,
    read_card,
    save_card,
)
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.build import Dataset, compose_dataset, open_dataset
from maskdepth.labelling.storage import ShardReader, StoredDisparity, per_composite_label
from maskdepth.labelling.teachers.devices import pick_device
from maskdepth.report import write_report
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.recipes import sample_recipe
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1, RecipeRules, plan_rules
from maskdepth.synthesis.worlds import write_sample_pack

if TYPE_CHECKING:
    from maskdepth.learning.settings import TrainingConfig

# Enough to follow a run, few enough to cost a second.
_VALIDATION_COUNT = 64
_WITHOUT_END = 2**40  # a counter-based dataset has no last sample

Notify = Callable[[str], None]


def training_rules(
    preset: str, size: int = 224, plan: str | None = None, changes: Path | None = None
) -> RecipeRules:
    """The recipes of a plan; unless told, the prior work's grid for ``seed``, else free draws.

    Args:
        changes: a YAML file with what is to be otherwise than in the plan.

    Raises:
        ConfigError: there is no plan of that name, or the file does not fit.
    """
    return plan_rules(plan or ("prior" if preset == "seed" else "free"), changes).at_size(size)


def train_model(
    dataset: Dataset,
    output: Path,
    config: TrainingConfig,
    *,
    per_composite: bool = False,
    resume: bool = False,
    device: str = "auto",
    tensorboard: bool = False,
    quiet: bool = False,
) -> bool:
    """Train on a dataset and leave a model folder: weights, ONNX, card, log and previews.

    Args:
        per_composite: learn depth from the shards' labels, which a teacher made of each composite.

    Returns:
        Whether a signal ended the run early; its state is saved and nothing is exported then.

    Raises:
        StorageError: ``output`` holds a run and ``resume`` is off, or none and it is on.
        DatasetError: ``per_composite``, and there are no such shards.
    """
    _check_run(output, resume=resume)
    labels, teacher = _stored_labels(dataset) if per_composite else (None, None)
    try:
        from maskdepth.learning.dataset import CompositeDataset
        from maskdepth.learning.feed import catalogue_memory_mb, count_workers
        from maskdepth.learning.training import train
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "train") from None

    spec = dataset.spec
    workers = count_workers(config.workers, pick_device(device))
    catalogue = spec.catalogue(dataset.folder, memory_mb=catalogue_memory_mb(workers))
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
    _export(output, _draft_card(config.preset, dataset, training, teacher))
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


def _check_run(output: Path, *, resume: bool) -> None:
    """An earlier run is never overwritten, and only a saved one goes on."""
    if resume and not (output / STATE_FILE).exists():
        raise StorageError(f"a run to resume in {output}", "none", "leave --resume out")
    if not resume and any((output / name).exists() for name in (STATE_FILE, WEIGHTS_FILE)):
        raise StorageError(
            f"no earlier run in {output}", "one", "choose another folder, or pass --resume"
        )


def _draft_card(
    preset: str, dataset: Dataset, training: dict[str, Any], teacher: TeacherLabel | None
) -> ModelCard:
    """What is known of a model before its files: exporting adds their checksums.

    Args:
        teacher: who labelled each composite, if a teacher did.
    """
    from maskdepth.learning.model import PRESETS, build_model, count_weights

    spec = dataset.spec
    teachers = spec.teachers + ([] if teacher is None else [teacher])
    used = [asset for asset in (*spec.cutouts, *spec.backgrounds) if asset.split == "train"]
    return ModelCard(
        preset=preset,
        fixed_size=PRESETS[preset].fixed_size,
        training_size=spec.rules.size,
        depth=spec.depth_kind if teacher is None else per_composite_label(teacher),
        maskdepth=__version__,
        sha256={},
        weights=count_weights(build_model(preset)),
        training=training,
        data={
            "cutouts": len(spec.cutouts),
            "backgrounds": len(spec.backgrounds),
            "trained_on": len(used),
            "licences": sorted({asset.licence or "unknown" for asset in used}),
            "teachers": [each.model_dump(mode="json") for each in teachers],
            "flagged_labels": len(spec.flagged),
            "fingerprint": spec.fingerprint,
        },
    )


def export_model(folder: Path) -> float:
    """Write a model folder's ONNX anew from its weights, and check that both agree.

    Returns:
        The largest difference between the two, over alpha and disparity.

    Raises:
        ModelError: the folder has no weights or no card, or the two networks differ.
    """
    return _export(folder, read_card(folder))


def _export(folder: Path, card: ModelCard) -> float:
    try:
        from maskdepth.learning.checkpoint import load_weights
        from maskdepth.learning.export import check_parity, export_onnx
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "train") from None

    model, _ = load_weights(folder / WEIGHTS_FILE)
    # A network that differs must not take the place of one that works.
    draft = folder / f".{NETWORK_FILE}.part"
    try:
        export_onnx(model, card.preset, draft)
        difference = check_parity(model, card.preset, draft)
        draft.replace(folder / NETWORK_FILE)
    finally:
        draft.unlink(missing_ok=True)
    files = {name: file_checksum(folder / name) for name in (WEIGHTS_FILE, NETWORK_FILE)}
    save_card(folder, replace(card, sha256=files))
    return difference


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
    """
    if report.suffix == ".json":
        raise UsageError("an HTML file for the report", str(report), "end its name in .html")
    predictor = Predictor.from_pretrained(folder)
    card = predictor.card
    known = card.data.get("fingerprint") == dataset.spec.fingerprint
    if not known:
        notify(f"{folder} was trained on another dataset: 'seen' and 'unseen' are this one's")
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
    panels = select_panels(predictor, dataset.spec, dataset.folder, evaluation)
    text = json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(report.with_suffix(".json"), text + "\n")
    write_report(report, evaluation, panels, _read_log(folder / LOG_FILE))
    if known:
        save_card(folder, replace(card, metrics=_main_figures(evaluation)))
    return evaluation


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


def _read_log(path: Path) -> list[dict[str, Any]] | None:
    """The rows of a run's log, but for one that a crash tore; None where there is no log."""
    if not path.exists():
        return None
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


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
    size: int = 224,
    plan: str | None = None,
    rules: Path | None = None,
    small: bool = False,
    strict: bool = False,
    depth_scenes: int = 60,
    count: int = 500,
    resume: bool = False,
    device: str = "auto",
    tensorboard: bool = False,
    quiet: bool = False,
    notify: Notify = lambda _: None,
) -> dict[str, Any] | None:
    """Compose, train, export and evaluate: two folders of assets in, a model folder out.

    Args:
        plan, rules: of the training composites, see ``training_rules``.

    Returns:
        The evaluation, or None where a signal ended the training; ``resume`` goes on then.

    Raises:
        StorageError: ``output`` holds a model or a run already and ``resume`` is off.
    """
    folder = output / "dataset"
    _check_run(output, resume=resume)
    if resume:
        dataset = open_dataset(folder)
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
        resume=resume,
        device=device,
        tensorboard=tensorboard,
        quiet=quiet,
    )
    if interrupted:
        return None
    return judge_model(output, dataset, report=output / "report.html", count=count, notify=notify)


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
