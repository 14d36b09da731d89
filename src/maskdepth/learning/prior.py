"""The ``prior`` preset: the network of the prior work, a ResNet-18 autoencoder with two decoders.

::

    picture, plate (6) ── stem 112 (64) ── 112 (64) ── 56 (128) ── 28 (256) ── 14 (512) ── mean
                                              │           │            │                    │
                                              │           │            │                 80 numbers
                                              │           │            │                    │
    alpha  224 (1) ── 224 (3) ── 112 (64) ─── + ── 56 ─── + ─── 28 ─── + ── 14 (512) ── 7 (512)
    disparity: the same decoder again, with weights of its own

The published description leaves details open, but names the count of weights, 41 104 408. The
common ResNet-18 variational autoencoders in PyTorch have 2048 fewer. Of the open details (biases,
norms, shortcuts, linear layers) only one accounts for these: a batch norm of 512 channels in each
decoder.

- convolutions have no bias, except those that enlarge and the linear layers;
- a resize-convolution enlarges first and convolves at the larger size (the published 31.0 GMAC
  confirm this);
- the last block of a decoder stage enlarges and narrows, and so does its shortcut, with weights of
  its own; the fourth stage keeps its size, like the encoder's first;
- skips are added after the stage that reaches their size;
- both single resize-convolutions, at 14 and at 224, are followed by batch norm and ReLU. The
  description says so for the one at 224; the count would also allow the norm at 14 to follow the
  linear layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskdepth.errors import ModelError

SIDE = 224  # pixels: the enlarging by 7 and five halvings leave no other size
LATENT = 80


class ResizeConv(nn.Sequential):
    """Enlarge by repeating values, then convolve at the larger size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2.0, mode="nearest"), nn.Conv2d(inputs, outputs, 3, padding=1)
        )


class EncoderBlock(nn.Module):
    """ResNet's basic block (He et al. 2016, figure 5, left)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + self.shortcut(x))


class DecoderBlock(nn.Module):
    """The basic block mirrored: the second of its convolutions enlarges and narrows."""

    def __init__(self, inputs: int, outputs: int, *, enlarge: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv2: nn.Module = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if enlarge:
            self.conv2 = ResizeConv(inputs, outputs)
            self.shortcut = nn.Sequential(ResizeConv(inputs, outputs), nn.BatchNorm2d(outputs))
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, 2H, 2W), or the same size without ``enlarge``."""
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + self.shortcut(x))


def _encoder_stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(EncoderBlock(inputs, outputs, stride), EncoderBlock(outputs, outputs, 1))


def _decoder_stage(inputs: int, outputs: int, *, enlarge: bool = True) -> nn.Sequential:
    return nn.Sequential(
        DecoderBlock(inputs, inputs, enlarge=False), DecoderBlock(inputs, outputs, enlarge=enlarge)
    )


class Decoder(nn.Module):
    """80 numbers and three skips to one map."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Linear(LATENT, 512)
        self.to14 = nn.Sequential(ResizeConv(512, 512), nn.BatchNorm2d(512), nn.ReLU(inplace=True))
        self.to28 = _decoder_stage(512, 256)
        self.to56 = _decoder_stage(256, 128)
        self.to112 = _decoder_stage(128, 64)
        self.at112 = _decoder_stage(64, 64, enlarge=False)
        self.to224 = nn.Sequential(ResizeConv(64, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True))
        self.last = nn.Conv2d(3, 1, 3, padding=1, bias=False)

    def forward(self, latent: Tensor, f112: Tensor, f56: Tensor, f28: Tensor) -> Tensor:
        """latent (B, 80), skips (B, 64, 112, 112) (B, 128, 56, 56) (B, 256, 28, 28) -> raw map."""
        x = self.expand(latent)[:, :, None, None]  # (B, 512, 1, 1)
        x = functional.interpolate(x, scale_factor=7.0, mode="nearest")  # (B, 512, 7, 7)
        x = self.to14(x)  # (B, 512, 14, 14)
        x = self.to28(x) + f28  # (B, 256, 28, 28)
        x = self.to56(x) + f56  # (B, 128, 56, 56)
        x = self.to112(x) + f112  # (B, 64, 112, 112)
        x = self.at112(x)  # (B, 64, 112, 112)
        raw: Tensor = self.last(self.to224(x))  # (B, 1, 224, 224)
        return raw


class PriorNetwork(nn.Module):
    """41 104 408 weights, 31.0 GMAC, 224 x 224 only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(6, 64, 3, 2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        self.stage1 = _encoder_stage(64, 64, 1)
        self.stage2 = _encoder_stage(64, 128, 2)
        self.stage3 = _encoder_stage(128, 256, 2)
        self.stage4 = _encoder_stage(256, 512, 2)
        self.compress = nn.Linear(512, LATENT)
        self.alpha = Decoder()
        self.disparity = Decoder()

    def forward(
        self, picture: Tensor, plate: Tensor, plate_disparity: Tensor, validity: Tensor
    ) -> dict[str, Tensor]:
        """Predict alpha logits and disparity; see ``maskdepth.learning.model`` for the contract.

        The prior work has neither a plate disparity, which is ignored, nor absent plates, which
        count as black.
        """
        _check_side(picture)
        plate = torch.where(validity[:, :1, None, None] > 0, plate, 0.0)
        f112 = self.stage1(self.stem(torch.cat([picture, plate], dim=1)))  # (B, 64, 112, 112)
        f56 = self.stage2(f112)  # (B, 128, 56, 56)
        f28 = self.stage3(f56)  # (B, 256, 28, 28)
        f14 = self.stage4(f28)  # (B, 512, 14, 14)
        latent = self.compress(f14.mean(dim=(2, 3)))  # (B, 80)
        return {
            "alpha_logits": self.alpha(latent, f112, f56, f28),  # (B, 1, 224, 224)
            "disparity": self.disparity(latent, f112, f56, f28),  # (B, 1, 224, 224)
        }


def _check_side(picture: Tensor) -> None:
    height, width = picture.shape[-2:]
    if (height, width) != (SIDE, SIDE):
        raise ModelError(
            f"pictures of {SIDE} x {SIDE} pixels for the preset 'prior'",
            f"{width} x {height}",
            "resize them, or use a preset that takes any size",
        )
