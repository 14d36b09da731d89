"""Frames of one camera, one after another, before a plate that is prepared once.

Each frame is predicted alone, and then steadied where the picture stands still (see
`maskdepth.inference.steady`). `StreamState` records how many there were and what the last one gave.
The predictor itself holds no state, so a program may keep the state, stop, and go on in another
process.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maskdepth.images import PictureSource, load_picture
from maskdepth.inference.plate.loading import (
    DisparitySource,
    PlateSource,
    load_plate,
    path_of,
)
from maskdepth.inference.plate.prepared import PreparedPlate
from maskdepth.inference.plate.registration import Registration

if TYPE_CHECKING:
    from maskdepth.inference.prediction import Prediction
    from maskdepth.inference.predictor import Predictor
    from maskdepth.inference.steady import SteadyState

__all__ = ["Stream", "StreamState"]


@dataclass(frozen=True, eq=False)
class StreamState:
    """What the frames of a stream have given so far. It can be pickled.

    Attributes:
        frames: number of frames.
        time_s: when the last frame was taken; None if the caller did not say.
        registration: how the plate was moved and relit to match the last frame.
        alpha, disparity: float32 (H, W), of the last frame.
        steady: what steadying reads of the frames before; None where it is switched off.
    """

    frames: int = 0
    time_s: float | None = None
    registration: Registration | None = None
    alpha: NDArray[np.float32] | None = None
    disparity: NDArray[np.float32] | None = None
    steady: SteadyState | None = None

    def after(
        self, prediction: Prediction, time_s: float | None, steady: SteadyState | None = None
    ) -> StreamState:
        """The state after one more frame."""
        return StreamState(
            frames=self.frames + 1,
            time_s=time_s,
            registration=prediction.provenance.registration,
            alpha=prediction.alpha,
            disparity=prediction.disparity,
            steady=steady,
        )


class Stream:
    """The frames of one camera or connection. Make one with `Predictor.stream`.

    The plate is read at once, prepared for the first frame, and prepared again for frames of
    another size. Frames that several threads pass are predicted one after another.

    Args:
        predictor: predicts the frames; streams may share it.
        plate: the camera's plate, as in `Predictor.predict`; None without one.
        plate_disparity: as in `Predictor.prepare`.
        steady: as in `Predictor.step`.

    Raises:
        PictureError, PlateError, UsageError: the plate or its disparity cannot be read, or there
            is a disparity without a plate.
    """

    def __init__(
        self,
        predictor: Predictor,
        plate: PlateSource | None = None,
        plate_disparity: DisparitySource | None = None,
        *,
        steady: bool = True,
    ) -> None:
        self._predictor = predictor
        self._steady = steady
        self._lock = threading.Lock()
        self._state = StreamState()
        self._prepared: PreparedPlate | None = None
        self._plate, self._plate_disparity = load_plate(plate, plate_disparity)

    @property
    def state(self) -> StreamState:
        """The state after the last frame."""
        return self._state

    def predict(self, frame: PictureSource, time_s: float | None = None) -> Prediction:
        """Predict the next frame.

        Args:
            frame: a path, encoded bytes, a PIL picture, or uint8 (H, W, 3) RGB.
            time_s: when it was taken, seconds from any start.

        Raises:
            MaskdepthError: as `Predictor.predict`; the frame is then not counted.
        """
        with self._lock:
            pixels = load_picture(frame)
            plate = self._prepare((pixels.shape[0], pixels.shape[1]))
            prediction, self._state = self._predictor.step(
                pixels, plate, self._state, time_s, steady=self._steady
            )
        file = path_of(frame)
        return prediction if file is None else prediction.with_picture_file(file)

    def replace_plate(
        self, plate: PlateSource | None, plate_disparity: DisparitySource | None = None
    ) -> None:
        """Go on with another plate, and with a new state.

        Raises:
            PictureError, PlateError, UsageError: as for a new stream; the plate of before stays.
        """
        loaded = load_plate(plate, plate_disparity)
        with self._lock:
            self._plate, self._plate_disparity = loaded
            self._prepared, self._state = None, StreamState()

    def reset(self) -> None:
        """Begin a new state, as after a cut or when the camera was moved; the plate stays."""
        with self._lock:
            self._state = StreamState()

    def _prepare(self, size: tuple[int, int]) -> PreparedPlate | None:
        """The plate, prepared for frames of a size; a new size begins a new state."""
        if self._plate is None:
            return None
        if self._prepared is None or self._prepared.size != size:
            disparity = self._plate_disparity
            self._prepared = self._predictor.prepare(self._plate, size, disparity=disparity)
            self._state = StreamState()
        return self._prepared
