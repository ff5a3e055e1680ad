"""Sets of cells along one axis as arithmetic progressions, and how one layer maps them back to its input."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from math import gcd
from typing import NamedTuple, TypeAlias

from cyconv._axes import adaptive_window


class Run(NamedTuple):
    """The cells first, first + step, ..., `length` of them; length and step at least 1."""

    first: int
    step: int
    length: int

    @property
    def last(self) -> int:
        """The last cell."""
        return self.first + self.step * (self.length - 1)


Cells: TypeAlias = list[Run]
Bounds: TypeAlias = tuple[int | None, int | None]  # [low, high) of the cells that exist; None: no limit

# Runs and cells that are spelled out one by one; real networks stay thousands of times below.
MOST_CELLS = 2**20


def union(found: Iterable[Cells]) -> Cells:
    """All cells of several sets."""
    return _merge(chain.from_iterable(found))


def hull(cells: Cells) -> tuple[int, int]:
    """Return the smallest [start, stop) that holds all cells; (0, 0) if there are none."""
    if not cells:
        return 0, 0
    return min(run.first for run in cells), max(run.last for run in cells) + 1


def window_cells(cells: Cells, kernel: int, stride: int, before: int, dilation: int, bounds: Bounds) -> Cells:
    """Input cells o*s - p0 + d*t that a convolution or a pooling reads for these output cells."""
    taps = Run(0, dilation, kernel)
    scaled = (Run(run.first * stride - before, run.step * stride, run.length) for run in cells)
    return _merge(chain.from_iterable(_sums(run, taps, bounds) for run in scaled))


def transposed_cells(
    cells: Cells, kernel: int, stride: int, before: int, dilation: int, bounds: Bounds
) -> Cells:
    """Input cells i with o + p0 - i*s = d*t: of all values o + p0 - d*t those that are multiples of s."""
    low, high = bounds
    spread = (None if low is None else low * stride, None if high is None else high * stride)
    taps = Run(before - dilation * (kernel - 1), dilation, kernel)
    sums = chain.from_iterable(_sums(run, taps, spread) for run in cells)
    return _merge(quotient for run in sums for quotient in _quotients(run, stride))


def adaptive_cells(cells: Cells, in_size: int, out_size: int) -> Cells:
    """Input cells of adaptive pooling windows; those of neighbouring output cells touch or overlap."""
    found = []
    for run in cells:
        dense = run.step == 1 or run.length == 1
        _check_count(1 if dense else run.length)
        for part in [run] if dense else [Run(run.first + j * run.step, 1, 1) for j in range(run.length)]:
            start = adaptive_window(part.first, in_size, out_size)[0]
            stop = adaptive_window(part.last, in_size, out_size)[1]
            found.append(Run(start, 1, stop - start))
    return _merge(found)


def _sums(a: Run, b: Run, bounds: Bounds) -> Cells:
    """All sums of a cell of `a` and a cell of `b` that lie within bounds."""
    fine, coarse = sorted((a, b), key=lambda run: (run.length == 1, run.step))
    first = a.first + b.first
    if coarse.length == 1:
        return _clip(Run(first, fine.step, fine.length), bounds)
    if coarse.step % fine.step == 0 and coarse.step // fine.step <= fine.length:
        return _clip(Run(first, fine.step, (a.last + b.last - first) // fine.step + 1), bounds)
    few, many = sorted((a, b), key=lambda run: run.length)
    extent = many.last - many.first
    low, high = bounds
    inside = _clip(Run(first, few.step, few.length), (None if low is None else low - extent, high))
    _check_count(sum(run.length for run in inside))
    shifts = (run.first + j * run.step for run in inside for j in range(run.length))
    return list(chain.from_iterable(_clip(Run(shift, many.step, many.length), bounds) for shift in shifts))


def _clip(run: Run, bounds: Bounds) -> Cells:
    low, high = bounds
    skip = 0 if low is None else max(0, -((run.first - low) // run.step))
    keep = run.length if high is None else min(run.length, (high - 1 - run.first) // run.step + 1)
    return [Run(run.first + skip * run.step, run.step, keep - skip)] if keep > skip else []


def _quotients(run: Run, divisor: int) -> Cells:
    """Divide the multiples of `divisor` in the run by it."""
    common = gcd(run.step, divisor)
    if run.first % common:
        return []
    period = divisor // common
    skip = -(run.first // common) * pow(run.step // common, -1, period) % period
    if skip >= run.length:
        return []
    first = (run.first + skip * run.step) // divisor
    return [Run(first, run.step // common, (run.length - 1 - skip) // period + 1)]


def _merge(found: Iterable[Run]) -> Cells:
    """Rewrite overlapping runs as few disjoint ones, in ascending order."""
    runs = list(dict.fromkeys(found))
    if len(runs) < 2:
        return runs
    _check_count(sum(run.length for run in runs))
    cells = sorted(set(chain.from_iterable(range(run.first, run.last + 1, run.step) for run in runs)))
    merged: Cells = []
    i = 0
    while i < len(cells):
        step = cells[i + 1] - cells[i] if i + 1 < len(cells) else 1
        j = i + 1
        while j < len(cells) and cells[j] - cells[j - 1] == step:
            j += 1
        merged.append(Run(cells[i], step, j - i))
        i = j
    return merged


def _check_count(count: int) -> None:
    if count > MOST_CELLS:
        raise ValueError(
            f"the receptive field of these layers has gaps in more than {MOST_CELLS} places; "
            f"allowed are kernels, strides and dilations that leave fewer, got {count}"
        )
