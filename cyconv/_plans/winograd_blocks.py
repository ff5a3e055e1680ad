"""How a Winograd call is cut: which F(m, r), boxes of tiles, what each thread does, scratch; and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, prod
from typing import Any

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
    bytes_moved,
    equal_cut,
    flops,
    missed,
    odd_lines,
    round_up,
    strides_by_name,
)  # fmt: skip
from cyconv._plans.winograd_forms import (
    Form,
    allowed_forms,
    cells_of,
    direct_taps,
    has_channel_vectors,
    is_transformed,
    sections,
)
from cyconv._plans.winograd_points import offsets_of_cells

Array = np.ndarray[Any, np.dtype[Any]]
Kind = tuple[int, tuple[float, float, int]]  # so many boxes, and what `_cycles` says of each


@dataclass(frozen=True, slots=True)
class Blocks:
    """One call's layout, in the form that the kernel takes."""

    form: Form
    geometry: Array
    tables: Array
    flags: tuple[int, ...]
    scratch_bytes: int
    threads: int
    seconds: float


# ------------------------------------------------------------------------------------------------- block sizes


@lru_cache(maxsize=512)
def blocks_for(spec: ConvSpec, call: Call, threads: int) -> Blocks:
    """The cheapest form, box and way to share the work for this call.

    Forms do not round alike, so the form is the one that suits a single thread, whatever the number of threads.
    """
    threads = max(1, min(threads, flops(spec, call) // table.THREAD_FLOPS))
    form = min((_ways(spec, call, form, 1)[0][0], form) for form in allowed_forms(spec))[1]
    seconds, parts, box = _ways(spec, call, form, threads)[0]
    return _describe(spec, call, form, box, parts, threads, seconds)


def _ways(spec: ConvSpec, call: Call, form: Form, threads: int) -> list[tuple[float, int, Box]]:
    """(seconds, parts, box) of every way to run a form, the best one first.

    A thread computes the results of a box, or one of several `parts` of their channels, for which each makes the
    transformed input anew; with 0, the threads work on a box together, and make it once.
    """
    grid, most = _grid(spec, call, form), _most_tiles(spec, form, threads)
    apart = {1, min(threads, _panels(spec))} if most > 0 or threads == 1 else set()
    least = bytes_moved(spec, call) / table.BANDWIDTH
    ways = []
    for box in _boxes(grid, max(1, most)):
        kinds = _kinds(spec, form, grid, box)
        for parts in ({0} if threads > 1 else set()) | apart:
            seconds = max(_seconds(spec, kinds, parts, threads), least) + table.CALL_SECONDS
            ways.append((seconds, parts, box))
    return sorted(ways)


def _grid(spec: ConvSpec, call: Call, form: Form) -> Box:
    """Pictures, depth, rows and columns of tiles. The first phase is the largest."""
    phases = phases_of(spec, call, form)
    sides = form.m if form.high else 1, form.m if form.wide else 1
    tiles = [ceil(ceil(call.out[i + 1] / phases[i]) / sides[i]) for i in (0, 1)]
    return call.batch * phases[0] * phases[1], call.out[0], tiles[0], tiles[1]


def phases_of(spec: ConvSpec, call: Call, form: Form) -> tuple[int, int]:
    """Into how many independent sets a dilation splits the results of a transformed axis; no empty ones."""
    return (
        min(spec.dilation[1], call.out[1]) if form.high else 1,
        min(spec.dilation[2], call.out[2]) if form.wide else 1,
    )


def _most_tiles(spec: ConvSpec, form: Form, threads: int) -> int:
    """Tiles of a box of each thread that the bound on scratch memory leaves room for: values, products, cells."""
    lanes = int(_runtime.kernel("winograd", spec.dtype).LANES)
    tall, wide = cells_of(spec, form, 1), cells_of(spec, form, 2)
    if has_channel_vectors(spec, form):
        channels, cells = round_up(spec.group_inputs, lanes), tall * wide * lanes
    else:
        channels, cells = spec.group_inputs, tall * (wide + lanes)
    each = (form.frequencies * (channels * direct_taps(spec, form) + 64) + cells) * spec.dtype.itemsize
    room = table.SCRATCH_BYTES // threads - table.WINOGRAD_CHUNK_BYTES - form.frequencies * 4 * LINE
    return min(table.WINOGRAD_MOST_TILES, room // each)


def _boxes(grid: Box, most: int) -> list[Box]:
    """Boxes of up to ``most`` tiles: inner axes are whole before an outer one is more than 1, cuts are equal."""
    found: list[Box] = []
    inner = 1
    for axis in (3, 2, 1, 0):
        length = grid[axis]
        if inner > most:
            break
        sizes = {equal_cut(length, size) for size in range(1, min(length, most // inner) + 1)}
        for size in sizes:
            box = [1] * axis + [size, *grid[axis + 1 :]]
            if axis == 3 or size > 1:
                found.append((box[0], box[1], box[2], box[3]))
        inner *= length
    whole = min(most, prod(grid), _runtime.VECTOR_BYTES // 4)
    return [box for box in found if prod(box) >= whole // 2] or found


def _kinds(spec: ConvSpec, form: Form, grid: Box, box: Box) -> list[Kind]:
    """Whole boxes and, as one axis at most is cut, a smaller one at its end."""
    return [(spec.groups * count, _cycles(spec, form, kind, grid)) for count, kind in box_kinds(grid, box)]


def _seconds(spec: ConvSpec, kinds: list[Kind], parts: int, threads: int) -> float:
    """Estimated seconds with these boxes in these parts, if memory keeps up."""
    outputs = _panels(spec)
    if not parts:
        seconds = 0.0
        for count, (read, multiply, values) in kinds:
            cycles = read / threads + multiply * ceil(outputs / threads) / outputs
            cycles += table.WINOGRAD_SHARE_CYCLES * values * (threads - 1) / threads
            seconds += count * (cycles / table.CLOCK_HZ + 2 * table.BARRIER_SECONDS)
    else:
        share = ceil(outputs / parts) / outputs
        turns = [(count * parts, read + multiply * share) for count, (read, multiply, _) in kinds]
        cycles = last_done(turns, threads)
        seconds = cycles / table.CLOCK_HZ
    return seconds


def _cycles(spec: ConvSpec, form: Form, box: Box, grid: Box) -> tuple[float, float, int]:
    """Cycles that a box takes until its values are there, and from there on; bytes of the values."""
    kernel = _runtime.kernel("winograd", spec.dtype)
    lanes, tile_rows, vecs, item = int(kernel.LANES), int(kernel.ROWS), int(kernel.VECS), spec.dtype.itemsize
    taps, frequencies = direct_taps(spec, form), form.frequencies
    depth, tiles = spec.group_inputs * taps, prod(box)
    cells = spec.stride[1] * spec.stride[2] * (form.m if form.high else 1) * (form.m if form.wide else 1)
    panels, vectors = ceil(tiles / tile_rows), ceil(spec.group_outputs / lanes)
    rows = tiles / panels
    if has_channel_vectors(spec, form):  # turn cells, transform
        read = table.WINOGRAD_INPUT_CYCLES * frequencies * taps + table.WINOGRAD_CELL_CYCLES * cells
        read *= tiles * ceil(spec.group_inputs / lanes)
    else:  # gather cells, collect each vector of tiles from its pieces of rows, transform
        pieces = ceil(rows / lanes) + (rows - 1) / box[3]
        read = table.WINOGRAD_INPUT_CYCLES * (1 + pieces) * panels * depth * frequencies
        if _steps(spec, form)[2] > int(kernel.STEP):
            read += table.WINOGRAD_GATHER_CYCLES * cells * tiles * spec.group_inputs
    # products: rows multiply-adds per vector, but never quicker than loads, latency, or the weights' way to the core;
    # fresh weights are transformed in each group of tiles, for each row of frequencies
    if form.fresh:
        steps = table.WINOGRAD_FRESH_STEPS * ceil(tiles / int(kernel.FRESH)) + form.points * tiles
        multiply = table.WINOGRAD_STEP_CYCLES * form.points * vectors * depth * steps
    else:
        steps = frequencies * vectors * panels
        multiply = table.WINOGRAD_STEP_CYCLES * steps * depth * max(rows, 0.5 * rows + 2.0, 2.5)
        multiply += table.WINOGRAD_TILE_CYCLES * steps * rows
    # what is held between two uses: the values from panel to panel of outputs, the weights from box to box
    weights = (form.r**2 if form.fresh else frequencies) * vectors * lanes * depth * item
    values = frequencies * tiles * depth * item
    outputs = _panels(spec)
    held = values + frequencies * tiles * min(vectors, vecs) * lanes * item
    near, far, memory = table.WINOGRAD_STREAM
    if weights * spec.groups > _runtime.CACHES[2]:
        far = memory
    lost = missed(held + weights * spec.groups, _runtime.CACHES[1], table.WINOGRAD_ROOM)
    stream = weights * ((1.0 - lost) / near + lost / far)
    multiply = max(multiply, stream) + table.WINOGRAD_OVERLAP * min(multiply, stream)
    lost = missed(held + weights // outputs, _runtime.CACHES[1], table.WINOGRAD_ROOM)
    multiply += table.WINOGRAD_SPILL_CYCLES * values * outputs * lost
    write = table.WINOGRAD_STORE_CYCLES * tiles * vectors * lanes * form.m * (form.m if form.planar else 1)
    # rows that are begun for another box, too: where this one ends within rows, and of cells that both read
    high, pixels = _steps(spec, form)[1], form.m if form.high else 1
    rows = prod(box[:3]) * (1.0 - box[3] / grid[3])
    both = box[0] * box[1] * (cells_of(spec, form, 1) - high)
    read += table.WINOGRAD_ROW_CYCLES * (rows * high + both) * spec.group_inputs
    write += table.WINOGRAD_ROW_CYCLES * rows * pixels * spec.group_outputs
    if form.wide and spec.dilation[2] > 1:  # cells of a phase lie apart
        rows = prod(box[:3]) * pixels * table.WINOGRAD_APART_CYCLES
        read += rows * spec.group_inputs
        write += rows * spec.group_outputs
    return read, multiply + write, values


def _panels(spec: ConvSpec) -> int:
    """Panels of the outputs of a group."""
    kernel = _runtime.kernel("winograd", spec.dtype)
    return ceil(spec.group_outputs / (int(kernel.LANES) * int(kernel.VECS)))


# -------------------------------------------------------------------------------------------------- description


def _describe(
    spec: ConvSpec, call: Call, form: Form, box: Box, parts: int, threads: int, seconds: float
) -> Blocks:
    """Everything the kernel wants to know, as two integer vectors, and the scratch it needs."""
    kernel = _runtime.kernel("winograd", spec.dtype)
    item, lanes = spec.dtype.itemsize, kernel.LANES
    phases, grid = phases_of(spec, call, form), _grid(spec, call, form)
    steps, layouts = _lay_out(spec, form, box, lanes)
    taps = direct_taps(spec, form)
    depth, tiles = spec.group_inputs * taps, prod(box)
    panels = _panels(spec)

    by_channels, pitch = has_channel_vectors(spec, form), 0
    if by_channels:
        chunk = lanes
        pitch = lanes if form.fresh else odd_lines(taps * round_up(spec.group_inputs, lanes) * item) // item
        row = (box[3] - 1) * steps[2] + cells_of(spec, form, 2)
        cells = row * cells_of(spec, form, 1) + lanes
        offsets = offsets_of_cells(sections(spec, form, 1), sections(spec, form, 2), form.stride, row, lanes)
    else:
        cells = box[0] * prod(layout.slots for layout in layouts)
        chunk = max(1, min(ceil(spec.group_inputs / threads), table.WINOGRAD_CHUNK_BYTES // (cells * item)))
        chunk = equal_cut(spec.group_inputs, chunk)
        offsets = _offsets(spec, form, layouts)
    step_values = odd_lines(tiles * (pitch or depth) * item) // item
    step_product = odd_lines(tiles * kernel.VECS * lanes * item) // item
    values = round_up(form.frequencies * step_values * item, LINE)
    turned = 0  # fresh: a chunk of channels on its way to the values, which are dense
    if form.fresh:
        turned, values = values, round_up(form.frequencies * tiles * depth * item, LINE)
    source = round_up((cells * chunk + lanes) * item, LINE)
    produced = round_up(form.frequencies * step_product * item, LINE)
    reach = (cells_of(spec, form, 2) - 1) * spec.dilation[2] + 1
    needed = (box[3] - 1) * steps[2] + reach + 2 * lanes * steps[2]
    lines = form.wide and steps[2] <= kernel.STEP and needed <= kernel.LINE
    items = spec.groups * prod(ceil(n / b) for n, b in zip(grid, box, strict=True))
    threads = max(1, min(threads, items * parts or max(panels, ceil(spec.group_inputs / chunk))))
    at_source = values if parts else 0
    at_chunk = at_source + source + produced
    numbers_of = {
        "batch": call.batch, "groups": spec.groups,
        "group_inputs": spec.group_inputs, "group_outputs": spec.group_outputs,
        "padding_mode": PADDING_MODES[spec.padding_mode],
        "points": form.points, "outputs": form.m, "planar": form.planar,
        "frequencies": form.frequencies, "taps": taps,
        "pixels_h": form.m if form.high else 1, "pixels_w": form.m if form.wide else 1,
        "phases_h": phases[0], "phases_w": phases[1], "tiles_h": grid[2], "tiles_w": grid[3],
        "box_p": box[0], "box_d": box[1], "box_h": box[2], "box_w": box[3], "chunk": chunk, "parts": parts,
        "by_channels": by_channels, "fresh": form.fresh, "pitch": pitch,
        "lines": lines, "reach_h": cells_of(spec, form, 1), "reach_w": reach,
        "step_values": step_values, "step_product": step_product,
        "at_values": 0, "at_source": at_source, "at_product": at_source + source,
        "at_chunk": at_chunk, "at_threads": 0 if parts else values, "thread_bytes": at_chunk + turned,
        "is_silu": spec.activation.silu,
        "has_activation": not spec.activation.silu and spec.activation.kind != "none",
        **strides_by_name(call),
    }  # fmt: skip
    for i, axis in enumerate("dhw"):
        numbers_of |= {
            f"size_{axis}": call.size[i], f"out_{axis}": call.out[i], f"stride_{axis}": steps[i],
            f"pad_{axis}": call.pads[i][0], f"slots_{axis}": layouts[i].slots,
            f"strips_{axis}": len(layouts[i].strips),
        }  # fmt: skip
    return Blocks(
        form=form,
        geometry=np.array([numbers_of[name] for name in kernel.FIELDS], np.int64),
        tables=_tables(layouts, offsets),
        flags=(spec.groups * panels, call.batch, phases[0] * phases[1], grid[1], grid[2], grid[3]),
        scratch_bytes=numbers_of["at_threads"] + threads * numbers_of["thread_bytes"],
        threads=threads,
        seconds=seconds,
    )


def _lay_out(spec: ConvSpec, form: Form, box: Sequence[int], lanes: int) -> tuple[list[int], list[AxisLayout]]:
    """Steps between tiles, and the strips of the cells that they read.

    Rows end with a vector of slack, so that strips can be stored in whole vectors.
    """
    steps = _steps(spec, form)
    layouts = [
        lay_out_axis(cells_of(spec, form, axis), step, spec.dilation[axis], box[axis + 1])
        for axis, step in enumerate(steps)
    ]
    layouts[2] = layouts[2]._replace(slots=layouts[2].slots + lanes)
    return steps, layouts


def _steps(spec: ConvSpec, form: Form) -> list[int]:
    """Cells from tile to tile, or from one row of results to the next, of each axis."""
    return [
        spec.stride[axis] * (form.m * spec.dilation[axis] if is_transformed(form, axis) else 1) for axis in range(3)
    ]


def _tables(layouts: list[AxisLayout], offsets: list[int]) -> Array:
    """The strips of the three axes, then where every cell of a tile lies, direct taps outside."""
    strips = [number for layout in layouts for strip in layout.strips for number in strip]
    return np.array(strips + offsets, np.int64)


def _offsets(spec: ConvSpec, form: Form, layouts: list[AxisLayout]) -> list[int]:
    """Offsets of cells in the gathered block, those of a section of the kernel together."""
    slots_h, slots_w = layouts[1].slots, layouts[2].slots
    slots = [layout.tap_slots for layout in layouts]
    return [
        (slots[0][d] * slots_h + slots[1][h]) * slots_w + slots[2][w]
        for cells in product(*(sections(spec, form, axis) for axis in range(3)))
        for d, h, w in product(*cells)
    ]
