"""Weight gradient of a convolution by Winograd's algorithm: the transpose of what ``winograd.pyx`` does.

    dw[k, c] = G^T [ sum over tiles of (A g[k] A^T) * (B^T x[c] B) ] G

An m x m tile of the gradient g and the a x a cells of x that it meets, a = m + r - 1 (2 m + r - 2 at a stride of 2), are
transformed with the matrices of the forward direction; per frequency the sum is a product whose depth are the tiles.

    for each box of tiles, in order:
        for each vector of channels of x and of g, for each picture of the box:                             <- threads
            rows of cells, channels side by side; transform      -> inputs[frequency][panel of c][tile][c]
                                                                    gradients[frequency][block of k][tile][k]
        for each block of k and of c:                                                                       <- threads
            a product per frequency on the register tile         -> product[frequency][panel of c][k][c]
            transform, add to dw

Rows of the register tile are outputs k, its vectors are inputs c. Where dw is small, segments of boxes have a sum each,
and a thread does all of a segment by itself. Which box and segment a tile is in follows from the shapes alone, and a
number of dw is one sequence of additions for any number of threads.

FLOPs 2 K C a^2 per tile; bytes: x and g once, dw once per box.
Assumptions (guaranteed by ``_plans/winograd_gradients.py``): no size is zero; the arrays have the sizes that the
geometry says; scratch holds ``at_threads + num_threads * thread_bytes``.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cyconv._kernels.channel_rows cimport Row, fill_row, zero_row
from cyconv._kernels.channel_tiles cimport Tiles, transform_tiles
from cyconv._kernels.gather cimport LINE_BYTES, ZEROS
from cyconv._kernels.lanes cimport vall_zero
from cyconv._kernels.shares cimport Shares, Turn, first_turn, next_item, share_out
from cyconv._kernels.simd cimport (TILE_ROWS, VL, flush_subnormals, real_t, restore_mode, vec_t, vload, vstore,
                                   vzero)
from cyconv._kernels.tile cimport SOON, TILE_VECS, Finish, Places, Start, run_tile_on_scalars, start_at_columns
from cyconv._kernels.transpose cimport vtranspose
from cyconv._kernels.winwgrad_transforms cimport collect_taps, spread_gradient

cdef enum:
    PANEL = TILE_VECS * VL
    MAX_TAPS = 64       # 49, in whole vectors of any build

cdef struct Geometry:
    int64_t batch, groups, group_inputs, group_outputs
    int64_t size_h, size_w, out_h, out_w, pad_h, pad_w, padding_mode
    int64_t points, pixels, stride, taps, tiles_h, tiles_w, box_n, box_h, box_w
    int64_t block_k, block_panels, step_inputs, step_gradients, step_product, segments
    int64_t at_gradients, at_work, at_threads, thread_bytes

#: order of the geometry vector that ``run`` takes
FIELDS = (
    "batch", "groups", "group_inputs", "group_outputs",
    "size_h", "size_w", "out_h", "out_w", "pad_h", "pad_w", "padding_mode",
    "points", "pixels", "stride", "taps", "tiles_h", "tiles_w", "box_n", "box_h", "box_w",
    "block_k", "block_panels", "step_inputs", "step_gradients", "step_product", "segments",
    "at_gradients", "at_work", "at_threads", "thread_bytes",
)
ROWS = TILE_ROWS
LANES = VL
VECS = TILE_VECS

cdef struct Image:
    const real_t *data
    int64_t n, c, h, w      # strides in scalars

cdef struct Box:
    int64_t n0, n, h0, h, w0, w, tiles

cdef struct Job:
    const Geometry *g
    Image x, grad
    const int64_t *cell             # where the input transform finds the cells of a tile
    const real_t *input_numbers
    const real_t *output_numbers
    const real_t *weight_numbers
    real_t *out
    real_t *inputs
    real_t *gradients


cdef inline int64_t _cuts(int64_t total, int64_t box) noexcept nogil:
    return (total + box - 1) // box


cdef inline Box _box_at(const Geometry *g, int64_t index) noexcept nogil:
    cdef Box box
    cdef int64_t count = _cuts(g.tiles_w, g.box_w)
    box.w0 = index % count * g.box_w
    box.w = min(g.box_w, g.tiles_w - box.w0)
    index = index // count
    count = _cuts(g.tiles_h, g.box_h)
    box.h0 = index % count * g.box_h
    box.h = min(g.box_h, g.tiles_h - box.h0)
    box.n0 = index // count * g.box_n
    box.n = min(g.box_n, g.batch - box.n0)
    box.tiles = box.n * box.h * box.w
    return box


def run(const real_t[:, :, :, :] x, const real_t[:, :, :, :] grad, real_t[:, :, ::1] out, const int64_t[::1] geometry,
        const int64_t[::1] tables, const real_t[::1] input_numbers, const real_t[::1] output_numbers,
        const real_t[::1] weight_numbers, uint8_t[::1] bad, uint8_t[::1] scratch, int num_threads):
    """Fill ``out`` (segments, K, C / groups * taps), and set a flag for each block, or each item, that has a number
    which is not finite."""
    cdef Job job
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t step = sizeof(real_t)
    cdef int64_t boxes, index, group, thread, vectors, blocks_k, blocks
    cdef Box box
    cdef Shares shares
    if geometry.shape[0] != len(FIELDS) or sizeof(Geometry) != 8 * len(FIELDS):
        raise ValueError("geometry does not have the fields of this kernel")
    blocks_k = _cuts(g.group_outputs, g.block_k)
    blocks = blocks_k * _cuts(_cuts(g.group_inputs, PANEL), g.block_panels)
    if bad.shape[0] < (blocks if g.segments == 1 else g.segments * g.groups):
        raise ValueError("bad is too short")
    if out.shape[0] < g.segments:
        raise ValueError("out is too short")
    if scratch.shape[0] < g.at_threads + num_threads * g.thread_bytes:
        raise ValueError("scratch is too small")
    job.g = g
    job.x = Image(&x[0, 0, 0, 0], x.strides[0] // step, x.strides[1] // step, x.strides[2] // step,
                  x.strides[3] // step)
    job.grad = Image(&grad[0, 0, 0, 0], grad.strides[0] // step, grad.strides[1] // step, grad.strides[2] // step,
                     grad.strides[3] // step)
    job.cell = &tables[0]
    job.input_numbers = &input_numbers[0]
    job.output_numbers = &output_numbers[0]
    job.weight_numbers = &weight_numbers[0]
    job.out = &out[0, 0, 0]
    job.inputs = <real_t *>&scratch[0]
    job.gradients = <real_t *>&scratch[g.at_gradients]
    boxes = _cuts(g.batch, g.box_n) * _cuts(g.tiles_h, g.box_h) * _cuts(g.tiles_w, g.box_w)
    vectors = _cuts(g.group_inputs, VL) + _cuts(g.group_outputs, VL)
    if g.segments > 1:
        share_out(&shares, g.segments * g.groups, num_threads)
        for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                             use_threads_if=num_threads > 1):
            _run_items(&job, &shares, thread, boxes, vectors, blocks_k, blocks, &bad[0],
                       &scratch[thread * g.thread_bytes])
        return
    for group in range(g.groups):
        for index in range(boxes):
            box = _box_at(g, index)
            share_out(&shares, vectors * box.n, num_threads)
            for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                                 use_threads_if=num_threads > 1):
                _transform_vectors(&job, &box, group, &shares, thread,
                                   <real_t *>&scratch[g.at_threads + thread * g.thread_bytes])
            share_out(&shares, blocks, num_threads)
            for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                                 use_threads_if=num_threads > 1):
                _multiply_blocks(&job, &box, group, &shares, thread, blocks_k, index == 0, &bad[0],
                                 <real_t *>&scratch[g.at_threads + thread * g.thread_bytes])


cdef void _transform_vectors(const Job *job, const Box *box, int64_t group, Shares *shares, int64_t thread,
                             real_t *work) noexcept nogil:
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _transform(job, box, group, turn.item // box.n, turn.item % box.n, work)


cdef void _multiply_blocks(const Job *job, const Box *box, int64_t group, Shares *shares, int64_t thread, int64_t blocks_k,
                           bint is_first, uint8_t *bad, real_t *work) noexcept nogil:
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        bad[turn.item] |= _multiply(job, box, group, turn.item % blocks_k * job.g.block_k,
                                    turn.item // blocks_k * job.g.block_panels, is_first, work)


cdef void _run_items(const Job *job, Shares *shares, int64_t thread, int64_t boxes, int64_t vectors, int64_t blocks_k,
                     int64_t blocks, uint8_t *bad, uint8_t *own) noexcept nogil:
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        bad[turn.item] = _run_item(job, turn.item // job.g.groups, turn.item % job.g.groups, boxes, vectors, blocks_k,
                                   blocks, own)


cdef bint _run_item(const Job *shared, int64_t segment, int64_t group, int64_t boxes, int64_t vectors,
                    int64_t blocks_k, int64_t blocks, uint8_t *own) noexcept nogil:
    """All boxes of a segment, by one thread in memory of its own. True if some number is not finite."""
    cdef Job job = shared[0]
    cdef const Geometry *g = job.g
    cdef int64_t first = boxes * segment // g.segments
    cdef real_t *work = <real_t *>(own + g.at_work)
    cdef int64_t index, task
    cdef bint bad = 0
    cdef Box box
    job.inputs = <real_t *>own
    job.gradients = <real_t *>(own + g.at_gradients)
    job.out += segment * g.groups * g.group_outputs * g.group_inputs * g.taps * g.taps
    for index in range(first, boxes * (segment + 1) // g.segments):
        box = _box_at(g, index)
        for task in range(vectors * box.n):
            _transform(&job, &box, group, task // box.n, task % box.n, work)
        for task in range(blocks):
            bad |= _multiply(&job, &box, group, task % blocks_k * g.block_k, task // blocks_k * g.block_panels,
                             index == first, work)
    return bad


# ------------------------------------------------------------------------------------------- cells to frequencies

cdef void _transform(const Job *job, const Box *box, int64_t group, int64_t vector, int64_t n,
                     real_t *cells) noexcept nogil:
    """The tiles of one picture, one vector of channels of x, or of g behind those."""
    cdef const Geometry *g = job.g
    cdef int64_t inputs = _cuts(g.group_inputs, VL)
    cdef int64_t tiles = g.box_n * g.box_h * g.box_w
    cdef int64_t k
    cdef uint64_t mode = flush_subnormals()
    if vector < inputs:
        _transform_inputs(job, box, group * g.group_inputs + vector * VL, g.group_inputs - vector * VL, n,
                          job.inputs + vector * VL // PANEL * tiles * PANEL + vector * VL % PANEL, cells)
    else:
        k = (vector - inputs) * VL
        _transform_gradients(job, box, group * g.group_outputs + k, g.group_outputs - k, n,
                             job.gradients + k // g.block_k * tiles * g.block_k + k % g.block_k, cells)
    restore_mode(mode)


cdef void _transform_inputs(const Job *job, const Box *box, int64_t c0, int64_t channels, int64_t n, real_t *to,
                            real_t *cells) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef int64_t step = g.pixels * g.stride
    cdef Row row = Row(job.x.c, job.x.w, g.size_w, min(channels, <int64_t>VL), g.padding_mode, VL)
    cdef Tiles tiles = Tiles(g.points, g.points, step, step, box.h0, box.h, box.w0, box.w, g.size_h, job.x.h, g.pad_h, g.pad_w,
                             (g.box_w - 1) * step + g.points, g.points, 1, 1, 0, job.cell, job.input_numbers)
    transform_tiles(&tiles, &row, job.x.data + (box.n0 + n) * job.x.n + c0 * job.x.c, cells, to + n * box.h * box.w * PANEL,
                    PANEL, g.step_inputs)


cdef void _transform_gradients(const Job *job, const Box *box, int64_t k0, int64_t channels, int64_t n, real_t *to,
                               real_t *cells) noexcept nogil:
    """Tile row by tile row, zeros beyond the last result."""
    cdef const Geometry *g = job.g
    cdef const real_t *image = job.grad.data + (box.n0 + n) * job.grad.n + k0 * job.grad.c
    cdef Row row = Row(job.grad.c, job.grad.w, g.out_w, min(channels, <int64_t>VL), ZEROS, VL)
    cdef int64_t count = box.w * g.pixels
    cdef int64_t i, j, h, w
    to += n * box.h * box.w * g.block_k
    for i in range(box.h):
        for j in range(g.pixels):
            h = (box.h0 + i) * g.pixels + j
            if h < g.out_h:
                fill_row(&row, image + h * job.grad.h, box.w0 * g.pixels, count, cells + j * count * VL)
            else:
                zero_row(&row, count, cells + j * count * VL)
        for w in range(box.w):
            spread_gradient(g.points, g.pixels, cells + w * g.pixels * VL, count * VL, to, g.step_gradients,
                            2 * g.block_k, job.output_numbers)
            to += g.block_k


# ------------------------------------------------------------------------------------------ frequencies to weights

cdef bint _multiply(const Job *job, const Box *box, int64_t group, int64_t k0, int64_t panel0, bint fresh,
                    real_t *product) noexcept nogil:
    """One block of dw: outputs from ``k0``, inputs from panel ``panel0`` on. True if some number is not finite."""
    cdef const Geometry *g = job.g
    cdef int64_t outputs = min(g.block_k, g.group_outputs - k0)
    cdef int64_t panel1 = min(panel0 + g.block_panels, _cuts(g.group_inputs, PANEL))
    cdef int64_t tiles = g.box_n * g.box_h * g.box_w
    cdef int64_t cuts = _cuts(outputs, TILE_ROWS)
    cdef int64_t taps = g.taps * g.taps
    cdef const real_t *inputs
    cdef const real_t *gradients
    cdef int64_t f, panel, q, row, vecs, k, c, line
    cdef bint bad = 0
    cdef uint64_t mode = flush_subnormals()
    cdef real_t *to
    cdef real_t zeros[PANEL]
    cdef Start start = start_at_columns(zeros)
    cdef Places places = Places(NULL, g.block_k, SOON * g.block_k)
    cdef Finish finish
    finish.active = 0
    for q in range(TILE_VECS):
        vstore(zeros + q * VL, vzero())
    for f in range(g.points * g.points):
        gradients = job.gradients + f * g.step_gradients + k0 // g.block_k * tiles * g.block_k
        line = 0
        for panel in range(panel0, panel1):
            inputs = job.inputs + f * g.step_inputs + panel * tiles * PANEL
            vecs = min(<int64_t>TILE_VECS, _cuts(g.group_inputs - panel * PANEL, VL))
            to = product + f * g.step_product + (panel - panel0) * g.block_k * PANEL
            for q in range(cuts):
                row = outputs * q // cuts
                _ask_ahead(job, f + 1, k0, tiles, panel0, panel1, line, &start)
                line += 1
                run_tile_on_scalars(<int>(outputs * (q + 1) // cuts - row), <int>vecs, box.tiles, gradients + row, 1,
                                    &places, inputs, PANEL, to + row * PANEL, PANEL, &start, &finish, 0)
    for k in range(outputs):
        c = panel0 * PANEL
        while c < min(panel1 * PANEL, g.group_inputs):
            to = product + (c // PANEL - panel0) * g.block_k * PANEL + k * PANEL + c % PANEL
            bad |= _add_weights(job, to, job.out + ((group * g.group_outputs + k0 + k) * g.group_inputs + c) * taps,
                                min(g.group_inputs - c, <int64_t>VL), fresh)
            c += VL
    restore_mode(mode)
    return bad


cdef inline void _ask_ahead(const Job *job, int64_t f, int64_t k0, int64_t tiles, int64_t panel0, int64_t panel1,
                            int64_t line, Start *start) noexcept nogil:
    """While one frequency is multiplied, the next one's numbers come from the third-level cache: tile by tile, with
    each call, one of the lines that hold the block's outputs or the inputs of its panels."""
    cdef const Geometry *g = job.g
    cdef int64_t lines_k = _cuts(g.block_k * sizeof(real_t), LINE_BYTES)
    cdef int64_t lines_c = _cuts(PANEL * sizeof(real_t), LINE_BYTES)
    if f == g.points * g.points:
        start.ahead_step = 0
    elif line < lines_k:
        start.ahead = <const char *>(job.gradients + f * g.step_gradients + k0 // g.block_k * tiles * g.block_k)
        start.ahead += line * LINE_BYTES
        start.ahead_step = g.block_k * sizeof(real_t)
    else:
        line -= lines_k
        start.ahead = <const char *>(job.inputs + f * g.step_inputs + (panel0 + line // lines_c) * tiles * PANEL)
        start.ahead += line % lines_c * LINE_BYTES
        start.ahead_step = PANEL * sizeof(real_t)
        if line >= lines_c * (panel1 - panel0):
            start.ahead_step = 0


cdef bint _add_weights(const Job *job, const real_t *product, real_t *out, int64_t channels, bint fresh) noexcept nogil:
    """The taps of up to VL channels, turned to stand channel by channel, set or added to ``out``."""
    cdef const Geometry *g = job.g
    cdef int64_t taps = g.taps * g.taps
    cdef vec_t found[MAX_TAPS]
    cdef real_t turned[(VL + 1) * MAX_TAPS]
    cdef int64_t count = channels * taps
    cdef int64_t groups = _cuts(taps, VL)
    cdef int64_t group, q, i
    cdef vec_t v, rest = vzero()
    cdef bint bad = 0
    collect_taps(g.points, g.taps, product, g.step_product, found, job.weight_numbers)
    for group in range(groups):
        vtranspose(found + group * VL)
    # a vector stores more than the taps of its channel: the next channel overwrites that
    for q in range(VL):
        for group in range(groups):
            vstore(turned + q * taps + group * VL, found[group * VL + q])
    if not fresh:
        for i in range(count // VL):
            vstore(turned + i * VL, vload(turned + i * VL) + vload(out + i * VL))
        for i in range(count - count % VL, count):
            turned[i] = turned[i] + out[i]
    for i in range(count // VL):
        v = vload(turned + i * VL)
        rest = rest + (v - v)
        vstore(out + i * VL, v)
    for i in range(count - count % VL, count):
        bad |= turned[i] - turned[i] != 0
        out[i] = turned[i]
    return bad or not vall_zero(rest)
