"""Every figure against hand-computed cases and independent libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.metrics import structural_similarity
from torchmetrics.functional import mean_absolute_error, mean_squared_error
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index

from maskdepth import metrics
from maskdepth.errors import PictureError

SEEDS = st.integers(0, 2**32 - 1)


def smooth_map(seed, shape=(48, 40), sigma=4.0):
    values = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    return ((values - values.min()) / np.ptp(values)).astype(np.float32)


def disc(row=24, column=20, radius=10, soft=0.0, shape=(48, 40)):
    """Alpha of a disc, its edge `soft` pixels wide."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = radius - np.hypot(rows - row, columns - column)
    return np.clip(distance / max(soft, 1e-6) + 0.5, 0, 1).astype(np.float32)


# --- masks -----------------------------------------------------------------------------------


def test_mask_by_hand():
    """Two pixels of three and three of four: Dice 4/7, IoU 2/5; 0.5 itself is outside."""
    pred = np.array([[1.0, 0.6, 0.51, 0.5]])
    target = np.array([[0.5, 0.7, 1.0, 0.0], [0, 0, 0, 0.9], [0, 0, 0, 0.9]])
    pred = np.vstack([pred, np.zeros((2, 4))])
    figures = metrics.mask_metrics(pred, target)
    assert figures["dice"] == pytest.approx(4 / 7)
    assert figures["iou"] == pytest.approx(2 / 5)


@given(SEEDS, SEEDS)
@settings(max_examples=25, deadline=None)
def test_mask_against_torchmetrics_and_scipy(first, second):
    """Dice is torchmetrics' F1, IoU its Jaccard index; boundary F by exact distances."""
    pred, target = smooth_map(first), smooth_map(second)
    figures = metrics.mask_metrics(pred, target)
    p, t = torch.tensor(pred > 0.5).int(), torch.tensor(target > 0.5).int()
    assert figures["dice"] == pytest.approx(float(binary_f1_score(p, t)), abs=1e-6)
    assert figures["iou"] == pytest.approx(float(binary_jaccard_index(p, t)), abs=1e-6)
    assert figures["boundary_f"] == pytest.approx(boundary_f_oracle(pred, target, 1), abs=1e-9)


def boundary_f_oracle(pred, target, tolerance):
    edges = [m & ~ndimage.binary_erosion(m, border_value=1) for m in (pred > 0.5, target > 0.5)]
    to_pred, to_target = (ndimage.distance_transform_edt(~edge) for edge in edges)
    precision = (to_target[edges[0]] <= tolerance).mean()
    recall = (to_pred[edges[1]] <= tolerance).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize(("shift", "expected"), [(2, 1.0), (3, 0.0)])
def test_boundary_tolerance_is_two_pixels_at_224(shift, expected):
    target, pred = np.zeros((224, 224)), np.zeros((224, 224))
    target[:, :100], pred[:, : 100 + shift] = 1, 1
    assert metrics.mask_metrics(pred, target)["boundary_f"] == expected


def test_boundary_tolerance_grows_with_the_picture():
    target, pred = np.zeros((448, 600)), np.zeros((448, 600))
    target[:, :100], pred[:, :104] = 1, 1
    assert metrics.mask_metrics(pred, target)["boundary_f"] == 1.0


def test_a_mask_that_fills_the_frame_has_no_boundary():
    full, half = np.ones((20, 20)), np.ones((20, 20))
    half[:, :10] = 0
    assert metrics.mask_metrics(full, full)["boundary_f"] == 1.0
    assert metrics.mask_metrics(full, half)["boundary_f"] == 0.0
    assert metrics.mask_metrics(half, full)["boundary_f"] == 0.0
    assert metrics.mask_metrics(np.zeros((20, 20)), full)["boundary_f"] == 0.0


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_a_mask_agrees_fully_with_itself_and_not_at_all_with_an_empty_one(mask):
    mask[0, 0] = True
    alpha = mask.astype(np.float32)
    assert set(metrics.mask_metrics(alpha, alpha).values()) == {1.0}
    assert set(metrics.mask_metrics(np.zeros_like(alpha), alpha).values()) == {0.0}


def test_an_empty_target_gives_false_positive_area_only():
    pred = np.zeros((10, 10))
    pred[:3] = 1
    figures = metrics.mask_metrics(pred, np.full((10, 10), 0.5))
    assert figures == {"false_positive_area": pytest.approx(0.3)}


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(PictureError, match="one size"):
        metrics.mask_metrics(np.ones((1, 4)), np.ones((4, 4)))


# --- alpha -----------------------------------------------------------------------------------


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_perfect_alpha_has_no_error(seed):
    alpha = smooth_map(seed)
    assert max(metrics.alpha_metrics(alpha, alpha.copy()).values()) < 1e-12


@given(SEEDS, SEEDS)
@settings(max_examples=15, deadline=None)
def test_alpha_against_torchmetrics_and_scipy(first, second):
    """SAD and MSE by torchmetrics, gradient and connectivity by a slow reading of the source."""
    pred, target = smooth_map(first, sigma=2), disc(soft=6)
    target = np.clip(target + 0.2 * smooth_map(second), 0, 1)
    figures = metrics.alpha_metrics(pred, target)
    p, t = torch.tensor(pred, dtype=torch.float64), torch.tensor(target, dtype=torch.float64)
    assert figures["sad"] == pytest.approx(float(mean_absolute_error(p, t)) * p.numel() / 1000)
    assert figures["mse"] == pytest.approx(float(mean_squared_error(p, t)))
    assert figures["gradient"] == pytest.approx(gradient_oracle(pred, target), rel=1e-4)
    assert figures["connectivity"] == pytest.approx(connectivity_oracle(pred, target), rel=1e-4)


def gradient_oracle(pred, target, sigma=1.4, epsilon=0.01):
    """Rhemann's gradient error with full two-dimensional kernels."""
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * epsilon)))
    v, u = np.mgrid[-half : half + 1, -half : half + 1].astype(float)

    def gauss(x):
        return np.exp(-(x**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    across = gauss(v) * -u * gauss(u) / sigma**2
    across /= math.sqrt((across**2).sum())

    def magnitude(alpha):
        alpha = alpha.astype(float)
        return np.hypot(
            ndimage.convolve(alpha, across, mode="nearest"),
            ndimage.convolve(alpha, across.T, mode="nearest"),
        )

    return ((magnitude(pred) - magnitude(target)) ** 2).sum() / 1000


def connectivity_oracle(pred, target):
    """Rhemann's connectivity error with scipy's labels, pixel masks as in the published code."""
    level = np.full(pred.shape, -1.0)
    for step in range(1, 11):
        both = (pred >= np.float32(step / 10)) & (target >= np.float32(step / 10))
        labels, count = ndimage.label(both)
        areas = ndimage.sum(both, labels, range(1, count + 1)) if count else []
        omega = labels == 1 + int(np.argmax(areas)) if count else np.zeros_like(both)
        level[(level == -1) & ~omega] = (step - 1) / 10
    level[level == -1] = 1
    phi = [1 - (a - level) * (a - level >= 0.15) for a in (pred, target)]
    return np.abs(phi[0] - phi[1]).sum() / 1000


def test_a_detached_island_costs_connectivity():
    target = disc(soft=2)
    pred = target.copy()
    pred[1:4, 1:4] = 1
    assert metrics.alpha_metrics(pred, target)["connectivity"] == pytest.approx(0.009)


# --- depth -----------------------------------------------------------------------------------


def test_depth_by_hand():
    pred, target = np.array([[1.0, 4.0, 9.0]]), np.array([[1.0, 2.0, np.nan]])
    figures = metrics.depth_metrics(pred, target, np.ones((1, 3), bool))
    ln2 = math.log(2)
    assert figures == pytest.approx(
        {
            "abs_rel": 0.5,
            "sq_rel": 1.0,
            "rmse": math.sqrt(2),
            "rmse_log": ln2 / math.sqrt(2),
            "log10": math.log10(2) / 2,
            "silog": math.sqrt(ln2**2 / 2 - 0.85 * (ln2 / 2) ** 2),
            "delta1": 0.5,
            "delta2": 0.5,
            "delta3": 0.5,
        }
    )


def test_delta_thresholds():
    """1.25, 1.25 squared, 1.25 cubed, in either direction, strictly."""
    target = np.ones((1, 4))
    pred = np.array([[1.2, 1 / 1.3, 1.9, 1 / 2.1]])
    figures = metrics.depth_metrics(pred, target, np.ones((1, 4), bool))
    assert [figures[f"delta{k}"] for k in (1, 2, 3)] == [0.25, 0.5, 0.75]


@given(SEEDS, st.floats(0.2, 5))
@settings(max_examples=20, deadline=None)
def test_scaling_a_perfect_depth_leaves_only_the_scale_in_silog(seed, scale):
    """SILog of a pure scale is sqrt(0.15) |ln scale|, RMSE log is |ln scale|."""
    target = 1 + 9 * smooth_map(seed)
    figures = metrics.depth_metrics(scale * target, target, np.ones(target.shape, bool))
    assert figures["rmse_log"] == pytest.approx(abs(math.log(scale)), abs=1e-5)
    expected = math.sqrt(0.15) * abs(math.log(scale))
    assert figures["silog"] == pytest.approx(expected, abs=1e-5)


def test_depth_without_a_valid_pixel_is_an_error():
    with pytest.raises(PictureError, match="valid depth"):
        metrics.depth_metrics(np.ones((2, 2)), np.full((2, 2), np.inf), np.ones((2, 2), bool))


# --- disparity -------------------------------------------------------------------------------


@given(SEEDS, st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=15, deadline=None)
def test_disparity_is_judged_up_to_scale_and_shift(seed, scale, shift):
    target = smooth_map(seed)
    figures = metrics.disparity_metrics(scale * target.astype(float) + shift, target)
    assert figures["ssim"] == pytest.approx(1, abs=1e-6)
    assert figures["ordinal_accuracy"] == 1
    assert figures["boundary_f1"] == pytest.approx(1, abs=1e-2)


@given(SEEDS, SEEDS)
@settings(max_examples=10, deadline=None)
def test_ssim_against_scikit_image(first, second):
    pred, target = smooth_map(first), smooth_map(second)
    figures = metrics.disparity_metrics(pred, target)
    slope, intercept = np.polyfit(pred.ravel().astype(float), target.ravel().astype(float), 1)
    expected = structural_similarity(
        np.clip(slope * pred.astype(float) + intercept, 0, 1),
        target.astype(float),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
    )
    assert figures["ssim"] == pytest.approx(expected, abs=1e-6)


def test_order_is_judged_on_the_prediction_as_it_is():
    target = smooth_map(1)
    assert metrics.disparity_metrics(-target, target)["ordinal_accuracy"] == 0
    assert metrics.disparity_metrics(np.zeros_like(target), target)["ordinal_accuracy"] == 0
    noise = np.random.default_rng(0).random(target.shape)
    assert metrics.disparity_metrics(noise, target)["ordinal_accuracy"] == pytest.approx(
        0.5, abs=0.05
    )


def test_contours_by_hand():
    """A step found in place is 1, one pixel off 0, an extra contour costs precision."""
    target = np.full((20, 20), 0.2)
    target[:, 10:] = 0.8
    moved, extra = np.full((20, 20), 0.2), target.copy()
    moved[:, 11:] = 0.8
    extra[:, :3] = 0.4
    assert metrics.disparity_metrics(target, target)["boundary_f1"] == 1
    assert metrics.disparity_metrics(moved, target)["boundary_f1"] == 0
    # 20 contour pairs in the target, 40 in the prediction, 20 shared
    assert metrics.disparity_metrics(extra, target)["boundary_f1"] == pytest.approx(2 / 3)


def test_a_flat_target_has_neither_order_nor_contours():
    target = np.full((20, 20), 0.5)
    assert set(metrics.disparity_metrics(smooth_map(0, (20, 20)), target)) == {"ssim"}


def test_invalid_pixels_and_other_regions_do_not_count():
    target = smooth_map(3)
    target[:8] = np.nan
    region = np.zeros(target.shape, bool)
    region[30:42, 15:30] = True
    pred = np.nan_to_num(smooth_map(4))
    changed = pred.copy()
    changed[:8] = 50
    assert metrics.disparity_metrics(pred, target, region) == metrics.disparity_metrics(
        changed, target, region
    )


# --- depth Dice, means, intervals --------------------------------------------------------------


def test_grey_dice_by_hand():
    """Target (1, 0.5, 0): perfect 1.25/1.5, white 3/4.5, best binary 2/2.5 or 3/3.5."""
    target = np.array([[1.0, 0.5, 0.0]])
    figures = metrics.grey_dice(np.array([[0.0, 1.0, 1.0]]), target)
    assert figures == pytest.approx(
        {"score": 1 / 3.5, "perfect": 1.25 / 1.5, "all_white": 3 / 4.5, "maximum": 3 / 3.5}
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), SEEDS)
def test_grey_dice_maximum_beats_every_picture(target, seed):
    row = np.array([target])
    maximum = metrics.grey_dice(row, row)["maximum"]
    binary = [
        metrics.grey_dice(np.array([[float(code >> k & 1) for k in range(row.size)]]), row)
        for code in range(2**row.size)
    ]
    assert maximum == pytest.approx(max(figures["score"] for figures in binary))
    grey = np.random.default_rng(seed).random(row.shape)
    assert metrics.grey_dice(grey, row)["score"] <= maximum + 1e-9


def test_mean_is_over_the_pictures_that_have_the_figure():
    mean = metrics.MetricMean()
    mean.add({"dice": 0.5, "iou": 0.2})
    mean.add({"dice": 1.0})
    mean.add({"false_positive_area": 0.1})
    assert len(mean) == 3
    assert mean.mean() == {"dice": 0.75, "iou": 0.2, "false_positive_area": 0.1}
    np.testing.assert_array_equal(mean.values("iou"), [0.2, np.nan, np.nan])


def test_interval_follows_assets_not_pictures():
    values = np.repeat([0.2, 0.4, 0.6, 0.8], 250)
    wide = metrics.bootstrap_interval(values, [np.repeat(range(4), 250).tolist()], seed=0)
    narrow = metrics.bootstrap_interval(values, [list(range(1000))], seed=0)
    assert wide[0] < 0.35
    assert wide[1] > 0.65
    assert 0.47 < narrow[0] < 0.5 < narrow[1] < 0.53


def test_interval_agrees_with_scipy_where_every_picture_is_its_own_asset():
    from scipy.stats import bootstrap

    values = np.random.default_rng(0).normal(0.8, 0.1, 200)
    expected = bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    found = metrics.bootstrap_interval(values, [list(range(200))], seed=0)
    np.testing.assert_allclose(found, expected, atol=0.003)


def test_two_kinds_of_assets_widen_the_interval():
    random = np.random.default_rng(0)
    cutouts, backgrounds = random.integers(0, 8, 400), random.integers(0, 8, 400)
    values = random.normal(0, 1, 8)[cutouts] + random.normal(0, 1, 8)[backgrounds]
    one = metrics.bootstrap_interval(values, [cutouts.tolist()], seed=0)
    two = metrics.bootstrap_interval(values, [cutouts.tolist(), backgrounds.tolist()], seed=0)
    assert two[1] - two[0] > 1.15 * (one[1] - one[0])


def test_interval_leaves_nan_out_and_is_reproducible():
    values, assets = [0.1, math.nan, 0.9, 0.5], ["a", "b", "c", "a"]
    first = metrics.bootstrap_interval(values, [assets], seed=7)
    assert first == metrics.bootstrap_interval(values, [assets], seed=7)
    assert all(math.isfinite(limit) for limit in first)


def test_interval_of_one_asset_is_unknown():
    assert np.isnan(metrics.bootstrap_interval([0.5, 0.6], [["a", "a"]], seed=0)).all()
    assert np.isnan(metrics.bootstrap_interval([], [[]], seed=0)).all()
