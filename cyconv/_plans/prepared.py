"""What an algorithm found out about calls that came before."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cyconv._plans.spec import Call, Compute

#: calls that an algorithm remembers
_MOST = 64


class Prepares(ABC):
    """An algorithm that prepares calls of one kind once: one like a call before is found without the layer's hash."""

    def __init__(self) -> None:
        self._prepared: dict[tuple[Call, int], Compute] = {}

    def prepare(self, call: Call, threads: int) -> Compute:
        """What computes such calls; kept for the next one."""
        found = self._prepared.get((call, threads))
        if found is None:
            if len(self._prepared) >= _MOST:
                self._prepared.clear()
            found = self._prepared[call, threads] = self._make(call, threads)
        return found

    @abstractmethod
    def _make(self, call: Call, threads: int) -> Compute:
        """What computes such calls. It must not refer to this object, which would then outlive its last user."""
