"""Winograd's transform of the weights, ``G w G^T``: a vector holds the same tap of neighbouring output channels."""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport VL, inlined, prefetch_write, real_t
from cyconv._kernels.winograd_transforms cimport MAX_CELLS

cdef enum:
    MAX_TAPS = 49
    # bytes: a place of each frequency is too many streams for the processor to foresee (512 x 512 kernels of 3x3 with
    # 49 frequencies 5.3 ms, so 4.4)
    AHEAD = 512

cdef struct Matrices:
    # G of the rows (ah x rh) and of the columns (aw x rw)
    const double *rows
    const double *columns
    int64_t ah, rh, aw, rw


cdef inline inlined _transform(const int rh, const int rw, const real_t *weight, int64_t step_k, int64_t channels,
                               const int64_t *offset, const Matrices *g, real_t *to, int64_t step_f) noexcept nogil:
    """The sums are in float64: each transformed weight is rounded once."""
    cdef double taps[MAX_TAPS][VL]
    cdef double half[MAX_CELLS][VL]
    cdef double total
    cdef int64_t i, j
    cdef int k, t
    for t in range(rh * rw):
        for k in range(VL):
            taps[t][k] = weight[k * step_k + offset[t]] if k < channels else <real_t>0
    for i in range(g.ah):
        for j in range(rw):
            for k in range(VL):
                total = g.rows[i * rh] * taps[j][k]
                for t in range(1, rh):
                    total += g.rows[i * rh + t] * taps[t * rw + j][k]
                half[i * rw + j][k] = total
    for i in range(g.ah):
        for j in range(g.aw):
            for k in range(VL):
                total = g.columns[j * rw] * half[i * rw][k]
                for t in range(1, rw):
                    total += g.columns[j * rw + t] * half[i * rw + t][k]
                to[k] = <real_t>total
            prefetch_write(<const char *>to + AHEAD)
            to += step_f


cdef inline void transform_weights(const real_t *weight, int64_t step_k, int64_t channels, const int64_t *offset,
                                   const Matrices *g, real_t *to, int64_t step_f) noexcept nogil:
    """VL output channels, zero beyond ``channels``; tap t of the first lies at ``weight[offset[t]]``."""
    if g.rh == 2:
        _transform(2, 2, weight, step_k, channels, offset, g, to, step_f)
    elif g.rh == 3:
        _transform(3, 3, weight, step_k, channels, offset, g, to, step_f)
    elif g.rh == 4:
        _transform(4, 4, weight, step_k, channels, offset, g, to, step_f)
    elif g.rh == 5:
        _transform(5, 5, weight, step_k, channels, offset, g, to, step_f)
    elif g.rh == 7:
        _transform(7, 7, weight, step_k, channels, offset, g, to, step_f)
    elif g.rw == 3:
        _transform(1, 3, weight, step_k, channels, offset, g, to, step_f)
    elif g.rw == 5:
        _transform(1, 5, weight, step_k, channels, offset, g, to, step_f)
    elif g.rw == 7:
        _transform(1, 7, weight, step_k, channels, offset, g, to, step_f)
    else:
        _transform(1, <int>g.rw, weight, step_k, channels, offset, g, to, step_f)


cdef inline void copy_taps(const real_t *weight, int64_t step_k, int64_t channels, const int64_t *offset, int64_t taps,
                           real_t *to) noexcept nogil:
    """The same taps as they are, zeros beyond ``channels``."""
    cdef int64_t t, k
    for t in range(taps):
        for k in range(VL):
            to[t * VL + k] = weight[k * step_k + offset[t]] if k < channels else <real_t>0
