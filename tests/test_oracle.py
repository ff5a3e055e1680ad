"""The oracle itself: small cases by hand and by the formula written out as loops."""

import itertools

import numpy as np
import oracle
import oracle_pool
import pytest

RNG = np.random.default_rng(20240607)


def by_loops(x, w, stride, dilation, padding, groups):
    """The definition of convolution, cell by cell, two spatial axes, zeros around."""
    n, _c, h, wd = x.shape
    k, cg, r, s = w.shape
    oh = (h + 2 * padding - dilation * (r - 1) - 1) // stride + 1
    ow = (wd + 2 * padding - dilation * (s - 1) - 1) // stride + 1
    y = np.zeros((n, k, oh, ow), x.dtype)
    for i, o, a, b in np.ndindex(y.shape):
        for ch, p, q in itertools.product(range(cg), range(r), range(s)):
            row, col = a * stride + p * dilation - padding, b * stride + q * dilation - padding
            if 0 <= row < h and 0 <= col < wd:
                y[i, o, a, b] += x[i, o // (k // groups) * cg + ch, row, col] * w[o, ch, p, q]
    return y


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_correlate_is_its_definition(stride, dilation, padding, groups):
    x = RNG.integers(-9, 9, (2, 4, 7, 8))
    w = RNG.integers(-9, 9, (6, 4 // groups, 3, 2))
    y = oracle.correlate(x, w, stride=stride, dilation=dilation, padding=padding, groups=groups)
    np.testing.assert_array_equal(y, by_loops(x, w, stride, dilation, padding, groups))


def test_the_example_of_the_text():
    x = np.arange(9).reshape(3, 3)
    k = np.arange(4).reshape(2, 2)
    y = oracle.correlate(x[None, None], k[None, None])
    np.testing.assert_array_equal(y[0, 0], [[19, 25], [37, 43]])


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_transposed_is_the_adjoint(naxes, stride, dilation):
    """<conv(x), y> == <x, conv_transpose(y)> for every x and y: exact in integers."""
    size = (11, 7, 6)[:naxes]
    x = RNG.integers(-5, 5, (2, 4, *size))
    w = RNG.integers(-5, 5, (6, 2, *(3, 2, 2)[:naxes]))
    y = oracle.correlate(x, w, stride=stride, dilation=dilation, padding=1, groups=2)
    g = RNG.integers(-5, 5, y.shape)
    lost = [(h + 2 - dilation * (k - 1) - 1) % stride for h, k in zip(size, w.shape[2:], strict=True)]
    back = oracle.correlate_transposed(
        g, w, stride=stride, dilation=dilation, padding=1, groups=2, output_padding=lost
    )
    assert back.shape == x.shape
    assert np.sum(y * g) == np.sum(x * back)


def test_same_padding_keeps_the_size_and_puts_the_odd_cell_where_its_name_says():
    assert oracle.pads("same", (5,), (4,), (1,), (1,)) == ((1, 2),)
    assert oracle.pads("same_lower", (5,), (4,), (1,), (1,)) == ((2, 1),)
    assert oracle.pads("same", (5, 6), (3, 3), (2, 2), (1, 1)) == ((1, 1), (0, 1))


def test_nan_and_infinity_touch_the_cells_that_see_them_and_no_other():
    x = np.zeros((1, 1, 9, 9))
    x[0, 0, 4, 4] = np.nan
    y = oracle.correlate(x, np.ones((1, 1, 2, 2)), dilation=3)
    seen = np.zeros((6, 6), bool)
    seen[np.ix_([1, 4], [1, 4])] = True
    np.testing.assert_array_equal(np.isnan(y[0, 0]), seen)


def test_a_wrong_last_bit_of_a_short_sum_is_noticed():
    """The bound is narrow: one unit in the second last place of a product already exceeds it."""
    x, w = np.float32(1.5), np.float32(1.25)
    bound = oracle.rounding(1, 1.875, 1.875, "float32")
    wrong = np.array([x * w + 3 * np.spacing(x * w)])
    with pytest.raises(AssertionError, match="1 of 1 cells off"):
        oracle.assert_close(wrong, oracle.Expected(np.array([1.875]), np.array([bound])))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_assert_close_tells_special_values_apart(bad):
    good = oracle.Expected(np.array([1.0, np.inf, np.nan]), np.zeros(3))
    oracle.assert_close(np.array([1.0, np.inf, np.nan], np.float32), good)
    with pytest.raises(AssertionError):
        oracle.assert_close(np.array([bad, np.inf, np.nan], np.float32), good)
    with pytest.raises(AssertionError):
        oracle.assert_close(np.array([1.0, -np.inf, np.nan], np.float32), good)


def test_ranks_and_layouts_are_undone():
    x = RNG.random((2, 3, 4, 5))
    for layout, last in (("NCHW", x), ("NHWC", np.moveaxis(x, 1, -1))):
        np.testing.assert_array_equal(oracle.canonical(last, 2, layout), x)
        np.testing.assert_array_equal(oracle.in_layout(x, 4, 2, layout), last)
        np.testing.assert_array_equal(oracle.canonical(last[0], 2, layout), x[:1])
        np.testing.assert_array_equal(oracle.in_layout(x[:1], 3, 2, layout), last[0])
    assert oracle.canonical(x[0, 0], 2).shape == (1, 1, 4, 5)


def test_max_pooling_by_hand():
    x = np.array([[1, 5, 5, -2], [np.nan, 0, 7, 7]]).reshape(1, 1, 2, 4)
    y, indices = oracle_pool.max_pool(x, (1, 2))
    np.testing.assert_array_equal(y[0, 0], [[5, 5], [np.nan, 7]])
    np.testing.assert_array_equal(indices[0, 0], [[1, 2], [4, 6]])


def test_average_divisors_by_hand():
    x = np.ones((1, 1, 3))
    kw = {"stride": 2, "padding": 1}
    np.testing.assert_array_equal(oracle_pool.avg_pool(x, 3, **kw)[0, 0], [2 / 3, 2 / 3])
    np.testing.assert_array_equal(oracle_pool.avg_pool(x, 3, **kw, count_include_pad=False)[0, 0], [1, 1])
    np.testing.assert_array_equal(oracle_pool.avg_pool(x, 3, **kw, divisor_override=4)[0, 0], [0.5, 0.5])
    clipped = oracle_pool.avg_pool(np.ones((1, 1, 4)), 3, stride=2, ceil_mode=True)
    # Two cells of the second window exist, and two count.
    np.testing.assert_array_equal(clipped[0, 0], [1, 1])


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pair", "ceil_mode", "out"),
    [
        (7, 3, 2, (0, 0), False, 3),
        (8, 3, 2, (0, 0), False, 3),
        (8, 3, 2, (0, 0), True, 4),
        (3, 1, 3, (0, 0), True, 1),
        (5, 2, 3, (1, 1), True, 2),
        (4, 2, 3, (1, 1), True, 2),
        (1, 1, 2, (0, 0), True, 1),
    ],
)
def test_number_of_windows_by_hand(size, kernel, stride, pair, ceil_mode, out):
    assert oracle_pool.pool_size(size, kernel, stride, pair, 1, ceil_mode) == out


def test_adaptive_windows_cover_everything():
    assert [w.cells for w in oracle_pool.adaptive_windows(5, 3)] == [(0, 1), (1, 2, 3), (3, 4)]
    assert [w.cells for w in oracle_pool.adaptive_windows(2, 3)] == [(0,), (0, 1), (1,)]


def test_lp_and_unpool_by_hand():
    x = np.array([[3.0, -4.0, 0.0, 1e200]])[None]
    np.testing.assert_allclose(oracle_pool.lp_pool(x, 2, 2)[0, 0], [5, 1e200], rtol=1e-15)
    np.testing.assert_array_equal(oracle_pool.lp_pool(x, np.inf, 2)[0, 0], [4, 1e200])
    y, at = oracle_pool.max_pool(x, 2)
    np.testing.assert_array_equal(oracle_pool.max_unpool(y, at, (4,))[0, 0], [3, 0, 0, 1e200])
