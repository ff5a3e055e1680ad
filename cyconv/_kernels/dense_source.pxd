"""The input of one box, laid out so that the tile reads it where it lies: row kk of the patch matrix is one run.

Every tap of the width axis gets its own copy of the rows of the box, shifted to where it reads and as long as the rows
of outputs, so that neighbouring outputs find neighbouring cells also across the ends of rows:

    x     a b c d          place 0:  . a b c  . e f g  ...       [channel][place][row slot][image][width]
          e f g h          place 1:  a b c d  e f g h  ...
                           place 2:  b c d .  f g h .  ...       a tap one row down starts one row further on

That is S copies of a cell, where panels of the patch matrix would take R S. With one tap and no padding the input
itself is such a block.

Rows are copied by whole vectors that spill into the next row, which is written after it; a block ends with a vector of
slack. Rows of x that a whole vector would leave, and rows that are not plain (``plain_rows``: zeros around them,
neighbours in memory, stride 1 or 2), are gathered first (gather.pxd).

Assumptions: as ``dense.pyx``.
"""
from libc.stdint cimport int64_t, uint8_t

from cyconv._kernels.dense_geometry cimport PANEL, Box, Geometry, Job, Operand, cuts
from cyconv._kernels.gather cimport LINE_BYTES, Axis, Span, copy_run, gather_block, source_index, span_from
from cyconv._kernels.simd cimport (
    REAL_SIZE, VL, prefetch, real_t, vec_t, vevery_second, vhold, vload, vstore, vzero,
)

cdef struct Rows:
    # the rows that a block is made of: image n, channel c, row slot j at ``data + n * step_n + c * step_c + at[j]``
    const real_t *data
    const real_t *end
    int64_t step_n, step_c
    const int64_t *at           # -1: a row of padding
    int64_t count


cdef inline int64_t _apart(int64_t scalars) noexcept nogil:
    """At least so many scalars, an odd number of cache lines: neighbouring channels fall into different sets."""
    return (cuts(scalars * REAL_SIZE, LINE_BYTES) | 1) * LINE_BYTES // REAL_SIZE


cdef inline Operand read_input(const Job *job, const Box *box, int64_t group, int64_t k0, int64_t k1,
                               uint8_t *scratch) noexcept nogil:
    """The positions of this box for kk from k0 to k1."""
    cdef const Geometry *g = job.g
    cdef int64_t *offset = <int64_t *>(scratch + g.at_offsets)
    cdef int64_t c0 = k0 // g.taps
    cdef int64_t channels = (k1 + g.taps - 1) // g.taps - c0
    cdef int64_t channel = group * g.group_inputs + c0
    cdef int64_t pitch = box.n * box.w
    cdef int64_t place = g.slots_d * g.slots_h * pitch
    cdef int64_t step_c = job.x.c if g.direct_in else _apart(g.taps_w * place)
    cdef int64_t k
    cdef int64_t c = 0, tap = k0 % g.taps
    cdef Operand found
    for k in range(k1 - k0):
        offset[k] = c * step_c + job.tap_w[tap] * place + job.tap_row[tap] * pitch
        tap += 1
        if tap == g.taps:
            tap = 0
            c += 1
    found.offset = offset
    found.tail, found.tail_offset = NULL, NULL
    if g.direct_in:
        found.data = (job.x.data + box.n0 * job.x.n + channel * job.x.c + box.d0 * g.stride_d * job.x.d
                      + box.h0 * g.stride_h * job.x.h + box.w0)
        found.slab = g.stride_d * job.x.d
        if g.by_rows and box.slab % VL:
            _copy_tail(&found, box, k1 - k0, offset + g.block, <real_t *>(scratch + g.at_tail), g.block)
        return found
    found.data = <const real_t *>(scratch + g.at_source)
    found.slab = g.slots_h * pitch
    _fill(job, box, <real_t *>(scratch + g.at_source), step_c, place, channel, channels, scratch)
    return found


cdef inline void _copy_tail(Operand *operand, const Box *box, int64_t depth, int64_t *offset, real_t *tail,
                            int64_t block) noexcept nogil:
    """Rows of PANEL scalars with the positions that end every slab: behind them the input may end."""
    cdef int64_t first = box.slab // PANEL * PANEL
    cdef int64_t count = box.slab - first
    cdef int64_t d, k
    cdef const real_t *row
    operand.tail, operand.tail_offset = tail, offset
    for k in range(depth):
        offset[k] = k * PANEL
    for d in range(box.d):
        for k in range(depth):
            row = operand.data + d * operand.slab + operand.offset[k] + first
            copy_run(tail, row, count)
            tail += PANEL
        tail += (block - depth) * PANEL


cdef inline void _fill(const Job *job, const Box *box, real_t *dst, int64_t step_c, int64_t place, int64_t channel,
                       int64_t channels, uint8_t *scratch) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t *at = <int64_t *>(scratch + g.at_offsets) + 2 * g.block
    cdef real_t *cells = <real_t *>(scratch + g.at_cells)
    cdef int64_t s, i
    cdef Span span
    cdef Rows rows
    rows.count, rows.at = g.slots_d * g.slots_h, at
    if g.plain_rows:
        rows.data = job.x.data + box.n0 * job.x.n + channel * job.x.c
        rows.end = job.x_end
        rows.step_n, rows.step_c = job.x.n, job.x.c
        _find_rows(job, box, at)
    else:
        i = g.slots_d * g.slots_h * g.slots_w
        gather_block(cells, i, &job.x, box.n0, box.n, channel, channels, box.d0, box.d, box.h0, box.h, box.w0, box.w,
                     &job.axis_d, &job.axis_h, &job.axis_w, g.padding_mode)
        rows.data = cells
        rows.step_c, rows.step_n = i, i * channels
        rows.end = cells + i * channels * box.n + VL
        for i in range(rows.count):
            at[i] = i * g.slots_w
    for i in range(channels):
        for s in range(g.taps_w):
            if g.plain_rows:
                span = span_from(&job.axis_w, box.w0 * g.stride_w + s * g.dilation_w - g.pad_w, box.w, 0)
                _shift(dst + i * step_c + s * place, &rows, i, span.at, span.lo, span.hi, g.stride_w, box,
                       s == g.taps_w - 1)
            else:
                _shift(dst + i * step_c + s * place, &rows, i, job.slot_w[s], 0, box.w, 1, box, False)


cdef inline void _find_rows(const Job *job, const Box *box, int64_t *at) noexcept nogil:
    """Where in a channel of x each row slot of the box lies."""
    cdef const Geometry *g = job.g
    cdef const Axis *ad = &job.axis_d
    cdef const Axis *ah = &job.axis_h
    cdef int64_t qd, qh, i, j, kd, kh, slab
    for i in range(g.slots_d * g.slots_h):
        at[i] = -1
    for qd in range(ad.strips):
        for i in range(box.d + ad.strip[3 * qd + 1]):
            kd = source_index((box.d0 + i) * ad.stride + ad.strip[3 * qd] - ad.pad, ad.size, g.padding_mode)
            slab = (ad.strip[3 * qd + 2] + i) * g.slots_h
            for qh in range(ah.strips):
                for j in range(box.h + ah.strip[3 * qh + 1]):
                    kh = source_index((box.h0 + j) * ah.stride + ah.strip[3 * qh] - ah.pad, ah.size, g.padding_mode)
                    if kd >= 0 and kh >= 0:
                        at[slab + ah.strip[3 * qh + 2] + j] = kd * job.x.d + kh * job.x.h


cdef inline void _shift(real_t *to, const Rows *rows, int64_t channel, int64_t first, int64_t lo, int64_t hi, int64_t stride,
                        const Box *box, bint ask) noexcept nogil:
    """All rows of one channel for one place: cells lo to hi from column ``first + lo * stride`` on, zeros around them.
    ``ask``: the next channel, too far away for the processor to foresee, is asked for meanwhile."""
    cdef const real_t *data = rows.data + channel * rows.step_c + first + lo * stride
    cdef const real_t *row
    cdef int64_t inside = hi - lo
    cdef int64_t vectors = cuts(inside, VL)
    cdef int64_t whole = cuts(box.w, VL)
    # held: of a loop that stores zeros compilers make a call, which costs more than a few vectors
    cdef vec_t zero = vhold(vzero())
    cdef int64_t before = cuts(lo, VL)
    cdef int64_t after = cuts(box.w - hi, VL)
    cdef int64_t reach = vectors * VL * stride
    cdef int64_t bytes = inside * stride * REAL_SIZE if ask else 0
    cdef int64_t j, n, i
    for j in range(rows.count):
        for n in range(box.n):
            row = data + rows.at[j] + n * rows.step_n
            if rows.at[j] < 0 or inside == 0:
                for i in range(whole):
                    vstore(to + i * VL, zero)
            else:
                for i in range(before):
                    vstore(to + i * VL, zero)
                if row + reach > rows.end:
                    for i in range(inside):
                        to[lo + i] = row[i * stride]
                elif stride == 1:
                    for i in range(vectors):
                        vstore(to + lo + i * VL, vload(row + i * VL))
                else:
                    for i in range(vectors):
                        vstore(to + lo + i * VL, vevery_second(vload(row + 2 * i * VL), vload(row + 2 * i * VL + VL), 0))
                for i in range(after):
                    vstore(to + hi + i * VL, zero)
                i = 0
                while i < bytes:
                    prefetch(<const char *>(row + rows.step_c) + i)
                    i += LINE_BYTES
            to += box.w
