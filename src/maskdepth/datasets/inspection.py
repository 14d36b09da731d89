"""The content of a dataset folder, for people and programs: counts, licences, shards, a sheet."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.datasets.build import Dataset
from maskdepth.datasets.shards.layout import (
    INDEX_FILE,
    MANIFEST_FILE,
    PLATE_FOLDER,
    SHARD_FOLDER,
    Manifest,
    check_plate,
    check_shard,
    is_materialised,
    load_manifest,
    load_shard_record,
    shard_path,
)
from maskdepth.datasets.shards.reader import ShardReader
from maskdepth.depth import colourise
from maskdepth.errors import UsageError
from maskdepth.files import open_file
from maskdepth.images import grey_picture, grid, save_jpeg, save_png
from maskdepth.records import Json
from maskdepth.synthesis.assets import Asset
from maskdepth.synthesis.recipes import sample_recipe
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.spec import split_line

SHEET_SAMPLES: Final = 12

_PARQUET: Final = b"PAR1"  # a Parquet file begins and ends with it

_Panels = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class ShardState:
    """A shard's file, its state (see ``check_shard``), and how many of its labels are flagged."""

    shard: str
    state: str
    samples: int
    bytes: int
    flagged: int


@dataclass(frozen=True)
class ShardsInspection:
    """The shards of a dataset.

    Attributes:
        manifest: says which shards there have to be.
        files: the state of each.
        states: number of shards by state.
        samples, bytes, flagged: sums over the complete shards.
    """

    manifest: Manifest
    files: tuple[ShardState, ...]
    states: dict[str, int]
    samples: int
    bytes: int
    flagged: int

    @property
    def bytes_per_sample(self) -> float:
        """Mean size of a stored sample; 0 without samples."""
        return self.bytes / self.samples if self.samples else 0.0

    @property
    def plate_bytes(self) -> int:
        """Size of all plates."""
        return sum(plate.bytes for plate in self.manifest.plates)

    def as_json(self) -> Json:
        """The shards for programs."""
        teacher = self.manifest.teacher
        return {
            "count": self.manifest.count,
            "teacher": teacher.model_dump(mode="json") if teacher else None,
            "flagged": self.flagged,
            "shard_size": self.manifest.shard_size,
            "encoding": self.manifest.encoding.model_dump(),
            "samples": self.samples,
            "bytes": self.bytes,
            "bytes_per_sample": self.bytes_per_sample,
            "states": self.states,
            "plates": len(self.manifest.plates),
            "plate_bytes": self.plate_bytes,
            "files": [asdict(shard) for shard in self.files],
        }

    def describe(self) -> Iterator[str]:
        """The shards for people, line by line."""
        manifest, teacher = self.manifest, self.manifest.teacher
        states = ", ".join(f"{number} {state}" for state, number in self.states.items())
        yield f"shards: {states}; {self.samples} of {manifest.count} samples"
        if teacher:
            yield (
                f"  labelled one by one by {teacher.name}, licence {teacher.licence}; "
                f"{self.flagged} flagged"
            )
        yield (
            f"  {self.bytes} bytes, {self.bytes_per_sample:.0f} a sample, and "
            f"{self.plate_bytes} in {len(manifest.plates)} plates"
        )


@dataclass(frozen=True)
class Inspection:
    """The content of a dataset.

    Attributes:
        shards: None where none were asked for.
        faults: a line for every file that is missing or damaged.
    """

    dataset: Dataset
    shards: ShardsInspection | None
    faults: tuple[str, ...]

    @property
    def licences(self) -> dict[str, dict[str, int]]:
        """Number of assets by licence, of cutouts and of backgrounds."""
        spec = self.dataset.spec
        return {"cutouts": _licences(spec.cutouts), "backgrounds": _licences(spec.backgrounds)}

    def as_json(self) -> Json:
        """The dataset for programs."""
        spec = self.dataset.spec
        labels = spec.describe_labels()
        return {
            "dataset": str(self.dataset.folder),
            "fingerprint": spec.fingerprint,
            "seed": spec.seed,
            "rules": spec.rules.name,
            "size": spec.rules.size,
            "splits": spec.split_sizes,
            "licences": self.licences,
            "labels": labels["kinds"],
            "teachers": labels["teachers"],
            "flagged": labels["flagged"],
            "samples": self.dataset.samples,
            "shards": self.shards.as_json() if self.shards else None,
            "faults": list(self.faults),
        }

    def describe(self) -> Iterator[str]:
        """The dataset for people, line by line."""
        spec = self.dataset.spec
        yield f"{self.dataset.folder}: {spec.rules.name}, {spec.rules.size} px, seed {spec.seed}"
        for kind, sizes in spec.split_sizes.items():
            yield split_line(kind, sizes)
            licences = self.licences[kind].items()
            yield f"  licences: {', '.join(f'{number} {name}' for name, number in licences)}"
        labels = ", ".join(f"{number} {kind}" for kind, number in spec.label_kinds.items())
        yield f"disparity labels: {labels}"
        for teacher in spec.teachers:
            yield f"  teacher {teacher.name} ({teacher.version}): licence {teacher.licence}"
        if spec.flagged:
            reasons = Counter(flag for flags in spec.flagged.values() for flag in flags)
            counted = ", ".join(f"{number} {flag}" for flag, number in sorted(reasons.items()))
            yield f"  flagged, and not learned from: {len(spec.flagged)} ({counted})"
        yield f"samples planned: {self.dataset.samples or 'drawn without end'}"
        yield from self.shards.describe() if self.shards else ["shards: none written"]
        yield from (f"fault: {fault}" for fault in self.faults)


def inspect_dataset(dataset: Dataset) -> Inspection:
    """Count a dataset's assets, and check its shards and plates, each of which is read once.

    Raises:
        DatasetError: the shards' manifest is damaged or of another version.
    """
    folder = dataset.folder
    if not is_materialised(folder):
        tars = _tars(folder)
        faults = [f"{len(tars)} shards without their {MANIFEST_FILE}"] if tars else []
        return Inspection(dataset, None, tuple(faults))
    manifest = load_manifest(folder)
    files = [_inspect_shard(folder, manifest, shard) for shard in range(manifest.shards)]
    faults = [f"{shard.shard} is {shard.state}" for shard in files if shard.state != "complete"]
    faults += [
        f"{plate.file} (background {plate.background}) is missing or damaged"
        for plate in manifest.plates
        if not check_plate(folder, plate)
    ]
    others = sorted(_tars(folder) - {shard.shard for shard in files})
    faults += [f"{name} is none of this dataset's shards" for name in others]
    if not (folder / INDEX_FILE).is_file():
        faults.append(f"{INDEX_FILE} is missing")
    elif not _is_parquet(folder / INDEX_FILE):
        faults.append(f"{INDEX_FILE} is damaged")
    if manifest.fingerprint != dataset.spec.fingerprint:
        faults.append("the shards were written from another spec than spec.json")
    complete = [shard for shard in files if shard.state == "complete"]
    shards = ShardsInspection(
        manifest,
        tuple(files),
        states=dict(sorted(Counter(shard.state for shard in files).items())),
        samples=sum(shard.samples for shard in complete),
        bytes=sum(shard.bytes for shard in complete),
        flagged=sum(shard.flagged for shard in complete),
    )
    return Inspection(dataset, shards, tuple(faults))


def save_sheet(dataset: Dataset, path: Path, *, stored: bool) -> None:
    """Save a contact sheet of some samples: picture, plate, alpha and disparity side by side.

    Args:
        path: with the suffix .png, .jpg or .jpeg.
        stored: take the samples from the shards, which must be complete, rather than render them.
    """
    check_sheet(dataset, path)
    rows = [_panels(*sample) for sample in _samples(dataset, stored)]
    sheet = grid(rows, min(2, len(rows)))  # two a row: about as wide as it is high
    (save_png if path.suffix.lower() == ".png" else save_jpeg)(path, sheet)


def check_sheet(dataset: Dataset, path: Path) -> None:
    """Check the path of a contact sheet, before shards are read for minutes."""
    if path.suffix.lower() not in {".png", ".jpg", ".jpeg"}:
        raise UsageError("a file name ending in .png or .jpg", str(path), "choose such a name")
    spec, target = dataset.spec, os.path.realpath(path)
    assets = {
        os.path.realpath(dataset.folder / file)
        for asset in (*spec.cutouts, *spec.backgrounds)
        for file in asset.paths().values()
    }
    plates = os.path.realpath(dataset.folder / PLATE_FOLDER)
    if target in assets or Path(target).parent == Path(plates):
        raise UsageError(
            "a contact sheet apart from the dataset's pictures", str(path), "choose another name",
            f"{path} is one of the dataset's pictures.",
        )  # fmt: skip


def _inspect_shard(folder: Path, manifest: Manifest, shard: int) -> ShardState:
    path, state = shard_path(folder, shard), check_shard(folder, manifest, shard)
    return ShardState(
        path.name,
        state,
        samples=len(manifest.numbers(shard)),
        bytes=path.stat().st_size if path.exists() else 0,
        flagged=load_shard_record(folder, shard).flagged if state == "complete" else 0,
    )


def _tars(folder: Path) -> set[str]:
    """Names of the files that a reader would take for shards."""
    return {path.name for path in (folder / SHARD_FOLDER).glob("*.tar")}


def _is_parquet(path: Path) -> bool:
    """Whether a file begins and ends as Parquet does, which is enough since writing is atomic."""
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
