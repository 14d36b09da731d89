"""How fast this machine trains, predicts and draws, as JSON-able figures with the machine."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskdepth import __version__
from maskdepth.errors import DependencyError, UsageError
from maskdepth.inference.model_folder import NETWORK_FILE, ModelCard, load_model_folder
from maskdepth.inference.predictor import OnnxBackend
from maskdepth.labelling.build import compose_dataset
from maskdepth.synthesis.recipes import RecipeRules
from maskdepth.synthesis.worlds import (
    FAMILIES,
    SCENES,
    scene_pool,
    time_scene,
    write_sample_pack,
)

if TYPE_CHECKING:
    from maskdepth.learning.dataset import CompositeDataset
    from maskdepth.learning.settings import TrainingConfig
    from maskdepth.learning.training import TrainingProgress

__all__ = ["bench_predict", "bench_train", "bench_worlds"]

WARM_UP_SECONDS = 5.0  # of training: allocators, code generation, the cache of assets
WARM_UP_RUNS = 3  # of a network
PACK_SIZE = 8  # scenes, and cutouts: enough that the cache of assets works as usual


def bench_train(
    preset: str = "small",
    *,
    size: int = 224,
    batch_size: int = 16,
    seconds: float = 20.0,
    device: str = "auto",
) -> dict[str, Any]:
    """Train for a while on composites rendered on the fly, and measure the loop itself.

    Args:
        preset: of the network and its settings.
        size: side of the composites, px.
        batch_size: images a step.
        seconds: to measure, after a warm-up.
        device: see ``maskdepth.learning.training.train``.

    Returns:
        ``images_per_second`` of rendering, forward, backward and step together; ``loader_share``,
        the share of the time spent waiting for rendered batches; ``steps`` and ``seconds`` that
        were measured; the settings; ``machine``.

    Raises:
        DependencyError: torch is not installed.
        UsageError: the time was too short for two steps.
    """
    try:
        from maskdepth.learning.settings import preset_config
        from maskdepth.learning.training import train
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "train") from None

    config = preset_config(preset).lasting(minutes=(WARM_UP_SECONDS + seconds) / 60)
    config = config.with_(batch_size=batch_size, save_every_seconds=1e9)
    marks: list[TrainingProgress] = []
    with tempfile.TemporaryDirectory(prefix="maskdepth-bench-") as name:
        samples = _sample_pack_composites(Path(name), config, size)
        run = Path(name) / "run"
        result = train(
            config, samples, None, run, device=device, quiet=True, on_progress=marks.append
        )
    return {
        "preset": preset,
        "size": size,
        "batch_size": batch_size,
        **_rates(marks),
        "machine": _machine() | result.machine,
    }


def bench_worlds(
    *, size: int = 256, seconds: float = 20.0, families: Sequence[str] = FAMILIES
) -> dict[str, Any]:
    """Draw scenes in two processes, as a sample pack is drawn, and measure how many a second.

    Args:
        size: side of the square pictures, px.
        seconds: to measure for about, after the processes have started and drawn once.
        families: in turn.

    Returns:
        ``scenes_per_second`` of both processes together; ``family_ms``, the median time of one
        scene of each family in one process; ``scenes`` and ``seconds`` that were measured;
        ``size``; ``processes``; ``machine``.

    Raises:
        UsageError: an unknown family, or none.
    """
    if not families or not set(families) <= set(SCENES):
        raise UsageError(f"families of {', '.join(SCENES)}", ", ".join(families), "name some")
    times: dict[str, list[float]] = {family: [] for family in families}
    started, count, seed = 0.0, 0, 0
    with scene_pool() as pool:
        while seed < 2 or time.perf_counter() - started < seconds:
            if seed == 1:
                started = time.perf_counter()
            jobs = [(family, 2 * seed + half, size) for family in families for half in (0, 1)]
            for (family, _, _), took in zip(jobs, pool.map(time_scene, jobs), strict=True):
                if seed:
                    times[family].append(took)
                    count += 1
            seed += 1
        lasted = time.perf_counter() - started
    return {
        "size": size,
        "processes": 2,
        "scenes": count,
        "seconds": lasted,
        "scenes_per_second": count / lasted,
        "family_ms": {family: 1000 * float(np.median(took)) for family, took in times.items()},
        "machine": _machine(),
    }


def bench_predict(
    models: Sequence[Path],
    *,
    sizes: Sequence[int] = (224, 448),
    runs: int = 50,
    threads: int | None = None,
) -> dict[str, Any]:
    """Latency of the networks alone, without reading or resizing pictures, one picture at a time.

    The models take turns, so that a machine that slows down slows all of them down.

    Args:
        models: model folders; ratios are to the first.
        sizes: sides of square pictures, px; a network of one fixed size is measured at that.
        runs: timed runs of every network and size.
        threads: CPU threads, all cores if left out.

    Returns:
        ``networks``: a list with ``model``, ``preset``, ``weights``, ``size``, ``median_ms``,
        ``p95_ms`` and ``ratio``, its median over that of the first model at the same size (None
        where the first was not measured at it); ``runs``; ``machine``.

    Raises:
        ModelError: a model folder is damaged or missing.
        UsageError: a number of threads below 1.
    """
    cards = [load_model_folder(model) for model in models]
    backends = [OnnxBackend(Path(model) / NETWORK_FILE, "cpu", threads) for model in models]
    chosen = [(card.fixed_size,) if card.fixed_size else tuple(sizes) for card in cards]
    networks: list[dict[str, Any]] = []
    for size in sorted({size for each in chosen for size in each}):
        able = [i for i, each in enumerate(chosen) if size in each]
        times = _time_in_turn([backends[i] for i in able], size, runs)
        medians = dict(zip(able, np.median(times, axis=1).tolist(), strict=True))
        for row, i in enumerate(able):
            networks.append(
                {
                    **_describe(Path(models[i]), cards[i]),
                    "size": size,
                    "median_ms": medians[i],
                    "p95_ms": float(np.percentile(times[row], 95)),
                    "ratio": medians[i] / medians[0] if 0 in medians else None,
                }
            )
    return {"networks": networks, "runs": runs, "machine": _machine() | {"threads": threads}}


def _sample_pack_composites(folder: Path, config: TrainingConfig, size: int) -> CompositeDataset:
    """Training composites of a freshly drawn sample pack."""
    from maskdepth.learning.dataset import CompositeDataset

    pack = write_sample_pack(folder / "pack", scenes=PACK_SIZE, cutouts=PACK_SIZE)
    dataset = compose_dataset(
        pack.cutouts,
        pack.backgrounds,
        folder / "dataset",
        rules=RecipeRules(size=size),
        small=True,
        depth_scenes=0,
    )
    spec = dataset.spec
    return CompositeDataset(
        spec.rules,
        spec.pool(),
        spec.seed,
        spec.catalogue(dataset.folder),
        config.batch_size,  # a length is asked for; samples beyond it come all the same
        drop_plate=config.drop_plate,
        drop_plate_disparity=config.drop_plate_disparity,
    )


def _rates(marks: list[TrainingProgress]) -> dict[str, float]:
    """What happened between the end of the warm-up and the last step."""
    started = [mark for mark in marks if mark.seconds >= WARM_UP_SECONDS]
    if len(started) < 2:
        raise UsageError("time for two steps", f"{len(started)} after the warm-up", "add --seconds")
    first, last = started[0], started[-1]
    seconds = last.seconds - first.seconds
    return {
        "steps": last.step - first.step,
        "seconds": seconds,
        "images_per_second": (last.images - first.images) / seconds,
        "loader_share": (last.waited_seconds - first.waited_seconds) / seconds,
    }


def _time_in_turn(backends: list[OnnxBackend], size: int, runs: int) -> np.ndarray[Any, Any]:
    """Milliseconds (backend, run) for one picture with its plate and the plate's disparity."""
    random = np.random.default_rng(0)
    picture = random.random((1, 3, size, size), np.float32)
    inputs = (
        picture,
        random.random((1, 3, size, size), np.float32),
        picture[:, :1],
        np.ones((1, 2), np.float32),
    )
    times = np.zeros((len(backends), runs))
    for run in range(-WARM_UP_RUNS, runs):
        for row, backend in enumerate(backends):
            started = time.perf_counter()
            backend.run(*inputs)
            if run >= 0:
                times[row, run] = 1000 * (time.perf_counter() - started)
    return times


def _describe(model: Path, card: ModelCard) -> dict[str, Any]:
    return {"model": str(model), "preset": card.preset, "weights": card.weights}


def _machine() -> dict[str, Any]:
    return {
        "maskdepth": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    """The processor's name; ``platform`` does not know it on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
