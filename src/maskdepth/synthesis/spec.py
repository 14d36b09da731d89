"""The dataset spec: 400 000 samples as one small file of assets, splits, checksums and rules."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import field_validator

from maskdepth.config import Seed, Settings
from maskdepth.errors import ConfigError, DatasetError, first_line
from maskdepth.files import read_text, write_text
from maskdepth.synthesis.assets import PATH_FIELDS, Asset, BackgroundAsset, CutoutAsset, Split
from maskdepth.synthesis.catalogue import MEMORY_MB, Catalogue
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.recipes import Pool
from maskdepth.synthesis.rules import RecipeRules

SPEC_FILE: Final = "spec.json"
_FORMAT: Final = "maskdepth-dataset"
_VERSION: Final = 1

AnyAsset = TypeVar("AnyAsset", bound=Asset)


class DatasetSpec(Settings):
    """Everything that determines a dataset; sample ``i`` follows from it alone.

    Attributes:
        seed: of the training recipes, 0 or more.
        rules: of the training recipes. What is reported on is always the frozen benchmark.
        cutouts, backgrounds: the assets with their split and checksum. Paths are relative to
            the dataset folder where they lie below it, else absolute.
    """

    format: Literal["maskdepth-dataset"] = _FORMAT
    version: int = _VERSION
    seed: Seed = 0
    rules: RecipeRules = RecipeRules()
    cutouts: tuple[CutoutAsset, ...]
    backgrounds: tuple[BackgroundAsset, ...]

    @field_validator("cutouts", "backgrounds")
    @classmethod
    def _stand_once(cls, assets: tuple[AnyAsset, ...]) -> tuple[AnyAsset, ...]:
        twice = [name for name, count in Counter(each.id for each in assets).items() if count > 1]
        if twice:
            raise ValueError(f"ids that differ, not {twice[0]!r} twice")
        return assets

    def pool(
        self,
        cutouts: Split = "train",
        backgrounds: Split = "train",
        *,
        labelled: bool | None = None,
        taught: bool | None = None,
        origin: str | None = None,
    ) -> Pool:
        """The assets of one split each, to draw recipes from.

        Args:
            labelled: only backgrounds with (True) or without (False) a disparity label.
            taught: only those that a teacher has (True) or has not (False) labelled.
            origin: only backgrounds of the ``"user"`` or of the ``"sample"`` pack.

        Raises:
            AssetError: nothing is left to draw from.
        """
        return Pool(
            tuple(asset for asset in self.cutouts if asset.split == cutouts),
            tuple(
                asset
                for asset in self.backgrounds
                if asset.split == backgrounds
                and (labelled is None or labelled == (asset.disparity is not None))
                and (taught is None or taught == (asset.teacher is not None))
                and (origin is None or origin == asset.origin)
            ),
        )

    def catalogue(
        self, folder: Path, size: int | None = None, memory_mb: float = MEMORY_MB
    ) -> Catalogue:
        """The assets' pictures, read when first needed; ``folder`` is where the spec lies."""
        size = size or self.rules.size
        return Catalogue(self.cutouts, self.backgrounds, folder, size, memory_mb)

    @property
    def fingerprint(self) -> str:
        """Hash of the whole spec but for where its files lie."""
        values = self.model_dump(mode="json")
        for asset in (*values["cutouts"], *values["backgrounds"]):
            for field in asset.keys() & PATH_FIELDS:
                asset[field] = asset[field] is not None
            # Specs from before there were teachers keep their fingerprints.
            if asset.get("teacher", ...) is None:
                del asset["teacher"]
        # Nor do those change that are older than an effect which they do not have.
        unused = RecipeRules()
        for name in ("recolour", "exposure", "soft_plate", "defocus", "skylight", "tone"):
            if getattr(self.rules, name) == getattr(unused, name):
                del values["rules"][name]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def depth_kind(self) -> str:
        """Where disparity labels come from, in words for cards and reports.

        Exact labels of drawn scenes are "synthetic": they say little of photographs.
        """
        labelled = [asset for asset in self.backgrounds if asset.label_kind is not None]
        kinds = {
            "synthetic" if asset.drawn and asset.label_kind == "exact" else str(asset.label_kind)
            for asset in labelled
        }
        if kinds == {"synthetic"}:
            return "synthetic only"
        return ", ".join(sorted(kinds)) or "none"

    @property
    def split_sizes(self) -> dict[str, dict[str, int]]:
        """How many cutouts and backgrounds each split has."""
        kinds: dict[str, tuple[Asset, ...]] = {
            "cutouts": self.cutouts,
            "backgrounds": self.backgrounds,
        }
        return {
            kind: {
                split: sum(asset.split == split for asset in assets)
                for split in ("train", "val", "test")
            }
            for kind, assets in kinds.items()
        }

    @property
    def label_kinds(self) -> dict[str, int]:
        """Number of backgrounds by where their label comes from."""
        kinds = Counter(asset.label_kind or "none" for asset in self.backgrounds)
        return dict(sorted(kinds.items()))

    def describe_labels(self) -> dict[str, Any]:
        """As JSON has it: ``label_kinds``, ``teachers`` and ``flagged``."""
        return {
            "kinds": self.label_kinds,
            "teachers": [teacher.model_dump(mode="json") for teacher in self.teachers],
            "flagged": {name: list(flags) for name, flags in self.flagged.items()},
        }

    @property
    def teachers(self) -> list[TeacherLabel]:
        """Those whose labels are learned from, each once, in the order of their names."""
        found = {asset.teacher for asset in self.backgrounds if asset.disparity and asset.teacher}
        return sorted(found, key=lambda teacher: (teacher.name, teacher.version))

    @property
    def flagged(self) -> dict[str, tuple[str, ...]]:
        """Backgrounds whose label is not learned from, by id, and why."""
        return {
            asset.id: asset.teacher.flags
            for asset in self.backgrounds
            if asset.teacher is not None and asset.teacher.flags
        }


def split_line(kind: str, sizes: Mapping[str, int]) -> str:
    """How many assets of a kind each split has, for people; see ``DatasetSpec.split_sizes``."""
    parts = ", ".join(f"{number} {split}" for split, number in sizes.items())
    return f"{sum(sizes.values())} {kind}: {parts}"


def save_spec(folder: Path, spec: DatasetSpec) -> None:
    """Write ``spec.json`` into the dataset folder, which is created where needed."""
    folder = folder.resolve()

    def relative(path: str) -> str:
        below = Path(path).is_relative_to(folder)
        return Path(path).relative_to(folder).as_posix() if below else path

    portable = spec.model_copy(
        update={
            "cutouts": tuple(asset.with_paths(relative) for asset in spec.cutouts),
            "backgrounds": tuple(asset.with_paths(relative) for asset in spec.backgrounds),
        }
    )
    text = json.dumps(portable.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_text(folder / SPEC_FILE, text + "\n")


def load_spec(folder: Path) -> DatasetSpec:
    """Read the spec of a dataset folder.

    Raises:
        DatasetError: there is none, it is damaged, or another version wrote it.
    """
    path = folder / SPEC_FILE
    try:
        values = json.loads(read_text(path))
        found = values.get("format"), values.get("version")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"a dataset with a readable {SPEC_FILE} at {folder}",
            first_line(error),
            "make one with `maskdepth compose CUTOUTS BACKGROUNDS -o DATASET`",
        ) from None
    if found != (_FORMAT, _VERSION):
        raise DatasetError(
            f"{_FORMAT} version {_VERSION} in {path}",
            f"{found[0]} version {found[1]}",
            "compose the dataset again with this version of maskdepth",
        )
    try:
        return DatasetSpec.parse(values, str(path))
    except ConfigError as error:
        raise DatasetError(error.expected, error.got, "compose the dataset again") from None
