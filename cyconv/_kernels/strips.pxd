"""Planes of a few vectors' width: windows of T x T cells, S apart, the rows that two windows share kept in registers.

    m[c] = o over t < T of x[S oh - above + t, c]           c = -before ... : V S vectors, and one more if ``extra``
    out[oh, i] = m[S i] o ... o m[S i + T - 1]              i < outputs <= V VL

Each row is loaded once, T - S rows are kept from window to window. Rows that lie outside of the plane are identities,
and so are columns, by a choice of lanes of m. Vectors read what lies beside a row: rows where that is not in x are left alone.

Assumptions: S in (1, 2), T in (2, 3); before < T; rows follow each other upwards in memory.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport (
    apart, clean_t, ivec_t, ivlanes, vclean, vis_clean, vselect, vshift, vstill_clean, vstore_part,
)
from cyconv._kernels.narrow cimport FAR, FAR_OUT, NEAR, Finish, finish_vector
from cyconv._kernels.rows cimport LARGER, SUM, identity, is_max, vboth
from cyconv._kernels.simd cimport (
    VL, inlined, prefetch, prefetch_far, prefetch_write, real_t, vec_t, vevery_second, vload, vset, vstore,
    vzero,
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


cdef inline inlined _load(int op, int groups, vec_t *v, Strip s, Py_ssize_t r) noexcept nogil:
    """The columns of one row."""
    cdef const real_t *row = s.first + r * s.step
    cdef int g
    if r < 0 or r >= s.height:
        for g in range(groups):
            v[g] = vset(identity(op))
    else:
        for g in range(groups):
            if s.ahead:
                prefetch_far(<const char *>(row + g * VL) + FAR)
            else:
                prefetch(<const char *>(row + g * VL) + NEAR)
            v[g] = vload(row + g * VL)


cdef struct Clean:
    # Whether there was no NaN; two, since comparisons wait for each other.
    clean_t even, odd


cdef inline inlined _row(int op, int groups, vec_t *v, Strip s, Py_ssize_t r, Clean *clean) noexcept nogil:
    """The same with the vector beyond; where op is LARGER, ``clean`` tells of a NaN."""
    cdef int g
    if s.extra:
        _load(op, groups + 1, v, s, r)
    else:
        _load(op, groups, v, s, r)
        v[groups] = vzero()
    if op == LARGER:
        for g in range(0, groups, 4):
            clean.even = vstill_clean(clean.even, v[g], v[g + 1] if g + 1 < groups else v[g])
            if g + 2 < groups:
                clean.odd = vstill_clean(clean.odd, v[g + 2], v[g + 3] if g + 3 < groups else v[g + 2])
        if s.extra:
            clean.odd = vstill_clean(clean.odd, v[groups], v[groups])


cdef inline inlined _window(int op, int stride, int taps, vec_t *a, vec_t *b, vec_t *c, vec_t *m) noexcept nogil:
    """The rows a, b, c of a window, one vector of columns; those that the next window has too move up."""
    m[0] = vboth(op, a[0], b[0])
    if taps == 3:
        m[0] = vboth(op, m[0], c[0])
    if taps == 3 and stride == 1:
        a[0] = b[0]
        b[0] = c[0]
    elif taps == 3:
        a[0] = c[0]
    elif stride == 1:
        a[0] = b[0]


cdef inline inlined _strip(
    int op, int stride, int taps, int vectors, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Finish how, vec_t *trouble, bint *clean,
) noexcept nogil:
    """Output rows, the first of them from row r on; ``clean`` becomes false where LARGER met a NaN."""
    cdef vec_t a[GROUPS]
    cdef vec_t b[GROUPS]
    cdef vec_t c[GROUPS]
    cdef vec_t m[GROUPS]
    cdef vec_t even[WIDEST + 1]
    cdef vec_t bad[WIDEST]  # each its own chain of additions
    cdef vec_t v
    cdef ivec_t keep[GROUPS]
    cdef Clean seen
    cdef int g, groups = stride * vectors, tail = <int>(s.outputs - (vectors - 1) * VL)
    cdef real_t *end = dst + (rows - 1) * dst_step + s.outputs if dst_step == s.outputs else dst
    for g in range(vectors):
        bad[g] = vzero()
    m[groups] = vset(identity(op))
    for g in range(groups + 1):
        keep[g] = ivlanes(s.before - g * VL, s.before + s.width - g * VL)
    seen.even = seen.odd = vclean()
    if taps > stride:
        _row(op, groups, a, s, r, &seen)
    if taps - stride == 2:
        _row(op, groups, b, s, r + 1, &seen)
    r += taps - stride
    while rows > 0:
        if taps == 2 and stride == 2:
            _row(op, groups, a, s, r, &seen)
        if taps == 2:
            _row(op, groups, b, s, r + stride - 1, &seen)
        elif stride == 2:
            _row(op, groups, b, s, r, &seen)
        if taps == 3:
            _row(op, groups, c, s, r + stride - 1, &seen)
        for g in range(groups):
            _window(op, stride, taps, a + g, b + g, c + g, m + g)
        if s.extra:
            _window(op, stride, taps, a + groups, b + groups, c + groups, m + groups)
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
    clean[0] = clean[0] and vis_clean(seen.even) and vis_clean(seen.odd)


cdef inline inlined _strips(
    int op, int stride, int taps, int vectors, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Finish how, vec_t *trouble, bint *clean,
) noexcept nogil:
    if vectors == 1:
        _strip(op, stride, taps, 1, s, dst, dst_step, r, rows, how, trouble, clean)
    elif vectors == 2:
        _strip(op, stride, taps, 2, s, dst, dst_step, r, rows, how, trouble, clean)
    elif vectors == 3:
        _strip(op, stride, taps, 3, s, dst, dst_step, r, rows, how, trouble, clean)
    else:
        _strip(op, stride, taps, 4, s, dst, dst_step, r, rows, how, trouble, clean)


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


cdef inline void whole_rows(
    const Strip *s, int64_t r, int64_t rows, int64_t unit, int64_t step, int64_t span, int64_t *begin, int64_t *stop
) noexcept nogil:
    """Which of the output rows read nothing beside x, [begin, stop): every ``unit`` of them reads ``span`` rows, the first
    ones from row r on, the next ones ``step`` further."""
    cdef const real_t *last = s.first + (s.height - 1) * s.step
    cdef int64_t pitch = s.step if s.step > 0 else -s.step
    cdef int64_t above = s.start - s.first if s.step > 0 else s.first + s.reach - s.end
    cdef int64_t below = last + s.reach - s.end if s.step > 0 else s.start - last
    begin[0], stop[0] = 0, rows
    if above > 0:   # so far do the first rows of the plane reach beyond x
        above = (above - 1) // pitch + 1 if pitch > 0 else s.height
        if above > r:
            begin[0] = min(rows, ((above - r - 1) // step + 1) * unit)
    if below > 0:   # and so far the last ones
        below = s.height - 1 - (below - 1) // pitch if pitch > 0 else 0
        stop[0] = max(begin[0], min(rows, (below - span - r) // step * unit + unit) if below - span >= r else 0)


cdef inline apart _of_kind(
    int op, int stride, int taps, int vectors, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Finish how, vec_t *trouble, bint *clean,
) noexcept nogil:
    if is_max(op):
        if stride == 1 and taps == 2:
            _strips(LARGER, 1, 2, vectors, s, dst, dst_step, r, rows, how, trouble, clean)
        elif stride == 1:
            _strips(LARGER, 1, 3, vectors, s, dst, dst_step, r, rows, how, trouble, clean)
        elif taps == 2:
            _strips(LARGER, 2, 2, vectors, s, dst, dst_step, r, rows, how, trouble, clean)
        else:
            _strips(LARGER, 2, 3, vectors, s, dst, dst_step, r, rows, how, trouble, clean)
    elif stride == 1 and taps == 2:
        _strips(SUM, 1, 2, vectors, s, dst, dst_step, r, rows, how, trouble, clean)
    elif stride == 1:
        _strips(SUM, 1, 3, vectors, s, dst, dst_step, r, rows, how, trouble, clean)
    elif taps == 2:
        _strips(SUM, 2, 2, vectors, s, dst, dst_step, r, rows, how, trouble, clean)
    else:
        _strips(SUM, 2, 3, vectors, s, dst, dst_step, r, rows, how, trouble, clean)


cdef inline bint strip_rows(
    const Job *job, const Block *b, int64_t *begin, int64_t *stop, Finish how, vec_t *trouble
) noexcept nogil:
    """Rows [begin, stop) of a block: those whose vectors all lie in x. False if a maximum met a NaN, which it lost."""
    cdef const Geometry *g = job.g
    cdef int vectors = <int>g.strip, stride = <int>g.w.stride, taps = <int>g.w.taps
    cdef Strip s = strip_of(job, b, stride * vectors, (b.columns - 1) * stride + taps)
    cdef int64_t r = b.oh * stride - g.h.before
    cdef bint clean = True
    whole_rows(&s, r, b.rows, 1, stride, taps, begin, stop)
    if stop[0] > begin[0]:
        _of_kind(
            <int>g.op, stride, taps, vectors, s, b.out + begin[0] * g.out_h, g.out_h, r + begin[0] * stride,
            stop[0] - begin[0], how, trouble, &clean,
        )
    return clean
