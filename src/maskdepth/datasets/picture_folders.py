"""Composites as files in the prior work's four folders, and the depth that a teacher gave them.

    DATASET/output_image/1.jpg    the composites, numbered from 1, of JPEG quality 90
    DATASET/output_bg/1.jpg       their plates
    DATASET/output_mask/1.jpg     their alpha, 8-bit grey
    DATASET/output_depth/1.jpg    their disparity, 8-bit grey, near = bright, unknown = black
    DATASET/output_depth.json     the teacher that was asked for each composite's depth, if any

In each folder a number names the same composite, and a file is there completely or not at all.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from maskdepth.config import Settings
from maskdepth.datasets.build import Dataset
from maskdepth.errors import ConfigError, DatasetError, PictureError, StorageError
from maskdepth.files import read_bytes, read_text, remove_parts, write_bytes, write_text
from maskdepth.images import decode_jpeg, encode_jpeg
from maskdepth.labelling.checks import judge_pictures
from maskdepth.labelling.labels import describe_teacher
from maskdepth.labelling.teachers.teacher import Teacher
from maskdepth.locks import writer_lock
from maskdepth.records import check_no_other_files
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import Composite, render

DEPTH_FOLDER: Final = "output_depth"
RECORD_FILE: Final = "output_depth.json"
_FOLDERS: Final = ("output_image", "output_bg", "output_mask", DEPTH_FOLDER)
_QUALITY: Final = 90
_GROUP: Final = 8  # composites given to a teacher at once
_PROGRESS_SECONDS: Final = 10.0

Notify = Callable[[str], None]


class FolderRecord(Settings):
    """Who labelled the pictures in ``output_depth``.

    Attributes:
        fingerprint: of the dataset.
        teacher: was asked for the depth of each composite.
        count: composites that are complete, from the first on.
    """

    format: Literal["maskdepth-output-depth"] = "maskdepth-output-depth"
    version: Literal[1] = 1
    fingerprint: str
    teacher: TeacherLabel
    count: int = Field(0, ge=0)


def write_folders(
    dataset: Dataset,
    count: int,
    *,
    teacher: Teacher | None = None,
    notify: Notify = lambda _: None,
) -> None:
    """Write the first ``count`` training composites in the prior work's layout.

    Called again after an interruption, or with a larger count, it goes on; the teacher is not
    asked again for depth that is there.

    Args:
        count: of a planned grid, at most all of it.
        teacher: is asked for the depth of each composite, and every answer is written, doubtful
            ones too, as in the prior work. Without a teacher, depth is that of the background's
            label and the objects' layers, and a composite without a label has no depth file.
        notify: receives a line on the progress now and then, and one on doubtful labels.

    Raises:
        UsageError: ``count`` is beyond the planned grid.
        TeacherError: the teacher breaks a promise, see ``checked_maps``.
        StorageError: one of the four folders holds something else, or depth of another teacher;
            nothing is overwritten. Or another run writes there, or the disk is full.
    """
    dataset.check_count(count)
    folder, spec = dataset.folder, dataset.spec
    with writer_lock(folder):
        expected = {f"{number}.jpg" for number in range(1, count + 1)}
        remove_parts(folder)
        for target in (folder / name for name in _FOLDERS):
            remove_parts(target)
            check_no_other_files(target, expected, f"composites 1 to {count}")
        record = _begin_record(dataset, teacher)
        catalogue = spec.catalogue(folder)
        recipes = sample_recipes(spec.rules, spec.pool(), spec.seed, 0, count)
        rendered = (render(recipe, spec.rules.size, catalogue) for recipe in recipes)
        flagged: Counter[str] = Counter()
        progress = _Progress(count, notify)
        while group := list(itertools.islice(rendered, _GROUP)):
            disparity = _find_disparity(group, folder, teacher, flagged)
            for composite in group:
                number = composite.recipe.index + 1
                _write_composite(folder, number, composite, disparity.get(number))
            progress.advance(len(group))
        if record is not None:
            _save_record(folder, record.model_copy(update={"count": max(count, record.count)}))
    if flagged:
        reasons = ", ".join(f"{number} {flag}" for flag, number in flagged.most_common())
        notify(f"depth that the checks of labels doubt, and that is written: {reasons}")


class FolderDisparity(Sequence[NDArray[np.float32]]):
    """The disparity in ``output_depth``, float32 (S, S) in [0, 1], by sample number from 0.

    Args:
        folder: of the dataset.
        count: composites that are complete.
        size: S.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        self._folder, self._count, self._size = folder, count, size

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        """The disparity of a composite.

        Raises:
            DatasetError: its file is missing or damaged.
        """
        if not 0 <= number < self._count:
            raise IndexError(number)
        path = self._folder / DEPTH_FOLDER / f"{number + 1}.jpg"
        try:
            grey = decode_jpeg(read_bytes(path))[..., 0]
        except (OSError, PictureError) as error:
            raise _damaged(path, getattr(error, "strerror", None) or str(error)) from None
        if grey.shape != (self._size, self._size):
            raise _damaged(path, f"a picture of {grey.shape[1]} x {grey.shape[0]}")
        return grey.astype(np.float32) / np.float32(255)


def load_folder_record(folder: Path) -> FolderRecord | None:
    """The record of the depth in a dataset's folders; None where no teacher made it.

    Raises:
        DatasetError: the record is damaged or of another version.
    """
    path = folder / RECORD_FILE
    if not path.exists():
        return None
    try:
        return FolderRecord.parse(json.loads(read_text(path)), str(path))
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        raise DatasetError(
            f"the record of a teacher's depth at {path}",
            str(error),
            "compose in another folder",
            f"{path} cannot be read: {error}",
        ) from None


def _begin_record(dataset: Dataset, teacher: Teacher | None) -> FolderRecord | None:
    """The record to complete; None without a teacher. Depth of two origins is never mixed."""
    folder = dataset.folder
    earlier = load_folder_record(folder)
    if teacher is None:
        if earlier is not None:
            name = earlier.teacher.name
            raise _mixed(folder, f"depth by the teacher {name}", f"name that --teacher, {name}")
        return None
    record = FolderRecord(
        fingerprint=dataset.spec.fingerprint, teacher=describe_teacher(teacher.info)
    )
    if earlier is None:
        depth = folder / DEPTH_FOLDER
        if depth.is_dir() and any(depth.iterdir()):
            raise _mixed(folder, "depth of the backgrounds' labels", "leave --teacher out")
        _save_record(folder, record)
        return record
    if earlier.teacher != record.teacher:
        found = f"depth by the teacher {earlier.teacher.name} {earlier.teacher.version}"
        raise _mixed(folder, found, "name that teacher")
    if earlier.fingerprint != record.fingerprint:
        raise _mixed(folder, "depth of another state of the dataset", "compose it again there")
    return earlier


def _save_record(folder: Path, record: FolderRecord) -> None:
    write_text(folder / RECORD_FILE, json.dumps(record.model_dump(mode="json"), indent=1) + "\n")


def _find_disparity(
    group: Sequence[Composite], folder: Path, teacher: Teacher | None, flagged: Counter[str]
) -> dict[int, NDArray[np.float32]]:
    """The disparity to write by composite number; the teacher's flags are counted."""
    if teacher is None:
        return {
            each.recipe.index + 1: each.disparity for each in group if each.disparity is not None
        }
    missing = [
        each for each in group if not _path(folder, DEPTH_FOLDER, each.recipe.index + 1).exists()
    ]
    if not missing:
        return {}
    found = {}
    labels = judge_pictures(teacher, [each.image for each in missing])
    for composite, (disparity, flags) in zip(missing, labels, strict=True):
        flagged.update(flags)
        found[composite.recipe.index + 1] = disparity
    return found


def _write_composite(
    folder: Path, number: int, composite: Composite, disparity: NDArray[np.float32] | None
) -> None:
    """Write the files of a composite that are missing; depth is the last."""
    pictures = {
        "output_image": composite.image,
        "output_bg": composite.plate,
        "output_mask": np.rint(composite.alpha * 255).astype(np.uint8),
    }
    if disparity is not None:
        pictures[DEPTH_FOLDER] = np.rint(np.nan_to_num(disparity) * 255).astype(np.uint8)
    for name, picture in pictures.items():
        _write_once(_path(folder, name, number), encode_jpeg(picture, _QUALITY))


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / name / f"{number}.jpg"


def _write_once(path: Path, content: bytes) -> None:
    """Write a new file; one that is there has to hold the same.

    Raises:
        StorageError: the file that is there holds something else.
    """
    if not path.exists():
        write_bytes(path, content)
    elif read_bytes(path) != content:
        raise StorageError(
            f"the composite of this dataset at {path}", "another file", "choose another folder",
            f"{path} is another file than the composite of this dataset.",
        )  # fmt: skip


class _Progress:
    """Lines on what is done, and how long the rest takes at the same speed."""

    def __init__(self, total: int, notify: Notify) -> None:
        self._total, self._notify = total, notify
        self._began = self._notified = time.monotonic()
        self._done = 0

    def advance(self, more: int) -> None:
        """Count composites that are written."""
        self._done += more
        now = time.monotonic()
        if now - self._notified > _PROGRESS_SECONDS and self._done < self._total:
            remaining = (now - self._began) / self._done * (self._total - self._done)
            self._notify(
                f"{self._done} of {self._total} composites, {remaining / 60:.1f} minutes to go"
            )
            self._notified = now


def _mixed(folder: Path, found: str, remedy: str) -> StorageError:
    return StorageError(
        f"depth of one origin in {folder / DEPTH_FOLDER}",
        found,
        f"{remedy}, or compose in another folder",
        f"{folder / DEPTH_FOLDER} holds {found}.",
    )


def _damaged(path: Path, got: str) -> DatasetError:
    return DatasetError(
        f"{path} as it was written",
        got,
        "remove it, and run the `compose --layout folders` that wrote it again",
        f"{path} cannot be learned from: {got}.",
    )
