"""The one list of kernels: which families exist, for which scalar types, in which builds.

The build compiles exactly these modules, dispatch looks them up, and the tests walk over them. A kernel module is
called ``<family>_<type>_<build>``, for instance ``dense_f32_avx512``; each is compiled from ``<family>.pyx``.
"""

from __future__ import annotations

import platform

FLOATS = ("f32", "f64")
UNSIGNED = ("u8", "u16", "u32", "u64")
INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")

#: family -> scalar types it is compiled for
FAMILIES: dict[str, tuple[str, ...]] = {
    "peak": FLOATS,
    "dense": FLOATS,
    "wgrad": FLOATS,
    "product": FLOATS,
    "pool": FLOATS + INTEGERS,
    "exact": FLOATS + UNSIGNED,
    "fft": FLOATS,
    "rowgrad": FLOATS,
    "sliding": FLOATS,
    "planes": FLOATS,
    "poolgrad": FLOATS,
    "turn": FLOATS,
    "weave": FLOATS,
    "convert": ("f32",),
    "winograd": FLOATS,
    "winwgrad": FLOATS,
}

#: build -> compiler flags, best build last; the instruction set levels are those of the x86-64 psABI
X86_BUILDS: dict[str, tuple[str, ...]] = {
    "baseline": ("-march=x86-64-v2",),
    "avx2": ("-march=x86-64-v3",),
    "avx512": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
}
#: elsewhere the compiler's default is the one build (NEON is part of every arm64)
OTHER_BUILDS: dict[str, tuple[str, ...]] = {"baseline": ()}


def builds(machine: str | None = None) -> dict[str, tuple[str, ...]]:
    """Builds made for this kind of machine, each with its compiler flags, the best one last."""
    name = (platform.machine() if machine is None else machine).lower()
    return X86_BUILDS if name in ("x86_64", "amd64") else OTHER_BUILDS


def kernel_names(machine: str | None = None) -> tuple[str, ...]:
    """Every kernel module that a build on this kind of machine contains."""
    return tuple(
        f"{family}_{scalar}_{build}"
        for family, scalars in FAMILIES.items()
        for scalar in scalars
        for build in builds(machine)
    )
