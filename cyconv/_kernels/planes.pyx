"""Sliding convolution in place: few channels per group, zeros as padding, rows that lie in memory as they are read.

    out[n, k, h, w] = act(bias[k] + sum over c, s, r of
                          weight[k, c, r, s] * x[n, c, h * sh + r * dh - ph, w * sw + s * dw - pw])

Nothing is copied: the tile (``planes_tile.pxd``) reads the image itself, with masks where it ends. Vectors run along W at
stride 1 or 2, in narrow planes along W of two planes, or along the channels at any stride:

    for each item = (image, some channels, band of rows)               <- threads
        for each output of a group, row of tiles, tile along W: all planes of the group

With dilation along H, the rows of a tile are those that share input rows.

FLOPs 2 K CRS P, at two vectors of multiply-adds per cycle; bytes: x and out once, as fast as they come: from the third
level of caches about 30 per cycle, which is where layers of the usual networks end that have 3 x 3 taps (14 FLOPs per
byte would be needed).

Assumptions (guaranteed by ``_plans/planes.py``): no size is zero; x, out and the packed weights have the sizes that the
geometry says, tables are those of ``tabulate``; vectors run where x and out have neighbours; weights are finite.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t

from cyconv._kernels.activation cimport silu
from cyconv._kernels.masks cimport HAS_MASKS
from cyconv._kernels.planes_tile cimport LONGEST_RUN, ROWS, VECS, Rows, Slide, Sweep, pick_tile
from cyconv._kernels.simd cimport VL, real_t
from cyconv._kernels.tile cimport Finish

cdef struct Geometry:
    int64_t batch, channels, group_inputs, group_outputs
    int64_t step, stride_w, paired, by_channels
    int64_t units, unit_groups, bands, tiles_h, rest_h, tiles_w, chunks
    int64_t columns, row_step, row_gap, column_step, taps, second_taps, first_row, second_row
    int64_t out_h, out_w, weight_step
    int64_t is_silu, has_activation

#: order of the geometry vector that ``run`` takes
FIELDS = (
    "batch", "channels", "group_inputs", "group_outputs",
    "step", "stride_w", "paired", "by_channels",
    "units", "unit_groups", "bands", "tiles_h", "rest_h", "tiles_w", "chunks",
    "columns", "row_step", "row_gap", "column_step", "taps", "second_taps", "first_row", "second_row",
    "out_h", "out_w", "weight_step",
    "is_silu", "has_activation",
)
LANES = VL
TILE = (ROWS, VECS)
RUN = LONGEST_RUN
SUPPORTED = bool(HAS_MASKS)
PAIRED = VL * sizeof(real_t) == 64  # with shorter vectors, a store of some lanes costs more than the lanes saved

cdef struct Across:
    # a tile along W: first output, coordinate of its first tap, vectors, outputs from one to the next, lanes that are stored
    int64_t out, at, vecs, next_out, lanes

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


def run(const real_t[:, :, :, :, :] x, const real_t[::1] weight, const real_t[::1] bias, real_t[:, :, :, :, :] out,
        const int64_t[::1] geometry, const int64_t[::1] tables, const real_t[::1] activation, int num_threads):
    """The whole convolution. ``tables`` are the rows of tiles, the tiles along W and their masks; ``activation`` is
    (slope, lo, hi)."""
    cdef Job job
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t items, chunk
    cdef int64_t size = sizeof(real_t)
    if geometry.shape[0] != len(FIELDS) or sizeof(Geometry) != 8 * len(FIELDS):
        raise ValueError("geometry does not have the fields of this kernel")
    job.g = g
    job.x = &x[0, 0, 0, 0, 0]
    job.x_n, job.x_c = x.strides[0] // size, x.strides[1] // size
    job.x_h, job.x_w = x.strides[3] // size, x.strides[4] // size
    job.out = &out[0, 0, 0, 0, 0]
    job.out_n, job.out_k = out.strides[0] // size, out.strides[1] // size
    job.out_h, job.out_w = out.strides[3] // size, out.strides[4] // size
    job.weight = &weight[0]
    job.bias = &bias[0]
    job.rows = <const Rows *>&tables[0]
    job.across = <const Across *>(job.rows + g.tiles_h)
    job.mask = <const int64_t *>(job.across + g.tiles_w)
    job.sweep.planes, job.sweep.columns = g.group_inputs, g.columns
    job.sweep.x_plane, job.sweep.x_row, job.sweep.x_column = job.x_c, g.row_step * job.x_h, g.column_step * job.x_w
    job.sweep.x_size, job.sweep.other = job.x_h, g.group_inputs * job.x_c
    job.sweep.run, job.sweep.second_run = g.first_row * job.x_h, g.second_row * job.x_h
    job.sweep.c_gap, job.sweep.c_row = job.out_h, g.row_gap * job.out_h
    job.sweep.c_other = g.group_outputs * job.out_k
    job.sweep.lanes = job.sweep.second_lanes = job.sweep.c_lanes = -1
    job.sweep.finish = Finish(g.has_activation, activation[0], activation[1], activation[2])
    items = g.batch * g.units * g.bands
    for chunk in prange(g.chunks, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads,
                        use_threads_if=num_threads > 1):
        _run_items(&job, items * chunk // g.chunks, items * (chunk + 1) // g.chunks)


cdef void _run_items(const Job *job, int64_t item, int64_t end) noexcept nogil:
    """A stretch of items; the innermost index is the band, then the channels, then the image."""
    cdef const Geometry *g = job.g
    cdef int64_t band = item % g.bands
    cdef int64_t unit = item // g.bands % g.units
    cdef int64_t n = item // g.bands // g.units
    cdef int64_t first, last, group
    cdef const real_t *x
    cdef real_t *out
    cdef Sweep sweep = job.sweep
    while item < end:
        # the lower tile of the last two may overlap the other, and stays with it
        first = (g.tiles_h - g.rest_h) * band // g.bands
        last = (g.tiles_h - g.rest_h) * (band + 1) // g.bands + (g.rest_h if band + 1 == g.bands else 0)
        group = unit * g.unit_groups
        x = job.x + n * job.x_n + group * g.group_inputs * job.x_c
        out = job.out + n * job.out_n + group * g.group_outputs * job.out_k
        if g.by_channels:
            _sweep_channels(job, &sweep, x, out, group, first, last)
        else:
            _sweep_planes(job, &sweep, x, out, group, first, last)
        item += 1
        band += 1
        if band == g.bands:
            band = 0
            unit += 1
            if unit == g.units:
                unit = 0
                n += 1


cdef inline void _aim(const Job *job, Sweep *sweep, const Across *across, int64_t i) noexcept nogil:
    """The sweep for tile ``i`` along W."""
    sweep.x_vec = across.next_out * job.g.stride_w * job.x_w
    sweep.c_vec = across.next_out * job.out_w
    sweep.mask = job.mask + i * 4 * job.g.columns


cdef void _sweep_planes(const Job *job, Sweep *sweep, const real_t *x, real_t *out, int64_t group, int64_t first,
                        int64_t last) noexcept nogil:
    """Vectors along W: all outputs of one group, or of two side by side."""
    cdef const Geometry *g = job.g
    cdef int64_t groups = min(g.unit_groups, g.channels // g.group_inputs - group)
    cdef int64_t together = 1 if g.tiles_w > 2 else last - first    # the tiles of wide images row by row
    cdef int64_t m, t, i, at
    cdef const Across *across
    cdef Slide tile
    sweep.second_lanes = 0 if g.paired and groups == 1 else -1
    for m in range(g.group_outputs):
        at = m * g.units + group // g.unit_groups if g.paired else group * g.group_outputs + m
        t = first
        while t < last:
            for i in range(g.tiles_w):
                across = &job.across[i]
                _aim(job, sweep, across, i)
                sweep.c_lanes = across.lanes
                tile = pick_tile(g.step, g.paired, g.paired, across.vecs)
                tile(g.taps, g.second_taps, job.rows + t, together, x + across.at, job.weight + at * g.weight_step,
                     job.bias + at * (VL if g.paired else 1), out + m * job.out_k + across.out, sweep)
            t += together
        if g.is_silu:
            for i in range(groups):
                _silu_rows(job, out + m * job.out_k + i * sweep.c_other, first, last, g.out_w)


cdef void _sweep_channels(const Job *job, Sweep *sweep, const real_t *x, real_t *out, int64_t group, int64_t first,
                          int64_t last) noexcept nogil:
    """Vectors along the channels: some of them, one per group."""
    cdef const Geometry *g = job.g
    cdef int64_t channels = min(g.unit_groups, g.channels - group)
    cdef int64_t t, i, c
    cdef const Across *across
    cdef Slide tile
    for t in range(first, last):
        for i in range(g.tiles_w):
            across = &job.across[i]
            _aim(job, sweep, across, i)
            tile = pick_tile(1, 0, 1, across.vecs)
            c = 0
            while c < channels:
                sweep.lanes = -1 if c + VL <= channels else (<int64_t>1 << (channels - c)) - 1
                sweep.c_lanes = sweep.lanes
                tile(g.taps, g.second_taps, job.rows + t, 1, x + across.at * job.x_w + c,
                     job.weight + (group + c) // VL * g.weight_step, job.bias + group + c,
                     out + across.out * job.out_w + c, sweep)
                c += VL
    if g.is_silu:
        for i in range(g.out_w):
            _silu_rows(job, out + i * job.out_w, first, last, channels)


cdef void _silu_rows(const Job *job, real_t *out, int64_t first, int64_t last, int64_t count) noexcept nogil:
    """The activation on ``count`` neighbours in each row of a band."""
    cdef const Geometry *g = job.g
    cdef int64_t row = job.rows[first].out if g.bands > 1 else 0
    cdef int64_t end = job.rows[last - 1].out + job.rows[last - 1].count if g.bands > 1 else g.out_h
    silu(out + row * job.out_h, job.out_h, end - row, count)
