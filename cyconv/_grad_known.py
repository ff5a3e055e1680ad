"""Gradients of calls that came before: plain arrays of shapes and settings that were checked go straight to work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from cyconv import _checks
from cyconv._arrays import Array
from cyconv._kernels import calls
from cyconv._runtime import threads_for

#: what a call is known by: the gradient and its axes, the size that it was given, settings, arrays
Call: TypeAlias = tuple[tuple[str, int], Any, tuple[Any, ...], tuple[Any, ...]]


def again(call: Call, out: Any, num_threads: Any) -> Array | None:
    """The result of a call like one that is known; None if it has to take the long way, checks and all."""
    if num_threads is not None and (type(num_threads) is not int or num_threads < 1):
        return None
    return calls.gradient_again(*call, out, threads_for(num_threads))


def remember(
    call: Call, result: Array, out: object, num_threads: int | None, make: Callable[[int], calls.Prepared]
) -> None:
    """Let calls like this one, which went well, take the short way.

    ``make`` prepares, for so many threads, what computes them from C-contiguous arrays; their second one asks for it.
    """
    threads = threads_for(_checks.check_threads(num_threads))
    calls.remember_gradient(*call, result, out is None, threads, lambda: make(threads))
