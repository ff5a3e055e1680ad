"""Plan of the Winograd path: its weights, its calls, and what to do about results that overflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import ceil, prod
from typing import Any

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import table, winograd_blocks
from cyconv._plans.dense import Dense
from cyconv._plans.prepared import Prepares
from cyconv._plans.spec import LINE, Call, Compute, ConvSpec, equal_cut, exported_strides, round_up
from cyconv._plans.winograd_blocks import Blocks, phases_of
from cyconv._plans.winograd_forms import Form, allowed_forms, direct_taps, forms, section_offsets, tall_and_wide
from cyconv._plans.winograd_points import numbers

Array = np.ndarray[Any, np.dtype[Any]]


class Winograd(Prepares):
    """Convolution with 2 taps or more for each step of the stride, along height, width or both.

    In float32 the relative L2 error against float64 stays below 1e-5 (float64: 2e-14) for normal data; the table
    holds the measured error of each F(m, r), and one that would come too near is not used. NaN and
    infinity are where the definition puts them: a tile of results that is not finite is computed directly.
    """

    name = "winograd"

    def __init__(self, spec: ConvSpec, weight: Array, bias: Array | None, once: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.kernel = _runtime.kernel("winograd", spec.dtype)
        self._direct = Dense(spec, weight, bias, once)
        self._once = once
        self._new = _memory.lent if once else _memory.empty
        self._weight = weight
        self._packed: dict[Form, tuple[Array, Array, Array]] = {}  # a piece; its weights and what is beside them
        self._bias = _memory.empty((spec.groups, round_up(spec.group_outputs, self.kernel.LANES)), spec.dtype)
        self._bias.fill(0)
        if bias is not None:
            self._bias[:, : spec.group_outputs] = bias.reshape(spec.groups, spec.group_outputs)
        self._activation = spec.activation.numbers(spec.dtype)

    @staticmethod
    def supports(spec: ConvSpec) -> str | None:
        """None if this layer can be computed, else the reason why not."""
        if not forms(spec):
            return (
                "it needs 2 taps or more along height and width, or 3 along one of them, for each step of the stride "
                f"there, in {table.WINOGRAD_SECTIONS} sections at most, and no dilation beside a stride, got kernel "
                f"{spec.kernel} with stride {spec.stride} (depth, height, width)"
            )
        least = _runtime.VECTOR_BYTES // spec.dtype.itemsize
        if spec.groups > 1 and min(spec.group_inputs, spec.group_outputs) < least:
            return (
                f"a group needs at least {least} input and {least} output channels, "
                f"got {spec.group_inputs} and {spec.group_outputs}"
            )
        if not allowed_forms(spec):
            return f"the sums over {spec.group_inputs} channels per group would lose more accuracy than the bound"
        return None

    @staticmethod
    def workspace(spec: ConvSpec, call: Call, threads: int) -> int:
        """Bytes of scratch memory of such a call."""
        return winograd_blocks.blocks_for(spec, call, threads).scratch_bytes

    @staticmethod
    def estimate(spec: ConvSpec, call: Call, threads: int) -> float:
        """Seconds of such a call."""
        return winograd_blocks.blocks_for(spec, call, threads).seconds

    @staticmethod
    def packing(spec: ConvSpec, call: Call) -> float:
        """Seconds that transforming and packing the weights takes."""
        form = winograd_blocks.blocks_for(spec, call, 1).form
        values = form.r**2 if form.fresh else form.frequencies * direct_taps(spec, form)
        cycles = table.WINOGRAD_PACK_WEIGHT_CYCLES * values * spec.out_channels * spec.group_inputs
        return cycles / table.CLOCK_HZ

    def _make(self, call: Call, threads: int) -> Compute:
        blocks = winograd_blocks.blocks_for(self.spec, call, threads)
        form = blocks.form
        if self._once and self.spec.groups == 1:
            panel = self.kernel.LANES * self.kernel.VECS
            panels = ceil(self.spec.out_channels / panel)
            nbytes = self._packed_size(form) * self.spec.dtype.itemsize
            room = max(_memory.KEEP_BYTES - blocks.scratch_bytes, table.WINOGRAD_ONCE_BYTES // 2)
            most = max(1, min(table.WINOGRAD_ONCE_BYTES, room) * panels // nbytes)
            if panels > most:
                channels = equal_cut(panels, most) * panel
                return partial(_run_parts, self.spec, self._weight, self._bias[0], call, threads, channels)
        known = numbers(form.m, form.r, form.stride)
        dtype = self.spec.dtype
        piece, weights, beside = self._pack(form, blocks)
        transforms = known.inputs.astype(dtype), known.outputs.astype(dtype), known.fresh.astype(dtype)
        kernel = partial(
            self.kernel.run, weights, self._bias.reshape(-1), blocks.geometry, blocks.tables, transforms,
            self._activation, blocks.threads,
        )  # fmt: skip
        run = partial(_run, kernel, piece, self._direct, blocks, call, threads)
        if len(beside) >= blocks.scratch_bytes:
            return lambda x, out: run(x, out, beside)
        return _memory.WithScratch(run, blocks.scratch_bytes)

    def _packed_size(self, form: Form) -> int:
        spec, depth = self.spec, self.spec.group_inputs * direct_taps(self.spec, form)
        if form.fresh:
            return spec.groups * round_up(spec.group_outputs, self.kernel.LANES) * spec.group_inputs * form.r**2
        size: int = self.kernel.packed_size(spec.groups, spec.group_outputs, depth, form.frequencies)
        return size

    def _pack(self, form: Form, blocks: Blocks) -> tuple[Array, Array, Array]:
        """A piece of memory, the transformed weights in it, packed on first use, and scratch memory beside them.

        Two threads may pack the same thing at once. Weights that serve once, and one thread, lie in one piece with
        the scratch of their first call: what is kept between calls is one piece then, large enough for the next one.
        """
        if form not in self._packed:
            spec = self.spec
            size = self._packed_size(form)
            nbytes = round_up(size * spec.dtype.itemsize, LINE)
            room = self._new(nbytes + (blocks.scratch_bytes if self._once else 0), np.uint8)
            packed = room[: size * spec.dtype.itemsize].view(spec.dtype)
            tall, wide = tall_and_wide(spec, form)
            weight = _with_zeros(self._weight, tall, wide)
            offsets = section_offsets(spec, form, tuple(step // weight.itemsize for step in weight.strides[1:]))
            if form.fresh:
                self.kernel.pack_taps(weight, offsets, spec.groups, packed, blocks.threads)
            else:
                columns = numbers(form.m, form.r, form.stride).weights
                rows = columns if form.planar else np.ones((1, 1))
                self.kernel.pack_weights(weight, offsets, spec.groups, rows, columns, packed, blocks.threads)
            self._packed[form] = room, packed, room[nbytes:]
        return self._packed[form]


def _with_zeros(weight: Array, tall: int, wide: int) -> Array:
    """Weights of at least so many taps along height and width."""
    more = max(0, tall - weight.shape[3]), max(0, wide - weight.shape[4])
    if not any(more):
        return weight
    return np.pad(weight, [(0, 0)] * 3 + [(0, n) for n in more])


def _run(
    kernel: Callable[..., bool], piece: Array, direct: Dense, blocks: Blocks, call: Call, threads: int, x: Array,
    out: Array, scratch: Array,
) -> None:  # fmt: skip
    """Compute, and once more by the definition what is not finite. ``piece`` has the weights, and may be lent."""
    bad = np.zeros(prod(blocks.flags), np.uint8)
    if kernel(x, out, bad, scratch):
        tiles: Array = np.any(bad.reshape(blocks.flags), axis=(0, 2))
        _repair(direct, call, x, out, threads, tiles, blocks.form)


def _run_parts(
    spec: ConvSpec, weight: Array, bias: Array, call: Call, threads: int, channels: int, x: Array, out: Array
) -> None:  # fmt: skip
    """Some output channels after others: weights that serve once are packed into memory that is there already."""
    for first in range(0, spec.out_channels, channels):
        some = slice(first, min(first + channels, spec.out_channels))
        part = replace(spec, out_channels=some.stop - some.start)
        Winograd(part, weight[some], bias[some], True).prepare(call, threads)(x, out[:, some])


def _repair(direct: Dense, call: Call, x: Array, out: Array, threads: int, bad: Array, form: Form) -> None:
    """Compute the tiles marked in ``bad`` (image, depth, rows, columns of tiles) by the definition.

    One box of results per plane, neighbouring images with the same box together: the price is bounded, and no
    image depends on another. The dense path computes a box when the padding is shifted by the box's origin.
    """
    phases = phases_of(direct.spec, call, form)
    tall, wide = phases[0] * (form.m if form.high else 1), phases[1] * (form.m if form.wide else 1)
    boxes: dict[tuple[int, ...], list[int]] = {}
    for n, d in np.argwhere(bad.any(axis=(2, 3))).tolist():
        rows, columns = (np.flatnonzero(bad[n, d].any(axis=axis)) for axis in (1, 0))
        edges = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        boxes.setdefault((d, *edges), []).append(n)
    for (d, h0, h1, w0, w1), images in boxes.items():
        for run in np.split(images, np.flatnonzero(np.diff(images) > 1) + 1):
            part = slice(int(run[0]), int(run[-1]) + 1)
            view = out[part, :, d : d + 1, h0 * tall : h1 * tall, w0 * wide : w1 * wide]
            seen = x[part]
            box = _box_of(direct.spec, call, (d, h0 * tall, w0 * wide), seen, view)
            direct.prepare(box, threads)(seen, view)


def _box_of(spec: ConvSpec, call: Call, origin: tuple[int, int, int], x: Array, view: Array) -> Call:
    """The call that computes only the results from ``origin`` on that ``view`` has room for."""
    d, h, w = (
        (before - first * stride, after)
        for (before, after), first, stride in zip(call.pads, origin, spec.stride, strict=True)
    )
    out = view.shape[2:]
    return Call(
        view.shape[0], call.size, (d, h, w), (out[0], out[1], out[2]), exported_strides(x), exported_strides(view)
    )
