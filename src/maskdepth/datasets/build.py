"""Datasets on disk: a spec from two folders, and composites as files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from maskdepth.datasets.shards.layout import Encoding, Manifest
from maskdepth.datasets.shards.shard_worker import WriteJob
from maskdepth.datasets.shards.writer import write_shards
from maskdepth.errors import DatasetError, StorageError, UsageError
from maskdepth.files import file_checksum, remove_parts
from maskdepth.labelling.labels import describe_teacher
from maskdepth.labelling.teachers.teacher import Teacher, TeacherOpener
from maskdepth.locks import writer_lock
from maskdepth.progress import Notify, notify_quarters
from maskdepth.synthesis.assets import (
    BackgroundAsset,
    Finding,
    scan_backgrounds,
    scan_cutouts,
)
from maskdepth.synthesis.panoramas import VIEWS
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.spec import (
    SPEC_FILE,
    DatasetSpec,
    count_splits,
    load_spec,
    save_spec,
    split_line,
)
from maskdepth.synthesis.splits import MIN_GROUPS, assign_splits, train_on_all
from maskdepth.synthesis.worlds import SEEDS, write_sample_pack

SYNTHETIC_DEPTH_NOTICE = (
    "no background has a disparity label: depth will be learned from drawn sample scenes mixed in "
    "and is marked 'synthetic only'"
)
NO_GROUND_NOTICE = (
    "objects are pasted anywhere in your backgrounds, for none has a depth label that shows where "
    "its ground is: masks are learned just as well, but where objects stand, which tells their "
    "depth, only from drawn scenes, if any are mixed in; `maskdepth label` makes such labels"
)
ALIKE_NOTICE = (
    "{have}, too few to keep some for judging: all are trained on, and masks are judged on drawn "
    "scenes; to be judged on your own, add photos of other places"
)
PACK_FOLDER = "sample_pack"
SHARD_SIZE = 1000  # samples


@dataclass(frozen=True)
class Dataset:
    """A dataset folder, its spec, and the findings of the check of its assets."""

    folder: Path
    spec: DatasetSpec
    findings: tuple[Finding, ...]

    def describe(self) -> Iterator[str]:
        """The findings and the sizes of the splits, line by line."""
        yield from map(str, self.findings)
        yield from (split_line(*item) for item in self.spec.split_sizes.items())
        views = [asset.file for asset in self.spec.backgrounds if asset.view is not None]
        if views:
            yield f"{len(views)} of the backgrounds are views of {len(set(views))} panoramas"
        own = [asset for asset in self.spec.backgrounds if asset.origin == "user"]
        if len(own) < len(self.spec.backgrounds):
            yield split_line("backgrounds of your own", count_splits(own))
        if self.samples is not None:
            yield f"{self.samples} training composites planned"

    @property
    def samples(self) -> int | None:
        """Training composites of a planned grid; None where they are drawn without end."""
        places = self.spec.rules.places
        return self.spec.pool().grid_size(places) if places else None

    def check_count(self, count: int) -> None:
        """Check that a planned grid has as many composites.

        Raises:
            UsageError: it has fewer.
        """
        if self.samples is not None and count > self.samples:
            raise UsageError(
                f"at most the {self.samples} samples of the plan", str(count), "ask for fewer",
                f"The plan has {self.samples} samples, not {count}.",
            )  # fmt: skip


def compose_dataset(
    cutouts: Path,
    backgrounds: Path,
    folder: Path,
    *,
    rules: RecipeRules | None = None,
    seed: int = 0,
    small: bool = False,
    strict: bool = False,
    hold_out: bool = True,
    depth_scenes: int = 60,
    views: int = VIEWS,
    notify: Notify = lambda _: None,
) -> Dataset:
    """Check, split and freeze two folders of assets as a dataset spec.

    Args:
        small: split by hash rank, so that a handful of assets fills every split.
        strict: stop at the first asset that the check drops.
        hold_out: keep some assets from training, to judge on; False trains on all, as the prior
            work did, without drawn scenes.
        depth_scenes: sample-pack scenes to mix in where no background has a disparity label, and
            where all are of one camera or two; those are then trained on, and the scenes held out.
        views: number of views of each panorama among the backgrounds; see ``scan_backgrounds``.
        notify: receives a line for everything that deserves the user's attention.

    Raises:
        AssetError: a folder is missing or empty, a split is empty, or ``strict`` stopped.
        StorageError: the folder holds another dataset, lies among the pictures, or is written to.
        UsageError: one or two drawn scenes, which are too few to split; or ``depth_scenes``
            without ``hold_out``.
    """
    if depth_scenes and not hold_out:
        raise UsageError(
            "no drawn scenes where no asset is held out",
            str(depth_scenes),
            "make --depth-scenes 0, or leave --split none out",
            "Drawn scenes are split, and nothing is with --split none.",
        )
    if 0 < depth_scenes < MIN_GROUPS:
        raise UsageError(
            f"no drawn scenes, or at least {MIN_GROUPS}: one for each of train, val and test",
            str(depth_scenes),
            "raise --depth-scenes, or make it 0",
            f"{depth_scenes} drawn scenes are too few to split into train, val and test.",
        )
    # Resolved, so that paths below the dataset folder are relative to it, and move with it.
    folder, cutouts, backgrounds = (
        Path(os.path.realpath(each)) for each in (folder, cutouts, backgrounds)
    )
    for pictures in (cutouts, backgrounds):
        if folder.is_relative_to(pictures):
            expected = f"a dataset folder outside {pictures}"
            problem = f"The dataset folder {folder} lies among the pictures of {pictures}."
            raise StorageError(expected, str(folder), "choose another folder", problem)
    cutout_assets, cutout_findings = scan_cutouts(cutouts, strict=strict)
    background_assets, background_findings = scan_backgrounds(
        backgrounds, strict=strict, views=views, seed=seed
    )
    groups = len({asset.group for asset in background_assets})
    alike = groups < MIN_GROUPS and depth_scenes > 0
    split = partial(assign_splits, small=small)
    cutout_assets = split(cutout_assets) if hold_out else train_on_all(cutout_assets)
    background_assets = (
        split(background_assets) if hold_out and not alike else train_on_all(background_assets)
    )
    if alike:
        notify(ALIKE_NOTICE.format(have=_count_backgrounds(len(background_assets), groups)))
    rules = rules or RecipeRules()
    if rules.ground.share and not any(asset.ground for asset in background_assets):
        notify(NO_GROUND_NOTICE)
    with writer_lock(folder):
        for below in (folder, folder / PACK_FOLDER, folder / PACK_FOLDER / "backgrounds"):
            remove_parts(below)
        spec = DatasetSpec(
            seed=seed,
            rules=rules,
            cutouts=tuple(cutout_assets),
            backgrounds=tuple(background_assets),
        )
        labelled = any(asset.disparity for asset in background_assets)
        if depth_scenes and (alike or not labelled):
            if not labelled:
                notify(SYNTHETIC_DEPTH_NOTICE)
            check_no_other(folder, spec, to_draw=depth_scenes)
            scenes = _drawn_scenes(folder, depth_scenes, seed, background_assets, notify)
            spec = spec.model_copy(update={"backgrounds": (*spec.backgrounds, *scenes)})
        check_no_other(folder, spec)
        save_spec(folder, spec)
    return Dataset(folder, spec, tuple(cutout_findings + background_findings))


def _count_backgrounds(count: int, groups: int) -> str:
    """How many backgrounds a user has, and how many of them differ."""
    if count == 1:
        return "you have one background"
    alike = f" that look like {groups}" if groups < count else ""
    return f"you have {count} backgrounds{alike}"


def _drawn_scenes(
    folder: Path, count: int, seed: int, beside: list[BackgroundAsset], notify: Notify
) -> list[BackgroundAsset]:
    """Sample-pack scenes with exact disparity, with ids that none of the others has.

    Undamaged scenes of an earlier run stay: another version of maskdepth may draw others.
    """
    earlier = _earlier_scenes(folder)
    if earlier:
        return earlier
    pack_seed = seed % SEEDS  # a dataset's seed may be larger than a pack's
    pack = write_sample_pack(
        folder / PACK_FOLDER,
        scenes=count,
        cutouts=0,
        seed=pack_seed,
        on_progress=notify_quarters(notify, "drew {done} of {total} scenes"),
    )
    scenes, _ = scan_backgrounds(pack.backgrounds, origin="sample")
    taken = {asset.id for asset in beside}
    renamed = [
        asset.model_copy(update={"id": f"sample/{asset.id}" if asset.id in taken else asset.id})
        for asset in scenes
    ]
    return assign_splits(renamed, small=True)


def _earlier_scenes(folder: Path) -> list[BackgroundAsset]:
    """The drawn scenes of the dataset in this folder, if none of their files has changed."""
    if not (folder / SPEC_FILE).exists():
        return []
    scenes = [asset for asset in load_spec(folder).backgrounds if asset.origin == "sample"]
    for asset in scenes:
        for file, expected in ((asset.file, asset.sha256), (asset.disparity, asset.label_sha256)):
            try:
                found = file_checksum(folder / str(file))
            except OSError:
                return []
            if found != expected:
                return []
    return scenes


def check_no_other(folder: Path, spec: DatasetSpec, to_draw: int = 0) -> None:
    """Composing again may only confirm a dataset, since models and shards refer to it.

    Args:
        to_draw: number of sample scenes that are still to be added to ``spec``.
    """
    if not (folder / SPEC_FILE).exists():
        return
    try:
        earlier = load_spec(folder)
    except DatasetError:
        got = "an unreadable one"
    else:
        got = earlier.fingerprint
        own = tuple(asset for asset in earlier.backgrounds if asset.origin == "user")
        if to_draw and len(earlier.backgrounds) - len(own) == to_draw:
            earlier = earlier.model_copy(update={"backgrounds": own})
        if earlier.fingerprint == spec.fingerprint:
            return
    raise StorageError(
        f"no other dataset in {folder}", got, "choose another folder",
        f"{folder} holds another dataset ({got}).",
    )  # fmt: skip


def open_dataset(folder: Path) -> Dataset:
    """A dataset composed earlier.

    Raises:
        DatasetError: there is none, it is damaged, or another version wrote it.
    """
    return Dataset(folder, load_spec(folder), ())


def materialise(
    dataset: Dataset,
    count: int,
    *,
    shard_size: int = SHARD_SIZE,
    encoding: Encoding | None = None,
    workers: int | None = None,
    engine: str = "local",
    teacher: Teacher | TeacherOpener | None = None,
    notify: Notify = lambda _: None,
) -> Manifest:
    """Write the first ``count`` training samples as tar shards with an index.

    Called again after an interruption, or with a larger count, it goes on.

    Args:
        count: at least as many as are there already; of a planned grid, at most all of it.
        shard_size: samples a shard.
        encoding: of the members; small and fast if left out.
        workers: processes; as many as there are cores if left out.
        engine: ``local`` for processes of this machine, ``ray`` for Ray.
        teacher: labels each composite; its disparity is then the teacher's, and unknown where the
            map is flagged. The engine ``ray`` needs a ``TeacherOpener``.
        notify: receives a line on the progress now and then.

    Raises:
        UsageError: ``count`` is beyond the planned grid, no engine has that name, or the engine
            cannot open this teacher.
        DependencyError: pyarrow, deflate or the engine's package is not installed.
        DatasetError: a finished shard or a plate was damaged, or an asset changed.
        StorageError: other samples are there already, another run writes there, the disk is full,
            or workers were killed.
    """
    dataset.check_count(count)
    job = WriteJob(
        dataset.folder.resolve(),
        dataset.spec,
        count,
        shard_size,
        encoding or Encoding(),
        None if teacher is None else describe_teacher(teacher.info),
    )
    with writer_lock(dataset.folder) as lock:
        return write_shards(
            job, lock, engine=engine, workers=workers, teacher=teacher, notify=notify
        )
