"""Planes of a few vectors' width, any stride: rows are combined in registers, windows of columns by choices of lanes.

    m[c] = o over t < T of x[S oh - above + t, c]                   c = -before ... : G vectors
    out[oh, i] = o over t < T' of m[S' i + D' t]                      one choice of lanes per tap, VL outputs at a time

Rows that a window shares with the next one alone are combined once.

Choices go by the last digits of a column's number: lanes that are no output choose some lane or other. Rows are read by
whole vectors, with what lies beside them, where that is in x and no output sees a padded column.

Assumptions: all columns that outputs see are G vectors, G <= 4; the rows of a window follow each other; choices of
lanes by a vector of numbers are one instruction (CHOOSES), and so are loads of a part of a vector.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport (
    CHOOSES, apart, ivadd, ivec_t, ivless, ivscaled, ivset, lane_int_t, vchoose, vload_part, vselect, vstore_part,
)
from cyconv._kernels.narrow cimport NEAR
from cyconv._kernels.rows cimport MAX, SUM, identity, is_max, vboth
from cyconv._kernels.simd cimport VL, inlined, prefetch, real_t, vec_t, vload, vset, vstore
from cyconv._kernels.windows cimport Axis, Block, Geometry, Job

cdef enum:
    MOST = 4    # vectors of columns


cdef struct Plane:
    # Column ``-before`` of row r < height is at first + r * step; ``whole``: all windows lie in
    # the plane, and vectors may be read whole.
    const real_t *first
    Py_ssize_t step, height
    int before, width
    bint whole


cdef inline vec_t _cells(int op, Plane p, const real_t *row, int g) noexcept nogil:
    """Group g of the columns of one row."""
    if p.whole:
        return vload(row + g * VL)
    return vload_part(
        row + g * VL, max(0, min(VL, p.before - g * VL)), max(0, min(VL, p.before + p.width - g * VL)), identity(op)
    )


cdef inline inlined _join(int op, int groups, vec_t *m, Plane p, const real_t *row, int rows) noexcept nogil:
    """m = m o (row o the one below, if there are two rows)"""
    cdef vec_t v
    cdef int g
    for g in range(groups):
        v = _cells(op, p, row, g)
        if rows == 2:
            v = vboth(op, v, _cells(op, p, row + p.step, g))
        m[g] = vboth(op, m[g], v)


cdef inline inlined _down(int op, int taps, int groups, vec_t *m, Plane p, Py_ssize_t r) noexcept nogil:
    """Rows r to r + taps - 1, those that there are; by pairs, since waiting for one another is what rows cost."""
    cdef Py_ssize_t t, stop
    cdef const real_t *row = p.first + r * p.step
    cdef int g
    if p.whole or (r >= 0 and r + taps <= p.height):
        for g in range(groups):
            m[g] = _cells(op, p, row, g)
        for t in range(1, taps - 1, 2):
            _join(op, groups, m, p, row + t * p.step, 2)
        if taps % 2 == 0:
            _join(op, groups, m, p, row + (taps - 1) * p.step, 1)
        return
    stop = min(r + taps, p.height)
    for g in range(groups):
        m[g] = vset(identity(op))
    for t in range(max(r, 0), stop):
        _join(op, groups, m, p, p.first + t * p.step, 1)


cdef inline vec_t _tap(int groups, const vec_t *m, ivec_t column) noexcept nogil:
    """One column for each output."""
    cdef vec_t near = vchoose(m[0], m[1] if groups > 1 else m[0], column)
    if groups <= 2:
        return near
    return vselect(ivless(column, ivset(2 * VL)), near, vchoose(m[2], m[3], column))


cdef inline inlined _across(
    int op, int taps, int groups, vec_t *v, const vec_t *m, ivec_t column, ivec_t step
) noexcept nogil:
    """One vector of outputs: tap 0 of each is one of the columns, tap t is t steps further; by pairs, too."""
    cdef vec_t c
    cdef int _t
    v[0] = _tap(groups, m, column)
    for _t in range(1, taps - 1, 2):
        column = ivadd(column, step)
        c = _tap(groups, m, column)
        column = ivadd(column, step)
        v[0] = vboth(op, v[0], vboth(op, c, _tap(groups, m, column)))
    if taps % 2 == 0:
        v[0] = vboth(op, v[0], _tap(groups, m, ivadd(column, step)))


cdef inline inlined _put(real_t *dst, vec_t v, Py_ssize_t outputs) noexcept nogil:
    if outputs < VL:
        vstore_part(dst, v, <int>outputs)
    else:
        vstore(dst, v)


cdef inline inlined _plane(
    int op, int rows, int stride, int taps, int groups, Plane p, const Geometry *g, const Block *b, real_t *dst
) noexcept nogil:
    """The rows of a block."""
    cdef Py_ssize_t k, t, o, r = b.oh * g.h.stride - g.h.before, step = g.out_h, outputs = g.w.out
    cdef int j
    cdef ivec_t first = ivscaled(0, <lane_int_t>g.w.stride), column
    cdef ivec_t next = ivset(<lane_int_t>(VL * g.w.stride)), dilation = ivset(<lane_int_t>g.w.dilation)
    cdef vec_t kept[MOST]
    cdef vec_t m[MOST]
    cdef vec_t v
    cdef bint shares = stride < rows and rows < 2 * stride
    for j in range(groups):
        kept[j] = vset(identity(op))
    if shares:
        _down(op, rows - stride, groups, kept, p, r)
    for k in range(b.rows):  # no-cython-lint
        for t in range(stride):
            prefetch(<const char *>(p.first + (r + t) * p.step) + NEAR)
        if shares:
            _down(op, 2 * stride - rows, groups, m, p, r + rows - stride)
            for j in range(groups):
                m[j] = vboth(op, kept[j], m[j])
            _down(op, rows - stride, groups, kept, p, r + stride)
            for j in range(groups):
                m[j] = vboth(op, m[j], kept[j])
        else:
            _down(op, rows, groups, m, p, r)
        _across(op, taps, groups, &v, m, first, dilation)
        _put(dst, v, outputs)
        o = VL
        column = first
        while o < outputs:
            column = ivadd(column, next)
            _across(op, taps, groups, &v, m, column, dilation)
            _put(dst + o, v, outputs - o)
            o += VL
        dst += step
        r += stride


cdef inline int64_t _needed(const Axis *a) noexcept nogil:
    """Cells from the first one on that windows see."""
    return (a.out - 1) * a.stride + (a.taps - 1) * a.dilation + 1


cdef inline inlined _planes(
    int op, int rows, int stride, int taps, int groups, const Job *job, const Block *b, int64_t planes
) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t k
    cdef real_t *dst = b.out
    cdef const real_t *end = job.x + g.x_end
    cdef bint padded = g.x_h < 0 or g.w.before > 0 or g.h.before > 0 or _needed(&g.w) > g.w.size or _needed(&g.h) > g.h.size
    cdef Plane p
    p.first = b.x - g.w.before
    p.step, p.height = g.x_h, g.h.size
    p.before, p.width = <int>g.w.before, <int>g.w.size
    for k in range(planes):  # no-cython-lint
        if not padded and p.first + (p.height - 1) * p.step + groups * VL <= end:
            p.whole = True
            _plane(op, rows, stride, taps, groups, p, g, b, dst)
        else:
            p.whole = False
            _plane(op, <int>g.h.taps, <int>g.h.stride, <int>g.w.taps, groups, p, g, b, dst)
        p.first += g.x_channel
        dst += g.out_channel


cdef inline inlined _grouped(
    int op, int rows, int stride, int taps, const Job *job, const Block *b, int64_t planes
) noexcept nogil:
    if job.g.strip == 1:
        _planes(op, rows, stride, taps, 1, job, b, planes)
    elif job.g.strip == 2:
        _planes(op, rows, stride, taps, 2, job, b, planes)
    else:
        _planes(op, rows, stride, taps, 4, job, b, planes)


cdef inline apart chosen_rows(const Job *job, const Block *b, int64_t planes) noexcept nogil:
    """The rows of a block, and of the same block of the channels that follow: so many planes."""
    cdef int rows = <int>job.g.h.taps, stride = <int>job.g.h.stride, taps = <int>job.g.w.taps
    if not CHOOSES:
        return
    if is_max(<int>job.g.op):
        _grouped(MAX, rows, stride, taps, job, b, planes)
    elif rows == 5 and stride == 3 and taps == 5:
        _grouped(SUM, 5, 3, 5, job, b, planes)
    else:
        _grouped(SUM, rows, stride, taps, job, b, planes)
