"""Fourier transforms of ``VL`` columns at once: a strip of ``points`` complex vectors, real parts and imaginary parts.

    forward:   X[f] = sum over t of x[t] exp(-2 pi i f t / points),    decimation in frequency, in place
    inverse:   x[t] = sum over f of X[f] exp(+2 pi i f t / points),    decimation in time, in place

``points`` is a power of 2. Frequencies stay in the order in which the butterflies leave them: nothing here needs them
sorted, for both factors of a product are transformed alike, and the inverse takes that order. A pass of radix 4 on
blocks of B points has B / 4 triples of twiddle factors w, w^2, w^3 with w = exp(-2 pi i j / B); the table holds those
of B = points, points / 4, ... as (re, im) pairs. What is left over is a pass of radix 2.

Reference: C. Van Loan, *Computational Frameworks for the Fast Fourier Transform*, SIAM 1992, section 2.4.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport VL, inlined, real_t, vec_t, vload, vset, vstore


cdef inline inlined _forward_4(real_t *re, real_t *im, int64_t points, int64_t quarter, const real_t *w,
                               const bint plain) noexcept nogil:
    """One pass of radix 4; ``plain``: blocks of 4 points, whose factors are all 1."""
    cdef vec_t r0, r1, r2, r3, i0, i1, i2, i3, w1r, w1i, w2r, w2i, w3r, w3i
    cdef int64_t step = quarter * VL
    cdef int64_t j, at
    for j in range(quarter):
        if not plain:
            w1r, w1i = vset(w[6 * j]), vset(w[6 * j + 1])
            w2r, w2i = vset(w[6 * j + 2]), vset(w[6 * j + 3])
            w3r, w3i = vset(w[6 * j + 4]), vset(w[6 * j + 5])
        at = j * VL
        while at < points * VL:
            r0, i0 = vload(re + at), vload(im + at)
            r1, i1 = vload(re + at + step), vload(im + at + step)
            r2, i2 = vload(re + at + 2 * step), vload(im + at + 2 * step)
            r3, i3 = vload(re + at + 3 * step), vload(im + at + 3 * step)
            r0, r2 = r0 + r2, r0 - r2
            i0, i2 = i0 + i2, i0 - i2
            r1, r3 = r1 + r3, r1 - r3
            i1, i3 = i1 + i3, i1 - i3
            vstore(re + at, r0 + r1)
            vstore(im + at, i0 + i1)
            r0, i0 = r0 - r1, i0 - i1
            r1, i1 = r2 + i3, i2 - r3
            r3, i3 = r2 - i3, i2 + r3
            if plain:
                vstore(re + at + step, r1)
                vstore(im + at + step, i1)
                vstore(re + at + 2 * step, r0)
                vstore(im + at + 2 * step, i0)
                vstore(re + at + 3 * step, r3)
                vstore(im + at + 3 * step, i3)
            else:
                vstore(re + at + step, r1 * w1r - i1 * w1i)
                vstore(im + at + step, r1 * w1i + i1 * w1r)
                vstore(re + at + 2 * step, r0 * w2r - i0 * w2i)
                vstore(im + at + 2 * step, r0 * w2i + i0 * w2r)
                vstore(re + at + 3 * step, r3 * w3r - i3 * w3i)
                vstore(im + at + 3 * step, r3 * w3i + i3 * w3r)
            at += 4 * step


cdef inline inlined _inverse_4(real_t *re, real_t *im, int64_t points, int64_t quarter, const real_t *w,
                               const bint plain) noexcept nogil:
    """The mirror image of ``_forward_4``: factors first (conjugated), then the butterfly."""
    cdef vec_t r0, r1, r2, r3, i0, i1, i2, i3, sr, si, w1r, w1i, w2r, w2i, w3r, w3i
    cdef int64_t step = quarter * VL
    cdef int64_t j, at
    for j in range(quarter):
        if not plain:
            w1r, w1i = vset(w[6 * j]), vset(w[6 * j + 1])
            w2r, w2i = vset(w[6 * j + 2]), vset(w[6 * j + 3])
            w3r, w3i = vset(w[6 * j + 4]), vset(w[6 * j + 5])
        at = j * VL
        while at < points * VL:
            r0, i0 = vload(re + at), vload(im + at)
            r1, i1 = vload(re + at + step), vload(im + at + step)
            r2, i2 = vload(re + at + 2 * step), vload(im + at + 2 * step)
            r3, i3 = vload(re + at + 3 * step), vload(im + at + 3 * step)
            if not plain:
                r1, i1 = r1 * w1r + i1 * w1i, i1 * w1r - r1 * w1i
                r2, i2 = r2 * w2r + i2 * w2i, i2 * w2r - r2 * w2i
                r3, i3 = r3 * w3r + i3 * w3i, i3 * w3r - r3 * w3i
            sr, si = r0 + r2, i0 + i2
            r0, i0 = r0 - r2, i0 - i2
            r2, i2 = r1 + r3, i1 + i3
            r1, i1 = r1 - r3, i1 - i3
            vstore(re + at, sr + r2)
            vstore(im + at, si + i2)
            vstore(re + at + 2 * step, sr - r2)
            vstore(im + at + 2 * step, si - i2)
            vstore(re + at + step, r0 - i1)
            vstore(im + at + step, i0 + r1)
            vstore(re + at + 3 * step, r0 + i1)
            vstore(im + at + 3 * step, i0 - r1)
            at += 4 * step


cdef inline void _pass_2(real_t *re, real_t *im, int64_t points) noexcept nogil:
    """Radix 2 on blocks of 2 points: its own inverse."""
    cdef vec_t a, b
    cdef int64_t at = 0
    while at < points * VL:
        a, b = vload(re + at), vload(re + at + VL)
        vstore(re + at, a + b)
        vstore(re + at + VL, a - b)
        a, b = vload(im + at), vload(im + at + VL)
        vstore(im + at, a + b)
        vstore(im + at + VL, a - b)
        at += 2 * VL


cdef inline void forward(real_t *re, real_t *im, int64_t points, const real_t *w) noexcept nogil:
    cdef int64_t block = points
    while block > 4:
        _forward_4(re, im, points, block // 4, w, False)
        w += 6 * (block // 4)
        block = block // 4
    if block == 4:
        _forward_4(re, im, points, 1, w, True)
    elif block == 2:
        _pass_2(re, im, points)


cdef inline void inverse(real_t *re, real_t *im, int64_t points, const real_t *w) noexcept nogil:
    cdef int64_t block = points
    while block > 4:        # to the last pass of the forward transform, which is the first here
        w += 6 * (block // 4)
        block = block // 4
    if block == 4:
        _inverse_4(re, im, points, 1, w, True)
    elif block == 2:
        _pass_2(re, im, points)
    while block < points:
        block = block * 4
        w -= 6 * (block // 4)
        _inverse_4(re, im, points, block // 4, w, False)
