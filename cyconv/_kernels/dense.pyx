"""Dense convolution by implicit GEMM.

    out[n, k, p] = act(bias[k] + sum over kk of  weight[k, kk] * patch[kk, p]),      kk = (c, t, r, s)

p runs over the output positions of a box (images x depth x height x width), k over the outputs of a group, and the
patch matrix exists only as panels of one box and one block of kk. Either side can be the vector side of the tile:

    by_rows = 1:   rows of the tile = output channels,  its vectors = positions       (long rows of positions)
    by_rows = 0:   rows of the tile = positions,        its vectors = output channels (few positions; channels last)

    for each item = (box, group, part of the channels):                  <- threads
        for each block of kk:
            gather the input cells (gather.pxd), pack panels of positions
            (``straight``: panels end with the rows, and the tile reads them where they were gathered)
            for each panel of weights, for each panel of positions: tile

An output element is one chain of multiply-adds over kk in ascending order, so neither boxes, parts, orientation nor
threads change a bit of it. FLOPs 2 K CRS P; bytes: x and out once, weights once per box and part.

Assumptions (guaranteed by ``_plans/dense.py``): no size is zero; x, out and the packed weights have the sizes that the
geometry says; scratch holds ``num_threads * scratch_bytes``; coordinates and offsets fit in 63 bits.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from cyconv._kernels.activation cimport silu
from cyconv._kernels.dense_geometry cimport (PANEL, Box, Geometry, Job, balanced, box_at, box_count, cuts, panel_start,
                                             weight_panels, weight_width)
from cyconv._kernels.dense_panels cimport gather_and_pack, padded_width, position_panels, position_start
from cyconv._kernels.gather cimport Axis, Source
from cyconv._kernels.simd cimport TILE_ROWS, VL, prefetch, real_t
from cyconv._kernels.tile cimport (TILE_VECS, Finish, Start, run_indexed_tile, run_tile, start_at_columns,
                                   start_at_result, start_at_rows)

FIELDS = (
    "batch", "groups", "group_inputs", "group_outputs",
    "size_d", "size_h", "size_w", "out_d", "out_h", "out_w",
    "stride_d", "stride_h", "stride_w", "pad_d", "pad_h", "pad_w", "padding_mode",
    "taps", "slots_d", "slots_h", "slots_w", "strips_d", "strips_h", "strips_w",
    "box_n", "box_d", "box_h", "box_w",
    "block", "parts", "by_rows", "direct_in", "direct_out", "straight",
    "at_source", "at_panels", "at_tile", "at_offsets", "scratch_bytes",
    "is_silu", "has_activation",
)
ROWS = TILE_ROWS
LANES = VL
VECS = TILE_VECS


def pack_weights(const real_t[:, :, :, :, :] weight, const int64_t[::1] offset, real_t[::1] packed,
                 const int64_t[::1] geometry, int num_threads):
    """``weight`` (K, C / groups, T, R, S) into panels ``[group][block][panel][kk][channel]``.

    Its strides may be any; ``offset`` has the place of every kk of an output channel, in scalars.
    """
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t depth = offset.shape[0]
    cdef int64_t step = weight.strides[0] // <int64_t>sizeof(real_t)
    cdef int64_t panels = weight_panels(g)
    cdef int64_t task
    if packed.shape[0] < g.groups * depth * weight_width(g):
        raise ValueError("packed is too short")
    for task in prange(g.groups * panels, nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _pack_panel(g, &weight[task // panels * g.group_outputs, 0, 0, 0, 0], step, &offset[0], &packed[0], depth,
                    task // panels, task % panels)


cdef void _pack_panel(const Geometry *g, const real_t *weight, int64_t step, const int64_t *offset, real_t *packed,
                      int64_t depth, int64_t group, int64_t panel) noexcept nogil:
    cdef int64_t width = weight_width(g)
    cdef int64_t first = panel_start(g, panel)
    cdef int64_t columns = panel_start(g, panel + 1) - first
    cdef int64_t real_columns = min(columns, g.group_outputs - first)
    cdef int64_t k0 = 0, k1, k, i
    cdef real_t *to
    while k0 < depth:
        k1 = min(k0 + g.block, depth)
        to = packed + group * depth * width + k0 * width + (k1 - k0) * first
        if step > offset[depth - 1]:  # an output channel's weights are neighbours, as in most weights
            for i in range(real_columns):
                for k in range(k0, k1):
                    to[(k - k0) * columns + i] = weight[(first + i) * step + offset[k]]
        else:
            for k in range(k0, k1):
                for i in range(real_columns):
                    to[(k - k0) * columns + i] = weight[(first + i) * step + offset[k]]
        for i in range(real_columns, columns):
            for k in range(k0, k1):
                to[(k - k0) * columns + i] = <real_t>0
        k0 = k1


def run(const real_t[:, :, :, :, :] x, const real_t[::1] weight, const real_t[::1] bias,
        real_t[:, :, :, :, :] out, const int64_t[::1] geometry, const int64_t[::1] tables,
        const real_t[::1] activation, uint8_t[::1] scratch, int num_threads):
    """The whole convolution. ``activation`` is (slope, lo, hi).

    ``bias`` has a value per packed output channel; if the rows are channels, each is repeated over a whole vector.
    """
    cdef Job job
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t items, item
    cdef int64_t step = sizeof(real_t)
    if geometry.shape[0] != len(FIELDS) or sizeof(Geometry) != 8 * len(FIELDS):
        raise ValueError("geometry does not have the fields of this kernel")
    if scratch.shape[0] < num_threads * g.scratch_bytes:
        raise ValueError("scratch is too small")
    job.g = g
    job.x = Source(&x[0, 0, 0, 0, 0], x.strides[0] // step, x.strides[1] // step, x.strides[2] // step,
                   x.strides[3] // step, x.strides[4] // step)
    job.axis_d = Axis(g.size_d, g.stride_d, g.pad_d, g.slots_d, g.strips_d, &tables[0])
    job.axis_h = Axis(g.size_h, g.stride_h, g.pad_h, g.slots_h, g.strips_h, job.axis_d.strip + 3 * g.strips_d)
    job.axis_w = Axis(g.size_w, g.stride_w, g.pad_w, g.slots_w, g.strips_w, job.axis_h.strip + 3 * g.strips_h)
    job.tap_offset = job.axis_w.strip + 3 * g.strips_w
    job.weight = &weight[0]
    job.bias = &bias[0]
    job.out = &out[0, 0, 0, 0, 0]
    job.out_n, job.out_k = out.strides[0] // step, out.strides[1] // step
    job.out_d, job.out_h, job.out_w = out.strides[2] // step, out.strides[3] // step, out.strides[4] // step
    job.finish = Finish(g.has_activation, activation[0], activation[1], activation[2])
    items = box_count(g) * g.groups * g.parts
    for item in prange(items, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _run_item(&job, item, &scratch[threadid() * g.scratch_bytes])


cdef void _run_item(const Job *job, int64_t item, uint8_t *scratch) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t part = item % g.parts
    cdef int64_t group = item // g.parts % g.groups
    cdef Box box = box_at(g, item // g.parts // g.groups)
    cdef int64_t depth = g.group_inputs * g.taps
    cdef int64_t first_panel = balanced(weight_panels(g), g.parts, part)
    cdef int64_t last_panel = balanced(weight_panels(g), g.parts, part + 1)
    cdef int64_t k0 = 0, k1
    while k0 < depth:
        k1 = min(k0 + g.block, depth)
        gather_and_pack(job, &box, group, k0, k1, scratch)
        _multiply(job, &box, group, k0, k1, first_panel, last_panel, scratch)
        k0 = k1


cdef void _multiply(const Job *job, const Box *box, int64_t group, int64_t k0, int64_t k1, int64_t first_panel,
                    int64_t last_panel, uint8_t *scratch) noexcept nogil:
    """All tiles of this box, group and part for one block of kk."""
    cdef const Geometry *g = job.g
    cdef int64_t depth = k1 - k0
    cdef int64_t total = g.group_inputs * g.taps
    cdef int64_t wide = weight_width(g)
    cdef int64_t row0 = panel_start(g, first_panel)
    cdef int64_t partial_ld = cuts(box.positions, VL) * VL if g.by_rows else panel_start(g, last_panel) - row0
    cdef real_t *partial = <real_t *>(scratch + g.at_tile)
    cdef const real_t *weight
    cdef const real_t *bias
    cdef const real_t *panels
    cdef int64_t panel, first, width, q, at, count
    for panel in range(first_panel, last_panel):
        first = panel_start(g, panel)
        width = panel_start(g, panel + 1) - first
        weight = job.weight + group * total * wide + k0 * wide + depth * first
        bias = job.bias + (group * wide + first) * (VL if g.by_rows else 1)
        panels = <const real_t *>(scratch + g.at_panels)
        for q in range(position_panels(g, box)):
            at = position_start(g, box, q)
            count = position_start(g, box, q + 1) - at
            if g.direct_out:
                _tile_in_place(job, box, group, first, width, at, count, weight, panels, bias, depth, k0 == 0, k1 == total,
                               scratch)
            elif g.by_rows:
                _tile(job, width, cuts(count, VL), depth, weight, panels, padded_width(g, count), bias,
                      partial + (first - row0) * partial_ld + at, partial_ld, k0 == 0, k1 == total)
            else:
                _tile(job, count, width // VL, depth, panels, weight, width, bias,
                      partial + at * partial_ld + first - row0, partial_ld, k0 == 0, k1 == total)
            panels += depth * padded_width(g, count)
    if not g.direct_out and k1 == total:
        _scatter(job, box, group, row0, min(panel_start(g, last_panel), g.group_outputs), partial, partial_ld)


cdef inline void _straight_tile(const Job *job, const Box *box, int64_t rows, int64_t vecs, int64_t depth,
                                const real_t *weight, int64_t at, const real_t *bias, real_t *c, int64_t ldc, bint fresh,
                                bint last, uint8_t *scratch) noexcept nogil:
    """A tile that reads the gathered block: position ``at`` and its neighbours to the right."""
    cdef const Geometry *g = job.g
    cdef int64_t row = at // box.w
    cdef int64_t h = row % box.h
    cdef int64_t d = row // box.h % box.d
    cdef Start start = start_at_rows(bias)
    if not fresh:
        start = start_at_result(c, ldc)
    run_indexed_tile(<int>rows, <int>vecs, depth, weight,
                     <const real_t *>(scratch + g.at_source) + (d * g.slots_h + h) * g.slots_w + at % box.w,
                     <const int64_t *>(scratch + g.at_offsets), c, ldc, &start, &job.finish, last)


cdef inline void _tile(const Job *job, int64_t rows, int64_t vecs, int64_t depth, const real_t *a, const real_t *b,
                       int64_t ldb, const real_t *bias, real_t *c, int64_t ldc, bint fresh, bint last) noexcept nogil:
    cdef Start start
    if not fresh:
        start = start_at_result(c, ldc)
    elif job.g.by_rows:
        start = start_at_rows(bias)
    else:
        start = start_at_columns(bias)
    run_tile(<int>rows, <int>vecs, depth, a, b, ldb, c, ldc, &start, &job.finish, last)


cdef inline real_t *_out_at(const Job *job, const Box *box, int64_t channel, int64_t position) noexcept nogil:
    cdef int64_t w = position % box.w
    cdef int64_t h = position // box.w % box.h
    cdef int64_t d = position // (box.w * box.h) % box.d
    cdef int64_t n = position // (box.w * box.h * box.d)
    return (job.out + (box.n0 + n) * job.out_n + channel * job.out_k + (box.d0 + d) * job.out_d
            + (box.h0 + h) * job.out_h + (box.w0 + w) * job.out_w)


cdef void _tile_in_place(const Job *job, const Box *box, int64_t group, int64_t first, int64_t width, int64_t at,
                         int64_t count, const real_t *weight, const real_t *panels, const real_t *bias,
                         int64_t depth, bint fresh, bint last, uint8_t *scratch) noexcept nogil:
    """A tile that accumulates in the result itself; one that is not whole goes through a small buffer."""
    cdef const Geometry *g = job.g
    cdef real_t edge[TILE_ROWS * PANEL]
    cdef real_t *to = _out_at(job, box, group * g.group_outputs + first, at)
    cdef int64_t rows = width if g.by_rows else count
    cdef int64_t columns = count if g.by_rows else min(width, g.group_outputs - first)
    cdef int64_t vecs = cuts(columns, VL)
    cdef int64_t ld = job.out_k if g.by_rows else job.out_w
    cdef int64_t i
    cdef real_t *c = to
    cdef int64_t ldc = ld
    # the next tile's results are asked for: its accumulators start there
    to += count * (1 if g.by_rows else ld)
    for i in range(rows):
        prefetch(to + i * ld)
        prefetch(to + i * ld + VL)
        prefetch(to + i * ld + 2 * VL - 1)
    to -= count * (1 if g.by_rows else ld)
    if columns < vecs * VL:
        c, ldc = edge, PANEL
        if not fresh:
            for i in range(rows):
                memcpy(edge + i * PANEL, to + i * ld, columns * sizeof(real_t))
    if g.straight:
        _straight_tile(job, box, rows, vecs, depth, weight, at, bias, c, ldc, fresh, last, scratch)
    elif g.by_rows:
        _tile(job, rows, vecs, depth, weight, panels, vecs * VL, bias, c, ldc, fresh, last)
    else:
        _tile(job, rows, vecs, depth, panels, weight, width, bias, c, ldc, fresh, last)
    if last and g.is_silu:
        silu(c, ldc, rows, columns)
    if columns < vecs * VL:
        for i in range(rows):
            memcpy(to + i * ld, edge + i * PANEL, columns * sizeof(real_t))


cdef void _scatter(const Job *job, const Box *box, int64_t group, int64_t row0, int64_t row1, real_t *partial,
                   int64_t ld) noexcept nogil:
    """Finished channels row0 to row1 of the box from the scratch product to wherever the result wants them."""
    cdef const Geometry *g = job.g
    cdef int64_t step_k = ld if g.by_rows else 1
    cdef int64_t step_p = 1 if g.by_rows else ld
    cdef int64_t k, p, i, length
    cdef real_t *to
    if g.is_silu:
        if g.by_rows:
            silu(partial, ld, row1 - row0, box.positions)
        else:
            silu(partial, ld, box.positions, row1 - row0)
    p = 0
    while p < box.positions:
        length = min(box.w - p % box.w, <int64_t>VL)
        to = _out_at(job, box, group * g.group_outputs + row0, p)
        if job.out_k == 1:
            for i in range(length):
                for k in range(row1 - row0):
                    to[k + i * job.out_w] = partial[k * step_k + (p + i) * step_p]
        else:
            for k in range(row1 - row0):
                for i in range(length):
                    to[k * job.out_k + i * job.out_w] = partial[k * step_k + (p + i) * step_p]
        p += length
