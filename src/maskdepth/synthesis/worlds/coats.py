"""Drawing an animal: its body as a height map, light, coat, eyes, and hair by hair its fur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds.film import develop, spread
from maskdepth.synthesis.worlds.textures import Array, mix, sample_colour, sample_field, step
from maskdepth.synthesis.worlds.vectors import turn_y

Rng = np.random.Generator
Floats = NDArray[np.float32]

Part = IntEnum("Part", "TRUNK LEG PAW FACE EAR TAIL HORN", start=0)
_FINE = 2  # samples a pixel, each way
# length of hair on each part, relative to the coat's
_HAIR = np.array([1.0, 0.5, 0.25, 0.3, 0.5, 1.6, 0.0])


@dataclass(frozen=True)
class Chain:
    """Balls along a curve, in the order in which hair lies.

    Attributes:
        points: (N, 3) body frame; ``radii`` (N,).
        tag: the part of the body.
        flatten: thickness towards the viewer relative to the radius.
    """

    points: Array
    radii: Array
    tag: int
    flatten: float = 1.0


@dataclass(frozen=True)
class Marks:
    """Where the eyes and the nose are, in the body frame, and their radii."""

    eyes: list[Array]
    eye_radius: float
    nose: Array
    nose_radius: float


@dataclass(frozen=True)
class _Relief:
    """The body in parallel projection, at the fine size.

    Attributes:
        height: (H, W) towards the viewer in fine pixels; -inf outside.
        tag: (H, W) part; ``flow`` (H, W, 2) the way hair lies, x right and y down.
    """

    height: Floats
    tag: NDArray[np.uint8]
    flow: Floats


def _ball_heights(relief: _Relief, points: Array, radii: Array, part: Chain, blend: float) -> None:
    """Merge one chain into the relief; ``points`` (N, 3) as x, y, height in fine pixels."""
    reach = float(radii.max()) + 1.0
    left, top = np.floor(points[:, :2].min(axis=0) - reach).astype(int)
    right, bottom = np.ceil(points[:, :2].max(axis=0) + reach).astype(int) + 1
    rows, columns = relief.height.shape
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, columns), min(bottom, rows)
    own = np.full((bottom - top, right - left), -np.inf, np.float32)
    which = np.zeros(own.shape, np.int32)
    for number, ((x, y, z), r) in enumerate(zip(points, radii, strict=True)):
        x0, x1 = max(int(x - r), left), min(int(x + r) + 2, right)
        y0, y1 = max(int(y - r), top), min(int(y + r) + 2, bottom)
        if x0 >= x1 or y0 >= y1:
            continue
        dx = np.arange(x0, x1, dtype=np.float32) - np.float32(x)
        dy = np.arange(y0, y1, dtype=np.float32) - np.float32(y)
        square = np.float32(r * r) - dx[None, :] ** 2 - dy[:, None] ** 2
        inside = square > 0.0
        here = np.float32(z) + np.float32(part.flatten) * np.sqrt(np.maximum(square, 0.0))
        window = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        higher = inside & (here > own[window])
        own[window][higher] = here[higher]
        which[window][higher] = number
    area = slice(top, bottom), slice(left, right)
    before = relief.height[area]
    nearer = own > before
    with np.errstate(invalid="ignore"):
        gap = np.abs(own - before)
        bulge = np.maximum(blend - gap, 0.0) ** 2 / (4.0 * blend)  # polynomial smooth maximum
    merged = np.maximum(own, before)
    both = np.isfinite(own) & np.isfinite(before)
    merged[both] += bulge[both]
    relief.height[area] = merged
    relief.tag[area][nearer] = part.tag
    along = np.gradient(points[:, :2], axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    relief.flow[area][nearer] = along.astype(np.float32)[which[nearer]]


def _smooth(values: Floats, inside: NDArray[np.bool_], sigma: float) -> Floats:
    """Blur that takes nothing from outside the body."""
    weight = inside.astype(np.float32)
    spread = weight if values.ndim == 2 else weight[..., None]
    summed = cv2.GaussianBlur(np.where(spread > 0, values, 0).astype(np.float32), (0, 0), sigma)
    share = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-4)
    return np.asarray(summed / (share if values.ndim == 2 else share[..., None]), np.float32)


def _wide_blur(values: Floats, sigma: float) -> Floats:
    """A Gaussian blur made at a quarter of the size, where it costs a sixteenth."""
    rows, columns = values.shape
    small = cv2.resize(values, (columns // 4 + 1, rows // 4 + 1), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), max(sigma / 4.0, 0.5))
    return np.asarray(cv2.resize(blurred, (columns, rows), interpolation=cv2.INTER_LINEAR))


def sample_hair_colour(rng: Rng, dyed: bool) -> Array:
    """Black, white, grey, cream, tan, red, brown; any colour at all when ``dyed``."""
    if dyed:
        return sample_colour(rng, (0.0, 1.0), (0.1, 0.6), (0.2, 0.95))
    kind = rng.random()
    if kind < 0.2:
        return sample_colour(rng, (0.0, 0.12), (0.0, 0.3), (0.08, 0.33))
    if kind < 0.38:
        return sample_colour(rng, (0.06, 0.14), (0.0, 0.14), (0.75, 0.98))
    if kind < 0.48:
        return sample_colour(rng, (0.55, 0.7), (0.0, 0.13), (0.3, 0.75))
    return sample_colour(rng, (0.02, 0.12), (0.2, 0.75), (0.2, 0.92))


def _coat(rng: Rng, rest: Array, tag: NDArray[np.uint8], hoofs: bool) -> Array:
    """Linear albedo (N, 3) at body points (N, 3)."""
    dyed = bool(rng.random() < 0.05)  # so that no network learns that animals are brown
    base, other, third = (sample_hair_colour(rng, dyed) for _ in range(3))
    fine, wide = sample_field(rng, 0.06, 3), sample_field(rng, rng.uniform(0.3, 0.9), 4, 0.45)
    colour = np.broadcast_to(base, rest.shape) * np.exp(0.16 * fine.solid(rest))[:, None]
    blot = wide.solid(rest)
    x, y = rest[:, 0], rest[:, 1]
    kind = rng.random()
    if kind < 0.28:
        level = rng.normal(0.3, 0.5)
        colour = mix(colour, other, step(blot, level, 0.12))
        if rng.random() < 0.3:
            third_blot = sample_field(rng, 0.4, 3).solid(rest)
            colour = mix(colour, third, step(third_blot, 0.9, 0.12))
    elif kind < 0.42:
        warp = x * rng.uniform(4.0, 9.0) * 6.3 + 2.2 * sample_field(rng, 0.35, 3).solid(rest)
        bars = step(np.sin(warp + 2.0 * y), rng.uniform(-0.2, 0.6), 0.7)
        colour = mix(colour, other, bars * rng.uniform(0.4, 0.95))
    elif kind < 0.54:
        spots = sample_field(rng, rng.uniform(0.07, 0.25), 2, 0.4).solid(rest)
        colour = mix(colour, other, step(spots, rng.uniform(0.5, 1.2), 0.25))
    elif kind < 0.7:
        trunk = (tag == Part.TRUNK) | (tag == Part.TAIL)
        line = np.median(y[trunk]) if trunk.any() else 0.0
        saddle = step(y + 0.08 * blot, line + rng.uniform(-0.05, 0.12), 0.18)
        colour = mix(colour, other, saddle * np.where(trunk, 1.0, 0.3))
    if rng.random() < 0.6:
        pale = np.clip(base * rng.uniform(1.4, 3.0) + 0.08, 0, 0.9)
        trunk = tag == Part.TRUNK
        edge = np.quantile(y[trunk], rng.uniform(0.08, 0.3)) if trunk.any() else 0.0
        colour = mix(colour, pale, (1.0 - step(y + 0.03 * blot, edge, 0.2)) * trunk * 0.8)
    if rng.random() < 0.45:
        sock = third if rng.random() < 0.5 else np.array([0.8, 0.78, 0.74])
        high = rng.uniform(0.05, 0.3)
        low = (1.0 - step(y + 0.03 * blot, high, 0.06)) * ((tag == Part.LEG) | (tag == Part.PAW))
        colour = mix(colour, sock, low)
    if rng.random() < 0.4:
        colour = mix(
            colour, other, (tag == Part.FACE) * step(blot, rng.normal(0.0, 0.6), 0.3) * 0.9
        )
    if rng.random() < 0.35:
        colour = mix(colour, other * 0.6, (tag == Part.EAR) * 0.8)
    if rng.random() < 0.35:
        colour = mix(colour, third, (tag == Part.TAIL) * 0.8)
    if hoofs:
        horn = sample_colour(rng, (0.05, 0.1), (0.1, 0.4), (0.08, 0.4))
        colour = mix(colour, horn, (tag == Part.PAW) * 0.9)
    bone = sample_colour(rng, (0.08, 0.13), (0.1, 0.4), (0.3, 0.9))
    return np.clip(mix(colour, bone, (tag == Part.HORN) * 1.0), 0.006, 0.92)


def _shade(rng: Rng, relief: _Relief, inside: NDArray[np.bool_], scale: float) -> Array:
    """Light (H, W, 3) that the body receives."""
    height = np.where(inside, relief.height, 0.0).astype(np.float32)
    smooth = _smooth(height, inside, max(1.0, 0.012 * scale))
    dy, dx = np.gradient(smooth)
    norm = np.sqrt(dx * dx + dy * dy + 1.0)
    normal = np.stack([-dx / norm, dy / norm, 1.0 / norm], axis=-1)  # x right, y up, z to viewer
    way, rise = rng.uniform(-1.3, 1.3), rng.uniform(0.3, 1.2)
    sun = np.array([np.sin(way) * np.cos(rise), np.sin(rise), np.cos(way) * np.cos(rise)])
    slope = normal @ sun.astype(np.float32)
    direct = np.clip((slope + 0.25) / 1.25, 0.0, None) ** 1.3
    hidden = np.zeros_like(smooth)
    for sigma in (0.04 * scale, 0.12 * scale):
        around = _wide_blur(np.where(inside, height, height[inside].min()), sigma)
        hidden += np.clip((around - height) / (0.25 * scale), 0.0, 1.0)
    open_sky = np.exp(-1.6 * hidden)
    up = (0.5 + 0.5 * normal[..., 1]) * open_sky
    bright = rng.uniform(0.5, 2.4)
    warm = np.array([1.0, rng.uniform(0.84, 0.97), rng.uniform(0.65, 0.92)])
    sky = np.array([rng.uniform(0.75, 0.95), 0.95, rng.uniform(0.95, 1.15)])
    below = np.array([0.5, 0.48, 0.4]) * rng.uniform(0.25, 0.8)
    lit = (direct * open_sky**0.7)[..., None] * (warm * bright)
    return np.asarray(
        lit + up[..., None] * sky * 0.9 + (open_sky[..., None] - up[..., None]) * below
    )


def _strands(
    rng: Rng,
    canvas: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    relief: _Relief,
    inside: NDArray[np.bool_],
    length: float,
) -> None:
    """Hairs from random roots, along the flow, in the colour of the root, a little varied."""
    rows, columns = np.nonzero(inside)
    per_hair = max(10.0, length * 2.2)
    pick = rng.integers(len(rows), size=int(np.clip(len(rows) / per_hair, 500, 9000)))
    edge = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    rim_rows, rim_columns = np.nonzero(inside & edge)
    rim = rng.integers(len(rim_rows), size=min(len(rim_rows), 2200))
    r = np.concatenate([rows[pick], rim_rows[rim]])
    c = np.concatenate([columns[pick], rim_columns[rim]])
    order = np.argsort(relief.height[r, c], kind="stable")
    r, c = r[order], c[order]
    soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), max(2.0, length * 0.5))
    gy, gx = np.gradient(soft)
    outward = -np.stack([gx[r, c], gy[r, c]], axis=1)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-5)
    near_rim = (edge[r, c] * 0.55)[:, None]
    way = relief.flow[r, c] + outward * near_rim + rng.normal(0, 0.28, (len(r), 2))
    way[:, 1] += 0.2
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-5)
    long = length * _HAIR[relief.tag[r, c]] * rng.uniform(0.5, 1.2, len(r))
    root = np.stack([c, r], axis=1).astype(np.float64)
    bent = way + rng.normal(0, 0.2, way.shape) + np.array([0.0, 0.25])
    middle = root + way * long[:, None] * 0.5
    tip = middle + bent * long[:, None] * 0.5
    lines = np.rint(np.stack([root, middle, tip], axis=1) * 16).astype(np.int32)
    shade = np.exp(rng.normal(0.0, 0.13, len(r)))[:, None]
    tint = np.clip(canvas[r, c] * shade, 0, 255)
    for number in np.flatnonzero(long > 1.2):
        stroke = lines[number].reshape(1, 3, 2)
        cv2.polylines(canvas, stroke, False, tint[number].tolist(), 1, cv2.LINE_AA, 4)
        cv2.polylines(alpha, stroke, False, 255.0, 1, cv2.LINE_AA, 4)


def _draw_marks(
    rng: Rng, canvas: NDArray[np.uint8], relief: _Relief, marks: list[tuple[Array, float, str]]
) -> None:
    """Eyes and nose where the body does not hide them; each (x, y, height), radius, kind."""
    iris = sample_colour(rng, (0.03, 0.3), (0.2, 0.9), (0.1, 0.7)) * 255
    for (x, y, z), radius, kind in marks:
        row, column = round(float(y)), round(float(x))
        if not (0 <= row < canvas.shape[0] and 0 <= column < canvas.shape[1]):
            continue
        if relief.height[row, column] > z + 2.2 * radius:
            continue
        centre = (round(float(x) * 16), round(float(y) * 16))

        def disc(r: float, colour: Sequence[float], at: tuple[int, int] = centre) -> None:
            cv2.circle(canvas, at, max(round(r * 16), 8), colour, -1, cv2.LINE_AA, 4)

        shift = round(radius * 6)
        if kind == "eye":
            disc(radius * 1.25, (22.0, 18.0, 16.0))
            disc(radius, iris.tolist())
            disc(radius * 0.7, (8.0, 8.0, 10.0))
            disc(radius * 0.2, (215.0, 220.0, 225.0), (centre[0] - shift, centre[1] - shift))
        else:
            disc(radius, (30.0, 24.0, 24.0))
            disc(radius * 0.35, (105.0, 98.0, 98.0), (centre[0], centre[1] - round(radius * 7)))


def _view(rng: Rng, parts: list[Chain], size: int) -> tuple[Array, float, Array, Array]:
    """Rotation rows (right, up, towards the viewer), fine pixels a unit, low and high x, y."""
    yaw, pitch = rng.uniform(-0.75, 1.15), rng.uniform(-0.02, 0.3)
    c, s = np.cos(pitch), np.sin(pitch)
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    rotation = tilt @ turn_y(-yaw)
    if rng.random() < 0.5:
        rotation = rotation * np.array([[-1.0], [1.0], [1.0]])
    ends = [(part.points @ rotation.T, part.radii[:, None]) for part in parts]
    low = np.min([(p[:, :2] - r).min(axis=0) for p, r in ends], axis=0)
    high = np.max([(p[:, :2] + r).max(axis=0) for p, r in ends], axis=0)
    scale = size * _FINE / float((high - low).max())
    return rotation, scale, low, high


def draw_animal(
    rng: Rng, parts: list[Chain], marks: Marks, fur: float, hoofs: bool, size: int
) -> tuple[Array, Array, Array]:
    """Draw a body; see ``cutouts.CUTOUTS`` for what is returned. ``fur`` in trunk lengths."""
    rotation, scale, low, high = _view(rng, parts, size)
    corner = np.array([low[0], high[1]])
    margin = int(fur * scale * 1.2) + 6

    def project(at: Array) -> Array:
        turned = at @ rotation.T
        x = (turned[..., 0] - corner[0]) * scale + margin
        y = (corner[1] - turned[..., 1]) * scale + margin
        return np.stack([x, y, turned[..., 2] * scale], axis=-1)

    width, height = (int(side) + 2 * margin for side in (high - low) * scale)
    relief = _Relief(
        np.full((height, width), -np.inf, np.float32),
        np.zeros((height, width), np.uint8),
        np.zeros((height, width, 2), np.float32),
    )
    for part in parts:
        blend = scale * (0.02 if part.tag in (Part.EAR, Part.HORN, Part.TAIL) else 0.07)
        _ball_heights(relief, project(part.points), part.radii * scale, part, blend)
    inside = np.isfinite(relief.height)
    rows, columns = np.nonzero(inside)
    x = (columns - margin) / scale + corner[0]
    y = corner[1] - (rows - margin) / scale
    body = np.stack([x, y, relief.height[inside] / scale], axis=1) @ rotation
    colour = np.zeros((height, width, 3), np.float32)
    colour[inside] = _coat(rng, body.astype(np.float32), relief.tag[inside], hoofs)
    lit = colour * _shade(rng, relief, inside, scale)
    exposure = rng.uniform(0.75, 1.3)
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[inside] = np.clip(develop(lit[inside], rng, exposure) * 255.0, 0, 255)
    canvas = np.ascontiguousarray(spread(canvas, inside))  # hair beyond the edge lies on it
    opaque = inside.astype(np.uint8) * np.uint8(255)
    flow = _smooth(relief.flow, inside, 0.03 * scale)
    hairy = _Relief(relief.height, relief.tag, flow)
    _strands(rng, canvas, opaque, hairy, inside, fur * scale)
    eyes = [(project(eye), marks.eye_radius * scale, "eye") for eye in marks.eyes]
    nose = (project(marks.nose), marks.nose_radius * scale, "nose")
    _draw_marks(rng, canvas, relief, [*eyes, nose])
    alpha = cv2.GaussianBlur(opaque.astype(np.float32) / 255.0, (0, 0), rng.uniform(0.8, 1.3))
    grain = rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(0.008)
    noisy = canvas * np.float32(1 / 255) + grain
    towards = np.where(inside, relief.height, np.nan)
    return np.clip(noisy, 0, 1), np.asarray(alpha), towards
