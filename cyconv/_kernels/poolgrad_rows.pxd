"""One row of the gradient of average pooling by vectors: windows of a few taps at a regular stride.

With padding p, cell i = s k + r of the row, r < s, is cell ``s q + t`` of the padded row, q = (p + r) // s + k and
t = (p + r) % s, and lies in the windows q, q - 1, ... as long as these reach it:

    to[s k + r] = sum over j of row[q - j],      j <= (taps - 1 - t) / s

so that all the cells of one r are sums of shifted vectors of the row, which has zeros on both sides.
"""
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memcpy

from cyconv._kernels.lanes cimport ivec_t, lane_int_t, vload_part, vstream
from cyconv._kernels.simd cimport VL, inlined, real_t, vcopy_part, vec_t, vload, vset, vstore, vzero
from cyconv._kernels.transpose cimport vpick

cdef enum:
    #: zeros on each side of a row: more than the taps of a window reach, and a vector
    ROW_SLACK = 80
    MOST_TAPS = 8

cdef struct Spreading:
    int64_t taps, stride, before, cells
    ivec_t low, high


cdef inline void prepare_weaving(ivec_t *low, ivec_t *high) noexcept nogil:
    """Lanes of two vectors by turns."""
    cdef int64_t i
    for i in range(VL):
        (<lane_int_t *>low)[i] = <lane_int_t>(i // 2 + (i % 2) * VL)
        (<lane_int_t *>high)[i] = <lane_int_t>(VL // 2 + i // 2 + (i % 2) * VL)


cdef inline void copy_rows(real_t *to, const real_t *source, int64_t count, bint stream) noexcept nogil:
    """``count`` scalars to the result, past the caches if they are to ``stream``; ``stream_end`` comes after the last."""
    cdef int64_t i = 0
    if stream:
        while i < count and <uintptr_t>(to + i) % (VL * sizeof(real_t)):
            to[i] = source[i]
            i += 1
        while i <= count - VL:
            vstream(to + i, vload(source + i))
            i += VL
    memcpy(to + i, source + i, (count - i) * sizeof(real_t))


cdef inline vec_t _load_some(const real_t *p, int64_t count) noexcept nogil:
    return vload(p) if count >= VL else vload_part(p, 0, <int>count, <real_t>0)


cdef inline void add_row(real_t *row, const real_t *source, int64_t length, real_t factor, bint first) noexcept nogil:
    """``row (+)= factor * source``; whole vectors of the row are written."""
    cdef int64_t i = 0
    cdef vec_t v, scale = vset(factor)
    while i < length:
        v = scale * _load_some(source + i, length - i)
        vstore(row + i, v if first else vload(row + i) + v)
        i += VL


cdef inline void scale_row(real_t *row, const real_t *scale, int64_t length) noexcept nogil:
    cdef int64_t i = 0
    while i < length:
        vstore(row + i, vload(row + i) * _load_some(scale + i, length - i))
        i += VL


cdef inline vec_t _sum(const real_t *row, int64_t count) noexcept nogil:
    """``count`` shifted vectors, the last shift first."""
    cdef vec_t v
    cdef int64_t j = count - 1
    if count <= 0:
        return vzero()
    v = vload(row - j)
    while j > 0:
        j -= 1
        v = v + vload(row - j)
    return v


cdef inline void _store_some(real_t *to, vec_t v, int64_t count) noexcept nogil:
    if count >= VL:
        vstore(to, v)
    elif count > 0:
        vcopy_part(to, <real_t *>&v, count)


cdef inline void spread_row(real_t *to, const real_t *row, const Spreading *how) noexcept nogil:
    """All the cells of a row of dx; ``row`` has the sums of the windows, already divided."""
    cdef int64_t stride = how.stride
    cdef int64_t i = 0, k = 0, r, l, count
    cdef int64_t first[2]
    cdef int64_t windows[2]
    cdef vec_t even, odd
    cdef real_t lanes[VL]
    if stride <= 2:
        for r in range(stride):
            first[r] = (how.before + r) // stride
            windows[r] = _windows(how, r)
    if stride == 1:
        while i < how.cells:
            _store_some(to + i, _sum(row + first[0] + i, windows[0]), how.cells - i)
            i += VL
    elif stride == 2:
        while i < how.cells:
            even = _sum(row + first[0] + k, windows[0])
            odd = _sum(row + first[1] + k, windows[1])
            _store_some(to + i, vpick(even, odd, how.low), how.cells - i)
            _store_some(to + i + VL, vpick(even, odd, how.high), how.cells - i - VL)
            i += 2 * VL
            k += VL
    else:
        for r in range(min(stride, how.cells)):
            count = (how.cells - r + stride - 1) // stride
            k = 0
            while k < count:
                vstore(lanes, _sum(row + (how.before + r) // stride + k, _windows(how, r)))
                for l in range(min(count - k, <int64_t>VL)):
                    to[(k + l) * stride + r] = lanes[l]
                k += VL


cdef inline int64_t _windows(const Spreading *how, int64_t r) noexcept nogil:
    """How many windows hold the cells of this r."""
    cdef int64_t t = (how.before + r) % how.stride
    return (how.taps - 1 - t) // how.stride + 1 if t < how.taps else 0
