"""Convolution against the oracle, every combination of its geometry."""

import itertools

import numpy as np
import oracle
import pytest
from calls import CHANNELS_FIRST, CHANNELS_LAST, FLOATS, channels_last, check_conv, noise, whole
from hypothesis import given
from strategies import conv_cases, depthwise_cases

import cyconv

PADDINGS = [0, 2, (1, 0), ((1, 2), (0, 3)), "valid", "same", "same_lower"]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("stride", [1, 2, (3, 1)], ids=str)
def test_conv2d(stride, padding, dilation, groups, layout):
    x, w, b = noise((2, 6, 11, 13)), noise((12, 6 // groups, 3, 2)), noise((12,))
    if layout == "NHWC":
        x = channels_last(x, 2)
    check_conv(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (1, 5), (5, 1), (2, 4), (7, 7), (9, 11)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", FLOATS)
def test_dtypes_and_kernels(kind, stride, kernel, layout):
    x, w, b = noise((1, 5, 12, 21), kind), noise((13, 5, *kernel), kind), noise((13,), kind)
    if layout == "NHWC":
        x = channels_last(x, 2)
    check_conv(x, w, b, stride=stride, padding="same", layout=layout)


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (7, 7), (11, 11), (2, 3)], ids=str)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_depthwise(layout, kernel, stride, kind):
    x, w = noise((2, 17, 15, 35), kind), noise((17, 1, *kernel), kind)
    if layout == "NHWC":
        x = channels_last(x, 2)
    check_conv(x, w, noise((17,), kind), stride=stride, padding=1, groups=17, layout=layout)


@pytest.mark.parametrize("naxes", [1, 3])
@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("padding", [0, 1, "same", "same_lower"])
@pytest.mark.parametrize("stride_dilation", [(1, 1), (2, 1), (1, 2), (3, 2)], ids=str)
def test_one_and_three_axes(stride_dilation, padding, groups, kind, naxes):
    stride, dilation = stride_dilation
    size, kernel = ((37,), (4,)) if naxes == 1 else ((5, 6, 9), (2, 3, 2))
    x, w, b = noise((2, 4, *size), kind), noise((8, 4 // groups, *kernel), kind), noise((8,), kind)
    keywords = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = check_conv(x, w, b, naxes=naxes, **keywords, layout=CHANNELS_FIRST[naxes])
    last = check_conv(channels_last(x, naxes), w, b, naxes=naxes, **keywords, layout=CHANNELS_LAST[naxes])
    assert np.moveaxis(last, -1, 1).shape == y.shape


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("channels", [(1, 1), (1, 16), (3, 64), (16, 1), (32, 31), (65, 12), (257, 25)], ids=str)
def test_channel_counts_leave_no_tail_behind(channels, kind, naxes):
    """Whole numbers leave no room for rounding: each cell is exactly right, last rows and columns too."""
    c, k = channels
    x, w = whole((1, c, *(9, 7, 4)[-naxes:]), kind), whole((k, c, *(3, 2, 2)[-naxes:]), kind)
    check_conv(x, w, whole((k,), kind), naxes=naxes, padding=1, exact=True)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 97])
def test_widths_next_to_vectors_and_tiles(width, kind):
    x, w = whole((1, 3, 5, width), kind), whole((13, 3, 3, 3), kind)
    check_conv(x, w, padding=1, exact=True)
    check_conv(x, whole((3, 1, 3, 3), kind), padding=1, groups=3, exact=True)
    check_conv(x[:, :1], whole((1, 1, 3, 3), kind), padding=1, exact=True)


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
@pytest.mark.parametrize("groups", [1, 8])
def test_a_batch_is_its_images_one_by_one(batch, groups):
    """With one algorithm: `auto` may take another for more images."""
    x, w, b = noise((batch, 8, 9, 10)), noise((16, 8 // groups, 3, 3)), noise((16,))
    keywords = {"padding": 1, "groups": groups, "algorithm": "direct"}
    together = check_conv(x, w, b, **keywords)
    single = [cyconv.conv2d(x[i : i + 1], w, b, **keywords)[0] for i in range(batch)]
    np.testing.assert_array_equal(together, np.stack(single))


@pytest.mark.parametrize("shape", [(1, 64, 14, 14), (1, 128, 7, 7), (4, 32, 28, 28), (1, 3, 64, 64)], ids=str)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_layer_sizes(shape, kernel, stride):
    """Sizes where blocks, packing and threads all have something to do."""
    x, w = whole(shape), whole((48, shape[1], kernel, kernel))
    check_conv(x, w, whole((48,)), stride=stride, padding=kernel // 2, exact=True, algorithm="direct")


def test_inner_products_longer_than_a_block():
    x, w = whole((1, 700, 3, 5)), whole((5, 700, 3, 3))
    check_conv(x, w, padding=1, exact=True, algorithm="direct")


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_rank_of_the_image_is_the_rank_of_the_result(naxes, layout):
    size, kernel = (8, 7, 6)[-naxes:], (3, 2, 2)[-naxes:]
    x, w, b = noise((1, 4, *size)), noise((5, 4, *kernel)), noise((5,))
    full = check_conv(channels_last(x, naxes) if layout == "NHWC" else x, w, b, naxes=naxes, layout=layout)
    image = channels_last(x, naxes)[0] if layout == "NHWC" else x[0]
    np.testing.assert_array_equal(check_conv(image, w, b, naxes=naxes, layout=layout), full[0])
    plane = check_conv(x[0, 0], w[0, 0], naxes=naxes, layout=layout)
    assert plane.ndim == naxes
    np.testing.assert_array_equal(check_conv(x[0, 0], w[:1, :1], naxes=naxes, layout=layout), plane)


@pytest.mark.parametrize("name", ["NCHW", "NHWC"])
def test_layout_names_of_two_axes_serve_one_and_three(name):
    for naxes in (1, 3):
        x, w = noise((1, 3, *(5, 6, 7)[-naxes:])), noise((2, 3, *(2, 2, 2)[-naxes:]))
        x = channels_last(x, naxes) if name == "NHWC" else x
        own = (CHANNELS_LAST if name == "NHWC" else CHANNELS_FIRST)[naxes]
        function = cyconv.conv1d if naxes == 1 else cyconv.conv3d
        np.testing.assert_array_equal(function(x, w, layout=name), function(x, w, layout=own))


@pytest.mark.parametrize("kind", FLOATS)
def test_corr2d(kind):
    x, k = noise((9, 37), kind), noise((3, 4), kind)
    y = cyconv.corr2d(x, k)
    oracle.assert_close(y, oracle.convolution(x, k), dtype=x.dtype)


def test_corr2d_of_the_text():
    """The first example of every course, and the edge of a black and white picture."""
    y = cyconv.corr2d(np.arange(9.0).reshape(3, 3), np.arange(4.0).reshape(2, 2))
    np.testing.assert_array_equal(y, [[19, 25], [37, 43]])
    picture = np.ones((6, 8))
    picture[:, 2:6] = 0
    edges = cyconv.corr2d(picture, np.array([[1.0, -1.0]]))
    np.testing.assert_array_equal(edges, np.tile([0, 1, 0, 0, 0, -1, 0], (6, 1)))


def test_a_kernel_larger_than_the_image_fits_into_the_padded_image():
    for kernel, padding in itertools.product([(5, 7), (9, 9)], [4, ((4, 5), (4, 4))]):
        check_conv(whole((1, 2, 3, 4)), whole((3, 2, *kernel)), padding=padding, exact=True)


@pytest.mark.parametrize("stride", [5, 100, 2**31, 2**40])
def test_strides_beyond_the_image_leave_one_cell(stride):
    y = check_conv(whole((1, 2, 5, 5)), whole((2, 2, 3, 3)), stride=stride, exact=True)
    assert y.shape[2:] == (1, 1)


@pytest.mark.parametrize("bias", [0, 1.5, np.float32(2), np.float32([0.5, -1, 0.25]), None], ids=repr)
def test_the_bias_is_one_number_or_one_per_channel(bias):
    y = check_conv(whole((2, 2, 5, 6)), whole((3, 2, 2, 2)), bias, exact=True, result=np.float32)
    none = cyconv.conv2d(whole((2, 2, 5, 6)), whole((3, 2, 2, 2)))
    added = np.zeros(3) if bias is None else np.broadcast_to(bias, 3)
    np.testing.assert_array_equal(y, none + added.astype(np.float32)[:, None, None])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("n_c_k", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0, 0), (2, 0, 0)], ids=str)
@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_empty_batches_and_channels(naxes, n_c_k, layout):
    """Nothing in, nothing out; no input channels leave the bias alone."""
    n, c, k = n_c_k
    x, w, b = noise((n, c, *(5,) * naxes)), noise((k, c, *(3,) * naxes)), noise((k,))
    x = channels_last(x, naxes) if layout == "NHWC" else x
    check_conv(x, w, b, naxes=naxes, layout=layout, padding=1)
    check_conv(x, w, naxes=naxes, layout=layout, stride=2, activation="relu")


@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_any_geometry(naxes):
    @given(conv_cases(naxes=naxes))
    def within_the_bound(case):
        check_conv(case.x, case.weight, case.bias, naxes=naxes, **case.keywords)

    within_the_bound()


@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_any_geometry_exactly(naxes):
    @given(conv_cases(naxes=naxes, whole=True))
    def exactly(case):
        check_conv(case.x, case.weight, case.bias, naxes=naxes, exact=True, algorithm="direct", **case.keywords)

    exactly()


@given(conv_cases(kinds=("float16", "bfloat16")))
def test_any_geometry_in_half_precision(case):
    check_conv(case.x, case.weight, case.bias, **case.keywords)


@given(depthwise_cases(whole=True))
def test_any_depthwise_geometry_exactly(case):
    check_conv(case.x, case.weight, exact=True, **case.keywords)


@given(depthwise_cases())
def test_any_depthwise_geometry(case):
    check_conv(case.x, case.weight, **case.keywords)
