"""What a dataset folder holds, for people and programs: counts, licences, shards, a sheet."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.datasets.build import Dataset
from maskdepth.datasets.shards import (
    INDEX_FILE,
    MANIFEST_FILE,
    PLATE_FOLDER,
    SHARD_FOLDER,
    Manifest,
    ShardReader,
    check_plate,
    check_shard,
    is_materialised,
    load_manifest,
    load_record,
    shard_path,
)
from maskdepth.depth import colourise
from maskdepth.errors import UsageError
from maskdepth.files import open_file
from maskdepth.images import grey_picture, grid, save_jpeg, save_png
from maskdepth.synthesis.assets import Asset
from maskdepth.synthesis.recipes import sample_recipe
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.spec import split_line

SHEET_SAMPLES: Final = 12

_PARQUET: Final = b"PAR1"  # a Parquet file begins and ends with it

_Panels = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]


def inspect_dataset(dataset: Dataset) -> dict[str, Any]:
    """Counts, splits, licences and labels of a dataset, and the state of its shards.

    Reads every shard and plate once, to compare checksums.

    Returns:
        ``splits``, ``licences`` and ``labels`` with numbers of assets, ``teachers`` of these
        labels, ``flagged`` backgrounds with the reasons, ``samples`` of a planned
        grid or None, ``shards`` (None where none were asked for), and ``faults``: a line for
        everything that is missing or damaged.

    Raises:
        DatasetError: the shards' manifest is damaged or of another version.
    """
    spec = dataset.spec
    shards: dict[str, Any] | None = None
    faults: list[str] = []
    if is_materialised(dataset.folder):
        manifest = load_manifest(dataset.folder)
        shards, faults = _inspect_shards(dataset.folder, manifest)
        if manifest.fingerprint != spec.fingerprint:
            faults.append("the shards were written from another spec than spec.json")
    elif tars := _tars(dataset.folder):
        faults.append(f"{len(tars)} shards without their {MANIFEST_FILE}")
    labels = spec.describe_labels()
    return {
        "dataset": str(dataset.folder),
        "fingerprint": spec.fingerprint,
        "seed": spec.seed,
        "rules": spec.rules.name,
        "size": spec.rules.size,
        "splits": spec.split_sizes,
        "licences": {
            "cutouts": _licences(spec.cutouts),
            "backgrounds": _licences(spec.backgrounds),
        },
        "labels": labels["kinds"],
        "teachers": labels["teachers"],
        "flagged": labels["flagged"],
        "samples": dataset.samples,
        "shards": shards,
        "faults": faults,
    }


def describe(found: dict[str, Any]) -> Iterator[str]:
    """The same for people, a line each."""
    yield f"{found['dataset']}: {found['rules']}, {found['size']} px, seed {found['seed']}"
    for kind, sizes in found["splits"].items():
        yield split_line(kind, sizes)
        licences = found["licences"][kind].items()
        yield f"  licences: {', '.join(f'{number} {name}' for name, number in licences)}"
    labels = ", ".join(f"{number} {kind}" for kind, number in found["labels"].items())
    yield f"disparity labels: {labels}"
    for teacher in found["teachers"]:
        yield f"  teacher {teacher['name']} ({teacher['version']}): licence {teacher['licence']}"
    if found["flagged"]:
        reasons = Counter(flag for flags in found["flagged"].values() for flag in flags)
        counted = ", ".join(f"{number} {flag}" for flag, number in sorted(reasons.items()))
        yield f"  flagged, and not learned from: {len(found['flagged'])} ({counted})"
    yield f"samples planned: {found['samples'] or 'drawn without end'}"
    shards = found["shards"]
    if shards is None:
        yield "shards: none written"
    else:
        states = ", ".join(f"{number} {state}" for state, number in shards["states"].items())
        yield f"shards: {states}; {shards['samples']} of {shards['count']} samples"
        if shards["teacher"]:
            yield (
                f"  labelled one by one by {shards['teacher']['name']}, licence "
                f"{shards['teacher']['licence']}; {shards['flagged']} flagged"
            )
        yield (
            f"  {shards['bytes']} bytes, {shards['bytes_per_sample']:.0f} a sample, and "
            f"{shards['plate_bytes']} in {shards['plates']} plates"
        )
    yield from (f"fault: {fault}" for fault in found["faults"])


def save_sheet(dataset: Dataset, path: Path, *, stored: bool) -> None:
    """Save a contact sheet of some samples: picture, plate, alpha and disparity side by side.

    Args:
        path: with the suffix .png, .jpg or .jpeg.
        stored: take them from the shards, which must be whole, rather than render them.

    Raises:
        UsageError: see ``check_sheet``.
        DatasetError: an asset or a sample is damaged.
        StorageError: it cannot be written.
    """
    check_sheet(dataset, path)
    rows = [_panels(*sample) for sample in _samples(dataset, stored)]
    sheet = grid(rows, min(2, len(rows)))  # two a row: about as wide as it is high
    (save_png if path.suffix.lower() == ".png" else save_jpeg)(path, sheet)


def check_sheet(dataset: Dataset, path: Path) -> None:
    """Refuse a place for a contact sheet, before shards are read for minutes.

    Raises:
        UsageError: another suffix than .png, .jpg and .jpeg, or a picture of the dataset.
    """
    if path.suffix.lower() not in {".png", ".jpg", ".jpeg"}:
        raise UsageError("a file name ending in .png or .jpg", str(path), "choose such a name")
    spec, place = dataset.spec, os.path.realpath(path)
    held = {
        os.path.realpath(dataset.folder / file)
        for asset in (*spec.cutouts, *spec.backgrounds)
        for file in asset.paths().values()
    }
    plates = os.path.realpath(dataset.folder / PLATE_FOLDER)
    if place in held or Path(place).parent == Path(plates):
        raise UsageError(
            "a contact sheet apart from the dataset's pictures", str(path), "choose another name"
        )


def _inspect_shards(folder: Path, manifest: Manifest) -> tuple[dict[str, Any], list[str]]:
    listed: list[dict[str, Any]] = []
    faults: list[str] = []
    for shard in range(manifest.shards):
        path = shard_path(folder, shard)
        state = check_shard(folder, manifest, shard)
        size = path.stat().st_size if path.exists() else 0
        samples = len(manifest.numbers(shard))
        flagged = load_record(folder, shard).flagged if state == "complete" else 0
        listed.append(
            {
                "shard": path.name,
                "state": state,
                "samples": samples,
                "bytes": size,
                "flagged": flagged,
            }
        )
        if state != "complete":
            faults.append(f"{path.name} is {state}")
    complete = [entry for entry in listed if entry["state"] == "complete"]
    faults += [
        f"{plate.file} (background {plate.background}) is missing or damaged"
        for plate in manifest.plates
        if not check_plate(folder, plate)
    ]
    known = {entry["shard"] for entry in listed}
    faults += [f"{name} is none of this dataset's shards" for name in sorted(_tars(folder) - known)]
    if not (folder / INDEX_FILE).is_file():
        faults.append(f"{INDEX_FILE} is missing")
    elif not _is_parquet(folder / INDEX_FILE):
        faults.append(f"{INDEX_FILE} is damaged")
    samples, size = (sum(entry[key] for entry in complete) for key in ("samples", "bytes"))
    return {
        "count": manifest.count,
        "teacher": manifest.teacher.model_dump(mode="json") if manifest.teacher else None,
        "flagged": sum(entry["flagged"] for entry in complete),
        "shard_size": manifest.shard_size,
        "encoding": manifest.encoding.model_dump(),
        "samples": samples,
        "bytes": size,
        "bytes_per_sample": size / samples if samples else 0.0,
        "states": dict(sorted(Counter(entry["state"] for entry in listed).items())),
        "plates": len(manifest.plates),
        "plate_bytes": sum(plate.bytes for plate in manifest.plates),
        "files": listed,
    }, faults


def _tars(folder: Path) -> set[str]:
    """Names of what a reader would take for shards."""
    return {path.name for path in (folder / SHARD_FOLDER).glob("*.tar")}


def _is_parquet(path: Path) -> bool:
    """Whether a file begins and ends as Parquet does: it is written as a whole or not at all."""
    size = len(_PARQUET)
    with open_file(path) as file:
        begins = file.read(size) == _PARQUET
        file.seek(0, os.SEEK_END)
        file.seek(max(size, file.tell() - size))
        return begins and file.read() == _PARQUET


def _licences(assets: Sequence[Asset]) -> dict[str, int]:
    return dict(sorted(Counter(asset.licence or "unknown" for asset in assets).items()))


def _samples(dataset: Dataset, stored: bool) -> Iterator[_Panels]:
    """Picture, plate, alpha, disparity of samples spread over the dataset."""
    if stored:
        reader = ShardReader(dataset.folder)
        for number in _spread(len(reader)):
            sample = reader[number]
            yield sample.image, sample.plate, sample.alpha, sample.disparity
        return
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder)
    for number in _spread(dataset.samples or SHEET_SAMPLES):
        recipe = sample_recipe(spec.rules, spec.pool(), spec.seed, number)
        made = render(recipe, spec.rules.size, catalogue)
        disparity = made.disparity
        if disparity is None:
            disparity = np.full(made.alpha.shape, np.nan, np.float32)
        yield made.image, made.plate, made.alpha, disparity


def _spread(count: int) -> list[int]:
    """Up to ``SHEET_SAMPLES`` numbers below ``count``, evenly spread."""
    chosen = min(count, SHEET_SAMPLES)
    return [number * count // chosen for number in range(chosen)]


def _panels(
    image: NDArray[np.uint8],
    plate: NDArray[np.uint8],
    alpha: NDArray[np.float32],
    disparity: NDArray[np.float32],
) -> NDArray[np.uint8]:
    return np.hstack([image, plate, grey_picture(alpha), colourise(disparity)])
