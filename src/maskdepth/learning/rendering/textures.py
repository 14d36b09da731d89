"""The catalogue's working copies on a device, each sent there once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdepth.synthesis.catalogue import Catalogue

__all__ = ["Patch", "Textures", "send"]

_FIRST_PIXELS = 2**18  # of a sheet; it doubles when it is full


def send(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device."""
    array = np.ascontiguousarray(array)
    # The catalogue's arrays are shared: torch takes only what it may write to.
    own = array if array.flags.writeable else array.copy()
    return torch.from_numpy(own).to(device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class Patch:
    """Where a picture lies in a sheet, row after row from pixel ``start`` on."""

    start: int
    height: int
    width: int


class _Sheet:
    """Pictures of all sizes one after another, so that one indexing reads from many of them.

    Attributes:
        pixels: (capacity, C).
    """

    def __init__(self, channels: int, dtype: torch.dtype, device: torch.device) -> None:
        self.pixels = torch.zeros((_FIRST_PIXELS, channels), dtype=dtype, device=device)
        self._used = 0

    @property
    def held_bytes(self) -> int:
        """Of the pictures, without what is still free."""
        return self._used * self.pixels.shape[1] * self.pixels.element_size()

    def add(self, array: NDArray[Any]) -> Patch:
        """Append a picture (H, W, C)."""
        height, width = array.shape[:2]
        end = self._used + height * width
        if end > len(self.pixels):
            shape = (max(end, 2 * len(self.pixels)), self.pixels.shape[1])
            larger = self.pixels.new_zeros(shape)
            larger[: self._used] = self.pixels[: self._used]
            self.pixels = larger
        flat = array.reshape(height * width, -1)
        self.pixels[self._used : end] = send(flat, self.pixels.device)
        patch = Patch(self._used, height, width)
        self._used = end
        return patch


class Textures:
    """What a device holds of a catalogue: lazily, and never twice, until its budget is spent.

    Attributes:
        plates: backgrounds, uint8 RGB.
        cutouts: premultiplied RGBA, 16 bits moved down by 32768, since torch has few operations on
            unsigned ones.
        maps: disparities of backgrounds and reliefs of cutouts, float32.

    Args:
        memory_mb: of the copies; all are dropped before the batch after the one that exceeds it.
    """

    def __init__(self, catalogue: Catalogue, device: torch.device, memory_mb: float) -> None:
        self._catalogue = catalogue
        self._device = device
        self._budget = memory_mb * 2**20
        self._forget()

    def make_room(self) -> None:
        """Start anew where the budget is spent; patches from before are void then."""
        held = sum(sheet.held_bytes for sheet in (self.plates, self.cutouts, self.maps))
        if held > self._budget:
            self._forget()

    def background(self, asset_id: str, short_side: float) -> Patch:
        """In ``plates``: the smallest copy of a background of at least that short side."""
        key = (asset_id, self._catalogue.background_level(asset_id, short_side))
        if key not in self._backgrounds:
            self._backgrounds[key] = self.plates.add(self._catalogue.background(*key))
        return self._backgrounds[key]

    def disparity(self, asset_id: str) -> Patch | None:
        """In ``maps``: a background's disparity, or None where it has no label."""
        if asset_id not in self._disparities:
            disparity = self._catalogue.disparity(asset_id)
            patch = None if disparity is None else self.maps.add(disparity[..., None])
            self._disparities[asset_id] = patch
        return self._disparities[asset_id]

    def cutout(self, asset_id: str, long_side: int) -> tuple[Patch, Patch | None]:
        """In ``cutouts``: the smallest copy of at least that long side; in ``maps``: its relief."""
        key = (asset_id, self._catalogue.cutout_level(asset_id, long_side))
        if key not in self._cutouts:
            rgba, relief = self._catalogue.cutout(asset_id, long_side)
            signed = (rgba.astype(np.int32) - 2**15).astype(np.int16)
            patch = None if relief is None else self.maps.add(relief[..., None])
            self._cutouts[key] = self.cutouts.add(signed), patch
        return self._cutouts[key]

    def _forget(self) -> None:
        self.plates = _Sheet(3, torch.uint8, self._device)
        self.cutouts = _Sheet(4, torch.int16, self._device)
        self.maps = _Sheet(1, torch.float32, self._device)
        self._backgrounds: dict[tuple[str, int], Patch] = {}
        self._disparities: dict[str, Patch | None] = {}
        self._cutouts: dict[tuple[str, int], tuple[Patch, Patch | None]] = {}
