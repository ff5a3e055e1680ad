"""Transposed convolution as ordinary convolutions of the input, one per phase of the output.

Along one axis, output o of a transposed convolution with stride s, dilation d and padding p collects

    y[o] = sum of  w[t] * x[i]   over  o + p = i s + d t.

Outputs that are equal modulo s, ``o = s q + phase``, use the same taps, and tap t finds its input at
``q + (phase + p - d t) / s``: a correlation of stride 1 with those taps in reverse, written to every s-th output.
No zeros are inserted, and nothing is computed twice. Where neighbouring outputs of a row belong to different phases,
each phase is computed into memory of its own, and ``_kernels/weave.pyx`` puts them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import table
from cyconv._plans.arrays import fill_with_bias, run_convolution, triple, with_three_axes
from cyconv._plans.convolution import Convolution
from cyconv._plans.spec import Activation, ConvSpec, round_up

Array = np.ndarray[Any, np.dtype[Any]]


#: bytes between parts: a vector may be read beyond one's end, and parts begin with a cache line
_SLACK = 128


class Phase(NamedTuple):
    """One phase of one axis: which outputs, which taps, and where they find the input."""

    outputs: slice
    taps: tuple[int, ...]
    dilation: int
    first_input: int
    """Input cell that the first tap of the first output meets; negative in the padding."""

    @property
    def tap_slice(self) -> slice:
        """The same taps, which lie at equal distances, last one first."""
        first, last = self.taps[0], self.taps[-1]
        step = last - self.taps[-2] if len(self.taps) > 1 else -1
        return slice(first, last + step if last + step >= 0 else None, step)

    def padding(self, size: int, outputs: int) -> tuple[int, int]:
        """Cells of padding before and after an input of ``size`` cells that ``outputs`` outputs meet."""
        last_input = self.first_input + (len(self.taps) - 1) * self.dilation + outputs - 1
        return max(0, -self.first_input), max(0, last_input - size + 1)


Phases = tuple[Phase, ...]


@lru_cache(maxsize=512)
def axis_phases(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Phases:
    """Phases of an axis that have taps and meet the input; the other outputs are the bias alone."""
    taps_of: dict[int, list[int]] = {}
    for tap in reversed(range(kernel)):
        taps_of.setdefault((dilation * tap - padding) % stride, []).append(tap)
    phases = []
    for phase, taps in sorted(taps_of.items()):
        inputs = [(phase + padding - dilation * tap) // stride for tap in taps]
        step = inputs[1] - inputs[0] if len(inputs) > 1 else 1
        if phase < out and inputs[0] < size:
            phases.append(Phase(slice(phase, out, stride), tuple(taps), step, inputs[0]))
    return tuple(phases)


class Pass(NamedTuple):
    """A convolution that computes one phase of each axis."""

    phases: Phases
    taps: tuple[slice, ...]
    """Its part of the kernel."""
    spec: ConvSpec


class Plan(NamedTuple):
    """All passes, and whether no output is the bias alone."""

    passes: tuple[Pass, ...]
    covers: bool


@lru_cache(maxsize=256)
def _plan(
    size: tuple[int, ...], out: tuple[int, ...], weight: tuple[int, ...], stride: tuple[int, ...],
    padding: tuple[int, ...], dilation: tuple[int, ...], groups: int, dtype: np.dtype[Any],
) -> Plan:  # fmt: skip
    """The passes from these spatial sizes to those, with a weight of this shape."""
    channels, group_outputs, *kernel = weight
    axes = [axis_phases(*axis) for axis in zip(size, out, kernel, stride, padding, dilation, strict=True)]
    covered = [sum(len(range(o)[phase.outputs]) for phase in phases) for phases, o in zip(axes, out, strict=True)]
    passes = []
    for phases in product(*axes):
        spec = ConvSpec(
            in_channels=channels,
            out_channels=groups * group_outputs,
            kernel=triple([len(phase.taps) for phase in phases]),
            stride=(1, 1, 1),
            dilation=triple([phase.dilation for phase in phases]),
            groups=groups,
            padding_mode="zeros",
            activation=Activation(),
            dtype=dtype,
        )
        passes.append(Pass(phases, tuple(phase.tap_slice for phase in phases), spec))
    return Plan(tuple(passes), covered == list(out))


def run_transposed(
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    threads: int,
) -> None:
    """Fill ``out`` (N, K, *spatial) from x (N, C, *spatial) and weight (C, K // groups, *kernel), of one dtype.

    ``padding`` is what is cut off before the first output; the size of ``out`` says what is cut off behind.
    """
    channels, group_outputs = weight.shape[:2]
    steps = tuple(stride), tuple(padding), tuple(dilation)
    found = _plan(x.shape[2:], out.shape[2:], weight.shape, *steps, groups, x.dtype)
    woven = channels > 0 and _can_weave(out, stride)
    if (not woven and not found.covers) or channels == 0:
        fill_with_bias(out, bias, Activation())
    if channels == 0:
        return
    # (C, K/g) per group to (K, C/g): the kernel of the convolution that this is the transpose of, seen from the input
    turned = weight.reshape(groups, channels // groups, *weight.shape[1:]).swapaxes(1, 2)
    turned = turned.reshape(groups * group_outputs, channels // groups, *weight.shape[2:])
    passes = []
    for phases, slices, spec in found.passes:
        taps = turned[:, :, *slices]
        convolution = Convolution(spec, taps.reshape(*taps.shape[:2], *spec.kernel), bias, once=True)
        passes.append((phases, convolution))
    if woven:
        _run_woven(passes, x, bias, out, stride, threads)
        return
    for phases, convolution in passes:
        _run_phase(phases, convolution, x, out[:, :, *(phase.outputs for phase in phases)], threads)


def _run_phase(phases: Phases, convolution: Convolution, x: Array, part: Array, threads: int) -> None:
    """The outputs of one phase, which ``part`` is the place of."""
    seen = x[:, :, *(slice(max(0, phase.first_input), None) for phase in phases)]
    pads = [phase.padding(cells, o) for phase, cells, o in zip(phases, x.shape[2:], part.shape[2:], strict=True)]
    run_convolution(convolution, seen, part, pads, threads)


def _part_sizes(phases: Phases, out: Array) -> tuple[int, ...]:
    return tuple(len(range(o)[phase.outputs]) for phase, o in zip(phases, out.shape[2:], strict=True))


def _can_weave(out: Array, stride: Sequence[int]) -> bool:
    """Whether neighbouring cells of a row belong to different phases, and the parts of an image fit into scratch."""
    return (
        1 < stride[-1] <= _runtime.kernel("weave", out.dtype).MAX_STRIDE
        and out.strides[-1] == out.itemsize
        and out[:1].nbytes + _SLACK * prod(stride) <= table.SCRATCH_BYTES
    )


def _run_woven(
    passes: list[tuple[Phases, Convolution]], x: Array, bias: Array | None, out: Array, stride: Sequence[int],
    threads: int,
) -> None:  # fmt: skip
    """Some images at a time: every phase into memory of its own, then all of them to the rows of the result."""
    most = max(1, table.WEAVE_BYTES // out[:1].nbytes)
    images = ceil(len(x) / ceil(len(x) / most))
    values = np.zeros(out.shape[1], out.dtype) if bias is None else bias.astype(out.dtype)
    each = triple(stride)
    with _memory.scratch(out[:images].nbytes + _SLACK * prod(stride)) as scratch:
        cells = scratch[: len(scratch) // out.itemsize * out.itemsize].view(out.dtype)
        for first in range(0, len(x), images):
            some = slice(first, first + images)
            places = np.full((prod(stride), 4), -1, np.int64)
            used = 0
            for phases, convolution in passes:
                shape = (*out[some].shape[:2], *_part_sizes(phases, out))
                part = cells[used : used + prod(shape)].reshape(shape)
                _run_phase(phases, convolution, x[some], part, threads)
                index = np.ravel_multi_index([phase.outputs.start for phase in phases], tuple(stride))
                places[index] = used, *triple(shape[2:])
                used += round_up(prod(shape), _SLACK // out.itemsize)
            _runtime.kernel("weave", out.dtype).run(cells, places, values, with_three_axes(out[some]), each, threads)
