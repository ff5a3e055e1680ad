"""Planes of a few vectors' width, any stride: rows are combined in registers, windows of columns by choices of lanes.

    m[c] = o over t < T of x[S oh - above + t, c]                   c = -before ... : G vectors
    out[oh, i] = o over t < T' of m[S' i + D' t]                      one choice of lanes per tap, VL outputs at a time

Where windows overlap by some columns (D' = 1, S' + 1 < T' <= 2 S'), taps S' apart are the same columns of neighbouring
outputs, which one shift of lanes brings there, so that S' + 1 choices do for T':

    shared[i] = o over t < T' - S' of m[S' i + t]
    out[oh, i] = shared[i] o (o over T' - S' <= t < S' of m[S' i + t]) o shared[i + 1]        VL - 1 outputs at a time

Rows that a window shares with the next one alone are combined once. A last group of few columns is read by short vectors:
rows that begin anywhere cross a line of the cache with nearly every whole vector, which then counts as two loads.

Choices go by the last digits of a column's number: lanes that are no output choose some lane or other. Rows are read by
whole vectors, with what lies beside them, where that is in x and no output sees a padded column.

Assumptions: all columns that outputs see are G vectors, G <= 4; the rows of a window follow each other; choices of
lanes by a vector of numbers are one instruction (CHOOSES), and so are loads of a part of a vector.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport (
    CHOOSES, SHORT, apart, ivadd, ivec_t, ivless, ivscaled, ivset, lane_int_t, vchoose, vload_part, vload_short, vselect,
    vshift, vstore_part,
)
from cyconv._kernels.narrow cimport NEAR
from cyconv._kernels.rows cimport MAX, SUM, identity, is_max, vboth
from cyconv._kernels.simd cimport VL, hold_pointer, inlined, prefetch, real_t, vec_t, vload, vset, vstore
from cyconv._kernels.windows cimport Axis, Block, Geometry, Job

cdef enum:
    MOST = 4    # vectors of columns


cdef struct Plane:
    # Column ``-before`` of row r < height is at first + r * step; ``whole``: all windows lie in the plane, and vectors
    # may be read whole, but for group ``last``, which is short (or -1).
    const real_t *first
    Py_ssize_t step, height
    int before, width, last
    bint whole


cdef struct Taps:
    # ``few`` taps; of windows that are ``joined`` those which a window shares with the one before it, and ``more`` that
    # it has for itself.
    int few, more
    bint joined


cdef inline vec_t _cells(int op, Plane p, const real_t *row, int g) noexcept nogil:
    """Group g of the columns of one row."""
    if p.whole and g == p.last:
        return vload_short(row + g * VL)
    if p.whole:
        prefetch(<const char *>(row + g * VL) + NEAR)
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


cdef inline inlined _down(
    int op, int taps, int groups, vec_t *m, Plane p, const real_t *row, Py_ssize_t r
) noexcept nogil:
    """Rows r to r + taps - 1, those that there are; by pairs, since waiting for one another is what rows cost."""
    cdef Py_ssize_t t, stop
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


cdef inline vec_t tap(int groups, const vec_t *m, ivec_t column) noexcept nogil:
    """One column for each output."""
    cdef vec_t near = vchoose(m[0], m[1] if groups > 1 else m[0], column)
    if groups <= 2:
        return near
    return vselect(ivless(column, ivset(2 * VL)), near, vchoose(m[2], m[3] if groups > 3 else m[2], column))


cdef inline vec_t _taps(int op, int count, int groups, const vec_t *m, ivec_t column, ivec_t next) noexcept nogil:
    """Tap 0 of each output is one of the columns, tap t is t steps further; by pairs, too."""
    cdef vec_t v = tap(groups, m, column), c
    cdef int _t
    for _t in range(1, count - 1, 2):
        column = ivadd(column, next)
        c = tap(groups, m, column)
        column = ivadd(column, next)
        v = vboth(op, v, vboth(op, c, tap(groups, m, column)))
    if count % 2 == 0:
        v = vboth(op, v, tap(groups, m, ivadd(column, next)))
    return v


cdef inline inlined _across(
    int op, Taps taps, int groups, vec_t *v, const vec_t *m, ivec_t column, ivec_t step, ivec_t behind
) noexcept nogil:
    """One vector of outputs, that begin with these columns; ``behind``: how far the taps are that it has for itself."""
    cdef vec_t next
    v[0] = _taps(op, taps.few, groups, m, column, step)
    if taps.joined:
        next = vshift(v[0], v[0], 1)
        if taps.more > 0:
            v[0] = vboth(op, v[0], _taps(op, taps.more, groups, m, ivadd(column, behind), step))
        v[0] = vboth(op, v[0], next)


cdef inline inlined put(real_t *dst, vec_t v, Py_ssize_t outputs) noexcept nogil:
    if outputs < VL:
        vstore_part(dst, v, <int>outputs)
    else:
        vstore(dst, v)


cdef inline Taps _taps_of(const Axis *a) noexcept nogil:
    cdef Taps t
    t.few, t.more = <int>a.taps, 0
    t.joined = a.dilation == 1 and a.stride + 1 < a.taps <= 2 * a.stride
    if t.joined:
        t.few = <int>(a.taps - a.stride)
        t.more = <int>(2 * a.stride - a.taps)
    return t


cdef struct Across:
    # What is alike for all rows: numbers of the columns that outputs begin with, what the next vector of outputs adds to
    # them, and so on; cells of out from row to row, outputs of a row and of a vector.
    ivec_t first, next, dilation, behind
    Taps taps
    Py_ssize_t step, outputs, many


cdef inline Across _across_of(const Geometry *g, Taps taps) noexcept nogil:
    cdef Across a
    a.taps, a.step, a.outputs = taps, g.out_h, g.w.out
    a.many = VL - 1 if taps.joined else VL
    a.first = ivscaled(0, <lane_int_t>g.w.stride)
    a.next = ivset(<lane_int_t>(a.many * g.w.stride))
    a.dilation = ivset(<lane_int_t>g.w.dilation)
    a.behind = ivset(<lane_int_t>taps.few)
    return a


cdef inline inlined _plane(
    int op, int rows, int stride, int groups, Plane p, Across a, const real_t *row, Py_ssize_t r, real_t *dst,
    Py_ssize_t count
) noexcept nogil:
    """So many output rows, the first one from ``row`` on, which is row r."""
    cdef Py_ssize_t o
    cdef int j
    cdef ivec_t column
    cdef vec_t kept[MOST]
    cdef vec_t m[MOST]
    cdef vec_t v
    cdef bint shares = stride < rows and rows < 2 * stride
    for j in range(groups):
        kept[j] = vset(identity(op))
    if shares:
        _down(op, rows - stride, groups, kept, p, row, r)
    while count > 0:
        row = hold_pointer(row)
        if shares:
            _down(op, 2 * stride - rows, groups, m, p, row + (rows - stride) * p.step, r + rows - stride)
            for j in range(groups):
                m[j] = vboth(op, kept[j], m[j])
            _down(op, rows - stride, groups, kept, p, row + stride * p.step, r + stride)
            for j in range(groups):
                m[j] = vboth(op, m[j], kept[j])
        else:
            _down(op, rows, groups, m, p, row, r)
        _across(op, a.taps, groups, &v, m, a.first, a.dilation, a.behind)
        put(dst, v, a.outputs)
        if groups > 2:   # else outputs, at least two columns apart, fit in one vector
            o = a.many
            column = a.first
            while o < a.outputs:
                column = ivadd(column, a.next)
                _across(op, a.taps, groups, &v, m, column, a.dilation, a.behind)
                put(dst + o, v, a.outputs - o)
                o += a.many
        dst += a.step
        row += stride * p.step
        r += stride
        count -= 1


cdef inline inlined _cared(
    int op, int groups, Plane p, const Geometry *g, Py_ssize_t r, real_t *dst, Py_ssize_t count, int64_t planes
) noexcept nogil:
    cdef Across a = _across_of(g, _taps_of(&g.w))
    cdef int64_t k
    p.whole = False
    for k in range(planes):  # no-cython-lint
        _plane(op, <int>g.h.taps, <int>g.h.stride, groups, p, a, p.first + r * p.step, r, dst, count)
        p.first += g.x_channel
        dst += g.out_channel


cdef inline apart _careful(
    Plane p, const Geometry *g, Py_ssize_t r, real_t *dst, Py_ssize_t count, int64_t planes
) noexcept nogil:
    """Rows of windows that may reach beyond their plane, or of vectors that may reach beyond x."""
    if is_max(<int>g.op):
        if g.strip == 1:
            _cared(MAX, 1, p, g, r, dst, count, planes)
        elif g.strip == 2:
            _cared(MAX, 2, p, g, r, dst, count, planes)
        else:
            _cared(MAX, MOST, p, g, r, dst, count, planes)
    elif g.strip == 1:
        _cared(SUM, 1, p, g, r, dst, count, planes)
    elif g.strip == 2:
        _cared(SUM, 2, p, g, r, dst, count, planes)
    else:
        _cared(SUM, MOST, p, g, r, dst, count, planes)


cdef inline int64_t _needed(const Axis *a) noexcept nogil:
    """Cells from the first one on that windows see."""
    return (a.out - 1) * a.stride + (a.taps - 1) * a.dilation + 1


cdef inline inlined _planes(
    int op, int rows, int stride, Taps taps, int groups, bint short, Plane p, const Job *job, const Block *b, int64_t r,
    int64_t planes
) noexcept nogil:
    """Planes whose windows lie in them: all rows that can be read by whole vectors.

    As many planes as are alike at a time: around a call, a loop over them would keep nothing in registers.
    """
    cdef const Geometry *g = job.g
    cdef Across a = _across_of(g, taps)
    cdef const real_t *row
    cdef real_t *dst = b.out
    cdef int64_t k, many, count, room, x_step = g.x_channel, dst_step = g.out_channel
    cdef int64_t last = (r + (b.rows - 1) * stride + rows - 1) * p.step
    p.last = groups - 1 if short else -1
    p.whole = True
    while planes > 0:
        many, count = 1, b.rows
        room = job.x + g.x_end - (groups * VL - (VL - SHORT if short else 0)) - p.first - last
        if room >= 0:
            many = min(planes, room // x_step + 1) if x_step > 0 else planes
        while room < 0 and count > 0:
            room += stride * p.step
            count -= 1
        if count < b.rows:
            _careful(p, g, r + count * stride, dst + count * a.step, b.rows - count, 1)
        row = p.first + r * p.step
        for k in range(many if count > 0 else 0):
            _plane(op, rows, stride, groups, p, a, row + k * x_step, r, dst + k * dst_step, count)
        p.first += many * x_step
        dst += many * dst_step
        planes -= many


cdef inline inlined _grouped(
    int op, int rows, int stride, Taps taps, Plane p, const Job *job, const Block *b, int64_t r, int64_t planes
) noexcept nogil:
    cdef int64_t groups = job.g.strip
    cdef bint short = _needed(&job.g.w) <= (groups - 1) * VL + SHORT
    if groups == 1:
        _planes(op, rows, stride, taps, 1, False, p, job, b, r, planes)
    elif groups == 2 and short:
        _planes(op, rows, stride, taps, 2, True, p, job, b, r, planes)
    elif groups == 2:
        _planes(op, rows, stride, taps, 2, False, p, job, b, r, planes)
    elif groups == 3 and short:
        _planes(op, rows, stride, taps, 3, True, p, job, b, r, planes)
    else:
        _planes(op, rows, stride, taps, MOST, False, p, job, b, r, planes)


cdef inline apart chosen_rows(const Job *job, const Block *b, int64_t planes) noexcept nogil:
    """The rows of a block, and of the same block of the channels that follow: so many planes."""
    cdef const Geometry *g = job.g
    cdef int rows = <int>g.h.taps, stride = <int>g.h.stride
    cdef int64_t r = b.oh * stride - g.h.before
    cdef bint padded = g.x_h < 0 or g.w.before > 0 or g.h.before > 0 or _needed(&g.w) > g.w.size or _needed(&g.h) > g.h.size
    cdef Plane p
    cdef Taps taps
    if not CHOOSES:
        return
    p.first = b.x - g.w.before
    p.step, p.height = g.x_h, g.h.size
    p.before, p.width = <int>g.w.before, <int>g.w.size
    taps = _taps_of(&g.w)
    if padded:
        _careful(p, g, r, b.out, b.rows, planes)
    elif is_max(<int>g.op):
        _grouped(MAX, rows, stride, taps, p, job, b, r, planes)
    elif rows == 5 and stride == 3 and taps.joined and taps.few == 2 and taps.more == 1:
        taps.few, taps.more, taps.joined = 2, 1, True
        _grouped(SUM, 5, 3, taps, p, job, b, r, planes)
    else:
        _grouped(SUM, rows, stride, taps, p, job, b, r, planes)
