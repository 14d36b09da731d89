"""``maskdepth label``: the depth of every background of a dataset, or of a folder of pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from maskdepth.datasets.build import Dataset, materialise, refuse_another
from maskdepth.datasets.shards import Manifest, is_materialised
from maskdepth.errors import AssetError, StorageError, UsageError
from maskdepth.files import remove_parts
from maskdepth.labelling.label_run import LabelRun, Notify, kind_of, name_of, refuse_useless
from maskdepth.labelling.label_sheet import save_label_sheet
from maskdepth.labelling.labels import (
    LabelJob,
    LabelResult,
    Source,
    make_labels,
    remove_unlabelled,
)
from maskdepth.labelling.teachers.recorded import RecordedDepth
from maskdepth.labelling.teachers.teacher import TeacherOpener
from maskdepth.locks import writer_lock
from maskdepth.synthesis.assets import BackgroundAsset
from maskdepth.synthesis.checks import DISPARITY_SUFFIX
from maskdepth.synthesis.label_facts import LABEL_SHEET
from maskdepth.synthesis.spec import DatasetSpec, save_spec

LABEL_FOLDER: Final = "labels"


def label_dataset(
    dataset: Dataset,
    source: Source,
    *,
    output: Path | None = None,
    everything: bool = False,
    replace: bool = False,
    force: bool = False,
    notify: Notify = lambda _: None,
) -> LabelRun:
    """Label a dataset's backgrounds, each once, and let its spec refer to the labels.

    Backgrounds with a label of their own, exact or a sensor's, keep it. Of a depth sensor or
    exact depth, backgrounds without a file are left as they are.

    Args:
        output: a new dataset folder for the labelled dataset; ``dataset`` then stays as it is.
        everything: label those with a label of their own too.
        replace: let labels of another teacher go from the spec.
        force: make labels anew that are there already.
        notify: receives lines on the progress.

    Raises:
        AssetError: there is nothing to label.
        TeacherError: the teacher breaks a promise, or none of its maps is a label.
        StorageError: labels of another teacher or shards are in the way, another run writes
            there, a full disk.
    """
    spec, folder = dataset.spec, (output or dataset.folder).resolve()
    chosen = _chosen(dataset, source, everything)
    if output is None or folder == dataset.folder.resolve():
        _refuse_mixing(dataset, source, chosen, replace=replace)
    place = folder / LABEL_FOLDER / _slug(source)
    jobs = [
        LabelJob(
            asset.id,
            dataset.folder / asset.file,
            place / f"{asset.sha256[:16]}{DISPARITY_SUFFIX}",
            asset.sha256,
        )
        for asset in chosen
    ]
    with writer_lock(folder):
        for below in (folder, place):
            remove_parts(below)
        results = make_labels(source, jobs, force=force, notify=notify)
        refuse_useless(source, results)
        remove_unlabelled(results)
        sheet = save_label_sheet(results, place / LABEL_SHEET)
        if any(result.failure for result in results):
            return LabelRun(name_of(source), tuple(results), place, sheet, None)
        labelled = dict(zip((asset.id for asset in chosen), results, strict=True))
        spec = _referring(spec, dataset.folder.resolve(), folder, labelled)
        if output is not None and folder != dataset.folder.resolve():
            refuse_another(folder, spec)
        save_spec(folder, spec)
    return LabelRun(name_of(source), tuple(results), place, sheet, spec.fingerprint)


def label_composites(
    dataset: Dataset,
    source: Source | TeacherOpener,
    count: int,
    *,
    output: Path | None = None,
    shard_size: int = 1000,
    workers: int | None = None,
    engine: str = "local",
    notify: Notify = lambda _: None,
) -> Manifest:
    """Write the first ``count`` training composites as shards that a teacher has labelled.

    The prior work's way: the teacher looks at every composite, rather than once at its
    background. Goes on where it was interrupted.

    Args:
        output: a new dataset folder for the shards; in the dataset's own without.
        shard_size: samples a shard.
        workers: actors of the engine ``ray``; as many as there are GPUs or, on CPUs, nodes if
            left out. The engine ``local`` is this process alone.
        engine: ``local``, or ``ray``, to which the source is a ``TeacherOpener``.

    Raises:
        UsageError: the source is depth files, of which composites have none; ``count`` is
            beyond the planned grid; or there is no engine of that name.
        DependencyError: pyarrow is not installed, or ray where that is the engine.
        TeacherError: the teacher breaks a promise.
        StorageError: other shards are there, another run writes there, a full disk.
    """
    if isinstance(source, RecordedDepth):
        raise UsageError(
            "a network to label composites", f"{source.name} depth", "name another --teacher"
        )
    start = dataset.folder.resolve()
    folder = (output or start).resolve()
    if folder != start:
        spec = _referring(dataset.spec, start, folder, {})
        refuse_another(folder, spec)
        save_spec(folder, spec)
        dataset = Dataset(folder, spec, ())
    return materialise(
        dataset,
        count,
        shard_size=shard_size,
        workers=workers,
        engine=engine,
        teacher=source,
        notify=notify,
    )


def _chosen(dataset: Dataset, source: Source, everything: bool) -> list[BackgroundAsset]:
    """The backgrounds that this source is to label."""
    found = []
    for asset in dataset.spec.backgrounds:
        own = asset.disparity is not None and asset.teacher is None
        if own and not everything:
            continue
        if not isinstance(source, RecordedDepth) or source.find(dataset.folder / asset.file):
            found.append(asset)
    if found:
        return found
    if isinstance(source, RecordedDepth):
        raise AssetError(
            f"a background without a label of its own that has {source.files} beside it",
            "none",
            "put the depth files beside the backgrounds",
        )
    raise AssetError(
        "a background without a label of its own",
        f"{len(dataset.spec.backgrounds)} that have one",
        "pass --all to label them all the same",
    )


def _refuse_mixing(
    dataset: Dataset, source: Source, chosen: Sequence[BackgroundAsset], *, replace: bool
) -> None:
    """Labels are not exchanged under what was made with them, nor by accident."""
    mine = None if isinstance(source, RecordedDepth) else source.info.version
    others = sorted({
        f"{asset.teacher.name} {asset.teacher.version}"
        for asset in chosen
        if asset.teacher is not None and asset.teacher.version != mine
    })  # fmt: skip
    if others and not replace:
        raise StorageError(
            f"no labels of another teacher in {dataset.folder}",
            ", ".join(others),
            "write the labelled dataset elsewhere with -o, or pass --replace",
        )
    changes = any(asset.teacher is None or asset.teacher.version != mine for asset in chosen)
    if changes and is_materialised(dataset.folder):
        raise StorageError(
            f"no shards in {dataset.folder}, which were written with the labels there are",
            "some",
            "write the labelled dataset elsewhere with -o",
        )


def _referring(
    spec: DatasetSpec, start: Path, folder: Path, labelled: dict[str, LabelResult]
) -> DatasetSpec:
    """The spec with its labels, as it will stand in ``folder``; it came from ``start``."""
    moved = start != folder

    def put(asset: Any) -> Any:
        if moved:
            asset = asset.with_paths(lambda path: (start / path).as_posix())
        if asset.id in labelled and isinstance(asset, BackgroundAsset):
            return asset.model_copy(update=_label_fields(labelled[asset.id]))
        return asset

    return spec.model_copy(
        update={
            "cutouts": tuple(map(put, spec.cutouts)),
            "backgrounds": tuple(map(put, spec.backgrounds)),
        }
    )


def _label_fields(result: LabelResult) -> dict[str, Any]:
    """What a background says of its label."""
    assert result.teacher is not None
    learned = result.record is not None and not result.flags
    return {
        "disparity": result.job.label.as_posix() if learned else None,
        "label": kind_of(result.teacher, measured=result.measured) if learned else None,
        "label_sha256": result.record.sha256 if learned and result.record else None,
        "ground": result.record.ground if learned and result.record else (),
        "teacher": None if result.measured else result.teacher,
    }


def _slug(source: Source) -> str:
    """A folder's name for a teacher's labels."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name_of(source)).strip(".-") or "teacher"
    return name if isinstance(source, RecordedDepth) else f"{name}-{source.info.version[:8]}"
