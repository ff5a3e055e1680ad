"""Convolution through the Fourier transform, by tiles that overlap (overlap-save).

    out[n, k] = act(bias[k] + sum over c, t of  F^-1( F(x[n, c, depth of t]) * conj(F(weight[k, c, t])) ))

A tile of L_h x L_w input cells gives (L_h - extent_h + 1) x (L_w - extent_w + 1) results of a correlation with stride
1, of which every stride-th is kept; dilation inserts zeros into the transformed weight. Two tiles, neighbours in one
image, are transformed as one: real part and imaginary part. An axis along which the kernel has one tap is not
transformed.

    for each item = (image, group, depth, pair of tiles):                    <- threads
        for each (c, t):   gather; transform the columns, transpose, transform the rows    -> spectrum
        for each k:        products summed over (c, t), back along the rows, transpose, back along the columns, store

A spectrum is strips of VL frequencies of H: ``[strip][re, im][w][lane]``, so that every transform runs down a strip of
vectors (fft_pass.pxd). Each item is computed by itself in a fixed order: threads do not change a bit.

A tile pair in which a sample or a result is not finite is marked in ``bad``: the caller computes it directly.

Assumptions (guaranteed by ``_plans/fft.py``): no size is zero; L_h and L_w are multiples of VL and, where transformed,
powers of 2; x, out, bias and the packed weights have the sizes that the geometry says; scratch holds
``num_threads * scratch_bytes``; coordinates and offsets fit in 63 bits.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from cyconv._kernels.activation cimport silu
from cyconv._kernels.fft_pass cimport forward, inverse
from cyconv._kernels.gather cimport Axis, Source, gather_row, source_index
from cyconv._kernels.shares cimport Shares, Turn, first_turn, next_item, share_out
from cyconv._kernels.simd cimport (REGISTERS, VL, flush_subnormals, inlined, real_t, restore_mode, vactivate, vec_t, vload,
                                   vset, vstore, vzero)
from cyconv._kernels.transpose cimport vtranspose

cdef struct Geometry:
    int64_t batch, groups, group_inputs, group_outputs
    int64_t size_d, size_h, size_w, out_d, out_h, out_w
    int64_t stride_d, stride_h, stride_w, pad_d, pad_h, pad_w, padding_mode
    int64_t taps_d, taps_h, taps_w, dilation_d, dilation_h, dilation_w
    int64_t points_h, points_w, valid_h, valid_w, tiles_h, tiles_w
    int64_t at_spectra, at_sum, at_strip, scratch_bytes
    int64_t is_silu, has_activation

#: order of the geometry vector that ``run`` takes
FIELDS = (
    "batch", "groups", "group_inputs", "group_outputs",
    "size_d", "size_h", "size_w", "out_d", "out_h", "out_w",
    "stride_d", "stride_h", "stride_w", "pad_d", "pad_h", "pad_w", "padding_mode",
    "taps_d", "taps_h", "taps_w", "dilation_d", "dilation_h", "dilation_w",
    "points_h", "points_w", "valid_h", "valid_w", "tiles_h", "tiles_w",
    "at_spectra", "at_sum", "at_strip", "scratch_bytes",
    "is_silu", "has_activation",
)
LANES = VL

cdef enum:
    # vectors of frequencies whose sums of products are made together: half of the registers
    SIDE_BY_SIDE = REGISTERS // 4

cdef struct Job:
    const Geometry *g
    Source x
    const real_t *weight
    const real_t *bias
    real_t *out
    int64_t out_n, out_k, out_d, out_h, out_w
    const real_t *turns_h
    const real_t *turns_w
    real_t slope, lo, hi

cdef struct Tile:
    # one of a pair: where its results begin, with stride 1
    int64_t h, w
    bint exists


cdef int check(const int64_t[::1] geometry, int64_t scratch, int num_threads) except -1:
    if geometry.shape[0] != len(FIELDS) or sizeof(Geometry) != 8 * len(FIELDS):
        raise ValueError("geometry does not have the fields of this kernel")
    if scratch < num_threads * (<const Geometry *>&geometry[0]).scratch_bytes:
        raise ValueError("scratch is too small")
    return 0


def pack_weights(const real_t[:, :, :, ::1] weight, real_t[:, ::1] packed, const real_t[::1] turns_h,
                 const real_t[::1] turns_w, const int64_t[::1] geometry, uint8_t[::1] scratch, int num_threads):
    """Transforms of ``weight`` (K, C / groups * T, R, S), conjugated and divided by the number of points."""
    cdef Job job
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t item
    check(geometry, scratch.shape[0], num_threads)
    job.g = g
    job.turns_h, job.turns_w = &turns_h[0], &turns_w[0]
    for item in prange(weight.shape[0] * weight.shape[1], nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _pack(&job, &weight[item // weight.shape[1], item % weight.shape[1], 0, 0], &packed[item, 0],
              &scratch[threadid() * g.scratch_bytes])


cdef void _pack(const Job *job, const real_t *weight, real_t *packed, uint8_t *scratch) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef real_t *cells = <real_t *>scratch
    cdef int64_t plane = g.points_h * g.points_w
    cdef int64_t step_h = g.dilation_h if g.taps_h > 1 else 1
    cdef int64_t step_w = g.dilation_w if g.taps_w > 1 else 1
    cdef int64_t r, s, i
    cdef real_t scale = <real_t>1
    cdef vec_t by, minus
    memset(cells, 0, 2 * plane * sizeof(real_t))
    # along an axis that is not transformed, every cell is multiplied by the one tap
    for r in range(g.taps_h if g.taps_h > 1 else g.points_h):
        for s in range(g.taps_w if g.taps_w > 1 else g.points_w):
            cells[r * step_h * g.points_w + s * step_w] = weight[r % g.taps_h * g.taps_w + s % g.taps_w]
    _to_spectrum(job, cells, packed, <real_t *>(scratch + g.at_strip))
    if g.taps_h > 1:
        scale = scale / g.points_h
    if g.taps_w > 1:
        scale = scale / g.points_w
    by, minus = vset(scale), vset(-scale)
    i = 0
    while i < 2 * plane:
        for r in range(g.points_w):
            vstore(packed + i + r * VL, vload(packed + i + r * VL) * by)
        i += g.points_w * VL
        for r in range(g.points_w):
            vstore(packed + i + r * VL, vload(packed + i + r * VL) * minus)
        i += g.points_w * VL


def run(const real_t[:, :, :, :, :] x, const real_t[:, ::1] weight, const real_t[::1] bias,
        real_t[:, :, :, :, :] out, const int64_t[::1] geometry, const real_t[::1] turns_h, const real_t[::1] turns_w,
        const real_t[::1] activation, uint8_t[::1] bad, uint8_t[::1] scratch, int num_threads):
    """The whole convolution; ``bad`` has one byte per item, 0 when called. ``activation`` is (slope, lo, hi)."""
    cdef Job job
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t thread
    cdef Shares shares
    cdef int64_t step = sizeof(real_t)
    check(geometry, scratch.shape[0], num_threads)
    job.g = g
    job.x = Source(&x[0, 0, 0, 0, 0], x.strides[0] // step, x.strides[1] // step, x.strides[2] // step,
                   x.strides[3] // step, x.strides[4] // step)
    job.weight = &weight[0, 0]
    job.bias = &bias[0]
    job.out = &out[0, 0, 0, 0, 0]
    job.out_n, job.out_k = out.strides[0] // step, out.strides[1] // step
    job.out_d, job.out_h, job.out_w = out.strides[2] // step, out.strides[3] // step, out.strides[4] // step
    job.turns_h, job.turns_w = &turns_h[0], &turns_w[0]
    job.slope, job.lo, job.hi = activation[0], activation[1], activation[2]
    share_out(&shares, bad.shape[0], num_threads)
    for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                         use_threads_if=num_threads > 1):
        _run_items(&job, &shares, thread, &bad[0], &scratch[thread * g.scratch_bytes])


cdef void _run_items(const Job *job, Shares *shares, int64_t thread, uint8_t *bad, uint8_t *scratch) noexcept nogil:
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        bad[turn.item] = _run_item(job, turn.item, scratch)


cdef inline Tile _tile_at(const Geometry *g, int64_t index) noexcept nogil:
    cdef Tile tile
    tile.h = index // g.tiles_w * g.valid_h
    tile.w = index % g.tiles_w * g.valid_w
    tile.exists = index < g.tiles_h * g.tiles_w
    return tile


cdef bint _run_item(const Job *job, int64_t item, uint8_t *scratch) noexcept nogil:
    """One pair of tiles; True if something in it is not finite."""
    cdef const Geometry *g = job.g
    cdef real_t *cells = <real_t *>scratch
    cdef real_t *spectra = <real_t *>(scratch + g.at_spectra)
    cdef real_t *total = <real_t *>(scratch + g.at_sum)
    cdef real_t *strip = <real_t *>(scratch + g.at_strip)
    cdef int64_t plane = g.points_h * g.points_w
    cdef int64_t pairs = (g.tiles_h * g.tiles_w + 1) // 2
    cdef int64_t depth = g.group_inputs * g.taps_d
    cdef int64_t d = item // pairs % g.out_d
    cdef int64_t group = item // pairs // g.out_d % g.groups
    cdef int64_t n = item // pairs // g.out_d // g.groups
    cdef int64_t kd, i, k, c
    cdef const real_t *image
    cdef uint64_t mode = flush_subnormals()
    cdef bint seen
    cdef Tile first = _tile_at(g, item % pairs * 2)
    cdef Tile second = _tile_at(g, item % pairs * 2 + 1)
    for i in range(depth):
        c = group * g.group_inputs + i // g.taps_d
        kd = source_index(d * g.stride_d + i % g.taps_d * g.dilation_d - g.pad_d, g.size_d, g.padding_mode)
        if kd < 0:
            memset(spectra + i * 2 * plane, 0, 2 * plane * sizeof(real_t))
            continue
        image = job.x.data + n * job.x.n + c * job.x.c + kd * job.x.d
        _gather(job, image, &first, cells)
        _gather(job, image, &second, cells + plane)
        if not _all_finite(cells, 2 * plane):
            restore_mode(mode)
            return True
        _to_spectrum(job, cells, spectra + i * 2 * plane, strip)
    seen = False
    for k in range(g.group_outputs):
        c = group * g.group_outputs + k
        _multiply(g, spectra, job.weight + c * depth * 2 * plane, depth, total, job.turns_w)
        seen |= _store(job, total, strip, n, c, d, &first, &second)
    restore_mode(mode)
    return seen


cdef void _gather(const Job *job, const real_t *image, const Tile *tile, real_t *cells) noexcept nogil:
    """The input cells of a tile; zeros for the missing half of a pair."""
    cdef const Geometry *g = job.g
    cdef int64_t strip[3]
    cdef int64_t j, k
    cdef const real_t *row
    cdef Axis axis = Axis(g.size_w, 1, g.pad_w, g.points_w, 1, &strip[0])
    strip[0], strip[1], strip[2] = 0, 0, 0
    if not tile.exists:
        memset(cells, 0, g.points_h * g.points_w * sizeof(real_t))
        return
    for j in range(g.points_h):
        k = source_index(tile.h + j - g.pad_h, g.size_h, g.padding_mode)
        row = image + k * job.x.h if k >= 0 else <const real_t *>NULL
        gather_row(cells + j * g.points_w, 0, row, &job.x, 1, tile.w, g.points_w, &axis, g.padding_mode)


cdef inline bint _all_finite(const real_t *cells, int64_t count) noexcept nogil:
    """Whether 0 times every one of ``count`` cells (whole vectors) is 0."""
    cdef vec_t sum0 = vzero(), sum1 = vzero(), nothing = vzero()
    cdef real_t lanes[VL]
    cdef real_t total = <real_t>0
    cdef int64_t i = 0
    while i < count:
        sum0 = sum0 + vload(cells + i) * nothing
        sum1 = sum1 + vload(cells + i + VL) * nothing
        i += 2 * VL
    vstore(lanes, sum0 + sum1)
    for i in range(VL):
        total = total + lanes[i]
    return total == 0


cdef void _to_spectrum(const Job *job, const real_t *cells, real_t *spectrum, real_t *strip) noexcept nogil:
    """Transform the columns of ``cells`` ([re, im][h][w]), transpose, transform the rows."""
    cdef const Geometry *g = job.g
    cdef int64_t plane = g.points_h * g.points_w
    cdef int64_t side = g.points_w * VL
    cdef vec_t block[VL]
    cdef int64_t w = 0, h, i, part
    cdef real_t *to
    while w < g.points_w:
        for h in range(g.points_h):
            vstore(strip + h * VL, vload(cells + h * g.points_w + w))
            vstore(strip + (g.points_h + h) * VL, vload(cells + plane + h * g.points_w + w))
        if g.taps_h > 1:
            forward(strip, strip + g.points_h * VL, g.points_h, job.turns_h)
        for part in range(2):
            h = 0
            while h < g.points_h:
                for i in range(VL):
                    block[i] = vload(strip + (part * g.points_h + h + i) * VL)
                vtranspose(block)
                to = spectrum + h // VL * 2 * side + part * side + w * VL
                for i in range(VL):
                    vstore(to + i * VL, block[i])
                h += VL
        w += VL
    if g.taps_w > 1:
        for h in range(g.points_h // VL):
            forward(spectrum + h * 2 * side, spectrum + h * 2 * side + side, g.points_w, job.turns_w)


cdef void _multiply(const Geometry *g, const real_t *spectra, const real_t *weight, int64_t depth, real_t *total,
                    const real_t *turns) noexcept nogil:
    """Sum of the products of all spectra with their weights, transformed back along the rows."""
    cdef int64_t plane = g.points_h * g.points_w
    cdef int64_t side = g.points_w * VL
    cdef int64_t strip, i, at
    for strip in range(g.points_h // VL):
        i = 0
        at = strip * 2 * side
        while i + SIDE_BY_SIDE <= g.points_w:
            _multiply_points(SIDE_BY_SIDE, spectra + at, weight + at, side, plane, depth, total + at)
            i += SIDE_BY_SIDE
            at += SIDE_BY_SIDE * VL
        while i < g.points_w:
            _multiply_points(1, spectra + at, weight + at, side, plane, depth, total + at)
            i += 1
            at += VL
        at = strip * 2 * side
        if g.taps_w > 1:
            inverse(total + at, total + at + side, g.points_w, turns)


cdef inline inlined _multiply_points(const int count, const real_t *a, const real_t *b, int64_t side, int64_t plane,
                                     int64_t depth, real_t *total) noexcept nogil:
    """A few neighbouring vectors of frequencies: planes lie a power of 2 apart, where one line of each at a time would
    meet the last one's in the caches and be on another page (128 channels, 32x32 points: 6 GB/s)."""
    cdef vec_t re[SIDE_BY_SIDE]
    cdef vec_t im[SIDE_BY_SIDE]
    cdef vec_t ar, ai, br, bi
    cdef int64_t _
    cdef int j
    for j in range(count):
        re[j], im[j] = vzero(), vzero()
    for _ in range(depth):
        for j in range(count):
            ar, ai = vload(a + j * VL), vload(a + side + j * VL)
            br, bi = vload(b + j * VL), vload(b + side + j * VL)
            re[j] = re[j] + ar * br - ai * bi
            im[j] = im[j] + ar * bi + ai * br
        a += 2 * plane
        b += 2 * plane
    for j in range(count):
        vstore(total + j * VL, re[j])
        vstore(total + side + j * VL, im[j])


cdef bint _store(const Job *job, const real_t *total, real_t *strip, int64_t n, int64_t k, int64_t d, const Tile *first,
                 const Tile *second) noexcept nogil:
    """Transpose, transform the columns back and hand out the results; True if one is not finite."""
    cdef const Geometry *g = job.g
    cdef int64_t side = g.points_w * VL
    cdef vec_t block[VL]
    cdef int64_t w = 0, h, i, part
    cdef const real_t *source
    cdef bint bad = False
    while w < g.valid_w:
        for part in range(2):
            h = 0
            while h < g.points_h:
                source = total + h // VL * 2 * side + part * side + w * VL
                for i in range(VL):
                    block[i] = vload(source + i * VL)
                vtranspose(block)
                for i in range(VL):
                    vstore(strip + (part * g.points_h + h + i) * VL, block[i])
                h += VL
        if g.taps_h > 1:
            inverse(strip, strip + g.points_h * VL, g.points_h, job.turns_h)
        bad |= not _all_finite(strip, 2 * g.points_h * VL)
        _hand_out(job, strip, n, k, d, first, w)
        if second.exists:
            _hand_out(job, strip + g.points_h * VL, n, k, d, second, w)
        w += VL
    return bad


cdef void _hand_out(const Job *job, real_t *strip, int64_t n, int64_t k, int64_t d, const Tile *tile,
                    int64_t w) noexcept nogil:
    """Bias, activation, and those of the strip's columns ``w`` to ``w + VL`` that are results of this tile."""
    cdef const Geometry *g = job.g
    cdef vec_t bias = vset(job.bias[k]), slope = vset(job.slope), lo = vset(job.lo), hi = vset(job.hi)
    cdef vec_t v
    cdef int64_t height = min(g.valid_h, (g.out_h - 1) * g.stride_h + 1 - tile.h)
    cdef int64_t width = min(min(<int64_t>VL, g.valid_w - w), (g.out_w - 1) * g.stride_w + 1 - tile.w - w)
    cdef int64_t skip_h = (g.stride_h - tile.h % g.stride_h) % g.stride_h
    cdef int64_t skip_w = (g.stride_w - (tile.w + w) % g.stride_w) % g.stride_w
    cdef int64_t h, i
    cdef real_t *to = job.out + n * job.out_n + k * job.out_k + d * job.out_d
    to += (tile.h + skip_h) // g.stride_h * job.out_h + (tile.w + w + skip_w) // g.stride_w * job.out_w
    if width <= 0:
        return
    h = skip_h
    while h < height:
        v = vload(strip + h * VL) + bias
        if g.has_activation:
            v = vactivate(v, slope, lo, hi)
        vstore(strip + h * VL, v)
        if g.is_silu:
            silu(strip + h * VL, VL, 1, VL)
        if g.stride_w == 1 and job.out_w == 1 and width == VL:
            vstore(to, vload(strip + h * VL))
        else:
            i = skip_w
            while i < width:
                to[(i - skip_w) // g.stride_w * job.out_w] = strip[h * VL + i]
                i += g.stride_w
        to += job.out_h
        h += g.stride_h
