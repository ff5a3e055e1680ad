"""How the dense kernel runs a call: orientation, boxes, blocks and scratch of ``_kernels/dense.pyx``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heapreplace
from itertools import product
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np

from cyconv import _runtime
from cyconv._plans import table
from cyconv._plans.gathering import AxisLayout, lay_out_axis
from cyconv._plans.spec import PADDING_MODES, Call, ConvSpec, bytes_moved, round_up

Array = np.ndarray[Any, np.dtype[Any]]
_LINE = 64


@dataclass(frozen=True, slots=True)
class Blocks:
    """One call's layout, in the form that the kernel takes."""

    by_rows: bool
    merged: bool
    geometry: Array
    tables: Array
    scratch_bytes: int
    threads: int
    seconds: float


@lru_cache(maxsize=512)
def blocks_for(spec: ConvSpec, call: Call, threads: int) -> Blocks:
    """The cheaper orientation for this call, with its boxes."""
    merged = _can_merge(spec, call)
    if merged:
        call = _merge(call)
    tile = _tile(spec)
    block = _block(spec)
    options: list[tuple[float, int, Way]] = []
    for by_rows, straight, several in _WAYS:
        box = _choose_box(spec, call, block, by_rows, several, tile.lanes)
        way = Way(by_rows, straight, merged, box)
        if not straight or (_is_direct_out(call, way) and not _is_direct_in(spec, call)):
            options.append((_cycles(spec, call, way, tile), len(options), way))
    cost, _, way = min(options)
    cycles = cost * call.batch * spec.groups * call.positions / threads
    seconds = max(cycles / table.CLOCK_HZ, bytes_moved(spec, call) / table.BANDWIDTH) + table.CALL_SECONDS
    return _describe(spec, call, threads, block, way, tile, seconds)


Box = tuple[int, int, int, int]

#: (by_rows, straight, several images in a box)
_WAYS = ((True, False, False), (True, True, False), (True, False, True), (False, False, False), (False, False, True))


class Way(NamedTuple):
    """One way to run the dense kernel."""

    by_rows: bool
    """Rows of the tile are output channels, else positions."""
    straight: bool
    """Panels of positions end with the rows of the box and are not packed."""
    merged: bool
    """The spatial axes are taken as one."""
    box: Box
    """Images, depth, height and width of a box of output positions."""


class Tile(NamedTuple):
    """The register tile of a build: rows x (vecs * lanes)."""

    rows: int
    vecs: int
    lanes: int


def _tile(spec: ConvSpec) -> Tile:
    kernel = _runtime.kernel("dense", spec.dtype)
    return Tile(kernel.ROWS, kernel.VECS, kernel.LANES)


def _block(spec: ConvSpec) -> int:
    """Multiply-adds per block: whole channels where the taps of one fit, equal blocks."""
    limit = max(1, table.DENSE_BLOCK_BYTES // spec.dtype.itemsize)
    unit = spec.taps if spec.taps <= limit else 1
    units = spec.depth // unit
    return unit * ceil(units / ceil(spec.depth / limit))


def _can_merge(spec: ConvSpec, call: Call) -> bool:
    """Whether the spatial axes act as one: one tap, no padding, no stride, planes without gaps."""
    _, _, od, oh, ow = call.out_strides
    _, _, xd, xh, xw = call.x_strides
    _, h, w = call.out
    return (
        spec.taps == 1
        and spec.stride == (1, 1, 1)
        and call.pads == ((0, 0),) * 3
        and (h == 1 or (xh, oh) == (w * xw, w * ow))
        and (call.out[0] == 1 or (xd, od) == (h * w * xw, h * w * ow))
        and call.out[:2] != (1, 1)
    )


def _merge(call: Call) -> Call:
    cells = prod(call.out)
    x_strides = (*call.x_strides[:2], cells * call.x_strides[4], cells * call.x_strides[4], call.x_strides[4])
    o_strides = (
        *call.out_strides[:2], cells * call.out_strides[4], cells * call.out_strides[4], call.out_strides[4],
    )
    return Call(call.batch, (1, 1, cells), call.pads, (1, 1, cells), x_strides, o_strides)


def _choose_box(spec: ConvSpec, call: Call, block: int, by_rows: bool, several: bool, lanes: int) -> Box:
    """Images, depth, height and width of a box of output positions.

    As many positions as the packed panels may take of the cache; inner axes are whole before an outer one is more
    than 1; ``several`` images share a box only where that fills vectors.
    """
    low, high = table.DENSE_BOX
    target = min(high, max(low, table.DENSE_PANEL_BYTES // (block * spec.dtype.itemsize)))
    d, h, w = call.out
    unit = lanes if by_rows else 1
    if w > target:
        return 1, 1, 1, _best_cut(w, 1, target, unit)
    if h * w > target:
        return 1, 1, _best_cut(h, w, target, unit), w
    if d * h * w > target:
        return 1, _best_cut(d, h * w, target, unit), h, w
    if several and call.batch > 1:
        return _best_cut(call.batch, d * h * w, target, unit), d, h, w
    return 1, d, h, w


def _best_cut(length: int, inner: int, target: int, unit: int) -> int:
    """How many of ``length`` slices of ``inner`` positions make a box: least padding to whole ``unit`` vectors."""
    most = max(1, target // inner)

    def padded(cut: int) -> tuple[int, int]:
        whole, rest = divmod(length, cut)
        return whole * round_up(cut * inner, unit) + round_up(rest * inner, unit), -cut

    return min(range(max(1, most // 2), min(most, length) + 1), key=padded, default=min(most, length))


def _is_uniform(call: Call, box: Box) -> bool:
    """Whether the positions of a box lie in the result at one fixed stride."""
    n, d, h, _ = box
    on, _, od, oh, ow = call.out_strides
    _, height, width = call.out
    return (
        (h == 1 or oh == width * ow)
        and (d == 1 or od == height * width * ow)
        and (n == 1 or on == prod(call.out) * ow)
    )


def _is_direct_out(call: Call, way: Way) -> bool:
    """Whether tiles can be stored where the result is."""
    return _is_uniform(call, way.box) and call.out_strides[4 if way.by_rows else 1] == 1


def _is_direct_in(spec: ConvSpec, call: Call) -> bool:
    """Whether the input itself can be packed, without gathering it first."""
    return spec.taps == 1 and call.pads == ((0, 0),) * 3 and spec.stride[2] == 1 and call.x_strides[4] == 1


def _cycles(spec: ConvSpec, call: Call, way: Way, tile: Tile) -> float:
    """Cycles per position, image and group: tiles, packing, scattering."""
    positions = prod(way.box)
    outputs = spec.group_outputs
    if way.straight:
        width = way.box[3]
        columns, rows = positions // width * round_up(width, tile.lanes), outputs
        pack = 0.0
    elif way.by_rows:
        columns, rows = round_up(positions, tile.lanes), outputs
        pack = table.DENSE_PACK_CYCLES_ROWS
    else:
        columns, rows = round_up(outputs, tile.lanes), positions
        pack = table.DENSE_PACK_CYCLES_COLUMNS
    tiles = ceil(rows / tile.rows)
    # a step of the tile is rows multiply-adds per vector, but never quicker than its loads or their latency
    step = max(rows / tiles, 0.5 * rows / tiles + 2.0, 2.5) * table.DENSE_STEP_CYCLES
    cycles = tiles * columns / tile.lanes * step * spec.depth
    scatter = 0.0 if _is_direct_out(call, way) else table.DENSE_SCATTER_CYCLES * positions * outputs
    return (cycles + pack * positions * spec.depth + scatter) / positions


def _describe(
    spec: ConvSpec, call: Call, threads: int, block: int, way: Way, tile: Tile, seconds: float
) -> Blocks:
    """Everything the kernel wants to know, as two integer vectors, and the scratch it needs."""
    by_rows, box = way.by_rows, way.box
    layouts = [lay_out_axis(spec.kernel[i], spec.stride[i], spec.dilation[i], box[i + 1]) for i in range(3)]
    direct_in = _is_direct_in(spec, call)
    direct_out = _is_direct_out(call, way)
    positions = prod(box)
    lanes, rows = tile.lanes, tile.rows
    panels = ceil(spec.group_outputs / (rows if by_rows else lanes * tile.vecs))
    parts = _choose_parts(spec, call, box, threads, panels)
    itemsize = spec.dtype.itemsize

    source = 0
    if not direct_in:
        channels = min(spec.group_inputs, (block - 1) // spec.taps + 2)
        source = box[0] * channels * prod(layout.slots for layout in layouts) + lanes
    packed = 0 if way.straight else block * (round_up(positions, lanes) if by_rows else positions) + lanes
    partial = 0
    if not direct_out:
        widest = max(
            _panel_start(spec, by_rows, (i + 1) * panels // parts, tile)
            - _panel_start(spec, by_rows, i * panels // parts, tile)
            for i in range(parts)
        )
        partial = widest * (round_up(positions, lanes) if by_rows else positions)
    at_panels = round_up(source * itemsize, _LINE)
    at_tile = at_panels + round_up(packed * itemsize, _LINE)
    at_offsets = at_tile + round_up(partial * itemsize, _LINE)
    scratch_bytes = at_offsets + round_up(block * 8, _LINE)

    items = parts * spec.groups * prod(ceil(n / b) for n, b in zip((call.batch, *call.out), box, strict=True))
    threads = max(1, min(threads, items))
    values = {
        "batch": call.batch, "groups": spec.groups,
        "group_inputs": spec.group_inputs, "group_outputs": spec.group_outputs,
        "padding_mode": PADDING_MODES[spec.padding_mode], "taps": spec.taps,
        "box_n": box[0], "block": block, "parts": parts,
        "by_rows": by_rows, "direct_in": direct_in, "direct_out": direct_out,
        "straight": way.straight,
        "at_source": 0, "at_panels": at_panels, "at_tile": at_tile, "at_offsets": at_offsets,
        "scratch_bytes": scratch_bytes,
        "is_silu": spec.activation.silu,
        "has_activation": not spec.activation.silu and spec.activation.kind != "none",
    }  # fmt: skip
    for i, axis in enumerate("dhw"):
        values |= {
            f"size_{axis}": call.size[i], f"out_{axis}": call.out[i], f"stride_{axis}": spec.stride[i],
            f"pad_{axis}": call.pads[i][0], f"slots_{axis}": layouts[i].slots,
            f"strips_{axis}": len(layouts[i].strips), f"box_{axis}": box[i + 1],
        }  # fmt: skip
    geometry = np.array([values[name] for name in _runtime.kernel("dense", spec.dtype).FIELDS], np.int64)
    return Blocks(by_rows, way.merged, geometry, _tables(layouts), scratch_bytes * threads, threads, seconds)


def _tables(layouts: list[AxisLayout]) -> Array:
    """The strips of the three axes, then the offset of every tap in the gathered block."""
    strips = [number for layout in layouts for strip in layout.strips for number in strip]
    slots_h, slots_w = layouts[1].slots, layouts[2].slots
    taps = [
        (d * slots_h + h) * slots_w + w
        for d, h, w in product(*(layout.tap_slots for layout in layouts))
    ]
    return np.array(strips + taps, np.int64)


def _panel_start(spec: ConvSpec, by_rows: bool, panel: int, tile: Tile) -> int:
    """First output channel of a weight panel, as ``dense.pyx`` cuts them."""
    outputs = spec.group_outputs
    if by_rows:
        return outputs * panel // ceil(outputs / tile.rows)
    return min(panel * tile.vecs * tile.lanes, round_up(outputs, tile.lanes))


def _choose_parts(spec: ConvSpec, call: Call, box: Box, threads: int, panels: int) -> int:
    """Into how many parts the output channels are cut, so that the threads finish together.

    Every part packs the positions again, which costs a fixed share of the work of a box.
    """
    cuts = [
        [min(b, n - i) for i in range(0, n, b)]
        for n, b in zip((call.batch, *call.out), box, strict=True)
    ]
    boxes = prod(len(cut) for cut in cuts) * spec.groups
    if threads == 1 or boxes > 16 * threads:
        return 1
    sizes = [float(prod(sides)) for sides in product(*cuts)] * spec.groups
    again = table.DENSE_PACK_CYCLES_ROWS * 16 / max(1, spec.group_outputs)

    def finish(parts: int) -> float:
        loads = [0.0] * threads
        heapify(loads)
        for size in sorted(sizes * parts, reverse=True):
            heapreplace(loads, loads[0] + size * (1 / parts + again))
        return max(loads)

    return min(range(1, min(panels, 4 * threads) + 1), key=finish)
