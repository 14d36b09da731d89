"""Perceptrons that correct alpha: features of a pixel in, a correction of its logit out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import ModelError
from maskdepth.files import open_atomic

__all__ = ["ROWS", "Perceptron", "load_perceptrons", "logit_of", "save_perceptrons"]

Floats = NDArray[np.float32]

_REMEDY: Final = "install maskdepth again"
ROWS: Final = 16  # of one product: OpenBLAS starts threads from 2**18 multiplications on
_MIN_ALPHA: Final = 0.004  # of alpha, and of 1 - alpha, where its logit is taken


class Perceptron:
    """Linear layers with rectifiers between them; the last one's output corrects a logit.

    Args:
        layers: weights (inputs, outputs) and offsets (outputs,) of each; the last has one output.
        inputs: number of features that the first layer takes.

    Raises:
        ModelError: the layers do not fit one another or the features, or are not finite.
    """

    def __init__(self, layers: Sequence[tuple[Floats, Floats]], inputs: int) -> None:
        sizes = [inputs, *(len(offset) for _, offset in layers)]
        fits = all(
            weight.shape == pair
            and offset.shape == pair[1:]
            and np.isfinite(weight).all()
            and np.isfinite(offset).all()
            for (weight, offset), pair in zip(layers, pairwise(sizes), strict=True)
        )
        if not fits or sizes[-1] != 1:
            raise ModelError(
                f"layers from {inputs} features to one correction",
                " and ".join(str(weight.shape) for weight, _ in layers) or "none",
                _REMEDY,
            )
        self.layers = tuple(layers)
        self.inputs = inputs

    def correct(self, alpha: Floats, features: Floats) -> Floats:
        """Correct alpha.

        Args:
            alpha: (N,) in [0, 1].
            features: (N, inputs). With spare rows up to a multiple of `ROWS` no copy is made.

        Returns:
            (N,) in [0, 1].
        """
        # Products of few rows run on one thread, and do not compete with the network's threads.
        if spare := -len(features) % ROWS:
            features = np.pad(features, ((0, spare), (0, 0)))
        x = features.reshape(-1, ROWS, self.inputs)
        for weight, offset in self.layers[:-1]:
            x = x @ weight
            x += offset
            np.maximum(x, 0, out=x)
        weight, offset = self.layers[-1]
        correction = (x @ weight + offset).ravel()[: len(alpha)]
        return np.asarray(1 / (1 + np.exp(-logit_of(alpha) - correction)), np.float32)


def logit_of(alpha: Floats) -> Floats:
    """log(alpha / (1 - alpha)), with alpha kept away from 0 and 1."""
    alpha = np.clip(alpha, _MIN_ALPHA, 1 - _MIN_ALPHA)
    return np.asarray(np.log(alpha / (1 - alpha)), np.float32)


def save_perceptrons(path: Path, named: Mapping[str, Perceptron]) -> None:
    """Write perceptrons by name, as a file whose bytes `load_perceptrons` takes."""
    arrays: dict[str, Any] = {
        f"{name}.{kind}{number}": values
        for name, perceptron in named.items()
        for number, layer in enumerate(perceptron.layers)
        for kind, values in zip(("weight", "offset"), layer, strict=True)
    }
    with open_atomic(path) as file:
        np.savez(file, **arrays)


def load_perceptrons(content: bytes, inputs: Mapping[str, int]) -> dict[str, Perceptron]:
    """Read what `save_perceptrons` wrote.

    Args:
        content: the file's bytes.
        inputs: names of the perceptrons to read, with their numbers of features.

    Raises:
        ModelError: one of them is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            perceptrons = {
                name: [
                    (
                        archive[f"{name}.weight{n}"].astype(np.float32),
                        archive[f"{name}.offset{n}"].astype(np.float32),
                    )
                    for n in range(sum(key.startswith(f"{name}.weight") for key in archive.files))
                ]
                for name in inputs
            }
    # TypeError: a single array is no archive, and some kinds of values are no numbers.
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise ModelError(
            "the layers of an outline network", f"other bytes ({error})", _REMEDY
        ) from error
    return {name: Perceptron(layers, inputs[name]) for name, layers in perceptrons.items()}
