"""``maskdepth label``: the depth of every background of a dataset, or of a folder of pictures."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from maskdepth.errors import AssetError, StorageError, TeacherError
from maskdepth.images import make_folder, remove_parts, write_text
from maskdepth.labelling.build import Dataset, refuse_another
from maskdepth.labelling.label_checks import UNUSABLE, doubts
from maskdepth.labelling.label_sheet import save_label_sheet
from maskdepth.labelling.labels import (
    LabelJob,
    LabelResult,
    Source,
    describe_teacher,
    load_label_record,
    make_labels,
)
from maskdepth.labelling.storage import is_materialised, writer_lock
from maskdepth.labelling.teachers.recorded import RecordedDepth
from maskdepth.synthesis.assets import (
    LABEL_FILE,
    LABEL_SHEET,
    BackgroundAsset,
    TeacherLabel,
    list_pictures,
)
from maskdepth.synthesis.checks import DISPARITY_SUFFIX
from maskdepth.synthesis.spec import DatasetSpec, save_spec

LABEL_FOLDER: Final = "labels"
_MOST_LINES: Final = 10

Notify = Callable[[str], None]


@dataclass(frozen=True)
class LabelRun:
    """What a run of ``maskdepth label`` has left.

    Attributes:
        source: name of the teacher, or "sensor" or "exact".
        results: in the order of the pictures.
        folder: where the labels lie.
        sheet: the contact sheet; None where there is no label.
        fingerprint: of the spec that refers to the labels; None for a folder of pictures, and
            where pictures failed, so that the spec was left as it was.
    """

    source: str
    results: tuple[LabelResult, ...]
    folder: Path
    sheet: Path | None
    fingerprint: str | None

    @property
    def failures(self) -> dict[str, str]:
        """Pictures that could not be labelled, by name, and why."""
        return {result.job.name: result.failure for result in self.results if result.failure}

    @property
    def flagged(self) -> dict[str, tuple[str, ...]]:
        """Pictures whose label is not to be learned from, by name, and why."""
        return {result.job.name: result.flags for result in self.results if result.flags}

    def describe(self) -> Iterator[str]:
        """The same for people, a line each."""
        counted = Counter(flag for flags in self.flagged.values() for flag in flags)
        for name, flags in list(self.flagged.items())[:_MOST_LINES]:
            yield f"{name}: {', '.join(flags)}; not learned from"
        if len(self.flagged) > _MOST_LINES:
            yield f"... and {len(self.flagged) - _MOST_LINES} more"
        made = [result for result in self.results if result.record]
        cached = sum(result.cached for result in made)
        yield (
            f"{len(made)} labels by {self.source} ({cached} of them from before), "
            f"{len(self.flagged)} flagged"
            + (f": {', '.join(f'{n} {flag}' for flag, n in counted.items())}" if counted else "")
        )
        taught = [result.record for result in made if not result.measured and result.record]
        yield from doubts([record.figures for record in taught])

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        teacher = next((result.teacher for result in self.results if result.teacher), None)
        return {
            "source": self.source,
            "teacher": teacher.model_dump(exclude={"flags"}) if teacher else None,
            "folder": str(self.folder),
            "sheet": str(self.sheet) if self.sheet else None,
            "labels": sum(result.record is not None for result in self.results),
            "cached": sum(result.cached for result in self.results),
            "flagged": {name: list(flags) for name, flags in self.flagged.items()},
            "failures": self.failures,
            "fingerprint": self.fingerprint,
        }


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
        _refuse_useless(source, results)
        sheet = save_label_sheet(results, place / LABEL_SHEET)
        if any(result.failure for result in results):
            return LabelRun(_name(source), tuple(results), place, sheet, None)
        labelled = dict(zip((asset.id for asset in chosen), results, strict=True))
        spec = _referring(spec, dataset.folder.resolve(), folder, labelled)
        if output is not None and folder != dataset.folder.resolve():
            refuse_another(folder, spec)
        save_spec(folder, spec)
    return LabelRun(_name(source), tuple(results), place, sheet, spec.fingerprint)


def label_folder(
    pictures: Path,
    source: Source,
    output: Path,
    *,
    replace: bool = False,
    force: bool = False,
    notify: Notify = lambda _: None,
) -> LabelRun:
    """Label the pictures of a folder: ``<stem>_disparity.png`` and a ``label.json`` for each.

    ``output`` may be the folder of the pictures: then `compose` finds the labels. Nothing that is
    there is overwritten, but for labels of the same teacher.

    Args:
        replace: overwrite labels of other teachers too; for the rest see ``label_dataset``.

    Raises:
        AssetError: there are no pictures.
        TeacherError, StorageError: as ``label_dataset``, and for labels that are none of ours.
    """
    top = pictures.absolute()
    found = list_pictures(pictures, "pictures")
    if isinstance(source, RecordedDepth):
        found = [path for path in found if source.find(path)]
    if not found:
        wanted = f" with {source.files}" if isinstance(source, RecordedDepth) else ""
        raise AssetError(f"pictures{wanted} in {pictures}", "none", "check the path")
    jobs = [_beside(path, top, output) for path in found]
    _refuse_clashes(jobs)
    with writer_lock(output):
        for place in sorted({job.label.parent for job in jobs}):
            remove_parts(place)
            _refuse_foreign(place, [job for job in jobs if job.label.parent == place], source,
                            replace=replace)  # fmt: skip
        results = make_labels(source, jobs, force=force, notify=notify)
        _refuse_useless(source, results)
        _write_facts(source, results)
        sheet = save_label_sheet(results, output / LABEL_SHEET)
    return LabelRun(_name(source), tuple(results), output, sheet, None)


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


def _refuse_useless(source: Source, results: Sequence[LabelResult]) -> None:
    """A teacher that has nothing to say of any picture is broken."""
    asked = [result for result in results if not result.failure]
    if asked and all(UNUSABLE & set(result.flags) for result in asked):
        raise TeacherError(
            f"a label from {_name(source)}",
            f"{' or '.join(sorted({flag for r in asked for flag in r.flags}))} for each of "
            f"{len(asked)} pictures",
            "check the teacher and its description; nothing was labelled",
        )


def _referring(
    spec: DatasetSpec, start: Path, folder: Path, labelled: dict[str, LabelResult]
) -> DatasetSpec:
    """The spec with its labels, as it will stand in ``folder``; it came from ``start``."""
    moved = start != folder

    def put(asset: Any) -> Any:
        changes: dict[str, Any] = {}
        for field in ("file", "relief", "disparity"):
            value = getattr(asset, field, None)
            if moved and value is not None:
                changes[field] = (start / value).as_posix()
        if asset.id in labelled and isinstance(asset, BackgroundAsset):
            changes |= _label_fields(labelled[asset.id])
        return asset.model_copy(update=changes)

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
        "label": _kind(result.teacher, measured=result.measured) if learned else None,
        "label_sha256": result.record.sha256 if learned and result.record else None,
        "ground": result.record.ground if learned and result.record else (),
        "teacher": None if result.measured else result.teacher,
    }


def _kind(teacher: TeacherLabel, *, measured: bool) -> str:
    """Where a label comes from, as it stands in specs, cards and reports."""
    return teacher.name if measured else f"teacher {teacher.name}"


def _name(source: Source) -> str:
    return source.name if isinstance(source, RecordedDepth) else source.info.name


def _slug(source: Source) -> str:
    """A folder's name for a teacher's labels."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", _name(source)).strip(".-") or "teacher"
    return name if isinstance(source, RecordedDepth) else f"{name}-{source.info.version[:8]}"


def _beside(picture: Path, top: Path, output: Path) -> LabelJob:
    inside = picture.relative_to(top)
    label = output / inside.parent / f"{picture.stem}{DISPARITY_SUFFIX}"
    return LabelJob(inside.as_posix(), picture, label.absolute())


def _refuse_clashes(jobs: Sequence[LabelJob]) -> None:
    first: dict[Path, str] = {}
    for job in jobs:
        if job.label in first:
            raise AssetError(
                "pictures that differ in their stems, by which labels are named",
                f"{first[job.label]} and {job.name}",
                "rename one of them",
            )
        first[job.label] = job.name


def _refuse_foreign(
    place: Path, jobs: Sequence[LabelJob], source: Source, *, replace: bool
) -> None:
    """Nothing is overwritten but what this teacher made, or any teacher with ``replace``."""
    mine = _name(source) if isinstance(source, RecordedDepth) else source.info.version
    for job in jobs:
        record = load_label_record(job.record)
        if record is None and job.label.exists():
            raise StorageError(
                f"no label at {job.label} that another program made",
                "one",
                "choose another -o folder",
            )
        theirs = record and {record.teacher.version, record.teacher.name}
        if theirs and mine not in theirs and not replace:
            raise StorageError(
                f"no labels of another teacher in {place}",
                " ".join(sorted(theirs)),
                "choose another -o folder, or pass --replace",
            )
    facts = place / LABEL_FILE
    if facts.exists() and not any(load_label_record(job.record) for job in jobs):
        raise StorageError(
            f"no {LABEL_FILE} in {place} of other labels", "one", "choose another -o folder"
        )


def _write_facts(source: Source, results: Sequence[LabelResult]) -> None:
    """A ``label.json`` in each folder of labels, as `compose` reads it."""
    places: dict[Path, list[LabelResult]] = defaultdict(list)
    for result in results:
        if result.teacher is not None:
            places[result.job.label.parent].append(result)
    for place, beside in places.items():
        facts: dict[str, Any] = {"kind": _name(source)}
        if not isinstance(source, RecordedDepth):
            teacher = describe_teacher(source.info)
            flagged = {r.job.picture.stem: list(r.flags) for r in beside if r.flags}
            facts = {
                "kind": _kind(teacher, measured=False),
                "teacher": teacher.model_dump(mode="json", exclude={"flags"}),
                "flagged": flagged,
            }
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        write_text(make_folder(place) / LABEL_FILE, text + "\n")
