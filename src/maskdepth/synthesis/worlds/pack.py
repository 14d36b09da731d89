"""The sample pack: drawn scenes and cutouts, written like the assets of a user."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import disparity_from_depth, encode_disparity
from maskdepth.errors import StorageError, UsageError
from maskdepth.files import write_text
from maskdepth.images import save_png
from maskdepth.processes import WorkerPool, ignore_ctrl_c
from maskdepth.progress import OnProgress
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
SEEDS = 1 << 40  # a pack's seed is below this
_SEEDS_A_PACK = 1 << 20


@dataclass(frozen=True)
class SamplePack:
    """The two folders of a pack."""

    cutouts: Path
    backgrounds: Path


def encode_relief(relief: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Relief in [-0.5, 0.5] as grey levels ``round(128 + 254 * relief)``; 128 is level."""
    return np.asarray(np.rint(128.0 + 254.0 * np.clip(relief, -0.5, 0.5)), np.uint8)


def decode_relief(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The inverse of ``encode_relief``."""
    return ((grey.astype(np.float32) - 128.0) / 254.0).astype(np.float32)


class _Item(NamedTuple):
    """One picture to draw: a scene of a family or a cutout of a kind."""

    folder: Path
    name: str
    kind: str
    seed: int


def _write_item(item: _Item) -> float | None:
    """Draw and write one item; returns a scene's focal length as a share of the long side."""
    path = item.folder / f"{item.name}.png"
    if item.kind in SCENES:
        scene = render_scene(item.kind, item.seed, *SCENE_SIZE)
        save_png(path, scene.image)
        disparity = encode_disparity(disparity_from_depth(scene.depth_m))
        save_png(item.folder / f"{item.name}_disparity.png", disparity)
        return scene.focal
    cutout = render_cutout(item.kind, item.seed, CUTOUT_SIZE)
    save_png(path, cutout.image)
    save_png(item.folder / f"{item.name}_relief.png", encode_relief(cutout.relief))
    return None


def _prepare_process() -> None:
    """Prepare a drawing process, which has a core to itself."""
    ignore_ctrl_c()
    cv2.setNumThreads(1)


def scene_pool(processes: int = 2) -> WorkerPool:
    """A pool of processes that draw."""
    return WorkerPool(processes, _prepare_process)


def _items(
    pack: SamplePack, families: Sequence[str], scenes: int, cutouts: int, seed: int
) -> list[_Item]:
    """All pictures of a pack: families and kinds in turn, each numbered from 0."""
    items = []
    for folder, kinds, count in (
        (pack.backgrounds, families, scenes),
        (pack.cutouts, CUTOUT_KINDS, cutouts),
    ):
        for number in range(count):
            own, which = divmod(number, len(kinds))
            name, own_seed = f"{kinds[which]}_{own:03d}", seed * _SEEDS_A_PACK + own
            items.append(_Item(folder, name, kinds[which], own_seed))
    return items


def write_sample_pack(
    folder: Path,
    *,
    scenes: int,
    cutouts: int,
    seed: int = 0,
    families: Sequence[str] = FAMILIES,
    processes: int = 2,
    on_progress: OnProgress = lambda *_: None,
) -> SamplePack:
    """Write a sample pack: scenes with exact disparity, and cutouts with relief.

    The folder ``backgrounds`` gets ``<family>_<nnn>.png``, ``<family>_<nnn>_disparity.png``
    (16-bit) and a ``label.json`` with the focal lengths. The folder ``cutouts`` gets
    ``<kind>_<nnn>.png`` and ``<kind>_<nnn>_relief.png`` (8-bit, see ``encode_relief``). Each gets a
    ``licences.csv``.

    Args:
        folder: where the two folders are made.
        scenes, cutouts: how many to draw.
        seed: 0 or more; another seed gives other pictures.
        families: families of the scenes, in turn; the withheld one only if it is named.
        processes: how many draw side by side. This process draws a few items alone.
        on_progress: called after each picture.

    Raises:
        UsageError: a negative count or seed, an unknown family, a family twice, or none.
        StorageError: a file cannot be written, or the folders hold anything but these pictures.
    """
    if min(scenes, cutouts, seed) < 0 or seed >= SEEDS:
        raise UsageError(
            "counts of at least 0 and a seed from 0 to 2**40 - 1",
            f"scenes={scenes}, cutouts={cutouts}, seed={seed}",
            "correct that value",
        )
    if not families or not set(families) <= set(SCENES) or len(set(families)) < len(families):
        raise UsageError(
            f"families of {', '.join(SCENES)}, each once",
            repr(", ".join(families)),
            f"name some of {', '.join(SCENES)}, each once",
            f"{', '.join(families) or 'None'}: these are not families of scenes, each once.",
        )
    pack = SamplePack(folder / "cutouts", folder / "backgrounds")
    items = _items(pack, families, scenes, cutouts, seed)
    names_in = {
        path: [item.name for item in items if item.folder == path]
        for path, count in ((pack.cutouts, cutouts), (pack.backgrounds, scenes))
        if count or not path.exists()  # an existing folder stays if nothing is drawn for it
    }
    for path, names in names_in.items():
        _check_folder(path, names)
    _check_seed(pack.backgrounds, seed)
    for path, names in names_in.items():
        lines = [f"{name}.png{_ROW_END}\n" for name in names]
        write_text(path / _LICENCES, "file,source,licence\n" + "".join(lines))
    shares = _write_items(items, processes, on_progress)
    if pack.backgrounds in names_in:
        focal = {
            item.name: round(share, 6)
            for item, share in zip(items, shares, strict=True)
            if share is not None
        }
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


def _drawn_in(folder: Path) -> set[str] | None:
    """The names of the drawn pictures in a folder's table; None if the table has any other row.

    A pack writes its table first, and a table with another row would be lost.
    """
    table = folder / _LICENCES
    rows = table.read_bytes().splitlines()[1:] if table.is_file() else [b""]
    end = f".png{_ROW_END}".encode()
    if not all(row.endswith(end) for row in rows):
        return None
    return {os.fsdecode(row.removesuffix(end)) for row in rows}


def _write_items(
    items: Sequence[_Item], processes: int, on_progress: OnProgress
) -> list[float | None]:
    """The results of ``_write_item``, in order."""
    results = []

    def collect(outcomes: Iterable[float | None]) -> list[float | None]:
        for outcome in outcomes:
            results.append(outcome)
            on_progress(len(results), len(items))
        return results

    if len(items) < 8 or processes == 1:  # to start processes would take longer
        return collect(map(_write_item, items))
    try:
        with scene_pool(processes) as pool:
            return collect(pool.map(_write_item, items))
    except BrokenProcessPool:
        raise StorageError(
            "drawing processes that live",
            "one that died",
            "free some memory and start again",
            "A drawing process died.",
        ) from None
