"""The register tile of the sliding kernel: a few rows of outputs, one or two vectors wide, of one output channel.

    acc[j][v] += w[s, r] * x[row j + r, column s, vector v]         for all taps (r, s) of all input planes

Row ``i`` of the input serves every output row ``j = i - r``, so a vector that was loaded once is multiplied up to
``taps`` times: ``rows + taps - 1`` loads for ``rows * taps`` multiply-adds. Taps along H come in *runs*, whose length is
a compile-time constant, as are the number of rows and of vectors; one pass over the input has one run or two.

         x row 0   ------->  acc 0                        a run of 3 taps on a tile of 4 rows:
         x row 1   ------->  acc 0, acc 1                 6 loads, 12 multiply-adds
         x row 2   ------->  acc 0, acc 1, acc 2
         x row 3   ------->  acc 1, acc 2, acc 3
         x row 4   ------->  acc 2, acc 3
         x row 5   ------->  acc 3

A vector is either VL neighbours along W, with one weight for all lanes (``lanes = 0``), or VL channels, each with a
weight of its own (``lanes = 1``).

Everything is written out instead of looped: only then do the accumulators start and end in registers, for loops of
this size are unrolled by compilers too late or not at all. ``vhold`` keeps a loaded vector in a register, where
compilers would rather load it again for each use.

Assumptions (guaranteed by ``_plans/sliding.py``): x is readable and c writeable wherever rows, columns, planes and
vectors lead; ``w`` holds the weights in the order of use. An element of the result is one chain of multiply-adds in
that order, which does not depend on rows, vecs or the threads.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport (
    REGISTERS,
    VL,
    inlined,
    real_t,
    vactivate,
    vec_t,
    vhold,
    vload,
    vset,
    vstore,
)
from cyconv._kernels.tile cimport Finish

cdef enum:
    ROWS = 7                # planes of the usual networks are 7, 14, 28, 56, 112 rows high
    VECS = REGISTERS // 16  # with 16 registers, two vectors leave no room for the weights
    LONGEST_RUN = 8

cdef struct Sweep:
    const int64_t *plane    # offset in x of each input plane (channel, depth tap)
    const int64_t *column   # offset in x of each tap along W
    int64_t planes, columns
    int64_t x_row, x_vec    # offset from one row of the tile to the next, from the first vector to the second
    int64_t c_row, c_vec    # the same in the result
    int64_t next_x, next_w, next_bias, next_c   # from one tile to the next
    int64_t run, second_run     # offset in x of the first tap of each run
    bint fresh, last        # start at the bias, else at what c holds; end with the activation
    Finish finish


cdef inline inlined _add(const int j, const int rows, const int vecs, vec_t (*acc)[2], vec_t weight, vec_t x0,
                         vec_t x1) noexcept nogil:
    """A row of the input, times its weight for output row ``j``, if the tile has that row."""
    if 0 <= j < rows:
        acc[j][0] = acc[j][0] + weight * x0
        if vecs == 2:
            acc[j][1] = acc[j][1] + weight * x1


cdef inline inlined _feed(const int i, const int rows, const int vecs, const int taps, vec_t (*acc)[2],
                          const vec_t *weight, const real_t *x, const Sweep *sweep) noexcept nogil:
    """Row ``i`` of the input to all output rows that it belongs to."""
    cdef vec_t x0, x1
    if i < rows + taps - 1:
        x0 = vhold(vload(x + i * sweep.x_row))
        x1 = vhold(vload(x + i * sweep.x_row + sweep.x_vec)) if vecs == 2 else x0
        if taps > 0:
            _add(i - 0, rows, vecs, acc, weight[0], x0, x1)
        if taps > 1:
            _add(i - 1, rows, vecs, acc, weight[1], x0, x1)
        if taps > 2:
            _add(i - 2, rows, vecs, acc, weight[2], x0, x1)
        if taps > 3:
            _add(i - 3, rows, vecs, acc, weight[3], x0, x1)
        if taps > 4:
            _add(i - 4, rows, vecs, acc, weight[4], x0, x1)
        if taps > 5:
            _add(i - 5, rows, vecs, acc, weight[5], x0, x1)
        if taps > 6:
            _add(i - 6, rows, vecs, acc, weight[6], x0, x1)
        if taps > 7:
            _add(i - 7, rows, vecs, acc, weight[7], x0, x1)


cdef inline inlined load_weights(const int taps, const bint lanes, vec_t *weight, const real_t *w) noexcept nogil:
    """Those of a run: one for all lanes, or each lane its own."""
    if taps > 0:
        weight[0] = vload(w + 0 * VL) if lanes else vset(w[0])
    if taps > 1:
        weight[1] = vload(w + 1 * VL) if lanes else vset(w[1])
    if taps > 2:
        weight[2] = vload(w + 2 * VL) if lanes else vset(w[2])
    if taps > 3:
        weight[3] = vload(w + 3 * VL) if lanes else vset(w[3])
    if taps > 4:
        weight[4] = vload(w + 4 * VL) if lanes else vset(w[4])
    if taps > 5:
        weight[5] = vload(w + 5 * VL) if lanes else vset(w[5])
    if taps > 6:
        weight[6] = vload(w + 6 * VL) if lanes else vset(w[6])
    if taps > 7:
        weight[7] = vload(w + 7 * VL) if lanes else vset(w[7])


cdef inline inlined _run(const int rows, const int vecs, const int taps, const bint lanes, vec_t (*acc)[2],
                         const real_t *x, const real_t *w, const Sweep *sweep) noexcept nogil:
    """One run of taps for one column."""
    cdef vec_t weight[LONGEST_RUN]
    load_weights(taps, lanes, weight, w)
    _feed(0, rows, vecs, taps, acc, weight, x, sweep)
    _feed(1, rows, vecs, taps, acc, weight, x, sweep)
    _feed(2, rows, vecs, taps, acc, weight, x, sweep)
    _feed(3, rows, vecs, taps, acc, weight, x, sweep)
    _feed(4, rows, vecs, taps, acc, weight, x, sweep)
    _feed(5, rows, vecs, taps, acc, weight, x, sweep)
    _feed(6, rows, vecs, taps, acc, weight, x, sweep)
    _feed(7, rows, vecs, taps, acc, weight, x, sweep)
    _feed(8, rows, vecs, taps, acc, weight, x, sweep)
    _feed(9, rows, vecs, taps, acc, weight, x, sweep)
    _feed(10, rows, vecs, taps, acc, weight, x, sweep)
    _feed(11, rows, vecs, taps, acc, weight, x, sweep)
    _feed(12, rows, vecs, taps, acc, weight, x, sweep)
    _feed(13, rows, vecs, taps, acc, weight, x, sweep)


cdef inline inlined _start(const int j, const int rows, const int vecs, vec_t (*acc)[2], vec_t bias, const real_t *c,
                           const Sweep *sweep) noexcept nogil:
    if j < rows:
        acc[j][0] = bias if sweep.fresh else vload(c + j * sweep.c_row)
        if vecs == 2:
            acc[j][1] = bias if sweep.fresh else vload(c + j * sweep.c_row + sweep.c_vec)


cdef inline inlined _activate(const int j, const int rows, const int vecs, vec_t (*acc)[2], vec_t slope, vec_t lo,
                              vec_t hi) noexcept nogil:
    if j < rows:
        acc[j][0] = vactivate(acc[j][0], slope, lo, hi)
        if vecs == 2:
            acc[j][1] = vactivate(acc[j][1], slope, lo, hi)


cdef inline inlined _store(const int j, const int rows, const int vecs, vec_t (*acc)[2], real_t *c,
                           const Sweep *sweep) noexcept nogil:
    if j < rows:
        vstore(c + j * sweep.c_row, acc[j][0])
        if vecs == 2:
            vstore(c + j * sweep.c_row + sweep.c_vec, acc[j][1])


cdef inline inlined slide(const int rows, const int vecs, const int taps, const int second_taps, const bint lanes,
                          int64_t tiles, const real_t *x, const real_t *weights, const real_t *bias, real_t *c,
                          const Sweep *sweep) noexcept nogil:
    """One pass over all planes for each of some tiles. ``second_taps`` is 0 when the pass has one run."""
    cdef vec_t acc[ROWS][2]
    cdef vec_t start, slope, lo, hi
    cdef int unit = VL if lanes else 1
    cdef int64_t t, plane, s
    cdef const real_t *xp
    cdef const real_t *w
    for t in range(tiles):  # no-cython-lint
        w = weights
        start = vload(bias) if lanes else vset(bias[0])
        _start(0, rows, vecs, acc, start, c, sweep)
        _start(1, rows, vecs, acc, start, c, sweep)
        _start(2, rows, vecs, acc, start, c, sweep)
        _start(3, rows, vecs, acc, start, c, sweep)
        _start(4, rows, vecs, acc, start, c, sweep)
        _start(5, rows, vecs, acc, start, c, sweep)
        _start(6, rows, vecs, acc, start, c, sweep)
        for plane in range(sweep.planes):
            xp = x + sweep.plane[plane] + sweep.run
            for s in range(sweep.columns):
                _run(rows, vecs, taps, lanes, acc, xp + sweep.column[s], w, sweep)
                w += taps * unit
            if second_taps > 0:
                xp = x + sweep.plane[plane] + sweep.second_run
                for s in range(sweep.columns):
                    _run(rows, vecs, second_taps, lanes, acc, xp + sweep.column[s], w, sweep)
                    w += second_taps * unit
        if sweep.last and sweep.finish.active:
            slope, lo, hi = vset(sweep.finish.slope), vset(sweep.finish.lo), vset(sweep.finish.hi)
            _activate(0, rows, vecs, acc, slope, lo, hi)
            _activate(1, rows, vecs, acc, slope, lo, hi)
            _activate(2, rows, vecs, acc, slope, lo, hi)
            _activate(3, rows, vecs, acc, slope, lo, hi)
            _activate(4, rows, vecs, acc, slope, lo, hi)
            _activate(5, rows, vecs, acc, slope, lo, hi)
            _activate(6, rows, vecs, acc, slope, lo, hi)
        _store(0, rows, vecs, acc, c, sweep)
        _store(1, rows, vecs, acc, c, sweep)
        _store(2, rows, vecs, acc, c, sweep)
        _store(3, rows, vecs, acc, c, sweep)
        _store(4, rows, vecs, acc, c, sweep)
        _store(5, rows, vecs, acc, c, sweep)
        _store(6, rows, vecs, acc, c, sweep)
        x += sweep.next_x
        weights += sweep.next_w
        bias += sweep.next_bias
        c += sweep.next_c


# ----------------------------------------------------------------------------------------- the tile at run time

ctypedef void (*Slide)(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                       const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil


cdef inline inlined _slide_runs(const int rows, const int vecs, const bint lanes, int64_t taps, int64_t second_taps,
                                int64_t tiles, const real_t *x, const real_t *w, const real_t *bias, real_t *c,
                                const Sweep *sweep) noexcept nogil:
    """Any single run, and the pairs that kernels of 3, 5, 7, 11 rows have at stride 2 (11 at stride 1 as well)."""
    if second_taps == 0:
        if taps == 3:
            slide(rows, vecs, 3, 0, lanes, tiles, x, w, bias, c, sweep)
        elif taps == 5:
            slide(rows, vecs, 5, 0, lanes, tiles, x, w, bias, c, sweep)
        elif taps == 7:
            slide(rows, vecs, 7, 0, lanes, tiles, x, w, bias, c, sweep)
        elif taps == 1:
            slide(rows, vecs, 1, 0, lanes, tiles, x, w, bias, c, sweep)
        elif taps == 2:
            slide(rows, vecs, 2, 0, lanes, tiles, x, w, bias, c, sweep)
        elif taps == 4:
            slide(rows, vecs, 4, 0, lanes, tiles, x, w, bias, c, sweep)
        elif taps == 6:
            slide(rows, vecs, 6, 0, lanes, tiles, x, w, bias, c, sweep)
        elif taps == 8:
            slide(rows, vecs, 8, 0, lanes, tiles, x, w, bias, c, sweep)
    elif taps == 2:
        slide(rows, vecs, 2, 1, lanes, tiles, x, w, bias, c, sweep)
    elif taps == 3:
        slide(rows, vecs, 3, 2, lanes, tiles, x, w, bias, c, sweep)
    elif taps == 4:
        slide(rows, vecs, 4, 3, lanes, tiles, x, w, bias, c, sweep)
    elif taps == 6:
        slide(rows, vecs, 6, 5, lanes, tiles, x, w, bias, c, sweep)


cdef inline void _slide_fullx2(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                     const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    _slide_runs(ROWS, 2, 0, taps, second_taps, tiles, x, w, bias, c, sweep)


cdef inline void _slide_fullx1(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                     const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    _slide_runs(ROWS, 1, 0, taps, second_taps, tiles, x, w, bias, c, sweep)


cdef inline void _slide_4x2(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                     const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    _slide_runs(4, 2, 0, taps, second_taps, tiles, x, w, bias, c, sweep)


cdef inline void _slide_4x1(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                     const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    _slide_runs(4, 1, 0, taps, second_taps, tiles, x, w, bias, c, sweep)


cdef inline void _slide_1x2(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                     const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    _slide_runs(1, 2, 0, taps, second_taps, tiles, x, w, bias, c, sweep)


cdef inline void _slide_1x1(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                     const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    _slide_runs(1, 1, 0, taps, second_taps, tiles, x, w, bias, c, sweep)


cdef inline void _slide_channels_full(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                     const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    _slide_runs(ROWS, 1, 1, taps, second_taps, tiles, x, w, bias, c, sweep)


cdef inline void _slide_channels_4(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                     const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    _slide_runs(4, 1, 1, taps, second_taps, tiles, x, w, bias, c, sweep)


cdef inline void _slide_channels_1(int64_t taps, int64_t second_taps, int64_t tiles, const real_t *x, const real_t *w,
                     const real_t *bias, real_t *c, const Sweep *sweep) noexcept nogil:
    _slide_runs(1, 1, 1, taps, second_taps, tiles, x, w, bias, c, sweep)


cdef inline Slide pick_tile(int64_t rows, int64_t vecs, bint lanes) noexcept nogil:
    """The tile of so many rows (ROWS, 4 or 1) and vectors (1 to VECS; by channels always 1)."""
    if lanes:
        return _slide_channels_full if rows == ROWS else _slide_channels_4 if rows == 4 else _slide_channels_1
    if VECS == 2 and vecs == 2:
        return _slide_fullx2 if rows == ROWS else _slide_4x2 if rows == 4 else _slide_1x2
    return _slide_fullx1 if rows == ROWS else _slide_4x1 if rows == 4 else _slide_1x1
