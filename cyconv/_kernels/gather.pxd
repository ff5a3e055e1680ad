"""Gathering: from a strided image with padding, stride and dilation to a block in which every tap is a plain shift.

For one axis with stride s and dilation d, output o reads coordinate ``o * s + r * d - p`` for each tap r. The taps
are sorted into *strips*: a strip holds the coordinates ``start, start + s, start + 2 s, ...`` and serves all the taps
that lie on it, so tap r of output o is element ``slot(r) + o`` of the block, whatever stride and dilation are.

    stride 2, taps 0 1 2:    strip 0 (taps 0, 2)   0 2 4 6 8        strip 1 (tap 1)   1 3 5 7
                             slot(0) = 0, slot(2) = 1               slot(1) = 5

The three spatial axes are treated alike, and the block is ``[n][c][slot d][slot h][slot w]``. Padding, padding mode,
layout and strides of the input matter here and nowhere else.

Assumptions: the input is not empty, all coordinates fit in 63 bits, ``Gather`` was filled by ``_plans/gathering.py``.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from cyconv._kernels.simd cimport VL, prefetch, real_t, vcopy_part, vevery_second, vload, vstore

cdef enum:
    ZEROS = 0
    REFLECT = 1
    REPLICATE = 2
    CIRCULAR = 3
    SYMMETRIC = 4
    LINE_BYTES = 64


cdef inline int64_t odd_lines(int64_t scalars) noexcept nogil:
    """At least so many scalars, an odd number of cache lines: the same place in neighbouring blocks then lies in
    different sets of the cache. ``spec.py`` has it, too."""
    return ((scalars * <int64_t>sizeof(real_t) + LINE_BYTES - 1) // LINE_BYTES | 1) * LINE_BYTES // <int64_t>sizeof(real_t)


cdef struct Axis:
    int64_t size        # input cells
    int64_t stride
    int64_t pad         # cells before the first
    int64_t slots       # slots of this axis in the block
    int64_t strips      # number of strips
    const int64_t *strip    # strips x (start, extra, first slot): a box of b outputs fills b + extra cells


cdef struct Source:
    const real_t *data
    int64_t n, c, d, h, w       # strides in scalars


cdef inline int64_t source_index(int64_t i, int64_t size, int64_t mode) noexcept nogil:
    """The input cell that padded coordinate ``i`` shows, -1 for a zero."""
    if 0 <= i < size:
        return i
    if mode == ZEROS:
        return -1
    if mode == REPLICATE:
        return 0 if i < 0 else size - 1
    if mode == CIRCULAR:
        i = i % size
        return i + size if i < 0 else i
    if mode == SYMMETRIC:
        i = i % (2 * size)
        if i < 0:
            i += 2 * size
        return i if i < size else 2 * size - 1 - i
    if size == 1:
        return 0
    i = i % (2 * size - 2)
    if i < 0:
        i += 2 * size - 2
    return i if i < size else 2 * size - 2 - i


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    """Ceiling of a / b for b > 0, also for negative a (C division truncates)."""
    return (a + b - 1) // b if a > 0 else -((-a) // b)


cdef struct Span:
    # one strip of a row for a box of outputs: ``count`` cells from coordinate ``at`` on, those from lo to hi in the input
    int64_t at, count, lo, hi, slot


cdef inline Span find_span(const Axis *axis, int64_t strip, int64_t first_output, int64_t outputs) noexcept nogil:
    cdef Span span
    span.at = first_output * axis.stride + axis.strip[3 * strip] - axis.pad
    span.count = outputs + axis.strip[3 * strip + 1]
    span.slot = axis.strip[3 * strip + 2]
    span.lo = min(span.count, max(<int64_t>0, ceil_div(-span.at, axis.stride)))
    span.hi = max(span.lo, min(span.count, ceil_div(axis.size - span.at, axis.stride)))
    return span


cdef inline void copy_run(real_t *dst, const real_t *src, int64_t count) noexcept nogil:
    """Neighbours. The last vector overlaps the one before it."""
    cdef int64_t i = 0
    if count < VL:
        vcopy_part(dst, src, count)
        return
    while i + VL < count:
        vstore(dst + i, vload(src + i))
        i += VL
    vstore(dst + count - VL, vload(src + count - VL))


cdef inline void _copy_every_second(real_t *dst, const real_t *src, int64_t count) noexcept nogil:
    """``dst[i] = src[2 i]``. The last vector is read one cell early, so that nothing behind its last cell is touched."""
    cdef int64_t i = 0
    if count <= VL:
        for i in range(count):
            dst[i] = src[2 * i]
        return
    while i + VL < count:
        vstore(dst + i, vevery_second(vload(src + 2 * i), vload(src + 2 * i + VL), 0))
        i += VL
    i = count - VL
    vstore(dst + i, vevery_second(vload(src + 2 * i - 1), vload(src + 2 * i - 1 + VL), 1))


cdef inline void _copy_cells(real_t *dst, int64_t dst_c, const real_t *src, int64_t src_c, int64_t src_w,
                             int64_t channels, int64_t count) noexcept nogil:
    """``dst[c][i] = src[c][i * src_w]`` for all channels, in the order that reads whole cache lines."""
    cdef int64_t c, i, first, last
    if src_w == 1:
        for c in range(channels):
            copy_run(dst + c * dst_c, src + c * src_c, count)
    elif src_w == 2:
        for c in range(channels):
            _copy_every_second(dst + c * dst_c, src + c * src_c, count)
    elif src_c == 1 and channels > 1:
        first = 0
        while first < count:
            last = min(first + 16, count)
            for c in range(channels):
                for i in range(first, last):
                    dst[c * dst_c + i] = src[c + i * src_w]
            first = last
    else:
        for c in range(channels):
            for i in range(count):
                dst[c * dst_c + i] = src[c * src_c + i * src_w]


cdef inline void _pad_cells(real_t *dst, int64_t dst_c, const real_t *src, int64_t src_c, int64_t src_w,
                            int64_t channels, int64_t first, int64_t last, int64_t at, const Axis *axis,
                            int64_t mode) noexcept nogil:
    """Cells ``first`` to ``last`` of a strip that starts at coordinate ``at``, all of them outside the input."""
    cdef int64_t c, i, k
    for i in range(first, last):
        k = source_index(at + i * axis.stride, axis.size, mode)
        for c in range(channels):
            dst[c * dst_c + i] = <real_t>0 if k < 0 else src[c * src_c + k * src_w]


cdef inline void _gather_strip(real_t *dst, int64_t dst_c, const real_t *src, const Source *x, int64_t channels,
                               const Span *span, const Axis *axis, int64_t mode) noexcept nogil:
    """One strip of one row. ``src`` NULL: the row is padding."""
    cdef real_t *to = dst + span.slot
    cdef int64_t c
    if src == NULL:
        for c in range(channels):
            memset(to + c * dst_c, 0, span.count * sizeof(real_t))
        return
    _pad_cells(to, dst_c, src, x.c, x.w, channels, 0, span.lo, span.at, axis, mode)
    if span.hi > span.lo:
        _copy_cells(to + span.lo, dst_c, src + (span.at + span.lo * axis.stride) * x.w, x.c, x.w * axis.stride, channels,
                    span.hi - span.lo)
    _pad_cells(to, dst_c, src, x.c, x.w, channels, span.hi, span.count, span.at, axis, mode)


cdef inline void gather_row(real_t *dst, int64_t dst_c, const real_t *src, const Source *x, int64_t channels,
                            int64_t first_output, int64_t outputs, const Axis *axis, int64_t mode) noexcept nogil:
    """All strips of one row for ``outputs`` outputs from ``first_output`` on. ``src`` NULL: the row is padding."""
    cdef int64_t q
    cdef Span span
    for q in range(axis.strips):
        span = find_span(axis, q, first_output, outputs)
        _gather_strip(dst, dst_c, src, x, channels, &span, axis, mode)


cdef inline void _ask_for(const real_t *src, const Source *x, const Span *span, const Axis *axis) noexcept nogil:
    """Prefetch what `_gather_strip` copies."""
    cdef int64_t step = max(<int64_t>1, LINE_BYTES // <int64_t>sizeof(real_t) // axis.stride)
    cdef int64_t i = span.lo
    while i < span.hi:
        prefetch(src + (span.at + i * axis.stride) * x.w)
        i += step


cdef inline void _gather_planes(real_t *dst, int64_t dst_c, const Source *x, const real_t *image, int64_t channels,
                                int64_t d0, int64_t depth, int64_t h0, int64_t height, const Span *span,
                                const Axis *ad, const Axis *ah, const Axis *aw, int64_t mode) noexcept nogil:
    """One strip of all rows of the box, of channels that are gathered together."""
    cdef int64_t dst_d = aw.slots * ah.slots
    cdef bint apart = channels == 1
    cdef int64_t qd, qh, i, j, kd, kh
    cdef const real_t *row
    cdef real_t *slab
    for qd in range(ad.strips):
        for i in range(depth + ad.strip[3 * qd + 1]):
            kd = source_index((d0 + i) * ad.stride + ad.strip[3 * qd] - ad.pad, ad.size, mode)
            slab = dst + (ad.strip[3 * qd + 2] + i) * dst_d
            for qh in range(ah.strips):
                for j in range(height + ah.strip[3 * qh + 1]):
                    kh = source_index((h0 + j) * ah.stride + ah.strip[3 * qh] - ah.pad, ah.size, mode)
                    row = NULL
                    if kd >= 0 and kh >= 0:
                        row = image + kd * x.d + kh * x.h
                        if apart:
                            _ask_for(row + x.c, x, span, aw)
                    _gather_strip(slab + (ah.strip[3 * qh + 2] + j) * aw.slots, dst_c, row, x, channels, span, aw, mode)


cdef inline void gather_block(real_t *dst, int64_t dst_c, const Source *x, int64_t n0, int64_t images, int64_t c0,
                              int64_t channels, int64_t d0, int64_t depth, int64_t h0, int64_t height, int64_t w0,
                              int64_t width, const Axis *ad, const Axis *ah, const Axis *aw, int64_t mode) noexcept nogil:
    """The block of one box of outputs: ``images`` from n0, ``channels`` from c0, ``depth x height x width`` outputs.
    A channel of the block takes ``dst_c`` scalars.

    Channel by channel where the cells of a row are neighbours: then neighbouring rows are read after one another, and
    the next channel, too far away for the processor to foresee, is asked for meanwhile.
    """
    cdef int64_t together = 1 if x.w == 1 else channels
    cdef int64_t n, c, q
    cdef Span span
    for n in range(images):
        c = 0
        while c < channels:
            for q in range(aw.strips):
                span = find_span(aw, q, w0, width)
                _gather_planes(dst + (n * channels + c) * dst_c, dst_c, x, x.data + (n0 + n) * x.n + (c0 + c) * x.c,
                               together, d0, depth, h0, height, &span, ad, ah, aw, mode)
            c += together
