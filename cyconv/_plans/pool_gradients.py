"""Plan of the gradients of average pooling, by rows or by picked cells (``_kernels/poolgrad.pyx``)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from cyconv import _runtime
from cyconv._plans.max_gradients import worthwhile
from cyconv._plans.pool_picks import pick, plan_picks
from cyconv._plans.pool_windows import covering, scales
from cyconv._plans.pooling import PoolAxis
from cyconv._plans.table import GRADIENT_BAND_BYTES, GRADIENT_STREAM_BYTES

Array = np.ndarray[Any, np.dtype[Any]]


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
        np.concatenate([*scales(axes, count_padding, divisor), np.zeros(lanes)]).astype(dtype),
        w.taps if few else 0,
        w.stride if few else 1,
        w.before if few else 0,
        start,
        np.stack([at - np.repeat(start, lanes), windows]).astype(f"i{dtype.itemsize}"),
    )


def repeat(grad: Array, out: Array, divisor: int, threads: int) -> None:
    """Fill ``out`` (M, cells, C), every cell from ``grad`` (M, C), both C-contiguous and not empty; one dtype."""
    kernel = _runtime.kernel("poolgrad", grad.dtype)
    kernel.repeat(grad, out, float(min(divisor, 2**1023)), worthwhile(threads, out.size))


def spread(
    grad: Array, out: Array, axes: tuple[PoolAxis, ...], count_padding: bool, divisor: int | None, fresh: bool,
    threads: int,
) -> None:  # fmt: skip
    """Fill ``out`` from ``grad``, both C-contiguous, seen as (M, D, H, W, C) and not empty; one dtype.

    ``axes`` are those of d, h, w; ``fresh`` memory is never written past the caches.
    """
    threads = worthwhile(threads, out.size)
    kernel = _runtime.kernel("poolgrad", grad.dtype)
    stream = not fresh and out.nbytes >= GRADIENT_STREAM_BYTES
    if kernel.PICKS and out.shape[4] == 1 and not stream:
        picks = plan_picks(axes, count_padding, divisor, grad.dtype, kernel.LANES)
        if picks:
            pick(picks, grad.reshape(len(grad), -1), out.reshape(len(out), -1), threads)
            return
    length, out_length = out.shape[3] * out.shape[4], grad.shape[3] * grad.shape[4]
    band = max(1, min(out.shape[2], GRADIENT_BAND_BYTES // (length * out.itemsize)))
    work = np.zeros((threads, kernel.work_size(band, length, out_length)), grad.dtype)
    tables = _tables(axes, count_padding, divisor, grad.dtype, kernel.TAPS, kernel.LANES)
    kernel.spread(grad, out, *tables, work, band, stream, threads)
