"""What a model was made of: its assets with their licences, and the model it started from."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, Final

from maskdepth.errors import DatasetError, ModelError, first_line
from maskdepth.files import read_text, write_text
from maskdepth.inference.model.card import NO_DEPTH, ModelCard
from maskdepth.inference.model.folder import ASSETS_FILE, WEIGHTS_FILE, check_file, read_card
from maskdepth.synthesis.spec import SPEC_FILE, DatasetSpec, load_spec

PARENT_FILE: Final = "parent.json"
UNKNOWN: Final = "unknown"
_AFTER: Final = ", after "


@dataclass(frozen=True)
class UsedAsset:
    """A picture that a network was trained on.

    Attributes:
        kind: ``"cutout"`` or ``"background"``.
        name: the asset's id in its dataset.
        sha256: of its file.
        licence, source: from its ``licences.csv``, or ``"unknown"``.
    """

    kind: str
    name: str
    sha256: str
    licence: str
    source: str


@dataclass(frozen=True)
class Parent:
    """The model that a training starts from.

    Attributes:
        model: what it is called: its folder's name, ``"shipped"`` or its hub id.
        sha256: checksum of its weights.
        card: its card.
        assets: what it was trained on; None where its folder does not say.
    """

    model: str
    sha256: str
    card: ModelCard
    assets: tuple[UsedAsset, ...] | None

    @property
    def record(self) -> dict[str, Any]:
        """For ``training["from"]`` of a card: the parent's own descent is within its training."""
        return {
            "model": self.model,
            "sha256": self.sha256,
            "maskdepth": self.card.maskdepth,
            "depth": self.card.depth,
            "training": self.card.training,
            "data": {key: value for key, value in self.card.data.items() if key != "assets"},
        }


def load_parent(folder: Path, model: str) -> Parent:
    """Read what a model folder says of itself, and check its weights.

    Args:
        model: what to call it.

    Raises:
        ModelError: no model folder, or its weights are missing or have changed.
    """
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
    """Each file once, in the order of their first mention."""
    found = {(asset.kind, asset.sha256): asset for each in reversed(lists) for asset in each}
    order = dict.fromkeys((asset.kind, asset.sha256) for each in lists for asset in each)
    return [found[key] for key in order]


def count_assets(assets: Iterable[UsedAsset]) -> list[dict[str, Any]]:
    """Counts by kind and licence, with the sources, for a card."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for asset in assets:
        groups[asset.kind, asset.licence].append(asset.source)
    return [
        {"kind": kind, "licence": licence, "count": len(found), "sources": sorted(set(found))}
        for (kind, licence), found in sorted(groups.items())
    ]


def save_assets(path: Path, assets: Iterable[UsedAsset]) -> None:
    """Write the list as CSV, one asset a line, with a heading.

    Raises:
        StorageError: the file cannot be written.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(field.name for field in fields(UsedAsset))
    writer.writerows(astuple(asset) for asset in assets)
    write_text(path, stream.getvalue())


def load_assets(path: Path) -> tuple[UsedAsset, ...]:
    """Read a list that ``save_assets`` wrote.

    Raises:
        ModelError: there is none, or it is another table.
    """
    remedy = "copy the whole model folder again"
    try:
        rows = list(csv.reader(io.StringIO(read_text(path))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ModelError(f"a readable {path}", first_line(error), remedy) from None
    columns = [field.name for field in fields(UsedAsset)]
    if not rows or rows[0] != columns or any(len(row) != len(columns) for row in rows):
        raise ModelError(f"a table of {', '.join(columns)} in {path}", "another", remedy)
    return tuple(UsedAsset(*row) for row in rows[1:])


def find_assets(
    folder: Path, card: ModelCard, datasets: Sequence[Path] = ()
) -> tuple[UsedAsset, ...] | None:
    """What a model was trained on: by its folder's list, or by the dataset's spec.

    Args:
        datasets: dataset folders that may be the one it was trained on, besides the one that
            ``fit`` leaves in the model folder; its fingerprint tells.

    Returns:
        None where neither is at hand.

    Raises:
        ModelError: the list is damaged.
    """
    if ASSETS_FILE in card.sha256:
        check_file(folder, ASSETS_FILE, card)
        return load_assets(folder / ASSETS_FILE)
    return _assets_of(card.data, (folder / "dataset", *datasets))


def complete_assets(
    folder: Path, card: ModelCard, datasets: Sequence[Path] = ()
) -> tuple[list[UsedAsset], bool]:
    """What a model and all it descends from were trained on, as far as it can be found out.

    Args:
        datasets: dataset folders that the model or those before it may have been trained on.

    Returns:
        The assets, and whether they are all.

    Raises:
        ModelError: the folder's list is damaged.
    """
    own = find_assets(folder, card, datasets)
    lists = [own or ()]
    complete = own is not None
    data, training = card.data, card.training
    # A list that is complete speaks for all that came before it.
    while not data.get("assets_complete", False) and isinstance(training.get("from"), dict):
        data, training = training["from"]["data"], training["from"]["training"]
        if "assets_complete" not in data:  # else its list was passed on
            found = _assets_of(data, datasets)
            lists.append(found or ())
            complete &= found is not None
    return join_assets(*lists), complete


def _assets_of(data: dict[str, Any], datasets: Sequence[Path]) -> tuple[UsedAsset, ...] | None:
    """The train split of the dataset whose fingerprint a card's ``data`` tells, if it is here."""
    for dataset in datasets:
        if (dataset / SPEC_FILE).is_file():
            try:
                spec = load_spec(dataset)
            except DatasetError:  # of another version: it may be the one, and cannot tell
                continue
            if spec.fingerprint == data.get("fingerprint"):
                return tuple(used_assets(spec))
    return None


def save_lineage(folder: Path, spec: DatasetSpec, parent: Parent | None) -> None:
    """Leave in a run's folder what its card will need, so that a resumed run does not lose it.

    Raises:
        StorageError: the folder cannot be written.
    """
    (folder / PARENT_FILE).unlink(missing_ok=True)  # of a run that ended before its first save
    inherited = () if parent is None else parent.assets or ()
    save_assets(folder / ASSETS_FILE, join_assets(used_assets(spec), inherited))
    if parent is not None:
        known = parent.assets is not None
        record = {"model": parent.model, "sha256": parent.sha256, "assets_known": known}
        told = record | {"card": asdict(parent.card)}
        write_text(folder / PARENT_FILE, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def load_lineage(folder: Path) -> Parent | None:
    """The parent of the run in a folder, as ``save_lineage`` left it; None without one.

    Raises:
        ModelError: the record is damaged.
    """
    path = folder / PARENT_FILE
    if not path.exists():
        return None
    try:
        told = json.loads(read_text(path))
        card = ModelCard(**told["card"])
        return Parent(told["model"], told["sha256"], card, () if told["assets_known"] else None)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"a readable {path}", first_line(error), "start the run anew") from None


def describe_data(
    spec: DatasetSpec,
    teachers: Sequence[dict[str, Any]],
    assets: Iterable[UsedAsset],
    parent: Parent | None,
) -> dict[str, Any]:
    """A card's ``data``.

    Licences, teachers and assets are those of the parent too, as its weights live on; counts and
    fingerprint are this dataset's. ``assets_complete`` is False where the parent did not say what
    it was trained on.

    Args:
        teachers: of this training.
        assets: of this training and the parent's.
    """
    assets = list(assets)
    inherited = {} if parent is None else parent.card.data
    licences = {asset.licence for asset in assets} | set(inherited.get("licences", []))
    taught = list(teachers)
    taught += [teacher for teacher in inherited.get("teachers", []) if teacher not in taught]
    return {
        "cutouts": len(spec.cutouts),
        "backgrounds": len(spec.backgrounds),
        "trained_on": len(used_assets(spec)),
        "licences": sorted(licences),
        "assets": count_assets(assets),
        "assets_complete": parent is None
        or (parent.assets is not None and inherited.get("assets_complete", True)),
        "teachers": taught,
        "flagged_labels": len(spec.flagged),
        "fingerprint": spec.fingerprint,
    }


def depth_after(depth: str, parent: Parent | None) -> str:
    """What disparity was learned from, here and before: ``"exact, after synthetic only"``."""
    if parent is None or parent.card.depth == NO_DEPTH:
        return depth
    before = parent.card.depth.split(_AFTER)
    return _AFTER.join(dict.fromkeys(([] if depth == NO_DEPTH else [depth]) + before))
