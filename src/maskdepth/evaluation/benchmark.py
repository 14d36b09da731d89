"""The whole evaluation: every slice, every column, and what it was measured on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from maskdepth._version import __version__
from maskdepth.errors import UsageError
from maskdepth.evaluation.depths import judge_depth
from maskdepth.evaluation.masks import PASSES_PER_SLICE, judge_masks
from maskdepth.evaluation.real import judge_frames, judge_sensor_depth
from maskdepth.evaluation.robustness import PASSES, judge_robustness
from maskdepth.evaluation.tally import BOOTSTRAP_SEED, CONFIDENCE
from maskdepth.evaluation.withheld import PLACEMENTS, judge_withheld
from maskdepth.inference.model.card import NETWORK_FILE, NO_DEPTH, ModelCard
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.teachers import Teacher
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1
from maskdepth.synthesis.spec import DatasetSpec

FORMAT: Final = "maskdepth-evaluation"
VERSION: Final = 2
BENCHMARK_VERSION: Final = 1


@dataclass(frozen=True)
class Evidence:
    """What is judged beside the benchmark's slices.

    Attributes:
        robustness: composites of every point of the curves; 0 for no curves.
        frames: folders of frames with hand-made masks, see `judge_frames`.
        depth: folders of pictures with measured depth, see `judge_sensor_depth`.
        withheld: folder of drawn scenes of a family that was not trained on.
        teacher: a depth network, judged beside the model wherever depth is.
    """

    robustness: int = 0
    frames: Sequence[Path] = ()
    depth: Sequence[Path] = ()
    withheld: Path | None = None
    teacher: Teacher | None = None


def evaluate(
    predictor: Predictor,
    spec: DatasetSpec,
    folder: Path,
    *,
    count: int = 500,
    slices: Sequence[str] = tuple(BENCHMARK_V1),
    others: Mapping[str, Predictor] | None = None,
    evidence: Evidence | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Judge a model on the frozen benchmark recipes over a dataset's assets.

    Seen assets are those of the train split, unseen ones those of test; val tunes the baseline.

    Args:
        spec, folder: the dataset, and where its spec lies.
        count: composites of every cell; the benchmark's own count is 500.
        slices: of the benchmark.
        others: more models by name, for unseen cutouts on unseen backgrounds.
        evidence: what else to judge on.
        progress: called with the composites done and their total.

    Returns:
        Plain values for JSON. ``masks[slice]`` has ``cells`` (``seen_seen``, ``seen_unseen``,
        ``unseen_seen``, ``unseen_unseen``: the cutout first, then the background), ``no_plate``,
        ``difference``, ``centred_disc``, ``empty``, ``others`` and ``dice_by_index``; ``depth`` has
        ``columns``, ``baselines``, ``others``, ``depth_dice``, ``depth_units``. A column is
        ``pictures``, ``cutouts``, ``backgrounds``, ``mean`` and ``interval`` by figure; without
        pictures ``mean`` is null and ``reason`` says why. ``robustness``, ``frames``,
        ``sensor_depth`` (both by the folder's name) and ``withheld`` are null where they were not
        asked for.

    Raises:
        UsageError: an unknown slice, or a count below 1.
        DatasetError: an asset is missing or has changed.
        AssetError: a folder of the evidence lacks what is judged on.
    """
    evidence = evidence or Evidence()
    _check(slices, count, evidence)
    begin = time.monotonic()
    total = (PASSES_PER_SLICE * len(slices) + 1) * count + PASSES * evidence.robustness
    total += len(PLACEMENTS) * count if evidence.withheld else 0
    done = 0

    def advance(composites: int) -> None:
        nonlocal done
        done += composites
        if progress is not None:
            progress(done, total)

    # First: what is wrong with a folder should not be told after an hour.
    more = _judge_evidence(predictor, spec, folder, count, others or {}, evidence, advance)
    # The pictures are the benchmark's size, whatever size the dataset trains at.
    size = max(rules.size for rules in BENCHMARK_V1.values())
    catalogue = spec.catalogue(folder, size)
    masks = {
        name: judge_masks(
            predictor, spec, catalogue, BENCHMARK_V1[name], count, others or {}, advance
        )
        for name in slices
    }
    depth = judge_depth(
        predictor, spec, catalogue, BENCHMARK_V1["clean"], count, advance,
        others=others, teacher=evidence.teacher,
    )  # fmt: skip
    return {
        "format": FORMAT,
        "version": VERSION,
        "maskdepth": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - begin, 1),
        "benchmark": {
            "version": BENCHMARK_VERSION,
            "seed": BENCHMARK_SEED,
            "count": count,
            "size": size,
            "slices": list(slices),
        },
        "interval": {
            "confidence": CONFIDENCE,
            "resampled": "groups of cutouts and of backgrounds",
            "seed": BOOTSTRAP_SEED,
        },
        "model": _describe_model(predictor.card),
        "others": {name: _describe_model(other.card) for name, other in (others or {}).items()},
        "assets": spec.split_sizes,
        "labels": spec.describe_labels(),
        "masks": masks,
        "depth": depth,
        **more,
    }


def _check(slices: Sequence[str], count: int, evidence: Evidence) -> None:
    unknown = [name for name in slices if name not in BENCHMARK_V1]
    if unknown:
        raise UsageError(
            f"slices among {', '.join(BENCHMARK_V1)}", ", ".join(unknown), "leave that out"
        )
    if count < 1:
        raise UsageError("a count of 1 or more", str(count), "leave --count out for 500")
    for folders in (evidence.frames, evidence.depth):
        names = [folder.resolve().name for folder in folders]
        if len(set(names)) < len(names):
            raise UsageError(
                "folders of different names", ", ".join(map(str, folders)), "rename one of them"
            )


def _judge_evidence(
    predictor: Predictor,
    spec: DatasetSpec,
    folder: Path,
    count: int,
    others: Mapping[str, Predictor],
    evidence: Evidence,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """What there is beside the slices; null for what was not asked for."""
    teacher = evidence.teacher
    learned = predictor.card.depth != NO_DEPTH
    frames = {
        each.resolve().name: judge_frames(predictor, each, others=others)
        for each in evidence.frames
    }
    sensor = {
        each.resolve().name: judge_sensor_depth(predictor, each, others=others, teacher=teacher)
        for each in evidence.depth
        if learned
    }
    withheld = None
    if evidence.withheld is not None:
        withheld = judge_withheld(
            predictor, spec, folder, evidence.withheld, count,
            others=others, teacher=teacher, advance=advance,
        )  # fmt: skip
    robustness = None
    if evidence.robustness:
        robustness = judge_robustness(
            predictor, spec, partial(spec.catalogue, folder), evidence.robustness,
            others=others, advance=advance,
        )  # fmt: skip
    return {
        "robustness": robustness,
        "frames": frames or None,
        "sensor_depth": sensor or None,
        "withheld": withheld,
        "teacher": None if teacher is None else _describe_teacher(teacher),
    }


def _describe_teacher(teacher: Teacher) -> dict[str, Any]:
    info = teacher.info
    return {"name": info.name, "version": info.version, "licence": info.licence}


def _describe_model(card: ModelCard) -> dict[str, Any]:
    stages = [card.training]
    while "from" in stages[-1]:
        stages.append(stages[-1]["from"]["training"])
    return {
        "preset": card.preset,
        "weights": card.weights,
        "depth": card.depth,
        "maskdepth": card.maskdepth,
        "sha256": card.sha256.get(NETWORK_FILE),
        # the last training, and those of the models that it started from, the latest first
        "training": _describe_training(stages[0]),
        "earlier": [_describe_training(stage) for stage in stages[1:]],
    }


def _describe_training(training: dict[str, Any]) -> dict[str, Any]:
    return {name: training[name] for name in ("steps", "images", "seconds") if name in training}
