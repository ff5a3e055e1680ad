"""The machine's limits, measured in the run: arithmetic peak and memory bandwidth."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import numpy as np

from benchmarks.cases import ITEMSIZE, Case, Conv

# Far beyond any cache: two arrays of this size are read and written.
ARRAY_BYTES = 1 << 28
REPEATS = 7


def bandwidth(threads: int) -> float:
    """GB/s of ``y = x * s`` over a large float32 array, read plus written: the best of a few."""
    x = np.ones(ARRAY_BYTES // 4, np.float32)
    y = np.ones_like(x)
    cuts = np.linspace(0, x.size, threads + 1, dtype=int)
    parts = [(x[a:b], y[a:b]) for a, b in itertools.pairwise(cuts)]
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        # NumPy lets go of the interpreter lock in the loop, so threads of Python are enough.
        workers = [threading.Thread(target=np.multiply, args=(a, np.float32(2), b)) for a, b in parts[1:]]
        for worker in workers:
            worker.start()
        np.multiply(parts[0][0], np.float32(2), parts[0][1])
        for worker in workers:
            worker.join()
        best = min(best, time.perf_counter() - start)
    return 2 * ARRAY_BYTES / best / 1e9


def peak(dtype: str, threads: int) -> float | None:
    """GFLOP/s of multiply-adds that touch no memory, by the library's own loop; None for integers."""
    if dtype == "uint8":
        return None
    from cyconv._runtime import measure_peak

    # The half formats are stored as such and computed in float32.
    return float(measure_peak("float32" if ITEMSIZE[dtype] == 2 else dtype, threads))


def limit_seconds(case: Case, limits: dict[str, Any]) -> float | None:
    """The longer of the time for the arithmetic of the definition and that for the bytes to and from memory.

    Cases that stay in a cache between two calls, and algorithms with less arithmetic, can be quicker. The
    arithmetic of poolings is left out: what they cost depends on the algorithm, not on the definition.
    """
    peak_rate: float | None = limits.get("peak", {}).get("float32" if case.dtype == "uint8" else case.dtype)
    if peak_rate is None or "bandwidth" not in limits:
        return None
    convolves = any(isinstance(op, Conv) for op in case.ops)
    arithmetic = case.flops / (peak_rate * 1e9) if convolves else 0.0
    return max(arithmetic, case.bytes_moved / (float(limits["bandwidth"]) * 1e9))
