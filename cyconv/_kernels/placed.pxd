"""Maxima of 2 or 3 columns, one or two columns apart, with the place where they were found, in registers.

    for each vector of outputs: cells of their windows by rows, then by columns; one that beats the largest so far replaces it

Cells come in the order of the flat index, so that of equal ones the first stays. Columns beside the row are the lowest
value, which beats nothing; where nothing beats it, the place is found afterwards.

Assumptions: columns lie side by side, their windows without dilation; flat indices fit in the lanes of the scalar type.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport (
    apart, ivadd, ivec_t, ivnegative, ivscaled, ivset, ivstore, lane_int_t, lowest, vload_part, vstore_part, vtake,
)
from cyconv._kernels.narrow cimport NEAR
from cyconv._kernels.simd cimport VL, inlined, prefetch, real_t, vec_t, vevery_second, vload, vset, vstore
from cyconv._kernels.windows cimport Block, Geometry, Job, Window, window


cdef inline vec_t _cells(int stride, const real_t *row, Py_ssize_t column, Py_ssize_t width, bint clean) noexcept nogil:
    """A vector of columns from one on; ``clean``: they all lie in the row."""
    cdef vec_t a
    cdef Py_ssize_t next = column + VL
    if clean:
        a = vload(row + column)
        return vevery_second(a, vload(row + next), 0) if stride == 2 else a
    a = vload_part(row + column, <int>min(VL, max(0, -column)), <int>max(0, min(VL, width - column)), lowest())
    if stride == 1:
        return a
    return vevery_second(
        a, vload_part(row + next, <int>min(VL, max(0, -next)), <int>max(0, min(VL, width - next)), lowest()), 0
    )


cdef inline inlined _outputs(
    int stride, int taps, const Job *job, const real_t *x, Window rows_d, Window rows_h, Py_ssize_t column, bint clean,
    vec_t *value, ivec_t *place,
) noexcept nogil:
    """One vector of outputs; the first tap of the first one is ``column``."""
    cdef const Geometry *g = job.g
    cdef Py_ssize_t d, h, width = g.w.size
    cdef int64_t flat
    cdef int t
    cdef const real_t *row
    cdef ivec_t first = ivscaled(<lane_int_t>(column * g.index_w), <lane_int_t>(stride * g.index_w))
    value[0] = vset(lowest())
    place[0] = ivset(-1)
    for d in range(rows_d.cells):
        for h in range(rows_h.cells):
            row = x + (rows_d.first + d * g.d.dilation) * g.x_d + (rows_h.first + h * g.h.dilation) * g.x_h
            flat = (rows_d.first + d * g.d.dilation) * g.index_d + (rows_h.first + h * g.h.dilation) * g.index_h
            prefetch(<const char *>(row + column) + NEAR)
            for t in range(taps):
                vtake(
                    value, place, _cells(stride, row, column + t, width, clean),
                    ivadd(first, ivset(<lane_int_t>(flat + t * g.index_w))),
                )


cdef inline apart _lowest(
    const Geometry *g, Window rows_d, Window rows_h, Py_ssize_t i, Py_ssize_t many, int64_t *index
) noexcept nogil:
    """Places of outputs that nothing beat, from output i of a row on: the first cells of their windows, if they have any."""
    cdef Py_ssize_t l
    cdef Window columns
    for l in range(many):
        if index[l] < 0:
            columns = window(g, &g.w, i + l)
            if rows_d.cells * rows_h.cells * columns.cells > 0:
                index[l] = rows_d.first * g.index_d + rows_h.first * g.index_h + columns.first * g.index_w


cdef inline inlined _rows(int stride, int taps, const Job *job, const Block *b) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef Window rows_d = window(g, &g.d, b.od), rows_h
    cdef Py_ssize_t r, i, l, column, many
    cdef real_t *out
    cdef int64_t *index
    cdef lane_int_t places[VL]
    cdef vec_t v
    cdef ivec_t p
    for r in range(b.rows):
        rows_h = window(g, &g.h, b.oh + r)
        out = b.out + r * g.out_h
        index = job.indices + (out - job.out)
        i = 0
        while i < b.columns:
            column = i * stride - g.w.before
            many = min(VL, b.columns - i)
            if column >= 0 and column + taps - 1 + stride * VL <= g.w.size:
                _outputs(stride, taps, job, b.x, rows_d, rows_h, column, True, &v, &p)
            else:
                _outputs(stride, taps, job, b.x, rows_d, rows_h, column, False, &v, &p)
            ivstore(places, p)
            if many == VL:
                vstore(out + i, v)
                for l in range(VL):
                    index[i + l] = places[l]
            else:
                vstore_part(out + i, v, <int>many)
                for l in range(many):
                    index[i + l] = places[l]
            if ivnegative(p, <int>many):
                _lowest(g, rows_d, rows_h, i, many, index + i)
            i += VL


cdef inline apart placed_rows(const Job *job, const Block *b) noexcept nogil:
    """The rows of a block that is as wide as the plane."""
    if job.g.w.stride == 1 and job.g.w.taps == 2:
        _rows(1, 2, job, b)
    elif job.g.w.stride == 1:
        _rows(1, 3, job, b)
    elif job.g.w.taps == 2:
        _rows(2, 2, job, b)
    else:
        _rows(2, 3, job, b)
