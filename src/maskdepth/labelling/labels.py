"""Label files: made once for each picture and teacher, checked, and found again.

<stem>_disparity.png     16-bit codes of ``depth.encode_disparity``
<stem>_disparity.json    the record: teacher, picture and figures of the label. It is written
                         last, so a label that agrees with its record is complete.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from maskdepth.config import Settings
from maskdepth.depth import encode_disparity
from maskdepth.errors import ConfigError, PictureError, first_line
from maskdepth.files import read_bytes, read_text, write_bytes, write_text
from maskdepth.images import encode_png, exif_orientation
from maskdepth.labelling.checks import Flag, LabelFigures, judge_label
from maskdepth.labelling.teachers.mixture import maps_with_agreement
from maskdepth.labelling.teachers.recorded import DepthSource, RecordedDepth
from maskdepth.labelling.teachers.teacher import TeacherInfo
from maskdepth.synthesis.ground import GroundPoint, find_ground
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.panoramas import View, load_background

_VERSION: Final = 1  # of the record; a label with a record of another version is made again
_THREADS: Final = 2  # read, check and write beside the network
_GROUP: Final = 8  # pictures given to a teacher at once
_GROUP_PIXELS: Final = 32_000_000
_PROGRESS_SECONDS: Final = 5.0

Notify = Callable[[str], None]


@dataclass(frozen=True)
class LabelJob:
    """A picture to label.

    Attributes:
        name: of the picture in messages.
        label: where its disparity goes, ``..._disparity.png``; the record lies beside it.
        sha256: of the picture's file, which must not have changed; None where it is not recorded.
        view: the view that is labelled, where the file is a panorama.
    """

    name: str
    picture: Path
    label: Path
    sha256: str | None = None
    view: View | None = None

    @property
    def record(self) -> Path:
        """The record's file."""
        return record_path(self.label)


def record_path(label: Path) -> Path:
    """The record's file of a label's file."""
    return label.with_suffix(".json")


class LabelRecord(Settings):
    """What is recorded of a label.

    Attributes:
        picture: SHA-256 of the picture's file.
        sha256: of the label's file.
        spread, order, agreement: see ``checks.LabelFigures``.
        ground: points where an object could stand, see ``synthesis.ground``.
    """

    format: Literal["maskdepth-label"] = "maskdepth-label"
    version: int = _VERSION
    picture: str
    teacher: TeacherLabel
    sha256: str
    spread: float
    order: float
    agreement: float
    ground: tuple[GroundPoint, ...] = ()

    @property
    def figures(self) -> LabelFigures:
        """The label's figures, as ``checks`` measured them."""
        return LabelFigures(self.spread, self.order, self.agreement)


@dataclass(frozen=True)
class LabelResult:
    """The outcome of a job.

    Attributes:
        teacher: was asked; its flags are those of the label. None where the picture or its depth
            could not be read.
        record: None where there is no label.
        measured: whether the label is a sensor's or exact, rather than a teacher's.
        cached: whether the label was there already.
        failure: why the picture or its depth could not be read; else empty.
    """

    job: LabelJob
    teacher: TeacherLabel | None = None
    record: LabelRecord | None = None
    measured: bool = False
    cached: bool = False
    failure: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """What is wrong with the label."""
        return self.teacher.flags if self.teacher else ()


@dataclass(frozen=True)
class _Loaded:
    job: LabelJob
    sha256: str
    picture: NDArray[np.uint8]


@dataclass(frozen=True)
class _Map:
    values: NDArray[np.float32]
    info: TeacherInfo
    order_agreement: float | None = None  # see `checks.judge_label`


def make_labels(
    source: DepthSource, jobs: Sequence[LabelJob], *, force: bool, notify: Notify
) -> list[LabelResult]:
    """Label the pictures that this teacher has not labelled already.

    Every label is written as soon as it is made, so that an interrupted run goes on. A map
    without valid pixels, or with a single value, is not written.

    Args:
        force: make all labels again.

    Returns:
        A result for each job, in order.
    """
    done: dict[LabelJob, LabelResult] = {}
    notified = time.monotonic()
    pool = ThreadPoolExecutor(_THREADS)
    try:
        writing: list[Future[LabelResult]] = []
        for group in _groups(_load_ahead(pool, source, jobs, force), done):
            made = _maps(source, group)
            _collect(writing, done)  # the group before this one
            for item, outcome in zip(group, made, strict=True):
                if isinstance(outcome, LabelResult):
                    done[item.job] = outcome
                else:
                    writing.append(pool.submit(_write_label, source, item, outcome))
            if time.monotonic() - notified > _PROGRESS_SECONDS:
                notify(f"{len(done)} of {len(jobs)} labels")
                notified = time.monotonic()
        _collect(writing, done)
    finally:
        pool.shutdown(cancel_futures=True)
    return [done[job] for job in jobs]


def load_label_record(path: Path) -> LabelRecord | None:
    """A label's record; None where there is none that this version can read."""
    try:
        return LabelRecord.parse(json.loads(read_text(path)), str(path))
    except (OSError, ValueError, RecursionError, ConfigError):
        return None


def describe_teacher(info: TeacherInfo, flags: Iterable[Flag] = ()) -> TeacherLabel:
    """A teacher as datasets record it."""
    return TeacherLabel(
        name=info.name,
        version=info.version,
        kind=info.kind,
        units=info.units,
        licence=info.licence,
        flags=tuple(flags),
    )


def _load_ahead(
    pool: ThreadPoolExecutor, source: DepthSource, jobs: Sequence[LabelJob], force: bool
) -> Iterator[_Loaded | LabelResult]:
    """Pictures in order, a few of them read ahead."""
    ahead: deque[Future[_Loaded | LabelResult]] = deque()
    for job in jobs:
        ahead.append(pool.submit(_load, source, job, force))
        if len(ahead) > 2 * _THREADS:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _load(source: DepthSource, job: LabelJob, force: bool) -> _Loaded | LabelResult:
    """The picture; or the result, where the picture has a label or cannot be read."""
    try:
        str(job.picture).encode()
        data = read_bytes(job.picture)
        digest = hashlib.sha256(data).hexdigest()
        if job.sha256 not in (None, digest):
            return LabelResult(job, failure="changed since the dataset was composed")
        record = None if force else _cached(source, job, digest)
        if record is not None:
            return LabelResult(job, record.teacher, record, cached=True)
        return _Loaded(job, digest, load_background(data, job.view))
    except OSError as error:
        return LabelResult(job, failure=first_line(error))
    except UnicodeEncodeError:  # neither a record nor a spec can name it
        return LabelResult(job, failure="its name is not UTF-8: rename it")
    except PictureError as error:
        return LabelResult(job, failure=error.got)


def _cached(source: DepthSource, job: LabelJob, digest: str) -> LabelRecord | None:
    """The record of a complete label that this teacher has made of this picture."""
    if isinstance(source, RecordedDepth):
        return None  # a label is no faster to read than the depth file
    record = load_label_record(job.record)
    if record is None or record.version != _VERSION or record.picture != digest:
        return None
    if (record.teacher.name, record.teacher.version) != (source.info.name, source.info.version):
        return None
    try:
        complete = hashlib.sha256(read_bytes(job.label)).hexdigest() == record.sha256
    except OSError:
        return None
    return record if complete else None


def _groups(
    loaded: Iterable[_Loaded | LabelResult], done: dict[LabelJob, LabelResult]
) -> Iterator[list[_Loaded]]:
    """The pictures to label, in groups; results go to ``done``."""
    group: list[_Loaded] = []
    for item in loaded:
        if isinstance(item, LabelResult):
            done[item.job] = item
            continue
        group.append(item)
        pixels = sum(each.picture.shape[0] * each.picture.shape[1] for each in group)
        if len(group) == _GROUP or pixels > _GROUP_PIXELS:
            yield group
            group = []
    if group:
        yield group


def _maps(source: DepthSource, group: Sequence[_Loaded]) -> Iterable[_Map | LabelResult]:
    if isinstance(source, RecordedDepth):
        return [_recorded(source, item) for item in group]
    pictures = [item.picture for item in group]
    return [
        _Map(values, source.info, agreement)
        for values, agreement in maps_with_agreement(source, pictures)
    ]


def _recorded(source: RecordedDepth, item: _Loaded) -> _Map | LabelResult:
    file = source.find(item.job.picture)
    if file is None:
        return LabelResult(item.job, failure=f"no {source.files} beside it")
    try:
        height, width = item.picture.shape[:2]
        return _Map(*source.load(file, height, width, exif_orientation(item.job.picture)))
    except PictureError as error:
        return LabelResult(item.job, failure=str(error))


def _write_label(source: DepthSource, item: _Loaded, made: _Map) -> LabelResult:
    """Convert, check and write one label."""
    job, info, measured = item.job, made.info, isinstance(source, RecordedDepth)
    disparity, flags, figures = judge_label(item.picture, made.values, info, made.order_agreement)
    if figures is None:
        return LabelResult(job, describe_teacher(info, flags), measured=measured)
    if measured:
        flags = ()  # the checks are about networks; a measurement is taken as it is
    data = encode_png(encode_disparity(disparity), 1)
    record = LabelRecord(
        picture=item.sha256,
        teacher=describe_teacher(info, flags),
        sha256=hashlib.sha256(data).hexdigest(),
        spread=figures.spread,
        order=figures.order,
        agreement=figures.agreement,
        ground=find_ground(disparity) if info.proportional and not flags else (),
    )
    write_bytes(job.label, data)
    write_text(job.record, json.dumps(record.model_dump(mode="json")) + "\n")
    return LabelResult(job, record.teacher, record, measured=measured)


def _collect(writing: list[Future[LabelResult]], done: dict[LabelJob, LabelResult]) -> None:
    for future in writing:
        result = future.result()
        done[result.job] = result
    writing.clear()
