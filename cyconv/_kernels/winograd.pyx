"""Convolution by Winograd's minimal filtering: few products at transformed points instead of many multiply-adds.

    out tile = A^T [ sum over kk of (G w[k, kk] G^T) * (B^T x[kk] B) ] A,        kk = (c, direct taps)

An m x m tile of results needs a x a products per channel pair, a = m + r - 1, where the definition needs m^2 r^2
multiply-adds. Only height and width are transformed, or one of them; the taps of every other axis are *direct*: they
lengthen the sum, and stride and dilation there are what they were. A dilation on a transformed axis splits the
results into *phases* that do not touch each other; image and phase together are a *picture*.

    for each item = (box of tiles, group):                                  <- threads, if there are enough items
        for each chunk of channels: gather cells, transform    -> values[frequency][panel of tiles][kk][tile]
        for each panel of outputs:                                          <- else threads here and one line up
            a product per frequency on the register tile       -> product[frequency][tile][output]
            transform, bias, activation, write

    weights:    [group][panel of outputs][frequency][kk][output]

Rows of the register tile are tiles, its vectors are output channels. Each result is the same sequence of operations
wherever its tile lies, so boxes and threads do not change a bit of it. A tile with a result that is not finite is
reported in ``bad``; the plan computes it by the definition.

FLOPs 2 K CT a^2 per tile; bytes: x and out once, the weights once per box.
Assumptions (guaranteed by ``_plans/winograd.py``): no size is zero; x, out, weights and scratch have the sizes that
the geometry says; the block of gathered cells ends with a vector of slack.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from cyconv._kernels.activation cimport silu
from cyconv._kernels.gather cimport Axis, Source, gather_block
from cyconv._kernels.simd cimport (
    TILE_ROWS, VL, real_t, vat_least, vat_most, vec_t, vleaky, vload, vset, vstore, vzero,
)
from cyconv._kernels.tile cimport TILE_VECS, Finish, Start, run_tile, start_at_columns
from cyconv._kernels.winograd_transforms cimport MAX_CELLS, MAX_PIXELS, transform_input, transform_output

cdef enum:
    PANEL = TILE_VECS * VL

cdef struct Geometry:
    int64_t batch, groups, group_inputs, group_outputs
    int64_t size_d, size_h, size_w, out_d, out_h, out_w
    int64_t stride_d, stride_h, stride_w, pad_d, pad_h, pad_w, padding_mode
    int64_t slots_d, slots_h, slots_w, strips_d, strips_h, strips_w
    int64_t points, outputs, planar, frequencies, taps
    int64_t pixels_h, pixels_w, phases_h, phases_w, tiles_h, tiles_w
    int64_t box_p, box_d, box_h, box_w, chunk, shared
    int64_t step_values, step_product, at_values, at_source, at_product, at_threads, thread_bytes
    int64_t is_silu, has_activation

#: order of the geometry vector that ``run`` takes
FIELDS = (
    "batch", "groups", "group_inputs", "group_outputs",
    "size_d", "size_h", "size_w", "out_d", "out_h", "out_w",
    "stride_d", "stride_h", "stride_w", "pad_d", "pad_h", "pad_w", "padding_mode",
    "slots_d", "slots_h", "slots_w", "strips_d", "strips_h", "strips_w",
    "points", "outputs", "planar", "frequencies", "taps",
    "pixels_h", "pixels_w", "phases_h", "phases_w", "tiles_h", "tiles_w",
    "box_p", "box_d", "box_h", "box_w", "chunk", "shared",
    "step_values", "step_product", "at_values", "at_source", "at_product", "at_threads", "thread_bytes",
    "is_silu", "has_activation",
)
ROWS = TILE_ROWS
LANES = VL
VECS = TILE_VECS

cdef struct Box:
    int64_t p0, p, d0, d, h0, h, w0, w, tiles

cdef struct Job:
    const Geometry *g
    Source x
    Axis axis_d, axis_h, axis_w
    const int64_t *offset           # taps x frequencies: where a tile finds its cells in the gathered block
    const real_t *weight
    const real_t *bias
    const real_t *input_numbers
    const real_t *output_numbers
    real_t *out
    int64_t out_n, out_k, out_d, out_h, out_w
    uint8_t *bad                    # (group, panel of outputs) x tiles
    Finish finish

cdef struct Pieces:
    # up to VL tiles as runs of neighbours in the gathered block
    int64_t count
    int64_t source[VL]
    int64_t to[VL]


cdef inline int64_t _cuts(int64_t total, int64_t box) noexcept nogil:
    return (total + box - 1) // box


cdef inline int64_t _balanced(int64_t total, int64_t parts, int64_t index) noexcept nogil:
    """First element of part ``index`` when ``total`` is cut into ``parts`` that differ by one at most."""
    return total * index // parts


def run(const real_t[:, :, :, :, :] x, const real_t[::1] weight, const real_t[::1] bias,
        real_t[:, :, :, :, :] out, const int64_t[::1] geometry, const int64_t[::1] tables,
        const real_t[::1] input_numbers, const real_t[::1] output_numbers, const real_t[::1] activation,
        uint8_t[::1] bad, uint8_t[::1] scratch, int num_threads):
    """The whole convolution. ``bias`` has a value for every output of the weight panels, groups after one another."""
    cdef Job job
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t step = sizeof(real_t)
    cdef int64_t items, item, task, chunks, panels
    cdef Box box
    if geometry.shape[0] != len(FIELDS) or sizeof(Geometry) != 8 * len(FIELDS):
        raise ValueError("geometry does not have the fields of this kernel")
    if scratch.shape[0] < g.at_threads + num_threads * g.thread_bytes:
        raise ValueError("scratch is too small")
    job.g = g
    job.x = Source(&x[0, 0, 0, 0, 0], x.strides[0] // step, x.strides[1] // step, x.strides[2] // step,
                   x.strides[3] // step, x.strides[4] // step)
    job.axis_d = Axis(g.size_d, g.stride_d, g.pad_d, g.slots_d, g.strips_d, &tables[0])
    job.axis_h = Axis(g.size_h, g.stride_h, g.pad_h, g.slots_h, g.strips_h, job.axis_d.strip + 3 * g.strips_d)
    job.axis_w = Axis(g.size_w, g.stride_w, g.pad_w, g.slots_w, g.strips_w, job.axis_h.strip + 3 * g.strips_h)
    job.offset = job.axis_w.strip + 3 * g.strips_w
    job.weight = &weight[0]
    job.bias = &bias[0]
    job.input_numbers = &input_numbers[0]
    job.output_numbers = &output_numbers[0]
    job.out = &out[0, 0, 0, 0, 0]
    job.out_n, job.out_k = out.strides[0] // step, out.strides[1] // step
    job.out_d, job.out_h, job.out_w = out.strides[2] // step, out.strides[3] // step, out.strides[4] // step
    job.bad = &bad[0]
    job.finish = Finish(g.has_activation, activation[0], activation[1], activation[2])
    items = (g.groups * _cuts(g.batch * g.phases_h * g.phases_w, g.box_p) * _cuts(g.out_d, g.box_d)
             * _cuts(g.tiles_h, g.box_h) * _cuts(g.tiles_w, g.box_w))
    chunks = _cuts(g.group_inputs, g.chunk)
    panels = _cuts(g.group_outputs, PANEL)
    if not g.shared:
        for item in prange(items, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads,
                           use_threads_if=num_threads > 1):
            _run_item(&job, item, &scratch[g.at_threads + threadid() * g.thread_bytes])
        return
    for item in range(items):
        box = _box_at(g, item // g.groups)
        for task in prange(chunks, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
            _transform_chunk(&job, &box, item % g.groups, task, <real_t *>&scratch[g.at_values],
                             &scratch[g.at_threads + threadid() * g.thread_bytes])
        for task in prange(panels, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
            _multiply_panel(&job, &box, item % g.groups, task, <real_t *>&scratch[g.at_values],
                            &scratch[g.at_threads + threadid() * g.thread_bytes])


cdef void _run_item(const Job *job, int64_t item, uint8_t *own) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef Box box = _box_at(g, item // g.groups)
    cdef int64_t task
    for task in range(_cuts(g.group_inputs, g.chunk)):
        _transform_chunk(job, &box, item % g.groups, task, <real_t *>(own + g.at_values), own)
    for task in range(_cuts(g.group_outputs, PANEL)):
        _multiply_panel(job, &box, item % g.groups, task, <real_t *>(own + g.at_values), own)


cdef inline Box _box_at(const Geometry *g, int64_t index) noexcept nogil:
    cdef Box box
    cdef int64_t cuts = _cuts(g.tiles_w, g.box_w)
    box.w0 = index % cuts * g.box_w
    box.w = min(g.box_w, g.tiles_w - box.w0)
    index = index // cuts
    cuts = _cuts(g.tiles_h, g.box_h)
    box.h0 = index % cuts * g.box_h
    box.h = min(g.box_h, g.tiles_h - box.h0)
    index = index // cuts
    cuts = _cuts(g.out_d, g.box_d)
    box.d0 = index % cuts * g.box_d
    box.d = min(g.box_d, g.out_d - box.d0)
    box.p0 = index // cuts * g.box_p
    box.p = min(g.box_p, g.batch * g.phases_h * g.phases_w - box.p0)
    box.tiles = box.p * box.d * box.h * box.w
    return box


# ---------------------------------------------------------------------------------------------- input to values

cdef void _transform_chunk(const Job *job, const Box *box, int64_t group, int64_t chunk, real_t *values,
                           uint8_t *own) noexcept nogil:
    """Channels of one chunk, all tiles of the box: gather their cells, transform them into the panels of values."""
    cdef const Geometry *g = job.g
    cdef real_t *block = <real_t *>(own + g.at_source)
    cdef int64_t c0 = chunk * g.chunk
    cdef int64_t channels = min(g.chunk, g.group_inputs - c0)
    cdef int64_t panels = _cuts(box.tiles, TILE_ROWS)
    cdef int64_t depth = g.group_inputs * g.taps
    cdef int64_t panel, first, rows
    _gather_pictures(job, box, group * g.group_inputs + c0, channels, block)
    for panel in range(panels):
        first = _balanced(box.tiles, panels, panel)
        rows = _balanced(box.tiles, panels, panel + 1) - first
        _transform_panel(job, box, block, channels, first, rows, values + depth * first + c0 * g.taps * rows)


cdef void _gather_pictures(const Job *job, const Box *box, int64_t c0, int64_t channels, real_t *block) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t phases = g.phases_h * g.phases_w
    cdef Axis axis_h = job.axis_h
    cdef Axis axis_w = job.axis_w
    cdef int64_t p, phase
    for p in range(box.p0, box.p0 + box.p):
        phase = p % phases
        axis_h.pad = g.pad_h - phase // g.phases_w
        axis_w.pad = g.pad_w - phase % g.phases_w
        gather_block(block, &job.x, p // phases, 1, c0, channels, box.d0, box.d, box.h0, box.h, box.w0, box.w,
                     &job.axis_d, &axis_h, &axis_w, g.padding_mode)
        block += channels * g.slots_d * g.slots_h * g.slots_w


cdef void _transform_panel(const Job *job, const Box *box, const real_t *block, int64_t channels, int64_t first,
                           int64_t rows, real_t *to) noexcept nogil:
    """Tiles ``first`` to ``first + rows``. A vector may store more than its tiles, for the next ones overwrite that;
    those at the end of the chunk go through a buffer."""
    cdef const Geometry *g = job.g
    cdef int64_t step_c = g.slots_d * g.slots_h * g.slots_w
    cdef int64_t vectors = _cuts(rows, VL)
    cdef int64_t left = channels * g.taps * rows
    cdef int64_t f, q, i, _c, t, width
    cdef bint last
    cdef Pieces pieces[TILE_ROWS]
    cdef int64_t in_buffer[MAX_CELLS]
    cdef real_t cells[(MAX_CELLS + 1) * VL]
    cdef real_t exact[MAX_CELLS * VL]
    cdef const real_t *source
    cdef const int64_t *offset
    cdef const int64_t *at
    cdef real_t *into
    cdef int64_t step
    for f in range(g.frequencies):
        in_buffer[f] = f * VL
    for q in range(vectors):
        _find_pieces(g, box, first + q * VL, min(rows - q * VL, <int64_t>VL), step_c * channels, &pieces[q])
    for _c in range(channels):
        for t in range(g.taps):
            offset = job.offset + t * g.frequencies
            for q in range(vectors):
                source, at = block + pieces[q].source[0], offset
                if pieces[q].count > 1:
                    for f in range(g.frequencies):
                        for i in range(pieces[q].count):
                            vstore(cells + f * VL + pieces[q].to[i], vload(block + pieces[q].source[i] + offset[f]))
                    source, at = cells, in_buffer
                width = min(rows - q * VL, <int64_t>VL)
                last = left - q * VL < VL
                into, step = to + q * VL, g.step_values
                if last:
                    into, step = exact, VL
                transform_input(g.points, g.planar, source, at, into, step, job.input_numbers)
                if last:
                    for f in range(g.frequencies):
                        memcpy(to + q * VL + f * g.step_values, exact + f * VL, width * sizeof(real_t))
            to += rows
            left -= rows
        block += step_c


cdef void _find_pieces(const Geometry *g, const Box *box, int64_t first, int64_t width, int64_t step_p,
                       Pieces *pieces) noexcept nogil:
    cdef int64_t w = first % box.w
    cdef int64_t h = first // box.w % box.h
    cdef int64_t d = first // (box.w * box.h) % box.d
    cdef int64_t p = first // (box.w * box.h * box.d)
    cdef int64_t done = 0
    pieces.count = 0
    while done < width:
        pieces.source[pieces.count] = p * step_p + (d * g.slots_h + h) * g.slots_w + w
        pieces.to[pieces.count] = done
        pieces.count += 1
        done += box.w - w
        w = 0
        h += 1
        if h == box.h:
            h = 0
            d += 1
            if d == box.d:
                d = 0
                p += 1


# ---------------------------------------------------------------------------------------------- values to result

cdef void _multiply_panel(const Job *job, const Box *box, int64_t group, int64_t panel, const real_t *values,
                          uint8_t *own) noexcept nogil:
    """One panel of outputs, all tiles of the box."""
    cdef const Geometry *g = job.g
    cdef real_t *product = <real_t *>(own + g.at_product)
    cdef int64_t outputs = _cuts(g.group_outputs, VL) * VL
    cdef int64_t k0 = panel * PANEL
    cdef int64_t width = min(outputs - k0, <int64_t>PANEL)
    cdef int64_t depth = g.group_inputs * g.taps
    cdef const real_t *weight = job.weight + (group * outputs + k0) * g.frequencies * depth
    cdef int64_t panels = _cuts(box.tiles, TILE_ROWS)
    cdef int64_t _f, q, first, rows
    cdef real_t zeros[PANEL]
    cdef Start start = start_at_columns(zeros)
    for q in range(TILE_VECS):
        vstore(zeros + q * VL, vzero())
    for _f in range(g.frequencies):
        for q in range(panels):
            first = _balanced(box.tiles, panels, q)
            rows = _balanced(box.tiles, panels, q + 1) - first
            run_tile(<int>rows, <int>(width // VL), depth, values + depth * first, weight, width,
                     product + first * width, width, &start, &job.finish, 0)
        values += g.step_values
        product += g.step_product
        weight += depth * width
    _write_tiles(job, box, group, panel, k0, width, <const real_t *>(own + g.at_product))


cdef void _write_tiles(const Job *job, const Box *box, int64_t group, int64_t panel, int64_t k0, int64_t width,
                       const real_t *product) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t phases = g.phases_h * g.phases_w
    cdef int64_t k1 = min(k0 + width, g.group_outputs)
    cdef const real_t *bias = job.bias + group * (_cuts(g.group_outputs, VL) * VL)
    cdef uint8_t *bad = job.bad + ((group * _cuts(g.group_outputs, PANEL) + panel)
                                   * (g.batch * phases * g.out_d * g.tiles_h * g.tiles_w))
    cdef int64_t tile, w, h, d, p, phase, rows, columns, k, q
    cdef real_t *to
    for tile in range(box.tiles):
        w = box.w0 + tile % box.w
        h = box.h0 + tile // box.w % box.h
        d = box.d0 + tile // (box.w * box.h) % box.d
        p = box.p0 + tile // (box.w * box.h * box.d)
        phase = p % phases
        rows = min(g.pixels_h, _cuts(g.out_h - phase // g.phases_w, g.phases_h) - h * g.pixels_h)
        columns = min(g.pixels_w, _cuts(g.out_w - phase % g.phases_w, g.phases_w) - w * g.pixels_w)
        if rows <= 0 or columns <= 0:
            continue
        to = (job.out + p // phases * job.out_n + group * g.group_outputs * job.out_k + d * job.out_d
              + (h * g.pixels_h * g.phases_h + phase // g.phases_w) * job.out_h
              + (w * g.pixels_w * g.phases_w + phase % g.phases_w) * job.out_w)
        for q in range(_cuts(k1 - k0, VL)):
            k = k0 + q * VL
            if _write_vector(job, product + tile * width + q * VL, bias + k, min(k1 - k, <int64_t>VL), rows, columns,
                             to + k * job.out_k):
                bad[((p * g.out_d + d) * g.tiles_h + h) * g.tiles_w + w] = 1


cdef inline bint _write_vector(const Job *job, const real_t *product, const real_t *bias, int64_t channels,
                               int64_t rows, int64_t columns, real_t *to) noexcept nogil:
    """``rows x columns`` pixels of one tile for up to VL channels; True if some pixel of the tile is not finite."""
    cdef const Geometry *g = job.g
    cdef int64_t step_h = g.phases_h * job.out_h
    cdef int64_t step_w = g.phases_w * job.out_w
    cdef vec_t pixels[MAX_PIXELS]
    cdef const real_t *value
    cdef vec_t total = vzero()
    cdef vec_t shift = vload(bias)
    cdef vec_t slope, lo, hi
    cdef real_t lanes[VL]
    cdef int64_t y, x, k
    cdef bint bad = 0
    transform_output(g.points, g.outputs, g.planar, product, g.step_product, pixels, job.output_numbers)
    for k in range(g.pixels_h * g.pixels_w):
        total = total + pixels[k]
        pixels[k] = pixels[k] + shift
    vstore(lanes, total - total)
    for k in range(VL):
        bad |= lanes[k] != 0
    if job.finish.active:
        slope, lo, hi = vset(job.finish.slope), vset(job.finish.lo), vset(job.finish.hi)
        for k in range(g.pixels_h * g.pixels_w):
            pixels[k] = vat_most(vat_least(vleaky(pixels[k], slope), lo), hi)
    if g.is_silu:
        silu(<real_t *>pixels, VL, g.pixels_h * g.pixels_w, VL)
    if job.out_k == 1:
        for y in range(rows):
            for x in range(columns):
                memcpy(to + y * step_h + x * step_w, &pixels[y * g.pixels_w + x], channels * sizeof(real_t))
    else:
        for k in range(channels):
            for y in range(rows):
                value = <const real_t *>pixels + y * g.pixels_w * VL + k
                for x in range(columns):
                    to[k * job.out_k + y * step_h + x * step_w] = value[x * VL]
    return bad


# ------------------------------------------------------------------------------------------------------ weights

def pack_weights(const real_t[:, :, :, ::1] weight, const double[:, ::1] rows, const double[:, ::1] columns,
                 real_t[::1] packed, int num_threads):
    """``weight`` (groups, K / groups, kk, taps of the transformed axes) to ``[group][panel][frequency][kk][output]``.

    ``rows`` and ``columns`` are the matrices G of the two axes. The sums are in float64: each transformed weight is
    rounded once.
    """
    cdef int64_t outputs = weight.shape[1]
    cdef int64_t depth = weight.shape[2]
    cdef int64_t padded = _cuts(outputs, VL) * VL
    cdef int64_t panels = _cuts(outputs, PANEL)
    cdef int64_t tasks = weight.shape[0] * panels * depth
    cdef int64_t task, group, panel, kk, width
    if packed.shape[0] < weight.shape[0] * padded * depth * rows.shape[0] * columns.shape[0]:
        raise ValueError("packed is too short")
    if rows.shape[0] * columns.shape[0] > MAX_CELLS or rows.shape[1] * columns.shape[1] != weight.shape[3]:
        raise ValueError("the matrices do not fit the weight")
    for task in prange(tasks, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        kk = task % depth
        panel = task // depth % panels
        group = task // depth // panels
        width = min(padded - panel * PANEL, <int64_t>PANEL)
        _pack_one(&weight[group, panel * PANEL, kk, 0], depth * weight.shape[3], min(outputs - panel * PANEL, width),
                  &rows[0, 0], rows.shape[0], rows.shape[1], &columns[0, 0], columns.shape[0], columns.shape[1],
                  &packed[((group * padded + panel * PANEL) * rows.shape[0] * columns.shape[0] * depth) + kk * width],
                  width, depth * width)


cdef void _pack_one(const real_t *weight, int64_t step_k, int64_t channels, const double *rows, int64_t ah, int64_t rh,
                    const double *columns, int64_t aw, int64_t rw, real_t *to, int64_t width,
                    int64_t step_f) noexcept nogil:
    """``rows w columns^T`` for ``width`` output channels, zero beyond ``channels``."""
    cdef double half[MAX_CELLS][PANEL]
    cdef double total[PANEL]
    cdef int64_t i, j, r, k
    for i in range(ah):
        for j in range(rw):
            for k in range(width):
                half[i * rw + j][k] = 0
            for r in range(rh):
                for k in range(channels):
                    half[i * rw + j][k] += rows[i * rh + r] * weight[k * step_k + r * rw + j]
    for i in range(ah):
        for j in range(aw):
            for k in range(width):
                total[k] = 0
            for r in range(rw):
                for k in range(width):
                    total[k] += columns[j * rw + r] * half[i * rw + r][k]
            for k in range(width):
                to[(i * aw + j) * step_f + k] = <real_t>total[k]
