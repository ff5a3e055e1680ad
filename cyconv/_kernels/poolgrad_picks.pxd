"""Averages of small planes: a vector of cells, from wherever in the plane, picks its windows by their lanes.

Rows of a few cells fill no vectors; a plane as one row does. As in ``poolgrad_rows.pxd`` there are first the sums of
rows of g, which are also picked, then the cells:

    sums[i] = scale[i] * (sum over t of factor[i, t] * g[from[i, t]]),     dx[i] = sum over t of sums[from[i, t]]

with a vector of i at a time, whose ``from`` lie within two vectors of the source.
"""
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from cyconv._kernels.lanes cimport (
    ivchoose, ivec_t, ivload, ivload_bytes, lane_int_t, vadd_where, vchoose, vselect, vstore_part,
)
from cyconv._kernels.simd cimport VL, inlined, real_t, vec_t, vload, vstore, vzero

cdef enum:
    #: planes whose sums are made before the first of them is read: what has just been written is slow to read at
    #: another offset
    PICKED = 4

cdef struct Picks:
    # ``vectors`` begin every VL cells, the last one VL before the end; for each and each tap the first cell of the
    # source, the lanes from there on, and which of them count
    int64_t size, vectors, taps
    # whether all lanes are of the first vector
    bint near
    const int64_t *base
    const lane_int_t *lanes
    const lane_int_t *mask
    # factors and scales, or neither
    const real_t *factor
    const real_t *scale


cdef inline inlined _pick(const int64_t known, const bint scaled, const bint near, real_t *to, const real_t *source,
                          const Picks *picks) noexcept nogil:
    cdef int64_t taps = known if known > 0 else picks.taps
    cdef int64_t v, _t, k = 0
    # by value: what is stored could else be any of these
    cdef int64_t vectors = picks.vectors, size = picks.size
    cdef const int64_t *base = picks.base
    cdef const lane_int_t *lanes = picks.lanes
    cdef const lane_int_t *mask = picks.mask
    cdef const real_t *factor = picks.factor
    cdef const real_t *scale = picks.scale
    cdef const real_t *at
    cdef vec_t total, some
    for v in range(vectors):
        total = vzero()
        for _t in range(taps):
            at = source + base[k]
            some = vload(at)
            some = vchoose(some, some if near else vload(at + VL), ivload(lanes + k * VL))
            some = vselect(ivload(mask + k * VL), some, vzero())
            total = total + vload(factor + k * VL) * some if scaled else total + some
            k += 1
        if scaled:
            total = total * vload(scale + v * VL)
        if size < VL:
            vstore_part(to, total, <int>size)
        else:
            vstore(to + min(v * VL, size - VL), total)


cdef inline inlined _pick_cells(const bint scaled, const bint near, real_t *to, const real_t *source,
                                const Picks *picks) noexcept nogil:
    if picks.taps == 1:
        _pick(1, scaled, near, to, source, picks)
    elif picks.taps == 2:
        _pick(2, scaled, near, to, source, picks)
    elif picks.taps == 3:
        _pick(3, scaled, near, to, source, picks)
    else:
        _pick(0, scaled, near, to, source, picks)


cdef inline inlined pick_cells(const bint scaled, real_t *to, const real_t *source, const Picks *picks) noexcept nogil:
    if picks.near:
        _pick_cells(scaled, 1, to, source, picks)
    else:
        _pick_cells(scaled, 0, to, source, picks)


cdef inline void pick_planes(real_t *out, const real_t *grad, const Picks *rows, const Picks *cells, int64_t outputs,
                             int64_t begin, int64_t end, int64_t planes, real_t *work) noexcept nogil:
    """Planes ``begin`` to ``end`` of ``planes``. Where too little follows on a plane of g, it is copied."""
    cdef int64_t plane, pitch = rows.size + 2 * VL
    cdef real_t *copy = work + PICKED * pitch
    cdef const real_t *source
    for plane in range(begin, end):
        source = grad + plane * outputs
        if (planes - plane - 1) * outputs < 2 * VL:
            memcpy(copy, source, outputs * sizeof(real_t))
            source = copy
        pick_cells(1, work + (plane - begin) * pitch if cells.size > 0 else out + plane * rows.size, source, rows)
    if cells.size > 0:
        for plane in range(begin, end):
            pick_cells(0, out + plane * cells.size, work + (plane - begin) * pitch, cells)


cdef inline void choose_planes(real_t *out, const real_t *grad, const uint8_t *code, const int64_t *base,
                               const lane_int_t *lanes, const lane_int_t *wanted, int64_t cells, int64_t outputs,
                               int64_t begin, int64_t end, int64_t planes, real_t *copy) noexcept nogil:
    """The same for maxima of windows that do not overlap: each cell picks its window and takes what it gives if the
    window's code is the one that it wants."""
    cdef int64_t plane, v
    cdef const real_t *source
    cdef real_t *to
    cdef const uint8_t *at
    cdef ivec_t from_
    cdef vec_t some
    for plane in range(begin, end):
        source, at, to = grad + plane * outputs, code + plane * outputs, out + plane * cells
        if (planes - plane - 1) * outputs < VL:
            memcpy(copy, source, outputs * sizeof(real_t))
            source = copy
        for v in range((cells + VL - 1) // VL):
            from_ = ivload(lanes + v * VL)
            some = vload(source + base[v])
            some = vadd_where(vzero(), ivchoose(ivload_bytes(at + base[v]), from_), ivload(wanted + v * VL),
                              vchoose(some, some, from_))
            if cells < VL:
                vstore_part(to, some, <int>cells)
            else:
                vstore(to + min(v * VL, cells - VL), some)
