"""Frames of one camera, one after another: a plate that is prepared once, and a state.

The predictor itself holds no state. `StreamState` is all that one frame leaves to the next; a
program that keeps it may stop, move to another process and go on.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maskdepth.images import PictureSource, load_picture
from maskdepth.inference.plate.loading import DisparitySource, PlateSource
from maskdepth.inference.plate.prepared import PreparedPlate
from maskdepth.inference.plate.registration import Registration

if TYPE_CHECKING:
    from maskdepth.inference.prediction import Prediction
    from maskdepth.inference.predictor import Predictor

__all__ = ["Stream", "StreamState"]


@dataclass(frozen=True, eq=False)
class StreamState:
    """What one frame of a stream leaves to the next. It can be pickled.

    Attributes:
        frames: number of frames so far.
        time_s: of the last frame, where it was given.
        registration: how the plate came onto the last frame.
        alpha, disparity: float32 (H, W), the last frame's layers.
    """

    frames: int = 0
    time_s: float | None = None
    registration: Registration | None = None
    alpha: NDArray[np.float32] | None = None
    disparity: NDArray[np.float32] | None = None

    def after(self, prediction: Prediction, time_s: float | None) -> StreamState:
        """The state once a frame has been predicted."""
        return StreamState(
            frames=self.frames + 1,
            time_s=time_s,
            registration=prediction.provenance.registration,
            alpha=prediction.alpha,
            disparity=prediction.disparity,
        )


class Stream:
    """The frames of one camera or connection. Make one with `Predictor.stream`.

    The plate is prepared with the first frame, and again when frames of another size arrive. Frames
    that several threads pass are predicted one after another.

    Args:
        predictor: predicts the frames; streams may share it.
        plate: the camera's plate, as in `Predictor.predict`; None without one.
        plate_disparity: as in `Predictor.prepare`.
    """

    def __init__(
        self,
        predictor: Predictor,
        plate: PlateSource | None = None,
        plate_disparity: DisparitySource | None = None,
    ) -> None:
        self._predictor = predictor
        self._lock = threading.Lock()
        self._state = StreamState()
        self._prepared: PreparedPlate | None = None
        self._plate, self._plate_disparity = plate, plate_disparity

    @property
    def state(self) -> StreamState:
        """What the last frame left."""
        return self._state

    def predict(self, frame: PictureSource, time_s: float | None = None) -> Prediction:
        """Predict the next frame.

        Args:
            frame: a path, encoded bytes, a PIL picture, or uint8 (H, W, 3) RGB.
            time_s: when it was taken, seconds from any start.

        Raises:
            MaskdepthError: as `Predictor.predict`; the stream then stays as it was.
        """
        with self._lock:
            pixels = load_picture(frame)
            plate = self._prepared_for((pixels.shape[0], pixels.shape[1]))
            prediction, self._state = self._predictor.step(pixels, plate, self._state, time_s)
            if isinstance(frame, (str, os.PathLike)):
                return prediction.of_file(Path(frame))
            return prediction

    def replace_plate(
        self, plate: PlateSource | None, plate_disparity: DisparitySource | None = None
    ) -> None:
        """Go on with another plate; the frames' state begins again."""
        with self._lock:
            self._plate, self._plate_disparity = plate, plate_disparity
            self._prepared, self._state = None, StreamState()

    def reset(self) -> None:
        """Forget the frames so far, as after a cut or a camera's move; the plate stays."""
        with self._lock:
            self._state = StreamState()

    def _prepared_for(self, size: tuple[int, int]) -> PreparedPlate | None:
        if self._plate is None:
            return None
        if self._prepared is None or self._prepared.size != size:
            disparity = self._plate_disparity
            self._prepared = self._predictor.prepare(self._plate, size, disparity=disparity)
            self._state = StreamState()
        return self._prepared
