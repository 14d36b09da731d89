"""Export networks to ONNX, and check that the file computes the same."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from maskdepth.errors import ModelError, first_line
from maskdepth.files import write_bytes
from maskdepth.inference.model.backend import INPUTS, OUTPUTS, OnnxBackend
from maskdepth.learning.model import find_preset

OPSET = 20

_EXAMPLE_SIZE = (96, 128)  # height and width to trace a network of free size with
_BATCH = 2


class PredictForward(nn.Module):
    """A network with the outputs of prediction: alpha and disparity in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, picture: Tensor, plate: Tensor, plate_disparity: Tensor, validity: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Inputs of ``maskdepth.learning.model`` to alpha, disparity: (B, 1, H, W) in [0, 1]."""
        outputs = self.network(picture, plate, plate_disparity, validity)
        return outputs["alpha_logits"].sigmoid(), outputs["disparity"].clamp(0, 1)


def export_onnx(model: nn.Module, preset_name: str, path: Path) -> None:
    """Write a network as one ONNX file, with batch, height and width free where they may be.

    Inputs are named as in ``INPUTS``, outputs as in ``OUTPUTS``: alpha and disparity,
    (B, 1, H, W) float32 in [0, 1]. The model stays as it is: mode, device, type.

    Raises:
        ConfigError: there is no preset of that name.
        ModelError: the network cannot be traced.
        StorageError: the file cannot be written; an older one stays.
    """
    fixed = find_preset(preset_name).fixed_size
    height, width = _EXAMPLE_SIZE if fixed is None else (fixed, fixed)
    free = {0: "batch"}
    free_size = free if fixed else {0: "batch", 2: "height", 3: "width"}
    try:
        with _silence():
            program = torch.onnx.export(
                _fold_norms(_prepared(model)),
                _example(height, width),
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                dynamic_shapes=(free_size, free_size, free_size, free),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        expected, got = "a network that can be traced for ONNX", first_line(error)
        remedy = "keep Python control flow on tensor values out of its forward"
        problem = f"The network cannot be traced for ONNX: {got}."
        raise ModelError(expected, got, remedy, problem) from error
    assert program is not None
    network = program.model_proto
    _remove_metadata(network)
    write_bytes(path, network.SerializeToString())


def check_parity(
    model: nn.Module,
    preset_name: str,
    path: Path,
    sizes: Sequence[tuple[int, int]] = ((224, 224), (160, 208)),
    tolerance: float = 1e-3,
) -> float:
    """Compare an ONNX file with its network on random pictures.

    Args:
        model: the network that the file was made from.
        preset_name: its preset; a fixed size of the preset replaces ``sizes``.
        sizes: heights and widths to compare at.
        tolerance: the largest accepted difference of alpha or disparity, of a range of 1.

    Returns:
        The largest difference.

    Raises:
        ConfigError: there is no preset of that name.
        ModelError: the file cannot be loaded, or differs by more than ``tolerance``.
    """
    fixed = find_preset(preset_name).fixed_size
    backend = OnnxBackend(path)
    prepared = _prepared(model)
    largest = 0.0
    for height, width in sizes if fixed is None else [(fixed, fixed)]:
        inputs = _example(height, width)
        with torch.no_grad():
            expected = prepared(*inputs)
        actual = backend.run(*(tensor.numpy() for tensor in inputs))
        for name, ours, theirs in zip(OUTPUTS, expected, actual, strict=True):
            difference = float(np.abs(ours.numpy() - theirs).max())
            if not difference <= tolerance:  # NaN is a difference too
                raise ModelError(
                    f"an ONNX file within {tolerance:g} of its network",
                    f"a difference of {difference:g} in {name} at {width} x {height}",
                    "export the model again",
                )
            largest = max(largest, difference)
    return largest


def _remove_metadata(network: onnx.ModelProto) -> None:
    """Remove the exporter's notes on where in the source code each value comes from.

    They hold file names of the machine that exported, and no runtime reads them.
    """
    graph = network.graph
    for part in (network, graph, *graph.node, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        value.ClearField("metadata_props")


def _prepared(model: nn.Module) -> PredictForward:
    """A copy on the CPU, in float32 and evaluation mode."""
    return PredictForward(copy.deepcopy(model)).to("cpu", torch.float32).eval()


def _fold_norms(network: nn.Module) -> nn.Module:
    """Fuse each batch norm into the convolution before it, in place.

    The exporter would do the same, in a quarter more time.
    """
    for module in list(network.modules()):
        for (name, layer), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, norm_name, nn.Identity())
    return network


def _example(height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random inputs; the second sample has neither plate nor plate disparity."""
    random = torch.Generator().manual_seed(0)
    return (
        torch.rand(_BATCH, 3, height, width, generator=random),
        torch.rand(_BATCH, 3, height, width, generator=random),
        torch.rand(_BATCH, 1, height, width, generator=random),
        torch.tensor([[1.0, 1.0], [0.0, 0.0]]),
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's progress, log and warnings off stdout and stderr."""
    nothing = io.StringIO()
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nothing),
            contextlib.redirect_stderr(nothing),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
