"""Convert between depth, inverse depth and disparity; no other module does.

Depth is in metres and inverse depth in 1/metres. Disparity is inverse depth up to an unknown scale
and shift, in [0,1] with near = 1. In every float map NaN is invalid. The sky has infinite depth,
hence inverse depth and disparity 0.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import PictureError, first_line
from maskdepth.images import bands

DISPARITY_STEPS = 65534  # codes 1..65535 hold 0..1, code 0 is invalid
MAX_DEPTH_MM = 65535
DepthUnit = Literal["m", "mm"]
_MAX_USUAL_M = 200.0  # half of a plate is nearer than that; in millimetres it hardly ever is
_INVALID_GREY = 128

_BISQUARE_SIGMAS = 4.685  # Tukey's bisquare has 95 % efficiency here
_INITIAL_SHARE = 0.7  # share of the pixels that the initial line has to fit
_INITIAL_SIGMAS = 1.0364  # of a normal distribution, that share lies within so many sigmas
_INITIAL_PAIRS = 300  # pairs of pixels, of which each gives a candidate line
_INITIAL_PIXELS = 2000  # pixels on which the candidates are compared
_FIRST_PIXELS = 250  # of them, on which all candidates are compared ...
_FIRST_LINES = 20  # ... so that only the best are compared on the others
_MAX_REWEIGHTINGS = 50
_CONVERGED = 1e-7  # relative change of a line from one reweighting to the next

# Wrong pixels of sensors and teachers are few and far off. In 100 drawn and 19 measured maps, the
# largest inverse depth was below 1.35 times that which 1 % of the pixels exceed.
_OUTLIER_SHARE = 0.01
_OUTLIER_FACTOR = 1.5


def inverse_depth(depth_m: NDArray[Any]) -> NDArray[np.float64]:
    """Inverse depth, float64 (H, W) 1/metres; sky is 0; NaN, zero and negative depth is NaN."""
    values = np.asarray(depth_m, np.float64)
    inverse = np.full(values.shape, np.nan)
    np.divide(1.0, values, out=inverse, where=values > 0)
    return inverse


def depth_from_inverse_depth(inverse: NDArray[Any]) -> NDArray[np.float32]:
    """The inverse of `inverse_depth`: float32 (H, W) metres.

    Args:
        inverse: (H, W) 1/metres; zero and negative are infinitely far, NaN is invalid.
    """
    return depth_from_disparity(inverse, 1.0)


def largest_inverse_depth(inverse: NDArray[Any]) -> float:
    """The largest inverse depth of a map, in its unit, which a few wrong pixels cannot decide.

    It is the maximum, but at most 1.5 times what 1 % of the pixels above 0 exceed. It is 0 where no
    pixel is above 0.
    """
    values = np.asarray(inverse)
    values = values[values > 0]  # sky and invalid pixels have no say
    if not values.size:
        return 0.0
    rank = values.size - 1 - int(_OUTLIER_SHARE * values.size)
    common = float(np.partition(values, rank)[rank])
    return min(float(values.max()), _OUTLIER_FACTOR * common)


def disparity_from_depth(depth_m: NDArray[Any]) -> NDArray[np.float32]:
    """Disparity whose nearest valid pixel is 1.

    Args:
        depth_m: (H, W) metres; infinity is sky; NaN, zero and negative are invalid.

    Returns:
        float32 (H, W): (1 / depth) / max(1 / depth), sky 0, invalid NaN. A picture that is sky
        everywhere is 0 everywhere. The maximum is that of `largest_inverse_depth`; what is nearer
        is 1 as well.
    """
    return _divide_by_largest(inverse_depth(depth_m))


def disparity_from_inverse_depth(inverse_depth: NDArray[Any]) -> NDArray[np.float32]:
    """Disparity whose nearest valid pixel is 1, of inverse depth in any unit.

    Args:
        inverse_depth: (H, W) proportional to 1/metres; 0 is sky; NaN, infinite and negative are
            invalid.

    Returns:
        float32 (H, W): inverse depth / its maximum, as in `disparity_from_depth`; invalid NaN.
    """
    values = np.array(inverse_depth, np.float64)
    values[~(np.isfinite(values) & (values >= 0))] = np.nan
    return _divide_by_largest(values)


def stretch_disparity(disparity: NDArray[np.float32]) -> NDArray[np.float32]:
    """A disparity (H, W) in the range of all but a few wrong pixels, which are 1 then.

    Where there are no such pixels it is returned as it is.
    """
    nearest = largest_inverse_depth(disparity)
    if not (disparity > nearest).any():
        return disparity
    return np.asarray(np.minimum(disparity / np.float32(nearest), 1), np.float32)


def disparity_from_relative(values: NDArray[Any]) -> NDArray[np.float32]:
    """Disparity in [0, 1] of inverse depth up to an unknown scale and shift, near = large.

    Args:
        values: (H, W), any range; NaN and infinite are invalid.

    Returns:
        float32 (H, W): the farthest valid pixel 0, the nearest 1, invalid NaN. A constant is 0.
        The 1 % of pixels at either end cannot stretch the range of the others by more than half;
        what lies beyond is 0 or 1 as well.
    """
    result = np.array(values, np.float64)
    valid = np.isfinite(result)
    result[~valid] = np.nan
    if not valid.any():
        return result.astype(np.float32)
    chosen = result[valid]
    few = int(_OUTLIER_SHARE * chosen.size)
    ordered = np.partition(chosen, (few, chosen.size - 1 - few))
    low, high = float(chosen.min()), float(chosen.max())
    common = float(ordered[few]), float(ordered[-1 - few])
    slack = (_OUTLIER_FACTOR - 1) * (common[1] - common[0])
    if slack > 0:  # else it is a constant, or little stands out of one
        low, high = max(low, common[0] - slack), min(high, common[1] + slack)
    result -= low
    if high > low:
        result /= high - low
    return np.clip(result, 0, 1).astype(np.float32)


def depth_from_disparity(disparity: NDArray[Any], nearest_m: float = 1.0) -> NDArray[np.float32]:
    """The inverse of `disparity_from_depth`, for disparity that is proportional to inverse depth.

    Args:
        disparity: (H, W) in [0,1]; NaN is invalid.
        nearest_m: depth where disparity is 1. With the default the result is in multiples of
            that unknown distance rather than in metres.

    Returns:
        float32 (H, W): nearest_m / disparity; infinity where disparity is 0 or negative (sky).
    """
    values = np.asarray(disparity, np.float64)
    depth = np.full(values.shape, np.inf)
    np.divide(nearest_m, values, out=depth, where=~(values <= 0))
    return depth.astype(np.float32)


def encode_disparity(disparity: NDArray[Any]) -> NDArray[np.uint16]:
    """Disparity as 16-bit codes: 0 is invalid, 1..65535 stand for 0..1; near = large.

    Args:
        disparity: (H, W); values outside [0,1] are clipped, NaN is invalid.
    """
    result = np.empty(disparity.shape, np.uint16)
    for rows in bands(*disparity.shape):
        # In place: at a composite's size, allocating arrays takes longer than computing them.
        codes = np.multiply(disparity[rows], DISPARITY_STEPS, dtype=np.float64)
        np.rint(codes, out=codes)
        codes += 1
        np.clip(codes, 1, DISPARITY_STEPS + 1, out=codes)
        codes[np.isnan(codes)] = 0
        result[rows] = codes
    return result


def decode_disparity(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """float32 (H, W) in [0,1] from `encode_disparity`'s codes; code 0 becomes NaN."""
    disparity = (codes.astype(np.float32) - 1) / np.float32(DISPARITY_STEPS)
    disparity[codes == 0] = np.nan
    return disparity


def encode_depth_mm(depth_m: NDArray[Any]) -> tuple[NDArray[np.uint16], int]:
    """Depth as 16-bit millimetres, and the number of pixels too far for 16 bits.

    Args:
        depth_m: (H, W) metres; infinity is sky; NaN, zero and negative are invalid.

    Returns:
        uint16 (H, W), 0 where the depth is invalid (or under half a millimetre), sky or beyond
        65.535 m, and the number of pixels that are sky or beyond.
    """
    values = np.asarray(depth_m, np.float64)
    millimetres = np.rint(np.where(values > 0, values, 0.0) * 1000)
    beyond = millimetres > MAX_DEPTH_MM
    millimetres[beyond] = 0
    return millimetres.astype(np.uint16), int(np.count_nonzero(beyond))


def decode_depth_mm(codes: NDArray[np.uint16]) -> NDArray[np.float32]:
    """float32 (H, W) metres from 16-bit millimetres; 0 becomes NaN."""
    depth_m = codes.astype(np.float32) / np.float32(1000)
    depth_m[codes == 0] = np.nan
    return depth_m


def encode_depth_npy(depth_m: NDArray[np.float32]) -> bytes:
    """Depth, float32 (H, W) metres, as the bytes of a ``.npy`` file: exact, at any distance."""
    file = io.BytesIO()
    np.save(file, np.asarray(depth_m, np.float32), allow_pickle=False)
    return file.getvalue()


def decode_depth_npy(data: bytes, name: str, unit: DepthUnit | None = "m") -> NDArray[np.float32]:
    """float32 (H, W) metres from the bytes of a ``.npy`` file; nothing is unpickled.

    Args:
        data: an array (H, W) of numbers; infinity is sky; NaN, zero and negative are invalid and
            become NaN.
        name: the file's name in errors.
        unit: of the numbers; None: metres, where they are sure to be that.

    Raises:
        PictureError: the bytes are no such array, or its unit is not clear.
    """
    remedy = "save it with numpy.save as an array (H, W) of metres"
    try:
        values: Any = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy raises nearly any type on a damaged header
        got = first_line(error)
        raise PictureError(f"a NumPy array at {name}", got, remedy) from error
    # np.load also opens archives of arrays.
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "fiu":
        got = f"{getattr(values, 'dtype', 'an archive')} {getattr(values, 'shape', '')}".rstrip()
        raise PictureError(f"numbers of shape (H, W) at {name}", got, remedy)
    # A distance too large for float32 becomes infinity: sky. NaN of some bits counts as invalid.
    with np.errstate(over="ignore", invalid="ignore"):
        depth_m = values.astype(np.float32)
    depth_m[~(depth_m > 0)] = np.nan
    if unit is None:
        _check_metres(depth_m, values.dtype.kind, name)
    return depth_m / np.float32(1000) if unit == "mm" else depth_m


def _check_metres(depth_m: NDArray[np.float32], kind: str, name: str) -> None:
    """Sensors save integers in millimetres, and floating-point numbers mostly in metres."""
    finite = depth_m[np.isfinite(depth_m)]
    median = float(np.median(finite)) if finite.size else 0.0
    if kind == "f" and median <= _MAX_USUAL_M:
        return
    raise PictureError(
        f"the unit of the depth at {name}",
        f"values around {median:.4g}" + ("" if kind == "f" else ", which are integers"),
        "pass --depth-unit mm or --depth-unit m, or end its name in _depth_mm.npy",
        f"{name} holds {'numbers' if kind == 'f' else 'integers'} around {median:.4g}, "
        "which may be millimetres or metres.",
    )


def fit_scale_shift(
    pred: NDArray[Any],
    target: NDArray[Any],
    valid: NDArray[np.bool_],
    weights: NDArray[Any] | None = None,
) -> tuple[float, float]:
    """Least squares of ``scale * pred + shift ~ target`` in float64.

    The scale-and-shift alignment of Ranftl et al., "Towards Robust Monocular Depth Estimation"
    (TPAMI 2020), equation 4, solved with centred values.

    Args:
        pred, target, valid: arrays of one shape; pixels that are not finite are left out too.
        weights: positive weights of the squared residuals; equal if left out.

    Returns:
        (scale, shift). A constant ``pred`` gives scale 0 and the mean of ``target``.

    Raises:
        PictureError: no valid pixel.
    """
    chosen = valid & np.isfinite(pred) & np.isfinite(target)
    if not chosen.any():
        raise PictureError(
            "at least one pixel with a valid depth", "none", "leave this picture out"
        )
    x = np.asarray(pred[chosen], np.float64)
    y = np.asarray(target[chosen], np.float64)
    share = np.ones_like(x) if weights is None else np.asarray(weights[chosen], np.float64)
    return _weighted_line(x, y, share)


def _weighted_line(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Scale and shift of the line with the smallest sum of weighted squared residuals."""
    share = weights / weights.sum()
    x_mean, y_mean = float(share @ x), float(share @ y)
    x_centred = x - x_mean
    variance = float((share * x_centred) @ x_centred)
    # A smaller spread is the rounding of a constant, whose slope would be noise.
    if variance <= (1e-12 * max(abs(x_mean), 1e-300)) ** 2:
        return 0.0, y_mean
    scale = float((share * x_centred) @ (y - y_mean)) / variance
    return scale, y_mean - scale * x_mean


def _fit_scale(
    pred: NDArray[Any], target: NDArray[Any], valid: NDArray[np.bool_]
) -> tuple[float, float]:
    """Least squares of ``scale * pred ~ target``, and 0; see `fit_scale_shift`."""
    chosen = valid & np.isfinite(pred) & np.isfinite(target)
    x = np.asarray(pred[chosen], np.float64)
    return float(x @ target[chosen]) / max(float(x @ x), 1e-300), 0.0


def fit_scale_shift_robust(
    pred: NDArray[Any], target: NDArray[Any], valid: NDArray[np.bool_]
) -> tuple[float, float]:
    """A `fit_scale_shift` that outliers hardly affect, even if a quarter of the pixels are such.

    An MM-estimate (Yohai, "High breakdown-point and high efficiency robust estimates for
    regression", 1987). The initial line is that through two pixels with the smallest 0.7 quantile
    of residuals (Rousseeuw, "Least median of squares regression", 1984; 0.7 rather than the median,
    since half of a picture may be sky). Least squares reweighted with Tukey's bisquare at 4.685
    sigma follow. The pairs of pixels are the same at every call.

    Args:
        pred, target, valid: as for `fit_scale_shift`.

    Raises:
        PictureError: no valid pixel.
    """
    chosen = valid & np.isfinite(pred) & np.isfinite(target)
    x, y = np.asarray(pred[chosen], np.float64), np.asarray(target[chosen], np.float64)
    every = np.ones(x.shape, np.bool_)
    if x.size < 3 or x.min() == x.max():
        return fit_scale_shift(x, y, every)
    scale, shift, size = _initial_line(x, y)
    # Not zero where most pixels fit to rounding: outliers then still have weight 0.
    reach = _BISQUARE_SIGMAS * max(
        size / _INITIAL_SIGMAS, 1e-6 * largest_inverse_depth(np.abs(y)), 1e-300
    )
    for _ in range(_MAX_REWEIGHTINGS):
        before = scale, shift
        weights = np.maximum(1 - ((scale * x + shift - y) / reach) ** 2, 0) ** 2
        scale, shift = _weighted_line(x, y, weights)
        changes = abs(scale - before[0]), abs(shift - before[1])
        if changes[0] <= _CONVERGED * abs(scale) and changes[1] <= _CONVERGED * abs(shift):
            break
    return scale, shift


def _initial_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Scale and shift of a line that fits 0.7 of the pixels, and the 0.7 quantile of residuals."""
    random = np.random.default_rng(0)
    sample = random.permutation(x.size)[:_INITIAL_PIXELS]
    x, y = x[sample], y[sample]
    order = np.argsort(x, kind="stable")
    low = order[random.integers(0, x.size // 2, _INITIAL_PAIRS)]
    high = order[random.integers(x.size // 2, x.size, _INITIAL_PAIRS)]
    apart = x[high] > x[low]
    if not apart.any():  # the sample is nearly constant
        scale, shift = fit_scale_shift(x, y, np.ones(x.shape, np.bool_))
        return scale, shift, float(np.quantile(np.abs(scale * x + shift - y), _INITIAL_SHARE))
    low, high = low[apart], high[apart]
    scales = (y[high] - y[low]) / (x[high] - x[low])
    shifts = y[low] - scales * x[low]
    sizes = _residual_sizes(scales, shifts, x[:_FIRST_PIXELS], y[:_FIRST_PIXELS])
    order = np.argsort(sizes, kind="stable")[:_FIRST_LINES]
    scales, shifts = scales[order], shifts[order]
    sizes = _residual_sizes(scales, shifts, x, y)
    best = int(sizes.argmin())
    return float(scales[best]), float(shifts[best]), float(sizes[best])


def _residual_sizes(
    scales: NDArray[np.float64],
    shifts: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The 0.7 quantile of each line's residuals, (lines,)."""
    residuals = np.abs(scales[:, None] * x + shifts[:, None] - y)  # (lines, pixels)
    rank = min(int(_INITIAL_SHARE * x.size), x.size - 1)
    return np.asarray(np.partition(residuals, rank, axis=1)[:, rank])


def depth_from_disparity_aligned(
    pred_disparity: NDArray[Any],
    target_depth_m: NDArray[Any],
    valid: NDArray[np.bool_],
    min_depth_m: float = 0.1,
    max_depth_m: float = 80.0,
    *,
    fit_shift: bool = True,
) -> NDArray[np.float32]:
    """Depth of a disparity whose unknown scale and shift are fitted to the target.

    The fit, by least squares, is in inverse depth, on valid pixels that are not sky; the result is
    clipped. An aligned inverse depth of zero or less becomes ``max_depth_m``.

    Args:
        pred_disparity: (H, W), any scale and shift.
        target_depth_m: (H, W) metres; infinity is sky, NaN invalid.
        valid: bool (H, W).
        fit_shift: False fits the scale alone, as if the disparity were proportional to inverse
            depth.

    Returns:
        float32 (H, W) in [min_depth_m, max_depth_m]; NaN where the prediction is NaN.

    Raises:
        PictureError: no valid pixel.
    """
    target_inverse = inverse_depth(target_depth_m)
    not_sky = valid & (target_inverse > 0)
    fit = fit_scale_shift if fit_shift else _fit_scale
    scale, shift = fit(pred_disparity, target_inverse, not_sky)
    inverse = scale * np.asarray(pred_disparity, np.float64) + shift
    return np.asarray(1.0 / np.clip(inverse, 1.0 / max_depth_m, 1.0 / min_depth_m), np.float32)


def colourise(disparity: NDArray[Any]) -> NDArray[np.uint8]:
    """A disparity map for human eyes: near is red, far is blue, invalid is grey.

    Args:
        disparity: (H, W) in [0,1], clipped; NaN is invalid.

    Returns:
        uint8 (H, W, 3) RGB in the Turbo colour map (Mikhailov, Google AI blog, 2019).
    """
    values = np.asarray(disparity, np.float32)
    invalid = np.isnan(values)
    levels = np.rint(np.clip(np.where(invalid, 0, values), 0, 1) * 255).astype(np.uint8)
    bgr = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    rgb[invalid] = _INVALID_GREY
    return rgb.astype(np.uint8, copy=False)


def _divide_by_largest(inverse: NDArray[np.float64]) -> NDArray[np.float32]:
    """Divide a map by its largest value, in place; a map without one above 0 stays as it is."""
    nearest = largest_inverse_depth(inverse)
    if nearest > 0:
        inverse /= nearest
    return np.minimum(inverse, 1, out=inverse).astype(np.float32)
