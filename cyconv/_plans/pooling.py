"""Plan of pooling: which axes merge, how each is evaluated, in which blocks (``_kernels/pool.pyx``)."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, log2, prod
from typing import Any, NamedTuple

import numpy as np

from cyconv import _runtime
from cyconv._kernels import calls
from cyconv._plans import pool_table as table

Array = np.ndarray[Any, np.dtype[Any]]

MAX, SUM, ARGMAX = 0, 1, 2
FLAT, HALF, PICK, EACH, LINES, NARROW, WIDE, CHOSEN = range(8)

#: Rows combined in one go and cells of a line: ``FEW``, ``EIGHT`` and ``LINE`` of ``rows.pxd``
_FEW, _EIGHT, _LINE = 32, 8, 1024
#: Vectors of a row of the result in registers: ``WIDEST`` of ``strips.pxd``
_WIDEST = 4
#: Vectors of a row of x in registers, and the windows that have such loops: ``MOST`` of ``wide.pxd``
_MOST, _WIDE_TAPS = 4, (5, 7, 9, 11, 13)
#: Vectors of a row of x whose lanes are chosen by number: ``MOST`` of ``chosen.pxd``
_MOST_CHOSEN = 4
#: One past the flat indices that fit in lanes of 32 bits.
_LANES_END = 2**31
#: Coordinates that a kernel computes with; windows further out come to it as a table.
_FAR = 2**40


class PoolAxis(NamedTuple):
    """The windows of one axis: regular ones, or those of adaptive pooling (stride 0)."""

    size: int
    out: int
    taps: int
    stride: int
    before: int
    after: int
    dilation: int

    @property
    def span(self) -> int:
        """Cells from the first tap to the last one."""
        return (self.taps - 1) * self.dilation + 1

    @property
    def covers(self) -> bool:
        """Whether the one window is all of the axis, and nothing else counts."""
        return self.out == 1 and self.before == 0 and self.dilation == 1 and self.taps == self.size

    @property
    def fits(self) -> bool:
        """Whether no window is empty or padded, and its cells follow each other."""
        padded = self.before > 0 or self.after > 0 or self.dilation > 1
        return self.stride == 0 or (self.tame and not padded and self.needed(self.out) <= self.size)

    @property
    def largest(self) -> int:
        """Cells of the largest window, at most."""
        if self.stride > 0:
            return self.taps
        return -(-self.size // self.out) + (self.size % self.out > 1)

    @property
    def tame(self) -> bool:
        """Whether padded rows are of the order of the input: such windows the kernel computes by itself."""
        return self.stride > 0 and self.before + self.after <= 2 * self.size + 64 and self.span < _FAR

    def needed(self, outputs: int) -> int:
        """Columns, padding included, that so many neighbouring outputs see."""
        return (outputs - 1) * self.stride + self.span

    def windows(self) -> Array:
        """First cell, cells in the input, bits of the float64 that an average with padding counts, per output."""
        far = max(self.taps * self.dilation, self.out * self.stride, self.size + self.after) >= _FAR
        o = np.arange(self.out).astype(object if far or self.size * self.out >= _FAR else np.int64)
        if self.stride == 0:
            first, stop = o * self.size // self.out, -(-(o + 1) * self.size // self.out)
            return _rows_of_windows(first, stop - first, stop - first)
        start = o * self.stride - self.before
        skipped = np.maximum(-(start // self.dilation), 0)
        first = start + skipped * self.dilation
        reached = np.maximum(-((first - self.size) // self.dilation), 0)
        cells = np.maximum(np.minimum(self.taps - skipped, reached), 0)
        extent = np.minimum(-((start - self.size - self.after) // self.dilation), self.taps)
        first = np.where(cells > 0, first, 0)
        return _rows_of_windows(first, cells, extent)


def _rows_of_windows(first: Array, cells: Array, extent: Array) -> Array:
    counted = np.minimum(extent, 2**1000) if extent.dtype == object else extent
    columns = first.astype(np.int64), cells.astype(np.int64), counted.astype(np.float64).view(np.int64)
    return np.stack(columns, axis=1)


ONE = PoolAxis(1, 1, 1, 1, 0, 0, 1)


class Side(NamedTuple):
    """An array seen as (N, C, *spatial): its shape, and its strides in cells."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, array: Array) -> Side:
        """Read it from an array."""
        size = array.itemsize
        return cls(array.shape, tuple([step // size for step in array.strides]))

    @property
    def end(self) -> int:
        """One past the last cell, counted from the first."""
        return 1 + sum((n - 1) * max(step, 0) for n, step in zip(self.shape, self.strides, strict=True))


class Layout(NamedTuple):
    """One call in the form that the kernel takes."""

    geometry: Array
    threads: int


class _Line(NamedTuple):
    """An axis with its strides in both arrays and in the flat index."""

    axis: PoolAxis
    x: int
    out: int
    flat: int = 0


_NONE = _Line(ONE, 0, 0)


class _Nest(NamedTuple):
    """What is left after axes were merged: inner cells side by side, three axes, planes and channels."""

    inner: int
    d: _Line
    h: _Line
    w: _Line
    planes: _Line
    channels: _Line


def _merged(lines: list[_Line]) -> list[_Line]:
    """Without axes of one cell, and with neighbouring axes that one window covers as one axis."""
    kept: list[_Line] = []
    for line in lines:
        if line.axis.covers:
            line = line._replace(axis=PoolAxis(line.axis.size, 1, line.axis.size, 1, 0, 0, 1))
        if line.axis == ONE:
            continue
        if kept and line.axis.covers and kept[-1].axis.covers and kept[-1].x == line.axis.size * line.x:
            size = kept.pop().axis.size * line.axis.size
            line = line._replace(axis=PoolAxis(size, 1, size, 1, 0, 0, 1))
        kept.append(line)
    return kept


def _nest(axes: tuple[PoolAxis, ...], x: Side, out: Side) -> _Nest | None:
    """The loops of one call; None if neither columns nor channels lie side by side in both arrays."""
    index = [prod(x.shape[i + 3 :]) for i in range(len(axes))]
    lines = _merged([_Line(*line) for line in zip(axes, x.strides[2:], out.strides[2:], index, strict=True)])
    planes, channels = (_Line(ONE._replace(size=x.shape[i]), x.strides[i], out.strides[i]) for i in (0, 1))
    last = lines[-1] if lines else _Line(ONE, 1, 1)
    c = channels.axis.size
    inner = 0
    for width, side_by_side in ((c, channels.x == 1 == channels.out), (1, True)):
        fits = (last.x == width or last.axis.size == 1) and (last.out == width or last.axis.out == 1)
        if side_by_side and (fits or not lines):
            inner = width
            break
    if inner == 0:
        return None
    if inner > 1:
        channels = _NONE
    d, h, w = [_NONE] * (3 - len(lines)) + lines
    return _Nest(inner, d, h, w, planes, channels)


def _stacked(nest: _Nest) -> _Nest:
    """Planes below each other as one tall plane, where no window of rows reaches over into the next plane."""
    for outer in ("channels", "planes"):
        line, h = getattr(nest, outer), nest.h
        if h.axis == ONE:
            h = h._replace(x=line.x, out=line.out)
        a, many = h.axis, line.axis.size
        touching = a.taps == a.stride and a.dilation == 1 and a.before == a.after == 0 and a.size == a.out * a.stride
        if many == 1:
            continue
        if nest.d.axis != ONE or not touching or (line.x, line.out) != (a.size * h.x, a.out * h.out):
            break
        tall = PoolAxis(many * a.size, many * a.out, a.taps, a.stride, 0, 0, 1)
        nest = nest._replace(h=h._replace(axis=tall))
        nest = nest._replace(channels=_NONE) if outer == "channels" else nest._replace(planes=_NONE)
    return nest


def _operations(taps: int) -> int:
    """Operations per cell of a window by doubling."""
    return taps.bit_length() + taps.bit_count() - 2


def _is_narrow(nest: _Nest) -> bool:
    """Whether rows and columns can be combined in registers."""
    axis = nest.w.axis
    few = nest.inner == 1 and axis.dilation == 1 and axis.taps in (2, 3) and axis.stride in (1, 2)
    return few and _most_rows(nest) <= _FEW


def _is_placed(nest: _Nest, cells: int) -> bool:
    """Whether maxima of narrow windows and their places are worth finding in registers.

    Of 3 x 3 cells, the loops over whole rows take two thirds of the time where vectors have 32 bytes, and where they
    have 64, for which a choice by comparison is one instruction, up to twice as long.
    """
    return _runtime.VECTOR_BYTES == 64 and nest.w.axis.tame and _is_narrow(nest) and cells < _LANES_END


def _is_square(nest: _Nest) -> bool:
    """Whether windows are of neighbouring cells of a plane, alike along both axes."""
    h, w = nest.h.axis, nest.w.axis
    return nest.inner == 1 and nest.d.axis == ONE and h.tame and w.tame and (h.taps, h.stride, h.dilation) == (
        w.taps, w.stride, 1
    )  # fmt: skip


def _strip(nest: _Nest, across: int, lanes: int) -> int:
    """Vectors that hold a row: of the result where windows are narrow, of x where they are wide; 0 if too many."""
    w = nest.w.axis
    if across in (WIDE, CHOSEN):
        columns = w.needed(w.out) if across == CHOSEN and not _is_uneven(nest, lanes) else w.before + w.size
        vectors = -(-columns // lanes)
        return vectors if across == CHOSEN else int(2 ** ceil(log2(vectors)))
    vectors = -(-w.out // lanes)
    return vectors if across == NARROW and _is_square(nest) and nest.h.x > 0 and vectors <= _WIDEST else 0


def _pairs(nest: _Nest, strip: int, lanes: int) -> int:
    """Output rows in one vector, at least two, where windows of 2 x 2 cells lie side by side; else 0."""
    h, w = nest.h, nest.w.axis
    many = lanes // w.out
    touching = w.before == 0 and w.size == h.x == 2 * w.out and h.axis.before == 0 and h.axis.size == 2 * h.axis.out
    fits = strip == 1 and w.taps == w.stride == 2 and touching and h.out == w.out and many > 1
    return many if fits else 0


def _is_wide(nest: _Nest, op: int, lanes: int) -> bool:
    """Whether a plane's rows and their windows fit in registers."""
    w = nest.w.axis
    if not _is_square(nest) or w.dilation > 1 or w.taps not in _WIDE_TAPS or w.before + w.size > _MOST * lanes:
        return False
    return w.taps == _WIDE_TAPS[0] if op == SUM else w.stride <= w.taps


def _chooses(nest: _Nest, lanes: int) -> bool:
    """Whether these are windows of few cells in planes, and lanes of registers can be chosen by number."""
    few = nest.w.axis.largest <= table.CHOICES and nest.h.axis.largest <= _FEW
    return _runtime.VECTOR_BYTES == 64 and lanes <= 32 and nest.inner == 1 and nest.d.axis == ONE and few


def _is_chosen(nest: _Nest, lanes: int) -> bool:
    """Whether a plane's rows fit in registers whose lanes are chosen, for windows some columns apart."""
    h, w = nest.h.axis, nest.w.axis
    fits = w.needed(w.out) <= _MOST_CHOSEN * lanes
    return _chooses(nest, lanes) and h.tame and h.dilation == 1 and fits and w.stride > 1


def _is_uneven(nest: _Nest, lanes: int) -> bool:
    """Whether the same holds for windows of several sizes."""
    h, w = nest.h.axis, nest.w.axis
    fits = h.fits and w.fits and max(w.size, w.out) <= _MOST_CHOSEN * lanes
    return _chooses(nest, lanes) and fits and 0 in (h.stride, w.stride)


def _most_rows(nest: _Nest) -> int:
    """Rows of the largest window."""
    d, h = nest.d.axis, nest.h.axis
    if d.stride == 0 or h.stride == 0:
        return d.size * h.size
    return min(d.taps, d.size) * min(h.taps, h.size)


def _across(nest: _Nest, op: int, lanes: int) -> int:
    """How the windows of the last axis are evaluated; costs are in operations on vectors."""
    axis, inner = nest.w.axis, nest.inner
    if _is_uneven(nest, lanes):
        return CHOSEN
    if not axis.tame:
        return EACH
    if _is_narrow(nest):
        return NARROW
    if _is_chosen(nest, lanes):
        return CHOSEN
    if _is_wide(nest, op, lanes):
        return WIDE
    flat = axis.needed(axis.out) * inner / lanes * (_operations(axis.taps) + (axis.stride > 1))
    if inner > 1:
        each = axis.out * (axis.taps * inner / lanes + table.EACH_GROUP)
        return EACH if each < flat else FLAT if axis.stride == 1 else PICK
    each = axis.out * (axis.taps / lanes + table.EACH_LINE)
    if axis.dilation == 1 and axis.taps >= lanes and each < flat:
        return EACH
    if axis.stride == 1:
        return FLAT
    return HALF if axis.stride == 2 and axis.taps <= 3 else PICK


def _lines(nest: _Nest) -> _Nest | None:
    """All planes on one axis, if each is one contiguous window of moderate size and they follow each other evenly."""
    n, c = nest.planes, nest.channels
    if (
        nest.inner == 1
        and nest.d.axis == nest.h.axis == ONE
        and nest.w.axis.covers
        and nest.w.axis.size <= _LINE
        and (n.axis.size == 1 or c.axis.size == 1 or (n.x == c.axis.size * c.x and n.out == c.axis.size * c.out))
    ):
        step = c if c.axis.size > 1 else n
        if step.out == 1 or step.axis.size == 1:
            size = n.axis.size * c.axis.size
            return nest._replace(planes=_Line(ONE._replace(size=size), step.x, 1), channels=_NONE)
    return None


class _Blocks(NamedTuple):
    """Output rows and columns of a block, and whether its rows are evaluated all at once."""

    rows: int
    columns: int
    run: bool


def _blocks(nest: _Nest, across: int, itemsize: int, threads: int) -> _Blocks:
    h, w, inner = nest.h.axis, nest.w.axis, nest.inner
    others = nest.planes.axis.size * nest.channels.axis.size * nest.d.axis.out
    if across in (NARROW, WIDE, CHOSEN):
        rows = h.out if others >= 4 * threads else -(-h.out * others // (4 * threads))
        if across == WIDE and w.stride == 1:
            rows = -(-rows // w.taps) * w.taps
        return _Blocks(rows, w.out, False)
    budget = table.BLOCK_BYTES // itemsize
    columns = w.out
    if w.tame and w.needed(w.out) * inner > budget:
        fitting = max(1, (budget // inner - w.span) // w.stride + 1)
        columns = min(w.out, max(fitting, -(-w.span // w.stride)))
    width = (w.needed(columns) if w.tame else w.size) * inner
    rows = max(1, min(h.out, budget // width))
    run = False
    if h.tame and h.out > 1 and h.taps > h.stride * _operations(h.taps) + 2:
        fitting = (table.RUN_BYTES // itemsize // width - h.span) // h.stride + 1
        running = min(h.out, max(fitting, -(-h.span // h.stride)))
        if h.needed(running) * width * itemsize <= table.RUN_LIMIT:
            rows, run = running, True
    others *= -(-w.out // columns)
    if others < 4 * threads and not run:
        rows = max(1, min(rows, h.out * others // (4 * threads)))
    return _Blocks(rows, columns, run)


@lru_cache(maxsize=512)
def lay_out(
    axes: tuple[PoolAxis, ...], x: Side, out: Side, dtype: np.dtype[Any], op: int, count_padding: bool, threads: int
) -> Layout | None:
    """The layout of one call; None if the arrays must be copied first, so that something lies side by side."""
    nest = _nest(axes, x, out)
    if nest is None:
        return None
    lanes = _runtime.VECTOR_BYTES // dtype.itemsize
    as_lines = None if op == ARGMAX else _lines(nest)
    if op == ARGMAX and _is_placed(nest, prod(x.shape[2:])):
        across = NARROW
        blocks = _blocks(nest, across, dtype.itemsize, threads)
    elif op == ARGMAX:
        axis = nest.w.axis
        across = FLAT if axis.tame and axis.stride == 1 else EACH
        if axis.tame and axis.stride == 2 and nest.inner == 1:
            across = HALF
        blocks = _blocks(nest, across, dtype.itemsize, threads)._replace(rows=1, run=False)
    elif as_lines is not None:
        nest, across, blocks = as_lines, LINES, _Blocks(1, 1, False)
    else:
        nest = _stacked(nest)
        across = _across(nest, op, lanes)
        blocks = _blocks(nest, across, dtype.itemsize, threads)
    bytes_moved = (prod(x.shape) + prod(out.shape)) * dtype.itemsize
    worth = prod(x.shape) // table.CELLS_PER_THREAD if across == LINES else bytes_moved // table.BYTES_PER_THREAD
    threads = max(1, min(threads, worth, table.THREADS))
    ahead = bytes_moved > table.AHEAD_BYTES
    strip = _strip(nest, across, lanes)
    pairs = _pairs(nest, strip, lanes) if across == NARROW else 0
    return _describe(nest, across, blocks, x.end, lanes, op, count_padding, ahead, strip, pairs, threads)


def _describe(
    nest: _Nest, across: int, blocks: _Blocks, x_end: int, lanes: int, op: int, count_padding: bool, ahead: bool,
    strip: int, pairs: int, threads: int,
) -> Layout:
    """Buffers of a block one after another, each with room for vectors that reach beyond its end."""
    d, h, w, inner = nest.d.axis, nest.h.axis, nest.w.axis, nest.inner
    pitch = (w.needed(blocks.columns) if w.tame else w.size) * inner
    if across == HALF:
        pitch = 2 * lanes * (-(-pitch // (2 * lanes)) + 1)  # vectors may reach beyond the end of a half
    loaded = h.needed(blocks.rows) if blocks.run else 0
    doubling = max(loaded if h.taps > 3 else 0, blocks.rows if across in (FLAT, PICK) and w.taps > 3 else 0)
    many = max(min(d.taps, d.size) * min(h.taps, h.size), min(w.taps, w.size) if inner > 1 else 1)
    if d.stride == 0 or h.stride == 0 or w.stride == 0:
        many = max(d.size * h.size, w.size)
    levels = (-(-many // _EIGHT)).bit_length() + 1 if many > _FEW else 0
    sizes = {
        "block": blocks.rows * pitch,
        "loaded": loaded * pitch,
        "line": pitch,
        "ping": doubling * pitch,
        "pong": doubling * pitch,
        "rest": doubling * pitch,
        "levels": levels * (pitch + lanes),
    }
    if op == ARGMAX:  # values, their rows; both before they are halved; rows and columns of the winners
        sizes = dict.fromkeys(("block", "loaded", "line", "ping", "pong", "rest"), pitch) | {"levels": 0}
    if across in (LINES, NARROW, WIDE, CHOSEN):
        sizes = dict.fromkeys(sizes, 0)
    at, total = {}, 0
    for name, cells in sizes.items():
        at[name] = total
        total += -(-(cells + 3 * lanes) // lanes) * lanes if cells else 0
    total = max(total, lanes)
    values: dict[str, int] = {
        "planes": nest.planes.axis.size, "channels": nest.channels.axis.size, "inner": inner,
        "x_plane": nest.planes.x, "x_channel": nest.channels.x, "x_d": nest.d.x, "x_h": nest.h.x,
        "out_plane": nest.planes.out, "out_channel": nest.channels.out, "out_d": nest.d.out, "out_h": nest.h.out,
        "index_d": nest.d.flat, "index_h": nest.h.flat, "index_w": nest.w.flat,
        "x_end": x_end, "op": SUM if op == SUM else MAX, "across": across, "run": int(blocks.run),
        "count_padding": int(count_padding), "ahead": int(ahead), "strip": strip, "pairs": pairs,
        "block_h": blocks.rows, "block_w": blocks.columns, "pitch": pitch, "scratch": total,
        **{f"at_{name}": start for name, start in at.items() if name != "block"},
    }  # fmt: skip
    module = _runtime.kernel("pool", np.dtype(np.float32))
    numbers = [values[name] for name in module.FIELDS]
    tables: list[Array] = []
    start = len(numbers) + 3 * len(module.AXIS_FIELDS)
    for axis in (d, h, w):
        if axis.tame:
            numbers += [*axis, 0]
            continue
        tables.append(axis.windows())
        dilation = min(axis.dilation, axis.size)  # with more than that, no window has two cells in the input
        numbers += [axis.size, axis.out, 0, 0, 0, 0, dilation, start]
        start += tables[-1].size
    geometry = np.concatenate([np.array(numbers, np.int64), *[found.ravel() for found in tables]])
    geometry.flags.writeable = False
    return Layout(geometry, threads)


def run(
    axes: tuple[PoolAxis, ...],
    x: Array,
    out: Array,
    indices: Array | None,
    op: int,
    divisor: float,
    count_padding: bool,
    threads: int,
) -> bool:
    """Pool x into out, both seen as (N, C, *spatial) and of one dtype with kernels; False if they must be copied."""
    if indices is not None and Side.of(indices) != Side.of(out):
        return False
    layout = lay_out(axes, Side.of(x), Side.of(out), x.dtype, op, count_padding, threads)
    if layout is None:
        return False
    entry = _runtime.kernel("pool", x.dtype).ENTRY
    return calls.run(entry, x, out, indices, layout.geometry, divisor, layout.threads)
