"""Composites of the frozen benchmark: every slice, every column, and what was asked for beside."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from maskdepth._version import __version__
from maskdepth.errors import UsageError, check_name
from maskdepth.evaluation.columns import BOOTSTRAP_SEED, CONFIDENCE
from maskdepth.evaluation.composite_depth import (
    count_depth_predictions,
    evaluate_composite_depth,
)
from maskdepth.evaluation.frames import evaluate_frames
from maskdepth.evaluation.masks import count_mask_predictions, evaluate_masks
from maskdepth.evaluation.measured_depth import evaluate_depth
from maskdepth.evaluation.results import BenchmarkFacts, Evaluation, ModelFacts
from maskdepth.evaluation.robustness import count_point_predictions, evaluate_robustness
from maskdepth.evaluation.slices import SLICES
from maskdepth.evaluation.withheld import PLACEMENTS, evaluate_withheld
from maskdepth.inference.model.card import NETWORK_FILE, NO_DEPTH, ModelCard
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.teachers import Teacher
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1
from maskdepth.synthesis.spec import DatasetSpec

FORMAT: Final = "maskdepth-evaluation"
VERSION: Final = 2
BENCHMARK_VERSION: Final = 1


@dataclass(frozen=True)
class Extras:
    """What is evaluated beside the benchmark's slices.

    Attributes:
        robustness: composites of every point of the curves; 0 for no curves.
        frames: folders of frames with hand-made masks, see `evaluate_frames`.
        depth: folders of pictures with measured depth, see `evaluate_depth`.
        withheld: folder of drawn scenes of a family that was not trained on.
        teacher: a depth network, judged beside the model wherever depth is.
    """

    robustness: int = 0
    frames: Sequence[Path] = ()
    depth: Sequence[Path] = ()
    withheld: Path | None = None
    teacher: Teacher | None = None


def evaluate_composites(
    predictor: Predictor,
    spec: DatasetSpec,
    folder: Path,
    *,
    count: int = 500,
    slices: Sequence[str] = tuple(BENCHMARK_V1),
    others: Mapping[str, Predictor] | None = None,
    extras: Extras | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Judge a model on the frozen benchmark recipes over a dataset's assets.

    Seen assets are those of the train split, unseen ones those of test; val tunes the baselines.

    Args:
        spec, folder: the dataset, and where its spec lies.
        count: composites of every cell; the benchmark's own count is 500.
        slices: names in ``SLICES``: those of the benchmark, or of a challenge beside it.
        others: more models by name, for unseen cutouts on unseen backgrounds.
        extras: what else to evaluate.
        progress: called with the number of predictions that are done, and of all.

    Raises:
        UsageError: an unknown slice, or a count below 1.
        DatasetError: an asset is missing or has changed.
        AssetError: a folder of the extras lacks the files it needs.
    """
    extras, others = extras or Extras(), others or {}
    check_arguments(slices, count, extras)
    begin = time.monotonic()
    tables = 1 + (len(PLACEMENTS) if extras.withheld else 0)  # of depth
    total = len(slices) * count_mask_predictions(count, len(others))
    total += tables * count_depth_predictions(count, len(others))
    total += count_point_predictions(extras.robustness, len(others))
    advance = _counter(total, progress)
    # The extras come first: an error in one of their folders should not take an hour to show.
    teacher, learned = extras.teacher, predictor.card.depth != NO_DEPTH
    frames = {
        each.resolve().name: evaluate_frames(
            predictor, each, others=others, on_progress=lambda *_: advance(0)
        )
        for each in extras.frames
    }
    sensor_depth = {
        each.resolve().name: evaluate_depth(predictor, each, others=others, teacher=teacher)
        for each in extras.depth
        if learned
    }
    withheld = robustness = None
    if extras.withheld is not None:
        withheld = evaluate_withheld(
            predictor, spec, folder, extras.withheld, count,
            others=others, teacher=teacher, advance=advance,
        )  # fmt: skip
    if extras.robustness:
        robustness = evaluate_robustness(
            predictor, spec, partial(spec.catalogue, folder), extras.robustness,
            others=others, advance=advance,
        )  # fmt: skip
    # The pictures are the benchmark's size, whatever size the dataset trains at.
    size = max(rules.size for rules in BENCHMARK_V1.values())
    catalogue = spec.catalogue(folder, size)
    masks = {
        name: evaluate_masks(predictor, spec, catalogue, SLICES[name], count, others, advance)
        for name in slices
    }
    depth = evaluate_composite_depth(
        predictor, spec, catalogue, BENCHMARK_V1["clean"], count, advance,
        others=others, teacher=teacher,
    )  # fmt: skip
    return Evaluation(
        format=FORMAT,
        version=VERSION,
        maskdepth=__version__,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - begin, 1),
        benchmark=BenchmarkFacts(BENCHMARK_VERSION, BENCHMARK_SEED, count, size, slices),
        interval={
            "confidence": CONFIDENCE,
            "resampled": "groups of cutouts and of backgrounds",
            "seed": BOOTSTRAP_SEED,
        },
        model=_describe_model(predictor.card, predictor.depth_card),
        others={
            name: _describe_model(other.card, other.depth_card) for name, other in others.items()
        },
        assets=spec.split_sizes,
        labels=spec.describe_labels(),
        masks=masks,
        depth=depth,
        robustness=robustness,
        frames=frames or None,
        sensor_depth=sensor_depth or None,
        withheld=withheld,
        teacher=None
        if teacher is None
        else {key: getattr(teacher.info, key) for key in ("name", "version", "licence")},
    )


def _counter(total: int, progress: Callable[[int, int], None] | None) -> Callable[[int], None]:
    """A function that adds up predictions and reports their sum."""
    done = 0

    def advance(predictions: int) -> None:
        nonlocal done
        done += predictions
        if progress is not None:
            progress(done, total)

    return advance


def check_arguments(slices: Sequence[str], count: int, extras: Extras) -> None:
    """Check what is asked of `evaluate_composites`, before any work.

    Raises:
        UsageError: an unknown slice, a count below 1, or two folders of one name.
    """
    for name in slices:
        check_name("slice", name, SLICES, UsageError)
    if count < 1:
        raise UsageError("a count of 1 or more", str(count), "leave --count out for 500")
    for folders in (extras.frames, extras.depth):
        names = [folder.resolve().name for folder in folders]
        if len(set(names)) < len(names):
            raise UsageError(
                "folders of different names", ", ".join(map(str, folders)), "rename one of them"
            )


def _describe_model(card: ModelCard, depth_card: ModelCard) -> ModelFacts:
    stages = [card.training]
    while "from" in stages[-1]:
        stages.append(stages[-1]["from"]["training"])
    keys = ("steps", "images", "seconds")
    last, *earlier = (
        {key: each[key] for key in keys if each.get(key) is not None} for each in stages
    )
    return ModelFacts(
        preset=card.preset,
        weights=card.weights,
        depth=card.depth,
        maskdepth=card.maskdepth,
        sha256=card.sha256.get(NETWORK_FILE),
        training=last,
        earlier=earlier,
        depth_network=None if depth_card is card else _describe_model(depth_card, depth_card),
    )
