"""Planes of a few vectors' width: windows of T x T cells, S apart, the rows that two windows share kept in registers.

    m[c] = o over t < T of x[S oh - above + t, c]           c = -before ... : V S vectors, and one more if ``extra``
    out[oh, i] = m[S i] o ... o m[S i + T - 1]              i < outputs <= V VL

Each row is loaded once, T - S rows are kept from window to window. Rows that lie outside of the plane are identities,
and so are columns, by a choice of lanes of m; vectors read what lies beside a row where that is in x, too.

Assumptions: S in (1, 2), T in (2, 3); before < T.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport apart, ivec_t, ivlanes, vload_part, vselect, vshift, vstore_part
from cyconv._kernels.narrow cimport FAR, FAR_OUT, Finish, finish_vector
from cyconv._kernels.rows cimport MAX, SUM, identity, is_max, vboth
from cyconv._kernels.simd cimport (
    VL, inlined, prefetch_far, prefetch_write, real_t, vec_t, vevery_second, vload, vset, vstore, vzero,
)
from cyconv._kernels.windows cimport Block, Geometry, Job

cdef enum:
    WIDEST = 4                # vectors of outputs
    GROUPS = 2 * WIDEST + 1   # vectors of columns


cdef struct Strip:
    # Column ``-before`` of row r < height is at first + r * step; vectors may read from ``start`` to before ``end``.
    const real_t *first
    const real_t *start
    const real_t *end
    Py_ssize_t step, height, width, before, reach, outputs
    bint padded, extra, ahead


cdef inline inlined load_row(int op, int groups, bint extra, vec_t *v, const Strip *s, Py_ssize_t r) noexcept nogil:
    """The columns of one row."""
    cdef const real_t *row = s.first + r * s.step
    cdef Py_ssize_t left = s.before, right = s.before + s.width
    cdef int g
    if r < 0 or r >= s.height:
        for g in range(groups + extra):
            v[g] = vset(identity(op))
    elif s.start <= row and row + s.reach <= s.end:
        for g in range(groups + extra):
            if s.ahead:
                prefetch_far(<const char *>(row + g * VL) + FAR)
            v[g] = vload(row + g * VL)
    else:
        for g in range(groups + extra):
            v[g] = vload_part(
                row + g * VL, <int>min(VL, max(0, left - g * VL)), <int>min(VL, max(0, right - g * VL)), identity(op)
            )


cdef inline inlined _row(int op, int groups, vec_t *v, const Strip *s, Py_ssize_t r) noexcept nogil:
    if s.extra:
        load_row(op, groups, True, v, s, r)
    else:
        load_row(op, groups, False, v, s, r)
        v[groups] = vzero()


cdef inline inlined _window(int op, int stride, int taps, vec_t *x, vec_t *m) noexcept nogil:
    """The rows of a window, one vector of columns; those that the next window has too move up."""
    cdef int t
    m[0] = vboth(op, x[0], x[GROUPS])
    if taps == 3:
        m[0] = vboth(op, m[0], x[2 * GROUPS])
    for t in range(taps - stride):
        x[t * GROUPS] = x[(t + stride) * GROUPS]


cdef inline inlined _strip(
    int op, int stride, int taps, int vectors, const Strip *s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Finish how, vec_t *trouble,
) noexcept nogil:
    """Output rows, the first of them from row r on."""
    cdef vec_t x[3 * GROUPS]
    cdef vec_t m[GROUPS]
    cdef vec_t even[WIDEST + 1]
    cdef vec_t bad[WIDEST]  # each its own chain of additions
    cdef vec_t v
    cdef ivec_t keep[GROUPS]
    cdef int t, g, groups = stride * vectors, tail = <int>(s.outputs - (vectors - 1) * VL)
    cdef real_t *end = dst + (rows - 1) * dst_step + s.outputs if dst_step == s.outputs else dst
    for g in range(vectors):
        bad[g] = vzero()
    m[groups] = vset(identity(op))
    for g in range(groups + 1):
        keep[g] = ivlanes(s.before - g * VL, s.before + s.width - g * VL)
    for t in range(taps - stride):
        _row(op, groups, x + t * GROUPS, s, r + t)
    r += taps - stride
    while rows > 0:
        for t in range(stride):
            _row(op, groups, x + (taps - stride + t) * GROUPS, s, r + t)
        for g in range(groups):
            _window(op, stride, taps, x + g, m + g)
        if s.extra:
            _window(op, stride, taps, x + groups, m + groups)
        if s.padded:
            for g in range(groups):
                m[g] = vselect(keep[g], m[g], vset(identity(op)))
            if s.extra:
                m[groups] = vselect(keep[groups], m[groups], vset(identity(op)))
        if stride == 2 and taps == 3:
            for g in range(vectors):
                even[g] = vevery_second(m[2 * g], m[2 * g + 1], 0)
            even[vectors] = m[groups]  # its first lane, the only one of it that counts
        for g in range(vectors):
            if stride == 1:
                v = vboth(op, m[g], vshift(m[g], m[g + 1], 1))
                if taps == 3:
                    v = vboth(op, v, vshift(m[g], m[g + 1], 2))
            else:
                v = vevery_second(m[2 * g], m[2 * g + 1], 1)
                if taps == 3:
                    v = vboth(op, vboth(op, even[g], v), vshift(even[g], even[g + 1], 1))
                else:
                    v = vboth(op, vevery_second(m[2 * g], m[2 * g + 1], 0), v)
            finish_vector(op, &v, how, bad + g)
            if s.ahead:
                prefetch_write(<const char *>(dst + g * VL) + FAR_OUT)
            if g < vectors - 1 or dst + vectors * VL <= end:
                vstore(dst + g * VL, v)   # over what the next rows will be
            elif tail == VL:
                vstore(dst + g * VL, v)
            else:
                vstore_part(dst + g * VL, v, tail)
        r += stride
        dst += dst_step
        rows -= 1
    for g in range(vectors):
        trouble[0] = trouble[0] + bad[g]


cdef inline inlined _strips(
    int op, int stride, int taps, int vectors, const Strip *s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Finish how, vec_t *trouble,
) noexcept nogil:
    if vectors == 1:
        _strip(op, stride, taps, 1, s, dst, dst_step, r, rows, how, trouble)
    elif vectors == 2:
        _strip(op, stride, taps, 2, s, dst, dst_step, r, rows, how, trouble)
    elif vectors == 3:
        _strip(op, stride, taps, 3, s, dst, dst_step, r, rows, how, trouble)
    else:
        _strip(op, stride, taps, 4, s, dst, dst_step, r, rows, how, trouble)


cdef inline Strip strip_of(const Job *job, const Block *b, int64_t groups, int64_t needed) noexcept nogil:
    """A block that needs so many columns, where rows are read ``groups`` vectors at a time."""
    cdef const Geometry *g = job.g
    cdef Strip s
    s.first = b.x - g.w.before
    s.start = job.x
    s.end = job.x + g.x_end
    s.step, s.height, s.width, s.before, s.outputs = g.x_h, g.h.size, g.w.size, g.w.before, b.columns
    s.extra = needed > groups * VL
    s.reach = (groups + s.extra) * VL
    s.padded = g.w.before > 0 or needed > g.w.before + g.w.size
    s.ahead = g.ahead
    return s


cdef inline apart strip_rows(const Job *job, const Block *b, Finish how, vec_t *trouble) noexcept nogil:
    """The rows of a block."""
    cdef const Geometry *g = job.g
    cdef int op = <int>g.op, vectors = <int>g.strip, stride = <int>g.w.stride, taps = <int>g.w.taps
    cdef int64_t r = b.oh * stride - g.h.before
    cdef Strip s = strip_of(job, b, stride * vectors, (b.columns - 1) * stride + taps)
    if is_max(op):
        if stride == 1 and taps == 2:
            _strips(MAX, 1, 2, vectors, &s, b.out, g.out_h, r, b.rows, how, trouble)
        elif stride == 1:
            _strips(MAX, 1, 3, vectors, &s, b.out, g.out_h, r, b.rows, how, trouble)
        elif taps == 2:
            _strips(MAX, 2, 2, vectors, &s, b.out, g.out_h, r, b.rows, how, trouble)
        else:
            _strips(MAX, 2, 3, vectors, &s, b.out, g.out_h, r, b.rows, how, trouble)
    elif stride == 1 and taps == 2:
        _strips(SUM, 1, 2, vectors, &s, b.out, g.out_h, r, b.rows, how, trouble)
    elif stride == 1:
        _strips(SUM, 1, 3, vectors, &s, b.out, g.out_h, r, b.rows, how, trouble)
    elif taps == 2:
        _strips(SUM, 2, 2, vectors, &s, b.out, g.out_h, r, b.rows, how, trouble)
    else:
        _strips(SUM, 2, 3, vectors, &s, b.out, g.out_h, r, b.rows, how, trouble)
