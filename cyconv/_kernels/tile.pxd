# cython: language_level=3
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
from cyconv._kernels.simd cimport inlined, real_t, vec_t, vload, vset, vstore, vzero, VL, TILE_ROWS

cdef enum:
    TILE_VECS = 2


cdef inline inlined tile(const int rows, const int vecs, Py_ssize_t depth, const real_t *a, const real_t *b,
                         Py_ssize_t ldb, real_t *c, Py_ssize_t ldc, bint fresh) noexcept nogil:
    """One tile. ``fresh``: C starts at zero, else at what it holds."""
    cdef vec_t acc[TILE_ROWS][TILE_VECS]
    cdef vec_t bv[TILE_VECS]
    cdef vec_t av
    cdef Py_ssize_t k
    cdef int i, j
    if fresh:
        for i in range(rows):
            for j in range(vecs):
                acc[i][j] = vzero()
    else:
        for i in range(rows):
            for j in range(vecs):
                acc[i][j] = vload(c + i * ldc + j * VL)
    for k in range(depth):
        for j in range(vecs):
            bv[j] = vload(b + j * VL)
        for i in range(rows):
            av = vset(a[i])
            for j in range(vecs):
                acc[i][j] = acc[i][j] + av * bv[j]
        a += rows
        b += ldb
    for i in range(rows):
        for j in range(vecs):
            vstore(c + i * ldc + j * VL, acc[i][j])


cdef inline void run_tile(int rows, int vecs, Py_ssize_t depth, const real_t *a, const real_t *b,
                          Py_ssize_t ldb, real_t *c, Py_ssize_t ldc, bint fresh) noexcept nogil:
    """The tile for these run-time ``rows`` (1 to TILE_ROWS) and ``vecs`` (1 to TILE_VECS)."""
    if vecs == 2:
        if rows == TILE_ROWS:
            tile(TILE_ROWS, 2, depth, a, b, ldb, c, ldc, fresh)
        elif rows == TILE_ROWS - 1:
            tile(TILE_ROWS - 1, 2, depth, a, b, ldb, c, ldc, fresh)
    else:
        tile(TILE_ROWS, 1, depth, a, b, ldb, c, ldc, fresh)
