"""Arguments that have crashed other libraries: an answer or a clear exception, and `out` stays as it was."""

import re

import numpy as np
import pytest
from calls import CONV, attempt, check_conv, noise, whole

import cyconv

BAD = [
    ({"stride": 0}, ValueError, r"stride.*\b0\b"),
    ({"stride": (1, 0)}, ValueError, r"stride.*\b0\b"),
    ({"stride": -1}, ValueError, r"stride.*-1"),
    ({"stride": -(2**63)}, ValueError, r"stride"),
    ({"stride": 1.0}, TypeError, r"stride.*(1\.0|float)"),
    ({"stride": True}, TypeError, r"stride.*(True|bool)"),
    ({"stride": None}, TypeError, r"stride"),
    ({"stride": "2"}, TypeError, r"stride"),
    ({"stride": ()}, ValueError, r"stride"),
    ({"stride": (1, 1, 1)}, ValueError, r"stride"),
    ({"stride": np.array([1, 1, 1])}, ValueError, r"stride"),
    ({"stride": (1, 1.5)}, TypeError, r"stride"),
    ({"dilation": 0}, ValueError, r"dilation.*\b0\b"),
    ({"dilation": -2}, ValueError, r"dilation.*-2"),
    ({"dilation": 2.0}, TypeError, r"dilation"),
    ({"dilation": False}, TypeError, r"dilation"),
    ({"dilation": (1, 2, 3)}, ValueError, r"dilation"),
    ({"dilation": 2**31}, ValueError, str(2**31)),
    ({"dilation": 2**62}, ValueError, str(2**62)),
    ({"dilation": 2**80}, (ValueError, OverflowError), r"dilation|" + str(2**80)),
    ({"padding": -1}, ValueError, r"padding.*-1"),
    ({"padding": (1, -1)}, ValueError, r"padding.*-1"),
    ({"padding": ((0, 0), (0, -3))}, ValueError, r"padding.*-3"),
    ({"padding": 1.0}, TypeError, r"padding"),
    ({"padding": True}, TypeError, r"padding"),
    ({"padding": "full"}, ValueError, r"padding.*full"),
    ({"padding": "SAME"}, ValueError, r"padding.*SAME"),
    ({"padding": None}, TypeError, r"padding"),
    ({"padding": (1, 1, 1)}, ValueError, r"padding"),
    ({"padding": ((1, 1, 1), (1, 1, 1))}, ValueError, r"padding"),
    ({"groups": 0}, ValueError, r"groups.*\b0\b"),
    ({"groups": -1}, ValueError, r"groups.*-1"),
    ({"groups": 1.0}, TypeError, r"groups"),
    ({"groups": True}, TypeError, r"groups"),
    ({"groups": 3}, ValueError, r"groups.*3"),
    ({"groups": 4}, ValueError, r"groups|weight"),
    ({"padding_mode": "constant"}, ValueError, r"padding_mode(?=.*constant)(?=.*zeros)"),
    ({"padding_mode": None}, (TypeError, ValueError), r"padding_mode"),
    ({"padding_mode": 0}, (TypeError, ValueError), r"padding_mode"),
    ({"layout": "NCWH"}, ValueError, r"layout(?=.*NCWH)(?=.*NCHW)"),
    ({"layout": "NCDHW"}, ValueError, r"layout.*NCDHW"),
    ({"layout": None}, (TypeError, ValueError), r"layout"),
    ({"algorithm": "fast"}, ValueError, r"algorithm(?=.*fast)(?=.*direct)"),
    ({"algorithm": None}, (TypeError, ValueError), r"algorithm"),
    ({"num_threads": 0}, ValueError, r"num_threads.*\b0\b"),
    ({"num_threads": -1}, ValueError, r"num_threads.*-1"),
    ({"num_threads": 2.0}, TypeError, r"num_threads"),
    ({"num_threads": True}, TypeError, r"num_threads"),
    ({"workspace_limit": -1}, ValueError, r"workspace_limit.*-1"),
    ({"workspace_limit": "1MB"}, TypeError, r"workspace_limit"),
    ({"bias": noise((5,))}, ValueError, r"bias.*5"),
    ({"bias": noise((6, 1))}, ValueError, r"bias"),
    ({"bias": noise((0,))}, ValueError, r"bias"),
    ({"bias": "bias"}, (TypeError, ValueError), r"bias"),
    ({"bias": 1j}, TypeError, r"bias"),
    ({"bias": np.array([None] * 6)}, TypeError, r"bias"),
    ({"weights": 1}, TypeError, r"weights"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), BAD, ids=[str(b[0])[:50] for b in BAD])
def test_bad_arguments(wrong, error, message):
    out = np.full((1, 6, 5, 5), 7, np.float32)
    keywords = {"padding": 1, **wrong}
    with pytest.raises(error, match=message):
        cyconv.conv2d(noise((1, 4, 5, 5)), noise((6, 4, 3, 3)), out=out, **keywords)
    assert (out == 7).all()
    for rest in ("out", "x", "num_threads"):
        keywords.pop(rest, None)
    if "num_threads" not in wrong:
        with pytest.raises(error):  # the plan, or its first call, refuses the same
            cyconv.plan_conv2d(noise((6, 4, 3, 3)), **keywords)(noise((1, 4, 5, 5)))


@pytest.mark.parametrize("naxes", [1, 3])
@pytest.mark.parametrize(
    "wrong",
    [
        {"stride": 0},
        {"stride": (1, 1, 1, 1)},
        {"dilation": 0},
        {"padding": -1},
        {"padding": "full"},
        {"groups": 0},
        {"groups": 3},
        {"layout": "HWC"},
        {"dilation": 2**62},
        {"stride": -(2**62)},
        {"num_threads": 0},
    ],
    ids=str,
)
def test_bad_arguments_on_one_and_three_axes(naxes, wrong):
    x, w = noise((1, 4, *(5,) * naxes)), noise((6, 4, *(3,) * naxes))
    with pytest.raises(ValueError, match=next(iter(wrong)) + "|kernel"):
        CONV[naxes](x, w, **wrong)


@pytest.mark.parametrize(("layout", "naxes"), [
    ("NCW", 2), ("NWC", 3), ("NDHWC", 2), ("NCDHW", 1), ("nchw", 2), ("CHW", 2), ("", 1),
])  # fmt: skip
def test_layouts_of_other_ranks(layout, naxes):
    with pytest.raises(ValueError, match="layout"):
        CONV[naxes](noise((1, 2, *(5,) * naxes)), noise((3, 2, *(3,) * naxes)), layout=layout)


SHAPES = [
    ((1, 4, 5, 5), (6, 3, 3, 3), "channels"),
    ((1, 4, 5, 5), (6, 4, 3), "weight"),
    ((1, 4, 5, 5), (6, 4, 3, 3, 3), "weight"),
    ((1, 4, 5, 5), (4,), "weight"),
    ((1, 4, 5, 5), (), "weight"),
    ((1, 4, 5, 5), (3, 3), "weight"),
    ((4, 5, 5), (3, 3), "weight"),
    ((5, 5), (2, 1, 3, 3), "weight|K"),
    ((5, 5), (1, 2, 3, 3), "channels|weight"),
    ((5,), (6, 4, 3, 3), r"\bx\b"),
    ((), (6, 4, 3, 3), r"\bx\b"),
    ((1, 1, 4, 5, 5), (6, 4, 3, 3), r"\bx\b"),
    ((1, 4, 5, 5), (6, 4, 0, 3), "weight|kernel"),
    ((1, 4, 5, 5), (6, 4, 3, 0), "weight|kernel"),
    ((1, 4, 0, 5), (6, 4, 3, 3), r"x\b|kernel|input"),
    ((1, 4, 5, 0), (6, 4, 1, 1), r"x\b|kernel|input"),
]


@pytest.mark.parametrize(("x", "weight", "message"), SHAPES, ids=[f"{s[0]}-{s[1]}" for s in SHAPES])
def test_shapes_that_do_not_belong_together(x, weight, message):
    with pytest.raises(ValueError, match=message):
        cyconv.conv2d(noise(x), noise(weight))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_a_kernel_that_does_not_fit_shows_the_sum(naxes, mode):
    """The message holds the formula with its numbers."""
    x, w = noise((1, 2, *(4,) * naxes)), noise((3, 2, *(3,) * naxes))
    with pytest.raises(ValueError, match=r"(?s)kernel.*4 ?\+ ?1 ?\+ ?1.*3 ?\* ?\(3 ?- ?1\)"):
        CONV[naxes](x, w, padding=1, dilation=3, padding_mode=mode)


@pytest.mark.parametrize("padding", [2**31, 2**62, 2**63, 2**100])
def test_padding_beyond_all_memory(padding):
    """An error that names the trouble, at once."""
    x, w = whole((1, 1, 4, 4)), whole((1, 1, 3, 3))
    with pytest.raises((ValueError, MemoryError, OverflowError), match=r"(?i)padding|memory|allocate|size|larger"):
        cyconv.conv2d(x, w, padding=padding)


@pytest.mark.parametrize("far", [2**31, 2**40, 2**61])
def test_padding_and_stride_far_beyond_the_image(far):
    """Two output cells, one of which sees the image: the time depends on the cells that exist."""
    x, w = whole((1, 1, 1, 4)) + 4, whole((1, 1, 1, 4)) + 5
    keywords = {"padding": ((0, 0), (far, 0)), "stride": (1, far)}
    y, message = attempt(lambda: cyconv.conv2d(x, w, **keywords), ValueError, OverflowError)
    if message:
        assert re.search(f"padding|stride|{far}", message)
    else:
        np.testing.assert_array_equal(y.ravel(), [0, (x * w).sum()])


@pytest.mark.parametrize("far", [2**31 + 1, 2**40])
def test_dilation_beyond_the_image(far):
    """A dilated kernel whose outer taps see padding only: the middle one is left."""
    x, w = whole((1, 2, 3, 3)), whole((3, 2, 1, 3))
    keywords = {"dilation": (1, far), "padding": ((0, 0), (far, far))}
    y, message = attempt(lambda: cyconv.conv2d(x, w, **keywords), ValueError, MemoryError, OverflowError)
    if message:
        assert re.search("padding|dilation", message)
    else:
        np.testing.assert_array_equal(y, cyconv.conv2d(x, w[..., 1:2]))


@pytest.mark.parametrize("kind", [int, np.int8, np.uint64, np.int64])
def test_integers_of_every_make_are_integers(kind):
    x, w = whole((1, 4, 6, 6)), whole((6, 2, 3, 3))
    keywords = {
        "stride": kind(2),
        "padding": (kind(1), kind(0)),
        "dilation": [kind(1)] * 2,
        "groups": kind(2),
    }
    check_conv(x, w, exact=True, **keywords)


def test_sequences_of_every_make():
    x, w = whole((1, 4, 9, 9)), whole((6, 4, 3, 3))
    expected = cyconv.conv2d(x, w, stride=(2, 1), padding=((1, 2), (0, 1)))
    np.testing.assert_array_equal(cyconv.conv2d(x, w, stride=[2, 1], padding=[[1, 2], [0, 1]]), expected)
    np.testing.assert_array_equal(
        cyconv.conv2d(x, w, stride=np.array([2, 1]), padding=np.array([[1, 2], [0, 1]])), expected
    )


def test_positions_end_at_the_bias():
    with pytest.raises(TypeError):
        cyconv.conv2d(noise((1, 4, 5, 5)), noise((6, 4, 3, 3)), None, 2)


@pytest.mark.parametrize(
    "x", [noise((1, 1, 5, 5)), noise((5,)), noise((5, 5, 5)), noise(())], ids=lambda a: str(a.ndim)
)
def test_corr2d_takes_one_image_and_one_kernel(x):
    with pytest.raises(ValueError, match=r"\bx\b"):
        cyconv.corr2d(x, noise((2, 2)))
    with pytest.raises(ValueError, match="kernel"):
        cyconv.corr2d(noise((5, 5)), x)


def test_corr2d_refuses_a_larger_kernel_and_an_empty_one():
    for kernel in (noise((6, 2)), noise((2, 6)), noise((0, 2))):
        with pytest.raises(ValueError, match="kernel"):
            cyconv.corr2d(noise((5, 5)), kernel)
