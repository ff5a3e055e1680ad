"""The process that holds one library: prepares a case, checks results, times calls when it is its turn."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers, roofline
from benchmarks.cases import Case
from benchmarks.peers.base import Peer
from benchmarks.reference import error, make_data, tolerance

# A timed sample is at least this long, so that reading the clock (about 0.05 us) stays below half a percent.
SHORTEST_SAMPLE = 2e-5

# Before its turn is timed an entry is called once, so that it finds its own data in the caches and not its
# neighbour's; a call longer than this has no use for that.
LONGEST_WARM_UP = 0.25

# The first call also finds its memory, which may take longer than the work (VGG-16: 0.95 s, then 0.12): one that
# takes up to this long is made once more before it is believed.
LONGEST_DOUBT = 2.0


def main(connection: Connection, library: str, threads: int, options: dict[str, str], log: str) -> None:
    """Serve requests, each a method name and its arguments, until the other side closes."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    worker = Worker(library, threads, peers.load(library, threads, options))
    connection.send("ready")
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        connection.send(getattr(worker, name)(*arguments))


class Worker:
    def __init__(self, library: str, threads: int, peer: Peer) -> None:
        self.library = library
        self.threads = threads
        self.peer = peer
        self.calls: dict[str, Callable[[], Any]] = {}
        self.estimate: dict[str, float] = {}
        self.left = (time.process_time(), time.perf_counter())

    def prepare(self, fields: dict[str, Any], reference: str) -> dict[str, dict[str, Any]]:
        """Build every entry for the case and check one result of each against the reference.

        Returns, by entry, ``{"error": ..., "seconds": of a call, about}`` or ``{"skipped": reason}``.
        """
        self.release()
        case = Case.from_dict(fields)
        data = make_data(case)
        expected = np.load(Path(reference), mmap_mode="r")
        try:
            builders = self.peer.entries(case, data)
        except Exception as failure:
            return {"": {"skipped": _reason(failure)}}
        answer: dict[str, dict[str, Any]] = {}
        for name, build in builders.items():
            try:
                prepared = build()
                start = time.perf_counter()
                raw = prepared.call()
                first = time.perf_counter() - start
                found = error(case, np.asarray(prepared.result(raw)), expected)
                if not found <= tolerance(case):
                    answer[name] = {"skipped": f"wrong: error {found:.2g} above {tolerance(case):.2g}"}
                    continue
                self.calls[name] = prepared.call
                calls = 5 if first <= LONGEST_WARM_UP else 1 if first <= LONGEST_DOUBT else 0
                self.estimate[name] = min(first, _quick_estimate(prepared.call, calls))
                answer[name] = {"error": found, "seconds": self.estimate[name]}
            except Exception as failure:
                answer[name] = {"skipped": _reason(failure)}
        return answer

    def time(self, name: str, seconds: float) -> dict[str, Any]:
        """Time calls of the entry for about ``seconds``, at least one.

        Returns the samples in seconds per call; how many cores were busy with it; and the processor time that
        this process used since its last turn, when it should have used none, with the time that went by.
        """
        used, wall = time.process_time() - self.left[0], time.perf_counter() - self.left[1]
        call, estimate = self.calls[name], self.estimate[name]
        inner = max(1, round(SHORTEST_SAMPLE / estimate))
        if estimate < LONGEST_WARM_UP:
            call()
        samples = []
        repeats = range(inner)
        used_before, began = time.process_time(), time.perf_counter()
        clock = time.perf_counter
        gc.disable()
        end = clock() + seconds
        while True:
            start = clock()
            for _ in repeats:
                call()
            stop = clock()
            samples.append((stop - start) / inner)
            if stop >= end:
                break
        gc.enable()
        busy = (time.process_time() - used_before) / (time.perf_counter() - began)
        return {"samples": samples, "idle": (used, wall), "busy": busy}

    def rest(self) -> None:
        """The turn is over for good: processor time from now on is not this process's to use."""
        self.left = (time.process_time(), time.perf_counter())

    def limits(self, dtypes: list[str]) -> dict[str, Any]:
        """Measure the machine: memory bandwidth in GB/s and, in cyconv's process, the peak in GFLOP/s."""
        peaks = {dtype: roofline.peak(dtype, self.threads) for dtype in dtypes} if self.library == "cyconv" else {}
        return {"bandwidth": roofline.bandwidth(self.threads), "peak": peaks}

    def release(self) -> None:
        """Drop the last case's arrays."""
        self.calls, self.estimate = {}, {}
        gc.collect()


def _quick_estimate(call: Callable[[], Any], calls: int) -> float:
    """Seconds per call: the best of a few."""
    best = float("inf")
    for _ in range(calls):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def _reason(failure: Exception) -> str:
    text = " ".join(str(failure).split())
    return (text or type(failure).__name__)[:160]
