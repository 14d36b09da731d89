"""One step of learning: forward, losses, gradients, new weights, their running average."""

from __future__ import annotations

import copy
import math

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from maskdepth.errors import NonFiniteLossError
from maskdepth.learning.losses import Criterion
from maskdepth.learning.settings import TrainingConfig

__all__ = ["Learner", "make_optimiser", "update_average"]


class Learner:
    """A network with all that changes it.

    Attributes:
        network: the network itself, without what accelerate wraps around it.
        average: the running average of its weights and statistics, or None.
        optimiser: see ``make_optimiser``.
        criterion: outputs and batch to named losses.
    """

    def __init__(
        self, network: nn.Module, config: TrainingConfig, accelerator: Accelerator
    ) -> None:
        # Channels last: a step of the small preset on a CPU takes about a fifth less time.
        self.network = network.to(accelerator.device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = _make_average(network) if config.ema_decay > 0 else None
        self.optimiser = make_optimiser(network, config)
        self.criterion = Criterion(config.losses).to(accelerator.device)
        self._config = config
        self._accelerator = accelerator
        # Wraps the forward for several processes and mixed precision; the weights are the same.
        self._wrapped = accelerator.prepare_model(network)

    @property
    def kept_network(self) -> nn.Module:
        """The network to validate and to keep: the average where there is one."""
        return self.network if self.average is None else self.average

    def release(self) -> nn.Module:
        """The best network, on its own again: nothing of accelerate's is left around it."""
        self._accelerator.unwrap_model(self._wrapped, keep_fp32_wrapper=False)
        network = self.kept_network.eval()
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return network

    def step(self, batch: dict[str, Tensor], step: int, learning_rate: float) -> dict[str, float]:
        """Learn from one batch; ``step`` counts from 0.

        Returns:
            The losses of this process's part, "total" among them, and ``gradient_norm`` where
            gradients are clipped.

        Raises:
            NonFiniteLossError: a loss or the gradient is NaN or infinite; the weights are as they
                were before.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        outputs = self._wrapped(
            batch["picture"], batch["plate"], batch["plate_disparity"], batch["validity"]
        )
        losses = self.criterion(outputs, batch)
        self.optimiser.zero_grad(set_to_none=True)
        self._accelerator.backward(losses["total"])
        figures = {name: value.detach() for name, value in losses.items()}
        if self._config.clip_norm > 0:
            figures["gradient_norm"] = nn.utils.clip_grad_norm_(
                self.network.parameters(), self._config.clip_norm
            )
        # All figures in one transfer: the only moment the CPU waits for the GPU.
        values = torch.stack([value.float() for value in figures.values()]).tolist()
        named = dict(zip(figures, values, strict=True))
        if not all(math.isfinite(value) for value in values):
            raise NonFiniteLossError(named, step, batch["index"].tolist())
        self.optimiser.step()
        if self.average is not None:
            update_average(self.average, self.network, step, self._config.ema_decay)
        return named


def make_optimiser(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) or SGD with momentum.

    Weight decay leaves biases and norms alone: pulling a norm's scale towards 0 only fights the
    learning rate.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if config.optimiser == "adamw":
        # One kernel for all weights: hundreds of small ones take a GPU longer than the arithmetic.
        fused = all(parameter.device.type == "cuda" for parameter in parameters)
        return torch.optim.AdamW(groups, lr=config.learning_rate, fused=fused or None)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Move a running average towards a network: weights, and statistics of batch norms too.

    The decay starts low and grows to ``decay``, else the random initial weights would weigh on
    the average for thousands of steps: min(decay, (1 + step) / (10 + step)), as in TensorFlow's
    ExponentialMovingAverage.

    Args:
        step: of the network, counting from 0.
    """
    decay = min(decay, (1 + step) / (10 + step))
    means, values = average.state_dict(), network.state_dict()
    numbers = [name for name, mean in means.items() if mean.is_floating_point()]
    torch._foreach_lerp_(
        [means[name] for name in numbers], [values[name] for name in numbers], 1.0 - decay
    )
    for name in means.keys() - set(numbers):
        means[name].copy_(values[name])  # a batch norm's count of batches


def _make_average(network: nn.Module) -> nn.Module:
    average = copy.deepcopy(network).eval()
    return average.requires_grad_(False)
