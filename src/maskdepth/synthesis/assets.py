"""Assets: cutouts and backgrounds, scanned from folders and split into train, val and test."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field

from maskdepth.config import Settings
from maskdepth.errors import AssetError, first_line
from maskdepth.files import normal_name, read_text
from maskdepth.picture_decoding import MAX_PIXELS
from maskdepth.picture_formats import COMMON_SUFFIXES
from maskdepth.records import Json
from maskdepth.synthesis.checks import Checked, Finding, check_background, check_cutout
from maskdepth.synthesis.duplicates import near_duplicates
from maskdepth.synthesis.folders import list_pictures
from maskdepth.synthesis.ground import GroundPoint
from maskdepth.synthesis.label_facts import LabelFacts, TeacherLabel, load_label_facts

__all__ = [
    "MIN_GROUPS",
    "SAMPLE_PACK",
    "Asset",
    "BackgroundAsset",
    "CutoutAsset",
    "Finding",
    "Split",
    "assign_splits",
    "list_pictures",
    "scan_backgrounds",
    "scan_cutouts",
    "train_on_all",
]

Split = Literal["train", "val", "test"]
FilePath = Annotated[str, Field(pattern=r"^[^\x00]+$")]  # no file name holds a zero byte

SAMPLE_PACK: Final = "maskdepth sample pack"
"""The source of drawn pictures in ``licences.csv``, which travels with them."""
PATH_FIELDS: Final = ("file", "relief", "disparity")
"""The fields of assets that hold the path of a file."""
MAX_SIDE: Final = MAX_PIXELS  # px; no readable picture has a longer side
MIN_GROUPS: Final = 3
"""Groups of assets that a split needs: one each for train, val and test."""
_LICENCES_FILE: Final = "licences.csv"
_SPLIT_SALT: Final = "maskdepth-split-v1"
_HELD_OUT_SHARE: Final = 0.15  # share of val, and of test
_REPAIR: Final = "repair or remove these files"


class Asset(Settings):
    """One usable picture file.

    Attributes:
        id: the file's stem, made unique within the scan.
        file: POSIX path, absolute after a scan; a spec makes it relative where it can.
        sha256: checksum of the file.
        width, height: size of the upright picture, px; for a cutout, of the box of its alpha.
        licence, source: entries of ``licences.csv``.
        split: None until ``assign_splits``.
        label_sha256: checksum of the label beside it, if any.
        group: the smallest checksum among the asset and its near-duplicates. A group stays in one
            split.
    """

    id: str
    file: FilePath
    sha256: str
    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)
    licence: str | None = None
    source: str | None = None
    split: Split | None = None
    label_sha256: str | None = None
    group: str

    def paths(self) -> dict[str, str]:
        """Paths of the asset's files by field: the picture and its labels."""
        found = {field: getattr(self, field, None) for field in PATH_FIELDS}
        return {field: path for field, path in found.items() if path is not None}

    def with_paths(self, change: Callable[[str], str]) -> Self:
        """A copy with every path changed."""
        return self.model_copy(update={field: change(path) for field, path in self.paths().items()})


class CutoutAsset(Asset):
    """A cutout.

    Attributes:
        alpha_share: mask pixels (alpha > 0.5) / pixels of the box.
        relief: path of the relief picture beside it, if any.
        foot: the point that touches the ground: the middle of the lowest row and that row's lower
            edge, as shares of the box's width and height.
    """

    alpha_share: float = Field(gt=0, le=1)
    relief: FilePath | None = None
    foot: tuple[float, float] = (0.5, 1.0)


class BackgroundAsset(Asset):
    """A background.

    Attributes:
        disparity: path of its 16-bit disparity label; None if there is none to learn from.
        label: where that label comes from: "exact", "sensor", "teacher NAME", ...
        teacher: who made the label, even if it is not to be learned from; None without a teacher.
        focal: focal length as a share of the long side, from ``label.json``.
        ground: points where something could stand; see ``ground``.
        origin: whether it belongs to the user or to the built-in sample pack.
    """

    disparity: FilePath | None = None
    label: str | None = None
    focal: float | None = Field(None, gt=0)
    ground: tuple[GroundPoint, ...] = ()
    teacher: TeacherLabel | None = None
    origin: Literal["user", "sample"] = "user"

    @property
    def label_kind(self) -> str | None:
        """Where its disparity comes from; None if there is none to learn from."""
        return None if self.disparity is None else self.label or "unknown"

    @property
    def drawn(self) -> bool:
        """Whether it is a scene of a sample pack: the built-in one, or one of the user's."""
        return self.origin == "sample" or self.source == SAMPLE_PACK


_AnyAsset = TypeVar("_AnyAsset", bound=Asset)
_Kept = tuple[Path, Checked, str]  # a usable file, what its check says, its group


def scan_cutouts(folder: Path, *, strict: bool = False) -> tuple[list[CutoutAsset], list[Finding]]:
    """Check every picture in a folder and below it as a cutout.

    Args:
        folder: holds pictures, perhaps relief pictures ``<stem>_relief.png`` beside them, and
            perhaps ``licences.csv`` (file,source,licence), which may also be in the folder above;
            its file column is relative to the table.
        strict: raise at the first file that the check drops.

    Returns:
        The usable cutouts in the order of their paths, and the findings about all files.

    Raises:
        AssetError: the folder is missing or unreadable, nothing in it is usable, or ``strict``.
    """
    kept, findings = _scan(folder, check_cutout, "cutouts", strict)
    assets = [
        CutoutAsset(
            **common,
            alpha_share=item.alpha_share,
            relief=item.label.file if item.label else None,
            foot=item.foot,
        )
        for common, item in _described(folder, kept, findings)
    ]
    return assets, findings


def scan_backgrounds(
    folder: Path, origin: Literal["user", "sample"] = "user", *, strict: bool = False
) -> tuple[list[BackgroundAsset], list[Finding]]:
    """Check every picture in a folder and below it as a background.

    Args:
        folder: as in ``scan_cutouts``. Disparity labels are ``<stem>_disparity.png`` beside the
            pictures, and a ``label.json`` there describes them; see ``LabelFacts``.
        origin: whose folder this is.
        strict: raise at the first file that the check drops.

    Returns, raises: as ``scan_cutouts``.
    """
    kept, findings = _scan(folder, check_background, "backgrounds", strict)
    labelled = sorted({path.parent for path, item, _ in kept if item.label})
    facts = {place: load_label_facts(place, findings) for place in labelled}
    assets = []
    for common, item in _described(folder, kept, findings):
        asset = BackgroundAsset(**common, ground=item.ground, origin=origin)
        if item.label:
            asset = _with_label(asset, item.label.file, facts[Path(item.label.file).parent])
        assets.append(asset)
    return assets, findings


def _with_label(asset: BackgroundAsset, file: str, facts: LabelFacts | None) -> BackgroundAsset:
    """A background with its label, as far as it is to be learned from."""
    asset = asset.model_copy(update={"disparity": file})
    if facts is None:
        return asset
    stem = Path(asset.file).stem
    asset = asset.model_copy(update={"label": facts.kind, "focal": facts.focal.get(stem)})
    if facts.teacher is None:
        return asset
    flags = facts.flagged.get(stem, ())
    teacher = facts.teacher.model_copy(update={"flags": flags})
    asset = asset.model_copy(update={"teacher": teacher})
    if flags:
        asset = asset.model_copy(update={"disparity": None, "label": None, "label_sha256": None})
    # Ground is found only in disparity that is proportional to inverse depth.
    proportional = not flags and facts.teacher.kind != "disparity"
    return asset if proportional else asset.model_copy(update={"ground": ()})


def assign_splits(assets: Iterable[_AnyAsset], small: bool = False) -> list[_AnyAsset]:
    """Copies of the assets, each with its split: about 70 % train, 15 % val, 15 % test.

    The split of a group follows from its content alone. New names and other files do not change
    it, unless a new file is a near-duplicate and joins the group.

    Args:
        assets: cutouts or backgrounds.
        small: order the groups by the same hash and take exact shares, so that three groups are
            enough. A group of more than half of the assets, such as the frames of one camera, is
            trained on. New files may then move other groups.

    Raises:
        AssetError: a split would be empty.
    """
    assets = list(assets)
    kind = "cutouts" if any(isinstance(asset, CutoutAsset) for asset in assets) else "backgrounds"
    members = Counter(asset.group for asset in assets)
    limit = len(assets) / 2 if small else len(assets)
    groups = sorted(members, key=lambda group: (members[group] > limit, _position(group)))
    if len(groups) < MIN_GROUPS:
        raise AssetError(
            f"at least {MIN_GROUPS} {kind} that differ, one each for train, val and test",
            f"{len(groups)} among {len(assets)}",
            f"add {kind} that look different",
            f"A dataset needs at least {MIN_GROUPS} {kind} that are not near-duplicates, one each "
            f"for train, val and test, but there are {len(groups)} among {len(assets)}.",
        )
    held_out = max(1, round(_HELD_OUT_SHARE * len(groups)))
    splits = {
        group: _split_at(rank / held_out if small else _position(group) / _HELD_OUT_SHARE)
        for rank, group in enumerate(groups)
    }
    sizes = Counter(splits.values())
    empty = [name for name in ("train", "val", "test") if name not in sizes]
    if empty:
        raise AssetError(
            f"{kind} in each of train, val and test among {len(groups)} that differ",
            f"none in {' and '.join(empty)}",
            f"pass --small, or add more {kind}",
            f"Of {len(groups)} {kind} that differ, none is in {' and '.join(empty)}.",
        )
    return [asset.model_copy(update={"split": splits[asset.group]}) for asset in assets]


def train_on_all(assets: Iterable[_AnyAsset]) -> list[_AnyAsset]:
    """Copies of the assets, all in the split ``train``."""
    return [asset.model_copy(update={"split": "train"}) for asset in assets]


def _position(group: str) -> float:
    """A number in [0, 1) that follows from a group's content and a fixed salt."""
    digest = hashlib.sha256(f"{_SPLIT_SALT}:{group}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _split_at(held_out_shares: float) -> Split:
    """The split of a position in units of a held-out share: first test, then val, then train."""
    return "test" if held_out_shares < 1 else "val" if held_out_shares < 2 else "train"


def _scan(
    folder: Path, check: Callable[[Path], Checked | Finding], kind: str, strict: bool
) -> tuple[list[_Kept], list[Finding]]:
    """Check all pictures of a folder side by side; see ``scan_cutouts``."""
    findings: list[Finding] = []
    kept: list[tuple[Path, Checked]] = []
    first_of: dict[str, Path] = {}
    paths = list_pictures(folder, kind)
    # Decoding and hashing release the interpreter's lock.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(partial(_checked, check), paths)
        for path, result in zip(paths, results, strict=True):
            verdict = result
            if isinstance(result, Checked) and result.sha256 in first_of:
                detail = f"the same bytes as {first_of[result.sha256]}"
                verdict = Finding(str(path), "duplicate", detail, True)
            if isinstance(verdict, Checked):
                first_of[verdict.sha256] = path
                kept.append((path, verdict))
                findings.extend(verdict.findings)
                continue
            if strict:
                pool.shutdown(cancel_futures=True)
                raise AssetError(
                    f"only usable {kind} in {folder}",
                    str(verdict),
                    _REPAIR,
                    f"Not all {kind} in {folder} are usable: {verdict}.",
                )
            findings.append(verdict)
    if not kept:
        found = "; ".join(map(str, findings[:3])) or "no pictures"
        raise AssetError(
            f"at least one usable file of {kind} in {folder}",
            found,
            _REPAIR if paths else f"put pictures there ({COMMON_SUFFIXES})",
            f"There are no usable {kind} in {folder}: {found}.",
        )
    groups, alike = _grouped(kept)
    return [(*item, group) for item, group in zip(kept, groups, strict=True)], findings + alike


def _checked(check: Callable[[Path], Checked | Finding], path: Path) -> Checked | Finding:
    """Check one file, and drop it if no spec can hold its name."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    if shown != str(path):
        return Finding(shown, "unreadable", "its name is not UTF-8: rename it", True)
    return check(path)


def _grouped(kept: Sequence[tuple[Path, Checked]]) -> tuple[list[str], list[Finding]]:
    """The group of each file, and a finding for each file that resembles an earlier one."""
    roots, pairs = near_duplicates([item.thumb for _, item in kept])
    findings = []
    for pair in pairs:
        how = "a mirrored near-copy of" if pair.mirrored else "nearly the same as"
        detail = f"{how} {kept[pair.first][0]}, both go into one split"
        findings.append(Finding(str(kept[pair.second][0]), "near-duplicate", detail, False))
    smallest: dict[int, str] = {}
    for root, (_, item) in zip(roots, kept, strict=True):
        smallest[root] = min(smallest.get(root, item.sha256), item.sha256)
    return [smallest[root] for root in roots], findings


def _described(
    folder: Path, kept: Sequence[_Kept], findings: list[Finding]
) -> Iterator[tuple[Json, Checked]]:
    """The fields of ``Asset`` for each file, with ids and licences; may append findings."""
    top = folder.absolute()
    ids = _unique_ids([path.relative_to(top) for path, _, _ in kept])
    tables: dict[Path, dict[str, tuple[str | None, str | None]]] = {}
    for (path, item, group), name in zip(kept, ids, strict=True):
        source, licence = None, None
        # The nearest table that names the file counts; the last one is above the folder.
        for place in path.parents:
            if place not in tables:
                tables[place] = _licences(place / _LICENCES_FILE, findings)
            entry = tables[place].get(normal_name(path.relative_to(place).as_posix()))
            if entry is not None:
                source, licence = entry
            if entry is not None or place == top.parent:
                break
        yield (
            {
                "id": name,
                "file": path.as_posix(),
                "sha256": item.sha256,
                "width": item.width,
                "height": item.height,
                "source": source,
                "licence": licence,
                "label_sha256": item.label.sha256 if item.label else None,
                "group": group,
            },
            item,
        )


def _unique_ids(paths: Sequence[Path]) -> list[str]:
    """The stems; files that share one get the path without suffix, or else all of the path."""
    stems = Counter(path.stem for path in paths)
    bare = Counter(path.with_suffix("").as_posix() for path in paths)
    ids = []
    for path in paths:
        without = path.with_suffix("").as_posix()
        unambiguous = without if bare[without] == 1 else path.as_posix()
        ids.append(path.stem if stems[path.stem] == 1 else unambiguous)
    while twice := {name for name, count in Counter(ids).items() if count > 1}:
        # One file's path can be another's stem, as in x.png, x.jpg and x.png.png.
        ids = [
            path.as_posix() if name in twice else name
            for path, name in zip(paths, ids, strict=True)
        ]
    return ids


def _licences(path: Path, findings: list[Finding]) -> dict[str, tuple[str | None, str | None]]:
    """(Source, licence) by file; empty if there is no such table, or it is not readable."""
    if not path.exists():
        return {}
    try:
        table = csv.DictReader(read_text(path, "utf-8-sig").splitlines())
        if "file" not in (table.fieldnames or ()):
            raise csv.Error("its first line does not name file,source,licence with commas")
        return {
            normal_name(row["file"]): (row.get("source") or None, row.get("licence") or None)
            for row in table
            if row.get("file")
        }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        findings.append(Finding(str(path), "licences unusable", first_line(error), False))
        return {}
