"""Convolution by Winograd's minimal filtering: few products at transformed points instead of many multiply-adds.

    out tile = A^T [ sum over kk of (G w[k, kk] G^T) * (B^T x[kk] B) ] A,        kk = (c, direct taps)

An m x m tile of results needs a x a products per channel pair, a = m + r - 1 (at a stride of 2, 2 m + r - 2), where the
definition needs m^2 r^2 multiply-adds. Only height and width are transformed, or one of them; the taps of every other
axis are *direct*: they lengthen the sum, and stride and dilation there are what they were. So do the sections of a kernel
that is not one of r taps with a stride of 1 (``_plans/winograd_forms.py``). A dilation on a transformed axis splits the
results into *phases* that do not touch each other; image and phase together are a *picture*.

    for each item = (box of tiles, group, part of the outputs):             <- threads, if there are enough items
        for each chunk of channels: gather cells, transform    -> values[frequency][panel of tiles][kk][tile]
            (by_channels: the tile's rows, read where they lie -> values[frequency][tile][section][channel])
        for each panel of outputs:                                          <- else threads here and one line up
            a product per frequency on the register tile       -> product[frequency][tile][output]
            (fresh: on a tile of its own that transforms the weights, for few tiles: winograd_fresh.pxd)
            transform, bias, activation, write

    weights:    [group][panel of outputs][frequency][kk][output], frequencies an odd number of cache lines apart

Rows of the register tile are tiles, its vectors are output channels. Each result is the same sequence of operations
wherever its tile lies, so boxes and threads do not change a bit of it. A tile with a result that is not finite is
reported in ``bad``; the plan computes it by the definition.

FLOPs 2 K CT a^2 per tile; bytes: x and out once, the weights once per box.
Assumptions (guaranteed by ``_plans/winograd_blocks.py``): no size is zero; x, out, weights and scratch have the sizes that
the geometry says; the block of gathered cells ends with a vector of slack; what ``run`` is given are NumPy's arrays, of
the right types (buffers for all of them would take longer than a small call).
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memchr

from cyconv._kernels.gather cimport Axis, Source
from cyconv._kernels.ndarray cimport PyArray_DATA, PyArray_DIMS, as_array
from cyconv._kernels.shares cimport Shares, Turn, first_turn, next_item, share_out
from cyconv._kernels.simd cimport REAL_SIZE, TILE_ROWS, VL, flush_subnormals, prefetch, real_t, restore_mode, vstore, vzero
from cyconv._kernels.tile cimport TILE_VECS, Finish, Start, run_tile, start_at_columns
from cyconv._kernels.tile_planes cimport Planes, run_tile_before_block
from cyconv._kernels.winograd_channels cimport transform_vectors
from cyconv._kernels.winograd_fresh cimport FRESH_TILES, multiply_fresh, turn_values
from cyconv._kernels.winograd_geometry cimport (
    MAX_STEP, PANEL, Box, Geometry, Job, balanced, box_at, cuts, panel_weight, step_weight,
)
from cyconv._kernels.winograd_input cimport MAX_LINE, fill_lanes, transform_chunk
from cyconv._kernels.winograd_output cimport write_tiles
from cyconv._kernels.winograd_transforms cimport MAX_CELLS
from cyconv._kernels.winograd_weights cimport MAX_TAPS, Matrices, copy_taps, transform_weights

#: order of the geometry vector that ``run`` takes
FIELDS = (
    "batch", "groups", "group_inputs", "group_outputs",
    "size_d", "size_h", "size_w", "out_d", "out_h", "out_w",
    "stride_d", "stride_h", "stride_w", "pad_d", "pad_h", "pad_w", "padding_mode",
    "slots_d", "slots_h", "slots_w", "strips_d", "strips_h", "strips_w",
    "points", "outputs", "planar", "frequencies", "taps",
    "pixels_h", "pixels_w", "phases_h", "phases_w", "tiles_h", "tiles_w",
    "box_p", "box_d", "box_h", "box_w", "chunk", "parts", "by_channels", "fresh", "pitch", "lines",
    "reach_h", "reach_w", "step_values", "step_product", "at_values", "at_source", "at_product", "at_chunk", "at_threads",
    "thread_bytes",
    "is_silu", "has_activation",
    "x_n", "x_c", "x_d", "x_h", "x_w", "y_n", "y_k", "y_d", "y_h", "y_w",
)
ROWS = TILE_ROWS
LANES = VL
VECS = TILE_VECS
LINE = MAX_LINE
STEP = MAX_STEP
FRESH = FRESH_TILES


def run(weight, bias, geometry, tables, numbers, activation, int num_threads, x, out, bad, scratch):
    """The whole convolution of arrays whose strides the geometry has; whether there are tiles in ``bad`` then.

    ``bias`` has a value for every output of the weight panels, groups after one another; ``numbers`` are those of the
    transforms of input, output and weights.
    """
    cdef Job job
    cdef const Geometry *g = <const Geometry *>PyArray_DATA(as_array(geometry))
    cdef const real_t *limits = <const real_t *>PyArray_DATA(as_array(activation))
    cdef uint8_t *memory = <uint8_t *>PyArray_DATA(as_array(scratch))
    cdef int64_t items, item, thread, chunks, panels
    cdef Box box
    cdef Shares shares
    if PyArray_DIMS(as_array(geometry))[0] * 8 != sizeof(Geometry):
        raise ValueError("geometry does not have the fields of this kernel")
    if PyArray_DIMS(as_array(scratch))[0] < g.at_threads + num_threads * g.thread_bytes:
        raise ValueError("scratch is too small")
    job.g = g
    job.x = Source(<const real_t *>PyArray_DATA(as_array(x)), g.x_n, g.x_c, g.x_d, g.x_h, g.x_w)
    job.axis_d = Axis(g.size_d, g.stride_d, g.pad_d, g.slots_d, g.strips_d,
                      <const int64_t *>PyArray_DATA(as_array(tables)))
    job.axis_h = Axis(g.size_h, g.stride_h, g.pad_h, g.slots_h, g.strips_h, job.axis_d.strip + 3 * g.strips_d)
    job.axis_w = Axis(g.size_w, g.stride_w, g.pad_w, g.slots_w, g.strips_w, job.axis_h.strip + 3 * g.strips_h)
    job.offset = job.axis_w.strip + 3 * g.strips_w
    job.weight = <const real_t *>PyArray_DATA(as_array(weight))
    job.bias = <const real_t *>PyArray_DATA(as_array(bias))
    job.input_numbers = <const real_t *>PyArray_DATA(as_array(numbers[0]))
    job.output_numbers = <const real_t *>PyArray_DATA(as_array(numbers[1]))
    job.weight_numbers = <const real_t *>PyArray_DATA(as_array(numbers[2]))
    job.out = <real_t *>PyArray_DATA(as_array(out))
    job.out_n, job.out_k, job.out_d, job.out_h, job.out_w = g.y_n, g.y_k, g.y_d, g.y_h, g.y_w
    job.bad = <uint8_t *>PyArray_DATA(as_array(bad))
    job.finish = Finish(g.has_activation, limits[0], limits[1], limits[2])
    if g.lines:
        fill_lanes(job.lanes, &job.axis_w)
    items = (g.groups * cuts(g.batch * g.phases_h * g.phases_w, g.box_p) * cuts(g.out_d, g.box_d)
             * cuts(g.tiles_h, g.box_h) * cuts(g.tiles_w, g.box_w))
    chunks = cuts(g.group_inputs, g.chunk)
    panels = cuts(g.group_outputs, PANEL)
    if g.parts > 0:
        share_out(&shares, items * g.parts, num_threads)
        for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                             use_threads_if=num_threads > 1):
            _run_items(&job, items, &shares, thread, memory + g.at_threads + thread * g.thread_bytes)
        return memchr(job.bad, 1, PyArray_DIMS(as_array(bad))[0]) != NULL
    for item in range(items):
        box = box_at(g, item // g.groups)
        share_out(&shares, chunks, num_threads)
        for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            _transform_chunks(&job, &box, item % g.groups, &shares, thread, <real_t *>(memory + g.at_values),
                              memory + g.at_threads + thread * g.thread_bytes)
        share_out(&shares, panels, num_threads)
        for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            _multiply_panels(&job, &box, item % g.groups, &shares, thread, <const real_t *>(memory + g.at_values),
                             memory + g.at_threads + thread * g.thread_bytes)
    return memchr(job.bad, 1, PyArray_DIMS(as_array(bad))[0]) != NULL


cdef void _transform_chunks(const Job *job, const Box *box, int64_t group, Shares *shares, int64_t thread, real_t *values,
                            uint8_t *own) noexcept nogil:
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _transform(job, box, group, turn.item, values, own)


cdef void _multiply_panels(const Job *job, const Box *box, int64_t group, Shares *shares, int64_t thread,
                           const real_t *values, uint8_t *own) noexcept nogil:
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _multiply_panel(job, box, group, turn.item, values, own)


cdef void _run_items(const Job *job, int64_t items, Shares *shares, int64_t thread, uint8_t *own) noexcept nogil:
    """The ``items`` of a part follow each other: a thread keeps to its part of the weights."""
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _run_item(job, turn.item // items, turn.item % items, own)


cdef void _run_item(const Job *job, int64_t part, int64_t item, uint8_t *own) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t group = item % g.groups
    cdef Box box = box_at(g, item // g.groups)
    cdef int64_t panels = cuts(g.group_outputs, PANEL)
    cdef int64_t task
    for task in range(cuts(g.group_inputs, g.chunk)):
        _transform(job, &box, group, task, <real_t *>(own + g.at_values), own)
    for task in range(balanced(panels, g.parts, part), balanced(panels, g.parts, part + 1)):
        _multiply_panel(job, &box, group, task, <real_t *>(own + g.at_values), own)


cdef inline void _transform(const Job *job, const Box *box, int64_t group, int64_t chunk, real_t *values,
                            uint8_t *own) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t c = chunk * g.chunk
    cdef int64_t channels = min(g.group_inputs - c, g.chunk)
    cdef real_t *turned = <real_t *>(own + g.at_chunk)
    if g.fresh:
        transform_vectors(job, box, group, c, channels, turned, own)
        turn_values(job, box, turned, c, channels, values)
    elif g.by_channels:
        transform_vectors(job, box, group, c, channels, values + c, own)
    else:
        transform_chunk(job, box, group, chunk, values, own)


# ---------------------------------------------------------------------------------------------- values to result

cdef void _multiply_panel(const Job *job, const Box *box, int64_t group, int64_t panel, const real_t *values,
                          uint8_t *own) noexcept nogil:
    """One panel of outputs, all tiles of the box."""
    cdef uint64_t mode = flush_subnormals()
    cdef const Geometry *g = job.g
    cdef real_t *product = <real_t *>(own + g.at_product)
    cdef int64_t outputs = cuts(g.group_outputs, VL) * VL
    cdef int64_t k0 = panel * PANEL
    cdef int64_t width = min(outputs - k0, <int64_t>PANEL)
    if g.fresh:
        multiply_fresh(job, box, group, k0, width, values, product)
    else:
        _multiply(job, box, job.weight + panel_weight(g.group_inputs * g.taps, g.frequencies, outputs, group, panel),
                  width, values, product)
    write_tiles(job, box, group, panel, k0, width, product)
    restore_mode(mode)


cdef inline void _multiply(const Job *job, const Box *box, const real_t *weight, int64_t width, const real_t *values,
                           real_t *product) noexcept nogil:
    """A product per frequency: of all tiles, and of a panel of ``width`` outputs whose weights are transformed already."""
    cdef const Geometry *g = job.g
    cdef int64_t depth = g.group_inputs * g.taps
    cdef int64_t step = step_weight(depth, width)
    cdef int64_t panels = cuts(box.tiles, TILE_ROWS)
    cdef int64_t _f, q, first, rows, i
    cdef real_t zeros[PANEL]
    cdef Start start = start_at_columns(zeros)
    cdef Planes planes
    cdef const real_t *soon
    for q in range(TILE_VECS):
        vstore(zeros + q * VL, vzero())
    for _f in range(g.frequencies):
        for q in range(panels):
            first = balanced(box.tiles, panels, q)
            rows = balanced(box.tiles, panels, q + 1) - first
            # the next weights, of which each tile asks for its share, in two halves
            start.ahead = <const char *>(weight + step + depth * width * q // panels)
            start.ahead_step = cuts(width * REAL_SIZE, 2 * panels)
            if g.by_channels:
                planes = Planes(values + first * g.pitch, g.pitch, g.taps, cuts(g.group_inputs, VL) * VL, g.group_inputs)
                soon = values + g.step_values if q == panels - 1 else values + (first + rows) * g.pitch
                for i in range(rows):   # 14 runs that begin at once (64 channels of 56x56: 2 %)
                    prefetch(soon + i * g.pitch)
                run_tile_before_block(<int>rows, <int>(width // VL), &planes, weight, width, product + first * width,
                                      width, &start)
            else:
                run_tile(<int>rows, <int>(width // VL), depth, values + depth * first, weight, width,
                         product + first * width, width, &start, &job.finish, 0)
        values += g.step_values
        product += g.step_product
        weight += step


# ------------------------------------------------------------------------------------------------------ weights

def packed_size(int64_t groups, int64_t outputs, int64_t depth, int64_t frequencies):
    """Scalars of packed weights; ``outputs`` of a group."""
    return panel_weight(depth, frequencies, cuts(outputs, VL) * VL, groups, 0)


def pack_weights(const real_t[:, :, :, :, :] weight, const int64_t[::1] offset, int64_t groups,
                 const double[:, ::1] rows, const double[:, ::1] columns, real_t[::1] packed, int num_threads):
    """``weight`` (K, C / groups, T, R, S) to ``[group][panel][frequency][kk][output]``.

    Its strides may be any; ``offset`` has the place of every tap of every kk of an output channel, in scalars.
    ``rows`` and ``columns`` are the matrices G of the two axes.
    """
    cdef Matrices g = Matrices(&rows[0, 0], &columns[0, 0], rows.shape[0], rows.shape[1], columns.shape[0],
                               columns.shape[1])
    cdef int64_t taps = g.rh * g.rw
    cdef int64_t frequencies = g.ah * g.aw
    cdef int64_t outputs = weight.shape[0] // groups
    cdef int64_t depth = offset.shape[0] // taps
    cdef int64_t step_k = weight.strides[0] // <int64_t>sizeof(real_t)
    cdef int64_t padded = cuts(outputs, VL) * VL
    cdef int64_t panels = cuts(outputs, PANEL)
    cdef int64_t tasks = groups * panels * depth
    cdef int64_t task, group, panel, kk, width
    if packed.shape[0] < panel_weight(depth, frequencies, padded, groups, 0):
        raise ValueError("packed is too short")
    if frequencies > MAX_CELLS or taps > MAX_TAPS or depth * taps != offset.shape[0]:
        raise ValueError("the matrices do not fit the weight")
    for task in prange(tasks, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        kk = task % depth
        panel = task // depth % panels
        group = task // depth // panels
        width = min(padded - panel * PANEL, <int64_t>PANEL)
        _pack_panel(&weight[group * outputs + panel * PANEL, 0, 0, 0, 0], step_k, outputs - panel * PANEL,
                    &offset[kk * taps], &g,
                    &packed[panel_weight(depth, frequencies, padded, group, panel) + kk * width], width,
                    step_weight(depth, width))


cdef void _pack_panel(const real_t *weight, int64_t step_k, int64_t outputs, const int64_t *offset, const Matrices *g,
                      real_t *to, int64_t width, int64_t step_f) noexcept nogil:
    cdef int64_t k = 0
    while k < width:
        transform_weights(weight + k * step_k, step_k, outputs - k, offset, g, to + k, step_f)
        k += VL


def pack_taps(const real_t[:, :, :, :, :] weight, const int64_t[::1] offset, int64_t groups, real_t[::1] packed,
              int num_threads):
    """`pack_weights` for those that are transformed as they are multiplied: ``[group][vector of outputs][kk][tap][output]``,
    as many taps as there are places in ``offset`` for an input channel."""
    cdef int64_t outputs = weight.shape[0] // groups
    cdef int64_t step_k = weight.strides[0] // <int64_t>sizeof(real_t)
    cdef int64_t vectors = cuts(outputs, VL)
    cdef int64_t task, k
    if packed.shape[0] < groups * vectors * VL * offset.shape[0]:
        raise ValueError("packed is too short")
    for task in prange(groups * vectors, nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        k = task % vectors * VL
        copy_taps(&weight[task // vectors * outputs + k, 0, 0, 0, 0], step_k, min(outputs - k, <int64_t>VL), &offset[0],
                  offset.shape[0], &packed[task * VL * offset.shape[0]])
