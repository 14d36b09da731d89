"""From what a user names (a picture, a folder, a pattern) to predictions of all of it."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import MaskdepthError, PictureError, UsageError
from maskdepth.files import make_folder
from maskdepth.images import PICTURE_SUFFIXES, load_picture
from maskdepth.inference.plate.profile import PlateProfile, is_profile, load_profile
from maskdepth.inference.prediction import (
    FILE_ENDINGS,
    check_formats,
    check_replaceable,
    output_paths,
)
from maskdepth.inference.predictor import Predictor
from maskdepth.records import check_not_inputs, file_identities

DEFAULT_OUTPUT = Path("maskdepth-output")
STDIN = "-"

_PICTURE_ENDINGS = tuple(ending for ending in FILE_ENDINGS.values() if ending != ".json")
_SUFFIXES = ", ".join(sorted(PICTURE_SUFFIXES))


@dataclass(frozen=True)
class Job:
    """One picture to predict.

    Attributes:
        picture: a path, or the bytes of a file that came through a pipe.
        plate: the path of its plate, or None.
        stem: what its output files' names begin with; no two jobs of a run share one.
        problem: why it cannot be predicted, if that is known beforehand.
    """

    picture: Path | bytes
    plate: Path | None
    stem: str
    problem: MaskdepthError | None = None

    @property
    def name(self) -> str:
        """What to call the picture in messages."""
        return STDIN if isinstance(self.picture, bytes) else str(self.picture)


@dataclass
class Summary:
    """What became of a run.

    Attributes:
        written: every file, in the order of writing.
        failures: (picture, message) of each picture that was not predicted.
    """

    written: list[Path] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


def find_jobs(
    source: str,
    plate: str | None = None,
    *,
    stdin: bytes | None = None,
) -> list[Job]:
    """The pictures a source stands for, in the order of their names, each with its plate.

    In folders and patterns only picture files count, and neither plates nor the outputs of
    earlier runs (``*_alpha.png`` and so on).

    Args:
        source: a picture, a folder (without the folders in it), a pattern such as
            ``"shots/**/*.jpg"``, or ``"-"`` for ``stdin``.
        plate: a picture or plate profile for all, or a folder with one of the same stem for each;
            where that is missing, the job carries the problem.
        stdin: the bytes of a picture, for the source ``"-"``.

    Raises:
        UsageError: no picture there, a missing or unreadable folder, a plate that is not
            there.
    """
    plates = _Plates(plate)
    if source == STDIN:
        if not stdin:
            raise UsageError("a picture on standard input", "nothing", "pipe a picture file in")
        return [_job(stdin, "stdin", plates)]
    # A file named like a pattern, "a[1].jpg", is that file first.
    if _exists(source) and not _is_folder(source):
        path = Path(source)
        return [_job(path, path.stem, plates)]
    if plates.folder is not None and _same(source, plates.folder):
        raise UsageError("plates apart from the pictures", f"{source} for both", "give two folders")
    found = _list_folder(Path(source)) if _exists(source) else _list_pattern(source)
    unwanted = plates.paths()
    pictures = [
        path
        for path in _pictures(found)
        if not _is_output(path) and not _lies_in(_real(path), unwanted)
    ]
    if not pictures:
        got = f"{len(found)} other files" if found else "no files"
        raise UsageError(
            f"pictures ({_SUFFIXES}) in {source}",
            f"{got} (plates and outputs of earlier runs do not count)",
            "check the path",
        )
    return [
        _job(path, stem, plates)
        for path, stem in zip(pictures, _distinct_stems(pictures), strict=True)
    ]


def predict_all(
    predictor: Predictor,
    jobs: Sequence[Job],
    output: Path = DEFAULT_OUTPUT,
    *,
    depth_format: str = "png",
) -> Summary:
    """Predict and save every job; one that fails is noted and the rest go on.

    Args:
        predictor: the model.
        jobs: what `find_jobs` found.
        output: the folder for all files, made if it is missing.
        depth_format: as in `Prediction.save`.

    Raises:
        UsageError: an unknown depth format.
        StorageError: the output folder cannot be made.
    """
    check_formats((), depth_format)
    make_folder(output)
    inputs = file_identities(
        path for job in jobs for path in (job.picture, job.plate) if isinstance(path, Path)
    )
    read_plate = lru_cache(maxsize=1)(_load_plate)  # most runs have one plate for all
    summary = Summary()
    for job in jobs:
        try:
            if job.problem is not None:
                raise job.problem
            paths = output_paths(output, job.stem, depth_format=depth_format)
            check_not_inputs(paths.values(), inputs)
            check_replaceable(paths)
            plate = None if job.plate is None else read_plate(job.plate)
            prediction = predictor.predict(job.picture, plate)
            prediction = dataclasses.replace(prediction, plate_source=job.plate)
            summary.written += prediction.save(output, job.stem, depth_format=depth_format)
        except MaskdepthError as error:
            summary.failures.append((job.name, str(error)))
    return summary


def _load_plate(path: Path) -> NDArray[np.uint8] | PlateProfile:
    return load_profile(path) if is_profile(path) else load_picture(path)


class _Plates:
    """The plate of each picture: one file for all, a folder by stem, or none."""

    def __init__(self, plate: str | None) -> None:
        self.folder: Path | None = None
        self._file: Path | None = None
        self._by_stem: dict[str, list[Path]] = {}
        if plate is None:
            return
        if _is_folder(plate):
            self.folder = Path(plate)
            listed = _list_folder(self.folder)
            profiles = [path for path in listed if is_profile(path) and _is_file(path)]
            for path in [*_pictures(listed), *profiles]:
                self._by_stem.setdefault(path.stem, []).append(path)
        elif _exists(plate):
            self._file = Path(plate)
        else:
            raise UsageError("a plate, or a folder of plates", f"no {plate}", "check the path")

    def paths(self) -> list[Path]:
        """The file or folder, resolved, to be kept from being taken for pictures."""
        return [_real(path) for path in (self._file, self.folder) if path is not None]

    def of(self, picture: Path) -> Path | None:
        """The picture's plate: in a folder, the one of its name, else the only one of its stem.

        Raises:
            PictureError: no such plate, several, or the picture itself.
        """
        if self.folder is None:
            partners = [] if self._file is None else [self._file]
        else:
            partners = self._by_stem.get(picture.stem, [])
            same = [path for path in partners if path.name == picture.name]
            if not any(map(is_profile, partners)):  # beside a profile a picture is one too many
                partners = same or partners
            if len(partners) != 1:
                raise PictureError(
                    f"one plate named {picture.stem!r} in {self.folder}",
                    " and ".join(path.name for path in partners) or "none",
                    "name each plate like its picture",
                )
        if file_identities(partners) & file_identities([picture]):
            raise PictureError(
                "a plate apart from its picture",
                f"{picture} for both",
                "pass a picture of the same scene without foreground",
            )
        return partners[0] if partners else None


def _job(picture: Path | bytes, stem: str, plates: _Plates) -> Job:
    path = picture if isinstance(picture, Path) else Path(stem)
    try:
        return Job(picture, plates.of(path), stem)
    except PictureError as problem:
        return Job(picture, None, stem, problem)


def _list_folder(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if paths:
            paths[0].lstat()  # A folder can be listable while its files are out of reach.
        return paths
    except OSError as error:
        raise UsageError(
            f"a readable folder at {folder}", error.strerror or str(error), "check its permissions"
        ) from None


def _list_pattern(pattern: str) -> list[Path]:
    if not glob.has_magic(pattern):
        raise UsageError("a picture, a folder or a pattern", f"no {pattern}", "check the path")
    # Path.glob takes no absolute patterns.
    return sorted(Path(path) for path in glob.glob(pattern, recursive=True))  # noqa: PTH207


def _pictures(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES and _is_file(path)]


def _is_output(path: Path) -> bool:
    return path.name.endswith(_PICTURE_ENDINGS)


def _lies_in(path: Path, places: Iterable[Path]) -> bool:
    return any(path == place or place in path.parents for place in places)


# Of what is out of reach or a circle of links, os.path has an answer where Path raises.


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def _exists(path: str) -> bool:
    return "\0" not in path and os.path.lexists(path)


def _same(one: str, other: Path) -> bool:
    return _is_folder(one) and Path(one).samefile(other)


def _distinct_stems(pictures: Sequence[Path]) -> list[str]:
    """The stem of each picture; the whole name, then a number, where stems would collide.

    Letter case does not tell two stems apart, because on some file systems it does not tell
    two files apart.
    """
    stems = [path.stem for path in pictures]
    counts = Counter(stem.casefold() for stem in stems)
    stems = [
        path.name if counts[stem.casefold()] > 1 else stem
        for path, stem in zip(pictures, stems, strict=True)
    ]
    taken: set[str] = set()
    distinct = []
    for stem in stems:
        candidate, number = stem, 2
        while candidate.casefold() in taken:
            candidate, number = f"{stem}-{number}", number + 1
        taken.add(candidate.casefold())
        distinct.append(candidate)
    return distinct
