"""Maximum and average over windows.

    out[p, od, oh, ow] = o over (d, h, w) in the window of (od, oh, ow) of x[p, d, h, w],     o: max or + (rows.pxd)

A window is a box of cells, one arithmetic progression per axis, clamped to the input; so it is evaluated axis by axis:

    for each block of output rows and columns of one plane:                    <- threads
        down:     rows of x -> block of rows v, padded left and right with the identity of o
                  every output row by itself, or (run) all at once by doubling, the cost independent of the window
        across:   FLAT   stride 1: by doubling, over all rows of the block as one row
                  HALF   stride 2, at most 3 taps: v is kept as even and odd columns, so that no load is strided
                  PICK   other strides: as FLAT, then every stride-th column
                  EACH   each window by itself: irregular ones, and those that hardly overlap
                  NARROW 2 or 3 taps, stride 1 or 2: down and across in registers (narrow.pxd; strips.pxd, pairs.pxd)
        WIDE   5, 7, 9, 11 or 13 taps, planes of a few vectors' width: in registers (wide.pxd)
        CHOSEN strides from 2 on, planes of a few vectors' width: in registers (chosen.pxd)
    LINES: one window per plane, the plane contiguous: VL planes at once
    with indices: NARROW windows in registers (placed.pxd), others by rows of maxima and their places (best.pxd)

``inner`` cells side by side are pooled alike: 1, or the channels where they are last; a "column" below is such a group.
Each output cell is combined in an order that its position alone decides, so that threads do not change a bit of it.

Assumptions (guaranteed by ``_plans/pooling.py``): no size is zero; the columns of x and of out are contiguous; strides
count cells; coordinates and offsets fit in 63 bits.
"""
from cpython.pycapsule cimport PyCapsule_New
from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from cyconv._kernels.rows cimport (
    FEW, MAX, SUM, Quotient, Room, Rows, Sources, Times, combine, combine_halves, combine_line, combine_rows,
    divide, divide_each, divide_one, fill, identity, is_max, once, quotient_of, pick, point_at, split, windows,
)
from cyconv._kernels.best cimport best_row
from cyconv._kernels.chosen cimport chosen_rows
from cyconv._kernels.lanes cimport CHOOSES, FUSED, apart, vall_zero
from cyconv._kernels.lines cimport combine_lines
from cyconv._kernels.narrow cimport Finish, Line, narrow_rows
from cyconv._kernels.pairs cimport pair_rows
from cyconv._kernels.placed cimport placed_rows
from cyconv._kernels.simd cimport REAL_SIZE, VL, real_t, vec_t, vload, vset, vstore, vzero
from cyconv._kernels.strips cimport strip_rows
from cyconv._kernels.uneven cimport uneven_rows
from cyconv._kernels.wide cimport wide_rows
from cyconv._kernels.windows cimport (
    CHOSEN, EACH, FLAT, HALF, LINES, NARROW, PICK, WIDE, Axis, Block, Geometry, Job, Window, extent, place_columns, window,
)

cdef enum:
    DONE = 0       # what a call comes to, as calls.pyx knows it
    OVERLAP = 1
    NO_MEMORY = 2
    ALIGNMENT = 64
    SUMS = 2048    # that wait for their division
    CELLS = 512    # of a plane, whose divisors are kept

#: order of the numbers of a call, before the tables
FIELDS = (
    "planes", "channels", "inner",
    "x_plane", "x_channel", "x_d", "x_h", "out_plane", "out_channel", "out_d", "out_h",
    "index_d", "index_h", "index_w", "x_end",
    "op", "across", "run", "count_padding", "ahead", "strip", "pairs", "block_h", "block_w", "pitch",
    "at_loaded", "at_line", "at_ping", "at_pong", "at_rest", "at_levels", "scratch",
)
AXIS_FIELDS = ("size", "out", "taps", "stride", "before", "after", "dilation", "table")


# ------------------------------------------------------------------------------------------------------------- down


cdef inline Rows _rows(const Job *job, const Block *b, Window rows_d, Window rows_h) noexcept nogil:
    """The rows of one window, from the first column that the block sees."""
    cdef const Geometry *g = job.g
    cdef Rows rows
    rows.many = rows_d.cells * rows_h.cells
    rows.inner = max(1, rows_h.cells)
    rows.outer_step = g.d.dilation * g.x_d
    rows.inner_step = g.h.dilation * g.x_h
    rows.first = b.x + rows_d.first * g.x_d + rows_h.first * g.x_h + b.first_column * g.inner
    rows.end = job.x + g.x_end
    return rows


cdef inline void _fill_column(const Geometry *g, real_t *v, int64_t rows) noexcept nogil:
    cdef int64_t r
    for r in range(rows):
        v[r * g.pitch] = identity(<int>g.op)


cdef inline void _pad(const Geometry *g, const Block *b, real_t *v, int64_t rows) noexcept nogil:
    """Identities left and right of rows."""
    cdef int64_t i, right = (b.pad_left + b.cells) * g.inner
    for i in range(b.pad_left * g.inner):
        _fill_column(g, v + i, rows)
    for i in range(b.pad_right * g.inner):
        _fill_column(g, v + right + i, rows)


cdef inline void _pad_halves(const Geometry *g, const Block *b, real_t *v) noexcept nogil:
    cdef int64_t i, column
    for i in range(b.pad_left + b.pad_right):
        column = i if i < b.pad_left else i + b.cells
        _fill_column(g, v + column // 2 + column % 2 * (g.pitch // 2), b.rows)


cdef inline int64_t _alike(const Axis *a, int64_t o, int64_t most) noexcept nogil:
    """How many windows from o on, at least one, lie wholly in the input if the first of them does."""
    cdef int64_t start = o * a.stride - a.before, room = a.size - start - ((a.taps - 1) * a.dilation + 1)
    if a.stride == 0 or start < 0 or room < 0:
        return 1
    return min(most, room // a.stride + 1)


cdef inline void _load(
    const Job *job, const Block *b, Window rows_d, Window rows_h, real_t *v, int64_t rounds, int64_t step, bint halves,
    bint spill, real_t *mine,
) noexcept nogil:
    """``rounds`` rows of v from windows of rows that lie ``step`` rows of x apart; ``spill``: over what is padded."""
    cdef const Geometry *g = job.g
    cdef int64_t n = b.cells * g.inner, left = b.pad_left * g.inner, r, half = g.pitch // 2
    cdef int64_t reach = (n + 2 * VL - 1) // (2 * VL) * 2 * VL if halves else VL
    cdef Rows rows = _rows(job, b, rows_d, rows_h)
    cdef const real_t *found[FEW]
    cdef const real_t *last[FEW]
    cdef Times times
    cdef Room room
    cdef real_t *line = mine + g.at_line
    times.rounds = rounds
    times.dst_step = g.pitch
    times.src_step = step * g.x_h
    room.read = room.ahead = True
    room.write = spill
    if 0 < rows.many <= FEW and n > 0:
        room.read = point_at(&rows, 0, rows.many, found, reach)
        rows.first += (rounds - 1) * times.src_step
        room.read = point_at(&rows, 0, rows.many, last, reach) and room.read
        rows.first -= (rounds - 1) * times.src_step
        if not halves and (room.read or n >= VL):
            combine(<int>g.op, v + left, found, <int>rows.many, n, times, room)
            return
        if halves and room.read and b.pad_left % 2 == 0:
            combine_halves(<int>g.op, v + left // 2, v + half + left // 2, found, <int>rows.many, n, times)
            return
        if halves and room.read:
            combine_halves(<int>g.op, v + half + left // 2, v + left // 2 + 1, found, <int>rows.many, n, times)
            return
    for r in range(rounds):  # no-cython-lint
        if halves:
            combine_rows(<int>g.op, line + left, &rows, n, mine + g.at_levels)
            split(v, v + half, line, half)
        else:
            combine_rows(<int>g.op, v + left, &rows, n, mine + g.at_levels)
        v += g.pitch
        rows.first += times.src_step


cdef inline void _down(const Job *job, const Block *b, real_t *v, real_t *mine) noexcept nogil:
    """Every output row of the block by itself."""
    cdef const Geometry *g = job.g
    cdef int64_t r = 0, rounds
    while r < b.rows:
        rounds = _alike(&g.h, b.oh + r, b.rows - r)
        _load(
            job, b, window(g, &g.d, b.od), window(g, &g.h, b.oh + r), v + r * g.pitch, rounds, g.h.stride,
            g.across == HALF, True, mine,
        )
        r += rounds
    if g.across == HALF:
        _pad_halves(g, b, v)
    else:
        _pad(g, b, v, b.rows)


cdef inline void _down_running(const Job *job, const Block *b, real_t *v, real_t *mine) noexcept nogil:
    """All rows of the block at once: loaded once each, then windows of rows by doubling."""
    cdef const Geometry *g = job.g
    cdef const Axis *a = &g.h
    cdef int64_t first = b.oh * a.stride - a.before, width = (b.pad_left + b.cells + b.pad_right) * g.inner, r
    cdef int64_t rows = (b.rows - 1) * a.stride + (a.taps - 1) * a.dilation + 1
    cdef int64_t above = min(max(-first, 0), rows), below = min(max(first + rows - a.size, 0), rows)
    cdef real_t *loaded = mine + g.at_loaded
    cdef real_t *line = mine + g.at_line
    cdef Window one
    cdef Sources found
    cdef Times times = once()
    cdef Room room
    fill(loaded, identity(<int>g.op), rows * g.pitch)
    one.first = first + above
    one.cells = 1
    if above + below < rows:
        _load(job, b, window(g, &g.d, b.od), one, loaded + above * g.pitch, rows - above - below, 1, False, False, mine)
    windows(
        <int>g.op, loaded, (b.rows - 1) * a.stride * g.pitch + width, a.dilation * g.pitch, a.taps,
        mine + g.at_ping, mine + g.at_pong, mine + g.at_rest, &found,
    )
    room.read, room.write, room.ahead = True, g.inner == 1, False
    times.src_step = a.stride * g.pitch
    if g.across != HALF:
        times.rounds = b.rows
        times.dst_step = g.pitch
        combine(<int>g.op, v, found.at, found.count, width, times, room)
        return
    for r in range(b.rows):
        combine(<int>g.op, line, found.at, found.count, width, once(), room)
        split(v + r * g.pitch, v + r * g.pitch + g.pitch // 2, line, g.pitch // 2)
        for j in range(found.count):
            found.at[j] += times.src_step


# ----------------------------------------------------------------------------------------------------------- across


cdef inline void _each(const Job *job, const Block *b, const real_t *row, real_t *out, real_t *levels) noexcept nogil:
    """One output row, each window by itself."""
    cdef const Geometry *g = job.g
    cdef int64_t o = 0, inner = g.inner
    cdef const real_t *found[FEW]
    cdef const real_t *at
    cdef Window cells
    cdef Rows groups
    cdef Times times
    cdef Room room
    room.read = room.write = room.ahead = False
    times.dst_step = inner
    times.src_step = g.w.stride * inner
    groups.inner_step = g.w.dilation * inner
    groups.outer_step = 0
    groups.end = row + b.cells * inner
    while o < b.columns:
        cells = window(g, &g.w, b.ow + o)
        times.rounds = 1
        at = row + (cells.first - b.first_column) * inner
        if inner == 1:
            if g.op == MAX:
                out[o] = combine_line(MAX, at, cells.cells, g.w.dilation)
            else:
                out[o] = combine_line(SUM, at, cells.cells, g.w.dilation)
        else:
            groups.first = at
            groups.many = cells.cells
            groups.inner = max(1, cells.cells)
            if 0 < cells.cells <= FEW:
                times.rounds = _alike(&g.w, b.ow + o, b.columns - o)
                point_at(&groups, 0, cells.cells, found, 0)
                combine(<int>g.op, out + o * inner, found, <int>cells.cells, inner, times, room)
            else:
                combine_rows(<int>g.op, out + o * inner, &groups, inner, levels)
        o += times.rounds


cdef inline Sources _halves(const Geometry *g, const real_t *v) noexcept nogil:
    """The taps of a window of stride 2 in the halves of the rows."""
    cdef Sources found
    cdef int64_t t, column
    found.count = <int>g.w.taps
    for t in range(g.w.taps):
        column = t * g.w.dilation
        found.at[t] = v + (column % 2) * (g.pitch // 2) + column // 2
    return found


cdef inline void _across(const Job *job, const Block *b, const real_t *v, bint slack, real_t *mine) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t r, j, inner = g.inner, reach
    cdef real_t *out
    cdef Sources found
    cdef Times times
    cdef Room room
    cdef const real_t *row
    cdef real_t trouble[VL]
    cdef Quotient q
    q = quotient_of(1)
    fill(trouble, 0, VL)
    reach = ((b.columns - 1) * g.w.stride + 1) * inner
    if g.across == HALF:
        found = _halves(g, v)
    elif g.across != EACH:
        windows(
            <int>g.op, v, (b.rows - 1) * g.pitch + reach, g.w.dilation * inner, g.w.taps,
            mine + g.at_ping, mine + g.at_pong, mine + g.at_rest, &found,
        )
    room.read, room.write, room.ahead = slack, False, False
    if g.across == FLAT or g.across == HALF:
        times.rounds = b.rows
        times.dst_step = g.out_h
        times.src_step = g.pitch
        combine(<int>g.op, b.out, found.at, found.count, b.columns * inner, times, room)
    for r in range(b.rows):
        out = b.out + r * g.out_h
        if g.across == EACH:
            _each(job, b, v + r * g.pitch, out, mine + g.at_levels)
        elif g.across == PICK:
            row = found.at[0]
            if found.count > 1:
                combine(<int>g.op, mine + g.at_line, found.at, found.count, reach, once(), room)
                row = mine + g.at_line
            pick(out, row, b.columns, g.w.stride, inner)
            for j in range(found.count):
                found.at[j] += g.pitch
        if not is_max(<int>g.op):
            _average(job, b, b.oh + r, out, &q, trouble)
    if not is_max(<int>g.op):
        _mend(job, b, trouble)


# --------------------------------------------------------------------------------------------------------- averages


cdef double _sum_scaled(const Job *job, const Block *b, Window rows_d, Window rows_h, Window cells, int64_t c) noexcept nogil:
    """The sum of one window times 2**-64, in float64: whatever is finite in it, it does not overflow."""
    cdef const Geometry *g = job.g
    cdef int64_t i, j, k
    cdef const real_t *at
    cdef double acc = 0
    for i in range(rows_d.cells):
        for j in range(rows_h.cells):
            at = b.x + (rows_d.first + i * g.d.dilation) * g.x_d + (rows_h.first + j * g.h.dilation) * g.x_h + c
            for k in range(cells.cells):
                acc += <double>at[(cells.first + k * g.w.dilation) * g.inner] * 5.421010862427522e-20
    return acc


cdef inline double _divisor(const Job *job, int64_t od, int64_t oh, int64_t ow) noexcept nogil:
    cdef const Geometry *g = job.g
    if job.divisor > 0:
        return job.divisor
    return extent(g, &g.d, od) * extent(g, &g.h, oh) * extent(g, &g.w, ow)


cdef inline void _divide_column(const Geometry *g, double divisor, real_t *out, real_t *trouble) noexcept nogil:
    if g.inner == 1:
        divide_one(out, divisor, trouble)
    else:
        divide(out, g.inner, quotient_of(divisor), trouble)


cdef inline void _average(
    const Job *job, const Block *b, int64_t oh, real_t *out, Quotient *q, real_t *trouble
) noexcept nogil:
    """Sums of a row to averages: the windows of most columns, and of most rows, count the same number of cells (q)."""
    cdef const Geometry *g = job.g
    cdef double divisor
    cdef double rows = 1 if job.divisor > 0 else extent(g, &g.d, b.od) * extent(g, &g.h, oh)
    cdef const Axis *a = &g.w
    cdef int64_t o, left = 0, right = b.columns, last
    if job.divisor <= 0 and a.stride > 0:
        last = a.size + (a.after if g.count_padding else 0) - (a.taps - 1) * a.dilation - 1 + a.before
        right = max(0, min(b.columns, last // a.stride + 1 - b.ow)) if last >= 0 else 0
        if not g.count_padding:
            left = min(right, max(0, (a.before + a.stride - 1) // a.stride - b.ow))
    elif job.divisor <= 0:
        right = 0
    for o in range(left):
        _divide_column(g, rows * extent(g, a, b.ow + o), out + o * g.inner, trouble)
    if left < right:
        divisor = job.divisor if job.divisor > 0 else rows * extent(g, a, b.ow + left)
        if divisor != q.divisor:
            q[0] = quotient_of(divisor)
        divide(out + left * g.inner, (right - left) * g.inner, q[0], trouble)
    for o in range(right, b.columns):
        _divide_column(g, rows * extent(g, a, b.ow + o), out + o * g.inner, trouble)


cdef void _mend(const Job *job, const Block *b, const real_t *trouble) noexcept nogil:
    """Averages that came out infinite or NaN once more with care: a sum may have overflowed that is finite divided."""
    cdef const Geometry *g = job.g
    cdef int64_t r, i, l, o
    cdef bint found = False
    cdef real_t *out
    for l in range(VL):
        found = found or trouble[l] != 0
    for r in range(b.rows if found else 0):
        out = b.out + r * g.out_h
        for i in range(b.columns * g.inner):
            if out[i] - out[i] != 0:
                o = b.ow + i // g.inner
                out[i] = <real_t>(18446744073709551616.0 * (_sum_scaled(
                    job, b, window(g, &g.d, b.od), window(g, &g.h, b.oh + r), window(g, &g.w, o), i % g.inner
                ) / _divisor(job, b.od, b.oh + r, o)))


# ---------------------------------------------------------------------------------------------------------- narrow


cdef inline bint _even(const Geometry *g, const Axis *a) noexcept nogil:
    """Whether an average counts the same number of cells in every window."""
    return a.stride > 0 and extent(g, a, 0) == a.taps and extent(g, a, a.out - 1) == a.taps


cdef inline Finish _finish_of(const Job *job) noexcept nogil:
    """What narrow windows do with their sums, where all of them count the same number of cells."""
    cdef const Geometry *g = job.g
    cdef Finish finish
    cdef Quotient q
    finish.divide = False
    finish.by = finish.inverse = vzero()
    if not is_max(<int>g.op) and (job.divisor > 0 or (_even(g, &g.d) and _even(g, &g.h) and _even(g, &g.w))):
        q = quotient_of(_divisor(job, 0, 0, 0))
        finish.divide, finish.by, finish.inverse = True, vset(q.by), vset(q.inverse)
    return finish


cdef inline apart _narrow_rows(
    const Job *job, const Block *b, int64_t r, int64_t stop, Finish finish, vec_t *bad
) noexcept nogil:
    """Rows [r, stop) of the block one by one, vector by vector."""
    cdef const Geometry *g = job.g
    cdef const real_t *found[FEW]
    cdef Line line
    cdef Rows rows
    cdef Times times
    times.dst_step = g.out_h
    times.src_step = g.h.stride * g.x_h
    line.outputs = b.columns
    line.width = g.w.size
    line.before = g.w.before
    line.fetched = g.w.stride * min(4, g.h.stride)
    line.far = g.ahead
    while r < stop:
        rows = _rows(job, b, window(g, &g.d, b.od), window(g, &g.h, b.oh + r))
        times.rounds = _alike(&g.h, b.oh + r, stop - r)
        if rows.many == 0:
            fill(b.out + r * g.out_h, identity(<int>g.op), b.columns)
        else:
            point_at(&rows, 0, rows.many, found, 0)
            narrow_rows(
                <int>g.op, <int>g.w.stride, <int>g.w.taps, b.out + r * g.out_h, found, <int>rows.many, times, line,
                finish, bad,
            )
        r += times.rounds


cdef inline void _narrow_strips(const Job *job, const Block *b, Finish finish, vec_t *bad) noexcept nogil:
    """In strips, but for the rows at either end of x, or for all of them if there is a NaN."""
    cdef int64_t begin, stop
    if strip_rows(job, b, &begin, &stop, finish, bad):
        if begin > 0:
            _narrow_rows(job, b, 0, begin, finish, bad)
        if stop < b.rows:
            _narrow_rows(job, b, stop, b.rows, finish, bad)
    else:
        _narrow_rows(job, b, 0, b.rows, finish, bad)


cdef inline void _settle(const Job *job, const Block *b, Finish finish, vec_t bad) noexcept nogil:
    """Averages that are sums as yet, and those that were not finite: ``bad`` is not zero where there is one."""
    cdef const Geometry *g = job.g
    cdef int64_t k
    cdef real_t trouble[VL]
    cdef Quotient q
    if not is_max(<int>g.op) and not (finish.divide and vall_zero(bad)):
        vstore(trouble, bad)
        q = quotient_of(1)
        for k in range(0 if finish.divide else b.rows):
            _average(job, b, b.oh + k, b.out + k * g.out_h, &q, trouble)
        _mend(job, b, trouble)


cdef void _narrow(const Job *job, const Block *b, Finish finish) noexcept nogil:
    """A block whose rows and columns are combined in registers."""
    cdef const Geometry *g = job.g
    cdef vec_t bad = vzero()
    if g.across == WIDE:
        wide_rows(job, b, finish, &bad)
    elif CHOOSES and g.pairs > 0:
        pair_rows(
            <int>g.op, b.out, b.x + 4 * b.oh * b.columns, 4 * b.rows * b.columns, <int>b.columns, <int>g.pairs, finish, &bad
        )
    elif g.strip == 0:
        _narrow_rows(job, b, 0, b.rows, finish, &bad)
    else:
        _narrow_strips(job, b, finish, &bad)
    _settle(job, b, finish, bad)


cdef struct Divisors:
    # Of each cell of a plane's averages, and one over that; those of a vector beyond are ones.
    real_t by[CELLS + VL]
    real_t inverse[CELLS + VL]


cdef void _divisors(const Job *job, const Block *b, Divisors *d) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t r, c, i = 0, cells = b.rows * b.columns
    cdef double rows
    cdef double columns[CELLS]
    for c in range(b.columns):
        columns[c] = extent(g, &g.w, b.ow + c)
    for r in range(b.rows):
        rows = extent(g, &g.d, b.od) * extent(g, &g.h, b.oh + r)
        for c in range(b.columns):
            d.by[i] = <real_t>(rows * columns[c])
            i += 1
    fill(d.by + cells, 1, VL)
    for i in range(cells + VL):
        d.inverse[i] = 1 / d.by[i]


cdef void _chosen(const Job *job, Block *b, int64_t planes, Finish finish) noexcept nogil:
    """The same block of planes that follow each other, some at a time; sums are divided while they are in the cache."""
    cdef const Geometry *g = job.g
    cdef int64_t cells = b.rows * b.columns, some = max(1, SUMS // cells), _k
    cdef bint sums = not is_max(<int>g.op), settled
    cdef bint close = g.out_h == b.columns and (planes == 1 or g.out_channel == cells), alike = finish.divide
    # whether divisors are kept does not depend on how planes are shared: quotients below the normal numbers may differ
    cdef bint kept = g.out_h == g.w.out and g.out_channel == g.h.out * g.w.out <= CELLS
    cdef real_t trouble[VL]
    cdef vec_t bad = vzero()
    cdef Quotient q = quotient_of(1)
    cdef Divisors each
    finish.divide = sums and (close if alike else kept)
    if finish.divide and alike:
        q = quotient_of(_divisor(job, 0, 0, 0))
    elif finish.divide:
        _divisors(job, b, &each)
    if some > VL:
        some -= some % VL   # whole vectors of sums
    while planes > 0:
        some = min(some, planes)
        planes -= some
        if g.w.stride == 0 or g.h.stride == 0:
            uneven_rows(job, b, some)
        else:
            chosen_rows(job, b, some)
        if finish.divide:
            fill(trouble, 0, VL)
            if alike:
                divide(b.out, some * cells, q, trouble)
            else:
                divide_each(b.out, cells, each.by, each.inverse, some, trouble)
            bad = vload(trouble)
        settled = not sums or (finish.divide and vall_zero(bad))
        for _k in range(0 if settled else some):
            _settle(job, b, finish, bad)
            b.x += g.x_channel
            b.out += g.out_channel
        if settled:
            b.x += some * g.x_channel
            b.out += some * g.out_channel


# ----------------------------------------------------------------------------------------------------------- blocks


cdef void _pool_block(const Job *job, Block *b, real_t *mine) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef real_t *v = mine
    cdef const real_t *row
    cdef Window rows_d, rows_h
    place_columns(g, b, g.across != EACH)
    rows_d = window(g, &g.d, b.od)
    rows_h = window(g, &g.h, b.oh)
    if b.rows == 1 and rows_d.cells * rows_h.cells == 1 and g.across != HALF and b.pad_left + b.pad_right == 0:
        # One whole row of x: it need not be copied.
        row = b.x + rows_d.first * g.x_d + rows_h.first * g.x_h + b.first_column * g.inner
        _across(job, b, row, False, mine)
        return
    if g.run:
        _down_running(job, b, v, mine)
    else:
        _down(job, b, v, mine)
    _across(job, b, v, True, mine)


cdef void _pool_lines(const Job *job, int64_t start, int64_t stop) noexcept nogil:
    """Planes [start, stop), each one contiguous window."""
    cdef const Geometry *g = job.g
    cdef int64_t n = g.w.size, p, rest = start + (stop - start) // VL * VL
    cdef real_t trouble[VL]
    cdef vec_t bad = vzero()
    cdef Quotient q = quotient_of(1 if is_max(<int>g.op) else _divisor(job, 0, 0, 0))
    cdef Finish finish
    cdef Block b
    finish.divide, finish.by, finish.inverse = True, vset(q.by), vset(q.inverse)
    combine_lines(
        <int>g.op, job.out + start, job.x + start * g.x_plane, g.x_plane, n, (stop - start) // VL, &finish, &bad
    )
    for p in range(rest, stop):
        job.out[p] = combine_line(<int>g.op, job.x + p * g.x_plane, n, 1)
    if not is_max(<int>g.op):
        vstore(trouble, bad)
        if not FUSED:
            rest = start
        divide(job.out + rest, stop - rest, q, trouble)
        if vall_zero(vload(trouble)):
            return
        b.od = b.oh = b.ow = 0
        b.rows = b.columns = 1
        for p in range(start, stop):
            b.x = job.x + p * g.x_plane
            b.out = job.out + p
            if b.out[0] - b.out[0] != 0:
                _mend(job, &b, trouble)


cdef inline void _place(const Job *job, Block *b, int64_t plane) noexcept nogil:
    """Addresses of a block of a plane, and how far it reaches."""
    cdef const Geometry *g = job.g
    cdef int64_t image = plane // g.channels, channel = plane - image * g.channels
    b.rows = min(g.block_h, g.h.out - b.oh)
    b.columns = min(g.block_w, g.w.out - b.ow)
    b.x = job.x + image * g.x_plane + channel * g.x_channel
    b.out = (
        job.out + image * g.out_plane + channel * g.out_channel + b.od * g.out_d + b.oh * g.out_h + b.ow * g.inner
    )


cdef inline bint _next(const Geometry *g, Block *b) noexcept nogil:
    """Go on to the next block; whether it is of another plane."""
    b.ow += g.block_w
    if b.ow >= g.w.out:
        b.ow = 0
        b.oh += g.block_h
        if b.oh >= g.h.out:
            b.oh = 0
            b.od += 1
            if b.od == g.d.out:
                b.od = 0
                return True
    return False


cdef void _pool_part(const Job *job, int64_t part, int64_t parts) noexcept nogil:
    """The blocks of one thread."""
    cdef const Geometry *g = job.g
    cdef int64_t blocks_h = (g.h.out + g.block_h - 1) // g.block_h, blocks_w = (g.w.out + g.block_w - 1) // g.block_w
    cdef int64_t total, i, q, plane, groups
    cdef Block b
    cdef Finish finish
    if g.across == LINES:
        groups = (g.planes + VL - 1) // VL  # whole vectors of planes: their order of summation is another
        _pool_lines(job, groups * part // parts * VL, min(g.planes, groups * (part + 1) // parts * VL))
        return
    total = g.planes * g.channels * g.d.out * blocks_h * blocks_w
    q = total * part // parts
    total = total * (part + 1) // parts - q
    b.ow = q % blocks_w * g.block_w
    q = q // blocks_w
    b.oh = q % blocks_h * g.block_h
    q = q // blocks_h
    b.od = q % g.d.out
    plane = q // g.d.out
    finish = _finish_of(job)
    while total > 0:
        _place(job, &b, plane)
        i = 1
        if REAL_SIZE >= 4 and job.indices != NULL and g.across == NARROW:
            placed_rows(job, &b)
        elif REAL_SIZE >= 4 and job.indices != NULL:
            best_row(job, &b, job.scratch + part * g.scratch)
        elif g.across == CHOSEN:
            place_columns(g, &b, True)
            i = min(total, g.channels - plane % g.channels) if b.rows == g.h.out else 1
            _chosen(job, &b, i, finish)
            plane += i - 1
        elif g.across == NARROW or g.across == WIDE:
            place_columns(g, &b, True)
            _narrow(job, &b, finish)
        else:
            _pool_block(job, &b, job.scratch + part * g.scratch)
        plane += _next(g, &b)
        total -= i


cdef int _run(
    const void *x, void *out, int64_t cells, int64_t *indices, const int64_t *geometry, double divisor, int num_threads
) noexcept nogil:
    """All parts, with scratch memory that starts at a boundary of vectors (``calls.pyx``)."""
    cdef Job job
    cdef int part
    cdef void *memory
    job.g = <const Geometry *>geometry
    job.x, job.out, job.indices, job.divisor = <const real_t *>x, <real_t *>out, indices, divisor
    if job.x < job.out + cells and job.out < job.x + job.g.x_end:
        return OVERLAP
    memory = malloc(num_threads * job.g.scratch * sizeof(real_t) + ALIGNMENT)
    if memory == NULL:
        return NO_MEMORY
    job.scratch = <real_t *>(<char *>memory + (ALIGNMENT - <size_t>memory % ALIGNMENT))
    if num_threads == 1:
        _pool_part(&job, 0, 1)
    else:
        for part in prange(num_threads, schedule="static", num_threads=num_threads):
            _pool_part(&job, part, num_threads)
    free(memory)
    return DONE


ENTRY = PyCapsule_New(<void *>_run, NULL, NULL)
