"""The multiply-add peak: what a register tile could reach if it never waited for memory.

    acc[i] <- acc[i] * x + y,      CHAINS independent chains per thread, REPEATS steps

2 * CHAINS * VL * steps FLOPs per thread and no memory traffic. It is the denominator of every "percent of peak".
"""
from cython.parallel cimport prange

from cyconv._kernels.simd cimport VL, inlined, real_t, vec_t, vload, vset, vstore

cdef enum:
    CHAINS = 12    # more than latency x throughput on known cores, and few enough for 16 registers


cdef inline inlined _spin(Py_ssize_t steps, real_t seed, real_t *sink) noexcept nogil:
    cdef vec_t acc[CHAINS]
    cdef vec_t x = vset(seed)
    cdef vec_t y = vset(<real_t>1 - seed)
    cdef Py_ssize_t _step
    cdef int i
    for i in range(CHAINS):
        acc[i] = vset(<real_t>i)
    for _step in range(steps):
        for i in range(CHAINS):
            acc[i] = acc[i] * x + y
    for i in range(CHAINS):
        vstore(sink, vload(sink) + acc[i])


def run(Py_ssize_t steps, real_t seed, real_t[:, ::1] sink, int num_threads):
    """Spin ``steps`` steps on each of ``num_threads`` threads; returns the FLOPs done. ``sink`` has a row a thread.

    ``seed`` (x above) comes from outside: a chain whose value the compiler can foretell would not be computed.
    """
    cdef Py_ssize_t thread
    if sink.shape[0] < num_threads or sink.shape[1] < VL:
        raise ValueError(f"sink must be at least ({num_threads}, {VL})")
    for thread in prange(num_threads, nogil=True, schedule="static", num_threads=num_threads):
        _spin(steps, seed, &sink[thread, 0])
    return 2.0 * CHAINS * VL * steps * num_threads
