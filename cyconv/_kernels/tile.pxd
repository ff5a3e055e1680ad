"""The register tile: ``C[rows, vecs * VL] (+)= A[rows, depth] x B[depth, vecs * VL]``.

Everything dense goes through here, and this is where the peak is reached. ``rows`` and ``vecs`` are compile-time
constants at every call (the functions are expanded in place), so that the ``rows * vecs`` accumulators live in
registers; each step of the inner loop is ``vecs`` loads of B, ``rows`` broadcasts of A and ``rows * vecs``
multiply-adds.

            B   k0 [ b b b b | b b b b ]            A panel: depth x rows, ``a[k * rows + i]``
                k1 [ b b b b | b b b b ]            B panel: depth x vecs * VL, ``b[k * ldb + j]``
      A     ..                                      C tile:  ``c[i * ldc + j]``
    a a ..  ->  C [ acc  acc ]
    a a ..      C [ acc  acc ]

Assumptions (checked by nobody below floor 2, guaranteed by the packing):
  * ``a`` holds ``depth * rows`` scalars, ``b`` ``(depth - 1) * ldb + vecs * VL``; no alignment is needed.
  * ``c`` has room for ``vecs * VL`` scalars in each of its ``rows`` rows.
  * an element of C is one chain of multiply-adds in the order of k: it does not depend on rows, vecs or the threads.
"""
from cyconv._kernels.simd cimport TILE_ROWS, VL, inlined, real_t, vat_least, vat_most, vec_t, vleaky, vload, vset, vstore
from libc.stdint cimport int64_t

cdef enum:
    TILE_VECS = 2


cdef struct Finish:
    # v < 0 ? slope * v : v, then clipped to [lo, hi]; skipped unless ``active``
    int64_t active
    real_t slope, lo, hi


cdef inline inlined tile(const int rows, const int vecs, Py_ssize_t depth, const real_t *a, const real_t *b,
                         Py_ssize_t ldb, real_t *c, Py_ssize_t ldc, bint fresh, const real_t *bias, bint by_rows,
                         const Finish *finish, bint last) noexcept nogil:
    """One tile. ``fresh``: C starts at the bias (one value a row or one a column), else at what it holds."""
    cdef vec_t acc[TILE_ROWS][TILE_VECS]
    cdef vec_t bv[TILE_VECS]
    cdef vec_t av, slope, lo, hi
    cdef Py_ssize_t k
    cdef int i, j
    if not fresh:
        for i in range(rows):
            for j in range(vecs):
                acc[i][j] = vload(c + i * ldc + j * VL)
    elif by_rows:
        for i in range(rows):
            for j in range(vecs):
                acc[i][j] = vset(bias[i])
    else:
        for i in range(rows):
            for j in range(vecs):
                acc[i][j] = vload(bias + j * VL)
    for k in range(depth):
        for j in range(vecs):
            bv[j] = vload(b + j * VL)
        for i in range(rows):
            av = vset(a[i])
            for j in range(vecs):
                acc[i][j] = acc[i][j] + av * bv[j]
        a += rows
        b += ldb
    if last and finish.active:
        slope, lo, hi = vset(finish.slope), vset(finish.lo), vset(finish.hi)
        for i in range(rows):
            for j in range(vecs):
                acc[i][j] = vat_most(vat_least(vleaky(acc[i][j], slope), lo), hi)
    for i in range(rows):
        for j in range(vecs):
            vstore(c + i * ldc + j * VL, acc[i][j])


cdef inline void run_tile(int rows, int vecs, Py_ssize_t depth, const real_t *a, const real_t *b, Py_ssize_t ldb,
                          real_t *c, Py_ssize_t ldc, bint fresh, const real_t *bias, bint by_rows,
                          const Finish *finish, bint last) noexcept nogil:
    """The tile for these run-time ``rows`` (1 to TILE_ROWS) and ``vecs`` (1 to TILE_VECS)."""
    if vecs == 2:
        if TILE_ROWS >= 12 and rows == 12:
            tile(12, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 11 and rows == 11:
            tile(11, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 10 and rows == 10:
            tile(10, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 9 and rows == 9:
            tile(9, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 8 and rows == 8:
            tile(8, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 7 and rows == 7:
            tile(7, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 6 and rows == 6:
            tile(6, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 5 and rows == 5:
            tile(5, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 4 and rows == 4:
            tile(4, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 3 and rows == 3:
            tile(3, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 2 and rows == 2:
            tile(2, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 1 and rows == 1:
            tile(1, 2, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
    else:
        if TILE_ROWS >= 12 and rows == 12:
            tile(12, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 11 and rows == 11:
            tile(11, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 10 and rows == 10:
            tile(10, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 9 and rows == 9:
            tile(9, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 8 and rows == 8:
            tile(8, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 7 and rows == 7:
            tile(7, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 6 and rows == 6:
            tile(6, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 5 and rows == 5:
            tile(5, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 4 and rows == 4:
            tile(4, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 3 and rows == 3:
            tile(3, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 2 and rows == 2:
            tile(2, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
        elif TILE_ROWS >= 1 and rows == 1:
            tile(1, 1, depth, a, b, ldb, c, ldc, fresh, bias, by_rows, finish, last)
