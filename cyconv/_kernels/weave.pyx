"""The phases of a transposed convolution, each computed on its own, woven into the result.

    out[n, k, d, h, w] = part(d % sd, h % sh, w % sw)[n, k, d // sd, h // sh, w // sw]

and ``bias[k]`` where a phase has no part.

Rows of the result are written once from first to last, by vectors where two phases alternate; that is quicker than
storing every phase to cells that are a stride apart.

Bytes: parts and out once.
Assumptions (guaranteed by ``_plans/transposed.py``): no size is zero; ``out`` has neighbouring cells side by side; a
part has its neighbouring cells side by side, images as many channels apart as there are, and a vector of it may be
read beyond its end.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t

from cyconv._kernels.lanes cimport ivec_t, lane_int_t, vstore_part
from cyconv._kernels.simd cimport VL, prefetch_write, real_t, vec_t, vload, vset, vstore
from cyconv._kernels.transpose cimport vpick

cdef enum:
    MOST = 16
    #: cells of the result that are asked for before they are written
    AHEAD = 4096

cdef struct Weave:
    real_t *out
    int64_t channels, depth, height, width, step_n, step_k, step_d, step_h
    int64_t stride_d, stride_h, stride_w
    const real_t *parts
    const int64_t *place        # phases x (offset of the part or -1, steps from k to k, along d and h)
    const real_t *bias
    ivec_t low, high

#: the longest stride along a row
MAX_STRIDE = MOST


def run(const real_t[::1] parts, const int64_t[:, ::1] places, const real_t[::1] bias,
        real_t[:, :, :, :, :] out, tuple stride, int num_threads):
    """Fill ``out`` (N, K, D, H, W). ``places`` has a row per phase (d, h, w), the last one innermost: where its part
    starts in ``parts``, -1 if there is none, and the part's steps from channel to channel, along d and along h."""
    cdef Weave job
    cdef int64_t step = sizeof(real_t)
    cdef int64_t item, i
    job.stride_d, job.stride_h, job.stride_w = stride
    if job.stride_w > MOST or places.shape[0] != job.stride_d * job.stride_h * job.stride_w:
        raise ValueError("the places do not fit the stride")
    job.out = &out[0, 0, 0, 0, 0]
    job.channels, job.depth, job.height, job.width = out.shape[1], out.shape[2], out.shape[3], out.shape[4]
    job.step_n, job.step_k = out.strides[0] // step, out.strides[1] // step
    job.step_d, job.step_h = out.strides[2] // step, out.strides[3] // step
    job.parts = &parts[0]
    job.place = &places[0, 0]
    job.bias = &bias[0]
    for i in range(VL):
        (<lane_int_t *>&job.low)[i] = <lane_int_t>(i // 2 + (i % 2) * VL)
        (<lane_int_t *>&job.high)[i] = <lane_int_t>(VL // 2 + i // 2 + (i % 2) * VL)
    for item in prange(out.shape[0] * job.channels, nogil=True, schedule="static", num_threads=num_threads,
                       use_threads_if=num_threads > 1):
        _weave_image(&job, item // job.channels, item % job.channels)


cdef void _weave_image(const Weave *job, int64_t n, int64_t k) noexcept nogil:
    cdef const real_t *row[MOST]
    cdef int64_t d, h, j
    cdef const int64_t *place
    cdef real_t *to
    cdef real_t *end
    for d in range(job.depth):
        for h in range(job.height):
            for j in range(job.stride_w):
                place = job.place + 4 * ((d % job.stride_d * job.stride_h + h % job.stride_h) * job.stride_w + j)
                row[j] = NULL
                if place[0] >= 0:
                    row[j] = (job.parts + place[0] + (n * job.channels + k) * place[1] + d // job.stride_d * place[2]
                              + h // job.stride_h * place[3])
            to = job.out + n * job.step_n + k * job.step_k + d * job.step_d + h * job.step_h
            if job.stride_w == 2:
                end = to + job.width
                if job.step_h == job.width:  # a row may be written into the next one, which comes later
                    end += (job.height - 1 - h) * job.step_h
                _weave_two(job, row[0], row[1], job.bias[k], to, end)
            else:
                for j in range(job.stride_w):
                    _spread_row(row[j], job.bias[k], to + j, job.stride_w,
                                (job.width - j + job.stride_w - 1) // job.stride_w)


cdef inline void _weave_two(const Weave *job, const real_t *even, const real_t *odd, real_t other, real_t *to,
                            const real_t *end) noexcept nogil:
    """A row; what lies between its end and ``end`` may be written too."""
    cdef int64_t w = 0, i
    cdef vec_t a = vset(other)
    cdef vec_t b = vset(other)
    cdef vec_t low, high
    while w < job.width:
        if even != NULL:
            a = vload(even + w // 2)
        if odd != NULL:
            b = vload(odd + w // 2)
        low, high = vpick(a, b, job.low), vpick(a, b, job.high)
        prefetch_write(to + w + AHEAD)
        prefetch_write(to + w + AHEAD + VL)
        if to + w + 2 * VL <= end:
            vstore(to + w, low)
            if w + VL < job.width:
                vstore(to + w + VL, high)
        else:
            for i in range(2):
                if w + (i + 1) * VL <= job.width:
                    vstore(to + w + i * VL, high if i else low)
                elif w + i * VL < job.width:
                    vstore_part(to + w + i * VL, high if i else low, <int>(job.width - w - i * VL))
        w += 2 * VL


cdef inline void _spread_row(const real_t *row, real_t other, real_t *to, int64_t stride, int64_t cells) noexcept nogil:
    cdef int64_t i
    for i in range(cells):
        to[i * stride] = other if row == NULL else row[i]
