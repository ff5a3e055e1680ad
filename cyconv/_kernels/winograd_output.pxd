"""From transformed products to results: transform, bias, activation, write; and which tiles are not finite.

Pixels are made a tile at a time, in vectors of channels; those of neighbouring tiles are put side by side, so that a
vector of a channel's pixels can be stored as a whole:

    tile 0   tile 1                 a b | e f ..
    a b      e f           row 0:   a b e f ..  -> turned: a vector of pixels of each channel
    c d      g h           row 1:   c d g h ..
"""
from libc.stdint cimport int64_t, uint8_t

from cyconv._kernels.activation cimport silu
from cyconv._kernels.crossing cimport cross
from cyconv._kernels.gather cimport LINE_BYTES
from cyconv._kernels.lanes cimport vall_zero
from cyconv._kernels.masks cimport lanes_up_to, vmask_of, vstore_chosen
from cyconv._kernels.simd cimport REAL_SIZE, VL, prefetch_write, real_t, vactivate, vec_t, vload, vset, vstore, vzero
from cyconv._kernels.winograd_geometry cimport PANEL, Box, Geometry, Job, cuts
from cyconv._kernels.winograd_transforms cimport MAX_OUTPUTS, transform_output

cdef enum:
    # vectors of pixels that are side by side
    ROW = 64


cdef inline void write_tiles(const Job *job, const Box *box, int64_t group, int64_t panel, int64_t k0, int64_t width,
                       const real_t *product) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t phases = g.phases_h * g.phases_w
    cdef int64_t k1 = min(k0 + width, g.group_outputs)
    cdef const real_t *bias = job.bias + group * (cuts(g.group_outputs, VL) * VL)
    cdef uint8_t *bad = job.bad + ((group * cuts(g.group_outputs, PANEL) + panel)
                                   * (g.batch * phases * g.out_d * g.tiles_h * g.tiles_w))
    cdef int64_t most = ROW // g.pixels_w
    cdef int64_t line, w, w1, h, d, p, phase, rows, columns, k, q
    cdef real_t *to
    for line in range(box.p * box.d * box.h):
        h = box.h0 + line % box.h
        d = box.d0 + line // box.h % box.d
        p = box.p0 + line // (box.h * box.d)
        phase = p % phases
        rows = min(g.pixels_h, cuts(g.out_h - phase // g.phases_w, g.phases_h) - h * g.pixels_h)
        columns = cuts(g.out_w - phase % g.phases_w, g.phases_w)
        if rows <= 0:
            continue
        w = box.w0
        while w < box.w0 + box.w and w * g.pixels_w < columns:
            w1 = min(w + most, box.w0 + box.w)
            to = (job.out + p // phases * job.out_n + group * g.group_outputs * job.out_k + d * job.out_d
                  + (h * g.pixels_h * g.phases_h + phase // g.phases_w) * job.out_h
                  + (w * g.pixels_w * g.phases_w + phase % g.phases_w) * job.out_w)
            for q in range(cuts(k1 - k0, VL)):
                k = k0 + q * VL
                _write_row(job, product + (line * box.w + w - box.w0) * width + q * VL, width, bias + k,
                           min(k1 - k, <int64_t>VL), w1 - w, rows, min(columns, w1 * g.pixels_w) - w * g.pixels_w,
                           to + k * job.out_k, bad + ((p * g.out_d + d) * g.tiles_h + h) * g.tiles_w + w)
            w = w1


cdef inline void _write_row(const Job *job, const real_t *product, int64_t width, const real_t *bias, int64_t channels,
                            int64_t tiles, int64_t rows, int64_t columns, real_t *to, uint8_t *bad) noexcept nogil:
    """``rows x columns`` pixels of a row of tiles for up to VL channels; which of the tiles are ``bad``."""
    cdef const Geometry *g = job.g
    cdef int64_t step_h = g.phases_h * job.out_h
    cdef int64_t step_w = g.phases_w * job.out_w
    cdef vec_t pixels[MAX_OUTPUTS * ROW]
    cdef vec_t shift = vload(bias)
    cdef vec_t total, slope, lo, hi
    cdef vec_t *tile = pixels
    cdef int64_t column = 1 if g.pixels_w > 1 else ROW     # an axis that is transformed has more than a pixel
    cdef int64_t t, y, x
    slope, lo, hi = vset(job.finish.slope), vset(job.finish.lo), vset(job.finish.hi)
    for t in range(tiles):
        transform_output(g.points, g.outputs, g.planar, product, g.step_product, tile, ROW, column,
                         job.output_numbers)
        total = vzero()
        for y in range(g.pixels_h):
            for x in range(g.pixels_w):
                total = total + tile[y * ROW + x]
                tile[y * ROW + x] = tile[y * ROW + x] + shift
            if job.finish.active:
                for x in range(g.pixels_w):
                    tile[y * ROW + x] = vactivate(tile[y * ROW + x], slope, lo, hi)
            if g.is_silu:
                silu(<real_t *>(tile + y * ROW), VL, g.pixels_w, VL)
        if step_w == 1:
            _ask_ahead(to, t, g.pixels_w, rows, step_h, channels, job.out_k)
        bad[t] |= not vall_zero(total - total)
        product += width
        tile += g.pixels_w
    for y in range(rows):
        if job.out_k == 1:
            for x in range(columns):
                if channels == VL:
                    vstore(to + x * step_w, pixels[y * ROW + x])
                else:
                    vstore_chosen(to + x * step_w, pixels[y * ROW + x], vmask_of(lanes_up_to(channels)))
        else:
            _write_pixels(<const real_t *>(pixels + y * ROW), channels, columns, to, job.out_k, step_w)
        to += step_h


cdef inline void _ask_ahead(const real_t *to, int64_t tile, int64_t pixels, int64_t rows, int64_t step_h,
                            int64_t channels, int64_t step_k) noexcept nogil:
    """The lines that the pixels of a row of tiles go to, a part with each tile: they come while pixels are made (64
    channels of 56x56 in a chain: 860 to 780 us)."""
    cdef int64_t line = LINE_BYTES // REAL_SIZE
    cdef int64_t tiles = max(<int64_t>1, line // pixels)
    cdef int64_t y = tile % tiles
    cdef int64_t k
    to += tile // tiles * line + line - 1
    while y < rows:
        for k in range(channels):
            prefetch_write(<const char *>(to + y * step_h + k * step_k))
        y += tiles


cdef inline void _write_pixels(const real_t *pixels, int64_t channels, int64_t columns, real_t *to, int64_t step_k,
                               int64_t step_w) noexcept nogil:
    """A row of pixels, vectors of channels, to their places."""
    cdef int64_t k, x
    if step_w == 1:
        cross(to, step_k, pixels, VL, columns, channels)
        return
    for k in range(channels):
        for x in range(columns):
            to[k * step_k + x * step_w] = pixels[x * VL + k]
