"""Sliding convolution: few channels per group, depthwise and plain images, where a matrix product would be mostly empty.

    out[n, k, d, h, w] = act(bias[k] + sum over c, t, s, r of
                             weight[k, c, t, r, s] * x[n, c, d * sd + t * dd, h * sh + r * dh, w * sw + s * dw])

The input cells of a box of outputs are copied into a block (``sliding_fill.pxd``) in which every tap is a plain shift;
the register tile (``sliding_tile.pxd``) sweeps over it. Vectors run along W, or along the channels when they lie next
to each other and there is one per group:

    for each item = (image, group or some channels, box)               <- threads
        fill the block
        for each output of the group, row of tiles, tile: one sweep per pass

With dilation, the rows of a tile are those that share input rows: ``row_gap`` outputs apart, ``row_step`` slots apart.

An output element is one chain of multiply-adds over (pass, c, t, s, r): neither boxes nor threads change a bit of it.
FLOPs 2 K CRS P; bytes: x (and what neighbouring boxes share) and out once.

Assumptions (guaranteed by ``_plans/sliding.py``): no size is zero; x, out and the packed weights have the sizes that the
geometry says; scratch holds ``num_threads * scratch_bytes``; coordinates and offsets fit in 63 bits; the others are
NumPy's arrays, of the right types.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cyconv._kernels.activation cimport silu
from cyconv._kernels.gather cimport Axis, Source
from cyconv._kernels.ndarray cimport PyArray_DATA, PyArray_DIMS, as_array
from cyconv._kernels.shares cimport Shares, Turn, first_turn, next_item, share_out
from cyconv._kernels.simd cimport VL, flush_subnormals, real_t, restore_mode
from cyconv._kernels.sliding_fill cimport Block, Box, Span, clear_block, copy_cells, fill_block, find_spans
from cyconv._kernels.sliding_tile cimport ROWS, VECS, LONGEST_RUN, Slide, Sweep, pick_tile
from cyconv._kernels.tile cimport Finish

cdef struct Geometry:
    int64_t batch, inputs, group_inputs, group_outputs
    int64_t size_d, size_h, size_w, out_d, out_h, out_w
    int64_t stride_d, stride_h, stride_w, pad_d, pad_h, pad_w, padding_mode
    int64_t planes, columns, passes
    int64_t slots_d, slots_h, slots_w, strips_d, strips_h, strips_w
    int64_t units, box_c, box_d, box_h, box_w
    int64_t by_channels, row_gap, row_step, weight_step, direct_out, ascending
    int64_t chunks, at_spans, at_partial, scratch_bytes
    int64_t is_silu, has_activation
    int64_t x_n, x_c, x_d, x_h, x_w, y_n, y_k, y_d, y_h, y_w    # strides of x and of the result, in scalars

#: order of the geometry vector that ``run`` takes
FIELDS = (
    "batch", "inputs", "group_inputs", "group_outputs",
    "size_d", "size_h", "size_w", "out_d", "out_h", "out_w",
    "stride_d", "stride_h", "stride_w", "pad_d", "pad_h", "pad_w", "padding_mode",
    "planes", "columns", "passes",
    "slots_d", "slots_h", "slots_w", "strips_d", "strips_h", "strips_w",
    "units", "box_c", "box_d", "box_h", "box_w",
    "by_channels", "row_gap", "row_step", "weight_step", "direct_out", "ascending",
    "chunks", "at_spans", "at_partial", "scratch_bytes",
    "is_silu", "has_activation",
    "x_n", "x_c", "x_d", "x_h", "x_w", "y_n", "y_k", "y_d", "y_h", "y_w",
)
LANES = VL
TILE = (ROWS, VECS)
RUN = LONGEST_RUN

cdef struct Pass:
    # lengths of its two runs, their first slots in the block, where its weights start
    int64_t taps, second_taps, run, second_run, weight

cdef struct Job:
    const Geometry *g
    Source x
    Axis axis_d, axis_h, axis_w
    const int64_t *plane
    const int64_t *column
    const Pass *passes
    const real_t *weight
    const real_t *bias
    real_t *out
    int64_t out_n, out_k, out_d, out_h, out_w
    int64_t lane        # what lies between two lanes of a vector in the result
    int64_t cells       # scalars per slot of W in the block: 1, or the channels of the box
    Finish finish


def run(weight, bias, geometry, tables, activation, int num_threads, x, out, scratch):
    """The whole convolution of arrays whose strides the geometry has. ``tables`` are the strips of D, H, W, then planes,
    columns and passes; ``activation`` is (slope, lo, hi), ``scratch`` bytes."""
    cdef Job job
    cdef const Geometry *g = <const Geometry *>PyArray_DATA(as_array(geometry))
    cdef const real_t *limits = <const real_t *>PyArray_DATA(as_array(activation))
    cdef uint8_t *memory = <uint8_t *>PyArray_DATA(as_array(scratch))
    cdef int64_t items, thread
    cdef Shares shares
    if PyArray_DIMS(as_array(geometry))[0] * 8 != sizeof(Geometry):
        raise ValueError("geometry does not have the fields of this kernel")
    if PyArray_DIMS(as_array(scratch))[0] < num_threads * g.scratch_bytes:
        raise ValueError("scratch is too small")
    job.g = g
    job.x = Source(<const real_t *>PyArray_DATA(as_array(x)), g.x_n, g.x_c, g.x_d, g.x_h, g.x_w)
    job.axis_d = Axis(g.size_d, g.stride_d, g.pad_d, g.slots_d, g.strips_d,
                      <const int64_t *>PyArray_DATA(as_array(tables)))
    job.axis_h = Axis(g.size_h, g.stride_h, g.pad_h, g.slots_h, g.strips_h, job.axis_d.strip + 3 * g.strips_d)
    job.axis_w = Axis(g.size_w, g.stride_w, g.pad_w, g.slots_w, g.strips_w, job.axis_h.strip + 3 * g.strips_h)
    job.plane = job.axis_w.strip + 3 * g.strips_w
    job.column = job.plane + g.planes
    job.passes = <const Pass *>(job.column + g.columns)
    job.weight = <const real_t *>PyArray_DATA(as_array(weight))
    job.bias = <const real_t *>PyArray_DATA(as_array(bias))
    job.out = <real_t *>PyArray_DATA(as_array(out))
    job.out_n, job.out_k, job.out_d, job.out_h, job.out_w = g.y_n, g.y_k, g.y_d, g.y_h, g.y_w
    job.lane = job.out_k * g.group_outputs if g.by_channels else job.out_w
    job.cells = g.box_c if g.by_channels else 1
    job.finish = Finish(g.has_activation, limits[0], limits[1], limits[2])
    items = g.batch * g.units * _cuts(g.out_d, g.box_d) * _cuts(g.out_h, g.box_h) * _cuts(g.out_w, g.box_w)
    share_out(&shares, g.chunks, num_threads)
    for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                         use_threads_if=num_threads > 1):
        _run_chunks(&job, items, &shares, thread, memory + thread * g.scratch_bytes)


cdef void _run_chunks(const Job *job, int64_t items, Shares *shares, int64_t thread, uint8_t *scratch) noexcept nogil:
    cdef int64_t chunks = job.g.chunks
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _run_items(job, items * turn.item // chunks, items * (turn.item + 1) // chunks, scratch)


cdef inline int64_t _cuts(int64_t total, int64_t box) noexcept nogil:
    return (total + box - 1) // box


cdef void _run_items(const Job *job, int64_t item, int64_t end, uint8_t *scratch) noexcept nogil:
    """A stretch of items, in an order in which spans are rarely worked out again."""
    cdef uint64_t mode = flush_subnormals()
    cdef const Geometry *g = job.g
    cdef Block block
    cdef Span *wide = <Span *>(scratch + g.at_spans)
    cdef Span *high = wide + g.strips_w
    cdef real_t *partial = <real_t *>(scratch + g.at_partial)
    cdef int64_t width
    cdef bint same_width, same_box
    cdef Box box, last
    cdef Sweep sweep
    block.data = <real_t *>scratch
    block.by_channels = g.by_channels
    block.cell = job.cells
    block.row = g.slots_w * block.cell
    block.plane = g.slots_h * block.row
    block.channel = g.slots_d * block.plane
    sweep.plane = job.plane
    sweep.column = job.column
    sweep.planes = g.planes
    sweep.columns = g.columns
    sweep.finish = job.finish
    sweep.x_row = g.row_step * g.slots_w * job.cells
    box = _box_at(g, item)
    last = box
    last.w = -1
    while item < end:
        box.height = min(g.box_h, g.out_h - box.h)
        box.depth = min(g.box_d, g.out_d - box.d)
        box.channels = min(g.box_c, g.inputs - box.c)
        box.width = min(g.box_w, g.out_w - box.w)
        box.spills = g.ascending and (end - item - 1) * g.group_outputs * box.depth * box.height * box.width >= VL
        same_width = box.w == last.w
        same_box = same_width and box.d == last.d and box.h == last.h
        if not same_width:
            width = box.width if g.by_channels else max(box.width, <int64_t>VL)
            find_spans(wide, &job.axis_w, box.w, width)
            clear_block(&block, g.slots_h * g.slots_d * (1 if g.by_channels else g.group_inputs))
        if not same_box:
            find_spans(high, &job.axis_h, box.h, box.height)
        fill_block(&block, &job.x, &box, &job.axis_d, &job.axis_h, &job.axis_w, high, wide, g.padding_mode, same_box)
        if g.by_channels:
            _sweep_channels(job, &box, &sweep, block.data, partial)
        else:
            _sweep_rows(job, &box, &sweep, block.data, partial)
        last = box
        item += 1
        _next_box(g, &box)
    restore_mode(mode)


cdef inline Box _box_at(const Geometry *g, int64_t item) noexcept nogil:
    """Where an item starts: the innermost index is H, then D, the group, the image, W."""
    cdef Box box
    box.h = item % _cuts(g.out_h, g.box_h) * g.box_h
    item = item // _cuts(g.out_h, g.box_h)
    box.d = item % _cuts(g.out_d, g.box_d) * g.box_d
    item = item // _cuts(g.out_d, g.box_d)
    box.unit = item % g.units
    box.c = box.unit * g.box_c
    item = item // g.units
    box.n = item % g.batch
    box.w = item // g.batch * g.box_w
    box.channels = box.depth = box.height = box.width = box.spills = 0
    return box


cdef inline void _next_box(const Geometry *g, Box *box) noexcept nogil:
    """The same for the item behind this one, without divisions: they would cost more than a small plane."""
    box.h += g.box_h
    if box.h < g.out_h:
        return
    box.h = 0
    box.d += g.box_d
    if box.d < g.out_d:
        return
    box.d = 0
    box.unit += 1
    box.c += g.box_c
    if box.unit < g.units:
        return
    box.unit = box.c = 0
    box.n += 1
    if box.n < g.batch:
        return
    box.n = 0
    box.w += g.box_w


cdef inline int64_t tile_rows(int64_t rows) noexcept nogil:
    """Height of the tiles for so many rows; where they do not divide them, the last tile overlaps the one before."""
    return ROWS if rows >= ROWS else 4 if rows >= 4 else 1


cdef inline int64_t whole_tiles(int64_t rows) noexcept nogil:
    """``rows // tile_rows(rows)``, by constants."""
    return rows // ROWS if rows >= ROWS else rows // 4 if rows >= 4 else rows


cdef inline real_t *_out_at(const Job *job, const Box *box, int64_t channel, int64_t d, int64_t h) noexcept nogil:
    return (job.out + box.n * job.out_n + channel * job.out_k + (box.d + d) * job.out_d + (box.h + h) * job.out_h
            + box.w * job.out_w)


cdef void _sweep_rows(const Job *job, const Box *box, Sweep *sweep, const real_t *block, real_t *partial) noexcept nogil:
    """Vectors along W: all outputs of one group in one box."""
    cdef const Geometry *g = job.g
    cdef int64_t first = box.unit * g.group_outputs
    cdef int64_t channel, d, gap, rows
    cdef const real_t *x
    cdef const real_t *w
    cdef real_t *c
    sweep.next_w = sweep.next_bias = 0
    for channel in range(first, first + g.group_outputs):
        w = job.weight + channel * g.weight_step
        for d in range(box.depth):
            for gap in range(min(g.row_gap, box.height)):
                rows = box.height if g.row_gap == 1 else _cuts(box.height - gap, g.row_gap)
                x = block + (d * g.slots_h + gap) * g.slots_w
                c = _out_at(job, box, channel, d, gap)
                if box.width // (VECS * VL) > rows // ROWS:
                    _sweep_across(job, box, sweep, rows, x, w, job.bias + channel, c, partial)
                else:
                    _sweep_down(job, box, sweep, rows, x, w, job.bias + channel, c, partial)


cdef inline void _sweep_across(const Job *job, const Box *box, Sweep *sweep, int64_t rows, const real_t *x,
                               const real_t *w, const real_t *bias, real_t *c, real_t *partial) noexcept nogil:
    """One row of tiles after the other: for wide boxes, whose rows do not all stay in the first-level cache."""
    cdef int64_t height = tile_rows(rows)
    cdef int64_t whole = box.width // (VECS * VL)
    cdef int64_t at = whole * VECS * VL
    cdef int64_t vecs = VECS if box.width - at > VL else 1
    cdef int64_t lanes, j = 0
    if vecs == 1:
        at = max(<int64_t>0, box.width - VL)
    lanes = box.width - at
    sweep.next_x = VECS * VL
    sweep.next_c = VECS * VL * job.lane
    while j < rows:
        j = min(j, rows - height)
        sweep.x_vec = VL
        _tiles(job, box, sweep, height, VECS, VECS * VL, whole, x + j * sweep.x_row, w, bias,
               c + j * job.out_h * job.g.row_gap, partial)
        if whole * VECS * VL < box.width:
            sweep.x_vec = lanes - VL
            _tiles(job, box, sweep, height, vecs, lanes, 1, x + j * sweep.x_row + at, w, bias,
                   c + j * job.out_h * job.g.row_gap + at * job.lane, partial)
        j += height


cdef inline void _sweep_down(const Job *job, const Box *box, Sweep *sweep, int64_t rows, const real_t *x,
                             const real_t *w, const real_t *bias, real_t *c, real_t *partial) noexcept nogil:
    """One column of tiles after the other: for boxes with few of them."""
    cdef int64_t height = tile_rows(rows)
    cdef int64_t whole = whole_tiles(rows)
    cdef int64_t row = job.out_h * job.g.row_gap
    cdef int64_t vecs, lanes, at = 0
    sweep.next_x = height * sweep.x_row
    sweep.next_c = height * row
    while at < box.width:
        vecs = VECS
        if box.width - at <= VL:
            vecs = 1
            at = max(<int64_t>0, box.width - VL)
        lanes = min(vecs * VL, box.width - at)
        sweep.x_vec = lanes - VL
        _tiles(job, box, sweep, height, vecs, lanes, whole, x + at, w, bias, c + at * job.lane, partial)
        if whole * height < rows:
            _tiles(job, box, sweep, height, vecs, lanes, 1, x + at + (rows - height) * sweep.x_row, w, bias,
                   c + at * job.lane + (rows - height) * row, partial)
        at += lanes


cdef void _sweep_channels(const Job *job, const Box *box, Sweep *sweep, const real_t *block,
                          real_t *partial) noexcept nogil:
    """Vectors along the channels: output ``m`` of each of the groups in one box."""
    cdef const Geometry *g = job.g
    cdef int64_t all_lanes = g.units * g.box_c
    cdef int64_t whole = box.channels // VL
    cdef int64_t m, d, gap, rows, height, j, i
    cdef const real_t *x
    cdef const real_t *w
    cdef const real_t *bias
    cdef real_t *c
    sweep.x_vec = 0
    sweep.next_x = sweep.next_bias = VL
    sweep.next_c = VL * job.lane
    sweep.next_w = g.weight_step
    for m in range(g.group_outputs):
        w = job.weight + (m * all_lanes + box.c) // VL * g.weight_step
        bias = job.bias + m * all_lanes + box.c
        for d in range(box.depth):
            for gap in range(min(g.row_gap, box.height)):
                rows = box.height if g.row_gap == 1 else _cuts(box.height - gap, g.row_gap)
                height = tile_rows(rows)
                j = 0
                while j < rows:
                    j = min(j, rows - height)
                    x = block + (d * g.slots_h + gap) * g.slots_w * g.box_c + j * sweep.x_row
                    c = _out_at(job, box, box.c * g.group_outputs + m, d, gap + j * g.row_gap)
                    for i in range(box.width):  # no-cython-lint
                        _tiles(job, box, sweep, height, 1, VL, whole, x, w, bias, c, partial)
                        if whole * VL < box.channels:
                            _tiles(job, box, sweep, height, 1, box.channels - whole * VL, 1, x + whole * VL,
                                   w + whole * g.weight_step, bias + whole * VL, c + whole * VL * job.lane, partial)
                        x += g.box_c
                        c += job.out_w
                    j += height


cdef inline void _tiles(const Job *job, const Box *box, Sweep *sweep, int64_t rows, int64_t vecs, int64_t lanes,
                        int64_t tiles, const real_t *x, const real_t *w, const real_t *bias, real_t *to,
                        real_t *partial) noexcept nogil:
    """Some neighbouring tiles, each ``lanes`` wide.

    In place if the lanes are neighbours and fill their vectors, or if the cells behind them are written later; else
    one by one through a small buffer.
    """
    cdef const Geometry *g = job.g
    cdef int64_t t, i, j
    cdef real_t *row
    if g.direct_out and (lanes >= VL or box.spills):
        sweep.c_row = job.out_h * g.row_gap
        _pass_all(job, sweep, rows, vecs, tiles, x, w, bias, to)
        if g.is_silu:
            for t in range(tiles):
                silu(to + t * sweep.next_c, sweep.c_row, rows, lanes)
        return
    sweep.c_row = VECS * VL
    for t in range(tiles):
        _pass_all(job, sweep, rows, vecs, 1, x + t * sweep.next_x, w + t * sweep.next_w, bias + t * sweep.next_bias,
                  partial)
        if g.is_silu:
            silu(partial, sweep.c_row, rows, lanes)
        for j in range(rows):
            row = to + t * sweep.next_c + j * job.out_h * g.row_gap
            if job.lane == 1:
                copy_cells(row, partial + j * sweep.c_row, lanes)
            else:
                for i in range(lanes):
                    row[i * job.lane] = partial[j * sweep.c_row + i]


cdef inline void _pass_all(const Job *job, Sweep *sweep, int64_t rows, int64_t vecs, int64_t tiles, const real_t *x,
                           const real_t *w, const real_t *bias, real_t *c) noexcept nogil:
    """All passes over the input."""
    cdef const Geometry *g = job.g
    cdef Slide tile = pick_tile(rows, vecs, g.by_channels)
    cdef int64_t row = g.slots_w * job.cells
    cdef const Pass *step
    cdef int64_t p
    sweep.c_vec = sweep.x_vec
    for p in range(g.passes):
        step = &job.passes[p]
        sweep.run = step.run * row
        sweep.second_run = step.second_run * row
        sweep.fresh = p == 0
        sweep.last = p == g.passes - 1
        tile(step.taps, step.second_taps, tiles, x, w + step.weight, bias, c, sweep)
