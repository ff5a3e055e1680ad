"""Windows of 2 or 3 columns, one or two columns apart: rows and columns are combined in registers.

    m[c] = o over t of row t [c]                              a vector of columns, in the registers only
    out[i] = m[S i - before] o ... o m[S i - before + T - 1]     stride S in (1, 2), taps T in (2, 3)

Group g of the columns is cells [g VL - before, (g + 1) VL - before) of the row; those beyond the row are not read.

Assumptions: a window holds 1 to FEW rows; before <= 2; a destination never overlaps a source.
"""
from cyconv._kernels.lanes cimport apart, vload_part, vshift, vstore_part
from cyconv._kernels.rows cimport (
    MAX, SUM, Feet, Times, combine_column, divided, identity, is_max, stand_on, step_on, vboth,
)
from cyconv._kernels.simd cimport (
    VL, inlined, prefetch, prefetch_far, prefetch_write, real_t, vec_t, vevery_second, vstore,
)

cdef enum:
    # What is asked for ahead of its use, in bytes: in the order of memory and into the second-level cache, which keeps
    # more lines under way than the first one. One core, planes beyond the caches, GB/s of 30 when copying: nothing 16,
    # into the first level 16, from both rows side by side 13, this 27, with the lines of the result 28.
    FAR = 8192
    FAR_OUT = 4096
    # Within the caches, into the first level: vectors that cross lines wait for both. Poolings of planes in the second
    # level took 5 to 20 % less time, those of planes in the third level 2 to 6 % less than with 1024.
    NEAR = 4096


cdef struct Line:
    # A row of out and the row of x; ``fetched``: cells of x to ask for ahead per cell of out; ``far``: from memory.
    Py_ssize_t outputs, width, before, fetched
    bint far


cdef struct Finish:
    # What becomes of a sum: nothing yet, or its quotient.
    bint divide
    vec_t by, inverse


cdef inline inlined _group(
    int op, vec_t *v, Feet feet, int count, Line line, Py_ssize_t g, bint clean
) noexcept nogil:
    """Columns of group g, the rows combined; ``clean``: they all lie in the row."""
    cdef Py_ssize_t column = g * VL - line.before
    cdef int first, stop, t
    if clean:
        combine_column(op, v, feet, count, column)
        return
    first = <int>max(0, -column)
    stop = <int>max(0, min(VL, line.width - column))
    v[0] = vload_part(feet.a + column, first, stop, identity(op))
    if count >= 2:
        v[0] = vboth(op, v[0], vload_part(feet.b + column, first, stop, identity(op)))
    if count >= 3:
        v[0] = vboth(op, v[0], vload_part(feet.c + column, first, stop, identity(op)))
    for t in range(3, count):
        v[0] = vboth(op, v[0], vload_part(feet.all[t] + column, first, stop, identity(op)))


cdef struct Columns:
    # Columns that the next outputs begin with: the even and the odd ones, or all of them as even.
    vec_t even, odd


cdef inline inlined _take(
    int op, int stride, Columns *taken, Feet feet, int count, Line line, Py_ssize_t g, bint clean, bint both
) noexcept nogil:
    """Groups g and, for stride 2 and if ``both``, g + 1."""
    cdef vec_t a, b
    _group(op, &a, feet, count, line, g, clean)
    taken.even = a
    if stride == 2 and both:
        _group(op, &b, feet, count, line, g + 1, clean)
        taken.even = vevery_second(a, b, 0)
        taken.odd = vevery_second(a, b, 1)


cdef inline inlined _outputs(
    int op, int stride, int taps, vec_t *v, Columns *now, Feet feet, int count, Line line, Py_ssize_t g, bint clean,
    bint last,
) noexcept nogil:
    """One vector of outputs, from ``now`` on; then ``now`` is what follows, which begins with group g."""
    cdef Columns follow
    follow.even = follow.odd = now.even
    if stride == 1 or taps == 3 or not last:
        _take(op, stride, &follow, feet, count, line, g, clean, not last)
    if stride == 1:
        v[0] = vboth(op, now.even, vshift(now.even, follow.even, 1))
        if taps == 3:
            v[0] = vboth(op, v[0], vshift(now.even, follow.even, 2))
    else:
        v[0] = vboth(op, now.even, now.odd)
        if taps == 3:
            v[0] = vboth(op, v[0], vshift(now.even, follow.even, 1))
    now[0] = follow


cdef inline inlined finish_vector(int op, vec_t *v, Finish how, vec_t *bad) noexcept nogil:
    if not is_max(op) and how.divide:
        v[0] = divided(v[0], how.by, how.inverse, bad)


cdef inline inlined _ask(const real_t *x, const real_t *out, Line line) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(line.fetched):
        if line.far:
            prefetch_far(<const char *>(x + j * VL) + FAR)
        else:
            prefetch(<const char *>(x + j * VL) + NEAR)
    if line.far:
        prefetch_write(<const char *>out + FAR_OUT)


cdef inline inlined _rows(
    int op, int stride, int taps, real_t *dst, const real_t **rows, int count, Times times, Line line, Finish how,
    vec_t *trouble,
) noexcept nogil:
    cdef Py_ssize_t k, i, g, clean = ((line.width + line.before) // VL // stride - 1) * VL
    cdef vec_t v, bad = trouble[0]
    cdef Columns now
    cdef Feet feet = stand_on(rows, count)
    clean = min(clean, line.outputs - VL)   # while i is less, all of the next groups are in the row
    for k in range(times.rounds):  # no-cython-lint
        _take(op, stride, &now, feet, count, line, 0, False, True)
        i = 0
        g = stride
        while i < clean:
            _ask(feet.a + i * line.fetched, dst + i, line)
            _outputs(op, stride, taps, &v, &now, feet, count, line, g, True, False)
            finish_vector(op, &v, how, &bad)
            vstore(dst + i, v)
            i += VL
            g += stride
        while i < line.outputs:
            _ask(feet.a + i * line.fetched, dst + i, line)
            _outputs(op, stride, taps, &v, &now, feet, count, line, g, False, i + VL >= line.outputs)
            finish_vector(op, &v, how, &bad)
            if i + VL <= line.outputs:
                vstore(dst + i, v)
            else:
                vstore_part(dst + i, v, <int>(line.outputs - i))
            i += VL
            g += stride
        dst += times.dst_step
        step_on(&feet, count, times.src_step)
    trouble[0] = bad


cdef inline inlined _counted(
    int op, int stride, int taps, real_t *dst, const real_t **rows, int count, Times times, Line line, Finish how,
    vec_t *trouble,
) noexcept nogil:
    if count == 2:
        _rows(op, stride, taps, dst, rows, 2, times, line, how, trouble)
    elif count == 3:
        _rows(op, stride, taps, dst, rows, 3, times, line, how, trouble)
    else:
        _rows(op, stride, taps, dst, rows, count, times, line, how, trouble)


cdef inline apart narrow_rows(
    int op, int stride, int taps, real_t *dst, const real_t **rows, int count, Times times, Line line, Finish how,
    vec_t *trouble,
) noexcept nogil:
    """Output rows of windows of ``count`` rows, ``times`` of them."""
    if is_max(op):
        if stride == 1 and taps == 2:
            _counted(MAX, 1, 2, dst, rows, count, times, line, how, trouble)
        elif stride == 1:
            _counted(MAX, 1, 3, dst, rows, count, times, line, how, trouble)
        elif taps == 2:
            _counted(MAX, 2, 2, dst, rows, count, times, line, how, trouble)
        else:
            _counted(MAX, 2, 3, dst, rows, count, times, line, how, trouble)
    elif stride == 1 and taps == 2:
        _counted(SUM, 1, 2, dst, rows, count, times, line, how, trouble)
    elif stride == 1:
        _counted(SUM, 1, 3, dst, rows, count, times, line, how, trouble)
    elif taps == 2:
        _counted(SUM, 2, 2, dst, rows, count, times, line, how, trouble)
    else:
        _counted(SUM, 2, 3, dst, rows, count, times, line, how, trouble)
