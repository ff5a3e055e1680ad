"""Average and Lp pooling: against float64, within the bound that their docstrings state."""

import itertools
import math

import numpy as np
import oracle
import oracle_pool
import pytest
from calls import DISGUISES, FLOATS, channels_last, dtype, noise
from hypothesis import given
from hypothesis import strategies as st
from pool_cases import AVG_POOL, INTEGERS, LP_POOL, check_avg_pool, disguised, image, pool_cases, same

import cyconv

GEOMETRIES = [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 9, "stride": 1, "padding": 4}, {"kernel_size": (5, 4), "stride": (3, 2), "padding": (2, 0)},
    {"kernel_size": (2, 3), "stride": 2, "ceil_mode": True}, {"kernel_size": (1, 7), "stride": (2, 3)},
    {"kernel_size": 3, "stride": (3, 2), "padding": 2, "ceil_mode": True}, {"kernel_size": (14, 21)},
    {"kernel_size": 3, "stride": 2, "padding": ((0, 2), (1, 0))}, {"kernel_size": 3, "stride": 1, "dilation": 2},
]  # fmt: skip
COUNTS = [
    {}, {"count_include_pad": False}, {"divisor_override": 7}, {"divisor_override": 4, "count_include_pad": False},
]  # fmt: skip


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("count", COUNTS, ids=str)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_geometries(geometry, count, layout, kind):
    x = noise((1, 3, 14, 37) if layout == "NCHW" else (1, 14, 21, 19), kind)
    check_avg_pool(x, layout=layout, **geometry, **count)


@given(pool_cases(kinds=FLOATS, dilated=False), st.booleans(), st.sampled_from([None, 1, 5]), st.integers(1, 4))
def test_any_geometry(case, count_include_pad, divisor_override, threads):
    check_avg_pool(
        case.x, case.kernel, naxes=case.naxes, threads=threads, count_include_pad=count_include_pad,
        divisor_override=divisor_override, **case.keywords,
    )  # fmt: skip


@pytest.mark.parametrize(("disguise", "kind"), disguised(FLOATS))
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_memory_layouts(disguise, kind, layout):
    check_avg_pool(DISGUISES[disguise](noise((2, 5, 9, 18), kind)), 3, stride=2, padding=1, layout=layout)


#: kernel, stride and dilation of columns of windows that no loop of small strides takes
APART = [
    (5, 3, 1), (4, 3, 1), (7, 4, 1), (4, 2, 1), (3, 3, 1), (5, 2, 1), (8, 8, 1), ((2, 4), (3, 2), 2),
    ((9, 2), (2, 5), 3),
]  # fmt: skip


@pytest.mark.parametrize("width", range(1, 40))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_widths_next_to_vectors(width, stride):
    for kind in ("float32", "float64"):
        check_avg_pool(noise((2, 2, 4, width), kind), (2, 3), stride=stride, padding=(0, 1), count_include_pad=False)


@pytest.mark.parametrize("width", [1, 2, 5, 7, 8, 10, 13, 14, 16, 17, 28, 31, 33, 49, 65])
@pytest.mark.parametrize("kernel_size", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_squares_of_narrow_planes(width, kernel_size, stride):
    """Planes that fit in a few vectors, with padding counted and not, several rows of a result in one vector."""
    for kind in ("float32", "float64"):
        for rows in (1, 2, 12):
            how = {"stride": stride, "padding": (kernel_size - 1) // 2, "count_include_pad": rows == 12}
            if min(rows, width) + 2 * how["padding"] >= kernel_size:
                check_avg_pool(noise((2, 3, rows, width), kind), kernel_size, **how)
            check_avg_pool(noise((3, 3, 2 * rows, 2 * width), kind), 2)


@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), APART)
def test_windows_some_columns_apart(kernel_size, stride, dilation):
    """Rows shared with the next window, with two of them or with none; the last plane ends where memory may."""
    for kind, width in itertools.product(("float32", "float64"), (8, 15, 16, 17, 31, 32, 33, 64)):
        for planes, padding in ((200, 0), (3, 1)):
            x = noise((1, planes, 17, width), kind)
            x[0, planes // 2, 8, width // 2] = np.inf
            check_avg_pool(x, kernel_size, stride=stride, dilation=(1, dilation), padding=padding)


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("lead", [0, 1, 2])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_every_rank(naxes, lead, layout):
    x = noise((2, 3, 6, 7, 9)[2 - lead : 2] + (6, 7, 9)[-naxes:])
    check_avg_pool(channels_last(x, naxes) if layout == "NHWC" else x, 2, naxes=naxes, layout=layout)


@pytest.mark.parametrize("shape", [(2**25,), (2**13, 2**12), (2**22, 8), (8, 2**22)], ids=str)
def test_many_ones_average_to_one(shape):
    """A chain of float32 additions stops at 2**24."""
    x = np.ones((1, 1, *shape), np.float32)
    naxes = len(shape)
    for layout in ("NCHW", "NHWC"):
        y = AVG_POOL[naxes](x if layout == "NCHW" else x.reshape(1, *shape, 1), shape, layout=layout)
        assert y.ravel().tolist() == [1.0]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("size", [(1, 300_000), (3000, 101), (300_000, 1)], ids=str)
def test_long_sums_keep_the_pairwise_bound(size, layout):
    """Uniform numbers: a plain chain of 300000 additions exceeds this bound many times."""
    x = np.random.default_rng(0).random((1, 16, *size)).astype(np.float32)
    exact = [math.fsum(plane.ravel().tolist()) / plane.size for plane in x[0]]
    y = cyconv.avg_pool2d(channels_last(x, 2) if layout == "NHWC" else x, size, layout=layout)
    bound = oracle.gamma(66 + 2 * math.log2(math.prod(size)), 2.0**-24)
    np.testing.assert_array_less(np.abs(y.ravel() - exact), bound * np.array(exact))
    chain = np.add.accumulate(x[0].reshape(16, -1), axis=1)[:, -1] / x[0, 0].size
    assert np.abs(chain - exact).max() > bound, "the test could not fail"


def test_large_overlapping_windows_keep_the_pairwise_bound():
    x = np.random.default_rng(0).random((1, 1, 90, 2100)).astype(np.float32)
    sums = np.cumsum(np.cumsum(np.pad(x[0, 0].astype(np.float64), ((1, 0), (1, 0))), 0), 1)
    r, s = 61, 2000
    exact = (sums[r:, s:] - sums[:-r, s:] - sums[r:, :-s] + sums[:-r, :-s]) / (r * s)
    y = cyconv.avg_pool2d(x, (r, s), stride=1)[0, 0]
    assert np.abs(y / exact - 1).max() < oracle.gamma(66 + 2 * math.log2(r * s), 2.0**-24)


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("geometry", GEOMETRIES[:8], ids=str)
def test_nan_and_infinity_stay_in_their_windows(geometry, layout, kind):
    x = image((1, 3, 14, 37) if layout == "NCHW" else (1, 14, 21, 19), kind, special=True)
    check_avg_pool(x, layout=layout, **geometry)


@pytest.mark.parametrize(("kind", "large"), [("float32", 3e38), ("float64", 1.7e308), ("float16", 65504)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_average_is_finite_where_the_sum_is_not(kind, large, layout):
    x = np.full((1, 20, 20, 20), large, kind)
    for kernel in (2, 3, 20):
        y = cyconv.avg_pool2d(x, kernel, layout=layout)
        assert np.isfinite(y).all()
        np.testing.assert_allclose(y.astype(np.longdouble), large, rtol=1e-3 if kind == "float16" else 1e-6)


def test_denormals_are_kept():
    x = np.full((1, 1, 4, 4), 2.0**-140, np.float32)
    assert (cyconv.avg_pool2d(x, 2) == np.float32(2.0**-140)).all()


def test_a_window_without_cells_has_no_average():
    x = np.ones((1, 1, 1, 1))
    y = cyconv.avg_pool2d(x, 2, dilation=2, padding=1, count_include_pad=False)
    assert np.isnan(y).all()
    assert (cyconv.avg_pool2d(x, 2, dilation=2, padding=1) == 0).all()


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("function", [
    lambda x: cyconv.avg_pool2d(x, 2), lambda x: cyconv.lp_pool2d(x, 2, 2),
    lambda x: cyconv.adaptive_avg_pool2d(x, 2), cyconv.global_avg_pool2d,
], ids=["avg", "lp", "adaptive", "global"])  # fmt: skip
def test_integers_are_refused_with_the_way_out(kind, function):
    with pytest.raises(TypeError, match=rf"(?s)\bx\b.*{kind}.*astype"):
        function(np.ones((1, 1, 4, 4), kind))


@pytest.mark.parametrize("divisor", [1, 2**40, 2**70, 10**400, np.int64(3)])
def test_any_divisor(divisor):
    x = np.full((1, 1, 2, 2), 8.0)
    y = cyconv.avg_pool2d(x, 2, divisor_override=divisor)
    assert y.item() == pytest.approx(32 / int(divisor) if int(divisor) < 2**1000 else 0, rel=1e-12)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_results_do_not_depend_on_threads(layout):
    x = noise((2, 16, 60, 66))
    for kernel, stride in ((3, 2), (13, 1), (2, 2), (16, 1)):
        results = {
            cyconv.avg_pool2d(x, kernel, stride=stride, padding=1, layout=layout, num_threads=threads).tobytes()
            for threads in (1, 2, 3, 7, 1000)
        }
        assert len(results) == 1


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("denormal", [False, True])
def test_planes_have_the_same_bits_together_and_alone(denormal, kind):
    x = np.round(100 * noise((1, 40, 28, 28), kind)) * (np.finfo(kind).smallest_subnormal if denormal else 1)
    for window in ({"stride": 3, "padding": 1, "count_include_pad": False}, {"stride": 2, "ceil_mode": True}):
        together = cyconv.avg_pool2d(x, 3, **window)
        alone = [cyconv.avg_pool2d(x[:, c : c + 1], 3, **window) for c in range(x.shape[1])]
        assert together.tobytes() == np.concatenate(alone, axis=1).tobytes()


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("cells", [*range(2, 20), 31, 32, 33, 47, 48, 49, 50, 63, 64, 65, 66, 100, 144, 196, 1000])
def test_whole_planes_have_the_same_bits_wherever_they_lie(cells, kind):
    planes = noise((1, 75, cells, 1), kind)
    planes[:, ::5] = -0.0
    expected = cyconv.global_avg_pool2d(np.pad(planes, ((0, 0), (0, 0), (0, 3), (0, 0)))[:, :, :cells])
    room = np.empty(planes.size + 40, planes.dtype)
    for first in range(20):
        x = room[first : first + planes.size].reshape(planes.shape)
        x[...] = planes
        assert cyconv.global_avg_pool2d(x).tobytes() == expected.tobytes(), first
    check_avg_pool(planes, (cells, 1))


# ---------------------------------------------------------------------------------------------------------------- Lp

POWERS = [1, 2, 3, 0.5, 2.5, np.inf, np.float32(4)]


@pytest.mark.parametrize("power", POWERS, ids=str)
@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("geometry", GEOMETRIES[:3] + GEOMETRIES[5:8] + GEOMETRIES[-1:], ids=str)
def test_lp(power, kind, layout, geometry):
    x = noise((1, 3, 14, 37) if layout == "NCHW" else (1, 14, 21, 19), kind)
    y = cyconv.lp_pool2d(x, power, layout=layout, **geometry)
    value = oracle_pool.lp_pool(oracle.canonical(x, 2, layout), float(power), **geometry)
    value = oracle.in_layout(value, 4, 2, layout)
    # Powers with one rounding each, a sum of n of them, a root that divides the relative error by p, two roundings.
    n, u = x[0, 0].size, oracle.unit_roundoff(np.float32 if kind != "float64" else np.float64)
    bound = (oracle.gamma(n + 4, u) / min(float(power), 1) + 4 * u) * value
    if kind in ("float16", "bfloat16"):
        bound += (oracle.unit_roundoff(dtype(kind))) * value + 2.0**-24
    oracle.assert_close(y, oracle.Expected(value, bound), dtype=dtype(kind))


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_lp_at_every_rank(naxes, layout):
    x = noise((2, 3, *(6, 7, 9)[-naxes:]), "float64")
    x = channels_last(x, naxes) if layout == "NHWC" else x
    value = oracle_pool.lp_pool(oracle.canonical(x, naxes, layout), 2, 2)
    np.testing.assert_allclose(
        LP_POOL[naxes](x, 2, 2, layout=layout), oracle.in_layout(value, x.ndim, naxes, layout), rtol=1e-13
    )


@pytest.mark.parametrize("power", [1, 2, 3, 40, 1000, 0.5])
@pytest.mark.parametrize(("kind", "cell"), [
    ("float32", 3e37), ("float32", 1e-38), ("float32", 2.0**-149),
    ("float64", 1e307), ("float64", 1e-308), ("float64", 5e-324),
])  # fmt: skip
def test_lp_beyond_the_range_of_powers(power, kind, cell):
    x = np.array([[cell, -cell], [cell, 0]], kind)
    expected = float(np.array(cell, kind)) * 3 ** (1 / power)
    y = cyconv.lp_pool2d(x, power, 2)
    tiny = float(np.finfo(kind).smallest_subnormal)
    assert y.item() == pytest.approx(expected, rel=1e-5 if kind == "float32" else 1e-12, abs=0.51 * tiny)


def test_lp_of_nothing_and_of_special_cells():
    assert cyconv.lp_pool1d(np.zeros(6), 2, 3).tolist() == [0, 0]
    assert cyconv.lp_pool1d(np.zeros(6), 0.5, 3).tolist() == [0, 0]
    x = np.array([np.inf, 1, np.nan, 1, -np.inf, np.nan])
    same(cyconv.lp_pool1d(x, 2, 2), np.array([np.inf, np.nan, np.nan]))
    # Three cells apart around one cell: the middle window sees padding alone.
    assert cyconv.lp_pool1d(np.array([-1.0]), np.inf, 2, dilation=2, padding=1).tolist() == [0]


@pytest.mark.parametrize("power", [0, -1, -np.inf, np.nan, 0.0])
def test_norm_types_that_are_none(power):
    with pytest.raises(ValueError, match="norm_type"):
        cyconv.lp_pool2d(np.ones((4, 4)), power, 2)


@pytest.mark.parametrize("power", ["2", None, True, 1j])
def test_norm_types_of_wrong_types(power):
    with pytest.raises(TypeError, match="norm_type"):
        cyconv.lp_pool2d(np.ones((4, 4)), power, 2)
