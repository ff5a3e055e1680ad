"""Weight gradient of a convolution: a product over positions.

    dw[k, kk] = sum over p of  g[k, p] * patch[kk, p],      kk = (c, t, r, s),  p = (n, od, oh, ow)

Rows of the tile are output channels, its vectors are kk, its depth is the positions of one box; the patches are
transposed in registers while they are packed, and exist only for one box and one part of kk. Where long runs of
positions lie side by side in g, the tile reads them as they are; else they are packed too.

    for each item = (segment of boxes, group, part of kk):               <- threads
        for each box of the segment, in order:
            gather the input cells (gather.pxd), pack panels of kk  [panel][p][kk]
            for each panel of output channels: (pack it  [p][k],)  for each panel of kk: tile

Every segment sums into a product of its own, and the products are added in a fixed tree. Boxes, segments and parts
follow from the shapes alone, so that an element is the same sequence of additions for any number of threads.
FLOPs 2 K CRS P; bytes: x and g once per part, the products once per box.

Assumptions (guaranteed by ``_plans/gradients.py``): no size is zero; x and g have the sizes that the geometry says;
``products`` has segments x K x ld scalars; scratch holds ``num_threads * scratch_bytes``.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cyconv._kernels.gather cimport Axis, Source, gather_block
from cyconv._kernels.lanes cimport vload_part
from cyconv._kernels.shares cimport Shares, Turn, first_turn, next_item, share_out
from cyconv._kernels.simd cimport (TILE_ROWS, VL, flush_subnormals, inlined, prefetch_far, real_t, restore_mode, vec_t,
                                   vevery_second, vload, vstore, vzero)
from cyconv._kernels.tile cimport TILE_VECS, Finish, Start, run_tile, start_at_columns, start_at_result
from cyconv._kernels.tile_planes cimport Planes, run_tile_on_planes
from cyconv._kernels.transpose cimport vtranspose

cdef enum:
    PANEL = TILE_VECS * VL
    ROW_GROUPS = (TILE_ROWS + VL - 1) / VL
    #: positions that are added before double precision takes over
    LONGEST_RUN = 65536

cdef struct Geometry:
    int64_t batch, groups, group_inputs, group_outputs
    int64_t size_d, size_h, size_w, out_d, out_h, out_w
    int64_t stride_d, stride_h, stride_w, pad_d, pad_h, pad_w, padding_mode
    int64_t taps, slots_d, slots_h, slots_w, strips_d, strips_h, strips_w
    int64_t box_n, box_d, box_h, box_w
    int64_t segments, parts, ld, direct_in
    int64_t at_source, at_columns, at_rows, at_offsets, scratch_bytes

#: order of the geometry vector that ``run`` takes
FIELDS = (
    "batch", "groups", "group_inputs", "group_outputs",
    "size_d", "size_h", "size_w", "out_d", "out_h", "out_w",
    "stride_d", "stride_h", "stride_w", "pad_d", "pad_h", "pad_w", "padding_mode",
    "taps", "slots_d", "slots_h", "slots_w", "strips_d", "strips_h", "strips_w",
    "box_n", "box_d", "box_h", "box_w",
    "segments", "parts", "ld", "direct_in",
    "at_source", "at_columns", "at_rows", "at_offsets", "scratch_bytes",
)
ROWS = TILE_ROWS
LANES = VL
VECS = TILE_VECS

cdef struct Box:
    int64_t n0, n, d0, d, h0, h, w0, w, positions

cdef struct Cells:
    # what is packed: its first cell, scalars from one image, plane and row to the next; how far away are the cells that
    # will be packed next
    const real_t *data
    int64_t n, d, h, ahead

cdef struct Job:
    const Geometry *g
    Source x, grad
    Axis axis_d, axis_h, axis_w
    const int64_t *tap_offset
    real_t *products


cdef inline int64_t _cuts(int64_t total, int64_t box) noexcept nogil:
    return (total + box - 1) // box


cdef inline Box box_at(const Geometry *g, int64_t index) noexcept nogil:
    cdef Box box
    cdef int64_t cuts = _cuts(g.out_w, g.box_w)
    box.w0 = index % cuts * g.box_w
    box.w = min(g.box_w, g.out_w - box.w0)
    index = index // cuts
    cuts = _cuts(g.out_h, g.box_h)
    box.h0 = index % cuts * g.box_h
    box.h = min(g.box_h, g.out_h - box.h0)
    index = index // cuts
    cuts = _cuts(g.out_d, g.box_d)
    box.d0 = index % cuts * g.box_d
    box.d = min(g.box_d, g.out_d - box.d0)
    box.n0 = index // cuts * g.box_n
    box.n = min(g.box_n, g.batch - box.n0)
    box.positions = box.n * box.d * box.h * box.w
    return box


def run(const real_t[:, :, :, :, :] x, const real_t[:, :, :, :, :] grad, real_t[::1] products,
        const int64_t[::1] geometry, const int64_t[::1] tables, uint8_t[::1] scratch, int num_threads):
    """All products: ``[segment][k][kk]`` with rows of ``ld`` scalars."""
    cdef Job job
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t thread
    cdef Shares shares
    cdef int64_t step = sizeof(real_t)
    if geometry.shape[0] != len(FIELDS) or sizeof(Geometry) != 8 * len(FIELDS):
        raise ValueError("geometry does not have the fields of this kernel")
    if scratch.shape[0] < num_threads * g.scratch_bytes:
        raise ValueError("scratch is too small")
    if products.shape[0] < g.segments * g.groups * g.group_outputs * g.ld:
        raise ValueError("products is too short")
    job.g = g
    job.x = Source(&x[0, 0, 0, 0, 0], x.strides[0] // step, x.strides[1] // step, x.strides[2] // step,
                   x.strides[3] // step, x.strides[4] // step)
    job.grad = Source(&grad[0, 0, 0, 0, 0], grad.strides[0] // step, grad.strides[1] // step, grad.strides[2] // step,
                      grad.strides[3] // step, grad.strides[4] // step)
    job.axis_d = Axis(g.size_d, g.stride_d, g.pad_d, g.slots_d, g.strips_d, &tables[0])
    job.axis_h = Axis(g.size_h, g.stride_h, g.pad_h, g.slots_h, g.strips_h, job.axis_d.strip + 3 * g.strips_d)
    job.axis_w = Axis(g.size_w, g.stride_w, g.pad_w, g.slots_w, g.strips_w, job.axis_h.strip + 3 * g.strips_h)
    job.tap_offset = job.axis_w.strip + 3 * g.strips_w
    job.products = &products[0]
    share_out(&shares, g.segments * g.groups * g.parts, num_threads)
    for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                         use_threads_if=num_threads > 1):
        _run_items(&job, &shares, thread, &scratch[thread * g.scratch_bytes])


cdef void _run_items(const Job *job, Shares *shares, int64_t thread, uint8_t *scratch) noexcept nogil:
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _run_item(job, turn.item, scratch)


cdef void _run_item(const Job *job, int64_t item, uint8_t *scratch) noexcept nogil:
    cdef uint64_t mode = flush_subnormals()
    cdef const Geometry *g = job.g
    cdef int64_t part = item % g.parts
    cdef int64_t group = item // g.parts % g.groups
    cdef int64_t segment = item // g.parts // g.groups
    cdef int64_t boxes = (_cuts(g.batch, g.box_n) * _cuts(g.out_d, g.box_d) * _cuts(g.out_h, g.box_h)
                          * _cuts(g.out_w, g.box_w))
    cdef int64_t panels = _cuts(g.ld, PANEL)
    cdef int64_t first_column = panels * part // g.parts * PANEL
    cdef int64_t last_column = min(panels * (part + 1) // g.parts * PANEL, g.ld)
    cdef int64_t first_box = boxes * segment // g.segments
    cdef int64_t last_box = boxes * (segment + 1) // g.segments
    cdef int64_t index
    cdef Box box, later
    for index in range(first_box, last_box):
        box, later = box_at(g, index), box_at(g, min(index + 1, last_box - 1))
        _pack_columns(job, &box, &later, group, first_column, last_column, scratch)
        _multiply(job, &box, &later, segment, group, first_column, last_column, index == first_box, scratch)
    restore_mode(mode)


cdef void _pack_columns(const Job *job, const Box *box, const Box *later, int64_t group, int64_t first, int64_t last,
                        uint8_t *scratch) noexcept nogil:
    """Panels ``[panel][position][kk]`` for kk from ``first`` to ``last``; beyond the last real one they are zero. Cells
    that the box ``later`` begins with are asked for meanwhile."""
    cdef const Geometry *g = job.g
    cdef real_t *panel = <real_t *>(scratch + g.at_columns)
    cdef real_t *block = <real_t *>(scratch + g.at_source)
    cdef int64_t *offset = <int64_t *>(scratch + g.at_offsets)
    cdef int64_t real_last = min(last, g.group_inputs * g.taps)
    cdef int64_t c0 = first // g.taps
    cdef int64_t channels = _cuts(real_last, g.taps) - c0
    cdef int64_t column, width, half, columns
    cdef Cells cells
    if g.direct_in:
        # one tap, no padding: the input itself is the block
        cells = Cells(_cells_at(job, box, group * g.group_inputs + c0), job.x.n, job.x.d * g.stride_d,
                      job.x.h * g.stride_h, VL * job.x.c)
    else:
        cells.h = g.slots_w
        cells.d = cells.h * g.slots_h
        cells.n = cells.d * g.slots_d * channels
        cells.data, cells.ahead = block, 0
        gather_block(block, cells.d * g.slots_d, &job.x, box.n0, box.n, group * g.group_inputs + c0, channels, box.d0,
                     box.d, box.h0, box.h, box.w0, box.w, &job.axis_d, &job.axis_h, &job.axis_w, g.padding_mode)
    for column in range(first, real_last):
        offset[column - first] = ((column // g.taps - c0) * (job.x.c if g.direct_in else cells.d * g.slots_d)
                                  + job.tap_offset[column % g.taps])
    column = first
    while column < last:
        width = min(<int64_t>PANEL, last - column)
        half = 0
        while half < width:
            columns = max(<int64_t>0, min(<int64_t>VL, real_last - column - half))
            if g.direct_in and column + half + VL >= real_last:
                cells.ahead = (_cells_at(job, later, group * g.group_inputs + c0)
                               - _cells_at(job, box, group * g.group_inputs + column + half))
            if not g.direct_in:
                _pack_vector(0, 1, panel + half, width, &cells, offset + (column + half - first), columns, box)
            elif g.stride_w == 1:
                _pack_vector(1, 1, panel + half, width, &cells, offset + (column + half - first), columns, box)
            else:
                _pack_vector(1, 2, panel + half, width, &cells, offset + (column + half - first), columns, box)
            half += VL
        panel += box.positions * width
        column += width


cdef inline const real_t *_cells_at(const Job *job, const Box *box, int64_t c) noexcept nogil:
    """Where the cells of channel ``c`` that a box of single taps reads begin."""
    return (job.x.data + box.n0 * job.x.n + c * job.x.c + box.d0 * job.g.stride_d * job.x.d
            + box.h0 * job.g.stride_h * job.x.h + box.w0 * job.g.stride_w)


cdef inline inlined _pack_vector(const bint exact, const int step, real_t *to, int64_t width, const Cells *cells,
                                 const int64_t *offset, int64_t columns, const Box *box) noexcept nogil:
    """One vector of kk for all positions, ``step`` cells apart. A short run of positions is packed as a whole vector of
    them: what is too much, the next run overwrites. The input itself has nothing behind its last cell: ``exact``."""
    cdef vec_t r[VL]
    cdef int64_t n, d, h, w, q, i
    cdef const real_t *row
    cdef bint early         # the last vector may have to begin one cell early
    for q in range(columns, VL):
        r[q] = vzero()
    for n in range(box.n):
        for d in range(box.d):
            for h in range(box.h):
                row = cells.data + n * cells.n + d * cells.d + h * cells.h
                if exact and (box.w < VL or (step == 2 and box.w == VL)):
                    for i in range(box.w):
                        for q in range(VL):
                            to[i * width + q] = row[offset[q] + i * step] if q < columns else <real_t>0
                else:
                    w = 0
                    while w < box.w:
                        early = 0
                        if exact and w + VL >= box.w:
                            w = box.w - VL
                            early = 1
                        for q in range(columns):
                            if exact:
                                prefetch_far(row + offset[q] + w * step + cells.ahead)
                                if step == 2:
                                    prefetch_far(row + offset[q] + w * step + VL + cells.ahead)
                            if step == 1:
                                r[q] = vload(row + offset[q] + w)
                            elif early:
                                r[q] = vevery_second(vload(row + offset[q] + 2 * w - 1),
                                                     vload(row + offset[q] + 2 * w - 1 + VL), 1)
                            else:
                                r[q] = vevery_second(vload(row + offset[q] + 2 * w), vload(row + offset[q] + 2 * w + VL), 0)
                        for q in range(columns, VL):
                            r[q] = vzero()
                        vtranspose(r)
                        for i in range(VL):
                            vstore(to + (w + i) * width, r[i])
                        w += VL
                to += box.w * width


cdef inline const real_t *_rows_at(const Job *job, const Box *box, int64_t k) noexcept nogil:
    """Where the gradients of output channel ``k`` for a box begin."""
    return (job.grad.data + box.n0 * job.grad.n + k * job.grad.c + box.d0 * job.grad.d + box.h0 * job.grad.h
            + box.w0 * job.grad.w)


cdef void _multiply(const Job *job, const Box *box, const Box *later, int64_t segment, int64_t group, int64_t first,
                    int64_t last, bint fresh, uint8_t *scratch) noexcept nogil:
    """The products of a box; the gradients that the box ``later`` begins with are asked for meanwhile."""
    cdef const Geometry *g = job.g
    cdef const real_t *panel
    cdef real_t *rows = <real_t *>(scratch + g.at_rows)
    cdef int64_t panels = _cuts(g.group_outputs, TILE_ROWS), k0 = group * g.group_outputs
    cdef int64_t q, row, count, column, width
    # whether the positions of an image lie side by side in the gradient, which the tile then reads as it is
    cdef bint direct = job.grad.w == 1 and (box.h == 1 or job.grad.h == box.w) and box.d == 1
    cdef const real_t *source
    cdef const real_t *later_rows
    cdef real_t *product
    cdef real_t zeros[PANEL]
    cdef Planes planes
    cdef Start start
    cdef Finish finish
    finish.active = 0
    for q in range(PANEL):
        zeros[q] = <real_t>0
    for q in range(panels):
        row = g.group_outputs * q // panels
        count = g.group_outputs * (q + 1) // panels - row
        source = _rows_at(job, box, k0 + row)
        later_rows = source + count * job.grad.c if q < panels - 1 else _rows_at(job, later, k0)
        planes = Planes(source, job.grad.c, box.n, job.grad.n, box.positions // box.n)
        if not direct:
            _pack_rows(rows, &job.grad, g, box, k0 + row, count)
        product = job.products + ((segment * g.groups + group) * g.group_outputs + row) * g.ld
        panel = <const real_t *>(scratch + g.at_columns)
        column = first
        while column < last:
            width = min(<int64_t>PANEL, last - column)
            start = start_at_columns(zeros) if fresh else start_at_result(product + column, g.ld)
            if direct:
                # each tile asks for its share of the rows
                start.ahead = <const char *>(later_rows + count * (column - first) // (last - first) * job.grad.c)
                start.ahead_step = job.grad.c * <Py_ssize_t>sizeof(real_t)
                run_tile_on_planes(<int>count, <int>(width // VL), &planes, panel, width, product + column, g.ld, &start)
            else:
                run_tile(<int>count, <int>(width // VL), box.positions, rows, panel, width, product + column, g.ld,
                         &start, &finish, 0)
            panel += box.positions * width
            column += width


cdef void _pack_rows(real_t *to, const Source *grad, const Geometry *g, const Box *box, int64_t row,
                     int64_t count) noexcept nogil:
    """``[position][k]`` for ``count`` output channels from ``row`` on."""
    cdef int64_t run = box.w, heights = box.h
    cdef int64_t n, d, h
    cdef const real_t *source
    if grad.h == grad.w * box.w:
        # rows without gaps are one run
        run, heights = box.w * box.h, 1
    for n in range(box.n):
        for d in range(box.d):
            for h in range(heights):
                source = (grad.data + (box.n0 + n) * grad.n + row * grad.c + (box.d0 + d) * grad.d
                          + (box.h0 + h) * grad.h + box.w0 * grad.w)
                _pack_run(to, source, grad.c, grad.w, run, count)
                to += run * count


cdef void _pack_run(real_t *to, const real_t *source, int64_t step_k, int64_t step_w, int64_t run,
                    int64_t count) noexcept nogil:
    """Whole vectors are stored, of which the next position overwrites what is too much."""
    cdef vec_t r[ROW_GROUPS][VL]
    cdef int64_t w = 0, i, k, group
    if step_w != 1 or run < VL:
        for w in range(run):
            for k in range(count):
                to[w * count + k] = source[w * step_w + k * step_k]
        return
    while w < run:
        w = min(w, run - VL)
        for group in range(ROW_GROUPS):
            for k in range(VL):
                r[group][k] = vload(source + (group * VL + k) * step_k + w) if group * VL + k < count else vzero()
            vtranspose(r[group])
        for i in range(VL):
            for group in range(ROW_GROUPS):
                vstore(to + (w + i) * count + group * VL, r[group][i])
        w += VL


def add_positions(const real_t[:, :, :, :, :] grad, real_t[:] out, int num_threads):
    """``out[k]`` = the sum of all of ``grad`` (N, K, D, H, W) with this k: vectors for a row, then double precision."""
    cdef Source source
    cdef int64_t step = sizeof(real_t)
    cdef int64_t batch = grad.shape[0], channels = grad.shape[1], depth = grad.shape[2], height = grad.shape[3]
    cdef int64_t width = grad.shape[4]
    cdef int64_t block = VL if grad.strides[1] == step and channels > 1 else 1
    cdef int64_t item
    source = Source(&grad[0, 0, 0, 0, 0], grad.strides[0] // step, grad.strides[1] // step, grad.strides[2] // step,
                    grad.strides[3] // step, grad.strides[4] // step)
    if height > 1 and source.h == width * source.w and width * height <= LONGEST_RUN:
        width, height = width * height, 1
    for item in prange(_cuts(channels, block), nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _add_channels(&source, &out[item * block], out.strides[0] // step, item * block,
                      min(block, channels - item * block), batch, depth, height, width)


cdef void _add_channels(const Source *grad, real_t *out, int64_t apart, int64_t first, int64_t count, int64_t batch,
                        int64_t depth, int64_t height, int64_t width) noexcept nogil:
    """Channels from ``first`` on: a vector of them where they are neighbours, else one."""
    cdef real_t lanes[4 * VL]
    cdef double total[VL]
    cdef vec_t acc[4]
    cdef const real_t *row
    cdef int64_t n, d, h, w, i, q
    cdef int64_t step = VL if count == 1 else grad.w        # from one vector of a row to the next
    cdef bint whole = count == VL or (count == 1 and grad.w == 1)
    cdef int64_t vectors = 0
    if whole:
        vectors = width if count == VL else width // VL
    for i in range(VL):
        total[i] = 0
    for n in range(batch):
        for d in range(depth):
            for h in range(height):
                row = grad.data + n * grad.n + first * grad.c + d * grad.d + h * grad.h
                if not whole:
                    for i in range(count):
                        for w in range(width):
                            total[i] += row[i * grad.c + w * grad.w]
                    continue
                for q in range(4):
                    acc[q] = vzero()
                w = 0
                while w + 4 <= vectors:
                    for q in range(4):
                        acc[q] = acc[q] + vload(row + (w + q) * step)
                    w += 4
                while w < vectors:
                    acc[0] = acc[0] + vload(row + w * step)
                    w += 1
                if count == 1 and width % VL:
                    acc[1] = acc[1] + vload_part(row + vectors * VL, 0, <int>(width % VL), <real_t>0)
                for q in range(4):
                    vstore(lanes + q * VL, acc[q])
                for i in range(VL):
                    total[i] += <double>lanes[i] + lanes[VL + i] + lanes[2 * VL + i] + lanes[3 * VL + i]
    if count == 1:
        for i in range(1, VL):
            total[0] += total[i]
    for i in range(count):
        out[i * apart] = <real_t>total[i]


def add_products(const real_t[:, :, ::1] products, real_t[:, ::1] out, int num_threads):
    """``out[k, kk]`` = the sum of the segments' products, pairwise. ``products`` is [segment][k][ld] and is used up."""
    cdef int64_t rows = out.shape[0], columns = out.shape[1], ld = products.shape[2]
    cdef int64_t segments = products.shape[0]
    cdef int64_t row
    for row in prange(rows, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        _add_row(<real_t *>&products[0, row, 0], rows * ld, segments, &out[row, 0], columns)


cdef void _add_row(real_t *products, int64_t step, int64_t segments, real_t *out, int64_t columns) noexcept nogil:
    cdef int64_t apart = 1, s, i
    cdef real_t *a
    cdef const real_t *b
    while apart < segments:
        s = 0
        while s + apart < segments:
            a = products + s * step
            b = products + (s + apart) * step
            for i in range(columns):
                a[i] = a[i] + b[i]
            s += 2 * apart
        apart *= 2
    for i in range(columns):
        out[i] = products[i]
