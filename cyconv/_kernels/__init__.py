"""Floor 0: the loops. One file per family, compiled once per scalar type and instruction set.

Map
---
``simd.h``, ``simd.pxd``   the vector type; the only place that knows the compiler
``tile.pxd``               the register tile, C += A x B
``registry.py``            the list of kernels that the build, dispatch and the tests read
``cpu.pyx``                what this processor has: instruction sets, caches, OpenMP
``calls.pyx``              poolings and gradients that came before, and the way into the kernels of pooling
``planned.pyx``            calls of plans that came before, and the memory that they work in
``results.h``              where new results lie in the lines of the cache
``*.pyx``                  the families
"""

from __future__ import annotations

from cyconv._kernels.registry import kernel_names


def registry() -> tuple[str, ...]:
    """Names of all kernel modules of this package, ``<family>_<type>_<build>``."""
    return kernel_names()
