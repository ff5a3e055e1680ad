"""Gradient of max-pooling of small planes by places: several planes are summed at once, in a cache, and copied out.

Neighbouring windows often have the same maximum, and one addition then waits for the other's store; those of other
planes do not.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cyconv._kernels.poolgrad_codes cimport small_t
from cyconv._kernels.simd cimport VL, prefetch, prefetch_write, real_t, vload, vstore, vzero

cdef enum:
    #: planes at a time, and their most cells
    PLANES = 8
    #: outputs at a time
    BLOCK = 16
    SMALL_PLANE = 2048
    #: from plane to plane; the same cell of two of them is not a multiple of 4 KiB apart, which stores and loads take
    #: for the same address; one cell more is where windows without a maximum give to
    PITCH = SMALL_PLANE + 32


cdef inline void _zero(real_t *sums, int64_t cells) noexcept nogil:
    cdef int64_t i = 0
    while i < cells:
        vstore(sums + i, vzero())
        i += VL


cdef inline void _copy(real_t *out, const real_t *sums, int64_t cells) noexcept nogil:
    cdef int64_t i = 0, at
    if cells < VL:
        memcpy(out, sums, cells * sizeof(real_t))
        return
    while i < cells:
        at = min(i, cells - VL)  # some of them again
        vstore(out + at, vload(sums + at))
        i += VL


cdef inline void add_places(real_t *out, const real_t *grad, const small_t *place, real_t *sums, int64_t planes,
                            int64_t outputs, int64_t cells) noexcept nogil:
    """Up to PLANES planes of ``cells`` by the places of their outputs; ``sums`` has PLANES * PITCH scalars.

    A block of outputs of each plane is copied, so that all is at a constant distance from a few registers; planes that
    are not there give nothing to the cell after the last.
    """
    cdef real_t values[PLANES * BLOCK]
    cdef small_t places[PLANES * BLOCK]
    cdef int64_t i = 0, at, c, k
    for c in range(planes):
        _zero(sums + c * PITCH, cells)
    for c in range(planes * BLOCK, PLANES * BLOCK):
        values[c], places[c] = <real_t>0, <small_t>cells
    while i < outputs:
        if outputs < BLOCK:
            for c in range(planes):
                for k in range(outputs):
                    sums[c * PITCH + place[c * outputs + k]] += grad[c * outputs + k]
            break
        at = min(i, outputs - BLOCK)
        for c in range(planes):
            memcpy(values + c * BLOCK, grad + c * outputs + at, BLOCK * sizeof(real_t))
            memcpy(places + c * BLOCK, place + c * outputs + at, BLOCK * sizeof(small_t))
            prefetch(grad + (PLANES + c) * outputs + at)
            prefetch_write(out + c * cells + at)
            prefetch(place + (PLANES + c) * outputs + at)
        for k in range(i - at, BLOCK):
            for c in range(PLANES):
                sums[c * PITCH + places[c * BLOCK + k]] += values[c * BLOCK + k]
        i += BLOCK
    for c in range(planes):
        _copy(out + c * cells, sums + c * PITCH, cells)
