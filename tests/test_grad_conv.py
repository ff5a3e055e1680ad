"""Gradients of convolution against their definition, differences, each other, threads and PyTorch."""

import itertools
import math

import numpy as np
import oracle
import pytest
from calls import assert_alone_or_at_once

import cyconv
from cyconv import grad
from cyconv._kernels import calls
from cyconv._plans import table

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def geometry(naxes, case):
    """The keywords of a case, each per axis."""
    return {key: oracle.per_axis(value, naxes) for key, value in case.items() if key in ("stride", "dilation")}


def padded(x, kernel, case, naxes):
    """x with its padding, for every cell of it the flat index of the cell that it shows (-1: none), and the pairs."""
    each = geometry(naxes, {"stride": 1, "dilation": 1, **case})
    pairs = oracle.pads(case.get("padding", 0), x.shape[2:], kernel, each["stride"], each["dilation"])
    mode = MODES[case.get("padding_mode", "zeros")]
    index = np.arange(math.prod(x.shape[2:])).reshape(x.shape[2:])
    fill = {"constant_values": -1} if mode == "constant" else {}
    return np.pad(x, ((0, 0), (0, 0), *pairs), mode=mode), np.pad(index, pairs, mode=mode, **fill), pairs


def taps(kernel, out, case, naxes):
    """Every tap of a kernel with the padded cells that it meets, output by output."""
    each = geometry(naxes, {"stride": 1, "dilation": 1, **case})
    for tap in itertools.product(*map(range, kernel)):
        cells = (
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, s, o in zip(tap, each["dilation"], each["stride"], out, strict=True)
        )
        yield tap, (slice(None), slice(None), *cells)


def expected_weight(x, g, kernel, groups=1, **case):
    """The weight gradient by its definition, tap by tap."""
    x, g, naxes = oracle.wide(x), oracle.wide(g), x.ndim - 2
    x = padded(x, kernel, case, naxes)[0]
    each = x.shape[1] // groups
    value = np.zeros((g.shape[1], each, *kernel))
    grouped = g.reshape(len(g), groups, g.shape[1] // groups, -1)
    for tap, cells in taps(kernel, g.shape[2:], case, naxes):
        seen = x[cells].reshape(len(x), groups, each, -1)
        value[(..., *tap)] = np.einsum("ngkp,ngcp->gkc", grouped, seen).reshape(g.shape[1], each)
    return value


def expected_input(size, w, g, groups=1, **case):
    """The input gradient by its definition: every cell of g gives to the cells that its window shows."""
    w, g, naxes = oracle.wide(w), oracle.wide(g), w.ndim - 2
    kernel = w.shape[2:]
    seen, index, _ = padded(np.zeros((1, 1, *size)), kernel, case, naxes)
    n, each = len(g), w.shape[1]
    flow = np.zeros((n, groups * each, *seen.shape[2:]))
    grouped_w = w.reshape(groups, -1, each, *kernel)
    grouped_g = g.reshape(n, groups, -1, *g.shape[2:])
    for tap, cells in taps(kernel, g.shape[2:], case, naxes):
        given = np.einsum("gkc,ngk...->ngc...", grouped_w[(..., *tap)], grouped_g)
        flow[cells] += given.reshape(n, -1, *g.shape[2:])
    value = np.zeros((n, groups * each, math.prod(size)))
    real = index.ravel() >= 0
    np.add.at(value, (slice(None), slice(None), index.ravel()[real]), flow.reshape(n, groups * each, -1)[..., real])
    return value.reshape(n, groups * each, *size)


def bounded(function, terms, dtype, *arrays, **case):
    """`Expected` of a gradient: its value and what rounding may leave of it."""
    value = function(*arrays, **case)
    magnitude = function(*(np.abs(oracle.wide(a)) if isinstance(a, np.ndarray) else a for a in arrays), **case)
    return oracle.Expected(value, oracle.rounding(terms, magnitude, value, dtype))


def draw(rng, *shape, dtype=np.float32):
    """Normal numbers."""
    return rng.normal(size=shape).astype(dtype)


def call(name, naxes):
    """The public function of a gradient."""
    return getattr(grad, f"conv{naxes}d_{name}")


CASES = {
    "plain": {},
    "padded": {"padding": 1},
    "one-sided": {"padding": ((2, 0), (0, 1))},
    "strided": {"stride": 2, "padding": 1},
    "stride-beyond-kernel": {"stride": (4, 5)},
    "dilated": {"dilation": 2, "padding": 2},
    "strided-dilated": {"stride": (2, 3), "dilation": (3, 2), "padding": (3, 2)},
    "same": {"padding": "same", "stride": 2},
    "same-lower": {"padding": "same_lower"},
    "padding-beyond-kernel": {"padding": 5},
    "grouped": {"groups": 3, "padding": 1},
    "depthwise": {"groups": 6, "padding": 1},
    "reflect": {"padding": ((2, 1), (1, 3)), "padding_mode": "reflect"},
    "replicate": {"padding": ((2, 1), (1, 3)), "padding_mode": "replicate", "stride": 2},
    "circular": {"padding": ((2, 1), (1, 3)), "padding_mode": "circular", "dilation": 2},
}
KERNELS = [(3, 3), (1, 1), (2, 5)]


def two_axes(case, kernel, rng, dtype, n=2, c=6, k=12, size=(11, 13)):
    """x, w and g of a case."""
    x, w = draw(rng, n, c, *size, dtype=dtype), draw(rng, k, c // case.get("groups", 1), *kernel, dtype=dtype)
    return x, w, draw(rng, *cyconv.conv2d(x, w, **case).shape, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_follows_the_definition(case, kernel, dtype):
    rng = np.random.default_rng(0)
    x, w, g = two_axes(case, kernel, rng, dtype)
    dw = grad.conv2d_weight(x, w.shape, g, **case)
    oracle.assert_close(
        dw, bounded(expected_weight, g[:, 0].size, dtype, x, g, kernel, **case), dtype=dtype
    )
    dx = grad.conv2d_input(x.shape, w, g, **case)
    terms = 4 * w[:, 0].size  # a cell at an edge may be shown by padded cells too
    oracle.assert_close(dx, bounded(expected_input, terms, dtype, x.shape[2:], w, g, **case), dtype=dtype)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_layouts_agree_and_out_is_filled(case):
    rng = np.random.default_rng(1)
    x, w, g = two_axes(case, (3, 3), rng, np.float64)
    last = {"layout": "NHWC", **case}
    xl, gl = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, g))
    dw, dx = grad.conv2d_weight(x, w.shape, g, **case), grad.conv2d_input(x.shape, w, g, **case)
    np.testing.assert_allclose(grad.conv2d_weight(xl, w.shape, gl, **last), dw, atol=1e-12)
    np.testing.assert_allclose(np.moveaxis(grad.conv2d_input(xl.shape, w, gl, **last), -1, 1), dx, atol=1e-12)
    wide = np.full((*dw.shape[:-1], 2 * dw.shape[-1]), 7.0)
    assert grad.conv2d_weight(x, w.shape, g, out=wide[..., ::2], **case).base is wide
    np.testing.assert_array_equal(wide[..., ::2], dw)
    assert (wide[..., 1::2] == 7).all()
    reverse = np.empty_like(dx)[:, :, ::-1]
    grad.conv2d_input(x.shape, w, g, out=reverse, **case)
    np.testing.assert_array_equal(reverse, dx)


@pytest.mark.parametrize("naxes", [1, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "case", [{}, {"stride": 2, "padding": 1}, {"padding": 1, "padding_mode": "circular", "groups": 2}], ids=str
)
def test_other_numbers_of_axes(naxes, layout, case):
    rng = np.random.default_rng(2)
    kernel = (2, 3, 3)[-naxes:]
    x, w = draw(rng, 2, 4, *(5, 6, 9)[-naxes:]), draw(rng, 6, 4 // case.get("groups", 1), *kernel)
    g = draw(rng, *getattr(cyconv, f"conv{naxes}d")(x, w, **case).shape)
    expect_w = bounded(expected_weight, g[:, 0].size, np.float32, x, g, kernel, **case)
    expect_x = bounded(expected_input, 8 * w[:, 0].size, np.float32, x.shape[2:], w, g, **case)
    if layout == "NHWC":
        x, g = np.moveaxis(x, 1, -1), np.moveaxis(g, 1, -1)
    oracle.assert_close(call("weight", naxes)(x, w.shape, g, layout=layout, **case), expect_w)
    dx = call("input", naxes)(x.shape, w, g, layout=layout, **case)
    oracle.assert_close(dx if layout == "NCHW" else np.moveaxis(dx, -1, 1), expect_x)
    np.testing.assert_allclose(
        call("bias", naxes)(g, layout=layout), (g if layout == "NCHW" else np.moveaxis(g, -1, 1)).sum(
            axis=(0, *range(2, 2 + naxes))), rtol=1e-5, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_central_differences(case):
    """The loss is linear in x and in w, so that with whole numbers differences of any step are exact."""
    rng = np.random.default_rng(3)
    groups = case.get("groups", 1)
    x, w = rng.integers(-4, 5, (1, 6, 8, 7)).astype(float), rng.integers(-4, 5, (6, 6 // groups, 3, 2)).astype(float)
    g = rng.integers(-4, 5, cyconv.conv2d(x, w, **case).shape).astype(float)
    b = rng.integers(-4, 5, 6).astype(float)
    gradients = (
        (x, grad.conv2d_input(x.shape, w, g, **case)),
        (w, grad.conv2d_weight(x, w.shape, g, **case)),
        (b, grad.conv2d_bias(g)),
    )
    for array, gradient in gradients:
        for at in rng.integers(0, array.size, 12):
            loss = []
            for step in (1, -1):
                array.flat[at] += step
                loss.append((g * cyconv.conv2d(x, w, b, **case)).sum())
                array.flat[at] -= step
            assert gradient.flat[at] == (loss[0] - loss[1]) / 2


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize(
    "case",
    [{}, {"stride": 2, "padding": 1, "output_padding": 1}, {"dilation": 3, "output_padding": 2}, {"groups": 2}],
    ids=str,
)
def test_transposed_convolution(naxes, case):
    """Whole numbers: the loss is linear, so that differences by the definition are exact."""
    rng = np.random.default_rng(4)
    x = rng.integers(-4, 5, (2, 4, *(3, 4, 5)[-naxes:])).astype(float)
    w = rng.integers(-4, 5, (4, 6 // case.get("groups", 1), *(2, 3, 2)[-naxes:])).astype(float)
    forward = getattr(cyconv, f"conv_transpose{naxes}d")
    g = rng.integers(-4, 5, forward(x, w, **case).shape).astype(float)
    dx = getattr(grad, f"conv_transpose{naxes}d_input")(x.shape, w, g, **case)
    dw = getattr(grad, f"conv_transpose{naxes}d_weight")(x, w.shape, g, **case)
    for array, gradient in ((x, dx), (w, dw)):
        for at in rng.integers(0, array.size, 12):
            loss = []
            for step in (1, -1):
                array.flat[at] += step
                loss.append((g * oracle.correlate_transposed(x, w, **case)).sum())
                array.flat[at] -= step
            assert gradient.flat[at] == (loss[0] - loss[1]) / 2


def test_double_backward_composes():
    """The three formulas of the module's docstring, by differences of M = sum(a dx) + sum(b dw)."""
    rng = np.random.default_rng(5)
    how = {"stride": 2, "padding": 1}
    x, w = rng.integers(-3, 4, (2, 3, 7, 6)).astype(float), rng.integers(-3, 4, (4, 3, 3, 3)).astype(float)
    g = rng.integers(-3, 4, cyconv.conv2d(x, w, **how).shape).astype(float)
    a, b = rng.integers(-3, 4, x.shape).astype(float), rng.integers(-3, 4, w.shape).astype(float)

    def scalar():
        dx, dw = grad.conv2d_input(x.shape, w, g, **how), grad.conv2d_weight(x, w.shape, g, **how)
        return (a * dx).sum() + (b * dw).sum()

    gradients = (
        (g, cyconv.conv2d(a, w, **how) + cyconv.conv2d(x, b, **how)),
        (w, grad.conv2d_weight(a, w.shape, g, **how)),
        (x, grad.conv2d_input(x.shape, b, g, **how)),
    )
    for array, gradient in gradients:
        for at in rng.integers(0, array.size, 15):
            values = []
            for step in (1, -1):
                array.flat[at] += step
                values.append(scalar())
                array.flat[at] -= step
            assert gradient.flat[at] == (values[0] - values[1]) / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "weight", "case"),
    [
        ((5, 3, 40, 41), (20, 3, 3, 3), {"padding": 1}),
        ((9, 70, 7, 7), (33, 70, 3, 3), {"padding": 1}),
        ((3, 64, 30, 30), (50, 64, 1, 1), {}),
        ((2, 100, 15, 15), (130, 100, 1, 1), {"stride": 2}),
        ((4, 24, 17, 19), (24, 1, 3, 3), {"groups": 24, "stride": 2}),
        ((1, 1, 90, 90), (1, 1, 7, 7), {}),
    ],
    ids=str,
)
def test_threads_change_no_bit(shape, weight, case, dtype):
    rng = np.random.default_rng(6)
    x, w = draw(rng, *shape, dtype=dtype), draw(rng, *weight, dtype=dtype)
    g = draw(rng, *cyconv.conv2d(x, w, **case).shape, dtype=dtype)
    one = grad.conv2d_weight(x, w.shape, g, num_threads=1, **case)
    oracle.assert_close(one, bounded(expected_weight, g[:, 0].size, dtype, x, g, weight[2:], **case))
    dx = grad.conv2d_input(x.shape, w, g, num_threads=1, **case)
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(grad.conv2d_weight(x, w.shape, g, num_threads=threads, **case), one)
        np.testing.assert_array_equal(grad.conv2d_input(x.shape, w, g, num_threads=threads, **case), dx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(
    "case",
    [
        {"stride": 2, "padding": 1},
        {"stride": (1, 3), "padding": ((0, 1), (2, 0))},
        {"stride": (3, 1), "dilation": (2, 1), "padding": 2, "padding_mode": "circular"},
        {"stride": 2, "padding": 2, "padding_mode": "reflect"},
    ],
    ids=str,
)
@pytest.mark.parametrize("inputs", [8, 32, 64])
def test_rows_of_taps_side_by_side(inputs, case, groups, layout, dtype):
    """Channels that fill vectors or divide them: cells are read with their channels side by side."""
    rng = np.random.default_rng(8)
    x, w = draw(rng, 3, inputs, 19, 25, dtype=dtype), draw(rng, 20, inputs // groups, 3, 3, dtype=dtype)
    g = draw(rng, *cyconv.conv2d(x, w, groups=groups, **case).shape, dtype=dtype)
    expected = bounded(expected_weight, g[:, 0].size, dtype, x, g, (3, 3), groups=groups, **case)
    if layout == "NHWC":
        x, g = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, g))
    how = {"layout": layout, "groups": groups, **case}
    one = grad.conv2d_weight(x, w.shape, g, num_threads=1, **how)
    oracle.assert_close(one, expected, dtype=dtype)
    for threads in (2, 5):
        np.testing.assert_array_equal(grad.conv2d_weight(x, w.shape, g, num_threads=threads, **how), one)


def test_ranks_and_dtypes():
    rng = np.random.default_rng(7)
    x, w, g = draw(rng, 6, 7), draw(rng, 2, 3), draw(rng, 5, 5)
    dw = grad.conv2d_weight(x, (2, 3), g)
    assert dw.shape == (2, 3)
    np.testing.assert_array_equal(grad.conv2d_weight(x[None, None], (1, 1, 2, 3), g[None, None])[0, 0], dw)
    dx = grad.conv2d_input((6, 7), w, g)
    np.testing.assert_array_equal(grad.conv2d_input((1, 6, 7), w[None, None], g[None])[0], dx)
    half = [a.astype(np.float16) for a in (x, g)]
    result = grad.conv2d_weight(half[0], (2, 3), half[1])
    assert result.dtype == np.float16
    wide = [a.astype(np.float32) for a in half]
    np.testing.assert_array_equal(result, grad.conv2d_weight(wide[0], (2, 3), wide[1]).astype(np.float16))
    assert grad.conv2d_weight(x, (2, 3), g.astype(np.float64)).dtype == np.float64
    np.testing.assert_array_equal(grad.conv2d_weight(x[::-1, ::-1].copy()[::-1, ::-1], (2, 3), g), dw)
    big = x.astype(">f4")
    big.flags.writeable = False
    np.testing.assert_array_equal(grad.conv2d_weight(big, (2, 3), g), dw)
    assert grad.conv2d_bias(np.broadcast_to(np.float32(1), (1, 1, 2**13, 2**13)))[0] == 2**26


@pytest.mark.parametrize(
    ("x", "weight", "g"),
    [
        ((0, 3, 5, 5), (4, 3, 3, 3), (0, 4, 3, 3)),
        ((2, 0, 5, 5), (4, 0, 3, 3), (2, 4, 3, 3)),
        ((2, 3, 5, 5), (0, 3, 3, 3), (2, 0, 3, 3)),
    ],
    ids=["N", "C", "K"],
)
def test_empty(x, weight, g):
    """bad-input.md 3 and 4."""
    dw = grad.conv2d_weight(np.ones(x, np.float32), weight, np.ones(g, np.float32))
    np.testing.assert_array_equal(dw, np.zeros(weight))
    dx = grad.conv2d_input(x, np.ones(weight, np.float32), np.ones(g, np.float32))
    np.testing.assert_array_equal(dx, np.zeros(x))
    np.testing.assert_array_equal(grad.conv2d_bias(np.ones(g)), np.full(weight[0], x[0] * 9.0))


X, W, G = np.ones((2, 3, 6, 6)), np.ones((4, 3, 3, 3)), np.ones((2, 4, 4, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 0}, "stride"),
        ({"stride": -1}, "stride"),
        ({"dilation": 0}, "dilation"),
        ({"padding": -1}, "padding"),
        ({"groups": 0}, "groups"),
        ({"groups": 3}, "groups"),
        ({"groups": 2}, "channels"),
        ({"stride": 2}, "grad_output"),
        ({"padding": 2**62}, "padding"),
        ({"dilation": 2**62}, "larger than the padded input"),
        ({"padding_mode": "mirror"}, "padding_mode"),
        ({"padding": 6, "padding_mode": "reflect"}, "padding"),
        ({"layout": "HWC"}, "layout"),
        ({"num_threads": 0}, "num_threads"),
        ({"out": np.ones(3)}, "out"),
    ],
    ids=str,
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        grad.conv2d_input(X.shape, W, G, **change)
    with pytest.raises(ValueError, match=message):
        grad.conv2d_weight(X, W.shape, G, **change)


def test_shapes_that_do_not_belong_together():
    """bad-input.md 3, 4, 6, 8: nothing is written anywhere."""
    out = np.full(W.shape, 7.0)
    for x, size, g in [
        (X[:, :2], W.shape, G),
        (X, W.shape, G[:1]),
        (X, W.shape, G[:, :3]),
        (X, W.shape, G[..., :3]),
        (X, W.shape[1:], G),
        (X, (4, 3, 0, 3), G),
        (X, (4, 3, 7, 7), G),
        (X, (4, 3, -1, 3), G),
        (X[0], W.shape, G),
    ]:
        with pytest.raises(ValueError):
            grad.conv2d_weight(x, size, g, out=out)
    with pytest.raises(TypeError, match="weight_size"):
        grad.conv2d_weight(X, 3, G)
    with pytest.raises(TypeError, match="weight_size"):
        grad.conv2d_weight(X, (4, 3, 3.0, 3), G)
    with pytest.raises(TypeError, match="astype"):
        grad.conv2d_weight(X.astype(int), W.shape, G)
    for size, w in [
        ((2, 3, 6), W),
        ((2, 2, 6, 6), W),
        ((2, 3, 2**40, 2**40), W),
        ((2, 3, 0, 6), W),
        ((1,) * 40, W),
        (X.shape, W[:, :, :0]),
        (X.shape, W[0, 0, 0]),
    ]:
        with pytest.raises(ValueError):
            grad.conv2d_input(size, w, G)
    with pytest.raises(TypeError, match="input_size"):
        grad.conv2d_input(6, W, G)
    assert (out == 7).all()


def test_a_stride_that_is_never_taken_may_be_huge():
    x, w = np.arange(16.0).reshape(1, 1, 4, 4), np.ones((1, 1, 3, 3))
    dw = grad.conv2d_weight(x, w.shape, np.ones((1, 1, 1, 1)), stride=2**62)
    np.testing.assert_array_equal(dw[0, 0], x[0, 0, :3, :3])
    dx = grad.conv2d_input(x.shape, w, np.ones((1, 1, 1, 1)), stride=2**62)
    assert dx.sum() == 9


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_agrees_with_torch(case):
    torch = pytest.importorskip("torch")
    if "same_lower" in case.values():
        pytest.skip("torch has no such padding")
    rng = np.random.default_rng(8)
    x, w, g = two_axes(case, (3, 3), rng, np.float64)
    kw = dict(case)
    mode, padding = MODES[kw.pop("padding_mode", "zeros")], kw.pop("padding", 0)
    each = geometry(2, {"stride": 1, "dilation": 1, **case})
    pairs = oracle.pads(padding, x.shape[2:], (3, 3), each["stride"], each["dilation"])
    tx, tw = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    around = [p for pair in reversed(pairs) for p in pair]
    name = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode]
    y = torch.nn.functional.conv2d(torch.nn.functional.pad(tx, around, mode=name), tw, **kw)
    y.backward(torch.tensor(g))
    np.testing.assert_allclose(grad.conv2d_input(x.shape, w, g, **case), tx.grad.numpy(), atol=1e-11)
    np.testing.assert_allclose(grad.conv2d_weight(x, w.shape, g, **case), tw.grad.numpy(), atol=1e-11)


def test_the_second_call_is_like_the_first():
    """What is known of a call holds for calls like it, not for those that compare equal or share memory."""
    rng = np.random.default_rng(10)
    x, w = rng.normal(size=(2, 4, 6, 6)), rng.normal(size=(4, 4, 3, 3))
    g = rng.normal(size=x.shape)
    how = {"stride": 1, "padding": 1}
    by_input = grad.conv2d_input(x.shape, w, g, **how)
    by_weight = grad.conv2d_weight(x, w.shape, g, **how)
    for _ in range(2):
        over = g.copy()
        assert grad.conv2d_input(x.shape, w, over, out=over, **how) is over
        np.testing.assert_array_equal(over, by_input)
        out = np.empty_like(w)
        assert grad.conv2d_weight(x, w.shape, g, out=out, **how) is out
        np.testing.assert_array_equal(out, by_weight)
        into = np.empty_like(x)
        for threads in (1, 2):
            grad.conv2d_input(x.shape, w, g, out=into, num_threads=threads, **how)
            np.testing.assert_array_equal(into, by_input)
        grad.conv2d_input(x.shape, w.astype("f4"), g, out=into, **how)
        np.testing.assert_allclose(into, by_input, rtol=1e-5, atol=1e-5)
    for change in ({"stride": True}, {"padding": 1.0}, {"groups": True}, {"num_threads": 0}):
        with pytest.raises((TypeError, ValueError)):
            grad.conv2d_input(x.shape, w, g, out=into, **how | change)
        with pytest.raises((TypeError, ValueError)):
            grad.conv2d_weight(x, w.shape, g, out=out, **how | change)
    with pytest.raises(TypeError):
        grad.conv2d_input((2.0, 4, 6, 6), w, g, out=into, **how)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_later_calls_are_bit_for_bit_the_first(case, kernel, dtype):
    """Also with weights that are not finite, which other loops may serve."""
    rng = np.random.default_rng(12)
    x, w, g = two_axes(case, kernel, rng, dtype)
    odd = w.copy()
    odd.flat[3] = np.nan
    functions = {
        "input": lambda a, w, g, **how: grad.conv2d_input(a.shape, w, g, **how),
        "weight": lambda a, w, g, **how: grad.conv2d_weight(a, w.shape, g, **how),
        "bias": lambda a, w, g, **how: grad.conv2d_bias(g, **how),
    }
    for name, function in functions.items():
        how = {} if name == "bias" else case
        for weights in (w, odd):
            calls.forget()
            expected = function(x, weights, g, **how)
            for threads in (1, 1, 1, 2, 2):
                np.testing.assert_array_equal(function(x, weights, g, num_threads=threads, **how), expected)
                out = np.full_like(expected, 7)
                assert function(x, weights, g, out=out, num_threads=threads, **how) is out
                np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("groups", [1, 2])
def test_images_whose_phases_are_put_together_some_at_a_time(groups, monkeypatch):
    """The last time they are fewer. Every image is the gradient of that image alone: such numbers have exact sums."""
    rng = np.random.default_rng(14)
    x, w, g = (
        rng.integers(-9, 9, shape).astype("f4") for shape in ((5, 4, 12, 12), (6, 4 // groups, 3, 3), (5, 6, 6, 6))
    )
    how = {"stride": 2, "padding": 1, "groups": groups}
    expected = np.concatenate([grad.conv2d_input((1, *x.shape[1:]), w, each[None], **how) for each in g])
    monkeypatch.setattr(table, "WEAVE_BYTES", 2 * x[0].nbytes)
    calls.forget()
    for threads in (1, 1, 2, 2):
        np.testing.assert_array_equal(grad.conv2d_input(x.shape, w, g, num_threads=threads, **how), expected)


def test_calls_at_the_same_time_share_no_memory():
    rng = np.random.default_rng(13)
    arrays = [(draw(rng, 2, 6, 14, 14), draw(rng, 16, 6, 5, 5), draw(rng, 2, 16, 10, 10)) for _ in range(4)]

    def gradients(some):
        x, w, g = some
        dx, dw, db = grad.conv2d_input(x.shape, w, g), grad.conv2d_weight(x, w.shape, g), grad.conv2d_bias(g)
        return dx, dw, db

    assert_alone_or_at_once(gradients, arrays)


@pytest.mark.parametrize("order", [(3, 0, 1, 2, 4), (4, 3, 2, 1, 0), (0, 1, 3, 2, 4)], ids=str)
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 5), (40, 2)])
@pytest.mark.parametrize("height", [2, 3])
def test_one_tap_on_a_part_of_an_input_in_any_order_of_axes(order, inputs, outputs, height):
    """Axes that lie in memory one after the other count as one; those of the input may reach beyond what is used."""
    rng = np.random.default_rng(5)
    x, g = (
        np.ascontiguousarray(rng.normal(size=shape).transpose(order)).transpose(np.argsort(order))
        for shape in ((2, inputs, 4, height, 5), (2, outputs, 4, 1, 5))
    )
    size = (outputs, inputs, 1, 1, 1)
    expected = np.einsum("nkdw,ncdw->kc", g[:, :, :, 0], x[:, :, :, 0]).reshape(size)
    np.testing.assert_allclose(grad.conv3d_weight(x, size, g, stride=(1, 3, 1)), expected, atol=1e-12)
    how = {"dilation": 3, "output_padding": (0, height - 1, 0)}
    np.testing.assert_allclose(grad.conv_transpose3d_weight(g, size, x, **how), expected, atol=1e-12)
