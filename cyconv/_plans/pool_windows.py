"""The windows of average pooling seen from the input: which of them hold a cell, and what each divides by."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from cyconv._plans.pooling import PoolAxis

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


def scales(axes: tuple[PoolAxis, ...], count_padding: bool, divisor: int | None) -> list[Array]:
    """By axis and output, what the parts of a window's factor are."""
    found = [covering(axis) for axis in axes]
    parts = []
    for axis in found:
        counts = axis.extent if count_padding else axis.cells
        if divisor is None:
            parts.append(1 / np.maximum(counts, 1))  # a window without cells gives to none
        else:
            parts.append(np.ones(len(counts)))
    if divisor is not None:
        parts[0] /= divisor
    return parts
