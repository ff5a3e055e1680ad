"""Gradients of pooling.

    scatter:   dx[n, c, index[n, c, o]] += g[n, c, o]                              (maxima)
    spread:    dx[m, d, h, w, c] = sum over the windows (od, oh, ow) that hold (d, h, w) of
                                   g[m, od, oh, ow, c] * sd[od] * sh[oh] * sw[ow]  (averages; s: 1 / divisor per axis)

Windows are a product of intervals, so that ``spread`` first adds up, for one row of dx, the rows of g that reach it,
and then spreads that one row along w. A cell is the same sequence of additions whatever the number of threads.
FLOPs, per row of dx, (rows of g that reach it) * OW + (taps along w) * OW; bytes: dx once, g once per row that it reaches.

Assumptions (guaranteed by ``_plans/pool_gradients.py``): no size is zero, the tables belong to the shapes; indices are
checked here, since only a pass over them can tell.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from cyconv._kernels.poolgrad_rows cimport (MOST_TAPS, ROW_SLACK, Spreading, add_row, prepare_spreading, scale_row,
                                            spread_row)
from cyconv._kernels.simd cimport inlined, real_t

cdef enum:
    #: channels of one work item where channels are neighbours in memory, and else: planes of up to so many bytes
    CHANNELS = 64
    PLANES = 4
    SMALL_PLANE = 262144
    #: rows of dx of one work item
    BAND = 32

#: zeros on each side of a row of ``spread``, and its longest windows
SLACK = ROW_SLACK
TAPS = MOST_TAPS

cdef struct Steps:
    int64_t out_i, out_c, grad_i, grad_c, index_i, index_c

cdef struct Covering:
    # for each of ``size`` cells the outputs lo, lo + step, ... below hi whose windows hold it
    int64_t size, out, step
    const int64_t *lo
    const int64_t *hi
    const real_t *scale


# ------------------------------------------------------------------------------------------------------- scatter

def has_bad_index(const int64_t[:, :, :] index, int64_t cells, int num_threads):
    """Whether some index is not one of ``cells`` cells, nor -1."""
    cdef int64_t channels = index.shape[1], items = index.shape[0] * channels
    cdef int64_t item
    cdef int bad = 0
    for item in prange(items, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        bad |= _bad_plane(&index[item // channels, item % channels, 0], index.strides[2] // 8, index.shape[2], cells)
    return bad != 0


cdef int _bad_plane(const int64_t *at, int64_t step, int64_t outputs, int64_t cells) noexcept nogil:
    cdef int64_t i, bad = 0
    if step == 1:
        for i in range(outputs):
            bad |= <uint64_t>(at[i] + 1) > <uint64_t>cells
    else:
        for i in range(outputs):
            bad |= <uint64_t>(at[i * step] + 1) > <uint64_t>cells
    return bad != 0


def scatter(const real_t[:, :, :] grad, const int64_t[:, :, :] index, real_t[:, :, :] out, int num_threads):
    """Fill ``out`` (N, C, cells); returns an index that does not exist, or -1. An index of -1 is nothing."""
    cdef int64_t images = out.shape[0], channels = out.shape[1]
    cdef bint last = out.shape[1] > 1 and out.strides[1] == sizeof(real_t)
    cdef int64_t block = CHANNELS if last else PLANES if out.shape[2] * <int64_t>sizeof(real_t) <= SMALL_PLANE else 1
    cdef int64_t blocks = (channels + block - 1) // block
    cdef int64_t item, n, c
    cdef int64_t bad = -1
    cdef int64_t *found = &bad
    for item in prange(images * blocks, nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        n = item // blocks
        c = item % blocks * block
        _scatter_block(grad, index, out, n, c, min(c + block, channels), found)
    return bad


cdef void _scatter_block(const real_t[:, :, :] grad, const int64_t[:, :, :] index, real_t[:, :, :] out, int64_t n,
                         int64_t first, int64_t last, int64_t *bad) noexcept nogil:
    cdef int64_t cells = out.shape[2]
    cdef int64_t step = sizeof(real_t)
    cdef Steps steps = Steps(out.strides[2] // step, out.strides[1] // step, grad.strides[2] // step,
                             grad.strides[1] // step, index.strides[2] // 8, index.strides[1] // 8)
    cdef real_t *to = &out[n, first, 0]
    cdef const real_t *source = &grad[n, first, 0]
    cdef const int64_t *at = &index[n, first, 0]
    cdef int64_t i, c
    if steps.out_i == 1:
        for c in range(last - first):
            memset(to + c * steps.out_c, 0, cells * sizeof(real_t))
    else:
        for i in range(cells):
            for c in range(last - first):
                to[i * steps.out_i + c * steps.out_c] = <real_t>0
    if last - first == PLANES:
        _scatter_cells(PLANES, grad.shape[2], cells, to, source, at, steps, bad)
    else:
        _scatter_cells(last - first, grad.shape[2], cells, to, source, at, steps, bad)


cdef inline inlined _scatter_cells(const int64_t channels, int64_t outputs, int64_t cells, real_t *to,
                                   const real_t *source, const int64_t *at, Steps steps, int64_t *bad) noexcept nogil:
    """Several planes at once: neighbouring windows often have the same maximum, and one addition then waits for the
    other's store."""
    cdef int64_t i, c, k
    for i in range(outputs):
        for c in range(channels):
            k = at[i * steps.index_i + c * steps.index_c]
            if <uint64_t>k < <uint64_t>cells:
                to[k * steps.out_i + c * steps.out_c] += source[i * steps.grad_i + c * steps.grad_c]
            elif k != -1:
                bad[0] = k


# -------------------------------------------------------------------------------------------------------- spread

def spread(const real_t[:, :, :, :, ::1] grad, real_t[:, :, :, :, ::1] out, const int64_t[::1] lo,
           const int64_t[::1] hi, const int64_t[::1] step, const real_t[::1] scale, int64_t taps, int64_t stride,
           int64_t before, real_t[:, ::1] rows, int num_threads):
    """Fill ``out`` (M, D, H, W, C) from ``grad`` (M, OD, OH, OW, C).

    ``lo``, ``hi``, ``scale`` hold the tables of the axes d, h, w one after the other; ``taps`` is 0, or windows along
    w are regular ones of so many neighbouring cells, at most TAPS; ``rows`` has a row of g for each thread, with SLACK
    zeros on each side.
    """
    cdef int64_t depth = out.shape[1], height = out.shape[2], width = out.shape[3]
    cdef Covering d = Covering(depth, grad.shape[1], step[0], &lo[0], &hi[0], &scale[0])
    cdef Covering h = Covering(height, grad.shape[2], step[1], d.lo + depth, d.hi + depth, d.scale + d.out)
    cdef Covering w = Covering(width, grad.shape[3], step[2], h.lo + height, h.hi + height, h.scale + h.out)
    cdef Spreading how
    cdef int64_t inner = out.shape[4]
    cdef int64_t bands = (height + BAND - 1) // BAND
    cdef int64_t item
    cdef int64_t from_m = d.out * h.out * w.out * inner, to_row = width * inner
    cdef const real_t *source = &grad[0, 0, 0, 0, 0]
    cdef real_t *to = &out[0, 0, 0, 0, 0]
    if taps > MOST_TAPS or rows.shape[1] < w.out * inner + 2 * ROW_SLACK:
        raise ValueError("rows are too short, or windows too long")
    how.taps, how.stride, how.before, how.cells = taps if inner == 1 else 0, stride, before, width
    prepare_spreading(&how)
    for item in prange(out.shape[0] * depth * bands, nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _spread_band(to + (item // bands * height + item % bands * BAND) * to_row, &rows[threadid(), ROW_SLACK],
                     source + item // (depth * bands) * from_m, &d, &h, &w, &how, item // bands % depth,
                     item % bands * BAND, min((item % bands + 1) * BAND, height), inner)


cdef void _spread_band(real_t *to, real_t *row, const real_t *grad, const Covering *d, const Covering *h,
                       const Covering *w, const Spreading *how, int64_t at_d, int64_t first, int64_t last,
                       int64_t inner) noexcept nogil:
    """Rows of dx; one that the same rows of g reach as the one before is the same row."""
    cdef int64_t length = w.size * inner
    cdef int64_t i
    for i in range(first, last):
        if i > first and h.lo[i] == h.lo[i - 1] and h.hi[i] == h.hi[i - 1]:
            memcpy(to, to - length, length * sizeof(real_t))
        else:
            _gather_rows(row, grad, d, h, w, at_d, i, inner)
            if how.taps > 0:
                spread_row(to, row, how)
            else:
                _spread_cells(to, row, w, inner)
        to += length


cdef void _gather_rows(real_t *row, const real_t *grad, const Covering *d, const Covering *h, const Covering *w,
                       int64_t at_d, int64_t at_h, int64_t inner) noexcept nogil:
    """Add up the rows of g whose windows hold this row of dx, and divide."""
    cdef int64_t length = w.out * inner
    cdef int64_t od, oh, o, c
    cdef bint fresh = 1
    od = d.lo[at_d]
    while od < d.hi[at_d]:
        oh = h.lo[at_h]
        while oh < h.hi[at_h]:
            add_row(row, grad + (od * h.out + oh) * length, length, d.scale[od] * h.scale[oh], fresh)
            fresh = 0
            oh = oh + h.step
        od = od + d.step
    if fresh:
        memset(row, 0, length * sizeof(real_t))
    elif inner == 1:
        scale_row(row, w.scale, length)
    else:
        for o in range(w.out):
            for c in range(inner):
                row[o * inner + c] *= w.scale[o]


cdef void _spread_cells(real_t *to, const real_t *row, const Covering *w, int64_t inner) noexcept nogil:
    """Every cell adds up the windows that hold it."""
    cdef int64_t i, o, c
    cdef real_t total
    for i in range(w.size):
        o = w.lo[i]
        if inner == 1:
            total = <real_t>0
            while o < w.hi[i]:
                total += row[o]
                o = o + w.step
            to[0] = total
        else:
            for c in range(inner):
                to[c] = <real_t>0
            while o < w.hi[i]:
                for c in range(inner):
                    to[c] += row[o * inner + c]
                o = o + w.step
        to += inner
