"""Calls of the pooling functions, each judged by the oracle, and strategies that draw them."""

from typing import NamedTuple

import numpy as np
import oracle
import oracle_pool
from calls import DISGUISES, FLOATS, channels_last, dtype
from hypothesis import strategies as st

import cyconv

MAX_POOL = {1: cyconv.max_pool1d, 2: cyconv.max_pool2d, 3: cyconv.max_pool3d}
AVG_POOL = {1: cyconv.avg_pool1d, 2: cyconv.avg_pool2d, 3: cyconv.avg_pool3d}
LP_POOL = {1: cyconv.lp_pool1d, 2: cyconv.lp_pool2d, 3: cyconv.lp_pool3d}
MAX_UNPOOL = {1: cyconv.max_unpool1d, 2: cyconv.max_unpool2d, 3: cyconv.max_unpool3d}
ADAPTIVE_AVG = {1: cyconv.adaptive_avg_pool1d, 2: cyconv.adaptive_avg_pool2d, 3: cyconv.adaptive_avg_pool3d}
ADAPTIVE_MAX = {1: cyconv.adaptive_max_pool1d, 2: cyconv.adaptive_max_pool2d, 3: cyconv.adaptive_max_pool3d}
GLOBAL_AVG = {1: cyconv.global_avg_pool1d, 2: cyconv.global_avg_pool2d, 3: cyconv.global_avg_pool3d}
GLOBAL_MAX = {1: cyconv.global_max_pool1d, 2: cyconv.global_max_pool2d, 3: cyconv.global_max_pool3d}

INTEGERS = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
KINDS = [*FLOATS, *INTEGERS]


def image(shape, kind="float32", *, seed=0, special=False):
    """Few different numbers, so that there are ties; ``special``: NaN, infinities and signed zeros among them."""
    rng = np.random.default_rng((seed, *shape))
    x = rng.integers(-60, 60, shape)
    if dtype(kind).kind in "bu":
        x = abs(x)
    x = x > 30 if kind == "bool" else x.astype(dtype(kind))
    if special and dtype(kind).kind in "fV":
        for value in (np.nan, np.inf, -np.inf, -0.0, 0.0):
            x[rng.random(shape) < 0.04] = value
    return x


def disguised(kinds):
    """Every form of memory with every dtype that has it: bfloat16 has one byte order."""
    return [(d, kind) for d in DISGUISES for kind in kinds if kind != "bfloat16" or not d.endswith("endian")]


def same(actual, expected):
    """Equal, NaN included, whatever the dtypes."""
    assert actual.shape == expected.shape
    actual, expected = (a.astype(np.float64) if a.dtype.kind in "fV" else a for a in (actual, expected))
    np.testing.assert_array_equal(actual, expected)


def check_max_pool(x, kernel_size, *, layout="NCHW", naxes=2, threads=None, **keywords):
    """Values without and with indices, and indices, exactly; the input stays as it was."""
    before = x.tobytes()
    y = MAX_POOL[naxes](x, kernel_size, layout=layout, num_threads=threads, **keywords)
    again, indices = MAX_POOL[naxes](
        x, kernel_size, layout=layout, num_threads=threads, return_indices=True, **keywords
    )
    assert x.tobytes() == before, "the input was written to"
    values, places = oracle_pool.max_pool(oracle.canonical(x, naxes, layout), kernel_size, **keywords)
    values, places = (oracle.in_layout(a, x.ndim, naxes, layout) for a in (values, places))
    assert y.dtype == again.dtype == x.dtype.newbyteorder("=")
    assert indices.dtype == np.int64
    same(y, values)
    same(again, values)
    same(indices, places)


def check_avg_pool(x, kernel_size, *, layout="NCHW", naxes=2, threads=None, **keywords):
    """Averages within the bound of their rounding, NaN and infinity where they belong."""
    before = x.tobytes()
    y = AVG_POOL[naxes](x, kernel_size, layout=layout, num_threads=threads, **keywords)
    assert x.tobytes() == before, "the input was written to"
    canonical = oracle.canonical(x, naxes, layout)
    value = oracle_pool.avg_pool(canonical, kernel_size, **keywords)
    native = x.dtype.newbyteorder("=")
    bound = oracle_pool.avg_pool_bound(canonical, kernel_size, native, **keywords)
    value, bound = (oracle.in_layout(a, x.ndim, naxes, layout) for a in (value, bound))
    oracle.assert_close(y, oracle.Expected(value, bound), dtype=native)


class PoolCase(NamedTuple):
    """An image and the keywords of one pooling."""

    naxes: int
    x: np.ndarray
    kernel: tuple
    keywords: dict


# The widths of vectors of 1 to 8 bytes, and their neighbours.
SIZES = sorted({max(1, w + d) for w in (1, 4, 8, 16, 32, 64) for d in (-1, 0, 1, 2)})


@st.composite
def pool_cases(draw, *, kinds=("float32", "float64"), dilated=True):
    """Pooling of any geometry: windows larger than the image, dilated ones that see padding only, any disguise."""
    naxes = draw(st.integers(1, 3))
    axes = []
    for axis in range(naxes):
        kernel, stride = draw(st.integers(1, 9)), draw(st.integers(1, 4))
        dilation = draw(st.sampled_from([1, 1, 2, 3])) if dilated else 1
        span = dilation * (kernel - 1) + 1
        pair = (draw(st.integers(0, span - 1)), draw(st.integers(0, span - 1)))
        size = draw(st.sampled_from(SIZES if axis == naxes - 1 else [1, 2, 3, 5, 8, 13]))
        axes.append((max(size, span - sum(pair)), kernel, stride, pair, dilation))
    size, kernel, stride, padding, dilation = map(tuple, zip(*axes, strict=True))
    kind = draw(st.sampled_from(kinds))
    layout = draw(st.sampled_from(["NCHW", "NHWC"]))
    shape = (draw(st.integers(1, 2)), draw(st.sampled_from([1, 2, 3, 7, 16, 17, 33])), *size)
    x = image(shape, kind, seed=draw(st.integers(0, 1000)), special=draw(st.booleans()))
    x = channels_last(x, naxes) if layout == "NHWC" else x
    disguise, _ = draw(st.sampled_from(disguised([kind])))
    keywords = {
        "stride": stride, "padding": padding, "dilation": dilation, "layout": layout, "ceil_mode": draw(st.booleans())
    }  # fmt: skip
    return PoolCase(naxes, DISGUISES[disguise](x), kernel, keywords)
