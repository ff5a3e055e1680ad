"""Runs the cases: one worker process per library and number of threads, called in turn, one at a time."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import worker
from benchmarks.cases import Case
from benchmarks.reference import make_data, reference

# Seconds between two turns: threads of the library before wait for more work in busy loops, some for 10 ms.
SETTLE_ALONE, SETTLE = 0.002, 0.02

# A call that takes longer than this is given up, and its process with it.
TIMEOUT = 300.0

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CYCONV_NUM_THREADS")


@dataclass(frozen=True)
class Settings:
    """``seconds`` is what each entry gets per case, in ``rounds`` turns."""

    libraries: list[str]
    threads: list[int]
    layout: str = "NCHW"
    algorithms: str = "auto,direct"
    rounds: int = 5
    seconds: float = 0.5

    def options(self) -> dict[str, str]:
        return {"layout": self.layout, "algorithms": self.algorithms}


class Failed(Exception):
    """The worker died or did not answer."""


class Process:
    """One library in a process of its own, started again when it has died."""

    def __init__(self, library: str, threads: int, options: dict[str, str], log: Path) -> None:
        self.library, self.threads, self.options, self.log = library, threads, options, log
        self.idle_used = self.idle_wall = 0.0
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        arguments = (other, self.library, self.threads, self.options, str(self.log))
        self.process = context.Process(target=worker.main, args=arguments, daemon=True)
        with _environment({name: str(self.threads) for name in THREAD_VARIABLES}):
            self.process.start()
        other.close()
        self._exchange(None)

    def wake(self) -> None:
        """Start it again if it died while it was not its turn (the system takes the largest when memory is short)."""
        if not self.process.is_alive():
            self.stop()
            self.start()

    def ask(self, name: str, *arguments: Any) -> Any:
        return self._exchange((name, arguments))

    def _exchange(self, question: tuple[str, tuple[Any, ...]] | None) -> Any:
        try:
            if question is not None:
                self.connection.send(question)
            if self.connection.poll(TIMEOUT):
                return self.connection.recv()
            reason = f"no answer in {TIMEOUT:.0f} s"
        except (EOFError, ConnectionError):
            self.process.join()
            tail = self.log.read_text(errors="replace").strip().splitlines()[-1:] if self.log.exists() else []
            reason = f"died with status {self.process.exitcode}: {' '.join(tail)}"
        self.stop()
        raise Failed(f"{self.library}: {reason}")

    def stop(self) -> None:
        self.connection.close()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    old = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass
class Entry:
    """One way of running one case, and what came of it."""

    process: Process
    name: str
    error: float
    samples: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    spent: float = 0.0

    def summary(self) -> dict[str, Any]:
        low, middle, high = np.quantile(self.samples, [0.25, 0.5, 0.75])
        return {
            "median": float(middle),
            "quartiles": [float(low), float(high)],
            "best": min(self.samples),
            "samples": len(self.samples),
            "error": self.error,
            "busy": float(np.median(self.busy)) if self.busy else None,
        }


class Runner:
    """Use as a context manager; `run` yields one record per case and number of threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.missing: dict[str, str] = {}

    def __enter__(self) -> Runner:
        self.folder = tempfile.TemporaryDirectory(prefix="cyconv-benchmarks-")
        self.processes: dict[int, list[Process]] = {}
        for threads in self.settings.threads:
            self.processes[threads] = []
            for library in self.settings.libraries:
                log = Path(self.folder.name) / f"{library}-{threads}.log"
                try:
                    process = Process(library, threads, self.settings.options(), log)
                except Failed as failure:
                    self.missing[library] = str(failure)
                else:
                    self.processes[threads].append(process)
        return self

    def __exit__(self, *exception: object) -> None:
        for processes in self.processes.values():
            for process in processes:
                process.stop()
        self.folder.cleanup()

    def restless(self) -> dict[str, float]:
        """The share of a core that each library's process used, on the whole, while it was not its turn."""
        found = [process for processes in self.processes.values() for process in processes if process.idle_wall]
        return {f"{p.library}, {p.threads} threads": p.idle_used / p.idle_wall for p in found}

    def limits(self, dtypes: list[str]) -> dict[str, dict[str, Any]]:
        """Peak and bandwidth for each number of threads, by the first worker (cyconv's, if it is there)."""
        first = {threads: found[0] for threads, found in self.processes.items() if found}
        for process in first.values():
            process.wake()
        return {str(threads): process.ask("limits", dtypes) for threads, process in first.items()}

    def run(self, cases: list[Case], progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
        for case in cases:
            expected = Path(self.folder.name) / "reference.npy"
            progress(f"{case.name}: reference")
            np.save(expected, reference(case, make_data(case)))
            for threads, processes in self.processes.items():
                progress(f"{case.name}: {threads} thread{'s' * (threads > 1)}")
                yield self._measure(case, threads, processes, expected)

    def _measure(self, case: Case, threads: int, processes: list[Process], expected: Path) -> dict[str, Any]:
        entries: list[Entry] = []
        skipped: dict[str, str] = {}
        for process in processes:
            for name, found in self._prepare(process, case, expected).items():
                if "skipped" in found:
                    skipped[name or process.library] = found["skipped"]
                else:
                    entry = Entry(process, name, found["error"])
                    entries.append(entry)
                    if found["seconds"] > 4 * self.settings.seconds:
                        # The calls before have to do: they are long enough to tell.
                        entry.samples, entry.spent = [found["seconds"]], found["seconds"]
        for turn in range(self.settings.rounds):
            # Everybody is once the first one, once the last one, and has various neighbours.
            start = turn * len(entries) // self.settings.rounds
            for entry in entries[start:] + entries[:start]:
                self._time(entry, skipped)
            entries = [entry for entry in entries if entry.name not in skipped]
        self._release(processes)
        return {
            "case": case.to_dict(),
            "flops": case.flops,
            "bytes": case.bytes_moved,
            "threads": threads,
            "entries": {entry.name: entry.summary() for entry in entries},
            "skipped": skipped,
        }

    def _release(self, processes: list[Process]) -> None:
        """Let nobody keep a case that is over: some peers unfold an image into gigabytes."""
        for process in processes:
            try:
                process.ask("release")
            except Failed:
                process.start()

    def _settle(self, process: Process) -> None:
        time.sleep(SETTLE if process.threads > 1 else SETTLE_ALONE)
        process.ask("rest")

    def _prepare(self, process: Process, case: Case, expected: Path) -> dict[str, dict[str, Any]]:
        try:
            process.wake()
            answer: dict[str, dict[str, Any]] = process.ask("prepare", case.to_dict(), str(expected))
            self._settle(process)
        except Failed as failure:
            process.start()
            return {"": {"skipped": str(failure)}}
        return answer

    def _time(self, entry: Entry, skipped: dict[str, str]) -> None:
        """Give the entry one turn; one that is far over its share of time gets fewer of them."""
        if entry.spent > 2 * self.settings.seconds or entry.name in skipped:
            return
        try:
            answer = entry.process.ask("time", entry.name, self.settings.seconds / self.settings.rounds)
            self._settle(entry.process)
        except Failed as failure:
            skipped[entry.name] = str(failure)
            entry.process.start()
            return
        entry.samples += answer["samples"]
        used, wall = answer["idle"]
        entry.process.idle_used += used
        entry.process.idle_wall += wall
        entry.busy.append(answer["busy"])
        entry.spent += sum(answer["samples"])
