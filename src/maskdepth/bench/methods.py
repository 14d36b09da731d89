"""Methods of predicting that are timed: networks on several engines, and a threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth._version import __version__
from maskdepth.evaluation.baselines import filtered_difference
from maskdepth.inference.model.backend import INPUTS, OUTPUTS, Backend, OnnxBackend
from maskdepth.inference.model.card import NO_DEPTH, ModelCard
from maskdepth.inference.model.folder import INT8_FILE, NETWORKS, WEIGHTS_FILE, load_model_folder
from maskdepth.inference.predictor import Predictor

Float = NDArray[np.float32]

ONNX: Final = "onnxruntime"
OPENVINO: Final = "openvino"
TORCH: Final = "torch"
DIFFERENCE: Final = "difference"
_PRIOR: Final = "prior"
_PRIOR_SIDE: Final = 224
_THRESHOLD: Final = 17  # of 255: tuned for JPEG, though any takes the same time
_MEDIAN_PX: Final = 3


@dataclass(frozen=True)
class Method:
    """A method of predicting: a network on an engine, or a threshold.

    Attributes:
        model: the model folder; None for ``prior``, whose weights do not matter here, and for the
            difference of picture and plate.
        engine: ``"onnxruntime"``, ``"openvino"``, ``"torch"`` or ``"difference"``.
        precision: ``"fp32"`` or ``"int8"``.
        fixed_size: side in pixels of the square the network needs, or None.
    """

    model: Path | None
    engine: str
    precision: str
    fixed_size: int | None

    @property
    def name(self) -> str:
        """The model's path, or the method's own name where it has no model folder."""
        return str(self.model) if self.model else _PRIOR if self.engine == TORCH else DIFFERENCE

    def network(self, height: int, width: int, threads: int | None) -> Callable[[], object]:
        """A call that runs the network alone on a pair of this size, with the plate's disparity."""
        backend, _ = self._open(threads)
        random = np.random.default_rng(0)
        picture = random.random((1, 3, height, width), np.float32)
        plate = random.random((1, 3, height, width), np.float32)
        disparity, validity = picture[:, :1], np.ones((1, 2), np.float32)
        return lambda: backend.run(picture, plate, disparity, validity)

    def predictor(self, height: int, width: int, threads: int | None) -> Callable[[], object]:
        """A call that makes a mask of a uint8 pair of this size."""
        picture, plate = _pair(height, width)
        if self.engine == DIFFERENCE:
            return lambda: filtered_difference(picture, plate, _MEDIAN_PX) > _THRESHOLD
        predictor = Predictor(*self._open(threads))
        return lambda: predictor.predict(picture, plate).mask

    def _open(self, threads: int | None) -> tuple[Backend, ModelCard]:
        if self.model is None:
            return _prior(threads)
        card = load_model_folder(self.model, self.precision)
        file = self.model / NETWORKS[self.precision]
        if self.engine == TORCH:
            return _torch(self.model / WEIGHTS_FILE, threads), card
        if self.engine == OPENVINO:
            return OpenVinoBackend(file, threads), card
        return OnnxBackend(file, "cpu", threads), card


def find_methods(models: Sequence[Path]) -> tuple[list[Method], list[str]]:
    """Every method that this machine has of predicting with these models.

    Returns:
        The methods, the first model's ONNX first, and sentences on those that are missing.

    Raises:
        ModelError: a model folder is damaged or missing.
    """
    found, missing = [], []
    engines = [ONNX] + ([OPENVINO] if _is_there(OPENVINO) else [])
    torch = all(map(_is_there, (TORCH, "safetensors", "accelerate")))
    for model in models:
        card = load_model_folder(model)
        for engine in engines:
            found.append(Method(model, engine, "fp32", card.fixed_size))
            if INT8_FILE in card.sha256:
                found.append(Method(model, engine, "int8", card.fixed_size))
        if INT8_FILE not in card.sha256:
            missing.append(f"{model.name} has no int8 network")
        if torch and (model / WEIGHTS_FILE).is_file():
            found.append(Method(model, TORCH, "fp32", card.fixed_size))
    if torch:
        found.append(Method(None, TORCH, "fp32", _PRIOR_SIDE))
    found.append(Method(None, DIFFERENCE, "uint8", None))
    missing += [] if torch else ["torch is not installed"]
    missing += [] if len(engines) > 1 else ["openvino is not installed"]
    return found, missing


class OpenVinoBackend:
    """The network of an ONNX file, run by OpenVINO on the processor, for the bench alone."""

    def __init__(self, path: Path, threads: int | None) -> None:
        import openvino

        settings: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        self._compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
        self._inputs = {name for port in self._compiled.inputs for name in port.names}

    def run(
        self, picture: Float, plate: Float, plate_disparity: Float, validity: Float
    ) -> tuple[Float, Float]:
        """Predict a batch; see `Backend.run`."""
        inputs = dict(zip(INPUTS, (picture, plate, plate_disparity, validity), strict=True))
        outputs = self._compiled({name: inputs[name] for name in inputs if name in self._inputs})
        alpha, disparity = (np.array(outputs[name], np.float32) for name in OUTPUTS)
        return alpha, disparity


def _is_there(module: str) -> bool:
    return find_spec(module) is not None


def _pair(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    plate = random.integers(0, 256, (height, width, 3), np.uint8)
    picture = plate.copy()
    picture[height // 4 : height // 2, width // 4 : width // 2] ^= 255
    return picture, plate


def _torch(weights: Path, threads: int | None) -> Backend:
    from maskdepth.learning.backend import TorchBackend, use_threads
    from maskdepth.learning.checkpoint import load_weights

    use_threads(threads)
    return TorchBackend(load_weights(weights)[0])


def _prior(threads: int | None) -> tuple[Backend, ModelCard]:
    from maskdepth.learning.backend import TorchBackend, use_threads
    from maskdepth.learning.model import build_model, count_weights

    use_threads(threads)
    model = build_model(_PRIOR)
    card = ModelCard(
        preset=_PRIOR,
        fixed_size=_PRIOR_SIDE,
        training_size=_PRIOR_SIDE,
        depth=NO_DEPTH,
        maskdepth=__version__,
        sha256={},
        weights=count_weights(model),
    )
    return TorchBackend(model), card
