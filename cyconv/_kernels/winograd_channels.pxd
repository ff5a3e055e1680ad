"""From the input to transformed values where neither phases nor depth part the cells: a vector holds channels of one cell.

    for each picture and plane of the box: its tiles (channel_tiles.pxd)         -> [frequency][tile][section][channel]

``winograd_input.pxd``, whose vectors are tiles, has to put each of them together from the rows that its tiles lie in.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cyconv._kernels.channel_rows cimport Row
from cyconv._kernels.channel_tiles cimport Tiles, transform_tiles
from cyconv._kernels.gather cimport source_index
from cyconv._kernels.simd cimport VL, flush_subnormals, real_t, restore_mode
from cyconv._kernels.winograd_geometry cimport Box, Geometry, Job, cuts


cdef inline void transform_vectors(const Job *job, const Box *box, int64_t group, int64_t c, int64_t channels, real_t *to,
                                   uint8_t *own) noexcept nogil:
    """Up to VL ``channels`` from ``c`` on, all tiles of the box: vectors of the first frequency go to ``to``."""
    cdef const Geometry *g = job.g
    cdef real_t *cells = <real_t *>(own + g.at_source)
    cdef int64_t p, d, kd
    cdef const real_t *image
    cdef uint64_t mode = flush_subnormals()
    cdef Tiles tiles = Tiles(g.reach_h, g.reach_w, g.stride_h, g.stride_w, box.h0, box.h, box.w0, box.w, g.size_h, job.x.h,
                             g.pad_h, g.pad_w, (g.box_w - 1) * g.stride_w + g.reach_w, g.points, g.planar, g.taps,
                             cuts(g.group_inputs, VL) * VL, job.offset, job.input_numbers)
    cdef Row row = Row(job.x.c, job.x.w, g.size_w, channels, g.padding_mode, VL)
    for p in range(box.p0, box.p0 + box.p):
        for d in range(box.d0, box.d0 + box.d):
            kd = source_index(d * g.stride_d - g.pad_d, g.size_d, g.padding_mode)
            image = NULL
            if kd >= 0:
                image = job.x.data + p * job.x.n + (group * g.group_inputs + c) * job.x.c + kd * job.x.d
            transform_tiles(&tiles, &row, image, cells, to, g.pitch, g.step_values)
            to += box.h * box.w * g.pitch
    restore_mode(mode)
