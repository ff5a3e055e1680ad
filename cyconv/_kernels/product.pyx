"""Products of matrices as they lie, for few rows: what packing one of them would cost is more than the product.

    dots:   out[m, n] = sum over c of  a[m, c] * b[n, c]          (a fully connected layer: x W^T)
    times:  out[i, c] = sum over j of  a[i, j] * b[j, c]          (its gradients: g W and g^T x)

    dots:   for each block of rows of b:                    <- threads
                for each block of rows of a:  a square of vectors along c; at its end the lanes are added
    times:  for each chunk of columns:                      <- threads
                for each block of j:  for each panel of rows of a, each panel of columns:  tile (tile_planes.pxd)

An element is one sequence of additions that follows from c or j alone, so that threads change no bit of it.
FLOPs 2 M N C; bytes: b once, a once per block of b that is not in a cache.

Assumptions (guaranteed by ``_plans/product.py``): no size is zero; the sizes fit together; rows are of neighbours.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint64_t

from cyconv._kernels.gather cimport copy_run
from cyconv._kernels.lanes cimport vload_part
from cyconv._kernels.simd cimport TILE_ROWS, VL, flush_subnormals, real_t, restore_mode, vec_t, vload, vstore, vzero
from cyconv._kernels.tile cimport TILE_VECS, Start, start_at_columns, start_at_result
from cyconv._kernels.tile_planes cimport Planes, run_tile_on_planes
from cyconv._kernels.transpose cimport vtranspose

cdef enum:
    PANEL = TILE_VECS * VL
    # the square of ``dots``: its sums are whole vectors of lanes
    A_ROWS = 4
    B_ROWS = (VL + 3) // 4
    SUMS = A_ROWS * B_ROWS
    # rows of b that ``times`` takes at a time: few enough to be read from memory side by side
    DEPTH = 32

LANES = VL
BLOCK = B_ROWS
COLUMNS = PANEL

cdef struct Matrix:
    real_t *data
    int64_t rows, columns, step


cdef inline int64_t _cuts(int64_t total, int64_t box) noexcept nogil:
    return (total + box - 1) // box


def dots(const real_t[:, :] a, const real_t[:, :] b, real_t[:, :] out, int num_threads):
    """``out`` (M, N), of any strides, from the rows of a (M, C) and b (N, C)."""
    cdef int64_t step = sizeof(real_t)
    cdef Matrix left = Matrix(<real_t *>&a[0, 0], a.shape[0], a.shape[1], a.strides[0] // step)
    cdef Matrix right = Matrix(<real_t *>&b[0, 0], b.shape[0], b.shape[1], b.strides[0] // step)
    cdef real_t *to = &out[0, 0]
    cdef int64_t step_m = out.strides[0] // step, step_n = out.strides[1] // step
    cdef int64_t block
    for block in prange(_cuts(right.rows, B_ROWS), nogil=True, schedule="static", num_threads=num_threads,
                        use_threads_if=num_threads > 1):
        _dots_block(&left, &right, block * B_ROWS, to, step_m, step_n)


cdef void _dots_block(const Matrix *a, const Matrix *b, int64_t n0, real_t *out, int64_t step_m,
                      int64_t step_n) noexcept nogil:
    """All rows of a with B_ROWS rows of b; a row too much is the last one again."""
    cdef uint64_t mode = flush_subnormals()
    cdef real_t sums[SUMS]
    cdef const real_t *b_row[B_ROWS]
    cdef const real_t *a_row[A_ROWS]
    cdef int64_t m0 = 0, i, j
    for j in range(B_ROWS):
        b_row[j] = b.data + min(n0 + j, b.rows - 1) * b.step
    while m0 < a.rows:
        for i in range(A_ROWS):
            a_row[i] = a.data + min(m0 + i, a.rows - 1) * a.step
        _square(a_row, b_row, a.columns, sums)
        for i in range(min(<int64_t>A_ROWS, a.rows - m0)):
            for j in range(min(<int64_t>B_ROWS, b.rows - n0)):
                out[(m0 + i) * step_m + (n0 + j) * step_n] = sums[i * B_ROWS + j]
        m0 += A_ROWS
    restore_mode(mode)


cdef void _square(const real_t **a, const real_t **b, int64_t columns, real_t *sums) noexcept nogil:
    """``sums[i * B_ROWS + j]``: the rows are multiplied vector by vector, then the lanes are added."""
    cdef vec_t acc[SUMS]
    cdef vec_t r[VL]
    cdef vec_t av
    cdef vec_t bv[B_ROWS]
    cdef int64_t c = 0, whole = columns // VL * VL, s
    cdef int rest = <int>(columns - whole), i, j
    cdef const real_t *a0 = a[0]
    cdef const real_t *a1 = a[1]
    cdef const real_t *a2 = a[2]
    cdef const real_t *a3 = a[3]
    for i in range(SUMS):
        acc[i] = vzero()
    while c < whole:
        for j in range(B_ROWS):
            bv[j] = vload(b[j] + c)
        av = vload(a0 + c)
        for j in range(B_ROWS):
            acc[j] = acc[j] + av * bv[j]
        av = vload(a1 + c)
        for j in range(B_ROWS):
            acc[B_ROWS + j] = acc[B_ROWS + j] + av * bv[j]
        av = vload(a2 + c)
        for j in range(B_ROWS):
            acc[2 * B_ROWS + j] = acc[2 * B_ROWS + j] + av * bv[j]
        av = vload(a3 + c)
        for j in range(B_ROWS):
            acc[3 * B_ROWS + j] = acc[3 * B_ROWS + j] + av * bv[j]
        c += VL
    if rest:
        for i in range(A_ROWS):
            av = vload_part(a[i] + whole, 0, rest, <real_t>0)
            for j in range(B_ROWS):
                acc[i * B_ROWS + j] = acc[i * B_ROWS + j] + av * vload_part(b[j] + whole, 0, rest, <real_t>0)
    s = 0
    while s < SUMS:
        for i in range(VL):
            r[i] = acc[s + i]
        vtranspose(r)
        for i in range(1, VL):
            r[0] = r[0] + r[i]
        vstore(sums + s, r[0])
        s += VL


def times(const real_t[:, :] a, const real_t[:, :] b, real_t[:, :] out, int64_t chunk, int num_threads):
    """``out`` (I, C) from a (I, J) and b (J, C), ``chunk`` columns at a time, which is a multiple of ``COLUMNS``."""
    cdef int64_t step = sizeof(real_t)
    cdef Matrix left = Matrix(<real_t *>&a[0, 0], a.shape[0], a.shape[1], a.strides[0] // step)
    cdef Matrix right = Matrix(<real_t *>&b[0, 0], b.shape[0], b.shape[1], b.strides[0] // step)
    cdef Matrix to = Matrix(&out[0, 0], out.shape[0], out.shape[1], out.strides[0] // step)
    cdef int64_t item
    for item in prange(_cuts(right.columns, chunk), nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _times_chunk(&left, &right, &to, item * chunk, min(chunk, right.columns - item * chunk))


cdef void _times_chunk(const Matrix *a, const Matrix *b, const Matrix *out, int64_t first,
                       int64_t columns) noexcept nogil:
    cdef uint64_t mode = flush_subnormals()
    cdef real_t zeros[PANEL]
    cdef real_t part[DEPTH * PANEL]     # the last columns of b, where whole vectors must not be read
    cdef int64_t whole = columns // VL * VL, rest = columns - columns // PANEL * PANEL
    cdef int64_t panels = _cuts(a.rows, TILE_ROWS)
    cdef int64_t j0 = 0, depth, q, row, count, c, i
    for i in range(PANEL):
        zeros[i] = <real_t>0
    if whole == columns:
        rest = 0
    while j0 < b.rows:
        depth = min(<int64_t>DEPTH, b.rows - j0)
        if rest:
            for i in range(depth):
                for c in range(TILE_VECS):
                    vstore(part + i * PANEL + c * VL, vzero())
                copy_run(part + i * PANEL, b.data + (j0 + i) * b.step + first + columns - rest, rest)
        for q in range(panels):
            row = a.rows * q // panels
            count = a.rows * (q + 1) // panels - row
            c = 0
            while c < columns - rest:
                _tile(a, row, count, j0, depth, b.data + j0 * b.step + first + c, b.step,
                      min(<int64_t>PANEL, columns - rest - c), out, first + c, zeros)
                c += PANEL
            if rest:
                _tile(a, row, count, j0, depth, part, PANEL, rest, out, first + c, zeros)
        j0 += depth
    restore_mode(mode)


cdef inline void _tile(const Matrix *a, int64_t row, int64_t count, int64_t j0, int64_t depth, const real_t *b,
                       int64_t ldb, int64_t width, const Matrix *out, int64_t column,
                       const real_t *zeros) noexcept nogil:
    """One tile of the result; where it ends within a vector, it goes through a buffer."""
    cdef real_t edge[TILE_ROWS * PANEL]
    cdef real_t *to = out.data + row * out.step + column
    cdef real_t *c = to
    cdef int64_t ldc = out.step, vecs = _cuts(width, VL), i
    cdef bint in_place = width == vecs * VL
    cdef Planes rows
    cdef Start start
    if not in_place:
        c, ldc = edge, PANEL
        if j0 > 0:
            for i in range(count):
                copy_run(edge + i * PANEL, to + i * out.step, width)
    start = start_at_columns(zeros) if j0 == 0 else start_at_result(c, ldc)
    rows = Planes(a.data + row * a.step + j0, a.step, 1, 0, depth)
    run_tile_on_planes(<int>count, <int>vecs, &rows, b, ldb, c, ldc, &start)
    if not in_place:
        for i in range(count):
            copy_run(to + i * out.step, edge + i * PANEL, width)
