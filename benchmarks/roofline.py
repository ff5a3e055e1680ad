"""The machine's limits, measured in the run: arithmetic peak and memory bandwidth."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np

from benchmarks.cases import ITEMSIZE, Case

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


def limit_seconds(case: Case, limits: dict[str, object]) -> float | None:
    """The time below which no direct algorithm can come: the longer of arithmetic and memory traffic.

    Memory counts only for cases beyond 16 MiB of data; smaller ones may stay in a cache between two calls.
    """
    peaks = limits.get("peak")
    rate = limits.get("bandwidth")
    assert isinstance(peaks, dict)
    top = peaks.get("float32" if case.dtype == "uint8" and case.kind == "image" else case.dtype)
    convolves = case.group not in ("pool",)
    arithmetic = case.flops / (top * 1e9) if top and convolves else 0.0
    memory = (
        case.bytes_moved / (rate * 1e9) if isinstance(rate, float) and case.bytes_moved > 1 << 24 else 0.0
    )
    return max(arithmetic, memory) or None
