"""Plan of the planes kernel: which calls can be read in place, and the tables of ``_kernels/planes.pyx``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, gcd
from typing import Any, NamedTuple

import numpy as np

from cyconv import _runtime
from cyconv._plans import table
from cyconv._plans.spec import Call, ConvSpec, bytes_moved, strides_by_name

Array = np.ndarray[Any, np.dtype[Any]]
#: lengths of two runs of taps that the tile has
PAIRS = ((2, 1), (3, 2), (4, 3), (6, 5))

Run = tuple[int, ...]


class Form(NamedTuple):
    """How vectors lie: cells from lane to lane (1 or 2), over two planes, along the channels."""

    step: int
    paired: bool
    by_channels: bool
    streams: bool
    """Whether the loops that go down the rows serve it."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """One call's layout, in the form that the kernel takes."""

    form: Form
    swapped: bool
    geometry: Array
    tables: Array
    threads: int
    seconds: float


@lru_cache(maxsize=512)
def lay_out(
    spec: ConvSpec, call: Call, threads: int, runs: tuple[Run, ...], finite: bool, swapped: bool
) -> InPlace | None:
    """The layout of this call, None if it cannot be read in place.

    ``runs`` are those of the one pass over the input; ``finite``: no weight is NaN or infinite, so that it does not
    matter whether a zero of the padding is multiplied; ``swapped``: H and W are exchanged.
    """
    form = find_form(spec, call, runs, finite)
    if form is None:
        return None
    kernel = _runtime.kernel("planes", spec.dtype)
    lanes = kernel.LANES
    gap = spec.dilation[1] // gcd(spec.dilation[1], spec.stride[1])
    rows, rest = _rows(spec, call, runs, kernel.TILE[0], gap)
    across = _across(spec, call, form, lanes, kernel.TILE[1])
    if form.by_channels:
        together = table.STREAM_CHANNEL_BYTES if form.streams else table.SLIDING_CHANNEL_BYTES
        unit = lanes * max(1, together // (lanes * spec.dtype.itemsize))
    else:
        unit = 2 if form.paired else 1
    units = ceil(spec.groups / unit)
    cycles = _cycles(spec, call, form, lanes, len(rows) * kernel.TILE[0], sum(tile.vecs for tile in across), units)
    threads = max(1, min(threads, int(cycles / table.SLIDING_THREAD_CYCLES)))
    wanted = 4 * threads if threads > 1 else 1
    bands = min(ceil(wanted / (call.batch * units)), len(rows) - rest) if gap == 1 else 1
    if form.streams and len(across) > 2:
        bands = max(bands, call.out[1] // table.SLIDING_STRIP_ROWS)
    items = call.batch * units * bands
    threads = min(threads, items)
    values = {
        "batch": call.batch, "channels": spec.in_channels,
        "group_inputs": spec.group_inputs, "group_outputs": spec.group_outputs,
        "step": form.step, "stride_h": spec.stride[1], "stride_w": spec.stride[2],
        "paired": form.paired, "by_channels": form.by_channels, "streams": form.streams,
        "units": units, "unit_groups": unit, "bands": bands, "tiles_h": len(rows), "rest_h": rest,
        "tiles_w": len(across), "chunks": 1 if threads == 1 else min(items, 8 * threads),
        "columns": spec.kernel[2], "row_step": gap * spec.stride[1], "row_gap": gap, "column_step": spec.dilation[2],
        "taps": len(runs[0]), "second_taps": len(runs[1]) if len(runs) == 2 else 0,
        "first_row": runs[0][0] * spec.dilation[1],
        "second_row": runs[1][0] * spec.dilation[1] if len(runs) == 2 else 0,
        "size_h": call.size[1], "size_w": call.size[2], "pad_h": call.pads[1][0],
        "out_h": call.out[1], "out_w": call.out[2],
        "weight_step": spec.depth * (lanes if form.paired or form.by_channels else 1),
        "is_silu": spec.activation.silu,
        "has_activation": not spec.activation.silu and spec.activation.kind != "none",
        **strides_by_name(call),
    }  # fmt: skip
    numbers = [number for tile in (*rows, *across) for number in tile]
    numbers += [bits for tile in across for bits in _masks(spec, call, form, tile, lanes)]
    seconds = max(cycles / table.CLOCK_HZ, bytes_moved(spec, call) / table.SLIDING_BANDWIDTH) / threads
    return InPlace(
        form,
        swapped,
        np.array([values[name] for name in kernel.FIELDS], np.int64),
        np.array(numbers, np.int64),
        threads,
        seconds + table.CALL_SECONDS,
    )


def find_form(spec: ConvSpec, call: Call, runs: tuple[Run, ...], finite: bool) -> Form | None:
    """How vectors can lie in this call, None if they cannot."""
    kernel = _runtime.kernel("planes", spec.dtype)
    padded = any(pad for pads in call.pads for pad in pads)
    if not kernel.SUPPORTED or (padded and not (finite and spec.padding_mode == "zeros")):
        return None
    if (spec.kernel[0], call.size[0], call.out[0], call.pads[0]) != (1, 1, 1, (0, 0)):
        return None
    lengths = tuple(len(run) for run in runs)
    if max(lengths) > kernel.RUN or (len(runs) > 1 and lengths not in PAIRS):
        return None
    streams = can_stream(spec) and call.pads[1][0] <= 2
    stride, dilation, columns = spec.stride[2], spec.dilation[2], spec.kernel[2]
    if call.x_strides[4] == 1 == call.out_strides[4]:
        if stride == 1:
            possible = len(runs) == 1
        else:
            possible = stride == 2 and (lengths == (1,) or lengths in PAIRS) and (dilation == 1 or columns == 1)
        if not possible:
            return None
        paired = 2 * call.out[2] <= kernel.LANES and spec.groups > 1 and kernel.PAIRED
        if not streams and _can_stream_taps(spec, call):
            streams = not paired or (stride == 1 and 2 * call.size[2] <= kernel.LANES)
        return Form(stride, paired, False, streams and spec.stride[1] == stride)
    if call.x_strides[1] == 1 == call.out_strides[1] and spec.group_inputs == 1 == spec.group_outputs:
        return Form(1, False, True, streams) if 2 * spec.groups >= kernel.LANES else None
    return None


def can_stream(spec: ConvSpec) -> bool:
    """Whether the loops for 3 x 3 taps can serve this layer."""
    taps = spec.kernel[1:], spec.dilation[1:], spec.group_inputs
    return taps == ((3, 3), (1, 1), 1) and spec.stride[1] <= 2


def _can_stream_taps(spec: ConvSpec, call: Call) -> bool:
    """Whether 5 x 5 or 7 x 7 taps go down the rows: in planes that two tiles cover, where no band begins anew."""
    kernel = _runtime.kernel("planes", spec.dtype)
    taps, stride = spec.kernel[1], spec.stride[1]
    if spec.kernel[2] != taps or taps not in (5, 7) or taps > kernel.STREAM_TAPS or spec.group_inputs != 1:
        return False
    fits = spec.dilation[1:] == (1, 1) and max(call.pads[1][0], *call.pads[2]) < taps
    return fits and stride <= (2 if taps == 5 else 1) and call.out[2] <= 4 * stride * kernel.LANES


class Rows(NamedTuple):
    """``Rows`` of the kernel: first output, coordinate of its first tap, bits of input rows inside, outputs."""

    out: int
    at: int
    inside: int
    second_inside: int
    rows: int


def _rows(spec: ConvSpec, call: Call, runs: tuple[Run, ...], height: int, gap: int) -> tuple[list[Rows], int]:
    """Rows of tiles, and how many of them overlap the one before (0 or 1, if no dilation splits the rows)."""
    stride, pad, size, out_h = spec.stride[1], call.pads[1][0], call.size[1], call.out[1]
    found = []
    for phase in range(min(gap, out_h)):
        rows = ceil((out_h - phase) / gap)
        count = min(rows, height)
        for start in range(0, rows, height):
            out = phase + min(start, rows - count) * gap
            at = out * stride - pad
            inside = [0, 0]
            for number, run in enumerate(runs):
                first = at + run[0] * spec.dilation[1]
                for i in range(count + len(run) - 1):
                    inside[number] |= (0 <= first + i * gap * stride < size) << i
            found.append(Rows(out, at, inside[0], inside[1], count))
    return found, int(out_h > height and out_h % height > 0)


class Across(NamedTuple):
    """``Across`` of the kernel.

    First output, coordinate of its first tap, vectors, outputs from the first to the last of them, lanes that are
    stored, whether only the first tap of the first vector and the last tap of the last one reach beyond the input.
    """

    out: int
    at: int
    vecs: int
    next_out: int
    lanes: int
    outer: int


def _across(spec: ConvSpec, call: Call, form: Form, lanes: int, most: int) -> list[Across]:
    """Tiles along W: whole vectors, the last of which overlaps the one before; one with fewer lanes if W is less."""
    width = call.out[2]
    each = 1 if form.by_channels else lanes // 2 if form.paired else lanes
    half = spec.kernel[2] // 2
    # the last vector begins where the one before reaches no farther than x
    outer = form.streams and each == lanes <= width and max(call.pads[2]) <= half and not 0 < width % each < half
    if form.paired or most == 1:
        most = 1
    elif outer and (half == 1 or form.step == 2):
        most = _runtime.kernel("planes", spec.dtype).STREAM
    tiles = ceil(width / each)
    found, done = [], 0
    for left in range(ceil(tiles / most), 0, -1):
        vecs = ceil((tiles - done) / left)
        out = min(done * each, max(0, width - each))
        next_out = min((vecs - 1) * each, width - each - out)
        stored = -1 if width >= each and not form.paired else (1 << width) - 1
        found.append(Across(out, out * spec.stride[2] - call.pads[2][0], vecs, next_out, stored, outer))
        done += vecs
    return found


def _masks(spec: ConvSpec, call: Call, form: Form, tile: Across, lanes: int) -> list[int]:
    """Bits of the lanes inside the input: [column][vector][load]."""
    size, bits = call.size[2], []

    def inside(first: int, count: int) -> int:
        start, stop = min(max(-first, 0), count), min(max(size - first, 0), count)
        return (1 << stop) - (1 << start) if stop > start else 0

    for column in range(spec.kernel[2]):
        for vector in range(2):
            at = tile.at + column * spec.dilation[2] + vector * tile.next_out * spec.stride[2]
            if form.by_channels:
                bits += [-inside(at, 1), 0]
            elif form.paired and form.step == 1:
                half = inside(at, lanes // 2)
                bits += [half, half << lanes // 2]
            elif form.paired:
                bits += [inside(at, lanes)] * 2
            else:
                bits += [inside(at, lanes), inside(at + lanes, lanes)]
    return bits


def _cycles(spec: ConvSpec, call: Call, form: Form, lanes: int, rows: int, vectors: int, units: int) -> float:
    """Cycles of one thread: vectors of multiply-adds, starting and storing them, items."""
    vectors *= rows * call.batch * spec.group_outputs
    vectors *= ceil(spec.groups / lanes) if form.by_channels else units
    sums = spec.group_inputs * (spec.taps * table.SLIDING_STEP_CYCLES + table.SLIDING_CHANNEL_CYCLES)
    if form.step == 2 and not form.streams:  # every second cell, sorted out once for the rows of a tile that read it
        kernel = _runtime.kernel("planes", spec.dtype)
        seen = spec.stride[1] + max(0, spec.kernel[1] - spec.stride[1]) / kernel.TILE[0]
        sums += spec.group_inputs * spec.kernel[2] * seen * table.SLIDING_SORT_CYCLES
    cycles = vectors * (sums + table.SLIDING_STORE_CYCLES)
    return cycles + call.batch * units * table.SLIDING_ITEM_CYCLES
