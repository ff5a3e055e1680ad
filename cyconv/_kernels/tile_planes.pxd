"""The register tile of ``tile.pxd`` whose A is not packed: row i of the tile is a run of memory of its own, or several.

    C[i, j] (+)= sum over n, k of  a[n * apart + i * lda + k] * b[(n * depth + k) * ldb + j],   or  b[offset[k] + j]

Meanwhile a later tile's operand is asked for. If that is A, its runs are too many for the processor to foresee:
``Start.ahead`` is the first of these and ``ahead_step`` the bytes from one to the next. Else it is B, in two runs as in
``tile.pxd``, for each run of A.

Assumptions: ``a`` has at least one run, and ``depth`` scalars in each; ``offset`` has SOON more entries than ``depth``; the
others are those of ``tile.pxd``.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport (REAL_SIZE, REGISTERS, TILE_ROWS, VL, assume, hold_pointer, inlined, prefetch, prefetch_far,
                                   real_t, vec_t, vload, vset, vstore)
from cyconv._kernels.tile cimport SOON, Start, rows_for

cdef enum:
    #: scalars of a line of the cache: in as many steps, a line of as many runs is asked for
    LINE = 64 / REAL_SIZE

    # what is asked for: runs of A, or B
    RUNS = 0
    BLOCK = 1


cdef struct Planes:
    # the rows of A: their first scalars, ``lda`` scalars apart; ``count`` times ``depth`` of them, ``apart`` scalars apart
    const real_t *a
    Py_ssize_t lda, count, apart, depth


cdef inline inlined _tile(const int rows, const int vecs, const int indexed, const int ahead_is, const Planes *planes,
                          const real_t *b, Py_ssize_t ldb, const int64_t *offset, real_t *c, Py_ssize_t ldc,
                          const Start *start) noexcept nogil:
    # One pointer per four rows: the others are at one, two and three times lda from it, which addresses can express. (Such
    # an address takes an operation of its own, with a multiply-add or without.)
    cdef vec_t acc0[TILE_ROWS]
    cdef vec_t acc1[TILE_ROWS]
    cdef vec_t acc2[TILE_ROWS]
    cdef vec_t av, b0, b1, b2
    cdef Py_ssize_t lda = planes.lda, depth = planes.depth, _n, k
    cdef const real_t *a0 = planes.a
    cdef const real_t *a4 = a0 + 4 * lda
    cdef const real_t *a8 = a0 + 8 * lda
    cdef const real_t *a12 = a0 + 12 * lda
    cdef const real_t *bk = b
    cdef const char *ahead = start.ahead
    cdef Py_ssize_t ahead_step = start.ahead_step
    cdef int i
    cdef bint reread = vecs == 2 and REGISTERS == 32
    assume(depth > 0)
    assume(planes.count > 0)
    for i in range(rows):
        acc0[i] = vload(start.data + i * start.row)
        if vecs > 1:
            acc1[i] = vload(start.data + i * start.row + start.column)
        if vecs > 2:
            acc2[i] = vload(start.data + i * start.row + 2 * start.column)
    for _n in range(planes.count):
        for k in range(depth):
            if indexed:
                bk = b + offset[k]
                prefetch(b + offset[k + SOON])
                if vecs > 1:
                    prefetch(b + offset[k + SOON] + VL)
            if ahead_is == RUNS:
                prefetch_far(ahead + k % LINE * ahead_step + k // LINE * 64)
            else:
                prefetch_far(ahead + k * ahead_step)
                prefetch_far(ahead + (depth + k) * ahead_step)
            b0 = vload(bk)
            if vecs > 1:
                b1 = vload(bk + VL)
            if vecs > 2:
                b2 = vload(bk + 2 * VL)
            if reread:  # rows that pointers point to: as tile.pxd has it
                for i in range(0, rows, 4):
                    acc0[i] = acc0[i] + vset((a0 if i < 4 else a4 if i < 8 else a8 if i < 12 else a12)[0]) * b0
                a0, a4, a8, a12 = hold_pointer(a0), hold_pointer(a4), hold_pointer(a8), hold_pointer(a12)
                for i in range(0, rows, 4):
                    acc1[i] = acc1[i] + vset((a0 if i < 4 else a4 if i < 8 else a8 if i < 12 else a12)[0]) * b1
            for i in range(rows):
                if reread and i % 4 == 0:
                    continue
                av = vset((a0 if i < 4 else a4 if i < 8 else a8 if i < 12 else a12)[i % 4 * lda])
                acc0[i] = acc0[i] + av * b0
                if vecs > 1:
                    acc1[i] = acc1[i] + av * b1
                if vecs > 2:
                    acc2[i] = acc2[i] + av * b2
            a0 += 1
            a4 += 1
            a8 += 1
            a12 += 1
            bk += ldb
        a0 += planes.apart - depth
        a4 += planes.apart - depth
        a8 += planes.apart - depth
        a12 += planes.apart - depth
        ahead += planes.apart * <Py_ssize_t>REAL_SIZE if ahead_is == RUNS else 2 * depth * ahead_step
    for i in range(rows):
        vstore(c + i * ldc, acc0[i])
        if vecs > 1:
            vstore(c + i * ldc + VL, acc1[i])
        if vecs > 2:
            vstore(c + i * ldc + 2 * VL, acc2[i])


cdef inline inlined _any_rows(int rows, const int vecs, const int indexed, const int ahead_is, const Planes *planes,
                              const real_t *b, Py_ssize_t ldb, const int64_t *offset, real_t *c, Py_ssize_t ldc,
                              const Start *start) noexcept nogil:
    cdef int most = rows_for(vecs)
    if TILE_ROWS >= 14 and most >= 14 and rows == 14:
        _tile(14, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 13 and most >= 13 and rows == 13:
        _tile(13, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 12 and most >= 12 and rows == 12:
        _tile(12, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 11 and most >= 11 and rows == 11:
        _tile(11, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 10 and most >= 10 and rows == 10:
        _tile(10, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 9 and most >= 9 and rows == 9:
        _tile(9, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 8 and most >= 8 and rows == 8:
        _tile(8, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 7 and most >= 7 and rows == 7:
        _tile(7, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 6 and most >= 6 and rows == 6:
        _tile(6, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 5 and most >= 5 and rows == 5:
        _tile(5, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 4 and most >= 4 and rows == 4:
        _tile(4, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 3 and most >= 3 and rows == 3:
        _tile(3, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif TILE_ROWS >= 2 and most >= 2 and rows == 2:
        _tile(2, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)
    elif rows == 1:
        _tile(1, vecs, indexed, ahead_is, planes, b, ldb, offset, c, ldc, start)


cdef inline void run_tile_on_planes(int rows, int vecs, const Planes *planes, const real_t *b, Py_ssize_t ldb, real_t *c,
                                    Py_ssize_t ldc, const Start *start) noexcept nogil:
    """The tile for these run-time ``rows`` (1 to :func:`rows_for` ``vecs``) and ``vecs`` (1 to MOST_COLUMN_VECS)."""
    if vecs == 3:
        _any_rows(rows, 3, 0, RUNS, planes, b, ldb, NULL, c, ldc, start)
    elif vecs == 2:
        _any_rows(rows, 2, 0, RUNS, planes, b, ldb, NULL, c, ldc, start)
    else:
        _any_rows(rows, 1, 0, RUNS, planes, b, ldb, NULL, c, ldc, start)


cdef inline void run_tile_on_planes_and_vectors(int rows, int vecs, const Planes *planes, const real_t *b,
                                                const int64_t *offset, real_t *c, Py_ssize_t ldc,
                                                const Start *start) noexcept nogil:
    """The same, of one plane, with row k of B at ``b + offset[k]``."""
    if vecs == 2:
        _any_rows(rows, 2, 1, RUNS, planes, b, 0, offset, c, ldc, start)
    else:
        _any_rows(rows, 1, 1, RUNS, planes, b, 0, offset, c, ldc, start)


cdef inline void run_tile_before_block(int rows, int vecs, const Planes *planes, const real_t *b, Py_ssize_t ldb, real_t *c,
                                       Py_ssize_t ldc, const Start *start) noexcept nogil:
    """`run_tile_on_planes` that asks for more of B meanwhile."""
    if vecs == 3:
        _any_rows(rows, 3, 0, BLOCK, planes, b, ldb, NULL, c, ldc, start)
    elif vecs == 2:
        _any_rows(rows, 2, 0, BLOCK, planes, b, ldb, NULL, c, ldc, start)
    else:
        _any_rows(rows, 1, 0, BLOCK, planes, b, ldb, NULL, c, ldc, start)
