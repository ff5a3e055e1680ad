"""The input of one box, laid out so that the tile reads it where it lies: row kk of the patch matrix is one run.

Every tap of the width axis gets its own copy of the rows of the box, shifted to where it reads and as long as the rows
of outputs, so that neighbouring outputs find neighbouring cells also across the ends of rows:

    x     a b c d          place 0:  . a b c  . e f g  ...       [channel][place][row slot][image][width]
          e f g h          place 1:  a b c d  e f g h  ...
                           place 2:  b c d .  f g h .  ...       a tap one row down starts one row further on

That is S copies of a cell, where panels of the patch matrix would take R S. With one tap and no padding the input
itself is such a block, or ``copied``, so that its rows begin with lines of the cache and lie close to one another; or,
where channels are neighbours, the patch matrix column by column (``channel_runs``).

With ``row_tiles`` no tile reads across the end of a row. Then one copy of the rows will do, with the padding around
them; or the cells as they were gathered. Tiles that read scalars may leave a stride of 1 or 2 in, or read the input
itself, if it has no padding; for larger strides, and tiles that read vectors, every cell that a stride leaves out is at a
place of its own:

    stride 2   place 0:  . b d f     place 1:  a c e g        of the padded row . a b c d e f g

Where all places of a row lie within the input and cells lie far enough apart (`least_crossed`), squares of cells are
crossed: what neighbouring taps read goes to as many places. Else cells that lie a power of two apart are picked from
vectors, every second scalar again and again (the ones between them are the next place's), and others one by one:

    a . . . b . . .    c . . . d . . .    e . . . f . . .    g . . . h . . .
    a . b . c . d .                       e . f . g . h .
    a b c d e f g h

Rows are copied by whole vectors that spill into the next row, which is written after it; a place ends with at least a
vector less one of zeros. Rows that are not plain (``plain_rows``: zeros around them, cells that are read close to one
another) are gathered first (gather.pxd).

Assumptions: as ``dense.pyx``.
"""
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.string cimport memset

from cyconv._kernels.crossing cimport cross
from cyconv._kernels.dense_geometry cimport PANEL, Box, Geometry, Job, Operand, cuts, input_places, is_split, result_at
from cyconv._kernels.gather cimport LINE_BYTES, Axis, ceil_div, gather_block, odd_lines, source_index
from cyconv._kernels.masks cimport lanes_up_to, load_apart, load_lanes, vload_chosen, vmask_of, vmask_t
from cyconv._kernels.simd cimport REAL_SIZE, VL, inlined, outlined, prefetch, real_t, vec_t, vevery_second, vload, vstore, vzero
from cyconv._kernels.tile cimport SOON, Places

cdef enum:
    # of rows that are copied together, before they are copied: half of a first-level cache holds them and the copy
    ROWS_BYTES = 8 << 10
    # taps of a channel from which on those of the next one are too many steps later to be asked for: those of a later row
    # are (16x16 patches to 768 channels 1.96 -> 1.77 ms)
    MANY_TAPS = 8 * SOON
    # scalars from cell to cell up to which powers of two are read by whole vectors
    MOST_WOVEN = 16

cdef struct Run:
    # row slots that lie equally far apart: slot ``first + j`` of a channel is at ``at + j * step``
    int64_t first, count, at, step
    int64_t inside              # else padding

cdef struct Rows:
    # the rows that a block is made of: image n of channel c lies ``n * step_n + c * step_c`` further on
    const real_t *data
    int64_t step_n, step_c, images
    const Run *run
    int64_t runs
    # place s of output i of a row is scalar ``start[s] + i * step``, copied to ``s * place + i``
    int64_t step, width, places, place
    const int64_t *start
    const int64_t *chosen       # lanes of the vectors that rows are made of, place by place
    const int64_t *inner        # of every place, the first and the end of its vectors that are whole and in a row alone
    bint crossed                # rows lie within the input, and places read neighbours: squares of cells are crossed

cdef struct Lines:
    # rows that are copied together, ``apart`` from one to the next, of channels whose blocks lie ``to_c`` apart
    const real_t *data
    int64_t apart, count
    int64_t channels, to_c
    bint inside

cdef struct Column:
    # vectors that are copied one after the other: from ``data + c * from_c + l * apart``, ``step`` scalars from cell to
    # cell, to ``to + c * to_c + l * width``
    const real_t *data
    int64_t apart
    real_t *to
    int64_t width, count
    int64_t channels, from_c, to_c
    int64_t ahead, step
    int64_t pair                # how far from there the cells between those go, at a step of 2; 0: nowhere


cdef inline int64_t before_line(const real_t *p) noexcept nogil:
    """Scalars from there to the next vector of memory."""
    return -(<int64_t>(<uintptr_t>p // REAL_SIZE)) & (VL - 1)


cdef inline int64_t least_crossed() noexcept nogil:
    """Scalars from cell to cell from which on squares are crossed. (Patches of 3x3 to 16x16: 0.64 to 0.97 of the time of
    picking the cells of every place by themselves, 2x2 equal; shorter vectors: 3x3 to 10x10 0.9 to 1.2, 16x16 0.72 to 0.81.)
    """
    return 3 if VL >= 16 else MOST_WOVEN


cdef inline int64_t vectors_read(int64_t step) noexcept nogil:
    """Vectors that one of cells ``step`` scalars apart is picked from; 1 also where its cells are read one by one."""
    return step if step <= MOST_WOVEN and step & (step - 1) == 0 else 1


cdef inline int64_t row_cells(const Geometry *g, const Box *box) noexcept nogil:
    """Cells of a row of a place of the laid out input: one per output of a tap, or all from the first to the last one
    read."""
    cdef int64_t reach = (g.taps_w - 1) * g.dilation_w
    if not g.row_tiles:
        return box.w
    return cuts(box.w + reach // g.stride_w if is_split(g) else (box.w - 1) * g.stride_w + reach + 1, VL) * VL


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
    cdef int64_t step_c = odd_lines(input_places(g) * place)
    cdef int64_t step_w = g.dilation_w if g.row_tiles else place
    cdef int64_t k, w
    cdef int64_t c = 0, tap = k0 % g.taps, later = cuts(SOON, g.taps_w) * g.taps_w
    cdef Operand found
    found.tail, found.tail_count, found.head = NULL, 0, 0
    if g.channel_runs:
        found.data, found.places, found.slab = input_at(job, box, channel), Places(NULL, 1, 0), g.stride_d * job.x.d
        found.row, found.image, found.apart = g.stride_h * job.x.h, job.x.n, g.stride_w * job.x.w
        return found
    found.row, found.image, found.slab = pitch, width, g.slots_h * pitch
    found.apart = 1 if is_split(g) else g.stride_w
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
    found.places = Places(NULL, step_c, cuts(SOON, g.taps) * step_c)
    if g.taps >= MANY_TAPS and later < g.taps:
        found.places.soon = (job.tap_row[later] - job.tap_row[0]) * pitch
    elif channels <= 2 * cuts(SOON, g.taps):  # few steps: a later one is that of a later tile (1 to 3 channels 2 %)
        found.places.soon = PANEL
    if g.taps > 1 or found.apart > 1:
        found.places.offset = offset
        for k in range(min(k1 - k0, g.taps)):
            w = job.tap_w[tap] * step_w
            if g.plain_rows and is_split(g):
                w = w % g.stride_w * place + w // g.stride_w
            offset[k] = c * step_c + w + job.tap_row[tap] * pitch
            tap += 1
            if tap == g.taps:
                tap = 0
                c += 1
        for k in range(g.taps, k1 - k0):
            offset[k] = offset[k - g.taps] + step_c
    if g.direct_in:
        found.data = input_at(job, box, channel)
        if job.lines and box.slab >= 4 * PANEL:
            found.head = before_line(<const real_t *>result_at(job, box) if g.result_lines else found.data)
        if g.copied:
            _copy_runs(&found, box, k1 - k0, <real_t *>(scratch + g.at_source))
        elif g.by_rows and (box.slab - found.head) % VL:
            _copy_tail(&found, box, k1 - k0, <real_t *>(scratch + g.at_tail), g.block)
        return found
    found.data = <const real_t *>(scratch + (g.at_cells if g.row_tiles and not g.plain_rows else g.at_source))
    _fill(job, box, <real_t *>(scratch + g.at_source), step_c, place, channel, channels, scratch)
    return found


cdef inline void _copy_tail(Operand *operand, const Box *box, int64_t depth, real_t *tail, int64_t block) noexcept nogil:
    """Rows of PANEL scalars with the positions that end every slab, whole vectors but for the last one: behind them the
    input may end."""
    cdef int64_t left = box.slab - operand.head
    cdef int64_t count = min(left, PANEL - VL + left % VL)
    cdef const real_t *first = operand.data + box.slab - count
    cdef int64_t d
    operand.tail, operand.tail_count = tail, count
    for d in range(box.d):
        _copy_rows(tail + d * block * PANEL, PANEL, first + d * operand.slab, operand.places.step, count, depth)


cdef inline void _copy_runs(Operand *operand, const Box *box, int64_t depth, real_t *to) noexcept nogil:
    """All positions, side by side, so that vectors begin with lines of the cache whatever the input's rows begin with."""
    cdef int64_t pitch = odd_lines(box.slab)
    cdef int64_t d
    for d in range(box.d):
        _copy_rows(to + d * depth * pitch, pitch, operand.data + d * operand.slab, operand.places.step, box.slab, depth)
    operand.data, operand.slab, operand.places = to, depth * pitch, Places(NULL, pitch, SOON * pitch)


cdef inline void _copy_rows(real_t *to, int64_t pitch, const real_t *row, int64_t apart, int64_t count,
                            int64_t rows) noexcept nogil:
    """``count`` neighbours of each row, whole vectors with zeros after the last ones: processors take a hundred cycles for
    each product of a subnormal number that may lie there."""
    cdef int64_t whole = count // VL * VL
    cdef int64_t _k, i
    for _k in range(rows):
        i = 0
        while i < whole:
            vstore(to + i, vload(row + i))
            i += VL
        if whole < count:
            vstore(to + whole, load_lanes(row + whole, lanes_up_to(count - whole)))
        row += apart
        to += pitch


cdef inline void _fill(const Job *job, const Box *box, real_t *dst, int64_t step_c, int64_t place, int64_t channel,
                       int64_t channels, uint8_t *scratch) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t *at = <int64_t *>(scratch + g.at_offsets) + g.block
    cdef int64_t slots = g.slots_d * g.slots_h
    cdef Run *run = <Run *>(at + slots)
    cdef int64_t *start = <int64_t *>(run + slots)
    cdef real_t *cells = <real_t *>(scratch + g.at_cells)
    cdef int64_t i, size
    cdef Rows rows
    rows.run, rows.images = run, box.n
    cdef bint in_steps = not g.row_tiles or is_split(g)
    rows.places, rows.place, rows.width = input_places(g), place, row_cells(g, box)
    if g.plain_rows:
        rows.data = job.x.data + box.n0 * job.x.n + channel * job.x.c
        rows.step_n, rows.step_c, rows.step = job.x.n, job.x.c, job.x.w * (g.stride_w if in_steps else 1)
        _find_rows(job, box, at)
        rows.runs = _join_rows(at, slots, run)
        for i in range(rows.places):
            start[i] = (box.w0 * g.stride_w + i * (1 if g.row_tiles else g.dilation_w) - g.pad_w) * job.x.w
    else:
        i = slots * g.slots_w
        gather_block(cells, i, &job.x, box.n0, box.n, channel, channels, box.d0, box.d, box.h0, box.h, box.w0, box.w,
                     &job.axis_d, &job.axis_h, &job.axis_w, g.padding_mode)
        if g.row_tiles:
            return
        rows.data = cells
        rows.step_c, rows.step_n, rows.step = i, i * channels, 1
        run[0] = Run(0, slots, 0, g.slots_w, 1)
        rows.runs = 1
        for i in range(g.taps_w):
            start[i] = job.slot_w[i]
    rows.start, rows.inner, rows.chosen = start, start + rows.places, start + 3 * rows.places
    size = (g.size_w - 1) * job.x.w + 1 if g.plain_rows else g.slots_w
    rows.crossed = (rows.step >= least_crossed() and not g.row_tiles and g.dilation_w * job.x.w == 1 and start[0] >= 0
                    and start[rows.places - 1] + (rows.width - 1) * rows.step < size)
    if rows.crossed:  # no lanes are chosen: squares do not need them, nor do zeros
        memset(start + rows.places, 0, 2 * rows.places * sizeof(int64_t))
    else:
        _choose_lanes(&rows, start + rows.places, start + 3 * rows.places, size)
    i = 0
    while i < channels:
        size = min(channels - i, max(ROWS_BYTES // (slots * rows.images * rows.width * rows.step * REAL_SIZE), <int64_t>1))
        _shift(dst + i * step_c, step_c, &rows, slots, i, size)
        i += size


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


cdef inline int64_t _join_rows(const int64_t *at, int64_t slots, Run *run) noexcept nogil:
    """The row slots as runs, and how many of these there are."""
    cdef int64_t i = 0, j, runs = 0
    cdef int64_t step
    while i < slots:
        j = i + 1
        step = at[j] - at[i] if j < slots else 0
        while j < slots and (at[j] < 0) == (at[i] < 0) and (at[i] < 0 or at[j] - at[j - 1] == step):
            j += 1
        run[runs] = Run(i, j - i, max(at[i], <int64_t>0), 0 if at[i] < 0 or j == i + 1 else step, at[i] >= 0)
        runs += 1
        i = j
    return runs


cdef inline void _choose_lanes(const Rows *rows, int64_t *inner, int64_t *chosen, int64_t size) noexcept nogil:
    """Which lanes of every vector that a row is made of lie on its ``size`` scalars."""
    cdef int64_t s, i, at
    cdef int64_t each = vectors_read(rows.step)
    cdef int64_t step = rows.step // each
    cdef int64_t whole = cuts(rows.width, VL)
    for s in range(rows.places):
        for i in range(whole * each):
            at = rows.start[s] + i * VL * step
            chosen[i] = lanes_up_to(VL)
            if at < 0 or at + (VL - 1) * step >= size:  # divisions take longer than copying
                chosen[i] = lanes_up_to(ceil_div(size - at, step)) & ~lanes_up_to(ceil_div(-at, step))
        i = 0
        while i < whole - 1 and not _is_whole(chosen + i * each, each):
            i += 1
        inner[0] = i
        while i < whole - 1 and _is_whole(chosen + i * each, each):
            i += 1
        inner[1] = i
        inner += 2
        chosen += whole * each


cdef inline bint _is_whole(const int64_t *chosen, int64_t each) noexcept nogil:
    return (chosen[0] & chosen[each - 1]) == lanes_up_to(VL)


cdef inline outlined _shift(real_t *to, int64_t to_c, const Rows *rows, int64_t slots, int64_t channel,
                            int64_t channels) noexcept nogil:
    """All places of these channels: some rows at a time, so many that they stay in the first-level cache; and several
    channels if all their rows do."""
    cdef const real_t *data = rows.data + channel * rows.step_c
    cdef const Run *run
    cdef Lines lines
    cdef int64_t most = max(ROWS_BYTES // (rows.width * rows.step * REAL_SIZE), <int64_t>1)
    cdef int64_t c, r, j, s, i
    for c in range(channels):
        for s in range(rows.places):
            i = slots * rows.images * rows.width // VL * VL
            while i < rows.place:
                vstore(to + c * to_c + s * rows.place + i, vzero())
                i += VL
    lines.channels, lines.to_c = channels, to_c
    for r in range(rows.runs):
        run = &rows.run[r]
        lines.inside = run.inside
        j = 0
        while j < run.count:
            lines.data = data + run.at + j * run.step
            lines.apart, lines.count = run.step, min(most, run.count - j)
            if rows.images > 1:  # else the ends of rows would not be written before what follows them
                lines.apart, lines.count = rows.step_n, rows.images
            _copy_lines(to + (run.first + j) * rows.images * rows.width, rows, &lines)
            j += lines.count if rows.images == 1 else 1


cdef inline void _copy_lines(real_t *to, const Rows *rows, const Lines *lines) noexcept nogil:
    """All places of these rows, by columns of vectors, the last one first: it spills into the next rows. Where a row
    has more vectors than there are rows, its inner ones are a column, too."""
    cdef const int64_t *chosen = rows.chosen
    cdef int64_t whole = cuts(rows.width, VL)
    cdef int64_t each = vectors_read(rows.step)
    cdef int64_t s, c, i, _j, first, last
    cdef Column column, row
    if rows.crossed and lines.inside:
        for c in range(lines.channels):
            for i in range(lines.count):
                cross(to + c * lines.to_c + i * rows.width, rows.place,
                      lines.data + c * rows.step_c + i * lines.apart + rows.start[0], rows.step, rows.width, rows.places)
        return
    column.apart, column.width, column.count, column.step = lines.apart, rows.width, lines.count, rows.step
    column.channels, column.from_c, column.to_c = lines.channels, rows.step_c, lines.to_c
    column.ahead = lines.channels * rows.step_c
    s = 0
    while s < rows.places:
        first, last = rows.inner[2 * s], rows.inner[2 * s + 1]
        if last - first <= lines.count:
            first = last
        column.data, column.to, column.pair = lines.data + rows.start[s], to, 0
        if rows.step == 2 and s + 1 < rows.places and rows.start[s + 1] == rows.start[s] + 1:
            column.pair = rows.place
        for i in range(whole - 1, last - 1, -1):
            _copy_column(&column, i, chosen + i * each, lines.inside, s == 0)
        if last > first:
            row = column
            row.data, row.apart, row.to = column.data + first * VL * rows.step, VL * rows.step, to + first * VL
            row.width, row.count = VL, last - first
            for _j in range(lines.count):
                _copy_column(&row, 0, chosen + first * each, lines.inside, s == 0)
                row.data += lines.apart
                row.to += rows.width
        for i in range(first - 1, -1, -1):
            _copy_column(&column, i, chosen + i * each, lines.inside, s == 0)
        i = 2 if column.pair else 1
        chosen += i * whole * each
        to += i * rows.place
        s += i


cdef inline void _copy_column(const Column *column, int64_t i, const int64_t *chosen, bint inside, bint ask) noexcept nogil:
    """Vector i of each row. ``ask``: for the same of later channels, too, which are too far away for the processor to
    foresee."""
    cdef int64_t c, _l
    cdef real_t *to
    if not inside:
        for c in range(column.channels):
            to = column.to + c * column.to_c + i * VL
            for _l in range(column.count):
                vstore(to, vzero())
                vstore(to + column.pair, vzero())
                to += column.width
    elif column.step == 1:
        _copy_vectors(1, ask, column, i, chosen)
    elif column.step == 2:
        _copy_vectors(2, ask, column, i, chosen)
    elif column.step == 4:
        _copy_vectors(4, ask, column, i, chosen)
    elif column.step == 8:
        _copy_vectors(8, ask, column, i, chosen)
    elif column.step == 16:
        _copy_vectors(16, ask, column, i, chosen)
    else:
        _copy_apart(column, i, chosen[0])


cdef inline inlined _copy_vectors(const int step, bint ask, const Column *column, int64_t i,
                                  const int64_t *chosen) noexcept nogil:
    if step == 2 and column.pair:
        if ask:
            _copy_woven(step, 1, 1, column, i, chosen)
        else:
            _copy_woven(step, 0, 1, column, i, chosen)
    elif ask:
        _copy_woven(step, 1, 0, column, i, chosen)
    else:
        _copy_woven(step, 0, 0, column, i, chosen)


cdef inline inlined _copy_woven(const int step, const int ask, const int pair, const Column *column, int64_t i,
                                const int64_t *chosen) noexcept nogil:
    """Vector i of each row: every ``step``-th scalar of as many vectors. ``pair``: those between them, too."""
    cdef real_t *to
    cdef const real_t *from_
    cdef int64_t width = column.width, apart = column.apart, ahead = column.ahead
    cdef bint whole = _is_whole(chosen, step)
    cdef vec_t v[MOST_WOVEN]
    cdef vmask_t lanes[MOST_WOVEN]
    cdef int64_t c, _l
    cdef int j
    for j in range(step):
        lanes[j] = vmask_of(chosen[j])
    for c in range(column.channels):
        to = column.to + c * column.to_c + i * VL
        from_ = column.data + c * column.from_c + i * VL * step
        for _l in range(column.count):
            for j in range(step):
                v[j] = vload(from_ + j * VL) if whole else vload_chosen(from_ + j * VL, lanes[j])
            if pair:
                vstore(to + column.pair, vevery_second(v[0], v[1], 1))
            if step > 8:
                _halve(8, v)
            if step > 4:
                _halve(4, v)
            if step > 2:
                _halve(2, v)
            if step > 1:
                _halve(1, v)
            vstore(to, v[0])
            if ask:
                for j in range(step):
                    prefetch(from_ + ahead + j * VL)
            to += width
            from_ += apart


cdef inline inlined _halve(const int half, vec_t *v) noexcept nogil:
    cdef int j
    for j in range(half):
        v[j] = vevery_second(v[2 * j], v[2 * j + 1], 0)


cdef inline void _copy_apart(const Column *column, int64_t i, int64_t chosen) noexcept nogil:
    cdef int64_t step = column.step
    cdef real_t *to
    cdef const real_t *from_
    cdef int64_t c, _l, j
    for c in range(column.channels):
        to = column.to + c * column.to_c + i * VL
        from_ = column.data + c * column.from_c + i * VL * step
        for _l in range(column.count):
            vstore(to, load_apart(from_, step, chosen))
            j = 0
            while j < VL * step:
                prefetch(from_ + column.ahead + j)
                j += LINE_BYTES // REAL_SIZE
            to += column.width
            from_ += column.apart
