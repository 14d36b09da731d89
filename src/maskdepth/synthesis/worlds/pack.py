"""The sample pack: scenes and cutouts written as the assets a user would bring."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import disparity_from_depth, encode_disparity
from maskdepth.errors import StorageError, UsageError
from maskdepth.files import write_text
from maskdepth.images import save_png
from maskdepth.processes import WorkerPool, ignore_ctrl_c
from maskdepth.records import check_no_other_files
from maskdepth.synthesis.assets import SAMPLE_PACK
from maskdepth.synthesis.label_facts import LABEL_FILE, load_label_facts
from maskdepth.synthesis.worlds.cutouts import CUTOUT_KINDS, render_cutout
from maskdepth.synthesis.worlds.scenes import FAMILIES, SCENES, render_scene

SCENE_SIZE = (384, 512)  # height, width
CUTOUT_SIZE = 320
LICENCE = "CC0-1.0"
_LICENCES = "licences.csv"
_TABLES = (_LICENCES, "label.json")
_ROW_END = f",{SAMPLE_PACK},{LICENCE}"
SEEDS = 1 << 40  # of packs
_SEEDS_A_PACK = 1 << 20


@dataclass(frozen=True)
class SamplePack:
    """The two folders of a pack."""

    cutouts: Path
    backgrounds: Path


def encode_relief(relief: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Relief in [-0.5, 0.5] as grey: ``round(128 + 254 * relief)``, so 128 is level."""
    return np.asarray(np.rint(128.0 + 254.0 * np.clip(relief, -0.5, 0.5)), np.uint8)


def decode_relief(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The inverse of ``encode_relief``."""
    return ((grey.astype(np.float32) - 128.0) / 254.0).astype(np.float32)


def _write_scene(folder: Path, name: str, family: str, seed: int) -> float:
    """Write picture and disparity; give the focal length as a share of the long side."""
    scene = render_scene(family, seed, *SCENE_SIZE)
    save_png(folder / f"{name}.png", scene.image)
    disparity = encode_disparity(disparity_from_depth(scene.depth_m))
    save_png(folder / f"{name}_disparity.png", disparity)
    return scene.focal


def _write_cutout(folder: Path, name: str, kind: str, seed: int) -> None:
    cutout = render_cutout(kind, seed, CUTOUT_SIZE)
    save_png(folder / f"{name}.png", cutout.image)
    save_png(folder / f"{name}_relief.png", encode_relief(cutout.relief))


def _write_item(job: tuple[str, Path, str, str, int]) -> tuple[str, float | None]:
    """Write one item; at module level so that a spawned process finds it.

    Returns:
        Its name, and a scene's focal length as a share of the long side.
    """
    what, folder, name, sort, seed = job
    if what == "scene":
        return name, _write_scene(folder, name, sort, seed)
    _write_cutout(folder, name, sort, seed)
    return name, None


def _prepare_process() -> None:
    """Processes are the parallelism, without threads."""
    ignore_ctrl_c()
    cv2.setNumThreads(1)


def scene_pool(processes: int = 2) -> WorkerPool:
    """Processes that draw."""
    return WorkerPool(processes, _prepare_process)


def _jobs(
    what: str, folder: Path, sorts: tuple[str, ...], count: int, seed: int
) -> list[tuple[str, Path, str, str, int]]:
    """Families or kinds in turn, numbered each by itself."""
    jobs = []
    for number in range(count):
        sort, own = sorts[number % len(sorts)], number // len(sorts)
        jobs.append((what, folder, f"{sort}_{own:03d}", sort, seed * _SEEDS_A_PACK + own))
    return jobs


def write_sample_pack(
    folder: Path,
    *,
    scenes: int,
    cutouts: int,
    seed: int = 0,
    families: Sequence[str] = FAMILIES,
    processes: int = 2,
) -> SamplePack:
    """Write ``scenes`` backgrounds with exact disparity and ``cutouts`` with relief.

    ``backgrounds/<family>_<nnn>.png`` with ``_disparity.png`` (16-bit) and ``label.json``: the
    label's kind, and for each scene the focal length as a share of the picture's long side;
    ``cutouts/<kind>_<nnn>.png`` with ``_relief.png`` (8-bit, see ``encode_relief``); a
    ``licences.csv`` in each.

    Args:
        families: of the scenes, in turn; the withheld one only if it is named here.
        processes: at most; few items are drawn by this one alone.

    Raises:
        UsageError: a negative count or seed, an unknown family, one twice, or none.
        StorageError: a file cannot be written, or the folders hold something else than the drawn
            pictures of these names, or those of another seed.
    """
    if min(scenes, cutouts, seed) < 0 or seed >= SEEDS:
        raise UsageError(
            "counts of at least 0 and a seed from 0 to 2**40 - 1",
            f"scenes={scenes}, cutouts={cutouts}, seed={seed}",
            "mend that value",
        )
    if not families or not set(families) <= set(SCENES) or len(set(families)) < len(families):
        raise UsageError(
            f"families of {', '.join(SCENES)}, each once",
            repr(", ".join(families)),
            "name some of them",
        )
    pack = SamplePack(folder / "cutouts", folder / "backgrounds")
    jobs = _jobs("scene", pack.backgrounds, tuple(families), scenes, seed)
    jobs += _jobs("cutout", pack.cutouts, CUTOUT_KINDS, cutouts, seed)
    names_in = {
        place: [name for _, where, name, _, _ in jobs if where == place]
        for place, count in ((pack.cutouts, cutouts), (pack.backgrounds, scenes))
        if count or not place.exists()  # else what is there stays
    }
    for place, names in names_in.items():
        _check_folder(place, names)
    _check_seed(pack.backgrounds, seed)
    for place, names in names_in.items():
        lines = [f"{name}.png{_ROW_END}\n" for name in names]
        write_text(place / _LICENCES, "file,source,licence\n" + "".join(lines))
    told = _write_items(jobs, processes)
    if pack.backgrounds in names_in:
        focal = {name: round(share, 6) for name, share in told if share is not None}
        label = {"kind": "exact", "seed": seed, "focal": focal}
        write_text(pack.backgrounds / LABEL_FILE, json.dumps(label, indent=1) + "\n")
    return pack


def _check_folder(folder: Path, names: Sequence[str]) -> None:
    """Raise unless all that a folder holds is drawn, and will be drawn again under these names.

    Raises:
        StorageError: naming the first other file.
    """
    if not folder.is_dir():
        return
    drawn = _drawn_in(folder)
    expected = {
        f"{name}{ending}"
        for name in (drawn or set()).intersection(names)
        for ending in (".png", "_disparity.png", "_relief.png")
    }
    expected |= {path.name for path in folder.glob(".*")}
    if drawn is not None:
        expected |= set(_TABLES)
    check_no_other_files(folder, expected, f"{len(names)} pictures of this pack")


def _check_seed(backgrounds: Path, seed: int) -> None:
    """Raise if a folder holds scenes of another seed, to which a dataset may refer.

    Raises:
        StorageError: its label file names another seed.
    """
    facts = load_label_facts(backgrounds, [])
    if facts is not None and facts.seed not in (None, seed):
        raise StorageError(
            f"no other pack in {backgrounds}",
            f"that of seed {facts.seed}, not {seed}",
            "choose another folder, or remove that pack",
            f"{backgrounds} holds the pack of seed {facts.seed}, not {seed}.",
        )


def _drawn_in(place: Path) -> set[str] | None:
    """The names of the drawn pictures in a folder's table; None if the table has any other row.

    A pack writes its table first, and a table with another row would be lost.
    """
    table = place / _LICENCES
    rows = table.read_bytes().splitlines()[1:] if table.is_file() else [b""]
    end = f".png{_ROW_END}".encode()
    if not all(row.endswith(end) for row in rows):
        return None
    return {os.fsdecode(row.removesuffix(end)) for row in rows}


def _write_items(
    jobs: Sequence[tuple[str, Path, str, str, int]], processes: int
) -> list[tuple[str, float | None]]:
    """What ``_write_item`` gives for every job, in order."""
    if len(jobs) < 8 or processes == 1:  # a process costs more than it saves
        return [_write_item(job) for job in jobs]
    try:
        with scene_pool(processes) as pool:
            return list(pool.map(_write_item, jobs))
    except BrokenProcessPool:
        raise StorageError(
            "drawing processes that live", "one that died", "free some memory and start again"
        ) from None
