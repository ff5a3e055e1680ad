"""The transposed transforms of Winograd's algorithm, for the weight gradient; a vector holds channels of one tile.

With the points, pairs and numbers of ``winograd_transforms.pxd``: the transposed output transform sends m results to
``a`` frequencies, ``v_p = sum over i of p^i y_i`` and at infinity the last y; the transposed weight transform sends
``a`` frequencies to r taps, ``w_j = sum over p of G[p, j] v_p``. The rows of G for p and -p are the same numbers, the
odd ones with opposite signs (the even ones, if 0 is not a point). Of an axis of stride 2, the odd part has the results
as they are and one tap, the sum over them.

    numbers of the output transform:    p_j^i (m x n)
    numbers of the weight transform:    G[p_i, j] (n x r), G[0, 0]
"""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport VL, inlined, prefetch, real_t, vec_t, vload, vset, vstore
from cyconv._kernels.winograd_transforms cimport EVEN, MAX_CELLS, MAX_POINTS, STRIDED


cdef inline inlined _spread_points(const int a, const int m, const vec_t *y, vec_t *v,
                                   const real_t *numbers) noexcept nogil:
    cdef int z = 1 - a % 2
    cdef int n = (a - 1 - z) // 2
    cdef vec_t even, odd
    cdef int i, j
    if z:
        v[0] = y[0]
    v[a - 1] = y[m - 1]
    for j in range(n):
        even = y[0]
        odd = vset(numbers[n + j]) * y[1]
        for i in range(2, m):
            if i % 2:
                odd = odd + vset(numbers[i * n + j]) * y[i]
            else:
                even = even + vset(numbers[i * n + j]) * y[i]
        v[z + 2 * j] = even + odd
        v[z + 2 * j + 1] = even - odd


cdef inline inlined _spread_axis(const int a, const int m, const vec_t *y, vec_t *v,
                                 const real_t *numbers) noexcept nogil:
    """``v = A y`` along one axis; both are dense."""
    cdef int i
    if a == STRIDED:
        _spread_points(EVEN, m, y, v, numbers)
        for i in range(m):
            v[EVEN + i] = y[i]
    else:
        _spread_points(a, m, y, v, numbers)


cdef inline inlined _weight_points(const int a, const int r, const vec_t *v, vec_t *w,
                                   const real_t *numbers) noexcept nogil:
    cdef int z = 1 - a % 2
    cdef int n = (a - 1 - z) // 2
    cdef vec_t total[MAX_POINTS]
    cdef vec_t other[MAX_POINTS]
    cdef vec_t value
    cdef int i, j
    for i in range(n):
        total[i] = v[z + 2 * i] + v[z + 2 * i + 1]
        other[i] = v[z + 2 * i] - v[z + 2 * i + 1]
    for j in range(r):
        value = vset(numbers[j]) * (total[0] if (j + z) % 2 else other[0])
        for i in range(1, n):
            value = value + vset(numbers[i * r + j]) * (total[i] if (j + z) % 2 else other[i])
        if z and j == 0:
            value = value + vset(numbers[n * r]) * v[0]
        w[j] = value + v[a - 1] if j == r - 1 else value


cdef inline inlined _weight_axis(const int a, const int r, const vec_t *v, vec_t *w,
                                 const real_t *numbers) noexcept nogil:
    """``w = G^T v`` along one axis; both are dense."""
    if a == STRIDED:
        _weight_points(EVEN, 2, v, w, numbers)
        w[2] = w[1]
        w[1] = (v[EVEN] + v[EVEN + 1]) + (v[EVEN + 2] + v[EVEN + 3])
    else:
        _weight_points(a, r, v, w, numbers)


cdef inline inlined _spread_tile(const int a, const int m, const real_t *source, int64_t row, real_t *to, int64_t step,
                                 int64_t soon, const real_t *numbers) noexcept nogil:
    """``m x m`` cells, rows ``row`` apart, to frequencies ``to[. * step]``; ``soon`` as in ``input_tile``."""
    cdef vec_t half[MAX_CELLS]
    cdef vec_t before[MAX_POINTS]
    cdef vec_t after[MAX_POINTS]
    cdef int i, j
    for j in range(m):
        for i in range(m):
            before[i] = vload(source + i * row + j * VL)
        _spread_axis(a, m, before, after, numbers)
        for i in range(a):
            half[i * m + j] = after[i]
    for i in range(a):
        _spread_axis(a, m, half + i * m, after, numbers)
        for j in range(a):
            vstore(to + (i * a + j) * step, after[j])
            prefetch(to + (i * a + j) * step + soon)


cdef inline inlined _weight_tile(const int a, const int r, const real_t *source, int64_t step, vec_t *taps,
                                 const real_t *numbers) noexcept nogil:
    cdef vec_t half[MAX_CELLS]
    cdef vec_t before[MAX_POINTS]
    cdef vec_t after[MAX_POINTS]
    cdef int i, j
    for j in range(a):
        for i in range(a):
            before[i] = vload(source + (i * a + j) * step)
        _weight_axis(a, r, before, after, numbers)
        for i in range(r):
            half[i * a + j] = after[i]
    for i in range(r):
        _weight_axis(a, r, half + i * a, taps + i * r, numbers)


cdef inline void spread_gradient(int64_t a, int64_t m, const real_t *source, int64_t row, real_t *to, int64_t step,
                                 int64_t soon, const real_t *numbers) noexcept nogil:
    """The transposed output transform for the forms that the plan uses."""
    if a == STRIDED:
        _spread_tile(STRIDED, 4, source, row, to, step, soon, numbers)
    elif a == 8 and m == 6:
        _spread_tile(8, 6, source, row, to, step, soon, numbers)
    elif a == 8 and m == 4:
        _spread_tile(8, 4, source, row, to, step, soon, numbers)
    elif a == 8:
        _spread_tile(8, 2, source, row, to, step, soon, numbers)
    elif a == 7:
        _spread_tile(7, 5, source, row, to, step, soon, numbers)
    elif a == 6 and m == 4:
        _spread_tile(6, 4, source, row, to, step, soon, numbers)
    elif a == 6:
        _spread_tile(6, 2, source, row, to, step, soon, numbers)
    else:
        _spread_tile(4, 2, source, row, to, step, soon, numbers)


cdef inline void collect_taps(int64_t a, int64_t r, const real_t *source, int64_t step, vec_t *taps,
                              const real_t *numbers) noexcept nogil:
    """Frequencies ``source[. * step]`` to ``r x r`` taps, for the forms that the plan uses."""
    if a == STRIDED:
        _weight_tile(STRIDED, 3, source, step, taps, numbers)
    elif a == 8 and r == 3:
        _weight_tile(8, 3, source, step, taps, numbers)
    elif a == 8 and r == 5:
        _weight_tile(8, 5, source, step, taps, numbers)
    elif a == 8:
        _weight_tile(8, 7, source, step, taps, numbers)
    elif a == 7:
        _weight_tile(7, 3, source, step, taps, numbers)
    elif a == 6 and r == 3:
        _weight_tile(6, 3, source, step, taps, numbers)
    elif a == 6:
        _weight_tile(6, 5, source, step, taps, numbers)
    else:
        _weight_tile(4, 3, source, step, taps, numbers)
