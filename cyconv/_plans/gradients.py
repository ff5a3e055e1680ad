"""Plan of the weight gradient: which kernel; boxes, parts, segments and scratch of ``_kernels/wgrad.pyx``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import ceil, prod
from typing import Any, Protocol

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import row_gradients, table, winograd_gradients
from cyconv._plans.gathering import lay_out_axis
from cyconv._plans.spec import (
    LINE,
    PADDING_MODES,
    Call,
    ConvSpec,
    acts_as_one_axis,
    equal_cut,
    equal_segments,
    flops,
    round_up,
)  # fmt: skip

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class WeightBlocks:
    """One call's layout, in the form that the kernel takes."""

    merged: bool
    segments: int
    ld: int
    geometry: Array
    tables: Array
    scratch_bytes: int
    threads: int


class Prepared(Protocol):
    """A weight gradient of calls of one shape."""

    def run(self, x: Array, grad: Array, out: Array) -> None:
        """Fill ``out`` (K, C // groups * taps), C-contiguous; x and grad are (N, C, *spatial), none is empty."""


def weight_gradient(spec: ConvSpec, call: Call, x: Array, grad: Array, out: Array, threads: int) -> None:
    """Fill ``out`` (K, C // groups * taps), C-contiguous; x and grad are seen as (N, C, D, H, W), none is empty.

    ``call`` is that of the convolution, its ``out_strides`` those of grad.
    """
    prepare(spec, call, threads).run(x, grad, out)


def direct_weight_gradient(spec: ConvSpec, call: Call, x: Array, grad: Array, out: Array, threads: int) -> None:
    """The same by the definition."""
    prepare_direct(spec, call, threads).run(x, grad, out)


@lru_cache(maxsize=512)
def prepare(spec: ConvSpec, call: Call, threads: int) -> Prepared:
    """The quickest way for such calls."""
    quick = winograd_gradients.supports(spec, call) and (
        winograd_gradients.estimate(spec, call) * table.LEAST_GAIN < _estimate(spec, call)
    )
    direct = prepare_direct(spec, call, threads)
    return Quick(spec, call, threads, direct) if quick else direct


def prepare_direct(spec: ConvSpec, call: Call, threads: int) -> Prepared:
    """The same by the definition."""
    if row_gradients.supports(spec, call):
        return row_gradients.Rows(spec, call, threads)
    if acts_as_one_axis(spec, call) and _is_worth_turning(spec, call):
        return Turned(spec, call, threads)
    return Direct(spec, call, threads)


def _estimate(spec: ConvSpec, call: Call) -> float:
    """Seconds of the direct weight gradient on one thread."""
    vectors = spec.out_channels * ceil(spec.depth / _runtime.kernel("wgrad", spec.dtype).LANES)
    within, beyond = table.GRADIENT_ADD_CYCLES
    add = beyond if spec.out_channels * spec.depth * spec.dtype.itemsize > _runtime.CACHES[1] else within
    boxes = ceil(call.positions / table.GRADIENT_POSITIONS)
    cycles = call.batch * vectors * (table.GRADIENT_STEP_CYCLES * call.positions + add * boxes)
    seconds: float = cycles / table.CLOCK_HZ + table.CALL_SECONDS
    return seconds


class Quick:
    """By Winograd's algorithm; a result that is not finite is computed again by the definition."""

    def __init__(self, spec: ConvSpec, call: Call, threads: int, direct: Prepared) -> None:
        self._spec, self._call, self._threads, self._direct = spec, call, threads, direct

    def run(self, x: Array, grad: Array, out: Array) -> None:
        """See `Prepared`."""
        spec, call = self._spec, self._call
        seen = x.reshape(call.batch, spec.in_channels, *call.size)
        given = grad.reshape(call.batch, spec.out_channels, *call.out)
        if not winograd_gradients.weight_gradient(spec, call, seen, given, out, self._threads):
            self._direct.run(x, grad, out)


class Direct:
    """A product over the positions of the result."""

    def __init__(self, spec: ConvSpec, call: Call, threads: int) -> None:
        blocks = weight_blocks(spec, call, threads)
        self._kernel = _runtime.kernel("wgrad", spec.dtype)
        self._blocks, self._threads = blocks, threads
        size, out = ((1, 1, -1), (1, 1, -1)) if blocks.merged else (call.size, call.out)
        self._x_shape = call.batch, spec.in_channels, *size
        self._grad_shape = call.batch, spec.out_channels, *out
        self._in_place = blocks.segments == 1 and blocks.ld == spec.depth
        shape = (0,) if self._in_place else (blocks.segments, spec.out_channels, blocks.ld)
        self._work = _memory.Work((shape, spec.dtype), ((blocks.scratch_bytes,), np.uint8))

    def run(self, x: Array, grad: Array, out: Array) -> None:
        """See `Prepared`."""
        blocks = self._blocks
        products, scratch = work = self._work.take()
        into = out if self._in_place else products
        self._kernel.run(
            x.reshape(self._x_shape), grad.reshape(self._grad_shape), into.reshape(-1), blocks.geometry,
            blocks.tables, scratch, blocks.threads,
        )  # fmt: skip
        if not self._in_place:
            self._kernel.add_products(products, out, self._threads)
        self._work.give_back(work)


class Turned:
    """The same for kernels of one cell, x and gradient having changed places: the smaller one is packed."""

    def __init__(self, spec: ConvSpec, call: Call, threads: int) -> None:
        turned = replace(spec, in_channels=spec.out_channels, out_channels=spec.in_channels)
        swapped = call._replace(x_strides=call.out_strides, out_strides=call.x_strides)
        self._prepared = prepare_direct(turned, swapped, threads)
        self._spec = spec

    def run(self, x: Array, grad: Array, out: Array) -> None:
        """See `Prepared`."""
        spec = self._spec
        products = np.empty((spec.in_channels, spec.group_outputs), out.dtype)
        self._prepared.run(grad, x, products)
        by_group = products.reshape(spec.groups, spec.group_inputs, spec.group_outputs)
        out.reshape(spec.groups, spec.group_outputs, spec.group_inputs)[...] = by_group.swapaxes(1, 2)


def _is_worth_turning(spec: ConvSpec, call: Call) -> bool:
    """Whether packing the gradient instead of x saves more than turning the result costs."""
    saved = call.batch * call.positions * (spec.group_inputs - spec.group_outputs)
    return saved > table.GRADIENT_TURN_CELLS * spec.group_inputs * spec.group_outputs


def bias_gradient(grad: Array, out: Array, threads: int) -> None:
    """Fill ``out`` (K,) with the sums of grad (N, K, D, H, W), which is not empty."""
    threads = max(1, min(threads, grad.size // table.GRADIENT_THREAD_CELLS))
    _runtime.kernel("wgrad", grad.dtype).add_positions(grad, out, threads)


@lru_cache(maxsize=512)
def weight_blocks(spec: ConvSpec, call: Call, threads: int) -> WeightBlocks:
    """Boxes of positions, parts of the columns and segments; but for the last of them nothing knows the threads."""
    merged = acts_as_one_axis(spec, call)
    if merged:
        cells = call.positions
        call = call._replace(size=(1, 1, cells), out=(1, 1, cells))
    kernel = _runtime.kernel("wgrad", spec.dtype)
    lanes, panel, itemsize = kernel.LANES, kernel.LANES * kernel.VECS, spec.dtype.itemsize
    box = _choose_box(call)
    positions = prod(box)
    ld = round_up(spec.depth, lanes)
    panels = ceil(ld / panel)
    share = max(1, int(table.GRADIENT_PANEL_BYTES) // (positions * panel * itemsize))
    least = table.GRADIENT_LEAST_PANELS[_is_read_in_place(call, box)]
    parts = max(ceil(panels / share), min(table.GRADIENT_ITEMS, panels // least), 1)
    boxes = prod(ceil(n / b) for n, b in zip((call.batch, *call.out), box, strict=True))
    product_bytes = spec.out_channels * ld * itemsize
    segments = equal_segments(
        boxes,
        ceil(table.GRADIENT_ITEMS / (parts * spec.groups)),
        max(1, table.GRADIENT_PRODUCT_BYTES // product_bytes),
    )
    items = segments * spec.groups * parts
    threads = max(1, min(threads, items, flops(spec, call) // table.THREAD_FLOPS))

    layouts = [lay_out_axis(spec.kernel[i], spec.stride[i], spec.dilation[i], box[i + 1]) for i in range(3)]
    direct_in = (
        spec.taps == 1
        and call.pads == ((0, 0),) * 3
        and call.x_strides[4] == 1
        and (spec.stride[2] == 1 or (spec.stride[2] == 2 and box[3] > lanes))
    )
    columns = ceil(panels / parts) * panel
    channels = min(spec.group_inputs, (columns - 1) // spec.taps + 2)
    source = 0 if direct_in else box[0] * channels * prod(layout.slots for layout in layouts) + lanes
    at_columns = round_up(source * itemsize, LINE)
    # behind the last position there is room for the positions that a short run stores too much
    at_rows = at_columns + round_up((positions * columns + lanes * panel) * itemsize, LINE)
    rows = positions * kernel.ROWS + 2 * lanes
    at_offsets = at_rows + round_up(rows * itemsize, LINE)
    scratch_bytes = at_offsets + round_up(columns * 8, LINE)
    values = {
        "batch": call.batch, "groups": spec.groups,
        "group_inputs": spec.group_inputs, "group_outputs": spec.group_outputs,
        "padding_mode": PADDING_MODES[spec.padding_mode], "taps": spec.taps, "box_n": box[0],
        "segments": segments, "parts": parts, "ld": ld, "direct_in": direct_in,
        "at_source": 0, "at_columns": at_columns, "at_rows": at_rows, "at_offsets": at_offsets,
        "scratch_bytes": scratch_bytes,
    }  # fmt: skip
    for i, axis in enumerate("dhw"):
        values |= {
            f"size_{axis}": call.size[i], f"out_{axis}": call.out[i], f"stride_{axis}": spec.stride[i],
            f"pad_{axis}": call.pads[i][0], f"slots_{axis}": layouts[i].slots,
            f"strips_{axis}": len(layouts[i].strips), f"box_{axis}": box[i + 1],
        }  # fmt: skip
    strips = [number for layout in layouts for strip in layout.strips for number in strip]
    slots_h, slots_w = layouts[1].slots, layouts[2].slots
    taps = [(d * slots_h + h) * slots_w + w for d, h, w in product(*(layout.tap_slots for layout in layouts))]
    return WeightBlocks(
        merged=merged,
        segments=segments,
        ld=ld,
        geometry=np.array([values[name] for name in kernel.FIELDS], np.int64),
        tables=np.array(strips + taps, np.int64),
        scratch_bytes=scratch_bytes * threads,
        threads=threads,
    )


def _is_read_in_place(call: Call, box: tuple[int, int, int, int]) -> bool:
    """Whether the positions of an image in a box lie side by side in the gradient, as the kernel finds, too."""
    *_, oh, ow = call.out_strides
    return ow == 1 and (box[2] == 1 or oh == box[3]) and box[1] == 1


def _choose_box(call: Call) -> tuple[int, int, int, int]:
    """Images, depth, height and width of a box: equal cuts of about as many positions as are wanted."""
    target = table.GRADIENT_POSITIONS
    box = [1, 1, 1, 1]
    sizes: tuple[int, ...] = (call.batch, *call.out)
    for axis in (3, 2, 1, 0):
        most = max(1, target // prod(box))
        box[axis] = equal_cut(sizes[axis], most)
        if box[axis] < sizes[axis]:
            break
    n, d, h, w = box
    return n, d, h, w


