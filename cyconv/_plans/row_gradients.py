"""Plan of the weight gradient of ``_kernels/rowgrad.pyx``: which layers, bands, segments and scratch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import table
from cyconv._plans.spec import LINE, PADDING_MODES, Call, ConvSpec, equal_cut, equal_segments, flops, round_up

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Blocks:
    """One call's layout, in the form that the kernel takes."""

    segments: int
    ld_row: int
    geometry: Array
    offsets: Array
    scratch_bytes: int
    threads: int


def supports(spec: ConvSpec, call: Call) -> bool:
    """Whether windows are rows of neighbours in a plane whose channels fill most of a vector, or whole ones."""
    lanes = _runtime.kernel("rowgrad", spec.dtype).LANES
    inputs = spec.group_inputs
    return (
        (call.size[0], call.out[0], spec.kernel[0]) == (1, 1, 1)
        and spec.kernel[2] > 1
        and spec.dilation[2] == 1
        and spec.stride[1] <= spec.kernel[1]
        and spec.stride[2] <= spec.kernel[2]
        and (inputs <= lanes or inputs % lanes == 0)
        and _row(spec, lanes) * spec.kernel[1] <= table.ROW_GRADIENT_EXCESS * spec.depth
        and _band_bytes(spec, call, 1) <= table.ROW_GRADIENT_BYTES
    )


def _row(spec: ConvSpec, lanes: int) -> int:
    """Scalars of a kernel's row in a product."""
    return round_up(spec.kernel[2] * spec.group_inputs, lanes)


def _sizes(spec: ConvSpec, call: Call, band: int) -> tuple[int, int]:
    """Rows and columns of cells that a band of rows of positions meets."""
    rows = (band - 1) * spec.stride[1] + (spec.kernel[1] - 1) * spec.dilation[1] + 1
    return rows, (call.out[2] - 1) * spec.stride[2] + spec.kernel[2]


def _band_bytes(spec: ConvSpec, call: Call, band: int) -> int:
    rows, cells = _sizes(spec, call, band)
    return rows * cells * spec.group_inputs * spec.dtype.itemsize


class Rows:
    """A weight gradient of calls of one shape."""

    def __init__(self, spec: ConvSpec, call: Call, threads: int) -> None:
        blocks = blocks_for(spec, call, threads)
        self._kernel = _runtime.kernel("rowgrad", spec.dtype)
        self._blocks, self._taps_w, self._threads = blocks, spec.kernel[2], threads
        self._x_shape = call.batch, spec.in_channels, *call.size[1:]
        self._grad_shape = call.batch, spec.out_channels, *call.out[1:]
        products = blocks.segments, spec.out_channels, spec.kernel[1], blocks.ld_row
        self._work = _memory.Work((products, spec.dtype), ((blocks.scratch_bytes,), np.uint8))

    def run(self, x: Array, grad: Array, out: Array) -> None:
        """Fill ``out`` (K, C // groups * taps), C-contiguous; x and grad are (N, C, *spatial), none is empty."""
        blocks = self._blocks
        grad = grad.reshape(self._grad_shape)
        if not grad.flags.c_contiguous:
            grad = np.ascontiguousarray(grad)
        products, scratch = work = self._work.take()
        self._kernel.run(
            x.reshape(self._x_shape), grad, products.reshape(-1), blocks.geometry, blocks.offsets, scratch,
            blocks.threads,
        )  # fmt: skip
        self._kernel.collect(products, out, self._taps_w, self._threads)
        self._work.give_back(work)


@lru_cache(maxsize=512)
def blocks_for(spec: ConvSpec, call: Call, threads: int) -> Blocks:
    """Bands of rows of positions and segments; but for the last of them nothing knows the threads."""
    kernel = _runtime.kernel("rowgrad", spec.dtype)
    itemsize = spec.dtype.itemsize
    _, height, width = call.out
    band = max(1, min(height, table.GRADIENT_POSITIONS // width))
    while band > 1 and _band_bytes(spec, call, band) > table.ROW_GRADIENT_BYTES:
        band -= 1
    band = equal_cut(height, band)
    rows, cells = _sizes(spec, call, band)
    ld_row = _row(spec, kernel.LANES)
    product_bytes = spec.out_channels * spec.kernel[1] * ld_row * itemsize
    segments = equal_segments(
        call.batch * ceil(height / band),
        ceil(table.GRADIENT_ITEMS / spec.groups),
        max(1, table.GRADIENT_PRODUCT_BYTES // 2 // product_bytes),
    )
    threads = max(1, min(threads, segments * spec.groups, flops(spec, call) // table.THREAD_FLOPS))
    # a vector of cells may be stored behind the last one, and two panels read
    slack = kernel.LANES * max(spec.group_inputs, kernel.LANES) + 2 * kernel.LANES * kernel.VECS
    scratch_bytes = round_up((rows * cells * spec.group_inputs + slack) * itemsize, LINE)
    values = {
        "batch": call.batch, "groups": spec.groups,
        "group_inputs": spec.group_inputs, "group_outputs": spec.group_outputs,
        "size_h": call.size[1], "size_w": call.size[2], "out_h": height, "out_w": width,
        "stride_h": spec.stride[1], "stride_w": spec.stride[2], "dilation_h": spec.dilation[1],
        "pad_h": call.pads[1][0], "pad_w": call.pads[2][0], "padding_mode": PADDING_MODES[spec.padding_mode],
        "taps_h": spec.kernel[1], "taps_w": spec.kernel[2], "band": band, "rows": rows, "cells": cells,
        "segments": segments, "ld_row": ld_row, "scratch_bytes": scratch_bytes,
    }  # fmt: skip
    places = np.add.outer(np.arange(band) * spec.stride[1] * cells, np.arange(width) * spec.stride[2])
    return Blocks(
        segments=segments,
        ld_row=ld_row,
        geometry=np.array([values[name] for name in kernel.FIELDS], np.int64),
        offsets=np.pad(places.reshape(-1) * spec.group_inputs, (0, kernel.OFFSETS_AHEAD), mode="edge"),
        scratch_bytes=scratch_bytes * threads,
        threads=threads,
    )
