"""What the kernels of pooling share: one call's geometry, the windows of an axis, the block that is at work.

    window o of a regular axis: cells o * stride - before + t * dilation, t < taps, those of them that lie in [0, size)
"""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport real_t

cdef enum:
    FLAT = 0
    HALF = 1
    PICK = 2
    EACH = 3
    LINES = 4
    NARROW = 5
    WIDE = 6
    CHOSEN = 7

cdef struct Axis:
    # Regular windows have a stride; others (stride 0) have a table of first cell, cells, extent (a float64) for each output.
    int64_t size, out, taps, stride, before, after, dilation, table

cdef struct Geometry:
    int64_t planes, channels, inner
    int64_t x_plane, x_channel, x_d, x_h, out_plane, out_channel, out_d, out_h
    int64_t index_d, index_h, index_w      # what a step along an axis adds to the flat index
    int64_t x_end                          # one past the last cell of x, counted from its first
    int64_t op, across, run, count_padding, ahead, strip, pairs
    int64_t block_h, block_w, pitch
    int64_t at_loaded, at_line, at_ping, at_pong, at_rest, at_levels, scratch
    Axis d, h, w

cdef struct Window:
    int64_t first, cells

cdef struct Job:
    const Geometry *g
    const real_t *x
    real_t *out
    int64_t *indices   # laid out like out
    real_t *scratch
    double divisor     # of every sum; 0: the cells of each window

cdef struct Block:
    # Output cells of one plane, and the columns of x that they need: pad_left, then columns from column, then pad_right.
    const real_t *x
    real_t *out
    int64_t od, oh, ow, rows, columns
    int64_t first_column, pad_left, cells, pad_right


# ----------------------------------------------------------------------------------------------- windows of an axis


cdef inline Window window(const Geometry *g, const Axis *a, int64_t o) noexcept nogil:
    """First cell of window o and how many of its cells lie in the input."""
    cdef Window found
    cdef const int64_t *row
    cdef int64_t start, skipped = 0, room
    if a.stride == 0:
        row = <const int64_t *>g + a.table + 3 * o
        found.first = row[0]
        found.cells = row[1]
        return found
    start = o * a.stride - a.before
    if start < 0:
        skipped = -start if a.dilation == 1 else (-start + a.dilation - 1) // a.dilation
        start += skipped * a.dilation
    room = a.size - start
    if room > 0 and a.dilation > 1:
        room = (room + a.dilation - 1) // a.dilation
    found.first = start
    found.cells = max(0, min(a.taps - skipped, room))
    return found


cdef inline double extent(const Geometry *g, const Axis *a, int64_t o) noexcept nogil:
    """Cells of window o that an average counts; more than fit an integer where the window is far larger than x."""
    cdef int64_t start
    if not g.count_padding:
        return <double>window(g, a, o).cells
    if a.stride == 0:
        return (<const double *>g)[a.table + 3 * o + 2]
    start = o * a.stride - a.before
    return <double>min(a.taps, (a.size + a.after - start + a.dilation - 1) // a.dilation)


cdef inline void place_columns(const Geometry *g, Block *b, bint padded) noexcept nogil:
    """The columns of x that a block sees, and the padded ones beside them."""
    cdef int64_t left = 0, needed = g.w.size, stop
    if g.w.stride > 0:
        left = b.ow * g.w.stride - g.w.before
        needed = (b.columns - 1) * g.w.stride + (g.w.taps - 1) * g.w.dilation + 1
    b.first_column = min(max(left, 0), g.w.size)
    stop = min(max(left + needed, 0), g.w.size)
    b.cells = stop - b.first_column
    b.pad_left = b.pad_right = 0
    if padded:
        b.pad_left = min(max(-left, 0), needed)
        b.pad_right = needed - b.pad_left - b.cells
