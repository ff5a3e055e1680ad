"""Pooling by its definition: a plain loop over windows, in the order (N, C, *spatial).

`oracle.canonical` and `oracle.in_layout` translate the other ranks and layouts.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from oracle import pads, per_axis, rounding, wide


class Window(NamedTuple):
    """The input cells of one output cell along one axis, and how many count as present (padding included)."""

    cells: tuple[int, ...]
    extent: int


def pool_size(size, kernel, stride, pair, dilation=1, ceil_mode=False):
    """Number of windows along one axis."""
    room = size + sum(pair) - dilation * (kernel - 1) - 1
    out = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + pair[0]:
        out -= 1
    return out


def windows(size, kernel, stride, pair, dilation=1, ceil_mode=False):
    """The windows of one axis, as `Window`s."""
    result = []
    for o in range(pool_size(size, kernel, stride, pair, dilation, ceil_mode)):
        taps = [o * stride - pair[0] + dilation * t for t in range(kernel)]
        cells = tuple(i for i in taps if 0 <= i < size)
        result.append(Window(cells, sum(i < size + pair[1] for i in taps)))
    return result


def adaptive_windows(size, out):
    """The windows of adaptive pooling along one axis."""
    spans = ((i * size // out, -(-(i + 1) * size // out)) for i in range(out))
    return [Window(tuple(range(a, b)), b - a) for a, b in spans]


def axis_windows(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The windows of every spatial axis of `x`, from the arguments of the public functions."""
    naxes = x.ndim - 2
    kernel = per_axis(kernel_size, naxes)
    stride = kernel if stride is None else per_axis(stride, naxes)
    dilation = per_axis(dilation, naxes)
    pairs = pads(padding, x.shape[2:], kernel, stride, dilation)
    axes = zip(x.shape[2:], kernel, stride, pairs, dilation, strict=True)
    return [windows(h, k, s, p, d, ceil_mode) for h, k, s, p, d in axes]


def _each(x, axes):
    """Every window of `x`: its output index, its cells as (N, C, cells), their flat indices, its extent."""
    flat = np.arange(math.prod(x.shape[2:])).reshape(x.shape[2:])
    for out in itertools.product(*(range(len(axis)) for axis in axes)):
        chosen = [axis[o] for axis, o in zip(axes, out, strict=True)]
        grid = np.ix_(*(w.cells for w in chosen))
        index = flat[grid].ravel()
        yield out, x.reshape(*x.shape[:2], -1)[:, :, index], index, math.prod(w.extent for w in chosen)


def _empty(x, axes, dtype):
    return np.zeros((*x.shape[:2], *map(len, axes)), dtype)


def lowest(dtype):
    """What padding counts as in a maximum."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return False
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def max_over(x, axes):
    """Maximum and flat index of the first largest cell (the first NaN, if there is one) of every window."""
    y, indices = _empty(x, axes, x.dtype), _empty(x, axes, np.int64)
    for out, cells, index, _ in _each(x, axes):
        if not index.size:  # a dilated window that sees padding only
            y[(..., *out)], indices[(..., *out)] = lowest(x.dtype), -1
            continue
        best = np.argmax(cells, axis=2) if x.dtype.kind in "biu" else np.argmax(cells.astype(np.float64), axis=2)
        y[(..., *out)] = np.take_along_axis(cells, best[:, :, None], axis=2)[:, :, 0]
        indices[(..., *out)] = index[best]
    return y, indices


def average_over(x, axes, *, count_include_pad=True, divisor_override=None):
    """Average of every window in float64, and the average of the moduli, for the bound."""
    x = wide(x).astype(np.float64)
    y, size = _empty(x, axes, np.float64), _empty(x, axes, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        for out, cells, index, extent in _each(x, axes):
            divisor = divisor_override or (extent if count_include_pad else index.size)
            for n, c in itertools.product(*map(range, x.shape[:2])):
                y[(n, c, *out)] = _sum(cells[n, c]) / divisor
            size[(..., *out)] = np.abs(cells).sum(axis=2) / divisor
    return y, size


def _sum(cells):
    return math.fsum(cells) if np.isfinite(cells).all() else cells.sum()


def max_pool(x, kernel_size, **kw):
    """(values, indices) of max-pooling."""
    return max_over(np.asarray(x), axis_windows(x, kernel_size, **kw))


def avg_pool(x, kernel_size, *, count_include_pad=True, divisor_override=None, **kw):
    """Average pooling in float64."""
    axes = axis_windows(x, kernel_size, **kw)
    return average_over(x, axes, count_include_pad=count_include_pad, divisor_override=divisor_override)[0]


def avg_pool_bound(x, kernel_size, dtype, *, count_include_pad=True, divisor_override=None, **kw):
    """Rounding of a sum in any order and one division, for a result of `dtype`."""
    axes = axis_windows(x, kernel_size, **kw)
    y, size = average_over(x, axes, count_include_pad=count_include_pad, divisor_override=divisor_override)
    terms = max(
        (math.prod(map(len, cells)) for cells in itertools.product(*([w.cells for w in a] for a in axes))),
        default=1,
    )
    return rounding(terms + 1, size, y, dtype)


def lp_pool(x, norm_type, kernel_size, **kw):
    """(sum |x|**p) ** (1 / p) of every window in float64; the maximum of |x| for p infinite."""
    x = np.abs(wide(x).astype(np.float64))
    axes = axis_windows(x, kernel_size, **kw)
    y = _empty(x, axes, np.float64)
    for out, cells, _, _ in _each(x, axes):
        if math.isinf(norm_type):
            y[(..., *out)] = cells.max(axis=2, initial=0)
        else:
            scale = cells.max(axis=2, initial=0)  # so that no power leaves the range of float64
            safe = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
            with np.errstate(invalid="ignore", over="ignore"):
                y[(..., *out)] = safe * ((cells / safe[:, :, None]) ** norm_type).sum(axis=2) ** (1 / norm_type)
    return y


def adaptive_max_pool(x, output_size):
    """(values, indices) of adaptive max-pooling; None in `output_size` keeps the size of that axis."""
    return max_over(np.asarray(x), _adaptive_axes(x, output_size))


def adaptive_avg_pool(x, output_size):
    """Adaptive average pooling in float64."""
    return average_over(x, _adaptive_axes(x, output_size))[0]


def _adaptive_axes(x, output_size):
    naxes = x.ndim - 2
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * naxes
    return [adaptive_windows(h, h if o is None else o) for h, o in zip(x.shape[2:], sizes, strict=True)]


def global_max_pool(x):
    """The maximum of every plane, spatial axes of length 1 kept."""
    return adaptive_max_pool(x, 1)[0]


def global_avg_pool(x):
    """The average of every plane in float64, spatial axes of length 1 kept."""
    return adaptive_avg_pool(x, 1)


def max_unpool(x, indices, output_size):
    """Zeros of `output_size` with every value of `x` at its flat index."""
    y = np.zeros((*x.shape[:2], math.prod(output_size)), x.dtype)
    for n, c in itertools.product(*map(range, x.shape[:2])):
        y[n, c, indices[n, c].ravel()] = x[n, c].ravel()
    return y.reshape(*x.shape[:2], *output_size)


def average_gradient(g, size, axes, *, count_include_pad=True, divisor_override=None):
    """Gradient of an average over `axes` with respect to its input: every window shares its own out."""
    g = wide(g)
    value = np.zeros((*g.shape[:2], math.prod(size)))
    flat = np.arange(math.prod(size)).reshape(size)
    for out in itertools.product(*(range(len(axis)) for axis in axes)):
        chosen = [axis[o] for axis, o in zip(axes, out, strict=True)]
        cells = flat[np.ix_(*(w.cells for w in chosen))].ravel()
        extent = math.prod(w.extent for w in chosen)
        divisor = divisor_override or (extent if count_include_pad else cells.size)
        value[..., cells] += g[(..., *out)][..., None] / max(divisor, 1)
    return value.reshape(*g.shape[:2], *size)


def max_gradient(g, indices, size):
    """Gradient of a maximum with respect to its input: every window gives its own to the cell of its index."""
    value = np.zeros((*g.shape[:2], math.prod(size)))
    for n, c in itertools.product(*map(range, g.shape[:2])):
        np.add.at(value[n, c], indices[n, c].ravel(), wide(g)[n, c].ravel())
    return value.reshape(*g.shape[:2], *size)
