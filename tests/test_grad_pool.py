"""Gradients of pooling against loops over windows, differences, threads and PyTorch."""

import math

import numpy as np
import oracle
import oracle_pool
import pytest
from calls import assert_alone_or_at_once

import cyconv
from cyconv import grad
from cyconv._kernels import calls
from cyconv._plans import max_gradients, pool_gradients

WINDOWS = {
    "2x2": (2, {}),
    "3x3/2": (3, {"stride": 2, "padding": 1}),
    "overlapping": ((2, 3), {"stride": 1, "padding": (1, 0)}),
    "gaps": (2, {"stride": 5}),
    "wide": ((5, 11), {"stride": 1, "padding": (2, 5)}),
    "ceil": (3, {"stride": 2, "padding": ((0, 1), (1, 0)), "ceil_mode": True}),
    "dilated": (3, {"stride": 2, "padding": 2, "dilation": 3}),
    "dilated-even": (2, {"stride": 4, "padding": 1, "dilation": 2}),
    "same": (3, {"stride": 2, "padding": "same"}),
    "whole": ((9, 12), {}),
}
LAYOUTS = pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def bounded(g, size, axes, dtype, **kw):
    """`Expected` of an average's gradient."""
    value = oracle_pool.average_gradient(g, size, axes, **kw)
    magnitude = oracle_pool.average_gradient(np.abs(g), size, axes, **kw)
    return oracle.Expected(value, oracle.rounding(g[0, 0].size + 4, magnitude, value, dtype))


def in_order(array, layout):
    """(N, C, *spatial) in a layout."""
    return array if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(array, 1, -1))


def back(array, layout):
    """The opposite."""
    return array if layout == "NCHW" else np.moveaxis(array, -1, 1)


@DTYPES
@LAYOUTS
@pytest.mark.parametrize("how", [{}, {"count_include_pad": False}, {"divisor_override": 7}], ids=str)
@pytest.mark.parametrize("size", [(9, 12), (27, 40)], ids=str)
@pytest.mark.parametrize(("kernel", "case"), WINDOWS.values(), ids=WINDOWS)
def test_average_follows_the_definition(kernel, case, size, how, layout, dtype):
    """Small planes and larger ones take different ways."""
    rng = np.random.default_rng(0)
    axes = oracle_pool.axis_windows(np.empty((1, 1, *size)), kernel, **case)
    g = rng.normal(size=(2, 5, *map(len, axes))).astype(dtype)
    given = in_order(g, layout)
    shape = in_order(np.empty((2, 5, *size)), layout).shape
    one = grad.avg_pool2d(given, shape, kernel, layout=layout, num_threads=1, **case, **how)
    oracle.assert_close(back(one, layout), bounded(g, size, axes, dtype, **how), dtype=dtype)
    for threads in (2, 5):
        again = grad.avg_pool2d(given, shape, kernel, layout=layout, num_threads=threads, **case, **how)
        np.testing.assert_array_equal(again, one)


@DTYPES
@LAYOUTS
@pytest.mark.parametrize("size", [(9, 12), (27, 40)], ids=str)
@pytest.mark.parametrize(("kernel", "case"), WINDOWS.values(), ids=WINDOWS)
def test_an_infinite_average_stays_in_its_window(kernel, case, size, layout, dtype):
    axes = oracle_pool.axis_windows(np.empty((1, 1, *size)), kernel, **case)
    reached = np.zeros((2, 3, *map(len, axes)))
    reached.reshape(6, -1)[range(6), np.arange(6) * 7 % math.prod(map(len, axes))] = 1
    g = np.where(reached > 0, np.inf, 1).astype(dtype)
    shape = in_order(np.empty((2, 3, *size)), layout).shape
    dx = back(grad.avg_pool2d(in_order(g, layout), shape, kernel, layout=layout, **case), layout)
    np.testing.assert_array_equal(dx == np.inf, oracle_pool.average_gradient(reached, size, axes) > 0)
    assert not np.isnan(dx).any()


@LAYOUTS
def test_a_window_may_be_immense(layout):
    """bad-input.md 7: the time depends on the input alone. The first of three windows ends on the first cell."""
    g, shape = in_order(np.ones((1, 2, 3, 3)), layout), in_order(np.empty((1, 2, 9, 12)), layout).shape
    how = {"stride": 2**60, "padding": 2**61, "divisor_override": 1, "layout": layout}
    line = np.where(np.arange(12) == 0, 3.0, 2.0)
    dx = back(grad.avg_pool2d(g, shape, 2**61 + 1, **how), layout)
    np.testing.assert_array_equal(dx, np.broadcast_to(np.outer(line[:9], line), (1, 2, 9, 12)))


@LAYOUTS
@pytest.mark.parametrize("outputs", [(1, 1), (9, 12), (4, 5), (2, 7), (11, 20)], ids=str)
def test_adaptive_average_follows_the_definition(outputs, layout):
    g = np.random.default_rng(1).normal(size=(2, 5, *outputs)).astype(np.float32)
    axes = [oracle_pool.adaptive_windows(n, o) for n, o in zip((9, 12), outputs, strict=True)]
    shape = in_order(np.empty((2, 5, 9, 12)), layout).shape
    dx = grad.adaptive_avg_pool2d(in_order(g, layout), shape, layout=layout)
    oracle.assert_close(back(dx, layout), bounded(g, (9, 12), axes, np.float32), dtype=np.float32)


@DTYPES
@LAYOUTS
@pytest.mark.parametrize(("kernel", "case"), WINDOWS.values(), ids=WINDOWS)
def test_maximum_passes_to_the_first_of_equals(kernel, case, layout, dtype):
    """Few different numbers, so that there are ties everywhere."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 3, (2, 70, 9, 12)).astype(dtype)
    y, indices = cyconv.max_pool2d(x, kernel, return_indices=True, **case)
    g = rng.integers(-5, 6, y.shape).astype(dtype)
    expected = np.zeros((2, 70, 9 * 12))
    for n, c, *o in np.ndindex(*g.shape):
        if indices[n, c, *o] >= 0:
            expected[n, c, indices[n, c, *o]] += g[n, c, *o]
    given = in_order(g, layout), in_order(indices, layout), in_order(x, layout).shape
    for threads in (1, 2, 5):
        for out in (None, np.full_like(given[0], 7, shape=given[2])):
            dx = grad.max_pool2d(*given, layout=layout, num_threads=threads, out=out)
            assert dx.dtype == dtype
            np.testing.assert_array_equal(back(dx, layout), expected.reshape(x.shape))


@LAYOUTS
def test_adaptive_maximum(layout):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 3, 9, 12))
    y, indices = cyconv.adaptive_max_pool2d(x, (4, 5), return_indices=True)
    g = rng.normal(size=y.shape)
    given = in_order(g, layout), in_order(indices, layout), in_order(x, layout).shape
    dx = grad.adaptive_max_pool2d(*given, layout=layout)
    expected = np.zeros((2, 3, 108))
    for n, c, *o in np.ndindex(*g.shape):
        expected[n, c, indices[n, c, *o]] += g[n, c, *o]
    np.testing.assert_allclose(back(dx, layout), expected.reshape(x.shape))


def differences(function, x, g, at, step):
    """Central differences of sum(g * function(x)) at some cells."""
    x = x.copy()
    for cell in at:
        loss = []
        for change in (step, -step):
            x.flat[cell] += change
            loss.append((g * function(x)).sum())
            x.flat[cell] -= change
        yield (loss[0] - loss[1]) / (2 * step)


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("norm", [1, 2, 3.5])
@pytest.mark.parametrize("case", [{}, {"stride": 1, "padding": 1}, {"stride": 2, "dilation": 2}], ids=str)
def test_lp_by_differences(naxes, norm, case):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 3, *(6, 7, 8)[-naxes:])) + 0.0
    x[np.abs(x) < 0.05] = 0.3  # away from the kink of |x|
    pool, back_ = getattr(cyconv, f"lp_pool{naxes}d"), getattr(grad, f"lp_pool{naxes}d")
    y = pool(x, norm, 2, **case)
    g = rng.normal(size=y.shape)
    dx = back_(g, x, y, norm, 2, **case)
    at = rng.integers(0, x.size, 20)
    slopes = list(differences(lambda v: pool(v, norm, 2, **case), x, g, at, 1e-5))
    np.testing.assert_allclose(dx.flat[at], slopes, atol=1e-7)


def test_lp_of_zeros_is_zero():
    x = np.zeros((1, 2, 4, 4), np.float32)
    dx = grad.lp_pool2d(np.ones((1, 2, 2, 2), np.float32), x, cyconv.lp_pool2d(x, 2, 2), 2, 2)
    np.testing.assert_array_equal(dx, x)


@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_linear_ones_by_differences(naxes):
    rng = np.random.default_rng(5)
    x = rng.integers(-8, 9, (2, 3, *(4, 6, 8)[-naxes:])).astype(float)
    cases = [
        ("avg_pool", (2,), {"stride": 1, "padding": 1}),
        ("adaptive_avg_pool", (2,), {}),
    ]
    for name, args, case in cases:
        pool = getattr(cyconv, f"{name}{naxes}d")
        g = rng.integers(-8, 9, pool(x, *args, **case).shape).astype(float)
        dx = getattr(grad, f"{name}{naxes}d")(g, x.shape, *(args if name == "avg_pool" else ()), **case)
        at = rng.integers(0, x.size, 15)
        np.testing.assert_allclose(
            dx.flat[at],
            list(differences(lambda v: pool(v, *args, **case), x, g, at, 1.0)),  # noqa: B023
            atol=1e-12,
        )
    y, indices = getattr(cyconv, f"max_pool{naxes}d")(x, 2, return_indices=True)
    dx = getattr(grad, f"max_pool{naxes}d")(np.ones_like(y), indices, x.shape)
    assert dx.sum() == y.size
    np.testing.assert_array_equal(np.sort((x * dx).ravel())[np.sort((x * dx).ravel()) != 0], np.sort(y[y != 0]))


def test_ranks_dtypes_and_out():
    rng = np.random.default_rng(6)
    g = rng.normal(size=(3, 4)).astype(np.float16)
    dx = grad.avg_pool2d(g, (6, 8), 2)
    assert dx.dtype == np.float16
    np.testing.assert_array_equal(dx, np.repeat(np.repeat(g, 2, 0), 2, 1) / np.float16(4))
    x = rng.normal(size=(5, 6, 8)).astype(np.float32)
    y, indices = cyconv.max_pool2d(x, 2, return_indices=True)
    plain = grad.max_pool2d(y, indices, x.shape)
    turned, spaced = np.empty((5, 8, 6), "f4").swapaxes(1, 2), np.empty((5, 6, 16), "f4")[..., ::2]
    for out in (np.empty_like(x)[:, ::-1], turned, spaced):
        assert grad.max_pool2d(y, indices, x.shape, out=out) is not None
        np.testing.assert_array_equal(out, plain)
        grad.avg_pool2d(y, x.shape, 2, out=out)
        np.testing.assert_array_equal(out, grad.avg_pool2d(y, x.shape, 2))
    np.testing.assert_array_equal(grad.max_pool2d(y, indices.astype(np.uint8), x.shape), plain)
    assert grad.max_pool2d(np.ones((0, 2, 2)), np.ones((0, 2, 2), int), (0, 4, 4)).shape == (0, 4, 4)


def test_the_second_call_is_like_the_first():
    """What is known of a call holds for calls like it, not for those that compare equal."""
    x = np.random.default_rng(6).normal(size=(1, 3, 6, 8)).astype(np.float32)
    y, indices = cyconv.max_pool2d(x, 3, stride=1, padding=1, return_indices=True)
    expected = grad.max_pool2d(y, indices, x.shape)
    for _ in range(2):
        over = y.copy()
        assert grad.max_pool2d(over, indices, x.shape, out=over) is over
        np.testing.assert_array_equal(over, expected)
        out = np.empty_like(x)
        grad.max_pool2d(y, indices, x.shape, out=out)
        np.testing.assert_array_equal(out, expected)
        for dtype in (np.float16, np.float64):
            given, wide = y.astype(dtype), np.empty(x.shape, dtype)
            grad.max_pool2d(given, indices, x.shape, out=wide)
            np.testing.assert_allclose(wide, expected, atol=2e-2)
    for size in [(True, 3, 6, 8), (1.0, 3, 6, 8)]:
        with pytest.raises(TypeError):
            grad.max_pool2d(y, indices, size, out=out)
    with pytest.raises(ValueError, match="out"):
        grad.max_pool2d(y, indices, x.shape, out=np.empty((1, 3, 8, 6), np.float32))


@pytest.mark.parametrize(
    ("g", "indices", "size"),
    [
        ((2, 3, 2, 2), (2, 3, 2, 2), (2, 3, 0, 4)),
        ((2, 3, 2, 2), (2, 3, 2, 3), (2, 3, 4, 4)),
        ((2, 3, 2, 2), (2, 3, 2, 2), (1, 3, 4, 4)),
        ((2, 3, 2, 2), (2, 3, 2, 2), (2, 2, 4, 4)),
        ((2, 3, 2, 2), (2, 3, 2, 2), (3, 4, 4)),
        ((2, 3, 2, 2), (2, 3, 2, 2), (2, 3, 2**40, 2**40)),
        ((3, 2, 2), (1, 3, 2, 2), (1, 3, 4, 4)),
    ],
    ids=str,
)
def test_arrays_that_do_not_belong_together(g, indices, size):
    """bad-input.md 6."""
    with pytest.raises(ValueError):
        grad.max_pool2d(np.ones(g), np.zeros(indices, int), size)


@pytest.mark.parametrize("index", [16, -2, 2**62, -(2**63), 10**6])
@pytest.mark.parametrize("with_out", [False, True])
def test_indices_out_of_range(index, with_out):
    """bad-input.md 6: no write out of bounds, and `out` stays as it was."""
    indices = np.zeros((2, 3, 2, 2), np.int64)
    indices[1, 2, 1, 0] = index
    out = np.full((2, 3, 4, 4), 7.0)
    with pytest.raises(ValueError, match="indices"):
        grad.max_pool2d(np.ones((2, 3, 2, 2)), indices, out.shape, out=out if with_out else None)
    with pytest.raises(ValueError, match="indices"):
        grad.max_pool2d(np.ones((2, 3, 2, 2)), np.full((2, 3, 2, 2), 2**64 - 1, np.uint64), out.shape)
    assert (out == 7).all()
    with pytest.raises(TypeError, match="indices"):
        grad.max_pool2d(np.ones((2, 3, 2, 2)), np.zeros((2, 3, 2, 2)), out.shape)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"stride": 0}, ValueError),
        ({"stride": -2}, ValueError),
        ({"kernel_size": 0}, ValueError),
        ({"kernel_size": 7}, ValueError),
        ({"padding": 2}, ValueError),
        ({"dilation": 0}, ValueError),
        ({"divisor_override": 0}, ValueError),
        ({"divisor_override": 2.0}, TypeError),
        ({"ceil_mode": 1}, TypeError),
        ({"input_size": (2, 3, 5, 4)}, ValueError),
        ({"input_size": (2, 3, 8, 8)}, ValueError),
        ({"input_size": 4}, TypeError),
        ({"layout": "CHW"}, ValueError),
        ({"grad_output": np.ones((2, 3, 2, 2), int)}, TypeError),
    ],
    ids=str,
)
def test_bad_values(change, error):
    how = {"grad_output": np.ones((2, 3, 2, 2)), "input_size": (2, 3, 4, 4), "kernel_size": 2, **change}
    if change == {"input_size": (2, 3, 5, 4)}:
        how["ceil_mode"] = True
    with pytest.raises(error):
        grad.avg_pool2d(how.pop("grad_output"), how.pop("input_size"), how.pop("kernel_size"), **how)


@pytest.mark.parametrize("norm", [0, -1, math.nan, math.inf])
def test_bad_norm(norm):
    with pytest.raises(ValueError, match="norm_type"):
        grad.lp_pool2d(np.ones((2, 2)), np.ones((4, 4)), np.ones((2, 2)), norm, 2)


@pytest.mark.parametrize(
    ("kernel", "case"), [WINDOWS[name] for name in ("2x2", "3x3/2", "overlapping", "gaps")], ids=str
)
def test_agrees_with_torch(kernel, case):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    x = rng.integers(0, 4, (2, 3, 9, 12)).astype(float)
    for name in ("max_pool2d", "avg_pool2d"):
        tx = torch.tensor(x, requires_grad=True)
        ty = getattr(torch.nn.functional, name)(tx, kernel, **case)
        g = rng.normal(size=ty.shape)
        ty.backward(torch.tensor(g))
        if name == "max_pool2d":
            dx = grad.max_pool2d(g, cyconv.max_pool2d(x, kernel, return_indices=True, **case)[1], x.shape)
        else:
            dx = grad.avg_pool2d(g, x.shape, kernel, **case)
        np.testing.assert_allclose(dx, tx.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 90])
@pytest.mark.parametrize("size", [(3, 9), (2, 16), (3, 17), (2, 33), (40, 70)], ids=str)
@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (2, 1), (5, 2), (8, 3), (9, 4)])
def test_rows_of_every_width_against_vectors(kernel, padding, stride, size):
    """Rows shorter and longer than vectors, windows of few and of many taps, cells that no window holds."""
    rng = np.random.default_rng(0)
    how = {"stride": (1, stride), "padding": (1, padding) if padding else 0, "ceil_mode": stride == 3}
    axes = oracle_pool.axis_windows(np.empty((1, 1, *size)), (2, kernel), **how)
    if any(len(axis) == 0 for axis in axes):
        pytest.skip("no window fits")
    g = rng.normal(size=(2, 1, *map(len, axes))).astype(np.float32)
    dx = grad.avg_pool2d(g, (2, 1, *size), (2, kernel), **how)
    oracle.assert_close(dx, bounded(g, size, axes, np.float32))


def one_by_one(g, indices, cells):
    """The definition of the maximum's gradient: additions in the order of the outputs."""
    dx = np.zeros((*g.shape[:2], cells), g.dtype)
    for n, c in np.ndindex(*g.shape[:2]):
        for value, at in zip(g[n, c].ravel(), indices[n, c].ravel(), strict=True):
            if at >= 0:
                dx[n, c, at] += value
    return dx


def indices_near(rng, size, outputs, step, first, cells):
    """Any indices in boxes of so many cells each way that begin ``first`` before step * output."""
    axes = []
    for n, out, axis in zip(size, outputs, (0, 1), strict=True):
        at = np.arange(out).reshape((-1, 1) if axis == 0 else (1, -1)) * step - first
        axes.append(np.clip(at + rng.integers(0, cells, (2, 3, *outputs)), 0, n - 1))
    return axes[0] * size[1] + axes[1]


@DTYPES
@LAYOUTS
@pytest.mark.parametrize(
    ("step", "first", "cells"),
    [(1, 0, 2), (1, 1, 3), (2, 0, 2), (2, 1, 2), (2, 0, 3), (2, 1, 3), (1, 0, 5), (2, 3, 8)],
)
@pytest.mark.parametrize("outputs", [(1, 9), (5, 7), (3, 16), (4, 17), (2, 40), (40, 5)], ids=str)
def test_indices_in_a_box_that_moves_along(outputs, step, first, cells, layout, dtype):
    """Bit for bit what additions one by one give: few taps by vectors, many taps and odd ones out one by one."""
    rng = np.random.default_rng(8)
    size = tuple(n * step + 1 for n in outputs)
    indices = indices_near(rng, size, outputs, step, first, cells)
    g = rng.normal(size=indices.shape).astype(dtype)
    g[0, 0, 0, 0], g[1, 2, 0, 1], g[0, 1, 0, 0] = np.inf, np.nan, -0.0
    shape = in_order(np.empty((2, 3, *size)), layout).shape

    def check(indices):
        expected = one_by_one(g, indices, size[0] * size[1]).reshape(2, 3, *size)
        for threads in (1, 3):
            given = in_order(g, layout), in_order(indices, layout), shape
            out = np.full(shape, 7, dtype)
            assert grad.max_pool2d(*given, layout=layout, num_threads=threads, out=out) is out
            np.testing.assert_array_equal(back(out, layout), expected)
            np.testing.assert_array_equal(np.signbit(back(out, layout)), np.signbit(expected))
            fresh = grad.max_pool2d(*given, layout=layout, num_threads=threads)
            np.testing.assert_array_equal(back(fresh, layout), expected)
            np.testing.assert_array_equal(np.signbit(back(fresh, layout)), np.signbit(expected))

    check(indices)
    for odd_one in (-1, 0, size[1] - 1, size[0] * size[1] - 1):
        indices[1, 1, outputs[0] // 2, outputs[1] // 2] = odd_one
        check(indices)


@DTYPES
@pytest.mark.parametrize("outputs", [1, 15, 16, 39])
@pytest.mark.parametrize("cells", [1, 20, 255, 256, 2048, 2049, 65535, 65536])
def test_indices_anywhere_in_planes_of_every_size(cells, outputs, dtype):
    """Indices of one to eight bytes, several planes at a time and the rest; none, the last cell, what is wrong."""
    rng = np.random.default_rng(9)
    indices = rng.integers(-1, cells, (1, 19, outputs))
    indices[0, :9, -1], indices[0, 9:, -1] = cells - 1, -1
    g = rng.normal(size=indices.shape).astype(dtype)
    expected = one_by_one(g, indices, cells)
    shape = (1, 19, cells)
    for threads in (1, 3):
        out = np.full(shape, 7, dtype)
        np.testing.assert_array_equal(grad.max_pool1d(g, indices, shape, out=out, num_threads=threads), expected)
        np.testing.assert_array_equal(grad.max_pool1d(g, indices, shape, num_threads=threads), expected)
    for wrong in (cells, -2):
        indices[0, 18, outputs - 1] = wrong
        out = np.full(shape, 7, dtype)
        for where in (None, out):
            with pytest.raises(ValueError, match="indices"):
                grad.max_pool1d(g, indices, shape, out=where)
        assert (out == 7).all()


def test_results_beyond_the_caches(monkeypatch):
    """What is written past the caches, to a place that is aligned to nothing but its elements."""
    for plan in (max_gradients, pool_gradients):
        monkeypatch.setattr(plan, "GRADIENT_STREAM_BYTES", 1 << 20)
    rng = np.random.default_rng(9)
    x = rng.integers(0, 3, (1, 3, 1001, 1000)).astype(np.float32)
    y, indices = cyconv.max_pool2d(x, 2, return_indices=True)
    expected = grad.max_pool2d(y, indices, x.shape)
    for threads in (1, 2):
        out = np.full(x.size + 3, 7, np.float32)[3:].reshape(x.shape)
        grad.max_pool2d(y, indices, x.shape, out=out, num_threads=threads)
        np.testing.assert_array_equal(out, expected)
        averaged = np.full(x.size + 3, 7, np.float32)[3:].reshape(x.shape)
        grad.avg_pool2d(y, x.shape, 2, out=averaged, num_threads=threads)
        np.testing.assert_array_equal(averaged, grad.avg_pool2d(y, x.shape, 2))
    inner = expected[..., :1000, :].reshape(1, 3, 500, 2, 500, 2)
    np.testing.assert_array_equal(inner.sum(axis=(3, 5)), y)
    np.testing.assert_array_equal(expected[..., 1000, :], 0)


@LAYOUTS
@pytest.mark.parametrize("how", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 3, (1, 2)), (4, 4, 0)], ids=str)
def test_later_calls_are_bit_for_bit_the_first(how, layout):
    kernel, stride, padding = how
    shape = (2, 3, 13, 17) if layout == "NCHW" else (2, 13, 17, 3)
    where = {"layout": layout}
    x = np.random.default_rng(14).normal(size=shape).astype(np.float32)
    y, indices = cyconv.max_pool2d(x, kernel, stride=stride, padding=padding, return_indices=True, **where)
    g = np.random.default_rng(15).normal(size=y.shape).astype(np.float32)
    wrong = indices.copy()
    wrong.flat[-1] = 13 * 17
    gradients = {
        "max": lambda **more: grad.max_pool2d(g, indices, shape, **more),
        "average": lambda **more: grad.avg_pool2d(g, shape, kernel, stride=stride, padding=padding, **more),
        "adaptive": lambda **more: grad.adaptive_avg_pool2d(g, shape, **more),
    }
    for gradient in gradients.values():
        calls.forget()
        expected = gradient(**where)
        for threads in (1, 1, 1, 2, 2):
            np.testing.assert_array_equal(gradient(num_threads=threads, **where), expected)
            out = np.full_like(expected, 7)
            assert gradient(out=out, num_threads=threads, **where) is out
            np.testing.assert_array_equal(out, expected)
    for out in (None, np.full(shape, 7, np.float32)):
        for _ in range(3):
            grad.max_pool2d(g, indices, shape, **where)
            with pytest.raises(ValueError, match="indices must be"):
                grad.max_pool2d(g, wrong, shape, out=out, **where)
            assert out is None or (out == 7).all()


def test_calls_at_the_same_time_share_no_memory():
    rng = np.random.default_rng(16)
    arrays = [rng.normal(size=(2, 4, 24, 24)).astype(np.float32) for _ in range(4)]

    def gradients(x):
        y, indices = cyconv.max_pool2d(x, 2, return_indices=True)
        into = np.empty_like(x)
        grad.max_pool2d(y, indices, x.shape, out=into)
        return into, grad.max_pool2d(y, indices, x.shape), grad.avg_pool2d(y, x.shape, 2)

    assert_alone_or_at_once(gradients, arrays)


def test_the_second_average_is_like_the_first():
    g, shape = np.random.default_rng(11).normal(size=(2, 3, 3, 4)), (2, 3, 6, 8)
    averages = {
        "avg": lambda out, size=shape, **how: grad.avg_pool2d(g, size, 2, out=out, **how),
        "adaptive": lambda out, size=shape, **how: grad.adaptive_avg_pool2d(g, size, out=out, **how),
    }
    for name, average in averages.items():
        expected, out = average(None), np.empty(shape)
        for threads in (1, 1, 2):
            assert average(out, num_threads=threads) is out
            np.testing.assert_array_equal(out, expected)
        spaced = np.empty((2, 3, 6, 16))[..., ::2]
        np.testing.assert_array_equal(average(spaced), expected)
        for change in ({"size": (2.0, 3, 6, 8)}, {"num_threads": 0}):
            with pytest.raises((TypeError, ValueError)):
                average(out, **change)
        if name == "avg":
            for change in ({"ceil_mode": 0}, {"stride": 2.0}, {"padding": False}, {"divisor_override": True}):
                with pytest.raises(TypeError):
                    average(out, **change)
    same = g.copy()
    for _ in range(2):
        assert grad.avg_pool2d(same, g.shape, 1, out=same) is same
        np.testing.assert_array_equal(same, g)
