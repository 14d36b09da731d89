"""Model folders: the card of a trained network, its networks for prediction, a clean copy."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from torch import nn

from maskdepth._version import __version__
from maskdepth.datasets.build import Dataset
from maskdepth.datasets.shards.samples import per_composite_label
from maskdepth.errors import ModelError, StorageError, UsageError
from maskdepth.files import file_checksum, make_folder
from maskdepth.inference.model.card import NETWORK_FILE, NO_DEPTH, ModelCard
from maskdepth.inference.model.folder import (
    ASSETS_FILE,
    CARD_FILE,
    DEPTH_NETWORK_FILES,
    INT8_FILE,
    WEIGHTS_FILE,
    check_file,
    read_card,
    save_card,
)
from maskdepth.learning.checkpoint import load_weights, save_weights
from maskdepth.learning.dataset import CompositeDataset, benchmark_samples
from maskdepth.learning.export import check_parity, export_onnx
from maskdepth.learning.lineage import (
    Parent,
    complete_assets,
    count_assets,
    depth_after,
    describe_data,
    load_assets,
    save_assets,
)
from maskdepth.learning.model import PRESETS, build_model, count_weights
from maskdepth.learning.quantisation import SliceCost, compare_networks, quantise_network
from maskdepth.records import Json, check_no_other_files, check_ownership
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.rules import BENCHMARK_V1
from maskdepth.synthesis.spec import load_spec

TRAINING_DATA: Final = (
    "Whether training on pictures makes the weights a work derived from them is not settled in "
    "law, and differs between countries. The licence and source of every picture are recorded, so "
    "that whoever uses the model can judge."
)
_FILES: Final = (
    WEIGHTS_FILE, NETWORK_FILE, INT8_FILE, ASSETS_FILE, *DEPTH_NETWORK_FILES.values()
)  # fmt: skip
_CALIBRATION_COUNT: Final = 128
_JUDGED_COUNT: Final = 100
_JUDGED_SLICES: Final = ("clean", "hard")


@dataclass(frozen=True)
class Int8Record:
    """A card's ``metrics["int8"]``: the int8 network, and what 8 bits cost by benchmark slice."""

    calibrated_on: dict[str, int | str]  # composites, dataset
    bytes: int
    slices: dict[str, SliceCost]


@dataclass(frozen=True)
class Release:
    """The outcome of an export.

    Attributes:
        difference: the largest between the ONNX file and its weights, of alpha and disparity.
        int8: what 8 bits cost; None without calibration.
        assets_complete: whether the card lists all that the network was trained on.
    """

    difference: float
    int8: Int8Record | None
    assets_complete: bool


def draft_card(
    preset: str,
    dataset: Dataset,
    training: Json,
    teacher: TeacherLabel | None,
    parent: Parent | None,
    assets: Path,
) -> ModelCard:
    """A card without the checksums of files, which ``write_networks`` adds.

    Args:
        teacher: the teacher that labelled each composite, if one did.
        parent: the model that the training started from.
        assets: the list of all that the network has been trained on.
    """
    spec = dataset.spec
    teachers = spec.teachers + ([] if teacher is None else [teacher])
    depth = spec.depth_kind if teacher is None else per_composite_label(teacher)
    return ModelCard(
        preset=preset,
        fixed_size=PRESETS[preset].fixed_size,
        training_size=spec.rules.size,
        depth=depth_after(depth, parent),
        maskdepth=__version__,
        sha256={},
        weights=count_weights(build_model(preset)),
        training=training if parent is None else training | {"from": parent.record},
        data=asdict(describe_data(spec, teachers, load_assets(assets), parent)),
    )


def write_networks(
    folder: Path, card: ModelCard, calibration: Dataset | None = None, *, keep_onnx: bool = False
) -> Release:
    """Write a model folder's ONNX from its weights, check that both agree, and save the card.

    An int8 network that is there already stays as long as the weights are those of the card.

    Args:
        calibration: also write an int8 network, with the ranges of this dataset's train split,
            and measure on its val split what that costs.
        keep_onnx: only check the ONNX that the card lists, where there is one.

    Raises:
        ModelError: the folder has no weights, or the networks differ.
        DatasetError: a picture of the dataset is missing or has changed.
    """
    weights = folder / WEIGHTS_FILE
    model, _ = load_weights(weights)
    same_weights = card.sha256.get(WEIGHTS_FILE) == file_checksum(weights)
    # A network that differs from its weights must not replace one that works.
    draft, draft_int8 = folder / f".{NETWORK_FILE}.part", folder / f".{INT8_FILE}.part"
    cost = None
    try:
        if keep_onnx and same_weights and _is_unchanged(folder, NETWORK_FILE, card):
            shutil.copyfile(folder / NETWORK_FILE, draft)
        else:
            export_onnx(model, card.preset, draft)
        difference = check_parity(model, card.preset, draft)
        if calibration is not None:
            cost = _quantise(draft, draft_int8, calibration)
            draft_int8.replace(folder / INT8_FILE)
        draft.replace(folder / NETWORK_FILE)
    finally:
        draft.unlink(missing_ok=True)
        draft_int8.unlink(missing_ok=True)
    metrics = dict(card.metrics)
    names = [WEIGHTS_FILE, NETWORK_FILE]
    if cost is not None:
        metrics["int8"] = asdict(cost)
    if cost is not None or (same_weights and _is_unchanged(folder, INT8_FILE, card)):
        names.append(INT8_FILE)
    else:
        metrics.pop("int8", None)
    others = (ASSETS_FILE, *DEPTH_NETWORK_FILES.values())
    names += [name for name in others if (folder / name).exists()]
    sha256 = {name: file_checksum(folder / name) for name in names}
    save_card(folder, replace(card, sha256=sha256, metrics=metrics))
    return Release(difference, cost, bool(card.data.get("assets_complete", False)))


def release_model(
    folder: Path,
    output: Path,
    *,
    calibration: Dataset | None = None,
    datasets: Sequence[Path] = (),
    licence: str | None = None,
    limits: Sequence[str] = (),
    half: bool = False,
    depth_network: Path | None = None,
) -> Release:
    """Write a clean copy of a model folder: card, networks, weights and assets, and nothing else.

    The ONNX network is the one that the card's figures are of, after a check that it agrees with
    the weights; with ``half`` it is made of the rounded weights. A model folder at ``output`` is
    replaced, unless anything fails.

    Args:
        folder: the model; it stays as it is.
        calibration: see ``write_networks``; also one of ``datasets``.
        datasets: of models without a list of assets: this one, or one that it descends from.
        licence: of the weights; by default the one in the card.
        limits: what the model does badly; by default the card's.
        half: round the weights' kernels to half precision, for half the bytes.
        depth_network: a model folder whose network the copy asks for the depth of plates, and of
            pictures without one; by default the model's own, if it has one.

    Raises:
        ModelError: a folder lacks its weights, or its files have changed; the depth network never
            learned depth.
        DatasetError: one of ``datasets`` is none.
        UsageError: one of ``datasets`` adds nothing to the list of assets.
        StorageError: ``output`` holds something else, or cannot be written.
    """
    _check_replaceable(output, folder)
    card = read_card(folder)
    # The card's figures and assets are those of the weights that it lists.
    check_file(folder, WEIGHTS_FILE, card)
    folders = [*datasets, *([] if calibration is None else [calibration.folder])]
    assets, complete = complete_assets(folder, card, folders)
    _check_datasets(folder, card, datasets, folders)
    about = card.about | {"training_data": TRAINING_DATA}
    about |= {} if licence is None else {"licence": licence}
    about |= {"limits": list(limits)} if limits else {}
    counts = [asdict(count) for count in count_assets(assets)]
    card = replace(
        card, about=about, data=card.data | {"assets": counts, "assets_complete": complete}
    )
    output = Path(os.path.realpath(output))  # "." has no name, and a link stays one
    make_folder(output.parent)
    part = Path(tempfile.mkdtemp(prefix=f".{output.name}-", suffix=".part", dir=output.parent))
    try:
        for name in (WEIGHTS_FILE, NETWORK_FILE, INT8_FILE):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, part / name)
        if assets:
            save_assets(part / ASSETS_FILE, assets)
        if depth_network is None:
            copy_depth_network(folder, part)
        else:
            _attach_depth_network(depth_network, part)
        if half:
            model, metadata = load_weights(part / WEIGHTS_FILE)
            save_weights(part / WEIGHTS_FILE, model, metadata, half=True)
        result = write_networks(part, card, calibration, keep_onnx=not half)
        if INT8_FILE not in read_card(part).sha256:
            (part / INT8_FILE).unlink(missing_ok=True)
        part.chmod(0o755)  # temporary folders are their owner's alone
        _replace_folder(output, part)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return result


def copy_depth_network(folder: Path, output: Path) -> None:
    """Copy a model's depth network to another model folder, if it has one.

    Raises:
        ModelError: a file is missing or has changed.
    """
    card = read_card(folder)
    for name in DEPTH_NETWORK_FILES.values():
        if name in card.sha256:
            check_file(folder, name, card)
            shutil.copyfile(folder / name, output / name)


def _attach_depth_network(model: Path, output: Path) -> None:
    """Copy a model's files to another model folder as its depth network."""
    card = read_card(model)
    if card.depth == NO_DEPTH:
        raise ModelError(
            "a model that learned depth as the depth network",
            f"{model}, which learned masks alone",
            "name another model",
            f"{model} learned masks alone, so it cannot be a depth network.",
        )
    for name, attached in DEPTH_NETWORK_FILES.items():
        if name in card.sha256:
            check_file(model, name, card)
        if name in card.sha256 or name == CARD_FILE:
            shutil.copyfile(model / name, output / attached)


def _check_datasets(
    folder: Path, card: ModelCard, datasets: Sequence[Path], folders: Sequence[Path]
) -> None:
    """Raise if one of the datasets adds nothing to the assets that the other folders give."""
    all_assets = complete_assets(folder, card, folders)
    for dataset in datasets:
        load_spec(dataset)  # raises where there is no dataset
        others = [other for other in folders if other != dataset]
        if complete_assets(folder, card, others) == all_assets:
            raise UsageError(
                f"as --dataset what {folder} was trained on and does not list itself",
                f"{dataset}, which adds nothing",
                "leave --dataset out",
                f"{dataset} adds no assets to those that {folder} lists.",
            )


def _replace_folder(folder: Path, new: Path) -> None:
    """Rename ``new`` to ``folder``, whose older content is restored if that fails."""
    older = new.with_suffix(".old")
    if folder.exists():
        folder.rename(older)
    try:
        new.rename(folder)
    except BaseException:
        if older.exists():
            older.rename(folder)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _check_replaceable(output: Path, folder: Path) -> None:
    """Raise unless ``output`` is free or a clean model folder."""
    if output.resolve() == folder.resolve():
        problem = f"{output} is the model itself, besides which a copy needs another folder."
        raise StorageError("a folder besides the model", str(output), "", problem)
    if not output.exists():
        return
    if not output.is_dir():
        remedy, problem = "choose another folder", f"{output} is a file."
        raise StorageError(f"a folder at {output}", "a file", remedy, problem)
    check_no_other_files(output, {CARD_FILE, *_FILES}, "a model")
    try:
        read_card(output)
    except ModelError:
        check_ownership(sorted(output.iterdir()), ours=False)


def _is_unchanged(folder: Path, name: str, card: ModelCard) -> bool:
    path = folder / name
    return path.is_file() and card.sha256.get(name) == file_checksum(path)


def _quantise(network: Path, output: Path, dataset: Dataset) -> Int8Record:
    """Write an int8 network, and measure its cost on composites of the val split."""
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder)
    calibration = CompositeDataset(
        spec.rules, spec.pool(), spec.seed, catalogue, _CALIBRATION_COUNT, drop_plate=0.2
    )
    quantise_network(network, output, calibration)
    slices = {}
    for name in _JUDGED_SLICES:
        samples = benchmark_samples(spec, catalogue, BENCHMARK_V1[name], _JUDGED_COUNT)
        slices[name] = compare_networks(network, output, samples)
    calibrated_on: dict[str, int | str] = {
        "composites": _CALIBRATION_COUNT,
        "dataset": spec.fingerprint,
    }
    return Int8Record(calibrated_on, output.stat().st_size, slices)


def starting_network(folder: Path, parent: Parent, preset: str) -> nn.Module:
    """A parent's network, to train on."""
    if parent.card.preset != preset:
        raise ModelError(
            f"a model of preset {preset} to start from",
            f"{parent.model} of preset {parent.card.preset}",
            f"pass --preset {parent.card.preset}, or start from another model",
        )
    return load_weights(folder / WEIGHTS_FILE)[0]
