"""ONNX networks small enough to be written out by hand: of teachers, and like our own."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx


def write_network(
    path: Path,
    *,
    dtype: str = "float32",
    layout: str = "NHWC",
    sides: tuple[int | str, int | str] = (16, 16),
    batch: int | str = 1,
    map_layout: str = "NHW",
    **facts: Any,
) -> Path:
    """A network that means over the channels, red counting double, and the JSON beside it."""
    kind = {"float32": onnx.TensorProto.FLOAT, "uint8": onnx.TensorProto.UINT8}[dtype]
    shape = [batch, *sides, 3] if layout == "NHWC" else [batch, 3, *sides]
    axis = 3 if layout == "NHWC" else 1
    weights = np.array([0.5, 0.25, 0.25], np.float32)
    weights = weights.reshape((1, 1, 1, 3) if axis == 3 else (1, 3, 1, 1))
    keep = int(len(map_layout) == 4)
    nodes = [
        onnx.helper.make_node("Cast", ["picture"], ["real"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Mul", ["real", "weights"], ["weighted"]),
        onnx.helper.make_node("ReduceSum", ["weighted", "axis"], ["summed"], keepdims=keep),
        onnx.helper.make_node("Cast", ["summed"], ["depth"], to=kind),
    ]
    made = {"NHW": [batch, *sides], "NHWC": [batch, *sides, 1], "NCHW": [batch, 1, *sides]}[
        map_layout
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "mean",
        [onnx.helper.make_tensor_value_info("picture", kind, shape)],
        [onnx.helper.make_tensor_value_info("depth", kind, made)],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(np.array([axis]), "axis"),
        ],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    told_shape = "x".join("?" if isinstance(side, str) else str(side) for side in shape)
    told = {
        "model": path.name,
        "input": f"{dtype} {layout} RGB 0..255, {told_shape}",
        "output": f"{dtype} {map_layout}",
        "kind": "depth",
        "units": "metres",
        "licence": "MIT",
        **facts,
    }
    path.with_suffix(".json").write_text(json.dumps(told))
    return path


GAIN = 4.0
SHAPES = {"picture": 3, "plate": 3, "plate_disparity": 1}


def network(
    nodes: list[onnx.NodeProto], inputs: list[str], size: int | None = None, gain: float = GAIN
) -> bytes:
    """A network over some of the inputs, of any size or a fixed one."""
    height, width = (size, size) if size else ("H", "W")
    described = [
        onnx.helper.make_tensor_value_info(
            name,
            onnx.TensorProto.FLOAT,
            ["N", 2] if name == "validity" else ["N", SHAPES[name], height, width],
        )
        for name in inputs
    ]
    outputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 1, height, width])
        for name in ("alpha", "disparity")
    ]
    constants = {
        "gain": np.float32(gain),
        "low": np.float32(0),
        "high": np.float32(1),
        "channels": np.array([1], np.int64),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "planes": np.array([2, 3], np.int64),
    }
    used = {name for node in nodes for name in node.input}
    tensors = [
        onnx.numpy_helper.from_array(np.asarray(value), name)
        for name, value in constants.items()
        if name in used
    ]
    graph = onnx.helper.make_graph(nodes, "test", described, outputs, tensors)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@cache
def difference_network(size: int | None = None, gain: float = GAIN) -> bytes:
    """alpha = clip(mean |picture - plate| * gain), disparity = mean picture."""
    nodes = [
        onnx.helper.make_node("Sub", ["picture", "plate"], ["signed"]),
        onnx.helper.make_node("Abs", ["signed"], ["difference"]),
        onnx.helper.make_node("ReduceMean", ["difference", "channels"], ["mean"], keepdims=1),
        onnx.helper.make_node("Mul", ["mean", "gain"], ["scaled"]),
        onnx.helper.make_node("Clip", ["scaled", "low", "high"], ["alpha"]),
        onnx.helper.make_node("ReduceMean", ["picture", "channels"], ["disparity"], keepdims=1),
    ]
    return network(nodes, ["picture", "plate"], size, gain)
