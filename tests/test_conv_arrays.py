"""Arrays as they come: any memory layout, any float type, lists, buffers, subclasses."""

import array
import functools
import operator

import numpy as np
import oracle
import pytest
from calls import CONV, CONV_TRANSPOSE, DISGUISES, FLOATS, channels_last, check_conv, dtype, noise, whole

import cyconv

# bfloat16 has no other byte order.
DISGUISED = [(d, k) for k in FLOATS for d in DISGUISES if not (k == "bfloat16" and d.endswith("endian"))]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", [1, 4, 8, 16])
@pytest.mark.parametrize("pads", [(1, 1), (2, 0), (3, 3)])
def test_images_of_one_column(pads, channels, layout):
    """Of an axis of one cell, what NumPy calls the stride may be anything."""
    x, w = noise((1, 2 * channels, 1, 1)), noise((2, channels, 1, 3))
    if layout == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    check_conv(x, w, padding=((0, 0), pads), groups=2, layout=layout)


@pytest.mark.parametrize(("disguise", "kind"), DISGUISED)
@pytest.mark.parametrize("operand", ["x", "weight", "bias"])
@pytest.mark.parametrize("groups", [1, 6])
def test_memory_layouts(disguise, operand, kind, groups):
    arrays = {
        "x": whole((2, 6, 7, 19), kind),
        "weight": whole((12, 6 // groups, 3, 2), kind),
        "bias": whole((12,), kind),
    }
    arrays[operand] = DISGUISES[disguise](arrays[operand])
    y = check_conv(**arrays, padding=1, groups=groups, exact=kind in ("float32", "float64"), algorithm="direct")
    arrays[operand] = np.ascontiguousarray(arrays[operand]).astype(dtype(kind))
    np.testing.assert_array_equal(y, check_conv(**arrays, padding=1, groups=groups, algorithm="direct"))


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
def test_memory_layouts_of_the_image(disguise, naxes, layout, transposed):
    x, w = whole((2, 3, *(4, 5, 17)[-naxes:])), whole((3, 3, *(2, 3, 3)[-naxes:]))
    x = DISGUISES[disguise](channels_last(x, naxes) if layout == "NHWC" else x)
    check_conv(x, w, naxes=naxes, layout=layout, transposed=transposed, exact=True, padding=1)


@pytest.mark.parametrize("stride", [1, 2])
def test_results_are_new_contiguous_arrays(stride):
    for layout in ("NCHW", "NHWC"):
        x = noise((2, 3, 6, 3))
        y = cyconv.conv2d(x, noise((4, 3, 2, 2)), stride=stride, layout=layout)
        assert y.flags.c_contiguous
        assert y.flags.owndata
        assert y.flags.writeable
        assert y.dtype.isnative


MIXED = [
    ("float32", "float64", "float64"),
    ("float64", "float32", "float64"),
    ("float16", "float32", "float32"),
    ("float16", "float64", "float64"),
    ("bfloat16", "float32", "float32"),
    ("float32", "bfloat16", "float32"),
    ("float16", "bfloat16", "float32"),
    ("float16", "float16", "float16"),
    ("bfloat16", "bfloat16", "bfloat16"),
]


@pytest.mark.parametrize(("x", "weight", "result"), MIXED)
@pytest.mark.parametrize("groups", [1, 2])
def test_mixed_types_are_promoted(x, weight, result, groups):
    check_conv(whole((1, 2, 6, 7), x), whole((4, 2 // groups, 3, 3), weight), groups=groups, result=dtype(result))


def test_the_bias_is_promoted_too_unless_it_is_a_python_number():
    x, w = noise((1, 2, 6, 7)), noise((4, 2, 3, 3))
    assert cyconv.conv2d(x, w, noise((4,), "float64")).dtype == np.float64
    assert cyconv.conv2d(x, w, 0.5).dtype == np.float32
    assert cyconv.conv2d(x.astype(np.float16), w.astype(np.float16), 0.5).dtype == np.float16


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once_at_the_end(kind):
    """2048 + 1 + ... + 1 in half precision would stay at 2048; in float32 it does not."""
    x = np.ones((1, 1, 1, 65), dtype(kind))
    x[..., 0] = 2048
    y = cyconv.conv2d(x, np.ones((1, 1, 1, 65), dtype(kind)))
    assert float(y[0, 0, 0, 0]) == float(np.float32(2112).astype(dtype(kind)))


def test_lists_and_buffers():
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    kernel = [[1.0, -1.0]]
    expected = [[-1, -1], [-1, -1]]
    np.testing.assert_array_equal(cyconv.corr2d(rows, kernel), expected)
    np.testing.assert_array_equal(cyconv.conv2d(rows, kernel), expected)
    buffer = memoryview(array.array("d", functools.reduce(operator.iadd, rows, []))).cast("B").cast("d", (2, 3))
    np.testing.assert_array_equal(cyconv.corr2d(buffer, kernel), expected)


def test_dlpack():
    class Foreign:
        """An array of another library, of which NumPy knows nothing but the protocol."""

        def __init__(self, data):
            self.data = data

        def __dlpack__(self, **keywords):
            return self.data.__dlpack__(**keywords)

        def __dlpack_device__(self):
            return self.data.__dlpack_device__()

    x, w = noise((1, 2, 5, 6)), noise((3, 2, 2, 2))
    np.testing.assert_array_equal(cyconv.conv2d(Foreign(x), Foreign(w)), cyconv.conv2d(x, w))


def test_a_subclass_counts_as_the_array_that_it_is():
    class Odd(np.ndarray):
        def __array_finalize__(self, parent):
            self.seen = True

        def __getitem__(self, index):
            raise AssertionError("the subclass was asked")

    x, w = noise((1, 2, 5, 6)), noise((3, 2, 2, 2))
    y = cyconv.conv2d(x.view(Odd), w.view(Odd))
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, cyconv.conv2d(x, w))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("keywords", [
    {}, {"stride": 2, "padding": 1}, {"groups": 4}, {"dilation": 2, "padding_mode": "circular", "padding": 2},
], ids=str)  # fmt: skip
def test_both_layouts_give_the_same_numbers(layout, kind, keywords):
    x, w, b = (
        noise((2, 4, 9, 11), kind),
        noise((8, 4 // keywords.get("groups", 1), 3, 3), kind),
        noise((8,), kind),
    )
    expected = oracle.convolution(x, w, b, dtype=dtype(kind), **keywords)
    x = channels_last(x, 2) if layout == "NHWC" else x
    y = cyconv.conv2d(x, w, b, layout=layout, **keywords)
    oracle.assert_close(np.moveaxis(y, -1, 1) if layout == "NHWC" else y, expected)


@pytest.mark.parametrize("kind", ["bool", "int8", "uint8", "int32", "int64", "uint64"])
@pytest.mark.parametrize("functions", [CONV, CONV_TRANSPOSE], ids=["conv", "transposed"])
@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_integer_images_are_refused_with_the_way_out(naxes, functions, kind):
    x, w = np.ones((1, 2, *(5,) * naxes), kind), noise((2, 2, *(3,) * naxes))
    with pytest.raises(TypeError, match=rf"(?s)\bx\b.*{kind}.*float32"):
        functions[naxes](x, w)


@pytest.mark.parametrize(
    "bad",
    [
        np.ones((1, 2, 5, 5), np.complex64),
        np.ones((1, 2, 5, 5), np.complex128),
        np.ones((1, 2, 5, 5), object),
        np.full((1, 2, 5, 5), "1.0"),
        np.full((1, 2, 5, 5), b"1"),
        np.zeros((1, 2, 5, 5), "M8[s]"),
        np.zeros((1, 2, 5, 5), "f4,f4"),
        np.ma.masked_equal(np.ones((1, 2, 5, 5)), 1),
        None,
        "image",
        {},
        object(),
        [[[[1.0, 2.0], [3.0]]]],
        np.float32(1),
        3.0,
        np.ones((1, 2, 5, 5), np.longdouble),
    ],
    ids=lambda a: getattr(getattr(a, "dtype", None), "name", None) or repr(a)[:20],
)
@pytest.mark.parametrize("operand", ["x", "weight"])
def test_what_is_no_image_and_no_weight(operand, bad):
    arrays = {"x": noise((1, 2, 5, 5)), "weight": noise((3, 2, 3, 3)), operand: bad}
    with pytest.raises((TypeError, ValueError), match=rf"\b{operand}\b"):
        cyconv.conv2d(**arrays)


def test_a_masked_array_is_not_taken_for_its_data():
    with pytest.raises(TypeError, match="mask"):
        cyconv.conv2d(np.ma.masked_less(noise((1, 2, 5, 5)), 0), noise((3, 2, 3, 3)))
