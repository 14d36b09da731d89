"""Real pictures: frames with hand-made masks, and pictures with sensor depth."""

from __future__ import annotations

import glob
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import (
    decode_depth_mm,
    decode_disparity,
    depth_from_disparity,
    depth_from_disparity_aligned,
    disparity_from_depth,
)
from maskdepth.errors import AssetError, ModelError, PictureError
from maskdepth.evaluation.baselines import (
    ThresholdSearch,
    filtered_difference,
    largest_difference,
    registered,
    vertical_gradient,
)
from maskdepth.evaluation.depths import teacher_disparity
from maskdepth.images import PICTURE_SUFFIXES, load_grey16, load_picture
from maskdepth.inference.model.card import NO_DEPTH
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.teachers import Teacher
from maskdepth.metrics import MASK_THRESHOLD, MetricMean, depth_metrics, disparity_metrics
from maskdepth.synthesis.checks import DISPARITY_SUFFIX, MILLIMETRES_SUFFIX

# CDnet's grey levels (Goyette et al., "changedetection.net", CVPR workshops 2012).
_FOREGROUND: Final = 255
_BACKGROUND: Final = (0, 50)  # background, and shadows on it
_FIGURES: Final = ("abs_rel", "delta1", "ordinal_accuracy")

ALL_PICTURES: Final = "all"
"""The group of all pictures with measured depth."""

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
_DepthRow = dict[str, dict[str, float]]  # figures by whose disparity it is


@dataclass
class _Counts:
    """Pixels over all frames together."""

    hits: int = 0
    claimed: int = 0
    true: int = 0

    def add(self, mask: Mask, target: Mask, judged: Mask) -> None:
        self.hits += int((mask & target & judged).sum())
        self.claimed += int((mask & judged).sum())
        self.true += int((target & judged).sum())

    def summary(self) -> dict[str, float]:
        """Pooled F1, precision and recall; 0 where nothing is claimed."""
        return {
            "f1": 2 * self.hits / (self.claimed + self.true),
            "precision": self.hits / max(self.claimed, 1),
            "recall": self.hits / self.true,
        }


@dataclass(frozen=True)
class _Frame:
    picture: NDArray[np.uint8]
    target: Mask
    judged: Mask


@dataclass(frozen=True)
class _LeftOut:
    """Frames that are not used, the first of them, and why."""

    frames: int
    first: str
    why: str

    def __str__(self) -> str:
        return f"{self.frames} with {self.why}, first {self.first}"


def judge_frames(
    predictor: Predictor,
    folder: Path,
    *,
    tune: int = 20,
    others: Mapping[str, Predictor] | None = None,
) -> dict[str, Any]:
    """Foreground on frames of a fixed camera, in the layout of CDnet.

    Args:
        others: more models by name.
        folder: ``in<number>.jpg`` with ``gt<number>.png`` (255 foreground, 0 background, 50 shadow,
            which counts as background, all else is left out) and ``plate.png``.
        tune: so many first frames choose the baseline's threshold and median; the rest is judged.

    Returns:
        Pooled ``f1``, ``precision`` and ``recall`` of ``model`` and ``others`` (their masks as they
        are), ``no_plate`` (the model, of the frame alone), ``difference`` and
        ``difference_registered`` (|frame - plate|, before and after registration, each with what
        was ``tuned``) and ``mog2`` (OpenCV's background subtraction, which sees all frames in their
        order but no plate), and the number of ``frames``. ``left_out`` tells, for each reason
        ``why``, how many ``frames`` take no part at all, and the ``first``: those without ground
        truth, and those of whose ground truth no pixel is judged.

    Raises:
        AssetError: a file is missing, there are no frames left to judge, or no foreground in those
            that are tuned on or in those that are judged.
    """
    frames, plate, left_out = _load_frames(folder)
    if len(frames) <= tune:
        raise AssetError(
            f"more than the {tune} frames that are tuned on in {folder}",
            "; ".join([str(len(frames)), *map(str, left_out)]),
            "add frames, or tune on fewer: `evaluate-frames --tune N`",
        )
    for part, what in ((frames[:tune], "tuned on"), (frames[tune:], "judged")):
        if not any(frame.target.any() for frame in part):
            raise AssetError(
                f"foreground ({_FOREGROUND}) in the ground truth of the frames that are {what}",
                f"none in the {len(part)} of {folder}",
                "add frames that have some, or choose others to tune on: `--tune N`",
            )
    plates: dict[str, Callable[[Picture], Picture]] = {
        "difference": lambda _: plate,
        "difference_registered": lambda picture: registered(picture, plate),
    }
    tuned = {name: _tune(frames[:tune], given) for name, given in plates.items()}
    models = {"model": predictor} | {f"other {key}": each for key, each in (others or {}).items()}
    counts = {name: _Counts() for name in (*models, "no_plate", *plates, "mog2")}
    subtractor = cv2.createBackgroundSubtractorMOG2(detectShadows=True)
    for number, frame in enumerate(frames):
        moving = np.asarray(subtractor.apply(frame.picture)) == _FOREGROUND
        if number < tune:
            continue
        masks = {
            name: each.predict(frame.picture, plate).alpha > MASK_THRESHOLD
            for name, each in models.items()
        }
        masks["no_plate"] = predictor.predict(frame.picture).alpha > MASK_THRESHOLD
        for name, given in plates.items():
            threshold, side = tuned[name]
            values = filtered_difference(frame.picture, given(frame.picture), side)
            masks[name] = values > threshold
        masks["mog2"] = moving
        for name, mask in masks.items():
            counts[name].add(mask, frame.target, frame.judged)
    result: dict[str, Any] = {
        name: counts[name].summary() for name in ("model", "no_plate", *plates, "mog2")
    }
    for name, (threshold, side) in tuned.items():
        result[name]["tuned"] = {"threshold": threshold, "median_px": side, "on": tune}
    result["others"] = {key: counts[f"other {key}"].summary() for key in others or {}}
    return result | {"frames": len(frames) - tune, "left_out": [asdict(each) for each in left_out]}


def judge_sensor_depth(
    predictor: Predictor,
    folder: Path,
    *,
    others: Mapping[str, Predictor] | None = None,
    teacher: Teacher | None = None,
) -> dict[str, Any]:
    """Disparity of pictures alone against depth that was measured, or drawn exactly.

    Scale and shift are fitted in inverse depth on a picture's valid pixels; then depth is clipped
    to 0.1 to 80 m, or to as many times the distance of the nearest pixel where labels are
    disparity. Sky is left out.

    Args:
        folder: pictures with ``<stem>_depth_mm.png`` beside them, 16-bit millimetres, 0 invalid, or
            else with ``<stem>_disparity.png`` as the sample pack has them.
        others: more models by name; those that never learned depth are left out.
        teacher: another baseline.

    Returns:
        For each group of pictures (the stem before its last underscore) and ``all`` (the mean over
        pictures): the number of ``pictures``, and ``abs_rel``, ``delta1`` and ``ordinal_accuracy``
        of ``model``, of a ``vertical_gradient``, of the ``teacher`` if there is one, and of
        ``others`` by name; ``ordinal_accuracy`` over the pictures that have pairs to order, absent
        where none has.

    Raises:
        AssetError: there is no such pair.
        ModelError: the model never learned depth.
    """
    able = {key: other for key, other in (others or {}).items() if other.card.depth != NO_DEPTH}
    columns: dict[str, Callable[[Picture], NDArray[np.float32]]] = {
        "model": lambda image: predictor.predict(image).disparity,
        "vertical_gradient": lambda image: vertical_gradient(*image.shape[:2]),
    }
    if teacher is not None:
        columns["teacher"] = lambda image: teacher_disparity(teacher, image)
    if predictor.card.depth == NO_DEPTH:
        raise ModelError("a model that learned depth", "one of masks alone", "choose another")
    _check_folder(folder)
    every: list[_DepthRow] = []
    rows: dict[str, list[_DepthRow]] = defaultdict(list)
    labels = {
        label.name.removesuffix(suffix): label
        for suffix in (DISPARITY_SUFFIX, MILLIMETRES_SUFFIX)  # of both, what was measured
        for label in folder.glob(f"*{suffix}")
    }
    for stem, label in sorted(labels.items()):
        picture = _find_picture(folder, stem)
        depth_m = _load_depth(label)
        image = load_picture(picture)
        if image.shape[:2] != depth_m.shape:
            raise AssetError(
                f"depth of {image.shape[1]}x{image.shape[0]} px in {label}",
                f"{depth_m.shape[1]}x{depth_m.shape[0]}",
                "resize it to its picture",
            )
        known = depth_m[np.isfinite(depth_m)]
        if not known.size or known.min() == known.max():
            raise AssetError(
                f"depth in {label} that differs from place to place",
                "one depth everywhere" if known.size else "no valid pixel",
                "leave this picture out",
            )
        row = {name: _depth_figures(tell(image), depth_m) for name, tell in columns.items()}
        row |= {
            f"other {key}": _depth_figures(other.predict(image).disparity, depth_m)
            for key, other in able.items()
        }
        group = stem.rpartition("_")[0] or stem
        # What is called so itself must not pass for the mean over all.
        rows[f"{group}_" if group == ALL_PICTURES else group].append(row)
        every.append(row)
    if not every:
        raise AssetError(
            f"pictures with {MILLIMETRES_SUFFIX} or {DISPARITY_SUFFIX} beside them in {folder}",
            "none",
            "check the path",
        )
    return {
        group: {"pictures": len(each)}
        | {name: _means(each, name) for name in columns}
        | {"others": {key: _means(each, f"other {key}") for key in able}}
        for group, each in sorted((rows | {ALL_PICTURES: every}).items())
    }


def _means(rows: list[_DepthRow], name: str) -> dict[str, float]:
    means = MetricMean()
    for row in rows:
        means.add(row[name])
    return means.mean()


def _depth_figures(
    disparity: NDArray[np.float32], depth_m: NDArray[np.float32]
) -> dict[str, float]:
    valid = np.isfinite(depth_m)
    aligned = depth_from_disparity_aligned(disparity, depth_m, valid)
    target = disparity_from_depth(depth_m)
    figures = depth_metrics(aligned, depth_m, valid) | disparity_metrics(disparity, target, valid)
    return {name: figures[name] for name in _FIGURES if name in figures}


def _load_depth(label: Path) -> NDArray[np.float32]:
    codes = load_grey16(label)
    if label.name.endswith(MILLIMETRES_SUFFIX):
        return decode_depth_mm(codes)
    return depth_from_disparity(decode_disparity(codes))


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing there"
        raise AssetError(f"a folder of pictures at {folder}", got, "check the path")


def _find_picture(folder: Path, stem: str) -> Path:
    found = [
        path
        for path in folder.glob(f"{glob.escape(stem)}.*")
        if path.stem == stem and path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()
    ]
    if len(found) != 1:
        raise AssetError(
            f"one picture called {stem} in {folder}",
            ", ".join(sorted(path.name for path in found)) or "none",
            "leave one" if found else "put it there",
        )
    return found[0]


def _load_frames(folder: Path) -> tuple[list[_Frame], NDArray[np.uint8], list[_LeftOut]]:
    _check_folder(folder)
    plate = load_picture(_find_picture(folder, "plate"))
    frames, unjudged = [], []
    for path in sorted(folder.glob("gt*.png"), key=_frame_order):
        picture = load_picture(_find_picture(folder, f"in{path.stem.removeprefix('gt')}"))
        levels = load_picture(path)[..., 0]
        if not picture.shape[:2] == levels.shape == plate.shape[:2]:
            raise PictureError(
                f"frame, mask and plate of one size at {path}",
                f"{picture.shape[:2]}, {levels.shape} and {plate.shape[:2]}",
                "resize them",
            )
        target = levels == _FOREGROUND
        judged = target | np.isin(levels, _BACKGROUND)
        if judged.any():
            frames.append(_Frame(picture, target, judged))
        else:
            unjudged.append(path.name)
    left_out = {
        "no ground truth": [
            path.name
            for path in sorted(folder.glob("in[0-9]*"))
            if path.suffix.lower() in PICTURE_SUFFIXES
            and not (folder / f"gt{path.stem.removeprefix('in')}.png").exists()
        ],
        "no judged pixel in the ground truth": unjudged,
    }
    found = [_LeftOut(len(names), names[0], why) for why, names in left_out.items() if names]
    return frames, plate, found


def _frame_order(path: Path) -> tuple[int, str]:
    """Frame 2 before frame 10, whether or not their numbers have as many digits."""
    number = path.stem.removeprefix("gt")
    return int(number) if number.isdecimal() else -1, path.name


def _tune(frames: list[_Frame], plate: Callable[[Picture], Picture]) -> tuple[int, int]:
    """Threshold and median filter of the best pooled F1, with the plate of each picture."""
    search = ThresholdSearch(pooled=True)
    for frame in frames:
        levels = largest_difference(frame.picture, plate(frame.picture))
        search.add(levels, frame.target, frame.judged)
    threshold, side, _ = search.best()
    return threshold, side
