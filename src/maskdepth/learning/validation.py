"""Judging a network while it trains: figures on held-out composites, and a picture of some."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskdepth.depth import colourise
from maskdepth.errors import NonFiniteLossError
from maskdepth.images import grey_picture
from maskdepth.learning.feed import Loader, place
from maskdepth.metrics import MetricMean, mask_metrics

PREVIEW_COLUMNS = 6


@dataclass(frozen=True)
class Validation:
    """The outcome of a validation.

    Attributes:
        figures: means over the pictures: ``val_loss`` (the total) and ``val_loss_<name>``;
            ``val_dice``, ``val_iou`` and ``val_boundary_f`` of pictures with a mask, and
            ``val_false_positive_area`` of those without.
        preview: uint8 (6 * H, n * W, 3) RGB, see ``render_preview``.
    """

    figures: dict[str, float]
    preview: NDArray[np.uint8]


def validate(
    model: nn.Module,
    criterion: nn.Module,
    loader: Loader,
    device: torch.device,
    should_stop: Callable[[], bool],
    step: int,
) -> Validation | None:
    """Judge a network on all samples of a loader, or return None on a request to stop.

    The network is in evaluation mode meanwhile, and in its former mode afterwards.
    """
    means = MetricMean()
    preview = None
    was_training = model.training
    model.eval()
    try:
        for cpu_batch in loader:
            if should_stop():
                return None
            batch = place(cpu_batch, device)
            losses, alpha, disparity = _predict(model, criterion, batch)
            if not all(math.isfinite(value) for value in losses.values()):
                named = {f"val_{name}": value for name, value in losses.items()}
                raise NonFiniteLossError(named, step, cpu_batch["index"].tolist())
            targets = cpu_batch["alpha"].numpy()
            for pred, target in zip(alpha, targets, strict=True):
                figures = mask_metrics(pred[0], target[0])
                means.add({f"val_{name}": value for name, value in {**losses, **figures}.items()})
            if preview is None:
                preview = render_preview(place(cpu_batch, torch.device("cpu")), alpha, disparity)
    finally:
        model.train(was_training)
    assert preview is not None  # `train` takes no empty dataset
    return Validation(means.mean(), preview)


def render_preview(
    batch: dict[str, Tensor], alpha: NDArray[np.float32], disparity: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """A grid of pictures with a column for each sample, at most six.

    The rows: picture, plate, target alpha, predicted alpha, target disparity (grey where it is not
    valid), predicted disparity.

    Args:
        batch: a batch of the dataset, on the CPU.
        alpha, disparity: predictions (B, 1, H, W) in [0, 1].

    Returns:
        uint8 (6 * H, n * W, 3) RGB.
    """
    columns = []
    for i in range(min(len(alpha), PREVIEW_COLUMNS)):
        target = batch["disparity"][i, 0].numpy().copy()
        target[batch["disparity_valid"][i, 0].numpy() == 0] = np.nan
        columns.append(
            np.concatenate(
                [
                    _colours(batch["picture"][i].numpy().transpose(1, 2, 0)),
                    _colours(batch["plate"][i].numpy().transpose(1, 2, 0)),
                    grey_picture(batch["alpha"][i, 0].numpy()),
                    grey_picture(alpha[i, 0]),
                    colourise(target),
                    colourise(disparity[i, 0]),
                ]
            )
        )
    return np.concatenate(columns, axis=1)


@torch.no_grad()
def _predict(
    model: nn.Module, criterion: nn.Module, batch: dict[str, Tensor]
) -> tuple[dict[str, float], NDArray[np.float32], NDArray[np.float32]]:
    """Losses by name, alpha and disparity (B, 1, H, W) in [0, 1]."""
    outputs = model(batch["picture"], batch["plate"], batch["plate_disparity"], batch["validity"])
    losses = {
        "loss" if name == "total" else f"loss_{name}": float(value)
        for name, value in criterion(outputs, batch).items()
    }
    alpha = outputs["alpha_logits"].float().sigmoid().cpu().numpy()
    disparity = outputs["disparity"].float().clamp(0, 1).cpu().numpy()
    return losses, alpha, disparity


def _colours(values: NDArray[Any]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return levels
