"""Vectors and frames: rows of coordinates, and axes as the rows of a matrix."""

from __future__ import annotations

import math

import numpy as np

from maskdepth.synthesis.worlds.textures import Array


def dot(first: Array, second: Array) -> Array:
    """Row by row, (N, 3) and (N, 3) or (3,) to (N,)."""
    x, y, z = second.T.astype(first.dtype)
    return np.asarray(first[:, 0] * x + first[:, 1] * y + first[:, 2] * z)


def turn(vectors: Array, axes: Array) -> Array:
    """Vectors (N, 3) in the frame whose axes are the rows of ``axes`` (3, 3).

    Or each in a frame of its own, of axes (3, 3, N).
    """
    return np.stack(components(vectors, axes), axis=1)


def components(vectors: Array, axes: Array) -> list[Array]:
    """Along each row of ``axes``, (N,): the columns of ``turn``.

    Not a matrix product: for these sizes its threads cost more than they save, and its rounding
    differs from library to library.
    """
    x, y, z = np.ascontiguousarray(vectors.T)
    rows = axes.astype(vectors.dtype, copy=False)
    return [x * row[0] + y * row[1] + z * row[2] for row in rows]


def unit(vectors: Array) -> Array:
    """Rows (N, 3) scaled to length one."""
    return np.asarray(vectors / np.sqrt(np.maximum(dot(vectors, vectors), 1e-18))[:, None])


def turn_y(angle: float) -> Array:
    """Rows: the axes of a frame turned by ``angle`` radians about the vertical."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])


STRAIGHT = turn_y(0.0)
"""The frame of the world."""


def frame_along(direction: Array) -> Array:
    """Rows: axes whose second (y) is ``direction``."""
    # written out: for one vector NumPy's cross product costs twenty times as much
    x, y, z = direction.tolist()
    long = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / long, y / long, z / long
    if abs(z) < 0.9:  # across the direction and z, else across it and x
        side = math.hypot(x, y)
        a, b, c = y / side, -x / side, 0.0
    else:
        side = math.hypot(y, z)
        a, b, c = 0.0, z / side, -y / side
    third = [b * z - c * y, c * x - a * z, a * y - b * x]
    return np.array([[a, b, c], [x, y, z], third])
