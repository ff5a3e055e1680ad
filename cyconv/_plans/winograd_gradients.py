"""Plan of the weight gradient by Winograd's algorithm: which form, boxes of tiles, blocks and scratch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import Any

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import table
from cyconv._plans.spec import LINE, PADDING_MODES, Call, ConvSpec, equal_cut, flops, odd_lines, round_up
from cyconv._plans.winograd_points import numbers, offsets_of_cells

Array = np.ndarray[Any, np.dtype[Any]]
Form = tuple[int, int, int]  # results, taps, stride
Box = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Blocks:
    """One call's layout, in the form that the kernel takes."""

    form: Form
    geometry: Array
    tables: Array
    segments: int
    parts: int
    scratch_bytes: int
    threads: int
    seconds: float


def supports(spec: ConvSpec, call: Call) -> bool:
    """Whether some form computes this gradient: a plane, a square kernel, no dilation, whole vectors."""
    least = _runtime.VECTOR_BYTES // spec.dtype.itemsize
    return (
        bool(_forms(spec))
        and (call.size[0], call.out[0], spec.kernel[0]) == (1, 1, 1)
        and spec.dilation == (1, 1, 1)
        and min(spec.group_inputs, spec.group_outputs) >= least
    )


def weight_gradient(spec: ConvSpec, call: Call, x: Array, grad: Array, out: Array, threads: int) -> bool:
    """Fill ``out`` (K, C // groups * taps), C-contiguous; x and grad are seen as (N, C, D, H, W), none is empty.

    False if the result is not finite: infinity and NaN are then not where the definition puts them.
    """
    blocks = blocks_for(spec, call, threads)
    m, r, stride = blocks.form
    r = ceil(r / stride)  # what is transformed of an axis
    known = numbers(m, r)
    has_zero = (m + r) % 2
    weights = [*known.weights[has_zero:-1:2].ravel(), known.weights[0, 0]]
    bad = np.zeros(blocks.parts, np.uint8)
    whole = blocks.segments == 1
    products = out[np.newaxis] if whole else np.empty((blocks.segments, *out.shape), out.dtype)
    with _memory.scratch(blocks.scratch_bytes) as scratch:
        _runtime.kernel("winwgrad", spec.dtype).run(
            x[:, :, 0], grad[:, :, 0], products, blocks.geometry, blocks.tables, known.inputs.astype(spec.dtype),
            known.outputs.astype(spec.dtype), np.array(weights, spec.dtype), bad, scratch, blocks.threads,
        )  # fmt: skip
    if whole:
        return not bad.any()
    _runtime.kernel("wgrad", spec.dtype).add_products(products, out, threads)
    return not bad.any() and bool(np.isfinite(out).all())


def estimate(spec: ConvSpec, call: Call) -> float:
    """Seconds of such a call on one thread."""
    return blocks_for(spec, call, 1).seconds


@lru_cache(maxsize=512)
def blocks_for(spec: ConvSpec, call: Call, threads: int) -> Blocks:
    """The cheapest form and its box for this call; they do not depend on the threads."""
    seconds, form, box = min(
        (_cost(spec, call, form, box), form, box) for form in _forms(spec) for box in [_box(spec, call, form)]
    )
    return _describe(spec, call, form, box, threads, seconds)


def _forms(spec: ConvSpec) -> list[Form]:
    """Every form that fits the kernel and the bound on errors."""
    return [
        (m, r, stride)
        for (m, r, stride), error in table.WINOGRAD_GRADIENT.items()
        if spec.kernel == (1, r, r) and spec.stride[1:] == (stride, stride) and error < table.WINOGRAD_ERROR
    ]


def _points(form: Form) -> int:
    """Cells, and frequencies, of an axis."""
    m, r, stride = form
    return (m - 1) * stride + r


def _tiles(call: Call, form: Form) -> tuple[int, int]:
    return ceil(call.out[1] / form[0]), ceil(call.out[2] / form[0])


def _box(spec: ConvSpec, call: Call, form: Form) -> Box:
    """Images, rows and columns of tiles, about as many as are wanted: an inner axis is whole before an outer one is
    more than 1."""
    kernel = _runtime.kernel("winwgrad", spec.dtype)
    block_k, panel = _block_outputs(spec, kernel.LANES), kernel.LANES * kernel.VECS
    channels = round_up(spec.group_inputs, panel) + round_up(spec.group_outputs, block_k)
    values = _points(form) ** 2 * channels * spec.dtype.itemsize
    most = max(1, min(table.WINOGRAD_MOST_TILES, table.WINOGRAD_GRADIENT_BYTES // values))
    tall, wide = _tiles(call, form)
    if wide > most:
        return 1, 1, equal_cut(wide, most)
    if wide * tall > most:
        return 1, equal_cut(tall, most // wide), wide
    return equal_cut(call.batch, most // (wide * tall)), tall, wide


def _cost(spec: ConvSpec, call: Call, form: Form, box: Box) -> float:
    """Estimated seconds on one thread."""
    m, _, stride = form
    frequencies = _points(form) ** 2
    lanes = _runtime.kernel("winwgrad", spec.dtype).LANES
    inputs, outputs = ceil(spec.group_inputs / lanes), ceil(spec.group_outputs / lanes)
    tall, wide = _tiles(call, form)
    tiles = call.batch * tall * wide
    boxes = ceil(call.batch / box[0]) * ceil(tall / box[1]) * ceil(wide / box[2])
    cycles = table.WINOGRAD_GRADIENT_STEP_CYCLES * tiles * frequencies * spec.group_outputs * inputs
    cycles += table.WINOGRAD_GRADIENT_CELL_CYCLES * tiles * m**2 * (inputs * stride**2 + outputs)
    cycles += table.WINOGRAD_GRADIENT_COLLECT_CYCLES * frequencies * boxes * spec.group_outputs * inputs
    seconds: float = cycles * spec.groups / table.CLOCK_HZ + table.CALL_SECONDS
    return seconds


def _describe(spec: ConvSpec, call: Call, form: Form, box: Box, threads: int, seconds: float) -> Blocks:
    """Everything the kernel wants to know, as two integer vectors, and the scratch it needs."""
    kernel = _runtime.kernel("winwgrad", spec.dtype)
    lanes, panel, item = kernel.LANES, kernel.LANES * kernel.VECS, spec.dtype.itemsize
    m, r, stride = form
    a = _points(form)
    tiles = prod(box)
    tall, wide = _tiles(call, form)
    block_k, block_panels = _block(spec, a * a, panel, lanes)
    blocks_k, panels = ceil(spec.group_outputs / block_k), ceil(spec.group_inputs / panel)
    step_inputs = odd_lines(panels * tiles * panel * item) // item
    step_gradients = odd_lines(blocks_k * tiles * block_k * item) // item
    step_product = odd_lines(block_panels * block_k * panel * item) // item
    pitch = (box[2] - 1) * m * stride + a
    cells = (a * pitch + lanes) * lanes
    at_gradients = round_up(a * a * step_inputs * item, LINE)
    at_work = at_gradients + round_up(a * a * step_gradients * item, LINE)
    work_bytes = round_up(max(cells, a * a * step_product) * item, LINE)
    boxes = ceil(call.batch / box[0]) * ceil(tall / box[1]) * ceil(wide / box[2])
    segments = min(
        boxes,
        ceil(table.GRADIENT_ITEMS / spec.groups),
        table.GRADIENT_PRODUCT_BYTES // (spec.out_channels * spec.depth * item),
    )
    if segments < min(boxes, table.WINOGRAD_GRADIENT_SEGMENTS):
        segments = 1
    shared = segments <= 1
    at_threads, thread_bytes = (at_work, work_bytes) if shared else (0, at_work + work_bytes)
    threads = max(1, min(
        threads, flops(spec, call) // table.THREAD_FLOPS, (table.SCRATCH_BYTES - at_threads) // thread_bytes,
        threads if shared else segments * spec.groups,
    ))  # fmt: skip
    values = {
        "batch": call.batch, "groups": spec.groups,
        "group_inputs": spec.group_inputs, "group_outputs": spec.group_outputs,
        "size_h": call.size[1], "size_w": call.size[2], "out_h": call.out[1], "out_w": call.out[2],
        "pad_h": call.pads[1][0], "pad_w": call.pads[2][0], "padding_mode": PADDING_MODES[spec.padding_mode],
        "points": a, "pixels": m, "stride": stride, "taps": r, "tiles_h": tall, "tiles_w": wide,
        "box_n": box[0], "box_h": box[1], "box_w": box[2],
        "block_k": block_k, "block_panels": block_panels,
        "step_inputs": step_inputs, "step_gradients": step_gradients, "step_product": step_product,
        "segments": max(1, segments), "at_work": at_work,
        "at_gradients": at_gradients, "at_threads": at_threads, "thread_bytes": thread_bytes,
    }  # fmt: skip
    offsets = offsets_of_cells([range(a)], [range(a)], stride, pitch, lanes)
    return Blocks(
        form=form,
        geometry=np.array([values[name] for name in kernel.FIELDS], np.int64),
        tables=np.array(offsets, np.int64),
        segments=max(1, segments),
        parts=blocks_k * ceil(panels / block_panels) if shared else segments * spec.groups,
        scratch_bytes=at_threads + threads * thread_bytes,
        threads=threads,
        seconds=seconds,
    )


def _block_outputs(spec: ConvSpec, lanes: int) -> int:
    return round_up(equal_cut(spec.group_outputs, table.WINOGRAD_GRADIENT_OUTPUTS), lanes)


def _block(spec: ConvSpec, frequencies: int, panel: int, lanes: int) -> tuple[int, int]:
    """Outputs and panels of inputs of a block of the result, whose product stays in the second-level cache."""
    block_k = _block_outputs(spec, lanes)
    most = table.WINOGRAD_GRADIENT_PRODUCT_BYTES // (frequencies * block_k * panel * spec.dtype.itemsize)
    return block_k, equal_cut(ceil(spec.group_inputs / panel), max(1, most))
