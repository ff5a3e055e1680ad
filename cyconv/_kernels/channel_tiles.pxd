"""Tiles of an image to Winograd's frequencies, a vector for up to VL neighbouring channels of a cell.

    for each row of tiles:
        rows of cells, channels side by side (two rows of tiles share some: they are moved up, not filled again)
        for each tile, for each section: transform          -> to[frequency][tile][section][channel]

Cells are turned once, in squares, and every tile finds whole vectors of them, wherever it lies. Sections of the kernel
(``_plans/winograd_forms.py``) are transforms of other cells of a tile.
"""
from libc.stdint cimport int64_t
from libc.string cimport memmove

from cyconv._kernels.channel_rows cimport Row, fill_row, zero_row
from cyconv._kernels.gather cimport source_index
from cyconv._kernels.simd cimport VL, real_t
from cyconv._kernels.winograd_transforms cimport transform_input


cdef struct Tiles:
    # ``reach_h x reach_w`` cells each, ``next_h`` and ``next_w`` cells apart: ``h`` rows from ``h0``, ``w`` in each from ``w0``
    int64_t reach_h, reach_w, next_h, next_w, h0, h, w0, w
    int64_t size_h, step_h, pad_h, pad_w        # of the image: rows, scalars from one to the next, padding
    int64_t row                                 # cells that there is room for in a row of them
    int64_t points, planar, sections, apart     # transforms of a tile, and scalars from one to the next
    const int64_t *cell                         # where the cells of each section of a tile lie there, in scalars
    const real_t *numbers                       # of the input transform


cdef inline void transform_tiles(const Tiles *t, const Row *row, const real_t *image, real_t *cells, real_t *to,
                                 int64_t tile, int64_t step) noexcept nogil:
    """To ``to``, tiles ``tile`` and frequencies ``step`` scalars apart. No ``image``: a plane of padding. Behind ``reach_h``
    rows of ``cells``, up to VL vectors may be written."""
    cdef int64_t shared = max(t.reach_h - t.next_h, <int64_t>0)
    cdef int64_t count = (t.w - 1) * t.next_w + t.reach_w
    cdef int64_t frequencies = t.points * t.points if t.planar else t.points
    cdef int64_t pitch = t.row * VL
    cdef int64_t i, j, h, w, s
    for i in range(t.h):
        if i > 0:
            memmove(cells, cells + t.next_h * pitch, shared * pitch * sizeof(real_t))
        for j in range(shared if i > 0 else 0, t.reach_h):
            h = source_index((t.h0 + i) * t.next_h + j - t.pad_h, t.size_h, row.mode)
            if h < 0 or image == NULL:
                zero_row(row, count, cells + j * pitch)
            else:
                fill_row(row, image + h * t.step_h, t.w0 * t.next_w - t.pad_w, count, cells + j * pitch)
        for w in range(t.w):
            for s in range(t.sections):
                transform_input(t.points, t.planar, cells + w * t.next_w * VL, t.cell + s * frequencies, to + s * t.apart,
                                step, 2 * tile, t.numbers)
            to += tile
