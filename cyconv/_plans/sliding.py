"""Plan of the sliding kernel: orientation, passes, boxes and scratch of ``_kernels/sliding.pyx``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import ceil, gcd, prod
from typing import Any, NamedTuple

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import planes, table
from cyconv._plans.gathering import AxisLayout, lay_out_axis
from cyconv._plans.prepared import Prepares
from cyconv._plans.spec import (
    LINE,
    PADDING_MODES,
    Call,
    Compute,
    ConvSpec,
    bytes_moved,
    contiguous,
    equal_cut,
    round_up,
    strides_by_name,
)

Array = np.ndarray[Any, np.dtype[Any]]
_SPAN_BYTES = 40


class Orientation(NamedTuple):
    """How the kernel sees the axes."""

    by_channels: bool
    swapped: bool


@dataclass(frozen=True, slots=True)
class Blocks:
    """One call's layout, in the form that the kernel takes."""

    orientation: Orientation
    geometry: Array
    tables: Array
    scratch_bytes: int
    threads: int
    seconds: float


class Layout(NamedTuple):
    """How one call's axes are seen, and its layout: in place or in blocks."""

    orientation: Orientation
    placed: planes.InPlace | None
    blocks: Blocks | None


class Sliding(Prepares):
    """Direct convolution by sliding over rows, for few channels per group: depthwise layers and plain images."""

    name = "direct"

    def __init__(self, spec: ConvSpec, weight: Array, bias: Array | None, once: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self._new = _memory.lent if once else _memory.empty
        self._weight = np.asarray(weight, spec.dtype)
        self._finite = bool(np.isfinite(self._weight).all())
        self._bias = np.zeros(spec.out_channels, spec.dtype) if bias is None else np.asarray(bias, spec.dtype)
        self._packed: dict[tuple[Orientation, planes.Form | None], tuple[Array, Array]] = {}
        self._activation = spec.activation.numbers(spec.dtype)

    def _make(self, call: Call, threads: int) -> Compute:
        straight = _straight(self.spec, call, self._finite)
        if straight is not None:
            return partial(_run_on_copies, self.prepare(straight, threads), straight, call)
        layout = lay_out(self.spec, call, threads, self._finite)
        return with_weights(layout, *self._pack(layout), self._activation)

    def order(self, call: Call) -> tuple[planes.Form, bool] | None:
        """What the order of summation of a call that is read in place depends on; None for other calls."""
        placed = place(self.spec, call, 1, self._finite)
        return (placed.form, placed.swapped) if placed else None

    @staticmethod
    def supports(spec: ConvSpec) -> str | None:
        """Few channels per group, and a kernel whose rows fit into scratch memory."""
        if spec.group_inputs > table.SLIDING_MOST_INPUTS:
            return f"more than {table.SLIDING_MOST_INPUTS} input channels per group"
        if spec.depth > table.SLIDING_MOST_TAPS:
            return f"more than {table.SLIDING_MOST_TAPS} taps per group"
        return None

    @staticmethod
    def workspace(spec: ConvSpec, call: Call, threads: int) -> int:
        """Bytes of scratch memory of such a call."""
        copies = 0
        if _straight(spec, call, True):
            copies = spec.in_channels * prod(call.size) + spec.out_channels * prod(call.out)
        return blocks_for(spec, call, threads).scratch_bytes + copies * spec.dtype.itemsize

    @staticmethod
    def estimate(spec: ConvSpec, call: Call, threads: int) -> float:
        """Seconds of such a call, from the cycles of tiles, filling and scattering."""
        placed = place(spec, call, threads, True)
        return placed.seconds if placed else blocks_for(spec, call, threads).seconds

    @staticmethod
    def packing(spec: ConvSpec, call: Call) -> float:
        """Seconds that packing the weights takes: they are few."""
        return spec.out_channels * spec.depth * table.DENSE_PACK_WEIGHT_CYCLES / table.CLOCK_HZ

    def _pack(self, layout: Layout) -> tuple[Array, Array]:
        """Weights in the order of use, and the bias; packed on first use. Two threads may pack the same at once."""
        key = layout.orientation, layout.placed.form if layout.placed else None
        if key not in self._packed:
            packed = pack_weights(self.spec, self._weight, layout)
            # on large pages where they are many, see _memory: 768 planes of 7x7 with 7x7 took 44 or 73 us by chance
            values = self._new(packed.size, self.spec.dtype)
            values.reshape(packed.shape)[...] = packed
            self._packed[key] = values, pack_bias(self.spec, self._bias, layout)
        return self._packed[key]


def lay_out(spec: ConvSpec, call: Call, threads: int, finite: bool) -> Layout:
    """The layout of a call that needs no copies; ``finite``: no weight is NaN or infinite."""
    placed = place(spec, call, threads, finite)
    if placed:
        return Layout(Orientation(placed.form.by_channels, placed.swapped), placed, None)
    return Layout(_orient(spec, call), None, blocks_for(spec, call, threads))


def pack_weights(spec: ConvSpec, weight: Array, layout: Layout) -> Array:
    """Numbers of any dtype for (K, C // groups, T, R, S) in the order of use, zeros where there are none."""
    orientation, placed, _ = layout
    if orientation.swapped:
        weight, spec = weight.swapaxes(3, 4), _swap_spec(spec)
    packed = weight.reshape(len(weight), -1)[:, _order_of_use(spec)]
    lanes = _tile(spec).lanes
    if orientation.by_channels:
        width = _channel_width(spec)
        packed = _by_lanes(packed, spec.groups, width).reshape(-1, width // lanes, lanes, spec.depth)
        return packed.swapaxes(2, 3)
    if placed is not None and placed.form.paired:
        width = round_up(spec.groups, 2)
        packed = _by_lanes(packed, spec.groups, width).reshape(-1, width // 2, 2, spec.depth)
        return np.repeat(packed.swapaxes(2, 3), lanes // 2, axis=3)
    return packed


def pack_bias(spec: ConvSpec, bias: Array, layout: Layout) -> Array:
    """The bias (K,) beside such weights."""
    orientation, placed, _ = layout
    if orientation.by_channels:
        bias = _by_lanes(bias[:, None], spec.groups, _channel_width(spec))
    elif placed is not None and placed.form.paired:
        bias = _by_lanes(bias[:, None], spec.groups, round_up(spec.groups, 2))
        bias = np.repeat(bias, _tile(spec).lanes // 2, axis=1)
    return np.ascontiguousarray(bias).reshape(-1)


def with_weights(layout: Layout, weight: Array, bias: Array, activation: Array) -> Compute:
    """What computes calls of this layout with packed weights and bias."""
    _, placed, blocks = layout
    how = placed or blocks
    assert how is not None
    kernel = _runtime.kernel("planes" if placed else "sliding", weight.dtype)
    run = partial(kernel.run, weight, bias, how.geometry, how.tables, activation, how.threads)
    return _memory.WithScratch(run, blocks.scratch_bytes) if blocks else run


def _run_on_copies(compute: Compute, straight: Call, call: Call, x: Array, out: Array) -> None:
    """Each image as ``straight`` has it."""
    for n in range(call.batch):
        source = x[n : n + 1]
        if call.x_strides[1:] != straight.x_strides[1:]:
            source = _empty_like(source, straight.x_strides)
            source[...] = x[n : n + 1]
        result = _empty_like(out[n : n + 1], straight.out_strides)
        compute(source, result)
        out[n : n + 1] = result


@lru_cache(maxsize=512)
def place(spec: ConvSpec, call: Call, threads: int, finite: bool) -> planes.InPlace | None:
    """The layout of a call that can be read in place.

    Channels at 3 x 3 are read along W, where neighbours are, for which H and W change places.
    """
    orientation = _orient(spec, call)
    swapped = orientation.swapped or (orientation.by_channels and planes.can_stream(_swap_spec(spec)))
    if swapped:
        spec, call = _swap_spec(spec), _swap_call(call)
    passes = find_passes(spec)
    return planes.lay_out(spec, call, threads, passes[0], finite, swapped) if len(passes) == 1 else None


def needs_copies(spec: ConvSpec, call: Call) -> bool:
    """Whether a call may be done image by image on copies."""
    return any(_straight(spec, call, finite) is not None for finite in (True, False))


@lru_cache(maxsize=512)
def _straight(spec: ConvSpec, call: Call, finite: bool) -> Call | None:
    """One image of the call with contiguous arrays, if that one is read in place and this one cannot be: the kernels
    add up in different orders, and gaps in the arrays may not change a bit, so they are copied."""
    usual = contiguous(spec, call)
    if (usual.x_strides[1:], usual.out_strides[1:]) == (call.x_strides[1:], call.out_strides[1:]):
        return None
    wanted, found = place(spec, usual, 1, finite), place(spec, call, 1, finite)
    if wanted is None or (found is not None and (found.form, found.swapped) == (wanted.form, wanted.swapped)):
        return None
    return contiguous(spec, call._replace(batch=1))


def _empty_like(image: Array, strides: tuple[int, ...]) -> Array:
    """A contiguous array for one image, with its channels last if ``strides`` say so."""
    n, c, d, h, w = image.shape
    if strides[1] == 1 != strides[4]:
        return np.moveaxis(_memory.empty((n, d, h, w, c), image.dtype), 4, 1)
    return _memory.empty((n, c, d, h, w), image.dtype)


def _by_lanes(values: Array, groups: int, width: int) -> Array:
    """``(groups * m, n)`` as ``(m, width, n)``: lane i is group i, lanes beyond the groups are zero."""
    values = values.reshape(groups, -1, values.shape[1]).swapaxes(0, 1)
    out = np.zeros((values.shape[0], width, values.shape[2]), values.dtype)
    out[:, :groups] = values
    return out


# ----------------------------------------------------------------------------------------------------- passes

Run = tuple[int, ...]


@lru_cache(maxsize=512)
def find_passes(spec: ConvSpec) -> tuple[tuple[Run, ...], ...]:
    """The taps along H as runs that share input rows, one run or two to a pass of the kernel.

    Taps share rows where their coordinates are equal modulo the stride; long runs are cut into equal parts.
    """
    taps, stride, dilation = spec.kernel[1], spec.stride[1], spec.dilation[1]
    by_phase: dict[int, list[int]] = {}
    for tap in range(taps):
        by_phase.setdefault(tap * dilation % stride, []).append(tap)
    runs: list[Run] = []
    for members in by_phase.values():
        parts = ceil(len(members) / _tile(spec).run)
        size, longer = divmod(len(members), parts)
        at = 0
        for part in range(parts):
            end = at + size + (part < longer)
            runs.append(tuple(members[at:end]))
            at = end
    if len(runs) == 2 and (len(runs[0]), len(runs[1])) in planes.PAIRS:
        return ((runs[0], runs[1]),)
    return tuple((run,) for run in runs)


@lru_cache(maxsize=512)
def _order_of_use(spec: ConvSpec) -> Array:
    """Where a row of the packed weights, ``[pass][plane][run][s][r]``, finds its scalars in ``[plane][r][s]``."""
    places = np.arange(spec.depth).reshape(-1, *spec.kernel[1:])
    steps = [
        np.concatenate([places[:, list(run)].swapaxes(1, 2).reshape(len(places), -1) for run in step], axis=1)
        for step in find_passes(spec)
    ]
    order: Array = np.concatenate([step.reshape(-1) for step in steps])
    order.flags.writeable = False  # many calls share it
    return order


# ------------------------------------------------------------------------------------------------ block sizes


class Tile(NamedTuple):
    """The register tile of a build: rows, vectors, scalars per vector, longest run of taps."""

    rows: int
    vecs: int
    lanes: int
    run: int


def _tile(spec: ConvSpec) -> Tile:
    kernel = _runtime.kernel("sliding", spec.dtype)
    rows, vecs = kernel.TILE
    return Tile(rows, vecs, kernel.LANES, kernel.RUN)


def _swap_spec(spec: ConvSpec) -> ConvSpec:
    """The same layer with H and W exchanged."""

    def swap(triple: tuple[int, int, int]) -> tuple[int, int, int]:
        return triple[0], triple[2], triple[1]

    return replace(spec, kernel=swap(spec.kernel), stride=swap(spec.stride), dilation=swap(spec.dilation))


def _swap_call(call: Call) -> Call:
    d, h, w = call.size
    p, q, r = call.pads
    od, oh, ow = call.out
    (*xs, xh, xw), (*os, yh, yw) = call.x_strides, call.out_strides
    return Call(call.batch, (d, w, h), (p, r, q), (od, ow, oh), (*xs, xw, xh), (*os, yw, yh))


def _orient(spec: ConvSpec, call: Call) -> Orientation:
    """Vectors run where scalars are neighbours: along the channels, or along W; tiles are as high as they can be."""
    _, xc, _, xh, xw = call.x_strides
    _, _, (oh, ow) = call.batch, call.size, call.out[1:]
    by_channels = spec.group_inputs == 1 and xc == 1 and xw != 1 and 2 * spec.groups >= _tile(spec).lanes
    if by_channels:
        return Orientation(True, oh < ow and oh < _tile(spec).rows)
    return Orientation(False, xh == 1 and xw != 1 and oh > 1)


def _channel_box(spec: ConvSpec) -> int:
    """Channels of a box, whole vectors: equal parts of all channels, each some cache lines long."""
    lanes = _tile(spec).lanes
    vectors = ceil(spec.groups / lanes)
    most = max(1, table.SLIDING_CHANNEL_BYTES // (lanes * spec.dtype.itemsize))
    return equal_cut(vectors, most) * lanes


def _channel_width(spec: ConvSpec) -> int:
    """Channels of all boxes."""
    box = _channel_box(spec)
    return box * ceil(spec.groups / box)


Box = tuple[int, int, int]


def _layouts(spec: ConvSpec, call: Call, box: Box, narrowest: int) -> list[AxisLayout]:
    sizes = (*box[:2], max(box[2], narrowest))
    d, h, w = [lay_out_axis(spec.kernel[i], spec.stride[i], spec.dilation[i], sizes[i]) for i in range(3)]
    return [d, h, _align(w, call.pads[2][0], spec.stride[2], narrowest)]


def _align(layout: AxisLayout, pad: int, stride: int, lanes: int) -> AxisLayout:
    """Strips moved so that their first cells inside the input lie on vectors: one across cache lines costs double."""
    firsts = [first for _, _, first in layout.strips]
    strips, end = [], 0
    for (start, extra, first), behind in zip(layout.strips, [*firsts[1:], layout.slots], strict=True):
        inside = max(0, ceil((pad - start) / stride))
        at = end + -(end + inside) % lanes
        strips.append((start, extra, at))
        end = at + behind - first
    slots = []
    for slot in layout.tap_slots:
        strip = bisect_right(firsts, slot) - 1
        slots.append(slot - firsts[strip] + strips[strip][2])
    return AxisLayout(round_up(end, lanes), tuple(strips), tuple(slots))


def _choose_box(spec: ConvSpec, call: Call, channels: int, narrowest: int, threads: int, units: int) -> Box:
    """Depth, height and width of a box.

    Rows as long as they are, while the block of two rows of tiles fits the first-level cache; else boxes for the
    second-level cache, as wide as then fits. Then as high as fits, lower only where the threads would have too few.
    """
    rows = _tile(spec).rows
    d, h, w = call.out
    low = min(h, 2 * rows)

    def fits(box: Box, limit: int) -> bool:
        slots = prod(layout.slots for layout in _layouts(spec, call, box, narrowest))
        return channels * slots * spec.dtype.itemsize <= limit

    limit = table.SLIDING_BLOCK_BYTES
    if not fits((1, low, w), limit):
        limit = table.SLIDING_LARGE_BLOCK_BYTES
    width = next((width for width in _parts(w, 4 * narrowest) if fits((1, low, width), limit)), min(w, 4 * narrowest))
    wanted = 4 * threads if threads > 1 else 1
    most = ceil(h / ceil(wanted / (units * call.batch * d * ceil(w / width))))
    heights = [height for height in _parts(h, rows) if height <= max(most, low)]
    height = next((height for height in heights if fits((1, height, width), limit)), 1)
    depth = 1
    while (height, width) == (h, w) and depth < d and fits((depth + 1, height, width), limit):
        depth += 1
    return equal_cut(d, depth), height, width


def _parts(length: int, step: int) -> Iterator[int]:
    """Sizes of equal parts of ``length``, the largest first; all but the whole are multiples of ``step``."""
    yield length
    size = length
    while size > step:
        size = (size - 1) // step * step
        parts = ceil(length / size)
        size = round_up(ceil(length / parts), step)
        yield size


@lru_cache(maxsize=512)
def blocks_for(spec: ConvSpec, call: Call, threads: int) -> Blocks:
    """The layout of this call."""
    orientation = _orient(spec, call)
    if orientation.swapped:
        spec, call = _swap_spec(spec), _swap_call(call)
    tile = _tile(spec)
    by_channels = orientation.by_channels
    box_c = _channel_box(spec) if by_channels else spec.group_inputs
    units = ceil(spec.in_channels / box_c)
    narrowest = 1 if by_channels else tile.lanes
    box = _choose_box(spec, call, box_c, narrowest, threads, units)
    layouts = _layouts(spec, call, box, narrowest)
    itemsize = spec.dtype.itemsize

    at_spans = round_up((box_c * prod(layout.slots for layout in layouts) + 2 * tile.lanes) * itemsize, LINE)
    at_partial = at_spans + round_up(sum(len(layout.strips) for layout in layouts[1:]) * _SPAN_BYTES, LINE)
    scratch_bytes = at_partial + round_up(tile.rows * tile.vecs * tile.lanes * itemsize, LINE)
    items = call.batch * units * prod(ceil(n / b) for n, b in zip(call.out, box, strict=True))
    threads = max(1, min(threads, items, table.SLIDING_SCRATCH_BYTES // scratch_bytes))
    step = spec.dilation[1] // gcd(spec.dilation[1], spec.stride[1])
    lane_step = call.out_strides[1] * spec.group_outputs if by_channels else call.out_strides[4]
    values = {
        "batch": call.batch, "inputs": spec.in_channels,
        "group_inputs": spec.group_inputs, "group_outputs": spec.group_outputs,
        "padding_mode": PADDING_MODES[spec.padding_mode],
        "planes": spec.group_inputs * spec.kernel[0], "columns": spec.kernel[2], "passes": len(find_passes(spec)),
        "units": units, "box_c": box_c,
        "by_channels": by_channels, "row_gap": step, "row_step": min(step, box[1]),
        "weight_step": spec.depth * (tile.lanes if by_channels else 1), "direct_out": lane_step == 1,
        "ascending": not by_channels and step == 1 and box == call.out
        and len(find_passes(spec)) == 1 and _is_packed(spec, call),
        "chunks": 1 if threads == 1 else min(items, 8 * threads),
        "at_spans": at_spans, "at_partial": at_partial, "scratch_bytes": scratch_bytes,
        "is_silu": spec.activation.silu,
        "has_activation": not spec.activation.silu and spec.activation.kind != "none",
        **strides_by_name(call),
    }  # fmt: skip
    for i, axis in enumerate("dhw"):
        values |= {
            f"size_{axis}": call.size[i], f"out_{axis}": call.out[i], f"stride_{axis}": spec.stride[i],
            f"pad_{axis}": call.pads[i][0], f"slots_{axis}": layouts[i].slots,
            f"strips_{axis}": len(layouts[i].strips), f"box_{axis}": box[i],
        }  # fmt: skip
    geometry = np.array([values[name] for name in _runtime.kernel("sliding", spec.dtype).FIELDS], np.int64)
    tables = _tables(spec, layouts, box_c if by_channels else 1, tile.lanes if by_channels else 1)
    seconds = _seconds(spec, call, box, tile, by_channels, lane_step == 1, items) / threads
    seconds = max(seconds, bytes_moved(spec, call) / table.BANDWIDTH) + table.CALL_SECONDS
    return Blocks(orientation, geometry, tables, scratch_bytes * threads, threads, seconds)


def _is_packed(spec: ConvSpec, call: Call) -> bool:
    """Whether the result lies in memory in the order in which it is computed, without gaps."""
    expected = 1
    sizes = (call.batch, spec.out_channels, *call.out)
    for size, stride in zip(reversed(sizes), reversed(call.out_strides), strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def _tables(spec: ConvSpec, layouts: list[AxisLayout], cells: int, unit: int) -> Array:
    """The strips of the three axes, the offsets of planes and of columns, and the passes."""
    strips = [number for layout in layouts for strip in layout.strips for number in strip]
    plane = layouts[1].slots * layouts[2].slots * cells
    planes = [
        (c * layouts[0].slots + slot) * plane for c in range(spec.group_inputs) for slot in layouts[0].tap_slots
    ]
    columns = [slot * cells for slot in layouts[2].tap_slots]
    passes, weight = [], 0
    for step in find_passes(spec):
        first, second = step[0], step[1] if len(step) == 2 else ()
        slots = [layouts[1].tap_slots[run[0]] if run else 0 for run in (first, second)]
        passes += [len(first), len(second), *slots, weight]
        weight += (len(first) + len(second)) * len(planes) * len(columns) * unit
    return np.array(strips + planes + columns + passes, np.int64)


def _seconds(
    spec: ConvSpec, call: Call, box: Box, tile: Tile, by_channels: bool, direct_out: bool, items: int
) -> float:
    """Time of one thread for tiles, filling and scattering."""
    _, h, w = call.out
    lines = call.batch * prod(call.out[:2])
    if by_channels:
        vectors = lines * w * ceil(spec.groups / tile.lanes) * spec.group_outputs
        across = w * round_up(spec.groups, tile.lanes)
    else:
        vectors = lines * ceil(w / tile.lanes) * spec.out_channels
        across = w * spec.in_channels
    low = 1.0 if h >= tile.rows else table.SLIDING_LOW_FACTOR
    passes = len(find_passes(spec))
    sums = spec.group_inputs * (spec.taps * table.SLIDING_STEP_CYCLES * low + table.SLIDING_CHANNEL_CYCLES)
    cycles = vectors * (sums + table.SLIDING_STORE_CYCLES * passes)
    neighbours = call.x_strides[1] == 1 if by_channels else call.x_strides[4] * spec.stride[2] == 1
    again = 1 + (spec.kernel[1] - 1) * spec.dilation[1] / (spec.stride[1] * box[1])
    cells = call.batch * call.out[0] * h * across * spec.stride[1] * spec.stride[2] * spec.kernel[0] * again
    cycles += cells * (table.SLIDING_FILL_CYCLES / tile.lanes if neighbours else 1.0)
    cycles += items * table.SLIDING_ITEM_CYCLES
    if not direct_out:
        cycles += table.SLIDING_SCATTER_CYCLES * call.batch * call.positions * spec.out_channels
    return cycles / table.CLOCK_HZ
