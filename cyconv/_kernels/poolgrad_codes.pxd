"""Indices of maxima, read once: checked, and kept in a byte or two each.

A code says where in a box of BOX x BOX cells, which moves along with the outputs, the maximum was; a place is its flat
position. Loops are plain ones, which compilers turn into vectors whatever the widths of integers.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from cyconv._kernels.simd cimport prefetch

ctypedef fused small_t:
    uint8_t
    uint16_t

cdef enum:
    #: a code is BOX * (row of the box) + (column of the box); the box begins AHEAD cells before step * output
    BOX = 8
    AHEAD = 3
    #: more cells have indices that are no places, of 8 bits and of 16
    MOST_PLACES = 65535
    FEW_PLACES = 255
    #: what was found, as bits: the first and the last of the BOX rows of the box, and of its columns; or this
    BOX_BITS = 256
    NO_CODES = 65536
    #: cells of the largest window of which codes are of use
    LARGEST = 3
    #: cells of the widest plane whose indices have codes
    WIDEST = 8191
    #: indices that are read at a time, and how far ahead others are asked for: beyond the end of a page, where the
    #: processor foresees nothing
    READ = 64
    READ_AHEAD = 512


cdef inline int64_t find_codes(const int64_t *at, const int32_t *first, const int16_t *column, uint8_t *code, int64_t n,
                               int64_t cells, uint16_t width, const bint one) noexcept nogil:
    """``n`` codes; ``first`` and ``column`` are the flat position and the column of the boxes' first cells, or those
    of ``one`` box. Returns what was found.

    ``cells`` are fewer than 2**30, ``width`` at most WIDEST: what lies in a box is less than 2**16 from its first cell.
    What must lie within bounds is followed by its least and its largest value.
    """
    cdef int64_t i, either = 0
    cdef uint32_t cell, largest = 0, distance, distances = 0
    cdef uint16_t from_, row, col, less, x
    cdef uint16_t least_row = 0xffff, most_row = 0, least_col = 0xffff, most_col = 0, most_x = 0
    cdef uint16_t inverse = <uint16_t>(65535 // width)
    for i in range(n):
        either |= at[i]
        cell = <uint32_t>at[i]
        largest = max(largest, cell)
        distance = cell - <uint32_t>first[0 if one else i]
        distances |= distance
        from_ = <uint16_t>distance
        row = <uint16_t>(<uint32_t>from_ * inverse >> 16)      # or one less
        col = from_ - row * width
        less = col - width
        row += less < col
        col = min(col, less)
        x = <uint16_t>column[0 if one else i] + col
        least_row, most_row = min(least_row, row), max(most_row, row)
        least_col, most_col = min(least_col, col), max(most_col, col)
        most_x = max(most_x, x)
        code[i] = <uint8_t>(row * BOX + col)
    if (either >> 31 or <int64_t>largest >= cells or distances >> 16 or most_row >= BOX or most_col >= BOX
            or most_x >= width):
        return NO_CODES
    return 1 << least_row | 1 << most_row | BOX_BITS << least_col | BOX_BITS << most_col


cdef inline bint is_large(int64_t seen) noexcept nogil:
    """Whether the rows or columns that were seen do not fit a window of LARGEST cells."""
    return seen // max(<int64_t>1, seen & -seen) >= 1 << LARGEST


cdef inline bint find_places(const int64_t *at, small_t *place, int64_t n, int64_t cells) noexcept nogil:
    """Whether an index is neither one of ``cells`` nor -1; such a one has the place after the last, which fits."""
    cdef int64_t i, first = 0
    cdef uint32_t bad = 0
    while first < n:
        for i in range(READ // 8):
            prefetch(at + first + READ_AHEAD + 8 * i)
        for i in range(first, min(first + READ, n)):
            bad |= <uint64_t>(at[i] + 1) > <uint64_t>cells
            place[i] = <small_t>min(<uint64_t>at[i], <uint64_t>cells)
        first += READ
    return bad != 0
