"""Geometry: sizes against windows counted one by one, "same" and ceil_mode by definition, bad input."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cyconv
from cyconv import geometry as geo

SMALL = st.integers(1, 7)
PAD = st.integers(0, 5)
HUGE = (2**31, 2**32 + 1, 2**62, 2**63 + 5, 2**100)
FUNCTIONS = (cyconv.conv_output_shape, cyconv.conv_transpose_output_shape, cyconv.pool_output_shape)


def windows(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int) -> list[list[int]]:
    """List every window that fits in the padded axis, as positions in the unpadded one."""
    found = []
    for start in range(-pads[0], size + pads[1], stride):
        cells = [start + dilation * t for t in range(kernel)]
        if cells[-1] < size + pads[1]:
            found.append(cells)
    return found


@pytest.mark.parametrize(
    ("arguments", "keywords", "expected"),
    [
        ((3, 2), {}, 2),
        (((3, 3), 2), {}, (2, 2)),
        (((224, 224), (7, 7)), {"stride": 2, "padding": 3}, (112, 112)),
        (((224, 224), 3), {"padding": "same"}, (224, 224)),
        (((8, 8), 3), {"stride": 2, "padding": 1}, (4, 4)),
        (((8, 8), (3, 5)), {"stride": (3, 4), "padding": (0, 1)}, (2, 2)),
        (((28, 28), 5), {"padding": 2}, (28, 28)),
        (((5, 6, 7), (1, 2, 3)), {"dilation": (1, 2, 3)}, (5, 4, 1)),
        (((5, 6), 2), {"padding": ((1, 2), (0, 3))}, (7, 8)),
        ((5, 2), {"padding": (1, 2)}, 7),
        ((5, 2), {"padding": ((1, 2),)}, 7),
        ((5, 2), {"padding": (1,)}, 6),
        (((5,), 2), {}, (4,)),
        (([5, 6], [2, 3]), {"stride": [1, 2]}, (4, 2)),
        (((5, 5), 2), {"padding": "valid"}, (4, 4)),
        ((2**62, 2**61), {"stride": 2**60}, 3),
        ((1, 1), {"padding": 2**70, "stride": 2**69}, 5),
    ],
)
def test_conv_output_shape_examples(arguments, keywords, expected):
    assert cyconv.conv_output_shape(*arguments, **keywords) == expected


@given(SMALL.map(lambda n: 3 * n), SMALL, SMALL, st.tuples(PAD, PAD), SMALL)
def test_conv_size_counts_the_windows_that_fit(size, kernel, stride, pads, dilation):
    count = len(windows(size, kernel, stride, pads, dilation))
    keywords = {"stride": stride, "padding": (pads,), "dilation": dilation}
    if count:
        assert cyconv.conv_output_shape(size, kernel, **keywords) == count
    else:
        with pytest.raises(ValueError, match="larger than the padded input"):
            cyconv.conv_output_shape(size, kernel, **keywords)


@given(st.integers(1, 40), SMALL, SMALL, SMALL, st.sampled_from(["same", "same_upper", "same_lower"]))
def test_same_padding_gives_the_ceiling_with_the_least_padding(size, kernel, stride, dilation, name):
    out = -(-size // stride)
    assert cyconv.conv_output_shape(size, kernel, stride=stride, padding=name, dilation=dilation) == out
    ((before, after),) = geo.resolve_padding(name, (size,), (kernel,), (stride,), (dilation,))
    extra = before - after if name == "same_lower" else after - before
    assert extra in (0, 1)
    if before + after:  # one cell less would lose an output
        assert size + before + after == (out - 1) * stride + geo.dilated(kernel, dilation)


@pytest.mark.parametrize(("name", "pads"), [("same", (1, 2)), ("same_upper", (1, 2)), ("same_lower", (2, 1))])
def test_same_puts_the_odd_cell_where_its_name_says(name, pads):
    assert geo.resolve_padding(name, (9, 9), (4, 4), (1, 1), (1, 1)) == (pads, pads)
    assert geo.resolve_transposed_padding(name, (5,), (2,), (0,), (1,)) == (pads,)


@pytest.mark.parametrize(
    ("padding", "naxes", "expected"),
    [
        (2, 1, ((2, 2),)),
        (2, 3, ((2, 2),) * 3),
        ((1, 2), 2, ((1, 1), (2, 2))),
        ((1, 2), 1, ((1, 2),)),
        (((1, 2),), 1, ((1, 2),)),
        (((1, 2), (3, 4)), 2, ((1, 2), (3, 4))),
        ([[1, 2], [3, 4]], 2, ((1, 2), (3, 4))),
        (np.array([[1, 2], [3, 4]]), 2, ((1, 2), (3, 4))),
        (np.int64(3), 2, ((3, 3), (3, 3))),
        ((1, (2, 3)), 2, ((1, 1), (2, 3))),
        ((1,), 2, ((1, 1), (1, 1))),
        ((1, 2, 3), 3, ((1, 1), (2, 2), (3, 3))),
    ],
)
def test_forms_of_padding(padding, naxes, expected):
    ones = (1,) * naxes
    assert geo.resolve_padding(padding, (9,) * naxes, ones, ones, ones) == expected
    assert geo.resolve_transposed_padding(padding, ones, ones, (0,) * naxes, ones) == expected


@pytest.mark.parametrize(
    ("padding", "naxes", "error", "match"),
    [
        (-1, 2, ValueError, "padding must be at least 0, got -1"),
        ((1, -2), 2, ValueError, "padding must be at least 0, got -2"),
        (((0, -3), (0, 0)), 2, ValueError, "padding must be at least 0, got -3"),
        ((1, 2, 3), 2, ValueError, r"padding must be .* got \(1, 2, 3\)"),
        (((1, 2),), 2, ValueError, "padding must be"),
        (((1, 2, 3), (1, 2, 3)), 2, ValueError, r"\(before, after\) pair, got \(1, 2, 3\)"),
        ((), 2, ValueError, "padding must be"),
        ("full", 2, ValueError, "padding must be .*'same_lower'.* got 'full'"),
        (b"same", 2, TypeError, "padding must be an integer"),
        (1.0, 2, TypeError, "padding must be an integer, got 1.0 of type float"),
        (True, 2, TypeError, "padding must be an integer, got the bool True"),
        ((1, False), 2, TypeError, "padding must be an integer, got the bool False"),
        (None, 2, TypeError, "padding must be an integer, got None"),
    ],
)
def test_bad_padding(padding, naxes, error, match):
    for function in FUNCTIONS:
        with pytest.raises(error, match=match):
            function((9,) * naxes, 3, padding=padding)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["input_size", "kernel_size", "stride", "dilation"])
@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (0, ValueError, "at least 1, got 0"),
        (-3, ValueError, "at least 1, got -3"),
        ((2, 0), ValueError, "at least 1, got 0"),
        (True, TypeError, "an integer, got the bool True"),
        (2.0, TypeError, "an integer, got 2.0 of type float"),
        ("3", TypeError, "an integer, got '3' of type str"),
        ((1, 2, 3), ValueError, "1 or 2 values, got 3"),
    ],
)
def test_bad_value_is_named(function, name, value, error, match):
    arguments = {"input_size": (9, 9), "kernel_size": 3, name: value}
    if name == "input_size" and value == (1, 2, 3):
        arguments["kernel_size"], match, name = (3, 3), "1 or 3 values, got 2", "kernel_size"
    with pytest.raises(error, match=f"^{name} must .*{match}"):
        function(**arguments)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_no_axes_is_an_error(function):
    with pytest.raises(ValueError, match=r"input_size must .* got \(\)"):
        function((), 3)


def test_too_large_a_kernel_shows_the_formula_with_its_numbers():
    with pytest.raises(ValueError, match=r"\(4 \+ 1 \+ 2 - 3\*\(4 - 1\) - 1\) // 2 \+ 1 = -1"):
        cyconv.conv_output_shape((9, 4), 4, padding=((0, 3), (1, 2)), dilation=3, stride=2)
    with pytest.raises(ValueError, match=r"\(5 \+ 0 \+ 0 - 1\*\(6 - 1\) - 1\) // 1 \+ 1 = 0"):
        cyconv.pool_output_shape(5, 6, stride=1)


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("function", FUNCTIONS[::2], ids=lambda f: f.__name__)
def test_huge_steps_are_exact_or_refused(function, huge):
    assert function(9, 3, stride=huge) == 1
    assert function(9, 1, dilation=huge, stride=1) == 9
    for keywords in ({"dilation": huge}, {"stride": huge, "dilation": huge}):
        with pytest.raises(ValueError, match=str(huge)):
            function(9, 3, **keywords)
    with pytest.raises(ValueError, match=str(huge)):
        function(9, huge)


@pytest.mark.parametrize("huge", HUGE)
def test_huge_sizes_are_exact(huge):
    assert cyconv.conv_output_shape(huge, 3, padding=huge) == 3 * huge - 2
    assert cyconv.conv_transpose_output_shape(huge, huge, stride=huge) == (huge - 1) * huge + huge
    assert cyconv.pool_output_shape(5, huge, padding=huge // 2, stride=1) == 6 - huge % 2


@given(SMALL.map(lambda n: 3 * n), SMALL, SMALL, SMALL, st.data())
def test_transposed_size_inverts_the_convolution(out, kernel, stride, dilation, data):
    """A convolution of the transposed result has the input's size, with output_padding below the stride."""
    span = geo.dilated(kernel, dilation)
    pads = data.draw(st.tuples(st.integers(0, span - 1), st.integers(0, span - 1)))
    extra = data.draw(st.integers(0, stride - 1))
    full = (out - 1) * stride + span + extra - sum(pads)
    keywords = {"stride": stride, "padding": (pads,), "dilation": dilation}
    if full < 1:
        with pytest.raises(ValueError, match="padding removes the whole output"):
            cyconv.conv_transpose_output_shape(out, kernel, output_padding=extra, **keywords)
    else:
        assert cyconv.conv_transpose_output_shape(out, kernel, output_padding=extra, **keywords) == full
        assert cyconv.conv_output_shape(full, kernel, **keywords) == out


@given(st.integers(1, 20), SMALL, SMALL, SMALL)
def test_transposed_same_multiplies_by_the_stride(size, kernel, stride, dilation):
    for name in ("same", "same_upper", "same_lower"):
        keywords = {"stride": stride, "padding": name, "dilation": dilation}
        if geo.dilated(kernel, dilation) < stride:
            with pytest.raises(ValueError, match="at least the stride"):
                cyconv.conv_transpose_output_shape(size, kernel, **keywords)
        else:
            assert cyconv.conv_transpose_output_shape(size, kernel, **keywords) == size * stride


@pytest.mark.parametrize(("stride", "dilation"), list(product((1, 2, 3), (1, 2, 3))))
def test_output_padding_is_below_stride_or_dilation(stride, dilation):
    limit = max(stride, dilation)
    sizes = [
        cyconv.conv_transpose_output_shape(4, 3, stride=stride, dilation=dilation, output_padding=extra)
        for extra in range(limit)
    ]
    assert np.diff(sizes).tolist() == [1] * (limit - 1)
    with pytest.raises(ValueError, match=f"output_padding must be smaller .*got {limit}"):
        cyconv.conv_transpose_output_shape(4, 3, stride=stride, dilation=dilation, output_padding=limit)
    with pytest.raises(ValueError, match="output_padding must be at least 0, got -1"):
        cyconv.conv_transpose_output_shape(4, 3, output_padding=-1)


@given(st.integers(1, 20), SMALL, SMALL, SMALL, st.booleans(), st.data())
def test_pool_size_by_walking_the_windows(size, kernel, stride, dilation, ceil_mode, data):
    span = geo.dilated(kernel, dilation)
    pads = data.draw(st.tuples(st.integers(0, span - 1), st.integers(0, span - 1)))
    starts = range(0, size + sum(pads), stride)
    fits = [start for start in starts if start + span <= size + sum(pads)]
    call = {"stride": stride, "padding": (pads,), "dilation": dilation, "ceil_mode": ceil_mode}
    if not fits:
        with pytest.raises(ValueError, match="larger than the padded input"):
            cyconv.pool_output_shape(size, kernel, **call)
        return
    expected = len(fits)
    rest = size + sum(pads) - (fits[-1] + span)  # cells that no full window reaches
    if ceil_mode and rest and fits[-1] + stride < size + pads[0]:
        expected += 1
    assert cyconv.pool_output_shape(size, kernel, **call) == expected


@given(st.integers(1, 30), SMALL, SMALL, st.booleans(), st.data())
def test_no_pooling_window_starts_after_the_input(size, kernel, stride, ceil_mode, data):
    pads = data.draw(st.tuples(st.integers(0, kernel - 1), st.integers(0, kernel - 1)))
    if size + sum(pads) >= kernel:
        out = cyconv.pool_output_shape(size, kernel, stride=stride, padding=(pads,), ceil_mode=ceil_mode)
        assert out >= 1
        assert (out - 1) * stride - pads[0] < size


@pytest.mark.parametrize(
    ("size", "kernel", "keywords", "expected"),
    [
        (112, 3, {"stride": 2, "ceil_mode": True}, 56),
        (112, 3, {"stride": 2}, 55),
        (5, 2, {}, 2),
        (5, 2, {"ceil_mode": True}, 3),
        (4, 2, {"stride": 3, "ceil_mode": True}, 2),
        (2, 1, {"stride": 3, "ceil_mode": True}, 1),
        (3, 3, {"stride": 5, "padding": 2, "ceil_mode": True}, 1),
        (13, 13, {"stride": 1, "padding": 6}, 13),
        ((6, 8), (2, 4), {}, (3, 2)),
    ],
)
def test_pool_output_shape_examples(size, kernel, keywords, expected):
    assert cyconv.pool_output_shape(size, kernel, **keywords) == expected


@pytest.mark.parametrize(("kernel", "dilation", "limit"), [(2, 1, 2), (3, 1, 3), (3, 2, 5), (1, 9, 1)])
def test_pool_padding_is_below_the_dilated_kernel(kernel, dilation, limit):
    cyconv.pool_output_shape(9, kernel, padding=limit - 1, dilation=dilation)
    with pytest.raises(ValueError, match=f"padding must be smaller than the dilated kernel.* = {limit}, got"):
        cyconv.pool_output_shape(9, kernel, padding=limit, dilation=dilation)


@pytest.mark.parametrize("value", [1, 0, "no", None, np.array([True])])
def test_ceil_mode_is_a_flag(value):
    with pytest.raises(TypeError, match="ceil_mode must be True or False"):
        cyconv.pool_output_shape(9, 3, ceil_mode=value)


@given(st.integers(1, 50), st.integers(1, 50))
def test_adaptive_windows_cover_the_input_evenly(in_size, out_size):
    found = [geo.adaptive_window(i, in_size, out_size) for i in range(out_size)]
    assert found[0][0] == 0
    assert found[-1][1] == in_size
    for (start, stop), (following, _) in zip(found, [*found[1:], (in_size, 0)], strict=True):
        assert start < stop
        assert start <= following <= stop
    widths = [stop - start for start, stop in found]
    assert max(widths) <= -(-in_size // out_size) + 1
    if in_size % out_size == 0:
        assert set(widths) == {in_size // out_size}


@given(SMALL, SMALL.map(lambda n: 2**n), SMALL, st.integers(1, 40))
def test_steps_taken_reach_the_same_cells(kernel, stride, dilation, size):
    if size < geo.dilated(kernel, dilation):
        return
    out = cyconv.conv_output_shape(size, kernel, stride=stride, dilation=dilation)
    s, d = geo.steps_taken(kernel, stride, dilation, out)
    assert [[o * s + t * d for t in range(kernel)] for o in range(out)] == windows(
        size, kernel, stride, (0, 0), dilation
    )
    assert out > 1 or s == 1
    assert kernel > 1 or d == 1


@given(
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(1, 3),
    st.lists(SMALL, min_size=1, max_size=3),
    st.booleans(),
)
def test_conv_parameters_counts_a_weight(c, k, groups, kernel, bias):
    weight = np.empty((groups * k, c, *kernel))
    count = weight.size + (groups * k if bias else 0)
    assert cyconv.conv_parameters(groups * c, groups * k, kernel, groups=groups, bias=bias) == count


def test_counts_of_known_layers():
    assert cyconv.conv_parameters(1, 6, 5) == 156  # LeNet-5, C1
    assert cyconv.conv_parameters(3, 64, 3) == 1792  # VGG-16, first layer
    assert cyconv.conv_parameters(3, 64, (7,), bias=False) == 1344
    assert cyconv.linear_parameters(25088, 4096) == 102764544  # VGG-16, fc6
    assert cyconv.linear_parameters(10, 3, bias=False) == 30
    assert cyconv.conv_flops((112, 112), 128, 128, 3, padding=1) == 3699376128
    assert cyconv.conv_flops(112, 128, 128, 3, padding=1) == 3699376128
    assert cyconv.conv_flops((100,), 4, 8, 3) == 2 * 98 * 8 * 4 * 3
    assert cyconv.conv_flops(100, 4, 8, (3,)) == 2 * 98 * 8 * 4 * 3
    assert cyconv.conv_flops((56, 56), 144, 144, 3, padding=1, groups=144) == 2 * 56 * 56 * 144 * 9


@given(st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL), st.integers(1, 4), st.integers(1, 3))
def test_flops_of_one_by_one_equal_a_linear_layer_at_every_cell(image, channels, stride, groups):
    c, k = channels[0] * groups, channels[1] * groups
    out = cyconv.conv_output_shape(image, 1, stride=stride)
    per_cell = 2 * cyconv.linear_parameters(c // groups, k // groups, bias=False) * groups
    assert cyconv.conv_flops(image, c, k, 1, stride=stride, groups=groups) == out[0] * out[1] * per_cell


@pytest.mark.parametrize(
    ("function", "arguments", "keywords", "error", "match"),
    [
        (cyconv.conv_parameters, (3, 4, 3), {"groups": 2}, ValueError, "groups must divide .*got groups 2"),
        (cyconv.conv_parameters, (4, 3, 3), {"groups": 2}, ValueError, "groups must divide"),
        (cyconv.conv_parameters, (4, 4, 3), {"groups": 0}, ValueError, "groups must be at least 1, got 0"),
        (cyconv.conv_parameters, (-1, 4, 3), {}, ValueError, "in_channels must be at least 0, got -1"),
        (cyconv.conv_parameters, (4, 2.5, 3), {}, TypeError, "out_channels must be an integer, got 2.5"),
        (cyconv.conv_parameters, (4, 4, 0), {}, ValueError, "kernel_size must be at least 1, got 0"),
        (cyconv.conv_parameters, (4, 4, 3), {"bias": 1}, TypeError, "bias must be True or False, got 1"),
        (cyconv.linear_parameters, (-4, 4), {}, ValueError, "in_features must be at least 0, got -4"),
        (cyconv.linear_parameters, (4, True), {}, TypeError, "out_features must be an integer"),
        (cyconv.conv_flops, ((4, 4), 1, 1, 5), {}, ValueError, "larger than the padded input"),
        (cyconv.conv_flops, ((4, 4), 1, 1, 3), {"groups": 3}, ValueError, "groups must divide"),
        (cyconv.conv_flops, ((4, 4), 1, 1, (3, 3, 3)), {}, ValueError, "kernel_size must .* got 3"),
        (cyconv.conv_flops, (4, 1, 1, 3), {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
    ],
)
def test_bad_counts(function, arguments, keywords, error, match):
    with pytest.raises(error, match=match):
        function(*arguments, **keywords)
