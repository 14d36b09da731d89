"""Every quality figure that this package reports, with the source of its definition.

Each function judges one picture and returns floats by name. A figure that is undefined on a
picture (the Dice of an empty target, contours of a flat depth map) is absent; `MetricMean` averages
each name over the pictures that have it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import fit_scale_shift
from maskdepth.errors import PictureError

MASK_THRESHOLD = 0.5
BOUNDARY_TOLERANCE_AT_224 = 2  # px
SILOG_LAMBDA = 0.85
_ORDINAL_PAIRS = 3000
_ORDINAL_SEED = 2026
_ORDINAL_MARGIN = 0.02  # disparity; a smaller difference has no clear order
_CONTOUR_RATIOS = np.linspace(1.05, 1.25, 10)
_BOOTSTRAP_DRAWS = 1000
_STILL_FRAMES = 10
_STILL_CHANGE = 0.01  # alpha


def mask_metrics(pred_alpha: NDArray[Any], target_alpha: NDArray[Any]) -> dict[str, float]:
    """Overlap of the masks, alpha > 0.5.

    Dice is 2|P&T| / (|P|+|T|) (Dice 1945), IoU |P&T| / |P|T| (Jaccard 1912). Boundary F is the
    harmonic mean of the shares of predicted and target boundary pixels that lie within 2 px (at
    a short side of 224; in proportion elsewhere) of the other boundary: Csurka et al., "What is a
    good evaluation measure for semantic segmentation?" (BMVC 2013). The frame is no boundary;
    where a mask has none, boundary F is 1 if the two are equal, and else 0.

    Args:
        pred_alpha, target_alpha: float (H, W) in [0,1].

    Returns:
        ``dice``, ``iou``, ``boundary_f`` in [0,1]; for an empty target ``false_positive_area``
        only, the share of all pixels that the prediction claims.
    """
    _check_shapes(pred_alpha, target_alpha)
    pred = pred_alpha > MASK_THRESHOLD
    target = target_alpha > MASK_THRESHOLD
    n_pred, n_target = int(np.count_nonzero(pred)), int(np.count_nonzero(target))
    if n_target == 0:
        return {"false_positive_area": n_pred / pred.size}
    both = int(np.count_nonzero(pred & target))
    return {
        "dice": 2 * both / (n_pred + n_target),
        "iou": both / (n_pred + n_target - both),
        "boundary_f": _boundary_f(pred, target),
    }


def alpha_metrics(pred_alpha: NDArray[Any], target_alpha: NDArray[Any]) -> dict[str, float]:
    """Errors of the soft matte over all pixels (there is no trimap).

    After Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting" (CVPR
    2009), with the constants of the benchmark's published code: the gradient error uses first
    derivatives of a Gaussian of sigma 1.4 and exponent 2; connectivity uses steps of 0.1, theta
    0.15, exponent 1 and four-connected regions.

    Args:
        pred_alpha, target_alpha: float (H, W) in [0,1].

    Returns:
        ``sad``, ``gradient``, ``connectivity``: sums over the picture divided by 1000;
        ``mse``: mean over the picture. Zero is perfect.
    """
    _check_shapes(pred_alpha, target_alpha)
    pred = np.asarray(pred_alpha, np.float32)
    target = np.asarray(target_alpha, np.float32)
    difference = pred - target
    gradient = _gradient_magnitude(pred) - _gradient_magnitude(target)
    return {
        "sad": float(np.abs(difference).sum(dtype=np.float64)) / 1000,
        "mse": float(np.square(difference).mean(dtype=np.float64)),
        "gradient": float(np.square(gradient).sum(dtype=np.float64)) / 1000,
        "connectivity": _connectivity_error(pred, target) / 1000,
    }


def clip_metrics(pred_alphas: NDArray[Any], target_alphas: NDArray[Any]) -> dict[str, float]:
    """Errors of alpha over the frames of a clip, and how it flickers; zero is perfect.

    ``dtssd`` is after Erofeev et al., "Perceptually Motivated Benchmark for Video Matting" (BMVC
    2015): the root of the mean square, over pixels, of the error of alpha's change from one frame
    to the next, mean over frames. It and ``mad``, the mean absolute difference, are scaled as in
    Lin et al., "Robust High-Resolution Video Matting with Temporal Guidance" (WACV 2022).

    Args:
        pred_alphas, target_alphas: float (T, H, W) in [0,1], T > 1.

    Returns:
        ``mad``, times 1000; ``dtssd``, times 100; ``still_std``, times 1000: the standard
        deviation of alpha over windows of ten frames, mean over the pixels whose target changes
        by less than 0.01 in the window.
    """
    error = np.asarray(pred_alphas, np.float32) - np.asarray(target_alphas, np.float32)
    change = np.diff(error, axis=0)
    spread, still_pixels = 0.0, 0
    for start in range(0, len(error), _STILL_FRAMES):
        window = slice(start, start + _STILL_FRAMES)
        still = np.ptp(target_alphas[window], axis=0) < _STILL_CHANGE
        spread += float(pred_alphas[window].std(axis=0)[still].sum(dtype=np.float64))
        still_pixels += int(still.sum())
    return {
        "mad": 1000 * float(np.abs(error).mean(dtype=np.float64)),
        "dtssd": 100 * float(np.sqrt(np.square(change).mean(axis=(1, 2))).mean()),
        "still_std": 1000 * spread / max(still_pixels, 1),
    }


def depth_metrics(
    pred_depth_m: NDArray[Any], target_depth_m: NDArray[Any], valid: NDArray[np.bool_]
) -> dict[str, float]:
    """Errors of a depth map, metric or of `depth.depth_from_disparity_aligned`.

    AbsRel, SqRel, RMSE, RMSE log and the share of pixels with max(p/t, t/p) < 1.25^k: Eigen et
    al., "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network" (NIPS 2014).
    log10: Saxena et al., "Make3D" (TPAMI 2009). SILog is sqrt(mean(g^2) - lambda mean(g)^2) with
    g = ln p - ln t and lambda = 0.85, as in Lee et al., "From Big to Small" (2019); Eigen's own
    lambda is 0.5 and KITTI's 1.

    Args:
        pred_depth_m, target_depth_m: (H, W) in one unit, metres unless the caller says otherwise.
        valid: bool (H, W); pixels that are not finite and positive in both are left out too.

    Returns:
        ``abs_rel sq_rel rmse rmse_log log10 silog delta1 delta2 delta3``; ``rmse`` and
        ``sq_rel`` in the unit of depth.

    Raises:
        PictureError: no valid pixel.
    """
    _check_shapes(pred_depth_m, target_depth_m, valid)
    chosen = valid & np.isfinite(pred_depth_m) & np.isfinite(target_depth_m)
    chosen &= (pred_depth_m > 0) & (target_depth_m > 0)
    if not chosen.any():
        raise PictureError(
            "at least one pixel with a valid depth", "none", "leave this picture out"
        )
    pred = np.asarray(pred_depth_m[chosen], np.float64)
    target = np.asarray(target_depth_m[chosen], np.float64)
    squared = np.square(pred - target)
    log_error = np.log(pred) - np.log(target)
    log_squared = float(np.square(log_error).mean())
    worse = np.exp(np.abs(log_error))
    return {
        "abs_rel": float((np.abs(pred - target) / target).mean()),
        "sq_rel": float((squared / target).mean()),
        "rmse": math.sqrt(squared.mean()),
        "rmse_log": math.sqrt(log_squared),
        "log10": float(np.abs(log_error).mean()) / math.log(10),
        "silog": math.sqrt(max(log_squared - SILOG_LAMBDA * float(log_error.mean()) ** 2, 0.0)),
        "delta1": float((worse < 1.25).mean()),
        "delta2": float((worse < 1.25**2).mean()),
        "delta3": float((worse < 1.25**3).mean()),
    }


def disparity_metrics(
    pred_disparity: NDArray[Any],
    target_disparity: NDArray[Any],
    region: NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    """Structure of a disparity map, after a fit of scale and shift on all valid pixels.

    - ``ssim``: Wang et al., "Image Quality Assessment" (TIP 2004), Gaussian window of 11 px and
      sigma 1.5, dynamic range 1, mean over windows that lie wholly inside the picture. The
      prediction is aligned and clipped to [0,1]; invalid pixels are made equal in both.
    - ``ordinal_accuracy``: share of pixel pairs put in the right order, as in Chen et al.,
      "Single-Image Depth Perception in the Wild" (NIPS 2016): 3000 pairs from a generator with a
      fixed seed, those whose target differs by less than 0.02 left out, ties wrong, the
      prediction as it is (an alignment of negative scale would turn the order round).
    - ``boundary_f1``: occluding contours, Bochkovskii et al., "Depth Pro" (2024): neighbouring
      pixels whose inverse depths differ by a ratio of 1.05 to 1.25 in ten steps, on the aligned
      prediction, the four directions pooled, weighted by ratio; ratios at which the target has
      no contour are left out.

    Args:
        pred_disparity: (H, W), any scale and shift.
        target_disparity: (H, W) in [0,1]; NaN is invalid.
        region: bool (H, W), the pixels to judge; all by default. The fit always uses all
            pixels, so that a misplaced object counts as an error.

    Returns:
        The three above; each absent where undefined (no window, pair or contour in the region).

    Raises:
        PictureError: no valid pixel.
    """
    _check_shapes(pred_disparity, target_disparity)
    valid = np.isfinite(target_disparity)
    region = valid if region is None else region & valid
    scale, shift = fit_scale_shift(pred_disparity, target_disparity, valid)
    aligned = np.clip(scale * np.asarray(pred_disparity, np.float64) + shift, 0, 1)
    target = np.where(valid, target_disparity, 0).astype(np.float64)
    figures = {
        "ssim": _ssim(np.where(valid, aligned, 0), target, region),
        "ordinal_accuracy": ordinal_accuracy(pred_disparity, target_disparity, region),
        "boundary_f1": _contour_f1(aligned, target, region),
    }
    return {name: value for name, value in figures.items() if value is not None}


def ordinal_accuracy(
    pred: NDArray[Any], target: NDArray[Any], region: NDArray[np.bool_]
) -> float | None:
    """Share of pixel pairs put in the right order; see ``disparity_metrics``.

    Args:
        pred: (H, W), any scale and shift.
        target: (H, W) disparity in [0, 1].
        region: bool (H, W), where both are valid: the pixels that pairs are drawn from.

    Returns:
        The share, or None where no pair differs enough.
    """
    pixels = np.flatnonzero(region)
    if pixels.size < 2:
        return None
    generator = np.random.Generator(np.random.Philox(_ORDINAL_SEED))
    first, second = pixels[(generator.random((2, _ORDINAL_PAIRS)) * pixels.size).astype(np.int64)]
    target_order = target.ravel()[first] - target.ravel()[second]
    pred_order = pred.ravel()[first] - pred.ravel()[second]
    judged = np.abs(target_order) > _ORDINAL_MARGIN
    if not judged.any():
        return None
    return float((np.sign(pred_order[judged]) == np.sign(target_order[judged])).mean())


def grey_dice(pred: NDArray[Any], target: NDArray[Any]) -> dict[str, float]:
    """The Dice of the prior work on grey levels, 2 sum(pt) / (sum p + sum t): for parity only.

    It was reported of masks and of depth. On depth the score rewards bright maps, so three others
    are reported with it: that of a perfect prediction, sum(t^2) / sum(t); that of an all-white
    picture; and the maximum over all pictures. The best picture is binary (the score is a ratio of
    functions linear in p, so it is white where t exceeds a threshold), and all thresholds are
    tried.

    Args:
        pred, target: (H, W) in [0,1], alpha or disparity; NaN in the target is left out.

    Returns:
        ``score``, ``perfect``, ``all_white``, ``maximum``; all 0 for a black target.
    """
    _check_shapes(pred, target)
    valid = np.isfinite(target)
    pred, target = np.asarray(pred, np.float64)[valid], np.asarray(target, np.float64)[valid]
    total = float(target.sum())
    if total <= 0:
        return {"score": 0.0, "perfect": 0.0, "all_white": 0.0, "maximum": 0.0}
    brightest = np.cumsum(np.sort(target)[::-1])
    return {
        "score": 2 * float(pred @ target) / (float(pred.sum()) + total),
        "perfect": float(target @ target) / total,
        "all_white": 2 * total / (target.size + total),
        "maximum": float((2 * brightest / (np.arange(1, target.size + 1) + total)).max()),
    }


class MetricMean:
    """The figures of many pictures; every value is kept, for intervals and rankings."""

    def __init__(self) -> None:
        """Start with no picture."""
        self._pictures: list[dict[str, float]] = []

    def __len__(self) -> int:
        """How many pictures were added."""
        return len(self._pictures)

    def add(self, figures: Mapping[str, float]) -> None:
        """Add the figures of one picture; names may differ between pictures."""
        self._pictures.append(dict(figures))

    def values(self, name: str) -> NDArray[np.float64]:
        """One figure of every picture, in order; NaN for pictures that lack it."""
        return np.array([figures.get(name, math.nan) for figures in self._pictures], np.float64)

    def mean(self) -> dict[str, float]:
        """Each name's mean over the pictures that have it, in order of first appearance."""
        names = dict.fromkeys(name for figures in self._pictures for name in figures)
        return {name: float(np.nanmean(self.values(name))) for name in names}


def bootstrap_interval(
    values: Sequence[float] | NDArray[Any],
    groups: Sequence[Sequence[Hashable]],
    seed: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the mean under resampling of assets, not of pictures.

    Pictures that share an asset are not independent. So the assets of each kind are resampled with
    replacement, and a picture counts as often as the product of its assets' draws: the pigeonhole
    bootstrap of Owen (Annals of Applied Statistics, 2007), with 1000 draws.

    Args:
        values: one per picture; NaN is left out.
        groups: for every kind of asset, the asset of each picture, e.g. [cutout ids, background
            ids]. A kind with one asset adds no spread, though it would with more.
        seed: seed of the draws.
        confidence: share of the draws inside the interval.

    Returns:
        (low, high); (NaN, NaN) if there is no value, or no kind with two assets.
    """
    figures = np.asarray(values, np.float64)
    kept = np.isfinite(figures)
    figures = figures[kept]
    generator = np.random.default_rng(seed)
    weights = np.ones((_BOOTSTRAP_DRAWS, figures.size))
    n_resampled = 0
    for assets in groups:
        codes: dict[Hashable, int] = {}
        picked = (asset for asset, keep in zip(assets, kept, strict=True) if keep)
        indices = [codes.setdefault(asset, len(codes)) for asset in picked]
        if len(codes) < 2:
            continue
        n_resampled += 1
        draws = generator.multinomial(
            len(codes), np.full(len(codes), 1 / len(codes)), _BOOTSTRAP_DRAWS
        )
        weights *= draws[:, indices]
    totals = weights.sum(axis=1)
    drawn = totals > 0
    if n_resampled == 0 or not drawn.any():
        return math.nan, math.nan
    means = (weights[drawn] @ figures) / totals[drawn]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _check_shapes(first: NDArray[Any], *others: NDArray[Any]) -> None:
    for other in others:
        if other.shape != first.shape or first.ndim != 2:
            raise PictureError(
                "two maps of one size (H, W)",
                f"{first.shape} and {other.shape}",
                "resize the prediction to the target",
            )


def _boundary_f(pred: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    tolerance = max(1, round(BOUNDARY_TOLERANCE_AT_224 * min(pred.shape) / 224))
    rows, columns = np.ogrid[-tolerance : tolerance + 1, -tolerance : tolerance + 1]
    disc = (rows**2 + columns**2 <= tolerance**2).astype(np.uint8)
    pred_boundary, target_boundary = _inner_boundary(pred), _inner_boundary(target)
    n_pred, n_target = cv2.countNonZero(pred_boundary), cv2.countNonZero(target_boundary)
    if n_pred == 0 or n_target == 0:
        # A mask without a boundary fills the frame or is empty; the two do not agree.
        return float(np.array_equal(pred, target))
    near_target, near_pred = cv2.dilate(target_boundary, disc), cv2.dilate(pred_boundary, disc)
    precision = cv2.countNonZero(cv2.bitwise_and(pred_boundary, near_target)) / n_pred
    recall = cv2.countNonZero(cv2.bitwise_and(target_boundary, near_pred)) / n_target
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _inner_boundary(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Mask pixels with a neighbour, of four, outside the mask and inside the frame."""
    filled = mask.astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # For an erosion OpenCV counts pixels outside the frame as mask: the frame is no boundary.
    return np.asarray(filled - cv2.erode(filled, cross), np.uint8)


def _gradient_magnitude(alpha: NDArray[np.float32], sigma: float = 1.4) -> NDArray[np.float32]:
    """Rhemann's Gaussian gradient: truncated at density 0.01, derivative filters of norm 1."""
    reach = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * 0.01)))
    offsets = np.arange(-reach, reach + 1, dtype=np.float64)
    smooth = np.exp(-np.square(offsets) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    slope = offsets * smooth / sigma**2  # sign is lost in the magnitude
    slope /= np.linalg.norm(np.outer(slope, smooth))
    border = cv2.BORDER_REPLICATE
    across = cv2.sepFilter2D(alpha, cv2.CV_32F, slope, smooth, borderType=border)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, smooth, slope, borderType=border)
    return np.asarray(cv2.magnitude(across, down), np.float32)


def _connectivity_error(pred: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """Sum of |phi(pred) - phi(target)|, where phi falls off with alpha above the level at which
    a pixel is still connected to the largest region opaque in both.
    """
    lower = np.minimum(pred, target)
    level = np.ones(pred.shape, np.float32)
    unset = np.ones(pred.shape, bool)
    for step in range(1, 11):
        region = (lower >= np.float32(step / 10)).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(region, connectivity=4)
        areas = stats[1:, cv2.CC_STAT_AREA]
        connected = labels == 1 + int(areas.argmax()) if areas.size else np.zeros_like(unset)
        left = unset & ~connected
        level[left] = (step - 1) / 10
        unset &= connected
    pred_excess, target_excess = pred - level, target - level
    pred_excess[pred_excess < 0.15] = 0
    target_excess[target_excess < 0.15] = 0
    return float(np.abs(pred_excess - target_excess).sum(dtype=np.float64))


def _ssim(
    pred: NDArray[np.float64], target: NDArray[np.float64], region: NDArray[np.bool_]
) -> float | None:
    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float64)

    inside = np.zeros_like(region)
    inside[5:-5, 5:-5] = region[5:-5, 5:-5]
    if not inside.any():
        return None
    pred_mean, target_mean = blur(pred), blur(target)
    pred_variance = blur(pred * pred) - pred_mean**2
    target_variance = blur(target * target) - target_mean**2
    covariance = blur(pred * target) - pred_mean * target_mean
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * pred_mean * target_mean + c1) * (2 * covariance + c2)
    similarity /= (pred_mean**2 + target_mean**2 + c1) * (pred_variance + target_variance + c2)
    return float(similarity[inside].mean())


def _contour_f1(
    pred: NDArray[np.float64], target: NDArray[np.float64], region: NDArray[np.bool_]
) -> float | None:
    pred_steps = _neighbour_log_ratios(pred, region)
    target_steps = _neighbour_log_ratios(target, region)
    scores, weights = [], []
    for ratio in _CONTOUR_RATIOS:
        limit = math.log(ratio)
        # the paper's four directions are the two signs of the two axes
        pred_signs = (pred_steps > limit).astype(np.int8) - (pred_steps < -limit)
        target_signs = (target_steps > limit).astype(np.int8) - (target_steps < -limit)
        n_target = np.count_nonzero(target_signs)
        if n_target == 0:
            continue
        hits = np.count_nonzero((pred_signs == target_signs) & (target_signs != 0))
        scores.append(2 * hits / (np.count_nonzero(pred_signs) + n_target))
        weights.append(ratio)
    return float(np.average(scores, weights=weights)) if scores else None


def _neighbour_log_ratios(
    disparity: NDArray[np.float64], region: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """ln of the ratio of all horizontal and vertical neighbours, both inside the region."""
    # The sky's disparity of 0 counts as a thousand times as far as the nearest point.
    logs = np.log(np.maximum(disparity, 1e-3))
    across, down = np.diff(logs, axis=1), np.diff(logs, axis=0)
    return np.concatenate([across[region[:, 1:] & region[:, :-1]], down[region[1:] & region[:-1]]])
