"""The catalogue: working copies of the assets' pictures, read when they are first needed."""

from __future__ import annotations

import hashlib
import math
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import decode_disparity
from maskdepth.errors import DatasetError, PictureError, first_line
from maskdepth.files import read_bytes
from maskdepth.images import (
    load_grey16,
    premultiply,
    resize,
    resize_disparity,
)
from maskdepth.synthesis.assets import Asset, BackgroundAsset, CutoutAsset
from maskdepth.synthesis.checks import alpha_box, load_relief_codes
from maskdepth.synthesis.panoramas import load_background
from maskdepth.synthesis.premultiplied import load_straight_cutout
from maskdepth.synthesis.worlds import decode_relief

MEMORY_MB: Final = 512.0
"""Memory of a catalogue by default."""

_MIN_SIDE: Final = 24  # px, long side of a cutout's smallest copy; few composites show less

_Value = TypeVar("_Value")
_Arrays = tuple[NDArray[Any], ...]


class Catalogue:
    """Working copies of assets, kept as long as they fit into a memory budget.

    A background is reduced to a short side of at most ``2 * size``; a cutout is trimmed to the box
    of its alpha and premultiplied. Every asset has copies at several levels, each smaller than the
    one before by the square root of two, so that little is left to shrink. The arrays are shared
    and read-only. Threads may share a catalogue; a pickled one starts empty.

    Args:
        cutouts, backgrounds: the assets.
        folder: where relative paths of assets start.
        size: side of the composites, px.
        memory_mb: memory budget; the least recently used copies are dropped first.
    """

    def __init__(
        self,
        cutouts: Iterable[CutoutAsset],
        backgrounds: Iterable[BackgroundAsset],
        folder: Path,
        size: int = 224,
        memory_mb: float = MEMORY_MB,
    ) -> None:
        self._cutouts = {asset.id: asset for asset in cutouts}
        self._backgrounds = {asset.id: asset for asset in backgrounds}
        self._folder = folder
        self._size = size
        self._sizes = {
            asset.id: _within(asset, min(asset.height, asset.width), 2 * size)
            for asset in self._backgrounds.values()
        }
        self._budget = int(memory_mb * 2**20)
        self._clear()

    def cutout_asset(self, asset_id: str) -> CutoutAsset:
        """The cutout of that id.

        Raises:
            DatasetError: there is none.
        """
        return _lookup(self._cutouts, asset_id, "cutout")

    def background_asset(self, asset_id: str) -> BackgroundAsset:
        """The background of that id.

        Raises:
            DatasetError: there is none.
        """
        return _lookup(self._backgrounds, asset_id, "background")

    def cutout(
        self, asset_id: str, long_side: int
    ) -> tuple[NDArray[np.uint16], NDArray[np.float32] | None]:
        """A cutout's premultiplied RGBA uint16 (h, w, 4), and its relief float32 (h, w) or None.

        Colour and alpha are 0..65535, since 8 bits would be off by a grey level after mixing.
        Relief lies in [-0.5, 0.5], and larger is nearer.

        Args:
            long_side: wanted size, px; the copy is the smallest that is at least as large.

        Raises:
            DatasetError: no such id, or a file is missing or was changed since the scan.
        """
        asset = self.cutout_asset(asset_id)
        level = _level(max(asset.height, asset.width), long_side)
        key = (f"cutout/{level}", asset_id)
        rgba, *relief = self._cached(key, lambda: _shrunk(asset, level, *self._read_cutout(asset)))
        return rgba, relief[0] if relief else None

    def background_level(self, asset_id: str, short_side: float) -> int:
        """The level of a background's smallest copy of at least that short side; 0 is the largest.

        Raises:
            DatasetError: no such id.
        """
        return _level(min(_lookup(self._sizes, asset_id, "background")), short_side)

    def background_levels(self, asset_id: str) -> int:
        """The number of a background's copies; the last is about as large as a composite.

        Raises:
            DatasetError: no such id.
        """
        return self.background_level(asset_id, self._size) + 1

    def background(self, asset_id: str, level: int = 0) -> NDArray[np.uint8]:
        """A background's copy at a level, uint8 (H, W, 3) RGB.

        Raises:
            DatasetError: no such id, or the file is missing or was changed since the scan.
        """
        key = (f"background/{level}", asset_id)
        return self._cached(key, lambda: self._read_background(asset_id, level))[0]

    def disparity(self, asset_id: str) -> NDArray[np.float32] | None:
        """A background's disparity label in [0,1], float32 (H, W) of ``background``'s size.

        NaN marks invalid pixels. None if the background has no label.

        Raises:
            DatasetError: no such id, or the label's file is missing or unreadable.
        """
        asset = self.background_asset(asset_id)
        file = asset.disparity
        if file is None:
            return None
        return self._cached(("disparity", asset_id), lambda: self._read_disparity(asset, file))[0]

    def fill(self, threads: int) -> bool:
        """Read all copies ahead if they fit into the budget.

        Processes that are forked afterwards share this memory.

        Args:
            threads: number of threads that read side by side.

        Returns:
            Whether the copies fit. If not, nothing is read.

        Raises:
            DatasetError: a file is missing or was changed since the scan.
        """
        needed = sum(map(_cutout_bytes, self._cutouts.values()))
        needed += sum(map(self._background_bytes, self._backgrounds.values()))
        if needed > self._budget:
            return False
        with ThreadPoolExecutor(threads) as pool:
            jobs = [pool.submit(self._fill_cutout, asset) for asset in self._cutouts.values()]
            jobs += [pool.submit(self._fill_background, name) for name in self._backgrounds]
            for job in jobs:
                job.result()
        return True

    def _fill_cutout(self, asset: CutoutAsset) -> None:
        pixels, relief = self._read_cutout(asset)
        for level in range(_levels(asset)):
            shrink = partial(_shrunk, asset, level, pixels, relief)
            self._cached((f"cutout/{level}", asset.id), shrink)

    def _fill_background(self, asset_id: str) -> None:
        for level in range(self.background_levels(asset_id)):
            self.background(asset_id, level)
        self.disparity(asset_id)

    def _background_bytes(self, asset: BackgroundAsset) -> int:
        height, width = self._sizes[asset.id]
        sizes = [
            _smaller(height, width, level) for level in range(self.background_levels(asset.id))
        ]
        disparity = 4 * height * width if asset.disparity else 0
        return sum(3 * height * width for height, width in sizes) + disparity

    def __getstate__(self) -> dict[str, Any]:
        mine = ("_cache", "_held", "_lock")
        return {key: value for key, value in self.__dict__.items() if key not in mine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clear()

    def _clear(self) -> None:
        self._cache: OrderedDict[tuple[str, str], _Arrays] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        _CATALOGUES.add(self)

    def _cached(self, key: tuple[str, str], read: Callable[[], _Arrays]) -> _Arrays:
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        # Reads happen outside the lock: a file may be read twice, but no thread waits.
        arrays = read()
        for array in arrays:
            array.flags.writeable = False
        with self._lock:
            if key not in self._cache:
                self._cache[key] = arrays
                self._held += _bytes(arrays)
            while self._held > self._budget:
                self._held -= _bytes(self._cache.popitem(last=False)[1])
        return arrays

    def _read_cutout(
        self, asset: CutoutAsset
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Premultiplied RGBA in [0, 255] and relief, both trimmed."""
        picture, _ = load_straight_cutout(self._content(asset.file, asset.sha256))
        box = alpha_box(picture[..., 3])
        premultiplied = premultiply(picture[box])
        if asset.relief is None:
            return premultiplied, None
        relief = decode_relief(self._label(asset, asset.relief, load_relief_codes))
        return premultiplied, resize(relief, *picture.shape[:2])[box].copy()

    def _read_background(self, asset_id: str, level: int) -> _Arrays:
        asset = self.background_asset(asset_id)
        size = self._sizes[asset_id]
        if level > 0:
            return (resize(self.background(asset_id), *_smaller(*size, level)),)
        return (load_background(self._content(asset.file, asset.sha256), asset.view, size),)

    def _read_disparity(self, asset: BackgroundAsset, file: str) -> _Arrays:
        disparity = decode_disparity(self._label(asset, file, load_grey16))
        return (resize_disparity(disparity, *self._sizes[asset.id]),)

    def _label(
        self, asset: Asset, file: str, load: Callable[[bytes], NDArray[Any]]
    ) -> NDArray[Any]:
        try:
            return load(self._content(file, asset.label_sha256))
        except PictureError as error:
            raise _changed(self._folder / file, error.got) from error

    def _content(self, file: str, sha256: str | None) -> bytes:
        path = self._folder / file
        try:
            data = read_bytes(path)
        except OSError as error:
            raise _changed(path, first_line(error)) from error
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise _changed(path, "a file with other content")
        return data


# Another thread may hold a lock while the process forks; in the child, nothing would release it.
_CATALOGUES: Final[weakref.WeakSet[Catalogue]] = weakref.WeakSet()


def _renew_locks() -> None:
    for catalogue in list(_CATALOGUES):
        catalogue._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def _shrunk(
    asset: CutoutAsset,
    level: int,
    premultiplied: NDArray[np.float32],
    relief: NDArray[np.float32] | None,
) -> _Arrays:
    """A cutout's copy at a level: RGBA uint16, and its relief if it has one."""
    size = _smaller(asset.height, asset.width, level)
    rgba = np.rint(resize(premultiplied, *size) * np.float32(257)).astype(np.uint16)
    return (rgba,) if relief is None else (rgba, resize(relief, *size))


def _levels(asset: CutoutAsset) -> int:
    """The number of a cutout's copies; smaller ones are seldom needed."""
    return _level(max(asset.height, asset.width), _MIN_SIDE) + 1


def _cutout_bytes(asset: CutoutAsset) -> int:
    sizes = [_smaller(asset.height, asset.width, level) for level in range(_levels(asset))]
    return sum((12 if asset.relief else 8) * height * width for height, width in sizes)


def _level(side: int, wanted: float) -> int:
    """How often a side can shrink by the square root of two and stay at least as wanted."""
    return max(0, math.floor(2 * math.log2(side / max(wanted, 1.0)) + 1e-9))


def _smaller(height: int, width: int, level: int) -> tuple[int, int]:
    """The size of a copy, rounded up so that it is at least as large as wanted."""
    scale = 2 ** (-level / 2)
    return math.ceil(height * scale - 1e-6), math.ceil(width * scale - 1e-6)


def _within(asset: Asset, side: int, limit: float) -> tuple[int, int]:
    """Height and width of the asset, reduced if needed so that ``side`` is within a limit."""
    scale = min(1.0, limit / side)
    return max(1, round(asset.height * scale)), max(1, round(asset.width * scale))


def _lookup(assets: Mapping[str, _Value], asset_id: str, kind: str) -> _Value:
    if asset_id not in assets:
        raise DatasetError(
            f"one of the dataset's {len(assets)} {kind}s",
            repr(asset_id),
            "use the dataset that the recipe was drawn from",
            f"The dataset has no {kind} {asset_id!r}.",
        )
    return assets[asset_id]


def _changed(path: Path, got: str) -> DatasetError:
    return DatasetError(
        f"{path} as it was when the dataset was composed",
        got,
        "put the file back, or compose the dataset again",
        f"{path} has changed since the dataset was composed: {got}.",
    )


def _bytes(arrays: _Arrays) -> int:
    return sum(array.nbytes for array in arrays)
