"""Plan of the input gradient of a convolution, which is a transposed one, for contiguous arrays of one shape.

All that does not depend on their numbers is done before."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from cyconv._plans import once
from cyconv._plans.arrays import call_of, triple
from cyconv._plans.transposed import Pass, Plan, Transposed, plan_passes

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
    if plan.woven:
        return _Woven(stride, before, dilation, groups, threads)
    return _Straight(plan, grad, weight, out, groups, dtype, threads)


class _Woven:
    """Passes that are put together: which memory they need depends on how many images are done at a time."""

    def __init__(self, stride: Sizes, before: Sizes, dilation: Sizes, groups: int, threads: int) -> None:
        self._how = {"stride": stride, "padding": before, "dilation": dilation, "groups": groups}
        self._threads = threads

    def run(self, grad: Array, weight: Array, out: Array) -> None:
        """See `Prepared`."""
        Transposed(weight, None, **self._how).run(grad, out, self._threads)  # type: ignore[arg-type]


class _Step(NamedTuple):
    """A pass: which part of the gradient it sees, where its result goes, both None for all of it, and how."""

    seen: tuple[slice | None, ...] | None
    place: tuple[slice | None, ...] | None
    convolution: once.Once


class _Straight:
    """Passes whose results go where they belong."""

    def __init__(
        self, plan: Plan, grad: Sizes, weight: Sizes, out: Sizes, groups: int, dtype: np.dtype[Any], threads: int
    ) -> None:  # fmt: skip
        self._covers = plan.covers
        self._shapes = (*grad[:2], *triple(grad[2:])), (*out[:2], *triple(out[2:]))
        arrays = np.empty(grad, dtype), np.empty(out, dtype)
        self._steps = [_step(one, *arrays, weight, groups, threads) for one in plan.passes]

    def run(self, grad: Array, weight: Array, out: Array) -> None:
        """See `Prepared`."""
        if not self._covers:
            out.fill(0)
        given, made = self._shapes
        for seen, place, convolution in self._steps:
            convolution.run(
                weight,
                grad.reshape(given) if seen is None else grad[seen],
                out.reshape(made) if place is None else out[place],
            )


def _step(one: Pass, grad: Array, out: Array, weight: Sizes, groups: int, threads: int) -> _Step:
    from_, to = grad[one.seen], out[one.place]
    call = call_of(from_, to, one.padding(grad.shape[2:]))
    convolution = once.prepare(one.spec, call, threads, weight, _View(one, weight, groups))
    return _Step(
        None if from_.size == grad.size else one.seen, None if to.size == out.size else one.place, convolution
    )


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
