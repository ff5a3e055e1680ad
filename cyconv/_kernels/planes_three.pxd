"""3 x 3 taps on one plane, or on two side by side, or on channels: down the rows, each input row read once.

The nine weights stay in registers, and three output rows are at work: an input row is the last of one of them, the
middle one of the next, the first of the one behind it. For 9 multiply-adds there are 3 loads and a store; the tile of
``planes_tile.pxd`` would be busy with addresses.

    stride 1:   x row q  ------->  a (row q - 2): taps 2, then stored       stride 2:   even rows end one output and
                         ------->  b (row q - 1): taps 1                                start the next, odd ones are
                         ------->  n (row q):     taps 0                                the middle of one

Step 2 reads two vectors of cells: those of the middle tap are every second, those of the last the others, and those of
the first the same, one lane on.

A load with a mask takes a turn of the multiply-adds too, and so does half of all that is not a vector: inside the image
no row is tested, and where ``masks`` is OUTER only the first tap of the first vector and the last of the last one are
masked.

Assumptions: those of ``planes_tile.pxd``; taps along W are neighbours (``x_column`` apart by channels), rows too; vectors
but for the last one are neighbours; with more than two, and with OUTER, all lanes are stored and no others reach beyond
x. An element is one chain over (r, s).
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport vshift
from cyconv._kernels.masks cimport vload_chosen, vload_two, vmask_of, vmask_t, vstore_chosen
from cyconv._kernels.planes_tile cimport HALF, Sweep
from cyconv._kernels.simd cimport (
    VL,
    hold_pointer,
    inlined,
    prefetch,
    real_t,
    vactivate,
    vec_t,
    vevery_second,
    vhold,
    vload,
    vset,
    vstore,
)
from cyconv._kernels.sliding_tile cimport VECS

cdef enum:
    STREAM_VECS = VECS * VECS   # 4 or 1: three rows of four and the weights fill 32 registers, one and they fill 16

    # bytes, measured: one core and 576 x 14 x 14 take 24.7 us instead of 27.3, 192 x 28 x 28 at stride 2 16.0 instead of
    # 18.7, 96 x 112 x 112 222 instead of 229; 144 x 56 x 56 at stride 1, from the third level, 156 instead of 145
    NEAR = 512
    AHEAD = 2048

cdef enum Masks:
    NONE, OUTER, ALL

cdef struct Strip:
    # output rows, coordinate of the first tap of the first of them, cells along H; planes one after the other, and what
    # lies between two of them in x, the weights, the bias, the result
    int64_t rows, at, size, planes, next_x, next_w, next_bias, next_c

cdef struct Source:
    # from row to row, tap to tap, the first vector to the last, plane to plane of a pair; [tap][first or last][load]
    int64_t row, column, vec, other
    vmask_t mask[28]

cdef struct Target:
    # lanes that are stored, those for the second plane, where it and the last vector lie; the activation
    vmask_t mask, upper
    int64_t other, vec, row
    bint active
    vec_t slope, lo, hi


cdef inline vec_t _cells(const bint masked, const real_t *at, vmask_t mask) noexcept nogil:
    return vhold(vload_chosen(at, mask) if masked else vload(at))


cdef inline inlined _load(const int step, const bint paired, const bint lanes, const int masks, const bint first,
                          const bint last, vec_t *x, const real_t *at, const vmask_t *mask,
                          const Source *source) noexcept nogil:
    """One vector for each of the three taps; ``mask`` has four for each of them, of which the first two are meant."""
    cdef vec_t a, b
    cdef int64_t other = source.other
    cdef int64_t column = source.column if lanes and not paired else 1
    if step == 2 and paired:
        a = vload_chosen(at, mask[0])
        b = vload_chosen(at + other, mask[1])
        x[0] = vevery_second(a, b, 0)
        x[1] = vevery_second(a, b, 1)
        x[2] = vevery_second(vload_chosen(at + 2, mask[8]), vload_chosen(at + 2 + other, mask[9]), 0)
    elif step == 2:
        a = _cells(masks == ALL, at + 1, mask[4])
        b = _cells(masks == ALL or (masks == OUTER and last), at + 1 + VL, mask[5])
        x[1] = vevery_second(a, b, 0)
        x[2] = vevery_second(a, b, 1)
        x[0] = vshift(vload_chosen(at - (VL - 1), mask[0]), x[2], VL - 1)
    elif paired:
        x[0] = vhold(vload_two(at, mask[0], at + other - HALF, mask[1]))
        x[1] = vhold(vload_two(at + 1, mask[4], at + 1 + other - HALF, mask[5]))
        x[2] = vhold(vload_two(at + 2, mask[8], at + 2 + other - HALF, mask[9]))
    else:
        x[0] = _cells(masks == ALL or (masks == OUTER and first), at, mask[0])
        x[1] = _cells(masks == ALL, at + column, mask[4])
        x[2] = _cells(masks == ALL or (masks == OUTER and last), at + 2 * column, mask[8])


cdef inline inlined _add(vec_t *acc, const vec_t *weight, const vec_t *x) noexcept nogil:
    """The three taps of a row."""
    acc[0] = acc[0] + weight[0] * x[0]
    acc[0] = acc[0] + weight[1] * x[1]
    acc[0] = acc[0] + weight[2] * x[2]


cdef inline inlined _ask(const int step, const bint paired, const bint lanes, const int vecs, const char *x) noexcept nogil:
    """Ask for cells that will be read soon. Where stride 1 has several vectors to a row, the processor does it better."""
    if step == 2 and not paired:
        prefetch(x + AHEAD)
        prefetch(x + AHEAD + VL * sizeof(real_t))
    elif step == 1 and vecs == 1 and not paired and not lanes:
        prefetch(x + NEAR)


cdef inline inlined _feed(const int v, const int step, const bint paired, const bint lanes, const int masks, const int vecs,
                          const bint ends, const bint middle, const bint begins, vec_t *a, vec_t *b, vec_t *n,
                          const vec_t *weight, const real_t *x, const Source *source) noexcept nogil:
    """Vector ``v`` of a row of the input to those output rows that it ends, is the middle of, or begins."""
    cdef vec_t taps[3]
    if v < vecs:
        x += source.vec if 0 < v == vecs - 1 else v * VL * step
        _ask(step, paired, lanes, vecs, <const char *>x)
        _load(step, paired, lanes, masks, v == 0, v == vecs - 1, taps, x, source.mask + (2 if v > 0 else 0), source)
        if ends:
            _add(a + v, weight + 6, taps)
        if middle:
            _add(b + v, weight + 3, taps)
        if begins:
            _add(n + v, weight, taps)


cdef inline inlined _take(const int step, const bint paired, const bint lanes, const int masks, const int vecs,
                          const bint ends, const bint middle, const bint begins, vec_t *a, vec_t *b, vec_t *n,
                          const vec_t *weight, const real_t *x, const Source *source) noexcept nogil:
    """A row of the input."""
    _feed(0, step, paired, lanes, masks, vecs, ends, middle, begins, a, b, n, weight, x, source)
    _feed(1, step, paired, lanes, masks, vecs, ends, middle, begins, a, b, n, weight, x, source)
    _feed(2, step, paired, lanes, masks, vecs, ends, middle, begins, a, b, n, weight, x, source)
    _feed(3, step, paired, lanes, masks, vecs, ends, middle, begins, a, b, n, weight, x, source)


cdef inline inlined _set(const int vecs, vec_t *acc, const vec_t *v, int64_t next_v) noexcept nogil:
    """Accumulators of a row: all the same (``next_v`` 0) or those of another one."""
    acc[0] = v[0]
    if vecs > 1:
        acc[1] = v[next_v]
    if vecs > 2:
        acc[2] = v[2 * next_v]
    if vecs > 3:
        acc[3] = v[3 * next_v]


cdef inline inlined _put(const int v, const bint paired, const int masks, const int vecs, const vec_t *acc, real_t *c,
                         const Target *to) noexcept nogil:
    cdef vec_t result
    if v < vecs:
        c += to.vec if 0 < v == vecs - 1 else v * VL
        result = vactivate(acc[v], to.slope, to.lo, to.hi) if to.active else acc[v]
        if masks == ALL:
            vstore_chosen(c, result, to.mask)
        else:
            vstore(c, result)
        if paired:
            vstore_chosen(c + to.other, result, to.upper)


cdef inline inlined put_row(const bint paired, const int masks, const int vecs, const vec_t *acc, real_t *c,
                            const Target *to) noexcept nogil:
    """A row of the result. What is in ``to`` stays in registers, where that of a ``Sweep`` could be what c points to."""
    _put(0, paired, masks, vecs, acc, c, to)
    _put(1, paired, masks, vecs, acc, c, to)
    _put(2, paired, masks, vecs, acc, c, to)
    _put(3, paired, masks, vecs, acc, c, to)


cdef inline inlined _stream_plane(const int step, const bint paired, const bint lanes, const int masks, const int vecs,
                                  const Strip *strip, const real_t *x, const vec_t *weight, const vec_t *start, real_t *c,
                                  const Source *source, const Target *to) noexcept nogil:
    """Stride 1: the rows of x before the first and behind the last that is inside only pass the accumulators on."""
    cdef vec_t a[4]
    cdef vec_t b[4]
    cdef vec_t n[4]
    cdef int64_t first = -strip.at
    cdef int64_t end = strip.rows + 2
    cdef int64_t last = min(strip.size - strip.at, end)
    cdef int64_t q = 2
    _set(vecs, a, start, 0)
    _set(vecs, b, start, 0)
    if first <= 0 < last:
        _take(step, paired, lanes, masks, vecs, 0, 0, 1, a, a, a, weight, x, source)
    x += source.row
    if first <= 1 < last:
        _take(step, paired, lanes, masks, vecs, 0, 1, 1, a, a, b, weight, x, source)
    x += source.row
    while q < last:
        _set(vecs, n, start, 0)
        _take(step, paired, lanes, masks, vecs, 1, 1, 1, a, b, n, weight, x, source)
        put_row(paired, masks, vecs, a, c, to)
        _set(vecs, a, b, 1)
        _set(vecs, b, n, 1)
        q += 1
        c += to.row
        x = hold_pointer(x + source.row)
    while q < end:
        put_row(paired, masks, vecs, a, c, to)
        _set(vecs, a, b, 1)
        _set(vecs, b, start, 0)
        q += 1
        c += to.row


cdef inline inlined _stream_half(const int step, const bint paired, const bint lanes, const int masks, const int vecs,
                                 const Strip *strip, const real_t *x, const vec_t *weight, const vec_t *start, real_t *c,
                                 const Source *source, const Target *to) noexcept nogil:
    """Stride 2: the middle and the last row of each output; those of the first and the last outputs may lie outside."""
    cdef vec_t a[4]
    cdef vec_t n[4]
    cdef int64_t first = -strip.at
    cdef int64_t last = strip.size - strip.at
    cdef int64_t inside = min(strip.rows, (last - 1) // 2 if last > 0 else 0)
    cdef int64_t q = 0
    _set(vecs, a, start, 0)
    if first <= 0 < last:
        _take(step, paired, lanes, masks, vecs, 0, 0, 1, a, a, a, weight, x, source)
    while q < strip.rows:
        _set(vecs, n, start, 0)
        if first <= 2 * q + 1 < last:
            _take(step, paired, lanes, masks, vecs, 0, 1, 0, a, a, n, weight, x + source.row, source)
        if first <= 2 * q + 2 < last:
            _take(step, paired, lanes, masks, vecs, 1, 0, 1, a, a, n, weight, x + 2 * source.row, source)
        put_row(paired, masks, vecs, a, c, to)
        _set(vecs, a, n, 1)
        q += 1
        c += to.row
        x += 2 * source.row
        while q < inside:
            _set(vecs, n, start, 0)
            _take(step, paired, lanes, masks, vecs, 0, 1, 0, a, a, n, weight, x + source.row, source)
            x = hold_pointer(x + 2 * source.row)
            _take(step, paired, lanes, masks, vecs, 1, 0, 1, a, a, n, weight, x, source)
            put_row(paired, masks, vecs, a, c, to)
            _set(vecs, a, n, 1)
            q += 1
            c += to.row


cdef inline vec_t _weight(const bint lanes, const real_t *w, int at) noexcept nogil:
    return vhold(vload(w + at * VL) if lanes else vset(w[at]))


cdef inline inlined _weights(const int stride, const bint lanes, vec_t *weight, const real_t *w) noexcept nogil:
    """In the order (r, s); in memory they are (run, s, r), the runs of stride 2 being rows 0 and 2, and row 1."""
    if stride == 1:
        weight[0], weight[1], weight[2] = _weight(lanes, w, 0), _weight(lanes, w, 3), _weight(lanes, w, 6)
        weight[3], weight[4], weight[5] = _weight(lanes, w, 1), _weight(lanes, w, 4), _weight(lanes, w, 7)
        weight[6], weight[7], weight[8] = _weight(lanes, w, 2), _weight(lanes, w, 5), _weight(lanes, w, 8)
    else:
        weight[0], weight[1], weight[2] = _weight(lanes, w, 0), _weight(lanes, w, 2), _weight(lanes, w, 4)
        weight[3], weight[4], weight[5] = _weight(lanes, w, 6), _weight(lanes, w, 7), _weight(lanes, w, 8)
        weight[6], weight[7], weight[8] = _weight(lanes, w, 1), _weight(lanes, w, 3), _weight(lanes, w, 5)


cdef inline inlined _masks(const int tap, vmask_t *mask, const Sweep *sweep) noexcept nogil:
    mask[4 * tap] = vmask_of(sweep.mask[4 * tap] & sweep.lanes)
    mask[4 * tap + 1] = vmask_of(sweep.mask[4 * tap + 1] & sweep.second_lanes)
    mask[4 * tap + 2] = vmask_of(sweep.mask[4 * tap + 2] & sweep.lanes)
    mask[4 * tap + 3] = vmask_of(sweep.mask[4 * tap + 3] & sweep.second_lanes)


cdef inline inlined set_source(const int taps, Source *source, const Sweep *sweep) noexcept nogil:
    """Written out, so that masks end in registers."""
    source.row, source.column, source.vec, source.other = sweep.x_size, sweep.x_column, sweep.x_vec, sweep.other
    _masks(0, source.mask, sweep)
    _masks(1, source.mask, sweep)
    _masks(2, source.mask, sweep)
    if taps > 3:
        _masks(3, source.mask, sweep)
        _masks(4, source.mask, sweep)
    if taps > 5:
        _masks(5, source.mask, sweep)
        _masks(6, source.mask, sweep)


cdef inline inlined set_target(Target *to, const Sweep *sweep) noexcept nogil:
    to.mask = vmask_of(sweep.c_lanes)
    to.upper = vmask_of((sweep.c_lanes << HALF) & sweep.second_lanes)
    to.other, to.vec, to.row = sweep.c_other - HALF, sweep.c_vec, sweep.c_row
    to.active = sweep.finish.active
    to.slope, to.lo, to.hi = vset(sweep.finish.slope), vset(sweep.finish.lo), vset(sweep.finish.hi)


cdef inline inlined stream(const int step, const int stride, const bint paired, const bint lanes, const int masks,
                           const int vecs, const Strip *strip, const real_t *x, const real_t *w, const real_t *bias,
                           real_t *c, const Sweep *sweep) noexcept nogil:
    """Some vectors of all rows of some planes; x is where the first tap of the first row lies, inside or not."""
    cdef vec_t weight[9]
    cdef vec_t start
    cdef int64_t plane
    cdef Source source
    cdef Target to
    set_source(3, &source, sweep)
    set_target(&to, sweep)
    if step == 2 and not paired:
        # of the first tap only the first cell, read as the last lane
        source.mask[0] = vmask_of((sweep.mask[0] & 1) << (VL - 1))
        source.mask[2] = vmask_of((sweep.mask[2] & 1) << (VL - 1))
    for plane in range(strip.planes):  # no-cython-lint
        _weights(stride, lanes, weight, w)
        start = vhold(vload(bias) if lanes else vset(bias[0]))
        if stride == 2:
            _stream_half(step, paired, lanes, masks, vecs, strip, x, weight, &start, c, &source, &to)
        else:
            _stream_plane(step, paired, lanes, masks, vecs, strip, x, weight, &start, c, &source, &to)
        x += strip.next_x
        w += strip.next_w
        bias += strip.next_bias
        c += strip.next_c


cdef inline inlined _stream_outer(const int step, int64_t vecs, const Strip *strip, const real_t *x, const real_t *w,
                                  const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    if STREAM_VECS == 4 and vecs == 4:
        stream(step, step, 0, 0, OUTER, 4, strip, x, w, bias, c, sweep)
    elif STREAM_VECS == 4 and vecs == 3:
        stream(step, step, 0, 0, OUTER, 3, strip, x, w, bias, c, sweep)
    elif STREAM_VECS == 4 and vecs == 2:
        stream(step, step, 0, 0, OUTER, 2, strip, x, w, bias, c, sweep)
    else:
        stream(step, step, 0, 0, OUTER, 1, strip, x, w, bias, c, sweep)


cdef inline void stream_rows(int64_t step, bint paired, bint outer, int64_t vecs, const Strip *strip, const real_t *x,
                             const real_t *w, const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    """Vectors along W; the stride along H is the step."""
    if step == 1:
        if paired:
            stream(1, 1, 1, 1, ALL, 1, strip, x, w, bias, c, sweep)
        elif outer:
            _stream_outer(1, vecs, strip, x, w, bias, c, sweep)
        elif STREAM_VECS == 4 and vecs == 2:
            stream(1, 1, 0, 0, ALL, 2, strip, x, w, bias, c, sweep)
        else:
            stream(1, 1, 0, 0, ALL, 1, strip, x, w, bias, c, sweep)
    elif paired:
        stream(2, 2, 1, 1, ALL, 1, strip, x, w, bias, c, sweep)
    elif outer:
        _stream_outer(2, vecs, strip, x, w, bias, c, sweep)
    elif STREAM_VECS == 4 and vecs == 2:
        stream(2, 2, 0, 0, ALL, 2, strip, x, w, bias, c, sweep)
    else:
        stream(2, 2, 0, 0, ALL, 1, strip, x, w, bias, c, sweep)


cdef inline bint _whole(int64_t vecs, const Sweep *sweep) noexcept nogil:
    """Whether no lane of any tap reaches beyond x: by channels a tap is inside as a whole, or it is not."""
    return (sweep.lanes & sweep.mask[0] & sweep.mask[4] & sweep.mask[8]
            & (sweep.mask[2] & sweep.mask[6] & sweep.mask[10] if vecs > 1 else -1)) == -1


cdef inline void stream_channels(int64_t stride, int64_t vecs, const Strip *strip, const real_t *x, const real_t *w,
                                 const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    """Vectors along the channels."""
    cdef bint whole = _whole(vecs, sweep)
    if stride == 1:
        if vecs == 1 and whole:
            stream(1, 1, 0, 1, NONE, 1, strip, x, w, bias, c, sweep)
        elif vecs == 1:
            stream(1, 1, 0, 1, ALL, 1, strip, x, w, bias, c, sweep)
        elif whole:
            stream(1, 1, 0, 1, NONE, 2, strip, x, w, bias, c, sweep)
        else:
            stream(1, 1, 0, 1, ALL, 2, strip, x, w, bias, c, sweep)
    elif vecs == 1 and whole:
        stream(1, 2, 0, 1, NONE, 1, strip, x, w, bias, c, sweep)
    elif vecs == 1:
        stream(1, 2, 0, 1, ALL, 1, strip, x, w, bias, c, sweep)
    elif whole:
        stream(1, 2, 0, 1, NONE, 2, strip, x, w, bias, c, sweep)
    else:
        stream(1, 2, 0, 1, ALL, 2, strip, x, w, bias, c, sweep)
