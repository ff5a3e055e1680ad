"""How the dense kernel runs a call: orientation, boxes, blocks and scratch of ``_kernels/dense.pyx``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from math import ceil, gcd, prod
from typing import Any, NamedTuple

import numpy as np

from cyconv import _runtime
from cyconv._plans import table
from cyconv._plans.gathering import AxisLayout, lay_out_axis
from cyconv._plans.sharing import Box, box_kinds, last_done
from cyconv._plans.spec import (
    LINE,
    PADDING_MODES,
    Call,
    ConvSpec,
    acts_as_one_axis,
    bytes_moved,
    flops,
    odd_lines,
    round_up,
    strides_by_name,
)  # fmt: skip

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Blocks:
    """One call's layout, in the form that the kernel takes."""

    by_rows: bool
    block: int
    geometry: Array
    tables: Array
    scratch_bytes: int
    threads: int
    seconds: float


@lru_cache(maxsize=512)
def blocks_for(spec: ConvSpec, call: Call, threads: int) -> Blocks:
    """The cheapest orientation for this call, with its boxes, of those whose scratch is within the limit; if none is,
    the one with the least."""
    merged = call.out[:2] != (1, 1) and acts_as_one_axis(spec, call)
    if merged:
        call = _merge(call)
    threads = max(1, min(threads, flops(spec, call) // table.THREAD_FLOPS))
    tile, block = _tile(spec), _block(spec, call)
    low, most = table.DENSE_BOX
    found = []
    while True:
        ways = _ways(spec, call, block, tile, merged, threads, most)
        weighed = ((*_weigh(spec, call, way, tile, block, threads), i, way) for i, way in enumerate(ways))
        for cycles, parts, _, way in sorted(weighed):
            seconds = max(cycles / table.CLOCK_HZ, bytes_moved(spec, call) / table.BANDWIDTH) + table.CALL_SECONDS
            found.append(_describe(spec, call, threads, block, way, tile, parts, seconds))
            if spec.workspace_limit is None or found[-1].scratch_bytes <= spec.workspace_limit:
                return found[-1]
        if most <= low:
            return min(found, key=lambda blocks: blocks.scratch_bytes)
        most //= 4


class Kind(NamedTuple):
    """What tells ways to run the dense kernel apart, but for their boxes."""

    by_rows: bool
    """Rows of the tile are output channels, else positions."""
    row_tiles: bool
    """Tiles of positions end with the rows of outputs: the input is laid out once, not once for each tap of a row."""
    several: bool
    """A box may hold several images."""
    copied: bool
    """The rows of an input that could be read where it lies are copied: they begin with lines of the cache."""


_KINDS = tuple(Kind(*kind) for kind in (
    (True, False, False, False), (True, False, True, False), (True, False, False, True), (False, False, False, False),
    (False, False, True, False), (False, True, False, False), (False, True, True, False), (True, True, False, False),
    (True, True, True, False),
))  # fmt: skip


def _ways(
    spec: ConvSpec, call: Call, block: int, tile: Tile, merged: bool, threads: int, most: int
) -> dict[Way, None]:
    """The ways to run this call, each once, in this order; boxes have at most so many positions."""
    ways: dict[Way, None] = {}
    for kind in _KINDS:
        if merged or (kind.by_rows and spec.kernel[2] <= spec.stride[2]):  # one row, or no cell serves two taps
            kind = kind._replace(row_tiles=False)
        for boxes in (1, threads, 4 * threads) if threads > 1 else (1,):  # that many at least, to be shared evenly
            share = min(most, ceil(spec.groups * call.batch * call.positions / boxes))
            box = _choose_box(spec, call, block, kind, tile, threads, share)
            way = Way(kind.by_rows, kind.row_tiles, merged, kind.copied, box)
            ways[way if _is_direct_in(spec, call, way) else way._replace(copied=False)] = None
    return ways


class Way(NamedTuple):
    """One way to run the dense kernel: as `Kind` has it, and"""

    by_rows: bool
    row_tiles: bool
    merged: bool
    """The spatial axes are taken as one."""
    copied: bool
    box: Box
    """Images, depth, height and width of a box of output positions."""


class Tile(NamedTuple):
    """The register tile of a build."""

    lanes: int
    rows: int
    """The most outputs of a tile whose vectors are positions."""
    vectors_for: tuple[int, ...]
    """Vectors of such a tile of so many outputs, from one on."""
    rows_for: tuple[int, ...]
    """The most rows of a tile of so many vectors of outputs, from one on."""


def _tile(spec: ConvSpec) -> Tile:
    kernel = _runtime.kernel("dense", spec.dtype)
    return Tile(kernel.LANES, kernel.ROWS, kernel.VECTORS_FOR, kernel.ROWS_FOR)


def _block(spec: ConvSpec, call: Call) -> int:
    """Multiply-adds per block: whole channels where the taps of one fit, equal blocks."""
    nbytes = table.DENSE_FAR_BLOCK_BYTES if spec.taps == 1 and _is_far(spec, call) else table.DENSE_BLOCK_BYTES
    limit = max(1, nbytes // spec.dtype.itemsize)
    unit = spec.taps if spec.taps <= limit else 1
    units = spec.depth // unit
    return unit * ceil(units / ceil(spec.depth / limit))


def _merge(call: Call) -> Call:
    cells = prod(call.out)
    x_strides = (*call.x_strides[:2], cells * call.x_strides[4], cells * call.x_strides[4], call.x_strides[4])
    o_strides = (
        *call.out_strides[:2], cells * call.out_strides[4], cells * call.out_strides[4], call.out_strides[4],
    )
    return Call(call.batch, (1, 1, cells), call.pads, (1, 1, cells), x_strides, o_strides)


def _choose_box(
    spec: ConvSpec, call: Call, block: int, kind: Kind, tile: Tile, threads: int, most: int
) -> Box:
    """Images, depth, height and width of a box of output positions.

    As many positions as the cells that they read may take of the cache, with the results that wait for another block,
    but at most so many; inner axes are whole before an outer one is more than 1; several images share a box only
    where that fills vectors.
    """
    more_rows = table.DENSE_MORE_ROWS if spec.kernel[1] > 1 else 1.0
    cells = _channels(spec, block) * _copies(spec, kind.row_tiles) * more_rows
    if block < spec.depth:
        cells += spec.group_outputs
    room = table.DENSE_SOURCE_BYTES
    if kind.row_tiles:
        room = table.DENSE_ROW_BYTES
    elif spec.taps == 1 and spec.stride[2] == 1:
        room = table.DENSE_PLACE_BYTES
    grid = call.batch, *call.out
    target = max(table.DENSE_BOX[0], min(most, int(room / (cells * spec.dtype.itemsize))))
    rows = spec.group_outputs / ceil(spec.group_outputs / tile.rows) if kind.by_rows else 0.0
    axis = next((axis for axis in (3, 2, 1) if prod(grid[axis:]) > target), 0)
    inner, cut = grid[axis + 1 :], 1
    if axis or kind.several:
        cut = _best_cut(spec.groups * prod(grid[:axis]), grid[axis], prod(inner), target, tile, rows, threads)
    box = [1] * axis + [cut, *inner]
    return box[0], box[1], box[2], box[3]


def _copies(spec: ConvSpec, row_tiles: bool) -> int:
    """Cells of a channel that are laid out for each position."""
    return min(spec.kernel[1], spec.stride[1]) * (spec.stride[2] if row_tiles else spec.kernel[2])


def _channels(spec: ConvSpec, block: int) -> int:
    """Input channels that a block of multiply-adds touches at most."""
    return min(spec.group_inputs, (block - 1) // spec.taps + 2) if block % spec.taps else block // spec.taps


@lru_cache(maxsize=512)
def _best_cut(copies: int, length: int, inner: int, target: int, tile: Tile, rows: float, threads: int) -> int:
    """How many of ``length`` slices of ``inner`` positions make a box: the threads are done with all ``copies`` the
    soonest, in tiles of so many ``rows`` and vectors of positions, if any; then the fewest boxes, then equal ones. Of
    many slices, those that make equal boxes or whole vectors (of thousands: 10 ms)."""
    most, lanes = max(1, target // inner), tile.lanes
    least, most = max(1, most // 2), min(most, length)

    def costs(cut: int) -> tuple[float, int, int]:
        whole, rest = divmod(length, cut)
        turns = [(copies * whole, cost(cut * inner))] + [(copies, cost(rest * inner))] * (rest > 0)
        return last_done(turns, threads), ceil(length / cut), cut

    def cost(positions: int) -> float:
        return _position_steps(tile, rows, positions) if rows else positions

    cuts: Iterable[int] = range(least, most + 1)
    if most - least > 4 * lanes:
        equal = {ceil(length / boxes) for boxes in range(ceil(length / most), length // least + 1)}
        step = round_up(ceil((most - least) / 16), lanes)
        cuts = equal | {most, *range(round_up(least, lanes), most + 1, step)}
    return min(cuts, key=costs, default=most)


def _is_uniform(call: Call, box: Box) -> bool:
    """Whether the positions of a slab of the box lie in the result at one fixed stride."""
    on, _, _, oh, ow = call.out_strides
    n, _, h, w = box
    return (h == 1 or (n == 1 and oh == w * ow)) and (n == 1 or on == w * ow)


def _is_direct_out(call: Call, way: Way) -> bool:
    """Whether tiles can be stored where the result is."""
    return _is_uniform(call, way.box) and call.out_strides[4 if way.by_rows else 1] == 1


def _places(spec: ConvSpec, way: Way) -> int:
    """How often rows of the input are laid out."""
    if not way.row_tiles:
        return spec.kernel[2]
    return spec.stride[2] if _is_split(spec, way) else 1


def _is_split(spec: ConvSpec, way: Way) -> bool:
    """Whether every cell that a stride leaves out is at a place of its own: where vectors are read, or scalars that
    lie farther apart than tiles may leave out."""
    return way.row_tiles and (way.by_rows or spec.stride[2] > _runtime.kernel("dense", spec.dtype).MOST_SPREAD)


def _is_direct_in(spec: ConvSpec, call: Call, way: Way) -> bool:
    """Whether the tile can read the input itself."""
    n, _, h, w = way.box
    if _reads_channels(spec, call, way):
        return True
    if not way.copied and _channels_collide(spec, call, way):
        return False
    if way.row_tiles:
        return not way.by_rows and call.pads == ((0, 0),) * 3 and spec.stride[2] * call.x_strides[4] in (1, 2)
    return (
        spec.taps == 1
        and call.pads == ((0, 0),) * 3
        and spec.stride[2] == 1
        and call.x_strides[4] == 1
        and n == 1
        and (h == 1 or spec.stride[1] * call.x_strides[3] == w)
    )


def _input_bytes(spec: ConvSpec, call: Call) -> int:
    return call.batch * spec.in_channels * prod(call.size) * spec.dtype.itemsize


def _is_far(spec: ConvSpec, call: Call) -> bool:
    """Whether the input has to come from beyond the second-level cache."""
    return _input_bytes(spec, call) > table.DENSE_FAR_BYTES


def _channels_collide(spec: ConvSpec, call: Call, way: Way) -> bool:
    """Whether the second-level cache cannot hold a line of each channel until it is read again: they lie too large a
    power of two apart."""
    if way.by_rows and spec.group_outputs <= _tile(spec).rows:  # every line is read once
        return False
    period, ways, least_bytes = table.DENSE_COLLISIONS
    places = period // gcd(call.x_strides[1] * spec.dtype.itemsize, period)
    return spec.group_inputs > ways * places and _input_bytes(spec, call) >= least_bytes


def _reads_channels(spec: ConvSpec, call: Call, way: Way) -> bool:
    """Whether the rows of tiles are the channels of a position where they lie, one after the other."""
    xn, xc, _, xh, xw = call.x_strides
    if way.by_rows or xc != 1 or xw == 1 or spec.taps > 1 or call.pads != ((0, 0),) * 3:
        return False
    n, _, h, w = way.box
    row = w * spec.stride[2] * xw
    return way.row_tiles or ((h == 1 or (n == 1 and spec.stride[1] * xh == row)) and (n == 1 or xn == row))


def _asks_input(spec: ConvSpec, call: Call, way: Way) -> bool:
    """Whether tiles ask for the next input rather than for weights: for the larger stream. Input that is laid out is
    asked for if it has to come from beyond the second-level cache, and rows of a channel lie side by side."""
    weights = spec.group_outputs * spec.depth
    cells = spec.group_inputs * call.batch * prod(call.out)
    in_place = _is_direct_in(spec, call, way)
    if (in_place and not way.row_tiles) or _reads_channels(spec, call, way):
        return weights < cells
    _, _, _, xh, xw = call.x_strides
    n, d, h, w = way.box
    rows = (w == call.out[2] and xh == call.size[2]) or (h == 1 and spec.kernel[1] == 1)
    return n == d == xw == 1 and rows and (spec.taps == 1 or not in_place) and weights < cells and _is_far(spec, call)


def _has_plain_rows(spec: ConvSpec, call: Call, way: Way) -> bool:
    """Whether rows can be copied from the input as they lie, with zeros around them."""
    apart = spec.stride[2] * call.x_strides[4]
    most = table.DENSE_MOST_APART
    if way.row_tiles and not _is_split(spec, way):
        most = _runtime.kernel("dense", spec.dtype).MOST_SPREAD
    return spec.padding_mode == "zeros" and 0 < apart <= most and (apart != 2 or call.x_strides[4] == 1)


def _copied_apart(spec: ConvSpec, call: Call, way: Way) -> int:
    """Scalars from one cell of a row to the next that is copied: tiles that read scalars may leave a stride in."""
    return call.x_strides[4] * (1 if way.row_tiles and not _is_split(spec, way) else spec.stride[2])


def _vectors_read(spec: ConvSpec, call: Call, way: Way) -> int:
    """Vectors that a vector of cells of plain rows is picked from; 1 also where each is read by itself."""
    apart = _copied_apart(spec, call, way)
    return 1 if apart & (apart - 1) else apart


def _is_crossed(spec: ConvSpec, call: Call, way: Way) -> bool:
    """Whether squares of cells are crossed, as ``dense_source.pxd`` does where no row reaches into the padding."""
    least = _runtime.kernel("dense", spec.dtype).LEAST_CROSSED
    near = spec.dilation[2] == call.x_strides[4] == 1 and call.pads[2] == (0, 0)
    return near and spec.stride[2] >= least and not way.row_tiles


def _copy_cycles(spec: ConvSpec, call: Call, way: Way, tile: Tile) -> float:
    """Laying out one cell."""
    if not _has_plain_rows(spec, call, way):
        return table.DENSE_GATHER_CYCLES
    if _is_crossed(spec, call, way):
        return table.DENSE_SQUARE_CYCLES / (tile.lanes * min(spec.kernel[2], tile.lanes))
    read = _vectors_read(spec, call, way)
    if read < _copied_apart(spec, call, way):
        return table.DENSE_APART_CYCLES
    return (table.DENSE_COPY_CYCLES + table.DENSE_WOVEN_CYCLES * max(read - 2, 0)) / tile.lanes


def _weigh(spec: ConvSpec, call: Call, way: Way, tile: Tile, block: int, threads: int) -> tuple[float, int]:
    """Cycles until the last of the threads is done, and into how many parts the output channels are best cut for
    that. Every part lays the input out again, or reads it again where it lies."""
    kinds = [
        (spec.groups * count, prod(box), *_cycles(spec, call, way._replace(box=box), tile, block))
        for count, box in box_kinds((call.batch, *call.out), way.box)
    ]
    panels, most = _panels(spec, way, tile), 1
    if threads > 1 and sum(count for count, *_ in kinds) <= table.DENSE_MOST_TURNS * threads:
        most = 4 * threads

    def cycles(parts: int) -> float:
        share = ceil(panels / parts) / panels
        return last_done(
            [(count * parts, positions * (read + share * rest)) for count, positions, read, rest in kinds], threads
        )

    parts = {ceil(panels / each) for each in range(1, panels + 1)}
    return min((cycles(cut), cut) for cut in parts if cut <= most)


def _panels(spec: ConvSpec, way: Way, tile: Tile) -> int:
    """Panels of the outputs of a group."""
    outputs = spec.group_outputs
    return ceil(outputs / tile.rows) if way.by_rows else _columns(tile, outputs)


def _cycles(spec: ConvSpec, call: Call, way: Way, tile: Tile, block: int) -> tuple[float, float]:
    """Cycles per position, image and group: laying out the input, or reading it where it lies, and tiles, weights,
    storing."""
    positions = prod(way.box)
    outputs = spec.group_outputs
    blocks = ceil(spec.depth / block)
    runs, length = (prod(way.box[:3]), way.box[3]) if way.row_tiles else (1, positions)
    in_place, by_channels = _is_direct_in(spec, call, way), _reads_channels(spec, call, way)
    if way.by_rows:
        panels = ceil(outputs / tile.rows)
        rows = outputs / panels
        tiles = runs * ceil(length / (tile.lanes * _vectors_for(tile, rows)))
        steps = panels * runs * _position_steps(tile, rows, length)
        product = steps * spec.depth + panels * tiles * blocks * table.DENSE_TILE_CYCLES
        product *= 1 + _split_loss(spec, call, way, tile, in_place)
        if in_place and not way.copied and _is_wide_apart(spec, call):
            product *= table.DENSE_APART_FACTOR
    else:
        product = 0.0
        for vecs in _widths(tile, outputs):
            cuts = ceil(length / tile.rows_for[vecs - 1])
            steps = runs * cuts * _step(length / cuts, vecs)
            product += steps * spec.depth + runs * cuts * blocks * table.DENSE_TILE_CYCLES
        if in_place and not by_channels:
            near, far = table.DENSE_SCALARS_FACTORS
            product *= far if _is_far(spec, call) else near
    copy = _copy_cycles(spec, call, way, tile) + table.DENSE_ROW_CYCLES / way.box[3]
    if way.copied:
        copy = table.DENSE_RUN_CYCLES / tile.lanes
    elif in_place:
        fetches_more = spec.stride[2] > 1 and not by_channels  # cells that a stride leaves out
        copy *= table.DENSE_FETCH_SHARE * len(_widths(tile, outputs)) if fetches_more else 0.0
    copy *= positions * spec.group_inputs * _copies(spec, way.row_tiles)
    line = table.DENSE_LINE_CYCLES * spec.dtype.itemsize / LINE
    weights = line * outputs * spec.depth
    if in_place:
        copy = max(copy, line * positions * spec.group_inputs)
    return copy / positions, (product + weights) / positions + _store_cycles(spec, call, way, tile)


def _split_loss(spec: ConvSpec, call: Call, way: Way, tile: Tile, in_place: bool) -> float:
    """How much longer tiles take because vectors of positions do not begin with a vector of memory."""
    _, height, width = spec.kernel
    near, laid_out = table.DENSE_SPLIT_SHARES
    if in_place:
        return near * (call.x_strides[1] % tile.lanes > 0 and not way.copied)
    if way.row_tiles:  # the first taps of every place do
        return laid_out * (1 - min(spec.stride[2], width) / width)
    return laid_out * (1 - min(spec.stride[1], height) / height) * (way.box[3] * way.box[0] % tile.lanes > 0)


def _is_wide_apart(spec: ConvSpec, call: Call) -> bool:
    """Whether the channels of a position lie where reading one after the other takes long."""
    apart = call.x_strides[1] * spec.dtype.itemsize
    return apart > table.DENSE_APART_BYTES and apart * spec.in_channels > table.DENSE_IMAGE_BYTES


def _store_cycles(spec: ConvSpec, call: Call, way: Way, tile: Tile) -> float:
    """Storing the outputs of a position from scratch: lines of the same kind are copied, others crossed."""
    if _is_direct_out(call, way):
        return 0.0
    n, _, h, w = way.box
    outputs = spec.group_outputs
    each = table.DENSE_STORE_CYCLES / tile.lanes
    line = h * w if n == 1 and call.out_strides[3] == w * call.out_strides[4] else w  # positions side by side
    if call.out_strides[4 if way.by_rows else 1] == 1:
        return each * outputs + table.DENSE_ROW_CYCLES * (outputs / line if way.by_rows else 1)
    return each * round_up(outputs, tile.lanes) * round_up(line, tile.lanes) / line


def _vectors_for(tile: Tile, rows: float) -> int:
    return tile.vectors_for[ceil(rows) - 1]


def _widths(tile: Tile, outputs: int) -> list[int]:
    """Vectors of each panel of outputs."""
    starts = [_column_start(tile, outputs, panel) for panel in range(_columns(tile, outputs) + 1)]
    return [(end - start) // tile.lanes for start, end in pairwise(starts)]


def _position_steps(tile: Tile, rows: float, positions: int) -> float:
    """Cycles of one step of each of the tiles that lie side by side: so many rows, and vectors of positions."""
    vecs = _vectors_for(tile, rows)
    whole, rest = divmod(ceil(positions / tile.lanes), vecs)
    steps = whole * _step(rows, vecs) + (_step(rows, rest) if rest else 0.0)
    return (table.DENSE_POSITIONS_FACTOR if vecs == 2 else table.DENSE_WIDE_FACTOR) * steps


def _step(rows: float, vecs: int) -> float:
    """Cycles of one step of a tile: its multiply-adds, but never quicker than its loads or their latency."""
    loads = (rows + vecs + table.DENSE_OTHER_LOADS) * table.DENSE_LOAD_CYCLES
    return max(rows * vecs * table.DENSE_STEP_CYCLES, loads, table.DENSE_LEAST_CYCLES) + table.DENSE_OTHER_CYCLES


def _describe(
    spec: ConvSpec, call: Call, threads: int, block: int, way: Way, tile: Tile, parts: int, seconds: float
) -> Blocks:
    """Everything the kernel wants to know, as two integer vectors, and the scratch it needs."""
    by_rows, box = way.by_rows, way.box
    layouts = [lay_out_axis(spec.kernel[i], spec.stride[i], spec.dilation[i], box[i + 1]) for i in range(3)]
    direct_in = _is_direct_in(spec, call, way)
    direct_out = _is_direct_out(call, way)
    plain_rows = _has_plain_rows(spec, call, way)
    lanes = tile.lanes
    kernel = _runtime.kernel("dense", spec.dtype)
    panel = lanes * kernel.VECS
    panels = _panels(spec, way, tile)
    itemsize = spec.dtype.itemsize

    slots_d, slots_h, slots_w = (layout.slots for layout in layouts)
    channels = _channels(spec, block)
    slab = prod(box) // box[1]
    # in scalars: gathered cells, the block that the tile reads, ends of slabs, the product, offsets
    cells = 0 if direct_in or plain_rows else box[0] * channels * slots_d * slots_h * slots_w + lanes
    row, reach = box[3], (spec.kernel[2] - 1) * spec.dilation[2]
    if way.row_tiles:
        row = row + reach // spec.stride[2] if _is_split(spec, way) else (row - 1) * spec.stride[2] + reach + 1
        row = round_up(row, lanes)
    place = round_up(slots_d * slots_h * box[0] * row + lanes - 1, lanes)
    places = _places(spec, way)
    in_cells = direct_in or (way.row_tiles and not plain_rows)
    source = 0 if in_cells else channels * odd_lines(places * place * itemsize) // itemsize + lanes
    if way.copied:
        source = box[1] * block * odd_lines(slab * itemsize) // itemsize
    tail = box[1] * block * panel if direct_in and by_rows and not way.copied else 0
    partial = 0
    if not direct_out:
        widest = tile.rows if by_rows else lanes * len(tile.rows_for)
        if block < spec.depth:
            starts = [_panel_start(spec, by_rows, i * panels // parts, tile) for i in range(parts + 1)]
            widest = max(end - start for start, end in pairwise(starts))
        partial = widest * box[1] * (round_up(slab, panel) if by_rows else slab)
    sizes = [round_up(scalars * itemsize, LINE) for scalars in (cells, source, tail, partial)]
    at_cells, at_source, at_tail, at_tile, at_offsets = accumulate(sizes, initial=0)
    read = _vectors_read(spec, call, way) if plain_rows else 1
    lanes_of_rows = places * (3 + ceil(row / lanes) * read)
    # of every row slot, where it lies, and a run of such slots
    rows = (1 + kernel.RUN_NUMBERS) * slots_d * slots_h
    scratch_bytes = at_offsets + round_up((block + rows + lanes_of_rows) * 8, LINE)

    result = call.batch * spec.out_channels * call.positions * itemsize
    items = parts * spec.groups * prod(ceil(n / b) for n, b in zip((call.batch, *call.out), box, strict=True))
    threads = max(1, min(threads, items))
    values = {
        "batch": call.batch, "groups": spec.groups,
        "group_inputs": spec.group_inputs, "group_outputs": spec.group_outputs,
        "padding_mode": PADDING_MODES[spec.padding_mode], "taps": spec.taps,
        "box_n": box[0], "block": block, "parts": parts,
        "by_rows": by_rows, "row_tiles": way.row_tiles, "direct_in": direct_in, "direct_out": direct_out,
        "result_lines": block < table.DENSE_SPLIT_STORE * spec.group_outputs / panels,
        "channel_runs": _reads_channels(spec, call, way),
        "plain_rows": plain_rows, "copied": way.copied, "asks_input": _asks_input(spec, call, way),
        "asks_result": direct_out and result > table.DENSE_FAR_BYTES,
        "taps_w": spec.kernel[2], "dilation_w": spec.dilation[2],
        "at_cells": at_cells, "at_source": at_source, "at_tail": at_tail, "at_tile": at_tile,
        "at_offsets": at_offsets,
        "scratch_bytes": scratch_bytes,
        "is_silu": spec.activation.silu,
        "has_activation": not spec.activation.silu and spec.activation.kind != "none",
        **strides_by_name(call),
    }  # fmt: skip
    for i, axis in enumerate("dhw"):
        values |= {
            f"size_{axis}": call.size[i], f"out_{axis}": call.out[i], f"stride_{axis}": spec.stride[i],
            f"pad_{axis}": call.pads[i][0], f"slots_{axis}": layouts[i].slots,
            f"strips_{axis}": len(layouts[i].strips), f"box_{axis}": box[i + 1],
        }  # fmt: skip
    geometry = np.array([values[name] for name in kernel.FIELDS], np.int64)
    tables = _tables(spec, call, way, layouts)
    return Blocks(by_rows, block, geometry, tables, scratch_bytes * threads, threads, seconds)


def _tables(spec: ConvSpec, call: Call, way: Way, layouts: list[AxisLayout]) -> Array:
    """The strips of the three axes; row slot and place of every tap; slots of the places in gathered cells."""
    strips = [number for layout in layouts for strip in layout.strips for number in strip]
    d, h, w = layouts
    high = [i * h.slots + j for i in d.tap_slots for j in h.tap_slots]
    wide = list(range(len(w.tap_slots)))
    if way.row_tiles and _is_direct_in(spec, call, way):
        steps = [spec.dilation[i] * call.x_strides[i + 2] for i in (0, 1)]
        high = [i * steps[0] + j * steps[1] for i in range(spec.kernel[0]) for j in range(spec.kernel[1])]
    elif way.row_tiles and not _has_plain_rows(spec, call, way):
        wide = list(w.tap_slots)
    rows = [row for row in high for _ in wide]
    places = wide * len(high)
    return np.array([*strips, *rows, *places, *w.tap_slots], np.int64)


def _panel_start(spec: ConvSpec, by_rows: bool, panel: int, tile: Tile) -> int:
    """First output channel of a weight panel, as ``dense.pyx`` cuts them."""
    outputs = spec.group_outputs
    if by_rows:
        return outputs * panel // ceil(outputs / tile.rows)
    return _column_start(tile, outputs, panel)


def _columns(tile: Tile, outputs: int) -> int:
    """Panels of two or three vectors of outputs."""
    return max(ceil(outputs / tile.lanes) // 2, 1)


def _column_start(tile: Tile, outputs: int, panel: int) -> int:
    return ceil(outputs / tile.lanes) * panel // _columns(tile, outputs) * tile.lanes
