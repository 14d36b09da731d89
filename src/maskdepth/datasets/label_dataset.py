"""``maskdepth label`` on a dataset: the depth of every background, or of every composite."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Final, TypeVar

from maskdepth.datasets.build import Dataset, check_no_other, materialise
from maskdepth.datasets.shards.engines import check_engine
from maskdepth.datasets.shards.layout import Manifest, is_materialised
from maskdepth.errors import AssetError, StorageError, UsageError
from maskdepth.files import remove_parts
from maskdepth.labelling.label_pictures import LabelRun, label_kind, label_pictures
from maskdepth.labelling.labels import LabelJob, LabelResult, Notify
from maskdepth.labelling.teachers.recorded import DepthSource, RecordedDepth, source_name
from maskdepth.labelling.teachers.teacher import TeacherOpener
from maskdepth.locks import writer_lock
from maskdepth.picture_formats import DISPARITY_SUFFIX
from maskdepth.synthesis.assets import Asset, BackgroundAsset
from maskdepth.synthesis.spec import DatasetSpec, save_spec

LABEL_FOLDER: Final = "labels"

_AnyAsset = TypeVar("_AnyAsset", bound=Asset)


def label_dataset(
    dataset: Dataset,
    source: DepthSource,
    *,
    output: Path | None = None,
    everything: bool = False,
    replace: bool = False,
    force: bool = False,
    notify: Notify = lambda _: None,
) -> LabelRun:
    """Label a dataset's backgrounds, each once, and let its spec refer to the labels.

    Backgrounds with a label of their own, exact or a sensor's, keep it. A background without a
    depth file stays as it is when the source is depth files.

    Args:
        output: a new dataset folder for the labelled dataset; ``dataset`` then stays as it is.
        everything: label the backgrounds with a label of their own too.
        replace: let the spec refer to this teacher's labels instead of another's.
        force, notify: see ``label_pictures``.

    Raises:
        AssetError: there is nothing to label.
        TeacherError: see ``label_pictures``.
        StorageError: labels of another teacher or shards are in the way, another run writes
            there, or the disk is full.
    """
    start = dataset.folder.resolve()
    folder = (output or dataset.folder).resolve()
    backgrounds = _backgrounds_to_label(dataset, source, everything)
    if folder == start:
        _check_mixing(dataset, source, backgrounds, replace=replace)
    labels = folder / LABEL_FOLDER / _folder_name(source)
    jobs = [
        LabelJob(
            asset.id,
            dataset.folder / asset.file,
            labels / f"{asset.content_name}{DISPARITY_SUFFIX}",
            asset.sha256,
            asset.view,
        )
        for asset in backgrounds
    ]
    with writer_lock(folder):
        for below in (folder, labels):
            remove_parts(below)
        run = label_pictures(source, jobs, labels, force=force, notify=notify)
        if run.failures:
            return run
        results = {result.job.name: result for result in run.results}
        spec = _labelled_spec(dataset.spec, start, folder, results)
        if folder != start:
            check_no_other(folder, spec)
        save_spec(folder, spec)
    return with_fields(run, fingerprint=spec.fingerprint)


def label_composites(
    dataset: Dataset,
    source: DepthSource | TeacherOpener,
    count: int,
    *,
    output: Path | None = None,
    shard_size: int = 1000,
    workers: int | None = None,
    engine: str = "local",
    notify: Notify = lambda _: None,
) -> Manifest:
    """Write the first ``count`` training composites as shards, each labelled by a teacher.

    This is the prior work's way: the teacher is asked once for each composite, rather than once
    for each background. An interrupted run goes on; see ``materialise`` for the errors.

    Args:
        output: a new dataset folder for the shards; the dataset's own if left out.
        workers: actors of the engine ``ray``; as many as there are GPUs or, on CPUs, nodes if
            left out. The engine ``local`` is this process alone.
        engine: ``local``, or ``ray``, which needs a ``TeacherOpener`` as the source.
    """
    if isinstance(source, RecordedDepth):
        raise UsageError(
            "a network to label composites", f"{source.name} depth", "name another --teacher",
            f"Composites have no depth files: {source.name} depth cannot label them.",
        )  # fmt: skip
    check_engine(engine)
    start = dataset.folder.resolve()
    folder = (output or start).resolve()
    if folder != start:
        spec = _labelled_spec(dataset.spec, start, folder, {})
        check_no_other(folder, spec)
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


def _backgrounds_to_label(
    dataset: Dataset, source: DepthSource, everything: bool
) -> list[BackgroundAsset]:
    chosen = []
    for asset in dataset.spec.backgrounds:
        own = asset.disparity is not None and asset.teacher is None
        if own and not everything:
            continue
        # A depth file beside a panorama is of another projection than its views.
        if not isinstance(source, RecordedDepth) or (
            asset.view is None and source.find(dataset.folder / asset.file)
        ):
            chosen.append(asset)
    if chosen:
        return chosen
    if isinstance(source, RecordedDepth):
        expected = f"a background without a label that has {source.files} beside it"
        raise AssetError(expected, "none", "put the depth files beside the backgrounds")
    got, remedy = f"{len(dataset.spec.backgrounds)} that have one", "pass --all to label them too"
    raise AssetError("a background without a label of its own", got, remedy)


def _check_mixing(
    dataset: Dataset, source: DepthSource, backgrounds: Sequence[BackgroundAsset], *, replace: bool
) -> None:
    """Labels are not exchanged by accident, nor after shards were written with them."""
    mine = None if isinstance(source, RecordedDepth) else source.info.version
    others = sorted({
        f"{asset.teacher.name} {asset.teacher.version}"
        for asset in backgrounds
        if asset.teacher is not None and asset.teacher.version != mine
    })  # fmt: skip
    if others and not replace:
        remedy = "write the labelled dataset elsewhere with -o, or pass --replace"
        expected = f"no labels of another teacher in {dataset.folder}"
        raise StorageError(expected, ", ".join(others), remedy)
    changes = any(asset.teacher is None or asset.teacher.version != mine for asset in backgrounds)
    if changes and is_materialised(dataset.folder):
        remedy = "write the labelled dataset elsewhere with -o"
        problem = f"The shards in {dataset.folder} were written with the labels that it has now."
        raise StorageError(f"no shards in {dataset.folder}", "some", remedy, problem)


def _labelled_spec(
    spec: DatasetSpec, start: Path, folder: Path, results: Mapping[str, LabelResult]
) -> DatasetSpec:
    """The spec that ``folder`` gets: that of ``start`` with labels, by background."""

    def moved(asset: _AnyAsset) -> _AnyAsset:
        if start == folder:
            return asset
        return asset.with_paths(lambda path: (start / path).as_posix())

    def labelled(asset: BackgroundAsset) -> BackgroundAsset:
        result = results.get(asset.id)
        return moved(asset) if result is None else _with_label(moved(asset), result)

    return spec.model_copy(
        update={
            "cutouts": tuple(moved(asset) for asset in spec.cutouts),
            "backgrounds": tuple(labelled(asset) for asset in spec.backgrounds),
        }
    )


def _with_label(asset: BackgroundAsset, result: LabelResult) -> BackgroundAsset:
    teacher, record = result.teacher, None if result.flags else result.record
    assert teacher is not None
    return asset.model_copy(
        update={
            "disparity": result.job.label.as_posix() if record else None,
            "label": label_kind(teacher, measured=result.measured) if record else None,
            "label_sha256": record.sha256 if record else None,
            "ground": record.ground if record else (),
            "teacher": None if result.measured else teacher,
        }
    )


def _folder_name(source: DepthSource) -> str:
    """A folder's name for a teacher's labels."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source_name(source)).strip(".-") or "teacher"
    return name if isinstance(source, RecordedDepth) else f"{name}-{source.info.version[:8]}"
