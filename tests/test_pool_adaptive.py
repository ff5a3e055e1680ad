"""Adaptive and global pooling: windows that follow from the size of the result."""

import math

import numpy as np
import oracle
import oracle_pool
import pytest
from calls import DISGUISES, FLOATS, channels_last, noise
from hypothesis import given
from hypothesis import strategies as st
from pool_cases import (
    ADAPTIVE_AVG,
    ADAPTIVE_MAX,
    GLOBAL_AVG,
    GLOBAL_MAX,
    INTEGERS,
    KINDS,
    SIZES,
    disguised,
    image,
    same,
)  # fmt: skip

import cyconv

OUTPUTS = [1, 2, 5, 7, (3, 1), (1, 18), (None, 4), (6, None), (14, 37), (20, 40), None, (3, 36)]


def check_adaptive(x, output_size, *, naxes=2, layout="NCHW", threads=None):
    """Maxima, their indices and averages of one image."""
    canonical = oracle.canonical(x, naxes, layout)
    values, places = oracle_pool.adaptive_max_pool(canonical, _sizes(canonical, output_size))
    values, places = (oracle.in_layout(a, x.ndim, naxes, layout) for a in (values, places))
    y, indices = ADAPTIVE_MAX[naxes](x, output_size, return_indices=True, layout=layout, num_threads=threads)
    same(ADAPTIVE_MAX[naxes](x, output_size, layout=layout, num_threads=threads), values)
    same(y, values)
    same(indices, places)
    assert y.dtype == x.dtype.newbyteorder("=")
    if x.dtype.kind in "biu":
        return
    outs = oracle.canonical(y, naxes, layout).shape[2:]
    axes = [oracle_pool.adaptive_windows(h, o) for h, o in zip(canonical.shape[2:], outs, strict=True)]
    value, magnitude = oracle_pool.average_over(canonical, axes)
    terms = math.prod(max(len(w.cells) for w in axis) for axis in axes)
    bound = oracle.rounding(terms + 1, magnitude, value, x.dtype.newbyteorder("="))
    value, bound = (oracle.in_layout(a, x.ndim, naxes, layout) for a in (value, bound))
    y = ADAPTIVE_AVG[naxes](x, output_size, layout=layout, num_threads=threads)
    oracle.assert_close(y, oracle.Expected(value, bound), dtype=x.dtype.newbyteorder("="))


def _sizes(canonical, output_size):
    sizes = output_size if isinstance(output_size, tuple) else (output_size,) * (canonical.ndim - 2)
    return tuple(h if o is None else o for h, o in zip(canonical.shape[2:], sizes, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("output_size", OUTPUTS, ids=str)
def test_output_sizes(output_size, layout, kind):
    x = image((1, 3, 14, 37), kind, special=True)
    check_adaptive(channels_last(x, 2) if layout == "NHWC" else x, output_size, layout=layout)


@pytest.mark.parametrize("kind", ["float32", "float64", "int16", "uint32"])
@pytest.mark.parametrize("width", [1, 2, 7, 15, 16, 17, 31, 33, 48, 63, 64, 65, 130])
def test_widths_next_to_vectors(width, kind):
    """Planes up to where the last one ends; fewer columns than there are, all but one, and more."""
    x = image((2, 5, 9, width), kind, special=True)
    for columns in {1, min(4, width), max(1, width - 1), width + 2}:
        check_adaptive(x, (4, columns))
        check_adaptive(x, (3, columns))


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("lead", [0, 1, 2])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_every_rank(naxes, lead, layout):
    x = image((2, 3)[2 - lead :] + (6, 7, 9)[-naxes:])
    x = channels_last(x, naxes) if layout == "NHWC" else x
    check_adaptive(x, 4, naxes=naxes, layout=layout)
    check_adaptive(x, 1, naxes=naxes, layout=layout)


@given(st.data())
def test_any_size(data):
    naxes = data.draw(st.integers(1, 3))
    size = [data.draw(st.sampled_from(SIZES if axis == naxes - 1 else [1, 2, 5, 12])) for axis in range(naxes)]
    output = tuple(data.draw(st.integers(1, 2 * h if h < 9 else 9)) for h in size)
    kind = data.draw(st.sampled_from(KINDS))
    layout = data.draw(st.sampled_from(["NCHW", "NHWC"]))
    x = image((data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 3, 16, 17])), *size), kind, special=True)
    x = channels_last(x, naxes) if layout == "NHWC" else x
    disguise, _ = data.draw(st.sampled_from(disguised([kind])))
    check_adaptive(DISGUISES[disguise](x), output, naxes=naxes, layout=layout, threads=data.draw(st.integers(1, 3)))


@pytest.mark.parametrize("naxes", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 13])
@pytest.mark.parametrize("kind", FLOATS)
def test_global(naxes, layout, size, kind):
    x = noise((2, 19, *(size,) * naxes), kind)
    value = oracle_pool.global_avg_pool(x)
    _, magnitude = oracle_pool.average_over(x, [oracle_pool.adaptive_windows(size, 1)] * naxes)
    bound = oracle.rounding(size**naxes + 1, magnitude, value, x.dtype)
    given = channels_last(x, naxes) if layout == "NHWC" else x
    y = GLOBAL_AVG[naxes](given, layout=layout)
    in_layout = (oracle.in_layout(a, naxes + 2, naxes, layout) for a in (value, bound))
    oracle.assert_close(y, oracle.Expected(*in_layout), dtype=x.dtype)
    largest = oracle.in_layout(oracle_pool.global_max_pool(x), naxes + 2, naxes, layout)
    same(GLOBAL_MAX[naxes](given, layout=layout), largest)


@pytest.mark.parametrize("kind", [*FLOATS, *INTEGERS])
@pytest.mark.parametrize("planes", [1, 3, 16, 33, 70])
def test_global_maximum_of_many_planes(kind, planes):
    """Planes are reduced several at a time; the last ones, and those of less than a vector, too."""
    for size in (1, 2, 3, 5, 7, 9):
        x = image((1, planes, size, size), kind, special=True)
        same(cyconv.global_max_pool2d(x), oracle_pool.global_max_pool(x))


def test_global_average_of_special_cells():
    x = noise((1, 40, 7, 7))
    x[0, 3, 2, 2], x[0, 20, 0, 0], x[0, 39, 6, 6] = np.nan, np.inf, -np.inf
    y = cyconv.global_avg_pool2d(x).ravel()
    assert np.isnan(y[3])
    assert y[20] == np.inf
    assert y[39] == -np.inf
    assert np.isfinite(np.delete(y, [3, 20, 39])).all()
    x[:] = 3e38
    np.testing.assert_allclose(cyconv.global_avg_pool2d(x), np.float32(3e38), rtol=1e-6)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", [(3, 333, 7, 7), (1, 40, 30, 31), (2, 7, 100, 90)])
def test_global_averages_do_not_depend_on_threads(shape, layout):
    x = noise(shape)
    x = channels_last(x, 2) if layout == "NHWC" else x
    results = {cyconv.global_avg_pool2d(x, layout=layout, num_threads=n).tobytes() for n in (1, 2, 3, 5, 8)}
    assert len(results) == 1
    results = {cyconv.adaptive_avg_pool2d(x, (3, 2), layout=layout, num_threads=n).tobytes() for n in (1, 2, 3, 5, 8)}
    assert len(results) == 1


@pytest.mark.parametrize("bad", [0, -1, (1,), (1, 2, 3), ()])
def test_output_sizes_that_are_none(bad):
    for function in (cyconv.adaptive_avg_pool2d, cyconv.adaptive_max_pool2d):
        with pytest.raises(ValueError, match="output_size"):
            function(np.ones((4, 4)), bad)


@pytest.mark.parametrize("bad", [1.0, True, "2", (2, 1.5), np.array([1.0, 2.0])])
def test_output_sizes_of_wrong_types(bad):
    for function in (cyconv.adaptive_avg_pool2d, cyconv.adaptive_max_pool2d):
        with pytest.raises(TypeError, match="output_size"):
            function(np.ones((4, 4)), bad)


@pytest.mark.parametrize("huge", [2**63 - 1, 2**63, 2**62, 2**40, 2**100])
@pytest.mark.parametrize("function", [cyconv.adaptive_avg_pool2d, cyconv.adaptive_max_pool2d])
def test_output_sizes_beyond_all_memory(huge, function):
    for size in (huge, (1, huge), (huge, 1)):
        with pytest.raises((ValueError, MemoryError)):
            function(np.ones((1, 1, 4, 4), np.float32), size)
    with pytest.raises((ValueError, MemoryError)):
        cyconv.adaptive_max_pool2d(np.ones((4, 4), np.float32), huge, return_indices=True)


@pytest.mark.parametrize("shape", [(1, 3, 0, 4), (1, 3, 4, 0), (0, 0)])
def test_planes_without_cells(shape):
    for function in (cyconv.global_avg_pool2d, cyconv.global_max_pool2d):
        with pytest.raises(ValueError, match=r"\bx\b"):
            function(np.ones(shape))
