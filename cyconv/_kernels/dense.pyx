"""Dense convolution by implicit GEMM.

    out[n, k, p] = act(bias[k] + sum over kk of  weight[k, kk] * patch[kk, p]),      kk = (c, t, r, s)

p runs over the output positions of a box (images x depth x height x width), k over the outputs of a group, and the
patch matrix exists only as panels of one box and one block of kk. Either side can be the vector side of the tile:

    by_rows = 1:   rows of the tile = output channels,  its vectors = positions       (long rows of positions)
    by_rows = 0:   rows of the tile = positions,        its vectors = output channels (few positions; channels last)

    for each item = (box, group, part of the channels):                  <- threads
        for each block of kk:
            lay out the input of the box (dense_source.pxd): positions d x (h, image, w), the latter a slab in one row
            for each panel of weights, for each panel of positions of a slab: tile (tile.pxd)
                (``row_tiles``: tiles end with the rows of outputs, and the input is laid out once, not once per tap)
            after the last block, what was not accumulated in the result: store it there (dense_store.pxd)

An output element is one chain of multiply-adds over kk in ascending order, so neither boxes, parts, orientation nor
threads change a bit of it. FLOPs 2 K CRS P; bytes: x and out once, weights once per box and part.

Assumptions (guaranteed by ``_plans/dense.py``): no size is zero; x, out and the packed weights have the sizes that the
geometry says; scratch holds ``num_threads * scratch_bytes``; coordinates and offsets fit in 63 bits; what ``run`` is
given are NumPy's arrays, of the right types (buffers for all of them would take a quarter of a small call).
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cyconv._kernels.activation cimport silu
from cyconv._kernels.dense_geometry cimport (MOST_SPREAD as _MOST_SPREAD, PANEL, Box, Geometry, Job, Operand, balanced,
                                             box_at, box_count, cuts, panel_start, position_runs, position_tiles, result_at,
                                             weight_panels, weight_width)
from cyconv._kernels.dense_source cimport Run, before_line, input_at, least_crossed, read_input
from cyconv._kernels.dense_store cimport store
from cyconv._kernels.dense_weights cimport pack_columns
from cyconv._kernels.gather cimport Axis, Source, copy_run
from cyconv._kernels.ndarray cimport PyArray_DATA, PyArray_DIMS, as_array
from cyconv._kernels.shares cimport Shares, Turn, first_turn, next_item, share_out
from cyconv._kernels.simd cimport REAL_SIZE, REGISTERS, TILE_ROWS, VL, flush_subnormals, prefetch, real_t, restore_mode
from cyconv._kernels.tile cimport (FOREVER, MOST_COLUMN_VECS, TILE_VECS, Finish, Places, Start, activate, rows_for,
                                   run_tile_on_scalars, run_tile_on_vectors, start_at_columns, start_at_result,
                                   start_at_rows, vectors_for)
from cyconv._kernels.tile_planes cimport Planes, run_tile_before_block, run_tile_on_planes

FIELDS = (
    "batch", "groups", "group_inputs", "group_outputs",
    "size_d", "size_h", "size_w", "out_d", "out_h", "out_w",
    "stride_d", "stride_h", "stride_w", "pad_d", "pad_h", "pad_w", "dilation_w", "padding_mode",
    "taps", "taps_w", "slots_d", "slots_h", "slots_w", "strips_d", "strips_h", "strips_w",
    "box_n", "box_d", "box_h", "box_w",
    "block", "parts", "by_rows", "row_tiles", "direct_in", "direct_out", "result_lines", "channel_runs",
    "plain_rows", "copied", "asks_input", "asks_result",
    "at_cells", "at_source", "at_tail", "at_tile", "at_offsets", "scratch_bytes",
    "is_silu", "has_activation",
    "x_n", "x_c", "x_d", "x_h", "x_w", "y_n", "y_k", "y_d", "y_h", "y_w",
)
ROWS = TILE_ROWS
LANES = VL
VECS = TILE_VECS
MOST_SPREAD = _MOST_SPREAD
#: vectors of positions of a tile of so many outputs, from one on, and rows of positions of one of so many vectors of outputs
VECTORS_FOR = tuple(vectors_for(i + 1) for i in range(TILE_ROWS))
ROWS_FOR = tuple(rows_for(i + 1) for i in range(MOST_COLUMN_VECS))
LEAST_CROSSED = least_crossed()
RUN_NUMBERS = sizeof(Run) // sizeof(int64_t)


def pack_weights(const real_t[:, :, :, :, :] weight, const int64_t[::1] offset, real_t[::1] packed,
                 const int64_t[::1] geometry, int num_threads):
    """``weight`` (K, C / groups, T, R, S) into panels ``[group][block][panel][kk][channel]``.

    Its strides may be any; ``offset`` has the place of every kk of an output channel, in scalars.
    """
    cdef const Geometry *g = <const Geometry *>&geometry[0]
    cdef int64_t depth = offset.shape[0]
    cdef int64_t step = weight.strides[0] // <int64_t>sizeof(real_t)
    cdef int64_t panels = weight_panels(g)
    cdef int64_t task
    if packed.shape[0] < g.groups * depth * weight_width(g):
        raise ValueError("packed is too short")
    for task in prange(g.groups * panels, nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _pack_panel(g, &weight[task // panels * g.group_outputs, 0, 0, 0, 0], step, &offset[0], &packed[0], depth,
                    task // panels, task % panels)


cdef void _pack_panel(const Geometry *g, const real_t *weight, int64_t step, const int64_t *offset, real_t *packed,
                      int64_t depth, int64_t group, int64_t panel) noexcept nogil:
    cdef int64_t width = weight_width(g)
    cdef int64_t first = panel_start(g, panel)
    cdef int64_t columns = panel_start(g, panel + 1) - first
    cdef int64_t real_columns = min(columns, g.group_outputs - first)
    cdef int64_t k0 = 0, k1
    cdef real_t *to
    while k0 < depth:
        k1 = min(k0 + g.block, depth)
        to = packed + group * depth * width + k0 * width + (k1 - k0) * first
        pack_columns(weight + first * step, step, offset + k0, k1 - k0, depth - k0, real_columns, columns, to)
        k0 = k1


def run(weight, bias, geometry, tables, activation, int num_threads, x, out, scratch):
    """The whole convolution of arrays whose strides the geometry has. ``activation`` is (slope, lo, hi).

    ``bias`` has a value per packed output channel; if the rows are channels, each is repeated over a whole vector.
    """
    cdef Job job
    cdef const Geometry *g = <const Geometry *>PyArray_DATA(as_array(geometry))
    cdef const real_t *limits = <const real_t *>PyArray_DATA(as_array(activation))
    cdef uint8_t *memory = <uint8_t *>PyArray_DATA(as_array(scratch))
    cdef int64_t items, thread
    cdef Shares shares
    if PyArray_DIMS(as_array(geometry))[0] * 8 != sizeof(Geometry):
        raise ValueError("geometry does not have the fields of this kernel")
    if PyArray_DIMS(as_array(scratch))[0] < num_threads * g.scratch_bytes:
        raise ValueError("scratch is too small")
    job.g = g
    job.x = Source(<const real_t *>PyArray_DATA(as_array(x)), g.x_n, g.x_c, g.x_d, g.x_h, g.x_w)
    job.axis_d = Axis(g.size_d, g.stride_d, g.pad_d, g.slots_d, g.strips_d,
                      <const int64_t *>PyArray_DATA(as_array(tables)))
    job.axis_h = Axis(g.size_h, g.stride_h, g.pad_h, g.slots_h, g.strips_h, job.axis_d.strip + 3 * g.strips_d)
    job.axis_w = Axis(g.size_w, g.stride_w, g.pad_w, g.slots_w, g.strips_w, job.axis_h.strip + 3 * g.strips_h)
    job.tap_row = job.axis_w.strip + 3 * g.strips_w
    job.tap_w = job.tap_row + g.taps
    job.slot_w = job.tap_w + g.taps
    job.weight = <const real_t *>PyArray_DATA(as_array(weight))
    job.bias = <const real_t *>PyArray_DATA(as_array(bias))
    job.out = <real_t *>PyArray_DATA(as_array(out))
    job.out_n, job.out_k, job.out_d, job.out_h, job.out_w = g.y_n, g.y_k, g.y_d, g.y_h, g.y_w
    job.lines = g.direct_in and g.direct_out and g.by_rows
    if g.result_lines:
        job.lines &= (g.y_n | g.y_k | (g.y_d if g.box_d > 1 else 0)) % VL == 0
    else:
        job.lines &= (g.x_n | g.x_c | (g.x_d if g.box_d > 1 else 0)) % VL == 0
    job.lead = 0
    if job.lines and g.box_w < g.out_w and g.box_w % VL == 0:
        job.lead = (VL - before_line(<const real_t *>job.out if g.result_lines else job.x.data)) % VL
    job.finish = Finish(g.has_activation, limits[0], limits[1], limits[2])
    items = box_count(&job) * g.groups
    share_out(&shares, items * g.parts, num_threads)
    for thread in prange(num_threads, nogil=True, schedule="static", chunksize=1, num_threads=num_threads,
                         use_threads_if=num_threads > 1):
        _run_items(&job, items, &shares, thread, memory + thread * g.scratch_bytes)


cdef void _run_items(const Job *job, int64_t items, Shares *shares, int64_t thread, uint8_t *scratch) noexcept nogil:
    """The ``items`` of a part follow each other: a thread keeps to its part of the weights."""
    cdef Turn turn = first_turn(shares, thread)
    while next_item(shares, &turn):
        _run_item(job, turn.item // items, turn.item % items, scratch)


cdef void _run_item(const Job *job, int64_t part, int64_t item, uint8_t *scratch) noexcept nogil:
    cdef uint64_t mode = flush_subnormals()
    cdef const Geometry *g = job.g
    cdef int64_t group = item % g.groups
    cdef Box box = box_at(job, item // g.groups)
    cdef int64_t depth = g.group_inputs * g.taps
    cdef int64_t first_panel = balanced(weight_panels(g), g.parts, part)
    cdef int64_t last_panel = balanced(weight_panels(g), g.parts, part + 1)
    cdef int64_t k0 = 0, k1
    cdef Operand source
    cdef const real_t *soon
    while k0 < depth:
        k1 = min(k0 + g.block, depth)
        source = read_input(job, &box, group, k0, k1, scratch)
        soon = NULL
        if g.asks_input and not g.channel_runs:  # whose tiles ask by themselves
            soon = _input_after(job, &box, item, k1, depth)
        _multiply(job, &box, group, k0, k1, first_panel, last_panel, &source, soon, scratch)
        k0 = k1
    restore_mode(mode)


cdef inline const real_t *_input_after(const Job *job, const Box *box, int64_t item, int64_t k1,
                                       int64_t depth) noexcept nogil:
    """The input that this thread is likely to read next: the next block of channels, or the first one of the next item."""
    cdef const Geometry *g = job.g
    cdef Box later
    if k1 < depth:
        return input_at(job, box, item % g.groups * g.group_inputs + k1 // g.taps)
    item += 1
    if item >= box_count(job) * g.groups:
        return NULL
    later = box_at(job, item // g.groups)
    return input_at(job, &later, item % g.groups * g.group_inputs)


cdef struct Ahead:
    # What is needed later, the next weights or the next input: each tile asks for a share of it, as ``Start`` has it. The
    # next tile's begins ``tile`` bytes further; after ``left`` tiles, and then after ``tiles`` each time, ``run`` more.
    const char *at
    int64_t step, steps, jump, tile, left, tiles, run


cdef struct Product:
    # what the tiles of a panel of weights share; channel i, position p of slab d: ``c + i * c_k + p * c_p + d * c_slab``
    const real_t *weight
    const real_t *bias
    real_t *c
    int64_t c_k, c_p, c_slab
    int64_t depth, width, channels
    bint fresh, last
    Ahead ahead


cdef void _multiply(const Job *job, const Box *box, int64_t group, int64_t k0, int64_t k1, int64_t first_panel,
                    int64_t last_panel, const Operand *source, const real_t *soon, uint8_t *scratch) noexcept nogil:
    """All tiles of this box, group and part for one block of kk. ``soon``: where later input lies, if it is asked for."""
    cdef const Geometry *g = job.g
    cdef int64_t wide = weight_width(g)
    cdef int64_t row0 = panel_start(g, first_panel)
    # channels that the scratch product has room for, and the first of this panel in it: all of the part wait for the next
    # block, or the panels of a single block take turns
    cdef int64_t kept = MOST_COLUMN_VECS * VL
    cdef int64_t tiles, panel, first, at, d
    cdef bint waits
    cdef real_t *out
    cdef real_t *partial
    cdef Product p
    p.depth = k1 - k0
    p.fresh, p.last = k0 == 0, k1 == g.group_inputs * g.taps
    waits = not (p.fresh and p.last)
    if waits:
        kept = panel_start(g, last_panel) - row0
    p.ahead = Ahead(NULL, 0, FOREVER, 0, 0, FOREVER, 0, 0)
    if soon != NULL:
        _ask_for_runs(job, box, first_panel, last_panel, p.depth, soon, &p.ahead)
    for panel in range(first_panel, last_panel):
        first = panel_start(g, panel)
        p.width = panel_start(g, panel + 1) - first
        p.channels = min(p.width, g.group_outputs - first)
        p.weight = job.weight + group * g.group_inputs * g.taps * wide + k0 * wide + p.depth * first
        if soon == NULL:
            tiles = position_tiles(g, box, p.width)
            p.ahead.at, p.ahead.step = <const char *>(p.weight + p.depth * p.width), p.width * REAL_SIZE // tiles + 1
            p.ahead.tile = p.depth * p.ahead.step
        p.bias = job.bias + (group * wide + first) * (VL if g.by_rows else 1)
        out = result_at(job, box) + (group * g.group_outputs + first) * job.out_k
        at = first - row0 if waits else 0
        partial = <real_t *>(scratch + g.at_tile)
        if g.direct_out:
            p.c, p.c_k, p.c_p, p.c_slab = out, job.out_k, job.out_w, job.out_d
        elif g.by_rows:
            p.c_p, p.c_slab = 1, cuts(box.slab, PANEL) * PANEL
            p.c_k = p.c_slab * box.d
            p.c = partial + at * p.c_k
        else:
            p.c_k, p.c_p, p.c_slab = 1, kept, kept * box.slab
            p.c = partial + at
        for d in range(box.d):
            if g.by_rows:
                _channels_by_positions(job, box, d, &p, source)
            else:
                _positions_by_channels(job, box, d, &p, source, out + d * job.out_d)
        if p.last and not g.direct_out:
            _store_product(job, box, &p, out)


cdef inline void _ask_for_runs(const Job *job, const Box *box, int64_t first_panel, int64_t last_panel, int64_t depth,
                               const real_t *soon, Ahead *ahead) noexcept nogil:
    """Tiles ask for input, for one channel's run after the other's: memory gives most where it is read in long runs. A tile
    asks for several, or several ask for one. Where a stride leaves rows out, a row of each channel is such a run."""
    cdef const Geometry *g = job.g
    cdef int64_t apart = job.x.c * REAL_SIZE, down = g.stride_h * job.x.h * REAL_SIZE
    cdef int64_t channels = cuts(depth, g.taps)
    cdef int64_t tiles = 0, run, steps, panel
    for panel in range(first_panel, last_panel):
        tiles += position_tiles(g, box, panel_start(g, panel + 1) - panel_start(g, panel))
    ahead.at = <const char *>soon
    run = ((box.w - 1) * g.stride_w + (g.taps_w - 1) * g.dilation_w + 1) * job.x.w * REAL_SIZE
    if g.direct_in and not g.row_tiles:
        run = box.slab * REAL_SIZE
    elif g.taps > 1 and box.w == g.out_w:
        run = box.h * down
    elif box.h <= tiles < box.h * channels:
        tiles = tiles // box.h
        ahead.left = ahead.tiles = tiles
        ahead.run = down - tiles * cuts(channels, tiles) * apart
    if tiles < channels:
        ahead.steps = max(depth // cuts(channels, tiles) // 2 * 2, <int64_t>2)
        ahead.step = cuts(run - 1, ahead.steps - 1)     # the last one asks for the end of the run
        ahead.jump, ahead.tile = apart - ahead.steps * ahead.step, cuts(channels, tiles) * apart
    else:
        ahead.left = ahead.tiles = tiles // channels
        steps = ahead.tiles * depth
        ahead.step = cuts(run - 1, max(steps - 1, <int64_t>1))
        ahead.tile, ahead.run = depth * ahead.step, apart - steps * ahead.step


cdef inline Start _start(const Job *job, Product *p, const real_t *c, int64_t ldc) noexcept nogil:
    """Where the next tile of the panel starts, and what it asks for."""
    cdef Start start
    if not p.fresh:
        start = start_at_result(c, ldc)
    elif job.g.by_rows:
        start = start_at_rows(p.bias)
    else:
        start = start_at_columns(p.bias)
    start.ahead, start.ahead_step = p.ahead.at, p.ahead.step
    start.ahead_steps, start.ahead_jump = p.ahead.steps, p.ahead.jump
    p.ahead.at += p.ahead.tile
    p.ahead.left -= 1
    if p.ahead.left == 0:
        p.ahead.at += p.ahead.run
        p.ahead.left = p.ahead.tiles
    return start


cdef void _channels_by_positions(const Job *job, const Box *box, int64_t d, Product *p, const Operand *source) noexcept nogil:
    """Tiles whose vectors are positions."""
    cdef int64_t runs = position_runs(job.g, box)
    cdef int64_t length = box.slab // runs
    # positions behind the slab that are nobody's
    cdef int64_t spare = 0 if job.g.direct_out else p.c_slab - box.slab
    cdef int64_t run
    for run in range(runs):
        _run_of_positions(job, d, length, box.slab - (run + 1) * length, spare, p, source,
                          source.data + d * source.slab + run // box.n * source.row + run % box.n * source.image,
                          p.c + d * p.c_slab + run * length)


cdef inline void _run_of_positions(const Job *job, int64_t d, int64_t length, int64_t behind, int64_t spare, Product *p,
                                   const Operand *source, const real_t *b, real_t *to) noexcept nogil:
    """``length`` positions side by side. Vectors that are not whole spill over those behind them, of this run or later
    ones, which are stored later, or over ``spare`` ones. Where sums lie there already, or others' results do, such a tile
    goes through a small buffer."""
    cdef real_t edge[TILE_ROWS * PANEL]
    cdef Places places = source.places
    cdef real_t *c
    cdef const real_t *next_
    cdef int64_t ldc, count, vecs, room, i, _i, j
    cdef int64_t wide = vectors_for(p.width) * VL
    cdef int64_t left = length
    cdef bint in_place, in_tail = False
    cdef Start start
    while left > 0:
        count = wide if left >= wide else min(left, <int64_t>PANEL)
        if left == length and source.head:
            count = source.head
        vecs = cuts(count, VL)
        room = left - count + behind
        room = room + spare if p.fresh or room == 0 else 0
        in_place = vecs * VL - count <= room
        c, ldc = to, p.c_k
        if not in_place:
            c, ldc = edge, PANEL
            if not p.fresh:
                for i in range(p.width):
                    copy_run(edge + i * PANEL, to + i * p.c_k, count)
        elif not p.fresh:  # where the next tile will be stored, in the first level: the second one is too late
            next_ = to + count
            for _i in range(p.width):
                for j in range(wide // VL - 1):
                    prefetch(next_ + j * VL)
                prefetch(next_ + wide - 1)
                next_ += p.c_k
        if source.tail != NULL and left < PANEL and not in_tail:
            in_tail = True
            b = source.tail + d * job.g.block * PANEL + source.tail_count - left
            places = Places(NULL, PANEL, 0)
        start = _start(job, p, c, ldc)
        run_tile_on_vectors(<int>p.width, <int>vecs, p.depth, p.weight, b, &places, c, ldc, &start, &job.finish, p.last)
        if p.last and job.g.is_silu:
            silu(c, ldc, p.width, count)
        if not in_place:
            for i in range(p.width):
                copy_run(to + i * p.c_k, edge + i * PANEL, count)
        b += count
        to += count
        left -= count


cdef inline void _ask_for_result(const Job *job, const Box *box, const Product *p, const real_t *out,
                                 int64_t position) noexcept nogil:
    """Where the channels of a tile from this position on will be stored, once all tiles are done."""
    cdef int64_t row = position // box.w
    cdef int64_t i
    out += row // box.n * job.out_h + row % box.n * job.out_n + position % box.w * job.out_w
    for i in range(p.channels):
        prefetch(out + i * job.out_k)


cdef inline void _run_on_channels(const Job *job, int count, const Product *p, const real_t *a, int64_t apart, real_t *c,
                                  int64_t ldc, Start *start) noexcept nogil:
    """A tile whose positions are runs of channels, ``apart`` scalars apart. It asks for those of the next tile, or for
    weights."""
    cdef Planes planes = Planes(a, apart, 1, 0, p.depth)
    cdef int vecs = <int>(p.width // VL)
    if job.g.asks_input:
        start.ahead, start.ahead_step = <const char *>(a + count * apart), apart * REAL_SIZE
        run_tile_on_planes(count, vecs, &planes, p.weight, p.width, c, ldc, start)
    else:
        run_tile_before_block(count, vecs, &planes, p.weight, p.width, c, ldc, start)
    if p.last and job.finish.active:
        activate(c, ldc, count, vecs, &job.finish)


cdef void _positions_by_channels(const Job *job, const Box *box, int64_t d, Product *p, const Operand *source,
                                 const real_t *out) noexcept nogil:
    """Tiles whose vectors are channels."""
    cdef real_t edge[REGISTERS * VL]
    cdef const real_t *a
    cdef real_t *to = p.c + d * p.c_slab
    cdef real_t *c
    cdef int64_t ldc, count, i, j, at
    cdef int64_t runs = position_runs(job.g, box)
    cdef int64_t length = box.slab // runs
    cdef int64_t panels = cuts(length, rows_for(p.width // VL))
    cdef bint whole = not job.g.direct_out or p.channels == p.width
    # whether the next position, which is stored after this one, begins where the channels end; its first ones are then
    # activated twice, which with such slopes is no more than once
    cdef bint spills = p.fresh and p.c_p == p.channels and job.finish.slope in (0, 1)
    cdef bint in_place
    cdef int64_t tile
    cdef Start start
    for tile in range(runs * panels):
        a = source.data + d * source.slab + tile // panels // box.n * source.row + tile // panels % box.n * source.image
        at = balanced(length, panels, tile % panels)
        count = balanced(length, panels, tile % panels + 1) - at
        a += at * source.apart
        at += tile // panels * length
        c, ldc = to, p.c_p
        in_place = whole or (spills and (box.slab - at - count) * p.channels >= p.width - p.channels)
        if not in_place:
            c, ldc = edge, p.width
            if not p.fresh:
                for i in range(count):
                    copy_run(edge + i * p.width, to + i * p.c_p, p.channels)
        elif job.g.asks_result or not p.fresh:
            for i in range(count, 2 * count):
                for j in range(p.width // VL):
                    prefetch(to + i * p.c_p + j * VL)
        if p.last and not job.g.direct_out:
            _ask_for_result(job, box, p, out, at)
        start = _start(job, p, c, ldc)
        if job.g.channel_runs:
            _run_on_channels(job, <int>count, p, a, source.apart, c, ldc, &start)
        else:
            run_tile_on_scalars(<int>count, <int>(p.width // VL), p.depth, a, <int>source.apart, &source.places, p.weight,
                                p.width, c, ldc, &start, &job.finish, p.last)
        if p.last and job.g.is_silu:
            silu(c, ldc, count, p.channels)
        if not in_place:
            for i in range(count):
                copy_run(to + i * p.c_p, edge + i * p.width, p.channels)
        to += count * p.c_p


cdef void _store_product(const Job *job, const Box *box, const Product *p, real_t *out) noexcept nogil:
    """The finished channels of a panel, from scratch to wherever the result wants them."""
    cdef int64_t d, h, n
    cdef const real_t *from_
    cdef bint plane = box.n == 1 and (box.h == 1 or job.out_h == box.w * job.out_w)
    for d in range(box.d):
        from_ = p.c + d * p.c_slab
        if plane:
            store(out + d * job.out_d, job.out_k, job.out_w, from_, p.c_k, p.c_p, p.channels, box.slab)
            continue
        for h in range(box.h):
            for n in range(box.n):
                store(out + d * job.out_d + h * job.out_h + n * job.out_n, job.out_k, job.out_w, from_, p.c_k, p.c_p,
                      p.channels, box.w)
                from_ += box.w * p.c_p
