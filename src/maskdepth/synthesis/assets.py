"""Assets: cutouts and backgrounds, scanned from folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from maskdepth.config import Settings
from maskdepth.errors import AssetError
from maskdepth.picture_decoding import MAX_PIXELS
from maskdepth.picture_formats import COMMON_SUFFIXES
from maskdepth.records import Json
from maskdepth.synthesis.checks import (
    Checked,
    Finding,
    check_background,
    check_cutout,
    check_panorama,
)
from maskdepth.synthesis.duplicates import near_duplicates
from maskdepth.synthesis.folders import list_pictures
from maskdepth.synthesis.ground import GroundPoint
from maskdepth.synthesis.label_facts import LabelFacts, TeacherLabel, load_label_facts
from maskdepth.synthesis.licences import LicenceTables
from maskdepth.synthesis.panoramas import VIEWS, View
from maskdepth.synthesis.same_place import same_places

__all__ = [
    "SAMPLE_PACK",
    "Asset",
    "BackgroundAsset",
    "CutoutAsset",
    "Finding",
    "Split",
    "list_pictures",
    "scan_backgrounds",
    "scan_cutouts",
]

Split = Literal["train", "val", "test"]
FilePath = Annotated[str, Field(pattern=r"^[^\x00]+$")]  # no file name holds a zero byte

SAMPLE_PACK: Final = "maskdepth sample pack"
"""The source of drawn pictures in ``licences.csv``, which travels with them."""
PATH_FIELDS: Final = ("file", "relief", "disparity")
"""The fields of assets that hold the path of a file."""
MAX_SIDE: Final = MAX_PIXELS  # px; no readable picture has a longer side
_REPAIR: Final = "repair or remove these files"


class Asset(Settings):
    """One usable picture file.

    Attributes:
        id: the file's stem, made unique within the scan; of a view, followed by ``@view`` and its
            number.
        file: POSIX path, absolute after a scan; a spec makes it relative where it can.
        sha256: checksum of the file.
        width, height: size of the upright picture, px; for a cutout, of the box of its alpha, and
            for a view of a panorama, of that view.
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
        view: the view of the file, which is a panorama; None for any other picture. The label and
            the ground belong to the view.
    """

    disparity: FilePath | None = None
    label: str | None = None
    focal: float | None = Field(None, gt=0)
    ground: tuple[GroundPoint, ...] = ()
    teacher: TeacherLabel | None = None
    origin: Literal["user", "sample"] = "user"
    view: View | None = None

    @property
    def content_name(self) -> str:
        """A file's name, without ending, that follows from what the picture shows."""
        stem = self.sha256[:16]
        return stem if self.view is None else f"{stem}-{self.view.key}"

    @property
    def label_kind(self) -> str | None:
        """Where its disparity comes from; None if there is none to learn from."""
        return None if self.disparity is None else self.label or "unknown"

    @property
    def drawn(self) -> bool:
        """Whether it is a scene of a sample pack: the built-in one, or one of the user's."""
        return self.origin == "sample" or self.source == SAMPLE_PACK


_Check = Callable[[Path], Checked | Finding]
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
    findings: list[Finding] = []
    paths = list_pictures(folder, "cutouts")
    kept = _scan(folder, paths, check_cutout, "cutouts", strict, findings)
    assets = [
        CutoutAsset(
            **common,
            alpha_share=item.alpha_share,
            relief=item.label.file if item.label else None,
            foot=item.foot,
        )
        for common, item, _ in _described(kept, LicenceTables(folder.absolute(), findings))
    ]
    return assets, findings


def scan_backgrounds(
    folder: Path,
    origin: Literal["user", "sample"] = "user",
    *,
    strict: bool = False,
    views: int = VIEWS,
    seed: int = 0,
) -> tuple[list[BackgroundAsset], list[Finding]]:
    """Check every picture in a folder and below it as a background, and draw views of panoramas.

    A panorama lies in a folder called ``panoramas``, or has the ``projection`` equirectangular in
    ``licences.csv``. Each of its views is a background of its own.

    Args:
        folder: as in ``scan_cutouts``. Disparity labels are ``<stem>_disparity.png`` beside the
            pictures, and a ``label.json`` there describes them; see ``LabelFacts``.
        origin: whose folder this is.
        strict: raise at the first file that the check drops.
        views: number of views of each panorama.
        seed: of the views.

    Returns, raises: as ``scan_cutouts``.
    """
    findings: list[Finding] = []
    paths = list_pictures(folder, "backgrounds")
    tables = LicenceTables(folder.absolute(), findings)
    panoramas = tables.find_panoramas(paths)

    def check(path: Path) -> Checked | Finding:
        if path in panoramas:
            return check_panorama(path, views, seed)
        return check_background(path, beside_panoramas=bool(panoramas))

    kept = _scan(folder, paths, check, "backgrounds", strict, findings)
    labelled = sorted({path.parent for path, item, _ in kept if item.label})
    facts = {place: load_label_facts(place, findings) for place in labelled}
    assets = []
    for common, item, view in _described(kept, tables):
        asset = BackgroundAsset(**common, ground=item.ground, origin=origin, view=view)
        if view is not None:
            asset = asset.model_copy(update={"focal": round(view.focal, 4)})
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


def _scan(
    folder: Path,
    paths: Sequence[Path],
    check: _Check,
    kind: str,
    strict: bool,
    findings: list[Finding],
) -> list[_Kept]:
    """Check the pictures of a folder side by side; see ``scan_cutouts``."""
    kept: list[tuple[Path, Checked]] = []
    first_of: dict[str, Path] = {}
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
    groups = _grouped(kept, findings)
    return [(*item, group) for item, group in zip(kept, groups, strict=True)]


def _checked(check: _Check, path: Path) -> Checked | Finding:
    """Check one file, and drop it if no spec can hold its name."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    if shown != str(path):
        return Finding(shown, "unreadable", "its name is not UTF-8: rename it", True)
    return check(path)


def _grouped(kept: Sequence[tuple[Path, Checked]], findings: list[Finding]) -> list[str]:
    """The group of each file, and a finding for each file that resembles an earlier one."""
    # Panoramas resemble each other as small copies: sky above ground, whatever the place.
    flat = [index for index, (_, item) in enumerate(kept) if not item.views]
    roots, pairs = near_duplicates([kept[index][1].thumb for index in flat])
    groups = list(range(len(kept)))
    for index, root in zip(flat, roots, strict=True):
        groups[index] = flat[root]
    for pair in pairs:
        first, second = kept[flat[pair.first]][0], kept[flat[pair.second]][0]
        how = "a mirrored near-copy of" if pair.mirrored else "nearly the same as"
        detail = f"{how} {first}, both go into one split"
        findings.append(Finding(str(second), "near-duplicate", detail, False))
    placed = [(index, item.place) for index, (_, item) in enumerate(kept) if item.place]
    for match in same_places([place for _, place in placed]):
        panorama, other = placed[match.panorama][0], placed[match.other][0]
        if groups[panorama] != groups[other]:
            detail = f"it shows a part of {kept[panorama][0]}, both go into one split"
            findings.append(Finding(str(kept[other][0]), "near-duplicate", detail, False))
            joined = {groups[panorama], groups[other]}
            groups = [min(joined) if group in joined else group for group in groups]
    smallest: dict[int, str] = {}
    for group, (_, item) in zip(groups, kept, strict=True):
        smallest[group] = min(smallest.get(group, item.sha256), item.sha256)
    return [smallest[group] for group in groups]


def _described(
    kept: Sequence[_Kept], tables: LicenceTables
) -> Iterator[tuple[Json, Checked, View | None]]:
    """The fields of ``Asset`` for each picture, a panorama's views one by one, with its view."""
    pictures = [
        (path, item, group, number, view)
        for path, item, group in kept
        for number, view in enumerate(item.views or (None,))
    ]
    ids = _unique_ids([
        inside if view is None else inside.with_stem(f"{inside.stem}@view{number:02d}")
        for inside, number, view in (
            (path.relative_to(tables.top), number, view) for path, _, _, number, view in pictures
        )
    ])  # fmt: skip
    for (path, item, group, _, view), name in zip(pictures, ids, strict=True):
        entry = tables.entry(path)
        size = (item.height, item.width) if view is None else view.size(item.width)
        yield (
            {
                "id": name,
                "file": path.as_posix(),
                "sha256": item.sha256,
                "width": size[1],
                "height": size[0],
                "source": entry.source,
                "licence": entry.licence,
                "label_sha256": item.label.sha256 if item.label else None,
                "group": group,
            },
            item,
            view,
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
