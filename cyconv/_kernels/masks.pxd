"""Names of ``masks.h`` for Cython."""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport real_t, vec_t

cdef extern from "masks.h" nogil:
    ctypedef int vmask_t
    enum:
        HAS_MASKS "CYCONV_HAS_MASKS"
    vmask_t vmask_of(int64_t bits)
    vec_t vload_chosen(const real_t *p, vmask_t mask)
    vec_t vload_over(vec_t v, const real_t *p, vmask_t mask)
    vec_t vload_two(const real_t *p, vmask_t of_p, const real_t *q, vmask_t of_q)
    void vstore_chosen(real_t *p, vec_t v, vmask_t mask)
