"""The sizes of one call of the Winograd kernel, and how its tiles cut into boxes."""
from libc.stdint cimport int64_t, uint8_t

from cyconv._kernels.gather cimport Axis, Source, odd_lines
from cyconv._kernels.lanes cimport ivec_t
from cyconv._kernels.simd cimport VL, real_t
from cyconv._kernels.tile cimport TILE_VECS, Finish

cdef enum:
    PANEL = TILE_VECS * VL
    MAX_STEP = 16

cdef struct Geometry:
    int64_t batch, groups, group_inputs, group_outputs
    int64_t size_d, size_h, size_w, out_d, out_h, out_w
    int64_t stride_d, stride_h, stride_w, pad_d, pad_h, pad_w, padding_mode
    int64_t slots_d, slots_h, slots_w, strips_d, strips_h, strips_w
    int64_t points, outputs, planar, frequencies, taps
    int64_t pixels_h, pixels_w, phases_h, phases_w, tiles_h, tiles_w
    int64_t box_p, box_d, box_h, box_w, chunk, parts, by_channels, fresh, pitch, lines, reach_h, reach_w
    int64_t step_values, step_product, at_values, at_source, at_product, at_chunk, at_threads, thread_bytes
    int64_t is_silu, has_activation
    int64_t x_n, x_c, x_d, x_h, x_w, y_n, y_k, y_d, y_h, y_w    # strides of x and of the result, in scalars

cdef struct Box:
    int64_t p0, p, d0, d, h0, h, w0, w, tiles

cdef struct Job:
    const Geometry *g
    Source x
    Axis axis_d, axis_h, axis_w
    const int64_t *offset           # taps x frequencies: where a tile finds its cells in the gathered block
    const real_t *weight
    const real_t *bias
    const real_t *input_numbers
    const real_t *output_numbers
    const real_t *weight_numbers    # of fresh weights
    real_t *out
    int64_t out_n, out_k, out_d, out_h, out_w
    uint8_t *bad                    # (group, panel of outputs) x tiles
    Finish finish
    ivec_t lanes[MAX_STEP * MAX_STEP]   # strips x vectors: patterns that pick every ``stride_w``-th cell of a row


cdef inline int64_t cuts(int64_t total, int64_t box) noexcept nogil:
    return (total + box - 1) // box


cdef inline int64_t balanced(int64_t total, int64_t parts, int64_t index) noexcept nogil:
    """First element of part ``index`` when ``total`` is cut into ``parts`` that differ by one at most."""
    return total * index // parts


cdef inline int64_t step_weight(int64_t depth, int64_t width) noexcept nogil:
    """From frequency to frequency of a panel of weights, of which the values of all frequencies are made together."""
    return odd_lines(depth * width)


cdef inline int64_t panel_weight(int64_t depth, int64_t frequencies, int64_t outputs, int64_t group,
                                 int64_t panel) noexcept nogil:
    """Where the weights of a panel begin; ``outputs`` of a group, whole vectors."""
    cdef int64_t rest = outputs % PANEL
    cdef int64_t each = outputs // PANEL * step_weight(depth, PANEL) + (step_weight(depth, rest) if rest > 0 else 0)
    return frequencies * (group * each + panel * step_weight(depth, PANEL))


cdef inline Box box_at(const Geometry *g, int64_t index) noexcept nogil:
    cdef Box box
    cdef int64_t count = cuts(g.tiles_w, g.box_w)
    box.w0 = index % count * g.box_w
    box.w = min(g.box_w, g.tiles_w - box.w0)
    index = index // count
    count = cuts(g.tiles_h, g.box_h)
    box.h0 = index % count * g.box_h
    box.h = min(g.box_h, g.tiles_h - box.h0)
    index = index // count
    count = cuts(g.out_d, g.box_d)
    box.d0 = index % count * g.box_d
    box.d = min(g.box_d, g.out_d - box.d0)
    box.p0 = index // count * g.box_p
    box.p = min(g.box_p, g.batch * g.phases_h * g.phases_w - box.p0)
    box.tiles = box.p * box.d * box.h * box.w
    return box
