"""Planes of a few vectors' width and windows of T x T cells, T in (5, 7, 9, 11, 13): the row of a result in registers.

    v[c] = o over t < T of x[S oh - above + t, c]               c = -before ... : G vectors
    w[c] = v[c] o v[c + 1] o ... o v[c + T - 1]                  windows of 1, 2, 4, 8 columns by shifts of lanes
    out[oh, i] = w[S i]

Maxima of stride 1 take three operations per row whatever T is (van Herk): rows e ... e + T - 1 of a block are combined
from the last one up, h[j] = row j o ... o row T - 1, and those of the next block from the first one down; the window
that begins at row j is h[j] o what the next block has had before its row j.

Assumptions: before + width <= G VL, so that all columns further right are identities; sums only with T = 5; with
stride 1 a block begins at a multiple of T, so that the order of a window's operations is one of its position only.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport apart, ivec_t, ivlanes, vall_zero, vkeep_nan, vload_part, vselect, vshift, vstore_part
from cyconv._kernels.narrow cimport NEAR, Finish, finish_vector
from cyconv._kernels.rows cimport LARGER, MAX, SUM, identity, is_max, vboth
from cyconv._kernels.simd cimport REAL_IS_FLOAT, VL, inlined, prefetch, real_t, vec_t, vload, vset, vstore, vzero
from cyconv._kernels.strips cimport Strip, strip_of
from cyconv._kernels.windows cimport Block, Geometry, Job

cdef enum:
    MOST_TAPS = 13
    MOST = 4    # vectors of columns


cdef inline inlined _row(
    int op, int groups, vec_t *v, Strip s, const ivec_t *keep, Py_ssize_t r, vec_t *bad
) noexcept nogil:
    """One row; columns beside the plane are identities. With LARGER, ``bad`` becomes NaN where a cell is."""
    cdef const real_t *row = s.first + r * s.step
    cdef Py_ssize_t left = s.before, right = s.before + s.width
    cdef int g
    for g in range(groups):
        prefetch(<const char *>(row + g * VL) + NEAR)
        if r < 0 or r >= s.height:
            v[g] = vset(identity(op))
        elif s.start <= row and row + s.reach <= s.end:
            v[g] = vselect(keep[g], vload(row + g * VL), vset(identity(op)))
        else:
            v[g] = vload_part(
                row + g * VL, <int>min(VL, max(0, left - g * VL)), <int>min(VL, max(0, right - g * VL)), identity(op)
            )
        if op == LARGER:
            bad[g] = vkeep_nan(v[g], bad[g])


cdef inline inlined _shifted(int op, int groups, vec_t *v, const vec_t *w, int n) noexcept nogil:
    """Columns n further right."""
    cdef int g, far = n // VL
    cdef vec_t a, b
    for g in range(groups):
        a = w[g + far] if g + far < groups else vset(identity(op))
        b = w[g + far + 1] if g + far + 1 < groups else vset(identity(op))
        v[g] = vshift(a, b, n % VL) if n % VL > 0 else a


cdef inline inlined _join(int op, int groups, vec_t *v, const vec_t *w, int n) noexcept nogil:
    """v[c] = v[c] o w[c + n]"""
    cdef vec_t far[MOST]
    cdef int g
    _shifted(op, groups, far, w, n)
    for g in range(groups):
        v[g] = vboth(op, v[g], far[g])


cdef inline inlined _across(int op, int taps, int groups, vec_t *v) noexcept nogil:
    """Windows of columns."""
    cdef vec_t one[MOST]
    cdef int g
    for g in range(groups):
        one[g] = v[g]
    _join(op, groups, v, v, 1)
    _join(op, groups, v, v, 2)
    if taps >= 8:
        _join(op, groups, v, v, 4)
        _join(op, groups, v, v, taps - 8)    # windows of maxima may overlap
    elif is_max(op):
        _join(op, groups, v, v, taps - 4)
    else:
        _join(op, groups, v, one, 4)


cdef inline inlined _put(
    int op, int taps, int groups, real_t *dst, vec_t *v, Py_ssize_t outputs, Py_ssize_t stride, Finish how, vec_t *bad,
) noexcept nogil:
    """One output row from its combined rows."""
    cdef int g
    cdef Py_ssize_t i
    cdef real_t line[MOST * VL]
    _across(op, taps, groups, v)
    for g in range(groups):
        if op == SUM:
            finish_vector(op, v + g, how, bad + g)
        if stride > 1:
            vstore(line + g * VL, v[g])
        elif outputs >= (g + 1) * VL:
            vstore(dst + g * VL, v[g])
        elif outputs > g * VL:
            vstore_part(dst + g * VL, v[g], <int>(outputs - g * VL))
    if stride > 1:
        for i in range(outputs):
            dst[i] = line[i * stride]


cdef inline inlined _by_row(
    int op, int taps, int groups, Strip s, const ivec_t *keep, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Py_ssize_t stride, Finish how, vec_t *bad,
) noexcept nogil:
    """Every output row from all of its rows."""
    cdef vec_t v[MOST]
    cdef vec_t x[MOST]
    cdef vec_t y[MOST]
    cdef Py_ssize_t t
    cdef int g
    while rows > 0:
        _row(op, groups, v, s, keep, r, bad)
        for t in range(1, taps, 2):
            _row(op, groups, x, s, keep, r + t, bad)
            _row(op, groups, y, s, keep, r + t + 1, bad)
            for g in range(groups):
                v[g] = vboth(op, v[g], vboth(op, x[g], y[g]))
        _put(op, taps, groups, dst, v, s.outputs, stride, how, bad)
        dst += dst_step
        r += stride
        rows -= 1


cdef inline inlined _by_block(
    int op, int taps, int groups, Strip s, const ivec_t *keep, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Finish how, vec_t *bad,
) noexcept nogil:
    """Output rows of stride 1, T at a time."""
    cdef vec_t kept[MOST_TAPS * MOST]
    cdef vec_t v[MOST]
    cdef vec_t x[MOST]
    cdef Py_ssize_t j
    cdef int g
    while rows > 0:
        for g in range(groups):
            v[g] = x[g] = vset(identity(op))
        for j in range(taps - 1, -1, -1):
            if 0 <= r + j < s.height:
                _row(op, groups, x, s, keep, r + j, bad)
                for g in range(groups):
                    v[g] = vboth(op, v[g], x[g])
            for g in range(groups):
                kept[j * groups + g] = v[g]
        for g in range(groups):
            x[g] = vset(identity(op))
        for j in range(min(rows, taps)):
            for g in range(groups):
                v[g] = vboth(op, kept[j * groups + g], x[g])
            _put(op, taps, groups, dst, v, s.outputs, 1, how, bad)
            dst += dst_step
            if 0 <= r + taps + j < s.height:
                _row(op, groups, v, s, keep, r + taps + j, bad)
                for g in range(groups):
                    x[g] = vboth(op, x[g], v[g])
        r += taps
        rows -= taps


cdef inline inlined _plane(
    int op, int taps, int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows,
    Py_ssize_t stride, Finish how, vec_t *trouble,
) noexcept nogil:
    cdef ivec_t keep[MOST]
    cdef vec_t bad[MOST]
    cdef int g
    for g in range(groups):
        bad[g] = vzero()
        keep[g] = ivlanes(s.before - g * VL, s.before + s.width - g * VL)
    if is_max(op) and stride == 1:
        _by_block(op, taps, groups, s, keep, dst, dst_step, r, rows, how, bad)
    else:
        _by_row(op, taps, groups, s, keep, dst, dst_step, r, rows, stride, how, bad)
    for g in range(groups):
        trouble[0] = trouble[0] + bad[g]


cdef inline inlined _grouped(
    int op, int taps, int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows,
    Py_ssize_t stride, Finish how, vec_t *trouble,
) noexcept nogil:
    if groups == 1:
        _plane(op, taps, 1, s, dst, dst_step, r, rows, stride, how, trouble)
    elif groups == 2:
        _plane(op, taps, 2, s, dst, dst_step, r, rows, stride, how, trouble)
    else:
        _plane(op, taps, 4, s, dst, dst_step, r, rows, stride, how, trouble)


cdef inline apart _maxima(
    int op, int taps, int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows,
    Py_ssize_t stride, Finish how, vec_t *trouble,
) noexcept nogil:
    if taps == 5:
        _grouped(op, 5, groups, s, dst, dst_step, r, rows, stride, how, trouble)
    elif taps == 7:
        _grouped(op, 7, groups, s, dst, dst_step, r, rows, stride, how, trouble)
    elif taps == 9:
        _grouped(op, 9, groups, s, dst, dst_step, r, rows, stride, how, trouble)
    elif taps == 11:
        _grouped(op, 11, groups, s, dst, dst_step, r, rows, stride, how, trouble)
    else:
        _grouped(op, 13, groups, s, dst, dst_step, r, rows, stride, how, trouble)


cdef inline apart _sums(
    int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows, Py_ssize_t stride,
    Finish how, vec_t *trouble,
) noexcept nogil:
    _grouped(SUM, 5, groups, s, dst, dst_step, r, rows, stride, how, trouble)


cdef inline void wide_rows(const Job *job, const Block *b, Finish how, vec_t *trouble) noexcept nogil:
    """The rows of a block; maxima of floats without care for NaN first, and once more with care where there is one."""
    cdef const Geometry *g = job.g
    cdef int groups = <int>g.strip, taps = <int>g.w.taps
    cdef int64_t stride = g.w.stride, r = b.oh * g.h.stride - g.h.before
    cdef Strip s = strip_of(job, b, groups, 0)
    cdef vec_t bad = vzero()
    if not is_max(<int>g.op):
        _sums(groups, s, b.out, g.out_h, r, b.rows, stride, how, trouble)
        return
    if REAL_IS_FLOAT:
        _maxima(LARGER, taps, groups, s, b.out, g.out_h, r, b.rows, stride, how, &bad)
        if vall_zero(bad):   # nothing but NaN is ever added
            return
    _maxima(MAX, taps, groups, s, b.out, g.out_h, r, b.rows, stride, how, &bad)
