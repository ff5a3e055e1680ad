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

from cyconv._kernels.lanes cimport (
    apart, clean_t, ivec_t, ivlanes, vall_zero, vclean, vis_clean, vload_part, vselect, vshift, vstill_clean, vstore_part,
)
from cyconv._kernels.narrow cimport NEAR, Finish, finish_vector
from cyconv._kernels.rows cimport LARGER, MAX, SUM, identity, is_max, vboth
from cyconv._kernels.simd cimport REAL_IS_FLOAT, VL, inlined, prefetch, real_t, vec_t, vload, vset, vstore, vzero
from cyconv._kernels.strips cimport Strip, strip_of, whole_rows
from cyconv._kernels.windows cimport Block, Geometry, Job

cdef enum:
    MOST_TAPS = 13
    MOST = 4    # vectors of columns


cdef inline inlined _row(
    int op, bint careful, bint inside, int groups, vec_t *v, Strip s, const ivec_t *keep, Py_ssize_t r, clean_t *clean
) noexcept nogil:
    """One row; what lies beside the plane are identities. With LARGER, ``clean`` tells of a NaN.

    ``careful``: nothing beside the plane is read; ``inside``: the row is in the plane.
    """
    cdef const real_t *row = s.first + r * s.step
    cdef Py_ssize_t left = s.before, right = s.before + s.width
    cdef int g
    for g in range(groups):
        prefetch(<const char *>(row + g * VL) + NEAR)
        if not inside and (r < 0 or r >= s.height):
            v[g] = vset(identity(op))
        elif careful:
            v[g] = vload_part(
                row + g * VL, <int>min(VL, max(0, left - g * VL)), <int>min(VL, max(0, right - g * VL)), identity(op)
            )
        else:
            v[g] = vselect(keep[g], vload(row + g * VL), vset(identity(op)))
    if op == LARGER:
        for g in range(0, groups, 2):
            clean[0] = vstill_clean(clean[0], v[g], v[g + 1] if g + 1 < groups else v[g])


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
    if not is_max(op):
        _join(op, groups, v, one, 4)
        return
    if taps >= 8:
        _join(op, groups, v, v, 4)
        taps -= 4
    taps -= 4                          # what is left may be less than a window: those of maxima may overlap
    if taps == 1:
        _join(op, groups, v, v, 1)
    elif taps == 3:
        _join(op, groups, v, v, 3)
    else:
        _join(op, groups, v, v, 5)


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
    int op, bint careful, int taps, int groups, Strip s, const ivec_t *keep, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t high, Finish how, vec_t *bad, clean_t *clean,
) noexcept nogil:
    """Every output row from all of its rows."""
    cdef vec_t v[MOST]
    cdef vec_t x[MOST]
    cdef vec_t y[MOST]
    cdef Py_ssize_t t
    cdef int g
    while rows > 0:
        _row(op, careful, False, groups, v, s, keep, r, clean)
        for t in range(1, high, 2):
            _row(op, careful, False, groups, x, s, keep, r + t, clean)
            _row(op, careful, False, groups, y, s, keep, r + t + 1, clean)
            for g in range(groups):
                v[g] = vboth(op, v[g], vboth(op, x[g], y[g]))
        _put(op, taps, groups, dst, v, s.outputs, stride, how, bad)
        dst += dst_step
        r += stride
        rows -= 1


cdef inline inlined _by_block(
    int op, bint careful, int taps, int groups, Strip s, const ivec_t *keep, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Py_ssize_t high, Finish how, vec_t *bad, clean_t *clean,
) noexcept nogil:
    """Output rows of stride 1, T at a time; ``high`` is T, no constant, since expanded loops are slower and large."""
    cdef vec_t kept[MOST_TAPS * MOST]
    cdef vec_t v[MOST]
    cdef vec_t x[MOST]
    cdef Py_ssize_t j, last
    cdef int g
    while rows > 0:
        for g in range(groups):
            v[g] = vset(identity(op))
        for j in range(high - 1, -1, -1):
            if 0 <= r + j < s.height:
                _row(op, careful, True, groups, x, s, keep, r + j, clean)
                for g in range(groups):
                    v[g] = vboth(op, v[g], x[g])
            for g in range(groups):
                kept[j * groups + g] = v[g]
        for g in range(groups):
            x[g] = vset(identity(op))
        last = min(s.height, r + 2 * high - 1)   # where the rows end that are left to read
        for j in range(min(rows, high)):
            for g in range(groups):
                v[g] = vboth(op, kept[j * groups + g], x[g])
            _put(op, taps, groups, dst, v, s.outputs, 1, how, bad)
            dst += dst_step
            if 0 <= r + high + j < last:
                _row(op, careful, True, groups, v, s, keep, r + high + j, clean)
                for g in range(groups):
                    x[g] = vboth(op, x[g], v[g])
        r += high
        rows -= high


cdef inline inlined _plane(
    int op, bint careful, bint by_block, int taps, int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t high, Finish how, vec_t *trouble,
) noexcept nogil:
    """Some output rows; ``trouble`` is what finishing adds to it, or no longer zero where LARGER met a NaN."""
    cdef ivec_t keep[MOST]
    cdef vec_t bad[MOST]
    cdef clean_t clean = vclean()
    cdef int g
    for g in range(groups):
        bad[g] = vzero()
        keep[g] = ivlanes(s.before - g * VL, s.before + s.width - g * VL)
    if by_block:
        _by_block(op, careful, taps, groups, s, keep, dst, dst_step, r, rows, high, how, bad, &clean)
    else:
        _by_row(op, careful, taps, groups, s, keep, dst, dst_step, r, rows, stride, high, how, bad, &clean)
    for g in range(groups):
        trouble[0] = trouble[0] + bad[g]
    if op == LARGER and not vis_clean(clean):
        trouble[0] = vset(<real_t>1)


cdef inline inlined _grouped(
    int op, bint careful, bint by_block, int taps, int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r,
    Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t high, Finish how, vec_t *trouble,
) noexcept nogil:
    if groups == 1:
        _plane(op, careful, by_block, taps, 1, s, dst, dst_step, r, rows, stride, high, how, trouble)
    elif groups == 2:
        _plane(op, careful, by_block, taps, 2, s, dst, dst_step, r, rows, stride, high, how, trouble)
    else:
        _plane(op, careful, by_block, taps, 4, s, dst, dst_step, r, rows, stride, high, how, trouble)


cdef inline apart _careful(
    int op, bint by_block, int taps, int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows,
    Py_ssize_t stride, Finish how, vec_t *trouble,
) noexcept nogil:
    """Rows at either end of x, and maxima where there is a NaN."""
    if not is_max(op):
        _grouped(SUM, True, False, 5, groups, s, dst, dst_step, r, rows, stride, 5, how, trouble)
    elif by_block:
        _grouped(MAX, True, True, taps, groups, s, dst, dst_step, r, rows, 1, taps, how, trouble)
    else:
        _grouped(MAX, True, False, taps, groups, s, dst, dst_step, r, rows, stride, taps, how, trouble)


cdef inline apart _sums(
    int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows, Py_ssize_t stride, Finish how,
    vec_t *trouble,
) noexcept nogil:
    _grouped(SUM, False, False, 5, groups, s, dst, dst_step, r, rows, stride, 5, how, trouble)


cdef inline inlined _maxima_of_kind(
    bint by_block, int taps, int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows,
    Py_ssize_t stride, Py_ssize_t high, Finish how, vec_t *trouble,
) noexcept nogil:
    if taps == 5:
        _plane(LARGER, False, by_block, 5, groups, s, dst, dst_step, r, rows, stride, high, how, trouble)
    elif taps == 7:
        _plane(LARGER, False, by_block, 7, groups, s, dst, dst_step, r, rows, stride, high, how, trouble)
    elif taps == 9:
        _plane(LARGER, False, by_block, 9, groups, s, dst, dst_step, r, rows, stride, high, how, trouble)
    elif taps == 11:
        _plane(LARGER, False, by_block, 11, groups, s, dst, dst_step, r, rows, stride, high, how, trouble)
    else:
        _plane(LARGER, False, by_block, 13, groups, s, dst, dst_step, r, rows, stride, high, how, trouble)


cdef inline inlined _maxima(
    int taps, int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows,
    Py_ssize_t stride, Py_ssize_t high, Finish how, vec_t *trouble,
) noexcept nogil:
    if stride == 1:
        _maxima_of_kind(True, taps, groups, s, dst, dst_step, r, rows, 1, high, how, trouble)
    else:
        _maxima_of_kind(False, taps, groups, s, dst, dst_step, r, rows, stride, high, how, trouble)


cdef inline apart _maxima_of_one(
    int taps, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows, Py_ssize_t stride,
    Py_ssize_t high, Finish how, vec_t *trouble,
) noexcept nogil:
    _maxima(taps, 1, s, dst, dst_step, r, rows, stride, high, how, trouble)


cdef inline apart _maxima_of_two(
    int taps, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows, Py_ssize_t stride,
    Py_ssize_t high, Finish how, vec_t *trouble,
) noexcept nogil:
    _maxima(taps, 2, s, dst, dst_step, r, rows, stride, high, how, trouble)


cdef inline apart _maxima_of_four(
    int taps, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows, Py_ssize_t stride,
    Py_ssize_t high, Finish how, vec_t *trouble,
) noexcept nogil:
    _maxima(taps, 4, s, dst, dst_step, r, rows, stride, high, how, trouble)


cdef inline void _maxima_of(
    int taps, int groups, Strip s, real_t *dst, Py_ssize_t dst_step, Py_ssize_t r, Py_ssize_t rows, Py_ssize_t stride,
    Py_ssize_t high, Finish how, vec_t *trouble,
) noexcept nogil:
    """Functions of a few loops each: in one of many, compilers do worse with registers."""
    if groups == 1:
        _maxima_of_one(taps, s, dst, dst_step, r, rows, stride, high, how, trouble)
    elif groups == 2:
        _maxima_of_two(taps, s, dst, dst_step, r, rows, stride, high, how, trouble)
    else:
        _maxima_of_four(taps, s, dst, dst_step, r, rows, stride, high, how, trouble)


cdef inline void wide_rows(const Job *job, const Block *b, Finish how, vec_t *trouble) noexcept nogil:
    """The rows of a block. Those at either end of x are read with care; maxima of floats are done without care for NaN
    first, and once more with care where there is one."""
    cdef const Geometry *g = job.g
    cdef int op = <int>g.op, groups = <int>g.strip, taps = <int>g.w.taps
    cdef int64_t stride = g.w.stride, r = b.oh * g.h.stride - g.h.before, begin, stop, unit
    cdef bint by_block = is_max(op) and stride == 1
    cdef Strip s = strip_of(job, b, groups, 0)
    cdef vec_t bad = vzero()
    unit = taps if by_block else 1
    whole_rows(&s, r, b.rows, unit, stride * unit, taps + unit - 1, &begin, &stop)
    if begin > 0:
        _careful(op, by_block, taps, groups, s, b.out, g.out_h, r, begin, stride, how, trouble)
    if not is_max(op):
        _sums(groups, s, b.out + begin * g.out_h, g.out_h, r + begin * stride, stop - begin, stride, how, trouble)
    else:
        _maxima_of(
            taps, groups, s, b.out + begin * g.out_h, g.out_h, r + begin * stride, stop - begin, stride, g.h.taps, how, &bad
        )
        if REAL_IS_FLOAT and not vall_zero(bad):
            stop = begin
    if stop < b.rows:
        _careful(
            op, by_block, taps, groups, s, b.out + stop * g.out_h, g.out_h, r + stop * stride, b.rows - stop, stride, how,
            trouble,
        )
