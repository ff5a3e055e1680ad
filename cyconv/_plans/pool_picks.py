"""Plan of the gradient of average pooling of small planes, all of whose cells have few windows
(``_kernels/poolgrad_picks.pxd``)."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans.pool_windows import Covering, covering, scales
from cyconv._plans.pooling import PoolAxis
from cyconv._plans.table import GRADIENT_PICK_CELLS, GRADIENT_PICK_TAPS

Array = np.ndarray[Any, np.dtype[Any]]


class Picks(NamedTuple):
    """What the kernel reads: by vectors and taps, the first cell of the source, lanes from there on, which count."""

    size: int
    near: bool
    base: Array
    lanes: Array
    mask: Array
    factor: Array | None
    scale: Array | None


class Plan(NamedTuple):
    rows: Picks
    cells: Picks | None


def _windows(axis: Covering) -> Array:
    """Windows of each cell, the first one first, and -1 where there are none; at the begin of the axis these come
    first, so that the n-th windows of neighbours are neighbours."""
    counts = -(-(axis.hi - axis.lo) // axis.step)
    taps = max(1, int(counts.max()))
    lacking = np.where(axis.lo == 0, taps - counts, 0)
    windows = axis.lo[:, np.newaxis] + axis.step * (np.arange(taps) - lacking[:, np.newaxis])
    return np.where((windows >= 0) & (windows < axis.hi[:, np.newaxis]), windows, -1)


def by_vectors(table: Array, lanes: int) -> Array:
    """Rows of a table as (vector, its other axis, lane); the last vector ends with the last row."""
    size = len(table)
    vectors = -(-size // lanes)
    first = np.minimum(np.arange(vectors) * lanes, max(0, size - lanes))
    at = np.minimum(first[:, np.newaxis] + np.arange(lanes), size - 1)
    return _aligned(table[at].swapaxes(1, 2))


def _aligned(table: Array) -> Array:
    found = _memory.empty(table.shape, table.dtype)
    found[...] = table
    return found


def picks(
    sources: Array, factor: Array | None, scale: Array | None, lanes: int, dtype: np.dtype[Any]
) -> Picks | None:
    """``sources``, -1 for none, and factors by cells and taps, scales by cells; None where they lie too far apart."""
    at = by_vectors(sources, lanes)
    there = at >= 0
    base = np.where(there, at, max(0, at.max())).min(axis=2)
    offset = np.where(there, at - base[..., np.newaxis], 0)
    if offset.max() >= 2 * lanes:
        return None
    ints = np.dtype(f"i{dtype.itemsize}")
    return Picks(
        len(sources),
        bool(offset.max() < lanes),
        base,
        _aligned(offset.astype(ints)),
        _aligned(-there.astype(ints)),
        None if factor is None else by_vectors(factor.astype(dtype), lanes),
        None if scale is None else by_vectors(scale.astype(dtype)[:, np.newaxis], lanes)[:, 0],
    )


@lru_cache(maxsize=64)
def plan_picks(
    axes: tuple[PoolAxis, ...], count_padding: bool, divisor: int | None, dtype: np.dtype[Any], lanes: int
) -> Plan | None:
    """Tables of windows along d, h, w, None where there would be too many of them."""
    if max(prod(axis.size for axis in axes), prod(axis.out for axis in axes)) > GRADIENT_PICK_CELLS:
        return None
    d, h, w = (_windows(covering(axis)) for axis in axes)
    if max(d.shape[1] * h.shape[1], w.shape[1]) > GRADIENT_PICK_TAPS:
        return None
    by_d, by_h, by_w = (part.astype(dtype) for part in scales(axes, count_padding, divisor))
    out_h, out_w = axes[1].out, axes[2].out
    # rows of g by rows of dx, which are pairs of d and h
    od = d[:, np.newaxis, :, np.newaxis]
    oh = h[np.newaxis, :, np.newaxis, :]
    reached = np.where((od < 0) | (oh < 0), -1, od * out_h + oh).reshape(len(d) * len(h), -1)
    factor = np.broadcast_to(by_d[od] * by_h[oh], (len(d), len(h), d.shape[1], h.shape[1])).reshape(reached.shape)
    if reached.shape[1] == w.shape[1] == 1:
        rows = np.where((reached < 0) | (w.T < 0), -1, reached * out_w + w.T).reshape(-1, 1)
        by_cell = np.broadcast_to(factor, (len(reached), len(w))).reshape(-1, 1)
        picked = picks(rows, by_cell, np.tile(by_w[w[:, 0]], len(reached)), lanes, dtype)
        return picked and Plan(picked, None)
    at = np.where(reached < 0, -1, reached * out_w)[:, np.newaxis]
    sums = np.where(at < 0, -1, at + np.arange(out_w)[:, np.newaxis]).reshape(-1, reached.shape[1])
    first = picks(sums, np.repeat(factor, out_w, axis=0), np.tile(by_w, len(reached)), lanes, dtype)
    cells = np.where(w < 0, -1, np.arange(len(reached))[:, np.newaxis, np.newaxis] * out_w + w)
    second = picks(cells.reshape(-1, w.shape[1]), None, None, lanes, dtype)
    return Plan(first, second) if first and second else None


class Picking:
    """Gradients of so many planes by such tables."""

    def __init__(
        self, found: Plan, lead: int, outputs: int, cells: int, dtype: np.dtype[Any], threads: int
    ) -> None:  # fmt: skip
        self._kernel = _runtime.kernel("poolgrad", dtype)
        self._found, self._threads = found, threads
        self._shapes = (lead, outputs), (lead, cells)
        self._work = _memory.Work(((threads, self._kernel.pick_size(found.rows.size, outputs)), dtype))

    def run(self, grad: Array, out: Array) -> None:
        """Fill ``out`` from ``grad``, both C-contiguous."""
        given, made = self._shapes
        (sums,) = work = self._work.take()
        self._kernel.pick(grad.reshape(given), out.reshape(made), *self._found, sums, self._threads)
        self._work.give_back(work)
