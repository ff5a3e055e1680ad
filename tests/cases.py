"""One list of calls that together reach every family of kernels, in every type that it has.

The tests of builds, of threads and of the registry all walk this list; a kernel that none of these
calls loads fails the suite.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import oracle
import oracle_pool
import scipy.signal
from calls import ALGORITHMS, CONV, CONV_TRANSPOSE, channels_last, noise

import cyconv
from cyconv import grad, nn, signal

FLOAT_TYPES = ("float16", "float32", "float64")
INTEGER_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


class Case(NamedTuple):
    """A call of the library on fixed data, and the oracle's answer to it."""

    run: Callable  # (kind, **keywords) -> result
    expected: Callable  # kind -> Expected
    kinds: tuple = FLOAT_TYPES


def _conv(x_shape, w_shape, *, naxes=2, transposed=False, algorithm="direct", **keywords):
    def arrays(kind):
        x = noise(x_shape, kind)
        k = w_shape[1] * keywords.get("groups", 1) if transposed else w_shape[0]
        return (
            (channels_last(x, naxes) if keywords.get("layout") == "NHWC" else x),
            noise(w_shape, kind),
            noise((k,), kind),
        )

    def run(kind, **more):
        if transposed:
            return CONV_TRANSPOSE[naxes](*arrays(kind), **keywords, **more)
        return CONV[naxes](*arrays(kind), algorithm=algorithm, **keywords, **more)

    def expected(kind):
        answer = oracle.convolution(*arrays(kind), naxes=naxes, transposed=transposed, **keywords)
        if algorithm == "direct":
            return answer
        x, w, _ = arrays(kind)
        # A tile of Winograd's amplifies the rounding that all its cells share.
        slack = oracle.fft_bound(x, w, kind) if algorithm == "fft" else 100 * answer.bound.max()
        return oracle.Expected(answer.value, answer.bound + slack)

    return Case(run, expected)


def _weight_gradient(x_shape, size, g_shape, *, naxes=2, direct=True, **keywords):
    function = {1: grad.conv1d_weight, 2: grad.conv2d_weight, 3: grad.conv3d_weight}[naxes]

    def run(kind, **more):
        return function(noise(x_shape, kind), size, noise(g_shape, kind), **keywords, **more)

    def expected(kind):
        x, g = noise(x_shape, kind), noise(g_shape, kind)
        value = oracle.weight_gradient(x, size, g, **keywords)
        magnitude = oracle.weight_gradient(np.abs(x), size, np.abs(g), **keywords)
        terms = g_shape[0] * math.prod(g_shape[2:])
        bound = oracle.rounding(terms, magnitude, value, kind)
        return oracle.Expected(value, bound if direct else bound + 100 * bound.max())

    return Case(run, expected)


def _linear(rows, inputs, outputs, *, backward=False):
    """A fully connected layer, or its two gradients that are products, one after the other."""

    def run(kind, num_threads=None):
        layer = nn.Linear(inputs, outputs, bias=False, dtype=kind)
        layer.weight.data = noise((outputs, inputs), kind)
        x, g = noise((rows, inputs), kind), noise((rows, outputs), kind)
        with cyconv.num_threads(num_threads or cyconv.get_num_threads()):
            y = layer(x)
            return np.concatenate([layer.backward(g), layer.weight.grad]) if backward else y

    def expected(kind):
        def result(x, w, g):
            return np.concatenate([g @ w, g.T @ x]) if backward else x @ w.T

        arrays = [oracle.wide(noise(shape, kind)) for shape in ((rows, inputs), (outputs, inputs), (rows, outputs))]
        value, magnitude = result(*arrays), result(*map(np.abs, arrays))
        return oracle.Expected(value, oracle.rounding(max(rows, inputs, outputs), magnitude, value, kind))

    return Case(run, expected, ("float32", "float64"))


def _pool_gradient(x_shape, kernel, *, maximum, **keywords):
    shape, size = x_shape, x_shape[2:]
    axes = oracle_pool.axis_windows(noise(shape), kernel, **keywords)
    g_shape = (*shape[:2], *map(len, axes))
    indices = oracle_pool.max_pool(noise(shape), kernel, **keywords)[1]

    def run(kind, **more):
        if maximum:
            return grad.max_pool2d(noise(g_shape, kind), indices, shape, **more)
        return grad.avg_pool2d(noise(g_shape, kind), shape, kernel, **keywords, **more)

    def gradient(g):
        return oracle_pool.max_gradient(g, indices, size) if maximum else oracle_pool.average_gradient(g, size, axes)

    def expected(kind):
        g = noise(g_shape, kind)
        value, magnitude = gradient(g), gradient(np.abs(g))
        return oracle.Expected(value, oracle.rounding(math.prod(g_shape[2:]), magnitude, value, kind))

    return Case(run, expected)


def _signal(x_shape, w_shape, mode="full", boundary="fill"):
    """SciPy's function on the same dtype: integers wrap around as its do, so they agree exactly."""

    def run(kind, **more):
        return signal.correlate2d(_image(x_shape, kind), _image(w_shape, kind), mode, boundary, **more)

    def expected(kind):
        x, w = _image(x_shape, kind), _image(w_shape, kind)
        if np.dtype(kind).kind in "iu":
            value = scipy.signal.correlate2d(x, w, mode, boundary)
            return oracle.Expected(oracle.wide(value), np.zeros(value.shape))
        value, magnitude = (scipy.signal.correlate2d(f(x), f(w), mode, boundary) for f in (np.float64, _moduli))
        return oracle.Expected(value, oracle.rounding(w.size, magnitude, value, kind))

    return Case(run, expected, ("float32", "float64", *INTEGER_TYPES))


def _moduli(x):
    return np.abs(x.astype(np.float64))


def _image(shape, kind):
    x = 40 * noise(shape)
    return np.abs(x).astype(kind) if np.dtype(kind).kind == "u" else x.astype(kind)


def _max_pool(shape, kernel, *, layout="NCHW", return_indices=False, **keywords):
    def run(kind, **more):
        x = _image(shape, kind)
        x = channels_last(x, 2) if layout == "NHWC" else x
        y = cyconv.max_pool2d(x, kernel, layout=layout, return_indices=return_indices, **keywords, **more)
        return y[1] if return_indices else y

    def expected(kind):
        y = oracle_pool.max_pool(_image(shape, kind), kernel, **keywords)[int(return_indices)]
        y = oracle.in_layout(y, 4, 2, layout)
        return oracle.Expected(oracle.wide(y), np.zeros(y.shape))

    return Case(run, expected, (*FLOAT_TYPES, *INTEGER_TYPES))


def _avg_pool(shape, kernel, *, layout="NCHW", **keywords):
    def run(kind, **more):
        x = _image(shape, kind)
        x = channels_last(x, 2) if layout == "NHWC" else x
        return cyconv.avg_pool2d(x, kernel, layout=layout, **keywords, **more)

    def expected(kind):
        x = _image(shape, kind)
        y = oracle_pool.avg_pool(x, kernel, **keywords)
        bound = oracle_pool.avg_pool_bound(x, kernel, kind, **keywords)
        return oracle.Expected(oracle.in_layout(y, 4, 2, layout), oracle.in_layout(bound, 4, 2, layout))

    return Case(run, expected)


CASES = {
    "dense": _conv((2, 19, 13, 15), (37, 19, 3, 3), padding=1),
    "dense_strided": _conv((1, 16, 15, 17), (13, 16, 3, 3), stride=2, padding=1),
    "dense_dilated": _conv((1, 8, 15, 17), (24, 8, 3, 3), dilation=2, padding=((1, 2), (3, 0))),
    "dense_nhwc": _conv((2, 19, 13, 15), (37, 19, 3, 3), padding=1, layout="NHWC"),
    "dense_long": _conv((1, 600, 3, 4), (14, 600, 1, 1)),
    "dense_activated": _conv((1, 6, 9, 9), (20, 6, 3, 3), padding=1, activation="silu"),
    "pointwise": _conv((2, 65, 7, 7), (49, 65, 1, 1)),
    "pointwise_strided": _conv((1, 33, 14, 14), (26, 33, 1, 1), stride=2),
    "first_layer": _conv((1, 3, 33, 35), (64, 3, 7, 7), stride=2, padding=3),
    "reflect": _conv((1, 5, 12, 13), (16, 5, 5, 5), padding=2, padding_mode="reflect"),
    "few_channels": _conv((1, 2, 20, 37), (3, 2, 3, 3), padding=1),
    "plain_image": _conv((1, 1, 40, 57), (1, 1, 5, 5), padding=2),
    "plain_image_strided": _conv((1, 1, 40, 57), (1, 1, 7, 7), stride=2),
    "grouped": _conv((2, 12, 14, 15), (24, 3, 3, 3), groups=4, padding=1),
    "grouped_nhwc": _conv((2, 12, 14, 15), (24, 3, 3, 3), groups=4, padding=1, layout="NHWC"),
    "depthwise": _conv((2, 18, 14, 35), (18, 1, 3, 3), groups=18, padding=1),
    "depthwise_strided": _conv((1, 18, 15, 35), (18, 1, 5, 5), groups=18, stride=2, padding=2),
    "depthwise_multiplier": _conv((1, 6, 15, 35), (18, 1, 4, 2), groups=6, dilation=2),
    "depthwise_nhwc": _conv((2, 18, 14, 35), (18, 1, 3, 3), groups=18, padding=1, layout="NHWC"),
    "multiplier_nhwc": _conv((1, 2, 20, 61), (4, 1, 3, 3), groups=2, padding=1, layout="NHWC"),
    "one_axis": _conv((2, 7, 61), (17, 7, 5), naxes=1, padding=2),
    "three_axes": _conv((1, 5, 6, 7, 9), (14, 5, 3, 3, 2), naxes=3, padding=1),
    "three_axes_depthwise": _conv((1, 5, 6, 7, 19), (5, 1, 3, 3, 3), naxes=3, groups=5),
    "transposed": _conv((1, 9, 6, 7), (9, 17, 3, 3), transposed=True, stride=2, padding=1, output_padding=1),
    "transposed_grouped": _conv((1, 8, 6, 7), (8, 3, 4, 4), transposed=True, stride=2, padding=1, groups=4),
    "transposed_depthwise": _conv((1, 8, 6, 17), (8, 1, 3, 3), transposed=True, groups=8),
    "transposed_one_axis": _conv((1, 8, 23), (8, 6, 4), naxes=1, transposed=True, stride=3),
    "winograd": _conv((1, 17, 20, 23), (19, 17, 3, 3), padding=1, algorithm="winograd"),
    "winograd_nhwc": _conv((1, 17, 20, 23), (19, 17, 3, 3), padding=1, algorithm="winograd", layout="NHWC"),
    "fft": _conv((1, 2, 40, 41), (3, 2, 15, 17), algorithm="fft"),
    "weight_gradient": _weight_gradient((2, 9, 13, 15), (14, 9, 3, 3), (2, 14, 13, 15), padding=1),
    "weight_gradient_strided": _weight_gradient(
        (2, 6, 13, 16), (8, 3, 3, 2), (2, 8, 7, 8), stride=2, padding=(1, 0), groups=2
    ),
    "weight_gradient_rows": _weight_gradient(
        (2, 32, 13, 15), (14, 16, 3, 3), (2, 14, 7, 8), padding=1, stride=2, groups=2
    ),
    "weight_gradient_winograd": _weight_gradient(
        (3, 37, 17, 22), (42, 37, 3, 3), (3, 42, 17, 22), padding=1, direct=False
    ),
    "weight_gradient_cells": _weight_gradient((5, 9, 7, 9), (17, 9, 1, 1), (5, 17, 7, 9)),
    "weight_gradient_cells_turned": _weight_gradient((5, 34, 11, 13), (6, 17, 1, 1), (5, 6, 11, 13), groups=2),
    "weight_gradient_cells_strided": _weight_gradient((2, 19, 13, 33), (21, 19, 1, 1), (2, 21, 7, 17), stride=2),
    "weight_gradient_depthwise": _weight_gradient((1, 7, 9, 21), (7, 1, 3, 3), (1, 7, 5, 17), dilation=2, groups=7),
    "weight_gradient_one_axis": _weight_gradient((3, 5, 40), (6, 5, 7), (3, 6, 34), naxes=1),
    "linear": _linear(5, 300, 37),
    "linear_rows": _linear(70, 40, 50),
    "linear_gradient": _linear(13, 117, 70, backward=True),
    "linear_gradient_rows": _linear(300, 9, 7, backward=True),
    "max_pool_gradient": _pool_gradient((2, 3, 17, 37), 3, maximum=True, stride=2, padding=1),
    "avg_pool_gradient": _pool_gradient((2, 3, 17, 37), 3, maximum=False, stride=2, padding=1),
    "signal": _signal((23, 37), (4, 5)),
    "signal_small": _signal((3, 3), (2, 2), "valid"),
    "signal_wrapped": _signal((30, 70), (9, 3), "same", "wrap"),
    "signal_mirrored": _signal((40, 21), (3, 11), "full", "symm"),
    "max_pool": _max_pool((2, 3, 17, 37), 3, stride=2, padding=1),
    "max_pool_2x2": _max_pool((2, 3, 16, 38), 2),
    "max_pool_wide": _max_pool((1, 2, 19, 40), (7, 13), stride=1, padding=(3, 6)),
    "max_pool_dilated": _max_pool((1, 2, 19, 40), 3, stride=1, dilation=2, ceil_mode=True),
    "max_pool_nhwc": _max_pool((2, 19, 9, 11), 3, stride=2, padding=1, layout="NHWC"),
    "max_pool_indices": _max_pool((2, 3, 17, 37), 3, stride=2, padding=1, return_indices=True),
    "max_pool_indices_nhwc": _max_pool((2, 19, 9, 11), 3, stride=2, return_indices=True, layout="NHWC"),
    "avg_pool": _avg_pool((2, 3, 17, 37), 3, stride=2, padding=1),
    "avg_pool_2x2": _avg_pool((2, 3, 16, 38), 2),
    "avg_pool_wide": _avg_pool((1, 2, 19, 40), (7, 13), stride=1, padding=(3, 6), count_include_pad=False),
    "avg_pool_nhwc": _avg_pool((2, 19, 9, 11), 3, stride=2, padding=1, layout="NHWC"),
}

# A version without an algorithm has no cases of it.
CASES = {name: case for name, case in CASES.items() if name.split("_")[0] not in {"winograd", "fft"} - {*ALGORITHMS}}
CALLS = [(name, kind) for name, case in CASES.items() for kind in case.kinds]
