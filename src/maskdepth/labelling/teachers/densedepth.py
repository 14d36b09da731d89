"""DenseDepth as a teacher: metres from one picture, with the weights of a Keras file.

The network is our own, written from the paper (Alhashim and Wonka, "High Quality Monocular Depth
Estimation via Transfer Learning", 2018). The authors' code is under the GPL and no part of it is
here; whether their weights may be used is theirs to say.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.devices import pick_device
from maskdepth.errors import TeacherError
from maskdepth.files import file_checksum
from maskdepth.images import resize
from maskdepth.labelling.teachers.densedepth_network import (
    EPSILON,
    LEAK,
    STRIDE,
    DenseDepthNetwork,
    layer_shapes,
)
from maskdepth.labelling.teachers.keras_h5 import described_layers, read_keras_file
from maskdepth.labelling.teachers.published import UNKNOWN
from maskdepth.labelling.teachers.teacher import TeacherInfo

# Greatest depth of the data that the authors trained on, metres, and the size of its pictures.
NYU_M: Final = 10.0
KITTI_M: Final = 80.0
DENSEDEPTHS: Final = {"densedepth": NYU_M, "densedepth-kitti": KITTI_M}
"""The users' names of the two networks, and the greatest depth of each."""
_TRAINED_AT: Final = {NYU_M: (480, 640), KITTI_M: (384, 1280)}
# The network's values are greatest depth / depth. Its training data has none below 1, and none
# above 100, which is 10 cm of NYU's 10 m.
_VALUES: Final = (1.0, 100.0)
_LEAKY_LAYERS: Final = 8
_KERAS_ENLARGEMENT: Final = "UpSampling2D"
_REVISION: Final = 2  # of the arithmetic around the network; a change makes another teacher


class DenseDepth:
    """A `Teacher` of depth in metres.

    A picture is resized to about as many pixels as the network was trained with, at its own
    proportions and with sides that are multiples of 32; the map is resized back.

    Args:
        path: the Keras file: a complete model or its weights.
        max_depth_m: greatest depth of the data that the weights were trained on: ``NYU_M`` or
            ``KITTI_M``. The file does not say.
        align_corners: where the bilinear enlargements take their samples, see
            ``DenseDepthNetwork``. Left out, it is False for a file that describes Keras' own
            layer, and True for any other: the authors' network has a layer of its own, from a
            time when TensorFlow had no half-pixel centres.
        licence: of the weights, as their user has read it.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        TeacherError: the file is damaged, or of another network.
        UsageError: the device is not there.
        DependencyError: h5py or torch is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_depth_m: float = NYU_M,
        *,
        align_corners: bool | None = None,
        licence: str = UNKNOWN,
        device: str = "auto",
    ) -> None:
        names = {metres: name for name, metres in DENSEDEPTHS.items()}
        if max_depth_m not in names:
            raise TeacherError(
                f"a greatest depth of {NYU_M:g} m (NYU) or {KITTI_M:g} m (KITTI)",
                f"{max_depth_m:g} m",
                "say which data the weights were trained on",
            )
        device = pick_device(device, "teacher")
        file = read_keras_file(path, layer_shapes())
        kinds = _check_description(file.description, Path(path))
        if align_corners is None:
            align_corners = _KERAS_ENLARGEMENT not in kinds
        self._network = DenseDepthNetwork(file.weights, align_corners=align_corners, device=device)
        self._pixels = math.prod(_TRAINED_AT[max_depth_m])
        self._max_depth_m = max_depth_m
        low, high = _VALUES
        self.info = TeacherInfo(
            name=names[max_depth_m],
            version=_version(Path(path), max_depth_m, align_corners),
            kind="depth",
            units="metres",
            range=(max_depth_m / high, max_depth_m / low),
            size=None,
            licence=licence,
        )

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Depth of each picture, float32 (H, W) metres within ``info.range``."""
        return [self._predict(picture) for picture in pictures]

    def _predict(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = picture.shape[:2]
        resized = resize(picture, *working_size(height, width, self._pixels))
        values = self._network.predict(np.divide(resized, 255, dtype=np.float32)[None])[0]
        return depth_from_values(resize(values, height, width), self._max_depth_m)


def depth_from_values(values: NDArray[np.float32], max_depth_m: float) -> NDArray[np.float32]:
    """Metres of the network's values, which are greatest depth / depth.

    Clipped before the division, since a value of zero or less means beyond the farthest, not
    behind the camera. NaN stays NaN.
    """
    return np.asarray(max_depth_m / np.clip(values, *_VALUES), np.float32)


def working_size(height: int, width: int, pixels: int) -> tuple[int, int]:
    """Height and width near a picture's proportions and near ``pixels``, multiples of 32."""
    scale = math.sqrt(pixels / (height * width))
    sides = (max(1, round(side * scale / STRIDE)) * STRIDE for side in (height, width))
    return next(sides), next(sides)


def _version(path: Path, max_depth_m: float, align_corners: bool) -> str:
    """Changes with the weights and with every option that decides the map."""
    decisive = f"{_REVISION} {max_depth_m:g} {align_corners:d} {file_checksum(path)}"
    return hashlib.sha256(decisive.encode()).hexdigest()[:16]


def _check_description(description: object, path: Path) -> frozenset[str]:
    """Check the parts of the network that leave no trace in the weights' names and shapes.

    With another slope, epsilon or kind of enlargement the network would run and be wrong.

    Returns:
        The classes of the layers; none where the file does not describe its model.
    """
    if description is None:
        return frozenset()
    leaky, kinds = 0, set()
    for kind, settings in described_layers(description):
        kinds.add(kind)
        if kind == "LeakyReLU":
            leaky += 1
            slope = settings.get("negative_slope", settings.get("alpha"))
            _check_number("leaky ReLUs of slope", LEAK, slope, path)
        elif kind.startswith("BatchNormalization"):
            epsilon = settings.get("epsilon")
            _check_number("batch normalisation with epsilon", EPSILON, epsilon, path)
        elif kind == _KERAS_ENLARGEMENT and settings.get("interpolation") != "bilinear":
            got = f"{path}: {settings.get('interpolation')}"
            raise TeacherError("bilinear enlargement", got, "take the weights of DenseDepth")
    if leaky != _LEAKY_LAYERS:
        got = f"{path}: {leaky}"
        raise TeacherError(f"{_LEAKY_LAYERS} leaky ReLUs", got, "take the weights of DenseDepth")
    return frozenset(kinds)


def _check_number(name: str, expected: float, got: object, path: Path) -> None:
    if not isinstance(got, int | float) or not math.isclose(got, expected, rel_tol=1e-3):
        raise TeacherError(
            f"{name} {expected:g}", f"{path}: {got}", "take the weights of DenseDepth"
        )
