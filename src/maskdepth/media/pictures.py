"""Find the pictures that a user names (one, a folder, a pattern) and predict them all."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from maskdepth.errors import MaskdepthError, PictureError, UsageError, first_line
from maskdepth.files import make_folder
from maskdepth.images import load_picture
from maskdepth.inference.output_files import (
    FILE_ENDINGS,
    LayerEncoder,
    check_file,
    check_formats,
    check_replaceable,
    output_paths,
)
from maskdepth.inference.plate.prepared import PreparedPlate
from maskdepth.inference.plate.profile import is_profile
from maskdepth.inference.prediction import BackgroundSource, Prediction
from maskdepth.inference.predictor import Predictor
from maskdepth.picture_formats import (
    PICTURE_SUFFIXES,
)
from maskdepth.records import check_not_inputs, file_identities

DEFAULT_OUTPUT = Path("maskdepth-output")
STDIN = "-"

_PICTURE_ENDINGS = tuple(ending for ending in FILE_ENDINGS.values() if ending != ".json")
_SUFFIXES = ", ".join(sorted(PICTURE_SUFFIXES))


@dataclass(frozen=True)
class PredictionJob:
    """One picture to predict.

    Attributes:
        picture: a path, or the bytes of a file that came through a pipe.
        plate: the path of its plate, or None.
        stem: the first part of its output files' names; no two jobs of a run share one.
        problem: why the picture cannot be predicted, where that is clear before it is opened.
    """

    picture: Path | bytes
    plate: Path | None
    stem: str
    problem: MaskdepthError | None = None

    @property
    def name(self) -> str:
        """The picture's name in messages."""
        return STDIN if isinstance(self.picture, bytes) else str(self.picture)


@dataclass(frozen=True)
class Summary:
    """The outcome of a run.

    Attributes:
        written: every file, in the order of writing.
        failures: (picture, message) of each picture that was not predicted.
    """

    written: tuple[Path, ...]
    failures: tuple[tuple[str, str], ...]


def find_jobs(
    sources: str | Sequence[str],
    plate: str | None = None,
    *,
    stdin: bytes | None = None,
) -> list[PredictionJob]:
    """Find the pictures of one or more sources, each with its plate.

    A folder or a pattern gives its picture files in the order of their names, without plates and
    without the outputs of earlier runs (``*_alpha.png`` and so on). So does a list of files, as a
    shell makes it of a pattern.

    Args:
        sources: each a picture, a folder (without the folders in it), a pattern such as
            ``"shots/**/*.jpg"``, or alone ``"-"`` for ``stdin``.
        plate: one picture or plate profile for all, or a folder that has one of each picture's
            stem. A picture without its plate becomes a job with a ``problem``.
        stdin: the bytes of a picture, for the source ``"-"``.

    Raises:
        UsageError: the source has no picture, a folder cannot be read, or the plate does not exist.
    """
    plates = _Plates(plate)
    sources = [sources] if isinstance(sources, str) else list(dict.fromkeys(sources))
    if STDIN in sources:
        if len(sources) > 1:
            raise UsageError(
                "pictures, or - for one on standard input", "both", "", "Give - alone, or pictures."
            )
        if not stdin:
            raise UsageError(
                "a picture on standard input",
                "nothing",
                "pipe a picture file in",
                "Standard input is empty.",
            )
        return [_make_job(stdin, "stdin", plates)]
    pictures: list[Path] = []
    for source in sources:
        # A file may be named like a pattern, "a[1].jpg": the file goes first.
        if not _exists(source) or _is_folder(source):
            pictures += _find_pictures(source, plates)
        elif len(sources) == 1 or not _is_other(Path(source), plates):
            pictures.append(Path(source))
    pictures = list(dict.fromkeys(pictures))
    if not pictures:
        raise UsageError(
            "pictures",
            "plates and outputs of earlier runs",
            "",
            "All of these files are plates or outputs of earlier runs, which do not count.",
        )
    return [
        _make_job(path, stem, plates)
        for path, stem in zip(pictures, _distinct_stems(pictures), strict=True)
    ]


def predict_all(
    predictor: Predictor,
    jobs: Sequence[PredictionJob],
    output: Path = DEFAULT_OUTPUT,
    *,
    formats: Collection[str] | None = None,
    depth_format: str = "png",
    background: BackgroundSource | None = None,
) -> Summary:
    """Predict and save every job; a job that fails is noted, and the others go on.

    Args:
        predictor: the model.
        jobs: the result of `find_jobs`.
        output: the folder for all files, made if it is missing.
        formats, depth_format, background: as in `Prediction.save`.

    Raises:
        UsageError: an unknown format or depth format.
        StorageError: the output folder cannot be made.
    """
    check_formats(formats or (), depth_format)
    make_folder(output)
    inputs = file_identities(
        path for job in jobs for path in (job.picture, job.plate) if isinstance(path, Path)
    )
    prepare = lru_cache(maxsize=1)(predictor.prepare)  # most runs have one plate for all pictures
    written: list[Path] = []
    failures: list[tuple[str, str]] = []
    for job in jobs:
        try:
            if job.problem is not None:
                raise job.problem
            paths = output_paths(output, job.stem, formats, depth_format)
            check_not_inputs(paths.values(), inputs)
            check_replaceable(paths)
            written += _predict_job(predictor, job, prepare).save(
                output, job.stem, formats=formats, depth_format=depth_format, background=background
            )
        except MaskdepthError as error:
            failures.append((job.name, str(error)))
    return Summary(tuple(written), tuple(failures))


def predict_file(
    predictor: Predictor,
    job: PredictionJob,
    output: Path,
    *,
    formats: Collection[str] | None = None,
    background: BackgroundSource | None = None,
) -> bytes:
    """Predict one picture, and encode the one layer that a file holds.

    Args:
        output: the file, whose ending says how the layer is encoded.
        formats: the layer's format alone; None: the cutout, or its composite with a background.
        background: as in `Prediction.save`.

    Raises:
        UsageError: the file cannot hold that, or is an input.
        MaskdepthError: what `Predictor.predict` raises.
    """
    kind = check_file(output, formats, background=background is not None)
    inputs = [path for path in (job.picture, job.plate) if isinstance(path, Path)]
    check_not_inputs([output], file_identities(inputs))
    if job.problem is not None:
        raise job.problem
    prediction = _predict_job(predictor, job, predictor.prepare)
    return LayerEncoder(prediction, background).encode(kind, output.suffix.lower())


def _predict_job(
    predictor: Predictor,
    job: PredictionJob,
    prepare: Callable[[Path, tuple[int, int]], PreparedPlate],
) -> Prediction:
    picture = load_picture(job.picture)
    size = picture.shape[0], picture.shape[1]
    plate = None if job.plate is None else prepare(job.plate, size)
    prediction = predictor.predict(picture, plate)
    return prediction.of_file(job.picture) if isinstance(job.picture, Path) else prediction


class _Plates:
    """The plates of a run: one file for all pictures, a folder with one for each, or none."""

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
            for path in [*_picture_files(listed), *profiles]:
                self._by_stem.setdefault(path.stem, []).append(path)
        elif _exists(plate):
            self._file = Path(plate)
        else:
            raise UsageError(
                "a plate, or a folder of plates",
                f"no {plate}",
                "check the path",
                f"The plate {plate} does not exist.",
            )

    def contain(self, path: Path) -> bool:
        """Whether a file is the plate, or lies in the folder of plates."""
        real = _real(path)
        own = [_real(each) for each in (self._file, self.folder) if each is not None]
        return any(real == each or each in real.parents for each in own)

    def find(self, picture: Path) -> Path | None:
        """The picture's plate: in a folder, the file of its name, else the only one of its stem.

        Raises:
            PictureError: no such plate, several, or the picture itself.
        """
        if self.folder is None:
            partners = [] if self._file is None else [self._file]
        else:
            partners = self._by_stem.get(picture.stem, [])
            same_name = [path for path in partners if path.name == picture.name]
            # A picture and a profile of one stem are two plates, whatever the picture's name.
            if not any(map(is_profile, partners)):
                partners = same_name or partners
            if len(partners) != 1:
                found = " and ".join(path.name for path in partners) or "none"
                raise PictureError(
                    f"one plate named {picture.stem!r} in {self.folder}",
                    found,
                    "name each plate like its picture",
                    f"{self.folder} must have one plate named {picture.stem!r}, but has {found}.",
                )
        if file_identities(partners) & file_identities([picture]):
            raise PictureError(
                "a plate apart from its picture",
                f"{picture} for both",
                "pass a picture of the same scene without foreground",
                f"{picture} cannot be its own plate.",
            )
        return partners[0] if partners else None


def _make_job(picture: Path | bytes, stem: str, plates: _Plates) -> PredictionJob:
    path = picture if isinstance(picture, Path) else Path(stem)
    try:
        return PredictionJob(picture, plates.find(path), stem)
    except PictureError as problem:
        return PredictionJob(picture, None, stem, problem)


def _find_pictures(source: str, plates: _Plates) -> list[Path]:
    """The picture files of a folder or pattern that are neither plates nor outputs."""
    if plates.folder is not None and _is_folder(source) and plates.folder.samefile(source):
        raise UsageError(
            "different folders of pictures and plates",
            f"{source} for both",
            "",
            "Give two folders: pictures and plates cannot be the same folder.",
        )
    listed = _list_folder(Path(source)) if _exists(source) else _list_pattern(source)
    pictures = [path for path in _picture_files(listed) if not _is_other(path, plates)]
    if not pictures:
        raise UsageError(
            f"pictures ({_SUFFIXES}) in {source}",
            f"{len(listed)} other files" if listed else "no files",
            "check the path",
            f"There are no pictures ({_SUFFIXES}) in {source}; plates and outputs of earlier runs "
            "do not count.",
        )
    return pictures


def _is_other(path: Path, plates: _Plates) -> bool:
    """Whether a file is a plate or an output of an earlier run, which is not to be predicted."""
    return path.name.endswith(_PICTURE_ENDINGS) or plates.contain(path)


def _list_folder(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if paths:
            paths[0].lstat()  # A folder can be listable while its files are out of reach.
        return paths
    except OSError as error:
        reason = first_line(error)
        raise UsageError(
            f"a readable folder at {folder}",
            reason,
            "check its permissions",
            f"The folder {folder} cannot be read: {reason}.",
        ) from None


def _list_pattern(pattern: str) -> list[Path]:
    if not glob.has_magic(pattern):
        raise UsageError(
            "a picture, a folder or a pattern",
            f"no {pattern}",
            "",
            f"{pattern or 'An empty path'} does not exist.",
        )
    # Path.glob takes no absolute patterns.
    return sorted(Path(path) for path in glob.glob(pattern, recursive=True))  # noqa: PTH207


def _picture_files(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES and _is_file(path)]


# os.path answers for files out of reach and for circles of links, where Path raises.


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def _exists(path: str) -> bool:
    return "\0" not in path and os.path.lexists(path)


def _distinct_stems(pictures: Sequence[Path]) -> list[str]:
    """The stem of each picture; its name, then a number, where two stems would be the same.

    Stems that differ in letter case alone count as the same, because some file systems take
    their files for one.
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
