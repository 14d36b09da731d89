"""A plate's health: figures of its picture and its depth that say how well it will serve."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.records import Json

_UNDEREXPOSED: Final = 5  # of 255: all channels at this level or below
_OVEREXPOSED: Final = 250  # of 255: any channel at this level or above
_BLUR_PX: Final = 11  # side of the blur that a picture is compared with
# Immerkaer's mask, and the factor from the median of its absolute response to sigma.
_NOISE_MASK: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_MEDIAN_TO_SIGMA: Final = 1 / (0.6745 * 6)
_WINDOW: Final = 0.02  # of the long side: side of the windows that would be matched
_MIN_GRADIENT: Final = 2.0  # grey levels a pixel, in the weakest direction, beyond the noise
_NOISE_FACTOR: Final = 4.0  # by which gradients have to exceed those of noise
_PERCENTILES: Final = (2.0, 98.0)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PlateHealth:
    """Figures of a plate; shares are of its pixels, 0 to 1.

    Attributes:
        sharpness: 1 less the blur of Crete et al., "The blur effect" (SPIE 2007): how much of the
            differences between neighbours a blur of 11 px would take away, in the worse of the
            two directions. Most photos have 0.5 to 0.8.
        underexposed, overexposed: share with all channels at 5 of 255 or less, and with any at
            250 or more.
        noise: sigma of grey levels, of 255: Immerkaer, "Fast noise variance estimation" (CVIU
            1996), by the median, so that edges hardly count. Fine texture all over counts as
            noise.
        texture: share that can be matched: within a window of 2 % of the long side the grey
            levels change in every direction, by more than the noise does (the lesser eigenvalue
            of Shi and Tomasi, "Good features to track", CVPR 1994).
        valid_depth: share with a depth or disparity.
        disparity_range: 2nd and 98th percentile.
        depth_range_m: the same of depth, metres, sky left out; None where nothing is in metres.
    """

    sharpness: float
    underexposed: float
    overexposed: float
    noise: float
    texture: float
    valid_depth: float
    disparity_range: tuple[float, float]
    depth_range_m: tuple[float, float] | None

    def as_json(self) -> Json:
        """Plain values."""
        return asdict(self)

    @classmethod
    def parse(cls, values: Json) -> PlateHealth:
        """Read what ``as_json`` gave from JSON; other keys are ignored.

        Raises:
            TypeError, ValueError, KeyError: the values are something else.
        """
        figures: Json = {}
        for each in fields(cls):
            value = values[each.name]
            if isinstance(value, list):
                low, high = value
                figures[each.name] = finite(low), finite(high)
            elif value is None and each.name == "depth_range_m":
                figures[each.name] = None
            else:
                figures[each.name] = finite(value)
        return cls(**figures)

    def describe(self) -> str:
        """The figures in one line of words."""
        depth = f"depth at {self.valid_depth:.0%} of the pixels"
        if self.depth_range_m is not None:
            low, high = self.depth_range_m
            depth += f", from {low:.2f} to {high:.2f} m"
        return (
            f"sharpness {self.sharpness:.2f}, noise {self.noise:.1f} of 255, "
            f"{self.underexposed:.1%} under- and {self.overexposed:.1%} overexposed, "
            f"{self.texture:.0%} detailed enough to follow a camera that moves, {depth}"
        )


def measure_health(
    picture: NDArray[np.uint8], disparity: Floats, depth_m: NDArray[np.float32] | None
) -> PlateHealth:
    """Measure a plate's figures.

    Args:
        picture: uint8 (H, W, 3) RGB.
        disparity: float32 (H, W), NaN where invalid; something in it is valid.
        depth_m: float32 (H, W) metres, infinity is sky; None where nothing is in metres.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    noise = _noise(grey)
    return PlateHealth(
        sharpness=round(1 - _blur(grey), 4),
        underexposed=_share((picture <= _UNDEREXPOSED).all(axis=2)),
        overexposed=_share((picture >= _OVEREXPOSED).any(axis=2)),
        noise=round(noise, 3),
        texture=_share(_matchable(grey, noise)),
        valid_depth=_share(np.isfinite(disparity)),
        disparity_range=_range(disparity) or (0.0, 0.0),
        depth_range_m=None if depth_m is None else _range(depth_m),
    )


def _blur(grey: Floats) -> float:
    """Crete et al.'s blur effect, 0 to 1: the greater of the two directions'."""
    blurs = []
    for across in (True, False):
        size, slope = ((_BLUR_PX, 1), (1, 0)) if across else ((1, _BLUR_PX), (0, 1))
        blurred = cv2.blur(grey, size, borderType=cv2.BORDER_REFLECT)
        sharp, soft = (
            np.abs(cv2.Sobel(each, cv2.CV_32F, *slope, borderType=cv2.BORDER_REFLECT))
            for each in (grey, blurred)
        )
        total = float(sharp.sum(dtype=np.float64))
        lost = float(np.maximum(sharp - soft, 0).sum(dtype=np.float64))
        blurs.append(1 - lost / total if total > 0 else 1.0)
    return max(blurs)


def _noise(grey: Floats) -> float:
    """Sigma, of 255; clipped pixels have none and are left out."""
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, _NOISE_MASK))
    response = response[(grey > _UNDEREXPOSED) & (grey < _OVEREXPOSED)]
    return float(np.median(response)) * _MEDIAN_TO_SIGMA if response.size else 0.0


def _matchable(grey: Floats, noise: float) -> NDArray[np.bool_]:
    """Where the weakest direction of the window's gradients is stronger than noise."""
    side = max(3, 2 * round(_WINDOW * max(grey.shape) / 2) + 1)
    kernel = np.array([[-0.5, 0, 0.5]], np.float32)
    right, down = (cv2.filter2D(grey, cv2.CV_32F, each) for each in (kernel, kernel.T))
    # A window larger than the picture would cost memory by its own size.
    window = min(side, grey.shape[1]), min(side, grey.shape[0])
    xx, yy, xy = (cv2.blur(each, window) for each in (right * right, down * down, right * down))
    weakest = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    # Noise of sigma s makes central differences of variance s^2 / 2.
    return np.asarray(weakest > _MIN_GRADIENT**2 + _NOISE_FACTOR * noise**2 / 2, np.bool_)


def _share(where: np.bool_ | NDArray[np.bool_]) -> float:
    return round(float(np.mean(where)), 4)


def _range(values: NDArray[np.float32]) -> tuple[float, float] | None:
    valid = values[np.isfinite(values)]
    if not valid.size:
        return None
    low, high = np.percentile(valid, _PERCENTILES)
    return round(float(low), 4), round(float(high), 4)


def finite(value: Any) -> float:
    """A finite number from JSON, which may hold NaN; other values raise ValueError or TypeError."""
    if not math.isfinite(number := float(value)):
        raise ValueError("a figure that is not a finite number")
    return number
