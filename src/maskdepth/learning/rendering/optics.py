"""Effects on a batch of pictures; ``synthesis.optics`` says what each is.

Pictures are float32 (n, 3, S, S) of whole numbers 0..255 throughout: every step rounds as the
renderer on the CPU does, halves to even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the name it goes by everywhere
from numpy.typing import NDArray
from torch import Tensor

from maskdepth.learning.rendering.layers import Layers, inside_boxes
from maskdepth.learning.rendering.resampling import (
    area_matrix,
    enlarge,
    linear_matrix,
    reflected,
    shrink,
)
from maskdepth.learning.rendering.textures import send
from maskdepth.synthesis.effects import Effects, Recolour, Shadow
from maskdepth.synthesis.optics import (
    LEAST_HALVED,
    SHADOW_REACH,
    colour_map,
    light_table,
    plate_matrix,
    shadow_powers,
)

__all__ = [
    "blur_alpha",
    "blur_pictures",
    "cast_shadows",
    "develop",
    "harmonise",
    "move_plates",
    "put_over",
    "recolour",
    "reflect",
    "relight",
    "resize_back",
    "soften",
]

_BYTE_KERNEL_BITS: Final = 8  # of the weights with which OpenCV blurs bytes


def put_over(pictures: Tensor, layers: Layers) -> Tensor:
    """Porter and Duff's "over" in premultiplied colour."""
    return _byte(pictures * (1 - layers.alpha[:, None]) + layers.colour)


def _byte(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255)


def cast_shadows(pictures: Tensor, layers: Layers, shadows: Sequence[Shadow]) -> Tensor:
    """Darken each picture by its object's shadow."""
    size, device = pictures.shape[2], pictures.device
    top, bottom, left, right = layers.box.T.astype(np.float64)
    columns = np.array([astuple(shadow) for shadow in shadows]).T
    strength, sigma, dx, dy, flatness, lean, blueness = columns
    height = layers.foot - top
    below = bottom - layers.foot
    reach = np.ceil(SHADOW_REACH * sigma)
    aside = lean * height
    low_aside, high_aside = (
        each(each(0, aside), -lean * below) for each in (np.minimum, np.maximum)
    )
    x0, y0 = left + dx + low_aside, top + dy + height * (1 - flatness)
    low = np.maximum(np.floor([y0, x0]) - reach, 0)  # (2, n): the window's first row, column
    ends = np.ceil(
        [top + dy + height + flatness * below, x0 + right - left + (high_aside - low_aside)]
    )
    length = np.maximum(np.minimum(ends + reach, size) - low, 0)
    # Where the alpha at each pixel comes from: a row of its own, and columns all moved aside.
    row = (np.arange(size)[None] - y0[:, None]) / flatness[:, None]
    shift = lean[:, None] * row - (dx + aside)[:, None]
    dark = _shifted(_picked_rows(layers.alpha, row + top[:, None], layers.box), shift)
    dark = dark * send(strength.astype(np.float32), device)[:, None, None]
    dark = _window_blur(dark, sigma, low, length)
    powers = send(shadow_powers(blueness.astype(np.float32)), device)[:, :, None, None]
    return _byte(pictures * (1 - dark[:, None]).clamp(min=0) ** powers)


def _picked_rows(values: Tensor, row: NDArray[np.float64], box: NDArray[np.int64]) -> Tensor:
    """Rows (n, S, S) of ``values`` at places (n, S) between them; nothing beyond the boxes."""
    first = np.floor(row)
    total = torch.zeros_like(values)
    for index, share in ((first, first + 1 - row), (first + 1, row - first)):
        weight = np.where((index >= box[:, :1]) & (index < box[:, 1:2]), share, 0)
        places = np.clip(index, 0, values.shape[1] - 1).astype(np.int64)
        rows = values.gather(1, send(places, values.device)[:, :, None].expand(values.shape))
        total += rows * send(weight.astype(np.float32), values.device)[:, :, None]
    return total


def _shifted(values: Tensor, shift: NDArray[np.float64]) -> Tensor:
    """Each row read from ``shift`` (n, S) px further right; nothing beyond the frame."""
    size = values.shape[2]
    whole = np.floor(shift)
    part = send((shift - whole).astype(np.float32), values.device)[:, :, None]
    first = send(np.clip(whole, -size - 1, size).astype(np.int64), values.device)[:, :, None]
    index = first + torch.arange(size, device=values.device)
    # A column of nothing on either side, for whatever lies beyond.
    padded = F.pad(values, (1, 1))
    near, far = (padded.gather(2, (i + 1).clamp(0, size + 1)) for i in (index, index + 1))
    return near * (1 - part) + far * part


def _window_blur(
    dark: Tensor, sigma: NDArray[np.float64], low: NDArray[np.float64], length: NDArray[np.float64]
) -> Tensor:
    """Gaussian blur of windows, nothing beyond them; wide ones at half the size, as on the CPU.

    Args:
        low, length: (2, n) of the windows' rows and columns.
    """
    size, device = dark.shape[1], dark.device
    first = low
    levels = []
    while True:
        halves = (sigma >= LEAST_HALVED) & (length.min(axis=0) >= 8)
        if not halves.any():
            break
        smaller = np.where(halves, (length + 1) // 2, length)
        levels.append((smaller, length, first))
        length, sigma, first = smaller, np.where(halves, sigma / 2, sigma), np.zeros_like(low)
    inside = [
        (np.arange(size) >= first[axis, :, None])
        & (np.arange(size) < (first + length)[axis, :, None])
        for axis in (0, 1)
    ]
    for smaller, larger, start in levels:
        dark = _both_ways(
            dark, *(area_matrix(smaller[i], larger[i], start[i], size, device) for i in (0, 1))
        )
    gauss = _gauss_matrix([_float_kernel(each) for each in sigma], size, device, mirror=False)
    dark = _both_ways(dark, gauss, gauss)
    dark = dark * send(inside[0], device)[:, :, None] * send(inside[1], device)[:, None]
    for smaller, larger, start in reversed(levels):
        dark = _both_ways(
            dark, *(linear_matrix(larger[i], smaller[i], start[i], size, device) for i in (0, 1))
        )
    return dark


def _both_ways(values: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Matrices (n, S, S) along the rows and the columns of (n, S, S) or (n, C, S, S)."""
    if values.dim() == 4:
        down, across = down[:, None], across[:, None]
    return down @ values @ across.mT


def _float_kernel(sigma: float) -> NDArray[np.float32]:
    """The weights with which OpenCV blurs floats."""
    length = int(np.rint(8 * sigma + 1)) | 1
    return np.asarray(cv2.getGaussianKernel(length, sigma)[:, 0], np.float32)


def _byte_kernel(sigma: float) -> NDArray[np.float32]:
    """The weights with which OpenCV blurs bytes: whole numbers whose errors are handed on."""
    length = int(np.rint(6 * sigma + 1)) | 1
    exact = cv2.getGaussianKernel(length, sigma)[:, 0] * 2**_BYTE_KERNEL_BITS
    kernel, error = np.zeros(length, np.float32), 0.0
    for place in range(length // 2):
        wanted = exact[place] + error
        kernel[place] = kernel[-1 - place] = np.rint(wanted)
        error = wanted - kernel[place]
    kernel[length // 2] = 2**_BYTE_KERNEL_BITS - kernel.sum()
    return kernel


def _gauss_matrix(
    kernels: Sequence[NDArray[np.float32]], size: int, device: torch.device, *, mirror: bool
) -> Tensor:
    """Convolutions along an axis as matrices (n, S, S), nothing or its mirror beyond the edges."""
    reach = max(len(kernel) for kernel in kernels) // 2
    padded = np.stack([np.pad(kernel, reach - len(kernel) // 2) for kernel in kernels])
    place = torch.arange(size, device=device)
    index = place[:, None] + torch.arange(-reach, reach + 1, device=device)  # (S, taps)
    weight = send(padded, device)[:, None].expand(-1, size, -1)
    if mirror:
        index = reflected(index, size)
    else:
        weight = weight * ((index >= 0) & (index < size))
        index = index.clamp(0, size - 1)
    matrix = torch.zeros((len(kernels), size, size), device=device)
    return matrix.scatter_add_(2, index.expand(weight.shape), weight)


def blur_alpha(alpha: Tensor, sigma: Sequence[float]) -> Tensor:
    """Gaussian blur of floats (n, S, S), mirrored beyond the edges."""
    kernels = [_float_kernel(each) for each in sigma]
    gauss = _gauss_matrix(kernels, alpha.shape[1], alpha.device, mirror=True)
    return _both_ways(alpha, gauss, gauss)


def blur_pictures(pictures: Tensor, sigma: Sequence[float]) -> Tensor:
    """Gaussian blur of bytes, mirrored beyond the edges."""
    kernels = [_byte_kernel(each) for each in sigma]
    gauss = _gauss_matrix(kernels, pictures.shape[2], pictures.device, mirror=True)
    # Whole numbers below 2 ** 24: exact in single precision.
    total = _both_ways(pictures, gauss, gauss)
    return torch.floor(total * 2.0 ** (-2 * _BYTE_KERNEL_BITS) + 0.5)


def recolour(layers: Layers, changes: Sequence[Recolour]) -> Layers:
    """The objects in other colours, clipped to what their alpha allows."""
    maps = [colour_map(change) for change in changes]
    device = layers.colour.device
    matrix = send(np.stack([each for each, _ in maps]), device)[..., None, None]  # (n, 3, 3, 1, 1)
    offset = send(np.array([each for _, each in maps]), device)[:, None, None, None]
    alpha = layers.alpha[:, None]
    # Not a matrix product: a GPU may be set to round its factors to 10 bits.
    parts = [matrix[:, :, k] * layers.colour[:, k, None] for k in range(3)]
    moved = parts[0] + parts[1] + parts[2] + alpha * offset
    return replace(layers, colour=torch.minimum(moved.clamp(min=0), alpha * 255))


def harmonise(layers: Layers, plates: Tensor, strength: Sequence[float]) -> Layers:
    """Move the objects' colours towards the mean of the plates (n, 3, S, S) beneath them."""
    weight = layers.alpha.sum(dim=(1, 2))[:, None]
    own = layers.colour.sum(dim=(2, 3)) / weight.clamp(min=1)
    area = layers.inside.sum(dim=(1, 2))[:, None]
    target = (plates * layers.inside[:, None]).sum(dim=(2, 3)) / area
    way = send(np.array(strength, np.float32), plates.device)[:, None]
    gain = ((target + 1) / (own + 1)).clamp(0.5, 2.0) ** way
    moved = torch.minimum(layers.colour * gain[..., None, None], layers.alpha[:, None] * 255)
    faint = (weight < 1)[..., None, None]
    return replace(layers, colour=torch.where(faint, layers.colour, moved))


def reflect(pictures: Tensor, layers: Layers, strength: Sequence[float]) -> Tensor:
    """Paint each object upside down below its foot, fading."""
    size, device = pictures.shape[2], pictures.device
    top, bottom = layers.box[:, 0, None], layers.foot[:, None]
    rows = np.maximum(np.minimum(bottom - top, size - bottom), 1)
    place = np.arange(size)[None]
    fade = np.array(strength)[:, None] * (1 - (place - bottom) / rows)
    fade = np.where((place >= bottom) & (place < bottom + rows), fade, 0)
    source = send(np.clip(2 * bottom - 1 - place, 0, size - 1), device)[:, None, :, None]
    layer = torch.cat([layers.colour, layers.alpha[:, None]], dim=1)
    layer = layer.gather(2, source.expand(layer.shape))
    layer = layer * send(fade.astype(np.float32), device)[:, None, :, None]
    return _byte(layer[:, :3] + (1 - layer[:, 3:]) * pictures)


def soften(layers: Layers, kernels: Sequence[NDArray[np.float32]], margin: int) -> Layers:
    """Layers as they are seen through a kernel each, in the frame within their frames' margin.

    Args:
        margin: px by which the layers' frames are larger on every side: no kernel reaches further.
    """
    size = layers.alpha.shape[1] - 2 * margin
    padded = np.stack([np.pad(kernel, margin - len(kernel) // 2) for kernel in kernels])
    layer = torch.cat([layers.colour, layers.alpha[:, None]], dim=1)
    weight = send(padded, layer.device).repeat_interleave(4, dim=0)[:, None]
    # cuDNN would round to 10 bits here.
    with torch.backends.cudnn.flags(enabled=False):
        seen = F.conv2d(layer.reshape(1, -1, *layer.shape[2:]), weight, groups=len(weight))
    seen = seen.view(*layer.shape[:2], size, size)
    reach = np.array([len(kernel) // 2 for kernel in kernels])[:, None]
    box = np.clip(layers.box - margin + reach * [-1, 1, -1, 1], 0, size)
    frame = slice(margin, margin + size)
    return Layers(
        box=box,
        foot=np.clip(layers.foot - margin, 0, size),
        inside=inside_boxes(box, size, layer.device),
        colour=seen[:, :3],
        alpha=seen[:, 3].clamp(0, 1),
        relief=layers.relief[:, frame, frame],
    )


def relight(pictures: Tensor, effects: Sequence[Effects]) -> Tensor:
    """Gain and offset of each channel, through a table of the 256 levels."""
    return _through(pictures, [light_table(each.gains, each.offset) for each in effects])


def develop(pictures: Tensor, effects: Sequence[Effects]) -> Tensor:
    """Another exposure and tone, through such a table too."""
    return _through(pictures, [light_table(*each.development) for each in effects])


def _through(pictures: Tensor, tables: Sequence[NDArray[np.uint8]]) -> Tensor:
    """What tables (256, 3), one a picture, make of its levels."""
    levels = send(np.stack([table.T for table in tables]), pictures.device)  # (n, 3, 256)
    return levels.gather(2, pictures.flatten(2).long()).view(pictures.shape).float()


def move_plates(
    plates: Tensor, disparity: Tensor, effects: Sequence[Effects]
) -> tuple[Tensor, Tensor]:
    """Plates, and their disparity (n, S, S) without mixing neighbours, shifted and turned."""
    size, device = plates.shape[2], plates.device
    matrices = np.stack([plate_matrix(each, size) for each in effects])
    back = np.stack([cv2.invertAffineTransform(matrix) for matrix in matrices])
    place = np.arange(size)
    row, column = (
        send((back[:, axis, 1:2] * place + back[:, axis, 2:]).astype(np.float32), device)[
            :, :, None
        ]
        + send((back[:, axis, :1] * place).astype(np.float32), device)[:, None]
        for axis in (1, 0)
    )  # (n, S, S) each: where every pixel comes from

    def picked(values: Tensor, y: Tensor, x: Tensor) -> Tensor:
        index = reflected(y.long(), size) * size + reflected(x.long(), size)
        flat = values.flatten(2)
        return flat.gather(2, index.flatten(1)[:, None].expand(flat.shape)).view(values.shape)

    top, left = row.floor(), column.floor()
    down, right = (row - top)[:, None], (column - left)[:, None]
    upper, lower = (
        picked(plates, y, left) * (1 - right) + picked(plates, y, left + 1) * right
        for y in (top, top + 1)
    )
    moved = _byte(upper * (1 - down) + lower * down)
    return moved, picked(disparity[:, None], row.round(), column.round())[:, 0]


def resize_back(pictures: Tensor, scale: Sequence[float]) -> Tensor:
    """Pictures that were kept smaller for a while, by means of areas, and enlarged again."""
    size, device = pictures.shape[2], pictures.device
    side = np.array([max(8, round(each * size)) for each in scale])
    small = shrink(pictures, side, size)
    # OpenCV rounds halves up, not to even, in its own way of halving.
    halved = send(2 * side == size, device)[:, None, None, None]
    small = torch.where(halved, torch.floor(small + 0.5), small.round())
    return enlarge(small, side, size).float()
