"""What a network is trained towards: named losses and their weighted sum.

Losses of alpha count every pixel. Losses of disparity count only the pixels whose target is valid:
the mean over the samples of each sample's mean over its valid pixels, so that a sample counts the
same however many there are. Samples without a valid pixel are left out. In a batch of such samples
the losses of disparity and their gradients are exactly 0.

Sources: Milletari et al. 2016, "V-Net" (dice); Wang et al. 2004, "Image quality assessment"
(SSIM); Girshick 2015, "Fast R-CNN" (smooth L1); Ranftl et al. 2020, "Towards robust monocular
depth estimation" (MiDaS: the scale-and-shift-invariant loss and the gradient matching on its
residual; the latter first in Li and Snavely 2018, "MegaDepth"); Eigen et al. 2014, "Depth map
prediction from a single image" (errors of logarithms, free of scale).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.functional.image import structural_similarity_index_measure

from maskdepth.config import Settings

SMOOTH_L1_BETA = 0.1  # disparity error at which smooth L1 turns from square to straight
MIN_VARIANCE = 1e-4  # a flatter disparity map is not stretched to fit the target
GRADIENT_SCALES = 4
LOG_FLOOR = 0.03  # added before the logarithm: beyond 30 times the nearest distance, all is far


class LossWeights(Settings):
    """How much each loss counts in the total; 0 leaves it out, uncomputed.

    Attributes:
        alpha_bce: binary cross-entropy, from logits.
        alpha_dice: 1 - 2 sum(p t) / (sum(p^2) + sum(t^2)), per picture.
        alpha_l1: mean absolute error.
        alpha_mse: mean squared error.
        disparity_ssim: (1 - SSIM) / 2 on the raw output, range 1, uniform window.
        disparity_smooth_l1: square below an error of 0.1, straight above.
        disparity_l1: mean absolute error.
        disparity_mse: mean squared error.
        disparity_ssi: mean absolute error after fitting scale and shift per picture.
        disparity_gradient: differences between neighbours in that residual, at four scales.
        disparity_log: mean absolute error of log(disparity + 0.03) after taking out its mean per
            picture: relative errors count the same near and far, and scale does not count.
        ssim_window: side of SSIM's window in pixels, odd.
    """

    alpha_bce: float = Field(1.0, ge=0)
    alpha_dice: float = Field(0.5, ge=0)
    alpha_l1: float = Field(0.5, ge=0)
    alpha_mse: float = Field(0.0, ge=0)
    disparity_ssim: float = Field(0.0, ge=0)
    disparity_smooth_l1: float = Field(0.0, ge=0)
    disparity_l1: float = Field(1.0, ge=0)
    disparity_mse: float = Field(0.0, ge=0)
    disparity_ssi: float = Field(1.0, ge=0)
    disparity_gradient: float = Field(0.5, ge=0)
    disparity_log: float = Field(0.0, ge=0)
    ssim_window: int = Field(7, ge=3, le=63)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ssim_window % 2 == 0:
            raise ValueError("an odd ssim_window")
        if not self.active():
            raise ValueError("at least one loss with a weight above 0")
        return self

    def active(self) -> dict[str, float]:
        """The weights above 0, by the name of the loss."""
        weights = self.model_dump(exclude={"ssim_window"})
        return {name: weight for name, weight in weights.items() if weight > 0}


DEFAULT = LossWeights()

PRIOR_WORK = LossWeights(
    alpha_bce=0.1,
    alpha_dice=0.0,
    alpha_l1=0.0,
    disparity_ssim=0.9,
    disparity_l1=0.0,
    disparity_ssi=0.0,
    disparity_gradient=0.0,
    disparity_log=0.0,
    ssim_window=3,
)
"""0.1 BCE + 0.9 (1 - SSIM) / 2 with a window of 3, the prior work's."""


class Criterion(nn.Module):
    """The named losses of a network's outputs for a batch."""

    def __init__(self, weights: LossWeights) -> None:
        super().__init__()
        self.weights = weights
        ssim = partial(disparity_ssim, window=weights.ssim_window)
        self._disparity_losses: dict[str, Callable[[DisparityMaps], Tensor]] = {
            **_DISPARITY_LOSSES,
            "disparity_ssim": ssim,
        }

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every loss with a weight above 0, unweighted, and ``total``, their weighted sum.

        Args:
            outputs: alpha_logits (B, 1, H, W); disparity (B, 1, H, W), raw.
            batch: alpha (B, 1, H, W) in [0, 1]; disparity (B, 1, H, W), of any value where it is
                not valid; disparity_valid (B, 1, H, W), 0 or 1; has_disparity (B,), 0 or 1.

        Returns:
            Scalars in float32, whatever the outputs' type: sums of squares of half precision
            would cancel to noise.
        """
        losses: dict[str, Tensor] = {}
        with torch.autocast(outputs["disparity"].device.type, enabled=False):
            logits, alpha = outputs["alpha_logits"].float(), batch["alpha"].float()
            maps = DisparityMaps.of(outputs["disparity"], batch)
            for name in self.weights.active():
                if name in _ALPHA_LOSSES:
                    losses[name] = _ALPHA_LOSSES[name](logits, alpha)
                else:
                    losses[name] = self._disparity_losses[name](maps)
            weighted = [weight * losses[name] for name, weight in self.weights.active().items()]
            losses["total"] = torch.stack(weighted).sum()
        return losses


def alpha_dice(logits: Tensor, alpha: Tensor) -> Tensor:
    """1 - soft Dice with squares, which is 0 for a perfect soft alpha too (V-Net, section 3)."""
    pred = logits.sigmoid()
    product = (pred * alpha).sum(dim=(1, 2, 3))
    squares = (pred.square() + alpha.square()).sum(dim=(1, 2, 3))
    # One pixel's worth on both sides: an empty target asks for an empty prediction, smoothly.
    return (1 - (2 * product + 1) / (squares + 1)).mean()


@dataclass(frozen=True)
class DisparityMaps:
    """Prediction and target, both 0 where the target is not valid; all (B, 1, H, W) float32."""

    pred: Tensor
    target: Tensor
    valid: Tensor  # 0 or 1

    @classmethod
    def of(cls, pred: Tensor, batch: dict[str, Tensor]) -> Self:
        """The maps of a raw output and its batch."""
        labelled = batch["has_disparity"].reshape(-1, 1, 1, 1) > 0
        valid = (batch["disparity_valid"] > 0) & labelled  # (B, 1, H, W)
        # Selected rather than multiplied: NaN in a target that is not valid must not spread.
        return cls(
            torch.where(valid, pred.float(), 0.0),
            torch.where(valid, batch["disparity"].float(), 0.0),
            valid.float(),
        )

    @cached_property
    def residual(self) -> Tensor:
        """scale * pred + shift - target, fitted by least squares per sample; 0 where not valid.

        MiDaS, equations 2 to 4. The scale is never negative, or a map that is upside down would
        fit well. A scale of 0 leaves no gradient, so a loss on the residual needs a loss on the
        raw map beside it.
        """
        count = self.valid.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)  # (B, 1, 1, 1)

        def centred(values: Tensor) -> Tensor:
            mean = values.sum(dim=(1, 2, 3), keepdim=True) / count
            return (values - mean) * self.valid

        pred, target = centred(self.pred), centred(self.target)
        covariance = (pred * target).sum(dim=(1, 2, 3), keepdim=True) / count
        variance = pred.square().sum(dim=(1, 2, 3), keepdim=True) / count
        scale = (covariance / variance.clamp(min=MIN_VARIANCE)).clamp(min=0)
        # Both maps are centred, so the shift is 0.
        return scale * pred - target


def mean_valid(values: Tensor, valid: Tensor) -> Tensor:
    """The mean over samples of the mean over valid pixels; 0 where no sample has any."""
    count = valid.sum(dim=(1, 2, 3))  # (B,)
    per_sample = (values * valid).sum(dim=(1, 2, 3)) / count.clamp(min=1)
    return per_sample.sum() / (count > 0).sum().clamp(min=1)


def disparity_ssim(maps: DisparityMaps, window: int) -> Tensor:
    """(1 - SSIM) / 2 of the raw output with a uniform window, where its centre is valid."""
    _, similarity = structural_similarity_index_measure(
        maps.pred,
        maps.target,
        gaussian_kernel=False,
        kernel_size=window,
        data_range=1.0,
        return_full_image=True,
    )
    return mean_valid((1 - similarity) / 2, maps.valid)


def _disparity_smooth_l1(maps: DisparityMaps) -> Tensor:
    errors = functional.smooth_l1_loss(
        maps.pred, maps.target, reduction="none", beta=SMOOTH_L1_BETA
    )
    return mean_valid(errors, maps.valid)


def disparity_gradient(maps: DisparityMaps) -> Tensor:
    """Differences between neighbours in the residual, summed over four scales (MiDaS, eq. 11).

    Each scale keeps every second pixel of the one before. A difference counts where both of its
    pixels are valid.
    """
    total = maps.residual.new_zeros(())
    for scale in range(GRADIENT_SCALES):
        step = 2**scale
        residual = maps.residual[..., ::step, ::step]
        valid = maps.valid[..., ::step, ::step]
        for axis in (-2, -1):
            both = valid.narrow(axis, 1, valid.shape[axis] - 1) * valid.narrow(
                axis, 0, valid.shape[axis] - 1
            )
            total = total + mean_valid(residual.diff(dim=axis).abs(), both)
    return total


def disparity_log(maps: DisparityMaps) -> Tensor:
    """Mean absolute error of log(disparity + 0.03), with its mean per picture taken out.

    An error of a tenth counts the same near and far, as in AbsRel and delta 1, where a plain
    difference of disparities hardly counts what is far. Eigen et al. 2014, equation 1, with
    absolute values for squares. A negative prediction counts as 0 and has no gradient, so this
    loss needs a loss on the raw map beside it.
    """
    ratio = ((maps.pred.clamp(min=0) + LOG_FLOOR) / (maps.target + LOG_FLOOR)).log()
    count = maps.valid.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)  # (B, 1, 1, 1)
    mean = (ratio * maps.valid).sum(dim=(1, 2, 3), keepdim=True) / count
    return mean_valid((ratio - mean).abs(), maps.valid)


_ALPHA_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "alpha_bce": functional.binary_cross_entropy_with_logits,
    "alpha_dice": alpha_dice,
    "alpha_l1": lambda logits, alpha: functional.l1_loss(logits.sigmoid(), alpha),
    "alpha_mse": lambda logits, alpha: functional.mse_loss(logits.sigmoid(), alpha),
}

_DISPARITY_LOSSES: dict[str, Callable[[DisparityMaps], Tensor]] = {
    "disparity_smooth_l1": _disparity_smooth_l1,
    "disparity_l1": lambda maps: mean_valid((maps.pred - maps.target).abs(), maps.valid),
    "disparity_mse": lambda maps: mean_valid((maps.pred - maps.target).square(), maps.valid),
    "disparity_ssi": lambda maps: mean_valid(maps.residual.abs(), maps.valid),
    "disparity_gradient": disparity_gradient,
    "disparity_log": disparity_log,
}
