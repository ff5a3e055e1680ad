"""The register tile: ``C[rows, vecs * VL] (+)= A[rows, depth] x B[depth, vecs * VL]``.

Everything dense goes through here, and this is where the peak is reached. ``rows`` and ``vecs`` are compile-time
constants at every call (the functions are expanded in place), so that the ``rows * vecs`` accumulators live in
registers; each step of the inner loop is ``vecs`` loads of B, ``rows`` broadcasts of A and ``rows * vecs``
multiply-adds.

            B   k0 [ b b b b | b b b b ]            A panel: depth x rows, ``a[k * rows + i]``
                k1 [ b b b b | b b b b ]            B panel: depth x vecs * VL, ``b[k * ldb + j]``
      A     ..                                      C tile:  ``c[i * ldc + j]``
    a a ..  ->  C [ acc  acc ]
    a a ..      C [ acc  acc ]

Assumptions (checked by nobody below floor 2, guaranteed by the packing):
  * ``a`` holds ``depth * rows`` scalars, ``b`` ``(depth - 1) * ldb + vecs * VL``; no alignment is needed.
  * ``c`` has room for ``vecs * VL`` scalars in each of its ``rows`` rows.
  * an element of C is one chain of multiply-adds in the order of k: it does not depend on rows, vecs or the threads.
"""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport (REGISTERS, TILE_ROWS, VL, assume, hold_pointer, inlined, prefetch, prefetch_far,
                                   real_t, vactivate, vec_t, vload, vset, vstore)

cdef enum:
    TILE_VECS = 2
    # a tile of few rows may have three or four vectors where one operand is read as it lies: so many rows, whose
    # accumulators leave registers for the vectors and a broadcast
    ROWS_OF_THREE = (REGISTERS - 4) // 3
    ROWS_OF_FOUR = (REGISTERS - 5) // 4
    MOST_COLUMN_VECS = 3

    # which operand is not packed: its rows are ``step`` scalars apart, or lie where ``offset`` says
    NEITHER = 0
    B_STEPS = 1
    B_ROWS = 2
    A_STEPS = 3
    A_ROWS = 4
    # the same, its scalars being every second one
    A_SPREAD_ROWS = 5

    # steps ahead at which that operand is asked for, or a few more
    SOON = 16

    # steps of what is asked for in one piece
    FOREVER = 1 << 30

    # Rows of a tile of two vectors whose scalar is broadcast to a register for both; the multiply-adds of further rows
    # read it from memory, each by itself. That is an operation less and a load more: a step of 14 rows takes 14 cycles of
    # multiply-adds; of its operations, 50 but for these rows, two threads on a core get three through in a cycle each. (3x3
    # and 1x1, 64 to 512 channels: 2 to 8 % with another thread on the core; without it equal, but 1x1 of 160 channels and
    # more, where A and B fill the first-level cache, take 3 to 5 % longer, which two steps at a time win back.)
    BROADCAST_ROWS = 8


cdef struct Finish:
    # v < 0 ? slope * v : v, then clipped to [lo, hi]; skipped unless ``active``
    int64_t active
    real_t slope, lo, hi


cdef struct Start:
    # where the accumulators come from: element (i, j) of the tile starts at ``data[i * row + j * column]``, vector-wise
    const real_t *data
    Py_ssize_t row, column
    # what a later tile wants from beyond the second-level cache: asked for ``ahead_step`` bytes further at each step; if
    # both operands are packed, from the middle on, too, so that the cache's own prefetching follows two runs at a time
    # (512x7x7 among other layers, with a frequency of 64 KiB ahead: one run 1.60 ms, two 1.48)
    const char *ahead
    Py_ssize_t ahead_step
    # if one operand is not packed, what is asked for may lie in pieces: after each ``ahead_steps``, an even number of them,
    # it goes on ``ahead_jump`` bytes further
    Py_ssize_t ahead_steps, ahead_jump


cdef struct Places:
    # where those of the operand lie that is not packed: ``offset`` scalars further on, or if that is NULL, ``step``; and
    # how much further on those of SOON steps later are. An offset is a load at each step, of the 20 that a tile of 14 rows
    # has, and looking for that of a later step one more (5 to 10 % where another thread shares the core)
    const int64_t *offset
    Py_ssize_t step, soon


cdef inline Start start_at_rows(const real_t *bias) noexcept nogil:
    """Start at a bias per row, each repeated over a whole vector: ``bias[i * VL + lane]``."""
    return Start(bias, VL, 0, <const char *>bias, 0, FOREVER, 0)


cdef inline Start start_at_columns(const real_t *bias) noexcept nogil:
    """Start at a bias per column."""
    return Start(bias, 0, VL, <const char *>bias, 0, FOREVER, 0)


cdef inline Start start_at_result(const real_t *c, Py_ssize_t ldc) noexcept nogil:
    """Go on from what C holds."""
    return Start(c, ldc, VL, <const char *>c, 0, FOREVER, 0)


cdef struct Cursor:
    # where the next step reads: A, B, and what it asks for
    const real_t *a
    const real_t *b
    const char *ahead


cdef inline inlined _multiply(const int rows, const int vecs, const int reread, const int apart, const int at,
                              Cursor *cursor, const real_t *b, vec_t *acc0, vec_t *acc1, vec_t *acc2,
                              vec_t *acc3) noexcept nogil:
    """One step: the scalars from ``cursor.a[at]`` on times the row of B at ``b``."""
    cdef vec_t av, b0, b1, b2, b3
    cdef int i
    b0 = vload(b)
    if vecs > 1:
        b1 = vload(b + VL)
    if vecs > 2:
        b2 = vload(b + 2 * VL)
    if vecs > 3:
        b3 = vload(b + 3 * VL)
    for i in range(reread):
        acc0[i] = acc0[i] + vset(cursor.a[at + i * apart]) * b0
    if reread:
        cursor.a = hold_pointer(cursor.a)  # or the compiler would keep what was read
    for i in range(reread):
        acc1[i] = acc1[i] + vset(cursor.a[at + i * apart]) * b1
    for i in range(reread, rows):
        av = vset(cursor.a[at + i * apart])
        acc0[i] = acc0[i] + av * b0
        if vecs > 1:
            acc1[i] = acc1[i] + av * b1
        if vecs > 2:
            acc2[i] = acc2[i] + av * b2
        if vecs > 3:
            acc3[i] = acc3[i] + av * b3


cdef inline inlined _advance(const int steps, const int rows, const int vecs, const int indexed, Py_ssize_t k,
                             Cursor *cursor, const real_t *a, const real_t *b, Py_ssize_t ldb, const Places *places,
                             Py_ssize_t ahead_step, Py_ssize_t depth, vec_t *acc0, vec_t *acc1, vec_t *acc2,
                             vec_t *acc3) noexcept nogil:
    """``steps`` steps from k on, and what they ask for."""
    cdef int apart = 2 if indexed == A_SPREAD_ROWS else 1
    cdef int reread = max(rows - BROADCAST_ROWS, 0) if vecs == 2 and indexed != NEITHER and REGISTERS == 32 else 0
    cdef int j
    for j in range(steps):
        if indexed == B_ROWS:
            cursor.b = b + places.offset[k + j]
        if vecs != 2 and (indexed == B_STEPS or indexed == B_ROWS):  # else asking takes as long as it saves
            if vecs > 2:
                prefetch(cursor.b + places.soon)
            prefetch(cursor.b + places.soon + vecs * VL - 1)
        if indexed >= A_ROWS:
            cursor.a = a + places.offset[k + j]
        if indexed >= A_STEPS:
            prefetch(cursor.a + places.soon + (rows - 1) * apart)
        prefetch_far(cursor.ahead)
        if indexed == NEITHER and vecs > 1:
            prefetch_far(cursor.ahead + depth * ahead_step)
        if indexed != NEITHER and vecs > 2:  # fewer tiles, with more to ask for
            prefetch_far(cursor.ahead + 64)
        _multiply(rows, vecs, reread, apart, j * rows if indexed < A_STEPS else 0, cursor, cursor.b, acc0, acc1, acc2, acc3)
        cursor.ahead += ahead_step
        cursor.b += ldb
        if indexed == A_STEPS:
            cursor.a += places.step
    if indexed < A_STEPS:
        cursor.a += steps * rows


cdef inline inlined tile(const int rows, const int vecs, const int indexed, const int steps, Py_ssize_t depth,
                         const real_t *a, const real_t *b, Py_ssize_t ldb, const Places *places, real_t *c, Py_ssize_t ldc,
                         const Start *start) noexcept nogil:
    """One tile. Row k of B is at ``b + k * ldb``, row k of the panel of A at ``a + k * rows``; that of the ``indexed`` one
    is where ``places`` says. ``depth`` is a multiple of ``steps``: two at a time share what is not a multiply-add (1x1 of 256
    and 512 channels: 3 to 6 %), and one left over after them would send the accumulators through memory (1x1, 24 and 16
    channels to 96, 9 and 12 %)."""
    # One array per vector column, innermost loops only, and no way around the loop over the depth: that is what lets gcc keep
    # the accumulators in registers all the way.
    cdef vec_t acc0[TILE_ROWS]
    cdef vec_t acc1[TILE_ROWS]
    cdef vec_t acc2[TILE_ROWS]
    cdef vec_t acc3[TILE_ROWS]
    cdef Cursor cursor = Cursor(a, b, start.ahead)
    cdef Places where = Places(NULL, 0, 0)
    cdef Py_ssize_t ahead_step = start.ahead_step, k, stop
    cdef int i
    assume(depth > 0)
    if indexed != NEITHER:
        where = places[0]
    if indexed == B_STEPS:
        ldb = where.step
    for i in range(rows):
        acc0[i] = vload(start.data + i * start.row)
        if vecs > 1:
            acc1[i] = vload(start.data + i * start.row + start.column)
        if vecs > 2:
            acc2[i] = vload(start.data + i * start.row + 2 * start.column)
        if vecs > 3:
            acc3[i] = vload(start.data + i * start.row + 3 * start.column)
    if indexed == NEITHER:
        for k in range(depth):
            _advance(1, rows, vecs, indexed, k, &cursor, a, b, ldb, &where, ahead_step, depth, acc0, acc1, acc2, acc3)
    else:
        k = 0
        while True:     # loops that run at least once, or gcc would keep the accumulators in memory between them
            stop = min(k + start.ahead_steps, depth)
            while True:
                _advance(steps, rows, vecs, indexed, k, &cursor, a, b, ldb, &where, ahead_step, depth, acc0, acc1, acc2, acc3)
                k += steps
                if k == stop:
                    break
            if k == depth:
                break
            cursor.ahead += start.ahead_jump
    for i in range(rows):
        vstore(c + i * ldc, acc0[i])
        if vecs > 1:
            vstore(c + i * ldc + VL, acc1[i])
        if vecs > 2:
            vstore(c + i * ldc + 2 * VL, acc2[i])
        if vecs > 3:
            vstore(c + i * ldc + 3 * VL, acc3[i])


cdef inline void activate(real_t *c, Py_ssize_t ldc, int rows, int vecs, const Finish *finish) noexcept nogil:
    """The activation on a tile that was just stored. It is not part of the tile itself: with its loops, compilers
    stop expanding the others and keep the accumulators in memory."""
    cdef vec_t slope = vset(finish.slope)
    cdef vec_t lo = vset(finish.lo)
    cdef vec_t hi = vset(finish.hi)
    cdef int i, j
    for i in range(rows):
        for j in range(vecs):
            vstore(c + i * ldc + j * VL, vactivate(vload(c + i * ldc + j * VL), slope, lo, hi))


cdef inline int vectors_for(int64_t rows) noexcept nogil:
    """Vectors of a tile of so many rows whose B is read as it lies."""
    return 4 if rows <= ROWS_OF_FOUR else 3 if rows <= ROWS_OF_THREE else TILE_VECS


cdef inline int rows_for(int64_t vecs) noexcept nogil:
    """The most rows of a tile of so many vectors."""
    return TILE_ROWS if vecs <= TILE_VECS else ROWS_OF_THREE if vecs == 3 else ROWS_OF_FOUR


cdef inline inlined _any_rows(int rows, const int vecs, const int indexed, const int steps, Py_ssize_t depth,
                              const real_t *a, const real_t *b, Py_ssize_t ldb, const Places *places, real_t *c, Py_ssize_t ldc,
                              const Start *start) noexcept nogil:
    cdef int most = rows_for(vecs)
    if TILE_ROWS >= 14 and most >= 14 and rows == 14:
        tile(14, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 13 and most >= 13 and rows == 13:
        tile(13, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 12 and most >= 12 and rows == 12:
        tile(12, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 11 and most >= 11 and rows == 11:
        tile(11, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 10 and most >= 10 and rows == 10:
        tile(10, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 9 and most >= 9 and rows == 9:
        tile(9, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 8 and most >= 8 and rows == 8:
        tile(8, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 7 and most >= 7 and rows == 7:
        tile(7, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 6 and most >= 6 and rows == 6:
        tile(6, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 5 and most >= 5 and rows == 5:
        tile(5, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 4 and most >= 4 and rows == 4:
        tile(4, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 3 and most >= 3 and rows == 3:
        tile(3, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 2 and most >= 2 and rows == 2:
        tile(2, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)
    elif TILE_ROWS >= 1 and most >= 1 and rows == 1:
        tile(1, vecs, indexed, steps, depth, a, b, ldb, places, c, ldc, start)


cdef inline void run_tile(int rows, int vecs, Py_ssize_t depth, const real_t *a, const real_t *b, Py_ssize_t ldb,
                          real_t *c, Py_ssize_t ldc, const Start *start, const Finish *finish, bint last) noexcept nogil:
    """The tile for these run-time ``rows`` (1 to TILE_ROWS) and ``vecs`` (1 to TILE_VECS), activated if ``last``."""
    if vecs == 2:
        _any_rows(rows, 2, NEITHER, 1, depth, a, b, ldb, NULL, c, ldc, start)
    else:
        _any_rows(rows, 1, NEITHER, 1, depth, a, b, ldb, NULL, c, ldc, start)
    if last and finish.active:
        activate(c, ldc, rows, vecs, finish)


cdef inline void run_tile_on_vectors(int rows, int vecs, Py_ssize_t depth, const real_t *a, const real_t *b,
                                     const Places *places, real_t *c, Py_ssize_t ldc, const Start *start,
                                     const Finish *finish, bint last) noexcept nogil:
    """The same with B not packed, but read where it lies. ``vecs``: 1 to :func:`vectors_for` ``rows``."""
    if places.offset == NULL:
        if vecs == 4:
            _any_rows(rows, 4, B_STEPS, 1, depth, a, b, 0, places, c, ldc, start)
        elif vecs == 3:
            _any_rows(rows, 3, B_STEPS, 1, depth, a, b, 0, places, c, ldc, start)
        elif vecs == 2 and depth % 2 == 0:
            _any_rows(rows, 2, B_STEPS, 2, depth, a, b, 0, places, c, ldc, start)
        elif vecs == 2:
            _any_rows(rows, 2, B_STEPS, 1, depth, a, b, 0, places, c, ldc, start)
        else:
            _any_rows(rows, 1, B_STEPS, 1, depth, a, b, 0, places, c, ldc, start)
    elif vecs == 4:
        _any_rows(rows, 4, B_ROWS, 1, depth, a, b, 0, places, c, ldc, start)
    elif vecs == 3:
        _any_rows(rows, 3, B_ROWS, 1, depth, a, b, 0, places, c, ldc, start)
    elif vecs == 2:
        _any_rows(rows, 2, B_ROWS, 1, depth, a, b, 0, places, c, ldc, start)
    else:
        _any_rows(rows, 1, B_ROWS, 1, depth, a, b, 0, places, c, ldc, start)
    if last and finish.active:
        activate(c, ldc, rows, vecs, finish)


cdef inline void run_tile_on_scalars(int rows, int vecs, Py_ssize_t depth, const real_t *a, int apart,
                                     const Places *places, const real_t *b, Py_ssize_t ldb, real_t *c, Py_ssize_t ldc,
                                     const Start *start, const Finish *finish, bint last) noexcept nogil:
    """The same with A not packed, but read where it lies. ``apart``: 1, or 2 if its scalars are every second one, which
    only offsets can say. ``rows``: 1 to :func:`rows_for` ``vecs``, 1 to MOST_COLUMN_VECS."""
    if places.offset == NULL:
        if vecs == 3:
            _any_rows(rows, 3, A_STEPS, 1, depth, a, b, ldb, places, c, ldc, start)
        elif vecs == 2:
            _any_rows(rows, 2, A_STEPS, 1, depth, a, b, ldb, places, c, ldc, start)
        else:
            _any_rows(rows, 1, A_STEPS, 1, depth, a, b, ldb, places, c, ldc, start)
    elif apart == 1:
        if vecs == 3:
            _any_rows(rows, 3, A_ROWS, 1, depth, a, b, ldb, places, c, ldc, start)
        elif vecs == 2:
            _any_rows(rows, 2, A_ROWS, 1, depth, a, b, ldb, places, c, ldc, start)
        else:
            _any_rows(rows, 1, A_ROWS, 1, depth, a, b, ldb, places, c, ldc, start)
    elif vecs == 3:
        _any_rows(rows, 3, A_SPREAD_ROWS, 1, depth, a, b, ldb, places, c, ldc, start)
    elif vecs == 2:
        _any_rows(rows, 2, A_SPREAD_ROWS, 1, depth, a, b, ldb, places, c, ldc, start)
    else:
        _any_rows(rows, 1, A_SPREAD_ROWS, 1, depth, a, b, ldb, places, c, ldc, start)
    if last and finish.active:
        activate(c, ldc, rows, vecs, finish)
