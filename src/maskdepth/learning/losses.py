"""What a network is trained towards: named losses and their weighted sum.

Losses of alpha compare with the composite's alpha everywhere. Losses of disparity see only pixels
whose target is known; samples without any are left out, and a batch without any has losses of
exactly 0, with gradients of 0. All of them are means over samples of means over pixels, so a
sample counts the same however much of it is known.

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

__all__ = ["DEFAULT", "PRIOR_WORK", "Criterion", "LossWeights"]

SMOOTH_L1_BETA = 0.1  # disparity error at which smooth L1 turns from square to straight
LEAST_VARIANCE = 1e-4  # of a disparity map: flatter ones are not stretched to fit the target
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
        if not any(self.given().values()):
            raise ValueError("at least one loss with a weight above 0")
        return self

    def given(self) -> dict[str, float]:
        """The losses that count, by name."""
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
    """Outputs and batch to named losses.

    Args:
        weights: what counts, and how much.
    """

    def __init__(self, weights: LossWeights) -> None:
        super().__init__()
        self.weights = weights
        self._disparity_losses: dict[str, Callable[[DisparityMaps], Tensor]] = {
            **_DISPARITY_LOSSES,
            "disparity_ssim": partial(disparity_ssim, window=weights.ssim_window),
        }

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every loss with a weight above 0, unweighted, and ``total``, their weighted sum.

        Args:
            outputs: alpha_logits (B, 1, H, W); disparity (B, 1, H, W), raw.
            batch: alpha (B, 1, H, W) in [0, 1]; disparity (B, 1, H, W), anything where it is not
                valid; disparity_valid (B, 1, H, W), 0 or 1; has_disparity (B,), 0 or 1.

        Returns:
            Scalars in float32, whatever the outputs' type: sums of squares of half precision
            would cancel to noise.
        """
        losses: dict[str, Tensor] = {}
        with torch.autocast(outputs["disparity"].device.type, enabled=False):
            logits, alpha = outputs["alpha_logits"].float(), batch["alpha"].float()
            maps = DisparityMaps.of(outputs["disparity"], batch)
            for name in self.weights.given():
                if name in _ALPHA_LOSSES:
                    losses[name] = _ALPHA_LOSSES[name](logits, alpha)
                else:
                    losses[name] = self._disparity_losses[name](maps)
            weighted = [weight * losses[name] for name, weight in self.weights.given().items()]
            losses["total"] = torch.stack(weighted).sum()
        return losses


def alpha_dice(logits: Tensor, alpha: Tensor) -> Tensor:
    """1 - soft Dice with squares, which is 0 for a perfect soft alpha too (V-Net, section 3)."""
    pred = logits.sigmoid()
    product = (pred * alpha).sum(dim=(1, 2, 3))
    squares = (pred.square() + alpha.square()).sum(dim=(1, 2, 3))
    # One pixel's worth on both sides: an empty target asks for an empty prediction, smoothly.
    return (1 - (2 * product + 1) / (squares + 1)).mean()


def _alpha_l1(logits: Tensor, alpha: Tensor) -> Tensor:
    return functional.l1_loss(logits.sigmoid(), alpha)


def _alpha_mse(logits: Tensor, alpha: Tensor) -> Tensor:
    return functional.mse_loss(logits.sigmoid(), alpha)


@dataclass(frozen=True)
class DisparityMaps:
    """Prediction and target, both 0 where the target is unknown; all (B, 1, H, W) float32."""

    pred: Tensor
    target: Tensor
    valid: Tensor  # 0 or 1

    @classmethod
    def of(cls, pred: Tensor, batch: dict[str, Tensor]) -> Self:
        """Mask a raw output and its batch."""
        labelled = batch["has_disparity"].reshape(-1, 1, 1, 1) > 0
        valid = (batch["disparity_valid"] > 0) & labelled  # (B, 1, H, W)
        # Chosen, not multiplied: NaN in an unknown target must not spread.
        return cls(
            torch.where(valid, pred.float(), 0.0),
            torch.where(valid, batch["disparity"].float(), 0.0),
            valid.float(),
        )

    @cached_property
    def residual(self) -> Tensor:
        """scale * pred + shift - target, fitted by least squares per sample; 0 where unknown.

        MiDaS, equations 2 to 4. The scale is never negative: the fit would otherwise praise a
        map that is upside down. Where it is 0 there is no gradient, so a loss on the residual
        wants a loss on the raw map beside it.
        """
        count = self.valid.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)  # (B, 1, 1, 1)

        def centred(values: Tensor) -> Tensor:
            mean = values.sum(dim=(1, 2, 3), keepdim=True) / count
            return (values - mean) * self.valid

        pred, target = centred(self.pred), centred(self.target)
        covariance = (pred * target).sum(dim=(1, 2, 3), keepdim=True) / count
        variance = pred.square().sum(dim=(1, 2, 3), keepdim=True) / count
        scale = (covariance / variance.clamp(min=LEAST_VARIANCE)).clamp(min=0)
        # Centred maps: the shift is the one that brings both means together.
        return scale * pred - target


def _mean_known(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the samples with a known pixel of the mean over their known pixels; else 0."""
    known = valid.sum(dim=(1, 2, 3))  # (B,)
    per_sample = (values * valid).sum(dim=(1, 2, 3)) / known.clamp(min=1)
    return per_sample.sum() / (known > 0).sum().clamp(min=1)


def disparity_ssim(maps: DisparityMaps, window: int) -> Tensor:
    """(1 - SSIM) / 2 with a range of 1 and a uniform window, over windows centred on known pixels.

    Unknown pixels are 0 in both maps. The raw output is judged, as in the prior work.
    """
    _, similarity = structural_similarity_index_measure(
        maps.pred,
        maps.target,
        gaussian_kernel=False,
        kernel_size=window,
        data_range=1.0,
        return_full_image=True,
    )
    return _mean_known((1 - similarity) / 2, maps.valid)


def _disparity_smooth_l1(maps: DisparityMaps) -> Tensor:
    errors = functional.smooth_l1_loss(
        maps.pred, maps.target, reduction="none", beta=SMOOTH_L1_BETA
    )
    return _mean_known(errors, maps.valid)


def _disparity_l1(maps: DisparityMaps) -> Tensor:
    return _mean_known((maps.pred - maps.target).abs(), maps.valid)


def _disparity_mse(maps: DisparityMaps) -> Tensor:
    return _mean_known((maps.pred - maps.target).square(), maps.valid)


def _disparity_ssi(maps: DisparityMaps) -> Tensor:
    return _mean_known(maps.residual.abs(), maps.valid)


def disparity_gradient(maps: DisparityMaps) -> Tensor:
    """Differences between neighbours in the residual, summed over four scales (MiDaS, eq. 11).

    A scale keeps every second pixel of the one before; a difference counts where both of its
    pixels are known.
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
            total = total + _mean_known(residual.diff(dim=axis).abs(), both)
    return total


def disparity_log(maps: DisparityMaps) -> Tensor:
    """Mean absolute error of log(disparity + 0.03), its mean per picture taken out.

    Inverse depth is small where it is far, and an error of a tenth of it weighs little in a
    difference; in a logarithm it weighs the same everywhere, as it does in AbsRel and delta 1.
    Eigen et al. 2014, equation 1, with absolute values for squares. A negative prediction counts
    as 0 here and has no gradient: a loss on the raw map has to stand beside this one.
    """
    ratio = ((maps.pred.clamp(min=0) + LOG_FLOOR) / (maps.target + LOG_FLOOR)).log()
    count = maps.valid.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)  # (B, 1, 1, 1)
    mean = (ratio * maps.valid).sum(dim=(1, 2, 3), keepdim=True) / count
    return _mean_known((ratio - mean).abs(), maps.valid)


_ALPHA_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "alpha_bce": functional.binary_cross_entropy_with_logits,
    "alpha_dice": alpha_dice,
    "alpha_l1": _alpha_l1,
    "alpha_mse": _alpha_mse,
}

_DISPARITY_LOSSES: dict[str, Callable[[DisparityMaps], Tensor]] = {
    "disparity_smooth_l1": _disparity_smooth_l1,
    "disparity_l1": _disparity_l1,
    "disparity_mse": _disparity_mse,
    "disparity_ssi": _disparity_ssi,
    "disparity_gradient": disparity_gradient,
    "disparity_log": disparity_log,
}
