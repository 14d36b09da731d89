"""Networks in 8 bits: made from an ONNX file and composites, and compared with that file.

Static quantisation with the ranges of calibration samples, as pairs of QuantizeLinear and
DequantizeLinear: activations unsigned, weights signed and scaled by channel. Signed activations
are slower than float32 on x86. The last convolutions of alpha and disparity, and all that follows
them, stay in float32: this takes 3 % more time and regains most of what 8 bits lose.
"""

from __future__ import annotations

from maskdepth.onnx_runtime import onnxruntime  # isort: skip - before its own submodules below

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from maskdepth.errors import MaskdepthError, ModelError, first_line
from maskdepth.files import write_bytes
from maskdepth.inference.model.backend import INPUTS, OUTPUTS, OnnxBackend
from maskdepth.learning.feed import Samples, place
from maskdepth.metrics import MASK_THRESHOLD, mask_metrics

# A convolutional network spends its time on some of these, and would convert to float32 and back
# at the others. Elsewhere 8 bits save nothing.
_QUANTISED: Final = [
    *("Conv", "Gemm", "MatMul", "Add", "Relu", "Resize", "Concat"),
    *("GlobalAveragePool", "ReduceMean"),
]

Feed = dict[str, NDArray[np.float32]]


def quantise_network(network: Path, output: Path, samples: Samples) -> None:
    """Write a network again with 8-bit convolutions; batch, height and width stay free.

    Args:
        network: a file of ``export_onnx``.
        samples: to calibrate on; some with and some without plate and plate disparity.
    """
    with tempfile.TemporaryDirectory(prefix="maskdepth-int8-") as name:
        prepared, draft = Path(name) / "prepared.onnx", Path(name) / "int8.onnx"
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # advice that does not apply here
        try:
            # Fuses norms into convolutions, else they would be rounded on their own.
            quant_pre_process(str(network), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(draft),
                _Reader(samples, _input_names(prepared)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_QUANTISED,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_heads(onnx.load(str(prepared)).graph),
                calibrate_method=CalibrationMethod.MinMax,
            )
        except MaskdepthError:  # of a sample, which says more than that the network failed
            raise
        except Exception as error:  # of several libraries, without a common base
            expected, got = "a network that can be quantised", first_line(error)
            problem = f"The network cannot be quantised: {got}."
            raise ModelError(expected, got, "use the fp32 network", problem) from error
        finally:
            logging.disable(before)
        write_bytes(output, draft.read_bytes())


@dataclass(frozen=True)
class Difference:
    """The absolute difference between two networks' maps, over all pixels."""

    mean: float
    max: float


@dataclass(frozen=True)
class SliceCost:
    """What 8 bits cost on some samples.

    Attributes:
        dice: means over pictures with a target, of ``"fp32"`` and ``"int8"``; empty without any.
        alpha, disparity: differences between the two networks.
    """

    pictures: int
    dice: dict[str, float]
    alpha: Difference
    disparity: Difference


def compare_networks(fp32: Path, int8: Path, samples: Samples) -> SliceCost:
    """Measure what 8 bits cost."""
    backends = {"fp32": OnnxBackend(fp32), "int8": OnnxBackend(int8)}
    dice: dict[str, list[float]] = {name: [] for name in backends}
    means: dict[str, list[float]] = {name: [] for name in OUTPUTS}
    largest = dict.fromkeys(OUTPUTS, 0.0)
    for feed, alpha in _feeds(samples):
        maps = {
            name: backend.run(*(feed[each] for each in INPUTS))
            for name, backend in backends.items()
        }
        if (alpha > MASK_THRESHOLD).any():
            for name, (pred_alpha, _) in maps.items():
                dice[name].append(mask_metrics(pred_alpha[0, 0], alpha)["dice"])
        for name, ours, theirs in zip(OUTPUTS, maps["int8"], maps["fp32"], strict=True):
            difference = np.abs(ours - theirs)
            means[name].append(float(difference.mean()))
            largest[name] = max(largest[name], float(difference.max()))
    alpha_difference, disparity_difference = (
        Difference(float(np.mean(means[name])), largest[name]) for name in OUTPUTS
    )
    return SliceCost(
        pictures=len(samples),
        dice={name: float(np.mean(values)) for name, values in dice.items() if values},
        alpha=alpha_difference,
        disparity=disparity_difference,
    )


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Samples one by one, as the calibration asks for them."""

    def __init__(self, samples: Samples, names: Sequence[str]) -> None:
        self._feeds = _feeds(samples)
        self._names = names

    def get_next(self) -> Feed | None:
        feed, _ = next(self._feeds, (None, None))
        return None if feed is None else {name: feed[name] for name in self._names}


def _feeds(samples: Samples) -> Iterator[tuple[Feed, NDArray[np.float32]]]:
    """Inputs of one sample as a batch of one, and its alpha (H, W)."""
    for index in range(len(samples)):
        sample = {
            name: value.numpy()
            for name, value in place(samples[index], torch.device("cpu")).items()
        }
        yield {name: sample[name][None] for name in INPUTS}, sample["alpha"][0]


def _input_names(network: Path) -> list[str]:
    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    return [node.name for node in session.get_inputs()]


def _heads(graph: onnx.GraphProto) -> list[str]:
    """Nodes from each output back to the last convolution before it, that one included."""
    makers = {output: node for node in graph.node for output in node.output}
    found: set[str] = set()
    waiting = list(OUTPUTS)
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in found:
            continue
        found.add(node.name)
        if node.op_type != "Conv":
            waiting.extend(node.input)
    return sorted(found)
