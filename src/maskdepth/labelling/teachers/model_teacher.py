"""A maskdepth model as a teacher: the disparity that it predicts from a picture alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskdepth.inference.model.card import NETWORK_FILE
from maskdepth.inference.model.locate import SHIPPED
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.teachers.teacher import TeacherInfo


class ModelTeacher:
    """The model that comes with the package, see `maskdepth.labelling.teachers.teacher.Teacher`.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        WeightsNotShippedError: this installation lacks the model.
        UsageError: this machine lacks the device.
    """

    def __init__(self, device: str = "auto") -> None:
        self._predictor = Predictor.from_pretrained(device=device)
        card = self._predictor.card
        self.info = TeacherInfo(
            name=f"maskdepth-{SHIPPED}",
            version=card.sha256[NETWORK_FILE][:16],
            kind="disparity",
            units="relative",
            range=None,
            size=None,
            licence=str(card.about.get("licence") or "unknown"),
        )

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The disparity of each picture; see `maskdepth.labelling.teachers.teacher.Teacher`."""
        return [self._predictor.predict(picture).disparity for picture in pictures]
