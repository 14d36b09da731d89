"""Depth, inverse depth and disparity: codecs, alignment, colours."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskdepth import depth
from maskdepth.errors import PictureError

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
DISPARITIES = hnp.arrays(
    np.float32, SHAPES, elements=st.one_of(st.just(np.nan), st.floats(0, 1, width=32))
)
DEPTHS_M = hnp.arrays(
    np.float64,
    SHAPES,
    elements=st.one_of(st.sampled_from([np.nan, np.inf, 0.0, -1.0]), st.floats(0.001, 200)),
)


@given(DISPARITIES)
def test_disparity_codes_round_trip(disparity):
    codes = depth.encode_disparity(disparity)
    back = depth.decode_disparity(codes)
    assert codes.dtype == np.uint16
    assert back.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(back), np.isnan(disparity))
    np.testing.assert_array_equal(codes == 0, np.isnan(disparity))
    assert np.nanmax(np.abs(back - disparity), initial=0) <= 1 / 65535


def test_disparity_codes_by_hand():
    codes = depth.encode_disparity(np.array([[0.0, 1.0, -2.0, 7.0, np.nan, 0.5]]))
    assert codes.tolist() == [[1, 65535, 1, 65535, 0, 32768]]


def test_disparity_codes_survive_decoding_and_encoding():
    codes = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(depth.encode_disparity(depth.decode_disparity(codes)), codes)


@given(DEPTHS_M)
def test_depth_millimetres_round_trip(depth_m):
    codes, n_beyond = depth.encode_depth_mm(depth_m)
    back = depth.decode_depth_mm(codes)
    positive = np.nan_to_num(depth_m, nan=0.0, posinf=np.inf) > 0
    beyond = positive & (np.rint(depth_m * 1000) > 65535)
    held = positive & ~beyond
    assert n_beyond == beyond.sum()
    np.testing.assert_array_equal(~np.isnan(back), held)
    # float32 holds 65 m to 4 micrometres
    assert np.abs(back[held] - depth_m[held]).max(initial=0) <= 0.0005 + 4e-6


def test_depth_millimetres_by_hand():
    """The last code is 65.535 m; what is farther is 0 and counted, invalid is 0 and not."""
    depth_m = np.array([[0.001, 65.535, 65.536, np.inf, np.nan, -1.0, 0.0]])
    codes, n_beyond = depth.encode_depth_mm(depth_m)
    assert codes.tolist() == [[1, 65535, 0, 0, 0, 0, 0]]
    assert n_beyond == 2


def test_disparity_from_depth_by_hand():
    disparity = depth.disparity_from_depth(np.array([[2.0, 4.0, np.inf, np.nan, 0.0, -3.0]]))
    np.testing.assert_allclose(disparity, [[1.0, 0.5, 0.0, np.nan, np.nan, np.nan]])
    assert disparity.dtype == np.float32


@pytest.mark.parametrize(("value", "expected"), [(np.inf, 0.0), (np.nan, np.nan)])
def test_disparity_of_a_picture_without_depth(value, expected):
    np.testing.assert_array_equal(
        depth.disparity_from_depth(np.full((2, 3), value)), np.full((2, 3), expected, np.float32)
    )


@given(
    hnp.arrays(
        np.float64,
        SHAPES,
        elements=st.one_of(st.sampled_from([np.nan, np.inf]), st.floats(0.5, 500)),
    )
)
def test_disparity_of_depth_is_undone_by_its_nearest_distance(depth_m):
    finite = depth_m[np.isfinite(depth_m)]
    nearest_m = float(finite.min()) if finite.size else 1.0
    back = depth.depth_from_disparity(depth.disparity_from_depth(depth_m), nearest_m)
    np.testing.assert_allclose(back, depth_m, rtol=1e-5)


@pytest.mark.parametrize("wrong_m", [0.5, 0.02, 1e-6])
@pytest.mark.parametrize("count", [1, 6])
def test_a_few_wrong_near_pixels_do_not_take_disparitys_range(wrong_m, count):
    """The others keep two thirds of it at least, in proportion; the wrong ones are 1."""
    depth_m = np.linspace(9, 1.5, 600).reshape(20, 30)
    clean = depth.disparity_from_depth(depth_m)
    depth_m[0, :count] = wrong_m
    for disparity in (
        depth.disparity_from_depth(depth_m),
        depth.disparity_from_inverse_depth(3 / depth_m),
    ):
        ratio = (disparity / clean)[1:]
        assert ratio.min() > 0.66
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
        assert (disparity[0, :count] == 1).all()


@pytest.mark.parametrize("wrong", [40.0, -40.0])
def test_a_few_wrong_pixels_do_not_take_a_relative_maps_range(wrong):
    """Neither at the near nor at the far end; a constant with a wrong pixel has two values."""
    values = np.linspace(-1, 1, 600).reshape(20, 30)
    values[10, 10] = wrong
    disparity = depth.disparity_from_relative(values)
    assert disparity.min() == 0
    assert disparity.max() == 1
    low, high = np.percentile(disparity, (5, 95))
    assert high - low > 0.55
    flat = np.full((20, 30), 2.0)
    flat[3, 3] += wrong
    assert set(np.unique(depth.disparity_from_relative(flat))) == {0.0, 1.0}


def test_disparity_whose_range_a_few_wrong_pixels_take_is_stretched():
    """One without such pixels is returned as it is."""
    disparity = np.linspace(0, 0.8, 600, dtype=np.float32).reshape(20, 30)
    assert depth.stretch_disparity(disparity) is disparity
    crushed = disparity / 80
    crushed[0, 0], crushed[5, 5] = 1, np.nan
    stretched = depth.stretch_disparity(crushed)
    assert np.isnan(stretched[5, 5])
    assert stretched[0, 0] == 1
    assert np.nanpercentile(stretched, 95) > 0.6


def test_small_things_near_a_camera_still_count_where_the_rest_is_sky():
    """The sky has no say in what is near."""
    depth_m = np.full((40, 40), np.inf)
    depth_m[30, 10:13] = 2, 3, 4
    assert depth.largest_inverse_depth(1 / depth_m) == 0.5


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(-50, 50).filter(lambda scale: abs(scale) > 1e-3),
    st.floats(-50, 50),
)
def test_fit_is_exact_on_affine_data(seed, scale, shift):
    random = np.random.default_rng(seed)
    pred = random.random((6, 7))
    target = scale * pred + shift
    valid = random.random((6, 7)) < 0.8
    valid[0, :2] = True
    target[~valid] = 1e6
    target[1, 1], pred[2, 2] = np.nan, np.inf
    found = depth.fit_scale_shift(pred, target, valid)
    np.testing.assert_allclose(found, (scale, shift), rtol=1e-6, atol=1e-9)


def test_fit_agrees_with_numpy_polyfit():
    random = np.random.default_rng(0)
    pred = random.random((20, 20))
    target = 3 * pred + 2 + random.normal(0, 0.5, (20, 20))
    found = depth.fit_scale_shift(pred, target, np.ones((20, 20), bool))
    np.testing.assert_allclose(found, np.polyfit(pred.ravel(), target.ravel(), 1))


@pytest.mark.parametrize("value", [0.0, 0.1, 255.0])
def test_fit_of_a_constant_is_the_mean(value):
    target = np.array([[1.0, 2.0, 6.0]])
    found = depth.fit_scale_shift(np.full((1, 3), value), target, np.ones((1, 3), bool))
    assert found == (0.0, 3.0)


def test_fit_without_a_valid_pixel_is_an_error():
    with pytest.raises(PictureError, match="valid depth"):
        depth.fit_scale_shift(np.ones((2, 2)), np.ones((2, 2)), np.zeros((2, 2), bool))


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 20), st.floats(-5, 5))
def test_aligned_depth_is_exact_for_affine_disparity(seed, scale, shift):
    target_depth_m = np.random.default_rng(seed).uniform(0.5, 60, (5, 5))
    target_depth_m[0, 0] = np.inf
    pred = np.where(np.isinf(target_depth_m), 0.0, 1 / target_depth_m) * scale + shift
    found = depth.depth_from_disparity_aligned(pred, target_depth_m, np.ones((5, 5), bool))
    np.testing.assert_allclose(found, np.minimum(target_depth_m, 80), rtol=1e-4)


def test_sky_is_left_out_of_the_alignment():
    target_depth_m = np.array([[2.0, 4.0, 8.0, np.inf, np.inf]])
    pred = np.array([[0.5, 0.25, 0.125, 0.9, 0.7]])
    found = depth.depth_from_disparity_aligned(pred, target_depth_m, np.ones((1, 5), bool))
    np.testing.assert_allclose(found[0, :3], [2, 4, 8], rtol=1e-5)


def test_aligned_depth_is_clipped():
    """An aligned inverse depth below 1/80 or above 1/0.1 ends at the limits; NaN stays."""
    pred = np.array([[0.0, 1.0, -9.0, 100.0, np.nan]])
    target_depth_m = np.array([[10.0, 1.0, np.nan, np.nan, 3.0]])
    found = depth.depth_from_disparity_aligned(pred, target_depth_m, np.ones((1, 5), bool))
    np.testing.assert_allclose(found, [[10.0, 1.0, 80.0, 0.1, np.nan]], rtol=1e-5)


def test_colours_are_warm_near_cold_far_and_grey_where_invalid():
    picture = depth.colourise(np.array([[0.95, 0.1, np.nan]], np.float32))
    assert picture.dtype == np.uint8
    assert picture.shape == (1, 3, 3)
    near, far, invalid = picture[0].astype(int)
    assert near[0] > near[2] + 50
    assert far[2] > far[0] + 50
    assert invalid.tolist() == [128, 128, 128]


def test_weighted_fit_agrees_with_numpy_polyfit():
    """Weights are those of squared residuals; polyfit takes their roots."""
    random = np.random.default_rng(1)
    pred, weights = random.random(50), random.uniform(0.1, 5, 50)
    target = 3 * pred + 2 + random.normal(0, 0.5, 50)
    found = depth.fit_scale_shift(pred, target, np.ones(50, bool), weights)
    np.testing.assert_allclose(found, np.polyfit(pred, target, 1, w=np.sqrt(weights)))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20), st.floats(-5, 5))
def test_a_robust_fit_keeps_its_line_where_a_fifth_is_wrong(seed, scale, shift):
    random = np.random.default_rng(seed)
    pred = random.random(400)
    target = scale * pred + shift + random.normal(0, 0.002 * scale, 400)
    target[::5] += 3 * scale
    every = np.ones(400, bool)
    robust = np.array(depth.fit_scale_shift_robust(pred, target, every))
    plain = np.array(depth.fit_scale_shift(pred, target, every))
    off = np.abs(robust - (scale, shift)) / scale
    assert off.max() < 0.01
    assert off.sum() < 0.1 * (np.abs(plain - (scale, shift)) / scale).sum()


def test_robust_fit_agrees_with_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    random = np.random.default_rng(2)
    pred = random.random(3000)
    target = 2 * pred - 0.3 + random.normal(0, 0.05, 3000)
    target[:300] += random.uniform(-2, 2, 300)
    found = depth.fit_scale_shift_robust(pred, target, np.ones(3000, bool))

    def loss(line):
        size = np.minimum(np.abs(line[0] * pred + line[1] - target) / (4.685 * 0.055), 1)
        return (1 - (1 - size**2) ** 3).sum()

    best = optimize.minimize(loss, (2.0, -0.3), method="Nelder-Mead", options={"xatol": 1e-7})
    np.testing.assert_allclose(found, best.x, atol=2e-3)


def test_a_robust_fit_ignores_pixels_of_one_wrong_value():
    """A quarter of the pixels with one value, at the end of the range, would turn Huber's line."""
    target = np.linspace(0.1, 1, 1000)
    pred = 0.5 * target + 0.2
    pred[::4] = 0.9
    found = depth.fit_scale_shift_robust(pred, target, np.ones(1000, bool))
    np.testing.assert_allclose(found, (2.0, -0.4), rtol=1e-6)


def test_robust_fit_of_a_constant_and_of_nothing():
    every = np.ones((1, 4), bool)
    target = np.array([[1.0, 2.0, 6.0, 3.0]])
    assert depth.fit_scale_shift_robust(np.full((1, 4), 0.3), target, every) == (0.0, 3.0)
    with pytest.raises(PictureError, match="valid depth"):
        depth.fit_scale_shift_robust(target, target, ~every)


@given(DEPTHS_M)
def test_depth_npy_is_exact(depth_m):
    stored = depth_m.astype(np.float32)
    back = depth.decode_depth_npy(depth.encode_depth_npy(stored), "here")
    np.testing.assert_array_equal(back, np.where(stored > 0, stored, np.float32(np.nan)))
    assert back.dtype == np.float32


def _claiming(shape: str) -> bytes:
    """The header of an array of that shape, and no values."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.filterwarnings("error")
def test_depth_beyond_what_float32_holds_is_sky():
    """NumPy does not warn either."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([[2.0, 1e300, -1e300]]))
    found = depth.decode_depth_npy(buffer.getvalue(), "here")
    np.testing.assert_array_equal(found, [[2.0, np.inf, np.nan]])


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4",
     _claiming("(3000000, 2000000)"), _claiming("(3, (2)"), _claiming("2")],
)  # fmt: skip
def test_a_damaged_npy_is_one_error(data):
    with pytest.raises(PictureError, match="at here"):
        depth.decode_depth_npy(data, "here")


@given(DEPTHS_M)
def test_inverse_depth_is_undone(depth_m):
    back = depth.depth_from_inverse_depth(depth.inverse_depth(depth_m))
    np.testing.assert_allclose(back, np.where(depth_m > 0, depth_m, np.nan), rtol=1e-6)
