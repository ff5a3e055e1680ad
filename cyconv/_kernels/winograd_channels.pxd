"""From the input to transformed values where neither direct taps nor phases are: a vector holds channels of one cell.

    for each vector of channels, for each picture and plane of the box, for each row of tiles:
        rows of cells, channels side by side (two rows of tiles share some: they are moved up, not filled again)
        for each tile: transform                        -> values[frequency][tile][channel]

Cells are turned once, in squares, and every tile finds whole vectors of them, wherever it lies; ``winograd_input.pxd``, whose
vectors are tiles, has to put each of them together from the rows that its tiles lie in.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memmove

from cyconv._kernels.channel_rows cimport Row, fill_row, zero_row
from cyconv._kernels.gather cimport source_index
from cyconv._kernels.simd cimport VL, flush_subnormals, real_t, restore_mode
from cyconv._kernels.winograd_geometry cimport Box, Geometry, Job
from cyconv._kernels.winograd_transforms cimport transform_input


cdef inline void transform_vectors(const Job *job, const Box *box, int64_t group, int64_t chunk, real_t *values,
                                   uint8_t *own) noexcept nogil:
    """Channels of one chunk, all tiles of the box."""
    cdef const Geometry *g = job.g
    cdef real_t *cells = <real_t *>(own + g.at_source)
    cdef int64_t c = chunk * g.chunk
    cdef int64_t last = min(c + g.chunk, g.group_inputs)
    cdef int64_t p, d, kd
    cdef const real_t *image
    cdef real_t *to
    cdef uint64_t mode = flush_subnormals()
    while c < last:
        to = values + c
        for p in range(box.p0, box.p0 + box.p):
            for d in range(box.d0, box.d0 + box.d):
                kd = source_index(d * g.stride_d - g.pad_d, g.size_d, g.padding_mode)
                image = NULL
                if kd >= 0:
                    image = job.x.data + p * job.x.n + (group * g.group_inputs + c) * job.x.c + kd * job.x.d
                _transform_plane(job, box, image, min(last - c, <int64_t>VL), to, cells)
                to += box.h * box.w * g.pitch
        c += VL
    restore_mode(mode)


cdef inline void _transform_plane(const Job *job, const Box *box, const real_t *image, int64_t channels, real_t *to,
                                  real_t *cells) noexcept nogil:
    """All tiles of a plane, one vector of channels. No ``image``: a plane of padding."""
    cdef const Geometry *g = job.g
    cdef Row row = Row(job.x.c, job.x.w, g.size_w, channels, g.padding_mode, VL)
    cdef int64_t step = g.stride_w      # from tile to tile, also along the height
    cdef int64_t shared = g.points - step
    cdef int64_t count = box.w * step + shared
    cdef int64_t pitch = (g.box_w * step + shared) * VL
    cdef int64_t i, j, h, w
    for i in range(box.h):
        if i > 0:
            memmove(cells, cells + step * pitch, shared * pitch * sizeof(real_t))
        for j in range(shared if i > 0 else 0, g.points):
            h = source_index((box.h0 + i) * step + j - g.pad_h, g.size_h, g.padding_mode)
            if h < 0 or image == NULL:
                zero_row(&row, count, cells + j * pitch)
            else:
                fill_row(&row, image + h * job.x.h, box.w0 * step - g.pad_w, count, cells + j * pitch)
        for w in range(box.w):
            transform_input(g.points, True, cells + w * step * VL, job.offset, to, g.step_values, 2 * g.pitch,
                            job.input_numbers)
            to += g.pitch
