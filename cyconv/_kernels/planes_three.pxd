"""3 x 3 taps on one plane, or on two side by side, or on channels: down the rows, each input row read once.

The nine weights stay in registers, and three output rows are at work: an input row is the last of one of them, the
middle one of the next, the first of the one behind it. For 9 multiply-adds there are 3 loads and a store; the tile of
``planes_tile.pxd`` would be busy with addresses.

    stride 1:   x row q  ------->  a (row q - 2): taps 2, then stored       stride 2:   even rows end one output and
                         ------->  b (row q - 1): taps 1                                start the next, odd ones are
                         ------->  c (row q):     taps 0                                the middle of one

Step 2 reads two vectors of cells: those of the middle tap are every second, those of the last the others, and those of
the first the same, one lane on.

Assumptions: those of ``planes_tile.pxd``; taps along W are neighbours (``x_column`` apart at step 1), rows too. An element
is one chain over (r, s).
"""
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport vshift
from cyconv._kernels.masks cimport vload_chosen, vload_two, vmask_of, vmask_t, vstore_chosen
from cyconv._kernels.planes_tile cimport HALF, Sweep
from cyconv._kernels.simd cimport (
    VL,
    inlined,
    real_t,
    vactivate,
    vec_t,
    vevery_second,
    vhold,
    vload,
    vset,
    vstore,
    vzero,
)

cdef struct Strip:
    # output rows, coordinate of the first tap of the first of them, cells along H; planes one after the other, and what
    # lies between two of them in x, the weights, the bias, the result
    int64_t rows, at, size, planes, next_x, next_w, next_bias, next_c

cdef struct Target:
    # lanes that are stored, those for the second plane, where it and the second vector lie; the activation
    vmask_t mask, upper
    int64_t other, vec
    bint full, active
    vec_t slope, lo, hi


cdef inline inlined _load(const int step, const bint paired, vec_t *x, const real_t *at, int64_t step_on, int64_t other,
                          vmask_t *mask, bint before) noexcept nogil:
    """One vector for each of the three taps; ``mask`` has two for each of them."""
    cdef vec_t a, b
    if step == 2 and paired:
        a = vload_chosen(at, mask[0])
        b = vload_chosen(at + other, mask[1])
        x[0] = vevery_second(a, b, 0)
        x[1] = vevery_second(a, b, 1)
        x[2] = vevery_second(vload_chosen(at + 2, mask[4]), vload_chosen(at + 2 + other, mask[5]), 0)
    elif step == 2:
        a = vload_chosen(at + 1, mask[2])
        b = vload_chosen(at + 1 + VL, mask[3])
        x[1] = vevery_second(a, b, 0)
        x[2] = vevery_second(a, b, 1)
        x[0] = vshift(vset(at[0]) if before else vzero(), x[2], VL - 1)
    elif paired:
        x[0] = vhold(vload_two(at, mask[0], at + other - HALF, mask[1]))
        x[1] = vhold(vload_two(at + 1, mask[2], at + 1 + other - HALF, mask[3]))
        x[2] = vhold(vload_two(at + 2, mask[4], at + 2 + other - HALF, mask[5]))
    else:
        x[0] = vhold(vload_chosen(at, mask[0]))
        x[1] = vhold(vload_chosen(at + step_on, mask[2]))
        x[2] = vhold(vload_chosen(at + 2 * step_on, mask[4]))


cdef inline inlined _add(const int vecs, vec_t *acc, const vec_t *weight, const vec_t *x0, const vec_t *x1) noexcept nogil:
    """The three taps of a row."""
    acc[0] = acc[0] + weight[0] * x0[0]
    if vecs == 2:
        acc[1] = acc[1] + weight[0] * x1[0]
    acc[0] = acc[0] + weight[1] * x0[1]
    if vecs == 2:
        acc[1] = acc[1] + weight[1] * x1[1]
    acc[0] = acc[0] + weight[2] * x0[2]
    if vecs == 2:
        acc[1] = acc[1] + weight[2] * x1[2]


cdef inline inlined _store(const bint paired, const int vecs, vec_t *acc, real_t *c, const Target *to) noexcept nogil:
    """A row of the result. What is in ``to`` stays in registers, where that of a ``Sweep`` could be what c points to."""
    if to.active:
        acc[0] = vactivate(acc[0], to.slope, to.lo, to.hi)
        if vecs == 2:
            acc[1] = vactivate(acc[1], to.slope, to.lo, to.hi)
    if to.full and not paired:
        vstore(c, acc[0])
        if vecs == 2:
            vstore(c + to.vec, acc[1])
        return
    vstore_chosen(c, acc[0], to.mask)
    if paired:
        vstore_chosen(c + to.other, acc[0], to.upper)
    if vecs == 2:
        vstore_chosen(c + to.vec, acc[1], to.mask)


cdef inline vec_t _weight(const bint lanes, const real_t *w, int at) noexcept nogil:
    return vload(w + at * VL) if lanes else vset(w[at])


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


cdef inline inlined _masks(const bint two_loads, const int vecs, vmask_t *mask, const Sweep *sweep) noexcept nogil:
    """From [tap][vector][load] to [vector][tap][load]; written out, so that they end in registers."""
    mask[0] = vmask_of(sweep.mask[0] & sweep.lanes)
    mask[2] = vmask_of(sweep.mask[4] & sweep.lanes)
    mask[4] = vmask_of(sweep.mask[8] & sweep.lanes)
    if two_loads:
        mask[1] = vmask_of(sweep.mask[1] & sweep.second_lanes)
        mask[3] = vmask_of(sweep.mask[5] & sweep.second_lanes)
        mask[5] = vmask_of(sweep.mask[9] & sweep.second_lanes)
    if vecs == 2:
        mask[6] = vmask_of(sweep.mask[2] & sweep.lanes)
        mask[8] = vmask_of(sweep.mask[6] & sweep.lanes)
        mask[10] = vmask_of(sweep.mask[10] & sweep.lanes)
        if two_loads:
            mask[7] = vmask_of(sweep.mask[3] & sweep.second_lanes)
            mask[9] = vmask_of(sweep.mask[7] & sweep.second_lanes)
            mask[11] = vmask_of(sweep.mask[11] & sweep.second_lanes)


cdef struct Source:
    # from row to row, tap to tap, vector to vector, plane to plane of a pair
    int64_t row, column, vec, other
    vmask_t mask[12]
    bint before[2]


cdef inline inlined _take(const int step, const bint paired, const int vecs, vec_t *x0, vec_t *x1, const real_t *at,
                          Source *source) noexcept nogil:
    """A row of the input, as its three taps see it."""
    _load(step, paired, x0, at, source.column, source.other, source.mask, source.before[0])
    if vecs == 2:
        _load(step, paired, x1, at + source.vec, source.column, source.other, source.mask + 6, source.before[1])


cdef inline inlined _stream_plane(const int step, const bint paired, const int vecs, const Strip *strip, const real_t *x,
                                  vec_t *weight, vec_t start, real_t *c, int64_t c_row, Source *source,
                                  const Target *to) noexcept nogil:
    """Stride 1: the rows of x before the first and behind the last that is inside only pass the accumulators on."""
    cdef vec_t x0[3]
    cdef vec_t x1[3]
    cdef vec_t a[2]
    cdef vec_t b[2]
    cdef vec_t n[2]
    cdef int64_t first = -strip.at
    cdef int64_t end = strip.rows + 2
    cdef int64_t last = min(strip.size - strip.at, end)
    cdef int64_t q = 2
    a[0] = a[1] = b[0] = b[1] = start
    if first <= 0 < last:
        _take(step, paired, vecs, x0, x1, x, source)
        _add(vecs, a, weight, x0, x1)
    x += source.row
    if first <= 1 < last:
        _take(step, paired, vecs, x0, x1, x, source)
        _add(vecs, a, weight + 3, x0, x1)
        _add(vecs, b, weight, x0, x1)
    x += source.row
    while q < last:
        n[0] = n[1] = start
        _take(step, paired, vecs, x0, x1, x, source)
        _add(vecs, a, weight + 6, x0, x1)
        _add(vecs, b, weight + 3, x0, x1)
        _add(vecs, n, weight, x0, x1)
        _store(paired, vecs, a, c, to)
        a[0], a[1] = b[0], b[1]
        b[0], b[1] = n[0], n[1]
        q += 1
        c += c_row
        x += source.row
    while q < end:
        _store(paired, vecs, a, c, to)
        a[0], a[1] = b[0], b[1]
        b[0] = b[1] = start
        q += 1
        c += c_row


cdef inline inlined _stream_half(const int step, const bint paired, const int vecs, const Strip *strip, const real_t *x,
                                 vec_t *weight, vec_t start, real_t *c, int64_t c_row, Source *source,
                                 const Target *to) noexcept nogil:
    """Stride 2."""
    cdef vec_t x0[3]
    cdef vec_t x1[3]
    cdef vec_t a[2]
    cdef vec_t b[2]
    cdef int64_t first = -strip.at
    cdef int64_t last = strip.size - strip.at
    cdef int64_t q = 0
    a[0] = a[1] = start
    if first <= 0 < last:
        _take(step, paired, vecs, x0, x1, x, source)
        _add(vecs, a, weight, x0, x1)
    while q < 2 * strip.rows:
        x += source.row
        if first <= q + 1 < last:
            _take(step, paired, vecs, x0, x1, x, source)
            _add(vecs, a, weight + 3, x0, x1)
        b[0] = b[1] = start
        q += 2
        x += source.row
        if first <= q < last:
            _take(step, paired, vecs, x0, x1, x, source)
            _add(vecs, a, weight + 6, x0, x1)
            _add(vecs, b, weight, x0, x1)
        _store(paired, vecs, a, c, to)
        c += c_row
        a[0], a[1] = b[0], b[1]


cdef inline inlined stream(const int step, const int stride, const bint paired, const bint lanes, const int vecs,
                           const Strip *strip, const real_t *x, const real_t *w, const real_t *bias, real_t *c,
                           const Sweep *sweep) noexcept nogil:
    """One or two vectors of all rows of some planes; x is where the first tap of the first row lies, inside or not."""
    cdef vec_t weight[9]
    cdef vec_t start
    cdef int64_t c_row = sweep.c_row
    cdef int64_t plane
    cdef Source source
    cdef Target to
    source.row, source.column, source.vec, source.other = sweep.x_size, sweep.x_column, sweep.x_vec, sweep.other
    source.before[0], source.before[1] = sweep.mask[0] & 1, sweep.mask[2] & 1
    _masks(step == 2 or paired, vecs, source.mask, sweep)
    to.mask = vmask_of(sweep.c_lanes)
    to.upper = vmask_of((sweep.c_lanes << HALF) & sweep.second_lanes)
    to.other, to.vec = sweep.c_other - HALF, sweep.c_vec
    to.full, to.active = sweep.c_lanes == -1, sweep.finish.active
    to.slope, to.lo, to.hi = vset(sweep.finish.slope), vset(sweep.finish.lo), vset(sweep.finish.hi)
    for plane in range(strip.planes):  # no-cython-lint
        _weights(stride, lanes, weight, w)
        start = vload(bias) if lanes else vset(bias[0])
        if stride == 2:
            _stream_half(step, paired, vecs, strip, x, weight, start, c, c_row, &source, &to)
        else:
            _stream_plane(step, paired, vecs, strip, x, weight, start, c, c_row, &source, &to)
        x += strip.next_x
        w += strip.next_w
        bias += strip.next_bias
        c += strip.next_c


cdef inline void stream_rows(int64_t step, bint paired, int64_t vecs, const Strip *strip, const real_t *x, const real_t *w,
                             const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    """Vectors along W; the stride along H is the step."""
    if step == 1:
        if paired:
            stream(1, 1, 1, 1, 1, strip, x, w, bias, c, sweep)
        elif vecs == 1:
            stream(1, 1, 0, 0, 1, strip, x, w, bias, c, sweep)
        else:
            stream(1, 1, 0, 0, 2, strip, x, w, bias, c, sweep)
    elif paired:
        stream(2, 2, 1, 1, 1, strip, x, w, bias, c, sweep)
    elif vecs == 1:
        stream(2, 2, 0, 0, 1, strip, x, w, bias, c, sweep)
    else:
        stream(2, 2, 0, 0, 2, strip, x, w, bias, c, sweep)


cdef inline void stream_channels(int64_t stride, int64_t vecs, const Strip *strip, const real_t *x, const real_t *w,
                                 const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    """Vectors along the channels."""
    if stride == 1:
        if vecs == 1:
            stream(1, 1, 0, 1, 1, strip, x, w, bias, c, sweep)
        else:
            stream(1, 1, 0, 1, 2, strip, x, w, bias, c, sweep)
    elif vecs == 1:
        stream(1, 2, 0, 1, 1, strip, x, w, bias, c, sweep)
    else:
        stream(1, 2, 0, 1, 2, strip, x, w, bias, c, sweep)
