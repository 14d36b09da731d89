"""One step of learning: forward, losses, gradients, new weights, their running average."""

from __future__ import annotations

import copy
import math

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from maskdepth.errors import NonFiniteLossError
from maskdepth.learning.losses import Criterion
from maskdepth.learning.muon import Muon
from maskdepth.learning.settings import TrainingConfig


class Learner:
    """A network, its optimisers and its losses.

    Attributes:
        network: the network, without Accelerate's wrapper.
        average: the running average of its weights and statistics, or None.
        optimisers: see ``make_optimisers``.
        criterion: the losses.
    """

    def __init__(
        self, network: nn.Module, config: TrainingConfig, accelerator: Accelerator
    ) -> None:
        # Channels last: a step of the small preset on a CPU takes about a fifth less time.
        self.network = network.to(accelerator.device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = None
        if config.ema_decay > 0:
            self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.optimisers = make_optimisers(network, config)
        self.criterion = Criterion(config.losses).to(accelerator.device)
        self._config = config
        self._accelerator = accelerator
        # Wraps the forward for several processes and mixed precision; the weights are the same.
        self._wrapped = accelerator.prepare_model(network)

    @property
    def kept_network(self) -> nn.Module:
        """The network to validate and to keep: the average, if there is one."""
        return self.network if self.average is None else self.average

    def release(self) -> nn.Module:
        """The network to keep, in evaluation mode and without Accelerate's wrapper."""
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
            NonFiniteLossError: a loss or the gradient is NaN or infinite; the weights stay as they
                were.
        """
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate
        outputs = self._wrapped(
            batch["picture"], batch["plate"], batch["plate_disparity"], batch["validity"]
        )
        losses = self.criterion(outputs, batch)
        self.network.zero_grad(set_to_none=True)
        self._accelerator.backward(losses["total"])
        figures = {name: value.detach() for name, value in losses.items()}
        if self._config.clip_norm > 0:
            figures["gradient_norm"] = nn.utils.clip_grad_norm_(
                self.network.parameters(), self._config.clip_norm
            )
        # All figures in one transfer: only here does the CPU wait for the GPU.
        values = torch.stack([value.float() for value in figures.values()]).tolist()
        named = dict(zip(figures, values, strict=True))
        if not all(math.isfinite(value) for value in values):
            raise NonFiniteLossError(named, step, batch["index"].tolist())
        for optimiser in self.optimisers:
            optimiser.step()
        if self.average is not None:
            update_average(self.average, self.network, step, self._config.ema_decay)
        return named


def make_optimisers(network: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Muon for weights that a norm follows and AdamW for the rest, or one optimiser for all.

    A norm follows the layers without a bias. Only the direction of their weights matters, not the
    length, and Muon's steps have a fixed length. AdamW is that of Loshchilov and Hutter 2019.
    Biases and norms have no weight decay: pulling the scale of a norm towards 0 only works against
    the learning rate.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    before_norms = {
        id(layer.weight)
        for layer in network.modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is None
    }
    chosen = before_norms if config.optimiser == "muon" else set()
    by_muon = [p for p in parameters if id(p) in chosen]
    others = [p for p in parameters if id(p) not in chosen]
    rate, decay = config.learning_rate, config.weight_decay
    optimisers: list[torch.optim.Optimizer] = []
    if by_muon:
        optimisers.append(Muon(by_muon, rate, config.momentum, decay))
    if others:
        groups = [
            {"params": [p for p in others if p.dim() > 1], "weight_decay": decay},
            {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
        ]
        if config.optimiser == "sgd":
            optimisers.append(torch.optim.SGD(groups, lr=rate, momentum=config.momentum))
        else:
            # One kernel for all weights: launching hundreds takes a GPU longer than computing.
            fused = all(p.device.type == "cuda" for p in others) or None
            optimisers.append(torch.optim.AdamW(groups, lr=rate, fused=fused))
    return optimisers


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Move a running average towards a network: its weights and the statistics of batch norms.

    The decay is min(decay, (1 + step) / (10 + step)), as in TensorFlow's ExponentialMovingAverage:
    otherwise the random initial weights would count for thousands of steps.

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
