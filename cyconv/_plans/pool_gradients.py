"""Plan of the gradients of average pooling: which windows hold a cell (``_kernels/poolgrad.pyx``)."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from cyconv import _runtime
from cyconv._plans.max_gradients import worthwhile
from cyconv._plans.pooling import PoolAxis
from cyconv._plans.table import GRADIENT_BAND_BYTES, GRADIENT_STREAM_BYTES

Array = np.ndarray[Any, np.dtype[Any]]


class Covering(NamedTuple):
    """The windows of one axis seen from the input: outputs lo, lo + step, ... below hi hold a cell."""

    lo: Array
    hi: Array
    step: int
    cells: Array
    """Cells of each window that are there."""
    extent: Array
    """Cells of each window, padding included."""


@lru_cache(maxsize=256)
def covering(axis: PoolAxis) -> Covering:
    """Tables of one axis; their time depends on the input, never on the window."""
    if axis.stride == 0:
        starts = [o * axis.size // axis.out for o in range(axis.out)]
        stops = [-(-(o + 1) * axis.size // axis.out) for o in range(axis.out)]
        at = np.arange(axis.size)
        counts = np.subtract(stops, starts)
        return Covering(
            np.searchsorted(stops, at, side="right"), np.searchsorted(starts, at, side="right"), 1, counts, counts
        )
    common = gcd(axis.dilation, axis.stride)
    step = axis.dilation // common
    lo, hi = [], []
    for cell in range(axis.before, axis.before + axis.size):
        first = max(0, -(-(cell - axis.span + 1) // axis.stride))
        last = min(axis.out, cell // axis.stride + 1)
        if cell % common:
            first = last  # no window has a tap here
        while first < last and (cell - first * axis.stride) % axis.dilation:
            first += 1
        lo.append(first)
        hi.append(last)
    cells, extent = [], []
    for o in range(axis.out):
        start = o * axis.stride
        below, inside, padded = (
            min(axis.taps, max(0, -(-(end - start) // axis.dilation)))
            for end in (axis.before, axis.before + axis.size, axis.before + axis.size + axis.after)
        )
        cells.append(inside - below)
        extent.append(padded)
    tables = np.array(lo, np.int64), np.array(hi, np.int64)
    counts = np.array([float(n) for n in cells]), np.array([float(n) for n in extent])
    return Covering(*tables, min(step, axis.out), *counts)  # a step beyond the last output is never taken


class Tables(NamedTuple):
    """What the kernel reads, all axes one after the other."""

    lo: Array
    hi: Array
    step: Array
    scale: Array
    taps: int
    stride: int
    before: int
    start: Array
    lanes: Array


@lru_cache(maxsize=64)
def _tables(
    axes: tuple[PoolAxis, ...], count_padding: bool, divisor: int | None, dtype: np.dtype[Any], taps: int, lanes: int
) -> Tables:
    """Tables for a kernel with windows of at most so many taps along w, and so many lanes."""
    found = [covering(axis) for axis in axes]
    scales = []
    for axis in found:
        counts = axis.extent if count_padding else axis.cells
        if divisor is None:
            scales.append(1 / np.maximum(counts, 1))  # a window without cells gives to none
        else:
            scales.append(np.ones(len(counts)))
    if divisor is not None:
        scales[0] /= divisor
    w = axes[2]
    # beyond these every cell adds up the windows that hold it; so do rows with many cells behind the last window
    few = w.stride > 0 and w.dilation == 1 and w.taps <= taps and w.stride < 2**40
    few = few and (w.before + w.size) // w.stride < w.out + 2 * taps
    cells = np.arange(-(-w.size // lanes) * lanes, dtype=np.int64)
    if few:
        at, tap = np.divmod(cells + w.before, w.stride)
        windows = np.where(tap < w.taps, (w.taps - 1 - tap) // w.stride + 1, 0)
    else:
        at = windows = np.zeros_like(cells)
    start = at[::lanes].copy()
    return Tables(
        np.concatenate([axis.lo for axis in found]),
        np.concatenate([axis.hi for axis in found]),
        np.array([axis.step for axis in found], np.int64),
        np.concatenate([*scales, np.zeros(lanes)]).astype(dtype),
        w.taps if few else 0,
        w.stride if few else 1,
        w.before if few else 0,
        start,
        np.stack([at - np.repeat(start, lanes), windows]).astype(f"i{dtype.itemsize}"),
    )


def spread(
    grad: Array, out: Array, axes: tuple[PoolAxis, ...], count_padding: bool, divisor: int | None, fresh: bool,
    threads: int,
) -> None:  # fmt: skip
    """Fill ``out`` from ``grad``, both C-contiguous, seen as (M, D, H, W, C) and not empty; one dtype.

    ``axes`` are those of d, h, w; ``fresh`` memory is never written past the caches.
    """
    threads = worthwhile(threads, out.size)
    kernel = _runtime.kernel("poolgrad", grad.dtype)
    length, out_length = out.shape[3] * out.shape[4], grad.shape[3] * grad.shape[4]
    band = max(1, min(out.shape[2], GRADIENT_BAND_BYTES // (length * out.itemsize)))
    work = np.zeros((threads, kernel.work_size(band, length, out_length)), grad.dtype)
    tables = _tables(axes, count_padding, divisor, grad.dtype, kernel.TAPS, kernel.LANES)
    stream = not fresh and out.nbytes >= GRADIENT_STREAM_BYTES
    kernel.spread(grad, out, *tables, work, band, stream, threads)
