"""From transformed products to results: transform, bias, activation, write; and which tiles are not finite."""
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from cyconv._kernels.activation cimport silu
from cyconv._kernels.simd cimport VL, real_t, vactivate, vec_t, vload, vset, vstore, vzero
from cyconv._kernels.transpose cimport vtranspose
from cyconv._kernels.winograd_geometry cimport PANEL, Box, Geometry, Job, cuts
from cyconv._kernels.winograd_transforms cimport MAX_PIXELS, transform_output


cdef inline void write_tiles(const Job *job, const Box *box, int64_t group, int64_t panel, int64_t k0, int64_t width,
                       const real_t *product) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t phases = g.phases_h * g.phases_w
    cdef int64_t k1 = min(k0 + width, g.group_outputs)
    cdef const real_t *bias = job.bias + group * (cuts(g.group_outputs, VL) * VL)
    cdef uint8_t *bad = job.bad + ((group * cuts(g.group_outputs, PANEL) + panel)
                                   * (g.batch * phases * g.out_d * g.tiles_h * g.tiles_w))
    cdef int64_t tile, w, h, d, p, phase, rows, columns, k, q
    cdef real_t *to
    for tile in range(box.tiles):
        w = box.w0 + tile % box.w
        h = box.h0 + tile // box.w % box.h
        d = box.d0 + tile // (box.w * box.h) % box.d
        p = box.p0 + tile // (box.w * box.h * box.d)
        phase = p % phases
        rows = min(g.pixels_h, cuts(g.out_h - phase // g.phases_w, g.phases_h) - h * g.pixels_h)
        columns = min(g.pixels_w, cuts(g.out_w - phase % g.phases_w, g.phases_w) - w * g.pixels_w)
        if rows <= 0 or columns <= 0:
            continue
        to = (job.out + p // phases * job.out_n + group * g.group_outputs * job.out_k + d * job.out_d
              + (h * g.pixels_h * g.phases_h + phase // g.phases_w) * job.out_h
              + (w * g.pixels_w * g.phases_w + phase % g.phases_w) * job.out_w)
        for q in range(cuts(k1 - k0, VL)):
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
            pixels[k] = vactivate(pixels[k], slope, lo, hi)
    if g.is_silu:
        silu(<real_t *>pixels, VL, g.pixels_h * g.pixels_w, VL)
    if job.out_k == 1:
        for y in range(rows):
            for x in range(columns):
                memcpy(to + y * step_h + x * step_w, &pixels[y * g.pixels_w + x], channels * sizeof(real_t))
    else:
        _write_channels(g, pixels, channels, rows, columns, to, job.out_k, step_h, step_w)
    return bad


cdef inline void _write_channels(const Geometry *g, vec_t *pixels, int64_t channels, int64_t rows, int64_t columns,
                                 real_t *to, int64_t step_k, int64_t step_h, int64_t step_w) noexcept nogil:
    """Pixels of a channel side by side, then row by row to their places."""
    cdef real_t turned[VL * MAX_PIXELS]
    cdef int64_t pitch = cuts(g.pixels_h * g.pixels_w, VL) * VL
    cdef int64_t group, k, _y, x
    cdef const real_t *source
    cdef real_t *row
    for group in range(pitch // VL):
        vtranspose(pixels + group * VL)
        for k in range(VL):
            vstore(turned + k * pitch + group * VL, pixels[group * VL + k])
    for k in range(channels):
        source = turned + k * pitch
        row = to + k * step_k
        for _y in range(rows):
            if step_w == 1 and columns == 4:
                memcpy(row, source, 4 * sizeof(real_t))
            elif step_w == 1 and columns == 5:
                memcpy(row, source, 5 * sizeof(real_t))
            elif step_w == 1 and columns == 6:
                memcpy(row, source, 6 * sizeof(real_t))
            else:
                for x in range(columns):
                    row[x * step_w] = source[x]
            source += g.pixels_w
            row += step_h
