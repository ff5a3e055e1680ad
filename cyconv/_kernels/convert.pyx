"""Floats of 16 bits to float32, and back: arrays that are stored in half the size and computed in float32.

    wide[a, b, c, i] = narrow[a, b, c, i]       exact
    narrow[a, b, c, i] = wide[a, b, c, i]       rounded to nearest, ties to even

Bytes: both arrays once.
Assumptions (guaranteed by ``_storage.py``): the arrays have the same shape, no size is zero, and rows (the last axis) are
contiguous in both.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint16_t

from cyconv._kernels.simd cimport VL, inlined, prefetch, prefetch_write, real_t, vec_t, vload, vstore

cdef extern from "halves.h" nogil:
    vec_t vload_float16(const uint16_t *p)
    vec_t vload_bfloat16(const uint16_t *p)
    void vstore_float16(uint16_t *p, vec_t v)
    void vstore_bfloat16(uint16_t *p, vec_t v)

cdef enum:
    #: the longest part of a row that one thread converts before another may take the next
    PIECE = 8192
    #: cells that are asked for before they are converted
    AHEAD = 1024
    WIDEN = 1
    BRAIN = 2    # bfloat16, with its eight bits of exponent

cdef struct Job:
    real_t *wide
    uint16_t *narrow
    int64_t[3] size, wide_step, narrow_step
    int64_t row, pieces


def widen(const uint16_t[:, :, :, :] narrow, real_t[:, :, :, :] wide, bint bfloat16, int num_threads):
    """Fill ``wide`` with the numbers of ``narrow``, whose bits are those of float16 or bfloat16."""
    _run(narrow, wide, WIDEN | (BRAIN if bfloat16 else 0), num_threads)


def narrow(uint16_t[:, :, :, :] narrow, const real_t[:, :, :, :] wide, bint bfloat16, int num_threads):
    """Fill ``narrow``, bits of float16 or bfloat16, with the numbers of ``wide``, rounded."""
    _run(narrow, wide, BRAIN if bfloat16 else 0, num_threads)


cdef void _run(const uint16_t[:, :, :, :] narrow, const real_t[:, :, :, :] wide, int how, int num_threads):
    cdef Job job
    cdef int64_t item
    cdef int i
    for i in range(3):
        job.size[i] = narrow.shape[i]
        job.narrow_step[i] = narrow.strides[i] // <int64_t>sizeof(uint16_t)
        job.wide_step[i] = wide.strides[i] // <int64_t>sizeof(real_t)
    job.row, job.narrow, job.wide = narrow.shape[3], <uint16_t *>&narrow[0, 0, 0, 0], <real_t *>&wide[0, 0, 0, 0]
    job.pieces = (job.row + PIECE - 1) // PIECE
    for item in prange(job.size[0] * job.size[1] * job.size[2] * job.pieces, nogil=True, schedule="static",
                       num_threads=num_threads, use_threads_if=num_threads > 1):
        _piece(&job, how, item)


cdef void _piece(const Job *job, int how, int64_t item) noexcept nogil:
    cdef int64_t first = item % job.pieces * PIECE, row = item // job.pieces
    cdef int64_t c = row % job.size[2], b = row // job.size[2] % job.size[1], a = row // job.size[2] // job.size[1]
    cdef real_t *wide = job.wide + a * job.wide_step[0] + b * job.wide_step[1] + c * job.wide_step[2] + first
    cdef uint16_t *narrow = (
        job.narrow + a * job.narrow_step[0] + b * job.narrow_step[1] + c * job.narrow_step[2] + first
    )
    cdef int64_t cells = min(job.row - first, <int64_t>PIECE)
    if how == WIDEN:
        _row(WIDEN, wide, narrow, cells)
    elif how == WIDEN | BRAIN:
        _row(WIDEN | BRAIN, wide, narrow, cells)
    elif how == BRAIN:
        _row(BRAIN, wide, narrow, cells)
    else:
        _row(0, wide, narrow, cells)


cdef inline inlined _row(int how, real_t *wide, uint16_t *narrow, int64_t cells) noexcept nogil:
    """Cells side by side; fewer than a vector by way of one."""
    cdef int64_t i = 0, j
    cdef real_t some[VL]
    cdef uint16_t bits[VL]
    while i + VL <= cells:
        prefetch(narrow + i + AHEAD)
        if how & WIDEN:
            prefetch_write(wide + i + AHEAD)
        else:
            prefetch(wide + i + AHEAD)
        _vector(how, wide + i, narrow + i)
        i += VL
    if i == cells:
        return
    for j in range(VL):
        some[j] = wide[i + j] if not how & WIDEN and i + j < cells else 0
        bits[j] = narrow[i + j] if how & WIDEN and i + j < cells else 0
    _vector(how, some, bits)
    for j in range(cells - i):
        if how & WIDEN:
            wide[i + j] = some[j]
        else:
            narrow[i + j] = bits[j]


cdef inline inlined _vector(int how, real_t *wide, uint16_t *narrow) noexcept nogil:
    if how == WIDEN:
        vstore(wide, vload_float16(narrow))
    elif how == WIDEN | BRAIN:
        vstore(wide, vload_bfloat16(narrow))
    elif how == BRAIN:
        vstore_bfloat16(narrow, vload(wide))
    else:
        vstore_float16(narrow, vload(wide))
