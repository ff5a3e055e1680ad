"""The Fourier path: the error bound of its docstring, NaN and infinity, threads, memory, and when it is chosen."""

import math

import hypothesis.strategies as st
import numpy as np
import oracle
import pytest
from hypothesis import given

import cyconv
from cyconv._plans import fft
from cyconv._plans.spec import Activation, Call, ConvSpec

CONVOLUTIONS = {1: cyconv.conv1d, 2: cyconv.conv2d, 3: cyconv.conv3d}


def bound_of(x, weight, naxes, dtype, **geometry):
    """`oracle.fft_bound` for the padded picture; a pair of tiles holds every sample of it at most twice."""
    around = oracle.pads(geometry.get("padding", 0), x.shape[2:], weight.shape[2:], (1,) * naxes, (1,) * naxes)
    mode = oracle._PAD_MODES[geometry.get("padding_mode", "zeros")]
    # dilation and the tile add points to the transform, in its logarithm alone
    padded = np.pad(x, ((0, 0), (0, 0), *around), mode=mode)
    return 2 * math.sqrt(2) * oracle.fft_bound(padded, weight, dtype)


def check(x, weight, bias=None, *, naxes=2, layout="NCHW", activation=None, **geometry):
    expected = oracle.convolution(
        x, weight, bias, naxes=naxes, layout=layout, activation=activation, **geometry
    )  # fmt: skip
    y = CONVOLUTIONS[naxes](
        x, weight, bias, layout=layout, activation=activation, algorithm="fft", **geometry
    )  # fmt: skip
    plain = oracle.canonical(x, naxes, layout)
    bound = 1.1 * bound_of(plain, weight, naxes, y.dtype, **geometry)
    oracle.assert_close(y, oracle.Expected(expected.value, expected.bound + bound), dtype=y.dtype)
    return y


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


# -------------------------------------------------------------------------------------------------- the result


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("taps", [(1, 1), (5, 5), (1, 9), (9, 1), (31, 31), (63, 17), (2, 40)])
def test_many_tiles(taps, layout, dtype):
    rng = np.random.default_rng(1)
    x, w = draw(rng, (2, 2, 150, 170), dtype), draw(rng, (3, 2, *taps), dtype)
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    check(x, w, draw(rng, 3, dtype), layout=layout, padding=tuple(t // 2 for t in taps))


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("dilation", [1, (2, 3)])
def test_padding_stride_dilation(padding_mode, stride, dilation):
    rng = np.random.default_rng(2)
    x, w = draw(rng, (1, 1, 90, 101), "float32"), draw(rng, (1, 1, 9, 7), "float32")
    check(x, w, stride=stride, dilation=dilation, padding=((8, 3), (0, 9)), padding_mode=padding_mode)


@pytest.mark.parametrize("activation", [None, "relu", "silu", ("clip", -1.0, 2.0), ("leaky_relu", 0.1)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_and_activations(groups, activation):
    rng = np.random.default_rng(3)
    x, w = draw(rng, (2, 4, 40, 33), "float64"), draw(rng, (8, 4 // groups, 11, 6), "float64")
    check(x, w, draw(rng, 8, "float64"), groups=groups, activation=activation, padding=3)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_one_and_three_axes(layout):
    rng = np.random.default_rng(4)
    last = layout == "NHWC"
    x = draw(rng, (2, 3, 500), "float32")
    check(np.moveaxis(x, 1, -1) if last else x, draw(rng, (2, 3, 65), "float32"), naxes=1, layout=layout, padding=7)
    x = draw(rng, (1, 2, 7, 33, 20), "float32")
    check(
        np.moveaxis(x, 1, -1) if last else x, draw(rng, (2, 2, 3, 5, 6), "float32"), naxes=3, layout=layout,
        padding=2, stride=(2, 1, 1), dilation=(2, 1, 1),
    )  # fmt: skip


@given(data=st.data())
def test_random_geometry(data):
    rng = np.random.default_rng(5)
    naxes = data.draw(st.integers(1, 3))
    most = {1: 40, 2: 18, 3: 5}[naxes]
    taps = data.draw(st.tuples(*[st.integers(1, most)] * naxes))
    dilation = data.draw(st.tuples(*[st.integers(1, 3)] * naxes))
    spans = [d * (t - 1) + 1 for t, d in zip(taps, dilation, strict=True)]
    size = tuple(span + data.draw(st.integers(0, 60 if naxes < 3 else 6)) for span in spans)
    stride = data.draw(st.tuples(*[st.integers(1, 3)] * naxes))
    groups = data.draw(st.integers(1, 2))
    pairs = data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=naxes, max_size=naxes))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    x = draw(rng, (data.draw(st.integers(1, 2)), 2 * groups, *size), dtype)
    w = draw(rng, (3 * groups, 2, *taps), dtype)
    padding = pairs if naxes > 1 else pairs[0]
    check(x, w, naxes=naxes, stride=stride, dilation=dilation, groups=groups, padding=padding)


def test_out_of_any_strides():
    rng = np.random.default_rng(6)
    x, w = draw(rng, (70, 90), "float32"), draw(rng, (15, 15), "float32")
    expected = cyconv.conv2d(x, w, algorithm="fft")
    for room in (np.zeros((56, 152), "f")[:, ::2], np.zeros((76, 56), "f").T, np.zeros((56, 76), "f")[::-1, ::-1]):
        cyconv.conv2d(x, w, algorithm="fft", out=room)
        np.testing.assert_array_equal(room, expected)


# ------------------------------------------------------------------------------------------ NaN and infinity


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("count", [1, 3, 60])
@pytest.mark.parametrize("how", [
    {"padding": 7}, {"padding": 7, "stride": 2}, {"padding": (3, 4), "dilation": 2, "padding_mode": "replicate"},
], ids=str)  # fmt: skip
def test_bad_samples_stay_where_they_are(value, count, how):
    """Few bad tiles, or so many that everything is computed directly: the same cells are NaN, the same infinite."""
    rng = np.random.default_rng(7)
    x, w = draw(rng, (2, 2, 160, 170), "float32"), draw(rng, (2, 2, 15, 15), "float32")
    for _ in range(count):
        x[rng.integers(2), rng.integers(2), rng.integers(160), rng.integers(170)] = value
    direct = cyconv.conv2d(x, w, algorithm="direct", **how)
    y = cyconv.conv2d(x, w, algorithm="fft", **how)
    special = ~np.isfinite(direct)
    np.testing.assert_array_equal(np.isfinite(y), ~special)
    np.testing.assert_array_equal(y[special], direct[special])
    assert special.any()


def test_bad_weights_come_out_as_direct_ones():
    x = np.ones((40, 50), np.float32)
    w = np.ones((9, 9), np.float32)
    w[4, 4] = np.inf
    assert np.isposinf(cyconv.conv2d(x, w, algorithm="fft")).all()


def test_denormals_and_zeros():
    x = np.zeros((64, 64), np.float32)
    assert not cyconv.conv2d(x, np.ones((9, 9), np.float32), algorithm="fft").any()
    x[:] = 1e-40
    y = cyconv.conv2d(x, np.ones((9, 9), np.float32), algorithm="fft")
    assert np.abs(y - 81e-40).max() < 1e-38


# ------------------------------------------------------------------------------------------ threads, memory


@pytest.mark.parametrize("shape", [(1, 1, 300, 310), (3, 2, 64, 64), (1, 4, 100, 30)])
def test_threads_do_not_change_a_bit(shape):
    rng = np.random.default_rng(8)
    x, w = draw(rng, shape, "float32"), draw(rng, (3, shape[1], 13, 13), "float32")
    plan = {n: cyconv.plan_conv2d(w, padding=6, algorithm="fft", num_threads=n) for n in (1, 2, 3, 7)}
    results = {n: plan[n](x) for n in plan}
    for n in plan:
        np.testing.assert_array_equal(results[n], results[1])


def test_an_image_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(9)
    x, w = draw(rng, (3, 1, 100, 100), "float32"), draw(rng, (1, 1, 21, 21), "float32")
    np.testing.assert_array_equal(
        cyconv.conv2d(x, w, algorithm="fft")[1], cyconv.conv2d(x[1:2], w, algorithm="fft")[0]
    )  # fmt: skip


def spec_of(channels, outputs, taps, dtype="float32"):
    return ConvSpec(
        in_channels=channels, out_channels=outputs, kernel=(1, *taps), stride=(1, 1, 1), dilation=(1, 1, 1), groups=1,
        padding_mode="zeros", activation=Activation(), dtype=np.dtype(dtype),
    )  # fmt: skip


@pytest.mark.parametrize(("channels", "outputs", "taps", "size"), [
    (1, 1, (63, 63), (2160, 3840)), (64, 64, (11, 11), (224, 224)), (512, 4, (7, 7), (56, 56)),
    (1, 1, (1, 4000), (1, 10**6)), (3, 64, (31, 31), (4000, 4000)),
])  # fmt: skip
def test_scratch_is_bounded(channels, outputs, taps, size):
    spec = spec_of(channels, outputs, taps)
    assert fft.FFT.supports(spec) is None
    out = (1, size[0] - taps[0] + 1, size[1] - taps[1] + 1)
    call = Call(1, (1, *size), ((0, 0),) * 3, out, (0,) * 5, (0,) * 5)
    for threads in (1, 2, 64):
        assert fft.FFT.workspace(spec, call, threads) <= 32 << 20


def test_what_would_take_too_much_memory_is_refused():
    with pytest.raises(ValueError, match="would take too much memory"):
        cyconv.plan_conv2d(np.broadcast_to(np.float32(1), (2048, 2048, 3, 3)), algorithm="fft")
    with pytest.raises(ValueError, match="workspace_limit=1000"):
        cyconv.conv2d(np.ones((64, 64)), np.ones((9, 9)), algorithm="fft", workspace_limit=1000)


# ------------------------------------------------------------------------------------------------ the choice


def test_auto_takes_it_where_it_pays():
    def choice(taps, size, channels=1):
        return cyconv.plan_conv2d(np.ones((channels, channels, taps, taps), np.float32)).explain((channels, *size))

    assert choice(31, (512, 512)).algorithm == "fft"
    assert choice(63, (1080, 1920)).algorithm == "fft"
    assert choice(3, (512, 512)).algorithm != "fft"
    assert choice(3, (28, 28), 64).algorithm != "fft"
    assert choice(5, (32, 32)).algorithm != "fft"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_twiddles(dtype):
    """Of 16 points: one pass of radix 4 with factors (w, w^2, w^3), w = exp(-2 pi i j / 16)."""
    table = fft.twiddles(16, np.dtype(dtype))
    w = np.exp(-2j * np.pi * np.arange(4)[:, None] * np.array([1, 2, 3]) / 16)
    np.testing.assert_allclose(table[:24].reshape(4, 3, 2), np.stack([w.real, w.imag], -1), atol=1e-7)
    assert table.dtype == dtype


@pytest.mark.parametrize("build", cyconv.show_config()["builds"])
def test_every_build(build, run_python):
    script = """
import numpy as np, cyconv
rng = np.random.default_rng(0)
for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-12)):
    for size in ((20, 30), (140, 90)):
        x, w = rng.standard_normal((2, 2, *size)).astype(dtype), rng.standard_normal((3, 2, 11, 8)).astype(dtype)
        for how in ({}, {"stride": 2, "padding": 3}, {"layout": "NCHW", "activation": "relu"}):
            direct = cyconv.conv2d(x, w, algorithm="direct", **how)
            assert np.abs(cyconv.conv2d(x, w, algorithm="fft", **how) - direct).max() < tolerance
"""
    run_python(script, CYCONV_ISA=build)
