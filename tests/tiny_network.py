"""A network so small that it is trained and exported at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TinyNetwork(nn.Module):
    """Two convolutions and a batch norm, with the forward of every preset."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(10, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.values = nn.Conv2d(4, 2, 1)

    def forward(
        self, picture: Tensor, plate: Tensor, plate_disparity: Tensor, validity: Tensor
    ) -> dict[str, Tensor]:
        x = torch.cat([picture, plate, plate_disparity, (picture - plate).abs()], dim=1)
        values = self.values(self.norm(self.features(x)).relu())
        return {"alpha_logits": values[:, :1], "disparity": values[:, 1:]}
