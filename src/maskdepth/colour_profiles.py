"""Colours by a picture's ICC profile, brought to sRGB: all pixels in maskdepth are sRGB."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_MODES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# Black and white go to black and white, as browsers and editors show it; and threads may share a
# transform, which then keeps no cache.
_FLAGS: Final = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE
_LATTICE: Final = 17  # levels of each channel on which a profile is compared with sRGB
_MAX_DIFFERENCE: Final = 2  # levels; the many profiles that are called sRGB differ by rounding


def to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """A picture of mode RGB, L or CMYK in the colours of sRGB.

    Args:
        image: is returned as it is where its profile is sRGB, of another mode, or damaged.
        profile: the bytes of the ICC profile, as ``image.info`` has them; None for none.

    Returns:
        Mode RGB or L where colours have changed.
    """
    if not isinstance(profile, bytes) or not profile:
        return image
    convert = _converter(profile, image.mode)
    return image if convert is None else convert(image)


@lru_cache(maxsize=16)
def _converter(profile: bytes, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """What brings colours to sRGB; None where that changes nothing, or cannot be known."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _MODES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        # LittleCMS's shortcut is 10 levels off for greys, of which there are only 256.
        flags = _FLAGS | ImageCms.Flags.NOOPTIMIZE if mode == "L" else _FLAGS
        target, intent = ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(source, target, mode, "RGB", intent, flags)
        if mode == "CMYK":
            return partial(_apply, transform)
        before = _samples(mode)
        after = _apply(transform, before)
    except Exception:  # noqa: BLE001 - a damaged profile does not make the pixels unusable.
        return None
    levels = [np.asarray(each.convert("RGB"), np.int16) for each in (before, after)]
    if np.abs(levels[1] - levels[0]).max() <= _MAX_DIFFERENCE:
        return None
    if mode == "L":
        return partial(_replace_levels, tuple(levels[1][0, :, 1].tolist()))
    return partial(_apply, transform)


def _samples(mode: str) -> Image.Image:
    """A picture of all greys in one row, or of colours from all parts of the cube."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, _LATTICE).astype(np.uint8)
    cube: NDArray[Any] = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    return Image.fromarray(cube.reshape(_LATTICE, -1, 3))


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = Image.new("RGB", image.size)
    transform.apply(image, converted)
    return converted


def _replace_levels(levels: Sequence[int], grey: Image.Image) -> Image.Image:
    return grey.point(levels)
