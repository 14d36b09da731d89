"""Model folders: the card of a trained network, its networks for prediction, a clean copy."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from torch import nn

from maskdepth._version import __version__
from maskdepth.datasets.build import Dataset
from maskdepth.datasets.shards import per_composite_label
from maskdepth.errors import ModelError, StorageError, UsageError
from maskdepth.files import file_checksum, make_folder
from maskdepth.inference.model.card import NETWORK_FILE, ModelCard
from maskdepth.inference.model.folder import (
    ASSETS_FILE,
    CARD_FILE,
    INT8_FILE,
    WEIGHTS_FILE,
    check_file,
    read_card,
    save_card,
)
from maskdepth.learning.checkpoint import load_weights, save_weights
from maskdepth.learning.dataset import CompositeDataset
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
from maskdepth.learning.quantisation import compare_networks, quantise_network
from maskdepth.records import check_no_other_files, check_ownership
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1
from maskdepth.synthesis.spec import load_spec

__all__ = ["Release", "draft_card", "release_model", "starting_network", "write_networks"]

TRAINING_DATA: Final = (
    "Whether training on pictures makes the weights a work derived from them is not settled in "
    "law, and differs between countries. The licence and source of every picture are recorded, so "
    "that whoever uses the model can judge."
)
_FILES: Final = (WEIGHTS_FILE, NETWORK_FILE, INT8_FILE, ASSETS_FILE)
_CALIBRATION_COUNT: Final = 128
_JUDGED_COUNT: Final = 100
_JUDGED_SLICES: Final = ("clean", "hard")


@dataclass(frozen=True)
class Release:
    """What came of an export.

    Attributes:
        difference: the largest between the ONNX file and its weights, of alpha and disparity.
        int8: what 8 bits cost, see ``quantisation.compare_networks``; None where not asked for.
        assets_complete: whether the card says all that the network was trained on.
    """

    difference: float
    int8: dict[str, Any] | None
    assets_complete: bool


def draft_card(
    preset: str,
    dataset: Dataset,
    training: dict[str, Any],
    teacher: TeacherLabel | None,
    parent: Parent | None,
    assets: Path,
) -> ModelCard:
    """What is known of a model before its files: ``write_networks`` adds their checksums.

    Args:
        teacher: who labelled each composite, if a teacher did.
        parent: what the training started from.
        assets: the list of all that the network has been trained on.
    """
    spec = dataset.spec
    teachers = spec.teachers + ([] if teacher is None else [teacher])
    depth = spec.depth_kind if teacher is None else per_composite_label(teacher)
    told = [each.model_dump(mode="json") for each in teachers]
    return ModelCard(
        preset=preset,
        fixed_size=PRESETS[preset].fixed_size,
        training_size=spec.rules.size,
        depth=depth_after(depth, parent),
        maskdepth=__version__,
        sha256={},
        weights=count_weights(build_model(preset)),
        training=training if parent is None else training | {"from": parent.record},
        data=describe_data(spec, told, load_assets(assets), parent),
    )


def write_networks(
    folder: Path, card: ModelCard, calibration: Dataset | None = None, *, anew: bool = True
) -> Release:
    """Write a model folder's ONNX from its weights, check that both agree, and save the card.

    An int8 network that is there already stays as long as the weights are those of the card.

    Args:
        anew: False leaves the ONNX that the card lists, and only checks it, where there is one.
        calibration: also write an int8 network, with the ranges of this dataset's train split,
            and measure on its val split what that costs.

    Raises:
        ModelError: the folder has no weights, or the networks differ.
        DatasetError: a picture of the dataset is missing or has changed.
    """
    weights = folder / WEIGHTS_FILE
    model, _ = load_weights(weights)
    known = card.sha256.get(WEIGHTS_FILE) == file_checksum(weights)
    # A network that differs must not take the place of one that works.
    draft, draft_int8 = folder / f".{NETWORK_FILE}.part", folder / f".{INT8_FILE}.part"
    cost = None
    try:
        if anew or not (known and _is_whole(folder, NETWORK_FILE, card)):
            export_onnx(model, card.preset, draft)
        else:
            shutil.copyfile(folder / NETWORK_FILE, draft)
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
        metrics["int8"] = cost
    if cost is not None or (known and _is_whole(folder, INT8_FILE, card)):
        names.append(INT8_FILE)
    else:
        metrics.pop("int8", None)
    if (folder / ASSETS_FILE).exists():
        names.append(ASSETS_FILE)
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
) -> Release:
    """Write a clean copy of a model folder: card, networks, weights and assets, and nothing else.

    The network is the one that the card's figures are of, once it agrees with the weights; or, with
    ``half``, one made of the rounded weights. ``output`` appears whole or not at all; a model
    folder that is there is replaced.

    Args:
        folder: the model; it stays as it is.
        calibration: see ``write_networks``; also looked at as one of ``datasets``.
        datasets: where a model without a list of assets, or one that it started from, was trained.
        licence: of the weights; what the card says already if left out.
        limits: what the model does badly; likewise.
        half: round the weights' kernels to half precision: half the bytes.

    Raises:
        ModelError: the folder lacks its weights, or its files have changed.
        DatasetError: one of ``datasets`` is none.
        UsageError: one of ``datasets`` says nothing that is not known without it.
        StorageError: ``output`` holds something else, or cannot be written.
    """
    _check_replaceable(output, folder)
    card = read_card(folder)
    # Its figures and its assets are those of the weights that it lists.
    check_file(folder, WEIGHTS_FILE, card)
    known = [*datasets, *([] if calibration is None else [calibration.folder])]
    assets, complete = complete_assets(folder, card, known)
    for each in datasets:
        load_spec(each)  # what is no dataset is told so
        others = [one for one in known if one != each]
        if complete_assets(folder, card, others) == (assets, complete):
            raise UsageError(
                f"as --dataset what {folder} was trained on and does not list itself",
                f"{each}, which adds nothing",
                "leave it out",
            )
    about = card.about | {"training_data": TRAINING_DATA}
    about |= {} if licence is None else {"licence": licence}
    about |= {"limits": list(limits)} if limits else {}
    counted = {"assets": count_assets(assets), "assets_complete": complete}
    card = replace(card, about=about, data=card.data | counted)
    output = Path(os.path.realpath(output))  # "." and links have no name to take
    make_folder(output.parent)
    part = Path(tempfile.mkdtemp(prefix=f".{output.name}-", suffix=".part", dir=output.parent))
    try:
        for name in (WEIGHTS_FILE, NETWORK_FILE, INT8_FILE):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, part / name)
        if assets:
            save_assets(part / ASSETS_FILE, assets)
        if half:
            model, metadata = load_weights(part / WEIGHTS_FILE)
            save_weights(part / WEIGHTS_FILE, model, metadata, half=True)
        result = write_networks(part, card, calibration, anew=half)
        if INT8_FILE not in read_card(part).sha256:
            (part / INT8_FILE).unlink(missing_ok=True)
        part.chmod(0o755)  # temporary folders are their owner's alone
        _take_place(part, output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return result


def _take_place(folder: Path, place: Path) -> None:
    """Rename a folder to where an older one may lie, which stays there if that fails."""
    older = folder.with_suffix(".old")
    if place.exists():
        place.rename(older)
    try:
        folder.rename(place)
    except BaseException:
        if older.exists():
            older.rename(place)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _check_replaceable(output: Path, folder: Path) -> None:
    """A folder of ours may be replaced; anything else is somebody's."""
    if output.resolve() == folder.resolve():
        raise StorageError("a folder besides the model", str(output), "choose another folder")
    if not output.exists():
        return
    if not output.is_dir():
        raise StorageError(f"a folder at {output}", "a file", "choose another folder")
    check_no_other_files(output, {CARD_FILE, *_FILES}, "a model")
    check_ownership(sorted(output.iterdir()), ours=_has_card(output))


def _has_card(folder: Path) -> bool:
    try:
        read_card(folder)
    except ModelError:
        return False
    return True


def _is_whole(folder: Path, name: str, card: ModelCard) -> bool:
    path = folder / name
    return path.is_file() and card.sha256.get(name) == file_checksum(path)


def _quantise(network: Path, output: Path, dataset: Dataset) -> dict[str, Any]:
    """An int8 network, and what it costs on composites of the val split."""
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder)
    quantise_network(
        network,
        output,
        CompositeDataset(
            spec.rules,
            spec.pool(),
            spec.seed,
            catalogue,
            _CALIBRATION_COUNT,
            drop_plate=0.2,
            drop_plate_disparity=0.5,
        ),
    )
    slices = {
        name: CompositeDataset(
            BENCHMARK_V1[name].at_size(spec.rules.size),
            spec.pool("val", "val"),
            BENCHMARK_SEED,
            catalogue,
            _JUDGED_COUNT,
            drop_plate=0.0,
            drop_plate_disparity=1.0,
        )
        for name in _JUDGED_SLICES
    }
    cost = compare_networks(network, output, slices)
    return {
        "calibrated_on": {"composites": _CALIBRATION_COUNT, "dataset": spec.fingerprint},
        "bytes": output.stat().st_size,
        "slices": cost,
    }


def starting_network(folder: Path, parent: Parent, preset: str) -> nn.Module:
    """A parent's network, to train on.

    Raises:
        ModelError: it is of another preset, or its weights cannot be read.
    """
    if parent.card.preset != preset:
        raise ModelError(
            f"a model of preset {preset} to start from",
            f"{parent.model} of preset {parent.card.preset}",
            f"pass --preset {parent.card.preset}, or start from another model",
        )
    return load_weights(folder / WEIGHTS_FILE)[0]
