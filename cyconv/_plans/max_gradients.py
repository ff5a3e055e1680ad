"""Plan of the gradient of max-pooling: indices read, checked and made small, then gradients put where they say.

The windows are not known, and not needed: where all the indices lie in a small box that moves along with the outputs
at a step of 1 or 2, the kernel chooses by vectors (``_kernels/poolgrad_choices.pxd``); any other indices are followed
one by one. Both add up in the order of the outputs. Into new memory the indices are followed at once: what is wrong
there is found on the way, and one pass takes less than two.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans.pool_picks import by_vectors, picks
from cyconv._plans.table import (
    GRADIENT_BAND_BYTES,
    GRADIENT_INDEX_CELLS,
    GRADIENT_PICK_CELLS,
    GRADIENT_STREAM_BYTES,
    GRADIENT_THREAD_CELLS,
)

Array = np.ndarray[Any, np.dtype[Any]]

_FLOAT32 = np.dtype(np.float32)
#: indices that are read at a time: planes of them, as near as can be to whole vectors of bytes
_TABLE = 4096
_BYTES = 64


def _kernel() -> Any:
    """Indices are read by one scalar type's build for all."""
    return _runtime.kernel("poolgrad", _FLOAT32)


class Planes(NamedTuple):
    """``lead`` times ``inner`` planes: all of them, or those of an image and its channels, neighbours in memory."""

    lead: int
    inner: int
    size: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def cells(self) -> int:
        """Cells of all planes."""
        return self.lead * self.inner * prod(self.size)


class Choices(NamedTuple):
    """Windows of K x K cells that hold all the maxima."""

    K: int
    before_h: int
    before_w: int
    corner: int


class Reading(NamedTuple):
    """How indices of planes are read: the tables of codes where they may have any, at this step of the windows."""

    step: int
    cells: int
    first: Array | None
    column: Array | None


class Maxima(NamedTuple):
    """Indices that have been checked: codes with their windows, or places, or the indices."""

    planes: Planes
    choices: Choices | None
    places: Array


def worthwhile(threads: int, cells: int) -> int:
    """Threads for a gradient of so many cells."""
    return max(1, min(threads, cells // GRADIENT_THREAD_CELLS))


def _step(planes: Planes) -> int:
    """The step of windows of about its size, 0 where none is 1 or 2."""
    steps = {
        2 if abs(2 * out - size) < size - out else 1
        for size, out in zip(planes.size, planes.out, strict=True)
        if size > 1 or out > 1
    }
    is_plane = len(planes.size) < 3 or planes.size[0] == 1
    return steps.pop() if len(steps) == 1 and is_plane else 0


def _times(planes: int, outputs: int) -> int:
    times = _BYTES // gcd(_BYTES, outputs)
    most = max(1, min(planes, _TABLE // outputs))
    return most // times * times or most


def _tables(planes: Planes, step: int) -> tuple[Array, Array]:
    """Flat position and column of the first cell of each output's box, for one plane or several."""
    size, out = planes.size, planes.out
    times = _times(planes.lead, prod(out)) if planes.inner == 1 else 1
    width, ahead = size[-1], _kernel().BEFORE
    column = np.arange(out[-1]) * step - ahead
    row = np.arange(prod(out[:-1])) * step - ahead
    first, columns = np.broadcast_arrays(row[:, np.newaxis] * width + column, column)
    first, columns = (np.tile(table.ravel(), times) for table in (first, columns))
    return first.astype(np.int32), columns.astype(np.int16)


@lru_cache(maxsize=64)
def _choices(found: int, step: int) -> Choices | None:
    """The windows that hold all that was found in the box."""
    kernel = _kernel()
    ahead = kernel.BEFORE
    corner, sizes = [], []
    for seen in (found & 255, found >> 8 & 255):
        first = min(ahead, (seen & -seen).bit_length() - 1) if seen else ahead
        corner.append(first)
        sizes.append(seen.bit_length() - first)
    before_h, before_w = (ahead - first for first in corner)
    K = max(2, step + before_w % step, *sizes)
    if K > kernel.LARGEST_CODED:
        return None
    return Choices(K, before_h, before_w, corner[0] * kernel.IN_ROW + corner[1])


def _pick_cells(planes: Planes, choices: Choices, lanes: int, dtype: np.dtype[Any]) -> tuple[int, Any] | None:
    """How many small planes count as one, so that vectors end where it ends; and for vectors of its cells the first
    output, lanes from there on and the codes that cells want. None where windows overlap or lie too far apart."""
    step, size, out = _step(planes), planes.size, planes.out
    if planes.inner > 1 or step != choices.K or prod(size) > GRADIENT_PICK_CELLS:
        return None
    row, row_at = np.divmod(np.arange(prod(size[:-1])) + choices.before_h, step)
    column, column_at = np.divmod(np.arange(size[-1]) + choices.before_w, step)
    there = (row < prod(out[:-1]))[:, np.newaxis] & (column < out[-1])
    source = np.where(there, row[:, np.newaxis] * out[-1] + column, -1)
    wanted = np.where(there, choices.corner + row_at[:, np.newaxis] * _kernel().IN_ROW + column_at, -1)
    times = lanes // gcd(lanes, source.size)
    if planes.lead % times or times * source.size > GRADIENT_PICK_CELLS:
        times = 1
    first = np.arange(times)[:, np.newaxis] * prod(out)
    source = np.where(source.ravel() < 0, -1, source.ravel() + first)
    picked = picks(source.reshape(-1, 1), None, None, lanes, dtype)
    if picked is None or not picked.near:
        return None
    codes = by_vectors(np.tile(wanted.ravel(), times).reshape(-1, 1).astype(picked.lanes.dtype), lanes)
    return times, (picked.base[:, 0], picked.lanes[:, 0], codes[:, 0])


@lru_cache(maxsize=256)
def _reading(planes: Planes) -> Reading:
    cells, step = prod(planes.size), _step(planes)
    coded = step > 0 and cells < 2**30 and planes.size[-1] <= _kernel().WIDEST_CODED
    return Reading(step, cells, *(_tables(planes, step) if coded else (None, None)))


class _Choosing:
    """Gradients by codes of windows that hold all the maxima."""

    def __init__(self, planes: Planes, choices: Choices, dtype: np.dtype[Any], threads: int) -> None:
        kernel = self._kernel = _runtime.kernel("poolgrad", dtype)
        step, outputs = _step(planes), prod(planes.out)
        self._threads = threads
        picked = _pick_cells(planes, choices, kernel.LANES, dtype) if kernel.PICKS else None
        self._picked = picked and picked[1]
        if picked:
            times = picked[0]
            self._shapes = (planes.lead // times, outputs * times), (planes.lead // times, prod(planes.size) * times)
            self._work = _memory.Work(((threads, outputs * times + kernel.LANES), dtype))
            return
        lead, height, width = planes.lead, prod(planes.size[:-1]), planes.size[-1]
        out_h, out_w = prod(planes.out[:-1]), planes.out[-1]
        self._stream = lead * planes.inner * height * width * dtype.itemsize >= GRADIENT_STREAM_BYTES
        if planes.inner == 1 and not choices.before_h and step == choices.K and step * out_h == height:
            lead, height, out_h = 1, lead * height, lead * out_h  # no window reaches beyond its plane: one tall plane
        length = width * planes.inner
        self._sizes = (
            lead, planes.inner, height, width, out_h, out_w, choices.K, step, choices.before_h, choices.before_w,
            choices.corner,
        )  # fmt: skip
        band = max(length, min(height * length, GRADIENT_BAND_BYTES // dtype.itemsize))
        self._work = _memory.Work(((threads, band + 2 * 64), dtype))

    def run(self, grad: Array, codes: Array, out: Array) -> None:
        """Fill ``out`` from ``grad``, both contiguous."""
        (rows,) = work = self._work.take()
        if self._picked:
            grad, out = grad.reshape(self._shapes[0]), out.reshape(self._shapes[1])
            self._kernel.choose_small(grad, codes, out, *self._picked, rows, self._threads)
        else:
            self._kernel.choose(
                grad.reshape(-1), codes, out.reshape(-1), *self._sizes, rows, self._stream, self._threads
            )
        self._work.give_back(work)


_choosing = lru_cache(maxsize=256)(_Choosing)


class _Following:
    """Gradients by places or indices, one by one."""

    def __init__(self, planes: Planes, dtype: np.dtype[Any], threads: int) -> None:
        kernel = self._kernel = _runtime.kernel("poolgrad", dtype)
        cells, outputs = prod(planes.size), prod(planes.out)
        self._threads = threads
        self._small = planes.inner == 1 and cells <= kernel.SMALL
        self._order = (2, 0, 1) if planes.inner == 1 else (0, 2, 1)  # all planes are channels of one image, or not
        inner = () if self._small else (planes.inner,)
        self._shapes = (planes.lead, outputs, *inner), (planes.lead, cells, *inner)
        if self._small:
            self._work = _memory.Work(
                ((threads, kernel.SUMS), dtype), ((threads, kernel.SIDE * outputs), np.dtype(np.uint16))
            )

    def run(self, grad: Array, places: Array, out: Array) -> bool:
        """Fill ``out`` from ``grad``, both contiguous. Whether a place is no cell and not -1; it is passed over."""
        given, made = self._shapes
        arrays = grad.reshape(given), places.reshape(given), out.reshape(made)
        if not self._small:
            bad: bool = self._kernel.scatter(*(array.transpose(self._order) for array in arrays), self._threads)
            return bad
        work = self._work.take()
        wrong: bool = self._kernel.scatter_small(*arrays, *work, self._threads)
        self._work.give_back(work)
        return wrong


_following = lru_cache(maxsize=256)(_Following)


def scratch_for(indices: Array) -> _memory.scratch:
    """Memory for `read`."""
    return _memory.scratch(2 * indices.size + 2 * _kernel().SLACK)


def read(indices: Array, planes: Planes, scratch: Array, threads: int) -> Maxima | None:
    """Check flat indices, int64, lead x outputs x inner of them; None if one is neither a cell nor -1.

    ``scratch`` must live as long as the result.
    """
    kernel = _kernel()
    threads = worthwhile(threads, GRADIENT_INDEX_CELLS * indices.size)
    step, cells, first, column = _reading(planes)
    if first is not None:
        codes = scratch[: indices.size + 2 * kernel.SLACK]
        found = kernel.read_codes(indices, first, column, planes.inner, cells, planes.size[-1], codes, threads)
        choices = _choices(found, step)
        if not found & kernel.WITHOUT_CODES and choices:
            return Maxima(planes, choices, codes)
    if cells > kernel.PLACES_16:
        return None if kernel.has_bad_index(indices, cells, threads) else Maxima(planes, None, indices)
    few = planes.inner == 1 and cells <= kernel.PLACES_8
    places = scratch[: indices.size] if few else scratch[: 2 * indices.size].view(np.uint16)
    return None if kernel.read_places(indices, cells, places, threads) else Maxima(planes, None, places)


def follow(maxima: Maxima, grad: Array, out: Array, threads: int) -> bool:
    """Fill ``out`` (lead, cells, inner) from ``grad`` (lead, outputs, inner), both contiguous, by places or indices.

    Whether one is neither a cell nor -1; it is passed over.
    """
    return _following(maxima.planes, grad.dtype, worthwhile(threads, out.size)).run(grad, maxima.places, out)


def scatter(maxima: Maxima, grad: Array, out: Array, threads: int) -> None:
    """The same from what `read` gives."""
    planes, choices, places = maxima
    if choices is None:
        follow(maxima, grad, out, threads)
        return
    _choosing(planes, choices, grad.dtype, worthwhile(threads, out.size)).run(grad, places, out)


class NewGradient:
    """The gradient in new memory, from contiguous arrays of one shape."""

    def __init__(self, planes: Planes, dtype: np.dtype[Any], threads: int) -> None:
        self._following = _following(planes, dtype, worthwhile(threads, planes.cells))

    def run(self, arrays: tuple[Array, ...], out: Array) -> bool:
        """Whether it could be filled: an index that is neither a cell nor -1 is found on the way."""
        grad, indices = arrays
        return not self._following.run(grad, indices, out)


class Gradient:
    """The same in memory that may not be touched if an index is wrong."""

    def __init__(self, planes: Planes, dtype: np.dtype[Any], threads: int) -> None:
        self._planes, self._threads = planes, threads
        nbytes = 2 * planes.lead * planes.inner * prod(planes.out) + 2 * _kernel().SLACK
        self._work = _memory.Work(((nbytes,), np.dtype(np.uint8)))

    def run(self, arrays: tuple[Array, ...], out: Array) -> bool:
        """Whether it was filled."""
        grad, indices = arrays
        (scratch,) = work = self._work.take()
        maxima = read(indices.reshape(-1), self._planes, scratch, self._threads)
        if maxima is not None:
            scatter(maxima, grad, out, self._threads)
        self._work.give_back(work)
        return maxima is not None
