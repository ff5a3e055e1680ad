"""NaN, infinity, numbers near the ends of the range: exactly where the definition sends them."""

import time

import numpy as np
import oracle
import pytest
from calls import ALGORITHMS, CONV, FLOATS, channels_last, check_conv, noise
from hypothesis import given
from hypothesis import strategies as st

import cyconv


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_one_bad_cell_marks_the_cells_that_see_it(algorithm, bad, layout):
    """3x3 and 17x17 at a size where Winograd and FFT are worth while."""
    for kernel in (3, 17):
        if (algorithm == "winograd" and kernel > 3) or (algorithm == "fft" and kernel == 3):
            continue
        x, w = noise((1, 4, 40, 41)), noise((6, 4, kernel, kernel))
        x[0, 2, 19, 23] = bad
        x = channels_last(x, 2) if layout == "NHWC" else x
        y = np.asarray(cyconv.conv2d(x, w, padding=kernel // 2, algorithm=algorithm, layout=layout))
        y = np.moveaxis(y, -1, 1) if layout == "NHWC" else y
        half = kernel // 2
        seen = np.zeros(y.shape, bool)
        seen[:, :, max(19 - half, 0) : 19 + half + 1, 23 - half : 23 + half + 1] = True
        np.testing.assert_array_equal(~np.isfinite(y), seen)
        np.testing.assert_array_equal(np.isnan(y), seen & np.isnan(bad))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_infinities_meet_their_opposites_and_zeros(algorithm):
    """inf - inf and 0 * inf are NaN, and only where they happen."""
    kernel = 15 if algorithm == "fft" else 3
    x, w = noise((2, 3, 30, 33)), noise((4, 3, kernel, kernel))
    x[0, 0, 5, 5], x[0, 1, 6, 6], x[1, 2, 29, 32], x[1, 0, 0, 0] = np.inf, -np.inf, np.inf, np.nan
    w[1, 0, 1, 1] = 0
    expected = oracle.convolution(x, w, padding=1)
    y = cyconv.conv2d(x, w, padding=1, algorithm=algorithm)
    finite = np.isfinite(expected.value)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected.value))
    np.testing.assert_array_equal(y[~finite], expected.value[~finite].astype(np.float32))
    assert oracle.relative_l2(y[finite], expected.value[finite]) < 1e-5


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_any_type(kind, groups, naxes):
    x, w = noise((1, 4, *(4, 5, 21)[-naxes:]), kind), noise((8, 4 // groups, *(2, 3, 3)[-naxes:]), kind)
    x[(0, 1, *(2,) * naxes)], x[(0, 2, *(1,) * naxes)], x[(0, 3, *(3,) * naxes)] = np.nan, np.inf, -np.inf
    check_conv(x, w, naxes=naxes, groups=groups, padding=1)
    check_conv(x, w, naxes=naxes, groups=groups, padding=2, stride=2, dilation=2)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_carry_bad_cells_along(mode):
    x = noise((1, 2, 6, 7))
    x[0, 0, 0, 1], x[0, 1, 5, 6] = np.nan, np.inf
    check_conv(x, noise((3, 2, 3, 3)), padding=2, padding_mode=mode)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_a_bad_weight(bad, naxes):
    w = noise((13, 2, *(3,) * naxes))
    w[(4, 1, *(0,) * naxes)] = bad
    check_conv(noise((1, 2, *(6,) * naxes)), w, naxes=naxes)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_bad_bias_marks_its_channel(algorithm):
    kernel = 15 if algorithm == "fft" else 3
    x, w = noise((1, 3, 30, 33)), noise((4, 3, kernel, kernel))
    y = cyconv.conv2d(x, w, np.array([0, np.nan, np.inf, 1], np.float32), algorithm=algorithm)
    assert np.isnan(y[:, 1]).all()
    assert (y[:, 2] == np.inf).all()
    assert np.isfinite(y[:, [0, 3]]).all()


@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a != "fft"])
def test_large_numbers_do_not_overflow_before_their_sum_does(algorithm):
    """The sum of moduli stays in the range, so no order of additions may leave it."""
    x, w = np.abs(noise((1, 4, 26, 28))) * np.float32(1e36), noise((5, 4, 3, 3))
    x[0, 0, 9, 9] = 3e37
    expected = oracle.convolution(x, w, padding=1)
    y = cyconv.conv2d(x, w, padding=1, algorithm=algorithm)
    assert np.isfinite(y).all()
    assert oracle.relative_l2(y / 1e36, expected.value / 1e36) < 1e-5


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_results_beyond_the_range_are_infinite(kind):
    big = np.finfo(kind).max
    x = np.full((1, 1, 5, 5), big, kind)
    y = cyconv.conv2d(x, np.ones((2, 1, 2, 2), kind) * np.array([1, -1], kind).reshape(2, 1, 1, 1))
    assert (y[0, 0] == np.inf).all()
    assert (y[0, 1] == -np.inf).all()


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_overflows_in_the_result_only(kind):
    x = np.full((1, 2, 1, 1), 6e4 if kind == "float16" else 3e38).astype(noise((1,), kind).dtype)
    w = np.array([[2, -2], [1, 1]]).reshape(2, 2, 1, 1).astype(x.dtype)
    if kind == "float16":
        np.testing.assert_array_equal(cyconv.conv2d(x, w).ravel().astype(float), [0, np.inf])


@given(st.data())
def test_bad_cells_anywhere(data):
    shape = (1, 2, data.draw(st.integers(3, 14)), data.draw(st.integers(3, 40)))
    x = noise(shape)
    for _ in range(data.draw(st.integers(1, 3))):
        cell = (0, data.draw(st.integers(0, 1)), *(data.draw(st.integers(0, h - 1)) for h in shape[2:]))
        x[cell] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    groups = data.draw(st.sampled_from([1, 2]))
    keywords = {
        "stride": data.draw(st.integers(1, 2)),
        "padding": data.draw(st.integers(0, 2)),
        "groups": groups,
    }
    check_conv(x, noise((14, 2 // groups, 3, 3)), algorithm="direct", **keywords)


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 4])
def test_signs_of_zero_and_denormals(naxes, groups):
    """Tiny numbers come out as what they are, or as zero where the hardware flushes them; nothing grows."""
    x = noise((1, 4, *(6,) * naxes)) * np.float32(1e-39)
    check_conv(x, noise((4, 4 // groups, *(3,) * naxes)), naxes=naxes, groups=groups, padding=1)


@pytest.mark.parametrize("groups", [1, 16])
def test_denormals_are_not_slow(groups):
    """Hardware traps make them a hundred times slower where nobody takes care; ten is far from both."""
    x, w = noise((1, 16, 64, 64)), noise((16, 16 // groups, 3, 3))

    def best(image):
        times = []
        for _ in range(7):
            start = time.perf_counter()
            CONV[2](image, w, padding=1, groups=groups, num_threads=1)
            times.append(time.perf_counter() - start)
        return min(times)

    best(x)
    assert best(x * np.float32(1e-39)) < 10 * best(x) + 1e-3
