"""Prediction by torch, to compare ONNX Runtime with."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from maskdepth.learning.export import PredictForward

Float = NDArray[np.float32]


class TorchBackend:
    """A network run eagerly on the CPU; see ``maskdepth.inference.model.backend.Backend``.

    Args:
        model: of ``maskdepth.learning.model``; it stays as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        self._network = PredictForward(copy.deepcopy(model)).to("cpu").eval()

    @torch.inference_mode()
    def run(
        self, picture: Float, plate: Float, plate_disparity: Float, validity: Float
    ) -> tuple[Float, Float]:
        """Predict a batch; see `Backend.run`."""
        given = (picture, plate, plate_disparity, validity)
        alpha, disparity = self._network(*(torch.from_numpy(x) for x in given))
        return alpha.numpy(), disparity.numpy()


def use_threads(threads: int | None) -> None:
    """Set the number of torch's CPU threads; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)
