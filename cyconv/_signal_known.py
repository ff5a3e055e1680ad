"""Correlations of plain images with a small kernel that came before: what was found out about them is kept.

A kernel counts as the same if its bytes are: arrays may change between two calls.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cyconv import _memory, _signal_run
from cyconv._arrays import FLOAT32, FLOAT64, Array, takes_result
from cyconv._kernels import planned
from cyconv._plans import exact
from cyconv._plans import signal_table as table
from cyconv._plans.convolution import Runner
from cyconv._plans.sliding import Sliding
from cyconv._plans.spec import Call, Compute, contiguous_strides
from cyconv._runtime import threads_for
from cyconv._signal_check import is_swapped, place

Key = tuple[Any, ...]


class Band(NamedTuple):
    """Some rows of the result, and the rows of the image that they read."""

    call: Call
    compute: Compute
    read: slice
    written: slice


class Known(NamedTuple):
    """All but the images."""

    compute: Compute
    call: Call
    shape: tuple[int, int]
    bands: tuple[Band, ...]
    """For images of another type than the kernel's; empty if they are converted as a whole."""


_known: dict[Key, Known] = {}


def key_of(in1: Any, in2: Any, mode: str, flip: bool, num_threads: int | None) -> Key | None:
    """What tells such a correlation from others; None if it is not worth keeping, or not told apart for sure.

    Images are integers or floats that promote to the type of the kernel, float32 or float64.
    """
    if type(in1) is not np.ndarray or type(in2) is not np.ndarray or type(mode) is not str:
        return None
    dtype = in2.dtype
    if (dtype is not FLOAT32 and dtype is not FLOAT64) or in1.ndim != 2 or in2.ndim != 2:
        return None
    if in1.dtype is not dtype and not exact.becomes(in1.dtype, dtype):
        return None
    if in2.nbytes > table.KNOWN_BYTES or not in1.flags.c_contiguous or not in1.flags.aligned:
        return None
    threads = threads_for(num_threads)
    return in1.shape, in1.dtype, in2.shape, dtype, in2.tobytes(), mode, flip, threads


def run(key: Key, in1: Array, out: Array | None) -> Array | None:
    """Correlate if this came before and ``out`` needs no more care; else None."""
    known = _known.get(key)
    if known is None:
        return None
    dtype, shape = key[3], known.shape
    if out is None:
        result = planned.new_result(shape, dtype)
    elif takes_result(out, shape, dtype) and not np.may_share_memory(in1, out):
        result = out
    else:
        return None
    if known.bands:
        _run_bands(known, in1, result)
        return result
    x = in1 if in1.dtype is dtype else in1.astype(dtype)
    known.compute(x.reshape(1, 1, *known.call.size), result.reshape(1, 1, 1, *shape))
    return result


def _run_bands(known: Known, in1: Array, result: Array) -> None:
    """Convert and correlate some rows at a time: they do not leave the cache in between."""
    most = max(band.call.size[1] for band in known.bands)
    with _memory.scratch(most * in1.shape[1] * result.itemsize) as scratch:
        for call, compute, read, written in known.bands:
            rows = scratch[: call.size[1] * in1.shape[1] * result.itemsize].view(result.dtype)
            rows = rows.reshape(1, 1, *call.size)
            rows[0, 0, 0] = in1[read]
            compute(rows, result[written].reshape(1, 1, *call.out))


def _find_bands(algorithm: Runner, call: Call, threads: int, taps: int, itemsize: int) -> tuple[Band, ...]:
    """None where one band is enough, or where a band would add up in another order than the call as a whole."""
    _, height, width = call.size
    (above, _), results = call.pads[1], call.out[1]
    rows = table.BAND_BYTES // (width * itemsize) - taps
    if not isinstance(algorithm, Sliding) or rows < taps or rows >= results:
        return ()
    found = []
    for first in range(0, results, rows):
        stop = min(results, first + rows)
        top, bottom = first - above, stop - above + taps - 1
        read = slice(max(0, top), min(height, bottom))
        size, out = (1, read.stop - read.start, width), (1, stop - first, call.out[2])
        pads = call.pads[0], (read.start - top, bottom - read.stop), call.pads[2]
        strides = contiguous_strides(1, size, False), contiguous_strides(1, out, False)
        found.append((Call(1, size, pads, out, *strides), read, slice(first, stop)))
    order = algorithm.order(call)
    if order is None or any(algorithm.order(part) != order for part, _, _ in found):
        return ()
    return tuple([Band(part, algorithm.prepare(part, threads), *rows) for part, *rows in found])


def remember(key: Key, in2: Array) -> None:
    """Keep this correlation, whose arguments were checked, unless the larger array is the kernel."""
    size, given, taps, dtype, _, mode, flip, threads = key
    if 0 in (*size, *taps) or is_swapped(mode, size, taps):
        return
    frame = place(mode, size, taps, flip)
    kernel = in2[::-1, ::-1] if flip else in2
    convolution = _signal_run.convolution_of(kernel[np.newaxis, np.newaxis, np.newaxis], 1, "zeros", "auto")
    rows, columns = _signal_run.padding_pairs(size, taps, frame.out, frame.pads)
    pads = (0, 0), rows, columns
    image, result = (1, *size), (1, *frame.out)
    call = Call(
        1, image, pads, result, contiguous_strides(1, image, False), contiguous_strides(1, result, False)
    )
    algorithm, threads = convolution.choice(call, threads)
    if len(_known) >= table.KNOWN_KERNELS:
        _known.clear()
    bands = () if given == dtype else _find_bands(algorithm, call, threads, taps[0], dtype.itemsize)
    _known[key] = Known(algorithm.prepare(call, threads), call, frame.out, bands)
