"""The whole evaluation: every slice, every column, and what it was measured on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from maskdepth import __version__
from maskdepth.errors import UsageError
from maskdepth.evaluation.depths import judge_depth
from maskdepth.evaluation.masks import PASSES_PER_SLICE, judge_masks
from maskdepth.evaluation.tally import BOOTSTRAP_SEED, CONFIDENCE
from maskdepth.inference.model_folder import NETWORK_FILE, ModelCard
from maskdepth.inference.predictor import Predictor
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1
from maskdepth.synthesis.spec import DatasetSpec

FORMAT: Final = "maskdepth-evaluation"
VERSION: Final = 1
BENCHMARK_VERSION: Final = 1


def evaluate(
    predictor: Predictor,
    spec: DatasetSpec,
    folder: Path,
    *,
    count: int = 500,
    slices: Sequence[str] = tuple(BENCHMARK_V1),
    others: Mapping[str, Predictor] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Judge a model on the frozen benchmark recipes over a dataset's assets.

    Seen assets are those of the train split, unseen ones those of test; val tunes the baseline.

    Args:
        spec, folder: the dataset, and where its spec lies.
        count: composites of every cell; the benchmark's own count is 500.
        slices: of the benchmark.
        others: more models by name, for unseen cutouts on unseen backgrounds.
        progress: called with the composites done and their total.

    Returns:
        Plain values for JSON. ``masks[slice]`` has ``cells`` (``seen_seen``, ``seen_unseen``,
        ``unseen_seen``, ``unseen_unseen``: the cutout first, then the background), ``no_plate``,
        ``difference``, ``others`` and ``dice_by_index``; ``depth`` has ``columns``,
        ``baselines``, ``depth_dice``, ``depth_units``. A column is ``pictures``, ``cutouts``,
        ``backgrounds``, ``mean`` and ``interval`` by figure; without pictures ``mean`` is null
        and ``reason`` says why.

    Raises:
        UsageError: an unknown slice, or a count below 1.
        DatasetError: an asset is missing or has changed.
    """
    unknown = [name for name in slices if name not in BENCHMARK_V1]
    if unknown:
        raise UsageError(
            f"slices among {', '.join(BENCHMARK_V1)}", ", ".join(unknown), "leave that out"
        )
    if count < 1:
        raise UsageError("a count of 1 or more", str(count), "leave --count out for 500")
    begin = time.monotonic()
    total = (PASSES_PER_SLICE * len(slices) + 1) * count
    done = 0

    def advance(composites: int) -> None:
        nonlocal done
        done += composites
        if progress is not None:
            progress(done, total)

    # The pictures are the benchmark's size, whatever size the dataset trains at.
    size = max(rules.size for rules in BENCHMARK_V1.values())
    catalogue = spec.catalogue(folder, size)
    masks = {
        name: judge_masks(
            predictor, spec, catalogue, BENCHMARK_V1[name], count, others or {}, advance
        )
        for name in slices
    }
    depth = judge_depth(predictor, spec, catalogue, BENCHMARK_V1["clean"], count, advance)
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
        "assets": _count_assets(spec),
        "labels": _describe_labels(spec),
        "masks": masks,
        "depth": depth,
    }


def _describe_model(card: ModelCard) -> dict[str, Any]:
    return {
        "preset": card.preset,
        "weights": card.weights,
        "depth": card.depth,
        "maskdepth": card.maskdepth,
        "sha256": card.sha256.get(NETWORK_FILE),
    }


def _describe_labels(spec: DatasetSpec) -> dict[str, Any]:
    """What the disparity labels of a dataset are, and those that are not learned from."""
    return {
        "kinds": spec.label_kinds,
        "teachers": [teacher.model_dump(mode="json") for teacher in spec.teachers],
        "flagged": {name: list(flags) for name, flags in spec.flagged.items()},
    }


def _count_assets(spec: DatasetSpec) -> dict[str, dict[str, int]]:
    return {
        kind: {
            split: sum(asset.split == split for asset in assets)
            for split in ("train", "val", "test")
        }
        for kind, assets in (("cutouts", spec.cutouts), ("backgrounds", spec.backgrounds))
    }
