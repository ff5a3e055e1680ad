"""Gradient of max-pooling by choices: windows of K x K cells, K <= 3, at a step of 1 or 2, of which every output tells
by a code in which of its cells its maximum was.

    dx[s oh + r - p, s ow + c - p'] += (code[oh, ow] == code of (r, c)) ? g[oh, ow] : 0

Vectors of outputs go down the plane. A row of g gives to K rows of dx, of which the first s are then complete; the
others wait in registers for the next row of g. Along w a vector of cells of one phase x % s is a sum of choices from
vectors of g that are shifted. A cell is summed in the order of the outputs, as adding them one by one would.
"""
from libc.stdint cimport int64_t, uint8_t

from cyconv._kernels.lanes cimport (
    ivec_t, ivload_bytes, ivset, vadd_where, vload_part, vstore_part,
)
from cyconv._kernels.masks cimport lanes_up_to, vload_chosen, vmask_of, vmask_t
from cyconv._kernels.poolgrad_codes cimport BOX
from cyconv._kernels.simd cimport VL, inlined, prefetch_write, real_t, vec_t, vload, vstore, vzero
from cyconv._kernels.transpose cimport vpick

cdef enum:
    #: what is read of the codes before the first and after the last
    CODE_SLACK = 80
    #: of a vector at a step of 2, or of two vectors at a step of 1
    MOST_SUMS = 6

cdef struct Chosen:
    int64_t K, step
    # cells from the first window's first cell to the plane's first one, and the code of a window's first cell
    int64_t before_h, before_w, corner
    int64_t height, width, out_h, out_w
    ivec_t low, high


cdef inline inlined _sweep(const int K, const int step, const int odd, const int count, const bint edge, real_t *to,
                           real_t *out, const real_t *g, const uint8_t *code, const Chosen *how, int64_t at,
                           int64_t first, int64_t last) noexcept nogil:
    """Cells step * at, ... of ``count`` vectors of outputs, of the rows first to before last, whose first is at ``to``.

    ``odd`` is before_w % step.
    """
    cdef int reach = (K - 1) // step
    cdef int shifts = reach + 1 + (odd + step - 1) // step
    cdef int i, n, r, c, j, part
    # by value: what is stored could else be any of these
    cdef int64_t before = how.before_h, width = how.width, out_h = how.out_h, out_w = how.out_w
    cdef int64_t begin = at + how.before_w // step - reach
    cdef int64_t y
    cdef int64_t t = (first + before - (K - 1) + step - 1) // step if first + before >= K - 1 else 0
    cdef const real_t *values = g + t * out_w + begin
    cdef const uint8_t *codes = code + t * out_w + begin
    cdef real_t *row
    cdef real_t *ahead
    cdef vec_t sums[MOST_SUMS]
    cdef vec_t v
    cdef ivec_t chosen
    cdef ivec_t wanted[9]
    cdef ivec_t low = how.low, high = how.high
    cdef vmask_t there[2 * 3]      # lanes of the outputs that there are
    to += step * at
    out += step * at
    for n in range(count):
        for i in range(shifts):
            there[n * 3 + i] = vmask_of(lanes_up_to(out_w - begin - i - n * VL) & ~lanes_up_to(-begin - i - n * VL))
    for i in range(K * K):
        wanted[i] = ivset(<int>how.corner + i // K * BOX + i % K)
    for i in range(count * K * step):
        sums[i] = vzero()
    while True:
        if t < out_h:
            for i in range(shifts):
                for n in range(count):
                    part = n * K * step
                    if edge:
                        v = vload_chosen(values + i + n * VL, there[n * 3 + i])
                    else:
                        v = vload(values + i + n * VL)
                    chosen = ivload_bytes(codes + i + n * VL)
                    for r in range(K):
                        for j in range(step):
                            c = odd + j - step * (i - reach)
                            if 0 <= c < K:
                                sums[part + r * step + j] = vadd_where(sums[part + r * step + j], chosen,
                                                                       wanted[r * K + c], v)
        for r in range(step):
            y = step * t + r - before
            if y >= last:
                return
            if y >= first:
                for n in range(count - 1, -1, -1):
                    part = n * K * step
                    row = to + (y - first) * width + n * step * VL
                    ahead = out + (y - first) * width + n * step * VL
                    prefetch_write(ahead)
                    if step == 1:
                        vstore(row, sums[part])
                    else:
                        vstore(row, vpick(sums[part + r * 2], sums[part + r * 2 + 1], low))
                        prefetch_write(ahead + VL)
                        vstore(row + VL, vpick(sums[part + r * 2], sums[part + r * 2 + 1], high))
        for n in range(count):
            part = n * K * step
            for i in range(K * step):
                sums[part + i] = sums[part + i + step * step] if i < (K - step) * step else vzero()
        values += out_w
        codes += out_w
        t += 1


cdef inline inlined _sweep_all(const int K, const int step, const int odd, real_t *to, real_t *out,
                               const real_t *g, const uint8_t *code, const Chosen *how, int64_t first,
                               int64_t last) noexcept nogil:
    """From right to left: what a vector writes beyond its row belongs to vectors that come later. At a step of 1 two
    vectors go down together, since the sums of one wait for each other."""
    cdef int64_t vectors = ((how.width + step - 1) // step + VL - 1) // VL
    cdef int64_t at, begin
    while vectors > 0:
        if step == 1 and vectors > 1:
            vectors -= 2
            at = vectors * VL
            begin = at + how.before_w
            if begin - 2 >= 0 and begin + 1 + 2 * VL <= how.out_w:
                _sweep(K, 1, 0, 2, 0, to, out, g, code, how, at, first, last)
            else:
                _sweep(K, 1, 0, 2, 1, to, out, g, code, how, at, first, last)
            continue
        vectors -= 1
        at = vectors * VL
        begin = at + how.before_w // step
        if begin - 2 >= 0 and begin + 1 + VL <= how.out_w:
            _sweep(K, step, odd, 1, 0, to, out, g, code, how, at, first, last)
        else:
            _sweep(K, step, odd, 1, 1, to, out, g, code, how, at, first, last)


cdef inline void choose_rows(real_t *to, real_t *out, const real_t *g, const uint8_t *code, const Chosen *how,
                             int64_t first, int64_t last) noexcept nogil:
    """Rows first to before last of a plane of dx; up to 2 VL scalars behind them are written too."""
    if how.step == 1:
        if how.K == 2:
            _sweep_all(2, 1, 0, to, out, g, code, how, first, last)
        else:
            _sweep_all(3, 1, 0, to, out, g, code, how, first, last)
    elif how.before_w % 2:
        _sweep_all(3, 2, 1, to, out, g, code, how, first, last)
    elif how.K == 2:
        _sweep_all(2, 2, 0, to, out, g, code, how, first, last)
    else:
        _sweep_all(3, 2, 0, to, out, g, code, how, first, last)


cdef inline void choose_channels(real_t *to, const real_t *g, const uint8_t *code, const Chosen *how, int64_t inner,
                                 int64_t first, int64_t last) noexcept nogil:
    """The same where channels are neighbours in memory: a cell adds up the choices of the windows that may hold it."""
    cdef int64_t y, x, h, w, c
    cdef int64_t from_h, to_h, from_w, to_w
    cdef int sources, i
    cdef int64_t source[9]
    cdef ivec_t wanted[9]
    cdef vec_t v
    for y in range(first, last):
        from_h = max(0, (y + how.before_h - how.K + how.step) // how.step)
        to_h = min(how.out_h, (y + how.before_h) // how.step + 1)
        for x in range(how.width):
            from_w = max(0, (x + how.before_w - how.K + how.step) // how.step)
            to_w = min(how.out_w, (x + how.before_w) // how.step + 1)
            sources = 0
            for h in range(from_h, to_h):
                for w in range(from_w, to_w):
                    source[sources] = (h * how.out_w + w) * inner
                    wanted[sources] = ivset(<int>(how.corner + (y + how.before_h - h * how.step) * BOX + x + how.before_w
                                                  - w * how.step))
                    sources += 1
            c = 0
            while c <= inner - VL:
                v = vzero()
                for i in range(sources):
                    v = vadd_where(v, ivload_bytes(code + source[i] + c), wanted[i], vload(g + source[i] + c))
                vstore(to + c, v)
                c += VL
            if c < inner:
                v = vzero()
                for i in range(sources):
                    v = vadd_where(v, ivload_bytes(code + source[i] + c), wanted[i],
                                   vload_part(g + source[i] + c, 0, <int>(inner - c), <real_t>0))
                vstore_part(to + c, v, <int>(inner - c))
            to += inner
