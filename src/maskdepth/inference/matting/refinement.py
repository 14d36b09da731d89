"""Alpha right to the pixel along outlines, and decided away from them, where the plate is known.

A network knows best what is foreground, and least where exactly it ends. But a pixel on an outline
is a mixture, I = alpha F + (1 - alpha) B, whose plate B is known, and the foreground's colour F is
that of the foreground beside it. So there alpha is the place of I on the line from B to F (the
compositing equation of Porter and Duff, SIGGRAPH 1984, solved by least squares), and how far to
trust it follows from how well F and B are known: from how much the colours beside it vary, over how
far F and B lie apart. That measurement and the network's alpha are averaged, each by the inverse of
its variance.

B is the plate lit as it is beside the outline, so that a shadow it lies in does not count as
foreground. F and B are smooth: they are looked for at the size the network sees. There
trained functions of a pixel and its neighbours (`maskdepth.inference.matting.outline`) make more
of the same knowledge than the average does; a larger picture is then measured pixel by pixel.

Away from outlines a pixel is foreground or it is not, and a network that says 0.8 means that it is
in four of five such cases: its alpha is a mean over what may be. There what is likelier counts for
more.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize
from maskdepth.inference.matting.evidence import Neighbourhood, dot
from maskdepth.inference.matting.outline import load_reader

__all__ = ["decide", "find_outline", "look_about", "refine_alpha"]

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

_FOREGROUND_SIGMA: Final = 0.9  # px, of the mean over foreground: its colours change quickly
_PLATE_SIGMA: Final = 3.0  # px, of the means over what can be seen of the plate
_MARGIN: Final = round(4 * _PLATE_SIGMA)  # px about an outline; what lies beyond has hardly a say
_SURENESS: Final = 6  # power of alpha, and of 1 - alpha, that weighs in these means
_LEAST_WEIGHT: Final = 1e-3  # of a mean; with less beside it an outline is not measured
_NOISE: Final = 2.0  # of 255: what cameras and codecs differ by, at least
_TEXTURE: Final = 0.5  # share of the foreground's variance that counts: neighbours are alike
_NETWORK: Final = 0.2  # standard deviation of the network's alpha where it says 1/2 ...
_READ: Final = 0.1  # ... and of what was read at the network's size, enlarged ...
_FLOOR: Final = 0.05  # ... and share of either's variance that is left where it says 0 or 1
_UNDECIDED: Final = 2  # px to both sides of where the mask ends: there alpha may be a mixture
_UNSURE: Final = (0.03, 0.97)  # what lies between is measured, and what lies at an outline
_RELIGHT: Final = (0.2, 3.0)  # what the light beside an outline may be to the plate's
_DARK: Final = 0.02  # keeps ratios of nearly black means near 1
_CUT_OFF: Final = 250  # of 255
_UNKNOWN: Final = np.float32(1e12)  # a variance; infinity could not be enlarged
_AT_ONCE: Final = 32000  # pixels of a large picture: OpenCV's maps have fewer than 32768 rows
_ROUNDING: Final = 1e-3  # squared levels: keeps a foreground like its plate from dividing by 0


def refine_alpha(
    picture: Picture,
    plate: Picture,
    seen: Picture,
    plate_seen: Picture,
    alpha: Floats,
    known: Neighbourhood | None = None,
    elsewhere: tuple[slice, slice] | None = None,
) -> Floats:
    """Find alpha along the outlines.

    Args:
        picture: (H, W, 3) RGB.
        plate: (H, W, 3) RGB, on the picture to the pixel and lit as it is.
        seen, plate_seen: (h, w, 3) the same two as the network saw them, no larger.
        alpha: (h, w) in [0, 1], the network's.
        known: what `look_about` makes of these three, where that was asked before.
        elsewhere: rows and columns of (H, W) that need not be measured.

    Returns:
        (H, W) in [0, 1]; away from outlines as it was, but decided (see `decide`) and enlarged.
    """
    size = picture.shape[:2]
    outline = find_outline(alpha, 1)
    if not outline.any():
        return resize(decide(alpha), *size)
    if known is None:
        window = _window_around(outline)
        known = look_about(seen[window], plate_seen[window], alpha[window])
    else:
        window = slice(0, alpha.shape[0]), slice(0, alpha.shape[1])
    read = alpha.copy()
    read[window] = load_reader().read(known, outline[window])
    read = decide(read)
    if size == alpha.shape:
        return read
    beside = seen[window], plate_seen[window], read
    return _measure_larger(picture, plate, *beside, window, elsewhere)


def _measure_larger(
    picture: Picture,
    plate: Picture,
    seen: Picture,
    plate_seen: Picture,
    read: Floats,
    window: tuple[slice, slice],
    elsewhere: tuple[slice, slice] | None,
) -> Floats:
    """Alpha of a pair that the network saw smaller, from alpha as it was read there.

    Args:
        picture, plate: (H, W, 3).
        seen, plate_seen: what the network saw of them in the window.
        read: (h, w), all of it.
        window: rows and columns of (h, w) outside which there is no outline.
        elsewhere: of (H, W), that are left as they are.

    Returns:
        (H, W).
    """
    size = picture.shape[:2]
    found = resize(read, *size)
    steps = [small / large for small, large in zip(read.shape, size, strict=True)]
    outline = find_outline(found, max(1, round(1 / min(steps))))
    if elsewhere is not None:
        outline[elsewhere] = False
    maps = _look_beside(seen.astype(np.float32), plate_seen.astype(np.float32), read[window])
    every_row, every_column = np.nonzero(outline)
    for start in range(0, len(every_row), _AT_ONCE):
        rows, columns = (each[start : start + _AT_ONCE] for each in (every_row, every_column))
        # Where these pixels lie among those that the network saw.
        y, x = (
            ((each + 0.5) * step - 0.5 - part.start).astype(np.float32)
            for each, step, part in zip((rows, columns), steps, window, strict=True)
        )
        front, light = (_sample(each, y, x) for each in maps)
        colour, behind = (pixels[rows, columns].astype(np.float32) for pixels in (picture, plate))
        prior = found[rows, columns]
        measured, trust = _measure(colour, _lit(behind, light), front, light, prior, _READ)
        found[rows, columns] = prior + trust * (measured - prior)
    return found


def _sample(values: Floats, rows: Floats, columns: Floats) -> Floats:
    """Values (h, w, C) between pixels, (N, C), bilinearly; edges repeat."""
    taken = cv2.remap(values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(taken.reshape(-1, values.shape[2]), np.float32)


def look_about(picture: Picture, plate: Picture, alpha: Floats) -> Neighbourhood:
    """What is known of each pixel of (h, w): see `Neighbourhood`."""
    seen, known = picture.astype(np.float32), plate.astype(np.float32)
    front, light = _look_beside(seen, known, alpha)
    lit = _lit(known, light)
    measured, trust = _measure(seen, lit, front, light, alpha, _NETWORK)
    return Neighbourhood(
        seen=seen,
        plate=lit,
        foreground=front[..., :3],
        texture=front[..., 3],
        noise=light[..., 3],
        alpha=alpha,
        measured=measured,
        trust=trust,
    )


def find_outline(alpha: Floats, width: int) -> NDArray[np.bool_]:
    """Where alpha is unsure, and ``width`` px to both sides of where the mask ends."""
    unsure = (alpha > _UNSURE[0]) & (alpha < _UNSURE[1])
    return np.asarray(_edge(alpha, width) | unsure, np.bool_)


def decide(alpha: Floats) -> Floats:
    """Alpha (h, w) with its odds squared away from where the mask ends; the mask stays the same."""
    likely, unlikely = alpha**2, (1 - alpha) ** 2
    return np.where(_edge(alpha, _UNDECIDED), alpha, likely / (likely + unlikely))


def _edge(alpha: Floats, width: int) -> NDArray[np.bool_]:
    """``width`` px to both sides of where the mask ends."""
    mask = (alpha > 0.5).astype(np.uint8)
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(edge > 0, np.bool_)


def _window_around(outline: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of an outline with a margin."""
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(outline.any(axis=axis))
        spans.append(slice(max(0, int(places[0]) - _MARGIN), int(places[-1]) + 1 + _MARGIN))
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
    colour = np.asarray(
        _blur(seen * front[..., None], _FOREGROUND_SIGMA) / enough[..., None], np.float32
    )
    squares = _blur(dot(seen, seen) * front, _FOREGROUND_SIGMA) / enough
    texture = np.maximum(squares - dot(colour, colour), 0)
    texture[front_weight < _LEAST_WEIGHT] = _UNKNOWN
    light = (_blur(seen * back[..., None], _PLATE_SIGMA) + _DARK) / (
        _blur(known * back[..., None], _PLATE_SIGMA) + _DARK
    )
    light = np.clip(light, *_RELIGHT)
    apart = seen - _lit(known, light)
    noise = _blur(dot(apart, apart) * back, _PLATE_SIGMA) / np.maximum(back_weight, _LEAST_WEIGHT)
    noise[back_weight < _LEAST_WEIGHT] = _UNKNOWN
    return np.dstack([colour, texture]), np.dstack([light, noise])


def _blur(values: Floats, sigma: float) -> Floats:
    return np.asarray(
        cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32
    )


def _lit(plate: Floats, light: Floats) -> Floats:
    """The plate's colours (..., 3) in the light (..., 4) beside them."""
    return np.asarray(np.clip(plate * light[..., :3], 0, 255), np.float32)


def _measure(
    colour: Floats, plate: Floats, front: Floats, light: Floats, alpha: Floats, doubt: float
) -> tuple[Floats, Floats]:
    """Alpha by the compositing equation, and what share it deserves beside what is said.

    Args:
        colour: (..., 3) of the picture.
        plate: (..., 3) the plate's, lit.
        front, light: (..., 4) what lies beside, see `_look_beside`.
        alpha: (...) what is said.
        doubt: its standard deviation where it says 1/2.

    Returns:
        Both (...), in [0, 1].
    """
    # A channel that is cut off says no more.
    way = np.where(np.maximum(colour, plate) >= _CUT_OFF, 0, front[..., :3] - plate)
    length = dot(way, way) + _ROUNDING
    measured = np.clip(dot(colour - plate, way) / length, 0, 1)
    spread = alpha**2 * _TEXTURE * front[..., 3] + (1 - alpha) ** 2 * light[..., 3] + _NOISE**2
    certainty = length / spread
    # Enlarged, it lies beside what is known: half of it is still far more than any variance.
    certainty[np.maximum(front[..., 3], light[..., 3]) > _UNKNOWN * 1e-4] = 0
    prior = 1 / (doubt**2 * (4 * alpha * (1 - alpha) + _FLOOR))
    return measured.astype(np.float32), (certainty / (certainty + prior)).astype(np.float32)
