"""Objects of a batch as layers, and the disparity that they bring; see ``synthesis.renderer``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdepth.learning.rendering.resampling import Taps, gather, object_taps
from maskdepth.learning.rendering.textures import Patch, Textures, send
from maskdepth.synthesis.placement import Placement, Standing
from maskdepth.synthesis.renderer import AREA_FROM, FOOT_SHARE, LEAST_ROOM, OCCLUSION_MARGIN

__all__ = ["Layers", "inside_boxes", "make_layers", "put_nearer", "stand"]

_PERCENTILE: Final = 0.95


@dataclass(frozen=True)
class Layers:
    """The visible parts of n objects, each in a whole frame of its own; nothing beyond them.

    Attributes:
        box: NumPy (n, 4) whole numbers: top, bottom, left and right of the visible part, px.
        foot: NumPy (n,), the row below the lowest one of the outline: soft edges reach below it.
        inside: (n, S, S) bool, that box.
        colour: (n, 3, S, S) premultiplied, 0..255.
        alpha: (n, S, S).
        relief: (n, S, S) in [-0.5, 0.5], 0 where a cutout has none.
    """

    box: NDArray[np.int64]
    foot: NDArray[np.int64]
    inside: Tensor
    colour: Tensor
    alpha: Tensor
    relief: Tensor

    def of_rows(self, rows: Sequence[int]) -> Layers:
        """Some of the layers."""
        index = send(np.array(rows, np.int64), self.alpha.device)
        every = (self.inside, self.colour, self.alpha, self.relief)
        chosen = list(rows)
        return Layers(self.box[chosen], self.foot[chosen], *(values[index] for values in every))

    def with_rows(self, rows: Sequence[int], changed: Layers) -> Layers:
        """The layers with some replaced."""
        index = send(np.array(rows, np.int64), self.alpha.device)
        box, foot = self.box.copy(), self.foot.copy()
        box[list(rows)], foot[list(rows)] = changed.box, changed.foot
        return Layers(
            box,
            foot,
            inside=self.inside.index_copy(0, index, changed.inside),
            colour=self.colour.index_copy(0, index, changed.colour),
            alpha=self.alpha.index_copy(0, index, changed.alpha),
            relief=self.relief.index_copy(0, index, changed.relief),
        )


def make_layers(placements: Sequence[Placement], size: int, textures: Textures) -> Layers:
    """Cutouts at their sizes and places; each must be visible."""
    found = [textures.cutout(each.cutout, max(each.width, each.height)) for each in placements]
    patches = [patch for patch, _ in found]
    device = textures.cutouts.pixels.device
    boxes = np.array([(p.y, p.x, p.height, p.width) for p in placements], np.int64)
    corner, length = boxes[:, :2], boxes[:, 2:]
    source = np.array([(patch.height, patch.width) for patch in patches], np.int64)
    strong = np.any(source > AREA_FROM * length, axis=1)
    rows, columns = _taps(placements, strong, source, size)
    low, high = np.maximum(corner, 0), np.minimum(corner + length, size)
    box = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
    inside = inside_boxes(box, size, device)
    # 16 bits lie moved down; the weights of the taps add up to one inside the box.
    moved = gather(textures.cutouts.pixels, patches, rows, columns)
    values = (moved + 2.0**15).round() * inside[:, None]
    return Layers(
        box=box,
        foot=high[:, 0],
        inside=inside,
        colour=values[:, :3] * (1 / 257),
        alpha=values[:, 3] * (1 / 65535),
        relief=_relief(placements, [relief for _, relief in found], size, textures),
    )


def inside_boxes(box: NDArray[np.int64], size: int, device: torch.device) -> Tensor:
    """Boxes (n, 4) of top, bottom, left and right as masks (n, S, S)."""
    place = np.arange(size)
    rows, columns = (
        send((place >= box[:, first, None]) & (place < box[:, first + 1, None]), device)
        for first in (0, 2)
    )
    return rows[:, :, None] & columns[:, None]


def _relief(
    placements: Sequence[Placement], patches: Sequence[Patch | None], size: int, textures: Textures
) -> Tensor:
    sheet = textures.maps.pixels
    relief = torch.zeros((len(patches), size, size), device=sheet.device)
    having = [row for row, patch in enumerate(patches) if patch is not None]
    if having:
        present = [patch for patch in patches if patch is not None]
        source = np.array([(patch.height, patch.width) for patch in present], np.int64)
        chosen = [placements[row] for row in having]
        taps = _taps(chosen, np.ones(len(having), bool), source, size)
        relief[having] = gather(sheet, present, *taps)[:, 0]
    return relief


def _taps(
    placements: Sequence[Placement],
    area: NDArray[np.bool_],
    source: NDArray[np.int64],
    size: int,
) -> tuple[Taps, Taps]:
    """Sources of rows and of columns, see ``object_taps``; only columns are ever mirrored."""
    x, y, width, height = (
        np.array([getattr(each, name) for each in placements], np.int64)
        for name in ("x", "y", "width", "height")
    )
    flip = np.array([each.flip for each in placements])
    rows = object_taps(y, height, source[:, 0], np.zeros_like(flip), area, size)
    return rows, object_taps(x, width, source[:, 1], flip, area, size)


def put_nearer(layers: Layers, nearness: NDArray[np.float32], disparity: Tensor) -> Tensor:
    """Disparity (n, S, S) with objects in it that stand on nothing.

    Args:
        nearness: (n,).
        disparity: (n, S, S) of what lies behind, NaN where unknown.
    """
    mask = layers.alpha > 0.5
    known = mask & disparity.isfinite()
    hidden = torch.where(known, disparity, torch.inf).flatten(1).sort(dim=1).values
    count = known.sum(dim=(1, 2))[:, None]
    place = _PERCENTILE * (count - 1).clamp(min=0)
    low = place.floor().long()
    near, far = (
        hidden.gather(1, low),
        hidden.gather(1, torch.minimum(low + 1, (count - 1).clamp(0))),
    )
    behind = torch.where(count > 0, near + (far - near) * (place - low), 1.0)[..., None]
    room = 1.0 - behind
    relief = layers.relief.clamp(-0.5, 0.5)
    nearer = behind + room * (0.1 + 0.8 * send(nearness, mask.device)[:, None, None] + 0.2 * relief)
    return torch.where(mask, torch.where(room < LEAST_ROOM, torch.nan, nearer), disparity)


def stand(layers: Layers, standing: Sequence[Standing], disparity: Tensor) -> tuple[Layers, Tensor]:
    """What can be seen of objects on the ground, and disparity (n, S, S) with them in it."""
    device, size = disparity.device, disparity.shape[1]
    fields = np.array([(s.disparity, s.row, s.tilt, s.bulge) for s in standing], np.float64)
    rows = np.arange(size)[None]
    plane = fields[:, :1] * (1 + fields[:, 2:3] * (fields[:, 1:2] - rows))  # (n, S)
    bulge = send(fields[:, 3].astype(np.float32), device)[:, None, None]
    depth = bulge * (layers.relief - _foot_relief(layers)[:, None, None])
    own = send(plane.astype(np.float32), device)[:, :, None] / (1 - depth.clamp(-0.9, 0.9))
    own = own.clamp(0, 1)
    hides = ((disparity > own * (1 + OCCLUSION_MARGIN)) & layers.inside).float()
    shown = 1 - _mean_of_nine(hides, layers.box)
    seen = replace(layers, colour=layers.colour * shown[:, None], alpha=layers.alpha * shown)
    return seen, torch.where(seen.alpha > 0.5, own, disparity)


def _mean_of_nine(values: Tensor, box: NDArray[np.int64]) -> Tensor:
    """Means of 3 x 3 px (n, S, S) inside boxes, mirrored at their edges as ``cv2.blur`` does."""
    for axis in (0, 1):
        low, last = box[:, 2 * axis, None], box[:, 2 * axis + 1, None] - 1
        place = np.arange(values.shape[1])[None]
        before = np.where(place == low, np.minimum(place + 1, last), place - 1)
        after = np.where(place == last, np.maximum(place - 1, low), place + 1)
        near = [np.clip(each, 0, values.shape[1] - 1) for each in (before, after)]
        shape = (len(box), -1, 1) if axis == 0 else (len(box), 1, -1)
        indices = [send(each, values.device).view(shape).expand(values.shape) for each in near]
        values = values + sum(values.gather(1 + axis, index) for index in indices)
    return values / 9


def _foot_relief(layers: Layers) -> Tensor:
    """The relief (n,) of the rows that touch the ground, a mean; 0 where nothing is visible."""
    device, size = layers.alpha.device, layers.alpha.shape[1]
    mask = layers.alpha > 0.5
    rows = torch.arange(size, device=device)
    last = torch.where(mask.any(dim=2), rows, -1).amax(dim=1)  # (n,)
    tall = (FOOT_SHARE * (layers.box[:, 1] - layers.box[:, 0])).astype(np.int64)
    foot = mask & (rows >= (last - send(tall, device))[:, None])[:, :, None]
    total = torch.where(foot, layers.relief, 0.0).sum(dim=(1, 2))
    return total / foot.sum(dim=(1, 2)).clamp(min=1)
