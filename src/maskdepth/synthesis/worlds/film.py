"""The camera's part of a picture: focus, exposure, tone curve, lens, shake, noise, compression."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds.textures import Array

_BLURS = 3  # blurred copies between which the defocused picture is mixed


def _grey(colour: Array) -> Array:
    """Means of three channels, (..., 3) to (..., 1); NumPy's own take five times as long."""
    return np.asarray((colour[..., :1] + colour[..., 1:2] + colour[..., 2:]) / np.float32(3))


def develop(colour: Array, rng: np.random.Generator, exposure: float, cast: float = 0.05) -> Array:
    """Exposed, tone-mapped sRGB in [0, 1] of linear light, each of any shape (..., 3).

    The curve is Reinhard's with a white point (2002, equation 4), then the sRGB transfer and
    some contrast. ``cast`` is the standard deviation of the channels' log balance.
    """
    white = np.float32(rng.uniform(2.5, 5.0))
    balance = np.exp(rng.normal(0.0, cast, 3))
    contrast = np.float32(rng.uniform(0.1, 0.6))
    saturation = np.float32(rng.uniform(0.85, 1.15))
    x = np.asarray(colour, np.float32) * (exposure * balance).astype(np.float32)
    grey = _grey(x)
    x = np.clip(grey + (x - grey) * saturation, 0.0, None)
    x = np.clip(x * (1.0 + x / white**2) / (1.0 + x), 0.0, 1.0)
    graded = np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1.0 / 2.4) - 0.055)
    return np.asarray(graded + contrast * (graded * graded * (3.0 - 2.0 * graded) - graded))


def _defocus(light: Array, depth_m: Array, rng: np.random.Generator) -> Array:
    """Blur (H, W, 3) by the thin lens: the disc grows with |1/depth - 1/focus|."""
    inverse = (1.0 / depth_m).astype(np.float32)
    row, column = rng.integers(light.shape[0]), rng.integers(light.shape[1])
    away = np.abs(inverse - inverse[row, column])
    widest = max(light.shape[:2]) * rng.uniform(0.003, 0.012)
    disc = widest * away / max(float(np.quantile(away, 0.98)), 1e-6)  # sigma, px
    disc = cv2.GaussianBlur(np.minimum(disc, widest), (0, 0), 1.0 + widest / 3)
    level = np.clip(disc / widest * _BLURS, 0.0, _BLURS)
    out = np.zeros_like(light)
    for number in range(_BLURS + 1):
        sigma = widest * number / _BLURS
        copy = light if number == 0 else cv2.GaussianBlur(light, (0, 0), sigma)
        out += copy * np.clip(1.0 - np.abs(level - number), 0.0, 1.0)[..., None]
    return out


def line_kernel(reach: int, angle: float) -> NDArray[np.float32]:
    """A filter (K, K) that sums to one: a line through its middle, about ``reach`` pixels long."""
    size = max(3, reach | 1)
    kernel = np.zeros((size, size), np.float32)
    middle = (size - 1) / 2
    across, along = np.cos(angle) * middle, np.sin(angle) * middle
    ends = [(round(middle + s * across), round(middle + s * along)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return np.asarray(kernel / kernel.sum(), np.float32)


def spread(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Values (H, W) or (H, W, C), each invalid one replaced by its nearest valid neighbour."""
    _, labels = cv2.distanceTransformWithLabels(
        np.where(valid, 0, 255).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros((int(labels.max()) + 1, *values.shape[2:]), values.dtype)
    table[labels[valid]] = values[valid]
    return np.asarray(table[labels])


def _lens(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Darker corners; a soft lens, or one sharpened by the camera."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    strength = rng.uniform(0.0, 0.12) if rng.random() < 0.8 else rng.uniform(0.12, 0.5)
    picture = picture * (np.float32(1.0) - np.float32(strength / 2) * (x * x + y * y))[..., None]
    kind = rng.random()
    scale = max(height, width) / 512  # blur belongs to the picture, not to its pixels
    if kind < 0.5:
        sigma = max(scale * rng.uniform(0.4, 1.3), 0.3)
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
    elif kind < 0.7:
        soft = np.asarray(cv2.GaussianBlur(picture, (0, 0), max(1.2 * scale, 0.4)), np.float32)
        return np.asarray(picture + np.float32(rng.uniform(0.2, 0.8)) * (picture - soft))
    return picture


def _sensed(picture: Array, rng: np.random.Generator) -> Array:
    """Noise of the sensor, weak mostly, coarse in blotches at times."""
    strong = rng.random() < 0.25
    sigma = (rng.uniform(2.0, 6.0) if strong else rng.uniform(0.3, 1.8)) / 255.0
    shot = sigma * (0.6 + 0.8 * np.sqrt(np.clip(picture, 0.0, 1.0)))
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    noise = 0.6 * noise + 0.4 * _grey(noise) * np.float32(np.sqrt(3.0))
    if strong and rng.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), 0.7) * np.float32(1.8)
    return np.asarray(picture + shot * noise)


def take_picture(colour: Array, depth_m: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The 8-bit picture (H, W, 3) of linear samples (H, W, S, 3) at depth (H, W)."""
    capped = np.minimum(colour, 6.0 * float(np.mean(colour)) + 1e-3)  # lest highlights alias
    samples = np.moveaxis(capped, 2, 0)
    small = np.asarray(sum(samples[1:], samples[0]) / np.float32(len(samples)), np.float32)
    if rng.random() < 0.15:
        small = _defocus(small, depth_m, rng)
    middle = float(np.exp(np.mean(np.log(_grey(small) + 1e-3))))
    aim = rng.uniform(0.24, 0.5)
    kind = rng.random()
    if kind < 0.15:
        aim = rng.uniform(0.05, 0.2)  # dusk, or against the light
    elif kind < 0.27:
        aim = rng.uniform(0.6, 1.5)  # over-exposed
    cast = 0.05 if rng.random() < 0.8 else 0.22
    picture = np.asarray(develop(small, rng, aim / middle, cast), np.float32)
    if rng.random() < 0.1:
        reach = round(max(picture.shape) * rng.uniform(0.006, 0.02))  # an unsteady hand
        shake = line_kernel(reach, rng.uniform(0, np.pi))
        picture = np.asarray(cv2.filter2D(picture, -1, shake), np.float32)
    noisy = _sensed(_lens(picture, rng), rng)
    done = np.asarray(np.clip(noisy * 255.0 + 0.5, 0, 255), np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))]
        done = np.asarray(cv2.imdecode(cv2.imencode(".jpg", done, quality)[1], cv2.IMREAD_COLOR))
    return done
