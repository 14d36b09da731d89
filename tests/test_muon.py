"""Muon's steps: their directions against a singular value decomposition, their lengths by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from maskdepth.learning.muon import Muon, orthogonalised

SIDES = st.integers(1, 40)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make(weight: Tensor, *, momentum: float = 0.9, decay: float = 0.0) -> tuple[nn.Parameter, Muon]:
    parameter = nn.Parameter(weight.clone())
    return parameter, Muon([parameter], 0.01, momentum, decay)


@settings(deadline=None)  # the first product wakes torch's threads
@given(SIDES, SIDES, st.integers(0, 999))
def test_the_direction_has_the_singular_vectors_and_values_near_1(
    rows: int, columns: int, seed: int
) -> None:
    matrix = draw(rows, columns, seed=seed)
    u, values, v = np.linalg.svd(matrix.numpy().astype(np.float64), full_matrices=False)
    found = u.T @ orthogonalised(matrix).numpy() @ v.T  # diagonal, if its vectors are the same
    gained = np.diagonal(found)
    np.testing.assert_allclose(found, np.diag(gained), atol=1e-3)
    far_above_0 = values > 0.01 * values.max()
    assert np.all((gained[far_above_0] > 0.6) & (gained[far_above_0] < 1.3))


@settings(deadline=None)  # the first product wakes torch's threads
@given(SIDES, SIDES, st.floats(1e-3, 1e3))
def test_the_gradients_size_does_not_count(rows: int, columns: int, factor: float) -> None:
    matrix = draw(rows, columns)
    torch.testing.assert_close(
        orthogonalised(factor * matrix), orthogonalised(matrix), atol=2e-3, rtol=0
    )


def test_steps_are_those_of_torchs_muon_but_for_its_bfloat16() -> None:
    start = draw(12, 20)
    ours, muon = make(start, momentum=0.95, decay=0.1)
    theirs = nn.Parameter(start.clone())
    # torch adds gradients up where we take their mean: the direction is the same.
    reference = torch.optim.Muon(
        [theirs], lr=0.01, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    for seed in range(1, 5):
        ours.grad = draw(12, 20, seed=seed)
        theirs.grad = ours.grad.clone()
        muon.step()
        reference.step()
    moved = (ours - start).norm()
    assert (ours - theirs).norm() < 0.03 * moved


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_moves_as_its_matrix(layout: torch.memory_format) -> None:
    start, gradient = draw(6, 4, 3, 3), draw(6, 4, 3, 3, seed=1)
    convolution, muon = make(start.to(memory_format=layout))
    matrix, reference = make(start.flatten(1))
    for _ in range(3):
        convolution.grad, matrix.grad = gradient.to(memory_format=layout), gradient.flatten(1)
        muon.step()
        reference.step()
    assert convolution.is_contiguous(memory_format=layout)
    torch.testing.assert_close(convolution.detach().flatten(1), matrix.detach())


@settings(deadline=None)  # the first product wakes torch's threads
@given(SIDES, SIDES)
def test_a_step_is_a_fifth_of_the_rate_long_by_root_mean_square(rows: int, columns: int) -> None:
    weight, muon = make(torch.zeros(rows, columns))
    weight.grad = draw(rows, columns)
    muon.step()
    short, long = sorted([rows, columns])
    # Short singular vectors of length 1: their squares add up to the short side's length.
    expected = 0.01 * 0.2 * (long * short / (rows * columns)) ** 0.5
    assert weight.detach().square().mean().sqrt() == pytest.approx(expected, rel=0.4)


def test_without_a_gradient_or_with_one_of_0_nothing_but_decay_happens() -> None:
    start = draw(3, 5)
    weight, muon = make(start, decay=0.5)
    muon.step()
    assert torch.equal(weight.detach(), start)
    weight.grad = torch.zeros(3, 5)
    muon.step()
    torch.testing.assert_close(weight.detach(), start * (1 - 0.01 * 0.5))


def test_momentum_looks_ahead() -> None:
    """Nesterov: after an opposite gradient the step is that of the mean, moved on once more."""
    first, second = torch.eye(2), torch.diag(torch.tensor([-1.0, 1.0]))
    weight, muon = make(torch.zeros(2, 2), momentum=0.5)
    weight.grad = first
    muon.step()
    before = weight.detach().clone()
    weight.grad = second
    muon.step()
    mean = 0.5 * (0.5 * first) + 0.5 * second
    ahead = 0.5 * second + 0.5 * mean
    expected = -0.01 * 0.2 * 2**0.5 * orthogonalised(ahead)
    torch.testing.assert_close(weight.detach() - before, expected)
