"""Cutouts and backgrounds: what a folder holds, what it may be used for, and how it is split."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import Field

from maskdepth.config import Settings
from maskdepth.errors import AssetError, first_line
from maskdepth.files import read_text
from maskdepth.images import MAX_PIXELS, PICTURE_SUFFIXES
from maskdepth.synthesis.checks import (
    DISPARITY_SUFFIX,
    FOREIGN_SUFFIXES,
    MILLIMETRES_SUFFIX,
    RELIEF_SUFFIX,
    Checked,
    Finding,
    check_background,
    check_cutout,
)
from maskdepth.synthesis.duplicates import near_duplicates
from maskdepth.synthesis.ground import GroundPoint
from maskdepth.synthesis.label_facts import LABEL_SHEET, TeacherLabel, load_label_facts

__all__ = [
    "LEAST_GROUPS",
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
]

Split = Literal["train", "val", "test"]
FilePath = Annotated[str, Field(pattern=r"^[^\x00]+$")]  # no file's name holds a zero

SAMPLE_PACK: Final = "maskdepth sample pack"
"""The source of drawn pictures in their ``licences.csv``, wherever they have gone since."""
PATH_FIELDS: Final = ("file", "relief", "disparity")
"""Of assets: what names a file."""
LARGEST_SIDE: Final = MAX_PIXELS  # px; no picture that can be read has more
LEAST_GROUPS: Final = 3
"""Of assets that differ: one for each split."""
_LICENCES_FILE: Final = "licences.csv"
_LABEL_SUFFIXES: Final = (DISPARITY_SUFFIX, RELIEF_SUFFIX, MILLIMETRES_SUFFIX)
_SPLIT_SALT: Final = "maskdepth-split-v1"
_HELD_OUT_SHARE: Final = 0.15  # for val and for test each
_MEND: Final = "mend or remove these files"


class Asset(Settings):
    """One usable picture file.

    Attributes:
        id: the file's stem, made unique within the scan.
        file: POSIX path: absolute from a scan, in a spec relative where possible.
        sha256: of the file's bytes.
        width, height: px, of the picture turned upright; of a cutout, of its alpha's box.
        licence, source: from ``licences.csv``.
        split: None until ``assign_splits``.
        label_sha256: of the label beside it, if any.
        group: the smallest checksum among the asset and its near-duplicates, which are never
            split up.
    """

    id: str
    file: FilePath
    sha256: str
    width: int = Field(ge=1, le=LARGEST_SIDE)
    height: int = Field(ge=1, le=LARGEST_SIDE)
    licence: str | None = None
    source: str | None = None
    split: Split | None = None
    label_sha256: str | None = None
    group: str

    def paths(self) -> dict[str, str]:
        """The files that it names, by field: the picture and what is known of it pixel by pixel."""
        found = {field: getattr(self, field, None) for field in PATH_FIELDS}
        return {field: path for field, path in found.items() if path is not None}

    def with_paths(self, change: Callable[[str], str]) -> Self:
        """The same with every path changed."""
        return self.model_copy(update={field: change(path) for field, path in self.paths().items()})


class CutoutAsset(Asset):
    """A cutout.

    Attributes:
        alpha_share: mask pixels (alpha > 0.5) / pixels of the box.
        relief: path of the relief picture beside it, if any.
        foot: where it touches the ground: the middle of its lowest row and that row's lower edge,
            shares of the box's width and height.
    """

    alpha_share: float = Field(gt=0, le=1)
    relief: FilePath | None = None
    foot: tuple[float, float] = (0.5, 1.0)


class BackgroundAsset(Asset):
    """A background.

    Attributes:
        disparity: path of its 16-bit disparity label; None where it has none to learn from.
        label: where that label comes from: "exact", "sensor", "teacher NAME", ...
        teacher: who made the label, also where it is not learned from; None without a teacher.
        focal: focal length as a share of the long side, by ``label.json``, if known.
        ground: points where something could stand, found in the label; see ``ground``.
        origin: whether it is the user's own or the built-in sample pack's.
    """

    disparity: FilePath | None = None
    label: str | None = None
    focal: float | None = Field(None, gt=0)
    ground: tuple[GroundPoint, ...] = ()
    teacher: TeacherLabel | None = None
    origin: Literal["user", "sample"] = "user"

    @property
    def label_kind(self) -> str | None:
        """Where its disparity comes from; None where it has none, or is not learned from."""
        return None if self.disparity is None else self.label or "unknown"

    @property
    def drawn(self) -> bool:
        """Whether it is a scene of a sample pack, the built-in one or one among the user's own."""
        return self.origin == "sample" or self.source == SAMPLE_PACK


_AnyAsset = TypeVar("_AnyAsset", bound=Asset)
_Kept = tuple[Path, Checked, str]  # file, what the check kept of it, group


def scan_cutouts(folder: Path, *, strict: bool = False) -> tuple[list[CutoutAsset], list[Finding]]:
    """Check every picture in a folder and below it as a cutout.

    Args:
        folder: with pictures, relief pictures ``<stem>_relief.png`` beside them where there are
            any, and ``licences.csv`` (file,source,licence) in the folder or the one above it;
            its file column is relative to the table.
        strict: raise at the first file that the check drops.

    Returns:
        The usable ones in the order of their paths, and what there is to say about all.

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
        folder: as in ``scan_cutouts``; disparity labels are ``<stem>_disparity.png`` beside the
            pictures, and where they come from stands in ``label.json`` as ``{"kind": "exact"}``,
            with focal lengths by stem where they are known: ``"focal": {"stem": 0.9}``, shares of
            the pictures' long sides; beside pseudo-labels also ``"teacher"`` and, by stem, why a
            label is not to be learned from, ``"flagged"``.
        origin: whose folder this is.
        strict: raise at the first file that the check drops.

    Returns:
        The usable ones in the order of their paths, and what there is to say about all.

    Raises:
        AssetError: the folder is missing or unreadable, nothing in it is usable, or ``strict``.
    """
    kept, findings = _scan(folder, check_background, "backgrounds", strict)
    labelled = sorted({path.parent for path, item, _ in kept if item.label})
    told = {place: load_label_facts(place, findings) for place in labelled}
    assets = []
    for common, item in _described(folder, kept, findings):
        asset = BackgroundAsset(**common, ground=item.ground, origin=origin)
        if item.label:
            asset = asset.model_copy(update={"disparity": item.label.file})
            facts = told[Path(item.label.file).parent]
            asset = asset.model_copy(update=facts.of(Path(asset.file).stem) if facts else {})
        assets.append(asset)
    return assets, findings


def assign_splits(assets: Iterable[_AnyAsset], small: bool = False) -> list[_AnyAsset]:
    """Copies of the assets, each with its split: about 70 % train, 15 % val, 15 % test.

    A group's split follows from its content alone, so that neither new names nor other files
    move what is there; but for near-duplicates of it, which can move their whole group.

    Args:
        assets: of one kind.
        small: take exact shares of the groups instead, ordered by the same hash, so that three
            groups are enough; but a group of more than half of the assets, such as the frames of
            one camera, is trained on. New files may then move others.

    Raises:
        AssetError: a split would be empty.
    """
    assets = list(assets)
    kind = "cutouts" if any(isinstance(asset, CutoutAsset) for asset in assets) else "backgrounds"
    members = Counter(asset.group for asset in assets)
    most = len(assets) / 2 if small else len(assets)
    groups = sorted(members, key=lambda group: (members[group] > most, _position(group)))
    if len(groups) < LEAST_GROUPS:
        raise AssetError(
            f"at least {LEAST_GROUPS} {kind} that are not near-duplicates, one for each of train, "
            "val and test",
            f"{len(groups)} among {len(assets)}",
            f"add {kind} that look otherwise",
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
        )
    return [asset.model_copy(update={"split": splits[asset.group]}) for asset in assets]


def _position(group: str) -> float:
    """Where in [0,1) a group lies, by its content and a fixed salt."""
    digest = hashlib.sha256(f"{_SPLIT_SALT}:{group}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _split_at(held_out_shares: float) -> Split:
    """The split at a distance from the start, in units of what each of test and val takes."""
    return "test" if held_out_shares < 1 else "val" if held_out_shares < 2 else "train"


def _scan(
    folder: Path, check: Callable[[Path], Checked | Finding], kind: str, strict: bool
) -> tuple[list[_Kept], list[Finding]]:
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
                raise AssetError(f"only usable {kind} in {folder}", str(verdict), _MEND)
            findings.append(verdict)
    if not kept:
        raise AssetError(
            f"at least one usable file of {kind} in {folder}",
            "; ".join(map(str, findings[:3])) or "no pictures",
            _MEND if paths else f"put pictures there ({', '.join(sorted(PICTURE_SUFFIXES))})",
        )
    groups, alike = _grouped(kept)
    return [(*item, group) for item, group in zip(kept, groups, strict=True)], findings + alike


def _checked(check: Callable[[Path], Checked | Finding], path: Path) -> Checked | Finding:
    """What a check says of a file; one whose name no spec can hold is dropped."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    if shown != str(path):
        return Finding(shown, "unreadable", "its name is not UTF-8: rename it", True)
    return check(path)


def _grouped(kept: Sequence[tuple[Path, Checked]]) -> tuple[list[str], list[Finding]]:
    """The group of each file, and a finding for each that is like an earlier one."""
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


def list_pictures(folder: Path, kind: str) -> list[Path]:
    """Absolute paths of the pictures in a folder and below, without labels and hidden files.

    Links to folders are followed.

    Args:
        kind: what they are called in the error, ``"backgrounds"``.

    Raises:
        AssetError: the folder is missing or unreadable.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing there"
        raise AssetError(f"a folder of {kind} at {folder}", got, "check the path")

    def refuse(error: OSError) -> None:
        reason = error.strerror or str(error)
        raise AssetError(f"a readable folder at {error.filename}", reason, "let it be read")

    found = []
    tops: list[Path] = [folder.absolute()]
    seen: set[str] = set()
    for top in tops:  # which grow: what links lead to comes after all that lies here, and once
        for at, below, names in os.walk(top, onerror=refuse):
            place, real = Path(at), os.path.realpath(at)
            if real in seen:
                below.clear()
                continue
            seen.add(real)
            below[:] = sorted(name for name in below if not name.startswith("."))
            tops += [place / name for name in below if (place / name).is_symlink()]
            found += [place / name for name in names if _is_picture(name)]
    return sorted(found, key=Path.as_posix)


def _is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture, neither hidden nor that of a label."""
    return (
        not name.startswith(".")
        and not name.lower().endswith(_LABEL_SUFFIXES)
        and name != LABEL_SHEET
        and Path(name).suffix.lower() in PICTURE_SUFFIXES | FOREIGN_SUFFIXES
    )


def _described(
    folder: Path, kept: Sequence[_Kept], findings: list[Finding]
) -> Iterator[tuple[dict[str, Any], Checked]]:
    """The fields that all assets have, with ids and licences looked up; perhaps findings more."""
    top = folder.absolute()
    ids = _unique_ids([path.relative_to(top) for path, _, _ in kept])
    tables: dict[Path, dict[str, tuple[str | None, str | None]]] = {}
    for (path, item, group), name in zip(kept, ids, strict=True):
        source, licence = None, None
        # The nearest table that names the file counts, up to the one above the folder.
        for place in path.parents:
            if place not in tables:
                tables[place] = _licences(place / _LICENCES_FILE, findings)
            entry = tables[place].get(path.relative_to(place).as_posix())
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
    """The stem; where files share it, the path without suffix; where they share that, all of it."""
    stems = Counter(path.stem for path in paths)
    bare = Counter(path.with_suffix("").as_posix() for path in paths)
    ids = []
    for path in paths:
        without = path.with_suffix("").as_posix()
        unambiguous = without if bare[without] == 1 else path.as_posix()
        ids.append(path.stem if stems[path.stem] == 1 else unambiguous)
    while twice := {name for name, count in Counter(ids).items() if count > 1}:
        # A whole name can be another's stem: of x.png, x.jpg and x.png.png.
        ids = [
            path.as_posix() if name in twice else name
            for path, name in zip(paths, ids, strict=True)
        ]
    return ids


def _licences(path: Path, findings: list[Finding]) -> dict[str, tuple[str | None, str | None]]:
    """File -> (source, licence) of a table; empty where it is missing or is no such table."""
    if not path.exists():
        return {}
    try:
        table = csv.DictReader(read_text(path, "utf-8-sig").splitlines())
        if "file" not in (table.fieldnames or ()):
            raise csv.Error("its first line does not name file,source,licence with commas")
        return {
            row["file"]: (row.get("source") or None, row.get("licence") or None)
            for row in table
            if row.get("file")
        }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        findings.append(Finding(str(path), "licences unusable", first_line(error), False))
        return {}
