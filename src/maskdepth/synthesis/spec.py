"""The dataset spec: one small file of assets, splits, checksums and rules for all samples."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import field_validator

from maskdepth.config import Seed, Settings
from maskdepth.errors import ConfigError, DatasetError, first_line
from maskdepth.files import read_text, write_text
from maskdepth.records import Json
from maskdepth.synthesis.assets import PATH_FIELDS, Asset, BackgroundAsset, CutoutAsset, Split
from maskdepth.synthesis.catalogue import MEMORY_MB, Catalogue
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.recipes import Pool
from maskdepth.synthesis.rules import RecipeRules

SPEC_FILE: Final = "spec.json"
_FORMAT: Final = "maskdepth-dataset"
_VERSION: Final = 1
# Effects that are younger than the first fingerprints.
_YOUNGER_RULES: Final = (
    "recolour", "exposure", "soft_plate", "defocus", "skylight", "tone",
    "long_shadow", "shade", "tone_curve", "grey_plate",
)  # fmt: skip

AnyAsset = TypeVar("AnyAsset", bound=Asset)


class DatasetSpec(Settings):
    """Everything that determines a dataset: sample ``i`` follows from the spec alone.

    Attributes:
        seed: seed of the training recipes, 0 or more.
        rules: rules of the training recipes. Reports always use the frozen benchmark.
        cutouts, backgrounds: the assets with their splits and checksums. Paths below the dataset
            folder are relative to it, others are absolute.
    """

    format: Literal["maskdepth-dataset"] = _FORMAT
    version: int = _VERSION
    seed: Seed = 0
    rules: RecipeRules = RecipeRules()
    cutouts: tuple[CutoutAsset, ...]
    backgrounds: tuple[BackgroundAsset, ...]

    @field_validator("cutouts", "backgrounds")
    @classmethod
    def _check_ids(cls, assets: tuple[AnyAsset, ...]) -> tuple[AnyAsset, ...]:
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
            cutouts, backgrounds: the split of each.
            labelled: only backgrounds with (True) or without (False) a disparity label.
            taught: only backgrounds with (True) or without (False) a teacher's label.
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
        """The assets' pictures, read when they are first needed; ``folder`` holds the spec."""
        size = size or self.rules.size
        return Catalogue(self.cutouts, self.backgrounds, folder, size, memory_mb)

    @property
    def fingerprint(self) -> str:
        """Hash of the spec without the paths of its files."""
        values = self.model_dump(mode="json")
        for asset in (*values["cutouts"], *values["backgrounds"]):
            for field in asset.keys() & PATH_FIELDS:
                asset[field] = asset[field] is not None
            # A spec that is older than teachers or panoramas keeps its fingerprint.
            for field in ("teacher", "view"):
                if asset.get(field, ...) is None:
                    del asset[field]
        # So does a spec that is older than an effect and does not use it.
        unused = RecipeRules()
        for name in _YOUNGER_RULES:
            if getattr(self.rules, name) == getattr(unused, name):
                del values["rules"][name]
        if self.rules.crowd.further == unused.crowd.further:
            del values["rules"]["crowd"]["further"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def depth_kind(self) -> str:
        """Where disparity labels come from, in words for cards and reports.

        Exact labels of drawn scenes count as "synthetic", since they say little about photographs.
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
    def holds_out(self) -> bool:
        """Whether assets are kept from training, to judge on."""
        return any(asset.split != "train" for asset in (*self.cutouts, *self.backgrounds))

    @property
    def split_sizes(self) -> dict[str, dict[str, int]]:
        """Number of cutouts and backgrounds by split."""
        kinds: dict[str, tuple[Asset, ...]] = {
            "cutouts": self.cutouts,
            "backgrounds": self.backgrounds,
        }
        return {kind: count_splits(assets) for kind, assets in kinds.items()}

    @property
    def label_kinds(self) -> dict[str, int]:
        """Number of backgrounds by the kind of their label."""
        kinds = Counter(asset.label_kind or "none" for asset in self.backgrounds)
        return dict(sorted(kinds.items()))

    def describe_labels(self) -> Json:
        """The kinds of labels, the teachers and the flagged backgrounds as JSON."""
        return {
            "kinds": self.label_kinds,
            "teachers": [teacher.model_dump(mode="json") for teacher in self.teachers],
            "flagged": {name: list(flags) for name, flags in self.flagged.items()},
        }

    @property
    def teachers(self) -> list[TeacherLabel]:
        """The teachers whose labels are learned from, in the order of their names."""
        found = {asset.teacher for asset in self.backgrounds if asset.disparity and asset.teacher}
        return sorted(found, key=lambda teacher: (teacher.name, teacher.version))

    @property
    def flagged(self) -> dict[str, tuple[str, ...]]:
        """Reasons not to learn from a background's label, by id."""
        return {
            asset.id: asset.teacher.flags
            for asset in self.backgrounds
            if asset.teacher is not None and asset.teacher.flags
        }


def count_splits(assets: Iterable[Asset]) -> dict[str, int]:
    """The number of assets by split."""
    counts = Counter(asset.split for asset in assets)
    return {split: counts[split] for split in ("train", "val", "test")}


def split_line(kind: str, sizes: Mapping[str, int]) -> str:
    """One line on the splits of a kind of assets; see ``DatasetSpec.split_sizes``."""
    parts = ", ".join(f"{number} {split}" for split, number in sizes.items())
    return f"{sum(sizes.values())} {kind}: {parts}"


def save_spec(folder: Path, spec: DatasetSpec) -> None:
    """Write ``spec.json`` into a dataset folder, which is created if needed."""
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
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(
            f"a dataset at {folder}",
            first_line(error),
            "make one with `maskdepth compose CUTOUTS BACKGROUNDS -o DATASET`",
            f"{folder} is no dataset: it has no {SPEC_FILE}."
            if folder.is_dir()
            else f"There is no folder {folder}.",
        ) from None
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"a dataset with a readable {SPEC_FILE} at {folder}",
            first_line(error),
            "make one with `maskdepth compose CUTOUTS BACKGROUNDS -o DATASET`",
            f"There is no readable {SPEC_FILE} in {folder}: {first_line(error)}.",
        ) from None
    if found != (_FORMAT, _VERSION):
        raise DatasetError(
            f"{_FORMAT} version {_VERSION} in {path}",
            f"{found[0]} version {found[1]}",
            "compose the dataset again with this version of maskdepth",
            f"{path} is {found[0]} version {found[1]}, not {_FORMAT} version {_VERSION}.",
        )
    try:
        return DatasetSpec.parse(values, str(path))
    except ConfigError as error:
        raise DatasetError(
            error.expected, error.got, "compose the dataset again", error.problem
        ) from None
