"""How `cyconv.signal` computes: one image stack, one kernel, and what lies around the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from cyconv._arrays import Array, Dtype
from cyconv._plans import exact
from cyconv._plans import signal_table as table
from cyconv._plans.arrays import run_convolution
from cyconv._plans.convolution import Convolution
from cyconv._plans.spec import Activation, ConvSpec

#: (images (N, H, W), result (N, OH, OW), cells before the first window, padding mode)
Run = Callable[[Array, Array, tuple[int, int], str], None]

#: most outputs per axis of a tile whose surroundings are in memory
_TILE = 512


def correlate(
    x: Array, w: Array, out: Array, pads: tuple[int, int], mode: str, fill: Any, method: str, threads: int
) -> None:
    """Correlate images (N, H, W) with a kernel (R, S) into (N, OH, OW), all promoting to the dtype of ``out``.

    Outside of an image lies what ``mode`` says, or ``fill`` with mode "zeros"; images without cells need that mode.
    """
    if 0 in w.shape or (0 in x.shape and not fill):
        out[...] = 0
        return
    if out.dtype.char in "gG":
        x, w = x.astype(out.dtype, copy=False), w.astype(out.dtype, copy=False)
        run = _extended_runner(w)
        for rows, columns in _tiles(range(out.shape[1]), range(out.shape[2])):
            _run_tile(run, x, out, w.shape, pads, mode, fill, rows, columns)
        return
    if out.dtype.kind == "c" and x.dtype.kind != "c":
        if fill.imag:  # the image is complex where the fill value lies
            x = x.astype(out.dtype)
        else:
            fill = fill.real
    if out.dtype.kind in "iu":
        run = _integer_runner(w, out.dtype, threads)
    else:
        run = _float_runner(x, w, out, method, threads)
    if not fill:
        run(x, out, pads, mode)
        return
    inside = [
        range(min(p, o), max(min(p, o), min(o, p + h - r + 1)))
        for p, o, h, r in zip(pads, out.shape[1:], x.shape[1:], w.shape, strict=True)
    ]
    rows, columns = inside
    if rows and columns:
        first = x[:, rows.start - pads[0] :, columns.start - pads[1] :]
        run(first, out[:, rows.start : rows.stop, columns.start : columns.stop], (0, 0), mode)
    else:
        rows = columns = range(0)
    for tile in _around(rows, columns, out.shape[1:]):
        _run_tile(run, x, out, w.shape, pads, mode, fill, *tile)


# ----------------------------------------------------------------------------------------------- by type


def _integer_runner(w: Array, dtype: Dtype, threads: int) -> Run:
    """Exact, modulo 2**bits."""
    w = w.astype(dtype, copy=False)

    def run(x: Array, out: Array, pads: tuple[int, int], mode: str) -> None:
        exact.correlate(x.astype(dtype, copy=False), w, out, pads, mode, threads)

    return run


def _float_runner(x: Array, w: Array, out: Array, method: str, threads: int) -> Run:
    """A convolution of one channel to one; a complex number is two channels, its real and its imaginary part."""
    real = np.dtype(out.real.dtype)
    if out.dtype.kind != "c":
        weight, groups = w.astype(real, copy=False)[np.newaxis, np.newaxis], 1
    elif x.dtype.kind != "c":
        weight, groups = np.stack([w.real, w.imag]).astype(real, copy=False)[:, np.newaxis], 1
    elif w.dtype.kind != "c":
        weight, groups = np.stack([w, w]).astype(real, copy=False)[:, np.newaxis], 2
    else:
        weight = np.array([[w.real, -w.imag], [w.imag, w.real]], real)
        groups = 1
    weight = np.ascontiguousarray(weight[:, :, np.newaxis])
    parts = out.dtype.kind == "c"

    def run(x: Array, out: Array, pads: tuple[int, int], mode: str) -> None:
        pairs = padding_pairs(x.shape[1:], weight.shape[3:], out.shape[1:], pads)
        if parts and not out.flags.c_contiguous:
            whole = np.empty(out.shape, out.dtype)
            run(x, whole, pads, mode)
            out[...] = whole
            return
        convolution = convolution_of(weight, groups, mode, method)
        run_convolution(convolution, _as_channels(x, real), _as_channels(out, real), pairs, threads)

    return run


def padding_pairs(
    size: tuple[int, ...], taps: tuple[int, ...], out: tuple[int, ...], pads: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Cells that the windows see before and after the image: not as many on both sides if the kernel is even."""
    return [(p, max(0, o + r - 1 - h - p)) for h, r, o, p in zip(size, taps, out, pads, strict=True)]


def convolution_of(weight: Array, groups: int, mode: str, method: str) -> Convolution:
    """The convolution with this weight; the same kernel often comes again, and packing costs as much as an image."""
    make = _known_convolution if weight.nbytes <= table.KNOWN_BYTES else _known_convolution.__wrapped__
    return make(weight.tobytes(), weight.shape, weight.dtype, groups, mode, method)


@lru_cache(maxsize=table.KNOWN_KERNELS)
def _known_convolution(
    weight: bytes, shape: tuple[int, ...], dtype: Dtype, groups: int, mode: str, method: str
) -> Convolution:
    array = np.frombuffer(weight, dtype).reshape(shape)
    spec = ConvSpec(
        in_channels=shape[1] * groups, out_channels=shape[0], kernel=(1, shape[3], shape[4]), stride=(1, 1, 1),
        dilation=(1, 1, 1), groups=groups, padding_mode=mode, activation=Activation(), dtype=dtype,
    )  # fmt: skip
    return Convolution(spec, array, None, method)


def _as_channels(images: Array, real: Dtype) -> Array:
    """View (N, H, W) as (N, 1, H, W), or complex ones as (N, 2, H, W)."""
    if images.dtype.kind != "c":
        return images.astype(real, copy=False)[:, np.newaxis]
    pairs = np.ascontiguousarray(images, np.result_type(real, np.complex64)).view(real)
    return pairs.reshape(*images.shape, 2).transpose(0, 3, 1, 2)


def _extended_runner(w: Array) -> Run:
    """Extended precision has no kernels: one multiply-add of whole arrays per tap, without padding."""

    def run(x: Array, out: Array, pads: tuple[int, int], mode: str) -> None:
        rows, columns = out.shape[1:]
        out[...] = 0
        for (r, s), tap in np.ndenumerate(w):
            out += tap * x[:, r : r + rows, s : s + columns]

    return run


# ----------------------------------------------------------------------------------------------- by place


def _run_tile(
    run: Run, x: Array, out: Array, taps: tuple[int, ...], pads: tuple[int, int], mode: str, fill: Any, rows: range,
    columns: range,
) -> None:
    """Compute these outputs from a copy of all the cells that they read, those outside the image included."""
    across = [
        _source_cells(part.start - p, len(part) + r - 1, h, mode)
        for part, p, r, h in zip((rows, columns), pads, taps, x.shape[1:], strict=True)
    ]
    dtype = out.dtype if x.dtype.kind == "c" else out.real.dtype
    if 0 in x.shape[1:]:
        cells = np.full((x.shape[0], len(across[0]), len(across[1])), fill, dtype)
    else:
        cells = x[:, across[0][:, np.newaxis], across[1]].astype(dtype, copy=False)
        cells[:, across[0] < 0] = fill
        cells[:, :, across[1] < 0] = fill
    run(cells, out[:, rows.start : rows.stop, columns.start : columns.stop], (0, 0), "zeros")


def _source_cells(start: int, count: int, size: int, mode: str) -> Array:
    """The cell of an axis that each padded coordinate shows, -1 for none."""
    at = np.arange(start, start + count)
    if mode == "circular":
        return at % size
    if mode == "symmetric":
        at %= 2 * size
        return np.where(at < size, at, 2 * size - 1 - at)
    return np.where((at >= 0) & (at < size), at, -1)


def _around(rows: range, columns: range, shape: tuple[int, ...]) -> Iterator[tuple[range, range]]:
    """Tiles of all outputs but ``rows`` x ``columns``: above, below, left, right."""
    height, width = range(shape[0]), range(shape[1])
    if not rows:
        yield from _tiles(height, width)
        return
    yield from _tiles(height[: rows.start], width)
    yield from _tiles(height[rows.stop :], width)
    yield from _tiles(rows, width[: columns.start])
    yield from _tiles(rows, width[columns.stop :])


def _tiles(rows: range, columns: range) -> Iterator[tuple[range, range]]:
    for i in range(0, len(rows), _TILE):
        for j in range(0, len(columns), _TILE):
            yield rows[i : i + _TILE], columns[j : j + _TILE]
