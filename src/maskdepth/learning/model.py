"""The networks, behind one forward: the registry of presets.

Every preset is an ``nn.Module`` whose forward is::

    forward(picture, plate, plate_disparity, validity) -> outputs

    picture          (B, 3, H, W)  float, 0..1, RGB
    plate            (B, 3, H, W)  float, 0..1, RGB; of any content where the flag is 0
    plate_disparity  (B, 1, H, W)  float, 0..1, near = 1; of any content where the flag is 0
    validity         (B, 2)        float, 0 or 1: [has a plate, has a plate disparity]

    outputs["alpha_logits"]  (B, 1, H, W)  alpha is their sigmoid
    outputs["disparity"]     (B, 1, H, W)  raw: near = 1, far = 0, not clamped

A new preset is a module that keeps this contract and one entry in ``PRESETS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from maskdepth.errors import ConfigError
from maskdepth.inference.model.card import present_preset
from maskdepth.learning.prior import SIDE as PRIOR_SIDE
from maskdepth.learning.prior import PriorNetwork
from maskdepth.learning.small import SmallNetwork


@dataclass(frozen=True)
class Preset:
    """A network by name.

    Attributes:
        build: makes it, freshly initialised from torch's global generator.
        fixed_size: the only height and width it takes, or None for any size from 1 x 1.
        description: one line for help texts and model cards.
    """

    build: Callable[[], nn.Module]
    fixed_size: int | None
    description: str


PRESETS: dict[str, Preset] = {
    "prior": Preset(
        PriorNetwork,
        PRIOR_SIDE,
        "the prior work's ResNet-18 autoencoder, 224 x 224 only, for comparison",
    ),
    "small": Preset(
        SmallNetwork, None, "dense U-Net for CPUs: any size, plate and plate disparity optional"
    ),
}


def find_preset(name: str) -> Preset:
    """The preset of a name, which may be a former one."""
    name = present_preset(name)
    if name not in PRESETS:
        raise ConfigError(
            "the name of a preset",
            repr(name),
            f"use one of: {', '.join(sorted(PRESETS))}",
            f"There is no preset {name!r}.",
        )
    return PRESETS[name]


def build_model(name: str) -> nn.Module:
    """Make a preset's network; see ``find_preset``."""
    return find_preset(name).build()


def count_weights(model: nn.Module) -> int:
    """The number of trainable weights, without running statistics."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
