"""Plan of the gradients of average pooling, by rows or by picked cells (``_kernels/poolgrad.pyx``)."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from cyconv import _runtime
from cyconv._plans.max_gradients import worthwhile
from cyconv._plans.pool_picks import Picking, plan_picks
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


class Prepared(Protocol):
    """The gradient for arrays of one shape."""

    def run(self, grad: Array, out: Array) -> None:
        """Fill ``out`` from ``grad``, both C-contiguous."""


class Planes(NamedTuple):
    """Gradients are seen as (lead, *outputs, inner), results as (lead, *cells, inner), each along d, h, w."""

    lead: int
    outputs: tuple[int, int, int]
    cells: tuple[int, int, int]
    inner: int


@lru_cache(maxsize=256)
def prepare(
    planes: Planes, axes: tuple[PoolAxis, ...], count_padding: bool, divisor: int | None, dtype: np.dtype[Any],
    fresh: bool, threads: int,
) -> Prepared:  # fmt: skip
    """Gradients of windows along d, h, w in arrays that are not empty; ``fresh`` memory is never written past the
    caches."""
    size = planes.lead * prod(planes.cells) * planes.inner
    threads = worthwhile(threads, size)
    if all(axis.covers for axis in axes):
        return _Repeating(planes, divisor or prod(planes.cells), dtype, threads)
    stream = not fresh and size * dtype.itemsize >= GRADIENT_STREAM_BYTES
    kernel = _runtime.kernel("poolgrad", dtype)
    if kernel.PICKS and planes.inner == 1 and not stream:
        picks = plan_picks(axes, count_padding, divisor, dtype, kernel.LANES)
        if picks:
            return Picking(picks, planes.lead, prod(planes.outputs), prod(planes.cells), dtype, threads)
    tables = _tables(axes, count_padding, divisor, dtype, kernel.TAPS, kernel.LANES)
    return _Spreading(planes, tables, dtype, stream, threads)


class _Repeating:
    """Every cell of a plane is the same."""

    def __init__(self, planes: Planes, divisor: int, dtype: np.dtype[Any], threads: int) -> None:
        self._kernel = _runtime.kernel("poolgrad", dtype)
        self._shapes = (planes.lead, planes.inner), (planes.lead, prod(planes.cells), planes.inner)
        self._divisor, self._threads = float(min(divisor, 2**1023)), threads

    def run(self, grad: Array, out: Array) -> None:
        """See `Prepared`."""
        given, made = self._shapes
        self._kernel.repeat(grad.reshape(given), out.reshape(made), self._divisor, self._threads)


class _Spreading:
    """Rows of a result from sums of rows of the gradient."""

    def __init__(self, planes: Planes, tables: Tables, dtype: np.dtype[Any], stream: bool, threads: int) -> None:
        self._kernel = _runtime.kernel("poolgrad", dtype)
        self._shapes = (planes.lead, *planes.outputs, planes.inner), (planes.lead, *planes.cells, planes.inner)
        length, out_length = planes.cells[2] * planes.inner, planes.outputs[2] * planes.inner
        band = max(1, min(planes.cells[1], GRADIENT_BAND_BYTES // (length * dtype.itemsize)))
        self._work = (threads, self._kernel.work_size(band, length, out_length)), dtype
        self._how = band, stream, threads
        self._tables = tables

    def run(self, grad: Array, out: Array) -> None:
        """See `Prepared`."""
        given, made = self._shapes
        self._kernel.spread(
            grad.reshape(given), out.reshape(made), *self._tables, np.zeros(*self._work), *self._how
        )
