"""Measure what this machine does: composites, drawn scenes, encodings and engines of shards.

python tools/bench.py compose        composites a second of the renderer, and of Pillow
python tools/bench.py worlds         scenes a second, and the time of each family
python tools/bench.py materialise    samples a second and bytes a sample, by encoding of shards
python tools/bench.py engines        shards written by processes and by Ray

Each prints JSON. `maskdepth bench predict` and `bench train` measure what users do.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from maskdepth.bench.machine import describe_machine, peak_memory_mb
from maskdepth.bench.train import sample_dataset
from maskdepth.datasets.build import Dataset, materialise
from maskdepth.datasets.shards.engines import ENGINES
from maskdepth.datasets.shards.layout import (
    INDEX_FILE,
    Encoding,
    load_manifest,
    load_shard_record,
    record_path,
    shard_path,
)
from maskdepth.files import file_checksum
from maskdepth.processes import WorkerPool, end_at_ctrl_c
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Recipe, sample_recipes
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import BENCHMARK_SEED, BENCHMARK_V1, RecipeRules
from maskdepth.synthesis.spec import DatasetSpec, load_spec
from maskdepth.synthesis.worlds import FAMILIES, render_scene, scene_pool

CORES = os.cpu_count() or 1
WARM_UP_COMPOSITES = 400  # until every copy of every picture has been made
MAX_BY_PILLOW = 20_000  # enough for its speed
ENCODINGS = (
    Encoding(),
    Encoding(quality=90),
    Encoding(compression=3),
    Encoding(compression=6),
    Encoding(picture="png"),
    Encoding(picture="png", compression=6),
)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
Count = Annotated[int, typer.Option(min=1)]


@app.command("compose")
def bench_compose(count: Count = 4000, processes: Count = 2) -> None:
    """Render composites of a sample pack without encoding them; ratios are to Pillow.

    Pillow makes picture, plate and alpha of the same recipes; on backgrounds without labels so
    does the renderer, and with labels it also makes the disparity of picture and plate.
    """
    with tempfile.TemporaryDirectory(prefix="maskdepth-bench-") as name:
        spec = sample_dataset(Path(name), RecipeRules()).spec
        folder = Path(name) / "dataset"
        rows: list[dict[str, Any]] = []
        for slice_name, pillow, labels in (
            ("clean", True, False),
            ("clean", False, False),
            ("clean", False, True),
            ("hard", False, True),
        ):
            share = (min(count, MAX_BY_PILLOW) if pillow else count) // processes
            work = partial(_render_share, folder, slice_name, pillow, labels, share)
            with WorkerPool(processes, end_at_ctrl_c) as pool:
                done = list(pool.map(work, range(processes)))
            rate = share * processes / max(seconds for seconds, _ in done)
            rows.append(
                {
                    "slice": slice_name,
                    "renderer": "pillow" if pillow else "maskdepth",
                    "labels": labels,
                    "composites_per_second": rate,
                    "ratio": rate / rows[0]["composites_per_second"] if rows else 1.0,
                    # After a thousand composites of a process, and at the end.
                    "memory_mb": [max(memory[i] for _, memory in done) for i in (0, -1)],
                }
            )
        began = time.perf_counter()
        recipes = sum(1 for _ in sample_recipes(BENCHMARK_V1["clean"], spec.pool(), 0, 0, 20_000))
        rate = recipes / (time.perf_counter() - began)
    _print({"renderers": rows, "recipes_per_second": rate}, count=count, processes=processes)


def _render_share(
    folder: Path, slice_name: str, pillow: bool, labels: bool, count: int, process: int
) -> tuple[float, list[float]]:
    """Render one process's composites; its seconds, and its memory after each thousand in MB."""
    cv2.setNumThreads(1)
    spec, rules = load_spec(folder), BENCHMARK_V1[slice_name]
    if not labels:
        spec = _without_labels(spec)
    catalogue = spec.catalogue(folder, rules.size)
    draw: Callable[[Recipe], object] = (
        partial(render_with_pillow, size=rules.size, pictures=PillowPictures(catalogue))
        if pillow
        else partial(render, size=rules.size, catalogue=catalogue)
    )
    sample = partial(sample_recipes, rules, spec.pool(), BENCHMARK_SEED)
    for recipe in sample(0, WARM_UP_COMPOSITES):
        draw(recipe)
    seconds, memory = 0.0, []
    for low in range(process * count, (process + 1) * count, 1000):
        recipes = list(sample(low, min(low + 1000, (process + 1) * count)))
        began = time.perf_counter()
        for recipe in recipes:
            draw(recipe)
        seconds += time.perf_counter() - began
        memory.append(peak_memory_mb())
    return seconds, memory


def _without_labels(spec: DatasetSpec) -> DatasetSpec:
    """The same assets without labels; the benchmark draws the same recipes of them."""
    changes = {"disparity": None, "ground": ()}
    backgrounds = tuple(asset.model_copy(update=changes) for asset in spec.backgrounds)
    return spec.model_copy(update={"backgrounds": backgrounds})


class PillowPictures:
    """The renderer's working copies as Pillow images; cutouts are premultiplied."""

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
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
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


@app.command("worlds")
def bench_worlds(size: Count = 256, seconds: float = 20.0, processes: Count = 2) -> None:
    """Draw scenes of all families of the sample pack, after every process has drawn once."""
    family_s: dict[str, list[float]] = {family: [] for family in FAMILIES}
    elapsed, turn = 0.0, 0
    with scene_pool(processes) as pool:
        while turn < 2 or elapsed < seconds:
            seeds = range(processes * turn, processes * (turn + 1))
            jobs = [(family, seed, size) for family in FAMILIES for seed in seeds]
            began = time.perf_counter()
            times = list(pool.map(_time_scene, jobs))
            if turn:  # the first turn also starts the processes
                elapsed += time.perf_counter() - began
                for (family, _, _), taken in zip(jobs, times, strict=True):
                    family_s[family].append(taken)
            turn += 1
    rate = sum(map(len, family_s.values())) / elapsed
    family_ms = {family: 1000 * float(np.median(times)) for family, times in family_s.items()}
    _print({"scenes_per_second": rate, "family_ms": family_ms}, size=size, processes=processes)


def _time_scene(job: tuple[str, int, int]) -> float:
    family, seed, size = job
    began = time.perf_counter()
    render_scene(family, seed, size, size)
    return time.perf_counter() - began


@app.command("materialise")
def bench_materialise(samples: Count = 1000, size: Count = 224, workers: Count = CORES) -> None:
    """Write the same composites as shards in several encodings; ratios are to the default's."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="maskdepth-bench-") as name:
        spec = sample_dataset(Path(name), RecipeRules().with_(size=size)).spec
        for number, encoding in enumerate(ENCODINGS):
            target = Dataset(Path(name) / f"{number}", spec, ())
            # As many shards as processes, so that all are busy to the end.
            shard_size = -(-samples // workers)
            row = _time_writing(target, samples, shard_size, workers, encoding=encoding)
            shards = range(load_manifest(target.folder).shards)
            stored = sum(load_shard_record(target.folder, shard).bytes for shard in shards)
            rows.append({**encoding.model_dump(), **row, "bytes_per_sample": stored / samples})
    _add_ratios(rows, "samples_per_second", "cpu_ms_per_sample", "bytes_per_sample")
    _print({"encodings": rows}, samples=samples, size=size, workers=workers)


@app.command("engines")
def bench_engines(
    samples: Count = 20_000, shard_size: Count = 1000, size: Count = 224, workers: Count = CORES
) -> None:
    """Write the same shards with each engine in turn; ratios are to the first's."""
    from maskdepth.datasets.shards.cluster import ray_session

    with tempfile.TemporaryDirectory(prefix="maskdepth-bench-") as name:
        folder = Path(name)
        spec = sample_dataset(folder, RecipeRules().with_(size=size)).spec
        rows = []
        for engine in ENGINES:
            target = Dataset(folder / engine, spec, ())
            with ray_session(workers) if engine == "ray" else contextlib.nullcontext():
                row = _time_writing(target, samples, shard_size, workers, engine=engine)
            rows.append({"engine": engine, **row})
        _add_ratios(rows, "samples_per_second", "cpu_ms_per_sample")
        first = Dataset(folder / next(iter(ENGINES)), spec, ())
        began = processor_seconds()
        # All shards are there, so that they are only checked.
        materialise(first, samples, shard_size=shard_size, workers=1)
        checking = processor_seconds() - began
        shards = range(load_manifest(first.folder).shards)
        sizes = {
            "shards": [shard_path(first.folder, shard) for shard in shards],
            "records": [record_path(first.folder, shard) for shard in shards],
            "index": [first.folder / INDEX_FILE],
        }
        result = {
            "engines": rows,
            "same_bytes": len({_checksums(folder / engine) for engine in ENGINES}) == 1,
            "bytes_per_sample": {
                kind: sum(path.stat().st_size for path in paths) / samples
                for kind, paths in sizes.items()
            },
            "check_us_per_sample": 1e6 * checking / samples,
        }
    _print(result, samples=samples, shard_size=shard_size, size=size, workers=workers)


def _checksums(folder: Path) -> frozenset[tuple[str, str]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return frozenset((path.relative_to(folder).as_posix(), file_checksum(path)) for path in files)


def _time_writing(
    target: Dataset, samples: int, shard_size: int, workers: int, **options: Any
) -> dict[str, float]:
    """Time of materialising, without what a build costs besides its samples.

    That is measured by a build of one sample a worker, after another that opens the assets.
    """
    if samples <= workers:
        raise typer.BadParameter(f"--samples must be more than the {workers} workers.")

    def write(place: str, count: int, shard_size: int) -> tuple[float, float]:
        began, cpu_began = time.perf_counter(), processor_seconds()
        dataset = Dataset(target.folder.with_name(target.folder.name + place), target.spec, ())
        materialise(dataset, count, shard_size=shard_size, workers=workers, **options)
        return time.perf_counter() - began, processor_seconds() - cpu_began

    start, _ = write("-start", workers, 1)
    idle, idle_cpu = write("-idle", workers, 1)
    busy, busy_cpu = write("", samples, shard_size)
    more = samples - workers
    if busy <= idle or busy_cpu <= idle_cpu:  # processor time goes by hundredths of a second
        raise typer.BadParameter("--samples are too few to be measured.")
    return {
        "start_seconds": start,
        "samples_per_second": more / (busy - idle),
        "cpu_ms_per_sample": 1000 * (busy_cpu - idle_cpu) / more,
    }


def processor_seconds() -> float:
    """Of this process, of children that have ended, and of all processes below it; Linux only."""
    tick = os.sysconf("SC_CLK_TCK")
    parents, seconds = {}, {}
    for process, fields in _processes():
        parents[process] = int(fields[1])
        seconds[process] = sum(map(int, fields[11:15])) / tick
    total, found = 0.0, [os.getpid()]
    while found:
        parent = found.pop()
        total += seconds[parent]
        found += [process for process, above in parents.items() if above == parent]
    return total


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Numbers of all processes, and the fields of their ``stat`` after the name; see proc(5)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            yield int(path.parent.name), path.read_text().rpartition(")")[2].split()


def _add_ratios(rows: list[dict[str, Any]], *figures: str) -> None:
    for row in rows:
        row |= {f"{figure}_ratio": row[figure] / rows[0][figure] for figure in figures}


def _print(result: dict[str, Any], **options: int) -> None:
    print(json.dumps({**options, **result, "machine": describe_machine()}, indent=2))


if __name__ == "__main__":
    app()
