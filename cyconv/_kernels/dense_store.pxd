"""Storing finished products of the dense kernel where the result wants them: as they are, or crossed.

A line of the product is a channel (its positions are neighbours) or a position (its channels are neighbours), and so
is a line of the result. Lines of the same kind are copied, lines of the other kind are crossed.

Assumptions: as ``dense.pyx``.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.crossing cimport cross
from cyconv._kernels.gather cimport copy_run
from cyconv._kernels.simd cimport real_t


cdef inline void store(real_t *to, int64_t to_k, int64_t to_p, const real_t *from_, int64_t from_k, int64_t from_p,
                       int64_t channels, int64_t positions) noexcept nogil:
    """``to[k * to_k + p * to_p] = from_[k * from_k + p * from_p]``; from_k or from_p is 1."""
    cdef int64_t k, p
    if to_p == 1 and from_p == 1:
        for k in range(channels):
            copy_run(to + k * to_k, from_ + k * from_k, positions)
    elif to_k == 1 and from_k == 1:
        for p in range(positions):
            copy_run(to + p * to_p, from_ + p * from_p, channels)
    elif to_p == 1:
        cross(to, to_k, from_, from_p, positions, channels)
    elif to_k == 1:
        cross(to, to_p, from_, from_k, channels, positions)
    else:
        for k in range(channels):
            for p in range(positions):
                to[k * to_k + p * to_p] = from_[k * from_k + p * from_p]
