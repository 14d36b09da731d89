"""How fast this machine trains and predicts, as JSON-able figures with the machine beside them."""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from maskdepth import __version__
from maskdepth.errors import DependencyError, UsageError
from maskdepth.images import load_cutout
from maskdepth.inference.model_folder import NETWORK_FILE, ModelCard, load_model_folder
from maskdepth.inference.predictor import OnnxBackend
from maskdepth.labelling.build import Dataset, compose_dataset
from maskdepth.synthesis.recipes import Recipe, sample_recipes
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1, RecipeRules
from maskdepth.synthesis.spec import DatasetSpec, load_spec
from maskdepth.synthesis.worlds import write_sample_pack

if TYPE_CHECKING:
    from maskdepth.learning.dataset import CompositeDataset
    from maskdepth.learning.settings import TrainingConfig
    from maskdepth.learning.training import TrainingProgress

__all__ = ["bench_compose", "bench_predict", "bench_train"]

WARM_UP_SECONDS = 5.0  # of training: allocators, code generation, the cache of assets
WARM_UP_RUNS = 3  # of a network
WARM_UP_COMPOSITES = 400  # until every copy of every picture has been made
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


def bench_compose(
    count: int = 4000, *, slices: Sequence[str] = ("clean", "hard"), processes: int = 2
) -> dict[str, Any]:
    """Render composites of the sample pack, without encoding, and the clean ones by Pillow too.

    Every process has its catalogue ready before the clock starts: each copy of each picture that
    its recipes need has been made.

    Args:
        count: composites a slice, over all processes together.
        slices: of the benchmark.
        processes: that render side by side, a thread each.

    Returns:
        ``renderers``: a list with ``slice``, ``renderer``, ``composites_per_second``, ``ratio`` to
        Pillow on the clean slice, and a process's largest memory after 1 000 composites and at
        the end in MB; ``count``; ``processes``; ``recipes_per_second`` of one process; ``machine``.
    """
    with tempfile.TemporaryDirectory(prefix="maskdepth-bench-") as name:
        folder = Path(name)
        _sample_dataset(folder, RecipeRules())
        jobs = [("clean", "pillow"), *((each, "maskdepth") for each in slices)]
        rows = []
        for slice_name, renderer in jobs:
            with ProcessPoolExecutor(
                processes, mp_context=multiprocessing.get_context("spawn")
            ) as pool:
                share = count // processes
                starts = [process * share for process in range(processes)]
                told = list(
                    pool.map(
                        _render_share,
                        [folder / "dataset"] * processes,
                        [slice_name] * processes,
                        [renderer] * processes,
                        starts,
                        [start + share for start in starts],
                    )
                )
            seconds = max(each["seconds"] for each in told)
            rows.append(
                {
                    "slice": slice_name,
                    "renderer": renderer,
                    "composites_per_second": share * processes / seconds,
                    "memory_mb": [max(each["memory_mb"][i] for each in told) for i in (0, 1)],
                }
            )
        baseline = rows[0]["composites_per_second"]
        for row in rows:
            row["ratio"] = row["composites_per_second"] / baseline
        drawn = 20_000
        began = time.perf_counter()
        pool_of_assets = load_spec(folder / "dataset").pool()
        for _ in sample_recipes(BENCHMARK_V1["clean"], pool_of_assets, 0, 0, drawn):
            pass
        rate = drawn / (time.perf_counter() - began)
    return {
        "renderers": rows,
        "count": count,
        "processes": processes,
        "recipes_per_second": rate,
        "machine": _machine(),
    }


def _render_share(
    folder: Path, slice_name: str, renderer: str, start: int, stop: int
) -> dict[str, Any]:
    """Render one process's share of a slice; how long it took, and how much memory."""
    cv2.setNumThreads(1)
    spec, rules = load_spec(folder), BENCHMARK_V1[slice_name]
    recipes = list(sample_recipes(rules, spec.pool(), BENCHMARK_SEED, start, stop))
    catalogue = spec.catalogue(folder, rules.size)
    if renderer == "pillow":
        pictures = PillowPictures(spec, folder, rules.size)
        one: Callable[[Recipe], object] = lambda recipe: render_with_pillow(  # noqa: E731
            recipe, rules.size, pictures
        )
    else:
        one = lambda recipe: render(recipe, rules.size, catalogue)  # noqa: E731
    for recipe in recipes[:WARM_UP_COMPOSITES]:
        one(recipe)
    seconds, memory = 0.0, [0.0, 0.0]
    for low in range(0, len(recipes), 1000):
        began = time.perf_counter()
        for recipe in recipes[low : low + 1000]:
            one(recipe)
        seconds += time.perf_counter() - began
        memory[min(low, 1)] = _memory_mb()
    memory[1] = memory[1] or memory[0]
    return {"seconds": seconds, "memory_mb": memory}


def _memory_mb() -> float:
    """The most memory this process has held; NaN where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return math.nan
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


class PillowPictures:
    """The same working copies as Pillow images: what its users would keep in memory."""

    def __init__(self, spec: DatasetSpec, folder: Path, size: int) -> None:
        catalogue = spec.catalogue(folder, size)
        self.backgrounds = {
            asset.id: Image.fromarray(catalogue.background(asset.id)) for asset in spec.backgrounds
        }
        self.cutouts = {
            asset.id: Image.fromarray(load_cutout(folder / asset.file)) for asset in spec.cutouts
        }
        self.cutouts = {name: image.crop(image.getbbox()) for name, image in self.cutouts.items()}


def render_with_pillow(
    recipe: Recipe, size: int, pictures: PillowPictures
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Picture, plate and alpha of a recipe without effects, as Pillow makes them."""
    background = pictures.backgrounds[recipe.background]
    side = round(recipe.crop_side * min(background.size))
    left = round(recipe.crop_x * (background.width - side))
    top = round(recipe.crop_y * (background.height - side))
    box = (left, top, left + side, top + side)
    plate = background.resize((size, size), Image.Resampling.BILINEAR, box=box)
    picture, alpha = plate.copy(), Image.new("L", (size, size))
    for placed in recipe.objects:
        cutout = pictures.cutouts[placed.cutout].resize(
            (placed.width, placed.height), Image.Resampling.BILINEAR
        )
        if placed.flip:
            cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture.paste(cutout, (placed.x, placed.y), cutout)
        alpha.paste(cutout.getchannel("A"), (placed.x, placed.y))
    return np.asarray(picture), np.asarray(plate), np.asarray(alpha, np.float32) / 255


def _sample_dataset(folder: Path, rules: RecipeRules) -> Dataset:
    """A freshly drawn sample pack, composed."""
    pack = write_sample_pack(folder / "pack", scenes=PACK_SIZE, cutouts=PACK_SIZE)
    return compose_dataset(
        pack.cutouts, pack.backgrounds, folder / "dataset", rules=rules, small=True, depth_scenes=0
    )


def _sample_pack_composites(folder: Path, config: TrainingConfig, size: int) -> CompositeDataset:
    """Training composites of a freshly drawn sample pack."""
    from maskdepth.learning.dataset import CompositeDataset

    dataset = _sample_dataset(folder, RecipeRules(size=size))
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
