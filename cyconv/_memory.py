"""Floor 1: memory that kernels work in, aligned to cache lines and on large pages."""

from __future__ import annotations

import math
import mmap
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from cyconv._kernels import planned

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

Array = np.ndarray[Any, np.dtype[Any]]

_LINE = 64
_LARGE_PAGE = 2 << 20
#: From here on a large page is worth its 2 MiB. On pages of 4 KiB a working set near the size of the second-level
#: cache, which is indexed by physical addresses, misses it by chance: the dense tile took 4 to 12 % longer from one
#: process to the next (1x256x56x56 and 1x512x14x14, 3x3), and the processor foresees nothing across a page's end.
_LEAST_BYTES = 128 << 10
#: What is left of a large page that small arrays share (with a page of its own for each, what the calls of a step of
#: VGG-11 keep took 20 MiB instead of 2).
_begun: list[np.ndarray[Any, np.dtype[np.uint8]]] = []

#: Scratch kept between calls, for the whole process; more than this is given back to the system at once.
KEEP_BYTES = 34 << 20
_kept: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
#: the same for arrays that belong to calls of one shape, and how large those of each shape are
_KEEP_WORK_BYTES = 8 << 20
#: Shapes that need no more have as much again to themselves: taking from `lent` may cost their calls half as much
#: again (the gradient of maxima of 64x16x10x10, after a suite of large convolutions: 42 us, else 27).
_SMALL_WORK_BYTES = 64 << 10
_held: list[int] = []


def empty_bytes(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """At least ``nbytes`` of uninitialised memory, aligned to a cache line."""
    if nbytes >= _LEAST_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        return _on_large_pages(nbytes) if nbytes > _LARGE_PAGE // 2 else _within_large_page(nbytes)
    raw = np.empty(nbytes + _LINE, np.uint8)
    start = -raw.__array_interface__["data"][0] % _LINE
    return raw[start : start + nbytes]


def _within_large_page(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A part of a large page, which ends with the last array in it."""
    nbytes = -(-nbytes // _LINE) * _LINE
    try:
        page = _begun.pop()
    except IndexError:
        page = np.empty(0, np.uint8)
    if page.size < nbytes:
        page = _on_large_pages(_LARGE_PAGE)
    if page.size - nbytes >= _LEAST_BYTES:
        _begun.append(page[nbytes:])
    return page[:nbytes]


def _on_large_pages(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A mapping of its own, which ends with the last array that refers to it."""
    size = -(-nbytes // _LARGE_PAGE) * _LARGE_PAGE
    try:
        mapped = mmap.mmap(-1, size + _LARGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        mapped.madvise(mmap.MADV_HUGEPAGE)
    except OSError as error:
        raise MemoryError(f"cannot allocate {nbytes} bytes") from error
    raw = np.frombuffer(mapped, np.uint8)
    start = -raw.ctypes.data % _LARGE_PAGE
    return raw[start : start + size]


def empty(shape: int | tuple[int, ...], dtype: DTypeLike) -> Array:
    """Like `numpy.empty`, aligned to a cache line: vectors across two lines cost double."""
    dtype = np.dtype(dtype)
    cells = math.prod(shape) if isinstance(shape, tuple) else shape
    return empty_bytes(cells * dtype.itemsize)[: cells * dtype.itemsize].view(dtype).reshape(shape)


def lent(shape: int | tuple[int, ...], dtype: DTypeLike) -> Array:
    """The same from the memory that is kept between calls, to which it comes back when this very array is gone: no
    view of it may outlive it."""
    dtype = np.dtype(dtype)
    nbytes = (math.prod(shape) if isinstance(shape, tuple) else shape) * dtype.itemsize
    buffer = _take(nbytes)
    array = buffer[:nbytes].view(dtype).reshape(shape)
    weakref.finalize(array, _give_back, buffer).atexit = False
    return array


def _take(nbytes: int) -> Array:
    """The smallest of the kept buffers that is large enough; a new one instead of the largest if none is."""
    found: Array | None = planned.take_bytes(_kept, nbytes)
    if found is not None:
        return found
    return empty_bytes(nbytes if nbytes < _LEAST_BYTES else max(nbytes, _LARGE_PAGE))


def _give_back(buffer: Array) -> None:
    planned.give_back_bytes(_kept, buffer, KEEP_BYTES)


class Work:
    """Arrays that the calls of one shape work in, made for the first and kept for the next: taking and giving back
    take a fifth of a microsecond, those of `lent` four.

    Who takes them owns them alone until they are given back: calls at the same time have their own.
    """

    __slots__ = ("_free", "_nbytes", "_wanted")

    def __init__(self, *wanted: tuple[tuple[int, ...], DTypeLike]) -> None:
        self._wanted = wanted
        self._free: list[tuple[Array, ...]] = []
        self._nbytes = 0  # of what is kept

    def take(self) -> tuple[Array, ...]:
        """An array of each shape and dtype, with any numbers in it."""
        try:
            return self._free.pop()
        except IndexError:
            return self._make()

    def _make(self) -> tuple[Array, ...]:
        if not self._nbytes:
            nbytes = sum([math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in self._wanted])
            small = nbytes <= _SMALL_WORK_BYTES
            others = sum([held for held in _held if (held <= _SMALL_WORK_BYTES) == small])
            if others + nbytes <= _KEEP_WORK_BYTES:
                self._nbytes = nbytes
                _held.append(nbytes)
        return tuple([(empty if self._nbytes else lent)(*one) for one in self._wanted])

    def give_back(self, arrays: tuple[Array, ...]) -> None:
        """Keep them for the next call, unless all that is kept would be too much: then others may use the memory."""
        if self._nbytes and not self._free:
            self._free.append(arrays)

    def __del__(self) -> None:
        if self._nbytes:
            _held.remove(self._nbytes)


class scratch:
    """At least ``nbytes`` of aligned scratch memory, for one call; reused by later calls.

    Freshly mapped memory costs a page fault per page, more than the arithmetic of a small layer, so a few buffers
    are kept. Whoever is inside the ``with`` block owns the buffer alone.
    """

    __slots__ = ("_buffer", "_nbytes")

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes

    def __enter__(self) -> Array:
        self._buffer = _take(self._nbytes)
        return self._buffer

    def __exit__(self, *error: object) -> None:
        _give_back(self._buffer)


class WithScratch:
    """A kernel, with all that is known before, that takes x, out and such scratch memory: here without the latter."""

    __slots__ = ("_kernel", "_nbytes")

    def __init__(self, kernel: Callable[[Array, Array, Array], object], nbytes: int) -> None:
        self._kernel = kernel
        self._nbytes = nbytes

    def __call__(self, x: Array, out: Array) -> None:
        """Compute into ``out``. (A ``with`` block would take half a microsecond.)"""
        buffer = _take(self._nbytes)
        try:
            self._kernel(x, out, buffer)
        finally:
            _give_back(buffer)
