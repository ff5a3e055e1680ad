"""5 x 5 and 7 x 7 taps on one plane, or on two narrow ones side by side: down the rows, each input row read once.

    acc[i] += w[r, s] * x[row q, column s]     output row q - r at stride 1, for all r: acc[i] with i + r = R - 1

As in ``planes_three.pxd``: what is not a multiply-add is what the tile of ``planes_tile.pxd`` loses time with, and most of
it is gone where rows are not told apart. Weights are read where they lie, by the multiply-add itself or once for the
vectors side by side. With one vector there are two sums per output, of the even and of the odd columns: one would wait
for itself.

    stride 2:   an even row belongs to the outputs of taps 0, 2, 4, an odd one to those of taps 1, 3
    paired:     whole rows of two planes are one vector, which is shifted for each tap; each lane has its own weight

Assumptions: those of ``planes_three.pxd``; weights are [column][row], of stride 2 [parity of the row][column][row]; at
stride 2 there are 5 x 5 taps; pairs have rows of at most half a vector and stride 1. An element is one chain, or two,
over (r, s).
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport ivec_t, ivload, lane_int_t, vchoose
from cyconv._kernels.masks cimport vload_chosen, vload_two, vmask_of
from cyconv._kernels.planes_tile cimport HALF, Sweep
from cyconv._kernels.planes_three cimport ALL, OUTER, Source, Strip, Target, put_row, set_source, set_target
from cyconv._kernels.simd cimport VL, hold_pointer, inlined, real_t, vec_t, vevery_second, vhold, vload, vset, vzero
from cyconv._kernels.sliding_tile cimport VECS


cdef inline vec_t _cells(const bint masked, const real_t *at, const Source *source, int s, bint last, int load) noexcept nogil:
    return vhold(vload_chosen(at, source.mask[4 * s + 2 * last + load]) if masked else vload(at))


cdef inline inlined _load(const int v, const int s, const int step, const int columns, const int masks, const int vecs,
                          vec_t *x, vec_t *next_x, const real_t *at, const Source *source) noexcept nogil:
    """Vector ``v`` of column ``s``, and at step 2 that of the next column."""
    cdef vec_t a, b
    cdef bint last = v == vecs - 1
    cdef bint low = masks == ALL or (masks == OUTER and v == 0 and s < columns // 2)
    if v >= vecs:
        return
    at += s + (source.vec if 0 < v == vecs - 1 else v * VL * step)
    if step == 2:
        a = _cells(low, at, source, s, v > 0, 0)
        b = _cells(masks == ALL or (masks == OUTER and last and s >= columns // 2), at + VL, source, s, v > 0, 1)
        x[v] = vevery_second(a, b, 0)
        next_x[v] = vevery_second(a, b, 1)
    else:
        x[v] = _cells(low or (masks == OUTER and last and s > columns // 2), at, source, s, v > 0, 0)


cdef inline inlined _multiply(const int i, const bint paired, const int taps, const int s, const int vecs,
                              vec_t (*acc)[4], const real_t *w, const vec_t *x) noexcept nogil:
    """Column ``s`` of a row to one of its outputs."""
    cdef vec_t weight
    cdef int first = s % 2 if vecs == 1 else 0
    if i < taps:
        weight = vload(w + (taps * s + taps - 1 - i) * VL) if paired else vset(w[taps * s + taps - 1 - i])
        acc[i][first] = acc[i][first] + weight * x[0]
        if vecs > 1:
            acc[i][1] = acc[i][1] + weight * x[1]
        if vecs > 2:
            acc[i][2] = acc[i][2] + weight * x[2]
        if vecs > 3:
            acc[i][3] = acc[i][3] + weight * x[3]


cdef inline inlined _add(const int s, const bint paired, const int taps, const int columns, const int vecs,
                         vec_t (*acc)[4], const real_t *w, const vec_t *x) noexcept nogil:
    """Column ``s`` of a row to all of its outputs."""
    if s >= columns:
        return
    _multiply(0, paired, taps, s, vecs, acc, w, x)
    _multiply(1, paired, taps, s, vecs, acc, w, x)
    _multiply(2, paired, taps, s, vecs, acc, w, x)
    _multiply(3, paired, taps, s, vecs, acc, w, x)
    _multiply(4, paired, taps, s, vecs, acc, w, x)
    _multiply(5, paired, taps, s, vecs, acc, w, x)
    _multiply(6, paired, taps, s, vecs, acc, w, x)


cdef inline inlined _column(const int s, const int step, const int taps, const int columns, const int masks, const int vecs,
                            vec_t (*acc)[4], const real_t *w, const real_t *at, const Source *source) noexcept nogil:
    cdef vec_t x[4]
    cdef vec_t next_x[4]
    if s >= columns or (step == 2 and s % 2 == 1):
        return
    _load(0, s, step, columns, masks, vecs, x, next_x, at, source)
    _load(1, s, step, columns, masks, vecs, x, next_x, at, source)
    _load(2, s, step, columns, masks, vecs, x, next_x, at, source)
    _load(3, s, step, columns, masks, vecs, x, next_x, at, source)
    _add(s, 0, taps, columns, vecs, acc, w, x)
    if step == 2:
        _add(s + 1, 0, taps, columns, vecs, acc, w, next_x)


cdef inline inlined _row(const int step, const int taps, const int columns, const int masks, const int vecs,
                         vec_t (*acc)[4], const real_t *w, const real_t *x, const Source *source) noexcept nogil:
    """A row of the input to the ``taps`` outputs that it belongs to, the oldest first."""
    _column(0, step, taps, columns, masks, vecs, acc, w, x, source)
    _column(1, step, taps, columns, masks, vecs, acc, w, x, source)
    _column(2, step, taps, columns, masks, vecs, acc, w, x, source)
    _column(3, step, taps, columns, masks, vecs, acc, w, x, source)
    _column(4, step, taps, columns, masks, vecs, acc, w, x, source)
    _column(5, step, taps, columns, masks, vecs, acc, w, x, source)
    _column(6, step, taps, columns, masks, vecs, acc, w, x, source)


cdef inline inlined _shifted(const int s, const int R, vec_t (*acc)[4], const real_t *w, vec_t row,
                             const ivec_t *shift) noexcept nogil:
    cdef vec_t x
    if s < R:
        x = vchoose(row, vzero(), shift[s])
        _add(s, 1, R, R, 1, acc, w, &x)


cdef inline inlined _paired_row(const int R, vec_t (*acc)[4], const real_t *w, vec_t x, const ivec_t *shift) noexcept nogil:
    """A row of the input, of two planes side by side."""
    _shifted(0, R, acc, w, x, shift)
    _shifted(1, R, acc, w, x, shift)
    _shifted(2, R, acc, w, x, shift)
    _shifted(3, R, acc, w, x, shift)
    _shifted(4, R, acc, w, x, shift)
    _shifted(5, R, acc, w, x, shift)
    _shifted(6, R, acc, w, x, shift)


cdef inline inlined _find_shift(const int s, const int R, ivec_t *shift, int64_t pad, int64_t size) noexcept nogil:
    """Where the lanes of tap ``s`` are in a row of two planes; VL is the first lane of a vector of zeros."""
    cdef lane_int_t at[VL]
    cdef int64_t l, cell
    if s < R:
        for l in range(VL):
            cell = l % HALF + s - pad
            at[l] = <lane_int_t>(l - l % HALF + cell if 0 <= cell < size else VL)
        shift[s] = ivload(at)


cdef inline inlined _find_shifts(const int R, ivec_t *shift, int64_t pad, int64_t size) noexcept nogil:
    _find_shift(0, R, shift, pad, size)
    _find_shift(1, R, shift, pad, size)
    _find_shift(2, R, shift, pad, size)
    _find_shift(3, R, shift, pad, size)
    _find_shift(4, R, shift, pad, size)
    _find_shift(5, R, shift, pad, size)
    _find_shift(6, R, shift, pad, size)


cdef inline inlined _set(const int sums, vec_t *acc, const vec_t *v, int64_t next_v) noexcept nogil:
    """Sums of an output: all the same (``next_v`` 0) or those of another one."""
    acc[0] = v[0]
    acc[1] = v[next_v]
    if sums > 2:
        acc[2] = v[2 * next_v]
    if sums > 3:
        acc[3] = v[3 * next_v]


cdef inline inlined _begin(const int vecs, vec_t *acc, vec_t start) noexcept nogil:
    _set(vecs, acc, &start, 0)
    if vecs == 1:
        acc[1] = vzero()


cdef inline inlined _shift(const int rows, const int vecs, vec_t (*acc)[4], vec_t start) noexcept nogil:
    """The oldest output gives its place to the next one, and a new one begins."""
    cdef int sums = vecs if vecs > 1 else 2
    if rows > 1:
        _set(sums, acc[0], acc[1], 1)
    if rows > 2:
        _set(sums, acc[1], acc[2], 1)
    if rows > 3:
        _set(sums, acc[2], acc[3], 1)
    if rows > 4:
        _set(sums, acc[3], acc[4], 1)
    if rows > 5:
        _set(sums, acc[4], acc[5], 1)
    if rows > 6:
        _set(sums, acc[5], acc[6], 1)
    _begin(vecs, acc[rows - 1], start)


cdef inline inlined _end(const int vecs, vec_t *acc) noexcept nogil:
    """The sums of an output are complete here, whether or not it will be stored: left to the compiler, they would be
    added up where that is known, one chain with nothing beside it."""
    acc[0] = vhold(acc[0])
    acc[1] = vhold(acc[1])
    if vecs > 2:
        acc[2] = vhold(acc[2])
    if vecs > 3:
        acc[3] = vhold(acc[3])


cdef inline inlined _store(const bint paired, const int masks, const int vecs, vec_t *acc, real_t *c,
                           const Target *to) noexcept nogil:
    cdef vec_t whole
    if vecs == 1:
        whole = acc[0] + acc[1]
        put_row(paired, masks, vecs, &whole, c, to)
    else:
        put_row(paired, masks, vecs, acc, c, to)


cdef inline inlined _every_row(const int R, const bint paired, const int masks, const int vecs, const Strip *strip,
                               const real_t *x, const real_t *w, vec_t start, real_t *c, const ivec_t *shift,
                               const Source *source, const Target *to) noexcept nogil:
    """Stride 1. Outputs before the first and behind the last are worked on too, and not stored."""
    cdef vec_t acc[7][4]
    cdef int64_t end = strip.rows + R - 1
    cdef int64_t last = min(strip.size - strip.at, end)
    cdef int64_t q = max(<int64_t>0, -strip.at)
    _begin(vecs, acc[0], start)
    _begin(vecs, acc[1], start)
    _begin(vecs, acc[2], start)
    _begin(vecs, acc[3], start)
    _begin(vecs, acc[4], start)
    if R > 5:
        _begin(vecs, acc[5], start)
        _begin(vecs, acc[6], start)
    x += q * source.row
    while q < last:
        if paired:
            _paired_row(R, acc, w, vload_two(x, source.mask[0], x + source.other - HALF, source.mask[1]), shift)
        else:
            _row(1, R, R, masks, vecs, acc, w, x, source)
        _end(vecs, acc[0])
        if q >= R - 1:
            _store(paired, masks, vecs, acc[0], c, to)
            c += to.row
        _shift(R, vecs, acc, start)
        q += 1
        x = hold_pointer(x + source.row)
    while q < end:
        if q >= R - 1:
            _store(paired, masks, vecs, acc[0], c, to)
            c += to.row
        _shift(R, vecs, acc, start)
        q += 1


cdef inline inlined _every_second(const int masks, const int vecs, const Strip *strip, const real_t *x, const real_t *w,
                                  vec_t start, real_t *c, const Source *source, const Target *to) noexcept nogil:
    """Stride 2, 5 x 5 taps: an even row, which ends one output and begins another, and the odd one behind it."""
    cdef vec_t acc[3][4]
    cdef int64_t first = -strip.at
    cdef int64_t last = strip.size - strip.at
    cdef int64_t k
    _begin(vecs, acc[0], start)
    _begin(vecs, acc[1], start)
    _begin(vecs, acc[2], start)
    for k in range(strip.rows + 2):
        if first <= 2 * k < last:
            _row(2, 3, 5, masks, vecs, acc, w, x, source)
        _end(vecs, acc[0])
        if k >= 2:
            _store(0, masks, vecs, acc[0], c, to)
            c += to.row
        _shift(3, vecs, acc, start)
        if first <= 2 * k + 1 < last:
            _row(2, 2, 5, masks, vecs, acc, w + 15, x + source.row, source)
        x = hold_pointer(x + 2 * source.row)


cdef inline inlined _stream(const int step, const int R, const bint paired, const int masks, const int vecs,
                            const Strip *strip, const real_t *x, const real_t *w, const real_t *bias, real_t *c,
                            int64_t pad, int64_t size, const Sweep *sweep) noexcept nogil:
    """Some vectors of all rows of some planes; x is where the first tap of the first row lies, inside or not."""
    cdef Source source
    cdef Target to
    cdef ivec_t shift[7]
    cdef int64_t plane
    cdef vec_t start
    set_source(R, &source, sweep)
    set_target(&to, sweep)
    if paired:
        x += pad
        source.mask[0] = vmask_of(((<int64_t>1 << size) - 1) & sweep.lanes)
        source.mask[1] = vmask_of(((<int64_t>1 << size) - 1 << HALF) & sweep.second_lanes)
        _find_shifts(R, shift, pad, size)
    for plane in range(strip.planes):  # no-cython-lint
        start = vload(bias) if paired else vset(bias[0])
        if step == 2:
            _every_second(masks, vecs, strip, x, w, start, c, &source, &to)
        else:
            _every_row(R, paired, masks, vecs, strip, x, w, start, c, shift, &source, &to)
        x += strip.next_x
        w += strip.next_w
        bias += strip.next_bias
        c += strip.next_c


cdef inline inlined _any_masks(const int step, const int R, const int vecs, bint outer, const Strip *strip, const real_t *x,
                               const real_t *w, const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    if outer:
        _stream(step, R, 0, OUTER, vecs, strip, x, w, bias, c, 0, 0, sweep)
    elif vecs <= 2:
        _stream(step, R, 0, ALL, vecs, strip, x, w, bias, c, 0, 0, sweep)


cdef inline void stream_taps(int64_t step, int64_t R, bint outer, int64_t vecs, const Strip *strip, const real_t *x,
                             const real_t *w, const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    """R x R taps; the stride along H is the step. One or two vectors, and up to four at step 2."""
    if VECS < 2:
        return      # 16 registers do not hold the sums: there is the tile for that
    if step == 2:
        if vecs == 1:
            _any_masks(2, 5, 1, outer, strip, x, w, bias, c, sweep)
        elif vecs == 2:
            _any_masks(2, 5, 2, outer, strip, x, w, bias, c, sweep)
        elif vecs == 3:
            _any_masks(2, 5, 3, outer, strip, x, w, bias, c, sweep)
        else:
            _any_masks(2, 5, 4, outer, strip, x, w, bias, c, sweep)
    elif R == 5 and vecs == 1:
        _any_masks(1, 5, 1, outer, strip, x, w, bias, c, sweep)
    elif R == 5:
        _any_masks(1, 5, 2, outer, strip, x, w, bias, c, sweep)
    elif vecs == 1:
        _any_masks(1, 7, 1, outer, strip, x, w, bias, c, sweep)
    else:
        _any_masks(1, 7, 2, outer, strip, x, w, bias, c, sweep)


cdef inline void stream_pairs(int64_t R, const Strip *strip, const real_t *x, const real_t *w, const real_t *bias, real_t *c,
                              int64_t pad, int64_t size, const Sweep *sweep) noexcept nogil:
    """R x R taps on two planes with rows of ``size`` cells, at most half a vector; ``pad`` cells before them."""
    if VECS < 2:
        return
    if R == 5:
        _stream(1, 5, 1, ALL, 1, strip, x, w, bias, c, pad, size, sweep)
    else:
        _stream(1, 7, 1, ALL, 1, strip, x, w, bias, c, pad, size, sweep)
