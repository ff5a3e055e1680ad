"""Transposed convolution against its definition, and as the adjoint of convolution."""

from math import prod

import numpy as np
import pytest
from calls import (
    CHANNELS_LAST,
    CONV,
    CONV_TRANSPOSE,
    FLOATS,
    channels_last,
    check_conv,
    noise,
    whole,
)
from hypothesis import given
from strategies import WIDTHS, transposed_cases

import cyconv


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dilation", [1, 2, (1, 3)], ids=str)
@pytest.mark.parametrize("padding", [0, 1, (1, 0), ((0, 1), (2, 1))], ids=str)
@pytest.mark.parametrize("stride", [1, 2, (3, 2)], ids=str)
def test_conv_transpose2d(stride, padding, dilation, groups, layout):
    x, w, b = noise((2, 4, 5, 7)), noise((4, 8 // groups, 3, 4)), noise((8,))
    x = channels_last(x, 2) if layout == "NHWC" else x
    keywords = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    check_conv(x, w, b, transposed=True, layout=layout, **keywords)


@pytest.mark.parametrize("order", [(3, 0, 1, 2, 4), (2, 3, 0, 1, 4), (4, 3, 2, 1, 0), (0, 1, 3, 2, 4)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("padding", [((1, 0), (2, 1), (0, 0)), ((0, 4), (2, 1), (1, 1))], ids=str)
def test_one_tap_on_a_part_of_an_input_in_any_order_of_axes(order, stride, groups, padding):
    """Axes that lie in memory one after the other count as one; those of the input may reach beyond what is used."""
    x = noise((1, 9, 4, 4, 5))
    turned = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    w = noise((9, 6 // groups, 1, 1, 1))
    keywords = {"stride": stride, "groups": groups, "padding": padding}
    if stride == 1:
        keywords["padding"] = tuple((before, min(after, 3 - before)) for before, after in padding)
    check_conv(turned, w, naxes=3, transposed=True, **keywords)


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 4])
def test_types_and_axes(kind, naxes, stride, groups):
    x, w = noise((2, 4, *(3, 4, 17)[-naxes:]), kind), noise((4, 8 // groups, *(2, 3, 3)[-naxes:]), kind)
    keywords = {"naxes": naxes, "transposed": True, "stride": stride, "groups": groups, "padding": 1}
    y = check_conv(x, w, noise((8,), kind), **keywords)
    last = check_conv(channels_last(x, naxes), w, noise((8,), kind), layout=CHANNELS_LAST[naxes], **keywords)
    assert np.moveaxis(last, -1, 1).shape == y.shape


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_output_padding_names_the_size_that_stride_lost(stride, naxes):
    """Every size of the input of a strided convolution comes back, by the right `output_padding`."""
    for size in range(7, 7 + stride):
        x, w = whole((1, 3, *(size,) * naxes)), whole((4, 3, *(3,) * naxes))
        g = CONV[naxes](x, w, stride=stride, padding=1)
        extra = size - ((g.shape[-1] - 1) * stride - 2 + 3)
        back = check_conv(
            g, w, naxes=naxes, transposed=True, exact=True, stride=stride, padding=1, output_padding=extra
        )
        assert back.shape == x.shape


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_it_is_the_adjoint_of_convolution(padding, stride, dilation, groups):
    x, w = whole((2, 4, 9, 10), "float64"), whole((6, 4 // groups, 3, 2), "float64")
    keywords = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = cyconv.conv2d(x, w, **keywords)
    g = whole(y.shape, "float64")
    lost = [
        (h + 2 * padding - dilation * (k - 1) - 1) % stride for h, k in zip(x.shape[2:], w.shape[2:], strict=True)
    ]
    back = cyconv.conv_transpose2d(g, w, output_padding=lost, **keywords)
    assert back.shape == x.shape
    assert np.vdot(y, g) == np.vdot(x, back)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [(4, 4), (5, 16), (2, 8)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, (3, 8), (1, 20)], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 4)], ids=str)
def test_few_cells(size, stride, kernel, groups):
    """One cell along an axis, or as few as there are taps of a phase: every phase still meets its own inputs.

    With 80 taps one of the algorithms whose bound is that of the whole may be the quickest, on 4 lanes by a third; an
    input that is not a phase's own is off by one or more, many times that bound.
    """
    x, w = whole((3, 4, *size)), whole((4, 6 // groups, *kernel))
    keywords = {"stride": stride, "groups": groups, "exact": prod(kernel) < 80}
    check_conv(x, w, whole((6,)), transposed=True, **keywords)
    check_conv(x, w, transposed=True, padding=((0, 1), (1, 0)), dilation=(1, 2), **keywords)


@pytest.mark.parametrize("width", WIDTHS)
def test_widths_next_to_vectors_and_tiles(width):
    check_conv(whole((1, 3, 4, width)), whole((3, 13, 3, 3)), transposed=True, exact=True, stride=2)


@pytest.mark.parametrize("channels", [(1, 1), (1, 16), (16, 1), (33, 31), (257, 13)], ids=str)
def test_channel_counts(channels):
    """With many channels one of the algorithms whose bound is that of the whole may be the quickest."""
    c, k = channels
    exact = min(c, k) == 1
    check_conv(whole((1, c, 5, 6)), whole((c, k, 3, 3)), whole((k,)), transposed=True, exact=exact, padding=1)


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_ranks(naxes, layout):
    x, w = noise((1, 4, *(5, 4, 6)[-naxes:])), noise((4, 5, *(2, 3, 2)[-naxes:]))
    x = channels_last(x, naxes) if layout == "NHWC" else x
    full = check_conv(x, w, naxes=naxes, layout=layout, transposed=True)
    np.testing.assert_array_equal(check_conv(x[0], w, naxes=naxes, layout=layout, transposed=True), full[0])
    plane = noise((5, 4, 6)[-naxes:])
    y = check_conv(plane, noise((1, 1, *(2, 3, 2)[-naxes:])), naxes=naxes, transposed=True)
    assert y.ndim == naxes


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("n_c_k", [(0, 3, 4), (2, 0, 4), (2, 3, 0)], ids=str)
def test_empty_batches_and_channels(n_c_k, layout):
    n, c, k = n_c_k
    x, w = noise((n, c, 4, 5)), noise((c, k, 3, 3))
    check_conv(channels_last(x, 2) if layout == "NHWC" else x, w, noise((k,)), transposed=True, layout=layout)


def test_upsampling_by_a_kernel_of_ones():
    x = whole((1, 1, 3, 4))
    y = cyconv.conv_transpose2d(x, np.ones((1, 1, 2, 2), np.float32), stride=2)
    np.testing.assert_array_equal(y, x.repeat(2, axis=2).repeat(2, axis=3))


@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_any_geometry(naxes):
    @given(transposed_cases(naxes=naxes))
    def within_the_bound(case):
        check_conv(case.x, case.weight, case.bias, naxes=naxes, transposed=True, **case.keywords)

    within_the_bound()


@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_any_geometry_exactly(naxes):
    @given(transposed_cases(naxes=naxes, whole=True))
    def exactly(case):
        check_conv(case.x, case.weight, case.bias, naxes=naxes, transposed=True, exact=True, **case.keywords)

    exactly()


@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_nan_and_infinity_touch_their_own_cells_only(naxes):
    x = noise((1, 2, *(5,) * naxes))
    x[(0, 0, *(2,) * naxes)] = np.nan
    x[(0, 1, *(4,) * naxes)] = np.inf
    check_conv(x, noise((2, 3, *(3,) * naxes)), naxes=naxes, transposed=True, stride=2, padding=1, dilation=2)


BAD = [
    ({"stride": 0}, ValueError, r"stride.*0"),
    ({"stride": -1}, ValueError, r"stride.*-1"),
    ({"stride": 1.0}, TypeError, "stride"),
    ({"stride": True}, TypeError, "stride"),
    ({"stride": (1, 2, 3)}, ValueError, r"stride.*(3|three)"),
    ({"dilation": 0}, ValueError, r"dilation.*0"),
    ({"padding": -1}, ValueError, r"padding.*-1"),
    ({"padding": 50}, ValueError, r"50"),
    ({"output_padding": 1}, ValueError, r"output_padding.*1"),
    ({"output_padding": -1}, ValueError, r"output_padding.*-1"),
    ({"stride": 2, "output_padding": 2}, ValueError, r"output_padding.*2"),
    ({"groups": 0}, ValueError, r"groups.*0"),
    ({"groups": 3}, ValueError, r"groups.*3"),
    ({"layout": "NCWH"}, ValueError, r"layout.*NCWH"),
    ({"num_threads": 0}, ValueError, r"num_threads.*0"),
    ({"num_threads": 1.5}, TypeError, "num_threads"),
    ({"stride": 2**62}, (ValueError, MemoryError), r"(?i)stride|size|memory|bytes"),
    ({"dilation": 2**62}, (ValueError, MemoryError), r"(?i)dilation|size|memory|bytes"),
    ({"stride": 2**70}, (ValueError, OverflowError, MemoryError), r"(?i)stride|size|memory|bytes"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), BAD, ids=[str(b[0]) for b in BAD])
@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_bad_arguments(naxes, wrong, error, message):
    if naxes == 3 and isinstance(wrong.get("stride"), tuple):
        wrong = {"stride": (1, 2)}
        message = r"stride.*(2|two)"
    x, w = noise((1, 4, *(5,) * naxes)), noise((4, 6, *(3,) * naxes))
    with pytest.raises(error, match=message):
        CONV_TRANSPOSE[naxes](x, w, **wrong)


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 4, 5, 5), (3, 6, 3, 3)),
        ((1, 4, 5, 5), (4, 6, 3)),
        ((1, 4, 5, 5), (4, 6, 3, 0)),
        ((1, 4, 0, 5), (4, 6, 3, 3)),
        ((1, 1, 4, 5, 5), (4, 6, 3, 3)),
        ((5,), (4, 6, 3, 3)),
        ((5, 5), (1, 2, 3, 3)),
    ],
    ids=str,
)
def test_shapes_that_do_not_belong_together(shapes):
    with pytest.raises(ValueError, match=r"\b(x|weight|input)\b"):
        cyconv.conv_transpose2d(noise(shapes[0]), noise(shapes[1]))


def test_a_wrong_bias():
    for bias in (noise((5,)), noise((6, 1)), noise((0,))):
        with pytest.raises(ValueError, match=r"bias.*\(6"):
            cyconv.conv_transpose2d(noise((1, 4, 5, 5)), noise((4, 6, 3, 3)), bias)


def test_numbers_that_change_between_calls():
    """Packed numbers are kept by their bytes, not by the array."""
    x, w, b = whole((1, 3, 5, 5)), whole((3, 4, 4, 4)), whole((4,))
    for _ in range(2):
        check_conv(x, w, b, transposed=True, exact=True, stride=2, padding=1)
        check_conv(whole((2, 3, 4, 6)), w, b, transposed=True, exact=True, stride=2, padding=1)
        w[1, 2] += 1
        b[0] -= 1
