"""Storing finished products of the dense kernel where the result wants them: as they are, or crossed.

A line of the product is a channel (its positions are neighbours) or a position (its channels are neighbours), and so
is a line of the result. Lines of the same kind are copied; lines of the other kind are crossed in squares of VL
registers.

Assumptions: as ``dense.pyx``; the lines of the product may be read by whole vectors.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.gather cimport copy_run
from cyconv._kernels.masks cimport lanes_up_to, vmask_of, vmask_t, vstore_chosen
from cyconv._kernels.simd cimport VL, real_t, vec_t, vload, vstore
from cyconv._kernels.transpose cimport vtranspose


cdef inline void cross(real_t *to, int64_t to_ld, const real_t *from_, int64_t from_ld, int64_t rows,
                       int64_t columns) noexcept nogil:
    """``to[j * to_ld + i] = from_[i * from_ld + j]`` for i below ``rows`` and j below ``columns``."""
    # No address of a register is taken and all loops over them have a constant length, or they would live in memory.
    cdef vec_t square[VL]
    cdef int64_t i, j, k, high, wide
    cdef vmask_t chosen
    i = 0
    while i < rows:
        high = min(rows - i, <int64_t>VL)
        chosen = vmask_of(lanes_up_to(high))
        j = 0
        while j < columns:
            wide = min(columns - j, <int64_t>VL)
            for k in range(VL):
                square[k] = vload(from_ + (i + min(k, high - 1)) * from_ld + j)
            vtranspose(square)
            if high == VL and wide == VL:
                for k in range(VL):
                    vstore(to + (j + k) * to_ld + i, square[k])
            else:
                for k in range(VL):
                    if k < wide:
                        vstore_chosen(to + (j + k) * to_ld + i, square[k], chosen)
            j += VL
        i += VL


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
