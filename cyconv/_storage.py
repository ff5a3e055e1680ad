"""Floor 1: arrays stored as float16 or bfloat16, to the float32 that they are computed in, and back.

In memory that is kept between calls: page faults of fresh memory take as long as the conversion.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache, lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np

from cyconv import _runtime
from cyconv._memory import scratch

Array = np.ndarray[Any, np.dtype[Any]]
Dtype = np.dtype[Any]
Order: TypeAlias = Literal["C", "K"]

_FLOAT16 = np.dtype(np.float16)
_FLOAT32 = np.dtype(np.float32)
_BITS = np.dtype(np.uint16)
#: axes that the kernel walks over, and cells that make a thread worth its start (10 us of conversion)
_MOST_AXES = 4
_THREAD_CELLS = 1 << 16
#: the C library hands out such memory again and again, and in less time than `scratch`
_SMALL_BYTES = 64 << 10


class computed(AbstractContextManager[Array]):
    """The numbers of ``array`` in the dtype to compute in, inside a ``with`` block.

    It is the array itself if it has that dtype and need not be a copy; ``order`` is that of the copy, as in NumPy.
    """

    __slots__ = ("_array", "_copy", "_dtype", "_order", "_scratch", "_threads")

    def __init__(self, array: Array, dtype: Dtype, threads: int, order: Order = "K", copy: bool = False) -> None:
        self._array, self._dtype, self._threads, self._order, self._copy = array, dtype, threads, order, copy
        self._scratch: scratch | None = None

    def __enter__(self) -> Array:
        array = self._array
        if array.dtype == self._dtype and not self._copy:
            return array
        values, self._scratch = _room_for(array, self._dtype, self._order)
        convert(array, values, self._threads)
        return values

    def __exit__(self, *error: object) -> None:
        if self._scratch is not None:
            self._scratch.__exit__(*error)


def to_compute(array: Array, dtype: Dtype, threads: int) -> Array:
    """The same in memory of its own, for as long as it is needed; ``array`` itself if it has the dtype."""
    if array.dtype == dtype:
        return array
    values = np.empty_like(array, dtype)
    convert(array, values, threads)
    return values


class stored(AbstractContextManager[Array]):
    """An array of the dtype to compute in, whose numbers are in ``out`` after the ``with`` block; see `computed`."""

    __slots__ = ("_copy", "_dtype", "_order", "_out", "_scratch", "_threads", "_values")

    def __init__(self, out: Array, dtype: Dtype, threads: int, order: Order = "K", copy: bool = False) -> None:
        self._out, self._dtype, self._threads, self._order, self._copy = out, dtype, threads, order, copy
        self._scratch: scratch | None = None
        self._values: Array | None = None

    def __enter__(self) -> Array:
        if self._out.dtype == self._dtype and not self._copy:
            return self._out
        self._values, self._scratch = _room_for(self._out, self._dtype, self._order)
        return self._values

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None and self._values is not None:
            convert(self._values, self._out, self._threads)
        if self._scratch is not None:
            self._scratch.__exit__(kind, *error)


@lru_cache(maxsize=1024)
def _order(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of such an array from the longest step to the shortest, and where each of them went."""
    axes = sorted(range(len(shape)), key=lambda axis: -abs(strides[axis]))
    return tuple(axes), tuple(sorted(range(len(shape)), key=axes.__getitem__))


def _room_for(array: Array, dtype: Dtype, order: Order) -> tuple[Array, scratch | None]:
    """An array like this one, and the scratch memory that it lies in, entered, if it is not small."""
    nbytes = array.size * dtype.itemsize
    if nbytes <= _SMALL_BYTES:
        return np.empty_like(array, dtype, order), None
    held = scratch(nbytes)
    return _laid_out_like(array, held.__enter__(), dtype, order), held


def _laid_out_like(array: Array, memory: Array, dtype: Dtype, order: Order) -> Array:
    """An array of the same shape in ``memory``, without gaps; its axes in the same order with "K", as in NumPy."""
    values = memory[: array.size * dtype.itemsize].view(dtype)
    shape = array.shape
    if order == "C" or array.flags.c_contiguous:
        return values.reshape(shape)
    axes, places = _order(shape, array.strides)
    return values.reshape([shape[axis] for axis in axes]).transpose(places)


def like(array: Array, dtype: Dtype) -> Array:
    """An array of no particular numbers that lies in memory as what `computed` and `stored` give."""
    if array.dtype == dtype:
        return array
    if array.size * dtype.itemsize <= _SMALL_BYTES:
        return np.empty_like(array, dtype)
    return _laid_out_like(array, np.empty(array.size * dtype.itemsize, np.uint8), dtype, "K")


@cache
def is_converted(dtype: Dtype) -> bool:
    """Whether it is float16 or bfloat16."""
    return dtype == _FLOAT16 or dtype.name == "bfloat16"


def convert(source: Array, target: Array, threads: int) -> None:
    """Fill ``target`` with the numbers of ``source``, rounded to its dtype; what is too large becomes infinite."""
    to_wide = target.dtype == _FLOAT32
    narrow, wide = (source, target) if to_wide else (target, source)
    views = None
    if source.size and wide.dtype == _FLOAT32 and is_converted(narrow.dtype):
        views = _as_rows(narrow.view(_BITS), wide)
    if views is None:
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(target, source, casting="unsafe")
        return
    kernel = _runtime.kernel("convert", _FLOAT32)
    run = kernel.widen if to_wide else kernel.narrow
    run(*views, narrow.dtype != _FLOAT16, min(threads, 1 + source.size // _THREAD_CELLS))


def _as_rows(a: Array, b: Array) -> tuple[Array, Array] | None:
    """Both arrays as views of four axes, the last without gaps; None if there are no such views."""
    if a.flags.c_contiguous and b.flags.c_contiguous:
        return a.reshape(1, 1, 1, -1), b.reshape(1, 1, 1, -1)
    axes, shape = _rows(a.shape, a.strides, a.itemsize, b.strides, b.itemsize)
    return (a.transpose(axes).reshape(shape), b.transpose(axes).reshape(shape)) if shape else None


@lru_cache(maxsize=1024)
def _rows(
    shape: tuple[int, ...], a_strides: tuple[int, ...], a_size: int, b_strides: tuple[int, ...], b_size: int
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The order of the axes of two such arrays in memory, and their shape where neighbouring axes are one if they can
    be in both."""
    order, _ = _order(shape, b_strides)
    sizes: list[int] = []
    steps: list[tuple[int, int]] = []
    for axis in order:
        step = a_strides[axis], b_strides[axis]
        if shape[axis] == 1:
            continue
        if steps and steps[-1] == (step[0] * shape[axis], step[1] * shape[axis]):
            sizes[-1], steps[-1] = sizes[-1] * shape[axis], step
        else:
            sizes.append(shape[axis])
            steps.append(step)
    if len(sizes) > _MOST_AXES or (steps and steps[-1] != (a_size, b_size)):
        return order, None
    return order, (*(1,) * (_MOST_AXES - len(sizes)), *sizes)
