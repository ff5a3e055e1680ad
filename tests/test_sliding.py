"""The sliding kernel, called through its plan: every orientation, run length, tile height and edge."""

import itertools
import math
from typing import NamedTuple

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyconv import _runtime
from cyconv._kernels.registry import FAMILIES
from cyconv._plans.sliding import Sliding, blocks_for, find_passes
from cyconv._plans.spec import Activation, Call, ConvSpec

DTYPES = (np.float32, np.float64)
LAYOUTS = ("NCHW", "NHWC")
ACTIVATIONS = {
    None: Activation(),
    "relu": Activation("relu", lo=0.0),
    ("clip", -0.5, 0.25): Activation("clip", lo=-0.5, hi=0.25),
    ("leaky_relu", 0.125): Activation("leaky_relu", slope=0.125),
    "silu": Activation("silu", silu=True),
}


class Layer(NamedTuple):
    """A convolution in three axes; `channels` are (groups, inputs per group, outputs per group)."""

    channels: tuple = (1, 1, 1)
    size: tuple = (1, 20, 37)
    kernel: tuple = (1, 3, 3)
    stride: tuple = (1, 1, 1)
    dilation: tuple = (1, 1, 1)
    padding: tuple = (0, 1, 1)
    mode: str = "zeros"
    batch: int = 1
    dtype: type = np.float32
    layouts: tuple = ("NCHW", "NCHW")
    activation: object = None


def strided(shape, layout, dtype):
    """An array full of NaN that is seen as (N, C, D, H, W) and lies in memory as `layout` says."""
    if layout == "NCHW":
        return np.full(shape, np.nan, dtype)
    if layout == "NHWC":
        return np.moveaxis(np.full((shape[0], *shape[2:], shape[1]), np.nan, dtype), -1, 1)
    if layout == "transposed":
        return np.full((*shape[:3], shape[4], shape[3]), np.nan, dtype).swapaxes(3, 4)
    if layout == "gaps":
        return np.full((*shape[:3], shape[3] + 1, 3 * shape[4]), np.nan, dtype)[..., 1:, ::3]
    raise ValueError(layout)


def prepare(layer, seed=0):
    """The plan, its call, the arrays, and what the result must be."""
    rng = np.random.default_rng(seed)
    groups, inputs, outputs = layer.channels
    weight = rng.standard_normal((groups * outputs, inputs, *layer.kernel)).astype(layer.dtype)
    bias = rng.standard_normal(groups * outputs).astype(layer.dtype)
    x = strided((layer.batch, groups * inputs, *layer.size), layer.layouts[0], layer.dtype)
    x[...] = rng.standard_normal(x.shape)
    pads = tuple((p, p) if isinstance(p, int) else p for p in layer.padding)
    expected = oracle.convolution(
        x, weight, bias, naxes=3, dtype=layer.dtype, stride=layer.stride, dilation=layer.dilation, padding=pads,
        groups=groups, padding_mode=layer.mode, activation=layer.activation,
    )  # fmt: skip
    out = strided(expected.value.shape, layer.layouts[1], layer.dtype)
    spec = ConvSpec(
        groups * inputs, groups * outputs, layer.kernel, layer.stride, layer.dilation, groups, layer.mode,
        ACTIVATIONS[layer.activation], np.dtype(layer.dtype),
    )  # fmt: skip
    steps = [tuple(s // a.itemsize for s in a.strides) for a in (x, out)]
    call = Call(layer.batch, layer.size, pads, out.shape[2:], *steps)
    return Sliding(spec, weight, bias), call, x, out, expected


def check(layer, threads=1):
    """Within the derived bound, the input untouched, and not a cell beside the result written."""
    plan, call, x, out, expected = prepare(layer)
    before = x.copy()
    around = out.base if out.base is not None else out
    plan.prepare(call, threads)(x, out)
    np.testing.assert_array_equal(x, before)
    oracle.assert_close(np.ascontiguousarray(out), expected, dtype=np.dtype(layer.dtype))
    assert np.isnan(around).sum() == around.size - out.size
    return out


def test_registered():
    assert FAMILIES["sliding"] == ("f32", "f64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 17, 31, 63])
def test_every_kernel_height(rows, stride, dtype):
    check(Layer(kernel=(1, rows, 3), stride=(1, stride, 1), size=(1, 70, 21), padding=(0, rows // 2, 1), dtype=dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 9, 11])
def test_every_kernel_height_by_channels(rows, stride, layout):
    check(Layer(channels=(21, 1, 1), kernel=(1, rows, 2), stride=(1, stride, stride), size=(1, 19, 9),
                padding=(0, rows // 2, 0), layouts=(layout, layout)))  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("height", range(1, 17))
def test_every_height_of_the_result(height, dtype):
    check(Layer(size=(1, height, 18), dtype=dtype))
    check(Layer(size=(1, height, 5), channels=(9, 1, 1), dtype=dtype, layouts=("NHWC", "NHWC")))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("width", [*range(1, 20), 31, 32, 33, 47, 48, 49, 63, 64, 65, 97])
def test_every_width_of_the_result(width, stride):
    check(Layer(size=(1, 8, (width - 1) * stride + 1), stride=(1, 1, stride)))


@pytest.mark.parametrize("channels", [*range(7, 18), 31, 32, 33, 64, 65, 100, 144])
@pytest.mark.parametrize("outputs", [1, 2])
def test_every_number_of_channels(channels, outputs):
    check(Layer(channels=(channels, 1, outputs), size=(1, 9, 4), layouts=("NHWC", "NHWC")))


@pytest.mark.parametrize("dilation", [(1, 2, 2), (1, 3, 1), (1, 1, 9), (1, 10, 40), (1, 25, 3)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (1, 4, 3)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_dilation(dilation, stride, layout):
    check(Layer(channels=(8, 1, 1), size=(1, 60, 90), dilation=dilation, stride=stride, layouts=(layout, layout)))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_modes(mode, layout, stride):
    check(Layer(channels=(17, 1, 1), size=(1, 9, 11), kernel=(1, 5, 7), padding=(0, (2, 4), (6, 1)), mode=mode,
                stride=(1, stride, stride), layouts=(layout, layout)))  # fmt: skip


@pytest.mark.parametrize("channels", [(1, 3, 4), (3, 2, 5), (1, 16, 2), (5, 4, 1), (40, 1, 3)])
@pytest.mark.parametrize("layouts", list(itertools.product(["NCHW", "NHWC", "transposed", "gaps"], repeat=2)))
def test_channels_and_layouts(channels, layouts):
    check(Layer(channels=channels, size=(1, 12, 22), layouts=layouts, batch=2))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [(3, 3, 3), (2, 1, 5), (4, 5, 1)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (3, 1, 2)])
def test_three_axes(kernel, stride, layout):
    check(Layer(channels=(8, 1, 2), size=(7, 9, 18), kernel=kernel, stride=stride, padding=(1, 1, 1),
                dilation=(2, 1, 1), layouts=(layout, layout)))  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(1, 1, 200), (1, 200, 1), (1, 1, 3)])
def test_one_axis(size, layout):
    kernel = tuple(3 if s > 1 else 1 for s in size)
    check(Layer(channels=(20, 1, 1), size=size, kernel=kernel, padding=(0, 0, 0), layouts=(layout, layout)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("width", [5, 23, 40])
def test_activations(activation, layout, width):
    """The widths have vectors and tiles that overlap, where an activation could be applied twice."""
    check(Layer(channels=(18, 1, 1), size=(1, 10, width), activation=activation, layouts=(layout, layout)))
    check(Layer(kernel=(1, 17, 3), padding=(0, 8, 1), size=(1, 10, width), activation=activation))


def test_large_image_in_several_boxes():
    layer = Layer(size=(1, 300, 2100), kernel=(1, 5, 5), padding=(0, 2, 2))
    plan, call, *_ = prepare(layer)
    fields = _runtime.kernel("sliding", plan.spec.dtype).FIELDS
    geometry = dict(zip(fields, blocks_for(plan.spec, call, 1).geometry.tolist(), strict=True))
    assert geometry["box_h"] < geometry["out_h"]
    assert geometry["box_w"] < geometry["out_w"] or geometry["box_w"] == 2100
    check(layer)


SIDE = st.integers(1, 40)


@st.composite
def layers(draw):
    """Small layers of any kind, with widths around those of vectors and tiles."""
    axes = []
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    for most, longest in ((2, 2), (26, 9), (70, 9)):
        kernel, stride = draw(st.integers(1, longest)), draw(st.integers(1, 3))
        dilation = draw(st.sampled_from([1, 1, 2, 3, 13]))
        reach = dilation * (kernel - 1) + 1
        size = draw(st.integers(1, most))
        before, after = (draw(st.integers(0, size - 1 if mode != "zeros" else reach)) for _ in range(2))
        size = max(size, reach - before - after)
        axes.append((size, kernel, stride, dilation, (before, after)))
    size, kernel, stride, dilation, padding = zip(*axes, strict=True)
    channels = draw(st.tuples(st.integers(1, 20), st.integers(1, 3), st.integers(1, 3)))
    layouts = draw(st.tuples(*[st.sampled_from(["NCHW", "NHWC", "transposed", "gaps"])] * 2))
    dtype = draw(st.sampled_from(DTYPES))
    return Layer(channels, size, kernel, stride, dilation, padding, mode, draw(st.integers(1, 2)), dtype, layouts)


@given(layers())
def test_any_layer(layer):
    one = check(layer)
    plan, call, x, out, _ = prepare(layer)
    plan.prepare(call, 3)(x, out)
    np.testing.assert_array_equal(out, one)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [(1, 3, 3), (1, 11, 5), (1, 19, 3)])
def test_bitwise_the_same_for_any_threads_and_any_boxes(kernel, layout, monkeypatch):
    layer = Layer(channels=(20, 1, 1), size=(1, 75, 53), kernel=kernel, layouts=(layout, layout))
    results = []
    for threads, size in itertools.product((1, 2, 5), (1 << 12, 1 << 18)):
        monkeypatch.setattr("cyconv._plans.table.SLIDING_BLOCK_BYTES", size)
        monkeypatch.setattr("cyconv._plans.table.SLIDING_LARGE_BLOCK_BYTES", 2 * size)
        blocks_for.cache_clear()
        results.append(check(layer, threads))
    blocks_for.cache_clear()
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nan_and_infinity_stay_in_their_windows(layout):
    plan, call, x, out, _ = prepare(Layer(channels=(17, 1, 1), size=(1, 19, 37), layouts=(layout, layout)))
    clean = check(Layer(channels=(17, 1, 1), size=(1, 19, 37), layouts=(layout, layout)))
    for bad, at in ((np.nan, (0, 3, 0, 5, 0)), (np.inf, (0, 16, 0, 18, 36)), (-np.inf, (0, 0, 0, 0, 16))):
        x[at] = bad
    plan.prepare(call, 1)(x, out)
    touched = np.zeros(out.shape, bool)
    touched[0, 3, 0, 4:7, 0:2] = touched[0, 16, 0, 17:19, 35:37] = touched[0, 0, 0, 0:2, 15:18] = True
    np.testing.assert_array_equal(~np.isfinite(out), touched)
    np.testing.assert_array_equal(out[~touched], clean[~touched])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("taps", [1, 2, 3, 5, 7, 8, 9, 11, 16, 17, 31, 63])
def test_passes_cover_every_tap_once(taps, dilation, stride):
    spec = ConvSpec(1, 1, (1, taps, 1), (1, stride, 1), (1, dilation, 1), 1, "zeros", Activation(), np.dtype("f4"))
    runs = [run for step in find_passes(spec) for run in step]
    assert sorted(itertools.chain(*runs)) == list(range(taps))
    assert max(map(len, runs)) <= _runtime.kernel("sliding", spec.dtype).RUN
    gap = stride // math.gcd(stride, dilation)
    assert all(b - a == gap for run in runs for a, b in itertools.pairwise(run))


def test_refuses_what_its_scratch_cannot_hold():
    def spec(channels, kernel):
        ones = (1, 1, 1)
        return ConvSpec(channels, 1, kernel, ones, ones, 1, "zeros", Activation(), np.dtype("f4"))

    assert Sliding.supports(spec(1, (1, 63, 63))) is None
    assert "input channels" in Sliding.supports(spec(17, (1, 3, 3)))
    assert "taps" in Sliding.supports(spec(1, (1, 300, 300)))
    call = Call(1, (1, 70000, 70000), ((0, 0),) * 3, (1, 69745, 69745), (0, 0, 0, 70000, 1), (0, 0, 0, 69745, 1))
    assert Sliding.workspace(spec(1, (1, 256, 256)), call, 16) <= 32 << 20


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("taps", [3, 5, 7])
@pytest.mark.parametrize("width", [*range(4, 10), *range(15, 20), 31, 33, 35, 48, 50, 63, 64, 67, 112, 113, 127, 130])
def test_planes_down_the_rows(width, taps, stride, dtype):
    """Kernels that are read row by row: all numbers of vectors side by side, all ways of reaching beyond an edge."""
    for height, padding in itertools.product((taps, taps + 4, 15), {0, 1, taps // 2, taps - 1}):
        layer = Layer((3, 1, 1), (1, height, width), (1, taps, taps), (1, stride, stride), dtype=dtype)
        if width + 2 * padding >= taps:
            check(layer._replace(padding=(0, padding, padding)))
        if width + 2 >= taps:
            check(layer._replace(padding=(0, padding, 1), activation=("clip", -0.5, 0.25)))
