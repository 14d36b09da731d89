"""Find the pictures that a user names (one, a folder, a pattern) and predict them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from maskdepth.errors import MaskdepthError, PictureError, UsageError
from maskdepth.files import make_folder, normal_name, remove_if_empty
from maskdepth.images import load_picture
from maskdepth.inference.output_files import (
    FILE_ENDINGS,
    LayerEncoder,
    NoMetresError,
    check_file,
    check_formats,
    check_replaceable,
    earlier_outputs,
    output_paths,
)
from maskdepth.inference.plate.loading import path_of
from maskdepth.inference.plate.prepared import PreparedPlate
from maskdepth.inference.plate.profile import PLATE_SUFFIX, is_profile
from maskdepth.inference.prediction import (
    BackgroundSource,
    Notice,
    ObjectDistance,
    Prediction,
    load_background,
)
from maskdepth.inference.predictor import Predictor
from maskdepth.media.listing import (
    exists,
    is_file,
    is_folder,
    list_folder,
    list_pattern,
    picture_files,
)
from maskdepth.media.plate_files import LoadedPlate, Plates
from maskdepth.picture_formats import (
    COMMON_SUFFIXES,
    DEPTH_MAP_ENDINGS,
    MILLIMETRES_SUFFIX,
    count_kinds,
    is_address,
)
from maskdepth.progress import OnProgress
from maskdepth.records import FileId, check_not_inputs, file_identities

DEFAULT_OUTPUT = Path("maskdepth-output")
STDIN = "-"

_PICTURE_ENDINGS = tuple(ending for ending in FILE_ENDINGS.values() if ending != ".json")
_OWN_SUFFIXES = frozenset({PLATE_SUFFIX, ".json"})  # of files that nobody takes for pictures


@dataclass(frozen=True)
class PredictionJob:
    """One picture to predict.

    Attributes:
        picture: a path, or the bytes of a file that came through a pipe.
        plate: the path of its plate, or None.
        stem: the first part of its output files' names; no two jobs of a run share one.
        problem: why the picture cannot be predicted, where that is clear before it is opened.
        loaded_plate: the plate's content, where one file is the plate of all pictures.
    """

    picture: Path | bytes
    plate: Path | None
    stem: str
    problem: MaskdepthError | None = None
    loaded_plate: LoadedPlate | None = field(default=None, repr=False, compare=False)

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
        notices: (picture, notice) of each notice of a prediction.
        distances: (picture, distance) of each picture whose foreground's distance is known.
    """

    written: tuple[Path, ...]
    failures: tuple[tuple[str, str], ...]
    notices: tuple[tuple[str, Notice], ...] = ()
    distances: tuple[tuple[str, ObjectDistance], ...] = ()


def find_jobs(
    sources: str | Sequence[str],
    plate: str | None = None,
    *,
    stdin: bytes | None = None,
    notify: Callable[[str], None] = lambda _: None,
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
        notify: receives a line that counts, by kind, the files that are no pictures, and one that
            says how outputs are called where pictures share their names.

    Raises:
        UsageError: the source has no picture, a folder cannot be read, or the plate does not exist.
        PictureError, PlateError: the plate of all pictures cannot be read.
    """
    sources = [sources] if isinstance(sources, str) else list(dict.fromkeys(sources))
    _check_addresses([*sources, plate or ""])
    plates = Plates(plate)
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
    others: list[Path] = []
    for source in sources:
        # A file may be named like a pattern, "a[1].jpg": the file goes first.
        if not exists(source) or is_folder(source):
            found, left_out = _find_pictures(source, plates)
            pictures, others = pictures + found, others + left_out
        elif len(sources) == 1 or not _is_other(Path(source), plates):
            pictures.append(Path(source))
    pictures = list(dict.fromkeys(pictures))
    if others:
        notify(f"left out, for they are no pictures: {count_kinds(dict.fromkeys(others))}")
    if not pictures:
        raise UsageError(
            "pictures",
            "plates and outputs of earlier runs",
            "",
            "All of these files are plates or outputs of earlier runs, which do not count.",
        )
    stems = _distinct_stems(pictures)
    _name_longer_stems(pictures, stems, notify)
    return [_make_job(path, stem, plates) for path, stem in zip(pictures, stems, strict=True)]


def predict_all(
    predictor: Predictor,
    jobs: Sequence[PredictionJob],
    output: Path = DEFAULT_OUTPUT,
    *,
    only: Collection[str] | None = None,
    depth_format: str = "png",
    background: BackgroundSource | None = None,
    on_progress: OnProgress = lambda *_: None,
    on_prediction: Callable[[Prediction], None] = lambda _: None,
) -> Summary:
    """Predict and save every job; a job that fails is noted, and the others go on.

    Args:
        predictor: the model.
        jobs: the result of `find_jobs`.
        output: the folder for all files, made if it is missing, and kept if it gets any.
        only, depth_format, background: as in `Prediction.save`.
        on_progress: called after each job.
        on_prediction: called with each prediction before its files are written. Where it raises a
            MaskdepthError, the job has failed.

    Raises:
        UsageError: an unknown format or depth format.
        PictureError: the background cannot be read.
        StorageError: the output folder cannot be made.
    """
    check_formats(only or (), depth_format)
    inputs = _input_files(jobs, background)
    if background is not None:
        background = load_background(background)  # once for all pictures, before any work
    prepare = _plate_loader(predictor, jobs)
    written: list[Path] = []
    failures: list[tuple[str, str]] = []
    notices: list[tuple[str, Notice]] = []
    distances: list[tuple[str, ObjectDistance]] = []
    with remove_if_empty(output):
        make_folder(output)
        for number, job in enumerate(jobs, start=1):
            try:
                if job.problem is not None:
                    raise job.problem
                paths = output_paths(
                    output,
                    job.stem,
                    only,
                    depth_format,
                    background=background is not None,
                    metres=is_profile(job.plate),
                )
                check_not_inputs(paths.values(), inputs)
                check_replaceable(paths, earlier_outputs(output, job.stem))
                prediction = _predict_job(predictor, job, prepare)
                on_prediction(prediction)
                saved = prediction.save(
                    output, job.stem, only=only, depth_format=depth_format, background=background
                )
                if not saved:  # only depth is left out without a word, beside other files
                    raise NoMetresError
                written += saved
                notices += [(job.name, notice) for notice in prediction.notices]
                if prediction.distance is not None:
                    distances.append((job.name, prediction.distance))
            except MaskdepthError as error:
                failures.append((job.name, str(error)))
            on_progress(number, len(jobs))
    return Summary(tuple(written), tuple(failures), tuple(notices), tuple(distances))


def predict_file(
    predictor: Predictor,
    job: PredictionJob,
    output: Path,
    *,
    only: Collection[str] | None = None,
    background: BackgroundSource | None = None,
) -> tuple[bytes, Prediction]:
    """Predict one picture, and encode the one layer that a file holds.

    Args:
        output: the file, whose ending says how the layer is encoded.
        only: the layer's format alone; None: the cutout, or its composite with a background.
        background: as in `Prediction.save`.

    Raises:
        UsageError: the file cannot hold that, or is an input.
        MaskdepthError: what `Predictor.predict` raises.
    """
    kind = check_file(output, only, background=background is not None)
    check_not_inputs([output], _input_files([job], background))
    if background is not None:
        background = load_background(background)
    if job.problem is not None:
        raise job.problem
    prediction = _predict_job(predictor, job, _plate_loader(predictor, [job]))
    return LayerEncoder(prediction, background).encode(kind, output.suffix.lower()), prediction


def _input_files(
    jobs: Iterable[PredictionJob], background: BackgroundSource | None
) -> frozenset[FileId]:
    """All that a run reads, which it may not overwrite."""
    used = [path_of(background), *(path for job in jobs for path in (job.picture, job.plate))]
    return file_identities(path for path in used if isinstance(path, Path))


_Prepare = Callable[[Path, tuple[int, int]], PreparedPlate]


def _plate_loader(predictor: Predictor, jobs: Iterable[PredictionJob]) -> _Prepare:
    """What prepares a plate for pictures of a size, and keeps the last: most runs have one."""
    loaded = {job.plate: job.loaded_plate for job in jobs if job.loaded_plate is not None}

    @lru_cache(maxsize=1)
    def prepare(plate: Path, size: tuple[int, int]) -> PreparedPlate:
        return replace(predictor.prepare(loaded.get(plate, plate), size), file=plate)

    return prepare


def _predict_job(predictor: Predictor, job: PredictionJob, prepare: _Prepare) -> Prediction:
    picture = load_picture(job.picture)
    size = picture.shape[0], picture.shape[1]
    plate = None if job.plate is None else prepare(job.plate, size)
    prediction = predictor.predict(picture, plate)
    return (
        prediction.with_picture_file(job.picture) if isinstance(job.picture, Path) else prediction
    )


def _make_job(picture: Path | bytes, stem: str, plates: Plates) -> PredictionJob:
    path = picture if isinstance(picture, Path) else Path(stem)
    try:
        if isinstance(picture, Path):
            _check_no_output(picture)
        return PredictionJob(picture, plates.find(path), stem, loaded_plate=plates.loaded)
    except PictureError as problem:
        return PredictionJob(picture, None, stem, problem)


def _check_addresses(paths: Iterable[str]) -> None:
    for path in filter(is_address, paths):
        raise UsageError(
            "the path of a picture, a folder or a pattern",
            f"the address {path}",
            "download the picture first and pass its path",
            f"{path} is an address, not a file.",
        )


def _check_no_output(picture: Path) -> None:
    """Raises PictureError where a file is an earlier prediction's, or holds depth by its name."""
    for ending in _PICTURE_ENDINGS:
        stem = picture.name.removesuffix(ending)
        if stem not in ("", picture.name) and picture in earlier_outputs(picture.parent, stem):
            raise PictureError(
                "a picture",
                f"{picture}, an output",
                "pass the picture that it was made of",
                f"{picture} is an output of an earlier run, not a picture to predict.",
            )
    if picture.name.lower().endswith(DEPTH_MAP_ENDINGS):
        raise PictureError(
            "a picture",
            f"{picture}, a depth map",
            "pass the picture that it belongs to, or rename it if it is one",
            f"{picture} is a depth map by its name, not a picture to predict.",
        )


def _find_pictures(source: str, plates: Plates) -> tuple[list[Path], list[Path]]:
    """The pictures of a folder or pattern that are neither plates nor outputs, and what is none."""
    if plates.folder is not None and is_folder(source) and plates.folder.samefile(source):
        raise UsageError(
            "different folders of pictures and plates",
            f"{source} for both",
            "",
            "Give two folders: pictures and plates cannot be the same folder.",
        )
    listed = list_folder(Path(source)) if exists(source) else list_pattern(source)
    candidates = [path for path in listed if not _is_other(path, plates)]
    pictures = [path for path in picture_files(candidates) if not _is_depth(path)]
    kept = frozenset(pictures)
    others = [
        path
        for path in candidates
        if path.suffix.lower() not in _OWN_SUFFIXES and is_file(path) and path not in kept
    ]
    if not pictures:
        raise UsageError(
            f"pictures ({COMMON_SUFFIXES}) in {source}",
            count_kinds(others) or "no other files",
            "check the path",
            f"There are no pictures ({COMMON_SUFFIXES}) in {source}"
            + (f", but {count_kinds(others)}" if others else "")
            + "; plates and outputs of earlier runs do not count.",
        )
    return pictures, others


def _is_depth(path: Path) -> bool:
    return path.name.lower().endswith(MILLIMETRES_SUFFIX)


def _is_other(path: Path, plates: Plates) -> bool:
    """Whether a file is a plate or an output of an earlier run, which is not to be predicted."""
    return path.name.endswith(_PICTURE_ENDINGS) or plates.contain(path)


def _distinct_stems(pictures: Sequence[Path]) -> list[str]:
    """The stem of each picture; its name, then a number, where two stems would be the same.

    Stems that differ in letter case or in the composition of accents alone count as the same,
    because some file systems take their files for one.
    """
    stems = [path.stem for path in pictures]
    counts = Counter(map(_folded, stems))
    stems = [
        path.name if counts[_folded(stem)] > 1 else stem
        for path, stem in zip(pictures, stems, strict=True)
    ]
    taken: set[str] = set()
    distinct = []
    for stem in stems:
        candidate, number = stem, 2
        while _folded(candidate) in taken:
            candidate, number = f"{stem}-{number}", number + 1
        taken.add(_folded(candidate))
        distinct.append(candidate)
    return distinct


def _name_longer_stems(
    pictures: Sequence[Path], stems: Sequence[str], notify: Callable[[str], None]
) -> None:
    """Say where the outputs' names do not begin with the picture's stem, as everybody expects."""
    longer = [(path, stem) for path, stem in zip(pictures, stems, strict=True) if stem != path.stem]
    if longer:
        path, stem = longer[-1]
        notify(
            f"{len(longer)} pictures share their names, so the names of their outputs are longer: "
            f"those of {path} begin with {stem}"
        )


def _folded(stem: str) -> str:
    return normal_name(stem).casefold()
