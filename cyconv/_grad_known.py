"""Gradients of max-pooling that came before: plain arrays of shapes that were checked go straight to the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from cyconv import _checks
from cyconv._arrays import Array
from cyconv._plans.max_gradients import Planes, read, scatter, scratch_for

_INT64 = np.dtype(np.int64)
_FLOATS = frozenset(np.dtype(name) for name in ("f4", "f8"))
_MOST = 256
_known: dict[tuple[Any, ...], Planes] = {}


def _key(axes: int, grad_output: Array, input_size: tuple[int, ...], layout: str) -> tuple[Any, ...]:
    return axes, layout, input_size, grad_output.shape, grad_output.dtype


def remember(axes: int, grad_output: object, input_size: object, layout: object, planes: Planes) -> None:
    """Let calls like this one, which went well, take the short way."""
    if not (type(grad_output) is np.ndarray and type(input_size) is tuple and type(layout) is str):
        return
    if grad_output.dtype in _FLOATS:
        if len(_known) >= _MOST:
            _known.clear()
        _known[_key(axes, grad_output, input_size, layout)] = planes


def again(
    axes: int, grad_output: object, indices: object, input_size: object, layout: object, out: object, threads: int
) -> bool:
    """Fill ``out`` if the call is like one that is known; False, and nothing done, if it needs the long way."""
    if not (type(grad_output) is type(indices) is np.ndarray and type(input_size) is tuple and type(layout) is str):
        return False
    if set(map(type, input_size)) != {int}:  # 1.0 and True compare equal to 1
        return False
    planes = _known.get(_key(axes, grad_output, input_size, layout))
    if (
        planes is None
        or indices.dtype is not _INT64
        or indices.shape != grad_output.shape
        or not _checks.takes_result(out, input_size, grad_output.dtype)
        or not (indices.flags.carray and grad_output.flags.carray)
        or np.may_share_memory(out, grad_output)
    ):
        return False
    flat = indices.reshape(-1)
    with scratch_for(flat) as scratch:
        maxima = read(flat, planes, scratch, threads)
        if maxima is not None:
            scatter(maxima, grad_output, out, threads)
    return maxima is not None
