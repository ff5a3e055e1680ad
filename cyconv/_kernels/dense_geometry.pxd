"""The sizes of one call of the dense kernel, and how they cut into boxes of positions and panels of channels."""
from libc.stdint cimport int64_t

from cyconv._kernels.gather cimport Axis, Source
from cyconv._kernels.simd cimport TILE_ROWS, VL, real_t
from cyconv._kernels.tile cimport TILE_VECS, Finish, Places, rows_for, vectors_for

cdef enum:
    PANEL = TILE_VECS * VL
    MOST_SPREAD = 2     # scalars from one that a tile reads to the next

cdef struct Geometry:
    int64_t batch, groups, group_inputs, group_outputs
    int64_t size_d, size_h, size_w, out_d, out_h, out_w
    int64_t stride_d, stride_h, stride_w, pad_d, pad_h, pad_w, dilation_w, padding_mode
    int64_t taps, taps_w, slots_d, slots_h, slots_w, strips_d, strips_h, strips_w
    int64_t box_n, box_d, box_h, box_w
    int64_t block, parts, by_rows, row_tiles, direct_in, direct_out, result_lines, channel_runs, plain_rows, copied
    int64_t asks_input, asks_result
    int64_t at_cells, at_source, at_tail, at_tile, at_offsets, scratch_bytes
    int64_t is_silu, has_activation
    int64_t x_n, x_c, x_d, x_h, x_w, y_n, y_k, y_d, y_h, y_w    # strides of x and of the result, in scalars

cdef struct Box:
    # ``slab`` positions (height x images x width) of each of the ``d`` planes lie in one row
    int64_t n0, n, d0, d, h0, h, w0, w, slab, positions

cdef struct Job:
    const Geometry *g
    Source x
    # an input that is read in place: where a vector begins with a line of the cache, in the input or in the result,
    # other channels' vectors do, too
    bint lines
    int64_t lead                # by this much boxes along the width begin earlier, so that each begins with a line
    Axis axis_d, axis_h, axis_w
    const int64_t *tap_row      # row slot of each tap (in an input that is read in place: scalars)
    const int64_t *tap_w        # its place on the width axis
    const int64_t *slot_w       # slot of each place on the width axis in gathered cells
    const real_t *weight
    const real_t *bias
    real_t *out
    int64_t out_n, out_k, out_d, out_h, out_w
    Finish finish

cdef struct Operand:
    # the positions of a box for one block of kk: its rows in slab d begin at ``data + d * slab``
    const real_t *data
    int64_t slab
    Places places
    # with ``row_tiles``: from a row of outputs, an image, an output to the next; with ``channel_runs`` the latter, too
    int64_t row, image, apart
    int64_t head                # positions before the first whole vector
    # the last positions of a slab of an input that is read in place, where whole vectors must not be read
    const real_t *tail
    int64_t tail_count


cdef inline int64_t cuts(int64_t total, int64_t box) noexcept nogil:
    return (total + box - 1) // box


cdef inline real_t *result_at(const Job *job, const Box *box) noexcept nogil:
    """Where the first channel of the first position of a box is stored."""
    return job.out + box.n0 * job.out_n + box.d0 * job.out_d + box.h0 * job.out_h + box.w0 * job.out_w


cdef inline int64_t weight_width(const Geometry *g) noexcept nogil:
    """Output channels of a group as the packed weights hold them: whole vectors if they are the vector side."""
    return g.group_outputs if g.by_rows else (g.group_outputs + VL - 1) // VL * VL


cdef inline int64_t weight_panels(const Geometry *g) noexcept nogil:
    if g.by_rows:
        return cuts(g.group_outputs, TILE_ROWS)
    return max(cuts(g.group_outputs, VL) // TILE_VECS, <int64_t>1)


cdef inline bint is_split(const Geometry *g) noexcept nogil:
    """With ``row_tiles``: whether every ``stride_w``-th cell lies side by side, for vectors of positions, or for scalars
    that lie farther apart than tiles may leave out."""
    return g.row_tiles and (g.by_rows or g.stride_w > MOST_SPREAD)


cdef inline int64_t input_places(const Geometry *g) noexcept nogil:
    """How often the rows of the input are laid out: for each tap of a row; with ``row_tiles`` once, in all."""
    return g.taps_w if not g.row_tiles else g.stride_w if is_split(g) else 1


cdef inline int64_t position_runs(const Geometry *g, const Box *box) noexcept nogil:
    """Into how many runs of equal length the positions of a slab are cut before they are cut into tiles."""
    return box.h * box.n if g.row_tiles else 1


cdef inline int64_t position_tiles(const Geometry *g, const Box *box, int64_t width) noexcept nogil:
    """Tiles of the positions of a box, for a panel of ``width`` channels."""
    cdef int64_t runs = position_runs(g, box)
    return box.d * runs * cuts(box.slab // runs, vectors_for(width) * VL if g.by_rows else rows_for(width // VL))


cdef inline int64_t balanced(int64_t total, int64_t parts, int64_t index) noexcept nogil:
    """First element of part ``index`` when ``total`` is cut into ``parts`` that differ by one at most."""
    return total * index // parts


cdef inline int64_t panel_start(const Geometry *g, int64_t panel) noexcept nogil:
    """First output channel of a weight panel: all have as many rows, or vectors, or one more. None of several has a
    single vector, which a tile could not fill registers with."""
    if g.by_rows:
        return balanced(g.group_outputs, weight_panels(g), panel)
    return balanced(cuts(g.group_outputs, VL), weight_panels(g), panel) * VL


cdef inline int64_t box_count(const Job *job) noexcept nogil:
    cdef const Geometry *g = job.g
    return (cuts(g.batch, g.box_n) * cuts(g.out_d, g.box_d) * cuts(g.out_h, g.box_h) * cuts(g.out_w + job.lead, g.box_w))


cdef inline Box box_at(const Job *job, int64_t index) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef Box box
    cdef int64_t count = cuts(g.out_w + job.lead, g.box_w)
    box.w0 = index % count * g.box_w - job.lead
    box.w = min(box.w0 + g.box_w, g.out_w)
    box.w0 = max(box.w0, <int64_t>0)
    box.w -= box.w0
    index = index // count
    count = cuts(g.out_h, g.box_h)
    box.h0 = index % count * g.box_h
    box.h = min(g.box_h, g.out_h - box.h0)
    index = index // count
    count = cuts(g.out_d, g.box_d)
    box.d0 = index % count * g.box_d
    box.d = min(g.box_d, g.out_d - box.d0)
    box.n0 = index // count * g.box_n
    box.n = min(g.box_n, g.batch - box.n0)
    box.slab = box.h * box.n * box.w
    box.positions = box.d * box.slab
    return box
