"""The ``small`` preset: a dense U-Net for CPUs, any picture size, optional plate and depth.

The layout, with its channels in brackets and a picture of H x W::

    inputs (16) ── 1/2 (16) ── 1/4 (32) ── 1/8 (64) ── 1/16 (96) ── 1/32 (128, deep) + global mean
                      │           │           │            │            │
                   1/2 (16) ── 1/4 (32) ── 1/8 (64) ── 1/16 (96) ───────┘
                      ├── disparity at 1/2, enlarged to 1/1
                      └── offset + gains * (picture, plate, difference) ── alpha at 1/1

All convolutions are dense: on a CPU, depthwise ones train several times slower at equal
arithmetic. Features are halved by stride-2 convolutions, whose output i is centred on input 2i,
and doubled by taking for output i the value i // 2 (which is what "nearest" to the size of the
skip comes to): the two stay aligned at every size, odd ones included, and none needs padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64, 96, 128)  # channels at 1/2, 1/4, 1/8, 1/16, 1/32
HALF_DIFFERENCE = 0.05  # the difference, of a range of 1, that the first scale maps to 1/2
MIN_HALF_DIFFERENCE = 1.5 / 255  # the smallest difference that the second scale maps to 1/2
HALF_PER_NOISE = 3.0  # the difference that the second scale maps to 1/2, over the pair's noise
_EPSILON = 1e-3


def visible_differences(difference: Tensor) -> tuple[Tensor, Tensor]:
    """Two scales of |picture - plate| on which small differences count: d / (d + half).

    ``half`` is 0.05 in the first scale. In the second it follows the noise of the pair: one grey
    level shows foreground where picture and plate are otherwise equal, and means nothing under
    noise. The noise is the harmonic mean of all differences, which the smallest of them, those of
    the background, decide.

    Args:
        difference: (B, 3, H, W), 0..1.

    Returns:
        Both (B, 3, H, W) in [0, 1): 0 stays exactly 0. Two grey levels of 255 become 0.14 in the
        first, and up to 0.57 in the second.
    """
    grey = _sum_channels(difference) / difference.shape[1]
    noise = 1 / (1 / (grey + _EPSILON)).mean(dim=(2, 3), keepdim=True) - _EPSILON  # (B, 1, 1, 1)
    half = MIN_HALF_DIFFERENCE + HALF_PER_NOISE * noise
    return difference / (difference + HALF_DIFFERENCE), difference / (difference + half)


class ConvBlock(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Down(nn.Module):
    """Halve the size, then refine with a residual convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.halve = ConvBlock(inputs, outputs, stride=2)
        self.refine = ConvBlock(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, ceil(H / 2), ceil(W / 2))."""
        halved: Tensor = self.halve(x)
        refined: Tensor = self.refine(halved)
        return halved + refined


class Deep(nn.Module):
    """Two residual convolutions where the picture is smallest.

    The layout of the scene is decided here, by a third of all weights and a fiftieth of the
    arithmetic.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = ConvBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same."""
        refined: Tensor = self.second(self.first(x))
        return x + refined


class Up(nn.Module):
    """Double the size, add the skip, refine."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.refine = ConvBlock(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, inputs, h, w) and the skip (B, outputs, H, W), h = ceil(H / 2) -> like the skip."""
        x = self.norm(self.project(x))  # before enlarging: a quarter of the arithmetic
        x = functional.interpolate(x, size=skip.shape[-2:], mode="nearest")
        refined: Tensor = self.refine(functional.relu(x + skip))
        return refined


class AlphaHead(nn.Module):
    """Logits at the full size: an offset, plus gains on the inputs at the full size.

    An alpha that is exact to the pixel needs inputs at the full size. Within a small window alpha
    is close to an affine function of colour (Levin et al., "A Closed-Form Solution to Natural Image
    Matting", PAMI 2008), and on a clean composite the difference is exactly 0 outside the object.
    So the decoder gives an offset for each pixel, and for each 2 x 2 pixels the gains on picture,
    plate and their differences. A convolution at the full size took 40 % of a training step, and
    its alpha was no better.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.offset_and_gains = nn.Conv2d(inputs, 4 + 12, 3, padding=1)  # 4: a 2 x 2 of pixels

    def forward(self, x: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """x (B, C, ceil(H / 2), ceil(W / 2)), inputs: 4 of (B, 3, H, W) -> (B, 1, H, W)."""
        size = inputs[0].shape[-2:]
        offset, *gains = self.offset_and_gains(x).split([4, 3, 3, 3, 3], dim=1)
        # Four small products fit into the cache; one of all twelve channels does not.
        first, *others = (
            _sum_channels(values * functional.interpolate(gain, size=size, mode="nearest"))
            for values, gain in zip(inputs, gains, strict=True)
        )
        offset = functional.pixel_shuffle(offset, 2)[..., : size[0], : size[1]]
        logits: Tensor = sum(others, first) + offset
        return logits


class DisparityHead(nn.Module):
    """Disparity at half the size, enlarged bilinearly: raw, without a squashing function."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.fine = ConvBlock(inputs, inputs)
        self.value = nn.Conv2d(inputs, 1, 1)
        self.value.bias = nn.Parameter(torch.full((1,), 0.5))  # start mid-range

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """x (B, inputs, ceil(H / 2), ceil(W / 2)) -> (B, 1, H, W)."""
        value: Tensor = self.value(self.fine(x))
        return functional.interpolate(
            value, size=(height, width), mode="bilinear", align_corners=False
        )


class SmallNetwork(nn.Module):
    """Under a million weights, under half a GMAC at 224 x 224."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, bottom = WIDTHS
        # Inputs: picture 3, plate 3, differences 6, plate disparity 1, flags 2, row 1.
        self.stem = ConvBlock(16, half, stride=2)
        self.down4 = Down(half, quarter)
        self.down8 = Down(quarter, eighth)
        self.down16 = Down(eighth, sixteenth)
        self.down32 = Down(sixteenth, bottom)
        self.deep = Deep(bottom)
        self.context = nn.Linear(bottom, bottom)
        self.up16 = Up(bottom, sixteenth)
        self.up8 = Up(sixteenth, eighth)
        self.up4 = Up(eighth, quarter)
        self.up2 = Up(quarter, half)
        self.alpha = AlphaHead(half)
        self.disparity = DisparityHead(half)

    def forward(
        self, picture: Tensor, plate: Tensor, plate_disparity: Tensor, validity: Tensor
    ) -> dict[str, Tensor]:
        """Predict alpha logits and disparity; see ``maskdepth.learning.model`` for the contract.

        The content of an input whose flag is 0 does not matter, not even NaN.
        """
        height, width = picture.shape[-2:]
        flags = validity[:, :, None, None]  # (B, 2, 1, 1)
        has_plate, has_depth = flags[:, :1], flags[:, 1:]
        plate = torch.where(has_plate > 0, plate, 0.0)
        plate_disparity = torch.where(has_depth > 0, plate_disparity, 0.0)
        difference = (picture - plate).abs() * has_plate
        visible = visible_differences(difference)  # two of (B, 3, H, W)
        planes = flags.expand(-1, -1, height, width)  # (B, 2, H, W)

        x = torch.cat(
            [picture, plate, *visible, plate_disparity, planes, _rows(picture)], dim=1
        )  # (B, 16, H, W)
        f2 = self.stem(x)  # (B, 16, H/2, W/2)
        f4 = self.down4(f2)  # (B, 32, H/4, W/4)
        f8 = self.down8(f4)  # (B, 64, H/8, W/8)
        f16 = self.down16(f8)  # (B, 96, H/16, W/16)
        f32 = self.deep(self.down32(f16))  # (B, 128, H/32, W/32)

        context = self.context(f32.mean(dim=(2, 3)))  # (B, 128)
        x = f32 + context[:, :, None, None]
        x = self.up16(x, f16)
        x = self.up8(x, f8)
        x = self.up4(x, f4)
        x = self.up2(x, f2)  # (B, 16, H/2, W/2)
        return {
            "alpha_logits": self.alpha(x, [picture, plate, *visible]),  # (B, 1, H, W)
            "disparity": self.disparity(x, height, width),  # (B, 1, H, W)
        }


def _sum_channels(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W).

    An exported network has a product with ones instead, because ONNX Runtime takes three times as
    long for a sum. In training that product would be rounded to bfloat16.
    """
    if torch.compiler.is_exporting():
        return (x.new_ones(1, x.shape[1]) @ x.flatten(2)).reshape(-1, 1, *x.shape[2:])
    return x.sum(dim=1, keepdim=True)


def _rows(picture: Tensor) -> Tensor:
    """How far down each pixel lies, 0..1: (B, 1, H, W).

    Depth follows the row in most scenes (ground below, sky above), which no convolution can tell
    without this input.
    """
    batch, _, height, width = picture.shape
    rows = (torch.arange(height, device=picture.device, dtype=picture.dtype) + 0.5) / height
    return rows[None, None, :, None].expand(batch, 1, height, width)
