"""Tiles of an image to Winograd's frequencies, a vector for up to VL neighbouring channels of a cell.

    for each row of tiles:
        rows of cells, channels side by side (two rows of tiles share some: they are moved up, not filled again)
        for each tile: transform                            -> to[frequency][tile][channel]

Cells are turned once, in squares, and every tile finds whole vectors of them, wherever it lies.
"""
from libc.stdint cimport int64_t
from libc.string cimport memmove

from cyconv._kernels.channel_rows cimport Row, fill_row, zero_row
from cyconv._kernels.gather cimport source_index
from cyconv._kernels.simd cimport VL, real_t
from cyconv._kernels.winograd_transforms cimport transform_input


cdef struct Tiles:
    # ``points x points`` cells each, ``step`` cells apart along both axes: ``h`` rows from ``h0``, ``w`` in each from ``w0``
    int64_t points, step, h0, h, w0, w
    int64_t size_h, step_h, pad_h, pad_w    # of the image: rows, scalars from one to the next, padding
    int64_t row                             # cells that there is room for in a row of them
    const int64_t *cell                     # where the cells of a tile lie there, in scalars
    const real_t *numbers                   # of the input transform


cdef inline void transform_tiles(const Tiles *t, const Row *row, const real_t *image, real_t *cells, real_t *to,
                                 int64_t tile, int64_t step) noexcept nogil:
    """To ``to``, tiles ``tile`` and frequencies ``step`` scalars apart. No ``image``: a plane of padding. Behind ``points``
    rows of ``cells``, up to VL vectors may be written."""
    cdef int64_t shared = t.points - t.step
    cdef int64_t count = t.w * t.step + shared
    cdef int64_t pitch = t.row * VL
    cdef int64_t i, j, h, w
    for i in range(t.h):
        if i > 0:
            memmove(cells, cells + t.step * pitch, shared * pitch * sizeof(real_t))
        for j in range(shared if i > 0 else 0, t.points):
            h = source_index((t.h0 + i) * t.step + j - t.pad_h, t.size_h, row.mode)
            if h < 0 or image == NULL:
                zero_row(row, count, cells + j * pitch)
            else:
                fill_row(row, image + h * t.step_h, t.w0 * t.step - t.pad_w, count, cells + j * pitch)
        for w in range(t.w):
            transform_input(t.points, True, cells + w * t.step * VL, t.cell, to, step, 2 * tile, t.numbers)
            to += tile
