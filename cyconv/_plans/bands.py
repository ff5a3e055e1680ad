"""Convolutions of arrays that are stored in another dtype than they are computed in, float16 and bfloat16 above all.

They are converted, computed and converted back by bands: some images, or some rows of the result of one image and the
rows of the input that they see. A band stays in the cache from one step to the next, and memory for it is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from cyconv._plans import table
from cyconv._plans.arrays import call_of, run_convolution, triple_pads, with_three_axes
from cyconv._plans.convolution import Convolution
from cyconv._plans.spec import Compute, ConvSpec, Pairs, Triple
from cyconv._storage import computed, like, stored

Array = np.ndarray[Any, np.dtype[Any]]
Part = tuple[slice, ...]
_ALL = slice(None)


class Band(NamedTuple):
    """A convolution that is part of another: of which cells of x, to which of the result, with which padding."""

    source: Part
    target: Part
    pads: Pairs


class Step(NamedTuple):
    """What to do for one band."""

    source: Part
    target: Part
    compute: Compute


def run_stored(
    convolution: Convolution, x: Array, out: Array, pads: Sequence[tuple[int, int]], threads: int
) -> None:
    """As :func:`run_convolution`, on arrays of any dtypes."""
    if x.dtype == out.dtype == convolution.spec.dtype:
        run_convolution(convolution, x, out, pads, threads)
        return
    x, out = with_three_axes(x), with_three_axes(out)
    prepare_stored(convolution, x, out, pads, threads)(x, out)


def prepare_stored(
    convolution: Convolution, x: Array, out: Array, pads: Sequence[tuple[int, int]], threads: int
) -> Compute:
    """What computes from such arrays (N, C, D, H, W), as they are or by bands."""
    spec = convolution.spec
    found = _steps(convolution, x, out, triple_pads(pads), threads)
    return found[0].compute if x.dtype == out.dtype == spec.dtype else partial(_run_steps, found, spec.dtype, threads)


def _run_steps(found: Sequence[Step], dtype: np.dtype[Any], threads: int, x: Array, out: Array) -> None:
    for step in found:
        with (
            computed(x[step.source], dtype, threads) as source,
            stored(out[step.target], dtype, threads) as target,
        ):
            step.compute(source, target)


def _steps(convolution: Convolution, x: Array, out: Array, around: Pairs, threads: int) -> tuple[Step, ...]:
    """The steps for such arrays; one step if they can be used as they are."""
    spec = convolution.spec
    if x.dtype == out.dtype == spec.dtype:
        parts: tuple[Band, ...] = (Band((), (), around),)
    else:
        parts = bands(spec, len(x), x.shape[2:], around, out.shape[2:])
    found = []
    for band in parts:
        call = call_of(like(x[band.source], spec.dtype), like(out[band.target], spec.dtype), band.pads)
        found.append(Step(band.source, band.target, convolution.prepare(call, threads)))
    return tuple(found)


@lru_cache(maxsize=256)
def bands(spec: ConvSpec, batch: int, size: Triple, pads: Pairs, out: Triple) -> tuple[Band, ...]:
    """The bands of such a call. Neither the threads nor the arrays' strides change them: no bit depends on those."""
    image = (spec.in_channels * prod(size) + spec.out_channels * prod(out)) * spec.dtype.itemsize
    if image <= table.BAND_BYTES:
        images = max(1, table.BAND_IMAGES_BYTES // max(1, image))
        return tuple(
            Band((part,), (part,), pads) for part in (slice(n, n + images) for n in range(0, batch, images))
        )
    axis = next((a for a in range(3) if out[a] > 1), 2)
    reach = (spec.kernel[axis] - 1) * spec.dilation[axis]
    if (spec.padding_mode != "zeros" and any(pads[axis])) or max(pads[axis]) > reach:
        rows = out[axis]
    else:
        count = min(out[axis], -(-image // table.BAND_BYTES))
        rows = min(out[axis], -(-out[axis] // count // table.BAND_ROWS) * table.BAND_ROWS)
    return tuple(
        _band(n, axis, first, min(first + rows, out[axis]), spec, size, pads)
        for n in range(batch)
        for first in range(0, out[axis], rows)
    )


def _band(n: int, axis: int, first: int, stop: int, spec: ConvSpec, size: Triple, pads: Pairs) -> Band:
    """Rows ``first`` to ``stop`` of the result of image n, along this spatial axis."""
    start = first * spec.stride[axis] - pads[axis][0]
    end = (stop - 1) * spec.stride[axis] + (spec.kernel[axis] - 1) * spec.dilation[axis] + 1 - pads[axis][0]
    before = (slice(n, n + 1), _ALL, *(_ALL,) * axis)
    around = list(pads)
    around[axis] = max(0, -start), max(0, end - size[axis])
    source = slice(max(0, start), min(end, size[axis]))
    d, h, w = around
    return Band((*before, source), (*before, slice(first, stop)), (d, h, w))
