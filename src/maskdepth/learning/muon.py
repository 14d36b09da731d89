"""Muon: steps of equal length in every direction of a layer's weights.

A gradient of a layer's weights, taken as a matrix from its inputs to its outputs, is nearly always
dominated by a few directions, and a step along it, Adam's too, learns little in the others. Muon
(Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") takes the momentum's
singular values away: of U S V^T it steps along U V^T. That is found by a few products of matrices
(a Newton-Schulz iteration) instead of a decomposition.

torch.optim.Muon takes matrices alone, no convolutions, and computes in bfloat16, which a processor
without units for it emulates: the iteration then takes sixteen times as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalised"]

# Jordan et al.: of the odd polynomials a s + b s^3 + c s^5 the one that lifts small singular values
# fastest; after five rounds all but the smallest lie between 0.7 and 1.2.
_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_ROUNDS: Final = 5
_TINY: Final = 1e-7
# Liu et al. 2025, "Muon is scalable for LLM training": so long are AdamW's steps, by root mean
# square, and the same learning rates serve.
_LENGTH: Final = 0.2


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum with decoupled weight decay.

    Args:
        parameters: of two or more dimensions, the first of which counts the outputs.
        lr: the learning rate, on AdamW's scale.
        momentum: share of the past in the running mean of gradients.
        weight_decay: times the learning rate, the share of a weight that a step takes away.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move all weights that have a gradient; there is no use for a ``closure``."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                memory = self.state[parameter]
                if not memory:
                    memory["momentum_buffer"] = torch.zeros_like(parameter)
                mean = memory["momentum_buffer"]
                mean.lerp_(parameter.grad, 1 - momentum)
                ahead = parameter.grad.lerp(mean, momentum).flatten(1)
                length = _LENGTH * max(ahead.shape) ** 0.5
                direction = orthogonalised(ahead).reshape(parameter.shape)
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(direction, alpha=-rate * length)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T, of its shape; where that is 0 it stays 0.

    Singular values come out between 0.7 and 1.2, those far below the largest smaller.
    """
    a, b, c = _COEFFICIENTS
    high = matrix.shape[0] > matrix.shape[1]  # products of the short side are the small ones
    x = matrix.T if high else matrix
    x = x / (x.norm() + _TINY)  # singular values of at most 1
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.T if high else x
