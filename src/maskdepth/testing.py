"""For the tests of programs that use maskdepth: a predictor without a network.

    from maskdepth.testing import FakeBackend

    backend = FakeBackend()
    predictor = backend.predictor()
    prediction = predictor.predict(picture, plate)  # foreground is where the two differ

All of prediction runs but the network, so sizes, types, errors and files are the real ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdepth._version import __version__
from maskdepth.inference.model.card import NETWORK_FILE, ModelCard
from maskdepth.inference.predictor import Predictor

__all__ = ["FakeBackend"]

Floats = NDArray[np.float32]


class FakeBackend:
    """Answers as a network would: foreground is what differs from the plate, and is near.

    Args:
        alpha: what to answer everywhere; None: 1 where a channel differs from the plate by more
            than 0.1, or everywhere without a plate.
        disparity: what to answer everywhere; None: from 0 in the top row to 1 in the lowest.

    Attributes:
        sizes: (height, width) of each picture the network would have run on, in their order.
    """

    def __init__(self, alpha: float | None = None, disparity: float | None = None) -> None:
        self._alpha, self._disparity = alpha, disparity
        self.sizes: list[tuple[int, int]] = []

    def run(
        self, picture: Floats, plate: Floats, plate_disparity: Floats, validity: Floats
    ) -> tuple[Floats, Floats]:
        """See `maskdepth.inference.model.backend.Backend.run`."""
        count, _, height, width = picture.shape
        self.sizes.append((height, width))
        shape = (count, 1, height, width)
        if self._alpha is not None:
            alpha = np.full(shape, self._alpha, np.float32)
        else:
            differs = np.abs(picture - plate).max(axis=1, keepdims=True) > 0.1
            no_plate = validity[:, :1, None, None] == 0
            alpha = (differs | no_plate).astype(np.float32)
        if self._disparity is not None:
            return alpha, np.full(shape, self._disparity, np.float32)
        rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        return alpha, np.ascontiguousarray(np.broadcast_to(rows, shape))

    def predictor(self, training_size: int = 224, **options: Any) -> Predictor:
        """A predictor that asks this backend.

        Args:
            training_size: side in pixels at which the network would run.
            options: ``register``, ``refine`` and ``close_up`` of `maskdepth.Predictor`.
        """
        card = ModelCard(
            preset="fake",
            fixed_size=None,
            training_size=training_size,
            depth="exact",
            maskdepth=__version__,
            sha256={NETWORK_FILE: "0" * 64},
            weights=0,
        )
        return Predictor(self, card, **options)
