"""What a library has to offer to be timed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.cases import Case
from benchmarks.reference import Array, Data


class Unsupported(Exception):
    """The library, or this entry of it, has no way to run the case."""


@dataclass(frozen=True)
class Prepared:
    """One entry, ready to be timed.

    ``call`` is what is timed, with weights packed and buffers at hand. ``result`` takes what ``call``
    returned and answers with an array in (N, K, OH, OW) order. In the group "small", where the cost is that
    of the call itself, ``call`` takes an array and gives an array: nothing is put in its place before.
    """

    call: Callable[[], Any]
    result: Callable[[Any], Array]


# Code for layers makes 2 to 10 GFLOP/s on one channel: beyond this a call takes many seconds, where the
# Fourier transform takes a fraction of one.
LARGEST_IMAGE = 2e10


def check_image_size(case: Case) -> None:
    """Raise `Unsupported` for an image that is out of reach of libraries made for layers."""
    if case.kind == "image" and case.flops > LARGEST_IMAGE:
        raise Unsupported("would take many seconds a call")


Builder = Callable[[], Prepared]


class Peer(Protocol):
    """One library, set up for a number of threads, in a worker process where it is the only one."""

    def entries(self, case: Case, data: Data) -> dict[str, Builder]:
        """The ways in which this library can run the case, by the name under which each is reported.

        Raises `Unsupported`, here or in a builder, with the reason.
        """


def chain(steps: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Compose the steps of a chain; a single step is called as it is, without a wrapper to be timed."""
    if len(steps) == 1:
        return steps[0]
    return functools.partial(_run, tuple(steps))


def _run(steps: tuple[Callable[[Any], Any], ...], x: Any) -> Any:
    for step in steps:
        x = step(x)
    return x
