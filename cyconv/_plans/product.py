"""Plan of the products of ``_kernels/product.pyx``: which ones, how they are shared among threads."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from cyconv import _runtime
from cyconv._plans import table

Array = np.ndarray[Any, np.dtype[Any]]


def suits_dots(a: Array, b: Array) -> bool:
    """Whether ``a @ b.T`` is best computed by :func:`dots`, a having the rows of a batch."""
    rows, columns = a.shape
    return (
        _can_multiply(a, b)
        and b.strides[1] == b.itemsize
        and a.nbytes <= table.PRODUCT_DOT_BYTES
        and rows <= max(table.PRODUCT_DOT_ROWS, columns // 2)
    )


def suits_times(batch: int, a: Array, b: Array) -> bool:
    """Whether ``a @ b`` is best computed by :func:`times`, for a batch of so many rows."""
    return _can_multiply(a, b) and batch <= table.PRODUCT_ROWS and b.strides[1] == b.itemsize


def _can_multiply(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.dtype in (np.float32, np.float64) and a.size > 0 and b.size > 0


def dots(a: Array, b: Array, threads: int) -> Array:
    """``a @ b.T``."""
    a, b = _with_rows(a), _with_rows(b)
    out = np.empty((len(a), len(b)), a.dtype)
    kernel = _runtime.kernel("product", a.dtype)
    kernel.dots(a, b, out, _threads(threads, 2 * out.size * a.shape[1], ceil(len(b) / kernel.BLOCK)))
    return out


def times(a: Array, b: Array, threads: int) -> Array:
    """``a @ b``."""
    a, b = _with_rows(a), _with_rows(b)
    out = np.empty((len(a), b.shape[1]), a.dtype)
    kernel = _runtime.kernel("product", a.dtype)
    panels = ceil(b.shape[1] / kernel.COLUMNS)
    threads = _threads(threads, 2 * out.size * len(b), panels)
    most = table.PRODUCT_CHUNK_BYTES // a.itemsize
    chunk = min(most, ceil(panels / threads) * kernel.COLUMNS)
    kernel.times(a, b, out, chunk, threads)
    return out


def _threads(threads: int, work: int, items: int) -> int:
    return max(1, min(threads, items, work // table.THREAD_FLOPS))


def _with_rows(array: Array) -> Array:
    """The array with neighbours in its rows, copied if they are not."""
    step = array.strides[1]
    if step == array.itemsize and array.strides[0] % array.itemsize == 0 and array.flags.aligned:
        return array
    return np.ascontiguousarray(array)
