"""Gradients of pooling.

    scatter:   dx[n, c, index[n, c, o]] += g[n, c, o]                              (maxima; choose: of small windows)
    spread:    dx[m, d, h, w, c] = sum over the windows (od, oh, ow) that hold (d, h, w) of
                                   g[m, od, oh, ow, c] * sd[od] * sh[oh] * sw[ow]  (averages; s: 1 / divisor per axis)

Windows are a product of intervals, so that ``spread`` first adds up, for one row of dx, the rows of g that reach it,
and then spreads that one row along w. A cell is the same sequence of additions whatever the number of threads.
FLOPs, per row of dx, (rows of g that reach it) * OW + (taps along w) * OW; bytes: dx once, g once per row that it reaches.

Assumptions (guaranteed by ``_plans/pool_gradients.py``): no size is zero, the tables belong to the shapes; indices are
checked here, since only a pass over them can tell.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

from cyconv._kernels.lanes cimport CHOOSES, lane_int_t, stream_end, vstore_part
from cyconv._kernels.ndarray cimport PyArray_DATA, PyArray_DIMS, as_array
from cyconv._kernels.poolgrad_choices cimport CODE_SLACK, Chosen, choose_channels, choose_rows
from cyconv._kernels.poolgrad_codes cimport (AHEAD, BOX, FEW_PLACES, LARGEST, MOST_PLACES, NO_CODES, WIDEST,
                                             find_codes, find_places, is_large, small_t)
from cyconv._kernels.poolgrad_places cimport PITCH, PLANES, SMALL_PLANE, add_places
from cyconv._kernels.poolgrad_rows cimport (MOST_TAPS, ROW_SLACK, Spreading, ask_for, copy_rows, prepare_spreading,
                                            prepare_weaving)
from cyconv._kernels.poolgrad_picks cimport PICKED, Picks, choose_planes, pick_planes
from cyconv._kernels.poolgrad_spread cimport Covering, spread_band
from cyconv._kernels.simd cimport VL, inlined, real_t, vec_t, vset, vstore

cdef enum:
    #: channels of one work item where channels are neighbours in memory
    CHANNELS = 64
    #: bytes of planes of which several are summed at a time
    FEW_BYTES = 262144
    #: indices of one work item; cells of small planes, few enough for threads to get equal shares
    CHUNK = 16384
    SMALL_CHUNK = 4096
    #: bands of one work item where results go past the caches, which are waited for at its end
    STREAMED = 16
    #: cells of one work item where all cells of a plane are the same
    REPEATED = 4096

ctypedef fused place_t:
    int64_t
    uint16_t

ctypedef fused any_place_t:
    int64_t
    uint8_t
    uint16_t

#: the longest windows of rows by vectors, and lanes of a vector
TAPS = MOST_TAPS
LANES = VL
#: the bit that says that some index has no code; cells of the box of codes before an output's own and in a row; bytes
#: around the codes; cells whose places take 8 bits and 16
WITHOUT_CODES, BEFORE, IN_ROW, SLACK, PLACES_8, PLACES_16 = NO_CODES, AHEAD, BOX, CODE_SLACK, FEW_PLACES, MOST_PLACES
#: the largest windows of which codes are of use, and the widest planes
LARGEST_CODED, WIDEST_CODED = LARGEST, WIDEST
#: cells of small planes, and how many of them are scattered to at a time; scalars of their sums
SMALL = SMALL_PLANE
SIDE = PLANES
SUMS = PLANES * PITCH
#: whether lanes are picked by one instruction
PICKS = bool(CHOOSES)


cdef inline int64_t _cells(table) noexcept:
    """Cells of a table of two axes."""
    return PyArray_DIMS(as_array(table))[0] * PyArray_DIMS(as_array(table))[1]


cdef struct Steps:
    int64_t out_i, out_c, grad_i, grad_c, index_i, index_c


# ------------------------------------------------------------------------------------------------------- scatter

def has_bad_index(const int64_t[::1] index, int64_t cells, int num_threads):
    """Whether some index is not one of ``cells`` cells, nor -1."""
    cdef int64_t total = index.shape[0], items = (total + CHUNK - 1) // CHUNK
    cdef int64_t item
    cdef int bad = 0
    for item in prange(items, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        bad |= _bad(&index[item * CHUNK], min(<int64_t>CHUNK, total - item * CHUNK), cells)
    return bad != 0


cdef bint _bad(const int64_t *at, int64_t count, int64_t cells) noexcept nogil:
    cdef int64_t i, bad = 0
    for i in range(count):
        bad |= <uint64_t>(at[i] + 1) > <uint64_t>cells
    return bad != 0


def read_places(const int64_t[::1] index, int64_t cells, small_t[::1] place, int num_threads):
    """The same, and the indices as places."""
    cdef int64_t total = index.shape[0], items = (total + CHUNK - 1) // CHUNK
    cdef int64_t item
    cdef int bad = 0
    if cells > (FEW_PLACES if sizeof(small_t) == 1 else MOST_PLACES) or place.shape[0] != total:
        raise ValueError("places of other cells")
    for item in prange(items, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        bad |= find_places(&index[item * CHUNK], &place[item * CHUNK], min(<int64_t>CHUNK, total - item * CHUNK), cells)
    return bad != 0


def read_codes(const int64_t[::1] index, first, column, int64_t inner, int64_t cells, int64_t width, uint8_t[::1] code,
               int num_threads):
    """Codes of the indices of planes with ``inner`` channels that are neighbours in memory, and what was found.

    ``first`` (int32) and ``column`` (int16) are the tables of the outputs of one plane or, where inner is 1, of several.
    Stops at the first index that has no code.
    """
    cdef const int32_t *first_cell = <const int32_t *>PyArray_DATA(as_array(first))
    cdef const int16_t *first_column = <const int16_t *>PyArray_DATA(as_array(column))
    cdef int64_t outputs = PyArray_DIMS(as_array(first))[0]
    cdef int64_t part = min(outputs, max(1, CHUNK // inner)), parts = (outputs + part - 1) // part
    cdef int64_t total = index.shape[0] // inner, items = (total + outputs - 1) // outputs * parts
    cdef int64_t item, o
    cdef int64_t found = 0
    cdef bint stop = 0
    cdef bint *stopped = &stop
    if (code.shape[0] != index.shape[0] + 2 * CODE_SLACK or not 1 <= width <= WIDEST
            or PyArray_DIMS(as_array(column))[0] != outputs or total * inner != index.shape[0]):
        raise ValueError("codes of other indices")
    for item in prange(items, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        if not stopped[0]:
            o = item // parts * outputs + item % parts * part
            found |= _codes(&index[o * inner], first_cell + item % parts * part, first_column + item % parts * part,
                            &code[CODE_SLACK + o * inner], min(min(part, outputs - item % parts * part), total - o), inner,
                            cells, width, stopped)
    return found


cdef int64_t _codes(const int64_t *at, const int32_t *first, const int16_t *column, uint8_t *code, int64_t outputs,
                    int64_t inner, int64_t cells, int64_t width, bint *stopped) noexcept nogil:
    cdef int64_t o, found = 0
    if inner == 1:
        found = find_codes(at, first, column, code, outputs, cells, <uint16_t>width, 0)
    else:
        for o in range(outputs):
            found |= find_codes(at + o * inner, first + o, column + o, code + o * inner, inner, cells, <uint16_t>width, 1)
    if found & NO_CODES or is_large(found & 255) or is_large(found >> 8 & 255):
        stopped[0] = 1
        return NO_CODES
    return found


def choose(const real_t[::1] grad, const uint8_t[::1] code, real_t[::1] out, int64_t planes, int64_t inner,
           int64_t height, int64_t width, int64_t out_h, int64_t out_w, int64_t K, int64_t step, int64_t before_h,
           int64_t before_w, int64_t corner, real_t[:, ::1] rows, bint stream, int num_threads):
    """Fill ``out`` (planes, height, width, inner) from codes of windows of K x K cells that begin ``before`` cells
    before step * output; the first of these has the code ``corner``.

    ``rows`` has for each thread a band of rows of a plane, which there may be written beyond their end.
    """
    cdef int64_t length = width * inner
    cdef int64_t band = min(height, (rows.shape[1] - 2 * VL) // length)
    cdef int64_t bands = (height + max(band, 1) - 1) // max(band, 1)
    cdef int64_t group = STREAMED if stream else 1, groups = (planes * bands + group - 1) // group
    cdef int64_t item
    cdef Chosen how
    how.K, how.step, how.before_h, how.before_w, how.corner = K, step, before_h, before_w, corner
    how.height, how.width, how.out_h, how.out_w = height, width, out_h, out_w
    prepare_weaving(&how.low, &how.high)
    if (band < 1 or rows.shape[0] < num_threads or not (2 <= K <= 3 and 1 <= step <= 2 and K >= step + before_w % step)
            or before_h < 0 or before_w < 0 or grad.shape[0] != planes * out_h * out_w * inner
            or code.shape[0] != grad.shape[0] + 2 * CODE_SLACK or out.shape[0] != planes * height * length):
        raise ValueError("no choices of these windows")
    for item in prange(groups, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        _choose_bands(&out[0], &grad[0], &code[CODE_SLACK], &how, inner, item * group,
                      min((item + 1) * group, planes * bands), bands, band, &rows[threadid(), 0], stream)


cdef void _choose_bands(real_t *out, const real_t *grad, const uint8_t *code, const Chosen *how, int64_t inner,
                        int64_t begin, int64_t end, int64_t bands, int64_t band, real_t *rows,
                        bint stream) noexcept nogil:
    cdef int64_t item, first, last, source, after, asked
    cdef real_t *to
    for item in range(begin, end):
        first, last = item % bands * band, min((item % bands + 1) * band, how.height)
        source = item // bands * how.out_h * how.out_w * inner
        to = out + (item // bands * how.height + first) * how.width * inner
        if inner == 1:
            choose_rows(rows, rows if stream else to, grad + source, code + source, how, first, last)
        else:
            choose_channels(rows, grad + source, code + source, how, inner, first, last)
        if stream:
            after = source + (last + how.before_h) // how.step * how.out_w * inner
            asked = band // how.step * how.out_w * inner
            ask_for(grad + after, asked * sizeof(real_t))
            ask_for(code + after, asked)
        copy_rows(to, rows, (last - first) * how.width * inner, stream)
    if stream:
        stream_end()


def choose_small(const real_t[:, ::1] grad, const uint8_t[::1] code, real_t[:, ::1] out, base, lanes, wanted,
                 real_t[:, ::1] copies, int num_threads):
    """`choose` for small planes with windows that do not overlap, whose cells pick theirs: by vectors of cells, the
    first output (int64), lanes from there on, the code of each (lane_int_t). ``copies`` has for each thread a plane of
    g and a vector more.
    """
    cdef const int64_t *first = <const int64_t *>PyArray_DATA(as_array(base))
    cdef const lane_int_t *lane = <const lane_int_t *>PyArray_DATA(as_array(lanes))
    cdef const lane_int_t *codes = <const lane_int_t *>PyArray_DATA(as_array(wanted))
    cdef int64_t vectors = PyArray_DIMS(as_array(base))[0]
    cdef int64_t planes = out.shape[0], cells = out.shape[1], outputs = grad.shape[1]
    cdef int64_t group = max(1, SMALL_CHUNK // cells), items = (planes + group - 1) // group
    cdef int64_t item
    if (not CHOOSES or grad.shape[0] != planes or code.shape[0] != planes * outputs + 2 * CODE_SLACK
            or vectors * VL < cells or _cells(lanes) != vectors * VL or _cells(wanted) != vectors * VL
            or copies.shape[0] < num_threads or copies.shape[1] < outputs + VL):
        raise ValueError("no choices of these planes")
    for item in prange(items, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        choose_planes(&out[0, 0], &grad[0, 0], &code[CODE_SLACK], first, lane, codes, cells, outputs,
                      item * group, min((item + 1) * group, planes), planes, &copies[threadid(), 0])


def scatter_small(const real_t[:, ::1] grad, const any_place_t[:, ::1] index, real_t[:, ::1] out, real_t[:, ::1] sums,
                  uint16_t[:, ::1] places, int num_threads):
    """`scatter` for planes of at most SMALL cells, contiguous; for each thread there are SUMS scalars, and the
    places of SIDE planes where indices are no places yet."""
    cdef int64_t planes = out.shape[0], cells = out.shape[1], outputs = grad.shape[1]
    cdef int64_t items = (planes + PLANES - 1) // PLANES
    cdef int64_t item
    cdef int bad = 0
    if (cells > SMALL_PLANE or grad.shape[0] != planes or index.shape[0] != planes or index.shape[1] != outputs
            or sums.shape[0] < num_threads or sums.shape[1] < PLANES * PITCH or places.shape[0] < num_threads
            or (sizeof(any_place_t) == 8 and places.shape[1] < PLANES * outputs)):
        raise ValueError("no small planes")
    for item in prange(items, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        bad |= _scatter_planes(&out[item * PLANES, 0], &grad[item * PLANES, 0], &index[item * PLANES, 0],
                               &sums[threadid(), 0], &places[threadid(), 0],
                               min(<int64_t>PLANES, planes - item * PLANES), outputs, cells)
    return bad != 0


cdef bint _scatter_planes(real_t *out, const real_t *grad, const any_place_t *index, real_t *sums, uint16_t *places,
                          int64_t planes, int64_t outputs, int64_t cells) noexcept nogil:
    cdef bint bad = 0
    if any_place_t is int64_t:
        bad = find_places(index, places, planes * outputs, cells)
        add_places(out, grad, places, sums, planes, outputs, cells)
    else:
        add_places(out, grad, index, sums, planes, outputs, cells)
    return bad


def scatter(const real_t[:, :, :] grad, const place_t[:, :, :] index, real_t[:, :, :] out, int num_threads):
    """Fill ``out`` (N, C, cells); whether some index is neither a cell nor that of nothing, which is no cell either."""
    cdef int64_t images = out.shape[0], channels = out.shape[1]
    cdef bint last = out.shape[1] > 1 and out.strides[1] == sizeof(real_t)
    cdef int64_t block = CHANNELS if last else PLANES if out.shape[2] * <int64_t>sizeof(real_t) <= FEW_BYTES else 1
    cdef int64_t blocks = (channels + block - 1) // block
    cdef int64_t item, n, c
    cdef int bad = 0
    for item in prange(images * blocks, nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        n = item // blocks
        c = item % blocks * block
        bad |= _scatter_block(grad, index, out, n, c, min(c + block, channels))
    return bad != 0


cdef bint _scatter_block(const real_t[:, :, :] grad, const place_t[:, :, :] index, real_t[:, :, :] out, int64_t n,
                         int64_t first, int64_t last) noexcept nogil:
    cdef int64_t cells = out.shape[2]
    cdef int64_t step = sizeof(real_t)
    cdef Steps steps = Steps(out.strides[2] // step, out.strides[1] // step, grad.strides[2] // step,
                             grad.strides[1] // step, index.strides[2] // <int64_t>sizeof(place_t),
                             index.strides[1] // <int64_t>sizeof(place_t))
    cdef real_t *to = &out[n, first, 0]
    cdef const real_t *source = &grad[n, first, 0]
    cdef const place_t *at = &index[n, first, 0]
    cdef int64_t i, c
    cdef bint bad = 0
    if steps.out_i == 1:
        for c in range(last - first):
            memset(to + c * steps.out_c, 0, cells * sizeof(real_t))
    else:
        for i in range(cells):
            for c in range(last - first):
                to[i * steps.out_i + c * steps.out_c] = <real_t>0
    if last - first == PLANES:
        _scatter_cells(PLANES, grad.shape[2], cells, to, source, at, steps, &bad)
    else:
        _scatter_cells(last - first, grad.shape[2], cells, to, source, at, steps, &bad)
    return bad


cdef inline inlined _scatter_cells(const int64_t channels, int64_t outputs, int64_t cells, real_t *to,
                                   const real_t *source, const place_t *at, Steps steps, bint *bad) noexcept nogil:
    """Several planes at once: neighbouring windows often have the same maximum, and one addition then waits for the
    other's store."""
    cdef int64_t i, c, k
    for i in range(outputs):
        for c in range(channels):
            k = at[i * steps.index_i + c * steps.index_c]
            if <uint64_t>k < <uint64_t>cells:
                to[k * steps.out_i + c * steps.out_c] += source[i * steps.grad_i + c * steps.grad_c]
            elif <place_t>k != <place_t>(-1):
                bad[0] = 1


# -------------------------------------------------------------------------------------------------------- spread

def spread(const real_t[:, :, :, :, ::1] grad, real_t[:, :, :, :, ::1] out, const int64_t[::1] lo,
           const int64_t[::1] hi, const int64_t[::1] step, const real_t[::1] scale, int64_t taps, int64_t stride,
           int64_t before, const int64_t[::1] start, const lane_int_t[:, ::1] lanes, real_t[:, ::1] work, int64_t band,
           bint stream, int num_threads):
    """Fill ``out`` (M, D, H, W, C) from ``grad`` (M, OD, OH, OW, C).

    ``lo``, ``hi``, ``scale``, this with a vector more, hold the tables of the axes d, h, w one after the other;
    ``taps`` is 0, or windows along w are regular ones of so many neighbouring cells, at most TAPS, and ``start`` and
    ``lanes`` have their tables for strides above 2; ``work`` has for each thread, all zeros, ``band`` rows of dx and of
    g: see `work_size`.
    """
    cdef int64_t depth = out.shape[1], height = out.shape[2], width = out.shape[3]
    cdef Covering d = Covering(depth, grad.shape[1], step[0], &lo[0], &hi[0], &scale[0])
    cdef Covering h = Covering(height, grad.shape[2], step[1], d.lo + depth, d.hi + depth, d.scale + d.out)
    cdef Covering w = Covering(width, grad.shape[3], step[2], h.lo + height, h.hi + height, h.scale + h.out)
    cdef Spreading how
    cdef int64_t inner = out.shape[4]
    cdef int64_t bands = (height + band - 1) // band
    cdef int64_t group = STREAMED if stream else 1, items = out.shape[0] * depth * bands
    cdef int64_t item
    if (taps > MOST_TAPS or band < 1 or work.shape[0] < num_threads
            or work.shape[1] < work_size(band, width * inner, w.out * inner)
            or (taps > 0 and stride > 2 and (start.shape[0] * VL < width or lanes.shape[0] != 2
                                             or lanes.shape[1] < start.shape[0] * VL))):
        raise ValueError("rows are too short, or windows too long")
    prepare_spreading(&how, taps if inner == 1 else 0, stride, before, width)
    how.start, how.source, how.windows = &start[0], &lanes[0, 0], &lanes[1, 0]
    for item in prange((items + group - 1) // group, nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _spread_bands(&out[0, 0, 0, 0, 0], &grad[0, 0, 0, 0, 0], &d, &h, &w, &how, inner, item * group,
                      min((item + 1) * group, items), bands, band, &work[threadid(), 0], stream)


def work_size(int64_t band, int64_t length, int64_t out_length):
    """Scalars of ``band`` rows of dx, written beyond their end, and of as many rows of g with zeros on each side."""
    return band * length + 2 * VL + band * (out_length + 2 * ROW_SLACK)


cdef void _spread_bands(real_t *out, const real_t *grad, const Covering *d, const Covering *h, const Covering *w,
                        const Spreading *how, int64_t inner, int64_t begin, int64_t end, int64_t bands, int64_t band,
                        real_t *work, bint stream) noexcept nogil:
    cdef int64_t length = w.size * inner
    cdef int64_t item, first, last, plane
    for item in range(begin, end):
        plane = item // bands
        first, last = item % bands * band, min((item % bands + 1) * band, h.size)
        spread_band(work, work + band * length + 2 * VL, grad + plane // d.size * d.out * h.out * w.out * inner, d, h, w,
                    how, plane % d.size, first, last, inner)
        copy_rows(out + (plane * h.size + first) * length, work, (last - first) * length, stream)
    if stream:
        stream_end()


# ---------------------------------------------------------------------------------------------------------- pick

def pick(const real_t[:, ::1] grad, real_t[:, ::1] out, rows, cells, real_t[:, ::1] work, int num_threads):
    """Fill ``out`` (M, cells) from ``grad`` (M, outputs) in two steps: ``rows``, sums of rows of g, of which ``cells``
    are sums; or the cells at once where ``cells`` is None.

    Each is a tuple (size, near, base, lanes, mask, factor, scale), the last two None for cells; ``work`` has for each thread
    PICKED planes of sums and of g, a vector more between them: see `pick_size`.
    """
    cdef Picks first, second
    cdef int64_t planes = out.shape[0], outputs = grad.shape[1]
    cdef int64_t items = (planes + PICKED - 1) // PICKED
    cdef int64_t item
    _read_picks(&first, rows)
    second.size = 0
    if cells is not None:
        _read_picks(&second, cells)
    if (not CHOOSES or grad.shape[0] != planes or out.shape[1] != (second.size if second.size else first.size)
            or work.shape[0] < num_threads or work.shape[1] < pick_size(first.size, outputs)):
        raise ValueError("no picks of these planes")
    for item in prange(items, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        pick_planes(&out[0, 0], &grad[0, 0], &first, &second, outputs, item * PICKED, min((item + 1) * PICKED, planes),
                    planes, &work[threadid(), 0])


def pick_size(int64_t sums, int64_t outputs):
    """Scalars of the work."""
    return PICKED * (sums + 2 * VL) + outputs + 2 * VL


cdef _read_picks(Picks *picks, tables):
    size, near, base, lanes, mask, factor, scale = tables
    picks.near, picks.size = near, size
    picks.vectors, picks.taps = PyArray_DIMS(as_array(base))[0], PyArray_DIMS(as_array(base))[1]
    picks.base = <const int64_t *>PyArray_DATA(as_array(base))
    picks.lanes = <const lane_int_t *>PyArray_DATA(as_array(lanes))
    picks.mask = <const lane_int_t *>PyArray_DATA(as_array(mask))
    picks.factor = picks.scale = NULL
    if factor is not None:
        picks.factor = <const real_t *>PyArray_DATA(as_array(factor))
        picks.scale = <const real_t *>PyArray_DATA(as_array(scale))


# -------------------------------------------------------------------------------------------------------- repeat

def repeat(const real_t[:, ::1] grad, real_t[:, :, ::1] out, real_t divisor, int num_threads):
    """Fill ``out`` (M, cells, C): every cell with ``grad`` (M, C) by the divisor."""
    cdef int64_t planes = out.shape[0], cells = out.shape[1], inner = out.shape[2]
    cdef int64_t group = max(1, REPEATED // (cells * inner)), items = (planes + group - 1) // group
    cdef int64_t item
    if grad.shape[0] != planes or grad.shape[1] != inner:
        raise ValueError("repeat: other planes")
    for item in prange(items, nogil=True, schedule="static", num_threads=num_threads, use_threads_if=num_threads > 1):
        _repeat_planes(&out[0, 0, 0], &grad[0, 0], divisor, item * group, min((item + 1) * group, planes), cells, inner)


cdef void _repeat_planes(real_t *out, const real_t *grad, real_t divisor, int64_t begin, int64_t end, int64_t cells,
                         int64_t inner) noexcept nogil:
    cdef int64_t plane, i
    cdef real_t *to
    cdef vec_t v
    for plane in range(begin, end):
        to = out + plane * cells * inner
        if inner > 1:
            for i in range(inner):
                to[i] = grad[plane * inner + i] / divisor
            for i in range(1, cells):
                memcpy(to + i * inner, to, inner * sizeof(real_t))
            continue
        v = vset(grad[plane] / divisor)
        if cells < VL:
            vstore_part(to, v, <int>cells)
            continue
        i = 0
        while i < cells:
            vstore(to + min(i, cells - VL), v)
            i += VL
