"""Rays are traced by NumPy or by a loop that numba compiles, to the same bits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskdepth.synthesis.worlds import SCENES, raycast, render_scene
from maskdepth.synthesis.worlds.raycast import Camera, trace
from maskdepth.synthesis.worlds.shapes import (
    Box,
    Cut,
    Ellipsoid,
    Frustum,
    Polyhedron,
    Quad,
    Shape,
    taper,
)
from maskdepth.synthesis.worlds.textures import Array, Surface

SIDE = 96


def no_paint(surface: Surface) -> Array:
    return np.ones_like(surface.points)


def striped_cut(rng: np.random.Generator) -> Cut:
    """Holes in stripes along a random direction."""
    way, period = rng.normal(size=3), rng.uniform(0.1, 0.6)

    def cut(points: Array) -> NDArray[np.bool_]:
        return np.asarray(np.mod(points @ way / period, 1.0) < 0.5, np.bool_)

    return cut


def sample_shapes(rng: np.random.Generator, count: int, holed: float) -> list[Shape]:
    """Shapes of all forms, turned and placed at random before the camera or around it."""
    shapes: list[Shape] = []
    for _ in range(count):
        a, b, c = (float(size) for size in rng.uniform(0.1, 1.5, 3))
        faces, reach = taper((a, b), (c, a), b, (a - b, c - a))
        where = {
            "centre": rng.uniform([-3.0, -3.0, -1.0], [3.0, 3.0, 9.0]),
            "axes": np.linalg.qr(rng.normal(size=(3, 3)))[0],
            "paint": no_paint,
            "cut": striped_cut(rng) if rng.random() < holed else None,
        }
        caps = (bool(rng.random() < 0.5), bool(rng.random() < 0.5))
        forms: list[Shape] = [
            Quad(size=(a, b), **where),  # type: ignore[arg-type]
            Box(size=(a, b, c), **where),  # type: ignore[arg-type]
            Ellipsoid(radii=(a, b, c), **where),  # type: ignore[arg-type]
            Frustum(height=a, radii=(b, c), caps=caps, **where),  # type: ignore[arg-type]
            Polyhedron(faces=faces, reach=reach, **where),  # type: ignore[arg-type]
        ]
        shapes.append(forms[int(rng.integers(len(forms)))])
    ground = {"centre": np.array([0.0, -4.0, 0.0]), "axes": np.eye(3)[[0, 2, 1]]}
    return [*shapes, Quad(size=(np.inf, np.inf), paint=no_paint, **ground)]  # type: ignore[arg-type]


def sample_eye(rng: np.random.Generator, parallel: bool) -> Camera:
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] if parallel else np.diag([1.0, -1.0, 1.0])
    position = -9.0 * axes[2] if parallel else np.zeros(3)
    return Camera(position, axes, 4.0 if parallel else 30.0, (20.0, 14.0), parallel)


def trace_by_numpy(*rays: Any, cuts: bool = True) -> tuple[Array, NDArray[np.int32]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raycast, "compiled_loop", lambda: None)
        return trace(*rays, cuts=cuts)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(1, 40),
)  # fmt: skip
def test_the_compiled_loop_meets_what_numpy_meets(
    seed: int, parallel: bool, double: bool, holed: float, count: int
) -> None:
    """All forms and holes, some shapes thrice at one place, few rays or many to a shape."""
    pytest.importorskip("numba", reason="the compiled loop needs numba, of [worlds]")
    rng = np.random.default_rng(seed)
    shapes = sample_shapes(rng, count, holed)
    shapes += shapes[:3]
    camera = sample_eye(rng, parallel)
    kind = np.float64 if double else np.float32
    u = np.linspace(0, 42, int(rng.integers(20, 200)), dtype=kind)
    v = np.linspace(0, 28, 61, dtype=kind)
    for cuts in (True, False):
        (t, index), (expected, other) = (
            each(camera, shapes, u, v, cuts=cuts) for each in (trace, trace_by_numpy)
        )
        assert np.isfinite(expected).any()
        np.testing.assert_array_equal(t, expected)
        np.testing.assert_array_equal(index, other)


def test_scenes_are_the_same_without_the_compiled_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="the compiled loop needs numba, of [worlds]")
    assert raycast.compiled_loop() is not None
    with_it = {family: render_scene(family, 5, 64, SIDE) for family in SCENES}
    raycast.compiled_loop.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "maskdepth.synthesis.worlds.compiled")
    try:
        assert raycast.compiled_loop() is None
        for family, scene in with_it.items():
            again = render_scene(family, 5, 64, SIDE)
            np.testing.assert_array_equal(scene.image, again.image)
            np.testing.assert_array_equal(scene.depth_m, again.depth_m)
    finally:
        raycast.compiled_loop.cache_clear()


def test_of_shapes_at_one_place_the_first_is_hit() -> None:
    rng = np.random.default_rng(5)
    shapes = sample_shapes(rng, 6, 0.5)
    tripled = [shape for shape in shapes for _ in range(3)]
    camera, steps = sample_eye(rng, False), np.arange(40, dtype=np.float64)
    index = trace(camera, shapes, steps, steps)[1]
    expected = np.where(index >= 0, 3 * index, -1)
    np.testing.assert_array_equal(trace(camera, tripled, steps, steps)[1], expected)


def test_rays_that_meet_nothing_end_at_infinity() -> None:
    """Without shapes, or with all of them behind the eye or full of holes, nothing is hit."""
    camera, steps = sample_eye(np.random.default_rng(0), False), np.arange(20, dtype=np.float32)
    behind = Ellipsoid(centre=np.array([0.0, 0.0, -5.0]), radii=(1, 1, 1), paint=no_paint)
    away = np.array([0.0, 0.0, 5.0])
    holed = Box(centre=away, size=(9, 9, 1), paint=no_paint, cut=lambda p: np.zeros(len(p), bool))
    choices: list[Sequence[Shape]] = [[], [behind], [holed], [behind, holed]]
    for shapes in choices:
        t, index = trace(camera, shapes, steps, steps)
        assert np.isinf(t).all()
        assert (index == -1).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_shapes_are_met_alone_as_together(seed: int, parallel: bool, double: bool) -> None:
    """Whether NumPy meets every shape by itself, all at once or in portions, not a bit differs."""
    rng = np.random.default_rng(seed)
    shapes, camera = sample_shapes(rng, 25, 0.4), sample_eye(rng, parallel)
    shapes += shapes[::3]  # some coincide
    kind = np.float64 if double else np.float32
    u, v = np.arange(43, dtype=kind), np.arange(29, dtype=kind)
    found = []
    for small, at_once in ((-1, 1 << 14), (-1, 60), (1 << 20, 1 << 20), (1 << 20, 300), (200, 500)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(raycast, "_SMALL", small)
            patch.setattr(raycast, "_AT_ONCE", at_once)
            found.append(trace(camera, shapes, u, v))
    for t, index in found[1:]:
        np.testing.assert_array_equal(t, found[0][0])
        np.testing.assert_array_equal(index, found[0][1])
