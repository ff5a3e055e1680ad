"""Plain images with one kernel: integers exactly (modulo 2**bits, as C computes them), and images of a few cells.

    out[n, i, j] = sum over r, s of  w[r, s] * x[n, i + r - pad_h, j + s - pad_w]

Signed and unsigned integers agree modulo 2**bits, so that the kernels of the unsigned types serve both; the order of
the sum is free. Large images go by boxes:

    for each item = (image, box of outputs):                             <- threads
        for each block of taps:
            gather the cells that the box reads through these taps (gather.pxd: boundary, strides)
            for 4 rows x 2 vectors of outputs: every loaded vector serves the 4 rows

``quick`` does one box without a plan, for any type: on a small image a plan costs more than the arithmetic.

Assumptions (guaranteed by ``_plans/exact.py`` and ``signal.py``): no size is zero; all arrays have the scalar type of
this module and the sizes that are given; strides are whole scalars; scratch holds ``num_threads * scratch_bytes``.
"""
from cpython.buffer cimport Py_buffer, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cyconv._kernels.gather cimport Axis, Source, gather_row, source_index
from cyconv._kernels.ndarray cimport (
    NPY_ARRAY_ALIGNED, PyArray_DATA, PyArray_DIMS, PyArray_STRIDES, PyArrayObject, as_array, has_flags,
)
from cyconv._kernels.shares cimport Shares, Turn, first_turn, next_item, share_out
from cyconv._kernels.simd cimport VL, real_t, vec_t, vload, vset, vstore

cdef enum:
    ROWS = 4
    VECS = 2
    WIDTH = VECS * VL

cdef struct Geometry:
    int64_t batch, size_h, size_w, taps_h, taps_w, out_h, out_w, pad_h, pad_w, mode
    int64_t box_h, box_w, block_h, block_w
    int64_t at_sums, scratch_bytes

#: order of the numbers that ``run`` takes; boxes must be whole multiples of ``TILE``
FIELDS = (
    "batch", "size_h", "size_w", "taps_h", "taps_w", "out_h", "out_w", "pad_h", "pad_w", "mode",
    "box_h", "box_w", "block_h", "block_w",
    "at_sums", "scratch_bytes",
)
TILE = (ROWS, WIDTH)

cdef struct Job:
    const Geometry *g
    Source x
    const real_t *w
    real_t *out
    int64_t out_n, out_h, out_w


cdef struct Views:
    Py_buffer all[5]
    int count


cdef int _open(Views *views, object array, bint writable) except -1:
    PyObject_GetBuffer(array, &views.all[views.count], PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
    views.count += 1
    return 0


cdef void _close(Views *views):
    while views.count > 0:
        views.count -= 1
        PyBuffer_Release(&views.all[views.count])


def quick(x, w, out, int64_t pad_h, int64_t pad_w, bint flip):
    """Correlate (or, with ``flip``, convolve) one small image (H, W) with zeros around it, on this thread.

    False, and nothing done, if x or w is not aligned.
    """
    if not has_flags(x, NPY_ARRAY_ALIGNED) or not has_flags(w, NPY_ARRAY_ALIGNED):
        return False
    if not _quick(_plane_of(x), _plane_of(w), _plane_of(out), pad_h, pad_w, flip):
        raise MemoryError
    return True


cdef struct Plane:
    real_t *at
    int64_t rows, columns, h, w    # strides in cells


cdef Plane _plane_of(object array):
    """An array of two axes."""
    cdef PyArrayObject *a = as_array(array)
    cdef Plane plane
    plane.at = <real_t *>PyArray_DATA(a)
    plane.rows, plane.columns = PyArray_DIMS(a)[0], PyArray_DIMS(a)[1]
    plane.h, plane.w = PyArray_STRIDES(a)[0] // <int64_t>sizeof(real_t), PyArray_STRIDES(a)[1] // <int64_t>sizeof(real_t)
    return plane


cdef bint _quick(Plane x, Plane w, Plane out, int64_t pad_h, int64_t pad_w, bint flip) noexcept nogil:
    """One box, one block of taps; False if there is no memory for them."""
    cdef int64_t taps_h = w.rows, taps_w = w.columns
    cdef int64_t rows = _cuts(out.rows, ROWS) * ROWS, columns = _cuts(out.columns, WIDTH) * WIDTH
    cdef int64_t pitch = columns + taps_w - 1
    cdef int64_t height = rows + taps_h - 1
    cdef real_t *cells = <real_t *>malloc((height * pitch + rows * columns + taps_h * taps_w) * sizeof(real_t))
    cdef real_t *sums = cells + height * pitch
    cdef real_t *taps = sums + rows * columns
    if cells == NULL:
        return False
    memset(cells, 0, (height * pitch + rows * columns) * sizeof(real_t))
    _copy(cells + pad_h * pitch + pad_w, pitch, x.at, x.h, x.w, min(x.rows, height - pad_h),
          min(x.columns, pitch - pad_w))
    if flip:
        _copy(taps, taps_w, w.at + (taps_h - 1) * w.h + (taps_w - 1) * w.w, -w.h, -w.w, taps_h, taps_w)
    else:
        _copy(taps, taps_w, w.at, w.h, w.w, taps_h, taps_w)
    _correlate(cells, pitch, taps, taps_w, taps_h, taps_w, sums, columns, rows, columns)
    _copy(out.at, out.h, sums, columns, 1, out.rows, out.columns)
    free(cells)
    return True


cdef inline void _copy(real_t *to, int64_t to_h, const real_t *source, int64_t h, int64_t w, int64_t rows,
                       int64_t columns) noexcept nogil:
    """A plane of any strides into rows of neighbours."""
    cdef int64_t i, j
    for i in range(rows):
        for j in range(columns):
            to[i * to_h + j] = source[i * h + j * w]


def run(x, w, out, geometry, scratch, int num_threads):
    """All images of ``x`` (N, H, W) with the kernel ``w`` (R, S; C-contiguous) into ``out`` (N, OH, OW).

    ``geometry`` is int64, in the order of ``FIELDS``; ``scratch`` is bytes.
    """
    cdef Views views
    cdef const Geometry *g
    views.count = 0
    try:
        _open(&views, x, False)
        _open(&views, w, False)
        _open(&views, out, True)
        _open(&views, geometry, False)
        _open(&views, scratch, True)
        g = <const Geometry *>views.all[3].buf
        if views.all[3].len != sizeof(Geometry) or sizeof(Geometry) != 8 * len(FIELDS):
            raise ValueError("geometry does not have the fields of this kernel")
        if views.all[4].len < num_threads * g.scratch_bytes:
            raise ValueError("scratch is too small")
        _run(&views.all[0], &views.all[1], &views.all[2], g, <uint8_t *>views.all[4].buf, num_threads)
    finally:
        _close(&views)


cdef int _run(const Py_buffer *x, const Py_buffer *w, const Py_buffer *out, const Geometry *g, uint8_t *scratch,
              int num_threads) except -1:
    cdef Job job
    cdef int64_t step = sizeof(real_t)
    cdef int64_t thread
    cdef Shares shares
    job.g = g
    job.x = Source(<const real_t *>x.buf, x.strides[0] // step, 0, 0, x.strides[1] // step, x.strides[2] // step)
    job.w = <const real_t *>w.buf
    job.out = <real_t *>out.buf
    job.out_n, job.out_h, job.out_w = out.strides[0] // step, out.strides[1] // step, out.strides[2] // step
    share_out(&shares, g.batch * _cuts(g.out_h, g.box_h) * _cuts(g.out_w, g.box_w), num_threads)
    for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                         use_threads_if=num_threads > 1):
        _run_items(&job, &shares, thread, scratch + thread * g.scratch_bytes)
    return 0


cdef void _run_items(const Job *job, Shares *shares, int64_t thread, uint8_t *scratch) noexcept nogil:
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _run_item(job, turn.item, scratch)


cdef inline int64_t _cuts(int64_t total, int64_t box) noexcept nogil:
    return (total + box - 1) // box


cdef void _run_item(const Job *job, int64_t item, uint8_t *scratch) noexcept nogil:
    """One box: its sums gather in scratch, block of taps by block of taps, then go where the result wants them."""
    cdef const Geometry *g = job.g
    cdef real_t *cells = <real_t *>scratch
    cdef real_t *sums = <real_t *>(scratch + g.at_sums)
    cdef int64_t across = _cuts(g.out_w, g.box_w)
    cdef int64_t down = _cuts(g.out_h, g.box_h)
    cdef int64_t n = item // across // down
    cdef int64_t h0 = item // across % down * g.box_h
    cdef int64_t w0 = item % across * g.box_w
    cdef int64_t height = min(g.box_h, g.out_h - h0)
    cdef int64_t width = min(g.box_w, g.out_w - w0)
    cdef int64_t rows = _cuts(height, ROWS) * ROWS
    cdef int64_t columns = _cuts(width, WIDTH) * WIDTH
    cdef int64_t r0 = 0, s0, r1, s1, i, j
    cdef real_t *to
    memset(sums, 0, rows * g.box_w * sizeof(real_t))
    while r0 < g.taps_h:
        r1 = min(r0 + g.block_h, g.taps_h)
        s0 = 0
        while s0 < g.taps_w:
            s1 = min(s0 + g.block_w, g.taps_w)
            _gather(job, n, h0 + r0, rows + r1 - r0 - 1, w0 + s0, columns, s1 - s0, cells)
            _correlate(cells, columns + s1 - s0 - 1, job.w + r0 * g.taps_w + s0, g.taps_w, r1 - r0,
                       s1 - s0, sums, g.box_w, rows, columns)
            s0 = s1
        r0 = r1
    for i in range(height):
        to = job.out + n * job.out_n + (h0 + i) * job.out_h + w0 * job.out_w
        for j in range(width):
            to[j * job.out_w] = sums[i * g.box_w + j]


cdef void _gather(const Job *job, int64_t n, int64_t row, int64_t rows, int64_t column, int64_t columns, int64_t taps,
                  real_t *cells) noexcept nogil:
    """``rows`` rows of ``columns + taps - 1`` padded cells from (row, column) on."""
    cdef const Geometry *g = job.g
    cdef int64_t strip[3]
    cdef int64_t i, k
    cdef Axis axis = Axis(g.size_w, 1, g.pad_w, columns + taps - 1, 1, &strip[0])
    strip[0], strip[1], strip[2] = 0, taps - 1, 0
    for i in range(rows):
        k = source_index(row + i - g.pad_h, g.size_h, g.mode)
        gather_row(cells + i * (columns + taps - 1), 0, NULL if k < 0 else job.x.data + n * job.x.n + k * job.x.h,
                   &job.x, 1, column, columns, &axis, g.mode)


cdef void _correlate(const real_t *cells, int64_t pitch, const real_t *w, int64_t w_row, int64_t taps_h, int64_t taps_w,
                     real_t *sums, int64_t sums_row, int64_t rows, int64_t columns) noexcept nogil:
    """Add what these taps give to the sums of ``rows`` x ``columns`` outputs."""
    cdef vec_t acc[ROWS][VECS]
    cdef vec_t v0, v1, tap
    cdef const real_t *row
    cdef int64_t i = 0, j, p, s, a
    while i < rows:
        j = 0
        while j < columns:
            for a in range(ROWS):
                acc[a][0] = vload(sums + (i + a) * sums_row + j)
                acc[a][1] = vload(sums + (i + a) * sums_row + j + VL)
            for p in range(ROWS + taps_h - 1):
                row = cells + (i + p) * pitch + j
                if p >= ROWS - 1 and p < taps_h:        # this row of cells serves all outputs of the tile
                    for s in range(taps_w):
                        v0, v1 = vload(row + s), vload(row + s + VL)
                        for a in range(ROWS):
                            tap = vset(w[(p - a) * w_row + s])
                            acc[a][0] = acc[a][0] + tap * v0
                            acc[a][1] = acc[a][1] + tap * v1
                else:
                    for a in range(ROWS):
                        if 0 <= p - a < taps_h:
                            for s in range(taps_w):
                                tap = vset(w[(p - a) * w_row + s])
                                acc[a][0] = acc[a][0] + tap * vload(row + s)
                                acc[a][1] = acc[a][1] + tap * vload(row + s + VL)
            for a in range(ROWS):
                vstore(sums + (i + a) * sums_row + j, acc[a][0])
                vstore(sums + (i + a) * sums_row + j + VL, acc[a][1])
            j += WIDTH
        i += ROWS
