"""Activations that need more than a comparison: ``silu(v) = v / (1 + exp(-v))``."""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport real_t

cdef extern from "tgmath.h" nogil:
    real_t exp(real_t)


cdef inline void silu(real_t *c, int64_t ld, int64_t rows, int64_t columns) noexcept nogil:
    """In place, on a block of ``rows`` x ``columns`` scalars."""
    cdef int64_t i, j
    for i in range(rows):
        for j in range(columns):
            c[i * ld + j] = c[i * ld + j] / (<real_t>1 + exp(-c[i * ld + j]))
