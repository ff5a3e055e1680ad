"""Gradients of calls that came before: plain arrays of shapes and settings that were checked go straight to work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cyconv import _checks
from cyconv._arrays import Array

_FLOATS = frozenset(np.dtype(name) for name in ("f4", "f8"))
_INT64 = np.dtype(np.int64)
_SIMPLE = frozenset((int, str, bool, type(None)))
_MOST = 512


class Known(NamedTuple):
    """Shape of the result, and what the checks of the first call found."""

    shape: tuple[int, ...]
    value: Any


_known: dict[tuple[Any, ...], Known] = {}


def _key(kind: object, size: Any, settings: Sequence[object], arrays: Sequence[Any]) -> tuple[Any, ...] | None:
    """What a call is known by; None if its arrays are no plain ones, or other types could compare equal."""
    if set(map(type, arrays)) != {np.ndarray} or type(size) is not tuple:
        return None
    types = tuple(map(type, settings))  # 1.0 and True compare equal to 1
    if set(map(type, size)) != {int} or not _SIMPLE.issuperset(types):
        return None
    return kind, size, settings, types, *[(array.shape, array.dtype) for array in arrays]


def remember(
    kind: object, size: object, settings: Sequence[object], arrays: Sequence[Any], result: Array, value: Any
) -> None:
    """Let calls like this one into a given array, which went well, take the short way: of one float dtype, indices of
    64 bits."""
    key = _key(kind, size, settings, arrays)
    if key is None or result.dtype not in _FLOATS or result.size == 0:
        return
    if {array.dtype for array in arrays} - {_INT64} == {result.dtype} and all(array.size for array in arrays):
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = Known(result.shape, value)


def recall(kind: object, size: object, settings: Sequence[object], arrays: Sequence[Any], out: Any) -> Any:
    """What was found by a call like this one, if the arrays can be worked on as they are; else None."""
    key = None if out is None else _key(kind, size, settings, arrays)
    known = None if key is None else _known.get(key)
    if known is None or not _checks.takes_result(out, known.shape, arrays[0].dtype):
        return None
    for array in arrays:
        if not array.flags.carray or np.may_share_memory(out, array):
            return None
    return known.value
