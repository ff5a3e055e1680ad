"""A band of rows of the gradient of average pooling: for each row the rows of g that reach it, added up, then spread
along w."""
from libc.stdint cimport int64_t

from cyconv._kernels.poolgrad_rows cimport ROW_SLACK, Spreading, add_rows, repeat_row, spread_row
from cyconv._kernels.simd cimport VL, real_t, vec_t, vload, vset, vstore, vzero

cdef enum:
    #: rows of g that are added up at a time
    SOURCES = 8

cdef struct Covering:
    # for each of ``size`` cells the outputs lo, lo + step, ... below hi whose windows hold it
    int64_t size, out, step
    const int64_t *lo
    const int64_t *hi
    const real_t *scale


cdef inline void spread_band(real_t *to, real_t *rows, const real_t *grad, const Covering *d, const Covering *h,
                             const Covering *w, const Spreading *how, int64_t at_d, int64_t first, int64_t last,
                             int64_t inner) noexcept nogil:
    """Rows of dx, each of which may be written beyond its end. Rows of g come first, all of them: what has just been
    written is slow to read at another offset."""
    cdef int64_t length = w.size * inner, pitch = w.out * inner + 2 * ROW_SLACK
    cdef int64_t i
    cdef real_t *row = rows + ROW_SLACK
    for i in range(first, last):
        if i == first or not same_rows(h, i):
            gather_rows(row, grad, d, h, w, at_d, i, inner)
            row += pitch
    row = rows + ROW_SLACK - pitch
    for i in range(first, last):
        if i > first and same_rows(h, i):
            repeat_row(to, length)
            to += length
            continue
        row += pitch
        if how.taps > 0:
            spread_row(to, row, how)
        else:
            spread_cells(to, row, w, inner)
        to += length


cdef inline bint same_rows(const Covering *h, int64_t i) noexcept nogil:
    """Whether a row of dx is reached by the same rows of g as the one before."""
    return h.lo[i] == h.lo[i - 1] and h.hi[i] == h.hi[i - 1]


cdef inline void gather_rows(real_t *row, const real_t *grad, const Covering *d, const Covering *h, const Covering *w,
                             int64_t at_d, int64_t at_h, int64_t inner) noexcept nogil:
    """Add up the rows of g whose windows hold this row of dx, and divide."""
    cdef int64_t length = w.out * inner
    cdef int64_t od, oh
    cdef int sources = 0
    cdef bint more = 0
    cdef const real_t *source[SOURCES]
    cdef real_t factor[SOURCES]
    od = d.lo[at_d]
    while od < d.hi[at_d]:
        oh = h.lo[at_h]
        while oh < h.hi[at_h]:
            source[sources] = grad + (od * h.out + oh) * length
            factor[sources] = d.scale[od] * h.scale[oh]
            sources += 1
            if sources == SOURCES:
                add_rows(row, source, factor, sources, NULL, length, more)
                sources, more = 0, 1
            oh = oh + h.step
        od = od + d.step
    add_rows(row, source, factor, sources, w.scale if inner == 1 else NULL, length, more)
    if inner > 1:
        _scale_cells(row, w.scale, w.out, inner)


cdef inline void _scale_cells(real_t *row, const real_t *scale, int64_t cells, int64_t inner) noexcept nogil:
    cdef int64_t o, c
    cdef vec_t by
    for o in range(cells):
        if inner % VL:
            for c in range(inner):
                row[c] *= scale[o]
        else:
            by = vset(scale[o])
            c = 0
            while c < inner:
                vstore(row + c, vload(row + c) * by)
                c += VL
        row += inner


cdef inline void spread_cells(real_t *to, const real_t *row, const Covering *w, int64_t inner) noexcept nogil:
    """Every cell adds up the windows that hold it; vectors of channels write beyond the cell's end."""
    cdef int64_t i, o, c
    cdef real_t total
    cdef vec_t v
    for i in range(w.size):
        if inner == 1:
            total = <real_t>0
            o = w.lo[i]
            while o < w.hi[i]:
                total += row[o]
                o = o + w.step
            to[0] = total
        else:
            c = 0
            while c < inner:
                v = vzero()
                o = w.lo[i]
                while o < w.hi[i]:
                    v = v + vload(row + o * inner + c)
                    o = o + w.step
                vstore(to + c, v)
                c += VL
        to += inner
