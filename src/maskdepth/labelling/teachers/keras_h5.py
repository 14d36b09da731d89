"""Weights from Keras' HDF5 files, by the names of layers, without Keras or TensorFlow.

Three layouts are read; in each a layer has its name, and its place means nothing:

* a complete model (``model.save("x.h5")``): groups ``model_weights/<layer>/<layer>/kernel:0``;
* weights alone (``save_weights`` of Keras 2): the same without ``model_weights``;
* Keras 3's ``x.weights.h5``: groups ``layers/conv2d_12/vars/0`` with the layer's name as an
  attribute of ``vars``.

Nothing in such a file is run: the model's description is JSON, and is only read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import DependencyError, TeacherError
from maskdepth.records import Json

if TYPE_CHECKING:
    import h5py

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
Address = tuple[str, str]
"""Layer and weight."""

_REMEDY: Final = "take a file that Keras saved of this network, and check that it is complete"
# Keras up to 2.2 named DenseNet's first two layers with a slash, which HDF5 reads as a group.
_SLASHED: Final = re.compile(r"(^|/)conv1/(conv|bn)(?=/)")
_MAX_NAMES: Final = 3  # in an error


@dataclass(frozen=True)
class KerasFile:
    """The content of a file.

    Attributes:
        weights: float32 arrays by layer and weight.
        description: the model as Keras describes it in JSON; None where the file has weights
            alone.
    """

    weights: dict[str, dict[str, NDArray[np.float32]]]
    description: Any


class _UnfitError(Exception):
    """What was expected of a file, and what it holds instead."""


def read_keras_file(path: str | os.PathLike[str], shapes: Shapes) -> KerasFile:
    """All weights of a network with the given layers.

    Args:
        path: an HDF5 file in one of the layouts above.
        shapes: the expected shapes by layer and weight, a layer's weights in Keras' order.

    Raises:
        TeacherError: the file is none of Keras, is damaged, or has other layers, shapes or values
            than the network.
        DependencyError: h5py is not installed.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "h5py", "teacher") from None
    place = Path(path)
    if not place.is_file():
        got, problem = f"no file at {place}", f"There is no {place}."
        raise TeacherError("a Keras .h5 file", got, "check the path", problem)
    try:
        with h5py.File(place, "r") as file:
            arrays = _find(file, shapes)
            _check_layers(arrays, shapes)
            weights = {
                layer: {name: _values(arrays[layer, name]) for name in names}
                for layer, names in shapes.items()
            }
            return KerasFile(weights, _description(file))
    except _UnfitError as error:
        expected, got = error.args
        raise TeacherError(expected, f"{place}: {got}", _REMEDY) from None
    # A file that ends too early or is broken raises one of these, depending on the part.
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        problem = f"{place} is no complete HDF5 file: {reason}."
        raise TeacherError("a complete HDF5 file", reason, _REMEDY, problem) from None


def _find(file: h5py.File, shapes: Shapes) -> dict[Address, h5py.Dataset]:
    """Every array of the file, also of layers that the network lacks."""
    import h5py

    root = file.get("model_weights", file)
    if not isinstance(root, h5py.Group):
        raise _UnfitError("a group of weights", "'model_weights' is an array")
    arrays: dict[Address, h5py.Dataset] = {}

    def visit(raw: str | bytes, item: h5py.Group | h5py.Dataset) -> None:
        name = _text(raw)  # h5py gives bytes where a name is not UTF-8
        if not isinstance(item, h5py.Dataset) or name.startswith("optimizer"):
            return
        address = _address(name, item, shapes)
        if address in arrays:
            raise _UnfitError("every layer's weights once", f"{'/'.join(address)} twice")
        arrays[address] = item

    # visititems follows no links, so no other file is opened.
    root.visititems(visit)
    return arrays


def _address(name: str, item: h5py.Dataset, shapes: Shapes) -> Address:
    *groups, last = _SLASHED.sub(r"\1conv1_\2", name).split("/")
    if groups and groups[-1] == "vars" and last.isdecimal():
        layer = _text(item.parent.attrs.get("name", "/".join(groups[:-1])))
        weights = list(shapes.get(layer, ()))
        return layer, weights[int(last)] if int(last) < len(weights) else last
    # A model inside a model, and scopes such as conv2_1 below a layer's name, add groups: the
    # layer is the first group that is one.
    layer = next((group for group in groups if group in shapes), "/".join(groups[:1]))
    return layer, last.partition(":")[0]


def _check_layers(arrays: Mapping[Address, h5py.Dataset], shapes: Shapes) -> None:
    """Check that the file has exactly the network's layers, with its shapes."""
    wanted = {(layer, name): shape for layer in shapes for name, shape in shapes[layer].items()}
    missing = [address for address in wanted if address not in arrays]
    others = [address for address in arrays if address not in wanted]
    if missing or others:
        parts = [f"{len(arrays)} arrays"]
        parts += [f"without {_list(missing)}"] if missing else []
        parts += [f"with {_list(others)} besides"] if others else []
        first, last = next(iter(shapes)), list(shapes)[-1]
        raise _UnfitError(
            f"{len(wanted)} arrays of weights from {first} to {last}", ", ".join(parts)
        )
    for address, shape in wanted.items():
        item = arrays[address]
        if item.shape != shape or item.dtype.kind != "f":
            expected = f"{'/'.join(address)} as floats of shape {shape}"
            raise _UnfitError(expected, f"{item.dtype} of shape {item.shape}")


def _values(item: h5py.Dataset) -> NDArray[np.float32]:
    if item.external or item.is_virtual:
        raise _UnfitError("weights inside the file", f"{item.name} elsewhere")
    values = np.asarray(item[()], np.float32)
    if not np.isfinite(values).all():
        raise _UnfitError("finite weights", f"{item.name} has others")
    return values


def _description(file: h5py.File) -> Any:
    """The model's JSON description; None where there is none."""
    text = file.attrs.get("model_config")
    try:
        return None if text is None else json.loads(_text(text))
    except (ValueError, RecursionError):
        got = "a 'model_config' that is no JSON"
        raise _UnfitError("a model's description in JSON", got) from None


def described_layers(description: Any) -> Iterator[tuple[str, Json]]:
    """Class and settings of each layer in a model's description, of models within it too."""
    waiting = [description]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            kind, settings = item.get("class_name"), item.get("config")
            if isinstance(kind, str) and isinstance(settings, dict):
                yield kind, settings
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _list(addresses: list[Address]) -> str:
    named = ", ".join("/".join(address) for address in addresses[:_MAX_NAMES])
    more = len(addresses) - _MAX_NAMES
    return f"{named} and {more} more" if more > 0 else named
