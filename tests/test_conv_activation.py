"""Activations that ride along with a convolution."""

import numpy as np
import pytest
from calls import FLOATS, channels_last, check_conv, noise

import cyconv

ACTIVATIONS = [
    None,
    "relu",
    "relu6",
    "silu",
    ("clip", -0.5, 2.0),
    ("clip", -np.inf, 0.0),
    ("leaky_relu", 0.1),
    ("leaky_relu", 0.0),
    ("leaky_relu", -2.0),
    ("leaky_relu", 3.0),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kind", FLOATS)
def test_activations(activation, naxes, groups, kind):
    x, w = noise((2, 4, *(5, 6, 19)[-naxes:]), kind), noise((8, 4 // groups, *(2, 3, 3)[-naxes:]), kind)
    keywords = {"padding": 1, "groups": groups, "activation": activation}
    check_conv(x, w, noise((8,), kind), naxes=naxes, **keywords)
    check_conv(channels_last(x, naxes), w, naxes=naxes, layout="NHWC", **keywords)


@pytest.mark.parametrize("activation", ["relu", "relu6", ("clip", -1.0, 1.0), ("leaky_relu", 0.1), "silu"], ids=str)
def test_nan_stays_nan_through_an_activation(activation):
    x = np.zeros((1, 1, 8, 20), np.float32)
    x[0, 0, 3, 4] = np.nan
    y = cyconv.conv2d(x, np.ones((13, 1, 3, 3), np.float32), padding=1, activation=activation)
    assert np.isnan(y[0, :, 2:5, 3:6]).all()
    assert np.isnan(y).sum() == 13 * 9


@pytest.mark.parametrize(
    ("activation", "at_minus", "at_plus"),
    [
        ("relu", 0, np.inf),
        ("relu6", 0, 6),
        (("clip", -3.0, 3.0), -3, 3),
        (("leaky_relu", 0.5), -np.inf, np.inf),
    ],
    ids=str,
)
def test_infinities_through_an_activation(activation, at_minus, at_plus):
    x = np.array([[-np.inf, np.inf]], np.float32)
    y = cyconv.conv2d(x, np.ones((1, 1), np.float32), activation=activation)
    np.testing.assert_array_equal(y, [[at_minus, at_plus]])


def test_silu_far_out():
    x = np.array([[-1e4, -200, -90, -1, 0, 1, 90, 1e4]], np.float32)
    y = cyconv.conv2d(x, np.ones((1, 1), np.float32), activation="silu")[0]
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y, x[0] * np.array([0, 0, 0, 0.26894142, 0, 0.73105858, 1, 1]), rtol=1e-6, atol=1e-30)


def test_no_input_channels_leave_the_activated_bias():
    y = cyconv.conv2d(np.ones((1, 0, 3, 3)), np.ones((2, 0, 3, 3)), np.array([-1.0, 7.0]), activation="relu6")
    np.testing.assert_array_equal(y.ravel(), [0, 6])


@pytest.mark.parametrize(
    "activation",
    [
        "tanh",
        "",
        3,
        ("clip", 1),
        ("clip", 2.0, 1.0),
        ("clip", np.nan, 1.0),
        ("clip", "a", "b"),
        ("leaky_relu",),
        ("leaky_relu", None),
        ("leaky_relu", np.nan),
        ("relu", 1),
        [],
        {"relu"},
    ],
    ids=repr,
)
def test_what_is_no_activation(activation):
    with pytest.raises((TypeError, ValueError), match="activation"):
        cyconv.conv2d(noise((1, 2, 5, 5)), noise((3, 2, 3, 3)), activation=activation)
