"""The two transforms of Winograd's algorithm over vectors: one vector holds the same cell of many tiles or channels.

For the interpolation points 0, +-p_1 ... +-p_n and infinity (``_plans/winograd_points.py``; 0 only if their number
``a`` is even) both matrices fall into an even and an odd half, which the pairs share. With z = 1 if 0 is a point, else
0, P(x) = prod over i of (x^2 - p_i^2) and Q_i(x) = P(x) / (x^2 - p_i^2), a row of the input transform holds the
coefficients of

    0:  P(x)        +-p_i:  x^z (x +- p_i) Q_i(x)        infinity:  x^z P(x)

and the output transform is  ``y_i = sum over points of p^i * product``, infinity only in the last y.

    numbers of the input transform:     P without its leading 1 (n), p_i (n), Q_i without its leading 1 (n x (n - 1))
    numbers of the output transform:    p_j^i (m x n)

An axis that is not transformed has ``a = m = 1``. A stride of 2 falls into two convolutions without one, of the even
cells with the even taps and of the odd ones: 3 taps and 4 results are F(4, 2) of 5 cells and 4 products of 4 other
cells with one tap, side by side an axis of 9 (81 products, not 144, in two dimensions). Its cells stand 0 2 4 6 8 1 3 5
7.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport VL, inlined, prefetch, real_t, vec_t, vload, vset, vstore

cdef enum:
    MAX_POINTS = 10
    MAX_CELLS = 81
    MAX_OUTPUTS = 6
    STRIDED = 9         # an axis of stride 2, and what of it is transformed
    EVEN = 5


cdef inline inlined _input_points(const int a, const vec_t *d, vec_t *v, const real_t *numbers) noexcept nogil:
    cdef int z = 1 - a % 2
    cdef int n = (a - 1 - z) // 2
    cdef vec_t low, high, c
    cdef int i, k
    if a == 1:
        v[0] = d[0]
        return
    low, high = d[2 * n], d[2 * n + z]
    for k in range(n):
        c = vset(numbers[k])
        low = low + c * d[2 * k]
        high = high + c * d[2 * k + z]
    v[0], v[a - 1] = low, high
    for i in range(n):
        low, high = d[2 * n - 2 + z], d[2 * n - 1 + z]
        for k in range(n - 1):
            c = vset(numbers[2 * n + i * (n - 1) + k])
            low = low + c * d[2 * k + z]
            high = high + c * d[2 * k + 1 + z]
        low = vset(numbers[n + i]) * low
        v[z + 2 * i] = high + low
        v[z + 2 * i + 1] = high - low


cdef inline inlined input_axis(const int a, const vec_t *d, vec_t *v, const real_t *numbers) noexcept nogil:
    """``v = B^T d`` along one axis; both are dense."""
    cdef int i
    if a == STRIDED:
        _input_points(EVEN, d, v, numbers)
        for i in range(EVEN, a):
            v[i] = d[i]
    else:
        _input_points(a, d, v, numbers)


cdef inline inlined _output_points(const int a, const int m, const vec_t *d, vec_t *y,
                                   const real_t *numbers) noexcept nogil:
    cdef int z = 1 - a % 2
    cdef int n = (a - 1 - z) // 2
    cdef vec_t total[MAX_POINTS]
    cdef vec_t other[MAX_POINTS]
    cdef vec_t value
    cdef int i, j
    if a == 1:
        y[0] = d[0]
        return
    for j in range(n):
        total[j] = d[z + 2 * j] + d[z + 2 * j + 1]
        other[j] = d[z + 2 * j] - d[z + 2 * j + 1]
    value = d[0] + total[0] if z else total[0]
    for j in range(1, n):
        value = value + total[j]
    y[0] = value
    for i in range(1, m):
        value = vset(numbers[i * n]) * (other[0] if i % 2 else total[0])
        for j in range(1, n):
            value = value + vset(numbers[i * n + j]) * (other[j] if i % 2 else total[j])
        y[i] = value + d[a - 1] if i == m - 1 else value


cdef inline inlined output_axis(const int a, const int m, const vec_t *d, vec_t *y,
                                const real_t *numbers) noexcept nogil:
    """``y = A^T d`` along one axis; both are dense."""
    cdef int i
    if a == STRIDED:
        _output_points(EVEN, m, d, y, numbers)
        for i in range(m):
            y[i] = y[i] + d[EVEN + i]
    else:
        _output_points(a, m, d, y, numbers)


cdef inline inlined input_tile(const int ah, const int aw, const real_t *source, const int64_t *offset, real_t *to,
                               int64_t step, int64_t soon, const real_t *numbers) noexcept nogil:
    """Cells ``source[offset[.]]`` of VL tiles to frequencies ``to[. * step]``. Too many streams for the processor to
    foresee: those of a later call, ``soon`` scalars further on, are asked for (3 to 10 % of the whole convolution)."""
    cdef vec_t half[MAX_CELLS]
    cdef vec_t before[MAX_POINTS]
    cdef vec_t after[MAX_POINTS]
    cdef int i, j
    for j in range(aw):
        for i in range(ah):
            before[i] = vload(source + offset[i * aw + j])
        input_axis(ah, before, after, numbers)
        for i in range(ah):
            half[i * aw + j] = after[i]
    for i in range(ah):
        input_axis(aw, half + i * aw, after, numbers)
        for j in range(aw):
            vstore(to + (i * aw + j) * step, after[j])
            prefetch(to + (i * aw + j) * step + soon)


cdef inline inlined output_tile(const int ah, const int aw, const int mh, const int mw, const real_t *source,
                                int64_t step, vec_t *pixels, int64_t row, int64_t column,
                                const real_t *numbers) noexcept nogil:
    """Frequencies ``source[. * step]`` of one tile and VL channels to its ``mh`` rows of ``mw`` pixels, ``row`` and
    ``column`` apart."""
    cdef vec_t half[MAX_CELLS]
    cdef vec_t before[MAX_POINTS]
    cdef vec_t after[MAX_POINTS]
    cdef int i, j
    for j in range(aw):
        for i in range(ah):
            before[i] = vload(source + (i * aw + j) * step)
        output_axis(ah, mh, before, after, numbers)
        for i in range(mh):
            half[i * aw + j] = after[i]
    for i in range(mh):
        output_axis(aw, mw, half + i * aw, after, numbers)
        for j in range(mw):
            pixels[i * row + j * column] = after[j]


cdef inline void transform_input(int64_t a, bint planar, const real_t *source, const int64_t *offset, real_t *to,
                                 int64_t step, int64_t soon, const real_t *numbers) noexcept nogil:
    """`input_tile` for the forms that the plan uses."""
    if planar:
        if a == STRIDED:
            input_tile(STRIDED, STRIDED, source, offset, to, step, soon, numbers)
        elif a == 8:
            input_tile(8, 8, source, offset, to, step, soon, numbers)
        elif a == 7:
            input_tile(7, 7, source, offset, to, step, soon, numbers)
        elif a == 6:
            input_tile(6, 6, source, offset, to, step, soon, numbers)
        else:
            input_tile(4, 4, source, offset, to, step, soon, numbers)
    elif a == 10:
        input_tile(1, 10, source, offset, to, step, soon, numbers)
    elif a == 8:
        input_tile(1, 8, source, offset, to, step, soon, numbers)
    else:
        input_tile(1, 6, source, offset, to, step, soon, numbers)


cdef inline void transform_output(int64_t a, int64_t m, bint planar, const real_t *source, int64_t step, vec_t *pixels,
                                  int64_t row, int64_t column, const real_t *numbers) noexcept nogil:
    """`output_tile` for the forms that the plan uses."""
    if planar:
        if a == STRIDED:
            output_tile(STRIDED, STRIDED, 4, 4, source, step, pixels, row, column, numbers)
        elif a == 8 and m == 6:
            output_tile(8, 8, 6, 6, source, step, pixels, row, column, numbers)
        elif a == 8 and m == 5:
            output_tile(8, 8, 5, 5, source, step, pixels, row, column, numbers)
        elif a == 8 and m == 4:
            output_tile(8, 8, 4, 4, source, step, pixels, row, column, numbers)
        elif a == 8:
            output_tile(8, 8, 2, 2, source, step, pixels, row, column, numbers)
        elif a == 7 and m == 4:
            output_tile(7, 7, 4, 4, source, step, pixels, row, column, numbers)
        elif a == 7:
            output_tile(7, 7, 5, 5, source, step, pixels, row, column, numbers)
        elif a == 6 and m == 4:
            output_tile(6, 6, 4, 4, source, step, pixels, row, column, numbers)
        elif a == 6 and m == 5:
            output_tile(6, 6, 5, 5, source, step, pixels, row, column, numbers)
        elif a == 6 and m == 3:
            output_tile(6, 6, 3, 3, source, step, pixels, row, column, numbers)
        elif a == 6:
            output_tile(6, 6, 2, 2, source, step, pixels, row, column, numbers)
        elif m == 3:
            output_tile(4, 4, 3, 3, source, step, pixels, row, column, numbers)
        else:
            output_tile(4, 4, 2, 2, source, step, pixels, row, column, numbers)
    elif a == 10:
        output_tile(1, 10, 1, 4, source, step, pixels, row, column, numbers)
    elif a == 8 and m == 6:
        output_tile(1, 8, 1, 6, source, step, pixels, row, column, numbers)
    elif a == 8 and m == 5:
        output_tile(1, 8, 1, 5, source, step, pixels, row, column, numbers)
    elif a == 8 and m == 4:
        output_tile(1, 8, 1, 4, source, step, pixels, row, column, numbers)
    elif a == 8:
        output_tile(1, 8, 1, 2, source, step, pixels, row, column, numbers)
    elif m == 4:
        output_tile(1, 6, 1, 4, source, step, pixels, row, column, numbers)
    else:
        output_tile(1, 6, 1, 2, source, step, pixels, row, column, numbers)
