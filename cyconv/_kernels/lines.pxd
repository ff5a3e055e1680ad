"""Many lines of a few vectors each to one cell each, VL lines at a time: planes that one window covers.

    acc[l] = src[l] o src[l + VL] o src[l + 2 VL] o ...                     lane l, up to the end of the line
    acc[l] = acc[l] o acc[l + h] for l < h,     h = VL / 2, VL / 4, ... 1

Lanes that are half of a vector apart meet first: where a line begins in another lane, the same cells meet. So lines that
follow each other are read by whole lines of the cache, wherever they begin, and each result has the bits that it has where
lines have gaps. (From the second-level cache, vectors come at 49 bytes per cycle if none crosses a line, else at 30.)

Assumption: lines have n <= LINE cells.
"""
from libc.stdint cimport uint32_t, uintptr_t

from cyconv._kernels.lanes cimport CHOOSES, FUSED, apart, vadd_lanes, vfold, vload_part
from cyconv._kernels.narrow cimport Finish, finish_vector
from cyconv._kernels.rows cimport MAX, SUM, identity, is_max, vboth
from cyconv._kernels.simd cimport VL, inlined, prefetch, real_t, vec_t, vload, vstore, vzero

cdef enum:
    # Bytes that are asked for ahead, and vectors of a line that it is worth doing for: with a loop over more of them it
    # took 7.2 instead of 3.9 us for 512 planes of 14x14.
    AHEAD = 2048
    FETCHED = 3

cdef struct Lines:
    # the first line, cells of it, cells from line to line: ``whole`` vectors and ``rest`` cells, at least one
    const real_t *src
    Py_ssize_t n, pitch, whole
    int rest
    # of lines without gaps: the vector that the last one ends in, how many lanes of it, bits of those, where the next is
    vec_t begun
    int lane
    uint32_t before
    const real_t *next


cdef inline inlined _spaced(int op, Py_ssize_t whole, vec_t *acc, Lines *lines) noexcept nogil:
    """The next line."""
    cdef Py_ssize_t i
    cdef vec_t rest = vload_part(lines.src + whole * VL, 0, lines.rest, identity(op))
    if op == SUM and whole > 0:
        acc[0] = vload(lines.src)
        for i in range(1, whole):
            acc[0] = acc[0] + vload(lines.src + i * VL)
        acc[0] = vadd_lanes(acc[0], rest, (<uint32_t>2 << (lines.rest - 1)) - 1)
    else:
        acc[0] = rest
        for i in range(whole):
            acc[0] = vboth(op, acc[0], vload(lines.src + i * VL))
    lines.src += lines.pitch


cdef inline inlined _joined(Py_ssize_t whole, vec_t *acc, Lines *lines) noexcept nogil:
    """The sums of the next line, which begins where the one before ends. What is read ends within the line behind it."""
    cdef Py_ssize_t i
    acc[0] = vadd_lanes(vload(lines.next), lines.begun, ~lines.before)
    for i in range(FETCHED if whole == FETCHED else 0):
        prefetch(<const char *>(lines.next + i * VL) + AHEAD)
    for i in range(1, whole - 1):
        acc[0] = acc[0] + vload(lines.next + i * VL)
    lines.next += (whole - 1) * VL
    lines.lane += lines.rest
    if lines.lane > VL:
        lines.lane -= VL
        acc[0] = acc[0] + vload(lines.next)
        lines.next += VL
    lines.before = (<uint32_t>2 << (lines.lane - 1)) - 1
    lines.begun = vload(lines.next)
    acc[0] = vadd_lanes(acc[0], lines.begun, lines.before)
    lines.next += VL


cdef inline inlined _next(int op, bint joined, Py_ssize_t whole, vec_t *acc, Lines *lines) noexcept nogil:
    if joined:
        _joined(whole, acc, lines)
    else:
        _spaced(op, whole, acc, lines)


cdef inline vec_t _folded(int op, const int h, vec_t a, vec_t b) noexcept nogil:
    """The lanes of a and then of b, in pieces of 2 h: the halves of each piece combined."""
    return vboth(op, vfold(a, b, h, 0), vfold(a, b, h, 1))


cdef inline inlined _halve(int op, const int h, vec_t *acc) noexcept nogil:
    """2 h vectors to h, if there are so many."""
    cdef int l
    if VL >= 8 * h:
        for l in range(h):
            acc[l] = _folded(op, h, acc[2 * l], acc[2 * l + 1])


cdef inline inlined _two(int op, bint joined, Py_ssize_t whole, vec_t *acc, Lines *lines) noexcept nogil:
    cdef vec_t a, b
    _next(op, joined, whole, &a, lines)
    _next(op, joined, whole, &b, lines)
    acc[0] = _folded(op, VL // 2, a, b)


cdef inline inlined _four(int op, bint joined, Py_ssize_t whole, vec_t *acc, Lines *lines) noexcept nogil:
    cdef vec_t a, b
    _two(op, joined, whole, &a, lines)
    _two(op, joined, whole, &b, lines)
    acc[0] = _folded(op, VL // 4, a, b)


cdef inline inlined _lines(
    int op, bint joined, Py_ssize_t whole, real_t *dst, Lines *lines, Py_ssize_t times, const Finish *how, vec_t *trouble
) noexcept nogil:
    """Pairs of vectors become one as soon as there are two: what waits for its pair fits in registers.

    Of floating-point numbers there is no loop over the quarters, which would keep what waits in memory.
    """
    cdef vec_t acc[VL]   # a quarter of them, if that is a whole number
    cdef vec_t bad = vzero()
    cdef int l
    while times > 0:
        if VL == 2:
            _two(op, joined, whole, acc, lines)
        if VL >= 4:
            _four(op, joined, whole, acc, lines)
        if VL >= 8:
            _four(op, joined, whole, acc + 1, lines)
        if VL >= 16:
            _four(op, joined, whole, acc + 2, lines)
            _four(op, joined, whole, acc + 3, lines)
        for l in range(4, VL // 4):
            _four(op, joined, whole, acc + l, lines)
        _halve(op, 8, acc)
        _halve(op, 4, acc)
        _halve(op, 2, acc)
        _halve(op, 1, acc)
        if FUSED:
            finish_vector(op, acc, how[0], &bad)
        vstore(dst, acc[0])
        dst += VL
        times -= 1
    if FUSED:
        trouble[0] = trouble[0] + bad


cdef inline apart combine_lines(
    int op, real_t *dst, const real_t *src, Py_ssize_t pitch, Py_ssize_t n, Py_ssize_t times, const Finish *how, vec_t *trouble
) noexcept nogil:
    """dst[l] for the line at src + l * pitch; ``times`` vectors of them. Lines of up to four vectors have their own loops.

    If FUSED, sums are finished, too.
    """
    cdef Lines lines
    lines.src, lines.n, lines.pitch = src, n, pitch
    lines.whole = (n - 1) // VL
    lines.rest = <int>(n - lines.whole * VL)
    if is_max(op):
        _lines(MAX, 0, lines.whole, dst, &lines, times, how, trouble)
        return
    if CHOOSES and pitch == n and lines.whole > 1 and times > 1:
        lines.lane = <int>(<uintptr_t>src // sizeof(real_t) % VL)
        lines.before = (<uint32_t>1 << lines.lane) - 1
        lines.begun = vload_part(src - lines.lane, lines.lane, VL, 0)
        lines.next = src - lines.lane + VL
        if lines.whole == FETCHED:
            _lines(SUM, 1, FETCHED, dst, &lines, times - 1, how, trouble)
        else:
            _lines(SUM, 1, lines.whole, dst, &lines, times - 1, how, trouble)
        lines.src += (times - 1) * VL * pitch
        dst += (times - 1) * VL
        times = 1
    if CHOOSES or lines.whole > 3:
        _lines(SUM, 0, lines.whole, dst, &lines, times, how, trouble)
    elif lines.whole == 0:
        _lines(SUM, 0, 0, dst, &lines, times, how, trouble)
    elif lines.whole == 1:
        _lines(SUM, 0, 1, dst, &lines, times, how, trouble)
    elif lines.whole == 2:
        _lines(SUM, 0, 2, dst, &lines, times, how, trouble)
    else:
        _lines(SUM, 0, 3, dst, &lines, times, how, trouble)
