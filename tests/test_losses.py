"""The losses: against independent oracles, under their laws, and where labels are missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from maskdepth.depth import fit_scale_shift
from maskdepth.errors import ConfigError
from maskdepth.learning.losses import Criterion, LossWeights

NAMES = [name for name in LossWeights.model_fields if name != "ssim_window"]
DISPARITY = [name for name in NAMES if name.startswith("disparity_")]
NOTHING = dict.fromkeys(NAMES, 0.0)
ALL = LossWeights(**{**dict.fromkeys(NAMES, 1.0), "ssim_window": 3})


def make_batch(
    batch: int = 2, side: int = 16, seed: int = 0
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    random = torch.Generator().manual_seed(seed)

    def uniform() -> Tensor:
        return torch.rand(batch, 1, side, side, generator=random)

    outputs = {"alpha_logits": 4 * uniform() - 2, "disparity": uniform() + 0.1 * uniform()}
    for value in outputs.values():
        value.requires_grad_()
    return outputs, {
        "alpha": uniform(),
        "disparity": uniform(),
        "disparity_valid": torch.ones(batch, 1, side, side),
        "has_disparity": torch.ones(batch),
    }


def one(name: str, **more: Any) -> Criterion:
    return Criterion(LossWeights(**{**NOTHING, name: 1.0, **more}))


def value_of(name: str, outputs: dict[str, Tensor], batch: dict[str, Tensor], **more: Any) -> float:
    return float(one(name, **more)(outputs, batch)[name].detach())


def arrays(
    outputs: dict[str, Tensor], batch: dict[str, Tensor]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    logits = outputs["alpha_logits"].detach().double().numpy()
    return (
        1 / (1 + np.exp(-logits)),
        batch["alpha"].double().numpy(),
        outputs["disparity"].detach().double().numpy(),
        batch["disparity"].double().numpy(),
    )


def test_plain_losses_are_their_formulas() -> None:
    outputs, batch = make_batch()
    p, t, pred, target = arrays(outputs, batch)
    axes = (1, 2, 3)
    dice = 1 - (2 * (p * t).sum(axes) + 1) / ((p**2 + t**2).sum(axes) + 1)
    error = np.abs(pred - target)
    expected = {
        "alpha_bce": -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(),
        "alpha_dice": dice.mean(),
        "alpha_l1": np.abs(p - t).mean(),
        "alpha_mse": ((p - t) ** 2).mean(),
        "disparity_l1": error.mean(),
        "disparity_mse": (error**2).mean(),
        "disparity_smooth_l1": np.where(error < 0.1, error**2 / 0.2, error - 0.05).mean(),
    }
    for name, value in expected.items():
        assert value_of(name, outputs, batch) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("window", [3, 7])
def test_ssim_is_that_of_torchmetrics_and_scikit_image(window: int) -> None:
    outputs, batch = make_batch(side=24)
    met = value_of("disparity_ssim", outputs, batch, ssim_window=window)
    reference = structural_similarity_index_measure(
        outputs["disparity"].detach(),
        batch["disparity"],
        gaussian_kernel=False,
        kernel_size=window,
        data_range=1.0,
    )
    assert met == pytest.approx((1 - float(reference)) / 2, rel=1e-5)

    # scikit-image pads otherwise: compare where no window meets the border.
    edge = window // 2
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    batch["disparity_valid"] = torch.zeros_like(batch["disparity_valid"])
    batch["disparity_valid"][inner] = 1
    _, _, p, t = arrays(outputs, batch)
    mask = batch["disparity_valid"].numpy()
    maps = [
        structural_similarity(
            a, b, win_size=window, data_range=1.0, full=True, use_sample_covariance=False
        )[1][inner].mean()
        for a, b in zip((p * mask)[:, 0], (t * mask)[:, 0], strict=True)
    ]
    met = value_of("disparity_ssim", outputs, batch, ssim_window=window)
    assert met == pytest.approx((1 - np.mean(maps)) / 2, rel=1e-4)


def aligned_residuals(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> list[np.ndarray]:
    """By the least squares of the ground room, sample by sample."""
    _, _, p, t = arrays(outputs, batch)
    residuals = []
    for pred, target, valid in zip(p[:, 0], t[:, 0], batch["disparity_valid"][:, 0], strict=True):
        scale, shift = fit_scale_shift(pred, target, valid.numpy() > 0)
        residuals.append(scale * pred + shift - target)
    return residuals


def related_batch(batch: int = 2, side: int = 20) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A prediction that is related to its target, so that the fitted scale is above 0."""
    outputs, truth = make_batch(batch, side)
    pred = 0.4 * truth["disparity"] + 0.2 + 0.2 * outputs["disparity"].detach()
    return {**outputs, "disparity": pred.requires_grad_()}, truth


def test_ssi_is_the_error_after_a_least_squares_fit() -> None:
    outputs, batch = related_batch()
    batch["disparity_valid"][0, 0, :9] = 0
    valid = batch["disparity_valid"][:, 0].numpy() > 0
    residuals = aligned_residuals(outputs, batch)
    expected = np.mean([np.abs(r[v]).mean() for r, v in zip(residuals, valid, strict=True)])
    assert value_of("disparity_ssi", outputs, batch) == pytest.approx(expected, rel=1e-4)


def test_log_is_the_mean_error_of_logarithms_about_their_mean() -> None:
    outputs, batch = make_batch()
    _, _, p, t = arrays(outputs, batch)
    ratio = np.log((p + 0.03) / (t + 0.03)).reshape(len(p), -1)
    expected = np.abs(ratio - ratio.mean(axis=1, keepdims=True)).mean()
    assert value_of("disparity_log", outputs, batch) == pytest.approx(expected, rel=1e-5)


def test_log_counts_an_error_of_a_tenth_the_same_near_and_far() -> None:
    _, batch = make_batch()
    costs = []
    for level in (0.4, 0.8):
        target = torch.full_like(batch["disparity"], level)
        pred = target.clone()
        pred[..., :8, :] = pred[..., :8, :] * 1.1
        outputs = {"alpha_logits": torch.zeros_like(pred), "disparity": pred}
        costs.append(value_of("disparity_log", outputs, {**batch, "disparity": target}))
    assert costs[0] == pytest.approx(costs[1], rel=0.05)


def test_gradient_matches_neighbours_of_the_residual_at_four_scales() -> None:
    outputs, batch = related_batch()
    expected = 0.0
    for step in (1, 2, 4, 8):
        kept = [residual[::step, ::step] for residual in aligned_residuals(outputs, batch)]
        for axis in (0, 1):
            expected += np.mean([np.abs(np.diff(r, axis=axis)).mean() for r in kept])
    assert value_of("disparity_gradient", outputs, batch) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["disparity_ssi", "disparity_gradient"])
@given(scale=st.floats(0.2, 50), shift=st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_aligned_losses_do_not_see_scale_and_shift(name: str, scale: float, shift: float) -> None:
    outputs, batch = related_batch()
    moved = {**outputs, "disparity": scale * outputs["disparity"] + shift}
    assert value_of(name, moved, batch) == pytest.approx(
        value_of(name, outputs, batch), rel=2e-3, abs=1e-5
    )


def test_an_upside_down_map_is_not_praised() -> None:
    outputs, batch = make_batch()
    upright = {**outputs, "disparity": batch["disparity"].clone()}
    turned = {**outputs, "disparity": 1 - batch["disparity"]}
    assert value_of("disparity_ssi", upright, batch) == pytest.approx(0, abs=1e-5)
    assert value_of("disparity_ssi", turned, batch) > 0.1


@given(
    alpha=st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=64, max_size=64),
    seed=st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_a_perfect_prediction_costs_nothing(alpha: list[float], seed: int) -> None:
    """All losses but cross-entropy, whose least value is the entropy of a soft target."""
    outputs, batch = make_batch(1, 8, seed)
    batch["alpha"] = torch.tensor(alpha).reshape(1, 1, 8, 8)
    outputs = {
        "alpha_logits": torch.logit(batch["alpha"], eps=1e-7),
        "disparity": batch["disparity"].clone(),
    }
    losses = Criterion(ALL)(outputs, batch)
    for name in NAMES:
        if name != "alpha_bce":
            assert losses[name].item() == pytest.approx(0, abs=2e-4), name


@given(index=st.integers(0, 3), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_a_sample_without_label_is_left_out(index: int, seed: int) -> None:
    outputs, batch = make_batch(4, 12, seed)
    batch["has_disparity"][index] = 0
    batch["disparity"][index] = float("nan")
    others = [i for i in range(4) if i != index]
    alone = Criterion(ALL)(
        {name: value[others] for name, value in outputs.items()},
        {name: value[others] for name, value in batch.items()},
    )
    losses = Criterion(ALL)(outputs, batch)
    for name in DISPARITY:
        assert losses[name].item() == pytest.approx(alone[name].item(), rel=1e-4)
    losses["total"].backward()
    gradient = outputs["disparity"].grad
    assert gradient is not None
    assert (gradient[index] == 0).all()
    assert torch.isfinite(gradient).all()
    assert all((gradient[other] != 0).any() for other in others)


def test_unknown_pixels_do_not_matter_and_get_no_gradient() -> None:
    outputs, batch = make_batch()
    batch["disparity_valid"][:, :, 4:9, 3:12] = 0
    unknown = batch["disparity_valid"] == 0
    losses = Criterion(ALL)(outputs, batch)
    losses["total"].backward()
    gradient = outputs["disparity"].grad
    assert gradient is not None
    assert (gradient[unknown] == 0).all()
    spoilt = {**outputs, "disparity": outputs["disparity"].detach().masked_fill(unknown, 1e6)}
    other = Criterion(ALL)(
        spoilt, {**batch, "disparity": batch["disparity"].masked_fill(unknown, float("nan"))}
    )
    for name in DISPARITY:
        assert other[name].item() == pytest.approx(losses[name].item(), rel=1e-6)


@pytest.mark.parametrize("missing", ["has_disparity", "disparity_valid"])
def test_a_batch_without_labels_costs_exactly_nothing_for_depth(missing: str) -> None:
    outputs, batch = make_batch()
    batch[missing] = torch.zeros_like(batch[missing])
    losses = Criterion(ALL)(outputs, batch)
    assert all(losses[name].item() == 0 for name in DISPARITY)
    losses["total"].backward()
    gradient = outputs["disparity"].grad
    assert gradient is not None
    assert (gradient == 0).all()


@pytest.mark.parametrize("pred", ["constant", "denormal", "varied"])
@pytest.mark.parametrize("target", ["constant", "denormal", "zero", "varied"])
def test_flat_and_tiny_maps_give_finite_losses_and_gradients(pred: str, target: str) -> None:
    outputs, batch = make_batch()
    varied = outputs["disparity"].detach().clone()
    kinds = {
        "constant": torch.full_like(varied, 0.3),
        "denormal": varied * 1e-40,
        "zero": torch.zeros_like(varied),
        "varied": varied,
    }
    outputs["disparity"] = kinds[pred].clone().requires_grad_()
    batch["disparity"] = kinds[target].flip(-1)
    losses = Criterion(ALL)(outputs, batch)
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    gradient = outputs["disparity"].grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() < 100


def test_sure_logits_give_finite_losses_and_gradients() -> None:
    outputs, batch = make_batch()
    outputs["alpha_logits"] = torch.full_like(outputs["alpha_logits"], 1e4).requires_grad_()
    batch["alpha"] = torch.zeros_like(batch["alpha"])
    losses = Criterion(ALL)(outputs, batch)
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert torch.isfinite(outputs["alpha_logits"].grad).all()


def test_total_is_the_weighted_sum_and_only_weighted_losses_are_there() -> None:
    outputs, batch = make_batch()
    losses = Criterion(LossWeights(**{**NOTHING, "alpha_l1": 2.0, "disparity_mse": 0.25}))(
        outputs, batch
    )
    assert set(losses) == {"alpha_l1", "disparity_mse", "total"}
    expected = 2 * losses["alpha_l1"].item() + 0.25 * losses["disparity_mse"].item()
    assert losses["total"].item() == pytest.approx(expected)
    assert all(value.shape == () for value in losses.values())


def test_half_precision_outputs_are_judged_in_full() -> None:
    outputs, batch = make_batch()
    half = {name: value.detach().bfloat16() for name, value in outputs.items()}
    full = {name: value.float() for name, value in half.items()}
    with torch.autocast("cpu", torch.bfloat16):
        met = Criterion(ALL)(half, batch)
    for name, value in Criterion(ALL)(full, batch).items():
        assert met[name].dtype == torch.float32
        assert met[name].item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        {"alpha_bce": -1},
        {"alpha_bce": float("inf")},
        {"ssim_window": 4},
        {"ssim_window": 1},
        {"depth_l1": 1},
        NOTHING,
    ],
)
def test_weights_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LossWeights.parse(values, "test")
