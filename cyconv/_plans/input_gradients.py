"""Plan of the input gradient of a convolution, which is a transposed one, for contiguous arrays of one shape.

All that does not depend on their numbers is done before."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from cyconv import _memory, _runtime
from cyconv._plans import once
from cyconv._plans.arrays import call_of, triple
from cyconv._plans.transposed import Pass, Plan, images_together, places, plan_passes

Array = np.ndarray[Any, np.dtype[Any]]
Sizes = tuple[int, ...]


class Prepared(Protocol):
    """The gradient for arrays of one shape."""

    def run(self, grad: Array, weight: Array, out: Array) -> None:
        """Fill ``out`` (N, C, *spatial) from grad (N, K, *spatial) and weight (K, C // groups, *kernel)."""


def prepare(
    grad: Sizes, weight: Sizes, out: Sizes, stride: Sizes, before: Sizes, dilation: Sizes, groups: int,
    dtype: np.dtype[Any], threads: int,
) -> Prepared:  # fmt: skip
    """The gradient of a convolution with so many cells of padding before the input; no array is empty."""
    plan = plan_passes(grad[2:], out[2:], weight, stride, before, dilation, groups, dtype, True, False)
    kind = _Woven if plan.woven else _Straight
    return kind(plan, grad, weight, out, groups, dtype, threads)


class _Straight:
    """Passes whose results go where they belong."""

    def __init__(
        self, plan: Plan, grad: Sizes, weight: Sizes, out: Sizes, groups: int, dtype: np.dtype[Any], threads: int
    ) -> None:  # fmt: skip
        self._covers = plan.covers
        arrays = np.empty(grad, dtype), np.empty(out, dtype)
        self._steps = [
            (_index(one.seen, arrays[0]), _index(one.place, arrays[1]),
             _convolution(one, arrays[0], arrays[1][one.place], weight, groups, threads))
            for one in plan.passes
        ]  # fmt: skip
        self._shapes = (*grad[:2], *triple(grad[2:])), (*out[:2], *triple(out[2:]))

    def run(self, grad: Array, weight: Array, out: Array) -> None:
        """See `Prepared`."""
        if not self._covers:
            out.fill(0)
        given, made = self._shapes
        for seen, place, convolution in self._steps:
            packed = convolution.pack(weight)
            convolution.run(
                packed,
                grad.reshape(given) if seen is None else grad[seen],
                out.reshape(made) if place is None else out[place],
            )
            convolution.give_back(packed)


class _Woven:
    """Passes that are put together, some images at a time."""

    def __init__(
        self, plan: Plan, grad: Sizes, weight: Sizes, out: Sizes, groups: int, dtype: np.dtype[Any], threads: int
    ) -> None:  # fmt: skip
        self._kernel = _runtime.kernel("weave", dtype)
        self._images = images = images_together(plan, out[0], dtype.itemsize)
        self._places, starts, self._used = places(plan, out[1], images, dtype.itemsize)
        self._values = np.zeros(out[1], dtype)
        self._how = triple(plan.stride), threads
        self._made = (-1, out[1], *triple(out[2:]))
        self._starts = range(0, grad[0], images)
        # the last few images may be fewer
        self._steps = {
            count: _woven_steps(plan, (count, *grad[1:]), starts, weight, groups, dtype, threads)
            for count in {min(images, grad[0] - first) for first in self._starts}
        }

    def run(self, grad: Array, weight: Array, out: Array) -> None:
        """See `Prepared`."""
        packed = {count: [step.convolution.pack(weight) for step in steps] for count, steps in self._steps.items()}
        images, dtype = self._images, grad.dtype
        with _memory.scratch(self._used * dtype.itemsize) as scratch:
            cells = scratch[: self._used * dtype.itemsize].view(dtype)
            for first in self._starts:
                some = grad[first : first + images]
                for step, numbers in zip(self._steps[len(some)], packed[len(some)], strict=True):
                    part = cells[step.start : step.end].reshape(step.shape)
                    step.convolution.run(numbers, some[step.seen], part)
                result = out[first : first + images].reshape(self._made)
                self._kernel.run(cells, self._places, self._values, result, *self._how)
        for count, steps in self._steps.items():
            for step, numbers in zip(steps, packed[count], strict=True):
                step.convolution.give_back(numbers)


class _Step(NamedTuple):
    """A pass: which part of the gradient it sees, which scalars of the scratch it fills, and how."""

    seen: tuple[slice | None, ...]
    start: int
    end: int
    shape: Sizes
    convolution: once.Once


def _woven_steps(
    plan: Plan, grad: Sizes, starts: list[int], weight: Sizes, groups: int, dtype: np.dtype[Any], threads: int
) -> list[_Step]:  # fmt: skip
    """Steps for as many images as ``grad`` has, whose results begin at ``starts``."""
    steps, given = [], np.empty(grad, dtype)
    for one, start in zip(plan.passes, starts, strict=True):
        shape = (len(given), one.shape[0], *triple(one.shape[1:]))
        convolution = _convolution(one, given, np.empty(shape, dtype), weight, groups, threads)
        steps.append(_Step(one.seen, start, start + prod(shape), shape, convolution))
    return steps


def _index(index: tuple[slice | None, ...], array: Array) -> tuple[slice | None, ...] | None:
    """None where it is all of the array."""
    return None if array[index].size == array.size else index


def _convolution(one: Pass, given: Array, to: Array, weight: Sizes, groups: int, threads: int) -> once.Once:
    """The convolution of a pass from what it sees of an array like ``given``, to one like ``to``."""
    call = call_of(given[one.seen], to, one.padding(given.shape[2:]))
    return once.prepare(one.spec, call, threads, weight, _View(one, weight, groups))


class _View:
    """The weights of a pass, found by a transposition and an index if there is one group."""

    def __init__(self, one: Pass, weight: Sizes, groups: int) -> None:
        self._pass, self._groups = one, groups
        whole = slice(None)
        taps = one.taps if isinstance(one.taps, tuple) and groups == 1 else None
        self._index = None if taps is None else (whole, whole, *(np.newaxis,) * (5 - len(weight)), *taps)

    def __call__(self, weight: Array) -> Array:
        if self._index is None:
            return self._pass.weight(weight, self._groups)
        return weight.swapaxes(0, 1)[self._index]
