"""Weights of neighbouring output channels, side by side for every kk: the panels that the register tile reads.

Offsets that lie within a vector of one another are read as one, and turned in registers: the taps of a channel in
either order, or all of an output channel's weights. Where the output channels themselves are neighbours, they are
copied.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport vload_part, vstore_part
from cyconv._kernels.simd cimport VL, prefetch, real_t, vec_t, vload, vstore, vzero
from cyconv._kernels.transpose cimport vtranspose

cdef enum:
    # kk that share a vector, from which on turning it is less work than reading one by one
    LEAST_GROUP = 3
    # groups, and kk of neighbouring outputs, ahead at which weights are asked for
    GROUPS_AHEAD = 3
    COPIES_AHEAD = 16


cdef inline vec_t _load(const real_t *p, int64_t count) noexcept nogil:
    return vload(p) if count >= VL else vload_part(p, 0, <int>count, <real_t>0)


cdef inline void _store(real_t *p, vec_t v, int64_t count) noexcept nogil:
    if count >= VL:
        vstore(p, v)
    else:
        vstore_part(p, v, <int>count)


cdef inline void _copy(const real_t *weight, const int64_t *offset, int64_t depth, int64_t real_columns,
                       int64_t columns, real_t *to, int64_t known) noexcept nogil:
    """Output channels that are neighbours. ``known`` offsets may be looked at."""
    cdef int64_t k, i
    cdef const real_t *soon
    for k in range(depth):
        soon = weight + offset[min(k + COPIES_AHEAD, known - 1)]
        i = 0
        while i < columns:
            prefetch(soon + i)
            _store(to + i, _load(weight + offset[k] + i, max(<int64_t>0, real_columns - i)), columns - i)
            i += VL
        to += columns


cdef inline void _turn(const real_t *weight, int64_t step, const int64_t *offset, int64_t group, int64_t low,
                       int64_t high, int64_t soon, int64_t real_columns, int64_t columns, real_t *to) noexcept nogil:
    """A group of kk whose offsets are from ``low`` to ``high``, less than a vector apart."""
    cdef vec_t r[VL]
    cdef int64_t i = 0, q, k
    while i < columns:
        for q in range(VL):
            if i + q < real_columns:
                r[q] = _load(weight + (i + q) * step + low, high - low + 1)
                prefetch(weight + (i + q) * step + soon)
            else:
                r[q] = vzero()
        vtranspose(r)
        for k in range(group):
            _store(to + k * columns + i, r[offset[k] - low], columns - i)
        i += VL


cdef inline void pack_columns(const real_t *weight, int64_t step, const int64_t *offset, int64_t depth, int64_t known,
                              int64_t real_columns, int64_t columns, real_t *to) noexcept nogil:
    """``to[k * columns + i] = weight[i * step + offset[k]]`` for the first ``depth`` of the ``known`` offsets, zero from
    ``real_columns`` on."""
    cdef int64_t k = 0, end, low, high, i
    if step == 1:
        _copy(weight, offset, depth, real_columns, columns, to, known)
        return
    while k < depth:
        low = high = offset[k]
        end = k + 1
        while end < depth and max(high, offset[end]) - min(low, offset[end]) < VL:
            low, high = min(low, offset[end]), max(high, offset[end])
            end += 1
        if end - k >= LEAST_GROUP:
            _turn(weight, step, offset + k, end - k, low, high, offset[min(k + GROUPS_AHEAD * (end - k), known - 1)],
                  real_columns, columns, to + k * columns)
        else:
            end = k + 1
            for i in range(columns):
                to[k * columns + i] = weight[i * step + offset[k]] if i < real_columns else <real_t>0
        k = end
