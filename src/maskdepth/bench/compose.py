"""Speed of the renderer, beside Pillow with the same recipes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from maskdepth.bench.setting import describe_machine, peak_memory_mb, sample_dataset
from maskdepth.processes import WorkerPool, end_at_ctrl_c
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Recipe, sample_recipes
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1, RecipeRules
from maskdepth.synthesis.spec import DatasetSpec, load_spec

WARM_UP_COMPOSITES = 400  # until every copy of every picture has been made
MOST_BY_PILLOW = 20_000  # enough for its speed; nobody asks how its memory grows


def bench_compose(
    count: int = 4000,
    *,
    slices: Sequence[str] = ("clean", "hard"),
    processes: int = 2,
) -> dict[str, Any]:
    """Render composites of the sample pack, without encoding, and the clean ones by Pillow too.

    Every process has its catalogue ready before the clock starts: each copy of each picture that
    its recipes need has been made. Pillow has the same copies as its own images. It makes picture,
    plate and alpha, and so does the first of our rows, on backgrounds without labels; with labels
    the renderer also makes the disparity of picture and plate.

    Args:
        count: composites a slice, over all processes together.
        slices: of the benchmark.
        processes: that render side by side, a thread each.

    Returns:
        ``renderers``: a list with ``slice``, ``renderer``, ``labels`` (whether disparity is made),
        ``composites_per_second``, ``ratio`` to Pillow on the clean slice, ``processes``, and a
        process's largest memory after 1 000 composites and at the end in MB; ``count``;
        ``recipes_per_second`` of one process; ``machine``.
    """
    with tempfile.TemporaryDirectory(prefix="maskdepth-bench-") as name:
        folder = Path(name)
        sample_dataset(folder, RecipeRules())
        work = partial(_Job, folder / "dataset")
        jobs = [work("clean", "pillow", labels=False), work("clean", "maskdepth", labels=False)]
        jobs += [work(each, "maskdepth") for each in slices]
        rows = [_measure(job, count, processes) for job in jobs]
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
        "recipes_per_second": rate,
        "machine": describe_machine(),
    }


@dataclass(frozen=True)
class _Job:
    """What one row measures."""

    folder: Path
    slice_name: str
    renderer: str
    labels: bool = True


def _measure(job: _Job, count: int, processes: int) -> dict[str, Any]:
    """A row: one renderer on one slice, in several processes."""
    with WorkerPool(processes, end_at_ctrl_c) as pool:
        share = (min(count, MOST_BY_PILLOW) if job.renderer == "pillow" else count) // processes
        starts = [process * share for process in range(processes)]
        stops = [start + share for start in starts]
        told = list(pool.map(_render_share, [job] * processes, starts, stops))
    seconds = max(each["seconds"] for each in told)
    return {
        "slice": job.slice_name,
        "renderer": job.renderer,
        "labels": job.labels,
        "composites_per_second": share * processes / seconds,
        "processes": processes,
        "memory_mb": [max(each["memory_mb"][i] for each in told) for i in (0, 1)],
    }


def _render_share(job: _Job, start: int, stop: int) -> dict[str, Any]:
    """Render one process's share of a slice; how long it took, and how much memory."""
    cv2.setNumThreads(1)
    spec, rules = load_spec(job.folder), BENCHMARK_V1[job.slice_name]
    if not job.labels:
        spec = _without_labels(spec)
    renders = _renderer(job, spec, rules)
    pool = spec.pool()
    renders(list(sample_recipes(rules, pool, BENCHMARK_SEED, 0, WARM_UP_COMPOSITES)))
    seconds, memory = 0.0, [0.0, 0.0]
    for low in range(start, stop, 1000):
        recipes = list(sample_recipes(rules, pool, BENCHMARK_SEED, low, min(low + 1000, stop)))
        began = time.perf_counter()
        renders(recipes)
        seconds += time.perf_counter() - began
        memory = [memory[0] or peak_memory_mb(), peak_memory_mb()]
    return {"seconds": seconds, "memory_mb": memory}


def _renderer(job: _Job, spec: DatasetSpec, rules: RecipeRules) -> Callable[[list[Recipe]], None]:
    """What renders some recipes, keeps nothing, and returns when their pixels are there."""
    size = rules.size
    catalogue = spec.catalogue(job.folder, size)
    one: Callable[[Recipe], object]
    if job.renderer == "pillow":
        one = partial(render_with_pillow, size=size, pictures=PillowPictures(catalogue))
    else:
        one = partial(render, size=size, catalogue=catalogue)

    def render_each(recipes: list[Recipe]) -> None:
        for recipe in recipes:
            one(recipe)

    return render_each


def _without_labels(spec: DatasetSpec) -> DatasetSpec:
    """The same assets, and for the benchmark the same recipes, with nothing known of depth."""
    unknown = {"disparity": None, "ground": ()}
    backgrounds = tuple(asset.model_copy(update=unknown) for asset in spec.backgrounds)
    return spec.model_copy(update={"backgrounds": backgrounds})


class PillowPictures:
    """The renderer's working copies as Pillow images, cutouts premultiplied as it resizes them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._backgrounds: dict[tuple[str, int], Image.Image] = {}
        self._cutouts: dict[tuple[str, int], Image.Image] = {}

    def background(self, name: str, short_side: float) -> Image.Image:
        """The smallest copy of at least that short side, RGB."""
        key = name, self._catalogue.background_level(name, short_side)
        if key not in self._backgrounds:
            self._backgrounds[key] = Image.fromarray(self._catalogue.background(*key))
        return self._backgrounds[key]

    def cutout(self, name: str, long_side: int) -> Image.Image:
        """The smallest copy of at least that long side, RGBa."""
        array, _ = self._catalogue.cutout(name, long_side)
        key = name, len(array)
        if key not in self._cutouts:
            levels = np.rint(array / 257).astype(np.uint8)
            size = array.shape[1], array.shape[0]
            self._cutouts[key] = Image.frombytes("RGBa", size, levels.tobytes())
        return self._cutouts[key]


def render_with_pillow(
    recipe: Recipe, size: int, pictures: PillowPictures
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Picture, plate and alpha of a recipe without effects, as Pillow makes them."""
    background = pictures.background(recipe.background, size / recipe.crop_side)
    side = round(recipe.crop_side * min(background.size))
    left = round(recipe.crop_x * (background.width - side))
    top = round(recipe.crop_y * (background.height - side))
    box = (left, top, left + side, top + side)
    plate = background.resize((size, size), Image.Resampling.BILINEAR, box=box)
    picture, alpha = plate.copy(), Image.new("L", (size, size))
    for placed in recipe.objects:
        copy = pictures.cutout(placed.cutout, max(placed.width, placed.height))
        cutout = copy.resize((placed.width, placed.height), Image.Resampling.BILINEAR)
        if placed.flip:
            cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        cutout = cutout.convert("RGBA")
        picture.paste(cutout, (placed.x, placed.y), cutout)
        alpha.paste(cutout.getchannel("A"), (placed.x, placed.y))
    return np.asarray(picture), np.asarray(plate), np.asarray(alpha) * np.float32(1 / 255)
