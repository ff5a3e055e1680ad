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
    LINES: one window per plane, the plane contiguous: VL planes at once

``inner`` cells side by side are pooled alike: 1, or the channels where they are last; a "column" below is such a group.
Each output cell is combined in an order that its position alone decides, so that threads do not change a bit of it.

Assumptions (guaranteed by ``_plans/pooling.py``): no size is zero; the columns of x and of out are contiguous; strides
count cells; scratch holds ``num_threads * scratch`` cells; coordinates and offsets fit in 63 bits.
"""
from cpython.buffer cimport Py_buffer, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.parallel cimport prange
from libc.math cimport ldexp
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cyconv._kernels.rows cimport (
    MAX, SUM, Rows, Sources, combine, combine_line, combine_lines, combine_rows, divide, fill, identity, pick, split,
    windows,
)
from cyconv._kernels.best cimport best_row
from cyconv._kernels.simd cimport REAL_IS_FLOAT, REAL_SIZE, VL, real_t
from cyconv._kernels.windows cimport (
    EACH, HALF, LINES, PICK, Axis, Block, Geometry, Job, Window, extent, place_columns, window,
)

#: order of the numbers that ``run`` takes, before the tables
FIELDS = (
    "planes", "channels", "inner",
    "x_plane", "x_channel", "x_d", "x_h", "out_plane", "out_channel", "out_d", "out_h",
    "index_d", "index_h", "index_w", "x_end",
    "op", "across", "run", "count_padding", "block_h", "block_w", "pitch",
    "at_loaded", "at_line", "at_ping", "at_pong", "at_rest", "at_levels", "scratch",
)
AXIS_FIELDS = ("size", "out", "taps", "stride", "before", "after", "dilation", "table")


# ------------------------------------------------------------------------------------------------------------- down


cdef inline void _load(const Job *job, const Block *b, Window rows_d, Window rows_h, real_t *dst, real_t *levels) noexcept nogil:
    """The columns of a block, over a window of rows."""
    cdef const Geometry *g = job.g
    cdef Rows rows
    rows.many = rows_d.cells * rows_h.cells
    rows.inner = max(1, rows_h.cells)
    rows.outer_step = g.d.dilation * g.x_d
    rows.inner_step = g.h.dilation * g.x_h
    rows.first = b.x + rows_d.first * g.x_d + rows_h.first * g.x_h + b.first_column * g.inner
    rows.end = job.x + g.x_end
    combine_rows(<int>g.op, dst, &rows, b.cells * g.inner, levels)


cdef inline void _pad(const Geometry *g, const Block *b, real_t *row) noexcept nogil:
    fill(row, identity(<int>g.op), b.pad_left * g.inner)
    fill(row + (b.pad_left + b.cells) * g.inner, identity(<int>g.op), b.pad_right * g.inner)


cdef inline void _halve(const Geometry *g, real_t *halves, const real_t *row) noexcept nogil:
    split(halves, halves + g.pitch // 2, row, g.pitch // 2)


cdef inline void _down(const Job *job, const Block *b, real_t *v, real_t *mine) noexcept nogil:
    """Every output row of the block by itself."""
    cdef const Geometry *g = job.g
    cdef int64_t r, left = b.pad_left * g.inner
    cdef real_t *row
    for r in range(b.rows):
        row = mine + g.at_line if g.across == HALF else v + r * g.pitch
        if r == 0 or g.across != HALF:
            _pad(g, b, row)
        _load(job, b, window(g, &g.d, b.od), window(g, &g.h, b.oh + r), row + left, mine + g.at_levels)
        if g.across == HALF:
            _halve(g, v + r * g.pitch, row)


cdef inline void _down_running(const Job *job, const Block *b, real_t *v, real_t *mine) noexcept nogil:
    """All rows of the block at once: loaded once each, then windows of rows by doubling."""
    cdef const Geometry *g = job.g
    cdef const Axis *a = &g.h
    cdef int64_t first = b.oh * a.stride - a.before, r, j, width = (b.pad_left + b.cells + b.pad_right) * g.inner
    cdef int64_t rows = (b.rows - 1) * a.stride + (a.taps - 1) * a.dilation + 1
    cdef real_t *loaded = mine + g.at_loaded
    cdef Window one
    cdef Sources found
    one.cells = 1
    for r in range(rows):
        one.first = first + r
        if one.first < 0 or one.first >= a.size:
            fill(loaded + r * g.pitch, identity(<int>g.op), width)
        else:
            _pad(g, b, loaded + r * g.pitch)
            _load(job, b, window(g, &g.d, b.od), one, loaded + r * g.pitch + b.pad_left * g.inner, mine + g.at_levels)
    found = windows(
        <int>g.op, loaded, ((b.rows - 1) * a.stride) * g.pitch + width, a.dilation * g.pitch, a.taps,
        mine + g.at_ping, mine + g.at_pong, mine + g.at_rest,
    )
    for r in range(b.rows):
        combine(<int>g.op, mine + g.at_line if g.across == HALF else v + r * g.pitch, found.at, found.count, width, True, False)
        if g.across == HALF:
            _halve(g, v + r * g.pitch, mine + g.at_line)
        for j in range(found.count):
            found.at[j] += a.stride * g.pitch


# ----------------------------------------------------------------------------------------------------------- across


cdef inline void _each(const Job *job, const Block *b, const real_t *row, real_t *out, real_t *levels) noexcept nogil:
    """One output row, each window by itself."""
    cdef const Geometry *g = job.g
    cdef int64_t o, inner = g.inner
    cdef Window cells
    cdef const real_t *at
    cdef Rows groups
    groups.inner_step = g.w.dilation * inner
    groups.outer_step = 0
    groups.end = row + b.cells * inner
    for o in range(b.columns):
        cells = window(g, &g.w, b.ow + o)
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
            combine_rows(<int>g.op, out + o * inner, &groups, inner, levels)


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
    cdef const real_t *row
    reach = ((b.columns - 1) * g.w.stride + 1) * inner
    if g.across == HALF:
        found = _halves(g, v)
    elif g.across != EACH:
        found = windows(
            <int>g.op, v, (b.rows - 1) * g.pitch + reach, g.w.dilation * inner, g.w.taps,
            mine + g.at_ping, mine + g.at_pong, mine + g.at_rest,
        )
    for r in range(b.rows):
        out = b.out + r * g.out_h
        if g.across == EACH:
            _each(job, b, v + r * g.pitch, out, mine + g.at_levels)
        else:
            if g.across == PICK:
                row = found.at[0]
                if found.count > 1:
                    combine(<int>g.op, mine + g.at_line, found.at, found.count, reach, slack, False)
                    row = mine + g.at_line
                pick(out, row, b.columns, g.w.stride, inner)
            else:
                combine(<int>g.op, out, found.at, found.count, b.columns * inner, slack, False)
            for j in range(found.count):
                found.at[j] += g.pitch
        if g.op == SUM and REAL_IS_FLOAT:
            _average(job, b, b.oh + r, out)


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


cdef inline void _divide_columns(
    const Job *job, const Block *b, int64_t oh, real_t *out, int64_t o, int64_t stop, double divisor
) noexcept nogil:
    """Sums of columns [o, stop) of a row to averages; where a sum overflowed, once more with care."""
    cdef const Geometry *g = job.g
    cdef int64_t i, inner = g.inner
    if o >= stop or not divide(out + o * inner, (stop - o) * inner, <real_t>divisor):
        return
    for i in range(o * inner, stop * inner):
        if out[i] - out[i] != 0:
            out[i] = <real_t>(18446744073709551616.0 * (_sum_scaled(
                job, b, window(g, &g.d, b.od), window(g, &g.h, oh), window(g, &g.w, b.ow + i // inner), i % inner
            ) / divisor))


cdef inline void _average(const Job *job, const Block *b, int64_t oh, real_t *out) noexcept nogil:
    """Sums of a row to averages: the windows of most columns count the same number of cells."""
    cdef const Geometry *g = job.g
    cdef const Axis *a = &g.w
    cdef int64_t o, left = 0, right = 0, last
    cdef double counted
    if job.divisor > 0:
        _divide_columns(job, b, oh, out, 0, b.columns, job.divisor)
        return
    counted = <double>extent(g, &g.d, b.od) * <double>extent(g, &g.h, oh)
    if a.stride > 0:
        last = a.size + (a.after if g.count_padding else 0) - (a.taps - 1) * a.dilation - 1 + a.before
        right = max(0, min(b.columns, last // a.stride + 1 - b.ow)) if last >= 0 else 0
        if not g.count_padding:
            left = min(right, max(0, (a.before + a.stride - 1) // a.stride - b.ow))
    for o in range(left):
        _divide_columns(job, b, oh, out, o, o + 1, counted * <double>extent(g, a, b.ow + o))
    _divide_columns(job, b, oh, out, left, right, counted * <double>a.taps)
    for o in range(right, b.columns):
        _divide_columns(job, b, oh, out, o, o + 1, counted * <double>extent(g, a, b.ow + o))


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
    cdef int64_t n = g.w.size, p = start
    cdef const real_t *end = job.x + g.x_end
    cdef const real_t *line
    cdef double divisor = job.divisor if job.divisor > 0 else <double>n
    cdef Block b
    while p < stop:
        line = job.x + p * g.x_plane
        if p + VL <= stop and line + (VL - 1) * g.x_plane + max(n, VL) <= end:
            if g.op == MAX:
                combine_lines(MAX, job.out + p, line, g.x_plane, n)
            else:
                combine_lines(SUM, job.out + p, line, g.x_plane, n)
            p += VL
        else:
            job.out[p] = combine_line(<int>g.op, line, n, 1)
            p += 1
    if g.op == SUM and REAL_IS_FLOAT:
        b.od = b.oh = b.ow = 0
        for p in range(start, stop):
            b.x = job.x + p * g.x_plane
            _divide_columns(job, &b, 0, job.out + p, 0, 1, divisor)


cdef void _pool_part(const Job *job, int64_t part, int64_t parts) noexcept nogil:
    """The blocks of one thread."""
    cdef const Geometry *g = job.g
    cdef int64_t blocks_h = (g.h.out + g.block_h - 1) // g.block_h, blocks_w = (g.w.out + g.block_w - 1) // g.block_w
    cdef int64_t total, i, q, plane
    cdef Block b
    if g.across == LINES:
        _pool_lines(job, g.planes * part // parts, g.planes * (part + 1) // parts)
        return
    total = g.planes * g.channels * g.d.out * blocks_h * blocks_w
    for i in range(total * part // parts, total * (part + 1) // parts):
        q = i
        b.ow = q % blocks_w * g.block_w
        q = q // blocks_w
        b.oh = q % blocks_h * g.block_h
        q = q // blocks_h
        b.od = q % g.d.out
        plane = q // g.d.out
        b.rows = min(g.block_h, g.h.out - b.oh)
        b.columns = min(g.block_w, g.w.out - b.ow)
        b.x = job.x + plane // g.channels * g.x_plane + plane % g.channels * g.x_channel
        b.out = (
            job.out + plane // g.channels * g.out_plane + plane % g.channels * g.out_channel
            + b.od * g.out_d + b.oh * g.out_h + b.ow * g.inner
        )
        if REAL_SIZE >= 4 and job.indices != NULL:
            best_row(job, &b, job.scratch + part * g.scratch)
        else:
            _pool_block(job, &b, job.scratch + part * g.scratch)


def run(x, out, indices, geometry, scratch, double divisor, int num_threads):
    """Pool x into out. ``geometry``: FIELDS, three times AXIS_FIELDS, tables; ``divisor`` 0: the cells counted.

    With ``indices`` (int64, the strides of out), also the places of the maxima.
    """
    cdef Py_buffer views[5]
    cdef Job job
    cdef int part, held = 0
    writable = PyBUF_STRIDES | PyBUF_WRITABLE
    arrays = [(x, PyBUF_STRIDES), (out, writable), (geometry, PyBUF_STRIDES), (scratch, writable)]
    if indices is not None:
        arrays.append((indices, writable))
    try:
        for value, flags in arrays:
            PyObject_GetBuffer(value, &views[held], flags)
            held += 1
        job.x = <const real_t *>views[0].buf
        job.out = <real_t *>views[1].buf
        job.g = <const Geometry *>views[2].buf
        job.scratch = <real_t *>views[3].buf
        job.indices = NULL if indices is None else <int64_t *>views[4].buf
        job.divisor = divisor
        for part in prange(num_threads, nogil=True, schedule="static", num_threads=num_threads):
            _pool_part(&job, part, num_threads)
    finally:
        for part in range(held):
            PyBuffer_Release(&views[part])
