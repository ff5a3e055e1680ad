"""Indices of maxima, read once: checked, and kept in a byte or two each.

A code says where in a box of BOX x BOX cells, which moves along with the outputs, the maximum was; a place is its flat
position. Loops are plain ones, which compilers turn into vectors whatever the widths of integers.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

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
    #: what was found, as bits: BOX for rows of the box, BOX for its columns, and this
    NO_CODES = 65536
    #: cells of the largest window of which codes are of use
    LARGEST = 3


cdef inline int64_t find_codes(const int64_t *at, const int32_t *first, const int32_t *column, uint8_t *code, int64_t n,
                               int64_t cells, int32_t width, const bint one) noexcept nogil:
    """``n`` codes; ``first`` and ``column`` are the flat position and the column of the boxes' first cells, or those
    of ``one`` box. Returns what was found.

    What must not be negative, or above BOX - 1, is collected bit by bit.
    """
    cdef int64_t i
    cdef int64_t wrong_index = 0
    cdef uint32_t cell, col, row, x, wrong = 0, wrong_x = 0, seen = 0
    cdef float inverse = <float>1 / <float>width
    for i in range(n):
        wrong_index |= at[i] | <int64_t>(<uint64_t>(cells - 1) - <uint64_t>at[i])
        cell = <uint32_t>at[i] - <uint32_t>first[0 if one else i]
        row = <uint32_t><int32_t>(<float><int32_t>cell * inverse + <float>0.5 * inverse)
        col = cell - row * <uint32_t>width
        wrong |= row | col
        x = <uint32_t>column[0 if one else i] + col
        wrong_x |= x | (<uint32_t>width - 1 - x)
        seen |= <uint32_t>1 << (row & 7) | <uint32_t>256 << (col & 7)
        code[i] = <uint8_t>(row * BOX + col)
    return seen | (NO_CODES if wrong_index < 0 or wrong >= BOX or <int32_t>wrong_x < 0 else 0)


cdef inline bint is_large(int64_t seen) noexcept nogil:
    """Whether the rows or columns that were seen do not fit a window of LARGEST cells."""
    return seen // max(<int64_t>1, seen & -seen) >= 1 << LARGEST


cdef inline bint find_places(const int64_t *at, small_t *place, int64_t n, int64_t cells) noexcept nogil:
    """Whether an index is neither one of ``cells`` nor -1; such a one has the place after the last, which fits."""
    cdef int64_t i
    cdef uint32_t bad = 0
    for i in range(n):
        bad |= <uint64_t>(at[i] + 1) > <uint64_t>cells
        place[i] = <small_t>min(<uint64_t>at[i], <uint64_t>cells)
    return bad != 0
