"""DenseDepth's network as a function of its weights, in PyTorch's functions alone.

Alhashim and Wonka, "High Quality Monocular Depth Estimation via Transfer Learning" (2018): a
DenseNet-169 (Huang et al., CVPR 2017) without its classifier, and a decoder of bilinear
enlargements and pairs of convolutions. Layers bear the names that Keras gives them, and weights
come in Keras' layout, so that a published file needs no translation table.

Only prediction is needed, so the weights are a table of tensors and the layers are calls of
``torch.nn.functional``. Torch is imported late, so that other teachers do not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
Weights = Mapping[str, Mapping[str, NDArray[np.float32]]]

STRIDE: Final = 32  # the encoder's; both sides of the input are multiples of it
EPSILON: Final = 1.001e-5  # of every batch normalisation in Keras' DenseNet
LEAK: Final = 0.2  # slope of the decoder's leaky ReLUs below zero
_STEM: Final = 64  # channels of the first convolution
_BLOCKS: Final = {"conv2": 6, "conv3": 12, "conv4": 32, "conv5": 32}  # DenseNet-169
_GROWTH: Final = 32
_BOTTLENECK: Final = 4 * _GROWTH
_UP: Final = ("up1", "up2", "up3", "up4")


def layer_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes of all weights by layer and weight, kernels as (height, width, in, out).

    The weights of a layer are in the order in which Keras lists them.
    """
    shapes = {"conv1_conv": _conv(7, 3, _STEM), "conv1_bn": _norm(_STEM)}
    channels, skips = _STEM, [_STEM, _STEM]  # conv1/relu and pool1
    for stage, depth in _BLOCKS.items():
        for block in _blocks(stage, depth):
            shapes[f"{block}_0_bn"] = _norm(channels)
            shapes[f"{block}_1_conv"] = _conv(1, channels, _BOTTLENECK)
            shapes[f"{block}_1_bn"] = _norm(_BOTTLENECK)
            shapes[f"{block}_2_conv"] = _conv(3, _BOTTLENECK, _GROWTH)
            channels += _GROWTH
        if stage != "conv5":
            pool = stage.replace("conv", "pool")
            shapes[f"{pool}_bn"] = _norm(channels)
            shapes[f"{pool}_conv"] = _conv(1, channels, channels // 2)
            channels //= 2
            skips.append(channels)
    shapes["bn"] = _norm(channels)
    skips.pop()  # pool4's output has no counterpart in the decoder: it is the last stage's input
    shapes["conv2"] = _conv(1, channels, channels, bias=True)
    for up in _UP:
        filters = shapes["conv2"]["bias"][0] // 2 ** int(up[2:])
        shapes[f"{up}_convA"] = _conv(3, channels + skips.pop(), filters, bias=True)
        shapes[f"{up}_convB"] = _conv(3, filters, filters, bias=True)
        channels = filters
    shapes["conv3"] = _conv(3, channels, 1, bias=True)
    return shapes


class DenseDepthNetwork:
    """The network with weights of ``layer_shapes()``, on one device.

    Args:
        weights: by layer and weight, float32, in Keras' layout.
        align_corners: where the decoder's enlargements take their samples: True maps corner
            pixels to corner pixels; False takes half-pixel centres and repeats the border, as
            Keras' own ``UpSampling2D`` does.
        device: torch's name of a device, e.g. ``"cpu"``.
    """

    def __init__(self, weights: Weights, *, align_corners: bool, device: str = "cpu") -> None:
        import torch

        self.device = device
        self._align_corners = align_corners
        self._weights: dict[str, dict[str, Tensor]] = {}
        for layer, arrays in weights.items():
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            if "kernel" in tensors:
                # (height, width, in, out) -> (out, in, height, width)
                tensors["kernel"] = tensors["kernel"].permute(3, 2, 0, 1).contiguous()
            self._weights[layer] = {name: one.to(device) for name, one in tensors.items()}

    def predict(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """The greatest depth divided by the depth, not clipped.

        Args:
            pictures: float32 (B, H, W, 3) RGB in [0, 1], H and W multiples of ``STRIDE``.

        Returns:
            float32 (B, H / 2, W / 2).
        """
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)
            values = self.forward(x.permute(0, 3, 1, 2))
            return np.asarray(values[:, 0].cpu().numpy(), np.float32)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 1, H / 2, W / 2)."""
        from torch.nn import functional

        x, skips = self._encode(x)
        x = self._convolve(x, "conv2")  # (B, 1664, H / 32, W / 32)
        for up in _UP:
            x = functional.interpolate(
                x, scale_factor=2, mode="bilinear", align_corners=self._align_corners
            )
            x = self._join(x, skips.pop())
            for conv in ("convA", "convB"):
                x = self._convolve(x, f"{up}_{conv}", padding=1)
                x = functional.leaky_relu(x, LEAK)
        return self._convolve(x, "conv3", padding=1)

    def _encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features at 1/32, and the skips at 1/2, 1/4, 1/8 and 1/16."""
        from torch.nn import functional

        x = self._activate(self._convolve(x, "conv1_conv", stride=2, padding=3), "conv1_bn")
        skips = [x]  # conv1/relu
        # Keras pads with zeros, torch with -infinity; after a ReLU the maximum is the same.
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        skips.append(x)  # pool1
        for stage, depth in _BLOCKS.items():
            for block in _blocks(stage, depth):
                new = self._convolve(self._activate(x, f"{block}_0_bn"), f"{block}_1_conv")
                new = self._activate(new, f"{block}_1_bn")
                x = self._join(x, self._convolve(new, f"{block}_2_conv", padding=1))
            if stage != "conv5":
                pool = stage.replace("conv", "pool")
                x = self._convolve(self._activate(x, f"{pool}_bn"), f"{pool}_conv")
                x = functional.avg_pool2d(x, 2)
                if stage != "conv4":
                    skips.append(x)  # pool2_pool, pool3_pool
        return self._activate(x, "bn"), skips

    def _convolve(self, x: Tensor, layer: str, stride: int = 1, padding: int = 0) -> Tensor:
        from torch.nn import functional

        weights = self._weights[layer]
        return functional.conv2d(
            x, weights["kernel"], weights.get("bias"), stride=stride, padding=padding
        )

    def _activate(self, x: Tensor, layer: str) -> Tensor:
        """Batch normalisation by the stored statistics, then ReLU."""
        from torch.nn import functional

        weights = self._weights[layer]
        x = functional.batch_norm(
            x,
            weights["moving_mean"],
            weights["moving_variance"],
            weights["gamma"],
            weights["beta"],
            eps=EPSILON,
        )
        return functional.relu_(x)

    @staticmethod
    def _join(x: Tensor, other: Tensor) -> Tensor:
        import torch

        return torch.cat((x, other), dim=1)


def _blocks(stage: str, depth: int) -> Iterator[str]:
    return (f"{stage}_block{number}" for number in range(1, depth + 1))


def _conv(
    side: int, inputs: int, filters: int, *, bias: bool = False
) -> dict[str, tuple[int, ...]]:
    kernel = {"kernel": (side, side, inputs, filters)}
    return {**kernel, "bias": (filters,)} if bias else {**kernel}


def _norm(channels: int) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (channels,))
