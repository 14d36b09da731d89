"""The network that a model asks for the depth of plates, and of pictures without a plate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize
from maskdepth.inference.model.backend import Backend, run_network
from maskdepth.inference.model.card import ModelCard


@dataclass(frozen=True, eq=False)
class DepthNetwork:
    """A network that reads one picture alone.

    It has the inputs and outputs of any model's network, so that it is trained and exported in the
    same way. Where a model has none of its own, its one network does this work too.

    Attributes:
        backend: runs the network.
        card: describes it.
    """

    backend: Backend
    card: ModelCard

    def estimate(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Disparity of a picture, float32 (h, w) in [0, 1], near = 1, at the network's input size.

        Args:
            picture: uint8 (H, W, 3) RGB.

        Raises:
            ModelError: the network fails.
        """
        small_picture = resize(picture, *self.card.input_size(*picture.shape[:2]))
        return run_network(self.backend, small_picture)[1]
