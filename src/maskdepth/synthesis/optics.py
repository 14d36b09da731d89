"""Effects on pixels: shadows, reflections, colours, motion, light, a moved plate, noise, codecs."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import decode_jpeg, encode_jpeg, to_grey
from maskdepth.synthesis.effects import (
    CameraMotion,
    Effects,
    Recolour,
    Shade,
    Shadow,
    ToneCurve,
)
from maskdepth.synthesis.recipes import Recipe

_PATTERN_KEY: Final = 2026
_PICTURE_NOISE, _PLATE_NOISE = 1, 2
_LEAVES: Final = 5
_SMOOTH_SIGMA: Final = 0.75  # of standard normal cells that were enlarged by cubic interpolation
_MIRROR: Final = cv2.BORDER_REFLECT_101
_SHADOW_REACH: Final = 2.5  # sigmas at which a shadow ends
_DEFOCUS_REACH: Final = 3.0  # sigmas at which an object out of focus ends
_MIN_HALVED: Final = 3.0  # sigma, px, from which a blur works at half the size
_MID_GREY: Final = 128.0
# ``hueRotate`` and ``saturate`` of W3C, "Filter Effects Module Level 1", section feColorMatrix:
# the grey of every colour, and what a quarter turn about the grey axis makes of the rest.
_GREY: Final = np.array([[0.213, 0.715, 0.072]] * 3)
_QUARTER_TURN: Final = np.array(
    [[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]]
)

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]


def cast_shadow(
    picture: Picture, alpha: Floats, top: int, left: int, foot: int, shadow: Shadow
) -> None:
    """Darken a picture, in place, by an object's shadow.

    Args:
        alpha: alpha (h, w) of the object's part in the frame.
        top, left: place of that part in the picture, px.
        foot: row of the picture below the object's lowest one; soft edges reach below it.
    """
    height, width = foot - top, alpha.shape[1]
    below = len(alpha) - height
    reach = int(np.ceil(_SHADOW_REACH * shadow.sigma_px))
    aside = shadow.lean * height
    asides = (0.0, aside, -shadow.lean * below)
    # The outline's place in the picture before the blur; its foot stays where it is.
    x0 = left + shadow.dx + min(asides)
    y0 = top + shadow.dy + height * (1 - shadow.height)
    y1 = top + shadow.dy + height + shadow.height * below
    low_x, low_y = int(np.floor(x0)) - reach, int(np.floor(min(y0, y1))) - reach
    high_x = int(np.ceil(x0 + width + (max(asides) - min(asides)))) + reach
    high_y = int(np.ceil(max(y0, y1))) + reach
    low_x, low_y = max(low_x, 0), max(low_y, 0)
    high_x, high_y = min(high_x, picture.shape[1]), min(high_y, picture.shape[0])
    if low_x >= high_x or low_y >= high_y:
        return
    # Rows shrink towards the foot, and lean aside in proportion to their height above it.
    matrix = np.array(
        [[1.0, -shadow.lean, left + shadow.dx + aside - low_x], [0.0, shadow.height, y0 - low_y]]
    )
    size = (high_x - low_x, high_y - low_y)
    dark = cv2.warpAffine(alpha * np.float32(shadow.strength), matrix, size)
    dark = blur(np.asarray(dark, np.float32), shadow.sigma_px)
    _darken(picture[low_y:high_y, low_x:high_x], dark, shadow.blueness)


def cast_shade(picture: Picture, shade: Shade, *, plate: bool) -> Picture:
    """The picture or the plate (S, S, 3) in the shadow of something outside the frame."""
    strength = shade.plate_strength if plate else shade.strength
    angle = np.deg2rad(shade.angle_deg)
    way = np.array([np.cos(angle), np.sin(angle)]) * (0.0 if plate else shade.moved_px)
    pattern = _leaf_pattern if shade.leaves else _stripe_pattern
    dark = blur(pattern(shade, len(picture), way), shade.sigma_px, cv2.BORDER_REFLECT_101)
    shaded = picture.copy()
    _darken(shaded, dark * np.float32(strength), shade.blueness)
    return shaded


def _stripe_pattern(shade: Shade, size: int, way: NDArray[np.float64]) -> Floats:
    """Straight stripes (size, size) that moved along ``way`` (dx, dy): 1 in them, 0 between."""
    angle = np.deg2rad(shade.angle_deg)
    column, row = np.arange(size) - way[0], np.arange(size)[:, None] - way[1]
    periods = (column * np.cos(angle) + row * np.sin(angle)) / shade.size_px + shade.phase
    return np.asarray(periods % 1 < shade.share, np.float32)


def _leaf_pattern(shade: Shade, size: int, way: NDArray[np.float64]) -> Floats:
    """Irregular patches (size, size) that moved along ``way`` (dx, dy): 1 in them, 0 between."""
    reach = int(np.ceil(shade.moved_px / shade.size_px)) + 2  # cells beyond the frame
    cells = int(np.ceil(size / shade.size_px)) + 2 * reach
    generator = np.random.Generator(np.random.Philox(key=[int(shade.phase * 2**53), _LEAVES]))
    noise = generator.standard_normal((cells, cells), np.float32)
    scale = 1 / shade.size_px
    matrix = np.array([[scale, 0, reach - way[0] * scale], [0, scale, reach - way[1] * scale]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    smooth = cv2.warpAffine(noise, matrix, (size, size), flags=flags, borderMode=_MIRROR)
    return np.asarray(smooth > _SMOOTH_SIGMA * NormalDist().inv_cdf(1 - shade.share), np.float32)


def _darken(part: Picture, dark: Floats, blueness: float) -> None:
    """Take the share ``dark`` (H, W) of the light from a picture, in place; see ``Shadow``."""
    light = cv2.merge([1 - dark] * 3)
    if blueness:
        blue = np.float32(blueness)
        powers = np.stack([1 + blue, np.ones_like(blue), 1 - blue], axis=-1)
        light = np.maximum(light, 0) ** powers
    part[:] = cv2.multiply(part, light, dtype=cv2.CV_8U)


def reflect(
    picture: Picture, colour: Floats, alpha: Floats, foot: int, left: int, strength: float
) -> None:
    """Paint an object upside down below its foot, fading, in place.

    Args:
        colour: premultiplied colour (h, w, 3), 0..255, of the object above its foot.
        alpha: its alpha (h, w).
        foot: row of the picture below the object's lowest one.
        left: left edge of the object in the picture, px.
    """
    rows = min(len(alpha), len(picture) - foot)
    if rows <= 0:
        return
    fade = np.float32(strength) * np.linspace(1, 0, rows, endpoint=False, dtype=np.float32)
    part = picture[foot : foot + rows, left : left + alpha.shape[1]]
    mirrored = alpha[::-1][:rows] * fade[:, None]
    over = colour[::-1][:rows] * fade[:, None, None] + (1 - mirrored[..., None]) * part
    part[:] = np.rint(over).astype(np.uint8)


def recolour(colour: Floats, alpha: Floats, change: Recolour) -> Floats:
    """Change an object's premultiplied colour (h, w, 3), clipped to what its alpha allows."""
    angle = np.deg2rad(change.hue_deg)
    turned = np.cos(angle) * (np.eye(3) - _GREY) + np.sin(angle) * _QUARTER_TURN
    matrix = change.gain * change.contrast * (_GREY + change.saturation * turned)
    offset = np.float32(change.gain * (1 - change.contrast) * _MID_GREY)
    moved = cv2.transform(colour, matrix.astype(np.float32)) + (alpha * offset)[..., None]
    return np.asarray(np.clip(moved, 0, alpha[..., None] * 255), np.float32)


def harmonise(colour: Floats, alpha: Floats, beneath: Picture, strength: float) -> Floats:
    """Move an object's premultiplied colour (h, w, 3) towards the mean of the plate beneath it.

    Each channel gets a gain, at most two, that takes the mean ``strength`` of the way.
    """
    weight = float(alpha.sum())
    if weight < 1:
        return colour
    own = colour.sum(axis=(0, 1)) / weight
    target = beneath.reshape(-1, 3).mean(axis=0, dtype=np.float32)
    gain = np.clip((target + 1) / (own + 1), 0.5, 2.0) ** np.float32(strength)
    return np.asarray(np.minimum(colour * gain, alpha[..., None] * 255), np.float32)


def soften(layer: Floats, kernel: Floats) -> Floats:
    """Filter a layer (h, w, C), 0..65535, by a kernel; around the layer all is 0."""
    soft = cv2.filter2D(layer, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    # OpenCV applies large kernels to frequencies, whose rounding can leave the range.
    return np.asarray(np.clip(soft, 0, 65535), np.float32).reshape(layer.shape)


def softness_kernel(effects: Effects) -> Floats | None:
    """The kernel of objects that moved or are out of focus: square, of odd side and sum 1.

    None if they are neither.
    """
    if effects.motion == (0.0, 0.0) and effects.defocus == 0.0:
        return None
    kernel = np.ones((1, 1), np.float32)
    if effects.motion != (0.0, 0.0):
        kernel = _motion_kernel(effects.motion)
    if effects.defocus > 0:
        reach = int(np.ceil(_DEFOCUS_REACH * effects.defocus))
        spread = cv2.getGaussianKernel(2 * reach + 1, effects.defocus)
        wide = np.pad(kernel, reach)
        border = cv2.BORDER_CONSTANT
        kernel = np.asarray(
            cv2.sepFilter2D(wide, -1, spread, spread, borderType=border), np.float32
        )
    return kernel


def _motion_kernel(way: tuple[float, float]) -> Floats:
    """The kernel that smears along ``way``, (dx, dy) in px."""
    reach = int(np.ceil(max(abs(way[0]), abs(way[1])) / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    steps = np.linspace(-0.5, 0.5, 4 * reach + 1)
    for step in steps:
        x, y = reach + step * way[0], reach + step * way[1]
        column, row = int(x), int(y)
        fx, fy = x - column, y - row
        for dy, dx, weight in (
            (0, 0, (1 - fx) * (1 - fy)),
            (0, 1, fx * (1 - fy)),
            (1, 0, (1 - fx) * fy),
            (1, 1, fx * fy),
        ):
            kernel[row + dy, column + dx] += weight
    kernel /= kernel.sum()
    return kernel


def blur(array: NDArray[np.float32], sigma_px: float, border: int = cv2.BORDER_CONSTANT) -> Floats:
    """Gaussian blur of (H, W), with 0 around the edges; a wide one works at half the size."""
    if sigma_px < _MIN_HALVED or min(array.shape) < 8:
        return np.asarray(cv2.GaussianBlur(array, (0, 0), sigma_px, borderType=border), np.float32)
    height, width = array.shape
    half = cv2.resize(array, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    half = blur(np.asarray(half, np.float32), sigma_px / 2, border)
    return np.asarray(cv2.resize(half, (width, height)), np.float32)


def relight(picture: Picture, gains: tuple[float, float, float], offset: float) -> Picture:
    """``gain * value + offset`` for each channel, rounded and clipped."""
    levels = np.arange(256)[:, None] * np.array(gains) + offset
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)  # (256, 3)
    return np.asarray(cv2.LUT(picture, table.reshape(1, 256, 3)), np.uint8)


def apply_curve(picture: Picture, curve: ToneCurve) -> Picture:
    """A picture by another tone curve."""
    level = np.linspace(0, 1, 256) ** curve.gamma
    level += curve.contrast * (level**2 * (3 - 2 * level) - level)
    return np.asarray(cv2.LUT(picture, np.rint(255 * level).astype(np.uint8)), np.uint8)


def move_picture(picture: Picture, motion: CameraMotion) -> Picture:
    """Shift a picture (S, S, 3) and turn it about its centre; edges are mirrored."""
    # OpenCV warps four channels twice as fast as three, to the same values.
    four = cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA)
    moved = _moved(four, motion, cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB), np.uint8)


def move_alpha(alpha: Floats, motion: CameraMotion) -> Floats:
    """Move alpha (S, S) like its picture."""
    return np.asarray(_moved(alpha, motion, cv2.INTER_LINEAR), np.float32)


def move_disparity(disparity: Floats, motion: CameraMotion) -> Floats:
    """Move disparity (S, S) like its picture, without mixing neighbours."""
    return np.asarray(_moved(disparity, motion, cv2.INTER_NEAREST), np.float32)


def _moved(array: NDArray[Any], motion: CameraMotion, interpolation: int) -> NDArray[Any]:
    size = len(array)
    centre = (size - 1) / 2
    turned = cv2.getRotationMatrix2D((centre, centre), motion.angle_deg, 1.0)
    matrix = np.asarray(turned, np.float64)
    matrix[:, 2] += motion.shift
    border = cv2.BORDER_REFLECT_101
    return cv2.warpAffine(array, matrix, (size, size), flags=interpolation, borderMode=border)


def take_picture(picture: Picture, recipe: Recipe, *, plate: bool) -> Picture:
    """Apply what happens from the lens to the file: light, focus, noise, resizing, JPEG.

    Args:
        plate: whether this is the plate, which has noise and a JPEG quality of its own.
    """
    effects = recipe.effects
    if effects.develops:
        picture = relight(picture, *effects.development)
    if effects.blur_sigma > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), effects.blur_sigma), np.uint8)
    if recipe.noise_sigma > 0:
        size = len(picture)
        top, left = _noise_generator(recipe, plate, 0).integers(0, size + 1, 2)
        noise = _noise_pattern(size)[top : top + size, left : left + size]
        noise = noise * np.float32(recipe.noise_sigma)
        # One pass that rounds and saturates.
        picture = np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)
    if effects.row_noise > 0:
        rows = _noise_generator(recipe, plate, 2).standard_normal(len(picture), np.float32)
        rows = np.asarray(rows * effects.row_noise, np.float32)[:, None, None]
        lines = np.broadcast_to(rows, picture.shape).astype(np.float32)
        picture = np.asarray(cv2.add(picture, lines, dtype=cv2.CV_8U), np.uint8)
    if effects.scale != 1.0:
        side = max(8, round(effects.scale * len(picture)))
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.resize(small, picture.shape[:2][::-1]), np.uint8)
    quality = recipe.jpeg_plate if plate else recipe.jpeg_picture
    picture = picture if quality is None else decode_jpeg(encode_jpeg(picture, quality))
    return to_grey(picture) if plate and effects.grey_plate else picture


def _noise_generator(recipe: Recipe, plate: bool, kind: int) -> np.random.Generator:
    stream = (_PLATE_NOISE if plate else _PICTURE_NOISE) + kind
    return np.random.Generator(np.random.Philox(key=[recipe.noise_seed, stream]))


@lru_cache(maxsize=2)
def _noise_pattern(size: int) -> Floats:
    """Standard normal noise (2 size, 2 size, 3), of which every picture uses a part.

    New noise for each picture would take longer than all the rest of a composite.
    """
    generator = np.random.Generator(np.random.Philox(key=[_PATTERN_KEY, size]))
    return generator.standard_normal((2 * size, 2 * size, 3), np.float32)
