"""Labels for a folder of pictures, where `compose` finds them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskdepth.errors import AssetError, StorageError
from maskdepth.files import make_folder, remove_parts, write_text
from maskdepth.labelling.label_run import LabelRun, Notify, kind_of, name_of, refuse_useless
from maskdepth.labelling.label_sheet import save_label_sheet
from maskdepth.labelling.labels import (
    LabelJob,
    LabelResult,
    Source,
    describe_teacher,
    load_label_record,
    make_labels,
    record_path,
    remove_unlabelled,
)
from maskdepth.labelling.teachers.recorded import RecordedDepth
from maskdepth.locks import writer_lock
from maskdepth.synthesis.assets import list_pictures
from maskdepth.synthesis.checks import DISPARITY_SUFFIX
from maskdepth.synthesis.label_facts import LABEL_FILE, LABEL_SHEET, load_label_facts


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
        sheet = output / LABEL_SHEET
        if sheet.exists() and not any(load_label_record(job.record) for job in jobs):
            raise StorageError(
                f"no {LABEL_SHEET} in {output} of other labels", "one", "choose another -o folder"
            )
        for place in sorted({job.label.parent for job in jobs}):
            remove_parts(place)
            _refuse_foreign(place, [job for job in jobs if job.label.parent == place], source,
                            replace=replace)  # fmt: skip
        results = make_labels(source, jobs, force=force, notify=notify)
        refuse_useless(source, results)
        remove_unlabelled(results)
        _write_facts(source, results)
        shown = save_label_sheet(results, sheet)
    return LabelRun(name_of(source), tuple(results), output, shown, None)


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
    """Nothing is overwritten but what this teacher made, or any teacher with ``replace``.

    A `LABEL_FILE` speaks for all labels beside it: those of pictures that get none now have to be
    this teacher's too.
    """
    mine = name_of(source) if isinstance(source, RecordedDepth) else source.info.version
    ours = {job.label for job in jobs}
    for label in sorted({*ours, *place.glob(f"*{DISPARITY_SUFFIX}")}):
        record = load_label_record(record_path(label))
        if record is None:
            for path in (label, record_path(label)):
                if path.exists():
                    raise StorageError(
                        f"no {path.name} in {place} that another program made",
                        "one",
                        "choose another -o folder",
                    )
            continue
        theirs = {record.teacher.version, record.teacher.name}
        if mine not in theirs and not (replace and label in ours):
            raise StorageError(
                f"no labels of another teacher in {place}",
                f"{label.name} by {' '.join(sorted(theirs))}",
                "choose another -o folder, or pass --replace"
                if label in ours
                else "choose another -o folder, or remove it",
            )
    if (place / LABEL_FILE).exists() and not any(load_label_record(job.record) for job in jobs):
        facts = load_label_facts(place, [])
        teacher = facts.teacher.version if facts and facts.teacher else facts and facts.kind
        if teacher != mine:
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
        facts: dict[str, Any] = {"kind": name_of(source)}
        if not isinstance(source, RecordedDepth):
            teacher = describe_teacher(source.info)
            flagged = {r.job.picture.stem: list(r.flags) for r in beside if r.flags}
            facts = {
                "kind": kind_of(teacher, measured=False),
                "teacher": teacher.model_dump(mode="json", exclude={"flags"}),
                "flagged": flagged,
            }
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        write_text(make_folder(place) / LABEL_FILE, text + "\n")
