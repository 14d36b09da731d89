"""What JPEG leaves of pictures, as tensors: bit for bit what libjpeg's integer codec leaves.

Entropy coding loses nothing, so it is left out: colours, chroma at half the size, the discrete
cosine transform, quantisation, and the way back. Everything is computed in whole numbers, as in
libjpeg's "islow" transform (jfdctint.c, jidctint.c: Loeffler, Ligtenberg and Moschytz, "Practical
fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989) and its triangle filter for chroma
("fancy upsampling", jdsample.c), which are what OpenCV encodes and decodes by.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812  the name it goes by everywhere
from torch import Tensor

# ITU-T T.81, annex K, tables K.1 and K.2.
_LUMA: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA: Final = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# The transform's constants of 13 bits: round(8192 * x).
_0_298, _0_390, _0_541, _0_765, _0_899, _1_175 = 2446, 3196, 4433, 6270, 7373, 9633
_1_501, _1_847, _1_961, _2_053, _2_562, _3_072 = 12299, 15137, 16069, 16819, 20995, 25172
_FIX: Final = 16  # bits of the constants of colour


def degrade_jpeg(pictures: Tensor, quality: Tensor) -> Tensor:
    """Encode and decode each picture at its own quality, chroma at half the size (4:2:0).

    Args:
        pictures: (B, 3, H, W) RGB, whole numbers 0..255 of any type.
        quality: (B,) whole numbers 1..100.

    Returns:
        float32 (B, 3, H, W), whole numbers 0..255. No gradient passes.
    """
    size = (int(pictures.shape[2]), int(pictures.shape[3]))
    red, green, blue = pictures.to(torch.int32).unbind(1)  # (B, H, W) each
    half = 1 << (_FIX - 1)
    middle = (128 << _FIX) + half - 1
    luma = (19595 * red + 38470 * green + 7471 * blue + half) >> _FIX
    chroma = torch.stack(
        [
            (-11059 * red - 21709 * green + 32768 * blue + middle) >> _FIX,
            (32768 * red - 27439 * green - 5329 * blue + middle) >> _FIX,
        ],
        dim=1,
    )  # (B, 2, H, W): blue's difference, then red's
    tables = _tables(quality)  # (B, 2, 8, 8)
    luma = _code(luma[:, None], tables[:, :1])[:, 0, : size[0], : size[1]]
    small = _code(_halve(chroma), tables[:, 1:])
    small = small[..., : (size[0] + 1) // 2, : (size[1] + 1) // 2]
    blueness, redness = (_double(small)[..., : size[0], : size[1]] - 128).unbind(1)
    colour = (
        luma + ((91881 * redness + half) >> _FIX),
        luma + ((-22554 * blueness - 46802 * redness + half) >> _FIX),
        luma + ((116130 * blueness + half) >> _FIX),
    )
    return torch.stack(colour, dim=1).clamp(0, 255).float()


def _transform() -> list[list[int]]:
    """The transform of eight values as whole numbers, 8192 * sqrt(8) times the orthonormal one."""
    rows = []
    for place in range(8):
        x = [int(place == i) for i in range(8)]
        sums = [x[i] + x[7 - i] for i in range(4)]
        d0, d1, d2, d3 = (x[i] - x[7 - i] for i in range(4))
        outer, inner = sums[0] - sums[3], sums[1] - sums[2]
        shared = (d0 + d1 + d2 + d3) * _1_175
        z1, z2 = -(d3 + d0) * _0_899, -(d2 + d1) * _2_562
        z3, z4 = shared - (d3 + d1) * _1_961, shared - (d2 + d0) * _0_390
        rows.append(
            [
                sum(sums) << 13,
                d0 * _1_501 + z1 + z4,
                (outer + inner) * _0_541 + outer * _0_765,
                d1 * _3_072 + z2 + z3,
                (sums[0] - sums[1] - sums[2] + sums[3]) << 13,
                d2 * _2_053 + z2 + z4,
                (outer + inner) * _0_541 - inner * _1_847,
                d3 * _0_298 + z1 + z3,
            ]
        )
    return rows  # a column of the transform each


_COLUMNS: Final = _transform()


def _tables(quality: Tensor) -> Tensor:
    """Quantisation steps of qualities (B,): (B, 2, 8, 8), luma's and chroma's (jcparam.c)."""
    base = torch.tensor([_LUMA, _CHROMA], dtype=torch.int32, device=quality.device)
    whole = quality.to(torch.int32)
    low = torch.div(5000, whole, rounding_mode="floor")
    scale = torch.where(whole < 50, low, 200 - 2 * whole)[:, None, None, None]
    return torch.div(base * scale + 50, 100, rounding_mode="floor").clamp(1, 255)


def _code(plane: Tensor, steps: Tensor) -> Tensor:
    """Transform, quantise and restore planes in blocks of eight.

    Args:
        plane: (B, C, H, W) int32, 0..255.
        steps: (B, 1, 8, 8) int32.

    Returns:
        int32 (B, C, H', W'), the sides rounded up to whole blocks.
    """
    batch, channels, height, width = plane.shape
    plane = _extend(plane, -height % 8, -width % 8)
    # Doubles hold every product exactly, and have fast matrix products; Apple's GPUs have none.
    exact = torch.float32 if plane.device.type == "mps" else torch.float64
    matrix = torch.tensor(_COLUMNS, dtype=exact, device=plane.device).T  # (frequency, place)
    rows, columns = plane.shape[2] // 8, plane.shape[3] // 8
    blocks = (plane - 128).view(batch, channels, rows, 8, columns, 8).permute(0, 1, 2, 4, 3, 5)
    step = steps[:, :, None, None].to(exact)
    values = _descale(blocks.to(exact) @ matrix.T, 11)
    values = _descale(matrix @ values, 15)  # (B, C, rows, columns, 8, 8), eight times too large
    counts = torch.floor((values.abs() + 4 * step) / (8 * step)) * values.sign()
    values = _descale(matrix.T @ (counts * step), 11)
    values = _descale(values @ matrix, 18)
    restored = values.permute(0, 1, 2, 4, 3, 5).reshape(plane.shape)
    return (restored + 128).clamp(0, 255).to(torch.int32)


def _descale(values: Tensor, bits: int) -> Tensor:
    """Divide by a power of two, rounding half up."""
    return torch.floor(values * 2.0**-bits + 0.5)


def _extend(plane: Tensor, down: int, right: int) -> Tensor:
    """Repeat the last row and column of (B, C, H, W) whole numbers."""
    if not down and not right:
        return plane
    return F.pad(plane.float(), (0, right, 0, down), mode="replicate").to(plane.dtype)


def _halve(chroma: Tensor) -> Tensor:
    """Means of four neighbours, rounded down and up in turn along a row (jcsample.c)."""
    height, width = chroma.shape[2:]
    chroma = _extend(chroma, height % 2, -width % 16)
    total = sum(chroma[..., i::2, j::2] for i in (0, 1) for j in (0, 1))
    assert isinstance(total, Tensor)
    bias = 1 + torch.arange(total.shape[-1], device=chroma.device, dtype=torch.int32) % 2
    return (total + bias) >> 2


def _double(plane: Tensor) -> Tensor:
    """Twice the size by a triangle filter: 3/4 of the nearer sample and 1/4 of the other.

    Args:
        plane: (B, C, h, w) int32.

    Returns:
        int32 (B, C, 2 h, 2 w).
    """
    above = torch.cat([plane[..., :1, :], plane[..., :-1, :]], dim=-2)
    below = torch.cat([plane[..., 1:, :], plane[..., -1:, :]], dim=-2)
    rows = torch.stack([3 * plane + above, 3 * plane + below], dim=-2).flatten(-3, -2)
    left = torch.cat([rows[..., :1], rows[..., :-1]], dim=-1)
    right = torch.cat([rows[..., 1:], rows[..., -1:]], dim=-1)
    pairs = torch.stack([(3 * rows + left + 8) >> 4, (3 * rows + right + 7) >> 4], dim=-1)
    return pairs.flatten(-2, -1)
