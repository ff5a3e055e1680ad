"""What the results must be: slow references in float64, and the error that rounding may leave.

Everything here works on arrays in the order (N, C, *spatial) of any number of spatial axes;
`canonical` and `in_layout` translate the other ranks and layouts.  Convolution is a sum of
`scipy.signal.correlate2d`, stride and dilation are slices of it, so that no cell is multiplied
with a zero that the definition does not have, and NaN and infinity go where they belong.

The bound.  y = b + sum of n products x_i w_i, summed in any order, with or without fused
multiply-add: every product is rounded at most once and passes through at most n additions, so
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1)

    |computed - exact| <= gamma(n + 1) * (|b| + sum |x_i| |w_i|),   gamma(m) = m u / (1 - m u)

with u the unit roundoff of the type that computes.  The reference is itself rounded, in float64,
and the result may be rounded once more, to a narrower type; both are added.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import scipy.signal

_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_COMPUTE = {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64"}


class Expected(NamedTuple):
    """The reference value of a result and how far a correct implementation may be from it."""

    value: np.ndarray
    bound: np.ndarray


# ---------------------------------------------------------------- arguments


def per_axis(value, naxes):
    """One int per spatial axis."""
    return (int(value),) * naxes if np.ndim(value) == 0 else tuple(int(v) for v in value)


def pads(padding, size, kernel, stride, dilation):
    """`padding` in any of its forms as one (before, after) pair per spatial axis."""
    naxes = len(size)
    if padding == "valid":
        return ((0, 0),) * naxes
    if isinstance(padding, str):
        pairs = []
        for h, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            total = max((math.ceil(h / s) - 1) * s + d * (k - 1) + 1 - h, 0)
            small, large = total // 2, total - total // 2
            pairs.append((large, small) if padding == "same_lower" else (small, large))
        return tuple(pairs)
    if np.ndim(padding) == 0:
        return ((int(padding),) * 2,) * naxes
    if naxes == 1 and len(padding) == 2:  # one axis: a pair is a pair
        return (tuple(padding),)
    return tuple((int(p), int(p)) if np.ndim(p) == 0 else tuple(p) for p in padding)


def canonical(x, naxes, layout="NCHW"):
    """A view of `x` in the order (N, C, *spatial), whatever its rank and layout."""
    x = np.asarray(x)
    if x.ndim > naxes and layout in ("NWC", "NHWC", "NDHWC"):
        x = np.moveaxis(x, -1, x.ndim - naxes - 1)
    return x.reshape((1,) * (naxes + 2 - x.ndim) + x.shape)


def in_layout(y, rank, naxes, layout="NCHW"):
    """The result (N, K, *spatial) in the rank and the layout of the caller."""
    y = y.reshape(y.shape[naxes + 2 - rank :])
    if rank > naxes and layout in ("NWC", "NHWC", "NDHWC"):
        y = np.moveaxis(y, rank - naxes - 1, -1)
    return y


def wide(x):
    """The same values in a type that the references compute in: int64, complex128 or float64."""
    x = np.asarray(x)
    if x.dtype.kind in "biu":
        return x.astype(np.int64)
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


# ---------------------------------------------------------------- rounding


def unit_roundoff(dtype):
    """Half the distance from 1 to the next larger number of `dtype`."""
    if np.dtype(dtype).name == "bfloat16":
        return 2.0**-8
    return float(np.finfo(dtype).eps) / 2


def gamma(n, u):
    """Higham's gamma: the relative error that n roundings can add up to."""
    if n * u >= 1:
        raise ValueError("a bound for so many terms says nothing")
    return n * u / (1 - n * u)


def rounding(terms, magnitude, value, dtype):
    """The bound of the head of this file for a sum of `terms` products with sum of moduli `magnitude`."""
    compute = _COMPUTE[np.dtype(dtype).name]
    bound = (gamma(terms + 1, unit_roundoff(compute)) + gamma(terms + 1, 2.0**-53)) * magnitude
    bound = bound + (terms + 1) * float(np.finfo(compute).tiny)  # products may underflow, gradually or not
    if np.dtype(dtype).name != compute:
        tiniest = 2.0**-133 if np.dtype(dtype).name == "bfloat16" else 2.0**-24
        bound = bound + unit_roundoff(dtype) * (np.abs(value) + bound) + tiniest
    return bound


def fft_bound(x, weight, dtype):
    """How far a convolution through the Fourier transform may be from the exact one, in any cell.

    An FFT of L points has a relative error in the 2-norm of at most log2(L) * gamma(6)
    (Higham, theorem 24.2); two transforms, the product and the transform back make three of them
    and one rounding more, against the 2-norms of what is transformed, channel by channel.
    """
    length = 2 * x[0, 0].size + 2 * weight[0, 0].size
    u = unit_roundoff(_COMPUTE[np.dtype(dtype).name])
    norms = np.linalg.norm(wide(x).reshape(*x.shape[:2], -1), axis=-1).max()
    norms = norms * np.linalg.norm(wide(weight).reshape(*weight.shape[:2], -1), axis=-1).sum(axis=1).max()
    return (3 * math.log2(length) * gamma(6, u) + weight.shape[1] * u) * norms


def assert_close(actual, expected, *, dtype=None):
    """`actual` lies within the bound of `expected`, cell by cell, and is NaN and infinite where that is."""
    value, bound = expected
    assert type(actual) is np.ndarray
    assert actual.shape == value.shape, f"shape {actual.shape}, expected {value.shape}"
    if dtype is not None:
        assert actual.dtype == dtype, f"dtype {actual.dtype}, expected {np.dtype(dtype)}"
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = value.astype(actual.dtype).astype(value.dtype)
    actual = wide(actual).astype(value.dtype)
    special = ~np.isfinite(rounded)
    same = (actual == rounded) | (np.isnan(actual) & np.isnan(rounded))
    assert same[special].all(), f"{np.sum(~same & special)} cells should be NaN or infinite and are not"
    assert np.isfinite(actual[~special]).all(), "NaN or infinity where the definition has none"
    with np.errstate(invalid="ignore"):
        excess = np.where(special, 0.0, np.abs(actual - value) - bound)
    if excess.size and excess.max() > 0:
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        allowed = np.broadcast_to(bound, value.shape)[worst]
        raise AssertionError(
            f"{np.sum(excess > 0)} of {excess.size} cells off; worst at {tuple(map(int, worst))}: got "
            f"{actual[worst]!r}, expected {value[worst]!r} within {allowed:.3g}"
        )


def relative_l2(actual, value):
    """The error of `actual` in the 2-norm, relative to the reference."""
    return float(np.linalg.norm(wide(actual) - value) / np.linalg.norm(value))


# ---------------------------------------------------------------- convolution


def _correlate_planes(x, w):
    """Correlation of (C, *spatial) with (C, *kernel) over the valid region, stride and dilation 1."""
    if x.ndim == 2:
        return _correlate_planes(x[:, None], w[:, None])[0]
    if x.ndim == 3:
        return sum(scipy.signal.correlate2d(a, b, mode="valid") for a, b in zip(x, w, strict=True))
    # Depth: all planes of a channel below each other in one picture, and of its result those rows whose
    # kernel does not reach over into the next plane.
    c, d, h, width = x.shape
    taps, r = w.shape[1:3]
    rows = h * np.arange(d)[:, None] + np.arange(h - r + 1)
    high = x.reshape(c, d * h, width)
    return sum(_correlate_planes(high, w[:, t])[rows[t : d - taps + 1 + t]] for t in range(taps))


def _correlate_valid(x, w, stride, dilation):
    """The same with stride and dilation: phases of the input, then slices of the output."""
    size = [h - d * (k - 1) for h, k, d in zip(x.shape[1:], w.shape[1:], dilation, strict=True)]
    y = np.zeros(size, np.result_type(x, w))
    if len(x):
        for phase in itertools.product(*(range(min(d, o)) for d, o in zip(dilation, size, strict=True))):
            cells = tuple(slice(p, None, d) for p, d in zip(phase, dilation, strict=True))
            y[cells] = _correlate_planes(x[(slice(None), *cells)], w)
    return y[tuple(slice(None, None, s) for s in stride)]


def correlate(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    """Cross-correlation as deep learning has it: y[n, k] = b[k] + sum over c of x[n, c] (*) w[k, c].

    `x` is (N, C, *spatial), `weight` (K, C // groups, *kernel); integers are added up exactly.
    """
    x, weight = wide(x), wide(weight)
    naxes = x.ndim - 2
    stride, dilation = per_axis(stride, naxes), per_axis(dilation, naxes)
    around = pads(padding, x.shape[2:], weight.shape[2:], stride, dilation)
    x = np.pad(x, ((0, 0), (0, 0), *around), mode=_PAD_MODES[padding_mode])
    size = [
        (h - d * (k - 1) - 1) // s + 1
        for h, k, s, d in zip(x.shape[2:], weight.shape[2:], stride, dilation, strict=True)
    ]
    y = np.zeros((len(x), len(weight), *size), np.result_type(x, weight))
    c, k = weight.shape[1], len(weight) // groups
    with np.errstate(invalid="ignore", over="ignore"):
        for n, out in itertools.product(range(len(x)), range(len(weight))):
            first = out // k * c
            y[n, out] = _correlate_valid(x[n, first : first + c], weight[out], stride, dilation)
        return y if bias is None else y + _per_channel(bias, naxes)


def _per_channel(bias, naxes):
    return wide(bias).reshape((-1,) + (1,) * naxes) if np.ndim(bias) else wide(bias)


def correlate_transposed(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Transposed convolution by its definition: every input cell adds its multiple of the kernel.

    y[n, k, i * stride + t * dilation - before] += x[n, c, i] * w[c, k, t]; `weight` is
    (C, K // groups, *kernel).
    """
    x, weight = wide(x), wide(weight)
    naxes = x.ndim - 2
    stride, dilation = per_axis(stride, naxes), per_axis(dilation, naxes)
    extra = per_axis(output_padding, naxes)
    kernel = weight.shape[2:]
    around = pads(padding, x.shape[2:], kernel, stride, dilation)
    axes = zip(x.shape[2:], kernel, stride, dilation, strict=True)
    full = [(h - 1) * s + d * (k - 1) + 1 for h, k, s, d in axes]
    each = x.shape[1] // groups
    grouped = x.reshape(len(x), groups, each, *x.shape[2:])
    w = weight.reshape(groups, each, *weight.shape[1:])
    y = np.zeros(
        (len(x), groups, weight.shape[1], *(f + max(e, 0) for f, e in zip(full, extra, strict=True))),
        np.result_type(x, weight),
    )
    with np.errstate(invalid="ignore", over="ignore"):
        for tap in itertools.product(*map(range, kernel)):
            cells = tuple(
                slice(d * t, d * t + (h - 1) * s + 1, s)
                for d, t, h, s in zip(dilation, tap, x.shape[2:], stride, strict=True)
            )
            y[(..., *cells)] += np.einsum("ngc...,gck->ngk...", grouped, w[(..., *tap)])
        crop = tuple(slice(p0, f + e - p1) for (p0, p1), f, e in zip(around, full, extra, strict=True))
        y = y.reshape(len(x), groups * weight.shape[1], *y.shape[3:])[(..., *crop)]
        return y if bias is None else y + _per_channel(bias, naxes)


def weight_gradient(x, size, grad, *, stride=1, padding=0, dilation=1, groups=1):
    """What the weight's gradient sums up: dw[k, c, t] = sum over n, o of g[n, k, o] x[n, c, o s + t d - p]."""
    x, grad = wide(x), wide(grad)
    naxes = x.ndim - 2
    stride, dilation = per_axis(stride, naxes), per_axis(dilation, naxes)
    x = np.pad(x, ((0, 0), (0, 0), *pads(padding, x.shape[2:], size[2:], stride, dilation)))
    positions = math.prod(grad.shape[2:])
    g = grad.reshape(len(grad), groups, size[0] // groups, positions)
    dw = np.zeros((groups, size[0] // groups, *size[1:]), np.result_type(x, grad))
    for tap in np.ndindex(*size[2:]):
        axes = zip(tap, dilation, stride, grad.shape[2:], strict=True)
        cells = x[(..., *(slice(d * t, d * t + (o - 1) * s + 1, s) for t, d, s, o in axes))]
        cells = cells.reshape(len(x), groups, size[1], positions)
        dw[(..., *tap)] = np.einsum("ngkp,ngcp->gkc", g, cells)
    return dw.reshape(size)


def activate(v, activation):
    """The activation of a float64 array, and how much it can stretch an error of its argument."""
    match activation:
        case None:
            return v, 1.0
        case "relu":
            return np.maximum(v, 0), 1.0
        case "relu6":
            return np.clip(v, 0, 6), 1.0
        case "silu":
            with np.errstate(over="ignore", invalid="ignore"):
                return np.where(v == -np.inf, np.nan, v / (1 + np.exp(-v))), 1.1  # the steepest slope is 1.0998
        case ("clip", lo, hi):
            return np.clip(v, lo, hi), 1.0
        case ("leaky_relu", slope):
            return np.where(v < 0, slope * v, v), max(1.0, abs(slope))
    raise ValueError(activation)


def convolution(
    x, weight, bias=None, *, naxes=2, layout="NCHW", activation=None, dtype=None, transposed=False, **geometry
):
    """`Expected` of a public convolution: any rank and layout in, the same out, with the derived bound.

    `dtype` is that of the result; without it the one that `x` and `weight` promote to.
    """
    x, weight = np.asarray(x), np.asarray(weight)
    rank = x.ndim
    dtype = np.dtype(np.result_type(x, weight) if dtype is None else dtype)
    weight = weight.reshape((1,) * (naxes + 2 - weight.ndim) + weight.shape)
    run = correlate_transposed if transposed else correlate
    x = canonical(x, naxes, layout)
    value = run(x, weight, bias, **geometry)
    moduli = (a if a is None else np.abs(wide(a)) for a in (x, weight, bias))
    magnitude = run(*moduli, **geometry)
    terms = x.shape[1] // geometry.get("groups", 1) * math.prod(weight.shape[2:])
    bound = rounding(terms + 1, magnitude, value, dtype)  # the bias is one term more
    value, stretch = activate(value, activation)
    if activation is not None:  # its own arithmetic: an exponential and a quotient, a few roundings each
        bound = stretch * bound + 8 * unit_roundoff(_COMPUTE[dtype.name]) * np.abs(value)
    return Expected(in_layout(value, rank, naxes, layout), in_layout(bound, rank, naxes, layout))
