"""Results written into an array of the caller."""

import numpy as np
import pytest
from calls import CONV, CONV_TRANSPOSE, DISGUISES, FLOATS, attempt, channels_last, check_conv, dtype, noise

import cyconv

WRITEABLE = ["contiguous", "fortran", "transposed", "reversed", "every_second", "inside", "misaligned"]


@pytest.mark.parametrize("disguise", WRITEABLE)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("keywords", [{}, {"groups": 4}, {"stride": 2, "padding": 1}], ids=str)
@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
def test_out_of_any_strides(disguise, layout, kind, keywords, transposed):
    groups = keywords.get("groups", 1)
    x = noise((2, 4, 7, 18), kind)
    w = noise((4, 8 // groups, 3, 3) if transposed else (8, 4 // groups, 3, 3), kind)
    x = channels_last(x, 2) if layout == "NHWC" else x
    expected = check_conv(x, w, noise((8,), kind), layout=layout, transposed=transposed, **keywords)
    out = DISGUISES[disguise](np.full_like(expected, 9))
    surrounding = out.base
    function = (CONV_TRANSPOSE if transposed else CONV)[2]
    assert function(x, w, noise((8,), kind), layout=layout, out=out, **keywords) is out
    np.testing.assert_array_equal(out, expected)
    if disguise in ("every_second", "inside"):
        margin = surrounding.astype(np.float64)
        assert np.isnan(margin).sum() == margin.size - out.size, "cells beside `out` were written"


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("lead", [0, 1, 2])
def test_out_at_every_rank(naxes, lead):
    x = noise((1, 1, *(6, 7, 8)[-naxes:]))[(0,) * (2 - lead)]
    w = noise((1, 1, *(2, 2, 3)[-naxes:]))
    expected = CONV[naxes](x, w)
    out = np.full_like(expected, np.nan)
    assert CONV[naxes](x, w, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("algorithm", ["auto", "direct"])
def test_out_of_a_size_with_work_for_threads(algorithm):
    x, w = noise((2, 32, 30, 31)), noise((40, 32, 3, 3))
    expected = cyconv.conv2d(x, w, padding=1, algorithm=algorithm)
    for disguise in ("fortran", "every_second", "reversed"):
        out = DISGUISES[disguise](np.zeros_like(expected))
        cyconv.conv2d(x, w, padding=1, algorithm=algorithm, out=out, num_threads=3)
        np.testing.assert_array_equal(out, expected)


def _read_only():
    out = np.zeros((1, 3, 5, 5), np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((1, 3, 5, 4), np.float32),
        np.zeros((3, 5, 5), np.float32),
        np.zeros((1, 5, 5, 3), np.float32),
        np.zeros((1, 3, 5, 5), np.float64),
        np.zeros((1, 3, 5, 5), np.int32),
        np.zeros((1, 3, 5, 5), ">f4"),
        _read_only(),
        [[1.0]],
        "out",
        (),
        np.broadcast_to(np.float32(0), (1, 3, 5, 5)),
        np.lib.stride_tricks.as_strided(np.zeros(25, np.float32), (1, 3, 5, 5), (0, 0, 20, 4), writeable=True),
    ],
    ids=lambda a: f"{type(a).__name__}-{getattr(a, 'dtype', '')}-{getattr(a, 'shape', '')}",
)
def test_what_cannot_be_written_to(out):
    before = np.array(out)
    with pytest.raises((TypeError, ValueError), match=r"\bout\b"):
        cyconv.conv2d(noise((1, 2, 5, 5)), noise((3, 2, 3, 3)), padding=1, out=out)
    np.testing.assert_array_equal(np.array(out), before)


def same_or_refused(function, expected, out):
    """Overlapping memory: the result as without overlap, or a clear error and nothing written."""
    before = out.copy()
    result, message = attempt(lambda: function(out), ValueError)
    if message:
        assert "overlap" in message
        np.testing.assert_array_equal(out, before)
    else:
        assert result is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("shift", [0, 1, 37, -5])
def test_out_that_overlaps_the_image(shift, groups, kind):
    memory = noise((4000,), kind)
    x = memory[100 : 100 + 4 * 10 * 20].reshape(1, 4, 10, 20)
    out = memory[100 + shift : 100 + shift + 800].reshape(1, 4, 10, 20)
    w = noise((4, 4 // groups, 3, 3), kind)
    expected = cyconv.conv2d(x.copy(), w, padding=1, groups=groups)
    same_or_refused(lambda out: cyconv.conv2d(x, w, padding=1, groups=groups, out=out), expected, out)


def test_out_that_overlaps_the_weight_or_the_bias():
    x = noise((1, 4, 10, 20))
    memory = noise((2000,))
    w, b, out = memory[:144].reshape(4, 4, 3, 3), memory[144:148], memory[100:900].reshape(1, 4, 10, 20)
    expected = cyconv.conv2d(x, w.copy(), b.copy(), padding=1)
    same_or_refused(lambda out: cyconv.conv2d(x, w, b, padding=1, out=out), expected, out)
    memory = noise((2000,))
    w, b, out = memory[:144].reshape(4, 4, 3, 3), memory[144:148], memory[100:900].reshape(1, 4, 10, 20)
    expected = cyconv.conv_transpose2d(x, w.copy(), b.copy(), padding=1)
    same_or_refused(lambda out: cyconv.conv_transpose2d(x, w, b, padding=1, out=out), expected, out)


@pytest.mark.parametrize("kind", FLOATS)
def test_in_place_pointwise_convolution(kind):
    x, w = noise((2, 8, 6, 7), kind), noise((8, 8, 1, 1), kind)
    expected = cyconv.conv2d(x.copy(), w)
    same_or_refused(lambda out: cyconv.conv2d(x, w, out=out), expected, x)
    assert expected.dtype == dtype(kind)


def test_an_error_leaves_out_alone():
    out = np.full((1, 3, 5, 5), 7, np.float32)
    for wrong in ({"stride": 0}, {"padding": -1}, {"groups": 2}, {"algorithm": "magic"}, {"num_threads": 0}):
        with pytest.raises(ValueError):
            cyconv.conv2d(noise((1, 3, 5, 5)), noise((3, 3, 3, 3)), **{"padding": 1, **wrong}, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [2, 3, 5, 7])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_gaps_in_arrays_change_no_bit(multiplier, side, stride, kind, layout):
    x, w = noise((2, 32, 13, 19), kind), noise((32 * multiplier, 1, side, side), kind)
    if layout == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    keywords = {"groups": 32, "stride": stride, "padding": side // 2, "layout": layout}
    expected = cyconv.conv2d(x, w, **keywords)
    spaced = np.full((*expected.shape[:3], 2 * expected.shape[3]), 9, kind)[..., ::2]
    for out in (spaced, np.full(expected.shape[::-1], 9, kind).T):
        cyconv.conv2d(x, w, out=out, **keywords)
        np.testing.assert_array_equal(out, expected)
    if layout == "NCHW":  # in NHWC a gap between channels turns vectors to another axis, which is another layout
        gaps = np.full((*x.shape[:3], 2 * x.shape[3]), 9, kind)[..., ::2]
        gaps[...] = x
        np.testing.assert_array_equal(cyconv.conv2d(gaps, w, **keywords), expected)
