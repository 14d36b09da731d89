"""What a model was made of: its assets with their licences, and the model it started from."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Final

from maskdepth.errors import DatasetError, ModelError, first_line
from maskdepth.files import read_text, write_text
from maskdepth.inference.model.card import NO_DEPTH, ModelCard
from maskdepth.inference.model.folder import ASSETS_FILE, WEIGHTS_FILE, check_file, read_card
from maskdepth.records import Json
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.spec import SPEC_FILE, DatasetSpec, load_spec

PARENT_FILE: Final = "parent.json"
UNKNOWN: Final = "unknown"
_AFTER: Final = ", after "


@dataclass(frozen=True)
class UsedAsset:
    """A picture that a network was trained on.

    Attributes:
        kind: ``"cutout"`` or ``"background"``.
        licence, source: from its ``licences.csv``, or ``"unknown"``.
    """

    kind: str
    name: str
    sha256: str
    licence: str
    source: str


@dataclass(frozen=True)
class AssetCount:
    """How many assets of one kind and licence there are, and their sources."""

    kind: str
    licence: str
    count: int
    sources: list[str]


@dataclass(frozen=True)
class DataRecord:
    """A card's ``data``: what a model was trained on.

    Licences, teachers and assets are those of all models that it descends from too, as their
    weights live on; the counts and the fingerprint are of its own dataset.

    Attributes:
        trained_on: assets of its train split.
        licences: of all assets.
        assets: counts of all assets.
        assets_complete: False where a parent did not say what it was trained on.
        teachers: the teachers that labels were learned from.
        flagged_labels: labels that were not learned from.
        fingerprint: of the dataset.
    """

    cutouts: int
    backgrounds: int
    trained_on: int
    licences: list[str]
    assets: list[AssetCount]
    assets_complete: bool
    teachers: list[Json]
    flagged_labels: int
    fingerprint: str


@dataclass(frozen=True)
class Parent:
    """The model that a training starts from.

    Attributes:
        model: its name: that of its folder, ``"shipped"`` or its hub id.
        sha256: checksum of its weights.
        assets: what it was trained on; None where its folder does not say.
    """

    model: str
    sha256: str
    card: ModelCard
    assets: tuple[UsedAsset, ...] | None

    @property
    def record(self) -> Json:
        """The ``training["from"]`` of a card, which holds the parent's own in its ``training``."""
        return {
            "model": self.model,
            "sha256": self.sha256,
            "maskdepth": self.card.maskdepth,
            "depth": self.card.depth,
            "training": self.card.training,
            "data": {key: value for key, value in self.card.data.items() if key != "assets"},
        }


def load_parent(folder: Path, model: str) -> Parent:
    """Read the card and the assets of a model folder, and check its weights."""
    card = read_card(folder)
    check_file(folder, WEIGHTS_FILE, card)
    return Parent(model, card.sha256[WEIGHTS_FILE], card, find_assets(folder, card))


def used_assets(spec: DatasetSpec) -> list[UsedAsset]:
    """The assets of a dataset's train split."""
    return [
        UsedAsset(kind, asset.id, asset.sha256, asset.licence or UNKNOWN, asset.source or UNKNOWN)
        for kind, assets in (("cutout", spec.cutouts), ("background", spec.backgrounds))
        for asset in assets
        if asset.split == "train"
    ]


def join_assets(*lists: Iterable[UsedAsset]) -> list[UsedAsset]:
    """Each file once, as its first list has it, in the order of first mention."""
    joined = {(asset.kind, asset.sha256): asset for each in reversed(lists) for asset in each}
    order = dict.fromkeys((asset.kind, asset.sha256) for each in lists for asset in each)
    return [joined[key] for key in order]


def count_assets(assets: Iterable[UsedAsset]) -> list[AssetCount]:
    """Counts by kind and licence."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for asset in assets:
        groups[asset.kind, asset.licence].append(asset.source)
    return [
        AssetCount(kind, licence, len(sources), sorted(set(sources)))
        for (kind, licence), sources in sorted(groups.items())
    ]


def save_assets(path: Path, assets: Iterable[UsedAsset]) -> None:
    """Write the list as CSV, one asset a line, with a heading."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(field.name for field in fields(UsedAsset))
    writer.writerows(astuple(asset) for asset in assets)
    write_text(path, stream.getvalue())


def load_assets(path: Path) -> tuple[UsedAsset, ...]:
    """Read a list that ``save_assets`` wrote."""
    remedy = "copy the entire model folder again"
    try:
        rows = list(csv.reader(io.StringIO(read_text(path))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        got = first_line(error)
        raise ModelError(f"a readable {path}", got, remedy, f"{path}: {got}.") from None
    columns = [field.name for field in fields(UsedAsset)]
    if not rows or rows[0] != columns or any(len(row) != len(columns) for row in rows):
        raise ModelError(f"a table of {', '.join(columns)} in {path}", "another", remedy)
    return tuple(UsedAsset(*row) for row in rows[1:])


def find_assets(
    folder: Path, card: ModelCard, datasets: Sequence[Path] = ()
) -> tuple[UsedAsset, ...] | None:
    """What a model was trained on: by its folder's list, or by the spec of its dataset.

    Args:
        datasets: dataset folders that may be the one it was trained on, as their fingerprint
            shows; ``fit`` leaves one in the model folder.

    Returns:
        None where neither is at hand.
    """
    if ASSETS_FILE in card.sha256:
        check_file(folder, ASSETS_FILE, card)
        return load_assets(folder / ASSETS_FILE)
    return _find_in_datasets(card.data, (folder / "dataset", *datasets))


def complete_assets(
    folder: Path, card: ModelCard, datasets: Sequence[Path] = ()
) -> tuple[list[UsedAsset], bool]:
    """What a model and all models that it descends from were trained on.

    Args:
        datasets: dataset folders that any of these may have been trained on.

    Returns:
        The assets that were found, and whether they are all.
    """
    own = find_assets(folder, card, datasets)
    lists = [own or ()]
    complete = own is not None
    data, training = card.data, card.training
    # A complete list includes those of the models before it, and an incomplete one was passed on.
    while not data.get("assets_complete", False) and isinstance(training.get("from"), dict):
        data, training = training["from"]["data"], training["from"]["training"]
        if "assets_complete" not in data:
            found = _find_in_datasets(data, datasets)
            lists.append(found or ())
            complete &= found is not None
    return join_assets(*lists), complete


def _find_in_datasets(data: Json, datasets: Sequence[Path]) -> tuple[UsedAsset, ...] | None:
    """The train split of the dataset with the fingerprint of a card's ``data``, if it is here."""
    for dataset in datasets:
        if (dataset / SPEC_FILE).is_file():
            try:
                spec = load_spec(dataset)
            except DatasetError:  # of another version
                continue
            if spec.fingerprint == data.get("fingerprint"):
                return tuple(used_assets(spec))
    return None


def save_lineage(folder: Path, spec: DatasetSpec, parent: Parent | None) -> None:
    """Write what the card will need into a run's folder, where a resumed run finds it."""
    (folder / PARENT_FILE).unlink(missing_ok=True)  # of a run that ended before its first save
    inherited = () if parent is None else parent.assets or ()
    save_assets(folder / ASSETS_FILE, join_assets(used_assets(spec), inherited))
    if parent is not None:
        record = {
            "model": parent.model,
            "sha256": parent.sha256,
            "assets_known": parent.assets is not None,
            "card": asdict(parent.card),
        }
        write_text(folder / PARENT_FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def load_lineage(folder: Path) -> Parent | None:
    """The parent of the run in a folder, without its assets; None where there is none."""
    path = folder / PARENT_FILE
    if not path.exists():
        return None
    try:
        record = json.loads(read_text(path))
        assets = () if record["assets_known"] else None
        return Parent(record["model"], record["sha256"], ModelCard(**record["card"]), assets)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        got = first_line(error)
        remedy, problem = "start the run again", f"{path} is damaged: {got}."
        raise ModelError(f"a readable {path}", got, remedy, problem) from None


def describe_data(
    spec: DatasetSpec,
    teachers: Sequence[TeacherLabel],
    assets: Sequence[UsedAsset],
    parent: Parent | None,
) -> DataRecord:
    """The record of a training's data.

    Args:
        teachers: of this training.
        assets: of this training and the parent's.
    """
    inherited = {} if parent is None else parent.card.data
    taught = [teacher.model_dump(mode="json") for teacher in teachers]
    taught += [teacher for teacher in inherited.get("teachers", []) if teacher not in taught]
    return DataRecord(
        cutouts=len(spec.cutouts),
        backgrounds=len(spec.backgrounds),
        trained_on=len(used_assets(spec)),
        licences=sorted({each.licence for each in assets} | set(inherited.get("licences", []))),
        assets=count_assets(assets),
        assets_complete=parent is None
        or (parent.assets is not None and inherited.get("assets_complete", True)),
        teachers=taught,
        flagged_labels=len(spec.flagged),
        fingerprint=spec.fingerprint,
    )


def depth_after(depth: str, parent: Parent | None) -> str:
    """What disparity was learned from, here and before: ``"exact, after synthetic only"``."""
    if parent is None or parent.card.depth == NO_DEPTH:
        return depth
    before = parent.card.depth.split(_AFTER)
    return _AFTER.join(dict.fromkeys(([] if depth == NO_DEPTH else [depth]) + before))
