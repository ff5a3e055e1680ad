"""Winograd's products where the weights are transformed as they are multiplied, of few tiles and of many channels.

Transformed weights are four times as many bytes, and with the tiles of one small image each of them serves a few times:
the layer takes as long as they take to come from memory. Here the taps come instead, and each step of a register tile
transforms those of one channel to a row of frequencies, ``u``, which stay in registers:

    for each vector of outputs, for each group of up to FRESH_TILES tiles, for each row of frequencies i:
        for each channel:     half = row i of G w,    u = half G^T        acc[j][tile] += u[j] * values[j][tile]

    weights:    [group][vector of outputs][channel][tap][output]
    values:     [group of tiles][row of frequencies][channel][frequency of the row][tile]
    numbers:    p_i (n), p_i^2 (n), scales (a x a)

Here G has the rows ``p^j`` alone; what they are divided by is in the scales, by which the values are multiplied. With
F(4, 3) and four tiles 24 of the 36 operations of a step are the product's, and the weights of a vector of outputs, 9
lines of the cache for each channel, are read six times, all but the first from the second-level cache. (512 to 512
channels of 7x7: 75 MFLOP in 1.8 million cycles; 9.4 MB, and not 16.8 as with the transformed ones of F(2, 3).)

Assumptions: three taps, an even number of frequencies in a row; neither direct taps nor phases; those of ``winograd.pyx``.
"""
from libc.stdint cimport int64_t, uint8_t

from cyconv._kernels.simd cimport (REAL_SIZE, REGISTERS, VL, assume, inlined, prefetch_far, real_t, vec_t, vload, vset,
                                   vstore, vzero)
from cyconv._kernels.transpose cimport vtranspose
from cyconv._kernels.winograd_geometry cimport Box, Geometry, Job, balanced, cuts

cdef enum:
    # tiles of a group: their accumulators of a row of six frequencies leave eight registers of 32, four of 16
    FRESH_TILES = REGISTERS // 8
    FRESH_CELLS = 6 * FRESH_TILES

    # channels whose taps are transformed by all passes before others: half a first-level cache (all 512: 954 us for
    # 7x7; 32 876, 48 850, 64 866, 128 968)
    FRESH_DEPTH = 3072 / (VL * REAL_SIZE)

    # rows of G: of the point 0, which begins with its one 1, and of infinity, which ends with it
    FIRST = 0
    BETWEEN = 1
    LAST = 2


cdef struct Pass:
    # a row of frequencies of a group of tiles and of a vector of outputs: taps and values of ``depth`` channels, where
    # products begin at zero or, if there are some of other channels, go on
    const real_t *taps
    const real_t *values
    int64_t depth
    bint goes_on
    real_t *product                 # frequencies ``step`` apart, tiles ``width``
    int64_t step, width
    const real_t *numbers
    const char *ahead               # taps that a later pass wants, asked for ``ahead_step`` bytes further at each step
    int64_t ahead_step


cdef inline void turn_values(const Job *job, const Box *box, const real_t *chunk, int64_t c, int64_t channels,
                             real_t *values) noexcept nogil:
    """A chunk of ``channels`` from ``c`` on, ``[frequency][tile][VL channels]``, to its places."""
    cdef const Geometry *g = job.g
    cdef int64_t groups = cuts(box.tiles, FRESH_TILES)
    cdef int64_t step = g.step_values
    cdef int64_t q, row, first, tiles, cells, i, k, at
    cdef const real_t *scale
    cdef const real_t *found
    cdef real_t *to
    cdef vec_t square[VL]
    for q in range(groups):
        first = balanced(box.tiles, groups, q)
        tiles = balanced(box.tiles, groups, q + 1) - first
        cells = g.points * tiles
        for row in range(g.points):
            scale = job.weight_numbers + g.points - 2 + row * g.points
            found = chunk + row * g.points * step + first * VL
            to = values + (first * g.frequencies + row * cells) * g.group_inputs + c * cells
            if cells < VL:
                for k in range(channels):
                    for i in range(cells):
                        to[k * cells + i] = scale[i // tiles] * found[i // tiles * step + i % tiles * VL + k]
                continue
            at = 0
            while at < cells:
                at = min(at, cells - VL)
                for i in range(VL):
                    square[i] = vset(scale[(at + i) // tiles]) * vload(found + (at + i) // tiles * step
                                                                       + (at + i) % tiles * VL)
                vtranspose(square)
                for k in range(channels):
                    vstore(to + k * cells + at, square[k])
                at += VL


cdef inline void multiply_fresh(const Job *job, const Box *box, int64_t group, int64_t k0, int64_t width,
                                const real_t *values, real_t *product) noexcept nogil:
    """``width`` outputs from ``k0`` on, all tiles of the box, to ``product[frequency][tile][output]``."""
    cdef const Geometry *g = job.g
    cdef int64_t outputs = cuts(g.group_outputs, VL) * VL
    cdef int64_t groups = cuts(box.tiles, FRESH_TILES)
    cdef int64_t r = g.points - g.outputs + 1
    cdef int64_t size = r * r * VL      # taps of a channel
    cdef int64_t i, c, q, first, tiles, row
    cdef const real_t *of_group
    cdef Pass one
    one.taps = job.weight + (group * outputs + k0) // VL * g.group_inputs * size
    one.step, one.width, one.numbers = g.step_product, width, job.weight_numbers
    one.ahead_step = cuts(size * REAL_SIZE, groups * g.points)
    for i in range(width // VL):
        c = 0
        while c < g.group_inputs:
            one.depth = min(g.group_inputs - c, <int64_t>FRESH_DEPTH)
            one.goes_on = c > 0
            one.ahead = <const char *>(one.taps + one.depth * size)
            of_group = values
            for q in range(groups):
                first = balanced(box.tiles, groups, q)
                tiles = balanced(box.tiles, groups, q + 1) - first
                one.values = of_group + c * g.points * tiles
                for row in range(g.points):
                    one.product = product + row * g.points * g.step_product + first * width + i * VL
                    _any_tiles(<int>tiles, row, &one)
                    one.values += g.group_inputs * g.points * tiles
                    one.ahead += one.depth * one.ahead_step
                of_group += g.group_inputs * g.frequencies * tiles
            one.taps += one.depth * size
            c += one.depth


cdef inline void _any_tiles(int tiles, int64_t row, const Pass *one) noexcept nogil:
    if FRESH_TILES >= 4 and tiles == 4:
        _any_row(6, 3, 4, row, one)
    elif FRESH_TILES >= 3 and tiles == 3:
        _any_row(6, 3, 3, row, one)
    elif tiles == 2:
        _any_row(6, 3, 2, row, one)
    else:
        _any_row(6, 3, 1, row, one)


cdef inline inlined _any_row(const int a, const int r, const int tiles, int64_t row, const Pass *one) noexcept nogil:
    if row == 0:
        _tile(a, r, tiles, FIRST, 0, one)
    elif row == a - 1:
        _tile(a, r, tiles, LAST, 0, one)
    else:
        _tile(a, r, tiles, BETWEEN, one.numbers[(row - 1) // 2] * (1 if row % 2 else -1), one)


cdef inline inlined _tile(const int a, const int r, const int tiles, const int kind, real_t point,
                          const Pass *one) noexcept nogil:
    cdef vec_t acc[FRESH_CELLS]
    cdef vec_t half[FRESH_CELLS]
    cdef vec_t u[FRESH_CELLS]
    cdef vec_t powers[FRESH_CELLS]
    cdef vec_t p = vset(point)
    cdef const real_t *w = one.taps
    cdef const real_t *values = one.values
    cdef real_t *product = one.product
    cdef const char *ahead = one.ahead
    cdef int64_t step = one.step, width = one.width
    cdef int64_t depth = one.depth, ahead_step = one.ahead_step, _k
    cdef int i, j, t
    assume(depth > 0)
    for i in range(a - 2):
        powers[i] = vset(one.numbers[i])
    for i in range(a * tiles):
        acc[i] = vzero()
    if one.goes_on:
        for j in range(a):
            for t in range(tiles):
                acc[j * tiles + t] = vload(product + j * step + t * width)
    for _k in range(depth):
        prefetch_far(ahead)
        ahead += ahead_step
        for j in range(r):
            if kind == FIRST:
                half[j] = vload(w + j * VL)
            else:
                half[j] = vload(w + ((r - 1) * r + j) * VL)
            if kind == BETWEEN:
                for t in range(r - 2, -1, -1):
                    half[j] = half[j] * p + vload(w + (t * r + j) * VL)
        _points(a, half, u, powers)
        for j in range(a):
            for t in range(tiles):
                acc[j * tiles + t] = acc[j * tiles + t] + vset(values[j * tiles + t]) * u[j]
        w += r * r * VL
        values += a * tiles
    for j in range(a):
        for t in range(tiles):
            vstore(product + j * step + t * width, acc[j * tiles + t])


cdef inline inlined _points(const int a, const vec_t *d, vec_t *u, const vec_t *powers) noexcept nogil:
    """``u = G d`` for three taps, those of p and -p together."""
    cdef int n = (a - 2) // 2
    cdef vec_t even
    cdef int i
    u[0] = d[0]
    for i in range(n):
        even = d[0] + powers[n + i] * d[2]
        u[1 + 2 * i] = even + powers[i] * d[1]
        u[2 + 2 * i] = even - powers[i] * d[1]
    u[a - 1] = d[2]
