"""Hypothesis strategies: shapes next to the widths that the kernels work in, arrays in every form."""

from typing import NamedTuple

import numpy as np
from calls import DISGUISES, channels_last, dtype
from hypothesis import strategies as st

# Vectors hold 4, 8 or 16 floats; tiles are 12 rows by 2 or 3 vectors; blocks are multiples of these.
WIDTHS = sorted({max(1, w + d) for w in (4, 8, 16, 32, 48, 64) for d in (-1, 0, 1)})
ROWS = sorted({max(1, r + d) for r in (1, 4, 6, 12, 24) for d in (-1, 0, 1)})


class ConvCase(NamedTuple):
    """Arrays and keywords of one convolution."""

    naxes: int
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    keywords: dict


@st.composite
def axis_geometry(draw, widths):
    """Size, kernel, stride, (before, after), dilation of one axis; kernels may exceed images."""
    kernel, stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pair = (draw(st.integers(0, 4)), draw(st.integers(0, 4)))
    reach = dilation * (kernel - 1) + 1
    out, extra = draw(st.sampled_from(widths)), draw(st.integers(0, stride - 1))
    size = max(1, reach - sum(pair), (out - 1) * stride + reach + extra - sum(pair))
    return size, kernel, stride, pair, dilation


def values(draw, shape, kind, *, whole):
    """An array of drawn seed, in a drawn disguise."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-3, 4, shape) if whole else rng.standard_normal(shape)
    names = [d for d in DISGUISES if not (kind == "bfloat16" and d.endswith("endian"))]
    return DISGUISES[draw(st.sampled_from(names))](x.astype(dtype(kind)))


@st.composite
def conv_cases(draw, *, naxes=2, kinds=("float32", "float64"), whole=False):
    """Convolutions of any geometry with sizes near the widths of vectors and tiles."""
    # Only the last axis grows to tile widths, so that the oracle stays quick.
    axes = [draw(axis_geometry(WIDTHS if a == naxes - 1 else (1, 2, 3, 5))) for a in range(naxes)]
    size, kernel, stride, padding, dilation = map(tuple, zip(*axes, strict=True))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c = groups * draw(st.integers(1, 4))
    k = groups * draw(st.sampled_from(ROWS if naxes < 3 else (1, 5, 7, 13)))
    n = draw(st.integers(1, 2))
    kind = draw(st.sampled_from(kinds))
    layout = draw(st.sampled_from(["NCHW", "NHWC"]))
    shape = (n, c, *size) if layout == "NCHW" else (n, *size, c)
    x = values(draw, shape, kind, whole=whole)
    weight = values(draw, (k, c // groups, *kernel), kind, whole=whole)
    bias = values(draw, (k,), kind, whole=whole) if draw(st.booleans()) else None
    keywords = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "layout": layout,
    }
    return ConvCase(naxes, x, weight, bias, keywords)


@st.composite
def depthwise_cases(draw, *, kinds=("float32", "float64"), whole=False):
    """Depthwise convolutions with 1 to 3 output channels for each input channel."""
    axes = [draw(axis_geometry(WIDTHS if a == 1 else (1, 2, 3, 7, 12, 13))) for a in range(2)]
    size, kernel, stride, padding, dilation = map(tuple, zip(*axes, strict=True))
    c = draw(st.sampled_from([1, 2, 7, 8, 9, 16, 17]))
    k = c * draw(st.integers(1, 3))
    layout = draw(st.sampled_from(["NCHW", "NHWC"]))
    kind = draw(st.sampled_from(kinds))
    x = values(draw, (1, c, *size), kind, whole=whole)
    x = x if layout == "NCHW" else channels_last(x, 2)
    weight = values(draw, (k, 1, *kernel), kind, whole=whole)
    keywords = {"stride": stride, "padding": padding, "dilation": dilation, "groups": c, "layout": layout}
    return ConvCase(2, x, weight, None, keywords)


@st.composite
def transposed_cases(draw, *, naxes=2, kinds=("float32", "float64"), whole=False):
    """Transposed convolutions whose result is not empty."""
    axes = []
    for a in range(naxes):
        size = draw(st.sampled_from([w for w in WIDTHS if w < 20] if a == naxes - 1 else (1, 2, 3)))
        kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
        extra = draw(st.integers(0, max(stride, dilation) - 1))
        full = (size - 1) * stride + dilation * (kernel - 1) + 1 + extra
        padding = draw(st.integers(0, min((full - 1) // 2, dilation * (kernel - 1))))
        axes.append((size, kernel, stride, padding, dilation, extra))
    size, kernel, stride, padding, dilation, extra = map(tuple, zip(*axes, strict=True))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, k = groups * draw(st.integers(1, 4)), draw(st.sampled_from(ROWS))
    kind = draw(st.sampled_from(kinds))
    layout = draw(st.sampled_from(["NCHW", "NHWC"]))
    n = draw(st.integers(1, 2))
    shape = (n, c, *size) if layout == "NCHW" else (n, *size, c)
    keywords = {
        "stride": stride, "padding": padding, "dilation": dilation,
        "output_padding": extra, "groups": groups, "layout": layout,
    }  # fmt: skip
    x = values(draw, shape, kind, whole=whole)
    weight = values(draw, (c, k, *kernel), kind, whole=whole)
    bias = values(draw, (k * groups,), kind, whole=whole) if draw(st.booleans()) else None
    return ConvCase(naxes, x, weight, bias, keywords)
