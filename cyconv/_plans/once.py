"""Convolutions of one shape whose weights are others in each call: all but packing them is done before."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import sliding
from cyconv._plans.convolution import Candidate, Runner, candidates
from cyconv._plans.dense import Dense, packed_width, with_weights
from cyconv._plans.dense_blocks import blocks_for
from cyconv._plans.on_planes import OnPlanes
from cyconv._plans.sliding import Sliding
from cyconv._plans.spec import Call, Compute, ConvSpec, tap_offsets

Array = np.ndarray[Any, np.dtype[Any]]
#: the weights (K, C // groups, T, R, S) of a convolution as a view or a copy of an array that holds them
View = Callable[[Array], Array]


class Once(Protocol):
    """A convolution of calls of one shape: weights are packed, serve some of them, and are given back."""

    def pack(self, weight: Array) -> Any:
        """The weights for `run`; ``weight`` is contiguous, for `View`."""

    def run(self, packed: Any, x: Array, out: Array) -> None:
        """Compute into ``out``; both arrays are seen as (N, C, D, H, W)."""

    def give_back(self, packed: Any) -> None:
        """They have served."""


def prepare(spec: ConvSpec, call: Call, threads: int, weight: tuple[int, ...], view: View) -> Once:
    """The best algorithm for such calls, with weights that ``view`` finds in arrays of the shape ``weight``."""
    chosen = candidates(spec, call, threads, "auto", True)[0]
    if chosen.images == 0 and chosen.kind is Dense:
        return _Dense(spec, call, chosen.threads, view)
    if chosen.images == 0 and chosen.kind is Sliding and not sliding.needs_copies(spec, call):
        return _Sliding(spec, call, chosen.threads, weight, view)
    return _Other(spec, call, chosen, view)


class _Other:
    """Any algorithm."""

    def __init__(self, spec: ConvSpec, call: Call, chosen: Candidate, view: View) -> None:
        self._spec, self._call, self._chosen, self._view = spec, call, chosen, view

    def pack(self, weight: Array) -> Compute:
        """See `Once`."""
        chosen = self._chosen
        algorithm: Runner = chosen.kind(self._spec, self._view(weight), None, True)
        if chosen.images:
            algorithm = OnPlanes(algorithm, self._spec, chosen.images)
        return algorithm.prepare(self._call, chosen.threads)

    def run(self, packed: Compute, x: Array, out: Array) -> None:
        """See `Once`."""
        packed(x, out)

    def give_back(self, packed: Compute) -> None:
        """See `Once`."""


class _Dense:
    """The register tile."""

    def __init__(self, spec: ConvSpec, call: Call, threads: int, view: View) -> None:
        kernel = _runtime.kernel("dense", spec.dtype)
        blocks = blocks_for(spec, call, threads)
        width = packed_width(spec, blocks)
        self._kernel, self._blocks, self._view = kernel, blocks, view
        self._activation = spec.activation.numbers(spec.dtype)
        self._bias = np.zeros(spec.groups * width * (kernel.LANES if blocks.by_rows else 1), spec.dtype)
        packed = spec.groups * spec.depth * width
        self._work = _memory.Work(((packed,), spec.dtype), ((blocks.scratch_bytes,), np.uint8))

    def pack(self, weight: Array) -> tuple[Array, ...]:
        """See `Once`."""
        blocks = self._blocks
        work = self._work.take()
        seen = self._view(weight)
        self._kernel.pack_weights(seen, tap_offsets(seen), work[0], blocks.geometry, blocks.threads)
        return work

    def run(self, packed: tuple[Array, ...], x: Array, out: Array) -> None:
        """See `Once`."""
        weights, scratch = packed
        with_weights(self._kernel, self._blocks, weights, self._bias, self._activation)(x, out, scratch)

    def give_back(self, packed: tuple[Array, ...]) -> None:
        """See `Once`."""
        self._work.give_back(packed)


class _Layout(NamedTuple):
    """One call's layout, and where each packed weight comes from; ``there`` says which are not zeros, None if all."""

    layout: sliding.Layout
    source: Array
    there: Array | None
    bias: Array
    packed: _memory.Work


class _Sliding:
    """Rows of few channels. Which layout it is depends on whether the weights are finite."""

    def __init__(self, spec: ConvSpec, call: Call, threads: int, weight: tuple[int, ...], view: View) -> None:
        # the number that stands for each weight is its place, counted from 1: zeros stand for none
        places = view(np.arange(1, 1 + prod(weight)).reshape(weight))
        self._activation = spec.activation.numbers(spec.dtype)
        self._usual = self._other = _laid_out(spec, call, threads, places, True)
        if any(map(any, call.pads)):  # else no zero of the padding is multiplied
            self._other = _laid_out(spec, call, threads, places, False)

    def pack(self, weight: Array) -> tuple[_Layout, tuple[Array, ...]]:
        """See `Once`."""
        packed = self._usual.packed.take()
        if not self._fill(self._usual, weight, packed[0]):
            self._usual.packed.give_back(packed)
            packed = self._other.packed.take()
            self._fill(self._other, weight, packed[0])
            return self._other, packed
        return self._usual, packed

    def run(self, packed: tuple[_Layout, tuple[Array, ...]], x: Array, out: Array) -> None:
        """See `Once`."""
        one, (weights,) = packed
        sliding.with_weights(one.layout, weights, one.bias, self._activation)(x, out)

    def give_back(self, packed: tuple[_Layout, tuple[Array, ...]]) -> None:
        """See `Once`."""
        packed[0].packed.give_back(packed[1])

    def _fill(self, one: _Layout, weight: Array, packed: Array) -> bool:
        """False if this is not the layout for such weights."""
        if one.there is None:
            weight.reshape(-1).take(one.source, out=packed, mode="clip")  # "raise" would need a buffer
        else:
            packed.fill(0)
            packed[one.there] = weight.reshape(-1).take(one.source)
        return one is self._other or bool(np.isfinite(packed).all())


def _laid_out(spec: ConvSpec, call: Call, threads: int, places: Array, finite: bool) -> _Layout:
    layout = sliding.lay_out(spec, call, threads, finite)
    packed = sliding.pack_weights(spec, places, layout).reshape(-1)
    bias = sliding.pack_bias(spec, np.zeros(spec.out_channels, spec.dtype), layout)
    there = None if packed.all() else np.flatnonzero(packed)
    source = (packed if there is None else packed[there]) - 1
    return _Layout(layout, source, there, bias, _memory.Work(((packed.size,), spec.dtype)))
