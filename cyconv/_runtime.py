"""Floor 1: which build runs on this processor, how many threads, where scratch memory comes from."""

from __future__ import annotations

import importlib
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from cyconv._kernels import calls, cpu
from cyconv._kernels.registry import FAMILIES, builds

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

__all__ = ["get_num_threads", "num_threads", "set_num_threads", "show_config"]

VERSION = "0.1.0"


# ---------------------------------------------------------------------------------------------------- builds


def _available_builds() -> tuple[str, ...]:
    """Builds that are installed and that this processor can run, the best one last."""
    files = os.listdir(os.path.dirname(cpu.__file__))
    installed = {name.split(".")[0].rpartition("_")[2] for name in files if name.startswith("peak_f32_")}
    return tuple(name for name in builds() if name in installed and cpu.can_run(name))


def _choose_build(wanted: str | None, available: tuple[str, ...]) -> str:
    if not available:
        raise ImportError(
            f"cyconv: none of the builds {', '.join(builds())} is both installed and possible on this processor"
        )
    if wanted is None or wanted == "":
        return available[-1]
    if wanted not in available:
        raise ImportError(f"cyconv: CYCONV_ISA={wanted!r} is not possible here; possible: {', '.join(available)}")
    return wanted


AVAILABLE_BUILDS = _available_builds()
BUILD = _choose_build(os.environ.get("CYCONV_ISA"), AVAILABLE_BUILDS)

#: NumPy's name of a scalar type -> its name in the registry
_SCALARS = {"float32": "f32", "float64": "f64"}
_SCALARS |= {f"int{bits}": f"i{bits}" for bits in (8, 16, 32, 64)}
_SCALARS |= {f"uint{bits}": f"u{bits}" for bits in (8, 16, 32, 64)}


@cache
def kernel(family: str, dtype: np.dtype[Any]) -> ModuleType:
    """The compiled module of ``family`` for ``dtype`` in the chosen build."""
    scalar = _SCALARS[dtype.name]
    if scalar not in FAMILIES[family]:
        raise LookupError(f"no kernel {family!r} for {dtype}")
    return importlib.import_module(f"cyconv._kernels.{family}_{scalar}_{BUILD}")


#: bytes of the data caches of level 1, 2, 3; the fallbacks are the small end of what is in use
CACHES: tuple[int, ...] = tuple(
    size or fallback for size, fallback in zip(cpu.cache_bytes(), (32 << 10, 512 << 10, 4 << 20), strict=True)
)

#: bytes of a vector register and rows of the register tile, per build (``simd.h``)
VECTOR_BYTES = {"avx512": 64, "avx2": 32}.get(BUILD, 16)


# --------------------------------------------------------------------------------------------------- threads


def _cgroup_cpus() -> int | None:
    """Whole CPUs that the control group's quota allows, None without a quota."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()[:2]
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))


def _usable_cpus() -> int:
    """CPUs that this process may use: affinity and control-group quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return min(count, _cgroup_cpus() or count)


def _start_threads() -> int:
    """Start value of the thread count: the environment's wish, never above what the process may use."""
    usable = _usable_cpus()
    for variable in ("CYCONV_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text.isdecimal() and int(text) >= 1:
            return min(usable, int(text))
    return usable


_threads = _start_threads()
#: the OpenMP runtime ends the process when the system refuses it a thread; no result depends on the number
_MOST_THREADS = max(64, 4 * _usable_cpus())
_threads_here: ContextVar[int | None] = ContextVar("cyconv_num_threads", default=None)
_forked = False


def _note_fork() -> None:
    """OpenMP's worker threads do not survive a fork and waiting for them would hang: the child runs serially."""
    global _forked
    _forked = True
    calls.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _checked_count(n: int) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"number of threads must be an integer of at least 1, got {n!r}")
    if n < 1:
        raise ValueError(f"number of threads must be at least 1, got {n}")
    return int(n)


def set_num_threads(n: int) -> None:
    """Set the number of threads that calls without ``num_threads=`` use, for the whole process.

    Parameters
    ----------
    n : int
        At least 1. Results are bit for bit the same for any number.

    Examples
    --------
    >>> import cyconv
    >>> before = cyconv.get_num_threads()
    >>> cyconv.set_num_threads(1)
    >>> cyconv.get_num_threads()
    1
    >>> cyconv.set_num_threads(before)
    """
    global _threads
    _threads = _checked_count(n)


def get_num_threads() -> int:
    """Return the number of threads that a call without ``num_threads=`` uses here.

    Examples
    --------
    >>> import cyconv
    >>> cyconv.get_num_threads() >= 1
    True
    """
    here = _threads_here.get()
    return _threads if here is None else here


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use ``n`` threads inside a ``with`` block, in this Python thread (or asynchronous task) alone.

    Parameters
    ----------
    n : int
        At least 1.

    Examples
    --------
    >>> import cyconv
    >>> with cyconv.num_threads(1):
    ...     cyconv.get_num_threads()
    1
    """
    token = _threads_here.set(_checked_count(n))
    try:
        yield
    finally:
        _threads_here.reset(token)


def threads_for(wanted: int | None) -> int:
    """Threads that a kernel call gets: ``wanted`` or the setting, never absurdly many; one in a forked child."""
    if _forked:
        return 1
    n = wanted or _threads_here.get() or _threads
    return n if n < _MOST_THREADS else _MOST_THREADS  # a call of min takes as long as a look-up


# ---------------------------------------------------------------------------------------------------- report


class Config(dict[str, Any]):
    """The result of :func:`show_config`: a dict that prints as a table."""

    def __str__(self) -> str:
        width = max(map(len, self))
        return "\n".join(f"{key:<{width}}  {value}" for key, value in self.items())

    __repr__ = __str__


def show_config() -> Config:
    """Version, build chosen and why, builds available, OpenMP, threads, caches and compiler.

    Returns
    -------
    Config
        A dict with the keys ``version``, ``build``, ``why``, ``builds``, ``openmp``, ``threads``, ``caches``,
        ``compiler``, ``numpy``; printed, it is a table.

    Examples
    --------
    >>> import cyconv
    >>> cyconv.show_config()["build"] in cyconv.show_config()["builds"]
    True
    """
    forced = os.environ.get("CYCONV_ISA")
    openmp = cpu.openmp_version()
    return Config(
        version=VERSION,
        build=BUILD,
        why="CYCONV_ISA asks for it" if forced else "the best one that this processor can run",
        builds=AVAILABLE_BUILDS,
        openmp=openmp or "none: serial build",
        threads=get_num_threads(),
        caches=" / ".join(f"{size >> 10} KiB" for size in CACHES),
        compiler=cpu.compiler(),
        numpy=np.__version__,
    )


def measure_peak(dtype: DTypeLike = np.float32, threads: int = 1, seconds: float = 0.05) -> float:
    """Multiply-add peak in GFLOP/s: the best of some runs of a loop that lives in registers."""
    module = kernel("peak", np.dtype(dtype))
    sink = np.zeros((threads, 64), dtype)
    steps, best = 10_000, 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        flops = module.run(steps, 0.5, sink, threads)
        best = max(best, flops / (time.perf_counter() - start) / 1e9)
        sink[:] = 0
        steps = min(2 * steps, 1_000_000)
    return best
