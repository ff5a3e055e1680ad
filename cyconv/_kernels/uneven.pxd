"""Planes of a few vectors' width, windows of any sizes (adaptive pooling): rows are combined in registers, columns chosen.

    m[c] = o over the rows r of window oh of x[r, c]                  c = 0 ... : G vectors
    out[oh, i] = o over t < T of m[first[i] + t]                      T cells of the largest window, VL outputs at a time

A shorter window takes its last cell again, of maxima, or nothing, of sums. Columns beyond the plane are read, too, where
they are in x, and never chosen.

Assumptions: a plane's rows are G vectors, G <= 4, a row of outputs as many at most; no window is empty or padded, and
its cells follow each other; choices of lanes by a vector of numbers are one instruction (CHOOSES).
"""
from libc.stdint cimport int64_t

from cyconv._kernels.chosen cimport MOST, put, tap
from cyconv._kernels.lanes cimport (
    CHOOSES, apart, ivadd, ivec_t, ivless, ivload, ivselect, ivset, lane_int_t, vload_part, vselect,
)
from cyconv._kernels.rows cimport MAX, SUM, identity, is_max, vboth
from cyconv._kernels.simd cimport VL, inlined, real_t, vec_t, vload, vzero
from cyconv._kernels.windows cimport Block, Geometry, Job, Window, window


cdef struct Columns:
    # of each output: its first column and its last one; the cells of the largest window
    ivec_t first[MOST]
    ivec_t last[MOST]
    int64_t most


cdef inline vec_t _row(const real_t *row, int j, int64_t room) noexcept nogil:
    """Vector j of a row; so many cells of x begin there."""
    if (j + 1) * VL <= room:
        return vload(row + j * VL)
    return vload_part(row + j * VL, 0, <int>max(<int64_t>0, room - j * VL), <real_t>0)


cdef inline inlined _plane(
    int op, int groups, const Columns *columns, const Job *job, const Block *b, const real_t *x, real_t *out
) noexcept nogil:
    """The output rows of a block."""
    cdef const Geometry *g = job.g
    cdef const real_t *row
    cdef vec_t m[MOST]
    cdef vec_t v, c
    cdef ivec_t column
    cdef Window rows
    cdef int64_t r, _k, t, o, room
    cdef int i, j
    for r in range(b.rows):
        rows = window(g, &g.h, b.oh + r)
        row = x + rows.first * g.x_h
        room = job.x + g.x_end - row
        for j in range(groups):
            m[j] = _row(row, j, room)
        for _k in range(1, rows.cells):
            row += g.x_h
            room -= g.x_h
            for j in range(groups):
                m[j] = vboth(op, m[j], _row(row, j, room))
        o = 0
        i = 0
        while o < b.columns:
            v = tap(groups, m, columns.first[i])
            for t in range(1, columns.most):
                column = ivadd(columns.first[i], ivset(<lane_int_t>t))
                if is_max(op):
                    v = vboth(op, v, tap(groups, m, ivselect(ivless(column, columns.last[i]), column, columns.last[i])))
                else:
                    c = tap(groups, m, column)
                    v = vboth(op, v, vselect(ivless(columns.last[i], column), vzero(), c))
            put(out + o, v, b.columns - o)
            o += VL
            i += 1
        out += g.out_h


cdef inline inlined _planes(
    int op, int groups, const Columns *columns, const Job *job, const Block *b, int64_t planes
) noexcept nogil:
    cdef int64_t k
    for k in range(planes):
        _plane(op, groups, columns, job, b, b.x + k * job.g.x_channel, b.out + k * job.g.out_channel)


cdef inline apart uneven_rows(const Job *job, const Block *b, int64_t planes) noexcept nogil:
    """The rows of a block, and of the same block of the channels that follow: so many planes."""
    cdef const Geometry *g = job.g
    cdef lane_int_t first[MOST * VL]
    cdef lane_int_t last[MOST * VL]
    cdef Columns columns
    cdef Window cells
    cdef int64_t o
    cdef int j
    if not CHOOSES:
        return
    columns.most = 1
    for o in range(MOST * VL):
        first[o] = last[o] = 0
        if o < b.columns:
            cells = window(g, &g.w, b.ow + o)
            first[o], last[o] = <lane_int_t>cells.first, <lane_int_t>(cells.first + cells.cells - 1)
            columns.most = max(columns.most, cells.cells)
    for j in range(MOST):
        columns.first[j], columns.last[j] = ivload(first + j * VL), ivload(last + j * VL)
    if is_max(<int>g.op):
        if g.strip == 1:
            _planes(MAX, 1, &columns, job, b, planes)
        elif g.strip == 2:
            _planes(MAX, 2, &columns, job, b, planes)
        else:
            _planes(MAX, MOST, &columns, job, b, planes)
    elif g.strip == 1:
        _planes(SUM, 1, &columns, job, b, planes)
    elif g.strip == 2:
        _planes(SUM, 2, &columns, job, b, planes)
    else:
        _planes(SUM, MOST, &columns, job, b, planes)
