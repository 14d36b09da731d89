"""DenseDepth assembled with Keras' own DenseNet-169, as an oracle for ours.

Started by test_densedepth.py in a process of its own, with the backend in KERAS_BACKEND: importing
Keras changes the process (its backend, its logging), and other tests are not to meet that.

    python keras_densedepth.py FOLDER

writes the same random network as ``model.h5`` (model.save), ``legacy.h5`` (weights alone, laid out
and spelt as by Keras 2's save_weights) and ``named.weights.h5`` (Keras 3's save_weights), with
``input.npy`` (B, H, W, 3) in [0, 1] and ``output.npy`` (B, H / 2, W / 2, 1); ``aligned.npy``, the
same but with enlargements that align corners; and of one picture enlarged fourfold to the size
of training ``photo.npy`` uint8 (24, 32, 3) and ``photo_output.npy`` (1, 48, 64, 1).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

SKIPS = ("pool3_pool", "pool2_pool", "pool1", "conv1_relu")


class AlignedUpSampling2D(keras.layers.Layer):
    """Twice the size, bilinear, corner pixels on corner pixels: by NumPy's own interpolation."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        rows, columns = (self._weights_of(side) for side in x.shape[1:3])
        return keras.ops.einsum("ph,bhwc,qw->bpqc", rows, x, columns)

    @staticmethod
    def _weights_of(side: int) -> np.ndarray:
        """(2 side, side): what each sample takes of each pixel."""
        places, pixels = np.linspace(0, side - 1, 2 * side), np.arange(side)
        taken = [np.interp(places, pixels, np.eye(side)[pixel]) for pixel in pixels]
        return np.stack(taken, axis=1).astype(np.float32)


def keras_own() -> keras.layers.Layer:
    return keras.layers.UpSampling2D(interpolation="bilinear")


def assemble(
    enlargement: Callable[[], keras.layers.Layer] = keras_own,
    size: tuple[int | None, int | None] = (None, None),
) -> keras.Model:
    encoder = keras.applications.DenseNet169(
        include_top=False, weights=None, input_shape=(*size, 3)
    )
    x = encoder.output
    x = keras.layers.Conv2D(1664, 1, padding="same", name="conv2")(x)
    for number, skip in enumerate(SKIPS, 1):
        x = enlargement()(x)
        x = keras.layers.Concatenate()([x, encoder.get_layer(skip).output])
        for conv in ("convA", "convB"):
            layer = keras.layers.Conv2D(
                1664 // 2**number, 3, padding="same", name=f"up{number}_{conv}"
            )
            x = keras.layers.LeakyReLU(negative_slope=0.2)(layer(x))
    x = keras.layers.Conv2D(1, 3, padding="same", name="conv3")(x)
    return keras.Model(encoder.input, x)


def randomise(model: keras.Model, rng: np.random.Generator) -> None:
    """Every weight random, in the size that keeps the signal's: none may be left at 0 or 1."""
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if weight.name == "kernel":
                spread = np.sqrt(2 / np.prod(shape[:3]))
                values.append(rng.normal(0, spread, shape).astype(np.float32))
            elif weight.name in ("gamma", "moving_variance"):
                values.append(rng.uniform(0.5, 1.5, shape).astype(np.float32))
            else:  # bias, beta, moving_mean
                values.append(rng.normal(0, 0.2, shape).astype(np.float32))
        if values:
            layer.set_weights(values)


def spell_as_keras_2(file: h5py.File) -> None:
    """Rename in place: ``conv1_conv/conv1_conv/kernel`` -> ``conv1/conv/conv1/conv/kernel:0``."""
    names: list[str] = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    for name in names:
        old = name.replace("conv1_conv/", "conv1/conv/").replace("conv1_bn/", "conv1/bn/")
        file.move(name, f"{old}:0")
    for emptied in ("conv1_conv", "conv1_bn"):
        del file[emptied]


def main(folder: Path) -> None:
    rng = np.random.default_rng(7)
    model = assemble()
    randomise(model, rng)
    # The values of depths from a tenth to a third of the greatest, so that clipping leaves them.
    kernel, bias = model.get_layer("conv3").get_weights()
    model.get_layer("conv3").set_weights([kernel, bias + 8])
    pictures = rng.uniform(0, 1, (2, 64, 96, 3)).astype(np.float32)
    np.save(folder / "input.npy", pictures)
    np.save(folder / "output.npy", model.predict(pictures, verbose=0))
    aligned = assemble(AlignedUpSampling2D, (64, 96))
    aligned.set_weights(model.get_weights())
    np.save(folder / "aligned.npy", aligned.predict(pictures, verbose=0))
    photo = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    np.save(folder / "photo.npy", photo)
    enlarged = cv2.resize(photo, (128, 96), interpolation=cv2.INTER_LINEAR)
    values = model.predict(enlarged[None] / np.float32(255), verbose=0)
    np.save(folder / "photo_output.npy", values)
    model.save(folder / "model.h5")
    model.save_weights(folder / "named.weights.h5")
    with h5py.File(folder / "legacy.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
        spell_as_keras_2(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
