"""Lp norms over windows: sums of powers by the pooling kernel, scaled where those leave the range of floats."""

from __future__ import annotations

from itertools import product
from math import inf, prod

import numpy as np

from cyconv._arrays import Array, Dtype
from cyconv._plans.pooling import MAX, SUM
from cyconv._pooling import Axes, compute_dtype, pool_into, slabs
from cyconv._storage import computed, stored

_FLOAT64 = np.dtype(np.float64)


def lp_into(out: Array, x: Array, axes: Axes, power: float, threads: int) -> None:
    """Norms of the windows of x into out, both seen as (N, C, *spatial)."""
    if out.size == 0:
        return
    with np.errstate(all="ignore"):
        for part in slabs(x):
            dtype = compute_dtype(x.dtype)
            with computed(x[part], dtype, threads) as cells, stored(out[part], dtype, threads) as norms:
                norms[...] = _norms(np.abs(cells), axes, power, threads)


def _empty(moduli: Array, axes: Axes, dtype: Dtype) -> Array:
    """An array for one number per window, its channels last in memory where those of the input are."""
    n, c = moduli.shape[:2]
    outs = [axis.out for axis in axes]
    if moduli.strides[1] < moduli.strides[-1]:
        return np.moveaxis(np.empty((n, *outs, c), dtype), -1, 1)
    return np.empty((n, c, *outs), dtype)


def _largest(moduli: Array, axes: Axes, threads: int) -> Array:
    y = _empty(moduli, axes, moduli.dtype)
    pool_into(y, moduli, axes, MAX, threads)
    return np.maximum(y, 0, out=y)  # a window in the padding has no cell, and the norm 0


def _norms(moduli: Array, axes: Axes, power: float, threads: int) -> Array:
    if power == inf:
        return _largest(moduli, axes, threads)
    if power == 1:
        powers = moduli
    elif power == 2:
        powers = moduli * moduli
    else:
        powers = np.power(moduli, power, dtype=_FLOAT64)
    sums = _empty(moduli, axes, powers.dtype)
    pool_into(sums, powers, axes, SUM, threads, divisor=1.0)
    # Below the lower limit powers may have lost digits to underflow, above the upper one they are not there.
    limits = np.finfo(sums.dtype)
    doubtful = ~((sums >= limits.tiny / limits.eps) & (sums <= limits.max))
    norms = sums if power == 1 else np.sqrt(sums) if power == 2 else sums ** (1 / power)
    if doubtful.any():
        largest = _largest(moduli, axes, threads)
        norms[doubtful] = largest[doubtful]  # right for windows of zeros, and where infinity or NaN is
        doubtful &= (largest > 0) & (largest < inf)
        if doubtful.any():
            norms[doubtful] = _scaled_norms(moduli, axes, power, doubtful, largest[doubtful].astype(_FLOAT64))
    return norms


def _scaled_norms(moduli: Array, axes: Axes, power: float, chosen: Array, scale: Array) -> Array:
    """Norms of some windows, each scaled by its largest cell; over windows or over their cells, whatever is fewer."""
    n, c, *outs = np.nonzero(chosen)
    windows = [axis.windows()[o, :2] for axis, o in zip(axes, outs, strict=True)]
    steps = [axis.dilation for axis in axes]
    most = [int(found[:, 1].max()) for found in windows]
    total = np.zeros(len(n))
    if len(n) < prod(most):
        for i in range(len(n)):
            cells = tuple(
                slice(first, first + (count - 1) * step + 1, step)
                for (first, count), step in zip((found[i].tolist() for found in windows), steps, strict=True)
            )
            total[i] = np.sum((moduli[n[i], c[i]][cells].astype(_FLOAT64) / scale[i]) ** power)
    else:
        for taps in product(*map(range, most)):
            inside = np.logical_and.reduce([t < found[:, 1] for t, found in zip(taps, windows, strict=True)])
            places = [
                np.where(inside, found[:, 0] + t * step, 0)
                for t, found, step in zip(taps, windows, steps, strict=True)
            ]
            cells = moduli[(n, c, *places)].astype(_FLOAT64)
            total += np.where(inside, cells / scale, 0) ** power
    return scale * total ** (1 / power)
