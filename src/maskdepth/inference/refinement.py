"""Alpha right to the pixel, in closed form, where the plate is known.

A network knows best what is foreground, and least where exactly it ends. But a pixel on an outline
is a mixture, I = alpha F + (1 - alpha) B, whose plate B is known, and the foreground's colour F is
that of the foreground beside it. So there alpha is the place of I on the line from B to F (the
compositing equation of Porter and Duff, SIGGRAPH 1984, solved by least squares), and how far to
trust it follows from how well F and B are known: from how much the colours beside it vary, over how
far F and B lie apart. That measurement and the network's alpha are averaged, each by the inverse of
its variance.

B is the plate lit as it is beside the outline, so that a shadow it lies in does not count as
foreground. F and B are smooth: they are looked for at the size the network sees, and a picture of
any size is then measured pixel by pixel.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize

__all__ = ["refine_alpha"]

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

_FOREGROUND_SIGMA: Final = 0.9  # px, of the mean over foreground: its colours change quickly
_PLATE_SIGMA: Final = 3.0  # px, of the means over what can be seen of the plate
_SURENESS: Final = 6  # power of alpha, and of 1 - alpha, that weighs in these means
_LEAST_WEIGHT: Final = 1e-3  # of a mean; with less beside it an outline is not measured
_NOISE: Final = 2.0  # of 255: what cameras and codecs differ by, at least
_TEXTURE: Final = 0.5  # share of the foreground's variance that counts: neighbours are alike
_PRIOR: Final = 0.2  # standard deviation of the network's alpha where it says 1/2 ...
_PRIOR_FLOOR: Final = 0.05  # ... and share of its variance that is left where it says 0 or 1
_UNSURE: Final = (0.03, 0.97)  # what lies between is measured, and what lies at an outline
_RELIGHT: Final = (0.2, 3.0)  # what the light beside an outline may be to the plate's
_DARK: Final = 0.02  # keeps ratios of nearly black means near 1
_CUT_OFF: Final = 250  # of 255
_UNKNOWN: Final = np.float32(1e12)  # a variance; infinity could not be enlarged
_ROUNDING: Final = 1e-3  # squared levels: keeps a foreground like its plate from dividing by 0


def refine_alpha(picture: Picture, plate: Picture, alpha: Floats, size: tuple[int, int]) -> Floats:
    """Measure alpha along the outlines.

    Args:
        picture: (H, W, 3) RGB.
        plate: (H, W, 3) RGB, on the picture to the pixel and lit as it is.
        alpha: (H, W) in [0, 1], of a network.
        size: height and width of the picture as the network saw it.

    Returns:
        (H, W) in [0, 1]; away from outlines as it was.
    """
    scale = max(1.0, alpha.shape[0] / size[0])
    outline = _find_outline(alpha, round(scale))
    if not outline.any():
        return alpha
    window = _window_around(outline, round(3 * _PLATE_SIGMA * scale))
    part = alpha[window].copy()
    height, width = part.shape
    small = max(1, round(height / scale)), max(1, round(width / scale))
    seen, known = (resize(pixels[window], *small).astype(np.float32) for pixels in (picture, plate))
    places = np.flatnonzero(outline[window])
    colour, behind = (
        pixels[window].reshape(-1, 3)[places].astype(np.float32) for pixels in (picture, plate)
    )
    maps = _look_beside(seen, known, resize(part, *small))
    front, light = (resize(each, height, width).reshape(-1, 4)[places] for each in maps)
    # Once: measured again from its own result, an outline gains nothing and then drifts.
    part.flat[places] = _measure(colour, behind, front, light, part.flat[places])
    refined = alpha.copy()
    refined[window] = part
    return refined


def _find_outline(alpha: Floats, width: int) -> NDArray[np.bool_]:
    """Where alpha is unsure, and ``width`` px to both sides of where the mask ends."""
    mask = (alpha > 0.5).astype(np.uint8)
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel, borderType=cv2.BORDER_REPLICATE) > 0
    return np.asarray(edge | ((alpha > _UNSURE[0]) & (alpha < _UNSURE[1])), np.bool_)


def _window_around(outline: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Rows and columns of an outline with a margin; beyond it nothing has a say."""
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(outline.any(axis=axis))
        spans.append(slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin))
    return spans[0], spans[1]


def _look_beside(seen: Floats, known: Floats, alpha: Floats) -> tuple[Floats, Floats]:
    """The foreground and the light beside each pixel.

    Args:
        seen, known: picture and plate, (h, w, 3), 0..255.
        alpha: (h, w).

    Returns:
        Two (h, w, 4): the foreground's mean colour and the variance about it, the light as factors
        of the plate's colour and the variance about the plate so lit. Variances are sums over the
        channels, in squared levels, and ``_UNKNOWN`` where there is nothing to see.
    """
    front = alpha**_SURENESS
    back = (1 - alpha) ** _SURENESS
    front_weight, back_weight = (
        _blur(weight, sigma) for weight, sigma in ((front, _FOREGROUND_SIGMA), (back, _PLATE_SIGMA))
    )
    enough = np.maximum(front_weight, _LEAST_WEIGHT)
    colour = _blur(seen * front[..., None], _FOREGROUND_SIGMA) / enough[..., None]
    squares = _blur((seen * seen).sum(axis=2) * front, _FOREGROUND_SIGMA) / enough
    texture = np.maximum(squares - (colour * colour).sum(axis=2), 0)
    texture[front_weight < _LEAST_WEIGHT] = _UNKNOWN
    light = (_blur(seen * back[..., None], _PLATE_SIGMA) + _DARK) / (
        _blur(known * back[..., None], _PLATE_SIGMA) + _DARK
    )
    light = np.clip(light, *_RELIGHT)
    apart = ((seen - np.clip(known * light, 0, 255)) ** 2).sum(axis=2)
    noise = _blur(apart * back, _PLATE_SIGMA) / np.maximum(back_weight, _LEAST_WEIGHT)
    noise[back_weight < _LEAST_WEIGHT] = _UNKNOWN
    return np.dstack([colour, texture]), np.dstack([light, noise])


def _blur(values: Floats, sigma: float) -> Floats:
    return np.asarray(
        cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32
    )


def _measure(colour: Floats, plate: Floats, front: Floats, light: Floats, alpha: Floats) -> Floats:
    """Alpha (N,) from the colours (N, 3) of picture and plate and what lies beside them (N, 4)."""
    plate = np.clip(plate * light[:, :3], 0, 255)
    # A channel that is cut off says no more.
    way = np.where(np.maximum(colour, plate) >= _CUT_OFF, 0, front[:, :3] - plate)
    length = (way * way).sum(axis=1) + _ROUNDING
    measured = np.clip(((colour - plate) * way).sum(axis=1) / length, 0, 1)
    spread = alpha**2 * _TEXTURE * front[:, 3] + (1 - alpha) ** 2 * light[:, 3] + _NOISE**2
    trust = length / spread
    # Enlarged, it lies beside what is known: half of it is still far more than any variance.
    trust[np.maximum(front[:, 3], light[:, 3]) > _UNKNOWN * 1e-4] = 0
    prior = 1 / (_PRIOR**2 * (4 * alpha * (1 - alpha) + _PRIOR_FLOOR))
    return np.asarray((measured * trust + alpha * prior) / (trust + prior), np.float32)
