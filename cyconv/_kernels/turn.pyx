"""Images with channels last from images of planes, and the reverse.

    to[n, c, d, h, w] = from[n, c, d, h, w],       the channels being neighbours in one of them, the columns in the other

Bytes: both arrays once.
Assumptions (guaranteed by ``_plans/on_planes.py``): the shapes are equal, no size is zero; one array has a step of 1
from channel to channel, the other from column to column.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t

from cyconv._kernels.crossing cimport cross
from cyconv._kernels.simd cimport real_t

cdef enum:
    # positions that a thread takes at a time
    SHARE = 256

cdef struct Lines:
    # (n, c, d, h, w) at ``data + n * n + c * c + ...``, in scalars
    real_t *data
    int64_t n, c, d, h, w

cdef struct Turn:
    Lines source, result
    int64_t channels, depth, height, width


def run(const real_t[:, :, :, :, :] source, real_t[:, :, :, :, :] result, int num_threads):
    """``result[...] = source``, both (N, C, D, H, W)."""
    cdef Turn job
    cdef int64_t step = sizeof(real_t)
    cdef int64_t shares, item
    job.channels, job.depth, job.height, job.width = source.shape[1], source.shape[2], source.shape[3], source.shape[4]
    job.source = Lines(<real_t *>&source[0, 0, 0, 0, 0], source.strides[0] // step, source.strides[1] // step,
                       source.strides[2] // step, source.strides[3] // step, source.strides[4] // step)
    job.result = Lines(&result[0, 0, 0, 0, 0], result.strides[0] // step, result.strides[1] // step,
                       result.strides[2] // step, result.strides[3] // step, result.strides[4] // step)
    if not (job.source.c == job.result.w == 1 or job.source.w == job.result.c == 1):
        raise ValueError("channels must be neighbours in one array, columns in the other")
    if job.source.h == job.width * job.source.w and job.result.h == job.width * job.result.w:
        job.width, job.height = job.width * job.height, 1
    if job.height == 1 and job.source.d == job.width * job.source.w and job.result.d == job.width * job.result.w:
        job.width, job.depth = job.width * job.depth, 1
    shares = (job.width + SHARE - 1) // SHARE
    for item in prange(source.shape[0] * job.depth * job.height * shares, nogil=True, schedule="static",
                       num_threads=num_threads, use_threads_if=num_threads > 1):
        _turn_share(&job, item // shares, item % shares * SHARE)


cdef void _turn_share(const Turn *job, int64_t row, int64_t first) noexcept nogil:
    cdef int64_t h = row % job.height, d = row // job.height % job.depth, n = row // job.height // job.depth
    cdef int64_t count = min(job.width - first, <int64_t>SHARE)
    cdef const Lines *x = &job.source
    cdef const Lines *y = &job.result
    cdef const real_t *from_ = x.data + n * x.n + d * x.d + h * x.h + first * x.w
    cdef real_t *to = y.data + n * y.n + d * y.d + h * y.h + first * y.w
    if x.c == 1:
        cross(to, y.c, from_, x.w, count, job.channels)
    else:
        cross(to, y.w, from_, x.c, job.channels, count)
