"""Weight gradient of a convolution without packed patches: the taps of a row and their channels lie side by side.

    dw[k, r, (s, c)] = sum over p of  g[k, p] * cells[p's row + r][p's column + s][c],      p = (n, oh, ow)

With the channels of a cell side by side, the S taps of a window's row are S C neighbours: the vectors of the register
tile are read from the cells at a position's place, its rows from g where they lie. Only cells are copied, each once
per box, where ``wgrad.pyx`` writes a patch for each position.

    for each item = (segment of boxes, group):                              <- threads
        for each box (a band of rows of one image), in order:
            cells of the band, channels side by side (channel_rows.pxd)
            for each row r of the kernel, each panel of (s, c), each panel of outputs: tile

Every segment sums into a product of its own; `collect` adds them in a fixed tree and puts the channels outside. Boxes
and segments follow from the shapes alone. FLOPs 2 K CRS P; bytes: x and g once, the products once per box.

Assumptions (guaranteed by ``_plans/row_gradients.py``): no size is zero; g is C-contiguous; a group has at most VL
input channels or whole vectors of them; the block of cells ends with two panels of slack.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cyconv._kernels.channel_rows cimport Row, fill_row, zero_row
from cyconv._kernels.gather cimport source_index
from cyconv._kernels.shares cimport Shares, Turn, first_turn, next_item, share_out
from cyconv._kernels.simd cimport TILE_ROWS, VL, flush_subnormals, real_t, restore_mode, vload, vstore, vzero
from cyconv._kernels.tile cimport SOON, TILE_VECS, Start, start_at_columns, start_at_result
from cyconv._kernels.tile_planes cimport Planes, run_tile_on_planes_and_vectors

cdef enum:
    PANEL = TILE_VECS * VL

cdef struct Geometry:
    int64_t batch, groups, group_inputs, group_outputs
    int64_t size_h, size_w, out_h, out_w, stride_h, stride_w, dilation_h, pad_h, pad_w, padding_mode
    int64_t taps_h, taps_w, band, rows, cells, segments, ld_row, scratch_bytes

#: order of the geometry vector that ``run`` takes
FIELDS = (
    "batch", "groups", "group_inputs", "group_outputs",
    "size_h", "size_w", "out_h", "out_w", "stride_h", "stride_w", "dilation_h", "pad_h", "pad_w", "padding_mode",
    "taps_h", "taps_w", "band", "rows", "cells", "segments", "ld_row", "scratch_bytes",
)
ROWS = TILE_ROWS
LANES = VL
VECS = TILE_VECS
#: entries of ``offset`` behind the last position
OFFSETS_AHEAD = SOON

cdef struct Job:
    const Geometry *g
    const real_t *x
    int64_t x_n, x_c, x_h, x_w
    const real_t *grad
    const int64_t *offset       # where the cells of a position of a band begin
    real_t *products


cdef inline int64_t _cuts(int64_t total, int64_t box) noexcept nogil:
    return (total + box - 1) // box


def run(const real_t[:, :, :, :] x, const real_t[:, :, :, ::1] grad, real_t[::1] products,
        const int64_t[::1] geometry, const int64_t[::1] offset, uint8_t[::1] scratch, int num_threads):
    """All products: ``[segment][k][r]`` with rows of ``ld_row`` scalars."""
    cdef Job job
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t step = sizeof(real_t)
    cdef int64_t thread
    cdef Shares shares
    if geometry.shape[0] != len(FIELDS) or sizeof(Geometry) != 8 * len(FIELDS):
        raise ValueError("geometry does not have the fields of this kernel")
    if scratch.shape[0] < num_threads * g.scratch_bytes:
        raise ValueError("scratch is too small")
    if products.shape[0] < g.segments * g.groups * g.group_outputs * g.taps_h * g.ld_row:
        raise ValueError("products is too short")
    job.g = g
    job.x = &x[0, 0, 0, 0]
    job.x_n, job.x_c = x.strides[0] // step, x.strides[1] // step
    job.x_h, job.x_w = x.strides[2] // step, x.strides[3] // step
    job.grad = &grad[0, 0, 0, 0]
    job.offset = &offset[0]
    job.products = &products[0]
    share_out(&shares, g.segments * g.groups, num_threads)
    for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                         use_threads_if=num_threads > 1):
        _run_items(&job, &shares, thread, <real_t *>&scratch[thread * g.scratch_bytes])


cdef void _run_items(const Job *job, Shares *shares, int64_t thread, real_t *cells) noexcept nogil:
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _run_item(job, turn.item // job.g.groups, turn.item % job.g.groups, cells)


cdef void _run_item(const Job *job, int64_t segment, int64_t group, real_t *cells) noexcept nogil:
    cdef uint64_t mode = flush_subnormals()
    cdef const Geometry *g = job.g
    cdef int64_t bands = _cuts(g.out_h, g.band)
    cdef int64_t first = g.batch * bands * segment // g.segments
    cdef int64_t index, n, h0, h
    for index in range(first, g.batch * bands * (segment + 1) // g.segments):
        n = index // bands
        h0 = index % bands * g.band
        h = min(g.band, g.out_h - h0)
        _fill_cells(job, n, group, h0, h, cells)
        _multiply(job, n, segment, group, h0, h, index == first, cells)
    restore_mode(mode)


cdef void _fill_cells(const Job *job, int64_t n, int64_t group, int64_t h0, int64_t h, real_t *cells) noexcept nogil:
    """The rows of the input that ``h`` rows of positions from ``h0`` on meet."""
    cdef const Geometry *g = job.g
    cdef int64_t rows = (h - 1) * g.stride_h + (g.taps_h - 1) * g.dilation_h + 1
    cdef int64_t pitch = g.cells * g.group_inputs
    cdef int64_t c = 0, i, at
    cdef const real_t *image
    cdef Row row
    while c < g.group_inputs:
        row = Row(job.x_c, job.x_w, g.size_w, min(g.group_inputs - c, <int64_t>VL), g.padding_mode, g.group_inputs)
        image = job.x + n * job.x_n + (group * g.group_inputs + c) * job.x_c
        for i in range(rows):
            at = source_index(h0 * g.stride_h + i - g.pad_h, g.size_h, g.padding_mode)
            if at < 0:
                zero_row(&row, g.cells, cells + i * pitch + c)
            else:
                fill_row(&row, image + at * job.x_h, -g.pad_w, g.cells, cells + i * pitch + c)
        c += VL


cdef void _multiply(const Job *job, int64_t n, int64_t segment, int64_t group, int64_t h0, int64_t h, bint fresh,
                    const real_t *cells) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t ld = g.taps_h * g.ld_row
    cdef int64_t plane = g.out_h * g.out_w
    cdef int64_t panels = _cuts(g.group_outputs, TILE_ROWS)
    cdef int64_t k0 = group * g.group_outputs
    cdef const real_t *grad = job.grad + (n * g.groups * g.group_outputs + k0) * plane + h0 * g.out_w
    cdef real_t *product = job.products + (segment * g.groups * g.group_outputs + k0) * ld
    cdef const real_t *source
    cdef int64_t r, q, column, row, count
    cdef real_t *to
    cdef real_t zeros[PANEL]
    cdef Planes planes
    cdef Start start
    for q in range(TILE_VECS):
        vstore(zeros + q * VL, vzero())
    for r in range(g.taps_h):
        source = cells + r * g.dilation_h * g.cells * g.group_inputs
        column = 0
        while column < g.ld_row:
            for q in range(panels):
                row = g.group_outputs * q // panels
                count = g.group_outputs * (q + 1) // panels - row
                to = product + row * ld + r * g.ld_row + column
                start = start_at_columns(zeros) if fresh else start_at_result(to, ld)
                start.ahead = <const char *>(grad + (row + count) % g.group_outputs * plane)
                start.ahead_step = plane * <Py_ssize_t>sizeof(real_t)
                planes = Planes(grad + row * plane, plane, 1, 0, h * g.out_w)
                run_tile_on_planes_and_vectors(<int>count, <int>min(<int64_t>TILE_VECS, (g.ld_row - column) // VL),
                                               &planes, source + column, job.offset, to, ld, &start)
            column += PANEL


def collect(real_t[:, :, :, ::1] products, real_t[:, ::1] out, int64_t taps_w, int num_threads):
    """``out[k, (c, r, s)]`` = the sum of the segments' products [segment][k][r][(s, c)], pairwise; they are used up."""
    cdef int64_t rows = out.shape[0], columns = products.shape[2] * products.shape[3]
    cdef int64_t row
    for row in prange(rows, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        _add_segments(&products[0, row, 0, 0], rows * columns, products.shape[0], columns)
        _turn(&products[0, row, 0, 0], products.shape[2], products.shape[3], taps_w,
              out.shape[1] // (products.shape[2] * taps_w), &out[row, 0])


cdef void _add_segments(real_t *products, int64_t step, int64_t segments, int64_t columns) noexcept nogil:
    cdef int64_t apart = 1, s, i
    cdef real_t *a
    while apart < segments:
        s = 0
        while s + apart < segments:
            a = products + s * step
            for i in range(columns // VL):
                vstore(a + i * VL, vload(a + i * VL) + vload(a + apart * step + i * VL))
            s += 2 * apart
        apart *= 2


cdef void _turn(const real_t *row, int64_t taps_h, int64_t ld_row, int64_t taps_w, int64_t inputs,
                real_t *out) noexcept nogil:
    cdef int64_t r, s, c
    for c in range(inputs):
        for r in range(taps_h):
            for s in range(taps_w):
                out[0] = row[r * ld_row + s * inputs + c]
                out += 1
