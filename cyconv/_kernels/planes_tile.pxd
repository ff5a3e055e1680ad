"""The register tile of the planes kernel: a few rows of outputs, one or two vectors wide, read in place.

    acc[j][v] += w[s, r] * x[row j + r, column s, vector v]         for all taps (r, s) of all input planes

As in ``sliding_tile.pxd``, row ``i`` of the input serves every output row ``j = i - r``, and taps along H come in *runs*
of a compile-time length: those that share input rows. What differs is where x comes from: the image itself. What lies
outside is left out, columns by the masks of the loads, rows by one bit each.

    step = 1            neighbours along W; or channels, where they are neighbours
    step = 2            every second cell: two loads, from which the cells of tap s are picked, and those of tap s + 1
    paired = 1          the lower half of the lanes from one plane, the upper from another: narrow planes
    lanes = 1           each lane has a weight of its own: paired planes and channels

Assumptions (guaranteed by ``_plans/planes.py``): the masks choose only cells inside x and the result; rows without a bit
are not read; weights are finite, so that what is left out would have added a zero. An element of the result is one
chain of multiply-adds, (plane, run, s, r) for step 1 and (plane, run, pair of s, r, s) for step 2, whatever the tile.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.masks cimport HAS_MASKS, vload_chosen, vload_two, vmask_of, vmask_t, vstore_chosen
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
)
from cyconv._kernels.sliding_tile cimport LONGEST_RUN, ROWS, VECS, load_weights
from cyconv._kernels.tile cimport Finish

cdef enum:
    HALF = VL // 2

cdef struct Rows:
    # a row of tiles: first output row, the coordinate of its first input row, the input rows of each run that count
    # (bit i: row i), how many of the output rows
    int64_t out, at, inside, second_inside, count

cdef struct Sweep:
    int64_t planes, columns
    int64_t x_plane, x_row, x_column, x_vec     # offset in x from one plane, row, tap along W, vector to the next
    int64_t x_size, other       # from one coordinate of H to the next, to the second plane of a pair
    int64_t run, second_run     # offset in x of the first tap of each run
    int64_t c_row, c_vec, c_gap, c_other    # in the result: from tile row to tile row, vector, row to row, to the second plane
    int64_t lanes, second_lanes     # bits of the lanes that there are in the first and the second load of a vector
    int64_t c_lanes             # bits of the lanes that are stored, -1 for all of them
    const int64_t *mask         # bits of the lanes inside: [column][vector][load]
    Finish finish


cdef inline inlined _load(const int step, const bint paired, vec_t *x, const real_t *at, int64_t other, vmask_t mask,
                          vmask_t second_mask) noexcept nogil:
    """One vector for one tap, and for step 2 that of the next tap."""
    cdef vec_t a, b
    if step == 2:
        a = vload_chosen(at, mask)
        b = vload_chosen(at + (other if paired else VL), second_mask)
        x[0] = vevery_second(a, b, 0)
        x[1] = vevery_second(a, b, 1)
    elif paired:
        x[0] = vhold(vload_two(at, mask, at + other - HALF, second_mask))
    else:
        x[0] = vhold(vload_chosen(at, mask))


cdef inline inlined _add(const int j, const int vecs, const int taps, vec_t (*acc)[2], vec_t *weight, vec_t *x0,
                         vec_t *x1) noexcept nogil:
    """A row of the input, times its weights for output row ``j``, if the tile has that row."""
    if 0 <= j < ROWS:
        acc[j][0] = acc[j][0] + weight[0] * x0[0]
        if vecs == 2:
            acc[j][1] = acc[j][1] + weight[0] * x1[0]
        if taps == 2:
            acc[j][0] = acc[j][0] + weight[LONGEST_RUN] * x0[1]
            if vecs == 2:
                acc[j][1] = acc[j][1] + weight[LONGEST_RUN] * x1[1]


cdef inline inlined _feed(const int i, const int step, const bint paired, const int vecs, const int taps, const int across,
                          vec_t (*acc)[2], vec_t *weight, const real_t *x, int64_t inside, const vmask_t *mask,
                          const Sweep *sweep) noexcept nogil:
    """Row ``i`` of the input to all output rows that it belongs to; ``across`` taps along W."""
    cdef vec_t x0[2]
    cdef vec_t x1[2]
    if i < ROWS + taps - 1 and inside >> i & 1:
        _load(step, paired, x0, x + i * sweep.x_row, sweep.other, mask[0], mask[1])
        if vecs == 2:
            _load(step, paired, x1, x + i * sweep.x_row + sweep.x_vec, sweep.other, mask[2], mask[3])
        if taps > 0:
            _add(i - 0, vecs, across, acc, weight + 0, x0, x1)
        if taps > 1:
            _add(i - 1, vecs, across, acc, weight + 1, x0, x1)
        if taps > 2:
            _add(i - 2, vecs, across, acc, weight + 2, x0, x1)
        if taps > 3:
            _add(i - 3, vecs, across, acc, weight + 3, x0, x1)
        if taps > 4:
            _add(i - 4, vecs, across, acc, weight + 4, x0, x1)
        if taps > 5:
            _add(i - 5, vecs, across, acc, weight + 5, x0, x1)
        if taps > 6:
            _add(i - 6, vecs, across, acc, weight + 6, x0, x1)
        if taps > 7:
            _add(i - 7, vecs, across, acc, weight + 7, x0, x1)


cdef inline inlined _column(const int step, const bint paired, const bint lanes, const int vecs, const int taps,
                            const int across, vec_t (*acc)[2], const real_t *x, const real_t *w, int64_t inside,
                            const int64_t *bits, const Sweep *sweep) noexcept nogil:
    """One run of taps for one column, or for two of them at once."""
    cdef vec_t weight[2 * LONGEST_RUN]
    cdef vmask_t mask[4]
    mask[0] = vmask_of(bits[0] & sweep.lanes)
    if step == 2 or paired:
        mask[1] = vmask_of(bits[1] & sweep.second_lanes)
    else:
        mask[1] = mask[0]
    if vecs == 2:
        mask[2] = vmask_of(bits[2] & sweep.lanes)
        mask[3] = vmask_of(bits[3] & sweep.second_lanes) if step == 2 else mask[2]
    load_weights(taps, lanes, weight, w)
    if across == 2:
        load_weights(taps, lanes, weight + LONGEST_RUN, w + taps * (VL if lanes else 1))
    _feed(0, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(1, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(2, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(3, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(4, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(5, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(6, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(7, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(8, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(9, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(10, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(11, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(12, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)
    _feed(13, step, paired, vecs, taps, across, acc, weight, x, inside, mask, sweep)


cdef inline inlined _run(const int step, const bint paired, const bint lanes, const int vecs, const int taps,
                         vec_t (*acc)[2], const real_t *x, const real_t *w, int64_t inside, const Sweep *sweep) noexcept nogil:
    """All columns of one run of one plane."""
    cdef int64_t s = 0
    cdef const int64_t *bits = sweep.mask
    if step == 2:
        while s < sweep.columns - 1:
            _column(step, paired, lanes, vecs, taps, 2, acc, x, w, inside, bits, sweep)
            x += 2 * sweep.x_column
            w += 2 * taps * (VL if lanes else 1)
            bits += 8
            s += 2
    while s < sweep.columns:
        _column(step, paired, lanes, vecs, taps, 1, acc, x, w, inside, bits, sweep)
        x += sweep.x_column
        w += taps * (VL if lanes else 1)
        bits += 4
        s += 1


cdef inline inlined _activate(const int j, const int vecs, vec_t (*acc)[2], vec_t slope, vec_t lo, vec_t hi) noexcept nogil:
    acc[j][0] = vactivate(acc[j][0], slope, lo, hi)
    if vecs == 2:
        acc[j][1] = vactivate(acc[j][1], slope, lo, hi)


cdef inline inlined _store(const int j, const bint paired, const int vecs, vec_t (*acc)[2], real_t *c, int64_t count,
                           const Sweep *sweep) noexcept nogil:
    cdef vmask_t mask
    c += j * sweep.c_row
    if j >= count:
        return
    if sweep.c_lanes == -1 and not paired:
        vstore(c, acc[j][0])
        if vecs == 2:
            vstore(c + sweep.c_vec, acc[j][1])
        return
    mask = vmask_of(sweep.c_lanes)
    vstore_chosen(c, acc[j][0], mask)
    if paired:
        vstore_chosen(c + sweep.c_other - HALF, acc[j][0], vmask_of((sweep.c_lanes << HALF) & sweep.second_lanes))
    if vecs == 2:
        vstore_chosen(c + sweep.c_vec, acc[j][1], mask)


cdef inline inlined slide(const int step, const bint paired, const bint lanes, const int vecs, const int taps,
                          const int second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                          const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    """Some tiles, one below the other. ``second_taps`` is 0 when there is one run."""
    cdef vec_t acc[ROWS][2]
    cdef vec_t slope, lo, hi
    cdef int64_t t, plane
    cdef const real_t *x
    cdef const real_t *w
    cdef real_t *c
    for t in range(tiles):  # no-cython-lint
        w = weights
        x = image + rows.at * sweep.x_size
        acc[0][0] = vload(bias) if lanes else vset(bias[0])
        acc[0][1] = acc[0][0]
        acc[1][0] = acc[1][1] = acc[0][0]
        acc[2][0] = acc[2][1] = acc[0][0]
        acc[3][0] = acc[3][1] = acc[0][0]
        acc[4][0] = acc[4][1] = acc[0][0]
        acc[5][0] = acc[5][1] = acc[0][0]
        acc[6][0] = acc[6][1] = acc[0][0]
        for plane in range(sweep.planes):  # no-cython-lint
            _run(step, paired, lanes, vecs, taps, acc, x + sweep.run, w, rows.inside, sweep)
            w += taps * sweep.columns * (VL if lanes else 1)
            if second_taps > 0:
                _run(step, paired, lanes, vecs, second_taps, acc, x + sweep.second_run, w, rows.second_inside, sweep)
                w += second_taps * sweep.columns * (VL if lanes else 1)
            x += sweep.x_plane
        if sweep.finish.active:
            slope, lo, hi = vset(sweep.finish.slope), vset(sweep.finish.lo), vset(sweep.finish.hi)
            _activate(0, vecs, acc, slope, lo, hi)
            _activate(1, vecs, acc, slope, lo, hi)
            _activate(2, vecs, acc, slope, lo, hi)
            _activate(3, vecs, acc, slope, lo, hi)
            _activate(4, vecs, acc, slope, lo, hi)
            _activate(5, vecs, acc, slope, lo, hi)
            _activate(6, vecs, acc, slope, lo, hi)
        c = out + rows.out * sweep.c_gap
        _store(0, paired, vecs, acc, c, rows.count, sweep)
        _store(1, paired, vecs, acc, c, rows.count, sweep)
        _store(2, paired, vecs, acc, c, rows.count, sweep)
        _store(3, paired, vecs, acc, c, rows.count, sweep)
        _store(4, paired, vecs, acc, c, rows.count, sweep)
        _store(5, paired, vecs, acc, c, rows.count, sweep)
        _store(6, paired, vecs, acc, c, rows.count, sweep)
        rows += 1


# ----------------------------------------------------------------------------------------- the tile at run time

ctypedef void (*Slide)(int64_t taps, int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                       const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil


cdef inline inlined _any_run(const int step, const bint paired, const bint lanes, const int vecs, int64_t taps,
                             int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                             const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    """One run, and the pairs that kernels of 3, 5, 7, 11 rows have at stride 2. At step 2 there is no other run than of one."""
    if second_taps == 0 and step == 1:
        if taps == 3:
            slide(step, paired, lanes, vecs, 3, 0, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 5:
            slide(step, paired, lanes, vecs, 5, 0, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 7:
            slide(step, paired, lanes, vecs, 7, 0, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 1:
            slide(step, paired, lanes, vecs, 1, 0, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 2:
            slide(step, paired, lanes, vecs, 2, 0, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 4:
            slide(step, paired, lanes, vecs, 4, 0, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 6:
            slide(step, paired, lanes, vecs, 6, 0, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 8:
            slide(step, paired, lanes, vecs, 8, 0, rows, tiles, image, weights, bias, out, sweep)
    elif step == 2 or lanes and not paired:
        if taps == 2 and second_taps > 0:
            slide(step, paired, lanes, vecs, 2, 1, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 3 and second_taps > 0:
            slide(step, paired, lanes, vecs, 3, 2, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 4 and second_taps > 0:
            slide(step, paired, lanes, vecs, 4, 3, rows, tiles, image, weights, bias, out, sweep)
        elif taps == 6 and second_taps > 0:
            slide(step, paired, lanes, vecs, 6, 5, rows, tiles, image, weights, bias, out, sweep)
        elif step == 2:
            slide(step, paired, lanes, vecs, 1, 0, rows, tiles, image, weights, bias, out, sweep)


cdef inline void _along_1(int64_t taps, int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                     const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    _any_run(1, 0, 0, 1, taps, second_taps, rows, tiles, image, weights, bias, out, sweep)


cdef inline void _along_2(int64_t taps, int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                     const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    _any_run(1, 0, 0, 2, taps, second_taps, rows, tiles, image, weights, bias, out, sweep)


cdef inline void _along_1_pair(int64_t taps, int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                     const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    _any_run(1, 1, 1, 1, taps, second_taps, rows, tiles, image, weights, bias, out, sweep)


cdef inline void _second_1(int64_t taps, int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                     const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    _any_run(2, 0, 0, 1, taps, second_taps, rows, tiles, image, weights, bias, out, sweep)


cdef inline void _second_2(int64_t taps, int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                     const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    _any_run(2, 0, 0, 2, taps, second_taps, rows, tiles, image, weights, bias, out, sweep)


cdef inline void _second_1_pair(int64_t taps, int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                     const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    _any_run(2, 1, 1, 1, taps, second_taps, rows, tiles, image, weights, bias, out, sweep)


cdef inline void _channels_1(int64_t taps, int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                     const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    _any_run(1, 0, 1, 1, taps, second_taps, rows, tiles, image, weights, bias, out, sweep)


cdef inline void _channels_2(int64_t taps, int64_t second_taps, const Rows *rows, int64_t tiles, const real_t *image,
                     const real_t *weights, const real_t *bias, real_t *out, const Sweep *sweep) noexcept nogil:
    _any_run(1, 0, 1, 2, taps, second_taps, rows, tiles, image, weights, bias, out, sweep)


cdef inline Slide pick_tile(int64_t step, bint paired, bint lanes, int64_t vecs) noexcept nogil:
    """The tile of one or two vectors; a pair of planes is always one."""
    if paired and VL > 1 and HAS_MASKS:
        return _second_1_pair if step == 2 else _along_1_pair
    if lanes:
        return _channels_2 if VECS == 2 and vecs == 2 else _channels_1
    if VECS == 2 and vecs == 2:
        return _second_2 if step == 2 else _along_2
    return _second_1 if step == 2 else _along_1
