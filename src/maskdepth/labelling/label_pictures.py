"""A run of ``maskdepth label`` over pictures, and its entry for a folder of them.

``datasets.label_dataset`` is the entry for a dataset's backgrounds.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import colourise, decode_disparity
from maskdepth.errors import AssetError, StorageError, TeacherError
from maskdepth.files import make_folder, read_bytes, remove_parts, write_text
from maskdepth.images import grid, load_grey16, resize_disparity, save_jpeg
from maskdepth.labelling.checks import UNUSABLE, doubts
from maskdepth.labelling.labels import (
    LabelJob,
    LabelResult,
    Notify,
    describe_teacher,
    load_label_record,
    make_labels,
    record_path,
)
from maskdepth.labelling.teachers.recorded import DepthSource, RecordedDepth, source_name
from maskdepth.locks import writer_lock
from maskdepth.picture_formats import DISPARITY_SUFFIX
from maskdepth.records import Json, check_ownership
from maskdepth.synthesis.assets import list_pictures
from maskdepth.synthesis.label_facts import LABEL_FILE, LABEL_SHEET, TeacherLabel, load_label_facts
from maskdepth.synthesis.licences import LicenceTables
from maskdepth.synthesis.panoramas import load_background

PANORAMA_NOTICE: Final = (
    "{count} panoramas are left out, since labels belong to their views: compose a dataset and "
    "label that"
)
_MAX_LINES: Final = 10  # of flagged pictures
_MAX_CELLS: Final = 36  # of the contact sheet
_COLUMNS: Final = 3
_HEIGHT, _WIDTH, _CAPTION = 120, 160, 18  # px, of a panel and of the line under two


@dataclass(frozen=True)
class LabelRun:
    """The outcome of a run of ``maskdepth label``.

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
    fingerprint: str | None = None

    @property
    def failures(self) -> dict[str, str]:
        """Why pictures could not be labelled, by name."""
        return {result.job.name: result.failure for result in self.results if result.failure}

    @property
    def flagged(self) -> dict[str, tuple[str, ...]]:
        """Why labels are not learned from, by the picture's name."""
        return {result.job.name: result.flags for result in self.results if result.flags}

    def describe(self) -> Iterator[str]:
        """The run for people, line by line."""
        counted = Counter(flag for flags in self.flagged.values() for flag in flags)
        for name, flags in list(self.flagged.items())[:_MAX_LINES]:
            yield f"{name}: {', '.join(flags)}; not learned from"
        if len(self.flagged) > _MAX_LINES:
            yield f"... and {len(self.flagged) - _MAX_LINES} more"
        made = [result for result in self.results if result.record]
        cached = sum(result.cached for result in made)
        yield (
            f"{len(made)} labels by {self.source} ({cached} of them from before), "
            f"{len(self.flagged)} flagged"
            + (f": {', '.join(f'{n} {flag}' for flag, n in counted.items())}" if counted else "")
        )
        yield from doubts([
            result.record.figures for result in made if result.record and not result.measured
        ])  # fmt: skip

    def as_json(self) -> Json:
        """The run for programs."""
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


def label_pictures(
    source: DepthSource,
    jobs: Sequence[LabelJob],
    folder: Path,
    *,
    force: bool = False,
    notify: Notify = lambda _: None,
) -> LabelRun:
    """Label pictures, and draw a contact sheet of the labels.

    Args:
        folder: where the labels lie, and where the sheet goes.
        force: make labels again that are there already.
        notify: receives a line on the progress now and then.

    Raises:
        TeacherError: the teacher breaks a promise, or none of its maps is a label.
        StorageError: a label cannot be written.
    """
    name, results = source_name(source), make_labels(source, jobs, force=force, notify=notify)
    # A teacher without a map of any picture is broken; failures are reported one by one.
    if all(not result.failure and UNUSABLE & set(result.flags) for result in results):
        flags = sorted({flag for result in results for flag in result.flags})
        got = f"{' or '.join(flags)} for each of {len(results)} pictures"
        expected, remedy = f"a label from {name}", "check the teacher and its description"
        problem = f"{name} labelled nothing: its maps are {got}."
        raise TeacherError(expected, got, remedy, problem)
    for result in results:
        if result.record is None and result.teacher is not None:  # the map is none this time
            for stale in (result.job.record, result.job.label):
                stale.unlink(missing_ok=True)
    sheet = _save_sheet(results, folder / LABEL_SHEET)
    return LabelRun(name, tuple(results), folder, sheet)


def label_folder(
    pictures: Path,
    source: DepthSource,
    output: Path,
    *,
    replace: bool = False,
    force: bool = False,
    notify: Notify = lambda _: None,
) -> LabelRun:
    """Label the pictures of a folder: ``<stem>_disparity.png`` and a ``label.json`` for each.

    ``output`` may be the folder of the pictures, so that `compose` finds the labels. Only labels
    of the same teacher are overwritten.

    Args:
        replace: overwrite labels of other teachers too.
        force, notify: see ``label_pictures``.

    Raises:
        AssetError: there are no pictures.
        TeacherError: see ``label_pictures``.
        StorageError: a label cannot be written, or files that are not ours are in the way.
    """
    top = pictures.absolute()
    paths = list_pictures(pictures, "pictures")
    if panoramas := LicenceTables(top, []).find_panoramas(paths):
        notify(PANORAMA_NOTICE.format(count=len(panoramas)))
        paths = [path for path in paths if path not in panoramas]
    if isinstance(source, RecordedDepth):
        paths = [path for path in paths if source.find(path)]
    if not paths:
        beside = f" with {source.files}" if isinstance(source, RecordedDepth) else ""
        raise AssetError(
            f"pictures{beside} in {pictures}", "none", "check the path",
            f"There are no pictures{beside} in {pictures}.",
        )  # fmt: skip
    jobs = [_job(path, top, output) for path in paths]
    _check_stems(jobs)
    with writer_lock(output):
        check_ownership([output / LABEL_SHEET], ours=_any_ours(jobs))
        for folder in sorted({job.label.parent for job in jobs}):
            remove_parts(folder)
            inside = [job for job in jobs if job.label.parent == folder]
            _check_replaceable(folder, inside, source, replace=replace)
        run = label_pictures(source, jobs, output, force=force, notify=notify)
        _write_facts(source, run.results)
    return run


def label_kind(teacher: TeacherLabel, *, measured: bool) -> str:
    """Where a label comes from, in the words of specs, cards and reports."""
    return teacher.name if measured else f"teacher {teacher.name}"


def _job(picture: Path, top: Path, output: Path) -> LabelJob:
    inside = picture.relative_to(top)
    label = output / inside.parent / f"{picture.stem}{DISPARITY_SUFFIX}"
    return LabelJob(inside.as_posix(), picture, label.absolute())


def _any_ours(jobs: Sequence[LabelJob]) -> bool:
    return any(load_label_record(job.record) for job in jobs)


def _check_stems(jobs: Sequence[LabelJob]) -> None:
    first: dict[Path, str] = {}
    for job in jobs:
        if job.label in first:
            got, remedy = f"{first[job.label]} and {job.name}", "rename one of them"
            problem = f"{got} would have the same label, as labels are named by pictures' stems."
            raise AssetError("pictures that differ in their stems", got, remedy, problem)
        first[job.label] = job.name


def _check_replaceable(
    folder: Path, jobs: Sequence[LabelJob], source: DepthSource, *, replace: bool
) -> None:
    """Only labels of this teacher are overwritten, or of any teacher with ``replace``.

    A `LABEL_FILE` speaks for all labels beside it, so those of pictures that get none in this run
    have to be this teacher's too.
    """
    mine = source_name(source) if isinstance(source, RecordedDepth) else source.info.version
    ours = {job.label for job in jobs}
    for label in sorted({*ours, *folder.glob(f"*{DISPARITY_SUFFIX}")}):
        record = load_label_record(record_path(label))
        if record is None:
            check_ownership([label, record_path(label)], ours=False)
            continue
        theirs = {record.teacher.version, record.teacher.name}
        if mine not in theirs and not (replace and label in ours):
            by = f"{label.name} by {' '.join(sorted(theirs))}"
            other = "pass --replace" if label in ours else f"remove {label.name}"
            remedy = f"choose another -o folder, or {other}"
            problem = f"{folder} holds a label of another teacher: {by}."
            raise StorageError(f"no labels of another teacher in {folder}", by, remedy, problem)
    if not _any_ours(jobs):
        facts = load_label_facts(folder, [])
        teacher = facts.teacher.version if facts and facts.teacher else facts and facts.kind
        check_ownership([folder / LABEL_FILE], ours=teacher == mine)


def _write_facts(source: DepthSource, results: Sequence[LabelResult]) -> None:
    """A ``label.json`` in each folder of labels, as `compose` reads it."""
    folders: dict[Path, list[LabelResult]] = defaultdict(list)
    for result in results:
        if result.teacher is not None:
            folders[result.job.label.parent].append(result)
    for folder, beside in folders.items():
        facts: Json = {"kind": source_name(source)}
        if not isinstance(source, RecordedDepth):
            teacher = describe_teacher(source.info)
            facts = {
                "kind": label_kind(teacher, measured=False),
                "teacher": teacher.model_dump(mode="json", exclude={"flags"}),
                "flagged": {r.job.picture.stem: list(r.flags) for r in beside if r.flags},
            }
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        write_text(make_folder(folder) / LABEL_FILE, text + "\n")


def _save_sheet(results: Sequence[LabelResult], path: Path) -> Path | None:
    """Save a sheet of some labels, the flagged ones first, the others evenly spread."""
    made = [result for result in results if result.record is not None]
    flagged = [result for result in made if result.flags][:_MAX_CELLS]
    others = [result for result in made if not result.flags]
    room = min(_MAX_CELLS - len(flagged), len(others))
    shown = flagged + [others[number * len(others) // room] for number in range(room)]
    if not shown:
        return None
    save_jpeg(path, grid([_cell(result) for result in shown], _COLUMNS))
    return path


def _cell(result: LabelResult) -> NDArray[np.uint8]:
    """Picture and label side by side, with a line under them."""
    job = result.job
    picture = load_background(read_bytes(job.picture), job.view, (_HEIGHT, _WIDTH))
    disparity = decode_disparity(load_grey16(job.label))
    colours = colourise(resize_disparity(disparity, _HEIGHT, _WIDTH))
    line = np.full((_CAPTION, 2 * _WIDTH, 3), 255, np.uint8)
    text = f"{Path(result.job.name).stem[:24]}  {', '.join(result.flags)}"
    text = text.encode("ascii", "replace").decode()  # OpenCV's letters are ASCII
    colour = (200, 0, 0) if result.flags else (60, 60, 60)
    cv2.putText(line, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)
    return np.vstack([np.hstack([picture, colours]), line])
