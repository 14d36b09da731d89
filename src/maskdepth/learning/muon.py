"""Muon: steps of equal length in every direction of a layer's weights.

The gradient of a layer's weights, as a matrix from inputs to outputs, is nearly always dominated by
a few directions, and a step along it, Adam's included, learns little in the others. Muon (Jordan et
al. 2024, "Muon: An optimizer for hidden layers in neural networks") removes the singular values of
the momentum: of U S V^T it takes U V^T, by a few matrix products (a Newton-Schulz iteration)
instead of a decomposition.

torch.optim.Muon takes no convolutions, and computes in bfloat16, which takes sixteen times as long
on a processor without units for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor

# Jordan et al.: of the odd polynomials a s + b s^3 + c s^5 this one raises small singular values
# fastest. After five rounds all but the smallest lie between 0.7 and 1.2.
_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_ROUNDS: Final = 5
_EPSILON: Final = 1e-7
# Liu et al. 2025, "Muon is scalable for LLM training": the root mean square of AdamW's steps, so
# that both take the same learning rates.
_STEP_SIZE: Final = 0.2


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
        """Move all weights that have a gradient; a ``closure`` is ignored."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                mean = state["momentum_buffer"]
                mean.lerp_(parameter.grad, 1 - momentum)
                ahead = parameter.grad.lerp(mean, momentum).flatten(1)
                length = _STEP_SIZE * max(ahead.shape) ** 0.5
                direction = orthogonalised(ahead).reshape(parameter.shape)
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(direction, alpha=-rate * length)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Approximately U V^T of a matrix U S V^T; a matrix of zeros stays as it is.

    The singular values of the result lie between 0.7 and 1.2, or lower where they were far below
    the largest.
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix  # so that the products have the length of the short side
    x = x / (x.norm() + _EPSILON)  # singular values of at most 1
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
