"""From the input to transformed values: gather the cells of a chunk of channels, transform them tile by tile."""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from cyconv._kernels.gather cimport LINE_BYTES, ZEROS, Axis, gather_block, source_index
from cyconv._kernels.lanes cimport ivec_t, lane_int_t
from cyconv._kernels.masks cimport HAS_MASKS, lanes_up_to, load_lanes, vload_over, vmask_of, vmask_t, vstore_chosen
from cyconv._kernels.simd cimport (REAL_SIZE, TILE_ROWS, VL, flush_subnormals, inlined, prefetch, real_t, restore_mode,
                                   vec_t, vload, vstore)
from cyconv._kernels.transpose cimport vpick
from cyconv._kernels.winograd_geometry cimport MAX_STEP, Box, Geometry, Job, balanced, cuts
from cyconv._kernels.winograd_transforms cimport MAX_CELLS, transform_input

cdef enum:
    MAX_LINE = 1280
    MAX_VECTORS = 640   # of a line, two scalars each

cdef struct Row:
    # what a box reads of a row of cells: ``cells`` from coordinate ``at`` on, ``vectors`` of each strip, made of these
    # lanes of the row itself, or of all lanes of a row with its padding around it
    int64_t at, cells, vectors, in_place
    int64_t chosen[MAX_VECTORS]

cdef struct Pieces:
    # up to VL tiles as runs of neighbours in the gathered block: tile l of run i is cell ``source[i] + l``, if it is one
    # of the ``lanes[i]``
    int64_t count
    int64_t source[VL]
    int64_t lanes[VL]


cdef inline void transform_chunk(const Job *job, const Box *box, int64_t group, int64_t chunk, real_t *values,
                           uint8_t *own) noexcept nogil:
    """Channels of one chunk, all tiles of the box: gather their cells, transform them into the panels of values."""
    cdef const Geometry *g = job.g
    cdef real_t *block = <real_t *>(own + g.at_source)
    cdef int64_t c0 = chunk * g.chunk
    cdef int64_t channels = min(g.chunk, g.group_inputs - c0)
    cdef int64_t panels = cuts(box.tiles, TILE_ROWS)
    cdef int64_t depth = g.group_inputs * g.taps
    cdef int64_t panel, first, rows
    cdef uint64_t mode = flush_subnormals()
    _gather_pictures(job, box, group * g.group_inputs + c0, channels, block)
    for panel in range(panels):
        first = balanced(box.tiles, panels, panel)
        rows = balanced(box.tiles, panels, panel + 1) - first
        _transform_panel(job, box, block, channels, first, rows, values + depth * first + c0 * g.taps * rows)
    restore_mode(mode)


cdef inline void _gather_pictures(const Job *job, const Box *box, int64_t c0, int64_t channels,
                                  real_t *block) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t phases = g.phases_h * g.phases_w
    cdef int64_t step_c = g.slots_d * g.slots_h * g.slots_w
    cdef Axis axis_h = job.axis_h
    cdef Axis axis_w = job.axis_w
    cdef Row row
    cdef int64_t p, phase
    for p in range(box.p0, box.p0 + box.p):
        phase = p % phases
        axis_h.pad = g.pad_h - phase // g.phases_w
        axis_w.pad = g.pad_w - phase % g.phases_w
        if g.lines:
            _choose_cells(job, box, &axis_w, &row)
            _gather_rows(job, box, p // phases, c0, channels, &axis_h, &axis_w, &row, block)
        else:
            gather_block(block, step_c, &job.x, p // phases, 1, c0, channels, box.d0, box.d, box.h0, box.h, box.w0,
                         box.w, &job.axis_d, &axis_h, &axis_w, g.padding_mode)
        block += channels * step_c


cdef inline void _choose_cells(const Job *job, const Box *box, const Axis *axis, Row *row) noexcept nogil:
    """What the rows of a box have in common. Padding by zeros is lanes that are not chosen; any other is laid out, and so
    are cells that are not neighbours."""
    cdef const Geometry *g = job.g
    cdef int64_t step = axis.stride
    cdef int64_t extra = 0
    cdef int64_t i, q
    for q in range(axis.strips):
        extra = max(extra, axis.strip[3 * q + 1])
    row.at = box.w0 * step - axis.pad
    row.cells = (box.w - 1) * step + g.reach_w
    row.vectors = cuts(box.w + extra, VL)
    row.in_place = HAS_MASKS and g.padding_mode == ZEROS and job.x.w == 1
    for i in range(row.vectors * step):
        row.chosen[i] = lanes_up_to(VL)
        if row.in_place:
            row.chosen[i] = lanes_up_to(axis.size - row.at - i * VL) & ~lanes_up_to(-row.at - i * VL)


cdef inline void _gather_rows(const Job *job, const Box *box, int64_t n, int64_t c0, int64_t channels,
                              const Axis *axis_h, const Axis *axis_w, const Row *row, real_t *block) noexcept nogil:
    """What `gather_block` does, all strips of a row at once."""
    cdef const Geometry *g = job.g
    cdef const Axis *axis_d = &job.axis_d
    cdef int64_t c, qd, qh, i, j, kd, kh
    cdef const real_t *image
    cdef real_t *to
    for c in range(channels):
        image = job.x.data + n * job.x.n + (c0 + c) * job.x.c
        for qd in range(axis_d.strips):
            for i in range(box.d + axis_d.strip[3 * qd + 1]):
                kd = source_index((box.d0 + i) * axis_d.stride + axis_d.strip[3 * qd] - axis_d.pad, g.size_d,
                                  g.padding_mode)
                for qh in range(axis_h.strips):
                    to = block + ((c * g.slots_d + axis_d.strip[3 * qd + 2] + i) * g.slots_h
                                  + axis_h.strip[3 * qh + 2]) * g.slots_w
                    for j in range(box.h + axis_h.strip[3 * qh + 1]):
                        kh = source_index((box.h0 + j) * axis_h.stride + axis_h.strip[3 * qh] - axis_h.pad, g.size_h,
                                          g.padding_mode)
                        if kd < 0 or kh < 0:
                            memset(to, 0, g.slots_w * sizeof(real_t))
                        else:
                            _gather_row(job, image + kd * job.x.d + kh * job.x.h, axis_w, row, to)
                        to += g.slots_w


cdef inline void _gather_row(const Job *job, const real_t *data, const Axis *axis, const Row *row,
                             real_t *to) noexcept nogil:
    """Every ``stride``-th cell of the row into each strip. The same row of the next channel is asked for meanwhile if it
    is too far away for the processor to foresee."""
    cdef real_t line[MAX_LINE]
    cdef const real_t *cells = data + row.at
    cdef const real_t *soon = data + max(row.at, <int64_t>0) + job.x.c
    cdef int64_t i
    if job.x.w == 1:
        for i in range(cuts(min(row.cells, axis.size) * REAL_SIZE, LINE_BYTES)):
            prefetch(<const char *>soon + i * LINE_BYTES)
    if not row.in_place:
        _lay_out(job, data, axis.size, row, line)
        cells = line
    if axis.stride == 2:
        _spread(2, cells, axis, row, job.lanes, to)
    elif axis.stride == 4:
        _spread(4, cells, axis, row, job.lanes, to)
    elif axis.stride == 5:
        _spread(5, cells, axis, row, job.lanes, to)
    elif axis.stride == 6:
        _spread(6, cells, axis, row, job.lanes, to)
    elif axis.stride == 8:
        _spread(8, cells, axis, row, job.lanes, to)
    elif axis.stride == 10:
        _spread(10, cells, axis, row, job.lanes, to)
    elif axis.stride == 12:
        _spread(12, cells, axis, row, job.lanes, to)
    else:
        _spread(<int>axis.stride, cells, axis, row, job.lanes, to)


cdef inline void _lay_out(const Job *job, const real_t *data, int64_t size, const Row *row, real_t *line) noexcept nogil:
    """The cells of a row as neighbours, padded."""
    cdef int64_t step = job.x.w
    cdef int64_t lo = min(row.cells, max(<int64_t>0, -row.at))
    cdef int64_t hi = max(lo, min(row.cells, size - row.at))
    cdef const real_t *cells = data + row.at * step
    cdef int64_t i
    for i in range(lo):
        line[i] = _padded_cell(job, data, row.at + i, size)
    for i in range(lo, hi):
        line[i] = cells[i * step]
    for i in range(hi, row.cells):
        line[i] = _padded_cell(job, data, row.at + i, size)


cdef inline real_t _padded_cell(const Job *job, const real_t *data, int64_t i, int64_t size) noexcept nogil:
    i = source_index(i, size, job.g.padding_mode)
    return <real_t>0 if i < 0 else data[i * job.x.w]


cdef inline inlined _spread(const int step, const real_t *cells, const Axis *axis, const Row *row, const ivec_t *lanes,
                            real_t *to) noexcept nogil:
    """``strip[i] = cells[start + i * step]`` of all strips, in whole vectors: ``step`` vectors of cells make one of each
    strip. What is stored too far is overwritten by the next strip, whose vector is stored later; behind the last one
    the row has a vector of slack."""
    cdef vec_t cell[MAX_STEP]
    cdef vec_t v
    cdef int64_t i = row.vectors - 1
    cdef int64_t q, needed
    cdef int k
    while i >= 0:
        needed = row.cells - i * step * VL
        for k in range(step):
            cell[k] = load_lanes(cells + (i * step + k) * VL, row.chosen[i * step + k])
        for q in range(axis.strips):
            v = vpick(cell[0], cell[1], lanes[q * MAX_STEP + 1])
            for k in range(2, step):
                if needed > k * VL:
                    v = vpick(v, cell[k], lanes[q * MAX_STEP + k])
            vstore(to + axis.strip[3 * q + 2] + i * VL, v)
        i -= 1


cdef inline void fill_lanes(ivec_t *lanes, const Axis *axis) noexcept nogil:
    """Pattern k of strip q takes the strip's cells that lie in vector k and keeps what was there before; the first one
    also sorts those of vector 0. Strips begin within the first ``stride`` cells: taps of one strip are a stride apart."""
    cdef lane_int_t *pattern
    cdef int64_t q, k, i, cell
    for q in range(axis.strips):
        for k in range(1, axis.stride):
            pattern = <lane_int_t *>&lanes[q * MAX_STEP + k]
            for i in range(VL):
                cell = axis.strip[3 * q] + i * axis.stride
                pattern[i] = <lane_int_t>i
                if cell < 2 * VL and k == 1:
                    pattern[i] = <lane_int_t>cell
                elif k * VL <= cell < (k + 1) * VL:
                    pattern[i] = <lane_int_t>(VL + cell - k * VL)


cdef inline void _transform_panel(const Job *job, const Box *box, const real_t *block, int64_t channels, int64_t first,
                           int64_t rows, real_t *to) noexcept nogil:
    """Tiles ``first`` to ``first + rows``. A vector may store more than its tiles, for the next ones overwrite that;
    those at the end of the chunk go through a buffer."""
    cdef const Geometry *g = job.g
    cdef int64_t step_c = g.slots_d * g.slots_h * g.slots_w
    cdef int64_t vectors = cuts(rows, VL)
    cdef int64_t left = channels * g.taps * rows
    cdef int64_t f, q, i, _c, t
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
    cdef vmask_t only
    cdef vec_t v
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
                        v = vload(source + offset[f])
                        for i in range(1, pieces[q].count):
                            v = vload_over(v, block + pieces[q].source[i] + offset[f], vmask_of(pieces[q].lanes[i]))
                        vstore(cells + f * VL, v)
                    source, at = cells, in_buffer
                last = left - q * VL < VL
                into, step = to + q * VL, g.step_values
                if last:
                    into, step = exact, VL
                transform_input(g.points, g.planar, source, at, into, step, 2 * rows, job.input_numbers)
                if last:
                    only = vmask_of(lanes_up_to(rows - q * VL))
                    for f in range(g.frequencies):
                        vstore_chosen(to + q * VL + f * g.step_values, vload(exact + f * VL), only)
            to += rows
            left -= rows
        block += step_c


cdef inline void _find_pieces(const Geometry *g, const Box *box, int64_t first, int64_t width, int64_t step_p,
                       Pieces *pieces) noexcept nogil:
    cdef int64_t w = first % box.w
    cdef int64_t h = first // box.w % box.h
    cdef int64_t d = first // (box.w * box.h) % box.d
    cdef int64_t p = first // (box.w * box.h * box.d)
    cdef int64_t done = 0
    pieces.count = 0
    while done < width:
        pieces.source[pieces.count] = p * step_p + (d * g.slots_h + h) * g.slots_w + w - done
        pieces.lanes[pieces.count] = lanes_up_to(VL) & ~lanes_up_to(done)
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
