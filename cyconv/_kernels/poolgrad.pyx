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
from libc.stdint cimport int64_t
from libc.string cimport memset

from cyconv._kernels.simd cimport real_t

cdef enum:
    #: channels of one work item where channels are neighbours in memory
    CHANNELS = 64

cdef struct Covering:
    # for each of ``size`` cells the outputs lo, lo + step, ... below hi whose windows hold it
    int64_t size, out, step
    const int64_t *lo
    const int64_t *hi
    const real_t *scale


# ------------------------------------------------------------------------------------------------------- scatter

def scatter(const real_t[:, :, :] grad, const int64_t[:, :, :] index, real_t[:, :, :] out, int num_threads):
    """Fill ``out`` (N, C, cells); returns an index that does not exist, or -1. An index of -1 is nothing."""
    cdef int64_t images = out.shape[0], channels = out.shape[1]
    cdef bint last = out.shape[1] > 1 and out.strides[1] == sizeof(real_t)
    cdef int64_t block = CHANNELS if last else 1
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
    cdef int64_t cells = out.shape[2], outputs = grad.shape[2]
    cdef int64_t step = sizeof(real_t)
    cdef int64_t out_i = out.strides[2] // step, out_c = out.strides[1] // step
    cdef int64_t grad_i = grad.strides[2] // step, grad_c = grad.strides[1] // step
    cdef int64_t index_i = index.strides[2] // 8, index_c = index.strides[1] // 8
    cdef real_t *to = &out[n, first, 0]
    cdef const real_t *source = &grad[n, first, 0]
    cdef const int64_t *at = &index[n, first, 0]
    cdef int64_t i, c, k
    if out_i == 1:
        for c in range(last - first):
            memset(to + c * out_c, 0, cells * sizeof(real_t))
    else:
        for i in range(cells):
            for c in range(last - first):
                to[i * out_i + c * out_c] = <real_t>0
    for i in range(outputs):
        for c in range(last - first):
            k = at[i * index_i + c * index_c]
            if 0 <= k < cells:
                to[k * out_i + c * out_c] += source[i * grad_i + c * grad_c]
            elif k != -1:
                bad[0] = k


# -------------------------------------------------------------------------------------------------------- spread

def spread(const real_t[:, :, :, :, ::1] grad, real_t[:, :, :, :, ::1] out, const int64_t[::1] lo,
           const int64_t[::1] hi, const int64_t[::1] step, const real_t[::1] scale, int64_t taps, int64_t stride,
           int64_t before, real_t[:, ::1] rows, int num_threads):
    """Fill ``out`` (M, D, H, W, C) from ``grad`` (M, OD, OH, OW, C).

    ``lo``, ``hi``, ``scale`` hold the tables of the axes d, h, w one after the other; ``taps`` is 0, or windows along
    w are regular ones of so many neighbouring cells; ``rows`` has a row of g for each thread.
    """
    cdef int64_t depth = out.shape[1], height = out.shape[2], width = out.shape[3]
    cdef Covering d = Covering(depth, grad.shape[1], step[0], &lo[0], &hi[0], &scale[0])
    cdef Covering h = Covering(height, grad.shape[2], step[1], d.lo + depth, d.hi + depth, d.scale + d.out)
    cdef Covering w = Covering(width, grad.shape[3], step[2], h.lo + height, h.hi + height, h.scale + h.out)
    cdef int64_t inner = out.shape[4]
    cdef int64_t item
    cdef int64_t from_m = d.out * h.out * w.out * inner, to_row = width * inner
    cdef const real_t *source = &grad[0, 0, 0, 0, 0]
    cdef real_t *to = &out[0, 0, 0, 0, 0]
    for item in prange(out.shape[0] * depth * height, nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _gather_rows(&rows[threadid(), 0], source + item // (depth * height) * from_m, &d, &h, &w,
                     item // height % depth, item % height, inner)
        _spread_row(to + item * to_row, &rows[threadid(), 0], &w, inner, taps, stride, before)


cdef void _gather_rows(real_t *row, const real_t *grad, const Covering *d, const Covering *h, const Covering *w,
                       int64_t at_d, int64_t at_h, int64_t inner) noexcept nogil:
    """Add up the rows of g whose windows hold this row of dx."""
    cdef int64_t length = w.out * inner
    cdef int64_t od, oh, i
    cdef const real_t *source
    cdef real_t factor
    memset(row, 0, length * sizeof(real_t))
    od = d.lo[at_d]
    while od < d.hi[at_d]:
        oh = h.lo[at_h]
        while oh < h.hi[at_h]:
            source = grad + (od * h.out + oh) * length
            factor = d.scale[od] * h.scale[oh]
            for i in range(length):
                row[i] += factor * source[i]
            oh = oh + h.step
        od = od + d.step


cdef void _spread_row(real_t *to, real_t *row, const Covering *w, int64_t inner, int64_t taps, int64_t stride,
                      int64_t before) noexcept nogil:
    cdef int64_t i, o, c, t, first, last
    cdef real_t total
    for o in range(w.out):
        for c in range(inner):
            row[o * inner + c] *= w.scale[o]
    if inner > 1:
        for i in range(w.size):
            for c in range(inner):
                to[c] = <real_t>0
            o = w.lo[i]
            while o < w.hi[i]:
                for c in range(inner):
                    to[c] += row[o * inner + c]
                o = o + w.step
            to += inner
    elif taps > 0:
        memset(to, 0, w.size * sizeof(real_t))
        for t in range(taps):
            # outputs whose tap t lies in the row
            first = max(<int64_t>0, (before - t + stride - 1) // stride if before > t else <int64_t>0)
            last = min(w.out, (w.size + before - t + stride - 1) // stride if w.size + before > t else <int64_t>0)
            if stride == 1:
                for o in range(first, last):
                    to[o + t - before] += row[o]
            else:
                for o in range(first, last):
                    to[o * stride + t - before] += row[o]
    else:
        for i in range(w.size):
            total = <real_t>0
            o = w.lo[i]
            while o < w.hi[i]:
                total += row[o]
                o = o + w.step
            to[i] = total
