"""Prepared convolutions of calls that came before: a function that is called again need not pack its weights.

Arrays may change between calls. Small weights are known by their bytes; larger ones by where they lie, and compared
with the copy that was packed, which takes a tenth of the time of packing. Weights that are others in every call, as
in training, soon cost neither a copy nor a comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from cyconv._arrays import Array
from cyconv._kernels.calls import address_of, same_bytes
from cyconv._plans import signal_table as table


class Prepared(Protocol):
    """A convolution with weights of its own."""

    @property
    def weight(self) -> Array:
        """A copy of the weights that it was made of, C-contiguous."""


P = TypeVar("P", bound=Prepared)
#: calls that go by until weights that changed may be kept again: twice as many each time
_LONGEST_WAIT = 1024
#: what has not been used for so many calls for each one that is known makes room
_STALE = 4


class _Place(Generic[P]):
    """Weights at one place in memory, with one set of arguments."""

    __slots__ = ("found", "left", "nbytes", "used", "wait")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.found: P | None = None
        self.left = self.used = 0
        self.wait = 1


class Known(Generic[P]):
    """What one function has prepared."""

    def __init__(self) -> None:
        self._small: dict[tuple[Any, ...], P] = {}
        self._places: dict[tuple[Any, ...], _Place[P]] = {}
        self._calls = 0

    def get(self, weight: Array, key: tuple[Any, ...], make: Callable[[], P]) -> P | None:
        """What serves a call with ``weight`` and whatever else ``key`` says, made by ``make`` if there is none yet;
        None if nothing is kept for it."""
        if weight.nbytes <= table.KNOWN_BYTES:
            return self._get_small((weight.shape, weight.dtype, weight.tobytes(), *key), make)
        if counts_packing(weight) or not weight.flags.c_contiguous:
            return None
        self._calls += 1
        key = address_of(weight), weight.shape, weight.dtype, *key
        place = self._places.get(key)
        if place is None:
            if not self._make_room(weight.nbytes):
                return None
            place = self._places[key] = _Place(weight.nbytes)
        place.used = self._calls
        found = place.found
        if found is None and place.left > 0:
            place.left -= 1
        elif found is None:
            found = place.found = make()
        elif not same_bytes(found.weight, weight):
            found = place.found = None
            place.left, place.wait = place.wait, min(2 * place.wait, _LONGEST_WAIT)
        return found

    def _get_small(self, key: tuple[Any, ...], make: Callable[[], P]) -> P:
        found = self._small.get(key)
        if found is None:
            if len(self._small) >= table.KNOWN_KERNELS:
                self._small.clear()
            found = self._small[key] = make()
        return found

    def _make_room(self, nbytes: int) -> bool:
        """Whether so many bytes more may be kept, now that what is not used any more is not."""
        places = list(self._places.items())
        if sum(place.nbytes for _, place in places) + nbytes <= table.KNOWN_TOTAL_BYTES:
            return True
        stale = self._calls - _STALE * len(places)
        for key, place in places:
            if place.used < stale:
                self._places.pop(key, None)
        return sum(place.nbytes for place in list(self._places.values())) + nbytes <= table.KNOWN_TOTAL_BYTES


def counts_packing(weight: Array) -> bool:
    """Whether packing such weights counts when an algorithm is chosen: not if they may be kept. That must not depend
    on whether they are, for algorithms do not round alike."""
    return weight.nbytes > table.KNOWN_LARGEST
