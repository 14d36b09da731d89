"""Refine alpha by the plate: exact along outlines, and nearly 0 or 1 away from them.

The network knows well what is foreground, and less well where exactly it ends. Along outlines its
alpha is corrected by the colours of picture and plate (`maskdepth.inference.matting.evidence`):

1. At the network's input size a small trained network corrects each pixel of the outline by the
   evidence about it (`maskdepth.inference.matting.outline`).
2. Where the picture is larger, each of its pixels on the outline is then measured, with the
   corrected alpha as the prior.

Away from outlines a pixel is foreground or it is not. An alpha of 0.8 there means that the pixel is
foreground in four of five such cases, so alpha is moved towards the likelier end (`sharpen`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize, resize_mask
from maskdepth.inference.matting.evidence import (
    MARGIN_PX,
    Evidence,
    Floats,
    Picture,
    Surroundings,
    describe_surroundings,
    measure_evidence,
    relight_plate,
    solve_alpha,
)
from maskdepth.inference.matting.outline import load_outline_network

__all__ = ["MeasuredOutline", "find_outline", "measure_outline", "refine_alpha", "sharpen"]

Mask = NDArray[np.bool_]
Window = tuple[slice, slice]

_REFINED_DEVIATION: Final = 0.1  # standard deviation of corrected alpha where it is 1/2
_EDGE_PX: Final = 2  # to both sides of the mask's edge: there alpha may be a mixture
_UNSURE: Final = (0.03, 0.97)  # alpha between these is refined wherever it is
_CHUNK: Final = 32000  # pixels at once: OpenCV's maps must have fewer than 32768 rows


@dataclass(frozen=True, eq=False)
class MeasuredOutline:
    """Where alpha is refined at the network's input size (h, w), and what is measured there.

    Attributes:
        window: rows and columns that hold every outline and the margin that its evidence needs.
        outline: bool, the pixels to refine in the window.
        evidence: of the window.
    """

    window: Window
    outline: Mask
    evidence: Evidence


def measure_outline(picture: Picture, plate: Picture, alpha: Floats) -> MeasuredOutline | None:
    """Measure the outlines of the network's alpha (h, w); None where there are none.

    Args:
        picture, plate: (h, w, 3), the plate moved and relit to match the picture.
    """
    outline = find_outline(alpha, 1)
    if not outline.any():
        return None
    window = _window_around(outline)
    evidence = measure_evidence(picture[window], plate[window], alpha[window])
    return MeasuredOutline(window, outline[window], evidence)


def refine_alpha(
    picture: Picture, plate: Picture, alpha: Floats, measured: MeasuredOutline | None
) -> Floats:
    """Correct the network's alpha along the outlines.

    Args:
        picture: (H, W, 3) RGB.
        plate: (H, W, 3) RGB, moved and relit to match the picture.
        alpha: (h, w) in [0, 1], the network's, at its input size, which is no larger.
        measured: what `measure_outline` makes of alpha and both pictures at that size.

    Returns:
        (H, W) in [0, 1], or beyond it by rounding; away from outlines the network's alpha,
        sharpened and enlarged.
    """
    size = picture.shape[:2]
    if measured is None:
        return resize(sharpen(alpha), *size)
    window, evidence = measured.window, measured.evidence
    refined = alpha.copy()
    refined[window] = load_outline_network().correct(evidence, measured.outline)
    refined = sharpen(refined)
    if size == alpha.shape:
        return refined
    surroundings = describe_surroundings(evidence.picture, evidence.unlit_plate, refined[window])
    return _refine_enlarged(picture, plate, refined, surroundings, window)


def find_outline(alpha: Floats, width: int) -> Mask:
    """Where alpha is unsure, and ``width`` px to both sides of the mask's edge."""
    unsure = (alpha > _UNSURE[0]) & (alpha < _UNSURE[1])
    return np.asarray(_edge(alpha, width) | unsure, np.bool_)


def sharpen(alpha: Floats) -> Floats:
    """Alpha (h, w) with its odds squared, except near the mask's edge; the mask stays the same."""
    likely, unlikely = alpha**2, (1 - alpha) ** 2
    return np.where(_edge(alpha, _EDGE_PX), alpha, likely / (likely + unlikely))


def _refine_enlarged(
    picture: Picture,
    plate: Picture,
    refined: Floats,
    surroundings: Surroundings,
    window: Window,
) -> Floats:
    """Alpha (H, W) of a picture that is larger than the network's input.

    Args:
        picture, plate: (H, W, 3).
        refined: (h, w), alpha as it was refined at the network's input size.
        surroundings: foreground and light in the window.
        window: rows and columns of (h, w) that hold every outline.
    """
    size = picture.shape[:2]
    alpha = resize(refined, *size)
    # Pixels of the network's input for one of the picture's.
    steps = [small / large for small, large in zip(refined.shape, size, strict=True)]
    # Twice the network's input size is enough to find the outline's pixels.
    middle = [min(2 * small, large) for small, large in zip(refined.shape, size, strict=True)]
    width = max(round(side / small) for side, small in zip(middle, refined.shape, strict=True))
    outline = resize_mask(find_outline(resize(refined, *middle), width), *size)
    foreground, light = (
        cv2.merge(list(each)) for each in (surroundings.foreground, surroundings.light)
    )
    all_rows, all_columns = np.nonzero(outline)
    for start in range(0, len(all_rows), _CHUNK):
        rows, columns = (each[start : start + _CHUNK] for each in (all_rows, all_columns))
        # Where these pixels lie in the window at the network's input size.
        y, x = (
            ((each + 0.5) * step - 0.5 - part.start).astype(np.float32)
            for each, step, part in zip((rows, columns), steps, window, strict=True)
        )
        about = Surroundings(_interpolate(foreground, y, x), _interpolate(light, y, x))
        colours, plate_colours = (
            np.ascontiguousarray(each[rows, columns].T, np.float32) for each in (picture, plate)
        )
        lit_plate = relight_plate(plate_colours, about.light)
        prior = alpha[rows, columns]
        measured, trust = solve_alpha(colours, lit_plate, about, prior, _REFINED_DEVIATION)
        alpha[rows, columns] = prior + trust * (measured - prior)
    return alpha


def _interpolate(values: Floats, rows: Floats, columns: Floats) -> Floats:
    """Values (h, w, C) at N places between pixels, (C, N), bilinearly; edges repeat."""
    sampled = cv2.remap(values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(sampled.reshape(-1, values.shape[2]).T)


def _edge(alpha: Floats, width: int) -> Mask:
    """The pixels up to ``width`` px to both sides of the mask's edge."""
    mask = (alpha > 0.5).astype(np.uint8)
    # No larger than the picture: OpenCV would pad a strip of pixels by the kernel's size.
    kernel = np.ones([2 * min(width, side) + 1 for side in mask.shape], np.uint8)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(edge > 0, np.bool_)


def _window_around(outline: Mask) -> Window:
    """Rows and columns that hold an outline and the margin that its evidence needs."""
    spans = []
    for axis in (1, 0):
        indices = np.flatnonzero(outline.any(axis=axis))
        start, end = int(indices[0]) - MARGIN_PX, int(indices[-1]) + 1 + MARGIN_PX
        spans.append(slice(max(0, start), end))
    return spans[0], spans[1]
