"""Lines of one kind into lines of the other: positions with their channels side by side, or channels with their
positions. Squares of VL x VL cells change places in registers; of one that is not whole only its own lanes are touched.

        from_  [ a0 a1 a2 .. ]                to  [ a0 b0 .. ]
               [ b0 b1 b2 .. ]       ->           [ a1 b1 .. ]
                                                  [ a2 b2 .. ]

Squares follow each other along the lines that are written, so that these are completed one after the other.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport apart
from cyconv._kernels.masks cimport lanes_up_to, load_lanes, vmask_of, vmask_t, vstore_chosen
from cyconv._kernels.simd cimport VL, prefetch, real_t, vec_t, vload, vstore
from cyconv._kernels.transpose cimport vtranspose


cdef enum:
    #: squares further on, whose lines are asked for
    SOON = 2 * VL

# Calls of their own: within loops, compilers keep a pointer for each of 2 VL lines, in memory (1x256x14x14 to 1024: 11 %
# of the time). No address of a register is taken and all loops over them have a constant length, or they would live there.

cdef inline apart _square(real_t *to, int64_t to_step, const real_t *from_, int64_t from_step) noexcept nogil:
    cdef vec_t r[VL]
    cdef int64_t k
    cdef const real_t *soon = to + SOON
    for k in range(VL):
        r[k] = vload(from_)
        from_ += from_step
        prefetch(soon)
        soon += to_step
    vtranspose(r)
    for k in range(VL):
        vstore(to, r[k])
        to += to_step


cdef inline apart _part(real_t *to, int64_t to_step, const real_t *from_, int64_t from_step, int64_t rows,
                        int64_t columns) noexcept nogil:
    cdef vec_t r[VL]
    cdef int64_t k, lanes = lanes_up_to(columns)
    cdef vmask_t chosen = vmask_of(lanes_up_to(rows))
    for k in range(VL):
        r[k] = load_lanes(from_, lanes)
        from_ += from_step if k + 1 < rows else 0
    vtranspose(r)
    for k in range(VL):
        if k < columns:
            vstore_chosen(to, r[k], chosen)
            to += to_step


cdef inline void cross(real_t *to, int64_t to_step, const real_t *from_, int64_t from_step, int64_t rows,
                       int64_t columns) noexcept nogil:
    """``to[j * to_step + i] = from_[i * from_step + j]`` for i below ``rows`` and j below ``columns``."""
    cdef int64_t i, j = 0
    while j < columns:
        i = 0
        while i < rows:
            if rows - i >= VL and columns - j >= VL:
                _square(to + j * to_step + i, to_step, from_ + i * from_step + j, from_step)
            else:
                _part(to + j * to_step + i, to_step, from_ + i * from_step + j, from_step,
                      min(rows - i, <int64_t>VL), min(columns - j, <int64_t>VL))
            i += VL
        j += VL
