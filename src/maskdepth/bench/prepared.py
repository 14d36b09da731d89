"""What a whole prediction with a prepared plate costs beside the network alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.bench.methods import Method
from maskdepth.bench.timing import time_in_turn
from maskdepth.inference.predictor import Predictor
from maskdepth.records import Json

PREPARED_SIZES: Final = ((224, 224), (720, 1280), (1080, 1920), (2160, 3840))
_NETWORK_SIDE: Final = 224
NOISE: Final = 2.0  # levels, of picture and plate: a camera's
_WAVES: Final = 7  # around the object's outline

Picture = NDArray[np.uint8]


def bench_prepared(
    method: Method, runs: int, threads: int | None, sizes: Sequence[tuple[int, int]]
) -> Json:
    """The time of whole predictions, in multiples of the network's at 224 x 224 in the same run.

    Args:
        method: whose network and model folder are used.
        runs: timed runs of each.
        threads: CPU threads, all cores if left out.
        sizes: heights and widths of the pictures: a drawn object of a tenth of the frame before its
            plate, with a camera's noise.

    Returns:
        ``network_ms``, a median; ``whole``: of each size its ``median_ms`` and its ``ratio``.
    """
    predictor = Predictor.from_pretrained(method.model, threads=threads)
    calls = [method.network(_NETWORK_SIDE, _NETWORK_SIDE, threads)]
    for size in sizes:
        picture, plate = draw_pair(*size)
        prepared = predictor.prepare(plate, size)
        calls.append(
            lambda picture=picture, prepared=prepared: predictor.predict(picture, prepared)  # type: ignore[misc]
        )
    network_ms, *medians = (float(np.median(each)) for each in time_in_turn(calls, runs))
    rows = [
        {"height": height, "width": width, "median_ms": median, "ratio": median / network_ms}
        for (height, width), median in zip(sizes, medians, strict=True)
    ]
    return {"network_ms": network_ms, "whole": rows}


def draw_pair(height: int, width: int) -> tuple[Picture, Picture]:
    """An object with a wavy outline before a textured plate, and the plate: uint8 (H, W, 3)."""
    random = np.random.default_rng(0)
    plate, colours, alpha = draw_layers(height, width, random)
    first, second = (
        np.clip(each + random.normal(0, NOISE, each.shape), 0, 255).round().astype(np.uint8)
        for each in (plate + alpha * (colours - plate), plate)
    )
    return first, second


def draw_layers(
    height: int, width: int, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """What a picture is drawn of, without noise.

    Returns:
        The plate and the object's colours, float32 (H, W, 3) in levels, and its alpha, float32 (H,
        W, 1) in [0, 1].
    """
    plate, colours = (
        np.asarray(
            cv2.resize(_draw_texture(random), (width, height), interpolation=cv2.INTER_CUBIC),
            np.float32,
        )
        for _ in range(2)
    )
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y - height * 0.55, (x - width * 0.45) * 1.6
    radius = height * (0.24 + 0.02 * np.sin(_WAVES * np.arctan2(y, x)))
    alpha = np.clip(radius - np.hypot(y, x) + 0.5, 0, 1)[..., None]
    return plate, 255 - colours, np.asarray(alpha, np.float32)


def _draw_texture(random: np.random.Generator) -> NDArray[np.float32]:
    """Blotches of several sizes, float32 (360, 640, 3)."""
    layers = [
        cv2.resize(random.uniform(0, 1, (rows, 2 * rows, 3)), (640, 360)) * weight
        for rows, weight in ((3, 90), (12, 60), (60, 40))
    ]
    return np.asarray(sum(layers), np.float32)
