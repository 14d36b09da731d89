"""What runs a network: the protocol of all backends, and ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.devices import pick_providers
from maskdepth.errors import ModelError, UsageError, first_line

__all__ = ["INPUTS", "OUTPUTS", "Backend", "OnnxBackend", "run_network"]

Float = NDArray[np.float32]

INPUTS = ("picture", "plate", "plate_disparity", "validity")
OUTPUTS = ("alpha", "disparity")
_MAX_THREADS = max(64, os.cpu_count() or 1)  # starting thousands takes minutes


class Backend(Protocol):
    """What a `Predictor` needs of a network, however it is run."""

    def run(
        self, picture: Float, plate: Float, plate_disparity: Float, validity: Float
    ) -> tuple[Float, Float]:
        """Predict a batch.

        Args:
            picture: float32 (N, 3, H, W) in [0,1], RGB.
            plate: float32 (N, 3, H, W) in [0,1], RGB; zeros where there is none.
            plate_disparity: float32 (N, 1, H, W) in [0,1]; zeros where there is none.
            validity: float32 (N, 2), 1 or 0: has a plate, has a plate disparity.

        Returns:
            alpha and disparity, each float32 (N, 1, H, W) in [0,1].
        """
        ...


def run_network(
    backend: Backend,
    picture: NDArray[np.uint8],
    plate: NDArray[np.uint8] | None = None,
    plate_disparity: Float | None = None,
) -> tuple[Float, Float]:
    """Alpha and disparity of one picture, each float32 (H, W) in [0, 1].

    Args:
        picture, plate: uint8 (H, W, 3) RGB.
        plate_disparity: float32 (H, W) in [0, 1].

    Raises:
        ModelError: the network fails, or answers with another size or values that are not finite.
    """
    size = picture.shape[:2]
    outputs = backend.run(
        _to_batch(picture),
        np.zeros((1, 3, *size), np.float32) if plate is None else _to_batch(plate),
        np.zeros((1, 1, *size), np.float32)
        if plate_disparity is None
        else plate_disparity[None, None],
        np.array([[plate is not None, plate_disparity is not None]], np.float32),
    )
    for name, value in zip(OUTPUTS, outputs, strict=True):
        if value.shape != (1, 1, *size) or not np.isfinite(value).all():
            raise ModelError(
                f"finite {name} of shape {(1, 1, *size)}",
                f"shape {value.shape}, or values that are not finite",
                "train the model again, or use another one",
                f"The network's {name} has the wrong size, or values that are not finite.",
            )
    alpha, disparity = (np.clip(value[0, 0], 0, 1).astype(np.float32) for value in outputs)
    return alpha, disparity


class OnnxBackend:
    """The network of an ONNX file, run by ONNX Runtime.

    The file's inputs are some of ``picture plate plate_disparity validity``, its outputs
    ``alpha`` and ``disparity``.

    Args:
        path: the ONNX file.
        device: ``"auto"`` (the GPU if this ONNX Runtime has one, else the CPU), ``"cpu"``,
            ``"cuda"`` or ``"mps"``.
        threads: CPU threads, all cores if left out.
        keep_memory: whether memory is kept for later runs, see `Predictor.from_pretrained`.

    Raises:
        UsageError: an unknown device, one that this ONNX Runtime cannot use, or no threads.
        ModelError: the file is not a network of this kind.
    """

    def __init__(
        self,
        path: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        *,
        keep_memory: bool = True,
    ) -> None:
        self._session = _open_session(Path(path), device, threads, keep_memory)
        inputs = [item.name for item in self._session.get_inputs()]
        outputs = [item.name for item in self._session.get_outputs()]
        if "picture" not in inputs or set(inputs) - set(INPUTS) or set(OUTPUTS) - set(outputs):
            raise ModelError(
                f"a network with inputs {', '.join(INPUTS)} and outputs {', '.join(OUTPUTS)}",
                f"{path} with {', '.join(inputs)} and {', '.join(outputs)}",
                "export it with maskdepth",
            )
        self._inputs = inputs
        self._arguments = (path, device, threads, keep_memory)

    def __reduce__(self) -> tuple[object, ...]:
        # A session cannot travel; the copy opens the file again.
        return _open_backend, self._arguments

    def run(
        self, picture: Float, plate: Float, plate_disparity: Float, validity: Float
    ) -> tuple[Float, Float]:
        """Predict a batch; see `Backend.run`.

        Raises:
            ModelError: the network cannot take this size, or not enough memory is left.
        """
        given = dict(zip(INPUTS, (picture, plate, plate_disparity, validity), strict=True))
        try:
            alpha, disparity = self._session.run(
                list(OUTPUTS), {name: given[name] for name in self._inputs}
            )
        # ONNX Runtime's errors have no common base of their own.
        except Exception as error:
            height, width = picture.shape[2:]
            raise ModelError(
                f"a network that takes {width}x{height} pixels",
                first_line(error),
                "free some memory, or check `fixed_size` in the model's card",
            ) from error
        return alpha, disparity


def _to_batch(pixels: NDArray[np.uint8]) -> Float:
    """uint8 (H, W, 3) to float32 (1, 3, H, W) in [0,1]."""
    batch = np.empty((1, 3, *pixels.shape[:2]), np.float32)
    for plane, channel in zip(batch[0], cv2.split(pixels), strict=True):
        np.divide(channel, np.float32(255), out=plane)
    return batch


def _open_backend(
    path: str | Path, device: str, threads: int | None, keep_memory: bool
) -> OnnxBackend:
    return OnnxBackend(path, device, threads, keep_memory=keep_memory)


def _open_session(path: Path, device: str, threads: int | None, keep_memory: bool) -> Any:
    from maskdepth.onnx_runtime import onnxruntime

    if threads is not None and (threads != int(threads) or not 1 <= threads <= _MAX_THREADS):
        raise UsageError(
            f"1 to {_MAX_THREADS} threads",
            repr(threads),
            "leave --threads out for all cores",
            f"{threads!r} is not a number of threads from 1 to {_MAX_THREADS}.",
        )
    providers = pick_providers(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    # Between two runs its threads would otherwise occupy the cores, which registration needs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Both keep memory, and plans for it, of every size of input that a run has had.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = keep_memory
    options.log_severity_level = 3  # stderr is ours; errors still show
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    # ONNX Runtime's errors have no common base of their own.
    except Exception as error:
        raise ModelError(
            f"an ONNX network in {path}",
            first_line(error),
            "copy the entire model folder again, or export the model again",
        ) from error
