"""Filling the block that the sliding kernel reads: padding, stride and dilation end here.

The strips and slots are those of ``gather.pxd``. What differs is the order of the block and the speed: here a cell is
copied for only a few multiply-adds, so what a row needs is worked out once per box (``Span``) and not once per row, and
the zeros beside the rows are written once per width of boxes (``clear_block``), since no other box touches them.

    by rows:        [c][slot d][slot h][slot w]             vectors run along W
    by channels:    [slot d][slot h][slot w][channel]       vectors run along the channels

Assumptions: ``dst`` has a vector of slack at its end; by channels, ``x.c`` is 1.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from cyconv._kernels.gather cimport ZEROS, Axis, Source, ceil_div, source_index
from cyconv._kernels.simd cimport VL, real_t, vec_t, vevery_second, vload, vstore

cdef enum:
    HALF = VL // 2
    GROUP = 32  # rows that are copied before the next strip is: few enough to find their source in the cache again

cdef struct Span:
    # one strip: its first slot and coordinate, its cells [0, count), of which [first, last) lie inside the input
    int64_t to, at, count, first, last

cdef struct Box:
    int64_t n, unit, c, d, h, w             # image, group or part of the channels, first channel, first output
    int64_t channels, depth, height, width  # how many of them
    bint spills                             # whether a vector may reach into the rows and planes behind its row

cdef struct Block:
    real_t *data
    int64_t cell, row, plane, channel       # scalars from one to the next; by channels, a cell holds several channels
    bint by_channels


cdef inline void find_spans(Span *span, const Axis *axis, int64_t output, int64_t outputs) noexcept nogil:
    """The strips of ``outputs`` outputs from ``output`` on."""
    cdef int64_t q
    for q in range(axis.strips):
        span[q].to = axis.strip[3 * q + 2]
        span[q].at = output * axis.stride + axis.strip[3 * q] - axis.pad
        span[q].count = outputs + axis.strip[3 * q + 1]
        span[q].first = min(span[q].count, max(<int64_t>0, ceil_div(-span[q].at, axis.stride)))
        span[q].last = max(span[q].first, min(span[q].count, ceil_div(axis.size - span[q].at, axis.stride)))


cdef inline void copy_cells(real_t *to, const real_t *from_, int64_t count) noexcept nogil:
    """``count`` neighbours; what overlaps is written twice."""
    cdef int64_t i = 0
    if count >= VL:
        while i < count - VL:
            vstore(to + i, vload(from_ + i))
            i += VL
        vstore(to + count - VL, vload(from_ + count - VL))
    elif count >= 8:
        memcpy(to, from_, 8 * sizeof(real_t))
        memcpy(to + count - 8, from_ + count - 8, 8 * sizeof(real_t))
    elif count >= 4:
        memcpy(to, from_, 4 * sizeof(real_t))
        memcpy(to + count - 4, from_ + count - 4, 4 * sizeof(real_t))
    else:
        for i in range(count):
            to[i] = from_[i]


cdef inline void _copy_every_second(real_t *to, const real_t *from_, int64_t count) noexcept nogil:
    """``to[i] = from_[2 * i]``; not a cell beyond ``from_[2 * (count - 1)]`` is read."""
    cdef int64_t i = 0
    cdef vec_t v
    if count > VL:
        while i < count - VL:
            vstore(to + i, vevery_second(vload(from_ + 2 * i), vload(from_ + 2 * i + VL), 0))
            i += VL
        i = count - VL
        vstore(to + i, vevery_second(vload(from_ + 2 * i - 1), vload(from_ + 2 * i - 1 + VL), 1))
    elif 2 * count > VL:
        v = vload(from_)
        v = vevery_second(v, v, 0)
        memcpy(to, &v, HALF * sizeof(real_t))
        v = vload(from_ + 2 * count - 1 - VL)
        v = vevery_second(v, v, 1)
        memcpy(to + count - HALF, &v, HALF * sizeof(real_t))
    else:
        for i in range(count):
            to[i] = from_[2 * i]


cdef inline void _split_rows(real_t *even, real_t *odd, int64_t to_row, const real_t *from_, int64_t from_row,
                             int64_t rows, int64_t count) noexcept nogil:
    """``even[i], odd[i] = from_[2 * i], from_[2 * i + 1]`` for ``count`` of each, at least VL, in each row."""
    cdef int64_t i, j
    cdef vec_t a, b
    for j in range(rows):  # no-cython-lint
        i = 0
        while i < count:
            i = min(i, count - VL)
            a = vload(from_ + 2 * i)
            b = vload(from_ + 2 * i + VL)
            vstore(even + i, vevery_second(a, b, 0))
            vstore(odd + i, vevery_second(a, b, 1))
            i += VL
        even += to_row
        odd += to_row
        from_ += from_row


cdef inline void _copy_rows(real_t *to, int64_t to_row, const real_t *from_, int64_t from_row, int64_t rows,
                            int64_t step, int64_t count) noexcept nogil:
    """``count`` cells of each of ``rows`` rows, which lie ``step`` scalars apart in the source."""
    cdef int64_t i, j
    for j in range(rows):  # no-cython-lint
        if step == 1:
            copy_cells(to, from_, count)
        elif step == 2:
            _copy_every_second(to, from_, count)
        else:
            for i in range(count):
                to[i] = from_[i * step]
        to += to_row
        from_ += from_row


cdef inline void _pad_row(const Block *block, real_t *to, const real_t *row, const Source *x, int64_t channels,
                          const Span *span, const Axis *axis, int64_t mode) noexcept nogil:
    """The cells of a strip outside the input, where they are not zeros."""
    cdef int64_t i, k
    for i in range(span.count):
        if not span.first <= i < span.last:
            k = source_index(span.at + i * axis.stride, axis.size, mode)
            copy_cells(to + i * block.cell, row + k * x.w, channels if block.by_channels else 1)


cdef inline int64_t _split_strips(const Block *block, real_t *to, const real_t *row, int64_t row_step, int64_t rows,
                                  const Source *x, const Span *spans, const Axis *axis) noexcept nogil:
    """Stride 2: the two strips from one reading of the rows. Returns how many cells of each are done."""
    cdef const Span *even = &spans[0]
    cdef const Span *odd = &spans[1]
    cdef int64_t count
    if block.by_channels or axis.strips != 2 or axis.stride != 2 or x.w != 1:
        return 0
    if odd.at + 2 * odd.first < even.at + 2 * even.first:
        even, odd = odd, even
    count = min(even.last - even.first, odd.last - odd.first)
    if odd.at + 2 * odd.first != even.at + 2 * even.first + 1 or count < VL:
        return 0
    _split_rows(to + even.to + even.first, to + odd.to + odd.first, block.row, row + even.at + 2 * even.first, row_step,
                rows, count)
    return count


cdef inline void _fill_rows(const Block *block, real_t *to, const real_t *row, int64_t row_step, int64_t rows,
                     const Source *x, int64_t channels, const Span *spans, const Axis *axis, int64_t mode) noexcept nogil:
    """``rows`` rows of the block from rows of the input that lie ``row_step`` scalars apart."""
    cdef int64_t q, j, inside
    cdef int64_t step = axis.stride * x.w
    cdef const Span *span
    cdef const real_t *from_
    cdef real_t *into
    cdef int64_t done = _split_strips(block, to, row, row_step, rows, x, spans, axis)
    for q in range(axis.strips):
        span = &spans[q]
        inside = span.last - span.first - done
        into = to + (span.to + span.first + done) * block.cell
        from_ = row + (span.at + (span.first + done) * axis.stride) * x.w
        if not block.by_channels:
            _copy_rows(into, block.row, from_, row_step, rows, step, inside)
        elif step == channels and block.cell == channels:
            _copy_rows(into, block.row, from_, row_step, rows, 1, inside * channels)
        else:
            for j in range(rows):
                _copy_rows(into + j * block.row, block.cell, from_ + j * row_step, step, inside, 1, channels)
        if mode != ZEROS and inside + done < span.count:
            for j in range(rows):
                _pad_row(block, to + span.to * block.cell + j * block.row, row + j * row_step, x, channels, span, axis, mode)


cdef inline void _fill_plane(const Block *block, real_t *plane, const real_t *image, const Source *x, int64_t channels,
                      const Span *high, const Axis *ah, const Span *wide, const Axis *aw, int64_t mode,
                      bint same_box) noexcept nogil:
    """All rows of one plane of the block: those inside the input in its order, strip by strip in small groups."""
    cdef int64_t q, j, k, first, last
    cdef int64_t done = 0
    cdef bint more = 1
    cdef real_t *to
    while more:
        more = 0
        for q in range(ah.strips):
            first = max(high[q].first, done)
            last = min(high[q].last, done + GROUP)
            more = more or high[q].last > done + GROUP
            if last > first:
                _fill_rows(block, plane + (high[q].to + first) * block.row,
                           image + (high[q].at + first * ah.stride) * x.h, ah.stride * x.h, last - first, x, channels,
                           wide, aw, mode)
        done += GROUP
    if same_box and mode == ZEROS:
        return
    for q in range(ah.strips):
        for j in range(high[q].count):
            if high[q].first <= j < high[q].last:
                continue
            k = source_index(high[q].at + j * ah.stride, ah.size, mode)
            to = plane + (high[q].to + j) * block.row
            if k < 0:
                memset(to, 0, block.row * sizeof(real_t))
            else:
                _fill_rows(block, to, image + k * x.h, 0, 1, x, channels, wide, aw, mode)


cdef inline void clear_block(const Block *block, int64_t rows) noexcept nogil:
    """Zeros everywhere: those beside the rows stay."""
    memset(block.data, 0, rows * block.row * sizeof(real_t))


cdef inline void fill_block(const Block *block, const Source *x, const Box *box, const Axis *ad, const Axis *ah,
                            const Axis *aw, const Span *high, const Span *wide, int64_t mode,
                            bint same_box) noexcept nogil:
    """All cells of a box. ``same_box``: the box before had the same outputs, and left its rows of zeros."""
    cdef int64_t c, q, i, k
    cdef const real_t *image = x.data + box.n * x.n + box.c * x.c
    cdef real_t *plane
    for c in range(1 if block.by_channels else box.channels):
        for q in range(ad.strips):
            for i in range(box.depth + ad.strip[3 * q + 1]):
                k = source_index((box.d + i) * ad.stride + ad.strip[3 * q] - ad.pad, ad.size, mode)
                plane = block.data + c * block.channel + (ad.strip[3 * q + 2] + i) * block.plane
                if k < 0:
                    if not same_box:
                        memset(plane, 0, block.plane * sizeof(real_t))
                else:
                    _fill_plane(block, plane, image + c * x.c + k * x.d, x, box.channels, high, ah, wide, aw, mode,
                                same_box)
