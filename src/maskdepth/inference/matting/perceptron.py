"""Perceptrons that correct alpha: features of a pixel in, a correction of its logit out."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import ModelError, first_line

__all__ = ["Perceptron", "logit_of"]

Floats = NDArray[np.float32]

_MIN_ALPHA: Final = 0.004  # of alpha, and of 1 - alpha, where its logit is taken


class Perceptron:
    """Linear layers with rectifiers between them; the last one's output corrects a logit.

    Args:
        content: the bytes of an ONNX file.
        widths: how many features each of its inputs takes.

    Raises:
        ModelError: the bytes are something else, or a network with other inputs or outputs.
    """

    def __init__(self, content: bytes, widths: tuple[int, ...]) -> None:
        from maskdepth.onnx_runtime import onnxruntime

        options = onnxruntime.SessionOptions()
        # One thread is as fast on so little work, and does not compete with the network's threads.
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            self._inputs = [item.name for item in self._session.get_inputs()]
            self._run([np.zeros((1, width), np.float32) for width in widths])
        # ONNX Runtime's errors have no common base of their own.
        except Exception as error:
            expected = f"a perceptron of {' and '.join(map(str, widths))} features"
            raise ModelError(expected, first_line(error), "install maskdepth again") from error

    def correct(self, alpha: Floats, *features: Floats) -> Floats:
        """Correct alpha.

        Args:
            alpha: (N,) in [0, 1].
            features: (N, width) of each input.

        Returns:
            (N,) in [0, 1].
        """
        correction = self._run(features)
        return np.asarray(1 / (1 + np.exp(-logit_of(alpha) - correction)), np.float32)

    def _run(self, features: tuple[Floats, ...] | list[Floats]) -> Floats:
        (correction,) = self._session.run(None, dict(zip(self._inputs, features, strict=True)))
        return np.asarray(correction[:, 0], np.float32)


def logit_of(alpha: Floats) -> Floats:
    """log(alpha / (1 - alpha)), with alpha kept away from 0 and 1."""
    alpha = np.clip(alpha, _MIN_ALPHA, 1 - _MIN_ALPHA)
    return np.asarray(np.log(alpha / (1 - alpha)), np.float32)
