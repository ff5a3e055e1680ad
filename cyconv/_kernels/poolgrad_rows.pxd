"""One row of the gradient of average pooling by vectors: windows of a few taps at a regular stride.

With padding p, cell i = s k + r of the row, r < s, is cell ``s q + t`` of the padded row, q = (p + r) // s + k and
t = (p + r) % s, and lies in the windows q, q - 1, ... as long as these reach it:

    to[s k + r] = sum over j of row[q - j],      j <= (taps - 1 - t) / s

so that all the cells of one r are sums of shifted vectors of the row, which has zeros on both sides.
"""
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memcpy

from cyconv._kernels.lanes cimport (ivec_t, ivless, ivload, ivset, lane_int_t, vload_part, vselect, vstream)
from cyconv._kernels.simd cimport VL, inlined, prefetch_far, real_t, vec_t, vload, vset, vstore, vzero
from cyconv._kernels.transpose cimport vpick

cdef enum:
    #: zeros on each side of a row: more than the taps of a window reach, and a vector
    ROW_SLACK = 80
    MOST_TAPS = 8

cdef struct Spreading:
    int64_t taps, stride, before, cells
    # of strides up to 2, for each r the q of k = 0 and how many windows hold the cells
    int64_t first[2]
    int64_t held[2]
    ivec_t low, high
    # of strides above 2, for each vector of cells its first cell's q, for each cell q - this and how many windows hold it
    const int64_t *start
    const lane_int_t *source
    const lane_int_t *windows


cdef inline void prepare_spreading(Spreading *how, int64_t taps, int64_t stride, int64_t before,
                                   int64_t cells) noexcept nogil:
    cdef int64_t r, t
    how.taps, how.stride, how.before, how.cells = taps, stride, before, cells
    for r in range(min(stride, <int64_t>2)):
        t = (before + r) % stride
        how.first[r] = (before + r) // stride
        how.held[r] = (taps - 1 - t) // stride + 1 if t < taps else 0
    prepare_weaving(&how.low, &how.high)


cdef inline void prepare_weaving(ivec_t *low, ivec_t *high) noexcept nogil:
    """Lanes of two vectors by turns."""
    cdef int64_t i
    for i in range(VL):
        (<lane_int_t *>low)[i] = <lane_int_t>(i // 2 + (i % 2) * VL)
        (<lane_int_t *>high)[i] = <lane_int_t>(VL // 2 + i // 2 + (i % 2) * VL)


cdef inline void ask_for(const void *source, int64_t nbytes) noexcept nogil:
    """What the next band is made of comes while this one goes to memory, which would else do one after the other; it may
    lie beyond the last array."""
    cdef int64_t i = 0
    while i < nbytes:
        prefetch_far(<const char *>source + i)
        i += 64


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


cdef inline inlined _add_rows(const int known, real_t *row, const real_t **sources, const real_t *factors, int count,
                              const real_t *scale, int64_t length, bint more) noexcept nogil:
    cdef int64_t i = 0
    cdef int s, n = known if known > 0 else count
    cdef vec_t v
    while i < length:
        v = vload(row + i) if more else vzero()
        if i <= length - VL:
            for s in range(n):
                v = v + vset(factors[s]) * vload(sources[s] + i)
        else:
            for s in range(n):
                v = v + vset(factors[s]) * vload_part(sources[s] + i, 0, <int>(length - i), <real_t>0)
        vstore(row + i, v if scale == NULL else v * vload(scale + i))
        i += VL


cdef inline void add_rows(real_t *row, const real_t **sources, const real_t *factors, int count, const real_t *scale,
                          int64_t length, bint more) noexcept nogil:
    """``row (+)= factor * source``, one source after the other, then ``* scale`` if there is one, which like the row has
    whole vectors."""
    if more or count > 3 or count == 0:
        _add_rows(0, row, sources, factors, count, scale, length, more)
    elif count == 1:
        _add_rows(1, row, sources, factors, 1, scale, length, 0)
    elif count == 2:
        _add_rows(2, row, sources, factors, 2, scale, length, 0)
    else:
        _add_rows(3, row, sources, factors, 3, scale, length, 0)


cdef inline inlined _spread_each(const int known, real_t *to, const real_t *row, const Spreading *how) noexcept nogil:
    """Stride 1."""
    cdef int64_t i = 0, cells = how.cells
    cdef int64_t j, n = known if known > 0 else how.held[0]
    cdef vec_t v
    row += how.first[0]
    while i < cells:
        v = vzero()
        for j in range(n):
            v = v + vload(row + i - (n - 1 - j))
        vstore(to + i, v)
        i += VL


cdef inline inlined _spread_pairs(const int even_windows, const int odd_windows, real_t *to, const real_t *row,
                                  const Spreading *how) noexcept nogil:
    """Stride 2."""
    cdef int64_t i = 0, cells = how.cells
    cdef int64_t j, evens = even_windows if even_windows > 0 else how.held[0]
    cdef int64_t odds = odd_windows if odd_windows > 0 else how.held[1]
    cdef const real_t *even_row = row + how.first[0]
    cdef const real_t *odd_row = row + how.first[1]
    cdef vec_t even, odd
    cdef ivec_t low = how.low, high = how.high
    while i < cells:
        even, odd = vzero(), vzero()
        for j in range(evens):
            even = even + vload(even_row - (evens - 1 - j))
        for j in range(odds):
            odd = odd + vload(odd_row - (odds - 1 - j))
        vstore(to + i, vpick(even, odd, low))
        vstore(to + i + VL, vpick(even, odd, high))
        i += 2 * VL
        even_row += VL
        odd_row += VL


cdef inline void _spread_any(real_t *to, const real_t *row, const Spreading *how) noexcept nogil:
    """Longer strides."""
    cdef int64_t i = 0, k = 0, j, cells = how.cells, most = (how.taps + how.stride - 1) // how.stride
    cdef vec_t v, some
    cdef ivec_t source, count
    while i < cells:
        source, count = ivload(how.source + i), ivload(how.windows + i)
        v = vzero()
        j = most
        while j > 0:
            j -= 1
            some = vload(row + how.start[k] - j)
            v = v + vselect(ivless(ivset(<lane_int_t>j), count), vpick(some, some, source), vzero())
        vstore(to + i, v)
        i += VL
        k += 1


cdef inline void spread_row(real_t *to, const real_t *row, const Spreading *how) noexcept nogil:
    """All the cells of a row of dx and up to 2 VL behind them; ``row`` has the sums of the windows, already divided.

    A cell adds up its windows, the first one first. Windows of 2 and 3 cells have loops of their own.
    """
    if how.stride == 1:
        if how.held[0] == 3:
            _spread_each(3, to, row, how)
        elif how.held[0] == 2:
            _spread_each(2, to, row, how)
        else:
            _spread_each(0, to, row, how)
    elif how.stride > 2:
        _spread_any(to, row, how)
    elif how.held[0] == 1 and how.held[1] == 1:
        _spread_pairs(1, 1, to, row, how)
    elif how.held[0] == 2 and how.held[1] == 1:
        _spread_pairs(2, 1, to, row, how)
    elif how.held[0] == 1 and how.held[1] == 2:
        _spread_pairs(1, 2, to, row, how)
    else:
        _spread_pairs(0, 0, to, row, how)


cdef inline void repeat_row(real_t *to, int64_t length) noexcept nogil:
    """The row before again; from right to left, since what is written beyond a row's end is the next one's begin."""
    cdef int64_t i = (length - 1) // VL * VL
    while i >= 0:
        vstore(to + i, vload(to - length + i))
        i -= VL
