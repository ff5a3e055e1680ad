"""Sliding convolution in place: few channels per group, zeros as padding, rows that lie in memory as they are read.

    out[n, k, h, w] = act(bias[k] + sum over c, s, r of
                          weight[k, c, r, s] * x[n, c, h * sh + r * dh - ph, w * sw + s * dw - pw])

Nothing is copied: the image itself is read, with masks where it ends, by a tile of some rows (``planes_tile.pxd``) or row
by row, at 3 x 3 (``planes_three.pxd``) and, in planes of few vectors, at 5 x 5 and 7 x 7 (``planes_taps.pxd``). Vectors
run along W at stride 1 or 2, in narrow planes along W of two planes, or along the channels at any stride:

    for each item = (image, some channels, band of rows)               <- threads
        for each output of a group, row of tiles, tile along W: all planes of the group

With dilation along H, the rows of a tile are those that share input rows. Channels at 3 x 3 are seen with H and W
exchanged, so that the rows of ``planes_three.pxd`` are neighbours in memory.

FLOPs 2 K CRS P, at two vectors of multiply-adds per cycle; bytes: x and out once, as fast as they come: from the third
level of caches about 30 per cycle, which is where layers of the usual networks end that have 3 x 3 taps (14 FLOPs per
byte would be needed).

Assumptions (guaranteed by ``_plans/planes.py``): no size is zero; x, out and the packed weights have the sizes that the
geometry says, tables are those of ``tabulate``; vectors run where x and out have neighbours; weights are finite; the others
are NumPy's arrays, of the right types (buffers for all of them would take a quarter of a small call).
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint64_t

from cyconv._kernels.activation cimport silu
from cyconv._kernels.masks cimport HAS_MASKS
from cyconv._kernels.ndarray cimport PyArray_DATA, PyArray_DIMS, as_array
from cyconv._kernels.planes_three cimport STREAM_VECS, Strip, stream_channels, stream_rows
from cyconv._kernels.planes_taps cimport stream_pairs, stream_taps
from cyconv._kernels.planes_tile cimport Rows, Slide, Sweep, pick_tile
from cyconv._kernels.shares cimport Shares, Turn, first_turn, next_item, share_out
from cyconv._kernels.simd cimport VL, flush_subnormals, real_t, restore_mode
from cyconv._kernels.sliding_tile cimport LONGEST_RUN, ROWS, VECS
from cyconv._kernels.tile cimport Finish

cdef struct Geometry:
    int64_t batch, channels, group_inputs, group_outputs
    int64_t step, stride_h, stride_w, paired, by_channels, streams
    int64_t units, unit_groups, bands, tiles_h, rest_h, tiles_w, chunks
    int64_t columns, row_step, row_gap, column_step, taps, second_taps, first_row, second_row
    int64_t size_h, size_w, pad_h, out_h, out_w, weight_step
    int64_t is_silu, has_activation
    int64_t x_n, x_c, x_h, x_w, y_n, y_k, y_h, y_w      # strides of x and of the result, in scalars

#: order of the geometry vector that ``run`` takes
FIELDS = (
    "batch", "channels", "group_inputs", "group_outputs",
    "step", "stride_h", "stride_w", "paired", "by_channels", "streams",
    "units", "unit_groups", "bands", "tiles_h", "rest_h", "tiles_w", "chunks",
    "columns", "row_step", "row_gap", "column_step", "taps", "second_taps", "first_row", "second_row",
    "size_h", "size_w", "pad_h", "out_h", "out_w", "weight_step",
    "is_silu", "has_activation",
    "x_n", "x_c", "x_h", "x_w", "y_n", "y_k", "y_h", "y_w",
)
LANES = VL
TILE = (ROWS, VECS)
RUN = LONGEST_RUN
STREAM = STREAM_VECS
STREAM_TAPS = 7 if VECS == 2 else 3
SUPPORTED = bool(HAS_MASKS)
PAIRED = VL * sizeof(real_t) == 64  # with shorter vectors, a store of some lanes costs more than the lanes saved

cdef struct Across:
    # a tile along W: first output, coordinate of its first tap, vectors, outputs from the first to the last of them, lanes
    # that are stored, whether only the outermost loads reach beyond x
    int64_t out, at, vecs, next_out, lanes, outer

cdef struct Band:
    # rows of tiles [first, last), output rows [first_row, end_row); units that are done together
    int64_t first, last, first_row, end_row, units

cdef struct Job:
    const Geometry *g
    const real_t *x
    int64_t x_n, x_c, x_h, x_w
    real_t *out
    int64_t out_n, out_k, out_h, out_w
    const real_t *weight
    const real_t *bias
    const Rows *rows
    const Across *across
    const int64_t *mask
    Sweep sweep


def run(weight, bias, geometry, tables, activation, int num_threads, x, out):
    """The whole convolution of arrays whose strides the geometry has. ``tables`` are the rows of tiles, the tiles along W
    and their masks; ``activation`` is (slope, lo, hi)."""
    cdef Job job
    cdef const Geometry *g = <const Geometry *>PyArray_DATA(as_array(geometry))
    cdef const real_t *limits = <const real_t *>PyArray_DATA(as_array(activation))
    cdef int64_t items, thread
    cdef Shares shares
    if PyArray_DIMS(as_array(geometry))[0] * 8 != sizeof(Geometry):
        raise ValueError("geometry does not have the fields of this kernel")
    job.g = g
    job.x, job.out = <const real_t *>PyArray_DATA(as_array(x)), <real_t *>PyArray_DATA(as_array(out))
    job.x_n, job.x_c, job.x_h, job.x_w = g.x_n, g.x_c, g.x_h, g.x_w
    job.out_n, job.out_k, job.out_h, job.out_w = g.y_n, g.y_k, g.y_h, g.y_w
    job.weight = <const real_t *>PyArray_DATA(as_array(weight))
    job.bias = <const real_t *>PyArray_DATA(as_array(bias))
    job.rows = <const Rows *>PyArray_DATA(as_array(tables))
    job.across = <const Across *>(job.rows + g.tiles_h)
    job.mask = <const int64_t *>(job.across + g.tiles_w)
    job.sweep.planes, job.sweep.columns = g.group_inputs, g.columns
    job.sweep.x_plane, job.sweep.x_row, job.sweep.x_column = job.x_c, g.row_step * job.x_h, g.column_step * job.x_w
    job.sweep.x_size, job.sweep.other = job.x_h, g.group_inputs * job.x_c
    job.sweep.run, job.sweep.second_run = g.first_row * job.x_h, g.second_row * job.x_h
    job.sweep.c_gap, job.sweep.c_row = job.out_h, g.row_gap * job.out_h
    job.sweep.c_other = g.group_outputs * job.out_k
    job.sweep.lanes = job.sweep.second_lanes = job.sweep.c_lanes = -1
    job.sweep.finish = Finish(g.has_activation, limits[0], limits[1], limits[2])
    items = g.batch * g.units * g.bands
    share_out(&shares, g.chunks, num_threads)
    for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                         use_threads_if=num_threads > 1):
        _run_chunks(&job, items, &shares, thread)


cdef void _run_chunks(const Job *job, int64_t items, Shares *shares, int64_t thread) noexcept nogil:
    cdef int64_t chunks = job.g.chunks
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _run_items(job, items * turn.item // chunks, items * (turn.item + 1) // chunks)


cdef void _run_items(const Job *job, int64_t item, int64_t end) noexcept nogil:
    """A stretch of items; the innermost index is the band, then the channels, then the image."""
    cdef uint64_t mode = flush_subnormals()
    cdef const Geometry *g = job.g
    cdef int64_t band = item % g.bands
    cdef int64_t unit = item // g.bands % g.units
    cdef int64_t n = item // g.bands // g.units
    cdef Band rows
    cdef int64_t whole = g.tiles_h - g.rest_h
    cdef int64_t group
    cdef const real_t *x
    cdef real_t *out
    cdef Sweep sweep = job.sweep
    while item < end:
        rows.units = 1
        if g.streams and g.tiles_w == 1 and g.bands == 1 and g.group_outputs == 1 and not g.by_channels:
            # small planes one after the other, but for the last one of a pair without a second
            rows.units = max(<int64_t>1, min(end - item, g.channels // g.unit_groups - unit))
        if g.streams:
            rows.first = rows.last = 0
            rows.first_row, rows.end_row = g.out_h * band // g.bands, g.out_h * (band + 1) // g.bands
        else:
            # the lower tile of the last two may overlap the other, and stays with it
            rows.first = whole * band // g.bands
            rows.last = whole * (band + 1) // g.bands + (g.rest_h if band + 1 == g.bands else 0)
            rows.first_row, rows.end_row = 0, g.out_h
            if g.bands > 1:
                rows.first_row = job.rows[rows.first].out
                rows.end_row = job.rows[rows.last - 1].out + job.rows[rows.last - 1].count
        group = unit * g.unit_groups
        x = job.x + n * job.x_n + group * g.group_inputs * job.x_c
        out = job.out + n * job.out_n + group * g.group_outputs * job.out_k
        if g.by_channels:
            _sweep_channels(job, &sweep, x, out, group, &rows)
        else:
            _sweep_planes(job, &sweep, x, out, group, &rows)
        item += rows.units
        band += 1
        if band == g.bands:
            band = 0
            unit += rows.units
            if unit == g.units:
                unit = 0
                n += 1
    restore_mode(mode)


cdef inline void _aim(const Job *job, Sweep *sweep, const Across *across, int64_t i) noexcept nogil:
    """The sweep for tile ``i`` along W."""
    sweep.x_vec = across.next_out * job.g.stride_w * job.x_w
    sweep.c_vec = across.next_out * job.out_w
    sweep.mask = job.mask + i * 4 * job.g.columns


cdef inline Strip _strip(const Job *job, const Band *rows) noexcept nogil:
    """All rows of the band. What lies between two units matters where there is one input plane per group."""
    cdef const Geometry *g = job.g
    return Strip(rows.end_row - rows.first_row, rows.first_row * g.stride_h - g.pad_h, g.size_h, rows.units,
                 g.unit_groups * job.x_c, g.weight_step, VL if g.paired else 1, g.unit_groups * job.out_k)


cdef void _sweep_planes(const Job *job, Sweep *sweep, const real_t *x, real_t *out, int64_t group,
                        const Band *rows) noexcept nogil:
    """Vectors along W: all outputs of one group, or of two side by side."""
    cdef const Geometry *g = job.g
    cdef int64_t groups = min(g.unit_groups, g.channels // g.group_inputs - group)
    cdef int64_t together = 1 if g.tiles_w > 2 or g.streams else rows.last - rows.first  # in wide images row by row
    cdef int64_t end = 1 if g.streams else rows.last
    cdef int64_t m, t, at
    sweep.second_lanes = 0 if g.paired and groups == 1 else -1
    for m in range(g.group_outputs):
        at = m * g.units + group // g.unit_groups if g.paired else group * g.group_outputs + m
        t = 0 if g.streams else rows.first
        while t < end:
            _sweep_across(job, sweep, t, together, rows, x, job.weight + at * g.weight_step,
                          job.bias + at * (VL if g.paired else 1), out + m * job.out_k)
            t += together
        if g.is_silu:
            for at in range(groups * rows.units):
                silu(out + m * job.out_k + at * sweep.c_other + rows.first_row * job.out_h, job.out_h,
                     rows.end_row - rows.first_row, g.out_w)


cdef inline void _sweep_across(const Job *job, Sweep *sweep, int64_t t, int64_t tiles, const Band *rows, const real_t *x,
                               const real_t *w, const real_t *bias, real_t *out) noexcept nogil:
    """Some rows of tiles, or all rows of the band, from left to right."""
    cdef const Geometry *g = job.g
    cdef const Across *across = job.across
    cdef Strip strip = _strip(job, rows)
    cdef Slide tile
    cdef const real_t *start
    cdef real_t *c
    cdef int64_t i
    for i in range(g.tiles_w):
        _aim(job, sweep, across, i)
        sweep.c_lanes = across.lanes
        if g.streams:
            start = x + strip.at * job.x_h + across.at
            c = out + rows.first_row * job.out_h + across.out
            if g.columns == 3:
                stream_rows(g.step, g.paired, across.outer, across.vecs, &strip, start, w, bias, c, sweep)
            elif g.paired:
                stream_pairs(g.columns, &strip, start, w, bias, c, -across.at, g.size_w, sweep)
            else:
                stream_taps(g.step, g.columns, across.outer, across.vecs, &strip, start, w, bias, c, sweep)
        else:
            tile = pick_tile(g.step, g.paired, g.paired, across.vecs)
            tile(g.taps, g.second_taps, job.rows + t, tiles, x + across.at, w, bias, out + across.out, sweep)
        across += 1


cdef void _sweep_channels(const Job *job, Sweep *sweep, const real_t *x, real_t *out, int64_t group,
                          const Band *rows) noexcept nogil:
    """Vectors along the channels: some of them, one per group."""
    cdef const Geometry *g = job.g
    cdef int64_t channels = min(g.unit_groups, g.channels - group)
    cdef int64_t t, i, c
    cdef Strip strip = _strip(job, rows)
    cdef const Across *across
    for t in range(0 if g.streams else rows.first, 1 if g.streams else rows.last):
        for i in range(g.tiles_w):
            across = &job.across[i]
            _aim(job, sweep, across, i)
            c = 0
            while c < channels:
                sweep.lanes = sweep.c_lanes = -1 if c + VL <= channels else (<int64_t>1 << (channels - c)) - 1
                if g.streams:
                    stream_channels(g.stride_h, across.vecs, &strip, x + strip.at * job.x_h + across.at * job.x_w + c,
                                    job.weight + (group + c) // VL * g.weight_step, job.bias + group + c,
                                    out + rows.first_row * job.out_h + across.out * job.out_w + c, sweep)
                else:
                    pick_tile(1, 0, 1, across.vecs)(
                        g.taps, g.second_taps, job.rows + t, 1, x + across.at * job.x_w + c,
                        job.weight + (group + c) // VL * g.weight_step, job.bias + group + c,
                        out + across.out * job.out_w + c, sweep)
                c += VL
    if g.is_silu:
        for i in range(g.out_w):
            silu(out + i * job.out_w + rows.first_row * job.out_h, job.out_h, rows.end_row - rows.first_row, channels)
