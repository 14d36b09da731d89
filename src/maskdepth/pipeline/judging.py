"""Judge a model on a dataset: the report, its JSON, and the main figures in the model's card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskdepth.datasets.build import Dataset
from maskdepth.errors import StorageError, UsageError, first_line
from maskdepth.evaluation import (
    Evaluation,
    Extras,
    evaluate_composites,
    evaluate_held_out,
    select_held_out_panels,
    select_panels,
    to_json,
)
from maskdepth.evaluation.benchmark import FORMAT as EVALUATION_FORMAT
from maskdepth.evaluation.benchmark import check_arguments
from maskdepth.files import make_folder, remove_if_empty, write_text
from maskdepth.inference.model.card import ModelCard
from maskdepth.inference.model.folder import ASSETS_FILE, LOG_FILE, load_log, save_card
from maskdepth.inference.predictor import Predictor
from maskdepth.progress import Notify, notify_quarters
from maskdepth.records import Json, check_ownership, load_record
from maskdepth.report import write_report
from maskdepth.synthesis.rules import BENCHMARK_V1
from maskdepth.synthesis.spec import DatasetSpec, count_splits


def judge_model(
    folder: Path,
    dataset: Dataset,
    *,
    report: Path,
    against: Sequence[Path] = (),
    parent: tuple[str, Path] | None = None,
    count: int = 500,
    slices: Sequence[str] = tuple(BENCHMARK_V1),
    extras: Extras | None = None,
    notify: Notify = lambda _: None,
) -> Evaluation:
    """Evaluate a model folder; write the report, its JSON, and the figures into the card.

    Args:
        report: the HTML file; the JSON lies beside it under the same stem.
        against: other model folders for the same table.
        parent: name and folder of the model that the training started from, for the table too.
        count: composites a slice.
        slices: see `evaluate_composites`; without one of the benchmark's, the card stays as it is.
        extras: what to evaluate beside the slices.

    Raises:
        UsageError: the report's name does not end in .html or .htm; as `evaluate_composites`.
        StorageError: there is a file in the report's or its JSON's place that no evaluation wrote.
    """
    if report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            "an HTML file for the report",
            str(report),
            "end its name in .html",
            f"The report is HTML, which the name {report} does not say.",
        )
    check_arguments(slices, count, extras or Extras())
    check_report(report)
    log = load_log(folder / LOG_FILE)
    predictor = Predictor.from_pretrained(folder)
    card = predictor.card
    same_dataset = card.data.get("fingerprint") == dataset.spec.fingerprint
    learned = _count_learned(folder, card, dataset.spec)
    if not same_dataset:
        count_learned = "an unknown number" if learned is None else str(learned)
        notify(
            f"{folder} was trained on another dataset, and 'seen' and 'unseen' are of this one: "
            f"the model has learned from {count_learned} of the assets that are held out here"
        )
    others = {_short_name(path, against): Predictor.from_pretrained(path) for path in against}
    if parent is not None:
        others = {f"{parent[0]}, where it started": Predictor.from_pretrained(parent[1]), **others}
    notify(f"judging on {count} composites a slice")
    evaluation = evaluate_composites(
        predictor,
        dataset.spec,
        dataset.folder,
        count=count,
        slices=slices,
        others=others,
        extras=extras,
        progress=notify_quarters(notify, "made {done} of {total} predictions"),
    )
    evaluation = replace(
        evaluation,
        trained_on_this_dataset=same_dataset,
        held_out_but_learned=learned,
        drawn_backgrounds=count_splits(
            asset for asset in dataset.spec.backgrounds if asset.origin == "sample"
        ),
        held_out=evaluate_held_out(
            predictor,
            dataset,
            count,
            notify_quarters(notify, "judged {done} of {total} held-out composites"),
        ),
    )
    panels = select_panels(predictor, dataset.spec, dataset.folder, evaluation)
    panels += select_held_out_panels(predictor, dataset, evaluation.held_out)
    text = json.dumps(to_json(evaluation), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(report.with_suffix(".json"), text + "\n")
    write_report(report, evaluation, panels, log)
    if same_dataset and set(BENCHMARK_V1) <= set(slices):
        kept = {name: card.metrics[name] for name in ("int8",) if name in card.metrics}
        save_card(folder, replace(card, metrics=_main_figures(evaluation) | kept))
    return evaluation


def _count_learned(folder: Path, card: ModelCard, spec: DatasetSpec) -> int | None:
    """How many assets of val and test the model was trained on; None where its list has gaps."""
    from maskdepth.learning.lineage import load_assets

    path = folder / ASSETS_FILE
    if not path.exists() or not card.data.get("assets_complete"):
        return None
    listed = {asset.sha256 for asset in load_assets(path)}
    assets = (*spec.cutouts, *spec.backgrounds)
    return sum(asset.split != "train" and asset.sha256 in listed for asset in assets)


def check_report(report: Path) -> None:
    """Check that a report can be written and replaces no file but an earlier report.

    To be called before anything is judged, which may take an hour.

    Raises:
        StorageError: a file of somebody else is in its place, or none can be made there.
    """
    figures = report.with_suffix(".json")
    ours = load_record(figures, EVALUATION_FORMAT) is not None
    check_ownership([report, figures], ours=ours)
    with remove_if_empty(report.parent):
        folder = make_folder(report.parent)
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            got = first_line(error)
            raise StorageError(
                f"to write {report}",
                got,
                "choose another --report",
                f"{report} cannot be written: {got}.",
            ) from None


def _short_name(model: Path, models: Sequence[Path]) -> str:
    """A model folder's own name, or its full path where two have the same name."""
    names = [path.resolve().name for path in models]
    own = model.resolve().name
    return own if names.count(own) == 1 else str(model)


def _main_figures(evaluation: Evaluation) -> Json:
    """The figures for the model card: unseen cutouts on unseen backgrounds."""
    figures = {
        name: {
            "pictures": table.cells.unseen_unseen.pictures,
            "mean": table.cells.unseen_unseen.mean,
            "tuned_threshold": table.difference.mean,
        }
        for name, table in evaluation.masks.items()
    }
    held_out = {} if evaluation.held_out is None else {"held_out": to_json(evaluation.held_out)}
    return {"benchmark": to_json(evaluation.benchmark), **figures, **held_out}
