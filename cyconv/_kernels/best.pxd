"""Maxima with the place where they were found: the first of equal ones, the first NaN.

    down:     value[i], tap[i] = max and first argmax over t of row t [i]             (the place: which row)
    across:   the same over columns; of equal values the one with the smaller row wins, then the smaller column

Rows are numbered in the order of the flat index. A padded column has the row PADDING, so that any real cell wins a tie
with it. Places have the lanes of the scalar type, which must have at least 32 bits.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport (
    apart, beats, ivec_t, ivless, ivload, ivselect, ivset, ivstore, lane_int_t, lowest, ties, vbeats, vload_part, vselect,
    vstore_part, vties,
)
from cyconv._kernels.rows cimport Rows, fill, split
from cyconv._kernels.simd cimport VL, real_t, vec_t, vload, vstore
from cyconv._kernels.windows cimport EACH, HALF, Block, Geometry, Job, Window, place_columns, window

cdef enum:
    PADDING = 0x7fffffff


cdef inline vec_t _cells(const real_t *p, int n) noexcept nogil:
    """A vector, or what there is of one."""
    return vload(p) if n == VL else vload_part(p, 0, n, lowest())


cdef inline apart best_rows(real_t *value, lane_int_t *place, const Rows *rows, Py_ssize_t n) noexcept nogil:
    """The largest cell of each of n columns, and the number of its row; there is room for a vector behind them."""
    cdef Py_ssize_t i = 0, t, j, line_of
    cdef int many = <int>min(n, VL)
    cdef vec_t v, c
    cdef ivec_t p, better
    cdef const real_t *line
    while i < n:
        i = max(0, min(i, n - VL))
        v = _cells(rows.first + i, many)
        p = ivset(0)
        j = line_of = 0
        line = rows.first
        for t in range(1, rows.many):
            j += 1
            line = line + rows.inner_step
            if j == rows.inner:
                j = 0
                line_of += 1
                line = rows.first + line_of * rows.outer_step
            c = _cells(line + i, many)
            better = vbeats(c, v)
            v = vselect(better, c, v)
            p = ivselect(better, ivset(<lane_int_t>t), p)
        vstore(value + i, v)
        ivstore(place + i, p)
        i += VL


cdef struct Columns:
    # Tap t of output i is cell i of value[t % ways] + t // ways * step (and the same of place).
    const real_t *value[2]
    const lane_int_t *place[2]
    int ways
    Py_ssize_t taps, step


cdef inline apart _best_of_line(
    real_t *value, lane_int_t *place, lane_int_t *tap, const real_t *values, const lane_int_t *places, Py_ssize_t taps,
    Py_ssize_t step,
) noexcept nogil:
    """The largest cell of one window."""
    cdef Py_ssize_t t, best = 0
    for t in range(1, taps):
        if beats(values[t * step], values[best * step]) or (
            ties(values[t * step], values[best * step]) and places[t * step] < places[best * step]
        ):
            best = t
    value[0], place[0], tap[0] = values[best * step], places[best * step], <lane_int_t>best


cdef inline apart best_columns(
    real_t *value, lane_int_t *place, lane_int_t *tap, const Columns *from_, Py_ssize_t n
) noexcept nogil:
    """The largest cell of each of n windows of columns, with its row and its tap; only ``value`` ends with its cells."""
    cdef Py_ssize_t i = 0, t, at
    cdef vec_t v, c
    cdef ivec_t p, q, k, better
    cdef int way
    if n == 1 and from_.ways == 1:
        _best_of_line(value, place, tap, from_.value[0], from_.place[0], from_.taps, from_.step)
        return
    while i < n:
        i = max(0, min(i, n - VL))
        v = vload(from_.value[0] + i)
        p = ivload(from_.place[0] + i)
        k = ivset(0)
        way = 0
        at = i
        for t in range(1, from_.taps):
            way += 1
            if way == from_.ways:
                way = 0
                at += from_.step
            c = vload(from_.value[way] + at)
            q = ivload(from_.place[way] + at)
            better = vbeats(c, v) | (vties(c, v) & ivless(q, p))
            v = vselect(better, c, v)
            p = ivselect(better, q, p)
            k = ivselect(better, ivset(<lane_int_t>t), k)
        if n >= VL:
            vstore(value + i, v)
        else:
            vstore_part(value, v, <int>n)
        ivstore(place + i, p)
        ivstore(tap + i, k)
        i += VL


# ------------------------------------------------------------------------------------------------------- an output row


cdef inline void _down(const Job *job, const Block *b, Rows *rows, real_t *value, lane_int_t *place) noexcept nogil:
    """Values and rows of the columns that the block sees, padded ones among them."""
    cdef const Geometry *g = job.g
    cdef int64_t i, left = b.pad_left * g.inner, n = b.cells * g.inner, right = b.pad_right * g.inner
    rows.first += b.first_column * g.inner
    best_rows(value + left, place + left, rows, n)
    fill(value, lowest(), left)
    fill(value + left + n, lowest(), right)
    for i in range(left):
        place[i] = <lane_int_t>PADDING
    for i in range(left + n, left + n + right):
        place[i] = <lane_int_t>PADDING


cdef inline apart _indices(
    const Geometry *g, Window rows_d, Window rows_h, int64_t column, int64_t step, const lane_int_t *row,
    const lane_int_t *tap, int64_t *index, int64_t n,
) noexcept nogil:
    """Flat indices of n winners, of windows whose first columns are ``step`` apart."""
    cdef int64_t i, d, h
    cdef int64_t base = rows_d.first * g.index_d + rows_h.first * g.index_h + column * g.index_w
    cdef int64_t step_d = g.d.dilation * g.index_d, step_h = g.h.dilation * g.index_h, step_w = g.w.dilation * g.index_w
    step *= g.index_w
    if rows_d.cells == 1:
        for i in range(n):
            index[i] = base + i * step + <int64_t>row[i] * step_h + <int64_t>tap[i] * step_w
    else:
        for i in range(n):
            d = row[i] // rows_h.cells
            h = row[i] - d * rows_h.cells
            index[i] = base + i * step + d * step_d + h * step_h + <int64_t>tap[i] * step_w
    for i in range(n):
        index[i] = -1 if row[i] == PADDING else index[i]


cdef inline void best_row(const Job *job, Block *b, real_t *mine) noexcept nogil:
    """One output row with its indices. Places lie in scratch as scalars of the same size."""
    cdef const Geometry *g = job.g
    cdef int64_t o, i, inner = g.inner, half = g.pitch // 2, at
    cdef int64_t *index = job.indices + (b.out - job.out)
    cdef real_t *value = mine + (g.at_line if g.across == HALF else 0)
    cdef lane_int_t *place = <lane_int_t *>(mine + (g.at_ping if g.across == HALF else g.at_loaded))
    cdef lane_int_t *won_place = <lane_int_t *>(mine + g.at_pong)
    cdef lane_int_t *won_tap = <lane_int_t *>(mine + g.at_rest)
    cdef Window rows_d = window(g, &g.d, b.od), rows_h = window(g, &g.h, b.oh), cells
    cdef Rows rows
    cdef Columns columns
    place_columns(g, b, g.across != EACH)
    rows.many = rows_d.cells * rows_h.cells
    if rows.many == 0:
        fill(b.out, lowest(), b.columns * inner)
        for i in range(b.columns * inner):
            index[i] = -1
        return
    rows.inner = rows_h.cells
    rows.outer_step = g.d.dilation * g.x_d
    rows.inner_step = g.h.dilation * g.x_h
    rows.first = b.x + rows_d.first * g.x_d + rows_h.first * g.x_h
    _down(job, b, &rows, value, place)
    columns.ways = 1
    columns.taps = g.w.taps
    columns.step = g.w.dilation * inner
    columns.value[0] = value
    columns.place[0] = place
    if g.across == HALF:
        split(mine, mine + half, value, half)
        split(mine + g.at_loaded, mine + g.at_loaded + half, <real_t *>place, half)
        columns.step = g.w.dilation
        columns.value[0] = mine
        columns.place[0] = <lane_int_t *>(mine + g.at_loaded)
        if g.w.dilation % 2:
            columns.ways = 2
            columns.value[1] = mine + half + g.w.dilation // 2
            columns.place[1] = <lane_int_t *>(mine + g.at_loaded) + half + g.w.dilation // 2
        else:
            columns.step = g.w.dilation // 2
    if g.across != EACH:
        best_columns(b.out, won_place, won_tap, &columns, b.columns * inner)
    for o in range(b.columns if g.across == EACH or inner > 1 else 0):
        if g.across == EACH:
            cells = window(g, &g.w, b.ow + o)
            at = (cells.first - b.first_column) * inner
            if cells.cells == 0:
                fill(b.out + o * inner, lowest(), inner)
                for i in range(o * inner, (o + 1) * inner):
                    index[i] = -1
                continue
            columns.value[0] = value + at
            columns.place[0] = place + at
            columns.taps = cells.cells
            best_columns(b.out + o * inner, won_place, won_tap, &columns, inner)
            _indices(g, rows_d, rows_h, cells.first, 0, won_place, won_tap, index + o * inner, inner)
        elif inner > 1:
            cells.first = (b.ow + o) * g.w.stride - g.w.before
            i = o * inner
            _indices(g, rows_d, rows_h, cells.first, 0, won_place + i, won_tap + i, index + i, inner)
    if g.across != EACH and inner == 1:
        cells.first = b.ow * g.w.stride - g.w.before
        _indices(g, rows_d, rows_h, cells.first, g.w.stride, won_place, won_tap, index, b.columns)
