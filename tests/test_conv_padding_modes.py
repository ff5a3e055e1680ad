"""What stands around the image: zeros, its mirror, its last cells, its other side."""

import numpy as np
import pytest
from calls import FLOATS, attempt, channels_last, check_conv, noise, whole
from hypothesis import given
from hypothesis import strategies as st

import cyconv

MODES = ["zeros", "reflect", "replicate", "circular"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", [0, 2, (3, 1), ((1, 2), (0, 3)), "same", "same_lower", "valid"], ids=str)
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_modes_and_forms_of_padding(mode, padding, groups, layout):
    x, w, b = noise((2, 4, 7, 9)), noise((8, 4 // groups, 3, 4)), noise((8,))
    x = channels_last(x, 2) if layout == "NHWC" else x
    check_conv(x, w, b, padding=padding, padding_mode=mode, groups=groups, layout=layout)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("stride_dilation", [(1, 1), (2, 1), (1, 2), (2, 3)], ids=str)
@pytest.mark.parametrize("kind", FLOATS)
def test_modes_with_stride_and_dilation(mode, naxes, stride_dilation, kind):
    stride, dilation = stride_dilation
    x, w = noise((1, 3, *(7, 8, 9)[-naxes:]), kind), noise((4, 3, *(2, 3, 2)[-naxes:]), kind)
    keywords = {"stride": stride, "dilation": dilation, "padding_mode": mode}
    check_conv(x, w, naxes=naxes, padding=3, **keywords)
    check_conv(x, w, naxes=naxes, padding="same", **keywords)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", [2, 3, 4])
def test_modes_at_every_rank(mode, rank):
    x = noise((1, 1, 6, 7))[(0,) * (4 - rank)]
    check_conv(x, noise((1, 1, 3, 3)), padding=2, padding_mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_constant_image_stays_constant_except_with_zeros(mode):
    y = cyconv.conv2d(np.ones((1, 1, 5, 6)), np.ones((1, 1, 3, 3)), padding=1, padding_mode=mode)
    assert (y == 9).all() == (mode != "zeros")


@pytest.mark.parametrize("mode", ["replicate", "reflect", "circular"])
@pytest.mark.parametrize("naxes", [1, 2, 3])
def test_padding_wider_than_the_image(mode, naxes):
    """What NumPy's own `pad` gives, or a message that names the limit; nothing else."""
    x, w = whole((1, 2, *(3, 4, 2)[-naxes:])), whole((3, 2, *(9, 11, 9)[-naxes:]))
    keywords = {"naxes": naxes, "padding": 9, "padding_mode": mode}
    _, message = attempt(lambda: check_conv(x, w, exact=True, **keywords), ValueError)
    if message:
        assert mode != "replicate"
        assert "padding" in message
        assert "9" in message


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_the_widest_padding_that_always_works(mode):
    widest = {"reflect": (4, 5), "circular": (5, 6), "replicate": (9, 9)}[mode]
    check_conv(whole((2, 3, 5, 6)), whole((4, 3, 3, 3)), padding=widest, padding_mode=mode, exact=True)


def test_same_with_stride_divides_the_size_rounded_up():
    for size, stride in [(7, 2), (8, 2), (7, 3), (5, 7), (64, 5)]:
        for name in ("same", "same_upper", "same_lower"):
            x, w = whole((1, 1, size, size)), whole((1, 1, 4, 3))
            y = check_conv(x, w, stride=stride, padding=name, exact=True)
            assert y.shape[2:] == (-(-size // stride),) * 2


def test_same_is_same_upper():
    x, w = noise((1, 2, 8, 9)), noise((3, 2, 4, 4))
    upper = cyconv.conv2d(x, w, padding="same_upper")
    np.testing.assert_array_equal(cyconv.conv2d(x, w, padding="same"), upper)
    assert not np.array_equal(cyconv.conv2d(x, w, padding="same_lower"), upper)


def test_one_axis_takes_an_int_a_tuple_a_pair_and_a_pair_in_a_tuple():
    x, w = noise((1, 2, 9)), noise((3, 2, 4))
    one = cyconv.conv1d(x, w, padding=((1, 2),))
    np.testing.assert_array_equal(cyconv.conv1d(x, w, padding=(1, 2)), one)
    np.testing.assert_array_equal(cyconv.conv1d(x, w, padding=(2,)), cyconv.conv1d(x, w, padding=2))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@given(data=st.data())
def test_any_geometry_in_every_mode(mode, data):
    naxes = data.draw(st.integers(1, 3))
    size = [data.draw(st.integers(2, 18)) for _ in range(naxes)]
    pairs = [tuple(data.draw(st.integers(0, min(h - 1, 6))) for _ in range(2)) for h in size]
    kernel = [data.draw(st.integers(1, min(5, h + sum(p)))) for h, p in zip(size, pairs, strict=True)]
    stride = data.draw(st.integers(1, 3))
    groups = data.draw(st.sampled_from([1, 3]))
    x, w = whole((1, 3, *size)), whole((6, 3 // groups, *kernel))
    keywords = {"padding": tuple(pairs), "padding_mode": mode, "stride": stride, "groups": groups}
    check_conv(x, w, naxes=naxes, exact=True, algorithm="direct", **keywords)


@pytest.mark.parametrize("mode", MODES)
def test_padding_leaves_large_images_where_they_are(mode):
    """The inner region does not depend on the mode."""
    x, w = noise((1, 4, 40, 70)), noise((5, 4, 5, 5))
    inner = cyconv.conv2d(x, w, padding=2, padding_mode=mode, algorithm="direct")[..., 2:-2, 2:-2]
    np.testing.assert_allclose(inner, cyconv.conv2d(x, w, algorithm="direct"), rtol=1e-5, atol=1e-4)
