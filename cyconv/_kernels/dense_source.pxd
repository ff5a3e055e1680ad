"""The input of one box, laid out so that the tile reads it where it lies: row kk of the patch matrix is one run.

Every tap of the width axis gets its own copy of the rows of the box, shifted to where it reads and as long as the rows
of outputs, so that neighbouring outputs find neighbouring cells also across the ends of rows:

    x     a b c d          place 0:  . a b c  . e f g  ...       [channel][place][row slot][image][width]
          e f g h          place 1:  a b c d  e f g h  ...
                           place 2:  b c d .  f g h .  ...       a tap one row down starts one row further on

That is S copies of a cell, where panels of the patch matrix would take R S. With one tap and no padding the input
itself is such a block.

With ``row_tiles`` no tile reads across the end of a row, and none reads by vectors. Then one copy of the rows will do,
with the padding around them and a stride of 1 or 2 left in; or the cells as they were gathered; or the input itself,
if it has no padding.

Rows are copied by whole vectors that spill into the next row, which is written after it; a place ends with at least a
vector less one of zeros. Rows that are not plain (``plain_rows``: zeros around them, cells that are read close to one
another) are gathered first (gather.pxd).

Assumptions: as ``dense.pyx``.
"""
from libc.stdint cimport int64_t, uint8_t, uintptr_t

from cyconv._kernels.dense_geometry cimport PANEL, Box, Geometry, Job, Operand, cuts
from cyconv._kernels.gather cimport LINE_BYTES, Axis, ceil_div, copy_run, gather_block, odd_lines, source_index
from cyconv._kernels.masks cimport lanes_up_to, load_apart, load_lanes
from cyconv._kernels.simd cimport REAL_SIZE, VL, outlined, prefetch, real_t, vec_t, vevery_second, vload, vstore, vzero
from cyconv._kernels.tile cimport SOON

cdef struct Rows:
    # the rows that a block is made of: image n, channel c, row slot j at ``data + n * step_n + c * step_c + at[j]``
    const real_t *data
    int64_t step_n, step_c
    const int64_t *at           # -1: a row of padding
    int64_t count, images
    # place s of output i of a row is scalar ``start[s] + i * step``, copied to ``s * place + i``
    int64_t step, width, places, place
    const int64_t *start
    const int64_t *chosen       # lanes of the vectors that rows are made of, place by place


cdef inline int64_t before_line(const real_t *p) noexcept nogil:
    """Scalars from there to the next vector of memory."""
    return -(<int64_t>(<uintptr_t>p // REAL_SIZE)) & (VL - 1)


cdef inline int64_t row_cells(const Geometry *g, const Box *box) noexcept nogil:
    """Cells of a row of the laid out input: one per output of a tap, or all from the first to the last one read."""
    return (box.w - 1) * g.stride_w + (g.taps_w - 1) * g.dilation_w + 1 if g.row_tiles else box.w


cdef inline const real_t *input_at(const Job *job, const Box *box, int64_t channel) noexcept nogil:
    """Where a channel's first position lies if the input is read where it is."""
    cdef const Geometry *g = job.g
    return (job.x.data + box.n0 * job.x.n + channel * job.x.c + box.d0 * g.stride_d * job.x.d
            + box.h0 * g.stride_h * job.x.h + box.w0 * g.stride_w * job.x.w)


cdef inline Operand read_input(const Job *job, const Box *box, int64_t group, int64_t k0, int64_t k1,
                               uint8_t *scratch) noexcept nogil:
    """The positions of this box for kk from k0 to k1."""
    cdef const Geometry *g = job.g
    cdef int64_t *offset = <int64_t *>(scratch + g.at_offsets)
    cdef int64_t c0 = k0 // g.taps
    cdef int64_t channels = (k1 + g.taps - 1) // g.taps - c0
    cdef int64_t channel = group * g.group_inputs + c0
    cdef int64_t width = row_cells(g, box)
    cdef int64_t pitch = box.n * width
    cdef int64_t place = cuts(g.slots_d * g.slots_h * pitch + VL - 1, VL) * VL
    cdef int64_t step_c = odd_lines(place if g.row_tiles else g.taps_w * place)
    cdef int64_t step_w = g.dilation_w if g.row_tiles else place
    cdef int64_t k
    cdef int64_t c = 0, tap = k0 % g.taps
    cdef Operand found
    found.row, found.image, found.apart, found.slab = pitch, width, g.stride_w, g.slots_h * pitch
    if g.direct_in:
        pitch, step_w, step_c = 1, g.dilation_w * job.x.w, job.x.c
        found.row, found.image, found.apart = g.stride_h * job.x.h, job.x.n, g.stride_w * job.x.w
        found.slab = g.stride_d * job.x.d
    elif g.row_tiles and not g.plain_rows:
        pitch, step_w, step_c = g.slots_w, 1, g.slots_d * g.slots_h * g.slots_w
        found.row, found.image, found.apart = pitch, channels * step_c, 1
        found.slab = g.slots_h * pitch
    if not g.row_tiles:
        found.row, found.image, found.apart = 0, 0, 1
    for k in range(k1 - k0):
        offset[k] = c * step_c + job.tap_w[tap] * step_w + job.tap_row[tap] * pitch
        tap += 1
        if tap == g.taps:
            tap = 0
            c += 1
    for k in range(k1 - k0, k1 - k0 + SOON):
        offset[k] = offset[k1 - k0 - 1]
    found.offset = offset
    found.tail, found.tail_offset, found.head = NULL, NULL, 0
    if g.direct_in:
        found.data = input_at(job, box, channel)
        if job.lines and box.slab >= 4 * PANEL:
            found.head = before_line(found.data)
        if g.by_rows and (box.slab - found.head) % VL:
            _copy_tail(&found, box, k1 - k0, offset + g.block + SOON, <real_t *>(scratch + g.at_tail), g.block)
        return found
    found.data = <const real_t *>(scratch + (g.at_cells if g.row_tiles and not g.plain_rows else g.at_source))
    _fill(job, box, <real_t *>(scratch + g.at_source), step_c, place, channel, channels, scratch)
    return found


cdef inline void _copy_tail(Operand *operand, const Box *box, int64_t depth, int64_t *offset, real_t *tail,
                            int64_t block) noexcept nogil:
    """Rows of PANEL scalars with the positions that end every slab: behind them the input may end. Zeros after them:
    processors take a hundred cycles for each product of a subnormal number that may lie there."""
    cdef int64_t first = operand.head + (box.slab - operand.head) // PANEL * PANEL
    cdef int64_t count = box.slab - first
    cdef int64_t d, k
    cdef const real_t *row
    operand.tail, operand.tail_offset = tail, offset
    for k in range(depth + SOON):
        offset[k] = min(k, depth - 1) * PANEL
    for d in range(box.d):
        for k in range(depth):
            row = operand.data + d * operand.slab + operand.offset[k] + first
            vstore(tail, vzero())
            vstore(tail + VL, vzero())
            copy_run(tail, row, count)
            tail += PANEL
        tail += (block - depth) * PANEL


cdef inline void _fill(const Job *job, const Box *box, real_t *dst, int64_t step_c, int64_t place, int64_t channel,
                       int64_t channels, uint8_t *scratch) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t *at = <int64_t *>(scratch + g.at_offsets) + 2 * (g.block + SOON)
    cdef real_t *cells = <real_t *>(scratch + g.at_cells)
    cdef int64_t *start = at + g.slots_d * g.slots_h
    cdef int64_t i
    cdef Rows rows
    rows.count, rows.at, rows.images = g.slots_d * g.slots_h, at, box.n
    rows.places, rows.place, rows.width = 1 if g.row_tiles else g.taps_w, place, row_cells(g, box)
    if g.plain_rows:
        rows.data = job.x.data + box.n0 * job.x.n + channel * job.x.c
        rows.step_n, rows.step_c, rows.step = job.x.n, job.x.c, job.x.w * (1 if g.row_tiles else g.stride_w)
        _find_rows(job, box, at)
        for i in range(rows.places):
            start[i] = (box.w0 * g.stride_w + i * g.dilation_w - g.pad_w) * job.x.w
    else:
        i = g.slots_d * g.slots_h * g.slots_w
        gather_block(cells, i, &job.x, box.n0, box.n, channel, channels, box.d0, box.d, box.h0, box.h, box.w0, box.w,
                     &job.axis_d, &job.axis_h, &job.axis_w, g.padding_mode)
        if g.row_tiles:
            return
        rows.data = cells
        rows.step_c, rows.step_n, rows.step = i, i * channels, 1
        for i in range(rows.count):
            at[i] = i * g.slots_w
        for i in range(g.taps_w):
            start[i] = job.slot_w[i]
    rows.start, rows.chosen = start, start + rows.places
    _choose_lanes(&rows, start + rows.places, (g.size_w - 1) * job.x.w + 1 if g.plain_rows else g.slots_w)
    for i in range(channels):
        _shift(dst + i * step_c, &rows, i)


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


cdef inline void _choose_lanes(const Rows *rows, int64_t *chosen, int64_t size) noexcept nogil:
    """Which lanes of every vector that a row is made of lie on its ``size`` scalars."""
    cdef int64_t s, i, at
    cdef int64_t step = rows.step if rows.step > 2 else 1
    for s in range(rows.places):
        for i in range(cuts(rows.width, VL) * rows.step // step):
            at = rows.start[s] + i * VL * step
            chosen[0] = lanes_up_to(ceil_div(size - at, step)) & ~lanes_up_to(ceil_div(-at, step))
            chosen += 1


cdef inline outlined _shift(real_t *to, const Rows *rows, int64_t channel) noexcept nogil:
    """All places of one channel, row by row. The next channel, too far away for the processor to foresee, is asked for
    meanwhile."""
    cdef const real_t *data = rows.data + channel * rows.step_c
    cdef const int64_t *chosen
    cdef const real_t *row
    cdef const real_t *from_
    cdef real_t *here
    cdef int64_t whole = cuts(rows.width, VL)
    cdef int64_t width = rows.width
    cdef int64_t step = rows.step
    cdef int64_t places = rows.places
    cdef int64_t place = rows.place
    cdef int64_t ahead = rows.step_c * REAL_SIZE
    cdef int64_t bytes = width * step * REAL_SIZE
    cdef int64_t j, n, s, i, _s
    i = rows.count * rows.images * width // VL * VL
    while i < place:
        for s in range(places):
            vstore(to + s * place + i, vzero())
        i += VL
    for j in range(rows.count):
        for n in range(rows.images):
            row = data + rows.at[j] + n * rows.step_n
            chosen = rows.chosen
            here = to
            if rows.at[j] < 0:
                for _s in range(places):
                    for i in range(whole):
                        vstore(here + i * VL, vzero())
                    here += place
            elif step == 1:
                for s in range(places):
                    from_ = row + rows.start[s]
                    for i in range(whole):
                        vstore(here + i * VL, load_lanes(from_ + i * VL, chosen[i]))
                    chosen += whole
                    here += place
            elif step == 2:
                for s in range(places):
                    from_ = row + rows.start[s]
                    for i in range(whole):
                        vstore(here + i * VL, vevery_second(load_lanes(from_ + 2 * i * VL, chosen[2 * i]),
                                                            load_lanes(from_ + 2 * i * VL + VL, chosen[2 * i + 1]), 0))
                    chosen += 2 * whole
                    here += place
            else:
                for s in range(places):
                    from_ = row + rows.start[s]
                    for i in range(whole):
                        vstore(here + i * VL, load_apart(from_ + i * VL * step, step, chosen[i]))
                    chosen += whole
                    here += place
            i = 0
            while i < bytes:
                prefetch(<const char *>row + ahead + i)
                i += LINE_BYTES
            to += width
