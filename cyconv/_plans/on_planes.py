"""Channels last by way of planes: some images at a time are laid out as planes, and their results turned back.

Kernels that run along rows are at a loss where neighbours in memory are channels of which there are few, or few to a
group: vectors of channels are then mostly empty. Turning costs every cell of the input and of the result once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import table
from cyconv._plans.spec import (
    LINE,
    Call,
    Compute,
    ConvSpec,
    contiguous_strides,
    equal_cut,
    exported_strides,
    has_channels_last,
    round_up,
)

if TYPE_CHECKING:
    from cyconv._plans.convolution import Runner

Array = np.ndarray[Any, np.dtype[Any]]


def images_at_a_time(spec: ConvSpec, call: Call) -> int:
    """How many images are turned together, 0 if this is not for such a call; the threads have no part in it."""
    each = _scalars(spec, call, 1) * spec.dtype.itemsize
    if not has_channels_last(spec, call) or each > table.SCRATCH_BYTES // 2:
        return 0
    most = max(1, table.TURN_BYTES // each)
    return equal_cut(call.batch, most)


def on_planes(spec: ConvSpec, call: Call, images: int) -> Call:
    """The same call for so many images, with planes of neighbouring cells."""
    return call._replace(
        batch=images,
        x_strides=contiguous_strides(spec.in_channels, call.size, False),
        out_strides=contiguous_strides(spec.out_channels, call.out, False),
    )


def workspace(spec: ConvSpec, call: Call, images: int) -> int:
    """Bytes of the planes."""
    return _scalars(spec, call, images) * spec.dtype.itemsize


def seconds(spec: ConvSpec, call: Call, threads: int) -> float:
    """Seconds that turning all images takes."""
    cells = call.batch * (spec.in_channels * prod(call.size) + spec.out_channels * call.positions)
    return cells * table.TURN_CYCLES / threads / table.CLOCK_HZ


@dataclass(frozen=True, slots=True)
class OnPlanes:
    """An algorithm that computes so many images at a time on planes."""

    algorithm: Runner
    spec: ConvSpec
    images: int

    def prepare(self, call: Call, threads: int) -> Compute:
        """What computes such calls."""
        return partial(self._run, call, threads)

    def _run(self, call: Call, threads: int, x: Array, out: Array) -> None:
        spec, images = self.spec, self.images
        sizes = (spec.in_channels, *call.size), (spec.out_channels, *call.out)
        at, nbytes = _begin(spec, call, images), workspace(spec, call, images)
        with _memory.scratch(nbytes) as scratch:
            cells = scratch[:nbytes].view(spec.dtype)
            for first in range(0, call.batch, images):
                some = slice(first, first + images)
                count = min(images, call.batch - first)
                planes = cells[: count * prod(sizes[0])].reshape(count, *sizes[0])
                result = cells[at : at + count * prod(sizes[1])].reshape(count, *sizes[1])
                turn_channels(x[some], planes, threads)
                self.algorithm.prepare(on_planes(spec, call, count), threads)(planes, result)
                turn_channels(result, out[some], threads)


def _begin(spec: ConvSpec, call: Call, images: int) -> int:
    """Scalars before the results."""
    return round_up(images * spec.in_channels * prod(call.size), LINE // spec.dtype.itemsize)


def _scalars(spec: ConvSpec, call: Call, images: int) -> int:
    return _begin(spec, call, images) + images * spec.out_channels * call.positions


def turn_channels(source: Array, result: Array, threads: int) -> None:
    """``result[...] = source``, both (N, C, D, H, W), one with its channels last."""
    x, y = exported_strides(source), exported_strides(result)
    if x[1] == y[4] == 1 or x[4] == y[1] == 1:
        _runtime.kernel("turn", source.dtype).run(source, result, threads)
    else:
        result[...] = source
