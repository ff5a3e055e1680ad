"""Transposed convolution as ordinary convolutions of the input, which compute the phases of the output.

Along one axis, output o of a transposed convolution with stride s, dilation d and padding p collects

    y[o] = sum of  w[t] * x[i]   over  o + p = i s + d t.

Outputs that are equal modulo s, ``o = s q + phase``, use the same taps, and tap t finds its input at
``q + (phase + p - d t) / s``: a correlation of stride 1 with those taps in reverse, written to every s-th output.
No zeros are inserted. Where neighbouring outputs of a row belong to different phases, these are computed into memory
of their own, and ``_kernels/weave.pyx`` puts them together; phases with equally many taps are then one convolution,
whose output channels are the phases of every channel:

    stride 2, 4 taps, padding 1:    phase 0: taps 3 1 on x[q - 1], x[q]       two channels with 2 taps, one position
                                    phase 1: taps 2 0 on x[q], x[q + 1]       more; phase 1 is one further on

An axis with a single input cell meets every output at most once, whatever the stride: one that no tap crosses makes
every tap a phase, and all of them one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import table
from cyconv._plans.arrays import call_of, fill_with_bias, triple, with_three_axes
from cyconv._plans.convolution import Convolution
from cyconv._plans.on_planes import turn_channels
from cyconv._plans.spec import Activation, Compute, ConvSpec, equal_cut, round_up

Array = np.ndarray[Any, np.dtype[Any]]


#: bytes between parts, which begin with a cache line: a vector may be read beyond one's end
_SLACK = 128
#: packed convolutions, and prepared steps, that one object keeps
_MOST_KEPT = 64


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


class Axis(NamedTuple):
    """Phases of an axis that one convolution computes, with ``outputs`` of each from one input on."""

    phases: Phases
    first_input: int
    outputs: int

    @classmethod
    def of(cls, phases: Phases, out: int) -> Axis:
        first = min(phase.first_input for phase in phases)
        last = max(phase.first_input + len(range(out)[phase.outputs]) for phase in phases)
        return cls(phases, first, last - first)

    def padding(self, size: int) -> tuple[int, int]:
        """Cells of padding before and after an input of ``size`` cells."""
        one = self.phases[0]
        last_input = self.first_input + (len(one.taps) - 1) * one.dilation + self.outputs - 1
        return max(0, -self.first_input), max(0, last_input - size + 1)


def _together(phases: Phases, out: int) -> list[Axis]:
    """Phases that a single convolution can compute without many outputs that nobody wants."""
    alike: dict[tuple[int, int], list[Phase]] = {}
    for phase in phases:
        alike.setdefault((len(phase.taps), phase.dilation), []).append(phase)
    found = []
    for some in alike.values():
        one = Axis.of(tuple(some), out)
        wanted = sum(len(range(out)[phase.outputs]) for phase in some)
        merge = one.outputs * len(some) <= table.TRANSPOSED_EXCESS * wanted
        found += [one] if merge else [Axis.of((phase,), out) for phase in some]
    return found


class Pass(NamedTuple):
    """A convolution that computes some phases of each axis."""

    axes: tuple[Axis, ...]
    spec: ConvSpec
    taps: tuple[slice, ...] | Array | None
    """Its part of the kernel: slices, or of several phases the places in the flat kernel, phase by phase; None if
    that is the whole kernel as it lies."""

    @property
    def phases(self) -> list[Phases]:
        """One phase of each axis, in the order of the output channels of the convolution."""
        return list(product(*(axis.phases for axis in self.axes)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and spatial sizes of its result."""
        return self.spec.out_channels, *(axis.outputs for axis in self.axes)

    @property
    def seen(self) -> tuple[slice | None, ...]:
        """The part of the input that it meets, as an index that gives three axes."""
        return _with_three_axes([slice(max(0, axis.first_input), None) for axis in self.axes])

    @property
    def place(self) -> tuple[slice | None, ...]:
        """Where the outputs of a pass with one phase are, as such an index."""
        return _with_three_axes([axis.phases[0].outputs for axis in self.axes])

    def padding(self, size: Sequence[int]) -> list[tuple[int, int]]:
        """Cells of padding around an input of this size, axis by axis."""
        return [axis.padding(cells) for axis, cells in zip(self.axes, size, strict=True)]

    def weight(self, weight: Array, groups: int) -> Array:
        """Its part of ``weight`` (C, K / groups, *kernel), as the weight of a convolution."""
        channels, group_outputs, *kernel = weight.shape
        if isinstance(self.taps, tuple):
            part = weight.reshape(groups, channels // groups, group_outputs, *kernel)[:, :, :, *self.taps]
        else:
            part = weight.reshape(channels, group_outputs, -1)
            if self.taps is not None:
                part = part.take(self.taps, axis=2)
            part = part.reshape(groups, channels // groups, self.spec.group_outputs, *self.spec.kernel)
        return part.swapaxes(1, 2).reshape(self.spec.out_channels, channels // groups, *self.spec.kernel)


def _with_three_axes(spatial: Sequence[slice]) -> tuple[slice | None, ...]:
    """An index of batch, channels and these axes."""
    return (slice(None), slice(None), *(np.newaxis,) * (3 - len(spatial)), *spatial)


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """All passes, and whether no output is the bias alone."""

    passes: tuple[Pass, ...]
    covers: bool
    stride: tuple[int, ...]
    woven: bool
    """Passes are computed into memory of their own and put together, else straight into the result."""


@lru_cache(maxsize=256)
def plan_passes(
    size: tuple[int, ...], out: tuple[int, ...], weight: tuple[int, ...], stride: tuple[int, ...],
    padding: tuple[int, ...], dilation: tuple[int, ...], groups: int, dtype: np.dtype[Any], weave: bool,
    turn: bool,
) -> Plan:  # fmt: skip
    """The passes from these spatial sizes to those, with a weight of this shape.

    ``weave``: the result can be put together from parts, if they fit into scratch memory; ``turn``: it is put
    together there, too, and then turned.
    """
    channels, group_outputs, *kernel = weight
    longest = _runtime.kernel("weave", dtype).MAX_STRIDE
    apart = [
        max(s, d * (k - 1) + 1) if cells == 1 else s
        for cells, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    apart[-1] = min(apart[-1], max(longest, stride[-1]))
    woven = weave and channels > 0 and 1 < apart[-1] <= longest
    steps = tuple(apart) if woven else stride
    axes = [axis_phases(*axis) for axis in zip(size, out, kernel, steps, padding, dilation, strict=True)]
    covered = [sum(len(range(o)[phase.outputs]) for phase in phases) for phases, o in zip(axes, out, strict=True)]
    sets = [
        _together(phases, o) if woven else [Axis.of((phase,), o) for phase in phases]
        for phases, o in zip(axes, out, strict=True)
    ]
    passes = tuple(_pass(some, channels, group_outputs, kernel, groups, dtype) for some in product(*sets))
    largest = sum(prod(one.shape) * dtype.itemsize + _SLACK for one in passes)
    if turn:
        largest += groups * group_outputs * prod(out) * dtype.itemsize
    if woven and largest > table.SCRATCH_BYTES:
        return plan_passes(size, out, weight, stride, padding, dilation, groups, dtype, False, False)
    return Plan(passes, covered == list(out), steps, woven)


def _pass(
    axes: tuple[Axis, ...], channels: int, group_outputs: int, kernel: Sequence[int], groups: int,
    dtype: np.dtype[Any],
) -> Pass:  # fmt: skip
    combined = list(product(*(axis.phases for axis in axes)))
    taps: tuple[slice, ...] | Array | None = tuple(phase.tap_slice for phase in combined[0])
    if len(combined) > 1:
        every = [list(product(*(phase.taps for phase in phases))) for phases in combined]
        places = np.ravel_multi_index(tuple(np.array(every).reshape(-1, len(axes)).T), tuple(kernel))
        taps = None if np.array_equal(places, np.arange(prod(kernel))) else places
    spec = ConvSpec(
        in_channels=channels,
        out_channels=groups * group_outputs * len(combined),
        kernel=triple([len(axis.phases[0].taps) for axis in axes]),
        stride=(1, 1, 1),
        dilation=triple([axis.phases[0].dilation for axis in axes]),
        groups=groups,
        padding_mode="zeros",
        activation=Activation(),
        dtype=dtype,
    )
    return Pass(axes, spec, taps)


class Step(NamedTuple):
    """A pass over inputs of one shape, prepared."""

    seen: tuple[slice | None, ...]
    """The part of the input that it meets, as an index that gives three axes."""
    compute: Compute


class Transposed:
    """A transposed convolution with its numbers: weight (C, K // groups, *kernel) and bias of one dtype.

    ``padding`` is what is cut off before the first output. ``keep``: it serves many calls, so the numbers are copied
    and the convolutions that compute the passes stay packed; if not, packing counts unless ``packing_counts`` says
    otherwise.
    """

    def __init__(
        self, weight: Array, bias: Array | None, *, stride: Sequence[int], padding: Sequence[int],
        dilation: Sequence[int], groups: int, keep: bool = False, packing_counts: bool = True,
    ) -> None:  # fmt: skip
        self.weight = weight.copy() if keep else weight
        self._bias = bias.copy() if keep and bias is not None else bias
        self._steps = tuple(stride), tuple(padding), tuple(dilation)
        self._groups = groups
        self._keep = keep
        self._packing_counts = packing_counts and not keep
        self._kept: dict[tuple[Plan, int], Convolution] = {}
        self._ready: dict[tuple[Any, ...], Step] = {}

    def run(self, x: Array, out: Array, threads: int) -> None:
        """Fill ``out`` (N, K, *spatial) from x (N, C, *spatial); the size of ``out`` says what is cut off behind."""
        turn = out.strides[1] == out.itemsize != out.strides[-1]
        weave = turn or out.strides[-1] == out.itemsize
        sizes = x.shape[2:], out.shape[2:], self.weight.shape
        plan = plan_passes(*sizes, *self._steps, self._groups, x.dtype, weave, turn)
        if not plan.woven and (not plan.covers or x.shape[1] == 0):
            fill_with_bias(out, self._bias, Activation())
        if x.shape[1] == 0:
            return
        if plan.woven:
            self._run_woven(plan, x, out, turn, threads)
            return
        for i, one in enumerate(plan.passes):
            self._run_pass(plan, i, x, out[one.place], threads)

    def _convolution(self, plan: Plan, index: int) -> Convolution:
        """The convolution that computes a pass."""
        found = self._kept.get((plan, index))
        if found is None:
            one = plan.passes[index]
            bias = self._bias
            if bias is not None:
                bias = bias.repeat(one.spec.out_channels // len(bias))
            weight = one.weight(self.weight, self._groups)
            found = Convolution(
                one.spec, weight, bias, once=not self._keep, packing_counts=self._packing_counts
            )  # fmt: skip
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[plan, index] = found
        return found

    def _run_pass(self, plan: Plan, index: int, x: Array, part: Array, threads: int) -> None:
        """The outputs of one pass, which ``part`` is the place of."""
        key = plan, index, x.shape, x.strides, part.strides, threads
        step = self._ready.get(key)
        if step is None:
            if len(self._ready) >= _MOST_KEPT:
                self._ready.clear()
            step = self._ready[key] = self._prepare(plan, index, x, part, threads)
        step.compute(x[step.seen], with_three_axes(part))

    def _prepare(self, plan: Plan, index: int, x: Array, part: Array, threads: int) -> Step:
        one = plan.passes[index]
        call = call_of(x[one.seen], with_three_axes(part), one.padding(x.shape[2:]))
        return Step(one.seen, self._convolution(plan, index).prepare(call, threads))

    def _run_woven(self, plan: Plan, x: Array, out: Array, turn: bool, threads: int) -> None:
        """Some images at a time: every pass into memory of its own, then all phases to the rows of the result, which
        are turned if that has its channels last."""
        values = np.zeros(out.shape[1], out.dtype) if self._bias is None else self._bias.astype(out.dtype)
        turned = prod(out.shape[1:]) if turn else 0
        images = images_together(plan, len(x), out.itemsize, turned)
        where, starts, used = places(plan, out.shape[1], images, out.itemsize)
        held = used + images * turned
        weave = _runtime.kernel("weave", out.dtype)
        with _memory.scratch(held * out.itemsize) as scratch:
            cells = scratch[: held * out.itemsize].view(out.dtype)
            for first in range(0, len(x), images):
                some = slice(first, first + images)
                for i, (one, at) in enumerate(zip(plan.passes, starts, strict=True)):
                    shape = (len(x[some]), *one.shape)
                    part = cells[at : at + prod(shape)].reshape(shape)
                    self._run_pass(plan, i, x[some], part, threads)
                result = with_three_axes(out[some])
                rows = cells[used : used + result.size].reshape(result.shape) if turn else result
                weave.run(cells, where, values, rows, triple(plan.stride), threads)
                if turn:
                    turn_channels(rows, result, threads)


def images_together(plan: Plan, images: int, itemsize: int, turned: int = 0) -> int:
    """How many of so many images are computed before they are put together, each of ``turned`` scalars there, too."""
    each = (sum(prod(one.shape) for one in plan.passes) + turned) * itemsize
    return equal_cut(images, max(1, table.WEAVE_BYTES // max(1, each)))


def _room(images: int, one: Pass, itemsize: int) -> int:
    """Scalars that the result of a pass takes: parts begin with a cache line, and may be read beyond their end."""
    return round_up(images * prod(one.shape) + _SLACK // itemsize, _SLACK // itemsize)


@lru_cache(maxsize=256)
def places(plan: Plan, channels: int, images: int, itemsize: int) -> tuple[Array, list[int], int]:
    """Where each phase begins in scratch, -1 if it does not exist, and its steps from channel to channel, along d and
    along h; where each pass begins; and how many scalars there are in all."""
    found = np.full((prod(plan.stride), 4), -1, np.int64)
    starts, used = [], 0
    for one in plan.passes:
        starts.append(used)
        sizes = triple(one.shape[1:])
        step_h, step_d = sizes[2], sizes[1] * sizes[2]
        plane = prod(sizes)
        for i, phases in enumerate(one.phases):
            index = np.ravel_multi_index([phase.outputs.start for phase in phases], plan.stride)
            d, h, w = triple(
                [phase.first_input - axis.first_input for phase, axis in zip(phases, one.axes, strict=True)], 0
            )
            at = used + i * plane + d * step_d + h * step_h + w
            found[index] = at, one.spec.out_channels // channels * plane, step_d, step_h
        used += _room(images, one, itemsize)
    return found, starts, used
