"""Alpha exact along outlines, and decided away from them, where the plate is known.

A network knows best what is foreground, and least where exactly it ends. Along outlines its alpha
is corrected by what picture and plate say there (`maskdepth.inference.matting.evidence`):

1. At the network's input size a small trained network reads the evidence about each pixel of the
   outline (`maskdepth.inference.matting.outline`), which makes more of it than an average would.
2. A larger picture is then measured pixel by pixel, with the corrected alpha as the prior.

Away from outlines a pixel is foreground or it is not. A network that says 0.8 there means that it
is foreground in four of five such cases, so the likelier case is made to count for more (`decide`).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize
from maskdepth.inference.matting.evidence import (
    MARGIN_PX,
    Evidence,
    Floats,
    Picture,
    Surroundings,
    describe_surroundings,
    light_plate,
    measure_evidence,
    solve_alpha,
)
from maskdepth.inference.matting.outline import load_outline_network

__all__ = ["decide", "find_outline", "refine_alpha"]

Mask = NDArray[np.bool_]
Window = tuple[slice, slice]

_ENLARGED_DEVIATION: Final = 0.1  # of alpha that was refined at the network's size, where it is 1/2
_UNDECIDED_PX: Final = 2  # to both sides of where the mask ends: there alpha may be a mixture
_UNSURE: Final = (0.03, 0.97)  # alpha between these is refined wherever it is
_CHUNK: Final = 32000  # pixels at once: OpenCV's maps must have fewer than 32768 rows


def refine_alpha(
    picture: Picture,
    plate: Picture,
    small: Picture,
    small_plate: Picture,
    alpha: Floats,
    evidence: Evidence | None = None,
    skip: Window | None = None,
) -> Floats:
    """Correct the network's alpha along the outlines.

    Args:
        picture: (H, W, 3) RGB.
        plate: (H, W, 3) RGB, registered: moved and lit like the picture.
        small, small_plate: (h, w, 3) the same two at the network's input size, which is no larger.
        alpha: (h, w) in [0, 1], the network's.
        evidence: of ``small``, ``small_plate`` and ``alpha``, where it has been measured already.
        skip: rows and columns of (H, W) where no outline needs to be measured.

    Returns:
        (H, W) in [0, 1]; away from outlines the network's, decided (see `decide`) and enlarged.
    """
    size = picture.shape[:2]
    outline = find_outline(alpha, 1)
    if not outline.any():
        return resize(decide(alpha), *size)
    if evidence is None:
        window = _window_around(outline)
        evidence = measure_evidence(small[window], small_plate[window], alpha[window])
    else:
        window = slice(0, alpha.shape[0]), slice(0, alpha.shape[1])
    refined = alpha.copy()
    refined[window] = load_outline_network().correct(evidence, outline[window])
    refined = decide(refined)
    if size == alpha.shape:
        return refined
    beside = describe_surroundings(
        small[window].astype(np.float32), small_plate[window].astype(np.float32), refined[window]
    )
    return _refine_enlarged(picture, plate, refined, beside, window, skip)


def find_outline(alpha: Floats, width: int) -> Mask:
    """Where alpha is unsure, and ``width`` px to both sides of where the mask ends."""
    unsure = (alpha > _UNSURE[0]) & (alpha < _UNSURE[1])
    return np.asarray(_edge(alpha, width) | unsure, np.bool_)


def decide(alpha: Floats) -> Floats:
    """Alpha (h, w) with its odds squared away from where the mask ends; the mask stays the same."""
    likely, unlikely = alpha**2, (1 - alpha) ** 2
    return np.where(_edge(alpha, _UNDECIDED_PX), alpha, likely / (likely + unlikely))


def _refine_enlarged(
    picture: Picture,
    plate: Picture,
    refined: Floats,
    beside: Surroundings,
    window: Window,
    skip: Window | None,
) -> Floats:
    """Alpha of a picture that is larger than the network's input.

    Args:
        picture, plate: (H, W, 3).
        refined: (h, w), alpha as it was refined at the network's input size.
        beside: foreground and light in the window.
        window: rows and columns of (h, w) that hold every outline.
        skip: rows and columns of (H, W) that are left as they are.

    Returns:
        (H, W).
    """
    size = picture.shape[:2]
    alpha = resize(refined, *size)
    steps = [small / large for small, large in zip(refined.shape, size, strict=True)]
    outline = find_outline(alpha, max(1, round(1 / min(steps))))
    if skip is not None:
        outline[skip] = False
    every_row, every_column = np.nonzero(outline)
    for start in range(0, len(every_row), _CHUNK):
        rows, columns = (each[start : start + _CHUNK] for each in (every_row, every_column))
        # Where these pixels lie in the window at the network's input size.
        y, x = (
            ((each + 0.5) * step - 0.5 - part.start).astype(np.float32)
            for each, step, part in zip((rows, columns), steps, window, strict=True)
        )
        here = Surroundings(_interpolate(beside.foreground, y, x), _interpolate(beside.light, y, x))
        colour = picture[rows, columns].astype(np.float32)
        lit = light_plate(plate[rows, columns].astype(np.float32), here)
        prior = alpha[rows, columns]
        measured, trust = solve_alpha(colour, lit, here, prior, _ENLARGED_DEVIATION)
        alpha[rows, columns] = prior + trust * (measured - prior)
    return alpha


def _interpolate(values: Floats, rows: Floats, columns: Floats) -> Floats:
    """Values (h, w, C) between pixels, (N, C), bilinearly; edges repeat."""
    taken = cv2.remap(values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(taken.reshape(-1, values.shape[2]), np.float32)


def _edge(alpha: Floats, width: int) -> Mask:
    """``width`` px to both sides of where the mask ends."""
    mask = (alpha > 0.5).astype(np.uint8)
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(edge > 0, np.bool_)


def _window_around(outline: Mask) -> Window:
    """Rows and columns of an outline with the margin that its evidence needs."""
    spans = []
    for axis in (1, 0):
        indices = np.flatnonzero(outline.any(axis=axis))
        start, end = int(indices[0]) - MARGIN_PX, int(indices[-1]) + 1 + MARGIN_PX
        spans.append(slice(max(0, start), end))
    return spans[0], spans[1]
