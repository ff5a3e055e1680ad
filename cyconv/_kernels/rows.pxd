"""Rows of contiguous scalars under one operation: the loops of pooling.

    MAX: a o b = the larger one, NaN if either is NaN        SUM: a o b = a + b
    LARGER: as MAX, for vectors without NaN

Assumptions: a destination never overlaps a source, except in ``accumulate``. Whole vectors are done from the left, and
what remains by one vector that ends where the row ends: its cells are computed twice, with the same result.
"""
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy

from cyconv._kernels.lanes cimport (
    apart, lowest, maximum, vlarger, vload_part, vmaximum, vpart, vquotient, vstore_part,
)
from cyconv._kernels.simd cimport (
    REAL_IS_FLOAT, REAL_SIZE, VL, inlined, prefetch, real_t, vec_t, vevery_second, vload, vset, vstore, vzero,
)

cdef enum:
    MAX = 0
    SUM = 1
    LARGER = 2
    FEW = 32     # rows that are combined in one go; more are combined by eights and those in pairs, so that sums are
    EIGHT = 8    # pairwise, and no more rows are walked at a time than a cache holds of one set
    LINE = 1024  # the same for the cells of one row
    AHEAD = 4096 // REAL_SIZE


cdef inline bint is_max(int op) noexcept nogil:
    """Modules of integers have no sums: a constant there."""
    return not REAL_IS_FLOAT or op != SUM


cdef inline real_t identity(int op) noexcept nogil:
    return lowest() if is_max(op) else 0


cdef inline vec_t vboth(int op, vec_t a, vec_t b) noexcept nogil:
    if op == LARGER:
        return vlarger(a, b)
    return vmaximum(a, b) if is_max(op) else a + b


cdef inline real_t both(int op, real_t a, real_t b) noexcept nogil:
    return maximum(a, b) if is_max(op) else a + b


cdef inline void fill(real_t *dst, real_t value, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dst[i] = value


# ------------------------------------------------------------------------------------------- several rows to one


cdef struct Feet:
    # The first three rows by name, so that compilers keep them in registers; all of them for more.
    const real_t *a
    const real_t *b
    const real_t *c
    const real_t **all


cdef inline Feet stand_on(const real_t **rows, int count) noexcept nogil:
    cdef Feet feet
    feet.a = feet.b = feet.c = rows[0]
    feet.all = rows
    if count >= 2:
        feet.b = rows[1]
    if count >= 3:
        feet.c = rows[2]
    return feet


cdef inline inlined combine_column(int op, vec_t *acc, Feet feet, int count, Py_ssize_t i) noexcept nogil:
    """One vector of the combination of ``count`` rows."""
    cdef int t
    acc[0] = vload(feet.a + i)
    if count >= 2:
        acc[0] = vboth(op, acc[0], vload(feet.b + i))
    if count >= 3:
        acc[0] = vboth(op, acc[0], vload(feet.c + i))
    for t in range(3, count):
        acc[0] = vboth(op, acc[0], vload(feet.all[t] + i))


cdef inline vec_t column_of(int op, Feet feet, int count, Py_ssize_t i) noexcept nogil:
    cdef vec_t acc
    combine_column(op, &acc, feet, count, i)
    return acc


cdef inline void _fetch(Feet feet, int count, Py_ssize_t i) noexcept nogil:
    """What lies ahead of the last two rows."""
    prefetch((feet.all[count - 1] if count > 3 else feet.c if count == 3 else feet.b) + i + AHEAD)
    prefetch((feet.all[count - 2] if count > 3 else feet.b if count == 3 else feet.a) + i + AHEAD)


cdef inline void step_on(Feet *feet, int count, Py_ssize_t step) noexcept nogil:
    cdef int t
    feet.a += step
    feet.b += step
    feet.c += step
    for t in range(3, count):
        feet.all[t] += step


cdef struct Times:
    # A loop over rows: how often, and what each round adds to the destination and to the sources.
    Py_ssize_t rounds, dst_step, src_step


cdef struct Room:
    # Whether a whole vector can be read from the start of every source row, and written at the end of one of dst; and
    # whether the sources come from memory, where hardware loses track at every new row: what lies ahead is fetched then.
    bint read, write, ahead


cdef inline inlined _combine(
    int op, real_t *dst, const real_t **rows, int count, Py_ssize_t n, Times times, Room room
) noexcept nogil:
    cdef Py_ssize_t i, k
    cdef Feet feet = stand_on(rows, count)
    for k in range(times.rounds):  # no-cython-lint
        i = 0
        while i + VL <= n:
            if room.ahead:
                _fetch(feet, count, i)
            vstore(dst + i, column_of(op, feet, count, i))
            i += VL
        if i < n:
            if n >= VL:
                vstore(dst + n - VL, column_of(op, feet, count, n - VL))
            elif room.write:
                vstore(dst, column_of(op, feet, count, 0))
            else:
                vstore_part(dst, column_of(op, feet, count, 0), <int>n)
        dst += times.dst_step
        step_on(&feet, count, times.src_step)


cdef inline inlined _combine_cells(
    int op, real_t *dst, const real_t **rows, int count, Py_ssize_t n, Times times
) noexcept nogil:
    """The same, cell by cell."""
    cdef Py_ssize_t i, k
    cdef int t
    cdef real_t acc
    for k in range(times.rounds):  # no-cython-lint
        for i in range(n):
            acc = rows[0][i]
            for t in range(1, count):
                acc = both(op, acc, rows[t][i])
            dst[i] = acc
        dst += times.dst_step
        for t in range(count):
            rows[t] += times.src_step


cdef inline apart combine(
    int op, real_t *dst, const real_t **rows, int count, Py_ssize_t n, Times times, Room room
) noexcept nogil:
    """dst[i] = rows[0][i] o rows[1][i] o ... for i < n, from the left, and so on for rows further on."""
    if is_max(op):
        if n < VL and not room.read:
            _combine_cells(MAX, dst, rows, count, n, times)
        elif count == 1:
            _combine(MAX, dst, rows, 1, n, times, room)
        elif count == 2:
            _combine(MAX, dst, rows, 2, n, times, room)
        elif count == 3:
            _combine(MAX, dst, rows, 3, n, times, room)
        else:
            _combine(MAX, dst, rows, count, n, times, room)
    elif n < VL and not room.read:
        _combine_cells(SUM, dst, rows, count, n, times)
    elif count == 2:
        _combine(SUM, dst, rows, 2, n, times, room)
    elif count == 3:
        _combine(SUM, dst, rows, 3, n, times, room)
    else:
        _combine(SUM, dst, rows, count, n, times, room)


cdef inline inlined _combine_halves(
    int op, real_t *even, real_t *odd, const real_t **rows, int count, Py_ssize_t n, Times times
) noexcept nogil:
    cdef Py_ssize_t i, k
    cdef vec_t a, b
    cdef Feet feet = stand_on(rows, count)
    for k in range(times.rounds):  # no-cython-lint
        i = 0
        while i < n:
            _fetch(feet, count, i)
            _fetch(feet, count, i + VL)
            a = column_of(op, feet, count, i)
            b = column_of(op, feet, count, i + VL)
            vstore(even + i // 2, vevery_second(a, b, 0))
            vstore(odd + i // 2, vevery_second(a, b, 1))
            i += 2 * VL
        even += times.dst_step
        odd += times.dst_step
        step_on(&feet, count, times.src_step)


cdef inline apart combine_halves(
    int op, real_t *even, real_t *odd, const real_t **rows, int count, Py_ssize_t n, Times times
) noexcept nogil:
    """As ``combine``, cells of even i to ``even`` and the others to ``odd``; room for two vectors more on both sides."""
    if is_max(op):
        if count == 2:
            _combine_halves(MAX, even, odd, rows, 2, n, times)
        elif count == 3:
            _combine_halves(MAX, even, odd, rows, 3, n, times)
        else:
            _combine_halves(MAX, even, odd, rows, count, n, times)
    elif count == 2:
        _combine_halves(SUM, even, odd, rows, 2, n, times)
    elif count == 3:
        _combine_halves(SUM, even, odd, rows, 3, n, times)
    else:
        _combine_halves(SUM, even, odd, rows, count, n, times)


cdef inline Times once() noexcept nogil:
    cdef Times times
    times.rounds = 1
    times.dst_step = times.src_step = 0
    return times


cdef inline void combine2(int op, real_t *dst, const real_t *a, const real_t *b, Py_ssize_t n) noexcept nogil:
    cdef const real_t *rows[2]
    cdef Room room
    rows[0] = a
    rows[1] = b
    room.read = room.write = room.ahead = False
    combine(op, dst, rows, 2, n, once(), room)


cdef inline void accumulate(int op, real_t *dst, const real_t *a, Py_ssize_t n) noexcept nogil:
    """dst[i] = dst[i] o a[i]"""
    cdef Py_ssize_t i = 0
    while i + VL <= n:
        vstore(dst + i, vboth(op, vload(dst + i), vload(a + i)))
        i += VL
    while i < n:
        dst[i] = both(op, dst[i], a[i])
        i += 1


cdef struct Rows:
    # Row r of `many` is at first + (r // inner) * outer_step + (r % inner) * inner_step.
    const real_t *first
    Py_ssize_t many, inner, outer_step, inner_step
    const real_t *end   # one past the last cell that may be read


cdef inline bint point_at(
    const Rows *rows, Py_ssize_t start, Py_ssize_t stop, const real_t **found, Py_ssize_t reach
) noexcept nogil:
    """Addresses of some rows; whether ``reach`` cells can be read at each."""
    cdef Py_ssize_t r, i = start % rows.inner
    cdef const real_t *line = rows.first + start // rows.inner * rows.outer_step
    cdef bint readable = True
    for r in range(stop - start):
        found[r] = line + i * rows.inner_step
        readable = readable and found[r] + reach <= rows.end
        i += 1
        if i == rows.inner:
            i = 0
            line += rows.outer_step
    return readable


cdef inline apart combine_rows(int op, real_t *dst, const Rows *rows, Py_ssize_t n, real_t *levels) noexcept nogil:
    """All of ``rows`` to one of n cells; ``levels`` holds log2(many / EIGHT) + 2 rows of n + VL."""
    cdef const real_t *found[FEW]
    cdef Py_ssize_t start = 0, stop, done = 0, depth = 0, pairs
    cdef Room room
    room.write, room.ahead = False, True
    if rows.many == 0:
        fill(dst, identity(op), n)
        return
    if rows.many <= FEW:
        room.read = point_at(rows, 0, rows.many, found, VL)
        combine(op, dst, found, <int>rows.many, n, once(), room)
        return
    # Like the carries of a binary counter: a level waits with its combination for a neighbour of the same size.
    while start < rows.many:
        stop = min(start + EIGHT, rows.many)
        room.read = point_at(rows, start, stop, found, VL)
        combine(op, levels + depth * (n + VL), found, <int>(stop - start), n, once(), room)
        depth += 1
        done += 1
        pairs = done
        while pairs & 1 == 0:
            depth -= 1
            accumulate(op, levels + (depth - 1) * (n + VL), levels + depth * (n + VL), n)
            pairs >>= 1
        start = stop
    while depth > 1:
        depth -= 1
        accumulate(op, levels + (depth - 1) * (n + VL), levels + depth * (n + VL), n)
    memcpy(dst, levels, n * sizeof(real_t))


# --------------------------------------------------------------------------------------------- windows along a row


cdef struct Sources:
    # A row still to be combined from up to three.
    const real_t *at[3]
    int count


cdef inline apart windows(
    int op, const real_t *src, Py_ssize_t n, Py_ssize_t step, Py_ssize_t taps,
    real_t *ping, real_t *pong, real_t *rest, Sources *found,
) noexcept nogil:
    """dst[i] = src[i] o src[i + step] o ... (taps of them), but for the last operation.

    By doubling: windows of 1, 2, 4, ... taps; those in the binary digits of ``taps`` make up the window, so that it
    costs log2(taps) operations and a sum log2(taps) roundings. The buffers hold n + (taps - 1) * step cells each.
    """
    cdef const real_t *cur = src
    cdef const real_t *done = NULL
    cdef const real_t *piece
    cdef real_t *into
    cdef Py_ssize_t length = 1, offset = 0, left
    while True:
        left = taps - offset
        piece = cur + offset * step
        if left <= 2 * length:
            break
        if left & length:
            if done == NULL and length == 1:
                done = piece
            else:
                if done == NULL:
                    memcpy(rest, piece, n * sizeof(real_t))
                elif done == rest:
                    accumulate(op, rest, piece, n)
                else:
                    combine2(op, rest, done, piece, n)
                done = rest
            offset += length
            continue
        into = pong if cur == ping else ping
        combine2(op, into + offset * step, piece, piece + length * step, n + (left - 2 * length) * step)
        cur = into
        length *= 2
    found.count = 0
    if done != NULL:
        found.at[0] = done
        found.count = 1
    found.at[found.count] = piece
    found.count += 1
    if left == 2 * length:
        found.at[found.count] = piece + length * step
        found.count += 1


# ----------------------------------------------------------------------------------------------- a row to one cell


cdef inline real_t _lanes(int op, vec_t v) noexcept nogil:
    cdef real_t part[VL]
    cdef int l, half = VL // 2
    vstore(part, v)
    while half > 0:
        for l in range(half):
            part[l] = both(op, part[l], part[l + half])
        half //= 2
    return part[0]


cdef inline real_t _short_line(int op, const real_t *src, Py_ssize_t n, Py_ssize_t step) noexcept nogil:
    """At most LINE cells."""
    cdef Py_ssize_t i = 0
    cdef real_t acc
    cdef vec_t a, b, c, d
    if n < VL or step != 1:
        acc = src[0]
        for i in range(1, n):
            acc = both(op, acc, src[i * step])
        return acc
    a = vload(src)
    if n >= 4 * VL:
        b = vload(src + VL)
        c = vload(src + 2 * VL)
        d = vload(src + 3 * VL)
        i = 4 * VL
        while i + 4 * VL <= n:
            a = vboth(op, a, vload(src + i))
            b = vboth(op, b, vload(src + i + VL))
            c = vboth(op, c, vload(src + i + 2 * VL))
            d = vboth(op, d, vload(src + i + 3 * VL))
            i += 4 * VL
        a = vboth(op, vboth(op, a, b), vboth(op, c, d))
    else:
        i = VL
    while i + VL <= n:
        a = vboth(op, a, vload(src + i))
        i += VL
    if i < n:
        a = vboth(op, a, vpart(vload(src + n - VL), <int>(VL - (n - i)), VL, identity(op)))
    return _lanes(op, a)


cdef inline real_t combine_line(int op, const real_t *src, Py_ssize_t n, Py_ssize_t step) noexcept nogil:
    """src[0] o src[step] o ... (n of them), sums pairwise over blocks of LINE cells."""
    cdef real_t levels[64]
    cdef Py_ssize_t start = 0, done = 0, depth = 0, pairs
    if n == 0:
        return identity(op)
    if n <= LINE:
        return _short_line(op, src, n, step)
    while start < n:
        levels[depth] = _short_line(op, src + start * step, min(LINE, n - start), step)
        depth += 1
        done += 1
        pairs = done
        while pairs & 1 == 0:
            depth -= 1
            levels[depth - 1] = both(op, levels[depth - 1], levels[depth])
            pairs >>= 1
        start += LINE
    while depth > 1:
        depth -= 1
        levels[depth - 1] = both(op, levels[depth - 1], levels[depth])
    return levels[0]


# ------------------------------------------------------------------------------------------------- every second cell


cdef inline void split(real_t *even, real_t *odd, const real_t *src, Py_ssize_t n) noexcept nogil:
    """even[i] = src[2 i], odd[i] = src[2 i + 1] for n cells of each; src has room for two vectors more."""
    cdef Py_ssize_t i = 0
    cdef vec_t a, b
    while i < n:
        a = vload(src + 2 * i)
        b = vload(src + 2 * i + VL)
        vstore(even + i, vevery_second(a, b, 0))
        vstore(odd + i, vevery_second(a, b, 1))
        i += VL


cdef inline void pick(real_t *dst, const real_t *src, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t inner) noexcept nogil:
    """Every ``stride``-th block of ``inner`` cells, n of them."""
    cdef Py_ssize_t i = 0
    if inner > 1:
        for i in range(n):
            memcpy(dst + i * inner, src + i * stride * inner, inner * sizeof(real_t))
        return
    if stride == 2:
        while i + VL < n:  # reads one cell less than two vectors beyond the last one that it needs
            vstore(dst + i, vevery_second(vload(src + 2 * i), vload(src + 2 * i + VL), 0))
            i += VL
    while i < n:
        dst[i] = src[i * stride]
        i += 1


# ----------------------------------------------------------------------------------------------------- averages


cdef struct Quotient:
    # What a sum is divided by, as it is and rounded, and one over that.
    double divisor
    real_t by, inverse


cdef inline Quotient quotient_of(double divisor) noexcept nogil:
    cdef Quotient q
    q.divisor = divisor
    q.by = <real_t>divisor
    q.inverse = 1 / q.by
    return q


cdef inline vec_t divided(vec_t v, vec_t by, vec_t inverse, vec_t *bad) noexcept nogil:
    """The quotient; ``bad`` becomes NaN where it is infinite or NaN."""
    cdef vec_t quotient = vquotient(v, by, inverse)
    bad[0] = bad[0] + quotient * vzero()
    return quotient


cdef inline apart divide(real_t *row, Py_ssize_t n, Quotient q, real_t *trouble) noexcept nogil:
    """row[i] /= q.divisor; where a result is NaN or infinite, one of the VL cells of ``trouble`` becomes NaN."""
    cdef Py_ssize_t i = VL
    cdef vec_t bad = vload(trouble), also = vzero(), by = vset(q.by), inverse = vset(q.inverse), first, last
    cdef real_t part[VL]
    if n >= VL:
        first = divided(vload(row), by, inverse, &bad)          # both before some of their cells are divided in place
        last = divided(vload(row + n - VL), by, inverse, &bad)
        if n >= 8 * VL:   # so many that it is worth it to cross no line of the cache
            i -= <Py_ssize_t>(<uintptr_t>row // sizeof(real_t) % VL)
        while i + 2 * VL <= n:  # what tells of trouble waits for what told before: two of them wait half as long
            vstore(row + i, divided(vload(row + i), by, inverse, &bad))
            vstore(row + i + VL, divided(vload(row + i + VL), by, inverse, &also))
            i += 2 * VL
        bad = bad + also
        if i + VL <= n:
            vstore(row + i, divided(vload(row + i), by, inverse, &bad))
        vstore(row, first)
        vstore(row + n - VL, last)
    elif n > 0:
        fill(part, 0, VL)
        memcpy(part, row, n * sizeof(real_t))
        vstore_part(row, divided(vload(part), by, inverse, &bad), <int>n)
    vstore(trouble, bad)


cdef inline apart divide_each(
    real_t *row, Py_ssize_t n, const real_t *by, const real_t *inverse, Py_ssize_t times, real_t *trouble
) noexcept nogil:
    """The same for ``times`` rows one after another, each cell by its own divisor; of these, whole vectors can be read."""
    cdef Py_ssize_t i, k
    cdef vec_t bad = vload(trouble), v
    for k in range(times):  # no-cython-lint
        i = 0
        while i + VL <= n:
            vstore(row + i, divided(vload(row + i), vload(by + i), vload(inverse + i), &bad))
            i += VL
        if i < n:
            v = divided(vload_part(row + i, 0, <int>(n - i), 0), vload(by + i), vload(inverse + i), &bad)
            vstore_part(row + i, v, <int>(n - i))
        row += n
    vstore(trouble, bad)


cdef inline void divide_one(real_t *cell, double divisor, real_t *trouble) noexcept nogil:
    """The same for one cell: what it takes to set up vectors is more than a division."""
    cell[0] = cell[0] / <real_t>divisor
    trouble[0] = trouble[0] + cell[0] * <real_t>0
