"""Panels of positions: what the dense kernel packs of the input, and how.

A panel holds some output positions next to each other for every kk of a block: ``panel[kk * width + position]``. The
positions of a panel are runs along the rows of the box; each run is copied as pieces of up to a vector.

Assumptions: as ``dense.pyx``.
"""
from libc.stdint cimport int64_t, uint8_t

from cyconv._kernels.dense_geometry cimport PANEL, Box, Geometry, Job, balanced, cuts
from cyconv._kernels.gather cimport gather_block
from cyconv._kernels.simd cimport TILE_ROWS, VL, prefetch, real_t, vload, vstore
from cyconv._kernels.tile cimport TILE_VECS

cdef enum:
    MAX_PIECES = PANEL + 2
    ROWS_TOGETHER = 32

cdef struct Pieces:
    # a panel of positions as runs of neighbours: ``count`` copies of up to VL scalars
    int64_t count
    int64_t source[MAX_PIECES]
    int64_t to[MAX_PIECES]
    int64_t length[MAX_PIECES]


cdef inline int64_t position_panels(const Geometry *g, const Box *box) noexcept nogil:
    if g.straight:
        return box.positions // box.w * cuts(box.w, PANEL)
    return cuts(box.positions, PANEL if g.by_rows else TILE_ROWS)


cdef inline int64_t position_start(const Geometry *g, const Box *box, int64_t panel) noexcept nogil:
    """First position of a panel: whole tiles on the vector side, equal rows on the row side."""
    cdef int64_t panels
    if g.straight:
        panels = cuts(box.w, PANEL)
        return panel // panels * box.w + panel % panels * PANEL
    if g.by_rows:
        return min(panel * PANEL, box.positions)
    return balanced(box.positions, position_panels(g, box), panel)


cdef inline int64_t padded_width(const Geometry *g, int64_t width) noexcept nogil:
    """Scalars per kk of a panel of ``width`` positions."""
    return cuts(width, VL) * VL if g.by_rows else width


cdef inline void gather_and_pack(const Job *job, const Box *box, int64_t group, int64_t k0, int64_t k1,
                                 uint8_t *scratch) noexcept nogil:
    """Panels ``[panel][kk][position]`` of this box for kk from k0 to k1."""
    cdef const Geometry *g = job.g
    cdef real_t *panels = <real_t *>(scratch + g.at_panels)
    cdef int64_t *offset = <int64_t *>(scratch + g.at_offsets)
    cdef real_t *block = <real_t *>(scratch + g.at_source)
    cdef int64_t c0 = k0 // g.taps
    cdef int64_t channels = (k1 + g.taps - 1) // g.taps - c0
    cdef int64_t base_channel = group * g.group_inputs + c0
    cdef int64_t step_n, step_c, step_d, step_h, k, panel, first, width
    cdef const real_t *source
    cdef Pieces pieces
    if g.direct_in:
        # one tap, no padding, neighbours are neighbours: the input itself is the block
        step_n, step_c = job.x.n, job.x.c
        step_d, step_h = job.x.d * g.stride_d, job.x.h * g.stride_h
        source = (job.x.data + box.n0 * step_n + base_channel * step_c + box.d0 * step_d + box.h0 * step_h + box.w0)
    else:
        step_h = g.slots_w
        step_d = step_h * g.slots_h
        step_c = step_d * g.slots_d
        gather_block(block, step_c, &job.x, box.n0, box.n, base_channel, channels, box.d0, box.d, box.h0, box.h,
                     box.w0, box.w, &job.axis_d, &job.axis_h, &job.axis_w, g.padding_mode)
        step_n = step_c * channels
        source = block
    for k in range(k0, k1):
        offset[k - k0] = (k // g.taps - c0) * step_c + job.tap_offset[k % g.taps]
    if g.straight:
        return
    if g.direct_in:
        _copy_positions(panels, source, offset, k1 - k0, box, g, step_n, step_d, step_h)
        return
    for panel in range(position_panels(g, box)):
        first = position_start(g, box, panel)
        width = position_start(g, box, panel + 1) - first
        _find_pieces(&pieces, box, first, width, step_n, step_d, step_h)
        _pack_positions(panels, source, offset, k1 - k0, padded_width(g, width), &pieces)
        panels += (k1 - k0) * padded_width(g, width)


cdef inline void _copy_positions(real_t *panels, const real_t *source, const int64_t *offset, int64_t depth, const Box *box,
                                 const Geometry *g, int64_t step_n, int64_t step_d, int64_t step_h) noexcept nogil:
    """Panels straight from the input. Its rows lie pages apart: only as many as the first page table level knows are
    read side by side."""
    cdef int64_t k0 = 0, k1, panel, first, width
    cdef real_t *to
    cdef Pieces pieces
    while k0 < depth:
        k1 = min(k0 + ROWS_TOGETHER, depth)
        to = panels
        for panel in range(position_panels(g, box)):
            first = position_start(g, box, panel)
            width = position_start(g, box, panel + 1) - first
            _find_pieces(&pieces, box, first, width, step_n, step_d, step_h)
            width = padded_width(g, width)
            _copy_pieces(to + k0 * width, source, offset + k0, k1 - k0, width, &pieces)
            to += depth * width
        k0 = k1


cdef inline void _copy_pieces(real_t *to, const real_t *source, const int64_t *offset, int64_t depth, int64_t width,
                              const Pieces *pieces) noexcept nogil:
    """Not a scalar more than the pieces have: the input has no slack behind its end."""
    cdef int64_t k, q, i
    cdef const real_t *from_
    if pieces.count == TILE_VECS and pieces.length[1] == VL:
        for k in range(depth):
            from_ = source + offset[k]
            prefetch(from_ + pieces.source[0] + 2 * PANEL)
            prefetch(from_ + pieces.source[1] + 2 * PANEL)
            vstore(to, vload(from_ + pieces.source[0]))
            vstore(to + VL, vload(from_ + pieces.source[1]))
            to += width
        return
    for k in range(depth):
        from_ = source + offset[k]
        for q in range(pieces.count):
            for i in range(pieces.length[q]):
                to[pieces.to[q] + i] = from_[pieces.source[q] + i]
        to += width


cdef inline void _find_pieces(Pieces *pieces, const Box *box, int64_t first, int64_t width, int64_t step_n, int64_t step_d,
                              int64_t step_h) noexcept nogil:
    cdef int64_t w = first % box.w
    cdef int64_t h = first // box.w % box.h
    cdef int64_t d = first // (box.w * box.h) % box.d
    cdef int64_t n = first // (box.w * box.h * box.d)
    cdef int64_t done = 0, length
    pieces.count = 0
    while done < width:
        length = min(min(box.w - w, width - done), <int64_t>VL)
        pieces.source[pieces.count] = n * step_n + d * step_d + h * step_h + w
        pieces.to[pieces.count] = done
        pieces.length[pieces.count] = length
        pieces.count += 1
        done += length
        w += length
        if w == box.w:
            w = 0
            h += 1
            if h == box.h:
                h = 0
                d += 1
                if d == box.d:
                    d = 0
                    n += 1


cdef inline void _pack_positions(real_t *panel, const real_t *source, const int64_t *offset, int64_t depth, int64_t width,
                                 const Pieces *pieces) noexcept nogil:
    """Whole vectors are stored in ascending order: what a piece stores too much, the next one overwrites; the panels
    have a vector of slack at their end, and so has a gathered block."""
    cdef int64_t k, q
    cdef int64_t s0 = pieces.source[0]
    cdef int64_t s1, s2, t1, t2
    cdef const real_t *from_
    if pieces.count == 1:
        for k in range(depth):
            vstore(panel, vload(source + offset[k] + s0))
            panel += width
    elif pieces.count == 2:
        s1, t1 = pieces.source[1], pieces.to[1]
        for k in range(depth):
            from_ = source + offset[k]
            vstore(panel, vload(from_ + s0))
            vstore(panel + t1, vload(from_ + s1))
            panel += width
    elif pieces.count == 3:
        s1, t1 = pieces.source[1], pieces.to[1]
        s2, t2 = pieces.source[2], pieces.to[2]
        for k in range(depth):
            from_ = source + offset[k]
            vstore(panel, vload(from_ + s0))
            vstore(panel + t1, vload(from_ + s1))
            vstore(panel + t2, vload(from_ + s2))
            panel += width
    else:
        for k in range(depth):
            from_ = source + offset[k]
            for q in range(pieces.count):
                vstore(panel + pieces.to[q], vload(from_ + pieces.source[q]))
            panel += width
