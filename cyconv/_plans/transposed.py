"""Transposed convolution as ordinary convolutions of the input, one per phase of the output.

Along one axis, output o of a transposed convolution with stride s, dilation d and padding p collects

    y[o] = sum of  w[t] * x[i]   over  o + p = i s + d t.

Outputs that are equal modulo s, ``o = s q + phase``, use the same taps, and tap t finds its input at
``q + (phase + p - d t) / s``: a correlation of stride 1 with those taps in reverse, written to every s-th output.
No zeros are inserted, and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from cyconv._plans.arrays import fill_with_bias, run_convolution, triple
from cyconv._plans.convolution import Convolution
from cyconv._plans.spec import Activation, ConvSpec

Array = np.ndarray[Any, np.dtype[Any]]


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


@lru_cache(maxsize=512)
def axis_phases(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[Phase, ...]:
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
    kernel = weight.shape[2:]
    axes = [
        axis_phases(*axis)
        for axis in zip(x.shape[2:], out.shape[2:], kernel, stride, padding, dilation, strict=True)
    ]
    covered = [
        sum(len(range(o)[phase.outputs]) for phase in phases) for phases, o in zip(axes, out.shape[2:], strict=True)
    ]
    if channels == 0 or covered != list(out.shape[2:]):
        fill_with_bias(out, bias, Activation())
    if channels == 0:
        return
    # (C, K/g) per group to (K, C/g): the kernel of the convolution that this is the transpose of, seen from the input
    turned = weight.reshape(groups, channels // groups, group_outputs, *kernel).swapaxes(1, 2)
    turned = turned.reshape(groups * group_outputs, channels // groups, *kernel)
    for phases in product(*axes):
        taps = turned
        for axis, phase in enumerate(phases, start=2):
            taps = taps[(slice(None),) * axis + (phase.tap_slice,)]
        spec = ConvSpec(
            in_channels=channels,
            out_channels=groups * group_outputs,
            kernel=triple(taps.shape[2:]),
            stride=(1, 1, 1),
            dilation=triple([phase.dilation for phase in phases]),
            groups=groups,
            padding_mode="zeros",
            activation=Activation(),
            dtype=x.dtype,
        )
        seen = x[:, :, *(slice(max(0, phase.first_input), None) for phase in phases)]
        part = out[:, :, *(phase.outputs for phase in phases)]
        pads = [phase.padding(cells, o) for phase, cells, o in zip(phases, x.shape[2:], part.shape[2:], strict=True)]
        if prod(part.shape):
            convolution = Convolution(spec, taps.reshape(*taps.shape[:2], *spec.kernel), bias, once=True)
            run_convolution(convolution, seen, part, pads, threads)
