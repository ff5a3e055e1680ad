"""One convolution with its weights: which algorithm serves which call, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from cyconv import _runtime
from cyconv._plans import on_planes, table
from cyconv._plans.dense import Dense
from cyconv._plans.fft import FFT
from cyconv._plans.on_planes import OnPlanes
from cyconv._plans.sliding import Sliding
from cyconv._plans.spec import Call, Compute, ConvSpec, bytes_moved, contiguous, flops
from cyconv._plans.winograd import Winograd

Array = np.ndarray[Any, np.dtype[Any]]


class Runner(Protocol):
    """Whatever computes the calls of a plan; used by many threads at once."""

    def prepare(self, call: Call, threads: int) -> Compute:
        """What computes such calls: all but the arrays is found out here."""


class Algorithm(Runner, Protocol):
    """A way to compute a convolution; one object per plan."""

    #: what the user calls it
    name: str

    def __init__(self, spec: ConvSpec, weight: Array, bias: Array | None, once: bool = False) -> None: ...

    @staticmethod
    def supports(spec: ConvSpec) -> str | None:
        """None if this layer can be computed, else the reason why not."""

    @staticmethod
    def workspace(spec: ConvSpec, call: Call, threads: int) -> int:
        """Bytes of scratch memory of such a call."""

    @staticmethod
    def estimate(spec: ConvSpec, call: Call, threads: int) -> float:
        """Seconds that such a call should take."""

    @staticmethod
    def packing(spec: ConvSpec, call: Call) -> float:
        """Seconds that packing the weights takes, once for all such calls."""


#: Their order decides between equals.
ALGORITHMS: tuple[type[Algorithm], ...] = (Dense, Sliding, Winograd, FFT)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known about one algorithm before it runs."""

    kind: type[Algorithm]
    threads: int
    seconds: float
    workspace: int
    rank: float
    """Seconds on one thread with contiguous arrays, times the gain that the algorithm has to bring."""
    images: int
    """Images that are turned into planes at a time; 0: the arrays are used as they are."""


@lru_cache(maxsize=1024)
def candidates(
    spec: ConvSpec, call: Call, threads: int, algorithm: str, packing_counts: bool
) -> tuple[Candidate, ...]:
    """Algorithms that may serve this call, the best one first; ``packing_counts``: the weights are not used again.

    They do not round alike, so neither the number of threads nor gaps in the arrays may change the order; where
    scratch memory is short, threads are left out. One whose bound holds for the result as a whole, and not for each
    cell, must be quicker by a margin.
    """
    limit = spec.workspace_limit
    refusals = []
    found = []
    usual = contiguous(spec, call)
    turned = on_planes.images_at_a_time(spec, usual)
    for kind in ALGORITHMS:
        if algorithm not in ("auto", kind.name):
            continue
        reason = kind.supports(spec)
        if reason is not None:
            refusals.append(f"{kind.name}: {reason}")
            continue
        fits = []
        for images in {0, turned}:
            fitting = threads
            while limit is not None and fitting > 1 and _workspace(kind, spec, call, images, fitting) > limit:
                fitting -= 1
            need = _workspace(kind, spec, call, images, fitting)
            if (limit is not None and need > limit) or (images and need > table.SCRATCH_BYTES):
                refusals.append(f"{kind.name}: it needs {need} bytes of scratch memory with one thread")
                continue
            rank = _estimate(kind, spec, usual, images, 1) + (kind.packing(spec, usual) if packing_counts else 0.0)
            rank *= 1.0 if kind.name == "direct" else table.LEAST_GAIN
            seconds = _estimate(kind, spec, call, images, fitting)
            fits.append(Candidate(kind, fitting, seconds, need, rank, images))
        found += sorted(fits, key=lambda candidate: candidate.rank)[:1]
    if not found:
        asked = f"workspace_limit={limit}" if limit is not None else f"algorithm={algorithm!r}"
        raise ValueError(f"{asked} cannot be met ({'; '.join(refusals)})")
    return tuple(sorted(found, key=lambda candidate: candidate.rank))


def _workspace(kind: type[Algorithm], spec: ConvSpec, call: Call, images: int, threads: int) -> int:
    if not images:
        return kind.workspace(spec, call, threads)
    planes = on_planes.on_planes(spec, call, images)
    return kind.workspace(spec, planes, threads) + on_planes.workspace(spec, call, images)


def _estimate(kind: type[Algorithm], spec: ConvSpec, call: Call, images: int, threads: int) -> float:
    if not images:
        return kind.estimate(spec, call, threads)
    each = kind.estimate(spec, on_planes.on_planes(spec, call, images), threads)
    return call.batch / images * each + on_planes.seconds(spec, call, threads)


class Convolution:
    """A convolution with its weights packed, ready for inputs of any size. Arrays are checked already.

    ``once``: for a single call, in which packing the weights counts unless ``packing_counts`` says otherwise.
    """

    def __init__(
        self,
        spec: ConvSpec,
        weight: Array,
        bias: Array | None,
        algorithm: str = "auto",
        once: bool = False,
        packing_counts: bool | None = None,
    ) -> None:
        self.spec = spec
        self._weight = weight
        self._bias = bias
        self._algorithm = algorithm
        self._once = once
        self._packing_counts = once if packing_counts is None else packing_counts
        self._ready: dict[type[Algorithm], Algorithm] = {}
        if algorithm != "auto":
            check_supported(spec, algorithm)

    def prepare(self, call: Call, threads: int) -> Compute:
        """What computes such calls, in which nothing is empty, by the best algorithm."""
        algorithm, threads = self.choice(call, threads)
        return algorithm.prepare(call, threads)

    def choice(self, call: Call, threads: int) -> tuple[Runner, int]:
        """The algorithm for this call, and how many of the threads it takes."""
        chosen = self.candidates(call, threads)[0]
        if chosen.kind not in self._ready:
            self._ready[chosen.kind] = chosen.kind(self.spec, self._weight, self._bias, self._once)
        algorithm = self._ready[chosen.kind]
        return OnPlanes(algorithm, self.spec, chosen.images) if chosen.images else algorithm, chosen.threads

    def candidates(self, call: Call, threads: int) -> tuple[Candidate, ...]:
        """What could serve this call, the choice first."""
        return candidates(self.spec, call, threads, self._algorithm, self._packing_counts)

    def explain(self, call: Call, threads: int) -> Explanation:
        """The choice for this call and its reasons."""
        ranked = self.candidates(call, threads)
        chosen = ranked[0]
        if self._algorithm != "auto":
            why = f"algorithm={self._algorithm!r} was asked for"
        elif len(ranked) == 1:
            why = "the only algorithm for this layer"
        else:
            other = min(ranked[1:], key=lambda candidate: candidate.seconds)
            why = f"estimated {other.seconds / chosen.seconds:.2f} times as fast as {other.kind.__name__}"
            if other.seconds < chosen.seconds * table.LEAST_GAIN and other.kind.name != "direct" == chosen.kind.name:
                why += ", and exact to the bound of each cell"
        return Explanation(
            algorithm=chosen.kind.name,
            kernel=chosen.kind.__name__.lower(),
            build=_runtime.BUILD,
            threads=chosen.threads,
            flops=flops(self.spec, call),
            bytes=bytes_moved(self.spec, call),
            workspace=chosen.workspace,
            why=why,
            estimates={candidate.kind.__name__.lower(): candidate.seconds for candidate in ranked},
        )


def check_supported(spec: ConvSpec, algorithm: str) -> None:
    """ValueError that says why, if no algorithm of that name can compute this layer."""
    reasons = [kind.supports(spec) for kind in ALGORITHMS if kind.name == algorithm]
    if None not in reasons:
        text = "; ".join(dict.fromkeys(_texts(reasons))) or "it is not in this build"
        raise ValueError(f"algorithm={algorithm!r} cannot compute this layer: {text}")


def _texts(reasons: Iterable[str | None]) -> list[str]:
    return [reason for reason in reasons if reason is not None]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a plan does for one input shape; printed, it is a table.

    Attributes
    ----------
    algorithm : str
        ``"direct"``, ``"winograd"`` or ``"fft"``.
    kernel : str
        The family of loops that does it.
    build : str
        Instruction set of the loops.
    threads : int
        Threads that would run.
    flops : int
        FLOPs by the definition, a multiply-add counted as two, whatever the algorithm saves.
    bytes : int
        Bytes of input, weights and result, each touched once.
    workspace : int
        Bytes of scratch memory.
    why : str
        The reason for the choice.
    estimates : dict of str to float
        Estimated seconds of every candidate.
    """

    algorithm: str
    kernel: str
    build: str
    threads: int
    flops: int
    bytes: int
    workspace: int
    why: str
    estimates: dict[str, float]

    def __str__(self) -> str:
        lines = [
            f"algorithm  {self.algorithm} ({self.kernel}, {self.build}, {self.threads} threads)",
            f"why        {self.why}",
            f"work       {self.flops / 1e6:.2f} MFLOP, {self.bytes / 1e6:.2f} MB moved",
            f"workspace  {self.workspace / 1024:.0f} KiB",
        ]
        lines += [f"estimate   {name}: {seconds * 1e3:.4g} ms" for name, seconds in self.estimates.items()]
        return "\n".join(lines)
