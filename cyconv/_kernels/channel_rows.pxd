"""Rows of an image with up to VL neighbouring channels side by side, whatever its strides: ``to[cell][channel]``.

A cell is always written as a whole vector: with less than a vector between cells, the next cell, or the next row,
overwrites what is too much, so that rows must be filled in the order of memory.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from cyconv._kernels.gather cimport source_index
from cyconv._kernels.lanes cimport vload_part
from cyconv._kernels.simd cimport VL, inlined, real_t, vec_t, vload, vstore, vzero
from cyconv._kernels.transpose cimport vtranspose


cdef struct Row:
    # cells are ``step_w`` scalars apart, channels ``step_c``; ``channels`` of them are real, the others zero; filled
    # cells are ``pitch`` scalars apart
    int64_t step_c, step_w, size, channels, mode, pitch


cdef inline void fill_row(const Row *row, const real_t *source, int64_t first, int64_t cells,
                          real_t *to) noexcept nogil:
    """``cells`` cells from coordinate ``first`` on, padded; up to VL vectors behind them may be written."""
    cdef int64_t lo = min(cells, max(<int64_t>0, -first))
    cdef int64_t hi = max(lo, min(cells, row.size - first))
    cdef int64_t i
    for i in range(lo):
        _fill_padding(row, source, first + i, to + i * row.pitch)
    if row.step_w == 1:
        i = lo
        while i < hi:
            _fill_square(row, source + first + i, min(hi - i, <int64_t>VL), to + i * row.pitch)
            i += VL
    else:
        for i in range(lo, hi):
            _fill_cell(row, source + (first + i) * row.step_w, to + i * row.pitch)
    for i in range(hi, cells):
        _fill_padding(row, source, first + i, to + i * row.pitch)


cdef inline void zero_row(const Row *row, int64_t cells, real_t *to) noexcept nogil:
    cdef int64_t i
    if row.pitch <= VL:
        memset(to, 0, cells * row.pitch * sizeof(real_t))
    else:
        for i in range(cells):
            vstore(to + i * row.pitch, vzero())


cdef inline void _fill_padding(const Row *row, const real_t *source, int64_t w, real_t *to) noexcept nogil:
    w = source_index(w, row.size, row.mode)
    if w < 0:
        vstore(to, vzero())
    else:
        _fill_cell(row, source + w * row.step_w, to)


cdef inline void _fill_cell(const Row *row, const real_t *source, real_t *to) noexcept nogil:
    cdef int64_t q
    if row.step_c == 1:
        vstore(to, vload(source) if row.channels == VL else vload_part(source, 0, <int>row.channels, <real_t>0))
        return
    for q in range(VL):
        to[q] = source[q * row.step_c] if q < row.channels else <real_t>0


cdef inline void _fill_square(const Row *row, const real_t *source, int64_t cells, real_t *to) noexcept nogil:
    """Up to VL cells, read channel by channel and turned."""
    if row.channels < VL:
        _turn_square(row, source, 0, row.channels, cells, to)
    elif cells < VL:
        _turn_square(row, source, 0, VL, cells, to)
    else:
        _turn_square(row, source, 1, VL, VL, to)


cdef inline inlined _turn_square(const Row *row, const real_t *source, const bint whole, int64_t channels, int64_t cells,
                                 real_t *to) noexcept nogil:
    # No branch where all channels are real: the square stays in registers.
    cdef vec_t r[VL]
    cdef int64_t q
    for q in range(VL):
        if whole:
            r[q] = vload(source)
        elif q < channels:
            r[q] = vload_part(source, 0, <int>cells, <real_t>0)
        else:
            r[q] = vzero()
        source += row.step_c
    vtranspose(r)
    for q in range(VL):
        vstore(to, r[q])
        to += row.pitch
